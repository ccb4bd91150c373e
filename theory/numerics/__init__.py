"""Numerical tools of the predictions, from checks of arguments to root finding, which every topic of theory may use."""
