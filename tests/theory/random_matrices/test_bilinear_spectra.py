"""The bulk against the roots of its cubic in 40 digits, quadrature and sampled matrices; the kernel against its own fits."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from closedform.theory.kernels.harmonics import sphere_spectrum
from closedform.theory.kernels.kernel_regression import learning_curve
from closedform.theory.random_matrices import bilinear_spectra
from zoo.calls import Call
from zoo.checks import rejected

density, cdf, masses, edge, gap, atom, moments, readout_edge, readout_moments = (
    jax.jit(getattr(bilinear_spectra, name))
    for name in (
        *("bulk_density", "bulk_cdf", "bulk_masses", "bulk_edge", "bulk_gap", "bulk_atom", "bulk_moments"),
        *("readout_edge", "readout_moments"),
    )
)
quadratic_spectrum, quadratic_power = bilinear_spectra.quadratic_spectrum, bilinear_spectra.quadratic_power
mean_overlap = bilinear_spectra.mean_overlap
GAUSS = np.polynomial.legendre.leggauss(300)
RATIOS = (0.01, 0.25, 0.49, 0.5, 0.51, 1.0, 2.0, 10.5, 1e3)


def transform_40(x, ratio):
    """z of the specification's cubic, -x z^3 - (2c - 1) z^2 + 4 x z - 4 = 0, with the least imaginary part."""
    with mpmath.workdps(40):
        x, c = mpmath.mpf(x), mpmath.mpf(ratio)
        coefficients = [-x, 1 - 2 * c, 4 * x, mpmath.mpf(-4)]
        z = mpmath.mpmathify(complex(min(np.roots([float(one) for one in coefficients]), key=np.imag)))
        for _ in range(8):  # Newton, by Horner's scheme
            value = slope = mpmath.mpf(0)
            for coefficient in coefficients:
                value, slope = value * z + coefficient, slope * z + value
            z -= value / slope
        return z


def inner_points(ratio, shares):
    low, high = float(gap(ratio)), float(edge(ratio))
    return [low + share * (high - low) for share in shares]


def nodes(ratio):
    """Points and weights on the positive half of the bulk: square roots at both ends, |x|^(-1/3) at 0 for c = 1/2."""
    low, high = float(gap(ratio)), float(edge(ratio))
    angle, weight = GAUSS
    angle, weight = (angle + 1) * np.pi / 4, weight * np.pi / 4
    if ratio < 0.5:
        sine = np.sin(angle)
        return low + (high - low) * sine**2, weight * (high - low) * 2 * sine * np.cos(angle)
    return high * np.sin(angle) ** 3, weight * high * 3 * np.sin(angle) ** 2 * np.cos(angle)


def sampled(ratio, readout_fn, dim=800, seed=0):
    """Eigenvalues of sum_k p_k sym(w_k v_k'), and p."""
    rng = np.random.default_rng(seed)
    width = round(ratio * dim)
    w, v = rng.standard_normal((2, dim, width)) / np.sqrt(dim)
    p = readout_fn(rng, width)
    q = (w * p) @ v.T
    return np.linalg.eigvalsh((q + q.T) / 2), p


def signs(rng, width):
    return rng.choice([-1.0, 1.0], width)


# ------------------------------------------------------------------------------------------------- readouts p of +-1


def assert_density(density_fn):
    for ratio in RATIOS:
        for x in inner_points(ratio, (1e-3, 0.05, 0.3, 0.5, 0.9, 1 - 1e-3)):
            exact = -float(mpmath.im(transform_40(x, ratio)) / mpmath.pi)
            np.testing.assert_allclose(density_fn(np.array([x, -x]), ratio), exact, rtol=1e-11)
        low, high = float(gap(ratio)), float(edge(ratio))
        np.testing.assert_array_equal(density_fn(np.array([1.001 * high, -1.001 * high, -2 * high, 1e9]), ratio), 0)
        if ratio < 0.5:
            np.testing.assert_array_equal(density_fn(np.array([0.0, 0.5 * low, -0.999 * low]), ratio), 0)


def semicircle(x, ratio):
    return np.sqrt(np.maximum(2 * ratio - x**2, 0)) / (np.pi * ratio)


def test_density_solves_the_cubic():
    assert_density(density)
    rejected(assert_density, semicircle)
    rejected(assert_density, lambda x, ratio: density(x, ratio / 2))
    rejected(assert_density, lambda x, ratio: density(x, ratio) / min(1, 2 * ratio))  # normalised without the atom
    rejected(assert_density, lambda x, ratio: density(x, ratio) + 1e-9)


