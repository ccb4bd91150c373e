"""The dual norm, certificates and closed forms against enumeration, scipy and an interior-point solver.

The programs are solved by cvxpy with Clarabel where that is installed; the rest needs scipy only.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from closedform.tasks import waves
from closedform.theory.convex import convex_relu
from closedform.theory.convex.cone_projection import cone_projection
from zoo.calls import Call
from zoo.checks import rejected
from zoo.convex_problems import enumerate_patterns, solve
from zoo.formula_data import FACTS, formula_data, scipy_projection

# jitted functions of the package take numpy's arrays too
weight_decay_max, dual_norm, dual_direction, dual_value, duality_gap = map(
    jax.jit,
    (
        convex_relu.weight_decay_max,
        convex_relu.dual_norm,
        convex_relu.dual_direction,
        convex_relu.dual_value,
        convex_relu.duality_gap,
    ),
)
whitened_optimum, whitened_gated_optimum, whitened_prediction, worst_margin, robust_worst_case = map(
    jax.jit,
    (
        convex_relu.whitened_optimum,
        convex_relu.whitened_gated_optimum,
        convex_relu.whitened_prediction,
        convex_relu.worst_margin,
        convex_relu.robust_worst_case,
    ),
)
projections = jax.jit(jax.vmap(cone_projection))

WHITENED_Y = np.array([1.2, -0.7, 0.4, -1.1, 0.9])


@pytest.fixture(scope="module", params=FACTS, ids=str)
def problem(request):
    x, y = formula_data(*request.param)
    return x, y, enumerate_patterns(x), *FACTS[request.param]


# -------------------------------------------------------------------------------------------------------- the dual norm


def scan(nu, x):
    """N(nu) for d = 2: a fine grid of angles, then a search around its best point; and the kinks, where an x_k.u = 0."""
    response = lambda angle: abs(nu @ np.maximum(x @ [math.cos(angle), math.sin(angle)], 0))  # noqa: E731
    angles = np.linspace(0, 2 * math.pi, 20001)
    values = np.abs(nu @ np.maximum(x @ np.stack([np.cos(angles), np.sin(angles)]), 0))
    best = angles[values.argmax()]
    bounds = (best - angles[1], best + angles[1])
    fine = optimize.minimize_scalar(lambda a: -response(a), bounds=bounds, method="bounded", options=dict(xatol=1e-12))
    kinks = np.arctan2(-x[:, 0], x[:, 1])
    return max(-fine.fun, *map(response, kinks), *map(response, kinks + math.pi))


def assert_dual_norm_in_the_plane(dual_norm_fn):
    rng = np.random.default_rng(0)
    for draw in range(12):
        x, nu = rng.normal(size=(7, 2)), rng.normal(size=7) - (draw % 3)  # a shift makes the negative sign win
        np.testing.assert_allclose(dual_norm_fn(nu, x, enumerate_patterns(x)), scan(nu, x), rtol=1e-8)


def test_dual_norm_is_the_maximum_over_angles():
    assert_dual_norm_in_the_plane(dual_norm)
    assert_dual_norm_in_the_plane(lambda nu, x, patterns: dual_norm(nu, x, patterns == 1))


def positive_neurons_only(nu, x, patterns):
    cones = np.where(patterns.T[:, :, None] > 0, x, -x)
    return np.linalg.norm(projections((patterns.T * nu) @ x, cones).point, axis=1).max()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda nu, x, patterns: np.linalg.norm((patterns.T * nu) @ x, axis=1).max(),  # no cones
        positive_neurons_only,
        lambda nu, x, patterns: np.linalg.norm(nu @ x),  # no activations
        lambda nu, x, patterns: dual_norm(nu, x, patterns) ** 2,
        lambda nu, x, patterns: dual_norm(nu, x, patterns[:, ::2]),  # half of the patterns
    ],
)
def test_wrong_dual_norms_are_rejected(wrong):
    rejected(assert_dual_norm_in_the_plane, wrong)


@pytest.mark.slow
def test_dual_norm_is_the_largest_projection(problem):
    x, y, patterns, *_ = problem
    pieces = [
        np.linalg.norm(scipy_projection(sign * (pattern * y) @ x, (2 * pattern - 1)[:, None] * x))
        for pattern in patterns.T
        for sign in (1, -1)
    ]
    np.testing.assert_allclose(dual_norm(y, x, patterns), max(pieces), rtol=1e-10)
    directions = np.random.default_rng(0).normal(size=(x.shape[1], 20000))
    responses = np.abs(y @ np.maximum(x @ directions, 0)) / np.linalg.norm(directions, axis=0)
    assert 0.98 * max(pieces) < responses.max() <= max(pieces)


@pytest.mark.slow
def test_weight_decay_max_of_the_facts(problem):
    x, y, patterns, _, value, _ = problem
    np.testing.assert_allclose(weight_decay_max(x, y, patterns), value, atol=5e-7)


@pytest.mark.slow
def test_dual_direction_attains_the_norm(problem):
    x, y, patterns, *_ = problem
    for nu in (y, -y, y[::-1].copy()):
        value, direction, sign = dual_direction(nu, x, patterns)
        np.testing.assert_allclose(np.linalg.norm(direction), 1, rtol=1e-12)
        np.testing.assert_allclose(sign * (nu @ np.maximum(x @ direction, 0)), value, rtol=1e-12)
        assert abs(float(sign)) == 1


def test_dual_norm_on_whitened_data_separates_the_signs():
    """X X' = 1: N(nu) = max(|nu_+|, |nu_-|), so that this is where the closed form reaches 0."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 5)))[0].T
    patterns = np.array(list(itertools.product((0.0, 1.0), repeat=5))).T
    for nu in (WHITENED_Y, -WHITENED_Y, np.abs(WHITENED_Y)):
        expected = max(np.linalg.norm(np.maximum(nu, 0)), np.linalg.norm(np.maximum(-nu, 0)))
        np.testing.assert_allclose(dual_norm(nu, basis, patterns), expected, rtol=1e-12)


