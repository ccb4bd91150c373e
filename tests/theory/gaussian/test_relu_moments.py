"""Moments of rectified Gaussian pairs against adaptive integrals, mpmath and closed forms."""

import functools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import special

from closedform.theory.gaussian import relu_moments
from zoo.calls import Call
from zoo.checks import rejected
from zoo.gaussian_pairs import (
    AT_ENDS,
    ENDS,
    NEAR_ONE,
    assert_slopes,
    expectation,
    inner_points,
    pdf,
    relu_mean_of,
    slow_cdf,
)

relu_product, relu_mean = map(jax.jit, (relu_moments.relu_product, relu_moments.relu_mean))
arc_cosine = jax.jit(relu_moments.arc_cosine, static_argnums=0)
product_slopes = jax.jit(jax.vmap(jax.grad(relu_moments.relu_product, argnums=tuple(range(5)))))
arc_cosine_slope = jax.jit(jax.vmap(jax.grad(relu_moments.arc_cosine, argnums=1), (None, 0)), static_argnums=0)


def assert_arc_cosine(function):
    for c in (-1, -0.999, -0.5, -0.2, 0, 0.3, 0.5, 0.51, 0.9, 1 - 1e-12, 1):
        with mpmath.workdps(30):
            rho = mpmath.mpf(c)
            sine, angle = mpmath.sqrt(1 - rho**2), mpmath.pi - mpmath.acos(rho)
            values = angle, sine + angle * rho, 3 * sine * rho + angle * (1 + 2 * rho**2)
        for degree, value in enumerate(values):
            np.testing.assert_allclose(function(degree, float(c)), float(value / (2 * mpmath.pi)), rtol=0, atol=5e-16)


def test_arc_cosine():
    assert_arc_cosine(arc_cosine)
    rejected(assert_arc_cosine, lambda degree, c: 2 * arc_cosine(degree, c))
    rejected(assert_arc_cosine, lambda degree, c: arc_cosine(degree, np.clip(c, -1 + 1e-9, 1 - 1e-9)))
    rejected(assert_arc_cosine, lambda degree, c: arc_cosine(degree, -c))
    facts = [0, 0.0544989, 0.1591549, 0.3044989, 0.5]
    np.testing.assert_allclose(arc_cosine(1, np.array([-1, -0.5, 0, 0.5, 1])), facts, atol=1e-7)
    for degree, (low, high) in enumerate(((0, 0.5), (0, 0.5), (0, 1.5))):
        assert [float(arc_cosine(degree, c)) for c in (-1.0, 1.0, 1 + 1e-15)] == [low, high, high]


def test_arc_cosine_is_the_moment():
    """By conditioning on A: the step of B has mean Phi(rho a/q), its ReLU psi(rho a, q), the square a second moment."""
    for rho in (-0.8, 0.35, 0.9):
        q = math.sqrt(1 - rho**2)

        def conditional(degree, a, rho=rho, q=q):
            h = rho * a / q
            zero, one = special.ndtr(h), q * (h * special.ndtr(h) + pdf(h))
            return a**degree * (zero, one, q**2 * zero + rho * a * one)[degree]

        for degree in (0, 1, 2):
            moment = expectation(lambda a, degree=degree: conditional(degree, a), 0)
            np.testing.assert_allclose(arc_cosine(degree, rho), moment, atol=2e-15)


def test_arc_cosine_slopes():
    inner = np.random.default_rng(3).uniform(-0.97, 0.97, (20, 1))
    for degree in (0, 1, 2):
        assert_slopes(lambda c, n=degree: (arc_cosine_slope(n, c),), lambda c, n=degree: arc_cosine(n, c), inner)
    ends = np.array([-1.0, 1.0, 1 + 1e-15])
    np.testing.assert_array_equal(arc_cosine_slope(0, ends), 0)  # by convention
    np.testing.assert_array_equal(arc_cosine_slope(1, ends), [0, 0.5, 0.5])
    np.testing.assert_array_equal(arc_cosine_slope(2, ends), [0, 2, 2])


def slow_relu_product(mean_1, mean_2, std_1, std_2, rho):
    """E relu(A) relu(B), by conditioning on A."""
    q = math.sqrt((1 - rho) * (1 + rho))

    def conditional(x):
        return np.maximum(mean_1 + std_1 * x, 0) * relu_mean_of(mean_2 + rho * std_2 * x, std_2 * q)

    turn, width = (-mean_2 / (rho * std_2), q / abs(rho)) if rho * std_2 else (0, 1)
    return expectation(conditional, -mean_1 / std_1 if std_1 else -14, turn, width)


