"""The chains of the experiments, in coordinates in which states count alike."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...tasks import markov_chains

Chain = Literal["reset", "reflecting", "lazy"]


class World(NamedTuple):
    transition: Float[Array, "state state"]
    weights: Float[Array, "state"]  # stationary distribution times the number of states: 1 each where it is uniform
    generator: Float[Array, "state state"]  # 1 - gamma P, in coordinates in which states count alike


def transition(chain: str, num_states: int) -> np.ndarray:
    """P; the stays of the lazy cycle rise evenly from 0.05 to 0.95."""
    if chain == "reset":
        return markov_chains.reset_chain(num_states)
    if chain == "reflecting":
        return markov_chains.reflecting_walk(num_states)
    return markov_chains.lazy_cycle(tuple((0.05 + 0.9 * place / max(num_states - 1, 1)) for place in range(num_states)))


def world(P: np.ndarray, discount: float | Array) -> World:
    """A chain weighted on-policy, by its stationary distribution."""
    weights = len(P) * markov_chains.stationary(P)
    roots = jnp.sqrt(weights)
    scaled = roots[:, None] * jnp.asarray(P, float) / roots[None]
    return World(jnp.asarray(P, float), weights, jnp.eye(len(P)) - discount * scaled)


def distance(basis: Float[Array, "state feature"], other: Float[Array, "state feature"]) -> Float[Array, ""]:
    """The sum of sin^2 of the angles between the spans of two orthonormal bases, written here once more: without theory."""
    return jnp.sum((basis - other @ (other.T @ basis)) ** 2)


def leading(symmetric: Float[Array, "state state"], count: int) -> Float[Array, "state feature"]:
    """Eigenvectors of the largest eigenvalues, those first."""
    return jnp.linalg.eigh(symmetric)[1][:, ::-1][:, :count]
