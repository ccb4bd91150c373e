"""The engine's promises: labels, determinism however runs are grouped, nothing computed twice, nothing mixed."""

import json
import types

import jax
import numpy as np
import pytest

from closedform.contract import Tolerance
from closedform.sweeps import Settings, UsageError, compare, find, load, provenance, run, sweep
from closedform.sweeps.contract import sources as sources_module
from closedform.sweeps.engine import programs as programs_module
from closedform.sweeps.engine import queue as queue_module
from closedform.sweeps.results import store as store_module
from closedform.sweeps.results.catalogue import sweeps_of
from zoo import decay, estimate, explosive


@pytest.fixture
def quiet(tmp_path):
    messages = []
    return {"results": tmp_path / "results", "progress": False, "say": messages.append}, messages


def same(left, right):
    for group in left.children:
        for name, values in left[group].data_vars.items():
            np.testing.assert_array_equal(values.values, right[group][name].values, err_msg=f"{group}/{name}")


def test_axes_carry_the_names_of_the_annotations(quiet):
    result = run(decay, seeds=3, **quiet[0])
    assert result["simulation"]["x"].dims == ("seed", "step", "coordinate")
    assert result["simulation"]["total"].dims == ("seed", "step")
    assert list(result["simulation"]["step"].values) == [0, 1, 7, 30, 60]
    assert "noise" not in result["prediction"].data_vars
    assert result["simulation"]["x"].dtype == np.float32
    assert result["prediction"]["x"].dtype == np.float64


def test_seed_i_is_the_root_key_folded_with_i(quiet):
    result = run(decay, seeds=[4], root_seed=11, **quiet[0])
    key = jax.random.fold_in(jax.random.key(11), 4)
    with jax.enable_x64(False):
        start = decay.init(key, decay.Config()).x
    np.testing.assert_array_equal(result["simulation"]["x"].values[0, 0], start)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(threads=1),
        Settings(threads=2, block=1),
        Settings(threads=4, block=3, chunk=7),
        Settings(threads=1, block=8, chunk=1),
        Settings(chunk=60),
    ],
)
def test_grouping_changes_no_bit(settings, quiet, tmp_path):
    same(run(decay, seeds=8, **quiet[0]), run(decay, seeds=8, **{**quiet[0], "results": tmp_path / "b"}, settings=settings))


def test_vmap_gives_the_same_numbers_to_rounding(quiet, tmp_path):
    mapped = run(decay, seeds=5, **quiet[0])
    batched = run(decay, seeds=5, **{**quiet[0], "results": tmp_path / "b"}, settings=Settings(batching="vmap", chunk=9))
    for name in ("x", "total", "noise"):
        np.testing.assert_allclose(mapped["simulation"][name], batched["simulation"][name], rtol=1e-6)


def test_more_seeds_later_leave_the_first_as_they_are(quiet, tmp_path):
    first = run(decay, seeds=3, **quiet[0])
    grown = run(decay, seeds=7, **quiet[0])
    same(first, run(decay, seeds=3, **quiet[0]))
    same(grown, run(decay, seeds=7, **{**quiet[0], "results": tmp_path / "b"}))
    assert list(run(decay, seeds=[5, 2], **quiet[0])["simulation"]["seed"].values) == [5, 2]


def test_a_cell_alone_equals_the_cell_in_a_grid(quiet, tmp_path):
    grid = sweep(decay, seeds=4, over={"rate": (0.1, 0.3), "dim": (3, 5)}, **quiet[0])
    alone = run(decay, {"rate": 0.3, "dim": 3}, seeds=4, **{**quiet[0], "results": tmp_path / "b"})
    assert grid["simulation"]["x"].dims == ("rate", "dim", "seed", "step", "coordinate")
    cell = grid["simulation"].to_dataset().sel(rate=0.3, dim=3)
    np.testing.assert_array_equal(cell["x"].values[..., :3], alone["simulation"]["x"].values)
    assert np.isnan(cell["x"].values[..., 3:]).all()  # padded: this cell has three coordinates
    assert all(row.verdict == "agrees" for row in compare(find(decay), grid))


