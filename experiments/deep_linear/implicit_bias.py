r"""Diagonal networks interpolate with the least l1 norm from small starts, and with the least l2 norm from large ones.

A network $f(x) = \langle u \odot u - v \odot v, x \rangle$ with $u = v = \alpha$ at the start, trained on fewer samples than
features, ends at the weights with $X \beta = y$ and

$$
\sum_i q(\beta_i) = \min_{X b = y}\; \sum_i q(b_i), \qquad
q(b) = b \operatorname{arsinh} \frac{b}{2 \alpha^2} - \sqrt{4 \alpha^4 + b^2}, \qquad \beta = 2 \alpha^2 \sinh(X^\top \nu)
$$

Labels are those of a sparse map, with noise: small starts come near to it.

Source: B. Woodworth et al., arXiv 2002.09277 (recalled); derived here again
Cost: 15 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, Positive, Precision, Tolerance, check
from ...models.linear import diagonal
from ...tasks import linear_map
from ...theory.linear_networks import implicit_bias
from .. import _measure
from . import _descent


@dataclass(frozen=True)
class Config:
    dim: Count = 24  # features
    num_samples: Count = 8  # rows of X
    num_relevant: Annotated[int, Ge(0)] = 2  # features with a weight of 1 or -1 in the map; the others have 0
    noise_std: NonNegative = 0.2  # of the labels
    init_scales: Annotated[tuple[Positive, ...], MinLen(1), Distinct] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # alpha
    rate: Positive = 0.05  # learning rate over what is stable: 1/(2 (2 alpha^2 + |beta|) times the largest eigenvalue of X X^T)
    num_steps: Count = 60_000  # updates
    dtype: Precision = "float64"  # small weights matter

    def __post_init__(self):
        check(self)
        if not self.num_samples <= self.dim or self.num_relevant > self.dim:
            raise ValueError(
                f"dim must be at least num_samples and num_relevant, got {self.dim}, {self.num_samples}, {self.num_relevant}"
            )


class State(NamedTuple):
    params: diagonal.Params  # of every scale, in a leading axis
    x: Float[Array, "sample feature"]
    y: Float[Array, "sample"]


class Result(NamedTuple):
    beta: Float[Array, "scale feature"]
    l1_norm: Float[Array, "scale"]
    l2_norm: Float[Array, "scale"]
    error: Float[Array, "scale"]  # |beta - the sparse map|
    residual: Float[Array, "scale"] | None = None  # largest |X beta - y|


def labels(config: Config) -> dict[str, tuple]:
    return {"scale": config.init_scales}


def init(key: PRNGKeyArray, config: Config) -> State:
    x, y = linear_map.sample(key, config.num_samples, sparse_map(config)[None], noise_std=config.noise_std)
    starts = [diagonal.init(key, diagonal.Config(config.dim, scale)) for scale in config.init_scales]
    return State(_measure.stacked(starts), x, y[:, 0])


def num_steps(config: Config) -> int:
    return config.num_steps


def step(state: State, config: Config) -> State:
    largest = jnp.linalg.norm(state.x @ state.x.T)  # the Frobenius norm is no less than the largest eigenvalue
    scales = jnp.asarray(config.init_scales)
    typical = jnp.sqrt(config.num_relevant + config.noise_std**2)
    learning_rate = config.rate / (2 * (2 * scales**2 + typical) * largest)

    def loss(params: diagonal.Params) -> Float[Array, ""]:
        outputs = jax.vmap(jax.vmap(diagonal.apply, (None, 0)), (0, None))(params, state.x)
        return jnp.sum((outputs - state.y[None]) ** 2) / 2  # networks of different scales do not meet

    return state._replace(params=_descent.descend(loss, state.params, learning_rate[:, None]))


def simulate(state: State, config: Config) -> Result:
    beta = jax.vmap(diagonal.weights)(state.params)
    residual = jnp.max(jnp.abs(beta @ state.x.T - state.y[None]), axis=1)
    return _result(beta, config)._replace(residual=residual)


def predict(state: State, config: Config) -> Result:
    beta = implicit_bias.hyperentropy_interpolator(state.x, state.y, jnp.asarray(config.init_scales))
    return _result(beta, config)


def predict_least_l1(state: State, config: Config) -> Result:
    """The limit of small starts."""
    return _everywhere(implicit_bias.min_l1(state.x, state.y), config)


def predict_least_l2(state: State, config: Config) -> Result:
    """The limit of large starts."""
    return _everywhere(implicit_bias.min_l2(state.x, state.y), config)


def _everywhere(beta: Float[Array, "feature"], config: Config) -> Result:
    return _result(jnp.broadcast_to(beta, (len(config.init_scales), len(beta))), config)


def _result(beta: Float[Array, "scale feature"], config: Config) -> Result:
    error = jnp.linalg.norm(beta - sparse_map(config)[None], axis=1)
    return Result(beta, jnp.sum(jnp.abs(beta), axis=1), jnp.linalg.norm(beta, axis=1), error)


def sparse_map(config: Config) -> Float[Array, "feature"]:
    index = jnp.arange(config.dim)
    return jnp.where(index < config.num_relevant, jnp.where(index % 2 == 0, 1.0, -1.0), 0.0)


_STEPS = "steps of descent shrink the product of u and v, alpha^2 in the flow, by their size"
TOLERANCE = {
    "beta": Tolerance(0.01, 0.01, reason=f"{_STEPS}; absolute: what the last steps would still change"),
    "l1_norm": Tolerance(0.01, reason=_STEPS),
    "l2_norm": Tolerance(0.01, reason=_STEPS),
    "error": Tolerance(0.01, 0.01, reason=_STEPS),
}
QUICK = {"dim": 4, "num_samples": 2, "num_relevant": 1, "init_scales": (0.1, 1.0), "num_steps": 3000}
SEEDS = 16
