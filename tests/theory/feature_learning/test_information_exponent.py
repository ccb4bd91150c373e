"""Drift, noise and times of a single direction against quadrature, and numbers of the specification."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from closedform.theory.feature_learning import information_exponent as single
from closedform.theory.gaussian.hermite import hermite_coefficients
from closedform.theory.numerics.arguments import as_floats
from zoo.calls import Call
from zoo.checks import rejected

LINKS = np.eye(5)
MIXED = {"target": np.array([0.2, 0.3, 0.5]), "student": np.array([0.4, 0.5, 0.28])}
_overlap_flow = jax.jit(single.overlap_flow)


def overlap_flow(time, initial, target, student, noise):
    """Compiled once for each precision."""
    return _overlap_flow(*as_floats(time, initial, target, student, noise))


CALLS = [
    Call(single.drift, {"overlap": np.array([0.1, -0.6]), **MIXED}),
    Call(single.noise_variance, {"overlap": np.array([0.1, -0.6]), **MIXED}),
    Call(
        single.overlap_time,
        {"end": 0.5, "initial": 0.05, **MIXED},
        # coefficients of either sign, for which the drift may vanish on the way, have a test of their own
        edges={"end": (0.01, 0.9), "initial": (0.01, 0.9), "target": (MIXED["target"],), "student": (MIXED["student"],)},
    ),
    Call(
        overlap_flow,
        {"time": np.array([0.0, 0.5]), "initial": 0.2, **MIXED, "noise": 0.1},
        of=single.overlap_flow,
        differentiable=False,  # the derivatives are those of diffrax: compiling them takes long
        draw=lambda rng: {
            "time": rng.uniform(0, 3, size=2),
            "initial": rng.uniform(-1, 1),
            "target": rng.normal(size=3),
            "student": rng.normal(size=3),
            "noise": rng.uniform(),
        },
        # a flow of any length and stiffness is not asked for
        edges={"time": (0.0, 3.0), "target": (MIXED["target"],), "student": (MIXED["student"],), "noise": (0.0, 1.0)},
        rounding=30.0,  # the tolerance of the integration in float32 is 1e-5
    ),
    *(Call(single.escape_time, {"initial": 0.01, "exponent": k}, label=f"exponent {k}") for k in (2, 3)),
    *(Call(single.sample_complexity, {"dim": 100.0, "exponent": k}, label=f"exponent {k}") for k in (1, 2, 3)),
]
NOT_NUMERIC = {single.information_exponent: "a whole number"}


def test_coefficients_and_exponents():
    """Of ReLU .398942, .5, .282095, 0, -.081434; the exponent is the lowest shared order above 0."""
    relu = hermite_coefficients(jax.nn.relu, 5)
    np.testing.assert_allclose(relu, [0.398942, 0.5, 0.282095, 0, -0.081434], atol=6e-7)
    assert single.information_exponent(LINKS[2], relu) == 2
    assert single.information_exponent(LINKS[1] + LINKS[4], relu) == 1
    assert single.information_exponent(LINKS[2] + LINKS[4], LINKS[4]) == 4
    with pytest.raises(ValueError, match="must share a coefficient"):
        single.information_exponent(LINKS[3], relu)
    with pytest.raises(ValueError, match="known numbers"):
        jax.jit(single.information_exponent)(LINKS[1], LINKS[1])


def test_times_to_half_of_the_overlap():
    """From .05: .49926, 1.22259, 6.16642, 50.1113 for exponents 1 to 4, by one program with further ones.

    Small starts, escapes with noise, overlaps on the way, and a drift that leads away.
    """
    three = np.pad(MIXED["target"], (0, 2)), np.pad(MIXED["student"], (0, 2))
    rows = [(0.5, 0.05, LINKS[k], LINKS[k], 0.0) for k in (1, 2, 3, 4)]
    rows += [(0.5, 1e-5, LINKS[k], LINKS[k], 0.0) for k in (2, 3, 4)]
    rows += [(0.5, dim**-0.5, LINKS[k], LINKS[k], 0.1 * dim ** (1 - k / 2)) for k, dim in ((2, 100), (3, 64))]
    ways = (0.2, [1500, 3000, 6000, 9000], [0.3875, 0.6443, 0.914, 0.940]), (0.3, [7500, 15000, 22500], [0.418, 0.616, 0.832])
    for (start, _, ends), link, noise in zip(ways, (LINKS[2], LINKS[3]), (0.05, 0.01), strict=True):
        rows += [(end, start, link, link, noise) for end in ends]
    rows += [(0.01, 0.99, *three, 0.0), (0.5, 0.5, LINKS[3], LINKS[3], 0.0), (0.5, 0.1, -LINKS[3], LINKS[3], 0.0)]
    found = np.asarray(jax.jit(jax.vmap(single.overlap_time))(*map(jnp.asarray, map(np.stack, zip(*rows, strict=True)))))

    def assert_times(times):
        np.testing.assert_allclose(times, [0.49926, 1.22259, 6.16642, 50.1113], rtol=1e-5)

    assert_times(found[:4])
    rejected(assert_times, 2 * found[:4])
    for time, k in zip(found[4:7], (2, 3, 4), strict=True):
        np.testing.assert_allclose(time, single.escape_time(1e-5, k), rtol=0.1 if k == 2 else 1e-3)

    def assert_escapes(times):  # the specification's steps, at eta = .1 d^(-k/2)
        np.testing.assert_allclose(times * [100 / 0.1, 64**1.5 / 0.1], [944, 11598], rtol=2e-3)

    assert_escapes(found[7:9])
    rejected(assert_escapes, found[4:6])

    def assert_on_the_way(times):  # steps at d = 200; the overlaps are known to three digits or four
        for time, noise, steps in zip((times[:4], times[4:]), (0.05, 0.01), (ways[0][1], ways[1][1]), strict=True):
            np.testing.assert_allclose(time * 200 / noise, steps, rtol=0.01)

    assert_on_the_way(found[9:16])
    rejected(assert_on_the_way, 2 * found[9:16])
    expected = quad(lambda m: 1 / ((1 - m**2) * (0.15 + 2 * 0.14 * m)), 0.99, 0.01)[0]
    np.testing.assert_allclose(found[16], expected, rtol=1e-9)
    assert found[17] == 0
    assert found[18] == np.inf


def test_noise_of_the_steps():
    """E f^2 g'^2 by sums over a grid; V(0) = k for f = g = He_k/sqrt(k!), and not the 12 of the squared loss at k = 2."""
    z, weights = np.polynomial.hermite_e.hermegauss(30)
    weights = weights / weights.sum()

    def assert_noise(noise_fn):
        for m in (0.0, 0.4, -1.0):
            u, v = z[:, None], m * z[:, None] + (1 - m**2) ** 0.5 * z[None]
            f, slope = (u**3 - 3 * u) / 6**0.5 + 0.5 * u, (3 * v**2 - 3) / 6**0.5 + 0.5
            expected = np.sum(weights[:, None] * weights[None] * f**2 * slope**2)
            np.testing.assert_allclose(noise_fn(m), expected, rtol=1e-10)

    link = LINKS[3] + 0.5 * LINKS[1]
    noise = jax.jit(single.noise_variance)
    assert_noise(lambda m: noise(m, link, link))
    rejected(assert_noise, lambda m: noise(m, LINKS[3], LINKS[3]))
    np.testing.assert_allclose([noise(0.0, LINKS[k], LINKS[k]) for k in (1, 2, 3)], [1, 2, 3], rtol=1e-12)


