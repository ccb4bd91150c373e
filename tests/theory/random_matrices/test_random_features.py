"""Risks of random features against their equations solved by others, the tables of the attention model, and simulation."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import optimize, special

from closedform.theory.kernels import kernel_regression
from closedform.theory.kernels.harmonics import Spectrum
from closedform.theory.random_matrices import random_features
from closedform.theory.random_matrices.random_features import Groups
from zoo.calls import Call
from zoo.checks import rejected

risk, grouped_risk, given_data, learning_curve = map(
    jax.jit,
    (random_features.risk, random_features.grouped_risk, random_features.given_data, kernel_regression.learning_curve),
)


def along(function):
    """Test errors at each of the second argument; scalars as floats, so that one compiled program serves all."""

    def errors(n, sizes, ridge, *rest):
        return np.array([float(function(float(n), float(size), float(ridge), *rest).test) for size in sizes])

    return errors


many_risks, many_grouped = along(risk), along(grouped_risk)

EIGENVALUES = np.array([1.0, 0.1, 3e-3, 2e-5])
MULTIPLICITIES = np.array([2.0, 16.0, 60.0, 2000.0])
POWER = np.array([0.4, 0.3, 0.2, 0.1])


def spectrum(tail=2e-3):
    return Spectrum(EIGENVALUES, MULTIPLICITIES, tail)


# ------------------------------------------------------------------- random-feature attention: d = 8, N = 4, sigma^2 = 0.05

DIM, NUM_KEYS, DEGREES, NOISE = 8, 4, 10, 0.05
NODES, WEIGHTS = special.roots_jacobi(60, (DIM - 3) / 2, (DIM - 3) / 2)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
T, TAU = np.meshgrid(NODES, NODES, indexing="ij")
POLYNOMIALS = np.array(
    [special.eval_gegenbauer(r, (DIM - 2) / 2, NODES) / special.binom(r + DIM - 3, r) for r in range(DEGREES)]
)
COUNTS = np.array([special.comb(DIM + r - 1, r) - (special.comb(DIM + r - 3, r - 2) if r > 1 else 0) for r in range(DEGREES)])
BLOCKS = np.outer(COUNTS, COUNTS)
KEYS = np.where(np.arange(DEGREES) > 0, NUM_KEYS, 1)


def blocks_of(values):
    return (POLYNOMIALS * WEIGHTS) @ values @ (POLYNOMIALS * WEIGHTS).T / KEYS


def arc_cosine(c):
    return (np.sqrt(1 - c**2) + (np.pi - np.arccos(c)) * c) / (2 * np.pi)


def attention_spectrum(augmented, with_tail=False):
    kernel = (
        (lambda t, tau: arc_cosine((1 + t) * (1 + tau) / 4) * (1 + tau))
        if augmented
        else lambda t, tau: arc_cosine(t * tau) * tau
    )
    values = blocks_of(kernel(T, TAU))
    trace = (kernel(1.0, 1.0) + (NUM_KEYS - 1) * WEIGHTS @ kernel(1.0, NODES)) / NUM_KEYS
    return Spectrum(values, BLOCKS, float(trace - np.sum(BLOCKS * values)) if with_tail else 0.0)


def attention_groups(block_size=DIM):
    """Features of a head share b = W_DD, N(0, 1/4): given it, pre-activations have mean b and variance 3/4."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    std, rho = np.sqrt(3) / 2, (T * TAU + T + TAU) / 3
    keys, constant = [], []
    for b in nodes / 2:
        h, slant = b / std, np.sqrt((1 - rho) / (1 + rho))
        both = special.ndtr(h) - 2 * special.owens_t(h, slant)  # both pre-activations are positive
        edge = b * std * np.exp(-(h**2) / 2) / np.sqrt(2 * np.pi) * special.ndtr(h * slant)
        corner = std**2 * np.sqrt(1 - rho**2) * np.exp(-(h**2) / (1 + rho)) / (2 * np.pi)
        moment = (b**2 + rho * std**2) * both + 2 * edge + corner
        keys.append(blocks_of(moment * TAU))
        constant.append(blocks_of(moment))
    weights = weights / weights.sum()
    sizes = np.repeat([1.0 * block_size, 1.0], 9)
    return Groups(np.tile(weights, 2), sizes, np.array(keys + constant))


def target(name):
    power = np.zeros((DEGREES, DEGREES))
    query, both = 1 / DIM**3, (1 - 1 / DIM) / (NUM_KEYS * DIM**2)
    parts = dict(
        T1={(0, 1): 1}, T2={(0, 2): 1}, T3={(1, 1): 1}, T4={(1, 0): query / (query + both), (1, 2): both / (query + both)}
    )
    for block, share in parts[name].items():
        power[block] = share
    return power


# the tables found when the theory was derived; predictions, to the digits given there
KERNEL_RIDGE = {  # augmented, ridge 1e-3, n = 16, 64, 256, 1024
    "T1": (0.507, 0.106, 0.083, 0.083),
    "T2": (1.336, 0.939, 0.218, 0.085),
    "T3": (1.3121, 0.8504, 0.1811, 0.0846),
    "T4": (1.076, 0.932, 0.644, 0.129),
}
HEADS = np.array([6.0, 12, 25, 50, 64, 128, 400])
PLAIN_HEADS = {  # name, n, ridge: at HEADS, and with infinitely many
    ("T1", 200, 1e-3): ((0.429, 0.349, 0.477, 0.169, 0.138, 0.100, 0.082), 0.0756),
    ("T4", 400, 1e-4): ((0.851, 0.818, 0.910, 3.015, 1.105, 0.375, 0.239), 0.1991),
}
AUGMENTED_HEADS = {  # ridge 1e-3: M: (naive rule, grouped)
    ("T3", 400): {
        6: (0.953, 1.014),
        25: (0.716, 0.899),
        50: (0.602, 0.739),
        64: (0.403, 0.519),
        128: (0.202, 0.256),
        400: (0.137, 0.154),
    },
    ("T1", 200): {6: (0.320, 0.371), 25: (0.325, 0.326), 64: (0.121, 0.131), 128: (0.098, 0.103)},
}


def test_kernel_ridge_regression_of_attention():
    augmented, plain = attention_spectrum(True), attention_spectrum(False)
    for name, row in KERNEL_RIDGE.items():
        errors = [learning_curve(n, 1e-3, augmented, target(name), NOISE).test for n in (16.0, 64.0, 256.0, 1024.0)]
        np.testing.assert_allclose(errors, row, atol=6e-5 if name == "T3" else 6e-4)
        tail = [learning_curve(n, 1e-3, attention_spectrum(True, True), target(name), NOISE).test for n in (16.0, 1024.0)]
        np.testing.assert_allclose(tail, errors[::3], atol=6e-4)
    errors = [learning_curve(n, 1e-3, plain, target("T4"), NOISE).test for n in (16.0, 64.0, 256.0, 1024.0)]
    np.testing.assert_allclose(errors, [0.9561, 0.7162, 0.3275, 0.0895], atol=6e-5)
    for name in ("T2", "T3"):  # the parity law: never learned
        np.testing.assert_allclose(
            learning_curve(1e4, 1e-3, plain, target(name), 0.0).learnability[target(name) > 0], 0, atol=1e-9
        )