def test_density_in_the_middle_and_at_the_ends():
    """At c > 1/2 and x = 0 it is 2/(pi sqrt(2c - 1)); at c = 1/2 it falls as (4/x)^(1/3) sqrt(3)/(2 pi)."""
    np.testing.assert_allclose(density(0.0, 3.0), 2 / (np.pi * np.sqrt(5)), rtol=1e-14)
    np.testing.assert_allclose(density(1e-30, 0.5), np.sqrt(3) / (2 * np.pi) * 4e30 ** (1 / 3), rtol=1e-9)
    assert np.isinf(density(0.0, 0.5))
    for ratio in (0.25, 1.0, 50.0):  # a square root at the edge: a hundredth of the distance, a tenth of the density
        near = np.asarray(density(float(edge(ratio)) * np.array([1 - 1e-8, 1 - 1e-10]), ratio))
        np.testing.assert_allclose(near[0] / near[1], 10, rtol=1e-4)


def test_many_units_give_a_semicircle():
    """Of variance c/2; the next order is 1/c, by the fourth cumulant c/8 over its square."""
    for ratio in (1e2, 1e4):
        x = np.sqrt(ratio) * np.linspace(-1.3, 1.3, 11)
        np.testing.assert_allclose(density(x, ratio), semicircle(x, ratio), rtol=2 / ratio)


def assert_moments(moments_fn):
    """Against the density, and it against its mass: two formulas that share nothing but c."""
    for ratio in RATIOS:
        x, weight = nodes(ratio)
        f = 2 * weight * np.asarray(density(x, ratio))
        np.testing.assert_allclose(f.sum() + atom(ratio), 1, rtol=1e-10)
        np.testing.assert_allclose([f @ x**2, f @ x**4], moments_fn(ratio), rtol=1e-10)


def test_moments():
    assert_moments(moments)
    np.testing.assert_allclose(moments(1.0), [0.5, 0.625], rtol=1e-15)
    rejected(assert_moments, lambda c: (c, c / 8 + c**2 / 2))
    rejected(assert_moments, lambda c: (c / 2, c**2 / 2))  # of the semicircle
    rejected(assert_moments, lambda c: (c / 2, c / 8 + 3 * c**2 / 4))  # of classical, not free, cumulants


def assert_cdf(cdf_fn):
    for ratio in RATIOS:
        low, high = float(gap(ratio)), float(edge(ratio))
        for x in inner_points(ratio, (0.02, 0.2, 0.6, 0.95)):
            # x = end - (end - low) u^3 and its mirror image: smooth integrands away from the other end
            u, weight = GAUSS
            u, weight = (u + 1) / 2, weight / 2
            points = x + (high - x) * (1 - (1 - u) ** 2)
            above = weight @ ((high - x) * 2 * (1 - u) * np.asarray(density(points, ratio)))
            np.testing.assert_allclose(cdf_fn(np.array([-x, x]), ratio), [above, 1 - above], atol=1e-11)
        inside = min(ratio, 0.5)
        ends = np.array([-high, -0.999 * low, 0.0, 0.999 * low, high, 2 * high])
        np.testing.assert_allclose(cdf_fn(ends, ratio), [0, inside, 1 - inside, 1 - inside, 1, 1], atol=1e-14)


def test_cdf():
    assert_cdf(cdf)
    rejected(assert_cdf, lambda x, ratio: np.asarray(cdf(x, ratio)) - (x >= 0) * np.asarray(atom(ratio)))
    rejected(assert_cdf, lambda x, ratio: cdf(x, ratio / 2))
    rejected(assert_cdf, lambda x, ratio: cdf(x, ratio) + 1e-9)
    for ratio in (0.25, 0.5, 2.0):
        x = np.array(inner_points(ratio, (0.1, 0.5, 0.9)))
        slope = jax.vmap(jax.grad(bilinear_spectra.bulk_cdf), (0, None))(jnp.concatenate([x, -x]), ratio)
        np.testing.assert_allclose(slope, density(np.concatenate([x, -x]), ratio), rtol=1e-10)
        assert np.all(np.diff(cdf(np.linspace(-3, 3, 5001), ratio)) >= -1e-15)


