r"""A committee machine: one hidden layer whose units vote, and its overlaps with another one, its teacher.

$$
f(x) = \sum_k v_k\, g(w_k \cdot x)
$$

| paper | name here | shape | meaning |
|---|---|---|---|
| $d$ | `dim` | | input dimension |
| $K$ | `num_units` | | hidden units |
| $J_k$ | `w[k]` | (num_units, dim) | first layer, of entries $N(0, s^2/d)$ at the start, $s$ = `init_scale` |
| $v_k$ | `v[k]` | (num_units,) | second layer, 1 at the start |
| $g$ | `activation` | | `erf` is $\operatorname{erf}(u/\sqrt 2)$, `relu` |

Source: D. Saad, S. Solla, 1995, doi 10.1103/PhysRevE.52.4225 (recalled).

Example. A student that is its teacher makes no error:

>>> import jax
>>> from closedform.models.fully_connected import committee
>>> config = committee.Config(dim=5, num_units=2)
>>> params = committee.init(jax.random.key(0), config)
>>> abs(float(committee.error(params, params, config))) < 1e-6
True
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, check
from ...documented import documented
from .._example import one_example


@dataclass(frozen=True)
class Config:
    dim: Count = 500
    num_units: Count = 2  # hidden units
    activation: Literal["erf", "relu"] = "erf"  # erf(u/sqrt 2), or relu
    init_scale: Positive = 0.3  # typical length of a unit's weights at the start

    def __post_init__(self):
        check(self)


@documented
class Params(NamedTuple):
    w: Float[Array, "num_units dim"]
    v: Float[Array, "num_units"]


@documented
class Overlaps(NamedTuple):
    student: Float[Array, "student student"]  # Q
    cross: Float[Array, "student teacher"]  # R
    teacher: Float[Array, "teacher teacher"]  # T


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Gaussian first layer, second layer 1."""
    w = jax.random.normal(key, (config.num_units, config.dim)) * (config.init_scale / jnp.sqrt(config.dim))
    return Params(w, jnp.ones(config.num_units))


@one_example
def apply(params: Params, x: Float[Array, "dim"], config: Config | None = None) -> Float[Array, ""]:
    """The output for one example; `config` as given to init (its defaults if left out)."""
    u = params.w @ x
    relu = config is not None and config.activation == "relu"
    return params.v @ (jax.nn.relu(u) if relu else jax.scipy.special.erf(u / jnp.sqrt(2.0).astype(u.dtype)))


def overlaps(student: Params, teacher: Params) -> Overlaps:
    """Inner products of the units' weights."""
    return Overlaps(student.w @ student.w.T, student.w @ teacher.w.T, teacher.w @ teacher.w.T)


def error(student: Params, teacher: Params, config: Config | None = None) -> Float[Array, ""]:
    """E (student - teacher)^2/2 over x ~ N(0, I), in closed form."""
    w = jnp.concatenate([student.w, teacher.w])
    signs = jnp.concatenate([student.v, -teacher.v])
    C = w @ w.T
    size = jnp.diagonal(C)
    if config is not None and config.activation == "relu":
        norms = jnp.sqrt(size[:, None] * size[None])
        cosine = jnp.clip(C / jnp.where(norms > 0, norms, 1), -1, 1)
        mean = norms * (jnp.sqrt(1 - cosine**2) + (jnp.pi - jnp.arccos(cosine)) * cosine) / (2 * jnp.pi)
    else:
        mean = 2 / jnp.pi * jnp.arcsin(C / jnp.sqrt((1 + size[:, None]) * (1 + size[None])))
    return jnp.sum(signs[:, None] * signs[None] * mean) / 2
