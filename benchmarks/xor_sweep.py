"""Seed sweep of the two-layer ReLU network on XOR: this engine beside what a user would write instead.

    python -m closedform.benchmarks.xor_sweep --pairs 5

Every row trains the same thing: 64 seeds, both layers, logistic loss 2 log(1 + exp(-y f)), fresh Boolean batches, the
mean-field step w -= learning_rate * width * dL/dw, float32, all cores. JAX and PyTorch live in a process each, which is
idle while the other is timed, so that their thread pools do not meet. Rows alternate, A B A C A D ..., and a ratio is a
time over that of the A just before it. The floating-point work counted is that of the two matrix products alone,
4 * batch_size * dim * width a seed and step; the ceiling is the best square float32 product in the same process.
PyTorch is the extra `benchmark`; without it the JAX rows stand alone.
"""

import importlib.util
import multiprocessing
import os
import statistics
import tempfile
import time
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float

from .. import sweeps
from ..experiments.xor import _training
from ..models.fully_connected import two_layer
from ..tasks import xor
from . import goals

Run = Callable[[], tuple[np.ndarray, np.ndarray]]  # trains from scratch, returns w (seed, dim, width), a (seed, width)


@dataclass(frozen=True)
class Config:
    pairs: int = 5  # rounds; in each, every row is timed once, right after A
    seeds: int = 64
    steps: int = 1000
    dim: int = 50
    width: int = 256
    batch_size: int = 256
    learning_rate: float = 0.1
    init_scale: float = 0.2
    loop: bool = True  # time the slow PyTorch loop over seeds too
    json: Path | None = None  # where the rows that goals name are kept

    @property
    def model(self) -> two_layer.Config:
        return two_layer.Config(self.dim, self.width, self.init_scale)

    @property
    def gigaflop(self) -> float:
        """The two matrix products, per seed."""
        return 4e-9 * self.batch_size * self.dim * self.width * self.steps


# JAX rows. Each prepares (compiles) a run of `seeds` seeds and `steps` steps; how long that takes is reported too.


def prepare_engine(config: Config, seeds: int, steps: int) -> Run:
    """This package's engine on the same training, result file and all; every run starts from an empty results folder.

    Compiled here from nothing, the persistent cache off, by a run of two seeds; that run is in the time reported.
    """
    jax.config.update("jax_enable_compilation_cache", False)
    training = _training.Config(config.model, config.batch_size, config.learning_rate, steps)

    def train(seeds):
        with tempfile.TemporaryDirectory() as folder:
            result = sweeps.run(EXPERIMENT, training, seeds=seeds, results=folder, progress=False)
            return result.children["simulation"].to_dataset()

    train(2)

    def run():
        trained = train(seeds)
        return trained["w"].values[:, 0], trained["a"].values[:, 0]

    return run


class Trained(NamedTuple):
    """What the engine's row observes, at the last step."""

    w: Float[Array, "dim width"] | None
    a: Float[Array, "width"] | None


EXPERIMENT = types.ModuleType("xor_sweep", __doc__)
vars(EXPERIMENT).update(
    Config=_training.Config,
    Result=Trained,
    init=_training.init,
    step=_training.step,
    observe=lambda state, config: Trained(state.params.w, state.params.a),
    steps=lambda config: np.array([config.num_steps]),
)


def bare(config: Config) -> Callable:
    """The same training of one seed with no engine round it: (key, number of steps) -> parameters."""

    def train(key, num_steps):
        key_init, key_data = jax.random.split(key)

        def step(i, params):
            x, y = xor.sample(jax.random.fold_in(key_data, i), config.batch_size, config.dim)
            _, gradient = two_layer.gradients(params, x, lambda f: -2 * y * jax.nn.sigmoid(-y * f) / y.size)
            return _step(params, gradient, config)

        return jax.lax.fori_loop(0, num_steps, step, two_layer.init(key_init, config.model))

    return train


