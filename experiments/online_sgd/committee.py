r"""The error of a committee machine trained by online SGD follows exact equations for a few overlaps.

Student $\sum_k g(J_k \cdot x)$ and teacher $\sum_m g(B_m \cdot x)$ plus noise, $g(u) = \operatorname{erf}(u/\sqrt 2)$, a fresh
$x \sim N(0, I_d)$ a step:

$$
J_k \leftarrow J_k + \frac{\eta}{d} \Delta\, g'(J_k \cdot x)\, x, \qquad
E = \tfrac12 \sum_{a, b} s_a s_b\, I_2(a, b)
$$

where the overlaps $Q = J J^\top$ and $R = J B^\top$ follow the equations of `online_sgd.velocity` from those of each draw. The
error falls to a plateau on which the units are alike, and leaves it when they specialise.

Source: D. Saad, S. Solla, 1995, doi 10.1103/PhysRevE.52.4225 (recalled); derived again here
Cost: 50 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Tolerance, check
from ...models.fully_connected import committee
from ...theory.feature_learning import online_sgd
from . import _committee


@dataclass(frozen=True)
class Config:
    dim: Count = 1000  # inputs (d)
    lengths: Annotated[tuple[Positive, ...], MinLen(2)] = (0.4, 0.3)  # |J_k| at the start, of each unit; as many in the teacher
    starts: Annotated[tuple[NonNegative, ...], MinLen(2)] = (0.25, 0.05)  # J_k.B_k at the start, at most the length
    learning_rate: Positive = 1.5  # eta, of steps eta/d
    noise_std: NonNegative = 0.0  # sigma, of the label noise
    num_steps: Count = 60_000  # samples: 60 times the dimension
    num_records: Count = 60  # times of a record, evenly spaced

    def __post_init__(self):
        check(self)
        if len(self.lengths) != len(self.starts):
            raise ValueError(f"starts must be as many as lengths, got {len(self.starts)} and {len(self.lengths)}")
        if any(along > length for along, length in zip(self.starts, self.lengths, strict=True)):
            raise ValueError(f"starts must be at most lengths, got {self.starts} and {self.lengths}")
        _committee.require_room(self.dim, len(self.lengths))


class Result(NamedTuple):
    error: Float[Array, ""]  # E, without the noise of labels
    student: Float[Array, "unit other"]  # Q
    cross: Float[Array, "unit teacher"]  # R


def init(key: PRNGKeyArray, config: Config) -> _committee.State:
    """Units with the overlaps asked for, but for their scatter of order 1/sqrt d."""
    key_w, key = jax.random.split(key)
    target = _teacher(config)
    along, lengths = jnp.asarray(config.starts, float), jnp.asarray(config.lengths, float)
    rest = jnp.sqrt((lengths**2 - along**2) / config.dim)
    w = rest[:, None] * jax.random.normal(key_w, target.w.shape) + along[:, None] * target.w
    return _committee.State(committee.Params(w, jnp.ones(len(w))), key)


def step(state: _committee.State, config: Config) -> _committee.State:
    return _committee.descend(state, _teacher(config), config.learning_rate, config.noise_std)


def observe(state: _committee.State, config: Config) -> Result:
    target = _teacher(config)
    found = committee.overlaps(state.student, target)
    return Result(committee.error(state.student, target), found.student, found.cross)


def steps(config: Config) -> np.ndarray:
    return np.unique(np.linspace(0, config.num_steps, config.num_records + 1).astype(int))


def predict(state: _committee.State, config: Config, steps: np.ndarray) -> Result:
    start = online_sgd.Overlaps(*committee.overlaps(state.student, _teacher(config)))
    time = config.learning_rate * jnp.asarray(steps, float) / config.dim
    path = online_sgd.trajectory(time, start, config.learning_rate, config.noise_std)
    return Result(online_sgd.error(path), path.student, path.cross)


def predict_plateau(state: _committee.State, config: Config, steps: np.ndarray) -> Result:
    """The plateau at this learning rate, on which no time passes: stored and drawn beside the prediction, but not judged."""
    still = online_sgd.plateau(len(config.lengths), config.learning_rate)
    found = Result(online_sgd.error(still), still.student, still.cross)
    return Result(*(jnp.broadcast_to(one, (len(steps), *one.shape)) for one in found))


def _teacher(config: Config) -> committee.Params:
    return _committee.teacher(len(config.lengths), config.dim)


_SIZE = "overlaps of one run scatter by some 1/sqrt d, and where the plateau is left the error follows them exponentially"
TOLERANCE = {
    "error": Tolerance(0.1, 1e-5, reason=_SIZE),
    "student": Tolerance(0.02, 0.02, reason=_SIZE),
    "cross": Tolerance(0.02, 0.02, reason=_SIZE),
}
QUICK = {"dim": 20, "num_steps": 40, "num_records": 4}
SEEDS = 8
GRID = {"learning_rate": (0.5, 1.0, 1.5)}
