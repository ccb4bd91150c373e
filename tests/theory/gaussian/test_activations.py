"""Moments of Gaussian pairs against scipy's bivariate normal, adaptive integrals, mpmath and closed forms."""

import functools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import special, stats

from closedform.theory.gaussian import activations as gaussian
from zoo.calls import Call
from zoo.checks import rejected

bivariate_normal_cdf, relu_product, relu_mean = map(
    jax.jit, (gaussian.bivariate_normal_cdf, gaussian.relu_product, gaussian.relu_mean)
)
arc_cosine = jax.jit(gaussian.arc_cosine, static_argnums=0)
cdf_slopes, product_slopes = (
    jax.jit(jax.vmap(jax.grad(function, argnums=tuple(range(count)))))
    for function, count in ((gaussian.bivariate_normal_cdf, 3), (gaussian.relu_product, 5))
)
arc_cosine_slope = jax.jit(jax.vmap(jax.grad(gaussian.arc_cosine, argnums=1), (None, 0)), static_argnums=0)

NEAR_ONE = (0.995, 0.99999, 1 - 1e-9, 1 - 1e-13, 1 - 2**-53)


def pdf(x):
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


# ------------------------------------------------------------------------------------------------- bivariate normal


def pieces(edges, num_nodes=40):
    """Gauss-Legendre nodes and weights on every interval between the edges."""
    points, weights = np.polynomial.legendre.leggauss(num_nodes)
    middle, half = (edges[1:] + edges[:-1])[:, None] / 2, np.diff(edges)[:, None] / 2
    return (middle + half * points).ravel(), (half * weights).ravel()


def expectation(integrand, low, turn=0.0, width=1.0):
    """int_low^inf phi(x) integrand(x) dx, for an integrand that varies within `width` of `turn`."""
    steps = np.array([0, 1, 2, 4, 8, 16, 40])
    edges = np.concatenate([[low], np.arange(-14, 15, 2), turn + width * steps, turn - width * steps])
    x, weights = pieces(np.unique(np.clip(edges, max(low, -14), 14)))
    return np.sum(weights * pdf(x) * integrand(x))


def relu_mean_of(mean, std):
    """E relu of a normal of this mean (an array) and std."""
    return mean * special.ndtr(mean / std) + std * pdf(mean / std) if std else np.maximum(mean, 0)


def slow_cdf(h, k, rho):
    """P(-A >= -h, B <= k), by conditioning on A."""
    if rho == 1:
        return special.ndtr(min(h, k))
    if rho == -1:
        return max(0.0, special.ndtr(h) - special.ndtr(-k))
    q = math.sqrt((1 - rho) * (1 + rho))
    turn, width = (-k / rho, q / abs(rho)) if rho else (0, 1)
    return expectation(lambda x: special.ndtr((k + rho * x) / q), -h, turn, width)


def thresholds():
    """Points of every sign and size, on and near the lines h = +-k and the axes."""
    rng = np.random.default_rng(0)
    points = []
    for rho in (0, 0.1, -0.4, 0.7, -0.9, 1, -1, *NEAR_ONE, *(-value for value in NEAR_ONE)):
        q, sign = math.sqrt((1 - rho) * (1 + rho)), math.copysign(1, rho)
        h = rng.normal(size=4) * 1.5
        points += [(h[0], 1.5 * rng.normal(), rho), (h[1], sign * h[1] + q * rng.normal(), rho), (h[2], sign * h[2], rho)]
        points += [(0.0, h[3], rho), (h[3], 0.0, rho), (1e-9, h[2], rho), (0.0, 0.0, rho), (-3.0, 4.0, rho), (6.0, 5.0, rho)]
    return np.array(points)


def assert_cdf(function):
    points = thresholds()
    np.testing.assert_allclose(function(*points.T), [slow_cdf(*point) for point in points], rtol=0, atol=3e-15)


def test_bivariate_normal_cdf():
    assert_cdf(bivariate_normal_cdf)
    zero = np.linspace(-1, 1, 41)
    np.testing.assert_allclose(bivariate_normal_cdf(0.0, 0.0, zero), 0.25 + np.arcsin(zero) / (2 * np.pi), atol=3e-16)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda h, k, rho: bivariate_normal_cdf(h, k, np.clip(rho, -1 + 1e-9, 1 - 1e-9)),  # the usual guard
        lambda h, k, rho: bivariate_normal_cdf(h, k, -rho),
        lambda h, k, rho: bivariate_normal_cdf(-h, -k, rho),  # the upper orthant
        lambda h, k, rho: special.ndtr(h) * special.ndtr(k),
    ],
)
def test_wrong_bivariate_normal_cdfs_are_rejected(wrong):
    rejected(assert_cdf, wrong)


