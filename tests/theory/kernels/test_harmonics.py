"""Spectra of dot-product kernels against circulant matrices, brute-force integrals over spheres, and whole hypercubes."""

import itertools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import linalg, special

from closedform.theory.kernels import harmonics, kernel_regression
from zoo.calls import Call
from zoo.checks import rejected


def arc_cosine(c):
    c = jnp.clip(c, -1, 1)
    return (jnp.sqrt(1 - c**2) + (jnp.pi - jnp.arccos(c)) * c) / (2 * jnp.pi)


# F(t, tau) of random-feature attention, without and with a constant token coordinate (arXiv 2307.11353)
ATTENTION = {
    "plain": lambda t, tau: arc_cosine(t * tau) * tau,
    "augmented": lambda t, tau: arc_cosine((1 + t) * (1 + tau) / 4) * (1 + tau),
}

product_spectrum = jax.jit(harmonics.product_spectrum, static_argnums=(0, 1, 2, 3, 4))
sphere_spectrum = jax.jit(harmonics.sphere_spectrum, static_argnums=(0, 1, 2, 3))
zonal_power = jax.jit(harmonics.zonal_power, static_argnums=(0, 1, 2))
walsh_transform = jax.jit(harmonics.walsh_transform)


def smooth(t):
    return jnp.exp(1.3 * t) + t**3


# ----------------------------------------------------------------------------------------- polynomials, counts, nodes


def assert_gegenbauers(gegenbauers_fn):
    """Chebyshev's and Legendre's, and scipy's Gegenbauer polynomials over their value at 1."""
    t = np.linspace(-1, 1, 41)
    for dim in (2, 3, 4, 8, 200):
        values = np.asarray(gegenbauers_fn(dim, 12, t))
        index = (dim - 2) / 2
        for r in range(12):
            expected = (
                np.cos(r * np.arccos(t)) if dim == 2 else special.eval_gegenbauer(r, index, t) / special.binom(r + dim - 3, r)
            )
            np.testing.assert_allclose(values[r], expected, atol=1e-12)


def test_gegenbauers_are_those_of_scipy():
    assert_gegenbauers(harmonics.gegenbauers)
    rejected(assert_gegenbauers, lambda dim, degrees, t: harmonics.gegenbauers(dim + 1, degrees, t))  # index (d-1)/2
    rejected(assert_gegenbauers, lambda dim, degrees, t: np.stack([special.eval_legendre(r, t) for r in range(degrees)]))


def test_one_degree_is_that_of_all():
    t = jnp.linspace(-1, 1, 6).reshape(2, 3)
    every = harmonics.gegenbauers(7, 6, t)
    assert every.shape == (6, 2, 3)
    for degree in (0, 1, 5):
        np.testing.assert_array_equal(harmonics.gegenbauer(7, degree, t), every[degree])
    np.testing.assert_allclose(harmonics.gegenbauer(7, 40, 1.0), 1, rtol=1e-14)


def assert_multiplicities(multiplicity_fn):
    for dim in (2, 3, 8, 50):
        for degree in range(12):
            # homogeneous polynomials of this degree are |x|^2 times those of degree - 2, and the harmonics
            lower = special.comb(dim + degree - 3, degree - 2, exact=True) if degree > 1 else 0
            assert multiplicity_fn(dim, degree) == special.comb(dim + degree - 1, degree, exact=True) - lower
    assert [multiplicity_fn(3, degree) for degree in range(5)] == [1, 3, 5, 7, 9]


def test_multiplicities():
    assert_multiplicities(harmonics.sphere_multiplicity)
    rejected(assert_multiplicities, lambda dim, degree: math.comb(dim + degree - 1, degree))


@pytest.mark.parametrize("dim", [2, 3, 8, 16, 300])
def test_nodes_are_those_of_gauss_and_jacobi(dim):
    nodes, weights = harmonics.sphere_quadrature(dim, 40)
    expected, masses = special.roots_jacobi(40, (dim - 3) / 2, (dim - 3) / 2)
    np.testing.assert_allclose(nodes, expected, atol=1e-14)
    np.testing.assert_allclose(weights, masses / masses.sum(), rtol=1e-12)
    polynomials = np.asarray(harmonics.gegenbauers(dim, 20, nodes))
    counts = np.array([harmonics.sphere_multiplicity(dim, r) for r in range(20)], float)
    overlaps = np.sqrt(np.outer(counts, counts)) * ((polynomials * np.asarray(weights)) @ polynomials.T)
    np.testing.assert_allclose(overlaps, np.eye(20), atol=1e-12)


