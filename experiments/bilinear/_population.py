"""What experiments on a known target share: a form of given spectrum in a random basis, and the loss on Gaussian inputs."""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...models.bilinear import bilinear

Spectrum = Annotated[tuple[float, ...], MinLen(1)]  # eigenvalues of a target
SPECTRUM = (2.0, 1.0, 0.5, 0.25, -0.5, -1.0)


class Target(NamedTuple):
    """A quadratic form, in its eigenbasis."""

    values: Float[Array, "mode"]
    basis: Float[Array, "row mode"]  # orthonormal columns

    @property
    def matrix(self) -> Float[Array, "row row"]:
        return (self.basis * self.values[None]) @ self.basis.T


def draw(key: PRNGKeyArray, values: tuple[float, ...]) -> Target:
    """A target with these eigenvalues in a random basis, uniform on the rotations and reflections."""
    basis = jax.random.orthogonal(key, len(values))
    return Target(jnp.asarray(values, basis.dtype), basis)


def form(params: bilinear.Params) -> Float[Array, "row row"]:
    """The quadratic form of a network of one output."""
    return bilinear.interaction_matrix(params, jnp.ones(1, params.p.dtype))


def in_basis(params: bilinear.Params, target: Target) -> Float[Array, "mode mode"]:
    """The network's form in the eigenbasis of the target."""
    return target.basis.T @ form(params) @ target.basis


def loss(params: bilinear.Params, target: Float[Array, "row row"]) -> Float[Array, ""]:
    """E (f(x) - x^T target x)^2 over x ~ N(0, I). Written here once more: the simulated side uses no theory."""
    difference = form(params) - target
    return 2 * jnp.sum(difference**2) + jnp.trace(difference) ** 2


def descend(
    objective_fn: Callable[[bilinear.Params], Array],
    params: bilinear.Params,
    learning_rate: float | Array,
    train_readout: bool = False,
) -> bilinear.Params:
    """One step of gradient descent on w and v, and on p if train_readout."""
    gradient = jax.grad(objective_fn)(params)
    after = jax.tree.map(lambda leaf, g: leaf - jnp.asarray(learning_rate, leaf.dtype) * g, params, gradient)
    return after if train_readout else after._replace(p=params.p)
