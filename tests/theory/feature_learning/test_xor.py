"""Drift, phase 1, noise and rates against quadrature, enumeration and scipy's solvers; wrong versions are rejected."""

import functools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jaxtyping import ArrayLike, Real
from scipy import integrate, optimize, special

from closedform.theory.feature_learning import xor
from closedform.theory.feature_learning.xor import Neuron
from closedform.theory.numerics.arguments import takes
from zoo.calls import Call

LAMBDA = 1 / math.sqrt(2 * math.pi)

# Compiling the solvers is most of the time here: no optimisation, and one program each, that gives derivatives as well.
jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)
NUM_TIMES, NUM_NEURONS = 12, 3
solve_batch = jit(jax.vmap(lambda *at_and_along: jax.jvp(xor.trajectory, *at_and_along)))
phase1_length_and_gradient = jit(jax.value_and_grad(xor.phase1_length, argnums=(0, 1), has_aux=True))


def trajectories(times, starts, noises, along=None):
    """Rows of `starts` (alpha, beta, s, a) at `times`, as an array (neuron, time, 4), by one compiled program.

    `along` = (in time, in the start, in the noise) asks for the derivative in that direction instead.
    """

    def pad(times, starts, noises):
        more = np.concatenate([np.arange(len(starts)), np.zeros(NUM_NEURONS - len(starts), int)])
        times = np.concatenate([times, np.repeat(times[-1:], NUM_TIMES - len(times))]).reshape(3, -1)
        starts = Neuron(*jnp.asarray(starts[more].T))
        return jnp.asarray(np.stack([times] * NUM_NEURONS)), starts, jnp.asarray(noises[more])

    at = [np.asarray(x, float) for x in (times, starts, noises)]
    direction = [np.full_like(x, v) for x, v in zip(at, along or (0, 0, 0), strict=True)]
    solved = solve_batch(pad(*at), pad(*direction))[0 if along is None else 1]
    return np.stack(solved, axis=-1).reshape(NUM_NEURONS, NUM_TIMES, 4)[: len(starts), : len(times)]


def typical(dim):
    return [math.sqrt(2 / dim), math.sqrt(2 / dim), math.sqrt(1 - 2 / dim), 1.0]


def scipy_velocity(_time, y, kappa=0.0, speed=1.0):
    """The drift written once more, with scipy's functions: psi(u) - u/2 = (u/2) erf(u/(s sqrt 2)) + s phi(u/s)."""
    alpha, beta, s, a = y
    erf_alpha, erf_beta = special.erf(alpha / s / math.sqrt(2)), special.erf(beta / s / math.sqrt(2))
    gap = LAMBDA * (math.exp(-((alpha / s) ** 2) / 2) - math.exp(-((beta / s) ** 2) / 2))
    even = alpha * erf_alpha / 4 - beta * erf_beta / 4 + s * gap / 2
    return speed * np.array([a * erf_alpha / 2, -a * erf_beta / 2, a * gap / 2 + kappa * a**2 / (2 * s), even])


def scipy_trajectory(times, start, kappa=0.0):
    solution = integrate.solve_ivp(
        scipy_velocity, (0, max(times)), start, method="DOP853", t_eval=times, args=(kappa,), rtol=1e-12, atol=1e-13
    )
    return solution.y.T


def scipy_phase1_length(dims, batch_noise=0.0, start=typical, speed=1.0):
    rows = []
    for dim in dims:
        excess = lambda t, y, *args: y[0] - y[2]  # noqa: E731
        excess.terminal = True
        solution = integrate.solve_ivp(
            scipy_velocity, (0, 200), start(dim), "DOP853", args=(batch_noise, speed), rtol=1e-12, atol=1e-13, events=excess
        )
        rows.append([solution.t_events[0][0], *solution.y_events[0][0]])
    return np.array(rows)


def module_phase1_length(dims, batch_noise=0.0):
    """Rows T, alpha, beta, s, a."""
    solved = [phase1_length_and_gradient(float(dim), float(batch_noise))[0] for dim in dims]
    return np.array([[time, *neuron] for time, neuron in solved])


def velocity(drift_fn, y, batch_noise=0.0):
    """The drift of rows (alpha, beta, s, a)."""
    return np.stack(drift_fn(Neuron(*jnp.moveaxis(jnp.asarray(y, float), -1, 0)), batch_noise), axis=-1)


# Plausible mistakes in the drift.
def loss_without_its_2(neuron, batch_noise=0.0):
    return jax.tree.map(lambda rate: rate / 2, xor.drift(neuron, batch_noise))


def sum_over_the_clusters(neuron, batch_noise=0.0):
    return jax.tree.map(lambda rate: 4 * rate, xor.drift(neuron, batch_noise))


def roles_that_ignore_the_sign_of_a(neuron, batch_noise=0.0):
    return xor.drift(neuron._replace(a=jnp.abs(neuron.a)), batch_noise)


def relu_for_psi(neuron, batch_noise=0.0):
    alpha, beta = neuron.alpha, neuron.beta
    readout = (jax.nn.relu(alpha) - alpha / 2 - jax.nn.relu(beta) + beta / 2) / 2
    return xor.drift(neuron, batch_noise)._replace(a=readout)


def s_without_noise(neuron, batch_noise=0.0):
    return xor.drift(neuron)


def noise_on_every_example(neuron, batch_noise=0.0):
    return xor.drift(neuron, 2 * batch_noise)


# ---------------------------------------------------------------------------------------------------------- the drift


def assert_fact_1(drift_fn):
    values = [[0.0398278, -0.0398278, 0, 0], [0.3413447, 0, -0.0784858, 0.0921866]]
    np.testing.assert_allclose(velocity(drift_fn, [[0.1, 0.1, 1, 1], [1, 0, 1, 1]]), values, atol=1e-6, rtol=0)


def gaussian_average(y):
    """E of a y relu'(h) x and of y relu(h), h = w.mu + s g: over the four clusters by hand, over g by quadrature."""
    alpha, beta, s, a = y
    total = np.zeros(4)
    for projection, label, along, facing in (
        (alpha, 1, 0, 2),
        (-alpha, 1, 0, -2),
        (beta, -1, 1, 2),
        (-beta, -1, 1, -2),
    ):
        active, mean, output = (
            integrate.quad(lambda g, f=f: f(g) * LAMBDA * math.exp(-(g**2) / 2), -projection / s, 40, epsabs=1e-13)[0]
            for f in (lambda g: 1.0, lambda g: g, lambda g, u=projection: u + s * g)
        )
        total[along] += a * label * facing * active / 4  # facing = x.mu
        total[2:] += np.array([a * mean, output]) * label / 4
    return total


