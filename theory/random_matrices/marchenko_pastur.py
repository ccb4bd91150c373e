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
Recalled, not re-read; every formula is checked against quadrature and simulation in the tests.

Finite size. Linear statistics are off by $O(1/n)$, the extreme eigenvalues scatter about the edges by $O(n^{-2/3})$.

Example. The mass and the first three moments at $c = 1/4$: 1, 1, $1 + c$ and $1 + 3 c + c^2$.

>>> import jax.numpy as jnp
>>> from closedform.theory.random_matrices import marchenko_pastur
>>> low, high = marchenko_pastur.support(0.25)
>>> float(low), float(high)
(0.25, 2.25)
>>> x = jnp.linspace(low, high, 2001)
>>> f = marchenko_pastur.density(x, 0.25)
>>> [round(float(jnp.trapezoid(x**power * f, x)), 2) for power in range(4)]
[1.0, 1.0, 1.25, 1.81]
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Num, Real

from ..numerics.arguments import ArrayLike, Range, above, takes

Numbers = Real[ArrayLike, "*#shape"]
POSITIVE = above(0, finite=True)


@takes(ratio=POSITIVE, variance=POSITIVE)
def support(ratio: Numbers, variance: Numbers = 1.0) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """The edges a <= b of the continuous part.

    >>> [round(float(edge), 4) for edge in support(0.25)]
    [0.25, 2.25]
    """
    c, s2 = jnp.broadcast_arrays(ratio, variance)
    r = jnp.sqrt(c)
    return s2 * ((1 - c) / (1 + r)) ** 2, s2 * (1 + r) ** 2


@takes(ratio=POSITIVE)
def atom(ratio: Numbers) -> Float[Array, "*shape"]:
    """The mass at 0: max(0, 1 - 1/c).

    >>> float(atom(4.0)), float(atom(0.5))
    (0.75, 0.0)
    """
    return jnp.where(ratio > 1, (ratio - 1) / ratio, 0)


@takes(x=Range(), ratio=POSITIVE, variance=POSITIVE)
def density(x: Numbers, ratio: Numbers, variance: Numbers = 1.0) -> Float[Array, "*shape"]:
    """f(x) without the atom: its integral is min(1, 1/c). At c = 1 it diverges as x -> 0; outside of (a, b) it is 0.

    >>> round(float(density(1.0, 1.0)), 6)  # sqrt 3/(2 pi)
    0.275664
    """
    y, c, s2 = jnp.broadcast_arrays(x, ratio, variance)
    inside, above_a, below_b, _ = _place(y, c, s2)
    root = jnp.sqrt(above_a * below_b)  # sin phi
    return jnp.where(inside, root / (jnp.pi * jnp.sqrt(c) * jnp.where(inside, y, 1)), jnp.where(jnp.isnan(y), y, 0))


@takes(x=Range(), ratio=POSITIVE, variance=POSITIVE)
def cdf(x: Numbers, ratio: Numbers, variance: Numbers = 1.0) -> Float[Array, "*shape"]:
    """F(x), the fraction of eigenvalues up to x, atom included.

    >>> float(cdf(0.0, 4.0)), float(cdf(10.0, 4.0)), round(float(cdf(2.0, 1.0)), 6)  # 1/2 + 1/pi
    (0.75, 1.0, 0.81831)
    """
    y, c, s2 = jnp.broadcast_arrays(x, ratio, variance)
    inside, above_a, below_b, upper = _place(y, c, s2)
    r = jnp.sqrt(jnp.where(c > 1, 1 / c, c))
    # x = s2 (1 + c + 2 sqrt c cos phi): the integral of 2 sin^2/(pi (1 + r^2 + 2 r cos)) over the angles above phi is
    # (pi - phi + alpha + (r sin phi - alpha)/r^2)/pi, with alpha the argument of 1 + r exp(i phi)
    sine, cosine = jnp.sqrt(above_a * below_b), above_a - 1
    alpha = jnp.arctan2(r * sine, 1 + r * cosine)
    below = (jnp.arctan2(sine, -cosine) + alpha + _remainder(r, sine, cosine, alpha)) / jnp.pi
    weight = jnp.where(c > 1, 1 / c, 1)
    continuous = weight * jnp.where(inside, below, jnp.where(upper, 1, 0))
    return jnp.where(jnp.isnan(y), y, continuous + jnp.where(y >= 0, atom(c), 0))


def _place(x: Array, c: Array, s2: Array) -> tuple[Array, Array, Array, Array]:
    """Whether x is inside; 1 + cos phi and 1 - cos phi (1, 1 if not) in units of which x - a and b - x are 2 s2 sqrt c; x >= b.

    The nonzero part of the law of (c, s2) is that of (1/c, c s2). Few coordinates or few samples make the support narrow: then
    both ends are measured from its middle; otherwise a is measured from 0.
    """
    small, middle = jnp.where(c > 1, 1 / c, c), jnp.where(c > 1, s2 * c, s2)
    r = jnp.sqrt(small)
    y = jnp.where(jnp.isfinite(x), x, -1)
    ratio = y / middle
    shift = (y - middle) / middle
    from_a = jnp.where(small < 0.25, shift + r * (2 - r), ratio - ((1 - small) / (1 + r)) ** 2) / (2 * r)
    to_b = (r * (2 + r) - shift) / (2 * r)
    inside = (from_a > 0) & (to_b > 0)
    # not by to_b <= 0: a compiler may compute to_b twice, with another rounding, and at b neither would hold
    above = ~inside & ((y > middle) | (x == jnp.inf))
    return inside, jnp.where(inside, from_a, 1), jnp.where(inside, to_b, 1), above


