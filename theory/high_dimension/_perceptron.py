r"""What the two priors of a noisy perceptron share: the information of a label, sums over a normal law, a root in logarithms.

Everything is in units in which the teacher has the norm 1, and an overlap $q$ comes with $v = 1 - q$, so that both have
their digits. With $t \sim N(0, q/s^2)$ and $s^2 = v + \tau^2$ the product $\phi(t)\, \phi(t s/\sqrt q)$ is again Gaussian, of
variance $q/(1 + \tau^2)$, hence

$$
\hat q = \frac{2 \alpha}{s^2}\, \mathbb{E} \frac{\phi(t)^2}{\Phi(t)}
= \frac{2 \alpha}{s \sqrt{2 \pi (1 + \tau^2)}}\, \mathbb{E} \frac{\phi}{\Phi} \left( \sqrt{\tfrac{q}{1 + \tau^2}}\; \xi \right)
$$

an average of a smooth function that grows linearly, for every overlap up to 1. The trapezoidal rule of step $h$ is exact to
$e^{-2 \pi b/h}$, where $b$ is the distance of the nearest singularity from the real line: 2.8 here, $\pi/2$ for a hyperbolic
secant.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc
from jaxtyping import Array, Float

from ..numerics.roots import square_root

Floats = Float[Array, "*shape"]
STEP = 0.25


def nodes(like: Floats, end: int) -> Float[Array, "*one node"]:
    """-end, .., end in steps of STEP, along an axis behind those of `like`."""
    x = STEP * np.arange(-end / STEP, end / STEP + 1)
    return jnp.asarray(x.reshape((1,) * like.ndim + x.shape), like.dtype)


def normal_mean(fn: Callable[[Array], Array], std: Floats) -> Floats:
    """E fn(std xi), for functions without singularity within 2.8 of the real line that grow as a power."""
    x = nodes(std, 10)
    return jnp.sum(STEP / math.sqrt(2 * math.pi) * jnp.exp(-(x**2) / 2) * fn(std[..., None] * x), axis=-1)


def label_information(overlap: Floats, variance: Floats, noise: Floats) -> Floats:
    """hat q for one sample a dimension: per sample, the information of a label on the teacher."""
    spread = jnp.sqrt((variance + noise) * (2 * math.pi) * (1 + noise))

    def mills(t: Floats) -> Floats:
        # phi/Phi: the nodes end at -10, where erfc is 1e-23 and has its digits
        return math.sqrt(2 / math.pi) * jnp.exp(-(t**2) / 2) / erfc(-t / math.sqrt(2))

    return 2 / spread * normal_mean(mills, square_root(overlap / (1 + noise)))


def root_of_log(log_fn: Callable[[Array], Array], target: Floats, low: Floats, high: Floats) -> Floats:
    """x > 0 with log_fn(log x) = target, for a rising function between low and high, with implicit derivatives."""
    low, high = jax.lax.stop_gradient((jnp.log(low), jnp.log(high)))

    def excess(x: Floats) -> Floats:
        return log_fn(x) - target

    def solve(_, __) -> Floats:
        def halved(_: Any, ends: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
            low, high = ends
            middle = (low + high) / 2
            beyond = excess(middle) > 0
            return jnp.where(beyond, low, middle), jnp.where(beyond, middle, high)

        ends = jax.lax.fori_loop(0, 64, halved, (low, high))
        return (ends[0] + ends[1]) / 2

    def tangent_solve(linear_fn: Callable[[Floats], Floats], value: Floats) -> Floats:
        return value / linear_fn(jnp.ones_like(value))

    return jnp.exp(jax.lax.custom_root(excess, (low + high) / 2, solve, tangent_solve))