def test_bivariate_normal_cdf_of_scipy_and_mpmath():
    rng = np.random.default_rng(1)
    for rho in (-0.95, -0.3, 0.6, 0.99):
        h, k = rng.normal(size=2)
        scipys = stats.multivariate_normal.cdf([h, k], cov=[[1, rho], [rho, 1]])
        np.testing.assert_allclose(bivariate_normal_cdf(h, k, rho), scipys, atol=1e-14)
    with mpmath.workdps(25):
        for h, k, rho in ((0.3, -0.5, 0.6), (-1.0, -1.2, 0.999), (0.7, -0.7 + 1e-5, -1 + 1e-9), (1.5, 1.5, 1 - 1e-12)):
            h_, k_, top = mpmath.mpf(h), mpmath.mpf(k), mpmath.asin(mpmath.mpf(rho))
            # Plackett: d Phi_2/d rho is the density; in t = arcsin rho, integrated in u = log of the angle left to +-pi/2
            end = mpmath.sign(top) * mpmath.pi / 2

            def density(u, h=h_, k=k_, end=end):
                t = end - mpmath.sign(end) * mpmath.exp(u)
                quadratic = (h**2 + k**2 - 2 * h * k * mpmath.sin(t)) / (2 * mpmath.cos(t) ** 2)
                return mpmath.sign(end) * mpmath.exp(u - quadratic) / (2 * mpmath.pi)

            low, high = mpmath.log(abs(end - top)), mpmath.log(mpmath.pi / 2)
            exact = mpmath.ncdf(h_) * mpmath.ncdf(k_) + mpmath.quad(density, mpmath.linspace(low, high, 9))
            np.testing.assert_allclose(bivariate_normal_cdf(h, k, rho), float(exact), rtol=0, atol=1e-15)


