"""The site and the report in a real browser: links, pictures, words for pictures, console, widths, colours, keyboard, badges.

The site is built with a few experiments at small sizes. CLOSEDFORM_SITE=FOLDER checks a site that is built already instead.
"""

import ast
import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest

from closedform import sweeps
from closedform.__main__ import main
from closedform.gallery import modules, pages
from closedform.gallery.entries import entry
from closedform.sweeps import agrees, compare, find, names
from closedform.sweeps.contract.config import as_dict
from closedform.sweeps.results.catalogue import Stored

ROOT = Path(__file__).parents[2]
SHOWN = ("xor/phases", "voting_networks/discussion", "voting_networks/width")  # of each kind: dynamics, grid, one shot
WIDTHS = (1280, 400)
of_the_site = pytest.mark.slow("docs", "gallery")  # building it takes a minute
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a built site."""
    if given := os.environ.get("CLOSEDFORM_SITE"):
        return Path(given)
    folder = tmp_path_factory.mktemp("site")
    sources = folder / "docs"
    written = shutil.ignore_patterns("_build", "_generated", "experiments", *modules.PRIMITIVES)
    shutil.copytree(ROOT / "docs", sources, ignore=written)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "CLOSEDFORM_RESULTS": "", "CLOSEDFORM_EXPERIMENTS": ",".join(SHOWN)}
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(sources), str(folder / "html")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "html"


@pytest.fixture(scope="module")
def address(site):
    """The site as served on loopback."""
    with serving(site) as where:
        yield where


class serving:
    def __init__(self, folder):
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}/"

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=[*quiet, "--no-first-run", "--disable-quic"])
        yield opened
        opened.close()


# --- without a browser ------------------------------------------------------------------------------------------------


def parsed(path):
    from bs4 import BeautifulSoup

    return BeautifulSoup(path.read_text(), "html.parser")


@of_the_site
def test_every_link_leads_to_a_page_and_a_place_on_it(site):
    pages = {path: parsed(path) for path in sorted(site.rglob("*.html"))}
    places = {path: {tag["id"] for tag in page.find_all(id=True)} for path, page in pages.items()}
    assert len(pages) > 40
    broken = []
    for path, page in pages.items():
        here = path.relative_to(site).as_posix()
        for tag, attribute in [("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")]:
            for target in [found[attribute] for found in page.find_all(tag) if found.get(attribute)]:
                if urlparse(target).scheme:
                    assert urlparse(target).scheme in ("https", "http", "data"), target
                    continue
                file, place = urldefrag(urljoin(here, unquote(target)).split("?")[0])
                there = site / (file or here)
                if not there.is_file() or (place and there in places and place not in places[there]):
                    broken.append(f"{here}: {target}")
    assert not broken


@of_the_site
def test_every_public_name_of_every_module_is_on_its_page(site):
    for folder in modules.PRIMITIVES:
        for name in modules.names(folder):
            found = public_names(ast.parse((modules.ROOT / f"{name}.py").read_text()))
            assert_described(site / f"{name}.html", f"closedform.{name.replace('/', '.')}", found)


@of_the_site
def test_symbol_tables_lead_to_words_of_the_glossary(site):
    """As the browser has them: every page with a symbol table, and the places that its words lead to."""
    places = {tag["id"] for tag in parsed(site / "glossary.html").find_all("dt", id=True)}
    words = set()
    for folder in modules.PRIMITIVES:
        for name in modules.names(folder):
            page = parsed(site / f"{name}.html")
            heads = [table.find("th").text for table in page.find_all("table")]
            tables = [head for head in heads if head in ("paper", "paper symbol")]
            targets = [tag["href"].partition("#") for tag in page.find_all("a", href=True) if "glossary.html" in tag["href"]]
            assert len(targets) >= len(tables), name
            words |= {place for _, _, place in targets if place}
    assert words <= places
    assert len(words) > 30


@of_the_site
def test_which_function_leads_to_every_function(site):
    links = {tag["href"] for tag in parsed(site / "which_function.html").find_all("a", href=True)}
    for folder in modules.PRIMITIVES:
        for name in modules.names(folder):
            tree = ast.parse((modules.ROOT / f"{name}.py").read_text())
            found = [one.name for one in tree.body if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")]
            assert {f"{name}.html#closedform.{name.replace('/', '.')}.{one}" for one in found} <= links


@of_the_site
def test_the_engines_names_are_on_its_page(site):
    assert_described(site / "engine.html", "closedform.sweeps", sweeps.__all__)


def public_names(tree):
    """Functions, classes with their public methods, and values, by a walk of its own."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef))
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))


