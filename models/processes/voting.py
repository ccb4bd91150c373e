r"""Layers of voters who look at the votes of the layer before them: trees of majorities and rounds of discussion.

$$
v_i' = \mathrm{sign}\Big( \sum_{j = 0}^{b - 1} v_{(ib + j) \bmod n} + w\, u_i \Big)
$$

A vote of 1 is right, one of -1 is wrong. In every layer the voter $i$ hears $b$ votes of the layer before, adds $w$ copies of a
fresh vote $u_i$ of its own, and votes as the sum says; a coin decides a tie. With $w = 0$ and $n = b^k$ all votes after
$k$ steps are equal: the verdict of a tree of majorities. With $b = n$ all voters hear all votes: a round of discussion.
The fresh votes (of which the first layer consists) come from Polya's urn: after $j$ votes on the question, $r$ of them right,

$$
\Pr[\text{the next is right}] = \frac{\mu (1 - \rho) + r \rho}{1 - \rho + j \rho}
$$

so that each is right with probability $\mu$, and two of them have the correlation $\rho$.

| paper | name here | shape | meaning |
|---|---|---|---|
| $n$ | `num_voters` | | votes of a layer |
| $b$ | `fan_in` | | votes that a voter hears |
| $w$ | `own_weight` | | copies of a fresh vote of its own |
| $\mu$ | `competence` | | probability that a fresh vote is right |
| $\rho$ | `correlation` | | of two fresh votes on one question |
| $v$ | `votes` | (n,) | votes of the layer, 1 or -1 |
| $j$, $r$ | `drawn`, `right` | | fresh votes so far, and how many of them were right |

Source: the networks of Zhang et al., arXiv 2308.01862, whose later layers see all answers of the one before; voters in place of
language models, and the wiring of the tree, are ours.

Example. Three times three voters, after two layers of majorities, agree:

>>> import jax
>>> from closedform.models.processes import voting
>>> config = voting.Config()
>>> state = voting.init(jax.random.key(0), config)
>>> for _ in range(2):
...     state = voting.step(state, config)
>>> abs(int(state.votes.sum()))
9
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Lt
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Fraction, NonNegative, check
from ...documented import documented


@dataclass(frozen=True)
class Config:
    num_voters: Count = 9  # votes of a layer, paper n
    fan_in: Count = 3  # votes that a voter hears, at most all, paper b
    own_weight: NonNegative = 0.0  # copies of its own fresh vote, paper w; any weight
    competence: Fraction = 0.6  # probability that a fresh vote is right, paper mu
    correlation: Annotated[float, Ge(0), Lt(1)] = 0.0  # of two fresh votes on one question, paper rho

    def __post_init__(self):
        check(self)
        if self.fan_in > self.num_voters:
            raise ValueError(f"fan_in must be at most num_voters = {self.num_voters}, got {self.fan_in}")


@documented
class State(NamedTuple):
    votes: Float[Array, "voter"]  # of the layer, 1 if right and -1 if wrong
    drawn: Float[Array, ""]  # fresh votes so far
    right: Float[Array, ""]  # fresh votes so far that were right
    key: PRNGKeyArray  # of the next layer


def init(key: PRNGKeyArray, config: Config) -> State:
    """The first layer: fresh votes on a new question."""
    key, key_votes = jax.random.split(key)
    zero = jnp.zeros(())
    return State(*draw(key_votes, zero, zero, config), key)


def step(state: State, config: Config) -> State:
    """The votes of the next layer."""
    key, key_own, key_coin = jax.random.split(state.key, 3)
    own, drawn, right = draw(key_own, state.drawn, state.right, config)
    voter, place = np.ogrid[: config.num_voters, : config.fan_in]
    heard = state.votes[(voter * config.fan_in + place) % config.num_voters]
    total = jnp.sum(heard, axis=1) + config.own_weight * own
    coin = jax.random.rademacher(key_coin, total.shape, total.dtype)
    return State(jnp.where(total == 0, coin, jnp.sign(total)), drawn, right, key)


def draw(
    key: PRNGKeyArray, drawn: Float[Array, ""], right: Float[Array, ""], config: Config
) -> tuple[Float[Array, "voter"], Float[Array, ""], Float[Array, ""]]:
    """A fresh vote of every voter, and the urn after them."""
    mean, rho = config.competence, config.correlation

    def one(urn: tuple[Array, Array], uniform: Array) -> tuple[tuple[Array, Array], Array]:
        drawn, right = urn
        vote = uniform < (mean * (1 - rho) + right * rho) / (1 - rho + drawn * rho)
        return (drawn + 1, right + vote.astype(right.dtype)), vote

    (drawn, right), votes = jax.lax.scan(one, (drawn, right), jax.random.uniform(key, (config.num_voters,)))
    return jnp.where(votes, 1.0, -1.0), drawn, right


def verdict(votes: Float[Array, "*layer vote"]) -> Float[Array, "*layer"]:
    """1 if the majority is right and 0 if it is wrong; 1/2 for a tie, which a coin decides.

    >>> verdict(jnp.array([[1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])).tolist(), float(verdict(jnp.array([1.0, -1.0])))
    ([1.0, 0.0], 0.5)
    """
    return (1 + jnp.sign(jnp.sum(votes, axis=-1))) / 2
