"""A value is named exactly: in cells, tables and files, on the command line, and where results are kept."""

import dataclasses
import enum
import json
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.sweeps import Settings, UsageError, compare, predict, run
from closedform.sweeps.cluster import _portable, _restored
from closedform.sweeps.contract import config as config_
from closedform.sweeps.contract.functions import from_file
from closedform.sweeps.contract.names import kept_as, parts
from closedform.sweeps.contract.request import Request, resolve
from closedform.sweeps.engine.placeholder import placeholder
from closedform.sweeps.results.agreement import texts
from closedform.sweeps.results.store import read_tree, write_tree
from zoo import decay


@pytest.fixture(autouse=True)
def _as_a_user_meets_it():
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 3


def value(key, config):
    return jnp.asarray(1.0)


def request(*asked):
    return Request(*asked).plan()


def asked(config, over=None, **options):
    """The request, checked; nothing is computed."""
    plan = request(value, config, over, False, 2, 0, "results", options.get("predict"))
    return plan if over or options.get("predict") else plan.cells[0]


# --- rounded text is no identity -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [(1000001.0, 1000002.0, 1000003.0), (1.0, 1.0000001), (0.1, 0.1 + 1e-16), (1e-9, 2e-9)])
def test_the_cells_of_a_grid_have_names_of_their_own(values):
    plan = asked({"a": 1.0}, {"a": values}, predict=lambda config: 1.0)
    resolved, _ = resolve(value, {"a": 1.0}, lambda config: 1.0)
    cells = [row.cell for row in compare(resolved, placeholder(plan))]
    assert len(set(cells)) == len(values)
    assert [float(cell.removeprefix("a=")) for cell in cells] == pytest.approx(values)


def test_texts_are_as_short_as_tells_them_apart():
    assert texts([0.1, 0.1 + 0.2]) == ["0.1", "0.3"]
    assert texts([1000001.0]) == ["1000001"]
    assert texts([1e6, 2e-7]) == ["1e+06", "2e-07"]
    assert texts([np.float32(0.1), 3.0]) == ["0.1", "3"]
    assert texts([True, False]) == ["True", "False"]
    assert texts(np.asarray([2**53 + 1, 2**53])) == ["9007199254740993", "9007199254740992"]


def test_whole_numbers_too_large_for_64_bits_label_an_axis(tmp_path):
    tree = placeholder(asked({"a": 1}, {"a": (2**70, 2**70 + 1)}))
    write_tree(tmp_path / "a.nc", tree)
    again, _ = read_tree(tmp_path / "a.nc")
    assert again["simulation"]["a"].values.tolist() == [str(2**70), str(2**70 + 1)]


# --- numbers are what they are ---------------------------------------------------------------------------------------------


def test_whole_numbers_stay_whole(tmp_path):
    """2**24 + 1 is the first that float32 does not hold."""
    large = 2**24 + 1

    def counts(key, config):
        whole = jnp.asarray(large) + jnp.asarray([0, 2])
        return {
            "whole": whole,
            "unsigned": whole.astype(jnp.uint32),
            "truth": whole > 0,
            "short": whole.astype(jnp.int16),
            "own": large,
        }

    result = run(counts, {"a": 1.0}, seeds=2, predict=lambda config: {"own": large}, results=tmp_path, progress=False, say=str)
    simulated = result["simulation"]
    np.testing.assert_array_equal(simulated["whole"], [[large, large + 2]] * 2)
    np.testing.assert_array_equal(simulated["unsigned"], [[large, large + 2]] * 2)
    assert simulated["own"].values.tolist() == [large, large]
    assert float(result["prediction"]["own"]) == large
    kept = {name: str(simulated[name].dtype) for name in ("whole", "truth", "short")}
    assert kept == {"whole": "float64", "truth": "float32", "short": "float32"}


def test_whole_numbers_of_a_prediction_alone_stay_whole():
    found, config = resolve(lambda key, config: config["n"], {"n": 1}, lambda config: config["n"])
    result = predict(found, config, over={"n": (1, 2**24 + 1)})
    assert result["prediction"]["value"].values.tolist() == [1.0, 2.0**24 + 1]


def test_a_whole_number_beyond_float64_is_a_reason_to_fail(tmp_path):
    where = {"results": tmp_path, "progress": False, "say": str}
    with pytest.raises(ValueError, match=r"whole numbers beyond 2\*\*53"):
        run(lambda key, config: jnp.asarray(2**53 + 1), {"a": 1.0, "dtype": "float64"}, seeds=1, **where)


