r"""A nested (Matryoshka) loss on a linear network: its optimum, the axes it orders, sizes between those trained, and its speed.

Formula. The eigenvalues of the input's covariance are $\lambda_1 \geq \lambda_2 \geq \dots$, with eigenvectors $e_i$, and the
representation $z = W x$ has a decoder for every trained prefix size $m \in M$. For any weights $c_m > 0$

$$
\min_{W, V} \sum_{m \in M} c_m\, \mathbb{E} |x - V_m z_{:m}|^2 = \sum_{m \in M} c_m \sum_{i > m} \lambda_i
$$

Every term is at its own bound, since $z_i \propto e_i \cdot x$ attains all of them: nesting has no price. In a minimum the
first $m \in M$ rows of $W$ span $e_1, \dots, e_m$; for $M = \{1, \dots, k\}$ Gram-Schmidt of the rows gives
$\pm e_1, \dots, \pm e_k$. One decoder that is cut to its first $m$ columns reaches the same optimum, with its columns
parallel to $e_1, \dots, e_k$ if $M = \{1, \dots, k\}$. With a target $y$, $\lambda_i$ is replaced by the squared singular
value $s_i^2$ of $\mathbb{E}[y x^\top] \Sigma_x^{-1/2}$, and each term has $\mathbb{E} |y|^2 - \sum_i s_i^2$ in addition.
With an exit after every layer the error of exit $n$ and size $m$ is $\sum_{i > r} \lambda_i$, where $r$ is the least of $m$
and the widths up to $n$.

A size $m$ between two neighbours $a < m < b$ of $M$ (or of 0) depends on the basis of the block. Over random rotations its
mean error is on the straight line from $a$ to $b$ for orthonormal decoding, or for whitened $z$; for optimal decoders of
orthonormal rows it lies below, at

$$
\sum_{i > b} \lambda_i + \mathbb{E} \frac{1}{u^\top \Lambda^{-1} u} \quad (m = b - 1), \qquad
\sum_{i > a} \lambda_i - \mathbb{E} \frac{u^\top \Lambda^2 u}{u^\top \Lambda u} \quad (m = a + 1)
$$

with $\Lambda$ the eigenvalues of the block and $u$ uniform on its sphere. For a block of two the first mean is
$\sqrt{\lambda_1 \lambda_2}$, in place of $(\lambda_1 + \lambda_2)/2$ on the line.

From an aligned balanced start of strength $u_0$, with $c_m = 1$, gradient flow learns coordinate $i$ as

$$
u = \frac{1}{1 + (1/u_0 - 1)\, e^{-4 \lambda_i \kappa t}}, \qquad t_{1/2} = \frac{\ln (1/u_0 - 1)}{4 \lambda_i \kappa}, \qquad
\kappa = \begin{cases} \sqrt{K_i} & \text{separate decoders} \\ K_i & \text{one shared decoder} \end{cases}
$$

where $K_i$ trained sizes contain coordinate $i$. Nesting has a price where sizes have targets whose subspaces are not nested.
With white $x$, let size 1 have the target $a \cdot x$ of variance 1 and weight $c_1 t^2 = A$, and size 2 both coordinates of
a plane at the angle $\varphi$ to $a$, with weight $c_2 s^2 = B$. The price is

$$
\frac{A + B - | A e^{2 i \varphi} + B |}{2}
$$

and the first row stands at the angle $\frac{1}{2} \operatorname{arg} (A e^{2 i \varphi} + B)$ from the plane.

Regime. Exact: linear encoder and decoders, the population's loss, gradient flow from the aligned start that is named. The law
between trained sizes holds for rotations that are uniform in their block; trained networks approach it from small random
starts.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\lambda_i$, $s_i^2$ | `eigenvalues` | mode | in any order |
| $M$, $m$ | `sizes`, `size` | size, any | trained prefix sizes; one that need not be trained |
| $c_m$ | `weights` | `()` or size | weights of the terms |
| $K_i$ | `count`, `term_counts` | any | trained sizes that are at least $i$ |
| $u$, $u_0$ | `initial` is $u_0$ | any | $V_m W$ along the mode: 0 at the start, 1 in the end |
| $A$, $B$, $\varphi$ | `first`, `second`, `angle` | any | strengths of two tasks, and the angle between them |

Factors. The loss has no $\frac{1}{2}$ and decoders no bias: inputs are centred or $\lambda$ belongs to second moments. With
$\frac{1}{2}$ times count double. Shared decoders with unequal weights have the sum of the weights in place of $K_i$.

Source. Derived here. A. Kusupati et al., arXiv 2205.13147, have the nested loss with a cross-entropy, of which no closed form
is known. The order of the axes is that of nested dropout (O. Rippel et al., arXiv 1402.0915, recalled).

Finite size. None. Equal eigenvalues on both sides of a size leave the axes open, not the errors.

Example. Five modes and four nested sizes; one size that is not trained, on the line and with optimal decoders:

>>> from closedform.theory.linear_networks import nested
>>> eigenvalues = [4.0, 2.0, 1.0, 0.5, 0.25]
>>> float(nested.nested_optimum(eigenvalues, [1, 2, 3, 4]))
6.5
>>> [round(float(f(eigenvalues, [2, 4], 1)), 3) for f in (nested.interpolated_error, nested.optimal_interpolated_error)]
[4.75, 4.578]
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

from ..numerics.arguments import FINITE, ArrayLike, above, at_least, between, require_not_empty, takes
from ..numerics.roots import square_root
from ..numerics.symmetric import cleared, diagonal_form, solved
from . import modes

Numbers = Real[ArrayLike, "*#shape"]
NON_NEGATIVE = at_least(0, finite=True)
_NODES = 400  # of the trapezoidal rule for `optimal_interpolated_error`: steps of 0.3 for eigenvalues twelve decades apart

# -------------------------------------------------------------------------------------------------------------- the optimum


@takes(eigenvalues=NON_NEGATIVE, sizes=at_least(0), residual=NON_NEGATIVE)
def prefix_errors(
    eigenvalues: Real[ArrayLike, "mode"], sizes: Int[np.ndarray, "*size"], residual: Real[ArrayLike, ""] = 0.0
) -> Float[Array, "*size"]:
    """The least error of each prefix size: the residual, and all eigenvalues but the `size` largest.

    >>> prefix_errors([1.0, 4.0, 2.0], [0, 1, 2, 5]).tolist()
    [7.0, 3.0, 1.0, 0.0]
    """
    return _tails(eigenvalues)[np.minimum(sizes, len(eigenvalues))] + residual


@takes(eigenvalues=NON_NEGATIVE, sizes=at_least(0), weights=NON_NEGATIVE, residual=NON_NEGATIVE)
def nested_optimum(
    eigenvalues: Real[ArrayLike, "mode"],
    sizes: Int[np.ndarray, "size"],
    weights: Real[ArrayLike, "*term"] = 1.0,
    residual: Real[ArrayLike, ""] = 0.0,
) -> Float[Array, ""]:
    """The least nested loss, the sum of weights times `prefix_errors`.

    >>> float(nested_optimum([4.0, 2.0, 1.0], [1, 2], [10.0, 1.0]))
    31.0
    """
    if weights.shape not in ((), sizes.shape):
        raise ValueError(f"weights must be one number or one for each of the {len(sizes)} sizes, got shape {weights.shape}")
    return jnp.sum(weights * prefix_errors(eigenvalues, sizes, residual))


@takes(covariance=FINITE, cross=FINITE)
def regression_spectrum(covariance: Real[ArrayLike, "dim dim"], cross: Real[ArrayLike, "output dim"]) -> Float[Array, "mode"]:
    """s_i^2, falling, from E x x^T and E y x^T: the eigenvalues of a regression, min(output, dim) of them.

    The residual of `prefix_errors` is then E |y|^2 less their sum. Directions without input count as 0. Raises ValueError for a
    covariance that is not symmetric and positive semi-definite.

    >>> regression_spectrum([[4.0, 0.0], [0.0, 1.0]], [[4.0, 0.0], [0.0, 1.0]]).tolist()  # y = x
    [4.0, 1.0]
    """
    require_not_empty(covariance=covariance, cross=cross)
    form, vectors = diagonal_form(covariance, "covariance")
    unseen = jnp.diagonal(form) == 0
    right = cleared(vectors.T @ cross.T, unseen[:, None])
    inverse = solved(form + jnp.diag(jnp.where(unseen, 1, 0).astype(form.dtype)), right)
    explained = jnp.linalg.eigvalsh(right.T @ inverse)[::-1][: min(cross.shape)]
    return jnp.maximum(explained, 0)


@takes(eigenvalues=NON_NEGATIVE, widths=at_least(1), sizes=at_least(0))
def cell_optimum(
    eigenvalues: Real[ArrayLike, "mode"], widths: Int[np.ndarray, "exit"], sizes: Int[np.ndarray, "size"]
) -> Float[Array, "exit size"]:
    """The least error of each exit and prefix size, where `widths` are those of the layers: all are attained at once.

    >>> cell_optimum([4.0, 2.0, 1.0], [3, 1, 2], [1, 2]).tolist()
    [[3.0, 1.0], [3.0, 3.0], [3.0, 3.0]]
    """
    return prefix_errors(eigenvalues, np.minimum(np.minimum.accumulate(widths)[:, None], sizes[None]))


def _tails(eigenvalues: Float[Array, "mode"]) -> Float[Array, "size"]:
    """The sum of all but the m largest, for m = 0, 1, .."""
    rising = jnp.cumsum(jnp.sort(eigenvalues))
    return jnp.concatenate([jnp.zeros_like(eigenvalues[:1]), rising])[::-1] if len(rising) else jnp.zeros(1)


# ------------------------------------------------------------------------------------------------ between the trained sizes


@takes(eigenvalues=NON_NEGATIVE, sizes=at_least(1), size=at_least(0))
def interpolated_error(
    eigenvalues: Real[ArrayLike, "mode"], sizes: Int[np.ndarray, "size"], size: Int[np.ndarray, "*shape"]
) -> Float[Array, "*shape"]:
    """The mean error at prefix sizes, trained or not, by orthonormal decoding or of whitened z: linear between trained sizes.

    Raises ValueError for a size beyond the largest trained one, and for trained sizes beyond the number of eigenvalues.

    >>> interpolated_error([4.0, 2.0, 1.0, 1.0], [2, 4], [0, 1, 2, 3, 4]).tolist()
    [8.0, 5.0, 2.0, 1.0, 0.0]
    """
    low, high = _block(sizes, size, len(eigenvalues))
    tails = _tails(eigenvalues)
    share = (size - low) / np.maximum(high - low, 1)
    return tails[low] + jnp.asarray(share, tails.dtype) * (tails[high] - tails[low])


@takes(eigenvalues=above(0, finite=True), sizes=at_least(1), size=at_least(0))
def optimal_interpolated_error(
    eigenvalues: Real[ArrayLike, "mode"], sizes: Int[np.ndarray, "size"], size: int
) -> Float[Array, ""]:
    """The mean error at one prefix size with optimal decoders, where the rows of a block are orthonormal and uniformly turned.

    Raises ValueError where `interpolated_error` does, and for a size that is not next to an end of its block.

    >>> round(float(optimal_interpolated_error([4.0, 1.0], [2], 1)), 4)  # the geometric mean
    2.0
    """
    low, high = (int(end) for end in _block(sizes, np.asarray(size), len(eigenvalues)))
    if size not in (low, low + 1, high - 1):
        raise ValueError(f"size must be next to an end of its block, from {low} to {high}, got {size}")
    tails = _tails(eigenvalues)
    if size == low:
        return tails[low]
    block = jnp.sort(eigenvalues)[::-1][low:high]
    if size == high - 1:
        return tails[high] + _mean_ratio(block, -jnp.log(block))
    return tails[low] - _mean_ratio(block, jnp.log(block))


def _block(sizes: np.ndarray, size: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The trained sizes around a size, 0 among them."""
    require_not_empty(sizes=sizes)
    if sizes.max() > most:
        raise ValueError(f"sizes must be at most {most}, the number of eigenvalues, got {sizes.max()}")
    if np.max(size, initial=0) > sizes.max():
        raise ValueError(f"size must be at most {sizes.max()}, the largest of sizes, got {np.max(size)}")
    ends = np.unique([0, *sizes])
    low, high = np.searchsorted(ends, size, side="right") - 1, np.searchsorted(ends, size)
    return np.asarray(ends[low]), np.asarray(ends[high])


