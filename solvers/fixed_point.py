r"""Fixed points z = f(z): damped Picard, Anderson, Broyden, Newton, and the equation z' = f(z) - z run to rest.

With $g(z) = f(z) - z$, a step is

$$
z^+ = z + h\, g(z) \;\; \text{(Picard)}, \qquad z^+ = z - H g(z) \;\; \text{(Broyden, Newton)}
$$

where $H$ is the inverse of an estimate of $\partial g / \partial z$, or of the Jacobian itself. Anderson's step is
$z + \beta g - \sum_i \gamma_i (\Delta z_i + \beta \Delta g_i)$, where $\gamma$ minimises $|g - \sum_i \gamma_i \Delta g_i|$ over
the last `memory` differences.

Every solver takes `f(z, args)`, a start and the args (any tree of arrays), and returns a `Solution`: a solver that did not
arrive says so and says how far it is. Under vmap each example stops on its own and has its own counts; a state with a batch axis
of its own is one state, which stops when all of it has arrived. Derivatives are with respect to `args` by the `adjoint` (see
`equilibrium_gradients`), never through the iterations unless asked for.

Loops, Newton and derivatives are optimistix's, the flow is diffrax's, and they are told the residual at every state, so that
`converged` is exactly `residual <= atol`.

Source: D. G. Anderson 1965 and C. G. Broyden 1965, in the forms of `scipy.optimize.anderson` and `broyden1`, which tests compare
step by step; A. Pal, A. Edelman and C. Rackauckas, arXiv 2201.12240 (the flow).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import diffrax
import jax
import jax.numpy as jnp
import optimistix as optx
from jax.tree_util import Partial
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

from ..documented import documented
from ..theory.numerics.arguments import above, at_least, require
from .equilibrium_gradients import implicit

State: TypeAlias = Float[Array, "..."]
Map: TypeAlias = Callable[[State, Any], State]  # f(z, args)
Number: TypeAlias = Real[ArrayLike, ""]


@documented
class Solution(NamedTuple):
    state: Float[Array, "..."]  # z
    residual: Float[Array, ""]  # largest entry of |f(z) - z| there
    num_steps: Int[Array, ""]
    num_evaluations: Int[Array, ""]  # of f; a derivative of it along one direction counts as one
    converged: Bool[Array, ""]  # residual <= atol


def picard(
    f: Map,
    start: State,
    args: Any = None,
    *,
    atol: Number = 1e-6,
    max_steps: int = 256,
    step: Number = 1.0,
    adjoint: optx.AbstractAdjoint | None = None,
) -> Solution:
    """z + step (f(z) - z), repeated: Picard's iteration with step 1, Euler's scheme for the flow with any."""
    require(above(0), step=step)
    return _iterate(Partial(_damped, step=_number(step, start)), None, f, start, args, atol, max_steps, adjoint)


def anderson(
    f: Map,
    start: State,
    args: Any = None,
    *,
    atol: Number = 1e-6,
    max_steps: int = 256,
    memory: int = 5,
    mixing: Number = 1.0,
    ridge: Number = 1e-8,
    adjoint: optx.AbstractAdjoint | None = None,
) -> Solution:
    """Anderson's acceleration over the last `memory` differences; `ridge` is relative to each one's square."""
    require(at_least(1), memory=memory)
    require(above(0), mixing=mixing)
    require(at_least(0), ridge=ridge)
    settings = {"mixing": _number(mixing, start), "ridge": _number(ridge, start)}
    return _iterate(Partial(_anderson, **settings), _begin(start, memory), f, start, args, atol, max_steps, adjoint)


def broyden(
    f: Map,
    start: State,
    args: Any = None,
    *,
    atol: Number = 1e-6,
    max_steps: int = 256,
    memory: int = 20,
    adjoint: optx.AbstractAdjoint | None = None,
) -> Solution:
    """Broyden's first method from the estimate -I of the Jacobian of f(z) - z; after `memory` updates it begins anew."""
    require(at_least(1), memory=memory)
    return _iterate(Partial(_broyden), _begin(start, memory), f, start, args, atol, max_steps, adjoint)


def newton(
    f: Map,
    start: State,
    args: Any = None,
    *,
    atol: Number = 1e-6,
    max_steps: int = 32,
    adjoint: optx.AbstractAdjoint | None = None,
) -> Solution:
    """Newton's method with the dense Jacobian, for small states; it also finds fixed points that repel the flow."""
    fixed = optx.Newton(rtol=0.0, atol=_number(atol, start), norm=_largest)
    found = optx.fixed_point(f, fixed, start, args, max_steps=max_steps, adjoint=adjoint or implicit(), throw=False)
    num_steps = found.stats["num_steps"]
    residual = jax.lax.stop_gradient(_largest(f(found.value, args) - found.value))
    return Solution(found.value, residual, num_steps, 1 + (1 + start.size) * num_steps, residual <= _number(atol, start))


