r"""Fixed points z = f(z): damped Picard, Anderson, Broyden, Newton, and the equation z' = f(z) - z run to rest.

With $g(z) = f(z) - z$ and its Jacobian $g'$, a step is

$$
\begin{align*}
z^+ &= z + h\, g(z) && \text{(Picard)} \\
z^+ &= z - H g(z), \quad H \approx g'(z)^{-1} && \text{(Broyden, Newton)} \\
z^+ &= z + \beta g(z) - \sum_i \gamma_i (\Delta z_i + \beta \Delta g_i) && \text{(Anderson)}
\end{align*}
$$

where $\gamma$ minimises $|g - \sum_i \gamma_i \Delta g_i|$ over the last `memory` differences.

Every solver takes `f(z, args)`, a start and the args (any tree of arrays), and returns a `Solution`: a solver that did not
arrive says so, and how far off it is. Under vmap each example stops on its own and has its own counts; a state with a batch
axis of its own is one state, which stops when all of it has arrived. Derivatives are with respect to `args`, by the `adjoint`
(see `equilibrium_gradients`; a dense factorisation if it is None), and 0 with respect to the start.

| name | evaluations of f | needs |
|---|---|---|
| `picard` | one a step | a step at which it contracts; the flow's Euler steps |
| `anderson`, `broyden` | one a step | memory for so many states, twice |
| `newton` | one a step, and one a coordinate | a dense factorisation a step |
| `continuous` | seven a step | all eigenvalues of the Jacobian of f to have real parts below 1 |

Source: D. G. Anderson, doi 10.1145/321296.321305, and C. G. Broyden, doi 10.1090/S0025-5718-1965-0198670-6, both recalled, in
the forms of scipy's `anderson` and `broyden1`, which tests compare step by step; A. Pal, A. Edelman and C. Rackauckas, arXiv
2201.12240 (the flow).

Example. Anderson's steps for cos(z) = z, and Picard's:

>>> import jax.numpy as jnp
>>> from closedform.solvers import fixed_point
>>> f = lambda z, _: jnp.cos(z)
>>> found = [solve(f, jnp.zeros(1), atol=1e-5) for solve in (fixed_point.anderson, fixed_point.picard)]
>>> [(round(float(one.state[0]), 3), int(one.num_steps)) for one in found]
[(0.739, 5), (0.739, 29)]
"""

from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import optimistix as optx
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from ..theory.numerics.arguments import above, at_least, require
from ._iteration import Adjoint, Map, Number, State, arrived, damped, iterate, largest, number
from ._iteration import Solution as Solution
from .equilibrium_gradients import implicit


def picard(
    f: Map,
    start: State,
    args: Any = None,
    *,
    atol: Number = 1e-6,
    max_steps: int = 256,
    step: Number = 1.0,
    adjoint: Adjoint = None,
) -> Solution:
    """z + step (f(z) - z), repeated: Picard's iteration with step 1, Euler's scheme for the flow with any."""
    require(above(0), step=step)
    return iterate(Partial(damped, step=number(step, start)), None, f, start, args, atol, max_steps, adjoint)


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
    adjoint: Adjoint = None,
) -> Solution:
    """Anderson's acceleration with beta = `mixing`; `ridge` is relative to the square of each difference of g.

    It is raised to what keeps the differences apart in the precision of the state, about 6e-6 in float32.
    """
    require(at_least(1), memory=memory)
    require(above(0), mixing=mixing)
    require(at_least(0), ridge=ridge)
    update_fn = Partial(_anderson, mixing=number(mixing, start), ridge=number(ridge, start))
    return iterate(update_fn, _nothing(start, memory, memory), f, start, args, atol, max_steps, adjoint)


def broyden(
    f: Map,
    start: State,
    args: Any = None,
    *,
    atol: Number = 1e-6,
    max_steps: int = 256,
    memory: int = 20,
    adjoint: Adjoint = None,
) -> Solution:
    """Broyden's first method from H = -I, a Picard step; after `memory` updates it begins anew."""
    require(at_least(1), memory=memory)
    return iterate(Partial(_broyden), _nothing(start, memory, 0), f, start, args, atol, max_steps, adjoint)


