r"""Under attention, waves of uniform tokens on a circle grow at exact rates; the fastest gives about the number of clusters.

Tokens begin evenly spaced. After a tiny perturbation each Fourier mode $k$ of the displacements grows at its own rate
$\sigma_k$, softmax (SA) or not (USA). After a larger one the tokens stand in a few clusters for a long time: near the number of
periods of the mode of the largest $\sigma_k$, and fewer at large $\beta$, where its neighbours grow almost as quickly and
clusters merge early: 2.9, 4.2 and 5.4 on average beside 3, 4 and 6. No law of this number is known here, and it is not judged.
Times of USA are multiplied by $e^\beta$ here.

$$
\sigma_k = \frac{k^2 I_k(\beta)}{\beta\, I_0(\beta)} \quad \text{(SA)}, \qquad
\sigma_k = \frac{k^2 I_k(\beta)}{\beta}\, e^{-\beta} \quad \text{(USA)}
$$

with modified Bessel functions $I_k$; a mode's amplitude grows as $e^{\sigma_k t}$.

Source: derived here, for the flows of Geshkovski, Letrouit, Polyanskiy and Rigollet, arXiv 2312.10794; metastable clusters in
any dimension: cf. Bruno et al., arXiv 2410.23228 (recalled)
Cost: 25 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Lt, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, Positive, Precision, Static, Tolerance, check
from ...models.transformers import sphere_attention
from ...theory.transformers import circle_tokens
from .. import _measure
from . import _flows


@dataclass(frozen=True)
class Config:
    num_tokens: Count = 200  # paper n
    betas: Annotated[tuple[Annotated[float, Ge(0.5)], ...], MinLen(1), Distinct] = (4.0, 9.0, 16.0)  # inverse temperatures
    num_modes: Count = 10  # periods round the circle, from 1
    tiny: Positive = 1e-6  # standard deviation of the angles about even spacing, for the growth rates
    linear_time: Positive = 2.0  # for which growth is measured, in units of 1/(largest growth rate)
    noise_std: NonNegative = 1e-2  # standard deviation of the angles about even spacing, for the clusters
    end_time: Positive = 20.0  # time of the flow from that start, in units of 1/(largest growth rate)
    count_time: Annotated[Positive, Static] = 10.0  # at which clusters are counted, in the same units
    num_records: Count = 20  # times at which they are counted, evenly spaced up to end_time
    record_every: Count = 20  # Runge-Kutta steps between two of them
    threshold: Annotated[float, Gt(-1), Lt(1)] = 0.98  # inner product above which two tokens are linked; clusters are chains
    smallest: Count = 5  # tokens of the smallest cluster that counts: a token on its way between two clusters does not count
    dtype: Precision = "float64"  # angles of 1e-6 must be resolved

    def __post_init__(self):
        check(self)
        if self.count_time > self.end_time:
            raise ValueError(f"count_time must be at most end_time = {self.end_time}, got {self.count_time}")
        if self.smallest > self.num_tokens:
            raise ValueError(f"smallest must be at most num_tokens = {self.num_tokens}, got {self.smallest}")
        if self.num_modes >= self.num_tokens / 2:
            raise ValueError(f"num_modes must be below num_tokens/2 = {self.num_tokens / 2:g}, got {self.num_modes}")


class Result(NamedTuple):
    growth: Float[Array, "flow beta mode"]  # rate of the amplitude of the mode
    clusters: Float[Array, "flow beta"] | None = None  # number of metastable clusters, at count_time
    groups: Float[Array, "flow beta time"] | None = None  # number of clusters at all times


def labels(config: Config) -> dict[str, tuple]:
    """Modes by their periods, times as shares of `end_time`."""
    modes = tuple(range(1, config.num_modes + 1))
    return {"flow": tuple(_flows.FLOWS), "beta": config.betas, "mode": modes, "time": _flows.shares(config.num_records)}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    n, betas = config.num_tokens, jnp.asarray(config.betas, float)
    noise = jax.random.normal(key, (n,))
    even = 2 * jnp.pi * jnp.arange(n, dtype=noise.dtype) / n
    phases = jnp.arange(1, config.num_modes + 1, dtype=noise.dtype)[:, None] * even[None]

    def amplitudes(x: Float[Array, "token 2"]) -> Float[Array, "mode"]:
        """Amplitudes of the waves in the displacements from even spacing."""
        cos, sin = jnp.cos(even), jnp.sin(even)
        angles = jnp.arctan2(cos * x[:, 1] - sin * x[:, 0], cos * x[:, 0] + sin * x[:, 1])
        return jnp.hypot(jnp.cos(phases) @ angles, jnp.sin(phases) @ angles)

    def count(x: Float[Array, "token 2"]) -> Array:
        return sphere_attention.num_clusters(x, config.threshold, config.smallest).astype(x.dtype)

    def at(beta: Array, softmax: bool) -> Result:
        unit = 1 / jnp.max(_rates(beta, softmax, num_modes=n // 2))
        linear = _flows.path(
            sphere_attention.circle(even + config.tiny * noise), config.linear_time * unit, 40, beta, softmax, every=40
        )
        first, last = amplitudes(linear[0]), amplitudes(linear[-1])
        growth = jnp.log(last / first) / (config.linear_time * unit)
        steps, every = config.num_records * config.record_every, config.record_every
        start = sphere_attention.circle(even + config.noise_std * noise)
        counts = jax.lax.map(count, _flows.path(start, config.end_time * unit, steps, beta, softmax, every)[1:])
        return Result(growth, counts[_counted(config)], counts)

    return _measure.stacked(
        jax.lax.map(lambda beta, softmax=softmax: at(beta, softmax), betas) for softmax in _flows.FLOWS.values()
    )


def _counted(config: Config) -> Array:
    """The record nearest to the time of the count."""
    times = jnp.arange(1.0, config.num_records + 1) * (config.end_time / config.num_records)
    return jnp.argmin(jnp.abs(times - config.count_time))


def _rates(beta: Array, softmax: bool, num_modes: int) -> Float[Array, "mode"]:
    """sigma_k on the clock of the simulation."""
    return circle_tokens.circle_growth_rates(num_modes, beta, softmax) * (1 if softmax else jnp.exp(-beta))


def predict(config: Config) -> Result:
    betas = jnp.asarray(config.betas, float)
    flows = _flows.FLOWS.values()
    return Result(jnp.stack([jax.vmap(lambda beta, s=softmax: _rates(beta, s, config.num_modes))(betas) for softmax in flows]))


def predict_fastest(config: Config) -> Result:
    """As many clusters as the fastest wave has periods: near the number, but not a law for it."""
    clusters = circle_tokens.num_metastable_clusters(jnp.asarray(config.betas, float)).astype(float)
    return predict(config)._replace(clusters=jnp.stack([clusters, clusters]))


def predict_unsquared(config: Config) -> Result:
    """Rates with k in place of k^2: they ignore the change of the density of tokens by a wave of displacements."""
    right = predict(config)
    return right._replace(growth=right.growth / jnp.arange(1.0, config.num_modes + 1)[None, None])


TOLERANCE = {
    "growth": Tolerance(
        1e-4,
        1e-5,
        reason="linear to beta * tiny of the displacements, and Runge-Kutta's error of the fastest modes",
    ),
}
SHARED = {
    "growth": "theory says only for how long a wave is watched, which `linear_time` counts in units of 1/(largest growth rate)",
}
CURVE = {"betas": 200}
QUICK = {"num_tokens": 24, "betas": (1.0, 4.0), "num_modes": 3, "num_records": 4, "record_every": 5, "smallest": 2}
SEEDS = 16
