"""Tokens as particles: moved by attention on a sphere they become clusters; when, and how many.

Four experiments: the exact curve and hitting times of equiangular tokens, the phase diagram of uniform ones, waves and
metastable clusters on the circle, and the energy that always rises. Two minutes on two cores.
"""
