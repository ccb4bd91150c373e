r"""Weight decay on the factors is a nuclear norm on the form: it soft-thresholds eigenvalues, and the rank falls in steps.

The trace couples the modes: the summed error of all eigenvalues shifts each threshold. Gradient descent from small random
weights attains the global optimum, and the squared norm of its balanced factors is twice the nuclear norm of the form.

$$
\begin{align*}
q_i &= \operatorname{soft}\left( q^*_i - \frac{T}{2},\ \frac{\omega}{4} \right), \qquad T = \sum_i (q_i - q^*_i) \\
\|W\|^2 + \|V\|^2 &= 2 \sum_i |q_i|
\end{align*}
$$

with $\operatorname{soft}(z, u) = \operatorname{sign}(z) \max(|z| - u, 0)$, the eigenvalues $q^*_i$ of the target (`spectrum`)
and $\omega$ (`weight_decay`); the rank is the number of $q_i$ that are not 0.

Source: derived here; explains the low rank under weight decay of Pearce et al., arXiv 2410.08417
Cost: 10 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Precision, Tolerance, check
from ...models.bilinear import bilinear
from ...theory.linear_networks import bilinear_losses
from . import _population


@dataclass(frozen=True)
class Config:
    spectrum: _population.Spectrum = (2.0, 1.0, 0.4, 0.1, -0.3, -1.2)  # eigenvalues of the target
    model: bilinear.Config = field(default_factory=lambda: bilinear.Config(6, 8, init="ones", init_scale=0.5))
    weight_decay: NonNegative = 0.5  # omega of the penalty (omega/2)(||w||^2 + ||v||^2) on E (f - y)^2
    learning_rate: Positive = 0.02  # step size
    num_steps: Count = 20_000  # updates
    dtype: Precision = "float64"  # ends within 1e-6 of the optimum

    def __post_init__(self):
        check(self)
        if (self.model.dim, self.model.num_outputs, self.model.bias) != (len(self.spectrum), 1, False):
            raise ValueError(
                f"model.dim must be the {len(self.spectrum)} of the spectrum, with one output and no bias; got {self.model}"
            )
        if self.model.init != "ones":
            raise ValueError(f"model.init must be ones, as the theory assumes; got {self.model.init}")
        needed = max(sum(value > 0 for value in self.spectrum), sum(value < 0 for value in self.spectrum))
        if self.model.width < needed:
            raise ValueError(f"model.width must be at least {needed}, the eigenvalues of one sign; got {self.model.width}")


class Result(NamedTuple):
    eigenvalues: Float[Array, "mode"]  # of the form at the end, falling
    norm: Float[Array, ""]  # ||w||^2 + ||v||^2
    rank: Float[Array, ""]  # eigenvalues of modulus above 1e-3


class State(NamedTuple):
    params: bilinear.Params
    target: Float[Array, "row row"]  # the form


def init(key: PRNGKeyArray, config: Config) -> State:
    key_target, key_params = jax.random.split(key)
    return State(bilinear.init(key_params, config.model), _population.draw(key_target, config.spectrum).matrix)


def step(state: State, config: Config) -> State:
    def objective(params: bilinear.Params) -> Float[Array, ""]:
        return _population.loss(params, state.target) + config.weight_decay / 2 * _squares(params)

    return state._replace(params=_population.descend(objective, state.params, config.learning_rate))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    return _result(jnp.linalg.eigvalsh(_population.form(state.params)), _squares(state.params))


def _squares(params: bilinear.Params) -> Float[Array, ""]:
    return jnp.sum(params.w**2) + jnp.sum(params.v**2)


def _result(values: Float[Array, "mode"], norm: Float[Array, ""]) -> Result:
    return Result(jnp.sort(values, descending=True), norm, jnp.sum((jnp.abs(values) > 1e-3).astype(values.dtype)))


def predict(config: Config) -> Result:
    values = bilinear_losses.weight_decay_optimum(jnp.asarray(config.spectrum), config.weight_decay)
    return _result(values, 2 * jnp.sum(jnp.abs(values)))


def predict_uncoupled(config: Config) -> Result:
    """The prediction if every mode were alone: the threshold omega/4 without the shift by the trace."""
    target = jnp.asarray(config.spectrum)
    values = jnp.sign(target) * jnp.maximum(jnp.abs(target) - config.weight_decay / 4, 0)
    return _result(values, 2 * jnp.sum(jnp.abs(values)))


_LEFT = "descent ends that close to the optimum; near a threshold it converges slowly"
TOLERANCE = {
    "eigenvalues": Tolerance(absolute=1e-6, reason=_LEFT),
    "norm": Tolerance(1e-6, reason=_LEFT),
    "rank": Tolerance(reason="a count of eigenvalues: exact"),
}
CURVE = {"weight_decay": 2000}  # so many that the steps of the rank stand where they happen
QUICK = {"num_steps": 20}
SEEDS = 8
# not where a mode vanishes (0.53, 1, 2.2, 3.87, 6): descent is slow there, as 1/time
GRID = {"weight_decay": (0.05, 0.25, 0.5, 0.75, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.5, 7.0, 8.0)}
