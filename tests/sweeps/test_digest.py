# ruff: noqa: E501  (one program a line)
"""What decides the numbers of a function is in its digest, whatever form it has; what does not is not."""

import dataclasses
import functools
import json
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from closedform.sweeps import run, sweep
from closedform.sweeps.contract.sources import source_digest

TESTS = str(Path(__file__).resolve().parent.parent)
MAKE = {
    "a helper": "def helper(x):\n    return {} * x\ndef simulate(key, config):\n    return helper(config['a'])\n",
    "a jitted helper": "import jax\n@jax.jit\ndef helper(x):\n    return {} * x\ndef simulate(key, config):\n    return helper(1.0)\n",
    "a jitted function": "import jax\n@jax.jit\ndef simulate(key, config):\n    return {} * config['a']\n",
    "a global": "factor = {}\ndef simulate(key, config):\n    return factor * config['a']\n",
    "a list of arrays": "import numpy as np\nx = np.ones(5000)\nx[2500] = {}\nL = [x]\ndef simulate(key, config):\n    return L[0].sum()\n",
    "an object": "class P:\n    def __init__(self, w):\n        self.w = w\np = P({})\ndef simulate(key, config):\n    return p.w\n",
    "a default": "A = {}\ndef h(x, k=A):\n    return x * k\ndef simulate(key, config):\n    return h(1.0)\n",
    "a keyword default": "A = {}\ndef h(x, *, k=A):\n    return x * k\ndef simulate(key, config):\n    return h(1.0)\n",
    "a closure": "def make(k):\n    def simulate(key, config):\n        return k\n    return simulate\nsimulate = make({})\n",
    "a partial": "import functools\ndef f(k, key, config):\n    return k\nsimulate = functools.partial(f, {})\n",
    "a lambda": "simulate = lambda key, config: {} * config['a']\n",
    "a method": "class M:\n    def __init__(self, w):\n        self.w = w\n    def go(self, key, config):\n        return self.w\nsimulate = M({}).go\n",
    "a callable": "class M:\n    def __init__(self, w):\n        self.w = w\n    def __call__(self, key, config):\n        return self.w\nsimulate = M({})\n",
    "an inner import": "def simulate(key, config):\n    import beside_{0}\n    return beside_{0}.factor\n",
}


def digest(text, folder, name):
    """The digest of `simulate` in a file of this text."""
    (folder / "beside_2.py").write_text("factor = 2\n")
    (folder / "beside_3.py").write_text("factor = 3\n")
    path = folder / f"{name}.py"
    path.write_text(text)
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    exec(compile(text, str(path), "exec"), vars(module))
    return source_digest(types.SimpleNamespace(FUNCTIONS=(module.simulate,)))


@pytest.mark.parametrize("form", MAKE)
def test_a_change_in_any_form_changes_the_digest(form, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    text = MAKE[form]
    first = digest(text.format(2), tmp_path, "first")
    assert first != digest(text.format(3), tmp_path, "first")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """{form: digest} as two other processes find it, one of them below two lines of comment."""
    program = textwrap.dedent("""
        import json, sys
        from pathlib import Path
        sys.path[:0] = sys.argv[1:3]
        from test_digest import MAKE, digest
        said = {}
        for number, (form, text) in enumerate(MAKE.items()):
            folder = Path(sys.argv[1]) / str(number)
            folder.mkdir()
            sys.path.insert(0, str(folder))
            said[form] = digest("# a comment\\n" * int(sys.argv[3]) + text.format(2), folder, "first")
        print(json.dumps(said))
    """)
    found = []
    for comments in ("0", "2"):
        command = [sys.executable, "-c", program, str(tmp_path_factory.mktemp("forms")), f"{TESTS}/sweeps", comments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


@pytest.mark.parametrize("form", MAKE)
def test_the_digest_is_the_same_in_another_process_and_with_other_comments(form, elsewhere):
    first, second = elsewhere
    assert first[form] == second[form]


def test_a_property_of_the_config_counts():
    def config(factor):
        @dataclasses.dataclass(frozen=True)
        class Config:
            a: float = 1.0

            @property
            def b(self):
                return factor * self.a

        return Config

    def simulate(key, config):
        return config.b

    digests = {source_digest(types.SimpleNamespace(FUNCTIONS=(simulate,), Config=config(factor))) for factor in (2, 3)}
    assert len(digests) == 2


def test_a_changed_global_is_compiled_anew_in_the_same_process(tmp_path):
    def simulate(key, config):
        return FACTOR[0] * config["a"]

    options = dict(seeds=1, results=tmp_path, progress=False, say=str)
    FACTOR[0] = 2.0
    assert float(run(simulate, {"a": 1.0}, **options)["simulation"]["value"][0]) == 2.0
    FACTOR[0] = 3.0
    assert float(run(simulate, {"a": 1.0}, **options)["simulation"]["value"][0]) == 3.0
    grid = sweep(simulate, {"a": 1.0}, over={"a": (1.0, 2.0)}, **options)
    np.testing.assert_array_equal(grid["simulation"]["value"].values[:, 0], [3.0, 6.0])


FACTOR = [2.0]


def test_functions_of_one_name_are_kept_apart(tmp_path):
    def f(scale, key, config):
        return scale * config["a"] + 0.0 * jax.random.normal(key)

    options = dict(seeds=2, results=tmp_path, progress=False, say=str)
    for scale in (1.0, 5.0, 1.0):
        value = run(functools.partial(f, scale), {"a": 1.0}, **options)["simulation"]["value"]
        np.testing.assert_array_equal(value, [scale, scale])
    with_prediction = run(functools.partial(f, 1.0), {"a": 1.0}, predict=lambda config: config["a"], **options)
    assert "prediction" in with_prediction.children
