r"""Leaving out one of L residual layers changes the output by 1/L, swapping two or running them in parallel by 1/L^2.

For residual layers $x + f_l(x)/L$ one derivative of the changed layers, carried to the output by the Jacobian of the layers
behind, predicts the change of the output. A swap of neighbours changes the output by their Lie bracket, which is itself of
order $1/L$ if the weights are smooth in depth. Running all layers in parallel changes the output by $O(1)$ at any depth if the
weights are smooth in depth; for independent layers the change falls as $1/L$, since the signs of pairs are random.

$$
\begin{align*}
\Delta &= {-h\, J f_k} & & \text{without layer } k \\
\Delta &= h^2 J \sum_{i<j} \left[ f_j, f_i \right] & & \text{two exchanged, } K \text{ reversed} \\
\Delta &= {-h^2 J \sum_{i<j} Df_j\, f_i} & & \text{two or } K \text{ side by side}
\end{align*}
$$

with $h = 1/L$, $[f, g] = Dg\, f - Df\, g$, sums over the changed layers ($K$: `window`) at the state that enters the first, and
$J$ the Jacobian from behind them to the output; all to leading order; slopes are $-1$, $-2$ ($-3$ if smooth in depth) and $-2$,
of all side by side $-1$ (0 if smooth).

Source: derived here; the operations are those of arXiv 2407.09298 and arXiv 2406.15786 (numbers recalled)
Cost: 20 s
"""

from dataclasses import dataclass, field, replace
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Precision, Tolerance, check
from ...models.transformers import residual_stack as stack
from ...theory.transformers import layer_perturbation as perturbation
from .. import _measure

KINDS = ("skip", "swap", "parallel pair", "reversal", "parallel window")


@dataclass(frozen=True)
class Config:
    model: stack.Config = field(default_factory=lambda: stack.Config(num_layers=8))  # of the least depth
    num_doublings: Count = 4  # depths: the model's number of layers, times 2, times 4, ..
    window: Annotated[int, Ge(2)] = 4  # layers that are reversed, or run side by side, where more than two are changed
    num_test: Count = 100  # standard normal inputs
    dtype: Precision = "float64"  # a swap of smooth weights moves the output of 128 layers by a millionth

    def __post_init__(self):
        check(self)
        if self.model.kind == "commuting":
            raise ValueError("model.kind must be tanh or linear, got commuting: layers that commute may come in any order")
        if not (self.model.init_scale > 0 and self.model.correlation_length < float("inf")):
            raise ValueError(
                "model.init_scale must be positive and model.correlation_length finite (layers that differ), "
                f"got {self.model.init_scale} and {self.model.correlation_length}"
            )
        if self.window > self.model.num_layers // 2:
            raise ValueError(f"window must be at most half of model.num_layers = {self.model.num_layers}, got {self.window}")

    @property
    def depths(self) -> tuple[int, ...]:
        return tuple(self.model.num_layers * 2**doubling for doubling in range(self.num_doublings + 1))


class State(NamedTuple):
    params: tuple[stack.Params, ...]  # of every depth
    x: Float[Array, "input dim"]


class Result(NamedTuple):
    """Changes of the output, mean norm over the inputs."""

    change: Float[Array, "kind depth"]
    slope: Float[Array, "kind"]  # of log change against log depth, least squares
    everything_slope: Float[Array, ""]  # of the change by all layers side by side
    everything: Float[Array, "depth"] | None = None  # change by all layers side by side
    missed: Float[Array, "kind depth"] | None = None  # norm of measured minus predicted change over the norm of the change


def labels(config: Config) -> dict[str, tuple]:
    return {"kind": KINDS, "depth": config.depths}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_x, *keys = jax.random.split(key, 2 + config.num_doublings)
    models = [replace(config.model, num_layers=depth) for depth in config.depths]
    params = tuple(stack.init(one, model) for one, model in zip(keys, models, strict=True))
    return State(params, jax.random.normal(key_x, (config.num_test, config.model.dim)))


def simulate(state: State, config: Config) -> Result:
    rows, missed, everything = [], [], []
    for params, depth in zip(state.params, config.depths, strict=True):
        layers, middle = range(depth), depth // 2

        def output(order: stack.Order, params: stack.Params = params) -> Float[Array, "input dim"]:
            return jax.vmap(lambda x: stack.apply(params, x, config.model.kind, order))(state.x)

        orders = (
            stack.skip(layers, middle),
            stack.swap(layers, middle),
            stack.parallel(layers, middle),
            stack.reverse(layers, middle, config.window),
            stack.parallel(layers, middle, config.window),
        )
        straight = output(layers)
        changes = jnp.stack([output(order) - straight for order in orders])
        rows.append(_size(changes))
        missed.append(_size(changes - _predicted(params, state.x, depth, config)) / rows[-1])
        everything.append(_size(output([tuple(layers)]) - straight))
    change, together = jnp.stack(rows, axis=1), jnp.stack(everything)
    slope, together_slope = (_measure.log_slope(config.depths, one) for one in (change, together))
    return Result(change, slope, together_slope, together, jnp.stack(missed, axis=1))


def predict(state: State, config: Config) -> Result:
    pairs = zip(state.params, config.depths, strict=True)
    change = jnp.stack([_size(_predicted(params, state.x, depth, config)) for params, depth in pairs], axis=1)
    smooth = config.model.correlation_length > 0
    exponents = perturbation.SLOPES
    of_order = exponents.swap_smooth_in_depth if smooth else exponents.permutation
    slope = [exponents.skip, of_order, exponents.parallel, of_order, exponents.parallel]
    together = exponents.parallel_all if smooth else exponents.parallel_all_independent
    return Result(change, jnp.asarray(slope, change.dtype), jnp.asarray(together, change.dtype))


def _predicted(
    params: stack.Params, x: Float[Array, "input dim"], depth: int, config: Config
) -> Float[Array, "kind input dim"]:
    """The leading change of every kind."""
    window, h = config.window, 1 / depth
    blocks = stack.blocks_around(stack.block(config.model.kind), params, depth // 2, window)
    reverse = [0, *range(window, 0, -1), window + 1]

    def one(x: Array) -> Array:
        changes = (
            perturbation.skip_error(blocks, x, 1, h),
            perturbation.swap_error(blocks, x, 1, h),
            perturbation.parallel_error(blocks, x, 1, h),
            perturbation.permutation_error(blocks, x, reverse, h),
            perturbation.parallel_error(blocks, x, 1, h, window),
        )
        return jnp.stack(changes)

    return jax.vmap(one, out_axes=1)(x)


def _size(changes: Float[Array, "*kind input dim"]) -> Float[Array, "*kind"]:
    return jnp.mean(jnp.linalg.norm(changes, axis=-1), axis=-1)


TOLERANCE = {
    "change": Tolerance(
        0.04,
        reason="the next order in the number of changed layers over L: 3 % where four of eight smooth layers are side by "
        "side, some tenths of a percent for one or two layers",
    ),
    "slope": Tolerance(absolute=0.05, reason="the next order in 1/L, at the few layers where the line begins"),
    "everything_slope": Tolerance(absolute=0.05, reason="L layers have L (L - 1)/2 pairs, not L^2/2: 0.02"),
}
QUICK = {"num_doublings": 1, "window": 2, "num_test": 5}
SEEDS = 64
GRID = {"model.correlation_length": (0.0, 0.6)}
