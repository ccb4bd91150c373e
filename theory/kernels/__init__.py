"""Kernels of networks: their spectra, their learning curves and their dynamics.

Question. What does a very wide network, or ridge regression with a kernel, learn from n examples, and how fast?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
