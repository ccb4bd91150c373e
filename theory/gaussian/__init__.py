"""Means of functions of jointly Gaussian numbers: the ground on which other topics stand, open to all of theory."""
