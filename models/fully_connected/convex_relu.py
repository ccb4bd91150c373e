r"""Two-layer ReLU network in its convex parametrisation: one linear map for each activation pattern, and the way back.

A neuron sees the $n$ examples $x$ through its activation pattern

$$
D = \mathbf{1}[x u \ge 0]
$$

On these examples a ReLU network is a sum of linear maps, each switched by a fixed pattern. `apply` is that gated network, whose
training is convex; if every block stays in the cone of its own pattern,

$$
(2 D - 1)\; x\; \text{weights} \ge 0
$$

it is a ReLU network on the examples, and `to_network` gives its neurons.

| paper | name here | shape | meaning |
|---|---|---|---|
| $v_i$ | `weights[:, b]` where `sign[b] = +1` | (dim,) | linear map of a block that adds to the output |
| $w_i$ | `weights[:, b]` where `sign[b] = -1` | (dim,) | linear map of a block that is subtracted |
| $g_i$ | `gates[:, b]` | (dim,) | a direction inside the cone of the pattern: $\mathbf{1}[x g_i \ge 0]$ |
| $D_i$ | `patterns(gates, x)[:, b]` | (n,) | its activation pattern on the examples |
| $u_j$, $\alpha_j$ | `w[:, j]`, `a[j]` over $\sqrt{\text{width}}$ | (dim,), () | neuron of `models.fully_connected.two_layer` |

Source: Pilanci and Ergen, arXiv 2002.10553; Bai, Gautam and Sojoudi, arXiv 2201.01965 (abstracts and code read; the enumeration
of the patterns is derived here).

Example. Every pattern of five points in the plane, and a network of one neuron a pattern: $u_i = g_i$ is in its cone, so that
both parametrisations agree on these points.

>>> import jax, jax.numpy as jnp
>>> from closedform.models.fully_connected import convex_relu, two_layer
>>> x = jax.random.normal(jax.random.key(0), (5, 2))
>>> gates = convex_relu.all_gates(x)
>>> gates.shape
(2, 10)
>>> gated = convex_relu.Params(gates, gates, jnp.ones(10))
>>> network = convex_relu.to_network(gated.weights, gated.sign)
>>> bool(abs(convex_relu.apply(gated, x[0]) - two_layer.apply(network, x[0])) < 1e-5)
True
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

from ...contract import Count, Positive, check
from ...documented import documented
from .._example import one_example
from . import two_layer


@dataclass(frozen=True)
class Config:
    dim: Count = 3  # input dimension, paper d
    num_patterns: Count = 8  # gates drawn, paper P; each has a block of either sign
    init_scale: Positive = 1.0  # standard deviation of the entries of the weights at the start

    def __post_init__(self):
        check(self)


@documented
class Params(NamedTuple):
    """f(x) = sum_b sign_b 1[gates_b . x >= 0] weights_b . x. A gated network has all signs +1."""

    gates: Float[Array, "dim block"]
    weights: Float[Array, "dim block"]
    sign: Float[Array, "block"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Gaussian gates, each with a block of either sign, and Gaussian weights, which need not lie in their cones."""
    key_gates, key_weights = jax.random.split(key)
    gates = jax.random.normal(key_gates, (config.dim, config.num_patterns))
    gates, sign = both_signs(gates)
    return Params(gates, config.init_scale * jax.random.normal(key_weights, gates.shape), sign)


@one_example
def apply(params: Params, x: Float[Array, "dim"]) -> Float[Array, ""]:
    """The output on one example. Linear in the weights."""
    return outputs(params.weights, params.sign, patterns(params.gates, x[None]), x[None])[0]


def patterns(gates: Float[Array, "dim block"], x: Float[Array, "sample dim"]) -> Float[Array, "sample block"]:
    """1[x g >= 0] as floats: a point on the edge counts as active, as in the paper."""
    return (x @ gates >= 0).astype(x.dtype)


def both_signs(array: Float[Array, "... pattern"]) -> tuple[Float[Array, "... block"], Float[Array, "block"]]:
    """Every pattern twice: first all of sign +1 (paper v_i), then all of sign -1 (paper w_i)."""
    ones = jnp.ones(array.shape[-1], array.dtype)
    return jnp.concatenate([array, array], axis=-1), jnp.concatenate([ones, -ones])


def outputs(
    weights: Float[Array, "dim block"],
    sign: Float[Array, "block"],
    active: Float[Array, "sample block"],
    x: Float[Array, "sample dim"],
) -> Float[Array, "sample"]:
    """f on examples whose patterns are given: sum_b sign_b D_b x weights_b."""
    return (active * (x @ weights)) @ sign


# --- back to the network ---------------------------------------------------------------------------------------------------


def to_network(weights: Float[Array, "dim block"], sign: Float[Array, "block"]) -> two_layer.Params:
    """The ReLU network with one neuron a block: u = v / sqrt||v||, alpha = sign sqrt||v||, so ||u|| = |alpha|.

    If the blocks lie in their cones, outputs and penalty on the examples are those of the convex program. A block that is
    zero becomes a neuron that is zero. two_layer takes a mean over its neurons: hence the factor sqrt(width).
    """
    root = jnp.sqrt(jnp.linalg.norm(weights, axis=0))
    scale = jnp.sqrt(jnp.asarray(sign.size, weights.dtype))
    return two_layer.Params(scale * weights / jnp.where(root > 0, root, 1)[None], scale * sign * root)


def products(params: two_layer.Params) -> tuple[Float[Array, "dim width"], Float[Array, "width"]]:
    """The blocks of a network, the reverse of `to_network`: u_j |alpha_j| and the sign of alpha_j (of zero: +1).

    The network may be unbalanced, ||u|| != |alpha|: its function depends on the products alone, its weight decay does not.
    """
    sign = jnp.where(params.a < 0, -1, 1).astype(params.a.dtype)
    return params.w * jnp.abs(params.a)[None] / params.a.size, sign


