r"""On a circle under attention, nearly even tokens drift apart as a sum of waves, each growing at its own exact rate.

Tokens begin evenly spaced, up to a small perturbation. While the displacements are small, the displacement of every token is
predicted from the perturbation alone: each Fourier mode grows by $e^{\sigma_k t}$. Later the tokens gather in a few clusters;
that is recorded and not judged.

$$
\theta_j(t) - \frac{2\pi j}{n} = \sum_{|k| < n/2} \hat\delta_k\, e^{\sigma_{|k|} t}\, e^{2\pi i jk/n}, \qquad
\sigma_k = \frac{k^2 I_k(\beta)}{\beta\, I_0(\beta)}
$$

with $\hat\delta_k$ the Fourier coefficients of the displacements at the start, and modified Bessel functions $I_k$.

Source: derived here, for the flow of Geshkovski, Letrouit, Polyanskiy and Rigollet, arXiv 2312.10794
Cost: 5 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from ...contract import Count, Positive, Precision, Static, Tolerance, check
from ...models.transformers import sphere_attention
from ...theory.transformers import circle_tokens
from . import _flows


@dataclass(frozen=True)
class Config:
    num_tokens: Annotated[int, Ge(3)] = 64  # paper n
    beta: Annotated[float, Ge(0.5)] = 9.0  # inverse temperature
    noise_std: Positive = 1e-3  # standard deviation of the angles about even spacing, at the start
    time: Annotated[Positive, Static] = 20.0  # of the flow
    linear_time: Annotated[Positive, Static] = 3.0  # up to which displacements are judged
    num_records: Count = 40  # times of a record, evenly spaced
    record_every: Count = 10  # Runge-Kutta steps between two of them
    num_modes: Count = 8  # waves whose amplitudes are judged, of 1, 2, ... periods
    dtype: Precision = "float64"  # displacements far below the spacing

    def __post_init__(self):
        check(self)
        if self.num_early < 1 or self.linear_time > self.time:
            first = self.time / self.num_records
            raise ValueError(f"linear_time must be from the first record, {first:g}, to time, got {self.linear_time}")
        if self.num_modes >= self.num_tokens / 2:
            raise ValueError(f"num_modes must be below num_tokens/2 = {self.num_tokens / 2:g}, got {self.num_modes}")

    @property
    def num_early(self) -> int:
        """Records up to linear_time."""
        return int(self.linear_time / self.time * self.num_records + 1e-9)


class Result(NamedTuple):
    """Displacements are angles less those of even spacing, over noise_std, after the start and while they are small."""

    displacement: Float[Array, "early token"]
    amplitude: Float[Array, "early mode"]  # of the waves in them: no draw has a sign here, so a wrong rate is seen in the mean
    angle: Float[Array, "record token"] | None = None  # from the start to the end, not wrapped


def labels(config: Config) -> dict[str, tuple]:
    """Records by their times."""
    times = (0.0, *(config.time * share for share in _flows.shares(config.num_records)))
    return {"early": times[1 : config.num_early + 1], "record": times, "mode": tuple(range(1, config.num_modes + 1))}


def init(key: PRNGKeyArray, config: Config) -> Float[Array, "token"]:
    """The angles at the start less those of even spacing."""
    return config.noise_std * jax.random.normal(key, (config.num_tokens,))


def simulate(state: Float[Array, "token"], config: Config) -> Result:
    even = 2 * jnp.pi * jnp.arange(config.num_tokens, dtype=state.dtype) / config.num_tokens
    steps = config.num_records * config.record_every
    path = _flows.path(sphere_attention.circle(even + state), config.time, steps, config.beta, True, config.record_every)
    angles = jnp.unwrap(jnp.arctan2(path[..., 1], path[..., 0]), axis=0)
    angles += 2 * jnp.pi * jnp.round((even + state - angles[0]) / (2 * jnp.pi))[None]
    early = (angles - even[None])[1 : config.num_early + 1] / config.noise_std
    return Result(early, _amplitudes(jnp.fft.rfft(early), config), angles)


def _amplitudes(waves: Complex[Array, "early wave"], config: Config) -> Float[Array, "early mode"]:
    """Of unit noise they are about 1."""
    return jnp.abs(waves[:, 1 : config.num_modes + 1]) / config.num_tokens**0.5


def predict(state: Float[Array, "token"], config: Config) -> Result:
    n, times = config.num_tokens, jnp.asarray(labels(config)["early"], state.dtype)
    waves = jnp.fft.rfft(state) / config.noise_std  # of 0, 1, ..., n/2 periods; the mean stays
    rates = circle_tokens.circle_growth_rates(waves.size - 1, config.beta)
    growth = jnp.exp(times[:, None] * jnp.concatenate([jnp.zeros(1, rates.dtype), rates])[None])
    grown = growth.astype(waves.dtype) * waves[None]
    return Result(jnp.fft.irfft(grown, n), _amplitudes(grown, config))


_SECOND = Tolerance(
    absolute=0.05,
    reason="the second order in the displacements: 0.02 in the mean of 8 draws at the last record that is judged, and a tenth "
    "of it at a noise_std of 1e-4",
)
TOLERANCE = {"displacement": _SECOND, "amplitude": _SECOND}
QUICK = {"num_tokens": 16, "beta": 2.0, "time": 8.0, "linear_time": 2.0, "num_records": 8, "record_every": 5, "num_modes": 3}
SEEDS = 8