def _remainder(r: Array, sine: Array, cosine: Array, alpha: Array) -> Array:
    """(r sin phi - alpha)/r^2, at small r by its series, sum (-r)^n sin((n + 2) phi)/(n + 2).

    The series is the imaginary part of exp(2 i phi) (w - log(1 + w))/w^2 at w = r exp(i phi). At r = 0.1 sixteen terms leave
    1e-17.
    """
    small = r < 0.1
    turn = jax.lax.complex(cosine, sine)
    w = jax.lax.complex(*(jnp.where(small, r, 0) * part for part in (cosine, sine)))
    series = functools.reduce(lambda rest, n: 1 / (n + 2) - w * rest, range(15, -1, -1), jnp.zeros_like(w))
    some = jnp.where(small, 1, r)
    return jnp.where(small, jnp.imag(turn**2 * series), (some * sine - alpha) / some**2)


@takes(ratio=POSITIVE, variance=POSITIVE)
def stieltjes(z: Num[ArrayLike, "*#shape"], ratio: Numbers, variance: Numbers = 1.0) -> Inexact[Array, "*shape"]:
    """m(z) = E 1/(x - z): at complex z off the real axis, or real z outside of the support and the atom (NaN inside).

    At the edges of the support it is the limit from outside; at z = 0 for c > 1, where the atom is, NaN. At z = -delta it is
    the normalised trace of (X X^T/n + delta)^-1.

    >>> round(float(stieltjes(-1.0, 1.0)), 6)  # (sqrt 5 - 1)/2
    0.618034
    """
    return _transform(z, ratio, variance, 1)


@takes(ratio=POSITIVE, variance=POSITIVE)
def companion_stieltjes(z: Num[ArrayLike, "*#shape"], ratio: Numbers, variance: Numbers = 1.0) -> Inexact[Array, "*shape"]:
    """mm(z) = E 1/(x - z) over the eigenvalues of X^T X/n, n in number; at z = 0 for c < 1, where its atom is, NaN.

    >>> m, companion = stieltjes(-0.5, 2.0), companion_stieltjes(-0.5, 2.0)
    >>> bool(abs(companion - (2 * m - (1 - 2) / -0.5)) < 1e-5)
    True
    """
    return _transform(z, ratio, variance, -1)


def _transform(z: Array, ratio: Array, variance: Array, side: int) -> Inexact[Array, "*shape"]:
    """side 1: m, of the matrix p x p; side -1: its companion."""
    z, c, s2 = jnp.broadcast_arrays(z, ratio, variance)
    is_complex, r = jnp.iscomplexobj(z), jnp.sqrt(c)
    # z - a, z - b and B = side (1 - c) - z from z - 1 or z - c, the middle of a narrow support
    few, wide = c <= 1, (c > 0.25) & (c < 4)
    middle, rest, a = jnp.where(few, 1, c), jnp.where(few, c, 1), ((1 - c) / (1 + r)) ** 2
    point = z / s2.astype(z.dtype)
    shift = point - middle.astype(z.dtype)
    from_a = jnp.where(wide, point - a.astype(z.dtype), shift + (2 * r - rest).astype(z.dtype))
    from_b = shift - (2 * r + rest).astype(z.dtype)
    c, one = c.astype(z.dtype), jnp.ones_like(z)
    first, second = (one, c) if side == 1 else (c, one)
    B = jnp.where(wide, (first - second) - point, (first - point) - second)
    if is_complex:
        # the product of principal roots is z at infinity and has its cut on [a, b] alone
        root = jnp.sqrt(from_a) * jnp.sqrt(from_b)
    else:
        lower, outside = from_a <= 0, ((from_a <= 0) | (from_b >= 0)) & ((point != 0) | (side * (c - 1) < 0))
        inner = (from_a != 0) & (from_b != 0)
        parts = [jnp.sqrt(jnp.abs(jnp.where(inner, part, 1))) for part in (from_a, from_b)]
        root = jnp.where(outside, jnp.where(inner, jnp.where(lower, -1, 1) * parts[0] * parts[1], 0), jnp.nan)
    # w z m^2 - B m + 1 = 0, of discriminant root^2 = B^2 - 4 w z: the one of its two forms that adds, not subtracts
    w = c if side == 1 else one
    adds = jnp.real(B) * jnp.real(root) + jnp.imag(B) * jnp.imag(root) > 0
    sums, differences = jnp.where(adds, (B + root) / 2, 1), jnp.where(adds, 1, (B - root) / 2)
    return jnp.where(adds, sums / jnp.where(adds, w * point, 1), 1 / differences) / s2.astype(z.dtype)
