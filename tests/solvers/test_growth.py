"""Growing patterns: the exact optimum where it is known, honest rounds, and a size beyond enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.fully_connected import convex_relu
from closedform.solvers import growth, losses
from closedform.theory.convex import convex_relu as theory
from zoo import convex_problems as zoo
from zoo.convex_problems import FACTS

SMALL = dict(width=20, num_starts=64, descent_steps=300)  # what is enough for these sizes


@pytest.fixture(scope="module")
def grown():
    """The problem (10, 3) at weight_decay = 0.1, with what was reported of it."""
    with jax.enable_x64(True):
        told = []
        x, y = zoo.formula_data(10, 3)
        result = growth.grow(
            jax.random.key(0), np.asarray(x), np.asarray(y), 0.1, report=lambda *line: told.append(line), **SMALL
        )
        return result, told


def assert_account(result, x, y, weight_decay, rtol, logistic=False):
    """Objectives never rise, bounds never fall, and the end is what the network and the certificate say."""
    objectives, bounds = ([getattr(line, name) for line in result.rounds] for name in ("objective", "bound"))
    assert np.all(np.diff(objectives) <= 0)
    assert np.all(np.diff(bounds) >= 0)
    np.testing.assert_allclose(zoo.network_objective(result.network, x, y, weight_decay, logistic), objectives[-1], rtol=1e-10)
    np.testing.assert_allclose(
        (result.certificate.objective, result.certificate.bound), (objectives[-1], bounds[-1]), rtol=1e-14
    )
    assert result.certificate.proof is False
    assert -1e-7 * abs(objectives[-1]) <= result.certificate.gap <= rtol * abs(objectives[-1])


@pytest.mark.slow
def test_exact_optimum_in_three_dimensions(grown):
    result, told = grown
    x, y = zoo.formula_data(10, 3)
    assert_account(result, x, y, 0.1, 1e-5)
    np.testing.assert_allclose(result.certificate.objective, FACTS[10, 3].optima[1], rtol=1e-5)
    assert told == list(enumerate(result.rounds))
    # the certificate that the search gave is one that all patterns prove
    patterns = convex_relu.patterns(convex_relu.all_gates(x), x)
    exact = jax.jit(theory.dual_norm)(result.certificate.dual, x, patterns)
    np.testing.assert_allclose(result.certificate.norm, exact, rtol=1e-5)
    nu, scale = result.certificate.dual, min(1, 0.1 / result.certificate.norm)
    np.testing.assert_allclose(losses.squared.dual(scale * nu, y), result.certificate.bound, rtol=1e-12)
    assert result.rounds[-1].neurons <= 11 + 3  # about n + 1; merging may leave a few more


def test_same_key_same_numbers(grown):
    x, y = zoo.formula_data(10, 3)
    again = growth.grow(jax.random.key(0), x, y, 0.1, **SMALL)
    jax.tree.map(np.testing.assert_array_equal, again, grown[0])


def test_zero_network_above_weight_decay_max():
    x, y = zoo.formula_data(10, 3)
    result = growth.grow(jax.random.key(1), x, y, 1.02 * FACTS[10, 3].weight_decay_max, **SMALL)
    np.testing.assert_allclose(result.certificate.objective, y @ y / 2, rtol=1e-5)
    assert result.certificate.gap <= 1e-5 * result.certificate.objective


@pytest.mark.slow
def test_exact_optimum_in_five_dimensions():
    """20 random points in five dimensions have 10,072 patterns, all of which the interior point takes."""
    x, y = zoo.random_data(20, 5)
    result = growth.grow(jax.random.key(0), x, y, 2.0, **SMALL)
    assert_account(result, x, y, 2.0, 1e-5)
    gates = convex_relu.all_gates(x)
    assert gates.shape[1] == 10_072
    # what the search claimed of the dual point, over all patterns: now a proof
    nu = result.certificate.dual
    norm = jax.jit(theory.dual_norm)(nu, x, convex_relu.patterns(gates, x))
    np.testing.assert_allclose(result.certificate.norm, norm, rtol=1e-6)
    proved = losses.squared.dual(jnp.minimum(1, 2.0 / norm) * nu, y)
    assert result.certificate.objective - proved <= 2e-5 * result.certificate.objective


@pytest.mark.slow
def test_beyond_enumeration_and_beside_adam():
    x, y = zoo.random_data(60, 6)
    weight_decay = 5.0
    result = growth.grow(jax.random.key(0), x, y, weight_decay, rtol=1e-4, **(SMALL | dict(width=44)))
    assert_account(result, x, y, weight_decay, 1e-4)
    networks = zoo.trained(4, 60, x, y, weight_decay, 1000)
    for i in range(4):
        assert zoo.network_objective(zoo.one_of(networks, i), x, y, weight_decay) > result.certificate.objective


def test_logistic_loss():
    x, y = zoo.random_data(10, 3, seed=4, labels=True)
    result = growth.grow(jax.random.key(0), x, y, 0.5, loss=losses.logistic, rtol=1e-4, **SMALL)
    assert_account(result, x, y, 0.5, 1e-4, logistic=True)
    patterns = convex_relu.patterns(convex_relu.all_gates(x), x)
    optimum = zoo.clarabel(x, y, patterns, 0.5, logistic=True)
    np.testing.assert_allclose(result.certificate.objective, optimum, rtol=1e-4)
