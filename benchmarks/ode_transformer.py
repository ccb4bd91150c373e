"""Gradients through an ODE of attention and MLP: ours beside diffrax called plainly, torchdiffeq, and a loop in PyTorch.

    python -m closedform.benchmarks.ode_transformer --pairs 5

x' = F(x) + G(x) of our ode_transformer, tanh, from time 0 to 1; a run computes the final state y of a batch and the gradient
of <c, y>, c random, with respect to all weights and the initial state, in float32. Sizes are dim 64 (32 tokens, batch 32, MLP
of 128: 75 million operations for a field of the whole batch) and dim 16 (16 tokens, batch 4, MLP of 32), with `heads` heads.
All rows have the same weights, states and c, drawn by NumPy, take one step for the whole batch at a time, and have `threads`
cores; PyTorch uses one thread where that is faster.

RK4, 8 steps, 32 field evaluations: A is our integrate, keeping for the gradient what every evaluation was given, and beside it
keeping the state before every step, a quarter of that; the plain scan is the same as one writes it first;
diffrax has no RK4, so its row has the classical tableau in its base class; torchdiffeq's rk4 is the 3/8 rule, of the same order
and cost; the loop is the classical rule by hand. dopri5 at rtol 1e-3, atol 5e-4: A is our solve with
recursive checkpoints; beside it its backward adjoint, diffrax with its default adjoint and its own choice of the first step,
torchdiffeq's odeint and odeint_adjoint. The field in all rows but ours is written as one writes it first.

`error` is |gradient - exact|/|exact|, the greatest over the weights and the state, exact being of the flow itself, by 256 steps
of RK4 in float64. Before any timing it must be below 1e-4 for RK4 and 0.1 for dopri5, and A's at most 1.1 times that of
PyTorch's loop or of torchdiffeq's odeint. `field` counts evaluations of the field: forward, and in all for the gradient, what
is computed again included (gradients through an evaluation come on top: as many as forward, or with a backward adjoint as many
as the rest).

Rows alternate, A B A C ..., and a ratio is a time over that of the A just before (`benchmarks.pairs`). PyTorch and torchdiffeq
(MIT licence) are the extra `benchmark`; without them the rest stands alone.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ..models.transformers import integrators, ode_transformer
from . import goals, pairs


@dataclass(frozen=True)
class Config:
    pairs: int = 5  # rounds; in each, every row is timed once, right after A
    dims: tuple[Literal[64, 16], ...] = (64, 16)
    heads: Literal[1, 2, 4, 8, 16] = 1
    threads: int = 2
    steps: int = 8  # of RK4
    rtol: float = 1e-3  # of dopri5; atol is half of it
    methods: tuple[Literal["rk4", "dopri5"], ...] = ("rk4", "dopri5")
    repeats: tuple[int, int] = (5, 50)  # runs in one timing, dim 64 and dim 16
    json: Path | None = None  # where the rows that goals name are kept

    def __post_init__(self):
        for name in ("pairs", "threads", "steps"):
            if getattr(self, name) < 1:
                raise SystemExit(f"{name} must be at least 1, got {getattr(self, name)}")
        if min(self.repeats) < 1:
            raise SystemExit(f"repeats must be at least 1 each, got {self.repeats}")
        if not 0 < self.rtol < 1:
            raise SystemExit(f"rtol must be above 0 and below 1, got {self.rtol}")


class Size(NamedTuple):
    dim: int
    tokens: int
    batch: int
    width: int


SIZES = {64: Size(64, 32, 32, 128), 16: Size(16, 16, 4, 32)}
ALLOWED = {"rk4": 1e-4, "dopri5": 0.1}  # error of the gradient

Arrays = dict[str, np.ndarray]


class Run(NamedTuple):
    gradient: Callable[[], Any]  # what is timed; has waited for its result
    arrays: Callable[[Any], Arrays]
    evaluations: Callable[[], tuple[int, int]]  # of the field: forward, and for the gradient


def problem(size: Size, config: Config) -> Arrays:
    draw, dim, width = np.random.default_rng(0).standard_normal, size.dim, size.width
    square = {name: draw((dim, dim)) / dim**0.5 for name in ("query", "key", "value", "output")}
    mlp = {"w_in": draw((dim, width)) / dim**0.5, "b_in": 0.1 * draw(width)}
    mlp |= {"w_out": draw((width, dim)) / width**0.5, "b_out": 0.1 * draw(dim)}
    state = {name: draw((size.batch, size.tokens, dim)) for name in ("x", "cotangent")}
    return {name: array.astype(np.float32) for name, array in (square | mlp | state).items()}


# JAX


Flow = Callable[[Callable, ode_transformer.Params, jax.Array], jax.Array]  # the final state, from a field and the rest


def our_field(params: ode_transformer.Params, x: jax.Array, heads: int) -> jax.Array:
    size = ode_transformer.Config(dim=x.shape[-1], width=params.w_in.shape[-1], num_heads=heads)
    return ode_transformer.joint_field(params, x, size)


def plain_field(params: ode_transformer.Params, x: jax.Array, heads: int) -> jax.Array:
    """As a user writes it."""
    query, key, value = (
        (x @ w).reshape(*x.shape[:-1], heads, -1).swapaxes(-2, -3) for w in (params.query, params.key, params.value)
    )
    weights = jax.nn.softmax(query @ key.mT / query.shape[-1] ** 0.5)
    attended = (weights @ value).swapaxes(-2, -3).reshape(x.shape) @ params.output
    return attended + jnp.tanh(x @ params.w_in + params.b_in) @ params.w_out + params.b_out


def scan_rk4(field: Callable, params: ode_transformer.Params, x: jax.Array, config: Config) -> jax.Array:
    """As a user writes it."""
    step = partial(integrators.rk4_step, partial(field, params), step_size=1 / config.steps)
    return jax.lax.scan(lambda x, _: (step(x), None), x, length=config.steps)[0]


def our_rk4(field: Callable, params: ode_transformer.Params, x: jax.Array, config: Config, keep: str) -> jax.Array:
    def step(f_fn: Callable, g_fn: Callable, x: jax.Array, step_size: Any) -> jax.Array:
        return integrators.rk4_step(f_fn, x, step_size)  # of the whole field, as one

    return integrators.integrate(step, partial(field, params), jnp.zeros_like, x, 1 / config.steps, config.steps, keep)


def our_dopri5(field: Callable, params: ode_transformer.Params, x: jax.Array, config: Config, adjoint: str) -> jax.Array:
    return integrators.solve(field, params, x, 1.0, "dopri5", config.rtol, adjoint=adjoint).state


class ClassicalRungeKutta(diffrax.AbstractERK):
    tableau: ClassVar = diffrax.ButcherTableau(
        c=np.array([0.5, 0.5, 1.0]),
        b_sol=np.array([1, 2, 2, 1]) / 6,
        b_error=np.zeros(4),
        a_lower=(np.array([0.5]), np.array([0.0, 0.5]), np.array([0.0, 0.0, 1.0])),
    )
    interpolation_cls: ClassVar[Callable] = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

    def order(self, terms: Any) -> int:
        return 4


def diffrax_rk4(field: Callable, params: ode_transformer.Params, x: jax.Array, config: Config) -> jax.Array:
    term = diffrax.ODETerm(lambda t, x, params: field(params, x))
    solution = diffrax.diffeqsolve(term, ClassicalRungeKutta(), 0.0, 1.0, 1 / config.steps, x, params)
    assert solution.ys is not None
    return solution.ys[0]


def diffrax_dopri5(field: Callable, params: ode_transformer.Params, x: jax.Array, config: Config) -> jax.Array:
    term = diffrax.ODETerm(lambda t, x, params: field(params, x))
    controller = diffrax.PIDController(rtol=config.rtol, atol=config.rtol / 2)
    solution = diffrax.diffeqsolve(term, diffrax.Dopri5(), 0.0, 1.0, None, x, params, stepsize_controller=controller)
    assert solution.ys is not None
    return solution.ys[0]


def prepare_jax(data: Arrays, config: Config, field: Callable, flow: Callable) -> Run:
    field = partial(field, heads=config.heads)
    params = ode_transformer.Params(**{name: jnp.asarray(data[name]) for name in ode_transformer.Params._fields})
    x, cotangent = jnp.asarray(data["x"]), jnp.asarray(data["cotangent"])
    calls: list[int] = []

    def count(one: Any) -> np.ndarray:
        calls.append(1)
        return np.ones((), one.dtype)

    def counted(params: Any, x: jax.Array) -> jax.Array:
        # the gradient needs this 1, so that what is computed again counts again
        one = jax.ShapeDtypeStruct((), x.dtype)
        return field(params, x) * jax.pure_callback(count, one, jax.lax.stop_gradient(x[0, 0, 0]))

    def loss(params: Any, x: jax.Array, cotangent: jax.Array, field: Callable) -> jax.Array:
        return jnp.vdot(cotangent, flow(field, params, x, config))

    def evaluations() -> tuple[int, int]:
        counts = []
        for function in (loss, jax.grad(loss, (0, 1))):
            calls.clear()
            jax.block_until_ready(jax.jit(partial(function, field=counted))(params, x, cotangent))
            counts.append(len(calls))
        return counts[0], counts[1]

    gradient = jax.jit(jax.grad(partial(loss, field=field), (0, 1)))
    return Run(
        lambda: jax.block_until_ready(gradient(params, x, cotangent)),
        lambda found: {**{name: np.asarray(leaf) for name, leaf in found[0]._asdict().items()}, "x": np.asarray(found[1])},
        evaluations,
    )


def exact_gradient(data: Arrays, config: Config, steps: int = 256) -> Arrays:
    """Of the flow, in float64."""
    with jax.enable_x64(True):
        double = {name: array.astype(np.float64) for name, array in data.items()}
        finer = Config(steps=steps, heads=config.heads)
        run = prepare_jax(double, finer, plain_field, scan_rk4)
        return run.arrays(run.gradient())


# PyTorch


def prepare_torch(data: Arrays, config: Config, flow: Callable) -> Run:
    import torch  # pyright: ignore[reportMissingImports]

    names = ode_transformer.Params._fields
    calls: list[int] = []

    class Field(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name in names:
                self.register_parameter(name, torch.nn.Parameter(torch.from_numpy(data[name].copy())))

        def forward(self, t: Any, x: Any) -> Any:
            calls.append(1)
            w: Any = self
            query, key, value = (
                (x @ one).unflatten(-1, (config.heads, -1)).transpose(-2, -3) for one in (w.query, w.key, w.value)
            )
            weights = torch.softmax(query @ key.mT / query.shape[-1] ** 0.5, -1)
            attended = (weights @ value).transpose(-2, -3).reshape(x.shape) @ w.output
            return attended + torch.tanh(x @ w.w_in + w.b_in) @ w.w_out + w.b_out

    field = Field()
    x = torch.from_numpy(data["x"]).clone().requires_grad_()
    cotangent = torch.from_numpy(data["cotangent"])
    variables = [*(getattr(field, name) for name in names), x]

    def forward():
        return (flow(field, x, config) * cotangent).sum()

    def gradient():
        return torch.autograd.grad(forward(), variables)

    fastest = pairs.fastest_threads(gradient, config.threads)

    def timed() -> Any:
        torch.set_num_threads(fastest)
        return gradient()

    def evaluations() -> tuple[int, int]:
        calls.clear()
        loss = forward()
        before = len(calls)
        torch.autograd.grad(loss, variables)
        return before, len(calls)

    def arrays(found: Any) -> Arrays:
        return {name: value.numpy() for name, value in zip((*names, "x"), found, strict=True)}

    return Run(timed, arrays, evaluations)


def torch_loop(field: Any, x: Any, config: Config) -> Any:
    h = 1 / config.steps
    for _ in range(config.steps):
        k1 = field(None, x)
        k2 = field(None, x + h / 2 * k1)
        k3 = field(None, x + h / 2 * k2)
        k4 = field(None, x + h * k3)
        x = x + h / 6 * (k1 + 2 * (k2 + k3) + k4)
    return x


def torchdiffeq_rk4(field: Any, x: Any, config: Config) -> Any:
    import torch  # pyright: ignore[reportMissingImports]
    import torchdiffeq  # pyright: ignore[reportMissingImports]

    return torchdiffeq.odeint(field, x, torch.tensor([0.0, 1.0]), method="rk4", options={"step_size": 1 / config.steps})[-1]


def torchdiffeq_dopri5(field: Any, x: Any, config: Config, function: str) -> Any:
    import torch  # pyright: ignore[reportMissingImports]
    import torchdiffeq  # pyright: ignore[reportMissingImports]

    times = torch.tensor([0.0, 1.0])
    return getattr(torchdiffeq, function)(field, x, times, method="dopri5", rtol=config.rtol, atol=config.rtol / 2)[-1]


# Workers and rows.


class Row(NamedTuple):
    name: str
    library: str
    prepare: Callable[[Arrays, Config], Run]


def _jax(name: str, field: Callable, flow: Callable) -> Row:
    return Row(name, "jax", partial(prepare_jax, field=field, flow=flow))


def _torch(name: str, flow: Callable) -> Row:
    return Row(name, "torch", partial(prepare_torch, flow=flow))


ROWS = {
    "rk4": [
        _jax("closedform integrate, stages kept", our_field, partial(our_rk4, keep="stages")),
        _torch("torchdiffeq odeint, 3/8 rule", torchdiffeq_rk4),
        _torch("torch loop", torch_loop),
        _jax("closedform integrate, steps kept", our_field, partial(our_rk4, keep="steps")),
        _jax("plain scan (jax)", plain_field, scan_rk4),
        _jax("diffrax, own tableau", plain_field, diffrax_rk4),
    ],
    "dopri5": [
        _jax("closedform solve, checkpoint", our_field, partial(our_dopri5, adjoint="checkpoint")),
        _torch("torchdiffeq odeint", partial(torchdiffeq_dopri5, function="odeint")),
        _torch("torchdiffeq odeint_adjoint", partial(torchdiffeq_dopri5, function="odeint_adjoint")),
        _jax("diffrax", plain_field, diffrax_dopri5),
        _jax("closedform solve, backsolve", our_field, partial(our_dopri5, adjoint="backsolve")),
    ],
}
PEERS = {"rk4": 2, "dopri5": 1}  # rows whose error A's may not exceed: the loop of the same rule, torchdiffeq's odeint
GOALS = {("rk4", 64): 1.2, ("rk4", 16): 6.0, ("dopri5", 64): 1.3, ("dopri5", 16): 6.0}  # of torchdiffeq's odeint over A
QUICK = ("--pairs", "1", "--dims", "16", "--methods", "rk4", "--repeats", "1", "1")


class First(NamedTuple):
    seconds: float  # to prepare and run once
    gradient: Arrays
    evaluations: tuple[int, int]


def prepare(key: tuple[str, int, int], data: Arrays, config: Config) -> First:
    method, _, index = key
    began = time.perf_counter()
    run = ROWS[method][index].prepare(data, config)
    pairs.keep(key, run.gradient)
    found = run.gradient()
    return First(time.perf_counter() - began, run.arrays(found), run.evaluations())


def compare(method: str, dim: int, data: Arrays, exact: Arrays, pools: pairs.Pools, config: Config) -> dict[str, list[float]]:
    rows = {index: row for index, row in enumerate(ROWS[method]) if row.library in pools}
    repeats = config.repeats[0 if dim == 64 else 1]
    firsts, errors = {}, {}
    for index, row in rows.items():
        firsts[index] = pools[row.library].submit(prepare, (method, dim, index), data, config).result()
        found = firsts[index].gradient
        errors[index] = max(float(np.linalg.norm(found[name] - exact[name]) / np.linalg.norm(exact[name])) for name in exact)
        if not errors[index] < ALLOWED[method]:
            raise RuntimeError(f"{row.name}: the gradient is off by {errors[index]:.0e}")
    if errors[0] > 1.1 * errors.get(PEERS[method], errors[0]):
        raise RuntimeError(f"the error of {rows[0].name}, {errors[0]:.1e}, is above that of {rows[PEERS[method]].name}")
    times = pairs.in_turn(pools, [(row.library, (method, dim, i)) for i, row in rows.items()], config.pairs, repeats)
    size = SIZES[dim]
    print(f"\n{method}, dim {dim}, {size.tokens} tokens, batch {size.batch}, width {size.width}, heads {config.heads}")
    print(f"{'row':<33}{pairs.HEAD}{'field':>10}{'error':>9}{'first s':>9}")
    for (index, row), time_of_row in zip(rows.items(), times, strict=True):
        label, first = row.name + ("" if index else " (A)"), firsts[index]
        counts = f"{first.evaluations[0]}, {first.evaluations[1]}"
        print(f"{label:<33}{pairs.columns(time_of_row)}", end="")
        print(f"{counts:>10}{errors[index]:>9.0e}{first.seconds:>9.2f}", flush=True)
    return {row.name: one.wall for row, one in list(zip(rows.values(), times, strict=True))[1:]}


def main(config: Config) -> None:
    print(config)
    packages = ["jax", "diffrax"]
    if absent := pairs.missing("torch", "torchdiffeq"):
        print(absent)
    else:
        packages += ["torch", "torchdiffeq"]
    print(pairs.versions(*packages), pairs.machine(), sep="; ")
    print("Every spread is min / median / max.")
    rows = []
    with pairs.workers([name for name in packages if name in ("jax", "torch")], config.threads) as pools:
        for dim in config.dims:
            data = problem(SIZES[dim], config)
            exact = pools["jax"].submit(exact_gradient, data, config).result()
            for method in config.methods:
                for name, ratios in compare(method, dim, data, exact, pools, config).items():
                    if name.startswith("torchdiffeq odeint") and "adjoint" not in name:
                        rows += goals.row(f"{method}, width {dim}: torchdiffeq over ours", ratios, ">=", GOALS[method, dim])
    print(f"\n{pairs.machine()}")
    goals.finish(rows, config.json)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