# ------------------------------------------------------------------------------------------------------ sphere spectra


def assert_sphere_spectrum(spectrum_fn):
    # d = 2: the kernel on equally spaced angles is a circulant matrix
    size = 64
    values = np.exp(1.3 * np.cos(2 * np.pi * np.arange(size) / size)) + np.cos(2 * np.pi * np.arange(size) / size) ** 3
    np.testing.assert_allclose(spectrum_fn(smooth, 2, 8).eigenvalues, np.fft.fft(values).real[:8] / size, atol=1e-13)
    # d = 3: integrate k(x.x') P_r(x'.z) over x' and compare with Lambda_r P_r(x.z)
    height, weights = np.polynomial.legendre.leggauss(30)
    angle = 2 * np.pi * np.arange(60) / 60
    radius = np.sqrt(1 - height**2)
    points = np.stack([np.outer(radius, np.cos(angle)), np.outer(radius, np.sin(angle)), np.outer(height, 1 + 0 * angle)], -1)
    x, z = np.array([0.6, 0.0, 0.8]), np.array([0.0, 1.0, 0.0])
    eigenvalues = np.asarray(spectrum_fn(smooth, 3, 6).eigenvalues)
    z = (z + x) / np.linalg.norm(z + x)
    for r in range(6):
        integrand = np.asarray(smooth(points @ x)) * special.eval_legendre(r, points @ z)
        by_eigenvalue = eigenvalues[r] * special.eval_legendre(r, x @ z)
        np.testing.assert_allclose(weights / 2 @ integrand.mean(axis=1), by_eigenvalue, atol=1e-13)
    # the Mercer sum is the kernel, and the tail what is left of its trace
    for dim in (2, 3, 8, 20):
        whole = spectrum_fn(smooth, dim, 25)
        t = np.linspace(-1, 1, 21)
        terms = np.asarray(whole.multiplicities * whole.eigenvalues)
        rounding = 1e-12 + 1e-15 * np.sqrt(whole.multiplicities).sum()  # ten times what the module says, at k(1) = 4.7
        np.testing.assert_allclose(whole.tail, 0, atol=rounding)
        np.testing.assert_allclose(terms @ np.asarray(harmonics.gegenbauers(dim, 25, t)), smooth(t), rtol=0, atol=rounding)
        few = spectrum_fn(smooth, dim, 3)
        np.testing.assert_allclose(few.tail, terms[3:].sum(), rtol=1e-9)


def with_measure_of(shift):
    return lambda kernel_fn, dim, degrees: sphere_spectrum(kernel_fn, dim + shift, degrees)


def test_sphere_spectrum():
    assert_sphere_spectrum(sphere_spectrum)


@pytest.mark.parametrize(
    "wrong",
    [
        with_measure_of(1),  # (1 - t^2)^((d-2)/2)
        with_measure_of(2),
        lambda *args: scaled(sphere_spectrum(*args), lambda values, counts: values * counts),  # traces, not eigenvalues
        lambda *args: scaled(sphere_spectrum(*args), lambda values, counts: values * jnp.sqrt(counts)),
        lambda *args: sphere_spectrum(*args)._replace(tail=0.0),
    ],
)
def test_wrong_sphere_spectra_are_rejected(wrong):
    rejected(assert_sphere_spectrum, wrong)


def scaled(spectrum, change):
    return spectrum._replace(eigenvalues=change(spectrum.eigenvalues, spectrum.multiplicities))


def assert_product_spectrum(spectrum_fn):
    """Of a sum of products of one-sphere kernels, and by the Mercer sum."""
    first, second = lambda t: jnp.exp(t), lambda t: 1 + t**3
    both = spectrum_fn(lambda t, tau: first(t) * second(tau) + t * tau, 6, 12, 5)
    left, right = sphere_spectrum(first, 6, 12).eigenvalues, sphere_spectrum(second, 6, 5).eigenvalues
    expected = np.outer(left, right)
    expected[1, 1] += 1 / 36
    np.testing.assert_allclose(both.eigenvalues, expected, atol=1e-15)
    counts = np.outer(*[[harmonics.sphere_multiplicity(6, r) for r in range(n)] for n in (12, 5)])
    np.testing.assert_array_equal(both.multiplicities, counts)
    np.testing.assert_allclose(both.tail, 2 * math.e + 1 - np.sum(counts * np.asarray(both.eigenvalues)), atol=1e-11)
    polynomials = [np.asarray(harmonics.gegenbauers(6, n, value)) for n, value in ((12, 0.3), (5, -0.7))]
    mercer = polynomials[0] @ np.asarray(both.multiplicities * both.eigenvalues) @ polynomials[1]
    np.testing.assert_allclose(mercer, math.exp(0.3) * (1 - 0.7**3) - 0.21, rtol=1e-9)


