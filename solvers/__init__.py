"""From data to parameters, other than by steps of an optimizer alone.

Question. How do I fit, train, attack or certify a model?
"""

from .. import lazily

__getattr__, __dir__ = lazily(__name__)
