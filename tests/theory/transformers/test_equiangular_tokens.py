"""Equiangular tokens against quadrature, mpmath and flows of all tokens in numpy."""

import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from closedform.theory.transformers import equiangular_tokens as theory
from closedform.theory.transformers import interaction_energy
from zoo.calls import Call
from zoo.checks import rejected
from zoo.tokens import equiangular, pairs, sphere, tokens_flow, velocity

hitting_time = jax.jit(theory.hitting_time, static_argnames="softmax")
log_hitting_time = jax.jit(theory.log_hitting_time, static_argnames="softmax")
inner_product = jax.jit(theory.inner_product, static_argnames="softmax")


def columns(*rows):
    return np.array(rows, dtype=float).T


# --- hitting times ---------------------------------------------------------------------------------------------------------


def test_hitting_time_numbers():
    expected = {
        2: [1.472219, 1.917028, 8.390296, 464.089135],
        4: [1.805459, 2.115632, 7.093941, 396.321285],
        32: [2.833213, 2.915566, 4.593210, 176.359030],
    }
    n, beta = np.repeat([2.0, 4, 32], 4), np.tile([0.0, 1, 4, 9], 3)

    def assert_numbers(times):
        # rtol is the specification's, atol half of its last digit
        np.testing.assert_allclose(times, np.concatenate(list(expected.values())), rtol=1e-7, atol=6e-7)

    level = np.full(12, 0.9)
    assert_numbers(hitting_time(level, n, beta))
    rejected(assert_numbers, hitting_time(level, n, beta, softmax=False))
    rejected(assert_numbers, hitting_time(level, n + 1, beta))
    np.testing.assert_allclose(hitting_time(0.9, 4.0, 1.0, softmax=False), 1.120615900918, rtol=1e-12)


# level, n, beta, initial: short and long ways, small and large beta, both sides of every switch
CASES = columns(
    (0.9, 2, 1.0, 0.0),
    (0.999, 32, 9.0, 0.0),
    (0.5, 8, 20.0, 0.0),
    (1e-6, 8, 3.0, 0.0),
    (0.02, 64, 0.7, 0.0),
    (0.3, 1000, 60.0, 0.0),
    (0.99, 5, 1e-9, 0.0),
    (0.99, 5, 1e-20, 0.0),
    (0.4, 3, 2.0, -0.45),
    (0.97, 16, 6.0, 0.6),
    (0.61, 16, 6.0, 0.6),
    (0.999999, 2, 0.3, 0.0),
    (-0.2, 4, 5.0, -0.3333),
)


def quadrature(level, n, beta, initial, softmax=True, own=True):
    """int dg/gamma', in the variable u = -ln(1 - g), in which it is smooth up to g = 1."""

    def slowness(u):
        gap = np.exp(-u)
        g = 1 - gap
        total = (own * np.exp(beta) + (n - 1) * np.exp(beta * g)) if softmax else n
        return total * np.exp(-beta * g) / (2 * ((n - 1) * g + 1))

    points = -np.log1p(-np.linspace(initial, level, 12))
    return sum(quad(slowness, *ends, epsabs=0, epsrel=1e-13)[0] for ends in itertools.pairwise(points))


@pytest.mark.parametrize("softmax", [True, False])
def test_hitting_time_is_the_integral(softmax):
    found = hitting_time(*CASES, softmax=softmax)

    def assert_integral(**change):
        expected = [quadrature(*case, **(dict(softmax=softmax) | change)) for case in CASES.T]
        np.testing.assert_allclose(found, expected, rtol=1e-11)

    assert_integral()
    np.testing.assert_allclose(np.exp(log_hitting_time(*CASES, softmax=softmax)), found, rtol=1e-12)
    rejected(lambda: assert_integral(softmax=not softmax))
    if softmax:
        rejected(lambda: assert_integral(own=False))  # j = i forgotten


