# ruff: noqa: E501  (one program a line)
"""Whatever decides the numbers of a function is in its digest, wherever it stands; what does not is not."""

import functools
import importlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest

from closedform.sweeps import Settings, UsageError, find, run, sweep
from closedform.sweeps.contract.functions import as_experiment
from closedform.sweeps.contract.groups import gather
from closedform.sweeps.contract.request import Request
from closedform.sweeps.contract.tracing import trace
from zoo import decay

TESTS = str(Path(__file__).resolve().parent.parent)
# {form: a file in which 2 or 3 stands for {}}; `x` is an array of the config's `a`, and what is not shown of a file is HEAD
HEAD = """
import abc, collections, contextlib, dataclasses, enum, functools, importlib, itertools, json, operator, os, pathlib, types
import jax, jax.numpy as jnp, numpy as np
from typing import NamedTuple
"""
DEFINED = {
    "a helper": "def helper(x):\n    return {} * x\ndef f(x):\n    return helper(x)",
    "a helper of a helper": "def h(x):\n    return {} * x\ndef helper(x):\n    return h(x)\ndef f(x):\n    return helper(x)",
    "a jitted helper": "@jax.jit\ndef helper(x):\n    return {} * x\ndef f(x):\n    return helper(x)",
    "a jitted function": "@jax.jit\ndef f(x):\n    return {} * x",
    "a static argument": "h = jax.jit(lambda n, x: n * x, static_argnums=0)\ndef f(x):\n    return h({}, x)",
    "a global": "factor = {}\ndef f(x):\n    return factor * x",
    "a global by its name": "factor = {}\ndef f(x):\n    return globals()['factor'] * x",
    "a global set by exec": "exec('factor = {}')\ndef f(x):\n    return factor * x",
    "a list of arrays": "a = np.ones(5000)\na[2500] = {}\nL = [a]\ndef f(x):\n    return L[0].sum() + x",
    "a large array": "A = np.ones((64, 64))\nA[13, 7] = {}\ndef f(x):\n    return (A * x).sum()",
    "a jax array": "A = jnp.full(3, float({}))\ndef f(x):\n    return A @ A * x",
    "a table": "T = {{'k': {}}}\ndef f(x):\n    return T['k'] * x",
    "a table of functions": "T = {{'k': lambda x: {} * x}}\ndef f(x):\n    return T['k'](x)",
    "a dict keyed by functions": "T = {{max: {}, min: 1}}\ndef f(x):\n    return sum(T[k] for k in (max, min)) * x",
    "a set": "S = {{'a', 'b', {}}}\ndef f(x):\n    return sum(s for s in S if isinstance(s, int)) * x",
    "an object": "class P:\n    def __init__(self, w):\n        self.w = w\np = P({})\ndef f(x):\n    return p.w * x",
    "a namespace": "s = types.SimpleNamespace(w={})\ndef f(x):\n    return s.w * x",
    "a class attribute": "class P:\n    w = {}\ndef f(x):\n    return P.w * x",
    "a class attribute set later": "class P:\n    w = 0\nP.w = {}\ndef f(x):\n    return P().w * x",
    "an inherited attribute": "class A:\n    w = {}\nclass B(A):\n    pass\ndef f(x):\n    return B.w * x",
    "an inherited method": "class A:\n    def go(self, x):\n        return {} * x\nclass B(A):\n    pass\ndef f(x):\n    return B().go(x)",
    "a static method": "class P:\n    @staticmethod\n    def go(x):\n        return {} * x\ndef f(x):\n    return P.go(x)",
    "a class method": "class P:\n    w = {}\n    @classmethod\n    def go(cls, x):\n        return cls.w * x\ndef f(x):\n    return P.go(x)",
    "a property": "class P:\n    @property\n    def w(self):\n        return {}\ndef f(x):\n    return P().w * x",
    "an attribute on request": "class P:\n    def __getattr__(self, name):\n        return {}\ndef f(x):\n    return P().w * x",
    "a metaclass": "class M(type):\n    @property\n    def w(cls):\n        return {}\nclass P(metaclass=M):\n    pass\ndef f(x):\n    return P.w * x",
    "a callable object": "class P:\n    def __call__(self, x):\n        return {} * x\nf = P()",
    "a bound method": "class P:\n    def __init__(self, w):\n        self.w = w\n    def go(self, x):\n        return self.w * x\nf = P({}).go",
    "an operator of a class": "class P:\n    def __rmul__(self, x):\n        return {} * x\ndef f(x):\n    return x.sum() * 1.0 if False else P().__rmul__(x)",
    "an enum": "class E(enum.Enum):\n    W = {}\ndef f(x):\n    return E.W.value * x",
    "a named tuple": "class N(NamedTuple):\n    w: int = {}\ndef f(x):\n    return N().w * x",
    "a dataclass default": "@dataclasses.dataclass\nclass D:\n    w: int = {}\ndef f(x):\n    return D().w * x",
    "a default factory": "@dataclasses.dataclass\nclass D:\n    w: list = dataclasses.field(default_factory=lambda: [{}])\ndef f(x):\n    return D().w[0] * x",
    "a default": "A = {}\ndef h(x, k=A):\n    return x * k\ndef f(x):\n    return h(x)",
    "a keyword default": "A = {}\ndef h(x, *, k=A):\n    return x * k\ndef f(x):\n    return h(x)",
    "a default changed later": "def h(x, k=0):\n    return x * k\nh.__defaults__ = ({},)\ndef f(x):\n    return h(x)",
    "a closure": "def make(k):\n    def f(x):\n        return k * x\n    return f\nf = make({})",
    "a closure of a closure": "def make(k):\n    def h(x):\n        return k * x\n    def f(x):\n        return h(x)\n    return f\nf = make({})",
    "a partial": "def h(k, x):\n    return k * x\nf = functools.partial(h, {})",
    "a partial method": "class P:\n    def go(self, k, x):\n        return k * x\n    two = functools.partialmethod(go, {})\ndef f(x):\n    return P().two(x)",
    "a lambda": "f = lambda x: {} * x",
    "a wrapper": "def twice(g):\n    @functools.wraps(g)\n    def inner(x):\n        return {} * g(x)\n    return inner\n@twice\ndef f(x):\n    return x",
    "what is wrapped": "def plain(g):\n    return functools.wraps(g)(lambda x: g(x))\n@plain\ndef f(x):\n    return {} * x",
    "a cached helper": "@functools.cache\ndef h():\n    return {}\ndef f(x):\n    return h() * x",
    "single dispatch": "@functools.singledispatch\ndef h(n, x):\n    return x\n@h.register\ndef _(n: int, x):\n    return {} * x\ndef f(x):\n    return h(1, x)",
    "a generator": "def h():\n    yield {}\ndef f(x):\n    return next(h()) * x",
    "a context": "w = [1]\n@contextlib.contextmanager\ndef h():\n    w[0] = {}\n    yield\ndef f(x):\n    with h():\n        return w[0] * x",
    "a reduction": "def f(x):\n    return functools.reduce(operator.mul, [{}, 1], 1) * x",
    "a format": "def f(x):\n    return float(f'{}') * x",
    "an inner import": "def f(x):\n    import beside_{0}\n    return beside_{0}.factor * x",
    "an import by its name": "def f(x):\n    return importlib.import_module('beside_{}').factor * x",
    "a module in another folder": "def f(x):\n    import elsewhere\n    return elsewhere.table[{}] * x",
    "an environment variable": "os.environ['CLOSEDFORM_TEST'] = '{}'\ndef f(x):\n    return float(os.environ['CLOSEDFORM_TEST']) * x",
    "a file that is read": "pathlib.Path('number_{0}').write_text('{0}')\ndef f(x):\n    return float(pathlib.Path('number_{0}').read_text()) * x",
    "a shape": "def f(x):\n    return jnp.ones({}).sum() * x",
    "a dtype": "def f(x):\n    return x.astype({{2: jnp.bfloat16, 3: jnp.float16}}[{}]).astype(x.dtype)",
    "a branch": "def f(x):\n    return x if {} == 2 else -x",
    "a number of steps": "def f(x):\n    return jax.lax.fori_loop(0, {}, lambda i, y: 2 * y, x)",
    "the body of a loop": "def f(x):\n    return jax.lax.fori_loop(0, 9, lambda i, y: {} * y, x)",
    "the body of a scan": "def f(x):\n    return jax.lax.scan(lambda y, i: ({} * y, None), x, length=4)[0]",
    "a branch of a cond": "def f(x):\n    return jax.lax.cond(x > 0, lambda y: {} * y, lambda y: y, x)",
    "a condition of a while": "def f(x):\n    return jax.lax.while_loop(lambda y: y < {}, lambda y: 2 * y + 1, x)",
    "the gradient of a loss": "def model(w, x):\n    return {} * w * x\ndef loss(w, x):\n    return model(w, x) ** 2\ng = jax.value_and_grad(loss)\ndef f(x):\n    return g(x, 1.0)[1]",
    "a rule for a derivative": "@jax.custom_jvp\ndef h(x):\n    return x\nh.defjvp(lambda p, t: (p[0], {} * t[0]))\ndef f(x):\n    return jax.grad(h)(x)",
    "a rule for reverse mode": "@jax.custom_vjp\ndef h(x):\n    return x\nh.defvjp(lambda x: (x, None), lambda r, g: ({} * g,))\ndef f(x):\n    return jax.grad(h)(x)",
    "an optimiser of the module": "import optax\noptimiser = optax.sgd({}.0)\ndef f(x):\n    return optimiser.update(x, optimiser.init(x))[0]",
    "a schedule": "import optax\nschedule = optax.exponential_decay({}.0, 5, 0.5)\ndef f(x):\n    return schedule(3) * x",
    "a chain of transformations": "import optax\no = optax.chain(optax.clip(9.0), optax.scale({}.0))\ndef f(x):\n    return o.update(x, o.init(x))[0]",
    "an initialiser": "init = jax.nn.initializers.constant({}.0)\ndef f(x):\n    return init(jax.random.key(0), (3,)).sum() * x",
    "an object of an installed class": "import scipy.stats\nlaw = scipy.stats.norm(0, {})\ndef f(x):\n    return float(law.std()) * x",
    "a layer of a library": "from flax import nnx\ndef f(x):\n    return nnx.Linear({0}, 1, rngs=nnx.Rngs(0))(x * jnp.ones({0})).sum()",
    "a random key": "def f(x):\n    return jax.random.normal(jax.random.key({})) * x",
    "numpy's seeded numbers": "def f(x):\n    return np.random.default_rng({}).normal() * x",
    "a callback in a file": "def host(x):\n    return np.float32({}) * x\ndef f(x):\n    return jax.pure_callback(host, jax.ShapeDtypeStruct((), np.float32), x)",
    "a value that a callback holds": "w = {}\ndef host(x):\n    return np.float32(w) * x\ndef f(x):\n    return jax.pure_callback(host, jax.ShapeDtypeStruct((), np.float32), x)",
    "a callback's arguments": "def host(w, x):\n    return np.float32(w) * x\ndef f(x):\n    return jax.pure_callback(functools.partial(host, {}), jax.ShapeDtypeStruct((), np.float32), x)",
}  # fmt: skip
# what does not decide a number: {form: two texts}
SAME = {
    "comments": ("def f(x):\n    return 2 * x", "# why\ndef f(x):\n    '''Doc.'''\n    return (2 * x)  # so"),
    "names": ("def helper(x):\n    return 2 * x\nf = helper", "def other(y):\n    z = 2 * y\n    return z\nf = lambda q: other(q)"),
    "a function that is not used": ("def f(x):\n    return 2 * x", "def g(x):\n    return 3 * x\ndef f(x):\n    return 2 * x"),
    "another way to the same program": ("def f(x):\n    return 2 * x", "two = {'two': 2}\ndef f(x):\n    return two['two'] * x"),
    "the order of definitions": ("a = 2\nb = 3\ndef f(x):\n    return a * x", "b = 3\na = 2\ndef f(x):\n    return a * x"),
    "what is printed": ("def f(x):\n    return 2 * x", "def f(x):\n    jax.debug.print('{}', x)\n    return 2 * x"),
}  # fmt: skip


