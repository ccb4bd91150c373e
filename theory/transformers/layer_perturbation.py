r"""Residual layers swapped, permuted, skipped or run in parallel: the change of the output to leading order of the step.

Formula. $x_{l+1} = x_l + h f_l(x_l)$, $l < L$. $J$ is the Jacobian from the state behind the layers named to the output, $x_k$
is the input of the first of them, $[f, g] = Dg\, f - Df\, g$. Perturbed output minus output:

| change | effect |
|---|---|
| skip $k$ | $-h J f_k(x_k) + O(h^2)$; running $k$ twice, the negative |
| swap $k$ and $k + 1$ | $h^2 J [f_{k+1}, f_k](x_k) + O(h^3)$, where $[f_{k+1}, f_k] = Df_k\, f_{k+1} - Df_{k+1}\, f_k$ |
| permute | $h^2 J \sum_{\text{inverted } i<j} [f_j, f_i](x_k) + O(h^3)$ |
| $K$ layers in parallel | $-h^2 J \sum_{i<j} Df_j\, f_i(x_k) + O(h^3)$, of $K (K - 1)/2$ pairs |

A random order of $K$ layers, i.i.d. with uncorrelated brackets, changes the output in the mean square by $h^4 K (K - 1)/4$
times the mean square of $J [f_j, f_i]$. The cosine of a layer's input and output is

$$
1 - \frac{h^2}{2} \left( \frac{\|f\|^2}{\|x\|^2} - \frac{(f \cdot x)^2}{\|x\|^4} \right) + O(h^3)
$$

So at $h = 1/L$, with few layers changed: skip $L^{-1}$, swap and parallel pair $L^{-2}$. For weights smooth in depth the
bracket of neighbours is itself $O(h)$: swap $L^{-3}$. All layers in parallel change the output by $O(1)$ for weights smooth in
depth, but by $L^{-1}$ for independent layers of mean zero, whose $L (L - 1)/2$ pairs have random signs. Layers that commute may
come in any order.

Regime. $h \to 0$ with the number of changed layers fixed, smooth layers. Exact for linear layers: swap, skip, parallel pair.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $f_l$ | `block_fns[l]` | | update of layer $l$: a function of the state, an array or any pytree |
| $x$ | `x` | state | input of layer 0 |
| $h$ | `step_size` | () | $1/L$ (neural ODE) or 1 |
| $k$ | `layer` | int | the layer skipped, the first of those swapped or in parallel |
| $K$ | `window` | () | number of consecutive layers |
| $\pi$ | `order` | L | layers in the order in which they run |

Factors. The predictions are differences of outputs, signed. With layer norm in front of a block the step that counts is
`effective_step`, $h \|f\|/\|x\|$, which falls as the residual stream grows. A long stretch of layers may be given as one block,
$x \to (\operatorname{run}(x) - x)/h$ with a scan for run: the program of a deep stack stays small, and `layer` counts blocks.

Source. The questions are those of "Transformer layers as painters", arXiv 2407.09298, and "What matters in transformers?",
arXiv 2406.15786 (numbers recalled, abstracts read). Every prediction is derived here.

Finite size. Relative error $O(h)$: for tanh layers of 8 units, i.i.d. weights, one swap in the middle, a few percent at $L = 8$
and half a percent at $L = 64$. High similarity of input and output says that $h$ is small, not that the layer can be removed:
that depends on $J$. Rounding is of the size of the two terms of a bracket: layers that nearly commute leave few digits of it.

Example. A linear layer that rotates and one that stretches do not commute: the predicted change of a swap, and the change
itself.

>>> import jax.numpy as jnp
>>> from closedform.theory.transformers.layer_perturbation import swap_error
>>> rotate, stretch = lambda x: jnp.array([-x[1], x[0]]), lambda x: jnp.array([x[0], -x[1]])
>>> x, h = jnp.array([1.0, 2.0]), 0.1
>>> predicted = swap_error([rotate, stretch], x, 0, h)
>>> run = lambda x, f, g: (x + h * f(x)) + h * g(x + h * f(x))
>>> actual = run(x, stretch, rotate) - run(x, rotate, stretch)
>>> [[round(float(change), 4) for change in state] for state in (predicted, actual)]
[[0.04, 0.02], [0.04, 0.02]]
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ArrayLike, at_least, known, takes
from .splitting import FieldFn, State, along, bracket, total


@documented
class Slopes(NamedTuple):
    """Exponents of L in the change of the output at h = 1/L, with few layers changed unless the name says all."""

    skip: int = -1
    swap: int = -2
    parallel: int = -2
    permutation: int = -2
    parallel_all: int = 0  # weights smooth in depth
    parallel_all_independent: int = -1  # i.i.d. layers of mean zero
    swap_smooth_in_depth: int = -3


SLOPES = Slopes()


@takes(x=FINITE, step_size=at_least(0, finite=True))
def skip_error(block_fns: Sequence[FieldFn], x: State, layer: int, step_size: Real[ArrayLike, ""]) -> State:
    """-h J f_k(x_k): output without the layer minus output.

    >>> halve = lambda x: -x / 2
    >>> skip_error([halve, halve], jnp.array([4.0]), 0, 1.0).tolist()  # 2 - 1
    [1.0]
    """
    _check_window(block_fns, layer, 1)
    return _carried(block_fns, x, layer, layer + 1, step_size, lambda h: total((-h, block_fns[layer])))


@takes(x=FINITE, step_size=at_least(0, finite=True))
def swap_error(block_fns: Sequence[FieldFn], x: State, layer: int, step_size: Real[ArrayLike, ""]) -> State:
    """h^2 J (Df_k f_(k+1) - Df_(k+1) f_k)(x_k): output with layers k and k + 1 exchanged minus output.

    >>> add, halve = lambda x: jnp.ones_like(x), lambda x: -x / 2
    >>> swap_error([add, halve], jnp.array([2.0]), 0, 1.0).tolist()  # 2/2 + 1 - (2 + 1)/2
    [0.5]
    """
    _check_window(block_fns, layer, 2)
    field_fn = bracket(block_fns[layer + 1], block_fns[layer])
    return _carried(block_fns, x, layer, layer + 2, step_size, lambda h: total((h**2, field_fn)))


@takes(x=FINITE, step_size=at_least(0, finite=True))
def permutation_error(block_fns: Sequence[FieldFn], x: State, order: Iterable[Any], step_size: Real[ArrayLike, ""]) -> State:
    """h^2 J sum over the pairs i < j that `order` inverts of (Df_i f_j - Df_j f_i)(x_k), k the first layer out of place."""
    depth = len(block_fns)
    try:
        order = [operator.index(layer) for layer in order]
    except TypeError:
        raise ValueError(f"order must hold whole numbers, got {' '.join(str(order).split())}") from None
    if sorted(order) != list(range(depth)):
        raise ValueError(f"order must hold each of the {depth} layers once, got {order}")
    inverted = [(i, j) for place, j in enumerate(order) for i in order[place + 1 :] if i < j]
    moved = [place for place, layer in enumerate(order) if place != layer] or [0]
    pairs = [bracket(block_fns[j], block_fns[i]) for i, j in inverted]
    return _carried(block_fns, x, moved[0], moved[-1] + 1, step_size, lambda h: total(*[(h**2, pair) for pair in pairs]))


@takes(x=FINITE, step_size=at_least(0, finite=True))
def parallel_error(
    block_fns: Sequence[FieldFn], x: State, layer: int, step_size: Real[ArrayLike, ""], window: int = 2
) -> State:
    """-h^2 J sum_(i<j) Df_j f_i(x_k): output with `window` layers from `layer` on reading the same state minus output.

    >>> add, halve = lambda x: jnp.ones_like(x), lambda x: -x / 2
    >>> parallel_error([add, halve], jnp.array([2.0]), 0, 1.0).tolist()  # 2 + 1 - 2/2 - (2 + 1)/2
    [0.5]
    """
    _check_window(block_fns, layer, window)
    layers = range(layer, layer + window)
    pairs = [along(block_fns[j], block_fns[i]) for j in layers for i in range(layer, j)]
    return _carried(block_fns, x, layer, layer + window, step_size, lambda h: total(*[(-(h**2), pair) for pair in pairs]))


@takes(window=at_least(1, finite=True), bracket_ms=at_least(0, finite=True), step_size=at_least(0, finite=True))
def window_permutation_ms(
    window: Real[ArrayLike, "*#shape"], bracket_ms: Real[ArrayLike, "*#shape"], step_size: Real[ArrayLike, "*#shape"]
) -> Float[Array, "*shape"]:
    """Mean square change of the output by a random order of K layers: h^4 K (K - 1)/4 times bracket_ms.

    bracket_ms is the mean square of J [f_j, f_i]; a single swap changes the output by h^4 bracket_ms in the mean square.

    >>> round(float(window_permutation_ms(8, 3.0, 0.1)), 6)
    0.0042
    """
    size, ms, h = jnp.broadcast_arrays(window, bracket_ms, step_size)
    return (h**2 * size * (size - 1) / 4) * (h**2 * ms)  # h^4 alone underflows


@takes(x=FINITE, step_size=at_least(0, finite=True))
def similarity_gap(block_fn: FieldFn, x: State, step_size: Real[ArrayLike, ""]) -> Float[Array, ""]:
    """(h^2/2) (|f|^2/|x|^2 - (f.x)^2/|x|^4): one minus the cosine of x and x + h f(x), x not 0. Never negative.

    >>> round(float(similarity_gap(lambda x: x[::-1], jnp.array([2.0, 0.0]), 0.1)), 6)
    0.005
    """
    f, v, ratio = _in_units(block_fn, x)
    across = f - (f @ v) / (v @ v) * v  # |f|^2 - (f.x)^2/|x|^2 is its square
    return (step_size * ratio) ** 2 / 2 * (across @ across) / (v @ v)


@takes(x=FINITE, step_size=at_least(0, finite=True))
def effective_step(block_fn: FieldFn, x: State, step_size: Real[ArrayLike, ""]) -> Float[Array, ""]:
    """h |f(x)|/|x|, x not 0: the step that counts where a norm in front of the block fixes the size of f.

    Where f is 0, a kink unless f is 0 in a neighbourhood, the derivative in x is returned as 0.
    """
    f, v, ratio = _in_units(block_fn, x)
    square = f @ f
    nothing = square == 0
    return step_size * ratio * jnp.where(nothing, 0, jnp.sqrt(jnp.where(nothing, 1, square) / (v @ v)))


def _carried(
    block_fns: Sequence[FieldFn],
    x: State,
    start: int,
    stop: int,
    step_size: Real[ArrayLike, ""],
    change_fn: Callable[[Float[Array, ""]], FieldFn],
) -> State:
    """J times the change of layers start..stop - 1, taken at the input of the first of them."""
    h = jnp.asarray(step_size)

    def run(block_fns: Sequence[FieldFn], x: State) -> State:
        for block_fn in block_fns:
            x = jax.tree.map(lambda leaf, update: leaf + h * update, x, total((1, block_fn))(x))
        return x

    entering = run(block_fns[:start], x)
    leaving = run(block_fns[start:stop], entering)
    return jax.jvp(lambda x: run(block_fns[stop:], x), (leaving,), (change_fn(h)(entering),))[1]


def _in_units(block_fn: FieldFn, x: State) -> tuple[Array, Array, Array]:
    """f and x as vectors, each over its largest entry, so that squares are in range, and the ratio of these entries."""
    f, v = (jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(state)]) for state in (total((1, block_fn))(x), x))
    if known(v) and not np.any(v):
        raise ValueError("x must not be 0")
    of_f, of_x = (jax.lax.stop_gradient(jnp.max(jnp.abs(vector))) for vector in (f, v))
    of_f = jnp.where(of_f > 0, of_f, 1)
    return f / of_f, v / of_x, of_f / of_x


def _check_window(block_fns: Sequence[FieldFn], layer: int, window: int) -> None:
    depth = len(block_fns)
    if window < 1:
        raise ValueError(f"window must be 1 or more, got {window}")
    if not 0 <= layer <= depth - window:
        raise ValueError(f"layer must leave room for {window} of the {depth} layers, from 0 to {depth - window}, got {layer}")
