"""Arrays of a labelled result that are made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core.indexing import (
    ExplicitIndexer,
    IndexingSupport,
    LazilyIndexedArray,
    MemoryCachedArray,
    explicit_indexing_adapter,
)


class _Made(BackendArray):
    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, make: Callable[[], np.ndarray]):
        self.shape, self.dtype, self.make = shape, dtype, make

    def __getitem__(self, key: ExplicitIndexer) -> Any:
        return explicit_indexing_adapter(key, self.shape, IndexingSupport.BASIC, lambda key: self.make()[key])


def lazy(shape: tuple[int, ...], dtype: np.dtype, make: Callable[[], np.ndarray]) -> Any:
    """An array for a variable of xarray: `make()`, called when its numbers are asked for, and kept from then on."""
    return MemoryCachedArray(LazilyIndexedArray(_Made(shape, dtype, make)))
