r"""One step of a residual block as a scheme for x' = F(x) + G(x): its order, its leading error, and the error it ends with.

Formula. $S = F + G$, bracket $[F, G] = DG\, F - DF\, G$. A step of size $h$ departs from the exact flow by
$h^{p+1} c(x) + O(h^{p+2})$, and after $N = T/h$ steps the state by $h^p E(T) + O(h^{p+1})$, where along the exact trajectory

$$
x' = S(x), \qquad E' = DS(x)\, E + c(x), \qquad E(0) = 0
$$

| step | | $p$ | $c$ |
|---|---|---|---|
| parallel Euler | $x + h F(x) + h G(x)$ | 1 | $-\frac{1}{2} DS\, S$ |
| sequential | $F$, then $G$ at what $F$ left | 1 | $DG\, F - \frac{1}{2} DS\, S$ |
| Lie-Trotter | exact flow of $F$, then of $G$ | 1 | $\frac{1}{2} [F, G]$ |
| Macaron | Euler: half $G$, $F$, half $G$ | 1 | $-\frac{1}{4} DG\, G - \frac{1}{2} DF\, F$ |
| Strang | exact flows, half $G$, $F$, half $G$ | 2 | $-\frac{1}{24} [G, [G, F]] - \frac{1}{12} [F, [G, F]]$ |
| Runge-Kutta | on $S$ | $p$ | sum over trees of $p + 1$ vertices of $\frac{\Phi - 1/\gamma}{\sigma} D_{\text{tree}} S$ |

Substeps of order $q$ with an error $c_q$ of their own add $c_q(F) + c_q(G)$ to Lie-Trotter if $q = 1$, $c_q(F) + 2^{-q} c_q(G)$
to Strang if $q \le 2$. So Macaron, which is Strang with Euler substeps, is of first order: the symmetric order of its sublayers
removes the bracket, and the Euler error of each sublayer stays.

Regime. $h \to 0$ at fixed $T$, smooth $F$ and $G$ (a relu breaks every order above 1 near its kink), the same weights in every
block.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $F$, $G$ | `f_fn`, `g_fn` | | vector fields of a state: attention, MLP; arrays or any pytrees |
| $p$, $c$ | `Scheme.order`, `.field_fn` | | order, leading error of one step as a vector field |
| $S$ | `Scheme.velocity_fn` | | the field $F + G$ that the steps follow |
| $T$ | `time` | any | end of the integration, $N h$ |
| $x(T)$, $E(T)$ | `LeadingError.state`, `.error` | state | exact state, coefficient of $h^p$ of the error |
| $N$ | `num_steps` | n | number of steps, $T/h$ |

Factors. Errors are numerical minus exact. $F$ acts first in sequential and Lie-Trotter, $G$ is outside in Strang and Macaron;
for the other order exchange the arguments: the bracket changes its sign. Brackets of other authors may have the other sign.

Source. Parallel Euler is proposed in Y. Zhong et al., arXiv 2212.06011 (abstract, introduction), Macaron in Y. Lu et al.,
arXiv 1906.02762 (read in its code). Orders and $c$ are derived here; the series over trees is textbook (Butcher, doi
10.1002/9781119121534).

Finite size. The next order of $h$: on the attention and MLP field of the tests, $N = 128$ at $T = 1$, the leading term is off
by 0.06-0.7 % in size and up to 1.4 % as a vector, for exact Strang (whose error is even in $h$) by 1e-5. `leading_error` is
integrated to 1e-11, in float32 to 1e-5.

Example. Drift and kick of an oscillator with position and velocity $(x, v)$: the orders of four steps, and half the bracket,
$(x, -v)/2$.

>>> import jax.numpy as jnp
>>> from closedform.theory.transformers import splitting
>>> drift, kick = lambda s: jnp.array([s[1], 0.0]), lambda s: jnp.array([0.0, -s[0]])
>>> steps = splitting.sequential, splitting.lie_trotter, splitting.macaron, splitting.strang
>>> [step(drift, kick).order for step in steps]
[1, 1, 1, 2]
>>> splitting.lie_trotter(drift, kick).field_fn(jnp.array([2.0, 1.0])).tolist()
[1.0, -0.5]
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ArrayLike, above, known, require, takes

# an array, or any pytree of arrays and numbers; a list of plain numbers is an array
State: TypeAlias = PyTree[Real[ArrayLike, "..."]]
FieldFn = Callable[[State], State]  # the velocity at a state
Tree: TypeAlias = tuple[Any, ...]  # a rooted tree: the subtrees at its root, sorted


@documented
class Scheme(NamedTuple):
    """A way to step along x' = velocity_fn(x): step(x) - flow(x) = h^(order + 1) field_fn(x) + O(h^(order + 2))."""

    order: int  # p
    field_fn: FieldFn  # c
    velocity_fn: FieldFn  # S


