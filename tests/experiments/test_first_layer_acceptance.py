"""First layers at small sizes: theory agrees with what is trained, and plausible mistakes in it do not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.experiments.first_layer import _training, amplified, exact, labels, time, whitening
from closedform.models.convolutional import linear_cnn, relu_cnn
from closedform.sweeps import agrees, compare, find, run, sweep
from closedform.sweeps.contract import config
from closedform.theory.linear_networks import first_layer
from zoo.checks import changed, rejected

SMALL = exact.Config(model=linear_cnn.Config(1, 2, 3, 0.3), num_images=40, recorded=(12,))


@jax.jit
def trained(key):
    """A linear network before and after twelve updates on forty digits, by the experiment's own functions."""
    start = exact.init(key, SMALL)
    end = jax.lax.fori_loop(0, 12, lambda _, state: exact.step(state, SMALL), start)
    return start, exact.observe(end, SMALL)


def test_the_network_follows_its_closed_form():
    start, measured = trained(jax.random.key(0))
    data = jax.tree.map(np.asarray, _training.moments(start.patches, start.y))
    filters = linear_cnn.bank(start.params)
    found = jax.jit(first_layer.trained_filters)

    def assert_follows(covariance, correlation, rate):
        last = found(12.0, covariance, correlation, filters, rate)
        np.testing.assert_allclose(first_layer.energies(last, start.vectors), measured.energies, rtol=1e-9)
        np.testing.assert_allclose(jnp.sum(last, axis=0), measured.effective, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(first_layer.loss(last, *data), measured.loss, rtol=1e-10)

    rate = start.learning_rate
    assert_follows(data.covariance, data.correlation, rate)
    rejected(assert_follows, data.covariance, data.correlation, rate / 2)  # without the 2 of the square
    rejected(assert_follows, data.covariance, data.correlation, rate / 3)  # without K in the rate
    flat = np.asarray(start.patches).reshape(-1, 4)
    rejected(assert_follows, flat.T @ flat / len(flat), data.correlation, rate)  # the covariance of single patches
    uncentred = np.mean(np.asarray(start.patches) + 0.3, axis=(1, 2))
    rejected(assert_follows, uncentred.T @ uncentred / 40, data.correlation, rate)
    share = 2 * rate * 3 * np.linalg.eigvalsh(data.covariance)[-1]
    np.testing.assert_allclose(share, SMALL.leading_share, rtol=1e-12)


def test_images_are_centred_and_labels_are_balanced():
    for data, count, shape in (("digits_8x8", 300, (8, 8, 1)), ("photographs", 64, (16, 16, 3))):
        x, y = _training.load(data, count, 16)
        assert x.shape == (count, *shape)
        np.testing.assert_allclose(jnp.mean(x, axis=0), 0, atol=1e-15)
        assert 0.5 < float(jnp.max(jnp.abs(x))) <= 1
        assert abs(float(jnp.mean(y))) < 0.1


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        (exact, {"model": linear_cnn.Config(3)}, r"model\.channels must be 1 for digits_8x8, got 3"),
        (exact, {"model": linear_cnn.Config(1, 9)}, r"model\.side must be at most 8, the images of digits_8x8, got 9"),
        (exact, {"num_images": 1}, "num_images must be a whole number of at least 2 and at most 1797, got 1"),
        (exact, {"leading_share": 2.0}, r"leading_share must be a number above 0 and below 2, got 2\.0"),
        (time, {"data": "digits_8x8"}, r"model\.channels must be 1 for digits_8x8, got 3"),
        (time, {"crop_side": 2}, r"model\.side must be at most 2, the images of photographs, got 3"),
        (amplified, {"component": 10}, "component must be at most the 9 weights of a filter, got 10"),
        (
            whitening,
            {"max_distance": 14},
            "max_distance must be at most 13, crop_side less model.side, for two places to be in a crop; got 14",
        ),
        (labels, {"relu": relu_cnn.Config(num_classes=3)}, r"relu\.num_classes must be 2, got 3"),
    ],
)
def test_wrong_settings(experiment, changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        experiment.Config(**changes)


@pytest.mark.slow
def test_exact(tmp_path):
    """All digits, both kinds of labels, 300 updates: within 1e-9; the mean over draws is not what one seed does."""
    experiment = find("first_layer/exact")
    result = sweep(experiment, experiment.default_config(), over=experiment.grid, seeds=2, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    expected = result["prediction_expected"]["energies"].values
    for wrong in ({"energies": np.sqrt}, {"energies": expected}, {"effective": lambda s: s / 7}, {"loss": lambda L: L / 2}):
        assert not agrees(compare(experiment, changed(result, **wrong)))


@pytest.mark.slow
def test_time(tmp_path):
    """The exact mean for digits and for shuffled patches; the paper's formula for shuffled ones alone, and there to 10 %."""
    experiment = find("first_layer/time")
    settings = config.replace(experiment.default_config(), {"recorded": (1, 100)})
    result = sweep(experiment, settings, over=experiment.grid, seeds=32, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    paper, right = result["prediction_paper"]["energies"], result["prediction"]["energies"]
    assert not agrees(compare(experiment, changed(result, energies=paper.values)))
    ratio = (paper / right).sel(step=100)
    assert abs(np.log(ratio.sel(arrangement="images"))).max() > 1
    for wrong in (np.sqrt, lambda e: e / 4, lambda e: e * 4):  # the profile, without K, the sum over filters
        assert not agrees(compare(experiment, changed(result, energies=wrong)))


@pytest.mark.slow
def test_amplified(tmp_path):
    """A component four times as strong; the covariance as it was, and one multiplied once in place of twice, are rejected."""
    experiment = find("first_layer/amplified")
    settings = config.replace(experiment.default_config(), {"factor": 4.0})
    result = run(experiment, settings, seeds=32, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    for factor in (1.0, 2.0):
        wrong = amplified.predict(dataclasses.replace(settings, factor=factor), np.array(settings.recorded))
        assert not agrees(compare(experiment, changed(result, energies=np.asarray(wrong.energies))))


@pytest.mark.slow
def test_whitening(tmp_path):
    """Exact for every bank; training whitens, as far as it gets: beyond the filter less is left than of random filters."""
    experiment = find("first_layer/whitening")
    result = run(experiment, experiment.default_config(), seeds=2, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    left = result["simulation"]["autocorrelation"].mean("seed").sel(step=3000, distance=[3, 6, 10])
    pixels, random, trained, white = (left.sel(bank=bank).values for bank in whitening.BANKS)
    assert (pixels > 0.3).all()
    assert (random > 0.3).all()
    assert (trained < 0.5 * random).all()
    assert (np.abs(white) < 0.3 * random).all()
    for wrong in (lambda c: c**2, lambda c: c.copy(data=np.roll(c.values, 1, axis=-1))):
        assert not agrees(compare(experiment, changed(result, autocorrelation=wrong)))


@pytest.mark.slow
def test_labels(tmp_path):
    """The linear network within rounding for either labels; ReLU filters are more like the formula than like their start."""
    experiment = find("first_layer/labels")
    result = run(experiment, experiment.default_config(), seeds=2, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    simulation = result["simulation"]
    assert float(simulation["relu_accuracy"].sel(label="photograph").min()) > 0.8
    for label in labels.LABELS:
        formula, start = (float(simulation[f"relu_{name}"].sel(label=label).mean()) for name in ("formula", "start_similarity"))
        assert formula > start + 0.3
    wrong = result["prediction"]["energies"].isel(label=[1, 0]).values
    assert not agrees(compare(experiment, changed(result, energies=wrong)))
    assert not agrees(compare(experiment, changed(result, similarity=lambda r: r**2 + 1e-3)))
