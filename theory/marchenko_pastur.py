r"""The Marchenko-Pastur law: eigenvalues of the sample covariance of many samples of many independent coordinates.

Formula. $X$ has $p \times n$ iid entries of mean 0 and variance $\sigma^2$, $c = p/n$. The eigenvalues of $X X^\top/n$ have,
for large $p$ and $n$, the density

$$
f(x) = \frac{\sqrt{(b - x)(x - a)}}{2 \pi c \sigma^2 x} \quad\text{on}\quad [a, b] = \sigma^2 (1 \mp \sqrt{c}\,)^2
$$

and an atom $\max(0, 1 - 1/c)$ at 0. Its Stieltjes transform $m$, and $\tilde m$, that of $X^\top X/n$, are

$$
m(z) = \mathbb{E} \frac{1}{x - z}, \qquad c \sigma^2 z m^2 - (\sigma^2 (1 - c) - z) m + 1 = 0
$$

$$
\tilde m(z) = c\, m(z) - \frac{1 - c}{z}, \qquad z = -\frac{1}{\tilde m} + \frac{c \sigma^2}{1 + \sigma^2 \tilde m}
$$

The first moments are

$$
\mathbb{E} x = \sigma^2, \qquad \mathbb{E} x^2 = (1 + c) \sigma^4, \qquad \mathbb{E} x^3 = (1 + 3 c + c^2) \sigma^6
$$

Regime. $p$ and $n \to \infty$ at a fixed ratio $c > 0$; entries with a finite variance.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $c$ | `ratio` | any | coordinates over samples, $p/n$, $> 0$ |
| $\sigma^2$, `s2` | `variance` | any | of the entries |
| $a$, $b$ | `support` | any | edges of the continuous part |
| $f$, $F$ | `density`, `cdf` | any | $F$ counts the atom, $f$ does not |
| $m$ | `stieltjes` | any | transform of the law of $X X^\top/n$ ($p \times p$) |
| $\tilde m$, `mm` | `companion_stieltjes` | any | transform of the law of $X^\top X/n$ ($n \times n$) |

Factors. The matrix is $X X^\top/n$, divided by the number of samples. $m(z) = \mathbb{E}\, 1/(x - z)$, positive for $z < 0$.

Source. V. Marchenko, L. Pastur, Math. USSR Sbornik 1 (1967) 457, doi 10.1070/SM1967v001n04ABEH001994; textbook: Z. Bai, J.
Silverstein, "Spectral analysis of large dimensional random matrices" (2010), doi 10.1007/978-1-4419-0661-8, chapter 3.
Recalled, not re-read [Q]; every formula is checked against quadrature and simulation in the tests.

Finite size. Linear statistics are off by $O(1/n)$, the extreme eigenvalues scatter about the edges by $O(n^{-2/3})$.

Example. The mass and the first three moments at $c = 1/4$: 1, 1, $1 + c$ and $1 + 3 c + c^2$.

>>> import jax.numpy as jnp
>>> from closedform.theory import marchenko_pastur
>>> low, high = marchenko_pastur.support(0.25)
>>> float(low), float(high)
(0.25, 2.25)
>>> x = jnp.linspace(low, high, 2001)
>>> f = marchenko_pastur.density(x, 0.25)
>>> [round(float(jnp.trapezoid(x**power * f, x)), 2) for power in range(4)]
[1.0, 1.0, 1.25, 1.81]
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Inexact, Num, Real

from .numerics.arguments import above, as_floats, takes

Numbers = Real[ArrayLike, "*#shape"]


@takes(ratio=above(0, finite=True), variance=above(0, finite=True))
def support(ratio: Numbers, variance: Numbers = 1.0) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """The edges a <= b of the continuous part.

    >>> [round(float(edge), 4) for edge in support(0.25)]
    [0.25, 2.25]
    """
    c, s2 = jnp.broadcast_arrays(*as_floats(ratio, variance))
    return s2 * (1 - jnp.sqrt(c)) ** 2, s2 * (1 + jnp.sqrt(c)) ** 2


@takes(ratio=above(0, finite=True))
def atom(ratio: Numbers) -> Float[Array, "*shape"]:
    """The mass at 0: max(0, 1 - 1/c).

    >>> float(atom(4.0)), float(atom(0.5))
    (0.75, 0.0)
    """
    (c,) = as_floats(ratio)
    return jnp.maximum(0, 1 - 1 / c)


@takes(ratio=above(0, finite=True), variance=above(0, finite=True))
def density(x: Numbers, ratio: Numbers, variance: Numbers = 1.0) -> Float[Array, "*shape"]:
    """f(x) without the atom: its integral is min(1, 1/c). At c = 1 it diverges as x -> 0.

    >>> round(float(density(1.0, 1.0)), 6)  # sqrt 3/(2 pi)
    0.275664
    """
    x_, c, s2 = jnp.broadcast_arrays(*as_floats(x, ratio, variance))
    a, b = support(c, s2)
    inside = (x_ > a) & (x_ < b)
    safe = jnp.where(inside, x_, (a + b) / 2)
    return jnp.where(inside, jnp.sqrt((b - safe) * (safe - a)) / (2 * jnp.pi * c * s2 * safe), 0)


@takes(ratio=above(0, finite=True), variance=above(0, finite=True))
def cdf(x: Numbers, ratio: Numbers, variance: Numbers = 1.0) -> Float[Array, "*shape"]:
    """F(x), the share of eigenvalues up to x, with the atom.

    >>> float(cdf(0.0, 4.0)), float(cdf(10.0, 4.0)), round(float(cdf(2.0, 1.0)), 6)  # 1/2 + 1/pi
    (0.75, 1.0, 0.81831)
    """
    x_, c, s2 = jnp.broadcast_arrays(*as_floats(x, ratio, variance))
    a, b = support(c, s2)
    inside = (x_ > a) & (x_ < b)
    y = jnp.where(inside, x_, (a + b) / 2)
    root = jnp.sqrt((b - y) * (y - a))
    # x = s2 (1 + c + 2 sqrt c cos phi): the integral of 2 sin^2/(pi (1 + c + 2 sqrt c cos)) over the angles above phi
    phi = jnp.arctan2(root, y - s2 * (1 + c))
    inner = jnp.arctan2((1 + jnp.sqrt(c)) * jnp.sqrt(y - a), jnp.abs(1 - jnp.sqrt(c)) * jnp.sqrt(b - y))
    below = (root / s2 + (1 + c) * (jnp.pi - phi) - 2 * jnp.abs(1 - c) * inner) / (2 * jnp.pi * c)
    continuous = jnp.where(inside, below, jnp.where(x_ >= b, jnp.minimum(1, 1 / c), 0))
    return continuous + jnp.where(x_ >= 0, atom(c), 0)


@takes(ratio=above(0, finite=True), variance=above(0, finite=True))
def stieltjes(z: Num[ArrayLike, "*#shape"], ratio: Numbers, variance: Numbers = 1.0) -> Inexact[Array, "*shape"]:
    """m(z) = E 1/(x - z): at complex z off the real axis, or real z outside of the support and the atom (NaN inside).

    At z = -delta it is the normalised trace of (X X^T/n + delta)^-1.

    >>> round(float(stieltjes(-1.0, 1.0)), 6)  # (sqrt 5 - 1)/2
    0.618034
    """
    return _transform(z, ratio, variance, 1)


@takes(ratio=above(0, finite=True), variance=above(0, finite=True))
def companion_stieltjes(z: Num[ArrayLike, "*#shape"], ratio: Numbers, variance: Numbers = 1.0) -> Inexact[Array, "*shape"]:
    """mm(z) = E 1/(x - z) over the eigenvalues of X^T X/n, n in number.

    >>> m, companion = stieltjes(-0.5, 2.0), companion_stieltjes(-0.5, 2.0)
    >>> bool(abs(companion - (2 * m - (1 - 2) / -0.5)) < 1e-5)
    True
    """
    return _transform(z, ratio, variance, -1)


def _transform(z: Num[ArrayLike, "*#shape"], ratio: Numbers, variance: Numbers, side: int) -> Inexact[Array, "*shape"]:
    """side 1: m, of the matrix p x p; side -1: its companion."""
    c, s2 = as_floats(ratio, variance)
    point = jnp.asarray(z)
    if jnp.iscomplexobj(point):
        c, s2 = c.astype(point.real.dtype), s2.astype(point.real.dtype)
    else:
        point, c, s2 = as_floats(z, ratio, variance)
    c, s2 = jnp.broadcast_arrays(c, s2)
    a, b = support(c, s2)
    if jnp.iscomplexobj(point):
        # the product of principal roots is z at infinity and has its cut on [a, b] alone
        point, a, b, c, s2 = (values.astype(point.dtype) for values in jnp.broadcast_arrays(point, a, b, c, s2))
        root = jnp.sqrt(point - a) * jnp.sqrt(point - b)
    else:
        point, a, b, c, s2 = jnp.broadcast_arrays(point, a, b, c, s2)
        outside = (point < a) | (point > b)
        square = jnp.where(outside, (point - a) * (point - b), 1)
        root = jnp.where(outside, jnp.where(point < a, -1, 1) * jnp.sqrt(square), jnp.nan)
    # w z m^2 - B m + 1 = 0, of discriminant root^2 = B^2 - 4 w z: the one of its two forms that adds, not subtracts
    B = side * s2 * (1 - c) - point
    w = s2 * (c if side == 1 else jnp.ones_like(c))
    adds = jnp.real(B * jnp.conj(root)) > 0
    sums, differences = jnp.where(adds, (B + root) / 2, 1), jnp.where(adds, 1, (B - root) / 2)
    return jnp.where(adds, sums / jnp.where(adds, w * point, 1), 1 / differences)
