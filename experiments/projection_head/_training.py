"""What the experiments share: a problem of given features, and gradient descent on the population loss."""

from typing import Annotated, Literal

import jax
from annotated_types import Ge, MinLen
from jaxtyping import Array, PRNGKeyArray

from ...contract import Positive
from ...models.linear import contrastive, deep_linear
from ...tasks.augmentation_pairs import Problem

Signals = Annotated[tuple[Positive, ...], MinLen(1)]
Noises = Annotated[tuple[Annotated[float, Ge(0)], ...], MinLen(1)]
Scheme = Literal["unit_gaussian", "aligned", "balanced"]
SIGNALS = (2.0, 1.5, 1.0, 0.8, 0.6, 0.5)
NOISE_STDS = (0.3, 1.0, 0.2, 0.2, 0.1, 0.05)


def check_features(signals: tuple, noise_stds: tuple, model: deep_linear.Config | None = None) -> None:
    """Raise ValueError for lists of different length, or a model of another input dimension or narrow layers."""
    if len(noise_stds) != len(signals):
        raise ValueError(f"noise_stds must have the length {len(signals)} of signals, got {len(noise_stds)}")
    if model is not None and model.dim != len(signals):
        raise ValueError(f"model.dim must be the {len(signals)} of signals, got {model.dim}")
    if model is not None and min(model.widths, default=model.dim) < model.dim:
        raise ValueError(f"model.widths must be at least model.dim = {model.dim}, got {model.widths}")


def start(
    key: PRNGKeyArray, dim: int, widths: tuple[int, ...], num_outputs: int, scheme: Scheme, scale: float | Array
) -> deep_linear.Params:
    """A network whose scale may be traced: every scheme is homogeneous in it."""
    unit = deep_linear.init(key, deep_linear.Config(dim, widths, num_outputs, scheme, 1.0))
    return jax.tree.map(lambda w: scale * w, unit)


def descend(
    params: deep_linear.Params, problem: Problem, learning_rate: float | Array, weight_decay: float | Array = 0.0
) -> deep_linear.Params:
    """One update; the penalty is weight_decay times the squared norms of all layers."""

    def loss(params: deep_linear.Params) -> Array:
        return contrastive.population_loss(params, problem.clean, problem.view)

    gradient = jax.grad(loss)(params)
    return jax.tree.map(lambda w, g: w - learning_rate * (g + 2 * weight_decay * w), params, gradient)
