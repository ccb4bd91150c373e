"""The guide pages' programs and commands, run as the pages have them."""

import ast
import contextlib
import importlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from scipy import stats

from closedform.__main__ import main
from closedform.sweeps import find
from closedform.sweeps.contract.config import as_dict, replace
from closedform.sweeps.contract.request import cell_name
from closedform.sweeps.results import agreement

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide"


def programs(page):
    return re.findall(r"```python\n(.*?)```", (GUIDE / f"{page}.md").read_text(), flags=re.DOTALL)


def program(page):
    (text,) = programs(page)
    return text


def commands(page):
    """Every `closedform ...` of a page, as words, in order."""
    lines = re.findall(r"^    closedform ((?:.*\\\n)*.*)$", (GUIDE / f"{page}.md").read_text(), flags=re.MULTILINE)
    return [line.replace("\\\n", " ").split() for line in lines if not line.startswith(":")]


def printed_on(page, first):
    """The indented block of a page that begins with these words, without its indentation."""
    blocks = re.findall(r"(?:^    .*\n)+", (GUIDE / f"{page}.md").read_text(), flags=re.MULTILINE)
    (block,) = (block for block in blocks if block.strip().startswith(first))
    return [line[4:] for line in block.splitlines()]


def imports(page):
    """(module, name) of everything that the programs of a page import from this package."""
    nodes = [node for text in programs(page) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    absolute = [node for node in nodes if not node.level and node.module.startswith("closedform")]
    return [(node.module, alias.name) for node in absolute for alias in node.names]


def imported(page):
    """The files of these modules, below the root."""
    stems = {stem for module, name in imports(page) for stem in (module, f"{module}.{name}")}
    paths = [Path(*stem.split(".")[1:]) for stem in sorted(stems)]
    return [str(path.with_suffix(".py")) for path in paths if path.parts and (ROOT / path.with_suffix(".py")).exists()]


def numbers(text):
    return [float(number) for number in re.findall(r"(?<![\w.])[-+]?\d+\.\d+(?:e[-+]\d+)?", text)]


def call(*command, folder, code=0, **variables):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "COLUMNS": "160", **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr + done.stdout
    return done


def closedform(*words, folder, code=0):
    """The command in this process, in the state in which a new one has JAX: what it wrote."""
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as error,
        pytest.MonkeyPatch.context() as patch,
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        patch.setenv("COLUMNS", "160")
        try:
            found = main(list(words))
        except SystemExit as end:  # --help
            found = end.code or 0
    assert found == code, error.getvalue() + out.getvalue()
    return SimpleNamespace(stdout=out.getvalue(), stderr=error.getvalue())


@pytest.mark.slow
def test_sweep_your_own_model(tmp_path):
    """The program, a second run that computes nothing, and the command of the page, which finds what the program stored."""
    text, notebook = programs("sweep_your_own_model")
    assert len([line for line in text.splitlines() if line.strip()]) <= 30
    (tmp_path / "my_model.py").write_text(text)
    first = call(sys.executable, "my_model.py", folder=tmp_path)
    deviations = [float(number) for number in re.findall(r"-?\d+\.\d+", first.stdout)]
    assert len(deviations) == 6
    assert max(map(abs, deviations)) < 4
    assert "6 cells (learning_rate 3 x noise_std 2) x 2000 seeds, 1 compilation" in first.stderr
    again = call(sys.executable, "my_model.py", folder=tmp_path)
    assert again.stdout == first.stdout
    assert "compilation" not in again.stderr
    asked = text[text.index("    grid = ") : text.index("    mean, error")].replace("    ", "")
    shown = re.sub(r"^(agreement\(result\))", r"print(\1)", notebook, flags=re.MULTILINE)
    shown = shown.replace("draw(result)", "draw(result).savefig('shown.png')")
    (tmp_path / "shown.py").write_text(f"from my_model import *\n{asked}{shown}")
    assert call(sys.executable, "shown.py", folder=tmp_path).stdout.count("agrees\n") == 6
    assert (tmp_path / "shown.png").exists()
    (line,) = re.findall(r"^    closedform (sweep .*)$", (GUIDE / "sweep_your_own_model.md").read_text(), flags=re.MULTILINE)
    table = closedform(*line.split(), folder=tmp_path)
    assert table.stdout.count("agrees") == 6
    assert "compilation" not in table.stderr


@pytest.mark.parametrize("page", sorted({path.stem for path in GUIDE.glob("*.md")} - {"add_a_paper"}))  # it brings its own
def test_what_the_programs_of_a_page_import_exists(page):
    for module, name in imports(page):
        found = importlib.import_module(module)
        assert hasattr(found, name) or importlib.import_module(f"{module}.{name}"), f"{module}.{name}"


@pytest.mark.parametrize("page", sorted(path.stem for path in GUIDE.glob("*.md")))
def test_links_and_commands_of_a_page_exist(page):
    """Every relative link leads somewhere, and every option of `closedform` on the page is one that it has."""
    from closedform import commands as known_commands

    text = (GUIDE / f"{page}.md").read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (GUIDE / target).exists(), target
    source = "".join(path.read_text() for path in Path(known_commands.__file__).parent.glob("*.py"))
    known = {"help", "config"} | {name.replace("_", "-") for name in re.findall(r"^    (\w+): ", source, flags=re.MULTILINE)}
    for words in commands(page):
        assert words[0] in known_commands.names()
        for option in re.findall(r" --([a-z-]+)", " ".join(words)):
            assert option in known, option


@pytest.mark.slow("docs/guide/global_optimum.md", *imported("global_optimum"))
def test_global_optimum(tmp_path):
    """The program's pieces, run as one: a proof for a random network, the optimum three times, and a falling path."""
    pieces = re.findall(r"```python\n(.*?)```", (GUIDE / "global_optimum.md").read_text(), flags=re.DOTALL)
    (tmp_path / "optimum.py").write_text("\n".join(pieces))
    printed = call(sys.executable, "optimum.py", folder=tmp_path).stdout
    assert "proved: True" in printed
    assert printed.count("1.2750920") == 3  # the value of the specification's table, as program, network and grown
    assert re.search(r"^\d+ neurons$", printed, flags=re.MULTILINE)
    path = [float(number) for number in re.findall(r"\d\.\d+", printed[printed.index("[") :])]
    assert path == sorted(path, reverse=True)
    assert len(path) == 4


@pytest.mark.slow("docs/guide/learning_curve.md", *imported("learning_curve"))
def test_learning_curve(tmp_path):
    """A curve in fifteen lines, which falls, and the simulation beside it."""
    pieces = re.findall(r"```python\n(.*?)```", (GUIDE / "learning_curve.md").read_text(), flags=re.DOTALL)
    assert len([line for line in pieces[0].splitlines() if line.strip()]) <= 15
    (tmp_path / "curve.py").write_text("\n".join(pieces))
    printed = call(sys.executable, "curve.py", folder=tmp_path).stdout
    errors = [float(number) for number in re.findall(r"test error (\d\.\d+)", printed)]
    assert len(errors) == 9
    assert errors == sorted(errors, reverse=True)
    simulated, predicted = (
        [float(number) for number in part.split()] for part in re.findall(r"\[([^\]]*)\]", printed[printed.index("[") :])
    )
    assert all(abs(a / b - 1) < 0.15 for a, b in zip(simulated, predicted, strict=True))  # ten data sets
    assert simulated != predicted


@pytest.mark.slow("docs/guide/deep_linear_network.md", *imported("deep_linear_network"))
def test_deep_linear_network(tmp_path):
    """Curves in fifteen lines, in which modes are learned in the order of the spectrum, and gradient descent on them."""
    pieces = programs("deep_linear_network")
    assert len([line for line in pieces[0].splitlines() if line.strip()]) <= 15
    (tmp_path / "curves.py").write_text("\n".join(pieces))
    printed = call(sys.executable, "curves.py", folder=tmp_path).stdout
    curves = np.array([numbers(line)[1:] for line in printed.splitlines() if line.startswith("t = ") and line.count("ed") == 0])
    assert curves.shape == (7, 4)
    np.testing.assert_allclose(curves[-1], [4, 2, 1, 0.5], atol=0.01)
    learned = np.argmax(curves > np.array([4, 2, 1, 0.5]) / 2, axis=0)
    assert list(learned) == sorted(learned)
    assert learned[0] < learned[-1]
    both = [[numbers(line)[1:] for line in printed.splitlines() if name in line] for name in ("simulated", "predicted")]
    assert np.shape(both) == (2, 4, 4)
    np.testing.assert_allclose(*both, atol=0.02)  # the lag of steps at s = 4, t = 4


@pytest.mark.slow("docs/guide/your_own_loss.md", *imported("your_own_loss"))
def test_your_own_loss(tmp_path):
    """The curve of a loss in twenty lines: it falls, and fits lie on it."""
    pieces = programs("your_own_loss")
    assert len([line for line in pieces[0].splitlines() if line.strip()]) <= 20
    (tmp_path / "curve.py").write_text("\n".join(pieces))
    printed = call(sys.executable, "curve.py", folder=tmp_path).stdout
    rows = {
        (kind, float(ratio)): (float(error), float(norm))
        for kind, ratio, error, norm in re.findall(r"(\w+)  n/d = (\d\.\d)   error (\d\.\d+)   \|w\|\^2/d (\d+\.\d+)", printed)
    }
    assert len(rows) == 6
    errors = [rows["predicted", ratio][0] for ratio in (0.5, 1.0, 2.0, 4.0)]
    assert errors == sorted(errors, reverse=True)
    for ratio in (1.0, 4.0):  # ten data sets: the standard error of either is 1 to 1.5 %
        np.testing.assert_allclose(rows["simulated", ratio], rows["predicted", ratio], rtol=0.05)
        assert rows["simulated", ratio] != rows["predicted", ratio]


@pytest.mark.slow("docs/guide/from_paper_to_verdict.md", *imported("from_paper_to_verdict"))
def test_from_paper_to_verdict(tmp_path):
    """Its programs, as one: the orders that the page goes on to speak of, and measured constants at the predicted ones."""
    (tmp_path / "verdict.py").write_text("\n".join(programs("from_paper_to_verdict")))
    first, second, *lines = call(sys.executable, "verdict.py", folder=tmp_path).stdout.splitlines()
    constants = [float(line.split()[-2]) for line in (first, second)]
    assert (first.split(",")[0], second.split(",")[0]) == ("sequential: order 1", "macaron: order 1")
    assert constants[1] < constants[0]
    assert len(lines) == 6
    for line, constant in zip(lines, np.repeat(constants, 3), strict=True):
        measured, predicted = numbers(line)
        assert predicted == constant
        assert measured == pytest.approx(constant, rel=0.01)
    assert find("ode_transformer/orders").presets["quick"]  # the experiment that it shows


@pytest.mark.slow
def test_reproduce(tmp_path):
    """The commands of the page in their order, at the quick size: what each prints, leaves and does not compute again."""
    page = commands("reproduce")
    assert " ".join(words[0] for words in page) == "list reproduce reproduce reproduce agree run run run reproduce run"
    listed, first, again, more, table, explain, other, wrong, preset, noisy = page
    assert "xor/phases" in closedform(*listed, folder=tmp_path).stdout

    quick = ["--preset", "quick"]
    done = closedform(*first, *quick, folder=tmp_path)
    fields = ("signal", "opposite", "perp_norm", "readout")
    assert all(field in done.stdout for field in fields)
    assert done.stdout.count("agrees") == len(fields)
    figures = [tmp_path / f"results/xor/phases-quick.{suffix}" for suffix in ("png", "pdf")]
    assert [line for line in done.stdout.splitlines() if line.startswith("results")] == [
        str(path.relative_to(tmp_path)) for path in figures
    ]
    drawn = [path.read_bytes() for path in figures]
    (stored,) = tmp_path.glob("results/xor/phases/*/*.nc")
    written = stored.stat().st_mtime_ns

    assert again == first
    assert closedform(*again, *quick, folder=tmp_path).stdout == done.stdout
    assert [path.read_bytes() for path in figures] == drawn
    assert stored.stat().st_mtime_ns == written

    text = program("reproduce").replace('run("xor/phases")', f'run("xor/phases", {find("xor/phases").presets["quick"]})')
    (tmp_path / "read.py").write_text(text)
    mean, error, predicted = numbers(call(sys.executable, "read.py", folder=tmp_path).stdout)
    assert abs(mean - predicted) < 5 * error + 0.02 * predicted
    assert stored.stat().st_mtime_ns == written

    assert more[-2:] == ["--seeds", "16"]
    sixteen = closedform(*more, *quick, folder=tmp_path).stdout
    assert len(re.findall(r" 16  agrees", sixteen)) == len(fields)
    assert closedform(*table, *quick, folder=tmp_path).stdout.splitlines() == [
        line for line in sixteen.splitlines() if not line.startswith("results")
    ]

    shown = closedform(*explain, folder=tmp_path).stdout
    assert "input dimension, paper d (a whole number of at least 1; default: 64)" in " ".join(shown.split())
    made = closedform(*other, *quick, folder=tmp_path).stdout
    assert [Path(line).suffix for line in made.splitlines() if line.startswith("results")] == [
        Path(line).suffix for line in printed_on("reproduce", "results/xor/phases/")
    ]
    assert all((tmp_path / line).exists() for line in made.splitlines() if line.startswith("results"))
    config = replace(find("xor/phases").default_config(), {"model.dim": 100})
    cell = cell_name("xor/phases", 0, as_dict(config))
    assert f"{cell[:2]}/{cell}-" in printed_on("reproduce", "results/xor/phases/")[0]

    said = closedform(*wrong, folder=tmp_path, code=2).stderr.strip()
    assert said == printed_on("reproduce", "closedform: unknown")[0]
    assert preset[2:] == quick

    small = find("xor/samples").presets["quick"]
    overrides = [word for path, value in small.items() for word in (f"--config.{path}", str(value)) if path != "batch_noise"]
    sizes = closedform(*noisy, *overrides, "--seeds", "2", folder=tmp_path)
    assert "no verdict" not in sizes.stdout


@pytest.mark.slow
def test_agreement(tmp_path):
    """By hand and by the table, the same numbers; a hundred seeds do not find the wrong formula, a thousand do."""
    (tmp_path / "variance.py").write_text(program("agreement"))
    by_hand = call(sys.executable, "variance.py", folder=tmp_path).stdout.splitlines()
    on_page = printed_on("agreement", "100 seeds")
    assert [line.split()[-1] for line in by_hand] == ["agrees", "agrees", "agrees", "DISAGREES"]
    for line, other in zip(by_hand, on_page, strict=True):
        assert numbers(line) == pytest.approx(numbers(other), rel=0.05)  # the deviations have two digits
        assert line.split()[-1] == other.split()[-1]
    (command,) = commands("agreement")
    table = closedform(*command, folder=tmp_path, code=1).stdout.splitlines()
    for field, verdict in (("right", "agrees"), ("wrong", "DISAGREES")):
        (row,) = (line for line in table if f" {field} " in line)
        (shown,) = (line for line in printed_on("agreement", "experiment") if f" {field} " in line)
        (hand,) = (line for line in by_hand if line.startswith(f"1000 seeds, {field}"))
        assert numbers(row) == pytest.approx(numbers(shown), rel=0.05)
        assert numbers(re.sub(r"\S+ %", "", row))[-4:] == numbers(hand)  # mean, standard error, deviation, allowance
        assert row.split()[-1] == shown.split()[-1] == verdict
    closedform("run", "variance.py:simulate", "--seeds", "100", folder=tmp_path)  # exit code 0


def test_the_odds_on_the_agreement_page():
    """How often a right prediction is refused: the normal law with many seeds, Student's with eight."""
    text = (GUIDE / "agreement.md").read_text()
    once_in = [1 / (2 * law.sf(z)) for law in (stats.norm, stats.t(7)) for z in (agreement.Z_NUMBER, agreement.Z_CURVE)]
    assert once_in == pytest.approx([16_000, 1.7e6, 190, 640], rel=0.03)
    for words in ("once in 16,000 numbers", "once in 1.7 million points", "once in 190 numbers or 640 points"):
        assert words in " ".join(text.split())


@pytest.mark.slow("docs/guide/precision.md", *imported("precision"))
def test_precision(tmp_path):
    """The numbers of the page, from its program: float64 to their digits, float32 as far as its rounding lets it be."""
    _, measure, bits = programs("precision")
    (tmp_path / "measure.py").write_text(measure)
    found = call(sys.executable, "measure.py", folder=tmp_path).stdout.splitlines()
    page = printed_on("precision", "float32")
    assert len(found) == len(page) == 14
    single, double, on_page = ([numbers(line) for line in lines] for lines in (found[1:7], found[8:], page[8:]))
    assert (found[0], found[7]) == (page[0], page[7]) == ("float32", "float64")
    assert [len(line) for line in single] == [len(line) for line in double] == [1, 1, 1, 2, 2, 2]
    for here, there in zip(double, on_page, strict=True):
        assert here == pytest.approx(there, rel=0.06)  # two digits
    # gamma is near 1, where floats of 32 bits are 6e-8 apart: one rounding each by the function and by the solver
    for lines in (single, [numbers(line) for line in page[1:7]]):
        for here, there in zip(lines[:3], double[:3], strict=True):
            assert here == pytest.approx(there, rel=0.06, abs=1.3e-7)
        # A decomposition of K (100 rows, norm 44) in float32 is that of a matrix 100 * 6e-8 * 44 away, LAPACK's bound, in
        # norm. The weights on the training points, of norm 2.5, turn that into 6.6e-4 in the outputs on 100 points: a tenth
        # of that for each, root mean square; as much again from the products with K. Less than the error itself early on.
        for here, there in zip(lines[3:], double[3:], strict=True):
            assert here == pytest.approx(there, rel=0.06, abs=1.3e-4)
        # late, and not early, float32 does worse than float64 (by how much is a matter of the processor: 4 to 10 times)
        assert lines[3] == pytest.approx(double[3], rel=0.06)
        assert all(here > there for here, there in zip(lines[5], double[5], strict=True))

    (tmp_path / "bits.py").write_text(bits)
    together = call(sys.executable, "bits.py", folder=tmp_path).stdout
    assert "one by one: the same bits" in together
    assert float(re.findall(r"off by (\S+) at most", together)[0]) < 1e-5


@pytest.fixture
def checkout(tmp_path):
    """A copy of the tracked files that is imported as closedform: its folder, and the variables that make it so."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (tmp_path / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "checkout" / name)
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "closedform").symlink_to(tmp_path / "checkout", target_is_directory=True)
    return tmp_path / "checkout", {"PYTHONPATH": str(tmp_path / "path")}


@pytest.mark.slow("docs/guide/add_a_paper.md", "sweeps/api.py", "tests/test_experiments.py", "tests/test_contracts.py")
def test_add_a_paper(checkout):
    """The page's files in a copy of the repository: reproduced, drawn, accepted by the contract tests, and seen to fail."""
    (folder, variables), command = checkout, (sys.executable, "-m", "closedform")
    text = (GUIDE / "add_a_paper.md").read_text()
    for line in re.findall(r"^    ((?:mkdir|touch) .*)$", text, flags=re.MULTILINE):
        call(*line.split(), folder=folder)
    files = re.findall(r"^`([\w/]+\.py)`\n\n```python\n(.*?)```", text, flags=re.MULTILINE | re.DOTALL)
    assert [path.split("/")[0] for path, _ in files] == ["theory", "models", "experiments", "figures", "tests"]
    for path, source in files:
        assert not (folder / path).exists()
        (folder / path).write_text(source)
    reproduce, again = commands("add_a_paper")

    table = call(*command, *reproduce, folder=folder, **variables)
    assert table.stdout.count("agrees") == 6
    assert "1 compilation" in table.stderr
    assert (folder / "results/online_regression/learning_rates.png").stat().st_size > 10_000

    (tests,) = re.findall(r"^    pytest (.*)$", text, flags=re.MULTILINE)
    pytest_ = (sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider")
    checked = call(*pytest_, *shlex.split(tests), folder=folder, **variables)
    assert int(re.findall(r"\b(\d+) passed", checked.stdout)[0]) >= 19
    call(sys.executable, "-m", "ruff", "check", *[path for path, _ in files], folder=folder)
    call(sys.executable, "-m", "ruff", "format", "--check", *[path for path, _ in files], folder=folder)

    theory = folder / files[0][0]
    right = theory.read_text()
    wrong = right.replace("return (learning_rate", "return 2 * (learning_rate")
    assert wrong != right
    theory.write_text(wrong)
    broken = call(*command, *again, folder=folder, code=1, **variables)
    assert broken.stdout.count("DISAGREES") == 3
    assert broken.stdout.count("agrees") == 3
    assert "compilation" not in broken.stderr

    theory.write_text(right)
    experiment = folder / files[2][0]
    source = experiment.read_text()
    experiment.write_text(source.replace("p - config.learning_rate * g", "p - 2 * config.learning_rate * g"))
    assert experiment.read_text() != source
    stale = call(*command, *reproduce, folder=folder, code=4, **variables)
    assert "stale" in stale.stderr
    assert "DISAGREES" not in stale.stdout
