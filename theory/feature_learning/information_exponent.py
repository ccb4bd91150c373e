r"""How long online SGD looks for one direction: the information exponent of a link function.

Formula. A student $g(w \cdot x)$ on the unit sphere learns $y = f(w^* \cdot x)$, $x \sim N(0, I_d)$, by
$w \leftarrow (w + \eta\, y\, g'(w \cdot x)\, x)/|\cdot|$. With the Hermite coefficients $c_k$ of both links, the overlap
$m = w \cdot w^*$ follows to leading order in $\eta$, in the time $\tau = \eta\, \text{steps}$,

$$
\frac{dm}{d\tau} = (1 - m^2)\, D(m) - \frac{\eta d}{2} V(m)\, m, \qquad
D(m) = \sum_{k \ge 1} k\, c_k(f)\, c_k(g)\, m^{k-1}, \qquad V(m) = \mathbb{E}\, y^2 g'(w \cdot x)^2
$$

The information exponent $k^*$ is the lowest $k \ge 1$ with $c_k(f)\, c_k(g) \neq 0$. For $f = g = \mathrm{He}_k/\sqrt{k!}$ a
small overlap $m_0$ is left after

$$
\tau \approx O(1) \quad (k = 1), \qquad \tfrac12 \ln \frac{1}{m_0} \quad (k = 2), \qquad
\frac{m_0^{2 - k}}{k (k - 2)} \quad (k \ge 3)
$$

so that from $m_0 \sim d^{-1/2}$, at the largest steps that the noise allows, $d$, $d \ln d$ and $d^{k-1}$ samples are needed.

Regime. Drift: leading order in $\eta$ and exact in $m$. The sphere and the correlation loss: with the squared loss the drift is
the same, and $V$ is not. Escape: $d \to \infty$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $f$, $g$ | `target`, `student` | term | Hermite coefficients $c_0, c_1, \dots$ of `hermite_coefficients` |
| $m$, $m_0$ | `overlap`, `initial` | any | of unit vectors |
| $\tau$ | `time` | any | learning rate times steps |
| $\eta d$ | `noise` | () | learning rate times dimension; 0 leaves the noise out |
| $k^*$ | `information_exponent` | | |

Factors. Hermite polynomials are orthonormal; $\mathrm{He}_k/\sqrt{k!}$ has $c_k = 1$ and $V(0) = k$.

Source. G. Ben Arous, R. Gheissari, A. Jagannath, arXiv 2003.10409 (information exponent, recalled). Drift, noise
and times are derived here.

Finite size. At the learning rate $\eta \sim d^{-k/2}$ escape times fluctuate by their own size. For odd $k$ a negative start
never escapes, for even $k$ the sign of the overlap is free.

Example. Half of the overlap, from 0.05, takes ever longer the higher the exponent is:

>>> import jax
>>> import jax.numpy as jnp
>>> from closedform.theory.feature_learning.information_exponent import overlap_time
>>> links, time_fn = jnp.eye(5), jax.jit(overlap_time)
>>> [round(float(time_fn(0.5, 0.05, links[k], links[k])), 3) for k in (1, 2, 3, 4)]
[0.499, 1.223, 6.166, 50.111]
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from ..numerics import quadrature
from ..numerics.arguments import FINITE, ArrayLike, above, at_least, between, known, takes
from ._flow import flow
from ._series import series, slope

Numbers = Real[ArrayLike, "*#shape"]
Link = Real[ArrayLike, "term"]
_OVERLAP = between(-1, 1)
_PANELS, _NODES = 12, 16  # of the integral of 1/drift, in the logarithm of artanh m


@takes(target=FINITE, student=FINITE)
def information_exponent(target: Link, student: Link) -> int:
    """The lowest k >= 1 whose coefficients differ from 0 in both links. Raises ValueError for traced ones, or if there is none.

    Coefficients below 1e-10 of the largest of their link count as 0: those of a quadrature do not vanish exactly.

    >>> information_exponent([0, 0, 1, 1], [0.4, 0.5, 0.28, 0.0])
    2
    """
    if not known(target, student):
        raise ValueError("target and student must be known numbers, got traced values")
    sizes = [np.abs(np.asarray(link)) for link in (target, student)]
    kept = [size > 1e-10 * np.max(size, initial=0) for size in sizes]
    there = np.flatnonzero(kept[0][1:] & kept[1][1:])
    if not len(there):
        raise ValueError("target and student must share a coefficient c_k other than 0 with k >= 1, got none")
    return int(there[0]) + 1


@takes(overlap=_OVERLAP, target=FINITE, student=FINITE)
def drift(overlap: Real[ArrayLike, "*shape"], target: Link, student: Link) -> Float[Array, "*shape"]:
    """(1 - m^2) D(m), the mean velocity of the overlap without the noise of steps.

    >>> float(drift(0.5, [0, 0, 1], [0, 0, 1]))
    0.75
    """
    return (1 - overlap**2) * _polynomial(overlap, target, student)


@takes(overlap=_OVERLAP, target=FINITE, student=FINITE)
def noise_variance(overlap: Real[ArrayLike, "*shape"], target: Link, student: Link) -> Float[Array, "*shape"]:
    """V(m) = E f(u)^2 g'(v)^2 of standard normal u, v of correlation m, exactly for these finite series.

    >>> [round(float(noise_variance(0.0, jnp.eye(4)[k], jnp.eye(4)[k])), 6) for k in (1, 2, 3)]
    [1.0, 2.0, 3.0]
    """
    # V = sum_k a_k b_k m^k with the coefficients of f^2 and of g'^2, which have no terms beyond 2 (term - 1)
    size = 2 * len(target) - 1
    z, weights = (jnp.asarray(part, overlap.dtype) for part in quadrature.hermite(size + 1))
    basis = jax.vmap(lambda one: series(z, one))(jnp.eye(size, dtype=overlap.dtype)) * weights[None]
    products = (basis @ series(z, target) ** 2) * (basis @ slope(z, student) ** 2)
    total = jnp.zeros_like(overlap)
    for k in reversed(range(size)):
        total = total * overlap + products[k]
    return total


@takes(
    end=between(0, 1, low_open=True, high_open=True),
    initial=between(0, 1, low_open=True, high_open=True),
    target=FINITE,
    student=FINITE,
    noise=at_least(0, finite=True),
)
def overlap_time(
    end: Numbers, initial: Numbers, target: Link, student: Link, noise: Real[ArrayLike, ""] = 0.0
) -> Float[Array, "*#shape"]:
    """tau in which the overlap moves from `initial` to `end`; negative for an end below. `noise` is eta d.

    Infinite where the velocity is not positive on the way.
    """
    end, initial = jnp.broadcast_arrays(end, initial)
    low, high = (jnp.log(jnp.arctanh(m)) for m in (initial, end))
    points, weights = (jnp.asarray(part, low.dtype) for part in quadrature.legendre(_NODES))
    panels = (jnp.arange(_PANELS, dtype=low.dtype)[:, None] + (points[None] + 1) / 2) / _PANELS
    # with m = tanh z and z = e^s the integrand dm/((1 - m^2) D) = z ds/D is smooth in s from the smallest start to the end
    s = low[..., None] + (high - low)[..., None] * panels.ravel()
    z = jnp.exp(s)
    m = jnp.tanh(z)
    velocity = _polynomial(m, target, student) - noise / 2 * noise_variance(m, target, student) * m * jnp.cosh(z) ** 2
    rises = velocity > 0
    inverse = jnp.where(rises, z / jnp.where(rises, velocity, 1), jnp.inf)
    total = jnp.sum(inverse * jnp.tile(weights, _PANELS), axis=-1) / _PANELS
    return jnp.where(high == low, 0, (high - low) * total)


@takes(time=at_least(0, finite=True), initial=_OVERLAP, target=FINITE, student=FINITE, noise=at_least(0, finite=True))
def overlap_flow(
    time: Real[ArrayLike, "*time"], initial: Real[ArrayLike, ""], target: Link, student: Link, noise: Real[ArrayLike, ""] = 0.0
) -> Float[Array, "*time"]:
    """m at each time tau, in any order, from `initial`; `noise` is eta d, 0 for the drift alone.

    Integrated to errors of 1e-9 (float32: 1e-5).
    """

    def velocity(m: Float[Array, "1"]) -> Float[Array, "1"]:
        bounded = jnp.clip(m, -1, 1)
        return drift(bounded, target, student) - noise / 2 * noise_variance(bounded, target, student) * bounded

    return flow(velocity, time.ravel(), initial[None]).reshape(time.shape)


@takes(initial=between(0, 1, low_open=True), exponent=at_least(2))
def escape_time(initial: Real[ArrayLike, "*shape"], exponent: int) -> Float[Array, "*shape"]:
    """The leading law of `overlap_time` from a small start at f = g = He_k/sqrt(k!).

    It is ln(1/m_0)/2 at k = 2, and m_0^(2-k)/(k (k-2)) for larger k.

    >>> [round(float(escape_time(0.01, k)), 3) for k in (2, 3)]
    [2.303, 33.333]
    """
    k = exponent
    return -jnp.log(initial) / 2 if k == 2 else initial ** (2 - k) / (k * (k - 2))


@takes(dim=above(1, finite=True), exponent=at_least(1))
def sample_complexity(dim: Real[ArrayLike, "*shape"], exponent: int) -> Float[Array, "*shape"]:
    """The order of the samples that online SGD needs in d dimensions: d, d ln d, d^(k-1) for k = 1, 2, and 3 or more.

    >>> [round(float(sample_complexity(100.0, k))) for k in (1, 2, 3)]
    [100, 461, 10000]
    """
    k = exponent
    return dim if k == 1 else dim * jnp.log(dim) if k == 2 else dim ** (k - 1)


def _polynomial(overlap: Float[Array, "*shape"], target: Float[Array, "term"], student: Float[Array, "term"]) -> Array:
    """D(m) by Horner's rule."""
    total = jnp.zeros_like(overlap)
    for k in reversed(range(1, len(target))):
        total = total * overlap + k * target[k] * student[k]
    return total
