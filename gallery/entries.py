"""A stored result as pages show it: claim, verdict, figure, tables. The site and the report are made of these."""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..sweeps import Row, compare, find_figure, provenance, with_theory
from ..sweeps.contract import config
from ..sweeps.contract.experiment import About
from ..sweeps.memory import text as bytes_text
from ..sweeps.results.agreement import texts
from ..sweeps.results.catalogue import Stored
from ..sweeps.results.report import agreement_line, diverged_lines, film, one_sided_lines, ranges, stored_config, worst_first
from .modules import document

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS = 60  # of an agreement table on a page; the rest is counted
_LINES, _VALUES, _CHANGES = 10, 12, 4  # notes of one kind, swept values, changed fields that are written out


class Setting(NamedTuple):
    """One line of the config table."""

    field: str
    value: str
    meaning: str
    swept: bool


_CARD = 320  # pixels: twice the height of a card's picture, for fine screens


class Picture(NamedTuple):
    """A drawn figure."""

    png: bytes
    alternative: str  # in words, for those who cannot see it
    width: int  # pixels as the page should show it
    height: int
    film: bytes = b""  # a GIF, where something moves

    @property
    def thumbnail(self) -> bytes:
        """The picture at the size of a card."""
        from PIL import Image

        image = Image.open(io.BytesIO(self.png)).convert("RGB")
        image = image.resize((round(image.width * _CARD / image.height), _CARD), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        image.quantize(64).save(file, format="png", optimize=True)
        return file.getvalue()


class Entry(NamedTuple):
    """One result."""

    name: str
    anchor: str  # unique on a page of many
    about: About
    asked: str  # what tells it from other results of the experiment: "dim=100, root seed 5, over rate"; "" for its own sizes
    computed: bool  # there is something to show
    verdict: str  # "agrees", "disagrees", "no verdict" or "stale"
    small: bool  # not the sizes that the experiment's allowances are made for
    rows: list[Row]  # of the agreement table, the worst of them, the worst first
    num_rows: int
    summary: str  # how many of all rows agree, and what they detect
    notes: list[str]  # diverged seeds, failed cells, other sources
    settings: list[Setting]
    picture: Picture | None
    origin: list[tuple[str, str]]  # where the result comes from


def verdict_of(rows: list[Row]) -> str:
    """The badge: green only if every row agrees, red if one disagrees."""
    if any(row.verdict == "DISAGREES" for row in rows):
        return "disagrees"
    return "agrees" if rows and all(row.verdict == "agrees" for row in rows) else "no verdict"


def entry(stored: Stored, small: bool = False, resolution: int = 200) -> Entry:
    """What a page shows of a stored result; `resolution` in pixels an inch."""
    experiment, result, asked = stored.experiment, stored.result, stored.asked
    rows = [] if result is None else compare(experiment, result)
    rows = worst_first([row._replace(stale=stored.state == "stale") for row in rows])
    failed = [f"{count} cell{'s' if count > 1 else ''} failed: {why}" for why, count in stored.failed.items()]
    notes = [*_first(diverged_lines(rows), "cells lost seeds"), *_first(failed, "kinds of failure"), *one_sided_lines(rows)]
    if stored.state == "stale":
        notes.append("Stale: computed by an earlier version of the code; --refresh computes it again.")
    if stored.state == "not checked":
        notes.append("Not checked: whether its code is still what computed it.")
    if result is None:
        notes.append("There are no seeds yet that every cell has.")
    said = {} if result is None else provenance(result)
    drawn, trouble = (None, "") if result is None else picture(stored, resolution)
    return Entry(
        name=experiment.name,
        asked=_asked(stored),
        computed=result is not None,
        anchor=re.sub(r"[^a-z0-9]+", "-", f"{experiment.name} {'-'.join(asked['over'])}".lower()).strip("-"),
        about=experiment.about() if stored.known else About(_first_line(stored), "", "", ""),
        verdict="stale" if stored.state == "stale" else verdict_of(rows),
        small=small,
        rows=rows[:_ROWS],
        num_rows=len(rows),
        summary=agreement_line(rows),
        notes=[*notes, trouble] if trouble else notes,
        settings=_settings(stored),
        picture=drawn,
        origin=_origin(said, asked),
    )


def _asked(stored: Stored) -> str:
    """Values that are not the experiment's own (of a user's code all of them), and what was swept beside its own grid."""
    asked, own = stored.asked, config.as_dict(stored.experiment.default_config()) if stored.known else None
    changed = {
        path: value
        for path, value in asked["config"].items()
        if path not in asked["over"] and (own is None or (path in own and json.dumps(own[path]) != json.dumps(value)))
    }
    parts = [f"{path}={_value(value)}" for path, value in changed.items()]
    parts = [*parts[:_CHANGES], f"{len(parts) - _CHANGES} more"] if len(parts) > _CHANGES else parts
    parts += [f"root seed {asked['root_seed']}"] if asked["root_seed"] else []
    if asked["over"] and set(asked["over"]) != set(stored.experiment.grid if stored.known else ()):
        parts.append(f"over {', '.join(asked['over'])}")
    return ", ".join(parts)


def _first_line(stored: Stored) -> str:
    return f"A {'sweep' if stored.asked['over'] else 'run'} of {stored.experiment.name}."


def _first(lines: list[str], what: str) -> list[str]:
    """The first few of many lines, and how many there are."""
    return lines if len(lines) <= _LINES else [*lines[:_LINES], f"{len(lines)} {what}; these are the first {_LINES}."]


# --- figures ----------------------------------------------------------------------------------------------------------


def picture(stored: Stored, resolution: int) -> tuple[Picture | None, str]:
    """The experiment's own figure where the result has the axes that it draws, else the generic one; None without axes.

    The text says what went wrong: a figure that is made for the experiment's own sizes may fail at those of a user.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from ..figures import _generic

    assert stored.result is not None
    name, trouble, before = stored.experiment.name, "", plt.get_fignums()
    own = find_figure(name) if stored.known and set(stored.asked["over"]) == set(stored.experiment.grid) else None
    try:
        if own is not None:
            try:
                settings = stored_config(stored.experiment, stored.result)
                figure = own(with_theory(stored.experiment, stored.result), settings)
                drawn = _drawn(figure, document(f"figures/{name}").split("\n\n")[0], resolution)
                return drawn._replace(film=film(name, stored.result, settings)), ""
            except Exception as error:
                trouble = f"The experiment's own figure cannot show this: {type(error).__name__}: {error}"
        try:
            figure = _generic.draw(with_theory(stored.experiment, stored.result))
            return None if figure is None else _drawn(figure, _generic.alternative(stored.result), resolution), trouble
        except Exception as error:
            return None, f"It cannot be drawn: {type(error).__name__}: {error}"
    finally:
        for number in set(plt.get_fignums()).difference(before):
            plt.close(number)


_SHOWN = 135  # pixels on a page for an inch of paper: letters of 8 points are then as large as the text


def _drawn(figure: Figure, words: str, resolution: int) -> Picture:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=resolution, metadata={"Software": None})
    width, height = figure.get_size_inches()
    return Picture(file.getvalue(), " ".join(words.split()), round(width * _SHOWN), round(height * _SHOWN))


# --- tables -----------------------------------------------------------------------------------------------------------


def _settings(stored: Stored) -> list[Setting]:
    """Every field of the config with its value, or the values that were swept, and the comment beside it."""
    comments = dict.fromkeys(stored.asked["config"], "")
    if stored.known:
        comments |= meanings(stored.experiment.Config())
    over = stored.asked["over"]
    return [
        Setting(
            field,
            _values(over[field]) if field in over else _value(value),
            comments.get(field, ""),
            field in over,
        )
        for field, value in stored.asked["config"].items()
    ]


def _values(values: list[Any]) -> str:
    if len(values) <= _VALUES:
        return ", ".join(map(_value, values))
    return f"{_value(values[0])}, {_value(values[1])}, ..., {_value(values[-1])} ({len(values)} values)"


def _value(value: Any) -> str:
    if isinstance(value, float):  # exact: results may differ in this value alone
        return next(text for text in (*texts([value]), repr(value)) if float(text) == value or value != value)
    return ", ".join(map(_value, value)) if isinstance(value, list | tuple) else str(value)


def meanings(default: Any) -> dict[str, str]:
    """{path: the comment that explains the field} of a config, nested ones included."""
    found = {}
    for leaf in config.leaves(default):
        owner, *rest = default, *leaf.path.split(".")
        for name in rest[:-1]:
            owner = getattr(owner, name)
        found[leaf.path] = _comments(type(owner)).get(rest[-1], "")
    return found


def _comments(kind: type) -> dict[str, str]:
    """The comment of each field of a dataclass, those of its bases included; continued on lines that are comments alone."""
    found: dict[str, str] = {}
    for base in reversed([one for one in kind.__mro__ if dataclasses.is_dataclass(one)]):
        last = ""
        try:
            source = inspect.getsource(base)
        except (OSError, TypeError):  # it was made of a dict, or in an interpreter
            continue
        for line in source.split("\n"):
            code, mark, comment = line.partition("# ")
            name = re.match(r"\s+(\w+):", code)
            if name and mark:
                last, found[name[1]] = name[1], comment.strip()
            elif last and mark and not code.strip():
                found[last] += " " + comment.strip()
            else:
                last = ""
    return found


def _origin(said: dict[str, Any], asked: dict[str, Any]) -> list[tuple[str, str]]:
    """Provenance, in words."""
    seeds = asked["seeds"]
    count = f"{len(seeds)} ({ranges(seeds)}), root seed {asked['root_seed']}"
    lines = [("seeds", count)]
    if said:
        git = said["git"]
        lines += [
            ("time", f"{_time(said['seconds'])} of its threads, added up, compiling included"),
            ("memory", bytes_text(said["memory"]) + " at most in the process" if said.get("memory") else "not recorded"),
            ("device", ", ".join(filter(None, (said["device"], said.get("processor"), _cores(said), said.get("flags"))))),
            (
                "sources",
                said["sources"] + (f", commit {git['commit'][:10]}{' with changes' if git['dirty'] else ''}" if git else ""),
            ),
            ("versions", ", ".join(f"{name} {version}" for name, version in said["versions"].items())),
        ]
    return lines


def _cores(said: dict[str, Any]) -> str:
    count = said.get("cores", 0)
    return f"{count} core{'s' if count > 1 else ''}" if count else ""


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
