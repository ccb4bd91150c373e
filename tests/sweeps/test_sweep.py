"""Grids: labels, pairs, what is compiled, functions that never heard of the package, cells that raise, memory, devices."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import textwrap
import threading
import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from closedform.sweeps import Settings, UsageError, compare, find, load, run, sweep
from closedform.sweeps import memory as memory_module
from closedform.sweeps.engine import plan as plan_module
from closedform.sweeps.engine import queue as queue_module
from closedform.sweeps.engine import runner as runner_module
from closedform.sweeps.results import store as store_module
from closedform.sweeps.results.catalogue import sweeps_of
from zoo import decay, estimate, explosive, fragile


@pytest.fixture
def quiet(tmp_path):
    messages = []
    return {"results": tmp_path / "results", "progress": False, "say": messages.append}, messages


@pytest.fixture(autouse=True)
def _as_a_user_meets_it():
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def same(left, right):
    assert set(left.children) == set(right.children)
    for group in left.children:
        for name, values in left[group].data_vars.items():
            np.testing.assert_array_equal(values.values, right[group][name].values, err_msg=f"{group}/{name}")


# --- no number depends on how runs were grouped ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        folder = tmp_path_factory.mktemp("reference")
        return sweep(decay, over={"rate": (0.1, 0.3), "dim": (3, 5)}, seeds=7, results=folder, progress=False, say=str)


THREADS, BLOCKS, CHUNKS = (1, 2, 4), (1, 3, 28), (1, 7, 60)
# a third of all combinations, in which every pair of values occurs; the others are slow
PAIRS = {(THREADS[i], BLOCKS[j], CHUNKS[(i + j) % 3]) for i in range(3) for j in range(3)}


@pytest.mark.parametrize(
    ("threads", "block", "chunk"),
    [pytest.param(*one, marks=() if one in PAIRS else pytest.mark.slow) for one in itertools.product(THREADS, BLOCKS, CHUNKS)],
)
def test_threads_blocks_and_chunks_change_no_bit(threads, block, chunk, reference, quiet):
    settings = Settings(threads=threads, block=block, chunk=chunk)
    same(reference, sweep(decay, over={"rate": (0.1, 0.3), "dim": (3, 5)}, seeds=7, settings=settings, **quiet[0]))


def test_a_cell_alone_is_the_cell_of_the_grid(reference, quiet):
    alone = run(decay, {"rate": 0.3, "dim": 5}, seeds=[6, 0], **quiet[0])
    cell = reference["simulation"].to_dataset().sel(rate=0.3, dim=5, seed=[6, 0])
    np.testing.assert_array_equal(cell["x"].values, alone["simulation"]["x"].values)


@pytest.mark.parametrize("devices", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow), 4])
def test_vmap_over_one_two_and_four_devices_gives_the_same_numbers_to_rounding(devices, reference, tmp_path):
    """The path of accelerators, on host devices of the CPU: a process each, since the number is fixed when jax starts."""
    program = textwrap.dedent("""
        import sys, json, jax, numpy as np
        sys.path.insert(0, sys.argv[1])
        from closedform.sweeps import Settings, sweep
        from zoo import decay
        for block in (None, 3):
            result = sweep(decay, over={"rate": (0.1, 0.3), "dim": (3, 5)}, seeds=7, progress=False, say=str,
                           settings=Settings(batching="vmap", chunk=7, block=block), results=f"{sys.argv[2]}/{block}")
            np.save(f"{sys.argv[2]}/{block}.npy", result["simulation"]["x"].values)
        print(jax.local_device_count())
    """)
    environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    tests = os.path.dirname(os.path.dirname(__file__))
    command = [sys.executable, "-c", program, tests, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == str(devices)
    for block in (None, 3):
        batched = np.load(tmp_path / f"{block}.npy")
        np.testing.assert_allclose(batched, reference["simulation"]["x"].values, rtol=1e-6, atol=1e-12)


# --- grids ----------------------------------------------------------------------------------------------------------------


def test_pairs_walk_side_by_side(quiet):
    result = sweep(decay, over={"rate": (0.1, 0.3), "dim": (3, 5)}, zipped=True, seeds=2, **quiet[0])
    simulation = result["simulation"]
    assert simulation["total"].dims == ("point", "seed", "step")
    assert (list(simulation["rate"].values), list(simulation["dim"].values)) == ([0.1, 0.3], [3, 5])
    alone = run(decay, {"rate": 0.3, "dim": 5}, seeds=2, **quiet[0])
    np.testing.assert_array_equal(simulation["x"].values[1], alone["simulation"]["x"].values)
    assert [row.cell for row in compare(find(decay), result)] == ["rate=0.1, dim=3"] * 2 + ["rate=0.3, dim=5"] * 2
    stored = load(decay, over={"rate": (0.1, 0.3), "dim": (3, 5)}, zipped=True, results=quiet[0]["results"])
    same(result, stored)


def test_the_number_of_compilations_is_said(quiet):
    sweep(decay, over={"rate": (0.1, 0.2, 0.3), "dim": (3, 5)}, seeds=2, **quiet[0])
    assert quiet[1] == ["zoo/decay: 6 cells (rate 3 x dim 2) x 2 seeds, 2 compilations"]


def test_values_of_every_kind_label_an_axis(quiet):
    result = sweep(estimate, over={"dtype": ("float32", "float64"), "scale": np.array([1, 2])}, seeds=2, **quiet[0])
    assert list(result["simulation"]["dtype"].values) == ["float32", "float64"]
    assert list(result["simulation"]["scale"].values) == [1.0, 2.0]
    assert result["simulation"]["mean"].dims == ("dtype", "scale", "seed")


def test_a_larger_grid_computes_only_what_is_new(quiet, monkeypatch):
    sweep(decay, over={"rate": (0.1, 0.3)}, seeds=3, **quiet[0])
    taken, original = [], queue_module.Queue.take

    def take(self, *arguments):
        batch = original(self, *arguments)
        if batch is not None and batch.seeds is not None:
            taken.extend(zip(batch.cells.tolist(), batch.seeds.tolist(), strict=True))
        return batch

    monkeypatch.setattr(queue_module.Queue, "take", take)
    sweep(decay, over={"rate": (0.1, 0.2, 0.3)}, seeds=4, **quiet[0])
    assert sorted(taken) == [(0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 3)]
    paths = [path.name.partition("-")[0] for path in quiet[0]["results"].glob("zoo/decay/??/*.nc")]
    assert len(paths) == len(set(paths)) == 3  # a cell that grew is one file again


@pytest.mark.slow
def test_many_cells_share_files_and_are_found_again(quiet, monkeypatch, tmp_path):
    monkeypatch.setattr(plan_module, "FILES", 4)
    rates = tuple(np.linspace(0.01, 0.5, 23).tolist())
    many = sweep(decay, over={"rate": rates}, seeds=2, **quiet[0])
    files = list((quiet[0]["results"] / "zoo/decay/blocks").rglob("*.nc"))
    assert len(files) == 4
    monkeypatch.setattr(queue_module, "execute", lambda *_: pytest.fail("computed again"))
    same(many, sweep(decay, over={"rate": rates}, seeds=2, **quiet[0]))
    few = sweep(decay, over={"rate": rates[3:5]}, seeds=2, **quiet[0])  # another grid finds them inside the blocks
    np.testing.assert_array_equal(few["simulation"]["x"], many["simulation"]["x"].values[3:5])
    monkeypatch.undo()
    apart = sweep(decay, over={"rate": rates}, seeds=2, **{**quiet[0], "results": tmp_path / "apart"})
    same(many, apart)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (dict(over={"dim": ()}), r"dim: got \(\); allowed: one or more distinct values"),
        (dict(over={"dim": (3, 3)}), r"dim: got \(3, 3\); allowed: one or more distinct values"),
        (dict(over={"dim": 3}), r"dim: got 3; allowed: a list of values"),
        (dict(over={"dim": "34"}), r"dim: got '34'; allowed: a list of values"),
        (dict(over={"dim": (3, 2.5)}), r"dim: got 2.5; allowed: a whole number"),
        (dict(over={"rate": (0.1, 3.0)}), r"rate: got 3.0; allowed: a number above 0 and below 2"),
        (dict(over={"width": (3, 4)}), r"unknown field 'width'"),
        (dict(over={"rate": (1, 1.0)}), r"rate: two cells of the grid are the same"),
        (dict(over={"rate": (0.1, 0.1), "dim": (3, 3)}, zipped=True), r"rate, dim: two cells of the grid are the same"),
        (dict(root_seed=0.5), r"root_seed: got 0.5"),
        (dict(over={"dim": (3, 4), "rate": (0.1,)}, zipped=True), r"one length; got dim: 2, rate: 1"),
        (dict(settings=Settings(threads=0)), r"threads: got 0; allowed: a whole number from 1 on"),
        (dict(settings=Settings(checkpoint_minutes=-1.0)), r"checkpoint_minutes: got -1.0"),
        (dict(predict=lambda config: None), r"predict: only for a function"),
    ],
)
def test_bad_grids_are_refused_before_anything_compiles(asked, says, quiet, monkeypatch):
    monkeypatch.setattr(queue_module, "execute", lambda *_: pytest.fail("computed"))
    with pytest.raises(UsageError, match=says):
        sweep(decay, seeds=2, **quiet[0], **asked)


def test_numbers_out_of_numpy_are_numbers(quiet):
    result = sweep(
        decay, {"rate": np.float32(0.5)}, over={"dim": np.arange(3, 5)}, seeds=np.int64(2), root_seed=np.uint32(0), **quiet[0]
    )
    assert result["simulation"]["x"].dims[:2] == ("dim", "seed")


def test_a_field_that_is_called_like_a_result_is_refused_before_it_runs(quiet, monkeypatch):
    monkeypatch.setattr(queue_module, "execute", lambda *_: pytest.fail("computed"))
    for name in ("value", "seed", "failed"):
        with pytest.raises(UsageError, match=f"{name}: is also the name of a result"):
            sweep(lambda key, config, name=name: config[name], {name: 1.0}, over={name: (1.0, 2.0)}, seeds=1, **quiet[0])


def test_zipped_without_a_grid_is_one_cell(quiet):
    assert sweep(decay, zipped=True, seeds=1, **quiet[0])["simulation"]["x"].dims == ("seed", "step", "coordinate")


@pytest.mark.parametrize("scale", [1.5, 2.0, 3.0])
def test_precisions_of_a_grid_are_not_rounded_to_the_lowest(scale, quiet):
    both = sweep(estimate, {"scale": scale}, over={"dtype": ("float32", "float64")}, seeds=2, **quiet[0])
    alone = run(estimate, {"scale": scale, "dtype": "float64"}, seeds=2, **quiet[0])
    np.testing.assert_array_equal(both["simulation"]["mean"].values[1], alone["simulation"]["mean"].values)


def test_one_result_never_mixes_versions(quiet):
    sweep(decay, over={"rate": (0.1,)}, seeds=2, **quiet[0])
    experiment = find(decay)
    step = experiment.functions["step"]
    functions = {**experiment.functions, "step": lambda state, config: step(state._replace(x=2 * state.x), config)}
    changed = experiment._replace(functions=functions)
    asked = dict(over={"rate": (0.1, 0.2)}, seeds=2)
    sweep(changed, **asked, **quiet[0])
    files = quiet[0]["results"].glob("zoo/decay/??/*.nc")
    digests = [store_module.header(path)[0].digest for path in files]
    assert sorted(map(digests.count, set(digests))) == [1, 2]  # the old cell was computed again
    assert load(changed, over=asked["over"], results=quiet[0]["results"]) is not None


# --- a function of the user's own -----------------------------------------------------------------------------------------


@dataclasses.dataclass
class Walk:
    rate: float = 0.5
    num_steps: int = 4


class Path(NamedTuple):
    place: Float[Array, "moment"]
    end: Float[Array, ""]


def walk(key, config: Walk) -> Path:
    place = jnp.cumsum(config.rate * jax.random.normal(key, (config.num_steps,)))
    return Path(place, place[-1])


def draw(key, config):
    return config["scale"] * jax.random.normal(key)


def test_a_function_with_a_dict_of_floats(quiet):
    result = sweep(draw, {"scale": 2.0}, over={"scale": (1.0, 4.0)}, seeds=5, **quiet[0])
    value = result["simulation"]["value"]
    assert value.dims == ("scale", "seed")
    np.testing.assert_array_equal(value.values[1], 4 * value.values[0])
    expected = jax.random.normal(jax.random.fold_in(jax.random.key(0), 3))
    np.testing.assert_array_equal(value.values[0, 3], expected)
    assert "1 compilation" in quiet[1][0]


def test_a_function_with_a_dataclass_and_named_axes_and_a_prediction(quiet):
    predicted = sweep(
        walk,
        Walk(rate=0.25),
        over={"rate": (0.1, 0.2)},
        seeds=64,
        predict=lambda config: {"end": 0.0 * config.rate},
        **quiet[0],
    )
    assert predicted["simulation"]["place"].dims == ("rate", "seed", "moment")
    assert predicted["prediction"]["end"].dims == ("rate",)
    assert "place" not in predicted["prediction"].data_vars
    assert run(walk, seeds=2, **quiet[0])["simulation"]["place"].sizes["moment"] == 4  # the annotation names the config


def test_a_function_that_changes_is_computed_again_and_one_that_does_not_is_kept(quiet, tmp_path):
    script = tmp_path / "mine.py"

    def values(factor, last):
        script.write_text(
            f"import jax\nfactor = {factor}\ndef helper(x):\n    return factor * x  # note {last}\n"
            f"def simulate(key, config={{'a': 1.0}}):\n    return helper(config['a'])\nlast = {last}\n"
        )
        sys.modules.pop("mine", None)
        return float(run(f"{script}:simulate", seeds=1, **quiet[0])["simulation"]["value"][0])

    assert values(2.0, 1) == 2.0
    files = set(quiet[0]["results"].rglob("*.nc"))
    assert values(2.0, 2) == 2.0  # what it does not reach, and comments, make no difference
    assert set(quiet[0]["results"].rglob("*.nc")) == files
    assert values(3.0, 2) == 3.0
    assert set(quiet[0]["results"].rglob("*.nc")) > files  # the old result is kept
    assert values(2.0, 5) == 2.0


@pytest.mark.parametrize(
    ("function", "config", "says"),
    [
        (draw, None, r"config: draw\(key, config\) needs one"),
        (draw, 3.0, r"config: got 3.0; allowed: a dataclass of plain values or a dict"),
        (draw, {"scale": jnp.ones(2)}, r"config.scale: got .*allowed: a float, an int, a bool, a text"),
        (draw, {"scale": float("nan")}, r"scale: got nan; allowed: a finite number"),
        (lambda key, config: {"a b": 1.0}, {"x": 1.0}, r"returns a result as 'a b'"),
        (lambda key, config: {"a": {"b": 1.0}}, {"x": 1.0}, r"allowed: a real array or a number, a tuple of them"),
        (lambda key, config: {"seed": 1.0}, {"x": 1.0}, r"Result.seed: that name belongs to the engine"),
        ("nowhere.py:simulate", None, r"allowed: the path of a Python file"),
        (3, None, r"experiment: got 3"),
    ],
)
def test_a_function_that_cannot_be_swept_is_said_in_one_line(function, config, says, quiet):
    with pytest.raises(UsageError, match=says):
        sweep(function, config, seeds=2, **quiet[0])


# --- cells that raise -----------------------------------------------------------------------------------------------------


def test_a_cell_that_raises_is_recorded_and_the_others_finish(quiet, monkeypatch):
    """Seeds of the cell at 2.0 raise at run time, the size 7 when it is traced; both are told, and run again on request."""
    over = {"level": (1.0, 2.0, 3.0), "size": (4, 7)}
    result = sweep(fragile, over=over, seeds=6, **quiet[0])
    np.testing.assert_array_equal(result["simulation"]["failed"].values, [[False, True], [True, True], [False, True]])
    assert np.isfinite(result["simulation"]["value"].sel(level=[1.0, 3.0], size=4)).all()
    said = "\n".join(quiet[1])
    assert "4 of 6 cells failed" in said
    assert "size 7 cannot be had" in said
    assert "level 2 is broken" in said
    rows = compare(find(fragile), result)
    assert [row.verdict == "agrees" for row in rows] == [True, False, False, False, True, False]
    assert {row.verdict for row in rows} == {"agrees", "no verdict (failed)"}

    monkeypatch.setattr(queue_module, "execute", lambda *_: pytest.fail("ran again unasked"))
    same(result, sweep(fragile, over=over, seeds=6, **quiet[0]))
    monkeypatch.undo()
    monkeypatch.setattr(fragile, "BROKEN", 99.0)
    again = sweep(fragile, over=over, seeds=6, retry_failed=True, **quiet[0])
    np.testing.assert_array_equal(again["simulation"]["failed"].values[:, 0], [False, False, False])
    assert "3 of 6 cells failed" in quiet[1][-2]


def test_finished_seeds_of_a_failed_cell_are_kept(quiet):
    """One seed of many raises: the run says so, and what the others gave is on disk."""
    with pytest.raises(Exception, match="level 2 is broken"):
        run(fragile, {"level": 2.0}, seeds=[*range(12)], settings=Settings(threads=1, block=1), **quiet[0])
    kept = load(fragile, {"level": 2.0}, results=quiet[0]["results"])
    assert kept is not None
    assert kept["simulation"].sizes["seed"] < 12


def test_a_stored_sweep_with_failures_is_read_like_the_sweep(quiet):
    swept = sweep(fragile, over={"size": (4, 7)}, seeds=3, **quiet[0])
    stored = load(fragile, over={"size": (4, 7)}, results=quiet[0]["results"])
    same(swept, stored)


def test_retrying_one_cell_leaves_the_failures_of_others(quiet):
    sweep(fragile, over={"size": (4, 7, 8)}, seeds=2, **quiet[0])
    with pytest.raises(ValueError, match="size 7"):
        run(fragile, {"size": 7}, seeds=2, **quiet[0])
    (status,) = sweeps_of(quiet[0]["results"])
    assert [cell.state for cell in status.cells] == ["done", "failed", "failed"]


def test_a_prediction_that_raises_fails_its_cell_alone(quiet):
    def predict(config):
        level = jax.pure_callback(fragile.check, jax.ShapeDtypeStruct((), np.float32), config["level"], 0)
        return level.astype(float)

    def simulate(key, config):
        return config["level"]

    result = sweep(simulate, {"level": 1.0}, over={"level": (1.0, 2.0, 3.0)}, seeds=2, predict=predict, **quiet[0])
    np.testing.assert_array_equal(result["simulation"]["failed"], [False, True, False])
    np.testing.assert_array_equal(result["prediction"]["value"].values[[0, 2]], [1.0, 3.0])


def test_every_cell_failing_is_an_error(quiet):
    with pytest.raises(UsageError, match=r"every cell failed; the first: ValueError: size 7 cannot be had"):
        sweep(fragile, over={"size": (7, 8)}, seeds=2, **quiet[0])


def test_what_a_run_raises_is_raised(quiet):
    with pytest.raises(ValueError, match="size 7 cannot be had"):
        run(fragile, {"size": 7}, seeds=2, **quiet[0])


@pytest.mark.parametrize("batching", ["map", "vmap"])
def test_diverged_seeds_cost_no_more_steps(batching, quiet):
    """All seeds of a block are NaN early in a run of two billion steps: it ends at once."""
    module = types.ModuleType("zoo.endless")
    vars(module).update({name: value for name, value in vars(explosive).items() if not name.startswith("__")})
    module.step = lambda state, config: explosive.State(state.explodes, state.x**2 - jnp.sqrt(state.x))
    module.steps = lambda config: np.array([0, config.num_steps])
    settings = Settings(batching=batching, chunk=1000)
    result = run(module, {"limit": -1.0, "num_steps": 2_000_000_000}, seeds=3, settings=settings, **quiet[0])
    assert result["simulation"]["diverged"].values.all()


# --- memory ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batching", ["map", "vmap"])
def test_blocks_shrink_to_the_memory_that_is_free(batching, reference, quiet, monkeypatch):
    """With little free, the compiler's count of bytes makes the blocks smaller; the numbers stay."""
    compiled = []
    original = runner_module.programs

    def counting(group, capacity, batching):
        compiled.append(capacity)
        return original(group, capacity, batching)

    monkeypatch.setattr(runner_module, "programs", counting)
    monkeypatch.setattr(memory_module, "free_bytes", lambda device: 20_000)
    settings = Settings(batching=batching, threads=1, block=200 if batching == "vmap" else None)
    result = sweep(decay, over={"rate": (0.1, 0.3), "dim": (3, 5)}, seeds=7, settings=settings, **quiet[0])
    np.testing.assert_allclose(result["simulation"]["x"], reference["simulation"]["x"], rtol=1e-6, atol=1e-12)
    if batching == "map":
        same(reference, result)
        assert min(compiled) < 1024


