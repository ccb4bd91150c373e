"""Convex training of a two-layer network: our solvers beside what a user would take instead.

    python -m closedform.benchmarks.convex_relu --pairs 5

Problems: x Gaussian (n, d); y from a ReLU teacher of ten neurons, of size about 1, with noise 0.1; Gaussian gates;
weight_decay is 0.05 of the largest that leaves a network of the gated program. All rows see the same x, y, gates and
weight_decay, and the objective is recomputed in float64 from the weights that a row returns (pyscnn: with the gates that it
returns, since it sorts and drops some).

Gated program. The time is that of reaching a relative error of the objective: for every row, ours included, the least effort
(steps; for Clarabel and SCS the loosest tolerance 10^-k) that reaches it is found first, and then timed, from NumPy arrays
to NumPy arrays. "verified" rows are ours stopping on the gap that they prove instead, which no peer does. The CVXPY rows
time solve() of a new problem, canonicalisation included (its share is printed). Adam trains the network with products,
f = sum_i 1[g_i.x >= 0] (u_i.x) a_i and penalty (weight_decay/2) (|u|^2 + a^2), whose optimum is the same, in float32, as
pyscnn does by default; it is judged by u_i a_i, that is after balancing; of its rates and schedules the best counts. Rows
alternate, A B A C A D ..., where A is the fastest row of ours. A first call runs in a process of its own, from after the
imports; jax's persistent cache of compiled programs was filled by another process.

ReLU program. All patterns of small data sets, x_ij = sin(1.3 ij + 0.7 i + 2.1 j), y_i = 1.5 cos(0.9 i), weight_decay = 0.1, and
sampled patterns of the first problem above; the interior point to a gap of 1e-8, R-FISTA and ADMM only to 1e-4, Clarabel at its
default tolerances, 1e-8: rows of unequal accuracy, as their errors say. Blocks are judged as the network that they become: with
sampled patterns, ones outside of their cones can be better than the program's optimum, and the error negative.

JAX, PyTorch and CVXPY live in a process each, idle while another is timed. torch, cvxpy, clarabel and scs come with the extra,
closedform[benchmark]; pyscnn by `pip install --no-deps pyscnn linalg_backends` after it (and scikit-learn, opt_einsum).
"""

import functools
import importlib.util
import logging
import math
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ..figures import _style
from ..models.fully_connected import convex_relu
from ..solvers import admm, fista, interior_point
from ..solvers.program import Solution, gated_program, relu_program
from . import goals


@dataclass(frozen=True)
class Config:
    pairs: int = 5  # rounds; in each, every row is timed once, right after A
    gated: tuple[tuple[int, int, int], ...] = ((100, 10, 50), (500, 50, 200), (1000, 50, 200))  # samples, dim, gates
    relu: tuple[tuple[int, int, int], ...] = ((8, 2, 0), (10, 3, 0), (12, 4, 0), (9, 4, 0), (100, 10, 50))  # 0: all patterns
    cone_solvers: int = 500  # samples up to which CVXPY runs on the gated program; it takes 10 s and more
    learning_rates: tuple[float, ...] = (3e-2, 1e-2)  # of Adam, each constant and with cosine decay
    slow: float = 3.0  # seconds; a row that takes longer is timed in the first round only
    projections: int = 4000  # samples times blocks up to which R-FISTA runs on the ReLU program: thousands of steps of them
    first_calls: bool = True  # a process for every row and round: 2 minutes
    figure: Path | None = None  # gap against time of our solvers, instead of the tables
    json: Path | None = None  # where the rows that goals name are kept


class Problem(NamedTuple):
    """What a row is given, in float64."""

    x: np.ndarray
    y: np.ndarray
    gates: np.ndarray  # (dim, pattern)
    weight_decay: np.ndarray
    cones: bool  # the ReLU program: every pattern with either sign, first all +1


class Answer(NamedTuple):
    gates: np.ndarray
    weights: np.ndarray  # (dim, block)
    note: str = ""


Key = tuple[bool, int, int, int]  # cones, samples, dim, gates (0: all patterns)
Run = Callable[[int], Answer]  # of an effort


