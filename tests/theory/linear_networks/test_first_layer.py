"""Filters of the linear network against descent on digits, their mean energies against draws, and the paper's formula."""

import functools

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

from closedform.theory.linear_networks import first_layer
from zoo.calls import Call
from zoo.checks import rejected

# one program each for all tests with digits
trained_filters, expected_energies = map(jax.jit, (first_layer.trained_filters, first_layer.expected_energies))
patch_profile, flow_profile, similarity = map(
    jax.jit, (first_layer.patch_profile, first_layer.flow_profile, first_layer.similarity)
)
NUM_FILTERS, SCALE = 7, 0.3


@functools.cache
def digits():
    """3 x 3 patches (image, place, weight) of digits less their mean image, in numpy, and A of their average patches."""
    x = load_digits().images / 16
    windows = np.lib.stride_tricks.sliding_window_view(x - x.mean(axis=0), (3, 3), axis=(1, 2))
    patches = windows.reshape(len(x), 36, 9)
    average = patches.mean(axis=1)
    return patches, average, average.T @ average / len(x)


def covariance():
    """Of single patches."""
    flat = digits()[0].reshape(-1, 9)
    return flat.T @ flat / len(flat)


def rate_of(covariance, num_filters):
    return 0.9 / (2 * num_filters * np.linalg.eigvalsh(covariance)[-1])


# --------------------------------------------------------------------------------------------------------------- filters


@functools.cache
def descended(count):
    """Filters after 300 updates of the network, which answers to every patch of the first digits; classes as labels."""
    patches, average = (part[:count] for part in digits()[:2])
    A = average.T @ average / count
    y = np.where(load_digits().target[:count] >= 5, 1.0, -1.0)
    start = SCALE * np.random.default_rng(0).standard_normal((NUM_FILTERS, 9))
    filters, rate, flat = start, rate_of(A, NUM_FILTERS), patches.reshape(-1, 9)

    def outputs_of(filters):
        return (flat @ filters.T).sum(axis=1).reshape(count, 36).mean(axis=1)

    for _ in range(300):
        gradient = -2 / count * np.repeat(y - outputs_of(filters), 36) @ flat / 36
        filters = filters - rate * gradient[None]
    outputs = outputs_of(filters)
    return filters, np.mean((y - outputs) ** 2), (A, average.T @ y / count, start, rate)


def assert_descended(filters_fn, count):
    filters, _, problem = descended(count)
    found = np.asarray(filters_fn(300.0, *problem))
    assert np.max(np.abs(found - filters)) / np.max(np.abs(filters)) < 1e-10


@pytest.mark.parametrize("count", [100, pytest.param(1797, marks=pytest.mark.slow)])
def test_filters_follow_descent_on_digits(count):
    """300 updates of seven 3 x 3 filters on digits, some or all: largest relative deviation below 1e-10."""
    assert_descended(trained_filters, count)
    for wrong in (
        lambda t, A, b, w, rate: trained_filters(t, A, b, w, rate / 2),  # without the 2 of the square
        lambda t, A, b, w, rate: w + NUM_FILTERS * (trained_filters(t, A, b, w, rate) - w),  # without 1/K
        lambda t, A, b, w, rate: trained_filters(t, covariance(), b, w, rate),  # the covariance of single patches
    ):
        rejected(assert_descended, wrong, count)
    filters, loss, (A, b, _, _) = descended(count)
    np.testing.assert_allclose(first_layer.loss(filters, A, b, 1.0), loss, rtol=1e-12)


def test_ends_of_training():
    """No step, no rate and no patches change nothing; in the end the sum of the filters is the least-squares solution."""
    _, _, (A, b, start, rate) = descended(100)
    np.testing.assert_array_equal(trained_filters(0.0, A, b, start, rate), start)
    np.testing.assert_array_equal(trained_filters(np.inf, A, b, start, 0.0), start)
    np.testing.assert_array_equal(trained_filters(np.inf, 0 * A, 0 * b, start, rate), start)
    last = trained_filters(np.inf, A, b, start, rate)
    np.testing.assert_allclose(np.sum(last, axis=0), np.linalg.solve(A, b), rtol=1e-8)
    edge = first_layer.stable_learning_rate(A, NUM_FILTERS)
    assert rate < edge
    np.testing.assert_allclose(1 / edge, NUM_FILTERS * np.linalg.eigvalsh(A)[-1], rtol=1e-12)


