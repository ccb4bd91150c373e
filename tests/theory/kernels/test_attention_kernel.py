"""Facts 3, 9 and 10 of the specification, and Monte Carlo over heads and over tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.theory.kernels import attention_kernel, harmonics, kernel_regression
from zoo.calls import Call

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_compiled_and_not_it_is_positive_and_the_same():
    """An example with itself has correlation 1 and equal means, where XLA's rounding once decided between two branches."""
    x = jnp.asarray(tokens(2, 60, 5, 16))

    def matrix(x):
        one = lambda a, b: attention_kernel.biased_kernel(a, b, 0.5, 1.0, augment=True)  # noqa: E731
        return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(x, x)

    compiled = jax.jit(matrix)(x)
    np.testing.assert_allclose(compiled, matrix(x), rtol=1e-12)
    assert np.linalg.eigvalsh(compiled)[0] > 0


@pytest.mark.slow
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
    seen = values != 0
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
        assert float(kernel_regression.rkhs_norm(power, spectrum.eigenvalues)) == pytest.approx(6.1663, abs=5e-5)
    for num_keys in (1, 7):
        power = attention_kernel.target_power(6, num_keys, 0, 1) / (6 * num_keys)
        norm = kernel_regression.rkhs_norm(power, attention_kernel.spectrum(6, num_keys).eigenvalues)
        assert float(norm) == pytest.approx(6.0896, abs=5e-5)


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


# --------------------------------------------------------------------------------- exact zeros, and all kinds of tokens


@pytest.mark.parametrize("x64", [True, False])
@pytest.mark.parametrize("dim", [2, 8, 300, 10**6])
def test_blocks_that_selection_rules_forbid_are_exact_zeros(dim, x64):
    r, s = np.indices((10, 10))
    with jax.enable_x64(x64):
        plain, augmented = attention_kernel.spectrum(dim, 4), attention_kernel.spectrum(dim, 4, augment=True)
        power = np.array(attention_kernel.target_power(dim, 4, 2, 3))
    allowed = ((r + s) % 2 == 1) & ((s % 2 == 1) | ((r == 1) & (s <= 2)))
    assert np.all(np.asarray(plain.eigenvalues)[~allowed] == 0)
    assert np.all(np.asarray(plain.eigenvalues)[allowed & (r + s < 4)] > 0)
    for one in (plain, augmented):
        assert float(one.eigenvalues.min()) >= 0
        assert float(one.tail) > 0
        assert np.all(np.isfinite(one.multiplicities))
    # of t^2 the degrees 0 and 2; degrees of the keys within 3 of them, with the parity of 3
    seen = ((r == 0) | (r == 2)) & ((r + s) % 2 == 1) & (abs(r - s) <= 3)
    np.testing.assert_array_equal(power > 0, seen)
    assert np.all(power[~seen] == 0)


@pytest.mark.parametrize("num_keys", [1, 5])
@pytest.mark.parametrize("dim", [4, 10**6])
def test_the_trace(dim, num_keys):
    """K(x, x) in the mean: F(1, 1)/N = 1/(2N), and E tau^2/4 = 1/(4d) for each of N (N - 1) pairs of keys."""
    spectrum = attention_kernel.spectrum(dim, num_keys)
    total = jnp.sum(spectrum.multiplicities * spectrum.eigenvalues) + spectrum.tail
    assert float(total) == pytest.approx(1 / (2 * num_keys) + (num_keys - 1) / (4 * dim * num_keys), rel=1e-12)


def test_powers_by_quadrature():
    """c_r^2 (B_s/B_r) E[P_r P_s mu_q] by Gauss sums, mu_3(t) = (9 t + 6 t^3)/(d (d + 2) (d + 4))."""
    d, n = 5, 3
    t, weights = (np.asarray(part) for part in harmonics.sphere_quadrature(d, 40))
    polynomials = np.asarray(harmonics.gegenbauers(d, 10, t))
    counts = np.array([harmonics.sphere_multiplicity(d, degree) for degree in range(10)])
    coefficients = counts * (polynomials @ (weights * t**2))
    overlaps = (polynomials * weights * (9 * t + 6 * t**3)) @ polynomials.T
    expected = np.outer(coefficients**2 / counts, counts) * overlaps / np.where(np.arange(10) > 0, n, 1)
    np.testing.assert_allclose(attention_kernel.target_power(d, n, 2, 3), expected / expected.sum(), atol=1e-15)


