r"""Gradients through a fixed point: the implicit one, and cheaper approximations of it.

With $J = \partial f / \partial z$ at $z_* = f(z_*, \theta)$ and the gradient $g$ of a loss with respect to $z_*$,

$$
\frac{dL}{d\theta} = \lambda^\top \frac{\partial f}{\partial \theta}, \qquad (I - J)^\top \lambda = g
$$

`implicit` solves this equation, densely or by GMRES. `phantom` repeats
$\lambda \leftarrow \tau g + ((1 - \tau) I + \tau J^\top) \lambda$ from 0, `num_steps` times: with $\tau = 1$ this is the
Neumann series $\sum_{k \le m} (J^\top)^k g$ (`neumann`), whose first term is $\lambda = g$ (`one_step`).

Each is an adjoint of optimistix, and so serves every solver of `fixed_point` and `operator_splitting`, and those of optimistix.
The gradient through the iterations themselves is `optimistix.RecursiveCheckpointAdjoint()`.

Source: S. Bai, J. Z. Kolter and V. Koltun, arXiv 1909.01377 (implicit; recalled); S. W. Fung et al., arXiv 2103.12803 (one
step, "Jacobian-free"; recalled); Z. Geng et al., arXiv 2111.05177 (phantom gradients; recalled).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx

from ..theory.numerics.arguments import above, at_least, between, require


class Iterated(lx.AbstractLinearSolver):
    """A x = b as the fixed point of x + A x - b, by a solver of `fixed_point`: for A = J - I one of J x - b."""

    solve_fn: Any

    def init(self, operator: Any, options: Any) -> Any:
        return lx.linearise(operator)

    def compute(self, state: Any, vector: Any, options: Any) -> Any:
        def step(x: Any, b: Any) -> Any:
            return x + state.mv(x) - b

        found = self.solve_fn(step, jnp.zeros_like(vector), vector)
        return found.state, lx.RESULTS.successful, {"num_steps": found.num_steps, "max_steps": None}

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
        constant = jax.tree.map(_stopped, inputs)
        root, found = optx.ImplicitAdjoint().apply(primal_fn, rewrite_fn, constant, tags)
        root = jax.lax.stop_gradient(root)
        state = root
        for _ in range(self.num_steps):  # rewrite_fn is f(z) - z
            change = rewrite_fn(state, found, inputs)
            state = jax.tree.map(lambda z, dz: z + jnp.asarray(self.damping, z.dtype) * dz, state, change)
        # the value is the root that was found, whatever the residual
        return jax.tree.map(lambda z, at: at + (z - jax.lax.stop_gradient(z)), state, root), found


def _stopped(leaf: Any) -> Any:
    return jax.lax.stop_gradient(leaf) if isinstance(leaf, jax.Array) else leaf


def implicit(rtol: float | None = None, max_steps: int | None = None, restart: int = 20) -> optx.AbstractAdjoint:
    """The implicit gradient; by GMRES to this relative tolerance, or if it is None by a dense factorisation.

    GMRES keeps `restart` directions and needs products with J alone; in a batch under vmap all examples do as many cycles as
    the slowest.
    """
    if rtol is None:
        return optx.ImplicitAdjoint()
    require(above(0), rtol=rtol)
    require(at_least(1), restart=restart)
    return optx.ImplicitAdjoint(lx.GMRES(rtol=rtol, atol=rtol, max_steps=max_steps, restart=restart))


def iterated(solve_fn: Callable[..., Any]) -> optx.AbstractAdjoint:
    """The implicit gradient by a solver of `fixed_point`, with its settings: lambda = J^T lambda + g, as the state itself."""
    return optx.ImplicitAdjoint(Iterated(solve_fn))


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
