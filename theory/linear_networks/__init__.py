"""Networks that are linear, or bilinear, in what they read: exact losses and exact training.

Question. How does a linear or bilinear layer learn, mode by mode, and what does training conserve?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
