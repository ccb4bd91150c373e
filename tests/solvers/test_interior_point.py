"""The interior-point method against known optima, Clarabel, and the honesty of its bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.fully_connected import convex_relu
from closedform.solvers import interior_point, losses, program
from closedform.theory.convex import convex_relu as theory
from zoo import convex_problems as zoo
from zoo.checks import rejected
from zoo.convex_problems import FACTS, OPTIMUM, WEIGHT_DECAYS, assert_honest

histories = jax.jit(
    lambda problem, loss, cones, num_steps: program.history(
        lambda s: interior_point.step(s, problem, loss),
        lambda s: (
            interior_point.measure(s, problem, loss),
            interior_point.measure(s, problem._replace(weight_decay=2 * problem.weight_decay), loss).bound,  # a mistake
        ),
        interior_point.init(problem, cones=cones, loss=loss),
        num_steps,
    ),
    static_argnums=(1, 2, 3),
)


# the relative gap asked for is 1e-8; with many idle blocks, rounding of the Newton matrix may stop the steps at 4e-8
CLOSED = 1e-7


@pytest.fixture(scope="module")
def solved():
    with jax.enable_x64(True):
        return zoo.solved()


# ------------------------------------------------------------------------------------------------------ known optima


def test_check_sums_of_the_data():
    sums = {(6, 2): (-0.086670, 2.820163), (8, 2): (-1.051088, 4.361198), (8, 3): (-1.608424, 4.361198)}
    for shape, expected in (sums | {(10, 3): (-0.285799, 5.361854)}).items():
        x, y = zoo.formula_data(*shape)
        np.testing.assert_allclose((x.sum(), y @ y / 2), expected, atol=1e-6)


def assert_optimum(value, shape, weight_decay):
    fact = FACTS[shape].optima[WEIGHT_DECAYS.index(weight_decay)]
    np.testing.assert_allclose(value, fact, atol=2e-5 if weight_decay > 0.01 else 0, rtol=0 if weight_decay > 0.01 else 1e-4)


@pytest.mark.parametrize("weight_decay", WEIGHT_DECAYS)
@pytest.mark.parametrize("shape", FACTS, ids=str)
def test_optima_of_the_facts(shape, weight_decay, solved):
    problem, solution = solved[shape, weight_decay]
    assert problem.sign.size == 2 * FACTS[shape].num_patterns
    assert_optimum(solution.objective, shape, weight_decay)
    assert -1e-12 < solution.gap <= CLOSED * solution.objective
    assert solution.steps <= 40  # 10 to 31 under nine ways of rounding
    d, blocks = shape[1], problem.sign.size
    weights = solution.weights[:d, :blocks]
    network = convex_relu.to_network(weights, problem.sign)
    value = zoo.network_objective(network, problem.x, problem.y, weight_decay)
    np.testing.assert_allclose(value, solution.objective, rtol=1e-7)  # the blocks switched off hold next to nothing
    # the point lies in the cones of the program: nothing is hidden in the network
    assert ((2 * problem.active - 1) * (problem.x @ weights)).min() > -1e-7


@pytest.mark.slow
def test_gated_optima_of_the_facts():
    solutions = zoo.gated_of_many(zoo.stacked([zoo.gated(shape) for shape in FACTS]))
    np.testing.assert_allclose(solutions.objective, [facts.gated for facts in FACTS.values()], atol=2e-5)
    assert np.all(solutions.gap <= CLOSED * solutions.objective)


@pytest.mark.parametrize(("shape", "weight_decay"), [((8, 2), 0.01), ((8, 2), 0.1), ((8, 3), 0.5), ((10, 3), 0.1)], ids=str)
def test_optimum_is_that_of_clarabel(shape, weight_decay, solved):
    problem, solution = solved[shape, weight_decay]
    optimum = zoo.clarabel(problem.x, problem.y, zoo.enumerate_patterns(problem.x), weight_decay)
    np.testing.assert_allclose(solution.objective, optimum, rtol=3e-8)
    assert_honest(solution, optimum)


WRONG = {
    "no 1/2": (3.686723, lambda x, y, p: zoo.clarabel(x, y, p, 0.1, unhalved=True)),
    "weight_decay/2": (1.843361, lambda x, y, p: zoo.clarabel(x, y, p, 0.05)),
    "weight_decay/2, our solver": (1.843361, lambda x, y, p: zoo.interior(zoo.plain(weight_decay=0.05)).objective),
    "l1 for l2": (2.342432, lambda x, y, p: zoo.clarabel(x, y, p, 0.1, order=1)),
    "no cones": (0.734747, lambda x, y, p: zoo.clarabel(x, y, p, 0.1, cones=False)),
    "no cones, our solver": (0.734747, lambda x, y, p: zoo.accelerated(zoo.gated((8, 2)), cones=False).objective),
}


@pytest.mark.parametrize("variant", WRONG)
def test_wrong_variants_have_their_own_values_and_are_rejected(variant):
    value, solve = WRONG[variant]
    x, y = zoo.formula_data(8, 2)
    wrong = solve(x, y, zoo.enumerate_patterns(x))
    np.testing.assert_allclose(wrong, value, atol=2e-6)
    rejected(assert_optimum, wrong, (8, 2), 0.1)


def test_zero_network_above_weight_decay_max():
    y = zoo.formula_data(8, 2)[1]
    weight_decay_max = FACTS[8, 2].weight_decay_max
    for weight_decay in (weight_decay_max + 1e-6, 3.0, 50.0):
        np.testing.assert_allclose(zoo.interior(zoo.plain(weight_decay=weight_decay)).objective, y @ y / 2, rtol=1e-7)
    assert zoo.interior(zoo.plain(weight_decay=0.99 * weight_decay_max)).objective < y @ y / 2 - 1e-5


def test_whitened_data_have_the_closed_form(solved):
    for weight_decay in (0.2, 0.8):
        expected = theory.whitened_optimum(jnp.array(zoo.WHITENED), weight_decay)
        np.testing.assert_allclose(solved["whitened", weight_decay][1].objective, expected, rtol=2e-8)


# ------------------------------------------------------------------------------------------------------ honest bounds


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weight_decay", "logistic", "cones"),
    [(0.3, False, True), (0.03, False, True), (0.2, True, True), (0.3, False, False), (0.03, False, False)],
)
def test_every_iterate_bounds_the_optimum(weight_decay, logistic, cones):
    x, y = zoo.random_data(7, 2, seed=int(100 * weight_decay), labels=logistic)
    loss = losses.logistic if logistic else losses.squared
    gates = convex_relu.all_gates(x)
    problem = (program.relu_program if cones else program.gated_program)(x, y, gates, weight_decay)
    optimum = zoo.clarabel(x, y, convex_relu.patterns(gates, x), weight_decay, cones=cones, logistic=logistic)
    seen, mistaken = jax.tree.map(np.asarray, histories(problem, loss, cones, 25))
    # beyond the rounding of its matrices, where `solve` has stopped, a step need not give numbers
    closed = int(np.argmax(seen.objective - seen.bound < 1e-8 * optimum)) + 1
    assert 5 < closed < 25
    seen = jax.tree.map(lambda values: values[:closed], seen)
    assert_honest(seen, optimum)
    assert seen.objective[-1] - seen.bound[-1] < 1e-8 * optimum
    rejected(assert_honest, seen._replace(bound=mistaken[:closed]), optimum)


def test_fewer_patterns_give_an_upper_bound_of_the_optimum():
    problem = zoo.plain()
    few, more = (problem._replace(sign=jnp.where(jnp.arange(32) % 16 < k, problem.sign, 0)) for k in (3, 8))
    values = [zoo.interior(part).objective for part in (few, more)]
    assert values[0] >= values[1] >= OPTIMUM - 1e-7
    assert values[0] > OPTIMUM + 1e-3


# --------------------------------------------------------------------------------------------------------- symmetries


def test_optimum_scales_as_it_should():
    """With weight_decay -> c weight_decay, y -> c y gives c^2 p* and x -> c x gives p*; rotations change nothing."""
    problem = zoo.plain()
    x, y = problem.x, problem.y
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(2, 2)))[0])
    for changed, factor in (
        (problem._replace(y=1e3 * y, weight_decay=problem.weight_decay * 1e3), 1e6),
        (problem._replace(y=1e-3 * y, weight_decay=problem.weight_decay * 1e-3), 1e-6),
        (problem._replace(x=100 * x, weight_decay=100 * problem.weight_decay), 1),
        (problem._replace(x=1e-2 * x, weight_decay=1e-2 * problem.weight_decay), 1),
        (problem._replace(x=x @ turn), 1),
        (problem._replace(y=-y), 1),  # v and w change places
        (program.Program(x[::-1], y[::-1], problem.active[::-1], problem.sign, problem.weight_decay), 1),
    ):
        solution = zoo.interior(changed)
        np.testing.assert_allclose(solution.objective, factor * OPTIMUM, rtol=3e-8)
        assert solution.gap <= 1e-8 * solution.objective


def test_duplicate_rows_and_zero_rows(solved):
    """A zero row costs y^2/2 and changes nothing else; a row twice is as one of sqrt(2) times the row and target."""
    np.testing.assert_allclose(solved["a zero row"][1].objective, OPTIMUM + 0.7**2 / 2, rtol=3e-8)
    twice, heavy = (solved[name][1] for name in ("a row twice", "a heavy row"))
    np.testing.assert_allclose(twice.objective, heavy.objective, rtol=2e-8)
    assert twice.objective > OPTIMUM + 1e-3
    for name in ("a zero row", "a row twice"):
        assert solved[name][1].gap <= CLOSED * solved[name][1].objective


def test_hopeless_and_trivial_data():
    problem = zoo.plain()
    np.testing.assert_allclose(zoo.interior(problem._replace(y=0 * problem.y)).objective, 0, atol=1e-12)
    blind = zoo.interior(problem._replace(x=0 * problem.x, active=jnp.ones_like(problem.active)))
    np.testing.assert_allclose(blind.objective, problem.y @ problem.y / 2, rtol=1e-8)
    assert blind.gap <= 1e-8 * blind.objective


# ---------------------------------------------------------------------------------------------------- jit and vmap


def test_vmap_over_weight_decay_y_and_x_equals_a_loop(solved):
    """Padded to one shape, moreover: every one is solved by itself as well, to the gap of either."""
    for name in [*(((8, 2), weight_decay) for weight_decay in WEIGHT_DECAYS), ("seed", 1), ("seed", 2)]:
        of, solution = solved[name]
        one = zoo.interior(of)
        np.testing.assert_allclose(solution.objective, one.objective, rtol=3e-8)
        np.testing.assert_allclose(solution.bound, one.bound, rtol=1e-7)
        f = program.outputs(solution.weights[:2, :32], of)
        np.testing.assert_allclose(f, program.outputs(one.weights, of), atol=1e-3)


@pytest.mark.slow
def test_a_program_of_its_own_equals_a_part_of_the_caller_s():
    problem = zoo.plain()
    eager, jitted = zoo.interior(problem), jax.jit(zoo.interior)(problem)
    np.testing.assert_allclose(eager.objective, jitted.objective, rtol=1e-10)
    f, g = (program.outputs(solution.weights, problem) for solution in (eager, jitted))
    np.testing.assert_allclose(f, g, atol=1e-8)  # the weights themselves are free along a flat direction
    assert eager.steps == jitted.steps


def test_a_loose_tolerance_and_one_beyond_rounding():
    problem = zoo.plain()
    short = zoo.interior(problem, rtol=1e-2)
    assert short.steps < zoo.interior(problem).steps
    assert 1e-8 < short.gap <= 1e-2 * short.objective
    assert_honest(short, OPTIMUM)
    endless = zoo.interior(problem, rtol=1e-17)
    assert endless.steps < 60
    assert endless.gap < 1e-9
