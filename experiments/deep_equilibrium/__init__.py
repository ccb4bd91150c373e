"""Deep equilibrium networks: the rates of the solvers that find a fixed point, and the gradients through it.

Rates against the spectrum, gradients against their truncation, wide random networks, training on real digits, and monotone
networks.
"""
