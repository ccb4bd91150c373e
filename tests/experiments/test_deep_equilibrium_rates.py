"""Rates, gradients and random networks at small sizes: theory agrees with what is run, and plausible mistakes do not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.experiments.deep_equilibrium import gradients, random_tanh, rates
from closedform.sweeps import agrees, compare, find, run
from closedform.sweeps.contract import config
from closedform.theory.equilibria import convergence_rates, implicit_gradients
from zoo.checks import changed, rejected

TRIANGULAR = rates.Config(coupling=0.5)


def assert_rates(wrong=None):
    """One draw, not by the engine: every rate within 1 %; `wrong` are other predictions of some fields."""
    settings = dataclasses.replace(TRIANGULAR, num_steps=4, num_chunks=60, dampings=(0.5, 1.0))
    predicted = rates.predict(settings)._replace(**(wrong or {}))
    for field in ("picard_rate", "flow_rate", "damped_rate", "best_rate", "picard_arrives", "flow_arrives"):
        allowed = rates.TOLERANCE[field].relative
        np.testing.assert_allclose(getattr(simulated_rates(settings), field), getattr(predicted, field), rtol=allowed + 1e-12)


_KEPT = {}


def simulated_rates(settings):
    if settings not in _KEPT:
        _KEPT[settings] = jax.jit(lambda key: rates.simulate(key, settings))(jax.random.key(0))
    return _KEPT[settings]


@pytest.mark.slow
def test_rates():
    matrices = rates._matrices(TRIANGULAR)
    radius, abscissa = (
        jnp.stack([function(one) for one in matrices])
        for function in (convergence_rates.spectral_radius, convergence_rates.spectral_abscissa)
    )
    assert_rates()
    rejected(assert_rates, {"flow_rate": 1 - radius})
    rejected(assert_rates, {"flow_rate": abscissa - 1})  # the sign
    rejected(assert_rates, {"flow_rate": -abscissa})  # of dz/dt = f(z)
    rejected(assert_rates, {"picard_rate": abscissa})
    rejected(assert_rates, {"flow_arrives": (radius < 1).astype(float)})
    rejected(assert_rates, {"picard_arrives": (abscissa < 1).astype(float)})
    assert {"yes" if one else "no" for one in np.asarray((radius > 1) & (abscissa < 1))} == {"yes", "no"}


@pytest.mark.slow
def test_gradients():
    settings = gradients.Config(width=4, radius=0.6)
    state = gradients.init(jax.random.key(1), settings)
    simulated = jax.jit(lambda state: gradients.simulate(state, settings))(state)

    def assert_agrees(predicted):
        for field, tolerance in gradients.TOLERANCE.items():
            np.testing.assert_allclose(
                getattr(simulated, field),
                getattr(predicted, field),
                rtol=tolerance.relative,
                atol=tolerance.absolute,
            )

    right = gradients.predict(state, settings)
    assert_agrees(right)
    slopes = jnp.stack([jnp.ones_like(state.at_rest), 1 - state.at_rest**2])
    jacobians = slopes[:, :, None] * state.params.w
    g = state.cotangent
    transposed = [implicit_gradients.implicit_gradient(J.T, g, jnp.diag(d)) for J, d in zip(jacobians, slopes, strict=True)]
    rejected(assert_agrees, right._replace(implicit=jnp.stack(transposed)))  # (I - J) lambda = g
    rejected(assert_agrees, right._replace(implicit=g[None] * slopes))  # one step
    rejected(assert_agrees, right._replace(neumann_error=right.neumann_error * settings.radius))  # an order too many
    unrolled = implicit_gradients.unrolled_error(np.arange(40), jacobians[0], state.at_rest, -state.at_rest, g)
    sizes = jnp.linalg.norm(unrolled, axis=(1, 2)) / jnp.linalg.norm(unrolled[0])
    rejected(assert_agrees, right._replace(unrolled_error=sizes))  # a step too few
    count = np.arange(21.0, 41)
    without = np.exp(np.polyfit(count, np.log(np.asarray(simulated.unrolled_error)[20:]), 1)[0])
    assert abs(without / settings.radius - 1) > 0.025  # rho^K without the K is another rate, by 1/K


@pytest.mark.slow
def test_random_tanh(tmp_path):
    """Sixty-four units and seeds: the variance and the gain within their errors, the radius beyond its limit."""
    experiment = find("deep_equilibrium/random_tanh")
    settings = config.replace(experiment.default_config(), {"width": 64, "weight_scale": 1.25})
    result = run(experiment, settings, seeds=64, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    for wrong in (
        {"radius": lambda values: values**2},  # chi
        {"radius": result["prediction_limit"]["radius"].values / 1.02},  # below the limit, as if finite width shrank it
        {"gain": lambda values: np.sqrt(values)},
        {"preactivation_variance": lambda values: values - 1},  # without the input
        {"shares": lambda values: values.copy(data=(settings.weight_scale * np.array(settings.levels)) ** 2 / 0.574)},
    ):
        assert not agrees(compare(experiment, changed(result, **wrong)))


def test_spectra_tell_the_radius_from_the_abscissa():
    """Of the spectra some arrive by both ways, some by the flow alone, some by neither; none by Picard's iteration alone."""
    predicted = jax.jit(lambda: rates.predict(dataclasses.replace(TRIANGULAR, num_steps=1, num_records=4)))()
    kinds = {(bool(one), bool(other)) for one, other in zip(predicted.picard_arrives, predicted.flow_arrives, strict=True)}
    assert kinds == {(True, True), (False, True), (False, False)}
    np.testing.assert_array_less(predicted.best_rate[:-1], 1)


def test_the_two_maps_have_one_fixed_point_and_one_jacobian():
    settings = gradients.Config(width=4, radius=0.6)
    state = gradients.init(jax.random.key(0), settings)
    w, b, z = (np.asarray(one) for one in (state.params.w, state.params.b, state.at_rest))
    np.testing.assert_allclose(w[0] @ z + b[0], z, rtol=1e-12)
    np.testing.assert_allclose(np.tanh(w[1] @ z + b[1]), z, rtol=1e-12)
    np.testing.assert_allclose((1 - z**2)[:, None] * w[1], w[0], rtol=1e-12)
    eigenvalues = np.linalg.eigvals(w[0])
    np.testing.assert_allclose(np.max(np.abs(eigenvalues)), 0.6, rtol=1e-10)
    assert np.abs(w[0] - w[0].T).max() > 0.05


def test_random_tanh_refuses_more_eigenvalues_than_there_are():
    with pytest.raises(ValueError, match=r"^num_shown must be at most width = 8, got 60$"):
        random_tanh.Config(width=8)
