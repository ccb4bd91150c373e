"""What decides numbers is the engine's, whatever the user's environment says: precision, kind of keys, promotion, debugging.

Under other settings a program would be another one (double precision, sharded keys, loops that run in Python) or would stop
where ours goes on (NaN checks). They are set around tracing, compiling and running, for the thread alone.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from ...console import first_line
from ..errors import UsageError

KEYS = "threefry2x32"  # the implementation of the keys that simulations get
PROMOTION = {"dtype": "standard", "rank": "allow"}  # the tests are stricter


def wants_float64(config: Any) -> bool:
    """Simulations are float32 unless the Config has a field `dtype` that says "float64"; it may say nothing else."""
    dtype = getattr(config, "dtype", None)
    if isinstance(dtype, str) and dtype not in ("float32", "float64"):
        raise UsageError(f"dtype: got {dtype!r}; allowed: 'float32' or 'float64', the precision of a simulation")
    return dtype == "float64"


_SETTINGS = {
    "default_matmul_precision": "highest",
    "threefry_partitionable": True,
    "default_prng_impl": KEYS,
    "enable_custom_prng": False,
    "legacy_prng_key": "allow",
    "debug_key_reuse": False,
    "debug_nans": False,
    "debug_infs": False,
    "disable_jit": False,
    "check_tracer_leaks": False,
    "softmax_custom_jvp": False,
    "transfer_guard": "allow",
}


@contextlib.contextmanager
def environment() -> Iterator[None]:
    """The settings of JAX under which programs are traced, compiled and run, whatever the user's are; for this thread alone."""
    with contextlib.ExitStack() as settings:
        promotion = {f"numpy_{kind}_promotion": value for kind, value in PROMOTION.items()}
        for name, value in {**_SETTINGS, **promotion}.items():
            if (setting := getattr(jax, name, None)) is not None:  # not every version of JAX has them all
                settings.enter_context(setting(value))
        yield


@contextlib.contextmanager
def precision(float64: bool) -> Iterator[None]:
    """`environment`, and float64 or not."""
    with environment(), jax.enable_x64(float64):
        yield


# what changes numbers and cannot be set for a thread alone
_UNSET = {"jax_random_seed_offset": 0, "jax_high_dynamic_range_gumbel": False, "jax_use_direct_linearize": True}


def settle() -> None:
    """Let a process of ours go on as if its environment had set nothing that decides numbers.

    Else constants of a user's file, which is imported outside of `environment`, would follow it: arrays in float64, other keys.
    """
    promotion = {f"numpy_{kind}_promotion": value for kind, value in PROMOTION.items()}
    usual = {f"jax_{name}": value for name, value in {**_SETTINGS, **promotion, "enable_x64": False}.items()}
    for name, value in {**usual, **_UNSET}.items():
        if name in jax.config.values and jax.config.values[name] != value:
            jax.config.update(name, value)


@functools.cache
def check_platforms() -> None:
    """Raise `UsageError` where JAX_PLATFORMS names no device of this machine: nothing runs on another one in silence."""
    asked = jax.config.values.get("jax_platforms")
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        said = first_line(error) or type(error).__name__
        raise UsageError(
            f"JAX_PLATFORMS: got {asked!r}; allowed: what this machine and its installation of jax have, such as 'cpu', "
            f"or unset ({said})"
        ) from error


def check_environment() -> None:
    """Raise `UsageError` for a setting under which a sweep would give other numbers, and which is not the engine's to make."""
    for name, allowed in _UNSET.items():
        if (given := jax.config.values.get(name, allowed)) != allowed:
            raise UsageError(f"{name.upper()}: got {given!r}; allowed: {allowed!r}, which decides numbers (unset it)")


_EXACT = 2**53  # up to here float64 holds every whole number


def stored_dtype(dtype: Any) -> np.dtype:
    """The type in which results are kept: floating-point, and of whole numbers one that holds each of them exactly.

    That is float32 for what has at most 16 bits, and float64 for more, whatever the precision of the simulation: these are
    converted when they have left the program.
    """
    if dtype in (np.float32, np.float64):
        return np.dtype(dtype)
    narrow = dtype == np.bool_ or jax.numpy.issubdtype(dtype, np.floating) or jax.numpy.iinfo(dtype).bits <= 16
    return np.dtype(np.float32 if narrow else np.float64)


def stored(leaf: np.ndarray) -> np.ndarray:
    """A result in the type in which it is kept. Raises ValueError for whole numbers that no type of ours holds."""
    if leaf.dtype.kind in "iu" and leaf.size and not -_EXACT <= leaf.min() <= leaf.max() <= _EXACT:
        raise ValueError("the result holds whole numbers beyond 2**53, which float64 does not hold exactly")
    return leaf.astype(stored_dtype(leaf.dtype))
