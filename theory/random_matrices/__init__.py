"""Spectra and risks of large random matrices."""
