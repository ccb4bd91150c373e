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
>>> from closedform.theory.kernels.harmonics import Spectrum
>>> from closedform.theory.random_matrices.random_features import risk
>>> spectrum = Spectrum(jnp.array([1.0, 0.1]), jnp.array([10.0, 1000.0]), 0.0)
>>> power, noise = jnp.array([1.0, 0.0]), 0.1
>>> curve = [risk(100, k, 0.1, spectrum, power, noise) for k in (25, 50, 100, 200, 400, jnp.inf)]
>>> [round(float(one.test), 1) for one in curve]
[1.2, 1.5, 9.4, 1.0, 0.6, 0.4]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..kernels.harmonics import Spectrum
from ..kernels.kernel_regression import (
    POSITIVE,
    balanced_trace,
    in_units,
    infinite_or,
    left_over,
    rates,
    smallest_ridge,
    unlearned,
    zero_or,
)
from ..numerics.arguments import FINITE, ArrayLike, above, at_least, each, takes
from ..numerics.symmetric import cleared, diagonal_form, multiplied, solved

Number = Real[ArrayLike, ""]
NOT_NEGATIVE = at_least(0, finite=True)


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

    gram: Float[Array, "sample sample"]  # K in its eigenvectors: diagonal, but its derivative is not
    cross: Float[Array, "test sample"]  # K_x in the eigenvectors
    diagonal: Float[Array, "test"]  # K_xx
    y: Float[Array, "sample *target"]  # targets in the eigenvectors


# -------------------------------------------------------------------------------------------------- independent features


