r"""Tokens at equal angles stay so: all inner products follow one closed curve, in continuous time and layer by layer.

$n$ orthogonal tokens, turned at random, move by softmax attention (SA) or without its normalisation (USA). Their one inner
product $\gamma(t)$, the times at which it hits a level, and its value after every layer of post-norm attention have exact
forms: nothing is random but the rotation, and what is left is the error of the integration. USA's time is times $e^\beta$
here.

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
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Static, Tolerance
from ...models.transformers import sphere_attention
from ...theory.transformers import equiangular_tokens
from . import _flows


@dataclass(frozen=True)
class Config:
    num_tokens: int = 8  # paper n
    dim: int = 12  # of a token, at least num_tokens; paper d
    betas: tuple[float, ...] = (0.0, 1.0, 4.0, 6.0)  # inverse temperatures
    levels: tuple[float, ...] = (0.1, 0.5, 0.9)  # of the inner product, whose hitting times are measured
    end: Annotated[float, Static] = 0.99  # inner product at the end of the flow
    num_steps: int = 1000  # Runge-Kutta steps up to there
    num_records: int = 20  # times of a record, evenly spaced; a divisor of num_steps
    layer_beta: Annotated[float, Static] = 2.0  # inverse temperature of the layers
    step_sizes: tuple[float, ...] = (0.1, 0.5, 2.0)  # of the layers, eta
    num_layers: int = 20  # layers
    dtype: str = "float64"  # exact curves

    def __post_init__(self):
        _flows.require_betas(self.betas)
        _flows.require_positive(self, "num_steps", "num_records", "num_layers")
        if self.num_steps % self.num_records:
            raise ValueError(f"num_records must divide num_steps = {self.num_steps}, got {self.num_records}")
        if self.num_tokens < 2 or self.dim < self.num_tokens:
            raise ValueError(f"num_tokens must be from 2 to dim = {self.dim}, got {self.num_tokens}")
        if not 0 < self.end < 1:
            raise ValueError(f"end must be above 0 and below 1, got {self.end}")
        if not 0 <= self.layer_beta < float("inf"):
            raise ValueError(f"layer_beta must be finite and not negative, got {self.layer_beta}")
        if not self.step_sizes or not all(0 <= size < float("inf") for size in self.step_sizes):
            raise ValueError(f"step_sizes must be finite and not negative, at least one; got {self.step_sizes}")
        if not self.levels or not all(0 < level < self.end for level in self.levels):
            raise ValueError(f"levels must be above 0 and below end = {self.end}, got {self.levels}")

    def horizon(self, beta: float, softmax: bool) -> float | Array:
        """When the inner product is `end`."""
        time = equiangular_tokens.hitting_time(self.end, self.num_tokens, beta, softmax=softmax)
        return time * _flows.unit(beta, softmax)


class Result(NamedTuple):
    """Flows: SA, USA. Records begin after the start, layers at the input."""

    gamma: Float[Array, "flow beta record"]  # mean inner product of all pairs, at even times up to the horizon
    hitting: Float[Array, "flow beta level"]  # time at which it is at the level
    layers: Float[Array, "size layer"]  # mean inner product of all pairs after each layer
    spread: Float[Array, "flow beta"] | None  # largest difference between two pairs at one time


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    n, dim = config.num_tokens, config.dim
    rotation = jnp.linalg.qr(jax.random.normal(key, (dim, dim)))[0]
    start = sphere_attention.equiangular(n, dim) @ rotation
    parts = [[_flow(start, beta, softmax, config) for beta in config.betas] for softmax in _flows.FLOWS]
    gamma, hitting, spread = (jnp.stack([jnp.stack(rows) for rows in side]) for side in _transposed(parts))

    def layers(step_size: float) -> Float[Array, "layer"]:
        model = sphere_attention.Config(
            dim, config.layer_beta, motion="layers", step_size=step_size, num_steps=config.num_layers
        )
        path = sphere_attention.trajectory(sphere_attention.init(key, model), start, model)
        return jax.vmap(_mean)(path)

    return Result(gamma, hitting, jnp.stack([layers(size) for size in config.step_sizes]), spread)


def _transposed(parts: list) -> list:
    """Of rows of triples: three lists of rows."""
    return [[[part[i] for part in row] for row in parts] for i in range(3)]


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

    both = [[curves(beta, softmax) for beta in config.betas] for softmax in _flows.FLOWS]
    gamma, hitting = (jnp.stack([jnp.stack([one[i] for one in row]) for row in both]) for i in range(2))
    sizes = jnp.asarray(config.step_sizes, float)
    return Result(gamma, hitting, _layers(config, sizes), None)


def _layers(config: Config, sizes: Float[Array, "size"]) -> Float[Array, "size layer"]:
    return equiangular_tokens.layer_inner_products(config.num_layers, config.num_tokens, config.layer_beta, sizes).T


def predict_continuous(config: Config) -> Result:
    """Layers taken for the flow: a layer of step eta as the time eta."""
    times = jnp.asarray(config.step_sizes, float)[:, None] * jnp.arange(config.num_layers + 1.0)[None]
    layers = equiangular_tokens.inner_product(times, config.num_tokens, config.layer_beta)
    return Result(None, None, layers, None)  # pyright: ignore[reportArgumentType]


TOLERANCE = {
    "gamma": Tolerance(absolute=1e-6, reason="Runge-Kutta's error, of fourth order in the step"),
    "hitting": Tolerance(1e-6, reason="the same, in units of the time itself"),
    "layers": Tolerance(absolute=1e-10, reason="rounding: both sides are recursions"),
}
QUICK = {"num_tokens": 3, "dim": 4, "betas": (0.0, 1.0), "num_steps": 60, "num_records": 6, "num_layers": 4}
SEEDS = 8
