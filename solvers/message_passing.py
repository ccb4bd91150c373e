r"""Generalised approximate message passing: convex fits and posterior means for Gaussian inputs, in ten steps or so.

For inputs $x_i$ with independent entries of variance 1 in $d$ dimensions, outputs $y_i$ that depend on $w \cdot x_i/\sqrt d$,
and weights with independent priors,

$$
\begin{align*}
\omega &= \frac{X w}{\sqrt d} - V g_\mathrm{old}, & g &= g_\mathrm{out}(y, \omega, V), &
A &= -\frac{1}{d} \sum_i \frac{\partial g_i}{\partial \omega_i} \\
h &= A w + \frac{X^\top g}{\sqrt d}, & w &= f_\mathrm{in}(h, A), & V &= \frac{1}{d} \sum_j \frac{\partial w_j}{\partial h_j}
\end{align*}
$$

The term $- V g_\mathrm{old}$ (Onsager) takes out of the field of each sample what the sample itself has put into the weights.
Two functions make the method:

- *output*: $g = (\hat z - \omega)/V$ with an estimate $\hat z$ of the output $z \sim N(\omega, V)$ given $y$. `logistic`,
  `hinge`, `squared_hinge`, `square` and `margin_loss` take the minimiser of $\ell + (z - \omega)^2/(2V)$: with `ridge` the
  steps end at the optimum of $\sum_i \ell(y_i z_i) + \frac{\lambda}{2} |w|^2$. `sign_posterior` takes the posterior mean of
  a perceptron.
- *input*: the weight, and its mean derivative. `ridge` (also the Gaussian prior of variance $1/\lambda$), `binary`.

The law of its state at every step in the limit of large dimensions is known (state evolution): see
`theory.high_dimension`. Inputs with correlated entries, or columns of different sizes, make it diverge.

Source: S. Rangan, arXiv 1010.5141; the functions of convex losses and of the perceptron are derived here.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..documented import documented
from ..theory.numerics.arguments import FINITE, ArrayLike, above, at_least, takes
from ..theory.numerics.normal import inverse_mills, inverse_mills_excess

Samples = Float[Array, "sample"]
Number = Real[ArrayLike, ""]
Output = Callable[[Samples, Samples, Number], tuple[Samples, Samples]]  # y, omega, V -> g, -dg/domega
Input = Callable[[Float[Array, "dim"], Number], tuple[Float[Array, "dim"], Number]]  # h, A -> w, V


@documented
class State(NamedTuple):
    weights: Float[Array, "dim"]  # w
    variance: Float[Array, ""]  # V, of a field w . x/sqrt(d)
    pull: Float[Array, "sample"]  # g of the last step


def init(num_samples: int, weights: Float[Array, "dim"], variance: Number) -> State:
    """The start: weights that do not depend on the data (0, say), and V: 1/lambda for `ridge`, 1 for `binary`."""
    return State(weights, jnp.asarray(variance, weights.dtype), jnp.zeros(num_samples, weights.dtype))


def step(state: State, x: Float[Array, "sample dim"], y: Samples, output_fn: Output, input_fn: Input) -> State:
    """One iteration: two products with the inputs."""
    weights, variance, pull = state
    scale = math.sqrt(x.shape[1])
    omega = x @ weights / scale - variance * pull
    pull, curvature = output_fn(y, omega, variance)
    precision = jnp.sum(curvature) / x.shape[1]
    return State(*input_fn(precision * weights + pull @ x / scale, precision), pull)


@takes(x=FINITE, y=FINITE, variance=above(0, finite=True), num_steps=at_least(0))
def run(
    x: Real[ArrayLike, "sample dim"],
    y: Real[ArrayLike, "sample"],
    output_fn: Output,
    input_fn: Input,
    variance: Number,
    num_steps: int,
) -> State:
    """So many iterations from weights 0; the variance is that of `init`."""
    start = init(len(y), jnp.zeros(x.shape[1], x.dtype), variance)
    return jax.lax.fori_loop(0, num_steps, lambda _, state: step(state, x, y, output_fn, input_fn), start)


# -------------------------------------------------------------------------------------------------------------- outputs


def square(y: Samples, omega: Samples, variance: Number) -> tuple[Samples, Samples]:
    """The loss (y - z)^2/2, for numbers or labels."""
    return (y - omega) / (1 + variance), jnp.full_like(omega, 1) / (1 + variance)


def hinge(y: Samples, omega: Samples, variance: Number) -> tuple[Samples, Samples]:
    """The loss max(1 - y z, 0)."""
    missing = (1 - y * omega) / variance
    return y * jnp.clip(missing, 0, 1), jnp.where((missing > 0) & (missing < 1), 1 / variance, 0)


def squared_hinge(y: Samples, omega: Samples, variance: Number) -> tuple[Samples, Samples]:
    """The loss max(1 - y z, 0)^2/2."""
    missing = 1 - y * omega
    return y * jnp.maximum(missing, 0) / (1 + variance), jnp.where(missing > 0, 1 / (1 + variance), 0)


def margin_loss(slope_fn: Callable[[Samples], Samples]) -> Output:
    """A convex, smooth loss l(y z), by its derivative l', a function of one number that is applied to arrays."""

    def output(y: Samples, omega: Samples, variance: Number) -> tuple[Samples, Samples]:
        margin = y * omega
        minimiser = _minimiser(slope_fn, margin, variance)
        slope, curvature = _with_derivative(slope_fn, minimiser)
        return -y * slope, curvature / (1 + variance * curvature)

    return output