def assert_plain_heads(risk_fn):
    """Features in blocks of d = 8; 3.04 and 1.94 near the peak also hold the tail, which is no ridge."""
    plain, whole = attention_spectrum(False), attention_spectrum(False, True)
    for (name, n, ridge), (row, _) in PLAIN_HEADS.items():
        np.testing.assert_allclose(risk_fn(n, DIM * HEADS, ridge, plain, target(name), NOISE), row, atol=6e-4)
    heads = DIM * np.array([10.0, 30, 100, 400])
    for name, bare, full in (
        ("T1", (0.2940, 0.4363, 0.1261, 0.0867), (0.2946, 0.4374, 0.1261, 0.0865)),
        ("T4", (0.8962, 1.9361, 0.4848, 0.3125), (0.8968, 1.9409, 0.4860, 0.3132)),
    ):
        np.testing.assert_allclose(risk_fn(300, heads, 1e-4, plain, target(name), NOISE), bare, atol=6e-5)
        np.testing.assert_allclose(risk_fn(300, heads, 1e-4, whole, target(name), NOISE), full, atol=6e-5)
    np.testing.assert_allclose(risk_fn(400, DIM * HEADS[3:4], 1e-4, whole, target("T4"), NOISE), 3.04, atol=6e-3)


def test_heads_without_augmentation():
    assert_plain_heads(many_risks)
    for (name, n, ridge), (_, limit) in PLAIN_HEADS.items():
        np.testing.assert_allclose(
            risk(float(n), np.inf, ridge, attention_spectrum(False), target(name), NOISE).test, limit, atol=6e-5
        )


@pytest.mark.parametrize(
    "wrong",
    [
        # the tail as a ridge, as in kernel regression: 1.88 and 1.78 near the peak
        lambda n, k, ridge, modes, power, noise: many_risks(n, k, ridge + modes.tail, modes._replace(tail=0.0), power, noise),
        lambda n, k, *rest: many_risks(n, k / DIM, *rest),  # a head counted as one feature
        lambda n, k, ridge, *rest: many_risks(n, k, n * ridge, *rest),
        lambda *args: many_risks(*args) - args[-1],
    ],
)
def test_wrong_risks_of_heads_are_rejected(wrong):
    rejected(assert_plain_heads, wrong)


def assert_augmented_heads(risk_fn):
    for (name, n), rows in AUGMENTED_HEADS.items():
        errors = risk_fn(n, np.array(list(rows), float), 1e-3, attention_groups(), BLOCKS, target(name), NOISE)
        np.testing.assert_allclose(errors, [row[1] for row in rows.values()], atol=6e-4)


def naive(n, heads, ridge, groups, blocks, power, noise):
    """M (d + 1) independent features."""
    return many_risks(n, (DIM + 1) * heads, ridge, attention_spectrum(True), power, noise)


def test_heads_with_augmentation():
    assert_augmented_heads(many_grouped)
    groups = attention_groups()
    summed = np.tensordot(groups.weights, groups.eigenvalues, 1)
    np.testing.assert_allclose(summed, attention_spectrum(True).eigenvalues, atol=2e-8)
    for (name, n), rows in AUGMENTED_HEADS.items():
        errors = naive(n, np.array(list(rows), float), 1e-3, groups, BLOCKS, target(name), NOISE)
        np.testing.assert_allclose(errors, [row[0] for row in rows.values()], atol=6e-4)


def changed(**new):
    return lambda n, heads, ridge, groups, *rest: many_grouped(n, heads, ridge, groups._replace(**new), *rest)


@pytest.mark.parametrize(
    "wrong",
    [
        naive,
        changed(block_size=np.ones(18)),
        changed(block_size=np.full(18, 8.0)),
        lambda n, heads, ridge, groups, *rest: many_grouped(n, heads, ridge, merged(groups), *rest),  # b averaged out
    ],
)
def test_wrong_groupings_are_rejected(wrong):
    rejected(assert_augmented_heads, wrong)


def merged(groups):
    """Every value of b with the mean eigenvalues: nine groups that are one."""
    means = [np.tensordot(groups.weights[some], groups.eigenvalues[some], 1) for some in (slice(0, 9), slice(9, 18))]
    return groups._replace(eigenvalues=np.repeat(np.stack(means), 9, axis=0))


# --------------------------------------------------------------------------------------------- the equations themselves

RISKS = [(30.0, 80.0, 1e-3), (80.0, 30.0, 1e-3), (50.0, 50.0, 0.1), (20.0, 1e3, 1e-8), (1e3, 20.0, 1e-8), (300.0, 310.0, 1e-5)]


def exact_risk(n, k, ridge, tail, start):
    """In 40 digits, for both unknowns together, as published (with the tail in z)."""
    m, eigenvalues, v = (list(map(mpmath.mpf, values)) for values in (MULTIPLICITIES, EIGENVALUES, POWER))

    def weighted(weights, function):
        return sum(weight * function(x) for weight, x in zip(weights, eigenvalues, strict=True))

    def z(gamma):
        return weighted(m, lambda x: x / (x + gamma)) + mpmath.mpf(tail) / gamma

    def equations(kappa, gamma):
        return z(gamma) + mpmath.mpf(ridge) / kappa - n, z(gamma) + k * kappa / gamma - k

    kappa, gamma = mpmath.findroot(equations, start)
    assert kappa > 0
    assert z(gamma) < min(n, k)
    q = weighted(m, lambda x: (x / (x + gamma)) ** 2)
    bias = weighted(v, lambda x: gamma / (x + gamma) - kappa * x / (x + gamma) ** 2 * k / (k - q))
    test = (bias + mpmath.mpf(0.1)) / (1 - (q * (k - 2 * z(gamma)) + z(gamma) ** 2) / (n * (k - q)))
    return test, (ridge / (n * kappa)) ** 2 * test, kappa, gamma


def assert_risk(risk_fn):
    for n, k, ridge in RISKS:
        for tail in (0.0, 2e-3):
            result = risk_fn(n, k, ridge, spectrum(tail), POWER, 0.1)
            with mpmath.workdps(40):
                expected = exact_risk(n, k, ridge, tail, [mpmath.mpf(float(x)) for x in result[2:]])
            np.testing.assert_allclose([float(x) for x in result], [float(x) for x in expected], rtol=1e-11)


def test_risk_solves_its_equations():
    assert_risk(risk)
    rejected(assert_risk, lambda *args: risk(*args)._replace(train=risk(*args).test))
    rejected(assert_risk, lambda *args: risk(*args)._replace(test=learning_curve(*args[:1], *args[2:]).test))