def continuous(
    f: Map,
    start: State,
    args: Any = None,
    *,
    atol: Number = 1e-6,
    max_steps: int = 4096,
    adjoint: optx.AbstractAdjoint | None = None,
) -> Solution:
    """z' = f(z) - z by Tsitouras' pair of order 5, until no entry of |f(z) - z| is above `atol`. Rejected steps count.

    A step may err by 0.3 atol. Near a fixed point the steps grow to the limit of stability, where errors of about the tolerance
    are kept alive: with a tolerance above atol the flow never comes to rest.
    """
    require(at_least(0), atol=atol, max_steps=max_steps)
    least = _number(atol, start)
    constant = jax.tree.map(jax.lax.stop_gradient, (start, args))
    flow = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda _, z, args: f(z, args) - z),
        diffrax.Tsit5(),
        jnp.zeros((), start.dtype),
        jnp.full((), jnp.inf, start.dtype),
        _number(_FIRST, start),
        *constant,
        stepsize_controller=diffrax.PIDController(rtol=0.0, atol=_number(0.3, start) * least, norm=_largest),
        event=diffrax.Event(diffrax.steady_state_event(rtol=0.0, atol=least, norm=_largest)),
        max_steps=max_steps,
        adjoint=diffrax.ImplicitAdjoint(),  # of which nothing is used: what is found is constant
        throw=False,
    )
    assert flow.ys is not None
    num_steps = flow.stats["num_steps"]
    # Tsit5 keeps its last evaluation; the event makes one of its own after every step
    evaluations = 4 + 7 * num_steps
    return _arrived(f, flow.ys[0], args, num_steps, evaluations, atol, adjoint)


def iterates(f: Map, start: State, args: Any = None, *, num_steps: int, step: Number = 1.0) -> Float[Array, "iterate ..."]:
    """start and the states after 1, 2, .. num_steps steps of `picard`; derivatives go through all steps."""
    require(at_least(0), num_steps=num_steps)
    require(above(0), step=step)
    h = _number(step, start)

    def advance(z: State, _: None) -> tuple[State, State]:
        new = z + h * (f(z, args) - z)
        return new, new

    return jnp.concatenate([start[None], jax.lax.scan(advance, start, length=num_steps)[1]])


def flow(
    f: Map, start: State, args: Any = None, *, times: Float[Array, "time"], rtol: Number = 1e-6, max_steps: int = 4096
) -> Float[Array, "time ..."]:
    """z(t) of z' = f(z) - z at rising times, from `start` at time 0, to a relative tolerance; NaN if max_steps do not suffice.

    Derivatives go through all steps, in reverse mode.
    """
    require(at_least(0), times=times)
    require(above(0), rtol=rtol)
    tolerance = _number(rtol, start)
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda _, z, args: f(z, args) - z),
        diffrax.Tsit5(),
        jnp.zeros((), start.dtype),
        times[-1],
        _number(_FIRST, start),
        start,
        args,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance * 1e-3),
        max_steps=max_steps,
        throw=False,
    )
    assert found.ys is not None
    return found.ys * jnp.where(found.result == diffrax.RESULTS.successful, 1, jnp.nan).astype(start.dtype)


def picard_of(
    f: Callable[[State, Any], tuple[State, State]],
    start: State,
    args: Any,
    atol: Number,
    max_steps: int,
    adjoint: optx.AbstractAdjoint | None,
) -> Solution:
    """Picard's iteration of a map that returns, beside its value, the vector whose largest entry is the residual."""
    one = jnp.ones((), start.dtype)
    return _iterate(Partial(_damped, step=one), None, f, start, args, atol, max_steps, adjoint, has_aux=True)


# ---------------------------------------------------------------------------------------------------------------- one step each


class _Differences(NamedTuple):
    """What Anderson and Broyden remember; rows not yet filled are 0."""

    first: Float[Array, "memory size"]  # differences of z; of Broyden columns of H + I
    second: Float[Array, "memory size"]  # differences of g; of Broyden rows of H + I
    state: Float[Array, "size"]
    change: Float[Array, "size"]  # g there
    count: Int[Array, ""]  # steps taken


def _begin(start: State, memory: int) -> _Differences:
    none = jnp.zeros((memory, start.size), start.dtype)
    return _Differences(none, none, start.ravel(), start.ravel(), jnp.zeros((), int))


def _damped(memory: None, z: State, change: State, step: Float[Array, ""]) -> tuple[State, None]:
    return z + step * change, memory


def _anderson(
    memory: _Differences, z: State, change: State, mixing: Float[Array, ""], ridge: Float[Array, ""]
) -> tuple[State, _Differences]:
    x, g = z.ravel(), change.ravel()
    row = (memory.count - 1) % memory.first.shape[0]
    first, second = (
        jnp.where(memory.count > 0, rows.at[row].set(now - before), rows)
        for rows, now, before in ((memory.first, x, memory.state), (memory.second, g, memory.change))
    )
    gram = second @ second.T
    square = jnp.diagonal(gram)
    gram = gram + jnp.diag(jnp.where(square > 0, ridge * square, 1))  # 1: a difference that is 0 has no part
    weights = jax.scipy.linalg.solve(gram, second @ g, assume_a="pos")
    new = x + mixing * g - weights @ (first + mixing * second)
    return new.reshape(z.shape), _Differences(first, second, x, g, memory.count + 1)


