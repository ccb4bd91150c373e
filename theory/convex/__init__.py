"""Training as a convex program: duality and certificates of ReLU networks.

Question. How far is a two-layer ReLU network from the best network of any width?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