def moments():
    rng = np.random.default_rng(4)
    correlations = (0, 0.4, -0.7, 0.95, 1, -1, *NEAR_ONE, *(-value for value in NEAR_ONE))
    points = [(*rng.normal(size=2), *rng.uniform(0.1, 2, 2), rho) for rho in correlations for _ in range(3)]
    points += [(m, 2, *stds, rho) for m in (1, -1) for stds in ((0, 1), (1, 0), (0, 0)) for rho in (0.5, -1)]
    points += [(0.5, 1.5, 0.5, 1.5, 1), (0.5, -1.5, 0.5, 1.5, -1), (1.2, 0, 0.7, 0.9, 1)]
    points += [(-30, 2, 1, 1, 0.5), (30, 20, 1, 2, -0.5)]
    return np.array(points)


def assert_relu_product(function):
    points = moments()
    expected = np.array([slow_relu_product(*point) for point in points])
    scale = np.abs(points[:, 0] * points[:, 1]) + points[:, 2] * points[:, 3] + 0.1
    np.testing.assert_allclose(function(*points.T) / scale, expected / scale, rtol=0, atol=5e-15)


def test_relu_product():
    assert_relu_product(relu_product)
    facts = ((0.3, -0.5, 1, 0.7, 0.6), (1, 1, 0.5, 0.5, -0.3), (2, 2, 0.5, 0.5, 0.95), (-1, 0.5, 1, 1, 0.8))
    values = [0.131285764, 0.936904267, 4.237499759, 0.168608695]
    np.testing.assert_allclose(relu_product(*np.array(facts).T), values, atol=1e-9)
    rho = np.linspace(-1, 1, 31)
    np.testing.assert_allclose(relu_product(0.0, 0.0, 0.4, 1.7, rho), 0.4 * 1.7 * arc_cosine(1, rho), atol=2e-16)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda m1, m2, s1, s2, rho: relu_product(m1, m2, s1, s2, np.clip(rho, -1 + 1e-9, 1 - 1e-9)),
        lambda m1, m2, s1, s2, rho: relu_product(m1, m2, np.maximum(s1, 1e-6), s2, rho),
        lambda m1, m2, s1, s2, rho: relu_product(m2, m1, s1, s2, rho),
        lambda m1, m2, s1, s2, rho: relu_mean(m1, s1) * relu_mean(m2, s2) + rho * s1 * s2 * special.ndtr(m1) * special.ndtr(m2),
    ],
)
def test_wrong_relu_products_are_rejected(wrong):
    rejected(assert_relu_product, wrong)


def given(mean_2, std_2, rho, x):
    """E[relu(B) | A = m_1 + s_1 x]."""
    return relu_mean_of(mean_2 + rho * std_2 * x, std_2 * math.sqrt(1 - rho**2))


def test_relu_product_slopes():
    columns = [lambda rng: rng.normal(size=20)] * 2 + [lambda rng: rng.uniform(0.2, 2, 20)] * 2
    points = inner_points(np.random.default_rng(5), *columns)
    assert_slopes(product_slopes, relu_product, points, atol=5e-9)
    rejected(assert_slopes, lambda *args: [2 * slope for slope in product_slopes(*args)], relu_product, points)
    # at the ends, with A = m_1 + s_1 z, B = m_2 +- s_2 z of one z: the slope in m_1 is E 1[A > 0] relu(B), in rho s_1 s_2 P
    for m1, m2, s1, s2, rho in ((0.5, 0.9, 1.0, 1.2, 1.0), (0.5, 0.9, 1.0, 1.2, -1.0), (0.5, 0.9, 0.0, 1.2, 0.7)):
        by_m1, _, by_s1, _, by_rho = np.ravel(product_slopes(*np.array([[m1, m2, s1, s2, rho]]).T))
        h = m1 / s1 if s1 else math.inf
        relu_b = functools.partial(given, m2, s2, rho)
        turn = -m2 / (rho * s2)
        np.testing.assert_allclose(by_m1, expectation(relu_b, -h, turn), atol=1e-14)
        np.testing.assert_allclose(by_s1, expectation(lambda x, f=relu_b: x * f(x), -h, turn), atol=1e-14)
        np.testing.assert_allclose(by_rho, s1 * s2 * slow_cdf(min(h, 40), m2 / s2, rho), atol=1e-14)


