r"""Along the regularisation path the dual certifies the convex program's optimum, and gradient descent stops short of it.

$$
\begin{align*}
\text{objective} &= \frac{c\, \nu\cdot y - c^2 \|\nu\|^2/2}{\|y\|^2/2}, \qquad
c = \min\left(1, \frac{\beta}{N(\nu)}\right) \\
\text{gated} &= \frac{2}{\|y\|^2} \min_v
  \left[ \frac{1}{2} \| \sum_i D_i X v_i - y \|^2 + \beta \sum_i \|v_i\| \right] \\
\text{certificate} &= \frac{N(\nu)}{\beta} = \min\left(1, \frac{\beta_{\max}}{\beta}\right) \\
N(\nu) &= \max_{\|u\| \le 1} |\nu\cdot\operatorname{relu}(X u)|, \qquad \beta_{\max} = N(y)
\end{align*}
$$

Here $\nu = y - f$ is the residual of the convex program's network, $D_i$ are all activation patterns, and
$\beta/\beta_{\max}$ is `weight_decay_share`: from $\beta_{\max}$ on the zero network is optimal, and `objective` is 1.

Source: Pilanci and Ergen, arXiv 2002.10553; gated: Mishkin, Sahiner and Pilanci, arXiv 2202.01331 (programs); the path is ours
Cost: 30 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Tolerance
from ...models.fully_connected import convex_relu, two_layer
from ...solvers import certificate, interior_point
from ...solvers.program import gated_program
from ...theory.convex import convex_relu as theory
from . import _descent, _problem


@dataclass(frozen=True)
class Config(_problem.Config):
    weight_decay_share: Positive = 0.05  # of weight_decay_max, from where on the zero network is optimal
    width: Count = 100  # of the trained network
    init_scale: NonNegative = 0.5  # standard deviation of every weight at the start
    learning_rate: Positive = 0.01  # of Adam, falling to 0 by a cosine
    num_steps: Count = 20_000  # updates


class Result(NamedTuple):
    objective: Float[Array, ""]  # of the convex program's network, over that of the zero network
    gated: Float[Array, ""]  # of the gated network trained by Adam, in the same unit
    undercut: Float[Array, ""]  # how far the ReLU network trained by Adam ends below the optimum, in the same unit
    certificate: Float[Array, ""]  # N(residual)/weight_decay of the convex network: 1 up to weight_decay_max, then smaller
    trained: Float[Array, ""] | None = None  # objective of the ReLU network trained by Adam, in the same unit
    neurons: Float[Array, "network"] | None = None  # distinct directions (paper m*)


def labels(config: Config) -> dict[str, tuple]:
    return {"network": ("trained", "convex")}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    x, y, weight_decay = _data(config)
    key_relu, key_gated = jax.random.split(key)
    setting = config.learning_rate, config.num_steps
    start = _descent.start(key_relu, config.dim, config.width, config.init_scale)
    # a ReLU and a gated network in one run: the engine's loop is for one
    trained, curve = _descent.train(start, x, y, weight_decay, *setting)
    gates = config.gates()
    gated_curve = _descent.train_gated(key_gated, gates, x, y, weight_decay, *setting, init_scale=config.init_scale)
    optimum = interior_point.solve(config.program()._replace(weight_decay=weight_decay), cones=True)
    network = convex_relu.to_network(optimum.weights, config.program().sign)
    proof = certificate.by_patterns(network, x, y, weight_decay, gates)
    unit = y @ y / 2
    neurons = jnp.stack([_directions(trained), _directions(network)])
    undercut = jax.nn.relu(optimum.objective - curve[-1])
    ratio = proof.norm / weight_decay
    return Result(proof.objective / unit, gated_curve[-1] / unit, undercut / unit, ratio, curve[-1] / unit, neurons)


def predict(config: Config) -> Result:
    """The dual value of the residual, which bounds every network from below; for the gated network, its program."""
    x, y, weight_decay = _data(config)
    program = config.program()._replace(weight_decay=weight_decay)
    weights = interior_point.solve(program, cones=True).weights
    residual = y - convex_relu.outputs(weights, program.sign, program.active, x)
    norm = theory.dual_norm(residual, x, convex_relu.patterns(config.gates(), x))
    bound = theory.dual_value(jnp.minimum(1.0, weight_decay / norm) * residual, y)
    gated = interior_point.solve(gated_program(x, y, config.gates(), 1.0)._replace(weight_decay=weight_decay), cones=False)
    unit = y @ y / 2
    ratio = jnp.minimum(1.0, 1 / jnp.asarray(config.weight_decay_share, x.dtype))
    return Result(bound / unit, gated.objective / unit, jnp.zeros(()), ratio)


def _data(config: Config) -> tuple[Array, Array, Array]:
    x, y = (jnp.asarray(array) for array in config.points())
    patterns = convex_relu.patterns(config.gates(), x)
    return x, y, config.weight_decay_share * theory.weight_decay_max(x, y, patterns)


def _directions(params: two_layer.Params) -> Float[Array, ""]:
    """Distinct directions, either sign apart, of neurons that carry at least 1e-3 of the largest: one within 0.05 of a
    larger one is the same."""
    weights, sign = convex_relu.products(params)
    size = jnp.linalg.norm(weights, axis=0)
    unit = weights / jnp.where(size > 0, size, 1)[None]
    apart = jnp.linalg.norm(unit[:, :, None] - unit[:, None, :], axis=0)
    order = jnp.arange(size.size)
    larger = (size[None] > size[:, None]) | ((size[None] == size[:, None]) & (order[None] < order[:, None]))
    follows = jnp.any(larger & (apart < 0.05) & (sign[None] == sign[:, None]), axis=1)
    counted = ~follows & (size > 1e-3 * jnp.max(size)) & (size > 1e-5)
    return jnp.sum(counted.astype(size.dtype))


TOLERANCE = {
    "objective": Tolerance(
        1e-6,
        reason="strong duality; the gap of the solver is below 1e-8, that of its residual alone a little larger",
    ),
    "gated": Tolerance(
        absolute=1e-5, reason="Adam stops short of the optimum by 1e-5 at most: the gated problem has no other minima"
    ),
    "undercut": Tolerance(absolute=1e-6, reason="the program is solved to 1e-8, so its optimum is known to that alone"),
    "certificate": Tolerance(5e-4, reason="N falls to its bound as the square root of what the solver leaves of the objective"),
}
_LARGEST = "theory's weight_decay_max sets the weight decay, the same number for both sides"
SHARED = {
    "objective": _LARGEST,
    "gated": _LARGEST,
    "undercut": _LARGEST,
    "certificate": f"{_LARGEST}; N is defined by the dual, as the maximum that theory computes, here of a network's residual, "
    "while the prediction knows weight_decay_share alone",
}
QUICK = {"num_samples": 5, "num_steps": 500, "width": 10}
GRID = {"weight_decay_share": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.7, 1.2)}
