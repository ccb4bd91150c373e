"""How deep networks start, at full size: what an independent calculation found of LSUV, and rivals of every prediction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.experiments.initialisation import _start, coordinates, depth, gradients, phases, variance
from closedform.models.fully_connected import deep, initialisers
from closedform.sweeps import agrees, compare, find, sweep
from closedform.sweeps.contract import config
from closedform.theory.feature_learning import width_scaling
from zoo.checks import changed, rejected


def network(activation, depth, width=300):
    return deep.Config(width, (width,) * depth, width, activation)


@pytest.fixture(scope="module")
def relu():
    """Four ReLU networks of 12 hidden layers after LSUV on a batch of unit Gaussians: what they are and do."""
    settings = network("relu", 12)

    def one(key):
        key_weights, key_data = jax.random.split(key)
        batch = jax.random.normal(key_data, (512, 300))
        start = initialisers.initialise(key_weights, settings, "orthonormal")
        params, log = initialisers.lsuv(start, batch, settings)
        h = _start.hidden(params, batch, settings)
        sizes = jnp.stack([weight.shape[1] * jnp.mean(weight**2) for weight in params.weights])
        return log, sizes, jnp.mean(jnp.var(h, axis=1), axis=1), jnp.var(h, axis=(1, 2))

    with jax.enable_x64(False):
        return jax.tree.map(np.asarray, jax.lax.map(one, jax.random.split(jax.random.key(0), 4)))


@pytest.mark.slow
def test_lsuv_on_relu_layers(relu):
    """The first layer is left alone, the second scaled by 1.414, none twice, the variance is 1 within the tolerance."""
    log, sizes, _, total = relu
    np.testing.assert_allclose(log.scale[:, 0], 1, atol=0.01)
    np.testing.assert_allclose(log.scale[:, 1], 1.414, atol=0.03)
    np.testing.assert_allclose(log.variance_after, 1, atol=0.02)
    np.testing.assert_allclose(total, log.variance_after[:, :-1], rtol=1e-3)
    assert log.num_rescalings.max() == 1
    np.testing.assert_array_equal(log.num_rescalings, np.abs(log.variance_before - 1) > 0.02)
    assert abs(np.mean(sizes[:, 2:12]) - 2) < 0.1  # layers 3 to 12


@pytest.mark.slow
def test_unit_variance_of_all_entries_is_not_unit_variance_of_a_unit(relu):
    """Layers 0, 1, 2, 5, 10 of ReLU; a variance for each unit would be 1 everywhere."""

    def assert_falls(unit_variance):
        np.testing.assert_allclose(unit_variance[[0, 1, 2, 5, 10]], [1, 0.682, 0.506, 0.264, 0.128], atol=0.03)

    assert_falls(relu[2].mean(axis=0))
    rejected(assert_falls, np.ones(12))


@pytest.mark.slow
def test_gradients_grow_as_the_activation_says(tmp_path):
    """Between layers 2 and 15, from a random cotangent: 1.178 for tanh, 1 for ReLU as a mean of 8 networks."""
    experiment = find("initialisation/gradients")
    settings = config.replace(experiment.default_config(), {"width": 300, "num_samples": 512, "num_measured": 512})
    result = sweep(experiment, settings, over={"activation": ("tanh", "relu")}, seeds=8, results=tmp_path, progress=False)
    logs = result["simulation"]["log_gradient"]
    growth = np.exp((logs.sel(layer=2) - logs.sel(layer=15)) / 13)
    np.testing.assert_allclose(growth.sel(activation="tanh"), 1.178, atol=0.015)
    assert abs(float(growth.sel(activation="relu").mean()) - 1) < 0.02
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, changed(result, growth=lambda right: right**0.5)))  # of gradients, not their squares


@pytest.mark.slow
def test_lsuv_on_rectangular_layers():
    """300 to 600: scale sqrt(2), fan_in E W^2 = 1; later ReLU layers at widths from 150 to 600: 2 within 10 %, 16 networks."""
    settings = deep.Config(300, (600, 150, 300), 600, "relu")

    def one(key):
        key_weights, key_data = jax.random.split(key)
        start = initialisers.initialise(key_weights, settings, "orthonormal")
        params, log = initialisers.lsuv(start, jax.random.normal(key_data, (512, 300)), settings)
        return log.scale, jnp.stack([weight.shape[1] * jnp.mean(weight**2) for weight in params.weights])

    with jax.enable_x64(False):
        scale, sizes = jax.lax.map(one, jax.random.split(jax.random.key(1), 16))
    np.testing.assert_allclose(scale[:, 0], 1.412, atol=0.01)
    np.testing.assert_allclose(sizes[:, 0], 1, atol=0.01)
    np.testing.assert_allclose(np.mean(sizes[:, 1:], axis=0), 2, rtol=0.1)


# ------------------------------------------------------------------------------------------------------- agreement at size


@pytest.mark.slow
def test_lsuv_finds_the_gains_and_rivals_are_rejected(tmp_path):
    experiment = find("initialisation/gains")
    result = sweep(
        experiment,
        experiment.default_config(),
        over={"activation": ("tanh", "sigmoid")},
        seeds=8,
        results=tmp_path,
        progress=False,
    )
    assert agrees(compare(experiment, result))
    flat = result["prediction"]["weight_variance"].values ** 0.5
    assert not agrees(compare(experiment, changed(result, scale=flat)))  # without max(1, out/in)
    thumb = result["prediction"]["scale"].copy()
    thumb.loc[{"activation": "tanh"}] *= 5 / 3 / 1.592537
    assert not agrees(compare(experiment, changed(result, scale=lambda _: thumb)))


@pytest.mark.slow
def test_units_lose_their_variance_as_predicted(tmp_path):
    experiment = find("initialisation/variance")
    result = sweep(
        experiment,
        experiment.default_config(),
        over={"activation": ("relu", "sigmoid")},
        seeds=8,
        results=tmp_path,
        progress=False,
    )
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, changed(result, unit_variance=1.0)))


@pytest.mark.slow
def test_the_edge_of_chaos_is_where_gradients_keep_their_size(tmp_path):
    experiment = find("initialisation/phases")
    over = {"bias_variance": (0.05, 0.1)}
    result = sweep(experiment, experiment.default_config(), over=over, seeds=8, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    np.testing.assert_allclose(result["prediction"]["edge"], [1.760955, 1.986073], atol=1e-5)
    assert not agrees(compare(experiment, changed(result, edge=lambda right: right**0.5)))
    assert not agrees(compare(experiment, changed(result, chi=lambda right: right**0.5)))


@pytest.mark.slow
def test_the_coordinate_check_has_the_slopes(tmp_path):
    experiment = find("initialisation/coordinates")
    over = {"scaling": ("standard", "mean_field", "maximal_update")}
    result = sweep(experiment, experiment.default_config(), over=over, seeds=8, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    for field in ("initial_slope", "first_slope"):
        turned = result["prediction"][field].values[::-1]
        assert not agrees(compare(experiment, changed(result, **{field: turned})))
    # under maximal update later steps change as much at every width
    change = result["simulation"]["change"].sel(scaling="maximal_update").mean("seed")
    ratio = change.isel(width=-1) / change.isel(width=1)
    np.testing.assert_allclose(ratio, 1, atol=0.3)


# --------------------------------------------------------------------------------------------------------------- both sides


@pytest.mark.parametrize("scaling", ["standard", "mean_field", "maximal_update"])
def test_the_network_has_the_exponents_of_the_theory(scaling):
    """Multipliers, deviations and learning rates of the model at two widths against the exponents that are predicted with."""
    predicted = width_scaling.scaling(scaling, 2)
    found = []
    for width in (16, 64):
        settings = deep.Config(dim=9, widths=(width, width), scaling=scaling)
        params = deep.init(jax.random.key(0), settings)
        deviations = [float(jnp.sqrt(jnp.mean(w**2))) for w in params.weights]
        found.append([deep.multipliers(params, settings), deviations, deep.learning_rate_factors(settings).weights])
    a, b, c = (-np.log(np.asarray(after) / np.asarray(before)) / np.log(4) for before, after in zip(*found, strict=True))
    np.testing.assert_allclose(a, predicted.multiplier, atol=1e-12)
    np.testing.assert_allclose(b, predicted.init, atol=0.25)  # of 16 weights of the readout
    np.testing.assert_allclose(c, predicted.learning_rate, atol=1e-12)


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        (variance, {"activation": "softmax"}, "activation must be identity, .*, got 'softmax'"),
        (variance, {"correlation": 1.0}, "correlation must be a number above 0 and below 1, got 1.0"),
        (variance, {"init": "normal"}, "init must be 'lsuv' or 'he' or 'xavier' or 'orthonormal', got 'normal'"),
        (gradients, {"depth": 2}, "depth must be a whole number of at least 3, got 2"),
        (gradients, {"num_measured": 500}, "num_measured must be at most num_samples = 64, got 500"),
        (
            phases,
            {"weight_variances": (1.0, 1.0)},
            "weight_variances must be a list of at least 1, each entry a positive number",
        ),
        (coordinates, {"widths": (8,)}, "widths must be a list of at least 2"),
        (depth, {"depth": 1}, "depth must be a whole number of at least 2, got 1"),
        (depth, {"data": "nosuch"}, "data must be one of digits_8x8"),
    ],
)
def test_wrong_settings(experiment, changes, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(**changes)


@pytest.mark.slow
def test_sigmoid_does_not_train_at_depth_and_tanh_does(tmp_path):
    """Ten layers: two images are alike after ten layers of sigmoid, whatever the start, and apart after ten of tanh."""
    experiment = find("initialisation/depth")
    over = {"activation": ("tanh", "sigmoid")}
    result = sweep(experiment, experiment.default_config(), over=over, seeds=4, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    accuracy = result["simulation"]["accuracy"].mean("seed")
    assert float(accuracy.sel(activation="tanh", init="lsuv")) > 0.9
    assert float(accuracy.sel(activation="sigmoid").max()) < 0.3
    assert not agrees(compare(experiment, changed(result, separation=lambda right: right**0.5 + 0.1)))
