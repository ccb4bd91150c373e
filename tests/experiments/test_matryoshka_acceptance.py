"""Nested networks at small sizes and, slowly, at their own: theory agrees with what is trained, plausible mistakes do not."""

import dataclasses

import jax
import numpy as np
import pytest

from closedform.experiments.matryoshka import (
    _population,
    conservation,
    counterexample,
    curves,
    digits,
    gains,
    interpolation,
    prefixes,
    two_d,
)
from closedform.models.linear import deep_linear, nested
from closedform.sweeps import agrees, compare, find, run, sweep
from closedform.sweeps.contract import config
from closedform.theory.linear_networks import nested as theory
from zoo.checks import changed, rejected
from zoo.checks import config as unchecked


def key(seed=0):
    return jax.random.key(seed, impl="threefry2x32")


def trained(experiment, settings, seed=0):
    """What an experiment measures after its updates, by its own functions in one program."""

    @jax.jit
    def end(key):
        state = experiment.init(key, settings)
        state = jax.lax.fori_loop(0, experiment.num_steps(settings), lambda _, s: experiment.step(s, settings), state)
        return experiment.simulate(state, settings)

    return end(key(seed))


def test_prefixes_of_a_small_network():
    """Loss within 1e-6 of 7 for M = {1, 2}, axes to 1e-6 in order; with M = {2} the subspace, and other axes."""
    settings = prefixes.Config(spectrum=(4.0, 2.0, 0.5), model=_population.model(2, dim=3), few_sizes=(2,), num_steps=2000)
    found, right = trained(prefixes, settings), prefixes.predict(settings)

    def assert_optimal(error, alignment):
        np.testing.assert_allclose(found.error, error, atol=1e-7)
        np.testing.assert_allclose(found.alignment, alignment, atol=1e-6)

    np.testing.assert_allclose(found.error[:2].sum(axis=1), 3.0, atol=1e-6)
    assert_optimal(right.error, right.alignment)
    np.testing.assert_allclose(found.few_distance, 0, atol=1e-6)
    rejected(assert_optimal, np.roll(right.error, 1, axis=1), right.alignment)
    rejected(assert_optimal, right.error, np.roll(right.alignment, 1, axis=2))
    for values in (found.few_alignment, found.plain_alignment):  # a row of its own, that no axis is
        assert values[0, 0] < 0.999
    assert found.few_error[0] > right.error[0, 0] + 1e-3


def test_every_cell_of_the_grid_is_optimal():
    """Two layers, of which the second is narrow: twice half the loss is the sum of the tails."""
    settings = two_d.Config(spectrum=(4.0, 1.0), model=_population.model(1, (2,), "all", dim=2), num_steps=3000)
    found = trained(two_d, settings)
    np.testing.assert_allclose(found.error, [[1.0, 0.0], [1.0, 1.0]], atol=1e-6)
    np.testing.assert_allclose(found.error, two_d.predict(settings).error, atol=1e-6)


def test_balance_moves_with_the_square_of_the_step_size():
    """Over one time the drift is proportional to the step size, and is the sum of squared gradients; other entries move."""
    model = _population.model(3, (3,), "all", scale=0.3)
    settings = conservation.Config(model=model, time=0.5, num_steps=(500, 2000))
    found = jax.jit(lambda key: conservation.simulate(conservation.init(key, settings), settings))(key())

    def assert_proportional(relative):
        np.testing.assert_allclose(found.relative_drift, relative, rtol=0.01)

    assert_proportional(conservation.predict(settings).relative_drift)
    rejected(assert_proportional, [16.0, 1.0])
    rejected(assert_proportional, [1.0, 1.0])
    np.testing.assert_allclose(found.unexplained, 0, atol=1e-13)
    np.testing.assert_allclose(found.other_drift[0], found.other_drift[1], rtol=0.02)
    assert found.other_drift[1] > 0.01