def test_product_spectrum():
    assert_product_spectrum(product_spectrum)
    swapped = lambda kernel_fn, *rest: product_spectrum(lambda t, tau: kernel_fn(tau, t), *rest)  # noqa: E731
    rejected(assert_product_spectrum, swapped)
    rejected(assert_product_spectrum, lambda *args: scaled(product_spectrum(*args), lambda values, counts: values * counts))


def test_zonal_power_is_that_of_the_function():
    for dim in (2, 3, 8):
        power, beyond = map(np.asarray, zonal_power(lambda t: jnp.tanh(2 * t) + t**2, dim, 40))
        assert 0 <= beyond < 1e-12
        t, weights = special.roots_jacobi(200, (dim - 3) / 2, (dim - 3) / 2)
        np.testing.assert_allclose(power.sum(), weights @ (np.tanh(2 * t) + t**2) ** 2 / weights.sum(), rtol=1e-9)
        # even degrees come from t^2: 1/d^2 and 2 (d-1)/(d^2 (d+2))
        np.testing.assert_allclose(power[[0, 2, 4]], [1 / dim**2, 2 * (dim - 1) / (dim**2 * (dim + 2)), 0], atol=1e-15)
        # the power beyond is what higher degrees would list, also where it is a part in 1e10 of the whole
        few = zonal_power(lambda t: jnp.tanh(2 * t) + t**2, dim, 6)
        np.testing.assert_array_equal(few.degrees, power[:6])
        np.testing.assert_allclose(few.beyond, power[6:].sum() + beyond, rtol=1e-12)
        np.testing.assert_allclose(few.degrees.sum() + few.beyond, power.sum(), rtol=1e-12)


def test_the_power_beyond_adds_to_the_noise_of_a_learning_curve():
    """A target of three degrees, listed in full or to degree 1 with a kernel that has only these: one test error."""
    whole, few = (harmonics.zonal_power(lambda t: 1 + t + t**3, 8, degrees) for degrees in (4, 2))
    spectra = [harmonics.sphere_spectrum(lambda t: 1 + t, 8, degrees) for degrees in (4, 2)]
    errors = [
        kernel_regression.learning_curve(20.0, 0.1, spectrum, power.degrees, 0.3 + power.beyond).test
        for spectrum, power in zip(spectra, (whole, few), strict=True)
    ]
    assert whole.beyond == 0 < few.beyond
    np.testing.assert_allclose(*errors, rtol=1e-12)
    without = kernel_regression.learning_curve(20.0, 0.1, spectra[1], few.degrees, 0.3).test
    rejected(lambda: np.testing.assert_allclose(without, errors[0], rtol=1e-3))


# --------------------------------------------------------------------------------------------------- attention spectra


def attention_spectrum(kind, dim, num_keys, num_degrees=10, keys_in_row_zero=1):
    """lambda_rs, the counts, and the trace: sum modes N^-1/2 sum_i Y(x_i) carry 1/N, the ones of the query do not."""
    blocks = product_spectrum(ATTENTION[kind], dim, num_degrees, num_degrees)
    t, weights = harmonics.sphere_quadrature(dim, 80)
    one = jnp.ones_like(t)
    off_diagonal = weights @ ATTENTION[kind](one, t)
    trace = (ATTENTION[kind](1.0, 1.0) + (num_keys - 1) * off_diagonal) / num_keys
    keys = np.where(np.arange(num_degrees) > 0, num_keys, keys_in_row_zero)
    return np.asarray(blocks.eigenvalues) / keys, np.asarray(blocks.multiplicities), float(trace)


