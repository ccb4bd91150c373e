r"""A nested (Matryoshka) linear network: every prefix of its representation, at every exit, has a linear decoder of its own.

$$
z_n = W_n \cdots W_1 x, \qquad \hat y_{n,m} = V_{n,m}\, (z_n)_{:m}, \qquad
L = \sum_{n,m} c_{n,m}\, \mathbb{E} |y - V_{n,m} (z_n)_{:m}|^2
$$

for every exit $n$ and every prefix size $m = 1, \dots, k$; a size that is not trained has the weight $c_{n,m} = 0$. Without a
target the network is an autoencoder, $y = x$. The loss and the errors are those of the population: they need the second
moments alone.

| paper | name here | shape | meaning |
|---|---|---|---|
| $W_n$ | `weights[n - 1]` | (out, in) | layers of the encoder, a deep linear network |
| $V_{n,m}$ | `decoders[n, m - 1]` | (output, coordinate) | of which columns 1 to $m$ act |
| $c_{n,m}$ | `weights` of `nested_loss` | (size,) or (exit, size) | weights of the terms |
| $k$ | `width` | | coordinates of the widest exit; $z_n$ of a narrower one ends with zeros |
| $\Sigma_x$, $\Sigma$ | `covariance`, `cross` | (dim, dim), (output, dim) | $\mathbb{E}\, x x^\top$, $\mathbb{E}\, y x^\top$ |

With `shared` one decoder an exit serves all sizes, cut to its first $m$ columns; exits do not share decoders. The loss has no
factor 1/2.

Source: A. Kusupati et al., arXiv 2205.13147 (the nested loss; separate decoders are their MRL, shared ones MRL-E, both with a
cross-entropy there); exits at several layers after X. Li et al., arXiv 2402.14776 (number recalled).

Example. A coordinate that a prefix leaves out is not decoded:

>>> import jax, jax.numpy as jnp
>>> from closedform.models.linear import deep_linear, nested
>>> encoder = deep_linear.Config(dim=3, widths=(), num_outputs=2, scheme="aligned", scale=1.0)
>>> params = nested.init(jax.random.key(0), nested.Config(encoder, num_outputs=3))
>>> nested.apply(params, jnp.array([5.0, 6.0, 7.0]))[0].tolist()
[[5.0, 0.0, 0.0], [5.0, 6.0, 0.0]]
>>> nested.errors(params, jnp.diag(jnp.array([4.0, 2.0, 1.0])))[0].tolist()
[3.0, 1.0]
"""

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, check
from ...documented import documented
from .._example import one_example
from . import deep_linear

Matrix = Array | np.ndarray
Rows = Float[Matrix, "row dim"]
Covariance = Float[Matrix, "dim dim"]


def _encoder() -> deep_linear.Config:
    return deep_linear.Config(dim=5, widths=(), num_outputs=4, scheme="unit_gaussian", scale=0.02)


@dataclass(frozen=True)
class Config:
    encoder: deep_linear.Config = field(default_factory=_encoder)  # its scheme and scale are the decoders' too
    num_outputs: Count = 5  # of the decoders; of an autoencoder the dimension of the input
    exits: Literal["last", "all"] = "last"  # the layers that are decoded
    shared: bool = False  # one decoder an exit for all prefix sizes

    def __post_init__(self):
        check(self)
        if self.encoder.scheme in ("balanced", "lambda_balanced"):
            raise ValueError(f"encoder.scheme must be gaussian, unit_gaussian or aligned, got {self.encoder.scheme}")

    @property
    def dim(self) -> int:
        """Of the input."""
        return self.encoder.dim

    @property
    def widths(self) -> tuple[int, ...]:
        """Coordinates of each exit."""
        after = tuple(out for out, _ in self.encoder.shapes)
        return after if self.exits == "all" else after[-1:]

    @property
    def width(self) -> int:
        """Coordinates of the widest exit, which are the prefix sizes."""
        return max(self.widths)


@documented
class Params(NamedTuple):
    weights: tuple[Float[Array, "out in"], ...]  # W_1, .., W_N
    decoders: Float[Array, "exit head output coordinate"]  # a head for each prefix size, or one that is shared


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Encoder and decoders of the encoder's scheme: normal entries of variance a^2 or a^2/width, or a I."""
    key_encoder, key_decoders = jax.random.split(key)
    encoder = deep_linear.init(key_encoder, config.encoder)
    heads = 1 if config.shared else config.width
    shape = len(config.widths), heads, config.num_outputs, config.width
    a = jnp.asarray(config.encoder.scale, float)
    if config.encoder.scheme == "aligned":
        decoders = jnp.broadcast_to(a * jnp.eye(*shape[2:]), shape)
    else:
        by_fan_in = config.encoder.scheme == "gaussian"
        decoders = a / (math.sqrt(config.width) if by_fan_in else 1) * jax.random.normal(key_decoders, shape)
    return Params(encoder.weights, decoders)


