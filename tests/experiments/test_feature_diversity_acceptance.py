"""Plateaus of deep linear networks: the facts of the specification, by experiments and by an oracle, and mistakes."""

import functools

import jax
import numpy as np
import pytest

from closedform.experiments.feature_diversity import _training, clusters, plateau, remedies, scaling, threshold
from closedform.models.fully_connected import deep
from closedform.models.linear import deep_linear
from closedform.sweeps import agrees, compare, find, run, sweep
from closedform.theory.linear_networks import plateau as theory
from zoo.checks import changed, rejected

KEY = jax.random.key(0, impl="threefry2x32")


@functools.cache
def data():
    """x of the specification's sample, its second moment, b and the mean of y^2."""
    x = np.random.default_rng(0).standard_normal((400, 12))
    x[:, 0] += 2
    y = x[:, :2] @ [0.5, 0.3]
    return x, x.T @ x / 400, x.T @ y / 400, np.mean(y**2)


@functools.cache
def escaped(depth, scales, momentum=0.0, rate=0.01):
    """From rank one, W_1 = u r^T and all other layers of norm a: times at half the loss, and r half way there as predicted.

    Descent in r and a alone, in numpy: gradients of the layers are of rank one along these.
    """
    _, covariance, b, square = data()
    a = np.array(scales)
    start = a[:, None] * b / np.linalg.norm(b)
    predicted = theory.plateau_time(a, depth, np.linalg.norm(b))
    r, r_velocity, a_velocity, half_way = start, 0 * start, 0 * a, 0 * start
    times = np.full(len(a), np.nan)
    for step in range(int(1.2 * np.max(predicted) / rate)):
        product = a[:, None] ** (depth - 1) * r
        loss = (square - 2 * product @ b + np.sum(product @ covariance * product, axis=1)) / 2
        times = np.where(np.isnan(times) & (loss < square / 4), rate * step, times)
        half_way = np.where((step * rate <= np.asarray(predicted) / 2)[:, None], r, half_way)
        left = b - product @ covariance
        r_velocity = momentum * r_velocity + a[:, None] ** (depth - 1) * left
        a_velocity = momentum * a_velocity + a ** (depth - 2) * np.sum(r * left, axis=1)
        r, a = r + rate * r_velocity, a + rate * a_velocity
    return times, half_way


def assert_times(time_fn):
    """Aligned rank one, four layers: 77.45, 19.15 and 4.55 at 0.05, 0.1 and 0.2, within 2 % of the law at 0.05."""
    scales = (0.05, 0.1, 0.2)
    times, _ = escaped(4, scales)
    np.testing.assert_allclose(times, [77.45, 19.15, 4.55], atol=0.02)
    predicted = np.asarray(time_fn(np.array(scales), 4, np.linalg.norm(data()[2])))
    np.testing.assert_allclose(predicted[0], times[0], rtol=0.02)
    np.testing.assert_allclose(predicted, [77.73, 19.43, 4.858], rtol=3e-4)


def test_times_of_the_specification():
    time = theory.plateau_time
    assert_times(time)
    rejected(assert_times, lambda a, depth, b: time(a, depth, b) / 2)  # a loss without 1/2
    rejected(assert_times, lambda a, depth, b: time(a, depth + 1, b))
    rejected(assert_times, lambda a, depth, b: (depth - 2) * time(a, depth, b))


def power(depth, scales):
    return np.polyfit(np.log(scales), np.log(escaped(depth, scales)[0]), 1)[0]


def test_powers_of_the_initial_scale():
    """-2.045 at four layers; at three layers within 0.1 of -1 for starts up to 0.05, and -1.199 for larger ones."""
    np.testing.assert_allclose(power(4, (0.05, 0.1, 0.2)), -2.045, atol=2e-3)
    assert abs(power(3, (0.0125, 0.025, 0.05)) + 1) < 0.1
    np.testing.assert_allclose(power(3, (0.05, 0.1, 0.2)), -1.199, atol=0.01)  # 0.008 from steps of 0.01
    assert abs(power(4, (0.05, 0.1, 0.2)) + 1) > 0.5