def assert_drift_is_the_gaussian_average(drift_fn):
    generator = np.random.default_rng(0)
    y = np.stack([*generator.normal(size=(2, 4)), generator.uniform(0.3, 2, 4), [1.3, -1.3, 0.4, -0.4]], axis=1)
    np.testing.assert_allclose(velocity(drift_fn, y), [gaussian_average(row) for row in y], atol=1e-10)


@functools.cache
def hypercube(dim):
    return 1.0 - 2.0 * ((np.arange(2**dim)[:, None] >> np.arange(dim)) & 1)


def unit_neurons(dim, count):
    weights = np.random.default_rng(dim).standard_normal((count, dim))
    return weights / np.linalg.norm(weights, axis=1, keepdims=True), np.resize([1.0, -1.0], count)


@functools.cache
def hypercube_velocity(dim, count=100):
    """The start and the exact velocity of unit neurons, as rows (alpha, beta, s, a)."""
    (weights, a), x = unit_neurons(dim, count), hypercube(dim)
    label = -x[:, 0] * x[:, 1]
    h = weights @ x.T
    gradient = a[:, None] * ((label * (h > 0)) @ x) / len(x)
    s = np.linalg.norm(weights[:, 2:], axis=1)
    of_s, of_a = (gradient[:, 2:] * weights[:, 2:]).sum(axis=1) / s, (label * np.maximum(h, 0)).mean(axis=1)
    rows = lambda w, s, a: np.stack([w[:, 0] - w[:, 1], w[:, 0] + w[:, 1], s, a], axis=1)  # noqa: E731
    return rows(weights, s, a), rows(gradient, of_s, of_a)


def assert_drift_is_the_limit_of_the_hypercube(drift_fn):
    """The signal is of order d^-1/2 and the correction to the normal law 1/d: the error falls about as d^-3/2."""
    rms = {}
    for dim in (8, 16):
        start, exact = hypercube_velocity(dim)
        error = velocity(drift_fn, start) - exact
        rms[dim] = np.sqrt((error**2).mean())
    assert rms[8] < 0.03
    assert rms[16] < rms[8] / 2


def assert_noise_is_that_of_a_minibatch(drift_fn, dim=12, kappa=0.7):
    """d(s^2)/dt by noise is (eta/m) times the variance of one example's w_perp gradient, but for 2/d and |mean|^2."""
    x, (weights, a) = hypercube(dim), unit_neurons(dim, 4)
    start, _ = hypercube_velocity(dim, 4)
    growth = 2 * start[:, 2] * (velocity(drift_fn, start, kappa) - velocity(drift_fn, start))[:, 2]
    for i in range(4):
        examples = -a[i] * (x[:, 0] * x[:, 1] * (x @ weights[i] > 0))[:, None] * x[:, 2:]
        variance = (examples**2).sum(axis=1).mean() - (examples.mean(axis=0) ** 2).sum()
        np.testing.assert_allclose(growth[i] * (1 - 2 / dim), 2 * kappa / dim * variance, rtol=5e-3)


def test_fact_1_drift_values():
    assert_fact_1(xor.drift)


def test_drift_is_the_gaussian_average():
    assert_drift_is_the_gaussian_average(xor.drift)


def test_drift_is_the_limit_of_the_hypercube():
    assert_drift_is_the_limit_of_the_hypercube(xor.drift)


def test_noise_is_that_of_a_minibatch():
    assert_noise_is_that_of_a_minibatch(xor.drift)


@pytest.mark.parametrize(
    ("assertion", "wrong"),
    [
        (assert_fact_1, loss_without_its_2),
        (assert_fact_1, sum_over_the_clusters),
        (assert_fact_1, relu_for_psi),
        (assert_drift_is_the_gaussian_average, loss_without_its_2),
        (assert_drift_is_the_gaussian_average, roles_that_ignore_the_sign_of_a),
        (assert_drift_is_the_gaussian_average, relu_for_psi),
        (assert_drift_is_the_limit_of_the_hypercube, loss_without_its_2),
        (assert_drift_is_the_limit_of_the_hypercube, roles_that_ignore_the_sign_of_a),
        (assert_drift_is_the_limit_of_the_hypercube, relu_for_psi),
        (assert_noise_is_that_of_a_minibatch, s_without_noise),
        (assert_noise_is_that_of_a_minibatch, noise_on_every_example),
    ],
)
def test_wrong_drifts_are_rejected(assertion, wrong):
    with pytest.raises(AssertionError):
        assertion(wrong)


def test_drift_keeps_the_balance_but_for_the_noise():
    """d(alpha^2/2 + beta^2/2 + s^2 - a^2)/dt = kappa a^2, by homogeneity."""
    alpha, beta, s, a = np.random.default_rng(1).normal(size=(4, 50))
    neuron = Neuron(*map(jnp.asarray, (alpha, beta, np.abs(s), a)))
    rate = xor.drift(neuron, 0.3)
    growth = alpha * rate.alpha + beta * rate.beta + 2 * np.abs(s) * rate.s - 2 * a * rate.a
    np.testing.assert_allclose(growth, 0.3 * a**2, atol=1e-12)


def test_drift_symmetries():
    """Roles swap with the sign of a; the drift is homogeneous of degree 1."""
    alpha, beta, s, a, kappa = 0.7, -0.4, 0.9, 1.1, 0.2
    rate = velocity(xor.drift, [alpha, beta, s, a], kappa)
    np.testing.assert_allclose(velocity(xor.drift, [beta, alpha, s, -a], kappa), rate[[1, 0, 2, 3]] * [1, 1, 1, -1], atol=1e-14)
    np.testing.assert_allclose(velocity(xor.drift, np.array([alpha, beta, s, a]) * 1e-3, kappa), rate * 1e-3)


def test_drift_is_finite_with_its_gradient_down_to_s_0():
    alpha, s = (grid.ravel() for grid in jnp.meshgrid(jnp.array([0.0, 0.3]), jnp.array([0.0, 1e-300, 1e-20, 1e-9])))
    neurons = Neuron(alpha, jnp.zeros(8), s, jnp.full(8, 0.7))
    drift, jacobian = jit(jax.vmap(lambda neuron: (xor.drift(neuron), jax.jacfwd(xor.drift)(neuron))))(neurons)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((drift, jacobian)))
    np.testing.assert_allclose(velocity(xor.drift, [0.3, -0.2, 1e-12, 0.7]), [0.35, 0.35, 0, 0.025], atol=1e-12)