@pytest.mark.slow
def test_integer_tokens():
    x = [[1, 0], [1, 1]]
    for kind in (x, np.array(x), jnp.array(x), np.array(x, bool), np.array(x, float), np.array(x, np.int8)):
        assert float(attention_kernel.kernel(kind, x, 0.5)) == pytest.approx(0.5, rel=1e-15)
    assert float(biased(np.array(x), np.array(x, bool), 0.5, 0)) == pytest.approx(0.5, rel=1e-12)
    np.testing.assert_allclose(attention_kernel.feature_mean(x, 1, 0), np.full(2, 1 / np.sqrt(np.pi)), rtol=1e-14)
    assert attention_kernel.spectrum(4, 2, 2).eigenvalues.dtype == jnp.float64
    double = attention_kernel.kernel(np.array(x, np.float32), np.array(x, float), 0.5)
    assert double.dtype == jnp.float64


@pytest.mark.slow
def test_slopes_at_zero_tokens():
    """Against differences: of second order at a key of 0, and the mean of both sides at a query of 0."""
    y, step = jnp.asarray(tokens(4, 4, 5)), 1e-5 * tokens(9, 4, 5)
    for function in (kernel, lambda x, y, s: biased(x, y, s, 0.7)):
        slopes = jax.jit(jax.grad(function, argnums=(0, 1)))
        for row in (0, 2, slice(None)):
            x = jnp.asarray(tokens(3, 4, 5)).at[row].set(0)
            of_first, of_second = slopes(x, y, 1.2)[0], slopes(y, x, 1.2)[1]
            difference = float(function(x + step, y, 1.2) - function(x - step, y, 1.2)) / 2
            assert float(jnp.sum(of_first * step)) == pytest.approx(difference, rel=1e-5, abs=1e-11)
            np.testing.assert_allclose(of_first, of_second, rtol=1e-10, atol=1e-12)
        assert np.all(np.isfinite(slopes(0 * y, 0 * y, 1.2)[0]))
    assert np.all(np.isfinite(jax.jacobian(lambda x: attention_kernel.feature_mean(x, 1.0, 0.7))(0 * y)))


