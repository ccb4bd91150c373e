"""One shot without a draw to share: the mean of exponential variables is their scale.

Source: none
Cost: 1 s
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from closedform.contract import Static


@dataclass(frozen=True)
class Sizes:
    num_samples: int = 400  # draws of one run


@dataclass(frozen=True)
class Config:
    sizes: Sizes = field(default_factory=Sizes)
    scale: float = 2.0  # mean of the distribution
    ratio: Annotated[float, Static] = 1.0  # fixes a branch
    kind: Literal["plain", "double"] = "plain"  # what to estimate
    dtype: str = "float32"  # precision of the simulation


class Result(NamedTuple):
    mean: Float[Array, ""]


def simulate(key, config):
    draws = config.scale * jax.random.exponential(key, (config.sizes.num_samples,))
    draws = draws if config.ratio > 0 else -draws
    return Result(jnp.mean(draws) * (2 if config.kind == "double" else 1))


def predict(config):
    return Result(jnp.asarray(config.scale) * (2.0 if config.kind == "double" else 1.0))


def predict_naive(config):
    return Result(jnp.asarray(config.scale) + 1.0)


QUICK = {"sizes.num_samples": 20}
GRID = {"scale": (1.0, 2.0, 3.0), "kind": ("plain", "double")}
SEEDS = 10
