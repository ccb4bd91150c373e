r"""Monte-Carlo features approach the singular vectors of the successor matrix, temporal differences an invariant subspace of P.

Features of a reversible chain and of one with a direction are trained from the same start, on tasks that are isotropic. On
the reversible chain the two subspaces are one. On a ring whose states are left with unlike probabilities they are far apart.
Monte-Carlo features follow a closed form from any start; temporal differences follow their flow, integrated, whose last
phase decays at the slowest rate of the invariant subspace. On the way features may wait at the subspaces of other
eigenvalues, which are saddles: one start of eight does so on the reversible chain, to the end.

$$
\begin{align*}
\text{Monte Carlo:} \quad X_{ji}(t) &= X_{ji}(0)\, e^{-2 (s_i^2 - s_j^2)\, t} \\
\text{temporal differences:} \quad \dot\Phi &= -2\, (I - \Phi \Phi^\top)\, L \Phi\, (A^\top A)^{-1}, \qquad A = \Phi^\top L \Phi
\end{align*}
$$

with tangents $X$ of the angles to the leading singular directions, singular values $s_i$ of $L^{-1}$, and $L = I - \gamma P$ in
coordinates in which states count alike; $t$ is step size times updates.

Source: derived here; the contrast is that of Le Lan et al., ICML 2023 (abstract read)
Cost: 25 s
"""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Fraction, Positive, Precision, Static, Tolerance, check
from ...models.linear import value_features
from ...theory.linear_networks import successor
from ...theory.linear_networks import temporal_difference_features as td
from . import _chains

CHAINS = {"reversible": "reflecting", "directed": "lazy"}


@dataclass(frozen=True)
class Config:
    model: value_features.Config = field(default_factory=lambda: value_features.Config(num_states=8, num_features=3))
    discount: Annotated[Fraction, Static] = 0.7  # gamma
    learning_rate: Annotated[Positive, Static] = 5e-4  # step size
    num_steps: Count = 16000  # updates
    num_records: Count = 32  # moments at which features are measured, after the start
    num_integration: Count = 800  # steps of the integration of the temporal-difference flow
    dtype: Precision = "float64"  # distances fall by many decades

    def __post_init__(self):
        check(self)
        if self.model.num_features >= self.model.num_states:
            raise ValueError(f"model.num_features must be below model.num_states, got {self.model}")


class State(NamedTuple):
    """Features for each chain, on a leading axis, in coordinates in which states count alike; and what they learn from."""

    monte_carlo: value_features.Params
    temporal: value_features.Params
    generator: Float[Array, "chain state state"]  # 1 - gamma P
    successor: Float[Array, "chain state state"]  # its inverse


class Result(NamedTuple):
    monte_carlo: Float[Array, "chain"]  # distance of Monte-Carlo features from the leading singular directions
    temporal: Float[Array, "chain"]  # distance of temporal-difference features from the invariant subspace
    apart: Float[Array, "chain"]  # distance of temporal-difference features from the leading singular directions


def labels(config: Config) -> dict[str, tuple]:
    return {"chain": tuple(CHAINS)}


def init(key: PRNGKeyArray, config: Config) -> State:
    params = value_features.init(key, config.model)
    both = value_features.Params(jnp.stack([params.features] * len(CHAINS)))
    generator = _worlds(config).generator
    return State(both, both, generator, jnp.linalg.inv(generator))


def step(state: State, config: Config) -> State:
    """On as many tasks as there are states, whose second moment is the identity."""
    count = config.model.num_states
    cumulants = count**0.5 * jnp.eye(count)

    def one(
        monte_carlo: value_features.Params, temporal: value_features.Params, L: Array, psi: Array
    ) -> tuple[value_features.Params, value_features.Params]:
        return (
            value_features.monte_carlo_step(monte_carlo, cumulants @ psi.T, config.learning_rate),
            value_features.temporal_difference_step(temporal, cumulants, L, config.learning_rate),
        )

    monte_carlo, temporal = jax.vmap(one)(state.monte_carlo, state.temporal, state.generator, state.successor)
    return state._replace(monte_carlo=monte_carlo, temporal=temporal)


def observe(state: State, config: Config) -> Result:
    """The invariant subspace by powers of exp(gamma P), of which it is the dominant one."""
    count = config.model.num_features

    def one(monte_carlo: value_features.Params, temporal: value_features.Params, L: Array, psi: Array) -> Result:
        singular = _chains.leading(psi @ psi.T, count)
        growth = jax.lax.fori_loop(0, 10, lambda _, power: power @ power, jnp.eye(len(L)) + (jnp.eye(len(L)) - L) / 1024)
        invariant = jax.lax.fori_loop(0, 200, lambda _, basis: jnp.linalg.qr(growth @ basis)[0], singular)
        learned = value_features.orthonormal(temporal).features
        return Result(
            _chains.distance(value_features.orthonormal(monte_carlo).features, singular),
            _chains.distance(learned, invariant),
            _chains.distance(learned, singular),
        )

    return jax.vmap(one)(state.monte_carlo, state.temporal, state.generator, state.successor)


def steps(config: Config) -> np.ndarray:
    return np.unique(np.linspace(0, config.num_steps, config.num_records + 1).astype(int))


def predict(state: State, config: Config, steps: np.ndarray) -> Result:
    time = config.learning_rate * jnp.asarray(steps, float)

    def one(world: _chains.World, start: Float[Array, "state feature"]) -> Result:
        P, weights = world.transition, world.weights
        psi, tasks, start = successor.successor(P, config.discount), jnp.diag(1 / weights), start / jnp.sqrt(weights)[:, None]
        singular = successor.optimal_features(psi, tasks, config.model.num_features, weights)
        invariant = td.leading_subspace(P, config.model.num_features, weights)
        monte_carlo = successor.monte_carlo_flow(time, psi, tasks, start, weights)
        temporal = td.flow(time, P, config.discount, start, weights, config.num_integration)
        learned, ends = jnp.stack([monte_carlo, temporal, temporal]), jnp.stack([singular, invariant, singular])
        return Result(*jax.vmap(successor.subspace_distance, (0, 0, None))(learned, ends, weights))

    found = jax.vmap(one)(_worlds(config), state.monte_carlo.features)
    return jax.tree.map(lambda distances: distances.T, found)


def _worlds(config: Config) -> _chains.World:
    """Of all chains, on a leading axis."""
    found = [_chains.world(_chains.transition(chain, config.model.num_states), config.discount) for chain in CHAINS.values()]
    return jax.tree.map(lambda *parts: jnp.stack(parts), *found)


_LAG = "steps are finite: a tangent of rate r lags by r^2 times step size times time over 2, twice that in the distance"
TOLERANCE = {
    "monte_carlo": Tolerance(0.02, 1e-6, reason=_LAG),
    "temporal": Tolerance(0.02, 1e-6, reason=_LAG),
    "apart": Tolerance(0.01, 1e-6, reason=_LAG),
}
QUICK = {"model.num_states": 3, "model.num_features": 1, "num_steps": 40, "num_records": 4, "num_integration": 40}
SEEDS = 8