def newton(
    f: Map, start: State, args: Any = None, *, atol: Number = 1e-6, max_steps: int = 32, adjoint: Adjoint = None
) -> Solution:
    """Newton's method with the dense Jacobian, for small states; it also finds fixed points from which the flow departs."""
    require(at_least(0), atol=atol, max_steps=max_steps)
    least = number(atol, start)
    solver = optx.Newton(rtol=0.0, atol=least, norm=largest)  # pyright: ignore[reportArgumentType]
    found = optx.fixed_point(f, solver, start, args, max_steps=max_steps, adjoint=adjoint or implicit(), throw=False)
    num_steps = found.stats["num_steps"].astype(int)
    residual = jax.lax.stop_gradient(largest(f(found.value, args) - found.value))
    return Solution(found.value, residual, num_steps, 1 + (1 + start.size) * num_steps, residual <= least)


def continuous(
    f: Map, start: State, args: Any = None, *, atol: Number = 1e-6, max_steps: int = 4096, adjoint: Adjoint = None
) -> Solution:
    """z' = f(z) - z by Tsitouras' pair of order 5, until no entry of |f(z) - z| is above `atol`. Rejected steps count.

    A step may err by 0.3 atol. Near a fixed point the steps grow to the limit of stability, where errors of about the tolerance
    are kept alive: with a tolerance above atol the flow never comes to rest.
    """
    require(at_least(0), atol=atol, max_steps=max_steps)
    least = number(atol, start)
    flow = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda _, z, args: f(z, args) - z),
        diffrax.Tsit5(),
        jnp.zeros((), start.dtype),
        jnp.full((), jnp.inf, start.dtype),
        number(_FIRST, start),
        *jax.tree.map(jax.lax.stop_gradient, (start, args)),
        stepsize_controller=diffrax.PIDController(rtol=0.0, atol=number(0.3, start) * least, norm=largest),
        event=diffrax.Event(diffrax.steady_state_event(rtol=0.0, atol=least, norm=largest)),  # pyright: ignore[reportArgumentType]
        max_steps=max_steps,
        adjoint=diffrax.ImplicitAdjoint(),  # of which nothing is used: what it finds counts as constant
        throw=False,
    )
    assert flow.ys is not None
    num_steps = flow.stats["num_steps"].astype(int)
    # six a step, as the first stage of Tsitouras is the last of the step before, and one for the event; two at each end
    evaluations = 2 + 7 * num_steps + jnp.where(num_steps > 0, 2, 0)
    return arrived(f, flow.ys[0], args, num_steps, evaluations, atol, adjoint)


# ----------------------------------------------------------------------------------------------------------- the way to it


def iterates(f: Map, start: State, args: Any = None, *, num_steps: int, step: Number = 1.0) -> Float[Array, "iterate ..."]:
    """start and the states after 1, 2, .. num_steps steps of `picard`; derivatives go through all steps."""
    require(at_least(0), num_steps=num_steps)
    require(above(0), step=step)
    h = number(step, start)

    def advance(z: State, _: None) -> tuple[State, State]:
        new = z + h * (f(z, args) - z)
        return new, new

    return jnp.concatenate([start[None], jax.lax.scan(advance, start, length=num_steps)[1]])


def flow(
    f: Map, start: State, args: Any = None, *, times: Float[Array, "time"], rtol: Number = 1e-6, max_steps: int = 4096
) -> Float[Array, "time ..."]:
    """z(t) of z' = f(z) - z at rising times, from `start` at time 0; NaN if max_steps do not suffice.

    A step may err by rtol of the state, and by rtol/1000. Derivatives go through all steps, in reverse mode.
    """
    require(at_least(0), times=times)
    require(above(0), rtol=rtol)
    tolerance = number(rtol, start)
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda _, z, args: f(z, args) - z),
        diffrax.Tsit5(),
        jnp.zeros((), start.dtype),
        times[-1],
        number(_FIRST, start),
        start,
        args,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance / 1000, norm=largest),
        max_steps=max_steps,
        throw=False,
    )
    assert found.ys is not None
    return found.ys * jnp.where(found.result == diffrax.RESULTS.successful, 1, jnp.nan).astype(start.dtype)


