"""Layers in another order: left out, swapped, shuffled or in parallel; how much the output changes.

Four experiments, with Lie brackets that predict the change, in random, trained and attending stacks. Two minutes on two
cores.
"""
