r"""A deep equilibrium network: its state is a fixed point of one layer into which the input is injected.

$$
z_* = f_\theta(z_*, x), \qquad f_\theta(z, x) = \phi(W z + U x + b)
$$

with $\phi$ tanh, ReLU or the identity; with the identity $z_* = (I - W)^{-1} (U x + b)$. The solver is an argument:
`solve_fn(f, start, args)` finds a fixed point of `f(z, args)` and returns something with a field `state`, as the solvers of
`solvers.fixed_point` do. Gradients are with respect to `args`, here `(params, x)`.

The iteration starts at 0, or, in the skip variants, at a guess that training draws towards the fixed point:

| `start` | starts at | penalty |
|---|---|---|
| `zero` | $0$ | none |
| `skip` | $g_\varphi(x) = \phi(V x + c)$, an explicit layer of its own | $\lvert f(z_*, x) - g_\varphi(x) \rvert_1$ |
| `skip_reg` | $f(0, x)$ | $\lvert f(z_*, x) - f(0, x) \rvert_1$ |

| paper | name here | shape | meaning |
|---|---|---|---|
| $z$ | `z` | (width,) | state |
| $x$ | `x` | (dim,) | input |
| $W$, $U$, $b$ | `w`, `u`, `b` | (width, width), (width, dim), (width,) | of the layer |
| $V$, $c$ | `skip_u`, `skip_b` | (width, dim), (width,) | of the explicit layer; absent in the other variants |

Source: Bai, Kolter and Koltun, arXiv 1909.01377 (equilibrium networks); Pal, Edelman and Rackauckas, arXiv 2201.12240 (skip
variants; their $f$ are deeper, the penalty is described as an L1 norm).

Example. With the identity the state solves a linear equation:

>>> import jax, jax.numpy as jnp
>>> from closedform.models.equilibrium import deep_equilibrium
>>> config = deep_equilibrium.Config(dim=2, width=3, activation="identity")
>>> params = deep_equilibrium.init(jax.random.key(0), config)
>>> x = jnp.array([1.0, -1.0])
>>> z = deep_equilibrium.apply(params, x, config)
>>> bool(jnp.abs(z - params.w @ z - params.u @ x - params.b).max() < 1e-4)
True
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, check
from ...documented import documented
from .._example import one_example
from ._picard import picard

SolveFn: TypeAlias = Callable[[Callable[..., Array], Array, Any], Any]  # (f, start, args) -> with a field `state`
ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "identity": lambda preactivation: preactivation}


@dataclass(frozen=True)
class Config:
    dim: Count = 4  # of the input
    width: Count = 16  # of the state
    activation: Literal["tanh", "relu", "identity"] = "tanh"
    start: Literal["zero", "skip", "skip_reg"] = "zero"  # where the iteration starts: a row of the table
    weight_scale: NonNegative = 0.5  # standard deviation of W times the root of the width: the radius of its spectrum
    input_scale: NonNegative = 1.0  # standard deviation of U (and V) times the root of the dimension

    def __post_init__(self):
        check(self)


@documented
class Params(NamedTuple):
    w: Float[Array, "width width"]
    u: Float[Array, "width dim"]
    b: Float[Array, "width"]
    skip_u: Float[Array, "width dim"] | None = None
    skip_b: Float[Array, "width"] | None = None


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Gaussian weights and no biases."""
    dim, width = config.dim, config.width
    # in one draw, which compiles in the time of one of the three
    drawn = jax.random.normal(key, (width * (width + 2 * dim),))
    w, u, skip_u = jnp.split(drawn, [width**2, width * (width + dim)])
    w = config.weight_scale * w.reshape(width, width) / jnp.sqrt(width)
    u, skip_u = (config.input_scale * one.reshape(width, dim) / jnp.sqrt(dim) for one in (u, skip_u))
    b = jnp.zeros(width)
    return Params(w, u, b, skip_u, b) if config.start == "skip" else Params(w, u, b)


@one_example
def apply(
    params: Params, x: Float[Array, "dim"], config: Config | None = None, solve_fn: SolveFn | None = None
) -> Float[Array, "width"]:
    """The state at the fixed point; `config` as given to init (its defaults if left out).

    Without `solve_fn`, Picard's iteration to the power 3/4 of the precision; NaN where 1000 steps do not get there.
    """
    return equilibrium(params, x, config or Config(), solve_fn or picard).state


def equilibrium(params: Params, x: Float[Array, "dim"], config: Config, solve_fn: SolveFn) -> Any:
    """All that the solver says of the fixed point: for the solvers of `solvers.fixed_point` a `Solution`."""
    return solve_fn(partial(_layer, config=config), start(params, x, config), (params, x))


def layer(params: Params, z: Float[Array, "width"], x: Float[Array, "dim"], config: Config) -> Float[Array, "width"]:
    """f(z, x)."""
    return ACTIVATIONS[config.activation](params.w @ z + params.u @ x + params.b)


def start(params: Params, x: Float[Array, "dim"], config: Config) -> Float[Array, "width"]:
    """The state at which the iteration starts."""
    zero = jnp.zeros_like(params.b)
    if config.start == "zero":
        return zero
    if config.start == "skip_reg":
        return layer(params, zero, x, config)
    if params.skip_u is None or params.skip_b is None:
        raise ValueError("params must be those of start = skip, got some without skip_u and skip_b")
    return ACTIVATIONS[config.activation](params.skip_u @ x + params.skip_b)


def skip_penalty(params: Params, z: Float[Array, "width"], x: Float[Array, "dim"], config: Config) -> Float[Array, ""]:
    """The L1 distance from where the iteration starts to f(z, x) at its end; 0 where it starts at 0 whatever the input."""
    if config.start == "zero":
        return jnp.zeros_like(params.b, shape=())
    return jnp.sum(jnp.abs(layer(params, z, x, config) - start(params, x, config)))


def jacobian(params: Params, z: Float[Array, "width"], x: Float[Array, "dim"], config: Config) -> Float[Array, "width width"]:
    """df/dz at z."""
    return jax.jacfwd(lambda z: layer(params, z, x, config))(z)


def condition_number(params: Params, z: Float[Array, "width"], x: Float[Array, "dim"], config: Config) -> Float[Array, ""]:
    """Ratio of the largest to the smallest singular value of I - J."""
    singular = jnp.linalg.svd(jnp.eye(z.size, dtype=z.dtype) - jacobian(params, z, x, config), compute_uv=False)
    return singular[0] / singular[-1]


def _layer(z: Float[Array, "width"], args: tuple[Params, Float[Array, "dim"]], config: Config) -> Float[Array, "width"]:
    return layer(args[0], z, args[1], config)
