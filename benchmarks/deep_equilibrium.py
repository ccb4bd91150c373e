"""Forward and backward of a deep equilibrium block: ours beside torchdeq and a Picard loop in plain PyTorch.

    python -m closedform.benchmarks.deep_equilibrium --pairs 7

z = tanh(z W + c) for a batch of 256 states of 128 units, W Gaussian with spectral radius 0.9, c Gaussian of deviation 1/2, from
z = 0, in float32; a run computes the fixed point and the gradient of <z, cotangent> with respect to W and c. All rows have the
same arrays, drawn by NumPy, and `threads` cores; PyTorch uses one thread where that is faster.

Picard: A is our picard with the batch as one state and the gradient by the same iteration of the adjoint equation; torchdeq's
fixed_point_iter, implicit, does the same. Anderson: A is our anderson for each example on its own (vmap), forward and backward,
as is torchdeq's anderson with the settings that it has by default; beside it ours with the batch as one state. The loop is
Picard's iteration as one writes it first, with torchdeq's way to the gradient.

All rows are equally good, each by its loosest tolerances: no entry of |f(z) - z| at the answer is above `residual`, and the
gradient is off by no more than `error`, relative, in W as in c, against a dense solve in float64. The tolerances are found
before anything is timed, by one bisection over `TOLERANCES` forward, and one backward; the forward one is tightened where no
backward one would do. Residual and error are printed as achieved; `steps` counts the forward iterations, of the slowest
example.

Rows alternate, A B A C ..., and a ratio is a time over that of the A just before (`benchmarks.pairs`). PyTorch and torchdeq
(MIT licence) are the extra `benchmark`; without them the rest stands alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.tree_util import Partial

from ..solvers import fixed_point
from ..solvers.equilibrium_gradients import iterated
from . import goals, pairs


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
    json: Path | None = None  # where the rows that goals name are kept

    def __post_init__(self):
        for name in ("pairs", "batch", "width", "threads", "repeats"):
            if getattr(self, name) < 1:
                raise SystemExit(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("residual", "error"):
            if not getattr(self, name) > 0:
                raise SystemExit(f"{name} must be above 0, got {getattr(self, name)}")


Arrays = dict[str, np.ndarray]
Gradients = tuple[np.ndarray, np.ndarray]  # for W and c
MAX_STEPS = 500
TOLERANCES = tuple(2.0 ** (4 - power / 2) for power in range(16))  # in units of what is asked for, the loosest first


class Run(NamedTuple):
    state: Callable[[float], tuple[np.ndarray, int]]  # at a forward tolerance, and the steps
    gradient: Callable[[float, float], Any]  # at a forward and a backward tolerance: what is timed; has waited for its result
    arrays: Callable[[Any], Gradients]


def problem(config: Config) -> Arrays:
    draw = np.random.default_rng(0).standard_normal
    found = {
        "weight": 0.9 * draw((config.width, config.width)) / config.width**0.5,
        "drive": 0.5 * draw((config.batch, config.width)),
        "cotangent": draw((config.batch, config.width)),
    }
    return {name: array.astype(np.float32) for name, array in found.items()}


def exact_gradients(data: Arrays) -> Gradients:
    """In float64: the state by iteration, the adjoint equation by a dense solve for each example."""
    weight, drive, cotangent = (data[name].astype(float) for name in ("weight", "drive", "cotangent"))
    z, change = np.zeros_like(drive), np.inf
    for _ in range(5000):
        z, before = np.tanh(z @ weight + drive), z
        change = np.abs(z - before).max()
        if change < 1e-14:
            break
    if not change < 1e-12:
        raise RuntimeError(f"the state in float64 still changes by {change:.0e}")
    slope = 1 - z**2
    # with states as rows: adjoint = (adjoint * slope) W^T + cotangent
    matrices = np.eye(len(weight)) - weight * slope[:, None]
    injected = np.linalg.solve(matrices, cotangent[..., None])[..., 0] * slope
    return z.T @ injected, injected


def largest_residual(data: Arrays, state: np.ndarray) -> float:
    z = state.astype(float)
    return float(np.abs(np.tanh(z @ data["weight"].astype(float) + data["drive"]) - z).max())


def largest_error(gradients: Gradients, exact: Gradients) -> float:
    pairs_of = zip(gradients, exact, strict=True)
    return max(float(np.linalg.norm(one - right) / np.linalg.norm(right)) for one, right in pairs_of)


# JAX


def layer(z: jax.Array, args: tuple[jax.Array, jax.Array]) -> jax.Array:
    return jnp.tanh(z @ args[0] + args[1])


def prepare_jax(data: Arrays, solve: Callable, each: bool) -> Run:
    """The tolerances are arguments of the compiled program."""
    args, cotangent = (jnp.asarray(data["weight"]), jnp.asarray(data["drive"])), jnp.asarray(data["cotangent"])
    bounded = partial(solve, max_steps=MAX_STEPS)

    def found(args: Any, forward: Any, backward: Any) -> fixed_point.Solution:
        weight, drive = args

        def one(drive: jax.Array) -> fixed_point.Solution:
            adjoint = iterated(Partial(bounded, atol=backward))
            return bounded(layer, jnp.zeros_like(drive), (weight, drive), atol=forward, adjoint=adjoint)

        return jax.vmap(one)(drive) if each else one(drive)

    forward_program = jax.jit(found)
    program = jax.jit(jax.grad(lambda args, *tolerances: jnp.vdot(found(args, *tolerances).state, cotangent)))

    def state(forward: float) -> tuple[np.ndarray, int]:
        solution = forward_program(args, forward, forward)
        return np.asarray(solution.state), int(jnp.max(solution.num_steps))

    return Run(
        state,
        lambda forward, backward: jax.block_until_ready(program(args, forward, backward)),
        lambda gradients: (np.asarray(gradients[0]), np.asarray(gradients[1])),
    )


# PyTorch


_fastest: dict[str, int] = {}  # threads for each solver, tried once


def prepare_torch(data: Arrays, solver: str, threads: int) -> Run:
    import torch  # pyright: ignore[reportMissingImports]
    import torchdeq  # pyright: ignore[reportMissingImports]

    weight, drive = (torch.from_numpy(data[name].copy()).requires_grad_() for name in ("weight", "drive"))
    cotangent, start = torch.from_numpy(data["cotangent"]), torch.zeros(data["drive"].shape)

    def f(z: Any) -> Any:
        return torch.tanh(z @ weight + drive)

    def by_library(forward: float, backward: float) -> tuple[Any, int]:
        tolerances = {"f_tol": forward, "b_tol": backward, "f_max_iter": MAX_STEPS, "b_max_iter": MAX_STEPS}
        block = torchdeq.get_deq(f_solver=solver, b_solver=solver, ift=True, **tolerances)
        block.train()
        states, info = block(f, start)
        return states[-1], int(info["nstep"].max().item())

    def by_loop(forward: float, backward: float) -> tuple[Any, int]:
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

    solve = by_loop if solver == "loop" else by_library

    def state(forward: float) -> tuple[np.ndarray, int]:
        found, steps = solve(forward, forward)
        return found.detach().numpy(), steps

    def gradient(forward: float, backward: float) -> Any:
        return torch.autograd.grad((solve(forward, backward)[0] * cotangent).sum(), (weight, drive))

    def timed(forward: float, backward: float) -> Any:
        if solver not in _fastest:
            _fastest[solver] = pairs.fastest_threads(lambda: gradient(forward, backward), threads)
        torch.set_num_threads(_fastest[solver])
        return gradient(forward, backward)

    return Run(state, timed, lambda gradients: (gradients[0].numpy(), gradients[1].numpy()))


# Workers and rows.


class Row(NamedTuple):
    name: str
    library: str
    prepare: Callable[[Arrays], Run]
    unit: float  # its tolerance in units of an entry of f(z) - z: norms differ


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
QUICK = ("--pairs", "1", "--batch", "8", "--width", "16", "--repeats", "1")


class First(NamedTuple):
    residual: float
    error: float
    steps: int
    tolerances: tuple[float, float]  # forward, backward


def prepare(key: tuple[str, int], data: Arrays, exact: Gradients, config: Config) -> First:
    """The run with the loosest tolerances that are good enough, kept for timing."""
    method, index = key
    row = rows(method, config)[index]
    run, largest = row.prepare(data), config.residual * row.unit

    def residual(forward: float) -> float:
        return largest_residual(data, run.state(forward)[0])

    def error(forward: float, backward: float) -> float:
        return largest_error(run.arrays(run.gradient(forward, backward)), exact)

    def backward_of(forward: float) -> float:
        return loosest(lambda tolerance: error(forward, tolerance) <= config.error, largest)

    forward = loosest(lambda tolerance: residual(tolerance) <= config.residual, largest)
    backward = backward_of(forward)
    while forward > TOLERANCES[-1] * largest and not error(forward, backward) <= config.error:
        forward /= 2**0.5  # the state alone leaves too large an error
        backward = backward_of(forward)
    first = First(residual(forward), error(forward, backward), run.state(forward)[1], (forward, backward))
    if not (first.residual <= config.residual and first.error <= config.error):
        raise RuntimeError(f"{row.name}: residual {first.residual:.0e}, error of the gradient {first.error:.0e}")
    pairs.keep(key, partial(run.gradient, forward, backward))
    return first


def loosest(good: Callable[[float], bool], unit: float) -> float:
    """By bisection over TOLERANCES, of which the tightest is taken to be good."""
    low, high = 0, len(TOLERANCES) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if good(TOLERANCES[middle] * unit) else (middle + 1, high)
    return TOLERANCES[low] * unit


def compare(method: str, data: Arrays, exact: Gradients, pools: pairs.Pools, config: Config) -> dict[str, list[float]]:
    there = {index: row for index, row in enumerate(rows(method, config)) if row.library in pools}
    firsts = [pools[row.library].submit(prepare, (method, i), data, exact, config).result() for i, row in there.items()]
    times = pairs.in_turn(pools, [(row.library, (method, i)) for i, row in there.items()], config.pairs, config.repeats)
    print(f"\n{method}, batch {config.batch}, width {config.width}")
    print(f"{'row':<32}{pairs.HEAD}{'steps':>7}{'residual':>10}{'error':>9}{'tolerances':>20}")
    for index, row, first, one in zip(there, there.values(), firsts, times, strict=True):
        label = row.name + ("" if index else " (A)")
        tolerances = ", ".join(f"{value:.1e}" for value in first.tolerances)
        print(f"{label:<32}{pairs.columns(one)}", end="")
        print(f"{first.steps:>7}{first.residual:>10.1e}{first.error:>9.1e}{tolerances:>20}", flush=True)
    return {row.name: one.wall for row, one in list(zip(there.values(), times, strict=True))[1:]}


def main(config: Config) -> None:
    print(config)
    packages = ["jax", "optimistix", "lineax"]
    if absent := pairs.missing("torch", "torchdeq"):
        print(absent)
    else:
        packages += ["torch", "torchdeq"]
    print(pairs.versions(*packages), pairs.machine(), sep="; ")
    print("Every spread is min / median / max.")
    judged = []
    with pairs.workers([name for name in packages if name in ("jax", "torch")], config.threads) as pools:
        data = problem(config)
        exact = exact_gradients(data)
        for method in config.methods:
            for name, ratios in compare(method, data, exact, pools, config).items():
                if name.startswith("torchdeq"):
                    judged += goals.row(f"equilibrium, {method}: torchdeq over ours", ratios, ">=", GOALS[method])
    print(f"\n{pairs.machine()}")
    goals.finish(judged, config.json)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
