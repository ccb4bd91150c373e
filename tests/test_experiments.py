"""What every experiment and its figure promise, checked for each one found by its path. Nothing here names a paper.

Every experiment is traced: its fields, axes, sizes and ranges are seen without compiling, and its figure is drawn from numbers
that mean nothing. Compiled and run are those just worked at and the cheapest of each paper that the last commits touched, of
all papers where they touched the engine; all others with `--slow`.

That a run does not depend on its grouping is a matter of the engine: it traces the functions of an experiment for one run, with
no argument but that run's key, state and floats, and loops over the runs of a block around it (`sweeps/programs.py`). What a
trace cannot show, that the compiler rounds alike in every loop, is seen bitwise in tests/sweeps for experiments made for it,
and with `--slow` for all.
"""

import collections
import functools
import inspect
import io

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from closedform.gallery.collection import small_grid
from closedform.sweeps import Settings, compare, find, find_figure, names, prediction, run, statistics, sweep, with_theory
from closedform.sweeps.contract import config, groups, tracing
from closedform.sweeps.contract.request import Request
from closedform.sweeps.engine.placeholder import placeholder
from closedform.sweeps.results.report import film, save_figure, stored_config
from zoo.history import ROOT, changed_experiments, changed_papers
from zoo.labels import collisions
from zoo.slices import fields_that_use_theory

# ------------------------------------------------------------------------------------------------- what is compiled and run


def text(name):
    """The text of an experiment's module: what is computed with is decided without importing it."""
    return (ROOT / "experiments" / f"{name}.py").read_text(encoding="utf-8")


PAPERS = changed_papers(sorted({name.split("/")[0] for name in names()}), least=3)
TOUCHED = changed_experiments(commits=3, most=2)


def compiled(papers, experiments):
    """Runs a test for the cheapest experiment of these papers and for these experiments; with --slow for all."""
    slow = [pytest.param(name, marks=() if name in experiments else pytest.mark.slow) for name in names()]
    return pytest.mark.parametrize("which", [*papers, *slow])


every = pytest.mark.parametrize("name", names())


@pytest.fixture
def name(which, traced, programs):
    """An experiment, or of a paper the one whose traced programs are the smallest, hence the fastest to compile."""
    if which in names():
        return which
    for experiment in names(which):
        traced(experiment)
    return min(names(which), key=lambda experiment: sum(map(num_equations, programs[experiment])))


@pytest.fixture(scope="module")
def grid(request):
    """The grid of both: of static fields, whose values take programs of their own, one value unless with --slow."""
    whole = request.config.getoption("--slow") or request.config.getoption("--slow-commits") is not None

    def of(experiment):
        traced = config.traced_values(experiment.default_config())
        return {path: values if whole or path in traced else values[:1] for path, values in small_grid(experiment).items()}

    return of


# ------------------------------------------------------------------------------------------------------------------- traced


@pytest.fixture(scope="module")
def programs():
    """The traced programs of each experiment that was traced, a set for each static config."""
    return collections.defaultdict(list)


@pytest.fixture(scope="module")
def traced(tmp_path_factory, programs, grid):
    """Every experiment at its QUICK size with numbers that mean nothing, each traced once for all tests here."""
    nowhere = tmp_path_factory.mktemp("nothing")

    @functools.cache
    def result(name):
        def kept(*arguments):
            programs[name].append(tracing.trace(*arguments))
            return programs[name][-1]

        experiment = find(name)
        plan = plan_of(experiment, experiment.default_config("quick"), grid(experiment), nowhere)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(groups, "trace", kept)
            return placeholder(plan)

    return result


def num_equations(traced):
    """All equations of traced programs, those of their loops and branches included."""
    functions = [*traced.functions.values(), *filter(None, traced.predictions.values())]
    return sum(map(num_equations_of, (function.closed.jaxpr for function in functions)))


def num_equations_of(program):
    parts = [
        part for equation in program.eqns for part in jax.tree.leaves(list(equation.params.values()), is_leaf=has_equations)
    ]
    return len(program.eqns) + sum(map(num_equations_of, filter(has_equations, parts)))


def has_equations(value):
    return hasattr(value, "eqns")


def plan_of(experiment, settings, grid, folder):
    return Request(experiment, settings, grid, False, 3, 0, folder).plan()


def check_fields_and_axes(experiment, result):
    grid = tuple(small_grid(experiment))
    lead = ("step",) if experiment.dynamics else ()
    for field, declared in experiment.fields.items():
        simulated = result["simulation"][field]
        assert simulated.dims == (*grid, "seed", *lead, *declared.axes)
        if declared.predicted:
            predicted = result["prediction"][field]
            assert tuple(d for d in predicted.dims if d != "seed") == (*grid, *lead, *declared.axes)
            assert predicted.dtype == np.float64


@every
def test_experiment_has_the_same_fields_on_both_sides_and_its_axes_when_traced(name, traced):
    check_fields_and_axes(find(name), traced(name))


