"""The plateau at the start of training, on which the features of all samples are alike: how long it lasts and what ends it.

Five experiments: loss and likeness of features of deep linear networks against time, the length of the plateau against the size
of the weights, weight decay that never lets a network leave, remedies, and tanh and ReLU networks without a verdict.
"""