def test_bivariate_normal_cdf_at_infinity_and_beyond_one():
    inf, h = math.inf, 0.4
    np.testing.assert_allclose(bivariate_normal_cdf(inf, h, np.array([-1, -0.3, 0.5, 1])), special.ndtr(h), atol=1e-16)
    assert float(bivariate_normal_cdf(-inf, h, 0.3)) == 0
    assert float(bivariate_normal_cdf(h, h, 1 + 1e-15)) == float(bivariate_normal_cdf(h, h, 1.0))
    single = bivariate_normal_cdf(np.float32(0.3), np.float32(-0.4), np.linspace(-1, 1, 9, dtype=np.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, [slow_cdf(0.3, -0.4, rho) for rho in np.linspace(-1, 1, 9)], atol=2e-7)


def assert_slopes(slopes_fn, function, points, step=2e-6, atol=2e-9):
    """Gradients against central differences in every argument."""
    slopes = slopes_fn(*points.T)
    for argument, slope in enumerate(slopes):
        shift = step * (np.arange(points.shape[1]) == argument)
        difference = (function(*(points + shift).T) - function(*(points - shift).T)) / (2 * step)
        np.testing.assert_allclose(slope, difference, rtol=0, atol=atol)


def inner_points(rng, *columns):
    return np.stack([*(column(rng) for column in columns), rng.uniform(-0.97, 0.97, 20)], axis=1)


def test_bivariate_normal_cdf_slopes():
    points = inner_points(np.random.default_rng(2), *[lambda rng: rng.normal(size=20)] * 2)
    assert_slopes(cdf_slopes, bivariate_normal_cdf, points)
    rejected(assert_slopes, lambda h, k, rho: cdf_slopes(h, k, -rho), bivariate_normal_cdf, points)
    # at the ends: of Phi(min(h, k)) and (Phi(h) - Phi(-k))_+, and 0 in rho
    ends = np.array([(0.3, 0.8, 1.0), (0.8, 0.3, 1.0), (0.3, 0.8, -1.0), (-0.8, 0.3, -1.0), (0.3, 0.3, 1.0)])
    by_h, by_k, by_rho = cdf_slopes(*ends.T)
    half = pdf(0.3) / 2
    np.testing.assert_allclose(by_h, [pdf(0.3), 0, pdf(0.3), 0, half], atol=1e-15)
    np.testing.assert_allclose(by_k, [0, pdf(0.3), pdf(0.8), 0, half], atol=1e-15)
    np.testing.assert_array_equal(by_rho, 0)


# -------------------------------------------------------------------------------------------------- moments of ReLUs


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
    slopes = jax.jit(jax.vmap(jax.grad(gaussian.relu_mean, argnums=(0, 1))))(*np.array([(0.3, 1.2), (1.0, 0.0), (-1.0, 0.0)]).T)
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


def test_relu_mean_in_the_tail_and_at_infinity():
    """Relative errors as the docstring gives them; infinite means."""
    for dtype, bounds in ((np.float64, ((-10, 2e-12), (-37, 3e-10))), (np.float32, ((-3, 1.2e-5), (-12, 3e-3)))):
        for low, bound in bounds:
            x = np.linspace(low, low / 2, 20).astype(dtype)
            with mpmath.workdps(40):
                exact = [float(z * mpmath.ncdf(z) + mpmath.npdf(z)) for z in map(mpmath.mpf, map(float, x))]
            np.testing.assert_allclose(gaussian.relu_mean(x, dtype(1)), exact, rtol=bound, atol=0)
    np.testing.assert_array_equal(gaussian.relu_mean([-math.inf, math.inf], 1), [0, math.inf])
    np.testing.assert_array_equal(jax.vmap(jax.grad(gaussian.relu_mean))(jnp.array([-math.inf, math.inf]), jnp.ones(2)), [0, 1])


def test_standardize_has_no_floor():
    """Homogeneous at every scale, in both precisions, with its slopes; 0 for 0/0."""
    for dtype, scales in ((np.float64, (1e-300, 1e-12, 1, 1e300)), (np.float32, (1e-36, 1e-12, 1, 1e36))):
        for scale in map(dtype, scales):
            value, slopes = jax.value_and_grad(gaussian.standardize, argnums=(0, 1))(dtype(0.75) * scale, dtype(0.5) * scale)
            np.testing.assert_allclose([value, slopes[0] * scale, slopes[1] * scale], [1.5, 2, -3], rtol=1e-6)
            np.testing.assert_allclose(gaussian.relu_mean(scale, scale) / scale, special.ndtr(1) + pdf(1), rtol=1e-6)
    np.testing.assert_array_equal(gaussian.standardize([0, 1, -1, 3, 1], [0, 0, 0, 1e-3, math.inf]), [0, 40, -40, 40, 0])


# ---------------------------------------------------------------------------------------------------- Hermite series


def relu_coefficients(num_terms):
    """Derived here: c_0 = 1/sqrt(2 pi), c_1 = 1/2, c_2m = (-1)^(m+1) (2m - 3)!!/sqrt(2 pi (2m)!), other odd ones vanish."""
    coefficients = np.zeros(num_terms)
    coefficients[:3] = 1 / math.sqrt(2 * math.pi), 1 / 2, 1 / math.sqrt(4 * math.pi)
    for k in range(4, num_terms, 2):
        coefficients[k] = -coefficients[k - 2] * (k - 3) / math.sqrt(k * (k - 1))
    return coefficients


def assert_hermite(function):
    np.testing.assert_allclose(function(jax.nn.relu, 101), relu_coefficients(101), rtol=0, atol=5e-15)
    exact = [math.exp(0.125) * 0.5**k / math.sqrt(math.factorial(k)) for k in range(30)]
    np.testing.assert_allclose(function(lambda z: jnp.exp(z / 2), 30), exact, rtol=0, atol=1e-13)
    square = function(lambda z: (z**3 - 3 * z) / math.sqrt(6), 6)
    np.testing.assert_allclose(square, [0, 0, 0, 1, 0, 0], rtol=0, atol=1e-13)


def test_hermite_coefficients():
    assert_hermite(gaussian.hermite_coefficients)
    rejected(assert_hermite, lambda *args: gaussian.hermite_coefficients(*args, kinks=()))
    factorials = np.array([math.sqrt(math.factorial(k)) for k in range(101)])
    rejected(assert_hermite, lambda f, n: gaussian.hermite_coefficients(f, n) * factorials[:n])  # He_k, not orthonormal
    shifted = gaussian.hermite_coefficients(lambda z: jax.nn.relu(z - 1), 2, kinks=(1.0,))
    np.testing.assert_allclose(shifted, [pdf(1) - special.ndtr(-1), special.ndtr(-1)], atol=1e-14)


def test_activations_that_return_no_floats_and_kinks_anywhere():
    """c_0 = 1/2 and c_1 = phi(0) of the step; a constant; kinks beyond the rule, twice, unsorted, as an array."""
    step = gaussian.hermite_coefficients(lambda z: z > 0, 2)
    np.testing.assert_allclose(step, [0.5, pdf(0)], atol=1e-14)
    assert step.dtype == jnp.float64
    np.testing.assert_allclose(gaussian.hermite_coefficients(lambda z: 2, 3), [2, 0, 0], atol=1e-13)
    for kinks in ([50, 0, 0, -13], np.array([0.0, -1e9]), (True, False)):
        np.testing.assert_allclose(gaussian.hermite_coefficients(jax.nn.relu, 5, kinks), relu_coefficients(5), atol=1e-14)
    for terms, kinks, message in ((0, (), "num_terms must be at least 1"), (2, [math.nan], "kinks must be finite")):
        with pytest.raises(ValueError, match=message):
            gaussian.hermite_coefficients(jax.nn.relu, terms, kinks)


def test_hermite_dual():
    rho = np.linspace(-1, 1, 9)
    series = gaussian.hermite_dual(jnp.asarray(relu_coefficients(101)), rho)
    np.testing.assert_allclose(series[1:-1], arc_cosine(1, rho[1:-1]), atol=1e-14)  # 0.75^100 is left out
    # at +-1 the terms c_k^2 beyond 100, of order k^(-5/2), are left out
    np.testing.assert_allclose(series[-1], 0.5, atol=1e-3)
    np.testing.assert_allclose(series[-1], np.sum(relu_coefficients(101) ** 2), rtol=1e-14)


# ------------------------------------------------------------------------------------------------------ activations

CLOSED_FORMS = {
    "relu": (gaussian.relu, lambda z: max(z, 0), lambda z: float(z > 0)),
    "leaky_relu": (gaussian.leaky_relu(0.2), lambda z: z if z > 0 else 0.2 * z, lambda z: 1 if z > 0 else 0.2),
    "absolute": (gaussian.leaky_relu(-1.0), abs, np.sign),
    "squared_relu": (gaussian.squared_relu, lambda z: max(z, 0) ** 2, lambda z: 2 * max(z, 0)),
    "erf": (gaussian.erf, special.erf, lambda z: 2 / math.sqrt(math.pi) * math.exp(-(z**2))),
    "sine": (gaussian.sine, math.sin, math.cos),
    "cosine": (gaussian.cosine, math.cos, lambda z: -math.sin(z)),
    "gaussian": (gaussian.gaussian, lambda z: math.exp(-(z**2)), lambda z: -2 * z * math.exp(-(z**2))),
    "tanh": (gaussian.by_quadrature(jnp.tanh), math.tanh, lambda z: 1 / math.cosh(z) ** 2),
}
JITTED = {name: gaussian.Activation(*map(jax.jit, activation)) for name, (activation, *_) in CLOSED_FORMS.items()}
SECOND_MOMENTS = np.array([(1.0, 1.0, 0.3), (1.3, 0.6, -0.7), (0.2, 2.0, 0.5), (0.8, 0.9, 0.84), (0.5, 0.5, -0.45)])


def pair_expectation(f, v1, v2, c):
    """E f(A) f(B) in polar coordinates that break on the lines A = 0 and B = 0."""
    # A = s_1 r cos t, B = s_2 r cos(t - angle): kinks lie on rays t = +-pi/2, angle +- pi/2, whatever r
    angle = math.acos(np.clip(c / math.sqrt(v1 * v2), -1, 1))
    rays = np.unique(np.mod([np.pi / 2, -np.pi / 2, angle + np.pi / 2, angle - np.pi / 2], 2 * np.pi))
    edges = np.unique(np.concatenate([rays, rays[:1] + 2 * np.pi]))
    t, t_weights = pieces(edges)
    r, r_weights = pieces(np.array([0.0, 5.0, 10.0]))
    vector = np.vectorize(f, otypes=[float])
    values = vector(math.sqrt(v1) * r[:, None] * np.cos(t)) * vector(math.sqrt(v2) * r[:, None] * np.cos(t - angle))
    return (r_weights * r * np.exp(-(r**2) / 2)) @ values @ t_weights / (2 * np.pi)


def assert_activation(activation, f, derivative):
    for function, of, atol in ((activation.dual, f, 1e-10), (activation.derivative_dual, derivative, 1e-9)):
        exact = [pair_expectation(of, *moments) for moments in SECOND_MOMENTS]
        np.testing.assert_allclose(function(*SECOND_MOMENTS.T), exact, rtol=0, atol=atol)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_duals(name):
    assert_activation(JITTED[name], *CLOSED_FORMS[name][1:])


def test_wrong_duals_are_rejected():
    swapped = gaussian.Activation(JITTED["cosine"].dual, JITTED["sine"].derivative_dual)
    rejected(assert_activation, swapped, math.cos, lambda z: -math.sin(z))
    rejected(assert_activation, JITTED["relu"], *CLOSED_FORMS["leaky_relu"][1:])
    rejected(assert_activation, JITTED["sine"], *CLOSED_FORMS["erf"][1:])
    rejected(assert_activation, gaussian.by_quadrature(jnp.tanh, 16), *CLOSED_FORMS["tanh"][1:])


@pytest.mark.parametrize("name", ["relu", "erf", "tanh"])
def test_slopes_of_duals(name):
    """Price's theorem in the covariance, differences in the variances; all finite on the edge and at 0."""
    activation = JITTED[name]
    vectorised = jax.jit(jax.vmap(jax.grad(CLOSED_FORMS[name][0].dual, argnums=(0, 1, 2))))

    def slopes_fn(*columns):  # of one shape, to be compiled once
        slopes = vectorised(*(np.resize(column, 7) for column in columns))
        return [slope[: len(columns[0])] for slope in slopes]

    assert_slopes(slopes_fn, activation.dual, SECOND_MOMENTS, atol=1e-8)
    # at covariance^2 = v_1 v_2 Price's slope too, and the slopes add to that of E f(s Z)^2 in v
    edge = np.array([(0.8, 0.8, 0.8), (0.5, 0.5, -0.5), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0), (0.8, 0.8, 0.8)])
    slopes = slopes_fn(*edge.T)
    assert np.isfinite(slopes).all()
    np.testing.assert_allclose(slopes[2][:2], activation.derivative_dual(*edge.T)[:2], atol=1e-12)
    shift = 1e-6 * np.array([[1], [-1], [0], [0], [0]])
    higher, lower = activation.dual(*(edge[[0] * 5] + shift).T)[:2]
    np.testing.assert_allclose(sum(float(slope[0]) for slope in slopes), (higher - lower) / 2e-6, atol=1e-8)


