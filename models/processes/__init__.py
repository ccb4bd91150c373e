"""Random processes: a start, and a step from one state to the next.

Question. Which random process has an exact law to compare with?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
