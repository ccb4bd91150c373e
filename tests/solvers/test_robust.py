"""The robust programs: the spec's numbers, cvxpy as oracle for three losses, the worst case on a grid, bad input."""

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.fully_connected import convex_relu, two_layer
from closedform.solvers import interior_point, losses, robust
from closedform.solvers.program import outputs as outputs_of
from closedform.solvers.program import relu_program
from closedform.tasks import waves
from closedform.theory.convex import convex_relu as theory
from zoo.convex_problems import solve


def problem(num_samples=12, weight_decay=0.1):
    x, _ = waves.points(num_samples, 2)
    return relu_program(x, np.sign(x[:, 0] * x[:, 1]), convex_relu.all_gates(x), weight_decay)


def oracle(program, radius, kind, confined=True, shrunk=True):
    """The program in cvxpy, with Clarabel; switches make the mutations."""
    x, y, active, sign, weight_decay = (np.asarray(leaf) for leaf in program)
    u = cvxpy.Variable((x.shape[1], sign.size))
    slopes = (active * sign) @ u.T
    f = cvxpy.sum(cvxpy.multiply(x, slopes), axis=1)
    reach = (cvxpy.abs(slopes) @ radius) if shrunk else 0 * y
    side = 2 * active - 1
    room = side @ np.diag(np.zeros(sign.size)) if not confined else np.ones((len(y), 1)) @ np.ones((1, sign.size))
    walls = cvxpy.multiply(side, x @ u) >= cvxpy.multiply(
        room, np.ones((len(y), 1)) @ cvxpy.reshape(radius @ cvxpy.abs(u), (1, sign.size), order="C")
    )
    margin = cvxpy.multiply(y, f) - reach
    value = {
        "hinge": lambda: cvxpy.sum(cvxpy.pos(1 - margin)) / len(y),
        "logistic": lambda: cvxpy.sum(cvxpy.logistic(-2 * margin)),
        "squared": lambda: cvxpy.sum_squares(cvxpy.abs(y - f) + reach) / 2,
    }[kind]()
    penalty = float(weight_decay) * cvxpy.sum(cvxpy.norm(u, 2, axis=0))
    return solve(cvxpy.Problem(cvxpy.Minimize(value + penalty), [walls]))


@pytest.mark.parametrize(
    ("weight_decay", "radius", "value"),
    [(0.01, 0.0, 0.083337), (0.01, 0.05, 0.099901), (0.01, 0.1, 0.147410), (0.1, 0.1, 0.799750)],
)
def test_fact_9_robust_hinge_values(weight_decay, radius, value):
    solution = robust.solve(problem(weight_decay=weight_decay), radius, rtol=1e-6, max_steps=20_000)
    assert float(solution.objective) == pytest.approx(value, abs=1e-5)
    assert float(solution.bound) == pytest.approx(value, abs=5e-5)
    assert float(solution.bound) <= value + 1e-6


def test_fact_9_the_clean_hinge_and_the_worst_case_on_a_grid():
    program = problem(weight_decay=0.1)
    solution = robust.solve(program, 0.1, rtol=1e-6)
    network = convex_relu.to_network(solution.weights, program.sign)
    penalty = 0.1 * jnp.sum(jnp.linalg.norm(solution.weights, axis=0))
    axis = np.linspace(-0.1, 0.1, 41)
    moves = jnp.asarray(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))
    outputs = jax.vmap(jax.vmap(two_layer.apply, (None, 0)), (None, 0))(network, program.x[:, None] + moves[None])
    worst = jnp.min(program.y[:, None] * outputs, axis=1)
    clean = program.y * outputs[:, len(moves) // 2]
    assert float(jnp.mean(jax.nn.relu(1 - clean))) == pytest.approx(0.3177, abs=1e-4)
    assert float(jnp.mean(jax.nn.relu(1 - worst)) + penalty) == pytest.approx(float(solution.objective), abs=1e-5)
    f, slopes = outputs_of(solution.weights, program), robust.slopes(solution.weights, program)
    margins = theory.worst_margin(f, slopes, program.y, 0.1)
    np.testing.assert_allclose(margins, worst, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hinge", "logistic", "squared"])
def test_every_loss_against_cvxpy_and_its_mutations(kind):
    program, radius = problem(8), np.array([0.08, 0.03])
    if kind == "squared":
        program = program._replace(y=jnp.asarray(waves.points(8, 2)[1]))
    solution = robust.solve(program, radius, loss=getattr(robust, kind), rtol=1e-6)
    value = oracle(program, radius, kind)

    def accepts(number):
        return abs(float(solution.objective) - number) < 1e-5 * abs(number) + 1e-6

    assert accepts(value)
    assert float(solution.bound) <= value * (1 + 1e-7) <= float(solution.objective) * (1 + 1e-5)
    assert not accepts(oracle(program, radius, kind, confined=False))
    assert not accepts(oracle(program, radius, kind, shrunk=False))
    assert not accepts(oracle(program, radius[::-1], kind))
    assert not accepts(oracle(program, radius / 2, kind))


@pytest.mark.slow
def test_without_a_box_it_is_the_relu_program():
    program = problem(8)
    for loss, plain in ((robust.logistic, losses.logistic), (robust.squared, losses.squared)):
        value = float(interior_point.solve(program, cones=True, loss=plain).objective)
        assert float(robust.solve(program, 0.0, loss=loss).objective) == pytest.approx(value, rel=2e-5)


def test_the_bound_is_never_above_the_optimum():
    program = problem(8)
    value = oracle(program, np.array([0.05, 0.05]), "hinge")
    factors, state = robust.prepare(program, 0.05), robust.init(program)
    step = jax.jit(lambda state: robust.step(state, factors))
    for _ in range(60):
        state = step(state)
        assert float(robust.measure(state, factors).bound) <= value + 1e-7


@pytest.mark.slow
def test_betas_at_once_equal_one_by_one():
    program, weight_decays = problem(6), jnp.asarray([0.05, 0.2])
    together = jax.vmap(lambda decay: robust.solve(program._replace(weight_decay=decay), 0.05, rtol=1e-5))(weight_decays)
    for index, weight_decay in enumerate(weight_decays):
        alone = robust.solve(program._replace(weight_decay=weight_decay), 0.05, rtol=1e-5)
        np.testing.assert_allclose(together.objective[index], alone.objective, rtol=1e-9)


@pytest.mark.parametrize(
    ("radius", "message"),
    [
        (5.0, r"radius is too large: row \d+ of x lies inside the box.*largest entry 0\.\d+"),
        (-0.1, "radius must be finite and at least 0; got"),
        (np.nan, "radius must be finite"),
        (np.ones(3), r"one for each of the 2 inputs; got the shape \(3,\)"),
    ],
)
def test_a_bad_radius_is_named(radius, message):
    with pytest.raises(ValueError, match=message):
        robust.solve(problem(6), radius)


@pytest.mark.slow
def test_a_zero_row_allows_no_box():
    program = problem(6)
    program = program._replace(x=program.x.at[2].set(0))
    with pytest.raises(ValueError, match="row 2 of x"):
        robust.solve(program, 0.01)
    assert np.isfinite(robust.solve(program, 0.0, max_steps=100).objective)


def test_labels_are_checked():
    program = problem(6)
    with pytest.raises(ValueError, match=r"labels y of -1 and \+1"):
        robust.solve(program._replace(y=program.y + 0.5), 0.01)