def test_correlation_with_itself_is_one():
    """The step's dual loses sqrt(e) to an error e of the correlation: none is made on the diagonal, nor by rounding."""
    v = np.random.default_rng(6).uniform(0.1, 5, 100)
    for error in (0, 2e-16, -2e-16):
        np.testing.assert_array_equal(JITTED["relu"].derivative_dual(v, v, v * (1 + error)), 0.5)
    assert np.all(JITTED["relu"].derivative_dual(v, v, v * (1 - 1e-14)) < 0.5 - 1e-8)


def test_dtype_follows_the_input_and_numbers_broadcast():
    one, row = np.float32(0.5), np.full(3, 0.2, np.float32)
    calls = [(gaussian.relu_product, (one, 0, one, 1, row)), (gaussian.relu_mean, (one, row))]
    calls += [(gaussian.bivariate_normal_cdf, (0, one, row)), (gaussian.hermite_dual, (row, row))]
    calls += [(functools.partial(gaussian.arc_cosine, degree), (row,)) for degree in (0, 1, 2)]
    calls += [(function, (1, one, row)) for activation, *_ in CLOSED_FORMS.values() for function in activation]
    for function, arguments in calls:
        result = jax.eval_shape(function, *map(jnp.asarray, arguments))
        assert (result.dtype, result.shape) == (jnp.float32, (3,))
    outer = bivariate_normal_cdf(np.zeros((4, 1)), np.zeros((1, 5)), 0.5)
    np.testing.assert_allclose(outer, np.full((4, 5), 1 / 3), rtol=1e-15)


