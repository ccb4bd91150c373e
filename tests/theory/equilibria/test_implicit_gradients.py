"""Gradients against finite differences, unrolled chains in numpy and the facts of the six-dimensional example."""

import numpy as np

from closedform.theory.equilibria import implicit_gradients
from zoo.calls import Call
from zoo.checks import rejected

ROW, COLUMN = np.indices((6, 6))
WEIGHTS, OFFSET, ONES = 0.4 * np.sin((ROW + 1) * (2 * COLUMN + 3)), np.cos(np.arange(6)), np.ones(6)


def equilibrium(activation, weights, offset):
    z = np.zeros(6)
    for _ in range(400):
        z = activation(weights @ z + offset)
    return z


Z_TANH = equilibrium(np.tanh, WEIGHTS, OFFSET)
SLOPES = 1 - Z_TANH**2
JACOBIAN = SLOPES[:, None] * WEIGHTS


def assert_facts(gradient_fn):
    """d sum(z*)/dc of the affine map and of tanh, eight digits; then |d sum/dW|, ten."""
    linear = [0.43622844, 0.21006447, 0.46819167, 0.65822665, 0.7089504, 2.28110381]
    np.testing.assert_allclose(gradient_fn(WEIGHTS, ONES, np.eye(6)), linear, atol=5.1e-9)
    tanh = [0.3011621, 0.27241351, 0.39214127, 0.47407923, 0.66277188, 1.86987271]
    np.testing.assert_allclose(gradient_fn(JACOBIAN, ONES, np.diag(SLOPES)), tanh, atol=5.1e-9)
    by_weights = (np.diag(SLOPES)[:, :, None] * Z_TANH).reshape(6, 36)
    np.testing.assert_allclose(np.linalg.norm(gradient_fn(JACOBIAN, ONES, by_weights)), 2.6068884707, atol=5.1e-11)


def test_implicit_gradient():
    gradient = implicit_gradients.implicit_gradient
    assert_facts(gradient)
    rejected(assert_facts, lambda J, g, s: gradient(J.T, g, s))  # (I - J) lambda = g
    rejected(assert_facts, lambda J, g, s: g @ s)  # one step
    rejected(assert_facts, lambda J, g, s: gradient(-J, g, s))
    rejected(assert_facts, lambda J, g, s: gradient(J, g, s.T) if s.shape == (6, 6) else gradient(J, s @ g[:1].repeat(36), s))


def test_finite_differences():
    g = np.linspace(-1, 1, 6)
    found = implicit_gradients.implicit_gradient(JACOBIAN, g, np.diag(SLOPES))
    for i in range(6):
        shift = 1e-6 * np.eye(6)[i]
        ends = [equilibrium(np.tanh, WEIGHTS, OFFSET + sign * shift) @ g for sign in (-1, 1)]
        np.testing.assert_allclose(found[i], (ends[1] - ends[0]) / 2e-6, rtol=1e-6, atol=1e-9)


def unrolled(steps, activation_slope, weights, offset, cotangent, start):
    """dL/dW through the chain of steps, by hand."""
    path, slopes, z = [], [], start
    for _ in range(steps):
        path.append(z)
        h = weights @ z + offset
        z = h if activation_slope is None else np.tanh(h)
        slopes.append(np.ones(6) if activation_slope is None else 1 - z**2)
    gradient, back = np.zeros((6, 6)), cotangent
    for z, slope in zip(reversed(path), reversed(slopes), strict=True):
        gradient += np.outer(slope * back, z)
        back = weights.T @ (slope * back)
    return gradient


def test_the_implicit_gradient_is_the_limit_of_unrolled_ones():
    """Acceptance fact 5: sixty steps of tanh agree to 1e-12."""
    implicit = np.outer(implicit_gradients.implicit_gradient(JACOBIAN, ONES, np.diag(SLOPES)), Z_TANH)
    chain = unrolled(60, True, WEIGHTS, OFFSET, ONES, np.zeros(6))
    assert np.linalg.norm(chain - implicit) < 1e-12 * np.linalg.norm(implicit)


def assert_unrolled(error_fn):
    g, start = np.linspace(-1, 1, 6), np.linspace(1, 2, 6)
    z = np.linalg.solve(np.eye(6) - WEIGHTS, OFFSET)
    implicit = np.outer(np.linalg.solve(np.eye(6) - WEIGHTS.T, g), z)
    chains = np.array([unrolled(K, None, WEIGHTS, OFFSET, g, start) for K in (0, 1, 7, 20)])
    errors = error_fn(np.array([0, 1, 7, 20]), WEIGHTS, z, start - z, g)
    np.testing.assert_allclose(errors, implicit - chains, atol=1e-13)


