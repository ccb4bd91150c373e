r"""A round of discussion changes only near-ties; nine voters gain most if they count their own vote two or three times.

Nine voters hear nine first votes, add $w$ copies of a fresh vote of their own, and the majority of the nine decides.

$$
\begin{align*}
\Pr[\text{right}] &= \sum_S \Pr[S]\, M_m(q_S), \qquad q_S = p\, \Theta(S + w) + (1 - p)\, \Theta(S - w)
\end{align*}
$$

At $w = 0$ the first votes alone count, at $w > n$ the fresh ones alone; the majority of all $n + m$ votes is never beaten.

Source: the idea of Zhang et al., arXiv 2308.01862 (one round of discussion works best); model and accuracy are derived here
Cost: 10 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Tolerance, check
from ...models.processes import voting as voters
from ...theory.discrete import voting


@dataclass(frozen=True)
class Config:
    process: voters.Config = field(default_factory=lambda: voters.Config(num_voters=9, fan_in=9, own_weight=3.0))
    num_questions: Count = 4000  # in a seed

    def __post_init__(self):
        check(self)
        if self.process.fan_in != self.process.num_voters:
            raise ValueError(f"process.fan_in must be process.num_voters (all hear all votes), got {self.process.fan_in}")


class Result(NamedTuple):
    """Shares of questions on which the majority is right."""

    discussed: Float[Array, ""]  # of the votes after a round of discussion
    ceiling: Float[Array, ""]  # of the first and all fresh votes, counted at once


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    def on_question(key: PRNGKeyArray) -> Result:
        state = voters.step(voters.init(key, config.process), config.process)
        everyone = (1 + jnp.sign(2 * state.right - state.drawn)) / 2
        return Result(voters.verdict(state.votes), everyone)

    answers = jax.vmap(on_question)(jax.random.split(key, config.num_questions))
    return jax.tree.map(jnp.mean, answers)


def predict(config: Config) -> Result:
    n, p = np.array(config.process.num_voters), config.process.competence
    return Result(voting.discussion(int(n), n, p, config.process.own_weight), voting.majority(2 * n, p))


EXACT = "none but rounding of float32: the prediction is exact"
TOLERANCE = {"discussed": Tolerance(1e-6, reason=EXACT), "ceiling": Tolerance(1e-6, reason=EXACT)}
CURVE = {"process.own_weight": 400}
QUICK = {"process.num_voters": 3, "process.fan_in": 3, "num_questions": 100}
SEEDS = 32
GRID = {
    "process.competence": (0.55, 0.6, 0.7),
    "process.own_weight": (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0),
}