def test_masses_of_bins():
    np.testing.assert_allclose(masses(np.array([0.2, 0.6]), 1.0), 0.17402, atol=5e-6)  # the specification's
    for ratio in (0.25, 0.5, 1.0):
        bins = np.linspace(-3.05, 3, 122)
        share = np.asarray(masses(bins, ratio))
        assert share.shape == (121,)
        np.testing.assert_allclose(share.sum(), 1, rtol=1e-14)
        middle = share[np.searchsorted(bins, 0) - 1]  # the bin of 0, 0.05 wide
        assert (middle > atom(ratio)) == (ratio >= 0.5)
        np.testing.assert_allclose(middle if ratio < 0.5 else atom(ratio), atom(ratio), atol=1e-14)


def assert_edge(edge_fn):
    """The specification's numbers; the least of 1/z + R(z) on a grid; where the cubic's roots become real."""
    np.testing.assert_allclose([edge_fn(c) for c in (0.25, 1.0, 2.0)], [1.04990, 1.66510, 2.20183], atol=5e-6)
    z = np.linspace(0, 2, 400_002)[1:-1]
    for ratio in (0.01, 0.3, 1.0, 7.0, 1e3):
        np.testing.assert_allclose(edge_fn(ratio), np.min(1 / z + 2 * ratio * z / (4 - z**2)), rtol=1e-7)
        assert mpmath.im(transform_40(float(edge_fn(ratio)) * (1 - 1e-9), ratio)) < -1e-7
        assert abs(mpmath.im(transform_40(float(edge_fn(ratio)) * (1 + 1e-9), ratio))) < 1e-30


def test_edge():
    assert_edge(edge)
    rejected(assert_edge, lambda c: np.sqrt(2 * c))  # of the semicircle
    rejected(assert_edge, lambda c: edge(c / 2))
    rejected(assert_edge, lambda c: edge(c) * (1 + 1e-8))
    np.testing.assert_allclose(edge(1e12) / np.sqrt(2e12), 1, rtol=1e-12)  # 3/(8 c) above it
    np.testing.assert_allclose(edge(1e-12), 0.5 + 1e-6 / np.sqrt(2) / np.sqrt(0.5) / 2, rtol=1e-6)  # a unit has +-1/2


def test_gap():
    for ratio in (0.01, 0.25, 0.45):
        low = float(gap(ratio))
        assert mpmath.im(transform_40(low * (1 + 1e-9), ratio)) < -1e-7
        assert abs(mpmath.im(transform_40(low * (1 - 1e-9), ratio))) < 1e-30
    np.testing.assert_array_equal([gap(c) for c in (0.5, 0.51, 1e3)], 0)


def test_sampled_matrices_of_signs():
    """Edge within 3 %, m2 within 1 %, as in the specification; distribution functions to 4 eigenvalues of 800."""
    for ratio in (0.25, 1.0, 2.0):
        values, _ = sampled(ratio, signs)
        np.testing.assert_allclose(np.abs(values).max(), edge(ratio), rtol=0.03)
        np.testing.assert_allclose(np.mean(values**2), moments(ratio)[0], rtol=0.01)
        np.testing.assert_allclose(np.mean(values**4), moments(ratio)[1], rtol=0.03)
        bins = np.linspace(-2.52, 2.5, 26)
        counted = np.cumsum(np.histogram(values, bins)[0]) / 800
        np.testing.assert_allclose(counted, np.cumsum(masses(bins, ratio)), atol=4 / 800)
        np.testing.assert_allclose(np.mean(np.abs(values) < 1e-9), atom(ratio), atol=1e-12)
        if ratio < 0.5:
            np.testing.assert_allclose(np.abs(values[np.abs(values) > 1e-9]).min(), gap(ratio), rtol=0.1)


# ----------------------------------------------------------------------------------------------------- any readout p


def assert_readout(edge_fn):
    rng = np.random.default_rng(1)
    for ratio in (0.05, 1.0, 20.0):
        for p in (rng.standard_normal(300), np.array([1.0, 1e-3, -2.0]), rng.uniform(0.9, 1, 20), np.ones(1)):
            share = np.linspace(0, 1, 20_002)[1:-1] ** np.array([[0.25], [1.0], [3.0]])
            z = (2 / np.abs(p).max()) * share.ravel()
            brute = np.min(1 / z + ratio * np.mean((p**2 * z[:, None] / 2) / (1 - p**2 * z[:, None] ** 2 / 4), axis=1))
            np.testing.assert_allclose(edge_fn(ratio, p), brute, rtol=1e-6)
            np.testing.assert_allclose(edge_fn(ratio, -1e150 * p) / 1e150, edge_fn(ratio, p), rtol=1e-13)


