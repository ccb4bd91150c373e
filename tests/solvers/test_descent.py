"""Adam with a cosine: decoupled weight decay, minibatches, and the full batch as a minibatch that is always the same."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from closedform.solvers.descent import adam, minibatch_adam
from zoo.checks import rejected

START = {"a": jnp.array([1.0, -2.0], jnp.float32), "b": jnp.array(0.5, jnp.float32)}


def test_weight_decay_alone_takes_off_rate_times_cosine_times_decay():
    steps, rate, decay = 12, 0.3, 0.4

    def assert_factor(factors):
        end = minibatch_adam(lambda params, step: 0.0 * jnp.sum(params["a"]), START, rate, steps, decay)
        for leaf, start in zip(jax.tree.leaves(end), jax.tree.leaves(START), strict=True):
            np.testing.assert_allclose(leaf, np.prod(factors) * np.asarray(start), rtol=1e-5)

    cosine = (1 + np.cos(np.pi * np.arange(steps) / steps)) / 2
    assert_factor(1 - rate * cosine * decay)
    rejected(assert_factor, 1 - rate * decay * np.ones(steps))
    rejected(assert_factor, np.ones(steps))  # a penalty inside Adam's gradient would act, but not so


def test_every_step_sees_its_own_minibatch_and_agrees_with_optax():
    data = jax.random.normal(jax.random.key(0), (20, 2), jnp.float32)

    def loss(params, step):
        return jnp.sum((params["a"] - data[step]) ** 2) + params["b"] ** 2

    end = minibatch_adam(loss, START, 0.1, 20, 0.2)
    schedule = optax.cosine_decay_schedule(0.1, 20)
    optimiser = optax.adamw(schedule, weight_decay=0.2)
    params, memory = START, optimiser.init(START)
    with jax.numpy_dtype_promotion("standard"):
        for step in range(20):
            change, memory = optimiser.update(jax.grad(loss)(params, step), memory, params)
            params = optax.apply_updates(params, change)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5), end, params)
    full, records = adam(lambda params: loss(params, 0), START, 0.1, 20, 4)
    same = minibatch_adam(lambda params, _: loss(params, 0), START, 0.1, 20)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5), full, same)
    assert records.shape == (4,)
    np.testing.assert_allclose(records[-1], loss(full, 0), rtol=1e-5)


def test_bad_settings_are_refused_and_whole_numbers_are_trained():
    def loss(x):
        return (x - 3.0) ** 2

    for message, call in {
        "num_steps must be at least 1, got 0": lambda: adam(loss, 0.0, 0.1, 0),
        "num_steps must be a multiple of num_records = 4, got 10": lambda: adam(loss, 0.0, 0.1, 10, 4),
        "learning_rate must be at least 0 and finite, got -0.1": lambda: adam(loss, 0.0, -0.1, 10),
        "weight_decay must be at least 0": lambda: minibatch_adam(lambda x, _: loss(x), 0.0, 0.1, 10, -1.0),
    }.items():
        with pytest.raises(ValueError, match=f"^{message}"):
            call()
    assert adam(loss, 0, 1, 2)[0] == adam(loss, 0.0, 1.0, 2)[0]
