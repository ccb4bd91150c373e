"""The adversarial study: its prediction is the worst case by an independent solver too, and a weaker attack is noticed."""

from functools import partial
from types import SimpleNamespace

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from closedform.experiments.convex_relu import attacks as experiment
from closedform.models.fully_connected import convex_relu
from closedform.solvers import attacks
from closedform.sweeps import agrees, compare, find, sweep
from zoo import checks
from zoo.convex_problems import solve

QUICK = experiment.Config(num_samples=12, num_patterns=3, num_gates=12, width=8, num_steps=50)
KINDS = ("digits", "breast_cancer")


DRAWN = [KINDS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])]
every_kind = pytest.mark.parametrize("kind", DRAWN)


@pytest.fixture(scope="module", params=DRAWN)
def drawn(request):
    """A state, and what simulation and prediction make of it."""
    config = experiment.Config(**{**vars(QUICK), "data": request.param})
    with jax.enable_x64(True):
        state, predicted = drawn_at(config)
        return config, state, simulate(state, config), predicted


def drawn_at(config):
    state = jax.jit(lambda key: experiment.init(key, config))(jax.random.key(3))
    return state, jax.jit(lambda s: experiment.predict(s, config))(state)


def simulate(state, config):
    return jax.jit(lambda s: experiment.simulate(s, config))(state)


def check(simulated, predicted):
    for field, (relative, absolute, _) in experiment.TOLERANCE.items():
        found, expected = getattr(simulated, field), getattr(predicted, field)
        np.testing.assert_allclose(found, expected, rtol=relative, atol=absolute, err_msg=field)


@pytest.mark.slow
def test_the_attacks_attain_what_the_program_proves(drawn):
    _, _, simulated, predicted = drawn
    check(simulated, predicted)
    assert simulated.worst[1] <= simulated.worst[0] * (1 + 1e-12)  # PGD finds nothing beyond the corner of FGSM


@pytest.mark.slow
def test_the_table_agrees(tmp_path):
    result = sweep(experiment, QUICK, over={"data": KINDS}, seeds=3, results=tmp_path, progress=False)
    rows = compare(find("convex_relu/attacks"), result)
    assert len(rows) == 6
    assert agrees(rows)


WEAKER = {
    "wrong sign": lambda params, x, y, radius, *_, **__: 2 * x - attacks.fgsm(params, x, y, radius),
    "half the box": lambda params, x, y, radius, *_, **__: attacks.fgsm(params, x, y, radius / 2),
    "no attack": lambda params, x, y, radius, *_, **__: x,
}


@pytest.mark.slow
@pytest.mark.parametrize(("mistake", "attack"), [("wrong sign", "fgsm"), ("half the box", "pgd"), ("no attack", "fgsm")])
def test_a_mistaken_attack_is_noticed(mistake, attack, monkeypatch):
    """What it finds on the robust network is less than what the program says is there."""
    state, predicted = drawn_at(QUICK)
    monkeypatch.setattr(experiment, "attacks", SimpleNamespace(**{**vars(attacks), attack: WEAKER[mistake]}))
    with pytest.raises(AssertionError, match="margin"):
        check(simulate(state, QUICK), predicted)


@pytest.mark.slow
def test_the_worst_objective_notices_a_mistaken_attack_where_the_box_costs_something(monkeypatch):
    """Few points are separated with room for the box, whose worst hinge is then 0 whatever the attack: hence `margin`, and a
    weight decay here that leaves no room."""
    config = experiment.Config(**{**vars(QUICK), "weight_decay": 0.1, "radius": 0.2, "data": "breast_cancer"})
    state, predicted = drawn_at(config)
    monkeypatch.setattr(experiment, "attacks", SimpleNamespace(**{**vars(attacks), "fgsm": WEAKER["half the box"]}))
    fgsm, pgd = simulate(state, config).worst
    assert fgsm < predicted.worst[0] * (1 - 10 * experiment.TOLERANCE["worst"].relative)
    np.testing.assert_allclose(pgd, predicted.worst[1], rtol=experiment.TOLERANCE["worst"].relative)