@takes(
    num_samples=at_least(0),
    num_features=above(0),
    ridge=at_least(0),
    spectrum=POSITIVE,
    power=NOT_NEGATIVE,
    noise=NOT_NEGATIVE,
)
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
    >>> [round(float(risk(100, k, 0.0, spectrum, jnp.ones(1)).test), 3) for k in (50, 100, 200)]  # n/(n - k), k/(k - n)
    [2.0, inf, 2.0]
    """
    unit, n, delta, modes = in_units(num_samples, ridge, spectrum)
    m, far, finite = modes.multiplicities, delta == 0, jnp.isfinite(num_features)
    some_n, k = jnp.where(n > 0, n, 1), jnp.where(finite, num_features, 1)
    # per sample or per feature, of whichever there are fewer, p: then z = p y, n = p/a and k = p/b
    fewer = n <= num_features
    p, a, a_rest = jnp.where(fewer, n, k), jnp.where(fewer, 1, k / some_n), jnp.where(fewer, 0, (some_n - k) / some_n)
    b = jnp.where(fewer, jnp.where(finite, n / k, 0), 1)
    b_rest = jnp.where(fewer, jnp.where(finite, (k - n) / k, 1), 0)
    free = delta * a + smallest_ridge(n)
    trace = balanced_trace(p, free, modes, (a, a_rest), (b, b_rest))  # p gamma
    rate, left = rates(p, modes, trace)
    spread = jnp.sum(m * rate * left) + modes.tail / trace  # (z - q)/p
    u, w = _left_over(p, free, modes, trace, (a, a_rest), (b, b_rest), fewer)  # (n - z)/n, (k - z)/k
    rest_features = w + b * spread  # 1 - q/k
    bias = jnp.sum(power * (left**2 + left * p * rate * (b * spread / rest_features)))
    # [(n - q)(k - q) - (z - q)^2]/(n (k - q)), all of whose terms are positive
    test = (bias + noise) / (u + a * spread * (w / rest_features))
    everything = jnp.isinf(num_samples)
    return _risk(
        num_samples,
        ridge,
        infinite_or(far, test, jnp.sum(power) + noise),
        zero_or(far, u) ** 2 * test,
        unit * zero_or(far, trace * w) / jnp.where(p > 0, p, 1),
        jnp.where(everything & ~finite, 0, unit * zero_or(far | everything, trace) / jnp.where(p > 0, p, 1)),
    )


def _left_over(p: Array, free: Array, modes: Spectrum, trace: Array, a: tuple, b: tuple, fewer: Array) -> tuple[Array, Array]:
    """u = (n - z)/n and w = (k - z)/k, of product free/trace: as they are where that keeps digits, or both from the product."""
    rest, subtracted = left_over(p, modes, trace)
    h, subtracted = rest - modes.tail / trace, subtracted + modes.tail / trace
    # the smaller one, s, and the other, r + b s
    fixed, slope = jnp.where(fewer, b[1], a[1]), jnp.where(fewer, b[0], a[0])
    small = 2 * free / trace / (fixed + jnp.sqrt(fixed**2 + 4 * slope * free / trace))
    large = fixed + slope * small
    direct = subtracted <= h
    u = jnp.where(direct, a[0] * h + a[1], jnp.where(fewer, small, large))
    w = jnp.where(direct, b[0] * h + b[1], jnp.where(fewer, large, small))
    return u, w


def _risk(num_samples: Array, ridge: Array, test: Array, train: Array, kappa: Array, gamma: Array) -> Risk:
    """With the effective ridges of no samples, of an infinite ridge, and of infinitely many samples."""
    none = (num_samples == 0) | jnp.isinf(ridge)
    kappa = jnp.where(none, jnp.inf, jnp.where(jnp.isinf(num_samples), 0, kappa))
    return Risk(test, train, kappa, jnp.where(none, jnp.inf, gamma))


# --------------------------------------------------------------------------------------------------- features of heads


@takes(
    num_samples=at_least(0),
    num_heads=above(0),
    ridge=at_least(0),
    groups=each(Groups, NOT_NEGATIVE, above(0, finite=True), NOT_NEGATIVE, NOT_NEGATIVE),
    multiplicities=NOT_NEGATIVE,
    power=NOT_NEGATIVE,
    noise=NOT_NEGATIVE,
)
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

    All terms of the sums are positive, because multiplicities reach 1e8 and differences would be rounding. Slopes at ridge 0
    are right where modes outnumber the samples or the features.

    >>> one = Groups(jnp.ones(1), jnp.full(1, 8.0), jnp.array([[1.0, 0.1]]))
    >>> counts, power = jnp.array([8.0, 64.0]), jnp.array([0.5, 0.5])
    >>> blocks = grouped_risk(100, 5, 0.1, one, counts, power)
    >>> bool(jnp.allclose(blocks.test, risk(100, 40, 0.1, Spectrum(one.eigenvalues[0], counts, 0.0), power).test, rtol=1e-4))
    True
    """
    p, m, v = groups.weights, multiplicities.ravel(), power.ravel()
    whole = Spectrum(jnp.tensordot(p, groups.eigenvalues, 1), multiplicities, p @ jnp.broadcast_to(groups.tails, p.shape))
    unit, n, delta, _ = in_units(num_samples, ridge, whole)
    L, tails = groups.eigenvalues.reshape(len(p), -1) / unit, jnp.broadcast_to(groups.tails, p.shape) / unit
    least = float(jnp.finfo(n.dtype).eps)  # of u = delta/(n kappa), and the smallest ridge is its square
    free, far = at_least_ridge(delta, least**2), delta == 0
    few = (1 / groups.block_size) * (1 / num_heads)  # 1/(n_c M), with slopes where it is 0

    # Unknowns K = n kappa and U_c = n_c M (gamma_c - kappa), with G = n gamma and ratio = l/kappa: regular at n = 0.
    def parts(unknowns: Array, n: Array, weights: Array, few: Array, L: Array) -> tuple[Array, Array, Array, Array]:
        K, U = unknowns[0], unknowns[1:]
        G = K + n * (U * few)
        return K, U, G, 1 + n * ((weights / G) @ L)

    def fixed_point_map(unknowns: Array, problem: tuple) -> Array:
        n, free, m, weights, few, L, tails = problem
        K, U, G, ratio = parts(unknowns, n, weights, few, L)
        after = free + jnp.sum(weights * U * (K / G))  # sum p U/gamma = sum p n_c M (1 - w) = n - delta/kappa
        return jnp.concatenate([after[None], L @ (m / ratio) + tails])

    traces = L @ m + tails
    start = jnp.concatenate([(free + p @ traces)[None], traces])
    unknowns = descend_to_fixed_point(fixed_point_map, start, (n, free, m, p, few, L, tails))
    K, U, G, ratio = parts(unknowns, n, p, few, L)
    w, left, rate = K / G, 1 / ratio, L / (G[:, None] * ratio[None])
    rest = 1 - jnp.sum(p * U / G)  # delta/(n kappa)
    u = jnp.where(rest > 0.25, rest, free / K)

    # w = kappa/gamma solves its equation at every kappa, so gamma w' and w - kappa w' do linear ones, of positive right sides
    spread = rate @ (left * m) + tails / G
    coupling = (n * rate * m[None]) @ (n * rate * p[:, None]).T * few[:, None]
    slopes, rests = solved_by_rows(coupling, w + n * spread * few, jnp.stack([n * spread * few, w], axis=1)).T
    # n - Q = delta/kappa + sum m kappa (A - kappa A')/l^2 + tails
    bias = jnp.sum(v * left * (left + n * ((p * slopes) @ rate)))
    total = jnp.sum(power) + noise
    test = infinite_or(far, (bias + noise) / (u + jnp.sum(p * rests * spread)), total, 64 * least)
    # as many samples as features and as modes: the limit is approached as the third root of the ridge
    num_modes = jnp.sum(jnp.where(p @ L > 0, m, 0)) + jnp.where(p @ tails > 0, jnp.inf, 0)
    counts = jnp.stack([p @ groups.block_size * num_heads, num_modes])
    level = far & jnp.all(jnp.abs(counts - n) <= 8 * least * n) & (bias + noise > least**0.5 * total)
    some_n, everything = jnp.where(n > 0, n, 1), jnp.isinf(num_samples)
    gamma = jnp.where(everything & (few == 0), 0, unit * zero_or(far | everything, G / some_n))
    return _risk(
        num_samples,
        ridge,
        jnp.where(level, jnp.inf, test),
        jnp.where(level | jnp.isinf(test), 0, zero_or(far, u, 64 * least) ** 2 * test),
        unit * zero_or(far, K) / some_n,
        gamma,
    )