def test_momentum_shortens_the_plateau():
    """Momentum 0.5 and 0.9 need 0.504 and 0.123 of the updates: the factor 1 - beta within 25 %."""
    plain = escaped(4, (0.1,))[0][0]
    for beta, factor in ((0.5, 0.504), (0.9, 0.123)):
        found = escaped(4, (0.1,), beta)[0][0] / plain
        np.testing.assert_allclose(found, factor, atol=2e-3)
        predicted = theory.plateau_steps(1.0, 1.0, beta)
        assert abs(predicted / found - 1) < 0.25
        assert abs((1 - beta**2) / found - 1) > 0.25


def test_cosine_half_way():
    """0.9120 for the specification's sample, found within 1e-3 at half of the plateau; the inputs themselves have 0.251."""
    x, _, b, _ = data()
    predicted = float(theory.plateau_cosine(b, x))
    np.testing.assert_allclose(predicted, 0.9120, atol=1e-4)
    for r in escaped(4, (0.05, 0.1, 0.2))[1]:
        assert abs(np.mean(np.sign(x @ r)) ** 2 - predicted) < 1e-3
    units = x / np.linalg.norm(x, axis=1)[:, None]
    np.testing.assert_allclose(np.sum(units.mean(axis=0) ** 2), 0.251, atol=1e-3)
    rejected(np.testing.assert_allclose, np.mean(x @ b > 0) ** 2, predicted, 1e-3)  # P^2 in place of (2 P - 1)^2