@every
def test_a_field_whose_simulated_side_uses_theory_says_why(name, traced, programs):
    """Agreement is evidence where the two sides share no code: what they share is declared, with its reason."""
    experiment, _ = find(name), traced(name)
    used = fields_that_use_theory(experiment, programs[name][0].functions)
    undeclared = {field: functions for field, functions in used.items() if field not in experiment.shared}
    assert not undeclared, f"{name}: give SHARED a reason for these fields"
    assert not set(experiment.shared) - set(used), f"{name}: SHARED has fields that use no theory"
    assert all(len(reason.split()) > 3 for reason in experiment.shared.values())


@every
def test_presets_and_grid_are_in_range(name, tmp_path):
    experiment = find(name)
    for preset in (None, *experiment.presets):
        plan = plan_of(experiment, experiment.default_config(preset), experiment.grid, tmp_path)
        assert len(plan.cells) == np.prod([len(values) for values in experiment.grid.values()], dtype=int)
    # what the site is made of
    small = plan_of(experiment, experiment.default_config("quick"), small_grid(experiment), tmp_path)
    assert len(small.cells) == 2 ** len(experiment.grid)


@every
def test_experiment_states_claim_source_cost_and_a_reason_for_every_tolerance(name):
    experiment = find(name)
    about = experiment.about()
    assert all(about), about
    assert experiment.seeds >= 8
    for field, tolerance in experiment.tolerance.items():
        assert tolerance.reason or not (tolerance.relative or tolerance.absolute), f"{name}: no reason for {field}"


@every
def test_every_config_field_is_explained(name):
    todo = [find(name).Config]
    while todo:
        kind = todo.pop()
        owners = [base for base in kind.__mro__ if "__annotations__" in vars(base)]
        source = "\n".join(inspect.getsource(base) for base in owners)
        for leaf in config.leaves(kind()):
            field = leaf.path.split(".")[0]
            line = next(line for line in source.split("\n") if line.strip().startswith(f"{field}:"))
            nested = "." in leaf.path
            assert nested or "#" in line, f"{kind.__module__}: no comment beside {field}"


@every
def test_figure_draws_what_a_result_of_these_shapes_holds(name, traced):
    """As below, but a simulated number may be drawn as an entry of a field without a prediction: here no two are equal."""
    experiment, result = find(name), traced(name)
    drawn = numbers_drawn(name, result)
    unpredicted = [field for field, declared in experiment.fields.items() if not declared.predicted]
    elsewhere = any(shows(drawn, *simulated_numbers(result, field)) for field in unpredicted)
    for field in set(experiment.fields) - set(unpredicted):
        assert shows(drawn, *predicted_numbers(result, field)), f"the prediction of {field} is not drawn"
        assert shows(drawn, *simulated_numbers(result, field)) or elsewhere, f"the simulated {field} is not drawn"


@every
def test_figure_has_six_panels_at_most_and_a_whole_line_joins_no_simulated_points(name, traced):
    """A referee takes a line for theory. The numbers of a placeholder are all different: they tell what is drawn."""
    result = traced(name)
    figure = draw(name, result)
    axes = [one for one in figure.axes if one.get_label() != "<colorbar>" and one.axison]
    lines = [line for one in axes for line in one.lines if line.get_linestyle() == "-" and line.get_linewidth() > 0.5]
    plt.close(figure)
    assert len(axes) <= 6
    measured = [values for field in result["simulation"].data_vars for values in _means(result, field)]
    measured = np.unique(np.concatenate([np.ravel(values) for values in measured]))
    for line in lines:
        drawn = np.unique(np.asarray(line.get_ydata(), float))
        assert len(drawn) < 3 or not np.isin(drawn, measured).all(), "a whole line through simulated numbers"


def _means(result, field):
    """A simulated field, seed by seed and its mean, where it has numbers."""
    if result["simulation"][field].dtype.kind != "f":
        return []
    return [result["simulation"][field].values.astype(float), statistics(result, field)[0].values]


@every
def test_what_moves_is_a_small_film(name, traced):
    if find_figure(name, "animate") is None:
        return
    result = traced(name)
    moving = film(name, result, stored_config(find(name), result))
    with Image.open(io.BytesIO(moving)) as image:
        assert image.format == "GIF"
        assert image.n_frames > 2
    assert len(moving) < 1_000_000


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in names() if "\nCURVE = " in text(name)])
def test_theory_is_drawn_over_the_whole_axis(name, traced):
    """At the sizes of QUICK: each field of CURVE has a line of more points than were simulated, from end to end."""
    experiment, result = find(name), traced(name)
    beside = with_theory(experiment, result)
    figure, plain = draw(name, beside), draw(name, result)
    longest = [max(len(line.get_xdata()) for one in drawn.axes for line in one.lines) for drawn in (figure, plain)]
    plt.close(figure), plt.close(plain)
    assert set(beside["curves"].children) == set(experiment.dense)
    assert longest[0] > longest[1]


@pytest.mark.slow
@every
def test_words_of_a_figure_keep_apart_whatever_the_numbers(name, traced):
    assert not collisions_drawn(name, traced(name))


# ---------------------------------------------------------------------------------------------------------- compiled and run


