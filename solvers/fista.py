r"""Accelerated proximal gradient with restarts (R-FISTA): the gated program, the ReLU program, the Lasso over neurons.

$$
\begin{align*}
w^+ &= \operatorname{prox}\left(v - \frac{F^\top \ell'(F v)}{L}\right) \\
t^+ &= \frac{1 + \sqrt{1 + 4 t^2}}{2} \\
v^+ &= w^+ + \frac{t - 1}{t^+} (w^+ - w)
\end{align*}
$$

and $t = 1$ first wherever $(v - w^+) \cdot (w^+ - w) > 0$: the momentum points uphill. $L$ is raised, and the step taken again,
wherever $\|F (w^+ - v)\|^2 > L\, \|w^+ - v\|^2$ (the losses here have curvature at most 1), and lowered where that is far from
tight. In the ReLU program the prox projects each block on its cone and then shortens it, which is exact since a cone contains
all multiples of its points.

Source: Mishkin, Sahiner and Pilanci, arXiv 2202.01331, by the code of its package (whose $t$ update differs: see the
specification's remark, $1 + \sqrt{1 + 4 t^2}/2$); the Lasso over sampled neurons is the SCP algorithm of Bai, Gautam and
Sojoudi, arXiv 2201.01965 (its form is recalled).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..documented import documented
from ..models.fully_connected import two_layer
from ..models.fully_connected.convex_relu import to_network
from ..theory.convex.cone_projection import cone_projection
from ..theory.numerics.arguments import FINITE, ArrayLike, above, at_least, takes
from . import losses
from .losses import Loss
from .program import VALID, Bounds, Program, Solution, norms, outputs, run

Weights = Float[Array, "*weights"]
Number = Real[ArrayLike, ""]


@documented
class Composite(NamedTuple):
    """minimise loss(forward(w), y) + weight_decay * penalty(w): what the method has to know of a problem."""

    forward: Callable[[Weights], Float[Array, "sample"]]  # linear
    adjoint: Callable[[Float[Array, "sample"]], Weights]  # its transpose
    prox: Callable[[Weights, Float[Array, ""]], Weights]  # argmin over w of |w - given|^2/2 + threshold * penalty(w)
    penalty: Callable[[Weights], Float[Array, ""]]  # positively homogeneous
    dual_norm: Callable[[Weights], Float[Array, ""]]  # max of w . given over penalty(w) <= 1
    y: Float[Array, "sample"]
    weight_decay: Float[Array, ""]


@documented
class State(NamedTuple):
    weights: Weights
    ahead: Weights  # v, the extrapolated point
    outputs: Float[Array, "sample"]  # of weights
    outputs_ahead: Float[Array, "sample"]
    momentum: Float[Array, ""]  # t
    curvature: Float[Array, ""]  # L
    least: Float[Array, ""]  # L is not lowered below this


def gated(program: Program) -> Composite:
    """Group Lasso over the gates."""
    # x' once, where the compiler cannot see it: on a CPU a product with a transposed left factor takes 1.3 times as long
    transposed = jax.lax.optimization_barrier(program.x.T)
    return Composite(
        forward=lambda w: outputs(w, program),
        adjoint=lambda nu: transposed @ (program.active * nu[:, None]) * program.sign[None],  # `program.pulled`
        prox=shrink,
        penalty=lambda w: jnp.sum(norms(w)),
        dual_norm=lambda pull: jnp.max(norms(pull)),
        y=program.y,
        weight_decay=program.weight_decay,
    )


def relu(program: Program) -> Composite:
    """Group Lasso with every block in the cone of its pattern; every step projects every block."""
    composite = gated(program)
    return composite._replace(
        prox=lambda w, threshold: shrink(projected(w, program), threshold),
        dual_norm=lambda pull: jnp.max(norms(projected(pull, program))),
    )


def projected(weights: Float[Array, "dim block"], program: Program) -> Float[Array, "dim block"]:
    """The nearest weights in their cones."""
    return jax.vmap(cone_projection, (1, None, 1))(weights, program.x, 2 * program.active - 1).point.T


def lasso(features: Float[Array, "sample neuron"], y: Float[Array, "sample"], weight_decay: Float[Array, ""]) -> Composite:
    """l1-penalised regression on given features, such as relu(x u) for unit vectors u."""
    return Composite(
        forward=lambda a: features @ a,
        adjoint=lambda nu: features.T @ nu,
        prox=lambda a, threshold: jnp.sign(a) * jnp.maximum(jnp.abs(a) - threshold, 0),
        penalty=lambda a: jnp.sum(jnp.abs(a)),
        dual_norm=lambda pull: jnp.max(jnp.abs(pull)),
        y=y,
        weight_decay=weight_decay,
    )


def shrink(weights: Float[Array, "dim block"], threshold: Float[Array, ""]) -> Float[Array, "dim block"]:
    """Every block shortened by the threshold, to no less than zero."""
    size = norms(weights)
    return weights * (jnp.maximum(size - threshold, 0) / jnp.where(size > 0, size, 1))[None]


def init(composite: Composite, start: Weights, curvature: ArrayLike | None = None) -> State:
    """The state at `start`. With `curvature`, the largest eigenvalue of F F', all steps have the length 1/curvature."""
    y = composite.y
    tiny = jnp.asarray(jnp.finfo(y.dtype).tiny, y.dtype)
    if curvature is None:
        # the curvature along one direction, hence too small: the first steps raise it
        pull = composite.adjoint(y)
        first, least = jnp.sum(composite.forward(pull) ** 2) / jnp.maximum(jnp.sum(pull**2), tiny), tiny
    else:
        first = least = jnp.asarray(curvature, y.dtype)
    f = composite.forward(start)
    return State(start, start, f, f, jnp.ones((), y.dtype), jnp.maximum(first, tiny), least)