@functools.cache
def problem(key: Key) -> Problem:
    cones, n, d, num_gates = key
    if num_gates:
        draw = np.random.default_rng(0).standard_normal
        x, w = draw((n, d)), draw((d, 10))
        y = np.maximum(x @ w, 0) @ draw(10) / np.sqrt(d) + 0.1 * draw(n)
        gates = draw((d, num_gates))
        weight_decay = 0.05 * np.max(np.linalg.norm(x.T @ ((x @ gates >= 0) * y[:, None]), axis=0))
    else:
        i, j = np.arange(1, n + 1)[:, None], np.arange(1, d + 1)
        x, y = np.sin(1.3 * i * j + 0.7 * i + 2.1 * j), 1.5 * np.cos(0.9 * i[:, 0])
        gates, weight_decay = np.asarray(convex_relu.all_gates(jnp.asarray(x))), 0.1
    return Problem(x, y, gates, np.asarray(weight_decay), cones)


def objective(data: Problem, answer: Answer) -> float:
    """Of the gated network, or of the ReLU network that the blocks become."""
    pre, active = data.x @ answer.weights, data.x @ answer.gates >= 0
    half = answer.weights.shape[1] // 2
    f = np.maximum(pre[:, :half], 0).sum(1) - np.maximum(pre[:, half:], 0).sum(1) if data.cones else (active * pre).sum(1)
    return float(np.sum((f - data.y) ** 2) / 2 + data.weight_decay * np.linalg.norm(answer.weights, axis=0).sum())


# Our rows.


def compiled(method: Callable[..., Solution], cones: bool) -> Callable[..., Solution]:
    """One program for any tolerance, from the arrays that a user has; the number of steps is part of it."""

    def solve(x, y, gates, weight_decay, rtol, max_steps):
        program = (relu_program if cones else gated_program)(x, y, gates, weight_decay)
        options = {} if method is admm.solve else {"cones": cones}
        return method(program, rtol=rtol, max_steps=max_steps, **options)

    return jax.jit(solve, static_argnames="max_steps")


def prepare_ours(data: Problem, method: Callable[..., Solution], verified: bool = False) -> Run:
    """Effort: steps, or k of a verified gap of 10^-k."""
    solve = compiled(method, data.cones)

    def run(effort):
        rtol, max_steps = (10.0**-effort, 100_000) if verified else (0.0, effort)
        solution = solve(*data[:4], rtol, max_steps)
        gap = float(solution.gap / solution.objective)
        return Answer(data.gates, np.asarray(solution.weights), f"{solution.steps} steps, gap {gap:.0e}")

    return run


# Peers, imported where they are needed: they are no dependencies of the package.


def prepare_pyscnn(data: Problem) -> Run:
    """Effort: steps. Its loss is a mean, hence weight_decay/n; its default, to scale the columns, changes the problem."""
    from scnn.metrics import Metrics  # pyright: ignore[reportMissingImports]
    from scnn.models import ConvexGatedReLU  # pyright: ignore[reportMissingImports]
    from scnn.optimize import optimize_model  # pyright: ignore[reportMissingImports]
    from scnn.regularizers import NeuronGL1  # pyright: ignore[reportMissingImports]
    from scnn.solvers import RFISTA  # pyright: ignore[reportMissingImports]

    logging.disable(logging.WARNING)  # that the steps ran out, as they should

    def run(effort):
        model = ConvexGatedReLU(data.gates.copy())
        penalty = NeuronGL1(float(data.weight_decay) / len(data.x))
        solver = RFISTA(model, max_iters=effort, tol=0.0)
        fitted: Any
        fitted, _ = optimize_model(
            model, solver, Metrics(), data.x, data.y, regularizer=penalty, unitize_data=False, return_convex=True
        )
        gates, weights = np.asarray(fitted.G, float), np.asarray(fitted.get_parameters()[0][0].T, float)
        return Answer(gates, weights, f"{effort} steps, {gates.shape[1]} gates")

    return run


