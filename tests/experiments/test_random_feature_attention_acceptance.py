"""Facts 7, 8 and 11 of the specification in simulation, at sizes of seconds, and gradient descent beside ridge."""

import numpy as np
import pytest

from closedform.sweeps import UsageError, agrees, compare, config, find, run, statistics


def simulate(name, folder, changes, seeds):
    experiment = find(f"random_feature_attention/{name}")
    settings = config.replace(experiment.default_config(), changes)
    result = run(experiment.module, settings, seeds=seeds, results=folder, progress=False)
    return experiment, result


def swapped(result, side):
    """The result with a rival's numbers in place of the prediction."""
    other = result.copy()
    other["prediction"] = result[side]
    return other


@pytest.mark.slow
def test_fact_8_double_descent_and_its_plateau(tmp_path):
    changes = {"num_heads": (10, 30, 37, 100), "model.num_heads": 100, "num_tests": 1000}
    experiment, result = simulate("heads", tmp_path, changes, 12)
    assert agrees(compare(experiment, result))
    mean, _ = statistics(result, "test")
    peak, _ = statistics(result, "peak")
    assert float(peak.isel(target=1, near=1)) > 3 * float(mean.isel(target=1).min())
    assert not agrees(compare(experiment, swapped(result, "prediction_infinite")))


@pytest.mark.slow
def test_fact_11_augmented_heads_are_not_independent_features(tmp_path):
    changes = {"num_heads": (12, 64, 100), "model.num_heads": 100, "num_tests": 1000}
    experiment, result = simulate("augmented_heads", tmp_path, changes, 12)
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, swapped(result, "prediction_naive")))


@pytest.mark.slow
def test_fact_7_the_staircase(tmp_path):
    changes = {"num_samples": (16, 64, 256), "num_tests": 1000}
    experiment, result = simulate("staircase", tmp_path, changes, 10)
    assert agrees(compare(experiment, result))
    mean, _ = statistics(result, "test")
    # at 64 examples the linear target is learned, the gated one not yet; at 256 the correlation is
    assert float(mean.isel(target=0, samples=1)) < 0.15 < 0.7 < float(mean.isel(target=3, samples=1))
    assert float(mean.isel(target=2, samples=2)) < 0.3
    # the specification's simulation of the correlation target, means and standard errors
    spec = np.array([1.333, 0.912, 0.195])
    assert np.all(np.abs(mean.isel(target=2) - spec) < 0.12 * spec)


@pytest.mark.slow
def test_gradient_descent_ends_at_the_ridge_fit(tmp_path):
    changes = {"model.num_heads": 20, "num_samples": 20, "num_tests": 50, "num_steps": 20_000, "ridge": 0.1, "num_records": 5}
    experiment, result = simulate("descent", tmp_path, changes, 2)
    assert agrees(compare(experiment, result))
    distance, _ = statistics(result, "distance")
    assert float(distance.isel(step=0).min()) > 0.5
    assert float(distance.isel(step=-1).max()) < 1e-8
    assert not agrees(compare(experiment, swapped(result, "prediction_infinite")))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("heads", {"num_heads": (500,)}, "num_heads must lie from 1 to model.num_heads = 400"),
        ("heads", {"model.augment": True}, "model.augment must be False"),
        ("augmented_heads", {"model.augment": False}, "model.augment must be True"),
        ("heads", {"model.mean_strength": 1.0}, "model.mean_strength must be 0"),
        ("staircase", {"ridge": 0.0}, "ridge must be positive"),
        ("convergence", {"num_heads": (64, 16)}, "two or more rising numbers"),
    ],
)
def test_configs_that_make_no_sense_are_refused(name, change, message):
    with pytest.raises(UsageError, match=message):
        config.replace(find(f"random_feature_attention/{name}").default_config(), change)
