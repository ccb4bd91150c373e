"""How a deep network starts: the scale of its activations and gradients at depth and at width.

LSUV against the analytic gain of each activation, variance and gradients against depth, order and chaos, which depth trains on
real digits, and which scaling of weights and learning rates keeps a step of training the same at every width.
"""