def assert_facts(spectrum_fn):
    """Numbers found when the decomposition was derived (not the paper's)."""
    plain, counts, trace = spectrum_fn("plain", 8, 5)
    for index, value in {(0, 1): 0.00405431, (1, 2): 1.5625e-4, (2, 1): 1.52046e-5, (0, 3): 1.26777e-5}.items():
        np.testing.assert_allclose(plain[index], value, rtol=4e-6)  # half a digit of six
    np.testing.assert_allclose(plain[1, 0], 1 / 256, rtol=1e-13)  # 1/(4 d^2)
    np.testing.assert_allclose(trace, 1 / 10 + 4 / (4 * 8 * 5), rtol=1e-9)  # 1/(2N) + (N-1)/(4dN)
    assert 0 < trace - np.sum(plain * counts) < 2e-3
    augmented, _, trace = spectrum_fn("augmented", 8, 5)
    row = [augmented[index] for index in ((0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (2, 0), (1, 2))]
    expected = [0.237284, 0.0105445, 0.00757591, 4.97113e-4, 3.99748e-4, 1.83006e-4, 5.89696e-5]
    np.testing.assert_allclose(row, expected, rtol=4e-6)
    np.testing.assert_allclose(trace, 0.46269339, atol=1e-8)
    large, _, _ = spectrum_fn("augmented", 16, 16)
    row = [large[index] for index in ((0, 0), (1, 0), (0, 1), (1, 1), (0, 2))]
    np.testing.assert_allclose(row, [0.2319, 0.00490221, 0.00117635, 3.84237e-5, 3.4203e-5], rtol=2e-5)


def test_attention_facts():
    assert_facts(attention_spectrum)
    rejected(assert_facts, lambda *args: attention_spectrum(*args, keys_in_row_zero=args[2]))  # 1/N also at s = 0
    rejected(assert_facts, lambda kind, dim, keys: attention_spectrum(kind, dim, 1))  # no 1/N
    rejected(assert_facts, lambda kind, dim, keys: attention_spectrum(kind, dim + 1, keys))
    plain, counts, trace = attention_spectrum("plain", 8, 5, 13)
    assert 0 < trace - np.sum(plain * counts) < 5e-4


def test_parity_law():
    """Without augmentation only r + s odd is seen, and even s > 0 only by (1, 2): g has one odd power, the first."""
    for dim in (3, 8, 16):
        plain = np.asarray(product_spectrum(ATTENTION["plain"], dim, 10, 10).eigenvalues)
        r, s = np.indices(plain.shape)
        seen = ((r + s) % 2 == 1) & ((s % 2 == 1) | ((r == 1) & (s <= 2)))
        assert np.all(plain[~seen] == 0)
        assert plain[seen & (r + s < 8)].min() > 1e-12
        np.testing.assert_allclose(plain[1, 0], 1 / (4 * dim**2), rtol=1e-12)
        augmented = np.asarray(product_spectrum(ATTENTION["augmented"], dim, 5, 5).eigenvalues)
        assert augmented.min() > 1e-12


# ------------------------------------------------------------------------------------------------------- the hypercube


def assert_walsh_spectrum(spectrum_fn):
    points = np.array(list(itertools.product((-1.0, 1.0), repeat=6)))
    matrix = np.asarray(smooth(points @ points.T / 6)) / 64
    spectrum = spectrum_fn(smooth, 6)
    for level in range(7):  # parities are eigenvectors
        parity = points[:, :level].prod(axis=1)
        np.testing.assert_allclose(matrix @ parity, float(spectrum.eigenvalues[level]) * parity, atol=1e-14)
    expected = np.repeat(np.asarray(spectrum.eigenvalues), [math.comb(6, level) for level in range(7)])
    np.testing.assert_allclose(np.sort(expected), np.linalg.eigvalsh(matrix), atol=1e-13)
    np.testing.assert_array_equal(spectrum.multiplicities, [math.comb(6, level) for level in range(7)])
    # exp(a t) is a product over the coordinates: cosh(a/d)^(d-l) sinh(a/d)^l
    for dim in (1, 20, 60):
        values = np.asarray(spectrum_fn(lambda t: jnp.exp(2 * t), dim).eigenvalues)
        levels = np.arange(dim + 1)
        closed = [float(mpmath.cosh(mpmath.mpf(2) / dim) ** (dim - n) * mpmath.sinh(mpmath.mpf(2) / dim) ** n) for n in levels]
        counts = np.array([float(math.comb(dim, n)) for n in levels])
        np.testing.assert_array_less(np.abs(values - closed), 1e-14 / np.sqrt(counts))


def test_walsh_spectrum():
    assert_walsh_spectrum(jax.jit(harmonics.walsh_spectrum, static_argnums=(0, 1)))
    rejected(assert_walsh_spectrum, lambda k, dim: harmonics.walsh_spectrum(lambda t: k(t / dim), dim))
    rejected(
        assert_walsh_spectrum, lambda k, dim: scaled(harmonics.walsh_spectrum(k, dim), lambda values, counts: values * counts)
    )


def assert_walsh_transform(transform_fn):
    values = np.random.default_rng(0).normal(size=(3, 32))
    np.testing.assert_allclose(transform_fn(values), values @ linalg.hadamard(32) / 32, atol=1e-14)
    x = harmonics.hypercube(5)
    for members in ([], [0], [4], [1, 2, 4]):
        coefficients = np.zeros(32)
        coefficients[sum(2**j for j in members)] = 1
        np.testing.assert_array_equal(transform_fn(x[:, members].prod(axis=1)), coefficients)


def test_walsh_transform():
    assert_walsh_transform(walsh_transform)
    rejected(assert_walsh_transform, lambda values: walsh_transform(values) * 32)
    rejected(assert_walsh_transform, lambda values: walsh_transform(jnp.asarray(values)[..., ::-1]))  # +1 and -1 exchanged
    values = np.random.default_rng(1).normal(size=64)
    coefficients = walsh_transform(values)
    np.testing.assert_allclose(walsh_transform(coefficients) * 64, values, atol=1e-13)
    power = harmonics.power_by_degree(coefficients)
    assert power.shape == (7,)
    np.testing.assert_allclose(power.sum(), np.mean(values**2), rtol=1e-13)
    pairs = [float(coefficients[2**i + 2**j]) ** 2 for i, j in itertools.combinations(range(6), 2)]
    np.testing.assert_allclose(power[2], sum(pairs), rtol=1e-13)


# ----------------------------------------------------------------------------------------------------------- contracts


def test_spectra_are_differentiable_and_vectorised_in_what_the_kernel_holds():
    def tail(scale):
        return harmonics.sphere_spectrum(lambda t: jnp.exp(scale * t), 5, 4).tail

    scales = jnp.array([0.5, 1.0])
    np.testing.assert_allclose(jax.vmap(tail)(scales), [tail(scale) for scale in scales], rtol=1e-10)
    slope = (tail(1.0 + 1e-5) - tail(1.0 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(tail)(1.0), slope, rtol=1e-6)


def test_dtype_is_the_default_one():
    with jax.enable_x64(False):
        results = jax.eval_shape(
            lambda t: (
                harmonics.sphere_spectrum(jnp.exp, 5, 3),
                harmonics.product_spectrum(lambda t, tau: t * tau, 5, 3, 2),
                harmonics.zonal_power(jnp.exp, 5, 3),
                harmonics.walsh_spectrum(jnp.exp, 5),
                harmonics.power_by_degree(harmonics.walsh_transform(harmonics.hypercube(3)[:, 0])),
                harmonics.gegenbauers(5, 3, t),
            ),
            jnp.float32(0.5),
        )
        assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: harmonics.gegenbauer(1, 2, 0.5), "dim must be at least 2, got 1"),
        (lambda: harmonics.gegenbauer(3, -1, 0.5), "degree must be at least 0, got -1"),
        (lambda: harmonics.sphere_multiplicity(3, -2), "degree must be at least 0, got -2"),
        (lambda: harmonics.sphere_quadrature(3, 0), "num_nodes must be at least 1, got 0"),
        (lambda: harmonics.sphere_spectrum(jnp.exp, 3, 90), "num_nodes must be at least the number of degrees, 90; got 80"),
        (lambda: harmonics.product_spectrum(lambda t, tau: t, 3, 0, 2), "num_degrees_1 must be at least 1, got 0"),
        (lambda: harmonics.walsh_spectrum(jnp.exp, 0), "dim must be at least 1, got 0"),
        (lambda: harmonics.walsh_transform(np.ones(6)), "values must be 2\\^d in number.* got 6"),
        (lambda: harmonics.power_by_degree(np.ones(6)), "coefficients must be 2\\^d in number.* got 6"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ------------------------------------------------------------------------------------------- rounding times multiplicity


def exponential_on_sphere(dim, degree):
    """E[e^t P_r(t)] = Gamma(d/2) 2^(d/2 - 1) I_{r + d/2 - 1}(1) = sum_k 4^-k/(k! (d/2)_(k + r) 2^r), at 50 digits."""
    with mpmath.workdps(50):
        terms = (mpmath.mpf(4) ** -k / mpmath.factorial(k) / mpmath.rf(mpmath.mpf(dim) / 2, k + degree) for k in range(20))
        return mpmath.fsum(terms) / mpmath.mpf(2) ** degree


def exponential_on_hypercube(dim, level):
    with mpmath.workdps(50):
        return mpmath.cosh(1 / mpmath.mpf(dim)) ** (dim - level) * mpmath.sinh(1 / mpmath.mpf(dim)) ** level


def assert_resolved(spectrum, eigenvalue_fn, count_fn, least):
    """At least so many degrees, to the rounding that the module says; the others are 0, and their trace is in the tail."""
    values, counts = (np.asarray(part, float) for part in spectrum[:2])
    assert np.all(np.isfinite(counts))
    kept = np.flatnonzero(values)
    assert len(kept) >= least
    with mpmath.workdps(50):
        exact = [eigenvalue_fn(r) for r in kept]
        left = float(mpmath.e - mpmath.fsum(count_fn(int(r)) * value for r, value in zip(kept, exact, strict=True)))
    eps = float(np.finfo(spectrum.eigenvalues.dtype).eps)
    roots = np.array([math.sqrt(count_fn(int(r))) for r in kept])
    scale = math.exp(1 / 784)  # the root of E e^2t
    np.testing.assert_array_less(np.abs(values[kept] - np.array(exact, float)), 1e-15 * scale / roots + eps * values[kept])
    np.testing.assert_allclose(float(spectrum.tail), left, rtol=2 * eps, atol=1e-15 * (scale * roots.sum() + math.e))
    assert float(spectrum.tail) >= 0
    np.testing.assert_allclose(counts[kept] @ values[kept] + float(spectrum.tail), math.e, rtol=4 * eps)


@pytest.mark.parametrize("x64", [True, False])
@pytest.mark.parametrize(("dim", "least"), [(784, 9), (10**6, 5), (10**9, 4)])
def test_spheres_of_many_dimensions(dim, least, x64):
    with jax.enable_x64(x64):
        spectrum = harmonics.sphere_spectrum(jnp.exp, dim, 10)
        of_product = harmonics.product_spectrum(lambda t, tau: jnp.exp(t), dim, 10, 1)
    assert_resolved(spectrum, lambda r: exponential_on_sphere(dim, r), lambda r: harmonics.sphere_multiplicity(dim, r), least)
    np.testing.assert_allclose(of_product.eigenvalues[:3, 0], spectrum.eigenvalues[:3], rtol=1e-6)
    np.testing.assert_allclose(of_product.tail, spectrum.tail, rtol=2e-2)


@pytest.mark.parametrize("x64", [True, False])
@pytest.mark.parametrize(("dim", "least"), [(140, 10), (200, 10), (1030, 8), (2000, 7)])
def test_hypercubes_of_many_dimensions(dim, least, x64):
    with jax.enable_x64(x64):
        spectrum = harmonics.walsh_spectrum(jnp.exp, dim)
    assert_resolved(spectrum, lambda level: exponential_on_hypercube(dim, level), lambda level: math.comb(dim, level), least)
    assert spectrum.multiplicities.shape == (dim + 1,)


def test_the_highest_levels_are_seen_too():
    """k = (-1)^j is the parity of all coordinates: the eigenvalue of level d is 1, of all other levels 0."""
    for dim in (3, 97, 98, 500, 1100):
        spectrum = harmonics.walsh_spectrum(lambda t, dim=dim: jnp.round((1 - t) * dim / 2) % 2 == 0, dim)  # (1 + k)/2
        expected = np.zeros(dim + 1)
        expected[[0, dim]] = 0.5
        np.testing.assert_allclose(spectrum.eigenvalues, expected, rtol=1e-13)
        np.testing.assert_allclose(spectrum.tail, 0, atol=1e-13)


@pytest.mark.parametrize("x64", [True, False])
def test_a_learning_curve_in_200_dimensions(x64):
    """The equation for kappa solved by bisection at 50 digits, in exact eigenvalues of e^t."""
    dim, n, ridge = 200, 100, mpmath.mpf("0.1")
    with mpmath.workdps(50):
        values = [exponential_on_hypercube(dim, level) for level in range(dim + 1)]
        counts = [mpmath.mpf(math.comb(dim, level)) for level in range(dim + 1)]

        def learned(kappa):
            return [value / (value + kappa) for value in values]

        def excess(kappa):
            return mpmath.fdot(counts, learned(kappa)) + ridge / kappa - n

        kappa = mpmath.findroot(excess, (1e-3, 1), solver="anderson", tol=1e-40)
        expected = n / (n - mpmath.fdot(counts, [one**2 for one in learned(kappa)])) * (1 - learned(kappa)[1]) ** 2
    assert float(expected) == pytest.approx(0.6608, abs=5e-5)
    with jax.enable_x64(x64):
        power = jnp.zeros(dim + 1).at[1].set(1.0)
        curve = kernel_regression.learning_curve(n, 0.1, harmonics.walsh_spectrum(jnp.exp, dim), power)
    assert float(curve.test) == pytest.approx(float(expected), rel=1e-13 if x64 else 1e-6)


def test_degrees_that_symmetry_forbids_are_exact_zeros():
    even, odd = harmonics.sphere_spectrum(jnp.cosh, 8, 20), harmonics.sphere_spectrum(jnp.sinh, 8, 20)
    assert np.all(even.eigenvalues[1::2] == 0)
    assert np.all(odd.eigenvalues[::2] == 0)
    assert np.all(np.asarray(harmonics.walsh_spectrum(jnp.cosh, 30).eigenvalues)[1::2] == 0)
    polynomial = harmonics.product_spectrum(lambda t, tau: t**2 * tau + 3, 6, 6, 5)
    assert np.argwhere(np.asarray(polynomial.eigenvalues) != 0).tolist() == [[0, 0], [0, 1], [2, 1]]
    assert float(polynomial.tail) == 0
    power = harmonics.zonal_power(lambda t: t**3 + jnp.pi, 8, 12).degrees
    assert np.flatnonzero(power).tolist() == [0, 1, 3]
    assert float(kernel_regression.rkhs_norm(power[1::2], odd.eigenvalues[1:12:2])) == pytest.approx(
        float(jnp.sum(power[1:4:2] / odd.eigenvalues[1:4:2])), rel=1e-12
    )


# ----------------------------------------------------------------------------------------------- numbers of every kind


def test_kernels_that_return_whole_numbers_booleans_or_single_precision():
    for kernel_fn in (lambda t: t > 0, lambda t: jnp.sign(t).astype(int), lambda t: 3):
        as_float = lambda t, kernel_fn=kernel_fn: jnp.asarray(kernel_fn(t), float)  # noqa: E731
        for spectrum_fn in (lambda k: harmonics.sphere_spectrum(k, 8, 6), lambda k: harmonics.walsh_spectrum(k, 9)):
            for one, other in zip(spectrum_fn(kernel_fn), spectrum_fn(as_float), strict=True):
                np.testing.assert_array_equal(one, other)
        for one, other in zip(harmonics.zonal_power(kernel_fn, 8, 6), harmonics.zonal_power(as_float, 8, 6), strict=True):
            np.testing.assert_array_equal(one, other)
        pairs = (lambda k: harmonics.product_spectrum(lambda t, tau: k(t), 8, 4, 2).eigenvalues)(kernel_fn)
        np.testing.assert_allclose(pairs[:, 0], harmonics.sphere_spectrum(as_float, 8, 4).eigenvalues, atol=1e-16)
    step = harmonics.sphere_spectrum(lambda t: t > 0, 3, 2)  # E 1[t > 0] = 1/2, E t 1[t > 0] = 1/4
    np.testing.assert_allclose(step.eigenvalues, [0.5, 0.25], rtol=1e-3)
    single = harmonics.sphere_spectrum(lambda t: jnp.exp(t.astype(jnp.float32)), 784, 10)
    assert single.eigenvalues.dtype == jnp.float64
    single, double = (jax.tree.map(np.asarray, one) for one in (single, harmonics.sphere_spectrum(jnp.exp, 784, 10)))
    np.testing.assert_allclose(single.eigenvalues[:3], double.eigenvalues[:3], rtol=1e-3)
    np.testing.assert_allclose(
        single.tail, np.sum(double.multiplicities * double.eigenvalues * (single.eigenvalues == 0)), rtol=0.1
    )


def test_a_traced_kernel_in_single_precision():
    """What float32 values resolve: degrees up to 3 or so at d = 784; the rest of the trace is in the tail."""
    with jax.enable_x64(False):
        spectrum = jax.jit(lambda scale: harmonics.sphere_spectrum(lambda t: jnp.exp(scale * t), 784, 10))(1.0)
        assert {leaf.dtype for leaf in spectrum} == {jnp.dtype("float32")}
        inside = jax.jit(lambda scale: (harmonics.sphere_spectrum(jnp.exp, 784, 10), scale)[0])(1.0)  # nothing traced in it
    kept = np.flatnonzero(spectrum.eigenvalues)
    assert len(kept) >= 4
    exact = np.array([float(exponential_on_sphere(784, int(r))) for r in kept])
    np.testing.assert_allclose(spectrum.eigenvalues[kept], exact, rtol=1 / 8)
    left = math.e - np.sum(exact * [float(harmonics.sphere_multiplicity(784, int(r))) for r in kept])
    np.testing.assert_allclose(spectrum.tail, left, rtol=0.1)
    assert len(np.flatnonzero(inside.eigenvalues)) == 9


def test_polynomials_beyond_the_sphere():
    np.testing.assert_allclose(harmonics.gegenbauer(3, 2, 2), 5.5, rtol=1e-15)  # (3 t^2 - 1)/2
    np.testing.assert_allclose(harmonics.gegenbauer(2, 5, [1, 0, -1]), [1, 0, -1], atol=1e-15)
    np.testing.assert_array_equal(harmonics.gegenbauers(3, 4, True), np.ones(4))
    np.testing.assert_allclose(harmonics.gegenbauer(10**30, 7, 0.5), 0.5**7, rtol=1e-14)  # P_r -> t^r
    assert np.all(harmonics.gegenbauer(5, 400, [1e300, -1e300]) == np.inf)
    assert harmonics.gegenbauer(5, 401, -1e300) == -np.inf


def test_tables_of_every_kind():
    table = np.random.default_rng(3).integers(0, 2, 16)
    expected = table @ linalg.hadamard(16) / 16
    for kind in (table, table.astype(bool), table.tolist(), jnp.asarray(table), table.astype(np.uint8)):
        np.testing.assert_array_equal(harmonics.walsh_transform(kind), expected)
    np.testing.assert_array_equal(harmonics.power_by_degree([1, 2, 0, 3]), [1, 4, 9])
    assert harmonics.walsh_transform(np.full(8, 1e308))[0] == 1e308  # the sum overflows, the mean does not
    assert harmonics.hypercube(3).dtype == jnp.float64
    assert harmonics.hypercube(3, np.float32).dtype == jnp.float32


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def of_exponential_on_sphere(scale):
    return harmonics.sphere_spectrum(lambda t: jnp.exp(scale * t), 5, 4, 20)


def of_exponential_on_spheres(scale):
    return harmonics.product_spectrum(lambda t, tau: jnp.exp(scale * t * (1 + tau)), 5, 3, 4, 20)


def of_exponential_on_hypercube(scale):
    return harmonics.walsh_spectrum(lambda t: jnp.exp(scale * t), 6)


def power_of_exponential(scale):
    return harmonics.zonal_power(lambda t: jnp.exp(scale * t), 5, 4, 20)


# The tail is a difference from the trace, and in float32 good to 1e-6 of it: a tail that is no smaller part has its digits.
NEAR_ONE = {"scale": 1.3}
near_one = lambda rng: {"scale": rng.uniform(0.7, 3)}  # noqa: E731

CALLS = [
    Call(harmonics.gegenbauer, {"dim": 5, "degree": 4, "t": np.array([0.3, -0.8])}, edges={"t": (0.0, 1.0, -1.0, 3.0)}),
    Call(harmonics.gegenbauer, {"dim": 2, "degree": 1, "t": 0.3}, label="one number"),
    Call(harmonics.gegenbauers, {"dim": 2, "num_degrees": 6, "t": np.array([0.3, -0.8])}, edges={"t": (0.0, 1.0, -1.0)}),
    Call(harmonics.sphere_multiplicity, {"dim": 8, "degree": 3}),
    Call(harmonics.sphere_quadrature, {"dim": 2, "num_nodes": 9}),
    Call(harmonics.sphere_quadrature, {"dim": 10**6, "num_nodes": 80}, label="many dimensions"),
    Call(harmonics.sphere_spectrum, {"kernel_fn": jnp.exp, "dim": 784, "num_degrees": 10, "num_nodes": 80}),
    Call(of_exponential_on_sphere, NEAR_ONE, of=harmonics.sphere_spectrum, label="traced", draw=near_one),
    Call(
        harmonics.product_spectrum,
        {"kernel_fn": lambda t, tau: t * tau > 0, "dim": 8, "num_degrees_1": 3, "num_degrees_2": 2, "num_nodes": 12},
    ),
    Call(of_exponential_on_spheres, NEAR_ONE, of=harmonics.product_spectrum, label="traced", draw=near_one),
    Call(harmonics.zonal_power, {"function_fn": jnp.sign, "dim": 3, "num_degrees": 10, "num_nodes": 80}),
    Call(power_of_exponential, NEAR_ONE, of=harmonics.zonal_power, label="traced", draw=near_one),
    Call(harmonics.walsh_spectrum, {"kernel_fn": jnp.exp, "dim": 140}),
    Call(of_exponential_on_hypercube, NEAR_ONE, of=harmonics.walsh_spectrum, label="traced", draw=near_one),
    Call(harmonics.walsh_transform, {"values": np.array([0.3, -1.0, 2.0, 0.7])}, scaling={"values": 1}, degree=1),
    Call(harmonics.power_by_degree, {"coefficients": np.array([0.3, -1.0, 2.0, 0.7])}, scaling={"coefficients": 1}, degree=2),
    Call(harmonics.hypercube, {"dim": 3}),
]
