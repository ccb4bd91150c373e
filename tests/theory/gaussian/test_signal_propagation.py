"""Gains, maps, fixed points and the edge of chaos against quadrature, closed forms, the kernels of wide networks and draws."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special

from closedform.theory.gaussian import activations, signal_propagation
from closedform.theory.kernels import deep_kernels
from zoo.calls import Call
from zoo.checks import rejected

# f and f' in numpy, and what the package is given
gelu_erf = functools.partial(jax.nn.gelu, approximate=False)
normal_cdf = scipy.special.ndtr
FUNCTIONS = {
    "relu": ("relu", lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "tanh": ("tanh", np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "sigmoid": ("sigmoid", scipy.special.expit, lambda z: scipy.special.expit(z) * scipy.special.expit(-z)),
    "gelu": (gelu_erf, lambda z: z * normal_cdf(z), lambda z: normal_cdf(z) + z * density(z)),
}


def density(z):
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def mean(function, q=1.0):
    """E function(sqrt(q) z), split at the kink."""
    halves = [(-12.0, 0.0), (0.0, 12.0)]
    weighted = lambda z: function(math.sqrt(q) * z) * density(z)  # noqa: E731
    return sum(scipy.integrate.quad(weighted, *ends, epsabs=1e-13, epsrel=1e-12)[0] for ends in halves)


# --------------------------------------------------------------------------------------------------------------- the table

TABLE = {  # m_2, the gain, chi_1 under LSUV: an independent calculation
    "relu": (0.5, 1.414214, 1.0),
    "tanh": (0.3942944904, 1.592537, 1.177807),
    "sigmoid": (0.2933790359, 1.846228, 0.152827),
    "gelu": (0.4252214826, 1.533530, 1.072032),
}


@jax.jit
def gains_and_factors():
    """Gain, chi at variance 1 under LSUV, and chi at variance 1/2 and weight variance 2 of each activation: one program."""
    found = {}
    for name, (given, _, _) in FUNCTIONS.items():
        chi = signal_propagation.chi(jnp.array([1.0, 0.5]), given, jnp.array([1 / TABLE[name][0], 2.0]))
        found[name] = jnp.stack([signal_propagation.gain(given), *chi])
    return found


def assert_gains(found):
    """Mean squares, gains and gradient factors of four activations, by quadrature and as recorded before, to 1e-6."""
    for name, (_, f, slope) in FUNCTIONS.items():
        m2, gain, chi = TABLE[name]
        np.testing.assert_allclose(mean(lambda z, f=f: f(z) ** 2), m2, atol=1e-9)
        np.testing.assert_allclose(found[name][:2], (gain, chi), atol=1e-6)
        np.testing.assert_allclose(found[name][2], 2 * mean(lambda z, s=slope: s(z) ** 2, 0.5), rtol=1e-9)


def test_gains_and_gradient_factors():
    found = {name: np.asarray(values) for name, values in gains_and_factors().items()}
    assert_gains(found)
    rejected(assert_gains, found | {"tanh": np.array([5 / 3, *found["tanh"][1:]])})  # a rule of thumb for tanh
    rejected(assert_gains, {name: np.array([gain**2, *chi]) for name, (gain, *chi) in found.items()})
    # chi at a variance that is not the one asked for
    rejected(assert_gains, {name: np.array([gain, chi, 2 * chi / gain**2]) for name, (gain, chi, _) in found.items()})
    # E f^2 in place of E f'^2
    rejected(assert_gains, {name: np.array([gain, 1.0, other]) for name, (gain, _, other) in found.items()})


def test_the_factor_of_lsuv_for_rectangular_layers():
    """fan_in E W^2 is 1/m_2 for every shape: orthonormal rows of a wide layer, orthonormal columns of a tall one."""
    rng = np.random.default_rng(0)

    def assert_shapes(scale_fn):
        for fan_in, fan_out in ((40, 40), (40, 80), (80, 40)):
            q = np.linalg.qr(rng.normal(size=(max(fan_in, fan_out), min(fan_in, fan_out))))[0]
            mean_square = fan_in * np.sum(q**2) / (fan_in * fan_out)
            np.testing.assert_allclose(scale_fn(fan_in, fan_out, 0.4) ** 2 * mean_square, 1 / 0.4, rtol=1e-12)

    assert_shapes(signal_propagation.lsuv_scale)
    rejected(assert_shapes, lambda fan_in, fan_out, m2: m2**-0.5)  # without the factor max(1, out/in)
    rejected(assert_shapes, lambda fan_in, fan_out, m2: signal_propagation.lsuv_scale(fan_out, fan_in, m2))


# ----------------------------------------------------------------------------------------------------------------- the maps

RELU_CORRELATIONS = {
    1: 0.3183098862, 2: 0.4937310902, 5: 0.7359463506, 10: 0.8715355160, 20: 0.9484284792, 100: 0.9964231467
}  # fmt: skip


def test_correlations_of_relu_layers_from_independent_inputs():
    """To 1e-8, with the law 9 pi^2/(2 l^2) of a unit's variance at large depth: 44.4, and 43.13 at layer 1000."""
    found = signal_propagation.propagate(1001, 1.0, 0.0, "relu", 2.0)
    for layer, value in RELU_CORRELATIONS.items():
        np.testing.assert_allclose(found.correlation[layer], value, atol=1e-9)
    np.testing.assert_array_equal(found.variance, 1)
    np.testing.assert_array_equal(found.chi, 1)
    c = 0.0
    for layer in range(20):
        np.testing.assert_allclose(found.correlation[layer], c, atol=1e-12)
        c = (math.sqrt(1 - c**2) + c * (math.pi - math.acos(c))) / math.pi
    scaled = np.arange(1001.0) ** 2 * (1 - np.asarray(found.correlation))
    np.testing.assert_allclose(scaled[1000], 43.13, atol=0.005)
    assert abs(scaled[1000] / (9 * math.pi**2 / 2) - 1) < 0.03


