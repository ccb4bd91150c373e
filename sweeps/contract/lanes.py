"""How many runs of a small network go through a program side by side on a CPU: the lanes of its innermost loop.

The arrays of a small network fill neither the vector units of a core nor the time that the start of an operation takes: four
runs together take little longer than two. One lane and four round differently, so their number belongs to the identity of a
result. It is read off the traced programs alone, and never depends on how many seeds, cells or cores there
are. The numbers of a run are the same in each lane, whatever runs are in the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jax.extend import core

LANES = 4  # eight gain a little more with many seeds, and lose a lot with few: the last lanes of a block run for nothing
_LARGEST = 8 << 10  # bytes of an array: with more, what the lanes work on leaves the fast cache of a core
_LEAST = 1e7  # operations of a run, on an element each: some milliseconds; below, compiling lanes takes more than they save
_START = 100  # operations on elements in the time that the start of one on an array takes

_MOST = 7 / 8  # of the work of a run: with one run in a block, the rest is done four times for nothing
RULE = (LANES, _LARGEST, _LEAST, _START, _MOST)

# LAPACK takes the matrices of a batch one after the other; lanes wait for one another in loops and branches that depend on the
# run; the host is called for one run at a time
_LAPACK = {"cholesky", "eig", "eigh", "geqrf", "hessenberg", "householder_product", "lu", "qr", "schur", "svd", "tridiagonal"}
_ALONE = {*_LAPACK, "while", "cond", "pure_callback", "io_callback", "debug_callback"}


class Work(NamedTuple):
    """What a program does."""

    operations: float  # on elements
    largest: int = 0  # bytes of an array that it takes or makes
    alone: bool = False  # it has something that lanes do not serve

    @property
    def suits(self) -> bool:
        """Whether runs gain by going through it side by side."""
        return not self.alone and self.largest <= _LARGEST


def lanes_of(programs: Mapping[str, core.ClosedJaxpr], steps: int, records: int) -> int:
    """`LANES` if nearly all of the work of a run, and enough of it, is in programs that suit lanes; else 1.

    Of the programs `step` is done `steps` times and `observe` `records` times.
    """
    times = {"step": steps, "observe": records}
    works = [(times.get(name, 1), work(program.jaxpr)) for name, program in programs.items()]
    suited = sum(often * one.operations for often, one in works if one.suits)
    return LANES if suited >= max(_LEAST, _MOST * sum(often * one.operations for often, one in works)) else 1


def work(jaxpr: core.Jaxpr) -> Work:
    """The work of a program, with the programs in it."""
    found = [Work(0.0, max(map(_bytes, jaxpr.invars), default=0))]
    for equation in jaxpr.eqns:
        name, inner = equation.primitive.name, [work(one) for one in _programs(equation.params.values())]
        times = equation.params["length"] if name == "scan" else 1
        found += [Work(times * one.operations, one.largest, one.alone) for one in inner]
        if not inner:
            found.append(Work(_START + sum(_size(var) for var in equation.outvars) * _operations(equation)))
        found.append(Work(0.0, max(map(_bytes, equation.outvars), default=0), name in _ALONE))
    operations, largest, alone = zip(*found, strict=True)
    return Work(sum(operations), max(largest), any(alone))


def _programs(parameters: Any) -> Iterator[core.Jaxpr]:
    for value in parameters:
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value
        elif isinstance(value, tuple | list):
            yield from _programs(value)


def _operations(equation: Any) -> int:
    """Operations for an element of what an equation returns."""
    name = equation.primitive.name
    if name == "dot_general":
        (axes, _), _ = equation.params["dimension_numbers"]
        return math.prod(equation.invars[0].aval.shape[axis] for axis in axes)
    return 10 * equation.invars[0].aval.shape[-1] if name in _LAPACK else 1  # about 10 n^3 for all eigenvectors


def _size(var: Any) -> int:
    return math.prod(getattr(var.aval, "shape", ()))


def _bytes(var: Any) -> int:
    dtype = getattr(var.aval, "dtype", None)
    return _size(var) * (dtype.itemsize if isinstance(dtype, np.dtype) else 8)
