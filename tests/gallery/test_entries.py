"""What pages show of stored results, and the report of a folder."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from closedform.__main__ import main
from closedform.figures import _generic
from closedform.gallery import collection, entries, pages
from closedform.sweeps import UsageError, compare, find, sweep
from closedform.sweeps.contract import config
from closedform.sweeps.results.catalogue import Stored, stored_results
from zoo.labels import collisions


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 0.1  # of decay
    noise_std: float = 0.1


def simulate(key, config):
    import jax

    noise = config.noise_std * jax.random.normal(key, (5,))
    return {"left": 1 - config.rate * np.arange(4.0) + noise[:4], "sum": config.rate * 2 + noise[4]}


def predict(config):
    return {"left": 1 - config.rate * np.arange(4.0), "sum": config.rate * 2}


def wrong(config):
    return {"left": 1.2 - config.rate * np.arange(4.0), "sum": config.rate * 2}


def stored(folder, predict=predict, **options):
    sweep(simulate, Config(), seeds=8, results=folder, predict=predict, progress=False, say=lambda _: None, **options)
    (found,) = stored_results(folder)
    return found


def test_an_entry_holds_verdict_figure_config_and_origin(tmp_path):
    one = entries.entry(stored(tmp_path, over={"rate": (0.1, 0.2)}))
    assert one.verdict == "agrees"
    assert one.num_rows == 4
    assert [(line.field, line.value, line.swept) for line in one.settings] == [
        ("rate", "0.1, 0.2", True),
        ("noise_std", "0.1", False),
    ]
    assert one.picture.png.startswith(b"\x89PNG")
    assert one.picture.alternative == "left against left 0; sum against rate."
    origin = dict(one.origin)
    assert origin["seeds"] == "8 (0 to 7), root seed 0"
    assert re.fullmatch(r"\d+(\.\d+)? [MG]B at most in the process", origin["memory"])
    assert "jax" in origin["versions"]


def test_a_wrong_prediction_turns_the_badge_red(tmp_path):
    one = entries.entry(stored(tmp_path, predict=wrong))
    assert one.verdict == "disagrees"
    assert 'data-verdict="disagrees"' in pages.part("badge", one)
    assert "DISAGREES" in pages.part("agreement", one)


def test_without_a_prediction_there_is_no_verdict_and_no_line_of_theory(tmp_path):
    found = stored(tmp_path, predict=None)
    figure = _generic.draw(found.result)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["simulation, 8 seeds ± SE"]
    assert all(line.get_linestyle() == "None" for panel in figure.axes for line in panel.lines)
    one = entries.entry(found)
    assert one.verdict == "no verdict"
    assert one.rows == []
    assert "no agreement table" in pages.part("agreement", one)


@pytest.mark.parametrize("over", [None, {"rate": (0.1, 0.2, 0.4)}, {"rate": (0.1, 0.2), "noise_std": (0.1, 0.2, 0.3, 0.4)}])
def test_generic_figure_draws_what_is_stored_and_words_keep_apart(over, tmp_path):
    found = stored(tmp_path, over=over)
    figure = _generic.draw(found.result)
    assert collisions(figure) == []
    means = found.result["simulation"]["left"].mean("seed")
    axis = max(dict(means.sizes), key=lambda name: (means.sizes[name], name != "left_0"))  # the longest
    assert figure.axes[0].get_xlabel() == axis.replace("_", " ")
    others = [other for other in means.dims if other != axis]
    first = dict.fromkeys(others, 0)  # the first curve, as the legend says
    lines = figure.axes[0].lines
    np.testing.assert_allclose(lines[0].get_ydata(), found.result["prediction"]["left"].broadcast_like(means).isel(first))
    np.testing.assert_allclose(lines[1].get_ydata(), means.isel(first), rtol=1e-6)
    legends = [figure.legends[0], *(panel.get_legend() for panel in figure.axes if panel.get_legend() is not None)]
    said = [text.get_text() for legend in legends for text in legend.get_texts()]
    for other in others:  # every swept value has a colour, and the legend says which
        assert all(any(f"{other.replace('_', ' ')} = {value:g}" in text for text in said) for value in means[other].values)


@pytest.mark.slow
def test_a_figure_that_cannot_draw_a_result_gives_way_to_the_generic_one(tmp_path, monkeypatch):
    def broken(result, config):
        raise KeyError("cluster")

    experiment = find("convex_relu/whitened")
    sweep(experiment, experiment.default_config("quick"), seeds=2, over=experiment.grid, results=tmp_path, progress=False)
    (found,) = stored_results(tmp_path)
    assert entries.entry(found).notes == []
    monkeypatch.setattr(entries, "find_figure", lambda name: broken)
    one = entries.entry(found)
    assert one.notes == ["The experiment's own figure cannot show this: KeyError: 'cluster'"]
    assert one.picture is not None
    assert "against" in one.picture.alternative


def test_a_result_of_numbers_alone_has_no_figure(tmp_path):
    def number(key, config):
        return {"value": config.rate}

    sweep(number, Config(), seeds=2, results=tmp_path, progress=False, say=lambda _: None)
    (found,) = stored_results(tmp_path)
    one = entries.entry(found)
    assert one.picture is None
    assert "No figure" in pages.part("figure", one, "")


def test_an_animation_is_folded_away_below_the_figure(tmp_path):
    one = entries.entry(stored(tmp_path, over={"rate": (0.1, 0.2)}))
    assert "<details" not in pages.part("figure", one, "a.png")
    text = pages.part("figure", one, "a.png", "a.gif")
    assert text.index("a.png") < text.index("<details") < text.index('<img src="a.gif" alt="Animation')
    moving = one._replace(picture=one.picture._replace(film=b"GIF89a"))
    assert pages.report([one], "results").count("image/gif") == 0
    assert pages.report([moving], "results").count("data:image/gif;base64,R0lGODlh") == 1


def test_meanings_are_the_comments_of_the_config_and_of_those_nested_in_it():
    told = entries.meanings(find("xor/phases").Config())
    assert told["model.dim"] == "input dimension, paper d"
    assert told["batch_size"].startswith("fresh samples per step")
    assert all(told.values())


def test_what_was_asked_tells_results_of_one_experiment_apart(tmp_path):
    experiment = find("convex_relu/whitened")
    (path, values), *_ = experiment.grid.items()
    own = experiment.Config()
    asked = {"config": config.as_dict(own), "over": {}, "root_seed": 0, "seeds": [0], "zipped": False}
    one = Stored(experiment, asked, None, {}, False)
    assert entries.entry(one).asked == ""
    assert entries.entry(one._replace(asked={**asked, "over": {path: values}})).asked == ""
    field, value = next((name, value) for name, value in asked["config"].items() if isinstance(value, int) and name != path)
    changed = {**asked, "config": {**asked["config"], field: value + 1}, "root_seed": 5, "over": {"other": (1,)}}
    assert entries.entry(one._replace(asked=changed)).asked == f"{field}={value + 1}, root seed 5, over other"


def test_the_report_names_every_result_once_and_says_where_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results"
    sweep(simulate, Config(), seeds=3, results=folder, predict=predict, progress=False, over={"rate": (0.1, 0.2)})
    sweep(simulate, Config(), seeds=3, results=folder, predict=predict, progress=False, over={"rate": (0.1, 0.3)})
    assert main(["report"]) == 0
    assert capsys.readouterr().out.split("\n")[-2] == "report.html"
    text = (tmp_path / "report.html").read_text()
    anchors = re.findall(r'<section id="([^"]+)"', text)
    assert len(anchors) == len(set(anchors)) == 2
    assert all(f'href="#{anchor}"' in text for anchor in anchors)
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("report", "results: no folder results; first: closedform reproduce xor"),
        ("report --results .", "no results in ."),
        ("report nothing --results .", "no results in . of nothing"),
    ],
)
def test_what_cannot_be_reported_is_told_in_a_line(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    assert capsys.readouterr().err == f"closedform: {said}\n"
    assert not (tmp_path / "report.html").exists()


@pytest.mark.slow
def test_results_of_other_code_are_stale_and_not_green(tmp_path):
    experiment = find("convex_relu/whitened")
    options = dict(seeds=2, over=collection.small_grid(experiment), results=tmp_path, progress=False, say=lambda _: None)
    simulate = experiment.functions["simulate"]
    wrong = {"simulate": lambda state, config: jax.tree.map(lambda leaf: 1.5 * leaf, simulate(state, config))}
    # not by its name: that stands for what its files say
    earlier = experiment._replace(functions={**experiment.functions, **wrong}, asked_by_name=False)
    sweep(earlier, experiment.default_config("quick"), **options)
    sweep(experiment, experiment.default_config("quick"), **options)  # shows the old ones, and notes the request anew
    (found,) = stored_results(tmp_path)
    assert found.state == "stale"
    one = entries.entry(found)
    assert one.verdict == "stale"
    assert "an earlier version of the code" in one.notes[-1]
    assert collection.stored_sizes("convex_relu/whitened", tmp_path, small=True) is None


def test_requests_that_differ_in_seeds_alone_are_shown_once_with_all_seeds(tmp_path):
    options = dict(results=tmp_path, predict=predict, progress=False, say=lambda _: None, over={"rate": (0.1, 0.2)})
    for seeds in (4, 16):
        sweep(simulate, Config(), seeds=seeds, **options)
    (found,) = stored_results(tmp_path)
    assert dict(entries.entry(found).origin)["seeds"] == "16 (0 to 15), root seed 0"


@pytest.mark.slow
def test_a_large_sweep_with_many_troubles_stays_a_short_page(tmp_path):
    rates = [index / 1000 for index in range(100, 300)]
    one = stored(tmp_path, over={"rate": rates})
    tree = one.result["simulation"].to_dataset()
    tree["diverged"][:, 0] = True
    one.result["simulation"] = tree
    shown = entries.entry(one._replace(failed={f"cell {index}": 1 for index in range(50)}))
    assert len(shown.notes) == 2 * 11 + 2 + 1
    assert shown.notes[-2].endswith(" its prediction in all 200 cells, which share their seeds")
    assert shown.notes[-1].startswith("Not checked: ")  # as of every function of the user's
    assert shown.notes[10] == "200 cells lost seeds; these are the first 10."
    assert shown.num_rows == 400
    assert len(shown.rows) == 60
    assert shown.settings[0].value == "0.1, 0.101, ..., 0.299 (200 values)"


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', "[]"])
def test_a_foreign_file_among_the_manifests_is_passed_over(text, tmp_path):
    stored(tmp_path)
    (tmp_path / "zoo" / "sweeps").mkdir(parents=True)
    (tmp_path / "zoo" / "sweeps" / "foreign.json").write_text(text)
    assert len(list(stored_results(tmp_path))) == 1


def test_a_part_of_a_results_folder_is_refused(tmp_path):
    stored(tmp_path / "results")
    with pytest.raises(UsageError, match="allowed: the folder that --results named"):
        list(stored_results(tmp_path))


def test_text_of_results_is_no_markup(tmp_path):
    one = entries.entry(stored(tmp_path))._replace(notes=["<script>alert(1)</script>"], name="<b>")
    page = pages.report([one], "<i>")
    assert "<script>" not in page
    assert "&lt;b&gt;" in page
    assert "<code>&lt;i&gt;</code>" in page


def test_small_sizes_that_do_not_suffice_give_way_to_the_experiments_own(tmp_path, monkeypatch):
    """Where the small result disagrees, the site computes the experiment's own sizes."""
    computed = []

    def compute(name, results, small):
        computed.append(small)

    monkeypatch.setattr(collection, "_compute", compute)
    answers = iter([None, None, ("own sizes", False)])  # nothing stored; small: disagrees; own: there
    monkeypatch.setattr(collection, "_kept", lambda *_: next(answers))

    class Here:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        map = staticmethod(map)

    monkeypatch.setattr(collection, "ProcessPoolExecutor", Here)
    found = collection.collect([], tmp_path, say=lambda _: None, chosen=["xor/phases"])
    assert found == {"xor/phases": ("own sizes", False)}
    assert computed == [True, False]


@pytest.mark.slow
def test_a_stored_result_of_the_experiments_own_sizes_comes_first(tmp_path):
    experiment = find("convex_relu/whitened")
    options = dict(seeds=8, results=tmp_path, progress=False, say=lambda _: None)
    assert collection.stored_sizes("convex_relu/whitened", tmp_path, small=True) is None
    sweep(experiment, experiment.default_config("quick"), over=collection.small_grid(experiment), **options)
    kept = collection.stored_sizes("convex_relu/whitened", tmp_path, small=True)
    assert kept.asked["seeds"] == list(range(8))
    assert compare(kept.experiment, kept.result)
    assert collection.stored_sizes("convex_relu/whitened", tmp_path, small=False) is None