GROUPS = Groups(
    np.array([0.4, 0.6, 1.0]),
    np.array([3.0, 3.0, 1.0]),
    np.array([[1.0, 0.1, 1e-3, 0], [0.1, 0.2, 1e-3, 4e-5], [0.5, 0, 0, 1e-6]]),
)


def iterated_scalars(kappa, heads, tails):
    """w by plain iteration, from 1."""
    w = np.ones(3)
    for _ in range(20000):
        ell = kappa + (GROUPS.weights * w) @ GROUPS.eigenvalues
        after = 1 / (1 + (GROUPS.eigenvalues @ (MULTIPLICITIES / ell) + tails / kappa) / (GROUPS.block_size * heads))
        if np.max(np.abs(after / w - 1)) < 1e-15:
            break
        w = after
    return w


def slow_grouped_risk(n, heads, ridge, tails):
    """Bisection in kappa, A' by a difference, and the formulas as they are in the specification."""

    def excess(log_kappa):
        kappa = np.exp(log_kappa)
        share = GROUPS.weights * iterated_scalars(kappa, heads, tails)
        A = share @ GROUPS.eigenvalues
        return MULTIPLICITIES @ (A / (kappa + A)) + (share @ tails + ridge) / kappa - n

    kappa, step = np.exp(optimize.brentq(excess, -16, 5, xtol=1e-13)), 1e-4
    w, above, below = (iterated_scalars(kappa * factor, heads, tails) for factor in (1, 1 + step, 1 - step))
    slope = GROUPS.weights * (above - below) / (2 * step * kappa)
    A, slopes = (GROUPS.weights * w) @ GROUPS.eigenvalues, slope @ GROUPS.eigenvalues
    Q = MULTIPLICITIES @ ((A**2 + kappa**2 * slopes) / (kappa + A) ** 2) + slope @ tails
    test = n / (n - Q) * (POWER @ (kappa**2 * (1 + slopes) / (kappa + A) ** 2) + 0.1)
    return test, (ridge / (n * kappa)) ** 2 * test, kappa, *(kappa / w)


def assert_grouped(risk_fn):
    for n, heads, ridge in ((30.0, 12.0, 1e-3), (60.0, 8.0, 1e-2), (40.0, 200.0, 0.5)):
        for tails in (np.zeros(3), np.array([1e-3, 2e-3, 0.0])):
            result = risk_fn(n, heads, ridge, GROUPS._replace(tails=tails), MULTIPLICITIES, POWER, 0.1)
            np.testing.assert_allclose(np.hstack(result), slow_grouped_risk(n, heads, ridge, tails), rtol=1e-6)


def test_grouped_risk_solves_its_equations():
    assert_grouped(grouped_risk)
    rejected(
        assert_grouped, lambda n, heads, ridge, groups, *rest: grouped_risk(n, heads, ridge, groups._replace(tails=0.0), *rest)
    )
    rejected(assert_grouped, lambda n, heads, ridge, *rest: grouped_risk(n, heads + 1, ridge, *rest))


def one_group(modes, size):
    return Groups(np.ones(1), np.full(1, 1.0 * size), modes.eigenvalues[None], np.full(1, modes.tail))


def test_one_group_is_independent_features():
    plain = attention_spectrum(False)
    grouped = grouped_risk(300.0, 100.0, 1e-4, one_group(plain, DIM), BLOCKS, target("T1"), NOISE)
    np.testing.assert_allclose(grouped.test, 0.126147, atol=6e-7)
    # the last: kappa is 1e-20 gamma
    for n, k, ridge in [*RISKS, (30.0, 80.0, 0.0), (80.0, 30.0, 0.0), (1e4, 0.7, 1e-18)]:
        for tail in (0.0, 2e-3):
            alone = risk(n, k, ridge, spectrum(tail), POWER, 0.1)
            grouped = grouped_risk(n, k / 4, ridge, one_group(spectrum(tail), 4), MULTIPLICITIES, POWER, 0.1)
            for field, value in zip(alone, grouped, strict=True):
                np.testing.assert_allclose(np.squeeze(value), field, rtol=1e-11, atol=1e-25)


def test_infinitely_many_features_are_kernel_regression():
    for n, ridge in ((20.0, 1e-3), (300.0, 0.1), (50.0, 0.0)):
        curve = learning_curve(n, ridge, spectrum(), POWER, 0.1)
        exact = risk(n, np.inf, ridge, spectrum(), POWER, 0.1)
        np.testing.assert_allclose(
            [exact.test, exact.train, exact.kappa, exact.gamma], [*curve[:3], curve.kappa], rtol=1e-12, atol=1e-25
        )
        grouped = grouped_risk(n, np.inf, ridge, one_group(spectrum(), 4), MULTIPLICITIES, POWER, 0.1)
        np.testing.assert_allclose(grouped.test, curve.test, rtol=1e-10)
        errors = [float(risk(n, k, ridge, spectrum(), POWER, 0.1).test / curve.test - 1) for k in (1e6, 1e7)]
        np.testing.assert_allclose(errors[0] / errors[1], 10, rtol=1e-3)  # the correction is of order 1/k


