"""The bibliography: entries and mentions cover each other, others read the file too, and `cite` finds what is behind."""

import ast
import codecs
import re
import tomllib

import jax
import pytest

import closedform.__main__ as command_line
from closedform.gallery import bibliography, modules
from closedform.sweeps import UsageError, find, run, sweep
from zoo.checks import rejected

ENTRIES = bibliography.entries()
PAPERS = [key for key in ENTRIES if key != bibliography.OWN]
FOLDERS = (*modules.PRIMITIVES, "experiments")
SOURCES = sorted(
    [
        *(path for folder in FOLDERS for path in (modules.ROOT / folder).rglob("*.py")),
        *(modules.ROOT / "docs").rglob("*.md"),
        modules.ROOT / "README.md",
    ]
)
SILENT = {"a", "an", "and", "are", "as", "can", "for", "from", "in", "is", "of", "on", "the", "to", "towards", "what", "with"}
GLASGOW, SHARKEY, PEARCE, ZHANG = "glasgow2023sgd", "sharkey2023technical", "pearce2024bilinear", "zhang2023wider"


@pytest.fixture(autouse=True)
def _as_a_user_meets_it():
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def cited(capsys, text):
    """The keys that `closedform cite` prints."""
    assert command_line.main(["cite", *text.split()]) == 0
    return re.findall(r"^@\w+\{(\w+),", capsys.readouterr().out, flags=re.MULTILINE)


# --- the file and the docstrings --------------------------------------------------------------------------------------------


def known(text):
    identified = {one for entry in ENTRIES.values() for one in bibliography.identifiers(entry)}
    assert set(bibliography.mentions(text)) <= identified


def test_every_number_that_a_module_or_a_page_names_has_an_entry():
    for path in SOURCES:
        known(path.read_text())


@pytest.mark.parametrize(
    "words",
    ["arXiv 2309.15112", "arXiv\n1906.99999", "arXiv:2309.15112", "https://arxiv.org/abs/2309.15112", "doi 10.1214/aoms/1"],
)
def test_an_unknown_number_is_seen(words):
    rejected(known, f"{modules.document('theory/feature_learning/xor')} See {words}.")


def named(key, texts):
    assert any(key in bibliography.cited_by(text) for text in texts)


@pytest.mark.parametrize("key", PAPERS)
def test_every_entry_is_named_by_a_module_or_a_page(key):
    named(key, [path.read_text() for path in SOURCES])


def test_an_entry_that_nobody_names_is_seen():
    rejected(named, GLASGOW, [path.read_text().replace("2309.15111", "") for path in SOURCES])


def complete(entry):
    where = {"article": {"journal"}, "inproceedings": {"booktitle"}, "book": {"publisher"}}  # the pages are not made without
    assert {"author", "title", "year"} | where.get(re.match(r"@(\w+)", entry.text)[1], set()) <= entry.fields.keys()
    assert re.fullmatch(r"(18|19|20)\d\d", entry.fields["year"])
    assert ("eprint" in entry.fields) == (entry.fields.get("archivePrefix") == "arXiv")
    assert entry.key == bibliography.OWN or bibliography.identifiers(entry)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_entries_are_complete(entry):
    complete(entry)
    for field in ("author", "title", "year"):
        rejected(complete, entry._replace(fields={name: entry.fields[name] for name in entry.fields if name != field}))


def test_no_two_entries_share_a_number():
    numbers = [one for entry in ENTRIES.values() for one in bibliography.identifiers(entry)]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("key", PAPERS)
def test_keys_are_author_year_and_first_word_that_says_something(key):
    fields = ENTRIES[key].fields
    family = re.sub(r"[^a-z]", "", fields["author"].partition(",")[0].lower())
    words = re.findall(r"[a-z0-9]+", fields["title"].replace("{", "").replace("}", "").lower())
    preprint = f"20{fields['eprint'][:2]}" if "eprint" in fields else fields["year"]
    assert key == family + preprint + next(word for word in words if word not in SILENT)
    assert int(preprint) <= int(fields["year"])


