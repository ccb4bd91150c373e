"""Code of a user's own: what a config may hold, what a function may take and return, what stands in its file."""

import dataclasses
import enum
import os
import pickle
import re
import subprocess
import sys
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

import closedform.__main__ as command_line
from closedform.contract import Static
from closedform.sweeps import UsageError, run, sweep
from closedform.sweeps.cluster import _portable, _restored
from closedform.sweeps.contract import config as config_
from closedform.sweeps.contract.functions import as_experiment
from closedform.sweeps.contract.groups import gather
from closedform.sweeps.contract.request import Request


def plan_of(simulate, config=None, over=None, folder="results"):
    return Request(simulate, config, over, seeds=1, results=folder).plan()


def traced(simulate, config=None):
    """The shapes of what it returns, by name, from its trace."""
    plan = plan_of(simulate, config)
    (group,), failed = gather(plan.experiment, plan.cells)
    assert not failed
    return {name: leaf.shape for name, leaf in group.shapes["simulation"]._asdict().items()}


# ------------------------------------------------------------------------------------------------------------- what it returns


class Pair(NamedTuple):
    path: Float[Array, "step"]
    end: Float[Array, ""]


@flax.struct.dataclass
class Struct:
    path: jax.Array
    end: jax.Array
    rule: str = flax.struct.field(pytree_node=False, default="sgd")


@dataclasses.dataclass
class Plain:
    path: Any
    end: Any
    none: Any = None


@pytest.mark.parametrize(
    ("made", "fields"),
    [
        (lambda x: x, {"value": (3,)}),
        (lambda x: x[0], {"value": ()}),
        (lambda x: 2.0, {"value": ()}),
        (lambda x: 2, {"value": ()}),
        (lambda x: x[0] > 0, {"value": ()}),
        (lambda x: np.ones(4), {"value": (4,)}),
        (lambda x: (x, x[0]), {"value_0": (3,), "value_1": ()}),
        (lambda x: [x, 1.0], {"value_0": (3,), "value_1": ()}),
        (lambda x: {"path": x, "end": x[0], "none": None}, {"path": (3,), "end": ()}),
        (lambda x: MappingProxyType({"path": x}), {"path": (3,)}),
        (lambda x: Pair(x, x[0]), {"path": (3,), "end": ()}),
        (lambda x: Struct(x, x[0]), {"path": (3,), "end": ()}),
        (lambda x: Plain(x, x[0]), {"path": (3,), "end": ()}),
    ],
)
def test_arrays_and_numbers_in_any_common_container(made, fields):
    assert traced(lambda key: made(jax.random.normal(key, (3,)))) == fields


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda key: None, "returns None, .* is a `return` missing?"),
        (lambda key: {}, "returns {}, .* is a `return` missing?"),
        (lambda key: (), "is a `return` missing?"),
        (lambda key: Pair(None, None), "is a `return` missing?"),
        (lambda key: "done", "returns the text 'done'; .*a text has no mean over seeds"),
        (lambda key: {"x": 1.0, "rule": "sgd"}, "returns the text 'sgd' as 'rule'"),
        (lambda key: key, "returns a key; .*jax.random.key_data"),
        (lambda key: (1.0, key), "returns a key as 'value_1'"),
        (lambda key: jax.lax.complex(jax.random.normal(key), jnp.zeros(())), "complex numbers; .*real and imaginary parts"),
        (lambda key: {"a": {"b": 1.0}}, "of type dict as 'a'; .*a name of its own"),
        (lambda key: (Pair(1.0, 2.0), 3.0), "of type Pair as 'value_0'"),
        (lambda key: {"a b": 1.0}, "a result as 'a b'; .*letters, digits and _"),
        (lambda key: {3: 1.0}, "a result as '3'"),
        (lambda key: object(), "of type object"),
        (lambda key: (yield 1.0), "of type generator; .*an ordinary function"),
    ],
)
def test_what_is_no_array_is_refused_with_the_way_out(made, says):
    with pytest.raises(UsageError, match=says) as refused:
        as_experiment(made, None, None)
    assert "\n" not in str(refused.value)
    assert "allowed: a real array or a number, a tuple" in str(refused.value)


