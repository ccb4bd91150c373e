r"""Networks from different seeds learn the same leading eigenvectors, wider ones more alike; a few carry the accuracy.

Two networks on the same split, from independent weights and batches: vectors of one sign are matched in order of their
eigenvalues, and the modulus of their cosine falls with the place in that order. Before training it equals the value for
independent directions.

$$
\mathbb{E}\, |u \cdot v| = \frac{\Gamma(d/2)}{\sqrt{\pi}\; \Gamma((d + 1)/2)}
$$

for independent unit vectors $u, v$ in the $d$ dimensions of the pixels.

Source: Pearce et al., arXiv 2410.08417, figure 5 in small (matched by sign, and no network with itself); the overlap of
independent directions is textbook
Cost: 65 s
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Tolerance
from ...models.bilinear import bilinear, bilinear_classifier
from ...solvers import classify
from ...solvers.descent import minibatch_adam
from ...tasks import images
from ...theory.random_matrices import bilinear_spectra
from . import _digits


@dataclass(frozen=True)
class Config(_digits.Config):
    width: Count = 48  # hidden units, paper h
    embedding_dim: Literal[0] = 0  # no embedding: vectors of two embeddings live in different spaces
    training: classify.Training = field(default_factory=lambda: _digits.training(num_steps=1000))
    num_compared: Count = 15  # eigenvectors of either sign that are compared
    num_kept: _digits.NumKept = (1, 2, 3, 5, 7, 10, 15, 20, 30)  # eigenvectors kept of every class, largest modulus first

    def __post_init__(self):
        super().__post_init__()
        if self.num_compared > self.width:
            raise ValueError(f"num_compared must be at most width = {self.width}, got {self.num_compared}")


class Result(NamedTuple):
    untrained: Float[Array, "place"]  # |cosine| of matched eigenvectors of the two networks before training
    similarity: Float[Array, "place"] | None = None  # |cosine| after training: mean over classes and signs
    kept: Float[Array, "size"] | None = None  # test accuracy with the first eigenvectors alone, mean of the two
    accuracy: Float[Array, ""] | None = None  # test accuracy with all eigenvectors


def labels(config: Config) -> dict[str, tuple]:
    return {"size": config.num_kept}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key_split, *keys = jax.random.split(key, 3)
    split = _digits.split(key_split, config)
    key_params, key_train = jax.vmap(lambda one: tuple(jax.random.split(one)))(jnp.stack(keys))
    start = jax.vmap(lambda one: bilinear_classifier.init(one, config.model))(key_params)
    loss_fn, training = _digits.loss_on(split, config), config.training

    def train(pair: tuple[PRNGKeyArray, bilinear_classifier.Params]) -> bilinear_classifier.Params:
        key, params = pair
        rates = training.learning_rate, training.num_steps, training.weight_decay
        return minibatch_adam(lambda params, step: loss_fn(params, jax.random.fold_in(key, step)), params, *rates)

    # two networks in one run, compared with one another: the engine's loop trains one
    ends = jax.lax.map(train, (key_train, start))
    x, labels = images.take(config.images, split.test)
    outputs = jax.vmap(lambda params: _digits.logits(params, x, config))(ends)
    untrained, trained = (jax.lax.map(bilinear_classifier.eigenfeatures, pair) for pair in (start, ends))
    kept = jax.vmap(lambda params, eigen: _digits.accuracy_kept(params, eigen, x, labels, config.num_kept))(ends, trained)
    accuracy = jax.vmap(lambda part: images.accuracy(part, labels))(outputs)
    return Result(_overlap(untrained, config), _overlap(trained, config), jnp.mean(kept, axis=0), jnp.mean(accuracy))


def _overlap(eigen: bilinear.Eigen, config: Config) -> Float[Array, "place"]:
    """|cosine| of matched eigenvectors of the two networks."""

    def of_sign(by: str) -> Array:
        one, other = bilinear.truncate(eigen, config.num_compared, by).vectors
        return jnp.abs(jnp.einsum("cdv,cdv->cv", one, other))

    return jnp.mean(jnp.stack([of_sign("positive"), of_sign("negative")]), axis=(0, 1))


def predict(config: Config) -> Result:
    overlap = bilinear_spectra.mean_overlap(config.model.dim)
    return Result(jnp.full(config.num_compared, overlap))


TOLERANCE = {
    "untrained": Tolerance(reason="exact: the weights are isotropic at the start"),
}
QUICK = {
    "data": "digits_8x8",
    "num_samples": 100,
    "width": 8,
    "training.num_steps": 10,
    "training.batch_size": 16,
    "num_compared": 3,
    "num_kept": (1, 3),
}
SEEDS = 8
GRID = {"width": (16, 48, 144)}
