r"""Of two parities that a ReLU network computes equally well, the one of higher degree has the smaller share of its activity.

The easy feature is a bit, the hard one a parity of 1, 2 or 4 other bits, in networks of one to three hidden layers with biases,
trained on all inputs. Nothing is predicted of their shares. For the degree 1 both features are alike, so that their difference
is

$$
\mathbb{E}\, [\text{share}_1 - \text{share}_2] = 0
$$

which is the control.

Source: after Lampinen, Chan and Hermann, arXiv 2405.05847, whose question it is (abstract read); runs are ours
Cost: 42 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Tolerance, check
from ...models.fully_connected import deep, representation
from ...tasks import boolean_features

CONTROL = 1  # the degree at which both features are alike
Degrees = Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1), Distinct]


@dataclass(frozen=True)
class Config:
    degrees: Degrees = (1, 2, 4)  # of the hard feature; the first must be 1, the control
    width: Count = 96  # units of every hidden layer
    hidden_layers: Count = 2  # of that width
    learning_rate: Positive = 0.05  # step size on half of the squared error
    num_steps: Count = 3500  # updates on all inputs

    def __post_init__(self):
        check(self)
        if self.degrees[0] != CONTROL:
            raise ValueError(f"degrees must begin with {CONTROL}, the control; got {self.degrees}")
        if max(self.degrees) >= boolean_features.MAX_BITS:
            raise ValueError(f"degrees must be below {boolean_features.MAX_BITS}, got {self.degrees}")


class State(NamedTuple):
    params: deep.Params  # of all degrees on a leading axis


class Result(NamedTuple):
    control: Float[Array, ""]  # difference of the two shares at degree 1
    shares: Float[Array, "degree output"] | None = None  # of the last hidden layer
    losses: Float[Array, "degree output"] | None = None  # half of the mean squared error


def labels(config: Config) -> dict[str, tuple]:
    return {"degree": config.degrees, "output": ("easy", "hard")}


def init(key: PRNGKeyArray, config: Config) -> State:
    keys = jax.random.split(key, len(config.degrees))
    return State(jax.vmap(lambda key: deep.init(key, _model(config)))(keys))


def step(state: State, config: Config) -> State:
    def descend(params: deep.Params, y: Float[Array, "input output"]) -> deep.Params:
        gradient = jax.grad(lambda params: jnp.sum(_losses(params, y, config)))(params)
        return jax.tree.map(lambda p, g: p - config.learning_rate * g, params, gradient)

    return State(jax.vmap(descend)(state.params, _targets(config)))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    x, targets = _inputs(config), _targets(config)

    def one(params: deep.Params, y: Float[Array, "input output"]) -> Float[Array, "output"]:
        last = jax.vmap(lambda x: deep.preactivations(params, x, _model(config))[-2])(x)
        return representation.feature_share(jax.nn.relu(last), y)

    shares = jax.vmap(one)(state.params, targets)
    losses = jax.vmap(lambda params, y: _losses(params, y, config))(state.params, targets)
    return Result(shares[0, 0] - shares[0, 1], shares, losses)


def predict(config: Config) -> Result:
    """The two features of degree 1, and their outputs, are alike in law."""
    return Result(jnp.zeros(()))


def _model(config: Config) -> deep.Config:
    widths = (config.width,) * config.hidden_layers
    return deep.Config(1 + max(config.degrees), widths, 2, "relu")


def _inputs(config: Config) -> Float[Array, "input bit"]:
    return boolean_features.cube(1 + max(config.degrees))


def _targets(config: Config) -> Float[Array, "degree input output"]:
    """The first bit, and the product of the bits after it."""
    subsets = [((0,), tuple(range(1, 1 + degree))) for degree in config.degrees]
    return jnp.stack([boolean_features.evaluate(pair, _inputs(config)) for pair in subsets])


def _losses(params: deep.Params, y: Float[Array, "input output"], config: Config) -> Float[Array, "output"]:
    f = jax.vmap(lambda x: deep.apply(params, x, _model(config)))(_inputs(config))
    return jnp.mean((f - y) ** 2, axis=0) / 2


TOLERANCE = {"control": Tolerance(reason="exact on average over the starts: the two features are alike")}
QUICK = {"degrees": (1, 2), "width": 4, "hidden_layers": 1, "num_steps": 5}
SEEDS = 8
GRID = {"hidden_layers": (1, 2, 3)}
