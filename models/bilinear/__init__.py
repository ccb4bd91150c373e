"""Layers that multiply two linear maps of one input.

Question. Which layer is exactly a tensor of its input, so that its eigenvectors can be read?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
