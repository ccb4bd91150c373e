"""Bilinear layers: a sweep of seeds and the reading of eigenfeatures, beside what a user would write instead.

    python -m closedform.benchmarks.bilinear --pairs 5

Sweep: experiments/bilinear/riccati, gradient descent of w and v on the population loss 2|Q - Q*|^2 + (tr(Q - Q*))^2, d = 8,
h = 8, rate 1e-3, 2000 steps, 256 seeds, float64. Every row starts from the same weights and targets, those that the engine
draws, and before any timing its final losses and learned modes must be the same to 1e-9. The engine's time has its result file
in it, the bare row's has not. On a CPU the engine by default takes seeds one after the other on each core; for networks as
small as these all seeds in one batch, `Settings(batching="vmap")`, are faster. PyTorch's loop over seeds trains `loop_seeds`
of them; its time is scaled up to all. Batched, it takes autograd through batched products, torch.func.vmap of grad, or the
gradient by hand through torch.compile, each with the number of threads that is faster.

Eigenfeatures: all eigenpairs of the ten interaction matrices of a layer of 784 inputs and ten outputs, from NumPy arrays of
weights to NumPy arrays of eigenvalues and eigenvectors. Ours is models.bilinear.bilinear.eigenfeatures, which factorises the 2
h weight vectors once and then diagonalises 2 h x 2 h matrices where 2 h < 784; the others form the 784 x 784 matrices and call
eigh (NumPy's computes in float64 whatever it is given). Before any timing the eigenvalues must agree, relative to the greatest
of the matrix, to 1e-5 in float32 and 1e-10 in float64, and so must the matrices composed again of their eigenpairs. Stages:
each alone, beside the best product in the same process; the work counted is 4 d r^2 - 4 r^3/3 for Q R of r = 2 h columns, 9
r^3 for eigh, and 2 n m k for a product.

Rows alternate, A B A C A D ..., A is ours, and a ratio is a time over that of the A just before; the ratio of process CPU
times stands beside it, as wall time suffers from other load. The first call compiles, jax's persistent cache off. JAX,
PyTorch and NumPy live in a process each, idle while another is timed. PyTorch is the extra `benchmark`; without it the rest
stands alone.
"""

import importlib.metadata
import importlib.util
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float

from .. import sweeps
from ..experiments.bilinear import riccati
from ..models.bilinear import bilinear
from . import goals


@dataclass(frozen=True)
class Config:
    pairs: int = 5  # rounds; in each, every row is timed once, right after A
    seeds: int = 256
    loop_seeds: int = 8  # that PyTorch's loop trains
    steps: int = 2000
    dim: int = 784
    outputs: int = 10
    widths: tuple[int, ...] = (64, 256, 1024)
    dtypes: tuple[str, ...] = ("float32", "float64")
    parts: tuple[str, ...] = ("sweep", "eigen", "stages")
    json: Path | None = None  # where the rows that goals name are kept


Arrays = dict[str, np.ndarray]
Run = Callable[[], Arrays]


# The sweep. A row prepares a run, which trains from scratch and returns loss (seed) and learned (seed, mode).


def experiment(config: Config) -> riccati.Config:
    return replace(riccati.Config(), num_steps=config.steps, num_records=1)


def starts(config: Config) -> Arrays:
    """The engine's own draws, along a leading axis of seeds."""
    root = jax.random.key(0, impl="threefry2x32")
    keys = jax.vmap(partial(jax.random.fold_in, root))(jnp.arange(config.seeds))
    state = jax.vmap(lambda key: riccati.init(key, experiment(config)))(keys)
    target = jax.vmap(lambda one: one.matrix)(state.target)
    arrays = {**state.params._asdict(), "target": target, "basis": state.target.basis}
    return {name: np.asarray(array) for name, array in arrays.items()}


class Trained(NamedTuple):
    """What the engine's rows observe, at the last step; no predictions, which would be timed with the training."""

    loss: Float[Array, ""] | None
    learned: Float[Array, "mode"] | None


EXPERIMENT = types.ModuleType("bilinear_sweep", __doc__)
vars(EXPERIMENT).update(
    Config=riccati.Config,
    Result=Trained,
    init=riccati.init,
    step=riccati.step,
    observe=lambda state, config: Trained(*riccati.observe(state, config)[:2]),
    steps=lambda config: np.array([config.num_steps]),
)


