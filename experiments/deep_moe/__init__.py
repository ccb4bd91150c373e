"""Deep mixtures of experts: how few experts make how many maps, and what gates have to know.

Two layers of gated linear experts against the low-rank table that they are, its modes in training, and learned gates with ReLU
units between the layers. Less than a minute on two cores.
"""