_FIRST = 0.5  # the first step of the flow that is tried: half of Picard's


# ------------------------------------------------------------------------------------------------------------ one step each


class _Past(NamedTuple):
    """What Anderson and Broyden remember; rows not yet filled are 0."""

    first: Float[Array, "memory size"]  # differences of z; of Broyden columns of H + I
    second: Float[Array, "memory size"]  # differences of g; of Broyden rows of H + I
    gram: Float[Array, "products products"]  # of Anderson products of the differences of g; of Broyden empty
    state: Float[Array, "size"]  # before the last step
    change: Float[Array, "size"]  # g there
    num_steps: Int[Array, ""]


def _nothing(start: State, memory: int, products: int) -> _Past:
    none, gram = (jnp.zeros(shape, start.dtype) for shape in ((memory, start.size), (products, products)))
    return _Past(none, none, gram, start.ravel(), start.ravel(), jnp.zeros((), int))


def _anderson(past: _Past, z: State, change: State, mixing: Float[Array, ""], ridge: Float[Array, ""]) -> tuple[State, _Past]:
    x, g = z.ravel(), change.ravel()
    memory = len(past.first)
    # a mask in place of an index: examples of a batch may be at different rows, and XLA writes those one by one
    here = (jnp.arange(memory) == (past.num_steps - 1) % memory) & (past.num_steps > 0)
    moved, changed = x - past.state, g - past.change
    first = jnp.where(here[:, None], moved[None], past.first)
    second = jnp.where(here[:, None], changed[None], past.second)
    products = second @ changed
    gram = jnp.where(here[:, None], products[None], jnp.where(here[None], products[:, None], past.gram))
    square = jnp.diagonal(gram)
    ridge = jnp.maximum(ridge, 10 * memory * jnp.finfo(gram.dtype).eps)  # rounding leaves dependent rows indefinite
    diagonal = jnp.where(square > 0, (1 + ridge) * square, 1)  # 1: a row of zeros has no part
    weights = _positive_solve(jnp.where(jnp.eye(memory, dtype=bool), diagonal[None], gram), second @ g)
    new = x + mixing * g - weights @ (first + mixing * second)
    return new.reshape(z.shape), _Past(first, second, gram, x, g, past.num_steps + 1)


def _positive_solve(matrix: Float[Array, "memory memory"], vector: Float[Array, "memory"]) -> Float[Array, "memory"]:
    """By elimination without pivots: of a batch, all matrices at once, where LAPACK would do one small one after the other."""
    place = jnp.arange(len(vector))

    def eliminate(k: Array, rows: Float[Array, "memory both"]) -> Float[Array, "memory both"]:
        row = rows[k] / rows[k, k]
        return jnp.where((place == k)[:, None], row[None], rows - rows[:, k][:, None] * row[None])

    both = jnp.concatenate([matrix, vector[:, None]], axis=1)
    return jax.lax.fori_loop(0, len(vector), eliminate, both)[:, -1]


def _broyden(past: _Past, z: State, change: State) -> tuple[State, _Past]:
    """H + I = sum of columns times rows, by Sherman and Morrison."""
    x, g = z.ravel(), change.ravel()
    row = (past.num_steps - 1) % len(past.first)
    anew = (row == 0)[None, None]
    columns, rows = (jnp.where(anew, 0, part) for part in (past.first, past.second))
    moved, changed = x - past.state, g - past.change
    covector = _estimate(rows, columns, moved)
    denominator = covector @ changed
    sound = (past.num_steps > 0) & (denominator != 0)
    column = (moved - _estimate(columns, rows, changed)) / jnp.where(sound, denominator, 1)
    here = ((jnp.arange(len(columns)) == row) & sound)[:, None]  # a mask, as Anderson's
    columns, rows = jnp.where(here, column[None], columns), jnp.where(here, covector[None], rows)
    new = x - _estimate(columns, rows, g)
    return new.reshape(z.shape), _Past(columns, rows, past.gram, x, g, past.num_steps + 1)


def _estimate(columns: Float[Array, "memory size"], rows: Float[Array, "memory size"], g: Float[Array, "size"]) -> Array:
    """H g; with columns and rows exchanged, of the transposed H."""
    return (rows @ g) @ columns - g
