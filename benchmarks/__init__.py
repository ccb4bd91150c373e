"""Side-by-side timings against what a user would pick instead."""

from .. import lazily

__getattr__, __dir__ = lazily(__name__)
