"""The literature behind a module, an experiment or a stored result: references/*.bib, and which sources cite which entries.

Nothing is registered: a module cites an entry whose arXiv number, doi or url stands in its source.
"""

from __future__ import annotations

import ast
import functools
import re
import tokenize
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..sweeps.contract.names import is_file, parts
from ..sweeps.contract.sources import import_targets
from ..sweeps.errors import UsageError
from ..sweeps.results import sealed
from ..sweeps.results.store import files_below
from . import modules

OWN = "closedform"  # the entry of this package
FOLDER = Path(__file__).with_name("references")  # a file a paper
_CITED = ("theory", "solvers")  # imports from here bring their citations; models may come from other papers
_ARXIV = re.compile(r"\barxiv(?::|\.org/abs/|\s)\s*(\d{4}\.\d{4,5})", flags=re.IGNORECASE)
_DOI = re.compile(r"\bdoi(?::|\.org/|\s)\s*(10\.\d{4,9}/[^\s\"'<>`]+)", flags=re.IGNORECASE)
_ACCENTS = {"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "c": "\u0327", "v": "\u030c"}


class Entry(NamedTuple):
    """One entry of a BibTeX file."""

    key: str
    text: str  # as it stands in the file
    fields: dict[str, str]  # values without their outer braces


@functools.cache
def entries() -> dict[str, Entry]:
    """Every entry by its key, in the order of the keys; that of this package is the last.

    Raises ValueError if two files have the same key.
    """
    found: dict[str, Entry] = {}
    for path in sorted(FOLDER.glob("*.bib")):
        new = read(path.read_text(encoding="utf-8"), path.name)
        if twice := sorted(set(found) & set(new)):
            raise ValueError(f"{path.name} has {twice[0]}, as another file does; allowed: one file with it")
        found |= new
    return {key: found[key] for key in sorted(found, key=lambda key: (key == OWN, key))}


def read(text: str, file: str = "text") -> dict[str, Entry]:
    """The entries of a BibTeX text in the layout of ours: `@kind{key,`, one `name = {value},` a line, `}`, and lines of `%`.

    Raises ValueError that names the first line of another layout.

    >>> read("@book{neal1996bayesian,\\n  year = {1996},\\n}")["neal1996bayesian"].fields
    {'year': '1996'}
    """
    found: dict[str, Entry] = {}
    key, fields, lines = "", {}, []  # of the entry that is open: it has lines
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{file}, line {number}: {line!r}"
        if not lines and (not line.strip() or line.startswith("%")):
            continue
        if not lines:
            opening = re.fullmatch(r"@[a-z]+\{([a-z0-9]+),", line)
            if opening is None or opening[1] in found:
                raise ValueError(f"{where} opens no new entry; allowed: '@kind{{key,' with a key of its own")
            key, fields = opening[1], {}
        elif line != "}":
            field = re.fullmatch(r"  (\w+) = \{(.+)\},", line)
            if field is None or not _balanced(field[2]) or field[1] in fields:
                raise ValueError(f"{where} is no new field of {key}; allowed: '  name = {{value}},', or '}}' that closes it")
            fields[field[1]] = field[2]
        lines.append(line)
        if line == "}":
            found[key] = Entry(key, "\n".join(lines), fields)
            lines = []
    if lines:
        raise ValueError(f"{file}: {key} is not closed")
    return found


def _balanced(value: str) -> bool:
    depth = 0
    for sign in re.findall(r"[{}]", value):
        depth += 1 if sign == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def identifiers(entry: Entry) -> list[str]:
    """What a module may call an entry: its arXiv number and its doi in small letters, or else its url without the protocol."""
    numbers = [entry.fields.get("eprint", ""), entry.fields.get("doi", "").lower()]
    return list(filter(None, numbers)) or list(filter(None, [entry.fields.get("url", "").partition("://")[2]]))


def mentions(text: str) -> list[str]:
    """The arXiv numbers, dois and known urls that a text names, as `identifiers` spells them, in the order of the text."""
    urls = [one for entry in entries().values() if "url" in entry.fields for one in identifiers(entry)]
    places = [(match.start(), match[1]) for match in _ARXIV.finditer(text)]
    places += [(match.start(), match[1].rstrip(".,;:)]").lower()) for match in _DOI.finditer(text)]
    places += [(text.find(url), url) for url in urls if url in text]
    return list(dict.fromkeys(one for _, one in sorted(places)))


def cited_by(text: str) -> list[str]:
    """The keys of the entries that a text names, in the order of the text.

    >>> cited_by("Setting: Glasgow, arXiv 2309.15111; T: Owen, doi 10.1214/aoms/1177728074.")
    ['glasgow2023sgd', 'owen1956tables']
    """
    keys = {one: entry.key for entry in entries().values() for one in identifiers(entry)}
    return list(dict.fromkeys(keys[one] for one in mentions(text) if one in keys))


def citations(name: str) -> list[str]:
    """The keys behind a module: those that its own docstring and comments name.

    An experiment (experiments/xor/phases) also has those of the theory and the solvers that it, or a private module of its
    folder, imports.
    """
    path = modules.ROOT / f"{name}.py"
    others = _behind_file(path) if name.startswith("experiments/") else ()
    return list(dict.fromkeys(key for source in (path, *others) for key in _cited_in(source)))


def _behind_file(path: Path) -> Iterator[Path]:
    """The private siblings that a file imports and the theory and solvers that it and they import."""
    for target in _imports(path):
        if target.parent == path.parent and re.match(r"_[^_]", target.name):
            yield target
            yield from _behind_file(target)
        elif target.is_relative_to(modules.ROOT) and target.relative_to(modules.ROOT).parts[0] in _CITED:
            yield target


@functools.cache
def _imports(path: Path) -> list[Path]:
    tree = ast.parse(path.read_bytes())
    return [target for node in ast.walk(tree) for target in import_targets(path, node) if target.is_file()]


@functools.cache
def _cited_in(path: Path) -> list[str]:
    with tokenize.open(path) as file:  # in the encoding that it declares
        return cited_by(file.read())


def citing(key: str) -> list[str]:
    """The modules behind which an entry stands: the reverse of `citations`."""
    folders = (*modules.PRIMITIVES, "experiments")
    return [name for folder in folders for name in modules.names(folder) if key in citations(name)]


def plain(entry: Entry) -> str:
    """One line for people: authors (et al. above three), title, where it appeared or its arXiv number, year.

    >>> plain(entries()["glasgow2023sgd"])[:58]
    'Margalit Glasgow, SGD Finds then Tunes Features in Two-Lay'
    """
    fields = {name: _readable(value) for name, value in entry.fields.items()}
    authors = [" ".join(reversed(author.split(", "))) for author in fields["author"].split(" and ")]
    names = ", ".join(authors[:-1]) + " and " + authors[-1] if 1 < len(authors) <= 3 else authors[0]
    names += " et al." if len(authors) > 3 else ""
    places = [fields.get(name, "") for name in ("journal", "booktitle", "howpublished", "publisher")]
    places += [f"arXiv {fields['eprint']}" if "eprint" in fields else "", fields.get("url", "").partition("://")[2]]
    place = next(filter(None, places), f"version {fields.get('version')}")
    return f"{names}, {fields['title']}, {place}, {fields['year']}"


def _readable(value: str) -> str:
    r"""LaTeX's accents as letters, and no braces."""
    accents = "".join(map(re.escape, _ACCENTS))
    value = re.sub(
        rf"\\([{accents}])\{{?(\w)\}}?", lambda match: unicodedata.normalize("NFC", match[2] + _ACCENTS[match[1]]), value
    )
    return re.sub(r"[{}]", "", value).replace("--", "-")


# --- what a person names ----------------------------------------------------------------------------------------------------


def behind(text: str, say: Callable[[str], None] = lambda message: None) -> list[str]:
    """The keys behind a paper (xor), an experiment, a module, a result file (*.nc), a folder of results or a file of one's own.

    Files of a folder that cannot be read are reported by `say` and left out. Raises `UsageError` for an unknown name, a file
    that is no result, and a folder without results.
    """
    if text.endswith(".nc"):
        return _of_experiment(experiment_of(Path(text)))
    if is_file(text):
        return _of_file(Path(parts(text)[0]).expanduser())
    try:
        found = modules.resolve(text)
    except UsageError:
        if not Path(text).is_dir():
            raise
        experiments = _experiments_in(Path(text), say)
        return list(dict.fromkeys(key for experiment in experiments for key in _of_experiment(experiment)))
    return list(dict.fromkeys(key for name in found for key in citations(name)))


def _of_file(path: Path) -> list[str]:
    """The keys behind a file of the user's own: what it names itself, and what the modules of ours that it imports do."""
    try:
        sources = [path.resolve(strict=True), *_behind_own(path.resolve(), set())]
        return list(dict.fromkeys(key for source in sources for key in _cited_in(source)))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as Python ({error})") from error


def _behind_own(path: Path, seen: set[Path]) -> Iterator[Path]:
    """The theory and the solvers behind a file: those that it imports, that files beside it do, and that our experiments do."""
    for target in _imports(path):
        if target in seen:
            continue
        seen.add(target)
        if not target.is_relative_to(modules.ROOT):
            yield from _behind_own(target, seen)
        elif target.relative_to(modules.ROOT).parts[0] in _CITED:
            yield target
        elif target.relative_to(modules.ROOT).parts[0] == "experiments":
            yield target
            yield from _behind_file(target)


def _of_experiment(experiment: str) -> list[str]:
    """The keys behind a result, by the experiment that its provenance names; none behind a function of the user's."""
    name = f"experiments/{experiment}"
    return citations(name) if name in modules.names("experiments") else []


def experiment_of(path: Path) -> str:
    """The experiment that a result file comes from; its numbers are not read. Raises `UsageError` if it is no such file."""
    try:
        return str(sealed.read_label(path)["experiment"])
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (sealed.Damaged, KeyError) as error:
        if not path.is_file():
            raise UsageError(f"{path}: cannot be read (no file)") from error
        raise UsageError(f"{path}: damaged, or no result of closedform ({error})") from error


def _experiments_in(folder: Path, say: Callable[[str], None]) -> list[str]:
    """The experiments that have results below a folder: of each place that the store made, the first file that can be read."""
    found: dict[Path, str] = {}
    for path in files_below(folder, "*.nc"):
        home = path.parent
        while re.fullmatch(r"[0-9a-f]{2}|blocks|states|sweeps", home.name):
            home = home.parent
        if home not in found:
            try:
                found[home] = experiment_of(path)
            except UsageError as error:
                say(f"{error}; left out")
    if not found:
        raise UsageError(f"{folder}: holds no results; allowed: a folder that --results named, or one below it")
    return list(dict.fromkeys(found.values()))
