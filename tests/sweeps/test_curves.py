"""What a figure gets beside a result: theory at more points than are simulated, and allowances (sweeps/curves.py)."""

from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from closedform.contract import Count, Positive, Tolerance, check
from closedform.sweeps import UsageError, allowance, curve, find, prediction, sweep, with_theory
from closedform.sweeps.contract.request import Request
from closedform.sweeps.curves import dense
from closedform.sweeps.engine.placeholder import placeholder


@dataclass(frozen=True)
class Config:
    rate: Positive = 1.0
    sizes: tuple[Count, ...] = (2, 40)
    kind: str = "plain"

    def __post_init__(self):
        check(self)
        if self.rate > 3:
            raise ValueError(f"rate must be at most 3, got {self.rate}")


class Result(NamedTuple):
    power: Float[Array, "size"]
    floor: Float[Array, ""]


def simulate(key, config):
    return jax.tree.map(lambda value: value + 0.01 * jax.random.normal(key, value.shape), predict(config))


def predict(config):
    return Result(jnp.asarray(config.sizes, float) ** config.rate, jnp.floor(jnp.asarray(config.rate)))


def module(**changes):
    made = ModuleType("curved")
    told = {"labels": lambda config: {"size": config.sizes}, "TOLERANCE": {"power": Tolerance(0.1, 0.2, reason="for the test")}}
    vars(made).update({"Config": Config, "Result": Result, "simulate": simulate, "predict": predict, **told, **changes})
    return made


CURVE = {"rate": 33, "sizes": 20}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    experiment = find(module(CURVE=CURVE))
    options = dict(over={"rate": (0.5, 1.0, 2.5)}, seeds=2, results=tmp_path_factory.mktemp("results"), progress=False)
    return experiment, sweep(experiment, **options)


def test_theory_is_evaluated_over_the_whole_range_and_at_every_simulated_value(swept):
    experiment, result = swept
    beside = with_theory(experiment, result)
    floor = curve(beside, "floor", "rate")
    assert floor.sizes["rate"] >= CURVE["rate"]
    assert set(result["simulation"]["rate"].values) <= set(floor["rate"].values)
    np.testing.assert_array_equal(floor, np.floor(floor["rate"]))
    power = curve(beside, "power", "size")  # of a field that lists the values of an axis, at every rate that was swept
    assert power.sizes["size"] >= CURVE["sizes"]
    np.testing.assert_allclose(power, (power["size"].astype(float) ** power["rate"]).transpose(*power.dims), rtol=1e-12)
    assert power["rate"].values.tolist() == [0.5, 1.0, 2.5]


def test_allowances_are_told_and_the_result_stays_as_it_was(swept):
    experiment, result = swept
    assert allowance(with_theory(experiment, result), "power") == (0.1, 0.2)
    assert allowance(result, "power") == (0.0, 0.0)
    assert "curves" not in result.children
    np.testing.assert_array_equal(curve(result, "floor", "rate"), prediction(result, "floor"))


@pytest.mark.parametrize("case", ["paired", "refused", "undeclared"])
def test_where_no_curve_can_be_had_the_result_is_drawn_without(case, tmp_path, monkeypatch):
    experiment = find(module(CURVE={} if case == "undeclared" else CURVE))
    over = {"rate": (1.0, 2.0), "sizes": ((2, 3), (2, 4))} if case == "paired" else {"rate": (1.0, 2.0)}
    result = placeholder(Request(experiment, None, over, case == "paired", 2, results=tmp_path).plan())
    if case == "refused":
        monkeypatch.setattr("closedform.sweeps.curves.dense", lambda values, number: (4.0, 5.0))
    said = []
    beside = with_theory(experiment, result, said.append)
    assert [line.partition(":")[0] for line in said] == ([experiment.name] * len(CURVE) if case == "refused" else [])
    assert "curves" not in beside.children
    assert allowance(beside, "power") == (0.1, 0.2)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"CURVE": {"rates": 9}}, r"rates.*rate"),
        ({"CURVE": {"kind": 9}}, r"CURVE\['kind'\]: the field holds 'plain'; allowed: a field of numbers"),
        ({"CURVE": {"rate": 1}}, r"CURVE\['rate'\]: got 1; allowed: a whole number of points, at least 2"),
        ({"CURVE": {"rate": True}}, r"CURVE\['rate'\]: got True; allowed"),
        ({"CURVE": {"rate": 2.5}}, r"CURVE\['rate'\]: got 2.5; allowed"),
        (
            {"CURVE": {"rate": 9}, "init": lambda key, config: key, "predict": lambda state, config: predict(config)},
            "CURVE: theory alone has no curve here",
        ),
    ],
)
def test_a_curve_that_cannot_be_is_refused_in_one_line(changes, line):
    with pytest.raises(UsageError, match=line) as caught:
        find(module(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "number", "wanted"),
    [
        ((0.0, 1.0, 3.0), 4, (0.0, 1.0, 2.0, 3.0)),
        ((1.0, 100.0), 3, (1.0, 10.0, 100.0)),
        ((2, 5), 50, (2, 3, 4, 5)),
        ((7.0,), 5, (7.0,)),
    ],
)
def test_values_are_even_on_the_axis_that_suits_them(values, number, wanted):
    np.testing.assert_allclose(dense(values, number), wanted, rtol=1e-12)
    assert all(isinstance(value, type(values[0])) for value in dense(values, number))


def test_steps_of_the_rank_stand_at_their_thresholds(tmp_path):
    """3 -> 2 at 3.866.., not halfway between the simulated 3.5 and 4: where the uncoupled optimum loses its third mode."""
    experiment = find("bilinear/weight_decay")
    result = placeholder(
        Request(experiment, experiment.default_config("quick"), experiment.grid, seeds=2, results=tmp_path).plan()
    )
    rank = curve(with_theory(experiment, result), "rank", "weight_decay")
    decays = rank["weight_decay"].values
    where = {int(rank[place]): (decays[place] + decays[place + 1]) / 2 for place in np.flatnonzero(np.diff(rank) != 0)}
    # a mode q of the largest m modes, with their trace T, vanishes where q - omega/4 + (T - sum of what is left)/2 = 0
    np.testing.assert_allclose(where[3], _vanishes(experiment.Config().spectrum, 3), atol=0.005)
    np.testing.assert_allclose(where[4], _vanishes(experiment.Config().spectrum, 4), atol=0.005)


def _vanishes(spectrum, rank):
    """The weight decay at which the optimum has no more than `rank - 1` modes left: by bisection of its own equations.

    E (f - y)^2 = 2 |A|^2 + (tr A)^2 for A = Q - Q*; with the penalty omega |Q|_*, a mode that is left solves
    4 (q - q*) + 2 tr A + omega sign(q) = 0.
    """
    target = np.array(spectrum)

    def count(omega):
        low, high = -2 * np.abs(target).sum(), 2 * np.abs(target).sum()
        for _ in range(200):  # tr A =: s is where the modes at that s have trace s
            s = (low + high) / 2
            shifted = target - s / 2
            modes = np.sign(shifted) * np.maximum(np.abs(shifted) - omega / 4, 0)
            low, high = (s, high) if np.sum(modes - target) > s else (low, s)
        return int(np.sum(np.abs(modes) > 1e-3))

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if count(middle) >= rank else (low, middle)
    return high
