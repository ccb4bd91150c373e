r"""A wide random tanh network at its fixed point: how large its pre-activations are, and the spectrum of its Jacobian.

Formula. $z = \tanh(W z + u)$ with $W_{ij} \sim N(0, s^2/n)$ and $u_i \sim N(0, \tau^2)$. The pre-activations $W z^* + u$ are,
for large $n$, centred Gaussian numbers with the variance $q^*$, and the Jacobian $J = \operatorname{diag}(1 - z^{*2})\, W$
has its eigenvalues in a disc with the radius $\sqrt \chi$:

$$
\begin{align*}
q^* &= s^2\, \mathbb{E} \tanh^2(\sqrt{q^*}\, \xi) + \tau^2 \\
\chi &= s^2\, \mathbb{E} \operatorname{sech}^4(\sqrt{q^*}\, \xi), \qquad \xi \sim N(0, 1) \\
\rho(J) &\to \sqrt \chi, \qquad \max \operatorname{Re} \lambda(J) \to \sqrt \chi, \qquad
\frac{1}{n} \operatorname{tr} J J^\top \to \chi
\end{align*}
$$

The share of eigenvalues up to a modulus is the circular law with the variances
$v = s^2 \operatorname{sech}^4(\sqrt{q^*}\, \xi)$ of the rows. Picard's iteration and the flow have the same edge: both converge
for $\chi < 1$, by the factor $\sqrt \chi$ per step and at the rate $1 - \sqrt \chi$ per time.

Regime. $n \to \infty$. The weights are the same in every iteration; that they may be treated as independent of the state is
asymptotic (a cavity argument, exact for mean-field models without symmetry, not proved here). $\chi \ge 1$ means that the fixed
point is not stable and none need be reached. $\tau > 0$: without an input $z = 0$ is a fixed point for every $s$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $s$ | `weight_scale` | any | $\sqrt n$ times the standard deviation of the weights |
| $\tau^2$ | `input_variance` | any | variance of the injected input and bias |
| $q^*$ | `preactivation_variance` | any | variance of $W z^* + u$ |
| $\chi$ | `gain` | any | mean square of the singular values of $J$ |
| $\rho$ | `spectral_radius` | any | limit of the spectral radius, and of the spectral abscissa |
| $\kappa$ | `spread` | any | mean square of the variances of the rows over their squared mean |

Factors. $s^2$ is $n$ times the variance of a weight. $q^*$ contains the input.

Source. Mean-field equation: H. Sompolinsky, A. Crisanti, H. J. Sommers, doi 10.1103/PhysRevLett.61.259 (recalled), here with an
input that does not change in time. The radius is derived here by the circular law with a variance profile
(`random_matrices.circular_law`).

Finite size. $q^*$ and $\chi$ of one network scatter by $O(1/\sqrt n)$. The radius is larger than its limit on average, by the
factor `circular_law.largest_modulus` at the `spread` of the variances; the abscissa is smaller than its limit, by a tenth at 64
units (measured).

Example. Inputs calm the network: the radius falls with the variance of the input.

>>> from closedform.theory.equilibria import random_tanh
>>> [round(float(radius), 4) for radius in random_tanh.equilibrium(1.2, [0.1, 1.0, 10.0]).spectral_radius]
[0.9269, 0.7338, 0.476]
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import ArrayLike, above, at_least, takes
from ..numerics.roots import descend_to_root
from ..random_matrices import circular_law

Numbers = Real[ArrayLike, "*#shape"]
SCALE, VARIANCE = at_least(0, finite=True), above(0, finite=True)
# The points of u = sqrt(q) xi are t sqrt(q/(1 + q)): wide enough for the Gaussian if q is small, for sech^2 u if it is large.
# Poles of what is integrated are at least pi/4 from the axis (of x/(x + v) in radial_cdf), so that the trapezoidal rule with
# the step h is off by exp(-2 pi (pi/4)/h): 7e-18.
_END, _STEP = 20.0, 0.125
_NODES = np.arange(-_END, _END + _STEP, _STEP)


@documented
class Equilibrium(NamedTuple):
    """The fixed point of a wide random tanh network."""

    preactivation_variance: Float[Array, "*#shape"]  # q*
    gain: Float[Array, "*#shape"]  # chi, the mean square of the singular values of J; the fixed point is stable below 1
    spectral_radius: Float[Array, "*#shape"]  # sqrt(chi), where the bulk of the eigenvalues ends
    spread: Float[Array, "*#shape"]  # kappa = E sech^8/(E sech^4)^2, 1 where the variances of the rows are equal


@takes(weight_scale=SCALE, input_variance=VARIANCE)
def equilibrium(weight_scale: Numbers, input_variance: Numbers) -> Equilibrium:
    """q*, chi, the radius of the spectrum and the spread of the variances of the rows.

    >>> [round(float(value), 3) for value in equilibrium(1.5, 1.0)]
    [2.209, 0.753, 0.868, 2.124]
    """
    s, tau2 = jnp.broadcast_arrays(weight_scale, input_variance)
    q = _fixed_variance(s, tau2)
    fourth = _mean_power(q, 4)
    return Equilibrium(q, s**2 * fourth, s * jnp.sqrt(fourth), _mean_power(q, 8) / fourth**2)


@takes(radius=at_least(0), weight_scale=SCALE, input_variance=VARIANCE)
def radial_cdf(
    radius: Real[ArrayLike, "*radius"], weight_scale: Real[ArrayLike, ""], input_variance: Real[ArrayLike, ""]
) -> Float[Array, "*radius"]:
    """F(r), the share of eigenvalues of the Jacobian with a modulus up to r.

    >>> radial_cdf([0.0, 2.0], 1.2, 1.0).tolist()
    [0.0, 1.0]
    """
    q = _fixed_variance(weight_scale, input_variance)
    u, weights = _rule(q)
    # units so large that their rows of J are 0 to rounding; the points cover 10 deviations up to q = 3
    beyond = jnp.where(q > 3, jnp.maximum(1 - jnp.sum(weights), 0), 0)[None]
    variances = weight_scale**2 * _sech(u) ** 4
    return circular_law.radial_cdf(
        radius, jnp.concatenate([variances, jnp.zeros_like(beyond)]), jnp.concatenate([weights, beyond])
    )


def _fixed_variance(s: Float[Array, "*shape"], tau2: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """q*, by Newton's method from above: s^2 E tanh^2 is concave in q, as tanh(sqrt x)^2 is, and below s^2."""

    def newton(q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        square, slope = jax.jvp(_mean_square, (q,), (jnp.ones_like(q),))
        return (s**2 * (square - q * slope) + tau2) / (1 - s**2 * slope)

    return descend_to_root(lambda q: q - s**2 * _mean_square(q) - tau2, newton, s**2 + tau2)


def _rule(q: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape node"], Float[Array, "*shape node"]]:
    """Points u = sqrt(q) xi and their weights under the law of xi; what lies beyond them if q is large is left out."""
    scale = jnp.sqrt(1 + q)[..., None]
    xi = jnp.asarray(_NODES, q.dtype).reshape((1,) * q.ndim + _NODES.shape) / scale
    return jnp.sqrt(q)[..., None] * xi, _STEP / math.sqrt(2 * math.pi) / scale * jnp.exp(-(xi**2) / 2)


def _mean_power(q: Float[Array, "*shape"], power: int) -> Float[Array, "*shape"]:
    """E sech^power(sqrt(q) xi)."""
    u, weights = _rule(q)
    return jnp.sum(weights * _sech(u) ** power, axis=-1)


def _mean_square(q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """E tanh^2(sqrt(q) xi); for large q by 1 - E sech^2, since the points cover sech^2 and not the Gaussian."""
    u, weights = _rule(q)
    return jnp.where(q < 1, jnp.sum(weights * jnp.tanh(u) ** 2, axis=-1), 1 - jnp.sum(weights * _sech(u) ** 2, axis=-1))


def _sech(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return 1 / jnp.cosh(u)