def test_the_order_is_that_of_the_keys():
    assert list(ENTRIES) == [*sorted(PAPERS), bibliography.OWN]
    for path in bibliography.FOLDER.glob("*.bib"):
        keys = list(bibliography.read(path.read_text()))
        assert keys == sorted(keys), path.name


def test_a_key_stands_in_one_file(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / f"{name}.bib").write_text(ENTRIES[bibliography.OWN].text)
    monkeypatch.setattr(bibliography, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"two.bib has closedform, as another file does"):
        bibliography.entries.__wrapped__()


def test_the_entry_of_the_package_says_what_pyproject_says():
    project = tomllib.loads((modules.ROOT / "pyproject.toml").read_text())["project"]
    fields = ENTRIES[bibliography.OWN].fields
    assert fields["version"] == project["version"]
    assert fields["title"] == f"{{{project['name']}}}: {project['description']}"
    assert {"doi", "url", "eprint"}.isdisjoint(fields)


# --- the reader -------------------------------------------------------------------------------------------------------------


def test_an_independent_parser_reads_the_same():
    pybtex = pytest.importorskip("pybtex.database")
    text = "\n".join(path.read_text() for path in sorted(bibliography.FOLDER.glob("*.bib")))
    other = pybtex.parse_string(text, "bibtex").entries
    assert set(other) == set(ENTRIES)
    for key, entry in ENTRIES.items():
        people = entry.fields["author"].split(" and ")
        assert len(other[key].persons["author"]) == len(people)
        assert {name: other[key].fields[name] for name in entry.fields if name != "author"} == {
            name: value for name, value in entry.fields.items() if name != "author"
        }
        assert entry.text in text


def test_accents_are_read_as_an_independent_decoder_reads_them():
    pytest.importorskip("latexcodec")  # registers the codec
    for entry in ENTRIES.values():
        first = codecs.decode(entry.fields["author"], "ulatex").replace("{", "").replace("}", "").partition(" and ")[0]
        assert bibliography.plain(entry).startswith(" ".join(reversed(first.split(", "))))
    assert "Clément Hongler" in bibliography.plain(ENTRIES["jacot2018neural"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("@misc{a,\n  year = {1},\n  year = {2},\n}", "line 3"),
        ("@misc{a,\n  year = 1,\n}", "line 2"),
        ("@misc{a,\n  title = {one {two},\n}", "line 2"),
        ("@misc{a,\n  title = {one} and {two},\n}", "line 2"),
        ("@misc{a,\n  title = {of\n    two lines},\n}", "line 2"),
        ("@misc{a,\n}\n@misc{a,\n}", "line 3: '@misc{a,' opens no new entry"),
        ("title = {1},", "line 1: 'title = {1},' opens no new entry"),
        ("@misc{a,\n  year = {1},", "a is not closed"),
    ],
)
def test_another_layout_is_refused_with_its_line(text, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        bibliography.read(text)


# --- who stands behind what -------------------------------------------------------------------------------------------------


def test_the_order_of_a_text_is_kept_and_nothing_is_said_twice():
    text = "doi 10.1214/AOMS/1177728074, arXiv 2410.08417 (arXiv\n2309.15111); arXiv:2410.08417v2, yann.lecun.com/exdb/mnist."
    assert bibliography.cited_by(text) == ["owen1956tables", PEARCE, GLASGOW, "lecun1998mnist"]


def test_a_number_without_its_name_cites_nothing():
    assert bibliography.cited_by("2309.15111 samples, version 2410.08417, 10.1214/aoms/1177728074") == []


def test_own_papers_stand_first_then_those_of_direct_imports(tmp_path, monkeypatch):
    files = {
        "theory/law": '"""Law. arXiv 2309.15111"""\nfrom . import deep',
        "theory/deep": '"""Deep. arXiv 2305.03452"""',
        "solvers/fit": '"""Fit. arXiv 2410.08417"""',
        "models/net": '"""Net. arXiv 2212.06011"""',
        "tasks/data": '"""Data. arXiv 2307.11353"""',
        "experiments/new/_shared": '"""Shared. arXiv 1412.6572"""\nfrom ...solvers import fit',
        "experiments/new/one": '"""One. arXiv 1706.06083"""\n'
        "from ...tasks import data\nfrom ...models import net\nfrom ...theory import law\nfrom . import _shared",
        "experiments/new/two": '"""Two."""',
    }
    for name, text in files.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(modules, "ROOT", tmp_path)
    own = ["madry2017deep", GLASGOW, "goodfellow2014explaining", PEARCE]
    assert bibliography.citations("experiments/new/one") == own  # not theory/deep, which only the law imports, nor the data
    assert bibliography.citations("theory/law") == [GLASGOW]  # a module answers for itself
    assert bibliography.citations("experiments/new/two") == []
    assert bibliography.citing(GLASGOW) == ["theory/law", "experiments/new/one"]
    assert bibliography.citing(SHARKEY) == ["theory/deep"]


def test_every_experiment_that_imports_a_theory_owes_it_its_papers():
    for name in modules.names("experiments"):
        tree = ast.parse((modules.ROOT / f"{name}.py").read_text())
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "theory"]
        for theory in (alias.name for node in imports for alias in node.names):
            owed = bibliography.cited_by(modules.document(f"theory/{theory}"))
            assert set(owed) <= set(bibliography.citations(name))