def test_the_start_of_curves_is_balanced():
    """Strengths within their range, incoming weights as large as outgoing ones; half of a step of descent is the flow's."""
    for shared in (False, True):
        settings = curves.Config(model=dataclasses.replace(curves.Config().model, shared=shared))

        @jax.jit
        def before_and_after(key, settings=settings):
            state = curves.init(key, settings)
            after = curves.step(state, settings)
            return nested.unit_balance(state), *(curves.observe(one, settings).strength for one in (state, after))

        balance, strength, after = map(np.asarray, before_and_after(key()))
        np.testing.assert_allclose(balance, 0, atol=1e-15)
        assert ((strength > 1e-4) & (strength < 1e-2)).all()
        counts = np.array([4.0, 3.0, 2.0, 1.0])
        rate = 4 * np.array(settings.spectrum[:4]) * (counts if shared else np.sqrt(counts)) * (1 - strength)
        np.testing.assert_allclose((after / strength - 1) / settings.learning_rate, rate, rtol=0.01)


def test_moments_of_digits():
    """Against numpy's covariance of all images, pixels from 0 to 1; the largest eigenvalues are 10 % apart."""
    from sklearn.datasets import load_digits

    moments = digits._moments(digits.Config())
    np.testing.assert_allclose(moments.covariance, np.cov(load_digits().data.T / 16, bias=True), atol=1e-13)
    values = np.linalg.eigvalsh(moments.covariance)[::-1]
    np.testing.assert_allclose(values[:2], [0.6988, 0.6391], atol=1e-3)
    assert (values[:8] > 1.08 * values[1:9]).all()


NARROW = dataclasses.replace(_population.model(), num_outputs=3)


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        (prefixes, {"spectrum": (1.0, 1.0)}, r"spectrum must fall, got \(1\.0, 1\.0\)"),
        (prefixes, {"model": NARROW}, r"model must have as many inputs and outputs as the spectrum, 5, got \(5, 3\)"),
        (prefixes, {"few_sizes": (2, 5)}, r"few_sizes must be at most the 4 coordinates of the model, got \(2, 5\)"),
        (
            prefixes,
            {"model": dataclasses.replace(_population.model(), shared=True)},
            "model.shared must be False: both kinds of decoders are trained",
        ),
        (
            interpolation,
            {"sizes": (1, 2)},
            r"sizes must end with the 4 coordinates of the model, neighbours at most 3 apart, got \(1, 2\)",
        ),
        (curves, {"model": _population.model(4, (4,))}, r"model.encoder.widths must be empty, one layer, got \(4,\)"),
        (two_d, {"model": _population.model()}, "model.exits must be 'all', got 'last'"),
        (gains, {"width": 6}, "model must have at most as many coordinates as the spectrum, 5, got 6"),
        (
            counterexample,
            {"model": nested.Config(deep_linear.Config(3, (), 2), num_outputs=3)},
            r"model must have 3 inputs, 2 coordinates, 2 outputs and separate decoders, got \(3, 2, 3\)",
        ),
        (digits, {"sizes": (9,)}, r"sizes must be at most the 8 coordinates of the model, got \(9,\)"),
    ],
)
def test_wrong_settings(experiment, changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        unchecked(experiment.Config, **changes)


# ----------------------------------------------------------------------------------------------------------- at full size


def result_of(name, tmp_path, seeds, **settings):
    experiment = find(f"matryoshka/{name}")
    changed_config = config.replace(experiment.default_config(), settings)
    return experiment, run(experiment, changed_config, seeds=seeds, results=tmp_path, progress=False)


@pytest.mark.slow
def test_prefixes(tmp_path):
    """Loss 6.5 to 1e-6, |cos| above 1 - 1e-6 with separate and shared decoders; for M = {2, 4} subspaces to 1e-6, not axes."""
    experiment, result = result_of("prefixes", tmp_path, 2)
    assert agrees(compare(experiment, result))
    simulated = result["simulation"]
    for variant in ("separate", "shared"):
        np.testing.assert_allclose(simulated["error"].sel(variant=variant).sum("size"), 6.5, atol=1e-6)
        own = np.diagonal(simulated["alignment"].sel(head=variant), axis1=1, axis2=2)
        assert (own > 1 - 1e-6).all()
    assert (simulated["few_distance"] < 1e-6).all()
    for field in ("few_alignment", "plain_alignment"):
        assert (np.diagonal(simulated[field], axis1=1, axis2=2).min(axis=1) < 0.99).all()
    for wrong in ({"error": np.sqrt}, {"alignment": 0.5}, {"few_distance": 1e-3}):
        assert not agrees(compare(experiment, changed(result, **wrong)))


@pytest.mark.slow
def test_interpolation(tmp_path):
    """On the line by projection, and at the geometric means by optimal decoders, for which the line is rejected."""
    experiment, result = result_of("interpolation", tmp_path, 16)
    assert agrees(compare(experiment, result))
    for wrong in ({"optimal": result["prediction"]["projected"].values}, {"difference": 0.0}, {"difference": lambda d: d / 2}):
        assert not agrees(compare(experiment, changed(result, **wrong)))


@pytest.mark.slow
def test_curves(tmp_path):
    experiment = find("matryoshka/curves")
    result = sweep(experiment, experiment.default_config(), over=experiment.grid, seeds=8, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    plain = result["prediction_plain"]["strength"].values
    assert not agrees(compare(experiment, changed(result, strength=plain)))
    assert not agrees(compare(experiment, changed(result, loss=lambda loss: loss / 2)))


@pytest.mark.slow
@pytest.mark.parametrize("widths", [(3,), (4, 4, 2)])
def test_two_d(tmp_path, widths):
    """Two layers of three units: half the loss twice is 12.5; and a bottleneck in the third layer of four."""
    outputs = 3 if len(widths) == 1 else 4
    settings = {"model.encoder.widths": widths, "model.encoder.num_outputs": outputs}
    experiment, result = result_of("two_d", tmp_path, 2, **settings)
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, changed(result, error=lambda error: error.copy(data=np.roll(error, 1, axis=-1)))))
    if len(widths) == 1:
        np.testing.assert_allclose(result["simulation"]["error"].sum(("exit", "size")), 12.5, atol=1e-9)


