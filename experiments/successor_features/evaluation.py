r"""The error of policy evaluation is what features leave out of the successor matrix: squared singular values at best.

Values of random rewards are fitted with $k$ features: learned ones by gradient descent on random tasks, singular vectors of
the successor matrix, eigenvectors of the Laplacian of the symmetrised chain, and features drawn at random. On a chain with a
direction the Laplacian is not the best choice.

$$
\mathbb{E}_r\, |(1 - \Pi)\, \Psi r|^2 = \operatorname{tr}\, (1 - \Pi)\, \Psi \Psi^\top \ge \sum_{i > k} s_i^2, \qquad
\text{random features:} \quad \Bigl(1 - \frac{k}{N}\Bigr) \sum_i s_i^2
$$

with the projection $\Pi$ on the features, all in coordinates in which states count alike on-policy.

Source: Farebrother et al., arXiv 2304.12567 (number recalled), for the question; formulas derived here (Eckart-Young)
Cost: 20 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Fraction, Positive, Precision, Static, Tolerance, check
from ...models.linear import value_features
from ...tasks import markov_chains
from ...theory.linear_networks import successor as theory
from . import _chains

KINDS = ("learned", "singular vectors", "Laplacian", "random")


@dataclass(frozen=True)
class Config:
    chain: _chains.Chain = "lazy"  # the world
    num_states: Annotated[int, Ge(2)] = 12  # its states (N)
    discount: Annotated[Fraction, Static] = 0.9  # gamma
    most: Count = 8  # features at most (k)
    learning_rate: Positive = 0.004  # step size; below 1/s_1^2 = (1 - gamma)^2
    num_steps: Count = 4000  # updates of the learned features
    num_rewards: Count = 2000  # random rewards on which policies are evaluated
    dtype: Precision = "float64"  # errors fall by decades

    def __post_init__(self):
        check(self)
        if self.most >= self.num_states:
            raise ValueError(f"most must be below num_states = {self.num_states}, got {self.most}")


class State(NamedTuple):
    params: value_features.Params  # learned features for every number k on a leading axis, those beyond k 0
    successor: Float[Array, "state state"]  # in coordinates in which states count alike
    key: PRNGKeyArray  # of rewards and of random features


class Result(NamedTuple):
    error: Float[Array, "kind number"]  # mean over rewards of the squared error, summed over states


def labels(config: Config) -> dict[str, tuple]:
    return {"kind": KINDS, "number": tuple(range(1, config.most + 1))}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_start, key_rest = jax.random.split(key)
    widest = value_features.init(key_start, value_features.Config(config.num_states, config.most)).features
    world = _chains.world(_chains.transition(config.chain, config.num_states), config.discount)
    return State(value_features.Params(_first(widest)), jnp.linalg.inv(world.generator), key_rest)


def _first(features: Float[Array, "*kind state feature"]) -> Float[Array, "*kind number state feature"]:
    """The first k features, and 0 for the others, for every k."""
    count = features.shape[-1]
    return jnp.einsum("...sf,kf->...ksf", features, jnp.tril(jnp.ones((count, count))))


def step(state: State, config: Config) -> State:
    """On as many tasks as there are states, whose second moment is the identity."""
    values = config.num_states**0.5 * state.successor.T
    step_fn = jax.vmap(value_features.monte_carlo_step, (0, None, None))
    return state._replace(params=step_fn(state.params, values, config.learning_rate))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    key_rewards, key_features = jax.random.split(state.key)
    rewards = markov_chains.gaussian_cumulants(key_rewards, config.num_rewards, config.num_states)
    values = rewards @ state.successor.T
    singular = _chains.leading(state.successor @ state.successor.T, config.most)
    generator = jnp.linalg.inv(state.successor)
    laplacian = _chains.leading(-(generator + generator.T), config.most)
    drawn = jax.random.normal(key_features, singular.shape)

    def error(features: Float[Array, "state feature"]) -> Float[Array, ""]:
        params = value_features.Params(features)
        return value_features.squared_error(params, value_features.monte_carlo_heads(params, values), values)

    others = _first(jnp.stack([singular, laplacian, drawn]))
    return Result(jax.vmap(jax.vmap(error))(jnp.concatenate([state.params.features[None], others])))


def predict(config: Config) -> Result:
    P = jnp.asarray(_chains.transition(config.chain, config.num_states), float)
    weights = config.num_states * markov_chains.stationary(P)
    psi, rewards, count = theory.successor(P, config.discount), jnp.diag(1 / weights), jnp.arange(1, config.most + 1)
    s = theory.singular_values(psi, rewards, weights)
    best = theory.policy_evaluation_error(s, np.arange(1, config.most + 1))
    flow = weights[:, None] * P  # probability of every transition on-policy
    scaled = (flow + flow.T) / 2 / jnp.sqrt(weights[:, None] * weights[None])
    laplacian = _first(jnp.linalg.eigh(scaled)[1][:, ::-1][:, : config.most] / jnp.sqrt(weights)[:, None])
    plain = jax.vmap(theory.evaluation_error, (0, None, None, None))(laplacian, psi, rewards, weights)
    return Result(jnp.stack([best, best, plain, (1 - count / config.num_states) * jnp.sum(s**2)]))


_REWARDS = "exact on average over rewards"
TOLERANCE = {
    "error": Tolerance(
        0.01, reason=f"{_REWARDS}; learned features stop when directions of nearly equal singular values are not yet told apart"
    )
}
QUICK = {"num_states": 3, "most": 1, "num_steps": 5, "num_rewards": 20}
SEEDS = 32
