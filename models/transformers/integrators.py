r"""Steps of Runge-Kutta and of splitting schemes for x' = F(x) + G(x), repeated, or chosen to a tolerance.

A scheme takes the state one step of size $h$ on the way from $x(0)$ to $x(N h)$:

$$
x' = F(x) + G(x), \qquad x(t + h) = x(t) + h\, (F + G)(x(t)) + O(h^2)
$$

| scheme | one step | order | sublayers |
|---|---|---|---|
| `parallel` | $x + h F(x) + h G(x)$: Euler's step for the sum | 1 | 2 |
| `sequential` | $y = x + h F(x)$, then $y + h G(y)$: the layer in common use | 1 | 2 |
| `lie` | the flow of $F$, then the flow of $G$ | 1 | 48 |
| `strang` | half a flow of $G$, the flow of $F$, half a flow of $G$ | 2 | 72 |
| `macaron` | as `strang`, with Euler's step in place of every flow | 1 | 3 |
| `midpoint`, `heun` | Runge-Kutta on the sum | 2 | 4 |
| `rk4` | Runge-Kutta on the sum | 4 | 8 |
| `tsit5`, `dopri5` (by `solve`) | Runge-Kutta with steps as the tolerance asks for | 5 | as many as it takes |

Sublayers are evaluations of $F$ and of $G$, counted together. Names: `step_size` is $h$, `num_steps` $N$, `f_fn` and `g_fn` are
$F$ and $G$, `field` is their sum.

Source: textbook; Lu et al., arXiv 1906.02762 (macaron). Orders are derived here; `theory.transformers.splitting` has them with
constants.

Example. For $x' = x - 2 x$, from 1 to the time 1, the error of Heun's scheme falls fourfold with twice as many steps.

>>> import jax.numpy as jnp
>>> from closedform.models.transformers.integrators import SCHEMES, integrate
>>> start, exact = jnp.array(1.0), jnp.exp(-1.0)
>>> f, g = lambda x: x, lambda x: -2 * x
>>> [round(float(integrate(SCHEMES["heun"].step_fn, f, g, start, 1 / n, n) - exact), 4) for n in (4, 8)]
[0.0046, 0.0011]
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Real

from ...documented import documented

State: TypeAlias = Float[Array, "..."]
Field: TypeAlias = Callable[[State], State]  # the velocity at a state
Step: TypeAlias = Real[ArrayLike, ""]
KEEP = ("steps", "stages")  # for derivatives: the state before every step, or before every evaluation


def euler_step(field: Field, x: State, step_size: Step) -> State:
    """x + h S(x)."""
    return x + step_size * field(x)


def midpoint_step(field: Field, x: State, step_size: Step) -> State:
    """x + h S(x + (h/2) S(x))."""
    return x + step_size * field(x + step_size / 2 * field(x))


def heun_step(field: Field, x: State, step_size: Step) -> State:
    """x + (h/2) (S(x) + S(x + h S(x)))."""
    first = field(x)
    return x + step_size / 2 * (first + field(x + step_size * first))


def rk4_step(field: Field, x: State, step_size: Step) -> State:
    """The classical step of fourth order."""
    k1 = field(x)
    k2 = field(x + step_size / 2 * k1)
    k3 = field(x + step_size / 2 * k2)
    k4 = field(x + step_size * k3)
    return x + step_size / 6 * (k1 + 2 * (k2 + k3) + k4)


def flow(field: Field, x: State, time: Step, step_fn: Callable[[Field, State, Step], State], num_substeps: int) -> State:
    """The flow of one field alone over `time`, by equal substeps."""
    step_size = time / num_substeps
    return jax.lax.fori_loop(0, num_substeps, lambda _, x: step_fn(field, x, step_size), x)


# stands for an exact flow in the schemes with flows: exact to 1e-9 for a step of size 1/16, enough to measure their orders
exact_flow = partial(flow, step_fn=rk4_step, num_substeps=6)


def parallel(f_fn: Field, g_fn: Field, x: State, step_size: Step) -> State:
    """x + h F(x) + h G(x)."""
    return euler_step(lambda x: f_fn(x) + g_fn(x), x, step_size)


def sequential(f_fn: Field, g_fn: Field, x: State, step_size: Step) -> State:
    """y = x + h F(x), then y + h G(y)."""
    return lie(f_fn, g_fn, x, step_size, euler_step)


def lie(f_fn: Field, g_fn: Field, x: State, step_size: Step, flow_fn: Callable[..., State] = exact_flow) -> State:
    """The flow of F, then the flow of G; `flow_fn(field, x, time)` makes either, a single step of any kind if so chosen."""
    return flow_fn(g_fn, flow_fn(f_fn, x, step_size), step_size)


def strang(f_fn: Field, g_fn: Field, x: State, step_size: Step, flow_fn: Callable[..., State] = exact_flow) -> State:
    """Half a flow of G, the flow of F, half a flow of G; `flow_fn` as in `lie`."""
    half = step_size / 2
    return flow_fn(g_fn, flow_fn(f_fn, flow_fn(g_fn, x, half), step_size), half)


def macaron(f_fn: Field, g_fn: Field, x: State, step_size: Step) -> State:
    """Strang's order of the sublayers with Euler's step for each: half G, F, half G."""
    return strang(f_fn, g_fn, x, step_size, euler_step)


def _on_sum(step_fn: Callable[[Field, State, Step], State]) -> Callable[[Field, Field, State, Step], State]:
    return lambda f_fn, g_fn, x, step_size: step_fn(lambda x: f_fn(x) + g_fn(x), x, step_size)


@documented
class Scheme(NamedTuple):
    step_fn: Callable[[Field, Field, State, Step], State]
    num_sublayers: int  # evaluations of F and of G in one step


SCHEMES = {
    "parallel": Scheme(parallel, 2),
    "sequential": Scheme(sequential, 2),
    "lie": Scheme(lie, 48),
    "strang": Scheme(strang, 72),
    "macaron": Scheme(macaron, 3),
    "midpoint": Scheme(_on_sum(midpoint_step), 4),
    "heun": Scheme(_on_sum(heun_step), 4),
    "rk4": Scheme(_on_sum(rk4_step), 8),
}


# ---------------------------------------------------------------------------------------------------------------- integration


def integrate(
    step_fn: Callable[[Field, Field, State, Step], State],
    f_fn: Field,
    g_fn: Field,
    x: State,
    step_size: Step,
    num_steps: int | Int[Array, ""],
    keep: str = "steps",
) -> State:
    """The state after num_steps steps of a scheme for x' = F(x) + G(x).

    Reverse mode keeps states and computes the rest again, which is faster than writing all parts of a field to fresh memory and
    reading them back. With keep = "steps" it keeps the state before every step: num_steps states. With keep = "stages" it keeps
    what every evaluation of F and of G was given, four states a step of RK4, and computes each evaluation again alone, in the
    cache: 7 to 12 % less time for a batch of 32 examples of 32 tokens of dimension 64. Both give the same numbers up to
    rounding. It needs num_steps as a Python int; a traced number works without derivatives and in forward mode.
    """
    if isinstance(num_steps, int) and num_steps < 0:
        raise ValueError(f"num_steps must not be negative, got {num_steps}")
    if keep not in KEEP:
        raise ValueError(f"keep must be one of {', '.join(KEEP)}, got {keep!r}")
    h = jnp.asarray(step_size, x.dtype)
    again = partial(jax.checkpoint, prevent_cse=False)
    if keep == "stages":
        f_fn, g_fn = again(f_fn), again(g_fn)

    def step(x: State) -> State:
        return step_fn(f_fn, g_fn, x, h)

    kept = again(step) if keep == "steps" else step
    return jax.lax.fori_loop(0, num_steps, lambda _, x: kept(x), x)


@documented
class Solved(NamedTuple):
    state: State  # at the end; NaN if max_steps did not suffice
    num_evaluations: Float[Array, ""]  # of the field


ADAPTIVE = {"tsit5": diffrax.Tsit5(), "dopri5": diffrax.Dopri5()}
SOLVERS = {"euler": diffrax.Euler(), "midpoint": diffrax.Midpoint(), "heun": diffrax.Heun(), **ADAPTIVE}
# By default diffrax allocates the 90 checkpoints of 4096 steps, fresh memory at every call that is hardly ever used.
# 16 are what it would choose for 152 steps; with more steps than that some are computed once more.
ADJOINTS = {"checkpoint": diffrax.RecursiveCheckpointAdjoint(checkpoints=16), "backsolve": diffrax.BacksolveAdjoint()}


def solve(
    field: Callable[[Any, State], State],
    params: Any,
    x: State,
    time: Step,
    method: str = "tsit5",
    rtol: float | Float[Array, ""] = 1e-3,
    num_steps: int | None = None,
    adjoint: str = "checkpoint",
    max_steps: int = 4096,
    first_step: Step | None = None,
) -> Solved:
    """x(time) of x' = field(params, x) by diffrax: num_steps equal steps, or adaptive steps to the tolerance if it is None.

    The first adaptive step to be tried is `first_step`, half of the time by default. The absolute tolerance is rtol/2.
    Derivatives are those of the computed numbers ("checkpoint": recursive checkpoints; reverse mode only), or solve the adjoint
    equation backwards ("backsolve": constant memory, an error of the order of the tolerance, and only with respect to `params`
    and `x`: what `field` holds otherwise counts as constant).
    """
    for name, given, allowed in (("method", method, SOLVERS), ("adjoint", adjoint, ADJOINTS)):
        if given not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {given!r}")
    if num_steps is None and method not in ADAPTIVE:
        raise ValueError(f"method {method} has no error estimate: give num_steps, or one of {', '.join(ADAPTIVE)}")
    if num_steps is not None and num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    end = jnp.asarray(time, x.dtype)
    if num_steps is None:
        # Too long a step costs one rejection, and is then cut to a fifth at least. The whole time at once may just pass, with a
        # gradient wrong by many times the tolerance; two halves are far better for twice the work.
        controller = diffrax.PIDController(rtol=rtol, atol=rtol / 2)
        step = end / 2 if first_step is None else jnp.asarray(first_step, x.dtype)
    else:
        controller, step, max_steps = diffrax.ConstantStepSize(), end / num_steps, num_steps + 1
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda _, state, params: field(params, state)),
        SOLVERS[method],
        jnp.zeros_like(end),
        end,
        step,
        x,
        params,
        stepsize_controller=controller,
        adjoint=ADJOINTS[adjoint],
        max_steps=max_steps,
        throw=False,
    )
    arrived = solution.result == diffrax.RESULTS.successful
    steps = solution.stats["num_steps"].astype(x.dtype)
    first_and_each = {"euler": (0, 1), "midpoint": (0, 2), "heun": (0, 2), "tsit5": (1, 6), "dopri5": (1, 6)}[method]
    evaluations = first_and_each[0] + first_and_each[1] * steps
    # a factor, so that the gradient is NaN too
    return Solved(jnp.asarray(solution.ys)[0] * jnp.where(arrived, 1, jnp.nan).astype(x.dtype), evaluations)
