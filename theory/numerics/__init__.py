"""Numerical tools of the predictions, from checks of arguments to root finding, which every topic of theory may use.

Question. Which number tool is safe at every legal argument, under jit, vmap and grad?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
