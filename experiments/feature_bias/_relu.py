"""What the experiments with two-layer ReLU networks share: an easy and a hard feature of bits, the loss, descent, shares."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...models.fully_connected import balanced_relu, representation
from ...tasks import boolean_features

TARGETS = ((0,), (1, 2))  # the bits of each output: an easy and a hard feature
FEATURES = (*TARGETS, (1,), (2,))  # those whose shares are measured: targets, and the bits that the hard one is made of
NAMES = ("x1", "x2 x3", "x2", "x3")
MIN_BITS = 3


def check_model(model: balanced_relu.Config) -> None:
    """Raise ValueError for a network that does not fit the task."""
    if not MIN_BITS <= model.dim <= boolean_features.MAX_BITS:
        raise ValueError(
            f"model.dim must be at least the {MIN_BITS} bits of the features and at most {boolean_features.MAX_BITS}, "
            f"got {model.dim}"
        )
    if model.num_outputs != len(TARGETS):
        raise ValueError(f"model.num_outputs must be {len(TARGETS)}, one for each feature, got {model.num_outputs}")


def losses(params: balanced_relu.Params, scales: Float[Array, "output"]) -> Float[Array, "output"]:
    """Half of the mean squared error of each output over all inputs; each target is a feature times its scale."""
    x = boolean_features.cube(params.w.shape[0])
    f = balanced_relu.outputs(params, balanced_relu.hidden(params, x))
    return jnp.mean((f - scales[None] * boolean_features.evaluate(TARGETS, x)) ** 2, axis=0) / 2


def descend(
    params: balanced_relu.Params, scales: Float[Array, "output"], trained: Float[Array, "output"], rate: Array | float
) -> balanced_relu.Params:
    """One update on all inputs; `trained` is 1 for an output whose loss counts and 0 for one that is left alone."""
    gradient = jax.grad(lambda params: jnp.sum(trained * losses(params, scales)))(params)
    return jax.tree.map(lambda p, g: p - jnp.asarray(rate, p.dtype) * g, params, gradient)


def hidden(params: balanced_relu.Params) -> Float[Array, "input unit"]:
    return balanced_relu.hidden(params, boolean_features.cube(params.w.shape[0]))


def shares(params: balanced_relu.Params) -> Float[Array, "feature"]:
    """Of x_1, x_2 x_3, x_2 and x_3 in the variance of the hidden units."""
    x = boolean_features.cube(params.w.shape[0])
    return representation.feature_share(hidden(params), boolean_features.evaluate(FEATURES, x))


def stable_rate(rate: float | Array, width: int, scales: Float[Array, "scale"]) -> Float[Array, "scale"]:
    """The learning rate, and 1/(width scale^2) for a start so large that its kernel would let the rate diverge."""
    return jnp.minimum(jnp.asarray(rate, scales.dtype), 1 / (width * scales**2))
