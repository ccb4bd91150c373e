"""What trained stacks share: a classifier of digits whose hidden part is a residual stack, its training, and its accuracy."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...models.transformers import residual_stack as stack
from ...solvers.descent import minibatch_adam
from ...tasks import images


class Params(NamedTuple):
    embedding: Float[Array, "dim pixel"]
    layers: stack.Params
    head: Float[Array, "class dim"]


def init(key: PRNGKeyArray, num_pixels: int, num_classes: int, model: stack.Config) -> Params:
    """Layers as the model draws them, embedding and head with entries of variance one over their inputs."""
    key_embedding, key_layers, key_head = jax.random.split(key, 3)
    embedding = jax.random.normal(key_embedding, (model.dim, num_pixels)) / jnp.sqrt(num_pixels)
    head = jax.random.normal(key_head, (num_classes, model.dim)) / jnp.sqrt(model.dim)
    return Params(embedding, stack.init(key_layers, model), head)


def embed(params: Params, x: Float[Array, "image pixel"]) -> Float[Array, "image dim"]:
    return x @ params.embedding.T


def run(
    params: Params, x: Float[Array, "image dim"], kind: str, step_size: Float[Array, ""], order: stack.Order | None = None
) -> Float[Array, "image dim"]:
    """The state behind the stack."""
    return jax.vmap(lambda one: stack.apply(params.layers, one, kind, order, step_size))(x)


def accuracy(params: Params, x: Float[Array, "image dim"], labels: Int[Array, "image"]) -> Float[Array, ""]:
    """Share of states behind the stack from which the head reads the right label."""
    return images.accuracy(x @ params.head.T, labels)


def train(
    key: PRNGKeyArray,
    start: Params,
    data: images.Images,
    train: Int[Array, "train"],
    kind: str,
    step_size: Float[Array, ""],
    learning_rate: float,
    batch_size: int,
    num_steps: int,
    weight_decay: float,
) -> Params:
    """AdamW on the cross-entropy, batches drawn with replacement."""

    def loss(params: Params, step: Array) -> Array:
        x, labels = images.take(data, jax.random.choice(jax.random.fold_in(key, step), train, (batch_size,)))
        logits = run(params, embed(params, x), kind, step_size) @ params.head.T
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))

    return minibatch_adam(loss, start, learning_rate, num_steps, weight_decay)
