"""Networks and processes: pure functions, in folders by family."""

from .. import lazily

__getattr__, __dir__ = lazily(__name__)
