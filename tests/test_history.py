"""What of the tests a run of the whole suite leaves to the nightly one: further cases of what was not changed lately."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from zoo import history

TESTS = history.ROOT / "tests"


def test_what_a_test_file_is_about():
    modes = history.subject(TESTS / "theory" / "linear_networks" / "test_modes.py")
    assert history.ROOT / "theory" / "linear_networks" / "modes.py" in modes
    assert history.ROOT / "theory" / "numerics" / "roots.py" not in modes  # what modes.py imports has tests of its own
    assert TESTS / "zoo" / "checks.py" not in modes
    engine = history.subject(TESTS / "sweeps" / "test_storage.py")
    assert {history.ROOT / "sweeps" / "results" / "agreement.py", history.ROOT / "sweeps" / "api.py"} <= engine
    assert history.subject(TESTS / "test_contracts.py") is None
    assert history.subject(TESTS / "theory" / "test_calls.py") is None


@pytest.mark.parametrize(("touched", "kept"), [([], ["one[a]", "two"]), (["modes.py"], ["one[a]", "one[b]", "two"])])
def test_an_untouched_file_has_the_first_case_of_each_test(monkeypatch, touched, kept):
    ages = {history.ROOT / "theory" / "linear_networks" / name: 0 for name in touched}
    monkeypatch.setattr(history, "changed", lambda commits: ages)
    path = Path(TESTS / "theory" / "linear_networks" / "test_modes.py")
    items = [SimpleNamespace(path=path, name=name, originalname=name.partition("[")[0]) for name in ("one[a]", "one[b]", "two")]
    assert [item.name for item in history.first_cases(items)] == kept


@pytest.mark.parametrize(
    ("touched", "kept"),
    [
        ([], ["a"]),
        (["figures/c/name.py"], ["a", "c"]),
        (["experiments/b/name.py"], ["a", "b"]),
        (["sweeps/api.py"], ["a", "b", "c"]),
    ],
)
def test_papers_that_were_touched_are_compiled_and_all_after_the_engine(monkeypatch, touched, kept):
    monkeypatch.setattr(history, "changed", lambda commits: {history.ROOT / name: 0 for name in touched})
    assert history.changed_papers(["a", "b", "c"], least=1) == kept
