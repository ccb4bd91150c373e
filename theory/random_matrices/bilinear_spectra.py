r"""Spectra of a bilinear layer: interaction matrices at initialisation, the kernel (x.x')^2, and overlaps by chance.

Formula. $Q = \sum_k p_k (w_k v_k^\top + v_k w_k^\top)/2$, $w_k$ and $v_k \sim N(0, I/d)$, $h$ units, $c = h/d$. For large $d$
the eigenvalues of $Q$ have a law, symmetric about 0, of free cumulants $\kappa_n = 2 c\, \mathbb{E} (p/2)^n$ at even $n$, and 0
at odd ones. With $z = \mathbb{E}\, 1/(x - \lambda)$:

$$
x = \frac{1}{z} + R(z), \qquad R(z) = c\, \mathbb{E} \frac{p^2 z/2}{1 - p^2 z^2/4}
$$

The edge is the minimum of $1/z + R(z)$ over $0 < z < 2/\max|p|$, and the moments are

$$
m_2 = c\, \mathbb{E} p^2/2, \qquad m_4 = c\, \mathbb{E} p^4/8 + 2 m_2^2
$$

For $p = \pm 1$, with $y = 1/z$ and $\operatorname{Im} y > 0$ in the bulk,

$$
R(z) = \frac{2 c z}{4 - z^2}, \qquad y^3 - x y^2 + \frac{(2 c - 1)\, y}{4} + \frac{x}{4} = 0
$$

The density is $|\operatorname{Im} z|/\pi$, with an atom $(1 - 2 c)_+$ at 0. The mass above $x > 0$ is

$$
\frac{1}{\pi} \left[ x \operatorname{Im} z - \operatorname{arg} z + c \operatorname{arg}(4 - z^2) \right]
$$

and the two ends of the bulk are

$$
\text{edge}^2, \text{gap}^2 = \frac{1}{8} \left[ 2 + 10 c - c^2 \pm \sqrt{c (4 + c)^3} \right], \qquad
\text{the gap 0 unless } c < \tfrac{1}{2}
$$

The kernel $k(x, x') = (x \cdot x')^2$ on the sphere of radius $\sqrt{d}$ has two eigenvalues; with $t = \operatorname{tr} Q$,
$Q_0 = Q - (t/d) I$, $Q = Q^\top$,

| | constant | traceless forms |
|---|---|---|
| eigenvalue | $d$ | $2 d/(d + 2)$ |
| multiplicity | $1$ | $(d - 1)(d + 2)/2$ |
| power of $x^\top Q x$ in the modes | $t^2$ | $\frac{2 d}{d + 2} \Vert Q_0\Vert_F^2$ |

so that `kernel_regression.learning_curve` gives the error of its ridge regression. For independent uniform unit vectors $u$,
$v$

$$
\mathbb{E} |u \cdot v| = \frac{\Gamma(d/2)}{\sqrt{\pi}\; \Gamma((d + 1)/2)}
$$

Regime. Bulk: $d \to \infty$ at fixed $c$ and a fixed law of $p$. Kernel and overlap: exact for every $d$; the learning curve is
not.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $c$ | `ratio` | any | hidden units over input dimension, $h/d$, $> 0$ |
| $p$ | `readout` | unit | $p_k$, of either sign; its empirical law is taken |
| $G(x)$, $1/y$ | `z` | any | $\mathbb{E}\, 1/(x - \lambda)$, at $x + i0$: $\operatorname{Im} z < 0$ in the bulk |
| edge | `bulk_edge` | any | greatest point of the bulk |
| gap | `bulk_gap` | any | least positive point of the bulk |
| $d$ | `dim` | () | input dimension |
| $Q$ | `interaction` | dim dim | target $x^\top Q x$; its symmetric part counts |
| $t^2$, $\Vert Q_0\Vert_F^2$ | `quadratic_power` | mode | mean squares in the two groups of modes |

Factors. Variance $1/d$ for each entry of $w$ and $v$, so that a unit alone has the eigenvalues $\pm p/2$.
$\|Q\|_F^2 = d\, m_2$.

Source. Bilinear layers: L. Sharkey, arXiv 2305.03452; M. Pearce, T. Dooms, A. Rigg, J. Oramas, L. Sharkey, "Bilinear MLPs
enable weight-based mechanistic interpretability", ICLR 2025, arXiv 2410.08417. None of these formulas is theirs as far as we
know (neither was read in full): all are derived here, by free cumulants, but the overlap, a textbook integral.

Finite size. At $d = 800$ and $c = 1/4, 1, 2$ the greatest eigenvalue is within 3 % of the edge, $m_2$ within 1 %, and the
distribution function within 0.005. For Gaussian $p$ a few units stand far out: the edge is then that of the bulk about the
greatest one, of width $O(d^{-1/2})$, and eigenvalues end 1 to 8 % below it at $d = 800$. The learning curve is within 10 % of
simulations at $d = 10$ (200 draws, $n = 20$ to 80) on the sphere; for Gaussian inputs, whose norms fluctuate, it fails.

Example. With a quarter as many units as inputs the rank is $d/2$: half of the eigenvalues are 0, none is between 0 and the gap,
and a quarter each is above and below.

>>> from closedform.theory.random_matrices import bilinear_spectra
>>> gap, edge = bilinear_spectra.bulk_gap(0.25), bilinear_spectra.bulk_edge(0.25)
>>> round(float(gap), 4), round(float(edge), 4)
(0.0842, 1.0499)
>>> [round(float(bilinear_spectra.bulk_cdf(x, 0.25)), 4) for x in (-edge, -gap, 0, gap, edge)]
[0.0, 0.25, 0.75, 0.75, 1.0]
"""

