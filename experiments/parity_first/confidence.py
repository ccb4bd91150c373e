r"""Transformers that recognise PARITY and FIRST exactly lose confidence with length; layer norm keeps it, while eps is small.

The constructed networks, applied to random strings of up to a thousand bits, are right on every one. Without layer norm the
cross-entropy tends to that of a coin, 1 bit, as

$$
1 - H \approx \frac{|z|}{2 \ln 2}, \qquad |z| = O(n^{-2}) \text{ (PARITY)}, \quad O(n^{-1}) \text{ (FIRST)}
$$

and with layer norm $|z| = \sqrt{10}$ and $\sqrt{6}$ at any length if $\epsilon = 0$, from where a gain of the head takes the
cross-entropy to 0. With $\epsilon > 0$ the logit collapses where the signal falls below $\sqrt{\epsilon}$. All
curves are closed forms of the same strings.

Source: Chiang and Cholak, arXiv 2202.12172 (claims); weights after the authors' code; closed forms derived here
Cost: 25 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import MinLen
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, Positive, Precision, Tolerance, check
from ...models.transformers import constructions
from ...tasks import languages
from ...theory.transformers import confidence, exact_languages

LANGUAGES = tuple(constructions.LANGUAGES)
_LENGTHS = (10, 15, 22, 33, 47, 68, 100, 150, 220, 330, 470, 680, 1000)


@dataclass(frozen=True)
class Config:
    lengths: Annotated[tuple[Count, ...], MinLen(1), Distinct] = _LENGTHS  # bits of a string (n), odd and even ones
    eps: Annotated[tuple[NonNegative, ...], MinLen(1), Distinct] = (0.0, 1e-9, 1e-5)  # of layer norm, in place of none
    gains: Annotated[tuple[Positive, ...], MinLen(1), Distinct] = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)  # of the head (C), at eps = 0
    beta: NonNegative = 1.0  # query weight of CLS (beta)
    dtype: Precision = "float64"  # 1/N^2 is a millionth, and a difference of numbers of size 1

    def __post_init__(self):
        check(self)


class Result(NamedTuple):
    margin: Float[Array, "language variant length"]  # the logit, times the sign of the label
    cross_entropy: Float[Array, "language variant length"]  # bits per string
    gap: Float[Array, "language variant length"]  # bits below a coin
    amplified: Float[Array, "language gain"]  # bits per longest string at eps = 0, by the gain of the head


class State(NamedTuple):
    bits: Int[Array, "length bit"]  # a string for each length: the first bits of its row


def labels(config: Config) -> dict[str, tuple]:
    return {
        "language": tuple(map(str.upper, LANGUAGES)),
        "variant": ("no layer norm", *(f"eps = {eps:g}" for eps in config.eps)),
        "length": config.lengths,
        "gain": config.gains,
    }


def init(key: PRNGKeyArray, config: Config) -> State:
    return State(languages.sample(key, len(config.lengths), max(config.lengths)))


def simulate(state: State, config: Config) -> Result:
    lengths, eps = jnp.asarray(config.lengths), jnp.asarray(config.eps)
    longest, every = int(np.argmax(config.lengths)), np.arange(len(config.lengths))

    def logits(language: str, norm: bool, places: np.ndarray, eps: Float[Array, "run"]) -> Float[Array, "run"]:
        def one(given: tuple[Array, Array, Array]) -> Float[Array, ""]:
            bits, length, eps = given
            machine = constructions.LANGUAGES[language](config.beta, norm=norm, eps=eps)
            return constructions.logit(machine, languages.ROWS[language](bits, length), languages.counts(bits, length))

        return jax.lax.map(one, (state.bits[places], lengths[places], eps))

    margins, amplified, signs = [], [], _signs(state, config)
    for language, sign in zip(LANGUAGES, signs, strict=True):
        bare = logits(language, False, every, jnp.zeros(len(every)))
        # every eps at every length, and 0 at the longest
        places = np.append(np.tile(every, len(eps)), longest)
        normed = logits(language, True, places, jnp.append(jnp.repeat(eps, len(every)), 0.0))
        margins.append(sign[None] * jnp.concatenate([bare, normed[:-1]]).reshape(-1, len(every)))
        amplified.append(_bits(sign[longest] * normed[-1] * jnp.asarray(config.gains)))
    margin = jnp.stack(margins)
    gap = -jnp.log1p(jnp.expm1(-margin) / 2) / jnp.log(2.0)
    return Result(margin, _bits(margin), gap, jnp.stack(amplified))


def predict(state: State, config: Config) -> Result:
    lengths = np.asarray(config.lengths)
    ones = jax.vmap(languages.num_ones)(state.bits, jnp.asarray(lengths))
    first = state.bits[:, 0]
    beta = config.beta
    eps = jnp.asarray(config.eps)[:, None]
    parity, hinges = (
        jnp.concatenate([bare[None], normed])
        for bare, normed in (
            (
                exact_languages.parity_logit(lengths, ones, beta),
                exact_languages.parity_logit_normalised(lengths[None], ones[None], beta, eps),
            ),
            (
                exact_languages.first_logit(lengths, first, beta),
                exact_languages.first_logit_normalised(lengths[None], first[None], beta, eps),
            ),
        )
    )
    margin = jnp.stack([parity, hinges]) * _signs(state, config)[:, None]
    # at eps = 0 any amplitude gives the root of half the dimensions
    limit = confidence.normalised_logit(1.0, jnp.array([20.0, 12.0]), 0.0)[:, None]
    amplified = confidence.cross_entropy(limit * jnp.asarray(config.gains)[None])
    return Result(margin, confidence.cross_entropy(margin), confidence.hahn_gap(margin), amplified)


def _signs(state: State, config: Config) -> Float[Array, "language length"]:
    lengths = jnp.asarray(config.lengths)
    right = jnp.stack([jax.vmap(languages.LABELS[language])(state.bits, lengths) for language in LANGUAGES])
    return jnp.where(right, 1.0, -1.0)


def _bits(margin: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.logaddexp(0.0, -margin) / jnp.log(2.0)


_ROUNDING = "the prediction is exact: float64 rounds k/N by 1e-16, and the margin of the longest PARITY is 1/N^2 = 1e-6"
TOLERANCE = {
    "margin": Tolerance(1e-9, reason=_ROUNDING),
    "cross_entropy": Tolerance(1e-9, reason=_ROUNDING),
    "gap": Tolerance(1e-9, reason=_ROUNDING),
    "amplified": Tolerance(1e-9, reason=_ROUNDING),
}
QUICK = {"lengths": (3, 6), "eps": (0.0, 1e-3), "gains": (1.0, 2.0)}
SEEDS = 8
