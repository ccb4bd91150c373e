import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.tasks import sphere_tokens
from closedform.tasks.sphere_tokens import CORRELATION, GATED, LINEAR, QUADRATIC, Target

TARGETS = (LINEAR, QUADRATIC, CORRELATION, GATED, Target(2, 1), Target(2, 0), Target(2, 2), Target(1, 3))


@pytest.fixture(scope="module")
def x():
    with jax.enable_x64(True):
        return np.asarray(sphere_tokens.sample(jax.random.key(0), 200_000, 3, 5))


def test_tokens_are_unit_vectors_without_a_preferred_direction(x):
    np.testing.assert_allclose(np.linalg.norm(x, axis=2), 1, rtol=1e-12)
    flat = x.reshape(-1, 5)
    np.testing.assert_allclose(flat.T @ flat / len(flat), np.eye(5) / 5, atol=5e-4)
    assert abs(np.mean(np.sum(x[:, 0] * x[:, 1], axis=1))) < 5 / np.sqrt(5 * len(x))


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_moments_against_a_plain_mean(x, target):
    p, q = target
    plain = np.mean(np.einsum("nd,nkd->nk", x[:, 0], x[:, 1:]) ** p * x[:, 1:, 0] ** q, axis=1)
    mean, variance = sphere_tokens.moments(target, num_keys=3, dim=5)
    spread = plain.std() / np.sqrt(len(plain))
    assert abs(plain.mean() - mean) <= 4 * spread
    squares = (plain - mean) ** 2
    assert abs(squares.mean() - variance) <= 4 * squares.std() / np.sqrt(len(plain))
    assert abs(squares.mean() - 2 * variance) > 4 * squares.std() / np.sqrt(len(plain))
    values = jax.vmap(lambda one: sphere_tokens.evaluate(target, one))(jnp.asarray(x[:1000]))
    np.testing.assert_allclose(values, (plain[:1000] - mean) / np.sqrt(variance), rtol=1e-9, atol=1e-9)


def test_table_of_the_specification():
    """Scales of T1, T2, T3 and T4 in closed form."""
    d, n = 8, 4
    closed = {
        LINEAR: 1 / (d * n),
        QUADRATIC: 2 * (d - 1) / (d**2 * (d + 2)) / n,
        CORRELATION: 1 / (d * n),
        GATED: 1 / d**3 + (1 - 1 / d) / (n * d**2),
    }
    for target, variance in closed.items():
        assert sphere_tokens.moments(target, n, d)[1] == pytest.approx(variance, rel=1e-12)


def test_order_of_keys_does_not_matter(x):
    one = jnp.asarray(x[0])
    turned = jnp.concatenate([one[:1], one[1:][::-1]])
    for target in TARGETS:
        assert sphere_tokens.evaluate(target, one) == pytest.approx(float(sphere_tokens.evaluate(target, turned)), rel=1e-12)


@pytest.mark.parametrize("sizes", [(0, 2, 3), (2, 0, 3), (2, 2, 1)])
def test_sizes_that_make_no_sense_are_refused(sizes):
    with pytest.raises(ValueError, match="must be at least 1, dim 2"):
        sphere_tokens.sample(jax.random.key(0), *sizes)


@pytest.mark.parametrize("target", [(-1, 2), (0, 0)])
def test_degrees_that_make_no_sense_are_refused(target):
    with pytest.raises(ValueError, match="must not be negative, nor both 0"):
        sphere_tokens.moments(Target(*target), 3, 5)