def prepare_adam(data: Problem, rate: float, decay: bool) -> Run:
    """Effort: steps; the rate is kept, or falls to zero over them as a cosine."""
    import torch  # pyright: ignore[reportMissingImports]

    x, y, gates = (torch.tensor(array).float() for array in data[:3])
    active, weight_decay = (x @ gates >= 0).float(), float(data.weight_decay)

    def train(steps, threads):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        u = torch.randn(gates.shape) / gates.numel() ** 0.5
        a = torch.linalg.norm(u, dim=0) * torch.sign(torch.randn(gates.shape[1]))
        u.requires_grad_()
        a.requires_grad_()
        optimiser = torch.optim.Adam([u, a], rate, fused=True)
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2 if decay else rate
            optimiser.zero_grad()
            loss = (((active * (x @ u)) @ a - y) ** 2).sum() / 2 + weight_decay / 2 * ((u**2).sum() + (a**2).sum())
            loss.backward()
            optimiser.step()
        return Answer(data.gates, (u * a).detach().double().numpy(), f"{steps} steps, {threads} threads")

    # small products can be slower on all cores
    seconds = {threads: _seconds(lambda threads=threads: train(20, threads), 3) for threads in {1, torch.get_num_threads()}}
    return lambda effort: train(effort, min(seconds, key=seconds.__getitem__))


