r"""Masks read off the weights of a digit classifier fool it when added to digits; the same pixels shuffled hardly do.

For every class the masks are steps along its most positive eigenvectors, and along no others as far as the recipe allows. A
mask $m$ changes a logit by the quadratic form of the mask and twice its product with the image, so the mean change follows from
the weights and the mean image: that is the prediction. The fraction of labels that change is measured. The embedding matters:
where the layer reads the pixels themselves, three in a hundred images are misled in place of two in ten.

$$
\mathbb{E}\left[ f_c(x + m) - f_c(x) \right] = m^\top Q_c\, m + 2\, m^\top Q_c\, \mathbb{E}\, x + u_c \cdot m
$$

for a mask of class $c$, with $m$ and $x$ embedded, the mean over test images of the other classes, $Q_c$ the quadratic form of
the class and $u_c$ its row of the readout $U$, for the residual connection.

Source: Pearce et al., arXiv 2410.08417, figure 7 (recipe of its public reproduction); the mean change is derived here
Cost: 20 s
"""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, Tolerance
from ...models.bilinear import bilinear, bilinear_classifier
from ...solvers import classify
from ...tasks import images
from ...theory.linear_networks import bilinear_losses
from . import _digits

_Strengths = Annotated[tuple[NonNegative, ...], MinLen(1), Distinct]


@dataclass(frozen=True)
class Config(_digits.Config):
    embedding_dim: Annotated[int, Ge(0)] = 64  # dimension of the embedding
    residual: bool = True  # add the embedded image to the hidden layer
    noise_std: NonNegative = 0.15  # standard deviation of the Gaussian noise on every pixel, drawn anew each step
    training: classify.Training = field(default_factory=lambda: _digits.training(weight_decay=0.0))
    strengths: _Strengths = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)  # standard deviations of a mask over the pixels
    num_vectors: Count = 10  # masks of a class, one for each of its most positive eigenvectors

    def __post_init__(self):
        super().__post_init__()
        if self.num_vectors > self.width:
            raise ValueError(f"num_vectors must be at most width = {self.width}, got {self.num_vectors}")


class State(NamedTuple):
    classifier: classify.State
    order: Int[Array, "pixel"]  # of the shuffled pixels of the control
    split: images.Split


class Result(NamedTuple):
    """Means over all masks; images of the mask's own class are left out."""

    shift: Float[Array, "kind strength"]  # mean change of the logit of the mask's class
    accuracy: Float[Array, "kind strength"] | None = None  # share of test images classified right
    misled: Float[Array, "kind strength"] | None = None  # share of test images classified as the mask's class
    mask: Float[Array, "label pixel"] | None = None  # the first mask of every class


def labels(config: Config) -> dict[str, tuple]:
    return {"kind": ("mask", "pixels permuted"), "strength": config.strengths}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_split, key_params, key_train, key_order = jax.random.split(key, 4)
    classifier = classify.start(key_train, bilinear_classifier.init(key_params, config.model))
    return State(classifier, jax.random.permutation(key_order, config.model.dim), _digits.split(key_split, config))


def step(state: State, config: Config) -> State:
    loss_fn = _digits.loss_on(state.split, config)
    return state._replace(classifier=classify.step(state.classifier, loss_fn, config.training))


num_steps = _digits.num_steps


def _masks(state: State, config: Config) -> Float[Array, "label vector pixel"]:
    """Masks of standard deviation 1, signed by the training images; in float32, so that both sides use the same masks."""
    x, labels = images.take(config.images, state.split.train)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), state.classifier.params)
    return bilinear_classifier.adversarial_masks(params, x.astype(jnp.float32), labels, config.num_vectors)


def _attacks(
    masks: Float[Array, "label vector pixel"], order: Int[Array, "pixel"], config: Config
) -> Float[Array, "kind strength label vector pixel"]:
    strengths = jnp.asarray(config.strengths, masks.dtype)
    kinds = jnp.stack([masks, masks[:, :, order]])
    return strengths[None, :, None, None, None] * kinds[:, None]


def simulate(state: State, config: Config) -> Result:
    params, masks = state.classifier.params, _masks(state, config)
    x, labels = images.take(config.images, state.split.test)
    before = _digits.logits(params, x, config)

    def under(attack: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        mask, target = attack
        outputs = _digits.logits(params, x + mask[None], config)
        found, others = jnp.argmax(outputs, axis=1), labels != target

        def mean(values: Array) -> Array:
            return jnp.mean(values.astype(x.dtype), where=others)

        return mean((outputs - before)[:, target]), mean(found == labels), mean(found == target)

    attacks = _attacks(masks, state.order, config)
    targets = jnp.broadcast_to(jnp.arange(len(masks), dtype=labels.dtype)[:, None], attacks.shape[:-1])
    flat = attacks.reshape(-1, attacks.shape[-1]), targets.ravel()
    shift, accuracy, misled = (jnp.mean(part.reshape(targets.shape), axis=(2, 3)) for part in jax.lax.map(under, flat))
    return Result(shift, accuracy, misled, masks[:, 0])


def predict(state: State, config: Config) -> Result:
    params = state.classifier.params
    masks = _masks(state, config).astype(params.layer.w.dtype)
    x, labels = images.take(config.images, state.split.test)
    embedded = bilinear_classifier.embed(params, x)
    attacks = bilinear_classifier.embed(params, _attacks(masks, state.order, config))

    def of_class(index: Array, attacks: Float[Array, "kind strength vector embedding_dim"]) -> Array:
        direction = (jnp.arange(len(masks), dtype=index.dtype) == index).astype(embedded.dtype)
        q = bilinear.interaction_matrix(params.layer, direction)
        linear = direction @ params.layer.p if config.residual else None
        mean = jnp.mean(embedded, axis=0, where=(labels != index)[:, None])
        shift = jnp.vectorize(lambda d: bilinear_losses.displacement(q, d, mean, linear), signature="(h)->()")
        return jnp.mean(shift(attacks), axis=-1)

    shifts = jax.vmap(of_class, (0, 2))(jnp.arange(len(masks), dtype=labels.dtype), attacks)
    return Result(jnp.mean(shifts, axis=0))


TOLERANCE = {
    "shift": Tolerance(1e-4, 1e-4, reason="the formula is exact; the simulation rounds in single precision"),
}
QUICK = {
    "data": "digits_8x8",
    "num_samples": 100,
    "width": 8,
    "embedding_dim": 8,
    "training.num_steps": 10,
    "training.batch_size": 16,
    "num_vectors": 2,
    "strengths": (0.0, 0.1),
}
SEEDS = 8
