"""Pages from entries: the templates, and the report of a results folder as one file."""

from __future__ import annotations

import base64
import datetime
import functools
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..sweeps.results.report import allowance, numbers
from .entries import Entry
from .markup import markdown

HERE = Path(__file__).resolve().parent
FONT = HERE / "static" / "closedform-math.woff2"


@functools.cache
def _templates() -> Any:
    import jinja2
    from markupsafe import Markup

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    found.filters |= {"markdown": lambda text: Markup(markdown(text)), "numbers": numbers, "allowance": allowance}
    return found


def part(name: str, *arguments: Any) -> str:
    """HTML of one part of a result: badge, figure, agreement, settings, origin or card (templates/parts.html)."""
    return str(getattr(_templates().get_template("parts.html").module, name)(*arguments))


def report(entries: Iterable[Entry], folder: str) -> str:
    """One HTML page of many results that needs nothing beside it: style, font and figures are inside."""
    shown = _distinct(entries)
    verdicts = [entry.verdict for entry in shown]
    return (
        _templates()
        .get_template("report.html")
        .render(
            entries=shown,
            sources=[data_address("image/png", entry.picture.png) if entry.picture else "" for entry in shown],
            thumbnails=[data_address("image/png", entry.picture.thumbnail) if entry.picture else "" for entry in shown],
            films=[data_address("image/gif", film) if (film := _film(entry)) else "" for entry in shown],
            counts={verdict: verdicts.count(verdict) for verdict in ("agrees", "disagrees", "no verdict", "stale")},
            title="Predicted and simulated",
            folder=folder,
            version=importlib.metadata.version("closedform"),
            date=datetime.date.today().isoformat(),
            style="".join((HERE / "static" / f"{name}.css").read_text(encoding="utf-8") for name in ("closedform", "report")),
            font=font_face(data_address("font/woff2", FONT.read_bytes())),
        )
    )


def _film(entry: Entry) -> bytes:
    return entry.picture.film if entry.picture else b""


def _distinct(entries: Iterable[Entry]) -> list[Entry]:
    """The same entries, each with an anchor of its own."""
    seen: dict[str, int] = {}
    found = []
    for entry in entries:
        count = seen[entry.anchor] = seen.get(entry.anchor, 0) + 1
        found.append(entry if count == 1 else entry._replace(anchor=f"{entry.anchor}-{count}"))
    return found


def font_face(address: str) -> str:
    """The style rule that brings the font of the formulas."""
    return f'@font-face {{ font-family: "closedform math"; src: url("{address}") format("woff2"); }}\n'


def data_address(kind: str, content: bytes) -> str:
    """A file as an address that contains it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
