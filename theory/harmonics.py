r"""Eigenvalues of dot-product kernels on the sphere, on a product of two spheres and on the hypercube, in closed sums.

Formula. For $x$, $x'$ uniform on the unit sphere of $\mathbb{R}^d$ the modes of $k(x \cdot x')$ are the spherical harmonics of
degree $r$, of $B_r$ modes each, and $P_r$ the Gegenbauer polynomial with $P_r(1) = 1$. With $t$ of density
$\propto (1 - t^2)^{(d - 3)/2}$ on $[-1, 1]$,

$$
\begin{align*}
\Lambda_r &= \mathbb{E}[k(t) P_r(t)], \qquad \sum_r B_r \Lambda_r = k(1) \\
k(t) &= \sum_r \Lambda_r B_r P_r(t), \qquad B_r = \binom{d + r - 1}{r} - \binom{d + r - 3}{r - 2} \\
(r + d - 2) P_{r+1} &= (2 r + d - 2)\, t P_r - r P_{r-1}, \qquad \mathbb{E}[P_r P_s] = \frac{\mathbf{1}[r = s]}{B_r}
\end{align*}
$$

A kernel $F(x \cdot x', u \cdot u')$ on two spheres has $B_r B_s$ modes of each eigenvalue $\Lambda_{rs}$, with $t$ and $\tau$
independent, and a function $f(x) = f(\beta \cdot x)$, $|\beta| = 1$, has a power in each degree:

$$
\begin{align*}
\Lambda_{rs} &= \mathbb{E}[F(t, \tau) P_r(t) P_s(\tau)] \\
\text{power of degree } r &= B_r\, \mathbb{E}[f(t) P_r(t)]^2
\end{align*}
$$

On $\{-1, 1\}^d$, with $t = x \cdot x'/d$, the modes are the parities $\chi_S = \prod_{j \in S} x_j$, $\binom{d}{l}$ of them at
level $l = |S|$:

$$
\begin{align*}
\lambda_l &= 2^{-d} \sum_j \binom{d}{j}\, k\left(1 - \frac{2 j}{d}\right) \frac{K_l(j)}{\binom{d}{l}} \\
K_l(j) &= \sum_i (-1)^i \binom{j}{i} \binom{d - j}{l - i}
\end{align*}
$$

Regime. Exact for every $d \ge 2$ (hypercube: $d \ge 1$). The expectations are Gauss sums of `num_nodes` nodes: exact for
polynomials of degree 2 `num_nodes` - 1 in all, and off by a power of 1/`num_nodes` for a kernel with a kink or a branch point.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $d$ | `dim` | int | dimension of the sphere's space, or of the hypercube |
| $P_r$, $r$ | `gegenbauer`, `degree` | any, int | Gegenbauer polynomial of index $(d - 2)/2$; its degree |
| $t$, $\tau$ | `t`; `sphere_quadrature` | any | inner products of unit vectors |
| $B(d, r)$ | `sphere_multiplicity` | int | harmonics of degree $r$ |
| $k$, $F$ | `kernel_fn` | callable | traceable function of one or two numbers |
| $\Lambda_r$, $\Lambda_{rs}$ | `Spectrum.eigenvalues` | degree (s) | eigenvalue of a degree |
| $\tau$ | `Spectrum.tail` | `()` | trace left to the degrees that were not computed |
| $K_l(j)$ | `walsh_spectrum` | `level` | Krawtchouk polynomial |

Factors. The measures are probabilities: an eigenvalue is that of the integral operator under the uniform law, and the
modes have mean square 1. Inputs have norm 1, and $\sqrt{d}$ on the hypercube, where the argument of $k$ is divided by $d$.

Source. Textbook: K. Atkinson, W. Han, "Spherical harmonics and approximations on the unit sphere" (2012), doi
10.1007/978-3-642-25983-8, for the sphere, R. O'Donnell, "Analysis of Boolean functions" (2014), doi 10.1017/CBO9781139814782,
for the hypercube. Recalled, not re-read [Q]; the tests derive each formula again by brute force. The doubly zonal case is
that of the attention kernel of H. Fu, T. Guo, Y. Bai, S. Mei, arXiv 2307.11353 (body not read): derived here [D].

Finite size. None in the formulas. Rounding: an eigenvalue is off by about $\epsilon\, \mathbb{E}|k|/\sqrt{B_r}$, so that one
that is zero by symmetry reads 1e-17 or so, of either sign, and a degree's share of the trace is good to
$10^{-13} + 10^{-16} \sqrt{B_r}$ of $k(1)$.

Example. ReLU as a function of $t$ on the sphere of $\mathbb{R}^3$: beyond degree 1 only even degrees have a part of it, and
modes and tail make up the trace $k(1) = 1$.

>>> import jax
>>> from closedform.theory import harmonics
>>> spectrum = harmonics.sphere_spectrum(jax.nn.relu, 3, 6)
>>> [round(float(value), 2) + 0.0 for value in spectrum.eigenvalues]  # the sum makes 0.0 of -0.0
[0.25, 0.17, 0.06, 0.0, -0.01, 0.0]
>>> round(float(spectrum.multiplicities @ spectrum.eigenvalues + spectrum.tail), 4)
1.0
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from .gaussian import as_floats


class Spectrum(NamedTuple):
    """Eigenvalues of a kernel by groups of equal ones, and what they leave of the trace."""

    eigenvalues: Float[Array, "*mode"]  # Lambda
    multiplicities: Float[Array, "*mode"]  # B, modes that share an eigenvalue
    tail: Float[ArrayLike, ""]  # trace - sum of multiplicities * eigenvalues


# ---------------------------------------------------------------------------------------------------------- the sphere


def gegenbauer(dim: int, degree: int, t: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """P_degree(t) with P_degree(1) = 1, of index (dim - 2)/2: Chebyshev's at dim = 2, Legendre's at dim = 3.

    >>> [round(float(gegenbauer(dim, 2, 0.5)), 6) for dim in (2, 3, 8)]
    [-0.5, -0.125, 0.142857]
    """
    _at_least(0, degree=degree)
    return gegenbauers(dim, degree + 1, t)[-1]


def gegenbauers(dim: int, num_degrees: int, t: Real[ArrayLike, "*shape"]) -> Float[Array, "degree *shape"]:
    """P_0(t), .., P_{num_degrees - 1}(t), by the recurrence in the degree, which is stable for |t| <= 1."""
    _at_least(2, dim=dim)
    _at_least(1, num_degrees=num_degrees)
    return jnp.stack(_recurrence(dim, num_degrees, as_floats(t)[0]))


def sphere_multiplicity(dim: int, degree: int) -> int:
    """B(d, r), the number of independent spherical harmonics of degree r on the unit sphere of R^d. Exact.

    >>> [sphere_multiplicity(8, degree) for degree in range(4)], sphere_multiplicity(2, 5), sphere_multiplicity(3, 5)
    ([1, 8, 35, 112], 2, 11)
    """
    _at_least(2, dim=dim)
    _at_least(0, degree=degree)
    lower = math.comb(dim + degree - 3, degree - 2) if degree >= 2 else 0
    return math.comb(dim + degree - 1, degree) - lower


def sphere_quadrature(dim: int, num_nodes: int) -> tuple[Float[Array, "node"], Float[Array, "node"]]:
    """Gauss nodes and weights (of sum 1) for t = x.x', x and x' uniform on the unit sphere of R^dim; rising, symmetric.

    >>> t, weights = sphere_quadrature(5, 12)
    >>> round(float(weights @ t**2), 6), round(float(weights @ t**4), 6)  # 1/d and 3/(d(d+2))
    (0.2, 0.085714)
    """
    _at_least(2, dim=dim)
    _at_least(1, num_nodes=num_nodes)
    nodes, weights = _sphere_nodes(dim, num_nodes)
    return jnp.asarray(nodes), jnp.asarray(weights)


def sphere_spectrum(
    kernel_fn: Callable[[Float[Array, ""]], Float[Array, ""]], dim: int, num_degrees: int, num_nodes: int = 80
) -> Spectrum:
    """The eigenvalues of kernel_fn(x.x') on the unit sphere of R^dim, for the degrees 0, .., num_degrees - 1.

    >>> spectrum = sphere_spectrum(lambda t: 1 + t, 8, 3)  # 1 and x: two eigenvalues, 1 and 1/d
    >>> abs(spectrum.eigenvalues).round(4).tolist()
    [1.0, 0.125, 0.0]
    """
    polynomials, weights, nodes = _transform(dim, num_degrees, num_nodes)
    values = jax.vmap(kernel_fn)(jnp.asarray(nodes))
    counts = jnp.asarray(_multiplicities(dim, num_degrees), values.dtype)
    eigenvalues = jnp.asarray(polynomials * weights, values.dtype) @ values
    trace = kernel_fn(jnp.ones((), values.dtype))
    return Spectrum(eigenvalues, counts, trace - jnp.sum(counts * eigenvalues))


def product_spectrum(
    kernel_fn: Callable[[Float[Array, ""], Float[Array, ""]], Float[Array, ""]],
    dim: int,
    num_degrees_1: int,
    num_degrees_2: int,
    num_nodes: int = 80,
) -> Spectrum:
    """The eigenvalues Lambda_rs of F(x.x', u.u') = kernel_fn(t, tau), x and u independent on the unit sphere of R^dim.

    Arrays of shape (num_degrees_1, num_degrees_2); the tail is that of the trace F(1, 1).

    >>> abs(product_spectrum(lambda t, tau: t * (1 + tau), 4, 3, 2).eigenvalues).round(4).tolist()
    [[0.0, 0.0], [0.25, 0.0625], [0.0, 0.0]]
    """
    first, weights, nodes = _transform(dim, num_degrees_1, num_nodes)
    second, _, _ = _transform(dim, num_degrees_2, num_nodes)
    points = jnp.asarray(nodes)
    values = jax.vmap(jax.vmap(kernel_fn, (None, 0)), (0, None))(points, points)
    counts = np.outer(_multiplicities(dim, num_degrees_1), _multiplicities(dim, num_degrees_2))
    left, right = jnp.asarray(first * weights, values.dtype), jnp.asarray(second * weights, values.dtype)
    eigenvalues = left @ values @ right.T
    one, multiplicities = jnp.ones((), values.dtype), jnp.asarray(counts, values.dtype)
    return Spectrum(eigenvalues, multiplicities, kernel_fn(one, one) - jnp.sum(multiplicities * eigenvalues))


def zonal_power(
    function_fn: Callable[[Float[Array, ""]], Float[Array, ""]], dim: int, num_degrees: int, num_nodes: int = 80
) -> Float[Array, "degree"]:
    """The mean square of function_fn(beta.x), |beta| = 1, in each degree; all degrees together E[function_fn(t)^2].

    >>> power = zonal_power(lambda t: t + t**2, 8, 4)  # 1/d^2, 1/d, 2(d-1)/(d^2(d+2)), 0
    >>> [round(float(one), 5) for one in power]
    [0.01562, 0.125, 0.02187, 0.0]
    """
    polynomials, weights, nodes = _transform(dim, num_degrees, num_nodes)
    values = jax.vmap(function_fn)(jnp.asarray(nodes))
    counts = jnp.asarray(_multiplicities(dim, num_degrees), values.dtype)
    return counts * (jnp.asarray(polynomials * weights, values.dtype) @ values) ** 2


# ------------------------------------------------------------------------------------------------------- the hypercube


def walsh_spectrum(kernel_fn: Callable[[Float[Array, ""]], Float[Array, ""]], dim: int) -> Spectrum:
    """The eigenvalues of kernel_fn(x.x'/dim) on {-1, 1}^dim for the levels 0, .., dim. All of them: the tail is 0.

    The weights of the sum are exact integers, rounded once.

    >>> spectrum = walsh_spectrum(lambda t: (t + 1) ** 2, 4)  # 1 + 2 t + t^2, t^2 = 1/d + 2 sum_{i<j} .../d^2
    >>> spectrum.eigenvalues.round(6).tolist(), spectrum.multiplicities.tolist()
    ([1.25, 0.5, 0.125, 0.0, 0.0], [1.0, 4.0, 6.0, 4.0, 1.0])
    """
    _at_least(1, dim=dim)
    points = 1 - 2 * np.arange(dim + 1) / dim
    values = jax.vmap(kernel_fn)(jnp.asarray(points))
    counts = jnp.asarray([float(math.comb(dim, level)) for level in range(dim + 1)], values.dtype)
    return Spectrum(jnp.asarray(_walsh_weights(dim), values.dtype) @ values, counts, jnp.zeros((), values.dtype))


def walsh_transform(values: Real[ArrayLike, "*batch point"]) -> Float[Array, "*batch point"]:
    """The coefficients a_S = 2^-d sum_x f(x) chi_S(x) of the functions whose `values` are tabulated over {-1, 1}^d.

    Point i has x_j = 1 - 2 (bit j of i), as in `hypercube`, and coefficient i belongs to S = {j: bit j of i is 1}. The
    transform of the coefficients is the table divided by 2^d. O(d 2^d) operations.

    >>> x = hypercube(3)
    >>> walsh_transform(x[:, 0] * x[:, 2] - 0.5).tolist()
    [-0.5, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    """
    (table,) = as_floats(values)
    shape, size = table.shape, table.shape[-1]
    if size & (size - 1) or not size:
        raise ValueError(f"values must have a power of 2 as length of the last axis, one value a point; got {size}")
    half = 1
    while half < size:
        pairs = table.reshape(*shape[:-1], -1, 2, half)
        plus, minus = pairs[..., 0, :] + pairs[..., 1, :], pairs[..., 0, :] - pairs[..., 1, :]
        table = jnp.stack([plus, minus], axis=-2).reshape(shape)
        half *= 2
    return table / size


def power_by_degree(coefficients: Real[ArrayLike, "point"]) -> Float[Array, "level"]:
    """The sums of the squared coefficients of `walsh_transform` over the sets S of each size 0, .., d.

    >>> power_by_degree(walsh_transform(hypercube(3).prod(axis=1) + 2)).tolist()
    [4.0, 0.0, 0.0, 1.0]
    """
    (a,) = as_floats(coefficients)
    dim = len(a).bit_length() - 1
    if len(a) != 1 << dim:
        raise ValueError(f"coefficients must be 2^d in number, one a subset; got {len(a)}")
    return jnp.zeros(dim + 1, a.dtype).at[_set_bits(dim).sum(axis=1)].add(a**2)


def hypercube(dim: int, dtype: Any = None) -> Float[Array, "point dim"]:
    """The 2^dim points of {-1, 1}^dim in the order of `walsh_transform`; float32, or float64 under x64, unless said."""
    _at_least(1, dim=dim)
    return jnp.asarray(1 - 2 * _set_bits(dim), jnp.result_type(float) if dtype is None else dtype)


# ----------------------------------------------------------------------------------------------------------- fixed sums


def _at_least(least: int, **arguments: int) -> None:
    for name, value in arguments.items():
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def _recurrence(dim: int, num_degrees: int, t: Any) -> list:
    """P_0, .., P_{num_degrees - 1} at the array t, of numpy or of jax."""
    values = [t**0, t]
    for r in range(1, num_degrees - 1):
        values.append(((2 * r + dim - 2) * t * values[-1] - r * values[-2]) / (r + dim - 2))
    return values[:num_degrees]


def _multiplicities(dim: int, num_degrees: int) -> Float[np.ndarray, "degree"]:
    return np.array([float(sphere_multiplicity(dim, degree)) for degree in range(num_degrees)])


@functools.cache
def _sphere_nodes(dim: int, num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Golub and Welsch: the nodes are the eigenvalues of t in the basis of the orthonormal polynomials sqrt(B_r) P_r."""
    r = np.arange(1, num_nodes)
    # sqrt(r (r+d-3)/((2r+d-2)(2r+d-4))), and its limit 1/sqrt 2 for r = 1, d = 2
    squares = (
        r * (r + dim - 3) / np.maximum((2 * r + dim - 2) * (2 * r + dim - 4), 1) if dim > 2 else np.where(r == 1, 0.5, 0.25)
    )
    nodes = np.linalg.eigvalsh(np.diag(np.sqrt(squares), -1))  # reads the lower triangle
    before, last = _recurrence(dim, num_nodes + 1, nodes)[-2:]
    nodes = nodes - last * (1 - nodes**2) / (
        num_nodes * (before - nodes * last)
    )  # Newton: (1 - t^2) P_n' = n (P_{n-1} - t P_n)
    nodes = (nodes - nodes[::-1]) / 2
    # Christoffel's numbers, whose relative error is small also where they are
    polynomials = np.stack(_recurrence(dim, num_nodes, nodes))
    weights = 1 / (_multiplicities(dim, num_nodes) @ polynomials**2)
    return nodes, weights / weights.sum()


def _transform(dim: int, num_degrees: int, num_nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The polynomials (degree, node) at the Gauss nodes, the weights and the nodes."""
    _at_least(2, dim=dim)
    _at_least(1, num_degrees=num_degrees)
    if num_nodes < num_degrees:
        raise ValueError(f"num_nodes must be at least the number of degrees, {num_degrees}; got {num_nodes}")
    nodes, weights = _sphere_nodes(dim, num_nodes)
    return np.stack(_recurrence(dim, num_degrees, nodes)), weights, nodes


@functools.cache
def _walsh_weights(dim: int) -> np.ndarray:
    """2^-d C(d, j) K_l(j)/C(d, l) in row l, column j; K by its recurrence in l, in exact integers."""
    rows = np.zeros((dim + 1, dim + 1))
    for j in range(dim + 1):
        below, here = 0, 1
        for level in range(dim + 1):
            rows[level, j] = math.comb(dim, j) * here / (math.comb(dim, level) << dim)
            # (l+1) K_{l+1} = (d - 2j) K_l - (d - l + 1) K_{l-1}
            below, here = here, ((dim - 2 * j) * here - (dim - level + 1) * below) // (level + 1)
    return rows


def _set_bits(dim: int) -> Int[np.ndarray, "point dim"]:
    return np.arange(1 << dim)[:, None] >> np.arange(dim) & 1
