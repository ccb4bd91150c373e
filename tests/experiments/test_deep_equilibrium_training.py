"""Digits learned by equilibrium networks, and monotone networks: rivals rejected, settings refused."""

import numpy as np
import pytest

from closedform.experiments.deep_equilibrium import monotone, training
from closedform.models.equilibrium import deep_equilibrium
from closedform.sweeps import agrees, compare, find, run, sweep
from closedform.sweeps.contract import config
from zoo.checks import changed


@pytest.fixture(scope="module")
def splittings(tmp_path_factory):
    experiment = find("deep_equilibrium/monotone")
    settings = config.replace(experiment.default_config(), {"num_steps": 400, "model.width": 10, "num_inputs": 4})
    return experiment, run(experiment, settings, seeds=4, results=tmp_path_factory.mktemp("monotone"), progress=False)


@pytest.mark.slow
def test_monotone_networks_converge_as_predicted_and_rivals_are_rejected(splittings):
    experiment, result = splittings
    assert agrees(compare(experiment, result))
    simulation = result["simulation"]
    assert (simulation["norm"] > 1).all()
    assert (simulation["slowest"] <= simulation["bound"]).all()
    picard, forward, reflected = (simulation["converged"].sel(solver=solver) for solver in monotone.SOLVERS)
    assert float(picard.mean()) < 0.7
    assert (forward == 1).all()
    assert (reflected == 1).all()
    evaluations = simulation["num_evaluations"]
    assert (3 * evaluations.sel(solver="peaceman_rachford") < evaluations.sel(solver="forward_backward")).all()
    # a step too long by a factor of two, the square of the factor, forward-backward's in place of the other's
    turned = result["prediction"]["forward"].values
    for rival in ({"forward": lambda right: right**2}, {"forward": np.roll(turned, 1, axis=-1)}):
        assert not agrees(compare(experiment, changed(result, **rival)))
    assert not agrees(compare(experiment, changed(result, reflected_rate=lambda right: right**2)))
    assert not agrees(compare(experiment, changed(result, forward_rate=result["prediction"]["reflected_rate"].values)))


@pytest.mark.slow
def test_digits_are_learned_and_skip_starts_save_evaluations(tmp_path):
    """The forward evaluations, the distance and the condition number of every skip variant are below those of vanilla.

    The backward products are not: Anderson's iteration takes 13 to 14 for all.
    """
    experiment = find("deep_equilibrium/training")
    over = {"solver": ("picard", "anderson")}
    result = sweep(experiment, experiment.default_config(), over=over, seeds=3, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    simulation = result["simulation"].mean("seed")
    assert float(simulation["accuracy"].min()) > 0.93
    assert float(simulation["converged"].min()) > 0.99
    assert float(simulation["residual"].max()) <= 1e-4
    for field in ("num_evaluations", "condition", "distance"):
        by_start = simulation[field]
        for start in ("skip", "skip_reg"):
            assert (by_start.sel(start=start) < by_start.sel(start="zero")).all(), field
    assert (simulation["backward_evaluations"] < 20).all()
    for wrong in (lambda right: right + 5, lambda right: right / 2):
        assert not agrees(compare(experiment, changed(result, picard_evaluations=wrong)))


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        (training, {"solver": "newton"}, "solver must be 'picard' or 'anderson' or 'continuous' or 'neural_ode', got 'newton'"),
        (training, {"known_steps": -1}, "known_steps must be a whole number of at least 0, got -1"),
        (training, {"data": "nosuch"}, "data must be one of digits_8x8"),
        (training, {"model": deep_equilibrium.Config(dim=64)}, "model.start must be 'skip', .*, got 'zero'"),
        (training, {"num_readouts": 65}, "num_readouts must be at most model.width = 64, got 65"),
        (training, {"starts": ("zero", "zero")}, "starts must be "),
        (monotone, {"num_steps": 1}, "num_steps must be at least 2, got 1"),
        (monotone, {"forward_sizes": (1.0, 1.0)}, "forward_sizes must be a list of at least 1, each entry a positive number"),
    ],
)
def test_wrong_settings(experiment, changes, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(**changes)


def test_data_that_do_not_fit_the_model():
    settings = training.Config(model=deep_equilibrium.Config(dim=10, width=64, start="skip"))
    with pytest.raises(ValueError, match=r"model\.dim must be the pixels of digits_8x8, 64, got 10"):
        _ = settings.images
