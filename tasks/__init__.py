"""Data: distributions to sample from, and data sets.

Question. Which data do I train on?
"""

from .. import lazily

__getattr__, __dir__ = lazily(__name__)
