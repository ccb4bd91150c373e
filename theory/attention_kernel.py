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

$P_r$ is Gegenbauer's polynomial with $P_r(1) = 1$. Without augmentation $\lambda_{rs} = 0$ unless $r + s$ is odd, and for even
$s \ge 4$ too, and for even $s$ unless $r = 1$: constants, the $(0, 2)$ and the $(1, 1)$ block cannot be learned by any number
of heads and samples.

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

Finite size. At $M$ heads a kernel entry scatters by $1/\sqrt{M}$, and the risk is that of `theory.random_features`: with $M d$
features for heads without augmentation, by `groups` with it.

Example. The blocks $(r, s)$ of degrees up to 3 that the layer can learn: $r + s$ is odd, and of even $s$ there is $r = 1$
alone.

>>> from closedform.theory import attention_kernel
>>> eigenvalues = attention_kernel.spectrum(dim=8, num_keys=4, num_degrees=4).eigenvalues
>>> (abs(eigenvalues) > 1e-7).astype(int).tolist()
[[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0]]
"""

from collections.abc import Callable
from math import comb, factorial, prod

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .gaussian import arc_cosine, relu_mean, relu_product
from .harmonics import Spectrum, gegenbauers, product_spectrum, sphere_multiplicity, sphere_quadrature
from .random_features import Groups

Profile = Callable[[Array, Array], Array]  # F(t, tau)


def kernel(
    x: Float[Array, "token dim"], y: Float[Array, "other dim"], weight_std: ArrayLike = 1.0, augment: bool = False
) -> Float[Array, ""]:
    """K(x, y) of two examples for heads of mean zero; row 0 is the query. Numbers of keys may differ."""
    return jnp.sum(kernel_parts(x, y, weight_std, augment))


def kernel_parts(
    x: Float[Array, "token dim"], y: Float[Array, "other dim"], weight_std: ArrayLike = 1.0, augment: bool = False
) -> Float[Array, "2"]:
    """The two terms of `kernel`: the features that carry the keys, dim a head, and those of the constant, one a head."""
    scale, correlation = _pair(_tokens(x, augment), _tokens(y, augment), weight_std)
    return _parts(scale * arc_cosine(1, correlation), x, y, augment)


def biased_kernel(
    x: Float[Array, "token dim"],
    y: Float[Array, "other dim"],
    weight_std: ArrayLike,
    mean_strength: ArrayLike,
    augment: bool = False,
) -> Float[Array, ""]:
    """K(x, y) of two examples for heads with mean mean_strength on the diagonal. A bivariate normal cdf for every pair of
    keys makes it some ten times slower than `kernel`."""
    return jnp.sum(biased_kernel_parts(x, y, weight_std, mean_strength, augment))


def biased_kernel_parts(
    x: Float[Array, "token dim"],
    y: Float[Array, "other dim"],
    weight_std: ArrayLike,
    mean_strength: ArrayLike,
    augment: bool = False,
) -> Float[Array, "2"]:
    """The two terms of `biased_kernel`, as those of `kernel_parts`."""
    _, correlation = _pair(_tokens(x, augment), _tokens(y, augment), weight_std)
    (mean_u, std_u), (mean_v, std_v) = (_preactivation(t, weight_std, mean_strength, augment) for t in (x, y))
    return _parts(relu_product(mean_u[:, None], mean_v[None], std_u[:, None], std_v[None], correlation), x, y, augment)


def feature_mean(
    x: Float[Array, "token dim"], weight_std: ArrayLike, mean_strength: ArrayLike, augment: bool = False
) -> Float[Array, "value"]:
    """E phi(x): the mean over heads of one head's features, (1/N) sum_i E[relu] u_i."""
    return relu_mean(*_preactivation(x, weight_std, mean_strength, augment)) @ _tokens(x, augment)[1:] / (len(x) - 1)


