"""Bilinear layers."""
