"""Every byte that is read back is covered: nothing that has changed is read unnoticed, and nothing foreign stops the engine."""

import errno
import fcntl
import os
import random
import shutil
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from closedform import __main__ as command_line
from closedform.sweeps import Settings, UsageError, load, run, sweep
from closedform.sweeps.contract.request import Version
from closedform.sweeps.engine import checkpoints
from closedform.sweeps.results import catalogue, failures, locks, netcdf, sealed, states, store
from zoo import decay

CELLS = ["c682fb808969cc24", "d297f01aca97e8ca"]


def a_block(cells=1, seeds=4):
    """Some runs, as the engine stores them; every third is missing where there are several cells."""
    dice = np.random.default_rng(0)
    x, total = dice.random((cells, seeds, 2, 3)).astype(np.float32), dice.random((cells, seeds))
    stored = np.ones((cells, seeds), bool) if cells == 1 else (np.arange(cells * seeds) % 3 > 0).reshape(cells, seeds)
    variables = {
        ("simulation", "x"): (("cell", "seed", "step", "place"), x),
        ("simulation", "total"): (("cell", "seed"), total),
        ("prediction", "x"): (("cell", "step", "place"), x[:, 0].astype(float)),
    }
    said = {"experiment": "zoo/decay", "config": {"rate": 3.7}, "root_seed": 0, "digest": "ab" * 8, "seconds": 1.5}
    said |= {"sources": "cd" * 8, "versions": {"jax": "0.10.2"}}
    names = [f"{int(CELLS[0], 16) + cell:016x}" for cell in range(cells)]
    return store.Block(
        "simulation", names, list(range(1000, 1000 + seeds)), stored, variables, {"place": np.array(["a", "b", "c"])}, said
    )


def a_result(folder):
    store.write(folder / "c6" / f"{CELLS[0]}-00000000.nc", a_block())
    return folder


def several_cells(folder):
    store.write(folder / "blocks" / "c6" / "c6.nc", a_block(cells=3, seeds=50))
    return folder


def a_trained_state(folder):
    carry = {"state": {"w": np.arange(12.0).reshape(4, 3)}, "alive": np.ones(4, bool)}
    states.save(folder, "ab" * 8, [0, 1, 2, 5], carry, jax.tree.leaves(carry), {"experiment": "zoo/regression"})
    return folder


def values(tree):
    """All that a tree holds, as text."""
    inside = [
        f"{node.path} {name} {array.dims} {array.dtype} {array.values.tolist()}"
        for node in tree.subtree
        for name, array in sorted(node.variables.items())
    ]
    return [*inside, tree.attrs["closedform"]]


def everything(folder):
    """What can be read of the files below a folder: labels, numbers, provenance; and whether something was said."""
    read, said = [], []
    for path in sorted(folder.rglob("*.nc")):
        label, first = store.read_label(path)
        tree, second = store.read_tree(path)
        said += [first, second]
        read.append((path, label, None if tree is None else values(tree)))
    return read, any(said)


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def flips(make, read, folder, wanted):
    """Flip single bits of what `make` has written, spread over all files: it is noticed, or what is read is the same."""
    whole = make(folder / "whole")
    expected, said = read(whole)
    assert not said
    sizes = [(path.relative_to(whole), 8 * path.stat().st_size) for path in sorted(whole.rglob("*")) if path.is_file()]
    dice, noticed = random.Random(0), 0
    for number in range(wanted):
        path, bits = sizes[number % len(sizes)]
        copy = shutil.copytree(whole, folder / "copy")
        flip(copy / path, bit := dice.randrange(bits))
        found, said = read(copy)
        same = repr(found).replace(str(copy), str(whole)) == repr(expected)
        assert said or same, f"bit {bit} of {path} was not noticed"
        noticed += bool(said)
        shutil.rmtree(copy)
    return noticed / wanted


