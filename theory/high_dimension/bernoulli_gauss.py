r"""Sparse weights from linear measurements, at best: the Bayes-optimal error, message passing step by step, and its threshold.

Formula. Measurements $y = \langle x, \theta \rangle/\sqrt d + \sqrt\Delta\, \xi$, $n = \alpha d$ of them, of weights of which
a share $\varepsilon$ is $N(0, v)$ and all others are 0. One weight seen through noise of variance $1/A$ is estimated with the
error, $a = A v$,

$$
\operatorname{mmse}(A) = \varepsilon v \left[\frac{1}{1 + a} + \frac{a}{1 + a}\, \mathbb{E}\, z^2 (1 - \pi(z)) \right], \qquad
\frac{\pi}{1 - \pi} = \frac{\varepsilon}{1 - \varepsilon}\, \frac{e^{a z^2/2}}{\sqrt{1 + a}}
$$

where $\pi$ is the probability that the weight is not 0. The error of approximate message passing after $t$ steps is

$$
E_{t+1} = \operatorname{mmse}\left(\frac{\alpha}{\Delta + E_t}\right), \qquad E_0 = \varepsilon v
$$

and without noise it falls to 0 if $\alpha$ is above $\max_A A \operatorname{mmse}(A)$, which does not depend on $v$. The fixed
point that is reached from $E_0 = 0$ is the Bayes-optimal error where it has the larger evidence; without noise the weights are
determined if $\alpha > \varepsilon$.

Regime. $n$ and $d \to \infty$ at a fixed $\alpha$ and a fixed number of steps, independent Gaussian inputs, known
$\varepsilon, v, \Delta$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\alpha$ | `ratio` | any | measurements over dimension, $n/d$ |
| $\varepsilon$ | `density` | any | share of the weights that are not 0; 1 is a Gaussian prior |
| $v$ | `slab_variance` | any | variance of these |
| $\Delta$ | `noise_variance` | any | variance of the noise of a measurement |
| $A$ | `precision` | any | one over the variance of the noise through which a weight is seen |
| $E_t$ | `state_evolution` | (steps + 1, any) | $\lvert w_t - \theta \rvert^2/d$ |

Factors. Inputs have unit variance and are divided by $\sqrt d$: the columns of the matrix have norm $\sqrt\alpha$, not 1.

Source. D. Donoho, A. Maleki, A. Montanari, arXiv 0907.3574; M. Bayati, A. Montanari, arXiv 1001.3448; F. Krzakala et al., arXiv
1109.4424; recalled, not re-read. The form of the error that does not cancel, and the threshold of message passing, are derived
here; that $\varepsilon$ is the limit of every method is recalled.

Finite size. Errors after a fixed number of steps are off by $O(1/d)$ and scatter by $O(d^{-1/2})$.

Example. One weight in five is not 0: message passing needs more than .3554 measurements a weight.

>>> from closedform.theory.high_dimension import bernoulli_gauss
>>> round(float(bernoulli_gauss.recovery_threshold(0.2)), 4)
0.3554
>>> [round(float(bernoulli_gauss.state_evolution(alpha, 0.2, 1.0, 1e-8, 300)[-1]), 3) for alpha in (0.34, 0.36)]
[0.052, 0.0]
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import ArrayLike, above, at_least, between, takes
from ..numerics.normal import pdf
from ..numerics.panels import panel_rule

Numbers = Real[ArrayLike, "*#shape"]
Floats = Float[Array, "*shape"]

_POSITIVE, _NON_NEGATIVE = above(0, finite=True), at_least(0, finite=True)
_DENSITY = between(0, 1, low_open=True)
_NODES = 32  # a panel
_FAR = 12.0  # phi(z) is below 1e-31 beyond


@takes(precision=_NON_NEGATIVE, density=_DENSITY, slab_variance=_POSITIVE)
def mmse(precision: Numbers, density: Numbers, slab_variance: Numbers = 1.0) -> Float[Array, "*shape"]:
    """The least mean squared error of a weight that is seen through Gaussian noise of variance 1/precision.

    >>> float(mmse(3.0, 1.0)), round(float(mmse(10.0, 0.2)), 6)  # of a Gaussian prior 1/(1 + A)
    (0.25, 0.035277)
    """
    A, eps, v = jnp.broadcast_arrays(precision, density, slab_variance)
    return v * _unit_mmse(A * v, eps)


@takes(
    ratio=_POSITIVE,
    density=_DENSITY,
    slab_variance=_POSITIVE,
    noise_variance=_NON_NEGATIVE,
    num_steps=at_least(0),
    start=_NON_NEGATIVE,
)
def state_evolution(
    ratio: Numbers,
    density: Numbers,
    slab_variance: Numbers,
    noise_variance: Numbers,
    num_steps: int,
    start: Numbers | None = None,
) -> Float[Array, "step *shape"]:
    """E_0, .., E_{num_steps} of message passing, from weights 0, or from an error `start`: 0 is the solution itself.

    Without noise an error of 0 stays 0.

    >>> [round(float(error), 4) for error in state_evolution(0.5, 0.2, 1.0, 1e-4, 2)]
    [0.2, 0.1058, 0.0682]
    """
    first = density * slab_variance if start is None else start
    alpha, eps, v, delta, first = jnp.broadcast_arrays(ratio, density, slab_variance, noise_variance, first)

    def advance(error: Floats, _: None) -> tuple[Floats, Floats]:
        noise = delta + error
        seen = noise > 0
        after = v * _unit_mmse(alpha * v / jnp.where(seen, noise, 1), eps)
        after = jnp.where(seen, after, 0)
        return after, after

    return jnp.concatenate([first[None], jax.lax.scan(advance, first, None, length=num_steps)[1]])


@takes(density=_DENSITY)
def recovery_threshold(density: Numbers) -> Float[Array, "*shape"]:
    """Measurements over dimension from which on message passing finds the weights, without noise.

    >>> [round(float(alpha), 5) for alpha in recovery_threshold([0.1, 0.4, 1.0])]
    [0.20756, 0.58925, 1.0]
    """

    def needed(log_a: Floats) -> Floats:
        return jnp.exp(log_a) * _unit_mmse(jnp.exp(log_a), jnp.broadcast_to(density, log_a.shape))

    offsets = jnp.expand_dims(jnp.linspace(-1, 1, 64, dtype=density.dtype), tuple(range(1, density.ndim + 1)))

    def narrow(_, window: tuple[Floats, Array]) -> tuple[Floats, Array]:
        centre, half = window
        points = centre[None] + half * offsets
        best = jnp.argmax(needed(points), axis=0)
        return jnp.take_along_axis(points, best[None], axis=0)[0], half / 16

    start = jnp.full_like(density, 5.0), jnp.asarray(9.0, density.dtype)  # ln a from -4 to 14
    highest = jax.lax.stop_gradient(jax.lax.fori_loop(0, 7, narrow, start)[0])  # to 1e-8, and the slope there is 0
    return jnp.maximum(needed(highest), density)  # the value as A goes to infinity


@functools.partial(jax.jit, inline=True)
def _unit_mmse(a: Floats, eps: Floats) -> Floats:
    """For v = 1. With y = a z^2/2 the probability that a weight is 0 falls from 1 to 0 within a few units of y."""
    half = jnp.log1p(a) / 2 + jnp.log1p(-jnp.minimum(eps, 1 - jnp.finfo(eps.dtype).eps)) - jnp.log(eps)
    steps = jnp.asarray([-32.0, -8.0, -2.0, 0.0, 2.0, 8.0, 40.0], a.dtype)
    y = jnp.maximum(half[..., None] + jnp.expand_dims(steps, tuple(range(a.ndim))), 0)
    step = jnp.sqrt(2 * y / jnp.where(a > 0, a, 1)[..., None])
    fixed = jnp.expand_dims(jnp.asarray([0.0, 3.0, 6.0, _FAR], a.dtype), tuple(range(a.ndim)))
    fixed = jnp.broadcast_to(fixed, (*a.shape, 4))
    z, weights = panel_rule(jnp.concatenate([jnp.clip(step, 0, _FAR), fixed], axis=-1), _NODES)
    zero = (1 - eps)[..., None] * jnp.exp(-a[..., None] * z**2 / 2)
    slab = eps / jnp.sqrt(1 + a)
    missed = 2 * jnp.sum(weights * pdf(z) * z**2 * zero / (zero + slab[..., None]), axis=-1)
    return eps * (1 / (1 + a) + a / (1 + a) * missed)
