"""Sphinx extension: writes a page for every experiment and every primitive before the sources are read, and draws formulas.

The pages are Markdown. What they say comes from the modules (gallery/modules.py) and from stored results (gallery/entries.py);
figures and tables are those of `closedform report`. Nothing here names a paper.
"""

from __future__ import annotations

import ast
import html
import inspect
import os
import re
from pathlib import Path
from typing import Any

import _glossary
import _questions
import _shown
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from closedform import sweeps
from closedform.benchmarks import goals
from closedform.gallery import bibliography, collection, modules, pages
from closedform.gallery.entries import Entry, entry
from closedform.gallery.markup import block, fenced, formula

HERE = Path(__file__).resolve().parent
GENERATED = HERE / "_generated"
FOLDERS = {
    "theory": (
        "Theory",
        "Predictions: pure functions of numbers and arrays. Each page says where a formula comes from: derived here, read in "
        "the paper, in its abstract, in reviews or in public code, or recalled and not read again.",
    ),
    "models": (
        "Models",
        "Networks: pure functions `init(key, config)` and `apply(params, x)`. Processes have `step(state, config)` instead.",
    ),
    "solvers": ("Solvers", "From data to parameters, other than by steps of an optimizer."),
    "tasks": ("Tasks", "Data: distributions to sample from, and data sets."),
}
_COMPUTED = ("init", "step", "num_steps", "observe", "steps", "simulate")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("results_folders", [], "env")
    app.add_config_value("experiments_shown", None, "env")
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_displayed_formula, None))
    app.add_directive("experiment", _shown.Experiment)
    app.connect("builder-inited", write_pages)
    app.connect("doctree-read", refer_exactly)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


# --- formulas ---------------------------------------------------------------------------------------------------------


def _inline_formula(translator: Any, node: nodes.math) -> None:
    translator.body.append(f'<span class="math">{formula(node.astext())}</span>')
    raise nodes.SkipNode


