r"""A deep linear network leaves its plateau after a time that grows as the initial scale to the power 2 - L, with L layers.

Every start is of a size for which the plateau should last as long as asked for; its end is the time at half the loss. Weights
of rank one along the mean of input times target follow the law. Random Gaussian weights have the same power, and are off by a
factor of order 1 that depends on the draw; they are measured without a verdict.

$$
t^* = \frac{a_0^{2 - L}}{(L - 2)\, |b|}, \qquad b = \mathbb{E}\, y x
$$

Source: derived here; the plateau is the first phase of Liu et al., arXiv 2112.00980
Cost: 10 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, Positive, Precision, Tolerance, check
from ...models.linear import deep_linear
from ...theory.linear_networks import plateau
from . import _training


@dataclass(frozen=True)
class Config:
    depths: Annotated[tuple[Annotated[int, Ge(3)], ...], MinLen(1), Distinct] = (3, 4, 5)  # layers of each network (L)
    lengths: Annotated[tuple[Positive, ...], MinLen(2), Distinct] = (10.0, 20.0, 40.0, 80.0)  # t* for which a_0 is chosen
    dim: Count = 12  # of the inputs
    width: Count = 12  # of every hidden layer
    num_samples: Count = 400  # training samples
    mean: NonNegative = 2.0  # of the inputs, along their first coordinate
    teacher: _training.Teacher = (0.5, 0.3)  # y = teacher.x, the other coordinates 0
    learning_rate: Positive = 0.01  # step size
    num_steps: Count = 20_000  # updates
    dtype: Precision = "float64"  # products of small layers

    def __post_init__(self):
        check(self)
        _training.check_teacher(self.teacher, self.dim)


class State(NamedTuple):
    params: tuple[deep_linear.Params, ...]  # of each depth, leading axes of starts (rank one, random) and lengths
    data: _training.Moments
    times: Float[Array, "depth start length"]  # spent above half of the first loss


class Result(NamedTuple):
    time: Float[Array, "depth length"]  # learning rate times updates until the loss is halved, from rank one
    power: Float[Array, "depth"]  # slope of its logarithm against the logarithm of the initial scale
    init_scale: Float[Array, "depth length"] | None = None  # norm of each layer at the start (a_0)
    random_time: Float[Array, "depth length"] | None = (
        None  # from Gaussian weights; all of the training where it did not suffice
    )


def labels(config: Config) -> dict[str, tuple]:
    return {"depth": config.depths, "length": config.lengths}


def _scales(config: Config) -> Float[Array, "depth length"]:
    """a_0, for the drive of infinitely many samples."""
    excess = jnp.asarray(config.depths, float)[:, None] - 2
    product = excess * _training.drive(config.mean, config.teacher) * jnp.asarray(config.lengths, float)[None]
    return product ** (-1 / excess)


def init(key: PRNGKeyArray, config: Config) -> State:
    key_data, *keys = jax.random.split(key, 1 + 2 * len(config.depths))
    data = _training.moments(*_training.sample(key_data, config.num_samples, config.dim, config.mean, config.teacher))
    params = []
    for i, (depth, scales) in enumerate(zip(config.depths, _scales(config), strict=True)):
        aligned = _training.unit_start(keys[2 * i], config.dim, config.width, depth, data.cross[0])
        random = _training.unit_gaussian(keys[2 * i + 1], config.dim, config.width, depth)
        starts = jax.tree.map(lambda *w: jnp.stack(w)[:, None], aligned, random)
        params.append(_training.scaled(starts, jnp.broadcast_to(scales, (2, len(scales)))))
    return State(tuple(params), data, jnp.zeros((len(config.depths), 2, len(config.lengths))))


def step(state: State, config: Config) -> State:
    def update(params: deep_linear.Params) -> tuple[deep_linear.Params, Array]:
        value, slope = _training.gradient(params, state.data, 0.0)
        return _training.descended(params, slope, config.learning_rate), value > state.data.square / 4

    after, above = zip(*(jax.vmap(jax.vmap(update))(params) for params in state.params), strict=True)
    return State(after, state.data, state.times + jnp.where(jnp.stack(above), config.learning_rate, 0))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    time, scales = state.times[:, 0], _scales(config)
    x, y = (jnp.log(values) - jnp.mean(jnp.log(values), axis=1, keepdims=True) for values in (scales, time))
    return Result(time, jnp.sum(x * y, axis=1) / jnp.sum(x**2, axis=1), scales, state.times[:, 1])


def predict(state: State, config: Config) -> Result:
    drive = jnp.linalg.norm(state.data.cross)
    scales = _scales(config)
    time = [plateau.plateau_time(scales[i], depth, drive) for i, depth in enumerate(config.depths)]
    return Result(jnp.stack(time), 2 - jnp.asarray(config.depths, drive.dtype))


_EARLY = (
    "the loss is halved before the amplitude of the law diverges, by a time of order 1/|b| = 0.4 that does not depend on a_0"
)
TOLERANCE = {
    "time": Tolerance(0.01, 0.5, reason=_EARLY),
    "power": Tolerance(0, 0.1, reason=_EARLY),
}
QUICK = {"depths": (3, 4), "lengths": (1.0, 2.0), "dim": 3, "width": 3, "num_samples": 20, "num_steps": 400}
SEEDS = 8
