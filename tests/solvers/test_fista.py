"""Accelerated proximal gradient: the recorded run, the proximal maps, honest bounds, paths, and the Lasso over neurons."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.fully_connected import convex_relu
from closedform.solvers import fista, losses, program
from zoo import convex_problems as zoo
from zoo.checks import rejected
from zoo.convex_problems import FACTS, OPTIMUM, assert_honest

CURVATURE = 30.923  # largest eigenvalue of F'F in the gated problem (8, 2)
GATED = FACTS[8, 2].gated


def problem(cones=False, weight_decay=0.1, seed=0, shape=(8, 2)):
    x, y = zoo.formula_data(*shape, seed)
    return (program.relu_program if cones else program.gated_program)(x, y, convex_relu.all_gates(x), weight_decay)


def zeros(of):
    return jnp.zeros((of.x.shape[1], of.sign.size))


# ------------------------------------------------------------------------------------------------- the recorded run


@jax.jit
def recorded(of, curvature):
    """Objectives after 200, 400, .. 1000 steps."""
    composite = fista.gated(of)
    start = fista.init(composite, zeros(of), curvature)
    return program.history(
        lambda s: fista.step(s, composite), lambda s: fista.measure(s, composite).objective, start, 1000, 200
    )


def assert_recorded(objectives):
    np.testing.assert_allclose(objectives[0], 0.7348185, atol=1e-7)
    np.testing.assert_allclose(objectives[-1], 0.7347466, atol=1e-6)


def plain_fista(of, curvature, restart=True, momentum=True, coded_t=False, threshold=1.0):
    """The same in numpy on the dense F, with one mistake or none."""
    x, y, active = (np.asarray(a) for a in (of.x, of.y, of.active))
    dim, blocks = x.shape[1], active.shape[1]
    F = np.concatenate([active[:, b, None] * x for b in range(blocks)], axis=1)
    objective = lambda w: np.sum((F @ w - y) ** 2) / 2 + 0.1 * np.sum(np.linalg.norm(w.reshape(blocks, dim), axis=1))  # noqa: E731
    w = v = np.zeros(dim * blocks)
    t, found = 1.0, []
    for k in range(1000):
        new = (v - F.T @ (F @ v - y) / curvature).reshape(blocks, dim)
        size = np.linalg.norm(new, axis=1, keepdims=True)
        new = (new * np.maximum(1 - threshold * 0.1 / curvature / np.maximum(size, 1e-300), 0)).ravel()
        if restart and (v - new) @ (new - w) > 0:
            t = 1.0
        after = 1 + np.sqrt(1 + 4 * t**2) / 2 if coded_t else (1 + np.sqrt(1 + 4 * t**2)) / 2
        v = new + (t - 1) / after * (new - w) * momentum
        w, t = new, after
        if (k + 1) % 200 == 0:
            found.append(objective(w))
    return np.array(found)


def test_recorded_run():
    of = problem()
    F = np.concatenate([np.asarray(of.active[:, b, None] * of.x) for b in range(16)], axis=1)
    curvature = np.linalg.eigvalsh(F.T @ F)[-1]
    np.testing.assert_allclose(curvature, CURVATURE, atol=5e-4)
    np.testing.assert_allclose(np.linalg.eigvalsh(program.kernel(of))[-1], curvature, rtol=1e-12)
    objectives = recorded(of, curvature)
    assert_recorded(objectives)
    np.testing.assert_allclose(objectives, plain_fista(of, curvature), rtol=1e-10)
    for mistake in (
        dict(restart=False),
        dict(momentum=False),
        dict(coded_t=True),
        dict(threshold=2.0),  # the threshold of a loss without its 1/2
        dict(curvature=2 * curvature),
    ):
        rejected(assert_recorded, plain_fista(**(dict(of=of, curvature=curvature) | mistake)))


def test_a_curvature_that_is_too_small_is_raised_and_one_that_is_given_is_kept():
    composite = fista.gated(problem())
    steps = jax.jit(lambda s: jax.lax.fori_loop(0, 800, lambda _, s: fista.step(s, composite), s))
    for start in (0.1, None):
        end = steps(fista.init(composite, zeros(problem()), start))
        assert 1 < end.curvature < 1.3 * CURVATURE  # no more than one factor of 1.25 above what is needed anywhere
        np.testing.assert_allclose(fista.measure(end, composite).objective, GATED, atol=1e-5)
    for start in (CURVATURE, 100.0):
        assert steps(fista.init(composite, zeros(problem()), start)).curvature == start


# ------------------------------------------------------------------------------------------------- maps of a problem


def assert_prox(composite, prox, inside, shape):
    """No feasible point near it, or at random, has a smaller |w - given|^2/2 + threshold * penalty."""
    rng = np.random.default_rng(0)
    for threshold in (0.05, 0.7):
        given = rng.normal(size=shape)
        best = np.asarray(prox(jnp.asarray(given), jnp.asarray(threshold)))
        value = lambda w: np.sum((w - given) ** 2) / 2 + threshold * composite.penalty(jnp.asarray(w))  # noqa: E731, B023
        assert inside(best, 1e-9)
        others = [best * (1 + s) for s in (-0.01, 0.01)] + [
            np.asarray(prox(jnp.asarray(rng.normal(size=shape)), jnp.asarray(0.0)))
        ]
        others += [0.999 * best + 0.001 * others[-1], 0 * best]
        for other in others:
            assert inside(other, 1e-9)
            assert value(other) >= value(best) - 1e-10


def composites():
    of = problem(True)
    side = np.asarray(2 * of.active - 1)
    x = np.asarray(of.x)
    features = jnp.asarray(np.maximum(x @ np.random.default_rng(1).normal(size=(2, 9)), 0))
    yield "gated", fista.gated(problem()), (2, 16), lambda w, tolerance: True
    yield "relu", fista.relu(of), (2, 32), lambda w, tolerance: (side * (x @ w)).min() >= -tolerance
    yield "lasso", fista.lasso(features, of.y, jnp.asarray(0.1)), (9,), lambda w, tolerance: True


@pytest.mark.parametrize("which", range(3), ids=["gated", "relu", "lasso"])
def test_maps_of_each_problem(which):
    """The prox is a minimiser, `adjoint` the transpose of `forward`, and `dual_norm` the dual of the penalty."""
    _, composite, shape, inside = list(composites())[which]
    prox = jax.jit(composite.prox)
    assert_prox(composite, prox, inside, shape)
    rejected(assert_prox, composite, lambda w, threshold: prox(w, 2 * threshold), inside, shape)
    rejected(assert_prox, composite, lambda w, threshold: prox(w, 0 * threshold), inside, shape)
    rng = np.random.default_rng(2)
    w, nu = jnp.asarray(rng.normal(size=shape)), jnp.asarray(rng.normal(size=8))
    np.testing.assert_allclose(composite.forward(w) @ nu, jnp.sum(w * composite.adjoint(nu)), rtol=1e-12)
    pull = composite.adjoint(nu)
    norm = composite.dual_norm(pull)
    # the largest w . pull over feasible w of penalty 1: none above, and the prox at a large argument comes close
    for _ in range(20):
        w = prox(jnp.asarray(rng.normal(size=shape)), jnp.asarray(0.0))
        assert jnp.sum(w * pull) <= norm * composite.penalty(w) + 1e-10
    w = prox(pull, jnp.asarray(0.999) * norm)
    np.testing.assert_allclose(jnp.sum(w * pull), norm * composite.penalty(w), rtol=2e-3)


# ---------------------------------------------------------------------------------------------------------- optima


def test_optima_of_the_facts():
    solution = zoo.accelerated(problem(True), cones=True)
    np.testing.assert_allclose(solution.objective, OPTIMUM, atol=3e-6)
    assert_honest(solution, OPTIMUM, 3e-8)
    assert solution.gap <= 1e-6 * solution.objective
    network = program.network(solution, problem(True))
    value = zoo.network_objective(network, problem().x, problem().y, 0.1)
    np.testing.assert_allclose(value, solution.objective, rtol=1e-10)
    gated = zoo.accelerated(problem(), cones=False)
    np.testing.assert_allclose(gated.objective, GATED, atol=2e-6)
    assert gated.gap <= 1e-6 * gated.objective


@jax.jit
def bounds_of_many_steps(of):
    """(cones, loss): measures after 1, 2, .. 60 steps, and the bound of a mistaken weight_decay; four in one compilation."""

    def seen(composite, loss):
        start = fista.init(composite, zeros(of))
        twice = composite._replace(weight_decay=2 * composite.weight_decay)

        def look(s):
            return fista.measure(s, composite, loss), fista.measure(s, twice, loss).bound

        return program.history(lambda s: fista.step(s, composite, loss), look, start, 60)

    return {
        (cones, loss is losses.logistic): seen((fista.relu if cones else fista.gated)(of), loss)
        for cones in (False, True)
        for loss in (losses.squared, losses.logistic)
    }


@pytest.mark.parametrize("weight_decay", [0.1, 0.02])
def test_every_iterate_bounds_the_optimum(weight_decay):
    x, y = zoo.random_data(7, 2, seed=int(100 * weight_decay), labels=True)
    gates = convex_relu.all_gates(x)
    of = program.relu_program(x, y, gates, weight_decay)
    for (cones, logistic), (seen, mistaken) in bounds_of_many_steps(of).items():
        optimum = zoo.clarabel(x, y, convex_relu.patterns(gates, x), weight_decay, cones=cones, logistic=logistic)
        assert_honest(seen, optimum)
        assert seen.objective[-1] - optimum < 0.6 * (seen.objective[0] - optimum)
        rejected(assert_honest, seen._replace(bound=mistaken), optimum)


def test_logistic_optimum_is_that_of_interior_point():
    x, y = zoo.random_data(7, 2, seed=5, labels=True)
    of = program.gated_program(x, y, convex_relu.all_gates(x), 0.1)
    solution = zoo.accelerated(of, cones=False, loss=losses.logistic)
    optimum = zoo.clarabel(x, y, of.active, 0.1, cones=False, logistic=True)
    np.testing.assert_allclose(solution.objective, optimum, rtol=2e-6)
    assert_honest(solution, optimum)


# ------------------------------------------------------------------------------------------- paths, vmap, jit, starts


def test_path_equals_single_solves_and_a_warm_start_saves_steps():
    weight_decays = jnp.array([1.0, 0.5, 0.45, 0.1])
    path = jax.jit(lambda of: fista.path(of, weight_decays, cones=False))(problem())
    singles = [zoo.accelerated(problem(weight_decay=weight_decay), cones=False) for weight_decay in weight_decays]
    for i, single in enumerate(singles):
        np.testing.assert_allclose(path.objective[i], single.objective, rtol=2e-6)
        assert path.gap[i] <= 1e-6 * path.objective[i]
    assert int(np.sum(path.steps)) < sum(int(single.steps) for single in singles)
    near = problem(weight_decay=0.11)
    cold, warm = zoo.accelerated(near, cones=False), zoo.accelerated(near, cones=False, start=singles[-1].weights)
    assert warm.steps < cold.steps
    np.testing.assert_allclose(warm.objective, cold.objective, rtol=2e-6)
    assert zoo.accelerated(near, cones=False, start=cold.weights).steps == 0


def test_vmap_over_weight_decay_y_and_x_equals_a_loop():
    programs = [problem(weight_decay=weight_decay) for weight_decay in (0.05, 0.3)] + [problem(seed=seed) for seed in (1, 2)]
    many = jax.jit(jax.vmap(lambda of: fista.solve(of, cones=False, rtol=1e-6)))(zoo.stacked(programs))
    for i, of in enumerate(programs):
        one = zoo.accelerated(of, cones=False)
        # the step at which a gap is small enough may differ by rounding, by one look
        assert abs(int(many.steps[i]) - int(one.steps)) <= 10
        np.testing.assert_allclose(many.objective[i], one.objective, rtol=1e-7)
        np.testing.assert_allclose(many.bound[i], one.bound, rtol=2e-6)


def test_jit_equals_eager():
    eager, jitted = fista.solve(problem(), cones=False), zoo.accelerated(problem(), cones=False)
    np.testing.assert_allclose(eager.objective, jitted.objective, rtol=1e-8)
    np.testing.assert_allclose(eager.weights, jitted.weights, atol=1e-5)


# ---------------------------------------------------------------------------------------------- Lasso over neurons


def assert_scp(means, values):
    assert 2.25 <= means[0] <= 2.36
    assert 2.2235 <= means[1] <= 2.2295
    assert min(np.min(v) for v in values) >= OPTIMUM - 1e-7


def scp_values(num_directions, weight_decay=0.1, features=jax.nn.relu):
    x, y = zoo.formula_data(8, 2)
    directions = jax.random.normal(jax.random.key(num_directions), (20, 2, num_directions))
    unit = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
    rows = features(jnp.einsum("sd,kdn->ksn", x, unit))

    def value(one):
        composite = fista.lasso(one, y, jnp.asarray(weight_decay))
        return fista.minimise(composite, jnp.zeros(one.shape[1]), rtol=3e-4, max_steps=50_000).objective

    return np.asarray(jax.jit(jax.vmap(value))(rows))


@pytest.mark.slow
def test_values_over_sampled_neurons():
    x, y = zoo.formula_data(8, 2)
    values = []
    for n in (30, 300):
        directions = jax.random.normal(jax.random.key(n), (20, 2, n))
        networks, solutions = jax.jit(jax.vmap(lambda u: fista.scp(u, x, y, 0.1, rtol=3e-4)))(3 * directions)
        values.append(np.asarray(solutions.objective))
        assert np.all(solutions.gap <= 3e-4 * solutions.objective)
        # the network has that objective, and first layers along the directions
        network = zoo.one_of(networks, 0)
        np.testing.assert_allclose(zoo.network_objective(network, x, y, 0.1), values[-1][0], rtol=1e-10)
        cosines = jnp.sum(network.w * directions[0], axis=0) / jnp.linalg.norm(directions[0], axis=0)
        np.testing.assert_allclose(cosines, jnp.linalg.norm(network.w, axis=0), atol=1e-12)
    means = [v.mean() for v in values]
    assert_scp(means, values)
    np.testing.assert_allclose(values[0], scp_values(30), rtol=5e-4)
    for wrong in (scp_values(30, weight_decay=0.05), scp_values(30, features=lambda z: z), scp_values(30, features=jnp.abs)):
        rejected(assert_scp, [wrong.mean(), means[1]], [wrong, values[1]])


def test_more_directions_never_raise_the_value():
    x, y = zoo.formula_data(8, 2)
    directions = jax.random.normal(jax.random.key(1), (2, 30))
    few = jnp.where(jnp.arange(30) < 12, directions, directions[:, :1])  # the rest repeat the first
    solve = jax.jit(lambda u: fista.scp(u, x, y, 0.1, rtol=1e-4)[1])
    assert solve(directions).objective <= solve(few).objective - 1e-3
    assert solve(directions).bound <= solve(few).objective
