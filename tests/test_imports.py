"""The walls between folders and topics, kept by import-linter's contracts in pyproject.toml: they stand, and they hold."""

import shutil
import subprocess
import sys
from pathlib import Path

import closedform

ROOT = Path(closedform.__file__).parent
FOLDERS = ("models", "tasks", "theory", "solvers", "sweeps", "experiments", "figures", "gallery", "benchmarks", "commands")
STRANGERS = {  # a file, what it must not import, and words of the contract that says so
    "theory/kernels/harmonics.py": ("from ...models.fully_connected import two_layer", "theory and models share no code"),
    "models/_example.py": ("from ..solvers import descent", "know nothing of what is made of them"),
    "solvers/descent.py": ("from ..tasks import xor", "solvers import models, and theory"),
    "sweeps/contract/names.py": ("from ..results import store", "of the rooms of sweeps a later one imports the earlier"),
    "experiments/xor/phases.py": ("import closedform.figures", "experiments draw nothing"),
    "figures/_style.py": ("from closedform.theory.feature_learning import xor", "figures and gallery see stored results"),
    "figures/_generic.py": ("from .. import gallery", "figures do not import the gallery"),
    "theory/convex/convex_relu.py": ("from ..feature_learning import xor", "a topic of theory imports itself"),
    "theory/numerics/roots.py": ("from ..gaussian import pairs", "kernels stand on gaussian"),
}


def linted(folder):
    """What lint-imports says of the package in a folder."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_every_wall_holds_and_a_hole_in_any_is_found(tmp_path):
    package = tmp_path / "closedform"
    python = shutil.ignore_patterns("__pycache__", "*.css", "*.woff2")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, package / folder, ignore=python)
    for path in ROOT.glob("*.py"):
        shutil.copy(path, package)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    right = linted(tmp_path)
    assert right.returncode == 0, right.stdout
    assert right.stdout.count("KEPT") == len(STRANGERS)
    topic = package / "theory" / "new_topic"  # covered without a line in pyproject
    topic.mkdir()
    (topic / "__init__.py").write_text("")
    (topic / "law.py").write_text("from ..transformers import splitting\n")
    for name, (line, _) in STRANGERS.items():
        path = package / name
        path.write_text(f"{path.read_text()}\n{line}\n")
    wrong = linted(tmp_path)
    said = " ".join(wrong.stdout.split())
    assert wrong.returncode == 1
    assert "0 kept" in said
    assert "closedform.theory.new_topic" in said
    for _, words in STRANGERS.values():
        assert any(words in one for one in said.split(" BROKEN")[:-1]), words