def test_axes_of_a_function_are_named_by_what_it_says_it_returns(tmp_path):
    def tuple_of(key, config) -> tuple[Float[Array, "step"], Float[Array, ""]]:
        return jnp.arange(4.0) * config["a"], config["a"]

    def alone(key) -> Float[Array, "step"]:
        return jnp.arange(2.0)

    def struct(key) -> Struct:
        return Struct(jnp.ones(2), jnp.ones(()))

    assert as_experiment(alone, None, None)[0].fields["value"].axes == ("step",)
    assert as_experiment(struct, None, None)[0].fields["path"].axes == ("path_0",)
    result = sweep(tuple_of, {"a": 1.0}, over={"a": (1.0, 2.0)}, seeds=1, results=tmp_path, progress=False, say=str)
    assert result["simulation"]["value_0"].dims == ("a", "seed", "step")
    np.testing.assert_array_equal(result["simulation"]["value_0"].values[1, 0], [0, 2, 4, 6])
    np.testing.assert_array_equal(result["simulation"]["value_1"].values[:, 0], [1, 2])


# --------------------------------------------------------------------------------------------------------------- what it takes


def test_a_function_without_a_config(tmp_path):
    for simulate in (
        lambda key: jnp.ones(()),
        lambda key, config=None: jnp.ones(()),
        lambda key, *, scale=1.0: scale * jnp.ones(()),
    ):
        experiment, config = as_experiment(simulate, None, lambda: 1.0)
        assert config_.as_dict(config) == {}
        assert experiment.fields["value"].predicted
    result = run(lambda key: jax.random.normal(key), seeds=2, predict=lambda: 0.0, results=tmp_path, progress=False, say=str)
    assert result["simulation"]["value"].shape == (2,)
    with pytest.raises(UsageError, match=r"config: got {'a': 1.0}; alone\(key\) takes none"):
        as_experiment(_alone, {"a": 1.0}, None)


def _alone(key):
    return key


_alone.__name__ = "alone"


@pytest.mark.parametrize(
    "simulate",
    [lambda: 1.0, lambda key, config, other: 1.0, lambda key, config, *, other: 1.0],
    ids=["none", "three", "keyword"],
)
def test_a_function_of_other_arguments_is_refused_by_its_signature(simulate):
    with pytest.raises(
        UsageError, match=r"<lambda>\(.*\): cannot be called; allowed: <lambda>\(key, config\), or <lambda>\(key\)"
    ):
        as_experiment(simulate, {"a": 1.0}, None)
    with pytest.raises(UsageError, match=r"cannot be called; allowed: <lambda>\(config\)"):
        as_experiment(lambda key: 1.0, None, lambda key, config: 1.0)


@pytest.mark.parametrize(
    "used",
    [
        lambda key, config: jax.random.normal(key) * (1 if config["rate"] > 0.5 else 2),
        lambda key, config: jnp.ones(int(config["rate"])),
        lambda key, config: float(config["rate"]) * jax.random.normal(key),
        lambda key, config: jax.random.normal(key, (config["rate"],)),
        lambda key, config: sum(jnp.ones(()) for _ in range(config["rate"])),
        lambda key, config: np.sqrt(np.asarray(config["rate"])) * jnp.ones(()),
        lambda key, config: jnp.ones(3)[: config["rate"]],
    ],
)
def test_a_float_that_is_used_as_a_plain_number_is_named(used):
    with pytest.raises(
        UsageError, match=r"^\S*: rate is traced, .*declare it static: rate: Annotated.*Static\(2\) in a dict"
    ) as error:
        as_experiment(used, {"other": 1.0, "rate": 2.0}, None)
    assert "\n" not in str(error.value)


def test_a_random_number_in_an_if_is_told_apart_from_a_field():
    with pytest.raises(UsageError, match=r"an array that depends on the key .*allowed: jax.numpy.where, jax.lax.cond"):
        as_experiment(lambda key, config: 1.0 if jax.random.normal(key) > 0 else config["a"], {"a": 1.0}, None)
    with pytest.raises(ValueError, match=r"^mine, 1\.0"):  # an error of the code itself stays what it is
        as_experiment(lambda key, config: _raise(f"mine, {config['n'] * 1.0}"), {"a": 1.0, "n": 1}, None)


def _raise(said):
    raise ValueError(said)