def test_readout_edge():
    assert_readout(readout_edge)
    rejected(assert_readout, lambda c, p: readout_edge(c, np.abs(p) ** 0.5))
    rejected(assert_readout, lambda c, p: edge(c) * np.sqrt(np.mean(p**2)))  # only the second moment of p
    rejected(assert_readout, lambda c, p: readout_edge(c, p) * (1 + 1e-5))
    for ratio in RATIOS:
        np.testing.assert_allclose(readout_edge(ratio, np.array([2.0, -2.0])), 2 * edge(ratio), rtol=1e-14)


@pytest.mark.slow
def test_readout_edge_is_exact_and_differentiable():
    """To rounding against 40 digits, also where one value of 10^6 is above the others; slopes by differences."""
    with mpmath.workdps(40):
        for ratio, share in ((1.0, 1e-6), (30.0, 0.3)):

            def bound(z, ratio=ratio, share=share):
                terms = ((p**2 * z / 2) / (1 - p**2 * z**2 / 4) for p in (mpmath.mpf(3), mpmath.mpf(1)))
                top, rest = terms
                return 1 / z + ratio * (mpmath.mpf(share) * top + (1 - mpmath.mpf(share)) * rest)

            low, high = mpmath.mpf(1e-6), mpmath.mpf(2) / 3 * (1 - mpmath.mpf(10) ** -12)
            for _ in range(140):  # the slope of a convex function changes its sign
                middle = (low + high) / 2
                low, high = (middle, high) if mpmath.diff(bound, middle) < 0 else (low, middle)
            # equal values are one value with their share as a weight, so 10^6 units need no array of that length
            num_units, num_top = (10**6, 1) if share < 0.1 else (10, 3)
            p = np.ones(num_units)
            p[:num_top] = 3.0
            np.testing.assert_allclose(readout_edge(ratio, p), float(bound(low)), rtol=1e-13)
    # p/max|p| need not round to 1: many draws, at many scales
    draws = np.random.default_rng(2).standard_normal((200, 50)) * np.logspace(-3, 3, 200)[:, None]
    z = 2 / np.abs(draws).max(axis=1, keepdims=True) * np.linspace(0, 1, 3002)[1:-1]
    square = (draws**2)[:, :, None]
    brute = np.min(1 / z + 0.25 * np.mean((square * z[:, None] / 2) / (1 - square * z[:, None] ** 2 / 4), axis=1), axis=1)
    np.testing.assert_allclose(jax.vmap(bilinear_spectra.readout_edge, (None, 0))(0.25, draws), brute, rtol=1e-5)
    p = jnp.array([1.3, -0.4, 0.2, 1.3])
    slope = jax.grad(bilinear_spectra.readout_edge, (0, 1))(0.8, p)
    difference = (readout_edge(0.8 + 1e-6, p) - readout_edge(0.8 - 1e-6, p)) / 2e-6
    np.testing.assert_allclose(slope[0], difference, rtol=1e-8)
    for i in range(4):
        step = 1e-6 * np.eye(4)[i]
        np.testing.assert_allclose(slope[1][i], (readout_edge(0.8, p + step) - readout_edge(0.8, p - step)) / 2e-6, rtol=1e-7)


@pytest.mark.slow
def test_sampled_matrices_of_unequal_readouts():
    """The same allowances as for signs; m_4 rests on the fourth powers of few p, of which it takes those drawn."""
    for ratio in (0.25, 1.0, 2.0):
        values, p = sampled(ratio, lambda rng, width: rng.uniform(-1, 1, width), seed=3)
        np.testing.assert_allclose(np.abs(values).max(), readout_edge(ratio, p), rtol=0.03)
        np.testing.assert_allclose([np.mean(values**2), np.mean(values**4)], readout_moments(ratio, p), rtol=0.03)
        rejected(np.testing.assert_allclose, np.abs(values).max(), edge(ratio), 0.03)
    # Gaussian p: the edge is that of the few greatest units, below which their eigenvalues stay by some d^(-1/2)
    for ratio in (0.25, 1.0):
        values, p = sampled(ratio, lambda rng, width: rng.standard_normal(width), seed=3)
        predicted = float(readout_edge(ratio, p))
        assert (1 - 3 / 800**0.5) * predicted < np.abs(values).max() < 1.03 * predicted
        np.testing.assert_allclose([np.mean(values**2), np.mean(values**4)], readout_moments(ratio, p), rtol=0.04)
    np.testing.assert_allclose(readout_moments(0.7, np.array([1.0, -1.0])), moments(0.7), rtol=1e-14)


