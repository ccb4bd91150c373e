"""What is stale or superseded is found and removed, and nothing else: never what is read, or what a process works on."""

import shutil

import jax
import numpy as np
import pytest

import closedform.__main__ as command_line
from closedform.sweeps import UsageError, find, load, sweep
from closedform.sweeps.prune import prunable, remove
from closedform.sweeps.results import locks, store
from zoo import decay, estimate

QUIET = dict(progress=False, say=lambda _: None)
SMALL = {"sizes.num_samples": 20}


def earlier(experiment, **functions):
    """The same experiment with other functions: what stood there before an edit."""
    return experiment._replace(functions={**experiment.functions, **functions}, asked_by_name=False)


def digests(folder):
    found = (store.header(path, aside=False)[0] for path in store.files_below(folder, "[0-9a-f][0-9a-f]/*.nc"))
    return {(one.kind, one.digest) for one in found if one is not None}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results of `zoo/estimate` as it is and of an earlier version of it, over a grid; and the digests of the former."""
    folder, now = tmp_path_factory.mktemp("made"), find(estimate)
    options = dict(over={"scale": (1.0, 2.0)}, results=folder, **QUIET)
    sweep(now, SMALL, seeds=4, **options)
    current = digests(folder)
    simulate = now.functions["simulate"]
    before = earlier(now, simulate=lambda key, config: jax.tree.map(lambda leaf: 3 * leaf, simulate(key, config)))
    sweep(before, SMALL, seeds=3, refresh=True, **options)
    return folder, now, current


@pytest.fixture
def two_versions(made, tmp_path):
    folder, now, current = made
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return now, current


def test_stale_files_are_found_and_removed_and_the_others_stay(two_versions, tmp_path):
    now, current = two_versions
    assert len(digests(tmp_path)) == len(current) + 1
    kept = load(now, SMALL, over={"scale": (1.0, 2.0)}, results=tmp_path, say=QUIET["say"])
    found = prunable(tmp_path, own=now)
    simulated = [item for item in found.items if item.path.suffix == ".nc"]
    assert len(simulated) == 2  # two cells of the earlier version; its prediction is that of now
    assert {item.why for item in simulated} == {"stale: earlier version"}
    assert all(item.size == item.path.stat().st_size for item in found.items)
    gone, left = remove(found)
    assert (gone, left) == (found.items, [])
    assert digests(tmp_path) == current
    again = load(now, SMALL, over={"scale": (1.0, 2.0)}, results=tmp_path, say=QUIET["say"])
    np.testing.assert_array_equal(again["simulation"]["mean"], kept["simulation"]["mean"])
    assert prunable(tmp_path, own=now).items == []


def test_another_prediction_makes_the_earlier_one_stale_and_no_simulation(tmp_path):
    now = find(estimate)
    sweep(now, SMALL, seeds=2, over={"scale": (1.0, 2.0)}, results=tmp_path, **QUIET)
    other = now._replace(predictions={"prediction": now.predictions["prediction_naive"]}, asked_by_name=False)
    found = prunable(tmp_path, own=other)
    assert {item.path.parent.parent.name for item in found.items if item.path.suffix == ".nc"} == {"predictions"}
    assert [item.why for item in found.items if item.path.suffix == ".json"] == ["stale: earlier version"]


def test_without_its_code_nothing_is_called_stale(two_versions, tmp_path):
    found = prunable(tmp_path)
    assert found.items == []
    (line,) = found.left
    assert line.startswith("zoo/estimate: not checked whether it is stale; name its code")


@pytest.mark.parametrize("has_locks", [True, False])
def test_what_a_process_works_on_is_left_alone(two_versions, tmp_path, monkeypatch, has_locks):
    now, _ = two_versions
    lock = locks.take(tmp_path / "zoo" / "estimate" / "locks" / "a-part")
    lock.note({"cells": []})
    if not has_locks:  # then nobody can ask the system, and the name in the file counts
        monkeypatch.setattr(locks, "_lock", lambda descriptor: None)
    found = prunable(tmp_path, own=now)
    assert found.items == []
    assert "(process " in found.left[0]
    assert found.left[0].endswith("is at work")
    lock.release(done=False)
    assert prunable(tmp_path, own=now).items


def test_superseded_set_aside_and_cut_off_files(tmp_path):
    now = find(decay)
    sweep(now, {"num_steps": 20}, seeds=3, results=tmp_path, **QUIET)
    home = tmp_path / "zoo" / "decay"
    (final,) = [path for path in store.files_below(home, "??/*.nc") if "predictions" not in path.parts]
    expected = {
        final.with_suffix(".partial.nc"): "superseded: in another file",
        final.with_suffix(".damaged-1"): "set aside: damaged",
        final.with_suffix(".schema2"): "set aside: of an earlier version",
        final.with_name(f".{final.name}.0123abcd.tmp"): "cut off while it was written",
    }
    for path in expected:
        shutil.copy(final, path)
    checkpoint = home / "checkpoints" / final.stem / "block-4"
    checkpoint.mkdir(parents=True)
    (checkpoint / "about.json").write_text("x" * 100)
    expected[checkpoint.parent] = "superseded: its runs are finished"
    broken = home / "ab" / "abcdef.nc"
    broken.parent.mkdir(exist_ok=True)
    broken.write_bytes(final.read_bytes()[:-20])
    expected[broken] = "cannot be read back"
    with locks.writing(writing := home / ".busy.nc.tmp"):
        found = prunable(tmp_path, own=now)
        assert {item.path: item.why for item in found.items} == expected
    assert sum(item.size for item in found.items) == 4 * final.stat().st_size + 100 + final.stat().st_size - 20
    writing.unlink()
    remove(found)
    assert not any(path.exists() for path in expected)
    assert final.exists()
    assert prunable(tmp_path, "zoo", now).items == []
    assert prunable(tmp_path, "another", now) == ([], [])


def test_a_checkpoint_that_goes_on_is_kept(tmp_path):
    now = find(decay)
    sweep(now, {"num_steps": 20}, seeds=2, results=tmp_path, **QUIET)
    waiting = tmp_path / "zoo" / "decay" / "checkpoints" / "0123456789abcdef-01234567" / "block-4"
    waiting.mkdir(parents=True)
    assert prunable(tmp_path, own=now).items == []


MINE = """
config = {"a": 1.0}