def assert_described(path, module, found):
    page = path.read_text()
    public = [name for name in found if not any(part.startswith("_") for part in name.split("."))]
    assert public
    assert [name for name in public if f'id="{module}.{name}"' not in page] == []


@of_the_site
def test_front_page_shows_every_experiment(site):
    cards = parsed(site / "index.html").select(".cf-card")
    built = os.environ.get("CLOSEDFORM_SITE")
    assert {card.select_one(".cf-name").text for card in cards} == set(names() if built else SHOWN)
    assert all(card.select_one(".cf-claim").text and card.select_one(".cf-badge") and card.select_one("img") for card in cards)


# --- in a browser -----------------------------------------------------------------------------------------------------


def visit(browser, where, width, **options):
    """A page, what it wrote to its console and what it could not load."""
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    complaints = []
    page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    page.on("response", lambda answer: answer.status >= 400 and complaints.append(f"{answer.status}: {answer.url}"))
    page.goto(where, wait_until="load")
    return page, complaints


PICTURES = """async () => {
    const all = [...document.images];
    all.forEach(image => image.loading = "eager");
    await Promise.all(all.map(image => image.decode().catch(() => null)));
    return all.filter(image => !image.naturalWidth || !(image.alt || "").trim()).map(image => image.src.slice(0, 200));
}"""
OVERFLOW = "() => document.scrollingElement.scrollWidth - document.documentElement.clientWidth"
# formulas are drawn, with a font that has their signs
FORMULAS = """() => [...document.querySelectorAll("math")].filter(math =>
    math.checkVisibility() && math.getBoundingClientRect().height < 3).map(math => math.textContent)"""


def assert_in_order(page, complaints):
    assert page.evaluate(PICTURES) == []
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(FORMULAS) == []
    assert complaints == []


@of_the_site
def test_every_page_is_in_order(browser, site, address):
    """Each page once, wide and then narrow: loading takes longer than looking."""
    wrong = {}
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site).as_posix()
        page, complaints = visit(browser, address + name, WIDTHS[0])
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            try:
                assert_in_order(page, complaints)
            except AssertionError as error:
                wrong[name, width] = str(error)[:300]
        page.close()
    assert not wrong


def badges(page):
    found = page.query_selector_all("[data-verdict]")
    return {one.get_attribute("data-experiment"): one.get_attribute("data-verdict") for one in found}


@of_the_site
def test_badges_are_those_of_the_agreement_tables(browser, site, address):
    """The front page's badge, the page's own badge and the verdicts of the rows of its table say one thing."""
    page, _ = visit(browser, address, 1280)
    front = badges(page)
    assert set(SHOWN) <= set(front)
    for name, verdict in front.items():
        page, _ = visit(browser, f"{address}experiments/{name}.html", 1280)
        assert badges(page) == {name: verdict}
        rows = [row.inner_text().strip() for row in page.query_selector_all(".cf-agreement .cf-verdict")]
        assert rows
        expected = "disagrees" if "DISAGREES" in rows else "agrees" if set(rows) == {"agrees"} else "no verdict"
        assert verdict == expected
        page.close()


CONTRAST = """() => {
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const numbers = text => text.match(/[\\d.]+/g).map(Number);
    const behind = element => {
        for (let one = element; one; one = one.parentElement) {
            const found = numbers(getComputedStyle(one).backgroundColor);
            if (found.length < 4 || found[3] > 0) return found;
        }
        return [255, 255, 255];
    };
    const ratio = element => {
        const [a, b] = [light(numbers(getComputedStyle(element).color)), light(behind(element))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
    const chosen = ".cf-badge, .cf-claim, .cf-verdict, .cf-lead, h1, h2, main p, article p, th, dt, figcaption, .cf-table td";
    const seen = [...document.querySelectorAll(chosen)].filter(one => one.checkVisibility());
    return [seen.length, Math.min(...seen.map(ratio))];
}"""


def assert_readable(page):
    seen, least = page.evaluate(CONTRAST)
    assert seen > 10
    assert least >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_in_the_report(browser, report, scheme):
    page, _ = visit(browser, report.as_uri(), 1280, color_scheme=scheme)
    assert_readable(page)
    page.close()


