r"""Uniform tokens on a circle under attention: the wave that grows fastest sets the number of clusters.

Formula. $n$ tokens on the unit sphere, $P_x y = y - \langle x, y \rangle x$, temperature $1/\beta$,
$Z_i = \sum_j e^{\beta \langle x_i, x_j \rangle}$, with softmax (SA) or unnormalised (USA):

$$
\begin{align*}
x_i' &= P_{x_i} \sum_j e^{\beta \langle x_i, x_j \rangle} x_j/Z_i \qquad \text{(SA)} \\
x_i' &= P_{x_i} \sum_j e^{\beta \langle x_i, x_j \rangle} x_j/n \qquad \text{(USA)}
\end{align*}
$$

A wave of $k$ periods in tokens uniform on the circle grows at the rate, with the modified Bessel functions $I_k$,

$$
\begin{align*}
\sigma_k &= \frac{k^2 I_k(\beta)}{\beta I_0(\beta)} \qquad \text{(SA)} \\
\sigma_k &= \frac{k^2 I_k(\beta)}{\beta} \qquad \text{(USA)}
\end{align*}
$$

Regime. $n \to \infty$, and waves that are still small.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\beta$ | `beta` | any | inverse temperature, $\ge 0$, or infinite where a limit exists |
| $k$, $\sigma_k$ | mode, growth rate | mode | periods round the circle; of the amplitude |

Factors. $V = I$, $Q = K = I$. `softmax=True` is SA, `softmax=False` USA.

Source. B. Geshkovski, C. Letrouit, Y. Polyanskiy, P. Rigollet, arXiv 2312.10794: the flows, read in a public formalisation of
its statements, not in the paper. The growth rates are derived here, they are not the paper's. Cf. G. Bruno et al., arXiv
2410.23228, for clusters in any dimension (recalled).

Finite size. The number of clusters is the fastest mode; in finite draws the two differ by one or so.

Example. At $\beta = 9$ the fourth wave grows fastest: four clusters.

>>> from closedform.theory.transformers.circle_tokens import circle_growth_rates, num_metastable_clusters
>>> [round(float(rate), 4) for rate in circle_growth_rates(5, 9.0)]
[0.1047, 0.3513, 0.5914, 0.7045, 0.6642]
>>> int(num_metastable_clusters(9.0))
4
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

from ..numerics.arguments import ArrayLike, at_least, known, takes
from ..numerics.exponentials import bounded
from ..numerics.special import i0

Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together

_BEYOND = 32  # modes above those asked for, at which the recurrence starts


def _debye(count: int) -> list[list[float]]:
    """Coefficients in q, highest first, of P_0 ... in x I_k'(x)/I_k(x) = s + P_0(q) + P_1(q)/s + ..., s^2 = k^2 + x^2.

    q = x^2/s^2. The left side y solves x y' + y^2 = s^2, where x s' = q s and x q' = 2 q (1 - q). By powers of s:
    2 P_(j + 1) = j q P_j - 2 q (1 - q) P_j' - sum_i P_i P_(j - i), from 2 P_0 = -q.
    """
    q = np.poly1d([1.0, 0.0])
    found = [-q / 2]
    for j in range(count - 1):
        products = sum((found[i] * found[j - i] for i in range(j + 1)), start=np.poly1d([0.0]))
        found.append((j * q * found[j] - 2 * q * (1 - q) * found[j].deriv() - products) / 2)
    return [one.coeffs.tolist() for one in found]


@takes(num_modes=at_least(1), beta=at_least(0))
def circle_growth_rates(num_modes: int, beta: Numbers, softmax: bool = True) -> Float[Array, "mode *shape"]:
    """sigma_k of k = 1 ... num_modes waves round the circle, near the uniform density. At beta = 0: 1/2, 0, 0, ...

    Relative errors are 1e-14 at any beta, in float32 2e-6, for up to 100 modes. USA overflows with e^beta.

    >>> [round(float(rate), 4) for rate in circle_growth_rates(4, 9.0)]
    [0.1047, 0.3513, 0.5914, 0.7045]
    """
    beta_ = bounded(beta)
    highest = num_modes + _BEYOND

    # I_k/I_(k-1) = beta/(2 k + beta I_(k+1)/I_k), downwards, where an error of its start dies out
    def ratio(after: Array, k: Array) -> tuple[Array, Array]:
        here = 1 / (2 * k + beta_ * (beta_ * after))  # over beta
        return here, here

    # start: I_(k-1)/I_k = I_k'/I_k + k/beta
    s = jnp.hypot(jnp.full_like(beta_, highest + 1), beta_)
    q = 1 - ((highest + 1) / s) ** 2
    series = s
    for j, coefficients in enumerate(_DEBYE):
        series += jnp.polyval(jnp.asarray(coefficients, s.dtype), q) / s**j
    modes = jnp.arange(highest, 0, -1, dtype=beta_.dtype)
    ratios = jax.lax.scan(ratio, 1 / (highest + 1 + series), modes)[1][::-1][:num_modes]
    factors = jnp.concatenate([ratios[:1], beta_[None] * ratios[1:]])
    square = modes[::-1][:num_modes].reshape(-1, *[1] * beta_.ndim) ** 2
    rates = square * jnp.cumprod(factors, axis=0)
    return jnp.where(jnp.isinf(beta), 0, rates) if softmax else rates * i0(beta_)[None]


_DEBYE = _debye(7)


@takes(beta=at_least(0, finite=True), largest=at_least(1))
def num_metastable_clusters(beta: Numbers, largest: int = 64) -> Int[Array, "*shape"]:
    """The fastest mode on the circle, about sqrt(2 beta), among 1 ... largest; the same for SA and USA.

    >>> num_metastable_clusters(jnp.array([4.0, 9.0, 16.0])).tolist()
    [3, 4, 6]
    """
    fastest = 1 + jnp.argmax(circle_growth_rates(largest, beta), axis=0)
    if known(fastest) and np.any(np.asarray(fastest) == largest):
        raise ValueError(f"largest must be above the number of clusters, got {largest} for beta up to {np.max(beta)}")
    return fastest
