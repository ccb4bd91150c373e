"""The losses and their duals against numerical minimisation and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from closedform.models.fully_connected import two_layer
from closedform.solvers import losses
from zoo import convex_problems as zoo
from zoo.checks import rejected

LABELS = np.array([1.0, -1.0, 1.0, 1.0, -1.0])
TARGETS = np.array([0.3, -1.2, 2.0, 0.0, -0.4])
LOSSES = {"squared": (losses.squared, TARGETS), "logistic": (losses.logistic, LABELS), "hinge": (losses.hinge, LABELS)}
# of one example among n, as in the table of the module
ONE = {
    "squared": lambda f, y, n: (f - y) ** 2 / 2,
    "logistic": lambda f, y, n: np.log1p(np.exp(-2 * y * f)),
    "hinge": lambda f, y, n: max(0.0, 1 - y * f) / n,
}
# y nu in here has a finite dual
DOMAIN = {"squared": (-3, 3), "logistic": (0, 2), "hinge": (0, 1 / 5)}
NAMES = pytest.mark.parametrize("name", LOSSES)


def assert_value(value_fn, name):
    y = LOSSES[name][1]
    for seed in range(5):
        f = np.random.default_rng(seed).normal(size=5) * 2
        expected = sum(ONE[name](f[k], y[k], 5) for k in range(5))
        np.testing.assert_allclose(value_fn(jnp.asarray(f), jnp.asarray(y)), expected, rtol=1e-12)


@NAMES
def test_values(name):
    value = LOSSES[name][0].value
    assert_value(value, name)
    rejected(assert_value, lambda f, y: 2 * value(f, y), name)  # no 1/2
    rejected(assert_value, lambda f, y: value(f, y) / y.size, name)  # a mean; of the hinge, twice
    rejected(assert_value, lambda f, y: value(f / 2, y), name)  # the logistic loss of most texts


def test_logistic_loss_is_that_of_labels_0_and_1():
    """sum log(1 + exp(2 f)) - 2 t f with t = (1 + y)/2, as in the paper's code."""
    f, t = TARGETS, (1 + LABELS) / 2
    expected = np.sum(np.log1p(np.exp(2 * f)) - 2 * t * f)
    np.testing.assert_allclose(losses.logistic.value(jnp.asarray(f), jnp.asarray(LABELS)), expected, rtol=1e-12)
    assert np.isfinite(losses.logistic.value(jnp.array([-1e4]), jnp.array([1.0])))


def assert_dual(dual_fn, name):
    """Fenchel: min over outputs of value + nu . outputs, by a scalar minimisation for each example."""
    y = LOSSES[name][1]
    low, high = DOMAIN[name]
    for seed in range(4):
        share = np.random.default_rng(seed).uniform(low, high, 5)
        nu = share if name == "squared" else y * share
        least = 0.0
        for k in range(5):
            # a kink or a smooth bottom within |f| <= 40
            value = lambda f, k=k, nu=nu: ONE[name](f, y[k], 5) + nu[k] * f  # noqa: E731
            found = optimize.minimize_scalar(value, bounds=(-40, 40), method="bounded", options=dict(xatol=1e-10))
            least += min(found.fun, value(y[k]))
        np.testing.assert_allclose(dual_fn(jnp.asarray(nu), jnp.asarray(y)), least, rtol=1e-7, atol=1e-7)


@NAMES
def test_duals_by_fenchel(name):
    assert_dual(LOSSES[name][0].dual, name)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("squared", lambda nu, y: nu @ y - nu @ nu),
        ("squared", lambda nu, y: nu @ y + nu @ nu / 2),
        ("squared", lambda nu, y: -nu @ y - nu @ nu / 2),
        ("logistic", lambda nu, y: losses.logistic.dual(nu / 2, y)),  # without the 2 of the logit
        ("logistic", lambda nu, y: losses.logistic.dual(nu, y) / 2),
        ("logistic", lambda nu, y: -losses.logistic.dual(nu, y)),
        ("hinge", lambda nu, y: losses.hinge.dual(nu / y.size, y)),  # of the sum
        ("hinge", lambda nu, y: losses.hinge.dual(nu, y) / y.size),
        ("hinge", lambda nu, y: losses.hinge.dual(-nu, y)),
    ],
)
def test_wrong_duals_are_rejected(name, wrong):
    rejected(assert_dual, wrong, name)


@pytest.mark.parametrize("name", ["logistic", "hinge"])
def test_duals_are_minus_infinity_where_the_loss_is_unbounded(name):
    loss, y = LOSSES[name]
    low, high = DOMAIN[name]
    inside = jnp.asarray(y * high / 2)
    for share, slope in ((low - 1e-3, -1), (high + 1e-3, 1)):
        nu = inside.at[2].set(y[2] * share)
        assert loss.dual(nu, jnp.asarray(y)) == -jnp.inf
        far = [ONE[name](-slope * y[2] * size, y[2], 5) - slope * y[2] * nu[2] * size for size in (100.0, 300.0)]
        assert far[1] < far[0] - 0.1
    for edge in (low, high):
        np.testing.assert_allclose(loss.dual(jnp.asarray(y * edge), jnp.asarray(y)), 0 if name == "logistic" else 5 * edge)


