r"""Softmax attention to one bit falls as 1/n in the constructed FIRST; logits scaled by ln N hold it up, whatever the length.

CLS attends to the first bit with the logit $s$ above the other bits. Softmax gives it a share that falls with length whatever
$s$ is, and the logit of the answer changes with the first bit by that same share. With logits scaled by the logarithm of the
number of tokens the share has an exponent, and a threshold at $g = 1$:

$$
\alpha = \frac{1}{1 + n e^{-s}}, \qquad \alpha_{\ln N} = \frac{1}{1 + n N^{-g}}, \qquad
s = g = \frac{\beta}{\sqrt{6}}, \quad N = n + 1
$$

Source: Chiang and Cholak, arXiv 2202.12172 (the scaling); closed forms derived here
Cost: 15 s
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, Precision, Tolerance, check
from ...models.transformers import constructions, transformer
from ...tasks import languages
from ...theory.transformers import confidence, exact_languages

SCALINGS: tuple[transformer.Scaling, ...] = get_args(transformer.Scaling)


@dataclass(frozen=True)
class Config:
    lengths: Annotated[tuple[Count, ...], MinLen(1), Distinct] = (1, 3, 10, 22, 47, 100, 220, 470, 1000)  # bits of a string (n)
    exponents: Annotated[tuple[NonNegative, ...], MinLen(1), Distinct] = (0.5, 1.0, 2.0)  # beta over the root of 6 (s and g)
    dtype: Precision = "float64"  # exact to rounding

    def __post_init__(self):
        check(self)


class Result(NamedTuple):
    attention: Float[Array, "scaling exponent length"]  # of CLS to the first bit, in layer 2
    change: Float[Array, "scaling exponent length"]  # of the logit, when the first bit becomes a one
    cross_entropy: Float[Array, "scaling exponent length"]  # bits per string


def labels(config: Config) -> dict[str, tuple]:
    return {"scaling": SCALINGS, "exponent": config.exponents, "length": config.lengths}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    bits = languages.sample(key, len(config.lengths), max(config.lengths))
    lengths, betas = jnp.asarray(config.lengths), _betas(config)

    def at(scaling: transformer.Scaling, beta: Float[Array, ""]) -> Result:
        machine = constructions.first(beta, scaling=scaling)

        def one(given: tuple[Array, Array]) -> Result:
            bits, length = given
            counts = languages.counts(bits, length)

            def answer(first: Array) -> tuple[Float[Array, ""], Float[Array, ""]]:
                rows = languages.first_rows(bits.at[0].set(first), length)
                found = transformer.evaluate(machine.params, rows, machine.config, counts)
                return found.outputs[0], found.attention[1, 0, 1]

            (rejected, accepted), (_, share) = jax.vmap(answer)(jnp.arange(2))
            margin = jnp.where(languages.first(bits), accepted, -rejected)
            return Result(share, accepted - rejected, jnp.logaddexp(0.0, -margin) / jnp.log(2.0))

        return jax.lax.map(one, (bits, lengths))

    each = [jax.lax.map(partial(at, scaling), betas) for scaling in SCALINGS]
    return jax.tree.map(lambda *parts: jnp.stack(parts), *each)


def predict(config: Config) -> Result:
    lengths, betas = np.asarray(config.lengths)[None], _betas(config)[:, None]
    share = jnp.stack([exact_languages.first_attention(lengths, betas, scaling == "log_length") for scaling in SCALINGS])
    logit = jnp.stack([exact_languages.first_logit(lengths, 1.0, betas, scaling == "log_length") for scaling in SCALINGS])
    return Result(share, share, confidence.cross_entropy(logit))  # the margin is the same for both first bits


def _betas(config: Config) -> Float[Array, "exponent"]:
    return jnp.asarray(config.exponents) * jnp.sqrt(6.0)


_ROUNDING = "the prediction is exact: float64's rounding over sums of a thousand tokens"
TOLERANCE = {
    "attention": Tolerance(1e-11, reason=_ROUNDING),
    "change": Tolerance(1e-11, reason=_ROUNDING),
    "cross_entropy": Tolerance(1e-11, reason=_ROUNDING),
}
CURVE = {"lengths": 40}
QUICK = {"lengths": (1, 6), "exponents": (0.5, 2.0)}
SEEDS = 8
