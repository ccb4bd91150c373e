r"""Least squares on fixed features under gradient descent: every mode of the kernel is learned at its own rate.

Formula. With features $\phi$, kernel matrix $K = \Phi \Phi^\top$ of the training points, and weights $v$ from 0 on the loss

$$
L(v) = \frac{1}{2} \sum_a (y_a - \phi_a \cdot v)^2 + \frac{\delta}{2} |v|^2
$$

gradient flow gives $f(x, t)$, and gradient descent, stable for $\eta < 2/(\lambda_{\max} + \delta)$, gives $f(x, s)$:

$$
\begin{align*}
f(x, t) &= K_x (K + \delta)^{-1} \left[I - e^{-(K + \delta) t}\right] y \\
f(x, s) &= K_x (K + \delta)^{-1} \left[I - \left(I - \eta (K + \delta)\right)^s\right] y
\end{align*}
$$

As $t$ grows $f$ goes to ridge regression with the ridge $\delta$; for $\delta = 0$ to the interpolant of least norm.

Regime. Exact for a model that is linear in its weights. For a network trained by gradient flow with small steps it holds with
the tangent kernel as its width goes to infinity (`theory.kernels.deep_kernels`), for the change of the outputs from their
start.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $K$ | `gram` | `sample sample` | kernel of training points |
| $K_x$ | `cross` | `test sample` | of test with training points |
| $\delta$ | `ridge` | `()` | weight decay of the loss as written |
| $t$ | `time` | any | learning rate times steps as the rate goes to 0 |
| $\eta$, $s$ | `learning_rate`, `steps` | `()`, any | step size, number of updates |

Factors. The loss has $\frac{1}{2}$ on both terms and is a sum over examples: for $\sum (y - f)^2 + \delta |v|^2$ the time
counts double, for a mean over $n$ examples it is divided by $n$ (and $\delta$ multiplied by $n$).

Source. Textbook; for networks A. Jacot, F. Gabriel, C. Hongler, "Neural tangent kernel", 2018, arXiv 1806.07572, and J. Lee
et al., "Wide neural networks of any depth evolve as linear models", 2019, arXiv 1902.06720 (recalled). The ridge is derived
here.

Kernels of low rank. Eigenvalues up to n eps times the largest are rounding and count as 0, and so do the components of `cross`
along their eigenvectors: features that are 0 on the data are never learned, whatever the time.

Finite size. None for linear models. For networks $O(1/\text{width})$ for outputs of order 1.

Example. Two modes of eigenvalues 1 and 3: the parts not yet learned fall as $e^{-t}$ and $e^{-3t}$, here by 1/2 and 1/8
from line to line.

>>> import jax.numpy as jnp
>>> from closedform.theory.kernels import kernel_dynamics
>>> gram, y = jnp.diag(jnp.array([1.0, 3.0])), jnp.ones(2)
>>> for time in (0.0, 1.0, 2.0, 3.0):
...     flow = kernel_dynamics.gradient_flow(time * jnp.log(2), gram, gram, y)
...     print([round(float(rest), 4) for rest in y - flow.train])
[1.0, 1.0]
[0.5, 0.125]
[0.25, 0.0156]
[0.125, 0.002]
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ArrayLike, at_least, takes
from ..numerics.symmetric import function_applied, require_kernel


@documented
class Outputs(NamedTuple):
    """Outputs of the trained function; leading axes are those of the time."""

    train: Float[Array, "..."]  # time sample target; axes that the arguments lack are absent
    test: Float[Array, "..."]


@takes(time=at_least(0), gram=FINITE, cross=FINITE, y=FINITE, ridge=at_least(0))
def gradient_flow(
    time: Real[ArrayLike, "*time"],
    gram: Real[ArrayLike, "sample sample"],
    cross: Real[ArrayLike, "test sample"],
    y: Real[ArrayLike, "sample *target"],
    ridge: Real[ArrayLike, ""] = 0.0,
) -> Outputs:
    """f(x, t) from f = 0, on training and test points; time = inf is ridge regression. An infinite ridge learns nothing.

    >>> gram = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    >>> flow = gradient_flow(jnp.array([0.0, 1.0, jnp.inf]), gram, gram[:1], jnp.array([1.0, 1.0]))
    >>> [round(float(f), 4) for f in flow.test[:, 0]]  # 1 - exp(-3 t)
    [0.0, 0.9502, 1.0]
    """
    return _outputs(_flow, _flow_divided, (time,), gram, cross, y, ridge)


@takes(
    steps=at_least(0),
    learning_rate=at_least(0, finite=True),
    gram=FINITE,
    cross=FINITE,
    y=FINITE,
    ridge=at_least(0, finite=True),
)
def gradient_descent(
    steps: Real[ArrayLike, "*time"],
    learning_rate: Real[ArrayLike, ""],
    gram: Real[ArrayLike, "sample sample"],
    cross: Real[ArrayLike, "test sample"],
    y: Real[ArrayLike, "sample *target"],
    ridge: Real[ArrayLike, ""] = 0.0,
) -> Outputs:
    """f(x, s) after any number of updates from f = 0, on training and test points; an unstable rate grows without bound.

    `steps` are whole numbers, of known parity up to 1/eps (2^24 in float32). Between whole numbers the unlearned part of a mode
    that overshoots is |1 - rate lambda|^s. After infinitely many steps a mode at the edge of stability, rate lambda = 2, has no
    limit: NaN.

    >>> gram = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    >>> descent = gradient_descent(jnp.array([1, 2]), 0.1, gram, gram[:1], jnp.array([1.0, 1.0]))
    >>> [round(float(f), 4) for f in descent.test[:, 0]]  # 1 - 0.7^s
    [0.3, 0.51]
    """
    return _outputs(_descent, _descent_divided, (steps, jnp.full_like(steps, learning_rate)), gram, cross, y, ridge)


@takes(steps=at_least(0), learning_rate=at_least(0, finite=True), eigenvalue=at_least(0, finite=True))
def learned_share(
    steps: Real[ArrayLike, "*#shape"], learning_rate: Real[ArrayLike, "*#shape"], eigenvalue: Real[ArrayLike, "*#shape"]
) -> Float[Array, "*#shape"]:
    """1 - (1 - eta lambda)^s, the share of its target that gradient descent has learned of a mode; above 1 where it overshoots.

    What is said of `steps` in `gradient_descent` holds here.

    >>> [round(float(share), 4) for share in learned_share([1, 2, jnp.inf], 0.3, 1.0)]
    [0.3, 0.51, 1.0]
    """
    steps, learning_rate, eigenvalue = jnp.broadcast_arrays(steps, learning_rate, eigenvalue)
    return _learned(learning_rate * eigenvalue, steps)


def _outputs(function, divided, parameters: tuple, gram: Array, cross: Array, y: Array, ridge: Array) -> Outputs:
    require_kernel(gram)
    gram = (gram + gram.T) / 2
    rows, targets = jnp.concatenate([gram, cross]), y.reshape(len(y), -1)
    values = function_applied(function, divided, parameters, gram, ridge, rows, targets)
    values = values.reshape(*values.shape[:-1], *y.shape[1:])
    at = parameters[0].ndim
    return Outputs(*jnp.split(values, [len(y)], axis=at))


# ------------------------------------------------ f(a) = (1 - what is left of a mode of rate a)/a, and its divided differences


def _aligned(rates: Array, parameters: tuple) -> tuple[Array, ...]:
    """Rates and parameters reshaped to broadcast: axes of the time first, axes of the rates last."""
    at, time = rates.shape, parameters[0].shape
    return rates.reshape((1,) * len(time) + at), *(part.reshape(time + (1,) * len(at)) for part in parameters)


def _flow(rates: Array, parameters: tuple) -> Array:
    a, t = _aligned(rates, parameters)
    return _flow_share(a, t)


def _flow_share(a: Array, t: Array) -> Array:
    """(1 - exp(-a t))/a."""
    some = jnp.where((a > 0) & (a < jnp.inf), a, 1)
    return jnp.where(a == jnp.inf, 0, jnp.where(a > 0, -jnp.expm1(-some * t) / some, t))


def _flow_divided(low: Array, high: Array, parameters: tuple) -> Array:
    a, t = _aligned(low, parameters)
    b, _ = _aligned(high, parameters)
    left = jnp.exp(-jnp.where(a > 0, a, 1) * t)
    left = jnp.where(a > 0, left, 1)
    # exp(-a t) - exp(-b t) over b - a
    spread = jnp.where(left > 0, left * _flow_share(b - a, t), 0)
    return _divided(a, b, _flow_share(a, t) - spread, b * t, [t ** (k + 2) / math.factorial(k + 2) for k in range(4)])


def _divided(a: Array, b: Array, above: Array, size: Array, terms: list) -> Array:
    """-above/b, or where b t, `size`, is small the series sum (-1)^(k+1) terms_k sum_j a^j b^(k-j), good to 1e-10."""
    series = -terms[0] + terms[1] * (a + b) - terms[2] * (a**2 + a * b + b**2) + terms[3] * (a + b) * (a**2 + b**2)
    small = size < 0.01
    return jnp.where(small, series, -above / jnp.where(small, 1, b))


def _descent(rates: Array, parameters: tuple) -> Array:
    a, s, rate = _aligned(rates, parameters)
    return _descent_share(a, s, rate)


def _descent_share(a: Array, s: Array, rate: Array) -> Array:
    """(1 - (1 - rate a)^s)/a."""
    some = jnp.where(a != 0, a, 1)
    return jnp.where(a != 0, _learned(rate * some, s) / some, jnp.where((a != 0) | (rate == 0), 0, s) * rate)


@jax.custom_jvp
def _learned(x: Array, s: Array) -> Array:
    """1 - (1 - x)^s."""
    power = _log_power(x, s)
    return jnp.where(_odd(x, s), 1 + jnp.exp(power), -jnp.expm1(power))


@_learned.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    (x, s), (dx, ds) = primals, tangents
    before, after = (jnp.where(_odd(x, count), -1, 1) * jnp.exp(_log_power(x, count)) for count in (s - 1, s))
    in_x, in_s = s * before, -after * _log_power(x, jnp.ones_like(s))
    in_x, in_s = (jnp.where(jnp.isnan(slope), 0, slope) for slope in (in_x, in_s))
    return _learned(x, s), in_x * dx + in_s * ds


def _odd(x: Array, s: Array) -> Array:
    """A step that overshoots changes the sign of its mode with every update."""
    return (x > 1) & (jnp.where(jnp.isinf(s), 0, s) % 2 == 1)


def _log_power(x: Array, s: Array) -> Array:
    """log |1 - x|^s, without the rounding of 1 - x."""
    still = (s == 0) | (x == 0)
    return jnp.where(still, 0, jnp.where(still, 1, s) * jnp.log1p(-jnp.where(x < 1, x, 2 - x)))


def _descent_divided(low: Array, high: Array, parameters: tuple) -> Array:
    a, s, rate = _aligned(low, parameters)
    b, _, _ = _aligned(high, parameters)
    # (1 - rate a)^s - (1 - rate b)^s over b - a, from the one of the two powers that is larger
    first, second = 1 - rate * a, 1 - rate * b
    swap = jnp.abs(second) > jnp.abs(first)
    larger = jnp.where(swap, second, first)
    larger = jnp.where(larger == 0, jnp.finfo(larger.dtype).eps ** 2, larger)  # both powers are 0, and any small number will do
    power = 1 - _learned(jnp.where(swap, rate * b, rate * a), s)
    power = jnp.where((first == 0) & (second == 0), larger**s, power)
    spread = power * _descent_share(jnp.where(swap, a - b, b - a), s, rate / larger)
    spread = jnp.where(power == 0, 0, spread)
    terms, term = [], rate * s
    for k in range(2, 6):  # binomials s over k, times rate^k
        term = term * rate * (s - (k - 1)) / k
        terms.append(term)
    return _divided(a, b, _descent_share(a, s, rate) - spread, b * rate * jnp.maximum(s, 1), terms)
