"""Small data sets of a formula, with what is known of their convex programs, and projections onto cones by scipy."""

import numpy as np
from scipy import optimize

# (n, d): P, weight_decay_max, p* at weight_decay = 0.1, computed when the formulas were derived (not the paper's)
FACTS = {
    (6, 2): (12, 1.881375, 0.527371),
    (8, 2): (16, 2.147437, 2.223176),
    (8, 3): (58, 2.164342, 1.083772),
    (10, 3): (92, 2.164342, 1.275092),
}


def formula_data(n, d, seed=0):
    i, j = np.arange(1, n + 1)[:, None], np.arange(1, d + 1)[None]
    return np.sin(1.3 * i * j + 0.7 * i + 2.1 * j + seed), 1.5 * np.cos(0.9 * i[:, 0] + seed)


def scipy_projection(q, rows):
    multipliers, _ = optimize.nnls(-rows.T, q, maxiter=100 * len(rows))
    return q + rows.T @ multipliers
