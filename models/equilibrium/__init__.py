"""Networks whose output is a fixed point of one layer.

Question. Which network is defined by an equation for its state rather than by a number of layers?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
