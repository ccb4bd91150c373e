"""The data of a program, what is refused, its linear map, and the loop that stops on a verified gap."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.fully_connected import convex_relu, two_layer
from closedform.solvers import admm, certificate, fista, growth, interior_point, losses, program, robust
from closedform.solvers.program import Bounds
from zoo import convex_problems as zoo
from zoo.checks import rejected


def _problem(seed=0, cones=True):
    x, y = zoo.random_data(7, 3, seed)
    gates = jnp.asarray(np.random.default_rng(seed).normal(size=(3, 5)))
    return (program.relu_program if cones else program.gated_program)(x, y, gates, 0.2)


# ---------------------------------------------------------------------------------------------------- what is refused

X, Y = np.random.default_rng(0).normal(size=(6, 2)), np.random.default_rng(1).normal(size=6)
GATES = np.array([[1.0, -0.3, 0.2], [0.5, 1.0, -1.0]])


def _network():
    return two_layer.Params(jnp.ones((2, 3)), jnp.ones(3))


def _with(array, index, value):
    array = array.copy()
    array[index] = value
    return array


BAD_DATA = {
    "nan in x": (_with(X, (4, 1), np.nan), Y, 0.1, r"x must be finite; x\[4, 1\] is nan"),
    "inf in x": (_with(X, (0, 0), -np.inf), Y, 0.1, r"x must be finite; x\[0, 0\] is -inf"),
    "nan in y": (X, _with(Y, 3, np.nan), 0.1, r"y must be finite; y\[3\] is nan"),
    "y too short": (X, Y[:5], 0.1, r"y must have the shape \(sample,\) = \(6,\).*got \(5,\)"),
    "y a column": (X, Y[:, None], 0.1, r"y must have the shape.*got \(6, 1\)"),
    "y a number": (X, 1.0, 0.1, r"y must have the shape.*got \(\)"),
    "x a vector": (X[:, 0], Y, 0.1, r"x must have the shape \(sample, dim\).*got \(6,\)"),
    "x empty": (X[:, :0], Y, 0.1, r"x must have the shape.*got \(6, 0\)"),
    "weight_decay zero": (X, Y, 0.0, "weight_decay must be positive and finite, got 0"),
    "weight_decay negative": (X, Y, -0.1, "weight_decay must be positive and finite, got -0.1"),
    "weight_decay nan": (X, Y, np.nan, "weight_decay must be positive and finite, got nan"),
    "weight_decay inf": (X, Y, np.inf, "weight_decay must be positive and finite, got inf"),
    "weight_decay a vector": (X, Y, np.array([0.1, 0.2]), r"weight_decay must be one number; got the shape \(2,\).*vmap"),
}
ENTRIES = {
    "relu_program": lambda x, y, weight_decay: program.relu_program(x, y, GATES, weight_decay),
    "gated_program": lambda x, y, weight_decay: program.gated_program(x, y, GATES, weight_decay),
    "certify": lambda x, y, weight_decay: certificate.certify(_network(), x, y, weight_decay),
    "grow": lambda x, y, weight_decay: growth.grow(jax.random.key(0), x, y, weight_decay),
}


@pytest.fixture
def no_solver(monkeypatch):
    """Whatever loops, as every solver and search does, is an error: nothing of them is traced, let alone compiled."""

    def started(*args, **kwargs):
        raise AssertionError("a solver was started")

    for name in ("while_loop", "fori_loop", "scan"):
        monkeypatch.setattr(jax.lax, name, started)


@pytest.mark.usefixtures("no_solver")
@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_refused_before_anything_compiles(entry, case):
    x, y, weight_decay, message = BAD_DATA[case]
    with pytest.raises(ValueError, match=message) as caught:
        ENTRIES[entry](x, y, weight_decay)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_solver")
def test_a_solver_would_have_been_seen():
    rejected(ENTRIES["certify"], X, Y, 0.1)


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        (GATES.T, r"gates must have the shape \(dim, pattern\) with dim = 2; got \(3, 2\)"),
        (GATES[0], r"gates must have the shape.*got \(3,\)"),
        (GATES[:, :0], r"gates must have the shape.*got \(2, 0\)"),
        (_with(GATES, (0, 1), np.nan), "gates must be finite"),
    ],
)
def test_bad_gates_are_refused(gates, message):
    for make in (program.relu_program, program.gated_program):
        with pytest.raises(ValueError, match=message):
            make(X, Y, gates, 0.1)


@pytest.mark.usefixtures("no_solver")
def test_wrong_labels_are_refused_by_every_solver_of_the_logistic_loss():
    x, y = zoo.random_data(6, 2, labels=True)
    wrong = (1 + y) / 2
    problem = program.relu_program(x, wrong, GATES, 0.1)
    calls = [
        lambda: interior_point.solve(problem, cones=True, loss=losses.logistic),
        lambda: fista.solve(problem, cones=False, loss=losses.logistic),
        lambda: fista.scp(jnp.asarray(GATES), x, wrong, 0.1, loss=losses.logistic),
        lambda: certificate.certify(_network(), x, wrong, 0.1, loss=losses.logistic),
        lambda: growth.grow(jax.random.key(0), x, wrong, 0.1, loss=losses.logistic),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="labels y of -1 and"):
            call()


@pytest.mark.usefixtures("no_solver")
def test_a_network_of_the_wrong_kind_is_refused():
    with pytest.raises(ValueError, match=r"network has inputs of dimension 3, x has the shape \(6, 2\)"):
        certificate.certify(two_layer.Params(jnp.ones((3, 4)), jnp.ones(4)), X, Y, 0.1)
    with pytest.raises(ValueError, match="parameters of the network must be finite"):
        certificate.certify(two_layer.Params(jnp.full((2, 4), jnp.nan), jnp.ones(4)), X, Y, 0.1)


def test_integers_and_single_precision():
    whole = np.array([[1, 0], [2, -1]])
    problem = program.gated_program(whole, whole[0], whole, 1)
    assert {leaf.dtype for leaf in problem} == {jnp.dtype("float64")}
    x, y = (array.astype(jnp.float32) for array in zoo.random_data(4, 2))
    problem = program.relu_program(x, y, jnp.eye(2), 0.1)
    assert {leaf.dtype for leaf in problem} == {jnp.dtype("float32")}


SOLVERS = {
    "interior_point": (interior_point, lambda problem, rtol: interior_point.solve(problem, cones=True, rtol=rtol)),
    "gated": (interior_point, lambda problem, rtol: interior_point.solve(problem, cones=False, rtol=rtol)),
    "fista": (fista, lambda problem, rtol: fista.solve(problem, cones=True, rtol=rtol)),
    "fista.path": (fista, lambda problem, rtol: fista.path(problem, [0.3, 0.1], cones=False, rtol=rtol)),
    "fista.scp": (fista, lambda problem, rtol: fista.scp(jnp.eye(2), problem.x, problem.y, problem.weight_decay, rtol=rtol)),
    "admm": (admm, lambda problem, rtol: admm.solve(problem, rho=0.2, rtol=rtol)),
    "robust": (robust, lambda problem, rtol: robust.solve(problem, 0.0, rtol=rtol, loss=robust.squared)),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_is_traced_once_for_all_programs_of_one_shape(name, monkeypatch):
    """Other numbers, another weight decay, another tolerance: what is compiled is found again. Traced only, so nothing is."""
    module, solve = SOLVERS[name]
    chex.clear_trace_counter()
    monkeypatch.setattr(module, "init", chex.assert_max_traces(module.init, 1))
    problem = program.relu_program(X, Y, GATES, 0.1)
    for scale, rtol in ((1.0, 1e-3), (2.0, 1e-4)):
        jax.eval_shape(lambda one, rtol=rtol: solve(one, rtol), problem._replace(y=scale * problem.y))
    wider = program.relu_program(np.tile(X, (2, 1)), np.tile(Y, 2), GATES, 0.1)
    with pytest.raises(AssertionError, match="traced"):  # a trace would have been seen
        jax.eval_shape(lambda one: solve(one, 1e-3), wider)


# -------------------------------------------------------------------------------------------------------- the program


def test_relu_program_has_every_pattern_with_either_sign():
    problem = _problem()
    gates = np.random.default_rng(0).normal(size=(3, 5))
    active = np.asarray(problem.x) @ gates >= 0
    np.testing.assert_array_equal(problem.active, np.concatenate([active, active], axis=1))
    np.testing.assert_array_equal(problem.sign, [1] * 5 + [-1] * 5)
    gated = _problem(cones=False)
    np.testing.assert_array_equal(gated.active, active)
    np.testing.assert_array_equal(gated.sign, np.ones(5))


def dense_map(problem):
    """F = [.., sign_b D_b X, ..], sample x (block dim)."""
    x, active, sign = (np.asarray(array) for array in (problem.x, problem.active, problem.sign))
    return np.concatenate([sign[b] * active[:, b, None] * x for b in range(sign.size)], axis=1)


def assert_linear_map(outputs_fn, pulled_fn, kernel_fn):
    problem = _problem()
    F = dense_map(problem)
    weights, nu = np.random.default_rng(1).normal(size=(3, 10)), np.random.default_rng(2).normal(size=7)
    np.testing.assert_allclose(outputs_fn(jnp.asarray(weights), problem), F @ weights.T.ravel(), rtol=1e-12)
    np.testing.assert_allclose(pulled_fn(jnp.asarray(nu), problem).T.ravel(), F.T @ nu, rtol=1e-12)
    np.testing.assert_allclose(kernel_fn(problem), F @ F.T, rtol=1e-12, atol=1e-13)


def test_linear_map_adjoint_and_kernel():
    right = program.outputs, program.pulled, program.kernel
    assert_linear_map(*right)
    for which, wrong in (
        (0, lambda u, p: ((p.x @ u) * p.active).sum(axis=1)),
        (1, lambda nu, p: p.x.T @ (p.active * nu[:, None])),
        (1, lambda nu, p: p.x.T @ ((2 * p.active - 1) * nu[:, None]) * p.sign[None]),
        (2, lambda p: (p.x @ p.x.T) * (p.active @ (p.active * p.sign[None]).T)),
        (2, lambda p: p.x @ p.x.T * p.sign.size),
    ):
        functions = list(right)
        functions[which] = wrong
        rejected(assert_linear_map, *functions)


@pytest.mark.slow
def test_a_switched_off_block_is_neither_seen_nor_paid_for():
    problem = _problem()
    off = problem._replace(sign=problem.sign.at[1].set(0.0))
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(3, 10)))
    without = problem._replace(active=jnp.delete(problem.active, 1, axis=1), sign=jnp.delete(problem.sign, 1))
    np.testing.assert_allclose(
        program.outputs(weights, off), program.outputs(jnp.delete(weights, 1, axis=1), without), rtol=1e-12
    )
    np.testing.assert_allclose(program.kernel(off), program.kernel(without), rtol=1e-12)


@pytest.mark.slow
def test_to_the_solvers_a_block_switched_off_is_one_that_is_there_twice():
    full = zoo.plain()
    b = int(jnp.argmax(program.norms(zoo.interior(full).weights)))
    other = (b + 1) % 16
    off = full._replace(sign=full.sign.at[b].set(0.0))
    twice = full._replace(active=full.active.at[:, b].set(full.active[:, other]), sign=full.sign.at[b].set(full.sign[other]))
    for solve, rtol in ((zoo.interior, 1e-8), (zoo.alternating, 1e-6)):
        one, same = solve(off), solve(twice)
        assert one.gap <= 10 * rtol * one.objective
        np.testing.assert_allclose(one.objective, same.objective, rtol=10 * rtol)
        assert one.objective > zoo.OPTIMUM + 1e-4  # the block was of use


# ----------------------------------------------------------------------------------------------------------- the loop


def _halving(state):
    return state / 2


def _measured(state):
    return Bounds(1 + state, 1 - state)


def test_run_stops_at_the_first_look_with_a_small_gap():
    for every, steps in ((1, 10), (3, 12)):
        state, bounds, taken = jax.jit(
            lambda start, every=every: program.run(_halving, _measured, start, rtol=2.5e-3, max_steps=100, every=every)
        )(1.0)
        assert taken == steps  # 2 * 2^-10 < 2.5e-3 (1 + 2^-10) < 2 * 2^-9
        assert state == 2.0**-steps
        np.testing.assert_array_equal(bounds, [1 + state, 1 - state])


def test_run_stops_at_max_steps_after_idling_and_on_nan():
    run = lambda step, measure, start, **kw: program.run(step, measure, start, **(dict(rtol=1e-9, max_steps=500) | kw))  # noqa: E731
    assert run(_halving, _measured, jnp.array(1.0), max_steps=7)[2] == 7
    idle = run(lambda s: s + 1, lambda s: Bounds(2 + 0 * s, 1 - 0 * s), jnp.array(0.0), patience=5)
    assert idle[2] == 5
    assert idle[0] == 0  # the first state of the smallest objective
    broken = run(lambda s: s * jnp.where(s < 0.01, jnp.nan, 0.5), _measured, jnp.array(1.0))
    assert broken[2] == 8
    np.testing.assert_array_equal(broken[1], [1 + 2.0**-7, 1 - 2.0**-7])


def test_run_keeps_the_best_objective_and_the_best_bound_apart():
    objective, bound = jnp.array([9.0, 5.0, 3.0, 6.0, 4.0]), jnp.array([0.0, 2.0, -1.0, 1.0, 0.5])
    state, bounds, _ = program.run(
        lambda s: s + 1, lambda s: Bounds(objective[s], bound[s]), jnp.array(0), rtol=1e-3, max_steps=4
    )
    assert state == 2
    np.testing.assert_array_equal(bounds, [3, 2])


def test_history_looks_after_every_few_steps():
    seen = program.history(_halving, _measured, jnp.array(1.0), 6, every=2)
    np.testing.assert_array_equal(seen.objective, 1 + 4.0 ** -np.arange(1, 4))


@pytest.mark.slow
def test_network_of_a_solution():
    problem = zoo.plain()
    solution = zoo.interior(problem)
    network = program.network(solution, problem)
    np.testing.assert_allclose(zoo.network_objective(network, problem.x, problem.y, 0.1), solution.objective, rtol=1e-12)
    assert convex_relu.merge_collinear(network).a.size <= 9


@pytest.mark.usefixtures("no_solver")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(weight_decay=-0.1), "^program.weight_decay must be above 0 and finite, got -0.1"),
        (dict(weight_decay=0), "^program.weight_decay must be above 0"),
        (dict(weight_decay=np.nan), "^program.weight_decay must be above 0"),
        (dict(active=np.full((6, 6), 0.5)), "^program.active must be 0 or 1"),
        (dict(y=np.ones(5)), "^program.y must have the shape .* with sample = 6 as in program.x"),
        (dict(sign=2 * np.ones(6)), "^program.sign must be -1 or 0 or 1"),
    ],
)
def test_every_solver_refuses_a_bad_program(change, message):
    problem = program.relu_program(X, Y, GATES, 0.1)._replace(**change)
    for solve in (
        lambda: interior_point.solve(problem, cones=True),
        lambda: fista.solve(problem, cones=False),
        lambda: fista.path(problem, [0.2, 0.1], cones=False),
        lambda: admm.solve(problem),
        lambda: robust.solve(problem, 0.0),
    ):
        with pytest.raises(ValueError, match=message):
            solve()


@pytest.mark.usefixtures("no_solver")
def test_bad_settings_are_refused():
    problem = program.relu_program(X, Y, GATES, 0.1)
    labels = problem._replace(y=np.sign(Y))
    calls = {
        "rtol must be at least 0, got -1": lambda: interior_point.solve(problem, cones=True, rtol=-1),
        "rtol must be at least 0, got nan": lambda: admm.solve(problem, rtol=np.nan),
        "max_steps must be at least 0, got -1": lambda: fista.solve(problem, cones=False, max_steps=-1),
        "max_steps must be a whole number": lambda: robust.solve(problem, 0.0, max_steps=2.5),
        "rho must be above 0 and finite, got 0": lambda: admm.solve(problem, rho=0),
        "dual_step must be above 0": lambda: admm.solve(problem, dual_step=-1.0),
        "weight_decays must be above 0": lambda: fista.path(problem, [0.1, 0.0], cones=False),
        "start must have the shape .dim, block. with": lambda: fista.solve(problem, cones=False, start=np.ones((2, 3))),
        "loss must be smooth here": lambda: interior_point.solve(labels, cones=True, loss=losses.hinge),
        "width must be at least 1, got 0": lambda: growth.grow(jax.random.key(0), X, Y, 0.1, width=0),
        "max_rounds must be at least 1": lambda: growth.grow(jax.random.key(0), X, Y, 0.1, max_rounds=0),
        "num_starts must be at least 1": lambda: certificate.certify(_network(), X, Y, 0.1, num_starts=0),
        "every must be at least 1, got 0": lambda: program.history(lambda s: s, lambda s: s, 0.0, 4, every=0),
    }
    for message, call in calls.items():
        with pytest.raises(ValueError, match=f"^{message}"):
            call()


def test_programs_of_lists_and_whole_numbers():
    whole = np.array([[1, 0], [0, 1], [2, 1]])
    for make in (program.relu_program, program.gated_program):
        one = make(whole.tolist(), [1, -2, 0], [[1, 1], [1, -1]], 1)
        other = make(jnp.asarray(whole, float), jnp.array([1.0, -2, 0]), jnp.array([[1.0, 1], [1, -1]]), 1.0)
        jax.tree.map(np.testing.assert_array_equal, one, other)
        assert {leaf.dtype for leaf in one} == {jnp.dtype("float64")}