# ------------------------------------------------------------------------------------- the kernel (x.x')^2, overlaps

DIM, TARGET = 10, np.diag([1, 0.5, -0.5, 0.25, 0, 0, 0, 0, 0, 0])


def assert_kernel(spectrum_fn):
    """The harmonics of (d t)^2 on the unit sphere, by quadrature, and the trace of the kernel, d^2."""
    for dim in (2, 3, 10):
        modes, expected = spectrum_fn(dim), sphere_spectrum(lambda t, dim=dim: (dim * t) ** 2, dim, 3, 8)
        np.testing.assert_allclose(modes.eigenvalues, expected.eigenvalues[::2], rtol=1e-12)
        np.testing.assert_allclose(modes.multiplicities, expected.multiplicities[::2], rtol=1e-15)
        np.testing.assert_allclose(modes.eigenvalues @ modes.multiplicities, dim**2, rtol=1e-14)
        assert modes.tail == 0


def test_quadratic_spectrum():
    assert_kernel(quadratic_spectrum)
    rejected(assert_kernel, lambda d: quadratic_spectrum(d)._replace(eigenvalues=np.array([d, 2.0])))
    rejected(assert_kernel, lambda d: quadratic_spectrum(d)._replace(multiplicities=np.array([1, d * (d + 1) / 2])))


def assert_power(power_fn):
    """Four standard errors of mean squares over points of the sphere, for a matrix that is not symmetric."""
    rng = np.random.default_rng(0)
    q = rng.standard_normal((6, 6)) + 0.5 * np.eye(6)
    x = rng.standard_normal((200_000, 6))
    x *= np.sqrt(6) / np.linalg.norm(x, axis=1, keepdims=True)
    f = np.einsum("ni,ij,nj->n", x, q, x)
    constant, rest = power_fn(q)
    np.testing.assert_allclose(constant, np.trace(q) ** 2, rtol=1e-13)
    for measured, predicted in ((f**2, constant + rest), ((f - np.trace(q)) ** 2, rest)):
        assert abs(measured.mean() - float(predicted)) < 4 * measured.std() / np.sqrt(len(x))


def test_quadratic_power():
    assert_power(quadratic_power)
    d = 6
    rejected(assert_power, lambda q: quadratic_power(q) * np.array([1, (d + 2) / d]))  # Gaussian inputs
    rejected(assert_power, lambda q: np.array([np.trace(q) ** 2, 2 * d / (d + 2) * np.sum((q + q.T) ** 2) / 4]))  # all of Q
    traceless = lambda q: q - np.trace(q) / d * np.eye(d)  # noqa: E731
    rejected(assert_power, lambda q: np.array([np.trace(q) ** 2, 2 * d / (d + 2) * np.sum(traceless(q) ** 2)]))


def quadratic_fits(num_samples, draws, gaussian=False, noise_variance=0.1, ridge=1.0, seed=0):
    """Test errors of kernel ridge regression on x'Qx; the fit is a quadratic form, and so its error has a closed form."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((draws, num_samples, DIM))
    if not gaussian:
        x *= np.sqrt(DIM) / np.linalg.norm(x, axis=2, keepdims=True)
    y = np.einsum("rni,ij,rnj->rn", x, TARGET, x) + np.sqrt(noise_variance) * rng.standard_normal((draws, num_samples))
    gram = np.einsum("rni,rmi->rnm", x, x) ** 2 + ridge * np.eye(num_samples)
    coefficients = np.linalg.solve(gram, y[..., None])[..., 0]
    missed = np.einsum("rn,rni,rnj->rij", coefficients, x, x) - TARGET
    square, trace = np.sum(missed**2, (1, 2)), np.trace(missed, axis1=1, axis2=2)
    return (2 * square + trace**2) * (1 if gaussian else DIM / (DIM + 2)) + noise_variance


def quadratic_curve(num_samples, power):
    return jax.vmap(lambda n: learning_curve(n, 1.0, quadratic_spectrum(DIM), power, 0.1).test)(num_samples)


def assert_learning_curve(power):
    found = quadratic_curve(jnp.array([20.0, 40, 80, 160, 320]), power)
    np.testing.assert_allclose(found, [1.83960, 1.00070, 0.295492, 0.151614, 0.120658], rtol=1e-5)


@pytest.mark.slow
def test_learning_curve_of_the_quadratic_kernel():
    """The specification's numbers; simulation within 3 standard errors and 10 %, which is what remains at d = 10."""
    power = quadratic_power(TARGET)
    assert_learning_curve(power)
    rejected(assert_learning_curve, power * np.array([1, 1.2]))
    rejected(assert_learning_curve, jnp.array([0.0, 1.0]) * power)
    for n, predicted in zip((20, 40, 80), quadratic_curve(jnp.array([20.0, 40, 80]), power), strict=True):
        errors = quadratic_fits(n, 200)
        assert abs(errors.mean() - predicted) < 3 * errors.std() / np.sqrt(200) + 0.1 * predicted
    errors = quadratic_fits(80, 200, gaussian=True)  # norms fluctuate: the theory is for the sphere
    assert errors.mean() - predicted > 3 * errors.std() / np.sqrt(200) + 0.1 * predicted


