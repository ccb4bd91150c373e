"""Functions for writing rules of derivatives."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

Floats = Float[Array, "*shape"]


def directional(slopes: Sequence[Floats], tangents: Sequence[Floats]) -> Floats:
    """The sum of slope times tangent, argument by argument.

    >>> float(directional([jnp.array(2.0), jnp.array(3.0)], [jnp.array(1.0), jnp.array(10.0)]))
    32.0
    """
    total = slopes[0] * tangents[0]
    for slope, tangent in zip(slopes[1:], tangents[1:], strict=True):
        total = total + slope * tangent
    return total


def reciprocal(x: Floats) -> Floats:
    """1/x, and 0 at 0.

    >>> reciprocal(jnp.array([2.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    nonzero = x != 0
    return jnp.where(nonzero, 1 / jnp.where(nonzero, x, 1), 0)