def exact_drift(alpha, beta, s, a, kappa):
    """In 50 digits, by the formulas of the module."""
    with mpmath.workdps(50):
        alpha, beta, s, a, kappa = map(mpmath.mpf, (alpha, beta, s, a, kappa))
        psi = lambda m: m * mpmath.ncdf(m / s) + s * mpmath.npdf(m / s)  # noqa: E731
        gap = mpmath.npdf(alpha / s) - mpmath.npdf(beta / s)
        readout = (psi(alpha) - alpha / 2 - psi(beta) + beta / 2) / 2
        erf = lambda m: mpmath.erf(m / s / mpmath.sqrt(2))  # noqa: E731
        return [float(x) for x in (a / 2 * erf(alpha), -a / 2 * erf(beta), a / 2 * gap + kappa * a**2 / (2 * s), readout)]


def assert_drift_is_exact(batch_noise, dtype, rtol, y):
    rounded = [float(np.dtype(dtype).type(x)) for x in y]
    rate = xor.drift(Neuron(*jnp.asarray(rounded, dtype)), jnp.asarray(batch_noise, dtype))
    np.testing.assert_allclose(np.stack(rate), exact_drift(*rounded, batch_noise), rtol=rtol)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-14), ("float32", 1e-5)])
@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_drift_keeps_its_digits_at_every_size(dtype, rtol, size):
    """No absolute floor, and no difference of numbers of order s where alpha and beta are far below it, or far above."""
    for y in ([1e-3, 3e-5, 1.0, 0.7], [0.4, -0.2, 1.0, -1.3], [1e-6, 1e-5, 1.0, 1.0], [5.0, 0.1, 1e-4, 2.0], [0, 0.3, 0.3, 0]):
        assert_drift_is_exact(0.25, dtype, rtol, [size * x for x in y])
    assert_drift_is_exact(0.0, dtype, 4 * rtol, [size * x for x in (1.2, -1.5, 0.25, 0.7)])  # s' = a (phi(4.8) - phi(6))/2


def test_noise_is_infinite_at_s_0_unless_there_is_none():
    rate = xor.drift(Neuron(0.3, 0.1, 0.0, [0.7, 0.0, -0.7]), [0.1, 0.1, 0.0])
    np.testing.assert_array_equal(rate.s, [np.inf, 0, 0])
    np.testing.assert_allclose(rate.alpha, [0.35, 0, -0.35], rtol=1e-14)


# ---------------------------------------------------------------------------------------------------- the trajectory

TIMES = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
STARTS = np.array([typical(100), [0.1, -0.3, 0.8, -1.0], [-0.02, 0.05, 0.07, 0.08]])


def assert_trajectory_solves_the_drift(trajectories_fn):
    noises = [0.0, 0.1, 1e-3]
    solved = trajectories_fn(TIMES, STARTS, noises)
    for row, start, batch_noise in zip(solved, STARTS, noises, strict=True):
        np.testing.assert_allclose(row, scipy_trajectory(TIMES, start, batch_noise), rtol=1e-9, atol=1e-10)


def assert_fact_4(trajectories_fn):
    times = np.linspace(9, 30, 10)
    alpha, _, _, a = trajectories_fn(times, [typical(100)], [0.0])[0].T
    for grown in (alpha, a):
        np.testing.assert_allclose(np.diff(np.log(grown)) / np.diff(times), 0.35355, atol=0.002, rtol=0)
    np.testing.assert_allclose(alpha / (math.sqrt(2) * a), 1, atol=1e-3, rtol=0)


@pytest.mark.slow
def test_trajectory_solves_the_drift():
    assert_trajectory_solves_the_drift(trajectories)


@pytest.mark.slow
def test_fact_4_growth_after_the_collapse():
    assert_fact_4(trajectories)


@pytest.mark.slow
def test_collapse_is_crossed_exactly():
    """Once beta = s = 0, alpha' = a/2 and a' = alpha/4: the slow mode is alpha = sqrt 2 a, by the conserved balance."""
    times = np.array([7.88, 7.885, 7.95, 8.0, 12.0, 30.0, 200.0])  # to 1e30
    alpha, beta, s, a = trajectories(times, [typical(100)], [0.0])[0].T
    collapse = times[0] + s[0] * (times[1] - times[0]) / (s[0] - s[1])  # s falls linearly, at the rate a lambda/2
    np.testing.assert_allclose(collapse, 7.892, atol=5e-4)
    assert (s[2:] < 3e-12 * a[2:]).all()
    assert (np.abs(beta[2:]) < 1e-15).all()
    np.testing.assert_allclose(alpha[2:] / (math.sqrt(2) * a[2:]), 1, atol=1e-8)
    np.testing.assert_allclose(a[2:], a[2] * np.exp((times[2:] - times[2]) / math.sqrt(8)), rtol=1e-8)


@pytest.mark.parametrize(
    ("assertion", "wrong"),
    [
        # The loss without its factor 2: all is half as fast.
        pytest.param(
            assert_trajectory_solves_the_drift,
            lambda times, *args: trajectories(times / 2, *args),
            marks=pytest.mark.slow,
        ),
        (assert_fact_4, lambda times, *args: trajectories(times / 2, *args)),
        # Roles that ignore the sign of a.
        pytest.param(
            assert_trajectory_solves_the_drift,
            lambda times, starts, _: trajectories(times, np.abs(starts), [0.0] * 3),
            marks=pytest.mark.slow,
        ),
        # Noise forgotten.
        pytest.param(
            assert_trajectory_solves_the_drift,
            lambda times, starts, _: trajectories(times, starts, [0.0] * 3),
            marks=pytest.mark.slow,
        ),
        # |w_sig| taken for alpha = sqrt 2 |w_sig|.
        (assert_fact_4, lambda *args: trajectories(*args) / [math.sqrt(2), math.sqrt(2), 1, 1]),
    ],
)
def test_wrong_trajectories_are_rejected(assertion, wrong):
    with pytest.raises(AssertionError):
        assertion(wrong)


