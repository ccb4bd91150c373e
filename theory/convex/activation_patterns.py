r"""How many activation patterns a ReLU has on n inputs, and how many sampled ones suffice.

Formula. The $P$ activation patterns $D_i = \operatorname{diag} \mathbf{1}[X u \ge 0]$ of $n$ inputs in the rows of $X$, of rank
$r$, and the number $P_s$ of sampled ones after which a further one lowers the optimum of the convex program with probability at
most $\xi$ (with probability at least $1 - \psi$ over the samples):

$$
\begin{align*}
P &= 2 \sum_{k < r} \binom{n - 1}{k} \le 2 r \left(\frac{e (n - 1)}{r}\right)^r \\
P_s &= \min\left\{\frac{n + 1}{\psi \xi} - 1,\; \frac{2}{\xi} (n + 1 - \log \psi)\right\}
\end{align*}
$$

Regime. The count takes rows in general position; the bound $1 \le r \le n$, $n \ge 2$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $n$, $r$ | `num_samples`, `rank` | `()`, int | examples; rank of $X$ (generic $X$: $\min(n, d)$) |
| $P$ | `pattern_count` | `()` | activation patterns |
| $P_s$, $\psi$, $\xi$ | `scenario_bound` | `()` | sampled patterns; failure and violation probability |

Factors. None.

Source. Y. Bai, T. Gautam, S. Sojoudi, arXiv 2201.01965, and M. Pilanci, T. Ergen, arXiv 2002.10553. Read: abstracts and a
report that restates the program, which gives the bound on $P$. Recalled, not re-read: the scenario bound ($\psi$ and $\xi$ may
be swapped in the paper). Derived here: the count.

Finite size. None in the formulas. 200,000 random directions found 90 of the 92 patterns of $n = 10$, $d = 3$.

Example. Ten points in three dimensions have 92 activation patterns.

>>> from closedform.theory.convex.activation_patterns import pattern_count
>>> int(pattern_count(10, 3))
92
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import ArrayLike, at_least, between, require, takes

Number = Real[ArrayLike, ""]


@takes(num_samples=at_least(1), rank=at_least(1))
def pattern_count(num_samples: Number, rank: int) -> Float[Array, ""]:
    """P = 2 sum_{k<r} C(n-1, k), the activation patterns of n inputs in general position in `rank` dimensions.

    Cover's count of the sign patterns of a linear function; 2^n for rank >= n. Exact for counts below 1/eps of the dtype;
    infinite where the count overflows. Between whole n, values and derivatives are those of the polynomial in n.

    >>> [int(pattern_count(n, rank)) for n, rank in ((6, 2), (8, 2), (8, 3), (10, 3), (9, 4), (5, 9))]
    [12, 16, 58, 92, 186, 32]
    """
    return _pattern_count(num_samples, rank)


@partial(jax.jit, static_argnames="rank")
def _pattern_count(n: Float[Array, ""], rank: int) -> Float[Array, ""]:
    def add(k: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        binomial, total = sums
        size = k.astype(n.dtype)
        # C(n-1, k) from C(n-1, k-1). Two roundings are off by less than 1/2 below 1/(2 eps), where whole numbers are exact.
        term = binomial * ((n - size) / size)
        whole = (n == jnp.round(n)) & jnp.isfinite(term)
        term = term + jax.lax.stop_gradient(jnp.where(whole, jnp.round(term) - term, 0))
        term = jnp.where(jnp.isinf(binomial), binomial, term)  # not inf 0 at k = n
        return term, total + term

    one = jnp.ones_like(n)
    return 2 * jax.lax.fori_loop(1, rank, add, (one, one))[1]


@takes(num_samples=at_least(2), rank=at_least(1))
def pattern_bound(num_samples: Number, rank: int) -> Float[Array, ""]:
    """The bound 2 r (e(n-1)/r)^r on the number of patterns, for 1 <= r <= n and n >= 2.

    >>> round(float(pattern_bound(10, 3)), 1)
    3253.9
    """
    require(at_least(rank), num_samples=num_samples)
    return 2 * rank * (math.e * (num_samples - 1) / rank) ** rank


@takes(num_samples=at_least(1), psi=between(0, 1, low_open=True), xi=between(0, 1, low_open=True))
def scenario_bound(num_samples: Number, psi: Number, xi: Number) -> Float[Array, ""]:
    """Sampled patterns P_s that suffice: min{(n+1)/(psi xi) - 1, (2/xi)(n + 1 - log psi)}. Recalled, not re-read.

    With probability >= 1 - psi one more random pattern then lowers the optimum with probability <= xi: the scenario
    bound for n + 1 dual variables.

    >>> round(float(scenario_bound(10, 0.1, 0.1)), 3)
    266.052
    """
    n, failure, violation = num_samples, psi, xi
    # below psi = 0.2 the second bound is the smaller: (n+1)/0.2 - 1 >= 2 (n+1) + 2 log 5 for all n >= 1, and 1/psi grows faster
    first = jnp.where(failure > 0.2, (n + 1) / jnp.maximum(failure, 0.2) - violation, jnp.inf)
    return jnp.minimum(first, 2 * (n + 1 - jnp.log(failure))) / violation
