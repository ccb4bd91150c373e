"""Kernels and random features with a ridge: ours beside NumPy, scikit-learn and neural-tangents, and what kernels cost.

    python -m closedform.benchmarks.kernel_ridge --neural-tangents ENVIRONMENT/bin/python

NTK: of one hidden ReLU layer, x Gaussian, y a ReLU teacher's with noise 0.1; kernel matrix, (K + ridge I)^-1 y, and prediction
at test points, from NumPy arrays to NumPy arrays. Attention: random features of training and test examples, ridge fit of the
target GATED, prediction. All rows see the same numbers in the same precision. Before any timing their predictions must agree
with NumPy's in float64: `error` is |difference|/|prediction|. Rows alternate, A B A C A D ..., A is ours, and a ratio is a
time over that of the A just before; the ratio of process CPU times stands beside it, as wall time suffers from other load.
NumPy's products of a matrix with its own transpose are BLAS's syrk, half of the work.

Stages: each compiled alone. Together they may take longer than the whole, which leaves out what a later stage does not need.
Shares are of the ceilings found in the same process: of products, and of writing a copy of 32 MB, which is bound by the
fresh pages of its result (see the GB/s above 1 of what stays in the cache) and not by the memory's bandwidth.

Attention kernel: seconds of one more call after one that compiles, and the peak memory of a process that does nothing else.

JAX, NumPy and neural-tangents live in a process each, idle while another is timed. neural-tangents 0.6.5 cannot be imported
beside the jax of this package, so it has an environment of its own, made with

    python -m venv ENVIRONMENT
    ENVIRONMENT/bin/pip install neural-tangents==0.6.5 jax==0.4.30 jaxlib==0.4.30 "numpy<2"

Its module `experimental` wants TensorFlow, and is replaced by an empty one before the import: TensorFlow is not used.
"""

import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ..figures import _style
from ..models.transformers import random_feature_attention
from ..solvers import ridge
from ..tasks import sphere_tokens
from ..theory.kernels import attention_kernel, deep_kernels
from . import goals


@dataclass(frozen=True)
class Config:
    pairs: int = 7  # rounds; in each, every row is timed once, right after A
    samples: tuple[int, ...] = (500, 2000)
    dtypes: tuple[str, ...] = ("float64", "float32")
    dim: int = 50
    num_test: int = 500
    ridge: float = 0.1  # not divided by the number of samples
    attention: tuple[int, int, int, int] = (16, 8, 300, 2000)  # dim, keys, heads, samples
    kernel_samples: tuple[int, ...] = (500, 1000, 2000, 4000)
    kernel_keys: tuple[int, ...] = (2, 4, 8, 16)
    kernel_dtype: str = "float32"
    plain_pairs: float = 2e7  # pairs of keys, samples^2 keys^2, up to which NumPy's attention kernel is timed too
    parts: tuple[str, ...] = ("ntk", "attention", "stages", "kernel")
    neural_tangents: Path | None = None  # a Python that has it
    figure: Path | None = None  # time and memory of the attention kernel; needs the part "kernel"
    json: Path | None = None  # where the rows that goals name are kept


Arrays = dict[str, np.ndarray]
Run = Callable[[], np.ndarray]  # predictions at the test points


def ntk_problem(samples: int, dtype: str, config: Config) -> Arrays:
    draw = np.random.default_rng(0).standard_normal
    x, w, a = draw((samples + config.num_test, config.dim)), draw((config.dim, 10)), draw(10)
    y = np.maximum(x @ w, 0) @ a / np.sqrt(config.dim) + 0.1 * draw(len(x))
    return _as(dtype, x=x[:samples], y=y[:samples], x_test=x[samples:], ridge=np.asarray(config.ridge))


def attention_problem(samples: int, dtype: str, config: Config) -> Arrays:
    """w as models.transformers.random_feature_attention has it: (dim, head, dim)."""
    dim, keys, heads, _ = config.attention
    draw = np.random.default_rng(1).standard_normal
    x, w = draw((samples + config.num_test, 1 + keys, dim)), draw((dim, heads, dim))
    x /= np.linalg.norm(x, axis=2, keepdims=True)
    y = np.asarray(jax.vmap(lambda one: sphere_tokens.evaluate(sphere_tokens.GATED, one))(jnp.asarray(x)))[:samples]
    return _as(dtype, x=x[:samples], y=y, x_test=x[samples:], w=w, ridge=np.asarray(config.ridge / dim))


