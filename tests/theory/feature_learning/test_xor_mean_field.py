"""The mean-field system against quadrature, finite differences and scipy's solvers; wrong versions are rejected."""

import functools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import integrate, special

from closedform.theory.feature_learning import xor
from closedform.theory.feature_learning import xor_mean_field as mean_field
from closedform.theory.feature_learning.xor_mean_field import Neurons
from closedform.theory.numerics.arguments import takes
from zoo.calls import Call

LAMBDA = 1 / math.sqrt(2 * math.pi)
CLUSTERS, LABELS = np.array([[1, -1], [-1, 1], [1, 1], [-1, -1]]), np.array([1, 1, -1, -1])


# Compiling is most of the time here: no optimisation, and one width for most tests.
jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)
WIDTH = 6
OPTIONS = ("train_weights", "train_readout", "negligible_output")
drift = jit(mean_field.drift, static_argnames=OPTIONS)
compiled_outputs, compiled_loss, compiled_margin = jit(mean_field.outputs), jit(mean_field.loss), jit(mean_field.margin)


@functools.partial(jit, static_argnames=("steps", *OPTIONS))
def euler(neurons, learning_rate, steps, **options):
    return mean_field.euler(neurons, learning_rate, np.array(steps), **options)


def random_neurons(seed=0, init_scale=1.0, width=WIDTH):
    generator = np.random.default_rng(seed)
    w, a = generator.normal(size=(width, 2)), generator.normal(size=width)
    return Neurons(*(init_scale * jnp.asarray(x) for x in (w, generator.uniform(0.3, 1.5, width), a)))


def sphere_neurons(width, dim, init_scale, seed=0):
    """Weights uniform on the sphere of radius theta, a = +-theta: the start of the paper."""
    generator = np.random.default_rng(seed)
    w = generator.standard_normal((width, dim))
    w *= init_scale / np.linalg.norm(w, axis=1, keepdims=True)
    a = init_scale * generator.choice([-1.0, 1.0], width)
    return Neurons(jnp.asarray(w[:, :2]), jnp.asarray(np.linalg.norm(w[:, 2:], axis=1)), jnp.asarray(a))


def scipy_velocity(w, s, a, negligible_output=False):
    """The system written once more, cluster by cluster, with scipy's functions."""
    phi = lambda x: LAMBDA * np.exp(-(x**2) / 2)  # noqa: E731
    dw, ds, da = np.zeros_like(w), np.zeros_like(s), np.zeros_like(a)
    for mu, y in zip(CLUSTERS, LABELS, strict=True):
        h = w @ mu
        psi = h * special.ndtr(h / s) + s * phi(h / s)
        g = 1.0 if negligible_output else 2 * special.expit(-y * np.mean(a * psi))
        dw += np.outer(a * special.ndtr(h / s), mu) * y * g / 4
        ds += a * phi(h / s) * y * g / 4
        da += psi * y * g / 4
    return dw, ds, da


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def mean_margin(neurons, learning_rate, num_steps, every=1):
    """Of the states after 0, every, ..., num_steps updates."""
    states = mean_field.euler(neurons, learning_rate, np.arange(0, num_steps + 1, every))
    return jnp.mean(jax.vmap(mean_field.margins)(states), axis=1)


def phase2_margin(times, start):
    """mean_field.margin by one compiled program, for up to six times."""
    return np.asarray(compiled_margin(jnp.asarray(np.resize(times, 6), float), start))[: len(times)]


# ------------------------------------------------------------------------------------------- outputs, loss and drift


def assert_outputs(outputs_fn):
    """f is the mean over neurons of E a relu(w.mu + s g), by quadrature."""
    neurons = random_neurons()
    w, s, a = map(np.asarray, neurons)
    for mu, output in zip(CLUSTERS, outputs_fn(neurons), strict=True):
        total = 0.0
        for weight, std, readout in zip(w @ mu, s, a, strict=True):
            value = lambda g, u=weight, s=std: (u + s * g) * LAMBDA * math.exp(-(g**2) / 2)  # noqa: E731
            total += readout * integrate.quad(value, -weight / std, 40, epsabs=1e-13)[0]
        np.testing.assert_allclose(output, total / len(a), atol=1e-11)


