r"""A stack of residual layers whose order is an argument: layers exchanged, left out, repeated, or side by side.

$$
x_{l+1} = x_l + h f_l(x_l), \qquad l < L
$$

Layers side by side all read the same $x$, and their updates add up. With $s$ the `init_scale`:

| block | $f_l(x)$ | weights |
|---|---|---|
| `tanh` | $\tanh(W_l x + b_l)$ | entries of variance $s^2$/`dim` |
| `linear` | $W_l x + b_l$ | the same |
| `commuting` | $W_l x + b_l$ | $W_l = Q \operatorname{diag}(d_l) Q^\top$, entries of $d_l$ of variance $s^2$ |

with one rotation $Q$ for all layers. Weights of different layers are independent, or smooth in depth,

$$
W_l = \cos\left(\frac{u_l}{c}\right) A + \sin\left(\frac{u_l}{c}\right) B, \qquad u_l = \frac{l + 1/2}{L}
$$

for the correlation length $c$, so that $W_l$ and $W_m$ have correlation $\cos((u_l - u_m)/c)$, whatever the number of layers;
at $c = \infty$ all layers are the same. Biases start at 0.

`run_stack` does this for any block function and any stacked parameters. An order is a sequence of layers, and of tuples of
layers side by side: `(0, (1, 2), 4, 4)` runs layer 0, then 1 beside 2, leaves out 3, and runs 4 twice.

| paper | name here | shape | meaning |
|---|---|---|---|
| $x$ | `x` | (dim,) | state |
| $h$ | `step_size` | () | $1/L$ unless given |
| $L$ | `num_layers` | | layers |
| $W_l$, $b_l$ | `weight[l]`, `bias[l]` | (dim, dim), (dim,) | of layer $l$ |
| $\pi$ | `order` | | which layers run, in which order |

Source: the operations on layers are those of "Transformer layers as painters", arXiv 2407.09298, and "What matters in
transformers?", arXiv 2406.15786 (numbers recalled, abstracts read); this model is ours, the leading changes are in
`theory.transformers.layer_perturbation`.

Example. Layers that commute may change places, others may not.

>>> import jax, jax.numpy as jnp
>>> from closedform.models.transformers import residual_stack as stack
>>> x, swapped = jnp.ones(3), stack.swap(range(4), 1)
>>> def changed(kind):
...     params = stack.init(jax.random.key(0), stack.Config(dim=3, num_layers=4, kind=kind))
...     change = stack.apply(params, x, kind, swapped) - stack.apply(params, x, kind)
...     return bool(abs(change).max() > 1e-4)
>>> changed("commuting"), changed("linear")
(False, True)
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

from ...contract import Count, Infinite, NonNegative, Static, check
from ...documented import documented
from .._example import one_example

State: TypeAlias = Any  # a floating array or a pytree of them
Stacked: TypeAlias = Any  # parameters of all layers, a pytree: one leading axis, the layer
BlockFn: TypeAlias = Callable[[Any, State], State]  # (parameters of one layer, x) -> f(x), without the step
Order: TypeAlias = Sequence[int | Sequence[int]]

Kind = Literal["tanh", "linear", "commuting"]


@dataclass(frozen=True)
class Config:
    dim: Count = 8  # of the state
    num_layers: Count = 16  # paper L
    kind: Kind = "tanh"  # a row of the table above
    init_scale: Annotated[NonNegative, Static] = 1.0  # of the weights, as above
    # of the weights, the whole depth being 1; 0: independent layers; inf: all the same
    correlation_length: Annotated[NonNegative, Static, Infinite] = 0.0

    def __post_init__(self):
        check(self)


@documented
class Params(NamedTuple):
    weight: Float[Array, "*layer dim dim"]
    bias: Float[Array, "*layer dim"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Weights of every layer as the Config says, biases 0."""
    key_weight, key_basis = jax.random.split(key)
    dim, scale = config.dim, config.init_scale
    if config.kind == "commuting":
        basis = jax.random.orthogonal(key_basis, dim)
        values = scale * _over_depth(key_weight, (dim,), config)
        weight = jnp.einsum("ij,lj,kj->lik", basis, values, basis)
    else:
        weight = scale * _over_depth(key_weight, (dim, dim), config) / jnp.sqrt(dim)
    return Params(weight, jnp.zeros(weight.shape[:2], weight.dtype))