@documented
class LeadingError(NamedTuple):
    """numerical - exact = h^p error + O(h^(p + 1)); leading axes of every leaf are those of the time."""

    state: State  # x(T)
    error: State  # E(T)


@documented
class ObservedOrder(NamedTuple):
    """Minus the slope of log error against log N."""

    slope: Float[Array, "*batch"]  # least squares, all points
    last: Float[Array, "*batch"]  # the last two points


@documented
class Tableau(NamedTuple):
    """An explicit Runge-Kutta method: k_i = S(x + h sum_j matrix_ij k_j), x + h sum_i weights_i k_i."""

    matrix: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


EULER = Tableau(((0.0,),), (1.0,))
MIDPOINT = Tableau(((0.0, 0.0), (0.5, 0.0)), (0.0, 1.0))
HEUN = Tableau(((0.0, 0.0), (1.0, 0.0)), (0.5, 0.5))
RK4 = Tableau(((0.0,) * 4, (0.5, 0.0, 0.0, 0.0), (0.0, 0.5, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))


# --------------------------------------------------------------------------------------------------------- vector fields


def bracket(f_fn: FieldFn, g_fn: FieldFn) -> FieldFn:
    """The field [F, G] = DG F - DF G, by two forward derivatives.

    >>> rotated = bracket(lambda x: jnp.array([0.0, 1.0]) * x[0], lambda x: jnp.array([1.0, 0.0]) * x[1])
    >>> rotated(jnp.array([2.0, 3.0])).tolist()  # (BA - AB) x
    [2.0, -3.0]
    """
    return total((1, along(g_fn, f_fn)), (-1, along(f_fn, g_fn)))


def along(f_fn: FieldFn, g_fn: FieldFn) -> FieldFn:
    """The field DF G: the derivative of F in the direction of G."""
    f_fn, g_fn = _on_floats(f_fn), _on_floats(g_fn)

    def field(x: Any) -> State:
        x = _floats(x)
        return jax.jvp(f_fn, (x,), (g_fn(x),))[1]

    return field


def total(*terms: tuple[Any, FieldFn]) -> FieldFn:
    """The field sum of weight * F, for terms (weight, F), each weight one number; without terms it is 0.

    Its values are of the dtype of the state, in which integers become floats.
    """
    for weight, _ in terms:
        if jnp.ndim(weight):
            raise ValueError(f"weight must be a single number, got shape {jnp.shape(weight)}")
    weighted = [(weight, _on_floats(f_fn)) for weight, f_fn in terms]

    def field(x: Any) -> State:
        values = [jax.tree.map(lambda leaf, w=weight: jnp.asarray(w, leaf.dtype) * leaf, f_fn(x)) for weight, f_fn in weighted]
        return jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *values or [jax.tree.map(jnp.zeros_like, _floats(x))])

    return field


@takes()
def _floats(x: State) -> State:
    return x


