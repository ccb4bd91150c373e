"""Many seeds of a two-layer linear network beside PyTorch, and its training curve in closed form beside diffrax.

    python -m closedform.benchmarks.deep_linear --pairs 5

Sweep: 256 seeds of an 8 x 8 network of depth 2 learn a map of the singular values 4, 2, 1 and 1/2 from Gaussian weights of
scale a, on the population loss, in float32, for the time 2.2 ln(1/a)/s of the weakest mode s. A is this package's engine,
result file and all. Beside it: all seeds at once by torch.bmm with the gradient written out, compiled (by torch.compile, in
chunks of steps; eager where that finds no compiler), and a Python loop over seeds with autograd, of which `loop_seeds` are run
and the time is multiplied.

Curve: W_2 W_1 of a balanced start at 1000 times, in float64. A is `two_layer_flow`, exact to rounding; diffrax integrates the
weights by Dopri8 with its loosest tolerance that is off by no more than `error` anywhere, once with its interpolant and once
with steps that end on every time: the former reaches 1e-9, the latter the error of A.

Rows alternate, A B A C ..., and a ratio is a time over that of the A just before (`benchmarks.pairs`). PyTorch is the extra
`benchmark`; without it the rest stands alone.
"""

import math
import tempfile
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float

from .. import sweeps
from ..models.linear import deep_linear
from ..theory.linear_networks import riccati
from . import goals, pairs

SPECTRUM = (4.0, 2.0, 1.0, 0.5)