def simulating(text, folder, name="mine"):
    """`simulate` of a file of this text, which says what `f` is."""
    for number in (2, 3):
        (folder / f"beside_{number}.py").write_text(f"factor = {number}\n")
    (folder / "other").mkdir(exist_ok=True)
    (folder / "other" / "elsewhere.py").write_text("table = {2: 2.0, 3: 3.0}\n")
    for place in (folder, folder / "other"):
        if str(place) not in sys.path:
            sys.path.insert(0, str(place))
    for module in ("beside_2", "beside_3", "elsewhere", name):
        sys.modules.pop(module, None)
    path = folder / f"{name}.py"
    path.write_text(f"{HEAD}\n{text}\ndef simulate(key, config):\n    return f(config['a'] + 0.0 * jax.random.normal(key))\n")
    importlib.invalidate_caches()
    specification = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.simulate


def digest(simulate):
    experiment, config = as_experiment(simulate, {"a": 1.0}, None)
    return trace(experiment, config, None, 1).identity.simulation


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


@pytest.mark.parametrize("form", DEFINED)
def test_a_change_of_any_form_changes_the_digest(form, folder):
    first, again, other = (digest(simulating(DEFINED[form].format(number), folder)) for number in (2, 2, 3))
    assert first == again
    assert first != other


