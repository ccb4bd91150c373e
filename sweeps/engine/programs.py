"""The compiled programs of an experiment: what one run does, and how a block of runs is executed on this backend.

A *run* is one (cell, seed). Its functions are written here for a single run; `_over_runs` is the only place that knows how a
block of them is executed, and there are two ways, whose numbers are the same to rounding:

* "map" (CPU): one run after the other inside the program, the whole step loop innermost, so that a run's state and
  activations stay in the cache of the core that works on it; of a small network four runs side by side (contract/lanes.py).
  The number of runs is an argument: one program serves a block of one as well as a full one, and a run's numbers are bitwise
  the same whatever other runs are in its block.
* "vmap" (GPU, TPU): all runs of the block advance together, the run axis sharded over the local devices.

Every program is compiled ahead of time from shapes alone: before the first run exists it can be asked for the memory it needs.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..contract import config as config_
from ..contract.groups import Group
from ..contract.lanes import work
from ..contract.precision import KEYS, precision, stored, wants_float64
from ..contract.tracing import Traced, to_float64

Batching = Literal["map", "vmap"]

_CHECK_EVERY = 256  # steps: how long a run that became NaN can go on unnoticed between two records


class Carry(NamedTuple):
    """What a run of steps carries from chunk to chunk; leaves lead with the run axis of the block."""

    state: Any
    alive: jax.Array  # False once the state was seen to hold a NaN; nothing is recorded from then on
    history: Any  # Result or Curves, leaves (len(steps), *axes), NaN where not (or never) recorded; () if nothing is


# On a CPU, jaxlib before 0.11.1 hands the parts of a batch of decompositions to XLA's threads, and waits for them in one of
# these: two programs that do so can fill all threads with waiting, for ever. Of such programs only one runs at a time.
_WAITS = re.compile(r"custom_call @lapack_.*tensor<(?!(?:1x)*\d+x\d+x[a-z])(?:\d+x){3,}[a-z]")
_OLD = tuple(int(part) for part in version("jaxlib").split(".")[:2]) < (0, 11) or version("jaxlib").startswith("0.11.0")
_waiting = threading.Lock()


class Program:
    """A jitted block function, compiled once, ahead of time, for the shapes given here; shared by threads."""

    def __init__(self, function: Callable, arguments: tuple[Any, ...], float64: bool, **options: Any):
        self._jitted = jax.jit(function, **options)
        self._arguments, self._float64 = arguments, float64
        self._lock = threading.Lock()
        self._compiled: Any = None
        self._error: Exception | None = None
        self.waits = False  # for threads that other programs may hold: see _WAITS

    def compile(self) -> Program:
        """The program, compiled; an error of the compiler is kept and raised again at once."""
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._compiled is None:
                try:
                    with precision(self._float64):
                        lowered = self._jitted.lower(*self._arguments)
                        self._compiled = lowered.compile()
                    self.waits = _OLD and _WAITS.search(lowered.as_text()) is not None
                except Exception as error:
                    self._error = error
                    raise
        return self

    def __call__(self, *arguments: Any) -> Any:
        self.compile()
        with precision(self._float64):
            if not self.waits:
                return self._compiled(*arguments)
            with _waiting:
                return jax.block_until_ready(self._compiled(*arguments))

    def bytes_needed(self) -> int:
        """What one call holds at its peak on one device, as the compiler says; 0 where it says nothing."""
        said = self.compile()._compiled.memory_analysis()
        if said is None:
            return 0
        held = said.argument_size_in_bytes + said.output_size_in_bytes - said.alias_size_in_bytes
        return int(held + said.temp_size_in_bytes)


class Programs(NamedTuple):
    """All programs of one experiment at one static config, each over a block of `capacity` runs, a multiple of the lanes.

    The leading argument `count` is the number of runs in the block; rows from there on are padding ("map" never computes
    them). `floats` holds the traced fields of the Config, `{path: (capacity,)}`.
    """

    start: Program  # (count, root key, seeds, floats) -> state, Carry or Result: init, init with an empty history, or simulate
    finish: Program | None  # (count, state or Carry, floats) -> Result; for one shot that draws, and for training
    advance: Program | None  # (carry, count, floats, steps, begin, end, row, row_end) -> Carry; for what has steps
    predictions: list[Program | Plain]  # (count, state, floats) -> {side: Result}; conditional ones
    unconditional: list[Program | Plain]  # (count, floats) -> {side: Result}; a "run" is a cell here
    blank: Any  # shapes of what `start` returns

    def of_runs(self) -> list[Program]:
        """The programs that a block of runs goes through."""
        return [one for one in (self.start, self.finish, self.advance, *self.predictions) if isinstance(one, Program)]


# Sets of programs that a process keeps, the least recently used going first. A large program holds more than a hundred memory
# maps, a set has several, and Linux grants a process 65,530: beyond that it dies inside of LLVM.
_KEPT = 16
_cache: dict[Any, Programs] = {}
_cache_lock = threading.Lock()


def programs(group: Group, capacity: int, batching: Batching) -> Programs:
    """The programs of a group; asked for again for what was traced to the same, they are those already compiled."""
    identity = group.traced().identity
    key = (identity.simulation, identity.prediction, config_.static_key(group.config), capacity, batching)
    with _cache_lock:
        _cache[key] = _cache.pop(key, None) or _build(group, capacity, batching)
        while len(_cache) > _KEPT:
            del _cache[next(iter(_cache))]
        return _cache[key]


class Plain(NamedTuple):
    """A prediction that cannot be traced: called for one run (or cell) after the other with plain numbers and NumPy arrays."""

    group: Group
    side: str

    def __call__(self, count: Any, *arguments: Any) -> Any:
        *states, floats = arguments
        experiment = self.group.experiment
        function, tail = experiment.predictions[self.side], (self.group.steps,) if experiment.dynamics else ()
        results = []
        with precision(True):
            for row in range(int(count)):
                values = {path: float(column[row]) for path, column in floats.items()}
                drawn = (jax.tree.map(lambda leaf, row=row: np.asarray(leaf)[row], state) for state in states)
                result = function(*drawn, config_.with_traced(self.group.config, values), *tail)
                results.append(jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), result))
        return {self.side: jax.tree.map(lambda *leaves: np.stack(leaves), *results)}


def _build(group: Group, capacity: int, batching: Batching) -> Programs:
    experiment, config, steps, traced = group.experiment, group.config, group.steps, group.traced()
    functions, float64 = _in_lanes(traced) if batching == "map" else traced.functions, wants_float64(config)
    lanes = traced.lanes if batching == "map" else None
    mapped = partial(_over_runs, capacity=capacity, lanes=lanes)
    rows = 0 if steps is None else len(steps)

    def start(root, seed, floats):
        key = jax.random.fold_in(root, seed)
        if not experiment.drawn:
            return functions["simulate"](key, floats)
        state = functions["init"](key, floats)
        if steps is None:
            return state
        one = traced.functions["observe"].out if rows else ()
        history = jax.tree.map(lambda leaf: jnp.full((rows, *leaf.shape), jnp.nan, leaf.dtype), one)
        return Carry(state, jnp.asarray(True), history)

    def finish(end, floats):
        if not experiment.training:
            return functions["simulate"](end, floats)
        result = functions["simulate"](end.state, floats)
        return jax.tree.map(lambda leaf: jnp.where(end.alive, leaf, jnp.nan).astype(leaf.dtype), result)

    def advance(carry, floats, steps, begin, end, row, row_end):
        """From step `begin` to `end`, recording rows `row` to `row_end`; stops early at a NaN where runs go one by one."""

        def unfinished(position):
            carry, now, row = position
            going = (now < end) | (row < row_end)
            return going & carry.alive if lanes == 1 else going  # under vmap a varying condition copies all carries

        def onward(position):
            """To the next record, NaN check or end. Checks sit at fixed steps, so that chunks change nothing."""
            carry, now, row = position
            check = (now // _CHECK_EVERY + 1) * _CHECK_EVERY
            record = jnp.where(row < row_end, steps[jnp.minimum(row, rows - 1)], end) if rows else end
            target = jnp.minimum(jnp.minimum(record, check), end)
            state = jax.lax.fori_loop(now, target, lambda _, s: functions["step"](s, floats), carry.state)
            records = (row < row_end) & (target == record)
            alive = carry.alive & ~((records | (target == check)) & _has_nan(state))

            def write(history):
                seen = functions["observe"](state, floats)
                seen = jax.tree.map(lambda leaf: jnp.where(alive, leaf, jnp.nan).astype(leaf.dtype), seen)
                return jax.tree.map(lambda all_rows, one: all_rows.at[row].set(one), history, seen)

            history = jax.lax.cond(records, write, lambda history: history, carry.history) if rows else ()
            return Carry(state, alive, history), target, row + records.astype(row.dtype)

        return jax.lax.while_loop(unfinished, onward, (carry, begin, row))[0]

    # shapes of the arguments, and which of them lead with the run axis (those are sharded under vmap)
    def struct(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype)

    def floats_of(dtype):  # weakly typed: a traced float follows the arrays it meets
        return {path: jax.ShapeDtypeStruct((capacity,), dtype, weak_type=True) for path in config_.traced_values(config)}

    def program(function, led: tuple[bool, ...], *arguments, wide=float64, on=batching, **options):
        if on == "vmap":
            options["in_shardings"] = tuple(_sharding("run") if leads else _sharding() for leads in led)
            options["out_shardings"] = _sharding("run")
        return Program(function, arguments, wide, **options)

    number, own = struct((), np.int32), floats_of(np.float64 if float64 else np.float32)
    root = jax.eval_shape(lambda: jax.random.key(0, impl=KEYS))

    def start_all(count, root, seeds, floats):
        return mapped(partial(start, root), count, seeds, floats)

    starting = (number, root, struct((capacity,), np.uint32), own)
    with precision(float64):
        blank = jax.eval_shape(start_all, *starting)
    predictions: list[Program | Plain] = [Plain(group, side) for side, one in traced.predictions.items() if one is None]
    if sides := {side: one for side, one in traced.predictions.items() if one is not None}:

        def predict(state, floats):  # all in one program, which computes once what they share
            return {side: one(state, floats) for side, one in sides.items()}

        if experiment.conditional:
            with precision(True):
                drawn = jax.eval_shape(to_float64, blank.state if experiment.stepped else blank)
            each = partial(_over_runs, predict, capacity=capacity, lanes=lanes and 1)
            predictions.append(program(each, (False, True, True), number, drawn, floats_of(np.float64), wide=True))
        else:  # once a cell, on the CPU
            each = partial(_over_runs, partial(predict, ()), capacity=capacity, lanes=1)
            predictions.append(program(each, (False, True), number, floats_of(np.float64), wide=True, on="map"))
    finishes = experiment.drawn and not experiment.dynamics
    return Programs(
        start=program(start_all, (False, False, True, True), *starting),
        finish=program(partial(mapped, finish), (False, True, True), number, blank, own) if finishes else None,
        advance=program(
            lambda carry, count, floats, *chunk: mapped(
                lambda one, f: advance(one, f, *chunk), count, carry, floats, in_place=True
            ),
            (True, False, True, *[False] * 5),
            blank,
            number,
            own,
            struct((rows,), np.int32),
            *[number] * 4,
            donate_argnums=(0,),
        )
        if experiment.stepped
        else None,
        predictions=predictions if experiment.conditional else [],
        unconditional=[] if experiment.conditional else predictions,
        blank=blank,
    )


def _in_lanes(traced: Traced) -> Mapping[str, Callable]:
    """The functions of a run, of which those that do not suit lanes take one after the other."""
    if traced.lanes == 1:
        return traced.functions
    return {
        name: function if work(function.closed.jaxpr).suits else jax.custom_batching.sequential_vmap(function.__call__)
        for name, function in traced.functions.items()
    }


def _sharding(*axes: str) -> jax.sharding.Sharding:
    """The leading (run) axis split over the local devices; or, without axes, the same on each of them."""
    mesh = jax.sharding.Mesh(np.asarray(jax.local_devices()), ("run",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))


def _over_runs(
    function: Callable, count: jax.Array, *blocks: Any, capacity: int, lanes: int | None, in_place: bool = False
) -> Any:
    """Apply `function` (one run -> one result) to the first `count` runs of `blocks`; leaves lead with the run axis.

    `lanes` runs go side by side, the next of them after these; None: all runs of the block at once. With `in_place` the result
    has the structure of the first block and is written over it.
    """
    if lanes is None:
        return jax.vmap(function)(*blocks)
    several = function
    if lanes > 1:
        several = jax.vmap(function)
        blocks = jax.tree.map(lambda leaf: leaf.reshape(capacity // lanes, lanes, *leaf.shape[1:]), blocks)

    def run(index, *blocks):
        one = jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False), blocks)
        # in a block of one run XLA would see that it is always the same, and move work out of the loop: other roundings
        return several(*jax.lax.optimization_barrier((index, one))[1])

    def write(index, output):
        result = run(index, output, *blocks[1:]) if in_place else run(index, *blocks)
        return jax.tree.map(lambda block, leaf: jax.lax.dynamic_update_index_in_dim(block, leaf, index, 0), output, result)

    shapes = jax.eval_shape(run, 0, *blocks)
    output = blocks[0] if in_place else jax.tree.map(lambda leaf: _blank((capacity // lanes, *leaf.shape), leaf.dtype), shapes)
    output = jax.lax.fori_loop(0, -(-count // lanes), write, output)
    return output if lanes == 1 else jax.tree.map(lambda leaf: leaf.reshape(capacity, *leaf.shape[2:]), output)


def _blank(shape: tuple[int, ...], dtype: Any) -> jax.Array:
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0, impl=KEYS), shape)
    return jnp.zeros(shape, dtype)


def _has_nan(tree: Any) -> jax.Array:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.any(jnp.stack([jnp.any(jnp.isnan(leaf)) for leaf in leaves])) if leaves else jnp.asarray(False)


def padded(values: np.ndarray, capacity: int) -> np.ndarray:
    """The values of some runs, and for the rest of a block those of the first."""
    return np.concatenate([values, np.broadcast_to(values[:1], capacity - len(values))])


def first_of(sides: dict[str, Any], count: int) -> dict[str, Any]:
    """The results of the first runs of a block, as they are kept; the rest is padding."""
    return {side: jax.tree.map(lambda leaf: stored(leaf[:count]), result) for side, result in sides.items()}