def test_one_filter_of_one_pixel():
    """K = 1: w - s* shrinks by 1 - 2 eta a a step, overshooting or not, and stays where no average patch has a part."""
    steps = np.array([0.0, 1.0, 2.0, 5.0, np.inf])
    for rate in (0.2, 0.5, 0.8):  # 2 eta a = 0.4, 1 and 1.6
        found = trained_filters(steps, np.diag([1.0, 0.0]), np.array([0.5, 0.0]), np.array([[2.0, 3.0]]), rate)[:, 0]
        np.testing.assert_allclose(found[:, 0], [*(0.5 + 1.5 * (1 - 2 * rate) ** steps[:-1]), 0.5], rtol=1e-13)
        np.testing.assert_array_equal(found[:, 1], 3)


def test_a_covariance_that_is_none_is_refused():
    for wrong, message in (([[1.0, 2.0], [2.0, 1.0]], "positive semi-definite"), ([[1.0, 2.0], [0.0, 1.0]], "symmetric")):
        with pytest.raises(ValueError, match=f"^covariance must be {message}"):
            first_layer.trained_filters(1, wrong, [0.0, 0.0], [[0.0, 0.0]], 0.1)


# -------------------------------------------------------------------------------------------------------------- energies


@functools.cache
def drawn():
    """Mean energies over 20000 labels and starts after 1000 updates: the recursion of the filters, summed step by step."""
    _, average, A = digits()
    rng, count, rate = np.random.default_rng(0), len(average), rate_of(A, NUM_FILTERS)
    step, power, total = np.eye(9) - 2 * rate * NUM_FILTERS * A, np.eye(9), np.zeros((9, 9))
    for _ in range(1000):
        total, power = total + power, power @ step
    basis, energies = np.linalg.eigh(A)[1][:, ::-1], np.zeros(9)
    for _ in range(20):
        y = rng.integers(0, 2, (count, 1000)).astype(np.float32) * 2 - 1
        b = (average.T.astype(np.float32) @ y / count).T.astype(float)
        start = SCALE * rng.standard_normal((1000, NUM_FILTERS, 9))
        change = 2 * rate * (b - start.sum(axis=1) @ A) @ total
        energies += np.mean(((start + change[:, None]) @ basis) ** 2, axis=(0, 1)) / 20
    return energies, (A, basis, NUM_FILTERS, SCALE, 1.0, count, rate)


def assert_mean_of_draws(energies_fn):
    energies, problem = drawn()
    np.testing.assert_allclose(energies_fn(1000.0, *problem), energies, rtol=0.05)  # five standard errors


def test_mean_energies_are_those_of_draws():
    """20000 draws of labels and starts, seven filters, 1000 updates: every component within 5 %."""
    assert_mean_of_draws(expected_energies)
    wrong = [
        lambda t, A, u, K, *rest: expected_energies(t, A, u, K, *rest[:-1], rest[-1] / 2),  # without the 2 of the square
        lambda t, A, u, K, *rest: expected_energies(t, A, u, K, *rest[:-1], rest[-1] / K),  # without K in the rate
        lambda t, *rest: np.sqrt(expected_energies(t, *rest)),  # the profile
        lambda t, A, u, K, sigma, *rest: expected_energies(t, A, u, K, sigma, *rest) * K,  # the sum over filters
        lambda t, A, u, K, sigma, power, count, rate: expected_energies(t, A, u, K, sigma, power * 36, count, rate),
    ]
    for mutation in wrong:
        rejected(assert_mean_of_draws, mutation)


