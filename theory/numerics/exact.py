"""Functions of plain numbers, rounded correctly: what enters programs as constants is the same on every processor.

exp, log and sin of NumPy and of `math`, and what calls BLAS or LAPACK (products of matrices, eigenvalues), may differ in the
last bit from one processor to another; sums, products, quotients and square roots, entry by entry, do not. A constant belongs
to the identity of a result, so that it must be made of such operations, or be computed in the program.
"""

import decimal

import numpy as np
from jaxtyping import Float

Numbers = Float[np.ndarray, "*shape"]
_DIGITS = decimal.Context(prec=40, traps=[])


def exp(values: Numbers) -> Numbers:
    """e^x of each number.

    >>> exp(np.array([0.0, 1.0])).tolist()
    [1.0, 2.718281828459045]
    """
    rounded = [float(decimal.Decimal(x).exp(_DIGITS)) for x in values.ravel().tolist()]
    return np.array(rounded).reshape(values.shape)


def log(x: int | float) -> float:
    """The natural logarithm of a positive number; a whole one may be of any size.

    >>> log(10**400)
    921.0340371976183
    """
    return float(decimal.Decimal(x).ln(_DIGITS))
