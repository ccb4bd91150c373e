"""What the studies on images share: training a classifier whose layers are steps of an equation, and its accuracy."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, check
from ...models.transformers import ode_transformer, vision_transformer
from ...models.transformers.vision_transformer import Params
from ...solvers.descent import minibatch_adam
from ...tasks import images
from ...tasks.images import Split


def _model() -> vision_transformer.Config:
    return vision_transformer.Config(
        stack=ode_transformer.Config(dim=16, hidden=32, num_heads=2, num_layers=3, norm=True, activation="gelu", rtol=0.05)
    )


@dataclass(frozen=True)
class Config:
    data: str = "digits_8x8"  # or mnist_5k, or a folder with the four IDX files of MNIST or Fashion-MNIST
    num_train: Count = 1400  # training images; the others, or the published ones, test
    model: vision_transformer.Config = field(default_factory=_model)
    learning_rate: Positive = 0.005  # of AdamW, falling to 0 by a cosine
    weight_decay: NonNegative = 0.01  # of AdamW, decoupled: times the learning rate
    batch_size: Count = 16  # images a step, drawn with replacement
    num_steps: Count = 500  # updates

    def __post_init__(self):
        check(self)

    @property
    def images(self) -> images.Images:
        """The data, if they fit the model."""
        found = images.load(self.data)
        for name, needed in (("side", found.side), ("num_classes", found.num_classes)):
            if getattr(self.model, name) != needed:
                raise ValueError(f"model.{name} must be that of {self.data}, {needed}, got {getattr(self.model, name)}")
        return found


def split(key: PRNGKeyArray, config: Config) -> Split:
    """Training and test images."""
    return images.split(key, config.images, config.num_train)


def train(key: PRNGKeyArray, start: Params, split: Split, config: Config) -> Params:
    """AdamW on the cross-entropy."""

    def loss(params: Params, step: Array) -> Array:
        chosen = jax.random.choice(jax.random.fold_in(key, step), split.train, (config.batch_size,))
        x, labels = images.take(config.images, chosen)
        logits = vision_transformer.evaluate(params, x, config.model).logits
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))

    return minibatch_adam(loss, start, config.learning_rate, config.num_steps, config.weight_decay)


def test(params: Params, split: Split, config: Config) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Share of test images classified right, and the evaluations of sublayers that took."""
    x, labels = images.take(config.images, split.test)
    output = vision_transformer.evaluate(params, x, config.model)
    return images.accuracy(output.logits, labels), output.num_sublayers
