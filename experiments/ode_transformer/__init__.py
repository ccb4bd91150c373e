"""Transformers as differential equations."""
