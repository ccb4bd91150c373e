"""Pictures of stored results: the figure of the experiment of the same path."""

from .. import lazily

__getattr__, __dir__ = lazily(__name__)