@pytest.mark.parametrize("form", SAME)
def test_what_decides_no_number_leaves_the_digest(form, folder):
    one, other = (digest(simulating(text, folder)) for text in SAME[form])
    assert one == other


ELSEWHERE = textwrap.dedent("""
    import json, os, sys
    from pathlib import Path
    sys.path[:0] = sys.argv[1:3]
    folder = Path(sys.argv[3])
    os.chdir(folder)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[4])])
    import test_digest
    print(json.dumps(test_digest.every_digest(folder)))
""")


def every_digest(folder):
    """{form: digest} of all forms, and of an experiment of each kind."""
    from closedform.sweeps.contract.precision import precision
    from zoo import estimate, regression

    found = {}
    for form, text in DEFINED.items():
        with precision(False):
            found[form] = digest(simulating(text.format(2), folder))
    for module in (decay, estimate, regression):
        plan = Request(module).plan()
        (group,), _ = gather(plan.experiment, plan.cells)
        found[module.__name__] = list(group.traced().identity)
    return found


def in_another_process(folder, number):
    """All digests, by a process with another hash seed, folder, locale and number of cores."""
    here = folder / str(number)
    here.mkdir()
    seeds = {"PYTHONHASHSEED": str(number), "LC_ALL": ["C", "C.UTF-8", "POSIX"][number % 3], "PYTHONUTF8": "1"}
    environment = {**os.environ, **seeds, "XLA_FLAGS": f"--xla_force_host_platform_device_count={1 + number % 3}"}
    command = [sys.executable, "-c", ELSEWHERE, TESTS, f"{TESTS}/sweeps", str(here), str(1 + number % 2)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_digests_are_equal_in_processes_of_any_kind(tmp_path):
    first, second = (in_another_process(tmp_path, number) for number in (1, 2))
    assert first == second


@pytest.mark.slow("sweeps/contract/digest.py", "sweeps/contract/tracing.py")
def test_digests_are_equal_in_five_processes_of_any_kind(tmp_path):
    first, *others = (in_another_process(tmp_path, number) for number in range(3, 8))
    assert all(first == other for other in others)


# --- what cannot be told is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    return np.random.normal() * x",
        "import time\ndef f(x):\n    return time.perf_counter() * x",
        "count = itertools.count()\ndef f(x):\n    return next(count) * x",
        "class P:\n    pass\ndef f(x):\n    return (id(P()) + next(c)) % 1009 * x\nc = itertools.count()",
    ],
)
def test_a_program_that_is_another_one_each_time_is_refused(text, folder):
    simulate = simulating(text, folder)
    with pytest.raises(UsageError, match=r"mine/simulate: its simulation is another program each time it is traced"):
        run(simulate, {"a": 1.0}, seeds=2, results=folder / "results", progress=False)
    assert not list((folder / "results").rglob("*.nc"))


