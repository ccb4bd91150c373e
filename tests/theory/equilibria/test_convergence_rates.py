"""Rates against numpy's eigenvalues and iterations, best steps against a minimiser, and facts of a map of six units."""

import jax
import numpy as np
import scipy.optimize

from closedform.theory.equilibria import convergence_rates
from zoo.calls import Call
from zoo.checks import rejected

ROW, COLUMN = np.indices((6, 6))
WEIGHTS = 0.4 * np.sin((ROW + 1) * (2 * COLUMN + 3))
OFFSET = np.cos(np.arange(6))


def tanh_jacobian():
    z = np.zeros(6)
    for _ in range(200):
        z = np.tanh(WEIGHTS @ z + OFFSET)
    return (1 - z**2)[:, None] * WEIGHTS


def assert_facts(radius_fn, abscissa_fn):
    """Ten digits each."""
    np.testing.assert_allclose(radius_fn(WEIGHTS), 0.7147872601, atol=5.1e-11)
    np.testing.assert_allclose(abscissa_fn(WEIGHTS), 0.4119056605, atol=5.1e-11)
    np.testing.assert_allclose(radius_fn(tanh_jacobian()), 0.5640794103, atol=5.1e-11)
    np.testing.assert_allclose(abscissa_fn(tanh_jacobian()), 0.3039371583, atol=5.1e-11)


def test_radius_and_abscissa():
    radius, abscissa = convergence_rates.spectral_radius, convergence_rates.spectral_abscissa
    assert_facts(radius, abscissa)
    rejected(assert_facts, radius, radius)
    rejected(assert_facts, abscissa, abscissa)
    rejected(assert_facts, radius, lambda J: -abscissa(-J))  # the smallest real part
    rejected(assert_facts, lambda J: np.linalg.norm(J, 2), abscissa)


def assert_flow(rate_fn):
    """The error of small Euler steps; one map where Picard's iteration diverges, one where the flow does, and a rotation."""
    for jacobian in (np.diag([-3.0, 0.5]), np.diag([-0.9, 0.2]), np.diag([1.5, 0.0]), np.array([[0.2, 1.2], [-1.2, 0.2]])):
        h, e = 1e-4, np.array([1.0, 1.0])
        sizes = [
            np.linalg.norm(np.linalg.matrix_power(np.eye(2) + h * (jacobian - np.eye(2)), k) @ e)
            for k in (10**5, 10**5 + 10**4)
        ]
        np.testing.assert_allclose(rate_fn(jacobian), np.log(sizes[0] / sizes[1]), rtol=2e-3)


def test_flow_rate():
    rate = convergence_rates.flow_rate
    assert_flow(rate)
    rejected(assert_flow, lambda J: 1 - convergence_rates.spectral_radius(J))
    rejected(assert_flow, lambda J: -rate(J))
    rejected(assert_flow, lambda J: rate(-J))
    rejected(assert_flow, convergence_rates.spectral_abscissa)


def slowest(h, eigenvalues):
    return np.max(np.abs(1 - h * (1 - eigenvalues)))


def assert_best(best_fn):
    """Real parts below 1: one slowest eigenvalue, two, a conjugate pair, and random ones."""
    rng, found = np.random.default_rng(0), 0
    rotation = np.kron(np.eye(3), [[0.2, 1.2], [-1.2, 0.2]])
    fixed = [-0.9 * np.eye(6), np.diag(np.linspace(-3.0, 0.5, 6)), rotation, tanh_jacobian(), WEIGHTS]
    drawn = [rng.normal(size=(6, 6)) - rng.uniform(0, 4) * np.eye(6) for _ in range(12)]
    for jacobian in fixed + drawn:
        eigenvalues = np.linalg.eigvals(jacobian)
        if np.max(eigenvalues.real) >= 1:
            continue
        found += 1
        best = scipy.optimize.minimize_scalar(
            slowest, (0, 1 / np.max(np.abs(1 - eigenvalues))), args=(eigenvalues,), options={"xtol": 1e-12}
        )
        step, rate = best_fn(jacobian)
        np.testing.assert_allclose(rate, best.fun, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(rate, slowest(float(step), eigenvalues), rtol=1e-12, atol=1e-14)
    assert found > 10


def by_ends(jacobian):
    """The best step if all eigenvalues were their real parts."""
    real = np.linalg.eigvals(jacobian).real
    return convergence_rates.optimal_damping(real.min(), real.max())


def test_best_damping():
    assert_best(jax.jit(convergence_rates.optimal_damping_of))
    rejected(assert_best, by_ends)
    rejected(assert_best, lambda J: convergence_rates.Damping(1.0, convergence_rates.spectral_radius(J)))
    assert [float(one) for one in convergence_rates.optimal_damping_of(np.diag([1.5, -2.0]))] == [0, 1]


def test_best_damping_of_a_real_spectrum():
    symmetric = (WEIGHTS + WEIGHTS.T) / 2
    ends = np.linalg.eigvalsh(symmetric)[[0, -1]]
    for step, rate in (convergence_rates.optimal_damping(*ends), convergence_rates.optimal_damping_of(symmetric)):
        np.testing.assert_allclose([step, rate], [0.9937236943, 0.5850120450], atol=5.1e-11)
    for low, high, step, rate in ((-0.95, 0.2, 0.727273, 0.418182), (-3.0, 0.5, 0.444444, 0.777778)):
        np.testing.assert_allclose(convergence_rates.optimal_damping(low, high), [step, rate], atol=5.1e-7)
        damped = convergence_rates.damped_rate(np.diag([low, high, (low + high) / 2]), [1.0, step])
        np.testing.assert_allclose(damped, [max(abs(low), high), rate], atol=2e-6)


def test_a_scalar():
    """alpha = -0.9: one step of Euler's method with the step 1/1.9 is exact."""
    step, rate = convergence_rates.optimal_damping(-0.9, -0.9)
    np.testing.assert_allclose(step, 1 / 1.9, rtol=1e-15)
    assert float(rate) == 0
    np.testing.assert_allclose(convergence_rates.damped_rate([[-0.9]], 1 / 1.9), 0, atol=1e-15)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

MATRIX = np.array([[0.5, -0.3, 0.2], [0.8, 0.1, 0.0], [-0.4, 0.6, -1.2]])
CALLS = [
    Call(convergence_rates.spectral_radius, {"jacobian": MATRIX}, scaling={"jacobian": 1}, degree=1),
    Call(convergence_rates.spectral_abscissa, {"jacobian": MATRIX}, scaling={"jacobian": 1}, degree=1),
    Call(convergence_rates.flow_rate, {"jacobian": MATRIX}),
    Call(
        convergence_rates.damped_rate,
        {"jacobian": MATRIX, "damping": np.array([0.3, 1.1])},
        kinks=["damping[0]=0.0", "damping=0.0"],  # every eigenvalue has the factor 1
    ),
    Call(
        convergence_rates.optimal_damping,
        {"low": np.array([-3.0, 0.1]), "high": np.array([0.5, 0.4])},
        edges={"low": [-1e6, 0.4], "high": [0.999999]},
        draw=lambda rng: dict(zip(("low", "high"), np.sort(1 - 10 ** rng.uniform(-2, 2, (2, 2)), axis=0), strict=True)),
    ),
    Call(convergence_rates.optimal_damping_of, {"jacobian": MATRIX}),
]
