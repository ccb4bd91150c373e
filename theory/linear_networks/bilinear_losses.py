r"""Losses of a bilinear layer as functions of its interaction matrix, and their minima under weight decay and input noise.

Formula. $y = \sum_k p_k (w_k \cdot x)(v_k \cdot x) = x^\top Q x$ with
$Q = \operatorname{sym}(W \operatorname{diag}(p) V^\top)$. With $D = Q - Q^*$, $x \sim N(0, S)$ and a target $x^\top Q^* x$,

$$
\mathbb{E} (x^\top D x + l \cdot x + c)^2 = 2 \operatorname{tr}(D S D S) + (\operatorname{tr} D S + c)^2 + l^\top S l
$$

and at $S = I$, $c = l = 0$:

| inputs | loss |
|---|---|
| Gaussian | $L = 2 \Vert D\Vert^2 + (\operatorname{tr} D)^2$ |
| sphere $\Vert x\Vert^2 = d$ | $L\, d/(d + 2)$ |
| iid $x_i$ | $L + \kappa_4 \sum_i D_{ii}^2$ |
| Gaussian, leaving out eigenpairs $R$ | $2 \sum_R \lambda^2 + \left(\sum_R \lambda\right)^2$ |

Noise on the input, $\mathbb{E}$ over $e \sim N(0, I)$:

$$
\mathbb{E} (y - f(x + \sigma e))^2
= (y - x^\top Q x - \sigma^2 \operatorname{tr} Q)^2 + 4 \sigma^2 \|Q x\|^2 + 2 \sigma^4 \|Q\|^2
$$

Its population minimum with a free constant is

$$
Q = A^\top Q^* A, \qquad A = (S + \sigma^2 I)^{-1} S, \qquad \text{constant } \operatorname{tr} Q^* (S - S A)
$$

and without one, at $S = I$, it is the traceless part times $(1 + \sigma^2)^{-2}$, the trace times that and
$1 + d \sigma^2/(d + 2)$. The same $m$ added to every input:

$$
\mathbb{E} f(x + m) - \mathbb{E} f(x) = m^\top Q m + 2 m^\top Q\, \mathbb{E} x + l \cdot m
$$

Weight decay. At $p = 1$ the minimum of $L + \tfrac{\omega}{2} (\|W\|^2 + \|V\|^2)$ over $W, V$ of given $Q$ is
$L + \omega \|Q\|_*$, with the sum of the sizes of the eigenvalues, and the best $Q$ has the eigenvectors of $Q^*$ and

$$
q_i = \operatorname{soft}\left(q^*_i - \tfrac{T}{2}, \tfrac{\omega}{4}\right), \qquad T = \sum_i (q_i - q^*_i), \qquad
\operatorname{soft}(z, u) = \operatorname{sign}(z) \max(|z| - u, 0)
$$

With $p$ trained and decayed too, a unit of product $q = p\, \|w\| \|v\|$ costs $\tfrac{3}{2} \omega |q|^{2/3}$, as the
arithmetic mean of three squares is no less than the geometric one. For the minimum of
$2 (q - q^*)^2 + \tfrac{3}{2} \omega |q|^{2/3}$, $q = q^* u^3$ with $u$ the greater root of

$$
u^4 - u + \mu = 0, \qquad \mu = \tfrac{\omega}{4} |q^*|^{-4/3}, \qquad \text{as long as } \mu < 2^{-4/3};
\text{ beyond it } q = 0
$$

At the threshold the two minima are equal: $4 (q^* - q) = \omega q^{-1/3}$ and
$2 (q - 2 q^*) + \tfrac{3}{2} \omega q^{-1/3} = 0$ give $q = q^*/2$.

Regime. Population (infinitely many samples), one output; sums over outputs add. Weight decay at $p = 1$: at least as many units
as kept eigenvalues of either sign. Trained readout: without the term $(\operatorname{tr} D)^2$, that is for features of trace
zero, $x x^\top - I$, and one unit for each eigenpair. This is a restriction when $Q^*$ has both signs: a unit that carries a
positive and a negative eigenpair, of eigenvalues $\mu$ and $-\nu$, costs $\tfrac{3}{2} \omega (\mu + \nu)^{2/3}$, less than two
units.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $D$ | `delta` | dim dim | $Q - Q^*$; its antisymmetric part does not act |
| $S$ | `covariance` | dim dim | of the input, symmetric and positive semi-definite |
| $l$, $c$ | `linear`, `constant` | dim, () | rest of an affine layer |
| $m$, $\mathbb{E} x$ | `added`, `mean` | dim | what is added to every input; mean of the inputs |
| $Q$, $Q^*$ | `q`, `target` | dim dim | interaction matrix, symmetric; that of the target |
| $q^*$, $\lambda$ | `eigenvalues` | dim | eigenvalues of the target; of a matrix |
| $\kappa_4$ | `excess_kurtosis` | () | $\mathbb{E} x_i^4 - 3 \geq -2$: Rademacher $-2$, uniform $-1.2$ |
| $\sigma^2$ | `noise_variance` | () | variance of the input noise, not its standard deviation |
| $\omega$ | `weight_decay` | () | L2 penalty $\tfrac{\omega}{2} \Vert\cdot\Vert^2$ of the weights, in the loss |
| $A$ | `Affine.q` is $A^\top Q^* A$ | dim dim | Wiener filter |

Factors. The loss has no 1/2, weight decay has one. AdamW's decoupled weight decay is not this penalty.

Source. L. Sharkey, arXiv 2305.03452, and M. Pearce et al., arXiv 2410.08417 (ICLR 2025), define the layer and observe low rank
under weight decay. All formulas are derived here, and checked against sampling and direct minimisation.

Finite size. None: population values. A mean over $n$ samples of a Gaussian input scatters by $O(n^{-1/2})$, with heavy tails.

Example. Weight decay takes $\omega/4$ off every eigenvalue of a target of trace zero; eigenvalues below it become 0.

>>> import jax.numpy as jnp
>>> from closedform.theory.linear_networks import bilinear_losses
>>> target = jnp.array([3.0, 0.5, -0.5, -3.0])
>>> bilinear_losses.weight_decay_optimum(target, 1.0).tolist()
[2.75, 0.25, -0.25, -2.75]
>>> bilinear_losses.weight_decay_optimum(target, 4.0).tolist()
[2.0, 0.0, 0.0, -2.0]
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ArrayLike, at_least, known, takes

Number = Real[ArrayLike, ""]
Vector = Real[ArrayLike, "dim"]
Matrix = Real[ArrayLike, "dim dim"]
Spectrum = Real[ArrayLike, "mode"]


@documented
class Affine(NamedTuple):
    """The function x^T q x + constant."""

    q: Float[Array, "dim dim"]  # interaction matrix
    constant: Float[Array, ""]


# ------------------------------------------------------------------------------------------------- population losses


@takes(delta=FINITE, covariance=FINITE, linear=FINITE, constant=FINITE)
def gaussian_loss(
    delta: Matrix, covariance: Matrix | None = None, linear: Vector | None = None, constant: Number = 0.0
) -> Float[Array, ""]:
    """E (x^T D x + l.x + c)^2 = 2 tr(D S D S) + (tr D S + c)^2 + l^T S l for x ~ N(0, S); S = I and l = 0 by default.

    >>> float(gaussian_loss([[1, 0], [0, -2]]))  # 2 (1 + 4) + 1
    11.0
    """
    D, c = _symmetric(jnp.asarray(delta)), jnp.asarray(constant)
    S = jnp.eye(len(D), dtype=D.dtype) if covariance is None else _covariance(covariance)
    DS = D @ S
    quadratic = 2 * jnp.sum(DS * DS.T) + (jnp.trace(DS) + c) ** 2
    return quadratic if linear is None else quadratic + jnp.asarray(linear) @ S @ linear


@takes(delta=FINITE)
def sphere_loss(delta: Matrix) -> Float[Array, ""]:
    """E (x^T D x)^2 = d/(d + 2) [2 |D|^2 + (tr D)^2] for x uniform on the sphere |x|^2 = d.

    >>> float(sphere_loss([[1, 0], [0, 1]]))  # |x|^4 = d^2
    4.0
    """
    dim = len(jnp.asarray(delta))
    return dim / (dim + 2) * gaussian_loss(delta)


@takes(delta=FINITE, excess_kurtosis=at_least(-2, finite=True))
def iid_loss(delta: Matrix, excess_kurtosis: Number) -> Float[Array, ""]:
    """E (x^T D x)^2 = 2 |D|^2 + (tr D)^2 + k4 sum_i D_ii^2 for iid x_i of mean 0 and variance 1 (E x_i^3 drops out).

    >>> float(iid_loss([[1, 0, 0], [0, 1, 0], [0, 0, 1]], -2))  # signs: |x|^4 = 9
    9.0
    """
    D = _symmetric(jnp.asarray(delta))
    diagonal = jnp.diag(D)
    # no term is negative: at k4 = -2 the diagonal counts in the trace alone
    return 2 * jnp.sum((D - jnp.diag(diagonal)) ** 2) + (2 + excess_kurtosis) * jnp.sum(diagonal**2) + jnp.sum(diagonal) ** 2


@takes(eigenvalues=FINITE)
def truncation_error(eigenvalues: Spectrum) -> Float[Array, ""]:
    """Gaussian loss, 2 sum lambda^2 + (sum lambda)^2, of leaving these eigenpairs out of an interaction matrix.

    It is not always best to leave out the smallest ones, as two of opposite signs cost less together:

    >>> [float(truncation_error(left)) for left in ([1, 1], [1, -1.25])]
    [8.0, 5.1875]
    """
    values = jnp.asarray(eigenvalues)
    return 2 * jnp.sum(values**2) + jnp.sum(values) ** 2


# ----------------------------------------------------------------------------------------------------- noisy inputs


@takes(q=FINITE, x=FINITE, y=FINITE, noise_variance=at_least(0, finite=True))
def noisy_loss(q: Matrix, x: Vector, y: Number, noise_variance: Number) -> Float[Array, ""]:
    """Mean of (y - f(x + sigma e))^2 over e ~ N(0, I), for f(x) = x^T q x at one example; noise_variance is sigma^2.

    >>> float(noisy_loss([[1]], [1], 1, 2))  # E (1 - (1 + e)^2)^2 = E (2 e + e^2)^2 = 4 2 + 3 4
    20.0
    """
    Q, sigma2 = _symmetric(jnp.asarray(q)), jnp.asarray(noise_variance)
    Qx = Q @ x
    bias = y - x @ Qx - sigma2 * jnp.trace(Q)
    return bias**2 + 4 * sigma2 * Qx @ Qx + 2 * sigma2**2 * jnp.sum(Q**2)


@takes(target=FINITE, covariance=FINITE, noise_variance=at_least(0))
def wiener(target: Matrix, covariance: Matrix, noise_variance: Number) -> Affine:
    """The best x^T q x + constant for a target x^T Q* x on N(0, S), seen through input noise of variance `noise_variance`.

    Without noise and with a covariance of lower rank it is the target in the span of the inputs; eigenvalues of S below dim
    roundings of the largest count as 0. The relative error is rounding times the condition number of S + noise_variance I, and
    derivatives exist where that number is finite.

    >>> found = wiener([[1, 0], [0, 1]], [[1, 0], [0, 3]], 1)
    >>> [round(float(value), 4) for value in (*jnp.diag(found.q), found.constant)]  # (1/2)^2, (3/4)^2, 1/2 + 3/4
    [0.25, 0.5625, 1.25]
    """
    Q, S, sigma2 = _symmetric(jnp.asarray(target)), _covariance(covariance), jnp.asarray(noise_variance)
    finite = jnp.isfinite(sigma2)
    level = jnp.where(finite, sigma2, 1)
    noisy = S + level * jnp.eye(len(S), dtype=S.dtype)
    A = jnp.where(finite, jnp.linalg.solve(noisy + _null_space(noisy), S), 0)
    lost = jnp.where(finite, level * A, S)  # S - S A, without cancellation
    return Affine(A.T @ Q @ A, jnp.sum(Q * lost))


@takes(target=FINITE, noise_variance=at_least(0))
def isotropic_shrinkage(target: Matrix, noise_variance: Number) -> Float[Array, "dim dim"]:
    """The best x^T q x, without a constant, for a target x^T Q* x on N(0, I) seen through noise of variance `noise_variance`.

    >>> round(float(isotropic_shrinkage([[1]], 1)[0, 0]), 6)  # (1/4)(1 + 1/3)
    0.333333
    """
    Q, sigma2 = _symmetric(jnp.asarray(target)), jnp.asarray(noise_variance)
    dim, finite = len(Q), jnp.isfinite(sigma2)
    level = jnp.where(finite, sigma2, 1)
    kept, hidden = 1 / (1 + sigma2), jnp.where(finite, level / (1 + level), 1)
    # a share d sigma^2/(d + 2) of the trace comes back, because |x|^2 stands in for the constant
    return kept * (kept * Q + hidden / (dim + 2) * jnp.trace(Q) * jnp.eye(dim, dtype=Q.dtype))


@takes(q=FINITE, added=FINITE, mean=FINITE, linear=FINITE)
def displacement(q: Matrix, added: Vector, mean: Vector, linear: Vector | None = None) -> Float[Array, ""]:
    """Mean change of x^T q x + l.x when `added` is added to every input, for inputs of any law with this mean.

    >>> float(displacement([[1, 0], [0, 1]], [1, 0], [2, 5]))  # 3^2 - 2^2
    5.0
    """
    m, center = jnp.asarray(added), jnp.asarray(mean)
    change = m @ _symmetric(jnp.asarray(q)) @ (m + 2 * center)
    return change if linear is None else change + jnp.asarray(linear) @ m


# ----------------------------------------------------------------------------------------------------- weight decay


@takes(eigenvalues=FINITE, weight_decay=at_least(0))
def weight_decay_optimum(eigenvalues: Spectrum, weight_decay: Number) -> Float[Array, "mode"]:
    """The optimum q_i = soft(q*_i - T/2, omega/4) for eigenvalues q* of the target in any order; q_i = 0 if not kept.

    Exact, with no iteration: T/2 is the zero of a falling, piecewise linear function, whose sign at the two ends of a
    mode's dead zone says whether T/2 lies beyond them. Differentiable where no mode is just at an end.

    >>> [round(float(q), 4) for q in weight_decay_optimum([1, -0.1], 1)]  # T = -0.1
    [0.8, 0.0]
    """
    target, omega = jnp.asarray(eigenvalues), jnp.asarray(weight_decay)
    # nothing is kept for a threshold from max |q*_i + sum q*/2| on, which is below 2 sum |q*|: an infinite decay is cut there
    threshold, total = jnp.minimum(omega / 4, 2 * jnp.sum(jnp.abs(target))), jnp.sum(target)

    def excess(half: Float[Array, "mode"]) -> Float[Array, "mode"]:
        shifted = target[None, :] - half[:, None]
        return jnp.sum(jnp.sign(shifted) * jnp.maximum(jnp.abs(shifted) - threshold, 0), axis=1) - total - 2 * half

    positive = excess(target - threshold) < 0
    negative = ~positive & (excess(target + threshold) > 0)
    sign = positive.astype(target.dtype) - negative.astype(target.dtype)
    kept = positive | negative
    # the linear equation on that piece: sum over kept (q* - half - threshold sign) = sum q* + 2 half
    half = -(jnp.sum(jnp.where(kept, 0, target)) + threshold * jnp.sum(sign)) / (jnp.sum(jnp.abs(sign)) + 2)
    return jnp.where(kept, target - half - threshold * sign, 0)


@takes(eigenvalues=FINITE, weight_decay=at_least(0))
def trained_readout_optimum(eigenvalues: Spectrum, weight_decay: Number) -> Float[Array, "mode"]:
    """The minimum of 2 (q - q*)^2 + (3/2) omega |q|^(2/3) by mode: readout trained too, one unit per eigenpair, no trace.

    A mode is kept while omega < 4 (|q*|/2)^(4/3), that is |q*| > 2 (omega/4)^(3/4), and leaves with a jump from q*/2 to 0.
    Gradient descent may end elsewhere: q = 0 is a local minimum at every omega > 0, which small weights do not leave, and
    the other one remains up to omega = 12 (|q*|/4)^(4/3), 19 % beyond the jump, where it is q = q*/4.

    >>> [round(float(q), 4) for q in trained_readout_optimum([2, -2, 0.5], 3.999)]
    [1.0004, -1.0004, 0.0]
    """
    target, omega = jnp.asarray(eigenvalues), jnp.asarray(weight_decay)
    size = jnp.abs(target)
    kept = omega < 4 * (size / 2) ** (4 / 3)
    mu = jnp.where(kept, omega, 0) / 4 * jnp.where(kept, size, 1) ** (-4 / 3)
    # Ferrari: u^4 - u + mu = (u^2 + s)^2 - 2 s (u + 1/(4 s))^2 for s^3 - mu s - 1/8 = 0, which has one real root for these mu
    cube_root = jnp.cbrt(1 / 16 + jnp.sqrt(1 / 256 - mu**3 / 27))
    s = cube_root + mu / (3 * cube_root)
    u = (jnp.sqrt(2 * s) + jnp.sqrt(jnp.sqrt(2 / s) - 2 * s)) / 2
    return jnp.where(kept, target * u**3, 0)


# ---------------------------------------------------------------------------------------------------------- matrices


def _symmetric(matrix: Float[Array, "dim dim"]) -> Float[Array, "dim dim"]:
    return (matrix + matrix.T) / 2


def _covariance(matrix: Matrix) -> Float[Array, "dim dim"]:
    """The matrix as it is. Raises ValueError if it is known, not traced, and not symmetric or not positive semi-definite."""
    S = jnp.asarray(matrix)
    if known(S):
        values, rounding = np.asarray(S), 100 * len(S) * float(jnp.finfo(S.dtype).eps) * float(np.max(np.abs(S), initial=0))
        if np.any(np.abs(values - values.T) > rounding) or np.any(np.linalg.eigvalsh(values) < -rounding):
            raise ValueError("covariance must be symmetric and positive semi-definite")
    return S


def _null_space(matrix: Float[Array, "dim dim"]) -> Float[Array, "dim dim"]:
    """The projector on the eigenvectors of a positive matrix whose eigenvalues are rounding, times the largest eigenvalue."""
    values, vectors = jnp.linalg.eigh(stop_gradient(matrix))
    null = values <= len(matrix) * jnp.finfo(matrix.dtype).eps * values[-1]
    return vectors @ jnp.diag(jnp.where(null, jnp.where(values[-1] > 0, values[-1], 1), 0)) @ vectors.T