# ------------------------------------------------------------------------------- duals at every size of their arguments


def exact_duals(name, v1, v2, c):
    """E f(A) f(B) and E f'(A) f'(B) at the digits of mpmath."""
    v1, v2, c = map(mpmath.mpf, (v1, v2, c))
    scale, a1, a2 = mpmath.sqrt(v1 * v2), 1 + 2 * v1, 1 + 2 * v2
    determinant, mean = a1 * a2 - 4 * c**2, (v1 + v2) / 2
    rho = c / scale if scale else mpmath.mpf(1)
    angle, q = mpmath.pi / 2 + mpmath.asin(rho), mpmath.sqrt(1 - rho**2)
    j0, j1 = angle / (2 * mpmath.pi), (q + angle * rho) / (2 * mpmath.pi)
    waves = mpmath.exp(-mean) * mpmath.cosh(c), mpmath.exp(-mean) * mpmath.sinh(c)
    return {
        "relu": (scale * j1, j0),
        "absolute": (4 * scale * j1 - c, 4 * j0 - 1),
        "squared_relu": (scale**2 * (3 * q * rho + angle * (1 + 2 * rho**2)) / (2 * mpmath.pi), 4 * scale * j1),
        "erf": (2 / mpmath.pi * mpmath.asin(2 * c / mpmath.sqrt(a1 * a2)), 4 / mpmath.pi / mpmath.sqrt(determinant)),
        "gaussian": (1 / mpmath.sqrt(determinant), 4 * c / determinant ** mpmath.mpf(1.5)),
        "cosine": waves,
        "sine": waves[::-1],
    }[name]


