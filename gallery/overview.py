"""The table of the README: for each topic of theory the networks, predictions and papers that meet there.

Nothing is registered: it is read from the imports of the experiments. `python -m closedform.gallery.overview` writes it anew.
"""

from __future__ import annotations

from pathlib import Path

from . import modules

_BEGIN, _END = "<!-- overview -->", "<!-- /overview -->"
_NO_LAW = ("numerics",)


def table() -> str:
    """Markdown: topic, networks, predictions, papers."""
    experiments = {name: modules.uses(name) for name in modules.names("experiments")}
    lines = ["| topic | networks | predictions | papers |", "|---|---|---|---|"]
    for topic in sorted({name.split("/")[1] for name in modules.names("theory")} - set(_NO_LAW)):
        laws = [name.split("/")[2] for name in modules.names("theory") if name.split("/")[1] == topic]
        users = [name for name, used in experiments.items() if any(other.startswith(f"theory/{topic}/") for other in used)]
        networks = {used.split("/")[-1] for name in users for used in experiments[name] if used.startswith("models/")}
        papers = {name.split("/")[1] for name in users}
        lines.append(f"| {' | '.join(map(_words, ([topic], networks, laws, papers)))} |")
    return "\n".join(lines)


def _words(names: set[str] | list[str]) -> str:
    return ", ".join(sorted(name.replace("_", " ") for name in names))


def with_table(text: str) -> str:
    """The text with the table between its two marks brought up to date."""
    head, begin, rest = text.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the text must have {_BEGIN} and {_END} around its table")
    return f"{head}{begin}\n{table()}\n{end}{tail}"


if __name__ == "__main__":
    readme = Path(__file__).resolve().parent.parent / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8")), encoding="utf-8")
