r"""For 500 points in ten dimensions the convex program on grown patterns is certified, and no run of Adam ends below it.

$$
\begin{align*}
\text{objective} &= \frac{c\, \nu\cdot y - c^2 \|\nu\|^2/2}{\|y\|^2/2}, \qquad
c = \min\left(1, \frac{\beta}{N(\nu)}\right) \\
N(\nu) &= \max_{\|u\| \le 1} |\nu\cdot\operatorname{relu}(X u)|
\end{align*}
$$

Here $\nu$ is the residual of the program's solution, of the round with the best bound, and the weight decay $\beta$ is
`weight_decay_share` times $N(y)$. No network of any width is below this dual value, provided that the search has found the
maximum $N$; `undercut` is 0.

Source: growing the patterns until the certificate closes is ours; the dual behind it: Pilanci and Ergen, arXiv 2002.10553
Cost: 50 s
"""

import functools
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Precision, Static, Tolerance, check
from ...solvers import certificate, descent, growth
from ...solvers.losses import network_objective
from ...tasks import teacher
from . import _descent


@dataclass(frozen=True)
class Config:
    num_samples: Count = 500  # examples, paper n
    dim: Count = 10  # input dimension, paper d
    weight_decay_share: Annotated[Positive, Static] = 0.05  # weight decay over the largest that leaves a network
    width: Count = 100  # of the trained network
    init_scale: NonNegative = 0.3  # standard deviation of every weight at the start
    learning_rate: Positive = 0.01  # of Adam, falling to 0 by a cosine
    num_steps: Count = 5000  # updates
    rtol: Annotated[Positive, Static] = 1e-5  # gap, over the objective, at which growing ends
    dtype: Precision = "float64"  # small differences are meant

    def __post_init__(self):
        check(self)


class Result(NamedTuple):
    objective: Float[Array, ""]  # of the network of the convex program, over that of the zero network
    undercut: Float[Array, ""]  # how far a run of Adam ends below that, in the same unit
    trained: Float[Array, ""] | None = None  # objective of the run, in the same unit
    violation: Float[Array, ""] | None = None  # N(residual)/weight_decay, by a search: what a new neuron could still gain
    round_objective: Float[Array, "round"] | None = None  # after each round of growing; the last is repeated
    round_bound: Float[Array, "round"] | None = None  # the best bound by then, on condition that the search found the top


def labels(config: Config) -> dict[str, tuple]:
    return {"round": tuple(range(1, _ROUNDS + 1))}


class _Grown(NamedTuple):
    """Numbers, so that a trace may hold them."""

    x: np.ndarray
    y: np.ndarray
    weight_decay: float
    objective: float
    bound: float
    rounds: np.ndarray  # (round, 2), the last repeated


_ROUNDS = 12


@functools.partial(jax.jit, static_argnums=(2, 3))
def _data(
    key_sample: PRNGKeyArray, key_search: PRNGKeyArray, num_samples: int, dim: int
) -> tuple[Float[Array, "sample dim"], Float[Array, "sample"], Float[Array, ""]]:
    """The examples, and the weight decay from which on the best network is zero."""
    x, y = teacher.sample(key_sample, num_samples, dim)
    return x, y, jnp.max(certificate.search(key_search, y, x, num_starts=1024).value)


@functools.lru_cache(maxsize=8)
def _grown(num_samples: int, dim: int, weight_decay_share: float, rtol: float) -> _Grown:
    """One data set and its optimum. Growing is driven by Python: it runs while the experiment is traced, and once."""
    with jax.core.eval_context(), jax.enable_x64(True):
        x, y, largest = _data(
            jax.random.key(2022, impl="threefry2x32"), jax.random.key(0, impl="threefry2x32"), num_samples, dim
        )
        weight_decay = weight_decay_share * largest
        grown = growth.grow(jax.random.key(1, impl="threefry2x32"), x, y, weight_decay, rtol=rtol, max_rounds=_ROUNDS)
        lines = np.array([(line.objective, line.bound) for line in grown.rounds])
        rounds = np.pad(lines, [(0, _ROUNDS - len(lines)), (0, 0)], mode="edge")
        objective, bound = float(grown.certificate.objective), float(grown.certificate.bound)
        return _Grown(np.asarray(x), np.asarray(y), float(weight_decay), objective, bound, rounds)


def _of(config: Config) -> _Grown:
    return _grown(config.num_samples, config.dim, config.weight_decay_share, config.rtol)


class State(NamedTuple):
    network: descent.State
    key: PRNGKeyArray  # of the search for a violation


def init(key: PRNGKeyArray, config: Config) -> State:
    key_start, key_search = jax.random.split(key)
    start = _descent.start(key_start, config.dim, config.width, config.init_scale)
    return State(descent.begin(start), key_search)


def step(state: State, config: Config) -> State:
    grown = _of(config)
    data = jnp.asarray(grown.x), jnp.asarray(grown.y), grown.weight_decay
    return state._replace(network=_descent.step(state.network, *data, config.learning_rate, config.num_steps))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    grown, network = _of(config), state.network.params
    x, y = jnp.asarray(grown.x), jnp.asarray(grown.y)
    weight_decay = jnp.asarray(grown.weight_decay, x.dtype)
    trained = network_objective(network, x, y, weight_decay)
    violation = certificate.by_search(network, x, y, weight_decay, state.key, num_starts=256).norm / weight_decay
    unit = y @ y / 2
    rounds = jnp.asarray(grown.rounds) / unit
    return Result(
        grown.objective / unit,
        jax.nn.relu(grown.objective - trained) / unit,
        trained / unit,
        violation,
        rounds[:, 0],
        rounds[:, 1],
    )


def predict(config: Config) -> Result:
    """The bound that the dual proves, on condition that the search for the largest violation found it."""
    grown = _of(config)
    unit = jnp.asarray(grown.y @ grown.y / 2)
    return Result(grown.bound / unit, jnp.zeros(()))


TOLERANCE = {
    "objective": Tolerance(1e-5, reason="growing ends once the gap is 1e-5 of the objective, its `rtol`"),
    "undercut": Tolerance(absolute=1e-6, reason="the program's own network may be above the optimum by what its solver leaves"),
}
QUICK = {"num_samples": 30, "dim": 3, "num_steps": 200, "width": 20, "weight_decay_share": 0.1}
SEEDS = 16
