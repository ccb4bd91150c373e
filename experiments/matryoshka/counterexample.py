r"""Nesting has a price where prefix sizes serve tasks whose best subspaces are not nested, even in a linear network.

White inputs; the prefix of size 1 has to predict one direction, the prefix of size 2 both coordinates of a plane at an angle to
it. The first coordinate belongs to both. Trained networks pay the difference to two networks of their own, in closed form.

$$
\text{price} = \frac{A + B - |A\, e^{2 i \varphi} + B|}{2}, \qquad
\theta = \tfrac{1}{2} \operatorname{arg} (A\, e^{2 i \varphi} + B)
$$

with the strengths $A$ and $B$ of the tasks, the angle $\varphi$ between them, and the angle $\theta$ of the first row of the
encoder from the plane.

Source: derived here, a counterexample to nesting at no price
Cost: 15 s
"""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Precision, Tolerance, check
from ...models.linear import deep_linear, nested
from ...theory.linear_networks import nested as theory

_TERMS = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0))  # both tasks in one network, then a network for each


def _model() -> nested.Config:
    return nested.Config(deep_linear.Config(3, (), 2, scheme="unit_gaussian", scale=0.1), num_outputs=2)


@dataclass(frozen=True)
class Config:
    angle: Annotated[float, Ge(0.0), Le(np.pi / 2)] = 0.8  # of the first task from the plane of the second (phi)
    first: Positive = 1.0  # weight of the first task times the variance of its target (A)
    second: Positive = 0.5  # weight of the second task times the variance of each of its two targets (B)
    model: nested.Config = field(default_factory=_model)  # of three inputs, two coordinates and two outputs
    learning_rate: Positive = 0.1  # step size on the nested loss, which has no factor 1/2
    num_steps: Count = 3000  # updates
    dtype: Precision = "float64"  # the loss is compared to 1e-6 and better

    def __post_init__(self):
        check(self)
        if (sizes := (self.model.encoder.dim, *self.model.widths, self.model.num_outputs)) != (3, 2, 2) or self.model.shared:
            raise ValueError(f"model must have 3 inputs, 2 coordinates, 2 outputs and separate decoders, got {sizes}")


class Result(NamedTuple):
    price: Float[Array, ""]  # nested loss less the losses of two networks
    direction: Float[Array, ""]  # angle of the first row of the encoder from the plane of the second task


def init(key: PRNGKeyArray, config: Config) -> nested.Params:
    """Three networks, one for each row of _TERMS."""
    return jax.vmap(lambda key: nested.init(key, config.model))(jax.random.split(key, len(_TERMS)))


def step(state: nested.Params, config: Config) -> nested.Params:
    rate = jnp.asarray(config.learning_rate, state.decoders.dtype)
    target = _target(config)
    return jax.vmap(lambda params, weights: nested.descend(params, rate, weights, *target))(state, _weights(config))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: nested.Params, config: Config) -> Result:
    target = _target(config)
    losses = jax.vmap(lambda params, weights: nested.nested_loss(params, weights, *target))(state, _weights(config))
    x, _, z = state.weights[0][0, 0]  # the plane of the second task is z = 0, the first task leans towards z
    return Result(losses[0] - losses[1] - losses[2], jnp.arctan2(jnp.abs(z), jnp.abs(x)))


def predict(config: Config) -> Result:
    settings = config.first, config.second, config.angle
    return Result(theory.two_task_price(*settings), theory.two_task_angle(*settings))


def _target(config: Config) -> tuple[Array, Array, Array]:
    """Covariance of the inputs, E y x^T and E |y|^2 of each size: the first target is one coordinate, padded by 0."""
    angle = jnp.asarray(config.angle, float)
    zero = jnp.zeros_like(angle)
    leaning = jnp.stack([jnp.cos(angle), zero, jnp.sin(angle)])
    cross = jnp.stack([jnp.stack([leaning, jnp.zeros(3)]), jnp.eye(2, 3)])
    return jnp.eye(3), cross, jnp.array([1.0, 2.0])


def _weights(config: Config) -> Float[Array, "network size"]:
    return jnp.asarray(_TERMS) * jnp.stack([jnp.asarray(config.first, float), jnp.asarray(config.second, float)])[None]


_END = "gradient descent has converged: what is left after these updates"
TOLERANCE = {
    "price": Tolerance(0, 1e-6, reason=_END),
    "direction": Tolerance(0, 1e-4, reason=f"{_END}; an angle is first order in it"),
}
QUICK = {"num_steps": 20}
SEEDS = 8
GRID = {"angle": (0.0, 0.3, 0.6, 0.9, 1.2, 1.4)}
CURVE = {"angle": 61}
