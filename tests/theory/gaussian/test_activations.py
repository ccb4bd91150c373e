"""Dual activations against integrals over pairs, mpmath and closed forms, at every size of the variances."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import special

from closedform.theory.gaussian import activations as gaussian
from zoo.calls import Call
from zoo.checks import rejected
from zoo.gaussian_pairs import assert_slopes, expectation, pieces

CLOSED_FORMS = {
    "relu": (gaussian.relu, lambda z: max(z, 0), lambda z: float(z > 0)),
    "leaky_relu": (gaussian.leaky_relu(0.2), lambda z: z if z > 0 else 0.2 * z, lambda z: 1 if z > 0 else 0.2),
    "absolute": (gaussian.leaky_relu(-1.0), abs, np.sign),
    "squared_relu": (gaussian.squared_relu, lambda z: max(z, 0) ** 2, lambda z: 2 * max(z, 0)),
    "erf": (gaussian.erf, special.erf, lambda z: 2 / math.sqrt(math.pi) * math.exp(-(z**2))),
    "sine": (gaussian.sine, math.sin, math.cos),
    "cosine": (gaussian.cosine, math.cos, lambda z: -math.sin(z)),
    "gaussian": (gaussian.gaussian, lambda z: math.exp(-(z**2)), lambda z: -2 * z * math.exp(-(z**2))),
    "tanh": (gaussian.by_quadrature(jnp.tanh), math.tanh, lambda z: 1 / math.cosh(z) ** 2),
}
JITTED = {name: gaussian.Activation(*map(jax.jit, activation)) for name, (activation, *_) in CLOSED_FORMS.items()}
SECOND_MOMENTS = np.array([(1.0, 1.0, 0.3), (1.3, 0.6, -0.7), (0.2, 2.0, 0.5), (0.8, 0.9, 0.84), (0.5, 0.5, -0.45)])


def pair_expectation(f, v1, v2, c):
    """E f(A) f(B) in polar coordinates that break on the lines A = 0 and B = 0."""
    # A = s_1 r cos t, B = s_2 r cos(t - angle): kinks lie on rays t = +-pi/2, angle +- pi/2, whatever r
    angle = math.acos(np.clip(c / math.sqrt(v1 * v2), -1, 1))
    rays = np.unique(np.mod([np.pi / 2, -np.pi / 2, angle + np.pi / 2, angle - np.pi / 2], 2 * np.pi))
    edges = np.unique(np.concatenate([rays, rays[:1] + 2 * np.pi]))
    t, t_weights = pieces(edges)
    r, r_weights = pieces(np.array([0.0, 5.0, 10.0]))
    vector = np.vectorize(f, otypes=[float])
    values = vector(math.sqrt(v1) * r[:, None] * np.cos(t)) * vector(math.sqrt(v2) * r[:, None] * np.cos(t - angle))
    return (r_weights * r * np.exp(-(r**2) / 2)) @ values @ t_weights / (2 * np.pi)


def assert_activation(activation, f, derivative):
    for function, of, atol in ((activation.dual, f, 1e-10), (activation.derivative_dual, derivative, 1e-9)):
        exact = [pair_expectation(of, *moments) for moments in SECOND_MOMENTS]
        np.testing.assert_allclose(function(*SECOND_MOMENTS.T), exact, rtol=0, atol=atol)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_duals(name):
    assert_activation(JITTED[name], *CLOSED_FORMS[name][1:])


def test_wrong_duals_are_rejected():
    swapped = gaussian.Activation(JITTED["cosine"].dual, JITTED["sine"].derivative_dual)
    rejected(assert_activation, swapped, math.cos, lambda z: -math.sin(z))
    rejected(assert_activation, JITTED["relu"], *CLOSED_FORMS["leaky_relu"][1:])
    rejected(assert_activation, JITTED["sine"], *CLOSED_FORMS["erf"][1:])
    rejected(assert_activation, gaussian.by_quadrature(jnp.tanh, 16), *CLOSED_FORMS["tanh"][1:])


@pytest.mark.parametrize("name", ["relu", "erf", "tanh"])
def test_slopes_of_duals(name):
    """Price's theorem in the covariance, differences in the variances; all finite on the edge and at 0."""
    activation = JITTED[name]
    vectorised = jax.jit(jax.vmap(jax.grad(CLOSED_FORMS[name][0].dual, argnums=(0, 1, 2))))

    def slopes_fn(*columns):  # of one shape, to be compiled once
        slopes = vectorised(*(np.resize(column, 7) for column in columns))
        return [slope[: len(columns[0])] for slope in slopes]

    assert_slopes(slopes_fn, activation.dual, SECOND_MOMENTS, atol=1e-8)
    # at covariance^2 = v_1 v_2 Price's slope too, and the slopes add to that of E f(s Z)^2 in v
    edge = np.array([(0.8, 0.8, 0.8), (0.5, 0.5, -0.5), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0), (0.8, 0.8, 0.8)])
    slopes = slopes_fn(*edge.T)
    assert np.isfinite(slopes).all()
    np.testing.assert_allclose(slopes[2][:2], activation.derivative_dual(*edge.T)[:2], atol=1e-12)
    shift = 1e-6 * np.array([[1], [-1], [0], [0], [0]])
    higher, lower = activation.dual(*(edge[[0] * 5] + shift).T)[:2]
    np.testing.assert_allclose(sum(float(slope[0]) for slope in slopes), (higher - lower) / 2e-6, atol=1e-8)


