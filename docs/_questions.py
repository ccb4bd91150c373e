"""The page "which function do I want": every public function and container, by the question that its folder answers.

Nothing is listed here. The question stands in the docstring of a folder ("Question. ..."); what a module or a function says is
its own first sentence.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from closedform.gallery import modules


def page(escaped: Callable[[str], str]) -> str:
    """The questions, then each as a heading over its modules and what is in them, with their first sentences."""
    asked = list(questions())
    links = [f"- [{escaped(question)}](#{_place(folder)})" for folder, question in asked]
    return "\n".join([*links, "", *(line for one in asked for line in _answer(*one, escaped))])


def questions() -> Iterator[tuple[str, str]]:
    """(folder, question) for every folder that holds public modules, in the order of the house. A folder without one fails."""
    for top in modules.PRIMITIVES:
        for folder in sorted({name.rpartition("/")[0] for name in modules.names(top)}):
            found = re.search(r"^Question\. (.+?\?)$", modules.document(f"{folder}/__init__"), flags=re.MULTILINE | re.DOTALL)
            if found is None:
                raise ValueError(f'{folder}/__init__.py: the docstring must have a paragraph "Question. ...?", and has none')
            yield folder, " ".join(found[1].split())


def public(name: str) -> Iterator[tuple[str, str, str]]:
    """(role, name, first sentence) of the public functions and NamedTuples of a module, in the order of the source."""
    for node in ast.parse((modules.ROOT / f"{name}.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            first = (ast.get_docstring(node) or "").split("\n\n")[0]
            if first:
                yield ("func" if isinstance(node, ast.FunctionDef) else "class"), node.name, " ".join(first.split())


def _place(folder: str) -> str:
    return f"question-{folder.replace('/', '-').replace('_', '-')}"


def _answer(folder: str, question: str, escaped: Callable[[str], str]) -> Iterator[str]:
    yield f"({_place(folder)})=\n\n## {escaped(question)}\n"
    for name in modules.names(folder.split("/")[0]):
        if name.rpartition("/")[0] != folder:
            continue
        yield f"### [{name}]({name}.md)\n"
        yield f"{escaped(modules.sections(name)[''])}\n"
        dotted = f"closedform.{name.replace('/', '.')}"
        for role, part, first in public(name):
            yield f"- {{py:{role}}}`{part} <{dotted}.{part}>`: {escaped(first)}"
        yield ""
