"""The command line as a person meets it: one clear line for every mistake, the right exit code, nothing lost."""

import csv
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import jax
import pytest
import tyro

import closedform.__main__ as command_line
from closedform import arguments, commands, sweeps
from closedform.commands import _options, _shown
from closedform.sweeps import names
from closedform.sweeps.contract.experiment import constant, docstring, read_about
from closedform.sweeps.results.store import read_tree


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "180")
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield


def closedform(text):
    return command_line.main(text.split())


def test_list_shows_every_paper_and_the_experiments_of_one(capsys):
    assert closedform("list") == 0
    shown = capsys.readouterr().out
    papers = {name.split("/")[0] for name in names()}
    assert all(paper in shown for paper in papers)
    for paper in papers:
        assert closedform(f"list {paper}") == 0
        shown = capsys.readouterr().out
        for name in names(paper):
            assert name in shown
            assert docstring(name).split()[0] in shown


def test_what_list_reads_without_importing_is_what_the_module_has():
    for name in names():
        experiment = sweeps.find(name)
        assert read_about(docstring(name)) == experiment.about()
        assert constant(name, "GRID", {}) == experiment.grid
        assert constant(name, "SEEDS", 8) == experiment.seeds


_HEAVY = {"jax", "jaxlib", "jaxtyping", "numpy", "scipy", "xarray", "h5py", "matplotlib", "flax", "orbax", "tyro", "rich"}


