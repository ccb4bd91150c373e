"""Transformers as differential equations: orders of their steps, the order of their layers, their tokens on the sphere.

Question. What does a deep transformer do as a differential equation: its order, its sublayers, its tokens?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
