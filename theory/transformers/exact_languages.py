r"""Logits of the transformers constructed for PARITY and FIRST: exact for every string, with layer norm and without.

Formula. Strings of $n$ bits with $k$ ones, $N = n + 1$ tokens. For PARITY $s = \beta/\sqrt{5}$, $q = e^{-2 s}$, and of the
tokens $0, \ldots, n$ there are $E$ at even and $O$ at odd places:

$$
\begin{align*}
z(n, k) &= \frac{1 - q^2}{N (E q + O)(E + O q)} \cdot
\begin{cases} E & k \text{ odd} \\ -O & k \text{ even} \end{cases} \\
&= -(-1)^k\, \frac{2}{N^2} \tanh s \qquad \text{for even } N
\end{align*}
$$

With $c$ in place of 1 for the weight of layer 1 that counts ones, the ones count as $c k$, and $z$ is interpolated linearly in
$c k$ between whole numbers from 0 to $n$ (for even $N$ a triangle wave), and falls to 0 within one below 0 and above $n$.
For FIRST, with $s = \beta/\sqrt{6}$, or $\beta/\sqrt{6} \cdot \ln N$ where the logits of attention are scaled by $\ln N$,

$$
z = \pm \frac{1}{2}\, \alpha, \qquad \alpha = \frac{1}{1 + n e^{-s}}
$$

With layer norm, $d = 20$ and 12 dimensions, every stage rescales a token $h$ (in half of the dimensions) to
$h/\sqrt{2 |h|^2/d + \epsilon}$. For PARITY, behind both layer norms of layer 1, token $i$ has the factor $g_i$,

$$
\begin{align*}
S_i &= 2 + \frac{i^2 + (c k)^2 + 1}{N^2}, \qquad t_i = \max(0, 1 - |c k - i|), \qquad
c_i = \left( \frac{S_i}{10} + \epsilon \right)^{-1/2} \\
g_i &= c_i \left( \frac{c_i^2}{10} \left( S_i + \frac{t_i^2}{N^2} \right) + \epsilon \right)^{-1/2}, \qquad
s_i = (-1)^i\, \frac{\beta\, g_n g_i}{\sqrt{10}} \\
a &= \frac{1}{N} \sum_i g_i t_i \left[ \operatorname{softmax}_i(-s) - \operatorname{softmax}_i(s) \right]
\end{align*}
$$

and the two layer norms of layer 2 follow, of which the last is `confidence.normalised_logit`. FIRST is alike, with one factor
for the first bit and one for CLS. At $\epsilon = 0$ $|z| = \sqrt{d/2}$ at every length.

Regime. Exact for every string. $|z|$ is $O(1/n^2)$ for PARITY, $O(1/n)$ for FIRST; with $\ln N$ it is
$O(n^{g - 1})$ for $g = \beta/\sqrt{6} < 1$, and tends to $1/4$ at $g = 1$ and to $1/2$ above. The sign is right for all
$k \le n$ if $|c - 1| < 1/(2 N)$ (for even $N$ up to $1/(2 n)$). Strings count by $n$ and $k$ (FIRST: by $n$ and the first bit)
alone, at every $\epsilon$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $n$ | `num_bits` | any | bits, CLS not counted |
| $k$ | `num_ones` | any | ones among them |
| $\beta$ | `beta` | any | the query weight of CLS in layer 2 |
| $c$ | `value_weight` | any | PARITY: the weight of layer 1 that counts ones |
| $\epsilon$ | `eps` | any | of layer norm |
| $\alpha$ | `first_attention` | any | attention of CLS to the first bit in layer 2 |

Factors. Attention divides by the root of the size of a head, $\sqrt{5}$ and $\sqrt{6}$, and not by that of the width
($\sqrt{10}$ for PARITY); with layer norm $\sqrt{10}$ and $\sqrt{12}$. $\ln N$ counts CLS; the paper's learned network has
$\frac{1}{2} \ln N$ in its code. The head has the gain 1.

Source. The networks are those of D. Chiang, P. Cholak, arXiv 2202.12172, read in the authors' code
(github.com/ndnlp/parity). All formulas are derived here.

Finite size. None: rounding. The network itself loses PARITY in float32, since rounding $k/N$ makes errors of some $10^{-7}$ and
$1/N^2$ is $10^{-6}$ at $n = 1000$; these formulas do not.

Example. Four ones among ten bits are even, and the network is not sure of it:

>>> from closedform.theory.transformers import exact_languages
>>> round(float(exact_languages.parity_logit(10, 4, 1.0)), 6), round(float(exact_languages.first_logit(10, 1, 1.0)), 6)
(-0.006314, 0.065375)
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

from ..numerics.arguments import FINITE, ArrayLike, at_least, one_of, require_together, takes
from . import confidence

Numbers = Real[ArrayLike, "*#shape"]
Counts = Int[np.ndarray, "*#shape"]
_BIT = at_least(1)
_BETA, _EPS = at_least(0), at_least(0, finite=True)
_ONES = at_least(0, finite=True)


@takes(num_bits=_BIT, num_ones=_ONES, beta=_BETA, value_weight=FINITE)
def parity_logit(num_bits: Counts, num_ones: Numbers, beta: Numbers, value_weight: Numbers = 1.0) -> Float[Array, "*#shape"]:
    """z(n, c k) without layer norm: positive for an odd number of ones at c = 1.

    >>> round(float(parity_logit(19, 7, 1.0, 1.05)) * 1e4, 2)
    6.29
    """
    _require_ones(num_bits, num_ones)
    n, num_ones, beta, value_weight = _together(num_bits, num_ones, beta, value_weight)
    index = value_weight * num_ones
    odd, even = jnp.floor((n + 1) / 2), jnp.floor(n / 2) + 1
    s = beta / jnp.sqrt(jnp.asarray(5, n.dtype))
    q = jnp.exp(-2 * s)
    size = -jnp.expm1(-4 * s) / ((n + 1) * (even * q + odd) * (even + odd * q))
    below = jnp.floor(index)

    def at(place: Array) -> Array:
        """Of a whole number of ones, from 0 to n; 0 beyond."""
        inside = (place >= 0) & (place <= n)
        return jnp.where(inside, jnp.where(jnp.mod(place, 2) == 1, even, -odd), 0) * size

    share = index - below
    return (1 - share) * at(below) + share * at(below + 1)


@takes(num_bits=_BIT, num_ones=_ONES, beta=at_least(0, finite=True), eps=_EPS, value_weight=FINITE)
def parity_logit_normalised(
    num_bits: Counts, num_ones: Numbers, beta: Numbers, eps: Numbers, value_weight: Numbers = 1.0
) -> Float[Array, "*#shape"]:
    """z with layer norm: plus or minus the root of 10 at eps = 0; a sum over the tokens of the longest string.

    >>> round(float(parity_logit_normalised(16, 8, 1.0, 1e-5)), 3)
    -2.329
    """
    _require_ones(num_bits, num_ones)
    dtype = jnp.result_type(num_ones)
    longest = int(np.max(num_bits, initial=0))
    # the token is one more axis, the last
    n, ones, beta, eps, weight = (part[..., None] for part in _together(num_bits, num_ones, beta, eps, value_weight))
    place = jnp.arange(longest + 1, dtype=dtype).reshape((1,) * (n.ndim - 1) + (-1,))
    index, total = weight * ones, n + 1

    def stages(place: Array) -> tuple[Array, Array, Array]:
        """Factor behind both layer norms of layer 1, hat, and squared length of half of the token."""
        hat = jnp.maximum(1 - jnp.abs(index - place), 0)
        square = 2 + (place / total) ** 2 + (index / total) ** 2 + 1 / total**2
        inner = _factor(square, 10, eps)
        grown = square + (hat / total) ** 2
        outer = inner * _factor(inner**2 * grown, 10, eps)
        return outer, hat, outer**2 * grown

    factor_cls, _, square_cls = stages(n)
    read = jnp.floor(index) + jnp.arange(2, dtype=dtype).reshape((1,) * (n.ndim - 1) + (-1,))  # the tokens whose hat is not 0

    def score(place: Array, factor: Array) -> Array:
        return beta * factor_cls * factor / jnp.sqrt(jnp.asarray(10, dtype)) * (1 - 2 * jnp.mod(place, 2))

    factor, hat, _ = stages(read)
    hat = jnp.where((read >= 0) & (read <= n), hat, 0)
    here, everywhere = score(read, factor), score(place, stages(place)[0])
    # softmax(-s)_i - softmax(s)_i is the sum over j of 2 sinh(s_j - s_i), over both normalisations: no cancellation at small s
    there = place <= n
    (largest_even, total_even), (largest_odd, total_odd) = (_exponentials(one, there) for one in (everywhere, -everywhere))
    differences = _scaled_sinh(everywhere[..., None, :] - here[..., None], (largest_even + largest_odd)[..., None])
    lead = 2 * jnp.sum(jnp.where(there[..., None, :], differences, 0), axis=-1) / (total_even * total_odd)
    written = jnp.sum(factor * hat / total * lead, axis=-1)
    eps, square_cls = eps[..., 0], square_cls[..., 0]
    return confidence.normalised_logit(written * _factor(square_cls + written**2, 10, eps), 20, eps)


@takes(num_bits=_BIT, first_bit=one_of(0, 1), beta=_BETA)
def first_logit(num_bits: Counts, first_bit: Numbers, beta: Numbers, log_length: bool = False) -> Float[Array, "*#shape"]:
    """z without layer norm: positive if the first bit is a one; with attention scaled by ln N if `log_length`.

    >>> round(float(first_logit(500, 1, 6**0.5, log_length=True)), 5)  # 501/(2 * 1001)
    0.25025
    """
    n, first_bit, beta = _together(num_bits, first_bit, beta)
    return (first_bit - 0.5) * _first_attention(n, beta, log_length)


@takes(num_bits=_BIT, beta=_BETA)
def first_attention(num_bits: Counts, beta: Numbers, log_length: bool = False) -> Float[Array, "*#shape"]:
    """alpha: what CLS gives to the first bit, and by how much the logit changes with that bit.

    >>> float(first_attention(3, 0.0))
    0.25
    """
    n, beta = _together(num_bits, beta)
    return _first_attention(n, beta, log_length)


@takes(num_bits=_BIT, first_bit=one_of(0, 1), beta=at_least(0, finite=True), eps=_EPS)
def first_logit_normalised(
    num_bits: Counts, first_bit: Numbers, beta: Numbers, eps: Numbers, log_length: bool = False
) -> Float[Array, "*#shape"]:
    """z with layer norm: plus or minus the root of 6 at eps = 0.

    >>> round(float(first_logit_normalised(16, 1, 1.0, 1e-5)), 3)
    2.443
    """
    n, first_bit, beta, eps = _together(num_bits, first_bit, beta, eps)
    alone = _factor(jnp.ones_like(eps), 6, eps)  # CLS, behind the first layer norm
    cls = alone * _factor(alone**2, 6, eps)
    inner = _factor(jnp.full_like(eps, 2), 6, eps)  # the first bit: a word and a position; then what layer 1 has found
    bit = inner * _factor(inner**2 * (2 + first_bit), 6, eps)
    score = beta * cls * bit / jnp.sqrt(jnp.asarray(12, beta.dtype))
    written = (first_bit - 0.5) * bit * _share(n, score, log_length)
    return confidence.normalised_logit(written * _factor(cls**2 + written**2, 6, eps), 12, eps)


def _together(num_bits: np.ndarray, *others: Array) -> tuple[Array, ...]:
    """Broadcast, the lengths as floats."""
    return tuple(jnp.broadcast_arrays(jnp.asarray(num_bits, others[0].dtype), *others))  # a list until jax 0.10


def _first_attention(n: Array, beta: Array, log_length: bool) -> Array:
    return _share(n, beta / jnp.sqrt(jnp.asarray(6, beta.dtype)), log_length)


def _share(n: Array, score: Array, log_length: bool) -> Array:
    """The attention to the first bit at its logit above the others; a factor ln N for `log_length`."""
    return confidence.largest_attention(n, score * jnp.log1p(n) if log_length else score)


def _factor(square: Array, half: int, eps: Array) -> Array:
    """Layer norm's factor for (h, -h) in twice `half` dimensions, from |h|^2."""
    return 1 / jnp.sqrt(square / half + eps)


def _exponentials(score: Array, there: Array) -> tuple[Array, Array]:
    """The largest score of the tokens that are there, and the sum of the exponentials of all less it."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.where(there, score, -jnp.inf), axis=-1, keepdims=True))
    return largest, jnp.sum(jnp.where(there, jnp.exp(jnp.where(there, score - largest, 0)), 0), axis=-1, keepdims=True)


def _scaled_sinh(x: Array, shift: Array) -> Array:
    """sinh(x) e^-shift for |x| at most the shift, which may be beyond the range of the exponential."""
    large = jnp.abs(x) > 1
    inner, outer = jnp.where(large, 0, x), jnp.where(large, x, 1)
    beyond = jnp.sign(outer) * (jnp.exp(jnp.abs(outer) - shift) - jnp.exp(-jnp.abs(outer) - shift)) / 2
    return jnp.where(large, beyond, jnp.sinh(inner) * jnp.exp(-shift))


def _require_ones(num_bits: np.ndarray, num_ones: Array) -> None:
    require_together("at most num_bits", lambda ones, bits: ones <= bits, num_ones=num_ones, num_bits=num_bits)
