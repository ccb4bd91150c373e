"""Monotone weights, their fixed point, and the two splittings that find it where Picard's iteration does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.equilibrium import monotone
from closedform.models.equilibrium.monotone import Config
from closedform.solvers import equilibrium_gradients, fixed_point, operator_splitting
from zoo.checks import rejected

CONFIG = Config(dim=4, width=12, monotonicity=0.5, weight_scale=1.0)
with jax.enable_x64(True):
    PARAMS = monotone.init(jax.random.key(0), CONFIG)
    X = jax.random.normal(jax.random.key(1), (4,))


def assert_monotone(weight, m):
    rest = np.eye(len(weight)) - np.asarray(weight)
    assert np.linalg.eigvalsh((rest + rest.T) / 2)[0] >= m - 1e-12


def test_weights_are_monotone_and_not_small():
    weight = monotone.weight(PARAMS, CONFIG)
    assert_monotone(weight, 0.5)
    rejected(assert_monotone, weight, 0.51 + np.linalg.eigvalsh(PARAMS.a.T @ PARAMS.a)[0])
    rejected(assert_monotone, weight + 2 * PARAMS.a.T @ PARAMS.a, 0.5)  # the sign of A
    assert np.linalg.norm(weight, 2) > 1
    rest = np.eye(12) - np.asarray(weight)
    np.testing.assert_allclose(monotone.lipschitz(PARAMS, CONFIG), np.linalg.svd(rest, compute_uv=False)[0], rtol=1e-12)
    np.testing.assert_allclose(monotone.resolvent(weight, 0.3) @ (np.eye(12) + 0.3 * rest), np.eye(12), atol=1e-12)
    skew = np.asarray(weight + PARAMS.a.T @ PARAMS.a) - 0.5 * np.eye(12)
    np.testing.assert_allclose(skew, PARAMS.b - PARAMS.b.T, atol=1e-14)


@functools.cache
def found():
    """Picard, forward-backward and Peaceman-Rachford for some inputs."""
    weight, lipschitz = monotone.weight(PARAMS, CONFIG), monotone.lipschitz(PARAMS, CONFIG)
    xs = jax.random.normal(jax.random.key(2), (6, 4))
    steps = {"picard": 1.0, "forward": 0.5 / lipschitz**2}

    def solve(x):
        drive = monotone.drive(PARAMS, x)
        forward = [operator_splitting.forward_backward(weight, drive, step=step, max_steps=3000) for step in steps.values()]
        return *forward, operator_splitting.peaceman_rachford(weight, drive, step=1 / lipschitz, max_steps=3000)

    return xs, jax.jit(jax.vmap(solve))(xs)


def assert_fixed_points(states, residuals):
    xs, _ = found()
    for x, z, residual in zip(xs, states, residuals, strict=True):
        layer = np.maximum(monotone.weight(PARAMS, CONFIG) @ z + PARAMS.u @ x + PARAMS.bias, 0)
        np.testing.assert_allclose(np.abs(layer - z).max(), residual, atol=1e-12)
        assert residual <= 1e-6


def test_splittings_arrive_where_picard_does_not():
    _, (picard, forward, reflected) = found()
    for solution in (forward, reflected):
        assert solution.converged.all()
        assert_fixed_points(solution.state, solution.residual)
        rejected(assert_fixed_points, solution.state + 1e-5, solution.residual)
    np.testing.assert_allclose(forward.state, reflected.state, atol=1e-4)
    assert not picard.converged.all()
    # it goes round for ever, or ends where numbers overflow
    assert ((picard.num_steps == 3000) | ~jnp.isfinite(picard.residual))[~picard.converged].all()
    assert not (picard.residual[~picard.converged] <= 1e-3).any()
    assert (3 * reflected.num_steps < forward.num_steps).all()  # per example
    assert len(set(np.asarray(forward.num_steps).tolist())) > 1


def test_one_forward_backward_step_contracts_as_the_bound_says():
    weight, lipschitz = monotone.weight(PARAMS, CONFIG), float(monotone.lipschitz(PARAMS, CONFIG))
    bound = np.sqrt(1 - 0.5**2 / lipschitz**2)
    step = jax.jit(lambda z: operator_splitting.forward_backward_step(weight, PARAMS.u @ X, z, jax.nn.relu, 0.5 / lipschitz**2))
    pairs = np.random.default_rng(0).normal(size=(100, 2, 12))
    ratio = max(np.linalg.norm(step(a) - step(b)) / np.linalg.norm(a - b) for a, b in pairs)
    assert ratio <= bound
    # the same step in the layer alone is no contraction
    plain = jax.jit(lambda z: operator_splitting.forward_backward_step(weight, PARAMS.u @ X, z, jax.nn.relu, 1.0))
    assert max(np.linalg.norm(plain(a) - plain(b)) / np.linalg.norm(a - b) for a, b in pairs) > 1


def test_steps_are_those_of_the_solvers():
    weight, drive = monotone.weight(PARAMS, CONFIG), monotone.drive(PARAMS, X)
    z = u = jnp.zeros(12)
    for _ in range(3):
        z = operator_splitting.forward_backward_step(weight, drive, z, jax.nn.relu, 0.1)
        u = operator_splitting.peaceman_rachford_step(weight, drive, u, jax.nn.relu, 0.3)
    forward = operator_splitting.forward_backward(weight, drive, step=0.1, max_steps=3)
    np.testing.assert_allclose(forward.state, z, rtol=1e-12)
    assert not forward.converged
    again = operator_splitting.peaceman_rachford(weight, drive, step=0.3, max_steps=4).residual
    np.testing.assert_allclose(
        operator_splitting.peaceman_rachford(weight, drive, step=0.3, max_steps=1, start=u).residual, again, rtol=1e-9
    )


def test_gradients_agree_with_those_of_newton():
    weight, lipschitz = monotone.weight(PARAMS, CONFIG), monotone.lipschitz(PARAMS, CONFIG)

    def loss(weight, solve):
        return jnp.sum(solve(weight, monotone.drive(PARAMS, X)).state)

    exact = {"atol": 1e-11, "max_steps": 5000}
    newton = lambda w, c: fixed_point.newton(lambda z, a: jax.nn.relu(a[0] @ z + a[1]), jnp.zeros(12), (w, c), atol=1e-11)  # noqa: E731
    forward = functools.partial(operator_splitting.forward_backward, step=0.5 / lipschitz**2, **exact)
    reflected = functools.partial(operator_splitting.peaceman_rachford, step=1 / lipschitz, **exact)
    one_step = functools.partial(reflected, adjoint=equilibrium_gradients.one_step())
    solvers = newton, forward, reflected, one_step
    right, *others, rough = jax.jit(lambda w: [jax.grad(loss)(w, solve) for solve in solvers])(weight)
    for other in others:
        np.testing.assert_allclose(other, right, atol=1e-7)
    assert np.abs(rough - right).max() > 0.1


def test_apply_is_the_fixed_point_and_the_solver_is_an_argument():
    z = monotone.apply(PARAMS, X, CONFIG)
    np.testing.assert_allclose(monotone.layer(PARAMS, z, X, CONFIG), z, atol=1e-9)
    solve = lambda w, c, prox_fn: operator_splitting.peaceman_rachford(w, c, prox_fn, step=0.3, atol=1e-10)  # noqa: E731
    np.testing.assert_allclose(monotone.apply(PARAMS, X, CONFIG, solve), z, atol=1e-8)
    linear = Config(dim=4, width=12, activation="identity", weight_scale=1.0)
    weight = np.asarray(monotone.weight(PARAMS, linear))
    expected = np.linalg.solve(np.eye(12) - weight, PARAMS.u @ X)
    np.testing.assert_allclose(monotone.apply(PARAMS, X, linear), expected, atol=1e-8)


def test_inputs_that_are_no_numbers_are_told():
    weight = monotone.weight(PARAMS, CONFIG)
    for solve in (functools.partial(operator_splitting.forward_backward, step=0.1), operator_splitting.peaceman_rachford):
        assert not solve(weight, jnp.full(12, jnp.nan)).converged
        start = solve(weight, monotone.drive(PARAMS, X), max_steps=0)
        assert start.num_steps == 0
        assert not start.converged
        with pytest.raises(ValueError, match=r"step must be above 0, got 0\.0"):
            solve(weight, monotone.drive(PARAMS, X), step=0.0)


def test_an_activation_that_is_no_projection_is_told():
    """With tanh the splittings come to rest elsewhere: the residual is that of the network, and says so."""
    weight = monotone.weight(PARAMS, CONFIG)
    solution = operator_splitting.forward_backward(weight, monotone.drive(PARAMS, X), jnp.tanh, step=0.1, max_steps=2000)
    assert not solution.converged
    assert solution.residual > 1e-3
