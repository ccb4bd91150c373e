"""The two-layer network against autodiff, finite differences, its symmetries and the identities of its own paper."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.fully_connected import two_layer
from closedform.models.fully_connected.two_layer import Params

CONFIG = two_layer.Config(dim=7, width=24, init_scale=0.3)


def _draw(seed=0, num_samples=40, dim=CONFIG.dim, width=CONFIG.width):
    """A network away from balance, where no identity holds by accident, and a batch of XOR."""
    rng = np.random.default_rng(seed)
    params = Params(jnp.asarray(rng.normal(size=(dim, width))), jnp.asarray(rng.normal(size=width)))
    x = rng.choice([-1.0, 1.0], size=(num_samples, dim))
    return params, jnp.asarray(x), jnp.asarray(-x[:, 0] * x[:, 1])


def _analysis(params):
    return two_layer.components(params), two_layer.plane(params), two_layer.imbalance(params)


def _loss(f, y):
    return jnp.mean(2 * jax.nn.softplus(-y * f))


def _residual(f, y):
    return -2 * y * jax.nn.sigmoid(-y * f) / y.size


@jax.jit
def _outputs(params, x):
    return jax.vmap(two_layer.apply, (None, 0))(params, x)


@jax.jit
def _autodiff(params, x, y):
    return jax.grad(lambda q: _loss(_outputs(q, x), y))(params)


def _close(actual, expected, rtol=1e-10):
    def compare(u, v):
        np.testing.assert_allclose(u, v, rtol=rtol, atol=rtol * np.abs(v).max())

    jax.tree.map(compare, actual, expected)


def test_init_lies_on_the_sphere_and_is_balanced():
    params = two_layer.init(jax.random.key(3), CONFIG)
    assert params.w.shape == (7, 24)
    assert params.a.shape == (24,)
    np.testing.assert_allclose(np.linalg.norm(params.w, axis=0), 0.3, rtol=1e-12)
    assert set(np.unique(params.a)) == {-0.3, 0.3}
    np.testing.assert_allclose(two_layer.imbalance(params), 0, atol=1e-15)


def test_init_is_uniform_on_the_sphere():
    """E w w^T = theta^2 I / d and E (w_1 / theta)^4 = 3 / (d (d + 2)): the fourth moment tells a sphere from a cube."""
    dim, width = 5, 40_000
    params = two_layer.init(jax.random.key(0), two_layer.Config(dim, width, 2.0))
    w, a = np.asarray(params.w), np.asarray(params.a)
    direction = w / 2
    second = direction @ direction.T / width
    fourth = np.mean(direction**4, axis=1)
    np.testing.assert_allclose(second, np.eye(dim) / dim, atol=4 * np.sqrt(3 / 35 / width))
    np.testing.assert_allclose(fourth, 3 / 35, atol=4 * np.sqrt(105 / (5 * 7 * 9 * 11) / width))
    np.testing.assert_allclose(np.mean(w, axis=1), 0, atol=4 * 2 / np.sqrt(dim * width))
    assert abs(np.mean(a)) < 4 * 2 / np.sqrt(width)
    # w and a are drawn apart
    np.testing.assert_allclose(np.mean(w * a, axis=1), 0, atol=4 * 4 / np.sqrt(dim * width))


def test_init_is_determined_by_the_key():
    one, same, other = (two_layer.init(jax.random.key(seed), CONFIG) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.w, same.w)
    np.testing.assert_array_equal(one.a, same.a)
    assert not np.any(one.w == other.w)


@pytest.mark.parametrize("x64", [False, True])
def test_dtype_is_the_default_one_and_then_follows_the_parameters(x64):
    with jax.enable_x64(x64):
        expected = jnp.dtype("float64" if x64 else "float32")

        def everything(key):
            params = two_layer.init(key, CONFIG)
            x = jnp.ones((4, CONFIG.dim))
            gradient = two_layer.gradients(params, x, lambda f: f)
            return params, two_layer.apply(params, x[0]), gradient, _analysis(params)

        outputs = jax.eval_shape(everything, jax.random.key(0))
        assert {leaf.dtype for leaf in jax.tree.leaves(outputs)} == {expected}


def test_single_precision_parameters_stay_single_under_x64():
    def everything(params, x, y):
        return two_layer.gradients(params, x, lambda f: _residual(f, y)), _analysis(params)

    outputs = jax.eval_shape(everything, *jax.tree.map(lambda u: u.astype(jnp.float32), _draw()))
    assert {leaf.dtype for leaf in jax.tree.leaves(outputs)} == {jnp.dtype("float32")}


def _assert_output(apply_fn):
    """f(x) = (1/p) sum_j a_j relu(w_j . x), as a double loop over Python floats."""
    params, x, _ = _draw()
    for example in np.asarray(x[:5]):
        total = 0.0
        for column, a in zip(np.asarray(params.w).T, np.asarray(params.a), strict=True):
            preactivation = sum(u * v for u, v in zip(column, example, strict=True))
            total += a * max(preactivation, 0.0)
        np.testing.assert_allclose(apply_fn(params, jnp.asarray(example)), total / CONFIG.width, rtol=1e-12)


def test_output_is_the_formula():
    _assert_output(two_layer.apply)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p, x: jnp.sum(p.a * jax.nn.relu(x @ p.w)),  # no 1/p
        lambda p, x: jnp.mean(p.a * (x @ p.w)),  # no ReLU
        lambda p, x: jnp.mean(p.a * jnp.abs(x @ p.w)),
        lambda p, x: jnp.mean(jax.nn.relu(p.a * (x @ p.w))),  # a inside
        lambda p, x: two_layer.apply(p, x) / 2,
    ],
)
def test_output_rejects(wrong):
    with pytest.raises(AssertionError):
        _assert_output(wrong)


def test_homogeneity():
    params, x, _ = _draw()
    f = two_layer.apply(params, x[0])
    scaled = Params(3 * params.w, params.a / 2)
    np.testing.assert_allclose(two_layer.apply(scaled, x[0]), 1.5 * f, rtol=1e-12)
    np.testing.assert_allclose(two_layer.apply(params, 5 * x[0]), 5 * f, rtol=1e-12)


def test_neurons_are_exchangeable():
    params, x, y = _draw()
    order = np.random.default_rng(0).permutation(CONFIG.width)
    permuted = Params(params.w[:, order], params.a[order])
    f, gradient = two_layer.gradients(params, x, lambda f: _residual(f, y))
    f_permuted, gradient_permuted = two_layer.gradients(permuted, x, lambda f: _residual(f, y))
    _close(f_permuted, f)
    _close(gradient_permuted, Params(gradient.w[:, order], gradient.a[order]))
    _close(two_layer.components(permuted), jax.tree.map(lambda u: u[order], two_layer.components(params)))


def test_doubling_the_network_changes_no_output_and_halves_the_gradient():
    """The mean-field scale: with the step eta * width, a duplicated network follows the same path."""
    params, x, y = _draw()
    double = Params(jnp.concatenate([params.w] * 2, axis=1), jnp.concatenate([params.a] * 2))
    f, gradient = two_layer.gradients(params, x, lambda f: _residual(f, y))
    f_double, gradient_double = two_layer.gradients(double, x, lambda f: _residual(f, y))
    _close(f_double, f)
    _close(2 * gradient_double.w[:, : CONFIG.width], gradient.w)
    _close(2 * gradient_double.a[CONFIG.width :], gradient.a)


def _assert_gradients(gradients_fn):
    for seed in range(3):
        params, x, y = _draw(seed)
        if seed == 2:  # a silent neuron's a still has a gradient; its w has none
            params = params._replace(a=params.a.at[4].set(0.0))
        f, gradient = gradients_fn(params, x, lambda f, y=y: _residual(f, y))
        _close(f, _outputs(params, x))
        _close(gradient, _autodiff(params, x, y))


def test_gradients_are_those_of_autodiff():
    _assert_gradients(two_layer.gradients)


def _with(change_fn):
    def gradients(params, x, residual_fn):
        f, gradient = two_layer.gradients(params, x, residual_fn)
        return f, change_fn(params, gradient)

    return gradients


@pytest.mark.parametrize(
    "wrong",
    [
        _with(lambda p, g: jax.tree.map(lambda u: p.a.size * u, g)),  # no 1/p
        _with(lambda p, g: jax.tree.map(lambda u: 2 * u, g)),  # the factor 2 of the loss twice
        _with(lambda p, g: g._replace(w=g.w * p.a[None])),  # a twice
        _with(lambda p, g: g._replace(w=g.w * jnp.sign(p.a)[None])),  # |a| in place of a
        _with(lambda p, g: g._replace(a=jnp.sum(p.w * g.w, axis=0))),  # the identity without the division by a
        _with(lambda p, g: g._replace(a=jnp.sum(p.w * g.w, axis=0) / p.a)),  # the identity divided by a_j = 0
        lambda p, x, r: two_layer.gradients(p, x, lambda f: x.shape[0] * r(f)),  # a sum over the batch
    ],
)
def test_gradients_reject(wrong):
    with pytest.raises(AssertionError):
        _assert_gradients(wrong)


def test_gradients_are_finite_differences_of_the_loss():
    params, x, y = _draw(5)
    gradient = two_layer.gradients(params, x, lambda f: _residual(f, y))[1]
    direction = _draw(9)[0]

    def along(step):
        moved = jax.tree.map(lambda u, v: u + step * v, params, direction)
        return _loss(_outputs(moved, x), y)

    # A gate that flips within the step would spoil the difference: 1e-6 |x . direction| is far below the least |w . x|.
    assert np.abs(x @ params.w).min() > 1e3 * 1e-6 * np.abs(x @ direction.w).max() / 10
    slope = (along(1e-6) - along(-1e-6)) / 2e-6
    expected = sum(jnp.vdot(u, v) for u, v in zip(gradient, direction, strict=True))
    np.testing.assert_allclose(slope, expected, rtol=1e-7)


def test_gate_at_zero_is_shut():
    params, x, _ = _draw()
    params = params._replace(w=jnp.zeros_like(params.w))
    gradient = two_layer.gradients(params, x, lambda f: f + 1)[1]
    np.testing.assert_array_equal(gradient.w, 0)
    np.testing.assert_array_equal(gradient.a, 0)


def _assert_homogeneity_identity(gradient_fn):
    params = two_layer.init(jax.random.key(0), CONFIG)
    _, x, y = _draw(1)
    gradient = gradient_fn(params, x, y)
    assert np.abs(gradient.a).min() > 1e-6
    np.testing.assert_allclose(params.a * gradient.a, np.sum(params.w * gradient.w, axis=0), rtol=0, atol=1e-10)


def _by_hand(params, x, y):
    return two_layer.gradients(params, x, lambda f: _residual(f, y))[1]


@pytest.mark.parametrize("gradient_fn", [_autodiff, _by_hand])
def test_fact_2_a_grad_a_is_w_grad_w(gradient_fn):
    """Section 6(d), fact 2: one minibatch, loss included, to 1e-10 in float64; autodiff does not use it."""
    _assert_homogeneity_identity(gradient_fn)


def test_fact_2_rejects_a_missing_factor():
    with pytest.raises(AssertionError):
        _assert_homogeneity_identity(lambda *args: _autodiff(*args)._replace(a=2 * _autodiff(*args).a))


def test_imbalance_grows_by_the_squared_gradients():
    """||w||^2 - a^2 changes by step^2 (||dL/dw||^2 - (dL/da)^2) in one step: the first order cancels exactly."""
    params, x, y = _draw(4)
    gradient = _by_hand(params, x, y)
    stepped = jax.tree.map(lambda u, v: u - 0.7 * v, params, gradient)
    change = two_layer.imbalance(stepped) - two_layer.imbalance(params)
    expected = 0.7**2 * (np.sum(gradient.w**2, axis=0) - gradient.a**2)
    np.testing.assert_allclose(change, expected, rtol=1e-9, atol=1e-13)


def _assert_components(components_fn):
    # One neuron a column: mu_1 and mu_2 parts of either sign, either sign of a, and a = 0.
    w = jnp.array([[2.0, 2.0, -1.0, 0.5], [-1.0, -1.0, -3.0, 0.5], [0.0, 3.0, 1.0, 0.0], [2.0, 4.0, 1.0, 1.0]])
    a = jnp.array([1.5, -1.5, -0.1, 0.0])
    signal, opposite, perp_norm, second_layer = components_fn(Params(w, a))
    np.testing.assert_allclose(signal, [3, 1, -4, 1], rtol=1e-12)
    np.testing.assert_allclose(opposite, [1, 3, 2, 0], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(perp_norm, [2, 5, np.sqrt(2), 1], rtol=1e-12)
    np.testing.assert_array_equal(second_layer, a)
    np.testing.assert_allclose((signal**2 + opposite**2) / 2 + perp_norm**2, np.sum(w**2, axis=0), rtol=1e-12)


def test_components_follow_the_sign_of_a():
    _assert_components(two_layer.components)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p: two_layer.components(p._replace(a=jnp.abs(p.a))),  # the sign rule for a < 0 forgotten
        lambda p: two_layer.components(p._replace(a=-p.a)),  # the sign rule reversed
        lambda p: two_layer.components(p._replace(w=p.w / jnp.sqrt(2.0))),  # mu normalised
        lambda p: two_layer.components(p)._replace(perp_norm=jnp.linalg.norm(p.w, axis=0)),
    ],
)
def test_components_reject(wrong):
    with pytest.raises(AssertionError):
        _assert_components(wrong)


def test_signal_is_what_the_data_reward():
    """At f = 0 a step on the whole hypercube never lowers |signal| nor raises |opposite| of any neuron.

    A small component that no sum of the others' signs comes near turns no gate, so it stays as it is.
    """
    perp = list(itertools.product([-1.0, 1.0], repeat=CONFIG.dim - 2))
    x = jnp.array([mu + rest for mu in itertools.product([-1.0, 1.0], repeat=2) for rest in perp])
    y = -x[:, 0] * x[:, 1]
    params = two_layer.init(jax.random.key(1), CONFIG)
    gradient = two_layer.gradients(params, x, lambda f: -y / y.size)[1]
    stepped = jax.tree.map(lambda u, v: u - 0.1 * CONFIG.width * v, params, gradient)
    before, after = two_layer.components(params), two_layer.components(stepped)
    signal_growth = np.abs(after.signal) - np.abs(before.signal)
    opposite_growth = np.abs(after.opposite) - np.abs(before.opposite)
    assert signal_growth.min() > -1e-12
    assert opposite_growth.max() < 1e-12
    assert np.mean(signal_growth > 1e-3) > 0.8
    assert np.mean(opposite_growth < -1e-3) > 0.8


def test_plane_keeps_the_norm():
    params, *_ = _draw()
    w_12, perp_norm, a = two_layer.plane(params)
    np.testing.assert_array_equal(w_12, params.w[:2].T)
    np.testing.assert_allclose(np.sum(w_12**2, axis=1) + perp_norm**2, np.sum(params.w**2, axis=0), rtol=1e-12)
    np.testing.assert_array_equal(a, params.a)


def test_two_dimensions_have_no_perpendicular_part():
    params = Params(jnp.ones((2, CONFIG.width)), jnp.ones(CONFIG.width))
    np.testing.assert_array_equal(two_layer.components(params).perp_norm, 0)


def test_one_dimension_has_no_planes():
    params = Params(jnp.ones((1, CONFIG.width)), jnp.ones(CONFIG.width))
    with pytest.raises(ValueError, match="dim at least 2, got 1"):
        two_layer.components(params)


def test_vmap_equals_loop_and_jit_equals_eager():
    keys = jax.random.split(jax.random.key(0), 3)
    _, x, y = _draw()

    def everything(key):
        params = two_layer.init(key, CONFIG)
        gradient = two_layer.gradients(params, x, lambda f: _residual(f, y))
        return params, gradient, *_analysis(params)

    jitted = jax.jit(everything)
    mapped = jax.jit(jax.vmap(everything))(keys)
    for seed, key in enumerate(keys):
        _close(jax.tree.map(lambda u, seed=seed: u[seed], mapped[:-1]), jitted(key)[:-1])
    _close(jitted(keys[0])[:-1], everything(keys[0])[:-1])
    # The imbalance is zero up to rounding, so it has no scale of its own.
    np.testing.assert_allclose(mapped[-1], 0, atol=1e-15)


def test_scale_may_be_traced():
    """The engine puts tracers into the float fields of a copy, past __post_init__."""

    def init(scale):
        config = object.__new__(two_layer.Config)
        for name, value in {"dim": 7, "width": 24, "init_scale": scale}.items():
            object.__setattr__(config, name, value)
        return two_layer.init(jax.random.key(3), config)

    traced = jax.vmap(init)(jnp.array([0.3, 0.6]))
    expected = two_layer.init(jax.random.key(3), CONFIG)
    np.testing.assert_allclose(traced.w, jnp.stack([expected.w, 2 * expected.w]), rtol=1e-14)
    np.testing.assert_allclose(traced.a, jnp.stack([expected.a, 2 * expected.a]), rtol=1e-14)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("width", 0, "width must be a whole number of at least 1, got 0"),
        ("dim", -3, "dim must be a whole number of at least 1, got -3"),
        ("init_scale", 0.0, "init_scale must be a positive number, got 0.0"),
        ("init_scale", float("nan"), "init_scale must be a positive number, got nan"),
        ("init_scale", float("inf"), "init_scale must be a positive number, got inf"),
    ],
)
def test_config_refuses(field, value, message):
    with pytest.raises(ValueError, match=message):
        two_layer.Config(**{field: value})
