"""What decides numbers is the engine's: whatever JAX is told by the user's environment, a sweep gives the same bits."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from closedform.sweeps import UsageError
from closedform.sweeps.contract import precision
from closedform.sweeps.contract.request import Request
from closedform.sweeps.engine import provenance
from closedform.sweeps.results.loading import mixed
from closedform.sweeps.results.store import read_tree

# of JAX, with a value under which a program would be another one, or would stop where ours goes on
SETTINGS = {
    "jax_enable_x64": True,
    "jax_debug_nans": True,
    "jax_debug_infs": True,
    "jax_disable_jit": True,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_threefry_partitionable": False,
    "jax_default_prng_impl": "rbg",
    "jax_enable_custom_prng": True,
    "jax_legacy_prng_key": "error",
    "jax_debug_key_reuse": True,
    "jax_default_matmul_precision": "bfloat16",
    "jax_softmax_custom_jvp": True,
    "jax_check_tracer_leaks": True,
    "jax_transfer_guard": "disallow",
    "jax_default_device": 1,
}
DECIDING = {"jax_random_seed_offset": 7, "jax_high_dynamic_range_gumbel": True, "jax_use_direct_linearize": False}

PROGRAM = """
import json, sys
import jax, jax.numpy as jnp, numpy as np

sys.path.insert(0, sys.argv[1])
from closedform.sweeps import run
from zoo import decay


def simulate_of():
    def simulate(key, config):
        own = jax.random.fold_in(jax.random.key(3), config["size"])  # of the function's own, and one of the old kind
        x = config["a"] * jax.random.normal(key, (config["size"],)) + jax.random.normal(own, (config["size"],))
        drawn = jax.random.uniform(jax.random.PRNGKey(4)) + jax.random.normal(key)  # a key that is used twice
        x = jnp.where(x > 0, jnp.log(x), jnp.int32(2) / x.astype(int))  # no numbers, and infinite ones; promoted
        slope = jax.grad(lambda y: jax.nn.softmax(y) @ y)(jnp.tanh(x))
        return {"drawn": drawn, "slope": slope, "wide": x[:2, None] * slope, "product": jnp.outer(slope, slope) @ slope}

    def predict(config):
        return {"drawn": config["a"] * jax.random.normal(jax.random.key(5))}

    return simulate, predict


def numbers(name, experiment=None):
    simulate, predict = simulate_of()  # new ones, of which nothing is compiled yet
    asked = (experiment, None) if experiment else (simulate, {"a": 1.5, "size": 4})
    predict, folder = None if experiment else predict, f"{sys.argv[2]}/{name}"
    result = run(*asked, seeds=2, predict=predict, results=folder, progress=False, say=str)
    return {f"{side}/{name}": array.values for side in result.children for name, array in result[side].data_vars.items()}


def differs(name, reference, experiment=None):
    try:
        found = numbers(name, experiment)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    bits = [{key: (array.dtype, array.tobytes()) for key, array in numbers.items()} for numbers in (found, reference)]
    return ", ".join(key for key in bits[0] if bits[0][key] != bits[1][key])
"""

REFERENCE = """
np.savez(sys.argv[2] + "/function.npz", **numbers("reference"))
np.savez(sys.argv[2] + "/decay.npz", **numbers("steps", decay))
print(0)
"""

IN_TURN = """
reference, wrong = numbers("reference"), {}
for setting, value in json.loads(sys.argv[3]).items():
    if setting not in jax.config.values:  # of another version of JAX
        continue
    before = jax.config.values[setting]
    jax.config.update(setting, jax.devices()[value] if setting == "jax_default_device" else value)
    if said := differs(setting, reference):
        wrong[setting] = said
    jax.config.update(setting, before)
