"""Transformer layers as steps of a differential equation: orders, error constants, and what training makes of them."""