def test_the_reverse_agrees():
    for key in (GLASGOW, PEARCE):
        found = bibliography.citing(key)
        for folder in FOLDERS:
            for name in modules.names(folder):
                assert (name in found) == (key in bibliography.citations(name))


# --- the command ------------------------------------------------------------------------------------------------------------


def test_cite_a_paper_an_experiment_and_a_module(capsys):
    assert cited(capsys, "xor") == [GLASGOW, bibliography.OWN]
    assert cited(capsys, "xor/phases") == [GLASGOW, bibliography.OWN]
    for name in ("models/bilinear/bilinear", "models.bilinear.bilinear"):
        assert cited(capsys, name) == [SHARKEY, PEARCE, bibliography.OWN]
    assert cited(capsys, "tasks/waves") == [bibliography.OWN]
    assert cited(capsys, "xor models/bilinear/bilinear xor/noise") == [GLASGOW, SHARKEY, PEARCE, bibliography.OWN]


def test_what_is_printed_can_be_appended_to_a_file(capsys):
    assert command_line.main(["cite", "bilinear"]) == 0
    printed = capsys.readouterr().out
    assert bibliography.read(printed) == {key: ENTRIES[key] for key in bibliography.read(printed)}
    assert list(bibliography.read(printed))[-1] == bibliography.OWN


def test_plain_is_a_line_each(capsys):
    assert command_line.main(["cite", "--plain", "models/bilinear/bilinear_classifier"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    title = "Bilinear MLPs Enable Weight-Based Mechanistic Interpretability"
    assert first == f"Michael T. Pearce et al., {title}, International Conference on Learning Representations, 2025"
    assert last.startswith("The closedform developers, closedform: ")


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("he2024matters", "Shwai He et al., What Matters in Transformers? Not All Attention is Needed, arXiv 2406.15786, 2024"),
        (
            "lecun1998mnist",
            "Yann LeCun, Corinna Cortes and Christopher J. C. Burges, The MNIST Database of Handwritten ",
        ),
        ("isserlis1918formula", "Leon Isserlis, On a Formula for the Product-Moment Coefficient of any Order of a Normal "),
        ("neal1996bayesian", "Radford M. Neal, Bayesian Learning for Neural Networks, Springer, 1996"),
    ],
)
def test_plain_names_place_and_year(key, line):
    assert bibliography.plain(ENTRIES[key]).startswith(line)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of an experiment of the package and of a sweep of a function of the user's."""

    def simulate(key, config):
        return {"x": config["rate"] * jax.random.normal(key)}

    folder = tmp_path_factory.mktemp("made") / "results"
    how = {"results": folder, "progress": False, "say": str, "seeds": 2}
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        run("voting_networks/discussion", find("voting_networks/discussion").default_config("quick"), **how)
        sweep(simulate, {"rate": 0.1}, over={"rate": (0.1, 0.2)}, **how)
    return folder


