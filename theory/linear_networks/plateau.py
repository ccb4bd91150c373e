r"""The plateau at the start of training of a deep linear network: how long it lasts, and how alike all features are on it.

A network of $L$ layers with one output starts with weights of size $a_0 \ll 1$. While its output is small, every gradient is
driven by $b = \mathbb{E}\, y x$ alone, and every layer tends to rank one, $W_1 \approx a\, u_1 \hat b^\top$ and
$W_l \approx a\, u_l u_{l-1}^\top$.

Formula. With weight decay $\lambda$, the penalty $\frac{\lambda}{2} \sum_l \|W_l\|^2$, the amplitude follows

$$
\begin{align*}
\frac{da}{dt} &= |b|\, a^{L-1} - \lambda a \\
a(t) &= a_0\, e^{-\lambda t} \left[ 1 - |b|\, a_0^{L-2}\, \frac{1 - e^{-(L-2) \lambda t}}{\lambda} \right]^{-1/(L-2)}
\qquad (L \geq 3)
\end{align*}
$$

and $a = a_0 e^{(|b| - \lambda) t}$ for $L = 2$. The bracket is 0, and the plateau over, at

$$
t^* = \frac{-\ln (1 - \lambda\, a_0^{2-L}/|b|)}{(L - 2)\, \lambda}, \qquad
t^* = \frac{a_0^{2-L}}{(L-2)\, |b|} \quad (\lambda = 0), \qquad
t^* = \frac{\ln (1/a_0)}{|b| - \lambda} \quad (L = 2)
$$

The network never leaves the plateau if $\lambda \geq |b|\, a_0^{L-2}$. The features of an input $x$ in any hidden layer are
$(\hat b \cdot x)\, u_l$ up to a factor, so that the cosine of two inputs is 1 or -1, and its mean over all pairs is

$$
(2 P - 1)^2, \qquad P = \operatorname{Pr} (\hat b \cdot x > 0)
$$

Regime. $a_0 \to 0$, gradient flow, a start of rank one along $\hat b$. The loss is halved a time of order $1/|b|$ before $t^*$.
A random start reaches rank one by itself; its plateau is longer or shorter, and its threshold lower or higher, by a factor of
order 1 that depends on the draw.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $L$ | `depth` | | layers of weights, a plain integer, at least 2 |
| $a_0$ | `init_scale` | any | norm of each layer at the start |
| $\lvert b \rvert$ | `drive` | any | norm of $\mathbb{E}\, y x$ |
| $\lambda$ | `weight_decay` | any | of the penalty $\frac{\lambda}{2} \sum_l \lVert W_l \rVert^2$ |
| $\hat b$ | `direction` | dim | of $b$; its length does not matter |
| $\beta$ | `momentum` | any | of the heavy ball $v \leftarrow \beta v + g$, $w \leftarrow w - \eta v$ |
| $t$ | `time` | any | learning rate times steps |

Factors. The loss is $\frac12 \mathbb{E} (y - f(x))^2$; without the factor 1/2, $|b|$ counts double. The penalty has a factor
1/2. Means over pairs include the pairs of an input with itself.

Source. D. Liu et al., "Trap of feature diversity in the learning of MLPs", arXiv 2112.00980: the plateau and the likeness of
features, observed. All formulas are derived here. The paper counts L2 regularisation among the operations that help ReLU
networks (recalled); in this model weight decay lengthens the plateau.

Finite size. Relative $O(a_0^{L-2})$ in the time for $L \geq 3$, an additive $O(1/|b|)$ for $L = 2$; relative $O(a_0^L)$ in the
weight decay at the threshold. For finite samples $b$ is their mean of $y x$.

Example. Halving the start of four layers makes the plateau four times as long:

>>> from closedform.theory.linear_networks import plateau
>>> [round(float(plateau.plateau_time(scale, 4, 1.0))) for scale in (0.1, 0.05)]
[50, 200]
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import FINITE, ArrayLike, above, at_least, between, require_not_empty, takes
from ..numerics.exponentials import bounded, saturating
from ..numerics.norms import length

Numbers = Real[ArrayLike, "*#shape"]
SIZE = at_least(0, finite=True)
DEPTH = at_least(2)


@takes(init_scale=SIZE, depth=DEPTH, drive=SIZE, weight_decay=SIZE)
def plateau_time(init_scale: Numbers, depth: int, drive: Numbers, weight_decay: Numbers = 0.0) -> Float[Array, "*#shape"]:
    """t*, at which the amplitude diverges (three layers or more) or reaches 1 (two layers); infinite if it never does.

    With two layers and a drive above the weight decay, a start of 1 or more has no plateau, and the time is 0.

    >>> [round(float(plateau_time(0.1, 4, 1, decay)), 2) for decay in (0, 0.005, 0.02)]
    [50.0, 69.31, inf]
    """
    a, b, decay = jnp.broadcast_arrays(init_scale, drive, weight_decay)
    if depth == 2:
        leaves = (b > decay) & (a > 0)
        time = -jnp.log(jnp.where(leaves, jnp.minimum(a, 1), 1)) / jnp.where(leaves, b - decay, 1)
        return jnp.where(leaves, time, jnp.inf)
    push = b * a ** (depth - 2)  # below it the weight decay does not hold the network
    leaves = push > decay
    push = jnp.where(leaves, push, 1)
    share = jnp.where(leaves, decay, 0) / push
    small = share < 1e-3
    x = jnp.where(small, share, 0)
    series = 1 + x * (1 / 2 + x * (1 / 3 + x * (1 / 4 + x * (1 / 5 + x / 6))))
    longer = jnp.where(small, series, -jnp.log1p(-share) / jnp.where(small, 1, share))
    return jnp.where(leaves, longer / ((depth - 2) * push), jnp.inf)


@takes(time=at_least(0), init_scale=SIZE, depth=DEPTH, drive=SIZE, weight_decay=SIZE)
def plateau_amplitude(
    time: Numbers, init_scale: Numbers, depth: int, drive: Numbers, weight_decay: Numbers = 0.0
) -> Float[Array, "*#shape"]:
    """a(t), the norm of each layer while outputs are small; infinite from `plateau_time` on, for three layers or more.

    >>> [round(float(plateau_amplitude(time, 0.1, 4, 1)), 3) for time in (0, 37.5, 50)]
    [0.1, 0.2, inf]
    """
    t, a, b, decay = jnp.broadcast_arrays(bounded(time), init_scale, drive, weight_decay)
    if depth == 2:
        return jnp.where(a > 0, a * jnp.exp((b - decay) * t), 0)
    order = depth - 2
    left = 1 - order * b * a**order * saturating(t, order * decay)
    lasts = left > 0
    grown = jnp.exp(-decay * t) * jnp.where(lasts, left, 1) ** (-1 / order)
    return jnp.where(lasts, a * grown, jnp.inf)


@takes(init_scale=SIZE, depth=DEPTH, drive=SIZE)
def critical_weight_decay(init_scale: Numbers, depth: int, drive: Numbers) -> Float[Array, "*#shape"]:
    """|b| a_0^(L - 2): with this weight decay, or a larger one, the network stays on the plateau for ever.

    >>> round(float(critical_weight_decay(0.1, 4, 2.5)), 4)
    0.025
    """
    a, b = jnp.broadcast_arrays(init_scale, drive)
    return b if depth == 2 else b * a ** (depth - 2)


@takes(weight_decay=SIZE, depth=at_least(3), drive=above(0, finite=True))
def critical_init_scale(weight_decay: Numbers, depth: int, drive: Numbers) -> Float[Array, "*#shape"]:
    """(lambda/|b|)^(1/(L - 2)), the start up to which the network stays on the plateau; of three layers or more.

    >>> round(float(critical_init_scale(0.025, 4, 2.5)), 4)
    0.1
    """
    share = weight_decay / drive
    some = share > 0
    return jnp.where(some, jnp.where(some, share, 1) ** (1 / (depth - 2)), 0)


@takes(time=at_least(0), learning_rate=above(0, finite=True), momentum=between(0, 1, high_open=True))
def plateau_steps(time: Numbers, learning_rate: Numbers, momentum: Numbers = 0.0) -> Float[Array, "*#shape"]:
    """(1 - beta) t/eta: the updates of gradient descent with momentum that take a time t of gradient flow, if it is slow.

    Leading order in 1/((1 - beta) steps): the velocity has to follow the gradient.

    >>> float(plateau_steps(2.0, 0.5, 0.75))
    1.0
    """
    return (1 - momentum) * time / learning_rate


# ------------------------------------------------------------------------------------------------- how alike features are


@takes(direction=FINITE, inputs=FINITE)
def plateau_cosine(direction: Real[ArrayLike, "dim"], inputs: Real[ArrayLike, "sample dim"]) -> Float[Array, ""]:
    """(2 P - 1)^2, the mean cosine of hidden features over all pairs of these inputs; P is the share with b.x > 0.

    An input with b.x = 0 has no features, and its pairs count as cosine 0.

    >>> float(plateau_cosine([1, 0], [[2, 1], [1, -1], [0.5, 3], [-1, 0]]))
    0.25
    """
    require_not_empty(inputs=inputs)
    return jnp.mean(jnp.sign(inputs @ direction)) ** 2


@takes(mean_over_std=FINITE)
def gaussian_cosine(mean_over_std: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """(2 P - 1)^2 for Gaussian inputs: erf(m/sqrt 2)^2, with m the mean of b.x over its standard deviation.

    >>> round(float(gaussian_cosine(2.0)), 4)
    0.9111
    """
    return jax.scipy.special.erf(mean_over_std / 2**0.5) ** 2


@takes(amplitudes=FINITE, inputs=FINITE)
def mode_cosine(amplitudes: Real[ArrayLike, "*time mode"], inputs: Real[ArrayLike, "sample mode"]) -> Float[Array, "*time"]:
    """The mean cosine of features sum_i A_i x_i u_i with orthonormal u_i, over all pairs of inputs, for amplitudes A_i.

    One large amplitude gives `plateau_cosine` along its mode; equal ones give the mean cosine of the inputs.

    >>> mode_cosine([[1, 0], [1, 1]], [[3, 4], [4, -3]]).round(4).tolist()
    [1.0, 0.5]
    """
    require_not_empty(inputs=inputs)
    features = amplitudes[..., None, :] * jnp.broadcast_to(inputs, (*amplitudes.shape[:-1], *inputs.shape))
    size = length(features)
    some = size > 0
    units = jnp.where(some[..., None], features / jnp.where(some, size, 1)[..., None], 0)
    return jnp.sum(jnp.mean(units, axis=-2) ** 2, axis=-1)
