r"""The interaction energy of tokens under attention never falls and rises at an exact rate, with and without softmax.

Unnormalised attention (USA) is gradient ascent of the energy; softmax (SA) rescales the velocity of each token by its own
factor. Along flows from uniform starts the measured rise is the integral of the predicted rate. Energies are divided by
$e^\beta$, and times of USA are multiplied by $e^\beta$.

$$
\begin{align*}
E &= \frac{1}{2 \beta n^2} \sum_{i,j} e^{\beta \langle x_i, x_j \rangle}, \qquad
E(t) - E(0) = \int_0^t \frac{dE}{dt}\, dt \\
\frac{dE}{dt} &= \frac{1}{n} \sum_i \left\| \frac{dx_i}{dt} \right\|^2 \quad \text{(USA)}, \qquad
\frac{dE}{dt} = \frac{1}{n^2} \sum_i Z_i \left\| \frac{dx_i}{dt} \right\|^2 \quad \text{(SA)}
\end{align*}
$$

with $Z_i = \sum_j e^{\beta \langle x_i, x_j \rangle}$.

Source: Geshkovski, Letrouit, Polyanskiy and Rigollet, arXiv 2312.10794 (energy, and USA's rate on the circle, read in a public
formalisation of its statements); the rate of SA is derived here
Cost: 10 s
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Precision, Tolerance, check
from ...models.transformers import sphere_attention
from ...theory.transformers import interaction_energy
from .. import _measure
from . import _flows


@dataclass(frozen=True)
class Config:
    num_tokens: Annotated[int, Ge(2)] = 32  # paper n
    dim: Annotated[int, Ge(2)] = 3  # of a token, paper d
    betas: Annotated[tuple[Annotated[float, Ge(0.01)], ...], MinLen(1), Distinct] = (1.0, 4.0, 9.0)  # inverse temperatures
    time: Positive = 12.0  # of the flow
    num_steps: Count = 960  # Runge-Kutta steps; the predicted rates are summed by Simpson's rule over pairs of them
    num_records: Count = 24  # times of a record, evenly spaced; a divisor of num_steps/2
    dtype: Precision = "float64"  # exact rates

    def __post_init__(self):
        check(self)
        if self.num_steps % (2 * self.num_records):
            raise ValueError(f"num_records must divide num_steps/2 = {self.num_steps / 2:g}, got {self.num_records}")


class State(NamedTuple):
    path: Float[Array, "flow beta move token dim"]  # the tokens at the start and after every step


class Result(NamedTuple):
    """Records begin after the start. Energies are divided by e^beta."""

    rate: Float[Array, "flow beta record"]  # dE/dt: derivative of the energy along the velocity
    rise: Float[Array, "flow beta record"]  # E(t) - E(0)
    smallest: Float[Array, "flow beta"] | None = None  # smallest change of the energy in one step: not negative


def labels(config: Config) -> dict[str, tuple]:
    """Records by their shares of `time`."""
    return {"flow": tuple(_flows.FLOWS), "beta": config.betas, "record": _flows.shares(config.num_records)}


def init(key: PRNGKeyArray, config: Config) -> State:
    start = sphere_attention.uniform(key, config.num_tokens, config.dim)
    betas = jnp.asarray(config.betas, start.dtype)

    def path(softmax: bool) -> Array:
        return jax.vmap(lambda beta: _flows.path(start, config.time, config.num_steps, beta, softmax))(betas)

    return State(jnp.stack([path(softmax) for softmax in _flows.FLOWS.values()]))


def simulate(state: State, config: Config) -> Result:
    every = config.num_steps // config.num_records
    params = sphere_attention.identity(config.dim)

    def of_path(path: Float[Array, "move token dim"], beta: Array, softmax: bool) -> Result:
        def energy(x: Array) -> Array:
            return sphere_attention.energy(x, beta, shift=beta)

        def rate(x: Array) -> Array:
            return jax.jvp(energy, (x,), (sphere_attention.field(params, x, beta, softmax, shift=beta),))[1]

        energies = jax.vmap(energy)(path)
        rise = energies[every::every] - energies[0]
        return Result(jax.vmap(rate)(path[every::every]), rise, jnp.min(jnp.diff(energies)))

    betas = jnp.asarray(config.betas, state.path.dtype)
    return _measure.stacked(
        jax.vmap(lambda path, beta, s=softmax: of_path(path, beta, s))(paths, betas)
        for paths, softmax in zip(state.path, _flows.FLOWS.values(), strict=True)
    )


def predict(state: State, config: Config) -> Result:
    def rate(x: Array, beta: float, softmax: bool) -> Array:
        # of the energy over e^beta; on USA's clock, over e^beta once more
        scale = jnp.exp(-jnp.asarray(beta, x.dtype)) / _flows.unit(beta, softmax)
        return scale * interaction_energy.energy_rate(x, beta, softmax)

    return _summed(rate, state, config)


def predict_ascent(state: State, config: Config) -> Result:
    """The prediction if SA too were gradient ascent: (1/n) sum |x_i'|^2 for both."""
    params = sphere_attention.identity(config.dim)

    def rate(x: Array, beta: float, softmax: bool) -> Array:
        square = jnp.mean(jnp.sum(sphere_attention.field(params, x, beta, softmax, shift=beta) ** 2, axis=1))
        return jnp.exp(jnp.asarray(-beta if softmax else 0.0, x.dtype)) * square

    return _summed(rate, state, config)


def _summed(rate_fn: Callable[[Array, float, bool], Array], state: State, config: Config) -> Result:
    """The rates at the records and, by Simpson's rule over pairs of steps, their integrals."""
    every, step = config.num_steps // config.num_records, config.time / config.num_steps

    def of_path(path: Float[Array, "move token dim"], beta: float, softmax: bool) -> Result:
        rates = jax.vmap(lambda x: rate_fn(x, beta, softmax))(path)
        simpson = step / 3 * (rates[:-2:2] + 4 * rates[1:-1:2] + rates[2::2])
        return Result(rates[every::every], jnp.cumsum(simpson)[every // 2 - 1 :: every // 2])

    return _measure.stacked(
        _measure.stacked(of_path(path, beta, softmax) for path, beta in zip(paths, config.betas, strict=True))
        for paths, softmax in zip(state.path, _flows.FLOWS.values(), strict=True)
    )


TOLERANCE = {
    "rate": Tolerance(1e-9, 1e-13, reason="exact but for rounding, of energies of order 1"),
    "rise": Tolerance(1e-5, 1e-7, reason="Runge-Kutta's error in the path and Simpson's in the sum, both of fourth order"),
}
QUICK = {"num_tokens": 6, "betas": (1.0, 2.0), "time": 1.0, "num_steps": 40, "num_records": 4}
SEEDS = 8