def test_ends_of_the_mean_energies():
    """At the start the variance of the weights, in any basis; in the end 1/a; with one filter nothing of the start is left."""
    _, (A, basis, *rest) = drawn()
    turned = np.linalg.qr(np.random.default_rng(1).standard_normal((9, 9)))[0]
    np.testing.assert_allclose(expected_energies(0.0, A, turned, *rest), SCALE**2, rtol=1e-12)
    K, sigma, power, count, rate = rest
    last = sigma**2 * (1 - 1 / K) + power / (K**2 * count * np.linalg.eigvalsh(A)[::-1])
    np.testing.assert_allclose(expected_energies(np.inf, A, basis, *rest), last, rtol=1e-9)
    forgot = expected_energies(np.inf, A, basis, 1, sigma, 0.0, count, rate / K)
    np.testing.assert_allclose(forgot, 0, atol=1e-12)
    M = first_layer.expected_moment(50.0, A, *rest)
    np.testing.assert_allclose(M, M.T, atol=1e-13 * np.abs(M).max())
    found = expected_energies(50.0, A, turned, *rest)
    np.testing.assert_allclose(np.einsum("di,de,ei->i", turned, M, turned), found, rtol=1e-11)


def test_energies_do_not_depend_on_how_filters_are_mixed():
    """Filters turned among themselves have the same energies, to 1e-12; filters turned in the space of patches have not."""
    rng = np.random.default_rng(0)
    filters, basis = rng.standard_normal((5, 4)), np.linalg.qr(rng.standard_normal((4, 4)))[0]
    mixing, turning = (np.linalg.qr(rng.standard_normal((n, n)))[0] for n in (5, 4))
    found = np.asarray(first_layer.energies(filters, basis))
    np.testing.assert_allclose(first_layer.energies(mixing @ filters, basis), found, rtol=1e-12)
    assert np.abs(np.asarray(first_layer.energies(filters @ turning, basis)) / found - 1).max() > 0.1
    np.testing.assert_allclose(found, [np.mean([(w @ u) ** 2 for w in filters]) for u in basis.T], rtol=1e-12)


# ------------------------------------------------------------------------------------------------------ the paper's formula


@functools.cache
def independent():
    """Exact root mean energies from no weights, for 4000 images of 16 independent patches, and what the formula needs."""
    eigenvalues, count, places, num_filters = np.array([1.0, 0.3, 0.1, 0.03, 0.01]), 4000, 16, 5
    average = (np.random.default_rng(0).standard_normal((count, places, 5)) * np.sqrt(eigenvalues)).mean(axis=1)
    A = average.T @ average / count
    rate, steps = rate_of(A, num_filters), np.array([1.0, 10.0, 100.0, 1000.0, 1e5])
    exact = np.sqrt(expected_energies(steps, A, np.eye(5), num_filters, 0.0, 1.0, count, rate))
    return exact, steps, eigenvalues, 2 * rate * num_filters / places, np.sqrt(places / count) / num_filters


def assert_formula(profile_fn):
    exact, steps, eigenvalues, rate, scale = independent()
    profile = np.asarray(profile_fn(steps, eigenvalues, rate))
    for one, other in zip(exact, profile, strict=True):
        assert np.corrcoef(one, other)[0, 1] > 0.998
    np.testing.assert_allclose(exact / (scale * profile), 1, atol=0.05)


def test_the_formula_of_the_paper_holds_for_independent_patches():
    """Correlation above 0.998 with the exact profile at 1 to 100000 updates, and its factor sqrt(J/N)/K within 5 %."""
    profile = patch_profile
    assert_formula(profile)
    rejected(assert_formula, lambda t, a, rate: profile(t, np.sqrt(a), rate))  # lambda in place of lambda^2
    rejected(assert_formula, lambda t, a, rate: np.asarray(profile(t, a, rate)) ** 2)  # energies in place of their roots
    rejected(assert_formula, lambda t, a, rate: np.asarray(profile(t, a, rate)) / rate)  # the factor 1/eta
    rejected(assert_formula, lambda t, a, rate: profile(t, a, rate / 2))  # without the 2 of the square
    rejected(assert_formula, lambda t, a, rate: profile(t, a, rate * 16))  # of the sum over places


