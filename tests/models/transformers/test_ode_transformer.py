"""Steps of the ODE transformer against numpy, its orders on the problem of the specification, derivatives of its solvers."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.transformers import ode_transformer
from closedform.models.transformers.ode_transformer import Config, Params
from zoo import checks
from zoo.checks import rejected

COUNTS = (16, 32, 64, 128)


def entries(rows, columns, p, q, s):
    return np.sin(s + p * np.arange(rows)[:, None] + q * np.arange(columns)[None, :])


# problem A of the specification
CONFIG = Config(dim=4, hidden=8)
WEIGHTS = Params(
    entries(4, 4, 1, 2, 1),
    entries(4, 4, 2, 1, 0.5),
    0.5 * entries(4, 4, 1, 3, 0.2),
    np.eye(4),
    0.5 * entries(4, 8, 3, 1, 0.7),
    0.1 * np.cos(np.arange(8)),
    0.5 * entries(8, 4, 1, 2.5, 0.3),
    np.zeros(4),
)
START = entries(6, 4, 1.3, 0.7, 0.1)


@pytest.fixture(scope="module")
def problem():
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, WEIGHTS)
        exact = ode_transformer.integrate(
            ode_transformer.SCHEMES["rk4"].step_fn, *ode_transformer.fields(params, CONFIG), jnp.asarray(START), 1 / 4096, 4096
        )
        return params, jnp.asarray(START), exact


def error(problem, step_fn, count):
    params, x, exact = problem
    f_fn, g_fn = ode_transformer.fields(params, CONFIG)
    return float(jnp.linalg.norm(ode_transformer.integrate(step_fn, f_fn, g_fn, x, 1 / count, count) - exact))


def numpy_fields(weights, heads=1, norm=False, gelu=False):
    def normalised(x):
        return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) if norm else x

    def attend(x):
        u, out = normalised(x), 0
        size = x.shape[1] // heads
        for head in range(heads):
            at = slice(head * size, (head + 1) * size)
            weight = np.exp((u @ weights.query[:, at]) @ (u @ weights.key[:, at]).T / np.sqrt(size))
            out = out + weight / weight.sum(1, keepdims=True) @ (u @ weights.value[:, at]) @ weights.output[at]
        return out

    def transform(x):
        z = normalised(x) @ weights.w_in + weights.b_in
        z = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))) if gelu else np.tanh(z)
        return z @ weights.w_out + weights.b_out

    return attend, transform


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
    errors = [error(problem, ode_transformer.SCHEMES[scheme].step_fn, count) for count in COUNTS]
    np.testing.assert_allclose(errors, ERRORS[scheme], rtol=1e-2 if scheme == "rk4" else 1e-4)
    assert np.log2(errors[2] / errors[3]) == pytest.approx(ORDERS[scheme], abs=6e-4)


def test_strang_is_as_good_as_its_flows(problem):
    midpoint = [error(problem, partial(ode_transformer.strang, flow_fn=ode_transformer.midpoint_step), n) for n in COUNTS]
    np.testing.assert_allclose(midpoint, (1.434171e-3, 3.586600e-4, 8.969128e-5, 2.242683e-5), rtol=1e-4)
    # Macaron has Strang's order of the sublayers, and is first order: Euler's error in each of them stays
    euler = [error(problem, partial(ode_transformer.strang, flow_fn=ode_transformer.euler_step), n) for n in COUNTS]

    def macaron(f_fn, g_fn, x, h):
        x = x + h / 2 * g_fn(x)
        x = x + h * f_fn(x)
        return x + h / 2 * g_fn(x)

    assert euler == pytest.approx([error(problem, macaron, n) for n in COUNTS], rel=1e-12)
    assert np.log2(euler[2] / euler[3]) < 1.1
    # more substeps of Euler only lower the constant
    finer = partial(ode_transformer.flow, step_fn=ode_transformer.euler_step, num_substeps=8)
    many = [error(problem, partial(ode_transformer.strang, flow_fn=finer), n) for n in COUNTS]
    assert np.log2(many[2] / many[3]) < 1.1
    assert many[3] < euler[3] / 4


def test_heun_is_of_second_order(problem):
    errors = [error(problem, ode_transformer.SCHEMES["heun"].step_fn, count) for count in COUNTS]
    assert np.log2(errors[2] / errors[3]) == pytest.approx(2, abs=0.02)


def test_schemes_differ_where_they_should(problem):
    """To order h^2 parallel minus sequential is -DG F, and commuting fields make Lie-Trotter exact."""
    params, x, _ = problem
    f_fn, g_fn = ode_transformer.fields(params, CONFIG)
    h = 1e-4
    difference = (ode_transformer.parallel(f_fn, g_fn, x, h) - ode_transformer.sequential(f_fn, g_fn, x, h)) / h**2
    same = partial(np.testing.assert_allclose, difference, rtol=0, atol=1e-3)
    same(-jax.jvp(g_fn, (x,), (f_fn(x),))[1])
    rejected(same, -jax.jvp(f_fn, (x,), (g_fn(x),))[1])  # the other order of the sublayers

    spectrum = jnp.array([[-1.0, 0.5, 0.2, 0.1]])
    exact = x * jnp.exp(0.5 * (spectrum + spectrum**2))
    got = ode_transformer.lie(lambda x: x * spectrum, lambda x: x * spectrum**2, x, 0.5)
    np.testing.assert_allclose(got, exact, rtol=1e-6)


@pytest.mark.parametrize(("heads", "norm", "gelu"), [(1, False, False), (2, True, False), (4, True, True)])
def test_fields_against_numpy(heads, norm, gelu):
    config = Config(dim=8, hidden=5, num_heads=heads, norm=norm, activation="gelu" if gelu else "tanh", num_blocks=4)
    params = ode_transformer.init(jax.random.key(3), config)
    params = params._replace(b_in=params.b_in + 0.3, b_out=params.b_out - 0.2)
    x = jax.random.normal(jax.random.key(4), (6, 8))
    one = jax.tree.map(lambda leaf: leaf[2], params)
    attend, transform = numpy_fields(jax.tree.map(np.asarray, one), heads, norm, gelu)
    f_fn, g_fn = ode_transformer.fields(one, config)
    np.testing.assert_allclose(f_fn(x), attend(np.asarray(x)), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(g_fn(x), transform(np.asarray(x)), rtol=1e-11, atol=1e-13)
    expected = attend(np.asarray(x)) + transform(np.asarray(x))
    np.testing.assert_allclose(ode_transformer.joint_field(one, x, config), expected, rtol=1e-11, atol=1e-13)
    # a batch given whole is a batch, not more tokens
    both = jnp.stack([x, x[::-1] + 1])
    np.testing.assert_allclose(f_fn(both), jnp.stack([f_fn(one) for one in both]), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("num_blocks", [1, 2, 4])
def test_blocks_are_used_in_turn(num_blocks):
    config = Config(dim=4, hidden=3, num_blocks=num_blocks, step_size=0.5)
    params = ode_transformer.init(jax.random.key(0), config)
    x = np.array(jax.random.normal(jax.random.key(1), (5, 4)))
    expected = x
    for layer in range(4):
        attend, transform = numpy_fields(jax.tree.map(lambda leaf, at=layer * num_blocks // 4: np.asarray(leaf[at]), params))
        expected = expected + 0.5 * attend(expected)
        expected = expected + 0.5 * transform(expected)
    np.testing.assert_allclose(ode_transformer.apply(params, jnp.asarray(x), config), expected, rtol=1e-12)


def counted(field, calls):
    def run(*args):
        jax.debug.callback(lambda: calls.append(1))
        return field(*args)

    return run


def test_what_a_layer_takes(problem):
    """The table of sublayers is what runs, flows and their substeps included."""
    params, x, _ = problem
    for name, scheme in ode_transformer.SCHEMES.items():
        calls = []
        sublayers = [counted(field, calls) for field in ode_transformer.fields(params, CONFIG)]
        jax.jit(lambda x, run=scheme.step_fn, both=sublayers: run(*both, x, 0.1))(x)
        jax.effects_barrier()
        assert len(calls) == scheme.num_sublayers, name


@pytest.mark.parametrize(
    ("method", "num_steps"), [("euler", 7), ("heun", 7), ("midpoint", 7), ("tsit5", 7), ("tsit5", None), ("dopri5", None)]
)
def test_what_a_solver_takes(problem, method, num_steps):
    params, x, _ = problem
    calls = []
    field = counted(partial(ode_transformer.joint_field, config=CONFIG), calls)
    solved = jax.jit(lambda x: ode_transformer.solve(field, params, x, 1.0, method, num_steps=num_steps))(x)
    jax.effects_barrier()
    assert len(calls) == float(solved.num_evaluations)


def test_a_solver_is_the_scan_where_their_steps_are_the_same(problem):
    params, x, exact = problem
    field = partial(ode_transformer.joint_field, config=CONFIG)
    for method, scheme in (("euler", "parallel"), ("midpoint", "midpoint"), ("heun", "heun")):
        config = replace(CONFIG, scheme=scheme, num_layers=8, step_size=1 / 8)
        mine = ode_transformer.apply(jax.tree.map(lambda leaf: leaf[None], params), x, config)
        solved = ode_transformer.solve(field, params, x, 1.0, method, num_steps=8)
        np.testing.assert_allclose(solved.state, mine, rtol=1e-12, atol=1e-13)
    for method in ("tsit5", "dopri5"):
        for rtol in (1e-4, 1e-8):
            adaptive = ode_transformer.solve(field, params, x, 1.0, method, rtol)
            assert float(jnp.abs(adaptive.state - exact).max()) < 20 * rtol


def test_an_adaptive_stack_of_several_blocks(problem):
    """A tight tolerance gives the flow through one block after another: the limit of small steps of any scheme."""
    config = replace(CONFIG, num_layers=4, num_blocks=2, step_size=0.25, scheme="dopri5", rtol=1e-9)
    params = ode_transformer.init(jax.random.key(5), config)
    got = ode_transformer.evolve(params, problem[1], config)
    fine = replace(config, scheme="rk4", num_layers=400, step_size=0.0025)
    np.testing.assert_allclose(got.state, ode_transformer.apply(params, problem[1], fine), rtol=1e-7, atol=1e-8)
    loose = ode_transformer.evolve(params, problem[1], replace(config, rtol=1e-3))
    assert float(loose.num_sublayers) < float(got.num_sublayers) / 3
    assert float(ode_transformer.evolve(params, problem[1], fine).num_sublayers) == 8 * 400


def test_adjoints(problem):
    """Recursive checkpoints give the derivative of what was computed, backsolving that of the flow; differences check both."""
    params, x, _ = problem
    target = jnp.cos(jnp.arange(24.0)).reshape(6, 4)

    def loss(params, x, **options):
        field = partial(ode_transformer.joint_field, config=CONFIG)
        return jnp.sum(target * ode_transformer.solve(field, params, x, 1.0, **options).state)

    def scan_loss(params, x):
        config = replace(CONFIG, scheme="rk4", num_layers=200, step_size=1 / 200)
        return jnp.sum(target * ode_transformer.apply(jax.tree.map(lambda leaf: leaf[None], params), x, config))

    exact = jax.grad(scan_loss, (0, 1))(params, x)
    for adjoint in ode_transformer.ADJOINTS:
        got = jax.grad(partial(loss, rtol=1e-9, adjoint=adjoint), (0, 1))(params, x)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), got, exact)
        got = jax.grad(partial(loss, method="midpoint", num_steps=400, adjoint=adjoint), (0, 1))(params, x)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), got, exact)
    # of what was computed, at any step size
    coarse = partial(loss, method="heun", num_steps=3)
    direction = jnp.sin(jnp.arange(24.0)).reshape(6, 4)
    difference = (coarse(params, x + 1e-5 * direction) - coarse(params, x - 1e-5 * direction)) / 2e-5
    assert float(jnp.sum(jax.grad(coarse, 1)(params, x) * direction)) == pytest.approx(float(difference), rel=1e-7)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_derivatives_of_the_scan_in_either_mode(problem, batch):
    """Differences of values for forward mode, forward for reverse mode, differences of gradients for forward over reverse."""
    params, x, _ = problem
    x = jnp.broadcast_to(x, (*batch, *x.shape)) + 0.1 * jnp.arange(float(np.prod(batch))).reshape(*batch, *[1] * x.ndim)
    config = replace(CONFIG, num_heads=2, num_layers=3, step_size=0.3, scheme="rk4")

    def loss(params, x):
        return jnp.sum(jnp.cos(ode_transformer.evolve(jax.tree.map(lambda leaf: leaf[None], params), x, config).state))

    direction = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(float(leaf.size))).reshape(leaf.shape), (params, x))
    ahead, behind = (jax.tree.map(lambda a, b, s=s: a + s * b, (params, x), direction) for s in (1e-5, -1e-5))
    slope = jax.grad(loss, (0, 1))
    forward = jax.jvp(loss, (params, x), direction)[1]
    assert float(forward) == pytest.approx(float(loss(*ahead) - loss(*behind)) / 2e-5, rel=1e-7)
    reverse = sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (slope(params, x), direction)), strict=True))
    assert float(reverse) == pytest.approx(float(forward), rel=1e-11)
    second = jax.jvp(slope, (params, x), direction)[1]
    difference = jax.tree.map(lambda a, b: (a - b) / 2e-5, slope(*ahead), slope(*behind))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), second, difference)
    if batch:  # a batch given whole and one under vmap
        apart = jax.grad(lambda params, x: jnp.sum(jax.vmap(partial(loss, params))(x)), (0, 1))(params, x)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), apart, slope(params, x))


def test_the_first_step_tried_is_the_one_asked_for(problem):
    params, x, _ = problem
    field = partial(ode_transformer.joint_field, config=CONFIG)
    took = [
        float(ode_transformer.solve(field, params, x, 0.1, "dopri5", 0.1, first_step=h).num_evaluations) for h in (0.1, None)
    ]
    assert took == [7, 13]  # one step and two halves, each of which passes


def test_what_does_not_arrive_is_not_a_number(problem):
    params, x, _ = problem
    field = partial(ode_transformer.joint_field, config=CONFIG)

    def end(x):
        return jnp.sum(ode_transformer.solve(field, params, x, 1.0, rtol=1e-9, max_steps=2).state)

    value, gradient = jax.value_and_grad(end)(x)
    assert jnp.isnan(value)
    assert jnp.isnan(gradient).all()


def test_parameters_of_another_number_of_blocks():
    params = ode_transformer.init(jax.random.key(0), Config(num_blocks=2))
    with pytest.raises(ValueError, match="params must be those of num_blocks = 1 blocks, got 2"):
        ode_transformer.apply(params, jnp.zeros((3, 8)))
    with pytest.raises(ValueError, match="num_steps must not be negative, got -1"):
        ode_transformer.integrate(ode_transformer.parallel, jnp.sin, jnp.cos, jnp.zeros((3, 8)), 0.1, -1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_heads": 3}, "dim must be a multiple of num_heads = 3, got 8"),
        ({"num_layers": 6, "num_blocks": 4}, "num_layers must be a multiple of num_blocks = 4, got 6"),
        ({"hidden": 0}, "hidden must be a whole number of at least 1, got 0"),
        ({"scheme": "rk5"}, "scheme must be 'parallel' or .* 'dopri5', got 'rk5'"),
        ({"activation": "relu"}, "activation must be 'tanh' or 'gelu', got 'relu'"),
        ({"step_size": 0.0}, "step_size must not be 0"),
        ({"rtol": 0.0}, "rtol must be a positive number"),
        ({"init_scale": float("nan")}, "init_scale must be a number of at least 0"),
    ],
)
def test_wrong_settings(changed, message):
    with pytest.raises(ValueError, match=message):
        checks.config(Config, **changed)


def test_wrong_solver_settings(problem):
    params, x, _ = problem
    for options, message in (
        ({"method": "rk4"}, "method must be one of euler, .*, got 'rk4'"),
        ({"adjoint": "reverse"}, "adjoint must be one of checkpoint, backsolve"),
        ({"method": "heun"}, "has no error estimate: give num_steps"),
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            ode_transformer.solve(lambda params, x: x, params, x, 1.0, **options)