def sum_in_place_of_the_mean(neurons):
    return neurons.a.size * compiled_outputs(neurons)


def relu_for_psi(neurons):
    return compiled_outputs(neurons._replace(s=jnp.zeros_like(neurons.s)))


def clusters_in_another_order(neurons):
    return compiled_outputs(neurons)[jnp.array([2, 3, 0, 1])]


def test_outputs_are_gaussian_averages():
    assert_outputs(compiled_outputs)
    np.testing.assert_array_equal(mean_field.CLUSTERS, CLUSTERS)
    np.testing.assert_array_equal(mean_field.LABELS, -CLUSTERS[:, 0] * CLUSTERS[:, 1])


@pytest.mark.parametrize("wrong", [sum_in_place_of_the_mean, relu_for_psi, clusters_in_another_order])
def test_wrong_outputs_are_rejected(wrong):
    with pytest.raises(AssertionError):
        assert_outputs(wrong)


def test_loss():
    neurons = random_neurons(init_scale=3.0)
    expected = np.mean(2 * np.log1p(np.exp(-LABELS * np.asarray(compiled_outputs(neurons)))))
    np.testing.assert_allclose(compiled_loss(neurons), expected, rtol=1e-13)
    np.testing.assert_allclose(compiled_loss(random_neurons(init_scale=1e-8)), 2 * math.log(2), rtol=1e-14)
    large = random_neurons(init_scale=1e3)  # margins of +-1e6: neither overflow nor loss of the small ones
    np.testing.assert_allclose(
        compiled_loss(large), np.mean(2 * np.logaddexp(0, -np.asarray(mean_field.margins(large)))), rtol=1e-13
    )


def assert_drift_descends_the_loss(drift_fn, **options):
    """The drift is -p times the gradient of the loss, by central differences."""
    neurons = random_neurons(seed=1)
    for field, velocity in zip(Neurons._fields, drift_fn(neurons, **options), strict=True):
        values = np.asarray(getattr(neurons, field))
        for index in np.ndindex(values.shape):
            step = np.zeros_like(values)
            step[index] = 1e-5
            above, below = (compiled_loss(neurons._replace(**{field: values + sign * step})) for sign in (1, -1))
            np.testing.assert_allclose(velocity[index], -WIDTH * (above - below) / 2e-5, atol=1e-8)


def without_the_width(neurons):
    return jax.tree.map(lambda v: v / neurons.a.size, drift(neurons))


def loss_without_its_2(neurons):
    return jax.tree.map(lambda v: v / 2, drift(neurons))


def gradient_at_zero_output(neurons):
    return drift(neurons, negligible_output=True)


def relu_for_psi_in_the_readout(neurons):
    return drift(neurons)._replace(a=drift(neurons._replace(s=1e-6 * neurons.s)).a)


def roles_that_ignore_the_sign_of_a(neurons):
    velocity = drift(neurons)
    return velocity._replace(w=jnp.sign(neurons.a)[:, None] * velocity.w)


def test_drift_descends_the_loss():
    assert_drift_descends_the_loss(drift)


@pytest.mark.parametrize(
    "wrong",
    [
        without_the_width,
        loss_without_its_2,
        gradient_at_zero_output,
        relu_for_psi_in_the_readout,
        roles_that_ignore_the_sign_of_a,
    ],
)
def test_wrong_drifts_are_rejected(wrong):
    with pytest.raises(AssertionError):
        assert_drift_descends_the_loss(wrong)


def test_drift_at_negligible_output_is_that_of_one_neuron():
    neurons = random_neurons()
    w, s, a = neurons
    rate = drift(neurons, negligible_output=True)
    single = xor.drift(xor.Neuron(w[:, 0] - w[:, 1], w[:, 0] + w[:, 1], s, a))
    for ours, theirs in ((rate.w[:, 0] - rate.w[:, 1], single.alpha), (rate.w[:, 0] + rate.w[:, 1], single.beta)):
        np.testing.assert_allclose(ours, theirs, atol=1e-14)
    np.testing.assert_allclose(np.stack([rate.s, rate.a]), np.stack([single.s, single.a]), atol=1e-14)
    small = jax.tree.map(lambda x: 1e-6 * x, neurons)  # where g = 1 by itself
    for with_output, without in zip(drift(small), drift(small, negligible_output=True), strict=True):
        np.testing.assert_allclose(with_output, without, rtol=1e-9, atol=1e-18)


