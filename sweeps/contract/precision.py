"""What decides numbers is the engine's, whatever the user's environment says: precision, kind of keys, promotion, debugging.

Under other settings a program would be another one (double precision, sharded keys, loops that run in Python) or would stop
where ours goes on (NaN checks). They are set around tracing, compiling and running, for the thread alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax

KEYS = "threefry2x32"  # the implementation of the keys that simulations get
PROMOTION = {"dtype": "standard", "rank": "allow"}  # the tests are stricter


def wants_float64(config: Any) -> bool:
    """Simulations are float32 unless the Config has a field `dtype` that says "float64"."""
    return getattr(config, "dtype", "float32") == "float64"


@contextlib.contextmanager
def precision(float64: bool) -> Iterator[None]:
    """Thread-local settings of a simulation: float64 or not, products in the full precision of their type, and the rest."""
    with (
        jax.enable_x64(float64),
        jax.default_matmul_precision("highest"),
        jax.numpy_dtype_promotion(PROMOTION["dtype"]),
        jax.numpy_rank_promotion(PROMOTION["rank"]),
        jax.threefry_partitionable(True),
        jax.default_prng_impl(KEYS),
        jax.debug_nans(False),
        jax.debug_infs(False),
        jax.disable_jit(False),
        jax.transfer_guard("allow"),
    ):
        yield