def _mean_ratio(numerators: Float[Array, "mode"], log_a: Float[Array, "mode"]) -> Float[Array, ""]:
    """E[sum_i n_i a_i g_i^2 / sum_i a_i g_i^2] over standard normal g, with log_a = ln a.

    From 1/q = int_0^inf e^{-q s} ds, the Gaussian integral and s = e^y/2 it is
    int dy sum_i n_i sigmoid(y + ln a_i) prod_k (1 + a_k e^y)^{-1/2}/2. The integrand is analytic for |Im y| < pi and decays as
    e^{-|y|} or faster: the trapezoidal rule with a step of 0.3 is off by e^{-2 pi^2/0.3}.
    """
    known = jax.lax.stop_gradient(log_a)
    reach = 45.0  # e^-45 is left out
    y = jnp.linspace(-jnp.max(known) - reach, -jnp.min(known) + reach, _NODES)
    at = y[:, None] + log_a[None]
    values = jnp.sum(numerators[None] * jax.nn.sigmoid(at), axis=1) * jnp.exp(-jnp.sum(jax.nn.softplus(at), axis=1) / 2)
    return jnp.sum(values) * (y[1] - y[0]) / 2


# --------------------------------------------------------------------------------------------------------------- the speed


@takes(sizes=at_least(1), num_coordinates=at_least(1))
def term_counts(sizes: Int[np.ndarray, "size"], num_coordinates: int) -> Float[Array, "coordinate"]:
    """K_i for i = 1, 2, ..: how many of the trained sizes contain the coordinate.

    >>> term_counts([1, 2, 4], 5).tolist()
    [3.0, 2.0, 1.0, 1.0, 0.0]
    """
    return jnp.asarray(np.sum(sizes[None] > np.arange(num_coordinates)[:, None], axis=1), float)


