r"""One unit on the unit sphere with a polynomial link, trained by online SGD on the correlation loss: a single-index model.

$$
f(x) = g(w \cdot x), \quad |w| = 1, \qquad g = \sum_k c_k h_k, \qquad
w \leftarrow \frac{w + \eta\, y\, g'(w \cdot x)\, x}{|w + \eta\, y\, g'(w \cdot x)\, x|}
$$

| paper | name here | shape | meaning |
|---|---|---|---|
| $d$ | `dim` | | input dimension |
| $w$ | `w` | (d,) | direction, uniform on the sphere at the start |
| $c_k$ | `coefficients` | (term,) | of the link in the orthonormal Hermite polynomials $h_k$; not trained |
| $\eta$ | `learning_rate` | | step size |

Source: G. Ben Arous, R. Gheissari, A. Jagannath, arXiv 2003.10409 (recalled).

Example. The second Hermite polynomial, $(u^2 - 1)/\sqrt 2$, vanishes at 1:

>>> import jax.numpy as jnp
>>> from closedform.models.fully_connected import spherical_unit
>>> params = spherical_unit.Params(jnp.array([1.0, 0.0]), jnp.array([0.0, 0.0, 1.0]))
>>> float(spherical_unit.apply(params, jnp.array([1.0, 3.0])))
0.0
"""

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, check
from ...documented import documented
from .._example import one_example


@dataclass(frozen=True)
class Config:
    dim: Count = 64  # input dimension
    coefficients: Annotated[tuple[float, ...], MinLen(2)] = (0.0, 0.0, 1.0)  # c_0, c_1, .. of the link

    def __post_init__(self):
        check(self)


@documented
class Params(NamedTuple):
    w: Float[Array, "dim"]
    coefficients: Float[Array, "term"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """A direction uniform on the sphere."""
    return with_overlaps(key, config, jnp.zeros(0))


def with_overlaps(key: PRNGKeyArray, config: Config, overlaps: Float[Array, "coordinate"]) -> Params:
    """A direction with these first coordinates, uniform otherwise; the squares of the coordinates sum to at most 1."""
    rest = jax.random.normal(key, (config.dim,)).at[: len(overlaps)].set(0)
    size = jnp.sqrt(jnp.maximum(1 - jnp.sum(overlaps**2), 0))
    w = (rest * (size / jnp.linalg.norm(rest))).at[: len(overlaps)].set(overlaps)
    return Params(w, jnp.asarray(config.coefficients, w.dtype))


@one_example
def apply(params: Params, x: Float[Array, "dim"]) -> Float[Array, ""]:
    """The output for one example."""
    return link(params.coefficients, params.w @ x)


def link(coefficients: Float[Array, "term"], u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """g(u) = sum_k c_k h_k(u), from the top down.

    >>> [round(float(value), 3) for value in link(jnp.array([0.0, 1.0, 1.0]), jnp.array([1.0, 3.0]))]
    [1.0, 8.657]
    """
    later = after = jnp.zeros_like(u)  # Clenshaw: b_k = c_k + u b_{k+1}/sqrt(k + 1) - sqrt((k + 1)/(k + 2)) b_{k+2}
    for k in reversed(range(len(coefficients))):
        later, after = coefficients[k] + u * later / math.sqrt(k + 1) - math.sqrt((k + 1) / (k + 2)) * after, later
    return later


def step(params: Params, x: Float[Array, "dim"], y: Float[Array, ""], learning_rate: Float[Array, ""] | float) -> Params:
    """One step of SGD on the correlation loss -y f(x), back on the sphere."""
    u = params.w @ x
    slope = jax.grad(lambda at: link(params.coefficients, at))(u)
    w = params.w + learning_rate * y * slope * x
    return params._replace(w=w / jnp.linalg.norm(w))
