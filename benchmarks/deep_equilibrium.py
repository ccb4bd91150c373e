"""Forward and backward of a deep equilibrium block: ours beside torchdeq and a Picard loop in plain PyTorch.

    python -m closedform.benchmarks.deep_equilibrium --pairs 7

z = tanh(z W + c) for a batch of 256 states of 128 units, W Gaussian with spectral radius 0.9, c Gaussian of deviation 1/2, from
z = 0, in float32; a run computes the fixed point and the gradient of <z, cotangent> with respect to W and c. All rows have the
same arrays, drawn by NumPy, and `threads` cores; PyTorch uses one thread where that is faster.

Picard: A is our picard with the batch as one state and the gradient by the same iteration of the adjoint equation; torchdeq's
fixed_point_iter, implicit, does the same. Anderson: A is our anderson for each example on its own (vmap), forward and backward,
as is torchdeq's anderson; beside it ours with the batch as one state. The loop is Picard's iteration as one writes it first,
with torchdeq's way to the gradient.

Every row has the loosest tolerances of a list, forward and backward, with which no entry of |f(z) - z| at its answer is above
`residual` and the gradient is off by no more than `error`; both are told, in float64 and against the gradient after 3000 steps.
`steps` counts the forward iterations, of the slowest example.

Rows alternate, A B A C ..., and a ratio is a time over that of the A just before; the ratio of process CPU times stands beside
it, as wall time suffers from other load. JAX and PyTorch live in a process each, idle while the other is timed. PyTorch and
torchdeq (MIT licence) are the extra `benchmark`; without them the rest stands alone.
"""

import importlib.metadata
import importlib.util
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ..solvers import fixed_point
from ..solvers.equilibrium_gradients import iterated


