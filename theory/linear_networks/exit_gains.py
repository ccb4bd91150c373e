r"""A deep linear network with a nested loss at every layer: the gains that gradient flow ends with, layer by layer.

Formula. The representations $z_n = W_n \cdots W_1 x$, $n = 1, \dots, N$, have a decoder $V_{n,m}$ for every layer and every
trained prefix size $m$, and the loss is $\sum_{n,m} c_{n,m} \mathbb{E} |x - V_{n,m} (z_n)_{:m}|^2$. Of unit $i$ of layer $n$
gradient flow conserves the incoming less the outgoing weights, over all consumers,

$$
|\mathrm{row}_i W_n|^2 - |\mathrm{col}_i W_{n+1}|^2 - \sum_{m \geq i} |\mathrm{col}_i V_{n,m}|^2 = \mathrm{const}
$$

Coordinate $i$ belongs to $K_i$ trained prefixes. From a vanishing aligned start ($W_n$ and $V_{n,m}$ diagonal) its gains
$w_n$ end at

$$
w_n^2 = w_{n+1}^2 + \frac{K_i}{g_n^2}, \qquad g_n = \prod_{j \leq n} w_j, \qquad w_{N+1} = 0
$$

with decoders $1/g_n$. One layer has $w = K_i^{1/4}$ and two have, at $K_i = 2$, exactly $\sqrt 2$ and 1. The solution is
unique: backwards from $p_n = g_n^2/K_i$,

$$
p_{n-1} = \frac{p_n^2}{1 + p_{n+1}}, \qquad p_{N+1} = 0, \qquad p_0 = \frac{1}{K_i}
$$

and $p_0$ rises with $p_N$. With one layer, small gains of coordinate $i$ grow as $e^{r_i t}$ with
$r_i = 2 \lambda_i \sqrt{K_i}$. From a random start of scale $a$ with $K_1 > K_2$ units remain mixed by a part that falls as
$a^{1 - \sqrt{K_2/K_1}}$.

Regime. The conservation law is exact for gradient flow, any data, any weights $c_{n,m}$ and any start. The gains are exact
for an aligned start in the limit of a vanishing scale; they depend on $N$ and $K_i$ alone, not on the data and not on
positive weights $c_{n,m}$. A random start ends near them only; the exponent of the mixing is an argument on the growth of
small gains, not a proof.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $N$ | `depth` | | layers, a plain integer |
| $K_i$ | `count` | any | trained prefix sizes that contain the coordinate, those at least $i$ |
| $w_n$ | `exit_gains` | any, layer | gains of the layers, $n = 1, \dots, N$ |
| $g_n$ | `exit_scales` | any, layer | scale of the coordinate in $z_n$ |
| $\lambda_i$ | `eigenvalue` | any | variance of the input along the coordinate |

Factors. Gains do not depend on a factor of the loss. The rate $r_i$ is that of the loss without $\frac{1}{2}$; with it, half.

Source. Derived here, as is the conservation law. X. Li et al., "2D Matryoshka Sentence Embeddings", arXiv 2402.14776 (number
recalled), has the training at several layers and prefix sizes, of a transformer.

Finite size. Gradient descent with step size $\eta$ changes the conserved quantity in every step by $\eta^2$ times the same
expression in the gradients, so by an amount proportional to $\eta$ in a given time; the gains are off in proportion.

Example. Early layers have the larger gains, and coordinates in more prefixes:

>>> from closedform.theory.linear_networks.exit_gains import exit_gains
>>> for count in (3, 2, 1):
...     print([round(float(w), 4) for w in exit_gains(count, 2)])
[1.5433, 1.0594]
[1.4142, 1.0]
[1.2207, 0.9051]
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import ArrayLike, above, at_least, takes

Numbers = Real[ArrayLike, "*#shape"]
COUNT = above(0, finite=True)


@takes(count=COUNT, depth=at_least(1))
def exit_gains(count: Real[ArrayLike, "*shape"], depth: int) -> Float[Array, "*shape layer"]:
    """w_1, .., w_N of a coordinate that belongs to `count` of the trained prefixes. Counts need not be whole.

    >>> exit_gains(16.0, 1).tolist()  # K^(1/4)
    [2.0]
    """
    log_scales = _log_scales(count, depth)
    return jnp.exp(jnp.diff(log_scales, prepend=jnp.zeros_like(log_scales[..., :1])) / 2)


@takes(count=COUNT, depth=at_least(1))
def exit_scales(count: Real[ArrayLike, "*shape"], depth: int) -> Float[Array, "*shape layer"]:
    """g_1, .., g_N: the scale of the coordinate in the representation of each layer; its decoders are 1/g_n.

    >>> [round(float(g), 4) for g in exit_scales(2.0, 2)]
    [1.4142, 1.4142]
    """
    return jnp.exp(_log_scales(count, depth) / 2)


@takes(eigenvalue=at_least(0, finite=True), count=at_least(0, finite=True))
def growth_rate(eigenvalue: Numbers, count: Numbers) -> Float[Array, "*#shape"]:
    """r, the rate at which small gains of a coordinate grow in a network of one layer with separate decoders.

    >>> float(growth_rate(3.0, 4.0))
    12.0
    """
    return 2 * eigenvalue * jnp.where(count > 0, jnp.sqrt(jnp.where(count > 0, count, 1)), 0)


@takes(first=COUNT, second=at_least(0, finite=True))
def mixing_exponent(first: Numbers, second: Numbers) -> Float[Array, "*#shape"]:
    """1 - sqrt(K_2/K_1): the power of the scale of a random start with which the first two units remain mixed, one layer.

    `first` is K_1, `second` K_2, at most K_1 for nested prefixes. The exponent is 0 where the counts are equal: units
    remain mixed from any start.

    >>> mixing_exponent(4.0, 1.0).item()
    0.5
    """
    share = second / first
    return 1 - jnp.where(share > 0, jnp.sqrt(jnp.where(share > 0, share, 1)), 0)


def _log_scales(count: Float[Array, "*shape"], depth: int) -> Float[Array, "*shape layer"]:
    """ln g_n^2."""
    last = _last(jnp.log(count), depth)
    return jnp.stack(_backwards(last, depth)[1:], axis=-1) + jnp.log(count)[..., None]


def _backwards(last: Float[Array, "*shape"], depth: int) -> list[Float[Array, "*shape"]]:
    """ln p_0, .., ln p_N from the last."""
    found = [last]
    for _ in range(depth):
        after = jax.nn.softplus(found[1]) if len(found) > 1 else 0.0  # ln (1 + p)
        found.insert(0, 2 * found[0] - after)
    return found


def _last(log_count: Float[Array, "*shape"], depth: int) -> Float[Array, "*shape"]:
    """ln p_N by Newton's method.

    ln p_0 is a concave rising function of x = ln p_N. It lies below 2^N x and below (N + 1) x, which it approaches at the ends:
    from where the lower of these bounds has its root Newton's method climbs to the root and does not pass it.
    """

    def excess(x, right):
        return _backwards(x, depth)[0] + right

    def solve(_, __):
        def newton(state):
            _, x, steps = state
            value, slope = jax.jvp(lambda x: excess(x, fixed), (x,), (jnp.ones_like(x),))
            return x, x - value / slope, steps + 1

        def rising(state):
            before, now, steps = state
            return jnp.any(now > before + 4 * jnp.finfo(now.dtype).eps * jnp.maximum(jnp.abs(now), 1)) & (steps < 1000)

        fixed = jax.lax.stop_gradient(log_count)
        bound = -fixed / jnp.where(fixed > 0, 2.0**depth, depth + 1.0).astype(fixed.dtype)
        start = bound - 1e-3 * (1 + jnp.abs(bound))  # below the root where rounding would put it above
        return jax.lax.while_loop(rising, newton, (start - 1, start, 0))[1]

    def tangent_solve(linear_fn, value):
        return value / linear_fn(jnp.ones_like(value))

    return jax.lax.custom_root(lambda x: excess(x, log_count), log_count, solve, tangent_solve)
