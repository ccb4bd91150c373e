"""The learning curve against the same equations in 40 digits, least squares, limits, and ridge regression on Gaussian modes."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from closedform.theory.kernels import kernel_regression
from closedform.theory.kernels.harmonics import hypercube, walsh_spectrum
from closedform.theory.kernels.kernel_regression import LearningCurve
from closedform.theory.kernels.spectrum import Spectrum
from zoo.calls import Call
from zoo.checks import rejected

learning_curve = jax.jit(kernel_regression.learning_curve)
effective_ridge = jax.jit(kernel_regression.effective_ridge)
rkhs_norm = jax.jit(kernel_regression.rkhs_norm)

# eigenvalues over eight decades, few modes and many, and one eigenvalue of exactly zero
EIGENVALUES = np.array([1.0, 0.1, 3e-3, 2e-5, 1e-8, 0.0])
MULTIPLICITIES = np.array([1.0, 8.0, 35.0, 300.0, 1e6, 5.0])
POWER = np.array([0.3, 0.25, 0.2, 0.15, 0.05, 0.05])


def spectrum(tail=2e-3):
    return Spectrum(EIGENVALUES, MULTIPLICITIES, tail)


# ---------------------------------------------------------------------------------------------------------- the oracle


def exact_curve(n, ridge, modes, power, noise):
    """The equations as the paper states them, by bisection in 40 digits."""
    with mpmath.workdps(40):
        m, eigenvalues, v = (list(map(mpmath.mpf, values)) for values in (modes.multiplicities, modes.eigenvalues, power))
        n, ridge, tail = mpmath.mpf(n), mpmath.mpf(ridge), mpmath.mpf(modes.tail)

        def learned(kappa):
            return [eigenvalue / (eigenvalue + kappa) for eigenvalue in eigenvalues]

        low, high = mpmath.mpf("1e-30"), mpmath.mpf("1e10")
        for _ in range(230):
            kappa = mpmath.sqrt(low * high)
            if mpmath.fdot(m, learned(kappa)) + (ridge + tail) / kappa > n:
                low = kappa
            else:
                high = kappa
        L = learned(kappa)
        q = sum(count * one**2 for count, one in zip(m, L, strict=True))
        test = n / (n - q) * (sum(p * (1 - one) ** 2 for p, one in zip(v, L, strict=True)) + noise)
        train = (ridge / (n * kappa)) ** 2 * test
        return LearningCurve(*map(float, (test, train, kappa)), np.array(L, float), float(n / (n - q)))


CASES = [
    (0.5, 1e-3, 0.1),
    (10.0, 1e-3, 0.1),
    (10.0, 0.0, 0.0),
    (40.0, 1e-6, 0.0),
    (300.0, 0.3, 0.5),
    (2e4, 1e-3, 0.0),
    (2e6, 1e-9, 0.01),
]


def assert_curve(curve_fn):
    for n, ridge, noise in CASES:
        for tail in (0.0, 2e-3):
            expected = exact_curve(n, ridge, spectrum(tail), POWER, noise)
            if expected.kappa < 1e-25:
                continue
            for value, exact in zip(curve_fn(n, ridge, spectrum(tail), POWER, noise), expected, strict=True):
                np.testing.assert_allclose(value, exact, rtol=3e-12, atol=1e-300)


def test_learning_curve_solves_its_equations():
    assert_curve(learning_curve)


def with_learned(change):
    """The curve whose test and training errors are changed by a function of (curve, n, power, noise)."""

    def curve(n, ridge, modes, power, noise):
        result = learning_curve(n, ridge, modes, power, noise)
        return result._replace(test=change(result, n, modes, power, noise))

    return curve


@pytest.mark.parametrize(
    "wrong",
    [
        lambda n, ridge, modes, power, noise: learning_curve(n, n * ridge, modes, power, noise),  # a ridge over n
        lambda n, ridge, modes, power, noise: learning_curve(n, ridge, modes._replace(tail=0.0), power, noise),
        lambda n, ridge, modes, power, noise: learning_curve(
            n, ridge, modes._replace(multiplicities=modes.multiplicities**0), power, noise
        ),
        with_learned(lambda r, n, modes, power, noise: r.test - noise),  # on clean labels
        with_learned(
            lambda r, n, modes, power, noise: r.overfitting * np.sum(power * (1 - r.learnability)) + r.overfitting * noise
        ),
        with_learned(lambda r, n, modes, power, noise: np.sum(power * (1 - r.learnability) ** 2) + noise),  # no overfitting
        # the training error without the square, and with the tail in the ridge
        lambda *args: learning_curve(*args)._replace(train=learning_curve(*args).train ** 0.5),
        lambda n, ridge, modes, power, noise: learning_curve(n, ridge + modes.tail, modes._replace(tail=0.0), power, noise),
    ],
)
def test_wrong_curves_are_rejected(wrong):
    rejected(assert_curve, wrong)


# -------------------------------------------------------------------------------------------------------------- limits


def test_no_samples_leave_power_and_noise():
    for ridge in (0.0, 0.5):
        none, few = (learning_curve(n, ridge, spectrum(), POWER, 0.3) for n in (0.0, 1e-9))
        np.testing.assert_allclose(none.test, 1.3, rtol=1e-14)
        for at_zero, near in zip(none[:2] + none[3:], few[:2] + few[3:], strict=True):
            np.testing.assert_allclose(near, at_zero, rtol=1e-7, atol=1e-7)
        assert float(none.kappa) == np.inf


def test_many_samples_leave_noise_and_what_the_kernel_cannot_see():
    curve = learning_curve(1e12, 1e-3, spectrum(0.0), POWER, 0.3)
    np.testing.assert_allclose(curve.test, 0.3 + POWER[-1], rtol=1e-5)
    np.testing.assert_allclose(curve.train, curve.test, rtol=1e-5)
    strong = learning_curve(100.0, 1e12, spectrum(), POWER, 0.3)
    np.testing.assert_allclose([strong.test, strong.train], 1.3, rtol=1e-6)


def test_ridgeless_with_more_samples_than_modes_is_least_squares():
    """The known error of least squares on p Gaussian features, sigma^2 n/(n - p), and training error sigma^2 (n - p)/n."""
    modes = Spectrum(np.array([2.0, 1e-3, 0.0]), np.array([10.0, 20.0, 7.0]), 0.0)
    power = np.array([0.5, 0.3, 0.1])
    for n in (31.0, 60.0, 1e4):
        curve = learning_curve(n, 0.0, modes, power, 0.2)
        np.testing.assert_allclose(curve.test, (0.2 + 0.1) * n / (n - 30), rtol=1e-11)
        np.testing.assert_allclose(curve.train, (0.2 + 0.1) * (n - 30) / n, rtol=1e-11)
        near = learning_curve(n, 1e-9, modes, power, 0.2)
        np.testing.assert_allclose(near.test, curve.test, rtol=1e-4)
    peak = learning_curve(30.0, 0.0, modes, power, 0.2)
    assert [float(value) for value in (peak.test, peak.train, peak.kappa, peak.overfitting)] == [np.inf, 0, 0, np.inf]


def test_ridge_to_zero_is_continuous():
    zero = learning_curve(50.0, 0.0, spectrum(), POWER, 0.1)
    near = learning_curve(50.0, 1e-12, spectrum(), POWER, 0.1)
    np.testing.assert_allclose(near.test, zero.test, rtol=1e-8)
    assert float(zero.train) == 0


def test_samples_count_out_among_the_modes():
    for n in (0.1, 7.0, 44.0, 1e3):
        kappa = float(effective_ridge(n, 0.01, spectrum()))
        shares = EIGENVALUES / (EIGENVALUES + kappa)
        np.testing.assert_allclose(MULTIPLICITIES @ shares + 0.012 / kappa, n, rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------- simulation


def test_ridge_regression_on_gaussian_modes():
    """200 draws of data. Allowance 2/n: the corrections to the limit are of relative order 1/n."""
    eigenvalues, counts, power = np.array([1.0, 0.2, 0.02]), np.array([5, 20, 100]), np.array([0.5, 0.3, 0.2])
    n, draws, noise, rng = 60, 200, 0.1, np.random.default_rng(0)
    scales = np.sqrt(np.repeat(eigenvalues, counts))
    for ridge in (0.05, 2.0):
        x = rng.normal(size=(draws, n, counts.sum()))
        truth = rng.normal(size=(draws, counts.sum())) * np.sqrt(np.repeat(power / counts, counts))
        y = np.einsum("rij,rj->ri", x, truth) + np.sqrt(noise) * rng.normal(size=(draws, n))
        features = x * scales
        dual = np.linalg.solve(features @ features.transpose(0, 2, 1) + ridge * np.eye(n), y[..., None])[..., 0]
        learned = scales * np.einsum("rij,ri->rj", features, dual)
        test = np.sum((learned - truth) ** 2, axis=1) + noise
        train = np.mean((ridge * dual) ** 2, axis=1)
        curve = learning_curve(float(n), ridge, Spectrum(eigenvalues, 1.0 * counts, 0.0), power, noise)
        for simulated, predicted in ((test, float(curve.test)), (train, float(curve.train))):
            assert abs(simulated.mean() - predicted) <= 4 * simulated.std() / draws**0.5 + 2 / n * predicted


def test_kernel_regression_on_the_hypercube():
    """A real kernel, exp(2 t) on {-1, 1}^12, and a target of two parities. Modes there are not Gaussian: 0.3/dim, which is
    3 % at most, as seen from dim = 10 to 12."""
    dim, n, draws, ridge, noise, rng = 12, 60, 60, 0.05, 0.04, np.random.default_rng(1)
    points = np.asarray(hypercube(dim))
    target = 0.8 * points[:, 0] + 0.6 * points[:, 1] * points[:, 2]
    errors = []
    for _ in range(draws):
        rows, others = rng.integers(2**dim, size=n), rng.integers(2**dim, size=150)
        y = target[rows] + np.sqrt(noise) * rng.normal(size=n)
        gram, cross = (np.exp(2 * points[some] @ points[rows].T / dim) for some in (rows, others))
        errors.append(np.mean((cross @ np.linalg.solve(gram + ridge * np.eye(n), y) - target[others]) ** 2) + noise)
    modes, power = walsh_spectrum(lambda t: jnp.exp(2 * t), dim), np.zeros(dim + 1)
    power[[1, 2]] = 0.64, 0.36
    predicted = float(learning_curve(float(n), ridge, modes, power, noise).test)
    assert abs(np.mean(errors) - predicted) <= 4 * np.std(errors) / draws**0.5 + 0.3 / dim * predicted


# ----------------------------------------------------------------------------------------------------------- contracts


@pytest.mark.slow
def test_derivatives_are_those_of_finite_differences():
    def total(n, ridge, noise, eigenvalues, power):
        curve = kernel_regression.learning_curve(n, ridge, Spectrum(eigenvalues, MULTIPLICITIES, 2e-3), power, noise)
        return curve.test + curve.train

    value, slope = jax.jit(total), jax.jit(jax.grad(total, argnums=(0, 1, 2, 3, 4)))
    arguments = [50.0, 0.02, 0.1, jnp.asarray(EIGENVALUES), jnp.asarray(POWER)]
    for position, derivative in enumerate(slope(*arguments)):
        for index in np.ndindex(np.shape(derivative)):
            here = np.asarray(arguments[position])[index]
            if here == 0:
                continue
            shifted = []
            for sign in (1, -1):
                moved = np.array(arguments[position])
                moved[index] = here * (1 + sign * 1e-5)
                shifted.append(float(value(*[moved if i == position else one for i, one in enumerate(arguments)])))
            difference = (shifted[0] - shifted[1]) / (2e-5 * here)
            np.testing.assert_allclose(derivative[index], difference, rtol=1e-6, atol=1e-9 / here)
    curvature = jax.jit(jax.grad(jax.grad(total)))(*arguments)
    ends = [slope(arguments[0] + step, *arguments[1:])[0] for step in (1e-3, -1e-3)]
    np.testing.assert_allclose(curvature, (ends[0] - ends[1]) / 2e-3, rtol=1e-6)


@pytest.mark.slow
def test_vmap_equals_a_loop():
    many = jnp.array([0.0, 1.0, 30.0, 1e4]), jnp.array([0.1, 0.0, 1e-3, 10.0]), jnp.array([0.0, 0.1, 0.2, 0.3])
    batched = jax.jit(jax.vmap(kernel_regression.learning_curve, (0, 0, None, None, 0)))(*many[:2], spectrum(), POWER, many[2])
    for i, (n, ridge, noise) in enumerate(zip(*many, strict=True)):
        for field, one in zip(batched, learning_curve(n, ridge, spectrum(), POWER, noise), strict=True):
            np.testing.assert_allclose(field[i], one, rtol=1e-13)


@pytest.mark.slow
def test_dtype_follows_the_input():
    single = Spectrum(*(jnp.asarray(values, jnp.float32) for values in spectrum()))
    curve = learning_curve(10, 0.1, single, jnp.asarray(POWER, jnp.float32), 0.1)
    assert {leaf.dtype for leaf in curve} == {jnp.dtype("float32")}
    np.testing.assert_allclose(curve.test, learning_curve(10, 0.1, spectrum(), POWER, 0.1).test, rtol=1e-5)


def test_rkhs_norm():
    np.testing.assert_allclose(rkhs_norm(POWER[:3], EIGENVALUES[:3]), np.sum(POWER[:3] / EIGENVALUES[:3]), rtol=1e-14)
    assert float(rkhs_norm(POWER, EIGENVALUES)) == np.inf
    assert float(rkhs_norm(np.zeros(6), EIGENVALUES)) == 0
    # of f(x) = k(x, z) it is k(z, z): power m lambda^2 in modes of eigenvalue lambda
    modes = walsh_spectrum(lambda t: jnp.exp(2 * t), 8)
    np.testing.assert_allclose(
        rkhs_norm(modes.multiplicities * modes.eigenvalues**2, modes.eigenvalues), np.exp(2.0), rtol=1e-12
    )


def test_bad_arguments_are_named():
    for argument, message in (
        (dict(num_samples=-1.0), "num_samples must be at least 0, got -1.0"),
        (dict(ridge=-0.1), "ridge must be at least 0, got -0.1"),
        (dict(noise_variance=float("nan")), "noise_variance must be at least 0 and finite, got nan"),
        (dict(power=POWER[:2]), r"power must have the shape"),
        (dict(power=-POWER), "power must be at least 0"),
        (dict(num_samples=np.array([1.0, 2.0])), "num_samples must be a single number"),
        (dict(ridge=np.array([1.0, 2.0])), "ridge must be a single number"),
        (dict(spectrum=spectrum()._replace(eigenvalues=-EIGENVALUES)), r"spectrum.eigenvalues must be at least 0"),
        (dict(spectrum=spectrum(-0.1)), r"spectrum.tail must be at least 0"),
    ):
        arguments = dict(num_samples=10.0, ridge=0.1, spectrum=spectrum(), power=POWER) | argument
        with pytest.raises(ValueError, match=message):
            kernel_regression.learning_curve(**arguments)


# ---------------------------------------------------------------------------------------------------- ends of the ranges

ONES = np.ones(1)
FIFTY = Spectrum(ONES, 50 * ONES, 0.0)


def test_ends_of_the_ranges():
    """Infinite samples learn all that the kernel sees, an infinite ridge nothing; both: nothing."""
    for ridge, tail, train in ((0.1, 0.0, 1), (0.1, 0.3, 1 / 16), (0.0, 2e-3, 0), (0.0, 0.0, 1)):
        curve = learning_curve(np.inf, ridge, spectrum(tail), POWER, 0.3)
        np.testing.assert_allclose([curve.test, curve.train, curve.overfitting], [0.35, 0.35 * train, 1], rtol=1e-14)
        np.testing.assert_array_equal(curve.learnability, EIGENVALUES > 0)
        assert float(curve.kappa) == 0
        near = learning_curve(1e40, ridge, spectrum(tail), POWER, 0.3)
        np.testing.assert_allclose(near[:2], curve[:2], rtol=1e-12)
    for n in (0.0, 50.0, np.inf):
        curve = learning_curve(n, np.inf, spectrum(), POWER, 0.3)
        np.testing.assert_allclose([curve.test, curve.train, curve.overfitting], [1.3, 1.3, 1], rtol=1e-14)
        assert float(curve.kappa) == np.inf
        np.testing.assert_array_equal(curve.learnability, 0)
    for n in (0.0, 7.0, np.inf):  # a kernel that is 0 learns nothing
        curve = learning_curve(n, 0.0, Spectrum(0 * ONES, ONES, 0.0), ONES, 0.3)
        np.testing.assert_allclose([*curve[:2], curve.learnability[0], curve.overfitting], [1.3, 1.3, 0, 1], rtol=1e-14)
    tail = learning_curve(10.0, 0.5, Spectrum(0 * ONES, ONES, 1.5), ONES, 0.0)  # a kernel that is all tail
    np.testing.assert_allclose([tail.test, tail.train, tail.kappa], [1, 1 / 16, 0.2], rtol=1e-13)


def test_as_many_samples_as_modes_without_ridge():
    """Issue 16.13: the fit interpolates noise with an infinite error, and without noise it is right."""
    for counts in (np.array([50.0]), np.array([10.0, 40.0])):
        modes = Spectrum(np.linspace(1, 0.1, len(counts)), counts, 0.0)
        peak = learning_curve(50.0, 0.0, modes, np.ones(len(counts)), 0.25)
        assert [float(value) for value in (peak.test, peak.train, peak.kappa)] == [np.inf, 0, 0]
        clean = learning_curve(50.0, 0.0, modes, np.ones(len(counts)), 0.0)
        np.testing.assert_allclose(clean[:2], 0, atol=1e-30)
        with mpmath.workdps(60):  # the limit is reached as the root of the ridge
            near = exact_curve(50.0, mpmath.mpf("1e-40"), modes, np.ones(len(counts)), 0.25)
        np.testing.assert_allclose(learning_curve(50.0, 1e-40, modes, np.ones(len(counts)), 0.25).test, near.test, rtol=1e-9)
        assert near.test > 1e18
        for n in (50 - 1e-9, 50 + 1e-9):
            expected = exact_curve(n, 0.0, modes, np.ones(len(counts)), 0.25).test if n < 50 else 0.25 * n / (n - 50)
            np.testing.assert_allclose(learning_curve(n, 0.0, modes, np.ones(len(counts)), 0.25).test, expected, rtol=1e-4)


def test_slopes_at_no_samples_and_at_no_ridge():
    """Issue 16.12. At n = 0: (power + noise) sum m lambda^2/T^2 - 2 sum v lambda/T, T the trace and the ridge."""
    at = jax.jit(jax.grad(lambda n, modes, power, noise: kernel_regression.learning_curve(n, 0.1, modes, power, noise).test))
    slope = at(0.0, FIFTY, ONES, 0.25)
    np.testing.assert_allclose(slope, 1.25 * 50 / 50.1**2 - 2 / 50.1, rtol=1e-13)
    trace = MULTIPLICITIES @ EIGENVALUES + 0.1 + 2e-3
    expected = 1.2 * MULTIPLICITIES @ EIGENVALUES**2 / trace**2 - 2 * POWER @ EIGENVALUES / trace
    np.testing.assert_allclose(at(0.0, spectrum(), POWER, 0.2), expected, rtol=1e-12)
    # least squares, n = 100 and 50 modes: kappa = ridge/(n - 50) for small ones
    slope = jax.jit(jax.grad(lambda ridge: kernel_regression.effective_ridge(100.0, ridge, FIFTY)))(0.0)
    np.testing.assert_allclose(slope, 1 / 50, rtol=1e-13)


def test_multiplicities_of_1e8_in_single_precision():
    modes = Spectrum(np.array([1.0, 1e-3, 1e-7, 1e-12]), np.array([1.0, 1e3, 1e6, 1e8]), 1e-5)
    power = np.array([0.4, 0.3, 0.2, 0.1])
    single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), modes)
    for n in (3.0, 900.0, 1e4, 1e8):
        expected = learning_curve(n, 1e-4, modes, power, 0.1)
        found = learning_curve(jnp.float32(n), 1e-4, single, jnp.asarray(power, jnp.float32), 0.1)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5)


def test_rkhs_norm_leaves_rounding_out():
    """Issue 16.1: what symmetry makes 0 is 1e-17 over 1e-19 in arithmetic."""
    power, eigenvalues = np.array([0.5, 0.5, 1e-17, 3e-33]), np.array([0.1, 0.5, 1e-19, 0.0])
    np.testing.assert_allclose(rkhs_norm(power, eigenvalues), 6, rtol=1e-14)
    assert float(rkhs_norm(np.array([0.5, 0.5]), np.array([0.1, 0.0]))) == np.inf
    small = np.array([1.0, 1e-12]), np.array([1.0, 1e-30])  # power that is more than rounding counts
    np.testing.assert_allclose(rkhs_norm(*small), 1e18, rtol=1e-12)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

SMALL = Spectrum(np.array([1.0, 0.1, 3e-3]), np.array([2.0, 16.0, 60.0]), 2e-3)
EDGES = [
    {"num_samples": 78.0, "ridge": 0.0, "spectrum.tail": 0.0},  # the peak
    {"num_samples": 200.0, "ridge": 0.0, "spectrum.tail": 0.0},
    {"num_samples": 18.0, "ridge": 0.0, "spectrum.tail": 0.0},
    {"num_samples": np.inf, "ridge": np.inf},
    {"num_samples": np.inf, "ridge": 0.0, "spectrum.tail": 0.0},
    {"num_samples": 0.0, "ridge": 0.0},
    {"spectrum.eigenvalues": np.zeros(3), "ridge": 0.0, "spectrum.tail": 0.0},
    {"spectrum.eigenvalues": np.zeros(3)},
    {"spectrum.multiplicities": np.array([1.0, 1e4, 1e8])},
]
KINKS = ("case 6",)  # kernel, ridge and tail are 0: kappa is homogeneous in them, the slope another in each direction


def drawn(rng):
    """Spectra over many decades; ridges and samples too."""
    return {
        "num_samples": 10 ** rng.uniform(-3, 6),
        "ridge": 10 ** rng.uniform(-12, 4),
        "spectrum.eigenvalues": 10 ** rng.uniform(-12, 3, 3),
        "spectrum.multiplicities": (10 ** rng.uniform(0, 8, 3)).round(),
        "spectrum.tail": 10 ** rng.uniform(-12, 1),
    }


def drawn_curve(rng):
    return drawn(rng) | {"power": 10 ** rng.uniform(-3, 1, 3), "noise_variance": 10 ** rng.uniform(-6, 1)}


KERNEL = {"spectrum.eigenvalues": 1, "spectrum.tail": 1, "ridge": 1}
CALLS = [
    Call(
        kernel_regression.learning_curve,
        {"num_samples": 30.0, "ridge": 0.1, "spectrum": SMALL, "power": np.array([0.5, 0.3, 0.2]), "noise_variance": 0.1},
        cases=EDGES,
        scaling=KERNEL,
        degree=(0, 0, 1, 0, 0),
        kinks=KINKS,
        draw=drawn_curve,
    ),
    Call(
        kernel_regression.effective_ridge,
        {"num_samples": 30.0, "ridge": 0.1, "spectrum": SMALL},
        cases=EDGES,
        scaling=KERNEL,
        degree=1,
        kinks=KINKS,
        draw=drawn,
    ),
    Call(
        kernel_regression.rkhs_norm,
        {"power": np.array([0.5, 0.3, 0.2]), "eigenvalues": np.array([1.0, 0.1, 3e-3])},
        scaling={"power": 2, "eigenvalues": 1},
        degree=1,
    ),
]
