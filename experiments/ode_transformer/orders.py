r"""Eight ways to write a transformer layer converge to one flow, each with the order and the error constant of theory.

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
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Precision, Tolerance, check
from ...models.transformers import integrators, ode_transformer
from . import _schemes

SCHEMES = tuple(integrators.SCHEMES)
FINE = 2048  # steps of order 4 that stand for the exact flow: their error is 1e-13 of the state


@dataclass(frozen=True)
class Config:
    problem: Literal["random", "sines"] = "random"  # Gaussian weights and tokens; sines: weights and tokens by a formula
    model: ode_transformer.Config = field(default_factory=lambda: ode_transformer.Config(dim=4, width=8))  # the fields alone
    num_tokens: Count = 6  # rows of the state
    time: Positive = 1.0  # T; a step has the size T/num_steps
    num_steps: Annotated[tuple[Count, ...], MinLen(2)] = (16, 32, 64, 128)  # N, rising; the last two give order and constant
    dtype: Precision = "float64"  # order 4 is below the rounding of float32

    def __post_init__(self):
        check(self)
        if self.model.num_blocks != 1:
            raise ValueError(f"model.num_blocks must be 1 (one equation for all layers), got {self.model.num_blocks}")
        if self.model.init_scale == 0:
            raise ValueError("model.init_scale must be positive, since without weights there is no error; got 0.0")
        if list(self.num_steps) != sorted(set(self.num_steps)) or self.num_steps[-1] > FINE // 8:
            raise ValueError(f"num_steps must rise, to at most {FINE // 8}, got {self.num_steps}")


class State(NamedTuple):
    params: ode_transformer.Params  # of one block
    x: Float[Array, "token dim"]


class Result(NamedTuple):
    error: Float[Array, "scheme count"]  # Frobenius norm of the tokens minus the flow at the time T
    order: Float[Array, "scheme"]  # minus the slope of log error against log N between the last two
    constant: Float[Array, "scheme"]  # norm of the coefficient of h^p in the error, extrapolated from the last two


def labels(config: Config) -> dict[str, tuple]:
    return {"scheme": SCHEMES, "count": config.num_steps}


def init(key: PRNGKeyArray, config: Config) -> State:
    if config.problem == "random":
        key_params, key_x = jax.random.split(key)
        params = ode_transformer.init(key_params, config.model)
        x = jax.random.normal(key_x, (config.num_tokens, config.model.dim))
        return State(jax.tree.map(lambda leaf: leaf[0], params), x)
    dim, width = config.model.dim, config.model.width
    params = ode_transformer.Params(
        query=_sines(dim, dim, 1, 2, 1),
        key=_sines(dim, dim, 2, 1, 0.5),
        value=0.5 * _sines(dim, dim, 1, 3, 0.2),
        output=jnp.eye(dim),
        w_in=0.5 * _sines(dim, width, 3, 1, 0.7),
        b_in=0.1 * jnp.cos(jnp.arange(width, dtype=float)),
        w_out=0.5 * _sines(width, dim, 1, 2.5, 0.3),
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
    order, coefficient = _schemes.observed(SCHEMES, gaps, counts, time)
    return Result(errors, order, jnp.linalg.norm(coefficient, axis=(1, 2)))


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
    "order": Tolerance(absolute=0.02, reason="the next order of h, at 64 and 128 steps"),
    "constant": Tolerance(0.01, reason="the second order of h beyond the leading one: the extrapolation removes the first one"),
}
QUICK = {"num_steps": (16, 32), "model.dim": 2, "model.width": 2, "num_tokens": 2, "time": 0.2}
SEEDS = 8
GRID = {"problem": ("sines", "random")}
PRESETS = {"dim_64": {"model.dim": 64, "model.width": 256, "model.num_heads": 4, "num_tokens": 32}}
