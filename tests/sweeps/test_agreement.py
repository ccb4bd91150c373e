"""The verdict: standard errors over seeds, paired differences, and no way to pass by accident."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

from closedform.contract import Tolerance
from closedform.sweeps import Agreement, UsageError, agreement, agrees, compare, find, prediction, statistics, sweep
from closedform.sweeps.contract.experiment import Field
from closedform.sweeps.results.report import agreement_table, diverged_lines
from zoo import estimate

NONE = Tolerance()


def result_of(simulated, predicted, axes=(), diverged=None):
    simulated, predicted = np.asarray(simulated, float), np.asarray(predicted, float)
    lead = ("seed", *axes) if predicted.ndim == simulated.ndim else axes
    diverged = np.zeros(len(simulated), bool) if diverged is None else np.asarray(diverged)
    seeds = {"seed": np.arange(len(simulated))}
    return xarray.DataTree.from_dict(
        {
            "simulation": xarray.Dataset({"mean": (("seed", *axes), simulated), "diverged": ("seed", diverged)}, seeds),
            "prediction": xarray.Dataset({"mean": (lead, predicted)}, seeds if lead[:1] == ("seed",) else None),
        }
    )


def experiment(tolerance=NONE, axes=()):
    return find(estimate)._replace(tolerance={"mean": tolerance}, fields={"mean": Field(axes, predicted=True)})


def row_of(*arguments, tolerance=NONE, axes=(), **options):
    (row,) = compare(experiment(tolerance, axes), result_of(*arguments, axes=axes, **options))
    return row


def test_standard_error_is_that_of_the_mean():
    row = row_of([1.0, 2.0, 3.0, 6.0], 3.0)
    values = np.array([1.0, 2.0, 3.0, 6.0])
    assert row.simulated == pytest.approx(3.0)
    assert row.standard_error == pytest.approx(values.std(ddof=1) / 2)
    assert row.allowed == pytest.approx(4 * values.std(ddof=1) / 2)  # z = 4 for a number
    assert row.verdict == "agrees"


@pytest.mark.parametrize(
    ("shift", "tolerance", "verdict"),
    [
        (0.039, Tolerance(), "agrees"),  # 4 standard errors are 0.04
        (0.041, Tolerance(), "DISAGREES"),
        (0.041 + 0.02, Tolerance(0.01, 0.0), "DISAGREES"),  # relative to a prediction of 2: another 0.02
        (0.039 + 0.02, Tolerance(0.01, 0.0), "agrees"),
        (-0.039 - 0.02 - 0.1, Tolerance(0.01, 0.1), "agrees"),
        (-0.041 - 0.02 - 0.1, Tolerance(0.01, 0.1), "DISAGREES"),
    ],
)
def test_the_allowance_is_z_errors_plus_relative_plus_absolute(shift, tolerance, verdict):
    noise = 0.01 * np.sqrt(3) * np.array([-1.0, 1.0, -1.0, 1.0])  # mean 0, standard error 0.01
    assert row_of(2.0 + shift + noise, 2.0, tolerance=tolerance).verdict == verdict


def test_a_curve_is_judged_point_by_point_and_shows_its_worst():
    simulated = np.array([[100.0, 1.0], [100.0, 1.2], [100.0, 1.1]])
    row = row_of(simulated, [100.0, 0.5], axes=("time",))
    assert (row.verdict, row.at, row.agreeing, row.points) == ("DISAGREES", "time=1", 1, 2)
    assert row.allowed == pytest.approx(5 * 0.1 / np.sqrt(3))  # z = 5 for a curve
    assert not agrees([row])


def test_a_prediction_conditional_on_the_draw_is_compared_seed_by_seed():
    """Seeds differ by 100; the paired differences by 0.01: an unpaired comparison would pass anything."""
    base = np.array([0.0, 100.0, 200.0, 300.0])
    noise = np.array([0.01, -0.01, 0.01, -0.01])
    assert row_of(base + noise, base).verdict == "agrees"
    assert row_of(base + noise + 0.1, base).verdict == "DISAGREES"
    assert row_of(base + noise + 0.1, base.mean()).verdict == "agrees"


def test_under_two_seeds_there_is_no_verdict():
    assert row_of([1.0], 1.0).verdict == "no verdict (1 seed)"
    assert row_of([np.nan, 1.0, np.nan], 1.0, diverged=[True, False, True]).verdict == "no verdict (1 seed)"


def test_without_a_point_there_is_no_verdict():
    """Nothing was compared where both sides have no number: in a cell whose axis is empty, padded for the others."""
    row = row_of(np.full((3, 2), np.nan), np.full(2, np.nan), axes=("x",))
    assert (row.verdict, row.points) == ("no verdict (no points)", 0)


def test_diverged_seeds_never_enter_a_mean():
    result = result_of([1.0, np.inf, 3.0], 2.0, diverged=[False, True, False])
    (row,) = compare(experiment(), result)
    assert (row.simulated, row.seeds, row.diverged) == (2.0, 2, (1,))
    assert diverged_lines([row]) == ["zoo/estimate: 1 diverged seed, kept apart: 1"]
    mean, error = statistics(result, "mean")
    assert (float(mean), float(error)) == (2.0, 1.0)


def test_a_prediction_that_is_not_a_number_disagrees():
    assert row_of([1.0, 1.1, 0.9], np.nan).verdict == "DISAGREES"


def test_no_spread_and_no_allowance_means_equal():
    assert row_of([2.0, 2.0], 2.0).verdict == "agrees"
    assert row_of([2.0, 2.0], 2.0 + 1e-12).verdict == "DISAGREES"


def test_the_drawn_prediction_averages_the_seeds_that_count():
    result = result_of([1.0, 2.0, np.nan], [1.0, 2.0, 9.0], diverged=[False, False, True])
    assert float(prediction(result, "mean")) == 1.5


def test_the_table_can_be_read():
    from rich.console import Console

    console = Console(width=200, record=True, file=io.StringIO())
    console.print(agreement_table([row_of([1.0, 2.0, 3.0], 5.0)]))
    text = console.export_text()
    assert "DISAGREES" in text
    assert "2 ± 0.6" in text


def test_a_result_shows_its_own_table(tmp_path):
    """Of a function and of an experiment; what is allowed beyond the error can be given, and the rows stay at hand."""

    def simulate(key, config):
        return {"square": (config["scale"] * jax.random.normal(key)) ** 2, "unpredicted": jnp.zeros(3)}

    def predict(config):
        return {"square": 1.2 * config["scale"] ** 2}

    asked = {"results": tmp_path, "progress": False, "say": lambda line: None}
    over = {"scale": tuple(np.linspace(0.5, 1.5, 21).tolist())}
    result = sweep(simulate, {"scale": 1.0}, over=over, seeds=2000, predict=predict, **asked)
    table = agreement(result)
    assert len(table) == len(over["scale"])
    assert not table.agrees
    assert "and 1 more row: .rows has all\n0 of 21 rows agree" in str(table)
    assert "DISAGREES" in str(table)
    assert table._repr_html_().startswith("<pre>experiment")
    assert agreement(result, {"square": Tolerance(relative=0.5)}).agrees
    with pytest.raises(UsageError, match="tolerance: got sqare; allowed: square"):
        agreement(result, {"sqare": Tolerance(relative=0.5)})
    with pytest.raises(UsageError, match="agreement: the result has no prediction; allowed"):
        agreement(sweep(simulate, {"scale": 1.0}, seeds=2, **asked))


def test_the_table_in_a_notebook_is_printed_once(monkeypatch):
    """rich would print there by itself what it is asked to write to a text."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    shown = []
    monkeypatch.setattr("rich.jupyter.display", lambda *said: shown.append(said))
    assert "DISAGREES" in str(Agreement((row_of([1.0, 2.0, 3.0], 5.0),)))
    assert not shown
