r"""Hermite series: the coefficients of an activation, and the mean product of its values at two correlated normal numbers.

Formula. With $h_k = \mathrm{He}_k/\sqrt{k!}$, standard normal $Z$, and standard normal $A$, $B$ of correlation $\rho$,

$$
\begin{align*}
c_k &= \mathbb{E} f(Z)\, h_k(Z), \qquad f = \sum_k c_k h_k \\
\mathbb{E} f(A) f(B) &= \sum_k c_k^2 \rho^k
\end{align*}
$$

Regime. Exact for every correlation in $[-1, 1]$, up to the truncation of the series. Correlations that exceed $\pm 1$ by
rounding, up to $10^{-5}$, are taken as they are; larger ones are refused.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $f$ | `activation_fn` | elementwise | activation |
| $c_k$ | `hermite_coefficients` | `term` | $\mathbb{E} f(Z)\, \mathrm{He}_k(Z)/\sqrt{k!}$ |
| $\rho$ | `correlation` | any | correlation of $A$ and $B$ |
| $\mathbb{E} f(A) f(B)$ | `hermite_dual` | any | kernel of the activation at unit variances |

Factors. Hermite polynomials are orthonormal under $N(0, 1)$.

Source. Textbook, recalled; checked here against closed forms.

Finite size. The series is cut after `num_terms` terms: for ReLU, whose $c_k^2$ fall as $k^{-5/2}$, 101 terms leave less than
1e-3 at $\rho = 1$, and nothing beyond rounding for $|\rho| \le 3/4$.

Example. The series of ReLU at correlation 1/2, whose closed form is `arc_cosine(1, 0.5)` of `relu_moments`:

>>> import jax
>>> from closedform.theory.gaussian.hermite import hermite_coefficients, hermite_dual
>>> coefficients = hermite_coefficients(jax.nn.relu, 20)
>>> round(float(hermite_dual(coefficients, 0.5)), 4)
0.3045
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from ..numerics import exact, quadrature
from ..numerics.arguments import CORRELATION, FINITE, ArrayLike, at_least, require, takes

ElementwiseFn = Callable[[Float[Array, "..."]], Float[Array, "..."]]


@takes(num_terms=at_least(1))
def hermite_coefficients(activation_fn: ElementwiseFn, num_terms: int, kinks: Iterable[Any] = (0.0,)) -> Float[Array, "term"]:
    """c_k = E f(Z) h_k(Z), k < num_terms, h_k = He_k/sqrt(k!) orthonormal under N(0, 1); f works elementwise.

    Gauss-Legendre between the `kinks`, the points at which f is not smooth, and +-13. Errors found: 2e-15 for relu and
    3e-15 for the step in 200 terms, 3e-14 for exp(z/2). A kink that is not named costs accuracy: 7e-5 for relu(z - 1).

    >>> [round(float(c), 6) for c in hermite_coefficients(lambda x: jnp.maximum(x, 0), 3)]
    [0.398942, 0.5, 0.282095]
    """
    at = np.sort(np.asarray([*kinks], float))
    require(FINITE, kinks=at)
    nodes, weights = _hermite_rule(num_terms, np.clip(at, -13, 13))
    values = jnp.broadcast_to(jnp.asarray(activation_fn(jnp.asarray(nodes, float)), float), nodes.shape)  # steps, constants
    return jnp.sum(jnp.asarray(weights, float) * values[None], axis=1)


@takes(coefficients=FINITE, correlation=CORRELATION)
def hermite_dual(coefficients: Real[ArrayLike, "term"], correlation: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """E f(A) f(B) = sum_k c_k^2 rho^k, for standard normal A, B and f = sum_k c_k h_k.

    >>> float(hermite_dual(jnp.array([1.0, 0.0, 2.0]), 0.5))
    2.0
    """
    squares = coefficients[::-1] ** 2
    start = jnp.zeros_like(correlation)
    total, _ = jax.lax.scan(lambda total, square: (total * correlation + square, None), start, squares)
    return total


def _hermite_rule(num_terms: int, kinks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes, and the weights of each h_k at them: (node,) and (term, node)."""
    # |h_k| exp(-z^2/4) < 1 and exp(-13^2/4) < 1e-18: |z| > 13 adds less than rounding. h_k oscillates with wave number sqrt k.
    points, weights = quadrature.legendre(128 + 8 * math.isqrt(num_terms))
    edges = np.array([-13.0, *kinks, 13.0])
    centre, length = (edges[1:] + edges[:-1])[:, None] / 2, np.diff(edges)[:, None]
    z, weight = (centre + length / 2 * points).ravel(), (length * weights).ravel()
    rows = [weight * exact.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), np.zeros_like(z)]  # h_0, h_{-1}
    for k in range(num_terms - 1):
        rows.insert(0, (z * rows[0] - math.sqrt(k) * rows[1]) / math.sqrt(k + 1))
    return z, np.array(rows[-2::-1])
