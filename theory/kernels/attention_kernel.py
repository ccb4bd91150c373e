r"""Kernel of a random-feature attention layer with infinitely many heads: exact, with its spectrum on the sphere.

Formula. Tokens $u = x$, or $[x; 1]$ if augmented; $N$ keys; heads $W = \alpha J + s G$ with $G$ iid standard normal and $J$ the
identity on the $x$-part. One head's features, and the kernel, are

$$
\begin{align*}
\phi(x) &= \frac{1}{N} \sum_i \operatorname{relu}(u_0^\top W u_i)\, u_i \\
K(x, x') &= \mathbb{E} \langle \phi(x), \phi(x') \rangle = \frac{1}{N^2} \sum_{ij} \kappa_{ij} \langle u_i, u'_j \rangle,
\qquad \kappa_{ij} = \mathbb{E}[\operatorname{relu}(A) \operatorname{relu}(B)]
\end{align*}
$$

where $(A, B)$ is normal with means $\alpha \langle x_0, x_i \rangle$ and $\alpha \langle x'_0, x'_j \rangle$, standard
deviations $s \|u_0\| \|u_i\|$ and $s \|u'_0\| \|u'_j\|$ and covariance
$s^2 \langle u_0, u'_0 \rangle \langle u_i, u'_j \rangle$.

For $\alpha = 0$ and unit tokens $K$ depends on $t = \langle x_0, x'_0 \rangle$ and $\tau_{ij} = \langle x_i, x'_j \rangle$
alone, with $g$ the arc-cosine kernel of degree 1:

$$
K = \frac{1}{N^2} \sum_{ij} F(t, \tau_{ij}), \qquad
F = s^2 g(t \tau)\, \tau, \quad \text{augmented } F = (2 s)^2 g\left(\tfrac{1}{4} (1 + t)(1 + \tau)\right) (1 + \tau)
$$

For independent tokens, uniform on the sphere, its eigenfunctions are $Y_r(x_0) N^{-1/2} \sum_i Y_s(x_i)$ ($s \ge 1$) and
$Y_r(x_0)$ ($s = 0$) with spherical harmonics $Y$ of degrees $r$ and $s$, multiplicity $B(d, r) B(d, s)$, and the eigenvalues

$$
\lambda_{r0} = \Lambda_{r0}, \qquad \lambda_{rs} = \Lambda_{rs}/N \quad (s \ge 1), \qquad
\Lambda_{rs} = \mathbb{E}[F(t, \tau) P_r(t) P_s(\tau)]
$$

$P_r$ is Gegenbauer's polynomial with $P_r(1) = 1$. Without augmentation $\lambda_{rs} = 0$ unless $r + s$ is odd, and among
even $s$ only $(r, s) = (1, 0)$ and $(1, 2)$ have a nonzero eigenvalue: constants, the $(0, 2)$ and the $(1, 1)$ block cannot be
learned by any number of heads and samples.

Regime. Number of heads $\to \infty$; everything else is exact at finite $d$, $N$ and any data. The spectrum: unit tokens,
uniform and independent, $\alpha = 0$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $x_0$, $x_i$ | `x[0]`, `x[i]` | dim | query, keys of an example |
| $d$, $N$ | `dim`, `num_keys` | () | dimension of a token, number of keys |
| $s$, $\alpha$ | `weight_std`, `mean_strength` | () | of the entries of $W$: standard deviation, mean on the diagonal |
| $\lambda_{rs}$ | `eigenvalues` | r s | row: degree in the query, column: degree in the keys |
| $p$, $q$ | `correlation_degree`, `direction_degree` | () | degrees of the target below |

The target is the mean over $i$ of $\langle x_0, x_i \rangle^p \langle \beta, x_i \rangle^q$.

Factors. A network of $M$ heads carries $1/\sqrt{M}$, so that $K$ is the limit of its kernel without any factor. The $1/N$
belongs to the eigenvalues with $s \ge 1$ and not to the multiplicities. A target's powers sum to its variance, which is 1.

Source. Setting: Fu, Guo, Bai and Mei, arXiv 2307.11353 (abstract and a summary read, body not). Kernel, spectrum and powers are
derived here; $g$: Cho and Saul 2009, papers.nips.cc/paper/3628-kernel-methods-for-deep-learning.

Finite size. At $M$ heads a kernel entry scatters by $1/\sqrt{M}$, and `theory.random_matrices` gives the risk: with $M d$
features for heads without augmentation, with `groups` for augmented heads.

Example. The blocks $(r, s)$ of degrees up to 3 that the layer can learn: $r + s$ is odd, and $r = 1$ where $s$ is even.

>>> from closedform.theory.kernels import attention_kernel
>>> eigenvalues = attention_kernel.spectrum(dim=8, num_keys=4, num_degrees=4).eigenvalues
>>> (eigenvalues > 0).astype(int).tolist()
[[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0]]
"""

