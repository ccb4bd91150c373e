"""The LASSO, sparse recovery, spikes and phase retrieval at the sizes of the figures, and mistakes that are refused."""

import pytest

from closedform.experiments.high_dimension import lasso, phase_retrieval, sparse_recovery, spikes
from closedform.sweeps import agrees, compare, find, run, sweep
from zoo.checks import changed


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        (lasso, {"num_nonzero": 801}, "num_nonzero must be at most dim 800, got 801"),
        (lasso, {"ratio": 1e-4}, r"ratio must be at least 1/dim, for one sample; got 0\.0001 with dim 800"),
        (sparse_recovery, {"l1_dim": 2}, "l1_dim must be at least 1/density.*got 2"),
        (sparse_recovery, {"ratio": 1e-5}, "ratio must be at least 1/dim.*"),
        (sparse_recovery, {"l1_ratios": (0.1, 0.2, 0.4)}, r"l1_ratios must rise evenly, got \(0\.1, 0\.2, 0\.4\)"),
        (
            sparse_recovery,
            {"passing_ratios": (0.5, 1.5)},
            "passing_ratios must be from 1/1000, for one measurement, to 1; got .*",
        ),
        (spikes, {"ratio": 1000.0}, r"ratio must be at most dim 400, for one sample; got 1000\.0"),
        (phase_retrieval, {"ratios": (1e-4, 1.0)}, "ratios and near_ratios must be at least 1/dim.*"),
    ],
)
def test_wrong_settings(experiment, changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        experiment.Config(**changes)


@pytest.mark.slow
def test_lasso(tmp_path):
    """64 seeds with and without a ridge; a penalty or a noise that is off by a tenth is refused, and plausible mistakes are."""
    experiment = find("high_dimension/lasso")
    result = sweep(experiment, experiment.default_config(), over=experiment.grid, seeds=64, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    for wrong in (
        {"mse": lambda e: e + 0.1},  # with the label noise
        {"active": lambda share: share * 1.1},
        {"training_error": lambda e: e / 2},
        {"norm": lambda q: q * 1.2},
        {"overlap": lambda m: m * 1.2},
        {"power": lambda share: share * 1.15},
        {"false_positives": lambda share: share * 1.1},
    ):
        assert not agrees(compare(experiment, changed(result, **wrong)))


@pytest.mark.slow
def test_sparse_recovery(tmp_path):
    """32 seeds; the errors of the step before or after, and the thresholds exchanged, are refused."""
    experiment = find("high_dimension/sparse_recovery")
    result = run(experiment, experiment.default_config(), seeds=32, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    right = result["prediction"]
    for wrong in (
        {"mse": lambda e: e.shift(iteration=1, fill_value=0.2)},
        {"passing_threshold": right["l1_threshold"].values},
        {"passing_threshold": 0.2},  # what any method needs
        {"l1_threshold": right["passing_threshold"].values},
    ):
        assert not agrees(compare(experiment, changed(result, **wrong)))


@pytest.mark.slow
def test_spikes(tmp_path):
    """32 seeds; overlaps that are not squared, and eigenvalues of the population, are refused."""
    experiment = find("high_dimension/spikes")
    result = run(experiment, experiment.default_config(), seeds=32, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    for wrong in (
        {"overlap": lambda c: c**0.5},
        {"eigenvalue": lambda value: 1 + value.strength},
        {"wigner_overlap": lambda c: c**0.5},
        {"wigner_eigenvalue": lambda value: value.wigner_strength},
        {"passing_overlap": lambda m: m.shift(iteration=1, fill_value=0)},
    ):
        assert not agrees(compare(experiment, changed(result, **wrong)))


@pytest.mark.slow
def test_phase_retrieval(tmp_path):
    """64 seeds; an overlap that is not squared, and the eigenvalue of the sum over samples, are refused."""
    experiment = find("high_dimension/phase_retrieval")
    result = run(experiment, experiment.default_config(), seeds=64, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    for wrong in ({"overlap": lambda c: c**0.5}, {"eigenvalue": lambda value: value / value.ratio}):
        assert not agrees(compare(experiment, changed(result, **wrong)))
    weak = result["simulation"]["near_overlap"].mean("seed")
    assert float(weak.sel(near_ratio=0.3)) < 0.06