FAR = [(v, v, v) for v in (1e-12, 1e-5, 1.0, 1e5, 1e12)] + [(v, v, -v / 2) for v in (1e-12, 1.0, 1e12)]
FAR += [(1e-12, 1e12, 0.5), (1e12, 1e-6, -100.0), (1.0, 1.0, 1e-12), (3.0, 2.0, -1e-9), (0.25, 2.25, 0.75), (1e-12, 1e-12, 0.0)]
TINY = [(1e-20, 1e-20, 1e-20), (1e-20, 1e-20, 5e-21), (1e-30, 1e-10, 5e-21)]  # products below the numbers of float32
HUGE = [(1e20, 1e20, 1e20), (1e20, 1e20, 5e19), (1e30, 1e10, -5e19)]


@pytest.mark.parametrize("name", ["relu", "absolute", "squared_relu", "erf", "gaussian", "cosine", "sine"])
def test_duals_and_slopes_at_every_size(name):
    """Values to a few ulp, slopes too: d/dc is E f' f' (Price), d/dv by differences of the exact values at 120 digits."""
    activation = CLOSED_FORMS[name][0]
    slopes_fn = jax.jit(jax.vmap(jax.value_and_grad(activation.dual, argnums=(0, 1, 2))))
    points = np.array(FAR + (TINY + HUGE if name != "squared_relu" else TINY))
    for dtype, rtol in ((np.float64, 2e-14), (np.float32, 6e-6)):
        given = points.astype(dtype)
        value, slopes = slopes_fn(*given.T)
        found = np.stack(
            [np.asarray(value), *map(np.asarray, slopes), np.asarray(JITTED[name].derivative_dual(*given.T))], axis=1
        )
        assert found.dtype == dtype
        for point, row in zip(given.astype(float), found.astype(float), strict=True):
            with mpmath.workdps(120):
                size = mpmath.sqrt(mpmath.mpf(point[0]) * point[1])
                on_edge = abs(point[2]) >= size * (1 - 1e-12)
                exact, by_c = exact_duals(name, *point) if not on_edge else exact_duals(name, *point[:2], size)
                expected = [exact, None, None, by_c, by_c]
                for i in (0, 1) if not on_edge or name in ("erf", "gaussian", "cosine", "sine") else ():
                    step = mpmath.mpf(10) ** -50 * point[i]
                    ends = [[mpmath.mpf(x) for x in point] for _ in range(2)]
                    ends[0][i], ends[1][i] = ends[0][i] + step, ends[1][i] - step
                    expected[1 + i] = (exact_duals(name, *ends[0])[0] - exact_duals(name, *ends[1])[0]) / (2 * step)
            for label, one, right in zip(("value", "by v1", "by v2", "by c", "derivative"), row, expected, strict=True):
                if right is not None and abs(right) < 3e38:
                    # below the least number of the dtype 0 is right; in exp(c - m) the exponent's rounding is an error of c
                    small = 2e-38 if dtype == np.float32 else 1e-300
                    assert abs(one - float(right)) <= rtol * abs(float(right)) + small, (label, point, one, float(right))


def test_duals_at_variance_zero():
    """A = 0: f(0) E f(B) and f'(0) E f'(B); two variances of 0 count as equal numbers, whose ReLU slopes are both on."""
    for name in ("erf", "sine", "cosine", "gaussian", "tanh"):
        activation, *functions = CLOSED_FORMS[name]
        for variance in (0.0, 0.8):
            for function, of in zip(activation, functions, strict=True):
                scaled = np.vectorize(lambda z, of=of, s=variance**0.5: of(s * z), otypes=[float])
                np.testing.assert_allclose(function(0.0, variance, 0.0), of(0.0) * expectation(scaled, -14), atol=1e-9)
    assert float(gaussian.relu.derivative_dual(0, 0, 0)) == 0.5
    assert float(gaussian.leaky_relu(0.5).derivative_dual(0, 0, 0)) == (1 + 0.5**2) / 2
    assert float(gaussian.relu.derivative_dual(1e-20, 1e-20, 1e-20)) == 0.5


