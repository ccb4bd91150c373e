"""Networks without structure in their inputs.

Question. Which network has one hidden layer (trained, convex, with random features) or many, and how does it start?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
