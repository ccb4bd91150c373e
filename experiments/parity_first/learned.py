r"""FIRST learned on short strings: softmax attention to the first bit thins out on long ones, logits times ln N hold it.

A transformer of two layers with layer norm is trained on random strings of one length and tested at others. All that it knows
of positions is which token is the first bit. To it a string is therefore four kinds of tokens (CLS, the first bit, other
zeros, other ones) with their counts. The prediction is the trained network on these four tokens, the logarithms of the counts
added to the logits of attention; it is exact at every length:

$$
\text{attention to one kind} = \frac{c_j e^{l_j}}{\sum_i c_i e^{l_i}}
$$

Four tokens also stand for strings of a billion bits, which cannot be simulated.

Source: Chiang and Cholak, arXiv 2202.12172 (the question; their code trains 20 networks, one string a step, and tests at 1000
bits); the reduction to kinds of tokens is derived here
Cost: 100 s
"""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import MinLen
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...contract import Count, Distinct, Tolerance, check
from ...models.transformers import transformer
from ...solvers import classify
from ...tasks import languages


def _model() -> transformer.Config:
    return transformer.Config(input_dim=4, norm="post", readout="first")


@dataclass(frozen=True)
class Config:
    train_length: Count = 10  # bits of a string in training
    test_lengths: Annotated[tuple[Count, ...], MinLen(1), Distinct] = (10, 100, 1000)  # bits of a string in tests
    far_lengths: Annotated[tuple[Count, ...], MinLen(1), Distinct] = (10**4, 10**6, 10**9)  # of strings as four tokens alone
    num_test: Count = 24  # strings, of which shorter tests take the first bits
    model: transformer.Config = field(default_factory=_model)
    training: classify.Training = field(
        default_factory=lambda: classify.Training(learning_rate=0.003, weight_decay=0.0, batch_size=16, num_steps=400)
    )

    def __post_init__(self):
        check(self)
        model = self.model
        if (model.input_dim, model.num_outputs, model.num_positions, model.causal, model.readout) != (4, 1, 0, False, "first"):
            raise ValueError(
                f"model must read out the first of tokens with 4 features, without positions or order; got {model}"
            )


class Result(NamedTuple):
    cross_entropy: Float[Array, "test_length"]  # bits per test string
    accuracy: Float[Array, "test_length"]  # share of test strings classified right
    attention: Float[Array, "layer test_length"]  # of CLS to the first bit, mean over heads and test strings
    far_cross_entropy: Float[Array, "far_length"] | None = None  # bits, of strings with as many zeros as ones


class State(NamedTuple):
    classifier: classify.State
    test: Int[Array, "sample bit"]


def labels(config: Config) -> dict[str, tuple]:
    layers = tuple(range(1, config.model.num_layers + 1))
    return {"layer": layers, "test_length": config.test_lengths, "far_length": config.far_lengths}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_params, key_train, key_test = jax.random.split(key, 3)
    params = transformer.init(key_params, config.model)
    test = languages.sample(key_test, config.num_test, max(config.test_lengths))
    return State(classify.start(key_train, params), test)


def step(state: State, config: Config) -> State:
    def loss(params: transformer.Params, key: PRNGKeyArray) -> Float[Array, ""]:
        bits = languages.sample(key, config.training.batch_size, config.train_length)
        logits = jax.vmap(lambda one: transformer.apply(params, languages.first_rows(one), config.model)[0])(bits)
        return jnp.mean(jax.nn.softplus(-_signs(bits) * logits))

    return state._replace(classifier=classify.step(state.classifier, loss, config.training))


def num_steps(config: Config) -> int:
    return config.training.num_steps


def simulate(state: State, config: Config) -> Result:
    params, model = state.classifier.params, config.model

    def one(bits: Int[Array, "bit"]) -> tuple[Array, Array]:
        found = transformer.evaluate(params, languages.first_rows(bits), model)
        return found.outputs[0], found.attention[:, :, 1]

    found = [jax.lax.map(one, state.test[:, :length]) for length in config.test_lengths]
    logits, weights = (jnp.stack(part) for part in zip(*found, strict=True))
    return _result(logits, weights, state)._replace(far_cross_entropy=_far(params, config))


def predict(state: State, config: Config) -> Result:
    """The same strings as four kinds of tokens."""
    params, model = state.classifier.params, config.model

    def one(bits: Int[Array, "bit"], length: Int[Array, ""]) -> tuple[Array, Array]:
        rows, counts = languages.first_classes(bits, length)
        found = transformer.evaluate(params, rows, model, counts)
        return found.outputs[0], found.attention[:, :, 1]

    of_strings = jax.vmap(jax.vmap(one, (0, None)), (None, 0))
    return _result(*of_strings(state.test, jnp.asarray(config.test_lengths)), state)


def _result(
    logits: Float[Array, "test_length sample"], weights: Float[Array, "test_length sample layer head"], state: State
) -> Result:
    margin = _signs(state.test)[None] * logits
    right = (margin > 0).astype(margin.dtype)
    return Result(jnp.mean(_bits(margin), axis=1), jnp.mean(right, axis=1), jnp.mean(weights, axis=(1, 3)).T)


def _far(params: transformer.Params, config: Config) -> Float[Array, "far_length"]:
    """Mean over both first bits."""
    counts = jnp.asarray([(1, 1, (length - 1) / 2, (length - 1) / 2) for length in config.far_lengths])

    def margin(first: int, counts: Float[Array, "4"]) -> Float[Array, ""]:
        bits = jnp.array([first])
        rows, _ = languages.first_classes(bits)
        return _signs(bits[None])[0] * transformer.apply(params, rows, config.model, counts)[0]

    margins = jnp.stack([jax.vmap(lambda one, first=first: margin(first, one))(counts) for first in (0, 1)])
    return jnp.mean(_bits(margins), axis=0)


def _signs(bits: Int[Array, "sample bit"]) -> Float[Array, "sample"]:
    return jnp.where(jax.vmap(languages.first)(bits), 1.0, -1.0)


def _bits(margin: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.nn.softplus(-margin) / jnp.asarray(np.log(2), margin.dtype)


_ROUNDING = "the prediction is exact: float32's 6e-8 an operation, through sums of a thousand tokens and four layer norms"
TOLERANCE = {
    "cross_entropy": Tolerance(1e-5, 1e-5, reason=_ROUNDING),
    "accuracy": Tolerance(reason="a share of strings"),
    "attention": Tolerance(1e-5, 1e-6, reason=_ROUNDING),
}
QUICK = {
    "test_lengths": (4,),
    "far_lengths": (100, 1000),
    "model.num_layers": 1,
    "train_length": 3,
    "num_test": 4,
    "model.dim": 4,
    "model.head_dim": 4,
    "model.width": 4,
    "training.batch_size": 4,
    "training.num_steps": 5,
}
SEEDS = 8
GRID = {"train_length": (10, 30, 100), "model.scaling": ("constant", "log_length")}
