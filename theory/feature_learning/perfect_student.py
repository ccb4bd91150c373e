r"""How online SGD of a committee ends: a floor of noise that grows with the learning rate, up to a critical one.

Formula. In the setting of `online_sgd`, with $g(u) = \operatorname{erf}(u/\sqrt 2)$, an orthonormal teacher of $K$ units and as
many of the student, let $J_k = B_k + \delta_k$ with small $\delta_k$ orthogonal to the teacher and $D = \delta \delta^\top$. To
first order in $D$ and in $\sigma^2$, with $A_{ik} = \mathbb{E}\, g'_i g'_k$ of the teacher's units,

$$
\frac{dD}{d\tau} = -(A D + D A) + \eta \left[ N(D) + \sigma^2 A \right], \qquad
N(D)_{ik} = \sum_{c, e} \mathbb{E}\, g'_i\, g'_k\, g'_c\, g'_e\, D_{ce}, \qquad E = \tfrac12 \operatorname{tr} A D
$$

$N$ maps positive matrices to positive ones, so that the slowest mode is positive; as units may be exchanged, it is
$D = p I + o\, (1 1^\top - I)$, of two numbers. A field that appears $n$ times in a mean contributes
$(2/\pi)^{n/2} (1 + n)^{-1/2}$, hence

$$
\begin{align*}
L &= \frac{2}{\pi} \begin{pmatrix}
\frac{1}{\sqrt 3} & \frac{K - 1}{2} \\ \frac12 & \frac{1}{\sqrt 3} + \frac{K - 2}{2}
\end{pmatrix} \quad \text{for } \tfrac12 (A D + D A), \\
N &= \frac{4}{\pi^2} \begin{pmatrix}
\frac{1}{\sqrt 5} + \frac{K - 1}{3} & \frac{2 (K - 1)}{\sqrt 8} + \frac{(K - 1)(K - 2)}{\sqrt{12}} \\
\frac{2}{\sqrt 8} + \frac{K - 2}{\sqrt{12}} & \frac23 + \frac{4 (K - 2)}{\sqrt{12}} + \frac{(K - 2)(K - 3)}{4}
\end{pmatrix}
\end{align*}
$$

The error rests where $(2 L - \eta N)(p, o) = \eta \sigma^2 a$ with $a = \frac{2}{\pi} (\frac{1}{\sqrt 3}, \frac12)$, at
$E = \frac K2 (a_1 p + (K - 1)\, a_2\, o)$. This is $\eta \sigma^2 K/(2 \sqrt 3\, \pi)$ to first order in $\eta$, and infinite
at the critical learning rate $\eta_c$, the least with $\det (2 L - \eta N) = 0$.

Regime. $d \to \infty$, then $\sigma \to 0$ at any $\eta < \eta_c$ (`stationary_error`), or $\eta \to 0$ too (`noise_floor`).

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\eta$ | `learning_rate` | any | of steps $\eta/d$ |
| $\sigma$ | `noise_std` | any | of the label noise |
| $K$ | `num_units` | | hidden units, of student and teacher |
| $E$ | `stationary_error`, `noise_floor` | any | half the mean square of student less teacher, after a long time |
| $\eta_c$ | `critical_learning_rate` | () | |

Factors. The error has a factor 1/2 and leaves out $\sigma^2/2$.

Source. Derived here from the equations of D. Saad, S. Solla, 1995, doi 10.1103/PhysRevE.52.4225 (recalled); the first order in
$\eta$ is that of S. Goldt et al., arXiv 1906.08632 (recalled). Checked here against the eigenvalues of the equations.

Finite size. Corrections of $O(1/d)$ and $O(\sigma^2)$. For two units or more the floor is reached at the rate 0.098 in $\tau$
for small $\eta$, and at a rate that vanishes at $\eta_c$.

Example. For two units the floor at half the critical learning rate is twice its first order:

>>> from closedform.theory.feature_learning import perfect_student
>>> round(float(perfect_student.critical_learning_rate(2)), 4)
2.3068
>>> [round(float(floor_fn(1.15, 0.1, 2)), 5) for floor_fn in (perfect_student.noise_floor, perfect_student.stationary_error)]
[0.00211, 0.0042]
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import ArrayLike, at_least, takes

Numbers = Real[ArrayLike, "*#shape"]
SIZE = at_least(0, finite=True)


@takes(learning_rate=SIZE, noise_std=SIZE, num_units=at_least(1))
def noise_floor(learning_rate: Numbers, noise_std: Numbers, num_units: int) -> Float[Array, "*#shape"]:
    """eta sigma^2 K/(2 sqrt 3 pi), the error after a long time, to first order in the learning rate.

    The end of the full equations is above it by 0.8 % at eta = 0.02 and 2.0 % at 0.05 for two units, 1.2 % at 0.05 for one.

    >>> round(float(noise_floor(0.05, 0.3, 2)), 7)
    0.000827
    """
    return learning_rate * noise_std**2 * (num_units / (2 * math.sqrt(3) * math.pi))


@takes(learning_rate=SIZE, noise_std=SIZE, num_units=at_least(1))
def stationary_error(learning_rate: Numbers, noise_std: Numbers, num_units: int) -> Float[Array, "*#shape"]:
    """The error after a long time at any learning rate, to leading order in sigma^2; infinite from the critical rate on.

    >>> round(float(stationary_error(0.05, 0.3, 1)), 5)
    0.00042
    """
    drift, noise, source = _modes(num_units)
    # (2 L - eta N)^-1 by Cramer's rule
    a, b, c, d = (2 * rate - learning_rate * kick for rate, kick in zip(drift, noise, strict=True))
    determinant = a * d - b * c
    alike = (d * source[0] - b * source[1]) / determinant
    apart = (a * source[1] - c * source[0]) / determinant
    rests = learning_rate < _critical(num_units)
    size = num_units / 2 * (source[0] * alike + (num_units - 1) * source[1] * apart)
    silent = noise_std == 0
    return jnp.where(rests, learning_rate * noise_std**2 * jnp.where(rests, size, 0), jnp.where(silent, 0, jnp.inf))


@takes(num_units=at_least(1))
def critical_learning_rate(num_units: int) -> Float[Array, ""]:
    """eta_c, from which on the perfect student is not stable; without noise.

    >>> [round(float(critical_learning_rate(count)), 4) for count in (1, 2, 3)]
    [4.0558, 2.3068, 1.6207]
    """
    return jnp.asarray(_critical(num_units), jnp.result_type(float))


def _modes(num_units: int) -> tuple[list[float], list[float], list[float]]:
    """L and N, row by row, and a; in Python's numbers, the same on every processor."""
    K, unit = num_units, 2 / math.pi
    same, other = 1 / math.sqrt(3), 0.5
    drift = [same, (K - 1) * other, other, same + (K - 2) * other]
    # by how often each of the fields appears: 4; 2 and 2; 3 and 1; 2, 1 and 1; 1, 1, 1 and 1
    four, pairs, three, one_pair, none = 1 / math.sqrt(5), 1 / 3, 1 / math.sqrt(8), 1 / math.sqrt(12), 1 / 4
    noise = [
        four + (K - 1) * pairs,
        2 * (K - 1) * three + (K - 1) * (K - 2) * one_pair,
        2 * three + (K - 2) * one_pair,
        2 * pairs + 4 * (K - 2) * one_pair + (K - 2) * (K - 3) * none,
    ]
    return [unit * rate for rate in drift], [unit**2 * kick for kick in noise], [unit * same, unit * other]


def _critical(num_units: int) -> float:
    """The least positive root of det(2 L - eta N)."""
    drift, (e, f, g, h), _ = _modes(num_units)
    a, b, c, d = (2 * rate for rate in drift)
    if num_units == 1:
        return a / e  # one unit has no pair: the second number is none
    constant, linear, square = a * d - b * c, a * h + d * e - b * g - c * f, e * h - f * g
    # the smaller root without cancellation
    return 2 * constant / (linear + math.sqrt(linear**2 - 4 * constant * square))
