"""Equilibria: fixed points, how fast their solvers converge, and the gradients through them.

Question. How fast does a solver reach the fixed point of a network, and how wrong is a gradient through it?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
