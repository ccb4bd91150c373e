"""Proximal points against their definition, and derivatives of envelopes against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.theory.high_dimension import losses
from zoo.checks import rejected

NOT_NUMERIC = {
    losses.margin_loss: "makes a loss of a function",
    losses.residual_loss: "makes a loss of a function",
    losses.huber: "makes a loss of a number",
    losses.compiled: "makes a function of a function",
}
CALLS = []

NAMED = [losses.SQUARE, losses.LOGISTIC, losses.HINGE, losses.SQUARED_HINGE, losses.PROBIT]
NAMED += [losses.SQUARED_RESIDUAL, losses.ABSOLUTE, losses.huber(0.7)]


def grid(response):
    """Points far below and above the bends, and about them."""
    wide = np.concatenate([np.linspace(-2 * response - 40, 40, 301), np.linspace(-6, 6, 201)])
    return jnp.asarray(wide), jnp.full(wide.shape, response)


@pytest.mark.parametrize("response", [1.0, *(pytest.param(V, marks=pytest.mark.slow) for V in (1e-3, 1e5))])
def test_proximal_points_minimise(response):
    """No point nearby is better, by the definition alone: neither a slope nor a derivative is used."""
    omega, V = grid(response)
    for loss in NAMED:
        p = loss.prox(omega, V)
        best = np.asarray(loss.value(p) + (p - omega) ** 2 / (2 * V))
        for shift in (-1e-3, 1e-3):
            s = p + shift * (1 + jnp.abs(p)) * min(1.0, response)
            other = np.asarray(loss.value(s) + (s - omega) ** 2 / (2 * V))
            assert np.all(other >= best - 1e-14 * (1 + np.abs(best)))


def assert_stationary(slope_fn, loss, response):
    """s + V l'(s) = omega at the point, with the derivative of the loss by jax."""
    omega, V = grid(response)
    slope = slope_fn(omega, V)
    p = omega - V * slope
    expected = jax.vmap(jax.grad(loss.value))(p)
    scale = np.abs(expected) * (1 + np.abs(p) + np.abs(omega)) + 1e-12
    assert np.max(np.abs(slope - expected) / scale) < 1e-9


def test_smooth_losses_to_rounding():
    for loss in (losses.LOGISTIC, losses.PROBIT):
        for response in (1e-4, 1.0, 30.0, 1e7):
            assert_stationary(loss.envelope_slope, loss, response)
    # a wrong sign in the point, which is right where the loss is flat only
    rejected(assert_stationary, lambda omega, V: -jax.nn.sigmoid(-omega + V * jax.nn.sigmoid(-omega)), losses.LOGISTIC, 1.0)
    rejected(assert_stationary, lambda omega, V: losses.LOGISTIC.envelope_slope(omega, V / 2), losses.LOGISTIC, 1.0)


def test_hard_margin_is_the_limit_of_steep_hinges():
    omega, V = grid(0.5)
    steep = 1e6 * losses.HINGE.envelope_slope(omega, 1e6 * V)
    np.testing.assert_allclose(losses.HARD.envelope_slope(omega, V), steep, rtol=1e-12)


PAIRS = [
    (losses.margin_loss(losses.HINGE.value, (1.0,)), losses.HINGE),
    (losses.margin_loss(losses.LOGISTIC.value), losses.LOGISTIC),
    (losses.residual_loss(losses.huber(0.7).value, (-0.7, 0.7)), losses.huber(0.7)),
]


@pytest.mark.parametrize("pair", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2))])
def test_losses_of_a_function(pair):
    """The named losses again, from their values alone, with derivatives."""
    omega, V = grid(1.5)
    for own, named in PAIRS[pair : pair + 1]:
        directions = (jnp.ones_like(omega), 0.3 * jnp.ones_like(V))
        for one, other in zip(
            jax.jit(lambda omega, V, along=directions, loss=own: jax.jvp(loss.envelope_slope, (omega, V), along))(omega, V),
            jax.jvp(named.envelope_slope, (omega, V), directions),
            strict=True,
        ):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
        assert own.of == named.of
    breaks = np.array(losses.margin_loss(losses.HINGE.value, (1.0,)).breaks)
    np.testing.assert_allclose(breaks, np.array(losses.HINGE.breaks), atol=1e-12)


@pytest.mark.slow
def test_derivatives_of_envelopes():
    omega, V = grid(2.0)
    h = 1e-6
    for loss in (losses.LOGISTIC, losses.PROBIT):
        _, slope = jax.jvp(loss.envelope_slope, (omega, V), (jnp.ones_like(omega), 0.5 * jnp.ones_like(V)))
        forth, back = (loss.envelope_slope(omega + s * h, V + 0.5 * s * h) for s in (1, -1))
        np.testing.assert_allclose(slope, (forth - back) / (2 * h), atol=1e-8)


@pytest.mark.slow
def test_float32():
    omega, V = grid(3.0)
    for loss in NAMED:
        with jax.enable_x64(False):
            single = loss.envelope_slope(jnp.asarray(np.float32(omega)), jnp.asarray(np.float32(V)))
        assert single.dtype == jnp.float32
        np.testing.assert_allclose(single, loss.envelope_slope(omega, V), rtol=1e-4, atol=1e-5)


def test_refusals():
    with pytest.raises(ValueError, match="delta must be above 0"):
        losses.huber(0.0)