def test_drift_keeps_the_balance_and_the_symmetries():
    neurons = random_neurons()
    w, s, a = neurons
    rate = drift(neurons)
    np.testing.assert_allclose((w * rate.w).sum(axis=1) + s * rate.s, a * rate.a, atol=1e-13)  # |w|^2 - a^2
    order = np.random.default_rng(0).permutation(WIDTH)
    for ours, theirs in zip(drift(Neurons(w[order], s[order], a[order])), rate, strict=True):
        np.testing.assert_allclose(ours, theirs[order], atol=1e-14)
    # x_1 -> -x_1 turns the label over, and with it a.
    mirrored = drift(Neurons(w * jnp.array([[-1.0, 1.0]]), s, -a))
    np.testing.assert_allclose(mirrored.w, rate.w * jnp.array([[-1.0, 1.0]]), atol=1e-14)
    np.testing.assert_allclose(np.stack([mirrored.s, mirrored.a]), np.stack([rate.s, -rate.a]), atol=1e-14)


def test_drift_of_one_layer():
    neurons = random_neurons()
    both = drift(neurons)
    weights = drift(neurons, train_readout=False)
    readout = drift(neurons, train_weights=False)
    np.testing.assert_array_equal(weights.w, both.w)
    np.testing.assert_array_equal(weights.s, both.s)
    np.testing.assert_array_equal(readout.a, both.a)
    assert not any(np.any(rest) for rest in (weights.a, readout.w, readout.s))


def exact_velocity(neurons):
    """The sums over the clusters as they stand, to 50 digits."""
    with mpmath.workdps(50):
        w, s, a = (np.vectorize(mpmath.mpf)(np.asarray(x, float)) for x in neurons)
        h = w @ CLUSTERS.T
        on, density = np.vectorize(mpmath.ncdf)(h / s[:, None]), np.vectorize(mpmath.npdf)(h / s[:, None])
        psi = h * on + s[:, None] * density
        force = LABELS / (1 + np.vectorize(mpmath.exp)(LABELS * np.mean(a[:, None] * psi, axis=0))) / 2
        velocity = a[:, None] * ((on * force) @ CLUSTERS), a * (density @ force), psi @ force
        return [part.astype(float) for part in velocity]


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 3e-6), (np.float64, 1e-14)])
@pytest.mark.parametrize("ratio", [1e-6, 1e-2, 1.0, 30.0])
@pytest.mark.parametrize("readout", [1e-9, 1.0, 20.0])
def test_drift_keeps_its_digits(ratio, readout, dtype, rtol):
    """Where w.mu is far below s the four clusters cancel; the outputs are negligible, of order 1 and large."""
    neurons = random_neurons()
    neurons = Neurons(*(np.asarray(x, dtype) for x in (neurons.w * ratio, neurons.s, neurons.a * readout)))
    rtol *= max(1, ratio) ** 2  # that of phi(ratio) in its argument
    for ours, exact in zip(drift(neurons), exact_velocity(neurons), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=rtol, atol=rtol * np.max(np.abs(exact)))


# ------------------------------------------------------------------------------------------------------ Euler's method


def numpy_euler(neurons, learning_rate, num_steps):
    w, s, a = (np.array(x) for x in neurons)
    states = [(w, s, a)]
    for _ in range(num_steps):
        dw, ds, da = scipy_velocity(w, s, a)
        w, s, a = w + learning_rate * dw, s + learning_rate * ds, a + learning_rate * da
        states.append((w, s, a))
    return [np.stack(field) for field in zip(*states, strict=True)]


def assert_euler_is_its_loop(euler_fn):
    neurons, steps = random_neurons(), (0, 1, 2, 5, 5, 11)
    for ours, theirs in zip(euler_fn(neurons, 0.1, steps), numpy_euler(neurons, 0.1, 11), strict=True):
        np.testing.assert_allclose(ours, theirs[list(steps)], atol=1e-12)


