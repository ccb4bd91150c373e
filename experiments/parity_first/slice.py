r"""The loss of the constructed PARITY is a narrow notch along one weight: right strings need c within 1/(2n) of 1.

The weight $c$ of layer 1 counts ones, so that a string with $k$ ones is read as if it had $c k$. The logit is a triangle wave
$T$ of period 2 in $c k$, which is $(-1)^j$ at whole numbers $j$. It has the wrong sign where $c k$ is nearer to a whole
number of the other parity:

$$
z(c) = -\frac{2}{N^2} \tanh\left( \frac{\beta}{\sqrt{5}} \right) T(c k), \qquad \text{even } N, \quad 0 \le c k \le n
$$

Means over all strings of a length are sums over $k$ with binomial weights: a string counts by its number of ones. Beside a
network without layer norm one with it.

Source: Chiang and Cholak, arXiv 2202.12172, whose code draws the loss along this weight; the prediction is derived here
Cost: 30 s
"""

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, Positive, Precision, Tolerance, check
from ...models.transformers import constructions
from ...tasks import languages
from ...theory.transformers import confidence, exact_languages

# 0.8 to 1.2, and finer around 1; fractions of the odd 625, so that c k is nowhere half of an odd number, where the logit is 0
_WEIGHTS = tuple(place / 625 for place in sorted({*range(500, 751, 10), *range(615, 636, 2)}))


@dataclass(frozen=True)
class Config:
    lengths: Annotated[tuple[Count, ...], MinLen(1), Distinct] = (19, 101)  # bits of a string (n)
    value_weights: Annotated[tuple[float, ...], MinLen(1), Distinct] = _WEIGHTS  # c
    shown_ones: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1), Distinct] = (1, 7, 12)  # of logits at the first length
    beta: NonNegative = 1.0  # query weight of CLS (beta)
    eps: Positive = 1e-9  # of layer norm, where there is one
    dtype: Precision = "float64"  # logits of 1e-4

    def __post_init__(self):
        check(self)
        if max(self.shown_ones) > self.lengths[0]:
            raise ValueError(f"shown_ones must be at most lengths[0] = {self.lengths[0]}, got {self.shown_ones}")


class Result(NamedTuple):
    logit: Float[Array, "ones value_weight"]  # without layer norm, of strings of the first length
    cross_entropy: Float[Array, "norm length value_weight"]  # mean bits over all strings
    accuracy: Float[Array, "norm length value_weight"]  # share of all strings


def labels(config: Config) -> dict[str, tuple]:
    return {
        "ones": config.shown_ones,
        "value_weight": config.value_weights,
        "norm": ("no layer norm", "layer norm"),
        "length": config.lengths,
    }


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    most = max(config.lengths)
    lengths, ones, weights = jnp.asarray(config.lengths), jnp.arange(most + 1), jnp.asarray(config.value_weights)
    keys = jax.random.split(key, (len(lengths), len(ones)))

    def of(norm: bool, key: PRNGKeyArray, count: Array, length: Array, weight: Array) -> Float[Array, ""]:
        machine = constructions.parity(config.beta, norm=norm, eps=config.eps, value_weight=weight)
        bits = languages.with_ones(key, count, most, length)
        return constructions.logit(machine, languages.parity_rows(bits, length), languages.counts(bits, length))

    def logits(norm: bool) -> Float[Array, "length ones value_weight"]:
        def of_length(given: tuple[Array, Array]) -> Array:
            keys, length = given

            def of_weight(weight: Array) -> Array:
                return jax.vmap(lambda key, count: of(norm, key, count, length, weight))(keys, ones)

            return jax.lax.map(of_weight, weights).T

        return jax.lax.map(of_length, (keys, lengths))

    return _result(jnp.stack([logits(norm) for norm in (False, True)]), config)


def predict(config: Config) -> Result:
    weights = jnp.asarray(config.value_weights)[None]
    found = []
    for length in config.lengths:
        ones = jnp.arange(length + 1.0)[:, None]
        bits = np.full((1, 1), length)
        bare = exact_languages.parity_logit(bits, ones, config.beta, weights)
        normed = exact_languages.parity_logit_normalised(bits, ones, config.beta, config.eps, weights)
        beyond = max(config.lengths) - length
        found.append(jnp.pad(jnp.stack([bare, normed]), ((0, 0), (0, beyond), (0, 0))))
    return _result(jnp.stack(found, axis=1), config, confidence.cross_entropy)


def _bits(margin: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.logaddexp(0.0, -margin) / jnp.log(2.0)


def _result(logits: Float[Array, "norm length ones value_weight"], config: Config, bits_fn=_bits) -> Result:
    """Means over strings, of which a share C(n, k)/2^n has k ones.

    Where c k is beyond the tokens the logit is 0, the toss of a coin: below 1e-9, as rounding by 1e-16 is over the root of eps.
    """
    ones = np.arange(max(config.lengths) + 1)
    shares = np.array([[math.comb(length, int(k)) / 2**length for k in ones] for length in config.lengths])
    margin = jnp.asarray(np.where(ones % 2 == 1, 1.0, -1.0))[None, None, :, None] * logits
    right = jnp.where(jnp.abs(margin) < 1e-9, 0.5, (margin > 0).astype(margin.dtype))
    cross_entropy, accuracy = (jnp.einsum("lk,nlkc->nlc", jnp.asarray(shares), part) for part in (bits_fn(margin), right))
    return Result(logits[0, 0, np.array(config.shown_ones)], cross_entropy, accuracy)


_ROUNDING = "the prediction is exact: float64 rounds numbers of size 1, whose difference is the logit, by 1e-16"
TOLERANCE = {
    "logit": Tolerance(1e-10, 1e-14, reason=_ROUNDING),
    "cross_entropy": Tolerance(1e-9, reason=_ROUNDING),
    "accuracy": Tolerance(1e-10, reason=_ROUNDING),
}
CURVE = {"value_weights": 400}
QUICK = {"lengths": (3, 4), "value_weights": (0.7, 1.1), "shown_ones": (1, 2)}
SEEDS = 8
