r"""Layer-wise distillation that drops the task: where a small student stops learning it, and what a filter changes.

A teacher has a hidden state $h$ of covariance $\Sigma$ and the output $y = B h$. A student has $k$ numbers, any linear map
of $h$, from which it reads both its output $\hat y$ and an estimate $\hat s$ of the filtered state $F h$ of the teacher.

Formula. The loss is least squares on a stacked target, of rank $k$:

$$
\begin{align*}
L &= \mathbb{E} |y - \hat y|^2 + \alpha\, \mathbb{E} |F h - \hat s|^2, \qquad
Z = \begin{pmatrix} B \\ \sqrt\alpha\, F \end{pmatrix}, \qquad Z \Sigma Z^\top = \sum_i \lambda_i u_i u_i^\top \\
\min L &= \sum_{i > k} \lambda_i, \qquad \mathbb{E} |y - \hat y|^2 = \sum_{i > k} \lambda_i\, |u_i^{\text{task}}|^2
\end{align*}
$$

Let $h$ have one task direction, of variance $v$ and with $y = b\, h_{\text{task}}$, and nuisances of variances
$L_1 \ge L_2 \ge \dots$, all uncorrelated. A filter that passes the task with gain $f$ and each nuisance with gain $e f$
gives the task the strength $v (b^2 + \alpha f^2)$ and nuisance $i$ the strength $\alpha f^2 e^2 L_i$. The student keeps the
$k$ strongest: the relative task error jumps from 0 to 1 at

$$
\alpha_* = \frac{v\, b^2}{f^2 (e^2 L_k - v)}
$$

and nowhere if $e^2 L_k \le v$ or if there are fewer than $k$ nuisances. A filter is trained first, with a head of its own,
on the loss $\mathbb{E} |y - C F h|^2$. Gradient flow conserves $F F^\top - C^\top C$. From a square $F$ and a $C$ with
$F F^\top - C^\top C = \epsilon^2 I$, in particular $F = \epsilon I$ and a vanishing $C$, it ends with the singular values

$$
f_i = \sqrt{\frac{\epsilon^2 + \sqrt{\epsilon^4 + 4 s_i^2}}{2}}
$$

where $s_i$ are the singular values of $B$, and 0 for every direction that the task does not use. A small start gives
$\sqrt{s_i}$ and $\epsilon$, a projection onto the task up to gains; the identity gives 1 for every other direction: such a
filter fits the task and filters nothing.

Regime. Exact minima of the loss over the population, and the end of gradient flow if it fits $y$ exactly. Between several
samples and features the leading directions are not those of the population.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $B$ | `teacher` | `output dim` | output map of the teacher |
| $F$ | `filters` | `state dim` | filter on the hidden state |
| $\Sigma$ | `covariance` | `dim dim` | second moment of the hidden state |
| $\alpha$ | `alpha` | any | weight of the distillation loss |
| $k$ | `num_features` | | numbers in the student's state |
| $b$, $v$ | `coefficient`, `task_variance` | `()` | output per unit of the task direction, and its variance |
| $L_i$ | `variances` | `nuisance` | variances of the nuisances, in any order |
| $e$, $f$ | `leak`, `gain` | any | gain of nuisances over that of the task, and gain of the task |
| $s_i$, $\epsilon$ | `singular_values`, `init_scale` | any | of the teacher's output map; scale of the filter at the start |

Factors. Both errors are sums over coordinates, without $\frac{1}{2}$; a mean over the coordinates of the state divides
$\alpha$ by their number. A filter is known only up to $F \to G F$, $C \to C G^{-1}$, and the alignment loss is not: leaks
are relative to the gain of the task.

Source. C. Liang et al., "Less is More: Task-aware Layer-wise Distillation for Language Model Compression", arXiv 2210.01351
(abstract read): the two stages. All formulas are derived here.

Finite size. None: rounding.

Example. A nuisance of variance 9 costs a student of one number the task from $\alpha = 1/2$ on; a filter that halves it
moves that to 3.2, and one that leaves less than a third of it keeps the task at any weight:

>>> from closedform.theory.linear_networks import task_filters
>>> [round(float(a), 3) for a in task_filters.task_drop_alpha(2.0, [9.0, 4.0, 2.0], 1, leak=[1.0, 0.5, 0.3])]
[0.5, 3.2, inf]
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ArrayLike, above, at_least, require_not_empty, takes
from ..numerics.norms import length, nonzero
from ..numerics.roots import square_root
from ..numerics.symmetric import require_kernel

SIZE = at_least(0, finite=True)
POSITIVE = above(0, finite=True)


@documented
class Optimum(NamedTuple):
    """The errors of the best student."""

    loss: Float[Array, "*alpha"]  # task_error + alpha alignment_error
    task_error: Float[Array, "*alpha"]  # E |y - y_hat|^2
    alignment_error: Float[Array, "*alpha"]  # E |F h - s_hat|^2


@takes(alpha=POSITIVE, teacher=FINITE, filters=FINITE, covariance=FINITE, num_features=at_least(0))
def optimum(
    alpha: Real[ArrayLike, "*alpha"],
    teacher: Real[ArrayLike, "output dim"],
    filters: Real[ArrayLike, "state dim"],
    covariance: Real[ArrayLike, "dim dim"],
    num_features: int,
) -> Optimum:
    """The student of least loss. Its errors are unique where lambda_k > lambda_(k+1); there is no derivative elsewhere.

    Raises ValueError for a covariance that is not symmetric and positive semi-definite.

    >>> best = optimum(1.0, [[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 3.0]], 1)
    >>> [round(float(error), 6) for error in best]
    [2.0, 1.0, 1.0]
    """
    require_kernel(covariance, "covariance")
    require_not_empty(teacher=teacher, filters=filters)
    outputs = len(teacher)
    Z = jnp.concatenate(
        [jnp.broadcast_to(teacher, (*alpha.shape, *teacher.shape)), jnp.einsum("...,sd->...sd", jnp.sqrt(alpha), filters)],
        axis=-2,
    )
    target = Z @ covariance @ jnp.swapaxes(Z, -1, -2)
    strengths, directions = jnp.linalg.eigh((target + jnp.swapaxes(target, -1, -2)) / 2)
    lost = strengths.shape[-1] - min(num_features, strengths.shape[-1])  # eigenvalues rise: these come first
    left = jnp.maximum(strengths[..., None, :lost], 0) * directions[..., :lost] ** 2
    task = jnp.sum(left[..., :outputs, :], axis=(-2, -1))
    aligned = jnp.sum(left[..., outputs:, :], axis=(-2, -1))
    return Optimum(task + aligned, task, aligned / alpha)


@takes(coefficient=FINITE, variances=SIZE, num_features=at_least(1), leak=SIZE, gain=POSITIVE, task_variance=POSITIVE)
def task_drop_alpha(
    coefficient: Real[ArrayLike, ""],
    variances: Real[ArrayLike, "nuisance"],
    num_features: int,
    leak: Real[ArrayLike, "*#shape"] = 1.0,
    gain: Real[ArrayLike, "*#shape"] = 1.0,
    task_variance: Real[ArrayLike, ""] = 1.0,
) -> Float[Array, "*#shape"]:
    """The weight of distillation from which on the best student of k numbers has lost the task; infinite if it never does.

    `coefficient` is b, `num_features` is k. Without a filter leak and gain are 1.

    >>> [float(task_drop_alpha(2.0, [2.0, 9.0, 5.0], k)) for k in (1, 2, 3, 4)]
    [0.5, 1.0, 4.0, inf]
    """
    threshold = jnp.zeros((), leak.dtype) if num_features > len(variances) else jnp.sort(variances)[-num_features]
    excess = gain**2 * (leak**2 * threshold - task_variance)
    return jnp.where(excess > 0, task_variance * coefficient**2 / jnp.where(excess > 0, excess, 1), jnp.inf)


@takes(singular_values=SIZE, init_scale=SIZE)
def filter_gains(
    singular_values: Real[ArrayLike, "*#shape"], init_scale: Real[ArrayLike, "*#shape"]
) -> Float[Array, "*#shape"]:
    """f, the singular value of the trained filter for each of the teacher; for 0, what the start has left: init_scale.

    >>> [round(float(f), 4) for f in filter_gains([4.0, 1.0, 0.0], 1e-3)], round(float(filter_gains(0.0, 1.0)), 4)
    ([2.0, 1.0, 0.001], 1.0)
    """
    square = init_scale**2
    return square_root((square + length(jnp.stack(jnp.broadcast_arrays(square, 2 * singular_values), axis=-1))) / 2)


@takes(singular_values=SIZE, init_scale=SIZE)
def filter_leak(singular_values: Real[ArrayLike, "*#shape"], init_scale: Real[ArrayLike, "*#shape"]) -> Float[Array, "*#shape"]:
    """e = epsilon/f, the gain of every direction that the task does not use over the gain of a direction that it does.

    1 for a singular value of 0.

    >>> round(float(filter_leak(2.0, 1.0)), 4), float(filter_leak(2.0, 0.0)), float(filter_leak(0.0, 3.0))
    (0.6248, 0.0, 1.0)
    """
    gains = filter_gains(singular_values, init_scale)
    return jnp.where(gains > 0, init_scale / nonzero(gains), 1)