def simulate(key, config):
    return config["a"] * FACTOR
"""


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "earlier").mkdir()
    for file, factor in (("earlier/mine.py", 2.0), ("mine.py", 3.0)):
        (tmp_path / file).write_text(MINE.replace("FACTOR", str(factor)))
        assert command_line.main(["run", f"{file}:simulate", "--seeds", "2", "--quiet"]) == 0
    capsys.readouterr()
    assert command_line.main(["prune"]) == 0
    assert "mine/simulate: not checked whether it is stale" in capsys.readouterr().out
    assert command_line.main(["prune", "mine.py:simulate"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1].startswith("1 file, ")
    assert lines[-1].endswith(" kB can be removed: the same with --remove")
    size = lines[-1].removeprefix("1 file, ").partition(" kB")[0]
    assert f"{size} kB  stale: earlier version  results/mine/simulate/" in "\n".join(lines)
    assert command_line.main(["prune", "mine.py:simulate", "--remove"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"removed: 1 file, {size} kB"
    assert command_line.main(["prune", "mine.py:simulate"]) == 0
    assert capsys.readouterr().out == "nothing is stale or superseded\n"
    assert command_line.main(["prune", "--results", "nowhere"]) == 2
    assert capsys.readouterr().err == "closedform: results: no folder nowhere\n"


def test_one_stored_file_is_opened_as_a_result(tmp_path):
    now = find(decay)
    sweep(now, {"num_steps": 20}, seeds=(2, 5), results=tmp_path, **QUIET)
    home = tmp_path / "zoo" / "decay"
    paths = store.files_below(home, "??/*.nc")
    (simulated,) = [path for path in paths if "predictions" not in path.parts]
    (predicted,) = [path for path in paths if "predictions" in path.parts]
    whole = load(now, {"num_steps": 20}, results=tmp_path)
    for given in (simulated, str(simulated)):
        one = load(given)
        assert set(one.children) == set(whole.children)
        for side in whole.children:
            assert one[side].to_dataset().equals(whole[side].to_dataset())
    assert one["simulation"]["seed"].values.tolist() == [2, 5]
    assert list(load(predicted).children) == ["prediction"]
    shutil.copy(simulated, tmp_path / "alone.nc")
    assert list(load(tmp_path / "alone.nc").children) == ["simulation"]


def test_a_file_of_a_grid_and_one_with_an_earlier_prediction(two_versions, tmp_path):
    now, _ = two_versions
    stale = {item.path for item in prunable(tmp_path, own=now).items}
    files = [path for path in store.files_below(tmp_path, "??/*.nc") if "predictions" not in path.parts]
    for path in files:
        one = load(path)
        assert one["simulation"].sizes["seed"] == (3 if path in stale else 4)
        scale = float(one["prediction"]["mean"])
        assert float(one["simulation"]["mean"].mean()) == pytest.approx(scale * (3 if path in stale else 1), rel=0.5)


@pytest.mark.parametrize("what", ["missing", "text", "cut", "changed", "folder"])
def test_a_file_that_is_no_result_is_refused_in_one_line_and_left_alone(two_versions, tmp_path, what):
    (good, *_) = store.files_below(tmp_path / "zoo", "??/*.nc")
    path = tmp_path / "bad.nc"
    content = good.read_bytes()
    wrong = {"text": b"netCDF", "cut": content[:-9], "changed": content[:500] + b"?" + content[501:]}
    if what == "folder":
        path.mkdir()
    elif what != "missing":
        path.write_bytes(wrong[what])
    with pytest.raises(UsageError) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith("bad")] == ([] if what == "missing" else ["bad.nc"])
    with pytest.raises(UsageError, match=r"load\(file\) alone"):
        load(good, {"scale": 1.0})
