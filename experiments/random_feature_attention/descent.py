r"""Gradient descent on the values ends at the ridge fit, and learns every mode of the kernel at its own rate.

SGD on the full batch from values 0, by automatic differentiation of the network. The prediction diagonalises the kernel matrix
of its heads; the rival prediction takes the exact kernel of infinitely many heads instead.

$$
\begin{align*}
\hat f(x) &= K_x (K + \delta)^{-1} \left[ 1 - (1 - \eta (K + \delta))^k \right] y, \qquad K = \Phi \Phi^\top \\
\text{train} &= \frac{1}{n} \sum_a \left( \hat f(x_a) - y_a \right)^2, \qquad
\text{test} = \left\langle (\hat f(x) - f(x))^2 \right\rangle_x + \sigma^2
\end{align*}
$$

Here $k$ counts the updates, $\eta$ is `learning_rate`, $\delta$ `ridge`, $\sigma^2$ `noise_variance`, $\Phi$ the features of
the heads on the samples, $K_x$ the row of kernels with them, and $f$ the target: a mode of eigenvalue $\lambda$ decays as $(1
- \eta (\lambda + \delta))^k$.

Source: linear dynamics, textbook; kernel derived here
Cost: 20 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Tolerance
from ...models.transformers import random_feature_attention as attention
from ...solvers import ridge
from ...theory.kernels import attention_kernel, kernel_dynamics
from . import _ridge

TARGETS = ("linear", "gated")


@dataclass(frozen=True)
class Config(_ridge.Config):
    model: attention.Config = field(default_factory=lambda: attention.Config(num_heads=100, augment=True, weight_std=0.5))
    num_samples: Count = 80  # training examples, paper n
    learning_rate: Positive = 0.02  # step size on half the sum of squares
    num_steps: Count = 10_000  # updates
    num_records: Count = 40  # times at which the errors are recorded, evenly on a logarithmic axis
    num_test: Count = 500  # fresh examples on which the error is measured

    def __post_init__(self):
        super().__post_init__()
        if self.model.weight_std == 0:
            raise ValueError("model.weight_std must be positive, since equal features have no limit to be far from; got 0.0")


def labels(config: Config) -> dict[str, tuple]:
    return {"target": TARGETS}


class State(NamedTuple):
    data: _ridge.Data
    w: Float[Array, "value head value"]
    v: Float[Array, "target head value"]
    fit: Float[Array, "target head value"]  # the ridge fit, where training should end


class Result(NamedTuple):
    train: Float[Array, "target"]  # mean square residual on the training labels
    test: Float[Array, "target"]  # mean square error on fresh examples, noise included
    distance: Float[Array, "target"] | None = None  # of the values from the ridge fit, relative to its norm


def init(key: PRNGKeyArray, config: Config) -> State:
    key_data, key_heads = jax.random.split(key)
    model = config.model
    data = _ridge.draw(key_data, TARGETS, config.num_samples, model.num_keys, model.dim, config)
    params = attention.init(key_heads, model)
    v = jnp.broadcast_to(params.v[None], (len(TARGETS), *params.v.shape))
    phi = jax.vmap(attention.features, (None, 0))(params.w, data.x)
    fit = ridge.fit(phi.reshape(len(phi), -1), data.y, config.ridge).T.reshape(v.shape)
    return State(data, params.w, v, fit)


def step(state: State, config: Config) -> State:
    def loss(v: Array) -> Array:
        """Half the sum over examples and targets, as all targets are fitted at once."""
        residual = _outputs(state._replace(v=v), state.data.x) - state.data.y
        return jnp.sum(residual**2) / 2 + config.ridge * jnp.sum(v**2) / 2

    optimiser = optax.sgd(config.learning_rate)
    change, _ = optimiser.update(jax.grad(loss)(state.v), optimiser.init(state.v))
    return state._replace(v=optax.apply_updates(state.v, change))


def _outputs(state: State, x: Float[Array, "example token dim"]) -> Float[Array, "example target"]:
    def one(x: Array) -> Array:
        return jax.vmap(lambda v: attention.apply(attention.Params(state.w, v), x))(state.v)

    return jax.vmap(one)(x)


def observe(state: State, config: Config) -> Result:
    data = state.data
    gap = jnp.sqrt(jnp.sum((state.v - state.fit) ** 2, axis=(1, 2)) / jnp.sum(state.fit**2, axis=(1, 2)))
    train = _ridge.train_error(_outputs(state, data.x), data)
    return Result(train, _ridge.test_error(_outputs(state, data.x_test), data, config), gap)


def steps(config: Config) -> np.ndarray:
    # an exact root may be rounded either way: 10, the second of four up to 1000, is 10 on every processor
    return np.unique((np.geomspace(1, config.num_steps, config.num_records) * (1 + 1e-12)).astype(int))


def predict(state: State, config: Config, steps: np.ndarray) -> Result:
    phi, phi_test = (
        jax.vmap(attention.features, (None, 0))(state.w, x).reshape(len(x), -1) for x in (state.data.x, state.data.x_test)
    )
    return _errors(phi @ phi.T, phi_test @ phi.T, state, config, steps)


def predict_infinite(state: State, config: Config, steps: np.ndarray) -> Result:
    """The prediction for infinitely many heads."""

    def kernel(x: Array, y: Array) -> Array:
        return attention_kernel.biased_kernel(x, y, config.model.weight_std, config.model.mean_strength, config.model.augment)

    data = state.data
    return _errors(ridge.gram(kernel, data.x), ridge.gram(kernel, data.x_test, data.x), state, config, steps)


def _errors(gram: Array, cross: Array, state: State, config: Config, steps: np.ndarray) -> Result:
    data = state.data
    outputs = kernel_dynamics.gradient_descent(steps, config.learning_rate, gram, cross, data.y, config.ridge)
    train = jax.vmap(lambda f: _ridge.train_error(f, data))(outputs.train)
    return Result(train, jax.vmap(lambda f: _ridge.test_error(f, data, config))(outputs.test))


TOLERANCE = {
    "train": Tolerance(1e-6, reason="exact up to rounding in the decomposition and in the steps"),
    "test": Tolerance(1e-6, reason="exact up to rounding in the decomposition and in the steps"),
}
QUICK = {
    "num_samples": 10,
    "model.num_heads": 5,
    "model.dim": 4,
    "model.num_keys": 2,
    "num_test": 20,
    "num_steps": 50,
    "num_records": 8,
}
