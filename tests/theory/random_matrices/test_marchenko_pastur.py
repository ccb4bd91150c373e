"""The law against quadrature, its own equations, a sampled covariance, and the limit of few coordinates."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from closedform.theory.random_matrices import marchenko_pastur
from zoo.calls import Call
from zoo.checks import rejected

density, cdf, stieltjes, companion_stieltjes = map(
    jax.jit,
    (marchenko_pastur.density, marchenko_pastur.cdf, marchenko_pastur.stieltjes, marchenko_pastur.companion_stieltjes),
)
support, atom = marchenko_pastur.support, marchenko_pastur.atom
LAWS = [(0.3, 1.0), (1.0, 0.5), (2.5, 2.0)]


def sampled(ratio, variance, num_samples=500, seed=0):
    """Eigenvalues of X X'/n for uniform entries."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(round(ratio * num_samples), num_samples)) * np.sqrt(3 * variance)
    return np.linalg.svd(x, compute_uv=False) ** 2 / num_samples, len(x)


def grid(ratio, variance, size=400):
    """Points and weights on the support, x = center + radius cos(angle), Gauss-Chebyshev."""
    low, high = variance * (1 - np.sqrt(ratio)) ** 2, variance * (1 + np.sqrt(ratio)) ** 2
    angle = (np.arange(size) + 0.5) * np.pi / size
    return (low + high) / 2 + (high - low) / 2 * np.cos(angle), (high - low) / 2 * np.sin(angle) * np.pi / size


def assert_density(density_fn):
    """Mass 1 - atom, and the moments of X X'/n: s2, (1 + c) s2^2, (1 + 3 c + c^2) s2^3."""
    for ratio, variance in LAWS:
        x, weights = grid(ratio, variance)
        f = np.asarray(density_fn(x, ratio, variance))
        np.testing.assert_allclose(weights @ f, min(1, 1 / ratio), rtol=3e-6)  # 1/size^2 at ratio 1, where f diverges
        moments = [variance, (1 + ratio) * variance**2, (1 + 3 * ratio + ratio**2) * variance**3]
        np.testing.assert_allclose([weights @ (f * x**k) for k in (1, 2, 3)], moments, rtol=1e-10)
        low, high = support(ratio, variance)
        np.testing.assert_array_equal(density_fn(np.array([low - 1e-3, 0.0, high + 1e-3]), ratio, variance), 0)


def test_density():
    assert_density(density)
    rejected(assert_density, lambda x, ratio, variance: density(x, ratio, 1.0))
    rejected(assert_density, lambda x, ratio, variance: density(x, 1 / ratio, variance))
    rejected(assert_density, lambda x, ratio, variance: density(x, ratio, variance) * ratio)  # normalised as the companion


def assert_cdf(cdf_fn):
    for ratio, variance in LAWS:
        low, high = map(float, support(ratio, variance))
        for share in (0.05, 0.4, 0.9):
            end = low + share * (high - low)
            # x = low + u^2 up to the end: smooth also where the density diverges
            u, weights = np.polynomial.legendre.leggauss(200)
            u = (u + 1) / 2 * np.sqrt(end - low)
            below = weights / 2 * np.sqrt(end - low) @ (2 * u * np.asarray(density(low + u**2, ratio, variance)))
            np.testing.assert_allclose(cdf_fn(end, ratio, variance), below + max(0, 1 - 1 / ratio), rtol=1e-10)
        ends = np.asarray(cdf_fn(np.array([-1e-9, 1e-9 * low, low, high, 2 * high]), ratio, variance))
        np.testing.assert_allclose(ends, [0, *[max(0, 1 - 1 / ratio)] * 2, 1, 1], atol=1e-14)


def test_cdf():
    assert_cdf(cdf)
    rejected(assert_cdf, lambda x, ratio, variance: cdf(x, ratio, variance) - atom(ratio))
    rejected(assert_cdf, lambda x, ratio, variance: cdf(x / variance, ratio, 1.0) + 1e-6)
    slope = jax.vmap(jax.grad(lambda x: marchenko_pastur.cdf(x, 0.3, 1.0)))(jnp.array([0.3, 1.0, 2.0]))
    np.testing.assert_allclose(slope, density(np.array([0.3, 1.0, 2.0]), 0.3, 1.0), rtol=1e-12)


def assert_transforms(stieltjes_fn, companion_fn):
    """E 1/(x - z) by quadrature, and the companion by that of X'X/n, of ratio 1/c and variance c s2."""
    for ratio, variance in LAWS:
        x, weights = grid(ratio, variance)
        f = np.asarray(density(x, ratio, variance)) * weights
        high = float(support(ratio, variance)[1])
        for z in (-10.0, -0.3, 2 * high, 0.4 + 0.3j, -1 - 0.5j, high - 0.5j, 30j):
            expected = np.sum(f / (x - z)) - max(0, 1 - 1 / ratio) / z
            np.testing.assert_allclose(stieltjes_fn(z, ratio, variance), expected, rtol=2e-5 if ratio == 1 else 1e-9)
            swapped = stieltjes_fn(z, 1 / ratio, ratio * variance)
            np.testing.assert_allclose(companion_fn(z, ratio, variance), swapped, rtol=1e-12)
            m, mm = complex(stieltjes_fn(z, ratio, variance)), complex(companion_fn(z, ratio, variance))
            np.testing.assert_allclose(mm, ratio * m - (1 - ratio) / z, rtol=1e-12)
            np.testing.assert_allclose(-1 / mm + ratio * variance / (1 + variance * mm), z, rtol=1e-11)