def _broyden(memory: _Differences, z: State, change: State) -> tuple[State, _Differences]:
    """H = -I + sum of columns times rows, by Sherman and Morrison."""
    x, g = z.ravel(), change.ravel()
    size = memory.first.shape[0]
    row = (memory.count - 1) % size
    # full: begin anew
    old_columns, old_rows = (jnp.where((row == 0)[None, None], 0, part) for part in (memory.first, memory.second))
    moved, changed = x - memory.state, g - memory.change
    applied = _inverse(old_columns, old_rows, changed)
    covector = _inverse(old_rows, old_columns, moved)
    denominator = covector @ changed
    sound = (memory.count > 0) & (denominator != 0)
    column = (moved - applied) / jnp.where(sound, denominator, 1)
    columns = jnp.where(sound, old_columns.at[row].set(column), old_columns)
    rows = jnp.where(sound, old_rows.at[row].set(covector), old_rows)
    new = x - _inverse(columns, rows, g)
    return new.reshape(z.shape), _Differences(columns, rows, x, g, memory.count + 1)


def _inverse(columns: Float[Array, "memory size"], rows: Float[Array, "memory size"], g: Float[Array, "size"]) -> Array:
    return (rows @ g) @ columns - g


# -------------------------------------------------------------------------------------------------------------- what they share


_FIRST = 0.5  # first step of the flow that is tried


class _Progress(NamedTuple):
    change: State  # f(z) - z
    residual: Float[Array, ""]
    memory: Any


class _Iteration(optx.AbstractFixedPointSolver):
    """An update of the state from f(z) - z and a memory, in the shape in which optimistix runs and differentiates it."""

    atol: Any
    update_fn: Any
    memory: Any
    rtol: Any = 0.0
    norm: Any = None

    def init(self, fn: Any, y: Any, args: Any, options: Any, f_struct: Any, aux_struct: Any, tags: Any) -> Any:
        return self._at(fn, y, args, self.memory)[0]

    def step(self, fn: Any, y: Any, args: Any, options: Any, state: Any, tags: Any) -> Any:
        new, memory = self.update_fn(state.memory, y, state.change)
        progress, aux = self._at(fn, new, args, memory)
        return new, progress, aux

    def terminate(self, fn: Any, y: Any, args: Any, options: Any, state: Any, tags: Any) -> Any:
        return state.residual <= self.atol, optx.RESULTS.successful

    def postprocess(self, fn: Any, y: Any, aux: Any, args: Any, options: Any, state: Any, tags: Any, result: Any) -> Any:
        return y, aux, {"residual": state.residual}

    def _at(self, fn: Any, y: Any, args: Any, memory: Any) -> tuple[_Progress, Any]:
        value, aux = fn(y, args)
        change = value - y
        return _Progress(change, _largest(change if aux is None else aux), memory), aux


def _iterate(
    update_fn: Any,
    memory: Any,
    f: Map,
    start: State,
    args: Any,
    atol: Number,
    max_steps: int,
    adjoint: optx.AbstractAdjoint | None,
    has_aux: bool = False,
) -> Solution:
    require(at_least(0), atol=atol, max_steps=max_steps)
    least = _number(atol, start)
    solver = _Iteration(least, update_fn, memory)
    options: Any = {"max_steps": max_steps, "adjoint": adjoint or implicit(), "throw": False, "has_aux": has_aux}
    found = optx.fixed_point(f, solver, start, args, **options)
    residual, num_steps = (jax.lax.stop_gradient(found.stats[name]) for name in ("residual", "num_steps"))
    return Solution(found.value, residual, num_steps, 1 + num_steps, residual <= least)


def _arrived(
    f: Map, state: State, args: Any, num_steps: Array, evaluations: Array, atol: Number, adjoint: optx.AbstractAdjoint | None
) -> Solution:
    """A state found elsewhere, with its residual and with derivatives by the adjoint."""
    if isinstance(adjoint, optx.RecursiveCheckpointAdjoint):
        raise ValueError("adjoint must be one of a fixed point: the steps of the flow are not kept (differentiate `flow`)")
    at = _iterate(
        Partial(_damped, step=jnp.ones((), state.dtype)), None, f, jax.lax.stop_gradient(state), args, atol, 0, adjoint
    )
    return at._replace(num_steps=num_steps, num_evaluations=evaluations)


def _largest(change: State) -> Float[Array, ""]:
    return jnp.max(jnp.abs(change))


def _number(value: Number, like: State) -> Float[Array, ""]:
    return jnp.asarray(value, like.dtype)
