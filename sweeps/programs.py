"""The compiled programs of an experiment: what one run does, and how a block of runs is executed on this backend.

A *run* is one (cell, seed). Its functions are written here for a single run; `_over_runs` is the only place that knows how a
block of them is executed, and there are two ways with the same numbers:

* "map" (CPU): one run after the other inside the program, the whole step loop innermost, so that a run's state and
  activations stay in the cache of the core that works on it. The number of runs is an argument: one program serves a block
  of one as well as a full one, and a run's numbers are bitwise the same in any company.
* "vmap" (GPU, TPU): all runs of the block advance together, the run axis sharded over the local devices. The same numbers
  to rounding.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import config as config_
from .experiment import Experiment

Batching = Literal["map", "vmap"]


class Carry(NamedTuple):
    """What a run of dynamics carries from chunk to chunk; leaves lead with the run axis of the block."""

    state: Any
    alive: jax.Array  # False once a recorded state held a NaN; such a run is advanced no further
    history: Any  # Result, leaves (len(steps), *axes), NaN where not (or never) recorded


class Program:
    """A jitted block function, compiled once for the shapes it first meets and shared by threads."""

    def __init__(self, function: Callable, batching: Batching, donate: tuple[int, ...] = ()):
        shardings: dict[str, Any] = {"out_shardings": run_sharding()} if batching == "vmap" else {}
        self._jitted = jax.jit(function, donate_argnums=donate, **shardings)
        self._lock = threading.Lock()
        self._compiled: Any = None

    def __call__(self, *arguments: Any) -> Any:
        with self._lock:
            if self._compiled is None:
                self._compiled = self._jitted.lower(*arguments).compile()
        return self._compiled(*arguments)


class Programs(NamedTuple):
    """All programs of one experiment at one static config, each over a block of `capacity` runs.

    The leading argument `count` is the number of runs in the block; rows from there on are padding ("map" never computes
    them). `floats` holds the traced fields of the Config, `{path: (capacity,)}`.
    """

    start: Program  # (count, root key, seeds, floats) -> state, Carry or Result: init, init with an empty history, or simulate
    finish: Program | None  # (count, state, floats) -> Result; for one shot that draws
    advance: Program | None  # (carry, count, floats, steps, begin, end, row, row_end) -> Carry; for dynamics
    predictions: dict[str, Program]  # (count, state, floats) -> Result; conditional ones
    unconditional: dict[str, Program]  # (count, floats) -> Result; a "run" is a cell here


_KEPT = 64  # sets of programs that a process keeps, the least recently used going first
_cache: dict[Any, Programs] = {}


def programs(experiment: Experiment, config: Any, steps: np.ndarray | None, capacity: int, batching: Batching) -> Programs:
    """The programs for `config`'s static fields; asked for again, they are those already compiled."""
    contract = ("init", "step", "observe", "simulate")
    functions = tuple(getattr(experiment.module, name, None) for name in contract) + tuple(experiment.predictions.items())
    # steps enter advance as an argument, but a prediction may use their values
    key = (functions, config_.static_key(config), steps if steps is None else steps.tobytes(), capacity, batching)
    _cache[key] = _cache.pop(key, None) or _build(experiment, config, steps, capacity, batching)
    while len(_cache) > _KEPT:
        del _cache[next(iter(_cache))]
    return _cache[key]