def test_hitting_time_in_the_form_of_the_specification():
    def literal(g, n, beta, softmax):
        c = beta / (n - 1)
        A = mpmath.ei(beta) - mpmath.ei(beta * (1 - g))
        B = mpmath.e1(c) - mpmath.e1(c + beta * g)
        if softmax:
            return ((n - 1) * mpmath.log((1 + (n - 1) * g) / (1 - g)) + A + mpmath.exp(beta + c) * B) / (2 * n)
        return (mpmath.exp(-beta) * A + mpmath.exp(c) * B) / 2

    g, n, beta = columns((0.9, 2, 1), (0.3, 7, 25), (0.99, 32, 0.01), (0.9, 3, 1000), (0.6, 50, 5000))
    for softmax in (True, False):
        with mpmath.workdps(40):
            exact = [literal(*map(mpmath.mpf, case), softmax) for case in zip(g, n, beta, strict=True)]
            logs = [float(mpmath.log(time)) for time in exact]
        np.testing.assert_allclose(log_hitting_time(g, n, beta, softmax=softmax), logs, rtol=1e-13)
        np.testing.assert_allclose(hitting_time(g[:3], n[:3], beta[:3], softmax=softmax), np.exp(logs[:3]), rtol=1e-12)
    assert np.isinf(hitting_time(0.9, 3.0, 1000.0))
    assert hitting_time(0.0, 3.0, 1000.0) == 0


def test_metastable_stay():
    beta = np.array([10.0, 20, 40])
    ratios = np.exp(log_hitting_time(0.9, 2.0, beta) - beta) * 2 * beta
    np.testing.assert_allclose(ratios, [1.0238, 1.0052, 1.0013], atol=5e-5)
    rejected(np.testing.assert_allclose, np.exp(log_hitting_time(0.9, 8.0, beta) - beta) * 2 * beta, ratios, 0.01)


# --- gamma(t) --------------------------------------------------------------------------------------------------------------


def test_inner_product_numbers():
    def assert_numbers(gamma_fn):
        np.testing.assert_allclose(gamma_fn(4.0, 1.0), 0.981415675650, rtol=0, atol=1e-9)
        np.testing.assert_allclose(gamma_fn(8.0, 4.0), 0.179890868958, rtol=0, atol=1e-9)

    def integrated(rate_fn):
        def gamma(n, beta):
            return solve_ivp(lambda _, g: rate_fn(g, n, beta), (0, 3), [0.0], "DOP853", rtol=1e-12, atol=1e-13).y[0, -1]

        return gamma

    def without_itself(g, n, beta):
        return 2 * (1 - g) * ((n - 1) * g + 1) / (n - 1)

    rate = jax.jit(theory.inner_product_rate)

    assert_numbers(lambda n, beta: inner_product(3.0, n, beta))
    assert_numbers(integrated(rate))
    rejected(assert_numbers, integrated(without_itself))
    rejected(assert_numbers, lambda n, beta: inner_product(3.0, n, beta, softmax=False))


@pytest.mark.parametrize("softmax", [True, False])
def test_inner_product_is_that_of_the_tokens(softmax):
    times = np.array([0, 0.1, 0.5, 1, 3, 6])
    for n, dim, beta, start in ((4, 4, 1.0, 0.0), (8, 16, 4.0, 0.0), (3, 3, 2.0, -0.4), (6, 9, 3.0, 0.3)):
        flow = tokens_flow(times, equiangular(n, dim, start), beta, softmax)
        expected = np.array([pairs(x) for x in flow])
        assert np.ptp(expected, axis=1).max() < 1e-9
        found = inner_product(times, *np.broadcast_arrays(n, beta, start, times)[:3], softmax=softmax)
        np.testing.assert_allclose(found, expected[:, 0], rtol=0, atol=1e-9)


def test_inner_product_at_zero_beta():
    times, n = np.array([0, 1e-9, 0.4, 2, 30, np.inf]), np.array([2.0, 5, 40])
    grid = np.meshgrid(times, n)
    closed = jax.jit(theory.inner_product_at_zero_beta)(*grid)
    np.testing.assert_allclose(closed[0], np.tanh(times), rtol=1e-12)
    finite = np.exp(2 * grid[0][:, :5])
    np.testing.assert_allclose(closed[:, :5], (finite - 1) / (finite + grid[1][:, :5] - 1), rtol=1e-7, atol=1e-16)
    for softmax in (True, False):
        np.testing.assert_allclose(inner_product(*grid, np.zeros_like(grid[0]), softmax=softmax), closed, rtol=1e-12)
    np.testing.assert_allclose(hitting_time(0.9, n, np.zeros(3)), np.log((1 + (n - 1) * 0.9) / 0.1) / 2, rtol=1e-13)