def test_what_reads_texts_alone_imports_nothing_heavy(tmp_path):
    """A process for each, for what one has imported the next would find."""
    program = """
import sys
from closedform.__main__ import main
code = main(sys.argv[1:])
print(code, *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""
    (tmp_path / "results" / "xor" / "phases" / "sweeps").mkdir(parents=True)
    (tmp_path / "results" / "xor" / "phases" / "sweeps" / "damaged.json").write_text("{")
    for text, wanted, allowed in (
        ("list", 0, set()),
        ("list xor --json", 0, set()),
        ("--help", 0, set()),
        ("status --results nowhere", 0, set()),
        ("status", 2, set()),
        ("cite xor", 0, set()),
        ("reproduce --help", 0, {"tyro", "rich"}),
        ("sweep --help", 0, {"tyro", "rich"}),
    ):
        command = [sys.executable, "-c", program, *text.split()]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        code, *imported = done.stderr.splitlines()[-1].split()
        assert int(code) == wanted, done.stderr
        assert not _HEAVY & set(imported) - allowed, text


@pytest.mark.slow
def test_status_of_results_needs_no_jax(tmp_path):
    """Of all that is heavy it needs NumPy."""
    sweeps.run("bilinear/riccati", sweeps.find("bilinear/riccati").default_config("quick"), seeds=1, results="results")
    program = "import sys; from closedform.__main__ import main; main(['status']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "bilinear/riccati over one cell, 1 seeds: 1 done" in done.stdout
    assert _HEAVY & set(done.stderr.split()) == {"numpy"}


_TYPED = """;xor;xor bilinear;None;--results a=b;--results=a;--results;--results -x;xor --results a;--json;--no-json xor
;--plain a b;a --plain b;a b --plain;--remove --all --results here xor;--no-remove;--json=1;--paper xor;--experiment xor
;--output there/page.html;-- xor;--help;-x"""


def test_options_are_read_as_tyro_reads_them():
    kinds = {
        name: importlib.import_module(f"closedform.commands.{name}") for name in ("list", "status", "cite", "prune", "report")
    }
    read = 0
    for name, module in kinds.items():
        kind = getattr(module, name.title())
        for text in _TYPED.split(";"):
            chosen = arguments._plainly(kind, text.split())
            if chosen is not None:
                assert chosen == tyro.cli(kind, args=text.split()), (name, text)
                read += 1
    assert read > 20


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("reproduec xor", "unknown command 'reproduec'; nearest: reproduce"),
        ("run xor/phase", "unknown experiment 'xor/phase'; nearest: xor/phases"),
        ("reproduce xro", "unknown paper or experiment 'xro'; nearest: xor"),
        ("agree nothing", "unknown paper or experiment 'nothing'; known:"),
        ("agree xor/phases", "xor/phases: not (all) computed in results; first: closedform reproduce xor/phases"),
        ("run xor/phases --config.modle.dim 3", "unknown field of xor/phases 'modle.dim'; nearest: model.dim"),
        ("run xor/phases --config.model.dim many", "model.dim: got 'many'; allowed: a whole number"),
        ("run xor/phases --config.model.dim=2.5", "model.dim: got 2.5; allowed: a whole number"),
        ("run xor/phases --config.model.dim", "model.dim: got ''; allowed: a whole number"),
        ("run xor/phases --config.model.width 0", "model.width: got 0; allowed: a whole number of at least 1"),
        ("run xor/phases --config.learning-rate -1", "learning_rate: got -1.0; allowed: a positive number"),
        ("run xor/phases --config.learning-rate nan", "learning_rate: got 'nan'; allowed: a positive number"),
        ("run xor/layers --config.train none", "train: got 'none'; allowed: 'both' or 'weights' or 'readout'"),
        ("run xor/phases --preset huge", "unknown preset of xor/phases 'huge'; known: quick"),
        ("reproduce xor --preset huge", "unknown preset of xor 'huge'"),
        ("run xor/phases --seeds 0", "seeds: got 0; allowed"),
        ("run xor/phases --seeds some", "seeds: got 'some'; allowed: how many (--seeds 16), a range"),
        ("run xor/phases --sedes 3", "unknown option of closedform run xor/phases '--sedes'; nearest: --seeds"),
        ("run xor/phases --root-seed -3", "root_seed: got -3; allowed: 0 to 2**32 - 1"),
        ("run xor/phases --results /dev/null/x", "cannot be written"),
        ("sweep xor/phases --over learning_rate", "over: got 'learning_rate'; allowed: FIELD=V1,V2,..."),
        ("sweep xor/phases --over lr=1,2", "unknown field of xor/phases 'lr'; known: batch_size, learning_rate"),
        ("sweep xor/phases --over learning_rate=a,b", "learning_rate: got 'a'; allowed: a positive number"),
        ("sweep xor/phases --over learning_rate=-1,0.1", "learning_rate: got -1.0; allowed: a positive number"),
        ("sweep xor/phases --over model.dim=16,16", "model.dim: got (16, 16); allowed: one or more distinct values"),
        ("sweep xor/phases --over model.dim=16 --over model.dim=32", "over: model.dim is given twice"),
        ("sweep xor/phases --zip --over model.dim=16,32 --over batch_size=8", "one length; got model.dim: 2, batch_size: 1"),
        ("sweep xor/phases --launcher pbs", "launcher: got 'pbs'; allowed: 'none' or 'local' or 'slurm'"),
        ("sweep xor/phases --launcher slurm --slurm account", "slurm: got 'account'; allowed: NAME=VALUE"),
        ("sweep xor/phases --threads 0", "threads: got 0; allowed: a whole number from 1 on"),
        ("sweep nothing.py", "allowed: the path of a Python file"),
        ("run XOR/PHASES", "unknown experiment 'XOR/PHASES'; nearest: xor/phases"),
        ("reproduce XOR", "unknown paper or experiment 'XOR'; nearest: xor"),
        ("run xor", "got 'xor', a paper; allowed: one of its experiments: xor/layers, xor/margins"),
        ("run xor/phases --config.LEARNING-RATE 1", "unknown field of xor/phases 'LEARNING_RATE'; nearest: learning_rate"),
        ("run xor/phases --config.width 8", "unknown field of xor/phases 'width'; nearest: model.width"),
        ("run xor/phases --seeds 99999999999", "seeds: got 99999999999, which take at least 10 TB of memory in 1 cell; "),
        ("run xor/phases --seeds 2 --seeds=3", "seeds: --seeds is given twice; allowed: once"),
        ("run xor/phases --config.learning-rate 1 --config.learning_rate=1", "--config.learning-rate is given twice"),
        (
            "sweep xor/phases --over learning_rate=1,2 --config.learning-rate 3",
            "learning_rate: is set by --config.learning_rate and",
        ),
        (
            "sweep xor/phases --over learning_rate=1,2 --nodes 3",
            "nodes: --nodes is of processes that are launched; allowed: with",
        ),
        ("sweep xor/phases --launcher local --slurm a=b", "slurm: --slurm is of processes that are launched; allowed: with"),
        ("sweep xor/phases --over learning_rate=1 --launcher local --gpus -1", "gpus: got -1; allowed: a number of at least 0"),
        ("run xor/phases --threads many", "threads: got 'many'; allowed: a whole number or nothing"),
        ("run xor/phases extra", "Unrecognized options: extra"),
        ("run bilinear/masks --config.strengths nosuch", "strengths: got ('nosuch',); allowed: a list of at least 1"),
        (
            "run bilinear/masks --config.strengths 0.1 0.1",
            "strengths: got (0.1, 0.1); allowed: a list of at least 1, each entry",
        ),
        (
            "run bilinear/masks --config.residual nosuch",
            "residual: got 'nosuch'; allowed: --config.residual or --config.no-residual",
        ),
        ("run bilinear/masks --config.data nosuch", "data must be one of digits_8x8, mnist_5k, or a folder"),
        ("report --output .", "output: got '.', a folder; allowed: the name of a file, such as report.html"),
        ("predict xor/phases --output .", "output: got '.', a folder"),
    ],
)
def test_a_mistake_gives_one_line_and_exit_code_2(text, says, capsys, monkeypatch):
    from closedform.sweeps.engine import queue

    monkeypatch.setattr(queue, "execute", lambda *_: pytest.fail("computed"))
    assert closedform(text) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert "Traceback" not in said


@pytest.mark.slow
def test_run_prints_the_table_and_the_files(capsys, tmp_path):
    assert closedform("run xor/margins --preset quick --seeds 2 --config.num-steps 10") in (0, 1)
    shown = capsys.readouterr().out
    assert "predicted" in shown
    paths = [line for line in shown.split("\n") if line.startswith("results")]
    assert [path.rsplit(".", 1)[1] for path in paths] == ["nc", "nc", "png", "pdf"]  # simulation and prediction
    assert all((tmp_path / path).stat().st_size > 1000 for path in paths)
    tree, _ = read_tree(tmp_path / paths[0])
    assert json.loads(tree.attrs["closedform"])["config"]["num_steps"] == 10


def test_sweep_prints_the_table_and_status_what_was_asked(capsys, tmp_path):
    over = "--over learning_rate=0.05,0.1 --over model.dim=8,16"
    assert closedform(f"sweep xor/phases --preset quick --seeds 2 {over}") in (0, 1)
    captured = capsys.readouterr()
    assert "4 cells (learning_rate 2 x model.dim 2) x 2 seeds, 2 compilations" in captured.err
    assert "learning_rate=0.05" in captured.out
    (path,) = [line for line in captured.out.split("\n") if line.startswith("results")]
    tree, _ = read_tree(tmp_path / path)
    assert dict(tree["simulation"].sizes)["model.dim"] == 2
    assert closedform("status") == 0
    said = capsys.readouterr().out.split("\n")
    assert said[0] == "xor/phases over learning_rate (2), model.dim (2), 2 seeds: 4 done; 0 of 8 runs left"
    assert path in said[1]  # cells that are done are not listed
    assert closedform("status xor") == 0
    assert "4 done" in capsys.readouterr().out
    assert closedform("status nothing") == 0
    assert capsys.readouterr().out == "no sweeps in results of nothing\n"


def test_the_exit_code_of_a_sweep_says_that_cells_failed(capsys):
    from zoo import fragile

    asked = f"sweep {fragile.__file__} --over size=4,7,8 --seeds 2"
    assert closedform(asked) == 3
    captured = capsys.readouterr()
    assert "2 of 3 cells failed; --retry-failed runs them again" in captured.err
    assert "size=7: ValueError: size 7 cannot be had" in captured.err
    assert "agrees" in captured.out
    assert closedform(f"{asked} --retry-failed") == 3
    capsys.readouterr()
    assert closedform("status") == 0
    assert "size=8: failed, ValueError: size 8 cannot be had" in capsys.readouterr().out


def test_a_run_that_raises_is_told_in_one_line(capsys):
    from zoo import fragile

    assert closedform(f"run {fragile.__file__} --config.size 7") == 3
    said = capsys.readouterr().err
    assert (
        said
        == "closedform: fragile failed: ValueError: size 7 cannot be had; its traceback is kept in results/fragile/failed\n"
    )
    assert closedform(f"sweep {fragile.__file__} --over size=7,8") == 3


def test_flags_in_either_spelling(capsys, tmp_path):
    (tmp_path / "flags.py").write_text(
        "from dataclasses import dataclass, field\n"
        "@dataclass(frozen=True)\nclass Inner:\n    flag: bool = True\n"
        "@dataclass(frozen=True)\nclass Config:\n    a: float = 1.0\n    name: str = 'x'\n"
        "    sub: Inner = field(default_factory=Inner)\n"
        "def simulate(key, config: Config):\n    return config.a + 1.0 * config.sub.flag + len(config.name)\n"
    )
    assert closedform("run flags.py:simulate --seeds 2 --config.a=-1e-3 --config.sub.no-flag") == 0
    assert closedform("sweep flags.py:simulate --seeds 2 --over name=1e5,2e5") == 0
    asked = [json.loads(path.read_text())["over"] for path in (tmp_path / "results/flags/simulate/sweeps").glob("*.json")]
    assert {"name": ["1e5", "2e5"]} in asked
    assert closedform("run xor/phases --preset=huge") == 2
    assert "unknown preset of xor/phases 'huge'" in capsys.readouterr().err


NAMED = """
import enum