def test_trajectory_keeps_the_balance():
    alpha, beta, s, a = np.moveaxis(trajectories([0, 2, 4, 4.5, 6, 10, 15], STARTS, [0.0] * 3), -1, 0)
    balance = (alpha**2 + beta**2) / 2 + s**2 - a**2
    np.testing.assert_allclose(balance[:, :4], balance[:, :1] @ np.ones((1, 4)), atol=1e-8, rtol=0)
    np.testing.assert_allclose(balance / a**2, balance[:, :1] / a**2, atol=1e-8, rtol=0)


@pytest.mark.slow
def test_trajectory_of_a_small_signal_keeps_its_digits_in_float32():
    """From a thousandth of s it grows to the largest component, and its error with it."""
    times, start, noise = (np.float32(x) for x in ([15.0, 30.0], typical(1e6), 0.1))
    exact = scipy_trajectory(times, start.astype(float), float(noise))
    solved = np.stack(jit(xor.trajectory)(times, Neuron(*start), noise), axis=-1)
    assert solved.dtype == np.float32
    assert np.all(np.abs(solved - exact) <= 5e-4 * np.max(np.abs(exact), axis=1, keepdims=True))


def test_trajectory_over_times_equals_a_loop_in_any_order():
    times = np.array([3.0, 0.0, 12.0, 7.892, 3.0])
    together = trajectories(times, STARTS, [0.0, 0.01, 1e-6])
    for column, time in enumerate(times):
        alone = trajectories([time], STARTS, [0.0, 0.01, 1e-6])
        np.testing.assert_allclose(together[:, column], alone[:, 0], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(together[:, 1], STARTS, rtol=1e-15)


def test_trajectory_of_a_neuron_ignores_the_others():
    together = trajectories(TIMES, STARTS, [0.0, 0.1, 1e-3])
    alone = trajectories(TIMES, STARTS[1:2], [0.1])
    np.testing.assert_allclose(together[1], alone[0], rtol=1e-12)


def test_trajectory_symmetries():
    """Roles swap with the sign of a; the start's scale is the solution's."""
    mirrored = STARTS[0, [1, 0, 2, 3]] * [1, 1, 1, -1]
    plain, swapped, small = trajectories([1.0, 4.0, 12.0], [STARTS[0], mirrored, 1e-6 * STARTS[0]], [0.0] * 3)
    np.testing.assert_allclose(swapped, plain[:, [1, 0, 2, 3]] * [1, 1, 1, -1], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(small * 1e6, plain, rtol=1e-8, atol=1e-9)


def test_small_noise_leaves_a_floor_of_s():
    """s settles at kappa a/lambda, to relative order kappa: no stall, whatever kappa is."""
    for batch_noise in (1e-3, 1e-5, 1e-7):
        _, _, s, a = trajectories([20.0, 30.0], [typical(100)], [batch_noise])[0].T
        np.testing.assert_allclose(s / a, batch_noise / LAMBDA, rtol=5 * batch_noise + 1e-2)


@pytest.mark.slow
def test_trajectory_derivatives():
    """In time, in the start and in the noise, before and after the collapse (there s floats on the noise)."""
    times, noises = np.array([5.0, 9.0, 12.0]), np.full(3, 0.01)
    solved = trajectories(times, STARTS, noises)
    in_time = trajectories(times, STARTS, noises, along=(1, 0, 0))
    np.testing.assert_allclose(in_time, velocity(xor.drift, solved, 0.01 + 1e-12), rtol=1e-9, atol=1e-12)
    in_start = trajectories(times, STARTS, noises, along=(0, [1, 2, -1, 1], 0))
    step = 1e-4 * np.array([1, 2, -1, 1])
    difference = trajectories(times, STARTS + step, noises) - trajectories(times, STARTS - step, noises)
    np.testing.assert_allclose(in_start, difference / 2e-4, rtol=1e-4, atol=1e-4)
    in_noise = trajectories(times, STARTS, noises, along=(0, 0, 1))
    difference = trajectories(times, STARTS, noises + 1e-5) - trajectories(times, STARTS, noises - 1e-5)
    np.testing.assert_allclose(in_noise, difference / 2e-5, rtol=1e-4, atol=1e-3)


def test_slope_in_time_at_0_is_the_drift():
    """Time 0 is where the solver starts, not where it stops: 0.0568 for alpha from the typical start."""
    times, noises = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.1, 1e-3])
    in_time = trajectories(times, STARTS, noises, along=(1, 0, 0))
    for start, batch_noise, slope in zip(STARTS, noises, in_time, strict=True):
        expected = [velocity(xor.drift, start, batch_noise + 1e-12)] * 2
        np.testing.assert_allclose(slope[[0, 2]], expected, rtol=1e-10, atol=1e-17)  # a' = 0 where alpha = beta
    np.testing.assert_allclose(in_time[0, 0, 0], 0.0568, atol=5e-5)


def test_trajectory_at_no_time_and_of_no_neuron():
    nowhere = xor.trajectory(np.zeros((2, 0)), Neuron(*typical(100)))
    assert {field.shape for field in nowhere} == {(2, 0)}
    assert {field.dtype for field in nowhere} == {jnp.dtype("float64")}
    resting, huge = trajectories([0.0, 5.0, 3000.0], [[0.0] * 4, typical(100)], [0.1, 0.0])
    np.testing.assert_array_equal(resting, 0)
    np.testing.assert_array_equal(huge[2, [0, 3]], np.inf)  # e^(3000/sqrt 8)
    assert not np.isnan(huge).any()
    with pytest.raises(ValueError, match=r"^start must be one neuron, of single numbers, got shape"):
        xor.trajectory(1.0, Neuron(*np.ones((4, 3))))
    with pytest.raises(ValueError, match=r"^time must be at least 0 and finite, got inf"):
        xor.trajectory(np.inf, Neuron(*typical(100)))


# ------------------------------------------------------------------------------------------- phase 1: length and margin

TABLE = np.array(  # d, T, alpha = s, a, beta
    [
        [50, 3.6602, 0.88859, 1.08871, 0.042032],
        [100, 4.54557, 0.89328, 1.09414, 0.020835],
        [1000, 7.44640, 0.89738, 1.09906, 0.002068],
        [10000, 10.33377, 0.89779, 1.09956, 0.000207],
    ]
)


def assert_fact_3(phase1_length_fn):
    time, alpha, beta, s, a = phase1_length_fn(TABLE[:, 0]).T
    np.testing.assert_allclose(time, TABLE[:, 1], atol=2e-3, rtol=0)
    np.testing.assert_allclose(a, TABLE[:, 3], atol=1e-3, rtol=0)
    np.testing.assert_allclose((alpha**2 + beta**2) / 2 + s**2 - a**2, 0, atol=1e-8)
    # The rest of the table, to its printed digits.
    np.testing.assert_allclose(np.stack([alpha, s, beta]), TABLE[:, [2, 2, 4]].T, atol=6e-6)


