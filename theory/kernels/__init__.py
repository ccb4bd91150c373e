"""Kernels of networks: their spectra, their learning curves and their dynamics."""