class Colour(enum.Enum):
    RED = 1
    BLUE = 2

config = {"lambda": 0.1, "colour": Colour.RED, "note": None, "levels": (1, 2.5), "size": 2}

def simulate(key, config):
    return config["lambda"] * config["colour"].value * config["size"] * sum(config["levels"])

def predict(config):
    return simulate(None, config)
"""


def test_what_is_typed_for_sweep_is_typed_for_status_and_report(tmp_path, capsys, monkeypatch):
    """One name for all commands, in a file with dots and behind a tilde; and every kind of value, as a person spells it."""
    (tmp_path / "my.own.py").write_text(NAMED)
    monkeypatch.setenv("HOME", str(tmp_path))
    name = "~/my.own.py:simulate"
    values = "--config.lambda -.5e3 --config.colour BLUE --config.note why --config.levels -1. +2 --config.size +4"
    assert closedform(f"run {name} {values} --seeds 2") == 0
    shown = capsys.readouterr().out
    assert "my/own/simulate" in shown
    assert "-4000" in shown
    assert closedform(f"sweep {name} --over lambda=1000001,+1000002. --over colour=RED,BLUE --over note=None,.5 --seeds 2") == 0
    shown = capsys.readouterr().out
    assert [f"lambda={value}, colour=RED, note=None" in " ".join(shown.split()) for value in (1000001, 1000002)] == [True, True]
    assert closedform("report ~/my.own.py") == 0
    assert re.findall(r"^my/own/simulate (.*): agrees$", capsys.readouterr().out, re.M) == [
        "levels=1, 2.5, size=2, over lambda, colour, note",
        "lambda=-500, colour=BLUE, note=why, levels=-1, 2, 1 more",
    ]
    assert closedform(f"status {name}") == 0
    assert "over lambda (2), colour (2), note (2), 2 seeds: 8 done; 0 of 16 runs left" in capsys.readouterr().out
    assert closedform(f"report {name}") == 0
    assert re.findall(r"^my/own/simulate (.*): agrees$", capsys.readouterr().out, re.M) == [
        "levels=1, 2.5, size=2, over lambda, colour, note",
        "lambda=-500, colour=BLUE, note=why, levels=-1, 2, 1 more",
    ]
    assert closedform(f"run {name} --help") == 0
    assert "RED or BLUE; default: RED" in " ".join(capsys.readouterr().out.split())


def row(field, deviation, **options):
    told = {"experiment": "random_feature_attention/augmented_heads", "cell": "ratio=0.5, num_heads=12", "at": "degree=3"}
    numbers = dict(predicted=1.0, simulated=1.0 + deviation, standard_error=0.02, allowed=0.1, points=7, agreeing=7, seeds=8)
    verdict = "agrees" if abs(deviation) <= 0.1 else "DISAGREES"
    return sweeps.Row(**{**told, **numbers, "field": field, "diverged": (), "verdict": verdict, **options})


@pytest.fixture
def tabled(monkeypatch):
    """`agree` of these rows, whatever is stored."""

    def set_rows(rows):
        monkeypatch.setattr(sweeps, "compare", lambda *_: rows)
        monkeypatch.setattr(sweeps, "load", lambda *_, **__: object())

    return set_rows


@pytest.mark.parametrize("columns", [72, 80, 100, 120, 160])
def test_no_word_of_a_table_is_cut_and_names_wrap_at_slashes_and_underscores(columns, capsys, monkeypatch, tabled):
    monkeypatch.setenv("COLUMNS", str(columns))
    tabled(
        [row("cross_layer_interference", 0.01 * index) for index in range(3)] + [row("b", 0.5, verdict="no verdict (failed)")]
    )
    closedform("agree xor/phases")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[:-1])) <= columns
    words = set(re.findall(r"[^\s/_]+[/_]?", "\n".join(lines)))
    for text in ("random_feature_attention/augmented_heads", "cross_layer_interference", "ratio=0.5, num_heads=12", "(failed)"):
        assert set(re.findall(r"[^\s/_]+[/_]?", text)) <= {*words, *(word.rstrip(",") for word in words)}
    for heading in (
        "experiment",
        "predicted",
        "simulated ± SE",
        "deviation",
        "allowed",
        "detects",
        "points",
        "seeds",
        "verdict",
    ):
        assert any(heading in line for line in lines[:3])


def test_the_worst_rows_come_first_twenty_of_them_and_all_shows_the_rest(capsys, tabled):
    rows = [row(f"field{index}", 0.001 * index) for index in range(50)] + [row("wrong", 0.2)]
    tabled(rows)
    assert closedform("agree xor/phases") == 1
    shown = capsys.readouterr().out
    assert re.findall(r"\b(field\d+|wrong)\b", shown) == ["wrong", *(f"field{index}" for index in range(49, 30, -1))]
    assert "20 rows, the worst relative to their allowance; --all shows the other 31" in shown
    assert shown.splitlines()[-1].startswith("50 of 51 rows agree; the median row detects 10 %")
    assert closedform("agree xor/phases --all") == 1
    assert len(re.findall(r"\b(field\d+|wrong)\b", capsys.readouterr().out)) == 51
    tabled(rows[:-1])
    assert closedform("agree xor/phases --quiet") == 0
    assert capsys.readouterr().out == "50 of 50 rows agree; the median row detects 10 %\n"


def test_what_a_row_detects_is_told_and_what_is_stale(capsys, tabled):
    tabled([row("sharp", 0.0, predicted=2.0, simulated=2.0), row("blunt", 0.0, allowed=0.62), row("old", 0.0, stale=True)])
    closedform("agree xor/phases")
    *lines, last = capsys.readouterr().out.splitlines()
    said = {field: next(line for line in lines if f" {field} " in line) for field in ("sharp", "blunt", "old")}
    assert " 5 % " in said["sharp"]
    assert " only 62 % " in said["blunt"]
    assert said["old"].endswith("agrees (earlier version)")
    assert last == "3 of 3 rows agree (1 of an earlier version); the median row detects 10 %, 1 only 50 % or more"


def test_agree_as_comma_separated_values(capsys, tabled):
    tabled([row("a, b", 0.05, diverged=(3, 5)), row("c", 0.5)])
    assert closedform("agree xor/phases --csv") == 1
    first, second = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (first["field"], first["verdict"], second["field"]) == ("c", "DISAGREES", "a, b")
    assert (float(second["deviation"]), float(second["detects"]), second["diverged"]) == (pytest.approx(0.05), 0.1, "3 5")


def test_list_is_a_line_a_paper_and_all_of_it_as_json(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert closedform("list") == 0
    lines = capsys.readouterr().out.splitlines()
    papers = list(dict.fromkeys(name.split("/")[0] for name in names()))
    assert [line.split()[0] for line in lines] == papers
    assert max(map(len, lines)) <= 80
    for line, paper in zip(lines, papers, strict=True):
        told = line.removesuffix(" ...").split(maxsplit=2)
        assert int(told[1]) == len(names(paper))
        assert (
            f"{docstring(f'{paper}/__init__')} ".replace(",", " ")
            .replace(":", " ")
            .startswith(f"{told[2]} ".replace(",", " ").replace(":", " "))
        )
    assert closedform("list --json") == 0
    read = json.loads(capsys.readouterr().out)
    assert [one["name"] for paper in read for one in paper["experiments"]] == names()
    assert closedform("list xor/phases --json") == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["name"], one["seeds"], one["cells"]) == ("xor/phases", 8, 1)
    assert one["claim"] == read_about(docstring("xor/phases")).claim
    for paper in papers:
        assert closedform(f"list {paper}") == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_every_command_is_in_the_usage_which_fits_80_columns(capsys):
    assert closedform("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert {line.split()[0] for line in lines if re.match(r"  [a-z]", line)} == set(commands.names())
    assert closedform("") == 2


def test_version(capsys):
    assert closedform("--version") == 0
    assert re.fullmatch(r"closedform \d+\.\d+\.\d+ \(jax .*, Python 3\.\d+\.\d+\)\n", capsys.readouterr().out)


MEASURED = """
import jax.numpy as jnp
import jax