@dataclass(frozen=True)
class Config:
    pairs: int = 7  # rounds; in each, every row is timed once, right after A
    batch: int = 256
    width: int = 128
    threads: int = 2
    residual: float = 1e-5  # largest |f(z) - z| allowed
    error: float = 2e-5  # relative, of the gradient
    repeats: int = 5  # runs in one timing
    methods: tuple[Literal["picard", "anderson"], ...] = ("picard", "anderson")

    def __post_init__(self):
        for name in ("pairs", "batch", "width", "threads", "repeats"):
            if getattr(self, name) < 1:
                raise SystemExit(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("residual", "error"):
            if not getattr(self, name) > 0:
                raise SystemExit(f"{name} must be above 0, got {getattr(self, name)}")


Arrays = dict[str, np.ndarray]
MAX_STEPS = 500


class Answer(NamedTuple):
    state: np.ndarray
    gradients: tuple[np.ndarray, np.ndarray]  # for W and c
    steps: int  # forward


class Run(NamedTuple):
    gradient: Callable[[], Any]  # what is timed; has waited for its result
    answer: Callable[[], Answer]


def problem(config: Config) -> Arrays:
    draw = np.random.default_rng(0).standard_normal
    found = {
        "weight": 0.9 * draw((config.width, config.width)) / config.width**0.5,
        "drive": 0.5 * draw((config.batch, config.width)),
        "cotangent": draw((config.batch, config.width)),
    }
    return {name: array.astype(np.float32) for name, array in found.items()}


def exact_gradients(data: Arrays, steps: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """By iteration in float64, of the state and then of the adjoint equation."""
    weight, drive, cotangent = (data[name].astype(float) for name in ("weight", "drive", "cotangent"))
    z, adjoint = np.zeros_like(drive), cotangent
    for _ in range(steps):
        z = np.tanh(z @ weight + drive)
    for _ in range(steps):
        adjoint = (adjoint * (1 - z**2)) @ weight.T + cotangent
    injected = adjoint * (1 - z**2)
    return z.T @ injected, injected


def largest_residual(data: Arrays, state: np.ndarray) -> float:
    z = state.astype(float)
    return float(np.abs(np.tanh(z @ data["weight"].astype(float) + data["drive"]) - z).max())


# JAX


def layer(z: jax.Array, args: tuple[jax.Array, jax.Array]) -> jax.Array:
    return jnp.tanh(z @ args[0] + args[1])


def prepare_jax(data: Arrays, forward: float, backward: float, solve: Callable, each: bool) -> Run:
    adjoint = iterated(partial(solve, atol=backward, max_steps=MAX_STEPS))

    def found(weight: jax.Array, drive: jax.Array) -> fixed_point.Solution:
        def one(drive: jax.Array) -> fixed_point.Solution:
            start = jnp.zeros_like(drive)
            return solve(layer, start, (weight, drive), atol=forward, max_steps=MAX_STEPS, adjoint=adjoint)

        return jax.vmap(one)(drive) if each else one(drive)

    def loss(weight: jax.Array, drive: jax.Array) -> jax.Array:
        return jnp.vdot(found(weight, drive).state, data["cotangent"])

    gradient = jax.jit(jax.grad(loss, (0, 1)))
    args = jnp.asarray(data["weight"]), jnp.asarray(data["drive"])

    def answer() -> Answer:
        solution = jax.jit(found)(*args)
        weight, drive = map(np.asarray, gradient(*args))
        return Answer(np.asarray(solution.state), (weight, drive), int(jnp.max(solution.num_steps)))

    return Run(lambda: jax.block_until_ready(gradient(*args)), answer)


# PyTorch


_fastest: dict[str, int] = {}  # threads for each solver, tried once


def prepare_torch(data: Arrays, forward: float, backward: float, solver: str, threads: int) -> Run:
    import torch  # pyright: ignore[reportMissingImports]
    import torchdeq  # pyright: ignore[reportMissingImports]

    weight, drive = (torch.from_numpy(data[name].copy()).requires_grad_() for name in ("weight", "drive"))
    cotangent, start = torch.from_numpy(data["cotangent"]), torch.zeros(data["drive"].shape)

    def f(z: Any) -> Any:
        return torch.tanh(z @ weight + drive)

    def by_library() -> tuple[Any, int]:
        states, info = block(f, start)
        return states[-1], int(info["nstep"].max().item())

    def by_loop() -> tuple[Any, int]:
        with torch.no_grad():
            z, steps, far = f(start), 1, True
            while far and steps < MAX_STEPS:
                after = f(z)
                far, z, steps = bool((after - z).abs().max() > forward), after, steps + 1
        attached = f(z.requires_grad_())
        behind = f(z)

        def adjoint(gradient: Any) -> Any:
            found, far, steps = gradient, True, 0
            while far and steps < MAX_STEPS:
                after = torch.autograd.grad(behind, z, found, retain_graph=True)[0] + gradient
                far, found, steps = bool((after - found).abs().max() > backward), after, steps + 1
            return found

        attached.register_hook(adjoint)
        return attached, steps

    if solver == "loop":
        solve = by_loop
    else:
        tolerances = {"f_tol": forward, "b_tol": backward, "f_max_iter": MAX_STEPS, "b_max_iter": MAX_STEPS}
        block = torchdeq.get_deq(f_solver=solver, b_solver=solver, ift=True, **tolerances)
        block.train()
        solve = by_library

    def gradient() -> Any:
        return torch.autograd.grad((solve()[0] * cotangent).sum(), (weight, drive))

    if solver not in _fastest:
        seconds: dict[int, float] = {}
        for count in 3 * (1, threads):  # in turn, as other load comes and goes
            torch.set_num_threads(count)
            gradient()
            began = time.perf_counter()
            gradient()
            seconds[count] = min(time.perf_counter() - began, seconds.get(count, float("inf")))
        _fastest[solver] = min(seconds, key=seconds.__getitem__)
    fastest = _fastest[solver]

    def timed() -> Any:
        torch.set_num_threads(fastest)
        return gradient()

    def answer() -> Answer:
        state, steps = solve()
        of_weight, of_drive = (part.numpy() for part in gradient())
        return Answer(state.detach().numpy(), (of_weight, of_drive), steps)

    return Run(timed, answer)


# Workers and rows.


class Row(NamedTuple):
    name: str
    library: str
    prepare: Callable[[Arrays, float, float], Run]
    unit: float  # the tightest tolerance of the list in units of the residual asked for: norms differ


def rows(method: str, config: Config) -> list[Row]:
    root = config.width**0.5  # torchdeq stops by the Euclidean norm of an example
    torch = partial(prepare_torch, threads=config.threads)
    if method == "picard":
        return [
            Row("closedform picard", "jax", partial(prepare_jax, solve=fixed_point.picard, each=False), 1.0),
            Row("torchdeq fixed_point_iter", "torch", partial(torch, solver="fixed_point_iter"), root),
            Row("torch loop", "torch", partial(torch, solver="loop"), 1.0),
            Row("closedform picard, each", "jax", partial(prepare_jax, solve=fixed_point.picard, each=True), 1.0),
        ]
    return [
        Row("closedform anderson, each", "jax", partial(prepare_jax, solve=fixed_point.anderson, each=True), 1.0),
        Row("torchdeq anderson", "torch", partial(torch, solver="anderson"), root),
        Row("closedform anderson", "jax", partial(prepare_jax, solve=fixed_point.anderson, each=False), 1.0),
    ]


GOALS = {"picard": 2.0, "anderson": 3.0}  # of torchdeq over A
_prepared: dict[tuple[str, int], Run] = {}  # of a worker


def start_worker(threads: int) -> None:
    if hasattr(os, "sched_setaffinity"):  # before jax counts the cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_compilation_cache", False)


class First(NamedTuple):
    residual: float
    error: float
    steps: int
    tolerances: tuple[float, float]  # forward, backward


def prepare(key: tuple[str, int], data: Arrays, exact: tuple[np.ndarray, np.ndarray], config: Config) -> First:
    """The run with the loosest tolerances that are good enough."""
    method, index = key
    row = rows(method, config)[index]
    tolerances = [config.residual * row.unit * 2.0**-power for power in range(4)]
    forward, found = tolerances[0], None
    for forward in tolerances:
        run = row.prepare(data, forward, forward)
        if largest_residual(data, run.answer().state) <= config.residual:
            break
    for backward in (2 * forward, forward, forward / 2, forward / 4):
        run = _prepared[key] = row.prepare(data, forward, backward)
        answer = run.answer()
        pairs = zip(answer.gradients, exact, strict=True)
        error = max(float(np.linalg.norm(one - right) / np.linalg.norm(right)) for one, right in pairs)
        found = First(largest_residual(data, answer.state), error, answer.steps, (forward, backward))
        if error <= config.error:
            break
    if found is None or found.residual > config.residual or found.error > config.error:
        raise RuntimeError(f"{row.name}: residual {found and found.residual}, error of the gradient {found and found.error}")
    return found


def measure(key: tuple[str, int], repeats: int) -> tuple[float, float]:
    """Wall and CPU seconds of a run."""
    gradient = _prepared[key].gradient
    gradient()
    cpu, began = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        gradient()
    return (time.perf_counter() - began) / repeats, (time.process_time() - cpu) / repeats


def has_torch() -> bool:
    return all(importlib.util.find_spec(name) for name in ("torch", "torchdeq"))


def compare(method: str, data: Arrays, exact: Any, pools: dict, config: Config) -> dict[str, list[float]]:
    there = {index: row for index, row in enumerate(rows(method, config)) if row.library in pools}
    firsts = {
        index: pools[row.library].submit(prepare, (method, index), data, exact, config).result() for index, row in there.items()
    }
    times: dict[int, list[float]] = {index: [] for index in there}
    ratios: dict[int, list[tuple[float, float]]] = {index: [] for index in there}

    def timed(index: int) -> tuple[float, float]:
        wall, cpu = pools[there[index].library].submit(measure, (method, index), config.repeats).result()
        times[index].append(wall)
        return wall, cpu

    for _ in range(config.pairs):
        for index in list(there)[1:]:
            base, other = timed(0), timed(index)
            ratios[index].append((other[0] / base[0], other[1] / max(base[1], 1e-9)))
    print(f"\n{method}, batch {config.batch}, width {config.width}")
    print(f"{'row':<32}{'milliseconds':>26}{'time over A':>22}{'CPU over A':>22}{'steps':>7}{'residual':>10}{'error':>9}")
    for index, row in there.items():
        wall, cpu = (_spread([pair[i] for pair in ratios[index]], ".2f") for i in (0, 1))
        first, label = firsts[index], row.name + ("" if index else " (A)")
        print(f"{label:<32}{_spread([1e3 * one for one in times[index]], '.1f'):>26}{wall:>22}{cpu:>22}", end="")
        print(f"{first.steps:>7}{first.residual:>10.0e}{first.error:>9.0e}", flush=True)
    return {row.name: [wall for wall, _ in ratios[index]] for index, row in there.items() if index}


def _spread(values: list[float], spec: str) -> str:
    """Least, median, greatest."""
    return " / ".join(format(value, spec) for value in (min(values), statistics.median(values), max(values))) if values else ""


def machine() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, {platform.machine()}, load of the last 1, 5, 15 minutes {load}"


def main(config: Config) -> None:
    print(config)
    packages = ["jax", "optimistix", "lineax"]
    if has_torch():
        packages += ["torch", "torchdeq"]
    else:
        print("PyTorch or torchdeq is not installed, so their rows are missing: closedform[benchmark] brings both.")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages), machine(), sep="; ")
    print("Every spread is min / median / max.")
    context, goals = multiprocessing.get_context("spawn"), []
    pools = {
        name: ProcessPoolExecutor(1, context, start_worker, (config.threads,)) for name in packages if name in ("jax", "torch")
    }
    try:
        data = problem(config)
        exact = exact_gradients(data)
        for method, goal in GOALS.items():
            found = compare(method, data, exact, pools, config) if method in config.methods else {}
            goals += [(f"{name} over A", ratios, goal) for name, ratios in found.items() if name.startswith("torchdeq")]
    finally:
        for pool in pools.values():
            pool.shutdown()
    print(f"\n{machine()}\n\nGoals (the median counts)")
    for label, values, goal in goals:
        median = statistics.median(values)
        print(f"{label:<40}{_spread(values, '.2f'):>24}   >= {goal:g} {'reached' if median >= goal else 'short'}")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