@pytest.mark.slow
def test_gains(tmp_path):
    """Gains of four depths; with larger steps two and three layers end at 1.5409, 1.0602 and 1.6334, 1.2481, 0.9217."""
    experiment, result = result_of("gains", tmp_path, 2)
    assert agrees(compare(experiment, result))
    for wrong in ({"gain": np.sqrt}, {"gain": 1.0}, {"scale": lambda g: g / g}):
        assert not agrees(compare(experiment, changed(result, **wrong)))
    coarse = gains.Config(depths=(2, 3), learning_rate=0.0025, num_steps=8000)
    found = np.asarray(trained(gains, coarse).gain)[:, 0]
    np.testing.assert_allclose(found, [1.5409, 1.0602, 1.6334, 1.2481, 0.9217], atol=1e-4)


@pytest.mark.slow
def test_conservation(tmp_path):
    """Step sizes in the ratio 4 to 1 have drifts in the ratio 4 to 1, below 5e-3 over the whole time."""
    experiment, result = result_of("conservation", tmp_path, 4)
    assert agrees(compare(experiment, result))
    drift = result["simulation"]["drift"]
    assert (drift.isel(run=-1) < 5e-3).all()
    assert not agrees(compare(experiment, changed(result, relative_drift=lambda drift: drift**2)))
    assert not agrees(compare(experiment, changed(result, unexplained=1e-6)))


@pytest.mark.slow
def test_counterexample(tmp_path):
    """The price of nesting at all angles; nothing where the subspaces nest; neither is what one task alone would choose."""
    experiment = find("matryoshka/counterexample")
    result = sweep(experiment, experiment.default_config(), over=experiment.grid, seeds=4, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    np.testing.assert_allclose(result["simulation"]["price"].sel(angle=0.0), 0, atol=1e-9)
    for wrong in ({"price": 0.0}, {"price": lambda price: price / 2}, {"direction": lambda angle: 2 * angle}):
        assert not agrees(compare(experiment, changed(result, **wrong)))


@pytest.mark.slow
def test_digits(tmp_path):
    """Principal components of the pixels at every trained size; one more or one less is rejected."""
    experiment, result = result_of("digits", tmp_path, 2)
    assert agrees(compare(experiment, result))
    values = np.linalg.eigvalsh(digits._moments(digits.Config()).covariance)
    for shift in (-1, 1):
        wrong = np.asarray(theory.prefix_errors(np.maximum(values, 0), tuple(np.array((1, 2, 4, 8)) + shift)))
        assert not agrees(compare(experiment, changed(result, error=wrong)))
