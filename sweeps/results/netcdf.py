"""A labelled result as the bytes of a netCDF file, and back."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray

_CHUNK_BYTES = 16 << 20  # about: that HDF5 gives a checksum of its own


def from_bytes(content: bytes) -> xarray.DataTree:
    """The tree, loaded."""
    import xarray

    with xarray.open_datatree(io.BytesIO(content), engine="h5netcdf") as tree:  # else xarray keeps the content for long
        return tree.load()


def to_bytes(tree: xarray.DataTree) -> memoryview:
    """The tree as xarray writes it, with a checksum for each array of numbers and for all that HDF5 itself notes.

    The latter are in the format of HDF5 1.10, which xarray's own `to_netcdf` cannot choose; files are smaller in it as well.
    """
    import h5netcdf
    from xarray.backends import H5NetCDFStore

    buffer = io.BytesIO()
    with h5netcdf.File(buffer, "w", libver="v110") as file:
        for node in tree.subtree:
            dataset = node.to_dataset(inherit=False)
            encoding = {
                name: {"fletcher32": True, "chunksizes": _chunks(variable.shape, variable.dtype.itemsize)}
                for name, variable in dataset.variables.items()
                if variable.size and variable.ndim and variable.dtype.kind in "biufc"
            }
            place = H5NetCDFStore(file, group=node.path.strip("/") or None, mode="a")
            dataset.dump_to_store(place, encoding=encoding)
    return buffer.getbuffer()


def _chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The shape of the pieces in which an array is stored: all of it, or equal shares, since HDF5 fills up the last one."""
    inner = math.prod(shape[1:]) * itemsize
    if inner > _CHUNK_BYTES:
        return (1, *_chunks(shape[1:], itemsize))
    pieces = -(-shape[0] * inner // _CHUNK_BYTES)
    return (-(-shape[0] // pieces), *shape[1:])
