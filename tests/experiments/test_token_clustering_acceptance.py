"""Clustering of tokens at sizes of seconds: theory agrees, and mistakes in it do not; uniform tokens at their rate in d."""

import numpy as np
import pytest

from closedform.experiments.token_clustering import circle_clusters, circle_paths, energy, equiangular, phase_diagram
from closedform.sweeps import agrees, compare, find, run
from closedform.sweeps.contract import config
from zoo.checks import changed


def simulate(name, folder, changes, seeds=8):
    experiment = find(f"token_clustering/{name}")
    settings = config.replace(experiment.default_config(), changes)
    return experiment, run(experiment, settings, seeds=seeds, results=folder, progress=False)


def flows_swapped(values):
    return values.copy(data=values.values[..., ::-1, :, :] if values.ndim == 3 else values.values[:, ::-1])


@pytest.mark.slow
def test_equiangular_tokens(tmp_path):
    changes = {"betas": (1.0, 4.0), "num_steps": 400, "num_layers": 10}
    experiment, result = simulate("equiangular", tmp_path, changes, seeds=2)
    assert agrees(compare(experiment, result))
    for field in ("gamma", "hitting"):
        assert not agrees(compare(experiment, changed(result, **{field: flows_swapped})))
        assert not agrees(compare(experiment, changed(result, **{field: lambda values: values * (1 + 2e-5)})))
    continuous = result["prediction_continuous"]["layers"]
    assert not agrees(compare(experiment, changed(result, layers=lambda _: continuous)))
    assert float(result["simulation"]["spread"].max()) < 1e-10


@pytest.mark.slow
def test_circle(tmp_path):
    changes = {"betas": (9.0, 16.0), "num_tokens": 120, "num_records": 5, "end_time": 10.0, "smallest": 3}
    experiment, result = simulate("circle_clusters", tmp_path, changes, seeds=32)
    assert agrees(compare(experiment, result))
    unsquared = result["prediction_unsquared"]["growth"]
    assert not agrees(compare(experiment, changed(result, growth=lambda _: unsquared)))
    assert not agrees(compare(experiment, changed(result, growth=flows_swapped)))
    # clusters: nearer to the fastest mode than to that of the rates with k in place of k^2
    found, fastest = result["simulation"]["clusters"].mean("seed"), result["prediction_fastest"]["clusters"]
    assert float(abs(found - fastest).max()) < 1
    assert float((abs(found - fastest) < abs(found - unsquared.idxmax("mode"))).sum()) == found.size
    # the rates, every mode of every draw that grows at a tenth of the fastest: the 5 % are far off
    rates, expected = result["simulation"]["growth"], result["prediction"]["growth"]
    off = abs(rates / expected - 1).where(expected > expected.max("mode") / 10)
    assert float(off.max()) < 1e-2


def test_paths_on_a_circle(tmp_path):
    """Every token of every draw; the second order falls with the square of the perturbation; wrong rates are seen."""
    changes = {"num_tokens": 32, "beta": 4.0, "num_records": 8, "time": 8.0}
    off = []
    for noise_std in (1e-3, 1e-4):
        experiment, result = simulate("circle_paths", tmp_path, {**changes, "noise_std": noise_std})
        assert agrees(compare(experiment, result))
        found, expected = (result[side]["displacement"] for side in ("simulation", "prediction"))
        off.append(float(abs(found - expected).max()))
    assert off[1] < 0.2 * off[0] < 0.1
    time = result["prediction"]["early"]
    slower = changed(result, amplitude=lambda values: values * np.exp(-0.05 * time))
    assert not agrees(compare(experiment, slower))


def test_energy(tmp_path):
    changes = {"betas": (1.0, 4.0), "time": 4.0, "num_steps": 320, "num_records": 8, "num_tokens": 10}
    experiment, result = simulate("energy", tmp_path, changes, seeds=16)
    assert agrees(compare(experiment, result))
    assert float(result["simulation"]["smallest"].min()) > 0
    for field in ("rate", "rise"):
        ascent = result["prediction_ascent"][field]
        assert not agrees(compare(experiment, changed(result, **{field: ascent})))
        np.testing.assert_allclose(ascent.sel(flow="USA"), result["prediction"][field].sel(flow="USA"), rtol=1e-9)


@pytest.mark.slow
def test_uniform_tokens_come_to_the_curve_as_dimensions_grow(tmp_path):
    """The error of the mean falls as 1/d, a single draw's as 1/sqrt(d)."""
    single = {}
    for dim in (64, 1024):
        changes = {"dim": dim, "betas": (0.0, 1.0), "time": 8.0, "num_records": 16}
        experiment, result = simulate("phase_diagram", tmp_path, changes, seeds=32)
        assert agrees(compare(experiment, result))
        for field in ("scaled_mean", "scaled_crossing"):
            assert not agrees(compare(experiment, changed(result, **{field: lambda values: 1.1 * values})))
        off = abs(result["simulation"]["mean"] - result["prediction_limit"]["mean"]).sel(beta=0.0)
        single[dim] = float(off.max("record").mean("seed"))
    assert 3 < single[64] / single[1024] < 5.5


@pytest.mark.parametrize(
    ("experiment", "settings", "message"),
    [
        (
            equiangular,
            dict(betas=()),
            "betas must be a list of at least 1, each entry a number of at least 0, no two of them equal, got",
        ),
        (equiangular, dict(num_records=7), "num_records must divide num_steps = 1000, got 7"),
        (equiangular, dict(num_tokens=13), "num_tokens must be at most dim = 12, got 13"),
        (equiangular, dict(levels=(0.999,)), r"levels must be below end = 0\.99"),
        (
            circle_clusters,
            dict(betas=(0.0,)),
            r"betas must be a list of at least 1, each entry a number of at least 0\.5, no two of them equal, got",
        ),
        (circle_clusters, dict(num_modes=100), "num_modes must be below num_tokens/2 = 100, got 100"),
        (circle_clusters, dict(smallest=0), "smallest must be a whole number of at least 1, got 0"),
        (energy, dict(num_records=7), "num_records must divide"),
        (circle_clusters, dict(end_time=5.0), r"count_time must be at most end_time = 5\.0, got 10\.0"),
        (circle_clusters, dict(tiny=0.0), r"tiny must be a positive number, got 0\.0"),
        (circle_paths, dict(linear_time=0.1), r"linear_time must be from the first record, 0\.5, to time, got 0\.1"),
        (circle_paths, dict(linear_time=30.0), "linear_time must be from the first record"),
        (circle_paths, dict(num_modes=32), "num_modes must be below num_tokens/2 = 32, got 32"),
        (equiangular, dict(end=1.0), r"end must be a number above 0 and below 1, got 1\.0"),
        (energy, dict(num_tokens=0), "num_tokens must be a whole number of at least 2, got 0"),
        (energy, dict(dim=1), "dim must be a whole number of at least 2, got 1"),
        (
            phase_diagram,
            dict(dim=4096, time=10.0),
            r"time must be above 11\.\d+, when tokens are together at beta = 5, got 10\.0",
        ),
        (phase_diagram, dict(dim=8), "num_tokens must be at most dim = 8, got 16"),
        (phase_diagram, dict(threshold=1.0), "threshold must be a number above 0 and below 1"),
        (phase_diagram, dict(time=0.0), "time must be a positive number"),
    ],
)
def test_bad_settings_are_named(experiment, settings, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(**settings)
