r"""One layer of multi-head ReLU attention whose query-key products are random and frozen; only the values train.

$$
f(x) = \frac{1}{\sqrt{M}} \sum_m \left\langle v_m, \frac{1}{N} \sum_i \operatorname{relu}(u_0^\top W_m u_i)\, u_i \right\rangle,
\qquad W_m = \alpha J + s G_m
$$

with $G_m$ iid standard normal, $u = x$, or $u = [x; 1]$ if augmented, and $J$ the identity on the $x$-part. No softmax, no
temperature; the query is row 0 of the example and does not attend to itself. The layer is linear in $v$: a ridge fit needs its
`features` only.

| paper | name here | shape | meaning |
|---|---|---|---|
| $d$ | `dim` | | dimension of a token |
| $N$ | `num_keys` | | keys of an example |
| $M$ | `num_heads` | | heads |
| $x_0$, $x_i$ | `x[0]`, `x[i]` | (dim,) | query, keys |
| $W_m$ | `w[:, m, :]` | (token, token) | query-key product of head $m$, frozen |
| $v_m$ | `v[m]` | (token,) | values of head $m$ |
| $s$, $\alpha$ | `weight_std`, `mean_strength` | | of the entries of $W$: standard deviation, mean on the diagonal |

Source: Fu, Guo, Bai and Mei, arXiv 2307.11353; the scales $s = 1/2$ (augmented) and $\alpha \in \{0, 1\}$ are recalled, and
therefore parameters; the convention $1/\sqrt{M}$ is ours.

Example. The values are 0 at the start, and the order of the keys does not matter.

>>> import jax, jax.numpy as jnp
>>> from closedform.models.transformers import random_feature_attention as attention
>>> params = attention.init(jax.random.key(0), attention.Config(dim=3, num_keys=4, num_heads=5))
>>> x = jax.random.normal(jax.random.key(1), (5, 3))
>>> features = attention.features(params.w, x)
>>> float(attention.apply(params, x)), features.shape
(0.0, (5, 3))
>>> reordered = attention.features(params.w, x[jnp.array([0, 4, 2, 1, 3])])
>>> bool(abs(features - reordered).max() < 1e-5)
True
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, check
from ...documented import documented
from .._example import one_example


@dataclass(frozen=True)
class Config:
    dim: Count = 8  # dimension of a token, paper d
    num_keys: Count = 4  # keys of an example beside its query, paper N
    num_heads: Count = 16  # paper M
    augment: bool = False  # tokens [x; 1] in place of x, in products and in values
    weight_std: NonNegative = 1.0  # standard deviation of the entries of W_m, paper s
    mean_strength: float = 0.0  # mean of the diagonal entries of W_m (the one of the constant apart), paper alpha

    def __post_init__(self):
        check(self)

    @property
    def token(self) -> int:
        """Rows of an example: the query and the keys."""
        return 1 + self.num_keys

    @property
    def num_features(self) -> int:
        """Trained numbers, num_heads times the dimension of a value."""
        return self.num_heads * (self.dim + self.augment)


@documented
class Params(NamedTuple):
    """W_m = w[:, m, :]: for a batch, all queries meet all heads in one matrix product."""

    w: Float[Array, "value head value"]
    v: Float[Array, "head value"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Random heads, and values 0: where a ridge fit or gradient descent starts."""
    size = config.dim + config.augment
    w = config.weight_std * jax.random.normal(key, (size, config.num_heads, size))
    w = w + config.mean_strength * (jnp.eye(size).at[config.dim :].set(0))[:, None, :]
    return Params(w, jnp.zeros((config.num_heads, size)))


@one_example
def apply(params: Params, x: Float[Array, "token dim"]) -> Float[Array, ""]:
    """The output for one example: row 0 is the query, the others are the keys."""
    return jnp.sum(params.v * features(params.w, x))


def features(w: Float[Array, "value head value"], x: Float[Array, "token dim"]) -> Float[Array, "head value"]:
    """(1/sqrt(M)) (1/N) sum_i relu(u_0^T W_m u_i) u_i for every head: the coefficients of v.

    Of many examples `jax.lax.map(fn, x, batch_size=64)` stays in the cache, where `vmap` takes 1.5 times as long on a CPU.
    """
    u = tokens(x, w.shape[0] - x.shape[1])
    attention = jax.nn.relu((u[0] @ w.reshape(w.shape[0], -1)).reshape(w.shape[1:]) @ u[1:].T)
    return attention @ (u[1:] / ((len(u) - 1) * jnp.sqrt(jnp.asarray(w.shape[1], w.dtype))))


def tokens(x: Float[Array, "token dim"], extra: int) -> Float[Array, "token value"]:
    """x, or [x; 1] where the heads have one dimension more than the tokens."""
    if extra not in (0, 1):
        heads = x.shape[1] + extra
        raise ValueError(f"x must have tokens of the dimension of the heads or one less, {heads}; got shape {x.shape}")
    return jnp.concatenate([x, jnp.ones((len(x), extra), x.dtype)], axis=1)