def assert_overlap(overlap_fn):
    np.testing.assert_allclose([overlap_fn(d) for d in (1, 2, 3)], [1, 2 / np.pi, 1 / 2], rtol=1e-12)
    np.testing.assert_allclose(overlap_fn(1e4), np.sqrt(2 / (np.pi * 1e4)) * (1 + 1 / 4e4), rtol=1e-8)
    overlaps = np.abs(np.random.default_rng(0).standard_normal((100_000, 12)))
    overlaps = overlaps[:, 0] / np.linalg.norm(overlaps, axis=1)  # u along the first axis
    assert abs(overlaps.mean() - float(overlap_fn(12))) < 4 * overlaps.std() / np.sqrt(len(overlaps))


def test_mean_overlap():
    assert_overlap(mean_overlap)
    rejected(assert_overlap, lambda d: np.sqrt(1 / d))  # the root of the mean square
    rejected(assert_overlap, lambda d: np.sqrt(2 / (np.pi * d)))


# ------------------------------------------------------------------------------------------------------ all functions


@pytest.mark.slow
def test_dtypes_and_batches():
    half, p = jnp.float32(0.5), jnp.array([1.0, -0.3], jnp.float32)
    results = (
        *(density(half, 0.7), cdf(half, 0.7), masses(jnp.stack([half, 2 * half]), 0.7), edge(half), gap(half), atom(half)),
        *(moments(half), readout_edge(0.5, p), readout_moments(0.5, p), quadratic_spectrum(jnp.float32(5))),
        *(quadratic_power(jnp.eye(2, dtype=jnp.float32)), mean_overlap(jnp.float32(5))),
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {jnp.dtype("float32")}
    x, ratios = jnp.linspace(-2, 2, 7)[:, None], jnp.array([[0.2, 0.5, 3.0]])
    for function in (bilinear_spectra.bulk_density, bilinear_spectra.bulk_cdf):
        with jax.enable_x64(False):
            single = jax.jit(function)(np.asarray(x, np.float32), np.asarray(ratios, np.float32))
        loop = [[jax.jit(function)(float(one), float(c)) for c in ratios[0]] for one in x[:, 0]]
        np.testing.assert_allclose(jax.jit(function)(x, ratios), loop, rtol=1e-13)
        np.testing.assert_allclose(single, loop, rtol=2e-5, atol=2e-6)
    along = jax.vmap(bilinear_spectra.readout_edge)(ratios[0], jnp.linspace(0.1, 1, 12).reshape(3, 4))
    loop = [readout_edge(c, row) for c, row in zip(ratios[0], jnp.linspace(0.1, 1, 12).reshape(3, 4), strict=True)]
    np.testing.assert_allclose(along, loop, rtol=1e-14)


@pytest.mark.slow
def test_slopes_are_finite_beside_the_bulk():
    """In the gap, in the atom and beyond the edge the derivatives are those of constants, not NaN."""
    for ratio, x in ((0.25, 0.0), (0.25, 0.05), (0.25, 3.0), (2.0, 0.0), (2.0, 3.0)):
        for function in (density, cdf):
            assert np.isfinite(jax.grad(function, (0, 1))(x, ratio)).all()
    np.testing.assert_allclose(jax.grad(bilinear_spectra.bulk_cdf)(0.0, 2.0), density(0.0, 2.0), rtol=1e-12)


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan])
def test_what_is_not_positive_is_refused(wrong):
    p = np.ones(2)
    for call in (
        *(lambda: bilinear_spectra.bulk_density(0.1, wrong), lambda: bilinear_spectra.bulk_cdf(0.1, wrong)),
        *(lambda: bilinear_spectra.bulk_masses(p, wrong), lambda: bilinear_spectra.bulk_edge(wrong)),
        *(lambda: bilinear_spectra.bulk_gap(wrong), lambda: bilinear_spectra.bulk_atom(wrong)),
        *(lambda: bilinear_spectra.bulk_moments(wrong), lambda: bilinear_spectra.readout_edge(wrong, p)),
        *(lambda: bilinear_spectra.readout_moments(wrong, p), lambda: quadratic_spectrum(wrong), lambda: mean_overlap(wrong)),
    ):
        with pytest.raises(ValueError, match=r"must be (above 0|at least 1)"):
            call()