def test_correlation_with_itself_is_one():
    """The step's dual loses sqrt(e) to an error e of the correlation: none is made on the diagonal, nor by rounding."""
    v = np.random.default_rng(6).uniform(0.1, 5, 100)
    for error in (0, 2e-16, -2e-16):
        np.testing.assert_array_equal(JITTED["relu"].derivative_dual(v, v, v * (1 + error)), 0.5)
    assert np.all(JITTED["relu"].derivative_dual(v, v, v * (1 - 1e-14)) < 0.5 - 1e-8)


@pytest.mark.slow
def test_dtype_follows_the_input_and_numbers_broadcast():
    one, row = np.float32(0.5), np.full(3, 0.2, np.float32)
    for activation, *_ in CLOSED_FORMS.values():
        for function in activation:
            result = jax.eval_shape(function, *map(jnp.asarray, (1, one, row)))
            assert (result.dtype, result.shape) == (jnp.float32, (3,))


# ------------------------------------------------------------------------------- duals at every size of their arguments


def exact_duals(name, v1, v2, c):
    """E f(A) f(B) and E f'(A) f'(B) at the digits of mpmath."""
    v1, v2, c = map(mpmath.mpf, (v1, v2, c))
    scale, a1, a2 = mpmath.sqrt(v1 * v2), 1 + 2 * v1, 1 + 2 * v2
    determinant, mean = a1 * a2 - 4 * c**2, (v1 + v2) / 2
    rho = c / scale if scale else mpmath.mpf(1)
    angle, q = mpmath.pi / 2 + mpmath.asin(rho), mpmath.sqrt(1 - rho**2)
    j0, j1 = angle / (2 * mpmath.pi), (q + angle * rho) / (2 * mpmath.pi)
    waves = mpmath.exp(-mean) * mpmath.cosh(c), mpmath.exp(-mean) * mpmath.sinh(c)
    return {
        "relu": (scale * j1, j0),
        "absolute": (4 * scale * j1 - c, 4 * j0 - 1),
        "squared_relu": (scale**2 * (3 * q * rho + angle * (1 + 2 * rho**2)) / (2 * mpmath.pi), 4 * scale * j1),
        "erf": (2 / mpmath.pi * mpmath.asin(2 * c / mpmath.sqrt(a1 * a2)), 4 / mpmath.pi / mpmath.sqrt(determinant)),
        "gaussian": (1 / mpmath.sqrt(determinant), 4 * c / determinant ** mpmath.mpf(1.5)),
        "cosine": waves,
        "sine": waves[::-1],
    }[name]