@takes(time=at_least(0), eigenvalue=NON_NEGATIVE, initial=between(0, 1), count=NON_NEGATIVE)
def nested_strength(
    time: Numbers, eigenvalue: Numbers, initial: Numbers, count: Numbers, shared: bool = False
) -> Float[Array, "*#shape"]:
    """u at each time, from `initial`, of a coordinate in `count` trained sizes; learned at 1.

    >>> [round(float(nested_strength(0.5, 1.0, 0.01, 4.0, shared)), 4) for shared in (False, True)]
    [0.3555, 0.9679]
    """
    return modes.mode_strength(time, 1.0, initial, 2, 2 * eigenvalue * _speed(count, shared))


@takes(eigenvalue=NON_NEGATIVE, initial=between(0, 1), count=NON_NEGATIVE)
def nested_half_time(eigenvalue: Numbers, initial: Numbers, count: Numbers, shared: bool = False) -> Float[Array, "*#shape"]:
    """The time at which u = 1/2; 0 from a start beyond it, infinite for a coordinate that no trained size contains.

    >>> round(float(nested_half_time(1.0, 0.01, 4.0)), 4)  # ln(99)/8
    0.5744
    """
    return modes.half_time(1.0, initial, 2, 0.5, 2 * eigenvalue * _speed(count, shared))


