"""Linear equations without cancellation, powers and eigenvalues of a matrix."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from .norms import power_of_two


def solved_by_rows(coupling: Array, rest: Array, right: Array) -> Array:
    """The x of (1 - C) x = right, where all of C, right and of the sums of the rows of 1 - C, given as `rest`, are positive.

    >>> solved_by_rows(jnp.array([[0.0, 0.5], [0.25, 0.0]]), jnp.array([0.5, 0.75]), jnp.array([1.0, 1.5])).tolist()
    [2.0, 2.0]
    """
    apart = coupling * (1 - jnp.eye(len(rest), dtype=rest.dtype))
    return jnp.linalg.solve(jnp.diag(rest + jnp.sum(apart, axis=1)) - apart, right)


def powers(exponents: Int[np.ndarray, "*shape"], matrix: Float[Array, "n n"]) -> Float[Array, "*shape n n"]:
    """The matrix to each of these powers, whole numbers from 0 on, by repeated squaring.

    >>> powers(np.array([0, 1, 5]), jnp.array([[2.0]])).ravel().tolist()
    [1.0, 2.0, 32.0]
    """
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)
    found, square = jnp.broadcast_to(identity, (*exponents.shape, *identity.shape)), matrix
    for bit in range(int(np.max(exponents, initial=0)).bit_length()):
        odd = jnp.asarray((exponents >> bit) % 2 == 1)[..., None, None]
        found, square = jnp.where(odd, found @ square, found), square @ square
    return found


def eigenvalues(matrix: Float[Array, "n n"]) -> Complex[Array, "n"]:
    """Eigenvalues of a matrix that need not be symmetric, in any order. JAX has them on CPUs and GPUs, and on no TPU.

    >>> jnp.sort(jnp.imag(eigenvalues(jnp.array([[0.0, 2.0], [-2.0, 0.0]])))).round(4).tolist()
    [-2.0, 2.0]
    """
    # LAPACK's rescaling of large and small entries costs float32 its digits: at 1e12 a tenth of the eigenvalue
    size = power_of_two(matrix)
    found = jnp.linalg.eigvals(matrix / size)
    return found * size.astype(found.dtype)
