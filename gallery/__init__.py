"""Site, report and bibliography, made of stored results and of the sources."""

from .. import lazily

__getattr__, __dir__ = lazily(__name__)