@of_the_site
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_on_a_light_and_a_dark_page(browser, address, scheme):
    for name in ("index.html", f"experiments/{SHOWN[0]}.html"):
        page, _ = visit(browser, address + name, 1280, color_scheme=scheme)
        assert_readable(page)
        back = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        brightness = sum(int(part) for part in back.strip("rgba()").split(",")[:3]) / 3
        assert (brightness > 128) == (scheme == "light")
        page.close()


@of_the_site
def test_code_unfolds_and_tables_scroll_by_keyboard(browser, address):
    page, _ = visit(browser, f"{address}experiments/{SHOWN[0]}.html", 400)
    summary = page.locator("details > summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    table = page.locator(".cf-agreement").first.locator("xpath=..")
    table.focus()
    before = table.evaluate("one => one.scrollLeft")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("([one, before]) => one.scrollLeft > before", arg=[table.element_handle(), before])
    page.close()


# --- the report -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of an experiment of ours, a single run of it, and a sweep of a function with and without a prediction."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "mine.py").write_text(MINE)
    (folder / "other.py").write_text(OTHER)
    for words in (
        f"reproduce {SHOWN[2]} --preset quick",
        f"run {SHOWN[2]} --preset quick --seeds 3 --root-seed 5",
        "sweep mine.py:simulate --over rate=0.1,0.2,0.4 --seeds 50",
        "sweep other.py:unpredicted --over rate=0.1,0.2 --seeds 3",
        "report",
    ):
        with contextlib.chdir(folder):
            assert main(words.split()) in (0, 1)
    return folder / "report.html"


MINE = """
import jax

config = {"rate": 0.1, "size": 4}


def simulate(key, config):
    return {"mean": config["rate"] + 0.1 * jax.random.normal(key, (config["size"],))}


def predict(config):
    return {"mean": config["rate"] + jax.numpy.zeros(config["size"])}
"""

OTHER = """
import jax

config = {"rate": 0.1}


def unpredicted(key, config):
    return {"level": config["rate"] * jax.random.uniform(key, (5,))}
"""


@pytest.mark.parametrize("width", WIDTHS)
def test_report_is_one_file_in_order(browser, report, width):
    page, complaints = visit(browser, report.as_uri(), width)
    assert_in_order(page, complaints)
    loaded = page.evaluate("() => performance.getEntriesByType('resource').map(one => one.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
    sections = [one.inner_text() for one in page.query_selector_all("section h2")]
    assert len(sections) == 4
    assert sum(SHOWN[2] in text for text in sections) == 2
    assert page.locator("section figure img").count() >= 3
    shown = {one.get_attribute("id") for one in page.query_selector_all("section")}
    assert {one.get_attribute("href") for one in page.query_selector_all(".cf-card a")} == {f"#{name}" for name in shown}
    page.close()


def test_the_words_of_every_experiment_fit_a_narrow_report(browser, tmp_path):
    """Claims, formulas, commands and configs, folded or not: only what scrolls by itself is wider than the page."""
    shown = []
    for experiment in map(find, names()):
        over = {path: list(values) for path, values in experiment.grid.items()}
        asked = {"config": as_dict(experiment.Config()), "over": over, "root_seed": 0, "seeds": [0], "zipped": False}
        shown.append(entry(Stored(experiment, asked, None, {}, "current")))
    path = tmp_path / "report.html"
    path.write_text(pages.report(shown, "results"), encoding="utf-8")
    page, complaints = visit(browser, path.as_uri(), WIDTHS[-1])
    page.evaluate("() => document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate(OVERFLOW) <= 0
    assert complaints == []
    page.close()


def test_badges_of_the_report_are_those_of_the_stored_results(browser, report):
    from closedform.sweeps.results.catalogue import stored_results

    expected = []
    for stored in stored_results(report.parent / "results"):
        rows = compare(stored.experiment, stored.result)
        expected.append((stored.experiment.name, "no verdict" if not rows else "agrees" if agrees(rows) else "disagrees"))
    page, _ = visit(browser, report.as_uri(), 1280)
    for places in (".cf-card", "section h2"):
        found = page.query_selector_all(f"{places} [data-verdict]")
        shown = [(one.get_attribute("data-experiment"), one.get_attribute("data-verdict")) for one in found]
        assert sorted(shown) == sorted(expected)
    assert ("mine/simulate", "agrees") in expected
    assert ("other/unpredicted", "no verdict") in expected
    assert find(SHOWN[2]).about().claim in page.inner_text("body")
    page.close()