def test_floats_share_one_program_and_ints_do_not(quiet, monkeypatch):
    compiled = set()
    original = programs_module.Program.__call__

    def counting(self, *arguments):
        compiled.add(self)
        return original(self, *arguments)

    monkeypatch.setattr(programs_module.Program, "__call__", counting)
    module = copy_of(decay, step=lambda state, config: decay.step(state, config))  # not in the cache of programs
    sweep(module, seeds=2, over={"rate": (0.11, 0.12, 0.13)}, **quiet[0])
    assert len(compiled) == 3  # start, advance, predict
    sweep(module, seeds=2, over={"dim": (3, 4)}, **quiet[0])
    assert len(compiled) == 9
    sweep(module, seeds=9, over={"rate": (0.3, 0.4), "dim": (3, 5)}, **quiet[0])  # any number of seeds and cells
    assert len(compiled) == 9


def test_what_is_on_disk_is_not_computed_again(quiet, monkeypatch):
    first = sweep(estimate, over=estimate.GRID, **quiet[0])
    monkeypatch.setattr(queue_module, "execute", lambda *_: pytest.fail("computed again"))
    same(first, sweep(estimate, over=estimate.GRID, **quiet[0]))
    same(first, load(estimate, over=estimate.GRID, results=quiet[0]["results"]))
    assert load(estimate, {"scale": 9.0}, results=quiet[0]["results"]) is None


def test_rivals_are_stored_and_not_judged(quiet):
    result = run(estimate, seeds=6, **quiet[0])
    assert result["prediction_naive"]["mean"] == 3.0
    assert [row.field for row in compare(find(estimate), result)] == ["mean"]


def test_float64_on_request(quiet):
    result = run(estimate, {"dtype": "float64"}, seeds=2, **quiet[0])
    assert result["simulation"]["mean"].dtype == np.float64


def test_traced_floats_are_weakly_typed(quiet):
    """A bfloat16 state stays one when a traced float scales it; strong typing would change the state and be refused."""
    half = jax.numpy.bfloat16
    module = copy_of(
        decay,
        init=lambda key, config: decay.State(key, jax.numpy.ones(config.dim, half)),
        observe=lambda state, config: decay.Result(*[leaf.astype(np.float32) for leaf in (state.x, state.x[0], state.x[1])]),
    )
    assert np.isfinite(run(module, seeds=1, **quiet[0])["simulation"]["x"]).all()


def test_provenance_says_what_the_result_is(quiet):
    said = provenance(run(decay, {"rate": 0.25}, seeds=2, **quiet[0]))
    assert said["config"] == {"dim": 5, "rate": 0.25, "num_steps": 60}
    assert said["experiment"] == "zoo/decay"
    assert {"digest", "git", "versions", "device", "seconds", "memory", "root_seed", "schema"} <= set(said)


# --- files --------------------------------------------------------------------------------------------------------------


def the_file(quiet):
    (path,) = quiet[0]["results"].glob("zoo/decay/??/*.nc")
    return path


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"not netCDF", "flip", "schema"])
def test_a_damaged_or_old_file_is_kept_aside_and_recomputed(damage, quiet, monkeypatch):
    first = run(decay, seeds=2, **quiet[0])
    path = the_file(quiet)
    if damage == "flip":  # one bit inside the stored numbers
        content = bytearray(path.read_bytes())
        place = content.index(first["simulation"]["total"].values[0].tobytes())
        content[place] ^= 1
        path.write_bytes(content)
    elif damage == "schema":
        tree, _ = store_module.read_tree(path)
        monkeypatch.setattr(store_module, "SCHEMA", 0)
        store_module.write_tree(path, tree)
        monkeypatch.undo()
    else:
        path.write_bytes(damage(path.read_bytes()))
    bad = path.read_bytes()
    same(first, run(decay, seeds=2, **quiet[0]))
    assert len(quiet[1]) == 1
    assert "computing again" in quiet[1][0]
    (aside,) = set(path.parent.iterdir()) - {path}
    assert aside.read_bytes() == bad


