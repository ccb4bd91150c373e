r"""In a world of four rooms, descent on random tasks learns the leading singular vectors of the successor matrix.

The first feature is constant, the next ones tell the rooms apart. Features learn from fresh Gaussian tasks in every update,
each with the best head, and stay orthonormal. What is left at the end is the noise of the tasks, in proportion to the step
size.

$$
\mathbb{E}\, d = \frac{\eta}{B} \sum_{i \le k < j} \frac{s_i^2 s_j^2}{(s_i^2 - s_j^2)(1 - \eta (s_i^2 - s_j^2))}, \qquad
\text{captured}_i \to s_i^2 = \frac{1}{(1 - \gamma \mu_i)^2}
$$

with the distance $d$ of subspaces, the sum of $\sin^2$ of their angles, the step size $\eta$, $B$ tasks a step, eigenvalues
$\mu_i$ of the symmetric walk, and the variance of values that learned features capture, in their principal directions.

Source: Farebrother et al., arXiv 2304.12567 (number recalled), for the tasks; the noise is derived here
Cost: 15 s
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Fraction, Positive, Static, Tolerance, check
from ...models.linear import value_features
from ...tasks import markov_chains
from ...theory.linear_networks import successor as theory
from . import _chains

WORLDS = {"four rooms": markov_chains.free_cells(), "corridor": np.ones((1, 6), bool)}
SOURCES = ("singular vectors", "learned")


@dataclass(frozen=True)
class Config:
    world: Literal["four rooms", "corridor"] = "four rooms"  # free cells of a map, on which a walk goes in four directions
    discount: Annotated[Fraction, Static] = 0.95  # gamma
    num_features: Count = 4  # of each state (k)
    batch_size: Count = 64  # fresh tasks a step (B)
    learning_rate: Positive = 2e-4  # step size (eta)
    num_steps: Count = 250  # updates

    def __post_init__(self):
        check(self)
        count = int(WORLDS[self.world].sum())
        if self.num_features >= count:
            raise ValueError(f"num_features must be below the {count} states of the {self.world}, got {self.num_features}")


class State(NamedTuple):
    params: value_features.Params
    successor: Float[Array, "state state"]
    key: PRNGKeyArray  # of the next tasks


class Result(NamedTuple):
    distance: Float[Array, ""]  # sum of sin^2 of the angles between the learned subspace and the best one
    captured: Float[Array, "feature"]  # variance of values along principal directions of the learned features
    maps: Float[Array, "source feature state"] | None = None  # features of either source, of length 1


def labels(config: Config) -> dict[str, tuple]:
    places = markov_chains.places(WORLDS[config.world]).tolist()
    return {"source": SOURCES, "state": tuple(f"{row},{column}" for row, column in places)}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_model, key_tasks = jax.random.split(key)
    P = markov_chains.walk(WORLDS[config.world])
    generator = jnp.eye(len(P)) - config.discount * jnp.asarray(P, float)
    params = value_features.init(key_model, value_features.Config(len(P), config.num_features))
    return State(params, jnp.linalg.inv(generator), key_tasks)


def step(state: State, config: Config) -> State:
    key, key_now = jax.random.split(state.key)
    cumulants = markov_chains.gaussian_cumulants(key_now, config.batch_size, len(state.successor))
    params = value_features.monte_carlo_step(state.params, cumulants @ state.successor.T, config.learning_rate)
    return state._replace(params=value_features.orthonormal(params), key=key)


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    moment = state.successor @ state.successor.T
    singular = _chains.leading(moment, config.num_features)
    learned = state.params.features
    captured, turn = jnp.linalg.eigh(learned.T @ moment @ learned)
    principal = learned @ turn[:, ::-1]
    maps = jnp.swapaxes(jnp.stack([_signed(singular), _signed(principal)]), 1, 2)
    return Result(_chains.distance(learned, singular), captured[::-1], maps)


def predict(config: Config) -> Result:
    psi = theory.successor(markov_chains.walk(WORLDS[config.world]), config.discount)
    s = theory.singular_values(psi, jnp.eye(len(psi)))
    gaussian = theory.Cumulants(*map(jnp.asarray, (0.0, 1.0, 0.0, 0.0)))
    distance = theory.descent_distance(config.learning_rate, config.batch_size, psi, gaussian, config.num_features)
    return Result(distance, s[: config.num_features] ** 2)


def _signed(features: Float[Array, "state feature"]) -> Float[Array, "state feature"]:
    """Of a feature and its negative, the one whose largest values are positive."""
    return features * jnp.where(jnp.sum(features**3, axis=0, keepdims=True) < 0, -1, 1)


TOLERANCE = {
    "distance": Tolerance(
        0.1, reason="first order in the step size over the number of tasks; heads fluctuate with the tasks too"
    ),
    "captured": Tolerance(
        0.01, reason="a feature that is off by the angles whose squares are the distance captures less by that much"
    ),
}
QUICK = {"world": "corridor", "num_features": 1, "batch_size": 4, "num_steps": 5}
SEEDS = 8
GRID = {"learning_rate": (1e-4, 2e-4, 4e-4)}
