r"""A diagonal linear network of depth 2: linear regression whose weights are differences of squares.

$$
f(x) = \langle \beta, x \rangle, \qquad \beta = u \odot u - v \odot v
$$

With $u = v = \alpha$ at the start $\beta$ is 0, and can go to either sign.

| paper | name here | shape | meaning |
|---|---|---|---|
| $d$ | `dim` | | input dimension |
| $\alpha$ | `init_scale` | | every entry of $u$ and $v$ at the start |
| $\beta$ | `weights(params)` | (dim,) | the linear map |

Source: B. Woodworth et al., arXiv 2002.09277 (recalled).

Example. The network is linear in its input, and not in its parameters:

>>> import jax.numpy as jnp
>>> from closedform.models.linear import diagonal
>>> params = diagonal.Params(jnp.array([2.0, 0.0]), jnp.array([1.0, 1.0]))
>>> diagonal.weights(params).tolist(), float(diagonal.apply(params, jnp.array([1.0, 10.0])))
([3.0, -1.0], -7.0)
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, check
from ...documented import documented
from .._example import one_example


@dataclass(frozen=True)
class Config:
    dim: Count = 16  # of the input
    init_scale: NonNegative = 0.1  # alpha; from 0 nothing is learned

    def __post_init__(self):
        check(self)


@documented
class Params(NamedTuple):
    u: Float[Array, "dim"]
    v: Float[Array, "dim"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """u = v = alpha, whatever the key."""
    both = jnp.full(config.dim, jnp.asarray(config.init_scale, float))
    return Params(both, both)


@one_example
def apply(params: Params, x: Float[Array, "dim"]) -> Float[Array, ""]:
    """The output for one example."""
    return weights(params) @ x


def weights(params: Params) -> Float[Array, "dim"]:
    """beta."""
    return params.u**2 - params.v**2
