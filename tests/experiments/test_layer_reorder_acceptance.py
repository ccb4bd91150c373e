"""What the experiments on layers hold beyond their verdicts: the transformer as a stack of sublayers, and its derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.experiments.layer_reorder import slopes, sublayers, windows
from closedform.models.transformers import ode_transformer as transformer
from closedform.models.transformers import residual_stack as stack
from closedform.sweeps import agrees, compare, find, run
from closedform.sweeps.contract import config
from zoo.checks import changed, rejected


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def drawn():
    """A transformer as drawn, without training, its test sequences, and what its sublayers change to leading order."""
    model = transformer.Config(dim=4, width=5, num_heads=2, num_layers=3, num_blocks=3, step_size=1 / 3)
    settings = sublayers.Config(model=model, num_tokens=3)
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 4)
        token, position, head = (jax.random.normal(key, (size, 4)) for key, size in zip(keys[1:], (2, 3, 2), strict=True))
        params = sublayers.Params(token, position, transformer.init(keys[0], model), head)
        x, labels = sublayers._test(params, settings)
        yield settings, params, x, labels, *jax.jit(sublayers._leading, static_argnums=1)(params, settings)


@partial(jax.jit, static_argnums=2)
def evolve(layers, x, model):
    return transformer.evolve(layers, x, model).state


def without(params, place, share, config, x):
    """The transformer's own output with a share of one sublayer taken off its last matrix and bias."""
    layer, kind = divmod(place, 2)
    names = ("output",) if kind == 0 else ("w_out", "b_out")
    layers = params.layers._replace(**{name: getattr(params.layers, name).at[layer].multiply(1 - share) for name in names})
    return evolve(layers, x, config.model)


@pytest.mark.slow
def test_sublayers_are_the_transformer(drawn):
    config, params, x, _, _, behind = drawn
    close(behind, evolve(params.layers, x, config.model))
    names, block_fn = sublayers._sublayers(params, config), sublayers._block(config)
    for place in range(6):
        run = partial(stack.run_stack, block_fn, names, order=stack.skip(range(6), place), step_size=1 / 3)
        close(jax.vmap(run)(x), without(params, place, 1.0, config, x))


def test_the_leading_change_is_the_derivative_by_the_share_taken_off(drawn):
    config, params, x, _, leading, _ = drawn
    derivatives = []
    for place in range(6):
        share_fn = partial(without, params, place, config=config, x=x)
        derivatives.append(jax.jvp(share_fn, (jnp.zeros(()),), (jnp.ones(()),))[1])
    close(leading, jnp.stack(derivatives))
    rejected(close, leading, jnp.stack(derivatives[::-1]))
    rejected(close, leading, -jnp.stack(derivatives))


def test_labels(drawn):
    config, _, x, labels, _, _ = drawn
    bits = np.array([[place >> token & 1 for token in range(3)] for place in range(8)])
    assert x.shape == (8, 3, 4)
    np.testing.assert_array_equal(labels, (bits + np.roll(bits, -1, axis=1)) % 2)
    assert config.task == "parity"


def test_random_orders_keep_what_is_outside_of_their_window():
    config = windows.Config(windows=(2, 8), num_orders=40)
    orders = np.asarray(windows.init(jax.random.key(0), config).orders)
    assert np.array_equal(np.sort(orders), np.broadcast_to(np.arange(64), orders.shape))
    moved = np.any(orders != np.arange(64), axis=1)
    for window, places in zip(config.windows, moved, strict=True):
        assert np.flatnonzero(places).tolist() == list(range(32 - window // 2, 32 + window // 2))
    with pytest.raises(ValueError, match=r"correlation_length must be 0, independent layers, got 0\.5"):
        windows.Config(model=stack.Config(correlation_length=0.5), windows=(2,))


@pytest.mark.slow
def test_random_orders_cost_what_inverted_pairs_do(tmp_path):
    experiment = find("layer_reorder/windows")
    settings = config.replace(experiment.default_config(), {"model.num_layers": 32, "windows": (2, 4, 8)})
    result = run(experiment, settings, seeds=256, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    # with all pairs inverted, or K^2/4 of them
    pairs = np.array([2, 4, 8]) / (np.array([2, 4, 8]) - 1)
    for factor in (2.0, pairs[None]):
        wrong = result["prediction"]["mean_square"] * factor
        assert not agrees(compare(experiment, changed(result, mean_square=wrong)))


@pytest.mark.slow
def test_changes_and_slopes(tmp_path):
    experiment = find("layer_reorder/slopes")
    settings = config.replace(experiment.default_config(), {"num_doublings": 2, "num_test": 20})
    result = run(experiment, settings, seeds=16, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    right = result["prediction"]
    swap, pair = slopes.KINDS.index("swap"), slopes.KINDS.index("parallel pair")
    exponents, sizes = right["slope"].values.copy(), right["change"].values.copy()
    exponents[:, swap] = -3  # that of weights smooth in depth
    sizes[:, swap] = sizes[:, pair]
    assert not agrees(compare(experiment, changed(result, slope=exponents)))
    assert not agrees(compare(experiment, changed(result, change=sizes)))


@pytest.mark.parametrize(
    ("experiment", "settings", "message"),
    [
        (slopes, stack.Config(kind="commuting"), "model.kind must be tanh or linear"),
        (slopes, stack.Config(num_layers=8, correlation_length=float("inf")), "correlation_length finite"),
        (slopes, stack.Config(num_layers=8, init_scale=0.0), "init_scale must be positive"),
        (windows, stack.Config(num_layers=64, kind="commuting"), "model.kind must be tanh or linear"),
    ],
)
def test_models_without_a_prediction(experiment, settings, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(model=settings)
