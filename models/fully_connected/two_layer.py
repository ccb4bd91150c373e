r"""Two-layer ReLU network with mean-field output scale and no biases.

$$
f(x) = \frac{1}{p} \sum_j a_j \operatorname{relu}(w_j \cdot x)
$$

Both layers train. `init`, `apply` and `gradients` are the network; `components`, `plane` and `imbalance` are the quantities in
which the theory of the XOR problem is written. The mean-field scale means that a step of size $\eta$ is

$$
w \leftarrow w - \eta\, p\, \frac{\partial L}{\partial w}, \qquad a \leftarrow a - \eta\, p\, \frac{\partial L}{\partial a}
$$

| paper | name here | shape | meaning |
|---|---|---|---|
| $d$ | `dim` | | input dimension |
| $p$ | `width` | | hidden units |
| $\theta$ | `init_scale` | | norm of every $w_j$ and of every $a_j$ at the start |
| $w_j$ | `w[:, j]` | (dim, width) | first layer, one column a neuron |
| $a_j$ | `a[j]` | (width,) | second layer |
| $\mu_1$, $\mu_2$ | | | $e_1 - e_2$ (label $+1$) and $e_1 + e_2$ (label $-1$) |

Source: Glasgow, arXiv 2309.15111, setting and section 4.

Example. The output has degree two in the parameters, and the layers start balanced, $\|w_j\|^2 = a_j^2$.

>>> import jax
>>> from closedform.models.fully_connected import two_layer
>>> params = two_layer.init(jax.random.key(0), two_layer.Config(dim=4, width=8))
>>> x = jax.random.normal(jax.random.key(1), (4,))
>>> doubled = two_layer.Params(2 * params.w, 2 * params.a)
>>> bool(two_layer.apply(doubled, x) == 4 * two_layer.apply(params, x))
True
>>> bool(abs(two_layer.imbalance(params)).max() < 1e-6)
True
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, check
from ...documented import documented
from .._example import one_example


@dataclass(frozen=True)
class Config:
    dim: Count = 16  # input dimension, paper d
    width: Count = 32  # hidden units, paper p
    init_scale: Positive = 1.0  # norm of every w_j and |a_j| at the start, paper theta

    def __post_init__(self):
        check(self)


@documented
class Params(NamedTuple):
    """f(x) = (1/width) sum_j a_j relu(w_j . x).

    The width is the contiguous axis of w: on a CPU the gradient's matrix product is more than twice as slow in the other
    orientation.
    """

    w: Float[Array, "dim width"]  # column j is w_j
    a: Float[Array, "width"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """w_j uniform on the sphere of radius init_scale, a_j = +-init_scale with equal odds, so ||w_j|| = |a_j|.

    The dtype is the default one: float32, or float64 under jax.enable_x64.
    """
    key_w, key_a = jax.random.split(key)
    direction = jax.random.normal(key_w, (config.dim, config.width))
    direction /= jnp.linalg.norm(direction, axis=0, keepdims=True)
    sign = jax.random.rademacher(key_a, (config.width,), dtype=direction.dtype)
    return Params(config.init_scale * direction, config.init_scale * sign)


@one_example
def apply(params: Params, x: Float[Array, "dim"]) -> Float[Array, ""]:
    """The output on one example. It has degree two in the parameters and degree one in x."""
    return jnp.mean(params.a * jax.nn.relu(x @ params.w))


def gradients(
    params: Params,
    x: Float[Array, "batch dim"],
    residual_fn: Callable[[Float[Array, "batch"]], Float[Array, "batch"]],
) -> tuple[Float[Array, "batch"], Params]:
    """Outputs f on a batch and the gradient of a loss of them, by hand: two matrix products and no third.

    residual_fn maps f to dloss/df of every example, any 1/batch included: for the mean of 2 log(1 + exp(-y f)) it is
    `lambda f: -2 * y * jax.nn.sigmoid(-y * f) / y.size`. With m_j = sum_b residual_b 1[w_j . x_b > 0] x_b,

        dL/dw_j = a_j m_j / width,     dL/da_j = w_j . m_j / width,

    the second because relu(u) = u 1[u > 0]. Hence a_j dL/da_j = w_j . dL/dw_j for any loss and batch, and nothing is
    divided by a_j. As in autodiff, relu'(0) = 0.
    """
    w, a = params
    width = a.size
    hidden = x @ w
    f = jax.nn.relu(hidden) @ (a / width)
    residual = residual_fn(f)
    gated = jnp.where(hidden > 0, residual[:, None], 0)
    m = x.T @ gated
    return f, Params(m * (a / width)[None], jnp.sum(w * m, axis=0) / width)


@documented
class Components(NamedTuple):
    """Components of every neuron on the XOR planes.

    With alpha = w . mu_1 and beta = w . mu_2, a neuron with a > 0 has signal alpha and opposite beta, any other the reverse;
    so ||w||^2 = (signal^2 + opposite^2) / 2 + perp_norm^2.
    """

    signal: Float[Array, "width"]  # signed; the paper's ||w_sig|| is |signal| / sqrt 2
    opposite: Float[Array, "width"]  # signed; the paper's ||w_opp|| is |opposite| / sqrt 2
    perp_norm: Float[Array, "width"]  # norm of the coordinates 3..d
    a: Float[Array, "width"]


def components(params: Params) -> Components:
    """Signal, opposite and perpendicular part of every neuron, by the sign of its own a. Needs dim >= 2."""
    w_12, perp_norm, a = plane(params)
    alpha, beta = w_12[:, 0] - w_12[:, 1], w_12[:, 0] + w_12[:, 1]
    positive = a > 0
    return Components(jnp.where(positive, alpha, beta), jnp.where(positive, beta, alpha), perp_norm, a)


@documented
class Plane(NamedTuple):
    """The coordinates that a mean-field theory of XOR keeps, since w_perp stays isotropic over the neurons."""

    w_12: Float[Array, "width 2"]  # the two coordinates that the label depends on
    perp_norm: Float[Array, "width"]  # norm of the others
    a: Float[Array, "width"]


def plane(params: Params) -> Plane:
    """The reduced coordinates (w_1, w_2), ||w_perp||, a of every neuron. Needs dim >= 2."""
    w, a = params
    if w.shape[0] < 2:
        raise ValueError(f"the XOR planes need dim at least 2, got {w.shape[0]}")
    return Plane(w[:2].T, jnp.linalg.norm(w[2:], axis=0), a)


def imbalance(params: Params) -> Float[Array, "width"]:
    """||w_j||^2 - a_j^2: zero at the start, conserved by gradient flow for any loss, growing with discrete steps."""
    return jnp.sum(params.w**2, axis=0) - params.a**2
