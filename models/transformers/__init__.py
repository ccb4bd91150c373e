"""Tokens that attend to one another, and residual stacks.

Question. Which transformer, residual stack or integrator do I want to run?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
