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
Cost: 90 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Precision, Static, Tolerance, check
from ...models.fully_connected import two_layer
from ...solvers import certificate, descent, growth
from ...solvers.losses import network_objective
from ...tasks import teacher
from . import _descent


@dataclass(frozen=True)
class Config:
    num_samples: Count = 500  # examples, paper n
    dim: Count = 10  # input dimension, paper d
    weight_decay_share: Annotated[Positive, Static] = 0.05  # weight decay over the largest that leaves a network
    num_networks: Count = 1  # trained in one run, which grows the program once for all of them
    width: Count = 100  # of the trained networks
    init_scale: NonNegative = 0.3  # standard deviation of every weight at the start
    learning_rate: Positive = 0.01  # of Adam, falling to 0 by a cosine
    num_steps: Count = 5000  # updates
    rtol: Annotated[Positive, Static] = 1e-5  # gap, over the objective, at which growing ends
    dtype: Precision = "float64"  # small differences are meant

    def __post_init__(self):
        check(self)


class Result(NamedTuple):
    objective: Float[Array, ""]  # of the network of the convex program, over that of the zero network
    undercut: Float[Array, ""]  # how far the best run of Adam ends below that, in the same unit
    trained: Float[Array, "network"] | None = None  # objective of the run, in the same unit
    violation: Float[Array, "network"] | None = None  # N(residual)/weight_decay, by a search: what a new neuron could gain
    round_objective: Float[Array, "round"] | None = None  # after each round of growing; the last is repeated
    round_bound: Float[Array, "round"] | None = None  # the best bound by then, on condition that the search found the top


def labels(config: Config) -> dict[str, tuple]:
    return {"network": tuple(range(1, config.num_networks + 1)), "round": tuple(range(1, _ROUNDS + 1))}


_ROUNDS, _STARTS = 12, 256  # most rounds of growing; random starts of a search
_KEPT, _UPDATES = 64, 800  # neurons kept from round to round, n + 1 suffice; updates of their descent in a round
_KEYS = "threefry2x32"


class State(NamedTuple):
    networks: descent.State  # each leaf with a leading axis of networks
    x: Float[Array, "sample dim"]
    y: Float[Array, "sample"]
    weight_decay: Float[Array, ""]
    rounds: growth.Round  # of growing
    key: PRNGKeyArray  # of the search for violations


def init(key: PRNGKeyArray, config: Config) -> State:
    """Starts of the networks, and the optimum on one data set, the same in all runs."""
    key_start, key_grow, key_search = jax.random.split(key, 3)
    x, y = teacher.sample(jax.random.key(2022, impl=_KEYS), config.num_samples, config.dim)
    largest = jnp.max(certificate.search(jax.random.key(0, impl=_KEYS), y, x, num_starts=1024).value)
    weight_decay = config.weight_decay_share * largest
    grown = growth.grow(
        key_grow,
        x,
        y,
        weight_decay,
        rtol=config.rtol,
        width=min(_KEPT, config.num_samples + 1),
        max_rounds=_ROUNDS,
        num_starts=_STARTS,
        descent_steps=_UPDATES,
    )

    def start(key: PRNGKeyArray) -> descent.State:
        return descent.begin(_descent.start(key, config.dim, config.width, config.init_scale))

    networks = jax.vmap(start)(jax.random.split(key_start, config.num_networks))
    return State(networks, x, y, weight_decay, grown.rounds, key_search)


def step(state: State, config: Config) -> State:
    def update(network: descent.State) -> descent.State:
        data = state.x, state.y, state.weight_decay
        return _descent.step(network, *data, config.learning_rate, config.num_steps)

    return state._replace(networks=jax.vmap(update)(state.networks))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    data = state.x, state.y, state.weight_decay
    unit = state.y @ state.y / 2

    def measured(at: tuple[two_layer.Params, PRNGKeyArray]) -> tuple[Array, Array]:
        network, key = at
        norm = certificate.by_search(network, *data, key, num_starts=_STARTS).norm
        return network_objective(network, *data), norm / state.weight_decay

    keys = jax.random.split(state.key, config.num_networks)
    trained, violation = jax.lax.map(measured, (state.networks.params, keys))
    objective, bound = state.rounds.objective, state.rounds.bound
    undercut = jax.nn.relu(objective[-1] - jnp.min(trained)) / unit
    return Result(objective[-1] / unit, undercut, trained / unit, violation, objective / unit, bound / unit)


def predict(state: State, config: Config) -> Result:
    """The bound that the dual proves, on condition that the search for the largest violation found it."""
    unit = state.y @ state.y / 2
    return Result(state.rounds.bound[-1] / unit, jnp.zeros(()))


TOLERANCE = {
    "objective": Tolerance(1e-5, reason="growing ends once the gap is 1e-5 of the objective, its `rtol`"),
    "undercut": Tolerance(absolute=1e-6, reason="the program's own network may be above the optimum by what its solver leaves"),
}
QUICK = {"num_samples": 30, "dim": 3, "num_steps": 200, "num_networks": 2, "width": 20, "weight_decay_share": 0.1}
SEEDS = 8