def _on_floats(field_fn: FieldFn) -> FieldFn:
    """The field at states of any numbers; its values, constants among them, are of the dtype of the state."""

    def field(x: Any) -> State:
        x = _floats(x)
        return jax.tree.map(lambda leaf, value: jnp.asarray(value, leaf.dtype), x, field_fn(x))

    return field


# --------------------------------------------------------------------------------------------------- the error of a step


def parallel_euler(f_fn: FieldFn, g_fn: FieldFn) -> Scheme:
    """x + h F(x) + h G(x): both sublayers side by side."""
    return runge_kutta(total((1, f_fn), (1, g_fn)), EULER)


def sequential(f_fn: FieldFn, g_fn: FieldFn) -> Scheme:
    """y = x + h F(x), y + h G(y): the standard layer."""
    return lie_trotter(f_fn, g_fn, EULER)


def lie_trotter(f_fn: FieldFn, g_fn: FieldFn, substep: Tableau | None = None) -> Scheme:
    """A step of F, then a step of G: both exact, or by the substep."""
    exact = (0.5, bracket(f_fn, g_fn))
    velocity_fn = total((1, f_fn), (1, g_fn))
    if substep is None:
        return Scheme(1, total(exact), velocity_fn)
    of_f, of_g = runge_kutta(f_fn, substep), runge_kutta(g_fn, substep)
    own = [(1, of_f.field_fn), (1, of_g.field_fn)] if of_f.order == 1 else []
    return Scheme(1, total(exact, *own), velocity_fn)


def macaron(f_fn: FieldFn, g_fn: FieldFn) -> Scheme:
    """y = x + (h/2) G(x), z = y + h F(y), z + (h/2) G(z): half an MLP, attention, half an MLP. Of first order.

    >>> macaron(jnp.sin, jnp.cos).order
    1
    """
    return strang(f_fn, g_fn, EULER)


def strang(f_fn: FieldFn, g_fn: FieldFn, substep: Tableau | None = None) -> Scheme:
    """Half a step of G, a step of F, half a step of G: all exact, or by the substep; of second order if the substep is."""
    inner = bracket(g_fn, f_fn)
    exact = [(-1 / 24, bracket(g_fn, inner)), (-1 / 12, bracket(f_fn, inner))]
    velocity_fn = total((1, f_fn), (1, g_fn))
    if substep is None:
        return Scheme(2, total(*exact), velocity_fn)
    of_f, of_g = runge_kutta(f_fn, substep), runge_kutta(g_fn, substep)
    order = of_f.order
    own = [(1, of_f.field_fn), (2.0**-order, of_g.field_fn)]  # two steps of G of size h/2: 2 (h/2)^(order + 1)
    if order == 1:
        return Scheme(1, total(*own), velocity_fn)
    return Scheme(2, total(*exact, *(own if order == 2 else [])), velocity_fn)


def midpoint(f_fn: FieldFn, g_fn: FieldFn) -> Scheme:
    """x + h S(x + (h/2) S(x)), S = F + G."""
    return runge_kutta(total((1, f_fn), (1, g_fn)), MIDPOINT)


def heun(f_fn: FieldFn, g_fn: FieldFn) -> Scheme:
    """x + (h/2) (S(x) + S(x + h S(x))), S = F + G."""
    return runge_kutta(total((1, f_fn), (1, g_fn)), HEUN)


def rk4(f_fn: FieldFn, g_fn: FieldFn) -> Scheme:
    """The classical method of fourth order on S = F + G."""
    return runge_kutta(total((1, f_fn), (1, g_fn)), RK4)


