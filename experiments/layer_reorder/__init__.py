"""Layers in another order."""
