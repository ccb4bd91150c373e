r"""Spiked matrices: when the top eigenvector of a noisy matrix sees the signal, and what message passing makes of it.

Formula. A sample covariance of $n$ Gaussian vectors in $d$ dimensions with covariance $I + \ell\, u u^\top$, $|u| = 1$, and
$C = d/n$ has, as $d \to \infty$, the top eigenvalue and the squared overlap of its eigenvector with $u$

$$
(1 + \ell)\left(1 + \frac{C}{\ell}\right), \quad \frac{1 - C/\ell^2}{1 + C/\ell} \quad \text{if } \ell > \sqrt C, \qquad
(1 + \sqrt C\,)^2, \quad 0 \quad \text{if not}
$$

A symmetric matrix $Y = \lambda\, v v^\top/d + W$, $|v|^2 = d$, with independent Gaussian entries of variance $1/d$ above the
diagonal of $W$, has

$$
\lambda + \frac{1}{\lambda}, \quad 1 - \frac{1}{\lambda^2} \quad \text{if } \lambda > 1, \qquad 2, \quad 0 \quad \text{if not}
$$

For $v_i = \pm 1$ message passing, $f = \tanh w$, $w \leftarrow \lambda Y f - \lambda^2 (1 - \overline{f^2})\, f_{\text{old}}$,
has after each step the overlap $M = \langle f, v \rangle/d$,

$$
M_{t+1} = \mathbb{E} \tanh(g + \sqrt g\, \xi), \qquad g = \lambda^2 M_t
$$

from a start $f = \tanh(g_0 v + \sqrt{g_0}\, \xi)$ that knows a little of each entry.

Regime. $d \to \infty$ at a fixed $C$, a fixed strength and a fixed number of steps.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\ell$, $\lambda$ | `strength` | any | of the spike |
| $C$ | `ratio` | any | dimension over samples, $d/n$ |
| | `overlap` | any | squared cosine of the eigenvector with the spike |
| $g_0$ | `side_information` | any | squared signal-to-noise ratio of the start |
| $M_t$ | `binary_overlaps` | (steps + 1, any) | a mean of products, not squared |

Factors. The ratio is dimension over samples, the inverse of $\alpha = n/d$. The variance of the noise is 1; for another one,
$\sigma^2$, strengths and eigenvalues of the covariance are in units of it.

Source. J. Baik, G. Ben Arous, S. Péché, 2005, doi 10.1214/009117905000000233 (the transition); Y. Deshpande, E. Abbe,
A. Montanari, arXiv 1507.08685 (message passing); recalled, not re-read.

Finite size. Above the transition means are off by $O(1/d)$; in a window around it and below, by $O(d^{-2/3})$ and more.

Example. A covariance spike of strength 2 among half as many dimensions as samples, and message passing from a weak start:

>>> from closedform.theory.random_matrices import spiked
>>> eigenvalue, overlap = spiked.covariance_spike(2.0, 0.5)
>>> round(float(eigenvalue), 6), round(float(overlap), 6)
(3.75, 0.7)
>>> [round(float(m), 3) for m in spiked.binary_overlaps(1.5, 0.1, 3)]
[0.091, 0.173, 0.291, 0.422]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import ArrayLike, above, at_least, takes
from ..numerics.normal import pdf
from ..numerics.panels import panel_rule

Numbers = Real[ArrayLike, "*#shape"]
Floats = Float[Array, "*shape"]

_POSITIVE, _NON_NEGATIVE = above(0, finite=True), at_least(0, finite=True)
_NODES = 32  # a panel


@documented
class Spike(NamedTuple):
    eigenvalue: Float[Array, "*shape"]  # the largest
    overlap: Float[Array, "*shape"]  # squared cosine of its eigenvector with the spike


@takes(strength=_NON_NEGATIVE, ratio=_POSITIVE)
def covariance_spike(strength: Numbers, ratio: Numbers) -> Spike:
    """Of the sample covariance of vectors with covariance I + strength u u^T; the mean of the vectors is known to be 0.

    >>> [round(float(value), 4) for value in covariance_spike(0.5, 0.5)]  # too weak to be seen
    [2.9142, 0.0]
    """
    ell, c = jnp.broadcast_arrays(strength, ratio)
    edge = jnp.sqrt(c)
    seen = ell > edge
    some = jnp.where(seen, ell, 1 + edge)
    eigenvalue = (1 + some) * (1 + c / some)
    overlap = (1 - edge / some) * (1 + edge / some) / (1 + c / some)
    return Spike(jnp.where(seen, eigenvalue, (1 + edge) ** 2), jnp.where(seen, overlap, 0))


@takes(strength=_NON_NEGATIVE)
def wigner_spike(strength: Numbers) -> Spike:
    """Of a symmetric matrix with noise of variance 1/d above the diagonal.

    >>> [float(value) for value in wigner_spike(2.0)]
    [2.5, 0.75]
    """
    seen = strength > 1
    some = jnp.where(seen, strength, 2)
    overlap = (1 - 1 / some) * (1 + 1 / some)
    return Spike(jnp.where(seen, some + 1 / some, 2), jnp.where(seen, overlap, 0))


@takes(strength=_NON_NEGATIVE, side_information=_NON_NEGATIVE, num_steps=at_least(0))
def binary_overlaps(strength: Numbers, side_information: Numbers, num_steps: int) -> Float[Array, "step *shape"]:
    """M_0, .., M_{num_steps} of message passing on a symmetric matrix whose spike has entries +-1.

    Without side information all are 0. What the start knows is used once, not in later steps.

    >>> [round(float(m), 4) for m in binary_overlaps(0.5, 1.0, 2)]  # below the transition it is forgotten
    [0.5504, 0.1219, 0.0296]
    """
    power, start = jnp.broadcast_arrays(strength**2, side_information)

    def advance(g: Floats, _: None) -> tuple[Floats, Floats]:
        overlap = _mean_tanh(g)
        return power * overlap, overlap

    return jax.lax.scan(advance, start, None, length=num_steps + 1)[1]


def _mean_tanh(g: Floats) -> Floats:
    """E tanh(g + sqrt g xi), which is E tanh^2 and so keeps its digits at small g; it steps near xi = -sqrt g."""
    positive = g > 0
    root = jnp.sqrt(jnp.where(positive, g, 1))
    steps = jnp.asarray([-20.0, -8.0, -2.0, 0.0, 2.0, 8.0, 20.0], g.dtype)
    fixed = jnp.asarray([-12.0, -6.0, -3.0, 0.0, 3.0, 6.0, 12.0], g.dtype)  # phi is below 1e-31 beyond
    steps, fixed = (jnp.expand_dims(values, tuple(range(g.ndim))) for values in (steps, fixed))
    step = jnp.clip(steps / root[..., None] - root[..., None], -12, 12)
    fixed = jnp.broadcast_to(fixed, (*g.shape, fixed.shape[-1]))
    xi, weights = panel_rule(jnp.concatenate([step, fixed], axis=-1), _NODES)
    mean = jnp.sum(weights * pdf(xi) * jnp.tanh(root[..., None] * (root[..., None] + xi)) ** 2, axis=-1)
    return jnp.where(positive, mean, g)  # the slope at 0 is 1