FAR = [(v, v, v) for v in (1e-12, 1e-5, 1.0, 1e5, 1e12)] + [(v, v, -v / 2) for v in (1e-12, 1.0, 1e12)]
FAR += [(1e-12, 1e12, 0.5), (1e12, 1e-6, -100.0), (1.0, 1.0, 1e-12), (3.0, 2.0, -1e-9), (0.25, 2.25, 0.75), (1e-12, 1e-12, 0.0)]
TINY = [(1e-20, 1e-20, 1e-20), (1e-20, 1e-20, 5e-21), (1e-30, 1e-10, 5e-21)]  # products below the numbers of float32
HUGE = [(1e20, 1e20, 1e20), (1e20, 1e20, 5e19), (1e30, 1e10, -5e19)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "absolute", "squared_relu", "erf", "gaussian", "cosine", "sine"])
def test_duals_and_slopes_at_every_size(name):
    """Values to a few ulp, slopes too: d/dc is E f' f' (Price), d/dv by differences of the exact values at 120 digits."""
    activation = CLOSED_FORMS[name][0]
    slopes_fn = jax.jit(jax.vmap(jax.value_and_grad(activation.dual, argnums=(0, 1, 2))))
    points = np.array(FAR + (TINY + HUGE if name != "squared_relu" else TINY))
    for dtype, rtol in ((np.float64, 2e-14), (np.float32, 6e-6)):
        given = points.astype(dtype)
        value, slopes = slopes_fn(*given.T)
        found = np.stack(
            [np.asarray(value), *map(np.asarray, slopes), np.asarray(JITTED[name].derivative_dual(*given.T))], axis=1
        )
        assert found.dtype == dtype
        for point, row in zip(given.astype(float), found.astype(float), strict=True):
            with mpmath.workdps(120):
                size = mpmath.sqrt(mpmath.mpf(point[0]) * point[1])
                on_edge = abs(point[2]) >= size * (1 - 1e-12)
                exact, by_c = exact_duals(name, *point) if not on_edge else exact_duals(name, *point[:2], size)
                expected = [exact, None, None, by_c, by_c]
                for i in (0, 1) if not on_edge or name in ("erf", "gaussian", "cosine", "sine") else ():
                    step = mpmath.mpf(10) ** -50 * point[i]
                    ends = [[mpmath.mpf(x) for x in point] for _ in range(2)]
                    ends[0][i], ends[1][i] = ends[0][i] + step, ends[1][i] - step
                    expected[1 + i] = (exact_duals(name, *ends[0])[0] - exact_duals(name, *ends[1])[0]) / (2 * step)
            for label, one, right in zip(("value", "by v1", "by v2", "by c", "derivative"), row, expected, strict=True):
                if right is not None and abs(right) < 3e38:
                    # below the least number of the dtype 0 is right; in exp(c - m) the exponent's rounding is an error of c
                    small = 2e-38 if dtype == np.float32 else 1e-300
                    assert abs(one - float(right)) <= rtol * abs(float(right)) + small, (label, point, one, float(right))


def test_duals_at_variance_zero():
    """A = 0: f(0) E f(B) and f'(0) E f'(B); two variances of 0 count as equal numbers, whose ReLU slopes are both on."""
    for name in ("erf", "sine", "cosine", "gaussian", "tanh"):
        activation, *functions = CLOSED_FORMS[name]
        for variance in (0.0, 0.8):
            for function, of in zip(activation, functions, strict=True):
                scaled = np.vectorize(lambda z, of=of, s=variance**0.5: of(s * z), otypes=[float])
                np.testing.assert_allclose(function(0.0, variance, 0.0), of(0.0) * expectation(scaled, -14), atol=1e-9)
    assert float(gaussian.relu.derivative_dual(0, 0, 0)) == 0.5
    assert float(gaussian.leaky_relu(0.5).derivative_dual(0, 0, 0)) == (1 + 0.5**2) / 2
    assert float(gaussian.relu.derivative_dual(1e-20, 1e-20, 1e-20)) == 0.5


@pytest.mark.slow
def test_slopes_of_a_quadrature_in_a_variance_of_zero():
    """dK/dv_1 = E f''(A) f(B)/2: for cos -K/2, for exp +K/2, K in closed form; at and near 0, in both precisions."""
    cosine, exponential = (gaussian.by_quadrature(f).dual for f in (jnp.cos, jnp.exp))
    slopes = [jax.jit(jax.vmap(jax.grad(dual, argnums=(0, 1)))) for dual in (cosine, exponential)]
    small = np.array([0, 1e-300, 1e-20, 1e-12, 1e-11, 1e-9, 1e-7, 1e-4, 1e-2])
    for dtype, rtol in ((np.float64, 1e-9), (np.float32, 1e-3)):
        v1, v2, c = (x.astype(dtype) for x in (small, 0 * small + 1, 0.5 * np.sqrt(small)))
        for slopes_fn, sign, mean in (
            (slopes[0], -1, np.exp(-(v1 + v2) / 2) * np.cosh(c)),
            (slopes[1], 1, np.exp((v1 + v2) / 2 + c)),
        ):
            for by_v1, by_v2 in (slopes_fn(v1, v2, c), slopes_fn(v2, v1, c)[::-1]):
                np.testing.assert_allclose(by_v1, sign * mean / 2, rtol=rtol)
                np.testing.assert_allclose(by_v2, sign * mean / 2, rtol=rtol)
    np.testing.assert_allclose(jax.grad(cosine)(0.0, 1.0, 0.0), -math.exp(-0.5) / 2, rtol=1e-14)  # -.3033