@pytest.fixture(scope="module")
def small(tmp_path_factory, grid):
    """An experiment at its QUICK size, computed once for all tests here."""

    @functools.cache
    def result(name):
        experiment = find(name)
        options = dict(seeds=3, over=grid(experiment), results=tmp_path_factory.mktemp("results"), progress=False)
        return sweep(experiment, experiment.default_config("quick"), **options)

    return result


@compiled(PAPERS, TOUCHED)
def test_experiment_has_the_same_fields_on_both_sides_and_its_axes(name, small):
    experiment, result = find(name), small(name)
    check_fields_and_axes(experiment, result)
    assert not result["simulation"]["diverged"].values.any()
    assert all(np.isfinite(row.predicted) for row in compare(experiment, result))


@compiled(PAPERS, TOUCHED)
def test_a_placeholder_has_the_labels_and_types_of_the_result(name, small, grid, tmp_path):
    experiment = find(name)
    meaningless = placeholder(plan_of(experiment, experiment.default_config("quick"), grid(experiment), tmp_path))
    for side, dataset in small(name).children.items():
        other = meaningless[side]
        assert set(dataset.data_vars) == set(other.data_vars)
        assert dataset.coords.to_dataset().identical(other.coords.to_dataset())
        for field, values in dataset.data_vars.items():
            assert (values.dims, values.shape, values.dtype) == (other[field].dims, other[field].shape, other[field].dtype)


@compiled([], [])
def test_a_run_does_not_depend_on_its_grouping(name, small, grid, tmp_path):
    """One cell, one seed at a time, odd chunks, one thread: the same bits as in the company of the fixture."""
    experiment, whole = find(name), small(name)
    first = {path: values[0] for path, values in grid(experiment).items()}
    settings = config.replace(experiment.default_config("quick"), first)
    options = dict(results=tmp_path, progress=False, settings=Settings(threads=1, block=1, chunk=3))
    alone = run(experiment, settings, seeds=[1], **options)
    for field, values in alone["simulation"].data_vars.items():
        company = whole["simulation"][field].sel({**first, "seed": [1]})
        trimmed = company.isel({axis: slice(values.sizes[axis]) for axis in values.dims})
        np.testing.assert_array_equal(trimmed.values, values.values, err_msg=field)


@compiled(PAPERS, TOUCHED)
def test_figure_draws_the_stored_numbers(name, small):
    result, experiment = small(name), find(name)
    drawn = numbers_drawn(name, result)
    for field, declared in experiment.fields.items():
        if declared.predicted:
            assert shows(drawn, *predicted_numbers(result, field)), f"the prediction of {field} is not drawn as stored"
            assert shows(drawn, *simulated_numbers(result, field)), f"the simulated {field} is not drawn as stored"


@compiled(PAPERS, TOUCHED)
def test_words_of_a_figure_keep_apart(name, small):
    assert not collisions_drawn(name, small(name))


@compiled(PAPERS[:1], [])
def test_figure_files_are_byte_identical_on_rerun(name, small, tmp_path):
    first = [path.read_bytes() for path in save_figure(name, small(name), tmp_path / "a")]
    second = [path.read_bytes() for path in save_figure(name, small(name), tmp_path / "b")]
    assert len(first) >= 2  # and a film, where something moves
    assert first == second


# ------------------------------------------------------------------------------------------------------------------ figures


def draw(name, result):
    function = find_figure(name)
    assert function is not None, f"experiments/{name}.py has no figures/{name}.py"
    return function(result, stored_config(find(name), result))


def numbers_drawn(name, result):
    """All vertical places of lines and points in a figure."""
    figure, drawn = draw(name, result), []
    for axes in figure.axes:
        drawn += [np.ravel(line.get_ydata()) for line in axes.lines]
        drawn += [np.ravel(collection.get_offsets()) for collection in axes.collections]
    plt.close(figure)
    return np.concatenate([np.asarray(values, float) for values in drawn])


def collisions_drawn(name, result):
    figure = draw(name, result)
    found = collisions(figure)
    plt.close(figure)
    return found


def predicted_numbers(result, field):
    return prediction(result, field), result["prediction"][field], *differences(result, field)


def simulated_numbers(result, field):
    return statistics(result, field)[0], result["simulation"][field], *differences(result, field)


def differences(result, field):
    """Simulation less prediction, which a figure may draw where two curves could not be told apart; a zero shows nothing."""
    if field not in result["prediction"]:
        return []
    off = statistics(result, field)[0] - prediction(result, field)
    return [off.where(off != 0)]


def shows(drawn, *forms):
    """Whether some form of the stored numbers, mean or seed by seed, is drawn."""
    return any(near(values, drawn) for values in forms)


def near(stored, drawn):
    """A panel shows a part: of the stored numbers a tenth at least, and two of three or more, or one of two, are drawn."""
    found = np.isclose(stored.values.ravel()[:, None], drawn, rtol=1e-9, atol=0).any(axis=1)
    return found.sum() >= max(min(2, (stored.size + 1) // 2), stored.size // 10)