@pytest.mark.parametrize("returned", [2**40, np.asarray([1, 2**40])])
def test_a_whole_number_that_the_program_cannot_hold_is_refused(returned):
    with pytest.raises(UsageError, match=r"returns value = .*; allowed: whole numbers of 32 bits"):
        request(lambda key, config: returned, {"a": 1.0}, None, False, 1, 0, "results", None)


@pytest.mark.parametrize("given", [1e39, -1e39, 1e-39, 3.5e38])
def test_a_number_beyond_float32_is_refused_before_anything_runs(given):
    for plan in ({"a": given}, None), ({"a": 1.0}, {"a": (1.0, given)}):
        with pytest.raises(
            UsageError, match=r"a: got .*; allowed: 0, or 1.18e-38 to 3.4e\+38 in size, where .* float32"
        ) as refused:
            asked(*plan)
        assert "\n" not in str(refused.value)
    asked({"a": given, "dtype": "float64"})
    asked({"a": 0.0})


@pytest.mark.parametrize(
    ("text", "annotation", "spelled"),
    [
        (".5", float, 0.5),
        ("1.", float, 1.0),
        ("+1", float, 1.0),
        ("+1", int, 1),
        ("-.5e-3", float, -0.5e-3),
        ("-0.0", float, 0.0),
        ("1", float | None, 1.0),
        ("None", float | None, None),
        ("[.5, 1.]", tuple[float, ...], (0.5, 1.0)),
        ("[[1, +2], [3, 4]]", tuple[tuple[int, ...], ...], ((1, 2), (3, 4))),
        ("RED", Colour, Colour.RED),
        ("None", Colour | None, None),
        ("true", bool, True),
        (".5", str, ".5"),
    ],
)
def test_what_a_person_types_is_a_value(text, annotation, spelled):
    found = config_.parse("a", text, annotation)
    assert found == spelled
    assert type(found) is type(spelled)
    assert not isinstance(found, float) or math.copysign(1.0, found) == math.copysign(1.0, spelled)


@pytest.mark.parametrize("text", ["9" * 5000, "1e999", "nan", "[" * 9000 + "]" * 9000, "0x10", "1_0"])
def test_what_is_no_finite_number_is_refused_in_one_line(text):
    with pytest.raises(UsageError, match=r"a: got .*; allowed: a finite number"):
        config_.parse("a", text, float)


def test_a_list_of_values_is_cut_at_its_own_commas():
    assert config_.split('.5, [1, 2], "a, b",(3,4)') == [".5", "[1, 2]", '"a, b"', "(3,4)"]


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (jnp.float32(0.5), 0.5),
        (jnp.bfloat16(0.5), 0.5),
        (np.asarray(0.5), 0.5),
        (np.int64(3), 3),
        (jnp.int32(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (-0.0, 0.0),
        ([1, 2], (1, 2)),
        ((1, 2.5), (1.0, 2.5)),
    ],
)
def test_a_number_out_of_an_array_is_the_plain_number(given, plain):
    cell = asked({"a": given})
    assert cell.name == asked({"a": plain}).name
    assert type(cell.config.a) is type(plain)
    assert math.copysign(1.0, cell.config.a) == 1.0 if isinstance(plain, float) else True
    assert asked({"a": plain}, {"a": [given]}).cells[0].name == cell.name


def test_none_and_the_members_of_an_enum_are_values():
    seen = []

    def look(key, config):
        seen.append(config["a"])
        return 1.0

    for given, written in (
        (None, None),
        (Colour.BLUE, "BLUE"),
        (Level.LOW, "LOW"),
        ((Colour.RED, Colour.BLUE), ("RED", "BLUE")),
    ):
        plan = request(look, {"a": given}, None, False, 1, 0, "results", None)
        assert seen[-1] == given
        assert config_.as_dict(plan.cells[0].config) == {"a": written}
        assert json.dumps(config_.as_dict(plan.cells[0].config))
    plan = asked({"a": Colour.RED}, {"a": (Colour.RED, "BLUE")})
    assert [cell.config.a for cell in plan.cells] == [Colour.RED, Colour.BLUE]
    assert placeholder(plan)["simulation"]["a"].values.tolist() == ["RED", "BLUE"]
    plan = asked({"a": None}, {"a": (None, 0.5, "x")})
    assert placeholder(plan)["simulation"]["a"].values.tolist() == ["None", "0.5", "x"]


