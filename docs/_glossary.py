"""Links from the symbol tables of docstrings to the glossary: made here, for whatever words it explains."""

from __future__ import annotations

import functools
import re
from pathlib import Path

GLOSSARY = Path(__file__).resolve().parent / "glossary.md"
_TABLE = re.compile(r"^\| paper.*\|\n(?:\|.*\|\n?)+", flags=re.MULTILINE)
_PLAIN = re.compile(r"(`[^`]*`|\$[^$]*\$)")  # code and formulas are left alone


@functools.cache
def words() -> dict[str, str]:
    """Every word that the glossary explains, as it is written there, by its lower case and by its plural."""
    (listed,) = re.findall(r"^```\{glossary\}\n(.*?)^```", GLOSSARY.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = [line.strip() for line in listed.split("\n") if line.strip() and not line.startswith((" ", ":"))]
    plural = {f"{re.sub('y$', 'ie', word)}s": word for word in found}
    return {form.lower(): word for form, word in (plural | {word: word for word in found}).items()}


def linked(text: str, up: str) -> str:
    """The text with the words in the last column of its symbol tables linked, and a line below each table."""
    below = f"\nWords of theory in plain language: the [glossary]({up}glossary.md).\n"
    return _TABLE.sub(lambda table: _table(table[0].rstrip("\n")) + "\n" + below, text)


def _table(table: str) -> str:
    head, rule, *rows = table.split("\n")
    seen: set[str] = set()
    return "\n".join([head, rule, *(_row(row, seen) for row in rows)])


def _row(row: str, seen: set[str]) -> str:
    """Each word is linked where it first stands in the table."""
    before, bar, meaning = row.rstrip().removesuffix("|").rpartition("|")

    def link(found: re.Match[str]) -> str:
        word = words()[found[0].lower()]
        if word in seen:
            return found[0]
        seen.add(word)
        return f"{{term}}`{found[0]} <{word}>`"

    parts = [part if i % 2 else _pattern().sub(link, part) for i, part in enumerate(_PLAIN.split(meaning))]
    return f"{before}{bar}{''.join(parts)}|"


@functools.cache
def _pattern() -> re.Pattern[str]:
    longest_first = sorted(words(), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-])", flags=re.IGNORECASE)