def _as(dtype: str, **arrays: np.ndarray) -> Arrays:
    return {name: array.astype(dtype) for name, array in arrays.items()}


# Our rows. Arrays are arguments: those that a compiled function closes over are constants, and what follows from them is free.


def ntk(x, other=None):
    return deep_kernels.gram(x, other, weight_variance=2.0).ntk


def our_ntk(x, y, x_test, ridge_):
    return ntk(x_test, x) @ ridge.fit_kernel(ntk(x), y, ridge_)


def our_features(w, x):
    return jax.lax.map(lambda one: random_feature_attention.features(w, one), x, batch_size=64).reshape(len(x), -1)


def our_attention(x, y, x_test, w, ridge_):
    return our_features(w, x_test) @ ridge.fit(our_features(w, x), y, ridge_)


def _ours(function: Callable) -> Callable[[Arrays], Run]:
    def prepare(data: Arrays) -> Run:
        compiled = jax.jit(function)
        arguments = [data[name] for name in ("x", "y", "x_test", "w", "ridge") if name in data]
        return lambda: np.asarray(compiled(*arguments))

    return prepare


# NumPy, SciPy, scikit-learn.


def plain_ntk(x: np.ndarray, other: np.ndarray) -> np.ndarray:
    """K = (2/(pi d)) |x||y| [sqrt(1 - c^2) + 2 (pi - arccos c) c] with c the cosine: weight variance 2, no biases."""
    dim = x.shape[1]
    norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(other, axis=1)
    c = np.clip(x @ other.T / norms, -1, 1)
    return norms * (2 / (np.pi * dim)) * (np.sqrt(1 - c**2) + 2 * (np.pi - np.arccos(c)) * c)


def prepare_scipy(data: Arrays) -> Run:
    import scipy.linalg

    x, y, x_test = data["x"], data["y"], data["x_test"]

    def run():
        kernel = plain_ntk(x, x)
        kernel[np.diag_indices_from(kernel)] += data["ridge"]
        factor = scipy.linalg.cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
        return plain_ntk(x_test, x) @ scipy.linalg.cho_solve(factor, y, check_finite=False)

    return run


def prepare_scikit_learn(data: Arrays) -> Run:
    from sklearn.kernel_ridge import KernelRidge

    x, y, x_test = data["x"], data["y"], data["x_test"]
    alpha: Any = float(data["ridge"])  # annotated as int there

    def run():
        model = KernelRidge(alpha=alpha, kernel="precomputed").fit(plain_ntk(x, x), y)
        return model.predict(plain_ntk(x_test, x))

    return run


def plain_features(w: np.ndarray, x: np.ndarray) -> np.ndarray:
    keys = x[:, 1:]
    heads = (x[:, 0] @ w.reshape(len(w), -1)).reshape(len(x), *w.shape[1:])
    attention = np.maximum(heads @ keys.transpose(0, 2, 1), 0)
    scale = w.dtype.type(1 / (keys.shape[1] * np.sqrt(w.shape[1])))
    return (attention @ keys * scale).reshape(len(x), -1)


def prepare_plain_attention(data: Arrays) -> Run:
    import scipy.linalg

    x, y, x_test, w = (data[name] for name in ("x", "y", "x_test", "w"))

    def run():
        phi = plain_features(w, x)
        primal = phi.shape[1] <= len(phi)
        gram = phi.T @ phi if primal else phi @ phi.T
        gram[np.diag_indices_from(gram)] += data["ridge"]
        factor = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
        right = phi.T @ y if primal else y
        solution = scipy.linalg.cho_solve(factor, right, check_finite=False)
        return plain_features(w, x_test) @ (solution if primal else phi.T @ solution)

    return run