def test_dual_norm_is_zero_without_nan_where_nothing_responds():
    x, y = formula_data(6, 2)
    for nu, data in ((0 * y, x), (y, 0 * x)):
        value, gradient = jax.jit(jax.value_and_grad(convex_relu.dual_norm))(nu, data, enumerate_patterns(x))
        assert float(value) == 0
        assert bool(jnp.isfinite(gradient).all())


def assert_gradients(dual_norm_fn):
    """Central differences of the scan, in nu and x, at data whose best direction is inside of a cone and on an edge."""
    edges = 0
    slope_fn = jax.jit(jax.grad(dual_norm_fn, argnums=(0, 1)))
    for seed in (0, 1, 2, 3, 9, 11, 12, 14):
        rng = np.random.default_rng(seed)
        x, nu, dx, dnu = (rng.normal(size=shape) for shape in ((7, 2), 7, (7, 2), 7))
        patterns = enumerate_patterns(x)
        direction = np.asarray(dual_direction(nu, x, patterns).direction)
        edges += np.abs(x @ direction).min() < 1e-9
        by_nu, by_x = slope_fn(nu, x, patterns)
        h = 1e-5
        np.testing.assert_allclose(by_nu @ dnu, (scan(nu + h * dnu, x) - scan(nu - h * dnu, x)) / (2 * h), atol=2e-5)
        np.testing.assert_allclose(np.sum(by_x * dx), (scan(nu, x + h * dx) - scan(nu, x - h * dx)) / (2 * h), atol=2e-5)
    assert edges == 5


def without_multipliers(nu, x, patterns):
    _, direction, sign = jax.lax.stop_gradient(convex_relu.dual_direction(nu, x, patterns))
    return sign * (nu @ jax.nn.relu(x @ direction))


def test_dual_norm_gradients():
    assert_gradients(convex_relu.dual_norm)


@pytest.mark.parametrize("wrong", [without_multipliers, lambda *args: 2 * convex_relu.dual_norm(*args)])
def test_wrong_gradients_are_rejected(wrong):
    rejected(assert_gradients, wrong)


# ------------------------------------------------------------------------------------ the certificate, and the optimum


def solve_program(x, y, patterns, weight_decay, cones=True):
    """The convex program by an interior-point method: its value, v and w."""
    cvxpy = pytest.importorskip("cvxpy")
    pytest.importorskip("clarabel")
    v, w = (cvxpy.Variable((x.shape[1], patterns.shape[1])) for _ in range(2))
    outputs = cvxpy.sum(cvxpy.multiply(patterns, x @ (v - w)), axis=1)
    penalty = cvxpy.sum(cvxpy.norm(v, 2, axis=0)) + cvxpy.sum(cvxpy.norm(w, 2, axis=0))
    inside = [cvxpy.multiply(2 * patterns - 1, x @ part) >= 0 for part in (v, w)] if cones else []
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(outputs - y) / 2 + weight_decay * penalty), inside)
    return solve(program), v.value, w.value