def _displayed_formula(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(
        f'<div class="math" tabindex="0" role="group" aria-label="formula">{formula(node.astext(), display=True)}</div>'
    )
    raise nodes.SkipNode


def refer_exactly(app: Sphinx, tree: nodes.document) -> None:
    """A name in a signature is one of its own module or a whole one, never that of any module which has one like it."""
    for reference in tree.findall(addnodes.pending_xref):
        if not reference.get("refspecific", True):
            del reference["refspecific"]


# --- what is written --------------------------------------------------------------------------------------------------


def write_pages(app: Sphinx) -> None:
    """Write every generated page and figure; what has not changed is left alone, what is no longer wanted goes."""
    print("closedform: results", ", ".join(map(os.fspath, app.config.results_folders)))
    chosen = app.config.experiments_shown.split(",") if app.config.experiments_shown else None
    found = collection.collect(
        app.config.results_folders, GENERATED / "results", say=lambda line: print(f"closedform: {line}"), chosen=chosen
    )
    entries = {name: entry(stored, small) for name, (stored, small) in found.items()}
    wanted: dict[Path, bytes] = {}
    for name, one in entries.items():
        wanted[HERE / "experiments" / f"{name}.md"] = experiment_page(one).encode()
        wanted[_shown.SHOWN / f"{name}.md"] = _shown.page(one).encode()
        if one.picture:
            wanted[GENERATED / "static" / "figures" / f"{name}.png"] = one.picture.png
            wanted[GENERATED / "static" / "thumbnails" / f"{name}.png"] = one.picture.thumbnail
            if one.picture.film:
                wanted[GENERATED / "static" / "figures" / f"{name}.gif"] = one.picture.film
    for paper in sorted({name.split("/")[0] for name in entries}):
        mine = [one for name, one in entries.items() if name.split("/")[0] == paper]
        wanted[HERE / "experiments" / paper / "index.md"] = paper_page(paper, mine).encode()
    for folder in FOLDERS:
        for name in modules.names(folder):
            wanted[HERE / f"{name}.md"] = primitive_page(name, entries).encode()
        wanted[HERE / folder / "index.md"] = folder_page(folder).encode()
    wanted[GENERATED / "front.md"] = front(entries).encode()
    wanted[GENERATED / "engine.md"] = engine().encode()
    wanted[GENERATED / "benchmarks.md"] = goals.page(sorted((HERE / "benchmarks").glob("*.json"))).encode()
    wanted[GENERATED / "which_function.md"] = _questions.page(escaped).encode()
    for folder in (*(HERE / name for name in (*FOLDERS, "experiments")), GENERATED / "static", _shown.SHOWN):
        for path in folder.rglob("*"):
            if path.is_file() and path not in wanted:
                path.unlink()
    for path, content in wanted.items():
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def title_of(paper: str) -> str:
    """What the docstring of the paper's folder begins with, up to a colon; or its name in words."""
    first = modules.document(f"experiments/{paper}/__init__").partition("\n")[0]
    return first.partition(":")[0].rstrip(".") or paper.replace("_", " ").capitalize()


def raw(text: str) -> str:
    """HTML as it is, inside Markdown."""
    return block("{raw} html", text)


def folded(summary: str, text: str) -> str:
    return f"{raw(f'<details><summary>{html.escape(summary)}</summary>')}\n{text}\n{raw('</details>')}"


def code(text: str, language: str = "python") -> str:
    return block(language, text)


def experiment_page(one: Entry) -> str:
    """One experiment: claim, formula, figure, agreement, command, config, cost, code."""
    name, module = one.name, f"experiments/{one.name}"
    up = "../" * 2
    film = f"{up}_static/figures/{name}.gif" if one.picture and one.picture.film else ""
    parts = [
        f"# {name}\n",
        raw(f'<p class="cf-lead">{html.escape(one.about.claim)} {pages.part("badge", one)}</p>'),
        one.about.body + "\n",
        raw(pages.part("figure", one, f"{up}_static/figures/{name}.png", film)),
        "## Agreement\n",
        raw(pages.part("agreement", one)),
    ]
    if one.small:
        parts.append(
            "These numbers come from sizes that take a second. The allowances are made for the experiment's own sizes, "
            "which the command below computes.\n"
        )
    parts += [
        "## Do it again\n",
        code(f"closedform reproduce {name}", "shell"),
        f"On two CPU cores: {one.about.cost}. [What is printed](../../guide/reproduce.md), "
        "[how to read the table](../../guide/agreement.md).\n",
        "## Config\n",
        raw(pages.part("settings", one)),
        "## Where the numbers come from\n",
        raw(pages.part("origin", one)),
        f"Source: {escaped(one.about.source)}.\n",
        cited(module),
        "It is made of " + linked(modules.uses(module), up) + ".\n",
        "## Code\n",
        folded("simulate: " + ", ".join(_COMPUTED), code(modules.code(module, list(_COMPUTED)))),
        folded("predict", code(modules.code(module, [n for n in modules.functions(module) if n.startswith("predict")]))),
        folded("the whole module", code((modules.ROOT / f"{module}.py").read_text())),
    ]
    return "\n".join(parts)


def linked(names: list[str], up: str) -> str:
    """Links to the pages of modules."""
    links = [f"[{name}]({up}{name}.md)" for name in names if not name.startswith("experiments/")]
    return ", ".join(links) if links else "nothing else of this package"


def cited(module: str) -> str:
    """The papers of a module, as links into the bibliography."""
    keys = bibliography.citations(module)
    return ("To cite: " + ", ".join(f"{{cite:t}}`{key}`" for key in keys) + ".\n") if keys else ""


def paper_page(paper: str, mine: list[Entry]) -> str:
    cards = "".join(
        pages.part("card", one, f"{one.name.split('/')[1]}.html", f"../../_static/thumbnails/{one.name}.png") for one in mine
    )
    listed = "\n".join("{0} <{0}>".format(one.name.split("/")[1]) for one in mine)
    return "\n".join(
        [
            f"# {title_of(paper)}\n",
            escaped(modules.document(f"experiments/{paper}/__init__")) + "\n",
            code(f"closedform reproduce {paper}", "shell"),
            raw(f'<ul class="cf-cards">{cards}</ul>'),
            f"```{{toctree}}\n:hidden:\n\n{listed}\n```\n",
        ]
    )


def front(entries: dict[str, Entry]) -> str:
    """Every experiment as a card, paper by paper."""
    parts = []
    for paper in sorted({name.split("/")[0] for name in entries}):
        mine = [one for name, one in entries.items() if name.split("/")[0] == paper]
        cards = "".join(
            pages.part("card", one, f"experiments/{one.name}.html", f"_static/thumbnails/{one.name}.png") for one in mine
        )
        parts += [f"### [{title_of(paper)}](experiments/{paper}/index.md)\n", raw(f'<ul class="cf-cards">{cards}</ul>')]
    listed = "\n".join(f"experiments/{paper}/index" for paper in sorted({name.split("/")[0] for name in entries}))
    return "\n".join([*parts, f"```{{toctree}}\n:hidden:\n:caption: Experiments\n\n{listed}\n```\n"])


# --- primitives -------------------------------------------------------------------------------------------------------


def primitive_page(name: str, entries: dict[str, Entry]) -> str:
    """One module: what its docstring says, the experiments that use it, and its public names."""
    sections = modules.sections(name)
    parts = [f"# {below(name)}\n", f"{escaped(sections.pop(''))}\n", f"`closedform.{name.replace('/', '.')}`\n"]
    about, up = sections.pop("About"), "../" * name.count("/")
    parts += [fenced(_glossary.linked(about, up))] if about.strip() else []
    for head, text in sections.items():
        parts += [f"## {head}\n", fenced(_glossary.linked(text, up)) + "\n"]
    users = [other.removeprefix("experiments/") for other in modules.users(name)]
    if users:
        known = [user for user in users if user in entries]
        lines = [f"- [{user}]({up}experiments/{user}.md): {escaped(entries[user].about.claim)}" for user in known]
        parts += ["## Experiments that use it\n", "\n".join(lines) + "\n"]
    parts += [cited(name), "## Names\n", *public_names(name)]
    parts += [folded("the whole module", code((modules.ROOT / f"{name}.py").read_text()))]
    return "\n".join(parts)


def below(name: str) -> str:
    """The name of a module in its folder: theory/numerics/arguments is numerics/arguments."""
    return name.partition("/")[2]


def public_names(name: str) -> list[str]:
    """A description of every public class and function of a module, in the order in which they stand there."""
    text = (modules.ROOT / f"{name}.py").read_text()
    parts = [in_module(f"closedform.{name.replace('/', '.')}")]
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            parts.append(_directive("py:class", node.name, _class_body(node, text)))
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            body = described(ast.get_docstring(node) or "")
            parts.append(_directive("py:function", f"{node.name}{_signature(node)}", f"{body}\n\n{_legal(node)}"))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            lines = text.split("\n")[node.lineno - 1 : node.end_lineno]
            found = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
            parts += [_directive("py:data", one, code("\n".join(lines))) for one in found if not one.startswith("_")]
    return parts


def in_module(module: str) -> str:
    """What follows are names of this module."""
    return f"```{{py:module}} {module}\n```\n"


def _directive(kind: str, signature: str, body: str) -> str:
    fence = ":" * 6
    return f"{fence}{{{kind}}} {signature}\n\n{body}\n{fence}\n"


def _signature(node: ast.FunctionDef) -> str:
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({ast.unparse(node.args)}){returned}"


def _legal(node: ast.FunctionDef) -> str:
    """The ranges of the arguments, as the decorator `takes` states them."""
    calls = [one for one in node.decorator_list if isinstance(one, ast.Call) and ast.unparse(one.func) == "takes"]
    ranges = [f"`{word.arg}` in `{ast.unparse(word.value)}`" for call in calls for word in call.keywords]
    return f"Legal: {', '.join(ranges)}." if ranges else ""


def _class_body(node: ast.ClassDef, text: str) -> str:
    """A docstring, and the fields of a NamedTuple or dataclass with their comments, as they stand in the source."""
    fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
    lines = text.split("\n")
    shown = [lines[number].rstrip() for part in fields for number in range(part.lineno - 1, part.end_lineno or part.lineno)]
    indent = min((len(line) - len(line.lstrip()) for line in shown if line), default=0)
    listed = code("\n".join(line[indent:] for line in shown)) if shown else ""
    return "\n\n".join([described(ast.get_docstring(node) or ""), listed, *map(_method, _public(node))])


def _public(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [part for part in node.body if isinstance(part, ast.FunctionDef) and not part.name.startswith("_")]


def _method(node: ast.FunctionDef) -> str:
    """A public method or property of a class."""
    body = described(ast.get_docstring(node) or "")
    fence = ":" * 5
    decorators = {one.id for one in node.decorator_list if isinstance(one, ast.Name)}
    if "property" in decorators:
        returned = f"\n:type: {ast.unparse(node.returns)}" if node.returns else ""
        return f"{fence}{{py:property}} {node.name}{returned}\n\n{body}\n{fence}\n"
    own = ast.unparse(node.args).removeprefix("self, ").removeprefix("cls, ").removeprefix("self").removeprefix("cls")
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{fence}{{py:method}} {node.name}({own}){returned}\n\n{body}\n{fence}\n"


def described(document: str) -> str:
    """A docstring in plain words as Markdown: nothing in it is markup but doctests and `code`."""
    blocks = re.split(r"\n\s*\n", document)
    return "\n\n".join(_block(block) for block in blocks if block.strip())


def _block(block: str) -> str:
    if block.lstrip().startswith(">>>"):
        return f"```pycon\n{block}\n```"
    if block.startswith("    "):
        return block
    head, _, rest = block.partition("\n")
    if head in ("Args:", "Returns:", "Raises:"):
        items = re.split(r"\n    (?=\S)", f"\n{rest}")[1:]
        listed = [re.match(r"(\w+): (.*)", item, flags=re.DOTALL) for item in items]
        lines = [
            f"- `{found[1]}`: {escaped(' '.join(found[2].split()))}" if found else f"- {escaped(' '.join(item.split()))}"
            for item, found in zip(items, listed, strict=True)
        ]
        return f"{head}\n\n" + "\n".join(lines)
    return escaped(" ".join(block.split()))


def escaped(text: str) -> str:
    """Plain words that Markdown leaves as they are; `code` stays code, arXiv numbers become links."""
    parts = re.split(r"(`[^`]*`)", text)
    plain = [re.sub(r"([\\*_<>|$#\[\]~])", r"\\\1", part) if not part.startswith("`") else part for part in parts]
    return re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", "".join(plain))


def folder_page(folder: str) -> str:
    title, words = FOLDERS[folder]
    names = modules.names(folder)
    lines = [f"- [{below(name)}]({below(name)}.md): {escaped(modules.sections(name)[''])}" for name in names]
    listed = "\n".join(map(below, names))
    return "\n".join([f"# {title}\n", words + "\n", "\n".join(lines) + "\n", f"```{{toctree}}\n:hidden:\n\n{listed}\n```\n"])


def engine() -> str:
    """The public names of the sweep engine, each described where it is defined."""
    parts = [in_module("closedform.sweeps")]
    for name in sweeps.__all__:
        thing = getattr(sweeps, name)
        text = inspect.getdoc(thing) or ""
        if inspect.isclass(thing):
            node = ast.parse(inspect.getsource(thing)).body[0]
            assert isinstance(node, ast.ClassDef)
            parts.append(_directive("py:class", name, _class_body(node, inspect.getsource(thing))))
        else:
            node = ast.parse(inspect.getsource(thing)).body[0]
            assert isinstance(node, ast.FunctionDef)
            parts.append(_directive("py:function", f"{name}{_signature(node)}", described(text)))
    return "\n".join(parts)
