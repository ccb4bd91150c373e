"""What the experiments share: plain gradient descent, and a map of chosen singular values in random bases."""

import itertools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float

from ...contract import Positive
from ...models.linear import deep_linear
from ...tasks import linear_map

Spectrum = Annotated[tuple[Positive, ...], MinLen(1)]  # singular values of a map, largest first
P = TypeVar("P")


class State(NamedTuple):
    """A network, and the map that it learns in its singular vectors."""

    params: deep_linear.Params
    vectors: linear_map.Bases
    task: linear_map.Task


def descend(loss_fn: Callable[[Any], Array], params: P, learning_rate: Any) -> P:
    """One step of gradient descent."""
    return jax.tree.map(lambda leaf, slope: leaf - learning_rate * slope, params, jax.grad(loss_fn)(params))


def require_falling(spectrum: tuple[float, ...], least: int) -> None:
    """Raises ValueError for singular values that do not fall, or are more than `least`, the smallest layer."""
    if any(low >= high for high, low in itertools.pairwise(spectrum)):
        raise ValueError(f"spectrum must fall, got {spectrum}")
    if len(spectrum) > least:
        raise ValueError(f"spectrum must have at most as many singular values as the smallest layer has units, {least}")


def in_vectors(matrix: Float[Array, "*step output dim"], vectors: linear_map.Bases) -> Float[Array, "*step mode mode"]:
    """u_i^T A v_j."""
    return vectors.left.T @ matrix @ vectors.right


def largest_values(matrix: Float[Array, "*step output dim"], number: int) -> Float[Array, "*step mode"]:
    return jnp.linalg.svd(matrix, compute_uv=False)[..., :number]