def test_what_no_gaussian_pair_has_is_refused():
    refusals = [
        (gaussian.relu.dual, (-1.0, 1.0, 0.0), "variance_1 must be at least 0"),
        (gaussian.erf.dual, (1.0, math.inf, 0.0), "variance_2 must be at least 0 and finite"),
        (gaussian.erf.derivative_dual, (1.0, 1.0, 1.1), "covariance must be at most"),
        (gaussian.gaussian.dual, ([1.0, 0.0], 1.0, -0.5), "covariance must be at most"),
        (gaussian.sine.dual, (1.0, 1.0, math.nan), "covariance must be finite"),
        (gaussian.by_quadrature(jnp.tanh).dual, (1, 1, 2), "covariance must be at most"),
        (gaussian.relu.dual, ([1.0, 2.0], [1.0, 2.0, 3.0], 0.0), "variance_2 must broadcast with variance_1"),
        (gaussian.leaky_relu, ([0.1, 0.2],), "slope must be a single number"),
        (gaussian.leaky_relu, (math.nan,), "slope must be finite"),
        (gaussian.by_quadrature, (jnp.tanh, 1), "num_nodes must be at least 2"),
        (gaussian.by_quadrature, (jnp.tanh, 32.0), "num_nodes must be a whole number"),
    ]
    for function, arguments, message in refusals:
        with pytest.raises(ValueError, match=f"^{message}"):
            function(*arguments)
    assert float(gaussian.relu.dual(1, 1, 1 + 1e-7)) == 0.5  # rounding


def test_a_slope_keeps_its_digits_from_one_precision_to_the_other():
    with jax.enable_x64(False):
        activation = gaussian.leaky_relu(0.2)
    np.testing.assert_allclose(activation.derivative_dual(1, 1, 1), (1 + 0.2**2) / 2, rtol=1e-15)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

PAIR = {"variance_1": 1.3, "variance_2": 0.6, "covariance": -0.4}
NO_EDGES = dict.fromkeys(PAIR, ())  # a covariance goes with both variances: cases and draws
ALONE = {"variance_1": 0.0, "variance_2": 0.6, "covariance": 0.0}
BOTH = {"variance_1": 0.8, "variance_2": 0.8, "covariance": 0.8}
HOMOGENEOUS = {"scaling": dict.fromkeys(PAIR, 1), "cases": (ALONE, BOTH), "kinks": ("case 0", "case 1")}  # rho = 0/0 and 1


def drawn_pair(low, high):
    """Variances between powers of 10, each alone; correlations up to .99: beyond, differences leave what is legal."""

    def draw(rng):
        v1, v2 = 10 ** rng.uniform(low, high, 2)
        return {"variance_1": v1, "variance_2": v2, "covariance": rng.uniform(-0.99, 0.99) * math.sqrt(v1 * v2)}

    return draw


def duals(name, **more):
    def both(variance_1, variance_2, covariance):
        return tuple(function(variance_1, variance_2, covariance) for function in CLOSED_FORMS[name][0])

    both.ranges = gaussian.relu.dual.ranges
    return Call(both, PAIR, of=gaussian.leaky_relu, label=name, edges=NO_EDGES, draw=drawn_pair(-12, 12), **more)


CALLS = [
    Call(
        lambda slope, **pair: gaussian.leaky_relu(slope).dual(**pair),
        {"slope": 0.2, **PAIR},
        of=gaussian.leaky_relu,
        label="slope",
        draw=lambda rng: {"slope": 10 * rng.normal(), **drawn_pair(-6, 6)(rng)},
    ),
    Call(
        gaussian.erf.dual,
        PAIR,
        of=gaussian.leaky_relu,
        label="erf",
        edges=NO_EDGES,
        draw=drawn_pair(-12, 12),
        cases=(ALONE,),
    ),
    *(duals(name, degree=(1, 0), **HOMOGENEOUS) for name in ("relu", "absolute")),
    duals("squared_relu", degree=(2, 1), **HOMOGENEOUS),
    *(duals(name, cases=(ALONE,)) for name in ("gaussian", "sine")),
    Call(
        gaussian.by_quadrature(jnp.cos, 48).dual,
        PAIR,
        of=gaussian.by_quadrature,
        edges=NO_EDGES,
        draw=drawn_pair(-12, 1.5),  # the rule resolves cos(s z) up to s = 6
        # the sum has no more digits than E |f(A) f(B)|, and beyond this K, which falls as exp(-(v_1 + v_2)/2), has few left
        single=lambda pair: pair["variance_1"] + pair["variance_2"] < 16,
        cases=(ALONE, dict.fromkeys(PAIR, 0.0)),
    ),
]
NOT_NUMERIC = {gaussian.require_covariance: "raises or returns nothing"}