@pytest.mark.slow
def test_euler_is_its_loop():
    assert_euler_is_its_loop(euler)
    neurons = random_neurons()
    backwards = euler(neurons, 0.1, (11, 0))  # any order; step 0 is the start, bit for bit
    np.testing.assert_allclose(backwards.a[0], euler(neurons, 0.1, (0, 1, 2, 5, 5, 11)).a[-1], rtol=1e-14)
    np.testing.assert_array_equal(backwards.w[1], neurons.w)
    np.testing.assert_array_equal(euler(neurons, 0.1, (0,)).s[0], neurons.s)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda n, rate, steps: euler(n, rate, tuple(step + 1 for step in steps)),  # off by one
        lambda n, rate, steps: euler(n, rate / WIDTH, steps),  # the 1/p of f not cancelled
        lambda n, rate, steps: euler(n, rate, steps, negligible_output=True),
        lambda n, rate, steps: euler(n, rate, steps, train_readout=False),
    ],
)
def test_wrong_euler_is_rejected(wrong):
    with pytest.raises(AssertionError):
        assert_euler_is_its_loop(wrong)


def test_euler_converges_to_the_flow_at_order_one():
    neurons = random_neurons(init_scale=0.5)
    cuts = np.cumsum([x.size for x in neurons])[:-1]
    flat = lambda state: np.concatenate([np.ravel(x) for x in state])  # noqa: E731

    def rhs(_time, y):
        w, s, a = np.split(y, cuts)
        return flat(scipy_velocity(w.reshape(-1, 2), s, a))

    exact = integrate.solve_ivp(rhs, (0, 1), flat(neurons), method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    errors = [np.abs(flat(euler(neurons, 1 / n, (n,))) - exact).max() for n in (200, 400, 800)]
    np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 2, rtol=0.02)


@pytest.mark.slow
def test_euler_maps_over_starts_and_learning_rates_and_differentiates():
    run = functools.partial(mean_field.euler, steps=np.array([3, 20]))
    final_loss = lambda neurons, rate: mean_field.loss(jax.tree.map(lambda x: x[-1], run(neurons, rate)))  # noqa: E731
    starts, rates = [random_neurons(seed) for seed in range(3)], jnp.array([0.05, 0.1, 0.2])
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *starts)
    together, slopes = jit(jax.vmap(jax.value_and_grad(final_loss, argnums=1)))(stacked, rates)
    alone = jit(final_loss)
    for i, (start, rate) in enumerate(zip(starts, rates.tolist(), strict=True)):
        np.testing.assert_allclose(together[i], alone(start, rate), rtol=1e-12)
        difference = (alone(start, rate + 1e-5) - alone(start, rate - 1e-5)) / 2e-5
        np.testing.assert_allclose(slopes[i], difference, rtol=1e-6)


@pytest.mark.slow
def test_euler_holds_s_past_the_collapse_of_the_neuron():
    neurons = mean_field.typical_neurons(20, 0.1)
    states = euler(neurons, 0.05, tuple(range(0, 601, 20)))
    assert all(np.isfinite(x).all() for x in states)
    np.testing.assert_allclose(states.s.min(axis=0), 1e-9 * 0.1, rtol=1e-9)
    opposite = np.where(states.a > 0, states.w.sum(axis=-1), states.w[..., 0] - states.w[..., 1])[-1]
    assert np.abs(opposite).max() < 0.05 * np.abs(states.a[-1]).max()  # chatters with amplitude eta a/2


# --------------------------------------------------------------------------------------------- the runs of the spec


@functools.cache
def typical_run(dim):
    """Mean margin at time 0, 0.001, ..., 30 of the eight neurons at theta = 0.1."""
    return np.asarray(mean_margin(mean_field.typical_neurons(dim, 0.1), 1e-3, 30000))


def assert_fact_5(run_fn):
    for dim, expected in ((64, [6.555, 13.86, 2.934, 4.243]), (256, [8.298, 15.60, 2.524, 4.087])):
        margin = run_fn(dim)
        crossings = np.interp([0.01, 1.0], margin, np.arange(30001) * 1e-3)
        np.testing.assert_allclose([*crossings, margin[20000], margin[30000]], expected, atol=0.01, rtol=0)


