"""Two-layer ReLU networks as convex programs: global optima, certificates, and where gradient descent stops short.

Nine experiments on what the convex program proves, how its solvers converge, what sampled patterns and sampled neurons
miss, where gradient descent stops short, and what robust training buys on digits and breast-cancer data. Five minutes
on two cores.
"""