def test_limits_of_the_formula():
    """First eta t lambda, in the end 1/lambda, in small steps the flow; nothing without variance."""
    a = np.array([3.0, 0.5, 1e-3, 0.0])
    np.testing.assert_array_equal(patch_profile(0.0, a, 0.3), 0)
    np.testing.assert_allclose(patch_profile(1.0, a, 0.3), 0.3 * np.sqrt(a), rtol=1e-13)
    np.testing.assert_allclose(patch_profile(1000.0, a, 1e-12), 1e-9 * np.sqrt(a), rtol=1e-8)
    for found in (patch_profile(np.inf, a, 0.3), flow_profile(np.inf, a)):
        np.testing.assert_allclose(found, [*(1 / np.sqrt(a[:3])), 0], rtol=1e-14)
    np.testing.assert_allclose(patch_profile(1e9, a, 3e-9), flow_profile(3.0, a), rtol=1e-7)
    np.testing.assert_allclose(patch_profile(3.0, a, 0.5)[0], (1 + 0.5**3) / np.sqrt(3), rtol=1e-13)  # overshoots


def assert_peak(peak_fn):
    """Of a fine logarithmic grid of components the largest stands at lambda^2 = 1.256431208627/tau."""
    for time in (0.01, 3.0, 1e6):
        grid = np.geomspace(0.5, 5, 20001) / time
        largest = grid[np.argmax(flow_profile(time, grid))]
        np.testing.assert_allclose(peak_fn(time), largest, rtol=3e-4)  # two points of the grid
        np.testing.assert_allclose(peak_fn(time), 1.256431208627 / time, rtol=1e-12)


def test_the_largest_component():
    """x* = 1.256431208627 solves e^x = 2 x + 1, and (1 - e^-x*)/sqrt(x*) = 0.638173; the largest component drifts as 1/t."""
    assert_peak(first_layer.peak_eigenvalue)
    rejected(assert_peak, lambda time: 1 / np.asarray(time))  # where the exponent is 1
    rejected(assert_peak, lambda time: np.sqrt(first_layer.peak_eigenvalue(time)))  # lambda in place of lambda^2
    assert abs(np.exp(first_layer.PEAK) - 2 * first_layer.PEAK - 1) < 1e-14
    np.testing.assert_allclose(first_layer.flow_profile(1.0, [first_layer.PEAK]), 0.638173, atol=1e-6)


def test_the_formula_misses_real_patches():
    """Patches of digits are correlated: with their covariance the profile is like the exact one only to 0.74 at best."""
    _, average, A = digits()
    values, basis = np.linalg.eigh(covariance())
    ratio = 36 * np.einsum("di,de,ei->i", basis, A, basis) / values
    np.testing.assert_allclose([ratio.max(), ratio.min()], [3.46, 0.02], atol=5e-3)  # it would be 1 for uncorrelated patches
    rate = rate_of(A, NUM_FILTERS)
    exact = np.sqrt(expected_energies(1000.0, A, basis, NUM_FILTERS, 0.0, 1.0, len(average), rate))
    times = np.geomspace(1e-2, 1e6, 60) / values[-1]
    fit = jax.jit(first_layer.fitted_time)(exact, values, times)
    likeness = [np.corrcoef(exact, (1 - np.exp(-time * values)) / np.sqrt(values))[0, 1] for time in times]
    np.testing.assert_allclose(fit, [times[np.argmax(likeness)], max(likeness)], rtol=1e-10)
    assert 0.5 < fit.similarity < 0.8


def test_similarity_is_the_correlation():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 6))
    np.testing.assert_allclose(similarity(one, other), np.corrcoef(one, other)[0, 1], rtol=1e-12)
    np.testing.assert_allclose(similarity(1e9 * one + 1e9, one), 1, rtol=1e-12)
    assert similarity(one, np.full(6, 0.1)) == 0


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

COVARIANCE = np.array([[0.6, 0.2], [0.2, 0.3]])


def symmetric(x, rng):
    change = rng.standard_normal(x.shape)
    return (change + change.T) * np.max(np.abs(x)) * 0.1


def positive(rng):
    features = rng.standard_normal((2, 5))
    return features @ features.T / 5


def stable(rng, num_filters):
    covariance = positive(rng)
    edge = 1 / (num_filters * np.linalg.eigvalsh(covariance)[-1])
    steps = (10 ** rng.uniform(0, 4, 2)).round()
    return {"steps": steps, "covariance": covariance, "learning_rate": edge * rng.uniform(0, 0.99)}


