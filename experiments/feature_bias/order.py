r"""A linear network forgets the order in which it learned two features; a ReLU network of small start does not.

Both networks learn two features at once, or one first and then both, to convergence in either phase. The linear network learns
two bits, of equal scale, and its shares end at

$$
\text{share}_1 = \text{share}_2 = \frac{1}{2}
$$

for every order. The ReLU network learns $x_1$ and $x_2 x_3$, and nothing is predicted of it. From a small start $x_2 x_3$
first leaves smaller shares of both; $x_1$ first aligns all units with $x_1$, and $x_2 x_3$ is then not learned. From a larger
start hardly anything is left of the order.

Source: derived here (linear network); that order leaves a bias is of Lampinen, Chan and Hermann, arXiv 2405.05847 (abstract
read)
Cost: 10 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...contract import Count, Positive, Tolerance, check
from ...models.fully_connected import balanced_relu
from ...models.linear import deep_linear
from ...theory.linear_networks import modes
from . import _linear, _relu

ORDERS = {"both at once": (1.0, 1.0), "easy first": (1.0, 0.0), "hard first": (0.0, 1.0)}  # outputs of the first phase


@dataclass(frozen=True)
class Config:
    model: balanced_relu.Config = field(default_factory=lambda: balanced_relu.Config(width=64, init_scale=0.3))
    linear_width: Count = 8  # hidden units of the linear network
    linear_scale: Positive = 0.01  # its weights start as N(0, linear_scale^2/inputs of the layer)
    learning_rate: Positive = 0.05  # step size on half of the squared error, of both networks
    num_first: Count = 2000  # updates of the first phase
    num_steps: Count = 4000  # updates of both phases together

    def __post_init__(self):
        check(self)
        _relu.check_model(self.model)
        if self.num_first >= self.num_steps:
            raise ValueError(f"num_first must be below num_steps {self.num_steps}, got {self.num_first}")


class State(NamedTuple):
    """Networks of all orders on a leading axis, from the same start."""

    relu: balanced_relu.Params
    linear: deep_linear.Params
    steps: Int[Array, ""]  # updates so far


class Result(NamedTuple):
    linear_shares: Float[Array, "order output"]  # of the explained variance of the linear network
    relu_shares: Float[Array, "order feature"] | None = None  # of the hidden variance of the ReLU network
    linear_losses: Float[Array, "order output"] | None = None  # half of the squared error that is left
    relu_losses: Float[Array, "order output"] | None = None  # of the ReLU network


def labels(config: Config) -> dict[str, tuple]:
    return {"order": tuple(ORDERS), "output": ("first", "second"), "feature": _relu.NAMES}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_relu, key_linear = jax.random.split(key)
    linear = _linear.start(key_linear, (config.model.dim, config.linear_width, 2), "gaussian", config.linear_scale)
    starts = balanced_relu.init(key_relu, config.model), linear
    relu, linear = jax.tree.map(lambda p: jnp.repeat(p[None], len(ORDERS), axis=0), starts)
    return State(relu, linear, jnp.zeros((), int))


def step(state: State, config: Config) -> State:
    first = jnp.asarray(tuple(ORDERS.values()), state.relu.w.dtype)
    trained = jnp.where(state.steps < config.num_first, first, 1)
    task, rate = _task(config), config.learning_rate

    def one(relu: balanced_relu.Params, linear: deep_linear.Params, on: Float[Array, "output"]):
        gradient = jax.grad(lambda params: jnp.sum(on * _linear.losses(params, task)))(linear)
        after = jax.tree.map(lambda p, g: p - rate * g, linear, gradient)
        return _relu.descend(relu, jnp.ones_like(on), on, rate), after

    return State(*jax.vmap(one)(state.relu, state.linear, trained), state.steps + 1)


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    task, ones = _task(config), jnp.ones(len(_relu.TARGETS))
    return Result(
        jax.vmap(lambda params: _linear.shares(params, task)[0])(state.linear),
        jax.vmap(_relu.shares)(state.relu),
        jax.vmap(lambda params: _linear.losses(params, task))(state.linear),
        jax.vmap(lambda params: _relu.losses(params, ones))(state.relu),
    )


def predict(config: Config) -> Result:
    shares = modes.layer_share(jnp.ones(2), jnp.ones(2), 1, 2)
    return Result(jnp.repeat(shares[None], len(ORDERS), axis=0))


def _task(config: Config) -> _linear.Task:
    """The first two bits, each with the scale 1."""
    return _linear.task(jnp.eye(config.model.dim), jnp.ones(2), jnp.ones(2))


TOLERANCE = {
    "linear_shares": Tolerance(0, 2e-4, reason="weights of the start stay in the layer: of order linear_scale^2 = 1e-4"),
}
QUICK = {"model.width": 8, "linear_width": 4, "num_first": 10, "num_steps": 20}
SEEDS = 8
GRID = {"model.init_scale": (1e-3, 0.3)}