def test_limits_of_ridge_and_samples():
    for n, k in ((30.0, 80.0), (80.0, 30.0)):
        zero, near = (risk(n, k, ridge, spectrum(), POWER, 0.1) for ridge in (0.0, 1e-12))
        np.testing.assert_allclose(near.test, zero.test, rtol=1e-6)
        np.testing.assert_allclose(near.train, zero.train, rtol=1e-6, atol=1e-18)
        strong = risk(n, k, 1e12, spectrum(), POWER, 0.1)
        np.testing.assert_allclose([strong.test, strong.train], 1.1, rtol=1e-6)
        few, none = (risk(size, k, 0.1, spectrum(), POWER, 0.1) for size in (1e-9, 0.0))
        np.testing.assert_allclose(none.test, 1.1, rtol=1e-14)
        np.testing.assert_allclose(few[:2], none[:2], rtol=1e-7)
        grouped = grouped_risk(0.0, k / 4, 0.1, one_group(spectrum(), 4), MULTIPLICITIES, POWER, 0.1)
        np.testing.assert_allclose(grouped[:2], none[:2], rtol=1e-12)
    # ridge 0, many equal modes, nothing learned: least squares on k features, or the shortest interpolation
    flat = Spectrum(np.ones(1), np.full(1, 1e9), 0.0)
    for n, k, expected in ((100.0, 50.0, 2.0), (50.0, 200.0, 4 / 3)):
        np.testing.assert_allclose(risk(n, k, 0.0, flat, np.zeros(1), 1.0).test, expected, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------- simulation


def test_ridge_regression_on_random_features_of_gaussian_modes():
    """200 draws of data and features; corrections of relative order 1/n, twice that allowed for the spread of two draws."""
    counts, draws, noise, rng = np.array([5, 20, 100]), 200, 0.1, np.random.default_rng(0)
    eigenvalues, power = np.array([1.0, 0.2, 0.02]), np.array([0.5, 0.3, 0.2])
    scales, total = np.sqrt(np.repeat(eigenvalues, counts)), counts.sum()
    for n, k, ridge in ((60, 40, 0.05), (50, 90, 0.02)):
        x = rng.normal(size=(draws, n, total))
        truth = rng.normal(size=(draws, total)) * np.sqrt(np.repeat(power / counts, counts))
        y = np.einsum("rij,rj->ri", x, truth) + np.sqrt(noise) * rng.normal(size=(draws, n))
        heads = scales[:, None] * rng.normal(size=(draws, total, k)) / np.sqrt(k)
        features = x @ heads
        dual = np.linalg.solve(features @ features.transpose(0, 2, 1) + ridge * np.eye(n), y[..., None])
        learned = (heads @ (features.transpose(0, 2, 1) @ dual))[..., 0]
        test = np.sum((learned - truth) ** 2, axis=1) + noise
        train = np.mean((ridge * dual[..., 0]) ** 2, axis=1)
        result = risk(n, k, ridge, Spectrum(eigenvalues, 1.0 * counts, 0.0), power, noise)
        for simulated, predicted in ((test, float(result.test)), (train, float(result.train))):
            assert abs(simulated.mean() - predicted) <= 4 * simulated.std() / draws**0.5 + 4 / n * predicted


def test_ridge_regression_on_groups_of_features():
    """Heads of three features of covariance L_1/3, for 0.4 of the heads, or L_2/3, and one of L_3 in every head."""
    counts, draws, noise, rng = np.array([3, 10, 40, 60]), 200, 0.1, np.random.default_rng(1)
    L = np.array([[1.0, 0.1, 1e-3, 0.0], [0.1, 0.2, 1e-3, 1e-2], [0.3, 0.0, 0.05, 1e-3]])
    n, heads, ridge = 60, 20, 0.02
    x = rng.normal(size=(draws, n, counts.sum()))
    truth = rng.normal(size=(draws, counts.sum())) * np.sqrt(np.repeat(POWER / counts, counts))
    y = np.einsum("rij,rj->ri", x, truth) + np.sqrt(noise) * rng.normal(size=(draws, n))
    columns = np.concatenate([np.repeat(L[:1] / 3, 24, 0), np.repeat(L[1:2] / 3, 36, 0), np.repeat(L[2:], heads, 0)]) / heads
    weights = np.sqrt(np.repeat(columns, counts, axis=1).T) * rng.normal(size=(draws, counts.sum(), len(columns)))
    features = x @ weights
    dual = np.linalg.solve(features @ features.transpose(0, 2, 1) + ridge * np.eye(n), y[..., None])
    learned = (weights @ (features.transpose(0, 2, 1) @ dual))[..., 0]
    test, train = np.sum((learned - truth) ** 2, axis=1) + noise, np.mean((ridge * dual[..., 0]) ** 2, axis=1)
    groups = Groups(np.array([0.4, 0.6, 1.0]), np.array([3.0, 3.0, 1.0]), L)

    def assert_simulated(groups):
        result = grouped_risk(float(n), float(heads), ridge, groups, 1.0 * counts, POWER, noise)
        for simulated, predicted in ((test, float(result.test)), (train, float(result.train))):
            assert abs(simulated.mean() - predicted) <= 4 * simulated.std() / draws**0.5 + 4 / n * predicted

    assert_simulated(groups)
    rejected(assert_simulated, groups._replace(block_size=np.ones(3)))
    rejected(assert_simulated, groups._replace(weights=np.array([0.6, 0.4, 1.0])))


# -------------------------------------------------------------------------------------------------------- on given data


def gaussian_data(size):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(size + 6, 3))
    kernel = np.exp(-np.sum((x[:, None] - x) ** 2, axis=2) / 4)
    y = np.stack([np.sin(x[:size, 0]), x[:size, 1] * x[:size, 2]], axis=1)
    return kernel, y


def simulated_predictions(kernel, y, ridge, k, draws):
    rng, n = np.random.default_rng(4), len(y)
    root = np.linalg.cholesky(kernel + 1e-12 * np.eye(len(kernel)))
    features = root @ rng.normal(size=(draws, len(kernel), k)) / np.sqrt(k)
    train, test = features[:, :n], features[:, n:]
    dual = np.linalg.solve(train @ train.transpose(0, 2, 1) + ridge * np.eye(n), np.broadcast_to(y, (draws, *y.shape)))
    return test @ (train.transpose(0, 2, 1) @ dual), np.mean((ridge * dual) ** 2, axis=1)


def assert_given_data(given_data_fn):
    """Corrections are of order 1/k: for the mean 1/k of its spread, for variance and training error 3/k (2/k was measured)."""
    n, draws = 40, 1200
    kernel, y = gaussian_data(n)
    for k, ridge in ((20, 0.3), (40, 0.05), (160, 0.05)):
        predictions, train = simulated_predictions(kernel, y, ridge, k, draws)
        result = given_data_fn(kernel[:n, :n], kernel[n:, :n], np.diag(kernel)[n:], y, ridge, float(k))
        spread = predictions.std(axis=0)
        assert np.max(np.abs(predictions.mean(axis=0) - result.mean) / spread) < 4.5 / draws**0.5 + 1 / k
        squares = (predictions - predictions.mean(axis=0)) ** 2 / np.asarray(result.variance)
        square = squares.mean(axis=1)  # over test points, a draw
        assert np.all(np.abs(square.mean(axis=0) - 1) < 4 * square.std(axis=0) / draws**0.5 + 3 / k)
        relative = train / np.asarray(result.train)
        assert np.all(np.abs(relative.mean(axis=0) - 1) < 4 * relative.std(axis=0) / draws**0.5 + 3 / k)


def with_ridge_for_gamma(gram, cross, diagonal, y, ridge, k):
    result = given_data(gram, cross, diagonal, y, ridge, k)
    inverse = np.linalg.inv(gram + ridge * np.eye(len(gram)))
    return result._replace(mean=cross @ inverse @ y)


def without_slope(gram, cross, diagonal, y, ridge, k):
    result = given_data(gram, cross, diagonal, y, ridge, k)
    shares = np.linalg.eigvalsh(gram) / (np.linalg.eigvalsh(gram) + float(result.gamma))
    return result._replace(variance=result.variance * (1 - np.sum(shares**2) / k))


def half_conditioned(gram, cross, diagonal, y, ridge, k):
    """K_xx - K_x G K_x' as in Gaussian processes, where the learned part does not spread."""
    result = given_data(gram, cross, diagonal, y, ridge, k)
    once = cross @ np.linalg.inv(gram + float(result.gamma) * np.eye(len(gram)))
    single, double = np.sum(once * cross, axis=1), np.sum((once @ gram) * once, axis=1)
    return result._replace(variance=result.variance * ((diagonal - single) / (diagonal - 2 * single + double))[:, None])


def test_given_data():
    assert_given_data(given_data)