def test_a_dataclass_with_numbers_out_of_arrays_and_an_enum():
    @dataclasses.dataclass(frozen=True)
    class Config:
        rate: float = 1.0
        colour: Colour | None = None
        size: int = 3

    cell = asked(Config(jnp.float32(0.5), Colour.RED, np.int32(4)))
    assert cell.name == asked(Config(0.5, Colour.RED, 4)).name != asked(Config(0.5, Colour.BLUE, 4)).name
    assert config_.build(Config, config_.as_dict(cell.config)) == Config(0.5, Colour.RED, 4)


def test_a_member_of_an_enum_reaches_the_processes_of_a_launcher(tmp_path):
    (tmp_path / "shades.py").write_text("import enum\nclass Shade(enum.Enum):\n    DARK = 1\n")
    shade = from_file(f"{tmp_path}/shades.py:Shade")
    plan = request(value, {"a": shade.DARK, "b": (shade.DARK, shade.DARK)}, None, False, 1, 0, "results", None)
    sent = pickle.loads(pickle.dumps(_portable(plan)))
    assert {name: _restored(one) for name, one in sent.items()} == {"a": shade.DARK, "b": (shade.DARK, shade.DARK)}
    assert "Shade" not in repr(type(sent["a"]))


@pytest.mark.parametrize("kind", [np.int64, np.uint32, jnp.int32])
def test_seeds_out_of_arrays_are_seeds(kind):
    plans = [
        request(value, {"a": 1.0}, None, False, seeds, kind(5), "results", None) for seeds in (kind(2), kind([3, 1]), [kind(3)])
    ]
    assert [plan.seeds for plan in plans] == [[0, 1], [3, 1], [3]]
    assert all(plan.root_seed == 5 and type(plan.seeds[0]) is type(plan.root_seed) is int for plan in plans)
    assert Settings(threads=kind(2)).checked() == Settings(threads=2)
    with pytest.raises(UsageError, match="seeds: got"):
        request(value, {"a": 1.0}, None, False, [True, 2], 0, "results", None)


def test_minus_zero_is_zero():
    assert asked({"a": -0.0}).name == asked({"a": 0.0}).name
    with pytest.raises(UsageError, match="two cells of the grid are the same"):
        asked({"a": 1.0}, {"a": (0.0, -0.0)})


def test_a_field_may_be_called_like_a_word_of_python(tmp_path):
    def scaled(key, config):
        return config["lambda"] * jnp.ones(())

    result = run(scaled, {"lambda": 0.1, "class": "a"}, seeds=1, results=tmp_path, progress=False, say=str)
    assert float(result["simulation"]["value"][0]) == np.float32(0.1)
    plan = asked({"lambda": 0.1}, {"lambda": (0.1, 0.2)})
    assert [vars(cell.config) for cell in plan.cells] == [{"lambda": 0.1}, {"lambda": 0.2}]
    with pytest.raises(UsageError, match=r"returns a result as 'lambda'; .*no word of Python"):
        request(lambda key, config: {"lambda": 1.0}, {"a": 1.0}, None, False, 1, 0, "results", None)


# --- where results are kept --------------------------------------------------------------------------------------------------


SOURCE = "def simulate(key, config={'a': 1.0}):\n    return config['a']\n"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("mine.py", "mine"),
        ("a.b.c.py", "a/b/c"),
        ("C:x.py", "C:x"),
        ("a:b/mine.py", "mine"),
        ("random.py", "random"),
        (".x.py", "x"),
    ],
)
def test_what_is_typed_names_the_results(file, name, tmp_path, monkeypatch):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(SOURCE)
    monkeypatch.setenv("HOME", str(tmp_path))
    for typed in (f"{path}:simulate", f"~/{file}:simulate"):
        assert parts(typed)[1] == "simulate"
        found, _ = resolve(typed)
        assert found.name == kept_as(typed) == kept_as(from_file(typed)) == f"{name}/simulate"
    assert kept_as(str(path)) == kept_as(from_file(str(path))) == name
    assert kept_as("xor/phases") == "xor/phases"
    assert kept_as(decay) == "zoo/decay"


def test_a_file_cannot_take_the_name_of_an_experiment(tmp_path):
    (tmp_path / "xor.py").write_text(SOURCE.replace("simulate", "phases"))
    with pytest.raises(UsageError, match="xor/phases is one of this package; allowed: another name"):
        resolve(f"{tmp_path}/xor.py:phases")
    assert resolve("xor/phases")[0].name == "xor/phases"
