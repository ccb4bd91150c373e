"""Where a model, a task and a theory meet: one folder a paper."""

from .. import lazily

__getattr__, __dir__ = lazily(__name__)