@pytest.mark.parametrize(
    "wrong",
    [
        with_ridge_for_gamma,
        without_slope,
        lambda *args: given_data(*args)._replace(variance=given_data(*args).variance * args[-1]),
        half_conditioned,
        lambda gram, cross, diagonal, y, ridge, k: given_data(gram, cross, diagonal, y, ridge / k, k),
        # the bias of the mean predictor alone
        lambda *args: given_data(*args)._replace(
            train=np.mean((args[3] - given_data(args[0], args[0], np.diag(args[0]), *args[3:]).mean) ** 2, 0)
        ),
    ],
)
def test_wrong_predictions_on_given_data_are_rejected(wrong):
    rejected(assert_given_data, wrong)


def test_given_data_has_the_limits_and_shapes_of_kernel_regression():
    kernel, y = gaussian_data(20)
    gram, cross, diagonal = kernel[:20, :20], kernel[20:, :20], np.diag(kernel)[20:]
    result = given_data(gram, cross, diagonal, y, 0.1, np.inf)
    np.testing.assert_allclose(result.mean, cross @ np.linalg.solve(gram + 0.1 * np.eye(20), y), rtol=1e-10)
    np.testing.assert_array_equal(result.variance, 0)
    np.testing.assert_allclose(
        result.train, np.mean((0.1 * np.linalg.solve(gram + 0.1 * np.eye(20), y)) ** 2, axis=0), rtol=1e-10
    )
    near = given_data(gram, cross, diagonal, y, 0.1, 1e9)
    np.testing.assert_allclose(near.mean, result.mean, rtol=1e-6)
    one = random_features.given_data(gram, cross, diagonal, y[:, 0], 0.1, np.inf)
    assert one.mean.shape == one.variance.shape == (6,)
    assert one.train.shape == ()
    np.testing.assert_allclose(one.mean, result.mean[:, 0], rtol=1e-12)


def test_effective_ridge_of_given_data():
    kernel, y = gaussian_data(30)
    gram = kernel[:30, :30]
    values = np.linalg.eigvalsh(gram)
    modes = random_features.gram_modes(gram, kernel[30:, :30], np.diag(kernel)[30:], y)
    grid = jnp.array([[0.3, 12.0], [1e-3, 30.0], [1e-3, 100.0], [0.0, 12.0]])
    gammas = jax.jit(jax.vmap(lambda pair: random_features.given_modes(modes, pair[0], pair[1])))(grid).gamma
    for gamma, (ridge, k) in zip(gammas, grid, strict=True):
        np.testing.assert_allclose(gamma * (1 - np.sum(values / (values + gamma)) / k), ridge, rtol=1e-9, atol=1e-12)


# ----------------------------------------------------------------------------------------------------------- contracts


def assert_slopes(function, arguments, step=1e-5, rtol=1e-5):
    """`function` gives the value and the gradient in every argument."""
    _, slopes = function(*arguments)
    for position, derivative in enumerate(slopes):
        for index in np.ndindex(np.shape(derivative)):
            here = float(np.asarray(arguments[position])[index])
            if here == 0:
                continue
            ends = []
            for sign in (1, -1):
                moved = np.array(arguments[position], float)
                moved[index] = here * (1 + sign * step)
                ends.append(float(function(*[moved if i == position else one for i, one in enumerate(arguments)])[0]))
            np.testing.assert_allclose(derivative[index] * here, (ends[0] - ends[1]) / (2 * step), rtol=rtol, atol=1e-8)


def test_derivatives_are_those_of_finite_differences():
    def alone(n, k, ridge, noise, eigenvalues):
        result = random_features.risk(n, k, ridge, Spectrum(eigenvalues, MULTIPLICITIES, 2e-3), POWER, noise)
        return result.test + result.train

    def grouped(n, heads, ridge, noise, eigenvalues):
        groups = GROUPS._replace(eigenvalues=eigenvalues, tails=1e-3)
        result = random_features.grouped_risk(n, heads, ridge, groups, MULTIPLICITIES, POWER, noise)
        return result.test + result.train

    kernel, y = gaussian_data(12)
    modes = random_features.gram_modes(kernel[:12, :12], kernel[12:, :12], np.diag(kernel)[12:], y)

    def given(ridge, k):
        result = random_features.given_modes(modes, ridge, k)
        return jnp.sum(result.mean**2) + jnp.sum(result.variance) + jnp.sum(result.train)

    alone, grouped = (jax.jit(jax.value_and_grad(one, argnums=(0, 1, 2, 3, 4))) for one in (alone, grouped))
    numbers = [np.array(value) for value in (50.0, 70.0, 0.02, 0.1)]  # arrays: one program for all
    assert_slopes(alone, [*numbers, EIGENVALUES])
    assert_slopes(grouped, [numbers[0], np.array(9.0), *numbers[2:], GROUPS.eigenvalues])
    assert_slopes(jax.jit(jax.value_and_grad(given, argnums=(0, 1))), [np.array(0.05), np.array(15.0)])
    for n, size in ((50.0, 9.0), (20.0, 14.0)):  # interpolation by samples or by features
        for function, eigenvalues in ((alone, EIGENVALUES), (grouped, GROUPS.eigenvalues)):
            at = [function(*map(np.array, (n, size, ridge, 0.1)), eigenvalues)[1][:3] for ridge in (0.0, 1e-8)]
            np.testing.assert_allclose(*at, rtol=1e-3)


def test_vmap_equals_a_loop():
    n, k, ridge = jnp.array([10.0, 50.0, 200.0]), jnp.array([100.0, 51.0, 30.0]), jnp.array([0.1, 1e-4, 0.0])
    batched = jax.jit(jax.vmap(random_features.risk, (0, 0, 0, None, None)))(n, k, ridge, spectrum(), POWER)
    grouped = jax.jit(jax.vmap(random_features.grouped_risk, (0, 0, 0, None, None, None)))(
        n, k, ridge, GROUPS, MULTIPLICITIES, POWER
    )
    for i in range(3):
        for field, one in zip(batched, risk(n[i], k[i], ridge[i], spectrum(), POWER), strict=True):
            np.testing.assert_allclose(field[i], one, rtol=1e-11, atol=1e-25)
        for field, one in zip(grouped, grouped_risk(n[i], k[i], ridge[i], GROUPS, MULTIPLICITIES, POWER), strict=True):
            np.testing.assert_allclose(field[i], one, rtol=1e-11, atol=1e-25)


