"""Figures of learning in high dimension."""
