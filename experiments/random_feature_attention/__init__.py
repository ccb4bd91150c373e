"""Attention with random heads."""
