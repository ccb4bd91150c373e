"""Functions of a positive semi-definite matrix, with derivatives where eigenvalues repeat.

Eigenvectors of repeated eigenvalues have no derivatives, functions of the matrix do. `diagonal_form` turns the matrix by
eigenvectors that stay fixed: the result is diagonal, its derivative is not, and `solved` and `multiplied` handle both.
`function_applied` takes any function, and its divided differences for the derivative (Daleckii and Krein).

`upper_blocks` computes a symmetric matrix, such as a Gram matrix or a kernel, by the blocks on and above the diagonal.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from .arguments import known


def num_blocks(count: int, size: int = 256, most: int = 8) -> tuple[int, int]:
    """The number of blocks in which to compute a symmetric matrix of `count` rows, and their rows: size, or more than that.

    Of b blocks a row (b + 1)/(2 b) of the matrix is computed. More than eight save little, and each is a transposed copy.

    >>> num_blocks(2000), num_blocks(100), num_blocks(0)
    ((8, 250), (1, 100), (1, 1))
    """
    blocks = max(1, min(most, -(-count // size)))
    return blocks, max(1, -(-count // blocks))


def upper_blocks(
    block_fn: Callable[[Int[Array, ""], Int[Array, ""]], PyTree[Array]], count: int
) -> dict[tuple[int, int], PyTree[Array]]:
    """{(i, j): block_fn(i, j)} of the blocks on and above the diagonal, one after the other in a loop.

    In a loop, for there XLA computes a block in the cache, and compiles it once.
    """
    pairs = [(i, j) for i in range(count) for j in range(i, count)]
    stacked = jax.lax.map(lambda pair: block_fn(pair[0], pair[1]), jnp.asarray(pairs))
    return {pair: jax.tree.map(lambda leaf, k=k: leaf[k], stacked) for k, pair in enumerate(pairs)}


def diagonal_form(matrix: Float[Array, "n n"], name: str = "gram") -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """V^T A V and V, which derivatives hold constant. Eigenvalues up to n eps times the largest are rounding and become 0.

    Raises ValueError where `require_kernel` does.
    """
    require_kernel(matrix, name)
    return _diagonal_form(matrix)


def require_kernel(matrix: Float[Array, "n n"], name: str = "gram") -> None:
    """Raises ValueError for a known matrix that is not symmetric, or has an eigenvalue below -sqrt(eps) times the largest."""
    if known(matrix):  # by numpy: inside a program whose constant it is, jnp would trace
        allowed, values = float(jnp.finfo(matrix.dtype).eps) ** 0.5, np.asarray(matrix)
        if np.max(np.abs(values - values.T), initial=0) > allowed * np.max(np.abs(values), initial=0):
            raise ValueError(f"{name} must be symmetric")
        eigenvalues = np.linalg.eigvalsh(values)
        least, largest = np.min(eigenvalues, initial=np.inf), np.max(eigenvalues, initial=-np.inf)
        if least < -allowed * abs(largest):
            raise ValueError(f"{name} must be positive semi-definite, got the eigenvalue {float(least)}")


def cut_eigh(matrix: Float[Array, "n n"]) -> tuple[Float[Array, "n"], Float[Array, "n n"]]:
    """Eigenvalues, those below rounding set to 0, and eigenvectors."""
    values, vectors = jnp.linalg.eigh(matrix)
    return jnp.where(values > len(values) * jnp.finfo(values.dtype).eps * jnp.max(values, initial=0), values, 0), vectors


@jax.custom_jvp
def _diagonal_form(matrix: Array) -> tuple[Array, Array]:
    values, vectors = cut_eigh(matrix)
    return jnp.diag(values), vectors


@_diagonal_form.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    form, vectors = _diagonal_form(*primals)
    return (form, vectors), (vectors.T @ (tangents[0] + tangents[0].T) @ vectors / 2, jnp.zeros_like(vectors))


def cleared(x: Array, where: Array) -> Array:
    """0, with the slopes of x, where `where` is true."""
    return jnp.where(where, x - jax.lax.stop_gradient(x), x)


@jax.custom_jvp
def solved(form: Float[Array, "n n"], right: Float[Array, "n m"]) -> Float[Array, "n m"]:
    """form^-1 right, for a form that is diagonal, while its derivative need not be."""
    return right / jnp.diagonal(form)[:, None]


@solved.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    x = solved(*primals)
    return x, solved(primals[0], tangents[1] - tangents[0] @ x)


@jax.custom_jvp
def multiplied(form: Float[Array, "n n"], right: Float[Array, "n m"]) -> Float[Array, "n m"]:
    """form right, for a form that is diagonal, while its derivative need not be."""
    return jnp.diagonal(form)[:, None] * right


@multiplied.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    return multiplied(*primals), tangents[0] @ primals[1] + multiplied(primals[0], tangents[1])


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def function_applied(
    function: Callable[..., Array],
    divided: Callable[..., Array],
    parameters: Any,
    matrix: Float[Array, "n n"],
    shift: Float[Array, ""],
    rows: Float[Array, "m n"],
    y: Float[Array, "n target"],
) -> Float[Array, "... m target"]:
    """rows f(matrix + shift) y, of f(a) = function(a, parameters) and (f(a) - f(b))/(a - b) = divided(a, b, parameters).

    Rows of a kernel have no component along eigenvectors of eigenvalue 0; a component there counts as rounding. The second
    derivative in the matrix goes through its eigenvectors: right where eigenvalues differ, NaN where they repeat.
    """
    values, vectors = cut_eigh(matrix)
    shares = jnp.where(values > 0, function(jnp.where(values > 0, values + shift, 1), parameters), 0)
    return _summed(rows @ vectors, shares, vectors.T @ y)


@function_applied.defjvp
def _(function: Callable, divided: Callable, primals: tuple, tangents: tuple) -> tuple:
    parameters, matrix, shift, rows, y = primals
    d_parameters, d_matrix, d_shift, d_rows, d_y = tangents
    values, vectors = cut_eigh(matrix)
    seen, rates = values > 0, values + shift
    inner = jnp.where(seen[None], rows @ vectors, 0)
    shares = function(rates, parameters)
    shares = jnp.where(jnp.isfinite(shares), shares, 0)
    _, d_shares = jax.jvp(lambda p: function(jnp.where(seen, rates, 1), p), (parameters,), (d_parameters,))
    change = vectors.T @ (d_matrix + d_matrix.T) @ vectors / 2 + d_shift * jnp.eye(len(rates), dtype=rates.dtype)
    low, high = (pick(rates[:, None], rates[None]) for pick in (jnp.minimum, jnp.maximum))
    slopes = divided(low, high, parameters)
    turned = jnp.where(jnp.isfinite(slopes), slopes, 0)
    targets = vectors.T @ y
    tangent = (
        _summed(d_rows @ vectors, shares, targets)
        + _summed(inner, shares, vectors.T @ d_y)
        + _summed(inner, d_shares, targets)
        + jnp.einsum("xi,...ij,ij,jt->...xt", inner, turned, change, targets)
    )
    return function_applied(function, divided, *primals), tangent


def _summed(rows: Array, shares: Array, targets: Array) -> Array:
    return jnp.einsum("xm,...m,mt->...xt", rows, shares, targets)
