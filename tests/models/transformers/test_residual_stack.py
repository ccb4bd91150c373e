"""The residual stack against a loop in numpy, and the leading changes of theory against what it does in another order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.transformers import residual_stack as stack
from closedform.theory.transformers import layer_perturbation as perturbation
from zoo import checks
from zoo.checks import rejected

DEPTHS = np.array([8, 16, 32, 64, 128])


def draw(seed=0, **settings):
    config = stack.Config(**settings)
    params = stack.init(jax.random.key(seed), config)
    return params, jax.random.normal(jax.random.key(seed + 1000), (config.dim,))


def by_loop(params, x, order, h, activation=np.tanh):
    weight, bias, x = (np.asarray(part) for part in (*params, x))
    for entry in order:
        together = entry if isinstance(entry, tuple) else (entry,)
        x = x + h * sum(activation(weight[layer] @ x + bias[layer]) for layer in together)
    return x


def assert_exact(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


ORDERS = [
    range(6),
    [0, 2, 1, 3, 4, 5],
    [5, 4, 3, 2, 1, 0],
    [1, 1, 4],
    [0, (1, 2), 3, 4, 5],
    [(3, 0), 1, (2, 4, 5)],
    [(0, 1, 2, 3, 4, 5)],
    [(2, 2), 3],
    [],
]


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("kind", ["tanh", "linear"])
def test_against_a_loop(order, kind):
    params, x = draw(dim=5, num_layers=6)
    params = params._replace(bias=jax.random.normal(jax.random.key(5), (6, 5)))
    activation = np.tanh if kind == "tanh" else np.asarray
    for h in (None, 0.7):
        expected = by_loop(params, x, order, 1 / 6 if h is None else h, activation)
        assert_exact(stack.apply(params, x, kind, order, h), expected)
    flat = [layer for entry in order for layer in (entry if isinstance(entry, tuple) else (entry,))]
    if flat != list(order):
        rejected(assert_exact, stack.apply(params, x, kind, flat), stack.apply(params, x, kind, order))


def test_default_is_every_layer_once():
    params, x = draw()
    assert_exact(stack.apply(params, x), by_loop(params, x, range(16), 1 / 16))


def test_any_block_function_and_any_state():
    params = {"a": jnp.arange(1.0, 4.0), "b": jnp.ones((3, 2))}
    x = (jnp.ones(2), jnp.array(2.0))

    def block_fn(one, x):
        return x[1] * one["b"], one["a"] * jnp.sum(x[0])

    found = stack.run_stack(block_fn, params, x, [2, (0, 1)], 0.5)
    # by hand: (1, 1), 2 -> (2, 2), 5 -> (2, 2) + 5, 5 + (1 + 2) 2
    np.testing.assert_allclose(found[0], [7, 7])
    np.testing.assert_allclose(found[1], 11)


def test_gradient_and_batches():
    params, x = draw(num_layers=4)
    order = [3, (0, 1), 2]
    gradient = jax.grad(lambda x: jnp.sum(stack.apply(params, x, order=order)))(x)
    moved = [by_loop(params, np.asarray(x) + 1e-6 * sign, order, 1 / 4).sum() for sign in (1, -1)]
    np.testing.assert_allclose(gradient.sum(), (moved[0] - moved[1]) / 2e-6, rtol=1e-8)
    batch = jnp.stack([x, 2 * x])
    found = jax.vmap(lambda x: stack.apply(params, x, order=order))(batch)
    assert_exact(found[1], by_loop(params, 2 * x, order, 1 / 4))


def test_the_program_is_as_large_for_many_layers():
    def size(depth):
        params, x = draw(num_layers=depth)
        order = [*range(3), (3, 4), *range(5, depth)]
        return len(str(jax.make_jaxpr(lambda p, x: stack.apply(p, x, order=order))(params, x).eqns))

    # what the order lists as constants aside
    assert size(200) < 1.5 * size(20)


def test_single_precision_stays():
    with jax.enable_x64(False):
        params, x = draw()
        assert stack.apply(params, x, order=[(0, 1), 2], step_size=jnp.float32(0.3)).dtype == jnp.float32
        assert all(leaf.dtype == jnp.float32 for leaf in stack.init(jax.random.key(0), stack.Config(correlation_length=0.5)))


# --- weights ----------------------------------------------------------------------------------------------------------------


def test_weights():
    params, _ = draw(dim=40, num_layers=50, init_scale=0.5)
    np.testing.assert_allclose(np.std(params.weight) * 40**0.5, 0.5, rtol=0.02)
    params, _ = draw(dim=40, num_layers=50, kind="commuting", init_scale=0.5)
    np.testing.assert_allclose(np.mean(np.linalg.eigvalsh(params.weight) ** 2), 0.25, rtol=0.1)
    np.testing.assert_allclose(params.weight[3] @ params.weight[7], params.weight[7] @ params.weight[3], atol=1e-13)


@pytest.mark.slow
def test_weights_smooth_in_depth_have_the_correlation_of_their_distance():
    for depth in (4, 16):
        params, _ = draw(dim=300, num_layers=depth, correlation_length=0.6)
        flat = np.asarray(params.weight).reshape(depth, -1)
        distance = np.abs(np.subtract.outer(np.arange(depth), np.arange(depth))) / depth
        np.testing.assert_allclose(np.corrcoef(flat), np.cos(distance / 0.6), atol=0.02)
    coarse, fine = (draw(num_layers=depth, correlation_length=0.6)[0].weight for depth in (8, 24))
    np.testing.assert_allclose(coarse, fine[1::3], atol=1e-13)  # the same weights at the same depth
    same = draw(correlation_length=float("inf"))[0].weight
    np.testing.assert_array_equal(same, np.broadcast_to(same[:1], same.shape))


# --- theory -----------------------------------------------------------------------------------------------------------------


def change(params, x, order, kind="tanh", h=None):
    return stack.apply(params, x, kind, order, h) - stack.apply(params, x, kind, None, h)


@pytest.mark.slow
@pytest.mark.parametrize("h", [1.0, 0.3])
def test_linear_layers_are_exact(h):
    params, x = draw(dim=5, num_layers=6, kind="linear")
    every = range(6)
    single, pair = (stack.blocks_around(stack.block("linear"), params, 2, window, h) for window in (1, 2))
    for predicted, order in (
        (perturbation.skip_error(single, x, 1, h), stack.skip(every, 2)),
        (perturbation.swap_error(pair, x, 1, h), stack.swap(every, 2)),
        (perturbation.parallel_error(pair, x, 1, h), stack.parallel(every, 2)),
    ):
        measured = change(params, x, order, "linear", h)
        assert_exact(predicted, measured)
        rejected(assert_exact, -predicted, measured)
        rejected(assert_exact, predicted / 2, measured)


@pytest.mark.slow
@pytest.mark.parametrize("length", [0.0, 0.5])
def test_commuting_layers_may_come_in_any_order(length):
    params, x = draw(dim=6, num_layers=7, kind="commuting", correlation_length=length)
    for order in ([6, 2, 4, 0, 1, 5, 3], stack.swap(range(7), 3), stack.reverse(range(7), 0, 7)):
        assert_exact(change(params, x, order, "commuting", 0.5), 0)
    rejected(assert_exact, change(params, x, stack.parallel(range(7), 3), "commuting", 0.5), 0)
    rejected(assert_exact, change(params, x, stack.swap(range(7), 3), "tanh", 0.5), 0)


KINDS = ("skip", "repeat", "swap", "parallel")


@pytest.fixture(scope="module")
def middle():
    """Measured and predicted changes at the middle of tanh stacks, 64 seeds: kind -> (depth, seed, dim)."""
    found = {kind: ([], []) for kind in KINDS}
    with jax.enable_x64(True):
        for depth in map(int, DEPTHS):
            config, layer, h = stack.Config(num_layers=depth), depth // 2, 1 / depth

            def both(key, config=config, layer=layer, h=h):
                key_params, key_x = jax.random.split(key)
                params, x = stack.init(key_params, config), jax.random.normal(key_x, (config.dim,))
                every = range(config.num_layers)
                single, pair = (stack.blocks_around(stack.block(), params, layer, window) for window in (1, 2))
                output, skipped = stack.apply(params, x), perturbation.skip_error(single, x, 1, h)
                predicted = {
                    "skip": skipped,
                    "repeat": -skipped,
                    "swap": perturbation.swap_error(pair, x, 1, h),
                    "parallel": perturbation.parallel_error(pair, x, 1, h),
                }
                orders = {kind: getattr(stack, kind)(every, layer) for kind in KINDS}
                return {kind: (stack.apply(params, x, order=orders[kind]) - output, predicted[kind]) for kind in KINDS}

            for kind, rows in jax.jit(jax.vmap(both))(jax.random.split(jax.random.key(depth), 64)).items():
                for side, values in zip(found[kind], rows, strict=True):
                    side.append(np.asarray(values))
    return {kind: tuple(map(np.array, sides)) for kind, sides in found.items()}


def norms(rows):
    return np.linalg.norm(rows, axis=-1)


def assert_near(predicted, measured):
    """A relative error below 6/L for every seed."""
    assert np.all(norms(predicted - measured) < 6 / DEPTHS[:, None] * norms(measured))


def assert_slope(rows, expected):
    found = np.polyfit(np.log(DEPTHS), np.log(norms(rows).mean(axis=1)), 1)[0]
    assert abs(found - expected) < 0.1, found


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_leading_changes(middle, kind):
    measured, predicted = middle[kind]
    assert_near(predicted, measured)
    rejected(assert_near, -predicted, measured)
    rejected(assert_near, predicted / 2, measured)
    slope = perturbation.SLOPES._asdict()["skip" if kind == "repeat" else kind]
    assert_slope(measured, slope)
    rejected(assert_slope, measured, slope - 1)


@pytest.mark.slow
def test_repeating_is_minus_skipping(middle):
    assert_near(-middle["skip"][0], middle["repeat"][0])
    rejected(assert_near, middle["skip"][0], middle["repeat"][0])


@pytest.mark.slow
def test_weights_smooth_in_depth_swap_at_third_order():
    rows = []
    for depth in map(int, DEPTHS):
        config = stack.Config(num_layers=depth, correlation_length=0.6)

        def one(key, config=config):
            params, x = stack.init(key, config), jax.random.normal(jax.random.fold_in(key, 1), (config.dim,))
            return change(params, x, stack.swap(range(config.num_layers), config.num_layers // 2))

        rows.append(np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), 64))))
    assert_slope(np.array(rows), perturbation.SLOPES.swap_smooth_in_depth)
    rejected(assert_slope, np.array(rows), perturbation.SLOPES.swap)


# --- bad input --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 0}, "dim must be a whole number of at least 1, got 0"),
        ({"num_layers": 0}, "num_layers must be a whole number of at least 1, got 0"),
        ({"kind": "relu"}, "kind must be 'tanh' or 'linear' or 'commuting', got 'relu'"),
        ({"init_scale": -1.0}, "init_scale must be a number of at least 0, got -1"),
        ({"correlation_length": float("nan")}, "correlation_length must be a number of at least 0 or infinity, got nan"),
    ],
)
def test_bad_configs(settings, message):
    with pytest.raises(ValueError, match=message):
        checks.config(stack.Config, **settings)


@pytest.mark.parametrize("order", [[16], [-1], [0, (1, 16)], [()]], ids=str)
def test_bad_orders(order):
    params, x = draw()
    with pytest.raises(ValueError, match="order must hold"):
        stack.apply(params, x, order=order)


def test_bad_arguments():
    params, x = draw()
    with pytest.raises(ValueError, match="kind must be one of tanh, linear, commuting, got relu"):
        stack.apply(params, x, "relu")
    with pytest.raises(ValueError, match="one leading axis"):
        stack.run_stack(stack.block(), params._replace(bias=params.bias[1:]), x)
    for operation in (stack.swap, stack.parallel):
        with pytest.raises(ValueError, match="within the 16 entries of the order, got 15 and 2"):
            operation(range(16), 15)
    with pytest.raises(ValueError, match="order must hold single layers from 0 to 1"):
        stack.parallel([(0, 1), 2], 0)
    with pytest.raises(ValueError, match="layers from 0 to 15, got 15 and 2"):
        stack.blocks_around(stack.block(), params, 15, 2)