def test_the_variance_of_a_unit_under_lsuv():
    """ReLU slowly, sigmoid at once, tanh never: what is recorded of simulations, within their scatter."""
    names, correlations = ("relu", "sigmoid", "tanh"), jnp.array([0.0, 1.0])
    run = jax.jit(lambda: [signal_propagation.per_unit_variance(11, name, correlations) for name in names])
    relu, sigmoid, tanh = (np.asarray(found) for found in run())
    np.testing.assert_allclose([relu[:, 1], sigmoid[:, 1], tanh[:, 1]], 0, atol=1e-14)
    relu, sigmoid, tanh = relu[:, 0], sigmoid[:, 0], tanh[:, 0]
    np.testing.assert_allclose(relu[[0, 1, 2, 5, 10]], [1, 0.682, 0.506, 0.264, 0.128], atol=6e-4)
    np.testing.assert_allclose(sigmoid[:5], [1, 0.148, 0.023, 0.004, 0.001], atol=1.5e-3)
    np.testing.assert_allclose(tanh, 1, atol=1e-12)


def assert_maps(variance_fn, correlation_fn):
    """Against a product of Gauss-Hermite rules, off the fixed point too, with biases."""
    z, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    for q, c, sw, sb in ((0.7, 0.3, 1.8, 0.1), (1.0, -0.5, 2.5, 0.0), (0.2, 0.9, 1.1, 0.3)):
        first = np.tanh(math.sqrt(q) * z)
        second = np.tanh(math.sqrt(q) * (c * z[:, None] + math.sqrt(1 - c**2) * z[None]))
        after = sw * weights @ first**2 + sb
        np.testing.assert_allclose(variance_fn(q, "tanh", sw, sb), after, rtol=1e-9)
        product = sw * np.sum(weights[:, None] * weights[None] * first[:, None] * second) + sb
        np.testing.assert_allclose(correlation_fn(c, q, "tanh", sw, sb), product / after, rtol=1e-7)


def test_maps_by_a_product_of_rules():
    variance, correlation = signal_propagation.variance_map, signal_propagation.correlation_map
    assert_maps(variance, correlation)
    rejected(assert_maps, lambda q, f, sw, sb: variance(q, f, sw), correlation)
    rejected(assert_maps, variance, lambda c, q, f, sw, sb: correlation(c, q, f, sw))  # biases correlate
    rejected(assert_maps, variance, lambda c, q, f, sw, sb: correlation(c, 1.0, f, sw, sb))
    assert correlation(0.2, 0.0, "tanh", 2.0) == 1


