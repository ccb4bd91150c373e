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

_WRITTEN_OUT = 8  # terms of a sum, or steps of an elimination


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
    at: Start,
    now: Float[Array, "time"],
    log_m: Float[Array, "dim time"],
    j: Float[Array, "dim time"],
    h: Float[Array, "dim time"] | None,
) -> Float[Array, "dim rank time"]:
    """T, with P = T T^T in the eigenvectors of F, at all times; log_m falls from row to row, j is J/(1 + M^2).

    h is the integral of 2 J over 1 + M^2, of which only derivatives ask: without derivatives it is None. Times are the last
    axis, along which every operation is one loop.
    """
    # c L, row by row and over the c of the row at which the column begins, where c = sqrt(1 + M^2) is r times M or times 1,
    # whichever is larger. Logarithms are written without differences of large numbers, whose rounding depends on what the
    # compiler fuses; of functions of row and time none is computed anew for each column.
    rises = log_m > 0
    positive, negative = jnp.where(rises, log_m, 0), jnp.where(rises, 0, log_m)
    r = jnp.sqrt(1 + jnp.exp(2 * jnp.where(rises, -log_m, log_m)))
    column = at.first
    growth = (at.values[:, None] - at.values[column][None, :])[:, :, None] * now[None, None]
    apart = positive[:, None] - positive[column][None]  # one of the two is 0
    exponent = jnp.where(rises[:, None] & rises[column][None], growth, apart)
    ratio = r[:, None] / r[column][None]
    # (not a minimum, which has half of the slope at the beginning of a column, where the exponent is 0)
    G = at.L[:, :, None] * jnp.exp(jnp.where(exponent > 0, 0, exponent)) * ratio
    if h is not None:
        limit = exact.log(float(jnp.finfo(log_m.dtype).max)) / 4
        G = G + at.lost[:, :, None] * jnp.exp(jnp.minimum(exponent, limit)) * ratio
    E = (jnp.exp(negative) / r)[:, None] * G
    if h is not None:
        E = E + now[None, None] * jnp.einsum("ij,jkt->ikt", at.mixing, E)
    N = sum_of_products(j[:, None] * G, G)
    if h is not None:
        N = N + sum_of_products(jnp.einsum("ij,jt,jkt->ikt", at.mixing, 2 * now[None] * j - h, G), G)
    empty = jnp.all(at.L == 0, axis=0)
    N = (
        N
        + jnp.eye(len(column), dtype=N.dtype)[:, :, None]
        * jnp.where(empty[:, None], 1, (jnp.exp(-positive) / r)[column] ** 2)[None]
    )
    size = jnp.sqrt(jnp.diagonal(N).T)
    return _over_root(E / size[None], N / (size[:, None] * size[None]))


def growth_integrals(
    t: Float[Array, "time"], values: Float[Array, "dim"]
) -> tuple[Float[Array, "dim time"], Float[Array, "dim time"]]:
    """j = tanh(f t)/(2 f), t/2 at f = 0, and h, the integral of 2 J over 1 + M^2, for M = exp(f t)."""
    t, values = jnp.broadcast_arrays(t[None, :], values[:, None])
    small = jnp.abs(values * t) < 1e-3
    x, safe = jnp.where(small, values * t, 0), jnp.where(small, 1, values)
    square = x**2
    j = jnp.where(small, t / 2 * (1 - square / 3 * (1 - square * 0.4)), jnp.tanh(values * t) / (2 * safe))
    # (tanh(x)/2 - x/(1 + exp(2 x)))/f^2, of first derivatives only: three terms are more than enough
    series = t**2 / 2 * (1 - x / 3 - square / 3)
    return j, jnp.where(small, series, (j - t * jax.nn.sigmoid(-2 * values * t)) / safe)