@one_example
def apply(params: Params, x: Float[Array, "dim"]) -> Float[Array, "exit size output"]:
    """The outputs of all exits and prefix sizes for one example."""
    dim = params.weights[0].shape[1]
    if len(x) != dim:
        raise ValueError(f"x must have {dim} entries, got {len(x)}")
    return jnp.einsum("nmoi,ni->nmo", _cut(params), representations(params) @ x)


def representations(params: Params) -> Float[Array, "exit coordinate dim"]:
    """W_n .. W_1 of every exit, one below the other; rows of zeros where an exit is narrower than another."""
    exits, width = params.decoders.shape[0], params.decoders.shape[-1]
    products = deep_linear.products(deep_linear.Params(params.weights))[-exits:]
    return jnp.stack([jnp.pad(rows, ((0, width - len(rows)), (0, 0))) for rows in products])


def _cut(params: Params) -> Float[Array, "exit size output coordinate"]:
    """The decoders of all sizes, 0 in the columns that they do not read."""
    return params.decoders * _prefixes(params.decoders)[None, :, None]


def _prefixes(like: Float[Array, "... coordinate"]) -> Float[Array, "size coordinate"]:
    """1 where a coordinate belongs to a prefix."""
    return jnp.tri(like.shape[-1], dtype=like.dtype)


def weights_at(sizes: tuple[int, ...], width: int) -> Float[np.ndarray, "size"]:
    """1 for these prefix sizes, 0 for the others from 1 to width. Raises ValueError for a size out of range.

    >>> weights_at((1, 3), 3).tolist()
    [1.0, 0.0, 1.0]
    """
    if wrong := [size for size in sizes if not 1 <= size <= width]:
        raise ValueError(f"sizes must be from 1 to {width}, got {wrong[0]}")
    return np.isin(np.arange(1, width + 1), sizes).astype(float)


# ----------------------------------------------------------------------------------------------------------------- the loss


def errors(
    params: Params,
    covariance: Covariance,
    cross: Float[Matrix, "*size output dim"] | None = None,
    square: Float[Matrix | float, "*size"] | None = None,
) -> Float[Array, "exit size"]:
    """E |y - V (z_n)_{:m}|^2 of every exit and prefix size, by the network's own decoders.

    Without `cross` and `square`, E y x^T and E |y|^2, the target is the input. With a leading axis they give each size a target
    of its own.
    """
    covariance = jnp.asarray(covariance)
    if cross is None or square is None:
        cross, square = covariance, jnp.trace(covariance)
    cross, square = jnp.asarray(cross), jnp.asarray(square)
    # through z, of which there are fewer than inputs: E y z^T and E z z^T
    rows, decoders = representations(params)[:, None], _cut(params)
    turned = jnp.swapaxes(rows, 2, 3)
    found = jnp.sum((decoders @ (rows @ covariance @ turned) - 2 * (cross @ turned)) * decoders, axis=(2, 3))
    return found + jnp.broadcast_to(square, found.shape)


def nested_loss(
    params: Params,
    weights: Float[Matrix, "*#exit size"],
    covariance: Covariance,
    cross: Float[Matrix, "*size output dim"] | None = None,
    square: Float[Matrix | float, "*size"] | None = None,
) -> Float[Array, ""]:
    """L, the sum over exits and sizes of weights times `errors`; `weights_at` makes weights from a set of sizes."""
    found = errors(params, covariance, cross, square)
    return jnp.sum(jnp.broadcast_to(weights, found.shape) * found)


def descend(
    params: Params,
    learning_rate: float | Array,
    weights: Float[Matrix, "*#exit size"],
    covariance: Covariance,
    *target: Float[Matrix, "..."],
) -> Params:
    """One step of gradient descent on `nested_loss`, whose further arguments are `target`."""
    gradient = jax.grad(nested_loss)(params, weights, covariance, *target)
    return jax.tree.map(lambda leaf, g: leaf - learning_rate * g, params, gradient)


