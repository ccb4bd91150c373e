"""Message passing: its functions against scipy, its ends against the optimum of the fit, and what happens without each part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special, stats

from closedform.solvers import message_passing
from zoo.checks import rejected

RNG = np.random.default_rng(0)
Y = np.where(RNG.standard_normal(9) > 0, 1.0, -1.0)
OMEGA = np.array([-40.0, -6.0, -1.5, -0.2, 0.0, 0.3, 0.9, 4.0, 30.0])


def on_arrays(output_fn):
    return jax.jit(lambda *given: output_fn(*map(jnp.asarray, given)))


LOSSES = {  # convex losses of the margin, and their derivatives
    "logistic": (lambda s: np.logaddexp(0, -s), lambda s: -special.expit(-s)),
    "squared_hinge": (lambda s: np.maximum(1 - s, 0) ** 2 / 2, lambda s: -np.maximum(1 - s, 0)),
    "square": (lambda s: (1 - s) ** 2 / 2, lambda s: s - 1),
    "hinge": (lambda s: np.maximum(1 - s, 0), None),
}


def assert_minimises(output_fn, name, variance):
    """(p - omega)/V of the minimiser p by scipy, and its slope by differences."""
    loss, slope = LOSSES[name]

    def pull(y, omega):
        margin = y * omega

        def excess(s):
            return s - margin + variance * slope(s)

        if slope is None:
            found = optimize.minimize_scalar(lambda s: loss(s) + (s - margin) ** 2 / (2 * variance), tol=1e-14).x
        else:
            ends = margin - variance * (2 + abs(margin)), margin + variance * (2 + abs(margin))
            found = optimize.brentq(excess, *ends, xtol=1e-14, rtol=1e-15)
        return y * (found - margin) / variance

    g, curvature = map(np.asarray, output_fn(Y, OMEGA, variance))
    atol = 1e-6 if slope is None else 1e-11  # a minimum is known to the root of rounding
    np.testing.assert_allclose(g, [pull(*pair) for pair in zip(Y, OMEGA, strict=True)], rtol=1e-9, atol=atol)
    h = 1e-5
    difference = [(pull(y, w - h) - pull(y, w + h)) / (2 * h) for y, w in zip(Y, OMEGA, strict=True)]
    np.testing.assert_allclose(curvature, difference, rtol=1e-4, atol=1e-6 if slope is not None else 1e-1)


@pytest.mark.parametrize("name", LOSSES)
def test_outputs_are_minimisers(name):
    output = on_arrays(getattr(message_passing, name))
    for variance in (0.3, 50.0):
        assert_minimises(output, name, variance)
    rejected(assert_minimises, lambda y, w, v: output(y, w, 2 * v), name, 0.3)
    rejected(assert_minimises, lambda y, w, v: (output(y, w, v)[0], 0 * output(y, w, v)[1]), name, 0.3)
    other = on_arrays(message_passing.square if name != "square" else message_passing.hinge)
    rejected(assert_minimises, other, name, 0.3)


def assert_is_the_posterior(output_fn, noise):
    """d/domega and d^2/domega^2 of log Phi(y omega/sqrt(V + tau^2)), in the far tail by the asymptotic series."""
    y, omega, variance = np.ones(8), np.array([-1e4, -300.0, -7.0, -5.0, -4.9, -0.4, 0.8, 9.0]), 0.7
    g, curvature = map(np.asarray, output_fn(y, omega, variance))
    s = np.sqrt(variance + noise**2)
    u = omega / s
    ratio = np.exp(stats.norm.logpdf(u) - special.log_ndtr(u))
    far = u < -100
    x = np.where(far, -u, 1.0)
    ratio = np.where(far, x + 1 / x - 2 / x**3, ratio)
    excess = np.where(far, 1 / x - 2 / x**3 + 10 / x**5, u + ratio)
    np.testing.assert_allclose(g, ratio / s, rtol=1e-12)
    np.testing.assert_allclose(curvature, ratio * excess / s**2, rtol=1e-11)
    flipped, same = output_fn(-y, -omega, variance)
    np.testing.assert_array_equal(flipped, -g)
    np.testing.assert_array_equal(same, curvature)


def test_posterior_of_a_perceptron():
    def output(noise):
        return lambda *given: posterior(noise, *given)

    posterior = jax.jit(lambda noise, *given: message_passing.sign_posterior(noise)(*given))
    assert_is_the_posterior(output(0.5), 0.5)
    rejected(assert_is_the_posterior, output(0.0), 0.5)
    rejected(assert_is_the_posterior, output(0.25), 0.5)


def data(dim, ratio, seed=0, binary=False):
    rng = np.random.default_rng(seed)
    x, teacher = rng.standard_normal((int(ratio * dim), dim)), rng.standard_normal(dim)
    teacher = np.sign(teacher) if binary else teacher * np.sqrt(dim / np.sum(teacher**2))
    return x, np.where(x @ teacher > 0, 1.0, -1.0), teacher


X, LABELS, TEACHER = data(150, 3)
STEPS = 60


def fits(output_fn, ridge=0.5):
    """The state after STEPS iterations, given the part of the Onsager term that is kept."""

    def run(x, y, kept):
        def step(_, state):
            state = state._replace(pull=kept * state.pull)
            return message_passing.step(state, x, y, output_fn, message_passing.ridge(ridge))

        start = message_passing.init(len(y), jnp.zeros(x.shape[1]), 1 / ridge)
        return jax.lax.fori_loop(0, STEPS, step, start)

    compiled = jax.jit(run)
    return lambda kept: compiled(X, LABELS, kept)


def assert_is_the_fit(weights, slope=LOSSES["logistic"][1], ridge=0.5, atol=1e-6):
    """The gradient of the sum of losses and ridge |w|^2/2 at the end."""
    margin = LABELS * (X @ weights) / np.sqrt(X.shape[1])
    gradient = X.T @ (LABELS * slope(margin)) / np.sqrt(X.shape[1]) + ridge * np.asarray(weights)
    assert np.abs(gradient).max() < atol, np.abs(gradient).max()


def test_the_steps_end_at_the_optimum():
    """To rounding for a smooth loss; V is the trace of the inverse Hessian over d, up to the size of the system."""
    fit = fits(message_passing.logistic)
    end = fit(1.0)
    assert_is_the_fit(end.weights)
    margin = LABELS * (X @ end.weights) / np.sqrt(150)
    curvature = special.expit(margin) * special.expit(-margin)
    hessian = 0.5 * np.eye(150) + (X.T * curvature) @ X / 150
    np.testing.assert_allclose(end.variance, np.trace(np.linalg.inv(hessian)) / 150, rtol=0.02)
    rejected(assert_is_the_fit, fit(0.0).weights)
    rejected(assert_is_the_fit, fit(0.5).weights)
    rejected(assert_is_the_fit, end.weights, LOSSES["squared_hinge"][1])
    # least squares, exactly
    kernel = X.T @ X / 150 + 0.5 * np.eye(150)
    exact = np.linalg.solve(kernel, X.T @ LABELS / 150**0.5)
    np.testing.assert_allclose(fits(message_passing.square)(1.0).weights, exact, atol=1e-6)


def assert_finds_the_teacher(run_fn):
    x, y, teacher = data(400, 2.5, binary=True)
    end = jax.jit(run_fn)(x, y)
    np.testing.assert_array_equal(np.sign(end.weights), teacher)
    np.testing.assert_allclose(np.abs(end.weights), 1, atol=1e-6)
    assert np.isfinite(np.asarray(end.pull)).all()


def test_binary_weights_are_found_and_stay():
    """At 2.5 samples a dimension, after as many steps again as it takes; not with the prior of Gaussian weights."""

    def run(x, y, input_fn=message_passing.binary):
        return message_passing.run(x, y, message_passing.sign_posterior(0.0), input_fn, 1.0, 40)

    assert_finds_the_teacher(run)
    rejected(assert_finds_the_teacher, lambda x, y: run(x, y, message_passing.ridge(1.0)))


def test_bad_input_is_refused():
    def run(x=X, y=LABELS, variance=1.0, num_steps=1):
        return message_passing.run(x, y, message_passing.hinge, message_passing.ridge(1.0), variance, num_steps)

    with pytest.raises(ValueError, match=r"^y must have the shape \(sample,\) with sample = 450 as in x, got \(3,\)"):
        run(y=LABELS[:3])
    with pytest.raises(ValueError, match=r"^x must be finite"):
        run(x=np.full_like(X, np.nan))
    with pytest.raises(ValueError, match=r"^variance must be above 0 and finite, got 0.0"):
        run(variance=0.0)
    with pytest.raises(ValueError, match=r"^num_steps must be at least 0, got -1"):
        run(num_steps=-1)
