"""The finite-batch system against the mean field, phase 1, quadrature, a bivariate normal law, SGD; wrong versions."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import ArrayLike, Real
from scipy import special, stats

from closedform.theory.feature_learning import xor, xor_finite_batch, xor_mean_field
from closedform.theory.feature_learning.xor_finite_batch import State
from closedform.theory.feature_learning.xor_mean_field import CLUSTERS, LABELS, Neurons
from closedform.theory.numerics.arguments import above, at_least, takes
from zoo.calls import Call

# Compiling is most of the time here: no optimisation, and few programs.
jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)
STEPS = (0, 1, 5, 20, 40)


@functools.partial(jit, static_argnames="width")
def draw(seed, dim=64.0, width=64, init_scale=0.1):
    return xor_finite_batch.random_neurons(jax.random.key(seed), dim, width, init_scale)


@functools.partial(jit, static_argnames=("steps", "train_weights", "train_readout"))
def solve(keys, neurons, learning_rate, dim, batch_size, width, steps, **frozen):
    setting = {"dim": dim, "batch_size": batch_size, "width": width, **frozen}
    euler = functools.partial(xor_finite_batch.euler, **setting)
    return jax.vmap(lambda key: euler(key, neurons, learning_rate, np.array(steps)))(keys)


def paths(neurons, learning_rate, batch_size, *, num_keys=2, dim=64, width=None, steps=STEPS, **frozen):
    """The states at `steps`, as numpy arrays (key, step, ...)."""
    numbers = [float(x) for x in (learning_rate, dim, batch_size, neurons.a.size if width is None else width)]
    states = solve(jax.random.split(jax.random.key(7), num_keys), neurons, *numbers, steps=tuple(steps), **frozen)
    return jax.tree.map(np.asarray, states)


observe = jit(
    lambda state, width: (
        xor_finite_batch.margins(state),
        xor_finite_batch.output_std(state, width),
        xor_finite_batch.error(state, width),
    )
)


def assert_close(state, expected, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), state, expected)


def without_common_part(state):
    return state._replace(own=state.own + (state.shared**2).sum(-1), shared=0 * state.shared)


# ------------------------------------------------------------------------------------------------------ the mean field


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [{}, {"train_weights": False}, {"train_readout": False}])
def test_large_batches_and_networks_are_the_mean_field(frozen):
    neurons = draw(0, init_scale=0.3)  # s collapses about step 60
    expected = jit(lambda: xor_mean_field.euler(neurons, 0.1, np.array(STEPS), **frozen))()
    state = jax.tree.map(lambda x: x[0], paths(neurons, 0.1, np.inf, width=np.inf, **frozen))
    assert float(expected.s.min()) > 1e-3
    assert_close((state.w, xor_finite_batch.perp_norm(state), state.a), tuple(expected), atol=1e-10, rtol=0)
    assert not state.shared.any()
    margins = jax.vmap(xor_finite_batch.margins)(jax.tree.map(jnp.asarray, state))
    np.testing.assert_allclose(margins, jax.vmap(xor_mean_field.margins)(expected), atol=1e-10)


def test_frozen_layers_rest():
    neurons = draw(0)
    weights = paths(neurons, 0.1, 8, train_readout=False)
    readout = paths(neurons, 0.1, 8, train_weights=False)
    start = jax.tree.map(np.asarray, xor_finite_batch.state_of(neurons))
    resting, moving = (weights.a, *readout[:3]), (readout.a, *weights[:3])
    for rest, moved, first in zip(resting, moving, (start.a, *start[:3]), strict=True):
        np.testing.assert_array_equal(rest, np.broadcast_to(first, rest.shape))
        assert (np.abs(moved - first)[:, 1:].max(axis=2) > 0).all()


# ------------------------------------------------------------------------------------------------------------- phase 1


def without_shared_noise(*args, **setting):
    return without_common_part(paths(*args, **setting))


def q_times(factor):
    """q without its 1/4, or with a factor 2: the dimension enters nowhere else."""
    return lambda *args, dim, **setting: paths(*args, dim=2 + factor * (dim - 2), **setting)


def loss_without_its_2(neurons, learning_rate, batch_size, **setting):
    return paths(neurons, learning_rate / 2, batch_size, **setting)  # exact at f = 0


def twice_the_batch(neurons, learning_rate, batch_size, **setting):
    return paths(neurons, learning_rate, 2 * batch_size, **setting)


def assert_phase_1_noise(paths_fn):
    """E s^2, V, U of xor.noise_moments at d = 4096 and negligible output."""
    dim, kappa, eta, scale, num_keys = 4096, 0.3, 0.05, 1e-3, 48
    neurons, times = draw(1, dim, 128, scale), eta * np.array(STEPS)
    state = paths_fn(neurons, eta, eta * dim / (2 * kappa), num_keys=num_keys, dim=dim)
    alpha, beta = state.w @ CLUSTERS[0], state.w @ CLUSTERS[2]
    perp = state.own + np.sum(state.shared**2, axis=-1)
    squares = perp, np.where(state.a > 0, alpha, beta) ** 2, np.where(state.a > 0, beta, alpha) ** 2
    moments = xor.noise_moments(times, dim, kappa)
    # V and U evolve linearly: what those of this draw exceed 2/d by is multiplied by e^{+-(q - 1)/r}.
    growth = np.exp(4 * xor.BOOLEAN_RATES.small_signal * times / (np.sqrt(1 + kappa * times) + 1))
    excess = [(square[0, 0] / scale**2).mean() - 2 / dim for square in squares[1:]]
    for square, moment, more in zip(squares, moments, (0, excess[0] * growth, excess[1] / growth), strict=True):
        by_key, expected = square.mean(axis=-1) / scale**2, np.asarray(moment) + more
        se = by_key.std(axis=0, ddof=1) / math.sqrt(num_keys)
        # Euler's step: (1 +- eta lambda)^2 = exp(+-2 eta lambda - (eta lambda)^2), and half of eta kappa from s; 1/dim.
        allowance = (0.16 + kappa / 2) * eta * times + 4 / dim
        assert (np.abs(by_key.mean(axis=0) - expected) <= 4 * se + allowance * expected).all()


def assert_shared_part_of_sigma(paths_fn):
    """theta^2 sqrt(kappa t/8) up to 0.08 kappa t, half of the 0.16 that R^2 F^2 adds to sigma^2."""
    dim, width, kappa, eta, scale = 1e8, 64, 1e-3, 0.05, 1e-3
    state = paths_fn(draw(1, dim, width, scale), eta, eta * dim / (2 * kappa), dim=dim)
    # The mean of P over the neurons: 4 deviations of 0.8 u/sqrt(width), u^2 = 2/d, grown by e^{0.4 t} = 2.3.
    rtol = 0.08 * kappa * eta * max(STEPS) + 4 * 0.8 * 2.3 * math.sqrt(2 / (dim * width))
    for row, step in enumerate(STEPS):
        _, std, _ = observe(jax.tree.map(lambda x, row=row: jnp.asarray(x[0, row]), state), np.inf)
        np.testing.assert_allclose(std, scale**2 * math.sqrt(kappa * eta * step / 8), rtol=rtol)


def test_phase_1_noise():
    assert_phase_1_noise(paths)


def test_shared_part_of_sigma():
    assert_shared_part_of_sigma(paths)


@pytest.mark.parametrize("wrong", [q_times(4), q_times(2), loss_without_its_2, twice_the_batch])
def test_wrong_phase_1_noise_is_rejected(wrong):
    with pytest.raises(AssertionError):
        assert_phase_1_noise(wrong)


@pytest.mark.parametrize("wrong", [without_shared_noise, q_times(4), q_times(2), loss_without_its_2])
def test_wrong_shared_parts_are_rejected(wrong):
    with pytest.raises(AssertionError):
        assert_shared_part_of_sigma(wrong)


def test_shared_part_of_sigma_against_one_minibatch():
    """|B_nu|^2 after one step is E |mean_j a_j P_j w_perp_j|^2 over minibatches of SGD at f = 0, all P_j = 1/2."""
    dim, width, batch_size, eta = 40, 64, 10, 0.1
    rng = np.random.default_rng(0)
    w = rng.normal(size=(dim, width))
    w[:2] = 0
    a = np.where(np.arange(width) % 2, 1.0, -1.0)
    squares = []
    for _ in range(500):
        x = rng.choice([-1.0, 1.0], size=(batch_size, dim))
        step = eta / batch_size * (x.T @ (-x[:, :1] * x[:, 1:2] * (x @ w > 0))) * a
        squares.append((np.mean(a / 2 * step, axis=1)[2:] ** 2).sum())
    neurons = Neurons(jnp.zeros((width, 2)), jnp.full(width, 1e-6), jnp.asarray(1e-6 * a))
    state = jax.tree.map(lambda x: jnp.asarray(x[0, 1]), paths(neurons, eta, batch_size, dim=dim))
    predicted = float(observe(state, np.inf)[1][0]) ** 2 / 1e-24
    own = predicted / width  # P - P^2 = P^2, once for each neuron
    se = np.std(squares, ddof=1) / math.sqrt(len(squares))
    assert abs(np.mean(squares) - predicted - own) <= 4 * se
    assert 4 * se < predicted / 4


# -------------------------------------------------------------------------------------- one step, from any state


def handmade(scale=1.0, parts=0.4, seed=3):
    """Five neurons with parts in common; the last two are twins up to their own parts."""
    rng = np.random.default_rng(seed)
    w, a = rng.normal(size=(5, 2)) / 2, np.array([1.0, -1.2, 0.7, 0.9, 0.9])
    w[4] = w[3]
    direction = np.array([0.6, -0.5, 0.5, 0.37])
    shared = parts * np.sign(a)[:, None] * direction / np.linalg.norm(direction)
    own = 1 - np.sum(shared**2, axis=1)
    return State(*(jnp.asarray(scale**power * x) for x, power in zip((w, own, shared, a), (1, 2, 1, 1), strict=True)))


step_fn = jit(lambda *args: xor_finite_batch._update(*args))


def one_step(state, learning_rate=1e-6, dim=64.0, batch_size=np.inf, width=np.inf, key=0):
    return step_fn(jax.random.key(key), state, learning_rate, dim, batch_size, width)


def exact_drift(state):
    """E[y g 1 x_{1:2}] a, d(|w_perp|^2)/dt / 2 and E[y g relu], from the law of w_j.x given f: for infinite width."""
    w, own, shared, a = map(np.asarray, state)
    s = np.sqrt(own + np.sum(shared**2, axis=1))
    node, weight = np.polynomial.hermite_e.hermegauss(80)
    weight = weight / weight.sum()
    dw, ds2, da = np.zeros_like(w), np.zeros_like(s), np.zeros_like(s)
    for nu, y in zip(CLUSTERS, LABELS, strict=True):
        mean = w @ nu
        on = special.ndtr(mean / s)
        f = np.mean(a * (mean * on + s * stats.norm.pdf(mean / s)))
        common = np.mean((a * on)[:, None] * shared, axis=0)
        std = np.linalg.norm(common)
        g = 2 * special.expit(-y * (f + std * node))
        slope = shared @ common / std
        given_mean, given_std = mean + slope * node[:, None], np.sqrt(s**2 - slope**2)
        given_on = special.ndtr(given_mean / given_std)
        active = (weight * y * g) @ given_on
        relu = (weight * y * g) @ (given_mean * given_on + given_std * stats.norm.pdf(given_mean / given_std))
        dw += (a * active)[:, None] * nu / 4
        ds2 += a * (relu - mean * active) / 4
        da += relu / 4
    return np.concatenate([dw.ravel(), ds2, da])


def module_drift(state, after_fn=one_step):
    after = after_fn(state)
    squares = [np.asarray(xor_finite_batch.perp_norm(x)) ** 2 for x in (state, after)]
    rates = [(after.w - state.w).ravel(), (squares[1] - squares[0]) / 2, after.a - state.a]
    return np.concatenate(rates) / 1e-6


def assert_drift_is_exact_to_fourth_order(after_fn):
    """In the size of the shared parts: c ~ size^2 and the next Hermite order ~ c^2. And small at size 0.3."""
    error = [
        np.abs(module_drift(state, after_fn) - exact_drift(state)).max()
        for state in (handmade(2.0, parts) for parts in (0.3, 0.15, 0.075))
    ]
    assert error[0] < 0.01
    assert error[1] < error[0] / 12
    assert error[2] < error[1] / 12 + 1e-5  # the step is 1e-6


def test_mean_step():
    assert_drift_is_exact_to_fourth_order(one_step)


def test_mean_steps_that_forget_the_fluctuations_of_f_are_rejected():
    with pytest.raises(AssertionError):
        assert_drift_is_exact_to_fourth_order(lambda state: one_step(without_common_part(state)))


def both_active(state):
    """E[1_j 1_k] (4, neuron, neuron) by the bivariate normal law: independent given the shared part of w.x."""
    w, own, shared, a = map(np.asarray, state)
    node, weight = np.polynomial.hermite_e.hermegauss(80)
    part = np.sign(a) * np.linalg.norm(shared, axis=1)
    given = special.ndtr((w @ CLUSTERS.T + node[:, None, None] * part[:, None]) / np.sqrt(own)[:, None])
    return np.einsum("n,njc,nkc->cjk", weight / weight.sum(), given, given)


def assert_noise_in_the_plane(update_fn, num_keys=80_000):
    """Covariance (neuron, 2, neuron, 2) of one step at f = 0 over minibatches, against that of SGD."""
    state, eta, m = handmade(1e-3), 0.1, 16.0
    w = np.asarray(update_fn(state, eta, m, jax.random.split(jax.random.key(5), num_keys)))
    noise = (w - w.mean(axis=0)) / (eta * np.asarray(state.a)[:, None]) * math.sqrt(m)
    products = np.einsum("kni,kmj->nimj", noise, noise) / num_keys
    both = both_active(state)
    one = special.ndtr(np.asarray(state.w) @ CLUSTERS.T / 1e-3)
    for cluster in range(4):
        np.fill_diagonal(both[cluster], one[:, cluster])  # the own parts of a neuron are its own
    mean = (one * LABELS) @ CLUSTERS / 4
    expected = np.einsum("cjk,ca,cb->jakb", both, CLUSTERS, CLUSTERS) / 4 - np.einsum("ja,kb->jakb", mean, mean)
    spread = np.sqrt(np.einsum("jaja->ja", expected))
    se = np.sqrt((np.multiply.outer(spread, spread) ** 2 + expected**2) / num_keys)
    # Next order of E[1_j 1_k]: u_j u_k F_j F_k rho^2/2, rho = 0.4^2; |u F| <= 0.242.
    assert (np.abs(products - expected) <= 5 * se + 0.242**2 * 0.4**4 / 2).all()


@jit
def planes(state, eta, m, keys):
    return jax.vmap(lambda key: xor_finite_batch._update(key, state, eta, 64.0, m, 64.0).w)(keys)


def test_noise_in_the_plane():
    assert_noise_in_the_plane(planes)


def a_minibatch_for_each_neuron(state, eta, m, keys):
    w = np.asarray(planes(state, eta, m, keys))
    return np.stack([np.roll(w[:, j], j, axis=0) for j in range(5)], axis=1)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda state, *args: planes(without_common_part(state), *args),
        lambda state, *args: planes(state._replace(a=jnp.abs(state.a)), *args),
        lambda state, eta, m, keys: planes(state, eta, m / 2, keys),
        a_minibatch_for_each_neuron,
    ],
)
def test_wrong_noise_in_the_plane_is_rejected(wrong):
    with pytest.raises(AssertionError):
        assert_noise_in_the_plane(wrong)


def test_noise_of_w_perp():
    """|w_perp|^2 gains q a^2 sum P; the common part of twins, so their overlap, q a^2 E[1_j 1_k] for each cluster."""
    state, eta, dim, m = handmade(1e-3), 0.1, 64.0, 20.0
    q = (dim - 2) * eta**2 / (4 * m)
    with_noise, without = (one_step(state, eta, dim, batch_size) for batch_size in (m, np.inf))
    a, on = np.asarray(state.a), special.ndtr(np.asarray(state.w) @ CLUSTERS.T / 1e-3)
    gain = xor_finite_batch.perp_norm(with_noise) ** 2 - xor_finite_batch.perp_norm(without) ** 2
    np.testing.assert_allclose(gain, q * a**2 * on.sum(axis=1), rtol=1e-6)  # K - 1 ~ theta^4
    overlap = np.asarray(with_noise.shared[3] * with_noise.shared[4] - without.shared[3] * without.shared[4])
    exact = q * a[3] * a[4] * both_active(state)[:, 3, 4]
    next_order = 0.242**2 * 0.4**4 / 2 * q * a[3] * a[4]
    np.testing.assert_allclose(overlap, exact, atol=next_order, rtol=0)
    independent = q * a[3] * a[4] * on[3] ** 2  # R^2 F^2 forgotten: outside the allowance
    assert np.abs(independent - exact).max() > 5 * next_order


# ------------------------------------------------------------------------------------------------------------ learning

# A run of experiments/xor/samples, 48 seeds of SGD: dim 64, kappa 0.2 (batch 32), eta = theta = 0.2, p = 256.
SAMPLES_PER_DIM, SAMPLES_SE = 25.42, 0.45


@jit
def samples_per_dim(keys, learning_rate, batch_size):
    def one(key):
        key_neurons, key_noise = jax.random.split(key)
        neurons = xor_finite_batch.random_neurons(key_neurons, 64, 256, 0.2)
        setting = {"dim": 64, "batch_size": batch_size}
        return xor_finite_batch.steps_to_error(key_noise, neurons, learning_rate, 0.1, 80, **setting)

    return jax.vmap(one)(keys) * batch_size / 64


def assert_samples_to_ten_percent(learning_rate):
    samples = np.asarray(samples_per_dim(jax.random.split(jax.random.key(2), 48), learning_rate, 32.0))
    se = math.hypot(samples.std(ddof=1) / math.sqrt(len(samples)), SAMPLES_SE)
    assert abs(samples.mean() - SAMPLES_PER_DIM) <= 3 * se + 0.015 * SAMPLES_PER_DIM


@pytest.mark.slow
def test_samples_to_ten_percent_error():
    assert_samples_to_ten_percent(0.2)
    with pytest.raises(AssertionError):  # loss without its factor 2
        assert_samples_to_ten_percent(0.1)


def test_mirrored_networks_have_mirrored_outputs():
    mirror = np.array([3, 2, 1, 0])  # of the clusters, under x_1 -> -x_1, which changes the label
    state = handmade()
    other = State(state.w * jnp.array([[-1.0, 1.0]]), state.own, state.shared[:, mirror], -state.a)
    (margins, std, error), (margins_2, std_2, error_2) = observe(state, 30.0), observe(other, 30.0)
    np.testing.assert_allclose(margins_2, margins[mirror], rtol=1e-14)
    np.testing.assert_allclose(std_2, std[mirror], rtol=1e-14)
    np.testing.assert_allclose(error_2, error, rtol=1e-14)
    w, s, a = draw(4)
    path = paths(Neurons(w, s, a), 0.1, np.inf)
    mirrored = paths(Neurons(w * jnp.array([[-1.0, 1.0]]), s, -a), 0.1, np.inf)
    assert_close(mirrored, State(path.w * [-1, 1], path.own, path.shared[..., mirror], -path.a), rtol=1e-10)


def test_error_is_one_half_where_nothing_is_learned():
    balanced = xor_finite_batch.state_of(xor_mean_field.typical_neurons(64, 0.1))
    silent = balanced._replace(a=0 * balanced.a)
    for state in (balanced, silent):
        margins, std, error = observe(state, 8.0)
        np.testing.assert_allclose(margins, 0, atol=1e-16)
        np.testing.assert_allclose(error, 0.5, atol=1e-12)
        assert ((std > 0) == (state is balanced)).all()


def test_error_and_std_against_a_sample_of_x():
    """A network in dim 402 whose w_perp are given, with no shared part: sigma is that of its own random directions."""
    width, dim = 300, 402
    w, s, a = draw(8, dim, width, 1.0)
    w = 0.5 * w / jnp.abs(w)
    rng = np.random.default_rng(1)
    perp = rng.normal(size=(dim - 2, width))
    perp *= np.asarray(s) / np.linalg.norm(perp, axis=0)
    hidden = rng.choice([-1.0, 1.0], size=(4000, dim - 2)) @ perp
    f = np.stack([np.maximum(hidden + np.asarray(w) @ mu, 0) @ np.asarray(a) / width for mu in CLUSTERS])
    state = xor_finite_batch.state_of(Neurons(w, s, a))
    # Overlaps of the random directions, of order 1/sqrt(dim), move sigma^2 by sqrt(2/dim): 7 %, sigma by 3.5 %.
    margins, std, error = observe(state, float(width))
    np.testing.assert_allclose(std, f.std(axis=1), rtol=3 * 0.035)
    se = f.std(axis=1) / math.sqrt(4000)
    assert (np.abs(LABELS * f.mean(axis=1) - np.asarray(margins)) <= 5 * se).all()
    assert abs((LABELS[:, None] * f < 0).mean() - float(error)) < 0.03


def test_own_parts_add_up_as_the_inverse_width():
    state = handmade()
    common, few, many = (np.asarray(observe(state, width)[1]) ** 2 for width in (np.inf, 5.0, 50.0))
    np.testing.assert_allclose(few - common, 10 * (many - common), rtol=1e-10)


# --------------------------------------------------------------------------------------------------- random neurons


@pytest.mark.parametrize("dim", [3, 5, 64])
def test_random_neurons_have_the_law_of_uniform_weights(dim):
    num, theta = 40_000, 0.3
    w, s, a = map(np.asarray, draw(dim, dim, num, theta))
    np.testing.assert_allclose(np.sum(w**2, axis=1) + s**2, theta**2, rtol=1e-12)
    normal = np.random.default_rng(dim).normal(size=(num, dim))
    normal *= theta / np.linalg.norm(normal, axis=1, keepdims=True)
    for sample, direct in (
        (w[:, 0], normal[:, 0]),
        (w @ CLUSTERS[2], normal[:, :2] @ CLUSTERS[2]),
        (w[:, 0] * w[:, 1], normal[:, 0] * normal[:, 1]),
        (s, np.linalg.norm(normal[:, 2:], axis=1)),
    ):
        assert np.asarray(stats.ks_2samp(sample, direct))[1] > 1e-4  # the p-value
    assert np.asarray(stats.kstest((s / theta) ** 2, stats.beta((dim - 2) / 2, 1).cdf))[1] > 1e-4
    for power, moment in ((2, 1 / dim), (4, 3 / (dim * (dim + 2)))):
        values = (w[:, 0] / theta) ** power
        assert abs(values.mean() - moment) <= 4 * values.std() / math.sqrt(num)
    np.testing.assert_array_equal(np.abs(a), theta)
    assert abs(np.sign(a).mean()) <= 4 / math.sqrt(num)
    assert abs(np.corrcoef(a, w[:, 0])[0, 1]) <= 4 / math.sqrt(num)


# -------------------------------------------------------------------------------------------------------- contracts


def test_recorded_steps_do_not_depend_on_which_are_recorded():
    path, start = paths(draw(2), 0.1, 8), xor_finite_batch.state_of(draw(2))
    shorter = paths(draw(2), 0.1, 8, steps=(5, 0, 1, 1))
    assert_close(shorter, jax.tree.map(lambda x: x[:, [2, 0, 1, 1]], path), rtol=1e-12, atol=1e-17)
    for recorded in (path, paths(draw(2), 0.1, 8, steps=[0])):
        assert_close(jax.tree.map(lambda x: x[0, 0], recorded), start, rtol=0, atol=0)


@pytest.mark.slow
def test_vmap_is_a_loop_and_steps_to_error_takes_the_path_of_euler():
    keys = jax.random.split(jax.random.key(7), 2)  # those of `paths`
    rows = [(keys[i], draw(i, init_scale=0.5), rate, batch) for i, (rate, batch) in enumerate([(0.4, 32.0), (0.5, 64.0)])]

    def count(key, neurons, rate, batch, level, limit):
        return xor_finite_batch.steps_to_error(key, neurons, rate, level, limit, dim=64, batch_size=batch)

    @jit
    def one(key, neurons, rate, batch, level, limit):
        states = xor_finite_batch.euler(key, neurons, rate, np.arange(41), dim=64, batch_size=batch)
        errors = jax.vmap(lambda state: xor_finite_batch.error(state, 64))(states)
        return states, errors, count(key, neurons, rate, batch, level, limit)

    loop = [one(*row, 0.1, 40) for row in rows]
    for i, (states, errors, steps) in enumerate(loop):
        vmapped = jax.tree.map(lambda x, i=i: x[i], paths(*rows[i][1:]))
        assert_close(vmapped, jax.tree.map(lambda x: x[np.array(STEPS)], states), rtol=1e-9, atol=1e-12)
        assert errors[0] > 0.1 > errors[-1]
        assert int(steps) == np.argmax(errors <= 0.1)
        assert float(one(*rows[i], 1.0, 40)[2]) == 0
        assert math.isnan(float(one(*rows[i], 0.1, int(steps) - 1)[2]))
    stacked = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(leaf) for leaf in x]), *[(*row, 0.1, 40) for row in rows])
    np.testing.assert_array_equal(jit(jax.vmap(count))(*stacked), [steps for _, _, steps in loop])


@pytest.mark.slow
def test_dtype_follows_the_neurons():
    def results(init_scale):
        key, setting = jax.random.key(0), {"dim": 64, "batch_size": 8}
        neurons = xor_finite_batch.random_neurons(key, 64, 16, init_scale)
        path = xor_finite_batch.euler(key, neurons, 0.1, np.array([2, 200]), **setting)  # past the collapse of s
        state = jax.tree.map(lambda x: x[-1], path)
        count = xor_finite_batch.steps_to_error(key, neurons, 0.1, 0.3, 99, **setting)
        return neurons, path, xor_finite_batch.error(state, 16), xor_finite_batch.output_std(state, 16), count

    for dtype in (jnp.float32, jnp.float64):
        assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(results, dtype(0.1)))} == {jnp.dtype(dtype)}
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(jit(results)(jnp.float32(0.1))))


@pytest.mark.slow
def test_gradient_of_a_run_is_that_of_differences():
    """Neurons have no noise in common at the start, and none ever in large batches: roots of 0, which have no slope."""

    key, neurons = jax.random.key(3), draw(0, init_scale=0.5)

    @jit
    @jax.value_and_grad
    def margin(learning_rate, batch_size):
        states = xor_finite_batch.euler(key, neurons, learning_rate, [4], dim=64, batch_size=batch_size)
        return jnp.sum(xor_finite_batch.margins(jax.tree.map(lambda x: x[0], states)))

    for batch_size in (8.0, np.inf):
        difference = (float(margin(0.1 + 1e-4, batch_size)[0]) - float(margin(0.1 - 1e-4, batch_size)[0])) / 2e-4
        np.testing.assert_allclose(margin(0.1, batch_size)[1], difference, rtol=1e-5)
    forward = 4 * float(margin(1e-5, 8.0)[0]) - float(margin(2e-5, 8.0)[0]) - 3 * float(margin(0.0, 8.0)[0])
    np.testing.assert_allclose(margin(0.0, 8.0)[1], forward / 2e-5, rtol=1e-5)  # the noise is a kick from the first step on


@pytest.mark.slow
def test_slope_of_a_step_where_gates_are_open_beyond_rounding():
    """P - P^2 far below the rounding of P = 1 where g counts, and of P where g is 1e-70: the root of both has a slope."""
    w, s, a = jnp.array([[6.7, -2.7], [0.4, 26.5], [-0.7, 0.05]]), jnp.array([0.08, 1.7, 0.16]), jnp.array([52.0, -4.2, 3.2])
    setting = {"dim": 4.0, "batch_size": 0.2, "width": 3.0}

    def moved(factor):
        states = xor_finite_batch.euler(jax.random.key(5), Neurons(w, factor * s, a), 0.01, [1], **setting)
        return jnp.sum(states.w @ jnp.array([1.0, 2.0]))

    difference = (float(jit(moved)(1 + 1e-6)) - float(jit(moved)(1 - 1e-6))) / 2e-6
    for derivative in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(jit(derivative(moved))(1.0), difference, rtol=1e-6)


@pytest.mark.slow
def test_small_networks_have_the_std_of_large_ones():
    """By homogeneity; in float32 the square of sigma, theta^4, underflows."""
    large = jax.tree.map(lambda x: x.astype(jnp.float32), handmade())
    std, error = (np.asarray(f(large, 30.0)) for f in (xor_finite_batch.output_std, xor_finite_batch.error))
    for scale in (1e-12, 1e-15):
        small = State(scale * large.w, scale * (scale * large.own), scale * large.shared, scale * large.a)
        np.testing.assert_allclose(xor_finite_batch.output_std(small, 30.0), std * scale**2, rtol=1e-5)
        np.testing.assert_allclose(xor_finite_batch.error(small, 30.0), error, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": [1, 1.5]}, r"^steps must be whole numbers, got \[1, 1.5\]"),
        ({"steps": [-1, 3]}, r"^steps must be at least 0, got \[-1 3\]"),
        ({"steps": [[1]]}, r"^steps must have the shape \(step,\), got \(1, 1\)"),
        ({"learning_rate": -0.1}, "^learning_rate must be at least 0 and finite, got -0.1"),
        ({"batch_size": 0}, "^batch_size must be above 0, got 0"),
        ({"dim": np.inf}, "^dim must be at least 2 and finite, got inf"),
        ({"width": np.nan}, "^width must be above 0, got nan"),
    ],
)
def test_a_run_without_meaning_is_refused(changes, words):
    setting = {"learning_rate": 0.1, "steps": [1], "dim": 64, "batch_size": 8, **changes}
    with pytest.raises(ValueError, match=words):
        xor_finite_batch.euler(jax.random.key(0), draw(0), **setting)


def test_no_steps_and_the_steps_of_one_state():
    neurons = draw(0)
    none = xor_finite_batch.euler(jax.random.key(0), neurons, 0.1, [], dim=64, batch_size=8)
    assert [x.shape for x in none] == [(0, 64, 2), (0, 64), (0, 64, 4), (0, 64)]
    with pytest.raises(ValueError, match=r"^steps must be whole numbers, got a traced value"):
        jax.eval_shape(lambda steps: xor_mean_field.euler(neurons, 0.1, steps), np.arange(3))
    path = jax.tree.map(lambda x: jnp.stack([x, x]), xor_finite_batch.state_of(neurons))
    assert xor_finite_batch.perp_norm(path).shape == (2, 64)
    for function in (xor_finite_batch.margins, lambda state: xor_finite_batch.error(state, 64)):
        with pytest.raises(ValueError, match=r"^state must be of one step, got shape"):
            function(path)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

NUMBER = Real[ArrayLike, ""]
KEY_SEED = 5


# The runs as one program each, in place of one for each kind of argument.
@jax.jit
def run(neurons, learning_rate, dim, batch_size, width):
    setting = {"dim": dim, "batch_size": batch_size, "width": width}
    return xor_finite_batch.euler(jax.random.key(KEY_SEED), neurons, learning_rate, [3, 0], **setting)


@jax.jit
def count(neurons, learning_rate, level, max_steps, dim, batch_size):
    setting = {"dim": dim, "batch_size": batch_size}
    steps = xor_finite_batch.steps_to_error(jax.random.key(KEY_SEED), neurons, learning_rate, level, max_steps, **setting)
    return jnp.where(jnp.isnan(steps), -1, steps)  # nan is the answer where max_steps are too few


def ranges(function, *names):
    return {name: function.ranges[name] for name in names}


@takes(**ranges(xor_finite_batch.euler, "neurons", "learning_rate", "dim", "batch_size", "width"))
def euler(neurons: Neurons, learning_rate: NUMBER, dim: NUMBER, batch_size: NUMBER, width: NUMBER):
    return run(neurons, learning_rate, dim, batch_size, width)


@takes(**ranges(xor_finite_batch.steps_to_error, "neurons", "learning_rate", "level", "max_steps", "dim", "batch_size"))
def steps_to_error(neurons: Neurons, learning_rate: NUMBER, level: NUMBER, max_steps: NUMBER, dim: NUMBER, batch_size: NUMBER):
    return count(neurons, learning_rate, level, max_steps, dim, batch_size)


@takes(dim=above(2, finite=True), init_scale=at_least(0, finite=True))
def random_neurons(dim: NUMBER, init_scale: NUMBER):
    return xor_finite_batch.random_neurons(jax.random.key(KEY_SEED), dim, 3, init_scale)


STATE = State(
    w=np.array([[0.3, -0.8], [1.1, 0.4], [-0.5, 0.2]]),
    own=np.array([0.8, 0.2, 1.1]),
    shared=np.array([[0.3, -0.1, 0.2, 0.4], [-0.2, 0.1, 0.3, 0.1], [0.5, 0.2, -0.4, 0.1]]),
    a=np.array([1.2, -0.7, 0.5]),
)
NEURONS = Neurons(STATE.w, np.array([0.9, 0.5, 1.1]), STATE.a)
NOTHING = {"state.own": np.zeros(3), "state.shared": np.zeros((3, 4))}
SIZES = {"state.w": 1, "state.own": 2, "state.shared": 1, "state.a": 1}
OF_STATE = {
    "scaling": SIZES,
    "cases": [NOTHING, {"state.a": np.zeros(3)}, {"state.shared": np.zeros((3, 4))}, {"state.w": np.zeros((3, 2))}],
    # no w_perp: a norm at 0; no output: a deviation at 0
    "kinks": ["case 0", "case 1", "state.own[0]=0.0", "state.own=0.0"],
}
CALLS = [
    Call(xor_finite_batch.state_of, {"neurons": NEURONS}),
    Call(xor_finite_batch.perp_norm, {"state": STATE}, degree=1, **OF_STATE),
    Call(xor_finite_batch.margins, {"state": STATE}, degree=2, **OF_STATE),
    Call(xor_finite_batch.output_std, {"state": STATE, "width": 30.0}, degree=2, **OF_STATE),
    Call(xor_finite_batch.error, {"state": STATE, "width": 30.0}, degree=0, **OF_STATE),
    # float32 draws other numbers than float64: compared without noise, in large batches.
    Call(
        euler,
        {"neurons": NEURONS, "learning_rate": 0.1, "dim": 50.0, "batch_size": 8.0, "width": 3.0},
        of=xor_finite_batch.euler,
        edges={"neurons.s": [1e-3], "batch_size": [1e-9, np.inf], "width": [0.5, np.inf]},
        # the root of dim - 2; and at learning rate 0 norms of vectors that are 0, as the docstring says
        kinks=["dim=2.", "learning_rate=0."],
        single=lambda arguments: np.isinf(arguments["batch_size"]),
    ),
    Call(
        steps_to_error,
        {"neurons": NEURONS, "learning_rate": 0.1, "level": 0.4, "max_steps": 30.0, "dim": 50.0, "batch_size": 80.0},
        of=xor_finite_batch.steps_to_error,
        differentiable=False,  # a count
        single=lambda arguments: False,
    ),
    Call(
        random_neurons,
        {"dim": 50.0, "init_scale": 0.3},
        of=xor_finite_batch.random_neurons,
        scaling={"init_scale": 1},
        degree=1,
        edges={"dim": [2.001, 1e12]},
        single=lambda arguments: False,
    ),
]