def test_they_are_the_kernels_of_wide_networks():
    """The recursion of deep_kernels over second moments of inputs, whose first layer is linear; NNGP and NTK."""
    q, c, sw, sb, depth = 1.3, 0.4, 1.6, 0.3, 4
    first = sw * q + sb

    def both():
        layers = signal_propagation.propagate(depth + 1, first, (sw * c * q + sb) / first, "erf", sw, sb)
        covariances = jnp.array([q, c * q])
        return layers, deep_kernels.fully_connected(q, q, covariances, activations.erf, depth, sw, sb)

    layers, kernels = jax.jit(both)()
    np.testing.assert_allclose(layers.variance[depth], kernels.nngp[0], rtol=1e-12)
    np.testing.assert_allclose(layers.correlation[depth], kernels.nngp[1] / kernels.nngp[0], rtol=1e-12)
    ntk = layers.variance[0]  # of one input with itself: sums of gradients by the factors chi
    for hidden in range(1, depth + 1):
        ntk = layers.variance[hidden] + layers.chi[hidden - 1] * ntk
    np.testing.assert_allclose(kernels.ntk[0], ntk, rtol=1e-12)


# ------------------------------------------------------------------------------------------------------------ fixed points


TANH = ((0.8, 0.05), (1.2, 0.1), (1.8, 0.05), (2.5, 0.1))  # (sigma_w^2, sigma_b^2) on both sides of the edge of chaos
SPECIAL = ((1 / TABLE["tanh"][0], 0.0), (0.9, 0.0), (1.0, 0.0), (0.0, 0.4), (1.001, 0.0), (1.760955, 0.05), (1.986073, 0.1))
RELU = ((1.5, 0.2, 1.0), (1.9, 0.0, 1.0), (2.0, 0.0, 3.0), (2.0, 0.1, 1.0), (2.5, 0.0, 1.0), (2.5, 0.1, 1.0), (1.0, 1.0, 0.0))


@functools.cache
def points():
    """Fixed points of tanh and ReLU, all by one program."""

    def run():
        tanh, relu = jnp.array(TANH + SPECIAL).T, jnp.array(RELU).T
        return signal_propagation.fixed_point("tanh", *tanh), signal_propagation.fixed_point("relu", *relu)

    return jax.tree.map(np.asarray, jax.jit(run)())


def point_of(found, index):
    return jax.tree.map(lambda leaf: leaf[index], found)


def assert_fixed_points(tanh):
    """tanh by bisection: q*, chi at q*, and the correlation on both sides of the edge of chaos."""
    z, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    for index, (sw, sb) in enumerate(TANH):
        point = point_of(tanh, index)
        excess = lambda q, sw=sw, sb=sb: sw * mean(lambda z: np.tanh(z) ** 2, q) + sb - q  # noqa: E731
        q = scipy.optimize.brentq(excess, sb / 2, sw + sb, xtol=1e-13)
        chi = sw * mean(lambda z: np.cosh(z) ** -4.0, q)
        np.testing.assert_allclose(point.variance, q, rtol=1e-8)  # the rule of 64 nodes at the largest q
        np.testing.assert_allclose(point.chi, chi, rtol=1e-7)

        def fall(c, q=q, sw=sw, sb=sb):
            u, v = math.sqrt(q) * z[:, None], math.sqrt(q) * (c * z[:, None] + math.sqrt(1 - c**2) * z[None])
            return (sw * np.sum(weights[:, None] * weights[None] * np.tanh(u) * np.tanh(v)) + sb) / q - c

        c = 1.0 if chi <= 1 else scipy.optimize.brentq(fall, 0, 0.97, xtol=1e-12)
        np.testing.assert_allclose(point.correlation, c, atol=1e-6)
        if chi <= 1:
            np.testing.assert_allclose(point.slope, chi, rtol=1e-7)
        else:
            np.testing.assert_allclose(point.slope, 1 + (fall(c + 1e-5) - fall(c - 1e-5)) / 2e-5, rtol=1e-4)
            assert point.slope < 1


def test_fixed_points_of_tanh():
    tanh, _ = points()
    assert_fixed_points(tanh)
    rejected(assert_fixed_points, tanh._replace(variance=tanh.variance**0.5))
    sw = np.array(TANH + SPECIAL)[:, 0]
    rejected(assert_fixed_points, tanh._replace(chi=sw * mean(lambda z: np.cosh(z) ** -4.0)))  # chi at the wrong q
    rejected(assert_fixed_points, tanh._replace(correlation=np.ones_like(sw)))


def test_lsuv_with_tanh_is_chaotic():
    """The correlation goes to 0, where the slope of its map is 0.930470, while gradients grow by 1.177807 a layer."""
    point = point_of(points()[0], len(TANH))
    np.testing.assert_allclose(point.variance, 1, rtol=1e-7)
    np.testing.assert_allclose(point.correlation, 0, atol=1e-12)
    np.testing.assert_allclose(point.slope, 0.930470, atol=1e-6)
    np.testing.assert_allclose(point.chi, 1.177807, atol=1e-6)


