r"""Correlated votes gain little from width: the accuracy of their majority saturates below 1.

$$
\Pr[\text{majority right}] \to \Pr[\theta > 1/2] \;\; (n \to \infty), \qquad
\theta \sim \mathrm{Beta}\left(\mu \frac{1 - \rho}{\rho},\, (1 - \mu) \frac{1 - \rho}{\rho}\right)
$$

Source: the networks of Zhang et al., arXiv 2308.01862; the law of their votes and its accuracy are derived here
Cost: 5 s
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
    process: voters.Config = field(default_factory=lambda: voters.Config(num_voters=1001, competence=0.6, correlation=0.2))
    num_votes: Annotated[tuple[Count, ...], MinLen(1), Distinct] = (1, 3, 9, 27, 101, 301, 1001)  # of these, counted (n)
    num_questions: Count = 1000  # in a seed

    def __post_init__(self):
        check(self)
        if max(self.num_votes) > self.process.num_voters:
            raise ValueError(f"num_votes must be at most process.num_voters = {self.process.num_voters}, got {self.num_votes}")


class Result(NamedTuple):
    accuracy: Float[Array, "num_votes"]  # share of questions on which the majority of the first n votes is right


def labels(config: Config) -> dict[str, tuple]:
    return {"num_votes": config.num_votes}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    def on_question(key: PRNGKeyArray) -> Float[Array, "num_votes"]:
        votes = voters.init(key, config.process).votes
        return jnp.stack([voters.verdict(votes[:n]) for n in config.num_votes])

    return Result(jnp.mean(jax.vmap(on_question)(jax.random.split(key, config.num_questions)), axis=0))


def predict(config: Config) -> Result:
    votes = np.array(config.num_votes)
    return Result(voting.beta_binomial_majority(votes, config.process.competence, config.process.correlation))


def predict_limit(config: Config) -> Result:
    """The accuracy of infinitely many votes."""
    limit = voting.beta_binomial_limit(config.process.competence, config.process.correlation)
    return Result(jnp.full(len(config.num_votes), limit))


TOLERANCE = {"accuracy": Tolerance(1e-6, reason="none but rounding of float32: the prediction is exact")}
QUICK = {"process.num_voters": 9, "num_votes": (1, 9), "num_questions": 100}
SEEDS = 32
GRID = {"process.correlation": (0.05, 0.2)}