def runge_kutta(field_fn: FieldFn, tableau: Tableau) -> Scheme:
    """Any explicit Runge-Kutta method, its order found from its tableau.

    >>> quadratic = runge_kutta(lambda x: x**2, MIDPOINT)  # x/(1 - h x) = x + h x^2 + h^2 x^3 + h^3 x^4 + ...
    >>> quadratic.order, float(quadratic.field_fn(2.0))  # h x^2 (1 + h x/2)^2: (1/4 - 1) x^4
    (2, -12.0)
    """
    stages = len(tableau.weights)
    shape = [len(row) for row in tableau.matrix]
    if shape != [stages] * stages or any(any(row[i:]) for i, row in enumerate(tableau.matrix)):
        raise ValueError(f"tableau must have a strictly lower triangular matrix of the size of its weights, got {tableau}")
    require(FINITE, tableau=[*tableau.weights, *itertools.chain(*tableau.matrix)])
    if not math.isclose(sum(tableau.weights), 1, rel_tol=1e-12):
        raise ValueError(f"tableau must have weights of sum 1, got {tableau.weights}")
    field_fn = _on_floats(field_fn)
    order, trees, wrong = 0, [()], []
    while not wrong:  # the weights sum to 1: nothing is wrong with the tree of one vertex
        order, trees = order + 1, sorted({grown for tree in trees for grown in _with_a_leaf(tree)})
        gaps = [(_dot(tableau.weights, _stages(tree, tableau)) - 1 / _density(tree), tree) for tree in trees]
        wrong = [(gap / _symmetry(tree), tree) for gap, tree in gaps if abs(gap) > 1e-12]
    return Scheme(order, _differentials(field_fn, wrong), field_fn)


# ----------------------------------------------------------------------------------------------------- the error at the end


@takes(time=FINITE, start=FINITE)
def leading_error(scheme: Scheme, start: State, time: Real[ArrayLike, "*time"]) -> LeadingError:
    """x(T) and E(T) of a scheme, such as macaron(f_fn, g_fn), from `start` at time 0; any finite times, in any order and shape.

    Integrated to 1e-11 of the largest entry of `start` or of the result, in float32 to 1e-5, within 4096 steps of the solver.

    >>> euler = parallel_euler(lambda x: -x, lambda x: 0.0 * x)
    >>> round(float(leading_error(euler, jnp.ones(1), 1.0).error[0]), 4)  # (1 - h)^(1/h) = exp(-1) (1 - h/2 + ...)
    -0.1839
    """
    if not jax.tree.leaves(start):
        raise ValueError("start must hold arrays, got none")
    times, (x0, unravel) = jnp.asarray(time), ravel_pytree(start)
    # traced once each, however often the solver traces its step: the trees of order 5 take seconds
    velocity_fn, error_fn = (jax.jit(_on_floats(fn)) for fn in (scheme.velocity_fn, scheme.field_fn))
    for name, fn in (("scheme.velocity_fn", velocity_fn), ("scheme.field_fn", error_fn)):
        found, expected = (jax.tree.map(jnp.shape, tree) for tree in (jax.eval_shape(fn, unravel(x0)), unravel(x0)))
        if found != expected:
            raise ValueError(f"{name} must map a state to one like start, of shapes {expected}, got {found}")

    def flat(fn: FieldFn) -> Callable[[Float[Array, "state"]], Float[Array, "state"]]:
        return lambda x: ravel_pytree(fn(unravel(x)))[0]

    def velocity(_, state: tuple[Array, Array], end: Float[Array, ""]) -> tuple[Array, Array]:
        x, error = state
        x_dot, carried = jax.jvp(flat(velocity_fn), (x,), (error,))
        return end * x_dot, end * (carried + flat(error_fn)(x))

    if not times.size:
        nothing = jax.tree.map(lambda leaf: jnp.zeros((*times.shape, *leaf.shape), leaf.dtype), unravel(x0))
        return LeadingError(nothing, nothing)
    tolerance = max(1e-11, 100 * float(jnp.finfo(x0.dtype).eps))
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(x0), initial=0))
    size = jnp.where(size > 0, size, 1)

    def solve(end: Float[Array, ""]) -> tuple[Array, Array]:
        # in t/T, from 0 to 1: so the derivative in T is right, and T = 0 and T < 0 need no special case
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),
            diffrax.Dopri8(),
            t0=jnp.zeros_like(end),
            t1=jnp.ones_like(end),
            dt0=None,
            y0=(x0, jnp.zeros_like(x0)),
            args=end,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance * size),
            adjoint=diffrax.DirectAdjoint(),  # differentiable in forward and in reverse mode
        )
        assert solution.ys is not None
        return solution.ys[0][-1], solution.ys[1][-1]

    rows = jax.vmap(solve)(times.ravel())
    trees = [jax.vmap(unravel)(row) for row in rows]
    return LeadingError(*(jax.tree.map(lambda leaf: leaf.reshape(*times.shape, *leaf.shape[1:]), tree) for tree in trees))