def test_dtype_follows_the_input():
    single = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)  # noqa: E731
    kernel, y = single(gaussian_data(12))
    numbers = [jnp.float32(value) for value in (10, 20, 0.1)]
    result = risk(*numbers, single(spectrum()), single(POWER), 0.1)
    grouped = jax.eval_shape(random_features.grouped_risk, *numbers, single(GROUPS), single(MULTIPLICITIES), single(POWER))
    given = jax.eval_shape(given_data, kernel[:12, :12], kernel[12:, :12], jnp.diag(kernel)[12:], y, 0.1, 20)
    assert {leaf.dtype for leaf in jax.tree.leaves((result, grouped, given))} == {jnp.dtype("float32")}
    np.testing.assert_allclose(result.test, risk(10.0, 20.0, 0.1, spectrum(), POWER, 0.1).test, rtol=1e-4)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"num_features must be above 0, got -2\.0"):
        random_features.risk(10.0, -2.0, 0.1, spectrum(), POWER)
    with pytest.raises(ValueError, match=r"num_features must be a single number, got shape \(2,\)"):
        random_features.risk(10.0, np.array([1.0, 2.0]), 0.1, spectrum(), POWER)
    with pytest.raises(ValueError, match="power must have the shape"):
        random_features.risk(10.0, 2.0, 0.1, spectrum(), POWER[:2])
    with pytest.raises(ValueError, match=r"groups\.block_size must have the shape \(group,\)|groups\.eigenvalues must"):
        random_features.grouped_risk(9.0, 2.0, 0.1, GROUPS._replace(block_size=np.ones(2)), MULTIPLICITIES, POWER)
    with pytest.raises(ValueError, match=r"multiplicities must have the shape"):
        random_features.grouped_risk(9.0, 2.0, 0.1, GROUPS, MULTIPLICITIES[:2], POWER[:2])
    with pytest.raises(ValueError, match=r"groups\.eigenvalues must be at least 0"):
        random_features.grouped_risk(9.0, 2.0, 0.1, GROUPS._replace(eigenvalues=-GROUPS.eigenvalues), MULTIPLICITIES, POWER)
    kernel = np.array([[1.0, 2.0], [2.0, 1.0]])
    for wrong, message in (
        (kernel, "gram must not be negative, got the eigenvalue -1"),
        (np.triu(kernel), "gram must be symm"),
    ):
        with pytest.raises(ValueError, match=message):
            random_features.given_data(wrong, kernel[:1], kernel[0, :1], np.ones(2), 0.1, 3.0)


# ------------------------------------------------------------------------------------- groups of features on given data


def test_grouped_given_data_against_gaussian_features():
    rng = np.random.default_rng(5)
    n, tests, heads, draws, ridge = 60, 5, 40, 1000, 0.1
    sizes = np.array([3, 1])

    def covariance(strong):
        x = rng.standard_normal((n + tests, 90))
        x[:, :3] *= strong
        return x @ x.T / 90

    kernels = [covariance(1.0), covariance(10.0)]  # the group with few features carries what matters
    y = rng.standard_normal((n, 2))
    grams, crosses = (jnp.asarray([k[rows, :n] for k in kernels]) for rows in (slice(n), slice(n, None)))
    diagonals = jnp.asarray([np.diag(k)[n:] for k in kernels])
    grouped = jax.jit(random_features.grouped_given_data)
    law = grouped(grams, crosses, diagonals, jnp.asarray(y), ridge, heads, sizes)
    roots = [np.linalg.cholesky(k + 1e-12 * np.eye(n + tests)) for k in kernels]
    outputs, train = [], []
    for _ in range(draws):
        phi = np.hstack(
            [
                root @ rng.standard_normal((n + tests, heads * size)) / np.sqrt(heads * size)
                for root, size in zip(roots, sizes, strict=True)
            ]
        )
        residual = ridge * np.linalg.solve(phi[:n] @ phi[:n].T + ridge * np.eye(n), y)
        outputs.append(phi[n:] @ phi[:n].T @ residual / ridge)
        train.append(np.mean(residual**2, axis=0))
    outputs = np.array(outputs)
    spread = outputs.std(axis=0)
    # corrections of relative order 1/k, k = 160 features
    assert np.all(np.abs(outputs.mean(axis=0) - law.mean) < 4.5 * spread / draws**0.5 + 0.02 * np.abs(law.mean).max())
    np.testing.assert_allclose(outputs.var(axis=0), law.variance, rtol=4.5 * (2 / draws) ** 0.5 + 0.03)
    np.testing.assert_allclose(np.mean(train, axis=0), law.train, rtol=0.05)
    # as if all were one group of four features a head: rejected
    alone = grouped(
        grams.sum(0)[None], crosses.sum(0)[None], diagonals.sum(0)[None], jnp.asarray(y), ridge, heads, np.array([4])
    )
    assert np.abs(alone.variance / outputs.var(axis=0) - 1).max() > 4.5 * (2 / draws) ** 0.5 + 0.03


def test_one_group_is_given_data_and_many_heads_are_the_kernel():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((25, 40))
    gram, y = jnp.asarray(x @ x.T / 40), jnp.asarray(rng.standard_normal(20))
    split = gram[:20, :20], gram[20:, :20], jnp.diag(gram)[20:]
    grouped = jax.jit(random_features.grouped_given_data)
    one = grouped(*(part[None] for part in split), y, 0.1, 6, np.array([5]))
    alone = random_features.given_data(*split, y, 0.1, 30)
    for a, b in zip(one, alone, strict=True):
        np.testing.assert_allclose(jnp.squeeze(a), jnp.squeeze(b), rtol=1e-8)
    many = grouped(*(jnp.stack([part, part]) / 2 for part in split), y, 0.1, jnp.inf, np.array([5, 1]))
    np.testing.assert_allclose(many.mean, split[1] @ jnp.linalg.solve(split[0] + 0.1 * jnp.eye(20), y), rtol=1e-9)
    assert float(jnp.abs(many.variance).max()) < 1e-12


# ---------------------------------------------------------------------------------------------------- ends of the ranges

ONE = Groups(np.ones(1), np.full(1, 2.0), np.ones((1, 1)))
grouped_given_data = jax.jit(random_features.grouped_given_data)


def test_few_modes_without_ridge():
    """Issue 16.13. Fifty equal modes: least squares on those that samples and features leave, and infinite at the peaks."""
    modes, one = Spectrum(np.ones(1), np.full(1, 50.0), 0.0), np.ones(1)
    near = {
        "100, 70": 0.25 * 100 / 50,
        "100, 30": (0.25 + 0.4) * 100 / 70,
        "50, 60": np.inf,
        "20, 20": np.inf,
        "50, 50": np.inf,
    }
    for label, expected in near.items():
        n, k = map(float, label.split(", "))
        alone = risk(n, k, 0.0, modes, one, 0.25)
        grouped = grouped_risk(n, k / 2, 0.0, ONE, np.full(1, 50.0), one, 0.25)
        train = 0 if n <= min(k, 50) else expected * (1 - min(k, 50) / n) ** 2
        for result in (alone, grouped):
            np.testing.assert_allclose(result[:2], [expected, train], rtol=1e-9, atol=1e-30)
    # without noise, as many samples as features and modes: p sum(v/lambda)/(3 sum m/lambda)
    np.testing.assert_allclose(risk(50.0, 50.0, 0.0, modes, one).test, 1 / 3, rtol=1e-9)
    np.testing.assert_allclose(grouped_risk(50.0, 25.0, 0.0, ONE, np.full(1, 50.0), one).test, 1 / 3, rtol=1e-5)
    exact = [float(risk(50.0, 50.0, ridge, modes, one).test) for ridge in (1e-15, 1e-18)]
    np.testing.assert_allclose(exact, 1 / 3, rtol=1e-4)