@pytest.mark.slow
def test_the_overlap_on_the_way():
    """The equation's values at k = 2 and k = 3, to 1e-3; without the noise they differ."""

    times = np.stack([np.array([1500, 3000, 6000, 9000]) * 0.05, np.array([7500, 15000, 22500, 52500]) * 0.01]) / 200
    flow = jax.jit(jax.vmap(single.overlap_flow))

    def assert_flow(noise_of):
        noise = jnp.array([noise_of(0.05), noise_of(0.01)])
        found = flow(jnp.asarray(times), jnp.array([0.2, 0.3]), jnp.asarray(LINKS[2:4]), jnp.asarray(LINKS[2:4]), noise)
        np.testing.assert_allclose(found, [[0.3875, 0.6443, 0.914, 0.940], [0.418, 0.616, 0.832, 0.931]], atol=6e-4)

    assert_flow(lambda noise: noise)
    rejected(assert_flow, lambda noise: 2 * noise)


def test_one_step_moves_the_overlap_by_drift_and_noise():
    """The mean change of m in one step of SGD, over 400,000 samples: drift less eta d V m/2, to leading order."""
    dim, eta, m, num_samples = 20_000, 1e-7, 0.6, 400_000
    rng = np.random.default_rng(0)
    u, w = rng.normal(size=num_samples), rng.normal(size=num_samples)
    v = m * u + (1 - m**2) ** 0.5 * w
    rest = rng.chisquare(dim - 2, size=num_samples)
    f, slope = (u**2 - 1) / 2**0.5, 2**0.5 * v
    gradient = f * slope  # times x
    along_target, along_self, square = gradient * u, gradient * v, gradient**2 * (u**2 + w**2 + rest)
    after = (m + eta * along_target) / np.sqrt(1 + 2 * eta * along_self + eta**2 * square)
    # what is first order in eta is taken off, whose mean is the drift
    change = (after - m) / eta - (along_target - m * along_self)
    expected = -eta * dim / 2 * float(single.noise_variance(m, LINKS[2], LINKS[2])) * m
    np.testing.assert_allclose(np.mean(change), expected, rtol=0.05)
    first = along_target - m * along_self
    error = np.std(first) / num_samples**0.5
    assert abs(np.mean(first) - float(single.drift(m, LINKS[2], LINKS[2]))) < 4 * error


def test_links_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="student"):
        single.drift(0.1, jnp.ones(3), jnp.ones(4))
