"""Facts 3, 9 and 10 of the specification, and Monte Carlo over heads and over tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.theory import attention_kernel, kernel_regression

E1, E2, E3 = np.eye(3)
BETWEEN = (E1 + E2) / np.sqrt(2)
X, Y = np.array([E1, E1, E2]), np.array([BETWEEN, BETWEEN, E3])
# (augment, weight_std, mean_strength): K(X, Y), K(X, X)
FACT_3 = {
    (False, 1.0, 0.0): (0.10765662, 0.25),
    (True, 0.5, 0.0): (0.46958852, 0.65224945),
    (False, 1.0, 1.0): (0.38726126, 0.60616505),
    (True, 0.5, 1.0): (1.28078939, 1.53961402),
}

kernel = jax.jit(attention_kernel.kernel, static_argnames="augment")
biased = jax.jit(attention_kernel.biased_kernel, static_argnames="augment")


def heads(augment, weight_std, mean_strength, x, count, seed=0):
    """Features of single heads, (head, example, value): a numpy oracle."""
    rng = np.random.default_rng(seed)
    u = np.concatenate([x, np.ones((*x.shape[:2], 1))], axis=2) if augment else x
    size, dim = u.shape[2], x.shape[2]
    w = weight_std * rng.standard_normal((count, size, size)) + mean_strength * np.diag(np.arange(size) < dim)
    attention = np.maximum(np.einsum("ea,mab,ekb->mek", u[:, 0], w, u[:, 1:]), 0)
    return np.einsum("mek,ekb->meb", attention, u[:, 1:]) / (u.shape[1] - 1)


def tokens(seed, *shape):
    x = np.random.default_rng(seed).standard_normal(shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("convention", FACT_3, ids=str)
def test_fact_3(convention):
    augment, weight_std, mean_strength = convention
    for other, value in zip((Y, X), FACT_3[convention], strict=True):
        assert float(biased(X, other, weight_std, mean_strength, augment=augment)) == pytest.approx(value, abs=1e-8)
        if mean_strength == 0:
            assert float(kernel(X, other, weight_std, augment=augment)) == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("wrong", ["softmax", "one sum", "no values", "diagonal"])
def test_fact_3_rejects_wrong_kernels(wrong):
    def g(c):
        return (np.sqrt(1 - c**2) + (np.pi - np.arccos(c)) * c) / (2 * np.pi)

    misses = []
    for other, value in zip((Y, X), FACT_3[False, 1.0, 0.0], strict=True):
        inner = X[1:] @ other[1:].T
        moment = g((X[0] @ other[0]) * inner)
        right = np.mean(moment * inner)
        assert right == pytest.approx(value, abs=1e-8)
        values = {
            "softmax": np.mean(inner),
            "one sum": np.sum(moment * inner) / 2,
            "no values": np.mean(moment),
            "diagonal": np.mean(np.diag(moment * inner)),
        }
        misses.append(abs(values[wrong] - value))
    assert max(misses) > 1e-2


@pytest.mark.parametrize("convention", FACT_3, ids=str)
def test_heads_have_these_second_moments_and_means(convention):
    augment, weight_std, mean_strength = convention
    x = tokens(1, 4, 4, 5)  # four examples: a query and three keys
    phi = heads(*convention, x, 40_000)
    products = np.einsum("meb,mfb->mef", phi, phi)
    points = jnp.asarray(x)
    exact = jax.vmap(jax.vmap(lambda a, b: biased(a, b, weight_std, mean_strength, augment=augment), (None, 0)), (0, None))
    error = np.abs(products.mean(axis=0) - exact(points, points)) / (products.std(axis=0) / 200)
    assert error.max() < 4.5
    means = jax.vmap(lambda a: attention_kernel.feature_mean(a, weight_std, mean_strength, augment))(points)
    error = np.abs(phi.mean(axis=0) - means) / (phi.std(axis=0) / 200)
    assert error.max() < 4.5
    parts = jax.vmap(lambda a: attention_kernel.biased_kernel_parts(a, points[0], weight_std, mean_strength, augment))(points)
    np.testing.assert_allclose(parts.sum(axis=1), exact(points, points)[:, 0], rtol=1e-12)
    constant = products[:, :, 0] - np.einsum("meb,mb->me", phi[:, :, :5], phi[:, 0, :5])
    np.testing.assert_allclose(parts[:, 1], constant.mean(axis=0), atol=5 * (constant.std(axis=0) / 200).max() + 1e-12)


def test_compiled_and_not_it_is_positive_and_the_same():
    """An example with itself has correlation 1 and equal means, where XLA's rounding once decided between two branches."""
    x = jnp.asarray(tokens(2, 60, 5, 16))

    def matrix(x):
        one = lambda a, b: attention_kernel.biased_kernel(a, b, 0.5, 1.0, augment=True)  # noqa: E731
        return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(x, x)

    compiled = jax.jit(matrix)(x)
    np.testing.assert_allclose(compiled, matrix(x), rtol=1e-12)
    assert np.linalg.eigvalsh(compiled)[0] > 0