@pytest.mark.parametrize("wanted", [40, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", [a_result, several_cells, a_trained_state])
def test_a_flipped_bit_of_a_result_is_noticed_wherever_it_is(make, wanted, tmp_path):
    assert flips(make, everything, tmp_path, wanted) == 1


@pytest.mark.parametrize("make", [a_result, several_cells])
def test_other_programs_notice_a_changed_number(make, tmp_path):
    import h5py
    import xarray

    (path,) = make(tmp_path).rglob("*.nc")
    content = path.read_bytes()
    number = xarray.load_dataset(path, group="simulation")["total"].values.tobytes()[:8]
    path.write_bytes(content.replace(number, bytes([number[0] ^ 1]) + number[1:]))
    with pytest.raises(OSError, match="filter returned failure"):
        xarray.load_dataset(path, group="simulation")
    with h5py.File(path) as file, pytest.raises(OSError, match="filter returned failure"):
        file["simulation/total"][()]


@pytest.mark.parametrize("make", [a_result, several_cells])
def test_small_files_stay_small(make, tmp_path):
    """The checksums of HDF5 cost less than its newer format saves."""
    (path,) = make(tmp_path).rglob("*.nc")
    content, tree = sealed.read_label(path)["content"][0], store.read_tree(path)[0]
    assert content < len(tree.to_netcdf(engine="h5netcdf"))
    assert path.stat().st_size < content + 1000


def test_large_arrays_are_stored_in_equal_pieces_of_bounded_size():
    for shape in [(3,), (5_000_000,), (7, 3_000_000), (2, 3, 40_000_000), (3, 5000, 1000), (1, 2_100_000)]:
        pieces = netcdf._chunks(shape, 8)
        assert len(pieces) == len(shape)
        assert 8 * np.prod(pieces) <= 2 * netcdf._CHUNK_BYTES
        assert all(1 <= piece <= size for piece, size in zip(pieces, shape, strict=True))
        filled = [-(-size // piece) * piece for piece, size in zip(pieces, shape, strict=True)]
        assert np.prod(filled) <= 1.01 * np.prod(shape)


def test_a_file_of_an_earlier_version_is_told_as_such(tmp_path):
    import h5py

    path = tmp_path / "c6" / f"{CELLS[0]}-00000000.nc"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file.attrs["closedform"] = '{"schema": 2, "digest": "ab"}'
    found, messages = store.headers(tmp_path, CELLS)
    assert found == []
    assert "has schema 2, not 3; kept as" in messages[0]


def foreign(path, kind):
    """Something that is no result, in the place of one."""
    import h5py

    if kind == "pipe":
        return os.mkfifo(path)
    if kind == "folder":
        return path.mkdir()
    if kind == "terabytes":
        with open(path, "wb") as file:
            file.truncate(8 << 40)
        return None
    if kind == "text":
        return path.write_bytes(b"[" * 100_000)
    with h5py.File(path, "w") as file:
        file.attrs["closedform"] = "[" * 50_000 if kind == "deep" else '{"schema": 3}'
        simulation = file.create_group("simulation")
        if kind == "cycle":
            simulation["cell"] = simulation["seed"] = file["again"] = file["/"]
        else:
            for name in ("cell", "seed", "stored"):
                simulation.create_dataset(name, (1 << 42,), chunks=(1 << 20,), dtype="i8")
    return None


@pytest.mark.parametrize("kind", ["pipe", "folder", "terabytes", "text", "deep", "cycle", "declared"])
def test_what_is_no_result_is_said_in_one_line_and_set_aside(kind, tmp_path):
    path = tmp_path / "c6" / f"{CELLS[0]}-00000000.nc"
    path.parent.mkdir()
    foreign(path, kind)
    assert store.headers(tmp_path, CELLS, aside=False) == ([], [])
    tree, message = store.read_tree(path)
    assert tree is None
    assert f"{path} is damaged" in message
    assert "\n" not in message
    assert [found.name for found in path.parent.iterdir()] == [f"{path.stem}.damaged"]
    assert store.headers(tmp_path, CELLS) == ([], [])


def test_a_damaged_file_that_cannot_be_renamed_is_said_once_and_left_out(tmp_path, monkeypatch):
    """As in a folder that can only be read: what else is there is loaded."""
    options = dict(results=tmp_path, progress=False, say=str)
    sweep(decay, over={"rate": (0.1, 0.2)}, seeds=2, **options)
    run(decay, {"rate": 0.2}, seeds=(5, 6), **options)
    path = next(path for path in tmp_path.glob("zoo/decay/??/*.nc") if store.read(path)[0].seeds == [5, 6])
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)

    def replace(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "replace", replace)
    said = []
    found = load(decay, {"rate": 0.2}, results=tmp_path, say=said.append)
    assert found["simulation"]["seed"].values.tolist() == [0, 1]
    assert load(decay, over={"rate": (0.1, 0.2)}, results=tmp_path, say=said.append) is not None
    assert [line.partition(";")[0] for line in said] == [f"{path} is damaged (checksum)"]
    assert "left out (it cannot be renamed: Read-only file system)" in said[0]
    assert path.read_bytes() == content


def test_two_processes_may_set_the_same_file_aside(tmp_path, monkeypatch):
    """The other one is quicker: between our look at its new name and the renaming."""
    path, replace = tmp_path / "a.nc", os.replace
    path.write_bytes(b"damaged")

    def late(source, target):
        replace(source, target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    assert "damaged" in store.read_tree(path)[1]
    assert store.read_tree(path) == (None, "")


def test_a_file_that_the_server_has_removed_is_gone(tmp_path, monkeypatch):
    (path,) = a_result(tmp_path).rglob("*.nc")

    def stale(*_):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(sealed, "_label", stale)
    assert store.read_tree(path) == (None, "")
    assert store.header(path) == (None, "")


# --- checkpoints ------------------------------------------------------------------------------------------------------------


def a_checkpoint(folder, runs=2000):
    dice = np.random.default_rng(0)
    whose = [(f"{run % 4:016x}", run) for run in range(runs)]
    checkpoints.save(folder / "part", whose, 500, 3, [dice.random((runs, 3)), np.arange(runs), np.ones(runs, bool)], "digest")
    return folder


def resumed(folder):
    """What is read of the checkpoints of a part: whose arrays they are, and the arrays."""
    found, messages = checkpoints.find(folder / "part", tidy=False)
    like = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in (((1, 3), float), ((1,), int), ((1,), bool))]
    arrays = [
        np.asarray(leaf).tolist() for one in found for leaf in checkpoints.load(one, list(range(len(one.runs))), 2000, like)
    ]
    return [[one._replace(path=one.path.name) for one in found], arrays], bool(messages)


@pytest.mark.parametrize("wanted", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_a_flipped_bit_of_a_checkpoint_is_noticed_in_each_of_its_files(wanted, tmp_path):
    assert flips(a_checkpoint, resumed, tmp_path, wanted) == 1


def test_a_checkpoint_that_was_cut_off_is_removed_and_a_damaged_one_set_aside(tmp_path):
    (path,) = (a_checkpoint(tmp_path, runs=2) / "part").iterdir()
    shutil.copytree(path, cut_off := path.with_name("0" * 16 + "-5"))
    (cut_off / "about.json").unlink()
    flip(path / "_METADATA", 100)
    found, messages = checkpoints.find(tmp_path / "part", tidy=True)
    assert found == []
    assert [message for message in messages if "is damaged (checksum); its runs start again" in message] == messages
    assert [one.name for one in path.parent.iterdir()] == [f"{path.name}.damaged"]
    assert checkpoints.find(tmp_path / "part", tidy=True) == ([], [])


def test_a_checkpoint_that_cannot_be_read_is_no_failure_of_its_cell(tmp_path, monkeypatch):
    """It was whole when it was found: said once, set aside, and its runs start again."""
    original, save = checkpoints.load, checkpoints.save
    settings = Settings(threads=1, block=3, chunk=5, checkpoint_minutes=1e-9)

    def interrupted(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    options = dict(seeds=3, settings=settings, progress=False)
    monkeypatch.setattr(checkpoints, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(decay, results=tmp_path / "part", say=str, **options)
    (path,) = tmp_path.glob("part/zoo/decay/checkpoints/*/*")

    def damaged(saved, *rest):
        flip(saved.path / "about.json", 80)
        return original(saved, *rest)

    monkeypatch.setattr(checkpoints, "save", save)
    monkeypatch.setattr(checkpoints, "load", damaged)
    said = []
    again = run(decay, results=tmp_path / "part", say=said.append, **{**options, "settings": settings._replace(block=2)})
    (line,) = (line for line in said if "start again" in line)
    assert line.startswith(f"{path} cannot be read (")
    assert not list(tmp_path.glob("part/zoo/decay/failed/*"))
    np.testing.assert_array_equal(
        again["simulation"]["x"], run(decay, results=tmp_path / "whole", say=str, **options)["simulation"]["x"]
    )


# --- locks and leftovers ----------------------------------------------------------------------------------------------------


def refusing(number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    return flock


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_lock_that_the_system_refuses_is_one_line(number, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    with pytest.raises(UsageError, match=rf"cannot be locked \({os.strerror(number)}\); finished results are kept"):
        locks.take(tmp_path / "locks" / "part")
    assert locks.holder(tmp_path / "locks" / "part") is None


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_what_is_computed_can_be_read(number, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    first = run(decay, seeds=2, results=tmp_path, progress=False, say=str)
    again = load(decay, results=tmp_path)
    np.testing.assert_array_equal(first["simulation"]["x"], again["simulation"]["x"])


def test_reading_needs_no_lock_of_hdf5_either(tmp_path):
    """As on a file system without locks: a library loaded before all others refuses every one."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source, library = tmp_path / "none.c", tmp_path / "none.so"
    source.write_text("#include <errno.h>\nint flock(int file, int how) { errno = ENOLCK; return -1; }\n")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    a_result(tmp_path)
    program = "import pathlib, sys; from closedform.sweeps.results import locks, store; home = pathlib.Path(sys.argv[1])\n"
    program += "assert not locks.take(home / 'locks' / 'part').exclusive\n"
    program += f"print(len(store.headers(home, {CELLS})[0]), *[store.read(path)[1] for path in home.rglob('*.nc')])"
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]


def test_of_those_who_wait_for_a_lock_that_is_removed_one_gets_it(tmp_path, monkeypatch):
    """A second process has opened the file when its holder removes it and a third makes a new one."""
    path, lock = tmp_path / "part", locks._lock
    first, others = locks.take(path), []

    def late(descriptor):
        if not others:
            others.append(None)
            first.release(done=True)
            others.append(locks.take(path))
        return lock(descriptor)

    monkeypatch.setattr(locks, "_lock", late)
    assert locks.take(path) is None
    assert others[1] is not None
    others[1].release(done=True)


def test_a_child_that_was_forked_keeps_no_lock(tmp_path):
    program = """
import os, pathlib, sys
from closedform.sweeps.results import locks
path = pathlib.Path(sys.argv[1]) / "part"
lock, (ending, end), (beginning, begin) = locks.take(path), os.pipe(), os.pipe()
if os.fork() == 0:
    os.close(end)
    os.write(begin, b"x")
    os.read(ending, 1)  # until the parent ends
    lock.release(done=True)
    os._exit(0)
os.read(beginning, 1)
lock.release(done=False)
print(locks.holder(path), locks.take(path) is not None, path.exists())
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "True", "True"]


def test_what_a_kill_has_left_of_a_complete_part_is_removed(tmp_path):
    options = dict(over={"rate": (0.1, 0.2)}, seeds=2, results=tmp_path, progress=False, say=str)
    sweep(decay, **options)
    home = tmp_path / "zoo" / "decay"
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    parts = sorted(home.glob("??/*.nc"))
    for path in parts:
        for left in ("locks", f"checkpoints/{path.stem}/{'0' * 16}-5"):
            (home / left).mkdir(parents=True, exist_ok=True)
        (home / "locks" / path.stem).touch()
        shutil.copy(path, path.with_suffix(".partial.nc"))
        path.with_name(f".{path.name}.0000.tmp").touch()
    for path in home.glob("predictions/??/*.nc"):
        shutil.copy(path, path.with_suffix(".partial.nc"))
    (home / "sweeps" / ".one.json.0000.tmp").touch()
    held = locks.take(home / "locks" / parts[0].stem)
    with locks.writing(home / "sweeps" / ".two.json.0000.tmp"):
        sweep(decay, **options)
        assert parts[0].with_suffix(".partial.nc").exists()
        assert not parts[1].with_suffix(".partial.nc").exists()
        assert [path.name for path in home.glob("sweeps/.*.tmp")] == [".two.json.0000.tmp"]
    held.release(done=False)
    sweep(decay, **options)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before
    assert not list(home.glob("checkpoints/*"))


# --- JSON -------------------------------------------------------------------------------------------------------------------

FOREIGN = [b"", b"[]", b"null", b"7", b'"text"', b"{}", b'{"a": 1}', b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"{"]


def what_is_asked_and_what_failed(folder):
    """A request and failures, as they are kept."""
    asked = {"experiment": "zoo/decay", "config": {"rate": 3.7}, "over": {"rate": [3.7, 3.9]}, "zipped": False}
    asked |= {"seeds": list(range(50)), "root_seed": 0, "digests": [["ab" * 8, ""]], "tasks": 2, "schema": store.SCHEMA}
    store.write_bytes(folder / "zoo" / "decay" / "sweeps" / "one.json", sealed.to_json(asked))
    raised = {number: failures.Failure("ValueError: no", f"Traceback of {cell}") for number, cell in enumerate(CELLS)}
    plan = SimpleNamespace(cells=[SimpleNamespace(name=cell) for cell in CELLS], versions=[Version("ab" * 8)] * len(CELLS))
    failures.record(folder / "zoo" / "decay" / "failed" / "one.json", plan, raised)
    return folder


def known(folder):
    said = []
    raised = failures.all_failures(folder / "zoo" / "decay", said.append)
    return [[one._replace(path="") for one in catalogue.sweeps_of(folder, say=said.append)], raised], bool(said)


@pytest.mark.parametrize("wanted", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_a_flipped_bit_of_json_is_noticed(wanted, tmp_path):
    assert flips(what_is_asked_and_what_failed, known, tmp_path, wanted) > 0.9  # spaces mean nothing


@pytest.fixture(scope="module")
def a_sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    sweep(decay, over={"rate": (0.1, 0.2)}, seeds=2, results=folder, progress=False, say=str)
    return folder


@pytest.mark.parametrize("content", FOREIGN)
def test_foreign_json_stops_nothing(content, a_sweep, tmp_path, capsys):
    """Among requests, failures and locks: `status` tells of it, and what is there is shown."""
    home = shutil.copytree(a_sweep, tmp_path / "results") / "zoo" / "decay"
    for place in ("sweeps/foreign.json", "failed/foreign.json", "locks/foreign"):
        (home / place).parent.mkdir(exist_ok=True)
        (home / place).write_bytes(content)
    options = dict(over={"rate": (0.1, 0.2)}, results=tmp_path / "results")
    assert command_line.main(["status", "--results", str(tmp_path / "results")]) == 2
    printed = capsys.readouterr()
    assert "2 done" in printed.out
    (line,) = printed.err.splitlines()
    assert "foreign.json says of no sweep what was asked" in line
    said = []
    assert load(decay, **options).simulation.sizes["seed"] == 2
    sweep(decay, seeds=2, progress=False, say=said.append, **options)
    assert [line for line in said if "its cells are tried again" in line] == said
    assert len(said) == 1


@pytest.mark.parametrize("content", FOREIGN)
def test_a_damaged_request_is_noted_again_by_the_same_command(content, a_sweep, tmp_path, capsys):
    folder = shutil.copytree(a_sweep, tmp_path / "results")
    (path,) = folder.rglob("sweeps/*.json")
    whole = path.read_bytes()
    path.write_bytes(content)
    assert command_line.main(["status", "--results", str(folder)]) == 2
    assert "no sweeps" not in capsys.readouterr().out
    sweep(decay, over={"rate": (0.1, 0.2)}, seeds=2, results=folder, progress=False, say=str)
    assert path.read_bytes() == whole
    assert command_line.main(["status", "--results", str(folder)]) == 0


def test_a_pipe_among_the_requests_is_not_waited_for(a_sweep, tmp_path, capsys):
    folder = shutil.copytree(a_sweep, tmp_path / "results")
    os.mkfifo(folder / "zoo" / "decay" / "sweeps" / "pipe.json")
    assert command_line.main(["status", "--results", str(folder)]) == 2
    assert "pipe.json says of no sweep what was asked (no file)" in capsys.readouterr().err


# --- memory -----------------------------------------------------------------------------------------------------------------


def large(key, config):
    return jax.numpy.full((5000, 1000), config["a"], np.float32)  # 20 MB


@pytest.mark.parametrize(
    ("seeds", "free", "message"),
    [
        (10, 800e6, r"a result of 200 MB takes 700 MB to assemble; 560 MB of memory can be used"),
        (1, 100e6, r"1 run at a time needs 20.* MB and 70 MB to store; 70 MB of memory can be used"),
    ],
)
def test_what_cannot_be_stored_or_assembled_is_refused_before_it_runs(seeds, free, message, tmp_path, monkeypatch):
    monkeypatch.setattr("closedform.sweeps.memory.free_bytes", lambda device: int(free))
    with pytest.raises(UsageError, match=message):
        run(large, {"a": 1.0}, seeds=seeds, results=tmp_path, progress=False, say=str)


def test_storing_and_assembling_take_no_more_than_is_counted(tmp_path, monkeypatch):
    """Of the memory that numpy and Python hold, which is where results are."""
    import gc
    import tracemalloc

    from closedform.sweeps import memory
    from closedform.sweeps.results import merge

    peaks = {}

    def traced(where, name, original):
        def call(*arguments):
            tracemalloc.reset_peak()
            result = original(*arguments)
            peaks[name] = max(peaks.get(name, 0), tracemalloc.get_traced_memory()[1])
            return result

        monkeypatch.setattr(where, name, call)

    options = dict(results=tmp_path, progress=False, say=str)
    tracemalloc.start()
    try:
        run(large, {"a": 0.0}, seeds=1, **options)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for where, name in ((store, "write"), (store, "read"), (merge, "merged")):
            traced(where, name, getattr(where, name))
        run(large, {"a": 1.0}, seeds=5, **options)
    finally:
        tracemalloc.stop()
    whole = 5 * 20_000_000  # in two parts, which may be stored at the same time
    assert whole < peaks["write"] - before < memory.to_handle(whole)
    assert whole < max(peaks["read"], peaks["merged"]) - before < memory.to_handle(whole)
