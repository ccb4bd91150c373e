"""Means of functions of jointly Gaussian numbers, which every topic of theory may use.

Question. What is the mean of a product of activations of two correlated Gaussians, and what does depth make of it?
"""

from ... import lazily

__getattr__, __dir__ = lazily(__name__)
