r"""A tree of majorities is right less often than one majority of the same votes.

$$
\Pr[\text{tree right}] = M_b(M_b(\cdots M_b(p))) \le M_{b^k}(p), \qquad M_n(p) = \Pr[\mathrm{Bin}(n, p) > n/2]
$$

Every layer of large fan-in after the first costs a factor $2/\pi$ in effective votes.

Source: the networks of Zhang et al., arXiv 2308.01862; their accuracy is derived here
Cost: 10 s
"""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Tolerance, check
from ...models.processes import voting as voters
from ...theory.discrete import voting


@dataclass(frozen=True)
class Config:
    process: voters.Config = field(default_factory=lambda: voters.Config(num_voters=343, fan_in=3, competence=0.6))
    num_layers: Annotated[tuple[Count, ...], MinLen(1), Distinct] = (2, 3)  # of the trees (k), each on b^k of the votes
    num_questions: Count = 1000  # in a seed

    def __post_init__(self):
        check(self)
        if self.num_votes[-1] > self.process.num_voters:
            raise ValueError(
                f"process.num_voters must be at least fan_in^num_layers = {self.num_votes[-1]}, got {self.process.num_voters}"
            )

    @property
    def num_votes(self) -> np.ndarray:
        """The number of votes of each tree, b^k."""
        return self.process.fan_in ** np.array(self.num_layers)


class Result(NamedTuple):
    """Shares of questions on which the majority is right."""

    tree: Float[Array, "num_layers"]  # majorities of majorities
    flat: Float[Array, "num_layers"]  # of the votes of the tree, counted at once


def labels(config: Config) -> dict[str, tuple]:
    return {"num_layers": config.num_layers}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    def on_question(key: PRNGKeyArray) -> Result:
        start = voters.init(key, config.process)

        def next_layer(state: voters.State, _: None) -> tuple[voters.State, Array]:
            state = voters.step(state, config.process)
            return state, voters.verdict(state.votes[:1])  # voter 0 of layer k stands for the first b^k votes

        _, tree = jax.lax.scan(next_layer, start, length=max(config.num_layers))
        flat = [voters.verdict(start.votes[:n]) for n in config.num_votes]
        return Result(tree[np.array(config.num_layers) - 1], jnp.stack(flat))

    answers = jax.vmap(on_question)(jax.random.split(key, config.num_questions))
    return jax.tree.map(lambda right: jnp.mean(right, axis=0), answers)


def predict(config: Config) -> Result:
    b, p = np.array(config.process.fan_in), config.process.competence
    tree = jnp.stack([voting.tree_majority(k, b, p) for k in config.num_layers])
    return Result(tree, voting.majority(config.num_votes, p))


RARE = "the prediction is exact; where under ten of 32,000 questions are decided wrong, their standard error is unreliable"
TOLERANCE = {"tree": Tolerance(absolute=3e-4, reason=RARE), "flat": Tolerance(absolute=3e-4, reason=RARE)}
QUICK = {"process.num_voters": 49, "num_layers": (1, 2), "num_questions": 100}
SEEDS = 32
GRID = {"process.competence": (0.55, 0.6), "process.fan_in": (3, 5, 7)}