import functools
from collections.abc import Callable
from fractions import Fraction
from math import comb, factorial, prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array, Float, Real

from ..gaussian.relu_moments import arc_cosine, relu_mean, relu_product
from ..numerics import quadrature
from ..numerics.arguments import FINITE, ArrayLike, at_least, between, takes
from ..numerics.normal import standardize
from .harmonics import product_spectrum, sphere_multiplicity, sphere_quadrature
from .spectrum import Groups, Spectrum

Number = Real[ArrayLike, ""]
Tokens = Real[ArrayLike, "token dim"]
OtherTokens = Real[ArrayLike, "other dim"]
Converted = Any  # an argument that `takes` has converted to an array
Profile = Callable[[Array, Array], Array]  # F(t, tau)

NUM_NODES = 80  # nodes of the Gauss sums, and so the largest number of degrees


@takes(x=FINITE, y=FINITE, weight_std=at_least(0, finite=True))
def kernel(x: Tokens, y: OtherTokens, weight_std: Number = 1.0, augment: bool = False) -> Float[Array, ""]:
    """K(x, y) of two examples for heads of mean zero; row 0 is the query. The examples may differ in the number of keys.

    Differentiable. Where a query is 0, and not augmented, K has a kink: the slope returned there is the mean of the two
    one-sided slopes. The error is some eps of the mean of s_i s'_j |<u_i, u'_j>| over the pairs of keys, s being standard
    deviations: little is left of the part of a pair whose pre-activations are nearly opposite, which no head passes both of.
    """
    return jnp.sum(_centred_parts(x, y, weight_std, augment))


@takes(x=FINITE, y=FINITE, weight_std=at_least(0, finite=True))
def kernel_parts(x: Tokens, y: OtherTokens, weight_std: Number = 1.0, augment: bool = False) -> Float[Array, "2"]:
    """The two terms of `kernel`: from the features of the keys, dim a head, and from the constant feature, one a head."""
    return _centred_parts(x, y, weight_std, augment)


@takes(x=FINITE, y=FINITE, weight_std=at_least(0, finite=True), mean_strength=FINITE)
def biased_kernel(
    x: Tokens, y: OtherTokens, weight_std: Number, mean_strength: Number, augment: bool = False
) -> Float[Array, ""]:
    """K(x, y) of two examples for heads with mean mean_strength on the diagonal.

    Slopes at a query of 0 as in `kernel`. A bivariate normal cdf for every pair of keys makes it some ten times slower. Its
    error is some eps of the mean of (|m_i m'_j| + s_i s'_j) |<u_i, u'_j>| over the pairs, m and s being the means and the
    standard deviations above: no relative accuracy is kept where all heads are shut, m far below -s.
    """
    return jnp.sum(_biased_parts(x, y, weight_std, mean_strength, augment))


@takes(x=FINITE, y=FINITE, weight_std=at_least(0, finite=True), mean_strength=FINITE)
def biased_kernel_parts(
    x: Tokens, y: OtherTokens, weight_std: Number, mean_strength: Number, augment: bool = False
) -> Float[Array, "2"]:
    """The two terms of `biased_kernel`, split as in `kernel_parts`."""
    return _biased_parts(x, y, weight_std, mean_strength, augment)


@takes(x=FINITE, weight_std=at_least(0, finite=True), mean_strength=FINITE)
def feature_mean(x: Tokens, weight_std: Number, mean_strength: Number, augment: bool = False) -> Float[Array, "value"]:
    """E phi(x): the mean over heads of one head's features, (1/N) sum_i E[relu] u_i."""
    _require_key("x", x)
    keys = _tokens(x, augment)[1:]
    return relu_mean(*_preactivation(x, weight_std, mean_strength, augment)) @ keys / len(keys)