def test_the_prediction_is_the_value_of_the_programs_by_another_solver(drawn):
    config, state, _, predicted = drawn
    x, y = (np.asarray(part) for part in state.train)
    active = np.asarray(convex_relu.patterns(state.gates, jnp.asarray(x)))[:, np.asarray(state.used)]
    values = []
    for box in (np.zeros(x.shape[1]), np.asarray(config.box(state.train[0]))):
        blocks = [[cp.Variable(x.shape[1]) for _ in range(active.shape[1])] for _ in (1, -1)]
        slopes = sum(
            sign
            * cp.multiply(np.tile(pattern[:, None], x.shape[1]), np.ones((len(x), 1)) @ cp.reshape(v, (1, x.shape[1]), "C"))
            for sign, side in zip((1, -1), blocks, strict=True)
            for pattern, v in zip(active.T, side, strict=True)
        )
        margin = cp.multiply(y, cp.sum(cp.multiply(x, slopes), axis=1)) - cp.abs(slopes) @ box
        penalty = sum(cp.norm(v, 2) for side in blocks for v in side)
        inside = [
            cp.multiply(2 * pattern - 1, x @ v) >= box @ cp.abs(v)
            for side in blocks
            for pattern, v in zip(active.T, side, strict=True)
        ]
        problem = cp.Problem(cp.Minimize(cp.sum(cp.pos(1 - margin)) / len(x) + config.weight_decay * penalty), inside)
        values.append(solve(problem))
    np.testing.assert_allclose([predicted.ordinary, predicted.worst[0]], values, rtol=2e-4)


def _best_ratio(x, side, box):
    """max over v of min_k side_k x_k.v / sum_i r_i |v_i|, by a linear program; box is 0 for the last input alone."""
    num_samples, dim = x.shape
    cost = np.zeros(2 * dim + 1)
    cost[-1] = -1
    heights = np.hstack([-side[:, None] * x, side[:, None] * x, np.ones((num_samples, 1))])
    rows = np.vstack([heights, np.r_[box, box, 0.0]])
    room = np.r_[np.zeros(num_samples), 1.0]
    return -linprog(cost, A_ub=rows, b_ub=room, bounds=[(0, None)] * (2 * dim) + [(None, None)], method="highs").fun


@pytest.mark.slow
@every_kind
def test_usable_gates_are_those_of_the_linear_program(kind):
    """No gate too many; those missed are within a few percent of the edge."""
    config = experiment.Config(data=kind)
    state = jax.jit(partial(experiment.init, config=config))(jax.random.key(0))
    x, box = state.train[0], config.box(state.train[0])
    gates = experiment.bisectors(jax.random.key(1), x, 40)
    found = np.asarray(jax.jit(experiment.robust_gates)(gates, x, box))
    side = 2 * np.asarray(convex_relu.patterns(gates, x)) - 1
    ratio = np.array([_best_ratio(np.asarray(x), column, np.asarray(box)) for column in side.T])
    assert not (found & (ratio < 1)).any()
    assert found[ratio > 1.08].all()
    assert 0 < found.mean() < 1  # some of either kind, or nothing was tested


def test_bisectors_part_the_two_points_and_are_as_far_from_either():
    x = jax.random.normal(jax.random.key(0), (2, 4)).at[:, -1].set(1)
    gates = experiment.bisectors(jax.random.key(1), x, 5)
    heights = x @ gates
    np.testing.assert_allclose(heights[0], -heights[1], rtol=1e-12)
    assert experiment.splits(gates, x).all()


def test_a_gate_that_all_points_share_splits_nothing():
    x = jnp.array([[0.3, 1.0], [0.7, 1.0]])
    gates = jnp.array([[0.0, 0.0, 1.0], [1.0, -1.0, -0.5]])
    np.testing.assert_array_equal(experiment.splits(gates, x), [False, False, True])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data", "mnist", "data must be 'digits' or 'breast_cancer', got 'mnist'"),
        ("radius", 0.0, "radius must be a positive number, got 0"),
        ("num_patterns", 61, "num_patterns must be at most num_gates = 60, got 61"),
    ],
)
def test_bad_settings_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        checks.config(experiment.Config, **{field: value})