def plain_attention_kernel(x: np.ndarray) -> np.ndarray:
    """Of all pairs at once: (sample, key, sample, key) in memory."""
    keys, norms = x[:, 1:], np.linalg.norm(x, axis=2)
    scale = norms[:, :1] * norms[:, 1:]  # (sample, key)
    flat = keys.reshape(-1, keys.shape[2])
    products = (flat @ flat.T).reshape(*scale.shape, *scale.shape)
    scales = scale[:, :, None, None] * scale
    c = np.clip((x[:, 0] @ x[:, 0].T)[:, None, :, None] * products / scales, -1, 1)
    moments = scales / x.dtype.type(2 * np.pi) * (np.sqrt(1 - c**2) + (np.pi - np.arccos(c)) * c)
    return (moments * products).mean((1, 3))


# neural-tangents: a process in its own environment, one line of JSON for each request and for each answer.

NEURAL_TANGENTS = """
import json, sys, time, types
sys.modules["neural_tangents.experimental"] = types.ModuleType("neural_tangents.experimental")
import jax, numpy as np
jax.config.update("jax_platforms", "cpu")
import neural_tangents as nt
from neural_tangents import stax
from jax.scipy.linalg import cho_factor, cho_solve

replies, sys.stdout = sys.stdout, sys.stderr
deviation = 2**0.5
_, _, kernel_fn = stax.serial(
    stax.Dense(1, W_std=deviation, b_std=None), stax.Relu(), stax.Dense(1, W_std=deviation, b_std=None)
)

def cholesky(x, y, x_test, ridge):
    k = kernel_fn(x, None, "ntk")
    factor = cho_factor(k + ridge * jax.numpy.eye(len(k), dtype=k.dtype), lower=True)
    return kernel_fn(x_test, x, "ntk") @ cho_solve(factor, y)

def predict(x, y, x_test, ridge):
    fit = nt.predict.gradient_descent_mse_ensemble(kernel_fn, x, y[:, None], diag_reg=ridge, diag_reg_absolute_scale=True)
    return fit(None, x_test, "ntk")[:, 0]

functions = {"cholesky": jax.jit(cholesky), "predict": jax.jit(predict)}
for line in sys.stdin:
    request = json.loads(line)
    if "load" in request:
        data = np.load(request["load"])
        arguments = [data[name] for name in ("x", "y", "x_test", "ridge")]
        jax.config.update("jax_enable_x64", arguments[0].dtype == np.float64)
        jax.clear_caches()
        answer = {}
    else:
        cpu, start = time.process_time(), time.perf_counter()
        prediction = np.asarray(functions[request["run"]](*arguments))
        answer = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
        np.save(request["save"], prediction)
    print(json.dumps(answer), file=replies, flush=True)
"""


class NeuralTangents:
    def __init__(self, python: Path, folder: str):
        self._folder, command = Path(folder), [str(python), "-c", NEURAL_TANGENTS]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def load(self, data: Arrays) -> None:
        np.savez(self._folder / "problem.npz", **data)  # pyright: ignore[reportArgumentType]
        self._ask(load=str(self._folder / "problem.npz"))

    def run(self, name: str) -> "Measurement":
        path = self._folder / "prediction.npy"
        answer = self._ask(run=name, save=str(path))
        return Measurement(answer["seconds"], answer["cpu"], np.load(path))

    def close(self) -> None:
        self._process.communicate()

    def _ask(self, **request: str) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process of neural-tangents has ended; its error message is above")
        return json.loads(line)


# Workers and rows.


class Measurement(NamedTuple):
    seconds: float
    cpu: float  # of the process, all threads
    prediction: np.ndarray


A = "closedform"
PREPARE = {
    "ntk": {A: _ours(our_ntk), "NumPy + SciPy": prepare_scipy, "scikit-learn": prepare_scikit_learn},
    "attention": {A: _ours(our_attention), "NumPy + SciPy": prepare_plain_attention},
}
PROBLEMS = {"ntk": ntk_problem, "attention": attention_problem}
GOALS = {  # of a peer over A, for the most samples
    ("ntk", "scikit-learn"): ("kernel ridge", 2.0),
    ("ntk", "neural-tangents"): ("kernel ridge", 1.2),
    ("attention", "NumPy + SciPy"): ("random-feature attention + ridge", 1.3),
}
QUICK = (
    "--pairs",
    "1",
    "--samples",
    "60",
    "--num-test",
    "20",
    "--attention",
    "4",
    "3",
    "5",
    "40",
    "--parts",
    "ntk",
    "attention",
)

