r"""Eight ways to write a transformer layer converge to one flow, each at its order and with the error that theory computes.

Parallel, sequential and Macaron layers are of first order: Macaron's symmetric order of the sublayers removes their bracket,
but Euler's error in each of them stays. With exact flows in the same order it is Strang's splitting, of second order.

$$
\begin{align*}
\|x_N - x(T)\| &= \|E(T)\|\, h^p + O(h^{p+1}), \qquad h = \frac{T}{N} \\
\frac{dx}{dt} &= S(x), \qquad \frac{dE}{dt} = DS(x)\, E + c(x), \qquad E(0) = 0
\end{align*}
$$

with $S = F + G$, attention $F$ and MLP $G$, and a step's own error $h^{p+1} c(x)$: for $p = 1$ the field $c$ is
$-\frac{1}{2} DS\, S$ (parallel), $DG\, F - \frac{1}{2} DS\, S$ (sequential), $-\frac{1}{4} DG\, G - \frac{1}{2} DF\, F$
(Macaron); `theory.transformers.splitting` has the others.

Source: derived here (defects of the schemes, the equation for their errors); parallel layers as Euler's step are proposed in
Zhong et al., arXiv 2212.06011, Macaron in Lu et al., arXiv 1906.02762
Cost: 35 s
"""

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Tolerance
from ...models.transformers import integrators, ode_transformer
from ...theory.transformers import splitting
from . import _schemes

SCHEMES = tuple(integrators.SCHEMES)
FINE = 2048  # steps of order 4 that stand for the exact flow: their error is 1e-13 of the state


@dataclass(frozen=True)
class Config:
    problem: str = "random"  # Gaussian weights and tokens, or "sines": weights and tokens of a fixed formula, whatever the seed
    model: ode_transformer.Config = field(default_factory=lambda: ode_transformer.Config(dim=4, hidden=8))  # the fields alone
    num_tokens: int = 6  # rows of the state
    time: float = 1.0  # T; a step has the size T/num_steps
    num_steps: tuple[int, ...] = (16, 32, 64, 128)  # N, rising; the last two give the order and the constant
    dtype: str = "float64"  # order 4 is below the rounding of float32

    def __post_init__(self):
        if self.problem not in ("random", "sines"):
            raise ValueError(f"problem must be random or sines, got {self.problem!r}")
        if self.model.num_blocks != 1:
            raise ValueError(f"model.num_blocks must be 1 (one equation for all layers), got {self.model.num_blocks}")
        if not 0 < self.time < float("inf"):
            raise ValueError(f"time must be positive and finite, got {self.time}")
        if self.num_tokens < 1:
            raise ValueError(f"num_tokens must be at least 1, got {self.num_tokens}")
        counts = self.num_steps
        if len(counts) < 2 or counts[0] < 1 or counts[-1] > FINE // 8 or list(counts) != sorted(set(counts)):
            raise ValueError(f"num_steps must be two or more rising numbers from 1 to {FINE // 8}, got {counts}")


class State(NamedTuple):
    params: ode_transformer.Params  # of one block
    x: Float[Array, "token dim"]


class Result(NamedTuple):
    error: Float[Array, "scheme count"]  # Frobenius norm of what separates the tokens from the flow at the time T
    order: Float[Array, "scheme"]  # minus the slope of log error against log N between the last two
    constant: Float[Array, "scheme"]  # norm of the coefficient of h^p in the error, extrapolated from the last two


def init(key: PRNGKeyArray, config: Config) -> State:
    if config.problem == "random":
        key_params, key_x = jax.random.split(key)
        params = ode_transformer.init(key_params, config.model)
        x = jax.random.normal(key_x, (config.num_tokens, config.model.dim))
        return State(jax.tree.map(lambda leaf: leaf[0], params), x)
    dim, hidden = config.model.dim, config.model.hidden
    params = ode_transformer.Params(
        query=_sines(dim, dim, 1, 2, 1),
        key=_sines(dim, dim, 2, 1, 0.5),
        value=0.5 * _sines(dim, dim, 1, 3, 0.2),
        output=jnp.eye(dim),
        w_in=0.5 * _sines(dim, hidden, 3, 1, 0.7),
        b_in=0.1 * jnp.cos(jnp.arange(hidden, dtype=float)),
        w_out=0.5 * _sines(hidden, dim, 1, 2.5, 0.3),
        b_out=jnp.zeros(dim),
    )
    return State(params, _sines(config.num_tokens, dim, 1.3, 0.7, 0.1))


def _sines(rows: int, columns: int, p: float, q: float, s: float) -> Float[Array, "row column"]:
    """sin(s + p i + q j)."""
    return jnp.sin(s + p * jnp.arange(rows, dtype=float)[:, None] + q * jnp.arange(columns, dtype=float)[None, :])


def simulate(state: State, config: Config) -> Result:
    f_fn, g_fn = ode_transformer.fields(state.params, config.model)
    time = jnp.asarray(config.time, state.x.dtype)

    def end(scheme: str, num_steps: int | Array) -> Array:
        step_fn = integrators.SCHEMES[scheme].step_fn
        h = time / jnp.asarray(num_steps, time.dtype)
        return integrators.integrate(step_fn, f_fn, g_fn, state.x, h, num_steps)

    exact = end("rk4", FINE)
    counts = jnp.asarray(config.num_steps)
    gaps = jnp.stack([jax.lax.map(partial(end, scheme), counts) for scheme in SCHEMES]) - exact[None, None]
    errors = jnp.linalg.norm(gaps, axis=(2, 3))
    coefficients = _schemes.extrapolated(gaps, counts, time, _schemes.orders(SCHEMES))
    return Result(errors, splitting.observed_order(counts, errors).last, jnp.linalg.norm(coefficients, axis=(1, 2)))


def predict(state: State, config: Config) -> Result:
    fields = ode_transformer.fields(state.params, config.model)
    order, coefficient = _schemes.leading(*fields, SCHEMES, state.x, config.time)
    constants = jnp.linalg.norm(coefficient, axis=(1, 2))
    steps = config.time / jnp.asarray(config.num_steps, constants.dtype)
    return Result(constants[:, None] * steps[None] ** order[:, None], order, constants)


TOLERANCE = {
    "error": Tolerance(
        0.1,
        reason="the next order of h: a few percent at the first of the numbers of steps, 16, and less at the others",
    ),
    "order": Tolerance(absolute=0.02, reason="the same, at 64 to 128 steps"),
    "constant": Tolerance(0.01, reason="the order after that: the extrapolation takes the next one off"),
}
QUICK = {"num_steps": (16, 32), "model.dim": 2, "model.hidden": 2, "num_tokens": 2, "time": 0.2}
SEEDS = 8
GRID = {"problem": ("sines", "random")}
PRESETS = {"width_64": {"model.dim": 64, "model.hidden": 256, "model.num_heads": 4, "num_tokens": 32}}
