"""What gradient descent learns of its features, and when.

Question. When does a network trained by SGD find the features of its task, and what does it do next?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