def test_a_static_float_of_a_dict_may_fix_a_shape():
    config = {"ratio": Static(2.0), "model": {"rate": 0.1, "ratio": Static(1.0)}}
    plan = plan_of(
        lambda key, c: jnp.ones(int(c["ratio"])) * c["model"]["rate"], config, {"ratio": (1, 3.0), "model.rate": (0.1, 0.2)}
    )
    groups, _ = gather(plan.experiment, plan.cells)
    assert [group.shapes["simulation"].value.shape for group in groups] == [(1,), (3,)]
    assert plan.experiment.as_given(plan.cells[0].config) == {**config, "ratio": Static(1.0)}
    with pytest.raises(UsageError, match="ratio: got 'a'; allowed: a finite number"):
        plan_of(lambda key, c: 1.0, {"ratio": Static("a")})


# ----------------------------------------------------------------------------------------------------------- what it may hold


class Rule(enum.Enum):
    SGD = 1
    ADAM = 2


@dataclasses.dataclass
class Model:
    width: int = 3
    scale: float = 0.5


@dataclasses.dataclass
class Training:
    """As people write them: not frozen, no ranges, numbers out of arrays, lists."""

    rate: float = np.float32(0.5)
    clip: float | None = None
    rule: Rule = Rule.SGD
    model: Model = dataclasses.field(default_factory=Model)
    inner: Model | None = dataclasses.field(default_factory=lambda: Model(2))
    sizes: list[int] = dataclasses.field(default_factory=lambda: [1, 2])
    others: tuple = (1.0, "a")
    ratio: Annotated[float, Static] = 2.0
    steps: int = np.int64(4)

    def __post_init__(self):
        if self.rate <= 0:
            raise RuntimeError("it diverges")


def training(key, config: Training):
    assert isinstance(config, Training)
    assert (config.sizes, config.others) == ((1, 2), (1.0, "a"))
    return jax.random.normal(key, (config.model.width, int(config.ratio))) * config.rate * config.model.scale


def test_a_dataclass_as_people_write_it():
    assert traced(training) == traced(training, Training) == traced(training, Training()) == {"value": (3, 2)}
    plan = plan_of(training, None, {"model.width": (1, 2), "rule": ("ADAM", Rule.SGD), "inner.scale": (0.1, 0.2)})
    assert len(plan.cells) == 8
    assert len(gather(plan.experiment, plan.cells)[0]) == 4
    values = config_.as_dict(plan.cells[0].config)
    assert config_.as_dict(config_.build(Training, values)) == values
    with pytest.raises(
        UsageError, match=r"^rate: got -1\.0; allowed: what fits the other fields \(RuntimeError: it diverges\)$"
    ):
        plan_of(training, None, {"rate": (-1.0,)})