_prepared: dict[tuple, Run] = {}  # of a worker


def start(dtype: str) -> None:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", dtype == "float64")


def worker(dtype: str) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), start, (dtype,))


def measure(kind: str, name: str, samples: int, dtype: str, config: Config) -> Measurement:
    key = kind, name, samples, dtype
    if key not in _prepared:
        _prepared[key] = PREPARE[kind][name](PROBLEMS[kind](samples, dtype, config))
    cpu, began = time.process_time(), time.perf_counter()
    prediction = _prepared[key]()
    return Measurement(time.perf_counter() - began, time.process_time() - cpu, prediction)


def compare(kind: str, samples: int, dtype: str, config: Config) -> list[goals.Row]:
    """Prints all rows; those with a goal."""
    with tempfile.TemporaryDirectory() as folder, worker("float64") as exact, worker(dtype) as ours, worker(dtype) as numpy:
        peer = "NumPy + SciPy"
        truth = exact.submit(measure, kind, peer, samples, "float64", config).result().prediction
        rows: dict[str, Callable[[], Measurement]] = {
            name: (lambda name=name, pool=ours if name == A else numpy: pool.submit(
                measure, kind, name, samples, dtype, config
            ).result())
            for name in PREPARE[kind]
        }  # fmt: skip
        tangents = None
        if kind == "ntk" and config.neural_tangents is not None:
            tangents = NeuralTangents(config.neural_tangents, folder)
            tangents.load(ntk_problem(samples, dtype, config))
            for name in ("cholesky", "predict"):
                rows[f"neural-tangents, {name}"] = lambda name=name: tangents.run(name)

        def error(measured: Measurement) -> float:
            return float(np.linalg.norm(measured.prediction - truth) / np.linalg.norm(truth))

        first = {name: row() for name, row in rows.items()}
        errors = {name: error(measured) for name, measured in first.items()}
        allowed = 1e-7 if dtype == "float64" else 1e-2  # NumPy's arccos of a rounded 1 errs by 1e-8 (float32: 5e-4)
        if not all(value < allowed for value in errors.values()):
            raise RuntimeError(f"predictions differ from those in float64 by {errors}")
        times: dict[str, list[Measurement]] = {name: [] for name in rows}
        ratios: dict[str, list[tuple[float, float]]] = {name: [] for name in rows if name != A}
        for row in rows.values():
            row()
        for _ in range(config.pairs):
            for name in ratios:
                for each in (A, name):
                    times[each].append(rows[each]())
                base, other = times[A][-1], times[name][-1]
                ratios[name].append((other.seconds / base.seconds, other.cpu / max(base.cpu, 1e-9)))
        if tangents is not None:
            tangents.close()
    print(f"\n{kind}, {samples} samples, {dtype}, {config.num_test} test points; spreads are min / median / max")
    print(f"{'row':<30}{'milliseconds':>26}{'time over A':>22}{'CPU over A':>22}{'first s':>9}{'error':>9}")
    for name, measured in times.items():
        milliseconds = _spread([1e3 * one.seconds for one in measured], ".1f")
        wall, cpu = (_spread([pair[i] for pair in ratios.get(name, [])], ".2f") for i in (0, 1))
        label = name + (" (A)" if name == A else "")
        print(f"{label:<30}{milliseconds:>26}{wall:>22}{cpu:>22}{first[name].seconds:>9.2f}{errors[name]:>9.0e}")
    judged = []
    for (about, name), (title, goal) in GOALS.items():
        found = [[wall for wall, _ in pairs] for row, pairs in ratios.items() if row.startswith(name)]
        if about == kind and found:  # of two rows of one library, the faster counts
            label = f"{title}, n = {samples}, {dtype}: {name} over ours"
            judged += goals.row(label, min(found, key=statistics.median), ">=", goal)
    return judged


