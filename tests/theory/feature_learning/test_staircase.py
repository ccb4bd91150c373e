"""Leaps against all orders; correlations, velocity and flow on the cube against sums, quadrature and steps of SGD in numpy."""

import itertools
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from closedform.theory.feature_learning import staircase
from closedform.theory.numerics.arguments import as_floats
from zoo.calls import Call
from zoo.checks import rejected

MONOMIALS = ((0,), (0, 1))
STUDENT = np.array([0.1, 0.5, -0.3, 0.4])
OVERLAPS = np.array([0.3, -0.2])
_cube_flow = jax.jit(staircase.cube_flow, static_argnums=2)


def cube_flow(time, initial, monomials, student, noise):
    """Compiled once for each precision."""
    time, initial, student, noise = as_floats(time, initial, student, noise)
    return _cube_flow(time, initial, monomials, student, noise)


def drawn(rng):
    """Inside of the unit ball, outside of which no unit vector has these weights."""
    return {"overlaps": rng.uniform(-0.7, 0.7, size=2), "student": rng.normal(size=4), "noise": rng.uniform()}


EDGES = {"overlaps": (np.array([1.0, 0.0]), np.array([0.0, 0.0])), "student": (STUDENT,)}
CALLS = [
    Call(
        staircase.cube_correlations,
        {"overlaps": OVERLAPS, "monomials": MONOMIALS, "student": STUDENT},
        edges=EDGES,
        draw=lambda rng: {name: value for name, value in drawn(rng).items() if name != "noise"},
        kinks=("overlaps=[1. 0.]",),  # the end of the square root of 1 - |m|^2
    ),
    Call(
        staircase.cube_velocity,
        {"overlaps": OVERLAPS, "monomials": MONOMIALS, "student": STUDENT, "noise": 0.1},
        edges=EDGES,
        draw=drawn,
        kinks=("overlaps=[1. 0.]",),
    ),
    Call(
        cube_flow,
        {"time": np.array([0.0, 0.5]), "initial": OVERLAPS, "monomials": MONOMIALS, "student": STUDENT, "noise": 0.1},
        of=staircase.cube_flow,
        differentiable=False,  # the derivatives are those of diffrax: compiling them takes long
        draw=lambda rng: {
            "time": rng.uniform(0, 2, size=2),
            "initial": rng.uniform(-0.5, 0.5, size=2),
            "student": rng.normal(size=4) / 2,
            "noise": rng.uniform(),
        },
        # a flow of any length and stiffness is not asked for
        edges={"time": (0.0, 2.0), "initial": (np.array([0.0, 0.0]),), "student": (STUDENT,), "noise": (0.0, 1.0)},
        rounding=30.0,  # the tolerance of the integration in float32 is 1e-5
    ),
]
NOT_NUMERIC = {staircase.leap: "a whole number of sets", staircase.hermite_leap: "a whole number of sets"}


def g(u):
    return 0.1 + 0.5 * u - 0.3 * (u**2 - 1) / 2**0.5 + 0.4 * (u**3 - 3 * u) / 6**0.5


def slope(u):
    return 0.5 - 0.3 * 2 * u / 2**0.5 + 0.4 * (3 * u**2 - 3) / 6**0.5


def test_correlations_and_velocity_against_sums():
    """Over the signs of both coordinates and thirty nodes of the rest, written out."""
    z, weights = np.polynomial.hermite_e.hermegauss(30)
    weights = weights / weights.sum() / 4
    m, noise = OVERLAPS, 0.2
    correlations, velocity = np.zeros(2), np.zeros(2)
    for signs in itertools.product((-1.0, 1.0), repeat=2):
        x = np.array(signs)
        v = m @ x + np.sqrt(1 - m @ m) * z
        y = x[0] + x[0] * x[1]
        correlations += np.array([x[0], x[0] * x[1]]) * np.sum(weights * g(v))
        velocity += np.sum(weights[None] * y * slope(v)[None] * (x[:, None] - m[:, None] * v[None]), axis=1)
        velocity -= noise / 2 * np.sum(weights * y**2 * slope(v) ** 2) * m

    def assert_sums(found, moved):
        np.testing.assert_allclose(found, correlations, rtol=1e-12)
        np.testing.assert_allclose(moved, velocity, rtol=1e-12)

    both = jax.jit(
        lambda noise: (
            staircase.cube_correlations(m, MONOMIALS, STUDENT),
            staircase.cube_velocity(m, MONOMIALS, STUDENT, noise),
        )
    )
    found, moved = both(noise)
    assert_sums(found, moved)
    rejected(assert_sums, found, both(2 * noise)[1])  # without the 1/2
    rejected(assert_sums, found[::-1], moved)


