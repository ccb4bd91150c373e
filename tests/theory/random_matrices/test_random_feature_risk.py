"""Risks of random features against their equations in 40 digits, the tables of the attention model, and simulation."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from closedform.theory.kernels import kernel_regression
from closedform.theory.kernels.spectrum import Spectrum
from closedform.theory.random_matrices import random_feature_risk
from zoo.calls import Call
from zoo.checks import rejected
from zoo.random_features import (
    DIM,
    EIGENVALUES,
    MULTIPLICITIES,
    NOISE,
    POWER,
    RISKS,
    along,
    assert_slopes,
    attention_spectrum,
    spectrum,
    target,
)

risk, learning_curve = map(jax.jit, (random_feature_risk.risk, kernel_regression.learning_curve))
many_risks = along(risk)

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


# --------------------------------------------------------------------------------------------- the equations themselves


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


# ----------------------------------------------------------------------------------------------------------- contracts


@pytest.mark.slow
def test_derivatives_are_those_of_finite_differences():
    def alone(n, k, ridge, noise, eigenvalues):
        result = random_feature_risk.risk(n, k, ridge, Spectrum(eigenvalues, MULTIPLICITIES, 2e-3), POWER, noise)
        return result.test + result.train

    alone = jax.jit(jax.value_and_grad(alone, argnums=(0, 1, 2, 3, 4)))
    numbers = [np.array(value) for value in (50.0, 70.0, 0.02, 0.1)]  # arrays: one program for all
    assert_slopes(alone, [*numbers, EIGENVALUES])
    for n, k in ((50.0, 9.0), (20.0, 14.0)):  # interpolation by samples or by features
        at = [alone(*map(np.array, (n, k, ridge, 0.1)), EIGENVALUES)[1][:3] for ridge in (0.0, 1e-8)]
        np.testing.assert_allclose(*at, rtol=1e-3)


@pytest.mark.slow
def test_vmap_equals_a_loop():
    n, k, ridge = jnp.array([10.0, 50.0, 200.0]), jnp.array([100.0, 51.0, 30.0]), jnp.array([0.1, 1e-4, 0.0])
    batched = jax.jit(jax.vmap(random_feature_risk.risk, (0, 0, 0, None, None)))(n, k, ridge, spectrum(), POWER)
    for i in range(3):
        for field, one in zip(batched, risk(n[i], k[i], ridge[i], spectrum(), POWER), strict=True):
            np.testing.assert_allclose(field[i], one, rtol=1e-11, atol=1e-25)


@pytest.mark.slow
def test_dtype_follows_the_input():
    single = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)  # noqa: E731
    result = risk(*(jnp.float32(value) for value in (10, 20, 0.1)), single(spectrum()), single(POWER), 0.1)
    assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(result.test, risk(10.0, 20.0, 0.1, spectrum(), POWER, 0.1).test, rtol=1e-4)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"num_features must be above 0, got -2\.0"):
        random_feature_risk.risk(10.0, -2.0, 0.1, spectrum(), POWER)
    with pytest.raises(ValueError, match=r"num_features must be a single number, got shape \(2,\)"):
        random_feature_risk.risk(10.0, np.array([1.0, 2.0]), 0.1, spectrum(), POWER)
    with pytest.raises(ValueError, match="power must have the shape"):
        random_feature_risk.risk(10.0, 2.0, 0.1, spectrum(), POWER[:2])


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

SMALL = Spectrum(np.array([1.0, 0.1, 3e-3]), np.array([2.0, 16.0, 60.0]), 2e-3)
PEAK = {"ridge": 0.0, "spectrum.tail": 0.0}


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


CALLS = [
    Call(
        random_feature_risk.risk,
        {
            "num_samples": 30.0,
            "num_features": 40.0,
            "ridge": 0.1,
            "spectrum": SMALL,
            "power": np.array([0.5, 0.3, 0.2]),
            "noise_variance": 0.1,
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
]
NOT_NUMERIC = {random_feature_risk.at_the_ends: "a step of risk and grouped_risk"}