def test_transforms():
    assert_transforms(stieltjes, companion_stieltjes)
    rejected(assert_transforms, companion_stieltjes, stieltjes)
    rejected(assert_transforms, lambda *args: -stieltjes(*args), companion_stieltjes)
    rejected(assert_transforms, lambda z, c, s2: stieltjes(z, c, 1.0), companion_stieltjes)
    rejected(assert_transforms, lambda z, c, s2: np.conj(stieltjes(z, c, s2)), companion_stieltjes)  # the other branch


def test_transforms_keep_their_digits():
    """Near 0, where the two terms of the usual formula cancel: m(0) = 1/(s2 (1 - c)) for c < 1, -(1 - 1/c)/z for c > 1."""
    np.testing.assert_allclose(stieltjes(0.0, 0.25, 2.0), 1 / 1.5, rtol=1e-14)
    np.testing.assert_allclose(companion_stieltjes(0.0, 4.0, 2.0), 1 / 6, rtol=1e-14)
    for z in (-1e-12, -1e-30):
        np.testing.assert_allclose(stieltjes(z, 0.25, 2.0), 1 / 1.5, rtol=1e-11)
        np.testing.assert_allclose(stieltjes(z, 4.0, 2.0), -0.75 / z, rtol=1e-11)
        np.testing.assert_allclose(companion_stieltjes(z, 4.0, 2.0), 1 / 6, rtol=1e-11)
    np.testing.assert_allclose(stieltjes(-2.0, 1e-300, 3.0), 1 / 5, rtol=1e-14)  # few coordinates: all eigenvalues are s2
    np.testing.assert_allclose(stieltjes(7.0, 1e-300, 3.0), -1 / 4, rtol=1e-14)
    assert np.isnan(stieltjes(1.0, 0.25, 1.0))


def test_density_is_the_jump_of_the_transform():
    x = np.linspace(0.3, 2.0, 7)
    np.testing.assert_allclose(np.imag(stieltjes(x + 1e-9j, 0.3, 1.0)) / np.pi, density(x, 0.3, 1.0), rtol=1e-7)


def test_a_sampled_covariance():
    """Linear statistics are off by O(1/n): 3/n; the greatest distance of distribution functions too, in eigenvalue counts."""
    for ratio, variance in ((0.3, 1.0), (2.0, 0.5)):
        nonzero, size = sampled(ratio, variance)
        values = np.concatenate([np.zeros(size - len(nonzero)), nonzero])
        np.testing.assert_allclose(np.mean(1 / (values + 0.5)), stieltjes(-0.5, ratio, variance), rtol=3 / 500)
        counted = np.searchsorted(np.sort(values), np.sort(nonzero), side="right") / size
        assert np.abs(counted - np.asarray(cdf(np.sort(nonzero), ratio, variance))).max() < 3 / 150
        np.testing.assert_allclose(atom(ratio), np.mean(values == 0), atol=1e-12)


@pytest.mark.slow
def test_derivatives_and_dtypes():
    for ratio in (0.4, 3.0):
        slope = jax.grad(lambda z, ratio=ratio: marchenko_pastur.stieltjes(z, ratio, 1.0))(-0.2)
        difference = (float(stieltjes(-0.2 + 1e-6, ratio, 1.0)) - float(stieltjes(-0.2 - 1e-6, ratio, 1.0))) / 2e-6
        np.testing.assert_allclose(slope, difference, rtol=1e-7)
    one = jnp.float32(0.5)
    results = (density(one, 0.5, 1.0), cdf(one, 0.5, 1.0), stieltjes(-one, 0.5, 1.0), support(one), atom(one))
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {jnp.dtype("float32")}
    assert stieltjes(jnp.complex64(1j), 0.5, 1.0).dtype == jnp.complex64


def exact_cdf(x, ratio, variance):
    """The integral over angles in closed form at 60 digits, which its own derivative checks."""
    with mpmath.workdps(60):
        x, c, s2 = map(mpmath.mpf, (x, ratio, variance))
        r, cosine = min(mpmath.sqrt(c), 1 / mpmath.sqrt(c)), (x / s2 - 1 - c) / (2 * mpmath.sqrt(c))

        def below(phi):
            alpha = mpmath.atan2(r * mpmath.sin(phi), 1 + r * mpmath.cos(phi))
            return (mpmath.pi - phi + alpha + (r * mpmath.sin(phi) - alpha) / r**2) / mpmath.pi

        phi = mpmath.acos(cosine)
        slope = -2 * mpmath.sin(phi) ** 2 / (mpmath.pi * (1 + r**2 + 2 * r * cosine))
        assert abs(mpmath.diff(below, phi) - slope) < mpmath.mpf("1e-12")
        return float(min(1, 1 / c) * below(phi) + max(0, 1 - 1 / c))


