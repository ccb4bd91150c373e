r"""Tokens under attention with tied weights climb an interaction energy, at a rate set by their speeds.

Formula. $n$ tokens on the unit sphere, $P_x y = y - \langle x, y \rangle x$, temperature $1/\beta$,
$Z_i = \sum_j e^{\beta \langle x_i, x_j \rangle}$, with softmax (SA) or unnormalised (USA):

$$
\begin{align*}
x_i' &= P_{x_i} \sum_j e^{\beta \langle x_i, x_j \rangle} x_j/Z_i \qquad \text{(SA)} \\
x_i' &= P_{x_i} \sum_j e^{\beta \langle x_i, x_j \rangle} x_j/n \qquad \text{(USA)}
\end{align*}
$$

The energy $E = \frac{1}{2 \beta n^2} \sum_{ij} e^{\beta \langle x_i, x_j \rangle}$ rises:

$$
\frac{dE}{dt} = \frac{1}{n} \sum_i \|x_i'\|^2 \quad \text{(USA)}, \qquad
\frac{dE}{dt} = \frac{1}{n^2} \sum_i Z_i \|x_i'\|^2 \quad \text{(SA)}
$$

Regime. Exact for any tokens on the sphere, in continuous time.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $x_i$ | `tokens` | token dim | unit vectors |
| $\beta$ | `beta` | `()` | inverse temperature, above 0 for the energy and from 0 on for its rate |
| $E$ | `energy` | `()` | interaction energy |
| $dE/dt$ | `energy_rate` | `()` | its rate along the flow |

Factors. $V = I$, $Q = K = I$. `softmax=True` is SA, `softmax=False` USA.

Source. B. Geshkovski, C. Letrouit, Y. Polyanskiy, P. Rigollet, arXiv 2312.10794: the flows and the energy of USA, read in a
public formalisation of its statements, not in the paper; no equation number is known to us. The energy of SA is derived here.

Finite size. None: exact for any number of tokens.

Example. Two tokens at right angles, at $\beta = 1$, unnormalised: either moves at the speed 1/2.

>>> import jax.numpy as jnp
>>> from closedform.theory.transformers.interaction_energy import energy, energy_rate
>>> tokens = jnp.eye(2)
>>> round(float(energy(tokens, 1.0)), 5), round(float(energy_rate(tokens, 1.0, softmax=False)), 5)
(0.92957, 0.25)
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Real

from ..numerics import exact
from ..numerics.arguments import ArrayLike, above, at_least, takes
from ..numerics.exponentials import bounded_exp

Number = Real[ArrayLike, ""]


@takes(beta=above(0, finite=True))
def energy(tokens: Real[ArrayLike, "token dim"], beta: Number) -> Float[Array, ""]:
    """E = (1/(2 beta n^2)) sum_ij e^(beta <x_i, x_j>), of any tokens; beta > 0.

    Infinite where e^(beta |x|^2) overflows: of unit vectors from beta = 88 (float32) or 709 on.

    >>> round(float(energy(jnp.eye(2), 1.0)), 5)  # (e + 1)/4
    0.92957
    """
    x, beta_ = jnp.asarray(tokens), jnp.asarray(beta)
    return jnp.mean(jnp.exp(beta_ * (x @ x.T))) / (2 * beta_)


@takes(beta=at_least(0, finite=True))
def energy_rate(tokens: Real[ArrayLike, "token dim"], beta: Number, softmax: bool = True) -> Float[Array, ""]:
    """dE/dt along the flow of the tokens, never negative; beta >= 0. The tokens are unit vectors, which is not checked.

    The relative error is rounding times beta, at any finite beta; the result overflows only where dE/dt does.

    >>> round(float(energy_rate(jnp.eye(2), 1.0, softmax=False)), 5)  # each token moves at 1/2
    0.25
    """
    x, beta_ = jnp.asarray(tokens), jnp.asarray(beta)
    exponents = beta_ * (x @ x.T)
    # velocity times sqrt Z_i (SA), or the velocity; P x_i = 0, so a token's own e^beta and equal tokens count exactly 0
    exponents -= logsumexp(exponents, axis=1, keepdims=True) / 2 if softmax else exact.log(len(x))
    ways = x[None] - x[:, None]
    distances = jax.lax.stop_gradient(jnp.sum(ways**2, axis=2))
    apart = distances > 0
    top = jnp.max(jax.lax.stop_gradient(exponents) + jnp.log(distances) / 2)  # of the terms of the pull
    top = jnp.where(apart.any(), top, 0)
    weights = jnp.where(apart, jnp.exp(jnp.where(apart, exponents - top, 0)), 0)
    pull = jnp.sum(weights[:, :, None] * ways, axis=1)
    square = jnp.sum((pull - jnp.sum(pull * x, axis=1, keepdims=True) * x) ** 2)
    return square * bounded_exp(top) * bounded_exp(top) / len(x) ** (2 if softmax else 1)
