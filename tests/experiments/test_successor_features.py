"""Features at small sizes: chains in the coordinates of their weights, and experiments that agree while mistakes do not."""

import jax
import numpy as np
import pytest

from closedform.experiments.successor_features import _chains, dynamics, evaluation, features, tasks
from closedform.models.linear import value_features
from closedform.sweeps import agrees, compare, find, run, sweep
from zoo.checks import changed


def test_chains_are_weighted_on_policy():
    """In these coordinates the generator has a positive definite symmetric part, and the root of the weights as eigenvector."""
    for chain in ("reset", "lazy", "reflecting"):
        P = _chains.transition(chain, 6)
        world = jax.tree.map(np.asarray, _chains.world(P, 0.9))
        np.testing.assert_allclose(world.weights.sum(), 6, rtol=1e-12)
        np.testing.assert_allclose(world.weights @ P, world.weights, rtol=1e-12)
        np.testing.assert_allclose(world.generator @ np.sqrt(world.weights), 0.1 * np.sqrt(world.weights), rtol=1e-10)
        assert np.linalg.eigvalsh(world.generator + world.generator.T)[0] > 0.19
    np.testing.assert_allclose(world.generator, world.generator.T, atol=1e-14)  # the reflecting walk


def test_distances_and_directions():
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.standard_normal((5, 2)))[0] for _ in range(2))
    np.testing.assert_allclose(_chains.distance(*map(jax.numpy.asarray, (U, V))), 2 - np.sum((U.T @ V) ** 2), rtol=1e-12)


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        (tasks, {"num_features": 12}, "num_features must be below num_states = 12, got 12"),
        (tasks, {"probabilities": (0.5, 1.0)}, r"probabilities must be .*, got \(0\.5, 1\.0\)"),
        (dynamics, {"model": value_features.Config(3, 3)}, r"model\.num_features must be below model\.num_states, got .*"),
        (evaluation, {"most": 12}, "most must be below num_states = 12, got 12"),
        (features, {"num_features": 104}, "num_features must be below the 104 states of the four rooms, got 104"),
    ],
)
def test_wrong_settings(experiment, changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        experiment.Config(**changes)


@pytest.mark.slow
def test_tasks(tmp_path):
    """1/T with the constant of each law; half of it, and the constant of Gaussian tasks for indicators, are rejected."""
    experiment = find("successor_features/tasks")
    result = run(experiment, experiment.default_config(), seeds=128, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, changed(result, distance=lambda d: d / 2)))
    assert not agrees(compare(experiment, changed(result, distance=lambda d: d.isel(law=[0] * 4).values + 0 * d)))
    means = result["simulation"]["distance"].mean("seed")
    slope = np.log(means.isel(number=0) / means.isel(number=-1)) / np.log(20000 / 300)
    np.testing.assert_allclose(slope, 1, atol=0.1)


@pytest.mark.slow
def test_dynamics(tmp_path):
    experiment = find("successor_features/dynamics")
    result = run(experiment, experiment.default_config(), results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    for field in ("monte_carlo", "temporal"):
        late = changed(result, **{field: lambda d: d.shift(step=1, fill_value=0.0)})
        assert not agrees(compare(experiment, late))
        assert not agrees(compare(experiment, changed(result, **{field: lambda d: d**0.5})))  # angles for their squares
    # on the directed chain temporal differences do not end at the singular vectors
    assert float(result["simulation"]["apart"].isel(step=-1).sel(chain="directed").min()) > 0.25


@pytest.mark.slow
def test_evaluation(tmp_path):
    experiment = find("successor_features/evaluation")
    result = run(experiment, experiment.default_config(), seeds=16, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, changed(result, error=lambda e: e.isel(kind=[2, 1, 2, 3]).values + 0 * e)))
    assert not agrees(compare(experiment, changed(result, error=lambda e: e.shift(number=1, fill_value=1.0))))


@pytest.mark.slow
def test_features(tmp_path):
    experiment = find("successor_features/features")
    result = sweep(experiment, experiment.default_config(), over=experiment.grid, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, changed(result, distance=lambda d: d / 2)))
    assert not agrees(compare(experiment, changed(result, captured=lambda s: s**0.5)))
    maps = result["simulation"]["maps"]
    overlap = (maps.sel(source="learned") * maps.sel(source="singular vectors")).sum("state")
    assert float(overlap.sel(learning_rate=1e-4).min()) > 0.9
    np.testing.assert_allclose(maps.sel(source="learned", learning_rate=1e-4).isel(feature=0).std("state"), 0, atol=0.01)