import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float, Real

from ..kernels.spectrum import Spectrum
from ..numerics.arguments import FINITE, ArrayLike, Range, above, at_least, known, takes
from ..numerics.roots import descend_to_root

Number = Real[ArrayLike, ""]
Numbers = Real[ArrayLike, "*#shape"]
POSITIVE = above(0, finite=True)


# ------------------------------------------------------------------------------------------------- readouts p of +-1


@takes(x=Range(), ratio=POSITIVE)
def bulk_density(x: Numbers, ratio: Numbers) -> Float[Array, "*shape"]:
    """Density of the eigenvalues without the atom: its integral is min(1, 2 c). At c = 1/2 it is infinite at 0.

    Within roundings of an end of the bulk, where the slope is infinite, it is as exact as the distance from the end.

    >>> round(float(bulk_density(0.0, 1.0)), 6), float(bulk_density(1.7, 1.0))  # 2/(pi sqrt(2 c - 1)), beyond the edge
    (0.63662, 0.0)
    """
    size, c = jnp.broadcast_arrays(x, ratio)
    size = jnp.where(size < 0, -size, size)
    _, z_imag, inside = _transform(size, c)
    return jnp.where((size == 0) & (c == 0.5), jnp.inf, jnp.where(inside, -z_imag / jnp.pi, 0))


@takes(x=Range(), ratio=POSITIVE)
def bulk_cdf(x: Numbers, ratio: Numbers) -> Float[Array, "*shape"]:
    """The fraction of eigenvalues up to x, atom included.

    >>> [round(float(bulk_cdf(x, 0.25)), 6) for x in (-2.0, -0.05, 0.0, 2.0)]  # half of the mass is the atom
    [0.0, 0.25, 0.75, 1.0]
    """
    x, c = jnp.broadcast_arrays(x, ratio)
    size = jnp.where(x < 0, -x, x)
    z_real, z_imag, inside = _transform(size, c)
    # By parts, int z dx = x z - int x(z) dz = x z - log z + c log(4 - z^2): minus its imaginary part over pi, up to the edge.
    turned = jnp.arctan2(-2 * z_real * z_imag, 4 - z_real**2 + z_imag**2)
    above = (jnp.where(inside, size, 0) * z_imag - jnp.arctan2(z_imag, z_real) + c * turned) / jnp.pi
    above = jnp.where(inside, above, jnp.where(size < bulk_edge(c), jnp.minimum(c, 0.5), 0))
    return jnp.where(x < 0, above, 1 - above)


@takes(bins=Range(), ratio=POSITIVE)
def bulk_masses(bins: Real[ArrayLike, "edge"], ratio: Number) -> Float[Array, "bin"]:
    """The fraction of eigenvalues in each bin of a histogram with rising edges; the atom is in the bin that contains 0.

    An edge at 0 puts the atom below it, while computed eigenvalues scatter to both sides: choose another.

    >>> [round(float(mass), 4) for mass in bulk_masses([0.2, 0.6, 2], 1)]
    [0.174, 0.2061]
    """
    edges = jnp.asarray(bins)
    if known(edges) and np.any(np.diff(np.asarray(edges)) < 0):
        raise ValueError("bins must be rising edges")
    return jnp.diff(bulk_cdf(edges, ratio))


@takes(ratio=POSITIVE)
def bulk_edge(ratio: Numbers) -> Float[Array, "*shape"]:
    """The greatest point of the bulk, to rounding.

    >>> [round(float(bulk_edge(ratio)), 4) for ratio in (0.25, 1.0, 2.0)]
    [1.0499, 1.6651, 2.2018]
    """
    return jnp.sqrt(_squared_edges(jnp.asarray(ratio))[1])


