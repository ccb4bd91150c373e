"""The layer, its fixed point and Jacobian, the starts of the skip variants, and solvers as arguments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.equilibrium import deep_equilibrium
from closedform.models.equilibrium.deep_equilibrium import Config, Params
from closedform.solvers import fixed_point
from zoo.checks import rejected

CONFIG = Config(dim=3, width=5, weight_scale=0.6)


def draw(**settings):
    config = Config(**{"dim": 3, "width": 5, "weight_scale": 0.6} | settings)
    params = deep_equilibrium.init(jax.random.key(0), config)
    biased = params._replace(b=jax.random.normal(jax.random.key(1), (5,)))
    return config, biased, jax.random.normal(jax.random.key(2), (3,))


def assert_fixed_point(apply_fn, activation, scalar_fn):
    """z = phi(W z + U x + b), as a loop over Python floats."""
    config, params, x = draw(activation=activation)
    z = np.asarray(apply_fn(params, x, config)).tolist()
    for row, value in enumerate(z):
        total = float(params.b[row])
        total += sum(float(w) * other for w, other in zip(params.w[row], z, strict=True))
        total += sum(float(u) * float(one) for u, one in zip(params.u[row], x, strict=True))
        np.testing.assert_allclose(value, scalar_fn(total), atol=1e-10)


@pytest.mark.parametrize(
    ("activation", "scalar_fn"), [("tanh", np.tanh), ("relu", lambda a: max(a, 0.0)), ("identity", lambda a: a)]
)
def test_state_is_a_fixed_point_of_the_layer(activation, scalar_fn):
    assert_fixed_point(deep_equilibrium.apply, activation, scalar_fn)
    wrong = lambda params, x, config: deep_equilibrium.apply(params._replace(w=params.w.T), x, config)  # noqa: E731
    rejected(assert_fixed_point, wrong, activation, scalar_fn)
    once = lambda params, x, config: deep_equilibrium.layer(params, jnp.zeros(5), x, config)  # noqa: E731
    rejected(assert_fixed_point, once, activation, scalar_fn)


def test_identity_solves_the_linear_equation():
    config, params, x = draw(activation="identity")
    expected = np.linalg.solve(np.eye(5) - params.w, params.u @ x + params.b)
    np.testing.assert_allclose(deep_equilibrium.apply(params, x, config), expected, rtol=1e-9)


def test_what_does_not_converge_is_no_number():
    config, params, x = draw(activation="identity", weight_scale=5.0)
    assert np.isnan(deep_equilibrium.apply(params, x, config)).all()


def test_an_input_that_is_no_number_spares_the_others():
    """Of a batch, the gradient of one example: NaN, and no error from the compiled program."""
    config, params, x = draw()
    batch = jnp.stack([x, x.at[0].set(jnp.nan)])
    found = jax.jit(jax.vmap(jax.grad(lambda x: jnp.sum(deep_equilibrium.apply(params, x, config)))))(batch)
    z = np.asarray(deep_equilibrium.apply(params, x, config))
    slope = 1 - z**2
    adjoint = np.linalg.solve(np.eye(5) - (slope[:, None] * params.w).T, np.ones(5))
    np.testing.assert_allclose(found[0], params.u.T @ (slope * adjoint), rtol=1e-8)
    assert np.isnan(found[1]).all()


def test_solver_is_an_argument_and_says_what_it_did():
    config, params, x = draw()
    solve = functools.partial(fixed_point.anderson, atol=1e-10)
    solution = deep_equilibrium.equilibrium(params, x, config, solve)
    np.testing.assert_allclose(solution.state, deep_equilibrium.apply(params, x, config), atol=1e-9)
    np.testing.assert_array_equal(deep_equilibrium.apply(params, x, config, solve), solution.state)
    assert solution.converged
    assert solution.num_evaluations == solution.num_steps + 1


def test_starts():
    for start, expected in (
        ("zero", lambda params, x: np.zeros(5)),
        ("skip", lambda params, x: np.tanh(params.skip_u @ x + params.skip_b)),
        ("skip_reg", lambda params, x: np.tanh(params.u @ x + params.b)),
    ):
        config, params, x = draw(start=start)
        found = deep_equilibrium.start(params, x, config)
        np.testing.assert_allclose(found, expected(params, x), rtol=1e-12, atol=1e-15)
        z = deep_equilibrium.apply(params, x, config)
        penalty = deep_equilibrium.skip_penalty(params, z, x, config)
        np.testing.assert_allclose(penalty, 0 if start == "zero" else np.abs(z - found).sum(), atol=1e-9)
        assert (params.skip_u is None) == (start != "skip")


def test_skip_reg_of_a_linear_layer_is_the_weight_times_the_state():
    """|f(z*) - f(0)| = |W z*|, and the start is off by W z* too."""
    config, params, x = draw(start="skip_reg", activation="identity")
    z = deep_equilibrium.apply(params, x, config)
    expected = np.abs(params.w @ z)
    np.testing.assert_allclose(deep_equilibrium.skip_penalty(params, z, x, config), expected.sum(), rtol=1e-9)
    np.testing.assert_allclose(np.abs(z - deep_equilibrium.start(params, x, config)), expected, rtol=1e-8)


def test_the_explicit_layer_learns_by_the_penalty_alone():
    config, params, x = draw(start="skip")
    solve = functools.partial(fixed_point.picard, atol=1e-10)

    def parts(params: Params):
        z = deep_equilibrium.equilibrium(params, x, config, solve).state
        return jnp.sum(z), deep_equilibrium.skip_penalty(params, z, x, config)

    of_state, of_penalty = (jax.grad(lambda params, i=i: parts(params)[i])(params) for i in range(2))
    np.testing.assert_array_equal(of_state.skip_u, 0)
    assert np.abs(of_penalty.skip_u).max() > 0.1


def test_jacobian_and_condition_number():
    config, params, x = draw()
    z = deep_equilibrium.apply(params, x, config)
    found = deep_equilibrium.jacobian(params, z, x, config)
    expected = np.diag(1 - np.asarray(z) ** 2) @ np.asarray(params.w)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert not np.allclose(found, expected.T, atol=1e-3)
    singular = np.linalg.svd(np.eye(5) - expected, compute_uv=False)
    np.testing.assert_allclose(deep_equilibrium.condition_number(params, z, x, config), singular[0] / singular[-1], rtol=1e-7)


def test_weights_have_the_spectrum_of_their_scale():
    """Circular law: the radius is weight_scale; 6 % is twice the scatter of the largest modulus at this width."""
    params = deep_equilibrium.init(jax.random.key(0), Config(width=300, weight_scale=0.7))
    assert abs(np.abs(np.linalg.eigvals(params.w)).max() / 0.7 - 1) < 0.06
    np.testing.assert_allclose(np.std(params.u) * 2, 1, atol=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width must be a whole number of at least 1, got 0"),
        ({"activation": "gelu"}, "activation must be 'tanh' or 'relu' or 'identity', got 'gelu'"),
        ({"start": "warm"}, "start must be 'zero' or 'skip' or 'skip_reg', got 'warm'"),
        ({"weight_scale": -1.0}, "weight_scale must be a number of at least 0, got -1.0"),
    ],
)
def test_config_refuses(settings, message):
    from zoo.checks import config

    with pytest.raises(ValueError, match=message):
        config(Config, **settings)


def test_parameters_of_another_start_are_refused():
    _, params, x = draw()
    with pytest.raises(ValueError, match="params must be those of start = skip"):
        deep_equilibrium.start(params, x, Config(dim=3, width=5, start="skip"))
