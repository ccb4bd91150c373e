r"""Gradient descent on wide networks reaches the global optimum of the convex program; on narrow networks it stops above it.

$$
\begin{align*}
p^* &= \min_{u, \alpha}\; \frac{1}{2} \| \sum_j \operatorname{relu}(X u_j)\, \alpha_j - y \|^2
  + \frac{\beta}{2} \sum_j \left( \|u_j\|^2 + \alpha_j^2 \right) \\
&= \max_\nu\; \nu\cdot y - \frac{1}{2} \|\nu\|^2 \quad \text{subject to } \;
  N(\nu) = \max_{\|u\| \le 1} |\nu\cdot\operatorname{relu}(X u)| \le \beta
\end{align*}
$$

`objective` is $p^*$ and `undercut` 0; `certificate` and `trained` are $N(y - f)/\beta = 1$, with $f$ the outputs of a
network: its residual is the optimal $\nu$.

Source: Pilanci and Ergen, arXiv 2002.10553 (the optimum, for widths from m* on); the runs and numbers are ours
Cost: 10 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Tolerance
from ...models.fully_connected import convex_relu, two_layer
from ...solvers import certificate
from . import _descent, _problem


@dataclass(frozen=True)
class Config(_problem.Config):
    narrow: Count = 3  # width of the smaller network
    wide: Count = 40  # width of the larger network
    init_scale: NonNegative = 0.5  # standard deviation of every weight at the start
    learning_rate: Positive = 0.01  # of Adam, falling to 0 by a cosine
    num_steps: Count = 20_000  # updates
    num_records: Count = 100  # of the recorded curves

    def __post_init__(self):
        super().__post_init__()
        if self.num_steps % self.num_records:
            raise ValueError(f"num_steps = {self.num_steps} must be a multiple of num_records = {self.num_records}")


class Result(NamedTuple):
    objective: Float[Array, ""]  # of the wide network at the end
    certificate: Float[Array, ""]  # N(residual)/weight_decay of the network of the convex program; 1 at a global optimum
    trained: Float[Array, ""]  # the same of the wide network at the end
    undercut: Float[Array, "network"]  # how far a run ends below the optimum
    final: Float[Array, "network"] | None = None  # objective at the end
    curve: Float[Array, "network record"] | None = None  # objective on the way


def labels(config: Config) -> dict[str, tuple]:
    """A moment is the number of updates by then."""
    every = config.num_steps // config.num_records
    return {"network": ("narrow", "wide"), "record": tuple(range(every, config.num_steps + 1, every))}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    x, y = config.points()
    data = jnp.asarray(x), jnp.asarray(y)

    def descend(index: int, width: int) -> tuple[two_layer.Params, Float[Array, "record"]]:
        start = _descent.start(jax.random.fold_in(key, index), config.dim, width, config.init_scale)
        # a narrow and a wide network in one run: the engine's loop is for one
        return _descent.train(start, *data, config.weight_decay, config.learning_rate, config.num_steps, config.num_records)

    (_, narrow), (params, wide) = descend(0, config.narrow), descend(1, config.wide)
    curve = jnp.stack([narrow, wide])
    optimum = config.optimum()
    network = convex_relu.to_network(optimum.weights, config.program().sign)

    def ratio(network: two_layer.Params) -> Float[Array, ""]:
        weight_decay = jnp.asarray(config.weight_decay, curve.dtype)
        proof = certificate.by_patterns(network, *data, weight_decay, config.gates())
        return proof.norm / weight_decay

    return Result(
        curve[1, -1], ratio(network), ratio(params), jax.nn.relu(optimum.objective - curve[:, -1]), curve[:, -1], curve
    )


def predict(config: Config) -> Result:
    return Result(config.optimum().objective, jnp.ones(()), jnp.ones(()), jnp.zeros(2))


TOLERANCE = {
    "objective": Tolerance(
        absolute=1e-5, reason="Adam stops short of the optimum: runs of width 40 by about 1e-7, and by 1e-5 at most"
    ),
    "certificate": Tolerance(
        5e-4,
        reason="N falls to its bound as the square root of what the solver leaves of the objective",
    ),
    "trained": Tolerance(0.002, reason="N falls to its bound as the square root of what Adam leaves of the objective, 1e-7"),
    "undercut": Tolerance(absolute=1e-6, reason="the program is solved to 1e-8, so its optimum is known to that alone"),
}
_NORM = (
    "N is defined by the dual, as the maximum that theory computes; the residual put into it is that of a network, and the "
    "prediction is 1 without it"
)
SHARED = {"certificate": _NORM, "trained": _NORM}
QUICK = {"num_steps": 2000, "num_records": 10, "learning_rate": 0.05}
PRESETS = {"larger": {"num_samples": 10, "dim": 3, "wide": 80}}
SEEDS = 16