@pytest.mark.slow
def test_start_end_and_rates():
    """Slope 2/(e^beta + n - 1) and 2/n at the start; 1 - gamma as e^(-2t), e^(-2 e^beta t) at the end."""
    n, beta = 8.0, 2.0
    for softmax, slope, late in ((True, 2 / (np.exp(beta) + n - 1), 2), (False, 2 / n, 2 * np.exp(beta))):
        np.testing.assert_allclose(theory.inner_product_rate(0.0, n, beta, softmax), slope, rtol=1e-14)
        times = hitting_time(np.array([1 - 1e-6, 1 - 1e-8]), n, beta, softmax=softmax)
        np.testing.assert_allclose(np.log(100) / np.diff(times), late, rtol=1e-5)
        ends = inner_product(np.array([1e-9, 0, 1e3, 1e300, np.inf]), n, beta, softmax=softmax)
        np.testing.assert_allclose(ends[0], 1e-9 * slope, rtol=1e-7)
        np.testing.assert_array_equal(ends[1:], [0, 1, 1, 1])
    assert hitting_time(np.array([1.0, 1.0]), n, beta)[0] == np.inf


def test_inner_product_inverts_the_hitting_time():
    """At every time and beta: the time comes back, also where gamma itself is uncertain by rounding of the time."""
    share, beta = np.meshgrid(np.linspace(0.01, 1.6, 30), np.array([0, 1e-6, 0.3, 2, 9, 30, 80, 300, 650]))
    for n in (2.0, 30.0):
        for start in (0.0, -0.02):
            times = share * np.asarray(hitting_time(0.9, n, beta, start))
            gamma = np.asarray(inner_product(times, n, beta, start))
            known = gamma < 1 - 1e-6  # nearer to 1 gamma's rounding is the greater one
            back = np.asarray(hitting_time(gamma, n, beta, start))
            np.testing.assert_allclose(back[known], times[known], rtol=1e-9)
            assert known.mean() > 0.4
            assert np.all(np.diff(gamma, axis=1) >= -1e-12)


# --- layers ----------------------------------------------------------------------------------------------------------------


def test_layers():
    layers = jax.jit(theory.layer_inner_products, static_argnums=0)
    cases = ((20, 8, 1.0, 0.1, 0.780340401418), (6, 5, 2.0, 1.0, 0.973243615414), (10, 6, 2.0, 0.5, 0.983413733425))
    for count, n, beta, step, expected in cases:
        for start in (0.0, -0.1):
            x = equiangular(n, n + 2, start)
            tokens = [pairs(x)[0]]
            for _ in range(count):
                weights = np.exp(beta * x @ x.T)
                x = x + step * weights / weights.sum(axis=1, keepdims=True) @ x
                x /= np.linalg.norm(x, axis=1, keepdims=True)
                tokens.append(pairs(x).mean())
            found = layers(count, n, beta, step, start)
            np.testing.assert_allclose(found, tokens, rtol=0, atol=2e-14)
        final = layers(count, n, beta, step)[-1]
        np.testing.assert_allclose(final, expected, rtol=0, atol=1e-10)
        rejected(np.testing.assert_allclose, layers(count, n, beta, step / n)[-1], expected, 0, 1e-4)
        rejected(np.testing.assert_allclose, inner_product(count * step, n * 1.0, beta), expected, 0, 1e-4)  # no flow


def test_layers_become_the_flow():
    """The error of N layers of step t/N halves with twice as many."""
    errors = [theory.layer_inner_products(n, 8, 2.0, 3 / n)[-1] - inner_product(3.0, 8.0, 2.0) for n in (50, 100, 200)]
    np.testing.assert_allclose(np.array(errors[:-1]) / np.array(errors[1:]), 2, atol=0.1)


# --- energy, and many dimensions -------------------------------------------------------------------------------------------


def test_energy_of_equiangular_tokens():
    x, literal = equiangular(5, 6, 0.2), 0.0
    for one in x:
        for other in x:
            literal += np.exp(2 * one @ other) / (2 * 2 * 25)
    found = [interaction_energy.energy(x, 2.0), theory.equiangular_energy(0.2, 5, 2.0)]
    np.testing.assert_allclose(found, literal, rtol=1e-13)


