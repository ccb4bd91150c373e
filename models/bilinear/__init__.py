"""Layers that multiply two linear maps of one input."""
