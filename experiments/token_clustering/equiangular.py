r"""Tokens at equal angles keep equal angles, and their inner product follows one closed curve in time and in layers.

$n$ orthogonal tokens, turned at random, move by softmax attention (SA) or without its normalisation (USA). Their one inner
product $\gamma(t)$, the times at which it hits a level, and its value after every layer of post-norm attention have exact
forms: only the rotation is random, and the remaining difference is the error of the integration. Times of USA are multiplied by
$e^\beta$ here.

$$
\begin{align*}
\frac{d\gamma}{dt} &= \frac{2}{Z}\, e^{\beta\gamma} (1 - \gamma) ((n - 1) \gamma + 1), \qquad
Z = e^\beta + (n - 1)\, e^{\beta\gamma} \\
\gamma &\leftarrow \frac{u^2 \gamma + 2 u v (1 + (n - 2) \gamma) + v^2 \left[ (n - 2)(1 + (n - 1) \gamma) + \gamma \right]}
{u^2 + 2 u v (n - 1) \gamma + v^2 (n - 1)(1 + (n - 2) \gamma)} \\
u &= 1 + \frac{\eta\, e^\beta}{Z}, \qquad v = \frac{\eta\, e^{\beta\gamma}}{Z}
\end{align*}
$$

from $\gamma = 0$: the flow of SA, of USA with $n$ in place of $Z$, and a layer of step $\eta$ (`step_sizes`). Hitting times
are the inverse of $\gamma(t)$, in closed form.

Source: Geshkovski, Letrouit, Polyanskiy and Rigollet, arXiv 2312.10794 (the equations of gamma, read in a public formalisation
of its statements); the hitting times and the recursion of the layers are derived here
Cost: 15 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Fraction, NonNegative, Precision, Static, Tolerance, check
from ...models.transformers import sphere_attention
from ...theory.transformers import equiangular_tokens
from .. import _measure
from . import _flows


@dataclass(frozen=True)
class Config:
    num_tokens: Annotated[int, Ge(2)] = 8  # paper n
    dim: Count = 12  # of a token, at least num_tokens; paper d
    betas: Annotated[tuple[NonNegative, ...], MinLen(1), Distinct] = (0.0, 1.0, 4.0, 6.0)  # inverse temperatures
    levels: Annotated[tuple[Fraction, ...], MinLen(1), Distinct] = (0.1, 0.5, 0.9)  # inner products that are waited for
    end: Annotated[Fraction, Static] = 0.99  # inner product at the end of the flow
    num_steps: Count = 1000  # Runge-Kutta steps up to there
    num_records: Count = 20  # times of a record, evenly spaced; a divisor of num_steps
    layer_beta: Annotated[NonNegative, Static] = 2.0  # inverse temperature of the layers
    step_sizes: Annotated[tuple[NonNegative, ...], MinLen(1), Distinct] = (0.1, 0.5, 2.0)  # of the layers, eta
    num_layers: Count = 20  # layers
    dtype: Precision = "float64"  # exact curves

    def __post_init__(self):
        check(self)
        if self.num_steps % self.num_records:
            raise ValueError(f"num_records must divide num_steps = {self.num_steps}, got {self.num_records}")
        if self.num_tokens > self.dim:
            raise ValueError(f"num_tokens must be at most dim = {self.dim}, got {self.num_tokens}")
        if max(self.levels) >= self.end:
            raise ValueError(f"levels must be below end = {self.end}, got {self.levels}")

    def horizon(self, beta: float, softmax: bool) -> float | Array:
        """The time at which the inner product is `end`."""
        time = equiangular_tokens.hitting_time(self.end, self.num_tokens, beta, softmax=softmax)
        return time * _flows.unit(beta, softmax)


class Result(NamedTuple):
    """Records begin after the start, layers at the input."""

    gamma: Float[Array, "flow beta record"]  # mean inner product of all pairs, at even times up to the horizon
    hitting: Float[Array, "flow beta level"]  # time at which it is at the level
    layers: Float[Array, "size layer"]  # mean inner product of all pairs after each layer
    spread: Float[Array, "flow beta"] | None = None  # largest difference between two pairs at one time


def labels(config: Config) -> dict[str, tuple]:
    """Records by their shares of the horizon."""
    return {
        "flow": tuple(_flows.FLOWS),
        "beta": config.betas,
        "record": _flows.shares(config.num_records),
        "level": config.levels,
        "size": config.step_sizes,
    }


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    n, dim = config.num_tokens, config.dim
    rotation = jax.random.orthogonal(key, dim)
    start = sphere_attention.equiangular(n, dim) @ rotation
    gamma, hitting, spread = _measure.stacked(
        _measure.stacked(_flow(start, beta, softmax, config) for beta in config.betas) for softmax in _flows.FLOWS.values()
    )

    def layers(step_size: float) -> Float[Array, "layer"]:
        model = sphere_attention.Config(
            dim, config.layer_beta, motion="layers", step_size=step_size, num_steps=config.num_layers
        )
        path = sphere_attention.trajectory(sphere_attention.init(key, model), start, model)
        return jax.vmap(_mean)(path)

    return Result(gamma, hitting, jnp.stack([layers(size) for size in config.step_sizes]), spread)


def _mean(x: Float[Array, "token dim"]) -> Float[Array, ""]:
    return jnp.mean(sphere_attention.inner_products(x))


def _flow(start: Float[Array, "token dim"], beta: float, softmax: bool, config: Config) -> tuple[Array, Array, Array]:
    """Inner products at the records, hitting times, and the largest difference between pairs."""
    horizon = jnp.asarray(config.horizon(beta, softmax), start.dtype)
    path = _flows.path(start, horizon, config.num_steps, beta, softmax)
    pairs = jax.vmap(sphere_attention.inner_products)(path)
    means = jnp.mean(pairs, axis=1)

    def hit(level: Array) -> Array:
        before = jnp.argmax(means > level) - 1

        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = (ends[0] + ends[1]) / 2
            above = _mean(_flows.path(path[before], middle, 1, beta, softmax)[-1]) > level
            return jnp.where(above, ends[0], middle), jnp.where(above, middle, ends[1])

        step = horizon / config.num_steps  # the step on which the level is crossed is cut in two, again and again
        return before.astype(step.dtype) * step + jax.lax.fori_loop(0, 40, halve, (jnp.zeros_like(step), step))[1]

    every = config.num_steps // config.num_records
    hitting = jax.lax.map(hit, jnp.asarray(config.levels, start.dtype))
    return means[every::every], hitting, jnp.max(jnp.ptp(pairs, axis=1))


def predict(config: Config) -> Result:
    n = config.num_tokens
    share = jnp.arange(1.0, config.num_records + 1) / config.num_records
    levels = jnp.asarray(config.levels, float)

    def curves(beta: float, softmax: bool) -> tuple[Array, Array]:
        unit = _flows.unit(beta, softmax)
        times = share * config.horizon(beta, softmax) / unit
        hitting = equiangular_tokens.hitting_time(levels, n, beta, softmax=softmax) * unit
        return equiangular_tokens.inner_product(times, n, beta, softmax=softmax), hitting

    gamma, hitting = _measure.stacked(
        _measure.stacked(curves(beta, softmax) for beta in config.betas) for softmax in _flows.FLOWS.values()
    )
    sizes = jnp.asarray(config.step_sizes, float)
    layers = equiangular_tokens.layer_inner_products(config.num_layers, n, config.layer_beta, sizes)
    return Result(gamma, hitting, layers.T)


def predict_continuous(config: Config) -> Result:
    """The prediction if layers were the flow: a layer of step eta counts as the time eta."""
    times = jnp.asarray(config.step_sizes, float)[:, None] * jnp.arange(config.num_layers + 1.0)[None]
    layers = equiangular_tokens.inner_product(times, config.num_tokens, config.layer_beta)
    return Result(None, None, layers)  # pyright: ignore[reportArgumentType]


TOLERANCE = {
    "gamma": Tolerance(absolute=1e-6, reason="Runge-Kutta's error, of fourth order in the step"),
    "hitting": Tolerance(1e-6, reason="Runge-Kutta's error, of fourth order in the step, over the time itself"),
    "layers": Tolerance(absolute=1e-10, reason="rounding: both sides are recursions"),
}
SHARED = {
    "gamma": "theory says only at which times the inner product is read: evenly up to when it should be `end`",
    "hitting": "theory says only how far the flow is integrated: up to when the inner product should be `end`",
}
CURVE = {"betas": 60}
QUICK = {"num_tokens": 3, "dim": 4, "betas": (0.0, 1.0), "num_steps": 60, "num_records": 6, "num_layers": 4}
SEEDS = 8
