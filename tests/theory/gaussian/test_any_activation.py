"""Kernels of activations by name or function, against integrals that break at the kinks."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.theory.gaussian import activations
from closedform.theory.gaussian.any_activation import activation_of
from zoo.calls import Call
from zoo.checks import rejected
from zoo.gaussian_pairs import pieces

MOMENTS = np.array([(1.0, 1.0, 0.3), (1.3, 0.6, -0.7), (0.5, 0.5, 0.5)])


def expectation(f, v1, v2, c):
    """E f(A) f(B) by Gauss-Legendre in B's own part and in A, each split at 0."""
    x, weights = pieces(np.array([-9.0, 0.0, 9.0]))
    own = math.sqrt(max(v2 - c**2 / v1, 0.0))
    total = 0.0
    for one, weight in zip(x, weights, strict=True):
        mean = c / math.sqrt(v1) * one
        edge = np.clip(-mean / own, -8.99, 8.99) if own else 0.0
        y, shares = pieces(np.array([-9.0, edge, 9.0]))
        inner = shares @ (np.exp(-(y**2) / 2) * np.asarray(f(mean + own * y))) / math.sqrt(2 * math.pi)
        total += weight * math.exp(-(one**2) / 2) / math.sqrt(2 * math.pi) * float(f(math.sqrt(v1) * one)) * inner
    return total


def assert_kernels(activation, f, rtol):
    kernels = activation_of(activation)
    for moments in MOMENTS:
        np.testing.assert_allclose(kernels.dual(*moments), expectation(f, *moments), rtol=rtol)


CASES = {
    "gelu": (jax.nn.gelu, 1e-10),
    "softplus": (jax.nn.softplus, 1e-10),
    "tanh": (jnp.tanh, 1e-7),
    "elu": (jax.nn.elu, 1e-4),  # a kink of the slope
    "leaky_relu": (jax.nn.leaky_relu, 1e-10),
    "abs": (jnp.abs, 1e-10),
}


@pytest.mark.parametrize("name", CASES)
def test_a_name_and_its_function_have_the_kernels_of_the_function(name):
    function, rtol = CASES[name]
    assert_kernels(name, function, rtol)
    assert activation_of(name) is activation_of(function)
    rejected(assert_kernels, name, lambda z: 1.01 * function(z), rtol)


def test_an_activation_met_first_inside_jit_is_that_met_outside():
    """A function that nobody has asked for before, in a traced program."""
    function = lambda z: jax.nn.sigmoid(z) - 0.25  # noqa: E731
    inside = jax.jit(lambda v: activation_of(function).dual(v, v, v / 2))(1.0)
    np.testing.assert_array_equal(inside, activation_of(lambda z: jax.nn.sigmoid(z) - 0.25).dual(1.0, 1.0, 0.5))


@pytest.mark.parametrize(("left", "right"), [(0.0, 1.0), (-1.0, 1.0), (0.5, -2.0), (3.0, 0.0), (0.0, 0.0), (1.5, 1.5)])
def test_what_is_linear_on_both_sides_of_0_has_a_closed_form(left, right):
    """Also of any size and sign: against the decomposition into z and |z|, whose kernels are known."""
    found = activation_of(lambda z: jnp.where(z > 0, right, left) * z)
    v1, v2, c = MOMENTS.T
    absolute = activations.leaky_relu(-1.0)
    for kernel, straight in ((0, c), (1, 1.0)):
        expected = ((right + left) / 2) ** 2 * straight + ((right - left) / 2) ** 2 * absolute[kernel](v1, v2, c)
        np.testing.assert_allclose(found[kernel](v1, v2, c), expected, rtol=1e-12, atol=1e-15)


def test_the_library_s_own_names_are_closed_forms():
    for name, value in vars(activations).items():
        if isinstance(value, activations.Activation):
            assert activation_of(name) is value
            assert activation_of(value) is value
    assert activation_of(jax.nn.relu) is activations.relu


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        ("tahn", "activation must be .*erf, .* or a function of jax.nn; got 'tahn', near .*tanh"),
        (None, "activation must be a name, an elementwise function or an Activation, got None"),
        ("softmax", "activation must be elementwise, softmax is not"),
        (jnp.sum, "activation must be elementwise, sum is not"),
        (np.tanh, "activation must be elementwise, on JAX arrays; tanh raises: "),
        ("relu6", "activation must be smooth, or linear on both sides of 0; relu6 is neither"),
        (jnp.sign, "activation must be smooth, or linear on both sides of 0; sign is neither"),
        (lambda z: jnp.exp(z**2), "activation must be smooth"),
        (lambda z: jnp.where(z > 1, z - 1, 0.0), "activation must be smooth"),
        (lambda z: z > 0, "activation must return floats"),
    ],
)
def test_what_has_no_kernels_is_refused_in_one_line(activation, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        activation_of(activation)
    assert "\n" not in str(caught.value)


def test_a_function_of_traced_numbers_is_taken_as_it_is():
    def kernel(scale):
        return activation_of(lambda z: jnp.sin(scale * z)).dual(1.0, 1.0, 0.5)

    np.testing.assert_allclose(jax.jit(kernel)(2.0), activations.sine.dual(4.0, 4.0, 2.0), rtol=1e-10)


def test_callables_that_cannot_be_hashed():
    class Unhashable:
        __hash__ = None

        def __call__(self, z):
            return jnp.maximum(z, 0)

    assert activation_of(Unhashable()) is activations.relu
    assert activation_of(functools.partial(jax.nn.leaky_relu, negative_slope=0.0)) is activations.relu


def duals(variance_1, variance_2, covariance):
    return tuple(kernel(variance_1, variance_2, covariance) for kernel in activation_of("softplus"))


duals.ranges = activations.relu.dual.ranges
CALLS = [
    Call(
        duals,
        {"variance_1": 1.3, "variance_2": 0.6, "covariance": -0.4},
        of=activation_of,
        edges=dict.fromkeys(("variance_1", "variance_2", "covariance"), ()),  # a covariance goes with both variances
        draw=lambda rng: dict(zip(("variance_1", "variance_2", "covariance"), drawn(rng), strict=True)),
    )
]


def drawn(rng):
    v1, v2 = 10 ** rng.uniform(-3, 0.5, 2)
    return v1, v2, rng.uniform(-0.99, 0.99) * math.sqrt(v1 * v2)
