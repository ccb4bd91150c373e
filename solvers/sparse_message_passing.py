r"""Approximate message passing: sparse weights from linear measurements, and a spike of entries +-1 from a symmetric matrix.

Measurements $y = X \theta + \text{noise}$ of weights that are $N(0, v)$ with probability $\varepsilon$ and 0 otherwise, entries
of $X$ of variance $1/d$ and $n = \alpha d$ rows:

$$
\begin{align*}
h &= w + X^\top r/\alpha, \qquad S = \frac{|r|^2}{\alpha n} \\
w^+ &= \mathbb{E}[\theta \mid h], \qquad r^+ = y - X w^+ + r\, \frac{\overline{\operatorname{Var}[\theta \mid h]}}{\alpha S}
\end{align*}
$$

with mean and variance of a weight that is seen as $h = \theta + N(0, S)$. A matrix $Y = \lambda v v^\top/d + W$:

$$
f = \tanh w, \qquad w^+ = \lambda Y f - \lambda^2 (1 - \overline{f^2})\, f_{\text{old}}
$$

The last term of each is Onsager's, without which the iteration has another law. Designs must have independent entries: with
columns of unequal size it may diverge.

Source: D. Donoho, A. Maleki, A. Montanari, arXiv 0907.3574; Y. Deshpande, E. Abbe, A. Montanari, arXiv 1507.08685 (recalled).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..documented import documented


@documented
class Measurements(NamedTuple):
    x: Float[Array, "sample dim"]  # with entries of variance 1/d; rows of zeros, with y = 0, are not counted by `ratio`
    y: Float[Array, "sample"]
    ratio: Float[Array, ""]  # alpha, samples over dimension
    density: Float[Array, ""]  # epsilon
    slab_variance: Float[Array, ""]  # v


@documented
class State(NamedTuple):
    weights: Float[Array, "dim"]
    residual: Float[Array, "sample"]  # r, with Onsager's term


def init(problem: Measurements) -> State:
    """Weights of 0."""
    return State(jnp.zeros(problem.x.shape[1], problem.x.dtype), problem.y)


def step(state: State, problem: Measurements) -> State:
    """One iteration; the state stays where the noise has fallen to rounding, as it does once weights are found exactly."""
    x, y, alpha, eps, v = problem
    dim = x.shape[1]
    noise = jnp.sum(state.residual**2) / (alpha**2 * dim)
    ended = noise <= (100 * jnp.finfo(y.dtype).eps) ** 2 * eps * v
    noise = jnp.where(ended, v, noise)
    h = state.weights + x.T @ state.residual / alpha
    mean, variance = posterior(h, noise, eps, v)
    residual = y - x @ mean + state.residual * jnp.mean(variance) / (alpha * noise)
    return jax.tree.map(lambda old, new: jnp.where(ended, old, new), state, State(mean, residual))


def posterior(
    h: Float[Array, "dim"], noise: Float[Array, ""], density: Float[Array, ""], slab_variance: Float[Array, ""]
) -> tuple[Float[Array, "dim"], Float[Array, "dim"]]:
    """Mean and variance of every weight given h, its value plus noise of that variance.

    >>> mean, variance = posterior(jnp.array([3.0]), jnp.array(1.0), jnp.array(1.0), jnp.array(2.0))  # no zeros: 2/3 of h
    >>> float(mean[0]), round(float(variance[0]), 5)
    (2.0, 0.66667)
    """
    gain = slab_variance / (slab_variance + noise)
    evidence = h**2 * gain / (2 * noise) - jnp.log1p(slab_variance / noise) / 2
    nonzero = jax.nn.sigmoid(jnp.log(density) - jnp.log1p(-density) + evidence)
    value = gain * h
    return nonzero * value, nonzero * gain * noise + nonzero * (1 - nonzero) * value**2


@documented
class SpikeState(NamedTuple):
    estimate: Float[Array, "dim"]  # f = tanh w
    before: Float[Array, "dim"]  # f of the step before, 0 at the start


def init_spike(start: Float[Array, "dim"]) -> SpikeState:
    """From a first estimate of the entries, each between -1 and 1."""
    return SpikeState(start, jnp.zeros_like(start))


def step_spike(state: SpikeState, matrix: Float[Array, "dim dim"], strength: Float[Array, ""]) -> SpikeState:
    """One iteration on the matrix with a spike of that strength."""
    f, before = state
    w = strength * (matrix @ f) - strength**2 * (1 - jnp.mean(f**2)) * before
    return SpikeState(jnp.tanh(w), f)