def _speed(count: Float[Array, "*shape"], shared: bool) -> Float[Array, "*shape"]:
    """kappa."""
    return count if shared else square_root(count)


# ------------------------------------------------------------------------------------------------- targets that do not nest


@takes(first=NON_NEGATIVE, second=NON_NEGATIVE, angle=between(0, np.pi / 2))
def two_task_price(first: Numbers, second: Numbers, angle: Numbers) -> Float[Array, "*#shape"]:
    """The least nested loss of two tasks less the sum of their separate optima; 0 for an angle of 0.

    >>> float(two_task_price(1.0, 1.0, np.pi / 2))  # one of two equal tasks is lost
    1.0
    """
    total = first + second
    joint = square_root((first - second) ** 2 + 4 * first * second * jnp.cos(angle) ** 2)
    # (total - joint)/2 without its cancellation
    return jnp.where(total > 0, 2 * first * second * jnp.sin(angle) ** 2 / jnp.where(total > 0, total + joint, 1), 0)


@takes(first=NON_NEGATIVE, second=NON_NEGATIVE, angle=between(0, np.pi / 2))
def two_task_angle(first: Numbers, second: Numbers, angle: Numbers) -> Float[Array, "*#shape"]:
    """The angle of the first row from the plane of the second task, from 0 to `angle`.

    >>> round(float(two_task_angle(1.0, 1.0, 0.5)), 6)  # half way
    0.25
    """
    along, across = first * jnp.cos(2 * angle) + second, first * jnp.sin(2 * angle)
    somewhere = (jnp.abs(along) > 0) | (jnp.abs(across) > 0)
    return jnp.where(somewhere, jnp.arctan2(across, jnp.where(somewhere, along, 1)) / 2, 0)
