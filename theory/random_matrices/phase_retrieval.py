r"""Phase retrieval by the best spectral method: the squared overlap of the top eigenvector, from a threshold of d/2 samples on.

Formula. From $y_i = s_i^2$, $s_i = \langle x_i, \theta \rangle/\sqrt d$ with standard normal inputs, $|\theta|^2 = d$ and
$n = \alpha d$ samples, the estimate is the top eigenvector of

$$
\frac1n \sum_i T(y_i)\, x_i x_i^\top, \qquad T(y) = 1 - \frac1y
$$

As $d \to \infty$ its squared overlap $c$ with $\theta$ is 0 for $\alpha \leq 1/2$, and beyond the solution of

$$
\frac1\alpha = \mathbb{E}\, \frac{(s^2 - 1)^2}{1 + b s^2}, \qquad b = \frac{c}{1 - c}, \quad s \sim N(0, 1)
$$

The top eigenvalue is $1/\alpha$ on both sides of the threshold. Above it the other eigenvalues end at the least value over
$b > 0$ of

$$
\frac{1 + b}{\alpha} - b\, \mathbb{E}\, \frac{(s^2 - 1)^2}{1 + b s^2}
$$

Regime. $n$ and $d \to \infty$ at a fixed $\alpha$; real inputs, no noise.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\alpha$ | `ratio` | any | samples over dimension, $n/d$ |
| $c$ | `overlap` | any | squared cosine of the top eigenvector with $\theta$ |
| | `eigenvalue`, `edge` | any | the largest, and the end of all others |

Factors. The sum is divided by the number of samples; divided by $d$ the top eigenvalue is 1.

Source. M. Mondelli, A. Montanari, arXiv 1708.05932 (the function $T$ and the threshold); Y. Lu, G. Li, arXiv 1702.06435 (the
equations of any $T$); W. Luo, W. Alghamdi, Y. Lu, arXiv 1811.04420 (that this $T$ is the best); recalled, not re-read. That for
this $T$ they reduce to the one equation above, and the eigenvalue, are derived here.

Finite size. Means are off by $O(1/d)$ well above the threshold; near it the overlap is too large, .137 in place of .111 at
$\alpha = 3/4$ and $d = 500$.

Example. As many samples as dimensions, and four times as many:

>>> from closedform.theory.random_matrices import phase_retrieval
>>> [round(float(c), 4) for c in phase_retrieval.spectral_estimate([0.5, 1.0, 4.0]).overlap]
[0.0, 0.2307, 0.9245]
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import ArrayLike, above, takes
from ..numerics.normal import pdf
from ..numerics.panels import panel_rule
from ..numerics.roots import climb_to_root

Floats = Float[Array, "*shape"]


@documented
class SpectralEstimate(NamedTuple):
    overlap: Float[Array, "*shape"]  # squared cosine of the top eigenvector with the signal
    eigenvalue: Float[Array, "*shape"]  # the largest, 1/ratio
    edge: Float[Array, "*shape"]  # the end of the others


@takes(ratio=above(0, finite=True))
def spectral_estimate(ratio: Real[ArrayLike, "*shape"]) -> SpectralEstimate:
    """The estimate from ratio * d samples; the threshold itself counts as below it.

    >>> [round(float(value), 4) for value in spectral_estimate(2.0)]
    [0.6389, 0.5, 0.3395]
    """
    seen = ratio > 0.5
    target = 1 / jnp.where(seen, ratio, 1)
    b = _crossing(1, target, 10.0)
    lowest = _crossing(2, target, 20.0)
    edge = (1 + lowest) * target - lowest * _moment(lowest, 1)
    return SpectralEstimate(jnp.where(seen, b / (1 + b), 0), 1 / ratio, jnp.where(seen, edge, 1 / ratio))


def _crossing(power: int, target: Floats, slope: float) -> Floats:
    """The b > 0 where the moment is target: it is convex, 2 - slope b at small b, below (1 + sqrt(pi/2))/sqrt b for b > 1."""

    def fall(b: Floats) -> Floats:
        return power * _moment(b, power + 1, weigh=True)

    high = jnp.maximum(1, ((1 + math.sqrt(math.pi / 2)) / target) ** 2)
    return climb_to_root(lambda b: target - _moment(b, power), fall, (2 - target) / slope, high, 2 * high)


# from 12, beyond which the normal density is below 1e-31, towards the poles at +-i/sqrt b: on panels of one ratio the rule
# converges as fast however near they are, down to b = 1e22
_EDGES = np.array([12.0, 6.0, 3.0, *(1.5 * 4.0**-k for k in range(20)), 0.0])


def _moment(b: Floats, power: int, weigh: bool = False) -> Floats:
    """E (s^2 - 1)^2/(1 + b s^2)^power; with `weigh` times s^2."""
    s, weights = panel_rule(jnp.asarray(_EDGES, b.dtype), 20)
    square = s**2
    weights = 2 * weights * pdf(s) * (square - 1) ** 2 * (square if weigh else 1)
    square, weights = (jnp.expand_dims(values, tuple(range(b.ndim))) for values in (square, weights))
    return jnp.sum(weights / (1 + b[..., None] * square) ** power, axis=-1)