def test_slopes_of_a_quadrature_in_a_variance_of_zero():
    """dK/dv_1 = E f''(A) f(B)/2: for cos -K/2, for exp +K/2, K in closed form; at and near 0, in both precisions."""
    cosine, exponential = (gaussian.by_quadrature(f).dual for f in (jnp.cos, jnp.exp))
    slopes = [jax.jit(jax.vmap(jax.grad(dual, argnums=(0, 1)))) for dual in (cosine, exponential)]
    small = np.array([0, 1e-300, 1e-20, 1e-12, 1e-11, 1e-9, 1e-7, 1e-4, 1e-2])
    for dtype, rtol in ((np.float64, 1e-9), (np.float32, 1e-3)):
        v1, v2, c = (x.astype(dtype) for x in (small, 0 * small + 1, 0.5 * np.sqrt(small)))
        for slopes_fn, sign, mean in (
            (slopes[0], -1, np.exp(-(v1 + v2) / 2) * np.cosh(c)),
            (slopes[1], 1, np.exp((v1 + v2) / 2 + c)),
        ):
            for by_v1, by_v2 in (slopes_fn(v1, v2, c), slopes_fn(v2, v1, c)[::-1]):
                np.testing.assert_allclose(by_v1, sign * mean / 2, rtol=rtol)
                np.testing.assert_allclose(by_v2, sign * mean / 2, rtol=rtol)
    np.testing.assert_allclose(jax.grad(cosine)(0.0, 1.0, 0.0), -math.exp(-0.5) / 2, rtol=1e-14)  # -.3033


def test_what_no_gaussian_pair_has_is_refused():
    refusals = [
        (gaussian.relu.dual, (-1.0, 1.0, 0.0), "variance_1 must be at least 0"),
        (gaussian.erf.dual, (1.0, math.inf, 0.0), "variance_2 must be at least 0 and finite"),
        (gaussian.erf.derivative_dual, (1.0, 1.0, 1.1), "covariance must be at most"),
        (gaussian.gaussian.dual, ([1.0, 0.0], 1.0, -0.5), "covariance must be at most"),
        (gaussian.sine.dual, (1.0, 1.0, math.nan), "covariance must be finite"),
        (gaussian.by_quadrature(jnp.tanh).dual, (1, 1, 2), "covariance must be at most"),
        (gaussian.relu.dual, ([1.0, 2.0], [1.0, 2.0, 3.0], 0.0), "variance_2 must broadcast with variance_1"),
        (gaussian.arc_cosine, (3, 0.5), "degree must be at least 0 and at most 2"),
        (gaussian.arc_cosine, (1, 1.1), "correlation must be at least"),
        (gaussian.relu_product, (0, 0, -1, 1, 0), "std_1 must be at least 0"),
        (gaussian.relu_mean, (0, math.nan), "std must be at least 0"),
        (gaussian.bivariate_normal_cdf, (0, 0, -1.5), "correlation must be at least"),
        (gaussian.leaky_relu, ([0.1, 0.2],), "slope must be a single number"),
        (gaussian.leaky_relu, (math.nan,), "slope must be finite"),
        (gaussian.by_quadrature, (jnp.tanh, 1), "num_nodes must be at least 2"),
        (gaussian.by_quadrature, (jnp.tanh, 32.0), "num_nodes must be a whole number"),
        (gaussian.hermite_dual, ([1, 2], 2), "correlation must be at least"),
    ]
    for function, arguments, message in refusals:
        with pytest.raises(ValueError, match=f"^{message}"):
            function(*arguments)
    assert float(gaussian.relu.dual(1, 1, 1 + 1e-7)) == 0.5  # rounding


def test_a_slope_keeps_its_digits_from_one_precision_to_the_other():
    with jax.enable_x64(False):
        activation = gaussian.leaky_relu(0.2)
    np.testing.assert_allclose(activation.derivative_dual(1, 1, 1), (1 + 0.2**2) / 2, rtol=1e-15)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

PAIR = {"variance_1": 1.3, "variance_2": 0.6, "covariance": -0.4}
NO_EDGES = dict.fromkeys(PAIR, ())  # a covariance goes with both variances: cases and draws
ALONE = {"variance_1": 0.0, "variance_2": 0.6, "covariance": 0.0}
BOTH = {"variance_1": 0.8, "variance_2": 0.8, "covariance": 0.8}
HOMOGENEOUS = {"scaling": dict.fromkeys(PAIR, 1), "cases": (ALONE, BOTH), "kinks": ("case 0", "case 1")}  # rho = 0/0 and 1
STDS = {"std_1": np.array([1.0, 0.8]), "std_2": np.array([0.7, 1.5])}
ENDS = (-1.0, 0.0, 1.0)
# beyond +-1 a correlation counts as +-1: the slope breaks there; the tests above have the inner one
AT_ENDS = [f"correlation{at}={end}" for at in ("", "[0]") for end in ENDS if end]


def drawn_thresholds(rng):
    """Not far in the tail of both, where errors are as small as elsewhere, but not as small as the value."""
    return {"h": rng.uniform(-3, 6, 2), "k": rng.uniform(-3, 6, 2), "correlation": rng.uniform(-0.6, 0.99, 2)}


