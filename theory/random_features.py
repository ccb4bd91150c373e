r"""Ridge regression on finitely many random features: the risk, also of features that come in heads, and on given data.

Formula. $n$ samples, $k$ random features of a kernel with $m_j$ modes of eigenvalue $\lambda_j$ and tail $\tau$, ridge
$\delta$, a target of mean square $v_j$ on those modes, label noise $\sigma^2$. With $L = \lambda/(\lambda + \gamma)$,
$z = \sum m L + \tau/\gamma$, $q = \sum m L^2$, `risk` is

$$
\begin{align*}
n &= z + \frac{\delta}{\kappa}, \qquad k = z + \frac{k \kappa}{\gamma}: \qquad
    \gamma\, (n - z(\gamma)) \left(1 - \frac{z(\gamma)}{k}\right) = \delta \\
\text{test} &= \frac{\displaystyle
    \sum v \left[(1 - L) - \frac{\kappa \lambda}{(\lambda + \gamma)^2} \frac{k}{k - q}\right] + \sigma^2}
    {\displaystyle 1 - \frac{q (k - 2 z) + z^2}{n (k - q)}} \\
\text{train} &= \left(\frac{\delta}{n \kappa}\right)^2 \text{test}
\end{align*}
$$

$M$ heads, each of several blocks of features that are independent given what the head shares: groups $c$ of weight $p_c$,
$n_c$ features a block, eigenvalues $L_c$ and tails $\tau_c$ ($\sum_c p_c L_c$: those of the kernel). With $\ell = \kappa + A$
and $' = d/d\kappa$, `grouped_risk` is

$$
\begin{align*}
A &= \sum_c p_c w_c L_c, \qquad
    \frac{1}{w_c} = 1 + \frac{1}{n_c M} \left[\sum \frac{m L_c}{\ell} + \frac{\tau_c}{\kappa}\right] \\
n &= \sum \frac{m A}{\ell} + \frac{1}{\kappa} \left[\delta + \sum_c p_c w_c \tau_c\right] \\
Q &= \sum \frac{m (A^2 + \kappa^2 A')}{\ell^2} + \sum_c p_c w_c' \tau_c \\
\text{test} &= \frac{n}{n - Q} \left[\sum \frac{v \kappa^2 (1 + A')}{\ell^2} + \sigma^2\right], \qquad
    \text{train} = \left(\frac{\delta}{n \kappa}\right)^2 \text{test}
\end{align*}
$$

Given data with kernel matrix $K$ ($n \times n$), the row $K_x$ of a test point and $G = (K + \gamma)^{-1}$, over the features
`given_data` is

$$
\begin{align*}
\delta &= \gamma \left(1 - \frac{\operatorname{tr}[K G]}{k}\right), \qquad
    \gamma' = \frac{d\gamma}{d\delta} = \frac{1}{1 - \operatorname{tr}[(K G)^2]/k} \\
\operatorname{mean} f(x) &= K_x G y \\
\operatorname{var} f(x) &= \frac{\gamma'}{k} (y^\top G K G y)
    \left(K_{xx} - 2 K_x G K_x^\top + K_x G K G K_x^\top\right) \\
\text{train} &= \frac{\gamma^2}{n} \left[|G y|^2 + \frac{\gamma'}{k} \operatorname{tr}[K G^2]\, (y^\top G K G y)\right]
\end{align*}
$$

Regime. $n$ and $k$ (or $M$) $\to \infty$ at fixed ratios, modes and features that behave as independent Gaussians: features
iid with the given covariance. $k = \infty$ is allowed and is kernel ridge regression; groups: $p = 1$, $n_c = 1$, $M = k$ is
`risk`.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $n$, $k$ | `num_samples`, `num_features` | `()` | samples; features (real numbers) |
| $M$ | `num_heads` | `()` | heads (a real number) |
| $\delta$ | `ridge` | `()` | ridge, $\ge 0$ |
| $\lambda$, $m$, $\tau$ | `spectrum` | `mode`, `()` | of the kernel (see `harmonics`) |
| $v$ | `power` | `mode` | target's mean square by mode |
| $\sigma^2$ | `noise` | `()` | variance of the label noise |
| $\kappa$, $\gamma$ | `Risk.kappa`, `Risk.gamma` | `()` | effective ridges: of the samples; of samples and features |
| $p_c$, $n_c$ | `Groups.weights`, `.block_size` | `group` | weight of a group; its features in one head's block |
| $L_c$ | `Groups.eigenvalues` | `group mode` | eigenvalues of the kernel of group $c$ |
| $w_c$ | `kappa/Risk.gamma` | `group` | what finitely many heads leave of group $c$, in $(0, 1]$ |
| $K$ | `gram` | `sample sample` | kernel matrix of the samples |
| $K_x$ | `cross` | `test sample` | of test points with samples |
| $K_{xx}$ | `diagonal` | `test` | of each test point with itself |

Factors. Features carry $1/\sqrt{k}$, or heads $1/\sqrt{M}$, so that the kernel is their limit; the ridge is not divided by $n$.
The test error is that on noisy labels. The tail belongs into $z$: added to the ridge it would miss that it needs features too.

Source. `risk`: J. Simon, D. Karkada, N. Ghosh, M. Belkin, arXiv 2311.14646, checked against its public code [C]; proved for
general features by L. Defilippis, B. Loureiro, T. Misiakiewicz, arXiv 2405.15699. Mean and effective ridge of `given_data`:
A. Jacot, B. Simsek, F. Spadaro, C. Hongler, F. Gabriel, arXiv 2002.08404. Recalled, bodies not re-read [Q]. Derived here [D]:
the tail, `grouped_risk`, the variance and training error of `given_data`, the forms without cancellation, the methods.

Finite size. `risk` with $k = M d$ against heads of random-feature attention without augmentation ($d = 8$, 4 keys): mostly
within 5 %, at worst 9 %; `grouped_risk` with augmentation: 0 to 13 % low, worst at $M d = n$. `given_data` is for Gaussian
features: corrections of order $1/k$. Near the peak ($k$ close to $n$, small ridge) single draws scatter widely. Ridge 0 is the
limit, if the modes outnumber samples and features; it is infinite where these are equal.

Example. Double descent: with little ridge the test error peaks where there are as many features as the 100 samples.

>>> import jax.numpy as jnp
>>> from closedform.theory.harmonics import Spectrum
>>> from closedform.theory.random_features import risk
>>> spectrum = Spectrum(jnp.array([1.0, 0.1]), jnp.array([10.0, 1000.0]), 0.0)
>>> power, noise = jnp.array([1.0, 0.0]), 0.1
>>> curve = [risk(100, k, 0.1, spectrum, power, noise) for k in (25, 50, 100, 200, 400, jnp.inf)]
>>> [round(float(one.test), 1) for one in curve]
[1.2, 1.5, 9.4, 1.0, 0.6, 0.4]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from .gaussian import as_floats
from .harmonics import Spectrum
from .kernel_regression import check_spectrum, descend_to_root, effective_ridge, require_not_negative, require_positive, shares

Number = Real[ArrayLike, ""]


class Risk(NamedTuple):
    """Ridge regression on random features, averaged over data, noise and features."""

    test: Float[Array, ""]  # mean square error on fresh noisy labels: noise included
    train: Float[Array, ""]  # mean square residual on the training labels
    kappa: Float[Array, ""]  # effective ridge of the samples: train/test = (ridge/(n kappa))^2
    gamma: Float[Array, "*group"]  # kappa/w >= kappa: a mode is learned if lambda >> gamma; of each group


class Groups(NamedTuple):
    """Features of a head in groups: given what all features of the head share, those of a block are independent of others."""

    weights: Float[Array, "group"]  # p_c
    block_size: Float[Array, "group"]  # n_c
    eigenvalues: Float[Array, "group *mode"]  # L_c
    tails: Float[ArrayLike, "*#group"] = 0.0  # tau_c, trace of the modes left out


class GivenData(NamedTuple):
    """Random features on given data, over the draw of the features. Test error: mean((y_test - mean)^2 + variance)."""

    mean: Float[Array, "test *target"]  # E f(x)
    variance: Float[Array, "test *target"]  # var f(x)
    train: Float[Array, "*target"]  # E of the mean square residual on the training labels
    gamma: Float[Array, "*group"]  # effective ridge, of every group of features


class GramModes(NamedTuple):
    """What `given_data` needs of the data, after one eigendecomposition of the kernel matrix."""

    eigenvalues: Float[Array, "sample"]  # of gram
    cross: Float[Array, "test sample"]  # K_x in the eigenvectors
    diagonal: Float[Array, "test"]  # K_xx
    y: Float[Array, "sample *target"]  # targets in the eigenvectors


# -------------------------------------------------------------------------------------------------- independent features


def risk(
    num_samples: Number,
    num_features: Number,
    ridge: Number,
    spectrum: Spectrum,
    power: Real[ArrayLike, "*mode"],
    noise: Number = 0.0,
) -> Risk:
    """Errors of ridge regression on num_features independent features. Differentiable; vmap any argument.

    >>> spectrum = Spectrum(jnp.ones(1), jnp.full(1, 1e6), 0.0)  # so many modes that nothing is learned
    >>> [round(float(risk(100, k, 0.0, spectrum, jnp.ones(1)).test), 3) for k in (50, 200)]  # n/(n - k), k/(k - n)
    [2.0, 2.0]
    """
    n, k, delta, sigma2, v, *rest = as_floats(num_samples, num_features, ridge, noise, power, *spectrum)
    eigenvalues, multiplicities, tail = check_spectrum(Spectrum(*rest), v)
    require_not_negative(num_samples=num_samples, ridge=ridge, noise=noise)
    require_positive(num_features=num_features)
    none, n = n == 0, jnp.where(n > 0, n, 1)

    def degrees(gamma: Array) -> tuple[Array, Array, Array]:
        """z, q, and z - q without cancellation."""
        learned, left = shares(eigenvalues, gamma)
        beyond = tail / jnp.where(gamma > 0, gamma, 1)
        q = jnp.sum(multiplicities * learned**2)
        return jnp.sum(multiplicities * learned) + beyond, q, jnp.sum(multiplicities * learned * left) + beyond

    def excess(gamma: Array) -> Array:
        z, _, _ = degrees(gamma)
        return gamma * (n - z) * (1 - z / k) - delta

    def newton(gamma: Array) -> Array:
        z, q, spread = degrees(gamma)
        # d(gamma z)/dgamma = q; the excess is convex in gamma where z < min(n, k)
        slope = (n - q) * (1 - z / k) + (n - z) * spread / k
        return (gamma * spread * (1 - z / k + (n - z) / k) + delta) / slope

    trace = jnp.sum(multiplicities * eigenvalues) + tail
    # z <= trace/gamma: at the larger root of (n gamma - trace)(gamma - trace/k) = delta gamma the excess is not negative
    half = ((1 + n / k) * trace + delta) / (2 * n)
    gamma = descend_to_root(excess, newton, half + jnp.sqrt(jnp.maximum(half**2 - trace**2 / (n * k), 0)))

    learned, left = shares(eigenvalues, gamma)
    z, _, spread = degrees(gamma)
    # n - z and 1 - z/k, of product delta/gamma: the smaller one from the larger
    product = delta / jnp.where(gamma > 0, gamma, 1)
    more_features = k >= n
    samples, features = n - z, 1 - z / k
    rooted = gamma > 0
    free_samples = jnp.where(more_features & rooted, product / jnp.where(more_features & rooted, features, 1), samples)
    free_features = jnp.where(~more_features & rooted, product / jnp.where(~more_features & rooted, samples, 1), features)
    rest_features = free_features + spread / k  # 1 - q/k
    bias = jnp.sum(v * (left**2 + left * learned * spread / k / rest_features))
    # [(n - q)(k - q) - (z - q)^2]/(n (k - q)), all of whose terms are positive
    denominator = (free_samples * (free_features + spread / k) + spread * free_features) / (n * rest_features)
    test = (bias + sigma2) / denominator
    result = Risk(test, (free_samples / n) ** 2 * test, gamma * free_features, gamma)
    return _unless_no_samples(none, result, jnp.sum(v) + sigma2, delta / (delta + trace))


# --------------------------------------------------------------------------------------------------- features of heads


def grouped_risk(
    num_samples: Number,
    num_heads: Number,
    ridge: Number,
    groups: Groups,
    multiplicities: Real[ArrayLike, "*mode"],
    power: Real[ArrayLike, "*mode"],
    noise: Number = 0.0,
) -> Risk:
    """Errors of ridge regression on num_heads heads whose features come in `groups`. Differentiable; vmap any argument.

    All terms of the sums are positive, because multiplicities reach 1e8 and differences would be rounding.

    >>> one = Groups(jnp.ones(1), jnp.full(1, 8.0), jnp.array([[1.0, 0.1]]))
    >>> counts, power = jnp.array([8.0, 64.0]), jnp.array([0.5, 0.5])
    >>> blocks = grouped_risk(100, 5, 0.1, one, counts, power)
    >>> bool(jnp.allclose(blocks.test, risk(100, 40, 0.1, Spectrum(one.eigenvalues[0], counts, 0.0), power).test, rtol=1e-4))
    True
    """
    n, M, delta, sigma2, m, v, *rest = as_floats(num_samples, num_heads, ridge, noise, multiplicities, power, *groups)
    weights, block_size, eigenvalues, tails = rest
    _check_groups(Groups(*rest), m, v)
    require_not_negative(num_samples=num_samples, ridge=ridge, noise=noise)
    require_positive(num_heads=num_heads)
    none, n = n == 0, jnp.where(n > 0, n, 1)
    m, v, L = m.ravel(), v.ravel(), eigenvalues.reshape(len(weights), -1)
    tails, features = jnp.broadcast_to(tails, weights.shape), block_size * M

    # Unknowns kappa and U_c = n_c M (gamma_c - kappa), gamma = kappa/w, ratio = l/kappa: all stay regular at kappa = 0.
    def parts(unknowns: Array, weights: Array, features: Array, L: Array) -> tuple[Array, Array, Array, Array]:
        kappa, U = unknowns[0], unknowns[1:]
        gamma = kappa + U / features
        return kappa, U, gamma, 1 + (weights / gamma) @ L

    def fixed_point_map(unknowns: Array, problem: tuple) -> Array:
        n, delta, m, weights, features, L, tails = problem
        kappa, U, gamma, ratio = parts(unknowns, weights, features, L)
        after = (delta + jnp.sum(weights * kappa * U / gamma)) / n  # sum p U/gamma = sum p n_c M (1 - w) = n - delta/kappa
        return jnp.concatenate([after[None], L @ (m / ratio) + tails])

    traces = L @ m + tails
    above = jnp.concatenate([((delta + weights @ traces) / n)[None], traces])
    unknowns = descend_to_fixed_point(fixed_point_map, above, (n, delta, m, weights, features, L, tails))
    kappa, U, gamma, ratio = parts(unknowns, weights, features, L)
    free = jnp.where(delta > 0, delta / jnp.where(delta > 0, kappa, 1), n - jnp.sum(weights * U / gamma))  # delta/kappa

    # w = kappa/gamma solves its equation at every kappa, so w' and e = w/kappa - w' do linear ones, of positive right sides
    once = m / ratio**2
    coupling = (L * once[None]) @ L.T * weights[None] / (gamma**2 * features)[:, None]
    system = jnp.eye(len(weights), dtype=L.dtype) - coupling  # an M-matrix: its inverse is positive
    slopes = jnp.linalg.solve(system, (L @ once + tails) / (gamma**2 * features))
    rests = jnp.linalg.solve(system, kappa / gamma**2)
    # n - Q = delta/kappa + sum m kappa (A - kappa A')/l^2 + tails
    denominator = (free + jnp.sum(weights * rests * (L @ once + tails))) / n
    test = (jnp.sum(v * (1 + (weights * slopes) @ L) / ratio**2) + sigma2) / denominator
    result = Risk(test, (free / n) ** 2 * test, kappa, gamma)
    return _unless_no_samples(none, result, jnp.sum(v) + sigma2, delta / (delta + weights @ traces))


def _unless_no_samples(none: Array, result: Risk, total: Array, residual: Array) -> Risk:
    """The result, or its limit as n -> 0: all power and noise, and n kappa tends to the ridge and the trace."""
    limit = Risk(total, residual**2 * total, jnp.full_like(result.kappa, jnp.inf), jnp.full_like(result.gamma, jnp.inf))
    return Risk(*(jnp.where(none, at_zero, value) for at_zero, value in zip(limit, result, strict=True)))


def descend_to_fixed_point(map_fn, above: Float[Array, "unknown"], problem) -> Float[Array, "unknown"]:
    """The largest x >= 0 with x = map_fn(x, problem), for a concave rising map and a point `above` that it does not raise.

    Newton's method falls towards it in every component; it ends where rounding stops the fall. Differentiable in `problem`.
    Linear systems are solved in units of x, whose components differ by many orders.
    """

    def newton(x: Array) -> Array:
        unit = jnp.where(x > 0, x, 1)
        slopes = jax.jacfwd(map_fn)(x, fixed) * unit[None] / unit[:, None]
        return jnp.maximum(x - unit * jnp.linalg.solve(identity - slopes, (x - map_fn(x, fixed)) / unit), 0)

    def falling(state: tuple) -> Array:
        point, after, steps = state
        return jnp.any(after < point * (1 - 16 * jnp.finfo(point.dtype).eps)) & (steps < 100)

    def step(state: tuple) -> tuple:
        return state[1], newton(state[1]), state[2] + 1

    def tangent_solve(linear_fn, value: Array) -> Array:
        return jnp.linalg.solve(jax.jacfwd(linear_fn)(value), value)

    start, fixed = jax.lax.stop_gradient((above, problem))
    identity = jnp.eye(len(start), dtype=start.dtype)
    root = jax.lax.while_loop(falling, step, (jnp.full_like(start, jnp.inf), start, 0))[1]
    # the root of the problem nearby is unit * ratio, where ratio solves an equation of known solution here
    unit = jnp.where(root > 0, root, 1)
    ratio = jax.lax.custom_root(lambda r: r - map_fn(unit * r, problem) / unit, root / unit, lambda _, r: r, tangent_solve)
    return unit * ratio


def _check_groups(groups: Groups, multiplicities: Array, power: Array) -> None:
    count, modes = groups.eigenvalues.shape[:1], groups.eigenvalues.shape[1:]
    if groups.weights.shape != count or groups.block_size.shape != count:
        raise ValueError(
            f"weights and block_size must have the shape (group,), {count} as of eigenvalues; "
            f"got {groups.weights.shape} and {groups.block_size.shape}"
        )
    if multiplicities.shape != modes or power.shape != modes:
        raise ValueError(
            f"multiplicities and power must have the shape of the modes, {modes} as of eigenvalues; "
            f"got {multiplicities.shape} and {power.shape}"
        )


# -------------------------------------------------------------------------------------------------------- on given data


def given_data(
    gram: Real[ArrayLike, "sample sample"],
    cross: Real[ArrayLike, "test sample"],
    diagonal: Real[ArrayLike, "test"],
    y: Real[ArrayLike, "sample *target"],
    ridge: Number,
    num_features: Number,
) -> GivenData:
    """Ridge regression on num_features features, Gaussian with the covariance `gram` (cross, diagonal at the test points).

    Mean and variance over the features of the prediction at each test point, and the expected training error. Under vmap over
    ridge and num_features the eigendecomposition is done once; `gram_modes` and `given_modes` are the two steps.

    >>> gram = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    >>> exact = given_data(gram, gram[:1], gram[0, :1], jnp.array([3.0, 0.0]), 1.0, jnp.inf)  # kernel ridge regression
    >>> round(float(exact.mean[0]), 4), round(float(exact.variance[0]), 4), round(float(exact.train), 4)
    (1.875, 0.0, 0.7031)
    """
    return given_modes(gram_modes(gram, cross, diagonal, y), ridge, num_features)


def gram_modes(
    gram: Real[ArrayLike, "sample sample"],
    cross: Real[ArrayLike, "test sample"],
    diagonal: Real[ArrayLike, "test"],
    y: Real[ArrayLike, "sample *target"],
) -> GramModes:
    """The data in the eigenvectors of `gram`: the costly part of `given_data`, for all ridges and numbers of features."""
    matrix, rows, squares, targets = as_floats(gram, cross, diagonal, y)
    eigenvalues, vectors = jnp.linalg.eigh(matrix)
    return GramModes(jnp.maximum(eigenvalues, 0), rows @ vectors, squares, vectors.T @ targets)


def given_modes(modes: GramModes, ridge: Number, num_features: Number) -> GivenData:
    """`given_data` after `gram_modes`. Differentiable in ridge and num_features."""
    s, cross, diagonal, targets, delta, k = as_floats(*modes, ridge, num_features)
    require_not_negative(ridge=ridge)
    require_positive(num_features=num_features)
    y = targets.reshape(len(s), -1)
    # tr[K G] = k - k delta/gamma: the equation of kernel regression with k samples; that of the kernel as k -> inf
    finite = jnp.isfinite(k)
    some = jnp.where(finite, k, 1)
    gamma = jnp.where(finite, effective_ridge(some, some * delta, Spectrum(s, jnp.ones_like(s), jnp.zeros_like(delta))), delta)
    learned, _ = shares(s, gamma)  # K G
    inverse = 1 / jnp.where(s + gamma > 0, s + gamma, jnp.inf)  # G
    steepness = 1 / (k - jnp.sum(learned**2))  # gamma'/k
    energy = steepness * jnp.sum((learned * inverse)[:, None] * y**2, axis=0)
    mean = cross @ (inverse[:, None] * y)
    conditional = diagonal - cross**2 @ (inverse * (2 - learned))
    rest = jnp.sum((inverse[:, None] * y) ** 2, axis=0) + jnp.sum(learned * inverse) * energy
    shape = targets.shape[1:]
    variance = jnp.maximum(conditional, 0)[:, None] * energy[None]
    train = gamma**2 / len(s) * rest
    return GivenData(mean.reshape(-1, *shape), variance.reshape(-1, *shape), train.reshape(shape), gamma)


def grouped_given_data(
    grams: Float[Array, "group sample sample"],
    crosses: Float[Array, "group test sample"],
    diagonals: Float[Array, "group test"],
    y: Float[Array, "sample *target"],
    ridge: Number,
    num_heads: Number,
    block_size: Real[ArrayLike, "group"],
) -> GivenData:
    """`given_data` for heads whose features come in groups of block_size, with the kernel sum_c grams[c]; gamma per group.

    Every feature of group c is Gaussian with covariance grams[c]/block_size[c], independent of all others. num_heads = inf is
    kernel ridge regression. Some ten inversions of an n x n matrix.

    >>> gram = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    >>> one = grouped_given_data(gram[None], gram[None], jnp.diag(gram)[None], jnp.array([3.0, 0.0]), 1.0, 5, jnp.ones(1))
    >>> alone = given_data(gram, gram, jnp.diag(gram), jnp.array([3.0, 0.0]), 1.0, 5)
    >>> all(bool(jnp.allclose(a, b, rtol=1e-5)) for a, b in zip(one, alone, strict=True))
    True
    """
    grams, crosses, diagonals, targets, delta, M, sizes = as_floats(grams, crosses, diagonals, y, ridge, num_heads, block_size)
    require_not_negative(ridge=ridge)
    require_positive(num_heads=num_heads)
    n, features, y = len(targets), sizes * M, targets.reshape(len(targets), -1)
    identity = jnp.eye(n, dtype=y.dtype)

    # G = (sum_c w_c K_c + delta)^-1 with 1/w_c = 1 + tr[K_c G]/(n_c M); here gamma_c = delta/w_c and U_c = delta tr[K_c G]
    def inverse(gamma: Array, grams: Array) -> Array:
        return jnp.linalg.inv(identity + jnp.einsum("c,cab->ab", 1 / gamma, grams))  # delta G

    def fixed_point_map(U: Array, problem: tuple) -> Array:
        delta, features, grams = problem
        return jnp.einsum("cab,ba->c", grams, inverse(delta + U / features, grams))

    traces = jnp.einsum("caa->c", grams)
    U = descend_to_fixed_point(fixed_point_map, traces, (delta, features, grams))
    gamma = delta + U / features
    D = inverse(gamma, grams)
    u, across = D @ y, crosses / gamma[:, None, None]  # w_c/delta times the kernels
    a = jnp.sum(across, axis=0) @ D
    mean = a @ y

    # E[R B R] = G (B + sum_c w_c^2 alpha_c K_c) G for the resolvent R, alpha_c = tr[K_c E[R B R]]/(n_c M)
    scaled = grams / gamma[:, None, None]
    products = jnp.einsum("cab,bd->cad", scaled, D)
    coupling = jnp.einsum("cab,dba->cd", products, products) / features[:, None] * (gamma[:, None] / gamma[None])
    system = jnp.eye(len(gamma), dtype=y.dtype) - coupling
    energy = jnp.einsum("at,cab,bt->ct", u, scaled, u) / gamma[:, None]
    conditional = diagonals - 2 * jnp.einsum("cxa,xa->cx", crosses, a) + jnp.einsum("xa,cab,xb->cx", a, grams, a)
    alpha = jnp.linalg.solve(system, jnp.maximum(conditional, 0) / features[:, None])
    variance = alpha.T @ energy
    # the residual is delta R y: the same with B = 1
    spread = jnp.linalg.solve(system, jnp.einsum("cab,ba->c", grams, D @ D) / features)
    train = (jnp.sum(u**2, axis=0) + spread @ energy) / n
    shape = targets.shape[1:]
    return GivenData(mean.reshape(-1, *shape), variance.reshape(-1, *shape), train.reshape(shape), gamma)
