"""Deep linear networks at small sizes and at those of the figures: the facts of the theory, and mistakes that are refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.experiments.deep_linear import alignment, balance, greedy, half_times, implicit_bias, riccati
from closedform.models.linear import deep_linear
from closedform.sweeps import agrees, compare, find, run, sweep
from closedform.sweeps.contract import config
from zoo.checks import changed, rejected


def key(seed=0):
    return jax.random.key(seed, impl="threefry2x32")


SILENT = alignment.Config(learning_rate=5e-3, num_steps=1800)


@jax.jit
def silent():
    """All records of one draw of the kernel experiment, at a = 1e-2, and their prediction."""
    start = alignment.init(key(), SILENT)
    every = 10

    def record(state, _):
        result = alignment.observe(state, SILENT)
        return jax.lax.fori_loop(0, every, lambda _, s: alignment.step(s, SILENT), state), result

    measured = jax.lax.scan(record, start, None, length=SILENT.num_steps // every)[1]
    return measured, alignment.predict(start, SILENT, every * np.arange(SILENT.num_steps // every))


def assert_silent(loss, cosine):
    """The direction is there, .99, before the loss has fallen by 1 %."""
    assert np.asarray(cosine)[np.asarray(loss) > 0.99].max() > 0.99


def test_alignment_is_silent_for_white_inputs_alone():
    measured, predicted = silent()
    assert_silent(measured.loss, measured.cosine)
    assert_silent(predicted.loss, predicted.cosine)
    rejected(assert_silent, measured.coloured_loss, measured.coloured_cosine)

    def assert_not_aligned(loss, cosine):
        assert np.asarray(cosine)[np.argmin(np.abs(np.asarray(loss) - 0.9))] < 0.96

    assert_not_aligned(measured.coloured_loss, measured.coloured_cosine)
    rejected(assert_not_aligned, measured.loss, measured.cosine)  # the test fails for white inputs, as it must
    np.testing.assert_allclose(measured.cosine, predicted.cosine, atol=2e-3)
    np.testing.assert_allclose(measured.loss, predicted.loss, atol=2e-2)  # steps of 5e-3
    # both ends are the same kernel
    assert measured.distance[-1] < 2e-3
    assert measured.coloured_distance[-1] < measured.coloured_distance[len(measured.loss) // 2]


def test_drift_is_of_first_order():
    small = balance.Config(num_steps=100, num_rates=2, model=deep_linear.Config(3, (3, 3), 3))
    small = dataclasses.replace(small, model=dataclasses.replace(small.model, scale=1.0))
    result = jax.jit(lambda: balance.simulate(balance.init(key(), small), small))()

    def assert_first_order(orders):
        np.testing.assert_allclose(orders, 1, atol=0.05)

    assert_first_order(result.order)
    rejected(assert_first_order, result.sum_order)
    assert result.sum_drift[1] > 10 * result.drift[1]


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        (riccati, {"spectrum": (1.0, 2.0)}, r"spectrum must fall, got \(1\.0, 2\.0\)"),
        (
            riccati,
            {"spectrum": (3.0, 2.0), "model": deep_linear.Config(2, (1,), 2, "balanced")},
            "spectrum must have at most.*1",
        ),
        (riccati, {"model": deep_linear.Config()}, "model must have two layers and a balanced start.*got depth 2 and gaussian"),
        (greedy, {"num_steps": 7}, "num_steps must be a multiple of num_records, got 7 and 130"),
        (greedy, {"init_scales": (1e-4, 1e-2)}, r"init_scales must be below 1 and fall, got \(0\.0001, 0\.01\)"),
        (alignment, {"model": deep_linear.Config()}, "model must have two layers and one output, got 2 and 8"),
        (implicit_bias, {"num_samples": 30}, "dim must be at least num_samples and num_relevant, got 24, 30, 2"),
        (half_times, {"depths": (1, 2)}, "depths.*at least 2.*got.*1.*"),
        (balance, {"num_rates": 1}, "num_rates must be a whole number of at least 2, got 1"),
        (balance, {"model": deep_linear.Config(4, (), 4)}, "model must have at least two layers, got 1"),
    ],
)
def test_wrong_settings(experiment, changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        experiment.Config(**changes)


@pytest.mark.slow
def test_riccati(tmp_path):
    """16 seeds within 1 % and the lag of steps, at three imbalances; plausible mistakes are refused."""
    experiment = find("deep_linear/riccati")
    result = sweep(experiment, experiment.default_config(), over=experiment.grid, seeds=16, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    right = result["prediction"]
    shifted = right["strength"].copy(data=np.roll(right["strength"].values, 1, axis=right["strength"].dims.index("step")))
    for wrong in (
        {"strength": shifted.values},
        {"representation": right["readout"].values},  # the sign of lambda
        {"loss": lambda loss: 2 * loss},  # without the 1/2
        {"mixing": 0.0},
    ):
        assert not agrees(compare(experiment, changed(result, **wrong)))


@pytest.mark.slow
def test_greedy(tmp_path):
    """Three scales of one draw: the staircase, delays within .005, ranks; and single half times that miss their leading law."""
    experiment = find("deep_linear/greedy")
    result = run(experiment, experiment.default_config(), seeds=8, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    half = result["simulation"]["half_time"]
    assert float(abs(half.sel(scale=1e-8) - 1).max()) < float(abs(half.sel(scale=1e-2) - 1).max())
    assert float(abs(half.sel(scale=1e-4) - 1).max()) > 0.06
    for wrong in (
        {"delay": 0.5},
        {"delay": lambda d: d * 1.02},
        {"rank_error": lambda e: 0.9 * e},
        {"values": lambda v: v.shift(record=3, fill_value=0)},
    ):
        assert not agrees(compare(experiment, changed(result, **wrong)))


@pytest.mark.slow
def test_alignment(tmp_path):
    """Three scales of the start, 16 seeds; the kernel without its readout's part is refused."""
    experiment = find("deep_linear/alignment")
    result = sweep(experiment, experiment.default_config(), over=experiment.grid, seeds=16, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    for wrong in ({"cosine": lambda c: c * 0.99}, {"loss": lambda loss: loss / 2}, {"distance": lambda d: d + 0.02}):
        assert not agrees(compare(experiment, changed(result, **wrong)))
    large = config.replace(experiment.default_config(), {"model.scale": 0.5})  # the start is not small: no silent alignment
    far = run(experiment, large, seeds=4, results=tmp_path, progress=False)["simulation"].mean("seed")
    assert float(far["cosine"].isel(step=int(np.argmax(far["loss"].values < 0.99)))) < 0.97
    assert float(far["distance"][-1]) > 0.1


@pytest.mark.slow
def test_implicit_bias(tmp_path):
    """16 data sets; neither limit is the interpolator, and each is where its scale is."""
    experiment = find("deep_linear/implicit_bias")
    result = run(experiment, experiment.default_config(), seeds=16, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    assert float(result["simulation"]["residual"].max()) < 0.02
    for name in ("least_l1", "least_l2"):
        limit = result[f"prediction_{name}"]
        assert not agrees(compare(experiment, changed(result, l1_norm=limit["l1_norm"].values)))
        assert not agrees(compare(experiment, changed(result, beta=limit["beta"].values)))
    norms = result["simulation"]["l1_norm"].mean("seed").values
    assert np.all(np.diff(norms) > 0)


@pytest.mark.slow
def test_balance(tmp_path):
    """Depth 4, four step sizes, 16 seeds: order 1 within .05, and 0 for the sums; exchanged they are refused."""
    experiment = find("deep_linear/balance")
    result = run(experiment, experiment.default_config(), seeds=16, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    for wrong in ({"order": 2.0}, {"order": 0.0}, {"sum_order": 1.0}):
        assert not agrees(compare(experiment, changed(result, **wrong)))
    assert jnp.all(jnp.asarray(result["simulation"]["drift"].mean("seed")) < 0.05)


@pytest.mark.slow
def test_half_times(tmp_path):
    """Two to five layers within 1 %; the laws of small starts alone are not, nor those of one layer more."""
    experiment = find("deep_linear/half_times")
    result = run(experiment, experiment.default_config(), seeds=8, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    right = result["prediction"]["half_time"].values
    law = result["prediction_small_start"]["half_time"].values
    for wrong in (law, np.roll(right, -1, axis=0), 2 * right, right / 2):
        assert not agrees(compare(experiment, changed(result, half_time=wrong)))
    np.testing.assert_allclose(law[:, 0], right[:, 0], rtol=0.15)  # the smallest start is nearest to the law