def test_a_callback_without_sources_runs_only_if_nothing_is_kept(folder):
    made = {}
    exec("import numpy as np\ndef host(x):\n    return np.float32(2) * x", made)

    def simulate(key, config):
        return jax.pure_callback(made["host"], jax.ShapeDtypeStruct((), np.float32), config["a"] + 0 * jax.random.normal(key))

    options = dict(seeds=2, results=folder / "results", progress=False, say=str)
    with pytest.raises(UsageError, match=r"host callback .*host: its sources cannot be had.*keep=False"):
        run(simulate, {"a": 1.5}, **options)
    result = run(simulate, {"a": 1.5}, settings=Settings(keep=False), **options)
    np.testing.assert_array_equal(result["simulation"]["value"], [3.0, 3.0])
    assert not (folder / "results").exists()


def test_a_seed_that_changes_nothing_is_told(tmp_path):
    lines = []
    run(lambda key, config: config["a"] + 1.0, {"a": 1.0}, seeds=2, results=tmp_path, progress=False, say=lines.append)
    assert any("no number depends on the key" in line for line in lines)


# --- one process -------------------------------------------------------------------------------------------------------------

FACTOR = [2.0]
TABLE = np.ones(3)


def test_a_changed_global_is_compiled_anew_in_the_same_process(tmp_path):
    def simulate(key, config):
        return FACTOR[0] * config["a"] * TABLE.sum()

    options = dict(seeds=1, results=tmp_path, progress=False, say=str)
    values = []
    for FACTOR[0], TABLE[1] in ((2.0, 1.0), (3.0, 1.0), (3.0, 4.0)):
        values.append(float(run(simulate, {"a": 1.0}, **options)["simulation"]["value"][0]))
    TABLE[1] = 1.0
    assert values == [6.0, 9.0, 18.0]
    grid = sweep(simulate, {"a": 1.0}, over={"a": (1.0, 2.0)}, **options)
    np.testing.assert_array_equal(grid["simulation"]["value"].values[:, 0], [9.0, 18.0])