def spectrum(dim: int, num_keys: int, weight_std: ArrayLike = 1.0, augment: bool = False, num_degrees: int = 10) -> Spectrum:
    """Eigenvalues and multiplicities, (num_degrees, num_degrees), of `kernel` for unit tokens, and the trace beyond them."""
    profile_fn = _profile(jnp.asarray(weight_std, float), augment)
    return _of_keys(profile_fn, dim, num_keys, num_degrees)


def groups(dim: int, num_keys: int, weight_std: ArrayLike = 0.5, num_nodes: int = 9, num_degrees: int = 10) -> Groups:
    """Spectra of an augmented head's features, those of the keys (blocks of dim) and the constant one, given b = W_(dim, dim).

    All features of a head share b, so that they are not independent of one another; given b, pre-activations are normal with
    mean b, variance 3 s^2 and correlation (t tau + t + tau)/3. b is integrated by Gauss-Hermite quadrature.
    """
    weight_std = jnp.asarray(weight_std, float)
    nodes, weights = (jnp.asarray(part) for part in np.polynomial.hermite_e.hermegauss(num_nodes))
    weights = weights / jnp.sum(weights)

    def of_offset(offset: Array) -> tuple[Spectrum, Spectrum]:
        def moment(t: Array, tau: Array) -> Array:
            std = 3**0.5 * weight_std
            return relu_product(weight_std * offset, weight_std * offset, std, std, (t * tau + t + tau) / 3)

        keys = _of_keys(lambda t, tau: moment(t, tau) * tau, dim, num_keys, num_degrees)
        return keys, _of_keys(moment, dim, num_keys, num_degrees)

    both = jax.lax.map(of_offset, nodes)
    eigenvalues, tails = (jnp.concatenate([getattr(part, name) for part in both]) for name in ("eigenvalues", "tail"))
    sizes = jnp.repeat(jnp.asarray([dim, 1], weights.dtype), num_nodes)
    return Groups(jnp.concatenate([weights, weights]), sizes, eigenvalues, tails)


def target_power(
    dim: int, num_keys: int, correlation_degree: int, direction_degree: int, num_degrees: int = 10
) -> Float[Array, "num_degrees num_degrees"]:
    """Power in the blocks (r, s) of the target mean_i <x_0, x_i>^p <beta, x_i>^q, centred and scaled to unit variance.

    With t^p = sum_r c_r P_r(t) and mu_q(tau) = E <beta, x>^q <beta, x'>^q over directions beta, the power of one key is
    c_r^2 (B_s/B_r) E[P_r P_s mu_q].

    >>> power = target_power(8, 4, 1, 1)
    >>> round(float(power[1, 0]), 4), round(float(power[1, 2]), 4)
    (0.3636, 0.6364)
    """
    p, q = correlation_degree, direction_degree
    if min(p, q) < 0 or not 0 < p + q < num_degrees:
        raise ValueError(f"degrees of a target must not be negative and sum to 1 .. {num_degrees - 1}; got {p} and {q}")
    t, weights = sphere_quadrature(dim, 4 * num_degrees)
    polynomials = gegenbauers(dim, num_degrees, t)
    multiplicity = jnp.asarray([sphere_multiplicity(dim, degree) for degree in range(num_degrees)], t.dtype)
    coefficients = multiplicity * (polynomials @ (weights * t**p))
    product = sum(way * t**j for j, way in enumerate(_pairings(q, dim)))
    overlaps = (polynomials * (weights * product)[None]) @ polynomials.T
    power = (coefficients**2 / multiplicity)[:, None] * multiplicity[None] * overlaps
    power = (power / _keys_of(num_degrees, num_keys)).at[0, 0].set(0)
    return power / jnp.sum(power)


