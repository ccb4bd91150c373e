r"""How activations and their change in a step of gradient descent depend on the width, for any scaling of weights and rates.

Formula. Layer $l = 1, \dots, L + 1$ has the weights $W_l = n^{-a_l} w_l$, entries of $w_l$ of standard deviation $n^{-b_l}$ at
the start, and the learning rate $\eta\, n^{-c_l}$. All hidden layers have $n$ units; input and output have fixed dimensions.
With $e_l = a_l + b_l$, pre-activations are of the order $n^{s_l}$ at the start, the derivatives of the output in them of the
order $n^{g_l}$, and a step of gradient descent changes them by the order $n^{u_l}$:

$$
\begin{align*}
s_1 &= -e_1, & s_l &= \tfrac{1}{2} - e_l + s_{l-1} \\
g_{L+1} &= 0, \quad g_L = -e_{L+1}, & g_l &= \tfrac{1}{2} - e_{l+1} + g_{l+1} \\
u_1 &= -c_1 - 2 a_1 + g_1, & u_l &= \max (-c_l - 2 a_l + g_l + 1 + 2 s_{l-1},\; u_{l-1} + \tfrac{1}{2} - e_l)
\end{align*}
$$

with $u_{L+1}$ alone having $u_L + 1 - e_{L+1}$ as its second entry: the change of the last hidden layer is aligned with the
readout. The first entry is the layer's own step, along the activations that enter it; the second passes on the change
from below.

| scaling | $a$: first, between, last | $b$ | $c$ |
|---|---|---|---|
| standard | $0, 0, 0$ | $0, \frac{1}{2}, \frac{1}{2}$ | $0, 0, 0$ |
| mean-field | $0, 1, 1$ | $0, 0, 0$ | $-1, -2, -1$ |
| maximal update | $0, \frac{1}{2}, 1$ | $0, 0, 0$ | $-1, -1, -1$ |

Regime. $n \to \infty$, no biases. The first step from independent weights of mean 0, for a loss whose derivative in the output
is of order 1; an activation with $\phi(z) \approx z$ near 0, and $s_l \le 0$. The orders hold to first order in $\eta$. Under
maximal update all $u_l$ are 0, and stay 0 at every later step (recalled). Under standard scaling some $u_l > 0$: the step must
shrink with the width.
With two hidden layers the mean-field network has $u_2 = 0$, and its first layer moves by $n^{-1/2}$ only. With three or
more no layer moves by order 1.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $a_l$ | `Scaling.multiplier` | layer | exponent of the factor before the weights, with a minus |
| $b_l$ | `Scaling.init` | layer | exponent of their standard deviation, with a minus |
| $c_l$ | `Scaling.learning_rate` | layer | exponent of the learning rate, with a minus |
| $s_l$ | `Exponents.preactivation` | layer | of the pre-activations at the start |
| $g_l$ | `Exponents.gradient` | layer | of the derivative of the output in a pre-activation |
| $u_l$ | `Exponents.change` | layer | of the change of the pre-activations in the first step |
| $L$ | `depth` | static | hidden layers, at least one |

Factors. Only $a + b$ and $c + 2 a$ of a layer count: $a \to a + \theta$, $b \to b - \theta$, $c \to c - 2 \theta$ is the same
training. An exponent is the slope of the logarithm of the root mean square over units against the logarithm of the width.

Source. Exponents $a$, $b$, $c$ and maximal update: G. Yang, E. J. Hu, arXiv 2011.14522 (recalled, not re-read). The recursion
and the slopes of the three scalings are derived here.

Finite size. Slopes between widths are off by $O(1/n)$ where one term leads, and by the ratio of the two terms where they differ
by a power.

Example. One step changes the second hidden layer by a factor 2 more at a width 4 times as large, but not under maximal update:

>>> from closedform.theory.feature_learning import width_scaling
>>> for name in ("standard", "mean_field", "maximal_update"):
...     print(name, width_scaling.exponents(width_scaling.scaling(name, 2)).change.tolist())
standard [-0.5, 0.5, 1.0]
mean_field [-0.5, 0.0, 0.0]
maximal_update [0.0, 0.0, 0.0]
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ArrayLike, at_least, each, takes

_NAMED = {  # (multiplier, init, learning rate), each of the first layer, of those between and of the last
    "standard": ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.0, 0.0, 0.0)),
    "mean_field": ((0.0, 1.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0)),
    "maximal_update": ((0.0, 0.5, 1.0), (0.0, 0.0, 0.0), (-1.0, -1.0, -1.0)),
}


@documented
class Scaling(NamedTuple):
    """The exponents of a parametrisation, of each layer from the first to the readout."""

    multiplier: Real[ArrayLike, "layer"]  # a
    init: Real[ArrayLike, "layer"]  # b
    learning_rate: Real[ArrayLike, "layer"]  # c


@documented
class Exponents(NamedTuple):
    """Powers of the width, of each layer from the first to the output."""

    preactivation: Float[Array, "layer"]  # s
    gradient: Float[Array, "layer"]  # g
    change: Float[Array, "layer"]  # u


@takes(depth=at_least(1))
def scaling(name: str, depth: int) -> Scaling:
    """The exponents of the scaling "standard", "mean_field" or "maximal_update" with that many hidden layers.

    >>> scaling("maximal_update", 2).multiplier.tolist()
    [0.0, 0.5, 1.0]
    """
    if name not in _NAMED:
        raise ValueError(f"name must be one of {', '.join(_NAMED)}, got {name!r}")
    return Scaling(*(jnp.asarray([first, *[between] * (depth - 1), last]) for first, between, last in _NAMED[name]))


@takes(scaling=each(Scaling, FINITE, FINITE, FINITE))
def exponents(scaling: Scaling) -> Exponents:
    """s, g and u of every layer."""
    a, b, c = scaling
    if len(a) < 2:
        raise ValueError(f"scaling must have at least two layers, got {len(a)}")
    e = a + b
    last = len(a) - 1
    size, gradient = [-e[0]], [jnp.zeros_like(e[0]), -e[last]]
    for layer in range(1, last + 1):
        size.append(0.5 - e[layer] + size[-1])
    for layer in range(last - 1, 0, -1):
        gradient.append(0.5 - e[layer] + gradient[-1])
    gradient.reverse()
    change = [-c[0] - 2 * a[0] + gradient[0]]
    for layer in range(1, last + 1):
        own = -c[layer] - 2 * a[layer] + gradient[layer] + 1 + 2 * size[layer - 1]
        passed = change[-1] + (1.0 if layer == last else 0.5) - e[layer]
        change.append(jnp.maximum(own, passed))
    return Exponents(jnp.stack(size), jnp.stack(gradient), jnp.stack(change))