def test_variances_that_vanish_stay_or_grow():
    """ReLU in closed form, at its critical weight variance and beyond; tanh without biases below and at its edge."""
    tanh, relu = points()
    np.testing.assert_allclose(relu.variance, [0.2 / (1 - 0.75), 0, 3, np.inf, np.inf, np.inf, 2], rtol=1e-12)
    np.testing.assert_array_equal(relu.correlation, 1)
    np.testing.assert_allclose(relu.chi, np.array(RELU)[:, 0] / 2, rtol=1e-12)
    np.testing.assert_allclose(relu.slope, np.minimum(np.array(RELU)[:, 0] / 2, 1), rtol=1e-12)
    below, critical, none, near = (point_of(tanh, len(TANH) + 1 + k) for k in range(4))
    assert below.variance == 0
    np.testing.assert_allclose(below.chi, 0.9, rtol=1e-12)
    assert critical.variance < 1e-8
    assert none.variance == 0.4
    np.testing.assert_allclose(near.variance, 5e-4, rtol=5e-3)  # (sigma_w^2 - 1)/2 to leading order
    np.testing.assert_allclose(tanh.chi[-2:], 1, atol=2e-6)  # recorded points on the edge of chaos
    np.testing.assert_allclose(tanh.variance[-2:], [0.570048, 0.805799], atol=1e-5)


@functools.cache
def edges():
    def run():
        edge = signal_propagation.edge_of_chaos
        tanh, erf, relu = jnp.array([0.05, 0.1, 0.0, 1e-6]), jnp.array([0.3, 0.0]), jnp.array([0.0, 0.1])
        return edge("tanh", tanh), edge(activations.erf, erf), edge("relu", relu)

    return jax.tree.map(np.asarray, jax.jit(run)())


def assert_edge(tanh, erf):
    """Pairs of an independent calculation to 1e-5, and erf by its closed form."""
    np.testing.assert_allclose(np.stack(tanh)[:, :2], [[1.760955, 1.986073], [0.570048, 0.805799]], atol=1e-5)
    slope = lambda q: 4 / math.pi / math.sqrt(1 + 4 * q)  # noqa: E731
    excess = lambda q: (q - 0.3) * slope(q) - 2 / math.pi * math.asin(2 * q / (1 + 2 * q))  # noqa: E731
    q = scipy.optimize.brentq(excess, 0.3, 20, xtol=1e-13)
    np.testing.assert_allclose(np.stack(erf), [[1 / slope(q), math.pi / 4], [q, 0]], rtol=1e-9)


def test_the_edge_of_chaos():
    tanh, erf, relu = edges()
    assert_edge(tanh, erf)
    rejected(assert_edge, tanh._replace(weight_variance=tanh.weight_variance**0.5), erf)
    rejected(assert_edge, tanh, erf._replace(variance=erf.variance - 0.3))
    np.testing.assert_allclose([part[2] for part in tanh], (1, 0), atol=1e-15)
    np.testing.assert_allclose(tanh.variance[3], (0.75e-6) ** (1 / 3), rtol=0.05)  # 4 q^3/3 = sigma_b^2 to leading order
    np.testing.assert_array_equal(np.stack(relu), [[2, np.inf], [0, np.inf]])


def test_depth_scales():
    scales = signal_propagation.depth_scale([0.0, math.exp(-0.1), 1.0, math.exp(0.5)])
    np.testing.assert_allclose(scales, [0, 10, np.inf, 2], rtol=1e-12)
    # 1 - c falls by e over a depth scale
    point = point_of(points()[0], 1)
    layers = jax.jit(lambda: signal_propagation.propagate(60, float(point.variance), 0.5, "tanh", *TANH[1]))()
    rate = (1 - layers.correlation[50]) / (1 - layers.correlation[40])
    np.testing.assert_allclose(-10 / np.log(rate), signal_propagation.depth_scale(point.slope), rtol=1e-3)


# ------------------------------------------------------------------------------------------------------------ finite width


def assert_fluctuations(moments_fn):
    """ln q of 4000 networks, by the law of its ratio from layer to layer, with the next order of the docstring for ReLU."""
    rng, num_layers, width = np.random.default_rng(0), 8, 48
    squares = np.maximum(rng.normal(size=(4000, num_layers, width)), 0) ** 2
    logs = np.sum(np.log(2 * np.mean(squares, axis=2)), axis=1)
    moments = moments_fn(num_layers, width)
    mean, variance = moments.mean - 4.1 * num_layers / width**2, moments.variance + 18.5 * num_layers / width**2
    assert abs(np.mean(logs) - mean) < 4 * np.std(logs) / math.sqrt(4000) + 0.005
    assert abs(np.var(logs) / variance - 1) < 4 * math.sqrt(2 / 4000) + 0.01
    linear = np.sum(np.log(np.mean(rng.normal(size=(4000, num_layers, width)) ** 2, axis=2)), axis=1)
    assert abs(np.var(linear) / moments_fn(num_layers, width, 1.0).variance - 1) < 4 * math.sqrt(2 / 4000) + 0.05


