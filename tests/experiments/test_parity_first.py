"""The experiments on PARITY and FIRST at small sizes: they agree with theory, and not with plausible mistakes."""

import numpy as np
import pytest

from closedform.experiments.parity_first import learned
from closedform.experiments.parity_first import slice as slices
from closedform.models.transformers import transformer
from closedform.sweeps import agrees, compare, find, run
from closedform.sweeps.contract import config
from zoo.checks import changed


def result_of(name, settings, tmp_path, seeds=2):
    experiment = find(f"parity_first/{name}")
    made = config.replace(experiment.default_config(), settings)
    return experiment, run(experiment, made, seeds=seeds, results=tmp_path, progress=False)


@pytest.mark.slow
def test_confidence(tmp_path):
    experiment, result = result_of("confidence", {"lengths": (9, 10, 60), "eps": (0.0, 1e-5)}, tmp_path)
    assert agrees(compare(experiment, result))
    for wrong in (
        {"margin": lambda right: right * (1 + 1e-6)},
        {"cross_entropy": lambda right: right * np.log(2)},  # nats
        {"gap": lambda right: right / 2},
        {"amplified": lambda right: right**2},
    ):
        assert not agrees(compare(experiment, changed(result, **wrong)))
    sure = result["simulation"]["margin"].sel(variant="eps = 0")
    np.testing.assert_allclose(sure.sel(language="PARITY"), 10**0.5, rtol=1e-9)
    np.testing.assert_allclose(sure.sel(language="FIRST"), 6**0.5, rtol=1e-9)


@pytest.mark.slow
def test_attention(tmp_path):
    experiment, result = result_of("attention", {"lengths": (1, 8, 50)}, tmp_path)
    assert agrees(compare(experiment, result))
    for wrong in ({"attention": lambda right: right / 2}, {"change": lambda right: right**2}):
        assert not agrees(compare(experiment, changed(result, **wrong)))


@pytest.mark.slow
def test_slice(tmp_path):
    settings = {"lengths": (9, 14), "value_weights": (0.8, 1.0, 1.06, 1.4), "shown_ones": (1, 7)}
    experiment, result = result_of("slice", settings, tmp_path)
    assert agrees(compare(experiment, result))
    accuracy = result["simulation"]["accuracy"].isel(seed=0)
    np.testing.assert_allclose(accuracy.sel(value_weight=1.0), 1)
    assert np.all(accuracy.sel(value_weight=[0.8, 1.4]) < 0.9)
    for wrong in ({"logit": lambda right: -right}, {"accuracy": lambda right: 0 * right + 1}):
        assert not agrees(compare(experiment, changed(result, **wrong)))


@pytest.mark.slow
def test_learned(tmp_path):
    """Trained on ten bits: sure of them, and with logits times ln N also of a thousand; softmax alone is not."""
    tests = {"test_lengths": (10, 1000), "num_test": 16}
    found = {}
    for scaling in ("constant", "log_length"):
        experiment, result = result_of("learned", {**tests, "model.scaling": scaling}, tmp_path, seeds=4)
        assert agrees(compare(experiment, result))
        assert not agrees(compare(experiment, changed(result, attention=lambda right: right + 1e-3)))
        found[scaling] = result["simulation"].mean("seed")
    for values in found.values():
        assert float(values["accuracy"].sel(test_length=10)) == 1
    assert float(found["log_length"]["cross_entropy"].sel(test_length=1000)) < 0.3
    assert float(found["constant"]["cross_entropy"].sel(test_length=1000)) > 0.5
    assert float(found["constant"]["far_cross_entropy"].sel(far_length=10**9)) > 0.9


def test_settings_that_do_not_fit():
    with pytest.raises(ValueError, match=r"^shown_ones must be at most lengths\[0\] = 5, got \(1, 7, 12\)$"):
        slices.Config(lengths=(5, 9))
    with pytest.raises(ValueError, match="model must read out the first of tokens with 4 features"):
        learned.Config(model=transformer.Config())