def test_a_run_that_cannot_fit_is_said(quiet, monkeypatch):
    monkeypatch.setattr(memory_module, "free_bytes", lambda device: 100)
    with pytest.raises(UsageError, match=r"zoo/decay: 1 run at a time needs .*; 70 B of memory can be used"):
        run(decay, seeds=2, **quiet[0])


def test_a_block_that_runs_out_of_memory_is_done_in_halves(quiet, reference, monkeypatch):
    original = runner_module.Runner.simulate

    def simulate(self, batch, source):
        if self.capacity > 2:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")
        return original(self, batch, source)

    monkeypatch.setattr(runner_module.Runner, "simulate", simulate)
    settings = Settings(block=7)
    same(reference, sweep(decay, over={"rate": (0.1, 0.3), "dim": (3, 5)}, seeds=7, settings=settings, **quiet[0]))


def test_memory_that_two_threads_exhaust_together_fails_nothing(quiet, reference, monkeypatch):
    """Blocks of one run, and no memory for two of them at a time: from then on one after the other."""
    original, inside, together = runner_module.Runner.simulate, [], threading.Event()

    def simulate(self, batch, source):
        inside.append(1)
        try:
            if len(inside) > 1:
                together.set()
                raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")
            together.wait()  # the first is inside until a second has come
            return original(self, batch, source)
        finally:
            inside.pop()

    monkeypatch.setattr(runner_module.Runner, "simulate", simulate)
    settings = Settings(threads=3, block=1)
    same(reference, sweep(decay, over={"rate": (0.1, 0.3), "dim": (3, 5)}, seeds=7, settings=settings, **quiet[0]))
    assert together.is_set()


def test_free_memory_counts_the_limit_of_a_control_group(tmp_path, monkeypatch):
    device = jax.local_devices()[0]
    everything = memory_module.free_bytes(device)
    assert 0 < everything < 1 << 50
    group = tmp_path / "job" / "step"
    group.mkdir(parents=True)
    for folder, limit in ((group, "max"), (tmp_path / "job", "1000")):
        (folder / "memory.max").write_text(limit)
        (folder / "memory.current").write_text("400")
    monkeypatch.setattr(memory_module, "_CGROUP", tmp_path)
    mine = tmp_path / "cgroup"
    mine.write_text("0::/job/step\n")
    monkeypatch.setattr(memory_module, "_OWN", mine)
    assert memory_module.free_bytes(device) == 600


# --- status ---------------------------------------------------------------------------------------------------------------


def test_the_manifest_is_json_and_names_every_cell(quiet):
    sweep(decay, over={"rate": (0.1, 0.3)}, seeds=2, **quiet[0])
    (path,) = quiet[0]["results"].rglob("sweeps/*.json")
    said = json.loads(path.read_text())
    assert said["over"] == {"rate": [0.1, 0.3]}
    assert said["seeds"] == [0, 1]
