"""Networks whose output is linear in the input, and not in the weights: their training is solvable.

Question. Which network is linear in its input, and what do its layers represent?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
