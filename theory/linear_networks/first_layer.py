r"""The first layer of a linear convolutional network: every filter after any number of steps, and the energy profile of all.

The network averages the responses of its filters over the image and adds them up, so that it sees an image by its average
patch $\bar p$ alone, and all filters receive the same update.

Formula. With $A = \frac{1}{N} \sum \bar p \bar p^\top = V \operatorname{diag}(a) V^\top$, $b = \frac{1}{N} \sum \bar p\, y$ and
$s_0 = \sum_k w_k(0)$,

$$
\begin{align*}
f(x) &= \sum_{k=1}^{K} w_k \cdot \bar p(x), \qquad L = \frac{1}{N} \sum_x (y - f(x))^2 \\
w_k(t) &= w_k(0) + \frac{1}{K} V \operatorname{diag}(g)\, V^\top (A^{-1} b - s_0), \qquad g_i = 1 - (1 - 2 \eta K a_i)^t
\end{align*}
$$

The energy of component $u_i$ is $e_i^2 = \frac{1}{K} \sum_k (w_k \cdot u_i)^2$. For random labels of variance $s_y^2$,
$w_k(0) \sim N(0, \sigma^2 I)$ and $G = V \operatorname{diag}(g) V^\top$, its mean over both is $u_i^\top M u_i$ with

$$
M(t) = \sigma^2 \left[ I - \frac{2}{K} G + \frac{1}{K} G^2 \right] + \frac{s_y^2}{K^2 N} G^2 A^{-1}
$$

If the $J$ patches of an image are uncorrelated, $A$ is the patch covariance divided by $J$. From small weights the root of the
mean energy is then, with the eigenvalues $\lambda_i^2$ of the patch covariance and $\eta_p = 2 \eta K/J$,

$$
e_i = \frac{s_y}{K} \sqrt{\frac{J}{N}}\; \frac{|1 - (1 - \eta_p \lambda_i^2)^t|}{\lambda_i}
$$

In gradient flow it is $(1 - e^{-\tau \lambda_i^2})/\lambda_i$ at the time $\tau = \eta_p t$: first proportional to
$\lambda_i$, in the end to $1/\lambda_i$, and largest at $\lambda^2 = x_*/\tau$ with $e^{x_*} = 2 x_* + 1$, $x_* = 1.2564$.

Regime. `trained_filters` and `loss` are exact for any images and labels. `expected_moment` and `expected_energies` are exact
means for labels of mean 0 that are independent of the images and of one another. `patch_profile` and `flow_profile` are what
becomes of them for uncorrelated patches and vanishing initial weights; patches of real images are strongly correlated, and
there the average-patch covariance, not the patch covariance, decides. Descent is stable for $\eta < 1/(K \max a)$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $w_k$ | `filters` | `filter dim` | filters, one a row |
| $A$ | `covariance` | `dim dim` | second moment of the average patch, about 0 |
| $b$ | `correlation` | `dim` | mean of average patch times label |
| $u_i$ | `basis` | `dim component` | components, one a column: usually the principal components of the patches |
| $\lambda_i^2$ | `eigenvalues` | `component` | eigenvalues of the patch covariance |
| $\eta$, $t$ | `learning_rate`, `steps` | `()`, any | step size, number of updates |
| $\eta_p t$ | `time` | any | time of the gradient flow of `flow_profile` |
| $K$, $N$ | `num_filters`, `num_samples` | `()` | filters, images |
| $\sigma$ | `init_scale` | `()` | standard deviation of the initial weights |
| $s_y^2$ | `label_variance` | `()` | variance of the labels |
| $e_i^2$ | | `component` | energy; the paper's profile is its root |

Factors. The loss has no $\frac{1}{2}$: with it $2 \eta$ becomes $\eta$. The average over places is part of the network; with
a sum the average patch is $J$ times as large. The paper's formula has a further $1/\eta^2$, the same for all components; the
sum of the geometric series has none (derived here).

Source. R. Chowers, Y. Weiss, "What do CNNs learn in the first layer and why?", arXiv 2206.02454: the linear network,
`patch_profile` and its limits (theorems 4.2 and 4.3). The exact filters, their means and the law of the largest component are
derived here.

Finite size. None for the exact functions; rounding. Eigenvalues of $A$ up to dim eps times the largest count as 0, and
$b - A s_0$ has no part along their eigenvectors.

Example. The strong component is learned first, and in the end is the weakest in the filters:

>>> from closedform.theory.linear_networks import first_layer
>>> for steps in (1, 100, float("inf")):
...     print([round(float(e), 2) for e in first_layer.patch_profile(steps, [1.0, 0.1, 0.01], 0.1)])
[0.1, 0.03, 0.01]
[1.0, 2.0, 0.95]
[1.0, 3.16, 10.0]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..kernels import kernel_dynamics
from ..numerics.arguments import FINITE, ArrayLike, above, at_least, require_not_empty, takes
from ..numerics.exponentials import bounded
from ..numerics.norms import length, nonzero
from ..numerics.symmetric import require_kernel

PEAK = 1.2564312086261697  # the positive root of e^x = 2 x + 1, where (1 - e^-x)/sqrt(x) is largest; from 40 digits by Newton
RATE = at_least(0, finite=True)


@takes(steps=at_least(0), covariance=FINITE, correlation=FINITE, filters=FINITE, learning_rate=RATE)
def trained_filters(
    steps: Real[ArrayLike, "*step"],
    covariance: Real[ArrayLike, "dim dim"],
    correlation: Real[ArrayLike, "dim"],
    filters: Real[ArrayLike, "filter dim"],
    learning_rate: Real[ArrayLike, ""],
) -> Float[Array, "*step filter dim"]:
    """w_k(t) of every filter, from `filters` at t = 0, for any images and labels; t = inf is where descent ends.

    Each of the filters receives the same update. `steps` are whole numbers. Raises ValueError for a covariance that is not
    symmetric and positive semi-definite.

    >>> trained_filters(1, [[2.0]], [1.0], [[0.0], [0.0]], 0.125).tolist()  # 2 eta b
    [[0.25], [0.25]]
    """
    require_kernel(covariance, "covariance")
    require_not_empty(filters=filters)
    num_filters, dim = filters.shape
    left = correlation - covariance @ jnp.sum(filters, axis=0)
    eye = jnp.eye(dim, dtype=left.dtype)
    change = kernel_dynamics.gradient_descent(steps, 2 * num_filters * learning_rate, covariance, eye, left).test / num_filters
    return jnp.broadcast_to(filters, (*steps.shape, num_filters, dim)) + change[..., None, :]


@takes(filters=FINITE, covariance=FINITE, correlation=FINITE, label_power=RATE)
def loss(
    filters: Real[ArrayLike, "*step filter dim"],
    covariance: Real[ArrayLike, "dim dim"],
    correlation: Real[ArrayLike, "dim"],
    label_power: Real[ArrayLike, ""],
) -> Float[Array, "*step"]:
    """L = mean y^2 - 2 b.s + s.A s with s the sum of the filters; `label_power` is the mean of y^2.

    >>> float(loss([[0.5], [0.5]], [[1.0]], [1.0], 1.0))
    0.0
    """
    s = jnp.sum(filters, axis=-2)
    return label_power - 2 * s @ correlation + jnp.sum(s @ covariance * s, axis=-1)


@takes(filters=FINITE, basis=FINITE)
def energies(
    filters: Real[ArrayLike, "*step filter dim"], basis: Real[ArrayLike, "dim component"]
) -> Float[Array, "*step component"]:
    """e_i^2, the mean over the filters of the squared coefficient of component u_i. The paper's profile is the root.

    >>> energies([[3.0, 0.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]).tolist()
    [5.0, 2.0]
    """
    require_not_empty(filters=filters)
    return jnp.mean((filters @ basis) ** 2, axis=-2)


@takes(
    steps=at_least(0),
    covariance=FINITE,
    num_filters=at_least(1, finite=True),
    init_scale=RATE,
    label_variance=RATE,
    num_samples=at_least(1, finite=True),
    learning_rate=RATE,
)
def expected_moment(
    steps: Real[ArrayLike, "*step"],
    covariance: Real[ArrayLike, "dim dim"],
    num_filters: Real[ArrayLike, ""],
    init_scale: Real[ArrayLike, ""],
    label_variance: Real[ArrayLike, ""],
    num_samples: Real[ArrayLike, ""],
    learning_rate: Real[ArrayLike, ""],
) -> Float[Array, "*step dim dim"]:
    """M(t), the mean of (1/K) sum_k w_k w_k^T over random labels and Gaussian initial weights.

    At the end 1/(K^2 N) times the inverse of A, and 1 - 1/K of the start. `steps` are whole numbers. Raises ValueError for a
    covariance that is not symmetric and positive semi-definite.
    """
    require_kernel(covariance, "covariance")
    eye = jnp.eye(len(covariance), dtype=covariance.dtype)
    learned = kernel_dynamics.gradient_descent(steps, 2 * num_filters * learning_rate, covariance, eye, eye)
    G, over_a = learned.train, learned.test  # G and G A^-1
    identity = jnp.broadcast_to(eye, G.shape)
    start = identity - 2 / num_filters * G + G @ G / num_filters
    return init_scale**2 * start + label_variance / (num_filters**2 * num_samples) * (G @ over_a)


@takes(
    steps=at_least(0),
    covariance=FINITE,
    basis=FINITE,
    num_filters=at_least(1, finite=True),
    init_scale=RATE,
    label_variance=RATE,
    num_samples=at_least(1, finite=True),
    learning_rate=RATE,
)
def expected_energies(
    steps: Real[ArrayLike, "*step"],
    covariance: Real[ArrayLike, "dim dim"],
    basis: Real[ArrayLike, "dim component"],
    num_filters: Real[ArrayLike, ""],
    init_scale: Real[ArrayLike, ""],
    label_variance: Real[ArrayLike, ""],
    num_samples: Real[ArrayLike, ""],
    learning_rate: Real[ArrayLike, ""],
) -> Float[Array, "*step component"]:
    """The mean of e_i^2 over random labels and Gaussian initial weights, u_i.M u_i.

    At t = 0 it is the variance of the initial weights in every component.
    """
    M = expected_moment(steps, covariance, num_filters, init_scale, label_variance, num_samples, learning_rate)
    return jnp.sum(jnp.broadcast_to(basis, (*steps.shape, *basis.shape)) * (M @ basis), axis=-2)


@takes(steps=at_least(0), eigenvalues=RATE, learning_rate=RATE)
def patch_profile(
    steps: Real[ArrayLike, "*step"], eigenvalues: Real[ArrayLike, "component"], learning_rate: Real[ArrayLike, ""]
) -> Float[Array, "*step component"]:
    """|1 - (1 - eta_p lambda^2)^t|/lambda, the paper's e_i up to a factor that all components share (theorem 4.2).

    `learning_rate` is eta_p = 2 eta K/J; the factor is s_y sqrt(J/N)/K (derived here). A component without variance has none.

    >>> [round(float(e), 4) for e in patch_profile(1, [4.0, 1.0, 0.0], 0.1)]  # eta_p lambda after one step
    [0.2, 0.1, 0.0]
    """
    shape = (*steps.shape, len(eigenvalues))
    learned = kernel_dynamics.learned_share(steps[..., None], learning_rate, jnp.broadcast_to(eigenvalues, shape))
    return _over_root(jnp.abs(learned), jnp.broadcast_to(eigenvalues, shape))


@takes(time=at_least(0), eigenvalues=RATE)
def flow_profile(time: Real[ArrayLike, "*time"], eigenvalues: Real[ArrayLike, "component"]) -> Float[Array, "*time component"]:
    """(1 - exp(-tau lambda^2))/lambda, the limit of `patch_profile` for small steps, at tau = eta_p t.

    >>> round(float(flow_profile(1.0, [PEAK])[0]), 6)
    0.638173
    """
    a = jnp.broadcast_to(eigenvalues, (*time.shape, len(eigenvalues)))
    exponent = bounded(time)[..., None] * a
    return _over_root(-jnp.expm1(-exponent), a)


def _over_root(learned: Array, eigenvalues: Array) -> Array:
    """learned/lambda, and 0 at lambda = 0."""
    there = eigenvalues > 0
    return jnp.where(there, learned, 0) / jnp.sqrt(jnp.where(there, eigenvalues, 1))


@takes(time=above(0))
def peak_eigenvalue(time: Real[ArrayLike, "*time"]) -> Float[Array, "*time"]:
    """The lambda^2 whose component is the largest of `flow_profile`, x*/tau: it drifts to weaker components (derived here).

    >>> round(float(peak_eigenvalue(2.0)), 4)
    0.6282
    """
    return PEAK / time


@takes(covariance=FINITE, num_filters=at_least(1, finite=True))
def stable_learning_rate(covariance: Real[ArrayLike, "dim dim"], num_filters: Real[ArrayLike, ""]) -> Float[Array, ""]:
    """1/(K max a), the step size from which on descent diverges; infinite if the average patch is always 0.

    >>> float(stable_learning_rate([[0.5]], 4))
    0.5
    """
    require_kernel(covariance, "covariance")
    require_not_empty(covariance=covariance)
    return 1 / (num_filters * jnp.maximum(jnp.linalg.eigvalsh(covariance)[-1], 0))


@takes(profile=FINITE, other=FINITE)
def similarity(profile: Real[ArrayLike, "component"], other: Real[ArrayLike, "component"]) -> Float[Array, ""]:
    """The paper's similarity of two profiles e: their Pearson correlation over the components; 0 if one of them is constant.

    >>> round(float(similarity([1.0, 2.0, 4.0], [3.0, 5.0, 9.0])), 6)
    1.0
    """
    require_not_empty(profile=profile)
    return jnp.sum(_standardised(profile) * _standardised(other))


def _standardised(profile: Float[Array, "component"]) -> Float[Array, "component"]:
    """Of mean 0 and length 1; 0 where the differences are rounding."""
    centred = profile - jnp.mean(profile)
    rounding = profile.size * float(jnp.finfo(profile.dtype).eps) * jnp.max(jnp.abs(profile))
    size = length(centred)
    return jnp.where(size > rounding, centred, 0) / nonzero(jnp.where(size > rounding, size, 0))


@documented
class Fit(NamedTuple):
    """The gradient-flow form of the paper's formula that is most like a given profile."""

    time: Float[Array, ""]  # tau, among those tried
    similarity: Float[Array, ""]  # Pearson correlation there


@takes(profile=FINITE, eigenvalues=RATE, times=at_least(0))
def fitted_time(
    profile: Real[ArrayLike, "component"], eigenvalues: Real[ArrayLike, "component"], times: Real[ArrayLike, "time"]
) -> Fit:
    """The first of `times` at which `flow_profile` has the largest similarity with a profile e, as the paper fits networks.

    >>> fit = fitted_time(flow_profile(3.0, [2.0, 1.0, 0.2]), [2.0, 1.0, 0.2], [0.3, 1.0, 3.0, 10.0])
    >>> float(fit.time), round(float(fit.similarity), 6)
    (3.0, 1.0)
    """
    require_not_empty(profile=profile, times=times)
    found = jax.vmap(lambda time: similarity(profile, flow_profile(time, eigenvalues)))(times)
    best = jnp.argmax(found)
    return Fit(times[best], found[best])
