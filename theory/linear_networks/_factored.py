"""P' = F P + P F - P^2 by factors that neither overflow nor cancel, at any time: the algorithm of `riccati`.

With M = exp(F t) and J the integral of M^2 the solution is P = M A (I + A^T J A)^-1 A^T M. In eigenvectors of F, sorted by
falling eigenvalue, A is replaced by a lower triangle L, A = L Z^T with orthonormal columns of Z, and every column is divided by
the growth of its first row. No row below grows faster, so no exponential exceeds 1, and nothing is lost where I + A^T J A is
ill-conditioned. Another growth of M than exp(f t) is possible, if all eigenvectors share the difference: `bilinear_dynamics`
has the trace term in it.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..numerics import exact


class Start(NamedTuple):
    """F and A in the eigenvectors of F."""

    values: Float[Array, "dim"]  # eigenvalues of F, falling; equal ones are equal to the last bit
    basis: Float[Array, "dim dim"]  # eigenvectors, one a column
    mixing: Float[Array, "dim dim"]  # 0, whose derivative is the change of F within one eigenvalue
    L: Float[Array, "dim rank"]  # lower triangle of A; a column without rank is 0
    first: Int[Array, "rank"]  # the row at which each column begins
    lost: Float[Array, "dim rank"]  # 0, whose derivative is the rank that comes in above the beginning of a column


def start(generator: Float[Array, "dim dim"], factor: Float[Array, "dim width"]) -> Start:
    """The parts of a symmetric F = `generator` and of A = `factor`."""
    values, basis, mixing = _diagonal(generator)
    return Start(values, basis, mixing, *_lower_triangle(basis.T @ factor))


def half(
    at: Start, now: Float[Array, ""], log_m: Float[Array, "dim"], j: Float[Array, "dim"], h: Float[Array, "dim"] | None
) -> Float[Array, "dim rank"]:
    """T, with P = T T^T in the eigenvectors of F; log_m falls from row to row, j is J/(1 + M^2).

    h is the integral of 2 J over 1 + M^2, of which only derivatives ask: without derivatives it is None.
    """
    # c L, row by row and over the c of the row at which the column begins, c = sqrt(1 + M^2)
    log_c = jax.nn.softplus(2 * log_m) / 2
    column = log_c[at.first]
    exponent = log_c[:, None] - column[None, :]
    # (not a minimum, which has half of the slope at the beginning of a column, where the exponent is 0)
    G = at.L * jnp.exp(jnp.where(exponent > 0, 0, exponent))
    if h is not None:
        G = G + at.lost * jnp.exp(jnp.minimum(exponent, exact.log(float(jnp.finfo(log_m.dtype).max)) / 4))
    E = jnp.exp(log_m - log_c)[:, None] * G
    if h is not None:
        E = E + now * (at.mixing @ E)
    N = G.T @ (j[:, None] * G)
    if h is not None:
        N = N + G.T @ (at.mixing * (2 * now * j - h)[None, :]) @ G
    empty = jnp.all(at.L == 0, axis=0)
    N = N + jnp.diag(jnp.where(empty, 1, jnp.exp(-2 * column)))
    size = jnp.sqrt(jnp.diag(N))
    return _over_root(E / size[None, :], N / (size[:, None] * size[None, :]))


def growth_integrals(t: Float[Array, ""], values: Float[Array, "dim"]) -> tuple[Float[Array, "dim"], Float[Array, "dim"]]:
    """j = tanh(f t)/(2 f), t/2 at f = 0, and h, the integral of 2 J over 1 + M^2, for M = exp(f t)."""
    small = jnp.abs(values * t) < 1e-3
    x, safe = jnp.where(small, values * t, 0), jnp.where(small, 1, values)
    square = x**2
    j = jnp.where(small, t / 2 * (1 - square / 3 * (1 - square * 0.4)), jnp.tanh(values * t) / (2 * safe))
    # (tanh(x)/2 - x/(1 + exp(2 x)))/f^2, of first derivatives only: three terms are more than enough
    series = t**2 / 2 * (1 - x / 3 - square / 3)
    return j, jnp.where(small, series, (j - t * jax.nn.sigmoid(-2 * values * t)) / safe)


@jax.custom_jvp
def flow_root(
    times: Float[Array, "time"], generator: Float[Array, "dim dim"], factor: Float[Array, "dim width"]
) -> Float[Array, "time dim rank"]:
    """R(t), with P(t) = R R^T from P(0) = A A^T; an infinite time gives the limit."""
    return _flow_root(times, generator, factor, derivatives=False)


@flow_root.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    return jax.jvp(lambda *arguments: _flow_root(*arguments, derivatives=True), primals, tangents)


@partial(jax.jit, static_argnames="derivatives")  # one program, where it is called by itself
def _flow_root(times: Array, generator: Array, factor: Array, derivatives: bool) -> Float[Array, "time dim rank"]:
    unit, root_unit = units(generator, factor)
    at = start(generator / unit, factor / root_unit)
    # A time at which exp(-2 |f| t) is 0 for every f above rounding of the greatest, and no square of it overflows.
    longest = float(jnp.finfo(times.dtype).max) ** 0.4 / (1 + jax.lax.stop_gradient(jnp.max(jnp.abs(at.values), initial=0)))

    def root(now: Float[Array, ""]) -> Float[Array, "dim rank"]:
        j, h = growth_integrals(now, at.values)
        return half(at, now, at.values * now, j, h if derivatives else None)

    return root_unit * (at.basis @ jax.vmap(root)(jnp.minimum(times * unit, longest)))


def units(generator: Float[Array, "dim dim"], factor: Float[Array, "dim width"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """A unit of P and of 1/t, and its root, so that errors are relative: powers of 64 and 8, which round nothing."""
    size = jnp.maximum(jnp.max(jnp.abs(generator), initial=0), jnp.max(jnp.abs(factor), initial=0) ** 2)
    size = jax.lax.stop_gradient(jnp.where(size > 0, size, 1))
    power = jnp.round(jnp.log2(size) / 6).astype(int)
    return jnp.ldexp(jnp.ones_like(size), 6 * power), jnp.ldexp(jnp.ones_like(size), 3 * power)


def _over_root(E: Float[Array, "dim rank"], N: Float[Array, "rank rank"]) -> Float[Array, "dim rank"]:
    """E C^-T with N = C C^T, of unit diagonal and positive definite; a pivot below rounding counts as rounding.

    Written out because a batch of small matrices goes through LAPACK one by one, and here all at once.
    """
    eps = float(jnp.finfo(N.dtype).eps)
    index = jnp.arange(len(N))

    def eliminate(k: Int[Array, ""], state: tuple[Array, Array]) -> tuple[Array, Array]:
        E, N = state
        root = jnp.sqrt(jnp.maximum(N[k, k], eps))
        column = jnp.where(index > k, N[:, k] / root, 0)
        done = E[:, k] / root
        E = jnp.where(index[None, :] == k, done[:, None], E - done[:, None] * column[None, :])
        return E, N - column[:, None] * column[None, :]

    return jax.lax.fori_loop(0, len(N), eliminate, (E, N))[0]


@jax.custom_jvp
def _diagonal(
    generator: Float[Array, "dim dim"],
) -> tuple[Float[Array, "dim"], Float[Array, "dim dim"], Float[Array, "dim dim"]]:
    """Falling eigenvalues, eigenvectors, and a 0 whose derivative is the change of the matrix within repeated eigenvalues.

    Eigenvalues that differ by rounding are made equal, and those of the size of rounding 0, so that the limit of large times
    does not choose between them. Eigenvectors of a repeated eigenvalue have no derivative: the change of the matrix between
    them is kept as it is.
    """
    values, vectors = jnp.linalg.eigh((generator + generator.T) / 2)
    values = values[::-1]
    rounding = 8 * max(1, len(values)) * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values), initial=0)
    values = jnp.where(jnp.abs(values) <= rounding, 0, values)

    def same(above: Float[Array, ""], value: Float[Array, ""]) -> tuple[Array, Array]:
        value = jnp.where(above - value <= rounding, above, value)
        return value, value

    values = jax.lax.scan(same, jnp.asarray(jnp.inf, values.dtype), values)[1]
    return values, vectors[:, ::-1], jnp.zeros_like(generator)


@_diagonal.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    values, basis, zero = _diagonal(*primals)
    change = basis.T @ (tangents[0] + tangents[0].T) @ basis / 2
    gap = values[None, :] - values[:, None]
    one = jnp.abs(gap) <= jnp.sqrt(jnp.finfo(gap.dtype).eps) * jnp.max(jnp.abs(values), initial=0)
    turn = jnp.where(one, 0, change / jnp.where(one, 1, gap))
    mixing = jnp.where(one, change - jnp.diag(jnp.diag(change)), 0)
    return (values, basis, zero), (jnp.diag(change), basis @ turn, mixing)


def _lower_triangle(
    B: Float[Array, "dim width"],
) -> tuple[Float[Array, "dim rank"], Int[Array, "rank"], Float[Array, "dim rank"]]:
    """L with B = L Z^T, Z of orthonormal columns: Gram-Schmidt over the rows, and the row at which each column begins.

    A row that adds no rank begins no column. The last result is 0; its derivative is the derivative of such a row along the
    columns that begin below it.
    """
    dim, width = B.shape
    rank = min(dim, width)
    negligible = 100 * jnp.finfo(B.dtype).eps * jnp.linalg.norm(jax.lax.stop_gradient(B))

    def step(state: tuple[Array, Array], row: Float[Array, "width"]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        Z, count = state
        first = Z @ row
        rest = row - first @ Z
        second = Z @ rest  # once more: after the first pass rest may consist of rounding errors of row alone
        rest = rest - second @ Z
        square = rest @ rest
        new = (jnp.sqrt(jax.lax.stop_gradient(square)) > negligible) & (count < rank)
        norm = jnp.where(new, jnp.sqrt(jnp.where(new, square, 1)), 0)
        z = jnp.where(new, rest / jnp.where(new, norm, 1), 0)
        here = (jnp.arange(rank) == count) & new
        state = Z + jnp.where(here[:, None], z[None, :], 0), count + new.astype(int)
        return state, (first + second + jnp.where(here, norm, 0), new)

    (Z, _), (L, began) = jax.lax.scan(step, (jnp.zeros((rank, width), B.dtype), jnp.asarray(0)), B)
    first = jnp.nonzero(began, size=rank, fill_value=max(dim - 1, 0))[0]
    later = ~began[:, None] & (first[None, :] > jnp.arange(dim)[:, None])
    B0, L0, Z0 = jax.lax.stop_gradient((B, L, Z))
    return L, first, jnp.where(later, (B - B0 - L0 @ (Z - Z0)) @ Z0.T, 0)  # of B = L Z