@pytest.mark.slow
def test_fact_3_length_of_phase_1():
    assert_fact_3(module_phase1_length)


def start_of_too_large_alpha(dim):
    """|w_sig| = sqrt(2/d), that is alpha taken for |w_sig|."""
    return [2 / math.sqrt(dim), 2 / math.sqrt(dim), math.sqrt(1 - 4 / dim), 1.0]


@pytest.mark.parametrize("wrong", [{"speed": 0.5}, {"start": start_of_too_large_alpha}, {"batch_noise": 0.01}])
def test_wrong_phase_1_lengths_are_rejected(wrong):
    assert_fact_3(scipy_phase1_length)
    with pytest.raises(AssertionError):
        assert_fact_3(functools.partial(scipy_phase1_length, **wrong))


@pytest.mark.parametrize("batch_noise", [0.0, 0.1, 1.5])
def test_phase_1_length_against_scipy(batch_noise):
    dims = [8.0, 50.0, 300.0, 1e5]
    np.testing.assert_allclose(
        module_phase1_length(dims, batch_noise), scipy_phase1_length(dims, batch_noise), rtol=1e-8, atol=1e-9
    )


def test_phase_1_length_grows_as_log_dim():
    dims = np.array([1e4, 1e5, 1e6, 1e7])
    time = module_phase1_length(dims)[:, 0]
    np.testing.assert_allclose(np.diff(time), math.log(10) / (2 * LAMBDA), atol=1e-3)
    np.testing.assert_allclose(time[1:] - np.log(dims[1:]) / (2 * LAMBDA), -1.21, atol=5e-3)


def test_noise_above_1_616_keeps_s_ahead_of_alpha():
    """On the growing solution alpha = s, a = c s, beta = 0 all three rates agree at one c and one noise."""
    growth = lambda c, batch_noise: scipy_velocity(0, [1.0, 0.0, 1.0, c], batch_noise)[[0, 2, 3]] / [1, 1, c]  # noqa: E731
    solution = optimize.root(lambda x: np.diff(growth(*x)), [0.5, 1.5], tol=1e-12)
    np.testing.assert_allclose(solution.x[1], 1.616, atol=5e-4)
    alpha, _, s, _ = np.moveaxis(trajectories([40.0, 80.0], [typical(20)] * 2, [1.58, 1.66]), -1, 0)
    assert (alpha[0] > s[0]).all()
    assert (alpha[1] < s[1]).all()


def test_phase_1_length_gradient():
    time = lambda dim, batch_noise: float(phase1_length_and_gradient(dim, batch_noise)[0][0])  # noqa: E731
    for dim, batch_noise in ((100.0, 0.1), (100.0, 0.0), (1000.0, 0.5), (10.0, 1.0)):
        _, (in_dim, in_noise) = phase1_length_and_gradient(dim, batch_noise)
        step = 1e-3 * dim
        np.testing.assert_allclose(
            in_dim, (time(dim + step, batch_noise) - time(dim - step, batch_noise)) / (2 * step), rtol=1e-5
        )
        np.testing.assert_allclose(in_noise, (time(dim, batch_noise + 1e-3) - time(dim, batch_noise - 1e-3)) / 2e-3, rtol=1e-4)


@pytest.mark.slow
def test_phase_1_length_at_large_dim_in_both_precisions():
    """alpha starts far below any absolute tolerance. By scipy at 1e8, then ln(10)/(2 lambda) for each factor 10."""
    expected = scipy_phase1_length([1e8])[0]
    np.testing.assert_allclose(module_phase1_length([1e8])[0], expected, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(module_phase1_length([1e30])[0, 0] - expected[0], 22 * math.log(10) / (2 * LAMBDA), atol=1e-6)
    single = jit(xor.phase1_length)
    for dim in (100.0, 1e8, 1e30):
        (time, neuron), exact = single(jnp.float32(dim)), module_phase1_length([dim])[0]
        np.testing.assert_allclose([time, neuron.alpha, neuron.s, neuron.a], exact[[0, 1, 3, 4]], rtol=1e-4)
        assert time.dtype == jnp.float32


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3,), "^dim must be above 4 and finite, got 3"),
        ((100, 1.62), "^batch_noise must be at least 0 and below 1.61572, got 1.62"),
    ],
)
def test_phase_1_that_never_ends_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        xor.phase1_length(*arguments)


def test_phase_1_that_never_ends_is_nan_where_traced():
    for dim, batch_noise in ((3.0, 0.0), (100.0, 1.62), (np.nan, 0.0)):
        (time, neuron), _ = phase1_length_and_gradient(dim, batch_noise)
        assert np.isnan([time, *neuron]).all()


def test_phase_1_margin_where_sinh_overflows():
    for time, dim, scale, dtype in ((900.0, 1e6, 1e-3, "float64"), (112.0, 1e6, 1e-2, "float32")):
        with mpmath.workdps(50):
            exact = (
                mpmath.mpf(scale) ** 2 / dim * mpmath.sinh(2 * time / mpmath.sqrt(2 * mpmath.pi)) / mpmath.sqrt(2 * mpmath.pi)
            )
        rtol = 2000 * np.finfo(dtype).eps  # the exponent's
        np.testing.assert_allclose(xor.phase1_margin(*jnp.asarray([time, dim, scale], dtype)), float(exact), rtol=rtol)
    assert float(xor.phase1_margin(np.inf, 100, 0.0)) == 0
    assert float(xor.phase1_margin(np.inf, 100, 0.1)) == np.inf


def assert_phase1_margin_is_the_limit_of_the_drift(phase1_margin_fn):
    """At f = 0 the mean margin of typical neurons is a da/dt exactly; the closed form is its limit, to order 1/d."""
    errors = []
    for dim in (1e3, 1e4, 1e5):
        states = scipy_trajectory([1.0, 2.0, 3.0], typical(dim))
        exact = [y[3] * scipy_velocity(0, y)[3] for y in states]
        closed = [phase1_margin_fn(t, dim, 0.1) / 0.1**2 for t in (1.0, 2.0, 3.0)]
        errors.append(np.abs(np.array(closed) / exact - 1).max())
    assert errors[0] < 0.01
    assert errors[1] < errors[0] / 8
    assert errors[2] < errors[1] / 8


