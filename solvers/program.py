r"""The convex program of a two-layer ReLU network, its solution, and the loop that stops on a verified gap.

With a column $w_b$ of `weights`, a sign $\sigma_b$ and a pattern $D_b$ for each block,

$$
\text{minimise over } w \qquad
\text{loss}\left(\sum_b \sigma_b D_b\, x w_b,\; y\right) + \beta \sum_b \|w_b\|
$$

in two versions:

| program | subject to | blocks |
|---|---|---|
| ReLU | $(2 D_b - 1)\, x w_b \ge 0$ | every pattern with either sign |
| gated | no constraints | every pattern once with sign $+1$ |

The ReLU program has the value of the non-convex problem,

$$
\text{loss} + \frac{\beta}{2} \sum_j \left(\|u_j\|^2 + \alpha_j^2\right)
$$

if it holds all activation patterns; with some of them it is an upper bound; the gated program with the same gates is below it.
Every method here is a pair of pure functions `init`, `step` on a NamedTuple of arrays, with `measure` giving an objective that
some point attains and a lower bound that a dual point proves. Their difference is the verified gap; `solve` stops on it.
All of it may be mapped over the weight decay $\beta$, $y$ or whole programs by `vmap`.

Source: Pilanci and Ergen, arXiv 2002.10553; Bai, Gautam and Sojoudi, arXiv 2201.01965; gated: Mishkin, Sahiner and
Pilanci, arXiv 2202.01331 (abstracts and public code read; duals derived here).

Example. Two gates make four blocks of the ReLU program, each pattern with either sign:

>>> import jax.numpy as jnp
>>> from closedform.solvers import program
>>> gates = jnp.array([[1.0, 1.0], [1.0, -1.0]])
>>> made = program.relu_program(jnp.eye(2), jnp.array([3.0, 4.0]), gates, weight_decay=1.0)
>>> made.active.tolist(), made.sign.tolist()
([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0]], [1.0, 1.0, -1.0, -1.0])
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Real

from ..documented import documented
from ..models.fully_connected import convex_relu, two_layer
from ..theory.numerics.arguments import FINITE, ArrayLike, above, at_least, known, one_of, require, takes

S = TypeVar("S")
Numbers = Real[ArrayLike, "..."]  # of any shape; `checked` states the legal ones


@documented
class Program(NamedTuple):
    """The data of a program; whether its blocks are kept in their cones is an argument of the solver."""

    x: Float[Array, "sample dim"]
    y: Float[Array, "sample"]
    active: Float[Array, "sample block"]  # D_b as zeros and ones
    sign: Float[Array, "block"]  # +1 or -1; 0 switches a block off
    weight_decay: Float[Array, ""]


VALID = Program(FINITE, FINITE, one_of(0, 1), one_of(-1, 0, 1), above(0, finite=True))  # pyright: ignore[reportArgumentType]


@documented
class Bounds(NamedTuple):
    """Bounds on the optimum that an iterate proves: bound <= optimum <= objective."""

    objective: Float[Array, ""]
    bound: Float[Array, ""]


@documented
class Solution(NamedTuple):
    """Weights with their verified bounds; leading axes where several programs were solved at once."""

    weights: Float[Array, "*batch dim block"]
    objective: Float[Array, "*batch"]
    bound: Float[Array, "*batch"]  # no point of the program is below
    steps: Int[Array, "*batch"]

    @property
    def gap(self) -> Float[Array, "*batch"]:
        """objective - bound: at most the distance to the optimum that was asked for, unless the steps ran out."""
        return self.objective - self.bound


@takes("x")
def gated_program(x: Numbers, y: Numbers, gates: Numbers, weight_decay: Numbers) -> Program:
    """The gated program on these gates (dim, pattern). Raises ValueError on bad data, before anything compiles."""
    x, y, weight_decay = checked(x, y, weight_decay)
    gates = _checked_gates(gates, x)
    return Program(x, y, convex_relu.patterns(gates, x), jnp.ones(gates.shape[1], x.dtype), weight_decay)


@takes("x")
def relu_program(x: Numbers, y: Numbers, gates: Numbers, weight_decay: Numbers) -> Program:
    """The ReLU program on the patterns of these gates (dim, pattern), each with either sign: first all +1, then all -1.

    Raises ValueError on bad data, before anything compiles. Duplicate rows and zero rows of x are allowed: a duplicate repeats
    a constraint, a zero row is no constraint.
    """
    x, y, weight_decay = checked(x, y, weight_decay)
    active, sign = convex_relu.both_signs(convex_relu.patterns(_checked_gates(gates, x), x))
    return Program(x, y, active, sign, weight_decay)


@takes("x")
def checked(
    x: Numbers, y: Numbers, weight_decay: Numbers
) -> tuple[Float[Array, "sample dim"], Float[Array, "sample"], Float[Array, ""]]:
    """The data as arrays of one floating dtype. Values are checked where they are known (not under a trace)."""
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"x must have the shape (sample, dim), neither of them 0; got {x.shape}")
    if y.shape != x.shape[:1]:
        raise ValueError(f"y must have the shape (sample,) = {x.shape[:1]}, one number for each row of x; got {y.shape}")
    if weight_decay.shape != ():
        shape = weight_decay.shape
        raise ValueError(f"weight_decay must be one number; got the shape {shape} (map over several by jax.vmap or path)")
    for name, values in (("x", x), ("y", y)):
        if known(values) and not np.isfinite(values).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise ValueError(f"{name} must be finite; {name}{list(where)} is {values[where]}")
    if known(weight_decay) and not 0 < weight_decay < float("inf"):
        raise ValueError(f"weight_decay must be positive and finite, got {weight_decay}")
    return x, y, weight_decay


def _checked_gates(gates: Array, x: Array) -> Array:
    if gates.ndim != 2 or gates.shape[0] != x.shape[1] or not gates.shape[1]:
        raise ValueError(f"gates must have the shape (dim, pattern) with dim = {x.shape[1]}; got {gates.shape}")
    if known(gates) and not np.isfinite(gates).all():
        raise ValueError("gates must be finite")
    return gates


def outputs(weights: Float[Array, "dim block"], program: Program) -> Float[Array, "sample"]:
    """f on the examples, each block by its own pattern (paper: F u)."""
    return convex_relu.outputs(weights, program.sign, program.active, program.x)


def pulled(nu: Float[Array, "sample"], program: Program) -> Float[Array, "dim block"]:
    """The adjoint of `outputs` (paper: F' nu): sign_b x' D_b nu."""
    return program.x.T @ (program.active * nu[:, None]) * program.sign[None]


def kernel(program: Program) -> Float[Array, "sample sample"]:
    """F F' = (x x') * (D D'), entry by entry: sample x sample however many blocks there are."""
    return (program.x @ program.x.T) * ((program.active * jnp.abs(program.sign)[None]) @ program.active.T)


def norms(weights: Float[Array, "dim block"]) -> Float[Array, "block"]:
    """The length of every block."""
    return jnp.linalg.norm(weights, axis=0)


def network(solution: Solution, program: Program) -> two_layer.Params:
    """The ReLU network of a solution of the ReLU program."""
    return convex_relu.to_network(solution.weights, program.sign)


# --- the loop --------------------------------------------------------------------------------------------------------------


class _Progress(NamedTuple):
    state: Any
    best: Any  # the state whose objective is nearest to the bound
    bounds: Bounds  # its objective, and the largest bound so far
    steps: Int[Array, ""]
    idle: Int[Array, ""]  # measurements since the gap last shrank


@takes(max_steps=at_least(0), every=at_least(1), patience=at_least(1))
def run(
    step: Callable[[S], S],
    measure: Callable[[S], Bounds],
    state: S,
    *,
    rtol: ArrayLike,
    max_steps: int,
    every: int = 1,
    patience: int = 1000,
    shrinks: float = 1.0,
) -> tuple[S, Bounds, Int[Array, ""]]:
    """Step until the verified gap, measured every `every` steps, is at most rtol |objective|.

    Returns the state whose objective came nearest to the bound, that objective, the best bound and the steps taken. An infinite
    objective says that the state holds no point of the program yet; the first state must hold one. Ends as well at `max_steps`,
    after `patience` measurements at which the gap did not shrink below `shrinks` times what it was, and when the objective is
    no number any more; with rtol = 0, where the gap is 0 or no longer shrinks.
    """
    require(at_least(0), rtol=rtol)

    def unfinished(at: _Progress) -> Bool[Array, ""]:
        objective, bound = at.bounds
        return ~(jnp.abs(objective - bound) <= rtol * jnp.abs(objective)) & (at.steps < max_steps) & (at.idle < patience)

    def advance(at: _Progress) -> _Progress:
        state = jax.lax.fori_loop(0, every, lambda _, s: step(s), at.state)
        seen = measure(state)
        bound = jnp.where(seen.bound > at.bounds.bound, seen.bound, at.bounds.bound)
        closer = jnp.abs(seen.objective - bound) < jnp.abs(at.bounds.objective - bound)
        best = jax.tree.map(lambda new, old: jnp.where(closer, new, old), state, at.best)
        bounds = Bounds(jnp.where(closer, seen.objective, at.bounds.objective), bound)
        shrank = jnp.abs(bounds.objective - bound) < shrinks * jnp.abs(at.bounds.objective - at.bounds.bound)
        idle = jnp.where(shrank | jnp.isinf(seen.objective), 0, at.idle + 1)
        idle = jnp.where(jnp.isnan(seen.objective), patience, idle)
        return _Progress(state, best, bounds, at.steps + every, idle)

    first = _Progress(state, state, measure(state), jnp.int32(0), jnp.int32(0))
    end = jax.lax.while_loop(unfinished, advance, first)
    return end.best, end.bounds, end.steps


@takes(num_steps=at_least(0), every=at_least(1))
def history(step: Callable[[S], S], measure: Callable[[S], Any], state: S, num_steps: int, every: int = 1) -> Any:
    """`measure` after every, 2 every, ..., num_steps steps, stacked on a leading axis."""

    def advance(state: S, _: None) -> tuple[S, Any]:
        state = jax.lax.fori_loop(0, every, lambda _, s: step(s), state)
        return state, measure(state)

    return jax.lax.scan(advance, state, length=num_steps // every)[1]
