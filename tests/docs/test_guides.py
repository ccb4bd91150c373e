"""The guide pages' programs and commands, run as the pages have them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guide"


def program(page):
    (text,) = re.findall(r"```python\n(.*?)```", (GUIDE / f"{page}.md").read_text(), flags=re.DOTALL)
    return text


def call(*command, folder, code=0):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "COLUMNS": "160"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    return done


def test_sweep_your_own_model(tmp_path):
    """The program, a second run that computes nothing, and the command of the page, which finds what the program stored."""
    text = program("sweep_your_own_model")
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
    (line,) = re.findall(r"^    closedform (sweep .*)$", (GUIDE / "sweep_your_own_model.md").read_text(), flags=re.MULTILINE)
    table = call(sys.executable, "-m", "closedform", *line.split(), folder=tmp_path)
    assert table.stdout.count("agrees") == 6
    assert "compilation" not in table.stderr


@pytest.mark.parametrize("page", sorted(path.stem for path in GUIDE.glob("*.md")))
def test_links_and_commands_of_a_page_exist(page):
    """Every relative link leads somewhere, and every option of `closedform` on the page is one that it has."""
    import closedform.__main__ as command_line

    text = (GUIDE / f"{page}.md").read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (GUIDE / target).exists(), target
    source = Path(command_line.__file__).read_text()
    known = {name.replace("_", "-") for name in re.findall(r"^    (\w+): ", source, flags=re.MULTILINE)}
    commands = re.findall(r"^    closedform .*(?:\\\n.*)*", text, flags=re.MULTILINE)
    for option in set(re.findall(r" --([a-z-]+)", "\n".join(commands))):
        assert option in known, option


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
