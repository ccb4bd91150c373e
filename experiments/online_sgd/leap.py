r"""A staircase of products is learned in a number of steps proportional to d, its last product alone takes of the order of d^2.

One unit $g(w \cdot x)$ on the unit sphere, $g = h_1 + h_2 + h_3$, learns by online SGD on the correlation loss, from fresh
$x \in \{-1, 1\}^d$,

$$
y = x_1 + x_1 x_2 + x_1 x_2 x_3 \quad \text{(leap 1)} \qquad \text{or} \qquad y = x_1 x_2 x_3 \quad \text{(leap 3)}
$$

from weights $d^{-1/2}$ on the three coordinates. The weights follow in the time $\tau = \eta\, \text{steps}$

$$
\frac{dm_i}{d\tau} = \mathbb{E}\, y\, g'(v)\, (x_i - m_i v) - \frac{\eta d}{2}\, \mathbb{E}\, y^2 g'(v)^2\; m_i
$$

At one learning rate, $\propto 1/d$, the staircase is learned product by product while the product alone stays unseen; at the
learning rate $\propto d^{-3/2}$ that its noise allows, the product is found after of the order of $d^2$ steps.

Source: E. Abbe et al., arXiv 2202.08658, arXiv 2302.11055 (leap; recalled); the flow of one unit is derived here
Cost: 75 s
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Fraction, Positive, Static, Tolerance, check
from ...models.fully_connected import spherical_unit
from ...tasks import boolean_features
from ...theory.feature_learning import staircase
from . import _walkers

STAIRCASE = ((0,), (0, 1), (0, 1, 2))


@dataclass(frozen=True)
class Config:
    target: Literal["staircase", "product"] = "staircase"  # all three products, or the last alone
    dim: Annotated[int, Ge(8)] = 64  # input dimension (d)
    shared_rate: Positive = 0.02  # eta d where both targets have one learning rate
    rate_scale: Positive = 0.05  # c, of the learning rate c d^(-3/2) at which the product alone is found
    level: Annotated[Fraction, Static] = 0.25  # what the least of the three weights is where a target counts as found
    horizon: Annotated[Positive, Static] = 2.5  # time of the records: horizon d/shared_rate steps
    search: Annotated[Positive, Static] = 6.0  # longest time of a search, times sqrt d for the product alone
    num_records: Count = 16  # times of a record
    num_walkers: Count = 33  # runs of a seed
    num_test: Count = 1024  # inputs of each run on which correlations are measured

    def __post_init__(self):
        check(self)
        if self.level <= self.dim**-0.5:
            raise ValueError(
                f"level must be above the weights at the start, dim^(-1/2) = {self.dim**-0.5:.3f}, got {self.level}"
            )

    @property
    def model(self) -> spherical_unit.Config:
        return spherical_unit.Config(self.dim, (0.0, 1.0, 1.0, 1.0))

    @property
    def monomials(self) -> tuple[tuple[int, ...], ...]:
        return STAIRCASE if self.target == "staircase" else STAIRCASE[-1:]

    @property
    def hard(self) -> bool:
        """Whether the leap asks for small steps."""
        return staircase.leap(self.monomials) > 2


class Result(NamedTuple):
    weights: Float[Array, "record coordinate"]  # m, mean over runs
    correlation: Float[Array, "record monomial"]  # E of output times each product of the staircase, mean over runs
    steps: Float[Array, ""]  # median over runs of the steps until the least weight is `level`, over d


def labels(config: Config) -> dict[str, tuple]:
    records = tuple(config.horizon * (1 + i) / config.num_records for i in range(config.num_records))
    return {"record": records, "coordinate": (1, 2, 3), "monomial": ("x1", "x1 x2", "x1 x2 x3")}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key_start, key_path, key_search = jax.random.split(key, 3)
    params = _walkers.started(key_start, config.model, config.num_walkers, _start(config))
    rate, fast = _rate(config), config.shared_rate / config.dim

    def sample(key: PRNGKeyArray) -> tuple[Array, Array]:
        x = boolean_features.sample_packed(key, config.num_walkers, config.dim)
        return x, jnp.sum(boolean_features.evaluate(config.monomials, x), axis=-1)

    def update(_: object, at: tuple[spherical_unit.Params, PRNGKeyArray]) -> tuple[spherical_unit.Params, PRNGKeyArray]:
        key, key_sample = jax.random.split(at[1])
        return _walkers.trained(at[0], *sample(key_sample), fast), key

    def record(at: tuple[spherical_unit.Params, PRNGKeyArray], key_test: PRNGKeyArray) -> tuple:
        at = jax.lax.fori_loop(0, jnp.round(config.horizon / config.num_records / fast).astype(int), update, at)
        x = boolean_features.sample_packed(key_test, config.num_test, config.dim)
        outputs = spherical_unit.link(at[0].coefficients, at[0].w @ x.T)
        correlation = jnp.mean(outputs, axis=0) @ boolean_features.evaluate(STAIRCASE, x) / config.num_test
        return at, (jnp.mean(at[0].w[:, :3], axis=0), correlation)

    key_path, key_test = jax.random.split(key_path)
    _, (weights, correlation) = jax.lax.scan(record, (params, key_path), jax.random.split(key_test, config.num_records))

    def found(w: Float[Array, "walker dim"]) -> Array:
        return jnp.min(w[:, :3], axis=1) >= config.level

    steps = _walkers.median_steps(params, key_search, sample, rate, found, jnp.ceil(_longest(config) / rate))
    return Result(weights, correlation, steps / config.dim)


def predict(config: Config) -> Result:
    student = jnp.asarray(config.model.coefficients, float)
    start, rate = _start(config), _rate(config)
    fast = config.shared_rate / config.dim
    every = jnp.round(config.horizon / config.num_records / fast)
    time = fast * every * jnp.arange(1.0, config.num_records + 1)
    # the records at the shared learning rate, and the search at 1/400 of its longest time: two flows of one program
    fine = jnp.linspace(0.0, _longest(config), max(401, config.num_records))
    times = jnp.stack([jnp.pad(time, (0, len(fine) - len(time))), fine])
    noises = jnp.stack([jnp.asarray(one, float) for one in (config.shared_rate, rate * config.dim)])
    flow = jax.vmap(lambda t, noise: staircase.cube_flow(t, start, config.monomials, student, noise))
    weights, path = flow(times, noises)
    weights, least = weights[: len(time)], jnp.min(path, axis=1)
    correlation = jax.vmap(lambda m: staircase.cube_correlations(m, STAIRCASE, student))(weights)
    after = jnp.argmax(least >= config.level)
    before = jnp.maximum(after - 1, 0)
    share = (config.level - least[before]) / (least[after] - least[before])
    reached = jnp.where(after > 0, fine[before] + share * (fine[1] - fine[0]), jnp.inf)
    return Result(weights, correlation, reached / rate / config.dim)


def _start(config: Config) -> Float[Array, "coordinate"]:
    return jnp.full(3, config.dim**-0.5)


def _rate(config: Config) -> Float[Array, ""]:
    """The learning rate of the search."""
    return jnp.asarray(config.rate_scale * config.dim**-1.5 if config.hard else config.shared_rate / config.dim)


def _longest(config: Config) -> float:
    """The longest time of the search."""
    return config.search * (config.dim**0.5 if config.hard else 1.0)


_SIZE = "the rest of the field is Gaussian up to 1/d, and single runs scatter about the flow by some sqrt(eta d/d)"
TOLERANCE = {
    "weights": Tolerance(0.03, 0.01, reason=_SIZE),
    "correlation": Tolerance(0.03, 0.02, reason=f"{_SIZE}; the correlation is of degree three in the weights"),
    "steps": Tolerance(0.15, reason="the time is that of the mean motion, about which the runs of the product alone scatter"),
}
QUICK = {"dim": 16, "num_walkers": 5, "rate_scale": 0.1, "num_records": 4, "num_test": 16, "level": 0.3}
SEEDS = 8
GRID = {"target": ("staircase", "product"), "dim": (48, 80, 128)}
