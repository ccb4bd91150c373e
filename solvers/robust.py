r"""Training against the worst case: the ReLU program with every input free to move in an l_inf box, for three losses.

With the slopes $g_k$ of the output in the inputs, a column $w_b$ of `weights`, a sign $\sigma_b$ and a pattern $D_b$ for each
block, and the weight decay $\beta$,

$$
\begin{align*}
\text{minimise} \quad & \text{loss of the worst margins } \left(y_k f_k - \sum_i r_i |g_{ki}|\right) + \beta \sum_b \|w_b\| \\
\text{where} \quad & g_k = \sum_b \sigma_b D_{kb} w_b, \qquad f_k = x_k \cdot g_k \\
\text{subject to} \quad & (2 D_{kb} - 1)\, x_k \cdot w_b \ge \sum_i r_i |w_{ib}| \quad \text{for all } k, b
\end{align*}
$$

with $r$ the radius of the box along each input (0: this input is not attacked). The constraint keeps every activation in the
box, where the network is then linear: so the objective is the worst case of the network exactly. It is a restriction: its
value is an upper bound of the robust optimum over all networks, and can be poor. Without the box ($r = 0$) it is the ReLU
program, with the hinge as one of the losses.

The solver is the method of multipliers on copies $u$ of the weights: $v$ for the norms, $(s, c)$ for the constraints of a
block, $g$ for the examples. The linear step is solved by two eigenvalue decompositions, of $x^\top x$ and of
$\sigma D^\top D \sigma$, once: its matrix is a Kronecker sum. The others are one-dimensional monotone equations, for all blocks
or examples at once.

Source: Bai, Gautam and Sojoudi, arXiv 2201.01965 (the hinge program as recalled, its checks and the other losses derived
here; the algorithm and its lower bound are ours).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy
from jaxtyping import Array, Float, Int, Real

from ..documented import documented
from ..theory.numerics.arguments import ArrayLike, above, at_least, known, takes
from .fista import shrink
from .losses import check_labels
from .program import VALID, Bounds, Program, Solution, norms, outputs, run


@documented
class RobustLoss(NamedTuple):
    """A loss as this program needs it; `share` is the multiplier of an example's box, `pull` the multiplier of its output.

    An example whose output moves by at most `reach` (by the box, and by what a block leaves its cone) loses at worst
    `value(outputs, reach, y)`. Its subgradient in g is pull * x + share * r * zeta, |zeta| <= 1; `dual(share, pull, y)` is
    minus the conjugate there.
    """

    value: Callable[[Array, Array, Array], Float[Array, ""]]
    dual: Callable[[Array, Array, Array], Float[Array, ""]]
    multipliers: Callable[[Callable[[Array, Array], tuple[Array, Array]], Array], tuple[Array, Array]]
    labels: bool


def _bisect(increasing: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """The root in [low, high] of increasing functions, one each; the nearer end where there is none."""

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        above = increasing(middle) > 0
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    low, high = jax.lax.fori_loop(0, 50, halve, (low, high))
    return (low + high) / 2


def _by_margin(slope: Callable[[Array, int], Array], most: Callable[[int], float]) -> Callable:
    """`multipliers` of a loss that falls with the margin at the rate `slope`: share = slope(margin), pull = -y share."""

    def multipliers(respond: Callable[[Array, Array], tuple[Array, Array]], y: Array) -> tuple[Array, Array]:
        def excess(share: Array) -> Array:
            f, reach = respond(share, -y * share)
            return share - slope(y * f - reach, y.size)

        share = _bisect(excess, jnp.zeros_like(y), jnp.full_like(y, most(y.size)))
        return share, -y * share

    return multipliers


def _squared_multipliers(respond: Callable[[Array, Array], tuple[Array, Array]], y: Array) -> tuple[Array, Array]:
    """share = |f - y| + reach; pull = +-share with the sign of f - y, or in between where f = y."""

    def pull_at(share: Array) -> Array:
        return _bisect(lambda pull: y - respond(share, pull)[0], -share, share)

    def excess(share: Array) -> Array:
        f, reach = respond(share, pull_at(share))
        return share - jnp.abs(f - y) - reach

    f, reach = respond(jnp.zeros_like(y), jnp.zeros_like(y))
    share = _bisect(excess, jnp.zeros_like(y), jnp.abs(f - y) + reach)
    return share, pull_at(share)


hinge = RobustLoss(  # mean (1 - worst margin)_+
    value=lambda f, reach, y: jnp.mean(jax.nn.relu(1 - (y * f - reach))),
    dual=lambda share, pull, y: jnp.sum(share),
    multipliers=_by_margin(lambda margin, n: jnp.where(margin < 1, 1 / n, 0.0), lambda n: 1 / n),
    labels=True,
)
logistic = RobustLoss(  # sum log(1 + exp(-2 worst margin))
    value=lambda f, reach, y: jnp.sum(jax.nn.softplus(-2 * (y * f - reach))),
    dual=lambda share, pull, y: -jnp.sum(xlogy(share / 2, share / 2) + xlogy(1 - share / 2, 1 - share / 2)),
    multipliers=_by_margin(lambda margin, n: 2 * jax.nn.sigmoid(-2 * margin), lambda n: 2.0),
    labels=True,
)
squared = RobustLoss(  # 1/2 sum (|y - f| + reach)^2
    value=lambda f, reach, y: jnp.sum((jnp.abs(y - f) + reach) ** 2) / 2,
    dual=lambda share, pull, y: -jnp.sum(share**2) / 2 - pull @ y,
    multipliers=_squared_multipliers,
    labels=False,
)


@documented
class State(NamedTuple):
    """Copies and scaled multipliers; the copies agree at the end."""

    weights: Float[Array, "dim block"]  # v
    confined: Float[Array, "dim block"]  # c
    slack: Float[Array, "sample block"]  # s
    slopes: Float[Array, "sample dim"]  # g
    dual_weights: Float[Array, "dim block"]
    dual_confined: Float[Array, "dim block"]
    dual_slack: Float[Array, "sample block"]
    dual_slopes: Float[Array, "sample dim"]
    share: Float[Array, "sample"]
    pull: Float[Array, "sample"]
    rho: Float[Array, ""]  # the penalty, which follows the residuals
    num_steps: Int[Array, ""]


@documented
class Factors(NamedTuple):
    """The factorisation of a program with a box. The penalty is not in it, so a change of penalty costs nothing."""

    program: Program
    radius: Float[Array, "dim"]
    input_basis: Float[Array, "dim dim"]  # eigenvectors of x'x
    block_basis: Float[Array, "block block"]  # of sign D'D sign
    stiffness: Float[Array, "dim block"]  # eigenvalues of the linear step


@takes(program=VALID)
def prepare(program: Program, radius: Real[ArrayLike, "..."]) -> Factors:
    """Factorise once. Raises ValueError if the box lets some example change sign in every direction."""
    x = program.x
    radius = _checked_radius(radius, x)
    of_inputs, input_basis = jnp.linalg.eigh(x.T @ x)
    signed = program.active * program.sign[None]
    of_blocks, block_basis = jnp.linalg.eigh(signed.T @ signed)
    stiffness = 2 + of_inputs[:, None] + of_blocks[None]
    return Factors(program, radius, input_basis, block_basis, stiffness)


def _checked_radius(radius: ArrayLike, x: Array) -> Array:
    radius = jnp.asarray(radius, x.dtype)
    if radius.shape not in ((), x.shape[1:]):
        raise ValueError(f"radius must be one number or one for each of the {x.shape[1]} inputs; got the shape {radius.shape}")
    radius = jnp.broadcast_to(radius, x.shape[1:])
    if known(radius, x):
        if not (np.isfinite(radius).all() and (np.asarray(radius) >= 0).all()):
            raise ValueError(f"radius must be finite and at least 0; got {np.asarray(radius)}")
        margin = np.max(np.abs(np.asarray(x)) - np.asarray(radius)[None], axis=1)
        if np.asarray(radius).any() and margin.min() < 0:
            k = int(np.argmin(margin))
            largest = float(np.abs(np.asarray(x)).max(axis=1).min())
            raise ValueError(
                f"radius is too large: row {k} of x lies inside the box, so that only zero weights are robust; the "
                f"smallest row has the largest entry {largest:.6g}, radius must not exceed that"
            )
    return radius


def init(program: Program, rho: ArrayLike = 0.3) -> State:
    """All zero, with a first penalty."""
    (num_samples, dim), blocks = program.x.shape, program.sign.size
    dtype = program.x.dtype
    w, a, g = jnp.zeros((dim, blocks), dtype), jnp.zeros((num_samples, blocks), dtype), jnp.zeros((num_samples, dim), dtype)
    nothing = jnp.zeros(num_samples, dtype)
    return State(w, w, a, g, w, w, a, g, nothing, nothing, jnp.asarray(rho, dtype), jnp.int32(0))


def step(state: State, factors: Factors, loss: RobustLoss = hinge) -> State:
    """One iteration: the linear step, the three proxes, the multipliers, and now and then the penalty."""
    program, radius, input_basis, block_basis, stiffness = factors
    rho = state.rho
    x, y, active, sign, weight_decay = program
    side = 2 * active - 1
    right = (
        (state.weights - state.dual_weights)
        + (state.confined - state.dual_confined)
        + x.T @ (side * (state.slack - state.dual_slack))
        + (state.slopes - state.dual_slopes).T @ (active * sign[None])
    )
    u = input_basis @ ((input_basis.T @ right @ block_basis) / stiffness) @ block_basis.T
    # over-relaxed: a mixture of the linear step and the copies before it
    u_w, u_c = (_relaxed(u, old) for old in (state.weights, state.confined))
    heights = _relaxed(side * (x @ u), state.slack)
    g_linear = _relaxed(slopes(u, program), state.slopes)
    v = shrink(u_w + state.dual_weights, weight_decay / rho)
    s, c = _confine(heights + state.dual_slack, u_c + state.dual_confined, radius)
    free = g_linear + state.dual_slopes

    def moved(share: Array, pull: Array) -> Array:
        """The slopes that the multipliers of each example leave, a column of x and a shrinkage of the box."""
        return _soften(free - (pull / rho)[:, None] * x, (share / rho)[:, None] * radius[None])

    def respond(share: Array, pull: Array) -> tuple[Array, Array]:
        g = moved(share, pull)
        return jnp.sum(x * g, axis=1), jnp.abs(g) @ radius

    share, pull = loss.multipliers(respond, y)
    g = moved(share, pull)
    new = State(
        v,
        c,
        s,
        g,
        state.dual_weights + u_w - v,
        state.dual_confined + u_c - c,
        state.dual_slack + heights - s,
        free - g,
        share,
        pull,
        rho,
        state.num_steps + 1,
    )
    return _balanced(new, state)


_EVERY, _UNTIL = 50, 2000  # steps between two looks at the balance, and the last of them: a fixed penalty converges
_RELAXATION = 1.6  # of the linear step, over 1
_COPIES = ("weights", "confined", "slack", "slopes")
_DUALS = tuple(f"dual_{name}" for name in _COPIES)


def _balanced(new: State, old: State) -> State:
    """Change the penalty where the multipliers still move by much more, or much less, than the copies."""

    def moved(names: tuple[str, ...]) -> Array:
        return jnp.sqrt(sum(jnp.sum((getattr(new, name) - getattr(old, name)) ** 2) for name in names))

    primal, dual = moved(_DUALS), jnp.sqrt(new.rho) * moved(_COPIES)  # between the two usual units
    due = (new.num_steps % _EVERY == 0) & (new.num_steps <= _UNTIL)
    factor = jnp.where(due & (primal > 4 * dual), 1.5, jnp.where(due & (dual > 4 * primal), 1 / 1.5, 1.0))
    return new._replace(rho=new.rho * factor, **{name: getattr(new, name) / factor for name in _DUALS})


def slopes(weights: Float[Array, "dim block"], program: Program) -> Float[Array, "sample dim"]:
    """g_k = sum_b sign_b D_kb weights_b: the gradient of f in the input, near every example."""
    return (program.active * program.sign[None]) @ weights.T


def _relaxed(new: Array, old: Array) -> Array:
    return _RELAXATION * new + (1 - _RELAXATION) * old


def _soften(values: Array, threshold: Array) -> Array:
    return jnp.sign(values) * jnp.maximum(jnp.abs(values) - threshold, 0)


def _confine(heights: Array, weights: Array, radius: Array) -> tuple[Array, Array]:
    """The nearest (s, c) with s_k >= sum_i r_i |c_i| for all k, for every block.

    With multiplier theta, c = soften(weights, theta r) and s = max(heights, r . |c|): theta = sum of what s gained. As a
    function of theta the difference is convex, falling and piecewise linear: Newton's steps from 0 rise to its root.
    """

    def level(theta: Array) -> tuple[Array, Array]:
        c = _soften(weights, radius[:, None] * theta[None])
        return radius @ jnp.abs(c), radius**2 @ (c != 0).astype(c.dtype)

    def newton(theta: Array) -> Array:
        reach, falling = level(theta)
        short = jnp.maximum(reach[None] - heights, 0)
        slope = -falling * jnp.sum((short > 0).astype(short.dtype), axis=0) - 1
        return jnp.maximum(theta - (jnp.sum(short, axis=0) - theta) / slope, theta)

    def unfinished(carry: tuple[Array, Array, Array]) -> Array:
        theta, before, count = carry
        return jnp.any(theta > before) & (count < 100)

    def advance(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        theta, _, count = carry
        return newton(theta), theta, count + 1

    start = jnp.zeros_like(weights[0])
    theta, _, _ = jax.lax.while_loop(unfinished, advance, (newton(start), start, jnp.int32(0)))
    c = _soften(weights, radius[:, None] * theta[None])
    return jnp.maximum(heights, (radius @ jnp.abs(c))[None]), c


def measure(state: State, factors: Factors, loss: RobustLoss = hinge) -> Bounds:
    """An upper bound of the network's worst case, and the bound that the multipliers prove of the program.

    Where a block leaves its cone by some amount, the ReLU network departs from the linear one by no more than that amount. It
    is added to the reach of the box, so that the upper bound holds for the network. Further out than _OUTSIDE the upper bound
    is infinite.
    """
    program, radius, _, _, _ = factors
    x, y, active, sign, weight_decay = program
    v, side = state.weights, 2 * active - 1
    outside = jax.nn.relu((radius @ jnp.abs(v))[None] - side * (x @ v)) @ jnp.abs(sign)
    reach = jnp.abs(slopes(v, program)) @ radius + outside
    objective = loss.value(outputs(v, program), reach, y) + weight_decay * jnp.sum(jnp.abs(sign) * norms(v))
    pull = state.dual_slopes.T @ (active * sign[None]) + x.T @ (side * state.dual_slack) + state.dual_confined
    scale = jnp.minimum(1, weight_decay / (state.rho * jnp.max(jnp.abs(sign) * norms(pull))))
    return Bounds(
        jnp.where(jnp.max(outside) <= _OUTSIDE, objective, jnp.inf), loss.dual(scale * state.share, scale * state.pull, y)
    )


_OUTSIDE = 1e-4  # in units of the output: weights further out are not feasible, and their network may beat all feasible ones


@takes(program=VALID, rho=above(0, finite=True), rtol=at_least(0), max_steps=at_least(0))
def solve(
    program: Program,
    radius: Real[ArrayLike, "..."],
    *,
    loss: RobustLoss = hinge,
    rho: Real[ArrayLike, ""] = 0.3,
    rtol: Real[ArrayLike, ""] = 1e-5,
    max_steps: int = 20_000,
) -> Solution:
    """The robust program, to a verified relative gap. `radius` is one number or one for each input.

    Raises ValueError if the radius exceeds the largest entry of some row of x (only zero would be feasible). The steps are
    compiled once for all programs of one shape.
    """
    if loss.labels:
        check_labels(program.y)
    return _solve(prepare(program, radius), rho, rtol, loss, max_steps)


# inline: under a jit of the caller's the steps are part of that program
@partial(jax.jit, static_argnames=("loss", "max_steps"), inline=True)
def _solve(factors: Factors, rho: Array, rtol: Array, loss: RobustLoss, max_steps: int) -> Solution:
    state, bounds, steps = run(
        lambda s: step(s, factors, loss),
        lambda s: measure(s, factors, loss),
        init(factors.program, rho),
        rtol=rtol,
        max_steps=max_steps,
        every=20,
    )
    return Solution(state.weights, *bounds, steps)
