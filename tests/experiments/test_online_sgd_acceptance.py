"""Online SGD at small sizes and at those of the figures: the facts of the theory, and mistakes that are refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.experiments.online_sgd import _walkers, committee, escape, floor, leap, plateau
from closedform.models.fully_connected import spherical_unit
from closedform.sweeps import agrees, compare, find, run, sweep
from zoo.checks import changed, rejected


def key(seed=0):
    return jax.random.key(seed, impl="threefry2x32")


def test_units_that_start_alike_stay_alike_and_a_perfect_student_without_noise_stays_perfect():
    small = plateau.Config(dim=12, learning_rate=0.3, burn_in=0.5, window=0.5)
    alike, perfect = jax.jit(
        lambda: (
            plateau.simulate(key(), small),
            floor.simulate(key(), floor.Config(dim=12, noise_std=1e-4, burn_in=0.5, window=0.5)),
        )
    )()

    def assert_identical(q, r):
        """The error of two equal units, from their mean overlaps."""
        arcsine = 4 * np.arcsin(q / (1 + q)) - 8 * np.arcsin(r / np.sqrt(2 * (1 + q))) + 2 * np.arcsin(1 / 2)
        np.testing.assert_allclose(alike.error, arcsine / np.pi, rtol=0.02)  # the mean of a function over the window

    assert_identical(float(alike.student), float(alike.cross))
    rejected(assert_identical, float(alike.student), float(alike.student))
    assert 0 <= float(perfect.error) < 1


def test_the_median_counts_those_that_never_arrive_as_infinite():
    """Units that are there at the start, that move away for ever, and a median between two of them."""
    w = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])

    @jax.jit
    def median(w):
        params = spherical_unit.Params(w, jnp.array([0.0, 1.0]))

        def sample(_):  # along the second axis: it draws every unit there
            return jnp.broadcast_to(jnp.array([0.0, 1.0]), w.shape), jnp.ones(len(w))

        return _walkers.median_steps(params, key(), sample, 0.5, lambda w: w[:, 0] > 0.6, 20)

    assert float(median(w)) == np.inf
    assert float(median(w[jnp.array([0, 0, 1])])) == 0
    later = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, -1.0]])

    @jax.jit
    def crossing(w):
        params = spherical_unit.Params(w, jnp.array([0.0, 1.0]))
        along = lambda _: (jnp.broadcast_to(jnp.array([1.0, 0.0]), w.shape), jnp.ones(len(w)))  # noqa: E731
        return _walkers.median_steps(params, key(), along, 0.5, lambda w: w[:, 0] > 0.6, 20)

    # (0, -1) + (.5, 0): .447 after one step, .83 after two; (-1, 0) is turned over after two steps at the earliest
    assert float(crossing(later)) == 2


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        (committee, {"starts": (0.1,)}, "starts must be a list of at least 2, each entry .*"),
        (committee, {"starts": (0.1, 0.2, 0.3)}, "starts must be as many as lengths, got 3 and 2"),
        (committee, {"starts": (0.5, 0.1)}, r"starts must be at most lengths, got \(0\.5, 0\.1\) and \(0\.4, 0\.3\)"),
        (committee, {"dim": 2}, "dim must be above the 2 units of the teacher, got 2"),
        (plateau, {"num_units": 1}, "num_units must be a whole number of at least 2, got 1"),
        (floor, {"dim": 2}, "dim must be above the 2 units of the teacher, got 2"),
        (escape, {"exponent": 7}, "exponent must be a whole number of at least 1 and at most 6, got 7"),
        (escape, {"end": 0.1}, r"end must be above the overlap at the start, dim\^\(-1/2\) = 0\.125, got 0\.1"),
        (leap, {"level": 0.1}, r"level must be above the weights at the start, dim\^\(-1/2\) = 0\.125, got 0\.1"),
        (leap, {"target": "parity"}, "target must be 'staircase' or 'product', got 'parity'"),
    ],
)
def test_wrong_settings(experiment, changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        experiment.Config(**changes)


def test_learning_rates_of_escape_and_leap():
    assert escape.Config(exponent=1, dim=100).learning_rate == pytest.approx(1e-3)
    assert escape.Config(exponent=2, dim=100).learning_rate == pytest.approx(1e-3)
    assert escape.Config(exponent=3, dim=100).learning_rate == pytest.approx(1e-4)
    assert not leap.Config().hard
    assert leap.Config(target="product").hard


@pytest.mark.slow
def test_committee(tmp_path):
    """8 seeds at d = 1000, three learning rates: the mean of the relative error within .10; mistakes are refused."""
    experiment = find("online_sgd/committee")
    result = sweep(experiment, experiment.default_config(), over=experiment.grid, seeds=8, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    off = result["simulation"]["error"] / result["prediction"]["error"] - 1
    assert float(abs(off.mean("seed")).max()) < 0.10
    for wrong in (
        {"error": lambda error: 2 * error},  # without the 1/2
        {"error": lambda error: error.shift(step=2, fill_value=0.3)},
        {"cross": lambda cross: cross.copy(data=cross.isel(teacher=slice(None, None, -1)).values)},
        {"student": lambda student: 1.1 * student},
    ):
        assert not agrees(compare(experiment, changed(result, **wrong)))
    still = result["prediction_plateau"]
    assert not agrees(compare(experiment, changed(result, error=still["error"].values)))


@pytest.mark.slow
def test_plateau(tmp_path):
    """8 seeds, two numbers of units, four learning rates; the plateau of small learning rates is refused."""
    experiment = find("online_sgd/plateau")
    result = sweep(experiment, experiment.default_config(), over=experiment.grid, seeds=8, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    flow = result["prediction_gradient_flow"]
    for name in ("error", "student"):
        assert not agrees(compare(experiment, changed(result, **{name: flow[name].values})))
    assert not agrees(compare(experiment, changed(result, cross=lambda cross: 1.02 * cross)))


@pytest.mark.slow
def test_floor(tmp_path):
    """8 seeds at five learning rates up to .78 of the critical one; the first order alone is refused."""
    experiment = find("online_sgd/floor")
    result = sweep(experiment, experiment.default_config(), over=experiment.grid, seeds=8, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    first = result["prediction_first_order"]["error"].values
    for wrong in (first, lambda error: 2 * error, lambda error: error / 2):
        assert not agrees(compare(experiment, changed(result, error=wrong)))
    small = dataclasses.replace(experiment.default_config(), learning_rate=0.05, num_units=1, noise_std=0.3)
    low = run(experiment, small, seeds=8, results=tmp_path, progress=False)
    np.testing.assert_allclose(low["simulation"]["error"].mean(), 4.185e-4 / 0.09, rtol=0.03)  # of the specification


@pytest.mark.slow
def test_escape(tmp_path):
    """264 runs at each exponent and dimension: medians within 15 %, or 20 % at k = 3 and d = 128; mistakes are refused."""
    experiment = find("online_sgd/escape")
    result = sweep(experiment, experiment.default_config(), over=experiment.grid, seeds=8, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    ratio = (result["simulation"]["steps"].mean("seed") / result["prediction"]["steps"]).squeeze()
    assert float(abs(ratio.sel(exponent=[1, 2]) - 1).max()) < 0.15
    assert abs(float(ratio.sel(exponent=3, dim=128)) - 1) < 0.20
    for wrong in (
        lambda steps: 2 * steps,
        lambda steps: steps / 2,
        lambda steps: steps.copy(data=steps.isel(dim=slice(None, None, -1)).values),
    ):
        assert not agrees(compare(experiment, changed(result, steps=wrong)))


@pytest.mark.slow
def test_leap(tmp_path):
    """264 runs of each target and dimension; the noise left out and the other target's law are refused."""
    experiment = find("online_sgd/leap")
    result = sweep(experiment, experiment.default_config(), over=experiment.grid, seeds=8, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    for field in ("weights", "correlation", "steps"):
        other = result["prediction"][field]
        swapped = other.isel(target=slice(None, None, -1)).values
        assert not agrees(compare(experiment, changed(result, **{field: swapped})))
    steps = result["simulation"]["steps"].mean("seed")
    growth = steps.sel(dim=128) / steps.sel(dim=48)  # over d already
    assert float(growth.sel(target="staircase")) < 2
    assert float(growth.sel(target="product")) > 128 / 48
    learned = result["simulation"]["correlation"].mean("seed").sel(dim=128, monomial="x1 x2 x3").isel(record=-1)
    assert float(learned.sel(target="staircase")) > 5 * abs(float(learned.sel(target="product")))


@pytest.mark.slow
def test_the_noise_of_the_search_is_that_of_its_learning_rate():
    """The predicted steps of the product alone grow with the noise, and without it are those of the integral of the drift."""
    steps = jax.jit(lambda scale: leap.predict(dataclasses.replace(leap.Config("product"), rate_scale=scale)).steps)
    quiet, loud = float(steps(1e-6)), float(steps(0.2))
    m = np.linspace(64**-0.5, 0.25, 20_001)
    exact = np.trapezoid(1 / (6**0.5 * m**2 * (1 - 3 * m**2)), m)

    def assert_steps(steps, scale, rtol):
        np.testing.assert_allclose(steps * 64 * scale * 64**-1.5, exact, rtol=rtol)

    assert_steps(quiet, 1e-6, 1e-3)
    assert loud * 0.2 > 1.2 * quiet * 1e-6
    rejected(assert_steps, loud, 0.2, 1e-3)