def test_bins_that_do_not_rise_are_refused():
    for bins in ([0.1, 0.3, 0.2], [0.1, np.nan]):
        with pytest.raises(ValueError, match="bins must"):
            bilinear_spectra.bulk_masses(bins, 1.0)
    np.testing.assert_allclose(
        masses(np.array([-np.inf, -0.1, -0.1, np.inf]), 2), [cdf(-0.1, 2), 0, 1 - cdf(-0.1, 2)], rtol=1e-14
    )


# ------------------------------------------------------------------------------------------------- ends of the ranges


def above_40(x, ratio):
    """The mass above x > 0, from the root of the cubic."""
    with mpmath.workdps(40):
        z = transform_40(x, ratio)
        return float((x * mpmath.im(z) - mpmath.arg(z) + ratio * mpmath.arg(4 - z**2)) / mpmath.pi)


@pytest.mark.parametrize("ratio", [1e-6, 0.5 - 1e-9, 0.5, 0.5 + 1e-9, 10.1, 1e6, 1e12])
def test_few_and_many_units(ratio):
    """Edges and distribution to rounding at any ratio; also those of float32, in which c (4 + c)^3 overflows from 4e9 on."""
    with mpmath.workdps(80):
        c = mpmath.mpf(ratio)
        ends = [mpmath.sqrt((2 + 10 * c - c**2 + sign * mpmath.sqrt(c * (4 + c) ** 3)) / 8) for sign in (-1, 1)]
        low, high = [mpmath.re(end) if ratio < 0.5 or sign else mpmath.mpf(0) for sign, end in enumerate(ends)]
    np.testing.assert_allclose([gap(ratio), edge(ratio)], [float(low), float(high)], rtol=1e-15)
    for share in (0.1, 0.5, 0.9):
        x = float(low + share * (high - low))
        exact = above_40(x, ratio)
        np.testing.assert_allclose(cdf(np.array([-x, x]), ratio), [exact, 1 - exact], rtol=1e-12, atol=1e-15 * min(1, ratio))
    with jax.enable_x64(False):
        np.testing.assert_allclose(bilinear_spectra.bulk_edge(ratio), float(high), rtol=3e-7)
        if ratio > 1:
            single = bilinear_spectra.bulk_density(np.float32(0.5 * float(high)), np.float32(ratio))
            np.testing.assert_allclose(single, semicircle(0.5 * float(high), ratio), rtol=0.1 if ratio < 100 else 2e-6)


def test_mean_overlap_keeps_its_digits():
    """Two logarithms of Gamma, each d log d, leave none of them: by 40 digits, in both precisions, and its slope."""
    for dim in (1.0, 1.5, 2.0, 7.0, 31.0, 784.0, 1e6, 1e9):
        with mpmath.workdps(40):
            d = mpmath.mpf(dim)
            exact = mpmath.exp(mpmath.loggamma(d / 2) - mpmath.loggamma((d + 1) / 2)) / mpmath.sqrt(mpmath.pi)
            slope = float(exact * (mpmath.digamma(d / 2) - mpmath.digamma((d + 1) / 2)) / 2)
        np.testing.assert_allclose(mean_overlap(dim), float(exact), rtol=2e-15)
        np.testing.assert_allclose(jax.grad(mean_overlap)(dim), slope, rtol=1e-13)
        with jax.enable_x64(False):
            np.testing.assert_allclose(bilinear_spectra.mean_overlap(dim), float(exact), rtol=5e-7)
    assert mean_overlap(np.inf) == 0
    assert mean_overlap(2) == mean_overlap(2.0)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def point(rng):
    """Anywhere about the bulk of any ratio that leaves it wider than the steps of the differences."""
    ratio = 10 ** rng.uniform(-2, 4)
    return {"x": rng.uniform(-1.2, 1.2, 2) * float(edge(ratio)), "ratio": ratio}