def test_uniform_tokens_in_many_dimensions():
    """n = 8, beta = 1: inner products are off gamma(t) by about 0.3 at d = 64, 0.1 at d = 1024, less at the end."""
    step, count = 0.05, 240
    gamma = np.asarray(inner_product(step * np.arange(count + 1), np.full(count + 1, 8.0), np.full(count + 1, 1.0)))
    worst, last = np.zeros((2, 6)), np.zeros((2, 6))
    for i, dim in enumerate((64, 1024)):
        for seed in range(6):
            gram = sphere(8, dim, seed)
            gram = np.linalg.cholesky(gram @ gram.T)  # eight coordinates are enough
            off = []
            for g in gamma:
                off.append(np.abs(pairs(gram) - g).max())
                half = gram + step / 2 * velocity(gram, 1.0)
                gram = gram + step * velocity(half, 1.0)
                gram /= np.linalg.norm(gram, axis=1, keepdims=True)
            worst[i, seed], last[i, seed] = max(off), off[-1]
    assert np.all((worst[0] > 0.2) & (worst[0] < 0.45)), worst
    assert np.all((worst[1] > 0.05) & (worst[1] < 0.14)), worst
    assert 2.5 < worst[0].mean() / worst[1].mean() < 5  # (1024/64)^(1/2) = 4
    assert np.all(last < 1e-3)


# --- as programs -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_phase_diagram_and_curve():
    times, betas = np.linspace(0, 30, 7), np.array([0.0, 2, 5, 9])
    grid = np.asarray(jax.jit(theory.phase_diagram)(times, betas, 16.0))
    ones = np.ones(7)
    assert grid.shape == (4, 7)
    for row, beta in zip(grid, betas, strict=True):
        np.testing.assert_allclose(row, inner_product(times, 16 * ones, beta * ones), rtol=1e-10, atol=1e-14)
    curve = jax.jit(theory.phase_curve)(betas, 16.0, 1e-3)
    np.testing.assert_allclose(inner_product(curve, 16.0, betas), 1 - 1e-3, rtol=1e-12)
    np.testing.assert_array_equal(grid > 1 - 1e-3, times[None, :] > np.asarray(curve)[:, None])


@pytest.mark.slow
def test_jit_vmap_and_dtype():
    level, n, beta, start = CASES[:, :6]
    times = hitting_time(level, n, beta, start)
    np.testing.assert_allclose(theory.hitting_time(level, n, beta, start), times, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(jax.vmap(theory.hitting_time))(level, n, beta, start), times, rtol=1e-12)
    now = np.minimum(times, 2.0)
    gamma = inner_product(now, n, beta, start)
    np.testing.assert_allclose(theory.inner_product(now, n, beta, start), gamma, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(jax.vmap(theory.inner_product))(now, n, beta, start), gamma, rtol=1e-12)
    with jax.enable_x64(False):
        single = [jnp.asarray(values, jnp.float32) for values in (level, n, beta, start)]
        step = jnp.float32(0.5)
        found = [
            hitting_time(*single),
            inner_product(jnp.asarray(now, jnp.float32), *single[1:]),
            log_hitting_time(*single),
            jax.jit(theory.inner_product_rate)(*single[:3]),
            jax.jit(theory.inner_product_at_zero_beta)(*single[:2]),
            jax.jit(theory.layer_inner_products, static_argnums=0)(3, *single[1:3], step),
            jax.jit(theory.equiangular_energy)(*single[:3]),
        ]
    assert {leaf.dtype for leaf in found} == {jnp.dtype("float32")}
    np.testing.assert_allclose(found[0], times, rtol=1e-4)
    np.testing.assert_allclose(found[1], gamma, rtol=1e-4)
    np.testing.assert_allclose(found[2], np.log(times), rtol=2e-5, atol=2e-5)


