"""Risks of grouped features, and of independent ones beside them, against plain iteration, tables of the attention model
and simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from closedform.theory.kernels import kernel_regression
from closedform.theory.kernels.spectrum import Groups, Spectrum
from closedform.theory.random_matrices import grouped_feature_risk, random_feature_risk
from zoo.calls import Call
from zoo.checks import rejected
from zoo.random_features import (
    BLOCKS,
    DIM,
    EIGENVALUES,
    MULTIPLICITIES,
    NOISE,
    POWER,
    RISKS,
    along,
    assert_slopes,
    attention_groups,
    attention_spectrum,
    spectrum,
    target,
)

risk, grouped_risk, learning_curve = map(
    jax.jit, (random_feature_risk.risk, grouped_feature_risk.grouped_risk, kernel_regression.learning_curve)
)
many_risks, many_grouped = along(risk), along(grouped_risk)

# the tables found when the theory was derived; predictions, to the digits given there
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


# ----------------------------------------------------------------------------------------------------------- contracts


@pytest.mark.slow
def test_derivatives_are_those_of_finite_differences():
    def grouped(n, heads, ridge, noise, eigenvalues):
        groups = GROUPS._replace(eigenvalues=eigenvalues, tails=1e-3)
        result = grouped_feature_risk.grouped_risk(n, heads, ridge, groups, MULTIPLICITIES, POWER, noise)
        return result.test + result.train

    grouped = jax.jit(jax.value_and_grad(grouped, argnums=(0, 1, 2, 3, 4)))
    numbers = [np.array(value) for value in (50.0, 9.0, 0.02, 0.1)]  # arrays: one program for all
    assert_slopes(grouped, [*numbers, GROUPS.eigenvalues])
    for n, heads in ((50.0, 9.0), (20.0, 14.0)):  # interpolation by samples or by features
        at = [grouped(*map(np.array, (n, heads, ridge, 0.1)), GROUPS.eigenvalues)[1][:3] for ridge in (0.0, 1e-8)]
        np.testing.assert_allclose(*at, rtol=1e-3)


@pytest.mark.slow
def test_vmap_equals_a_loop():
    n, heads, ridge = jnp.array([10.0, 50.0, 200.0]), jnp.array([100.0, 51.0, 30.0]), jnp.array([0.1, 1e-4, 0.0])
    several = jax.jit(jax.vmap(grouped_feature_risk.grouped_risk, (0, 0, 0, None, None, None)))
    grouped = several(n, heads, ridge, GROUPS, MULTIPLICITIES, POWER)
    for i in range(3):
        for field, one in zip(grouped, grouped_risk(n[i], heads[i], ridge[i], GROUPS, MULTIPLICITIES, POWER), strict=True):
            np.testing.assert_allclose(field[i], one, rtol=1e-11, atol=1e-25)


@pytest.mark.slow
def test_dtype_follows_the_input():
    single = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)  # noqa: E731
    numbers = [jnp.float32(value) for value in (10, 20, 0.1)]
    grouped = jax.eval_shape(grouped_feature_risk.grouped_risk, *numbers, single(GROUPS), single(MULTIPLICITIES), single(POWER))
    assert {leaf.dtype for leaf in jax.tree.leaves(grouped)} == {jnp.dtype("float32")}


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"groups\.block_size must have the shape \(group,\)|groups\.eigenvalues must"):
        grouped_feature_risk.grouped_risk(9.0, 2.0, 0.1, GROUPS._replace(block_size=np.ones(2)), MULTIPLICITIES, POWER)
    with pytest.raises(ValueError, match=r"multiplicities must have the shape"):
        grouped_feature_risk.grouped_risk(9.0, 2.0, 0.1, GROUPS, MULTIPLICITIES[:2], POWER[:2])
    with pytest.raises(ValueError, match=r"groups\.eigenvalues must be at least 0"):
        grouped_feature_risk.grouped_risk(
            9.0, 2.0, 0.1, GROUPS._replace(eigenvalues=-GROUPS.eigenvalues), MULTIPLICITIES, POWER
        )


# ---------------------------------------------------------------------------------------------------- ends of the ranges

ONE = Groups(np.ones(1), np.full(1, 2.0), np.ones((1, 1)))


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
    slope = jax.jit(jax.grad(lambda n: random_feature_risk.risk(n, 30.0, 0.1, spectrum(), POWER, 0.1).test))(0.0)
    trace = MULTIPLICITIES @ EIGENVALUES + 2e-3
    # test = (V + s2) (1 + n c) - 2 n sum v lambda/T, c as for k = inf plus (T/k)/T.. : by differences of the exact equations
    ends = [float(risk(n, 30.0, 0.1, spectrum(), POWER, 0.1).test) for n in (1e-4, 2e-4)]
    np.testing.assert_allclose(slope, (4 * ends[0] - ends[1] - 3 * 1.1) / 2e-4, rtol=1e-4)
    assert trace > 0


CALLS = [
    Call(
        grouped_feature_risk.grouped_risk,
        {
            "num_samples": 30.0,
            "num_heads": 12.0,
            "ridge": 0.1,
            "groups": GROUPS._replace(tails=np.array([1e-3, 2e-3, 0.0])),
            "multiplicities": MULTIPLICITIES,
            "power": POWER,
            "noise_variance": 0.1,
        },
        cases=[{"num_samples": np.inf, "num_heads": np.inf}, {"num_samples": 0.0, "ridge": 0.0}],
        scaling={"groups.eigenvalues": 1, "groups.tails": 1, "ridge": 1},
        degree=(0, 0, 1, 1),
    ),
]
