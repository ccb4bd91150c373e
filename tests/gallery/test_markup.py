"""Formulas and Markdown as HTML."""

import xml.etree.ElementTree as ElementTree

import pytest

from closedform.gallery.markup import fenced, formula, markdown

MATHML = "{http://www.w3.org/1998/Math/MathML}"


def test_a_formula_is_well_formed_and_holds_its_parts():
    tree = ElementTree.fromstring(formula(r"\frac{n}{n-q}\left[\sum_j v_j (1 - L_j)^2 + \sigma^2\right]", display=True))
    assert tree.get("display") == "block"
    fraction = tree.find(f".//{MATHML}mfrac")
    assert ["".join(part.itertext()) for part in fraction] == ["n", "n−q"]
    assert "".join(tree.itertext()).replace("\u2061", "").startswith("nn−q[∑jvj(1−Lj)2+σ2]")


def test_rows_of_align_are_rows_of_a_table():
    tree = ElementTree.fromstring(formula(r"\begin{align*} a &= b \\ c &= d \end{align*}", display=True))
    rows = tree.findall(f".//{MATHML}mtr")
    assert ["".join(row.itertext()) for row in rows] == ["a=b", "c=d"]


@pytest.mark.parametrize("latex", [r"\unknown x", r"a & b", r"\begin{aligned} a &= b \end{aligned}"])
def test_what_cannot_be_drawn_is_an_error_that_says_what(latex):
    with pytest.raises(ValueError, match="cannot be drawn"):
        formula(latex)


@pytest.mark.parametrize("latex", ["|u|", r"\|u\|"])
def test_bars_keep_close_to_what_they_enclose(latex):
    bars = [one for one in ElementTree.fromstring(formula(latex)).iter(f"{MATHML}mo") if one.text in "|‖"]
    assert len(bars) == 2
    assert all(one.get("lspace") == one.get("rspace") == "0" for one in bars)


def test_markdown_draws_formulas_tables_and_doctests_and_no_html():
    page = markdown("a $x^2$ <b>b</b>\n\n| s | n |\n|---|---|\n| $\\alpha$ | `a` |\n\n>>> 1 < 2\nTrue\n\nend")
    assert page.count("<math") == 2
    assert "<td><code>a</code></td>" in page
    assert "&lt;b&gt;" in page
    assert "&gt;&gt;&gt; 1 &lt; 2\nTrue\n</code></pre>\n<p>end</p>" in page


def test_a_doctest_ends_where_the_docstring_ends_or_a_line_is_blank():
    assert fenced(">>> f(1)\n... # more\n3") == "```pycon\n>>> f(1)\n... # more\n3\n```"
    assert fenced("no doctest >>> here") == "no doctest >>> here"