def test_phase_1_margin():
    assert_phase1_margin_is_the_limit_of_the_drift(lambda *args: float(xor.phase1_margin(*args)))
    assert float(xor.phase1_margin(0.0, 100)) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda t, dim, scale: xor.phase1_margin(t / 2, dim, scale),  # loss without its factor 2
        lambda t, dim, scale: 4 * xor.phase1_margin(t, dim, scale),  # sum over the clusters in place of the mean
        lambda t, dim, scale: xor.phase1_margin(t, dim, math.sqrt(scale)),  # theta in place of theta^2
        lambda t, dim, scale: LAMBDA * scale**2 / dim * jnp.exp(2 * LAMBDA * t) / 2,  # the opposite component forgotten
    ],
)
def test_wrong_phase_1_margins_are_rejected(wrong):
    with pytest.raises(AssertionError):
        assert_phase1_margin_is_the_limit_of_the_drift(lambda *args: float(wrong(*args)))


# --------------------------------------------------------------------------------------------------- noise and samples


def assert_moments_solve_their_equations(noise_moments_fn):
    times = np.array([0.0, 0.5, 2.0, 4.0, 8.0])
    for dim, kappa in ((256, 1e-3), (256, 0.1), (64, 0.985), (1000, 4.3)):

        def rates(_time, y, dim=dim, kappa=kappa):
            perp, signal, opposite = y
            pull = 2 * LAMBDA / math.sqrt(perp)
            return [kappa, pull * signal + 2 * kappa / dim, -pull * opposite + 2 * kappa / dim]

        start = [1, 2 / dim, 2 / dim]
        expected = integrate.solve_ivp(rates, (0, 8), start, "DOP853", times, rtol=1e-12, atol=1e-14).y
        np.testing.assert_allclose(np.stack(noise_moments_fn(jnp.asarray(times), dim, kappa)), expected, rtol=1e-8)


def without_injection(time, dim, batch_noise):
    q = jnp.sqrt(1 + batch_noise * time)
    growth = 4 * LAMBDA * time / (q + 1)
    return xor.Moments(q**2, 2 / dim * jnp.exp(growth), 2 / dim * jnp.exp(-growth))


def half_the_injection(time, dim, batch_noise):
    full, none = xor.noise_moments(time, dim, batch_noise), without_injection(time, dim, batch_noise)
    return jax.tree.map(lambda x, y: (x + y) / 2, full, none)


def perp_without_growth(time, dim, batch_noise):
    moments = xor.noise_moments(time, dim, 0.0 * batch_noise)
    return moments._replace(perp=1 + batch_noise * time)


def half_as_fast(time, dim, batch_noise):
    return xor.noise_moments(time / 2, dim, 2 * batch_noise)


def test_noise_moments_solve_their_equations():
    assert_moments_solve_their_equations(xor.noise_moments)


@pytest.mark.parametrize("wrong", [without_injection, half_the_injection, perp_without_growth, half_as_fast])
def test_wrong_noise_moments_are_rejected(wrong):
    with pytest.raises(AssertionError):
        assert_moments_solve_their_equations(wrong)


def test_noise_moments_of_fact_8():
    """The predictions quoted there, d = 256, kappa = 0.1, t = 4; without the injected noise U would be 0.00042."""
    moments = xor.noise_moments(4.0, 256, 0.1)
    np.testing.assert_allclose(moments.signal, 0.1635, atol=5e-4)
    np.testing.assert_allclose(moments.opposite, 0.00147, atol=5e-6)
    np.testing.assert_allclose(without_injection(4.0, 256, 0.1).opposite, 0.00042, atol=5e-6)


def test_noise_moments_limits():
    times = jnp.linspace(0, 10, 5)
    moments = xor.noise_moments(times, 100, 0.0)
    np.testing.assert_allclose(moments.signal, 0.02 * np.exp(2 * LAMBDA * times), rtol=1e-14)
    np.testing.assert_allclose(moments.opposite, 0.02 * np.exp(-2 * LAMBDA * times), rtol=1e-14)
    np.testing.assert_allclose(np.stack(xor.noise_moments(0.0, 100, 0.7)), [1, 0.02, 0.02], rtol=1e-14)
    kappa = 1e-4  # the floor of U, kappa/(lambda d)
    np.testing.assert_allclose(xor.noise_moments(40.0, 100, kappa).opposite, kappa / (LAMBDA * 100), rtol=5e-3)


def test_noise_moments_gradient_in_the_noise():
    gradient = jit(jax.jacrev(lambda batch_noise: jnp.stack(xor.noise_moments(3.0, 100, batch_noise))))
    at = lambda batch_noise: np.stack(xor.noise_moments(3.0, 100, batch_noise))  # noqa: E731
    np.testing.assert_allclose(gradient(0.1), (at(0.1 + 1e-5) - at(0.1 - 1e-5)) / 2e-5, rtol=1e-6)
    np.testing.assert_allclose(gradient(0.0), (4 * at(1e-5) - at(2e-5) - 3 * at(0.0)) / 2e-5, rtol=1e-6)  # one-sided


def test_noise_moments_keep_their_digits():
    """Where r^2 is far above the moments that are left: short times, much noise. In 50 digits, by the equations' solution."""
    for dtype, rtol in (("float64", 2e-14), ("float32", 1e-5)):
        for time in (1e-9, 1e-3, 0.7, 30.0):
            for kappa in (0.0, 1e-6, 0.3, 1e3, 1e9):
                t, k = (float(np.dtype(dtype).type(x)) for x in (time, kappa))
                with mpmath.workdps(60):
                    lam = 1 / mpmath.sqrt(2 * mpmath.pi)
                    q, r = mpmath.sqrt(1 + mpmath.mpf(k) * t), mpmath.mpf(k) / (4 * lam)
                    growth, expected = 4 * lam * t / (q + 1), [1 + mpmath.mpf(k) * t]
                    for sign in (1, -1):
                        p, e = sign * r, mpmath.exp(sign * growth)
                        expected.append(mpmath.mpf(2) / 100 * (e * (1 + 2 * p + 2 * p**2) - 2 * p * (q + p)))
                moments = xor.noise_moments(*jnp.asarray([t, 100, k], dtype))
                np.testing.assert_allclose(np.stack(moments), np.array(expected, float), rtol=rtol)