def test_a_result_of_other_sources_is_shown_as_stale_and_never_mixed(quiet, monkeypatch):
    def version(factor):
        return copy_of(decay, step=lambda state, config: decay.step(state._replace(x=factor * state.x), config))

    first = run(decay, seeds=2, **quiet[0])
    old = provenance(first)["digest"]
    shown = run(version(2.0), seeds=2, **quiet[0])
    same(first, shown)
    assert "stale" in quiet[1].pop()
    assert (provenance(shown)["digest"], "stale" in provenance(shown)) == (old, True)
    assert provenance(load(version(2.0), results=quiet[0]["results"], say=str))["digest"] == old
    grown = run(version(2.0), seeds=3, **quiet[0])  # a third seed would mix digests: all three are computed by the new code
    assert provenance(grown)["digest"] != old
    assert "stale" not in provenance(grown)
    assert quiet[1] == []
    third = run(version(3.0), seeds=3, refresh=True, **quiet[0])
    digests = {provenance(one)["digest"] for one in (first, grown, third, run(version(3.0), seeds=2, **quiet[0]))}
    assert len(digests) == 3
    assert len({path.name for path in quiet[0]["results"].glob("zoo/decay/??/*.nc")}) == 3  # each kept in its own file


def test_the_digest_of_sources_ignores_comments_and_docstrings_and_follows_imports(tmp_path):
    path = tmp_path / "module.py"

    def digest(text):
        path.write_text(text)
        return sources_module.digest(path)

    plain = digest('"""One."""\ndef f(x):\n    """Doc."""\n    return x + 1\n')
    assert plain == digest('"""Two."""\n\n\ndef f(x):\n    # why\n    return (x + 1)\n')
    assert plain != digest("def f(x):\n    return x + 2\n")
    imported = {path.name for path in sources_module.imported_files(sources_module._ROOT / "experiments/xor/phases.py")}
    assert {"phases.py", "_training.py", "two_layer.py", "xor_mean_field.py", "xor.py"} <= imported


def test_unwritable_folder_is_said_before_anything_runs(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setattr(queue_module, "execute", lambda *_: pytest.fail("computed"))
    with pytest.raises(UsageError, match="cannot be written"):
        run(decay, seeds=2, results=blocked, progress=False)


# --- divergence -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_diverged_seeds_stand_apart_whatever_the_chunk(chunk, quiet):
    result = run(explosive, seeds=8, settings=Settings(chunk=chunk), **quiet[0])
    size, diverged = result["simulation"]["size"].values, result["simulation"]["diverged"].values
    assert 0 < diverged.sum() < 8
    assert np.isnan(size[diverged][:, 15:]).all()  # once it is NaN it stays NaN, though the state would recover
    (row,) = compare(find(explosive), result)
    assert row.diverged == tuple(np.flatnonzero(diverged))
    assert (row.verdict, row.seeds) == ("agrees", 8 - diverged.sum())


# --- bad requests -----------------------------------------------------------------------------------------------------------


def copy_of(module, **changes):
    other = types.ModuleType(module.__name__)
    vars(other).update({name: value for name, value in vars(module).items() if not name.startswith("__")}, **changes)
    return other


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (dict(experiment="xor/phase"), r"unknown experiment 'xor/phase'; nearest: .*xor/phases"),
        (dict(config={"rat": 0.2}), r"unknown field 'rat'; nearest: rate"),
        (dict(config={"rate": "fast"}), r"rate: got 'fast'; allowed: a number above 0 and below 2"),
        (dict(config={"rate": float("nan")}), r"rate: got nan; allowed: a number above 0 and below 2"),
        (dict(config={"rate": 3.0}), r"rate: got 3.0; allowed: a number above 0 and below 2"),
        (dict(config={"dim": 2.5}), r"dim: got 2.5; allowed: a whole number"),
        (dict(config={"dim": True}), r"dim: got True; allowed: a whole number"),
        (dict(seeds=0), r"seeds: got 0"),
        (dict(seeds=[1, 1]), r"seeds: got \[1, 1\]"),
        (dict(root_seed=-1), r"root_seed: got -1"),
    ],
)
def test_bad_requests_name_the_field_what_was_given_and_what_is_allowed(request_, says, quiet, monkeypatch):
    monkeypatch.setattr(queue_module, "execute", lambda *_: pytest.fail("computed"))
    arguments = {"experiment": decay, "seeds": 2, **quiet[0], **request_}
    with pytest.raises(UsageError, match=says):
        run(arguments.pop("experiment"), **arguments)