def drawn_moments(rng):
    stds, z = 10 ** rng.uniform(-6, 6, (2, 2)), rng.uniform(-2, 60, (2, 2))
    named = {f"{name}_{i + 1}": of[i] for name, of in (("mean", stds * z), ("std", stds)) for i in range(2)}
    return {**named, "correlation": rng.uniform(-0.6, 0.99, 2)}


def drawn_pair(low, high):
    """Variances between powers of 10, each alone; correlations up to .99: beyond, differences leave what is legal."""

    def draw(rng):
        v1, v2 = 10 ** rng.uniform(low, high, 2)
        return {"variance_1": v1, "variance_2": v2, "covariance": rng.uniform(-0.99, 0.99) * math.sqrt(v1 * v2)}

    return draw


def duals(name, **more):
    def both(variance_1, variance_2, covariance):
        return tuple(function(variance_1, variance_2, covariance) for function in CLOSED_FORMS[name][0])

    both.ranges = gaussian.relu.dual.ranges
    return Call(both, PAIR, of=gaussian.leaky_relu, label=name, edges=NO_EDGES, draw=drawn_pair(-12, 12), **more)


def of_tanh(scale):
    return gaussian.hermite_coefficients(lambda z: jnp.tanh(jnp.asarray(scale, z.dtype) * z), 12)


CALLS = [
    Call(
        gaussian.bivariate_normal_cdf,
        {"h": np.array([0.3, -1.2]), "k": np.array([-0.5, 0.4]), "correlation": np.array([0.6, -0.3])},
        edges={"h": (0.0, -math.inf, math.inf, 50.0), "k": (0.0, math.inf, -50.0), "correlation": ENDS},
        kinks=AT_ENDS,
        draw=drawn_thresholds,
    ),
    *(
        Call(
            gaussian.arc_cosine,
            {"degree": degree, "correlation": np.array([0.6, -0.3])},
            label=str(degree),
            edges={"correlation": ENDS},
            kinks=AT_ENDS,
        )
        for degree in range(3)
    ),
    Call(
        gaussian.relu_product,
        {"mean_1": np.array([0.3, -1.0]), "mean_2": np.array([-0.5, 0.4]), **STDS, "correlation": np.array([0.6, -0.3])},
        scaling=dict.fromkeys(("mean_1", "mean_2", "std_1", "std_2"), 1),
        degree=2,
        edges={"correlation": ENDS, "mean_1": (0.0, 100.0, -100.0)},
        kinks=AT_ENDS,
        draw=drawn_moments,
    ),
    Call(
        gaussian.relu_mean,
        {"mean": np.array([0.3, -2.0]), "std": np.array([1.2, 0.5])},
        scaling={"mean": 1, "std": 1},
        degree=1,
        edges={"mean": (0.0, math.inf, -math.inf, -100.0)},
    ),
    Call(of_tanh, {"scale": 0.8}, of=gaussian.hermite_coefficients),
    Call(
        gaussian.hermite_dual,
        {"coefficients": np.array([0.4, 0.5, 0.0, -0.2]), "correlation": np.array([0.6, -0.3])},
        scaling={"coefficients": 1},
        degree=2,
    ),
    Call(
        lambda slope, **pair: gaussian.leaky_relu(slope).dual(**pair),
        {"slope": 0.2, **PAIR},
        of=gaussian.leaky_relu,
        label="slope",
        draw=lambda rng: {"slope": 10 * rng.normal(), **drawn_pair(-6, 6)(rng)},
    ),
    Call(
        gaussian.erf.dual,
        PAIR,
        of=gaussian.leaky_relu,
        label="erf",
        edges=NO_EDGES,
        draw=drawn_pair(-12, 12),
        cases=(ALONE,),
    ),
    *(duals(name, degree=(1, 0), **HOMOGENEOUS) for name in ("relu", "absolute")),
    duals("squared_relu", degree=(2, 1), **HOMOGENEOUS),
    *(duals(name, cases=(ALONE,)) for name in ("gaussian", "sine")),
    Call(
        gaussian.by_quadrature(jnp.cos, 48).dual,
        PAIR,
        of=gaussian.by_quadrature,
        edges=NO_EDGES,
        draw=drawn_pair(-12, 1.5),  # the rule resolves cos(s z) up to s = 6
        cases=(ALONE, dict.fromkeys(PAIR, 0.0)),
    ),
    Call(gaussian.normal_pdf, {"x": np.array([0.3, -2.0])}, edges={"x": (0.0, math.inf, -60.0)}),
    Call(gaussian.standardize, {"value": np.array([0.3, -2.0]), "std": np.array([1.2, 0.5])}, scaling={"value": 1, "std": 1}),
]
NOT_NUMERIC = {gaussian.require_covariance: "raises or returns nothing"}
