r"""Gauss rules of symmetric laws, by operations that every processor rounds alike: their nodes enter programs as constants.

With the orthonormal polynomials $p_r$ of the law, $p_0 = 1$, and their steps $b_r > 0$,

$$
t\, p_r = b_{r+1}\, p_{r+1} + b_r\, p_{r-1}
$$

the nodes are the roots of $p_n$, which are the eigenvalues of the tridiagonal matrix of $b_1, \dots, b_{n-1}$, and the weights
are $1/\sum_{r < n} p_r^2$. LAPACK's eigenvalues differ in their last bits from one processor to another; here counting the
eigenvalues below a number (Sturm) halves the interval of each, and Newton's method ends it.
"""

import functools

import numpy as np
from jaxtyping import Float

Nodes = Float[np.ndarray, "node"]


@functools.cache
def legendre(num_nodes: int) -> tuple[Nodes, Nodes]:
    """Nodes and weights (of sum 1) for the uniform law on [-1, 1].

    >>> t, weights = legendre(3)
    >>> (t**2).round(6).tolist(), weights.round(6).tolist()  # 3/5; 5/18 and 8/18
    ([0.6, 0.0, 0.6], [0.277778, 0.444444, 0.277778])
    """
    r = np.arange(1.0, num_nodes + 1)
    return gauss(r / np.sqrt(4 * r**2 - 1))


@functools.cache
def hermite(num_nodes: int) -> tuple[Nodes, Nodes]:
    """Nodes and weights for the standard normal law.

    >>> t, weights = hermite(2)
    >>> t.tolist(), weights.tolist()
    ([-1.0, 1.0], [0.5, 0.5])
    """
    return gauss(np.sqrt(np.arange(1.0, num_nodes + 1)))


def gauss(steps: Float[np.ndarray, "node"]) -> tuple[Nodes, Nodes]:
    """Nodes, rising and symmetric, and weights of sum 1, from b_1, .., b_n of a law that is symmetric about 0.

    Exact for polynomials of degree 2n - 1.
    """
    index, squares = np.arange(len(steps)), steps[:-1] ** 2
    low, high = (np.full(len(steps), sign * 2 * np.max(steps)) for sign in (-1, 1))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = _below(squares, middle) > index
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    nodes = (low + high) / 2
    for _ in range(2):  # to rounding, since the error is squared
        values, slopes = orthonormal(steps, nodes)
        nodes = nodes - values[-1] / slopes[-1]
    nodes = (nodes - nodes[::-1]) / 2
    # Christoffel's numbers, whose relative error is small also where they are
    weights = 1 / np.sum(orthonormal(steps[:-1], nodes)[0] ** 2, axis=0)
    return nodes, weights / np.sum(weights)


_HALVINGS = 30  # the interval, 4 b of the largest b, falls to 4e-9 b; the gaps between n nodes are above b/n^2


def _below(squares: np.ndarray, x: Nodes) -> np.ndarray:
    """How many eigenvalues of the matrix are below each x: the negative pivots of its factors."""
    pivot, count = -x, (x > 0).astype(int)
    for square in squares:
        pivot = -x - square / np.where(pivot == 0, 1e-200, pivot)
        count += pivot < 0
    return count


def orthonormal(steps: Float[np.ndarray, "degree"], t: Nodes) -> tuple[np.ndarray, np.ndarray]:
    """p_r and dp_r/dt of the degrees r = 0, .., len(steps), by row; `steps` are b_1, b_2, ..."""
    values, slopes = [np.zeros_like(t), np.ones_like(t)], [np.zeros_like(t)] * 2
    for below, above in zip([0.0, *steps], steps, strict=False):
        values.append((t * values[-1] - below * values[-2]) / above)
        slopes.append((values[-2] + t * slopes[-1] - below * slopes[-2]) / above)
    return np.stack(values[1:]), np.stack(slopes[1:])