def assert_certifies(duality_gap_fn):
    """The gap closes at the optimum and bounds the distance of every other network to it."""
    x, y = formula_data(8, 2)
    patterns, weight_decay, best = enumerate_patterns(x), 0.1, FACTS[8, 2][2]
    value, v, w = solve_program(x, y, patterns, weight_decay)
    np.testing.assert_allclose(value, best, atol=1e-6)
    residual = y - np.sum(patterns * (x @ (v - w)), axis=1)
    norm = dual_norm(residual, x, patterns)
    np.testing.assert_allclose(norm / weight_decay, 1, atol=5e-4)
    np.testing.assert_allclose(dual_value(weight_decay / norm * residual, y), best, atol=5e-5)
    assert -1e-8 < float(duality_gap_fn(value, residual, y, weight_decay, norm)) < 5e-5
    rng = np.random.default_rng(0)
    for scale in (0, 0.1, 0.5, 1, 2):
        u, alpha = rng.normal(size=(2, 4)) * scale, rng.normal(size=4) * scale
        residual = y - np.maximum(x @ u, 0) @ alpha
        objective = residual @ residual / 2 + weight_decay / 2 * (np.sum(u**2) + np.sum(alpha**2))
        gap = duality_gap_fn(objective, residual, y, weight_decay, dual_norm(residual, x, patterns))
        assert float(gap) >= objective - best - 1e-6
        nu = weight_decay / max(weight_decay, dual_norm(residual, x, patterns)) * residual
        np.testing.assert_allclose(gap, objective - (nu @ y - nu @ nu / 2), rtol=1e-12)


def test_duality_gap_certifies():
    assert_certifies(duality_gap)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda objective, r, y, decay, norm: objective - (r @ y - r @ r / 2),  # not scaled into the dual's domain
        lambda objective, r, y, decay, norm: objective - decay / norm * (r @ y) + (decay / norm) ** 2 * (r @ r),  # no 1/2
        lambda objective, r, y, decay, norm: duality_gap(objective, r, y, decay / 2, norm),
        lambda objective, r, y, decay, norm: duality_gap(objective, -r, y, decay, norm),
    ],
)
def test_wrong_gaps_are_rejected(wrong):
    rejected(assert_certifies, wrong)


def test_gap_is_finite_at_a_perfect_fit():
    y = formula_data(6, 2)[1]
    for weight_decay in (0.0, 0.1):
        assert float(duality_gap(1.5, 0 * y, y, weight_decay, 0.0)) == 1.5


def assert_weight_decay_max(weight_decay_max_fn):
    """The zero network is optimal just above weight_decay_max and not just below: p* < |y|^2/2 is quadratic in the distance."""
    x, y = formula_data(6, 2)
    patterns = enumerate_patterns(x)
    threshold = float(weight_decay_max_fn(x, y, patterns))
    assert y @ y / 2 - solve_program(x, y, patterns, 1.001 * threshold)[0] < 1e-9
    assert y @ y / 2 - solve_program(x, y, patterns, 0.999 * threshold)[0] > 1e-7


def test_weight_decay_max_is_the_least_with_a_zero_optimum():
    assert_weight_decay_max(weight_decay_max)
    rejected(assert_weight_decay_max, lambda *args: 2 * weight_decay_max(*args))
    rejected(assert_weight_decay_max, lambda *args: weight_decay_max(*args) / 2)
    rejected(assert_weight_decay_max, lambda x, y, patterns: np.linalg.norm((patterns.T * y) @ x, axis=1).max())  # no cones


# ---------------------------------------------------------------------------------------------------- whitened data


