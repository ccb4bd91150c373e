"""What the experiments on a known spectrum share: inputs along the eigenvectors, trained sizes, and what a Config must hold."""

import itertools
from typing import Annotated, Any, Literal

import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float

from ...contract import Count, Distinct, Positive
from ...models.linear import deep_linear, nested

Spectrum = Annotated[tuple[Positive, ...], MinLen(1)]  # eigenvalues of the covariance, falling
Sizes = Annotated[tuple[Count, ...], MinLen(1), Distinct]  # trained prefix sizes
Exits = Literal["last", "all"]
SPECTRUM = (4.0, 2.0, 1.0, 0.5, 0.25)


def model(width: int = 4, widths: tuple[int, ...] = (), exits: Exits = "last", dim: int = 5, **start: Any) -> nested.Config:
    """An autoencoder, from a small random start if not told otherwise."""
    encoder = deep_linear.Config(dim, widths, width, **{"scheme": "unit_gaussian", "scale": 0.02, **start})
    return nested.Config(encoder, num_outputs=dim, exits=exits)


def check_model(config: nested.Config, spectrum: tuple[float, ...]) -> None:
    """Raises ValueError unless the spectrum falls and the model is an autoencoder of as many inputs."""
    if any(after >= before for before, after in itertools.pairwise(spectrum)):
        raise ValueError(f"spectrum must fall, got {spectrum}")
    if (config.encoder.dim, config.num_outputs) != (len(spectrum), len(spectrum)):
        sizes = config.encoder.dim, config.num_outputs
        raise ValueError(f"model must have as many inputs and outputs as the spectrum, {len(spectrum)}, got {sizes}")
    if config.width > len(spectrum):
        raise ValueError(f"model must have at most as many coordinates as the spectrum, {len(spectrum)}, got {config.width}")


def check_sizes(sizes: tuple[int, ...], width: int, name: str = "sizes") -> None:
    """Raises ValueError for a size beyond the coordinates."""
    if max(sizes) > width:
        raise ValueError(f"{name} must be at most the {width} coordinates of the model, got {sizes}")


def covariance(spectrum: tuple[float, ...]) -> Float[Array, "dim dim"]:
    """Inputs in their eigenbasis: a Gaussian start knows of no basis."""
    return jnp.diag(jnp.asarray(spectrum, float))
