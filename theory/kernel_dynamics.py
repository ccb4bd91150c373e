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
the tangent kernel as its width goes to infinity (`theory.deep_kernels`), for the change of the outputs from their start.

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

Finite size. None for linear models. For networks $O(1/\text{width})$ for outputs of order 1.

Example. Two modes of eigenvalues 1 and 3: what is not yet learned of them falls as $e^{-t}$ and $e^{-3t}$, here by 1/2 and 1/8
from line to line.

>>> import jax.numpy as jnp
>>> from closedform.theory import kernel_dynamics
>>> gram, y = jnp.diag(jnp.array([1.0, 3.0])), jnp.ones(2)
>>> for time in (0.0, 1.0, 2.0, 3.0):
...     flow = kernel_dynamics.gradient_flow(time * jnp.log(2), gram, gram, y)
...     print([round(float(rest), 4) for rest in y - flow.train])
[1.0, 1.0]
[0.5, 0.125]
[0.25, 0.0156]
[0.125, 0.002]
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from .gaussian import as_floats


class Outputs(NamedTuple):
    """Of the trained function; leading axes are those of the time."""

    train: Float[Array, "..."]  # time sample target, without the axes that are not there
    test: Float[Array, "..."]


def gradient_flow(
    time: Real[ArrayLike, "*time"],
    gram: Real[ArrayLike, "sample sample"],
    cross: Real[ArrayLike, "test sample"],
    y: Real[ArrayLike, "sample *target"],
    ridge: Real[ArrayLike, ""] = 0.0,
) -> Outputs:
    """f(x, t) from f = 0, on training and test points; time = inf is ridge regression.

    >>> gram = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    >>> flow = gradient_flow(jnp.array([0.0, 1.0, jnp.inf]), gram, gram[:1], jnp.array([1.0, 1.0]))
    >>> [round(float(f), 4) for f in flow.test[:, 0]]  # 1 - exp(-3 t)
    [0.0, 0.9502, 1.0]
    """
    time, gram, cross, y, ridge = as_floats(time, gram, cross, y, ridge)

    def learned(rates: Float[Array, "mode"]) -> Float[Array, "... mode"]:
        return -jnp.expm1(-jnp.einsum("...,m->...m", time, rates))

    return _outputs(learned, gram, cross, y, ridge)


def gradient_descent(
    steps: Real[ArrayLike, "*time"],
    learning_rate: Real[ArrayLike, ""],
    gram: Real[ArrayLike, "sample sample"],
    cross: Real[ArrayLike, "test sample"],
    y: Real[ArrayLike, "sample *target"],
    ridge: Real[ArrayLike, ""] = 0.0,
) -> Outputs:
    """f(x, s) after any numbers of updates from f = 0, on training and test points; an unstable rate grows without bound.

    >>> gram = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    >>> descent = gradient_descent(jnp.array([1, 2]), 0.1, gram, gram[:1], jnp.array([1.0, 1.0]))
    >>> [round(float(f), 4) for f in descent.test[:, 0]]  # 1 - 0.7^s
    [0.3, 0.51]
    """
    steps, rate, gram, cross, y, ridge = as_floats(steps, learning_rate, gram, cross, y, ridge)

    def learned(rates: Float[Array, "mode"]) -> Float[Array, "... mode"]:
        count = jnp.einsum("...,m->...m", steps, jnp.ones_like(rates))
        factor = jnp.broadcast_to(1 - rate * rates, count.shape)
        # a step that overshoots changes the sign of its mode with every update
        sign = jnp.where((factor < 0) & (count % 2 == 1), -1, 1).astype(factor.dtype)
        return 1 - sign * jnp.abs(factor) ** count

    return _outputs(learned, gram, cross, y, ridge)


def _outputs(learned_fn, gram: Array, cross: Array, y: Array, ridge: Array) -> Outputs:
    """K (K + ridge)^-1 times the learned share of every mode, which learned_fn gives for its rate."""
    eigenvalues, vectors = jnp.linalg.eigh(gram)
    rates = jnp.maximum(eigenvalues, 0) + ridge
    some = jnp.where(rates > 0, rates, 1)
    weight = jnp.where(rates > 0, 1 / some, 0)  # a mode of rate 0 is never learned
    share = jnp.einsum("...m,m->...m", learned_fn(some), weight)
    modes = vectors.T @ y.reshape(len(y), -1)
    coefficients = jnp.einsum("am,...m,mt->...at", vectors, share, modes)

    def applied(kernel: Array) -> Array:
        values = jnp.einsum("xa,...at->...xt", kernel, coefficients)
        return values.reshape(*values.shape[:-1], *y.shape[1:])

    return Outputs(applied(gram), applied(cross))