def _over_depth(key: PRNGKeyArray, shape: tuple[int, ...], config: Config) -> Float[Array, "layer *row"]:
    """Standard normal numbers for every layer."""
    if config.correlation_length == 0:
        return jax.random.normal(key, (config.num_layers, *shape))
    ends = jax.random.normal(key, (2, *shape))
    depth = (jnp.arange(config.num_layers, dtype=ends.dtype) + 0.5) / config.num_layers
    angle = depth / config.correlation_length
    return jnp.tensordot(jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1), ends, 1)


@one_example
def apply(
    params: Params,
    x: Float[Array, "dim"],
    kind: str = "tanh",
    order: Order | None = None,
    step_size: Real[ArrayLike, ""] | None = None,
) -> Float[Array, "dim"]:
    """The state behind the last layer of one example; `kind` as in the Config, the rest as in `run_stack`."""
    return run_stack(block(kind), params, x, order, step_size)


def block(kind: str = "tanh") -> BlockFn:
    """f of one layer: a function of its parameters and the state.

    >>> one = Params(jnp.array([[0.0, 2.0], [1.0, 0.0]]), jnp.ones(2))
    >>> block("linear")(one, jnp.array([3.0, 4.0])).tolist()
    [9.0, 4.0]
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind}")

    def update(params: Params, x: Float[Array, "dim"]) -> Float[Array, "dim"]:
        y = params.weight @ x + params.bias
        return jnp.tanh(y) if kind == "tanh" else y

    return update


# ------------------------------------------------------------------------------------------------------------ any blocks


def run_stack(
    block_fn: BlockFn,
    params: Stacked,
    x: State,
    order: Order | None = None,
    step_size: Real[ArrayLike, ""] | None = None,
) -> State:
    """The state behind the layers of `order`, by default every layer once; h is 1/L for all L layers of `params` by default.

    One scan over the layers that run: the program is as large for a thousand as for one. A random order that differs from
    run to run is a permutation of `params`.

    >>> double = lambda _, x: x
    >>> run_stack(double, jnp.zeros(3), jnp.array(1.0), step_size=1.0).tolist()
    8.0
    >>> run_stack(double, jnp.zeros(3), jnp.array(1.0), [0, (1, 2)], 1.0).tolist()  # side by side: 1 + 1, then 2 + 2 + 2
    6.0
    """
    depth = num_layers(params)
    groups = _groups(range(depth) if order is None else order, depth)
    h = 1 / depth if step_size is None else step_size
    layers = np.array([layer for group in groups for layer in group], int)
    chosen = jax.tree.map(lambda leaf: leaf[layers], params)

    def add(x: State, update: State) -> State:
        return jax.tree.map(lambda leaf, change: leaf + jnp.asarray(h, leaf.dtype) * change, x, update)

    if all(len(group) == 1 for group in groups):
        return jax.lax.scan(lambda x, one: (add(x, block_fn(one, x)), None), x, chosen)[0]

    def layer(carry: tuple[State, State], given: tuple[Any, Array]) -> tuple[tuple[State, State], None]:
        # what the group reads, and that with the updates so far
        (read, total), (one, begins) = carry, given
        read = jax.tree.map(lambda old, new: jnp.where(begins, new, old), read, total)
        return (read, add(total, block_fn(one, read))), None

    begins = jnp.asarray([place == 0 for group in groups for place in range(len(group))])
    return jax.lax.scan(layer, (x, x), (chosen, begins))[0][1]


def num_layers(params: Stacked) -> int:
    """The length of the leading axis; raises ValueError if arrays differ in it."""
    found = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(params)}
    if len(found) != 1 or found <= {(), (0,)}:
        raise ValueError(f"params must be arrays with one leading axis, the layer, of one size above 0, got sizes {found}")
    ((depth,),) = found
    return depth


def blocks_around(
    block_fn: BlockFn, params: Stacked, layer: int, window: int = 1, step_size: Real[ArrayLike, ""] | None = None
) -> list[Callable[[State], State]]:
    """The stack as window + 2 functions x -> f(x): all layers before `layer` as one, `window` layers, all behind as one.

    For the functions of `theory.transformers.layer_perturbation`: layer `layer` of the stack is layer 1 of these, with the same
    h.
    """
    depth = num_layers(params)
    if not (window >= 1 and 0 <= layer <= depth - window):
        raise ValueError(f"layer and window must name layers from 0 to {depth - 1}, got {layer} and {window}")
    h = 1 / depth if step_size is None else step_size

    def stretch(layers: range) -> Callable[[State], State]:
        def update(x: State) -> State:
            end = run_stack(block_fn, params, x, layers, h)
            return jax.tree.map(lambda a, b: (a - b) / jnp.asarray(h, a.dtype), end, x)

        return update

    def single(index: int) -> Callable[[State], State]:
        one = jax.tree.map(lambda leaf: leaf[index], params)
        return lambda x: block_fn(one, x)

    inside = [single(index) for index in range(layer, layer + window)]
    return [stretch(range(layer)), *inside, stretch(range(layer + window, depth))]


def _groups(order: Order, depth: int) -> list[tuple[int, ...]]:
    """Every entry as a tuple of layers."""
    groups = []
    for entry in order:
        try:
            group = tuple(map(operator.index, entry)) if isinstance(entry, Sequence) else (operator.index(entry),)
        except TypeError:
            raise ValueError(f"order must hold whole numbers and tuples of them, got {entry}") from None
        if not group or not all(0 <= layer < depth for layer in group):
            raise ValueError(f"order must hold layers from 0 to {depth - 1} and tuples of one or more of them, got {entry}")
        groups.append(group)
    return groups


# ---------------------------------------------------------------------------------------------------------------- orders


def swap(order: Order, place: int) -> Order:
    """The order with the entries at `place` and the next one exchanged.

    >>> swap(range(4), 1)
    [0, 2, 1, 3]
    """
    return reverse(order, place, 2)


def skip(order: Order, place: int) -> Order:
    """The order without the entry at `place`.

    >>> skip(range(4), 1)
    [0, 2, 3]
    """
    before, _, behind = _split(order, place, 1)
    return [*before, *behind]


def repeat(order: Order, place: int) -> Order:
    """The order with the entry at `place` twice.

    >>> repeat(range(3), 1)
    [0, 1, 1, 2]
    """
    before, inside, behind = _split(order, place, 1)
    return [*before, *inside, *inside, *behind]


def parallel(order: Order, place: int, window: int = 2) -> Order:
    """The order with the `window` layers from `place` on side by side.

    >>> parallel(range(5), 1, 3)
    [0, (1, 2, 3), 4]
    """
    before, inside, behind = _split(order, place, window)
    if any(isinstance(entry, Sequence) for entry in inside):
        raise ValueError(f"order must hold single layers from {place} to {place + window - 1}, got {inside}")
    return [*before, tuple(map(operator.index, inside)), *behind]


def reverse(order: Order, place: int, window: int) -> Order:
    """The order with the `window` entries from `place` on in reverse.

    >>> reverse(range(5), 1, 3)
    [0, 3, 2, 1, 4]
    """
    before, inside, behind = _split(order, place, window)
    return [*before, *inside[::-1], *behind]


def _split(order: Order, place: int, window: int) -> tuple[list, list, list]:
    entries = list(order)
    if not (window >= 1 and 0 <= place <= len(entries) - window):
        raise ValueError(f"place and window must lie within the {len(entries)} entries of the order, got {place} and {window}")
    return entries[:place], entries[place : place + window], entries[place + window :]