@NAMES
def test_dual_point_is_minus_the_gradient_and_attains_the_dual(name):
    loss, y = LOSSES[name]
    f = np.random.default_rng(7).normal(size=5)
    nu = loss.dual_point(jnp.asarray(f), jnp.asarray(y))
    for k in range(5):
        difference = (ONE[name](f[k] + 1e-6, y[k], 5) - ONE[name](f[k] - 1e-6, y[k], 5)) / 2e-6
        np.testing.assert_allclose(-nu[k], difference, atol=1e-8)
    expected = loss.value(jnp.asarray(f), jnp.asarray(y)) + nu @ f
    np.testing.assert_allclose(loss.dual(nu, jnp.asarray(y)), expected, rtol=1e-12, atol=1e-12)
    # any other output is above: a lower bound
    for other in np.random.default_rng(8).normal(size=(20, 5)):
        assert loss.dual(nu, jnp.asarray(y)) <= loss.value(jnp.asarray(other), jnp.asarray(y)) + nu @ other + 1e-12


def assert_curvature(curvature_fn, name):
    y = LOSSES[name][1]
    f = np.random.default_rng(3).normal(size=5)
    second = [
        (ONE[name](f[k] + h, y[k], 5) - 2 * ONE[name](f[k], y[k], 5) + ONE[name](f[k] - h, y[k], 5)) / h**2
        for h in (1e-4,)
        for k in range(5)
    ]
    np.testing.assert_allclose(curvature_fn(jnp.asarray(f), jnp.asarray(y)), second, atol=1e-6)


@pytest.mark.parametrize("name", ["squared", "logistic"])
def test_curvature(name):
    loss = LOSSES[name][0]
    assert_curvature(loss.curvature, name)
    rejected(assert_curvature, lambda f, y: loss.curvature(f, y) / 4, name)  # without the 2 of the logit, squared
    rejected(assert_curvature, lambda f, y: loss.curvature(f, y) / y.size, name)
    # R-FISTA takes the curvature as at most 1
    f = jnp.linspace(-3, 3, 601)
    assert np.max(loss.curvature(f, jnp.ones_like(f))) <= 1 + 1e-12


def test_labels_are_checked():
    for name in ("logistic", "hinge"):
        loss = LOSSES[name][0]
        loss.check(jnp.asarray(LABELS))
        with pytest.raises(ValueError, match=r"labels y of -1 and \+1; got 0.0.*2 y - 1"):
            loss.check(jnp.array([1.0, 0.0, -1.0]))
        jax.jit(loss.check)(jnp.array([1.0, 0.0]))  # unknown under a trace
    losses.squared.check(jnp.array([0.3]))


def assert_objective(objective_fn):
    x, y = zoo.random_data(6, 3, labels=True)
    rng = np.random.default_rng(1)
    params = two_layer.Params(jnp.asarray(rng.normal(size=(3, 4))), jnp.asarray(rng.normal(size=4)))
    for loss, logistic in ((losses.squared, False), (losses.logistic, True)):
        expected = zoo.network_objective(params, x, y, 0.3, logistic)
        np.testing.assert_allclose(objective_fn(params, x, y, 0.3, loss), expected, rtol=1e-12)


def test_network_objective_is_that_of_a_loop_over_neurons():
    assert_objective(losses.network_objective)
    rejected(assert_objective, lambda p, x, y, decay, loss: losses.network_objective(p, x, y, 2 * decay, loss))
    rejected(assert_objective, lambda p, x, y, decay, loss: losses.network_objective(p, x, y, decay * p.a.size, loss))
    rejected(assert_objective, lambda p, x, y, decay, loss: losses.network_objective(p, x, y, decay, loss) / y.size)


def test_dtype_follows_the_input():
    f = jnp.linspace(-1, 1, 5, dtype=jnp.float32)
    y = jnp.asarray(LABELS, jnp.float32)
    for loss, _ in LOSSES.values():
        for function in (loss.value, loss.dual, loss.dual_point, loss.curvature):
            assert jax.eval_shape(function, f, y).dtype == jnp.float32


def test_lists_whole_numbers_and_wrong_labels():
    assert float(losses.squared.value([1, 1], [3, 4])) == 6.5
    assert losses.squared.dual_point([1, 1], [3, 4]).tolist() == [2, 3]
    assert float(losses.hinge.value([0, 2], [True, 1])) == 0.5
    with pytest.raises(ValueError, match=r"^y must be -1 or 1"):
        losses.logistic.value([0.0], [0.0])
    with pytest.raises(ValueError, match=r"^y must have the shape \(sample,\) with sample = 2 as in outputs"):
        losses.squared.value([1.0, 2.0], [1.0])
