"""What modules say of themselves."""

import pytest

from closedform.gallery import modules, overview
from closedform.sweeps import UsageError, find, names
from closedform.sweeps.contract.experiment import read_about


def test_the_parts_of_a_primitive_are_its_docstring():
    parts = modules.sections("theory/feature_learning/xor")
    assert list(parts) == ["", "About", "Formula", "Regime", "Factors", "Source", "Finite size", "Example"]
    assert parts[""].startswith("One neuron under minibatch SGD on XOR")
    assert "paper symbol" in parts["Regime"]
    assert ">>> " in parts["Example"]


@pytest.mark.parametrize("name", names())
def test_what_is_read_from_the_source_is_what_the_module_says(name):
    about = read_about(modules.document(f"experiments/{name}"))
    assert about == find(name).about()
    assert about.claim.endswith(".")
    assert "$$" in about.body
    assert "Cost" not in about.source


def test_uses_and_users_are_two_sides_of_one_thing():
    used = set(modules.uses("experiments/xor/phases"))
    assert {"theory/feature_learning/xor_mean_field", "models/fully_connected/two_layer", "tasks/xor"} <= used
    for folder in modules.PRIMITIVES:
        for name in modules.names(folder):
            assert all(name in modules.uses(user) for user in modules.users(name))
    assert modules.users("theory/transformers/equiangular_tokens") == [
        f"experiments/token_clustering/{name}" for name in ("equiangular", "phase_diagram")
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("xor/phases", ["experiments/xor/phases"]),
        ("experiments/xor/phases.py", ["experiments/xor/phases"]),
        ("theory.feature_learning.xor", ["theory/feature_learning/xor"]),
        ("closedform.theory.feature_learning.xor", ["theory/feature_learning/xor"]),
        ("layer_reorder", [f"experiments/layer_reorder/{name}" for name in ("slopes", "sublayers", "trained", "windows")]),
    ],
)
def test_a_person_names_modules(text, found):
    assert modules.resolve(text) == found


def test_a_name_of_nothing_is_told_with_the_nearest():
    with pytest.raises(UsageError, match=r"xor/phasis.*nearest: xor/phases"):
        modules.resolve("xor/phasis")


def test_code_is_that_of_the_functions_alone():
    text = modules.code("experiments/xor/phases", ["predict"])
    assert text.startswith("def predict(")
    assert "def observe" not in text
    assert {"predict", "predict_noiseless", "observe"} <= set(modules.functions("experiments/xor/phases"))


def rows(table):
    """{topic: a set of names for each further column}."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n") if line.startswith("| ")]
    return {topic: [set(cell.split(", ")) for cell in others] for topic, *others in cells[1:]}


def test_the_table_of_the_readme_names_what_there_is():
    """It may lag behind new papers, which edit no other file; it names nothing that has gone."""
    readme = (modules.ROOT / "README.md").read_text()
    shown, now = rows(readme.partition("<!-- overview -->")[2].partition("<!-- /overview -->")[0]), rows(overview.table())
    assert shown
    for topic, columns in shown.items():
        assert all(old <= new for old, new in zip(columns, now[topic], strict=True)), topic
    assert rows(overview.with_table(readme).partition("<!-- overview -->")[2].partition("<!-- /overview -->")[0]) == now
    with pytest.raises(ValueError, match="around its table"):
        overview.with_table("no table")