def test_networks_follow_the_closed_form_through_the_plateau():
    """Loss and cosine of two layers while the second mode is learned, within the experiment's allowance."""
    config = plateau.Config(depth=2, num_test=40)

    @jax.jit
    def trained(key):
        start = plateau.init(key, config)
        end = jax.lax.fori_loop(0, 250, lambda _, state: plateau.step(state, config), start)
        return plateau.observe(end, config), plateau.predict(start, config, np.array([250, 500]))

    measured, predicted = trained(KEY)

    def assert_follows(loss, cosine):
        np.testing.assert_allclose(measured.loss, loss, rtol=0.005, atol=0.005)
        np.testing.assert_allclose([measured.cosine, measured.first_cosine], [cosine] * 2, atol=0.003)

    loss, cosine = predicted.loss, predicted.cosine
    assert_follows(loss[0], cosine[0])
    rejected(assert_follows, loss[1], cosine[0])  # a loss without 1/2
    rejected(assert_follows, loss[0], cosine[1])
    rejected(assert_follows, 2 * loss[0], cosine[0])
    rejected(assert_follows, loss[0], np.sqrt(cosine[0]))


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        (plateau, {"depth": 1}, "depth must be a whole number of at least 2, got 1"),
        (plateau, {"dim": 2}, "targets must be at most dim = 2, got 3"),
        (scaling, {"depths": (2, 3)}, "depths must be a list of at least 1, each entry a whole number of at least 3.*"),
        (scaling, {"teacher": (0.0, 0.0)}, r"teacher must not be 0, got \(0\.0, 0\.0\)"),
        (threshold, {"weight_decays": (0.2, 0.1)}, r"weight_decays must rise, got \(0\.2, 0\.1\)"),
        (remedies, {"dim": 1}, "teacher must have at most dim = 1 coordinates, got 2"),
        (remedies, {"momenta": (1.0,)}, "momenta must be a list of at least 1, each entry a number above 0 and below 1.*"),
        (clusters, {"model": deep.Config(3, (4,), 3)}, r"model\.dim must be above model\.num_outputs = 3, got 3"),
    ],
)
def test_wrong_settings(experiment, changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        experiment.Config(**changes)


def test_the_drive_is_that_of_infinitely_many_samples():
    """b = (I + m m^T) t for x = m + N(0, I)."""
    mean = np.array([2.0, 0, 0])
    b = (np.eye(3) + np.outer(mean, mean)) @ [0.5, 0.3, 0]
    np.testing.assert_allclose(_training.drive(2.0, (0.5, 0.3)), np.linalg.norm(b), rtol=1e-14)
    x, y = _training.sample(KEY, 20000, 3, 2.0, (0.5, 0.3))
    np.testing.assert_allclose(_training.moments(x, y).cross[0], b, atol=0.15)  # five standard errors


def rolled(axis):
    """What a prediction would be with the entries of an axis moved by one."""
    return lambda field: field.copy(data=np.roll(field.values, 1, axis=field.get_axis_num(axis)))


@pytest.mark.slow
def test_plateau(tmp_path):
    """Three depths; the features of the wrong layer and the loss of another depth are rejected."""
    experiment = find("feature_diversity/plateau")
    result = sweep(
        experiment, experiment.default_config(), over={"depth": (2, 3, 5)}, seeds=8, results=tmp_path, progress=False
    )
    assert agrees(compare(experiment, result))
    right = result["prediction"]
    for wrong in (
        {"cosine": right["first_cosine"].values},
        {"loss": rolled("depth")},
        {"cosine": lambda c: c**0.5},
    ):
        assert not agrees(compare(experiment, changed(result, **wrong)))
    cosine = result["simulation"]["cosine"].mean("seed").sel(depth=5).values
    assert cosine.max() > cosine[0] + 0.2  # alike on the plateau
    assert cosine[-1] < cosine.max() - 0.05  # and diverse after it
    np.testing.assert_allclose(cosine.max(), theory.gaussian_cosine(2.0), atol=0.02)


@pytest.mark.slow
def test_scaling(tmp_path):
    experiment = find("feature_diversity/scaling")
    result = run(experiment, experiment.default_config(), seeds=8, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    for wrong in (
        {"time": lambda t: t / 2},
        {"power": lambda p: p + 1},
        {"time": rolled("length")},
    ):
        assert not agrees(compare(experiment, changed(result, **wrong)))
    ratio = (result["simulation"]["random_time"] / result["simulation"]["time"]).mean("seed")
    assert float(ratio.min()) > 0.3
    assert float(ratio.max()) < 3


@pytest.mark.slow
def test_threshold(tmp_path):
    """Every network of every sample is on its side of the line; at 0.9 and 1.1 of the threshold too."""
    experiment = find("feature_diversity/threshold")
    result = run(experiment, experiment.default_config(), seeds=4, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    for wrong in ({"escaped": lambda e: 1 - e}, {"threshold": lambda t: 2 * t}, {"threshold": lambda t: t / 2}):
        assert not agrees(compare(experiment, changed(result, **wrong)))


@pytest.mark.slow
def test_remedies(tmp_path):
    experiment = find("feature_diversity/remedies")
    result = run(experiment, experiment.default_config(), seeds=8, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    for wrong in ({"time": rolled("remedy")}, {"momentum_factor": lambda f: 1 - f}, {"cosine": lambda c: (1 + c) / 2}):
        assert not agrees(compare(experiment, changed(result, **wrong)))


@pytest.mark.slow
def test_clusters(tmp_path):
    """Both networks: features become more alike than the start's, the loss stands still meanwhile, and classes come apart."""
    experiment = find("feature_diversity/clusters")
    result = sweep(experiment, experiment.default_config(), over=experiment.grid, seeds=4, results=tmp_path, progress=False)
    measured = result["simulation"].to_dataset().mean("seed")
    for name in ("tanh", "relu"):
        one = measured.sel({"model.activation": name})
        assert float(one["cosine"].max()) > 0.8
        assert float(one["cosine_between"][-1]) < 0.7
        assert float(one["accuracy"][-1]) > 0.9


@pytest.mark.slow
def test_a_start_of_rank_one_stays_of_rank_one():
    """With one output the gradient of every layer is of rank one along its start, so that hidden features stay parallel."""
    config = scaling.Config(depths=(3,), lengths=(1.0, 2.0), dim=3, width=3, num_samples=20, num_steps=1)
    after = jax.jit(lambda key: scaling.step(scaling.init(key, config), config))(KEY)
    for weights in after.params[0].weights:
        singular = np.linalg.svd(np.asarray(weights)[0], compute_uv=False)
        assert singular[:, 1:].max(initial=0) < 1e-14 * singular.max()
    random = deep_linear.Params(tuple(weights[1, 0] for weights in after.params[0].weights))
    assert np.linalg.svd(random.weights[0], compute_uv=False)[1] > 1e-3
