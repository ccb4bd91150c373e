"""Predictions: pure functions of numbers and arrays, in folders by topic of mathematics."""

from .. import lazily

__getattr__, __dir__ = lazily(__name__)
