"""Networks without structure in their inputs.

Question. Which network has one hidden layer, trained, convex or with random features?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