def test_fluctuations_of_the_second_moment():
    """Variance 5 L/n and mean -5 L/(2 n) for ReLU."""
    moments = signal_propagation.log_second_moment
    assert_fluctuations(moments)
    for kappa in (2.0, 4.0, 6.0):
        rejected(assert_fluctuations, lambda layers, n, slope=0.0, k=kappa: _scaled(moments(layers, n, slope), k / 5))
    rejected(assert_fluctuations, lambda layers, n, slope=0.0: moments(layers, n, slope)._replace(mean=jnp.zeros(())))
    np.testing.assert_allclose(moments(20, 200), (-0.25, 0.5), rtol=1e-14)
    leaky = signal_propagation.log_second_moment(1, 1, 0.3).variance
    m2, m4 = (mean(lambda z, p=p: np.where(z > 0, z, 0.3 * z) ** p) for p in (2, 4))
    np.testing.assert_allclose(leaky, m4 / m2**2 - 1, rtol=1e-9)


def _scaled(moments, factor):
    return signal_propagation.LogMoments(moments.mean * factor, moments.variance * factor)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: signal_propagation.gain("rellu"), "activation must be"),
        (lambda: signal_propagation.propagate(0, 1.0, 0.0, "relu", 2.0), "num_layers must be at least 1, got 0"),
        (lambda: signal_propagation.chi(-1.0, "tanh", 1.0), "variance must be at least 0 and finite, got -1"),
        (lambda: signal_propagation.correlation_map(1.1, 1.0, "tanh", 1.0), "correlation must be at least -1"),
        (
            lambda: signal_propagation.fixed_point("tanh", float("nan")),
            "weight_variance must be at least 0 and finite, got nan",
        ),
    ],
)
def test_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

ERF = {"activation": activations.erf}  # in closed form: fast to compile; tanh and others are compared above
VARIANCE = {"variance": np.array([1.2, 0.4])}
WEIGHTS = {"weight_variance": np.array([1.7, 0.9]), "bias_variance": np.array([0.1, 0.2])}
CORRELATION = {"correlation": np.array([0.3, -0.5])}
ENDS = {"correlation": (-1.0, 0.0, 1.0)}
CALLS = [
    Call(signal_propagation.mean_square, {**ERF, **VARIANCE}),
    Call(signal_propagation.gain, {**ERF, **VARIANCE}),
    Call(
        signal_propagation.lsuv_scale,
        {"fan_in": np.array([300.0, 200.0]), "fan_out": np.array([600.0, 100.0]), "mean_square": 0.4},
    ),
    Call(signal_propagation.variance_map, {**ERF, **VARIANCE, **WEIGHTS}),
    Call(signal_propagation.correlation_map, {**ERF, **CORRELATION, **VARIANCE, **WEIGHTS}, edges=ENDS),
    Call(signal_propagation.chi, {**ERF, **VARIANCE, "weight_variance": 1.7, **CORRELATION}, edges=ENDS),
    Call(signal_propagation.propagate, {"num_layers": 3, **VARIANCE, **CORRELATION, **ERF, **WEIGHTS}, edges=ENDS),
    Call(
        signal_propagation.per_unit_variance,
        {"num_layers": 3, **ERF, **CORRELATION},
        edges=ENDS,
        kinks=("correlation[0]=1.0", "correlation=1.0"),  # what exceeds 1 by rounding counts as 1
    ),
    # the fixed point does not move with where the iteration starts, but at marginal points
    Call(signal_propagation.fixed_point, {**ERF, **WEIGHTS, "start": 1.0}, fixed=("start",)),
    Call(signal_propagation.depth_scale, {"chi": np.array([0.5, 1.5])}),
    Call(
        signal_propagation.edge_of_chaos,
        {**ERF, "bias_variance": np.array([0.05, 0.3])},
        single=lambda arguments: np.min(arguments["bias_variance"]) >= 1e-3,
    ),
    Call(signal_propagation.log_second_moment, {"num_layers": 20.0, "width": 200.0, "slope": 0.3}),
]