def test_ends_of_all_ranges():
    """Infinitely many samples of k features: least squares of the target on k features; an infinite ridge learns nothing."""
    for n, k, ridge in ((0.0, 30.0, np.inf), (10.0, 20.0, np.inf), (np.inf, np.inf, np.inf)):
        alone = risk(n, k, ridge, spectrum(), POWER, 0.1)
        grouped = grouped_risk(n, k / 4, ridge, one_group(spectrum(), 4), MULTIPLICITIES, POWER, 0.1)
        for result in (alone, grouped):
            np.testing.assert_allclose(np.hstack(result), [1.1, 1.1, np.inf, np.inf], rtol=1e-12)
    for k in (30.0, np.inf):
        alone, near = (risk(n, k, 1e-3, spectrum(), POWER, 0.1) for n in (np.inf, 1e25))
        grouped = grouped_risk(np.inf, k / 4, 1e-3, one_group(spectrum(), 4), MULTIPLICITIES, POWER, 0.1)
        for result in (near, grouped):
            np.testing.assert_allclose(np.hstack(result), np.hstack(alone), rtol=1e-10, atol=1e-20)
    slope = jax.jit(jax.grad(lambda n: random_features.risk(n, 30.0, 0.1, spectrum(), POWER, 0.1).test))(0.0)
    trace = MULTIPLICITIES @ EIGENVALUES + 2e-3
    # test = (V + s2) (1 + n c) - 2 n sum v lambda/T, c as for k = inf plus (T/k)/T.. : by differences of the exact equations
    ends = [float(risk(n, 30.0, 0.1, spectrum(), POWER, 0.1).test) for n in (1e-4, 2e-4)]
    np.testing.assert_allclose(slope, (4 * ends[0] - ends[1] - 3 * 1.1) / 2e-4, rtol=1e-4)
    assert trace > 0


def test_smallest_examples_on_given_data():
    """Issue 16.13: one sample, kernel 1, or two independent ones; ridge 0."""
    one, eye = np.ones((1, 1)), np.eye(2)
    for k, mean, variance, train in ((5.0, 1.0, 0.0, 0.0), (np.inf, 1.0, 0.0, 0.0)):
        alone = given_data(one, one, np.ones(1), np.ones(1), 0.0, k)
        grouped = grouped_given_data(one[None], one[None], np.ones((1, 1)), np.ones(1), 0.0, k, np.ones(1))
        for result in (alone, grouped):
            np.testing.assert_allclose([result.mean[0], result.variance[0], result.train], [mean, variance, train], atol=1e-12)
    # a test point of covariance 1/2 with the first of two samples: |G y|^2 (1 - 1/4)/(k - 2)
    half = np.array([[0.5, 0.0]])
    for k, variance in ((2.0, np.inf), (5.0, 2 * 0.75 / 3), (np.inf, 0.0)):
        alone = given_data(eye, half, np.ones(1), np.ones(2), 0.0, k)
        grouped = grouped_given_data(eye[None], half[None], np.ones((1, 1)), np.ones(2), 0.0, k, np.ones(1))
        for result in (alone, grouped):
            np.testing.assert_allclose([result.mean[0], result.variance[0], result.train], [0.5, variance, 0], atol=1e-12)
    for result in (
        given_data(eye, half, np.ones(1), np.ones(2), np.inf, 3.0),
        grouped_given_data(eye[None], half[None], np.ones((1, 1)), np.ones(2), np.inf, 3.0, np.ones(1)),
    ):
        np.testing.assert_allclose([result.mean[0], result.variance[0], result.train], [0, 0, 1], atol=1e-12)


def test_samples_that_repeat():
    """Issue 16.3: rank 1, five samples. The fit is their mean, at ridge 0 and at small ridges: y.1/(5 + ridge)."""
    ones, y = np.ones((5, 5)), np.arange(5.0)
    for dtype, rtol in ((jnp.float64, 1e-12), (jnp.float32, 1e-5)):
        data = [jnp.asarray(part, dtype) for part in (ones, ones[:1], ones[0, :1], y)]
        for ridge in (0.0, 1e-18, 1e-3):
            for k in (3.0, np.inf):
                result = given_data(*data, ridge, k)
                grouped = grouped_given_data(*(part[None] for part in data[:3]), y.astype(dtype), ridge, k, np.ones(1, dtype))
                gamma = ridge if k == np.inf else exact_gamma_of_ones(ridge, k)
                for one in (result, grouped):
                    np.testing.assert_allclose(one.mean[0], 10 / (5 + gamma), rtol=rtol)
                    np.testing.assert_allclose(one.train, np.mean((y - 10 / (5 + gamma)) ** 2), rtol=1e-3 if k == 3 else rtol)


def exact_gamma_of_ones(ridge, k):
    """ridge = gamma (1 - 5/(5 + gamma)/k)."""
    return optimize.brentq(lambda gamma: gamma * (1 - 5 / (5 + gamma) / k) - ridge, 0, 10 * ridge + 1e-30, xtol=1e-30)


def test_slopes_in_a_kernel_with_repeated_eigenvalues():
    """Issue 16.12. Of the mean: -K_x G (dK + d gamma) G y, by hand; of all results by differences."""
    rng = np.random.default_rng(0)
    change, cross, y = rng.standard_normal((3, 3)), rng.standard_normal((2, 3)) / 3, rng.standard_normal(3)
    change = change + change.T
    for base in (np.eye(3), np.diag([1.0, 1.0, 2.0])):

        def results(h, base=base):
            kernel = base + h * change
            return random_features.given_data(kernel, cross, np.ones(2), y, 0.3, 7.0)

        slopes = jax.jit(jax.jacrev(results))(0.0)
        ahead, behind = jax.jit(results)(1e-5), jax.jit(results)(-1e-5)
        for slope, a, b in zip(slopes, ahead, behind, strict=True):
            np.testing.assert_allclose(slope, (a - b) / 2e-5, rtol=1e-7, atol=1e-8)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

SMALL = Spectrum(np.array([1.0, 0.1, 3e-3]), np.array([2.0, 16.0, 60.0]), 2e-3)
PEAK = {"ridge": 0.0, "spectrum.tail": 0.0}
FEATURES = np.random.default_rng(3).standard_normal((6, 9)) / 3
KERNEL = FEATURES @ FEATURES.T
GIVEN = {
    "gram": KERNEL[:4, :4],
    "cross": KERNEL[4:, :4],
    "diagonal": np.diag(KERNEL)[4:],
    "y": np.array([1.0, -0.5, 2.0, 0.3]),
}


