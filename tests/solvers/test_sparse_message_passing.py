"""Message passing: the posterior by sums over a grid, runs against numpy with and without Onsager's term, exact recovery."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from closedform.solvers import sparse_message_passing as passing
from closedform.tasks import sparse_linear, spiked
from zoo.checks import rejected

DIM, RATIO, DENSITY, SLAB = 60, 0.75, 0.2, 1.5


def key(seed=0):
    return jax.random.key(seed, impl="threefry2x32")


def test_posterior():
    h, noise = np.array([-2.0, 0.1, 0.9]), 0.3
    theta = np.linspace(-12, 12, 200_001)
    slab = DENSITY * scipy.stats.norm.pdf(theta, scale=np.sqrt(SLAB)) * (theta[1] - theta[0])

    def assert_posterior(mean, variance):
        for i, seen in enumerate(h):
            weight = slab * scipy.stats.norm.pdf(seen, theta, np.sqrt(noise))
            total = np.sum(weight) + (1 - DENSITY) * scipy.stats.norm.pdf(seen, 0, np.sqrt(noise))
            first, second = weight @ theta / total, weight @ theta**2 / total
            np.testing.assert_allclose([mean[i], variance[i]], [first, second - first**2], rtol=1e-9)

    found = passing.posterior(jnp.asarray(h), jnp.asarray(noise), jnp.asarray(DENSITY), jnp.asarray(SLAB))
    assert_posterior(*found)
    rejected(assert_posterior, found[0], found[1] / 2)


def problem(noise_std):
    theta = sparse_linear.weights(key(), DIM, round(DENSITY * DIM), SLAB)
    x, y = sparse_linear.sample(key(1), round(RATIO * DIM), theta, noise_std)
    numbers = (jnp.asarray(value) for value in (RATIO, DENSITY, SLAB))
    return theta, passing.Measurements(x / np.sqrt(DIM), y, *numbers)


@jax.jit
def run(made):
    def advance(state, _):
        return passing.step(state, made), state.weights

    return jax.lax.scan(advance, passing.init(made), None, length=60)


def plain(made, num_steps, onsager=1.0):
    x, y = np.asarray(made.x), np.asarray(made.y)
    w, r = np.zeros(DIM), y
    for _ in range(num_steps):
        noise = r @ r / (len(y) * RATIO)
        mean, variance = map(np.asarray, passing.posterior(jnp.asarray(w + x.T @ r / RATIO), jnp.asarray(noise), *made[3:]))
        w, r = mean, y - x @ mean + onsager * r * np.mean(variance) / (noise * RATIO)
    return w


def test_steps():
    _, made = problem(0.1)
    weights = np.asarray(run(made)[1])

    def assert_same(at_four):
        np.testing.assert_allclose(weights[4], at_four, atol=1e-10)

    assert_same(plain(made, 4))
    rejected(assert_same, plain(made, 4, onsager=0.0))
    exact, made = problem(0.0)
    end, path = run(made)
    np.testing.assert_allclose(end.weights, exact, atol=1e-10)  # and nothing is divided by 0 after that
    np.testing.assert_allclose(path[0], 0)
    # rows of zeros change nothing
    padded = made._replace(x=jnp.pad(made.x, ((0, 3), (0, 0))), y=jnp.pad(made.y, (0, 3)))
    np.testing.assert_allclose(passing.step(passing.init(padded), padded).weights, path[1], rtol=1e-12)


def test_spike():
    v = spiked.spike(key(), 200)
    matrix, strength = spiked.wigner(key(1), v, 3.0), jnp.asarray(3.0)
    state = passing.init_spike(0.3 * v)
    for _ in range(2):
        state = passing.step_spike(state, matrix, strength)
    first = np.tanh(3 * np.asarray(matrix) @ (0.3 * v))

    def assert_same(onsager):
        second = np.tanh(3 * np.asarray(matrix) @ first - onsager * 9 * (1 - np.mean(first**2)) * 0.3 * v)
        np.testing.assert_allclose(state.estimate, second, atol=1e-12)

    assert_same(1)
    rejected(assert_same, 0)
    assert jnp.mean(state.estimate * v) > 0.9
