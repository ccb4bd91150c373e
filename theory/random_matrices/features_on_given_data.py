r"""Ridge regression on random features of given data: mean and variance over the draw of the features.

Formula. $k$ features, $n$ samples with kernel matrix $K$ ($n \times n$), the row $K_x$ of a test point, ridge $\delta$ and
$G = (K + \gamma)^{-1}$; over the features `given_data` is

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

Features of $M$ heads, in groups $c$ of $n_c$ features a head with kernel matrices $K_c$, have one effective ridge per group:

$$
G = \Bigl(\sum_c w_c K_c + \delta\Bigr)^{-1}, \qquad \frac{1}{w_c} = 1 + \frac{\operatorname{tr}[K_c G]}{n_c M},
\qquad \gamma_c = \frac{\delta}{w_c}
$$

Regime. $n$ and $k$ (or $M$) $\to \infty$ at fixed ratios, features that are Gaussian given the data. $k = \infty$ is allowed
and is kernel ridge regression.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $k$ | `num_features` | `()` | features (a real number) |
| $M$, $n_c$ | `num_heads`, `block_size` | `()`, `group` | heads (a real number); features of a group in one head |
| $\delta$ | `ridge` | `()` | ridge, $\ge 0$ |
| $K$ | `gram` | `sample sample` | kernel matrix of the samples |
| $K_x$ | `cross` | `test sample` | of test points with samples |
| $K_{xx}$ | `diagonal` | `test` | of each test point with itself |
| $K_c$ | `grams` | `group sample sample` | kernel matrix of a group |
| $\gamma$, $\gamma_c$ | `GivenData.gamma` | `group` | effective ridge, of every group |

Factors. Features carry $1/\sqrt{k}$, or heads $1/\sqrt{M}$, so that the kernel is their limit; the ridge is not divided by $n$.

Source. Mean and effective ridge of `given_data`: A. Jacot, B. Simsek, F. Spadaro, C. Hongler, F. Gabriel, arXiv 2002.08404.
Recalled, body not re-read. Derived here: the variance and training error, groups, the methods.

Finite size. For Gaussian features: corrections of order $1/k$. Near the peak ($k$ close to $n$, small ridge) single draws
scatter widely. At ridge 0 the limit of small ridges is returned; the variance is infinite where samples and features are
equally many.

Example. One sample of kernel 1, two features, ridge 3/4: the effective ridge is 1, and the fit reaches half of the label.

>>> import jax.numpy as jnp
>>> from closedform.theory.random_matrices.features_on_given_data import given_data
>>> one = jnp.ones((1, 1))
>>> fit = given_data(one, one, jnp.ones(1), jnp.ones(1), 0.75, 2)
>>> round(float(fit.gamma), 4), round(float(fit.mean[0]), 4)
(1.0, 0.5)
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..kernels.ridge_equation import at_least_ridge, balanced_trace, in_units, infinite_or, smallest_ridge, unlearned, zero_or
from ..kernels.spectrum import Spectrum
from ..numerics.arguments import FINITE, ArrayLike, above, at_least, each, takes
from ..numerics.linear import solved_by_rows
from ..numerics.roots import descend_to_fixed_point
from ..numerics.symmetric import cleared, diagonal_form, multiplied, solved

Number = Real[ArrayLike, ""]
NOT_NEGATIVE = at_least(0, finite=True)


@documented
class GivenData(NamedTuple):
    """Random features on given data, over the draw of the features. Test error: mean((y_test - mean)^2 + variance)."""

    mean: Float[Array, "test *target"]  # E f(x)
    variance: Float[Array, "test *target"]  # var f(x)
    train: Float[Array, "*target"]  # E of the mean square residual on the training labels
    gamma: Float[Array, "*group"]  # effective ridge, of every group of features


@documented
class GramModes(NamedTuple):
    """The data of `given_data` in the eigenvectors of the kernel matrix."""

    gram: Float[Array, "sample sample"]  # K in its eigenvectors: diagonal, but its derivative is not
    cross: Float[Array, "test sample"]  # K_x in the eigenvectors
    diagonal: Float[Array, "test"]  # K_xx
    y: Float[Array, "sample *target"]  # targets in the eigenvectors


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
    # nothing is learned along a direction in which all data are 0
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
    """conditional x energy; infinite at the peak, except where `conditional` is rounding or `energy` is 0."""
    rounding = 64 * jnp.finfo(energy.dtype).eps
    infinite = (conditional > rounding)[:, None] & (energy > 0)[None]
    peak = far & jnp.isinf(infinite_or(far, excess, jnp.ones_like(excess)))
    return jnp.where(peak, jnp.where(infinite, jnp.inf, 0), jnp.maximum(conditional, 0)[:, None] * energy[None])


def _given(y: Array, mean: Array, variance: Array, train: Array, gamma: Array) -> GivenData:
    """The result with the axes of the targets restored."""
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
    least = float(jnp.finfo(y.dtype).eps)  # the smallest ridge, as in grouped_risk
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
