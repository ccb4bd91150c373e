"""Tokens moved by attention against numbers of the equiangular theory, loops and scipy's own integration."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.sparse.csgraph import connected_components

from closedform.models.transformers import sphere_attention as sphere
from closedform.theory.transformers import circle_tokens, interaction_energy
from zoo import checks
from zoo.checks import rejected


def by_loops(params, x, beta, softmax, own=True):
    """a_i, as the definition reads; `own`: a token attends to itself too."""
    q, k, v = (np.asarray(matrix) for matrix in params)
    x = np.asarray(x)
    out = np.zeros_like(x)
    for i in range(len(x)):
        total = 0.0
        for j in range(len(x)):
            if own or j != i:
                weight = np.exp(beta * (q @ x[i]) @ (k @ x[j]))
                total += weight
                out[i] += weight * (v @ x[j])
        out[i] /= total if softmax else len(x)
    return out


def by_scipy(x, time, beta, softmax=True, own=True):
    """The flow with Q = K = V = I, by an integrator that keeps nothing on the sphere."""

    def velocity(_, y):
        tokens = y.reshape(x.shape)
        weights = np.exp(beta * tokens @ tokens.T) * (1 if own else 1 - np.eye(len(x)))
        pull = weights @ tokens / (weights.sum(axis=1, keepdims=True) if softmax else len(x))
        return (pull - np.sum(pull * tokens, axis=1, keepdims=True) * tokens).ravel()

    return solve_ivp(velocity, (0, time), np.asarray(x).ravel(), "DOP853", rtol=1e-12, atol=1e-13).y[:, -1].reshape(x.shape)


@functools.partial(jax.jit, static_argnames=("num_steps", "softmax"))
def flow(x, time, num_steps, beta, softmax=True, shift=0.0):
    params = sphere.identity(x.shape[1])

    def step(x, _):
        return sphere.flow_step(params, x, time / num_steps, beta, softmax, shift), None

    return jax.lax.scan(step, x, None, length=num_steps)[0]


def general(dim, seed=0):
    return sphere.init(jax.random.key(seed), sphere.Config(dim, init="gaussian"))


# --- attention and its motion ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("softmax", [True, False])
def test_attention_is_its_definition(softmax):
    params, x = general(4), sphere.uniform(jax.random.key(1), 5, 4)
    expected = by_loops(params, x, 1.7, softmax)
    found = sphere.attention(params, x, 1.7, softmax)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    rejected(np.testing.assert_allclose, by_loops(params, x, 1.7, not softmax), expected, 1e-3)
    rejected(np.testing.assert_allclose, by_loops(params, x, 1.7, softmax, own=False), expected, 1e-3)
    turned = sphere.Params(params.key, params.query, params.value)  # queries are not keys
    rejected(np.testing.assert_allclose, sphere.attention(turned, x, 1.7, softmax), expected, 1e-3)


@pytest.mark.parametrize("softmax", [True, False])
def test_field_is_tangent_and_the_shift_is_a_change_of_time(softmax):
    params, x = general(4), sphere.uniform(jax.random.key(1), 5, 4)
    velocity = sphere.field(params, x, 1.7, softmax)
    np.testing.assert_allclose(jnp.sum(velocity * x, axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(
        velocity, sphere.tangent(x, jnp.asarray(by_loops(params, x, 1.7, softmax))), rtol=1e-11, atol=1e-14
    )
    slower = sphere.field(params, x, 1.7, softmax, shift=2.0)
    np.testing.assert_allclose(slower, velocity * (1 if softmax else np.exp(-2.0)), rtol=1e-12, atol=1e-15)


def test_order_of_tokens_and_rotations():
    """Tokens are a set; with Q = K = V = I a rotation of all turns the motion."""
    params, x = general(4), sphere.uniform(jax.random.key(1), 6, 4)
    order = np.random.default_rng(0).permutation(6)
    np.testing.assert_allclose(sphere.field(params, x[order]), sphere.field(params, x)[order], rtol=1e-12, atol=1e-15)
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0])
    plain = sphere.identity(4)
    for softmax in (True, False):
        turned = sphere.flow_step(plain, x @ turn, 0.3, 2.0, softmax)
        np.testing.assert_allclose(turned, sphere.flow_step(plain, x, 0.3, 2.0, softmax) @ turn, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("softmax", [True, False])
def test_flow_has_order_four_and_the_limit_of_another_integrator(softmax):
    x = sphere.uniform(jax.random.key(2), 5, 3)
    exact = by_scipy(x, 1.0, 2.0, softmax)
    errors = [np.abs(flow(x, 1.0, count, 2.0, softmax) - exact).max() for count in (10, 20, 40)]
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / np.array(errors[1:])), 4, atol=0.4)
    np.testing.assert_allclose(flow(x, 1.0, 400, 2.0, softmax), exact, rtol=0, atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(flow(x, 1.0, 10, 2.0, softmax), axis=1), 1, rtol=1e-14)


def test_apply_and_trajectory_are_the_steps():
    params, x = general(4), 3 * sphere.uniform(jax.random.key(1), 5, 4)
    for motion, step_fn in (("flow", sphere.flow_step), ("layers", sphere.layer)):
        for softmax in (True, False):
            config = sphere.Config(4, 1.5, softmax, 0.2, motion, 0.3, 3)
            expected = [x / 3]
            for _ in range(3):
                expected.append(step_fn(params, expected[-1], 0.3, 1.5, softmax, 0.2))
            path = sphere.trajectory(params, x, config)
            np.testing.assert_allclose(path, np.stack(expected), rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(sphere.apply(params, x, config), path[-1], rtol=1e-12, atol=1e-14)
    small = (sphere.layer(params, x / 3, 1e-6, 1.5) - x / 3) / 1e-6
    np.testing.assert_allclose(small, sphere.field(params, x / 3, 1.5), atol=1e-5)  # layers become the flow


# --- equiangular tokens: the numbers of the theory --------------------------------------------------------------------------


def test_equiangular_start_is_exact():
    for n, dim, g in ((4, 4, 0.0), (5, 9, 0.3), (6, 6, -0.2), (3, 3, -0.5), (4, 5, 1.0)):
        x = np.asarray(sphere.equiangular(n, dim, g))
        np.testing.assert_allclose(x @ x.T, (1 - g) * np.eye(n) + g, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(sphere.equiangular(3, 4), np.eye(3, 4))


def test_flow_of_equiangular_tokens():
    """Inner products at t = 3: gamma of two cases, to 1e-9."""

    def assert_numbers(tokens_fn):
        for n, dim, beta, expected in ((4, 4, 1.0, 0.981415675650), (8, 16, 4.0, 0.179890868958)):
            pairs = sphere.inner_products(jnp.asarray(tokens_fn(sphere.equiangular(n, dim), beta)))
            np.testing.assert_allclose(pairs, expected, rtol=0, atol=1e-9)

    assert_numbers(lambda x, beta: flow(x, 3.0, 600, beta))
    rejected(assert_numbers, lambda x, beta: flow(x, 3.0, 600, beta, False))
    rejected(assert_numbers, lambda x, beta: by_scipy(x, 3.0, beta, own=False))  # j = i forgotten in the softmax


@pytest.mark.slow
def test_layers_of_equiangular_tokens():
    cases = ((8, 1.0, 0.1, 20, 0.780340401418), (5, 2.0, 1.0, 6, 0.973243615414), (6, 2.0, 0.5, 10, 0.983413733425))

    def assert_numbers(step_fn):
        for n, beta, eta, count, expected in cases:
            x, params = sphere.equiangular(n, n + 1), sphere.identity(n + 1)
            for _ in range(count):
                x = step_fn(params, x, eta, beta)
            np.testing.assert_allclose(sphere.inner_products(x), expected, rtol=0, atol=1e-10)

    assert_numbers(jax.jit(sphere.layer))
    rejected(assert_numbers, jax.jit(sphere.flow_step))
    rejected(assert_numbers, lambda *args: sphere.layer(*args, softmax=False))
    rejected(assert_numbers, lambda p, x, eta, beta: sphere.normalise(x + eta * sphere.field(p, x, beta)))  # projected before


@functools.partial(jax.jit, static_argnames="softmax")
def hitting_time(x, level, step_size, beta, softmax=True, shift=0.0):
    """When the first pair reaches the level: whole steps up to there, and the part of a step that is left by bisection."""
    params = sphere.identity(x.shape[1])

    def excess(x, h):
        return sphere.inner_products(sphere.flow_step(params, x, h, beta, softmax, shift))[0] - level

    def onwards(state):
        return excess(state[0], step_size) < 0

    def step(state):
        return sphere.flow_step(params, state[0], step_size, beta, softmax, shift), state[1] + step_size

    x, time = jax.lax.while_loop(onwards, step, (x, jnp.zeros(())))

    def halve(_, ends):
        middle = (ends[0] + ends[1]) / 2
        above = excess(x, middle) > 0
        return jnp.where(above, ends[0], middle), jnp.where(above, middle, ends[1])

    return time + jax.lax.fori_loop(0, 50, halve, (jnp.zeros(()), step_size))[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "beta", "expected"),
    [(2, 0.0, 1.472219), (2, 4.0, 8.390296), (4, 1.0, 2.115632), (4, 4.0, 7.093941), (32, 4.0, 4.593210)],
)
def test_hitting_times(n, beta, expected):
    found = hitting_time(sphere.equiangular(n, n), 0.9, 0.01, beta)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=6e-7)
    other = hitting_time(sphere.equiangular(n, n), 0.9, 0.01, beta + 0.01)
    rejected(np.testing.assert_allclose, other, expected, 1e-7, 6e-7)


def test_hitting_time_unnormalised():
    found = hitting_time(sphere.equiangular(4, 4), 0.9, 0.005, 1.0, softmax=False)
    np.testing.assert_allclose(found, 1.120615900918, rtol=1e-9)
    slowed = hitting_time(sphere.equiangular(4, 4), 0.9, 0.005, 1.0, softmax=False, shift=1.0)
    np.testing.assert_allclose(slowed, np.e * 1.120615900918, rtol=1e-9)
    rejected(np.testing.assert_allclose, hitting_time(sphere.equiangular(4, 4), 0.9, 0.005, 1.0), found, 1e-2)


# --- the circle --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("softmax", [True, False])
def test_waves_on_the_circle(softmax):
    """The linearised velocity of 400 evenly spaced tokens under a wave of k periods is sigma_k times the wave."""
    beta, angles = 9.0, 2 * jnp.pi * jnp.arange(400.0) / 400
    across = jnp.stack([-jnp.sin(angles), jnp.cos(angles)], axis=1)
    params = sphere.identity(2)

    def speeds(theta):
        velocity = sphere.field(params, sphere.circle(theta), beta, softmax, shift=beta)
        turned = jnp.stack([-jnp.sin(theta), jnp.cos(theta)], axis=1)
        return jnp.sum(velocity * turned, axis=1)

    def rate(k):
        wave = jnp.sin(k * angles)
        return jnp.sum(jax.jvp(speeds, (angles,), (wave,))[1] * wave) / jnp.sum(wave**2)

    assert jnp.abs(jnp.sum(across * sphere.field(params, sphere.circle(angles), beta, softmax), axis=1)).max() < 1e-11
    found = np.array([rate(k) for k in range(1, 7)])
    expected = np.asarray(circle_tokens.circle_growth_rates(6, beta, softmax)) * (1 if softmax else np.exp(-beta))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    if softmax:
        np.testing.assert_allclose(found[:4], [0.104743325, 0.351339267, 0.591350657, 0.704497029], atol=1e-9)
    rejected(np.testing.assert_allclose, found, expected / np.arange(1, 7), 1e-2)


# --- energy ------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_energy_rates():
    """dE/dt along the flow: (1/n) sum |x'|^2 (USA), (1/n^2) sum Z_i |x'|^2 (SA), to 1e-9."""
    for dim, beta in ((2, 1.0), (3, 4.0), (8, 0.3)):
        x = sphere.uniform(jax.random.key(dim), 7, dim)
        total = jnp.sum(jnp.exp(beta * x @ x.T), axis=1)
        for softmax in (True, False):
            velocity = sphere.field(sphere.identity(dim), x, beta, softmax)
            change = jax.jvp(lambda x, beta=beta: sphere.energy(x, beta), (x,), (velocity,))[1]
            square = jnp.sum(velocity**2, axis=1)
            ascent, weighted = jnp.mean(square), jnp.mean(total * square) / 7
            right, wrong = (weighted, ascent) if softmax else (ascent, weighted)
            np.testing.assert_allclose(change, right, rtol=1e-9)
            rejected(np.testing.assert_allclose, change, wrong, 1e-2)
            np.testing.assert_allclose(change, interaction_energy.energy_rate(x, beta, softmax), rtol=1e-9)
        gradient = 7 * jax.grad(lambda x, beta=beta: sphere.energy(x, beta))(x)  # USA is its ascent
        np.testing.assert_allclose(sphere.tangent(x, gradient), sphere.field(sphere.identity(dim), x, beta, False), atol=1e-13)


@pytest.mark.slow
def test_energy_rises_along_the_flow_and_the_layers():
    x = sphere.uniform(jax.random.key(0), 9, 3)
    for motion in ("flow", "layers"):
        for softmax in (True, False):
            path = sphere.trajectory(sphere.identity(3), x, sphere.Config(3, 2.0, softmax, 2.0, motion, 0.1, 200))
            energies = jax.vmap(lambda x: sphere.energy(x, 2.0, shift=2.0))(path)
            assert jnp.all(jnp.diff(energies) > -1e-15)
            assert energies[-1] <= 1 / 4 + 1e-15
            np.testing.assert_allclose(energies[0] * np.exp(2.0), interaction_energy.energy(x, 2.0), rtol=1e-13)


# --- clusters ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("softmax", [True, False])
def test_tokens_in_a_hemisphere_become_one(softmax):
    """Any queries and keys, V = I; at a rate that is exponential."""
    for seed in range(3):
        params = general(4, seed)._replace(value=jnp.eye(4))
        x = sphere.uniform(jax.random.key(10 + seed), 12, 4)
        x = x * jnp.sign(x[:, :1])  # an open hemisphere, up to chance
        path = sphere.trajectory(params, x, sphere.Config(4, 1.0, softmax, step_size=0.1, num_steps=600))
        apart = 1 - jax.vmap(lambda x: jnp.min(sphere.inner_products(x)))(path)
        assert apart[0] > 0.5
        assert apart[-1] < 1e-14
        # exponential: every four digits take as long
        first, second, third = (int(jnp.argmax(apart < level)) for level in (1e-4, 1e-8, 1e-12))
        np.testing.assert_allclose(third - second, second - first, rtol=0.05, atol=2)
    # and not without the hemisphere: an antipodal pair stays, as does the square
    for x in (jnp.array([[1.0, 0.0], [-1.0, 0.0]]), sphere.circle(jnp.pi / 2 * jnp.arange(4.0))):
        moved = flow(x, 3.0, 30, 1.0, softmax)
        np.testing.assert_allclose(moved, x, atol=1e-12)


def test_values_matter_for_one_cluster():
    """V = -I repels: the same tokens do not become one."""
    x = sphere.uniform(jax.random.key(3), 12, 4)
    params = sphere.identity(4)._replace(value=-jnp.eye(4))
    after = sphere.apply(params, x * jnp.sign(x[:, :1]), sphere.Config(4, step_size=0.1, num_steps=600))
    assert jnp.min(sphere.inner_products(after)) < 0


@pytest.mark.slow
def test_clusters_are_the_components_of_a_graph():
    for seed, threshold in ((0, 0.6), (1, 0.8), (2, 0.9), (3, 0.99), (4, -1.1)):
        x = sphere.uniform(jax.random.key(seed), 30, 3)
        count, labels = connected_components(np.asarray(x @ x.T) > threshold)
        assert sphere.num_clusters(x, threshold) == count
        sizes = np.bincount(labels)
        assert sphere.num_clusters(x, threshold, smallest=3) == np.sum(sizes >= 3)
        found = np.asarray(sphere.components(x, threshold))
        np.testing.assert_array_equal(found[:, None] == found, labels[:, None] == labels)
        np.testing.assert_allclose(
            sphere.fraction_above(x, threshold), np.mean(np.asarray(sphere.inner_products(x)) > threshold)
        )
    chain = sphere.circle(0.1 * jnp.arange(20.0))  # links of neighbours alone join all
    assert sphere.num_clusters(chain, float(np.cos(0.11))) == 1
    assert sphere.num_clusters(chain, float(np.cos(0.09))) == 20


# --- precision and bad input ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_large_beta_in_single_precision():
    with jax.enable_x64(False):
        x = sphere.uniform(jax.random.key(0), 6, 3)
        params = sphere.identity(3)
        for beta in (100.0, 1e4):
            for softmax, shift in ((True, 0.0), (False, beta)):
                assert sphere.field(params, x, beta, softmax, shift).dtype == jnp.float32
                for motion in ("flow", "layers"):
                    after = sphere.apply(params, x, sphere.Config(3, beta, softmax, shift, motion))
                    assert jnp.isfinite(after).all()
                    np.testing.assert_allclose(jnp.linalg.norm(after, axis=1), 1, rtol=1e-6)
            assert jnp.isfinite(sphere.energy(x, beta, shift=beta))
        assert not jnp.isfinite(sphere.field(params, x, 100.0, softmax=False)).all()  # what the shift is for


def test_uniform_tokens_have_no_direction():
    x = np.asarray(sphere.uniform(jax.random.key(0), 40_000, 3))
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(x.T @ x / len(x), np.eye(3) / 3, atol=0.01)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=0.015)


def test_gaussian_matrices_have_the_variance_asked_for():
    params = general(100)
    for matrix in params:
        np.testing.assert_allclose(np.var(matrix) * 100, 1, rtol=0.05)
    assert jnp.abs(params.query - params.key).max() > 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(dim=1), "dim must be a whole number of at least 2, got 1"),
        (dict(num_steps=-1), "num_steps must be a whole number of at least 0, got -1"),
        (dict(beta=-1.0), "beta must be a number of at least 0, got -1.0"),
        (dict(step_size=float("nan")), "step_size must be a number of at least 0"),
        (dict(shift=float("inf")), "shift must be a finite number"),
        (dict(motion="jumps"), "motion must be 'flow' or 'layers', got 'jumps'"),
        (dict(init="ones"), "init must be 'identity' or 'gaussian', got 'ones'"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        checks.config(sphere.Config, **settings)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (sphere.equiangular, (1, 3), "num_tokens must be at least 2"),
        (sphere.equiangular, (4, 3), "dim must be at least num_tokens = 4, got 3"),
        (sphere.equiangular, (4, 4, -0.4), "inner_product must be from"),
        (sphere.equiangular, (4, 4, 1.1), "inner_product must be from"),
        (sphere.equiangular, (4, 4, float("nan")), "inner_product must be from"),
        (sphere.uniform, (jax.random.key(0), 0, 3), "num_tokens must be at least 1"),
        (sphere.uniform, (jax.random.key(0), 3, 1), "dim must be at least 2"),
    ],
)
def test_bad_starts_are_named(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(function)(*arguments)