print(json.dumps(wrong))
"""

TOGETHER = """
function, steps = (np.load(f"{sys.argv[2]}/{name}.npz") for name in ("function", "decay"))
print(json.dumps(differs("together", function) + differs("together", steps, decay)))
"""


def call(program, folder, *arguments, environment=()):
    tests = str(Path(__file__).resolve().parent.parent)
    command = [sys.executable, "-c", PROGRAM + program, tests, str(folder), *arguments]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags, **dict(environment)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_no_setting_of_jax_changes_a_bit(tmp_path):
    """Of a function, and of a program of steps, in a process that starts with all of them."""
    words = {name.upper(): str(value) for name, value in SETTINGS.items() if name != "jax_default_device"}
    call(REFERENCE, tmp_path)
    assert call(TOGETHER, tmp_path, environment=words) == ""


@pytest.mark.slow("sweeps/contract/precision.py", "sweeps/engine/executor.py")
def test_no_setting_of_jax_changes_a_bit_by_itself(tmp_path):
    assert call(IN_TURN, tmp_path, json.dumps(SETTINGS)) == {}


def test_a_result_says_by_what_it_was_computed(monkeypatch):
    plan = Request("xor/phases", seeds=1).plan()
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=SSE4_2   --xla_cpu_enable_fast_math=true")
    said = provenance.new(plan, plan.cells[0].config, 0.0)
    assert said["flags"] == "--xla_cpu_max_isa=SSE4_2 --xla_cpu_enable_fast_math=true"
    assert said["cores"] == provenance.cores()
    assert said["processor"]
    before = jax.config.values["jax_optimization_level"]
    jax.config.update("jax_optimization_level", "O1")
    try:
        assert provenance.new(plan, plan.cells[0].config, 0.0)["flags"].endswith(" JAX_OPTIMIZATION_LEVEL=O1")
    finally:
        jax.config.update("jax_optimization_level", before)


HERE = {"device": "cpu: cpu", "processor": "A", "cores": 2, "flags": "", "versions": {"jax": "0.10.2", "jaxlib": "0.10.2"}}


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({}, ""),
        ({"processor": "B"}, "processor (A; B)"),
        ({"cores": 1}, "cores (1; 2)"),
        ({"device": "gpu: H200"}, "device (cpu: cpu; gpu: H200)"),
        ({"flags": "--xla_cpu_enable_fast_math=true"}, "flags of XLA (--xla_cpu_enable_fast_math=true; none)"),
        ({"flags": "--xla_force_host_platform_device_count=4 --xla_dump_to=x"}, ""),
        ({"versions": {"jax": "0.12.0", "jaxlib": "0.10.2"}}, "jax (0.10.2; 0.12.0)"),
        ({"processor": "B", "cores": 1, "seconds": 3.0}, "processor (A; B), cores (1; 2)"),
    ],
)
def test_a_mix_within_one_result_is_one_line(other, named):
    line = mixed([HERE, {**HERE, **other}, HERE])
    assert line.partition("last bits: ")[2] == named
    assert bool(line) == bool(named)
    assert "\n" not in line
    older = {key: value for key, value in HERE.items() if key not in ("processor", "cores", "flags")}
    assert mixed([older, HERE]) == ""


ROOT = Path(sys.modules["closedform"].__file__).parent
SOURCES = [
    path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] not in ("tests", "docs", "build", "results", ".venv")
]


def test_every_key_of_the_package_says_its_implementation():
    """Else JAX_DEFAULT_PRNG_IMPL would decide which numbers are drawn."""
    nameless = []
    for path in SOURCES:
        for call in ast.walk(ast.parse(path.read_bytes())):
            made = isinstance(call, ast.Call) and ast.unparse(call.func) in (
                "jax.random.key",
                "jax.random.PRNGKey",
                "random.key",
            )
            if made and not any(word.arg == "impl" for word in call.keywords):
                nameless.append(f"{path.relative_to(ROOT)}:{call.lineno}")
    assert nameless == []


CONSTANTS = """
import jax, jax.numpy as jnp

KEY, PLACES = jax.random.key(0), jnp.linspace(0, 1, 4)  # made when the file is imported

def simulate(key, config={"a": 1.0}):
    return {"drawn": config["a"] * jax.random.normal(KEY, (4,)) + jax.random.normal(key) * PLACES}
"""


def test_a_process_of_ours_forgets_what_its_environment_has_set():
    of_the_tests = {"jax_default_device", "jax_enable_x64", "jax_numpy_dtype_promotion", "jax_numpy_rank_promotion"}  # conftest
    words = {name: value for name, value in {**SETTINGS, **DECIDING}.items() if name not in of_the_tests}
    before = {name: jax.config.values[name] for name in words}
    try:
        for name, value in words.items():
            jax.config.update(name, value)
        precision.settle()
        wrong = {name for name, value in words.items() if jax.config.values[name] == value}
        assert wrong == set()
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


@pytest.mark.slow("sweeps/contract/precision.py", "__main__.py")
def test_nor_the_constants_of_a_file_on_the_command_line(tmp_path):
    (tmp_path / "constants.py").write_text(CONSTANTS)
    words = {**SETTINGS, **DECIDING, "jax_default_device": "cpu"}
    found = []
    for folder, environment in (("plain", {}), ("other", {name.upper(): str(value) for name, value in words.items()})):
        command = [sys.executable, "-m", "closedform", "run", "constants.py:simulate", "--seeds", "2", "--results", folder]
        done = subprocess.run(command, env={**os.environ, **environment}, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (path,) = (tmp_path / folder).rglob("*.nc")
        found.append(read_tree(path)[0]["simulation"]["drawn"].values)
    assert found[0].dtype == found[1].dtype
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("name", "value"), DECIDING.items())
def test_a_setting_that_is_not_the_engine_s_to_make_is_refused_in_one_line(name, value):
    before = jax.config.values[name]
    precision.check_environment()
    jax.config.update(name, value)
    try:
        with pytest.raises(UsageError, match=rf"{name.upper()}: got {value}; allowed: {before}") as refused:
            precision.check_environment()
        assert "\n" not in str(refused.value)
    finally:
        jax.config.update(name, before)
