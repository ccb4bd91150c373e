r"""Gradient descent breaks the conservation laws of gradient flow in proportion to its step size; all else drifts at any step.

Three layers on the same target: $p = 1$ fixed, $p = {+1}$ and $-1$ in turn fixed, $p$ trained. Over a fixed time a quantity
drifts with slope 1 in the step size if the flow conserves it, and with slope 0 if not: $(W + V)^\top (W - V)$ is conserved for
equal $p$ alone, and for unlike signs other products are. Weight decay $\omega$ shrinks conserved quantities as
$e^{-2\omega t}$.

$$
\begin{align*}
\frac{\|C(t) - C(0)\|}{\|C(0)\|} &\propto \eta^s, \qquad
s = 1 \text{ for a law of the flow}, \quad s = 0 \text{ otherwise} \\
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
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Precision, Static, Tolerance, check
from ...models.bilinear import bilinear
from . import _population

_Quantity = tuple[Literal["ones", "alternating", "gaussian"], str]  # init of the readout, which trains if Gaussian, and name
LAWS: tuple[_Quantity, ...] = (
    ("ones", "unit"),
    ("ones", "matrix"),
    ("alternating", "unit"),
    ("alternating", "signed"),
    ("gaussian", "unit"),
    ("gaussian", "readout"),
)
NO_LAWS: tuple[_Quantity, ...] = (("alternating", "matrix"), ("gaussian", "matrix"))
_Rates = Annotated[tuple[Positive, ...], MinLen(2)]


@dataclass(frozen=True)
class Config:
    dim: Count = 5  # inputs
    width: Count = 4  # hidden units
    init_scale: Annotated[Positive, Static] = 1.0  # of w and v, as in the model
    learning_rates: _Rates = (0.01, 0.005, 0.0025, 0.00125)  # step sizes, falling; the last two give the slope
    time: Annotated[Positive, Static] = 2.0  # learning rate times updates
    weight_decay: NonNegative = 0.2  # wd of the run whose decay is measured, at the smallest step size
    dtype: Precision = "float64"  # drifts at the smallest step size are some 1e-3

    def __post_init__(self):
        check(self)
        rates = self.learning_rates
        if list(rates) != sorted(set(rates), reverse=True):
            raise ValueError(f"learning_rates must fall, got {rates}")
        if not self.time > rates[0]:
            raise ValueError(f"time must be more than one step of {rates[0]}, got {self.time}")


class Result(NamedTuple):
    slope: Float[Array, "quantity"]  # of log drift against log step size
    decay: Float[Array, "law"]  # fraction of each conserved quantity left under weight decay
    drift: Float[Array, "quantity learning_rate"] | None = None  # norm of the change over the norm at the start


def labels(config: Config) -> dict[str, tuple]:
    laws, no_laws = (tuple(map(" ".join, pairs)) for pairs in (LAWS, NO_LAWS))
    return {"quantity": laws + no_laws, "law": laws, "learning_rate": config.learning_rates}


def quantities(params: bilinear.Params) -> dict[str, Array]:
    """Candidates for conserved quantities of a network of one output, written out here so that they are measured."""
    (w, v), p = params[:2], params.p[0]
    plus, minus = w + v, w - v
    equal, opposite = p[:, None] == p[None], p[:, None] == -p[None]
    signed = ((equal, plus.T @ minus), (opposite, plus.T @ plus), (opposite, minus.T @ minus))
    return {
        "unit": jnp.sum(plus * minus, axis=0),  # |w_k|^2 - |v_k|^2
        "readout": jnp.sum(w**2, axis=0) - p**2,
        "matrix": (plus.T @ minus).ravel(),
        "signed": jnp.concatenate([jnp.where(pairs, products, 0).ravel() for pairs, products in signed]),
    }


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key_target, key_init = jax.random.split(key)
    target = bilinear.symmetrize(jax.random.normal(key_target, (config.dim, config.dim)))
    rates = jnp.asarray(config.learning_rates, target.dtype)

    def run(params: bilinear.Params, rate: Array, decay: Array, train_readout: bool) -> bilinear.Params:
        def objective(params: bilinear.Params) -> Array:
            trained = params if train_readout else params[:2]
            return _population.loss(params, target) + decay / 2 * sum(jnp.sum(leaf**2) for leaf in trained)

        num_steps = jnp.round(config.time / rate).astype(int)
        # several step sizes in one run, whose drifts make one slope: the engine's loop trains one network
        return jax.lax.fori_loop(
            0, num_steps, lambda _, params: _population.descend(objective, params, rate, train_readout), params
        )

    before, after = {}, {}
    for kind in dict(LAWS):
        params = bilinear.init(key_init, bilinear.Config(config.dim, config.width, 1, False, kind, config.init_scale))
        arms = jnp.append(rates, rates[-1]), jnp.append(jnp.zeros_like(rates), config.weight_decay)
        ends = jax.lax.map(lambda arm, p=params, s=kind: run(p, arm[0], arm[1], s == "gaussian"), arms)
        before[kind], after[kind] = quantities(params), jax.vmap(quantities)(ends)

    def measured(kind: str, name: str) -> tuple[Array, Array]:
        start, ends = before[kind][name], after[kind][name]
        drift = jnp.linalg.norm(ends[:-1] - start[None], axis=1) / jnp.linalg.norm(start)
        return drift, ends[-1] @ start / (start @ start)

    drift, left = (jnp.stack(parts) for parts in zip(*(measured(*pair) for pair in LAWS + NO_LAWS), strict=True))
    slope = jnp.log(drift[:, -2] / drift[:, -1]) / jnp.log(rates[-2] / rates[-1])
    return Result(slope, left[: len(LAWS)], drift)


def predict(config: Config) -> Result:
    slope = jnp.concatenate([jnp.ones(len(LAWS)), jnp.zeros(len(NO_LAWS))])
    left = jnp.exp(-2 * jnp.asarray(config.weight_decay, float) * config.time)
    return Result(slope, jnp.full(len(LAWS), left))


TOLERANCE = {
    "slope": Tolerance(
        absolute=0.05,
        reason="step sizes are finite: the next power of the step size adds to the leading one",
    ),
    "decay": Tolerance(0.02, reason="conserved quantities drift by up to 2 % at the smallest step size"),
}
QUICK = {"learning_rates": (0.02, 0.01), "time": 0.2}
SEEDS = 16