def test_functions_of_one_name_are_kept_apart(tmp_path):
    def f(scale, key, config):
        return scale * config["a"] + 0.0 * jax.random.normal(key)

    options = dict(seeds=2, results=tmp_path, progress=False, say=str)
    for scale in (1.0, 5.0, 1.0):
        value = run(functools.partial(f, scale), {"a": 1.0}, **options)["simulation"]["value"]
        np.testing.assert_array_equal(value, [scale, scale])
    with_prediction = run(functools.partial(f, 1.0), {"a": 1.0}, predict=lambda config: config["a"], **options)
    assert "prediction" in with_prediction.children


# --- predictions apart ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conditional", [False, True])
def test_another_prediction_costs_a_prediction(conditional, tmp_path, monkeypatch):
    from closedform.sweeps.engine import queue as queue_module
    from zoo import estimate

    module = decay if conditional else estimate
    experiment = find(module)
    assert experiment.conditional == conditional
    options = dict(seeds=3, results=tmp_path, progress=False, say=str)
    first = run(module, **options)
    (stored,) = tmp_path.glob("zoo/*/??/*.nc")
    before = stored.stat().st_mtime_ns
    steps, advanced = [0], queue_module.Queue.advanced
    monkeypatch.setattr(queue_module.Queue, "advanced", lambda self, n: (steps.append(n), advanced(self, n)))
    plain = experiment.predictions["prediction"]
    other = {"prediction": lambda *a: jax.tree.map(lambda leaf: 2 * leaf, plain(*a))}
    second = run(experiment._replace(predictions=other), **options)
    assert sum(steps) == 0
    assert stored.stat().st_mtime_ns == before
    for field, array in first["prediction"].data_vars.items():
        np.testing.assert_allclose(second["prediction"][field], 2 * array, rtol=1e-12)
    for field, array in first["simulation"].data_vars.items():
        np.testing.assert_array_equal(second["simulation"][field], array)


def test_a_prediction_may_be_of_plain_numbers(tmp_path):
    """Of mpmath, with branches and all; float64, at every cell; another one in the file is seen."""
    import mpmath

    def predict(config):
        return {"value": float(mpmath.gamma(config["a"])) if config["a"] > 1 else 1.0}

    def simulate(key, config):
        return config["a"] + 0.0 * jax.random.normal(key)

    options = dict(seeds=2, results=tmp_path, progress=False, say=str)
    result = sweep(simulate, {"a": 1.0}, over={"a": (0.5, 4.0, 5.0)}, predict=predict, **options)
    np.testing.assert_array_equal(result["prediction"]["value"], [1.0, 6.0, 24.0])


def test_an_array_changed_in_place_between_trace_and_run_cannot_mix(tmp_path, monkeypatch):
    """What runs is what was digested: the array as it was, or, where a version of JAX does not copy it, nothing."""
    from closedform.sweeps.engine import runner

    table = np.ones(3)
    original = runner.programs

    def late(*arguments):
        table[0] = 5.0
        return original(*arguments)

    monkeypatch.setattr(runner, "programs", late)
    options = dict(seeds=1, results=tmp_path, progress=False, say=str)
    found, said = [], []
    try:
        result = run(lambda key, config: config["a"] * table @ table, {"a": 1.0}, **options)
        found.append(float(result["simulation"]["value"][0]))
    except UsageError as error:
        said.append(str(error))
    assert found == [3.0] or "changed in place while it was compiled" in said[0]