def test_equal_weights_of_the_product_alone():
    """With h_3 alone dm/dtau = sqrt(6) m^2 (1 - 3 m^2), and the correlation is sqrt(6) m^3."""
    student, product = jnp.array([0.0, 0, 0, 1]), ((0, 1, 2),)
    moved, learned = jax.jit(
        lambda m: (staircase.cube_velocity(m, product, student), staircase.cube_correlations(m, product, student))
    )(jnp.full(3, 0.4))

    def assert_equal_weights(moved, learned):
        np.testing.assert_allclose(moved, 6**0.5 * 0.16 * (1 - 3 * 0.16), rtol=1e-12)
        np.testing.assert_allclose(learned, 6**0.5 * 0.064, rtol=1e-12)

    assert_equal_weights(moved, learned)
    rejected(assert_equal_weights, 6**0.5 * moved, learned)


@pytest.mark.slow
def test_the_product_alone_takes_the_time_of_its_integral():
    """With h_3 alone and equal weights, from 0.1 to 0.4."""
    time = quad(lambda m: 1 / (6**0.5 * m**2 * (1 - 3 * m**2)), 0.1, 0.4)[0]
    flow = jax.jit(lambda t: staircase.cube_flow(t, jnp.full(3, 0.1), ((0, 1, 2),), jnp.array([0.0, 0, 0, 1])))

    def assert_arrives(t):
        np.testing.assert_allclose(flow(t), 0.4, rtol=1e-8)

    assert_arrives(time)
    rejected(assert_arrives, 6**0.5 * time)


def test_steps_of_sgd_move_the_weights_by_the_velocity():
    """The mean change of both weights in one step on the cube, over 400,000 samples; the noise from |x|^2 = d, exactly."""
    dim, eta, num_samples = 400, 1e-4, 400_000
    rng = np.random.default_rng(0)
    m = OVERLAPS
    x = rng.choice([-1.0, 1.0], size=(num_samples, 2))
    v = x @ m + np.sqrt(1 - m @ m) * rng.normal(size=num_samples)  # the rest of many coordinates
    gradient = (x[:, 0] + x[:, 0] * x[:, 1]) * slope(v)
    after = (m + eta * gradient[:, None] * x) / np.sqrt(1 + 2 * eta * gradient * v + eta**2 * gradient**2 * dim)[:, None]
    first = gradient[:, None] * (x - m * v[:, None])
    velocity = jax.jit(lambda noise: staircase.cube_velocity(m, MONOMIALS, STUDENT, noise))
    drift = np.asarray(velocity(0.0))
    assert np.all(np.abs(first.mean(axis=0) - drift) < 4 * first.std(axis=0) / num_samples**0.5)
    left = ((after - m) / eta - first).mean(axis=0)  # what is first order in eta is taken off

    def assert_noise(noise):
        np.testing.assert_allclose(left, np.asarray(velocity(noise)) - drift, rtol=0.05)

    assert_noise(eta * dim)
    rejected(assert_noise, 2 * eta * dim)


def leap_by_orders(products):
    """The least over all orders of the largest cost of a step."""
    best = float("inf")
    for order in itertools.permutations(products):
        seen, most = set(), 0
        for product in order:
            most = max(most, sum(degree for coordinate, degree in product.items() if coordinate not in seen))
            seen |= product.keys()
        best = min(best, most)
    return best


def test_leaps():
    """The examples of the specification, and 300 random sets against all orders."""
    examples = [([{1}, {1, 2}, {1, 2, 3}], 1), ([{1, 2, 3}], 3), ([{1}, {2}, {1, 2, 3, 4}], 2)]
    examples += [([{1}, {1, 2, 3}, {3, 4}], 2), ([{1, 2}, {2, 3}, {1, 2, 3, 4}], 2), ([], 0), ([set()], 0)]
    for monomials, expected in examples:
        assert staircase.leap(monomials) == expected
    draw = random.Random(0)
    for _ in range(300):
        products = [
            {coordinate: draw.randint(1, 3) for coordinate in draw.sample(range(5), draw.randint(1, 4))}
            for _ in range(draw.randint(1, 4))
        ]
        assert staircase.hermite_leap(products) == leap_by_orders(products)
    with pytest.raises(ValueError, match=r"each coordinate once, got \(1, 1\)"):
        staircase.leap([(1, 1)])
    with pytest.raises(ValueError, match=r"degrees must be whole numbers of at least 1, got \{1: 0\}"):
        staircase.hermite_leap([{1: 0}])


def test_wrong_coordinates():
    for wrong in ((0, 0), (2,), (-1,)):
        with pytest.raises(ValueError, match=r"^monomials must hold different coordinates from 0 to 1, got \("):
            staircase.cube_velocity(OVERLAPS, (wrong,), STUDENT)
    with pytest.raises(ValueError, match=r"^overlaps must be of 1 to 12 coordinates, got 13$"):
        staircase.cube_correlations(np.zeros(13), MONOMIALS, STUDENT)