def at_least_ridge(ridge: Array, least: float) -> Array:
    """The ridge, or `least` where it is smaller: with a slope of 1 there too."""
    return ridge + jax.lax.stop_gradient(jnp.maximum(least - ridge, 0))


def solved_by_rows(coupling: Array, rest: Array, right: Array) -> Array:
    """The x of (1 - C) x = right, where all of C, right and of the sums of the rows of 1 - C, given as `rest`, are positive."""
    apart = coupling * (1 - jnp.eye(len(rest), dtype=rest.dtype))
    return jnp.linalg.solve(jnp.diag(rest + jnp.sum(apart, axis=1)) - apart, right)


def descend_to_fixed_point(map_fn, above: Float[Array, "unknown"], problem) -> Float[Array, "unknown"]:
    """The largest x >= 0 with x = map_fn(x, problem), for a concave rising map and a point `above` that it does not raise.

    Newton's method falls towards it in every component; it ends where rounding stops the fall. Differentiable in `problem`.
    Linear systems are solved in units of x, whose components differ by many orders.
    """

    def newton(x: Array) -> Array:
        unit = jnp.where(x > 0, x, 1)
        slopes = jax.jacfwd(map_fn)(x, fixed) * unit[None] / unit[:, None]
        after = x - unit * jnp.linalg.solve(identity - slopes, (x - map_fn(x, fixed)) / unit)
        # where rounding has the better of it the map itself, which falls too, but not below the root
        return jnp.where((after > 0) & (after < jnp.inf), after, map_fn(x, fixed))

    def falling(state: tuple) -> Array:
        point, after, steps = state
        return jnp.any(after < point * (1 - 16 * jnp.finfo(point.dtype).eps)) & (steps < 400)

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


# -------------------------------------------------------------------------------------------------------- on given data


DATA = dict(gram=FINITE, cross=FINITE, diagonal=NOT_NEGATIVE, y=FINITE)


