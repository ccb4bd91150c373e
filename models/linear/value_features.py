r"""Features of the states of a Markov chain, a row of a table for each, learned from the values of many tasks.

$$
\hat V_t(s) = \sum_k \Phi_{sk} w_{tk}
$$

Every task has a linear head $w_t$, which is solved exactly whenever features change; features take one step of gradient
descent on the mean squared error of all tasks (`monte_carlo_step`), or one semi-gradient step on the temporal-difference
error (`temporal_difference_step`).

| paper | name here | shape | meaning |
|---|---|---|---|
| $\Phi$ | `features` | (num_states, num_features) | features, one state a row |
| $g_t$ | `cumulants` | (task, num_states) | reward of each state, one task a row |
| $V_t$ | `values` | (task, num_states) | discounted return from each state |
| $I - \gamma P$ | `generator` | (num_states, num_states) | takes values to rewards |

States count alike. Where they are weighted by $\xi$, give features, cumulants and values times $\sqrt{\xi}$, and
$\Xi^{1/2} (I - \gamma P)\, \Xi^{-1/2}$ as generator.

Source: J. Farebrother et al., arXiv 2304.12567 (number recalled); C. Le Lan et al., ICML 2023 (abstract read); written here.

Example. A feature in proportion to the values of the only task predicts them, and stays:

>>> import jax.numpy as jnp
>>> from closedform.models.linear import value_features
>>> params = value_features.Params(jnp.array([[0.5], [1.0]]))
>>> after = value_features.monte_carlo_step(params, jnp.array([[3.0, 6.0]]), 0.1)
>>> after.features.round(4).tolist()
[[0.5], [1.0]]
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, check
from ...documented import documented
from .._example import one_example


@dataclass(frozen=True)
class Config:
    num_states: Count = 12
    num_features: Count = 4  # of each state

    def __post_init__(self):
        check(self)
        if self.num_features > self.num_states:
            raise ValueError(f"num_features must be at most num_states = {self.num_states}, got {self.num_features}")


@documented
class Params(NamedTuple):
    features: Float[Array, "num_states num_features"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Orthonormal features of a uniformly distributed span."""
    return orthonormal(Params(jax.random.normal(key, (config.num_states, config.num_features))))


@one_example
def apply(params: Params, x: Float[Array, "num_states"]) -> Float[Array, "num_features"]:
    """The features of a state, x = 1 there and 0 elsewhere; or their mean over a distribution of states."""
    return x @ params.features


def orthonormal(params: Params) -> Params:
    """The features with the same span, made orthonormal one after the other."""
    factor = jnp.linalg.cholesky(params.features.T @ params.features)
    return Params(jax.scipy.linalg.solve_triangular(factor, params.features.T, lower=True).T)


def monte_carlo_heads(params: Params, values: Float[Array, "task num_states"]) -> Float[Array, "task num_features"]:
    """The heads of least squared error; 0 for a feature that is 0 in every state."""
    features = params.features
    gram = features.T @ features
    empty = jnp.diag(jnp.where(jnp.diagonal(gram) == 0, 1, 0).astype(gram.dtype))
    return jnp.linalg.solve(gram + empty, features.T @ values.T).T


def temporal_difference_heads(
    params: Params, cumulants: Float[Array, "task num_states"], generator: Float[Array, "num_states num_states"]
) -> Float[Array, "task num_features"]:
    """The heads for which the temporal-difference error has no part along any feature."""
    features = params.features
    return jnp.linalg.solve(features.T @ (generator @ features), features.T @ cumulants.T).T


def squared_error(
    params: Params, heads: Float[Array, "task num_features"], values: Float[Array, "task num_states"]
) -> Float[Array, ""]:
    """Of the predicted values, summed over states and averaged over tasks."""
    return jnp.mean(jnp.sum((heads @ params.features.T - values) ** 2, axis=1))


def monte_carlo_step(params: Params, values: Float[Array, "task num_states"], learning_rate: float | Array) -> Params:
    """Gradient descent on the least squared error over heads, whose gradient is the one at the best heads."""
    heads = monte_carlo_heads(params, values)
    return _descended(params, heads, values, learning_rate)


def temporal_difference_step(
    params: Params,
    cumulants: Float[Array, "task num_states"],
    generator: Float[Array, "num_states num_states"],
    learning_rate: float | Array,
) -> Params:
    """A semi-gradient step: rewards plus discounted predictions are targets, of which no derivative is taken."""
    heads = temporal_difference_heads(params, cumulants, generator)
    predicted = heads @ params.features.T
    targets = cumulants + predicted - predicted @ generator.T  # g + gamma P Phi w
    return _descended(params, heads, targets, learning_rate)


def _descended(params: Params, heads: Array, targets: Array, learning_rate: float | Array) -> Params:
    gradient = jax.grad(squared_error)(params, heads, targets)
    return jax.tree.map(lambda p, g: p - jnp.asarray(learning_rate, p.dtype) * g, params, gradient)