@dataclass(frozen=True)
class Config:
    pairs: int = 5  # rounds; in each, every row is timed once, right after A
    seeds: int = 256
    dim: int = 8  # inputs, hidden units and outputs
    init_scale: float = 1e-2  # a
    learning_rate: float = 2e-3
    loop_seeds: int = 2  # of the Python loop
    num_times: int = 1000  # of the curve
    error: float = 1e-12  # largest, of diffrax's curve
    interpolated_error: float = 1e-9  # largest, of its curve by interpolation
    threads: int = 2
    json: Path | None = None  # where the rows that goals name are kept

    def __post_init__(self):
        for name in ("pairs", "seeds", "loop_seeds", "num_times", "threads"):
            if getattr(self, name) < 1:
                raise SystemExit(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.dim < len(SPECTRUM):
            raise SystemExit(f"dim must be at least {len(SPECTRUM)}, got {self.dim}")

    @property
    def duration(self) -> float:
        return 2.2 * math.log(1 / self.init_scale) / SPECTRUM[-1]

    @property
    def num_steps(self) -> int:
        return round(self.duration / self.learning_rate)

    @property
    def target(self) -> np.ndarray:
        return np.diag(np.pad(SPECTRUM, (0, self.dim - len(SPECTRUM))))


# The sweep. A run returns W_2 W_1 of every seed.


@dataclass(frozen=True)
class Training:
    """The Config of the engine's experiment."""

    dim: int = 8
    num_steps: int = 10
    init_scale: float = 1e-2
    learning_rate: float = 2e-3


class Trained(NamedTuple):
    product: Float[Array, "output dim"] | None


def _init(key: Array, config: Training) -> deep_linear.Params:
    shape = deep_linear.Config(config.dim, (config.dim,), config.dim, scheme="unit_gaussian", scale=1.0)
    return jax.tree.map(lambda w: config.init_scale * w, deep_linear.init(key, shape))


def _step(params: deep_linear.Params, config: Training) -> deep_linear.Params:
    target = jnp.diag(jnp.pad(jnp.asarray(SPECTRUM), (0, config.dim - len(SPECTRUM))))
    gradient = jax.grad(lambda p: jnp.sum((deep_linear.product(p) - target) ** 2) / 2)(params)  # white inputs
    return jax.tree.map(lambda w, slope: w - config.learning_rate * slope, params, gradient)


EXPERIMENT = types.ModuleType("deep_linear_sweep", __doc__)
vars(EXPERIMENT).update(
    Config=Training,
    Result=Trained,
    init=_init,
    step=_step,
    observe=lambda params, config: Trained(deep_linear.product(params)),
    steps=lambda config: np.array([config.num_steps]),
)


def engine(config: Config) -> Callable[[], np.ndarray]:
    training = Training(config.dim, config.num_steps, config.init_scale, config.learning_rate)

    def run() -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            result = sweeps.run(EXPERIMENT, training, seeds=config.seeds, results=folder, progress=False)
            return result.children["simulation"].to_dataset()["product"].values[:, 0]

    return run


def torch_together(config: Config) -> Callable[[], np.ndarray]:
    import torch  # pyright: ignore[reportMissingImports]

    target, chunk = torch.from_numpy(config.target.astype(np.float32)), 50

    def steps(first: Any, second: Any) -> tuple[Any, Any]:
        for _ in range(chunk):
            error = torch.bmm(second, first) - target
            first, second = (
                first - config.learning_rate * torch.bmm(second.transpose(1, 2), error),
                second - config.learning_rate * torch.bmm(error, first.transpose(1, 2)),
            )
        return first, second

    def start() -> Any:
        generator = torch.Generator().manual_seed(0)
        return config.init_scale * torch.randn(2, config.seeds, config.dim, config.dim, generator=generator)

    chunk_fn = torch.compile(steps)
    try:
        chunk_fn(*start())
    except Exception as error:  # no C++ compiler: the reason is printed, and the row is of eager PyTorch
        print(f"torch.compile: {type(error).__name__}, so that torch.bmm runs eagerly")
        chunk_fn = steps

    def run() -> np.ndarray:
        with torch.no_grad():
            first, second = start()
            for _ in range(max(1, round(config.num_steps / chunk))):
                first, second = chunk_fn(first, second)
            return torch.bmm(second, first).numpy()

    torch.set_num_threads(pairs.fastest_threads(run, config.threads, rounds=1))
    return run


def torch_loop(config: Config) -> Callable[[], np.ndarray]:
    import torch  # pyright: ignore[reportMissingImports]

    target = torch.from_numpy(config.target.astype(np.float32))

    def train(seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed)
        layers = config.init_scale * torch.randn(2, config.dim, config.dim, generator=generator)
        first, second = (w.clone().requires_grad_() for w in layers)
        for _ in range(config.num_steps):
            product = second @ first
            gradients = torch.autograd.grad(((product - target) ** 2).sum() / 2, (first, second))
            with torch.no_grad():
                for w, slope in zip((first, second), gradients, strict=True):
                    w -= config.learning_rate * slope
        return (second @ first).detach()

    def run() -> np.ndarray:
        torch.set_num_threads(1)
        return torch.stack([train(seed) for seed in range(config.loop_seeds)]).numpy()

    return run


# The curve. A run returns W_2 W_1 at every time.


def balanced_start(config: Config) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    u, values, vt = np.linalg.svd(config.init_scale**2 * rng.standard_normal((config.dim, config.dim)))
    return np.sqrt(values)[:, None] * vt, u * np.sqrt(values)


def closed_form(config: Config) -> Callable[[], np.ndarray]:
    jax.config.update("jax_enable_x64", True)
    time, target = jnp.linspace(0, config.duration, config.num_times), jnp.asarray(config.target)
    start = tuple(map(jnp.asarray, balanced_start(config)))
    program = jax.jit(lambda time, target, w1, w2: riccati.two_layer_flow(time, target, w1, w2).product)
    return lambda: np.asarray(program(time, target, *start))


def interpolated(config: Config) -> Callable[[], np.ndarray]:
    return integrated(config, config.interpolated_error, by_steps=False)


def integrated(config: Config, error: float | None = None, by_steps: bool = True) -> Callable[[], np.ndarray]:
    import diffrax

    allowed = config.error if error is None else error

    exact = closed_form(config)()
    time, target = jnp.linspace(0, config.duration, config.num_times), jnp.asarray(config.target)
    start = tuple(map(jnp.asarray, balanced_start(config)))

    def velocity(_: Any, weights: tuple[Array, Array], target: Array) -> tuple[Array, Array]:
        first, second = weights
        rest = target - second @ first
        return second.T @ rest, rest @ first.T

    @jax.jit
    def program(time: Array, target: Array, start: Any, tolerance: Any) -> Array:
        errors = diffrax.PIDController(rtol=tolerance, atol=tolerance * config.init_scale)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),
            diffrax.Dopri8(),
            t0=time[0],
            t1=time[-1],
            dt0=None,
            y0=start,
            args=target,
            saveat=diffrax.SaveAt(ts=time),
            stepsize_controller=diffrax.ClipStepSizeController(errors, step_ts=time) if by_steps else errors,
            max_steps=100_000,
        )
        assert solution.ys is not None
        first, second = solution.ys
        return second @ first

    tolerances = 10.0 ** -np.arange(4, 14, 0.5)
    good = (t for t in tolerances if np.abs(program(time, target, start, t) - exact).max() <= allowed)
    tolerance = next(good, None)
    if tolerance is None:
        raise RuntimeError(f"diffrax does not reach an error of {allowed:.0e}")
    return lambda: np.asarray(program(time, target, start, tolerance))