@takes(dim=at_least(2), num_keys=at_least(1), weight_std=at_least(0, finite=True), num_degrees=between(1, NUM_NODES))
def spectrum(dim: int, num_keys: int, weight_std: Number = 1.0, augment: bool = False, num_degrees: int = 10) -> Spectrum:
    """Eigenvalues and multiplicities, (num_degrees, num_degrees), of `kernel` for unit tokens, and the trace beyond them.

    Blocks in which the kernel has no part are exact zeros. Eigenvalues below rounding are 0, and their trace is in the tail.
    """
    s = jnp.asarray(weight_std)
    with jax.enable_x64(True):
        blocks = _unit_blocks(dim, augment, num_degrees)
        counts = jnp.minimum(blocks.multiplicities, float(jnp.finfo(s.dtype).max))
        parts = *_of_keys(blocks, num_keys), counts
    eigenvalues, tail, counts = (jnp.asarray(part, s.dtype) for part in parts)
    return Spectrum(s**2 * eigenvalues, counts, s**2 * tail)


@takes(
    dim=at_least(2),
    num_keys=at_least(1),
    weight_std=at_least(0, finite=True),
    num_nodes=at_least(1),
    num_degrees=between(1, NUM_NODES),
)
def groups(dim: int, num_keys: int, weight_std: Number = 0.5, num_nodes: int = 9, num_degrees: int = 10) -> Groups:
    """Spectra of an augmented head's features, those of the keys (blocks of dim) and the constant one, given b = W_(dim, dim).

    All features of a head share b, so that they are not independent of one another; given b, pre-activations are normal with
    mean b, variance 3 s^2 and correlation (t tau + t + tau)/3. b is integrated by Gauss-Hermite quadrature.
    """
    s = jnp.asarray(weight_std)
    with jax.enable_x64(True):
        both = [jax.vmap(_of_keys, (0, None))(blocks, num_keys) for blocks in _unit_groups(dim, num_nodes, num_degrees)]
        parts = [jnp.concatenate(part) for part in zip(*both, strict=True)]
    eigenvalues, tails = (jnp.asarray(part, s.dtype) for part in parts)
    sizes = jnp.repeat(jnp.asarray([dim, 1], s.dtype), num_nodes)
    weights = quadrature.hermite(num_nodes)[1]
    return Groups(jnp.asarray(np.tile(weights, 2), s.dtype), sizes, s**2 * eigenvalues, s**2 * tails)


@takes(
    dim=at_least(2), num_keys=at_least(1), correlation_degree=at_least(0), direction_degree=at_least(0), num_degrees=at_least(2)
)
def target_power(
    dim: int, num_keys: int, correlation_degree: int, direction_degree: int, num_degrees: int = 10
) -> Float[Array, "num_degrees num_degrees"]:
    """Power in the blocks (r, s) of the target mean_i <x_0, x_i>^p <beta, x_i>^q, centred and scaled to unit variance.

    With t^p = sum_r c_r P_r(t) and mu_q(tau) = E <beta, x>^q <beta, x'>^q over directions beta, the power of one key is
    c_r^2 (B_s/B_r) E[P_r P_s mu_q]. Sums of positive terms: blocks without power are exact zeros.

    >>> power = target_power(8, 4, 1, 1)
    >>> round(float(power[1, 0]), 4), round(float(power[1, 2]), 4)
    (0.3636, 0.6364)
    """
    p, q = correlation_degree, direction_degree
    if not 0 < p + q < num_degrees:
        raise ValueError(f"degrees of a target must sum to 1 .. {num_degrees - 1}; got {p} and {q}")
    times_t = _times_t(dim, num_degrees)
    coefficients = np.linalg.matrix_power(times_t, p)[0]
    # row r: P_r mu_q in the P_s, of which the coefficients are B_s E[P_r P_s mu_q]
    products = sum(way * np.linalg.matrix_power(times_t, j) for j, way in enumerate(_pairings(q, dim)))
    counts = np.array([sphere_multiplicity(dim, r) if r <= p else 1 for r in range(num_degrees)], object)
    power = (coefficients**2 / counts)[:, None] * products
    power[:, 1:] /= num_keys
    power[0, 0] = 0
    return jnp.asarray((power / power.sum()).astype(float), float)


def _times_t(dim: int, num_degrees: int) -> np.ndarray:
    """t P_r in the P_s, by rows, in fractions: (2r + d - 2) t P_r = (r + d - 2) P_{r+1} + r P_{r-1}."""
    rows = np.full((num_degrees, num_degrees), Fraction(0), object)
    for r in range(num_degrees):
        if r + 1 < num_degrees:
            rows[r, r + 1] = Fraction(r + dim - 2, 2 * r + dim - 2) if r else Fraction(1)
        if r:
            rows[r, r - 1] = Fraction(r, 2 * r + dim - 2)
    return rows