def of_means(rng):
    count = float(rng.integers(1, 9))
    return stable(rng, count) | {"num_filters": count, "init_scale": rng.uniform(), "num_samples": 10 ** rng.uniform(0, 4)}


MEANS = {
    "steps": np.array([3.0, 8.0]),
    "covariance": COVARIANCE,
    "num_filters": 2.0,
    "init_scale": 0.3,
    "label_variance": 1.5,
    "num_samples": 20.0,
    "learning_rate": 0.3,
}
CASES = [{"covariance": np.eye(2) / 2}, {"covariance": np.zeros((2, 2))}, {"covariance": np.ones((2, 2)) / 4}]
KINKS = ("case 1", "case 2")  # covariances of low rank: not all their neighbours are positive
OF_COVARIANCE = {
    "cases": CASES,
    "kinks": KINKS,
    "directions": {"covariance": symmetric},
    "fixed": ("steps",),  # between whole numbers the sign of an overshooting mode jumps
}
CALLS = [
    Call(
        first_layer.trained_filters,
        {
            "steps": np.array([3.0, 8.0]),
            "covariance": COVARIANCE,
            "correlation": np.array([0.4, -0.1]),
            "filters": np.array([[0.2, -0.5], [0.3, 1.0]]),
            "learning_rate": 0.3,
        },
        edges={"correlation": []},
        draw=lambda rng: stable(rng, 2) | {"correlation": rng.standard_normal(2), "filters": rng.standard_normal((2, 2))},
        **OF_COVARIANCE,
    ),
    Call(
        first_layer.loss,
        {
            "filters": np.array([[0.2, -0.5], [0.3, 1.0]]),
            "covariance": COVARIANCE,
            "correlation": np.array([0.4, -0.1]),
            "label_power": 1.0,
        },
    ),
    Call(
        first_layer.energies,
        {"filters": np.array([[0.2, -0.5], [0.3, 1.0]]), "basis": np.eye(2)},
        scaling={"filters": 1},
        degree=2,
    ),
    Call(first_layer.expected_moment, MEANS, draw=of_means, **OF_COVARIANCE),
    Call(first_layer.expected_energies, {**MEANS, "basis": np.eye(2)}, draw=of_means, **OF_COVARIANCE),
    Call(
        first_layer.patch_profile,
        {"steps": np.array([3.0, 8.0]), "eigenvalues": np.array([2.0, 0.5]), "learning_rate": 0.3},
        fixed=("steps",),  # as above
        draw=lambda rng: {
            "steps": (10 ** rng.uniform(0, 4, 2)).round(),
            "eigenvalues": 10 ** rng.uniform(-6, 0, 2),
            "learning_rate": rng.uniform(0, 1.9),
        },
        scaling={"eigenvalues": 1, "learning_rate": -1},
        degree=-0.5,
    ),
    Call(
        first_layer.flow_profile,
        {"time": np.array([0.3, 2.0]), "eigenvalues": np.array([2.0, 0.5])},
        scaling={"eigenvalues": 1, "time": -1},
        degree=-0.5,
    ),
    Call(first_layer.peak_eigenvalue, {"time": np.array([0.3, 2.0])}, scaling={"time": 1}, degree=-1),
    Call(
        first_layer.stable_learning_rate,
        {"covariance": COVARIANCE, "num_filters": 3.0},
        directions={"covariance": symmetric},
        draw=lambda rng: {"covariance": positive(rng)},
    ),
    Call(
        first_layer.similarity,
        {"profile": np.array([1.0, 2.0, 4.0]), "other": np.array([3.0, -1.0, 9.0])},
        kinks=("profile repeated", "other repeated"),  # a constant has no direction
        scaling={"profile": 1},
    ),
    Call(
        first_layer.fitted_time,
        {"profile": np.array([1.0, 3.0, 2.0]), "eigenvalues": np.array([4.0, 1.0, 0.1]), "times": np.array([0.01, 1.0, 1e3])},
        differentiable=False,  # one of the times that are given
        draw=lambda rng: {"profile": np.array([1.0, 3.0, 2.0]) + rng.uniform(0, 0.3, 3)},
    ),
]