def unit_balance(params: Params) -> Float[Array, "layer unit"]:
    """Of every unit the square of its incoming weights less that of its outgoing ones, to the next layer and to all decoders.

    Gradient flow on the nested loss conserves it, for any data and any weights of the terms. Units that a layer does not have
    are 0. With `exits` "last" the layers before have no decoders.
    """
    return jnp.diagonal(balance_matrices(params), axis1=1, axis2=2)


def balance_matrices(params: Params) -> Float[Array, "layer unit unit"]:
    """W_n W_n^T - W_{n+1}^T W_{n+1} - sum_m V_{n,m}^T V_{n,m}, whose diagonal is `unit_balance`.

    Off the diagonal gradient flow conserves the entries whose two units belong to the same trained prefixes, and no others.
    """
    exits, width = params.decoders.shape[0], params.decoders.shape[-1]
    most = max(width, *(len(w) for w in params.weights))

    def padded(matrix: Float[Array, "unit unit"]) -> Float[Array, "most most"]:
        return jnp.pad(matrix, ((0, most - len(matrix)),) * 2)

    # a column that no prefix reads is not trained; of a shared decoder all are read
    read = _cut(params) if params.decoders.shape[1] == width else params.decoders
    decoded = jnp.einsum("nmoi,nmoj->nij", read, read)
    found = []
    for n, w in enumerate(params.weights):
        balance = padded(w @ w.T)
        if n + 1 < len(params.weights):
            balance = balance - padded(params.weights[n + 1].T @ params.weights[n + 1])
        if (exit_ := n - len(params.weights) + exits) >= 0:
            balance = balance - padded(decoded[exit_])
        found.append(balance)
    return jnp.stack(found)


# ----------------------------------------------------------------------------------- what a representation is good for


def optimal_decoders(
    rows: Rows, covariance: Covariance, cross: Float[Matrix, "output dim"] | None = None
) -> Float[Array, "size output row"]:
    """The decoders of least error of every prefix of z = rows x, of least norm where they are not unique."""
    rows, covariance = jnp.asarray(rows), jnp.asarray(covariance)
    keep = _prefixes(rows.T)
    seen = rows @ covariance @ rows.T
    inverses = jnp.linalg.pinv(keep[:, :, None] * seen[None] * keep[:, None, :], hermitian=True)
    return (covariance if cross is None else jnp.asarray(cross)) @ rows.T @ inverses


def optimal_errors(
    rows: Rows,
    covariance: Covariance,
    cross: Float[Matrix, "output dim"] | None = None,
    square: Float[Matrix | float, ""] | None = None,
) -> Float[Array, "size"]:
    """E |y - V z_{:m}|^2 of every prefix of z = rows x, with the best decoder of each; without a target, y = x."""
    best = Params((jnp.asarray(rows),), optimal_decoders(rows, covariance, cross)[None])
    return errors(best, covariance, cross, square)[0]


def projection_errors(rows: Rows, covariance: Covariance) -> Float[Array, "size"]:
    """E |x - Q Q^T x|^2 with an orthonormal basis Q of the first m rows, for every m: orthonormal decoding."""
    covariance = jnp.asarray(covariance)
    q = gram_schmidt(rows)
    return jnp.trace(covariance) - jnp.cumsum(jnp.sum((q @ covariance) * q, axis=1))


# ----------------------------------------------------------------------------------------------------- axes and subspaces


def gram_schmidt(rows: Rows) -> Rows:
    """Orthonormal rows of which the first m span what the first m rows span, each with a positive part along its own row.

    >>> bool(jnp.all(gram_schmidt(jnp.array([[2.0, 0.0], [3.0, -1.0]])) == jnp.array([[1.0, 0.0], [0.0, -1.0]])))
    True
    """
    q, r = jnp.linalg.qr(jnp.asarray(rows).T)
    return (q * jnp.where(jnp.diagonal(r) < 0, -1, 1)[None]).T


def axis_alignment(rows: Rows, axes: Float[Matrix, "dim axis"]) -> Float[Array, "row axis"]:
    """|cos| of every row after Gram-Schmidt with every axis, the axes being orthonormal columns."""
    return jnp.abs(gram_schmidt(rows) @ axes)


def subspace_distance(rows: Rows, others: Float[Matrix, "_ _"]) -> Float[Array, ""]:
    """The root of the sum over principal angles of sin^2, of the spans of rows and of as many others (chordal distance).

    >>> float(subspace_distance(jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 3.0]])))
    1.0
    """
    if rows.shape != others.shape:
        raise ValueError(f"others must have the shape of rows, {rows.shape}, got {others.shape}")
    q, p = gram_schmidt(rows), gram_schmidt(others)
    return jnp.linalg.norm(p - p @ q.T @ q)