def merge_collinear(params: two_layer.Params, angle: float = 1e-3, negligible: float = 1e-6) -> two_layer.Params:
    """The same function with one balanced neuron for all that share direction and sign; concrete arrays, no jit.

    A solver may split a neuron over the adjacent cones that share its direction. Neurons within `angle` (radians) of a
    larger one of their sign join it, and those with a product below `negligible` of the largest are dropped. The function
    changes by no more than that; the penalty cannot grow. Keeps one (zero) neuron if all are zero.
    """
    weights, sign = (np.asarray(array) for array in products(params))
    size = np.linalg.norm(weights, axis=0)
    groups: list[tuple[np.ndarray, float, np.ndarray]] = []  # direction, sign, sum
    for j in np.argsort(-size):
        if size[j] <= negligible * size.max():
            break
        direction = weights[:, j] / size[j]
        for leader, sign_of_leader, total in groups:
            # |difference of unit vectors| is the angle: an arccos of a product near 1 would lose half the digits
            if sign_of_leader == sign[j] and np.linalg.norm(leader - direction) <= angle:
                total += weights[:, j]
                break
        else:
            groups.append((direction, float(sign[j]), weights[:, j].copy()))
    if not groups:
        groups = [(weights[:, 0], float(sign[0]), weights[:, 0])]
    merged = np.stack([total for _, _, total in groups], axis=1)
    return to_network(jnp.asarray(merged), jnp.asarray([sign_of for _, sign_of, _ in groups], params.a.dtype))


# --- which patterns there are ----------------------------------------------------------------------------------------------


def sampled_gates(key: PRNGKeyArray, x: Float[Array, "sample dim"], num_directions: int) -> Float[Array, "dim pattern"]:
    """Gaussian directions, of those with the same pattern on x the first; concrete arrays, no jit.

    Narrow cones are missed: of the 92 patterns of 10 points in three dimensions, 200,000 directions found 90.
    """
    gates = jax.random.normal(key, (x.shape[1], num_directions), x.dtype)
    return gates[:, distinct(patterns(gates, x))]


def distinct(active: Array | np.ndarray) -> np.ndarray:
    """Indices, ascending, of the first of each kind of column of zeros and others."""
    packed = np.packbits(np.asarray(active, bool), axis=0)
    return np.sort(np.unique(packed, axis=1, return_index=True)[1])


def all_gates(x: Real[ArrayLike, "sample dim"], max_patterns: int = 100_000) -> Float[Array, "dim pattern"]:
    """One direction strictly inside the cone of every activation pattern of x; concrete arrays, no jit.

    Exact for any x, in general position or not: rows that are collinear share their hyperplane, a zero row has none, and
    directions that x does not see are left out (for x = 0 there is one pattern, all active, and its gate is zero). The
    hyperplanes are added one by one: a new one, x_k, splits just those cells that it meets, and these are the cells of the
    others restricted to it, in one dimension less. The number of patterns is `theory.convex.activation_patterns` for x in
    general position and smaller otherwise. Raises ValueError if there are more than `max_patterns`, or if x is not finite.
    """
    rows = np.asarray(x, float)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError(f"x must be a finite array (sample, dim), got shape {rows.shape}")
    # the directions that x sees, in an orthonormal basis of them
    _, singular, basis = np.linalg.svd(rows, full_matrices=False)
    basis = basis[singular > _SAME * max(rows.shape) * singular.max(initial=0)]
    if not len(basis):
        return jnp.zeros((rows.shape[1], 1), jnp.asarray(x).dtype)
    cells = _cells(rows @ basis.T, max_patterns)
    return jnp.asarray((cells @ basis).T, jnp.asarray(x).dtype)


_SAME = 1e-12  # relative: below it, a row of the arrangement is taken as zero


def _cells(rows: np.ndarray, max_patterns: int) -> np.ndarray:
    """Unit directions (cell, dim), one strictly inside each cell of the hyperplanes row . u = 0; dim >= 1."""
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = (rows / np.where(size > 0, size, 1))[size[:, 0] > 0]
    dim = rows.shape[1]
    if dim == 1:
        return np.array([[1.0], [-1.0]]) if len(rows) else np.ones((1, 1))
    inside = np.eye(1, dim)  # without hyperplanes, one cell
    for k, row in enumerate(rows):
        # the earlier hyperplanes as they meet the new one; those that are collinear with it do not
        within = np.linalg.svd(row[None])[2][1:]
        met = rows[:k] @ within.T
        met = met[np.linalg.norm(met, axis=1) > _SAME * 1e3]
        if len(met) < k:
            continue  # the hyperplane is there already
        crossed = _cells(met, max_patterns) @ within
        # half way from the wall to the first other wall, on either side
        height, slope = np.abs(crossed @ rows[:k].T), np.abs(rows[:k] @ row)
        with np.errstate(divide="ignore"):
            reach = 0.5 * np.min(height / slope, axis=1, initial=1.0)[:, None]
        either = np.concatenate([crossed + reach * row, crossed - reach * row])
        # cells that the new wall leaves whole keep their direction
        both = np.concatenate([either, inside])
        both = both[distinct((both @ rows[: k + 1].T >= 0).T)]
        inside = both / np.linalg.norm(both, axis=1, keepdims=True)
        if len(inside) > max_patterns:
            raise ValueError(f"x has more than max_patterns = {max_patterns} activation patterns; draw some by sampled_gates")
    return inside
