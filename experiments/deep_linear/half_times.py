r"""The deeper a linear network, the longer a mode stays at a small start: a logarithm for two layers, a power law for more.

From a balanced start along the singular vectors of the map, in which a mode has the strength $u_0$ in the product of all $L$
layers,

$$
\frac{du}{dt} = L\, u^{2 - 2/L} (s - u), \qquad
t_{1/2} \approx \frac{\ln (s/u_0)}{2 s} \quad (L = 2), \qquad t_{1/2} \approx \frac{u_0^{-(L-2)/L}}{(L - 2)\, s} \quad (L \ge 3)
$$

The prediction is the exact time at which $u = s/2$; the laws of small starts are drawn beside it.

Source: A. Saxe et al., arXiv 1312.6120 (the equation, recalled); the times are derived here
Cost: 10 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, Lt, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Precision, Tolerance, check
from ...models.linear import deep_linear
from ...tasks import linear_map
from ...theory.linear_networks import modes
from . import _descent

Depths = Annotated[tuple[Annotated[int, Ge(2)], ...], MinLen(1), Distinct]
Strengths = Annotated[tuple[Annotated[Positive, Lt(1)], ...], MinLen(1), Distinct]


@dataclass(frozen=True)
class Config:
    depths: Depths = (2, 3, 4, 5)  # layers (L)
    initial_strengths: Strengths = (1e-4, 1e-3, 1e-2, 1e-1)  # of the mode in the product of all layers, over s (u_0/s)
    target: Positive = 1.0  # singular value of the mode (s)
    dim: Count = 2  # inputs, outputs and units of every layer; further modes have the target 0
    relative_rate: Positive = 5e-3  # learning rate times s^{2 - 2/L}
    max_steps: Count = 100_000  # updates, after which a half time is NaN
    dtype: Precision = "float64"  # modes start small

    def __post_init__(self):
        check(self)


class State(NamedTuple):
    vectors: linear_map.Bases  # of the map, and of the start
    task: linear_map.Task


class Result(NamedTuple):
    half_time: Float[Array, "depth initial"]  # times s^{2 - 2/L}


def labels(config: Config) -> dict[str, tuple]:
    return {"depth": config.depths, "initial": config.initial_strengths}


def init(key: PRNGKeyArray, config: Config) -> State:
    vectors = linear_map.bases(key, config.dim, config.dim, config.dim)
    return State(vectors, linear_map.in_bases(jnp.where(jnp.arange(config.dim) == 0, config.target, 0.0), vectors))


def simulate(state: State, config: Config) -> Result:
    initial = jnp.asarray(config.initial_strengths)
    times = [jax.vmap(lambda u0, depth=depth: _half_time(state, config, depth, u0))(initial) for depth in config.depths]
    return Result(jnp.stack(times))


def _half_time(state: State, config: Config, depth: int, initial: Float[Array, ""]) -> Float[Array, ""]:
    """Of one network, interpolated within the step that crosses s/2."""
    (left, right), half = state.vectors, config.target / 2
    shape = deep_linear.Config(config.dim, (config.dim,) * (depth - 1), config.dim, scheme="aligned", scale=1.0)
    aligned = deep_linear.init(jax.random.key(0, impl="threefry2x32"), shape)  # which ignores the key
    scale = (initial * config.target) ** (1 / depth)
    start = deep_linear.rotated(jax.tree.map(lambda w: scale * w, aligned), left, right)
    learning_rate = config.relative_rate / config.target ** (2 - 2 / depth)

    def strength(params: deep_linear.Params) -> Float[Array, ""]:
        return left[:, 0] @ deep_linear.product(params) @ right[:, 0]

    def unfinished(run: tuple) -> Array:
        params, _, steps = run
        return (strength(params) < half) & (steps < config.max_steps)

    def update(run: tuple) -> tuple:
        params, _, steps = run
        after = _descent.descend(lambda p: deep_linear.population_loss(p, *state.task), params, learning_rate)
        return after, strength(params), steps + 1

    params, before, steps = jax.lax.while_loop(unfinished, update, (start, strength(start), 0))
    now = strength(params)
    share = jnp.where(steps > 0, (half - before) / jnp.where(now > before, now - before, 1), 1)
    return jnp.where(now >= half, config.relative_rate * (steps - 1 + share), jnp.nan)


def predict(config: Config) -> Result:
    return _predicted(modes.half_time, config)


def predict_small_start(config: Config) -> Result:
    """The leading law of each depth as the start goes to 0."""
    return _predicted(modes.small_start_time, config)


def _predicted(time_fn, config: Config) -> Result:
    initial = jnp.asarray(config.initial_strengths)
    return Result(jnp.stack([time_fn(1.0, initial, depth) for depth in config.depths]))  # in units of s


TOLERANCE = {
    "half_time": Tolerance(
        0.01, reason="steps: half of relative_rate times the logarithm by which the velocity grows, 0.5 % at two layers"
    )
}
CURVE = {"initial_strengths": 40}
QUICK = {"depths": (2, 3), "initial_strengths": (0.05, 0.2), "relative_rate": 0.01}
SEEDS = 8