def test_cdf_at_all_ratios():
    """Issue 16.10: few coordinates or few samples, ratios 1e-12 to 1e12, and ratios next to 1; at the middle it is 1/2."""
    np.testing.assert_allclose(cdf(1 + 1e-10, 1e-10, 1.0), exact_cdf(1 + 1e-10, 1e-10, 1.0), rtol=1e-14)
    np.testing.assert_allclose(cdf(1.0, 1e-12, 1.0), 0.5, rtol=1e-6)
    for ratio in (1e-12, 1e-10, 1e-4, 0.0099, 0.0101, 0.3, 1 - 1e-10, 1.0, 1 + 1e-10, 7.0, 1e4, 1e12):
        for place in (-0.999999, -0.7, 0.2, 0.99):
            x = float(3 * (1 + ratio + 2 * np.sqrt(ratio) * place))
            condition = 1 + x * float(density(x, ratio, 3.0))
            assert abs(float(cdf(x, ratio, 3.0)) - exact_cdf(x, ratio, 3.0)) < 4e-16 * condition
    ends = cdf(np.array([-np.inf, -1.0, 1e9, np.inf]), 2.0, 1.0)
    np.testing.assert_array_equal(ends, [0, 0, 1, 1])
    assert np.isnan(cdf(np.nan, 0.3, 1.0))


def test_transforms_at_all_ratios():
    """The quadratic formula in 60 digits; at an edge the limit from outside, B/(2 c s2 z); NaN at an atom."""
    for ratio in (1e-12, 1e-4, 0.3, 1 - 1e-10, 1.0, 1e4, 1e12):
        for z in (-1e-9, -2.0, -1e6, -2.0 * ratio, 1 + ratio + 2.5 * np.sqrt(ratio), 0.3 + 1e-3j):
            with mpmath.workdps(60):
                r, c, point = mpmath.sqrt(ratio), mpmath.mpf(ratio), mpmath.mpmathify(z)
                parts = point - (1 - r) ** 2, point - (1 + r) ** 2
                root = mpmath.sqrt(parts[0]) * mpmath.sqrt(parts[1])
                root = root if isinstance(z, complex) else mpmath.re(root)
                expected = complex((1 - c - point + root) / (2 * c * point))
                condition = 1 + (0 if mpmath.re(point) < 0 else float(abs(point) / r))
            assert abs(complex(stieltjes(z, ratio, 1.0)) / expected - 1) < 1e-14 * condition
            assert abs(complex(companion_stieltjes(z, 1 / ratio, ratio)) / expected - 1) < 1e-14 * condition
    np.testing.assert_allclose(stieltjes(0.25, 0.25, 1.0), 4, rtol=1e-14)
    assert np.isnan([stieltjes(0.0, 4.0, 1.0), companion_stieltjes(0.0, 0.25, 1.0)]).all()
    assert float(stieltjes(-np.inf, 0.3, 1.0)) == 0


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

LAW = {"ratio": 0.3, "variance": 1.5}
FEW, MANY = {"ratio": 1e-6, "variance": 1.0}, {"ratio": 1e6, "variance": 1.0}
PLACES = [
    FEW | {"x": np.array([1.0, 1.001])},
    MANY | {"x": np.array([1e6, 1e6 + 1e3])},
    {"x": np.array([-1.0, 0.0])},
    {"x": np.array([np.inf, -np.inf])},
    {"ratio": 1.0, "x": np.array([1e-9, 5.9])},
]


def drawn(rng):
    """Points inside or next to the support. Where it is narrower than 1e-3, differences of steps 1e-6 see no slope."""
    c, s2 = 10 ** rng.uniform(-6, 6), 10 ** rng.uniform(-2, 2)
    return {"ratio": c, "variance": s2, "x": s2 * (1 + c + 2 * np.sqrt(c) * rng.uniform(-1.2, 1.2, 2))}


CALLS = [
    Call(marchenko_pastur.support, LAW, scaling={"variance": 1}, degree=1),
    Call(marchenko_pastur.atom, {"ratio": 2.5}),
    Call(
        marchenko_pastur.density,
        {"x": np.array([0.7, 1.6]), **LAW},
        cases=PLACES,
        draw=drawn,
        scaling={"x": 1, "variance": 1},
        degree=-1,
    ),
    Call(marchenko_pastur.cdf, {"x": np.array([0.7, 1.6]), **LAW}, cases=PLACES, draw=drawn, scaling={"x": 1, "variance": 1}),
    Call(marchenko_pastur.stieltjes, {"z": -1.4, **LAW}, scaling={"z": 1, "variance": 1}, degree=-1),
    Call(marchenko_pastur.companion_stieltjes, {"z": -1.4, **LAW}, scaling={"z": 1, "variance": 1}, degree=-1),
]