@takes(**DATA, ridge=at_least(0), num_features=above(0))
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
    ridge and num_features the eigendecomposition is done once; `gram_modes` and `given_modes` are the two steps, and say what
    counts as rounding.

    >>> gram = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    >>> exact = given_data(gram, gram[:1], gram[0, :1], jnp.array([3.0, 0.0]), 1.0, jnp.inf)  # kernel ridge regression
    >>> round(float(exact.mean[0]), 4), round(float(exact.variance[0]), 4), round(float(exact.train), 4)
    (1.875, 0.0, 0.7031)
    """
    return given_modes(gram_modes(gram, cross, diagonal, y), ridge, num_features)


@takes(**DATA)
def gram_modes(
    gram: Real[ArrayLike, "sample sample"],
    cross: Real[ArrayLike, "test sample"],
    diagonal: Real[ArrayLike, "test"],
    y: Real[ArrayLike, "sample *target"],
) -> GramModes:
    """The data in the eigenvectors of `gram`: the costly part of `given_data`, for all ridges and numbers of features.

    Eigenvalues up to n eps times the largest are rounding and count as 0, and so do the components of `cross` there: features
    of variance 0 covary with nothing. One that is more negative is refused where `gram` is known.
    """
    form, vectors = diagonal_form(gram)
    return GramModes(form, cleared(cross @ vectors, jnp.diagonal(form) == 0), diagonal, vectors.T @ y)


@takes(modes=each(GramModes, FINITE, FINITE, NOT_NEGATIVE, FINITE), ridge=at_least(0), num_features=above(0))
def given_modes(modes: GramModes, ridge: Number, num_features: Number) -> GivenData:
    """`given_data` after `gram_modes`. Differentiable in all arguments, in the kernel matrix once."""
    s, cross, y = jnp.diagonal(modes.gram), modes.cross, modes.y.reshape(len(modes.y), -1)
    finite = jnp.isfinite(num_features)
    # tr[K G] = k - k delta/gamma: the equation of kernel regression with k samples; that of the kernel as k -> inf
    whole = Spectrum(s, jnp.ones_like(s), jnp.zeros_like(ridge))
    unit, k, delta, spectrum = in_units(jnp.where(finite, num_features, 1), ridge, whole)
    far, free = delta == 0, delta + smallest_ridge(delta)
    trace = balanced_trace(k, k * free, spectrum)
    g = jnp.where(finite, trace / k, free)  # gamma in units of the trace of K
    # a direction in which all data are 0 teaches nothing
    lost = (far & (s == 0)) | jnp.isinf(ridge)
    form = modes.gram / unit
    shifted = form + jnp.diag(jnp.where(lost, jnp.inf, g))
    dual, image = solved(shifted, y), solved(shifted, cross.T)  # G y, G K_x^T
    rest = jnp.where(lost[:, None], y, zero_or(far, g) * dual)  # gamma G y
    learned = multiplied(form, dual)  # K G y
    total = s / unit + g
    mixed = jnp.sum(s / unit / total * (g / total))  # tr[gamma G K G]
    fraction = mixed / k + unlearned(k, k * free, spectrum, trace)
    steepness = jnp.where(finite, 1 / (k * fraction), 0)  # gamma'/k = 1/(k - tr[(K G)^2])
    conditional = modes.diagonal / unit - jnp.sum(cross.T * (image + g * solved(shifted, image)), axis=0) / unit**2
    variance = _variance(far & finite, 1 / fraction, conditional, steepness * jnp.sum(dual * learned, axis=0))
    train = (jnp.sum(rest**2, axis=0) + mixed * steepness * jnp.sum(rest * learned, axis=0)) / len(s)
    gamma = jnp.where(jnp.isinf(ridge), jnp.inf, unit * zero_or(far, g))
    return _given(modes.y, cross @ dual / unit, variance, train, gamma)


def _variance(far: Array, excess: Array, conditional: Array, energy: Array) -> Array:
    """conditional x energy; infinite at the peak, but where nothing is left beyond rounding of what is conditioned on."""
    rounding = 64 * jnp.finfo(energy.dtype).eps
    infinite = (conditional > rounding)[:, None] & (energy > 0)[None]
    peak = far & jnp.isinf(infinite_or(far, excess, jnp.ones_like(excess)))
    return jnp.where(peak, jnp.where(infinite, jnp.inf, 0), jnp.maximum(conditional, 0)[:, None] * energy[None])


def _given(y: Array, mean: Array, variance: Array, train: Array, gamma: Array) -> GivenData:
    """With the axes of the targets."""
    shape = y.shape[1:]
    return GivenData(mean.reshape(-1, *shape), variance.reshape(-1, *shape), train.reshape(shape), gamma)


@takes(
    grams=FINITE, crosses=FINITE, diagonals=NOT_NEGATIVE, y=FINITE, ridge=at_least(0), num_heads=above(0),
    block_size=above(0, finite=True),
)  # fmt: skip
def grouped_given_data(
    grams: Real[ArrayLike, "group sample sample"],
    crosses: Real[ArrayLike, "group test sample"],
    diagonals: Real[ArrayLike, "group test"],
    y: Real[ArrayLike, "sample *target"],
    ridge: Number,
    num_heads: Number,
    block_size: Real[ArrayLike, "group"],
) -> GivenData:
    """`given_data` for heads whose features come in groups of block_size, with the kernel sum_c grams[c]; gamma per group.

    Every feature of group c is Gaussian with covariance grams[c]/block_size[c], independent of all others. num_heads = inf is
    kernel ridge regression. Some ten inversions of an n x n matrix. Rounding counts as 0 as in `gram_modes`. Slopes at ridge 0
    are right where the samples, in directions that are not 0, outnumber the features.

    >>> gram = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    >>> one = grouped_given_data(gram[None], gram[None], jnp.diag(gram)[None], jnp.array([3.0, 0.0]), 1.0, 5, jnp.ones(1))
    >>> alone = given_data(gram, gram, jnp.diag(gram), jnp.array([3.0, 0.0]), 1.0, 5)
    >>> all(bool(jnp.allclose(a, b, rtol=1e-5)) for a, b in zip(one, alone, strict=True))
    True
    """
    form, vectors = diagonal_form(jnp.sum(grams, axis=0), "the sum of grams")
    null = jnp.diagonal(form) == 0
    traces = jnp.einsum("caa->c", grams)
    whole = Spectrum(traces, jnp.ones_like(traces), jnp.zeros_like(ridge))
    unit, _, delta, _ = in_units(jnp.ones_like(ridge), ridge, whole)
    least = float(jnp.finfo(y.dtype).eps)  # as in grouped_risk
    far, free = delta == 0, at_least_ridge(delta, least**2)
    # in the eigenvectors of the sum, where directions in which all data are 0 are apart
    grams = cleared(jnp.einsum("ax,cab,by->cxy", vectors, grams, vectors) / unit, null[:, None] | null[None])
    crosses, diagonals = cleared(crosses @ vectors / unit, null), diagonals / unit
    targets = vectors.T @ y.reshape(len(y), -1)
    n, few, identity = len(targets), (1 / block_size) * (1 / num_heads), jnp.eye(len(targets), dtype=y.dtype)

    # G = (sum_c w_c K_c + delta)^-1 with 1/w_c = 1 + tr[K_c G]/(n_c M); here gamma_c = delta/w_c and U_c = delta tr[K_c G]
    def inverse(gamma: Array, grams: Array) -> Array:
        return jnp.linalg.inv(identity + jnp.einsum("cab->ab", grams / gamma[:, None, None]))  # delta G

    def fixed_point_map(U: Array, problem: tuple) -> Array:
        free, few, grams = problem
        return jnp.einsum("cab,ba->c", grams, inverse(free + U * few, grams))

    U = descend_to_fixed_point(fixed_point_map, traces / unit, (free, few, grams))
    gamma = free + U * few
    D, scaled = inverse(gamma, grams), grams / gamma[:, None, None]
    u = D @ targets
    a = jnp.sum(crosses / gamma[:, None, None], axis=0) @ D  # w_c/delta times the kernels

    # E[R B R] = G (B + sum_c w_c^2 alpha_c K_c) G for the resolvent R, alpha_c = tr[K_c E[R B R]]/(n_c M); here alpha/gamma
    products = jnp.einsum("cab,bd->cad", scaled, D)
    coupling = jnp.einsum("cab,dba->cd", products, products) * few[:, None]
    mixed = jnp.einsum("cab,ba->c", products, D) * few
    energy = jnp.einsum("at,cab,bt->ct", u, scaled, u)
    conditional = diagonals - 2 * jnp.einsum("cxa,xa->cx", crosses, a) + jnp.einsum("xa,cab,xb->cx", a, grams, a)
    # the residual is delta R y: the same with B = 1
    right = jnp.concatenate([jnp.maximum(conditional, 0) * (few / gamma)[:, None], mixed[:, None]], axis=1)
    alpha = solved_by_rows(coupling, free / gamma + mixed, jnp.concatenate([right, jnp.ones_like(mixed)[:, None]], axis=1))
    variance, train = alpha[:, :-2].T @ energy, (jnp.sum(u**2, axis=0) + alpha[:, -2] @ energy) / n
    train = zero_or(far, train, (64 * least) ** 2 * jnp.mean(targets**2, axis=0))
    peak = far & jnp.any(64 * least * alpha[:, -1] > 1)
    left = jnp.any(conditional > 64 * least, axis=0)[:, None]
    variance = jnp.where(peak, jnp.where(left & jnp.any(energy > 0, axis=0)[None], jnp.inf, 0), variance)
    gamma = jnp.where(jnp.isinf(ridge), jnp.inf, unit * zero_or(far, gamma))
    return _given(y, a @ targets, variance, train, gamma)
