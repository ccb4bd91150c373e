r"""Gradient flow of a balanced two-layer linear network, exactly: a matrix Riccati equation and its solution.

Formula. The network $f(x) = W_2 W_1 x$ with the loss $\frac{1}{2} \mathbb{E} |y - f(x)|^2$ on white inputs,
$\mathbb{E} x x^\top = I$, and $\Sigma = \mathbb{E} y x^\top$:

$$
\dot W_1 = W_2^\top (\Sigma - W_2 W_1), \qquad \dot W_2 = (\Sigma - W_2 W_1) W_1^\top
$$

conserves $D = W_2^\top W_2 - W_1 W_1^\top$, for inputs of any covariance. If $D = \lambda I$ ($\lambda = 0$: balanced), then
with

$$
Q = \begin{pmatrix} W_1^\top \\ W_2 \end{pmatrix}, \qquad
F = \begin{pmatrix} -\frac{\lambda}{2} I & \Sigma^\top \\ \Sigma & \frac{\lambda}{2} I \end{pmatrix}, \qquad
P = Q Q^\top = \begin{pmatrix} W_1^\top W_1 & (W_2 W_1)^\top \\ W_2 W_1 & W_2 W_2^\top \end{pmatrix}
$$

the flow is

$$
\dot P = F P + P F - P^2, \qquad
P(t) = e^{F t} Q_0 \left[ I + Q_0^\top \int_0^t e^{2 F s} ds\; Q_0 \right]^{-1} Q_0^\top e^{F t}
$$

With one input, one output and one hidden unit, $u = w_2 w_1$ and $\lambda = w_2^2 - w_1^2$,

$$
\dot u = \sqrt{\lambda^2 + 4 u^2}\, (s - u), \qquad
t = \frac{1}{\kappa} \ln \frac{N(u)\, (s - u_0)}{N(u_0)\, (s - u)}, \qquad
\kappa^2 = \lambda^2 + 4 s^2, \quad N(u) = \lambda^2 + 4 s u + \kappa \sqrt{\lambda^2 + 4 u^2}
$$

a sigmoid of rate $2 s$ for $\lambda = 0$ (rich) and an exponential of rate $|\lambda|$ for $|\lambda| \gg s$ (lazy).

Regime. Gradient flow (steps $\to 0$), white inputs; every size, width and time. The imbalance is a multiple of the identity:
$\lambda > 0$ then needs a width up to the number of outputs, $\lambda < 0$ up to that of inputs, and a wider network is
balanced. (`small_start.small_start_flow` is for small weights of any imbalance.) The conservation of $D$ holds for any inputs
and any loss of the output.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $t$ | `time` | any | `learning_rate` times steps as the rate goes to 0 |
| $\Sigma$, $s$ | `cross` | `output dim` | correlation of outputs with inputs |
| $W_1$, $W_2$ | `w1`, `w2` | `width dim`, `output width` | weights at $t = 0$ |
| $F$, $Q_0$ | `generator`, `factor` | `dim dim`, `dim width` | of `riccati_flow`: any symmetric matrix, any matrix |
| $W_2 W_1$ | `TwoLayer.product` | `*time output dim` | the function that the network computes |
| $W_1^\top W_1$ | `TwoLayer.inputs` | `*time dim dim` | kernel of the hidden representation |
| $W_2 W_2^\top$ | `TwoLayer.outputs` | `*time output output` | kernel of the readout |
| $u$, $u_0$, $\lambda$ | `strength`, `initial`, `imbalance` | any | one mode |

Factors. The loss has the $\frac{1}{2}$; without it time counts double. Inputs of covariance $v I$: give $\sqrt{v}\, W_l$ for
$W_l$, and divide `product` and the kernels of the result by $v$.

Source. A. Saxe, J. McClelland, S. Ganguli, arXiv 1312.6120 (modes); K. Fukumizu, 1998 (Riccati solution); L. Braun et al.,
2022; C. Domine et al., arXiv 2409.14623 (imbalance $\lambda I$); S. Tarmoun et al., 2021: all recalled, not re-read. Derived
here again, the time of one mode with it.

Finite size. None. `riccati_flow` and `two_layer_flow` are exact to rounding at any time, infinity included: exponentials are
taken as ratios that do not exceed 1, and $F$ may be singular. Descent in steps of $\eta$ lags behind the flow: a mode of
strength $s$ by about $\eta s^2 t/4$ of $s$.

Example. Two modes of a balanced start, the strong one first:

>>> import jax.numpy as jnp
>>> from closedform.theory.linear_networks import riccati
>>> flow = riccati.two_layer_flow([0.0, 2.0, 8.0], jnp.diag(jnp.array([3.0, 0.5])), 0.1 * jnp.eye(2), 0.1 * jnp.eye(2))
>>> [[round(float(u), 2) for u in jnp.diag(product)] for product in flow.product]
[[0.01, 0.01], [2.99, 0.07], [3.0, 0.49]]
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ArrayLike, above, at_least, known, takes
from ..numerics.norms import power_of_two
from . import _factored

Numbers = Real[ArrayLike, "*#shape"]
AT_LEAST_0 = at_least(0, finite=True)


@documented
class TwoLayer(NamedTuple):
    """What the weights of a two-layer network do; leading axes are those of the time."""

    product: Float[Array, "*time output dim"]  # W_2 W_1
    inputs: Float[Array, "*time dim dim"]  # W_1^T W_1: the kernel of the hidden representation
    outputs: Float[Array, "*time output output"]  # W_2 W_2^T: the kernel of the readout


@takes(time=at_least(0), generator=FINITE, factor=FINITE)
def riccati_flow(
    time: Real[ArrayLike, "*time"], generator: Real[ArrayLike, "dim dim"], factor: Real[ArrayLike, "dim width"]
) -> Float[Array, "*time dim dim"]:
    """P(t) of dP/dt = F P + P F - P^2 from P(0) = A A^T, for any symmetric F = `generator` and any A = `factor`.

    Times in any order; an infinite one gives the limit. Parts of the factor below 100 roundings of its norm count as missing
    rank. First derivatives are right everywhere, higher ones where the factor has full rank and no eigenvalue of the generator
    repeats. Raises ValueError for a generator that is not symmetric.

    >>> float(riccati_flow(jnp.inf, [[0.5]], [[0.1]])[0, 0])  # dp/dt = p - p^2
    1.0
    """
    _require_symmetric(generator)
    root = jnp.swapaxes(_factored.flow_root(time.ravel(), generator, factor), 0, 1)
    return jnp.moveaxis(_factored.sum_of_products(root, root), -1, 0).reshape(*time.shape, *generator.shape)


@takes(time=at_least(0), cross=FINITE, w1=FINITE, w2=FINITE)
def two_layer_flow(
    time: Real[ArrayLike, "*time"],
    cross: Real[ArrayLike, "output dim"],
    w1: Real[ArrayLike, "width dim"],
    w2: Real[ArrayLike, "output width"],
) -> TwoLayer:
    """The network after any time from a start with W_2^T W_2 - W_1 W_1^T = lambda I, in closed form; lambda is read from it.

    Times in any order; an infinite one gives the limit. Raises ValueError where the imbalance of the start is not a multiple
    of the identity, to a root of rounding of the squares of the weights. (Traced weights are not held against this: their mean
    imbalance counts as lambda.)
    """
    _require_multiple(w1, w2)
    F = _generator(cross, (jnp.sum(w2**2) - jnp.sum(w1**2)) / max(len(w1), 1))
    return _blocks(_factored.flow_root(time.ravel(), F, jnp.concatenate([w1.T, w2])), time.shape, w1.shape[1])


@takes(w1=FINITE, w2=FINITE)
def imbalance(w1: Real[ArrayLike, "width dim"], w2: Real[ArrayLike, "output width"]) -> Float[Array, "width width"]:
    """W_2^T W_2 - W_1 W_1^T, conserved by gradient flow between any two linear layers that follow one another.

    >>> imbalance([[1.0, 2.0]], [[3.0]]).tolist()
    [[4.0]]
    """
    return w2.T @ w2 - w1 @ w1.T


@takes(strength=AT_LEAST_0, target=above(0, finite=True), initial=AT_LEAST_0, imbalance=FINITE)
def unbalanced_time(strength: Numbers, target: Numbers, initial: Numbers, imbalance: Numbers) -> Float[Array, "*#shape"]:
    """When a mode u = w_1 w_2 of the imbalance lambda = w_2^2 - w_1^2 reaches a strength, from `initial` at time 0.

    Infinite for the target and beyond it; negative for a strength between 0 and `initial` that the flow has passed.

    >>> round(float(unbalanced_time(0.5, 1.0, 1e-3, 0.0)), 5), round(float(unbalanced_time(0.5, 1.0, 0.0, 100.0)), 5)
    (3.45338, 0.00693)
    """
    u, s, u0, skew = jnp.broadcast_arrays(strength, target, initial, imbalance)
    unit = power_of_two(jnp.stack([u, s, u0, skew]), axis=0)
    u, s, u0, skew = u / unit, s / unit, u0 / unit, skew / unit
    kappa = jnp.hypot(skew, 2 * s)
    left, left0 = s - u, s - u0
    numerator, numerator0 = (skew**2 + 4 * s * x + kappa * jnp.hypot(skew, 2 * x) for x in (u, u0))
    passed = (left * left0 > 0) & (numerator > 0) & (numerator0 > 0)  # a balanced mode of strength 0 rests
    top, bottom = numerator * left0, numerator0 * left
    time = jnp.log(jnp.where(passed, top, 1) / jnp.where(passed, bottom, 1)) / (kappa * unit)
    never = jnp.where((u - u0) * left0 >= 0, jnp.inf, -jnp.inf)
    return jnp.where(passed, time, jnp.where(u == u0, 0, never))


def _generator(cross: Float[Array, "output dim"], lopsided: Float[Array, ""]) -> Float[Array, "sum sum"]:
    outputs, dim = cross.shape
    diagonal = jnp.where(jnp.arange(dim + outputs) < dim, -lopsided, lopsided) / 2
    return jnp.diag(diagonal).at[dim:, :dim].set(cross).at[:dim, dim:].set(cross.T)


def _blocks(root: Float[Array, "sum rank time"], shape: tuple[int, ...], dim: int) -> TwoLayer:
    first, second = (jnp.swapaxes(part, 0, 1) for part in (root[:dim], root[dim:]))
    pairs = ((second, first), (first, first), (second, second))
    blocks = (jnp.moveaxis(_factored.sum_of_products(*pair), -1, 0) for pair in pairs)
    return TwoLayer(*(block.reshape(*shape, *block.shape[1:]) for block in blocks))


def _require_symmetric(generator: Float[Array, "dim dim"]) -> None:
    if known(generator):
        values = np.asarray(generator)
        allowed = float(np.finfo(values.dtype).eps) ** 0.5 * np.max(np.abs(values), initial=0)
        if np.max(np.abs(values - values.T), initial=0) > allowed:
            raise ValueError("generator must be symmetric")


def _require_multiple(w1: Float[Array, "width dim"], w2: Float[Array, "output width"]) -> None:
    if known(w1, w2):  # by numpy: inside a program whose constants they are, jnp would trace
        first, second = np.asarray(w1), np.asarray(w2)
        found = second.T @ second - first @ first.T
        rest = found - np.trace(found) / max(len(found), 1) * np.eye(len(found))
        size = max(np.max(np.abs(w.T @ w), initial=0) for w in (first, second))
        if np.max(np.abs(rest), initial=0) > float(np.finfo(first.dtype).eps) ** 0.5 * size:
            raise ValueError(
                f"w2 must have W_2^T W_2 - W_1 W_1^T = lambda I with w1, got entries up to {np.max(np.abs(rest)):.2g} off; "
                "small_start.small_start_flow takes small weights of any imbalance"
            )