config = {"rate": 0.1, "size": 4}

def simulate(key, config):
    if config["size"] == 6:
        raise ValueError("six")
    noise = jax.random.normal(key, (config["size"],))
    return {"path": config["rate"] * jnp.arange(4.0) + noise[0], "last": jnp.where(noise[0] > 1, jnp.nan, noise[0])}
"""


def test_without_a_prediction_means_are_printed_and_drawn_and_seeds_counted(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "mine.py").write_text(MEASURED)
    assert closedform("sweep mine.py:simulate --over size=4,6 --over rate=0.1,0.2 --seeds 5-10") == 3
    captured = capsys.readouterr()
    assert "2 of 4 cells failed" in captured.err
    lines = captured.out.splitlines()
    assert max(map(len, lines)) <= 80
    files = [line for line in lines if line.startswith("results")]
    assert [path.rsplit(".", 1)[1] for path in files] == ["nc", "png", "pdf"]
    result = sweeps.load(tmp_path / files[0])
    simulation = result["simulation"]
    assert simulation["seed"].values.tolist() == [5, 6, 7, 8, 9, 10]
    diverged = int(simulation["diverged"].sum())
    assert diverged > 0
    assert lines[-1] == f"2 fields measured, nothing predicted; of 24 runs {diverged} diverged and 12 failed"
    assert any("1 diverged seed, kept apart: " in line for line in lines)
    mean, error = (float(part.sel(size=4, rate=0.1)) for part in sweeps.statistics(result, "last"))
    (told,) = [line for line in lines if line.split()[:2] == ["size=4,", "rate=0.1"]]
    assert f"{mean:.4g} ± {error:.1g}" in told
    assert closedform("sweep mine.py:simulate --over size=4,6 --over rate=0.1,0.2 --seeds 5-10 --quiet") == 3
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    assert "2 of 4 cells failed" in captured.err


@pytest.mark.parametrize("given", ["5-", "10-5", "1,,2", "a", "1-2-3", "0-99999999999"])
def test_seeds_that_are_none(given, capsys):
    assert closedform(f"run xor/phases --seeds {given}") == 2
    assert capsys.readouterr().err.startswith(f"closedform: seeds: got '{given}'; allowed: how many (--seeds 16), a range")


def test_reproduce_then_agree_computes_nothing_twice(capsys, monkeypatch):
    from closedform.sweeps.engine import queue

    code = closedform("reproduce xor/phases --preset quick --seeds 3")
    first = capsys.readouterr().out
    assert "results/xor/phases-quick.png" in first
    monkeypatch.setattr(queue, "execute", lambda *_: pytest.fail("computed again"))
    assert closedform("reproduce xor/phases --preset quick --seeds 3") == code
    assert capsys.readouterr().out == first
    assert closedform("agree xor/phases --preset quick") == code
    without_files = [line for line in first.splitlines() if not line.startswith("results/")]
    assert capsys.readouterr().out.splitlines() == without_files
    assert re.match(r"\d of 4 rows agree", without_files[-1])


@pytest.mark.parametrize(
    ("verdict", "code"), [("agrees", 0), ("DISAGREES", 1), ("no verdict (1 seed)", 0), ("no verdict (failed)", 3)]
)
def test_a_disagreement_is_exit_code_1(verdict, code, monkeypatch, capsys):
    row = sweeps.Row("a/b", "", "x", "", 1.0, 2.0, 0.1, 0.4, 1, 0, 8, (3,), verdict)
    monkeypatch.setattr(sweeps, "compare", lambda *_: [row])
    monkeypatch.setattr(sweeps, "load", lambda *_, **__: object())
    assert closedform("agree xor/phases") == code
    assert "1 diverged seed, kept apart: 3" in capsys.readouterr().out


# what runs in the background of a script starts with SIGINT ignored, and so do the tests there
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from closedform.__main__ import main
sys.exit(main())
"""


