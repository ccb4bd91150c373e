"""What a sweep survives: kills at any moment, Ctrl-C, a full disk, a read-only folder, damage, a second writer, wrong clocks.

Every fault is a real one where that is possible: SIGKILL on real processes, real small file systems.
"""

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from closedform.sweeps import Settings, UsageError, load, run, sweep
from closedform.sweeps.engine import checkpoints
from closedform.sweeps.engine import queue as queue_module
from closedform.sweeps.results import sealed, store
from closedform.sweeps.results.catalogue import sweeps_of
from zoo import decay, fragile, marathon

TESTS = str(Path(__file__).resolve().parent.parent)
OVER = {"rate": (3.8, 3.9)}
OPTIONS = {"over": OVER, "seeds": 3}
SMALL_STEPS = {"chunk": 20, "checkpoint_minutes": 0.15 / 60}


@pytest.fixture(autouse=True)
def _as_a_user_meets_it():
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def processes():
    """Fresh processes that have imported everything but started nothing: a second each instead of five."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = TESTS
    context = multiprocessing.get_context("forkserver")
    imported = ["zoo.marathon", "closedform.sweeps", "xarray", "h5netcdf", "orbax.checkpoint", "rich.console"]
    context.set_forkserver_preload(imported)
    yield context
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def in_peace(tmp_path_factory):
    """The files of a sweep that nothing disturbed."""
    folder = tmp_path_factory.mktemp("peace")
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        sweep(marathon, results=folder, progress=False, say=str, **OPTIONS)
    return contents(folder)


def contents(folder):
    """Every result file below a folder: its numbers, and all that is said of it but the seconds it took."""
    found = {}
    for path in sorted(Path(folder).rglob("*.nc")):
        block, message = store.read(path)
        assert message == ""
        said = {name: value for name, value in block.provenance.items() if name not in ("seconds", "memory", "content", "when")}
        numbers = {key: (axes, array.tobytes()) for key, (axes, array) in block.variables.items()}
        found[path.relative_to(folder).as_posix()] = (block.cells, block.seeds, block.stored.tobytes(), numbers, said)
    return found


def events(log):
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def finished(found):
    """The cells of `contents` of which all runs are stored."""
    return {
        cell for name, (cells, *_) in found.items() if "partial" not in name and "predictions" not in name for cell in cells
    }


def went_on(told):
    """The cells of which a checkpoint was made."""
    return {cell for event, runs, *_ in told if event == "saved" for cell, _ in runs}


# --- kills ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_kills_at_random_moments_and_inside_checkpoints_lose_nothing(wanted, processes, in_peace, tmp_path):
    """A process is killed while it writes a checkpoint, the next after it made one of every cell, the third at any moment.

    So at most two in a row get nowhere with a cell, however slow the machine is: the one that a third dies at has failed.
    """
    results, log, dice = tmp_path / "results", tmp_path / "log", random.Random(0)
    kills, torn = 0, 0
    while kills < wanted:
        how = {} if kills % 3 else {"inside": dice.randint(1, 60)}  # in one of the first checkpoints
        arguments = str(results), str(log), OPTIONS, SMALL_STEPS
        process = processes.Process(target=marathon.work, args=arguments, kwargs=how)
        known, left = len(events(log)), finished(in_peace) - finished(contents(results))
        process.start()
        if kills % 3 == 1:
            while process.is_alive() and not left <= went_on(events(log)[known:]):
                process.join(0.01)
        process.join(None if how else dice.uniform(0.0, 2.0))
        process.kill()
        process.join()
        if process.exitcode == 0:  # done before its time had come: once more from the start
            assert contents(results) == in_peace
            shutil.rmtree(results)
            log.write_text(log.read_text() + json.dumps(["afresh", [], 0, time.monotonic()]) + "\n")
            continue
        assert process.exitcode == -signal.SIGKILL
        kills += 1
        torn += bool(unfinished(results))
        for name, found in contents(results).items():  # whatever is there is whole, and claims no more than it has
            assert "partial" in name or found == in_peace[name]
    assert kills == wanted
    assert torn >= wanted // 10, "too few kills met a checkpoint that was being written"
    sweep(marathon, results=results, progress=False, say=str, **OPTIONS)
    assert contents(results) == in_peace
    assert not list(results.rglob("checkpoints/*"))
    assert not list(results.rglob(".*.tmp"))

    reached = {}
    for event, runs, begin, _ in events(log):
        if event == "afresh":
            reached = {}
        for run_ in map(tuple, runs):
            assert begin >= reached.get(run_, 0)  # never back behind the last checkpoint that was told of
            reached[run_] = begin


def test_a_run_is_checkpointed_once_an_interval_and_no_work_goes_without(tmp_path, monkeypatch):
    """By a clock that moves a minute a chunk: every fifth chunk is followed by a checkpoint, whatever the machine."""
    now, began = [0.0], []
    advanced, save = queue_module.Queue.advanced, checkpoints.save
    monkeypatch.setattr("closedform.sweeps.engine.executor.time.monotonic", lambda: now[0])

    def ticking(self, steps):
        advanced(self, steps)
        now[0] += 60.0

    monkeypatch.setattr(queue_module.Queue, "advanced", ticking)
    monkeypatch.setattr(checkpoints, "save", lambda *arguments: began.append(arguments[2]) or save(*arguments))
    settings = Settings(threads=1, chunk=100, checkpoint_minutes=5.0)
    run(marathon, {"num_steps": 2000}, seeds=1, results=tmp_path, progress=False, settings=settings)
    assert began == [500, 1000, 1500]


def kill_after_checkpoints(processes, results, log, number):
    """A process that works on the sweep until it has made so many checkpoints, and is killed then."""
    arguments, how = (str(results), str(log), OPTIONS, SMALL_STEPS), {"after": number, "stop": signal.SIGKILL}
    process = processes.Process(target=marathon.work, args=arguments, kwargs=how)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def wait_until(reached, process):
    """Wait for a state, as long as the process that leads to it is alive: no machine is too slow."""
    while not reached() and process.is_alive():
        time.sleep(0.01)
    assert reached()


def unfinished(results):
    """Checkpoints that are being written (or were, when their process was killed)."""
    found = []
    with contextlib.suppress(FileNotFoundError):  # it was finished while we looked
        found += [path for path in results.glob("zoo/marathon/checkpoints/*/*") if not path.name.rpartition("-")[2].isdigit()]
    return found


@pytest.mark.slow
def test_finished_runs_that_wait_for_their_cell_survive_a_kill(processes, tmp_path):
    """One cell of many seeds: it is no finished file for long, but what is done is stored every interval."""
    results, log = tmp_path / "results", tmp_path / "log"
    options = {"config": {"num_steps": 400}, "seeds": 4000}  # a minute's work, killed after two stores
    settings = {"checkpoint_minutes": 0.1 / 60, "threads": 1, "block": 1}
    process = processes.Process(target=marathon.work, args=(str(results), str(log), options, settings))
    process.start()

    def stored():
        return [path.stat().st_mtime_ns for path in results.rglob("*.partial.nc")]

    wait_until(stored, process)
    first = stored()
    wait_until(lambda: stored() != first, process)
    process.kill()
    process.join()
    kept = load(marathon, options["config"], results=results)
    assert 0 < kept["simulation"].sizes["seed"] < 4000
    whole = run(marathon, options["config"], seeds=100, results=results, progress=False)
    apart = run(marathon, options["config"], seeds=100, results=tmp_path / "apart", progress=False)
    np.testing.assert_array_equal(whole["simulation"]["x"], apart["simulation"]["x"])


@pytest.mark.parametrize("fault", ["interrupt", pytest.param("error of the source", marks=pytest.mark.slow)])
def test_what_is_in_progress_is_checkpointed_when_it_is_stopped(fault, tmp_path, monkeypatch):
    """After a stop a long run goes on from its last chunk, bitwise."""
    taken, original = [], checkpoints.load
    advanced = queue_module.Queue.advanced

    def until(self, steps):
        advanced(self, steps)
        self.steps_done = getattr(self, "steps_done", 0) + steps
        if self.steps_done >= 600:
            if fault == "interrupt":
                self.stop.set()
            else:
                raise UsageError("disk full")

    monkeypatch.setattr("closedform.sweeps.engine.runner._WORTH_SAVING", 0.0)
    monkeypatch.setattr(queue_module.Queue, "advanced", until)
    settings = Settings(threads=1, block=2, chunk=100)
    options = dict(seeds=2, results=tmp_path / "a", progress=False, settings=settings)
    if fault == "interrupt":
        monkeypatch.setattr(queue_module.Queue, "run", stopping(queue_module.Queue.run))
    with pytest.raises(KeyboardInterrupt if fault == "interrupt" else UsageError):
        run(marathon, **options)
    monkeypatch.setattr(queue_module.Queue, "advanced", advanced)
    monkeypatch.setattr(checkpoints, "load", lambda saved, *rest: taken.append(saved.begin) or original(saved, *rest))
    resumed = run(marathon, **{**options, "settings": Settings(threads=2, chunk=333)})
    assert set(taken) == ({300} if fault == "interrupt" else set())
    apart = run(marathon, **{**options, "results": tmp_path / "b"})
    np.testing.assert_array_equal(resumed["simulation"]["x"], apart["simulation"]["x"])


def stopping(original):
    """`Queue.run` that ends as Ctrl-C ends it, once its work has stopped."""

    def run_(self, *arguments):
        original(self, *arguments)
        if self.stop.is_set():
            raise KeyboardInterrupt

    return run_


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # orbax leaves an event loop when it fails
def test_a_damaged_checkpoint_is_said_and_its_runs_start_again(processes, in_peace, tmp_path):
    results, log = tmp_path / "results", tmp_path / "log"
    kill_after_checkpoints(processes, results, log, 4)
    for path in results.glob("zoo/marathon/checkpoints/*/*-*/**/d/*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    messages = []
    sweep(marathon, results=results, progress=False, say=messages.append, **OPTIONS)
    assert any("is damaged" in message and "start again" in message for message in messages)
    assert contents(results) == in_peace


def test_folders_that_vanish_while_they_are_listed_are_passed_over(tmp_path, monkeypatch):
    """As those of checkpoints do while `status` and `report` look for results."""
    for name in "abc":
        (tmp_path / name / "sweeps").mkdir(parents=True)
        (tmp_path / name / "sweeps" / "one.json").write_text("{}")
    original = os.scandir

    def scandir(path):
        if not isinstance(path, int) and Path(path).name == "b":
            shutil.rmtree(path)
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [path.parts[-3] for path in store.files_below(tmp_path, "sweeps/*.json")] == ["a", "c"]
    assert list(sweeps_of(tmp_path)) == []


def test_a_checkpoint_of_another_user_is_not_read(tmp_path, monkeypatch):
    saved = checkpoints.save(tmp_path / "part", [("ab", 0)], 5, 1, [np.ones(3)], "digest")
    assert [one.begin for one in checkpoints.find(tmp_path / "part", tidy=True)[0]] == [5]
    monkeypatch.setattr(os, "getuid", lambda: saved.path.stat().st_uid + 1)
    found, messages = checkpoints.find(tmp_path / "part", tidy=True)
    assert found == []
    assert "belongs to another user" in messages[0]


# --- several processes ----------------------------------------------------------------------------------------------------


def test_two_processes_share_a_sweep_and_compute_nothing_twice(processes, in_peace, tmp_path):
    results, logs = tmp_path / "results", [tmp_path / "a", tmp_path / "b"]
    both = [processes.Process(target=marathon.work, args=(str(results), str(log), OPTIONS, SMALL_STEPS)) for log in logs]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert contents(results) == in_peace
    cells = [{cell for _, runs, _, _ in events(log) for cell, _ in runs} for log in logs]
    assert not cells[0] & cells[1]
    assert len(cells[0] | cells[1]) == 2


@pytest.mark.slow
def test_what_a_killed_process_held_is_taken_over_by_one_that_waits(processes, in_peace, tmp_path):
    """The first stands still with its locks after a checkpoint, and is killed when the second has found them held."""
    results, logs = tmp_path / "results", [tmp_path / "a", tmp_path / "b"]
    first, second = (
        processes.Process(target=marathon.work, args=(str(results), str(log), OPTIONS, SMALL_STEPS), kwargs=how)
        for log, how in zip(logs, ({"after": 1, "stop": signal.SIGSTOP}, {}), strict=True)
    )
    first.start()
    wait_until(lambda: any(event == "saved" for event, *_ in events(logs[0])), first)
    second.start()
    wait_until(lambda: events(logs[1]), second)
    time.sleep(1.5)  # whether it has got to the locks by then or comes to them later, it has to take up what is there
    first.kill()
    first.join()
    second.join()
    assert second.exitcode == 0
    assert any(event == "taken up" for event, *_ in events(logs[1]))
    assert contents(results) == in_peace


@pytest.mark.slow
def test_checkpoints_are_taken_up_when_seeds_are_cut_otherwise(processes, tmp_path, monkeypatch):
    """Killed with three seeds in a part; asked for again with five, by another number of processes."""
    results, log = tmp_path / "results", tmp_path / "log"
    kill_after_checkpoints(processes, results, log, 3)
    taken, original = [], checkpoints.load
    monkeypatch.setattr(checkpoints, "load", lambda saved, *rest: taken.append(saved.begin) or original(saved, *rest))
    options = {**OPTIONS, "seeds": 5}
    more = sweep(marathon, results=results, progress=False, say=str, **options)
    assert taken
    apart = sweep(marathon, results=tmp_path / "apart", progress=False, say=str, **options)
    np.testing.assert_array_equal(more["simulation"]["x"], apart["simulation"]["x"])
    assert not list(results.glob("zoo/marathon/checkpoints/*/*"))


@pytest.mark.slow
def test_processes_without_locks_do_no_harm_at_the_same_time(in_peace, tmp_path):
    program = (
        "import errno, fcntl, sys\n"
        "def refuse(*_):\n    raise OSError(errno.ENOSYS, 'not here')\n"
        "fcntl.flock = refuse\n"
        f"sys.path.insert(0, {TESTS!r})\n"
        "from zoo import marathon\n"
        f"marathon.work(sys.argv[1], sys.argv[2], {OPTIONS!r}, {SMALL_STEPS!r})\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "results")]
    both = [subprocess.Popen([*command, str(tmp_path / name)], stderr=subprocess.PIPE, text=True) for name in ("a", "b")]
    for process in both:
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert contents(tmp_path / "results") == in_peace


@pytest.mark.slow
def test_where_there_are_no_locks_two_processes_do_no_harm(in_peace, tmp_path, monkeypatch):
    import errno
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    for _ in range(2):
        sweep(marathon, results=tmp_path, progress=False, say=str, **OPTIONS)
    assert contents(tmp_path) == in_peace


# --- disks ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 kB; remounted at another size or read-only by calling it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")

    def remount(option):
        subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)

    yield folder, remount
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_said_in_one_line_and_nothing_is_lost(small_disk, tmp_path):
    folder, remount = small_disk
    over = {"rate": tuple(np.linspace(0.01, 0.9, 40).tolist())}
    options = dict(over=over, seeds=20, progress=False, say=str)
    with pytest.raises(UsageError, match=r"cannot be written \(No space left on device\); finished results .* kept"):
        sweep(decay, results=folder, **options)
    kept = contents(folder)
    assert 2 < len(kept) < 40
    assert not list(folder.rglob(".*.tmp"))
    remount("size=8m")
    resumed = sweep(decay, results=folder, **options)
    assert contents(folder).items() >= kept.items()
    whole = sweep(decay, results=tmp_path / "apart", **options)
    np.testing.assert_array_equal(resumed["simulation"]["x"], whole["simulation"]["x"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as above
def test_a_disk_that_fills_up_under_a_checkpoint(small_disk, in_peace, tmp_path):
    folder, remount = small_disk
    remount("size=300k")
    settings = Settings(chunk=20, checkpoint_minutes=0.05 / 60)
    with pytest.raises(UsageError, match="cannot be written"):
        sweep(marathon, results=folder, progress=False, say=str, settings=settings, **OPTIONS)
    remount("size=8m")
    sweep(marathon, results=folder, progress=False, say=str, settings=settings, **OPTIONS)
    assert contents(folder) == in_peace


def test_a_read_only_folder_is_read_and_not_written(small_disk, monkeypatch):
    folder, remount = small_disk
    options = dict(over={"rate": (0.1, 0.2)}, results=folder, progress=False, say=str)
    first = sweep(decay, seeds=2, **options)
    remount("ro")
    again = sweep(decay, seeds=2, **options)
    np.testing.assert_array_equal(first["simulation"]["x"], again["simulation"]["x"])
    monkeypatch.setattr(queue_module, "execute", lambda *_: pytest.fail("computed"))
    with pytest.raises(UsageError, match=r"cannot be written \(Read-only file system\); choose another: --results"):
        sweep(decay, seeds=3, **options)


def test_a_read_only_folder_with_a_failed_cell_is_read(small_disk):
    folder, remount = small_disk
    options = dict(over={"size": (4, 7)}, seeds=2, results=folder, progress=False, say=str)
    first = sweep(fragile, **options)
    remount("ro")
    again = sweep(fragile, **options)
    np.testing.assert_array_equal(first["simulation"]["failed"], again["simulation"]["failed"])


def test_what_the_system_refuses_is_no_damage(tmp_path, monkeypatch):
    """Too many open files, say: told, and every file stays where it is."""
    import h5py

    run(decay, seeds=2, results=tmp_path, progress=False)
    files = sorted(tmp_path.rglob("*"))

    def refuse(*_, **__):
        raise OSError(24, "Too many open files")

    for where, name in ((h5py, "File"), (sealed, "_label")):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, refuse)
            with pytest.raises(UsageError, match="cannot be read"):
                run(decay, seeds=2, results=tmp_path, progress=False)
    assert sorted(tmp_path.rglob("*")) == files


def test_nothing_in_a_file_from_others_is_executed(tmp_path, monkeypatch):
    """A pickle that would run code, in the place of a result and in the place of a checkpoint: damage, not a program."""
    import pickle

    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "sprung").touch, ())

    run(decay, seeds=2, results=tmp_path, progress=False)
    (path,) = tmp_path.glob("zoo/decay/??/*.nc")
    path.write_bytes(pickle.dumps(Trap()))
    messages = []
    run(decay, seeds=2, results=tmp_path, progress=False, say=messages.append)
    assert "damaged" in messages[0]
    fake = tmp_path / "part" / f"{'0' * 16}-5"
    fake.mkdir(parents=True)
    (fake / "_METADATA").write_bytes(pickle.dumps(Trap()))
    assert checkpoints.find(tmp_path / "part", tidy=True)[0] == []
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("where", ["middle", "header", "end"])
def test_damage_of_every_kind_is_found_and_mended(where, tmp_path):
    """One file of a sweep is damaged where its header is, among its numbers, or cut short: said, kept aside, computed again."""
    options = dict(over={"rate": (0.1, 0.2, 0.3)}, seeds=3, results=tmp_path, progress=False)
    first, messages = sweep(decay, say=str, **options), []
    before = contents(tmp_path)
    path = sorted(tmp_path.rglob("zoo/decay/??/*.nc"))[1]
    content = bytearray(path.read_bytes())
    if where == "end":
        content = content[:-100]
    else:
        place = content.index(first["simulation"]["x"].values[..., :2, :].tobytes()[:4]) if where == "middle" else 3
        content[place] ^= 4
    path.write_bytes(content)
    again = sweep(decay, say=messages.append, **options)
    np.testing.assert_array_equal(first["simulation"]["x"], again["simulation"]["x"])
    assert sum("is damaged" in message for message in messages) == (contents(tmp_path) == before)
    assert contents(tmp_path) == before


# --- clocks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("days", [-30, 30])
def test_a_clock_that_is_wrong_between_two_runs_makes_no_difference(days, processes, in_peace, tmp_path, monkeypatch):
    """Files (checkpoints too) from last month or the next: no decision reads a clock."""
    results, log = tmp_path / "results", tmp_path / "log"
    kill_after_checkpoints(processes, results, log, 3)
    for path in results.rglob("*"):
        when = time.time() + 86400 * days
        os.utime(path, (when, when))
    taken, original = [], checkpoints.load
    monkeypatch.setattr(checkpoints, "load", lambda saved, *rest: taken.append(saved.begin) or original(saved, *rest))
    sweep(marathon, results=results, progress=False, say=str, **OPTIONS)
    assert taken
    assert contents(results) == in_peace


@pytest.mark.slow
def test_a_terminated_command_stores_what_it_has_and_goes_on(tmp_path):
    """SIGTERM to the command line: exit code 130, and the same command finishes from there."""
    command = [sys.executable, "-m", "closedform", "sweep", marathon.__file__, "--over", "rate=3.8,3.9", "--seeds", "3"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    home = tmp_path / "results" / "marathon"
    while not list(home.glob("locks/*")) and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1)  # into the work; it may also be done by now, or not have begun
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode in (130, 0)
    assert "Traceback" not in said
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "agrees" in done.stdout