def prepare_engine(start: Arrays, config: Config, settings: sweeps.Settings) -> Run:
    """With its result file; every run starts from an empty results folder."""

    def run():
        with tempfile.TemporaryDirectory() as folder:
            result = sweeps.run(
                EXPERIMENT, experiment(config), seeds=config.seeds, results=folder, progress=False, settings=settings
            )
            final = result.children["simulation"].to_dataset().isel(step=-1)
            return {"loss": final["loss"].values, "learned": final["learned"].values}

    return run


def prepare_bare(start: Arrays, config: Config) -> Run:
    """The same steps in one program over all seeds, with no engine round it."""
    settings = experiment(config)
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(0, impl="threefry2x32")))(jnp.arange(config.seeds))

    def train(key):
        state = riccati.init(key, settings)
        state = jax.lax.fori_loop(0, config.steps, lambda _, state: riccati.step(state, settings), state)
        return riccati.observe(state, settings)

    trained = jax.jit(jax.vmap(train))

    def run():
        result = trained(keys)
        return {"loss": np.asarray(result.loss), "learned": np.asarray(result.learned)}

    return run


def prepare_torch_loop(start: Arrays, config: Config) -> Run:
    """PyTorch as one writes it first: a Python loop over seeds, autograd."""
    import torch  # pyright: ignore[reportMissingImports]

    data = {name: torch.tensor(array[: config.loop_seeds]) for name, array in start.items()}

    def train(w, v, p, target):
        w, v = (one.clone().requires_grad_() for one in (w, v))
        for _ in range(config.steps):
            slopes = torch.autograd.grad(_torch_loss(w, v, p, target), (w, v))
            with torch.no_grad():
                for value, slope in zip((w, v), slopes, strict=True):
                    value -= LEARNING_RATE * slope
        return w.detach(), v.detach()

    def run():
        pairs = [train(*(data[name][i] for name in ("w", "v", "p", "target"))) for i in range(len(data["w"]))]
        return _torch_result(torch.stack([w for w, _ in pairs]), torch.stack([v for _, v in pairs]), data)

    return _with_threads(run, 1)


def prepare_torch_autograd(start: Arrays, config: Config) -> Run:
    """All seeds in batched products; the sum of their losses has the gradients of all."""
    import torch  # pyright: ignore[reportMissingImports]

    def slopes(w, v, p, target):
        w, v = (one.detach().requires_grad_() for one in (w, v))
        return torch.autograd.grad(_torch_loss(w, v, p, target).sum(), (w, v))

    return _torch_batched(start, config, lambda: slopes)


def prepare_torch_func(start: Arrays, config: Config) -> Run:
    """torch.func: vmap over seeds of the gradient of one."""
    import torch  # pyright: ignore[reportMissingImports]

    return _torch_batched(start, config, lambda: torch.func.vmap(torch.func.grad(_torch_loss, (0, 1))))