def prepare_bare(config: Config, seeds: int, steps: int) -> Run:
    """The same training with no engine round it, which is what the engine's overhead is measured against.

    One Python thread per core takes a block of seeds one after the other: a seed's weights and activations then stay in
    that core's cache, and the small products need no threads of their own.
    """

    train = bare(config)
    keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), seeds)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    block_size = -(-seeds // cores)
    blocks = [keys[i : i + block_size] for i in range(0, seeds, block_size)]
    train_block = jax.jit(lambda keys, num_steps: jax.lax.map(lambda key: train(key, num_steps), keys))
    compiled = {block.size: train_block.lower(block, steps).compile() for block in blocks}

    def run():
        with ThreadPoolExecutor(cores) as pool:
            done = list(pool.map(lambda block: jax.block_until_ready(compiled[block.size](block, steps)), blocks))
        return np.concatenate([block.w for block in done]), np.concatenate([block.a for block in done])

    return run


def prepare_plain(config: Config, seeds: int, steps: int) -> Run:
    """JAX as one writes it first: vmap over seeds, rademacher signs, autodiff, scan over steps."""

    def loss_fn(params, x):
        y = xor.parity(x)
        f = jax.vmap(two_layer.apply, (None, 0))(params, x)
        return jnp.mean(2 * jax.nn.softplus(-y * f))

    def train(key):
        key_init, key_data = jax.random.split(key)

        def step(params, key):
            x = jax.random.rademacher(key, (config.batch_size, config.dim), dtype=params.w.dtype)
            return _step(params, jax.grad(loss_fn)(params, x), config), None

        params = two_layer.init(key_init, config.model)
        return jax.lax.scan(step, params, jax.random.split(key_data, steps))[0]

    keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), seeds)
    compiled = jax.jit(jax.vmap(train)).lower(keys).compile()

    def run():
        params = jax.block_until_ready(compiled(keys))
        return np.asarray(params.w), np.asarray(params.a)

    return run


def _step(params: two_layer.Params, gradient: two_layer.Params, config: Config) -> two_layer.Params:
    rate = config.learning_rate * config.width
    return jax.tree.map(lambda value, slope: value - rate * slope, params, gradient)


def jax_ceiling() -> float:
    """GFLOP/s of the best square float32 product."""
    best = 0.0
    for n in (1024, 2048):
        square = jnp.full((n, n), 0.5)
        product = jax.jit(jnp.matmul).lower(square, square).compile()
        best = max(best, _ceiling(lambda product=product, x=square: jax.block_until_ready(product(x, x)), n))
    return best


def _ceiling(product_fn: Callable[[], object], n: int, repeats: int = 6) -> float:
    product_fn()
    times = [_timed(product_fn)[0] for _ in range(repeats)]
    return 2 * n**3 / min(times) / 1e9


# PyTorch rows. `torch` is imported where it is needed: it is no dependency of the package.


def prepare_torch_loop(config: Config, seeds: int, steps: int) -> Run:
    """PyTorch as one writes it first: a Python loop over seeds, autograd."""
    import torch  # pyright: ignore[reportMissingImports]

    def train(num_steps):
        w, a = (value[0].requires_grad_() for value in _torch_init(config, 1))
        for _ in range(num_steps):
            x = 2 * torch.randint(0, 2, (config.batch_size, config.dim)).to(torch.float32) - 1
            y = -x[:, 0] * x[:, 1]
            f = torch.relu(x @ w) @ a / config.width
            loss = torch.mean(2 * torch.nn.functional.softplus(-y * f))
            slopes = torch.autograd.grad(loss, (w, a))
            with torch.no_grad():
                for value, slope in zip((w, a), slopes, strict=True):
                    value -= config.learning_rate * config.width * slope
        return w.detach().numpy(), a.detach().numpy()

    train(2)

    def run():
        trained = [train(steps) for _ in range(seeds)]
        return np.stack([w for w, _ in trained]), np.stack([a for _, a in trained])

    return run


def prepare_torch_eager(config: Config, seeds: int, steps: int) -> Run:
    """All seeds in batched matrix products, the gradient by hand, signs from packed random words."""
    return _prepare_torch_batched(config, seeds, steps, lambda step: step)


