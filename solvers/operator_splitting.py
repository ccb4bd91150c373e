r"""Operator splitting for z = prox(W z + c) with I - W monotone: forward-backward and Peaceman-Rachford.

$$
\begin{align*}
z^+ &= \operatorname{prox}((1 - \alpha) z + \alpha (W z + c)) \;\; \text{(forward-backward)} \\
u^+ &= 2 V (2 z - u + \alpha c) - (2 z - u), \;\; z = \operatorname{prox}(u), \;\; V = (I + \alpha (I - W))^{-1}
\;\; \text{(Peaceman-Rachford)}
\end{align*}
$$

If the symmetric part of $I - W$ is at least $m > 0$, forward-backward converges for $0 < \alpha < 2 m / L^2$,
$L = \|I - W\|_2$, and Peaceman-Rachford for every $\alpha > 0$. `prox_fn` must be the projection onto a closed convex set, as
ReLU, the identity and clipping to an interval are. For another proximal operator, as tanh, the splittings would need that of
$\alpha g$ in place of that of $g$: with `prox_fn` itself they find another point unless $\alpha = 1$ in forward-backward, and
`converged` says False.

Both return the `Solution` of `fixed_point`, whose residual is that of the network, the largest entry of
$|\operatorname{prox}(W z + c) - z|$; an evaluation is a product with W or with V. The inverse V is computed once, under vmap
too if W is not batched. Gradients are with respect to W and c, by an adjoint of `equilibrium_gradients` for the map that is
iterated.

Source: E. Winston and J. Z. Kolter, arXiv 2006.08591 (recalled); derivations here.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float

from ..models.equilibrium.monotone import resolvent
from ..theory.numerics.arguments import above, require
from ._iteration import Adjoint, Number, Solution, damped, iterate

ProxFn = Callable[[Float[Array, "width"]], Float[Array, "width"]]


def forward_backward(
    weight: Float[Array, "width width"],
    drive: Float[Array, "width"],
    prox_fn: ProxFn = jax.nn.relu,
    *,
    step: Number,
    start: Float[Array, "width"] | None = None,
    atol: Number = 1e-6,
    max_steps: int = 1000,
    adjoint: Adjoint = None,
) -> Solution:
    """alpha is `step`, m / L^2 at best; starts at 0 if not told. With alpha = 1 this is Picard's iteration."""
    require(above(0), step=step)

    def advance(z: Array, args: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        weight, drive, alpha = args
        injected = weight @ z + drive
        return prox_fn((1 - alpha) * z + alpha * injected), prox_fn(injected) - z

    args = weight, drive, jnp.asarray(step, drive.dtype)
    return _repeat(advance, start, args, atol, max_steps, adjoint)


def peaceman_rachford(
    weight: Float[Array, "width width"],
    drive: Float[Array, "width"],
    prox_fn: ProxFn = jax.nn.relu,
    *,
    step: Number = 1.0,
    start: Float[Array, "width"] | None = None,
    atol: Number = 1e-6,
    max_steps: int = 1000,
    adjoint: Adjoint = None,
) -> Solution:
    """alpha is `step`, 1/L at best; `start` is a u, 0 if not told."""
    require(above(0), step=step)

    def half(u: Array, args: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        inverse, drive, alpha = args
        reflected = 2 * prox_fn(u) - u
        return inverse @ (reflected + alpha * drive), reflected

    def advance(u: Array, args: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        z, reflected = half(u, args)
        # (I + alpha (I - W)) z = reflected + alpha c, so that W z + c needs no product with W
        injected = z + (z - reflected) / args[2]
        return 2 * z - reflected, prox_fn(injected) - z

    alpha = jnp.asarray(step, drive.dtype)
    args = resolvent(weight, alpha), drive, alpha
    found = _repeat(advance, start, args, atol, max_steps, adjoint)
    return found._replace(state=half(found.state, args)[0])


def forward_backward_step(
    weight: Float[Array, "width width"], drive: Float[Array, "width"], z: Float[Array, "width"], prox_fn: ProxFn, step: Number
) -> Float[Array, "width"]:
    """The next z of forward-backward."""
    alpha = jnp.asarray(step, z.dtype)
    return prox_fn((1 - alpha) * z + alpha * (weight @ z + drive))


def peaceman_rachford_step(
    weight: Float[Array, "width width"], drive: Float[Array, "width"], u: Float[Array, "width"], prox_fn: ProxFn, step: Number
) -> Float[Array, "width"]:
    """The next u of Peaceman and Rachford."""
    alpha = jnp.asarray(step, u.dtype)
    reflected = 2 * prox_fn(u) - u
    return 2 * resolvent(weight, alpha) @ (reflected + alpha * drive) - reflected


def _repeat(
    advance: Callable[..., tuple[Array, Array]],
    start: Array | None,
    args: tuple[Array, Array, Array],
    atol: Number,
    max_steps: int,
    adjoint: Adjoint,
) -> Solution:
    begin = jnp.zeros_like(args[1]) if start is None else start
    whole = Partial(damped, step=jnp.ones((), begin.dtype))
    return iterate(whole, None, advance, begin, args, atol, max_steps, adjoint, has_aux=True)