@takes(num_steps=above(0, finite=True), errors=above(0, finite=True))
def observed_order(num_steps: Real[ArrayLike, "n"], errors: Real[ArrayLike, "*batch n"]) -> ObservedOrder:
    """The observed order of convergence, from nonzero errors at two or more numbers of steps, the finest last.

    >>> found = observed_order(jnp.array([8, 16, 32]), jnp.array([1.0, 0.25, 0.0625]))
    >>> round(float(found.slope), 6), round(float(found.last), 6)
    (2.0, 2.0)
    """
    counts = jnp.asarray(num_steps)
    last = np.asarray(counts)[-2:] if known(counts) else None
    if len(counts) < 2 or (last is not None and last[0] == last[1]):
        shown = " ".join(str(counts).split())
        raise ValueError(f"num_steps must be 2 or more numbers, the last two of them different, got {shown}")
    x, y = jnp.log(counts), jnp.log(errors)
    centred = x - jnp.mean(x)
    return ObservedOrder(
        slope=-jnp.einsum("...n,n->...", y, centred) / jnp.sum(centred**2),
        last=-(y[..., -1] - y[..., -2]) / (x[-1] - x[-2]),
    )


# ------------------------------------------------------------------------------------------------------------ Butcher's series


def _with_a_leaf(tree: Tree) -> list[Tree]:
    """The trees with one more vertex, some of them several times."""
    above = [(*tree[:i], grown, *tree[i + 1 :]) for i, child in enumerate(tree) for grown in _with_a_leaf(child)]
    return [tuple(sorted(children)) for children in ((*tree, ()), *above)]


def _size(tree: Tree) -> int:
    return 1 + sum(map(_size, tree))


def _density(tree: Tree) -> int:
    """gamma: the flow has the weight 1/gamma."""
    return _size(tree) * math.prod(map(_density, tree))


def _symmetry(tree: Tree) -> int:
    """sigma: the number of automorphisms of the tree."""
    return math.prod(math.factorial(tree.count(child)) for child in set(tree)) * math.prod(map(_symmetry, tree))


def _stages(tree: Tree, tableau: Tableau) -> list[float]:
    """The weight of the tree in each stage; their mean under `weights` is Phi."""
    below = [_stages(child, tableau) for child in tree]
    return [math.prod((_dot(row, child) for child in below), start=1.0) for row in tableau.matrix]


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _differentials(field_fn: FieldFn, terms: Sequence[tuple[float, Tree]]) -> FieldFn:
    """The sum of weight * D_tree S for terms (weight, tree); a subtree that several trees have is derived once."""

    def field(x: Any) -> State:
        x, known = _floats(x), {}

        def differential(tree: Tree) -> State:
            """The derivative of S in the directions of the subtrees at the root."""
            if tree not in known:
                derivative = field_fn
                for child in tree:
                    derivative = _directional(derivative, differential(child))
                known[tree] = derivative(x)
            return known[tree]

        return total(*((weight, lambda _, tree=tree: differential(tree)) for weight, tree in terms))(x)

    return field


def _directional(field_fn: FieldFn, direction: State) -> FieldFn:
    return lambda x: jax.jvp(field_fn, (x,), (direction,))[1]
