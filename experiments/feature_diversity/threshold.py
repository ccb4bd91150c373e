r"""With weight decay above a threshold, which falls as the initial scale to the power L - 2, a deep network never learns.

Networks of four layers from rank one, for every pair of an initial scale and a weight decay: below the line they leave the
plateau, above it their weights decay to 0. Random Gaussian weights are trained beside, without a verdict.

$$
\text{stuck for ever} \iff \lambda \geq |b|\, a_0^{L-2}
$$

Source: derived here; that learning may never start is from Liu et al., arXiv 2112.00980, who count L2 regularisation among the
operations that help ReLU networks (recalled); in this model it delays the end of the plateau
Cost: 15 s
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

WEIGHT_DECAYS = (0.0037, 0.0053, 0.0075, 0.0106, 0.015, 0.0212, 0.03, 0.0424, 0.06, 0.0848, 0.12)


@dataclass(frozen=True)
class Config:
    depth: Annotated[int, Ge(3)] = 4  # layers (L)
    init_scales: Annotated[tuple[Positive, ...], MinLen(1), Distinct] = (0.05, 0.0707, 0.1, 0.1414, 0.2)  # of each layer (a_0)
    weight_decays: Annotated[tuple[Positive, ...], MinLen(1), Distinct] = WEIGHT_DECAYS  # lambda, of lambda/2 |W|^2
    dim: Count = 12  # of the inputs
    width: Count = 6  # of every hidden layer
    num_samples: Count = 400  # training samples
    mean: NonNegative = 2.0  # of the inputs, along their first coordinate
    teacher: _training.Teacher = (0.5, 0.3)  # y = teacher.x, the other coordinates 0
    learning_rate: Positive = 0.02  # step size
    num_steps: Count = 20_000  # updates
    dtype: Precision = "float64"  # weights decay through many decades

    def __post_init__(self):
        check(self)
        _training.check_teacher(self.teacher, self.dim)
        if sorted(self.weight_decays) != list(self.weight_decays):
            raise ValueError(f"weight_decays must rise, got {self.weight_decays}")


class State(NamedTuple):
    params: deep_linear.Params  # leading axes of starts (rank one, random), scales and weight decays
    data: _training.Moments


class Result(NamedTuple):
    escaped: Float[Array, "init_scale weight_decay"]  # 1 where the network has left the plateau: its output is not small
    threshold: Float[Array, "init_scale"]  # weight decay between the largest that is left behind and the next one
    size: Float[Array, "init_scale weight_decay"] | None = None  # norm of the product of all layers
    random_escaped: Float[Array, "init_scale weight_decay"] | None = None  # from Gaussian weights


def labels(config: Config) -> dict[str, tuple]:
    return {"init_scale": config.init_scales, "weight_decay": config.weight_decays}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_data, key_aligned, key_random = jax.random.split(key, 3)
    data = _training.moments(*_training.sample(key_data, config.num_samples, config.dim, config.mean, config.teacher))
    aligned = _training.unit_start(key_aligned, config.dim, config.width, config.depth, data.cross[0])
    random = _training.unit_gaussian(key_random, config.dim, config.width, config.depth)
    starts = jax.tree.map(lambda *w: jnp.stack(w)[:, None, None], aligned, random)
    scales = jnp.asarray(config.init_scales, float)[None, :, None]
    return State(_training.scaled(starts, jnp.broadcast_to(scales, (2, scales.size, len(config.weight_decays)))), data)


def step(state: State, config: Config) -> State:
    def update(params: deep_linear.Params, weight_decay: Array) -> deep_linear.Params:
        _, slope = _training.gradient(params, state.data, weight_decay)
        return _training.descended(params, slope, config.learning_rate)

    decays = jnp.asarray(config.weight_decays, float)
    return state._replace(params=jax.vmap(jax.vmap(jax.vmap(update), (0, None)), (0, None))(state.params, decays))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    size_fn = jax.vmap(jax.vmap(jax.vmap(lambda params: jnp.linalg.norm(deep_linear.product(params)))))
    size = size_fn(state.params)
    start = jnp.asarray(config.init_scales, size.dtype) ** config.depth
    escaped = (size > start[None, :, None]).astype(size.dtype)
    return Result(escaped[0], _between(escaped[0], jnp.asarray(config.weight_decays, size.dtype)), size[0], escaped[1])


def _between(
    escaped: Float[Array, "init_scale weight_decay"], decays: Float[Array, "weight_decay"]
) -> Float[Array, "init_scale"]:
    """The geometric mean of the largest weight decay that is left behind and the next one; at an end of the list, the end."""
    count = jnp.sum(escaped, axis=1).astype(int)
    low, high = (decays[jnp.clip(count + shift, 0, len(decays) - 1)] for shift in (-1, 0))
    return jnp.sqrt(low * high)


def predict(state: State, config: Config) -> Result:
    drive = jnp.linalg.norm(state.data.cross)
    threshold = plateau.critical_weight_decay(jnp.asarray(config.init_scales, drive.dtype), config.depth, drive)
    decays = jnp.asarray(config.weight_decays, drive.dtype)
    return Result((decays[None] < threshold[:, None]).astype(drive.dtype), threshold)


TOLERANCE = {
    "escaped": Tolerance(reason="exact for small scales; the networks are none of them within 1 % of the threshold"),
    "threshold": Tolerance(0.2, reason="it lies between two weight decays of a ratio of 2^(1/2)"),
}
QUICK = {
    "init_scales": (0.2, 0.3),
    "weight_decays": (0.01, 0.5),
    "dim": 3,
    "width": 2,
    "num_samples": 20,
    "num_steps": 200,
}
SEEDS = 8