def _pairings(degree: int, dim: int) -> list[float]:
    """E[<beta, x>^q <beta, x'>^q] over unit vectors beta, as coefficients of the powers of <x, x'> (Isserlis)."""

    def double(number: int) -> int:
        return prod(range(number - 1, 0, -2))

    norm = prod(range(dim, dim + 2 * degree, 2))
    return [
        comb(degree, j) ** 2 * factorial(j) * double(degree - j) ** 2 / norm if (degree - j) % 2 == 0 else 0.0
        for j in range(degree + 1)
    ]


def _profile(weight_std: Array, augment: bool) -> Profile:
    """F(t, tau) for unit tokens."""
    if augment:
        return lambda t, tau: (2 * weight_std) ** 2 * arc_cosine(1, (1 + t) * (1 + tau) / 4) * (1 + tau)
    return lambda t, tau: weight_std**2 * arc_cosine(1, t * tau) * tau


def _of_keys(profile_fn: Profile, dim: int, num_keys: int, num_degrees: int) -> Spectrum:
    """The spectrum of (1/N^2) sum_ij F(t, tau_ij), whose trace is [F(1, 1) + (N - 1) E F(1, tau)]/N."""
    blocks = product_spectrum(profile_fn, dim, num_degrees, num_degrees)
    eigenvalues = blocks.eigenvalues / _keys_of(num_degrees, num_keys)
    tau, weights = sphere_quadrature(dim, 80)
    one = jnp.ones((), tau.dtype)
    across = jnp.sum(weights * jax.vmap(profile_fn, (None, 0))(one, tau))
    trace = (profile_fn(one, one) + (num_keys - 1) * across) / num_keys
    return Spectrum(eigenvalues, blocks.multiplicities, trace - jnp.sum(blocks.multiplicities * eigenvalues))


def _keys_of(num_degrees: int, num_keys: int) -> Float[Array, "1 s"]:
    """What divides the blocks of degree s in the keys: N, and 1 for s = 0."""
    return jnp.where(jnp.arange(num_degrees) > 0, num_keys, 1).astype(float)[None]


def _preactivation(
    x: Float[Array, "token dim"], weight_std: ArrayLike, mean_strength: ArrayLike, augment: bool
) -> tuple[Float[Array, "key"], Float[Array, "key"]]:
    """Mean and standard deviation of u_0^T W u_i over heads."""
    u = _tokens(x, augment)
    std = jnp.asarray(weight_std, x.dtype) * jnp.linalg.norm(u[0]) * jnp.linalg.norm(u[1:], axis=1)
    return jnp.asarray(mean_strength, x.dtype) * (x[1:] @ x[0]), std


def _parts(
    moment: Float[Array, "key other_key"], x: Float[Array, "token dim"], y: Float[Array, "other dim"], augment: bool
) -> Float[Array, "2"]:
    """(1/N^2) sum_ij kappa_ij <x_i, y_j>, and (1/N^2) sum_ij kappa_ij if there is a constant."""
    return jnp.stack([jnp.mean(moment * (x[1:] @ y[1:].T)), jnp.mean(moment) if augment else jnp.zeros((), x.dtype)])


def _pair(
    u: Float[Array, "token value"], v: Float[Array, "other value"], weight_std: ArrayLike
) -> tuple[Float[Array, "key other_key"], Float[Array, "key other_key"]]:
    """Product of the standard deviations of u_0^T W u_i and v_0^T W v_j, and their correlation; 0 for a zero token."""
    norms_u, norms_v = jnp.linalg.norm(u, axis=1), jnp.linalg.norm(v, axis=1)
    norms = norms_u[0] * norms_v[0] * (norms_u[1:, None] * norms_v[None, 1:])
    correlation = (u[0] @ v[0]) * (u[1:] @ v[1:].T) / jnp.where(norms > 0, norms, 1)
    return jnp.asarray(weight_std, u.dtype) ** 2 * norms, correlation


def _tokens(x: Float[Array, "token dim"], augment: bool) -> Float[Array, "token value"]:
    return jnp.concatenate([x, jnp.ones((len(x), 1), x.dtype)], axis=1) if augment else x
