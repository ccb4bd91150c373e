r"""Two-layer ReLU network with a random frozen first layer, on the concatenated tokens: the baseline of attention.

$$
f(x) = \frac{1}{\sqrt{P}} \sum_j v_j
\operatorname{relu}\left( \frac{\langle w_j, [x_0; x_1; \ldots; x_N; 1] \rangle}{\sqrt{N + 2}} \right)
$$

with $w_j$ standard normal. For unit tokens the concatenation has length $\sqrt{N + 2}$, so that the pre-activations have
variance 1.

| paper | name here | shape | meaning |
|---|---|---|---|
| $d$, $N$ | `dim`, `num_keys` | | dimension of a token, keys of an example |
| $P$ | `num_features` | | hidden units, as many as trained numbers |
| $w_j$ | `w[:, j]` | ((N + 1) d + 1,) | frozen weights of unit $j$ |
| $v_j$ | `v[j]` | () | trained output weight |

Source: the baseline of Fu, Guo, Bai and Mei, arXiv 2307.11353; its scale is our convention.

Example. For unit tokens the squared features sum to 1/2 in the mean, half of the variance of a pre-activation.

>>> import jax, jax.numpy as jnp
>>> from closedform.models.fully_connected import random_feature_network as network
>>> config = network.Config(dim=3, num_keys=2, num_features=20000)
>>> params = network.init(jax.random.key(0), config)
>>> x = jnp.eye(3)
>>> round(float(jnp.sum(network.features(params.w, x) ** 2)), 1)
0.5
>>> float(network.apply(params, x))
0.0
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, check
from ...documented import documented
from .._example import one_example


@dataclass(frozen=True)
class Config:
    dim: Count = 8  # dimension of a token
    num_keys: Count = 4  # keys of an example beside its query
    num_features: Count = 64  # hidden units

    def __post_init__(self):
        check(self)

    @property
    def token(self) -> int:
        """Rows of an example: the query and the keys."""
        return 1 + self.num_keys


@documented
class Params(NamedTuple):
    w: Float[Array, "input feature"]
    v: Float[Array, "feature"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Random hidden units, and output weights 0."""
    size = config.token * config.dim + 1
    return Params(jax.random.normal(key, (size, config.num_features)), jnp.zeros(config.num_features))


@one_example
def apply(params: Params, x: Float[Array, "token dim"]) -> Float[Array, ""]:
    """The output for one example."""
    return params.v @ features(params.w, x)


def features(w: Float[Array, "input feature"], x: Float[Array, "token dim"]) -> Float[Array, "feature"]:
    """relu(<w_j, [x_0; ..; x_N; 1]>/sqrt(N + 2))/sqrt(P): the coefficients of v."""
    if x.size + 1 != w.shape[0]:
        raise ValueError(f"x must have {w.shape[0] - 1} numbers in all for these weights, got shape {x.shape}")
    z = jnp.concatenate([x.ravel(), jnp.ones(1, x.dtype)])
    return jax.nn.relu(z @ w) / jnp.sqrt(jnp.asarray((len(x) + 1) * w.shape[1], w.dtype))