def test_a_dict_inside_of_a_dict_and_a_dataclass_too():
    def simulate(key, config):
        assert config["model"]["names"] == ("a", "b")
        assert isinstance(config["own"], Model)
        return jnp.ones(config["model"]["width"]) * config["own"].scale * config["rate"]

    config = {"rate": jnp.float32(1.0), "model": {"width": 2, "names": ["a", "b"]}, "own": Model(), "none": None, "empty": ()}
    plan = plan_of(simulate, config, {"model.width": (1, 2), "own.scale": (0.1, 0.2, 0.3), "none": (None, "x")})
    groups, failed = gather(plan.experiment, plan.cells)
    assert not failed
    assert len(groups) == 4
    assert plan.experiment.as_given(plan.cells[-1].config)["model"] == {"width": 2, "names": ("a", "b")}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"w": np.ones(200)}, r"config.w: got array\(\[1., 1., .*\.\.\.; allowed: a float, .*as a tuple: .tolist"),
        ({"act": jnp.tanh}, "config.act: got .*; allowed: a float, an int"),
        ({"m": {"w": {1, 2}}}, r"config.m.w: got {1, 2}; allowed"),
        ({"a-b": 1}, "config: got the name 'a-b'; allowed: letters, digits and _"),
        ({"rate": float("nan")}, "rate: got nan; allowed: a finite number"),
        ({"dtype": "float46"}, "dtype: got 'float46'; allowed: 'float32' or 'float64'"),
        (3.0, "config: got 3.0; allowed: a dataclass of plain values or a dict"),
        ("a", "config: got 'a'; allowed: a dataclass"),
        (
            dataclasses.make_dataclass("C", [("rate", float)]),
            r"C has no default for rate; allowed: defaults, or config = C\(rate=...\)",
        ),
        (dataclasses.make_dataclass("C", [("act", Any, 1)])(), "act: a config holds float, int, .*not typing.Any"),
        (
            dataclasses.make_dataclass("C", [("a", float, 1.0), ("b", float, dataclasses.field(init=False, default=2.0))])(),
            "b: is computed by C .init=False.; allowed: a property",
        ),
    ],
)
def test_what_a_config_cannot_hold_is_refused_by_its_name(config, says):
    with pytest.raises(UsageError, match=says) as error:
        plan_of(lambda key, config: 1.0, config)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "stated", ["config = {'ratio': Static(2.0), 'own': Own(), 'inner': {'shade': Shade.DARK}}", "Config = Own"]
)
def test_a_config_of_ones_own_reaches_the_processes_of_a_launcher(stated, tmp_path):
    file = tmp_path / f"portable_{stated[:6]}.py"
    file.write_text(
        "import dataclasses, enum\nfrom closedform.contract import Static\n"
        "class Shade(enum.Enum):\n    DARK = 1\n"
        "@dataclasses.dataclass\nclass Own:\n    shade: Shade = Shade.DARK\n    width: int = 3\n"
        f"{stated}\ndef simulate(key, config):\n    return 1.0\n"
    )
    plan = Request(f"{file}:simulate", seeds=1).plan()
    sent = _restored(pickle.loads(pickle.dumps(_portable(plan))))
    assert sent == plan.experiment.as_given(plan.cells[0].config)
    again = Request(f"{file}:simulate", sent, seeds=1).plan()
    assert [cell.name for cell in again.cells] == [cell.name for cell in plan.cells]


# ------------------------------------------------------------------------------------------------------ what stands in a file


MODEL = """
from dataclasses import dataclass
import jax, jax.numpy as jnp

@dataclass
class Config:
    rate: float = 0.5
    size: int = 2

GRID = {"rate": (0.5, 1.0)}
CURVE = {"rate": 20}
SEEDS = 3

def simulate(key, config):
    return config.rate * jax.random.normal(key, (config.size,))

def predict(config):
    return jnp.zeros(config.size)
"""