def _spread(values: list[float], spec: str) -> str:
    """Least, median, greatest."""
    return " / ".join(format(value, spec) for value in (min(values), statistics.median(values), max(values))) if values else ""


# Stages, and what bounds them.


def stages(samples: int, dtype: str, config: Config) -> list[tuple[str, float, float, float]]:
    """Name, seconds, GFLOP of its products, GB that it must at least read and write."""
    data = {name: jnp.asarray(array) for name, array in ntk_problem(samples, dtype, config).items()}
    x, y, x_test, delta = data["x"], data["y"], data["x_test"], data["ridge"]
    n, d, m, size = samples, config.dim, config.num_test, x.dtype.itemsize
    square, kernel = jnp.full((2048, 2048), 0.5, x.dtype), jax.jit(ntk)(x)
    coefficients = ridge.fit_kernel(kernel, y, delta)
    flat = jnp.full((1 << 25) // size, 0.5, x.dtype)  # 32 MB
    rows: list[tuple[str, Callable, tuple, float, float]] = [
        ("ceiling: product", lambda a: a @ a, (square,), 2e-9 * 2048**3, 0.0),
        ("ceiling: copy", lambda a: a + 1, (flat,), 0.0, 1e-9 * 2 * 2**25),
        ("product x x^T", lambda a: a @ a.T, (x,), 2e-9 * n * n * d, 1e-9 * size * n * n),
        ("kernel matrix", ntk, (x,), 1e-9 * n * n * d, 1e-9 * size * n * n),
        ("kernel at test points", ntk, (x_test, x), 2e-9 * n * m * d, 1e-9 * size * n * m),
        ("LAPACK's Cholesky", lambda k: jax.lax.linalg.cholesky(k, symmetrize_input=False), (kernel,), 1e-9 * n**3 / 3, 0.0),
        ("Cholesky and solve", ridge.fit_kernel, (kernel, y, delta), 1e-9 * (n**3 / 3 + 2 * n * n), 2e-9 * size * n * n),
        ("prediction", lambda k, c: k @ c, (kernel[:m], coefficients), 2e-9 * n * m, 1e-9 * size * n * m),
        ("whole", our_ntk, (x, y, x_test, delta), 1e-9 * (n**3 / 3 + n * n * d + 2 * n * m * d), 0.0),
    ]
    return [(name, _best(jax.jit(fn), arguments), work, moved) for name, fn, arguments, work, moved in rows]


def _best(function: Callable, arguments: tuple, repeats: int = 10) -> float:
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - began)
    return min(times)


def stages_table(samples: int, dtype: str, config: Config) -> None:
    with worker(dtype) as pool:
        rows = pool.submit(stages, samples, dtype, config).result()
    flops, copies = rows[0][2] / rows[0][1], rows[1][3] / rows[1][1]
    whole = rows[-1][1]
    print(f"\nstages, {samples} samples, {dtype}, best of 10")
    print(f"{'stage':<26}{'ms':>9}{'of the whole':>14}{'GFLOP/s':>10}{'of ceiling':>12}{'GB/s':>8}{'of ceiling':>12}")
    for name, seconds, work, moved in rows:
        share = "" if name.startswith("ceiling") else f"{seconds / whole:.2f}"
        rate = f"{work / seconds:>10.0f}{work / seconds / flops:>12.2f}" if work else " " * 22
        print(f"{name:<26}{1e3 * seconds:>9.2f}{share:>14}{rate}", end="")
        print(f"{moved / seconds:>8.1f}{moved / seconds / copies:>12.2f}" if moved else "")


# The attention kernel.


class Cost(NamedTuple):
    seconds: float
    cpu: float
    gigabytes: float  # peak of the process
    before: float  # peak of the process before the kernel


