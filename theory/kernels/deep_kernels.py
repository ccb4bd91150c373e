r"""Kernels of infinitely wide fully connected networks: the Gaussian process at the start, and the tangent kernel.

Formula. For inputs with second moments $v(x) = |x|^2/d$ and $c(x, y) = x \cdot y/d$, and the activation's
$K(v, v', c) = \mathbb{E} f(A) f(B)$, $\dot{K}(v, v', c) = \mathbb{E} f'(A) f'(B)$ over centred Gaussians of these variances and
this covariance,

$$
\begin{align*}
S_1 &= \sigma_w^2 c + \sigma_b^2, & T_1 &= S_1 \\
S_{l+1} &= \sigma_w^2 K(S_l) + \sigma_b^2, & T_{l+1} &= S_{l+1} + \sigma_w^2 \dot{K}(S_l)\, T_l, \qquad l = 1, \dots, L
\end{align*}
$$

where $K(S_l)$ stands for $K(S_l(x, x), S_l(y, y), S_l(x, y))$. The outputs of the network are jointly normal with covariance
$S_{L+1}$ at the start (NNGP); under gradient flow they move by the constant kernel $T_{L+1}$ (NTK).

Regime. Every width $\to \infty$ at fixed depth, inputs and number of examples. The kernel of a network of finite widths
fluctuates by $O(\text{width}^{-1/2})$, and $T$ is off by $O(1/\text{width})$ in the mean.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $L$ | `depth` | static | hidden layers: depth 0 is linear, depth 1 one hidden layer |
| $f$; $K$, $\dot{K}$ | `activation` | functions | "tanh", any function (see `any_activation`), or an `Activation` |
| $\sigma_w^2$, $\sigma_b^2$ | `weight_variance`, `bias_variance` | `()` | of all layers alike, the readout included |
| $\vert x\vert^2/d$, $x \cdot y/d$ | `variance_1`, `variance_2`, `covariance` | any | second moments of the inputs |
| $\Sigma$, $K$ (NNGP) | `Kernels.nngp` | any | $S_{L+1}$ |
| $\Theta$ (NTK) | `Kernels.ntk` | any | $T_{L+1}$ |

Factors. NTK parametrisation, all entries of $W$, $b$ standard normal, output $h_{L+1}$:

$$
\begin{align*}
h_1 &= \frac{\sigma_w W_1 x}{\sqrt{d}} + \sigma_b b_1 \\
h_{l+1} &= \frac{\sigma_w W_{l+1} f(h_l)}{\sqrt{\text{width}}} + \sigma_b b_{l+1}
\end{align*}
$$

The readout has a bias of the same variance. $\Theta(x, y)$ is the sum over all parameters, first layer, readout and biases
included, of $\partial h_{L+1}(x)\, \partial h_{L+1}(y)$. Another parametrisation changes the NTK, but not the NNGP. Training
the readout alone gives $S_{L+1}$ in place of $T_{L+1}$. For inputs normalised to $|x| = 1$ without the $1/d$, pass the second
moments to `fully_connected`.

Source. R. M. Neal, 1996, doi 10.1007/978-1-4612-0745-0, and C. K. I. Williams, "Computing with infinite networks", 1996,
papers.nips.cc/paper/1197-computing-with-infinite-networks (depth 1); Y. Cho, L. K. Saul, "Kernel methods for deep learning",
2009, papers.nips.cc/paper/3628-kernel-methods-for-deep-learning (the recursion for ReLU); J. Lee et al., "Deep neural
networks as Gaussian processes", 2018, arXiv 1711.00165 (NNGP); A. Jacot, F. Gabriel, C. Hongler, "Neural tangent kernel",
2018, arXiv 1806.07572 (NTK); R. Novak et al., "Neural Tangents", 2020, arXiv 1912.02803 (its conventions of Dense layers in
"ntk" parametrisation are those here). Recalled, not re-read, and checked against wide networks. No equation number is quoted.

Finite size. Derived here: with one hidden layer both kernels are right in the mean at every width. Deeper, the mean is
off by $b/\text{width}$; for the NNGP of two layers $b = \operatorname{tr}(H C)/2$, $H$ the Hessian of the last layer's map, $C$
the covariance of a unit. Found at $\sigma_w^2 = 1.6$, $\sigma_b^2 = 0.3$, relative to the kernel: $b = -0.06$ (NNGP) and 0.1
(NTK) for relu of depth 2; 0.1 and 0.3 for erf, up to 0.5 (NTK) for relu, of depth 4: below 1 % at width 64. One network
fluctuates far more, by 2 to 3.5 (relu), 1 to 2 (erf) over $\sqrt{\text{width}}$. Training moves the kernel by
$O(1/\text{width})$ for outputs of order 1 (recalled).

Example. Two orthogonal inputs through ReLU layers that keep the variance: depth makes their correlation tend to 1.

>>> from closedform.theory.kernels import deep_kernels
>>> for depth in (0, 1, 4, 16):
...     kernels = deep_kernels.fully_connected(1.0, 1.0, 0.0, depth=depth, weight_variance=2.0)
...     print(depth, round(float(kernels.nngp / 2), 3))  # 2 is the variance
0 0.0
1 0.318
4 0.681
16 0.929
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Real

from ...documented import documented
from ..gaussian.activations import Activation, relu, require_covariance
from ..gaussian.any_activation import AnyActivation, activation_of
from ..numerics.arguments import FINITE, ArrayLike, at_least, takes
from ..numerics.symmetric import num_blocks, upper_blocks

Number = Real[ArrayLike, ""]
Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together

WHOLE, SIZE = at_least(0), at_least(0, finite=True)


@documented
class Kernels(NamedTuple):
    """The two kernels of every pair of inputs."""

    nngp: Float[Array, "*pair"]  # S_{L+1}, covariance of the outputs at the start
    ntk: Float[Array, "*pair"]  # T_{L+1}, the kernel of gradient flow


@takes(x=FINITE, y=FINITE, depth=WHOLE, weight_variance=SIZE, bias_variance=SIZE)
def gram(
    x: Real[ArrayLike, "sample dim"],
    y: Real[ArrayLike, "other dim"] | None = None,
    activation: AnyActivation = relu,
    depth: int = 1,
    weight_variance: Number = 1.0,
    bias_variance: Number = 0.0,
) -> Kernels:
    """Both kernels between the rows of x and those of y, by default of x: (sample, other).

    The activation is a name ("tanh"), a function (jax.nn.gelu), or an `Activation`; it and the depth are static under jit.

    By blocks that fit the cache, products and elementwise functions alike; for x with itself only those on one side of the
    diagonal. A row of x that is also in y has a correlation of 1 up to a rounding error e, which changes the NTK by
    sqrt(e): by 1e-8 as seen, in float32 perhaps by 1e-4, and by more for erf at large variances, also for nearly parallel rows
    (1e-3 seen). The diagonal of gram(x) has no such error.

    >>> [[round(float(k), 4) for k in row] for row in gram([[1.0, 0.0], [0.0, 1.0]], activation="tanh", bias_variance=0.1).nngp]
    [[0.404, 0.1485], [0.1485, 0.404]]
    """
    x, y = _with_coordinates(x=x), None if y is None else _with_coordinates(y=y)
    return _gram(x, y, activation_of(activation), depth, weight_variance, bias_variance)


@partial(jax.jit, static_argnames=("activation", "depth"))
def _gram(
    x: Float[Array, "sample dim"],
    y: Float[Array, "other dim"] | None,
    activation: Activation,
    depth: int,
    weight_variance: ArrayLike,
    bias_variance: ArrayLike,
) -> Kernels:
    left, right = _blocks(x), _blocks(x if y is None else y)
    variance_1, variance_2 = (jnp.sum(rows**2, axis=2) / x.shape[1] for rows in (left, right))
    down, across = len(left), len(right)

    def block(i: Int[Array, ""], j: Int[Array, ""]) -> Kernels:
        v1, v2 = variance_1[i][:, None], variance_2[j][None]
        c = jnp.matmul(left[i], right[j].T, precision=jax.lax.Precision.HIGHEST) / x.shape[1]
        if y is None:  # of a row with itself the product is the variance, to the last bit
            c = jnp.where((i == j) & jnp.eye(len(c), dtype=bool), v1, c)
        return _recursion(v1, v2, c, activation, depth, weight_variance, bias_variance)

    if y is None:
        at = upper_blocks(block, down)
        at |= {(j, i): jax.tree.map(jnp.transpose, at[i, j]) for i, j in tuple(at) if i < j}
    else:
        pairs = [(i, j) for i in range(down) for j in range(across)]
        stacked = jax.lax.map(lambda pair: block(pair[0], pair[1]), jnp.asarray(pairs))
        at = {pair: jax.tree.map(lambda leaf, k=k: leaf[k], stacked) for k, pair in enumerate(pairs)}

    def whole(*blocks: Float[Array, "row column"]) -> Float[Array, "sample other"]:
        rows = [list(blocks[i * across : (i + 1) * across]) for i in range(down)]
        return jnp.block(rows)[: len(x), : len(x if y is None else y)]

    return jax.tree.map(whole, *(at[i, j] for i in range(down) for j in range(across)))


def _blocks(x: Float[Array, "sample dim"]) -> Float[Array, "block row dim"]:
    """x in at most eight blocks of equal size, padded with zero rows, one if x has none."""
    blocks, size = num_blocks(len(x))
    return jnp.pad(x, ((0, blocks * size - len(x)), (0, 0))).reshape(blocks, size, -1)


def _with_coordinates(**inputs: ArrayLike) -> Float[Array, "..."]:
    ((name, x),) = inputs.items()
    x = jnp.asarray(x)
    if x.shape[-1] == 0:
        raise ValueError(f"{name} must have at least one coordinate, got shape {x.shape}")
    return x


@takes(x=FINITE, y=FINITE, depth=WHOLE, weight_variance=SIZE, bias_variance=SIZE)
def kernel(
    x: Real[ArrayLike, "dim"],
    y: Real[ArrayLike, "dim"],
    activation: AnyActivation = relu,
    depth: int = 1,
    weight_variance: Number = 1.0,
    bias_variance: Number = 0.0,
) -> Kernels:
    """Both kernels at one pair of inputs; differentiable in x and y.

    >>> [float(k) for k in kernel(jnp.array([2.0, 0.0]), jnp.array([2.0, 0.0]))]
    [1.0, 2.0]
    """
    a, b = _with_coordinates(x=x), _with_coordinates(y=y)
    moments = (jnp.dot(u, v, precision=jax.lax.Precision.HIGHEST) / len(a) for u, v in ((a, a), (b, b), (a, b)))
    return _recursion(*moments, activation_of(activation), depth, weight_variance, bias_variance)


@takes(variance_1=SIZE, variance_2=SIZE, covariance=FINITE, depth=WHOLE, weight_variance=SIZE, bias_variance=SIZE)
def fully_connected(
    variance_1: Numbers,
    variance_2: Numbers,
    covariance: Numbers,
    activation: AnyActivation = relu,
    depth: int = 1,
    weight_variance: Number = 1.0,
    bias_variance: Number = 0.0,
) -> Kernels:
    """Both kernels, elementwise in the second moments |x|^2/d, |y|^2/d, x.y/d of the inputs, which broadcast together.

    Where they differ little, also because the bias outweighs them, the NTK has half the digits of its correlation: see `gram`.

    With weight_variance 2 and no bias ReLU layers keep the variance, and the NTK of x with itself is (depth + 1) of it.

    >>> [float(k) for k in fully_connected(1.0, 1.0, 1.0, depth=2, weight_variance=2.0)]
    [2.0, 6.0]
    """
    require_covariance(variance_1, variance_2, covariance)
    moments = jnp.broadcast_arrays(variance_1, variance_2, covariance)
    return _recursion(*moments, activation_of(activation), depth, weight_variance, bias_variance)


@partial(jax.jit, static_argnames=("activation", "depth"))
def _recursion(
    v1: Array, v2: Array, c: Array, activation: Activation, depth: int, weight_variance: ArrayLike, bias_variance: ArrayLike
) -> Kernels:
    """Both kernels by the recursion over layers, from moments of equal shape."""

    def layer(second_moment: Array) -> Array:
        return jnp.asarray(weight_variance * second_moment + bias_variance, c.dtype)

    # A scan: unrolled layers take XLA long to compile. Its moments are traced, so that the activation does not refuse them:
    # those of deep networks may overflow.
    def deeper(state: tuple[Array, Array, Kernels], _: None) -> tuple[tuple[Array, Array, Kernels], None]:
        v1, v2, (nngp, ntk) = state
        slope = jnp.asarray(weight_variance * activation.derivative_dual(v1, v2, nngp), c.dtype)
        following = layer(activation.dual(v1, v2, nngp))
        v1, v2 = (layer(activation.dual(v, v, v)) for v in (v1, v2))
        return (v1, v2, Kernels(following, following + slope * ntk)), None

    first = layer(c)
    return jax.lax.scan(deeper, (layer(v1), layer(v2), Kernels(first, first)), None, length=depth)[0][2]
