r"""A student that is too small drops the task at a critical weight of distillation, at once.

A linear teacher has one task direction and louder nuisances. Its student has $k$ hidden units, from which it reads both the
output and the teacher's hidden state, and is trained by gradient descent on the loss over the population. As the weight
$\alpha$ of distillation rises, the best student trades the task for the $k$-th nuisance.

$$
\frac{\mathbb{E} |y - \hat y|^2}{\mathbb{E} |y|^2} = \begin{cases} 0 & \alpha < \alpha_* \\ 1 & \alpha > \alpha_*
\end{cases}, \qquad
\alpha_* = \frac{b^2}{L_k - 1}
$$

with nuisance variances $L_1 \ge L_2 \ge \dots$, a task direction of variance 1 and the output $b$ times it.

Source: derived here, for the two losses of Liang et al., arXiv 2210.01351 (abstract read)
Cost: 30 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Fraction, NonNegative, Positive, Precision, Tolerance, check
from ...models.linear import deep_linear
from ...theory.linear_networks import task_filters as theory
from . import _student


@dataclass(frozen=True)
class Config:
    variances: Annotated[tuple[NonNegative, ...], MinLen(1)] = (9.0, 4.0, 2.0)  # of nuisances (L); the task direction has 1
    coefficient: Positive = 2.0  # output per unit of the task direction (b)
    leak: NonNegative = 1.0  # gain of the filter for nuisances; for the task it is 1 (e)
    num_features: Count = 1  # hidden units of the student (k)
    alpha: Positive = 0.3  # weight of distillation
    leading_share: Fraction = 0.3  # step size times a bound on the strength of the fastest mode
    init_scale: Positive = 0.1  # of the student's weights: standard deviation times the root of the inputs of a layer
    num_steps: Count = 15000  # updates
    dtype: Precision = "float64"  # an error that vanishes falls by many decades

    def __post_init__(self):
        check(self)


class State(NamedTuple):
    params: deep_linear.Params


class Result(NamedTuple):
    task_error: Float[Array, ""]  # E |y - y_hat|^2 over E |y|^2
    loss: Float[Array, ""]  # E |y - y_hat|^2 + alpha E |F h - s_hat|^2
    hidden: Float[Array, ""] | None = None  # share of the student's hidden state that is due to the task direction


def init(key: PRNGKeyArray, config: Config) -> State:
    return State(_student.init(key, len(config.variances) + 1, config.num_features, config.init_scale))


def step(state: State, config: Config) -> State:
    problem = _student.problem(config.variances, config.coefficient, config.leak, config.alpha)
    return State(_student.descend(state.params, problem, config.leading_share))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    problem = _student.problem(config.variances, config.coefficient, config.leak, config.alpha)
    task, loss = _student.errors(state.params, problem)
    power = state.params.weights[0] ** 2 * jnp.diagonal(problem.covariance)[None]
    return Result(task / config.coefficient**2, loss, jnp.sum(power[:, -1]) / jnp.sum(power))


def predict(config: Config) -> Result:
    variances = jnp.asarray((*config.variances, 1.0), float)
    gains = jnp.full(len(variances), config.leak).at[-1].set(1.0)
    teacher = config.coefficient * jnp.eye(1, len(variances), len(variances) - 1)
    best = theory.optimum(config.alpha, teacher, jnp.diag(gains), jnp.diag(variances), config.num_features)
    return Result(best.task_error / config.coefficient**2, best.loss)


_TRAINED = "training is long enough at weights that are 10 % or more off the critical one"
TOLERANCE = {"task_error": Tolerance(1e-3, 1e-3, reason=_TRAINED), "loss": Tolerance(1e-4, 1e-4, reason=_TRAINED)}
QUICK = {"variances": (3.0,), "num_steps": 10}
SEEDS = 8
GRID = {"num_features": (1, 2, 3), "alpha": (0.1, 0.25, 0.45, 0.55, 0.9, 1.2, 1.5, 2.4, 3.6, 4.4, 8.0)}
