r"""Linear contrastive learning: the features that an encoder and its projection head end with.

A linear network of $k$ layers, $f(x) = W_k \cdots W_1 x = B x$, sees two views $x, x^+$ of a sample, clean signal plus
independent noise. It is trained on the spectral contrastive loss, in which $x^-$ is a view of another sample.

Formula. With the covariance $C$ of the clean signal, the covariance $S$ of a view and $G = B^\top B$,

$$
\begin{align*}
\mathcal{L} &= -2\, \mathbb{E} f(x) \cdot f(x^+) + \mathbb{E} (f(x) \cdot f(x^-))^2 \\
&= -2 \operatorname{tr} G C + \operatorname{tr} G S G S \\
G^* &= S^{-1/2} \left[ S^{-1/2} C S^{-1/2} \right]_p S^{-1/2}
\end{align*}
$$

where $[\cdot]_p$ is the best approximation of rank $p$, the outputs of the head. In a basis of features with
$C = \operatorname{diag} \phi_i^2$ and $S = \operatorname{diag}(\phi_i^2 + \sigma_i^2)$, the head multiplies feature $i$ by

$$
q_i = \frac{\phi_i}{\phi_i^2 + \sigma_i^2}
$$

if $\phi_i^2/(\phi_i^2 + \sigma_i^2)$ is among the $p$ largest, and by 0 otherwise. From a balanced start, where
$W_{l+1}^\top W_{l+1} = W_l W_l^\top$, the layers up to layer $l$ multiply it by $q_i^{l/k}$ in the end.

Feature $k$ has a larger share of the variance before the head than behind it if and only if

$$
q_k < \frac{\sum_i \phi_i^2 q_i^2}{\sum_i \phi_i^2 q_i}
$$

in sums over all features or over the others alone.

Regime. Population loss and gradient flow. `optimal_gram` is the global minimum, where gradient descent ends from almost every
start. `layer_weights` is exact for balanced starts, and the limit of small random ones. How a feature is learned, and what
weight decay does to it, is in `contrastive_modes`.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $C$, $S$ | `covariance`, `view_covariance` | dim dim | of the clean signal, and of one view |
| $\phi_i$ | `signal` | any | standard deviation of feature $i$ |
| $\sigma_i$ | `noise_std` | any | standard deviation of the augmentation along feature $i$ |
| $p$ | `rank` | | outputs of the head |
| $q_i$ | `weights` | feature | weight of feature $i$ behind the head |
| $l$, $k$ | `layer`, `depth` | | layer, from 0 (the input) to `depth`; layers, the head among them |

Factors. Neither term of the loss has a factor 1/2; the optimum is the same for half the loss.

Source. Y. Xue et al., "Investigating the benefits of projection head for representation learning", arXiv 2403.11391: the
model, and the statement that a head makes weights more unequal. All formulas are derived here and checked against gradient
descent.

Finite size. None for population covariances. With samples the optimum moves by $O(1/\sqrt N)$. A start with
$W_2^\top W_2 \neq W_1 W_1^\top$ keeps that difference, and the weights before the head are off by it.

Example. Augmentation that drowns the second feature costs it half of its weight behind the head, and less before it:

>>> from closedform.theory.linear_networks import contrastive
>>> q = contrastive.feature_weights([1.0, 1.0], [0.0, 1.0], rank=2)
>>> [[round(float(weight), 4) for weight in weights] for weights in (q, contrastive.layer_weights(q, 1, 2))]
[[1.0, 0.5], [1.0, 0.7071]]
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import FINITE, ArrayLike, above, at_least, known, takes
from ..numerics.symmetric import require_kernel
from .contrastive_modes import end_strength

Numbers = Real[ArrayLike, "*#shape"]
Features = Real[ArrayLike, "feature"]
SIZE = at_least(0, finite=True)


# ---------------------------------------------------------------------------------------------------------- where it ends


@takes(covariance=FINITE, view_covariance=FINITE, rank=at_least(1))
def optimal_gram(
    covariance: Real[ArrayLike, "dim dim"], view_covariance: Real[ArrayLike, "dim dim"], rank: int
) -> Float[Array, "dim dim"]:
    """G*, the Gram matrix B^T B of least loss among maps B of `rank` outputs; S^-1 C S^-1 for a rank of dim or more.

    Where directions of equal correlation stand at the cut the minimum is not unique, and one of them is returned. Raises
    ValueError for a covariance that is not symmetric and positive semi-definite, or a singular covariance of views.

    >>> optimal_gram([[1, 0], [0, 1]], [[1, 0], [0, 2]], 1).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    require_kernel(covariance, "covariance")
    require_kernel(view_covariance, "view_covariance")
    root = jnp.linalg.cholesky(view_covariance)
    if known(root) and not jnp.all(jnp.isfinite(root)):
        raise ValueError("view_covariance must be positive definite, got a singular matrix")
    inverse = jax.scipy.linalg.solve_triangular(root, jnp.eye(len(root), dtype=root.dtype), lower=True)
    # R^-1 C R^-T with S = R R^T has the eigenvalues of S^-1/2 C S^-1/2, and is turned from it by an orthogonal matrix
    whitened = inverse @ covariance @ inverse.T
    kept = whitened if rank >= len(root) else _best_approximation((whitened + whitened.T) / 2, rank)
    return inverse.T @ kept @ inverse


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _best_approximation(matrix: Float[Array, "n n"], rank: int) -> Float[Array, "n n"]:
    """The part of a positive semi-definite matrix on the eigenvectors of its `rank` largest eigenvalues."""
    values, vectors = jnp.linalg.eigh(matrix)
    return (vectors[:, -rank:] * values[None, -rank:]) @ vectors[:, -rank:].T


