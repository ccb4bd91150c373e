"""What every experiment and its figure promise, checked for each one found by its path. Nothing here names a paper."""

import inspect

import matplotlib.pyplot as plt
import numpy as np
import pytest

from closedform.gallery.collection import small_grid
from closedform.sweeps import Settings, compare, config, find, find_figure, names, prediction, run, statistics, sweep
from closedform.sweeps.report import save_figure
from zoo.labels import collisions


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Every experiment at its QUICK size, each computed once for all tests here."""
    kept = {}

    def result(name):
        if name not in kept:
            experiment = find(name)
            folder = tmp_path_factory.mktemp("results")
            options = dict(seeds=3, over=small_grid(experiment), results=folder, progress=False)
            kept[name] = sweep(experiment.module, experiment.default_config("quick"), **options)
        return kept[name]

    return result


@pytest.mark.parametrize("name", names())
def test_experiment_has_the_same_fields_on_both_sides_and_its_axes(name, small):
    experiment, result = find(name), small(name)
    grid = tuple(small_grid(experiment))
    lead = ("step",) if experiment.dynamics else ()
    for field, declared in experiment.fields.items():
        simulated = result["simulation"][field]
        assert simulated.dims == (*grid, "seed", *lead, *declared.axes)
        if declared.predicted:
            predicted = result["prediction"][field]
            assert tuple(d for d in predicted.dims if d != "seed") == (*grid, *lead, *declared.axes)
            assert predicted.dtype == np.float64
    assert not result["simulation"]["diverged"].values.any()
    assert all(np.isfinite(row.predicted) for row in compare(experiment, result))


@pytest.mark.parametrize("name", names())
def test_experiment_states_claim_source_cost_and_a_reason_for_every_tolerance(name):
    experiment = find(name)
    about = experiment.about()
    assert all(about), about
    assert experiment.seeds >= 8
    lines = inspect.getsource(experiment.module).split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith("TOLERANCE"))
    for field in experiment.module.TOLERANCE:
        line = next(line for line in lines[start:] if f'"{field}"' in line)
        assert "#" in line or lines[lines.index(line) - 1].strip().startswith("#"), f"{name}: no reason beside {field}"


@pytest.mark.parametrize("name", names())
def test_every_config_field_is_explained(name):
    todo = [find(name).module.Config]
    while todo:
        kind = todo.pop()
        owners = [base for base in kind.__mro__ if "__annotations__" in vars(base)]
        source = "\n".join(inspect.getsource(base) for base in owners)
        for leaf in config.leaves(kind()):
            field = leaf.path.split(".")[0]
            line = next(line for line in source.split("\n") if line.strip().startswith(f"{field}:"))
            nested = "." in leaf.path
            assert nested or "#" in line, f"{kind.__module__}: no comment beside {field}"


@pytest.mark.parametrize("name", names())
def test_a_run_does_not_depend_on_its_grouping(name, small, tmp_path):
    """One cell, one seed at a time, odd chunks, one thread: the same bits as in the company of the fixture."""
    experiment, whole = find(name), small(name)
    first = {path: values[0] for path, values in small_grid(experiment).items()}
    settings = config.replace(experiment.default_config("quick"), first)
    options = dict(results=tmp_path, progress=False, settings=Settings(threads=1, block=1, chunk=3))
    alone = run(experiment.module, settings, seeds=[1], **options)
    for field, values in alone["simulation"].data_vars.items():
        company = whole["simulation"][field].sel({**first, "seed": [1]})
        trimmed = company.isel({axis: slice(values.sizes[axis]) for axis in values.dims})
        np.testing.assert_array_equal(trimmed.values, values.values, err_msg=field)


@pytest.mark.parametrize("name", names())
def test_figure_draws_the_stored_numbers(name, small):
    result, experiment = small(name), find(name)
    draw = find_figure(name)
    assert draw is not None, f"experiments/{name}.py has no figures/{name}.py"
    drawn = []
    figure = draw(result)
    for axes in figure.axes:
        drawn += [np.ravel(line.get_ydata()) for line in axes.lines]
        drawn += [np.ravel(collection.get_offsets()) for collection in axes.collections]
    plt.close(figure)
    drawn = np.concatenate([np.asarray(values, float) for values in drawn])
    for field, declared in experiment.fields.items():
        if declared.predicted:
            predicted = prediction(result, field), result["prediction"][field]
            assert any(near(values, drawn) for values in predicted), f"the prediction of {field} is not drawn as stored"
            simulated = statistics(result, field)[0], result["simulation"][field]
            assert any(near(values, drawn) for values in simulated), f"the simulated {field} is not drawn as stored"


def near(stored, drawn):
    """At least a tenth of the stored numbers, and no fewer than two, are among the drawn ones (a panel may show a part)."""
    found = np.isclose(stored.values.ravel()[:, None], drawn, rtol=1e-9, atol=0).any(axis=1)
    return found.sum() >= min(max(2, stored.size // 10), stored.size)


@pytest.mark.parametrize("name", names())
def test_words_of_a_figure_keep_apart(name, small):
    figure = find_figure(name)(small(name))
    found = collisions(figure)
    plt.close(figure)
    assert not found


@pytest.mark.parametrize("name", names())
def test_figure_files_are_byte_identical_on_rerun(name, small, tmp_path):
    first = [path.read_bytes() for path in save_figure(name, small(name), tmp_path / "a")]
    second = [path.read_bytes() for path in save_figure(name, small(name), tmp_path / "b")]
    assert len(first) == 2
    assert first == second
