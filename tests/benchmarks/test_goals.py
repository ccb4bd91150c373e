"""The table of benchmarks: what is measured comes out as JSON and as rows, and every benchmark with a goal can be run."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from closedform.benchmarks import goals
from closedform.benchmarks.__main__ import TABLE, Config, main

ROWS = {
    "xor_sweep": goals.row("peer over ours", [2.0, 1.0, 3.0], ">=", 1.5) + goals.row("a peer that is missing", [], ">=", 1),
    "bilinear": goals.row("overhead", [1.2, 1.1, 1.3], "<=", 1.04),
}


def run(name, quick, folder):
    if name == "kernel_ridge":
        raise subprocess.CalledProcessError(1, name)
    return ROWS[name]


def test_the_rows_of_all_benchmarks_are_one_table_and_one_file(tmp_path, capsys):
    output = tmp_path / "here.json"
    assert main(Config(only=("xor_sweep", "bilinear"), output=output), run) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()) for line in shown[1:4]] == [
        "row min / median / max goal",
        "peer over ours 1.00 / 2.00 / 3.00 >= 1.5 reached",
        "overhead 1.10 / 1.20 / 1.30 <= 1.04 short",
    ]
    said = json.loads(output.read_text())
    assert said["machine"]["versions"].keys() >= {"python", "jax", "numpy"}
    assert said["machine"]["cores"] >= 1
    assert said["rows"][1] == {"row": "overhead", "ratios": [1.2, 1.1, 1.3], "sign": "<=", "goal": 1.04}
    machine, rows = goals.load(output)
    assert (machine, rows) == (said["machine"], ROWS["xor_sweep"] + ROWS["bilinear"])
    page = goals.page([output])
    assert f"## {machine['processor']}" in page
    assert "| overhead | 1.10 / 1.20 / 1.30 | <= 1.04  short |" in page
    assert goals.page([]) == "No table is kept yet.\n"


def test_a_benchmark_that_ends_with_an_error_is_said_and_the_others_are_kept(tmp_path, capsys):
    output = tmp_path / "here.json"
    assert main(Config(only=("kernel_ridge", "bilinear"), output=output), run) == 1
    assert "kernel_ridge: " in capsys.readouterr().out
    assert [row.row for row in goals.load(output)[1]] == ["overhead"]
    with pytest.raises(SystemExit, match="only: got 'xor'; allowed: xor_sweep, "):
        main(Config(only=("xor",), output=output), run)


def test_a_median_on_the_wrong_side_is_short():
    ((more,), (less,)) = (goals.row("x", [0.5, 1.0, 9.0], sign, 2.0) for sign in (">=", "<="))
    assert (more.ratio, more.reached, less.reached) == (1.0, False, True)


@pytest.mark.parametrize("name", TABLE)
def test_the_quick_sizes_are_options_of_the_benchmark(name):
    module = importlib.import_module(f"closedform.benchmarks.{name}")
    quick = tyro.cli(module.Config, args=[*module.QUICK, "--json", "rows.json"])
    assert (quick.pairs, quick.json) == (1, Path("rows.json"))
    assert quick != module.Config(pairs=1, json=Path("rows.json"))


@pytest.mark.slow("benchmarks")
@pytest.mark.parametrize("name", TABLE)
def test_a_benchmark_at_its_quick_sizes(name, tmp_path):
    """With the peers that are installed."""
    output = tmp_path / "rows.json"
    command = [sys.executable, "-m", "closedform.benchmarks", "--quick", "--only", name, "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert goals.load(output)[0]["quick"]
