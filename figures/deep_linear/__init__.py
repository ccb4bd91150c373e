"""Figures of the deep linear network."""
