r"""A small regression problem by formula, the same on every machine, on which the convex programs are checked.

$$
\begin{align*}
x_{ij} &= \sin(1.3\, i j + 0.7\, i + 2.1\, j + \text{shift}) \\
y_i &= 1.5 \cos(0.9\, i + \text{shift})
\end{align*}
$$

with $i$, $j$ from 1. The points are in general position and the targets follow no network. Sines are rounded correctly, since
NumPy's may differ in the last bit from one processor to another. Source: ours.

Example. Three points in the plane:

>>> from closedform.tasks import waves
>>> x, y = waves.points(3, 2)
>>> x.shape, y.round(3).tolist()
((3, 2), [0.932, -0.341, -1.356])
"""

import decimal
import math

import numpy as np


def points(num_samples: int, dim: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """x (num_samples, dim) and y (num_samples,), in float64 and concrete even under a trace."""
    if num_samples < 1 or dim < 1:
        raise ValueError(f"num_samples and dim must be at least 1, got {num_samples} and {dim}")
    i, j = np.arange(1, num_samples + 1), np.arange(1, dim + 1)
    x = _waves(1.3 * i[:, None] * j + 0.7 * i[:, None] + 2.1 * j + shift)[1]
    return x, 1.5 * _waves(0.9 * i + shift)[0]


def _waves(angles: np.ndarray) -> np.ndarray:
    """Cosines and sines, rounded correctly: their series at an angle below 1, which is then doubled up to the angle."""
    rounded = []
    with decimal.localcontext(decimal.Context(prec=60)):
        for angle in angles.ravel().tolist():
            doublings = max(0, math.frexp(angle)[1])
            term = cos = decimal.Decimal(1)
            x, sin = decimal.Decimal(angle) / 2**doublings, decimal.Decimal(0)
            for n in range(1, 40):
                term *= x / n if n % 2 else -x / n  # the sign of two in four
                cos, sin = (cos, sin + term) if n % 2 else (cos + term, sin)
            for _ in range(doublings):
                cos, sin = cos**2 - sin**2, 2 * sin * cos
            rounded.append((float(cos), float(sin)))
    return np.array(rounded).T.reshape(2, *angles.shape)
