"""Functions of plain numbers, rounded correctly: tables that enter programs as constants, the same on every processor.

NumPy's exp, log and sin, and what calls BLAS or LAPACK (products of matrices, eigenvalues), may differ in the last bit from one
processor to another; sums, products, quotients and square roots, entry by entry, do not. A constant belongs to the identity of
a result, so that such a table must be made of exact operations, or be computed in the program.
"""

import decimal
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Numbers = Float[np.ndarray, "*shape"]
_DIGITS = decimal.Context(prec=40, traps=[])


def exp(values: Numbers) -> Numbers:
    """e^x of each number.

    >>> exp(np.array([0.0, 1.0])).tolist()
    [1.0, 2.718281828459045]
    """
    return _each(lambda x: x.exp(_DIGITS), values)


def log(values: Numbers | list[int]) -> Numbers:
    """The natural logarithm of each positive number; whole numbers may be of any size.

    >>> log([1, 10**400]).tolist()
    [0.0, 921.0340371976182]
    """
    return _each(lambda x: x.ln(_DIGITS), values)


def _each(function_fn: Callable[[decimal.Decimal], decimal.Decimal], values: Numbers | list[int]) -> Numbers:
    listed = values if isinstance(values, list) else values.ravel().tolist()
    return np.array([float(function_fn(decimal.Decimal(value))) for value in listed]).reshape(np.shape(values))
