r"""A perceptron with weights +-1 is determined beyond 1.245 samples a dimension; message passing finds it beyond 1.493.

Formula. Labels $y = \operatorname{sign}(\theta \cdot x/\sqrt d + \tau \xi)$ of $n = \alpha d$ inputs $x \sim N(0, I)$, with
$\theta_i = \pm 1$ at random. The posterior mean $w$ has the overlap $q = \theta \cdot w/d = |w|^2/d$ with

$$
\begin{align*}
\hat q &= \frac{2 \alpha}{s^2}\, \mathbb{E} \frac{\phi(z)^2}{\Phi(z)}, \qquad z \sim N(0, q/s^2), \qquad s^2 = \tau^2 + 1 - q \\
q &= \mathbb{E} \tanh h, \qquad h \sim N(\hat q, \hat q)
\end{align*}
$$

Iterated from $q = 0$: the overlap after every iteration of Bayes-optimal approximate message passing. Without noise $q = 1$ is
a solution at every $\alpha$, and from 0 the iteration ends at another one as long as there is one: $\alpha$, as a function of
$\hat q$, has a maximum, the algorithmic threshold. There the second solution has the entropy per weight

$$
S = \mathbb{E} \ln (2 \cosh h) - \frac{\hat q}{2} (1 + q) + 2 \alpha\, \mathbb{E}\, \Phi(z) \ln \Phi(z)
$$

of the weights that agree with all labels, which falls with $\alpha$ and is 0, the entropy of $q = 1$, at the information
threshold. Between the two thresholds the teacher is the only answer, and message passing does not find it.

Regime. $n, d \to \infty$ at fixed $\alpha$. Thresholds, overlap and entropy are for labels without noise.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\alpha$ | `ratio` | any | samples over dimensions |
| $\tau$ | `noise_std` | | of the noise inside the sign; 0: sign teacher |
| $q$ | `overlap` | any | $\theta \cdot w/d$ and $\lvert w\rvert^2/d$ of the posterior mean $w$ |
| $S$ | `entropy` | any | logarithm of the number of weights that agree with all labels, over $d$ |
| $t$ | `steps` | `step` | iterations of message passing |

Factors. Natural logarithms: at $\alpha = 0$ the entropy is $\ln 2$.

Source. G. Gyorgyi, Phys. Rev. A 41 (1990) 7097, doi 10.1103/PhysRevA.41.7097 (the threshold 1.245: abstract read); J. Barbier
et al., arXiv 1708.03395 (proof, message passing: recalled). Derived here again, and the algorithmic threshold of 1.4926.

Finite size. Near the algorithmic threshold the transition is smeared over a width of order $d^{-1/2}$: at $d = 1000$ some
draws at $\alpha = 1.45$ are recovered.

Example. Beyond the first threshold the answer is unique, beyond the second it is found:

>>> from closedform.theory.high_dimension import binary_weights
>>> [round(float(ratio), 4) for ratio in binary_weights.thresholds()]
[1.2447, 1.4926]
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc
from jaxtyping import Array, Float, Int, Real

from ...documented import documented
from ..numerics.arguments import ArrayLike, above, at_least, takes
from ..numerics.recording import recorded
from ..numerics.roots import square_root
from . import _perceptron

Number = Real[ArrayLike, ""]
Floats = Float[Array, "*shape"]


@documented
class Thresholds(NamedTuple):
    """In samples a dimension."""

    information: Float[Array, ""]  # beyond it the teacher is the only answer
    algorithmic: Float[Array, ""]  # beyond it message passing finds the teacher


@documented
class Uninformed(NamedTuple):
    """Where message passing ends that starts without knowledge of the teacher."""

    overlap: Float[Array, "*shape"]  # q
    entropy: Float[Array, "*shape"]  # S; below 0 the solution is metastable, and the teacher the only answer


@takes()
def thresholds() -> Thresholds:
    """Where the data determine the weights, and where message passing finds them; of labels without noise."""
    return _thresholds()


@takes(ratio=above(0, finite=True))
def uninformed(ratio: Real[ArrayLike, "*shape"]) -> Uninformed:
    """Overlap and entropy; 1 and 0 beyond the algorithmic threshold, below which the slope of the overlap grows to infinity."""
    return _uninformed(ratio)


@takes(steps=at_least(0), ratio=above(0, finite=True), noise_std=at_least(0, finite=True))
def state_evolution(steps: Int[np.ndarray, "step"], ratio: Number, noise_std: Number) -> Float[Array, "step"]:
    """The overlap q after so many iterations of message passing from q = 0, in any order.

    Overlaps that differ from 1 by less than 1e-33 count as 1.
    """

    return _evolved(ratio, noise_std, tuple(map(int, steps)))


_MOST = 150.0  # of hat q: there 1 - q is 1e-33
_TOP = 3.259480388244191  # hat q where the ratio is largest, the zero of its derivative: a test finds it in 30 digits


# compiled as one where a caller has no program of its own, here and below
@partial(jax.jit, static_argnums=2, inline=True)
def _evolved(ratio: Array, noise_std: Array, steps: tuple[int, ...]) -> Array:
    def update(_, precision: Array) -> Array:
        new = ratio * _perceptron.label_information(*_moments(precision), noise_std**2)
        return jnp.minimum(new, _MOST)

    return _moments(recorded(update, jnp.zeros_like(ratio), np.array(steps, int)))[0]


@partial(jax.jit, inline=True)
def _thresholds() -> Thresholds:
    top = jnp.full((), _TOP)
    none = _perceptron.root_of_log(lambda k: -_at(jnp.exp(k)).entropy, jnp.zeros_like(top), top / 4, top)
    return Thresholds(*jnp.exp(_log_ratio(jnp.log(jnp.stack([none, top])))))


@partial(jax.jit, inline=True)
def _uninformed(ratio: Floats) -> Uninformed:
    found = jnp.log(ratio) < _log_ratio(jnp.log(jnp.full((), _TOP, ratio.dtype)))
    below = jnp.where(found, ratio, 1)
    # hat q is between 0.63 and 0.73 times alpha/s, where s^2 = 1 - q is above 0.1 up to the maximum
    at = _at(_perceptron.root_of_log(_log_ratio, jnp.log(below), below / 2, jnp.minimum(3 * below, _TOP)))
    return Uninformed(jnp.where(found, at.overlap, 1), jnp.where(found, at.entropy, 0))


def _moments(precision: Floats) -> tuple[Floats, Floats]:
    """E tanh h = E tanh^2 h and 1 - E tanh h = E sech^2 h for h ~ N(k, k), each with its digits.

    N(h; k, k) = e^(h - k/2) N(h; 0, k), where of an even function of h times e^h the even part cosh h counts: the second is
    e^(-k/2) E sech h over N(0, k), and the first e^(-k/2) E sinh h tanh h. As a difference from 1 it has its digits for k >= 1.
    """

    def both(h: Floats) -> tuple[Floats, Floats]:
        return jnp.sinh(h) * jnp.tanh(h), 1 / jnp.cosh(h)

    small, rest = _tilted(both, precision)
    return jnp.where(precision < 1, small, 1 - rest), rest


def _tilted(fn: Callable[[Floats], Any], k: Floats) -> Any:
    """E e^(h - k/2) fn(h) over N(0, k), with the first factor left in fn, of functions that fall as e^-|h| for large k."""
    x, k = _perceptron.nodes(k, 40), k[..., None]
    scale = _perceptron.STEP * jnp.exp(-k / 2 - x**2 / (2 * (1 + k))) / jnp.sqrt(2 * math.pi * (1 + k))
    return jax.tree.map(lambda f: jnp.sum(scale * f, axis=-1), fn(square_root(k / (1 + k)) * x))


def _log_ratio(log_precision: Floats) -> Floats:
    """The logarithm of the samples a dimension at which hat q is the precision, without noise."""
    overlap, variance = _moments(jnp.exp(log_precision))
    return log_precision - jnp.log(_perceptron.label_information(overlap, variance, jnp.zeros_like(overlap)))


def _at(k: Floats) -> Uninformed:
    """The solution whose hat q is k. E ln(2 cosh h) is k + E ln(1 + e^(-2h)), and 1 + q is 2 - v."""
    overlap, variance = _moments(k)
    ratio = k / _perceptron.label_information(overlap, variance, jnp.zeros_like(overlap))
    prior = _tilted(lambda h: jnp.exp(h) * jnp.log1p(jnp.exp(-2 * h)), k) + k * variance / 2
    return Uninformed(overlap, prior + 2 * ratio * _label_entropy(overlap, variance))


def _label_entropy(overlap: Floats, variance: Floats) -> Floats:
    """E Phi ln Phi of t ~ N(0, q/v): where Phi ln Phi is not small the density is flat if v is, so that nodes follow both."""
    x = _perceptron.nodes(overlap, 10)
    phi = erfc(-jnp.sqrt(overlap / 2)[..., None] * x) / 2
    density = jnp.exp(-(x**2) * variance[..., None] / 2) * jnp.sqrt(variance / (2 * math.pi))[..., None]
    return _perceptron.STEP * jnp.sum(density * phi * jnp.log(phi), axis=-1)
