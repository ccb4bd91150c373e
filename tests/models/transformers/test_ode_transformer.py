"""Fields of the ODE transformer against numpy, its blocks, its schemes as solvers, derivatives through all layers."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.transformers import integrators, ode_transformer
from closedform.models.transformers.ode_transformer import Config
from zoo import checks
from zoo.transformer_ode import CONFIG, solved


@pytest.fixture(scope="module")
def problem():
    with jax.enable_x64(True):
        return solved()


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


@pytest.mark.parametrize(("heads", "norm", "gelu"), [(1, False, False), (2, True, False), (4, True, True)])
def test_fields_against_numpy(heads, norm, gelu):
    config = Config(dim=8, width=5, num_heads=heads, norm=norm, activation="gelu" if gelu else "tanh", num_blocks=4)
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


@pytest.mark.parametrize("num_blocks", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)])
def test_blocks_are_used_in_turn(num_blocks):
    config = Config(dim=4, width=3, num_blocks=num_blocks, step_size=0.5)
    params = ode_transformer.init(jax.random.key(0), config)
    x = np.array(jax.random.normal(jax.random.key(1), (5, 4)))
    expected = x
    for layer in range(4):
        attend, transform = numpy_fields(jax.tree.map(lambda leaf, at=layer * num_blocks // 4: np.asarray(leaf[at]), params))
        expected = expected + 0.5 * attend(expected)
        expected = expected + 0.5 * transform(expected)
    np.testing.assert_allclose(ode_transformer.apply(params, jnp.asarray(x), config), expected, rtol=1e-12)


@pytest.mark.slow
def test_a_solver_is_the_scan_where_their_steps_are_the_same(problem):
    params, x, exact = problem
    field = partial(ode_transformer.joint_field, config=CONFIG)
    for method, scheme in (("euler", "parallel"), ("midpoint", "midpoint"), ("heun", "heun")):
        config = replace(CONFIG, scheme=scheme, num_layers=8, step_size=1 / 8)
        mine = ode_transformer.apply(jax.tree.map(lambda leaf: leaf[None], params), x, config)
        solved = integrators.solve(field, params, x, 1.0, method, num_steps=8)
        np.testing.assert_allclose(solved.state, mine, rtol=1e-12, atol=1e-13)
    for method in ("tsit5", "dopri5"):
        for rtol in (1e-4, 1e-8):
            adaptive = integrators.solve(field, params, x, 1.0, method, rtol)
            assert float(jnp.abs(adaptive.state - exact).max()) < 20 * rtol


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_parameters_of_another_number_of_blocks():
    params = ode_transformer.init(jax.random.key(0), Config(num_blocks=2))
    with pytest.raises(ValueError, match="params must be those of num_blocks = 1 blocks, got 2"):
        ode_transformer.apply(params, jnp.zeros((3, 8)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_heads": 3}, "dim must be a multiple of num_heads = 3, got 8"),
        ({"num_layers": 6, "num_blocks": 4}, "num_layers must be a multiple of num_blocks = 4, got 6"),
        ({"width": 0}, "width must be a whole number of at least 1, got 0"),
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