def prepare_cvxpy(data: Problem, solver: str) -> Run:
    """Effort: k of the tolerance 10^-k."""
    import cvxpy  # pyright: ignore[reportMissingImports]

    x, y, active, weight_decay = data.x, data.y, (data.x @ data.gates >= 0).astype(float), float(data.weight_decay)
    shape = data.gates.shape
    features = (active[:, :, None] * x[:, None, :]).reshape(len(x), -1)  # [D_1 x, D_2 x, ...]

    def run(effort):
        parts = [cvxpy.Variable(shape) for _ in range(1 + data.cones)]
        total = parts[0] - parts[1] if data.cones else parts[0]
        penalty = sum(cvxpy.sum(cvxpy.norm(part, 2, axis=0)) for part in parts)
        constraints: list[Any] = [cvxpy.multiply(2 * active - 1, x @ part) >= 0 for part in parts if data.cones]
        loss = cvxpy.sum_squares(features @ cvxpy.vec(total, order="F") - y) / 2
        program = cvxpy.Problem(cvxpy.Minimize(loss + weight_decay * penalty), constraints)
        eps = 10.0**-effort
        options: dict[str, Any] = dict(tol_gap_abs=eps, tol_gap_rel=eps, tol_feas=eps)
        if solver == "SCS":
            options = dict(eps_abs=eps, eps_rel=eps, max_iters=100_000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the solution may be inaccurate: it is judged here
            program.solve(solver=solver, **options)
        weights = np.concatenate([np.asarray(part.value) for part in parts], axis=1)
        return Answer(data.gates, weights, f"tolerance {eps:.0e}, canonicalisation {program.compilation_time:.2f} s")

    return run


# Workers: a process for each library.


class Row(NamedTuple):
    name: str
    library: str
    prepare: Callable[[Problem], Run]
    start: int = 1  # the least effort, and the finest difference of efforts
    limit: int = 10


def _ours(name: str, method: Callable[..., Solution], verified: bool = False, start: int = 1, limit: int = 10) -> Row:
    return Row(name, "jax", functools.partial(prepare_ours, method=method, verified=verified), start, limit)


def _cvxpy(solver: str, limit: int) -> Row:
    return Row(f"CVXPY + {solver}", "cvxpy", functools.partial(prepare_cvxpy, solver=solver), 1, limit)


def _adam(rate: float, decay: bool) -> Row:
    name = f"torch Adam, {rate:g}{', cosine' if decay else ''}"
    return Row(name, "torch", functools.partial(prepare_adam, rate=rate, decay=decay), 10, 5000)


OURS = [_ours("interior point", interior_point.solve, limit=60), _ours("R-FISTA", fista.solve, start=10, limit=20_000)]
VERIFIED = [_ours("interior point, verified", interior_point.solve, True), _ours("R-FISTA, verified", fista.solve, True)]
ADMM, PYSCNN = _ours("ADMM, verified", admm.solve, True), Row("pyscnn R-FISTA", "torch", prepare_pyscnn, 1, 10_000)
CLARABEL, SCS = _cvxpy("CLARABEL", 10), _cvxpy("SCS", 8)


LARGE = 500  # samples of the gated programs that have a goal
QUICK = ("--pairs", "1", "--gated", "20", "3", "4", "--relu", "6", "2", "0", "--cone-solvers", "0", "--no-first-calls")


class Measurement(NamedTuple):
    seconds: float
    objective: float
    note: str


_prepared: dict[tuple[str, Key], Run] = {}  # of a worker


def measure(row: Row, key: Key, effort: int) -> Measurement:
    data = problem(key)
    if (row.name, key) not in _prepared:
        _prepared[row.name, key] = row.prepare(data)
    start = time.perf_counter()
    answer = _prepared[row.name, key](effort)
    return Measurement(time.perf_counter() - start, objective(data, answer), answer.note)


def reference(key: Key) -> tuple[float, float]:
    """Objective and verified bound of the interior point at its best."""
    solution = compiled(interior_point.solve, key[0])(*problem(key)[:4], 1e-10, 100)
    return float(solution.objective), float(solution.bound)


def step_cost(key: Key) -> tuple[float, float, float]:
    """Of an interior-point step: seconds, GFLOP of its products and factors; GFLOP/s of the best product in this process."""
    data, solve = problem(key), compiled(interior_point.solve, key[0])
    n, d = data.x.shape
    blocks = data.gates.shape[1] * (1 + data.cones)
    few, many = (_seconds(lambda k=k: solve(*data[:4], 0.0, k), 6) for k in (0, 6))
    flops = (2 * n**2 * d + 4 * n * d**2 if data.cones else 4 * n**2) * blocks + n**3 / 3
    product, ceiling = jax.jit(jnp.matmul), 0.0
    for size in (512, 1024, 2048):
        square = jnp.full((size, size), 0.5)
        ceiling = max(ceiling, 2e-9 * size**3 / _seconds(lambda square=square: product(square, square), 6))
    return (many - few) / 6, 1e-9 * flops, ceiling


def gap_curve(method: Callable[..., Solution], key: Key) -> tuple[list[float], list[float]]:
    """Seconds of growing numbers of steps, best of three, and the relative gaps that they verify."""
    data, solve = problem(key), compiled(method, key[0])
    seconds, gaps = [], []
    for number in range(40):
        steps = number + 1 if method is interior_point.solve else 10 * round(1.25**number)
        solution = solve(*data[:4], 0.0, steps)
        seconds.append(_seconds(lambda k=steps: solve(*data[:4], 0.0, k), 3))
        gaps.append(float(solution.gap / solution.objective))
        stalled = len(gaps) > 1 and gaps[-1] < 1e-6 and gaps[-1] > 0.5 * gaps[-2]
        if gaps[-1] < 1e-9 or seconds[-1] > 3 or stalled:
            break
    # fewer steps take no longer: removes what other load on the machine added to single points
    return np.minimum.accumulate(seconds[::-1])[::-1].tolist(), gaps


def _seconds(function: Callable[[], Any], repeats: int) -> float:
    """The best of several, compiled before."""
    jax.block_until_ready(function())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return min(times)


def _start(cache: str | None):
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    if cache is not None:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


class Workers:
    """The processes, one for each library, started when first asked."""

    def __init__(self, cache: str | None = None):
        self._cache = cache
        self._pools: dict[str, ProcessPoolExecutor] = {}

    def ask(self, library: str, function: Callable, *arguments: Any) -> Any:
        if library not in self._pools:
            context = multiprocessing.get_context("spawn")
            self._pools[library] = ProcessPoolExecutor(1, context, _start, (self._cache,))
        return self._pools[library].submit(function, *arguments).result()

    def measure(self, row: Row, key: Key, effort: int) -> Measurement:
        return self.ask(row.library, measure, row, key, effort)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object):
        for pool in self._pools.values():
            pool.shutdown()


# The tables.

Efforts = list[tuple[Row, int]]


