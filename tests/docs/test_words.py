"""Pages that are made from sources: links to the glossary, and which function answers which question. No site is built."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from closedform.gallery import modules

DOCS = Path(__file__).parents[2] / "docs"


def extension(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


glossary, questions = extension("_glossary"), extension("_questions")
PRIMITIVES = [name for folder in modules.PRIMITIVES for name in modules.names(folder)]

TABLE = """Before a ridge.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $d$ | `ridge` | ridge | the `ridge`, a Ridge, one more ridge and effective ridges |
| $m$ | `m` | `()` | multiplicities $kernel$ of ridges, cartridge |

After a ridge.
"""


def test_words_of_a_symbol_table_are_linked_once_and_nothing_else_is():
    linked = glossary.linked(TABLE, "../../")
    rows = [line for line in linked.split("\n") if line.startswith("|")]
    assert rows[2] == "| $d$ | `ridge` | ridge | the `ridge`, a {term}`Ridge <ridge>`, one more ridge and " \
        "{term}`effective ridges <effective ridge>` |"  # fmt: skip
    assert rows[3] == "| $m$ | `m` | `()` | {term}`multiplicities <multiplicity>` $kernel$ of ridges, cartridge |"
    assert linked.count("the [glossary](../../glossary.md)") == 1
    assert linked.startswith("Before a ridge.\n")
    assert linked.endswith("After a ridge.\n")
    other = "| field | meaning |\n|---|---|\n| a | ridge |\n"  # no symbol table
    assert glossary.linked(other, "") == other


def test_every_symbol_table_leads_to_the_glossary_and_most_have_a_word_of_it():
    with_table, with_word = 0, 0
    for name in PRIMITIVES:
        document = modules.document(name)
        tables = len(re.findall(r"^\| paper.*\|$", document, flags=re.MULTILINE))
        linked = glossary.linked(document, "")
        assert linked.count("the [glossary](glossary.md)") == tables, name
        with_table += bool(tables)
        with_word += "{term}`" in linked
    assert with_table > 40
    assert with_word > 0.8 * with_table


def test_every_word_of_the_glossary_is_one_of_some_docstring():
    """A word that no module uses explains nothing."""
    text = " ".join(" ".join(modules.document(name) for name in PRIMITIVES).lower().split())
    assert not {word for word in glossary.words().values() if not re.search(rf"\b{re.escape(word.lower())}", text)}


def public(name):
    """Functions of a module with the first paragraph of their docstrings, by a walk of its own."""
    for node in ast.parse((modules.ROOT / f"{name}.py").read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, (ast.get_docstring(node) or "").split("\n")[0]


def test_every_public_function_stands_below_a_question_with_its_first_line():
    page = questions.page(lambda text: text)
    answers = dict(re.findall(r"^- \{py:func\}`\w+ <closedform\.([\w.]+)>`: (.*)$", page, flags=re.MULTILINE))
    expected = {f"{name.replace('/', '.')}.{function}": line for name in PRIMITIVES for function, line in public(name)}
    assert set(answers) == set(expected)
    assert all(answers[name].startswith(" ".join(line.split())) for name, line in expected.items())
    headings = re.findall(r"^## (.*)$", page, flags=re.MULTILINE)
    assert all(heading.endswith("?") for heading in headings)
    assert len(headings) == len(set(headings)) == len({name.rpartition("/")[0] for name in PRIMITIVES})


def test_a_folder_without_a_question_is_named(monkeypatch):
    monkeypatch.setattr(modules, "document", lambda name: "Kernels of networks.")
    with pytest.raises(ValueError, match=r"^theory/convex/__init__.py: the docstring must have a paragraph \"Question"):
        questions.page(str)
