"""What the studies on images share: training a classifier whose layers are steps of an equation, and its accuracy."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, check
from ...models.transformers import ode_transformer, vision_transformer
from ...models.transformers.vision_transformer import Params
from ...solvers import classify
from ...tasks import images
from ...tasks.images import Split


def _model() -> vision_transformer.Config:
    return vision_transformer.Config(
        stack=ode_transformer.Config(dim=16, width=32, num_heads=2, num_layers=3, norm=True, activation="gelu", rtol=0.05)
    )


@dataclass(frozen=True)
class Config:
    data: str = "digits_8x8"  # or mnist_5k, or a folder with the four IDX files of MNIST or Fashion-MNIST
    num_samples: Count = 1400  # training images; the others, or the published ones, test
    model: vision_transformer.Config = field(default_factory=_model)
    training: classify.Training = field(default_factory=classify.Training)

    def __post_init__(self):
        check(self)
        images.check_name(self.data)

    @property
    def images(self) -> images.Images:
        """The data; raises ValueError if they do not fit the model."""
        found = images.load(self.data)
        for name, needed in (("side", found.side), ("num_classes", found.num_classes)):
            if getattr(self.model, name) != needed:
                raise ValueError(f"model.{name} must be that of {self.data}, {needed}, got {getattr(self.model, name)}")
        return found


class State(NamedTuple):
    start: Params  # before training
    classifier: classify.State
    split: Split


def init(key: PRNGKeyArray, config: Config) -> State:
    key_split, key_params, key_train = jax.random.split(key, 3)
    start = vision_transformer.init(key_params, config.model)
    split = images.split(key_split, config.images, config.num_samples)
    return State(start, classify.start(key_train, start), split)


def step(state: State, config: Config) -> State:
    """An update by the cross-entropy of some training images."""

    def loss(params: Params, key: PRNGKeyArray) -> Float[Array, ""]:
        chosen = jax.random.choice(key, state.split.train, (config.training.batch_size,))
        x, labels = images.take(config.images, chosen)
        return classify.cross_entropy(vision_transformer.evaluate(params, x, config.model).logits, labels)

    return state._replace(classifier=classify.step(state.classifier, loss, config.training))


def num_steps(config: Config) -> int:
    return config.training.num_steps


def test(params: Params, split: Split, config: Config) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Share of test images classified right, and the number of sublayer evaluations that it took."""
    x, labels = images.take(config.images, split.test)
    output = vision_transformer.evaluate(params, x, config.model)
    return images.accuracy(output.logits, labels), output.num_sublayers
