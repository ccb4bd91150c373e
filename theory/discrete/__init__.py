"""Votes and other laws of finitely many outcomes.

Question. How accurate is a vote of correlated voters, of trees of them, or after a discussion?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