def symmetric(x, rng):
    change = rng.standard_normal(x.shape)
    return (change + np.swapaxes(change, -1, -2)) * np.max(np.abs(x)) * 0.1


def drawn_data(rng):
    """Kernels of features, from one dimension (rank 1) to many."""
    features = rng.standard_normal((6, 8)) * 10.0 ** rng.uniform(-1, 1, (1, 8))
    kernel = features @ features.T
    return {"gram": kernel[:4, :4], "cross": kernel[4:, :4], "diagonal": np.diag(kernel)[4:], "y": rng.standard_normal(4)}


def drawn_given(rng):
    return drawn_data(rng) | {"ridge": 10 ** rng.uniform(-3, 3), "num_features": rng.uniform(0.5, 20)}


def drawn_modes(rng):
    data = drawn_data(rng)
    values, vectors = np.linalg.eigh(data["gram"])
    return {
        "modes.gram": np.diag(values),
        "modes.cross": data["cross"] @ vectors,
        "modes.diagonal": data["diagonal"],
        "modes.y": vectors.T @ data["y"],
        "ridge": 10 ** rng.uniform(-3, 3),
        "num_features": rng.uniform(0.5, 20),
    }


def drawn_groups(rng):
    parts = [drawn_data(rng) for _ in range(2)]
    return {
        "grams": np.stack([part["gram"] for part in parts]),
        "crosses": np.stack([part["cross"] for part in parts]),
        "diagonals": np.stack([part["diagonal"] for part in parts]),
        "y": parts[0]["y"],
        "ridge": 10 ** rng.uniform(-2, 2),
        "num_heads": rng.uniform(0.5, 20),
    }


def drawn_risk(rng):
    return {
        "num_samples": 10 ** rng.uniform(-3, 6),
        "num_features": 10 ** rng.uniform(-1, 6),
        "ridge": 10 ** rng.uniform(-10, 3),
        "spectrum.eigenvalues": 10 ** rng.uniform(-9, 2, 3),
        "spectrum.multiplicities": (10 ** rng.uniform(0, 8, 3)).round(),
        "spectrum.tail": 10 ** rng.uniform(-9, 1),
        "power": 10 ** rng.uniform(-3, 1, 3),
    }


TURNED = np.linalg.eigh(KERNEL[:4, :4])
DIAGONAL = random_features.GramModes(
    np.diag(TURNED[0]), GIVEN["cross"] @ TURNED[1], GIVEN["diagonal"], TURNED[1].T @ GIVEN["y"]
)
DUPLICATE = {"gram": np.ones((4, 4)), "cross": np.ones((2, 4)), "diagonal": np.ones(2)}
REPEATED = {"gram": np.eye(4), "cross": np.eye(2, 4) / 2, "diagonal": np.ones(2)}
CALLS = [
    Call(
        random_features.risk,
        {
            "num_samples": 30.0,
            "num_features": 40.0,
            "ridge": 0.1,
            "spectrum": SMALL,
            "power": np.array([0.5, 0.3, 0.2]),
            "noise": 0.1,
        },
        cases=[
            PEAK | {"num_samples": 78.0},
            PEAK | {"num_samples": 40.0},
            PEAK | {"num_samples": 100.0, "num_features": 90.0},
            PEAK | {"num_samples": 100.0},
            {"num_samples": np.inf, "num_features": np.inf},
            {"num_samples": np.inf, "ridge": np.inf},
            {"num_samples": 0.0, "ridge": 0.0},
            PEAK | {"num_samples": 78.0, "num_features": 78.0},
        ],
        scaling={"spectrum.eigenvalues": 1, "spectrum.tail": 1, "ridge": 1},
        degree=(0, 0, 1, 1),
        kinks=("case 2", "case 7"),  # fewer modes than samples and features: the limit depends on ridge/tail as both go to 0
        draw=drawn_risk,
    ),
    Call(
        random_features.grouped_risk,
        {
            "num_samples": 30.0,
            "num_heads": 12.0,
            "ridge": 0.1,
            "groups": GROUPS._replace(tails=np.array([1e-3, 2e-3, 0.0])),
            "multiplicities": MULTIPLICITIES,
            "power": POWER,
            "noise": 0.1,
        },
        cases=[{"num_samples": np.inf, "num_heads": np.inf}, {"num_samples": 0.0, "ridge": 0.0}],
        scaling={"groups.eigenvalues": 1, "groups.tails": 1, "ridge": 1},
        degree=(0, 0, 1, 1),
    ),
    Call(
        random_features.given_data,
        {**GIVEN, "ridge": 0.1, "num_features": 7.0},
        cases=[DUPLICATE, REPEATED, DUPLICATE | {"ridge": 0.0}, REPEATED | {"ridge": 0.0, "num_features": 9.0}],
        edges={"gram": [], "cross": []},
        directions={"gram": symmetric},
        fixed=("cross", "diagonal"),  # they hang together with gram: only nearby kernels are legal, see drawn_data
        kinks=("case 0", "case 2"),  # a kernel of rank 1: its neighbours are not positive
        scaling={"gram": 1, "cross": 1, "diagonal": 1, "ridge": 1},
        degree=(0, 0, 0, 1),
        draw=drawn_given,
    ),
    Call(
        random_features.gram_modes,
        GIVEN,
        directions={"gram": symmetric},
        draw=drawn_data,
        differentiable=False,  # of the eigenvectors there is no derivative; given_data has them
        single=lambda arguments: False,  # signs of eigenvectors
    ),
    Call(
        random_features.given_modes,
        {"modes": DIAGONAL, "ridge": 0.1, "num_features": 7.0},
        directions={"modes.gram": lambda x, rng: np.diag(rng.uniform(-0.1, 0.1, len(x)) * np.diag(x))},
        draw=drawn_modes,
    ),
    Call(
        random_features.grouped_given_data,
        {
            "grams": np.stack([KERNEL[:4, :4], np.eye(4)]),
            "crosses": np.stack([KERNEL[4:, :4], np.zeros((2, 4))]),
            "diagonals": np.stack([np.diag(KERNEL)[4:], np.ones(2)]),
            "y": GIVEN["y"],
            "ridge": 0.1,
            "num_heads": 7.0,
            "block_size": np.array([3.0, 1.0]),
        },
        directions={"grams": symmetric},
        fixed=("crosses", "diagonals"),  # as in given_data
        scaling={"grams": 1, "crosses": 1, "diagonals": 1, "ridge": 1},
        degree=(0, 0, 0, 1),
        draw=drawn_groups,
        kinks=("ridge=0.",),  # more features than samples: the docstring promises no slope at ridge 0
    ),
]
NOT_NUMERIC = {
    random_features.descend_to_fixed_point: "takes a function; grouped_risk and grouped_given_data hold its values",
    random_features.at_least_ridge: "a step of grouped_risk and grouped_given_data",
    random_features.solved_by_rows: "a step of grouped_risk and grouped_given_data",
}
