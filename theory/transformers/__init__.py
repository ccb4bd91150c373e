"""Transformers as differential equations, in steps, layers and tokens; and exact logits of constructed ones.

Question. What does a deep transformer do as a differential equation, and how sure can one be of a language?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
