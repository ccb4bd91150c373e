"""What the experiments share: a network that starts by a named initialisation, and the weight variance that theory gives it."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...models.fully_connected import deep, initialisers
from ...theory.gaussian import signal_propagation

Init = Literal[
    "lsuv", "he", "xavier", "orthonormal"
]  # of square layers: Glorot's ("xavier") has the variance of orthonormal ones
WEIGHT_VARIANCE = {"he": 2.0, "xavier": 1.0, "orthonormal": 1.0}  # fan-in times the variance of a weight, of square layers


def network(
    key: PRNGKeyArray, config: deep.Config, init: str, batch: Float[Array, "example dim"], tolerance: float = 0.0
) -> deep.Params:
    """The parameters at the start; LSUV begins with orthonormal weights and looks at the batch."""
    params = initialisers.initialise(key, config, "orthonormal" if init == "lsuv" else init)
    return initialisers.lsuv(params, batch, config, tolerance, max_rescalings=2)[0] if init == "lsuv" else params


def hidden(params: deep.Params, batch: Float[Array, "example dim"], config: deep.Config) -> Float[Array, "layer example unit"]:
    """The pre-activations of the hidden layers, which are all of one width."""
    return jnp.stack(jax.vmap(lambda x: deep.preactivations(params, x, config))(batch)[:-1])


def gradients(
    params: deep.Params, batch: Float[Array, "example dim"], cotangent: Float[Array, "output"], config: deep.Config
) -> Float[Array, "layer example unit"]:
    """The gradient of cotangent . f(x) in the pre-activations of the hidden layers, which is its gradient in the biases."""

    def of(x: Array) -> tuple[Array, ...]:
        return jax.grad(lambda biases: cotangent @ deep.apply(params._replace(biases=biases), x, config))(params.biases)

    return jnp.stack(jax.vmap(of)(batch)[:-1])


def weight_variance(init: str, activation: deep.ElementwiseFn) -> Array | float:
    """sigma_w^2 of a hidden layer between layers of its own width; under LSUV the inverse mean square of the activation."""
    return signal_propagation.gain(activation) ** 2 if init == "lsuv" else WEIGHT_VARIANCE[init]