@pytest.mark.slow
def test_cite_a_result_file(results, capsys):
    ours = list((results / "voting_networks").rglob("*.nc"))
    others = [path for path in results.rglob("*.nc") if path not in ours]
    assert ours
    assert others
    for path in ours:
        assert cited(capsys, str(path)) == cited(capsys, "voting_networks/discussion")
    for path in others:
        assert cited(capsys, str(path)) == [bibliography.OWN]


def test_cite_a_results_folder(results, capsys):
    expected = [ZHANG, bibliography.OWN]
    for folder in (results, results / "voting_networks", results / "voting_networks" / "discussion"):
        assert cited(capsys, str(folder)) == expected
    assert cited(capsys, f"{results} xor") == [ZHANG, GLASGOW, bibliography.OWN]


def test_a_damaged_file_among_good_ones_is_named_and_left_out(results, tmp_path, capsys):
    path = next((results / "voting_networks").rglob("*.nc"))
    for name, content in (("aa/good.nc", path.read_bytes()), ("00/bad.nc", path.read_bytes()[:500])):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    assert command_line.main(["cite", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert list(bibliography.read(printed.out)) == [ZHANG, bibliography.OWN]
    assert "bad.nc: damaged, or no result of closedform" in printed.err


@pytest.fixture
def odd(tmp_path, results, monkeypatch):
    """A folder with files that are no results of ours."""
    import h5py

    monkeypatch.chdir(tmp_path)
    whole = next((results / "voting_networks").rglob("*.nc")).read_bytes()
    (tmp_path / "cut.nc").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.nc").write_text("no netCDF")
    (tmp_path / "empty.nc").touch()
    (tmp_path / "folder.nc").mkdir()
    for name, said in (("foreign", None), ("words", "no JSON"), ("list", "[1]"), ("nameless", "{}")):
        with h5py.File(tmp_path / f"{name}.nc", "w") as file:
            if said is not None:
                file.attrs["closedform"] = said
    (tmp_path / "nothing").mkdir()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cite: got no name; allowed: one or more papers"),
        ("xro", "unknown paper, experiment or module 'xro'; nearest: xor"),
        ("xor/phase", "unknown paper, experiment or module 'xor/phase'; nearest: xor/phases"),
        ("xor nothing.nc", "nothing.nc: cannot be read (No such file or directory)"),
        ("nothing", "nothing: holds no results; allowed: a folder that --results named"),
        ("--plian xor", "--plian"),
        ("folder.nc", "folder.nc: cannot be read"),
        *((f"{name}.nc", f"{name}.nc: damaged, or no result of closedform") for name in ("cut", "text", "empty", "foreign")),
        *((f"{name}.nc", f"{name}.nc: damaged, or no result of closedform") for name in ("words", "list", "nameless")),
    ],
)
@pytest.mark.usefixtures("odd")
def test_a_mistake_gives_one_line_and_exit_code_2(text, says, capsys):
    assert command_line.main(["cite", *text.split()]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    assert printed.out == ""


@pytest.mark.usefixtures("odd")
def test_a_folder_of_files_that_are_no_results_is_refused():
    messages = []
    with pytest.raises(UsageError, match="holds no results"):
        bibliography.behind(".", messages.append)
    assert len(messages) == 7  # of every file; folder.nc is none
