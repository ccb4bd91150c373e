"""The alternating direction method against its dense form, the recorded iterates, and Clarabel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.fully_connected import convex_relu
from closedform.solvers import admm, program
from zoo import convex_problems as zoo
from zoo.checks import rejected
from zoo.convex_problems import FACTS, OPTIMUM, WEIGHT_DECAYS, assert_honest

CONVEX = (4.118740, 2.204951, 1.914793, 1.950440, 1.985572)  # after 1..5 iterations at (8, 2), weight_decay = 0.1, rho = 1
NETWORK = (4.318232, 3.488824, 2.846613, 2.615472, 2.511841)


def problem(weight_decay=0.1, seed=0):
    x, y = zoo.formula_data(8, 2, seed)
    return program.relu_program(x, y, convex_relu.all_gates(x), weight_decay)


@jax.jit
def recorded(of, rho):
    """Convex and network objectives after 1, 2, .. 1000 iterations."""
    factors = admm.prepare(of, rho)

    def objectives(state):
        return admm.convex_objective(state, of), admm.network_objective(state, of)

    return program.history(lambda s: admm.step(s, factors), objectives, admm.init(of), 1000)


# ------------------------------------------------------------------------------------------------- the dense form


def dense_admm(of, rho, num_steps, dual_step=1.0, mistake="", start=None):
    """The iteration as it is written, with F, G and the (2 dim P) x (2 dim P) matrix in full; `mistake` names one."""
    x, y, active, sign, weight_decay = (np.asarray(array) for array in of)
    (n, dim), blocks = x.shape, sign.size
    F = np.concatenate([sign[b] * active[:, b, None] * x for b in range(blocks)], axis=1)
    G = np.zeros((n * blocks, dim * blocks))
    for b in range(blocks):
        G[n * b : n * (b + 1), dim * b : dim * (b + 1)] = (2 * active[:, b, None] - 1) * x
    lhs = np.eye(dim * blocks) + F.T @ F / rho + (0 if mistake == "no cones" else G.T @ G)
    if mistake == "no rho in the matrix":
        lhs = np.eye(dim * blocks) + F.T @ F + G.T @ G
    v, lam, s, nu = np.zeros(dim * blocks), np.zeros(dim * blocks), np.zeros(n * blocks), np.zeros(n * blocks)
    if start is not None:
        v, lam = (np.asarray(a).T.ravel() for a in (start.weights, start.dual_copy))
        s, nu = (np.asarray(a).T.ravel() for a in (start.slack, start.dual_slack))
    states = []
    for _ in range(num_steps):
        lam_in = -lam if mistake == "sign of lam" else lam
        u = np.linalg.solve(lhs, F.T @ y / rho + v - lam_in + G.T @ (s - nu))
        moved = (u + lam).reshape(blocks, dim)
        size = np.linalg.norm(moved, axis=1, keepdims=True)
        threshold = weight_decay / {"no rho in the threshold": 1, "weight_decay/2": 2 * rho}.get(str(mistake), rho)
        v = (moved * np.maximum(1 - threshold / np.maximum(size, 1e-300), 0)).ravel()
        s = np.maximum(G @ u + (0 if mistake == "slack without nu" else nu), 0)
        lam, nu = lam + dual_step * (u - v), nu + dual_step * (G @ u - s)
        f = F @ v
        relu = np.maximum(x @ v.reshape(blocks, dim).T, 0) @ sign
        penalty = weight_decay * np.linalg.norm(v.reshape(blocks, dim), axis=1).sum()
        objectives = np.sum((f - y) ** 2) / 2 + penalty, np.sum((relu - y) ** 2) / 2 + penalty
        states.append((v.reshape(blocks, dim).T, u.reshape(blocks, dim).T, s.reshape(blocks, n).T, *objectives))
    return states


def random_state(of, seed=0):
    rng = np.random.default_rng(seed)
    blocks, slacks = ((2, of.sign.size), (8, of.sign.size))
    draw = lambda shape: jnp.asarray(rng.normal(size=shape))  # noqa: E731
    return admm.State(draw(blocks), draw(blocks), abs(draw(slacks)), draw(blocks), -abs(draw(slacks)))


def assert_dense_step(step_fn, rho, dual_step=1.0):
    for of in (problem(), problem()._replace(sign=problem().sign * jnp.where(jnp.arange(32) % 5 == 0, 0, 1))):
        start = random_state(of)
        ours = step_fn(start, admm.prepare(of, rho), dual_step)
        weights, copy, slack, *_ = dense_admm(of, rho, 1, dual_step, start=start)[0]
        zoo.close((ours.weights, ours.copy, ours.slack), (weights, copy, slack), 1e-11)
        np.testing.assert_allclose(ours.dual_copy - start.dual_copy, dual_step * (copy - weights), atol=1e-11)
        side = np.asarray(2 * of.active - 1)
        np.testing.assert_allclose(
            ours.dual_slack - start.dual_slack, dual_step * (side * (np.asarray(of.x) @ copy) - slack), atol=1e-11
        )


@pytest.mark.parametrize(("rho", "dual_step"), [(1.0, 1.0), (0.1, 1.0), (3.0, 0.4)])
def test_a_step_is_that_of_the_dense_solve(rho, dual_step):
    step = jax.jit(admm.step)
    assert_dense_step(step, rho, dual_step)
    rejected(assert_dense_step, lambda s, factors, k: step(s, factors._replace(rho=2 * factors.rho), k), rho, dual_step)
    rejected(assert_dense_step, lambda s, factors, k: step(s, factors, 1.6 * k), rho, dual_step)
    rejected(
        assert_dense_step, lambda s, f, k: step(s, admm.prepare(f.program, 2 * f.rho)._replace(rho=f.rho), k), rho, dual_step
    )


# --------------------------------------------------------------------------------------------------- recorded iterates


def assert_recorded(convex, network):
    np.testing.assert_allclose(convex, CONVEX, atol=1e-4)
    np.testing.assert_allclose(network, NETWORK, atol=1e-4)


def test_first_iterates():
    convex, network = recorded(problem(), 1.0)
    assert_recorded(convex[:5], network[:5])
    by_hand = dense_admm(problem(), 1.0, 5)
    assert_recorded(*zip(*[state[3:] for state in by_hand], strict=True))
    np.testing.assert_allclose(convex[:5], [state[3] for state in by_hand], rtol=1e-11)


@pytest.mark.parametrize(
    "mistake", ["no cones", "sign of lam", "weight_decay/2", "slack without nu", dict(rho=0.5), dict(dual_step=0.5)], ids=str
)
def test_wrong_iterations_are_rejected(mistake):
    changed = mistake if isinstance(mistake, dict) else dict(mistake=mistake)
    states = dense_admm(**(dict(of=problem(), rho=1.0, num_steps=5) | changed))
    rejected(assert_recorded, *zip(*[state[3:] for state in states], strict=True))


@pytest.mark.parametrize("mistake", ["no rho in the matrix", "no rho in the threshold"])
def test_mistakes_that_rho_1_hides_are_rejected_by_the_optimum(mistake):
    of = problem()

    def assert_optimum(value):
        np.testing.assert_allclose(value, OPTIMUM, rtol=1e-3)

    assert_optimum(dense_admm(of, 0.1, 250)[-1][3])
    rejected(assert_optimum, dense_admm(of, 0.1, 250, mistake=mistake)[-1][3])


@pytest.mark.parametrize(("rho", "by_network", "by_convex"), [(1.0, 612, 604), (0.1, 228, 224)])
def test_iterations_to_four_digits(rho, by_network, by_convex):
    """The first iteration from which the relative error stays below 1e-4."""
    convex, network = recorded(problem(), rho)
    for values, expected in ((network, by_network), (convex, by_convex)):
        wrong = np.abs(np.asarray(values) / OPTIMUM - 1) > 1e-4
        assert abs(np.flatnonzero(wrong)[-1] + 2 - expected) <= 0.2 * expected


def test_objectives_are_those_of_numpy():
    of = problem()
    state = random_state(of)
    network = convex_relu.to_network(state.weights, of.sign)
    np.testing.assert_allclose(admm.network_objective(state, of), zoo.network_objective(network, of.x, of.y, 0.1), rtol=1e-12)
    f = (np.asarray(of.active) * np.asarray(of.x @ state.weights)) @ np.asarray(of.sign)
    expected = np.sum((f - np.asarray(of.y)) ** 2) / 2 + 0.1 * np.linalg.norm(state.weights, axis=0).sum()
    np.testing.assert_allclose(admm.convex_objective(state, of), expected, rtol=1e-12)


# -------------------------------------------------------------------------------------------------- bounds and optima


@jax.jit
def bounds_of_many_steps(of, rho):
    """Measures after 1, 2, .. 80 steps, and the bound of a mistaken weight_decay."""
    factors = admm.prepare(of, rho)
    tenfold = factors._replace(program=of._replace(weight_decay=10 * of.weight_decay))

    def look(state):
        return admm.measure(state, factors), admm.measure(state, tenfold).bound

    return program.history(lambda s: admm.step(s, factors), look, admm.init(of), 80)


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.01, 0.1, 10.0])
def test_every_iterate_bounds_the_optimum(rho):
    for seed, weight_decay in ((0, 0.1), (1, 0.4)):
        of = problem(weight_decay, seed)
        optimum = zoo.interior(of).objective
        if seed:
            np.testing.assert_allclose(optimum, zoo.clarabel(of.x, of.y, of.active[:, :16], weight_decay), rtol=3e-8)
        seen, mistaken = bounds_of_many_steps(of, rho)
        assert_honest(seen, optimum, 3e-8)
        assert np.max(seen.bound) > 0
        if rho == 10:  # small rho starts from bounds so low that not even this one is above the optimum within 80 steps
            rejected(assert_honest, seen._replace(bound=mistaken), optimum)


def test_optima_of_the_facts():
    for weight_decay, optimum in zip(WEIGHT_DECAYS[1:], FACTS[8, 2].optima[1:], strict=True):
        solution = zoo.alternating(problem(weight_decay))
        np.testing.assert_allclose(solution.objective, optimum, atol=2e-5)
        assert solution.gap <= 1e-6 * solution.objective
        network = program.network(solution, problem())
        value = zoo.network_objective(network, problem().x, problem().y, weight_decay)
        np.testing.assert_allclose(value, solution.objective, rtol=1e-10)
    # nothing to fit
    above = zoo.alternating(problem(3.0))
    np.testing.assert_allclose(above.objective, problem().y @ problem().y / 2, rtol=1e-6)


@pytest.mark.slow
def test_duplicate_rows_and_a_zero_row():
    x, y = zoo.formula_data(8, 2)
    with_zero = program.relu_program(jnp.concatenate([x, 0 * x[:1]]), jnp.append(y, 0.7), convex_relu.all_gates(x), 0.1)
    twice = program.relu_program(jnp.concatenate([x, x[2:3]]), jnp.append(y, y[2]), convex_relu.all_gates(x), 0.1)
    np.testing.assert_allclose(zoo.alternating(with_zero).objective, OPTIMUM + 0.7**2 / 2, rtol=2e-6)
    solution = zoo.alternating(twice)
    assert solution.gap <= 1e-6 * solution.objective
    optimum = zoo.clarabel(twice.x, twice.y, twice.active[:, :16], 0.1)
    np.testing.assert_allclose(solution.objective, optimum, rtol=2e-6)


# --------------------------------------------------------------------------------------------- vmap, jit, warm starts


@pytest.mark.slow
def test_vmap_over_weight_decay_y_and_x_equals_a_loop():
    programs = [problem(weight_decay) for weight_decay in (0.1, 0.5)] + [problem(seed=seed) for seed in (1, 2)]
    many = jax.jit(jax.vmap(lambda of: admm.solve(of, rho=0.1, rtol=1e-6)))(zoo.stacked(programs))
    for i, of in enumerate(programs):
        one = zoo.alternating(of)
        assert abs(int(many.steps[i]) - int(one.steps)) <= 10  # one look, by rounding
        np.testing.assert_allclose(many.objective[i], one.objective, rtol=1e-6)
        np.testing.assert_allclose(many.bound[i], one.bound, rtol=1e-6)


@pytest.mark.slow
def test_jit_equals_eager():
    eager, jitted = admm.solve(problem()), zoo.alternating(problem())
    np.testing.assert_allclose(eager.objective, jitted.objective, rtol=1e-8)
    np.testing.assert_allclose(eager.weights, jitted.weights, atol=1e-6)


def test_a_warm_start_saves_steps():
    cold = zoo.alternating(problem(0.11))

    @jax.jit
    def ending(of):
        factors = admm.prepare(of, 0.1)
        return jax.lax.fori_loop(0, 1000, lambda _, s: admm.step(s, factors), admm.init(of))

    warm = zoo.alternating(problem(0.11), start=ending(problem(0.1)))
    assert warm.steps < cold.steps
    np.testing.assert_allclose(warm.objective, cold.objective, rtol=2e-6)


def test_factors_serve_other_targets_and_betas():
    factors, of = admm.prepare(problem(), 0.1), problem(0.5)
    other = of._replace(y=jnp.flip(of.y))
    shared, own = (admm.step(random_state(other), f, 1.0) for f in (factors._replace(program=other), admm.prepare(other, 0.1)))
    zoo.close(shared, own, 1e-13)