@takes(ratio=POSITIVE)
def bulk_gap(ratio: Numbers) -> Float[Array, "*shape"]:
    """The least positive point of the bulk: between it and 0 there are no eigenvalues. 0 for c >= 1/2.

    >>> round(float(bulk_gap(0.25)), 4), float(bulk_gap(1.0))
    (0.0842, 0.0)
    """
    square = _squared_edges(jnp.asarray(ratio))[0]
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


@takes(ratio=POSITIVE)
def bulk_atom(ratio: Numbers) -> Float[Array, "*shape"]:
    """The mass at 0: max(0, 1 - 2 c), for the rank is 2 h at most.

    >>> float(bulk_atom(0.25)), float(bulk_atom(1.0))
    (0.5, 0.0)
    """
    return jnp.maximum(0, 1 - 2 * jnp.asarray(ratio))


@takes(ratio=POSITIVE)
def bulk_moments(ratio: Numbers) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """The second and fourth moments of the eigenvalues, c/2 and c/8 + c^2/2.

    >>> [float(moment) for moment in bulk_moments(1.0)]
    [0.5, 0.625]
    """
    c = jnp.asarray(ratio)
    return c / 2, c / 8 + c**2 / 2


def _squared_edges(c: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """The roots in x^2 of the cubic's discriminant, gap^2 (negative for c > 1/2) and edge^2; their product is (1 - 2c)^3/16."""
    many = c > 10  # 2 + 10 c - c^2 turns negative there: then the form that adds, in i = 1/c, so that no power of c overflows
    few, i = jnp.where(many, 1, c), 1 / jnp.where(many, c, 1)
    high = (2 + 10 * few - few**2 + jnp.sqrt(few * (4 + few) ** 3)) / 8
    scaled = (2 - i) ** 3 / (2 * ((1 + 4 * i) * jnp.sqrt(1 + 4 * i) + 1 - 10 * i - 2 * i**2))  # edge^2/c
    low = jnp.where(many, -((2 - i) ** 3) / (16 * scaled) * c**2, (1 - 2 * few) ** 3 / (16 * high))
    return low, jnp.where(many, scaled * c, high)


def _transform(
    x: Float[Array, "*shape"], c: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"], Bool[Array, "*shape"]]:
    """Real and imaginary part of z at x + i0, x >= 0, and whether x is in the bulk (elsewhere z belongs to another x)."""
    low, high = _squared_edges(c)
    edge = jnp.sqrt(high)
    inside = (edge - x) * (x**2 - low) > 0
    x = jnp.where(inside, x, jnp.sqrt((jnp.maximum(low, 0) + high) / 2))
    # Cardano for y = x/3 + t: t^3 + p t + q = 0, whose discriminant is -(edge^2 - x^2)(x^2 - gap^2) < 0 in the bulk
    p = (2 * c - 1) / 4 - x**2 / 3
    half_q = x * ((c + 1) / 12 - x**2 / 27)
    unit = jnp.where(c > 10, c, 1)  # of x^2, so that no product overflows
    root = jnp.sqrt((edge - x) * (edge + x) / unit * ((x**2 - low) / unit) / 108) * unit
    larger = jnp.where(half_q > 0, jnp.cbrt(-half_q - root), jnp.cbrt(root - half_q))
    smaller = -p / (3 * larger)
    # their difference, by that of their cubes, +-2 root
    squares = larger**2 + larger * smaller + smaller**2
    y_real, y_imag = x / 3 - (larger + smaller) / 2, jnp.sqrt(3.0).astype(x.dtype) * root / squares
    norm = y_real**2 + y_imag**2
    return y_real / norm, -y_imag / norm, inside


# ----------------------------------------------------------------------------------------------------- any readout p


@takes(ratio=POSITIVE, readout=FINITE)
def readout_edge(ratio: Number, readout: Real[ArrayLike, "unit"]) -> Float[Array, ""]:
    """The greatest point of the bulk for any p_k: the minimum of 1/z + R(z), to rounding, whatever the scale of p.

    >>> round(float(readout_edge(1, [1, -1])), 4)
    1.6651
    >>> float(readout_edge(1, [0, 0, 0]))
    0.0
    """
    c, p = jnp.asarray(ratio), jnp.asarray(readout)
    greatest = stop_gradient(jnp.max(jnp.abs(p)))  # a unit of scale: the edge does not depend on it
    scale = jnp.where(greatest > 0, greatest, 1)
    r = jnp.where(greatest > 0, (p / scale) ** 2, 1)
    mean, top = jnp.mean(r), jnp.mean((jnp.abs(p) == greatest).astype(r.dtype))

    # With z = 2 sqrt(s)/scale the minimum is where c E[2 r s (1 + r s)/(1 - r s)^2] = 1: rising and convex in s < 1.
    def excess(s: Array) -> Array:
        return c * jnp.mean(2 * r * s * (1 + r * s) / (1 - r * s) ** 2) - 1

    def newton(s: Array) -> Array:
        return s - excess(s) / (c * jnp.mean(2 * r * (1 + 3 * r * s) / (1 - r * s) ** 3))

    # Upper bounds of the root: the greatest r alone, and all r at their mean (it is convex in r), make the function no greater.
    above = jnp.minimum(_one_value(c * top), _one_value(c) / mean)
    s = descend_to_root(excess, newton, above)
    edge = scale / 2 * (1 / jnp.sqrt(s) + 2 * c * jnp.sqrt(s) * jnp.mean(r / (1 - r * s)))
    return jnp.where(greatest > 0, edge, 0)


@takes(ratio=POSITIVE, readout=FINITE)
def readout_moments(ratio: Number, readout: Real[ArrayLike, "unit"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The second and fourth moments for any p_k: c E p^2/2 and c E p^4/8 + (c E p^2)^2/2.

    >>> [float(moment) for moment in readout_moments(1, [2, 0])]
    [1.0, 3.0]
    """
    c, p = jnp.asarray(ratio), jnp.asarray(readout)
    second = c * jnp.mean(p**2) / 2
    return second, c * jnp.mean(p**4) / 8 + 2 * second**2


def _one_value(c: Float[Array, ""]) -> Float[Array, ""]:
    """The root of 2 c s (1 + s) = (1 - s)^2 in (0, 1)."""
    return 1 / (c + 1 + jnp.sqrt(c) * jnp.sqrt(c + 4))


# ------------------------------------------------------------------------------------- the kernel (x.x')^2, overlaps


@takes(dim=at_least(1, finite=True))
def quadratic_spectrum(dim: Number) -> Spectrum:
    """The spectrum of (x.x')^2 for x uniform on the sphere of radius sqrt(dim): constant, then traceless quadratic forms.

    >>> [leaf.tolist() for leaf in quadratic_spectrum(4)]
    [[4.0, 1.3333333730697632], [1.0, 9.0], 0.0]
    """
    d = jnp.asarray(dim)
    return Spectrum(jnp.stack([d, 2 * d / (d + 2)]), jnp.stack([jnp.ones_like(d), (d - 1) * (d + 2) / 2]), jnp.zeros_like(d))


@takes(interaction=FINITE)
def quadratic_power(interaction: Real[ArrayLike, "dim dim"]) -> Float[Array, "mode"]:
    """Mean square of x'Qx in the two groups of modes of quadratic_spectrum: (tr Q)^2 and 2d/(d+2) |Q0|_F^2.

    >>> quadratic_power([[3, 0], [0, 1]]).tolist()  # x'Qx = 4 + 2 cos(2 angle)
    [16.0, 2.0]
    """
    Q = jnp.asarray(interaction)
    d, trace = len(Q), jnp.trace(Q)
    traceless = (Q + Q.T) / 2 - trace / d * jnp.eye(d, dtype=Q.dtype)
    return jnp.stack([trace**2, 2 * d / (d + 2) * jnp.sum(traceless**2)])


@takes(dim=at_least(1))
def mean_overlap(dim: Number) -> Float[Array, ""]:
    """E|u.v| of independent uniform unit vectors: the overlap of unrelated eigenvectors.

    >>> round(float(mean_overlap(2)), 6), round(float(mean_overlap(784)), 4)  # 2/pi
    (0.63662, 0.0285)
    """
    d = jnp.asarray(dim)
    # Gamma(x)/Gamma(x + 1/2) for x = d/2: 16 steps of the recurrence, and there, with w = x - 1/4, the series of its logarithm
    # -log(w)/2 + sum_k E_2k/(k 4^(2k + 1) w^(2k)), E_2k = -1, 5, -61, 1385, .. Euler's numbers: at w > 16 the rest is 3e-17
    steps, w = d / 2 + jnp.arange(16, dtype=d.dtype), d / 2 + 15.75
    series = sum(euler / (k * 4 ** (2 * k + 1)) * w ** (-2 * k) for k, euler in enumerate((-1, 5, -61, 1385, -50521), 1))
    return jnp.exp(jnp.sum(jnp.log1p(0.5 / steps)) + series) / jnp.sqrt(jnp.pi * w)
