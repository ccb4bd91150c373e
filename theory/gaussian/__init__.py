"""Means of functions of jointly Gaussian numbers, which every topic of theory may use.

Question. What is the mean of a product of activations of two correlated Gaussian pre-activations?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
