r"""Only maximal update changes every layer by the same amount at every width: slopes of a coordinate check.

A network with $L$ hidden layers of $n$ units takes steps of gradient descent on a few inputs. The root mean square over units
of its pre-activations, and of their change since the start, is a power of the width. Its slope is predicted at the start and
after the first step:

$$
\frac{d \ln \operatorname{rms}(h_l)}{d \ln n} \to s_l, \qquad \frac{d \ln \operatorname{rms}(\Delta h_l)}{d \ln n} \to u_l
$$

Under standard scaling the hidden layers above the first change by $n^{1/2}$ and the output by $n$, so that the learning rate
must fall with the width. In the deep mean-field scaling every layer averages over the units below, and signals fade in both
directions. Under maximal update all $u_l$ are 0, also at later steps.

Biases are 0 and are not trained. The loss is the squared error of the output less the output at the start. Its derivative in
the first step is therefore the label, of order 1 in every scaling.

Source: G. Yang and E. J. Hu, arXiv 2011.14522 (scalings, maximal update; recalled); the slopes are derived here
Cost: 30 s
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Tolerance, check
from ...models.fully_connected import deep
from ...theory.feature_learning import width_scaling
from .. import _measure


@dataclass(frozen=True)
class Config:
    scaling: Literal["standard", "mean_field", "maximal_update"] = "maximal_update"  # of weights and rates
    widths: Annotated[tuple[Annotated[int, Ge(2)], ...], MinLen(2), Distinct] = (128, 256, 512, 1024)  # units of each layer
    depth: Count = 3  # hidden layers (L)
    dim: Count = 2  # of the inputs: small beside the widths
    num_samples: Count = 4  # inputs, each with a label of +-1
    learning_rate: Positive = 0.02  # before the factors of the scaling (eta)
    num_steps: Count = 4  # of gradient descent

    def __post_init__(self):
        check(self)

    def network(self, width: int) -> deep.Config:
        return deep.Config(self.dim, (width,) * self.depth, 1, scaling=self.scaling)


class Result(NamedTuple):
    initial_slope: Float[Array, "layer"]  # of ln rms(h_l) at the start against ln width; the last layer is the output
    first_slope: Float[Array, "layer"]  # of ln rms(h_l - h_l at the start) after one step
    change: Float[Array, "width update layer"] | None = None  # rms(h_l - h_l at the start) after each step
    size: Float[Array, "width layer"] | None = None  # rms(h_l) at the start


def labels(config: Config) -> dict[str, tuple]:
    return {
        "layer": (*(f"hidden {layer}" for layer in range(1, config.depth + 1)), "output"),
        "width": config.widths,
        "update": tuple(range(1, config.num_steps + 1)),
    }


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key_data, key_labels, *keys = jax.random.split(key, 2 + len(config.widths))
    x = jax.random.normal(key_data, (config.num_samples, config.dim))
    y = jax.random.rademacher(key_labels, (config.num_samples,), dtype=x.dtype)
    sizes, changes = zip(
        *(_steps(one, x, y, width, config) for one, width in zip(keys, config.widths, strict=True)), strict=True
    )
    size, change = jnp.stack(sizes), jnp.stack(changes)
    return Result(_measure.log_slope(config.widths, size.T), _measure.log_slope(config.widths, change[:, 0].T), change, size)


def _steps(
    key: PRNGKeyArray, x: Float[Array, "sample dim"], y: Float[Array, "sample"], width: int, config: Config
) -> tuple[Float[Array, "layer"], Float[Array, "update layer"]]:
    """The sizes at the start, and the changes after each step, of one network."""
    network = config.network(width)
    factors = deep.learning_rate_factors(network)
    rates = tuple(config.learning_rate * factor for factor in factors.weights)

    def layers(params: deep.Params) -> tuple[Array, ...]:
        return jax.vmap(lambda one: deep.preactivations(params, one, network))(x)

    def rms(parts: tuple[Array, ...]) -> Float[Array, "layer"]:
        return jnp.sqrt(jnp.stack([jnp.mean(part**2) for part in parts]))

    start = deep.init(key, network)
    before = layers(start)

    def loss(params: deep.Params) -> Float[Array, ""]:
        return jnp.mean(((layers(params)[-1] - before[-1])[:, 0] - y) ** 2) / 2

    def step(params: deep.Params, _: None) -> tuple[deep.Params, Array]:
        gradient = jax.grad(loss)(params).weights
        moved = (w - rate * g for w, rate, g in zip(params.weights, rates, gradient, strict=True))
        params = params._replace(weights=tuple(moved))
        return params, rms(jax.tree.map(lambda after, first: after - first, layers(params), before))

    return rms(before), jax.lax.scan(step, start, None, length=config.num_steps)[1]


def predict(config: Config) -> Result:
    exponents = width_scaling.exponents(width_scaling.scaling(config.scaling, config.depth))
    return Result(exponents.preactivation, exponents.change)


TOLERANCE = {
    "initial_slope": Tolerance(0.0, 0.03, reason="corrections of O(1/width) at the smallest width"),
    "first_slope": Tolerance(0.0, 0.05, reason="corrections of O(1/width), and of second order in the learning rate"),
}
QUICK = {"widths": (8, 16), "depth": 2, "num_steps": 2, "num_samples": 2}
SEEDS = 32
GRID = {"scaling": ("standard", "mean_field", "maximal_update")}