DYNAMICS = """
from dataclasses import dataclass
from typing import NamedTuple
import jax, numpy as np
from jaxtyping import Array, Float

@dataclass(frozen=True)
class Config:
    rate: float = 0.1

class Result(NamedTuple):
    x: Float[Array, ""]

def init(key, config):
    return jax.random.normal(key)

def step(state, config):
    return state * (1 - config.rate)

def observe(state, config):
    return Result(state)

def steps(config):
    return np.arange(3)
"""


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys):
    """Runs a command in a folder of its own; returns its exit code, what it printed and what it complained of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "180")

    def command(text):
        with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
            code = command_line.main(text.split())
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def test_a_file_of_ones_own_is_taken_wherever_a_paper_is(typed, tmp_path):
    (tmp_path / "own_model.py").write_text('"""Of arXiv 2309.15111."""\n' + MODEL)
    own = "own_model.py:simulate"
    code, _, said = typed(f"agree {own}")
    assert (code, said.count("\n")) == (2, 1)
    assert f"own_model/simulate: not (all) computed in results; first: closedform reproduce {own}" in said
    code, out, _ = typed(f"reproduce {own}")
    assert code == 0
    assert "own_model/simulate rate=0.5" in out
    assert typed(f"agree {own}")[0] == 0
    code, out, _ = typed(f"report {own}")
    assert (code, out) == (0, "own_model/simulate size=2, over rate: agrees\nreport.html\n")
    code, out, _ = typed(f"cite {own} --plain")
    assert code == 0
    assert out.startswith("Margalit Glasgow, SGD Finds then Tunes")


def test_the_figure_of_ones_own_file(typed, tmp_path):
    """CURVE is read beside a function, in sweeps over other fields too; an earlier figure does not outlive its numbers."""
    (tmp_path / "own_model.py").write_text(MODEL)
    figure = tmp_path / "results/own_model/simulate.png"
    _, _, first = typed("reproduce own_model.py:simulate")
    drawn = figure.read_bytes()
    figure.write_bytes(b"of other numbers")
    _, out, _ = typed("reproduce own_model.py:simulate --quiet")
    assert out.count("\n") == 1
    assert figure.read_bytes() == drawn
    _, _, again = typed("reproduce own_model.py:simulate")
    assert ["nothing is computed anew" in said for said in (first, again)] == [False, True]
    code, out, said = typed("sweep own_model.py:simulate --over size=2,3 --seeds 2")
    assert (code, "cannot be drawn" in said, ".png" in out) == (0, False, True)
    (tmp_path / "wrong.py").write_text(MODEL.replace('{"rate": 20}', '{"rates": 20}'))
    assert "unknown field in wrong/simulate.CURVE 'rates'; nearest: rate" in typed("reproduce wrong.py:simulate")[2]


def test_agree_shows_every_stored_result_of_a_file_without_a_grid(typed, tmp_path):
    (tmp_path / "no_grid.py").write_text(MODEL.replace("GRID", "_GRID"))
    assert typed("sweep no_grid.py:simulate --over rate=.5,1.,2. --seeds 2")[0] == 0
    assert typed("run no_grid.py:simulate --config.rate 3 --seeds 2")[0] == 0
    code, out, _ = typed("agree no_grid.py:simulate")
    assert code == 0
    assert out.count("agrees") == 4


def test_dynamics_without_quick_and_the_preset_that_it_lacks(typed, tmp_path):
    (tmp_path / "own_dynamics.py").write_text(DYNAMICS)
    assert typed("run own_dynamics.py --seeds 2 --preset quick")[0] == 0
    code, _, said = typed("reproduce own_dynamics.py --preset noisy")
    assert code == 2
    assert said == "closedform: unknown preset of own_dynamics.py 'noisy'; known: quick\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "run logreg.py",
            "name a function of the file, logreg.py:simulate or logreg.py:other; as an experiment it lacks Config, Result",
        ),
        ("run logreg", "experiment: got 'logreg'; allowed: a file by its whole name, logreg.py"),
        ("run logreg:simulate", "allowed: a file by its whole name, logreg.py:simulate"),
        ("run logreg.py:Simulate", "unknown function of logreg.py 'Simulate'; nearest: simulate"),
        ("run ends.py", r"ends.py: cannot be imported \(SystemExit: 3; .*if __name__ == \"__main__\":\)"),
        ("run logreg.py:simulate", r"simulate\(key, config\) needs one; allowed: .*config = {...} or @dataclass class Config"),
        ("cite latin.py --plain", ""),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_with_the_way_out(text, says, typed, tmp_path):
    (tmp_path / "logreg.py").write_text(
        "def predict(config): return 1.0\ndef other(key): return 1.0\ndef simulate(key, config): return 1.0\n"
    )
    (tmp_path / "ends.py").write_text("raise SystemExit(3)")
    (tmp_path / "latin.py").write_bytes("# -*- coding: latin-1 -*-\nname = 'café'\n".encode("latin-1"))
    code, _, said = typed(text)
    assert code == (2 if says else 0)
    assert said.count("\n") == bool(says)
    assert re.search(says, said)


@pytest.mark.slow
def test_a_run_ends_well_in_poor_surroundings(tmp_path):
    """No HOME, no display, a notebook's backend whose package is missing, a latin-1 terminal and a latin-1 source."""
    text = (
        "# -*- coding: latin-1 -*-\n# écrit à la main\nimport jax\n\n\ndef simulate(key):\n    return jax.random.normal(key)\n"
    )
    (tmp_path / "poor.py").write_bytes(text.encode("latin-1"))
    poor = {"MPLBACKEND": "module://nosuch.backend", "PYTHONIOENCODING": "latin-1", "LC_ALL": "C"}
    gone = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "DISPLAY", "JAX_COMPILATION_CACHE_DIR")
    ended = subprocess.run(
        [sys.executable, "-m", "closedform", "run", "poor.py:simulate", "--seeds", "2"],
        env={**{name: value for name, value in os.environ.items() if name not in gone}, **poor},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"results/poor/simulate" in ended.stdout