def test_noise_moments_at_the_end_of_time():
    assert [float(x) for x in xor.noise_moments(np.inf, 100, 0.0)] == [1, np.inf, 0]
    assert [float(x) for x in xor.noise_moments(np.inf, 100, 0.1)] == [np.inf] * 3
    assert [float(x) for x in xor.balance_growth(np.inf, 100, [0.0, 0.1])] == [0, np.inf]
    signal = xor.noise_moments(2000.0, 100, 0.0).signal  # e^1596
    assert float(signal) == np.inf


def test_noise_rates_are_the_second_moments_of_one_example():
    """(eta/m) E[(relu'(w.x) x.mu)^2] = 2 kappa/d feeds V and U; |w|^2 - a^2 grows by (eta/m) E[|g_w|^2 - g_a^2]."""
    dim, kappa = 12, 0.3
    x, per_example = hypercube(dim), 2 * kappa / dim  # eta/m
    slope = jit(jax.jacfwd(lambda time, batch_noise: jnp.stack(xor.noise_moments(time, dim, batch_noise)[1:])))
    for w in unit_neurons(dim, 3)[0]:
        h = x @ w
        fed = per_example * ((h > 0) * (x[:, 0] - x[:, 1]) ** 2).mean()
        np.testing.assert_allclose(slope(0.0, kappa) - slope(0.0, 0.0), [fed, fed], rtol=1e-10)
        broken = per_example * ((h > 0) * (x**2).sum(axis=1) - np.maximum(h, 0) ** 2).mean()
        np.testing.assert_allclose(xor.balance_growth(1.0, dim, kappa), broken, rtol=1e-10)
    np.testing.assert_allclose(xor.noise_parameter(0.1, 256, 13), 0.1 * 256 / 26, rtol=1e-14)


def assert_phase1_samples(phase1_samples_fn):
    """n = d T/(2 kappa), where T carries V from 2/d to 1 at the rate 2 lambda/sqrt(1 + kappa t)."""
    for dim, kappa in ((64, 0.1), (256, 1.0), (1000, 5.0)):

        def missing(time, dim=dim, kappa=kappa):
            rate = lambda t: 2 * LAMBDA / math.sqrt(1 + kappa * t)  # noqa: E731
            return integrate.quad(rate, 0, time, epsabs=1e-12)[0] - math.log(dim / 2)

        samples = dim * optimize.brentq(missing, 0, 1000, xtol=1e-12) / (2 * kappa)
        np.testing.assert_allclose(phase1_samples_fn(dim, kappa), samples, rtol=1e-8)


def test_phase_1_samples():
    assert_phase1_samples(xor.phase1_samples)
    assert_phase1_samples(lambda dim, kappa: xor.phase1_samples(float(dim), kappa))
    limit = math.pi / 4 * 1000 * (math.log(500) / 2) ** 2
    np.testing.assert_allclose(xor.phase1_samples(1000, 1e9), limit, rtol=1e-6)
    with pytest.raises(AssertionError):  # loss without its factor 2
        assert_phase1_samples(lambda dim, kappa: 2 * xor.phase1_samples(dim, kappa))
    with pytest.raises(AssertionError):  # sig in place of sig^2
        assert_phase1_samples(lambda dim, kappa: xor.phase1_samples(dim**2 / 2, kappa) * 2 / dim)


def test_time_to_margin_one_increments():
    """Its constant is tested against runs in test_xor_mean_field.py."""
    time = xor.time_to_margin_one(jnp.array([64, 640]), 0.1)
    np.testing.assert_allclose(time[1] - time[0], math.log(10) / (2 * LAMBDA), rtol=1e-12)
    assert abs(float(xor.time_to_margin_one(64, 0.1) - xor.time_to_margin_one(64, 1.0)) - 6.5127) < 1e-4


# ------------------------------------------------------------------------------------------------------------ the rates


def assert_rates(rates, label_given_z):
    """z = x.mu_1/sqrt 2 is normal: growth of a small signal eps and of an aligned one, with E[y | z] given."""
    normal = lambda z: LAMBDA * math.exp(-(z**2) / 2)  # noqa: E731
    eps = 1e-3
    small = lambda z: normal(z) * label_given_z(z) * z * special.ndtr(eps * z) / eps  # noqa: E731
    aligned = lambda z: normal(z) * label_given_z(z) * z  # noqa: E731
    quad = functools.partial(integrate.quad, epsabs=1e-12)
    np.testing.assert_allclose(quad(small, -40, 0)[0] + quad(small, 0, 40)[0], rates.small_signal, atol=2e-6)
    np.testing.assert_allclose(quad(aligned, 0, 40)[0], rates.aligned, atol=1e-10)


GAUSSIAN_SIGN = (xor.GAUSSIAN_SIGN_RATES, lambda z: 2 * special.erf(abs(z) / math.sqrt(2)) - 1)  # P(|z'| < |z|) - ...
GAUSSIAN_PRODUCT = (xor.GAUSSIAN_PRODUCT_RATES, lambda z: (z**2 - 1) / 2)


@pytest.mark.parametrize(("rates", "label_given_z"), [GAUSSIAN_SIGN, GAUSSIAN_PRODUCT])
def test_gaussian_rates(rates, label_given_z):
    assert_rates(rates, label_given_z)
    with pytest.raises(AssertionError):  # the Boolean rates in their place
        assert_rates(xor.BOOLEAN_RATES, label_given_z)
    with pytest.raises(AssertionError):  # rates of alpha = sqrt 2 |w_sig|
        assert_rates(rates._replace(aligned=math.sqrt(2) * rates.aligned), label_given_z)


def test_boolean_rates_are_those_of_the_drift():
    small = velocity(xor.drift, [1e-6, 0, 1, 1])[0] / 1e-6
    aligned = velocity(xor.drift, [1, 0, 1e-9, 1])[0] / math.sqrt(2)
    np.testing.assert_allclose([small, aligned], xor.BOOLEAN_RATES, rtol=1e-10)


# ----------------------------------------------------------------------------------------------------------- contracts


