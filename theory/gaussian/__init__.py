"""Means of functions of jointly Gaussian numbers, which every topic of theory may use."""
