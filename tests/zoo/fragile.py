"""One shot that raises: at some sizes when it is traced, at one level while it runs.

Source: none
Cost: 1 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from closedform.contract import Tolerance

BROKEN = 2.0  # the level that raises, for every third seed


@dataclass(frozen=True)
class Config:
    level: float = 1.0
    size: int = 4


class Result(NamedTuple):
    value: Float[Array, ""]


def check(level, draw):
    if level == BROKEN and draw % 3 == 0:
        raise ValueError(f"level {level:g} is broken")
    return np.float32(level)


def simulate(key, config):
    if config.size > 6:
        raise ValueError(f"size {config.size} cannot be had")
    draw = jax.random.randint(key, (), 0, 3)
    level = jax.pure_callback(check, jax.ShapeDtypeStruct((), np.float32), jnp.float32(config.level), draw)
    return Result(level + 0 * jax.random.normal(key, (config.size,)).sum())


def predict(config):
    return Result(jnp.asarray(config.level, float))


TOLERANCE = {
    "value": Tolerance(1e-6, reason="float32 rounding"),
}
QUICK = {}