def assert_whitened(optimum_fn, gated_fn, prediction_fn):
    """The program on orthonormal rows; all 2^n patterns."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 3)))[0].T
    patterns = np.array(list(itertools.product((0.0, 1.0), repeat=3))).T
    for y, weight_decay in (([1.2, -0.7, 0.9], 0.3), ([1.2, -0.7, 0.9], 0.8), ([0.5, 1.0, 0.4], 0.2)):
        y = np.array(y)
        value, v, w = solve_program(basis, y, patterns, weight_decay)
        np.testing.assert_allclose(optimum_fn(y, weight_decay), value, atol=1e-7)
        # the loss bounds half the squared distance of the outputs by the gap, 1e-8, and the infeasibility, 1e-8
        np.testing.assert_allclose(prediction_fn(y, weight_decay), np.sum(patterns * (basis @ (v - w)), axis=1), atol=2e-4)
        gated = solve_program(basis, y, patterns, weight_decay, cones=False)[0]
        np.testing.assert_allclose(gated_fn(y, weight_decay), gated, atol=1e-7)


WHITENED = whitened_optimum, whitened_gated_optimum, whitened_prediction


def test_whitened_optimum_is_that_of_the_program():
    assert_whitened(*WHITENED)


def unhalved(y, weight_decay):
    return sum(float(np.where(z <= weight_decay, z**2, 2 * weight_decay * z - weight_decay**2)) for z in sign_norms(y))


def sign_norms(y):
    return np.linalg.norm(np.maximum(y, 0)), np.linalg.norm(np.maximum(-y, 0))


@pytest.mark.parametrize(
    ("which", "wrong"),
    [
        (0, unhalved),
        (0, lambda y, decay: whitened_optimum(y, decay / 2)),
        (0, whitened_gated_optimum),  # the two signs by one neuron
        (0, lambda y, decay: sum(decay * z - decay**2 / 2 for z in sign_norms(y))),  # never zero
        (1, whitened_optimum),
        (2, lambda y, decay: y * max(0, 1 - decay / np.linalg.norm(y))),
        (2, lambda y, decay: np.abs(whitened_prediction(y, decay))),
        (2, lambda y, decay: whitened_prediction(y, decay / 2)),
    ],
)
def test_wrong_whitened_values_are_rejected(which, wrong):
    functions = list(WHITENED)
    functions[which] = wrong
    rejected(assert_whitened, *functions)


def test_whitened_facts():
    for weight_decay, value, gated in ((0.2, 0.531252, 0.385463), (1.0, 1.856258, 1.527313), (1.4, 2.043384, 1.858239)):
        np.testing.assert_allclose(whitened_optimum(WHITENED_Y, weight_decay), value, atol=1e-6)
        np.testing.assert_allclose(whitened_gated_optimum(WHITENED_Y, weight_decay), gated, atol=1e-6)


def test_whitened_limits_and_duality():
    y, half = jnp.asarray(WHITENED_Y), WHITENED_Y @ WHITENED_Y / 2
    np.testing.assert_allclose(whitened_optimum(y, 1e-9), 1e-9 * sum(sign_norms(y)), rtol=1e-8)
    np.testing.assert_allclose(whitened_prediction(y, 0.0), y, rtol=1e-14)
    assert float(whitened_optimum(y, 0.0)) == 0
    above = max(sign_norms(y)) * 1.0001
    np.testing.assert_allclose(whitened_optimum(y, above), half, rtol=1e-14)
    np.testing.assert_array_equal(whitened_prediction(y, above), 0)
    for weight_decay in (0.01, 0.3, 1.4):
        residual = y - whitened_prediction(y, weight_decay)
        value = whitened_optimum(y, weight_decay)
        np.testing.assert_allclose(dual_value(residual, y), value, rtol=1e-12)
        gap = duality_gap(value, residual, y, weight_decay, max(sign_norms(np.asarray(residual))))
        np.testing.assert_allclose(gap, 0, atol=1e-12)
        assert float(whitened_gated_optimum(y, weight_decay)) < float(value)


@pytest.mark.slow
def test_whitened_derivatives():
    """dp*/dy = nu = y - yhat and dp*/dweight_decay = the penalty over weight_decay, also without negative targets."""
    for y in (WHITENED_Y, np.abs(WHITENED_Y)):
        by_y, by_decay = jax.jit(jax.grad(whitened_optimum, argnums=(0, 1)))(y, 0.4)
        np.testing.assert_allclose(by_y, y - whitened_prediction(y, 0.4), atol=1e-12)
        np.testing.assert_allclose(by_decay, sum(max(0, z - 0.4) for z in sign_norms(y)), atol=1e-12)


# ------------------------------------------------------------------------------------------------ adversarial training


def grid_worst_case(network, x, y, radius):
    """The least margin of every example over a dense grid of its l_inf ball in the plane."""
    side = np.linspace(-radius, radius, 41)
    shifts = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    margins = np.array([label * network(point + shifts) for point, label in zip(x, y, strict=True)]).min(axis=1)
    return margins, np.maximum(0, 1 - margins).mean()


def fixed_network():
    """Units whose kinks stay out of every ball of radius 0.2, and its outputs and input gradients at the data."""
    rng = np.random.default_rng(5)
    x = rng.choice([-1.0, 1.0], size=(10, 2)) * rng.uniform(0.6, 2, size=(10, 2))
    u, alpha = np.array([[1.0, -1.0, 0.2, 0.1], [0.1, 0.2, 1.0, -1.0]]), np.array([0.5, -0.8, 0.7, 0.4])
    assert np.all(np.abs(x @ u) > 0.2 * np.abs(u).sum(axis=0))
    network = lambda points: np.maximum(points @ u, 0) @ alpha  # noqa: E731
    return network, x, np.sign(x[:, 0] * x[:, 1]), network(x), (x @ u > 0) * alpha @ u.T


def assert_worst_case(worst_margin_fn, robust_worst_case_fn):
    network, x, y, outputs, slopes = fixed_network()
    for radius in (0.0, 0.05, 0.2):
        margins, hinge = grid_worst_case(network, x, y, radius)
        np.testing.assert_allclose(worst_margin_fn(outputs, slopes, y, radius), margins, atol=1e-12)
        np.testing.assert_allclose(robust_worst_case_fn(outputs, slopes, y, radius), hinge, atol=1e-12)


ROBUST = worst_margin, robust_worst_case


def test_worst_case_is_that_of_a_dense_grid():
    assert_worst_case(*ROBUST)


@pytest.mark.parametrize(
    ("which", "wrong"),
    [
        (0, lambda f, g, y, radius: y * f - radius * np.linalg.norm(g, axis=1)),  # the l_2 attack
        (0, lambda f, g, y, radius: y * f - radius * np.abs(g).max(axis=1)),  # the l_1 attack
        (0, lambda f, g, y, radius: y * f + radius * np.abs(g).sum(axis=1)),
        (0, lambda f, g, y, radius: f - radius * np.abs(g).sum(axis=1)),  # without the label
        (1, lambda f, g, y, radius: 10 * robust_worst_case(f, g, y, radius)),  # a sum
        (1, lambda f, g, y, radius: np.mean(1 - worst_margin(f, g, y, radius))),  # no hinge
    ],
)
def test_wrong_worst_cases_are_rejected(which, wrong):
    functions = list(ROBUST)
    functions[which] = wrong
    rejected(assert_worst_case, *functions)


def test_worst_case_of_the_robust_program():
    """At n = 12, d = 2, weight_decay = radius = 0.1 its value is that of the network it returns, under the worst attack."""
    cvxpy = pytest.importorskip("cvxpy")
    pytest.importorskip("clarabel")
    x, _ = formula_data(12, 2)
    y, radius, weight_decay, patterns = np.sign(x[:, 0] * x[:, 1]), 0.1, 0.1, enumerate_patterns(x)
    assert patterns.shape[1] == 24
    v, w = (cvxpy.Variable((2, 24)) for _ in range(2))
    gradients = patterns @ (v - w).T
    margins = cvxpy.multiply(y, cvxpy.sum(cvxpy.multiply(x, gradients), axis=1)) - radius * cvxpy.norm(gradients, 1, axis=1)
    penalty = weight_decay * (cvxpy.sum(cvxpy.norm(v, 2, axis=0)) + cvxpy.sum(cvxpy.norm(w, 2, axis=0)))
    held = [
        cvxpy.multiply((2 * patterns - 1)[:, i], x @ part[:, i]) >= radius * cvxpy.norm(part[:, i], 1)
        for part in (v, w)
        for i in range(24)
    ]
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(cvxpy.pos(1 - margins)) / 12 + penalty), held)
    solve(program)
    np.testing.assert_allclose(program.value, 0.799750, atol=1e-5)

    def network(points):
        return np.maximum(points @ v.value, 0).sum(axis=-1) - np.maximum(points @ w.value, 0).sum(axis=-1)

    slopes = patterns @ (v.value - w.value).T
    predicted = robust_worst_case(network(x), slopes, y, radius)
    np.testing.assert_allclose(predicted, grid_worst_case(network, x, y, radius)[1], atol=1e-5)
    np.testing.assert_allclose(predicted + penalty.value, program.value, atol=1e-5)
    np.testing.assert_allclose(robust_worst_case(network(x), slopes, y, 0.0), 0.3177, atol=1e-4)


# ----------------------------------------------------------------------------------------------------------- contracts


@pytest.mark.slow
def test_dtype_follows_the_input():
    y, x, scalar = jnp.ones(6, jnp.float32), jnp.ones((6, 2), jnp.float32), jnp.float32(0.1)
    patterns = jnp.ones((6, 3), bool)
    results = (
        convex_relu.whitened_optimum(y, 0.1),
        convex_relu.whitened_gated_optimum(y, 1),
        convex_relu.whitened_prediction(y, 0.1),
        jax.eval_shape(convex_relu.dual_direction, y, x, patterns),
        jax.eval_shape(convex_relu.weight_decay_max, x, y, patterns),
        convex_relu.dual_value(y, y),
        convex_relu.duality_gap(1.0, y, y, 0.1, scalar),
        convex_relu.worst_margin(y, x, y, 0.1),
        convex_relu.robust_worst_case(y, x, y, 0.1),
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {scalar.dtype}


@pytest.mark.slow
def test_vmap_equals_a_loop():
    x, y = formula_data(6, 2)
    patterns = enumerate_patterns(x)
    many = np.random.default_rng(0).normal(size=(5, 6))
    batched = jax.jit(jax.vmap(convex_relu.dual_direction, (0, None, None)))(many, x, patterns)
    for i, nu in enumerate(many):
        for field, one in zip(batched, dual_direction(nu, x, patterns), strict=True):
            np.testing.assert_allclose(field[i], one, rtol=1e-12, atol=1e-14)
    weight_decays = jnp.array([0.1, 1.0, 3.0])
    for function in WHITENED:
        loop = jnp.stack([function(jnp.asarray(y), weight_decay) for weight_decay in weight_decays])
        np.testing.assert_allclose(jax.jit(jax.vmap(function, (None, 0)))(y, weight_decays), loop, rtol=1e-14)


@pytest.mark.slow
def test_the_arrays_of_waves_and_lists_are_numbers():
    """Eagerly, as README's reader would: numpy's arrays, lists, whole numbers and booleans."""
    x, y = waves.points(6, 2)
    patterns = enumerate_patterns(x)
    assert float(convex_relu.weight_decay_max(x, y, patterns)) == pytest.approx(FACTS[6, 2][1], abs=1e-6)
    same = convex_relu.weight_decay_max(x.tolist(), y.tolist(), (patterns == 1).tolist())
    np.testing.assert_allclose(same, convex_relu.weight_decay_max(x, y, patterns), rtol=1e-14)
    assert float(convex_relu.dual_norm([3, -4], [[1, 0], [0, 1]], [[True, True], [True, False]])) == 4


def test_direction_is_that_of_the_maximum_where_an_edge_is_near():
    """u = (0, 1); the next cone is nearest on the edge (4e-5, 1), where N is lower by 8e-10, below the rounding of float32."""
    nu, x = np.float32([1.0, -0.2]), np.float32([[0, 1], [1, -4e-5]])
    patterns = enumerate_patterns(x)
    for ordered in (patterns, patterns[:, ::-1]):
        found = dual_direction(nu, x, ordered == 1)
        np.testing.assert_allclose(found.direction, [0, 1], atol=1e-7)
        assert (float(found.value), float(found.sign)) == (1, 1)


def test_dual_norm_does_not_hang_on_units():
    """N(s nu, t x) = s t N(nu, x), where the squares of s t are out of the range of float32."""
    x, y = (jnp.asarray(part, jnp.float32) for part in formula_data(6, 2))
    patterns = enumerate_patterns(formula_data(6, 2)[0]) == 1
    for s, t in ((1e-15, 1e-15), (1e15, 1e15), (1e-30, 1.0), (1.0, 1e-30)):
        norm = dual_norm(jnp.float32(s) * y, jnp.float32(t) * x, patterns)
        assert norm.dtype == jnp.float32
        np.testing.assert_allclose(float(norm) / s / t, FACTS[6, 2][1], rtol=1e-5)


def test_what_is_empty_or_no_label_is_refused():
    x, y = formula_data(6, 2)
    with pytest.raises(ValueError, match=r"^patterns must not be empty, got shape \(6, 0\)$"):
        convex_relu.dual_norm(y, x, np.zeros((6, 0)))
    with pytest.raises(ValueError, match=r"^patterns must be 0 or 1, got"):
        convex_relu.dual_norm(y, x, 2 * np.ones((6, 1)))
    with pytest.raises(ValueError, match=r"^x must have the shape \(sample, dim\) with sample = 6 as in nu"):
        convex_relu.dual_norm(y, x[:5], np.ones((6, 1)))
    with pytest.raises(ValueError, match=r"^y must be -1 or 1, got"):
        convex_relu.worst_margin(y, x, y, 0.1)
    with pytest.raises(ValueError, match=r"^outputs must not be empty"):
        convex_relu.robust_worst_case([], np.zeros((0, 2)), [], 0.1)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

X, Y = formula_data(6, 2)
PATTERNS = enumerate_patterns(X)
LABELS = np.sign(Y)
SLOPES = np.random.default_rng(0).normal(size=(6, 2))


def drawn(**targets):
    """Entries over four decades, and the patterns of these data: the cone of a pattern that no u has is {0}, or an edge."""

    def draw(rng):
        entries = {name: value * 10 ** rng.uniform(-2, 2, value.shape) for name, value in {"x": X, **targets}.items()}
        return {**entries, "patterns": enumerate_patterns(entries["x"])}

    return draw


CALLS = [
    Call(convex_relu.dual_norm, {"nu": Y, "x": X, "patterns": PATTERNS}, scaling={"nu": 1, "x": 1}, degree=2,
         cases=[{"nu": 0 * Y}, {"x": 0 * X}, {"x": X * [1, 0]}, {"x": X[[0, 0, 2, 2, 4, 4]]}],
         kinks=("case 0", "case 1"), draw=drawn(nu=Y)),  # a norm at 0
    # direction and sign carry no derivative; the value is that of dual_norm, as is weight_decay_max
    Call(convex_relu.dual_direction, {"nu": Y, "x": X, "patterns": PATTERNS}, differentiable=False, draw=drawn(nu=Y)),
    Call(convex_relu.weight_decay_max, {"x": X, "y": Y, "patterns": PATTERNS}, differentiable=False, draw=drawn(y=Y)),
    Call(convex_relu.dual_value, {"nu": Y, "y": SLOPES[:, 0]}, scaling={"nu": 1, "y": 1}, degree=2),
    Call(convex_relu.duality_gap, {"objective": 9.0, "residual": Y, "y": Y, "weight_decay": 0.3, "norm": 1.7},
         scaling={"objective": 2, "residual": 1, "y": 1, "weight_decay": 1, "norm": 1}, degree=2,
         cases=[{"weight_decay": 1.7}, {"weight_decay": 2.0}, {"residual": 0 * Y, "norm": 0.0},
                {"weight_decay": 0.0, "norm": 0.0}]),
    Call(convex_relu.whitened_optimum, {"y": WHITENED_Y, "weight_decay": 0.4}, scaling={"y": 1, "weight_decay": 1}, degree=2,
         cases=[{"y": np.abs(WHITENED_Y)}, {"y": 0 * WHITENED_Y}, {"weight_decay": math.hypot(0.7, 1.1)},
                {"y": 0 * WHITENED_Y, "weight_decay": 0.0}]),
    Call(convex_relu.whitened_gated_optimum, {"y": WHITENED_Y, "weight_decay": 0.4},
         scaling={"y": 1, "weight_decay": 1}, degree=2,
         cases=[{"y": 0 * WHITENED_Y}, {"y": 0 * WHITENED_Y, "weight_decay": 0.0}]),
    Call(convex_relu.whitened_prediction, {"y": WHITENED_Y, "weight_decay": 0.4}, scaling={"y": 1, "weight_decay": 1}, degree=1,
         cases=[{"y": np.abs(WHITENED_Y)}, {"y": 0 * WHITENED_Y}, {"weight_decay": 1.3}]),
    Call(convex_relu.worst_margin, {"outputs": Y, "slopes": SLOPES, "y": LABELS, "radius": 0.1},
         scaling={"outputs": 1, "slopes": 1}, degree=1, cases=[{"slopes": 0 * SLOPES}],
         kinks=("case 0",)),  # the modulus of a slope
    Call(convex_relu.robust_worst_case, {"outputs": Y, "slopes": SLOPES, "y": LABELS, "radius": 0.1}),
]  # fmt: skip
