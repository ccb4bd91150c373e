"""Learning in high dimension, exactly: samples and dimensions in proportion.

Question. What do a convex loss, message passing or the best possible estimator reach at n/d samples per dimension?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
