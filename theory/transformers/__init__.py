"""Transformers as differential equations: orders of their steps, the order of their layers, their tokens on the sphere."""
