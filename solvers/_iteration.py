"""What the solvers of fixed points share: their answer, and the loop, which is optimistix's and so are its derivatives."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optimistix as optx
from jax.tree_util import Partial
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

from ..documented import documented
from ..theory.numerics.arguments import at_least, require
from .equilibrium_gradients import implicit

State: TypeAlias = Float[Array, "..."]
Map: TypeAlias = Callable[[State, Any], State]  # f(z, args)
Number: TypeAlias = Real[ArrayLike, ""]
Adjoint: TypeAlias = optx.AbstractAdjoint | None  # None: the implicit gradient by a dense factorisation


@documented
class Solution(NamedTuple):
    state: Float[Array, "..."]  # z
    residual: Float[Array, ""]  # largest entry of |f(z) - z| there
    num_steps: Int[Array, ""]
    num_evaluations: Int[Array, ""]  # of f; a derivative of it along one direction counts as one
    converged: Bool[Array, ""]  # residual <= atol


class _Progress(NamedTuple):
    change: State  # f(z) - z
    residual: Float[Array, ""]
    memory: Any


class _Iteration(optx.AbstractFixedPointSolver):
    """An update of the state by f(z) - z and a memory, in the shape in which optimistix runs and differentiates it.

    optimistix's own FixedPointIteration compares successive states, and returns one whose residual is not known.
    """

    rtol: Any
    atol: Any
    norm: Any
    update_fn: Any  # (memory, z, f(z) - z) -> (z, memory)
    memory: Any  # at the start

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
        return _Progress(change, largest(change if aux is None else aux), memory), aux


def iterate(
    update_fn: Callable[..., Any],
    memory: Any,
    f: Callable[..., Any],
    start: State,
    args: Any,
    atol: Number,
    max_steps: int,
    adjoint: Adjoint,
    has_aux: bool = False,
) -> Solution:
    """Updates until the residual is at most atol.

    With `has_aux` f returns, beside its value, the vector whose largest entry is the residual.
    """
    require(at_least(0), atol=atol, max_steps=max_steps)
    least = number(atol, start)
    solver = _Iteration(rtol=0.0, atol=least, norm=largest, update_fn=update_fn, memory=memory)
    options: Any = {"max_steps": max_steps, "adjoint": adjoint or implicit(), "throw": False, "has_aux": has_aux}
    found = optx.fixed_point(f, solver, start, args, **options)
    residual, num_steps = jax.lax.stop_gradient(found.stats["residual"]), found.stats["num_steps"].astype(int)
    return Solution(found.value, residual, num_steps, 1 + num_steps, residual <= least)


def arrived(
    f: Map, state: State, args: Any, num_steps: Int[Array, ""], num_evaluations: Int[Array, ""], atol: Number, adjoint: Adjoint
) -> Solution:
    """A state that was found elsewhere, with its residual, and with derivatives by the adjoint."""
    if isinstance(adjoint, optx.RecursiveCheckpointAdjoint):
        raise ValueError("adjoint must be one of a fixed point: the steps are not kept (differentiate `fixed_point.flow`)")
    keep = Partial(damped, step=jnp.ones((), state.dtype))
    at = iterate(keep, None, f, jax.lax.stop_gradient(state), args, atol, 0, adjoint)
    return at._replace(num_steps=num_steps, num_evaluations=num_evaluations)


def damped(memory: None, z: State, change: State, step: Float[Array, ""]) -> tuple[State, None]:
    return z + step * change, memory


def largest(change: State) -> Float[Array, ""]:
    return jnp.max(jnp.abs(change))


def number(value: Number, like: State) -> Float[Array, ""]:
    return jnp.asarray(value, like.dtype)
