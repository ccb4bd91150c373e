r"""What a small-start ReLU network holds of an easy and a hard feature that it computes equally well, and when it learns them.

Formula. Inputs $x \in \{-1, 1\}^n$, uniform, and two outputs, the easy $t_1 x_1$ and the hard $t_2 x_2 x_3$. A two-layer ReLU
network without biases that starts balanced and infinitesimal ends at the fit of smallest path norm
$\sum_j \|a_j\| \|w_j\|$: two units $\operatorname{relu}(\pm x_1)$ of strength $t_1$ each, and four units
$\operatorname{relu}((\pm x_2 \pm x_3)/\sqrt 2)$ of strength $t_2/\sqrt 2$ each. The variance of the hidden units, and the
shares of it that a regression on one feature explains, are

$$
\begin{align*}
V &= \frac{t_1}{2} + \frac{3 t_2}{2 \sqrt 2}, & P &= 2 t_1 + 2 \sqrt 2\, t_2 \\
\text{share}(x_1) &= \frac{t_1}{2 V}, & \text{share}(x_2 x_3) &= \frac{t_2}{2 \sqrt 2\, V} = \text{share}(x_2) =
\text{share}(x_3)
\end{align*}
$$

The hard feature is diluted: two thirds of the variance that it needs are in $x_2$ and $x_3$ apart. At $t_1 = t_2 = 1$ the
shares are 0.3204 and 0.2265, and 0.4531 is in neither feature.

While the outputs are small the best unit for a parity of degree $k$ grows as $e^{\gamma_k t}$,

$$
\gamma_k = \max_{\|w\| = 1} |\mathbb{E}\, x_1 \cdots x_k \operatorname{relu}(w \cdot x)|
= \frac{2^{1-k}}{\sqrt k} \binom{k - 2}{k/2 - 1} \quad (k \text{ even}), \qquad \gamma_1 = \frac{1}{2}, \quad
\gamma_3 = \gamma_5 = \dots = 0
$$

and half of the target is reached at $\ln(1/a)/\gamma_k + O(1)$ from units of norm $a$. The correlation of two matrices of
squared distances, for independent features of variance 1 that two representations hold with shares $s_i$ and $s_i'$, is

$$
r = \frac{\sum_i v_i s_i s_i'}{\sqrt{\sum_i v_i s_i^2 \; \sum_i v_i s_i'^2}}, \qquad v_i = \mathbb{E} f_i^4 + 1
$$

Regime. Gradient flow, $a \to 0$, and units that start close to each of the six directions, as some of 256 do. At $a = 0.03$
and above the hard share is smaller. $\gamma_k$ is the largest rate for $k = 1$ and 2 and for odd $k$, by proof. For $k = 4$
and 6 a search over directions finds none larger than the value here, which is at $w_1 = \dots = w_k$; from $k = 8$ on it is a
lower bound. `dissimilarity_correlation` is exact for features that are independent in pairs, as $x_2$, $x_3$ and $x_2 x_3$
are, and a kernel that is diagonal in them, as it is for a balanced linear network and for the six units above.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $t_1$, $t_2$ | `easy_scale`, `hard_scale` | any | factors of the two targets |
| $V$, $P$ | `variance`, `path_norm` | any | of the hidden units, summed; sum of $\|a_j\| \|w_j\|$ |
| $k$, $\gamma_k$ | `degree`, `growth_rate` | static, any | of a parity; rate of the norm of the best unit |
| $\eta$ | `learning_rate` | any | step size; 0 for the flow |
| $s_i$ | `shares` | `feature` | shares of the variance of a representation, or any multiple of them |
| $\mathbb{E} f_i^4$ | `kurtosis` | `feature` | fourth moment of a feature of variance 1: 1 for a sign, 3 for a Gaussian |

Factors. The loss is $\frac{1}{2} \mathbb{E} \|y - f(x)\|^2$; without the $\frac{1}{2}$ rates double and times halve. A target
$t\, x_1 \cdots x_k$ has the rate $t \gamma_k$. The product $\|a_j\| \|w_j\|$ grows at $2 \gamma_k$. Correlations are over two
independent inputs, which may be equal.

Source. The question, and shares as a measure: A. K. Lampinen, S. C. Y. Chan, K. Hermann, arXiv 2405.05847 (abstract and
summaries read; they report about 55 % for an easy and 5 % for a hard feature). All formulas are derived here. The six units are
optimal since $\max_{\|w\| = 1} \|\mathbb{E}\, \Lambda(x) \operatorname{relu}(w \cdot x)\| = 1$ for
$\Lambda = (2 x_1,\, 2 \sqrt 2\, x_2 x_3)$, with equality at their directions alone. That a vanishing start ends there is an
observation, not a theorem.

Finite size. With 256 units of norm $10^{-3}$ the mean shares are within 0.001 and the mean path norm within 0.2 %; a unit that
stays between two directions may add 1 % to a draw. Times have a correction of order 1, which differences between two scales of
one draw do not.

Example. Equal targets, unequal shares:

>>> from closedform.theory.feature_learning import feature_bias
>>> found = feature_bias.relu_cube_shares(1, 1)
>>> round(float(found.easy), 4), round(float(found.hard), 4), round(float(found.path_norm), 4)
(0.3204, 0.2265, 4.8284)
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import ArrayLike, at_least, takes
from ..numerics.norms import length, nonzero

Numbers = Real[ArrayLike, "*#shape"]
FINITE_SIZE = at_least(0, finite=True)


@documented
class CubeShares(NamedTuple):
    """The end of training on an easy feature x_1 and a hard feature x_2 x_3 from a vanishing balanced start."""

    easy: Float[Array, "*shape"]  # share of x_1 in the variance of the hidden units
    hard: Float[Array, "*shape"]  # share of x_2 x_3
    intermediate: Float[Array, "*shape"]  # share of x_2, and of x_3
    variance: Float[Array, "*shape"]  # V, summed over the units
    path_norm: Float[Array, "*shape"]  # P


@takes(easy_scale=FINITE_SIZE, hard_scale=FINITE_SIZE)
def relu_cube_shares(easy_scale: Numbers, hard_scale: Numbers) -> CubeShares:
    """Shares of x_1, x_2 x_3, x_2 and x_3, which add up to 1, the variance and the path norm. Without a target shares are 0.

    >>> [round(float(share), 4) for share in relu_cube_shares(0, 3)[:3]]  # trained on the hard feature alone
    [0.0, 0.3333, 0.3333]
    """
    easy, hard = jnp.broadcast_arrays(easy_scale / 2, hard_scale / math.sqrt(8))
    variance = easy + 3 * hard
    by = nonzero(variance)
    return CubeShares(easy / by, hard / by, hard / by, variance, 4 * easy + 8 * hard)


@takes(degree=at_least(1))
def parity_growth_rate(degree: int) -> Float[Array, ""]:
    """gamma_k, the rate at which the best unit for a parity of that degree grows; 0 for an odd degree of 3 or more.

    The network has no bias: relu(u) is u/2 and an even function, so that it sees no odd parity but single bits. From degree 8
    on the value is a lower bound.

    >>> [round(float(parity_growth_rate(k)), 4) for k in (1, 2, 3, 4)]
    [0.5, 0.3536, 0.0, 0.125]
    """
    if degree % 2:
        return jnp.asarray(0.5 if degree == 1 else 0.0)
    return jnp.asarray(math.comb(degree - 2, degree // 2 - 1) / 2 ** (degree - 1) / math.sqrt(degree))


@takes(growth_rate=FINITE_SIZE, learning_rate=FINITE_SIZE)
def learning_time_slope(growth_rate: Numbers, learning_rate: Numbers = 0.0) -> Float[Array, "*#shape"]:
    """dt/d ln(1/a), the time that a smaller start costs: 1/gamma, and eta/ln(1 + eta gamma) for steps of size eta.

    Time is the learning rate times updates. Infinite for a rate of 0.

    >>> [round(float(learning_time_slope(parity_growth_rate(k))), 4) for k in (1, 2)]
    [2.0, 2.8284]
    """
    growth_rate, learning_rate = jnp.broadcast_arrays(growth_rate, learning_rate)
    x = growth_rate * learning_rate
    small = x < 1e-4  # where the series is exact to rounding: its next term is 19 x^4/720
    by = jnp.where(small, 1, x)
    return jnp.where(small, 1 + x / 2 - x**2 / 12 + x**3 / 24, by / jnp.log1p(by)) / growth_rate


@takes(shares=FINITE_SIZE, other=FINITE_SIZE, kurtosis=at_least(1, finite=True))
def dissimilarity_correlation(
    shares: Real[ArrayLike, "feature"], other: Real[ArrayLike, "feature"], kurtosis: Real[ArrayLike, "feature"]
) -> Float[Array, ""]:
    """r, the correlation of the squared distances in two representations; 0 if one of them holds nothing.

    A model of one feature has the share 1 of it and 0 of all others.

    >>> round(float(dissimilarity_correlation([0.55, 0.05], [1, 0], [1, 1])), 4)
    0.9959
    """
    weight = jnp.sqrt(kurtosis + 1)
    return jnp.sum(_unit(shares * weight) * _unit(other * weight))


def _unit(x: Float[Array, "feature"]) -> Float[Array, "feature"]:
    return x / nonzero(length(x))