_RAISED, _LOOSE = 1.25, 5.0  # factor on L; how loose its bound may be before L is lowered


def step(state: State, composite: Composite, loss: Loss = losses.squared) -> State:
    """One step, or, if L turns out too small, the same point with a larger L."""
    w, v, f_w, f_v, t, curvature, least = state
    nu = loss.dual_point(f_v, composite.y)
    new = composite.prox(v + composite.adjoint(nu) / curvature, composite.weight_decay / curvature)
    f_new = composite.forward(new)
    moved, seen = jnp.sum((new - v) ** 2), jnp.sum((f_new - f_v) ** 2)
    t = jnp.where(jnp.sum((v - new) * (new - w)) > 0, 1, t)
    t_new = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
    carry = (t - 1) / t_new
    lower = jnp.where(_LOOSE * seen < curvature * moved, jnp.maximum(curvature / _RAISED, least), curvature)
    taken = State(new, new + carry * (new - w), f_new, f_new + carry * (f_new - f_w), t_new, lower, least)
    again = state._replace(curvature=_RAISED * curvature)
    noise = (10 * jnp.finfo(f_v.dtype).eps) ** 2 * jnp.sum(f_v**2 + f_new**2)
    small = seen > (1 + 1e-9) * curvature * moved + noise
    return jax.tree.map(lambda a, b: jnp.where(small, a, b), again, taken)


def measure(state: State, composite: Composite, loss: Loss = losses.squared) -> Bounds:
    """The objective at the weights, and the bound of its residual, scaled to be feasible for the dual."""
    objective = loss.value(state.outputs, composite.y) + composite.weight_decay * composite.penalty(state.weights)
    nu = loss.dual_point(state.outputs, composite.y)
    norm = composite.dual_norm(composite.adjoint(nu))
    return Bounds(objective, loss.bound(nu, norm, composite.y, composite.weight_decay))


@takes(rtol=at_least(0), max_steps=at_least(0), every=at_least(1))
def minimise(
    composite: Composite,
    start: Real[ArrayLike, "*weights"],
    *,
    loss: Loss = losses.squared,
    rtol: Number,
    max_steps: int,
    every: int = 10,
) -> Solution:
    """The optimum of any composite problem, to a verified relative gap; `Solution.weights` has the shape of `start`."""
    loss.check(composite.y, smooth=True)
    state, bounds, steps = run(
        lambda s: step(s, composite, loss),
        lambda s: measure(s, composite, loss),
        init(composite, start),
        rtol=rtol,
        max_steps=max_steps,
        every=every,
    )
    return Solution(state.weights, *bounds, steps)