def _pairings(degree: int, dim: int) -> list[Fraction]:
    """E[<beta, x>^q <beta, x'>^q] over unit vectors beta, as coefficients of the powers of <x, x'> (Isserlis)."""

    def double(number: int) -> int:
        return prod(range(number - 1, 0, -2))

    norm = prod(range(dim, dim + 2 * degree, 2))
    return [
        Fraction((degree - j) % 2 == 0 and comb(degree, j) ** 2 * factorial(j) * double(degree - j) ** 2, norm)
        for j in range(degree + 1)
    ]


# ------------------------------------------------------------------------------------------------------------- spectra


def _profile(augment: bool) -> Profile:
    """F(t, tau) for unit tokens and s = 1."""
    if augment:
        return lambda t, tau: 4 * arc_cosine(1, (1 + t) * (1 + tau) / 4) * (1 + tau)
    return lambda t, tau: arc_cosine(1, t * tau) * tau


class _Blocks(NamedTuple):
    """The spectrum of F(t, tau), by the degrees r in t and s in tau."""

    eigenvalues: Float[Array, "r s"]
    multiplicities: Float[Array, "r s"]
    tail: Float[Array, ""]
    query_tail: Float[Array, ""]  # the tail of degree 0 in the keys: of the mean of F over tau


def _blocks(profile_fn: Profile, dim: int, num_degrees: int) -> _Blocks:
    """The blocks of F. F is positive definite: eigenvalues that quadrature makes negative (d = 2, 3) are 0."""
    blocks = product_spectrum(profile_fn, dim, num_degrees, num_degrees, NUM_NODES)
    tau, weights = sphere_quadrature(dim, NUM_NODES + 1)
    mean = weights @ jax.vmap(profile_fn, (None, 0))(jnp.asarray(1.0), jnp.asarray(tau))
    # with the eigenvalues of the blocks: those of the mean's own values, which cancel, would be rounding times their number
    seen = blocks.multiplicities[:, 0] @ blocks.eigenvalues[:, 0]
    tails = (jnp.maximum(tail, 0) for tail in (blocks.tail, mean - seen))
    return _Blocks(jnp.maximum(blocks.eigenvalues, 0), blocks.multiplicities, *tails)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _unit_blocks(dim: int, augment: bool, num_degrees: int) -> _Blocks:
    blocks = _blocks(_profile(augment), dim, num_degrees)
    if augment:
        return blocks
    # arc_cosine(1, t tau) tau holds t tau^2/4, and beyond it t^r tau^s with even r and odd s alone
    r, s = np.indices(blocks.eigenvalues.shape)
    allowed = ((r % 2 == 0) & (s % 2 == 1)) | ((r == 1) & ((s == 0) | (s == 2)))
    return blocks._replace(eigenvalues=jnp.where(allowed, blocks.eigenvalues, 0))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _unit_groups(dim: int, num_nodes: int, num_degrees: int) -> list[_Blocks]:
    """The blocks of the features of the keys, then of the constant, at s = 1, each for the nodes of b on a first axis."""

    def at(b: Array) -> list[_Blocks]:
        def moment(t: Array, tau: Array) -> Array:
            return relu_product(b, b, 3**0.5, 3**0.5, (t * tau + t + tau) / 3)

        return [_blocks(lambda t, tau: moment(t, tau) * tau, dim, num_degrees), _blocks(moment, dim, num_degrees)]

    return jax.vmap(at)(jnp.asarray(quadrature.hermite(num_nodes)[0]))


def _of_keys(blocks: _Blocks, num_keys: int) -> tuple[Float[Array, "r s"], Float[Array, ""]]:
    """Eigenvalues and tail of (1/N^2) sum_ij F(t, tau_ij): all but the part of degree 0 in the keys is divided by N."""
    tail = blocks.query_tail + jnp.maximum(blocks.tail - blocks.query_tail, 0) / num_keys
    return blocks.eigenvalues.at[:, 1:].divide(num_keys), tail


# ------------------------------------------------------------------------------------------------------------- kernels


