r"""A filter that leaks a share e of the nuisance moves the critical weight of distillation, to infinity below a finite leak.

Students are trained for every leak at many weights $\alpha$ of distillation, evenly spaced in $1/\alpha$. The share of
weights at which the task is lost measures $1/\alpha_*$, a straight line in the square of the leak that ends at
$e^2 = 1/L_k$: any smaller leak is small enough.

$$
\frac{1}{\alpha_*} = \frac{\max(0,\; e^2 L_k - 1)}{b^2}
$$

with the variance $L_k$ of the $k$-th nuisance, a task direction of variance 1 and its coefficient $b$ in the output.

Source: derived here, for the two losses of Liang et al., arXiv 2210.01351 (abstract read)
Cost: 15 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Fraction, NonNegative, Positive, Precision, Static, Tolerance, check
from ...models.linear import deep_linear
from ...theory.linear_networks import task_filters as theory
from . import _student


@dataclass(frozen=True)
class Config:
    variances: Annotated[tuple[NonNegative, ...], MinLen(1)] = (9.0, 4.0)  # of nuisances (L); the task direction has 1
    coefficient: Positive = 2.0  # output per unit of the task direction (b)
    num_features: Count = 1  # hidden units of the student (k)
    leaks: Annotated[tuple[NonNegative, ...], MinLen(1), Distinct] = (0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)  # of nuisances (e)
    most: Annotated[Positive, Static] = 2.4  # largest 1/alpha
    num_weights: Count = 24  # weights of distillation, in the middle of as many even parts of (0, most)
    leading_share: Fraction = 0.3  # step size times a bound on the strength of the fastest mode
    init_scale: Positive = 0.1  # of the students' weights: standard deviation times the root of the inputs of a layer
    num_steps: Count = 20000  # updates
    dtype: Precision = "float64"  # an error that vanishes falls by many decades

    def __post_init__(self):
        check(self)


class State(NamedTuple):
    params: deep_linear.Params  # students on two leading axes: leak, weight


class Result(NamedTuple):
    inverse: Float[Array, "leak"]  # 1/alpha_*
    task_error: Float[Array, "leak weight"] | None = None  # E |y - y_hat|^2 over E |y|^2


def labels(config: Config) -> dict[str, tuple]:
    step = config.most / config.num_weights
    return {"leak": config.leaks, "weight": tuple((place + 0.5) * step for place in range(config.num_weights))}


def _over_students(function):
    """Of every leak and weight."""
    return jax.vmap(jax.vmap(function, (0, None, 0)), (0, 0, None))


def _weights(config: Config) -> Float[Array, "weight"]:
    """alpha, from the largest down."""
    return config.num_weights / (config.most * (jnp.arange(config.num_weights, dtype=float) + 0.5))


def init(key: PRNGKeyArray, config: Config) -> State:
    """All students of a seed start alike."""
    one = _student.init(key, len(config.variances) + 1, config.num_features, config.init_scale)
    lead = len(config.leaks), config.num_weights
    return State(jax.tree.map(lambda w: jnp.broadcast_to(w, (*lead, *w.shape)), one))


def step(state: State, config: Config) -> State:
    def descend(params: deep_linear.Params, leak: Array, alpha: Array) -> deep_linear.Params:
        problem = _student.problem(config.variances, config.coefficient, leak, alpha)
        return _student.descend(params, problem, config.leading_share)

    return State(_over_students(descend)(state.params, jnp.asarray(config.leaks, float), _weights(config)))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    def error(params: deep_linear.Params, leak: Array, alpha: Array) -> Array:
        problem = _student.problem(config.variances, config.coefficient, leak, alpha)
        return _student.errors(params, problem)[0] / config.coefficient**2

    found = _over_students(error)(state.params, jnp.asarray(config.leaks, float), _weights(config))
    return Result(config.most * jnp.mean(jnp.where(found > 0.5, 1.0, 0.0), axis=1), found)


def predict(config: Config) -> Result:
    leaks = jnp.asarray(config.leaks, float)
    return Result(1 / theory.task_drop_alpha(config.coefficient, config.variances, config.num_features, leaks))


_GRID = "half of the distance of two weights, 0.1 at the default size; close to the critical weight students wait at a saddle"
TOLERANCE = {"inverse": Tolerance(absolute=0.051, reason=_GRID)}
QUICK = {"variances": (3.0,), "leaks": (0.5, 1.0), "num_weights": 2, "num_steps": 10}
SEEDS = 8
