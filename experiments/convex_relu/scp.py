r"""The Lasso over N sampled neurons is an upper bound; a further neuron lowers it with probability E[s]/(N + 1).

Of $N + 1$ random directions, $s$ counts those with a nonzero coefficient at the optimum of the Lasso. The directions are
exchangeable, and the last one lowers the value of the first $N$ if and only if its coefficient is nonzero. The probability of
that is exactly $\mathbb{E}[s]/(N + 1)$, and at most $(n + 1)/(N + 1)$.

$$
\begin{align*}
\Pr\left[\, |\nu\cdot\operatorname{relu}(X u_{N+1})| > \beta \,\right] &= \frac{\mathbb{E}[s]}{N + 1}, \qquad
s = \text{ number of } i \text{ with } c_i \ne 0 \\
c &= \operatorname{argmin}_c\; \frac{1}{2} \| \sum_i c_i \operatorname{relu}(X u_i) - y \|^2 + \beta \sum_i |c_i|
\end{align*}
$$

Here $u_i$ are the directions, of length 1, $c$ is the optimum on all $N + 1$ of them, and $\nu$ is the residual of the
optimum on the first $N$, with $N$ `num_directions`. `undercut` is 0: no network is below the optimum of the convex program.

Source: SCP algorithm of Bai, Gautam and Sojoudi, arXiv 2201.01965 (abstract; form recalled); the identity is derived here
Cost: 25 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Tolerance
from ...solvers import fista
from ...solvers.losses import network_objective
from . import _problem


@dataclass(frozen=True)
class Config(_problem.Config):
    num_directions: Count = 30  # directions drawn (paper N)
    num_test: Count = 4000  # fresh directions that estimate the probability of an improvement


class Result(NamedTuple):
    improving: Float[Array, ""]  # share of fresh directions that violate the dual constraint
    undercut: Float[Array, ""]  # how far the value of the network is below the optimum
    objective: Float[Array, ""] | None = None  # of the network
    excess: Float[Array, ""] | None = None  # objective / optimum - 1


def init(key: PRNGKeyArray, config: Config) -> Float[Array, "dim direction"]:
    """num_directions + 1 directions, of which the simulation sees all but the last, and then those for the tests."""
    return jax.random.normal(key, (config.dim, config.num_directions + 1 + config.num_test))


def simulate(state: Float[Array, "dim direction"], config: Config) -> Result:
    x, y = (jnp.asarray(array) for array in config.points())
    tests = state[:, config.num_directions + 1 :]
    network, solution = fista.scp(state[:, : config.num_directions], x, y, config.weight_decay, rtol=_RTOL)
    features = _features(state[:, : config.num_directions], x)
    nu = y - features @ solution.weights
    violated = jnp.abs(nu @ _features(tests, x)) > config.weight_decay * (1 + _THRESHOLD)
    objective = network_objective(network, x, y, config.weight_decay)
    optimum = config.optimum().objective
    undercut = jax.nn.relu(optimum - objective)
    return Result(jnp.mean(violated.astype(x.dtype)), undercut, objective, objective / optimum - 1)


_RTOL = 1e-8
_THRESHOLD = 1e-5


def _features(directions: Float[Array, "dim direction"], x: Float[Array, "sample dim"]) -> Float[Array, "sample direction"]:
    return jax.nn.relu(x @ (directions / jnp.linalg.norm(directions, axis=0)[None]))


def predict(state: Float[Array, "dim direction"], config: Config) -> Result:
    """s/(N + 1) of the Lasso over one direction more."""
    x, y = (jnp.asarray(array) for array in config.points())
    drawn = state[:, : config.num_directions + 1]
    _, solution = fista.scp(drawn, x, y, config.weight_decay, rtol=_RTOL)
    used = jnp.abs(solution.weights) > 1e-6 * jnp.max(jnp.abs(solution.weights))
    return Result(jnp.mean(used.astype(x.dtype)), jnp.zeros(()))


TOLERANCE = {
    "improving": Tolerance(reason="an identity of expectations: exact"),
    "undercut": Tolerance(absolute=1e-6, reason="no network is better than the convex program, which is solved to 1e-8"),
}
QUICK = {"num_samples": 6, "num_directions": 6, "num_test": 50}
GRID = {"num_directions": (10, 30, 100, 300)}
SEEDS = 32
