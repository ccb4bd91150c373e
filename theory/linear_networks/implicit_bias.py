r"""Which interpolating weights gradient flow finds: the hyperbolic entropy of diagonal networks, its two limits, and traces.

Formula. Linear regression $\frac{1}{2} |X \beta - y|^2$ by a diagonal network of depth 2, $\beta = u \odot u - v \odot v$, from
$u_0 = v_0 = \alpha$ in every coordinate, ends at the weights $\beta$ with $X \beta = y$ and

$$
\sum_i q(\beta_i) = \min_{X b = y}\; \sum_i q(b_i), \qquad
q(b) = b \operatorname{arsinh} \frac{b}{2 \alpha^2} - \sqrt{4 \alpha^4 + b^2}
$$

and the minimiser has the dual form

$$
\beta = 2 \alpha^2 \sinh(X^\top \nu), \qquad X \beta = y
$$

Its limits have the least $|\beta|_1$ as $\alpha \to 0$ and the least $|\beta|_2$ as $\alpha \to \infty$. Likewise, $U U^\top$
fitted to commuting measurements $\operatorname{tr}(A_k U U^\top) = y_k$ from $U_0 = \alpha I$, $\alpha \to 0$, has
eigenvalues $m \ge 0$ with $A m = y$ and

$$
\sum_i m_i = \min_{m' \ge 0,\; A m' = y}\; \sum_i m'_i
$$

in the common eigenvectors of the measurements: least trace.

Regime. Gradient flow to infinite time, at least as many features as samples, independent rows of $X$. The gap to the least
norm closes like a power of $\alpha$ that depends on $X$. For measurements that do not commute the least trace is a conjecture.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $X$, $y$ | `x`, `y` | `sample feature`, `sample` | data |
| $\alpha$ | `init_scale` | any | $u$ and $v$ at the start |
| $\beta$ | `beta` | `feature` | weights of the linear map |
| $\nu$ | | `sample` | dual variable |
| $A$ | `eigenvalues` | `measurement mode` | eigenvalues of each measurement, in the common eigenvectors |

Factors. The start of $\beta$ is 0. The end does not depend on a factor of the loss. From $u_0 = v_0 = \alpha/\sqrt{2}$ the
formulas hold with $\alpha^2/2$ for $\alpha^2$.

Source. B. Woodworth et al., arXiv 2002.09277 (diagonal networks); S. Gunasekar et al., arXiv 1705.09280 (commuting
measurements): recalled, not re-read. Derived here: $u = \alpha e^{g}$, $v = \alpha e^{-g}$ with $2 g$ in the row space of $X$.

Finite size. None: `hyperentropy_interpolator` is exact to rounding times $1 + \ln(|\beta|/\alpha^2)$. The two linear programmes
are solved to a relative gap of some $10^{-12}$ in float64 and $10^{-5}$ in float32, or to its root where no $m > 0$ fits; where
several weights are optimal, the result is a point between them.

Example. Small starts find sparse weights:

>>> from closedform.theory.linear_networks import implicit_bias
>>> for scale in (0.01, 0.1, 10.0):
...     beta = implicit_bias.hyperentropy_interpolator([[1.0, 2.0, 0.5]], [1.0], scale)
...     print([round(float(b), 4) for b in beta])
[0.007, 0.4963, 0.0008]
[0.0665, 0.4612, 0.0222]
[0.1905, 0.381, 0.0952]
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from ..numerics.arguments import FINITE, ArrayLike, above, known, takes
from ..numerics.norms import nonzero, power_of_two


@takes(beta=FINITE, init_scale=above(0, finite=True))
def hyperentropy(beta: Real[ArrayLike, "*shape feature"], init_scale: Real[ArrayLike, ""]) -> Float[Array, "*shape"]:
    """The sum of q over the features, which the flow minimises among the interpolators.

    >>> float(hyperentropy([0.0, 0.0], 1.0))  # -2 alpha^2 a feature
    -4.0
    """
    twice = 2 * init_scale**2
    return jnp.sum(beta * jnp.arcsinh(beta / twice) - jnp.hypot(twice, beta), axis=-1)


@takes(x=FINITE, y=FINITE, init_scale=above(0, finite=True))
def hyperentropy_interpolator(
    x: Real[ArrayLike, "sample feature"], y: Real[ArrayLike, "sample"], init_scale: Real[ArrayLike, "*scale"]
) -> Float[Array, "*scale feature"]:
    """The weights that gradient flow of a diagonal network finds, at each scale of its start.

    Newton's method on the dual, which is convex: a step changes no exponent by more than 1, so that it ends from any data.
    Raises ValueError for rows of x that depend on one another, so that no weights, or many dual variables, would fit.
    """
    _require_rows(x, "x")
    size_x, size_y = power_of_two(x), power_of_two(y)
    unit = size_y / size_x
    found = _interpolators(x / size_x, y / size_y, init_scale.ravel() ** 2 / unit)
    return unit * found.reshape(*init_scale.shape, x.shape[1])


@jax.jit  # one program, where it is called by itself
def _interpolators(x: Array, y: Array, squares: Float[Array, "scale"]) -> Float[Array, "scale feature"]:
    return jax.vmap(lambda square: _interpolator(x, y, square))(squares)


def _interpolator(x: Float[Array, "sample feature"], y: Float[Array, "sample"], square: Float[Array, ""]) -> Array:
    eps = float(jnp.finfo(y.dtype).eps)

    def weights(nu: Array) -> Array:
        return 2 * square * jnp.sinh(nu @ x)

    def solve(_, start: Array) -> Array:
        def newton(state: tuple) -> tuple:
            nu, _, steps = state
            beta = weights(nu)
            step = jnp.linalg.solve((x * jnp.hypot(2 * square, beta)[None, :]) @ x.T, y - x @ beta)
            change = jnp.max(jnp.abs(step @ x), initial=0)
            after = nu + step / jnp.maximum(change, 1)
            good = jnp.all(jnp.isfinite(after))
            return jnp.where(good, after, nu), jnp.where(good, change, 0), steps + 1

        def moves(state: tuple) -> Array:
            nu, change, steps = state
            # exponents reach the logarithm of the largest number; a hundred steps more for the end
            return (change > 2 * eps * (1 + jnp.max(jnp.abs(nu @ x), initial=0))) & (steps < 900)

        return jax.lax.while_loop(moves, newton, (start, jnp.asarray(jnp.inf, y.dtype), 0))[0]

    def tangent_solve(linear_fn, value: Array) -> Array:
        return jnp.linalg.solve(jax.jacfwd(linear_fn)(value), value)

    return weights(jax.lax.custom_root(lambda nu: x @ weights(nu) - y, jnp.zeros_like(y), solve, tangent_solve))


@takes(x=FINITE, y=FINITE)
def min_l2(x: Real[ArrayLike, "sample feature"], y: Real[ArrayLike, "sample"]) -> Float[Array, "feature"]:
    """The interpolator of least Euclidean norm: the limit of large starts, and of a plain linear model.

    Raises ValueError for dependent rows of x.

    >>> [round(float(b), 6) for b in min_l2([[1.0, 2.0, 0.5]], [1.0])]
    [0.190476, 0.380952, 0.095238]
    """
    _require_rows(x, "x")
    q, r = jnp.linalg.qr(x.T)
    return q @ jax.scipy.linalg.solve_triangular(r, y, trans=1)


@takes(x=FINITE, y=FINITE)
def min_l1(x: Real[ArrayLike, "sample feature"], y: Real[ArrayLike, "sample"]) -> Float[Array, "feature"]:
    """The interpolator of least sum of moduli: the limit of small starts. It has no derivatives in reverse mode.

    Raises ValueError for dependent rows of x.

    >>> [round(float(b), 6) + 0.0 for b in min_l1([[1.0, 2.0, 0.5]], [1.0])]
    [0.0, 0.5, 0.0]
    """
    _require_rows(x, "x")
    parts = _least_sum(jnp.concatenate([x, -x], axis=1), y)
    return parts[: x.shape[1]] - parts[x.shape[1] :]


@takes(eigenvalues=FINITE, y=FINITE)
def min_trace(eigenvalues: Real[ArrayLike, "measurement mode"], y: Real[ArrayLike, "measurement"]) -> Float[Array, "mode"]:
    """The eigenvalues of the positive semi-definite matrix of least trace with these commuting measurements.

    The measurements must be those of some such matrix; of others the result is of no value. It has no derivatives in reverse
    mode. Raises ValueError for dependent rows of eigenvalues.
    """
    _require_rows(eigenvalues, "eigenvalues")
    return _least_sum(eigenvalues, y)


@jax.jit
def _least_sum(A: Float[Array, "row column"], y: Float[Array, "row"]) -> Float[Array, "column"]:
    """The m >= 0 with A m = y of least sum, by Mehrotra's predictor and corrector; the dual starts inside, at 0."""
    size_a, size_y = power_of_two(A), power_of_two(y)
    A, y = A / size_a, y / size_y
    eps = float(jnp.finfo(y.dtype).eps)

    def least(m: Array, change: Array) -> Array:
        """How far m may go and stay positive."""
        return jnp.min(jnp.where(change < 0, -m / jnp.where(change < 0, change, 1), jnp.inf), initial=jnp.inf)

    def improve(state: tuple) -> tuple:
        m, s, _, steps = state
        ratio = m / s
        system = (A * ratio[None, :]) @ A.T
        unit = 1 / jnp.sqrt(nonzero(jnp.diag(system)))

        def direction(target: Array) -> tuple[Array, Array]:
            """The Newton step towards A m = y and m s = target."""
            rest = target / s - m
            dual = unit * jnp.linalg.solve(system * unit[:, None] * unit[None, :], unit * (y - A @ (m + rest)))
            slack = -(dual @ A)
            return rest - ratio * slack, slack

        gap = m @ s
        dm, ds = direction(jnp.zeros_like(m))
        ahead = (m + jnp.minimum(least(m, dm), 1) * dm) @ (s + jnp.minimum(least(s, ds), 1) * ds)
        dm, ds = direction((ahead / gap) ** 3 * gap / m.size - dm * ds)
        after_m = m + jnp.minimum(0.995 * least(m, dm), 1) * dm
        after_s = s + jnp.minimum(0.995 * least(s, ds), 1) * ds
        good = jnp.all(jnp.isfinite(after_m) & (after_m > 0) & jnp.isfinite(after_s) & (after_s > 0))
        return jnp.where(good, after_m, m), jnp.where(good, after_s, s), good, steps + 1

    def unfinished(state: tuple) -> Array:
        m, s, good, steps = state
        return good & (m @ s > eps * jnp.sum(m)) & (steps < 100)

    q, r = jnp.linalg.qr(A.T)
    shortest = q @ jax.scipy.linalg.solve_triangular(r, y, trans=1)
    start = jnp.abs(shortest) + jnp.maximum(jnp.max(jnp.abs(shortest), initial=0), eps)
    ones = jnp.ones_like(start)
    return jax.lax.while_loop(unfinished, improve, (start, ones, jnp.asarray(True), 0))[0] * (size_y / size_a)


def _require_rows(x: Float[Array, "row column"], name: str) -> None:
    if known(x):
        rank = np.linalg.matrix_rank(np.asarray(x), tol=None) if x.size else 0
        if rank < len(x):
            raise ValueError(f"{name} must have independent rows, got {len(x)} of rank {rank}")