@pytest.mark.slow
def test_dtype_follows_the_input():
    x = jnp.float32(2.0)
    start = xor.typical_start(100 * x)
    traced = jax.eval_shape(xor.trajectory, x, start)
    assert {field.shape for field in traced} == {()}
    results = (
        start,
        xor.drift(start, 0.1),
        traced,
        jax.eval_shape(xor.phase1_length, 100 * x),
        xor.phase1_margin(x, 100),
        xor.time_to_margin_one(100, x),
        xor.noise_parameter(x, 100, 10),
        xor.noise_moments(x, 100, 0.1),
        xor.balance_growth(x, 100, 0.1),
        xor.phase1_samples(100, x),
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {x.dtype}


@pytest.mark.slow
def test_closed_forms_broadcast_and_vmap():
    times, dims = jnp.linspace(0, 5, 6), jnp.array([50, 500, 5000])

    def closed_forms(time, dim):
        return xor.noise_moments(time, dim, 0.3), xor.phase1_margin(time, dim, 0.1), xor.balance_growth(time, dim, 0.3)

    grid = jit(closed_forms)(times[:, None], dims[None])
    rows = jit(jax.vmap(jax.vmap(closed_forms, (None, 0)), (0, None)))(times, dims)
    for field, loop in zip(jax.tree.leaves(grid), jax.tree.leaves(rows), strict=True):
        assert field.shape == (6, 3)
        np.testing.assert_allclose(field, loop, rtol=1e-14)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def drawn(rng):
    """Ratios to s from 1e-6 to 1e6, either sign, at sizes from 1e-6 to 1e6."""
    size, ratios = 10.0 ** rng.uniform(-6, 6), 10.0 ** rng.uniform(-6, 6, (2, 4))
    s, sign = size * 10.0 ** rng.uniform(-1, 1, 4), rng.choice([-1, 1], (3, 4))
    alpha, beta, a = sign[0] * s * ratios[0], sign[1] * s * ratios[1], sign[2] * size * 10.0 ** rng.uniform(-1, 1, 4)
    return {"neuron.alpha": alpha, "neuron.beta": beta, "neuron.s": s, "neuron.a": a, "batch_noise": 10.0 ** rng.uniform(-6, 6)}


def drawn_start(rng):
    alpha, beta, a = 10.0 ** rng.uniform(-3, 0.3, 3) * rng.choice([-1, 1], 3)
    start = {"start.alpha": alpha, "start.beta": beta, "start.s": 10.0 ** rng.uniform(-0.5, 0.5), "start.a": a}
    return start | {"time": rng.uniform(0, 8, 2), "batch_noise": 10.0 ** rng.uniform(-2, 1)}


# The solvers as one program, in place of one for each kind of argument.
solved = jax.jit(xor.trajectory)
reached = jax.jit(xor.phase1_length)


@takes(**xor.trajectory.ranges)
def trajectory(time: Real[ArrayLike, "*time"], start: Neuron, batch_noise: Real[ArrayLike, ""]):
    return jnp.stack(solved(time, start, batch_noise))  # beta decays far below what the solver resolves of the others


@takes(**xor.phase1_length.ranges)
def phase1_length(dim: Real[ArrayLike, ""], batch_noise: Real[ArrayLike, ""]):
    return reached(dim, batch_noise)


FOUR = Neuron(*np.array([[0.3, -0.8, 0.1, 1.2], [0.2, 0.4, -0.9, -0.3], [0.9, 0.4, 1.3, 0.6], [1.2, -0.7, 0.5, -1.1]]))
ONE = Neuron(0.14, 0.12, 0.9, 1.0)
DIMS = [2.0, 1e12]
CALLS = [
    Call(
        xor.drift,
        {"neuron": FOUR, "batch_noise": 0.3},
        edges={"batch_noise": [0.0, 1e-9, 1e6]},
        cases=[
            {"neuron.alpha": np.zeros(4), "neuron.beta": np.zeros(4), "neuron.s": np.zeros(4), "neuron.a": np.zeros(4)},
            {"neuron.alpha": np.zeros(4), "neuron.a": np.zeros(4)},
            {"neuron.alpha": 1e3 * FOUR.alpha},
        ],
        kinks=["case 0"],  # s = 0
        scaling={"neuron.alpha": 1, "neuron.beta": 1, "neuron.s": 1, "neuron.a": 1},
        degree=1,
        draw=drawn,
    ),
    Call(
        xor.typical_start, {"dim": 50.0, "init_scale": 0.3}, edges={"dim": [*DIMS, np.inf]}, scaling={"init_scale": 1}, degree=1
    ),
    Call(
        trajectory,
        {"time": np.array([1.5, 0.4]), "start": ONE, "batch_noise": 0.1},
        of=xor.trajectory,
        # Reverse mode compiles for minutes; test_trajectory_derivatives and test_slope_in_time_at_0 take forward mode.
        differentiable=False,
        rounding=16,  # the solver's relative tolerance in float32 is 100 eps a step
        edges={"time": [0.0, 30.0], "batch_noise": [0.0, 10.0], "start.s": [0.01], "start.alpha": [0.0], "start.a": [-1.0]},
        scaling={"start.alpha": 1, "start.beta": 1, "start.s": 1, "start.a": 1},
        degree=1,
        draw=drawn_start,
    ),
    Call(
        phase1_length,
        {"dim": 100.0, "batch_noise": 0.1},
        of=xor.phase1_length,
        edges={"dim": [4.001, 1e12, 1e30], "batch_noise": [0.0, 1.6]},
    ),
    Call(
        xor.phase1_margin,
        {"time": np.array([0.4, 5.0]), "dim": 50.0, "init_scale": 0.3},
        edges={"time": [0.0, 1e-9, 1e3, np.inf], "dim": DIMS},
        scaling={"init_scale": 1},
        degree=2,
    ),
    Call(xor.time_to_margin_one, {"dim": 50.0, "init_scale": 0.3}, edges={"dim": [*DIMS, np.inf], "init_scale": [0.0, 1e-12]}),
    Call(xor.noise_parameter, {"learning_rate": 0.1, "dim": 50.0, "batch_size": 7.0}, edges={"dim": DIMS}),
    Call(
        xor.noise_moments,
        {"time": np.array([0.4, 5.0]), "dim": 50.0, "batch_noise": 0.3},
        edges={"time": [0.0, 1e-9, 1e3, np.inf], "dim": DIMS, "batch_noise": [0.0, 1e-9, 1e9]},
    ),
    Call(
        xor.balance_growth,
        {"time": np.array([0.4, 5.0]), "dim": 50.0, "batch_noise": 0.3},
        edges={"time": [0.0, np.inf], "dim": DIMS, "batch_noise": [0.0, 1e9]},
    ),
    Call(xor.phase1_samples, {"dim": 50.0, "batch_noise": 0.3}, edges={"dim": DIMS, "batch_noise": [1e-9, 1e9, np.inf]}),
]