def test_unrolled_error():
    error = implicit_gradients.unrolled_error
    assert_unrolled(error)
    rejected(assert_unrolled, lambda K, W, z, e, g: error(K, W, z, -e, g))
    rejected(assert_unrolled, lambda K, W, z, e, g: error(K + 1, W, z, e, g))
    rejected(assert_unrolled, lambda K, W, z, e, g: error(K, W, z, 0 * e, g))
    # K rho^K where the largest eigenvalue is real: divided by it, the errors of 100 and 200 steps are as 1 + O(1/K)
    weights = np.array([[0.9, 0.4], [0.0, 0.3]])
    two = np.linalg.norm(error([100, 200], weights, [1.0, 2.0], [-1.0, -2.0], [1.0, 1.0]), axis=(1, 2))
    np.testing.assert_allclose(two[0] / two[1] / (0.9**-100 / 2), 1, atol=0.2)


def assert_neumann(adjoint_fn):
    g, total, term = np.linspace(-1, 1, 6), np.zeros(6), np.linspace(-1, 1, 6)
    sums = []
    for _ in range(9):
        total, term = total + term, JACOBIAN.T @ term
        sums.append(total)
    np.testing.assert_allclose(adjoint_fn(np.array([0, 3, 8]), JACOBIAN, g), np.array(sums)[[0, 3, 8]], rtol=1e-12)


def test_neumann_series():
    series = implicit_gradients.neumann_adjoint
    assert_neumann(series)
    rejected(assert_neumann, lambda m, J, g: series(m + 1, J, g))
    rejected(assert_neumann, lambda m, J, g: series(m, J.T, g))


def assert_compared(comparison_fn):
    """The one-step gradient of fact 2, ten digits, and every order against differences of gradients."""
    one = comparison_fn(0, JACOBIAN, ONES, np.diag(SLOPES))
    np.testing.assert_allclose(one.relative_error, 0.5736077729, atol=5.1e-11)
    np.testing.assert_allclose(one.cosine, 0.8211322000, atol=5.1e-11)
    exact = np.linalg.solve(np.eye(6) - JACOBIAN.T, ONES)
    for order in (1, 4):
        truncated = np.asarray(implicit_gradients.neumann_adjoint(order, JACOBIAN, ONES))
        found = comparison_fn(order, JACOBIAN, ONES, np.eye(6))
        np.testing.assert_allclose(found.relative_error, np.linalg.norm(truncated - exact) / np.linalg.norm(exact), rtol=1e-10)
        cosine = truncated @ exact / np.linalg.norm(truncated) / np.linalg.norm(exact)
        np.testing.assert_allclose(found.cosine, cosine, rtol=1e-12)


def test_neumann_comparison():
    comparison = implicit_gradients.neumann_comparison
    assert_compared(comparison)
    rejected(assert_compared, lambda m, J, g, s: comparison(m, J.T, g, s))
    rejected(assert_compared, lambda m, J, g, s: comparison(np.asarray(m) + 1, J, g, s))
    rejected(assert_compared, lambda m, J, g, s: comparison(m, J, g))
    late = comparison([20, 40], JACOBIAN, ONES)  # a complex pair leads: the error turns, but falls as its modulus
    rate = (late.relative_error[1] / late.relative_error[0]) ** (1 / 20)
    np.testing.assert_allclose(rate, np.max(np.abs(np.linalg.eigvals(JACOBIAN))), rtol=0.05)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

SMALL, G = np.array([[0.5, -0.3], [0.8, 0.1]]), np.array([1.0, -2.0])
SENSITIVITY = np.array([[1.0, 0.5, 0.2], [-0.3, 2.0, 0.7]])
CALLS = [
    Call(implicit_gradients.adjoint, {"jacobian": SMALL, "cotangent": G}, scaling={"cotangent": 1}, degree=1),
    Call(implicit_gradients.implicit_gradient, {"jacobian": SMALL, "cotangent": G, "sensitivity": SENSITIVITY}),
    Call(implicit_gradients.neumann_adjoint, {"orders": [0, 3], "jacobian": SMALL, "cotangent": G}),
    Call(
        implicit_gradients.neumann_comparison,
        {"orders": [0, 3], "jacobian": SMALL, "cotangent": G, "sensitivity": SENSITIVITY},
        scaling={"cotangent": 1},
        # with entries of all sizes the powers cancel beyond what float32 keeps
        draw=lambda rng: {
            "jacobian": rng.normal(size=(2, 2)) / 2,
            "cotangent": rng.normal(size=2),
            "sensitivity": rng.normal(size=(2, 3)),
        },
    ),
    Call(
        implicit_gradients.unrolled_error,
        {"steps": [1, 4], "weights": SMALL, "equilibrium": G, "error": np.array([0.3, 0.4]), "cotangent": -G},
    ),
]
