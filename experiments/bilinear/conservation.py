r"""What gradient flow conserves, gradient descent breaks in proportion to its step size; what is no law moves at any.

Three layers on the same target: $p = 1$ fixed, $p = {+1}$ and $-1$ in turn fixed, $p$ trained. Over a fixed time a quantity
drifts with slope 1 in the step size if it is a law of the flow, and with slope 0 if it is not: $(W + V)^\top (W - V)$ is one
for equal $p$ alone, and for unlike signs other products take its place. Weight decay $\omega$ shrinks what is conserved as
$e^{-2\omega t}$.

$$
\begin{align*}
\frac{\|C(t) - C(0)\|}{\|C(0)\|} &\propto \eta^s, \qquad
s = 1 \text{ for a law of the flow}, \quad s = 0 \text{ for what is none} \\
C(t) &= e^{-2\omega t}\, C(0) \quad \text{for a law, under weight decay}
\end{align*}
$$

with the step size $\eta$; laws are $\|w_k\|^2 - \|v_k\|^2$, for trained $p$ also $\|w_k\|^2 - p_k^2$, and for fixed $p$ the
entries of $(W + V)^\top (W - V)$ where $p_k = p_{k'}$, of $(W + V)^\top (W + V)$ and $(W - V)^\top (W - V)$ where
$p_k = {-p_{k'}}$.

Source: derived here (balancedness of linear networks is the textbook case)
Cost: 10 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Static, Tolerance
from ...models.bilinear import bilinear
from ...theory.linear_networks import bilinear_dynamics
from ...theory.linear_networks.bilinear_dynamics import Conserved
from . import _population

# (scheme, quantity, whether it is conserved); p is trained where it starts Gaussian
QUANTITIES = (
    ("ones", "unit", True),
    ("ones", "matrix", True),
    ("alternating", "unit", True),
    ("alternating", "signed", True),
    ("gaussian", "unit", True),
    ("gaussian", "readout", True),
    ("alternating", "matrix", False),
    ("gaussian", "matrix", False),
)
_OF = {
    "unit": lambda c: c.unit,
    "readout": lambda c: c.readout,
    "matrix": lambda c: c.matrix.ravel(),
    "signed": lambda c: jnp.concatenate([_at(c.matrix, c.equal), _at(c.sums, c.opposite), _at(c.differences, c.opposite)]),
}


def _at(matrix: Array, pairs: Array) -> Array:
    return jnp.where(pairs, matrix, 0).ravel()


@dataclass(frozen=True)
class Config:
    dim: int = 5  # inputs
    width: int = 4  # hidden units
    init_scale: Annotated[float, Static] = 1.0  # of w and v, as in the model
    learning_rates: tuple[float, ...] = (0.01, 0.005, 0.0025, 0.00125)  # step sizes, falling; the last two give the slope
    time: Annotated[float, Static] = 2.0  # learning rate times updates
    weight_decay: float = 0.2  # wd of the run whose decay is measured, at the smallest step size
    dtype: str = "float64"  # drifts at the smallest step size are some 1e-3

    def __post_init__(self):
        rates = self.learning_rates
        if len(rates) < 2 or min(rates) <= 0 or list(rates) != sorted(set(rates), reverse=True):
            raise ValueError(f"learning_rates must be two or more falling positive numbers, got {rates}")
        if not self.time > rates[0]:
            raise ValueError(f"time must be more than one step of {rates[0]}, got {self.time}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")


class Result(NamedTuple):
    """Quantities: unit and matrix for p = 1; unit and signed for both signs; unit and readout for p trained; matrix of both."""

    slope: Float[Array, "quantity"]  # of log drift against log step size
    decay: Float[Array, "law"]  # share left under weight decay, of those that are laws
    drift: Float[Array, "quantity rate"] | None  # norm of the change over that of the start


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key_target, key_init = jax.random.split(key)
    target = bilinear.symmetrize(jax.random.normal(key_target, (config.dim, config.dim)))
    rates = jnp.asarray(config.learning_rates, target.dtype)

    def quantities(params: bilinear.Params) -> Conserved:
        return bilinear_dynamics.conserved(*params)

    def run(params: bilinear.Params, rate: Array, decay: Array, train_readout: bool) -> bilinear.Params:
        def objective(params: bilinear.Params) -> Array:
            trained = params if train_readout else params[:2]
            return _population.loss(params, target) + decay / 2 * sum(jnp.sum(leaf**2) for leaf in trained)

        num_steps = jnp.round(config.time / rate).astype(int)
        return jax.lax.fori_loop(
            0, num_steps, lambda _, params: _population.descend(objective, params, rate, train_readout), params
        )

    before, after = {}, {}
    for scheme in dict.fromkeys(name for name, _, _ in QUANTITIES):
        params = bilinear.init(key_init, bilinear.Config(config.dim, config.width, 1, False, scheme, config.init_scale))
        arms = jnp.append(rates, rates[-1]), jnp.append(jnp.zeros_like(rates), config.weight_decay)
        ends = jax.lax.map(lambda arm, p=params, s=scheme: run(p, arm[0], arm[1], s == "gaussian"), arms)
        before[scheme], after[scheme] = quantities(params), jax.vmap(quantities)(ends)

    def measured(scheme: str, name: str) -> tuple[Array, Array]:
        start, ends = _OF[name](before[scheme]), jax.vmap(_OF[name])(after[scheme])
        drift = jnp.linalg.norm(ends[:-1] - start[None], axis=1) / jnp.linalg.norm(start)
        return drift, ends[-1] @ start / (start @ start)

    drift, left = (jnp.stack(parts) for parts in zip(*(measured(scheme, name) for scheme, name, _ in QUANTITIES), strict=True))
    slope = jnp.log(drift[:, -2] / drift[:, -1]) / jnp.log(rates[-2] / rates[-1])
    laws = jnp.array([index for index, (_, _, law) in enumerate(QUANTITIES) if law])
    return Result(slope, left[laws], drift)


def predict(config: Config) -> Result:
    laws = [float(law) for _, _, law in QUANTITIES]
    left = jnp.exp(-2 * jnp.asarray(config.weight_decay, float) * config.time)
    return Result(jnp.asarray(laws), jnp.full(round(sum(laws)), left), None)


TOLERANCE = {
    "slope": Tolerance(absolute=0.05, reason="the next order in the step size, and for what moves anyway the first"),
    "decay": Tolerance(0.02, reason="drift at the smallest step size"),
}
QUICK = {"learning_rates": (0.02, 0.01), "time": 0.2}
SEEDS = 16
