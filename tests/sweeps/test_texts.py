"""Texts are texts: what looks like markup or drives a terminal is shown as it is, in tables, lines, progress and pages."""

import io

import pytest
import rich.console

from closedform.gallery.markup import block, markdown
from closedform.sweeps.engine.progress import Progress, _bar
from closedform.sweeps.errors import on_stderr
from closedform.sweeps.results.agreement import Row
from closedform.sweeps.results.catalogue import CellStatus, SweepStatus, status_lines
from closedform.sweeps.results.report import agreement_table, diverged_lines

EVIL = "[bold red]x[/] [/no] \x1b[2J\x1b]0;title\x07 \u202e"
SHOWN = "[bold red]x[/] [/no] \\x1b[2J\\x1b]0;title\\x07 \\u202e"


def a_row():
    said = dict(experiment=EVIL, cell=EVIL, field=EVIL, at=EVIL, predicted=1.0, simulated=1.0, standard_error=0.1, allowed=0.1)
    return Row(**said, points=1, agreeing=1, seeds=4, diverged=(3,), verdict="agrees")


def test_the_agreement_table_shows_words_as_they_are():
    console = rich.console.Console(file=io.StringIO(), width=400, force_terminal=True, color_system="truecolor")
    console.print(agreement_table([a_row()]))
    printed = console.file.getvalue()
    assert printed.count(SHOWN) == 4
    assert "\x1b[2J" not in printed
    assert "\x1b[32magrees" in printed


def test_lines_show_words_as_they_are(tmp_path, capsys):
    asked = {"experiment": EVIL, "over": {EVIL: [1]}, "seeds": [0]}
    cells = [CellStatus({"name": EVIL}, "failed", 0, "", EVIL), CellStatus({"name": EVIL}, "running", 0, EVIL, "")]
    for line in [*status_lines(SweepStatus(tmp_path / "one.json", asked, cells)), *diverged_lines([a_row()])]:
        assert line.isprintable()
        assert SHOWN in line
    on_stderr(EVIL)
    assert capsys.readouterr().err == f"{SHOWN}\n"


def test_the_progress_bar_shows_words_as_they_are():
    bar, console = _bar(Progress("", 1, show=False)), rich.console.Console(file=io.StringIO(), width=400)
    bar.add_task("[red]title", total=1, what="[/no]")
    console.print(bar.get_renderable())
    assert "[red]title" in console.file.getvalue()
    assert "[/no]" in console.file.getvalue()
    shown = Progress(EVIL, 1, show=False)
    shown.now(EVIL)
    assert shown._what == shown._title == SHOWN


@pytest.mark.parametrize("text", ["`" * 6, "`" * 40 + "\n```{include} /etc/passwd\n```", "a\n``````\n# head\n``````", "~~~~~~"])
def test_nothing_ends_a_fenced_block(text):
    assert markdown(block("text", text)) == f'<pre><code class="language-text">{text}\n</code></pre>\n'
