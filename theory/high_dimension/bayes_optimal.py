r"""The least error with which anyone can learn a noisy perceptron, and every iteration of the message passing that reaches it.

Formula. Labels $y = \operatorname{sign}(\theta \cdot x/\sqrt d + \tau \xi)$ of $n = \alpha d$ inputs $x \sim N(0, I)$ and a
teacher $\theta \sim N(0, \rho I)$ in $d$ dimensions. The posterior mean $w$ has the overlap $q = \theta \cdot w/d = |w|^2/d$
with

$$
\begin{align*}
\hat q &= \frac{2 \alpha}{s^2}\, \mathbb{E} \frac{\phi(z)^2}{\Phi(z)}, \qquad z \sim N(0, q/s^2), \qquad
s^2 = \tau^2 + \rho - q \\
q &= \frac{\rho^2 \hat q}{1 + \rho \hat q}
\end{align*}
$$

Iterated from $q = 0$ the same two lines give the overlap after every iteration of Bayes-optimal approximate message passing
(state evolution). $\operatorname{sign}(w \cdot x)$ is the vote of all teachers that explain the data, and errs with probability

$$
\epsilon = \frac{1}{\pi} \arccos \sqrt{\frac{q}{\rho + \tau'^2}}, \qquad
\epsilon_\mathrm{Gibbs} = \frac{1}{\pi} \arccos \frac{q}{\sqrt{\rho\, (\rho + \tau'^2)}}
$$

the second being the error of one such teacher, drawn from the posterior. Labels of new points have the noise $\tau'$: 0 for the
clean label.

Regime. $n, d \to \infty$ at fixed $\alpha$. The student knows $\tau$ and $\rho$. The conjugate $\hat q$ is computed as
$\frac{2 \alpha}{s \sqrt{2 \pi (\rho + \tau^2)}} \mathbb{E} \frac{\phi}{\Phi}(\sqrt{q/(\rho + \tau^2)}\, \xi)$, the same number
without a step in the integrand.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\alpha$ | `ratio` | any | samples over dimensions |
| $\rho$ | `norm_squared` | any | $\lvert\theta\rvert^2/d$, the variance of a teacher's weight |
| $\tau$, $\tau'$ | `noise_std` | any | of the noise inside the sign, of the data and of a new label; 0: sign teacher |
| $q$ | `overlap` | any | $\theta \cdot w/d$ and $\lvert w\rvert^2/d$ of the posterior mean $w$ |
| $t$ | `steps` | `step` | iterations of message passing |

Factors. Fields carry $1/\sqrt d$. The posterior variance of a weight is $\rho - q$.

Source. M. Opper and D. Haussler, 1991 (Bayes and Gibbs error), S. Rangan, arXiv 1010.5141, J. Barbier et al., arXiv 1708.03395
(state evolution and its proof): recalled, not re-read. The limits of $\alpha \epsilon$ at large $\alpha$, 0.442 (Bayes) and
0.625 (Gibbs), are recalled too. Derived here again, the form of $\hat q$ with it.

Finite size. Overlaps of one draw scatter by order $d^{-1/2}$ and are off by order $1/d$ on average.

Example. The best error at two samples a dimension, and message passing on its way:

>>> from closedform.theory.high_dimension import bayes_optimal
>>> round(float(bayes_optimal.error(bayes_optimal.overlap(2.0, 1.0, 0.0), 1.0, 0.0)), 6)
0.174534
>>> [round(float(q), 4) for q in bayes_optimal.state_evolution([1, 2, 3, 100], 2.0, 1.0, 0.0)]
[0.5601, 0.6737, 0.7085, 0.7283]
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

from ..numerics.arguments import ArrayLike, above, at_least, require_together, takes
from ..numerics.recording import recorded
from ..numerics.roots import square_root
from . import _perceptron

Number = Real[ArrayLike, ""]
Numbers = Real[ArrayLike, "*#shape"]
Floats = Float[Array, "*#shape"]
POSITIVE, AT_LEAST_0 = above(0, finite=True), at_least(0, finite=True)


@takes(steps=at_least(0), ratio=POSITIVE, norm_squared=POSITIVE, noise_std=AT_LEAST_0)
def state_evolution(
    steps: Int[np.ndarray, "step"], ratio: Number, norm_squared: Number, noise_std: Number
) -> Float[Array, "step"]:
    """The overlap q after so many iterations of message passing from q = 0, in any order.

    >>> [round(float(q), 6) for q in state_evolution([0, 1], 2.0, 1.0, 0.0)]
    [0.0, 0.560099]
    """
    return _evolved(ratio, norm_squared, noise_std, tuple(map(int, steps)))


@takes(ratio=POSITIVE, norm_squared=POSITIVE, noise_std=AT_LEAST_0)
def overlap(ratio: Numbers, norm_squared: Numbers, noise_std: Numbers) -> Float[Array, "*#shape"]:
    """The overlap q of the posterior mean with the teacher.

    >>> round(float(overlap(2.0, 1.0, 0.0)), 6)
    0.728298
    """
    return _overlap(*jnp.broadcast_arrays(ratio, norm_squared, noise_std))


@takes(overlap=AT_LEAST_0, norm_squared=POSITIVE, noise_std=AT_LEAST_0)
def error(overlap: Numbers, norm_squared: Numbers, noise_std: Numbers) -> Float[Array, "*#shape"]:
    """How often the vote of the posterior misses the label of a new point, whose noise is that given here.

    With overlap 0 it is a coin. Raises ValueError for an overlap above norm_squared.

    >>> float(error(0.0, 1.0, 0.0)), float(error(0.5, 1.0, 0.0))
    (0.5, 0.25)
    """
    _require_at_most(overlap, norm_squared)
    overlap, norm_squared, noise_std = jnp.broadcast_arrays(overlap, norm_squared, noise_std)
    return jnp.arctan2(square_root((norm_squared - overlap) + noise_std**2), square_root(overlap)) / math.pi


@takes(overlap=AT_LEAST_0, norm_squared=POSITIVE, noise_std=AT_LEAST_0)
def gibbs_error(overlap: Numbers, norm_squared: Numbers, noise_std: Numbers) -> Float[Array, "*#shape"]:
    """How often one teacher drawn from the posterior misses the label of a new point, whose noise is that given here.

    Raises ValueError for an overlap above norm_squared.

    >>> round(float(gibbs_error(0.5, 1.0, 0.0)), 6)
    0.333333
    """
    _require_at_most(overlap, norm_squared)
    overlap, norm_squared, noise_std = jnp.broadcast_arrays(overlap, norm_squared, noise_std)
    q, noise = overlap / norm_squared, noise_std**2 / norm_squared
    return jnp.arctan2(square_root((1 - q) * (1 + q) + noise), q) / math.pi


# compiled as one where a caller has no program of its own, here and below
@partial(jax.jit, static_argnums=3, inline=True)
def _evolved(ratio: Array, norm_squared: Array, noise_std: Array, steps: tuple[int, ...]) -> Array:
    noise = noise_std**2 / norm_squared

    def update(_, precision: Array) -> Array:
        return ratio * _perceptron.label_information(*_shares(precision), noise)

    return norm_squared * _shares(recorded(update, jnp.zeros_like(ratio), np.array(steps, int)))[0]


@partial(jax.jit, inline=True)
def _overlap(ratio: Array, norm_squared: Array, noise_std: Array) -> Array:
    noise = noise_std**2 / norm_squared

    def log_ratio(log_precision: Floats) -> Floats:
        """ln alpha at which rho hat q is the precision: the precision over the information of one sample a dimension."""
        return log_precision - jnp.log(_perceptron.label_information(*_shares(jnp.exp(log_precision)), noise))

    # The mean of the Mills ratio lies between its value at 0, 0.80, and its mean over a standard normal, 0.91, and
    # s^2 = tau^2 + 1/(1 + rho hat q) between its values for hat q = 0 and for tau = 0.
    least, most = (ratio * c / math.sqrt(2 * math.pi) for c in (1.5, 2.0))
    least, most = least / (1 + noise), (most / jnp.sqrt(1 + noise)) ** 2 + most / jnp.sqrt(1 + noise)
    precision = _perceptron.root_of_log(log_ratio, jnp.log(ratio), least, most)
    return norm_squared * _shares(precision)[0]


def _shares(precision: Array) -> tuple[Array, Array]:
    """q/rho and 1 - q/rho from rho hat q."""
    return precision / (1 + precision), 1 / (1 + precision)


def _require_at_most(overlap: Floats, norm_squared: Floats) -> None:
    require_together("at most norm_squared", lambda q, rho: q <= rho, overlap=overlap, norm_squared=norm_squared)
