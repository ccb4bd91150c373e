r"""A monotone equilibrium network: its weights are such that it has exactly one fixed point, however large their norm.

$$
z_* = \phi(W z_* + U x + b), \qquad W = (1 - m) I - A^\top A + B - B^\top
$$

with $\phi$ ReLU or the identity. The symmetric part of $I - W$ is $m I + A^\top A$, at least $m > 0$, which makes the fixed
point unique and lets operator splitting find it:

- forward-backward, $z \leftarrow \phi((1 - \alpha) z + \alpha (W z + U x + b))$;
- Peaceman-Rachford, which alternates $\phi$ with the `resolvent` $(I + \alpha (I - W))^{-1}$.

Both apply the proximal operator of $\alpha g$ where $\phi$ is that of $g$, and the two are one function for every $\alpha$ if
$\phi$ is a projection onto a closed convex set. ReLU and the identity are. tanh is not: it is the proximal operator of a convex
function, so that a network with tanh has one fixed point too, but these iterations would not find it.

| paper | name here | shape | meaning |
|---|---|---|---|
| $m$ | `monotonicity` | | least eigenvalue of the symmetric part of $I - W$ |
| $A$, $B$ | `a`, `b` | (width, width) | of the weights |
| $U$, $b$ | `u`, `bias` | (width, dim), (width,) | of the injected input |
| $W$ | `weight(params, config)` | (width, width) | |
| $\alpha$ | `step` | | step of the splitting |

Source: E. Winston and J. Z. Kolter, arXiv 2006.08591 (recalled; the parametrisation is that of their code).

Example. The symmetric part of I - W is at least m:

>>> import jax, jax.numpy as jnp
>>> from closedform.models.equilibrium import monotone
>>> config = monotone.Config(width=6, monotonicity=0.5, weight_scale=3.0)
>>> w = monotone.weight(monotone.init(jax.random.key(0), config), config)
>>> bool(jnp.linalg.eigvalsh(jnp.eye(6) - (w + w.T) / 2).min() > 0.499), bool(jnp.linalg.norm(w, 2) > 1)
(True, True)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, check
from ...documented import documented
from .._example import one_example
from ._picard import Found, picard

# (weight, drive, prox_fn) -> with a field `state`, a fixed point of prox_fn(weight z + drive)
SplittingFn: TypeAlias = Callable[[Array, Array, Callable[[Array], Array]], Any]
ACTIVATIONS = {"relu": jax.nn.relu, "identity": lambda preactivation: preactivation}


@dataclass(frozen=True)
class Config:
    dim: Count = 4  # of the input
    width: Count = 16  # of the state
    activation: Literal["relu", "identity"] = "relu"
    monotonicity: Positive = 0.5  # m: least eigenvalue of the symmetric part of I - W
    weight_scale: NonNegative = 0.5  # standard deviation of A and B times the root of the width
    input_scale: NonNegative = 1.0  # standard deviation of U times the root of the dimension

    def __post_init__(self):
        check(self)


@documented
class Params(NamedTuple):
    a: Float[Array, "width width"]
    b: Float[Array, "width width"]
    u: Float[Array, "width dim"]
    bias: Float[Array, "width"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Gaussian A, B and U, and no bias."""
    key_a, key_b, key_u = jax.random.split(key, 3)
    dim, width = config.dim, config.width
    a, b = (config.weight_scale * jax.random.normal(one, (width, width)) / jnp.sqrt(width) for one in (key_a, key_b))
    u = config.input_scale * jax.random.normal(key_u, (width, dim)) / jnp.sqrt(dim)
    return Params(a, b, u, jnp.zeros(width))


@one_example
def apply(
    params: Params, x: Float[Array, "dim"], config: Config | None = None, solve_fn: SplittingFn | None = None
) -> Float[Array, "width"]:
    """The state at the fixed point; `config` as given to init (its defaults if left out).

    Without `solve_fn`, Peaceman-Rachford to the power 3/4 of the precision; NaN where 1000 steps do not get there.
    """
    return equilibrium(params, x, config or Config(), solve_fn or _peaceman_rachford).state


def equilibrium(params: Params, x: Float[Array, "dim"], config: Config, solve_fn: SplittingFn) -> Any:
    """All that the solver says of the fixed point: for those of `solvers.operator_splitting` a `Solution`."""
    return solve_fn(weight(params, config), drive(params, x), ACTIVATIONS[config.activation])


def weight(params: Params, config: Config) -> Float[Array, "width width"]:
    """W."""
    eye = jnp.eye(params.a.shape[0], dtype=params.a.dtype)
    return (1 - config.monotonicity) * eye - params.a.T @ params.a + params.b - params.b.T


def drive(params: Params, x: Float[Array, "dim"]) -> Float[Array, "width"]:
    """U x + b, which does not change with the state."""
    return params.u @ x + params.bias


def layer(params: Params, z: Float[Array, "width"], x: Float[Array, "dim"], config: Config) -> Float[Array, "width"]:
    """phi(W z + U x + b)."""
    return ACTIVATIONS[config.activation](weight(params, config) @ z + drive(params, x))


def lipschitz(params: Params, config: Config) -> Float[Array, ""]:
    """L, the largest singular value of I - W."""
    return jnp.linalg.norm(jnp.eye(params.a.shape[0], dtype=params.a.dtype) - weight(params, config), 2)


def resolvent(weight: Float[Array, "width width"], step: Float[Array, ""] | float) -> Float[Array, "width width"]:
    """(I + step (I - W))^{-1}."""
    eye = jnp.eye(weight.shape[0], dtype=weight.dtype)
    return jnp.linalg.inv(eye + step * (eye - weight))


def _peaceman_rachford(weight: Array, drive: Array, prox_fn: Callable[[Array], Array]) -> Found:
    def reflect(u: Array, args: tuple[Array, Array]) -> Array:
        inverse, drive = args
        half = 2 * prox_fn(u) - u
        return 2 * inverse @ (half + drive) - half

    return Found(prox_fn(picard(reflect, jnp.zeros_like(drive), (resolvent(weight, 1.0), drive)).state))
