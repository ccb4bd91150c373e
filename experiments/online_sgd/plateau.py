r"""Identical units of a committee rest on a plateau whose error grows with the learning rate of online SGD.

Student and teacher are committees of $K$ units $\operatorname{erf}(u/\sqrt 2)$, those of the teacher orthonormal. Units that
start alike stay alike, and their overlaps $Q_{ik} = q$, $R_{im} = r$ rest where the velocity of `online_sgd` vanishes. For
$\eta \to 0$

$$
q = \frac{1}{2K - 1}, \qquad r = \frac{1}{\sqrt{K (2K - 1)}}, \qquad
E = \frac{K}{\pi} \left( \frac{\pi}{6} - K \arcsin \frac{1}{2K} \right)
$$

and at a finite learning rate the noise of single samples adds a length to the units that no overlap with the teacher has.

Source: D. Saad, S. Solla, 1995, doi 10.1103/PhysRevE.52.4225 (recalled); derived again here, at finite learning rates too
Cost: 20 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Tolerance, check
from ...models.fully_connected import committee
from ...theory.feature_learning import online_sgd
from . import _committee


@dataclass(frozen=True)
class Config:
    num_units: Annotated[int, Ge(2)] = 2  # of student and teacher (K)
    dim: Count = 250  # inputs (d)
    learning_rate: Positive = 0.5  # eta, of steps eta/d
    burn_in: NonNegative = 15.0  # time eta steps/d before the average
    window: Positive = 30.0  # time over which the overlaps are averaged

    def __post_init__(self):
        check(self)
        _committee.require_room(self.dim, self.num_units)


class Result(NamedTuple):
    error: Float[Array, ""]  # E, averaged over the window
    student: Float[Array, ""]  # q
    cross: Float[Array, ""]  # r


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    target, count = _committee.teacher(config.num_units, config.dim), config.num_units
    unit = jnp.sum(target.w, axis=0) / jnp.sqrt(count * (2.0 * count - 1))
    state = _committee.State(committee.Params(jnp.broadcast_to(unit, target.w.shape), target.v), key)
    error, overlaps = _committee.averages(state, target, config.learning_rate, 0.0, config.burn_in, config.window)
    return Result(error, jnp.mean(overlaps.student), jnp.mean(overlaps.cross))


def predict(config: Config) -> Result:
    still = online_sgd.plateau(config.num_units, config.learning_rate)
    return Result(online_sgd.error(still), still.student[0, 0], still.cross[0, 0])


def predict_gradient_flow(config: Config) -> Result:
    """The limit of small learning rates: stored and drawn beside the prediction, but not judged."""
    still = online_sgd.plateau(config.num_units)
    return Result(online_sgd.error(still), still.student[0, 0], still.cross[0, 0])


_SIZE = "averages over a run fluctuate about the limit of many dimensions, and differ from it by some 1/d"
TOLERANCE = {
    "error": Tolerance(0.05, reason=_SIZE),
    "student": Tolerance(0.02, reason=_SIZE),
    "cross": Tolerance(0.01, reason=_SIZE),
}
QUICK = {"dim": 20, "burn_in": 1.0, "window": 2.0}
SEEDS = 8
GRID = {"num_units": (2, 3), "learning_rate": (0.25, 0.5, 0.75, 1.0)}
CURVE = {"learning_rate": 40}
