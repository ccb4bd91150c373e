r"""A small regression problem by formula, the same on every machine, on which the convex programs are checked.

$$
\begin{align*}
x_{ij} &= \sin(1.3\, i j + 0.7\, i + 2.1\, j + \text{shift}) \\
y_i &= 1.5 \cos(0.9\, i + \text{shift})
\end{align*}
$$

with $i$, $j$ from 1. The points are in general position and the targets follow no network. Source: ours.

Example. Three points in the plane:

>>> from closedform.tasks import waves
>>> x, y = waves.points(3, 2)
>>> x.shape, y.round(3).tolist()
((3, 2), [0.932, -0.341, -1.356])
"""

import numpy as np


def points(num_samples: int, dim: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """x (num_samples, dim) and y (num_samples,), in float64 and concrete even under a trace."""
    if num_samples < 1 or dim < 1:
        raise ValueError(f"num_samples and dim must be at least 1, got {num_samples} and {dim}")
    i, j = np.arange(1, num_samples + 1), np.arange(1, dim + 1)
    x = np.sin(1.3 * i[:, None] * j + 0.7 * i[:, None] + 2.1 * j + shift)
    return x, 1.5 * np.cos(0.9 * i + shift)
