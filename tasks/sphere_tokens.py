r"""A query and a set of keys, all uniform on the unit sphere, with targets that are means over the keys.

$$
f(x) = \frac{1}{N} \sum_i \langle x_0, x_i \rangle^p \langle \beta, x_i \rangle^q
$$

centred and scaled to unit variance by its exact moments. An example is an array $(1 + N, d)$: row 0 is the query $x_0$, the
others the keys. The direction $\beta$ is the first basis vector, which is no restriction, as the tokens have no preferred
direction.

| target | $p$ | $q$ | what it asks for |
|---|---|---|---|
| `LINEAR` | 0 | 1 | one direction of the mean key |
| `QUADRATIC` | 0 | 2 | second moments of the keys |
| `CORRELATION` | 1 | 0 | the mean key along the query |
| `GATED` | 1 | 1 | a direction of the keys, weighted by their correlation with the query |

Source: the families of Fu, Guo, Bai and Mei, arXiv 2307.11353 (recalled); moments by Isserlis' theorem
(doi 10.1093/biomet/12.1-2.134) on the sphere (derived).

Example. Both of two keys in three dimensions are $\beta$: their mean is at $\sqrt{6}$ standard deviations, $1/\sqrt{N d}$ each.

>>> import jax.numpy as jnp
>>> from closedform.tasks import sphere_tokens
>>> x = jnp.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
>>> round(float(sphere_tokens.evaluate(sphere_tokens.LINEAR, x)), 4)
2.4495
"""

from math import comb, factorial, prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..documented import documented


@documented
class Target(NamedTuple):
    correlation_degree: int  # p, of <x_0, x_i>
    direction_degree: int  # q, of <beta, x_i>


LINEAR, QUADRATIC, CORRELATION, GATED = Target(0, 1), Target(0, 2), Target(1, 0), Target(1, 1)


def sample(key: PRNGKeyArray, num_samples: int, num_keys: int, dim: int) -> Float[Array, "sample token dim"]:
    """Independent examples of 1 + num_keys unit vectors in the default dtype."""
    if min(num_samples, num_keys) < 1 or dim < 2:
        raise ValueError(f"num_samples and num_keys must be at least 1, dim 2; got {num_samples}, {num_keys} and {dim}")
    x = jax.random.normal(key, (num_samples, 1 + num_keys, dim))
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def evaluate(target: Target, x: Float[Array, "token dim"]) -> Float[Array, ""]:
    """f of one example, with mean 0 and variance 1 over examples."""
    p, q = target
    mean, variance = moments(target, x.shape[0] - 1, x.shape[1])
    keys = x[1:]
    return (jnp.mean((keys @ x[0]) ** p * keys[:, 0] ** q) - mean) / variance**0.5


def moments(target: Target, num_keys: int, dim: int) -> tuple[float, float]:
    """Mean and variance of (1/N) sum_i <x_0, x_i>^p <beta, x_i>^q.

    >>> moments(LINEAR, num_keys=4, dim=8) == (0, 1 / 32)
    True
    """
    p, q = target
    if min(p, q) < 0 or p + q == 0:
        raise ValueError(f"degrees of a target must not be negative, nor both 0; got {tuple(target)}")
    given_query = _mixed(p, q, dim)  # E[<x_0, x_1>^p <beta, x_1>^q | x_0], a polynomial in <x_0, beta>
    mean = sum(c * _moment(j, dim) for j, c in enumerate(given_query))
    different = sum(a * b * _moment(i + j, dim) for i, a in enumerate(given_query) for j, b in enumerate(given_query))
    same = _moment(2 * p, dim) * _moment(2 * q, dim)  # the query averages out first: it is independent of the key
    return mean, same / num_keys + (1 - 1 / num_keys) * different - mean**2


def _moment(degree: int, dim: int) -> float:
    """E[t^degree] of one coordinate t of a uniform unit vector."""
    return 0.0 if degree % 2 else _pairings(degree) / prod(range(dim, dim + degree, 2))


def _mixed(p: int, q: int, dim: int) -> list[float]:
    """E[<a, x>^p <b, x>^q] for unit a and b, as coefficients of the powers of <a, b>."""
    if (p + q) % 2:
        return [0.0]
    norm = prod(range(dim, dim + p + q, 2))
    ways = [
        comb(p, j) * comb(q, j) * factorial(j) * _pairings(p - j) * _pairings(q - j) if (p - j) % 2 == 0 else 0
        for j in range(min(p, q) + 1)
    ]
    return [way / norm for way in ways]


def _pairings(number: int) -> int:
    """(number - 1)!!, the ways to pair an even number of factors."""
    return prod(range(number - 1, 0, -2))
