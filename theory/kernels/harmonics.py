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

Regime. Every $d \ge 2$ (hypercube: $d \ge 1$). The expectations on spheres are Gauss sums of `num_nodes` nodes: exact for
polynomials of degree 2 `num_nodes` - 1 in all, and off by a power of 1/`num_nodes` for a kernel with a kink or a branch point.
Those on the hypercube are the sums over all $d + 1$ distances.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $d$ | `dim` | int | dimension of the sphere's space, or of the hypercube |
| $P_r$, $r$ | `gegenbauer`, `degree` | any, int | Gegenbauer polynomial of index $(d - 2)/2$; its degree |
| $t$, $\tau$ | `t`; `sphere_quadrature` | any | inner products of unit vectors |
| $B(d, r)$ | `sphere_multiplicity` | int | harmonics of degree $r$ |
| $B_r \mathbb{E}[f P_r]^2$ | `ZonalPower.degrees`, `.beyond` | `degree`, `()` | power of a degree; of all higher ones |
| $k$, $F$ | `kernel_fn` | callable | traceable function of one or two numbers |
| $\Lambda_r$, $\Lambda_{rs}$ | `Spectrum.eigenvalues` | degree (s) | eigenvalue of a degree |
| $\tau$ | `Spectrum.tail` | `()` | trace left to the degrees that were not computed, or not resolved |
| $K_l(j)$ | `walsh_spectrum` | `level` | Krawtchouk polynomial |

Factors. The measures are probabilities: an eigenvalue is that of the integral operator under the uniform law, and the
modes have mean square 1. Inputs have norm 1, and $\sqrt{d}$ on the hypercube, where the argument of $k$ is divided by $d$.

Source. Textbook: K. Atkinson, W. Han, "Spherical harmonics and approximations on the unit sphere" (2012), doi
10.1007/978-3-642-25983-8, for the sphere, R. O'Donnell, "Analysis of Boolean functions" (2014), doi 10.1017/CBO9781139814782,
for the hypercube. Recalled, not re-read; the tests derive each formula again by brute force. The doubly zonal case is
that of the attention kernel of H. Fu, T. Guo, Y. Bai, S. Mei, arXiv 2307.11353 (body not read): derived here.

Finite size. None in the formulas. Rounding: where each value of $k$ is right to $\epsilon$ of itself (so take `expm1`, not
$e^t - 1$), a sum is off by up to $4 \epsilon$ times the sum of the sizes of its terms: at most
$4 \epsilon \sqrt{\mathbb{E} k^2 / B_r}$ for an eigenvalue, $4 \epsilon \sqrt{B_r\, \mathbb{E} k^2}$ for a degree's share of the
trace. An eigenvalue below eight times its rounding is an exact 0, and its share of the trace belongs to the tail. So do degrees
of more than $2 \cdot 10^{28}$ modes, which are below rounding unless $k$ lives on a set of probability $10^{-28}$. For
$k = e^t$ the degrees up to 8 are above rounding at $d = 784$, and up to 4 at $d = 10^6$. Sums are in float64, with
$\epsilon = 2 \cdot 10^{-16}$, also where JAX's default is float32, unless `kernel_fn` holds traced values (under `grad`,
`vmap`, or arguments of `jit`) or returns float32: then $\epsilon = 10^{-7}$, and degrees of more than about $10^{11}$ modes are
in the tail.

Example. ReLU as a function of $t$ on the sphere of $\mathbb{R}^3$: beyond degree 1 only even degrees contribute, and modes and
tail add up to the trace $k(1) = 1$.