def kernel_cost(samples: int, keys: int, dtype: str, dim: int, plain: bool) -> Cost:
    x = sphere_tokens.sample(jax.random.key(0, impl="threefry2x32"), samples, keys, dim).astype(dtype)
    before = _peak()
    ours = jax.jit(partial(ridge.gram, attention_kernel.kernel))
    run: Callable[[], Any] = (lambda: plain_attention_kernel(np.asarray(x))) if plain else (lambda: ours(x))
    jax.block_until_ready(run())
    cpu, began = time.process_time(), time.perf_counter()
    jax.block_until_ready(run())
    return Cost(time.perf_counter() - began, time.process_time() - cpu, _peak(), before)


def _peak() -> float:
    kilobyte = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte / 1e9


def kernel_table(config: Config) -> dict[tuple[int, int], Cost]:
    dim, dtype = config.attention[0], config.kernel_dtype
    print(f"\nattention kernel matrix, dim {dim}, {dtype}; a process for each row")
    print(f"{'samples':>8}{'keys':>6}{'seconds':>10}{'CPU s':>9}{'ns a pair':>11}{'peak GB':>9}{'before':>8}", end="")
    print(f"{'NumPy s':>9}{'GB':>7}")
    costs = {}

    def alone(samples: int, keys: int, plain: bool) -> Cost:
        with worker(dtype) as pool:
            return pool.submit(kernel_cost, samples, keys, dtype, dim, plain).result()

    for samples in config.kernel_samples:
        for keys in config.kernel_keys:
            cost = costs[samples, keys] = alone(samples, keys, False)
            pairs = samples**2 * keys**2
            print(f"{samples:>8}{keys:>6}{cost.seconds:>10.3f}{cost.cpu:>9.3f}{1e9 * cost.seconds / pairs:>11.2f}", end="")
            print(f"{cost.gigabytes:>9.2f}{cost.before:>8.2f}", end="")
            plain = alone(samples, keys, True) if pairs <= config.plain_pairs else None
            print(f"{plain.seconds:>9.3f}{plain.gigabytes:>7.2f}" if plain else "", flush=True)
    for (samples, keys), cost in costs.items():
        if (samples, keys) == (4000, 16):
            print(f"peak memory {cost.gigabytes:.2f} GB, below 4 {'reached' if cost.gigabytes < 4 else 'short'}")
    return costs


def draw(costs: dict[tuple[int, int], Cost], path: Path) -> None:
    """Time and memory beyond the process's own against the number of samples; a line for each number of keys."""
    figure, axes = _style.panels(2)
    all_samples, all_keys = (sorted({size[i] for size in costs}) for i in (0, 1))
    for index, keys in enumerate(all_keys):
        style = dict(color=_style.COLOURS[index], marker=_style.MARKERS[index], markersize=2.5, label=f"N = {keys}")
        along = [costs[samples, keys] for samples in all_samples]
        axes[0].loglog(all_samples, [cost.seconds for cost in along], **style)
        axes[1].loglog(all_samples, [cost.gigabytes - cost.before for cost in along], **style)
    n = np.asarray(all_samples, float)
    last = costs[all_samples[-1], all_keys[0]].seconds
    for axis, line, label in ((axes[0], last * (n / n[-1]) ** 2, "n²"), (axes[1], 4e-9 * n**2, "4 n² bytes")):
        axis.loglog(n, line, color="0.5", linestyle=":", label=label)
        axis.set_xlabel("examples, n")
        axis.set_xticks(all_samples, map(str, all_samples))
        axis.minorticks_off()
    axes[0].set_ylabel("time, seconds")
    axes[1].set_ylabel("peak memory, GB")
    axes[0].legend()
    axes[1].legend()
    figure.savefig(path)


def main(config: Config) -> None:
    print(config)
    rows: list[goals.Row] = []
    for dtype in config.dtypes:
        for samples in config.samples:
            if "ntk" in config.parts:
                judged = compare("ntk", samples, dtype, config)
                rows += judged if samples == max(config.samples) else []
        if "attention" in config.parts:
            rows += compare("attention", config.attention[3], dtype, config)
        if "stages" in config.parts:
            stages_table(max(config.samples), dtype, config)
    if "kernel" in config.parts:
        costs = kernel_table(config)
        if config.figure is not None:
            draw(costs, config.figure)
    goals.finish(rows, config.json)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
