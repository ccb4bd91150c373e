"""Biased representations: how much of its hidden variance a network spends on an easy and on a hard feature it computes alike.

Linear networks, where only scale and depth count, beside ReLU networks on bits, where complexity counts: shares, learning
times, the order of training, dissimilarity matrices, and parities in deeper networks. Two minutes on two cores.
"""