def logistic(y: Samples, omega: Samples, variance: Number) -> tuple[Samples, Samples]:
    """The loss log(1 + e^(-y z))."""
    return margin_loss(lambda s: -jax.nn.sigmoid(-s))(y, omega, variance)


def sign_posterior(noise_std: Number) -> Output:
    """The posterior of a perceptron whose label is the sign of z plus Gaussian noise of this deviation."""

    def output(y: Samples, omega: Samples, variance: Number) -> tuple[Samples, Samples]:
        spread = jnp.sqrt(variance + noise_std**2)
        u = y * omega / spread
        ratio = inverse_mills(u)
        return y * ratio / spread, ratio * inverse_mills_excess(u) / spread**2

    return output


def _minimiser(slope_fn: Callable[[Samples], Samples], margin: Samples, variance: Number) -> Samples:
    """argmin l(s) + (s - margin)^2/(2V), which lies between the margin and one step of length V down the slope of the loss.

    Newton's method alone cycles between the two flat ends of a loss if V is large, so halvings come first.
    """

    def excess(s: Samples) -> Samples:
        return s - margin + variance * slope_fn(s)

    def halved(_: Any, ends: tuple[Samples, Samples]) -> tuple[Samples, Samples]:
        low, high = ends
        middle = (low + high) / 2
        beyond = excess(middle) > 0
        return jnp.where(beyond, low, middle), jnp.where(beyond, middle, high)

    other = margin - variance * slope_fn(margin)
    ends = jnp.minimum(margin, other), jnp.maximum(margin, other)
    low, high = jax.lax.fori_loop(0, 40, halved, ends)
    s = (low + high) / 2
    for _ in range(2):
        value, slope = _with_derivative(excess, s)
        s = jnp.clip(s - value / slope, low, high)
    return s


def _with_derivative(fn: Callable[[Samples], Samples], s: Samples) -> tuple[Samples, Samples]:
    return jax.jvp(fn, (s,), (jnp.ones_like(s),))


# --------------------------------------------------------------------------------------------------------------- inputs


def ridge(ridge: Number) -> Input:
    """The penalty ridge |w|^2/2, or the Gaussian prior of variance 1/ridge."""

    def weights(field: Float[Array, "dim"], precision: Number) -> tuple[Float[Array, "dim"], Number]:
        return field / (ridge + precision), 1 / (ridge + precision)

    return weights


def binary(field: Float[Array, "dim"], precision: Number) -> tuple[Float[Array, "dim"], Number]:
    """The prior of weights 1 and -1 at random.

    The variance is held above 1e-6: once all weights are found, it would be 0, and the next step 0/0.
    """
    weights = jnp.tanh(field)
    return weights, jnp.maximum(jnp.mean(1 - weights**2), 1e-6)