def test_fact_5_eight_typical_neurons():
    assert_fact_5(typical_run)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda dim: np.repeat(typical_run(dim), 2)[:30001],  # loss without its factor 2: half as fast while f is small
        lambda dim: 8 * typical_run(dim),  # sum in place of the mean
        lambda dim: typical_run(64),  # no dependence on the dimension
    ],
)
def test_wrong_runs_are_rejected(wrong):
    with pytest.raises(AssertionError):
        assert_fact_5(wrong)


def test_typical_neurons():
    w, s, a = map(np.asarray, mean_field.typical_neurons(50, 0.3))
    alpha, beta = w[:, 0] - w[:, 1], w[:, 0] + w[:, 1]
    np.testing.assert_allclose(np.stack([alpha**2, beta**2]), 2 / 50 * 0.09, rtol=1e-13)
    np.testing.assert_allclose((w**2).sum(axis=1) + s**2, 0.09, rtol=1e-13)
    assert len(np.unique(np.sign(np.stack([alpha, beta, a])), axis=1).T) == 8


@functools.cache
def mean_time_to_margin_one(dim, init_scale):
    """Over three draws of 1024 neurons, at a step of 0.02 (which adds about 0.06)."""
    times = np.arange(0, 1001, 5) * 0.02
    starts = [sphere_neurons(1024, dim, init_scale, seed) for seed in range(3)]
    return np.mean([np.interp(1.0, np.asarray(mean_margin(start, 0.02, 1000, 5)), times) for start in starts])


def assert_time_to_margin_one(time_fn):
    """c = 2.33 +- 0.1, the range stated with the constant."""
    for dim, init_scale in ((64, 0.1), (1024, 0.1), (256, 0.03)):
        np.testing.assert_allclose(time_fn(dim, init_scale), mean_time_to_margin_one(dim, init_scale), atol=0.1, rtol=0)


@pytest.mark.slow
def test_time_to_margin_one_of_random_starts():
    assert_time_to_margin_one(xor.time_to_margin_one)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda dim, scale: 2 * xor.time_to_margin_one(dim, scale),  # the loss without its factor 2
        lambda dim, scale: xor.time_to_margin_one(dim, scale) + (2.507 - 2.828) * math.log(1 / scale),  # rate lambda
        lambda dim, scale: xor.time_to_margin_one(dim, scale) + math.log(dim),  # ln d/lambda
    ],
)
def test_wrong_times_to_margin_one_are_rejected(wrong):
    with pytest.raises(AssertionError):
        assert_time_to_margin_one(wrong)


# ------------------------------------------------------------------------------------------------ the phase-2 margin


def assert_fact_7(margin_fn):
    expected = [0.356161, 1.345049, 2.879609, 4.221323]
    np.testing.assert_allclose(margin_fn(np.array([2.0, 5.0, 10.0, 20.0]), 0.1), expected, atol=1e-5, rtol=0)


