"""The network against loops in numpy, gradients of gates where experts are equal, and information against its definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from closedform.models.linear import deep_moe
from zoo.checks import rejected

CONFIG = deep_moe.Config(init_scale=1.0, gate_scale=1.0)
RNG = np.random.default_rng(0)
X = RNG.standard_normal(5)


@functools.cache
def params():
    return jax.jit(lambda key: deep_moe.init(key, CONFIG))(jax.random.key(0, impl="threefry2x32"))


def softmax(logits):
    e = np.exp(logits - logits.max())
    return e / e.sum()


@jax.jit
def of_gates(params, x):
    by = deep_moe.gates(params, x)
    return by, deep_moe.gated(params, x, by)


def assert_network(apply_fn):
    A, B, C1, C2 = map(np.asarray, params())
    first = softmax(C1 @ X)
    z = np.maximum(sum(g * (a @ X) for g, a in zip(first, A, strict=True)), 0)
    second = softmax(C2 @ z)
    expected = sum(g * (b @ z) for g, b in zip(second, B, strict=True))
    np.testing.assert_allclose(apply_fn(params(), X), expected, rtol=1e-10)
    by, gated = of_gates(params(), X)
    np.testing.assert_allclose(by.first, first, rtol=1e-10)
    np.testing.assert_allclose(by.second, second, rtol=1e-10)
    np.testing.assert_allclose(gated, expected, rtol=1e-10)


def test_network_is_two_mixtures():
    assert_network(jax.jit(deep_moe.apply))
    rejected(assert_network, lambda p, x: deep_moe.apply(p, x, deep_moe.Config(activation="identity")))


def test_linear_experts_are_a_table_of_maps():
    first, second = jnp.asarray(RNG.uniform(size=(2, 3))), jnp.asarray(RNG.uniform(size=(6, 4)))
    found = deep_moe.maps(params(), first, second)
    assert found.shape == (2, 6, 5, 5)
    by = deep_moe.Gates(first[1], second[4])
    np.testing.assert_allclose(found[1, 4] @ X, deep_moe.gated(params(), jnp.asarray(X), by, "identity"), rtol=1e-10)
    one_hot = deep_moe.maps(params(), jnp.eye(3), jnp.eye(4))
    np.testing.assert_allclose(one_hot[2, 1], params().second[1] @ params().first[2], rtol=1e-12)


@jax.jit
def gradient_of(experts):
    return jax.grad(lambda p: jnp.sum((deep_moe.apply(p, X) - 1) ** 2))(experts)


def assert_gates_stay(experts):
    """Gradients of both gates below 1e-14, and of the experts of order 1."""
    gradient = gradient_of(experts)
    assert max(float(jnp.max(jnp.abs(gate))) for gate in (gradient.gate_first, gradient.gate_second)) < 1e-14
    assert min(float(jnp.max(jnp.abs(expert))) for expert in (gradient.first, gradient.second)) > 0.1


def test_equal_experts_give_their_gate_no_gradient():
    right = params()
    both = right._replace(first=right.first.at[:].set(right.first[0]), second=right.second.at[:].set(right.second[0]))
    assert_gates_stay(both)
    rejected(assert_gates_stay, both._replace(first=right.first))
    rejected(assert_gates_stay, both._replace(second=right.second))


def test_gates_that_a_factor_drives():
    np.testing.assert_allclose(deep_moe.factor_gate(3, 1.0), [softmax(np.eye(3)[i]) for i in range(3)], rtol=1e-12)
    np.testing.assert_array_equal(deep_moe.factor_gate(4, jnp.inf), np.eye(4))
    np.testing.assert_array_equal(deep_moe.factor_gate(1, 1.0), 1)


def test_information_of_a_gate():
    """Of experts that are certain it is the mutual information of two lists, by scikit-learn; of the posterior, the formula."""
    factor, expert = RNG.integers(0, 3, 200), RNG.integers(0, 4, 200)
    expert = np.where(RNG.uniform(size=200) < 0.6, factor, expert)
    found = deep_moe.mutual_information(jnp.eye(4)[expert], jnp.asarray(factor), 3)
    assert found == pytest.approx(mutual_info_score(factor, expert), rel=1e-10)
    p, n = 0.7, 3
    gate = np.full((n, n), (1 - p) / (n - 1)) + (p - (1 - p) / (n - 1)) * np.eye(n)
    expected = np.log(n) + p * np.log(p) + (1 - p) * np.log((1 - p) / (n - 1))
    assert deep_moe.mutual_information(jnp.asarray(gate), jnp.arange(n), n) == pytest.approx(expected, rel=1e-12)


def test_experts_that_lead_are_left_out():
    gate = jnp.array([[0.2, 0.3, 0.5]])
    np.testing.assert_allclose(deep_moe.balanced(gate, jnp.array([1.0, 1.0, 7.0]), 2.0), [[0.4, 0.6, 0.0]], rtol=1e-12)
    np.testing.assert_allclose(deep_moe.balanced(gate, jnp.array([1.0, 1.0, 7.0]), 4.0), gate, rtol=1e-12)
    np.testing.assert_allclose(deep_moe.balanced(gate, jnp.array([1.0, 1.0, 7.0]), jnp.inf), gate, rtol=1e-12)
