r"""The risk of ridge regression on features that come in heads: features of one head depend on shared random weights.

Formula. $n$ samples, ridge $\delta$, a target of mean square $v_j$ on modes of multiplicity $m_j$, label noise $\sigma^2$; $M$
heads, each of several blocks of features that are independent given what the head shares: groups $c$ of weight $p_c$, $n_c$
features a block, eigenvalues $L_c$ and tails $\tau_c$ ($\sum_c p_c L_c$: those of the kernel). With $\ell = \kappa + A$ and
$' = d/d\kappa$, `grouped_risk` is

$$
\begin{align*}
A &= \sum_c p_c w_c L_c, \qquad
    \frac{1}{w_c} = 1 + \frac{1}{n_c M} \left[\sum \frac{m L_c}{\ell} + \frac{\tau_c}{\kappa}\right] \\
n &= \sum \frac{m A}{\ell} + \frac{1}{\kappa} \left[\delta + \sum_c p_c w_c \tau_c\right] \\
Q &= \sum \frac{m (A^2 + \kappa^2 A')}{\ell^2} + \sum_c p_c w_c' \tau_c \\
\text{test} &= \frac{n}{n - Q} \left[\sum \frac{v \kappa^2 (1 + A')}{\ell^2} + \sigma^2\right], \qquad
    \text{train} = \left(\frac{\delta}{n \kappa}\right)^2 \text{test}
\end{align*}
$$

Regime. $n$ and $M \to \infty$ at fixed ratios, modes and features that behave as independent Gaussians. $M = \infty$ is allowed
and is kernel ridge regression; $p = 1$, $n_c = 1$, $M = k$ is `random_feature_risk.risk`.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $n$ | `num_samples` | `()` | samples (a real number) |
| $M$ | `num_heads` | `()` | heads (a real number) |
| $\delta$ | `ridge` | `()` | ridge, $\ge 0$ |
| $p_c$, $n_c$ | `Groups.weights`, `.block_size` | `group` | weight of a group; its features in one head's block |
| $L_c$, $\tau_c$ | `Groups.eigenvalues`, `.tails` | `group mode` | eigenvalues of the kernel of group $c$; trace left out |
| $m$ | `multiplicities` | `mode` | modes of one eigenvalue |
| $v$ | `power` | `mode` | target's mean square by mode |
| $\sigma^2$ | `noise_variance` | `()` | variance of the label noise |
| $\kappa$ | `Risk.kappa` | `()` | effective ridge of the samples |
| $w_c$ | `kappa/Risk.gamma` | `group` | factor by which finitely many heads reduce group $c$, in $(0, 1]$ |

Factors. Heads carry $1/\sqrt{M}$, so that the kernel is their limit; the ridge is not divided by $n$. The test error is that on
noisy labels.

Source. Derived here, formula and methods; for one group it is the risk of J. Simon, D. Karkada, N. Ghosh, M. Belkin,
arXiv 2311.14646.

Finite size. Against heads of random-feature attention with augmentation ($d = 8$, 4 keys): 0 to 13 % low, worst at $M d = n$.
Near the peak single draws scatter widely. At ridge 0 the limit of small ridges is returned, if the modes outnumber samples and
features; it is infinite where samples and features are equally many.

Example. Heads of eight features each: as their number grows the error falls to the error of kernel regression.

>>> import jax.numpy as jnp
>>> from closedform.theory.kernels.spectrum import Groups
>>> from closedform.theory.random_matrices.grouped_feature_risk import grouped_risk
>>> one = Groups(jnp.ones(1), jnp.full(1, 8.0), jnp.array([[1.0, 0.1]]))
>>> counts, power = jnp.array([8.0, 64.0]), jnp.array([0.5, 0.5])
>>> [round(float(grouped_risk(100, heads, 0.1, one, counts, power).test), 3) for heads in (5, 50, jnp.inf)]
[0.471, 0.003, 0.002]
"""

import jax.numpy as jnp
from jaxtyping import Array, Real

from ..kernels.ridge_equation import at_least_ridge, in_units, infinite_or, zero_or
from ..kernels.spectrum import Groups, Spectrum
from ..numerics.arguments import ArrayLike, above, at_least, each, takes
from ..numerics.linear import solved_by_rows
from ..numerics.roots import descend_to_fixed_point
from .random_feature_risk import Risk, at_the_ends

Number = Real[ArrayLike, ""]
NOT_NEGATIVE = at_least(0, finite=True)