def prepare_torch_compiled(config: Config, seeds: int, steps: int) -> Run:
    """The same through torch.compile: the best we know to do with PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]

    return _prepare_torch_batched(config, seeds, steps, lambda step: torch.compile(step, dynamic=False))


def _prepare_torch_batched(config: Config, seeds: int, steps: int, compile_fn: Callable) -> Run:
    import torch  # pyright: ignore[reportMissingImports]

    num_rows = -(-config.batch_size // 32)

    def step(w, a, words):
        shifts = torch.arange(32, dtype=torch.int32)[:, None, None]
        x = torch.where((words[:, None] << shifts) < 0, -1.0, 1.0)
        x = x.reshape(w.shape[0], 32 * num_rows, config.dim)[:, : config.batch_size]
        y = -x[..., 0] * x[..., 1]
        hidden = torch.bmm(x, w)
        f = torch.bmm(torch.relu(hidden), a[..., None])[..., 0] / config.width
        residual = -2 * y * torch.sigmoid(-y * f) / config.batch_size
        m = torch.bmm(x.transpose(1, 2), torch.where(hidden > 0, residual[..., None], 0.0))
        return w - config.learning_rate * m * a[:, None], a - config.learning_rate * (w * m).sum(1)

    step = compile_fn(step)

    @torch.no_grad()
    def train(num_steps):
        w, a = _torch_init(config, seeds)
        for _ in range(num_steps):
            words = torch.randint(-(2**31), 2**31, (seeds, num_rows, config.dim), dtype=torch.int32)
            w, a = step(w, a, words)
        return w.numpy(), a.numpy()

    train(2)
    return lambda: train(steps)


def _torch_init(config: Config, seeds: int):
    import torch  # pyright: ignore[reportMissingImports]

    w = torch.randn(seeds, config.dim, config.width)
    sign = torch.randint(0, 2, (seeds, config.width)).to(w.dtype) * 2 - 1
    return config.init_scale * w / w.norm(dim=1, keepdim=True), config.init_scale * sign


def torch_ceiling() -> float:
    import torch  # pyright: ignore[reportMissingImports]

    squares = {n: torch.full((n, n), 0.5) for n in (1024, 2048)}
    return max(_ceiling(lambda x=square: x @ x, n) for n, square in squares.items())


# The table.

QUICK = ("--pairs", "1", "--seeds", "2", "--steps", "3", "--dim", "6", "--width", "8", "--batch-size", "16", "--no-loop")
ENGINE, BARE, PLAIN = "closedform engine", "bare loop (jax)", "jax vmap + rademacher + autodiff"
LOOP, EAGER, COMPILED = "torch loop over seeds", "torch batched, eager", "torch batched, compiled"
ROWS = {
    "jax": {ENGINE: prepare_engine, BARE: prepare_bare, PLAIN: prepare_plain},
    "torch": {COMPILED: prepare_torch_compiled, EAGER: prepare_torch_eager, LOOP: prepare_torch_loop},
}
CEILINGS = {"jax": jax_ceiling, "torch": torch_ceiling}


def _timed(function: Callable):
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def _test_loss(w: np.ndarray, a: np.ndarray) -> float:
    """Mean over seeds of the loss on fresh points, the same for every row."""
    x = np.random.default_rng(0).choice(np.array([-1, 1], w.dtype), (1024, w.shape[1]))
    y = -x[:, 0] * x[:, 1]
    f = np.stack([np.maximum(x @ w_seed, 0) @ a_seed / a_seed.size for w_seed, a_seed in zip(w, a, strict=True)])
    return float(np.mean(2 * np.logaddexp(0, -y * f)))


def _serve(connection: Connection, library: str, config: Config):
    """A worker process: prepares and times rows on request. What goes wrong is sent back, for the parent to decide."""
    if library == "jax":
        jax.config.update("jax_platforms", "cpu")
    runs = {}

    def answer(command, *row):
        if command == "ceiling":
            return CEILINGS[library]()
        if command == "prepare":
            name, seeds = row
            elapsed, runs[row] = _timed(lambda: ROWS[library][name](config, seeds, config.steps))
            return elapsed
        elapsed, (w, a) = _timed(runs[row])
        return elapsed, _test_loss(w, a)

    while (request := connection.recv()) is not None:
        try:
            connection.send(answer(*request))
        except Exception as error:
            connection.send(error)


class Worker:
    """A process of its own that holds one library."""

    def __init__(self, library: str, config: Config):
        context = multiprocessing.get_context("spawn")
        self._connection, remote = context.Pipe()
        self._process = context.Process(target=_serve, args=(remote, library, config), daemon=True)
        self._process.start()
        remote.close()

    def ask(self, *request):
        self._connection.send(request)
        reply = self._connection.recv()
        if isinstance(reply, Exception):
            raise reply
        return reply

    def close(self):
        self._connection.send(None)
        self._process.join()


@dataclass
class Measured:
    """One list entry a round, except where said."""

    reference: str  # the row that is A
    compile_seconds: dict[str, float]  # of every row that ran, once
    seconds: dict[tuple[str, int], list[float]]  # by row and number of seeds; A has one entry for every other row
    ratios: dict[str, list[float]]  # time over that of the A just before
    shares: dict[str, list[float]]  # of the ceiling measured at the start of the round
    ceilings: dict[str, list[float]]  # GFLOP/s, by library
    losses: dict[tuple[str, int], float]  # after training, of the last round


def measure(config: Config) -> Measured:
    libraries = ["jax", *(["torch"] if importlib.util.find_spec("torch") else [])]
    if "torch" not in libraries:
        print("PyTorch is not installed, so its rows are missing: it comes with the extra, closedform[benchmark].")
    workers = {library: Worker(library, config) for library in libraries}
    library_of = {name: library for library in libraries for name in ROWS[library] if config.loop or name != LOOP}
    compile_seconds = {}
    for name, library in library_of.items():
        try:
            compile_seconds[name] = workers[library].ask("prepare", name, config.seeds)
        except NotImplementedError as error:
            print(f"{name}: left out, {error}")
    reference = ENGINE if ENGINE in compile_seconds else BARE
    few = [(name, seeds) for name, seeds in ((reference, 2), (reference, 1), (COMPILED, 1)) if name in compile_seconds]
    for name, seeds in few:
        workers[library_of[name]].ask("prepare", name, seeds)

    names = list(compile_seconds)
    all_seeds = [(name, config.seeds) for name in names]
    measured = Measured(
        reference,
        compile_seconds,
        seconds={row: [] for row in all_seeds + few},
        ratios={name: [] for name in names if name != reference},
        shares={name: [] for name in names},
        ceilings={library: [] for library in libraries},
        losses={},
    )

    def run(name, seeds):
        elapsed, measured.losses[name, seeds] = workers[library_of[name]].ask("run", name, seeds)
        measured.seconds[name, seeds].append(elapsed)
        return elapsed

    for pair in range(config.pairs):
        for library, worker in workers.items():
            measured.ceilings[library].append(worker.ask("ceiling"))
        for name, ratios in measured.ratios.items():
            base = run(reference, config.seeds)
            ratios.append(run(name, config.seeds) / base)
        for row in few:
            run(*row)
        for name, shares in measured.shares.items():
            rate = config.seeds * config.gigaflop / measured.seconds[name, config.seeds][-1]
            shares.append(rate / measured.ceilings[library_of[name]][-1])
        print(f"round {pair + 1} of {config.pairs} done", flush=True)
    for worker in workers.values():
        worker.close()
    return measured


def report(config: Config, measured: Measured) -> list[goals.Row]:
    """Prints all rows; those with a goal."""
    print(f"\n{config}")
    for library, ceilings in measured.ceilings.items():
        print(f"{library} float32 ceiling, GFLOP/s: {_spread(ceilings, '.0f')}")
    print("\nEvery spread is min / median / max.")
    print(f"{'row':<36}{'seconds':>23}{'time over A':>23}{'GFLOP/s':>9}{'of ceiling':>12}{'compile s':>11}{'loss':>10}")
    for name, compile_seconds in measured.compile_seconds.items():
        seconds = measured.seconds[name, config.seeds]
        ratios = measured.ratios.get(name, [])
        print(
            f"{name + (' (A)' if name == measured.reference else ''):<36}{_spread(seconds, '.2f'):>23}"
            f"{_spread(ratios, '.2f'):>23}{config.seeds * config.gigaflop / statistics.median(seconds):>9.0f}"
            f"{statistics.median(measured.shares[name]):>12.2f}{compile_seconds:>11.2f}"
            f"{measured.losses[name, config.seeds]:>10.5f}"
        )

    def per_seed(name, seeds):  # A runs several times a round: its mean over the round
        rows = np.array(measured.seconds.get((name, seeds), [])).reshape(config.pairs, -1)
        return np.mean(rows, axis=1) / seeds if rows.size else np.array([])

    A = measured.reference
    one_seed = per_seed(COMPILED, 1)
    return [
        *goals.row(f"XOR, {config.seeds} seeds: {COMPILED} over the engine", measured.ratios.get(COMPILED, []), ">=", 1.5),
        *goals.row(f"XOR, {config.seeds} seeds: {LOOP} over the engine", measured.ratios.get(LOOP, []), ">=", 7),
        *goals.row(f"XOR, {config.seeds} seeds: {PLAIN} over the engine", measured.ratios.get(PLAIN, []), ">=", 4),
        *goals.row("XOR: the engine over a bare loop", [1 / ratio for ratio in measured.ratios.get(BARE, [])], "<=", 1.04),
        *goals.row("XOR: the engine's share of the f32 ceiling", measured.shares[A], ">=", 0.70),
        *goals.row(f"XOR: time per seed, {config.seeds} seeds over 2", per_seed(A, config.seeds) / per_seed(A, 2), "<=", 1.05),
        *goals.row(
            "XOR, one seed: compiled torch over the engine", one_seed / per_seed(A, 1) if one_seed.size else [], ">=", 1
        ),
        *goals.row("XOR: seconds to compile a sweep", [measured.compile_seconds[A]], "<=", 1.2),
    ]


def _spread(values, spec: str) -> str:
    if not len(values):
        return ""
    return " / ".join(format(float(value), spec) for value in (min(values), statistics.median(values), max(values)))


def main(config: Config):
    goals.finish(report(config, measure(config)), config.json)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
