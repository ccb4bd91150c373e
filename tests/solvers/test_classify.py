"""Training step by step is training in one go, and AdamW is AdamW."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax

from closedform.solvers import classify
from closedform.solvers.descent import minibatch_adam

TRAINING = classify.Training(learning_rate=0.05, weight_decay=0.1, batch_size=4, num_steps=12)


def loss(weights, key):
    x = jax.random.normal(key, (TRAINING.batch_size, 3))
    return classify.cross_entropy(x @ weights, jnp.argmax(x, axis=1))


@pytest.fixture(scope="module")
def trained():
    with jax.enable_x64(True):
        return list(path_of_training())


def path_of_training():
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3)))
    state = classify.start(jax.random.key(1), weights)
    step = jax.jit(lambda state: classify.step(state, loss, TRAINING))
    yield state
    for _ in range(TRAINING.num_steps):
        yield (state := step(state))


def test_steps_are_the_training_in_one_go(trained):
    whole = minibatch_adam(
        lambda weights, step: loss(weights, jax.random.fold_in(jax.random.key(1), step)), trained[0].params, 0.05, 12, 0.1
    )
    np.testing.assert_allclose(trained[-1].params, whole, rtol=1e-10)
    assert [int(state.updates) for state in trained] == list(range(13))


def test_an_update_is_that_of_adamw_with_a_cosine(trained):
    """optax's own AdamW, driven by hand; weight decay and rate follow the cosine."""
    schedule = optax.cosine_decay_schedule(0.05, 12)
    optimiser = optax.adamw(schedule, weight_decay=0.1)
    params = trained[0].params
    memory = optimiser.init(params)
    for number in range(3):
        gradient = jax.grad(loss)(params, jax.random.fold_in(jax.random.key(1), number))
        with jax.numpy_dtype_promotion("standard"):
            change, memory = optimiser.update(gradient, memory, params)
        params = optax.apply_updates(params, change)
        np.testing.assert_allclose(trained[number + 1].params, params, rtol=1e-9)


def test_cross_entropy_is_the_mean_of_the_log_softmax():
    logits, labels = np.random.default_rng(1).normal(size=(5, 4)), np.array([0, 3, 1, 1, 2])
    expected = -log_softmax(logits, axis=1)[np.arange(5), labels].mean()
    np.testing.assert_allclose(classify.cross_entropy(jnp.asarray(logits), jnp.asarray(labels)), expected, rtol=1e-12)


def test_bad_settings():
    with pytest.raises(ValueError, match="learning_rate must be a positive number, got 0"):
        classify.Training(learning_rate=0.0)
