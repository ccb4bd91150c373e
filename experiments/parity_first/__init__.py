"""PARITY and FIRST by transformers: constructed exactly, how sure they are, and what a trained one makes of longer strings.

Four experiments: cross-entropy against length with layer norm and without, the loss along one weight of PARITY, attention to
the first bit with the logarithm of the length and without, and FIRST learned on short strings.
"""
