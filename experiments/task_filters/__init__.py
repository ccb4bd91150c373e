"""Layer-wise distillation of a teacher's hidden state: when a small student drops the task, and what a trained filter changes.

Four experiments: the jump of the task error in the weight of distillation, its place against the leak of the filter, what
training makes of a filter from starts of several scales, and a network on digits with a loud nuisance. Two minutes on two
cores.
"""