@takes(
    num_samples=at_least(0),
    num_heads=above(0),
    ridge=at_least(0),
    groups=each(Groups, NOT_NEGATIVE, above(0, finite=True), NOT_NEGATIVE, NOT_NEGATIVE),
    multiplicities=NOT_NEGATIVE,
    power=NOT_NEGATIVE,
    noise_variance=NOT_NEGATIVE,
)
def grouped_risk(
    num_samples: Number,
    num_heads: Number,
    ridge: Number,
    groups: Groups,
    multiplicities: Real[ArrayLike, "*mode"],
    power: Real[ArrayLike, "*mode"],
    noise_variance: Number = 0.0,
) -> Risk:
    """Errors of ridge regression on num_heads heads whose features come in `groups`. Differentiable; vmap any argument.

    All terms of the sums are positive, because multiplicities reach 1e8 and differences would be rounding. Slopes at ridge 0
    are right where modes outnumber the samples or the features.

    >>> from closedform.theory.random_matrices.random_feature_risk import risk
    >>> one = Groups(jnp.ones(1), jnp.full(1, 8.0), jnp.array([[1.0, 0.1]]))
    >>> counts, power = jnp.array([8.0, 64.0]), jnp.array([0.5, 0.5])
    >>> blocks = grouped_risk(100, 5, 0.1, one, counts, power)
    >>> bool(jnp.allclose(blocks.test, risk(100, 40, 0.1, Spectrum(one.eigenvalues[0], counts, 0.0), power).test, rtol=1e-4))
    True
    """
    p, m, v = groups.weights, multiplicities.ravel(), power.ravel()
    whole = Spectrum(jnp.tensordot(p, groups.eigenvalues, 1), multiplicities, p @ jnp.broadcast_to(groups.tails, p.shape))
    unit, n, delta, _ = in_units(num_samples, ridge, whole)
    L, tails = groups.eigenvalues.reshape(len(p), -1) / unit, jnp.broadcast_to(groups.tails, p.shape) / unit
    least = float(jnp.finfo(n.dtype).eps)  # of u = delta/(n kappa), and the smallest ridge is its square
    free, far = at_least_ridge(delta, least**2), delta == 0
    few = (1 / groups.block_size) * (1 / num_heads)  # 1/(n_c M), with slopes where it is 0

    # Unknowns K = n kappa and U_c = n_c M (gamma_c - kappa), with G = n gamma and ratio = l/kappa: regular at n = 0.
    def parts(unknowns: Array, n: Array, weights: Array, few: Array, L: Array) -> tuple[Array, Array, Array, Array]:
        K, U = unknowns[0], unknowns[1:]
        G = K + n * (U * few)
        return K, U, G, 1 + n * ((weights / G) @ L)

    def fixed_point_map(unknowns: Array, problem: tuple) -> Array:
        n, free, m, weights, few, L, tails = problem
        K, U, G, ratio = parts(unknowns, n, weights, few, L)
        after = free + jnp.sum(weights * U * (K / G))  # sum p U/gamma = sum p n_c M (1 - w) = n - delta/kappa
        return jnp.concatenate([after[None], L @ (m / ratio) + tails])

    traces = L @ m + tails
    start = jnp.concatenate([(free + p @ traces)[None], traces])
    unknowns = descend_to_fixed_point(fixed_point_map, start, (n, free, m, p, few, L, tails))
    K, U, G, ratio = parts(unknowns, n, p, few, L)
    w, left, rate = K / G, 1 / ratio, L / (G[:, None] * ratio[None])
    rest = 1 - jnp.sum(p * U / G)  # delta/(n kappa)
    u = jnp.where(rest > 0.25, rest, free / K)

    # w = kappa/gamma solves its equation at every kappa, so gamma w' and w - kappa w' do linear ones, of positive right sides
    spread = rate @ (left * m) + tails / G
    coupling = (n * rate * m[None]) @ (n * rate * p[:, None]).T * few[:, None]
    slopes, rests = solved_by_rows(coupling, w + n * spread * few, jnp.stack([n * spread * few, w], axis=1)).T
    # n - Q = delta/kappa + sum m kappa (A - kappa A')/l^2 + tails
    bias = jnp.sum(v * left * (left + n * ((p * slopes) @ rate)))
    total = jnp.sum(power) + noise_variance
    test = infinite_or(far, (bias + noise_variance) / (u + jnp.sum(p * rests * spread)), total, 64 * least)
    # as many samples as features and as modes: the limit is approached as the third root of the ridge
    num_modes = jnp.sum(jnp.where(p @ L > 0, m, 0)) + jnp.where(p @ tails > 0, jnp.inf, 0)
    counts = jnp.stack([p @ groups.block_size * num_heads, num_modes])
    level = far & jnp.all(jnp.abs(counts - n) <= 8 * least * n) & (bias + noise_variance > least**0.5 * total)
    some_n, everything = jnp.where(n > 0, n, 1), jnp.isinf(num_samples)
    gamma = jnp.where(everything & (few == 0), 0, unit * zero_or(far | everything, G / some_n))
    return at_the_ends(
        num_samples,
        ridge,
        jnp.where(level, jnp.inf, test),
        jnp.where(level | jnp.isinf(test), 0, zero_or(far, u, 64 * least) ** 2 * test),
        unit * zero_or(far, K) / some_n,
        gamma,
    )
