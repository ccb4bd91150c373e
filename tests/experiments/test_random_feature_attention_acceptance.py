"""Facts 7, 8 and 11 of the specification in simulation, at sizes of seconds, and gradient descent beside ridge."""

import numpy as np
import pytest

from closedform.sweeps import UsageError, agrees, compare, find, run, statistics
from closedform.sweeps.contract import config


def simulate(name, folder, changes, seeds):
    experiment = find(f"random_feature_attention/{name}")
    settings = config.replace(experiment.default_config(), changes)
    result = run(experiment, settings, seeds=seeds, results=folder, progress=False)
    return experiment, result


def swapped(result, side):
    """The result with a rival's numbers in place of the prediction."""
    other = result.copy()
    other["prediction"] = result[side]
    return other


@pytest.mark.slow
def test_fact_8_double_descent_and_its_plateau(tmp_path):
    changes = {"num_heads": (10, 30, 37, 100), "model.num_heads": 100, "num_test": 1000}
    experiment, result = simulate("heads", tmp_path, changes, 12)
    assert agrees(compare(experiment, result))
    mean, _ = statistics(result, "test")
    peak, _ = statistics(result, "peak")
    assert float(peak.sel(target="gated", near=37)) > 3 * float(mean.sel(target="gated").min())
    assert not agrees(compare(experiment, swapped(result, "prediction_infinite")))


@pytest.mark.slow
def test_fact_11_augmented_heads_are_not_independent_features(tmp_path):
    changes = {"num_heads": (12, 64, 100), "model.num_heads": 100, "num_test": 1000}
    experiment, result = simulate("augmented_heads", tmp_path, changes, 12)
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, swapped(result, "prediction_naive")))


@pytest.mark.slow
def test_fact_7_the_staircase(tmp_path):
    changes = {"num_samples": (16, 64, 256), "num_test": 1000}
    experiment, result = simulate("staircase", tmp_path, changes, 10)
    assert agrees(compare(experiment, result))
    mean, _ = statistics(result, "test")
    # at 64 examples the linear target is learned, the gated one not yet; at 256 the correlation is
    assert float(mean.sel(target="linear", samples=64)) < 0.15 < 0.7 < float(mean.sel(target="gated", samples=64))
    assert float(mean.sel(target="correlation", samples=256)) < 0.3
    # the specification's simulation of the correlation target, means and standard errors
    spec = np.array([1.333, 0.912, 0.195])
    assert np.all(np.abs(mean.sel(target="correlation") - spec) < 0.12 * spec)


@pytest.mark.slow
def test_gradient_descent_ends_at_the_ridge_fit(tmp_path):
    changes = {"model.num_heads": 20, "num_samples": 20, "num_test": 50, "num_steps": 20_000, "ridge": 0.1, "num_records": 5}
    experiment, result = simulate("descent", tmp_path, changes, 2)
    assert agrees(compare(experiment, result))
    distance, _ = statistics(result, "distance")
    assert float(distance.isel(step=0).min()) > 0.5
    assert float(distance.isel(step=-1).max()) < 1e-8
    assert not agrees(compare(experiment, swapped(result, "prediction_infinite")))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("heads", {"num_heads": (500,)}, "num_heads must be at most model.num_heads = 400"),
        ("heads", {"model.augment": True}, "model.augment must be False"),
        ("augmented_heads", {"model.augment": False}, "model.augment must be True"),
        ("heads", {"model.mean_strength": 1.0}, "model.mean_strength must be 0"),
        ("staircase", {"ridge": 0.0}, r"ridge: got 0\.0; allowed: a positive number"),
        ("convergence", {"num_heads": (64, 16)}, "num_heads must rise"),
        ("convergence", {"num_heads": (64,)}, "num_heads: got .*; allowed: a list of at least 2, each entry a whole number"),
    ],
)
def test_configs_that_make_no_sense_are_refused(name, change, message):
    with pytest.raises(UsageError, match=message):
        config.replace(find(f"random_feature_attention/{name}").default_config(), change)