def least_effort(reaches: Callable[[int], bool], start: int, limit: int) -> int | None:
    """The least effort that reaches, to a tenth: doubling, then halving."""
    low, high = 0, start
    while not reaches(high):
        if high >= limit:
            return None
        low, high = high, min(2 * high, limit)
    while high - low > max(start, low // 10):
        middle = (low + high) // 2 // start * start
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def table(workers: Workers, key: Key, efforts: Efforts, optimum: float, config: Config) -> dict[str, list[float]]:
    """A is the faster of OURS, or the first row where they are missing. Returns the ratios over A."""
    last = [workers.measure(row, key, effort) for row, effort in efforts]  # compiles, warms
    quick = [min(workers.measure(row, key, effort).seconds for _ in range(3)) for row, effort in efforts if row in OURS]
    A = int(np.argmin(quick)) if quick else 0
    seconds: list[list[float]] = [[] for _ in efforts]
    ratios: list[list[float]] = [[] for _ in efforts]  # to the A just before

    def time_row(i: int) -> float:
        row, effort = efforts[i]
        last[i] = workers.measure(row, key, effort)
        seconds[i].append(last[i].seconds)
        return last[i].seconds

    for _ in range(config.pairs):
        for i in range(len(efforts)):
            if i != A and not (seconds[i] and seconds[i][0] > config.slow):
                base = time_row(A)
                ratios[i].append(time_row(i) / base)
    print(f"{'row':<30}{'seconds':>26}{'time over A':>26}{'error':>10}   note")
    for i, (row, _) in enumerate(efforts):
        name, error = row.name + (" (A)" if i == A else ""), last[i].objective / optimum - 1
        spreads = f"{_spread(seconds[i], '.4f'):>26}{_spread(ratios[i], '.2f'):>26}"
        print(f"{name:<30}{spreads}{error:>10.1e}   {last[i].note}", flush=True)
    return {row.name: ratios[i] for i, (row, _) in enumerate(efforts)}


def gated_tables(workers: Workers, peers: list[Row], config: Config) -> tuple[dict[Key, Efforts], list[goals.Row]]:
    """Returns what reaches 1e-5, and the rows with a goal."""
    reached, judged = {}, []
    with_torch = importlib.util.find_spec("torch") is not None
    adam = [_adam(rate, decay) for rate in config.learning_rates for decay in (True, False) if with_torch]
    for n, d, num_gates in config.gated:
        key = False, n, d, num_gates
        optimum, bound = workers.ask("jax", reference, key)
        lowest = optimum
        for digits in (3, 5):

            def reaches(row: Row, effort: int, key: Key = key, most: float = (1 + 10.0**-digits) * optimum) -> bool:
                nonlocal lowest
                value = workers.measure(row, key, effort).objective
                lowest = min(lowest, value)
                return value <= most

            efforts: Efforts = []
            for row in OURS + [row for row in peers if row.library != "cvxpy" or n <= config.cone_solvers]:
                effort = least_effort(functools.partial(reaches, row), row.start, row.limit)
                if effort is None:
                    print(f"{row.name}: does not reach 1e-{digits} with effort {row.limit}")
                else:
                    efforts.append((row, effort))
            best: Efforts = []  # of Adam's rates, all of the same cost a step
            for row in adam:
                effort = least_effort(functools.partial(reaches, row), row.start, best[0][1] if best else row.limit)
                best = best if effort is None else [(row, effort)]
            print(f"\nGated program, samples {n}, dim {d}, gates {num_gates}: relative error 1e-{digits}", flush=True)
            reached[key] = efforts + best
            ratios = table(workers, key, reached[key] + [(row, digits) for row in VERIFIED], optimum, config)
            if digits == 5 and n >= LARGE:
                judged += goals.row(f"gated program to 1e-5, n = {n}: pyscnn over ours", ratios.get(PYSCNN.name, []), ">=", 6)
        print(f"optimum {optimum:.9g}, verified gap {1 - bound / optimum:.0e}; lowest of all rows {lowest / optimum - 1:+.0e}")
    return reached, judged


def first_calls(reached: dict[Key, Efforts], config: Config) -> list[goals.Row]:
    """To 1e-5, in a new process each. Returns the rows with a goal."""
    judged: list[goals.Row] = []
    print(f"\nFirst call, seconds to 1e-5\n{'row':<30}{'samples, dim, gates':>22}{'seconds':>26}{'over ours':>24}")
    with tempfile.TemporaryDirectory() as cache:

        def first(row: Row, key: Key, effort: int) -> float:
            with Workers(cache) as workers:
                return workers.measure(row, key, effort).seconds

        for key, efforts in reached.items():
            asked = [(row, key, effort) for row, effort in efforts if row in OURS or row is PYSCNN]
            seconds = np.array([[first(*each) for each in asked] for _ in range(1 + config.pairs)])[1:]  # one fills the cache
            ours = np.min(seconds[:, [row in OURS for row, _, _ in asked]], axis=1)
            for (row, _, _), column in zip(asked, seconds.T, strict=True):
                size = " ".join(map(str, key[1:]))
                print(f"{row.name:<30}{size:>22}{_spread(column, '.3f'):>26}{_spread(column / ours, '.2f'):>24}", flush=True)
                if row is PYSCNN:
                    judged += goals.row(f"first call to 1e-5, n = {key[1]}: pyscnn over ours", column / ours, ">=", 1.5)
    return judged


def relu_tables(workers: Workers, peers: list[Row], config: Config):
    for n, d, num_gates in config.relu:
        key = True, n, d, num_gates
        optimum, bound = workers.ask("jax", reference, key)
        patterns = f"{num_gates} of the" if num_gates else f"all {problem(key).gates.shape[1]}"
        print(
            f"\nReLU program, samples {n}, dim {d}, {patterns} patterns: optimum {optimum:.9g}, gap {1 - bound / optimum:.0e}"
        )
        efforts = [(VERIFIED[0], 8), (VERIFIED[1], 4), (ADMM, 4)] + [(row, 8) for row in peers if row is CLARABEL]
        if 2 * n * problem(key).gates.shape[1] > config.projections:
            del efforts[1]
        table(workers, key, efforts, optimum, config)


def bounds_table(workers: Workers, config: Config):
    print("\nOne interior-point step: what bounds it")
    print(f"{'program':<10}{'samples, dim, gates':>22}{'ms':>10}{'GFLOP':>10}{'GFLOP/s':>10}{'ceiling':>10}{'share':>8}")
    for cones, sizes in ((False, config.gated), (True, config.relu)):
        for size in sizes:
            seconds, work, ceiling = workers.ask("jax", step_cost, (cones, *size))
            print(
                f"{'ReLU' if cones else 'gated':<10}{' '.join(map(str, size)):>22}{1e3 * seconds:>10.2f}{work:>10.4f}", end=""
            )
            print(f"{work / seconds:>10.1f}{ceiling:>10.0f}{work / seconds / ceiling:>8.2f}", flush=True)


def draw(workers: Workers, path: Path):
    methods = {"interior point": interior_point.solve, "R-FISTA": fista.solve, "ADMM": admm.solve}
    figure, axes = _style.panels(2, sharey=True)
    for axis, key, title in zip(axes, ((False, 500, 50, 200), (True, 10, 3, 0)), ("gated", "ReLU"), strict=True):
        for index, (name, method) in enumerate(methods.items()):
            if key[0] or method is not admm.solve:
                seconds, gaps = workers.ask("jax", gap_curve, method, key)
                style = dict(color=_style.COLOURS[index], marker=_style.MARKERS[index], markersize=2.5)
                axis.loglog(seconds, np.maximum(gaps, 1e-12), label=name, **style)
        axis.set(xlabel="time, seconds", title=f"{title}: n = {key[1]}, d = {key[2]}, {key[3] or 'all'} patterns")
    axes[0].set_ylabel("verified relative gap")
    axes[1].legend()
    figure.savefig(path)


def _spread(values: Sequence[float] | np.ndarray, spec: str) -> str:
    if not len(values):
        return ""
    return " / ".join(format(value, spec) for value in (min(values), statistics.median(values), max(values)))


def available() -> list[Row]:
    """The peers whose packages are there; a line for each that is not."""
    peers = []
    wanted = ((PYSCNN, ("torch", "scnn", "lab")), (CLARABEL, ("cvxpy", "clarabel")), (SCS, ("cvxpy", "scs")))
    for row, modules in wanted:
        if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
            extra = "" if row is not PYSCNN else "; then pip install --no-deps pyscnn linalg_backends"
            print(f"{row.name}: left out without {', '.join(missing)}; pip install 'closedform[benchmark]'{extra}")
        else:
            peers.append(row)
    return peers


def main(config: Config):
    peers = available()
    with Workers() as workers:
        if config.figure is not None:
            draw(workers, config.figure)
            return
        print(f"{config}\nEvery spread is min / median / max.", flush=True)
        reached, rows = gated_tables(workers, peers, config)
        relu_tables(workers, peers, config)
        bounds_table(workers, config)
    if config.first_calls:
        rows += first_calls(reached, config)
    goals.finish(rows, config.json)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
