"""Risks of ridge regression in closed form, of robust losses as they were computed elsewhere, and the envelope theorem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.theory.high_dimension import convex_regression, losses
from closedform.theory.high_dimension.label_channels import Numbers
from zoo.calls import Call
from zoo.checks import rejected

OUTLIERS = Numbers(1.0, [0.1, 10.0], [0.9, 0.1])
CALLS = [
    Call(
        lambda ratio, ridge, norm_squared, noise_variance: convex_regression.solve(
            ratio, ridge, losses.SQUARED_RESIDUAL, Numbers(norm_squared, jnp.stack([noise_variance]), [1.0])
        ),
        {"ratio": 2.0, "ridge": 0.5, "norm_squared": 2.0, "noise_variance": 0.25},
        of=convex_regression.solve,
        cases=[{"ratio": 3.0, "ridge": 0.0}, {"noise_variance": 0.0}, {"ridge": 1e6}],
        differentiable=False,  # by test_derivatives
        rounding=16.0,
    )
]


def closed_form(ratio, ridge, noise_variance, rho):
    """V, m, q and the risk of ridge regression."""
    b = ridge + ratio - 1
    V = (-b + np.sqrt(b**2 + 4 * ridge)) / (2 * ridge)
    s = ratio * V**2 / (1 + V) ** 2
    risk = (rho * ridge**2 * V**2 + noise_variance * s) / (1 - s)
    m = rho * ratio / (1 + V) * V
    return V, m, risk - rho + 2 * m, risk


def test_ridge():
    points = [(2.0, 0.5, 0.25, 1.0), (0.5, 0.1, 0.1, 1.0), (2.0, 0.5, 0.25, 2.0), (1.5, 0.15, 0.3, 2.0)]
    run = jax.jit(
        jax.vmap(
            lambda one: convex_regression.solve(
                one[0], one[1], losses.SQUARED_RESIDUAL, Numbers(one[3], one[2:3], jnp.ones(1, one.dtype))
            )
        )
    )
    found = run(np.array(points))

    def assert_same(expected):
        values = (found.response, found.overlap, found.norm, found.risk)
        np.testing.assert_allclose(values, np.array(expected).T, rtol=1e-10)

    assert_same([closed_form(*point) for point in points])
    rejected(assert_same, [closed_form(ratio, ridge, 0.0, rho) for ratio, ridge, _, rho in points])  # no noise
    rejected(assert_same, [closed_form(ratio, ridge, noise, 1.0) for ratio, ridge, noise, _ in points])  # rho missing
    np.testing.assert_allclose(found.response[:2], (0.561552813, 5.741657387), rtol=1e-9)
    np.testing.assert_allclose((found.overlap[0], found.overlap[3]), (0.719223594, 1.638812579), rtol=1e-9)
    np.testing.assert_allclose(found.norm[0], 0.632004922, rtol=1e-9)
    np.testing.assert_allclose((found.overlap[2], found.norm[2]), (1.438447187, 1.176791171), rtol=1e-9)
    np.testing.assert_allclose(
        (found.risk[0], found.risk[1], found.risk[3]), (0.193557734, 0.574165739, 0.361187421), rtol=3e-9
    )


@pytest.mark.slow
def test_outliers():
    for loss, ratio, ridge, risk in (
        (losses.huber(1.0), 2.0, 0.5, 0.224499387),
        (losses.ABSOLUTE, 2.0, 0.5, 0.167353487),
        (losses.residual_loss(jnp.abs, (0.0,)), 2.0, 0.5, 0.167353487),
        (losses.SQUARED_RESIDUAL, 2.0, 0.5, 0.486612472),
        (losses.huber(0.5), 3.0, 0.1, 0.083426171),
    ):
        np.testing.assert_allclose(convex_regression.solve(ratio, ridge, loss, OUTLIERS).risk, risk, rtol=4e-9)


@pytest.mark.slow
def test_derivatives():
    """de/dridge = q/2 and de/dratio = E[l(p) + (p - r)^2/(2 V)], by the implicit function."""

    def energy(ratio, ridge):
        return convex_regression.solve(ratio, ridge, losses.huber(0.5), OUTLIERS).energy

    found = convex_regression.solve(2.0, 0.5, losses.huber(0.5), OUTLIERS)
    by_ratio, by_ridge = jax.grad(energy, (0, 1))(2.0, 0.5)
    np.testing.assert_allclose(by_ridge, found.norm / 2, rtol=1e-9)
    # E g^2 = (risk/V^2 - rho ridge^2)/ratio
    squares = (found.risk / found.response**2 - 0.5**2) / 2.0
    np.testing.assert_allclose(by_ratio, found.training_loss + found.response / 2 * squares, rtol=1e-9)


def test_ends():
    nothing = convex_regression.solve(0.5, 0.0, losses.SQUARED_RESIDUAL, Numbers(1.0, [0.1], [1.0]))
    assert np.all(np.isinf([nothing.risk, nothing.response]))  # fewer samples than dimensions: no unique optimum
    exact = convex_regression.solve(1.5, 0.0, losses.SQUARED_RESIDUAL, Numbers(1.0, [0.0], [1.0]))
    assert exact.risk < 1e-25
    assert abs(exact.overlap - 1) < 1e-12
    with pytest.raises(ValueError, match=r"teacher.weights must sum to 1"):
        convex_regression.solve(2.0, 0.5, losses.ABSOLUTE, Numbers(1.0, [0.1, 1.0], [0.9, 0.2]))
    with pytest.raises(ValueError, match="loss must be a Loss of a residual"):
        convex_regression.solve(2.0, 0.5, losses.LOGISTIC, OUTLIERS)
