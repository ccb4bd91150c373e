r"""Ridge regression on features or on a kernel, and kernel matrices of many examples in bounded memory.

`fit` minimises over $w$, by the primal ($P \times P$) or the dual ($n \times n$) system, whichever is smaller,

$$
\|y - \Phi w\|^2 + \text{ridge} \, \|w\|^2
$$

`fit_kernel` gives the coefficients $c = (K + \text{ridge} \, I)^{-1} y$, so that the prediction at $x$ is $K(x, X)\, c$. `gram`
gives $K(x_a, y_b)$ for all pairs, by blocks; for one set of examples with itself it computes half of the blocks.

The ridge is not divided by the number of samples. With $K = \Phi \Phi^\top$ the two fits give the same function. Everything may
be jitted, differentiated, and mapped over ridge or $y$ by `vmap`.

Singular systems. The fits are by Cholesky where the ridge is traced, or is at least 1000 times the rounding of the largest
eigenvalue. Where the ridge is known to be smaller, 0 included, they are by singular values or eigenvalues, which takes about
ten times as long: values below rounding count as 0 and get no weight, so that ridge 0 gives the solution of least norm, also
for features or kernels that are rank-deficient. Derivatives then hold for changes that keep the rank. A traced ridge below
rounding gives noise or NaN where the matrix is singular.

Example. Four samples with the one feature 1 and the target 3: a ridge as large as their number halves the weight.

>>> import jax.numpy as jnp
>>> from closedform.solvers import ridge
>>> float(ridge.fit(jnp.ones((4, 1)), 3 * jnp.ones(4), 4.0)[0].round(4))
1.5
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax.linalg import triangular_solve
from jaxtyping import Array, Float, PyTree, Real

from ..theory.numerics.arguments import FINITE, ArrayLike, at_least, known, require, takes
from ..theory.numerics.symmetric import num_blocks, upper_blocks

_product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


@takes(features=FINITE, y=FINITE)
def fit(
    features: Real[ArrayLike, "sample feature"], y: Real[ArrayLike, "sample *target"], ridge: ArrayLike
) -> Float[Array, "feature *target"]:
    """The weights of the ridge fit; several columns of y at the cost of one factorisation.

    >>> [round(float(weight), 4) for weight in fit([[1, 1], [1, 1]], [1, 3], 0)]  # of all with sum 2 the shortest
    [1.0, 1.0]
    """
    _check(ridge, features=features, y=y)
    samples, width = features.shape
    if _is_small(ridge, features, 2):
        return _least_norm(features, y.reshape(samples, -1), jnp.asarray(ridge, y.dtype)).reshape(width, *y.shape[1:])
    if width <= samples:
        return _solve(features.T, _rows_of_product, _times_product, _product(features.T, y), ridge)
    return _product(features.T, _solve(features, _rows_of_product, _times_product, y, ridge))


@takes(gram=FINITE, y=FINITE)
def fit_kernel(
    gram: Real[ArrayLike, "sample sample"], y: Real[ArrayLike, "sample *target"], ridge: ArrayLike
) -> Float[Array, "sample *target"]:
    """(gram + ridge I)^-1 y for a symmetric gram; with the pseudo-inverse at a known ridge of 0.

    NaN where gram + ridge I has an eigenvalue that is negative beyond rounding, or, by Cholesky, is not positive definite to
    working precision.
    """
    _check(ridge, gram=gram, y=y)
    if _is_small(ridge, gram, 1):
        return _pseudo_solve(gram, y.reshape(len(y), -1), jnp.asarray(ridge, y.dtype)).reshape(y.shape)
    return _solve(gram, _rows, _product, y, ridge)


def gram(
    kernel_fn: Callable[[Any, Any], Float[Array, "*part"]],
    x: PyTree[Array],
    y: PyTree[Array] | None = None,
    block_size: int = 64,
) -> Float[Array, "x y *part"]:
    """kernel_fn of every pair of examples, the leading axis of the arrays in x and y; y = None stands for x itself.

    Pairs are worked on in blocks of block_size x block_size examples, so that beside the result only one block is in memory.
    The kernel of x with itself must be symmetric: blocks below the diagonal are copied, not computed.
    """
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}")
    symmetric = y is None
    other = x if y is None else y
    rows, columns = (len(jax.tree.leaves(examples)[0]) for examples in (x, other))
    tall, wide = min(block_size, rows), min(block_size, columns)
    down, across = -(-rows // tall), -(-columns // wide)
    pairs = [(i, j) for i in range(down) for j in range(across) if not (symmetric and j < i)]
    # a last block that does not fit reaches back over the one before it: same numbers, no padding
    starts = np.asarray([(min(i * tall, rows - tall), min(j * wide, columns - wide)) for i, j in pairs])
    every = jax.vmap(jax.vmap(kernel_fn, (None, 0)), (0, None))
    one = jax.eval_shape(kernel_fn, *(jax.tree.map(lambda leaf: leaf[0], examples) for examples in (x, other)))
    start_of, corner = jnp.asarray(starts), (0,) * len(one.shape)

    def cut(examples: PyTree[Array], start: Array, size: int) -> PyTree[Array]:
        return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), examples)

    def fill(index: Array, matrix: Array) -> Array:
        row, column = start_of[index]
        part = every(cut(x, row, tall), cut(other, column, wide))
        return jax.lax.dynamic_update_slice(matrix, part, (row, column, *corner))

    def mirror(index: Array, matrix: Array) -> Array:  # a loop of its own: XLA would compute a block twice to transpose it
        row, column = start_of[index]
        part = jax.lax.dynamic_slice(matrix, (row, column, *corner), (tall, wide, *one.shape))
        return jax.lax.dynamic_update_slice(matrix, part.swapaxes(0, 1), (column, row, *corner))

    matrix = jax.lax.fori_loop(0, len(pairs), fill, jnp.zeros((rows, columns, *one.shape), one.dtype))
    return jax.lax.fori_loop(0, len(pairs), mirror, matrix) if symmetric else matrix


def _solve(
    array: Array,
    rows_fn: Callable[[Array, int], list[Array]],
    times_fn: Callable[[Array, Array], Array],
    y: Array,
    ridge: ArrayLike,
) -> Array:
    """(M + ridge I)^-1 y. rows_fn gives M in blocks of rows, each from the diagonal on: the rest is not formed.

    times_fn, the product of M with columns, is for derivatives: they take further solves, and no derivative of a factor.
    """
    shift, columns = jnp.asarray(ridge, array.dtype), y.reshape(len(y), -1)
    frozen, frozen_shift = jax.lax.stop_gradient((array, shift))
    # blocks as in theory.kernels.deep_kernels.gram: of a kernel compiled together with its fit, one side is not formed
    factor = _cholesky(rows_fn(frozen, num_blocks(len(y))[1]), frozen_shift)
    solution = jax.lax.custom_linear_solve(
        lambda v: times_fn(array, v) + shift * v, columns, lambda _, v: _substitute(factor, v), symmetric=True
    )
    return solution.reshape(y.shape)


def _rows(matrix: Array, height: int) -> list[Array]:
    return [matrix[start : start + height, start:] for start in range(0, len(matrix), height)]


def _rows_of_product(f: Array, height: int) -> list[Array]:
    """Of F F^T, by square blocks in a loop: XLA copies what it multiplies, for eight wide blocks most of F eight times."""
    count = -(-len(f) // height)
    blocks = jnp.pad(f, ((0, count * height - len(f)), (0, 0))).reshape(count, height, -1)
    at = upper_blocks(lambda i, j: _product(blocks[i], blocks[j].T), count)
    rows = [jnp.concatenate([at[i, j] for j in range(i, count)], axis=1) for i in range(count)]
    return [row[: len(f) - i * height, : len(f) - i * height] for i, row in enumerate(rows)]


def _times_product(f: Array, v: Array) -> Array:
    return _product(f, _product(f.T, v))


def _cholesky(rows: list[Array], shift: Array) -> list[tuple[Array, Array]]:
    """L of L L^T = M + shift I by panels of columns: the block of L on the diagonal, and what is below it.

    On CPUs XLA's product of matrices is two to four times faster than LAPACK's Cholesky. Of eight panels each takes one
    product, and four fifths of the work are done in these.
    """
    panels: list[tuple[Array, Array]] = []
    left = None  # the rows of L from the panel on, all columns before it
    for row in rows:
        count = len(row)
        if left is not None:
            row = row - _product(left[:count], left.T)
        diagonal = jax.lax.linalg.cholesky(row[:, :count] + shift * jnp.eye(count, dtype=row.dtype), symmetrize_input=False)
        # transposed, for LAPACK wants columns
        below = triangular_solve(diagonal, row[:, count:].T, left_side=False, lower=True, transpose_a=True)
        panels.append((diagonal, below))
        left = below if left is None else jnp.concatenate([left[count:], below], axis=1)
    return panels


def _substitute(panels: list[tuple[Array, Array]], y: Array) -> Array:
    """(L L^T)^-1 y."""
    forward, rest = [], y
    for diagonal, below in panels:
        top = triangular_solve(diagonal, rest[: len(diagonal)], left_side=True, lower=True)
        rest = rest[len(diagonal) :] - _product(below, top)
        forward.append(top)
    solution = rest  # no rows
    for (diagonal, below), top in zip(reversed(panels), reversed(forward), strict=True):
        top = triangular_solve(diagonal, top - _product(below.T, solution), left_side=True, lower=True, transpose_a=True)
        solution = jnp.concatenate([top, solution])
    return solution


# --------------------------------------------------------------------------------------------------- singular systems


def _is_small(ridge: ArrayLike, matrix: Array, power: int) -> bool:
    """Whether the ridge is known to be near the rounding of the largest eigenvalue, |matrix|^power at most, or below it."""
    if not known(ridge):
        return False
    if not known(matrix):
        return bool(np.asarray(ridge) == 0)
    largest = np.linalg.norm(np.asarray(matrix, float)) ** power
    return bool(np.asarray(ridge) <= 1000 * len(matrix) * float(jnp.finfo(matrix.dtype).eps) * largest)


def _by_singular_values(features: Array, ridge: Array) -> tuple[Array, Array, Array, Array]:
    """U, V of the singular values s that are kept (the other columns are 0), s, and 1/(s^2 + ridge)."""
    u, s, v = jnp.linalg.svd(features, full_matrices=False)
    kept = s > max(features.shape) * jnp.finfo(s.dtype).eps * jnp.max(s)
    inverse = jnp.where(kept, 1 / jnp.where(kept, s**2 + ridge, 1), 0)
    return jnp.where(kept[None], u, 0), jnp.where(kept[None], v.T, 0), s, inverse


@jax.custom_jvp
def _least_norm(features: Array, y: Array, ridge: Array) -> Array:
    u, v, s, inverse = _by_singular_values(features, ridge)
    return _product(v, (s * inverse)[:, None] * _product(u.T, y))


@_least_norm.defjvp
def _least_norm_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    """For (A'A + ridge) w = A'y inside of the row space of A, which turns by A'c: w = A'c with (A A' + ridge) c = y."""
    (features, y, ridge), (d_features, dy, d_ridge) = primals, tangents
    u, v, s, inverse = _by_singular_values(features, ridge)
    c = _product(u, inverse[:, None] * _product(u.T, y))
    w = _product(v, (s * inverse)[:, None] * _product(u.T, y))
    left = y - _product(features, w)
    right = _product(d_features.T, left) - _product(features.T, _product(d_features, w) - dy) - d_ridge * w
    turned = _product(d_features.T, c)
    return w, _product(v, inverse[:, None] * _product(v.T, right)) + turned - _product(v, _product(v.T, turned))


def _by_eigenvalues(gram: Array, ridge: Array) -> tuple[Array, Array, Array]:
    """The vectors of the eigenvalues that are kept (the other columns are 0), 1/(value + ridge), and that over the value."""
    values, vectors = jnp.linalg.eigh(gram)
    edge = len(gram) * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
    kept = values > edge
    inverse = jnp.where(jnp.min(values) + ridge < -edge, jnp.nan, jnp.where(kept, 1 / jnp.where(kept, values + ridge, 1), 0))
    return jnp.where(kept[None], vectors, 0), inverse, inverse / jnp.where(kept, values, 1)


@jax.custom_jvp
def _pseudo_solve(gram: Array, y: Array, ridge: Array) -> Array:
    vectors, inverse, _ = _by_eigenvalues(gram, ridge)
    return _product(vectors, inverse[:, None] * _product(vectors.T, y))


@_pseudo_solve.defjvp
def _pseudo_solve_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    """Inside of the range of K, dc = (K + ridge)^-1 (dy - dK c - dridge c); the range turns by perturbation of first order."""
    (gram, y, ridge), (d_gram, dy, d_ridge) = primals, tangents
    vectors, inverse, twice = _by_eigenvalues(gram, ridge)

    def within(diagonal: Array, b: Array) -> Array:
        return _product(vectors, diagonal[:, None] * _product(vectors.T, b))

    def outside(b: Array) -> Array:
        return b - _product(vectors, _product(vectors.T, b))

    c = within(inverse, y)
    inner = within(inverse, dy - _product(d_gram, c) - d_ridge * c)
    return c, inner + within(twice, _product(d_gram, outside(y))) + outside(_product(d_gram, within(twice, y)))


def _check(ridge: ArrayLike, **arrays: Array) -> None:
    if jnp.shape(ridge) != ():
        raise ValueError(f"ridge must be a single number, got shape {jnp.shape(ridge)}; vmap over further axes")
    require(at_least(0, finite=True), ridge=ridge)
    for name, value in arrays.items():
        if 0 in value.shape:
            raise ValueError(f"{name} must not be empty, got shape {value.shape}")
