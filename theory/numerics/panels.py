"""Gauss-Legendre quadrature panel by panel, between edges that may depend on traced numbers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .quadrature import legendre


def panel_rule(
    edges: Float[Array, "*shape edge"], num_nodes: int
) -> tuple[Float[Array, "*shape node"], Float[Array, "*shape node"]]:
    """Nodes and weights of the integral from the least to the largest edge, `num_nodes` on every panel between two edges.

    The edges need no order, and two of them may be equal. An integral does not depend on where it is split, so that no
    derivative goes through the edges: they must not be limits that depend on what is differentiated.

    >>> points, weights = panel_rule(jnp.array([0.0, 3.0, 1.0]), 4)
    >>> round(float(weights @ points**2), 5)
    9.0
    """
    edges = jnp.sort(jax.lax.stop_gradient(edges), axis=-1)
    low, width = edges[..., :-1, None], jnp.diff(edges, axis=-1)[..., None]
    t, w = (jnp.asarray(values, edges.dtype) for values in legendre(num_nodes))
    t, w = (jnp.expand_dims(values, tuple(range(edges.ndim))) for values in (t, w))
    shape = (*edges.shape[:-1], -1)
    return (low + width * (1 + t) / 2).reshape(shape), (width * w).reshape(shape)