def assert_slopes(value_fn, points, softmax, step=1e-6):
    """The gradient against central differences, along every argument; each case depends on its own numbers alone."""
    slope = jax.jit(jax.grad(lambda *x: value_fn(*x, softmax=softmax).sum(), tuple(range(len(points)))))
    for i, found in enumerate(slope(*points)):
        moved = [points + sign * step * np.eye(len(points))[i][:, None] for sign in (1, -1)]
        change = value_fn(*moved[0], softmax=softmax) - value_fn(*moved[1], softmax=softmax)
        np.testing.assert_allclose(found, change / (2 * step), rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("softmax", [True, False])
def test_gradients(softmax):
    points = columns((0.9, 2.5, 1, 0.1), (0.02, 8, 0.3, 0.01), (0.4, 3, 2, -0.4), (0.97, 16, 6, 0.6), (0.6, 30, 9, 0))
    assert_slopes(hitting_time, points, softmax)
    assert_slopes(log_hitting_time, points, softmax)
    assert_slopes(inner_product, np.concatenate([[[0.9, 0.2, 0.4, 0.1, 3.0]], points[1:]]), softmax)


def test_gradients_at_the_edges():
    """beta = 0, the start, long times, and beta where the time overflows."""
    slope = jax.jit(jax.grad(theory.hitting_time, (0, 1, 2)))
    # at beta = 0: dt/dbeta = -int gamma dl/2 + the factor e^beta of one's own weight: int (1 - g)/(2 n) dl
    change = (hitting_time(0.5, 4.0, 1e-5) - hitting_time(0.5, 4.0, 0.0)) / 1e-5
    np.testing.assert_allclose(slope(0.5, 4.0, 0.0)[2], change, rtol=1e-4)
    np.testing.assert_allclose(slope(0.0, 4.0, 1.0)[0], (np.exp(1) + 3) / 2, rtol=1e-13)
    gamma = jax.jit(jax.grad(theory.inner_product, (0, 1, 2)))
    np.testing.assert_allclose(gamma(0.0, 4.0, 1.0)[0], 2 / (np.exp(1) + 3), rtol=1e-13)
    for time, beta in ((0.0, 0.0), (1.0, 0.0), (50.0, 0.0), (1e6, 4.0), (np.inf, 2.0), (1.0, 2000.0), (0.0, 60.0)):
        assert np.isfinite(gamma(time, 4.0, beta)).all(), (time, beta)
    assert np.isfinite(jax.jit(jax.grad(theory.log_hitting_time, 2))(0.9, 4.0, 5000.0))


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (theory.hitting_time, (0.9, 1, 1.0), "num_tokens must be at least 2"),
        (theory.hitting_time, (0.9, 4, -1.0), "beta must be at least 0"),
        (theory.hitting_time, (1.1, 4, 1.0), "level must be at least -1 and at most 1"),
        (theory.log_hitting_time, (0.1, 4, 1.0, 0.2), "level must be between initial and 1"),
        (theory.inner_product, (-1.0, 4, 1.0), "time must be at least 0"),
        (theory.inner_product, (1.0, 4, 1.0, -0.4), "initial must be at least .*, got -0.4 with num_tokens 4.0"),
        (theory.inner_product_at_zero_beta, (1.0, 4, 1.0), "initial must be .* below 1"),
        (theory.inner_product_rate, (0.0, 0, 1.0), "num_tokens must be at least 2"),
        (theory.phase_curve, (1.0, 4, 0.0), "delta must be above 0"),
        (theory.phase_curve, (1.0, 8, 1.5), "delta must be at most 1 - initial, got 1.5 with initial 0.0"),
        (theory.phase_curve, (1.0, 8, 0.9, 0.5), "delta must be at most 1 - initial, got 0.9 with initial 0.5"),
        (theory.layer_update, (0.0, 4, 1.0, -1.0), "step_size must be at least 0"),
        (theory.layer_inner_products, (-1, 4, 1.0, 1.0), "num_layers must be at least 0"),
        (theory.equiangular_energy, (0.0, 2, 0.0), "beta must be above 0"),
    ],
)
def test_bad_arguments_are_named(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


# --- at the ends of the ranges ---------------------------------------------------------------------------------------------


def test_gamma_is_flat_where_it_is_one():
    """1 - gamma is below rounding: slope 0; a metastable state has its own."""
    slope = jax.jit(jax.grad(theory.inner_product), static_argnames="softmax")
    assert slope(1.0, 8.0, 50.0, softmax=False) == 0
    assert slope(300.0, 8.0, 2.0, softmax=True) == 0
    for time, beta in ((1e25, 50.0), (np.inf, 1e5)):
        assert inner_product(time, 8.0, beta) == 1
        assert slope(time, 8.0, beta, softmax=True) == 0
    near_rate = theory.inner_product_rate(inner_product(2.0, 8.0, 2.0, softmax=False), 8.0, 2.0, softmax=False)
    np.testing.assert_allclose(slope(2.0, 8.0, 2.0, softmax=False), near_rate, rtol=1e-6)


@pytest.mark.slow
def test_infinitely_many_tokens():
    """SA: gamma' = 2 (1 - gamma) gamma at every beta, so gamma/(1 - gamma) grows as e^(2t); USA as the integral says."""
    time, start = np.array([0, 0.5, 3, np.inf]), 0.2
    odds = np.exp(2 * time) * start / (1 - start)
    share = np.where(np.isinf(odds), 1, odds / (1 + np.where(np.isinf(odds), 0, odds)))
    for beta in (0.0, 3.0, 1e5):
        same = np.full(4, beta)
        np.testing.assert_allclose(inner_product(time, np.full(4, np.inf), same, np.full(4, start)), share, rtol=1e-14)
        np.testing.assert_allclose(hitting_time(share[1:3], np.inf, beta, start), time[1:3], rtol=1e-12)
        np.testing.assert_allclose(np.exp(log_hitting_time(share[1:3], np.inf, beta, start)), time[1:3], rtol=1e-12)
        np.testing.assert_array_equal(inner_product(time, np.full(4, np.inf), same, np.zeros(4)), 0)
    assert hitting_time(0.5, np.inf, 1.0) == np.inf
    # many: as infinitely many
    for softmax in (True, False):
        many, all_ = (inner_product(0.7, n, 2.0, 0.3, softmax=softmax) for n in (1e12, np.inf))
        np.testing.assert_allclose(many, all_, rtol=1e-10)
        many, all_ = (theory.inner_product_rate(0.3, n, 2.0, softmax) for n in (1e12, np.inf))
        np.testing.assert_allclose(many, all_, rtol=1e-10)
        usa = 2 * np.exp(0.6) * 0.7 * 0.3
        np.testing.assert_allclose(all_, 2 * 0.7 * 0.3 if softmax else usa, rtol=1e-14)
    np.testing.assert_allclose(theory.layer_update(0.3, np.inf, 2.0, 0.5), 0.3 * 1.5**2 / (0.3 * 1.5**2 + 0.7), rtol=1e-14)
    np.testing.assert_allclose(theory.equiangular_energy(0.3, np.inf, 2.0), np.exp(0.6) / 4, rtol=1e-14)


def test_the_regular_simplex_stays():
    """From -1/(n - 1) gamma never moves; the slope by the start is e^(2 (1 + share) t), of the unstable direction."""
    for n in (2.0, 3.0, 5.0):
        start = -1 / (n - 1)
        for time in (0.0, 1.0, np.inf):
            assert inner_product(time, n, 2.0, start) == start
            assert theory.inner_product_at_zero_beta(time, n, start) == start
        assert hitting_time(0.5, n, 2.0, start) == np.inf
        assert hitting_time(start, n, 2.0, start) == 0
        assert theory.layer_inner_products(2, n, 2.0, 1.0, start)[-1] == pytest.approx(start, abs=1e-15)
        weight = np.exp(-2.0 * (1 - start))  # gamma' = 2 (1 - gamma) (gamma - start) weight (n - 1)/(1 + (n - 1) weight)
        growth = np.exp(2 * (1 - start) * weight * (n - 1) / (1 + (n - 1) * weight))
        np.testing.assert_allclose(jax.grad(theory.inner_product, 3)(1.0, n, 2.0, start), growth, rtol=1e-12)


def test_infinite_beta_and_long_metastable_states():
    """At any finite time nothing moves (SA); USA runs to 1 at once from above 0, and stays below it."""
    for start in (-0.1, 0.0, 0.4):
        assert inner_product(1e30, 8.0, np.inf, start) == start
        assert hitting_time(0.5, 8.0, np.inf, start) == np.inf
        assert hitting_time(start, 8.0, np.inf, start) == hitting_time(start, 8.0, 1e5, start) == 0
    assert inner_product(1e-3, 8.0, np.inf, 0.4, softmax=False) == 1
    assert inner_product(1e3, 8.0, np.inf, -0.1, softmax=False) == -0.1
    assert hitting_time(0.5, 8.0, 1e5, -0.1, softmax=False) == np.inf  # not the largest finite number
    assert hitting_time(1.0, 8.0, 1e5, 0.5, softmax=False) == log_hitting_time(1.0, 8.0, 1e5) == np.inf
    for softmax in (True, False):
        assert theory.inner_product_rate(1.0, 8.0, np.inf, softmax) == 0
        assert inner_product(0.0, 8.0, 1e5, 0.5, softmax=softmax) == 0.5
    assert theory.inner_product_rate(0.5, 8.0, np.inf) == 0
    assert theory.inner_product_rate(0.5, 8.0, np.inf, softmax=False) == np.inf
    assert theory.layer_update(0.5, 8.0, np.inf, 1.0) == 0.5
    # times at which e^-beta alone underflows: t e^-beta/(beta ...) counts
    log_times = np.array([700.0, 704.0])
    for time, log_time in zip(np.exp(log_times), log_times, strict=True):
        gamma = inner_product(time, 8.0, 712.0)
        np.testing.assert_allclose(log_hitting_time(gamma, 8.0, 712.0), log_time, rtol=1e-12)


def test_layers_of_any_step():
    """Without the residual, and with steps whose squares overflow, against the Gram matrix of the tokens."""
    for n, beta, g in ((5, 2.0, 0.3), (3, 1.0, -0.4), (7, 0.0, 0.1)):
        gram = (1 - g) * np.eye(n) + g
        weights = np.exp(beta * gram)
        mixing = weights / weights.sum(axis=1, keepdims=True)
        new = mixing @ gram @ mixing.T
        expected = new[0, 1] / new[0, 0]
        np.testing.assert_allclose(theory.layer_update(g, n, beta, [np.inf, 1e200]), expected, rtol=1e-12)
        new = (np.eye(n) + 3 * mixing) @ gram @ (np.eye(n) + 3 * mixing).T
        np.testing.assert_allclose(theory.layer_update(g, n, beta, 3), new[0, 1] / new[0, 0], rtol=1e-12)
    assert theory.layer_update(-1, 2, 0, np.inf) == -1  # the mean is 0 and stays


@pytest.mark.slow
def test_integers_and_lists():
    for function, integers in (
        (theory.inner_product, (1, [2, 8], [[0], [3]])),
        (theory.layer_inner_products, (2, [2, 8], 0, 1)),
        (theory.equiangular_energy, (0, [2, 8], 3)),
    ):
        floats = [np.asarray(a, float) if i or function is not theory.layer_inner_products else a
                  for i, a in enumerate(integers)]  # fmt: skip
        found, expected = function(*integers), function(*floats)
        assert found.dtype == expected.dtype == jnp.float64
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (theory.inner_product, (1, [2, 8], [1, 2, 3]), "beta must broadcast with time"),
        (theory.inner_product, (1, 8, np.nan), "beta must be at least 0, got nan"),
        (theory.hitting_time, (0.1, 8, 1.0, [0.0, 0.2]), "level must be between initial and 1, got 0.1 with initial 0.2"),
        (theory.log_hitting_time, (0.1, 8, np.inf), "beta must be at least 0 and finite"),
        (theory.inner_product_rate, (-0.5, 8, 1.0), "inner_product must be at least -1/.* got -0.5 with num_tokens 8.0"),
        (theory.layer_update, (1.5, 8, 1.0, 1.0), "inner_product must be at least -1 and at most 1"),
        (theory.layer_inner_products, (2.5, 8, 1.0, 1.0), "num_layers must be a whole number"),
        (theory.phase_diagram, (1.0, [1.0], 8), "time must have the shape"),
        (theory.phase_diagram, ([1.0], [1.0], [8, 9]), "num_tokens must be a single number"),
    ],
)
def test_what_is_out_of_range_is_named(function, arguments, message):
    with pytest.raises(ValueError, match=message) as raised:
        function(*arguments)
    assert "\n" not in str(raised.value)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def some(rng, **ranges):
    """Numbers whose logarithms are uniform, and a start that leaves room above -1/(n - 1) and below 1."""
    found = {name: 10 ** rng.uniform(*ends) for name, ends in ranges.items()}
    n = 2 + 10 ** rng.uniform(-2, 5)
    # from one end, as a share of the way between both; a difference must not step over -1/(n - 1)
    share = 10 ** rng.uniform(-4, 0) / 2 if rng.uniform() < 0.5 else 1 - 10 ** rng.uniform(-9, 0) / 2
    return found | {"num_tokens": n, "initial": -1 / (n - 1) * (1 - share) + share}


