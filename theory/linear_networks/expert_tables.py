r"""Two layers of gated linear experts are a low-rank table of maps: their best risk, uninformed gates, and training.

Formula. Two independent factors, $a$ with probabilities $p_a$ ($N_1$ values) and $b$ with $q_b$ ($N_2$ values), and an input
$x \sim N(0, I_d)$ have the target $y = T_{ab}\, x$. The first layer applies its expert $A_a$ ($h \times d$), the second its
expert $B_b$ ($o \times h$). The risk is the squared error

$$
R = \mathbb{E}\, \|y - B_b A_a x\|^2 = \|M - B A\|_F^2, \qquad M_{ba} = \sqrt{q_b\, p_a}\; T_{ab}
$$

with the blocks $\sqrt{q_b}\, B_b$ in a column as $B$ and $\sqrt{p_a}\, A_a$ in a row as $A$. So $N_1 + N_2$ experts represent
$N_1 N_2$ maps without error if and only if the rank of $M$ is at most $h$, and with its singular values
$\sigma_1 \ge \sigma_2 \ge \dots$

$$
\min R = \sum_{r > h} \sigma_r^2
$$

Mixtures of experts, $\sum_i G_{ai} A_i$ and $\sum_j H_{bj} B_j$ with fixed invertible matrices $G$ and $H$, have the same
minimum: soft gates cost nothing, and the loss does not ask experts to specialise. If gate 1 does not know $a$,

$$
\min R = \sum_{ab} p_a q_b\, \|T_{ab} - \bar T_b\|_F^2 + \sum_{r > h} \bar\sigma_r^2, \qquad \bar T_b = \sum_a p_a T_{ab}
$$

with the singular values $\bar\sigma$ of the blocks $\sqrt{q_b}\, \bar T_b$ in a column; and likewise with $b$ for gate 2. With
equal probabilities, gradient flow on $R$ from a balanced start in the singular bases of the matrix with blocks $T_{ab}$, all
modes at $s_0$, keeps the bases, and each mode follows

$$
s(t) = \frac{\sigma}{1 + (\sigma/s_0 - 1)\, e^{-4 \sigma t/(N_1 N_2)}}
$$

with the singular values $\sigma$ of that matrix, which are $\sqrt{N_1 N_2}$ times those of $M$.

Regime. None: exact for every table and every width, with one-hot or invertible gates that the factors drive. Where
$a$ and $b$ depend on one another there is no such matrix. With an activation between the layers the risk is another.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $T_{ab}$ | `table` | `first second output dim` | the map for each pair of values |
| $p_a$, $q_b$ | `first_weights`, `second_weights` | `first`, `second` | up to a factor; equal if left out |
| $h$ | `width` | static | hidden units |
| $\sigma$, $s$, $s_0$ | `singular_value`, `initial` | any | of the matrix of all $T_{ab}$; mode strength, at the start |
| $t$ | `time` | any | learning rate times updates |
| $N$, $p$ | `num_experts`, `share` | static, any | of `gate_information`: values of a factor, posterior of the right one |

Factors. $R$ has no $\frac{1}{2}$, and is a sum over outputs. With $\frac{1}{2} R$ the 4 is a 2. Information is in nats.

Source. Experts in layers, whose products are effective experts: D. Eigen, M. Ranzato, I. Sutskever, arXiv 1312.4314 (abstract
read). All formulas are derived here, with the theorem of Eckart and Young, and for the modes the solution of the two-layer
linear network, `modes.mode_strength`, at the time $2 t/(N_1 N_2)$.

Finite size. None: rounding only. Experts are defined up to an invertible $h \times h$ matrix between the layers, so that their
products are compared and never experts.

Example. Four maps that are products of two and two experts, and as many without that structure:

>>> from closedform.theory.linear_networks import expert_tables
>>> product, plain = [[[[1.0]], [[2.0]]], [[[3.0]], [[6.0]]]], [[[[1.0]], [[0.0]]], [[[0.0]], [[1.0]]]]
>>> round(float(expert_tables.table_risk(product, 1)), 6), round(float(expert_tables.table_risk(plain, 1)), 6)
(0.0, 0.25)
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import FINITE, ArrayLike, above, at_least, between, require_not_empty, takes
from . import modes

Table = Real[ArrayLike, "first second output dim"]
WEIGHTS = above(0, finite=True)


@takes(table=FINITE, width=at_least(0), first_weights=WEIGHTS, second_weights=WEIGHTS)
def table_risk(
    table: Table,
    width: int,
    first_weights: Real[ArrayLike, "first"] | None = None,
    second_weights: Real[ArrayLike, "second"] | None = None,
) -> Float[Array, ""]:
    """The smallest risk of a layer of first experts and a layer of second experts with so many hidden units between them.

    Exactly 0 from the width on at which no singular value is left. At width 0 it is the mean square of the target.
    """
    p, q = _probabilities(table, first_weights, second_weights)
    return _tail(_blocks(table, p, q), width)


@takes(table=FINITE, width=at_least(0), layer=between(1, 2), first_weights=WEIGHTS, second_weights=WEIGHTS)
def uninformed_gate_risk(
    table: Table,
    width: int,
    layer: int = 1,
    first_weights: Real[ArrayLike, "first"] | None = None,
    second_weights: Real[ArrayLike, "second"] | None = None,
) -> Float[Array, ""]:
    """The smallest risk where the gate of that layer, 1 or 2, mixes its experts in the same way for all values of its factor.

    >>> float(uninformed_gate_risk([[[[1.0]]], [[[3.0]]]], 1))  # one map in place of 1 and 3
    1.0
    """
    p, q = _probabilities(table, first_weights, second_weights)
    if layer == 2:
        table, p, q = jnp.swapaxes(jnp.swapaxes(table, 0, 1), 2, 3), q, p  # maps transposed, and the layers in reverse
    mean = jnp.sum(p[:, None, None, None] * table, axis=0, keepdims=True)
    scatter = jnp.sum(p[:, None] * q[None] * jnp.sum((table - mean) ** 2, axis=(2, 3)))
    return scatter + _tail(_blocks(mean, jnp.ones_like(p[:1]), q), width)


@takes(
    time=at_least(0),
    singular_value=at_least(0, finite=True),
    initial=above(0, finite=True),
    num_first=at_least(1),
    num_second=at_least(1),
)
def table_mode_strength(
    time: Real[ArrayLike, "*#shape"],
    singular_value: Real[ArrayLike, "*#shape"],
    initial: Real[ArrayLike, "*#shape"],
    num_first: int,
    num_second: int,
) -> Float[Array, "*#shape"]:
    """s(t) of a mode of the matrix of all T_ab, in gradient flow on the risk with equal probabilities.

    >>> float(table_mode_strength(0, 3, 0.5, 3, 4)), float(table_mode_strength(float("inf"), 3, 0.5, 3, 4))
    (0.5, 3.0)
    """
    return modes.mode_strength(2 * time / (num_first * num_second), singular_value, initial, 2)


@takes(share=between(0, 1), num_experts=at_least(2))
def gate_information(share: Real[ArrayLike, "*shape"], num_experts: int) -> Float[Array, "*shape"]:
    """Mutual information, in nats, of a uniform factor and a gate with weight p on the expert of its value, even on the others.

    $I = \\ln N + p \\ln p + (1 - p) \\ln \\frac{1 - p}{N - 1}$: 0 at p = 1/N, ln N at p = 1.

    >>> float(gate_information(0.5, 2)), round(float(gate_information(1.0, 4)), 4)
    (0.0, 1.3863)
    """
    # each term as the logarithm of a ratio to the uniform weight, which is 1 + something small near p = 1/N
    over = num_experts * share - 1
    return _times_log(share, over) + _times_log(1 - share, -over / (num_experts - 1))


def _times_log(p: Float[Array, "*shape"], over: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """p ln(1 + over), and 0 where p is 0."""
    return jnp.where(p > 0, p * jnp.log1p(jnp.where(p > 0, over, 0)), 0)


def _probabilities(table: Array, first: Array | None, second: Array | None) -> tuple[Array, Array]:
    require_not_empty(table=table)
    p, q = (
        jnp.ones(number, table.dtype) if weights is None else weights / jnp.max(weights)
        for weights, number in ((first, table.shape[0]), (second, table.shape[1]))
    )
    return p / jnp.sum(p), q / jnp.sum(q)


def _blocks(table: Array, p: Array, q: Array) -> Float[Array, "row column"]:
    """M: the blocks sqrt(q_b p_a) T_ab, b down and a across."""
    first, second, output, dim = table.shape
    scaled = jnp.sqrt(p[:, None] * q[None])[..., None, None] * table
    return jnp.transpose(scaled, (1, 2, 0, 3)).reshape(second * output, first * dim)


def _tail(matrix: Float[Array, "row column"], width: int) -> Float[Array, ""]:
    """The sum of the squares of all singular values but the first ones."""
    if width >= min(matrix.shape):
        return jnp.zeros((), matrix.dtype)
    if width == 0:
        return jnp.sum(matrix**2)
    return jnp.sum(jnp.linalg.svd(matrix, compute_uv=False)[width:] ** 2)
