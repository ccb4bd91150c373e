r"""Gradients through a fixed point: the implicit one, and cheaper approximations of it.

With $J = \partial f / \partial z$ at $z_* = f(z_*, \theta)$ and the gradient $g$ of a loss with respect to $z_*$,

$$
\frac{dL}{d\theta} = \lambda^\top \frac{\partial f}{\partial \theta}, \qquad (I - J)^\top \lambda = g
$$

`implicit` solves this equation, densely or by GMRES, and `iterated` by a solver of `fixed_point`. Where the equation is not
solved (1 is an eigenvalue of $J$, an entry is not finite, the steps do not suffice) the gradient of that example is NaN;
nothing is raised, and the other examples of a batch under vmap keep their gradients. `phantom` repeats
$\lambda \leftarrow \tau g + ((1 - \tau) I + \tau J^\top) \lambda$ from 0, `num_steps` times: with $\tau = 1$ this is the
Neumann series $\sum_{k \le m} (J^\top)^k g$ (`neumann`), whose first term is $\lambda = g$ (`one_step`).

Each is an adjoint of optimistix, and so serves every solver of `fixed_point` and `operator_splitting`, and those of optimistix.
The gradient through the iterations themselves is `optimistix.RecursiveCheckpointAdjoint()`.

Source: S. Bai, J. Z. Kolter and V. Koltun, arXiv 1909.01377 (implicit; recalled); S. W. Fung et al., arXiv 2103.12803 (one
step, "Jacobian-free"; recalled); Z. Geng et al., arXiv 2111.05177 (phantom gradients; recalled).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx

from ..theory.numerics.arguments import above, at_least, between, require


class Implicit(optx.AbstractAdjoint):
    """The implicit gradient by a linear solver of lineax.

    optimistix.ImplicitAdjoint is the same gradient, but it raises an error inside the compiled program, for the whole batch,
    where one equation has no finite solution.
    """

    linear_solver: lx.AbstractLinearSolver = lx.AutoLinearSolver(well_posed=None)

    def apply(self, primal_fn: Callable[..., Any], rewrite_fn: Callable[..., Any], inputs: Any, tags: frozenset[object]) -> Any:
        root, found = _constant(primal_fn, rewrite_fn, inputs, tags)
        return _implicit(root, rewrite_fn, found, inputs, self.linear_solver, tags), found


class Iterated(lx.AbstractLinearSolver):
    """A x = b as the fixed point of x + A x - b, by a solver of `fixed_point`: for A = J - I one of J x - b."""

    solve_fn: Any

    def init(self, operator: Any, options: Any) -> Any:
        return lx.linearise(operator)

    def compute(self, state: Any, vector: Any, options: Any) -> Any:
        def step(x: Any, b: Any) -> Any:
            return x + state.mv(x) - b

        found = self.solve_fn(step, jnp.zeros_like(vector), vector)
        result = lx.RESULTS.where(found.converged, lx.RESULTS.successful, lx.RESULTS.max_steps_reached)
        return found.state, result, {"num_steps": found.num_steps, "max_steps": None}

    def transpose(self, state: Any, options: Any) -> Any:
        return state.transpose(), {}

    def conj(self, state: Any, options: Any) -> Any:
        return lx.conj(state), {}

    def assume_full_rank(self) -> bool:
        return True


class Phantom(optx.AbstractAdjoint):
    """Derivatives of `num_steps` damped applications of f behind the fixed point, which itself counts as constant."""

    num_steps: int = 1
    damping: float = 1.0

    def apply(self, primal_fn: Callable[..., Any], rewrite_fn: Callable[..., Any], inputs: Any, tags: frozenset[object]) -> Any:
        root, found = _constant(primal_fn, rewrite_fn, inputs, tags)
        state = root
        for _ in range(self.num_steps):  # rewrite_fn is f(z) - z
            change = rewrite_fn(state, found, inputs)
            state = jax.tree.map(lambda z, dz: z + jnp.asarray(self.damping, z.dtype) * dz, state, change)
        # the value is the root that was found, whatever the residual
        return jax.tree.map(lambda z, at: at + (z - jax.lax.stop_gradient(z)), state, root), found


def _constant(primal_fn: Callable[..., Any], rewrite_fn: Callable[..., Any], inputs: Any, tags: frozenset[object]) -> Any:
    """The root and what else was found, without derivatives."""
    return _stopped(optx.ImplicitAdjoint().apply(primal_fn, rewrite_fn, _stopped(inputs), tags))


def _stopped(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if isinstance(leaf, jax.Array) else leaf, tree)


@eqx.filter_custom_jvp
def _implicit(root: Any, rewrite_fn: Any, found: Any, inputs: Any, linear_solver: Any, tags: Any) -> Any:
    """The root, whose derivative with respect to the inputs is that of rewrite_fn(root, found, inputs) = 0."""
    return root


@_implicit.def_jvp
def _implicit_jvp(primals: Any, tangents: Any) -> Any:
    _, rewrite_fn, found, inputs, solver, tags = primals
    root, moved = _implicit(*primals), tangents[3]  # by itself: its second derivative sees the root move
    held, free = eqx.partition(inputs, jax.tree.map(_absent, moved, is_leaf=_absent), is_leaf=_absent)
    _, change = jax.jvp(lambda free: rewrite_fn(root, found, eqx.combine(free, held)), (free,), (moved,))
    _, push_fn = jax.linearize(lambda root: rewrite_fn(root, found, inputs), root)
    operator = lx.FunctionLinearOperator(push_fn, jax.eval_shape(lambda: root), tags)
    state = _stopped(solver.init(operator, {}))

    def transposed(_: Any, vector: Any) -> Any:
        other, options = solver.transpose(state, {})
        return _solved(solver, other, options, vector)

    slope = jax.lax.custom_linear_solve(
        push_fn,
        jax.tree.map(jnp.negative, change),
        lambda _, vector: _solved(solver, state, {}, vector),
        transposed,
    )
    return root, slope


def _absent(leaf: Any) -> bool:
    return leaf is None


def _solved(solver: lx.AbstractLinearSolver, state: Any, options: Any, vector: Any) -> Any:
    """By the solver; NaN throughout where it does not succeed."""
    solution, result, _ = solver.compute(state, vector, options)
    sound = jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(solution)]).all()
    sound = sound & (result == lx.RESULTS.successful)
    return jax.tree.map(lambda leaf: jnp.where(sound, leaf, jnp.nan), solution)


def implicit(rtol: float | None = None, max_steps: int | None = None, restart: int = 20) -> optx.AbstractAdjoint:
    """The implicit gradient; by GMRES to this relative tolerance, or if it is None by a dense factorisation.

    GMRES keeps `restart` directions and needs products with J alone; in a batch under vmap all examples do as many cycles as
    the slowest.
    """
    if rtol is None:
        return Implicit()
    require(above(0), rtol=rtol)
    require(at_least(1), restart=restart)
    return Implicit(lx.GMRES(rtol=rtol, atol=rtol, max_steps=max_steps, restart=restart))


def iterated(solve_fn: Callable[..., Any]) -> optx.AbstractAdjoint:
    """The implicit gradient by a solver of `fixed_point`, with its settings: lambda = J^T lambda + g, as the state itself.

    A setting that is traced goes in by `jax.tree_util.Partial(solver, atol=atol)`.
    """
    return Implicit(Iterated(solve_fn))


def phantom(num_steps: int, damping: float = 1.0) -> optx.AbstractAdjoint:
    """tau sum_{k < num_steps} ((1 - tau) I + tau J^T)^k in place of the inverse of (I - J)^T; tau is `damping`."""
    require(at_least(1), num_steps=num_steps)
    require(between(0, 1, low_open=True), damping=damping)
    return Phantom(num_steps, damping)


def neumann(order: int) -> optx.AbstractAdjoint:
    """sum_{k <= order} (J^T)^k in place of the inverse of (I - J)^T."""
    require(at_least(0), order=order)
    return Phantom(order + 1, 1.0)


def one_step() -> optx.AbstractAdjoint:
    """lambda = g: the "Jacobian-free" gradient."""
    return Phantom(1, 1.0)