def assert_margin_solves_its_equation(margin_fn):
    times = np.array([0.0, 0.3, 3.0, 30.0, 300.0])
    for start in (1e-3, 0.5, 4.0):
        rhs = lambda t, g: math.sqrt(2) * g / (1 + np.exp(g))  # noqa: E731
        solution = integrate.solve_ivp(rhs, (0, 300), [start], "DOP853", times, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(margin_fn(times, start), solution.y[0], rtol=1e-8)


def asymptote_from_the_start(times, start):
    return mean_field.margin_asymptote(times)


def margin_of_the_loss_without_its_2(times, start):
    return phase2_margin(times / 2, start)


def margin_without_the_sqrt_2(times, start):
    return phase2_margin(times / math.sqrt(2), start)


def margin_of_exponential_growth(times, start):
    return start * np.exp(times / math.sqrt(2))


def test_fact_7_phase_2_margin():
    assert_fact_7(phase2_margin)


def test_margin_solves_its_equation():
    assert_margin_solves_its_equation(phase2_margin)


@pytest.mark.parametrize("assertion", [assert_fact_7, assert_margin_solves_its_equation])
@pytest.mark.parametrize(
    "wrong",
    [
        asymptote_from_the_start,
        margin_of_the_loss_without_its_2,
        margin_without_the_sqrt_2,
        margin_of_exponential_growth,
    ],
)
def test_wrong_margins_are_rejected(assertion, wrong):
    with pytest.raises(AssertionError):
        assertion(wrong)


def test_margin_against_mpmath_over_its_range():
    times = np.array([0.0, 1e-9, 1.0, 1e3, 1e6, 1e12])
    exact_time = lambda g: (mpmath.log(g) + mpmath.ei(g)) / mpmath.sqrt(2)  # noqa: E731
    for start in (1e-6, 1e-2, 1.0, 8.0, 40.0):
        margins = phase2_margin(times, start)
        exact = [exact_time(mpmath.mpf(margin)) for margin in margins.tolist()]
        np.testing.assert_allclose(mean_field.margin_time(margins), [float(time) for time in exact], rtol=1e-13)
        for margin, exact_end, time in zip(margins.tolist(), exact, times.tolist(), strict=True):
            excess = exact_end - exact_time(mpmath.mpf(start)) - time
            assert abs(excess * mpmath.sqrt(2) / (1 + mpmath.exp(margin))) < 1e-12  # the error of ln(margin)


@pytest.mark.slow
def test_margin_shapes_vmap_and_gradient():
    times, starts = np.array([0.0, 0.5, 7.0, 30.0]), np.array([0.4, 1e-3, 0.2, 1.0])
    gamma, (by_time, by_start) = jit(jax.vmap(jax.value_and_grad(mean_field.margin, (0, 1))))(times, starts)
    np.testing.assert_allclose(gamma[0], 0.4, rtol=1e-14)
    np.testing.assert_allclose(by_time, math.sqrt(2) * gamma / (1 + np.exp(gamma)), rtol=1e-12)
    for i, (time, start) in enumerate(zip(times, starts, strict=True)):
        np.testing.assert_allclose(gamma[i], phase2_margin([time], start)[0], rtol=1e-13)
        step = 1e-4 * start
        difference = (phase2_margin([time], start + step) - phase2_margin([time], start - step)) / (2 * step)
        np.testing.assert_allclose(by_start[i], difference[0], rtol=1e-6)
    assert jax.eval_shape(mean_field.margin, np.ones((2, 3)), np.ones((2, 1))).shape == (2, 3)


def test_margin_approaches_its_asymptote():
    """gamma = ln(sqrt 2 t gamma) + o(1), so the difference is ln(gamma/ln t) + o(1), which tends to 0 slowly."""
    times = np.array([1e4, 1e8, 1e16, 1e32, 1e64])
    difference = phase2_margin(times, 0.1) - mean_field.margin_asymptote(times)
    assert (np.diff(np.abs(difference)) < 0).all()
    assert np.abs(difference)[-1] < 0.05
    excess = mean_field.margin_asymptote(20.0) / phase2_margin([20.0], 0.1)[0] - 1
    np.testing.assert_allclose(excess, 0.06, atol=5e-3)
    np.testing.assert_allclose(mean_field.margin_asymptote(1e9), math.log(math.sqrt(2) * 1e9 * math.log(1e9)), rtol=1e-9)


@pytest.mark.slow
def test_margin_is_that_of_signal_only_neurons():
    """Four neurons along their own mu, s = 0 and |w| = |a|, of unequal mass: each cluster obeys its own equation."""
    scale = np.sqrt(np.array([0.9, 1.1, 1.4, 2.0]) * 4)  # y f = |w| sqrt(2) a / 4 at the neuron's own cluster
    neurons = Neurons(
        w=jnp.asarray(scale[:, None] * CLUSTERS / math.sqrt(2)),
        s=jnp.full(4, 1e-12),
        a=jnp.asarray(scale * LABELS),
    )
    start = np.asarray(mean_field.margins(neurons))
    np.testing.assert_allclose(start, math.sqrt(2) * scale**2 / 4, rtol=1e-10)
    final = jax.tree.map(lambda x: x[0], euler(neurons, 1e-3, (5000,)))
    margins = np.asarray(mean_field.margins(final))
    np.testing.assert_allclose(margins, [phase2_margin([5.0], margin)[0] for margin in start], rtol=2e-4)
    # The norm relation, to order learning_rate: Euler's steps move the balance |w| = |a|.
    np.testing.assert_allclose(margins.mean(), math.sqrt(2) / 4 * np.mean(final.a**2), rtol=1e-5)
    assert np.ptp(margins) < np.ptp(start)  # balancing


@pytest.mark.slow
def test_dtype_follows_the_input():
    def everything(neurons, x):
        states = mean_field.euler(neurons, 0.1, np.array([0, 3]))
        closed_forms = mean_field.margin(x, 0.1), mean_field.margin_time(x), mean_field.margin_asymptote(x)
        return (
            mean_field.loss(neurons),
            mean_field.drift(neurons),
            states,
            mean_field.typical_neurons(10, x),
            closed_forms,
        )

    neurons, x = jax.tree.map(lambda x: x.astype(jnp.float32), (random_neurons(), jnp.array(0.5)))
    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(everything, neurons, x))} == {x.dtype}


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