@takes(program=VALID, rtol=at_least(0), max_steps=at_least(0), start=FINITE)
def solve(
    program: Program,
    *,
    cones: bool,
    loss: Loss = losses.squared,
    rtol: Number = 1e-6,
    max_steps: int = 20_000,
    start: Real[ArrayLike, "dim block"] | None = None,
) -> Solution:
    """The optimum of the gated program (`cones=False`), or of the ReLU program (`cones=True`), to a verified relative gap.

    Compiled once for all programs of one shape, as `path` and `scp` are.
    """
    loss.check(program.y, smooth=True)
    start = jnp.zeros((program.x.shape[1], program.sign.size), program.x.dtype) if start is None else start
    return _solve(program, start, rtol, cones, loss, max_steps)


# inline, here and below: under a jit of the caller's the steps are part of that program
@partial(jax.jit, static_argnames=("cones", "loss", "max_steps"), inline=True)
def _solve(program: Program, start: Array, rtol: Array, cones: bool, loss: Loss, max_steps: int) -> Solution:
    return minimise((relu if cones else gated)(program), start, loss=loss, rtol=rtol, max_steps=max_steps)


@takes(program=VALID, weight_decays=above(0, finite=True), rtol=at_least(0), max_steps=at_least(0))
def path(
    program: Program,
    weight_decays: Real[ArrayLike, "weight_decay"],
    *,
    cones: bool,
    loss: Loss = losses.squared,
    rtol: Number = 1e-6,
    max_steps: int = 20_000,
) -> Solution:
    """The solutions for all weight_decays in one call, each warm-started from the one before; best in falling order."""
    loss.check(program.y, smooth=True)
    return _path(program, weight_decays, rtol, cones, loss, max_steps)


@partial(jax.jit, static_argnames=("cones", "loss", "max_steps"), inline=True)
def _path(program: Program, weight_decays: Array, rtol: Array, cones: bool, loss: Loss, max_steps: int) -> Solution:
    def advance(start: Float[Array, "dim block"], weight_decay: Float[Array, ""]) -> tuple[Float[Array, "dim block"], Solution]:
        at = program._replace(weight_decay=weight_decay)
        solution = solve(at, cones=cones, loss=loss, rtol=rtol, max_steps=max_steps, start=start)
        return solution.weights, solution

    start = jnp.zeros((program.x.shape[1], program.sign.size), program.x.dtype)
    return jax.lax.scan(advance, start, weight_decays)[1]


@takes(directions=FINITE, x=FINITE, y=FINITE, weight_decay=above(0, finite=True), rtol=at_least(0), max_steps=at_least(0))
def scp(
    directions: Real[ArrayLike, "dim neuron"],
    x: Real[ArrayLike, "sample dim"],
    y: Real[ArrayLike, "sample"],
    weight_decay: Number,
    *,
    loss: Loss = losses.squared,
    rtol: Number = 1e-8,
    max_steps: int = 50_000,
) -> tuple[two_layer.Params, Solution]:
    """The best network whose first layer points along given directions: the Lasso over sampled neurons.

    The value is an upper bound of the optimum over all networks that falls as directions are added. Scaling of the
    directions does not matter; one of zero adds nothing. The gap is that of the Lasso, not of the network.
    """
    loss.check(y, smooth=True)
    return _scp(directions, x, y, weight_decay, rtol, loss, max_steps)


@partial(jax.jit, static_argnames=("loss", "max_steps"), inline=True)
def _scp(
    directions: Array, x: Array, y: Array, weight_decay: Array, rtol: Array, loss: Loss, max_steps: int
) -> tuple[two_layer.Params, Solution]:
    size = norms(directions)
    unit = directions / jnp.where(size > 0, size, 1)[None]
    composite = lasso(jax.nn.relu(x @ unit), y, weight_decay)
    solution = minimise(composite, jnp.zeros(unit.shape[1], x.dtype), loss=loss, rtol=rtol, max_steps=max_steps)
    readout = solution.weights
    sign = jnp.where(readout < 0, -1, 1).astype(x.dtype)
    return to_network(unit * jnp.abs(readout)[None], sign), solution
