r"""Loss and margins of the four clusters follow one closed system, and late in training each margin its own closed form.

$$
\begin{align*}
\gamma_\mu &= \frac{y_\mu}{p} \sum_j a_j \psi(w_j\cdot\mu, s_j), \qquad
\text{loss} = \frac{1}{2} \sum_\mu \ln\left(1 + e^{-\gamma_\mu}\right) \\
(\dot w_j, \dot s_j, \dot a_j) &= -p\, \nabla_{(w_j, s_j, a_j)} \text{loss} \\
\dot\gamma_\mu &\to \frac{\sqrt{2}\, \gamma_\mu}{1 + e^{\gamma_\mu}} \quad \text{late, in each cluster alone}
\end{align*}
$$

Here $\mu$ is one of the four sign pairs $(x_1, x_2)$ with label $y_\mu$, $w_j$ the weights to these two coordinates,
$s_j = \|w_\perp\|$ the norm of the others, and $\psi(u, s) = \mathbb{E} \operatorname{relu}(u + s z)$ with $z$ standard
normal. The prediction takes steps of `learning_rate`.

Source: Glasgow, arXiv 2309.15111 (margins grow and become balanced); both predictions are derived here
Cost: 25 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge
from jaxtyping import Array, Float

from ...contract import Count, Tolerance
from ...theory.feature_learning import xor_mean_field
from . import _training


@dataclass(frozen=True)
class Config(_training.Config):
    record_every: Count = 5  # steps between two records
    num_test: Count = 1024  # points of each cluster on which margins are averaged
    closed_form_from: Annotated[int, Ge(0)] = 140  # step at which the signal-only closed form takes over the margins


class Result(NamedTuple):
    loss: Float[Array, ""]  # mean of 2 log(1 + exp(-y f)) over the test points
    margin: Float[Array, "cluster"]  # mean of y f in each cluster
    smallest: Float[Array, ""]  # of the four margins
    largest: Float[Array, ""]  # of the four margins: the two meet as the margins balance
    error: Float[Array, ""] | None = None  # share of the test points with y f < 0, half of those with y f = 0


def labels(config: Config) -> dict[str, tuple]:
    return {"cluster": ("+mu_1", "-mu_1", "+mu_2", "-mu_2")}


init, step = _training.init, _training.step


def steps(config: Config) -> np.ndarray:
    return np.arange(0, config.num_steps + 1, config.record_every)


def observe(state: _training.State, config: Config) -> Result:
    margins = _training.margins(state, config.num_test)
    return _result(_training.loss(margins), jnp.mean(margins, axis=1), _training.error(margins))


def predict(state: _training.State, config: Config, steps: np.ndarray) -> Result:
    """The mean-field system from the same initial weights at the same step size."""
    path = xor_mean_field.euler(_training.neurons(state.params), config.learning_rate, steps)
    return _result(jax.vmap(xor_mean_field.loss)(path), jax.vmap(xor_mean_field.margins)(path))


def predict_signal_only(state: _training.State, config: Config, steps: np.ndarray) -> Result:
    """Phase 2 alone: from `closed_form_from` on, every cluster's margin by its own closed form (NaN before)."""
    since = config.learning_rate * jnp.asarray(steps - config.closed_form_from, float)
    start = xor_mean_field.euler(_training.neurons(state.params), config.learning_rate, np.array([config.closed_form_from]))
    first = jax.vmap(xor_mean_field.margins)(start)[0]
    curves = jax.vmap(xor_mean_field.margin, (None, 0), 1)(jnp.maximum(since, 0), first)
    margin = jnp.where(since[:, None] < 0, jnp.nan, curves)
    return _result(jax.vmap(_training.loss)(margin), margin)


def _result(
    loss: Float[Array, "*step"], margin: Float[Array, "*step cluster"], error: Float[Array, "*step"] | None = None
) -> Result:
    return Result(loss, margin, jnp.min(margin, axis=-1), jnp.max(margin, axis=-1), error)


# The signal lags by 2 % at dim = 64, for the reason given in phases.py.
_SQUARED = Tolerance(
    0.04,
    1e-4,
    reason="a margin goes as the square of the signal, which falls 2 % behind in phase 1 since w_perp . x_perp is a sum of "
    "dim - 2 signs, not normal; absolute: margins start at theta^2 / sqrt(width) = 4e-4",
)
TOLERANCE = {
    "loss": Tolerance(
        0.03,
        reason="the signal falls 2 % behind in phase 1, since w_perp . x_perp is a sum of dim - 2 signs, not normal: at most "
        "3 % of the loss, at time 14, where it falls fastest",
    ),
    "margin": _SQUARED,
    "smallest": _SQUARED,
    "largest": _SQUARED,
}
QUICK = {"model.dim": 16, "model.width": 32, "batch_size": 64, "num_steps": 20, "num_test": 32, "closed_form_from": 10}