FOUR = Neurons(
    w=np.array([[0.3, -0.8], [1.1, 0.4], [-0.5, 0.2], [0.7, 0.9]]),
    s=np.array([0.9, 0.4, 1.3, 0.6]),
    a=np.array([1.2, -0.7, 0.5, -1.1]),
)
SIZES = {"neurons.w": 1, "neurons.s": 1, "neurons.a": 1}


def drawn(rng):
    """Ratios w/s and sizes from 1e-6 to 1e6."""
    size, parts = 10.0 ** rng.uniform(-3, 1), 10.0 ** rng.uniform(-3, 0, (3, 4))
    w = parts[0][:, None] * rng.normal(size=(4, 2))
    return {"neurons.w": size * w, "neurons.s": size * parts[1], "neurons.a": size * parts[2] * rng.choice([-1, 1], 4)}


@takes(neurons=mean_field.drift.ranges["neurons"])
def at_negligible_output(neurons: Neurons):
    return mean_field.drift(neurons, negligible_output=True)


CASES = [
    {"neurons.w": np.zeros((4, 2))},
    {"neurons.a": np.zeros(4)},
    {"neurons.w": 1e3 * FOUR.w},
    {"neurons.w": np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]]), "neurons.s": np.zeros(4)},
    {"neurons.w": np.zeros((4, 2)), "neurons.s": np.zeros(4), "neurons.a": np.zeros(4)},
]
# |h| at h = 0: neurons without any w_perp, orthogonal to a cluster
KINKS = ("neurons.s[0]=0.0", "neurons.s=0.0", "case 3", "case 4")
OF_NEURONS = {"draw": drawn, "cases": CASES, "kinks": KINKS}
CALLS = [
    Call(mean_field.outputs, {"neurons": FOUR}, scaling=SIZES, degree=2, **OF_NEURONS),
    Call(mean_field.margins, {"neurons": FOUR}, scaling=SIZES, degree=2, **OF_NEURONS),
    Call(mean_field.loss, {"neurons": FOUR}, **OF_NEURONS),
    Call(mean_field.drift, {"neurons": FOUR}, **OF_NEURONS),
    Call(at_negligible_output, {"neurons": FOUR}, of=mean_field.drift, label="g = 1", scaling=SIZES, degree=1, **OF_NEURONS),
    Call(mean_field.euler, {"neurons": FOUR, "learning_rate": 0.1, "steps": [3, 0]}, **OF_NEURONS),
    Call(
        mean_field.typical_neurons,
        {"dim": 50.0, "init_scale": 0.3},
        edges={"dim": [2.0, 1e12, np.inf]},
        scaling={"init_scale": 1},
        degree=1,
    ),
    Call(
        mean_field.margin,
        {"time": np.array([0.4, 30.0]), "initial_margin": np.array([0.1, 1.5])},
        edges={"time": [0.0, 1e12, np.inf], "initial_margin": [0.0, 1e-12, 49.0, 51.0, 89.0, 710.0, np.inf]},
        cases=[{"time": np.array([3.0, 0.0]), "initial_margin": np.array([0.7, 0.7])}],
    ),
    Call(mean_field.margin_time, {"margin": np.array([0.4, 3.0])}, edges={"margin": [0.0, 1e-12, 49.0, 50.0, 89.0, np.inf]}),
    Call(mean_field.margin_asymptote, {"time": np.array([0.4, 30.0])}, edges={"time": [0.0, 1e-12, 1.0, 1e12, np.inf]}),
]