@_best_approximation.defjvp
def _(rank: int, primals: tuple, tangents: tuple) -> tuple:
    (matrix,), (change,) = primals, tangents
    values, vectors = jnp.linalg.eigh(matrix)
    kept = jnp.arange(len(values)) >= len(values) - rank
    # divided differences of a function that is the identity on what is kept and 0 on the rest
    gap = values[:, None] - values[None]
    mixed = (kept[:, None] != kept[None]) & (gap != 0)
    between = jnp.where(mixed, jnp.maximum(values[:, None], values[None]) / jnp.where(mixed, jnp.abs(gap), 1), 0)
    slopes = jnp.where(kept[:, None] & kept[None], 1, between)
    tangent = vectors @ (slopes * (vectors.T @ change @ vectors)) @ vectors.T
    return _best_approximation(matrix, rank), tangent


@takes(signals=SIZE, noise_stds=SIZE, rank=at_least(1))
def feature_weights(signals: Features, noise_stds: Features, rank: int) -> Float[Array, "feature"]:
    """q_i = phi_i/(phi_i^2 + sigma_i^2) of the `rank` features of largest phi_i^2/(phi_i^2 + sigma_i^2), 0 of the others.

    Of features of equal ratio at the cut those listed first are kept. A feature of signal 0 has weight 0.

    >>> feature_weights([2, 0.5, 1], [2, 0, 1], 1).tolist()  # the weak feature that augmentation leaves alone
    [0.0, 2.0, 0.0]
    """
    weights = end_strength(signals, noise_stds)
    if rank >= len(signals):
        return weights
    there = signals > 0
    ratio = jnp.where(there, noise_stds / jnp.where(there, signals, 1), jnp.inf)
    place = jnp.argsort(jnp.argsort(ratio, stable=True), stable=True)
    return jnp.where(place < rank, weights, 0)


@takes(weights=SIZE, layer=at_least(0), depth=at_least(1))
def layer_weights(weights: Real[ArrayLike, "*shape"], layer: int, depth: int) -> Float[Array, "*shape"]:
    """q^(l/k), the weight of a feature after layer l of k, from its weight q after all; 1 at the input.

    Raises ValueError for a layer beyond the depth.

    >>> layer_weights([4, 0.25], 1, 2).tolist()
    [2.0, 0.5]
    """
    if layer > depth:
        raise ValueError(f"layer must be at most the depth {depth}, got {layer}")
    if layer == 0:
        return jnp.ones_like(weights)
    there = weights > 0
    return jnp.where(there, jnp.where(there, weights, 1) ** (layer / depth), 0)


# -------------------------------------------------------------------------------------------- what a downstream task sees


@takes(signals=SIZE, weights=SIZE)
def variance_shares(signals: Features, weights: Features) -> Float[Array, "feature"]:
    """phi_i^2 w_i^2/sum_j phi_j^2 w_j^2: of the variance of a representation of clean samples. All 0 if there is none.

    >>> variance_shares([1, 1], [1, 0]).tolist()
    [1.0, 0.0]
    """
    size = signals * weights
    unit = jnp.max(size, initial=0)
    squares = (size / jnp.where(unit > 0, unit, 1)) ** 2
    total = jnp.sum(squares)
    return squares / jnp.where(total > 0, total, 1)


@takes(signals=SIZE, weights=SIZE)
def earlier_advantage(signals: Features, weights: Features) -> Float[Array, "feature"]:
    """The share of each feature in the variance before the head of a two-layer network, less its share behind the head.

    `weights` are those behind the head. It is positive where the weight is above 0 and below `critical_weight`.

    >>> [round(float(gain), 3) for gain in earlier_advantage([1, 1], [1, 0.5])]
    [-0.133, 0.133]
    """
    # s_i/sum_j s_j - s_i q_i/sum_j s_j q_j with s = phi^2 q, the differences of weights taken before the sum
    unit, largest = jnp.max(signals, initial=0), jnp.max(weights, initial=0)
    q = weights / jnp.where(largest > 0, largest, 1)
    s = (signals / jnp.where(unit > 0, unit, 1)) ** 2 * q
    before, behind = jnp.sum(s), jnp.sum(s * q)
    some = behind > 0
    between = jnp.sum(s[None] * (q[None] - q[:, None]), axis=1)
    return jnp.where(some, s / jnp.where(some, before, 1) * between / jnp.where(some, behind, 1), 0)


@takes(signals=SIZE, weights=SIZE)
def critical_weight(signals: Features, weights: Features) -> Float[Array, ""]:
    """sum phi^2 q^2/sum phi^2 q: features of smaller weight have a larger share before the head. 0 if there are no features.

    >>> round(float(critical_weight([1, 1], [1, 0.5])), 4)
    0.8333
    """
    variance = signals**2 * weights
    total = jnp.sum(variance)
    return jnp.sum(variance * weights) / jnp.where(total > 0, total, 1)


@takes(signal=SIZE, others=above(0, finite=True))
def critical_noise(signal: Numbers, others: Numbers) -> Float[Array, "*#shape"]:
    """sigma_c = sqrt(max(phi/q_c - phi^2, 0)): with more noise a feature has a larger share before the head than behind it.

    `others` is q_c, the `critical_weight` of the other features, without this one. In the plane of signal and noise the
    boundary is a half circle on the axis of signals, of diameter 1/q_c.

    >>> [round(float(critical_noise(signal, 2.0)), 3) for signal in (0, 0.1, 0.25, 0.5)]
    [0.0, 0.2, 0.25, 0.0]
    """
    square = signal * (1 / others - signal)
    some = square > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, square, 1)), 0)
