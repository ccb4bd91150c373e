"""Markdown with LaTeX formulas as HTML. Formulas become MathML, which a browser draws without a script."""

from __future__ import annotations

import functools
import html
import re

_BAR = '<mo stretchy="false">&#x0007C;</mo>'  # of |x|: as an operator between two things it would keep its distance
_SCROLLS = ' tabindex="0" role="group" aria-label="formula"'  # by keys, where it is wider than the page
_NORM = '<mo fence="false" stretchy="false">&#x02016;</mo>'


@functools.cache
def formula(latex: str, display: bool = False) -> str:
    r"""MathML of a LaTeX formula; a displayed one stands in a line of its own.

    Raises ValueError for a command or a column mark that the converter leaves as it is: of environments it knows `align*`,
    `cases`, `array` and the matrices, of norms `\|x\|` and `|x|`, or `\left ... \right`.

    >>> formula("x^2")
    '<math xmlns="http://www.w3.org/1998/Math/MathML" display="inline"><mrow><msup><mi>x</mi><mn>2</mn></msup></mrow></math>'
    """
    from latex2mathml.converter import convert

    text = convert(latex.strip(), display="block" if display else "inline")
    shown = html.unescape(re.sub(r"<[^>]*>", " ", text))
    if left := re.findall(r"\\\w*|&", shown):
        raise ValueError(f"formula {latex.strip()!r}: {', '.join(sorted(set(left)))} cannot be drawn")
    for tight in (_BAR, _NORM):
        text = text.replace(tight, tight.replace("<mo ", '<mo lspace="0" rspace="0" '))
    return text


def markdown(text: str) -> str:
    r"""HTML of Markdown (CommonMark with tables), with $...$ and $$...$$ as formulas and doctests as code.

    >>> markdown("a *word*")
    '<p>a <em>word</em></p>\n'
    """
    return _parser().render(fenced(text)).replace('<div class="math block">', f'<div class="math block"{_SCROLLS}>')


def fenced(text: str) -> str:
    """The Markdown text with every doctest, up to the next blank line, in a fence of its own.

    >>> fenced("So:\\n\\n" + ">" * 3 + " 1 + 1\\n2\\n\\nand so on").split("\\n")
    ['So:', '', '```pycon', '>>> 1 + 1', '2', '```', '', 'and so on']
    """
    return re.sub(r"^>>> .*(?:\n.*\S.*)*", r"```pycon\n\g<0>\n```", text, flags=re.MULTILINE)


def block(kind: str, text: str) -> str:
    """A fenced block of Markdown that nothing in its text can end.

    >>> block("text", "`" * 7).split("\\n")[0]
    '````````text'
    """
    fence = "`" * max(6, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{kind}\n{text}\n{fence}\n"


@functools.cache
def _parser():
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    def draw(content: str, options: dict) -> str:
        return formula(content, options["display_mode"])

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    return parser.use(dollarmath_plugin, double_inline=True, renderer=draw)