# Workers and rows.


class Row(NamedTuple):
    name: str
    library: str
    prepare: Callable[[Config], Callable[[], np.ndarray]]
    goal: float | None  # of its time over A's
    times: Callable[[Config], float] = lambda config: 1.0  # what its time is multiplied by


PARTS = {
    "sweep": (
        Row("closedform", "jax", engine, None),
        Row("torch.bmm, all seeds", "torch", torch_together, 1.0),
        Row("torch loop over seeds", "torch", torch_loop, 50.0, lambda config: config.seeds / config.loop_seeds),
    ),
    "curve": (
        Row("two_layer_flow", "jax64", closed_form, None),
        Row("diffrax at equal error", "jax64", integrated, 20.0),
        Row("diffrax, interpolated", "jax64", interpolated, None),
    ),
}
QUICK = ("--pairs", "1", "--seeds", "8", "--loop-seeds", "1", "--learning-rate", "0.05", "--num-times", "20")


def prepare(key: tuple[str, int], config: Config) -> float:
    """Keeps the run for timing; how far the singular values of its last product are from those of the map, at most."""
    part, index = key
    run = PARTS[part][index].prepare(config)
    pairs.keep(key, run)
    last = run() if part == "sweep" else run()[-1]
    return float(np.abs(np.linalg.svd(last)[1] - np.diag(config.target)).max())


def compare(part: str, pools: pairs.Pools, config: Config) -> list[goals.Row]:
    there = {index: row for index, row in enumerate(PARTS[part]) if row.library in pools}
    left = [pools[row.library].submit(prepare, (part, index), config).result() for index, row in there.items()]
    times = pairs.in_turn(pools, [(row.library, (part, i)) for i, row in there.items()], config.pairs, 1)
    print(f"\n{part}\n{'row':<26}{pairs.HEAD}{'from the map':>14}")
    judged = []
    for row, one, rest in zip(there.values(), times, left, strict=True):
        factor = row.times(config)
        scaled = pairs.Times(*([factor * value for value in values] for values in one))
        print(f"{row.name:<26}{pairs.columns(scaled)}{rest:>14.1e}", flush=True)
        if row.goal is not None:
            judged += goals.row(f"deep linear {part}: {row.name} over ours", scaled.wall, ">=", row.goal)
    return judged


def main(config: Config) -> None:
    print(config)
    libraries = ["jax", "jax64"]
    if absent := pairs.missing("torch"):
        print(absent)
    else:
        libraries.append("torch")
    print(pairs.versions("jax", "diffrax", *libraries[2:]), pairs.machine(), sep="; ")
    print("Every spread is min / median / max.")
    with pairs.workers(libraries, config.threads) as pools:
        judged = [row for part in PARTS for row in compare(part, pools, config)]
    print(f"\n{pairs.machine()}")
    goals.finish(judged, config.json)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
