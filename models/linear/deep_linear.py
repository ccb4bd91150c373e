r"""A deep linear network, with every start from which its training has a closed form.

$$
f(x) = W_L \cdots W_1 x
$$

| `scheme` | start, with $a$ = `scale` |
|---|---|
| `gaussian` | entries of $W_l$ are $N(0, a^2/n)$, with $n$ the inputs of the layer |
| `unit_gaussian` | entries of $W_l$ are $N(0, a^2)$ |
| `aligned` | $W_l = a I$, rectangular: coordinate $i$ of the input goes to coordinate $i$ of the output with strength $a^L$ |
| `balanced` | random, with $W_{l+1}^\top W_{l+1} = W_l W_l^\top$; the product has the law of entries $N(0, a^{2L})$ |
| `lambda_balanced` | two layers, random, with $W_2^\top W_2 - W_1 W_1^\top = \lambda I$, and the product as for `balanced` |

Where a hidden layer is narrower than input and output, the product of a balanced start keeps the largest singular values of
that matrix.

| paper | name here | shape | meaning |
|---|---|---|---|
| $W_l$ | `weights[l - 1]` | (out, in) | weights of layer $l = 1, \dots, L$ |
| $L$ | `depth` | | layers: one more than hidden layers |
| $\lambda$ | `imbalance` | | conserved by gradient flow |
| $\Sigma_x$, $\Sigma$ | `covariance`, `cross` | (dim, dim), (output, dim) | $\mathbb{E}\, x x^\top$, $\mathbb{E}\, y x^\top$ |

Source: textbook (A. Saxe et al., arXiv 1312.6120); C. Dominé et al., arXiv 2409.14623 ($\lambda$-balanced
starts; both recalled).

Example. Neighbouring layers of a balanced start have one set of singular values:

>>> import jax
>>> from closedform.models.linear import deep_linear
>>> config = deep_linear.Config(dim=3, widths=(4, 5), num_outputs=2, scheme="balanced", scale=1.0)
>>> params = deep_linear.init(jax.random.key(0), config)
>>> [bool(abs(difference).max() < 1e-5) for difference in deep_linear.imbalances(params)]
[True, True]
"""

import itertools
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, check
from ...documented import documented
from .._example import one_example

_WRITTEN_OUT = 8  # sides of a matrix


@dataclass(frozen=True)
class Config:
    dim: Count = 8  # of the input
    widths: tuple[Count, ...] = (8,)  # units of each hidden layer
    num_outputs: Count = 8
    scheme: Literal["gaussian", "unit_gaussian", "aligned", "balanced", "lambda_balanced"] = "gaussian"  # of the start
    scale: NonNegative = 1e-2  # a
    imbalance: float = 0.0  # lambda, of lambda_balanced alone

    def __post_init__(self):
        check(self)
        if self.scheme == "lambda_balanced" and self.depth != 2:
            raise ValueError(f"widths must be one hidden layer for a lambda_balanced start, got {self.widths}")
        if isinstance(self.imbalance, Tracer):
            return
        if self.scheme != "lambda_balanced" and self.imbalance != 0:
            raise ValueError(f"imbalance must be 0 unless scheme is lambda_balanced, got {self.imbalance} with {self.scheme}")
        # W_2^T W_2 >= lambda I needs as many outputs as hidden units, and W_1 W_1^T >= -lambda I as many inputs
        side, most = ("num_outputs", self.num_outputs) if self.imbalance > 0 else ("dim", self.dim)
        if self.imbalance != 0 and self.widths[0] > most:
            sign = "above" if self.imbalance > 0 else "below"
            raise ValueError(f"widths must be at most {side} {most} for an imbalance {sign} 0, got {self.widths}")

    @property
    def depth(self) -> int:
        """Layers of weights, L."""
        return len(self.widths) + 1

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(outputs, inputs) of each layer."""
        sizes = self.dim, *self.widths, self.num_outputs
        return tuple((after, before) for before, after in itertools.pairwise(sizes))


@documented
class Params(NamedTuple):
    weights: tuple[Float[Array, "out in"], ...]  # W_1, .., W_L


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Weights of the scheme; `aligned` ignores the key."""
    a = jnp.asarray(config.scale, float)
    if config.scheme == "aligned":
        return Params(tuple(a * jnp.eye(*shape) for shape in config.shapes))
    if config.scheme in ("balanced", "lambda_balanced"):
        return _balanced(key, config)
    sizes = [math.prod(shape) for shape in config.shapes]
    numbers = jnp.split(jax.random.normal(key, (sum(sizes),)), list(itertools.accumulate(sizes[:-1])))
    by_fan_in = config.scheme == "gaussian"
    return Params(
        tuple(
            a / (math.sqrt(shape[1]) if by_fan_in else 1) * part.reshape(shape)
            for part, shape in zip(numbers, config.shapes, strict=True)
        )
    )


