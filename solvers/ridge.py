"""Ridge regression on features or on a kernel, and kernel matrices of many examples in bounded memory.

    fit          minimise over w   ||y - Phi w||^2 + ridge ||w||^2:   primal (P x P) or dual (n x n), whichever is smaller
    fit_kernel   coefficients c = (K + ridge I)^-1 y, so that the prediction at x is K(x, X) c
    gram         K(x_a, y_b) for all pairs, by blocks; of one set of examples with itself, half of the blocks

The ridge is not divided by the number of samples. With K = Phi Phi^T the two fits give the same function. Everything may be
jitted, differentiated, and mapped over ridge or y by `vmap`.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, ArrayLike, Float, PyTree

from .program import known

Example = TypeVar("Example")


def fit(
    features: Float[Array, "sample feature"], y: Float[Array, "sample *target"], ridge: ArrayLike
) -> Float[Array, "feature *target"]:
    """The weights of the ridge fit; several columns of y at the cost of one factorisation."""
    _check(features, y, ridge, "features")
    samples, width = features.shape
    if width <= samples:
        return _solve(features.T @ features, features.T @ y, ridge)
    return features.T @ _solve(features @ features.T, y, ridge)


def fit_kernel(
    gram: Float[Array, "sample sample"], y: Float[Array, "sample *target"], ridge: ArrayLike
) -> Float[Array, "sample *target"]:
    """(gram + ridge I)^-1 y by Cholesky: NaN where the sum is not positive definite to working precision."""
    _check(gram, y, ridge, "gram")
    return _solve(gram, y, ridge)


def gram(
    kernel_fn: Callable[[Example, Example], Float[Array, "*part"]],
    x: PyTree[Array, "Example"],
    y: PyTree[Array, "Example"] | None = None,
    block: int = 256,
) -> Float[Array, "x y *part"]:
    """kernel_fn of every pair of examples, the leading axis of the arrays in x and y; y = None stands for x itself.

    Pairs are worked on in blocks of block x block examples, so that beyond the result the memory is that of one block. The
    kernel of x with itself must be symmetric: blocks below the diagonal are copied, not computed.
    """
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    symmetric = y is None
    other = x if y is None else y
    rows, columns = (len(jax.tree.leaves(examples)[0]) for examples in (x, other))
    tall, wide = min(block, rows), min(block, columns)
    down, across = -(-rows // tall), -(-columns // wide)
    pairs = [(i, j) for i in range(down) for j in range(across) if not (symmetric and j < i)]
    # a last block that does not fit reaches back over the one before it: same numbers, no padding
    starts = np.asarray([(min(i * tall, rows - tall), min(j * wide, columns - wide)) for i, j in pairs])
    every = jax.vmap(jax.vmap(kernel_fn, (None, 0)), (0, None))
    one = jax.eval_shape(kernel_fn, *(jax.tree.map(lambda leaf: leaf[0], examples) for examples in (x, other)))
    start_of = jnp.asarray(starts)

    def cut(examples: PyTree[Array], start: Array, size: int) -> PyTree[Array]:
        return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), examples)

    def fill(index: Array, matrix: Array) -> Array:
        row, column = start_of[index]
        part = every(cut(x, row, tall), cut(other, column, wide))
        corner = (0,) * len(one.shape)
        matrix = jax.lax.dynamic_update_slice(matrix, part, (row, column, *corner))
        return jax.lax.dynamic_update_slice(matrix, part.swapaxes(0, 1), (column, row, *corner)) if symmetric else matrix

    return jax.lax.fori_loop(0, len(pairs), fill, jnp.zeros((rows, columns, *one.shape), one.dtype))


def _solve(matrix: Array, y: Array, ridge: ArrayLike) -> Array:
    shifted = matrix + jnp.asarray(ridge, matrix.dtype) * jnp.eye(len(matrix), dtype=matrix.dtype)
    return cho_solve(cho_factor(shifted, lower=True), y)


def _check(matrix: Array, y: Array, ridge: ArrayLike, name: str) -> None:
    if len(y) != len(matrix):
        raise ValueError(f"y must have one row for each of the {len(matrix)} rows of {name}, got shape {y.shape}")
    if known(ridge) and not np.all(np.asarray(ridge) >= 0):
        raise ValueError(f"ridge must not be negative, got {ridge}")
    for label, values in ((name, matrix), ("y", y)):
        if known(values) and not np.isfinite(values).all():
            raise ValueError(f"{label} must be finite; it holds NaN or infinity")