def _centred_parts(x: Converted, y: Converted, weight_std: Converted, augment: bool) -> Float[Array, "2"]:
    norms, correlation, covariance = _pair(x, y, augment)
    # beside a zero token J_1(rho) = 1/(2 pi) + rho/4 + ..: the part that is odd in the token is linear
    moment = jnp.where(norms > 0, weight_std**2 * norms * arc_cosine(1, correlation), weight_std**2 * covariance / 4)
    return _parts(moment, x, y, augment)


def _biased_parts(
    x: Converted, y: Converted, weight_std: Converted, mean_strength: Converted, augment: bool
) -> Float[Array, "2"]:
    norms, correlation, covariance = _pair(x, y, augment)
    (mean_u, std_u), (mean_v, std_v) = (_preactivation(one, weight_std, mean_strength, augment) for one in (x, y))
    mean_u, mean_v = jnp.broadcast_arrays(mean_u[:, None], mean_v[None])
    std_u, std_v = jnp.broadcast_arrays(std_u[:, None], std_v[None])

    # beside a zero token, of pre-activation A, the part that is odd in it: E[A relu(B)]/2 = [m_A E relu(B) + cov P(B > 0)]/2.
    # A is that of x or else of y; where both have one this part is 0
    norms_u = _norms(_tokens(x, augment))
    of_x = jnp.broadcast_to((norms_u[:1] * norms_u[1:] == 0)[:, None], norms.shape)
    mean, other, std = (jnp.where(of_x, *two) for two in ((mean_u, mean_v), (mean_v, mean_u), (std_v, std_u)))
    beside_zero = (mean * relu_mean(other, std) + weight_std**2 * covariance * ndtr(standardize(other, std))) / 2
    moment = jnp.where(norms > 0, relu_product(mean_u, mean_v, std_u, std_v, correlation), beside_zero)
    return _parts(moment, x, y, augment)


def _preactivation(x: Converted, weight_std: Converted, mean_strength: Converted, augment: bool) -> tuple[Array, Array]:
    """Mean and standard deviation of u_0^T W u_i over heads, by key."""
    norms = _norms(_tokens(x, augment))
    return mean_strength * (x[1:] @ x[0]), weight_std * norms[0] * norms[1:]


def _parts(moment: Float[Array, "key other_key"], x: Array, y: Array, augment: bool) -> Float[Array, "2"]:
    """(1/N^2) sum_ij kappa_ij <x_i, y_j>, and (1/N^2) sum_ij kappa_ij if there is a constant."""
    return jnp.stack([jnp.mean(moment * (x[1:] @ y[1:].T)), jnp.mean(moment) if augment else jnp.zeros((), x.dtype)])


class _Pairs(NamedTuple):
    """Second moments of the pre-activations of all pairs of keys of two examples, at s = 1, by (key, other_key)."""

    norms: Array  # product of the standard deviations
    correlation: Array  # 0 for a zero token
    covariance: Array


def _pair(x: Array, y: Array, augment: bool) -> _Pairs:
    _require_key("x", x)
    _require_key("y", y)
    u, v = _tokens(x, augment), _tokens(y, augment)
    norms_u, norms_v = _norms(u), _norms(v)
    norms = norms_u[0] * norms_v[0] * (norms_u[1:, None] * norms_v[None, 1:])
    covariance = (u[0] @ v[0]) * (u[1:] @ v[1:].T)
    return _Pairs(norms, covariance / jnp.where(norms > 0, norms, 1), covariance)


def _norms(u: Float[Array, "token value"]) -> Float[Array, "token"]:
    """Norms of the tokens, with slope 0 at a zero token; scaled by a power of 2, so that no square under- or overflows."""
    largest, kind = jax.lax.stop_gradient(jnp.max(jnp.abs(u), axis=1)), jnp.finfo(u.dtype)
    power_of_2 = jax.lax.reduce_precision(largest / 2, exponent_bits=kind.nexp, mantissa_bits=0)
    unit = jnp.where(power_of_2 > 0, power_of_2, 1)
    square = jnp.sum((u / unit[:, None]) ** 2, axis=1)
    return unit * jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _tokens(x: Converted, augment: bool) -> Float[Array, "token value"]:
    return jnp.concatenate([x, jnp.ones((len(x), 1), x.dtype)], axis=1) if augment else x


def _require_key(name: str, x: Converted) -> None:
    if len(x) < 2:
        raise ValueError(f"{name} must hold a query and at least one key, got shape {x.shape}")