def prepare_torch_compiled(start: Arrays, config: Config) -> Run:
    """The gradient by hand, compiled: the best we know to do with PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]

    def slopes(w, v, p, target):
        missing = _torch_form(w, v, p) - target
        trace = missing.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
        slope = 4 * missing + 2 * trace * torch.eye(w.shape[1], dtype=w.dtype)
        return slope @ (v * p), slope @ (w * p)

    def step(w, v, p, target):
        by_w, by_v = slopes(w, v, p, target)
        return w - LEARNING_RATE * by_w, v - LEARNING_RATE * by_v

    return _torch_batched(start, config, lambda: slopes, torch.compile(step, dynamic=False))


LEARNING_RATE = riccati.Config().learning_rate


def _torch_form(w, v, p):
    q = (w * p) @ v.mT
    return (q + q.mT) / 2


def _torch_loss(w, v, p, target):
    missing = _torch_form(w, v, p) - target
    return 2 * (missing**2).sum((-2, -1)) + missing.diagonal(dim1=-2, dim2=-1).sum(-1) ** 2


def _torch_result(w, v, data) -> Arrays:
    q = _torch_form(w, v, data["p"])
    learned = data["basis"].mT @ q @ data["basis"]
    loss = _torch_loss(w, v, data["p"], data["target"])
    return {"loss": loss.numpy(), "learned": learned.diagonal(dim1=-2, dim2=-1).numpy()}


def _torch_batched(start: Arrays, config: Config, make_slopes: Callable, step: Callable | None = None) -> Run:
    import torch  # pyright: ignore[reportMissingImports]

    data = {name: torch.tensor(array) for name, array in start.items()}
    slopes = make_slopes()

    def eager(w, v, p, target):
        by_w, by_v = slopes(w, v, p, target)
        return w - LEARNING_RATE * by_w, v - LEARNING_RATE * by_v

    step = step or eager

    def train(steps):
        w, v = data["w"], data["v"]
        for _ in range(steps):
            w, v = step(w, v, data["p"], data["target"])
        return w, v

    def seconds(threads):
        torch.set_num_threads(threads)
        train(5)
        return min(_timed(partial(train, 50))[0] for _ in range(3))

    threads = min({1, os.cpu_count() or 1}, key=seconds)
    return _with_threads(lambda: _torch_result(*train(config.steps), data), threads)


def _with_threads(run: Run, threads: int) -> Run:
    import torch  # pyright: ignore[reportMissingImports]

    def threaded():
        torch.set_num_threads(threads)
        return run()

    return threaded


# Eigenfeatures. A row prepares a run that returns values (output, rank) and vectors (output, dim, rank).


def layer(width: int, dtype: str, config: Config) -> Arrays:
    draw = np.random.default_rng(0).standard_normal
    w, v = (draw((config.dim, width)) / config.dim**0.5 for _ in range(2))
    return {name: array.astype(dtype) for name, array in (("w", w), ("v", v), ("p", draw((config.outputs, width))))}


def eigenfeatures(w: jax.Array, v: jax.Array, p: jax.Array) -> bilinear.Eigen:
    params = bilinear.Params(w, v, p)
    return bilinear.eigenfeatures(params, jnp.eye(len(p), dtype=p.dtype))


def dense(w: jax.Array, v: jax.Array, p: jax.Array) -> bilinear.Eigen:
    return bilinear.Eigen(*jnp.linalg.eigh(dense_form(w, v, p), symmetrize_input=False))


def dense_form(w: jax.Array, v: jax.Array, p: jax.Array) -> jax.Array:
    return bilinear.symmetrize((w[None] * p[:, None]) @ v.T[None])


def prepare_jax_eigen(data: Arrays, function: Callable) -> Run:
    compiled = jax.jit(function)

    def run():
        values, vectors = compiled(*(jnp.asarray(data[name]) for name in ("w", "v", "p")))
        return {"values": np.asarray(values), "vectors": np.asarray(vectors)}

    return run


def prepare_torch_eigen(data: Arrays) -> Run:
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(os.cpu_count() or 1)

    def run():
        w, v, p = (torch.from_numpy(data[name]) for name in ("w", "v", "p"))
        values, vectors = torch.linalg.eigh(_torch_form(w, v, p[:, None]))
        return {"values": values.numpy(), "vectors": vectors.numpy()}

    return run


def prepare_numpy_eigen(data: Arrays) -> Run:
    def run():
        q = (data["w"] * data["p"][:, None]) @ data["v"].T
        values, vectors = np.linalg.eigh((q + q.mT) / 2)
        return {"values": values, "vectors": vectors}

    return run


def eigen_error(found: Arrays, exact: np.ndarray, data: Arrays) -> float:
    """The greatest difference of eigenvalues, or of entries of the matrices that they make, over the greatest eigenvalue."""
    values, vectors = (found[name].astype(float) for name in ("values", "vectors"))
    missing = exact.shape[1] - values.shape[1]  # those that are 0
    everything = np.sort(np.pad(values, ((0, 0), (0, missing))), axis=1)
    w, v, p = (data[name].astype(float) for name in ("w", "v", "p"))
    q = (w * p[:, None]) @ v.T
    composed = (vectors * values[:, None]) @ vectors.mT - (q + q.mT) / 2
    return float(max(np.abs(everything - exact).max(), np.abs(composed).max()) / np.abs(exact).max())


# Workers and rows.


class Measurement(NamedTuple):
    seconds: float
    cpu: float  # of the process, all threads
    result: Arrays


class Row(NamedTuple):
    name: str
    library: str
    prepare: Callable[..., Run]
    scale: Callable[[Config], float] = lambda config: 1.0


SWEEP = [
    Row("closedform engine, vmap", "jax", partial(prepare_engine, settings=sweeps.Settings("vmap"))),
    Row("closedform engine, by default", "jax", partial(prepare_engine, settings=sweeps.Settings())),
    Row("bare vmap (jax)", "jax", prepare_bare),
    Row("torch batched, compiled", "torch", prepare_torch_compiled),
    Row("torch batched, autograd", "torch", prepare_torch_autograd),
    Row("torch.func vmap of grad", "torch", prepare_torch_func),
    Row("torch loop over seeds", "torch", prepare_torch_loop, lambda config: config.seeds / config.loop_seeds),
]
EIGEN = [
    Row("closedform eigenfeatures", "jax", partial(prepare_jax_eigen, function=eigenfeatures)),
    Row("torch.linalg.eigh, dense", "torch", prepare_torch_eigen),
    Row("numpy.linalg.eigh, dense", "numpy", prepare_numpy_eigen),
    Row("jnp.linalg.eigh, dense", "jax", partial(prepare_jax_eigen, function=dense)),
]
ROWS = {"sweep": SWEEP, "eigen": EIGEN}
QUICK = (
    "--pairs",
    "1",
    "--seeds",
    "3",
    "--loop-seeds",
    "1",
    "--steps",
    "3",
    "--dim",
    "12",
    "--widths",
    "4",
    "--parts",
    "sweep",
    "eigen",
)
_prepared: dict[tuple, Run] = {}  # of a worker


def start_worker(dtype: str) -> None:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", dtype == "float64")
    jax.config.update("jax_enable_compilation_cache", False)


def prepare(part: str, index: int, key: tuple, arguments: tuple) -> float:
    """Seconds to prepare and run once."""
    seconds, run = _timed(partial(ROWS[part][index].prepare, *arguments))
    _prepared[part, index, key] = run
    return seconds + _timed(run)[0]


def measure(part: str, index: int, key: tuple, keep: bool) -> Measurement:
    cpu = time.process_time()
    seconds, result = _timed(_prepared[part, index, key])
    return Measurement(seconds, time.process_time() - cpu, result if keep else {})


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    value = function()
    return time.perf_counter() - began, value


class Workers:
    """A process for each library."""

    def __init__(self, dtype: str):
        libraries = ["jax", "numpy", *(["torch"] if importlib.util.find_spec("torch") else [])]
        context = multiprocessing.get_context("spawn")
        self._pools = {library: ProcessPoolExecutor(1, context, start_worker, (dtype,)) for library in libraries}

    def has(self, row: Row) -> bool:
        return row.library in self._pools

    def ask(self, library: str, function: Callable, *arguments: Any) -> Any:
        return self._pools[library].submit(function, *arguments).result()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self._pools.values():
            pool.shutdown()


Ratios = dict[str, list[tuple[float, float]]]  # wall and CPU time over those of the A just before


def compare(part: str, key: tuple, workers: Workers, arguments: tuple, check: Callable, config: Config) -> Ratios:
    rows = {index: row for index, row in enumerate(ROWS[part]) if workers.has(row)}
    first = {index: workers.ask(row.library, prepare, part, index, key, arguments) for index, row in rows.items()}
    errors = {}
    for index, row in rows.items():
        errors[index] = check(workers.ask(row.library, measure, part, index, key, True).result, row)
    times: dict[int, list[Measurement]] = {index: [] for index in rows}
    ratios: Ratios = {row.name: [] for index, row in rows.items() if index}

    def timed(index: int) -> tuple[float, float]:
        measured, scale = workers.ask(rows[index].library, measure, part, index, key, False), rows[index].scale(config)
        times[index].append(Measurement(scale * measured.seconds, scale * measured.cpu, {}))
        return times[index][-1][:2]

    for _ in range(config.pairs):
        for index in rows:
            if index:
                base, other = timed(0), timed(index)
                ratios[rows[index].name].append((other[0] / base[0], other[1] / max(base[1], 1e-9)))
    print(f"{'row':<30}{'milliseconds':>28}{'time over A':>25}{'CPU over A':>25}{'first s':>9}{'error':>9}")
    for index, row in rows.items():
        milliseconds = _spread([1e3 * one.seconds for one in times[index]], ".1f" if part == "eigen" else ".0f")
        wall, cpu = (_spread([pair[i] for pair in ratios.get(row.name, [])], ".2f") for i in (0, 1))
        label = row.name + ("" if index else " (A)")
        print(f"{label:<30}{milliseconds:>28}{wall:>25}{cpu:>25}{first[index]:>9.2f}{errors[index]:>9.0e}", flush=True)
    return ratios


def _spread(values: list[float], spec: str) -> str:
    """Least, median, greatest."""
    return " / ".join(format(value, spec) for value in (min(values), statistics.median(values), max(values))) if values else ""


def sweep_table(config: Config) -> list[goals.Row]:
    with Workers("float64") as workers:
        start = workers.ask("jax", starts, config)
        exact = workers.ask("jax", final_by_hand, start, config)

        def check(found: Arrays, row: Row) -> float:
            count = len(found["loss"])
            error = max(float(np.abs(found[name] - exact[name][:count]).max()) for name in exact)
            if not error < 1e-9:
                raise RuntimeError(f"{row.name}: the final losses or modes are off by {error:.0e}")
            return error

        settings = experiment(config).model
        print(f"\nsweep, {config.seeds} seeds, {config.steps} steps, d {settings.dim}, h {settings.width}, float64", end="; ")
        print("the loop over seeds scaled from", config.loop_seeds)
        ratios = compare("sweep", (), workers, (start, config), check, config)
    walls = {name: [wall for wall, _ in pairs] for name, pairs in ratios.items()}
    batched = [name for name in walls if name.startswith("torch") and "loop" not in name]
    best = min(batched, key=lambda name: statistics.median(walls[name]), default="")

    def over_default(name: str) -> list[float]:
        return [peer / ours for peer, ours in zip(walls.get(name, []), walls["closedform engine, by default"], strict=False)]

    return [
        *goals.row(f"bilinear, {config.seeds} seeds: bare vmap over the engine", over_default("bare vmap (jax)"), ">=", 0.85),
        *goals.row(f"bilinear, {config.seeds} seeds: best batched torch over the engine", over_default(best), ">=", 1),
    ]


def final_by_hand(start: Arrays, config: Config) -> Arrays:
    """In NumPy, the gradient by hand: what all rows must find."""
    w, v, p, target, basis = (start[name] for name in ("w", "v", "p", "target", "basis"))
    for _ in range(config.steps):
        q = (w * p) @ v.mT
        missing = (q + q.mT) / 2 - target
        slope = 4 * missing + 2 * np.trace(missing, axis1=1, axis2=2)[:, None, None] * np.eye(w.shape[1])
        w, v = w - LEARNING_RATE * slope @ (v * p), v - LEARNING_RATE * slope @ (w * p)
    q = (w * p) @ v.mT
    missing = (q + q.mT) / 2 - target
    loss = 2 * np.sum(missing**2, (1, 2)) + np.trace(missing, axis1=1, axis2=2) ** 2
    return {"loss": loss, "learned": np.diagonal(basis.mT @ (q + q.mT) / 2 @ basis, axis1=1, axis2=2)}


def eigen_tables(config: Config) -> list[goals.Row]:
    rows: list[goals.Row] = []
    for dtype in config.dtypes:
        with Workers(dtype) as workers:
            for width in config.widths:
                data = layer(width, dtype, config)
                w, v, p = (data[name].astype(float) for name in ("w", "v", "p"))
                q = (w * p[:, None]) @ v.T
                exact, allowed = np.linalg.eigvalsh((q + q.mT) / 2), 1e-5 if dtype == "float32" else 1e-10

                def check(found: Arrays, row: Row, exact=exact, data=data, allowed=allowed) -> float:
                    error = eigen_error(found, exact, data)
                    if not error < allowed:
                        raise RuntimeError(f"{row.name}: eigenpairs are off by {error:.0e}")
                    return error

                print(f"\neigenpairs, h {width}, {config.outputs} matrices of {config.dim}, {dtype}")
                ratios = compare("eigen", (width,), workers, (data,), check, config)
                walls = [wall for wall, _ in ratios["jnp.linalg.eigh, dense"]]
                rows += goals.row(f"eigenfeatures, h = {width}, {dtype}: dense jnp over ours", walls, ">=", 1)
    return rows


# Stages, and what bounds them.


def stages(width: int, dtype: str, config: Config) -> list[tuple[str, float, float]]:
    """Name, seconds, GFLOP."""
    data = {name: jnp.asarray(array) for name, array in layer(width, dtype, config).items()}
    d, o, rank = config.dim, config.outputs, min(2 * width, config.dim)
    square = jnp.full((1024, 1024), 0.5, dtype)
    both = jnp.concatenate([data["w"], data["v"]], axis=1)[:, :rank]
    draw = jax.random.normal(jax.random.key(0, impl="threefry2x32"), (o, rank, rank), dtype)
    form = jax.random.normal(jax.random.key(0, impl="threefry2x32"), (o, d, d), dtype)
    low = 2 * width < d
    rows: list[tuple[str, Callable, tuple, float]] = [("ceiling: product", jnp.matmul, (square, square), 2e-9 * 1024**3)]
    if low:
        rows.append(("Q R of the units", jnp.linalg.qr, (both,), 1e-9 * (4 * d * rank**2 - 4 * rank**3 / 3)))
    else:
        rows.append(("the matrices", dense_form, tuple(data.values()), 2e-9 * o * d * d * width))
    rows.append((f"{o} eigh of {rank}", lambda a: jnp.linalg.eigh(bilinear.symmetrize(a)), (draw,), 9e-9 * o * rank**3))
    if low:
        rows.append(("basis times vectors", lambda a, b: a @ b, (both[None], draw), 2e-9 * o * d * rank**2))
    work = sum(row[3] for row in rows[1:])
    rows.append(("whole", eigenfeatures, tuple(data.values()), work))
    rows.append((f"{o} eigh of {d}", lambda a: jnp.linalg.eigh(bilinear.symmetrize(a)), (form,), 9e-9 * o * d**3))
    return [(name, _best(jax.jit(function), arguments), work) for name, function, arguments, work in rows]


def _best(function: Callable, arguments: tuple, repeats: int = 5) -> float:
    jax.block_until_ready(function(*arguments))
    return min(_timed(lambda: jax.block_until_ready(function(*arguments)))[0] for _ in range(repeats))


def stages_tables(config: Config) -> None:
    for dtype in config.dtypes:
        for width in config.widths:
            with Workers(dtype) as workers:
                rows = workers.ask("jax", stages, width, dtype, config)
            ceiling, whole = rows[0][2] / rows[0][1], next(seconds for name, seconds, _ in rows if name == "whole")
            print(f"\nstages, h {width}, {dtype}, best of 5")
            print(f"{'stage':<24}{'ms':>9}{'of the whole':>14}{'GFLOP':>9}{'GFLOP/s':>10}{'of ceiling':>12}")
            for name, seconds, work in rows:
                share = f"{work / seconds:>10.0f}{work / seconds / ceiling:>12.2f}"
                print(f"{name:<24}{1e3 * seconds:>9.2f}{seconds / whole:>14.2f}{work:>9.2f}{share}", flush=True)


def machine() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, {platform.machine()}, load of the last 1, 5, 15 minutes {load}"


def main(config: Config) -> None:
    print(config)
    versions = {name: importlib.metadata.version(name) for name in ("jax", "numpy")}
    if importlib.util.find_spec("torch"):
        versions["torch"] = importlib.metadata.version("torch")
    else:
        print("PyTorch is not installed, so its rows are missing: it comes with the extra, closedform[benchmark].")
    print(", ".join(f"{name} {version}" for name, version in versions.items()), machine(), sep="; ")
    print("Every spread is min / median / max.")
    rows: list[goals.Row] = []
    if "sweep" in config.parts:
        rows += sweep_table(config)
    if "eigen" in config.parts:
        rows += eigen_tables(config)
    if "stages" in config.parts:
        stages_tables(config)
    print(f"\n{machine()}")
    goals.finish(rows, config.json)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