def some_level(rng):
    values = some(rng, beta=(-9, 5))
    values["initial"] = min(values["initial"], 1 - 1e-4)  # so that differences of levels are not rounding
    rest = 10 ** rng.uniform(-6, 0)
    return values | {"level": 1 - (1 - values["initial"]) * (rest if rng.uniform() < 0.5 else 1 - rest / 2)}


def some_passage(rng):
    """Not where the time is in the range of float64, but e^(beta (1 - start)), its slope in the level and the start, is not."""
    values = some_level(rng)
    barrier = values["beta"] * (1 - values["initial"])
    return values | {"beta": values["beta"] * (2 if 680 < barrier < 750 else 1)}


def some_delta(rng):
    values = some_passage(rng)
    return {name: value for name, value in values.items() if name != "level"} | {"delta": 1 - values["level"]}


def some_inner_product(rng, **ranges):
    values = some(rng, **ranges)
    return {("inner_product" if name == "initial" else name): value for name, value in values.items()}


MANY = {"num_tokens": 8.0, "beta": 2.0}
NEAR_ENDS = (-1 / 7 + 1e-5, 0.0, 1 - 1e-9)  # of inner products of 8 tokens
CALLS = [
    *(
        Call(
            theory.inner_product_rate,
            {"inner_product": 0.3, **MANY, "softmax": softmax},
            label="SA" if softmax else "USA",
            edges={"inner_product": (*NEAR_ENDS, 1.0)},
            draw=lambda rng, high=5 if softmax else 2: some_inner_product(rng, beta=(-9, high)),
        )
        for softmax in (True, False)
    ),
    *(
        Call(
            theory.inner_product,
            {"time": 1.0, **MANY, "initial": 0.1, "softmax": softmax},
            label="SA" if softmax else "USA",
            edges={"initial": NEAR_ENDS},
            draw=lambda rng: some(rng, time=(-6, 3), beta=(-9, 3)),
            single=lambda values: (
                values["beta"] <= 20
            ),  # beyond, float32 does not know when the tokens leave a metastable state
        )
        for softmax in (True, False)
    ),
    Call(
        theory.inner_product_at_zero_beta,
        {"time": 1.0, "num_tokens": 8.0, "initial": 0.1},
        edges={"initial": NEAR_ENDS},
        draw=lambda rng: some(rng, time=(-6, 3)),
    ),
    Call(
        theory.hitting_time,
        {"level": 0.7, **MANY, "initial": 0.1},
        edges={"level": (0.1, 0.1 + 1e-9, 1 - 1e-9, 1.0), "initial": (*NEAR_ENDS[:2], 0.7)},
        draw=some_passage,
    ),
    Call(
        theory.log_hitting_time,
        {"level": 0.7, **MANY, "initial": 0.1, "softmax": False},
        edges={"level": (0.1, 0.1 + 1e-9, 1 - 1e-9, 1.0), "initial": (*NEAR_ENDS[:2], 0.7)},
        draw=some_level,
    ),
    Call(
        theory.phase_curve,
        {**MANY, "delta": 1e-3, "initial": 0.1},
        edges={"delta": (1e-300, 0.9), "initial": (*NEAR_ENDS[:2], 0.99)},
        draw=some_delta,
    ),
    Call(
        theory.phase_diagram,
        {"time": np.array([1.0, 3.0]), "beta": np.array([0.0, 2.0]), "num_tokens": 8.0, "initial": 0.1},
        edges={"initial": NEAR_ENDS},
        differentiable=False,  # inner_product is, above
        draw=lambda rng: some(rng) | {"time": 10 ** rng.uniform(-3, 3, 2), "beta": 10 ** rng.uniform(-3, 1, 2)},
    ),
    Call(
        theory.layer_update,
        {"inner_product": 0.3, **MANY, "step_size": 0.5},
        edges={"inner_product": (*NEAR_ENDS, 1.0)},
        draw=lambda rng: some_inner_product(rng, beta=(-9, 5), step_size=(-9, 9)),
    ),
    Call(
        theory.layer_inner_products,
        {"num_layers": 3, **MANY, "step_size": 0.5, "initial": 0.3},
        edges={"initial": (*NEAR_ENDS, 1.0)},
        draw=lambda rng: some(rng, beta=(-9, 5), step_size=(-9, 9)),
    ),
    Call(
        theory.equiangular_energy,
        {"inner_product": 0.3, **MANY},
        edges={"inner_product": (*NEAR_ENDS, 1.0)},
        draw=lambda rng: some_inner_product(rng, beta=(-9, 1.9)),
    ),
]
