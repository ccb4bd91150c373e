r"""What a logit says in bits, what attention can give to one token, and what layer norm makes of a small logit.

Formula. A classifier accepts with the probability $1/(1 + e^{-z})$. With the margin $m = z$ for strings to accept and $m = -z$
for the others, the cross-entropy and its distance from that of a coin are

$$
H(m) = \log_2 (1 + e^{-m}), \qquad 1 - H(m) = \log_2 (1 + \tanh(m/2)) \approx \frac{m}{2 \ln 2}
$$

One token of $1 + r$ gets the largest share of attention if its logit is the highest of all and the $r$ others share the
lowest, lower by $\Delta$:

$$
\alpha = \frac{1}{1 + r e^{-\Delta}}
$$

A last layer norm over $d$ dimensions, of which two alone are not 0 and hold $a$ and $-a$, gives

$$
z = \frac{a}{\sqrt{2 a^2/d + \epsilon}}, \qquad |z| = \sqrt{d/2} \text{ at } \epsilon = 0
$$

Regime. Exact. Since $\alpha \to 0$ at a bounded $\Delta$, a transformer with bounded logits of attention hears single tokens
less and less as strings grow: for a language that hinges on one of them $H \to 1$ bit without layer norm, however right the
sign. Layer norm with $\epsilon = 0$ undoes it at any length, with $\epsilon > 0$ while $|a| \gg \sqrt{\epsilon d/2}$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $m$ | `margin` | any | logit times the sign of the label |
| $H$ | `cross_entropy` | any | bits per string |
| $1 - H$ | `hahn_gap` | any | bits per string |
| $r$, $\Delta$ | `num_others`, `spread` | any | other tokens; range of the logits of attention |
| $\alpha$ | `largest_attention` | any | share of one token |
| $a$, $d$, $\epsilon$ | `amplitude`, `dim`, `eps` | any | in front of the last layer norm |

Factors. Bits, and not nats. A head of gain $C$ multiplies $z$: $H = \log_2 (1 + e^{-C \sqrt{d/2}})$ at $\epsilon = 0$.

Source. M. Hahn, "Theoretical limitations of self-attention in neural sequence models", arXiv 1906.06755 (the limit, recalled);
D. Chiang, P. Cholak, arXiv 2202.12172 (cross-entropies and layer norm; read in part). The formulas are derived here.

Finite size. None: rounding.

Example. A margin of 0 is a coin, $\sqrt{10}$ is what PARITY's layer norm makes of any margin:

>>> from closedform.theory.transformers import confidence
>>> float(confidence.cross_entropy(0.0)), round(float(confidence.cross_entropy(10**0.5)), 6)
(1.0, 0.059811)
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import FINITE, ArrayLike, Range, above, at_least, takes

Numbers = Real[ArrayLike, "*#shape"]


@takes(margin=Range())
def cross_entropy(margin: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """H(m) in bits; infinite margins are legal.

    >>> [round(float(bits), 2) for bits in cross_entropy([1, -1000])]
    [0.45, 1442.7]
    """
    return jax.nn.softplus(-margin) / _ln2(margin)


@takes(margin=Range())
def hahn_gap(margin: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """1 - H(m) in bits, to full precision where it is small: what is left above a coin, and goes to 0 with length.

    >>> round(float(hahn_gap(1e-9)) * 1e9, 4)  # 1/(2 ln 2)
    0.7213
    """
    near = margin > -1
    small = jnp.log1p(jnp.tanh(jnp.where(near, margin, 0) / 2))
    return jnp.where(near, small, _ln2(margin) - jax.nn.softplus(-jnp.where(near, 0, margin))) / _ln2(margin)


@takes(num_others=at_least(0, finite=True), spread=at_least(0))
def largest_attention(num_others: Numbers, spread: Numbers) -> Float[Array, "*#shape"]:
    """alpha, the most that one token may get where the logits of attention lie within `spread`.

    >>> float(largest_attention(3, 0))  # uniform
    0.25
    """
    num_others, spread = jnp.broadcast_arrays(num_others, spread)
    return 1 / (1 + num_others * jnp.exp(-spread))


@takes(amplitude=FINITE, dim=above(0, finite=True), eps=at_least(0, finite=True))
def normalised_logit(amplitude: Numbers, dim: Numbers, eps: Numbers) -> Float[Array, "*#shape"]:
    """z behind layer norm; 0 for the amplitude 0.

    >>> [float(normalised_logit(a, 8, 0)) for a in (-1e-30, 0, 3)]
    [-2.0, 0.0, 2.0]
    """
    amplitude, dim, eps = jnp.broadcast_arrays(amplitude, dim, eps)
    scale = jnp.sqrt(dim / 2)
    half = jnp.sqrt(jnp.where(eps > 0, eps, 1))  # of 1 is used nowhere
    small = (jnp.abs(amplitude) < scale * half) & (eps > 0)
    ratio = jnp.where(small, amplitude, 0) / (scale * half)
    other = jnp.where(small | (amplitude == 0), 1, amplitude)
    inverse = scale / other
    large = jnp.sign(other) * scale / jnp.sqrt(1 + eps * inverse * inverse)  # in this order: the square may overflow
    return jnp.where(small, scale * ratio / jnp.sqrt(1 + ratio**2), jnp.where(amplitude == 0, 0, large))


def _ln2(like: Array) -> Array:
    return jnp.log(jnp.asarray(2, like.dtype))