def test_relu_mean():
    for mean, std in ((0.3, 1.2), (-2.0, 0.5), (1.0, 0.0), (-1.0, 0.0), (0.0, 0.0)):
        exact = expectation(lambda x, m=mean, s=std: np.maximum(m + s * x, 0), -14, -mean / std if std else 0)
        np.testing.assert_allclose(relu_mean(mean, std), exact, atol=1e-15)
    slopes = jax.jit(jax.vmap(jax.grad(relu_moments.relu_mean, argnums=(0, 1))))(
        *np.array([(0.3, 1.2), (1.0, 0.0), (-1.0, 0.0)]).T
    )
    np.testing.assert_allclose(slopes, [[special.ndtr(0.25), 1, 0], [pdf(0.25), 0, 0]], atol=1e-15)


@pytest.mark.parametrize(
    ("moments", "slope"),
    [
        ((0.0, 3.0, 1.0, 0.0, 0.0), 3 / math.sqrt(2 * math.pi)),  # B is 3: 3 d/ds E relu(s Z)
        ((0.0, 100.0, 1.0, 1.0, 0.0), 100 / math.sqrt(2 * math.pi)),  # B is positive: the same
        ((0.0, 100.0, 1.0, 1.0, 0.8), 100 / math.sqrt(2 * math.pi) + 0.8 / 2),  # d/ds E relu(s Z) (100 + .8 Z)
        ((0.0, -100.0, 1.0, 1.0, 0.8), 0),
        ((0.0, 3.0, 0.0, 0.0, 0.0), 3 / math.sqrt(2 * math.pi)),  # from both deviations 0
        ((1e3, 2e3, 1.0, 1.0, 0.5), 0.5),  # both positive: E A B = m_1 m_2 + rho s_1 s_2
    ],
)
def test_slopes_in_a_deviation_beyond_forty_deviations(moments, slope):
    """Thresholds held within +-40 enter no derivative; derived here from E relu(A) B where B > 0."""
    mean_1, mean_2, std_1, std_2, rho = moments
    swapped = mean_2, mean_1, std_2, std_1, rho
    by_std_1, by_std_2 = product_slopes(*np.array([moments, swapped]).T)[2:4]
    np.testing.assert_allclose([by_std_1[0], by_std_2[1]], slope, rtol=1e-14)


def exact_relu_product(mean_1, mean_2, std_1, std_2, rho):
    """The formula of the module at 30 digits, Phi_2 by Plackett's integral of the density over the angle arcsin rho."""
    m1, m2, s1, s2, rho = map(mpmath.mpf, (mean_1, mean_2, std_1, std_2, rho))
    h, k, q = m1 / s1, m2 / s2, mpmath.sqrt(1 - rho**2)

    def density(t):
        return mpmath.exp(-(h**2 + k**2 - 2 * h * k * mpmath.sin(t)) / (2 * mpmath.cos(t) ** 2)) / (2 * mpmath.pi)

    orthant = mpmath.ncdf(h) * mpmath.ncdf(k) + mpmath.quad(density, mpmath.linspace(0, mpmath.asin(rho), 5))
    u, v = (k - rho * h) / q, (h - rho * k) / q
    edges = m1 * s2 * mpmath.npdf(k) * mpmath.ncdf(v) + m2 * s1 * mpmath.npdf(h) * mpmath.ncdf(u)
    return (m1 * m2 + rho * s1 * s2) * orthant + edges + s1 * s2 * q * mpmath.npdf(h) * mpmath.npdf(u)


def test_errors_of_the_relu_product():
    """Below 5e-16 (float32: 2e-7) of (|m_1| + s_1)(|m_2| + s_2), as promised; of |m_1 m_2| + s_1 s_2 the first is 7e-15."""
    points = np.array([(-0.01, 21.7, 2.7, 0.12, 0.99), (1e6, 0, 1, 1, 0.3), (-8, -8, 1, 1, 0.5), (1e-9, 2e9, 1e-9, 1, -0.9)])
    for dtype, bound in ((np.float64, 5e-16), (np.float32, 2e-7)):
        given = points.astype(dtype)
        with mpmath.workdps(30):
            exact = np.array([float(exact_relu_product(*map(float, point))) for point in given])
        sizes = (np.abs(given[:, 0]) + given[:, 2]) * (np.abs(given[:, 1]) + given[:, 3])
        values = np.asarray(relu_product(*given.T))
        assert values.dtype == dtype
        assert np.all(values >= 0)
        np.testing.assert_allclose((values - exact) / sizes, 0, atol=bound)


