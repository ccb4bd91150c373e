"""States of a smooth flow at given times, differentiable in the times and in everything that the velocity holds."""

from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

State = Float[Array, "state"]


def flow(velocity_fn: Callable[[State], State], times: Float[Array, "time"], start: State) -> Float[Array, "time state"]:
    """States at `times`, in any order, of ds/dt = velocity_fn(s) from `start` at time 0; errors of 1e-9 (float32: 1e-5).

    Rates of the order of one suit it: the first step is tried at 1e-3.
    """
    if not times.size:
        return jnp.zeros((0, *start.shape), start.dtype)
    order = jnp.argsort(times)
    fixed = jax.lax.stop_gradient(times)
    ends = fixed[order]
    tolerance = max(1e-10, 100 * float(jnp.finfo(times.dtype).eps))
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, state, args: velocity_fn(state)),
        diffrax.Dopri8(),
        t0=jnp.zeros_like(ends[0]),
        t1=ends[-1],
        dt0=jnp.minimum(1e-3, ends[-1]),  # one that diffrax chooses takes two more copies of the velocity to compile
        y0=start,
        saveat=diffrax.SaveAt(ts=ends),
        # Steps end on every time asked for, because the interpolant is cruder than the solver.
        stepsize_controller=diffrax.ClipStepSizeController(diffrax.PIDController(rtol=tolerance, atol=tolerance), step_ts=ends),
        adjoint=diffrax.DirectAdjoint(),  # differentiable in forward and in reverse mode
        max_steps=65_536,
    )
    assert solution.ys is not None
    states = solution.ys[jnp.argsort(order)]
    # the derivative in time is the velocity, also at time 0, where the solver takes no step
    return states + (times - fixed)[:, None] * jax.vmap(velocity_fn)(states)
