r"""One attention layer and one bilinear layer without normalisation: the output is a sum over pairs of paths.

$$
\mathrm{mid}_t = x_t + \sum_h \sum_s A^h_{ts} O^h x_s, \qquad y_t = P \left( (W \mathrm{mid}_t) \circ (V \mathrm{mid}_t) \right)
$$

With patterns $A$ held fixed $y$ is quadratic in the tokens, and

$$
B(\mathrm{mid}, \mathrm{mid}) = \sum_{p, q} B(x^p, x^q), \qquad p, q \in \{\text{skip}, \text{head } 1, \ldots, \text{head } H\}
$$

has $(1 + H)^2$ terms, $(1 + H)(2 + H)/2$ of them distinct once $B$ is symmetric. Patterns are softmax over all positions, or
causal.

| paper | name here | shape | meaning |
|---|---|---|---|
| $H$ | `num_heads` | | |
| $A^h$ | `patterns[h]` | (token, token) | attention of position $t$ to $s$ |
| $W_{QK}^h$, $W_{OV}^h$ | `query_key[h]`, `output_value[h]` | (dim, dim) | low rank in a network, of any rank here |

Source: Sharkey, arXiv 2305.03452 (circuits of attention and bilinear layers); the count of terms is derived here.

Example. With two heads the output at each of five positions is the sum of $3 \times 3$ pairs of paths.

>>> import jax
>>> from closedform.models.bilinear import bilinear_attention as model
>>> params = model.init(jax.random.key(0), model.Config(dim=4, num_heads=2))
>>> x = jax.random.normal(jax.random.key(1), (5, 4))
>>> paths = model.paths(params, x, model.patterns(params, x))
>>> paths.shape
(3, 3, 5, 3)
>>> bool(abs(paths.sum((0, 1)) - model.apply(params, x)).max() < 1e-4)
True
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, check
from ...documented import documented
from .._example import one_example
from . import bilinear


@dataclass(frozen=True)
class Config:
    dim: Count = 6  # of a token
    num_heads: Count = 2  # paper H
    width: Count = 8  # hidden units of the bilinear layer
    num_outputs: Count = 3
    causal: bool = True  # a position attends to itself and to those before it

    def __post_init__(self):
        check(self)

    @property
    def layer(self) -> bilinear.Config:
        """The bilinear layer."""
        return bilinear.Config(self.dim, self.width, self.num_outputs)


@documented
class Params(NamedTuple):
    query_key: Float[Array, "head dim dim"]
    output_value: Float[Array, "head dim dim"]
    layer: bilinear.Params


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Gaussian, with variance 1/dim in the matrices of the heads."""
    keys = jax.random.split(key, 3)
    shape = (config.num_heads, config.dim, config.dim)
    query_key, output_value = (jax.random.normal(one, shape) / jnp.sqrt(config.dim) for one in keys[:2])
    return Params(query_key, output_value, bilinear.init(keys[2], config.layer))


def patterns(params: Params, x: Float[Array, "token dim"], causal: bool = True) -> Float[Array, "head token token"]:
    """softmax over s of x_t^T W_QK x_s/sqrt(dim)."""
    scores = jnp.einsum("td,hde,se->hts", x, params.query_key, x) / jnp.sqrt(x.shape[1])
    seen = jnp.tril(jnp.ones((len(x), len(x)), bool)) if causal else jnp.ones((len(x), len(x)), bool)
    return jax.nn.softmax(jnp.where(seen[None], scores, -jnp.inf), axis=-1)


def path_tokens(
    params: Params, x: Float[Array, "token dim"], attention: Float[Array, "head token token"]
) -> Float[Array, "path token dim"]:
    """What every path carries to the bilinear layer, the skip connection first: their sum is mid."""
    heads = jnp.einsum("hts,hde,se->htd", attention, params.output_value, x)
    return jnp.concatenate([x[None], heads])


@one_example
def apply(params: Params, x: Float[Array, "token dim"], causal: bool = True) -> Float[Array, "token output"]:
    """The outputs at every position of one sequence; `causal` as in the Config."""
    mid = jnp.sum(path_tokens(params, x, patterns(params, x, causal)), axis=0)
    return jax.vmap(bilinear.apply, (None, 0))(params.layer, mid)


def paths(
    params: Params, x: Float[Array, "token dim"], attention: Float[Array, "head token token"]
) -> Float[Array, "left right token output"]:
    """B(x^p, x^q) of every pair of paths, symmetric in the pair; their sum over both is the output with these patterns."""
    through = path_tokens(params, x, attention)
    left, right = through @ params.layer.w, through @ params.layer.v
    terms = jnp.einsum("ptk,qtk,ok->pqto", left, right, params.layer.p)
    return (terms + jnp.swapaxes(terms, 0, 1)) / 2
