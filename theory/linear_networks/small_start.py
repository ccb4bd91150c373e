r"""What a two-layer linear network does from a vanishing start: modes one by one, and kernels that align before the loss falls.

Formula. From weights $a A_0$ with $a \to 0$ a mode of the singular value $s_i$ of $\Sigma$ is learned at

$$
t_i = \frac{\ln(1/a)}{s_i} + O(1)
$$

so that in the time $\tau = t/\ln(1/a)$ the network jumps through the best approximations of $\Sigma$ of rank $0, 1, 2, ..$:

$$
W_2 W_1 \to \sum_{i \le r} s_i u_i v_i^\top, \qquad r = \#\{i : \tau s_i > 1\}
$$

The $O(1)$ depends on $A_0$ and not on $a$, so that $s_i (t_i(a') - t_i(a)) = \ln(a/a')$ for two scales of the same $A_0$. With
one output, $f(x) = v^\top W x$ on white inputs with $\Sigma = \beta^\top$, the tangent kernel is $x^\top M x'$ with
$M = |v|^2 I + W^\top W$, and

$$
M \to |\beta|\, (I + \hat\beta \hat\beta^\top), \qquad \hat\beta = \beta/|\beta|
$$

at the end. Its direction arrives there while $W$ still grows out of the start, before the loss has moved: alignment is silent.
With inputs of another covariance $M$ has the same end and is not aligned in between.

Regime. $a \to 0$ at fixed size; two layers, white inputs, gradient flow. `best_rank` needs $s_r > s_{r+1}$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $s_i$ | `targets` | any | singular values of $\Sigma$ |
| $a$ | `init_scale` | any | scale of the initial weights |
| $\Sigma$ | `cross` | `output dim` | correlation of outputs with inputs |
| $r$ | `rank` | | modes learned |
| $\beta$ | `beta` | `dim` | the linear map, with one output |
| $M$ | | `dim dim` | tangent kernel, as a form of the inputs |

Factors. Time is that of the loss $\frac{1}{2} \mathbb{E} |y - f(x)|^2$. The scale is that of each layer: the product starts at
order $a^2$.

Source. Z. Li et al., arXiv 2012.09839, S. Arora et al., arXiv 1905.13655 (greedy low rank); A. Atanasov et al., arXiv
2111.00034 (silent alignment): recalled, not re-read. Derived here: modes grow as $e^{s_i t}$ in both layers, and the balanced
end of rank 1 has $|v|^2 = |\beta|$ and $W^\top W = |\beta| \hat\beta \hat\beta^\top$.

Finite size. The times are off by a random number of order $1/s_i$, whatever $a$: compare two scales of one draw. Modes not yet
learned are of order $a^2 e^{2 s_i t}$. The conserved $D = W_2^\top W_2 - W_1 W_1^\top$ is of order $a^2$: what neglects it is
off by $a^2/s$, relative, up to logarithms.

Example. The second mode takes twice as long, and a smaller start delays both in proportion:

>>> from closedform.theory.linear_networks import small_start
>>> [[round(float(time), 2) for time in small_start.greedy_times([2.0, 1.0], scale)] for scale in (1e-2, 1e-4)]
[[2.3, 4.61], [4.61, 9.21]]
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import FINITE, ArrayLike, at_least, between, takes
from ..numerics.norms import length, nonzero
from . import riccati

Numbers = Real[ArrayLike, "*#shape"]


@takes(targets=at_least(0, finite=True), init_scale=between(0, 1, high_open=True))
def greedy_times(targets: Numbers, init_scale: Numbers) -> Float[Array, "*#shape"]:
    """ln(1/a)/s, when a mode is learned from a small start, to leading order in 1/ln(1/a); infinite for s = 0 and for a = 0.

    >>> round(float(greedy_times(2.0, 1e-4)), 4), float(greedy_times(0.0, 1e-4))
    (4.6052, inf)
    """
    s, a = jnp.broadcast_arrays(targets, init_scale)
    finite = (s > 0) & (a > 0)
    return jnp.where(finite, -jnp.log(jnp.where(finite, a, 1)) / jnp.where(finite, s, 1), jnp.inf)


@takes(time=at_least(0), cross=FINITE, w1=FINITE, w2=FINITE)
def small_start_flow(
    time: Real[ArrayLike, "*time"],
    cross: Real[ArrayLike, "output dim"],
    w1: Real[ArrayLike, "width dim"],
    w2: Real[ArrayLike, "output width"],
) -> riccati.TwoLayer:
    """The network after any time from small weights of any imbalance D, a Gaussian draw for example, with D neglected.

    The balanced solution of `riccati`, applied to this draw: off by about |D|/s, relative, at the weakest mode s that is
    learned. Times in any order; an infinite one gives the limit.

    >>> flow = small_start_flow([0.0, 3.0], [[2.0]], [[0.01], [0.02]], [[0.03, 0.0]])
    >>> [round(float(product[0, 0]), 4) for product in flow.product]
    [0.0003, 1.952]
    """
    outputs, dim = cross.shape
    F = jnp.zeros((dim + outputs, dim + outputs), cross.dtype).at[dim:, :dim].set(cross).at[:dim, dim:].set(cross.T)
    P = riccati.riccati_flow(time, F, jnp.concatenate([w1.T, w2]))
    return riccati.TwoLayer(P[..., dim:, :dim], P[..., :dim, :dim], P[..., dim:, dim:])


@takes(cross=FINITE, rank=at_least(0))
def best_rank(cross: Real[ArrayLike, "output dim"], rank: int) -> Float[Array, "output dim"]:
    """The best approximation of Sigma of a rank, in the Frobenius norm: the network after so many modes.

    A derivative needs singular values that differ.

    >>> best_rank([[2.0, 0.0], [0.0, 1.0]], 1).tolist()
    [[2.0, 0.0], [0.0, 0.0]]
    """
    u, s, vt = jnp.linalg.svd(cross, full_matrices=False)
    return (u[:, :rank] * s[None, :rank]) @ vt[:rank]


@takes(beta=FINITE)
def silent_kernel(beta: Real[ArrayLike, "dim"]) -> Float[Array, "dim dim"]:
    """|beta| (I + beta beta^T/|beta|^2), the end of M = |v|^2 I + W^T W from a vanishing start; 0 for beta = 0.

    >>> silent_kernel([2.0, 0.0]).tolist()
    [[4.0, 0.0], [0.0, 2.0]]
    """
    size = length(beta)
    return size * jnp.eye(len(beta), dtype=beta.dtype) + beta[:, None] * (beta / nonzero(size))[None, :]