def sum_of_products(left: Float[Array, "n row time"], right: Float[Array, "n column time"]) -> Float[Array, "row column time"]:
    """sum_n left_n right_n^T at every time; a short sum is written out, since a batch of small products is slow."""
    if not 1 <= len(left) <= 2 * _WRITTEN_OUT:
        return jnp.einsum("nit,njt->ijt", left, right)
    terms = (a[:, None] * b[None] for a, b in zip(left, right, strict=True))
    return sum(terms, jnp.zeros((), left.dtype))


@jax.custom_jvp
def flow_root(
    times: Float[Array, "time"], generator: Float[Array, "dim dim"], factor: Float[Array, "dim width"]
) -> Float[Array, "dim rank time"]:
    """R(t), with P(t) = R R^T from P(0) = A A^T; an infinite time gives the limit."""
    return _flow_root(times, generator, factor, derivatives=False)


@flow_root.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    return jax.jvp(lambda *arguments: _flow_root(*arguments, derivatives=True), primals, tangents)


@partial(jax.jit, static_argnames="derivatives")  # one program, where it is called by itself
def _flow_root(times: Array, generator: Array, factor: Array, derivatives: bool) -> Float[Array, "dim rank time"]:
    unit, root_unit = units(generator, factor)
    at = start(generator / unit, factor / root_unit)
    # A time at which exp(-2 |f| t) is 0 for every f above rounding of the greatest, and no square of it overflows.
    longest = float(jnp.finfo(times.dtype).max) ** 0.4 / (1 + jax.lax.stop_gradient(jnp.max(jnp.abs(at.values), initial=0)))

    now = jnp.minimum(times * unit, longest)
    j, h = growth_integrals(now, at.values)
    root = half(at, now, at.values[:, None] * now[None], j, h if derivatives else None)
    return root_unit * (at.basis @ root.reshape(len(root), -1)).reshape(root.shape)


def units(generator: Float[Array, "dim dim"], factor: Float[Array, "dim width"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """A unit of P and of 1/t, and its root, so that errors are relative: powers of 64 and 8, which round nothing."""
    size = jnp.maximum(jnp.max(jnp.abs(generator), initial=0), jnp.max(jnp.abs(factor), initial=0) ** 2)
    size = jax.lax.stop_gradient(jnp.where(size > 0, size, 1))
    power = jnp.round(jnp.log2(size) / 6).astype(int)
    return jnp.ldexp(jnp.ones_like(size), 6 * power), jnp.ldexp(jnp.ones_like(size), 3 * power)


def _over_root(E: Float[Array, "dim rank time"], N: Float[Array, "rank rank time"]) -> Float[Array, "dim rank time"]:
    """E C^-T with N = C C^T, of unit diagonal and positive definite; a pivot below rounding counts as rounding.

    Written out because a batch of small matrices goes through LAPACK one by one, and here all at once; of a small rank step by
    step, which leaves out what is done.
    """
    eps, rank = float(jnp.finfo(N.dtype).eps), len(N)
    index = jnp.arange(rank)
    if 1 <= rank <= _WRITTEN_OUT and E.shape[-1] > 1:
        columns = []
        for _ in range(rank):
            root = jnp.sqrt(jnp.maximum(N[0, 0], eps))
            done, column = E[:, 0] / root[None], N[1:, 0] / root[None]
            columns.append(done)
            E, N = E[:, 1:] - done[:, None] * column[None], N[1:, 1:] - column[:, None] * column[None]
        return jnp.stack(columns, axis=1)

    def eliminate(k: Int[Array, ""], state: tuple[Array, Array]) -> tuple[Array, Array]:
        E, N = state
        root = jnp.sqrt(jnp.maximum(N[k, k], eps))
        column = jnp.where((index > k)[:, None], N[:, k] / root[None], 0)
        done = E[:, k] / root[None]
        E = jnp.where((index == k)[None, :, None], done[:, None], E - done[:, None] * column[None])
        return E, N - column[:, None] * column[None]

    return jax.lax.fori_loop(0, rank, eliminate, (E, N))[0]


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