def _build(experiment: Experiment, config: Any, steps: np.ndarray | None, capacity: int, batching: Batching) -> Programs:
    module = experiment.module
    mapped = partial(_over_runs, capacity=capacity, batching=batching)
    program = partial(Program, batching=batching)

    rows = 0 if steps is None else len(steps)

    def at(floats):
        return config_.with_traced(config, floats)

    def start(root, seed, floats):
        key = jax.random.fold_in(root, seed)
        if not experiment.drawn:
            return module.simulate(key, at(floats))
        state = module.init(key, at(floats))
        if steps is None:
            return state
        one = jax.eval_shape(lambda s: module.observe(s, at(floats)), state)
        history = jax.tree.map(lambda leaf: jnp.full((rows, *leaf.shape), jnp.nan, leaf.dtype), one)
        return Carry(state, jnp.asarray(True), history)

    def finish(state, floats):
        return module.simulate(state, at(floats))

    def advance(carry, floats, steps, begin, end, row, row_end):
        return jax.lax.cond(carry.alive, lambda: _advance(carry, at(floats), steps, begin, end, row, row_end), lambda: carry)

    def _advance(carry, config, steps, begin, end, row, row_end):
        def record(carry, row):
            alive = carry.alive & ~_has_nan(carry.state)
            seen = module.observe(carry.state, config)
            rows = jax.tree.map(lambda leaf: jnp.where(alive, leaf, jnp.nan).astype(leaf.dtype), seen)
            history = jax.tree.map(lambda all_rows, one: all_rows.at[row].set(one), carry.history, rows)
            return Carry(carry.state, alive, history)

        def to_next_record(row, position):
            carry, now = position
            records = row < row_end
            target = jnp.where(records, steps[jnp.minimum(row, rows - 1)], end)
            state = jax.lax.fori_loop(now, target, lambda _, s: module.step(s, config), carry.state)
            carry = carry._replace(state=state)
            return jax.lax.cond(records, lambda c: record(c, row), lambda c: c, carry), target

        # one pass a recorded row, and a last one that only steps on to the end of the chunk
        return jax.lax.fori_loop(row, row_end + 1, to_next_record, (carry, begin))[0]

    def conditional(function, state, floats):
        return function(state, at(floats)) if steps is None else function(state, at(floats), steps)

    def unconditional(function, floats):
        return function(at(floats)) if steps is None else function(at(floats), steps)

    def each_prediction(one_run: Callable) -> dict[str, Program]:
        return {name: program(partial(mapped, partial(one_run, f))) for name, f in experiment.predictions.items()}

    one_shot = experiment.drawn and not experiment.dynamics
    return Programs(
        start=program(lambda count, root, seeds, floats: mapped(partial(start, root), count, seeds, floats)),
        finish=program(partial(mapped, finish)) if one_shot else None,
        advance=program(
            lambda carry, count, floats, *chunk: mapped(
                lambda one, f: advance(one, f, *chunk), count, carry, floats, in_place=True
            ),
            donate=(0,),
        )
        if experiment.dynamics
        else None,
        predictions=each_prediction(conditional) if experiment.conditional else {},
        unconditional={} if experiment.conditional else each_prediction(unconditional),
    )


def run_sharding() -> jax.sharding.Sharding:
    """The leading (run) axis split over the local devices."""
    mesh = jax.sharding.Mesh(np.asarray(jax.local_devices()), ("run",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("run"))


def _over_runs(
    function: Callable, count: jax.Array, *blocks: Any, capacity: int, batching: Batching, in_place: bool = False
) -> Any:
    """Apply `function` (one run -> one result) to the first `count` runs of `blocks`; leaves lead with the run axis.

    With `in_place` the result has the structure of the first block and is written over it, run by run.
    """
    if batching == "vmap":
        return jax.vmap(function)(*blocks)

    def run(index, *blocks):
        return function(*jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False), blocks))

    def write(index, output):
        result = run(index, output, *blocks[1:]) if in_place else run(index, *blocks)
        return jax.tree.map(lambda block, leaf: jax.lax.dynamic_update_index_in_dim(block, leaf, index, 0), output, result)

    shapes = jax.eval_shape(run, 0, *blocks)
    output = blocks[0] if in_place else jax.tree.map(lambda leaf: _blank((capacity, *leaf.shape), leaf.dtype), shapes)
    return jax.lax.fori_loop(0, count, write, output)


def _blank(shape: tuple[int, ...], dtype: Any) -> jax.Array:
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0, impl="threefry2x32"), shape)
    return jnp.zeros(shape, dtype)


def _has_nan(tree: Any) -> jax.Array:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.any(jnp.stack([jnp.any(jnp.isnan(leaf)) for leaf in leaves])) if leaves else jnp.asarray(False)
