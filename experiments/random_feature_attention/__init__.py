"""Attention with random heads: what one layer can learn, from the spectrum of its kernel.

Eight experiments on learning curves, double descent in the number of heads, what heads with a mean are good for, and
the targets that no number of heads can learn. Four minutes on two cores.
"""
