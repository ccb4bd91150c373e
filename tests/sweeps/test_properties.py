"""What holds for every config, every cut of a sweep and every kernel matrix, tried on what hypothesis thinks of."""

import itertools
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Annotated, Literal

import jax
import numpy as np
from annotated_types import Ge, MinLen
from hypothesis import given, settings
from hypothesis import strategies as st

from closedform.contract import Count, Fraction, NonNegative, Positive, Static, check
from closedform.sweeps.contract import config as config_
from closedform.sweeps.contract.request import Request
from closedform.sweeps.contract.tracing import Identity
from closedform.sweeps.engine.plan import make_parts
from closedform.sweeps.results import store
from closedform.sweeps.results.merge import merged
from closedform.sweeps.results.stock import Stock
from closedform.theory.kernels import deep_kernels
from zoo import decay
from zoo.decay import Config as Decay


@dataclass(frozen=True)
class Inner:
    width: Count = 3
    kind: Literal["tanh", "linear"] = "tanh"
    hidden: Annotated[int, Ge(0)] | None = None

    def __post_init__(self):
        check(self)


@dataclass(frozen=True)
class Config:
    inner: Inner = field(default_factory=Inner)
    rate: Positive = 0.1
    share: Annotated[Fraction, Static] = 0.5
    levels: Annotated[tuple[NonNegative, ...], MinLen(1)] = (1.0,)
    name: str = "a"
    flag: bool = False

    def __post_init__(self):
        check(self)


numbers = st.floats(0, 1e300, allow_nan=False)
configs = st.builds(
    Config,
    inner=st.builds(
        Inner, width=st.integers(1), kind=st.sampled_from(["tanh", "linear"]), hidden=st.none() | st.integers(0, 10**9)
    ),
    rate=st.floats(1e-300, 1e300),
    share=st.floats(1e-300, 0.9999),
    levels=st.lists(numbers, min_size=1).map(tuple),
    name=st.text(),
    flag=st.booleans(),
)


@given(configs)
def test_a_config_survives_the_file_the_grid_and_the_command_line(config):
    values = config_.as_dict(config)
    assert config_.build(Config, json.loads(json.dumps(values))) == config
    assert config_.replace(Config(), values) == config
    for leaf in config_.leaves(config):
        text = leaf.value if isinstance(leaf.value, str) else json.dumps(leaf.value)
        assert config_.parse(leaf.path, text, leaf.annotation) == leaf.value
    floats = config_.traced_values(config)
    assert set(floats) == {"rate"}
    assert config_.with_traced(config, floats) == config


@given(st.integers(1, 40), st.integers(1, 60), st.integers(1, 7), st.integers(1, 1 << 27))
def test_parts_hold_every_run_once(num_cells, num_seeds, tasks, size):
    """Whatever the number of processes and the size of a result."""
    plan = made(num_cells, num_seeds)
    group = SimpleNamespace(cells=list(range(num_cells)), identity=Identity("one", "two"), result_bytes=lambda: size)
    nothing = np.zeros((num_cells, num_seeds), bool)
    parts = make_parts(plan, [group], tasks, Stock([], nothing, nothing, []), np.ones(num_cells, bool))
    runs = [run for part in parts for run in itertools.product(part.cells, part.seeds)]
    assert sorted(runs) == list(itertools.product(range(num_cells), range(num_seeds)))
    assert len({part.name for part in parts}) == len({part.path for part in parts}) == len(parts)


@given(st.data())
@settings(max_examples=50)
def test_pieces_of_a_sweep_make_the_whole_in_any_cut_and_order(data):
    num_cells, num_seeds = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    plan = made(num_cells, num_seeds)
    whole = np.arange(num_cells * num_seeds * 2.0).reshape(num_cells, num_seeds, 2)
    runs = data.draw(st.permutations(list(itertools.product(range(num_cells), range(num_seeds)))))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(runs)))) | {len(runs)})
    pieces = []
    for begin, end in itertools.pairwise([0, *cuts]):
        cells, seeds = (sorted({run[axis] for run in runs[begin:end]}) for axis in (0, 1))
        stored = np.array([[(cell, seed) in runs[begin:end] for seed in seeds] for cell in cells])
        array = np.where(stored[..., None], whole[np.ix_(cells, seeds)], np.nan)
        variables = {("simulation", "x"): (("cell", "seed", "side"), array)}
        names = [plan.cells[cell].name for cell in cells]
        block = store.Block("simulation", names, seeds, stored, variables, {"side": np.array(["left", "right"])}, {})
        pieces.append((block, list(range(len(cells))), cells))
    tree = merged(plan, data.draw(st.permutations(pieces)), (), {})
    np.testing.assert_array_equal(tree["simulation"]["x"].values, whole)
    assert tree["simulation"]["side"].values.tolist() == ["left", "right"]


def made(num_cells, num_seeds):

    from closedform.sweeps import find

    rates = np.linspace(0.1, 1.9, num_cells).tolist()
    return Request(find(decay), Decay(), {"rate": rates}, seeds=num_seeds, results="nowhere").plan()


vectors = st.lists(st.lists(st.floats(-3, 3), min_size=3, max_size=3), min_size=4, max_size=4)
gram = jax.jit(lambda x: deep_kernels.gram(x, depth=2))


@given(vectors, st.permutations(range(4)), st.integers(0, 2**31 - 1))
@settings(max_examples=30)
def test_kernel_matrices_are_symmetric_positive_and_blind_to_order_and_rotation(rows, order, seed):
    """Equal, opposite and zero rows too."""
    x = np.array(rows)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    kernels, moved = gram(x), gram(x[order] @ rotation)
    for kernel, other in zip(kernels, moved, strict=True):
        kernel, other = np.asarray(kernel), np.asarray(other)
        size = max(np.abs(kernel).max(), 1e-300)
        np.testing.assert_array_equal(kernel, kernel.T)
        assert np.linalg.eigvalsh(kernel).min() > -1e-7 * size  # an angle is known to the square root of rounding
        np.testing.assert_allclose(other, kernel[np.ix_(order, order)], atol=1e-6 * size)