def test_norms_of_tokens_and_gradients():
    """Tokens need not have norm 1, and may be 0: homogeneous in the query, no NaN."""
    x, y = jnp.asarray(tokens(3, 4, 5)), jnp.asarray(tokens(4, 4, 5))
    np.testing.assert_allclose(kernel(x.at[0].multiply(3.0), y), 3 * kernel(x, y), rtol=1e-12)
    np.testing.assert_allclose(kernel(x, y, 2.0), 4 * kernel(x, y), rtol=1e-12)
    assert float(kernel(jnp.zeros_like(x), y)) == 0
    gradient = jax.jit(jax.grad(lambda x: biased(x, y, 1.0, 0.7)))(x)
    step = 1e-6 * jnp.asarray(tokens(5, 4, 5))
    change = (biased(x + step, y, 1.0, 0.7) - biased(x - step, y, 1.0, 0.7)) / 2
    assert float(jnp.sum(gradient * step)) == pytest.approx(float(change), rel=1e-6)


# ---------------------------------------------------------------------------------------------------------- spectrum


def test_parity_law():
    """Without augmentation nothing of r + s even, and of s even only s <= 2 for r = 1."""
    values = np.array(attention_kernel.spectrum(8, 5).eigenvalues)
    seen = np.abs(values) > 1e-15
    r, s = np.indices(values.shape)
    allowed = ((r + s) % 2 == 1) & ((s % 2 == 1) | ((r == 1) & (s <= 2)))
    np.testing.assert_array_equal(seen & ~allowed, False)
    assert all(seen[block] for block in ((1, 0), (1, 2), (0, 1), (2, 1)))
    assert not any(seen[block] for block in ((3, 0), (1, 4)))
    assert values[1, 0] == pytest.approx(1 / 256, rel=1e-12)  # 1/(4 d^2)
    augmented = np.array(attention_kernel.spectrum(8, 5, 0.5, augment=True).eigenvalues)
    assert (augmented[:4, :4] > 1e-9).all()


@pytest.mark.parametrize(("augment", "trace"), [(False, 1 / 10 + 4 / 160), (True, 0.46269339)])
def test_trace_and_mercer_sum(augment, trace):
    spectrum = attention_kernel.spectrum(8, 5, 0.5 if augment else 1.0, augment)
    total = jnp.sum(spectrum.multiplicities * spectrum.eigenvalues) + spectrum.tail
    assert float(total) == pytest.approx(trace, abs=2e-8)
    x = tokens(6, 3000, 6, 8)
    diagonal = jax.vmap(lambda a: attention_kernel.kernel(a, a, 0.5 if augment else 1.0, augment))(jnp.asarray(x))
    assert float(jnp.mean(diagonal)) == pytest.approx(trace, abs=4.5 * float(jnp.std(diagonal)) / 3000**0.5)


def test_groups_add_up_to_the_spectrum():
    groups = attention_kernel.groups(8, 4)
    spectrum = attention_kernel.spectrum(8, 4, 0.5, augment=True)
    total = jnp.einsum("c,crs->rs", groups.weights, groups.eigenvalues)
    np.testing.assert_allclose(total, spectrum.eigenvalues, atol=1e-7)
    assert float(groups.weights @ groups.tails) == pytest.approx(float(spectrum.tail), abs=1e-7)


def test_powers_of_targets_are_those_of_the_specification():
    d, n = 8, 4
    a, b = 1 / d**3, (1 - 1 / d) / (n * d**2)
    expected = {
        (0, 1): {(0, 1): 1},
        (0, 2): {(0, 2): 1},
        (1, 0): {(1, 1): 1},
        (1, 1): {(1, 0): a / (a + b), (1, 2): b / (a + b)},
    }
    for degrees, blocks in expected.items():
        power = np.array(attention_kernel.target_power(d, n, *degrees))
        for block, value in blocks.items():
            assert power[block] == pytest.approx(value, rel=1e-10)
        assert power.sum() == pytest.approx(1)
        assert np.abs(power).sum() == pytest.approx(1)


def test_power_of_a_block_by_projecting_the_function():
    """<x_0, x>^2 <beta, x> against the projection on (2, 1) by Monte Carlo: E[f f' P_2(t) P_1(tau)] B_2 B_1 of one key."""
    d, count = 5, 400_000
    x, y = tokens(7, count, 2, d), tokens(8, count, 2, d)

    def f(z):
        return np.sum(z[:, 0] * z[:, 1], axis=1) ** 2 * z[:, 1, 0]

    t, tau = np.sum(x[:, 0] * y[:, 0], axis=1), np.sum(x[:, 1] * y[:, 1], axis=1)
    p2 = (d * t**2 - 1) / (d - 1)
    terms = f(x) * f(y) * p2 * tau * d * ((d + 2) * (d - 1) / 2)
    power = np.array(attention_kernel.target_power(d, 1, 2, 1))
    scale = np.mean(f(x) ** 2)
    assert abs(terms.mean() / scale - power[2, 1]) < 4 * terms.std() / scale / np.sqrt(count)
    assert abs(terms.mean() / scale - power[0, 1]) > 4 * terms.std() / scale / np.sqrt(count)


def test_fact_10_the_norm_of_the_linear_target_does_not_know_the_number_of_keys():
    for num_keys in (2, 50):
        spectrum = attention_kernel.spectrum(8, num_keys)
        power = attention_kernel.target_power(8, num_keys, 0, 1) / (8 * num_keys)  # of the unscaled target
        assert float(kernel_regression.rkhs_norm(power, spectrum.eigenvalues)) == pytest.approx(6.166, abs=1e-3)


@pytest.mark.parametrize(
    ("degrees", "message"),
    [
        ((-1, 2), "correlation_degree must be at least 0, got -1"),
        ((0, 0), "degrees of a target"),
        ((6, 5), "degrees of a target"),
    ],
)
def test_degrees_of_targets_are_checked(degrees, message):
    with pytest.raises(ValueError, match=message):
        attention_kernel.target_power(8, 4, *degrees)
