"""Functions of a symmetric matrix that is not negative, with derivatives where eigenvalues repeat.

Eigenvectors of repeated eigenvalues have no derivatives, functions of the matrix do. `diagonal_form` turns the matrix by
eigenvectors that stay fixed: the result is diagonal, its derivative is not, and `solved` and `multiplied` know of both.
"""

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float


def diagonal_form(matrix: Float[Array, "n n"], name: str = "gram") -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """V^T A V and V, which counts as constant. Eigenvalues up to n eps times the largest are rounding and become 0.

    Raises ValueError for a matrix that is known and not symmetric, or has an eigenvalue below -sqrt(eps) times the largest.
    """
    if not isinstance(matrix, Tracer):
        allowed = float(jnp.finfo(matrix.dtype).eps) ** 0.5
        if jnp.max(jnp.abs(matrix - matrix.T), initial=0) > allowed * jnp.max(jnp.abs(matrix), initial=0):
            raise ValueError(f"{name} must be symmetric")
        least, largest = jnp.linalg.eigvalsh(matrix)[jnp.array([0, -1])]
        if least < -allowed * abs(largest):
            raise ValueError(f"{name} must not be negative, got the eigenvalue {float(least)}")
    return _diagonal_form(matrix)


def cut_eigh(matrix: Float[Array, "n n"]) -> tuple[Float[Array, "n"], Float[Array, "n n"]]:
    """Eigenvalues, of which rounding has become 0, and eigenvectors."""
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
    """form^-1 right, for a form that is diagonal, but its derivative need not be."""
    return right / jnp.diagonal(form)[:, None]


@solved.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    x = solved(*primals)
    return x, solved(primals[0], tangents[1] - tangents[0] @ x)


@jax.custom_jvp
def multiplied(form: Float[Array, "n n"], right: Float[Array, "n m"]) -> Float[Array, "n m"]:
    """form right, for a form that is diagonal, but its derivative need not be."""
    return jnp.diagonal(form)[:, None] * right


@multiplied.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    return multiplied(*primals), tangents[0] @ primals[1] + multiplied(primals[0], tangents[1])
