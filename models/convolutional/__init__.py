"""Networks that apply one bank of filters at every place of an image.

Question. Which network sees an image through filters, and what are its filters made of?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
