"""Schemes and solvers on the problem of the specification: errors, orders, what they take, derivatives."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.transformers import integrators, ode_transformer
from zoo.checks import rejected
from zoo.transformer_ode import CONFIG, solved

COUNTS = (16, 32, 64, 128)


@pytest.fixture(scope="module")
def problem():
    with jax.enable_x64(True):
        return solved()


def error(problem, step_fn, count):
    params, x, exact = problem
    f_fn, g_fn = ode_transformer.fields(params, CONFIG)
    return float(jnp.linalg.norm(integrators.integrate(step_fn, f_fn, g_fn, x, 1 / count, count) - exact))


def test_the_problem_of_the_specification(problem):
    np.testing.assert_allclose(problem[2][0], [0.00537555, 0.75710105, 1.11352065, 0.4742199], atol=5e-8)
    assert float(jnp.linalg.norm(problem[2])) == pytest.approx(4.328259550976, abs=1e-11)


ERRORS = {
    "parallel": (1.155231e-1, 5.938516e-2, 3.008723e-2, 1.514056e-2),
    "sequential": (1.438822e-1, 7.218396e-2, 3.614999e-2, 1.808914e-2),
    "lie": (8.144986e-2, 4.061831e-2, 2.028453e-2, 1.013636e-2),
    "macaron": (4.852667e-2, 2.456455e-2, 1.236027e-2, 6.199991e-3),
    "strang": (1.400032e-3, 3.497888e-4, 8.743352e-5, 2.185752e-5),
    "midpoint": (4.555145e-3, 1.161549e-3, 2.933064e-4, 7.369673e-5),
    "rk4": (2.493934e-6, 1.604282e-7, 1.016912e-8, 6.400146e-10),
}
ORDERS = {"parallel": 0.991, "sequential": 0.999, "lie": 1.001, "macaron": 0.995, "strang": 2.0, "midpoint": 1.993, "rk4": 3.99}


@pytest.mark.parametrize("scheme", ERRORS)
def test_errors_and_orders_of_the_specification(problem, scheme):
    errors = [error(problem, integrators.SCHEMES[scheme].step_fn, count) for count in COUNTS]
    np.testing.assert_allclose(errors, ERRORS[scheme], rtol=1e-2 if scheme == "rk4" else 1e-4)
    assert np.log2(errors[2] / errors[3]) == pytest.approx(ORDERS[scheme], abs=6e-4)


@pytest.mark.slow
def test_strang_is_as_good_as_its_flows(problem):
    midpoint = [error(problem, partial(integrators.strang, flow_fn=integrators.midpoint_step), n) for n in COUNTS]
    np.testing.assert_allclose(midpoint, (1.434171e-3, 3.586600e-4, 8.969128e-5, 2.242683e-5), rtol=1e-4)
    # Macaron has Strang's order of the sublayers, and is first order: Euler's error in each of them stays
    euler = [error(problem, partial(integrators.strang, flow_fn=integrators.euler_step), n) for n in COUNTS]

    def macaron(f_fn, g_fn, x, h):
        x = x + h / 2 * g_fn(x)
        x = x + h * f_fn(x)
        return x + h / 2 * g_fn(x)

    assert euler == pytest.approx([error(problem, macaron, n) for n in COUNTS], rel=1e-12)
    assert np.log2(euler[2] / euler[3]) < 1.1
    # more substeps of Euler only lower the constant
    finer = partial(integrators.flow, step_fn=integrators.euler_step, num_substeps=8)
    many = [error(problem, partial(integrators.strang, flow_fn=finer), n) for n in COUNTS]
    assert np.log2(many[2] / many[3]) < 1.1
    assert many[3] < euler[3] / 4


def test_heun_is_of_second_order(problem):
    errors = [error(problem, integrators.SCHEMES["heun"].step_fn, count) for count in COUNTS]
    assert np.log2(errors[2] / errors[3]) == pytest.approx(2, abs=0.02)


def test_schemes_differ_where_they_should(problem):
    """To order h^2 parallel minus sequential is -DG F, and commuting fields make Lie-Trotter exact."""
    params, x, _ = problem
    f_fn, g_fn = ode_transformer.fields(params, CONFIG)
    h = 1e-4
    difference = (integrators.parallel(f_fn, g_fn, x, h) - integrators.sequential(f_fn, g_fn, x, h)) / h**2
    same = partial(np.testing.assert_allclose, difference, rtol=0, atol=1e-3)
    same(-jax.jvp(g_fn, (x,), (f_fn(x),))[1])
    rejected(same, -jax.jvp(f_fn, (x,), (g_fn(x),))[1])  # the other order of the sublayers

    spectrum = jnp.array([[-1.0, 0.5, 0.2, 0.1]])
    exact = x * jnp.exp(0.5 * (spectrum + spectrum**2))
    got = integrators.lie(lambda x: x * spectrum, lambda x: x * spectrum**2, x, 0.5)
    np.testing.assert_allclose(got, exact, rtol=1e-6)


def counted(field, calls):
    def run(*args):
        jax.debug.callback(lambda: calls.append(1))
        return field(*args)

    return run


@pytest.mark.slow
def test_what_a_layer_takes(problem):
    """The table of sublayers is what runs, flows and their substeps included."""
    params, x, _ = problem
    for name, scheme in integrators.SCHEMES.items():
        calls = []
        sublayers = [counted(field, calls) for field in ode_transformer.fields(params, CONFIG)]
        jax.jit(lambda x, run=scheme.step_fn, both=sublayers: run(*both, x, 0.1))(x)
        jax.effects_barrier()
        assert len(calls) == scheme.num_sublayers, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "num_steps"), [("euler", 7), ("heun", 7), ("midpoint", 7), ("tsit5", 7), ("tsit5", None), ("dopri5", None)]
)
def test_what_a_solver_takes(problem, method, num_steps):
    params, x, _ = problem
    calls = []
    field = counted(partial(ode_transformer.joint_field, config=CONFIG), calls)
    solved = jax.jit(lambda x: integrators.solve(field, params, x, 1.0, method, num_steps=num_steps))(x)
    jax.effects_barrier()
    assert len(calls) == float(solved.num_evaluations)


@pytest.mark.slow
def test_adjoints(problem):
    """Recursive checkpoints give the derivative of what was computed, backsolving that of the flow; differences check both."""
    params, x, _ = problem
    target = jnp.cos(jnp.arange(24.0)).reshape(6, 4)

    def loss(params, x, **options):
        field = partial(ode_transformer.joint_field, config=CONFIG)
        return jnp.sum(target * integrators.solve(field, params, x, 1.0, **options).state)

    def scan_loss(params, x):
        config = replace(CONFIG, scheme="rk4", num_layers=200, step_size=1 / 200)
        return jnp.sum(target * ode_transformer.apply(jax.tree.map(lambda leaf: leaf[None], params), x, config))

    exact = jax.grad(scan_loss, (0, 1))(params, x)
    for adjoint in integrators.ADJOINTS:
        got = jax.grad(partial(loss, rtol=1e-9, adjoint=adjoint), (0, 1))(params, x)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), got, exact)
        got = jax.grad(partial(loss, method="midpoint", num_steps=400, adjoint=adjoint), (0, 1))(params, x)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), got, exact)
    # of what was computed, at any step size
    coarse = partial(loss, method="heun", num_steps=3)
    direction = jnp.sin(jnp.arange(24.0)).reshape(6, 4)
    difference = (coarse(params, x + 1e-5 * direction) - coarse(params, x - 1e-5 * direction)) / 2e-5
    assert float(jnp.sum(jax.grad(coarse, 1)(params, x) * direction)) == pytest.approx(float(difference), rel=1e-7)


@pytest.mark.slow
def test_the_first_step_tried_is_the_one_asked_for(problem):
    params, x, _ = problem
    field = partial(ode_transformer.joint_field, config=CONFIG)
    took = [float(integrators.solve(field, params, x, 0.1, "dopri5", 0.1, first_step=h).num_evaluations) for h in (0.1, None)]
    assert took == [7, 13]  # one step and two halves, each of which passes


@pytest.mark.slow
def test_what_does_not_arrive_is_not_a_number(problem):
    params, x, _ = problem
    field = partial(ode_transformer.joint_field, config=CONFIG)

    def end(x):
        return jnp.sum(integrators.solve(field, params, x, 1.0, rtol=1e-9, max_steps=2).state)

    value, gradient = jax.value_and_grad(end)(x)
    assert jnp.isnan(value)
    assert jnp.isnan(gradient).all()


def test_a_negative_number_of_steps():
    with pytest.raises(ValueError, match="num_steps must not be negative, got -1"):
        integrators.integrate(integrators.parallel, jnp.sin, jnp.cos, jnp.zeros((3, 8)), 0.1, -1)


def test_what_is_kept_for_derivatives_changes_memory_and_no_number(problem):
    """The states that reverse mode writes for N steps of RK4: N, or 4 N."""
    params, x, _ = problem

    def gradient(keep, count=64):
        def end(params, x):
            f_fn, g_fn = ode_transformer.fields(params, CONFIG)
            step_fn = integrators.SCHEMES["rk4"].step_fn
            return jnp.sum(integrators.integrate(step_fn, f_fn, g_fn, x, 1 / count, count, keep) ** 2)

        program = jax.jit(jax.grad(end, (0, 1))).lower(params, x).compile()
        return program(params, x), program.memory_analysis().temp_size_in_bytes / x.nbytes / count

    (steps, few), (stages, several) = gradient("steps"), gradient("stages")
    for one, other in zip(jax.tree.leaves(steps), jax.tree.leaves(stages), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
    assert 1 <= few < 3
    assert 4 <= several < few + 4
    with pytest.raises(ValueError, match="keep must be one of steps, stages, got 'all'"):
        integrators.integrate(integrators.parallel, jnp.sin, jnp.cos, x, 0.1, 1, "all")


def test_wrong_solver_settings(problem):
    params, x, _ = problem
    for options, message in (
        ({"method": "rk4"}, "method must be one of euler, .*, got 'rk4'"),
        ({"adjoint": "reverse"}, "adjoint must be one of checkpoint, backsolve"),
        ({"method": "heun"}, "has no error estimate: give num_steps"),
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            integrators.solve(lambda params, x: x, params, x, 1.0, **options)
