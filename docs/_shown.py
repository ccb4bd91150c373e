"""The directive `experiment`: on any page, the figure and the agreement table of one experiment, as they were stored.

Where a site is built without that experiment, it says the command that makes both.
"""

from __future__ import annotations

import html
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from closedform.gallery import pages
from closedform.gallery.entries import Entry
from closedform.gallery.markup import block

SHOWN = Path(__file__).resolve().parent / "_generated" / "shown"


class Experiment(SphinxDirective):
    """```{experiment} paper/experiment```."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        (name,) = self.arguments
        path = SHOWN / f"{name}.md"
        self.env.note_dependency(str(path))
        missing = f"`closedform reproduce {name}` draws the figure and prints the table.\n"
        return self.parse_text_to_nodes(path.read_text(encoding="utf-8") if path.exists() else missing)


def page(one: Entry) -> str:
    """What the directive shows of an experiment of this site."""
    where = f"[{one.name}](/experiments/{one.name}.md)"
    small = " These numbers come from sizes that take a second." if one.small else ""
    words = f"{where}.{small}"
    if one.picture:
        options = f":alt: {html.escape(one.about.claim)}"
        words = f"```{{figure}} /_generated/static/figures/{one.name}.png\n{options}\n\n{words}\n```"
    return "\n".join([f"{words}\n", block("{raw} html", pages.part("agreement", one))])