def test_literals_and_nested_fields(quiet):
    with pytest.raises(UsageError, match=r"kind: got 'other'; allowed: 'plain' or 'double'"):
        run(estimate, {"kind": "other"}, **quiet[0])
    with pytest.raises(UsageError, match=r"sizes.num_samples: got '3'; allowed: a whole number"):
        run(estimate, {"sizes.num_samples": "3"}, **quiet[0])


@pytest.mark.parametrize(
    ("module", "changes", "says"),
    [
        (decay, dict(observe=lambda s, c: decay.Result(s.x[:, None], s.x.sum(), s.x.sum())), r"simulation.x has shape"),
        (decay, dict(observe=lambda s, c: decay.Result(s.x, None, s.x.sum())), r"simulation.total is None"),
        (decay, dict(predict=lambda state, config, steps: decay.Result(None, None, None)), r"prediction.x is None"),
        (
            decay,
            dict(predict=lambda state, config, steps: decay.Result(state.x[None, 1:], state.x.sum()[None], None)),
            r"axis coordinate has length 4 here and 5 elsewhere",
        ),
        (decay, dict(step=lambda s, c: decay.State(s.key, s.x[:2])), r"step changes the state: .*\(5,\).* -> .*\(2,\)"),
        (decay, dict(steps=lambda c: np.array([3, 1])), r"sorted array of distinct step counts"),
        (decay, dict(TOLERANCE={"y": Tolerance(1.0, reason="none")}), r"unknown field in zoo/decay.TOLERANCE 'y'"),
        (
            decay,
            dict(step=lambda s, c: s if c.rate > 0.5 else decay.step(s, c)),
            r"rate is traced.*Annotated\[float, Static\]",
        ),
        (estimate, dict(simulate=lambda k, c: estimate.Result(jax.numpy.arange(3).sum())), r"dtype int"),
    ],
)
def test_a_broken_contract_is_said_before_anything_compiles(module, changes, says, quiet, monkeypatch):
    monkeypatch.setattr(queue_module, "execute", lambda *_: pytest.fail("computed"))
    with pytest.raises(UsageError, match=says):
        run(copy_of(module, **changes), seeds=2, **quiet[0])


def test_result_annotations_must_name_axes(quiet):
    from typing import NamedTuple

    from jaxtyping import Array, Float

    for axes in ("seed", "a a", "3", "..."):

        class Bad(NamedTuple):
            x: Float[Array, axes]

        with pytest.raises(UsageError, match="axes"):
            find(copy_of(decay, Result=Bad))

    class Same(NamedTuple):
        x: Float[Array, "y"]
        y: Float[Array, ""]

    with pytest.raises(UsageError, match=r"Result\.y: an axis has that name too"):
        find(copy_of(decay, Result=Same))


def test_the_stored_attribute_is_json(quiet):
    run(decay, seeds=2, **quiet[0])
    tree, _ = store_module.read_tree(the_file(quiet))
    assert json.loads(tree.attrs["closedform"])["schema"] == store_module.SCHEMA


def test_a_single_run_is_told_by_status_unless_a_sweep_holds_its_cell(quiet):
    run(decay, {"rate": 0.3}, seeds=2, **quiet[0])
    (alone,) = sweeps_of(quiet[0]["results"])
    assert [cell.state for cell in alone.cells] == ["done"]
    sweep(decay, over={"rate": (0.2, 0.3)}, seeds=2, **quiet[0])
    (grid,) = sweeps_of(quiet[0]["results"])
    assert [cell.at for cell in grid.cells] == [{"rate": 0.2}, {"rate": 0.3}]
