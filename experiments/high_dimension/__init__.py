"""Learning with as many samples as dimensions, up to a factor: exact curves where neither is large against the other.

Convex losses, margins, sparse signals, clusters and random features; message passing iteration by iteration.
"""