def _balanced(key: PRNGKeyArray, config: Config) -> Params:
    # A Gaussian matrix is U S V^T with U, S and V independent, and U and V uniform: no singular vectors are computed, whose
    # signs depend on the library.
    key_s, *keys = jax.random.split(key, config.depth + 2)
    depth, sizes = config.depth, (config.dim, *config.widths, config.num_outputs)
    lam = jnp.asarray(config.imbalance, float)
    rank = config.widths[0] if config.scheme == "lambda_balanced" else min(sizes)
    gaussian = jax.random.normal(key_s, (config.num_outputs, config.dim))
    strengths = jnp.linalg.svd(gaussian, compute_uv=False)[:rank]
    strengths = jnp.pad(strengths, (0, rank - len(strengths))) * config.scale**depth
    # columns beyond the size of a layer are 0: no mode of that number passes through it
    bases = [
        jnp.pad(jax.random.orthogonal(key, size, m=min(size, rank)), ((0, 0), (0, max(rank - size, 0))))
        for key, size in zip(keys, sizes, strict=True)
    ]
    if config.scheme == "lambda_balanced":
        larger = jnp.abs(lam) / 2 + jnp.sqrt((lam / 2) ** 2 + strengths**2)
        smaller = jnp.where(larger > 0, strengths**2 / jnp.where(larger > 0, larger, 1), 0)
        squares = [jnp.where(lam > 0, smaller, larger), jnp.where(lam > 0, larger, smaller)]
        singular = [jnp.sqrt(square) for square in squares]
    else:
        singular = [strengths ** (1 / depth)] * depth
    pairs = zip(singular, bases, bases[1:], strict=False)
    return Params(tuple((after * values[None, :]) @ before.T for values, before, after in pairs))


@one_example
def apply(params: Params, x: Float[Array, "dim"]) -> Float[Array, "output"]:
    """The output for one example."""
    return layers(params, x)[-1]


@one_example
def layers(params: Params, x: Float[Array, "dim"]) -> tuple[Float[Array, "_"], ...]:
    """z_1, .., z_L for one example, z_l = W_l .. W_1 x; the last is the output."""
    inputs = params.weights[0].shape[1]
    if x.shape != (inputs,):
        raise ValueError(f"x must have the shape (dim,) with dim = {inputs}, got {x.shape}")
    return tuple(itertools.accumulate(params.weights, lambda z, w: w @ z, initial=x))[1:]


def products(params: Params) -> tuple[Float[Array, "_ dim"], ...]:
    """W_1, W_2 W_1, .., W_L .. W_1: what each layer makes of the input."""
    return tuple(itertools.accumulate(params.weights, lambda below, w: matmul(w, below)))


def product(params: Params) -> Float[Array, "output dim"]:
    """W_L .. W_1, the linear map that the network is."""
    return products(params)[-1]


def imbalances(params: Params) -> tuple[Float[Array, "_ _"], ...]:
    """W_{l+1}^T W_{l+1} - W_l W_l^T for l = 1, .., L - 1: constant under gradient flow, of any loss and any data."""
    return tuple(above.T @ above - below @ below.T for below, above in itertools.pairwise(params.weights))


def tangent_matrix(params: Params) -> Float[Array, "dim dim"]:
    """M of the tangent kernel K(x, x') = x^T M x' of a network of one output: the sum over layers of |B_l|^2 A_l^T A_l.

    A_l = W_{l-1} .. W_1 comes before the layer, B_l = W_L .. W_{l+1} after it. Raises ValueError for several outputs.
    """
    if params.weights[-1].shape[0] != 1:
        raise ValueError(f"params must be of a network of one output, got {params.weights[-1].shape[0]}")
    dim, dtype = params.weights[0].shape[1], params.weights[0].dtype
    before = (jnp.eye(dim, dtype=dtype), *products(params)[:-1])
    backwards = itertools.accumulate(params.weights[:0:-1], lambda after, w: after @ w, initial=jnp.ones((1, 1), dtype))
    after = tuple(backwards)[::-1]
    return sum((jnp.sum(b**2) * a.T @ a for a, b in zip(before, after, strict=True)), jnp.zeros((dim, dim), dtype))


def population_loss(
    params: Params, covariance: Float[Array, "dim dim"], cross: Float[Array, "output dim"], square: Float[Array, ""] | float = 0
) -> Float[Array, ""]:
    """E |y - f(x)|^2/2 from E x x^T, E y x^T and E |y|^2; without the last it lacks a constant."""
    W = product(params)
    return (jnp.sum((matmul(W, covariance) - 2 * cross) * W) + square) / 2


def matmul(a: Float[Array, "row inner"], b: Float[Array, "inner column"]) -> Float[Array, "row column"]:
    """a b, for matrices of which a program multiplies many.

    XLA calls a library for each product. Where no side exceeds 8, a sum written out becomes part of the loops around it, and a
    step of gradient descent takes a tenth of the time on a CPU; with larger sides the library is faster.
    """
    if max(*a.shape, *b.shape) > _WRITTEN_OUT:
        return a @ b
    return jnp.sum(a[:, :, None] * b[None], axis=1)


def rotated(params: Params, left: Float[Array, "output output"], right: Float[Array, "dim dim"]) -> Params:
    """The network x -> left f(right^T x): an aligned start in the bases of a target left S right^T."""
    first, *rest = params.weights
    *middle, last = (first @ right.T, *rest)
    return Params((*middle, left @ last))
