"""Spectra and risks of large random matrices.

Question. What are the eigenvalues of a large random matrix, and the test error of a model with random features?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