P = np.array([1.3, -0.4, 0.2, 1.1])
BULK = {"x": np.array([0.7, -1.1]), "ratio": 0.8}
# at the ends of the bulk, in the gap and the atom; and where the bulk is so narrow that no difference of float64 sees it
ENDS = [
    *({"x": np.array([0.0, 0.5]), "ratio": ratio} for ratio in (0.5, 0.5 - 1e-9, 0.5 + 1e-9)),
    *({"x": sign * np.array([float(bilinear_spectra.bulk_edge(c)), float(bilinear_spectra.bulk_gap(c))]), "ratio": c}
      for c in (0.2, 0.5, 2.0, 1e-12, 1e12) for sign in (-1, 1)),
]  # fmt: skip


def off_the_ends(arguments):
    """Whether float32 can tell on which side of the ends of the bulk the points are."""
    ends = np.array([edge(arguments["ratio"]), gap(arguments["ratio"])])
    return np.all(np.abs(np.abs(arguments["x"])[:, None] - ends) > 1e-5 * ends)


CALLS = [
    *(
        Call(
            function,
            BULK,
            cases=[{"x": np.array([0.0, 3.0]), "ratio": 0.2}, {"x": np.array([0.5, 1e6]), "ratio": 1e12}, *ENDS],
            kinks=["ratio=1e-09", *(f"case {i}" for i in range(2, 15))],  # the ends, and the narrow bulk
            edges={"x": [0.0, np.inf, -np.inf, 1e30], "ratio": [1e-9]},
            single=off_the_ends,
            draw=point,
        )
        for function in (bilinear_spectra.bulk_density, bilinear_spectra.bulk_cdf)
    ),
    Call(
        bilinear_spectra.bulk_masses,
        {"bins": np.array([-1.3, -0.4, 0.1, 0.9, 2.5]), "ratio": 0.8},
        cases=[
            {"ratio": 0.2},
            {"bins": np.array([-np.inf, -0.4, 0.1, 0.9, np.inf])},
            {"bins": np.array([0.0, 0.0, 0.3, 0.3, 1])},
        ],
        edges={"bins": []},
        draw=lambda rng: {"bins": np.sort(rng.uniform(-3, 3, 5)), "ratio": 10 ** rng.uniform(-1, 2)},
    ),
    *(
        Call(function, {"ratio": 0.2}, cases=[{"ratio": c} for c in (1e-12, 0.5, 10.0, 1e12)], kinks=["case 1"])
        for function in (
            bilinear_spectra.bulk_edge,
            bilinear_spectra.bulk_gap,
            bilinear_spectra.bulk_atom,
            bilinear_spectra.bulk_moments,
        )
    ),
    Call(
        bilinear_spectra.readout_edge,
        {"ratio": 0.8, "readout": P},
        cases=[
            *({"readout": 0 * P}, {"readout": P * [1, 0, 0, 0]}, {"readout": np.array([1.0, -1, 1, -1])}),
            *({"readout": P ** [1, 2, 20, 1]}, {"ratio": 1e-12}, {"ratio": 1e12}),
        ],
        kinks=["case 0"],  # the norm of p
        scaling={"readout": 1},
        degree=1,
    ),
    Call(
        bilinear_spectra.readout_moments,
        {"ratio": 0.8, "readout": P},
        cases=[{"readout": 0 * P}],
        scaling={"readout": 1},
        degree=(2, 4),
    ),
    Call(bilinear_spectra.quadratic_spectrum, {"dim": 7.0}, edges={"dim": [1.0, 2.0, 1e6, 1e12]}),
    Call(
        bilinear_spectra.quadratic_power,
        {"interaction": np.array([[1.3, 0.4, -0.2], [0.1, -0.8, 0.5], [0.3, 0.7, 0.2]])},
        cases=[{"interaction": np.eye(3)}, {"interaction": np.zeros((3, 3))}],
        scaling={"interaction": 1},
        degree=2,
    ),
    Call(bilinear_spectra.mean_overlap, {"dim": 7.0}, edges={"dim": [1.0, 2.0, 1e6, 1e12, 1e30, np.inf]}),
]