def test_control_c_keeps_what_is_finished_and_exits_with_130(tmp_path):
    """A real process, a real SIGINT: short runs are finished and stored until the signal comes, and more of them are left
    than any machine does in a minute."""
    command = [sys.executable, "-c", INTERRUPTIBLE, "run", "xor/phases", "--preset", "quick", "--seeds", "50000"]
    command += ["--config.num-steps", "2000", "--checkpoint-minutes", "0.01"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (stored := list((tmp_path / "results").glob("xor/phases/??/*.nc"))) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    *progress, last = said.splitlines()  # a slow machine says every half minute how far it is
    assert all(line.startswith("xor/phases: ") for line in progress)
    assert last == "closedform: interrupted; finished seeds are kept, the same command goes on from there"
    (path,) = (tmp_path / "results").glob("xor/phases/??/*.nc")
    assert stored == [path]
    tree, message = read_tree(path)
    assert message == ""
    assert 0 < tree["simulation"].sizes["seed"] < 50_000


def test_predict_is_theory_alone_over_a_grid_and_stores_nothing(capsys, tmp_path):
    (tmp_path / "law.py").write_text(
        "config = {'a': 1.0, 'b': 2.0}\n"
        "def simulate(key, config):\n    return config['a'] * config['b']\n"
        "def predict(config):\n    return config['a'] * config['b']\n"
    )
    assert closedform("predict law.py:simulate --over a=1.5,3 --over b=4,5 --output law.nc") == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["1.5", "4.0", "value", "6"] in shown
    assert ["3.0", "5.0", "value", "15"] in shown
    tree, _ = read_tree(tmp_path / "law.nc")
    assert tree["prediction"]["value"].sel(a=3.0, b=4.0) == 12.0
    assert closedform("predict law.py:simulate --over a=1.5,3 --over b=4,5 --zip") == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["3.0", "5.0", "value", "15"] in shown
    assert ["1.5", "5.0", "value", "7.5"] not in shown
    assert not (tmp_path / "results").exists()
    assert closedform("predict xor/phases") == 2
    assert "depends on the draw" in capsys.readouterr().err


def test_a_list_is_typed_as_words_or_as_python_writes_it():
    from closedform import arguments
    from closedform.sweeps.contract.config import leaves

    known = {leaf.path: leaf for leaf in leaves(sweeps.find("bilinear/masks").Config())}
    typed = ["--config.strengths=[1,2]", "--config.strengths", "(1, 2)", "--config.noise-std", "-.5", "--zip"]
    told = ["--config.strengths", "1", "2", "--config.strengths", "1", "2", "--config.noise-std=-.5", "--zip"]
    assert arguments._joined(typed, known) == told


def test_an_experiment_without_the_preset_is_left_out_and_said(capsys, monkeypatch):
    """It was drawn from the default config, under the name of the preset."""
    with_it, without = sweeps.find("xor/phases"), sweeps.find("xor/margins")
    with_it = with_it._replace(presets={**with_it.presets, "small": with_it.presets["quick"]})
    monkeypatch.setattr(_options, "names", lambda paper=None: ["xor/phases", "xor/margins"])
    monkeypatch.setattr(_options, "find", {"xor/phases": with_it, "xor/margins": without}.get)
    ((found, config),) = _options.asked_for(_options.OfPaper(paper="xor", preset="small"))
    assert (found.name, config) == ("xor/phases", with_it.default_config("quick"))
    assert capsys.readouterr().err == "xor/margins: has no preset 'small', left out\n"


def test_a_figure_that_cannot_be_drawn_is_one_line_below_the_table(capsys, monkeypatch, tabled, tmp_path):
    shown = []

    def draw(*_):
        shown.append(capsys.readouterr().out)
        raise ValueError("no\nway")

    tabled([row("one", 0.0)])
    monkeypatch.setattr(_shown.report, "save_figure", draw)
    monkeypatch.setattr(sweeps, "with_theory", lambda experiment, result, say: result)
    computed = [_shown.Computed(sweeps.find(name), object(), (), tmp_path / "figure") for name in ("xor/phases", "xor/margins")]
    assert _shown.verdict(computed, _options.Stored()) == 0
    captured = capsys.readouterr()
    assert "verdict" in shown[0]
    assert len(shown) == 2
    assert "xor/margins cannot be drawn: ValueError: no; its traceback is kept in" in captured.err
    assert captured.err.count("\n") == 1  # the first was read when the second was drawn
    assert captured.out.startswith("2 of 2 rows agree")


@pytest.mark.parametrize("before", [None, "module://nosuch.backend", "nosuch"])
def test_commands_draw_whatever_backend_the_environment_wants(before, monkeypatch):
    from closedform import console

    monkeypatch.delenv("MPLBACKEND")
    if before is not None:
        monkeypatch.setenv("MPLBACKEND", before)
    with console.drawing_to_files():
        assert os.environ["MPLBACKEND"] == "agg"
    assert os.environ.get("MPLBACKEND") == before


@pytest.mark.parametrize("asked", ["cuda", pytest.param("nosuch", marks=pytest.mark.slow)])
def test_a_platform_that_is_not_there_is_one_line(asked):
    ended = subprocess.run(
        [sys.executable, "-m", "closedform", "run", "xor/phases"],
        env={**os.environ, "JAX_PLATFORMS": asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"closedform: JAX_PLATFORMS: got '{asked}'; allowed: what this machine and its installation")
    assert ended.stderr.count("\n") == 1
