r"""Features from T sampled tasks are off the best ones by an angle whose mean square falls as 1/T, with a computable constant.

Tasks are Gaussian rewards, or indicators of random sets in which each state is with probability $p$. The best features of
the first $T$ tasks are held against the best ones of all tasks of that kind. Indicators need about as many tasks as Gaussian
rewards do.

$$
\mathbb{E}\, d = \frac{C}{T} + O(T^{-2}), \qquad C = \sum_{i \le k < j} \frac{\operatorname{Var}(a_i a_j)}{(s_i^2 - s_j^2)^2}
$$

with the distance $d = k - |U^\top V|_F^2$, the parts $a_i$ of the value of a task along singular direction $i$, and the
singular values $s_i$ of values; for Gaussian rewards the variance is $s_i^2 s_j^2$.

Source: Farebrother et al., arXiv 2304.12567 (number recalled), for the tasks; the constant is derived here
Cost: 8 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Fraction, Precision, Static, Tolerance, check
from ...tasks import markov_chains
from ...theory.linear_networks import successor as theory
from . import _chains


@dataclass(frozen=True)
class Config:
    chain: _chains.Chain = "reset"  # the world
    num_states: Count = 12  # its states (N)
    discount: Annotated[Fraction, Static] = 0.9  # gamma
    num_features: Count = 4  # of the subspace (k)
    probabilities: Annotated[tuple[Fraction, ...], Distinct] = (0.1, 0.3, 0.5)  # of a state to be in a random set (p)
    num_tasks: Annotated[tuple[Count, ...], MinLen(1), Distinct] = (300, 1000, 3000, 10000, 20000)  # sampled tasks (T)
    dtype: Precision = "float64"  # angles are small differences

    def __post_init__(self):
        check(self)
        if self.num_features >= self.num_states:
            raise ValueError(f"num_features must be below num_states = {self.num_states}, got {self.num_features}")


class Result(NamedTuple):
    distance: Float[Array, "law number"]  # sum of sin^2 of the angles between subspaces, to the best features of the law


def labels(config: Config) -> dict[str, tuple]:
    return {"law": ("Gaussian", *(f"p = {p:g}" for p in config.probabilities)), "number": config.num_tasks}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    """Tasks are drawn once, and the first so many of them used."""
    P = jnp.asarray(_chains.transition(config.chain, config.num_states), float)
    most, count, states = max(config.num_tasks), config.num_features, config.num_states
    keys = jax.random.split(key, 1 + len(config.probabilities))
    drawn = [markov_chains.gaussian_cumulants(keys[0], most, states)]
    moments = [jnp.eye(states)]
    for p, key_law in zip(config.probabilities, keys[1:], strict=True):
        drawn.append(markov_chains.indicator_cumulants(key_law, most, states, p))
        moments.append(p * (1 - p) * jnp.eye(states) + p**2)  # E g g^T
    inverse = jnp.linalg.inv(jnp.eye(states) - config.discount * P)

    def off(law: tuple[Float[Array, "task state"], Float[Array, "state state"]]) -> Float[Array, "number"]:
        g, G = law
        best = _chains.leading(inverse @ G @ inverse.T, count)
        sampled = jnp.stack([g[:T].T @ g[:T] / T for T in config.num_tasks])
        return jax.lax.map(lambda G: _chains.distance(_chains.leading(inverse @ G @ inverse.T, count), best), sampled)

    return Result(jax.lax.map(off, (jnp.stack(drawn), jnp.stack(moments))))


def predict(config: Config) -> Result:
    P = jnp.asarray(_chains.transition(config.chain, config.num_states), float)
    psi = theory.successor(P, config.discount)
    laws = [theory.Cumulants(*map(jnp.asarray, (0.0, 1.0, 0.0, 0.0))), *map(theory.indicator_cumulants, config.probabilities)]
    constants = jax.lax.map(
        lambda law: theory.sampling_constant(psi, law, config.num_features),
        jax.tree.map(lambda *parts: jnp.stack(parts), *laws),
    )
    return Result(constants[:, None] / jnp.asarray(config.num_tasks, constants.dtype)[None])


TOLERANCE = {
    "distance": Tolerance(
        0.03,
        reason="first order in 1/T: at 300 Gaussian tasks the mean over 2000 draws is 1 % off, less with more tasks",
    )
}
QUICK = {"num_states": 4, "num_features": 1, "probabilities": (0.3,), "num_tasks": (50, 100)}
SEEDS = 32