@pytest.mark.slow
def test_relu_mean_in_the_tail_and_at_infinity():
    """Relative errors as the docstring gives them; infinite means."""
    for dtype, bounds in ((np.float64, ((-10, 2e-12), (-37, 3e-10))), (np.float32, ((-3, 1.2e-5), (-12, 3e-3)))):
        for low, bound in bounds:
            x = np.linspace(low, low / 2, 20).astype(dtype)
            with mpmath.workdps(40):
                exact = [float(z * mpmath.ncdf(z) + mpmath.npdf(z)) for z in map(mpmath.mpf, map(float, x))]
            np.testing.assert_allclose(relu_moments.relu_mean(x, dtype(1)), exact, rtol=bound, atol=0)
    np.testing.assert_array_equal(relu_moments.relu_mean([-math.inf, math.inf], 1), [0, math.inf])
    np.testing.assert_array_equal(
        jax.vmap(jax.grad(relu_moments.relu_mean))(jnp.array([-math.inf, math.inf]), jnp.ones(2)), [0, 1]
    )


def test_relu_mean_is_homogeneous_at_every_scale():
    for dtype, scales in ((np.float64, (1e-300, 1e-12, 1, 1e300)), (np.float32, (1e-36, 1e-12, 1, 1e36))):
        for scale in map(dtype, scales):
            np.testing.assert_allclose(relu_moments.relu_mean(scale, scale) / scale, special.ndtr(1) + pdf(1), rtol=1e-6)


@pytest.mark.slow
def test_dtype_follows_the_input_and_numbers_broadcast():
    one, row = np.float32(0.5), np.full(3, 0.2, np.float32)
    calls = [(relu_moments.relu_product, (one, 0, one, 1, row)), (relu_moments.relu_mean, (one, row))]
    calls += [(functools.partial(relu_moments.arc_cosine, degree), (row,)) for degree in (0, 1, 2)]
    for function, arguments in calls:
        result = jax.eval_shape(function, *map(jnp.asarray, arguments))
        assert (result.dtype, result.shape) == (jnp.float32, (3,))


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (relu_moments.arc_cosine, (3, 0.5), "degree must be at least 0 and at most 2"),
        (relu_moments.arc_cosine, (1, 1.1), "correlation must be at least"),
        (relu_moments.relu_product, (0, 0, -1, 1, 0), "std_1 must be at least 0"),
        (relu_moments.relu_mean, (0, math.nan), "std must be at least 0"),
    ],
)
def test_what_no_gaussian_pair_has_is_refused(function, arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        function(*arguments)


STDS = {"std_1": np.array([1.0, 0.8]), "std_2": np.array([0.7, 1.5])}


def drawn_moments(rng):
    stds, z = 10 ** rng.uniform(-6, 6, (2, 2)), rng.uniform(-2, 60, (2, 2))
    named = {f"{name}_{i + 1}": of[i] for name, of in (("mean", stds * z), ("std", stds)) for i in range(2)}
    return {**named, "correlation": rng.uniform(-0.6, 0.99, 2)}


CALLS = [
    *(
        Call(
            relu_moments.arc_cosine,
            {"degree": degree, "correlation": np.array([0.6, -0.3])},
            label=str(degree),
            edges={"correlation": ENDS},
            kinks=AT_ENDS,
        )
        for degree in range(3)
    ),
    Call(
        relu_moments.relu_product,
        {"mean_1": np.array([0.3, -1.0]), "mean_2": np.array([-0.5, 0.4]), **STDS, "correlation": np.array([0.6, -0.3])},
        scaling=dict.fromkeys(("mean_1", "mean_2", "std_1", "std_2"), 1),
        degree=2,
        edges={"correlation": ENDS, "mean_1": (0.0, 100.0, -100.0)},
        kinks=AT_ENDS,
        draw=drawn_moments,
    ),
    Call(
        relu_moments.relu_mean,
        {"mean": np.array([0.3, -2.0]), "std": np.array([1.2, 0.5])},
        scaling={"mean": 1, "std": 1},
        degree=1,
        edges={"mean": (0.0, math.inf, -math.inf, -100.0)},
    ),
]