def test_slopes_of_a_biased_kernel_at_many_standard_deviations():
    """A = s Z and B = 100 + s Z', independent: s E relu(Z) (100 + ..) has the slope 100/sqrt(2 pi) in s. Times <x_1, y_1>."""
    slope = jax.jit(jax.grad(attention_kernel.biased_kernel, argnums=(2, 3)))
    x, y = np.array([E1, E2]), np.array([E2 + E3, E2 + E3]) / np.sqrt(2)
    assert float(slope(x, y, 1.0, 100.0)[0]) == pytest.approx(100 / np.sqrt(2 * np.pi) / np.sqrt(2), rel=1e-9)
    # E relu(A) relu(B) = m_A m_B for positive means without spread, and next to none
    x = np.array([[1.0, 0.5, 0.0], [0.8, 0.9, 0.1]])
    expected = 2 * (x[1] @ x[0]) ** 2 * (x[1] @ x[1])
    for weight_std in (0.0, 1e-3):
        assert float(slope(x, x, weight_std, 1.0)[1]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_sizes_of_tokens():
    """K is of degree 1 in each query and 2 in each key: squares of what is far from 1 must not leave the range of floats."""
    x, y = tokens(3, 3, 5), tokens(4, 3, 5)
    for scale in (1e-25, 1e25):
        scaled = np.array(x)
        scaled[0] *= scale
        for function in (lambda x, y: kernel(x, y), lambda x, y: biased(x, y, 1.0, 0.5)):
            single = function(jnp.asarray(scaled, jnp.float32), jnp.asarray(y, jnp.float32))
            assert single.dtype == jnp.float32
            assert float(single) == pytest.approx(scale * float(function(x, y)), rel=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attention_kernel.kernel(np.ones((1, 2)), np.ones((2, 2))), "x must hold a query and at least one key"),
        (lambda: attention_kernel.kernel(np.ones((2, 2)), np.ones((0, 2))), "y must hold a query and at least one key"),
        (lambda: attention_kernel.kernel(np.ones((2, 2)), np.ones((2, 3))), "y must have the shape"),
        (lambda: attention_kernel.feature_mean(np.ones((1, 2)), 1.0, 0.0), "x must hold a query and at least one key"),
        (lambda: attention_kernel.biased_kernel(np.ones((2, 2)), np.ones((2, 2)), -1.0, 0.0), "weight_std must be at least 0"),
        (lambda: attention_kernel.spectrum(8, 0), "num_keys must be at least 1, got 0"),
        (lambda: attention_kernel.groups(1, 4), "dim must be at least 2, got 1"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

X_, Y_ = np.array([[0.8, -0.5], [0.3, 1.1]]), np.array([[0.4, 0.9], [1.2, 0.2], [-0.7, 0.6]])
ZEROS = tuple(X_ * np.array(kept)[:, None] for kept in ([0.0, 1.0], [1.0, 0.0], [0.0, 0.0]))  # query, key, both
EDGES = {"x": (*ZEROS, Y_[:2], -Y_[:2])}
PAIR = {"x": X_, "y": Y_, "weight_std": 0.7}
BIASED = {**PAIR, "mean_strength": 0.4}


def drawn(rng):
    """Means of a few standard deviations: far below, where no head is open, relu_product is right to absolute precision."""
    std = 10 ** rng.uniform(-2, 2)
    parts = {"x": rng.normal(size=(2, 2)), "y": rng.normal(size=(3, 2))}
    return {**parts, "weight_std": std, "mean_strength": std * rng.uniform(-0.7, 0.7)}


def kept(arguments):
    """Not where K is below 1e-3 of what sets its rounding: pairs of nearly opposite pre-activations, or parts that cancel."""
    x, y = arguments["x"], arguments["y"]
    covariances, products = (x[0] @ y[0]) * (x[1:] @ y[1:].T), x[1:] @ y[1:].T
    sizes = np.multiply.outer(*(np.linalg.norm(part[0]) * np.linalg.norm(part[1:], axis=1) for part in (x, y)))
    rho = np.clip(covariances / np.where(sizes > 0, sizes, 1), -1, 1)
    parts = sizes * products
    mean = np.mean(parts * (np.sqrt(1 - rho**2) + (np.pi - np.arccos(rho)) * rho)) / (2 * np.pi)
    return np.mean(np.abs(parts)) <= 1e3 * np.abs(mean)


CALLS = [
    Call(attention_kernel.kernel, {**PAIR, "augment": False}, edges=EDGES, scaling={"x": 1}, degree=3, single=kept),
    Call(attention_kernel.kernel, {**PAIR, "augment": True}, label="augmented", edges=EDGES),
    Call(attention_kernel.kernel_parts, {**PAIR, "augment": True}, edges=EDGES, scaling={"weight_std": 1}, degree=2),
    Call(attention_kernel.biased_kernel, {**BIASED, "augment": False}, edges=EDGES, draw=drawn, scaling={"x": 1}, degree=3),
    Call(attention_kernel.biased_kernel_parts, {**BIASED, "augment": True}, edges=EDGES, draw=drawn),
    Call(
        attention_kernel.feature_mean,
        {"x": X_, "weight_std": 0.7, "mean_strength": 0.4, "augment": False},
        edges=EDGES,
        scaling={"x": 1},
        degree=3,
    ),
    Call(
        attention_kernel.spectrum,
        {"dim": 4, "num_keys": 3, "weight_std": 0.7, "augment": True, "num_degrees": 4},
        scaling={"weight_std": 1},
        degree=(2, 0, 2),
    ),
    Call(
        attention_kernel.groups,
        {"dim": 4, "num_keys": 3, "weight_std": 0.7, "num_nodes": 3, "num_degrees": 3},
        scaling={"weight_std": 1},
        degree=(0, 0, 2, 2),
    ),
    Call(
        attention_kernel.target_power,
        {"dim": 8, "num_keys": 4, "correlation_degree": 1, "direction_degree": 2, "num_degrees": 10},
    ),
]