>>> import jax
>>> from closedform.theory.kernels import harmonics
>>> spectrum = harmonics.sphere_spectrum(jax.nn.relu, 3, 6)
>>> [round(float(value), 2) for value in spectrum.eigenvalues]
[0.25, 0.17, 0.06, 0.0, -0.01, 0.0]
>>> round(float(spectrum.multiplicities @ spectrum.eigenvalues + spectrum.tail), 4)
1.0
"""

import decimal
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from ..numerics.arguments import FINITE, ArrayLike, at_least, known, takes
from .spectrum import Spectrum, ZonalPower

KernelFn = Callable[[Float[Array, ""]], Real[ArrayLike, ""]]
PairFn = Callable[[Float[Array, ""], Float[Array, ""]], Real[ArrayLike, ""]]


# ---------------------------------------------------------------------------------------------------------- the sphere


@takes(dim=at_least(2), degree=at_least(0), t=FINITE)
def gegenbauer(dim: int, degree: int, t: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """P_degree(t) with P_degree(1) = 1, of index (dim - 2)/2: Chebyshev's at dim = 2, Legendre's at dim = 3.

    >>> [round(float(gegenbauer(dim, 2, 0.5)), 6) for dim in (2, 3, 8)]
    [-0.5, -0.125, 0.142857]
    """
    return _polynomials(dim, degree + 1, t)[-1]


@takes(dim=at_least(2), num_degrees=at_least(1), t=FINITE)
def gegenbauers(dim: int, num_degrees: int, t: Real[ArrayLike, "*shape"]) -> Float[Array, "degree *shape"]:
    """P_0(t), .., P_{num_degrees - 1}(t), by the recurrence in the degree, which is stable.

    For |t| > 1 they grow as t^degree, and are infinite beyond the range of floats.
    """
    return jnp.stack(_polynomials(dim, num_degrees, t))


@takes(dim=at_least(2), degree=at_least(0))
def sphere_multiplicity(dim: int, degree: int) -> int:
    """B(d, r), the number of independent spherical harmonics of degree r on the unit sphere of R^d. Exact.

    >>> [sphere_multiplicity(8, degree) for degree in range(4)], sphere_multiplicity(2, 5), sphere_multiplicity(3, 5)
    ([1, 8, 35, 112], 2, 11)
    """
    return _multiplicity(dim, degree)


@takes(dim=at_least(2), num_nodes=at_least(1))
def sphere_quadrature(dim: int, num_nodes: int) -> tuple[Float[Array, "node"], Float[Array, "node"]]:
    """Gauss nodes and weights (of sum 1) for t = x.x', x and x' uniform on the unit sphere of R^dim; rising, symmetric.

    >>> t, weights = sphere_quadrature(5, 12)
    >>> round(float(weights @ t**2), 6), round(float(weights @ t**4), 6)  # 1/d and 3/(d(d+2))
    (0.2, 0.085714)
    """
    nodes, weights = _sphere_nodes(dim, num_nodes)
    return jnp.asarray(nodes, float), jnp.asarray(weights, float)


@takes(dim=at_least(2), num_degrees=at_least(1), num_nodes=at_least(1))
def sphere_spectrum(kernel_fn: KernelFn, dim: int, num_degrees: int, num_nodes: int = 80) -> Spectrum:
    """The eigenvalues of kernel_fn(x.x') on the unit sphere of R^dim, for the degrees 0, .., num_degrees - 1.

    Differentiable in the arrays that kernel_fn closes over. A degree below rounding has eigenvalue 0, and its trace is in the
    tail.

    >>> spectrum = sphere_spectrum(lambda t: 1 + t, 8, 3)  # 1 and x: two eigenvalues, 1 and 1/d
    >>> spectrum.eigenvalues.round(4).tolist()
    [1.0, 0.125, 0.0]
    """
    nodes, transform = _harmonics(dim, num_degrees, num_nodes)
    values = _evaluated("kernel_fn", kernel_fn, np.append(nodes, 1.0))
    return _decomposed(values[:-1], values[-1], [transform], _multiplicities(dim, num_degrees))


@takes(dim=at_least(2), num_degrees_1=at_least(1), num_degrees_2=at_least(1), num_nodes=at_least(1))
def product_spectrum(kernel_fn: PairFn, dim: int, num_degrees_1: int, num_degrees_2: int, num_nodes: int = 80) -> Spectrum:
    """The eigenvalues Lambda_rs of F(x.x', u.u') = kernel_fn(t, tau), x and u independent on the unit sphere of R^dim.

    Arrays of shape (num_degrees_1, num_degrees_2); the tail is that of the trace F(1, 1). Else as `sphere_spectrum`.

    >>> product_spectrum(lambda t, tau: t * (1 + tau), 4, 3, 2).eigenvalues.round(4).tolist()
    [[0.0, 0.0], [0.25, 0.0625], [0.0, 0.0]]
    """
    nodes, first = _harmonics(dim, num_degrees_1, num_nodes)
    _, second = _harmonics(dim, num_degrees_2, num_nodes)
    points = np.append(nodes, 1.0)
    values = _evaluated("kernel_fn", kernel_fn, points, points)
    counts = np.outer(_multiplicities(dim, num_degrees_1), _multiplicities(dim, num_degrees_2))
    return _decomposed(values[:-1, :-1], values[-1, -1], [first, second], counts)


@takes(dim=at_least(2), num_degrees=at_least(1), num_nodes=at_least(1))
def zonal_power(function_fn: KernelFn, dim: int, num_degrees: int, num_nodes: int = 80) -> ZonalPower:
    """The mean square of function_fn(beta.x), |beta| = 1, in each of num_degrees degrees, and in all higher ones together.

    The power beyond is a sum over the degrees below num_nodes, which hold all of E[function_fn(t)^2] that the nodes see; in a
    formula of ridge regression it adds to the noise. Powers below rounding are exact zeros, so that such a degree does not
    count where the kernel's eigenvalue is 0 too.

    >>> power = zonal_power(lambda t: t + t**2, 8, 2)  # 1/d^2, 1/d; 2(d-1)/(d^2(d+2)) is beyond
    >>> [round(float(one), 5) for one in power.degrees], round(float(power.beyond), 5)
    ([0.01562, 0.125], 0.02187)
    """
    if num_nodes < num_degrees:
        raise _too_few_nodes(num_degrees, num_nodes)
    nodes, transform = _harmonics(dim, num_nodes, num_nodes)
    coefficients, rounding = _expanded(_evaluated("function_fn", function_fn, nodes), [transform])
    xp = _library(coefficients)
    powers = xp.where(xp.abs(coefficients) <= RESOLVED * rounding, 0, coefficients) ** 2
    return ZonalPower(jnp.asarray(powers[:num_degrees], float), jnp.asarray(xp.sum(powers[num_degrees:]), float))


# ------------------------------------------------------------------------------------------------------- the hypercube


@takes(dim=at_least(1))
def walsh_spectrum(kernel_fn: KernelFn, dim: int) -> Spectrum:
    """The eigenvalues of kernel_fn(x.x'/dim) on {-1, 1}^dim for the levels 0, .., dim; levels below rounding are in the tail.

    The weights of the sums are exact, rounded once. Levels of more than 2e28 modes, which need dim > 97, are in the tail.

    >>> spectrum = walsh_spectrum(lambda t: (t + 1) ** 2, 4)  # 1 + 2 t + t^2, t^2 = 1/d + 2 sum_{i<j} .../d^2
    >>> spectrum.eigenvalues.round(6).tolist(), spectrum.multiplicities.tolist(), float(spectrum.tail)
    ([1.25, 0.5, 0.125, 0.0, 0.0], [1.0, 4.0, 6.0, 4.0, 1.0], 0.0)
    """
    transform, few, counts = _parities(dim)
    values = _evaluated("kernel_fn", kernel_fn, 1 - 2 * np.arange(dim + 1) / dim)
    eigenvalues, _, tail = _decomposed(values, values[0], [transform], few)
    low, between = (len(few) + 1) // 2, jnp.zeros(dim + 1 - len(few), eigenvalues.dtype)
    eigenvalues = jnp.concatenate([eigenvalues[:low], between, eigenvalues[low:]])
    return _as_default(eigenvalues, counts, tail)


@takes()
def walsh_transform(values: Real[ArrayLike, "*batch point"]) -> Float[Array, "*batch point"]:
    """The coefficients a_S = 2^-d sum_x f(x) chi_S(x) of the functions whose `values` are tabulated over {-1, 1}^d.

    Point i has x_j = 1 - 2 (bit j of i), as in `hypercube`, and coefficient i belongs to S = {j: bit j of i is 1}. The
    transform of the coefficients is the table divided by 2^d. O(d 2^d) operations; off by at most d eps/2 mean |f|, and
    exact for tables of small integers.

    >>> x = hypercube(3)
    >>> walsh_transform(x[:, 0] * x[:, 2] - 0.5).tolist()
    [-0.5, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    """
    table = jnp.asarray(values)
    shape, size = table.shape, table.shape[-1]
    _require_power_of_two("values", size)
    half = 1
    while half < size:
        pairs = table.reshape(*shape[:-1], -1, 2, half) / 2  # now, not at the end: sums of many large values overflow
        plus, minus = pairs[..., 0, :] + pairs[..., 1, :], pairs[..., 0, :] - pairs[..., 1, :]
        table = jnp.stack([plus, minus], axis=-2).reshape(shape)
        half *= 2
    return table


@takes()
def power_by_degree(coefficients: Real[ArrayLike, "point"]) -> Float[Array, "level"]:
    """The sums of the squared coefficients of `walsh_transform` over the sets S of each size 0, .., d.

    >>> power_by_degree(walsh_transform(hypercube(3).prod(axis=1) + 2)).tolist()
    [4.0, 0.0, 0.0, 1.0]
    """
    a = jnp.asarray(coefficients)
    _require_power_of_two("coefficients", len(a))
    sizes = np.bitwise_count(np.arange(len(a)))
    return jnp.zeros(len(a).bit_length(), a.dtype).at[sizes].add(a**2)


@takes(dim=at_least(1))
def hypercube(dim: int, dtype: Any = None) -> Float[Array, "point dim"]:
    """The 2^dim points of {-1, 1}^dim in the order of `walsh_transform`; by default float32, or float64 under x64."""
    chosen = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
    if not jnp.issubdtype(chosen, jnp.floating):
        raise ValueError(f"dtype must be a floating one, got {chosen}")
    return jnp.asarray(1 - 2 * (np.arange(1 << dim)[:, None] >> np.arange(dim) & 1), chosen)


def _require_power_of_two(name: str, size: int) -> None:
    if size & (size - 1) or not size:
        raise ValueError(f"{name} must be 2^d in number along the last axis; got {size}")


# -------------------------------------------------------------------------------------- expansions, and what is rounding

# A value of the kernel, its weight and the sum are each off by an eps or so: in all by 4 eps times the sum of the sizes of
# the terms, at most. An eigenvalue or a power is returned if it is eight times that, so that it has a correct digit.
ROUNDING, RESOLVED = 4.0, 8.0

# 1/(ROUNDING RESOLVED eps)^2: the share of the trace of a degree of B modes is sqrt(B) times its coefficient in the
# normalised polynomial, so that beyond this B it is above rounding only if it is all of the trace.
MOST_MODES = 2e28


def _evaluated(name: str, function_fn: Callable, *axes: np.ndarray) -> Any:
    """function_fn on the grid of the axes: a numpy array of float64 if its values are known, else a traced array.

    Known values are computed in float64 also where JAX's default is float32.
    """

    def on_grid(dtype: Any) -> Array:
        one = function_fn
        for k in reversed(range(len(axes))):
            one = jax.vmap(one, [0 if k == i else None for i in range(len(axes))])
        values = jnp.asarray(one(*[jnp.asarray(axis, dtype) for axis in axes]))
        if values.shape != tuple(map(len, axes)):
            raise ValueError(f"{name} must return one number, got shape {values.shape[len(axes) :]}")
        return values

    try:
        with jax.ensure_compile_time_eval(), jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            values = on_grid(np.float64)
    except (TypeError, jax.errors.UnexpectedTracerError):  # holds float32 where both must agree, or traced values
        values = None
    if values is None or not known(values):
        values = on_grid(float)
    real = jnp.issubdtype(values.dtype, jnp.floating)
    if not known(values):
        return values if real else values.astype(float)
    return np.asarray(values) if real else np.asarray(values, float)


def _decomposed(values: Any, trace: Any, transforms: Sequence[np.ndarray], counts: np.ndarray) -> Spectrum:
    """The spectrum of a kernel of these values at the nodes; the last axes of `values` are transformed, one by each.

    Coefficients c = E[k p_r] in orthonormal polynomials p_r = sqrt(B_r) P_r, of which Lambda = c/sqrt(B) and the share of the
    trace is c sqrt(B).
    """
    coefficients, rounding = _expanded(values, transforms)
    xp, roots = _library(coefficients), np.sqrt(np.minimum(counts, MOST_MODES)).astype(coefficients.dtype)
    eigenvalues, shares = coefficients / roots, coefficients * roots
    # below the smallest float of the result, which may be narrower, a degree's share would be lost
    tiny = float(jnp.finfo(jnp.result_type(float)).tiny)
    lost = (xp.abs(coefficients) <= RESOLVED * rounding) | (counts > MOST_MODES) | (xp.abs(eigenvalues) < tiny)
    tail = trace - xp.sum(xp.where(lost, 0, shares))
    error = xp.sum(xp.where(lost, 0, rounding * roots)) + ROUNDING * _eps(values) * xp.abs(trace)
    return _as_default(xp.where(lost, 0, eigenvalues), counts, xp.where(xp.abs(tail) <= error, 0, tail))


def _expanded(values: Any, transforms: Sequence[np.ndarray]) -> tuple[Any, Any]:
    """The coefficients of the values, and bounds of their rounding."""

    def transformed(values: Any, matrices: Sequence[np.ndarray]) -> Any:
        matrices = [matrix.astype(values.dtype) for matrix in matrices]
        with jax.default_matmul_precision("highest"):
            return matrices[0] @ values if len(matrices) == 1 else matrices[0] @ values @ matrices[1].T

    eps = _eps(values)
    if isinstance(values, np.ndarray):
        values = values.astype(np.float64)
    sizes = transformed(_library(values).abs(values), [np.abs(matrix) for matrix in transforms])
    return transformed(values, transforms), ROUNDING * eps * sizes


def _as_default(eigenvalues: Any, counts: np.ndarray, tail: Any) -> Spectrum:
    """As JAX arrays of the default dtype; multiplicities beyond its range are its largest number."""
    most = float(jnp.finfo(jnp.result_type(float)).max)
    return Spectrum(*(jnp.asarray(part, float) for part in (eigenvalues, np.minimum(counts, most), tail)))


def _library(values: Any) -> Any:
    return np if isinstance(values, np.ndarray) else jnp


def _eps(values: Any) -> float:
    return float(jnp.finfo(values.dtype).eps)


# ----------------------------------------------------------------------------------------------------------- fixed sums


def _polynomials(dim: int, num_degrees: int, t: Any) -> list[Float[Array, "*shape"]]:
    """P_0, .., P_{num_degrees - 1}: (r + d - 2) P_{r+1} = (2 r + d - 2) t P_r - r P_{r-1}."""
    values = [jnp.ones_like(t), t]
    for r in range(1, num_degrees - 1):
        after = (2 * r + dim - 2) / (r + dim - 2) * t * values[-1] - r / (r + dim - 2) * values[-2]
        values.append(jnp.where(jnp.isinf(values[-1]), t * values[-1], after))  # not infinity - infinity
    return values[:num_degrees]


def _multiplicity(dim: int, degree: int) -> int:
    lower = math.comb(dim + degree - 3, degree - 2) if degree >= 2 else 0
    return math.comb(dim + degree - 1, degree) - lower


def _multiplicities(dim: int, num_degrees: int) -> Float[np.ndarray, "degree"]:
    """B_0, .., B_{num_degrees - 1}, the largest float where they are more."""
    return np.array([_rounded(_multiplicity(dim, degree)) for degree in range(num_degrees)])


def _rounded(number: int) -> float:
    return float(number) if number.bit_length() <= 1023 else float(np.finfo(float).max)


@functools.cache
def _sphere_nodes(dim: int, num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Golub and Welsch: the nodes are the eigenvalues of t in the basis of the orthonormal polynomials sqrt(B_r) P_r."""
    steps = _steps(dim, num_nodes)
    nodes = np.linalg.eigvalsh(np.diag(steps[1:-1], -1))  # reads the lower triangle
    polynomials, slopes = _orthonormal(dim, num_nodes + 1, nodes)
    nodes = nodes - polynomials[-1] / slopes[-1]  # Newton
    nodes = (nodes - nodes[::-1]) / 2
    # Christoffel's numbers, whose relative error is small also where they are
    weights = 1 / np.sum(_orthonormal(dim, num_nodes, nodes)[0] ** 2, axis=0)
    return nodes, weights / weights.sum()


def _steps(dim: int, num_degrees: int) -> Float[np.ndarray, "degree"]:
    """b_0, .., b_num_degrees of t p_r = b_{r+1} p_{r+1} + b_r p_{r-1}: b_r^2 = r (r+d-3)/((2r+d-2)(2r+d-4))."""
    r = np.arange(num_degrees + 1.0)
    r_, d = np.maximum(r, 1), float(dim)
    ratio = np.divide(r_ + d - 3, 2 * r_ + d - 4, out=np.ones_like(r), where=2 * r_ + d - 4 > 0)  # its limit for r = 1, d = 2
    return np.where(r > 0, np.sqrt(r_ / (2 * r_ + d - 2) * ratio), 0)


def _orthonormal(dim: int, num_degrees: int, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p_r = sqrt(B_r) P_r and dp_r/dt of the degrees 0, .., num_degrees - 1, by row."""
    b = _steps(dim, num_degrees)
    values, slopes = [np.zeros_like(t), np.ones_like(t)], [np.zeros_like(t)] * 2
    for r in range(num_degrees - 1):
        values.append((t * values[-1] - b[r] * values[-2]) / b[r + 1])
        slopes.append((values[-2] + t * slopes[-1] - b[r] * slopes[-2]) / b[r + 1])
    return np.stack(values[1:]), np.stack(slopes[1:])


def _harmonics(dim: int, num_degrees: int, num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """The Gauss nodes, and the matrix w p_r at them, by row, that maps values to coefficients."""
    if num_nodes < num_degrees:
        raise _too_few_nodes(num_degrees, num_nodes)
    nodes, weights = _sphere_nodes(dim, num_nodes)
    return nodes, weights * _orthonormal(dim, num_degrees, nodes)[0]


def _too_few_nodes(num_degrees: int, num_nodes: int) -> ValueError:
    return ValueError(f"num_nodes must be at least the number of degrees, {num_degrees}; got {num_nodes}")


@functools.cache
def _parities(dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """2^-d C(d, j) K_l(j)/sqrt(C(d, l)) by level and j, for the levels of at most MOST_MODES modes; their C(d, l); all C(d, l).

    The levels are the same number of lowest and of highest ones, or all.
    """
    counts, here = np.zeros(dim + 1), 1
    for level in range(dim // 2 + 1):
        counts[[level, dim - level]] = _rounded(here)
        if counts[level] == np.finfo(float).max:  # for all that follow
            counts[level : dim - level] = counts[level]
            break
        here = here * (dim - level) // (level + 1)
    shares, share = np.zeros(dim + 1), decimal.Decimal(1)
    with decimal.localcontext(prec=40, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX):
        share /= decimal.Decimal(2) ** dim
        for j in range(dim // 2 + 1):
            shares[[j, dim - j]] = float(share)
            share = share * (dim - j) / (j + 1)
    low = [level for level in range(dim // 2 + 1) if counts[level] <= MOST_MODES]
    j, rows = np.arange(dim + 1).astype(object), []
    below, row = 0 * j, 0 * j + 1
    for level in low:
        rows.append(shares * row.astype(float) / math.sqrt(counts[level]))
        # (l+1) K_{l+1} = (d - 2j) K_l - (d - l + 1) K_{l-1}, in exact integers
        below, row = row, ((dim - 2 * j) * row - (dim - level + 1) * below) // (level + 1)
    high = [level for level in reversed(low) if 2 * level < dim]
    signs = np.where(np.arange(dim + 1) % 2, -1, 1)  # K_{d-l}(j) = (-1)^j K_l(j)
    few = np.append(counts[low], counts[high])
    return np.stack([*rows, *[signs * rows[level] for level in high]]), few, counts
