"""NNGP and NTK against finite networks with backpropagation by hand, and against closed forms of the literature."""

import functools
import itertools
import math

import jax
import numpy as np
import pytest
from scipy import special

from closedform.theory.gaussian import activations as gaussian
from closedform.theory.kernels import deep_kernels
from closedform.theory.kernels.deep_kernels import Kernels
from zoo.calls import Call

VARIANCES = {"weight_variance": 1.6, "bias_variance": 0.3}
INPUTS = np.array([[1.0, 0.2, -0.6], [0.3, 0.9, 0.5]])
MOMENTS = np.sum(INPUTS**2, axis=1)[0] / 3, np.sum(INPUTS**2, axis=1)[1] / 3, INPUTS[0] @ INPUTS[1] / 3

ACTIVATIONS = {"relu": gaussian.relu, "erf": gaussian.erf}
NUMPY = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
    "erf": (special.erf, lambda z: (2 / math.sqrt(math.pi) * np.exp(-(z**2))).astype(z.dtype)),
}


@functools.cache
def predicted(name, depth):
    return jax.jit(functools.partial(deep_kernels.fully_connected, activation=ACTIVATIONS[name], depth=depth))


def predict(name, depth):
    return predicted(name, depth)(*MOMENTS, **VARIANCES)


# ------------------------------------------------------------------------------------------- networks of finite width


def draw(rng, shapes):
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def shapes(nets, width, depth, dim=3):
    """Weights and biases of all layers; the readout, of one output, last."""
    sizes = [dim] + [width] * depth
    hidden = [((nets, before, after), (nets, 1, after)) for before, after in itertools.pairwise(sizes)]
    return [*itertools.chain(*hidden), (nets, width, 1), (nets, 1, 1)]


def forward(parameters, x, act, weight_variance, bias_variance):
    """Normalised inputs of every layer, pre-activations and output (nets, 2, 1), in NTK parametrisation."""
    z, inputs, fields = x[None] / math.sqrt(x.shape[1]), [], []
    for weights, biases in zip(parameters[::2], parameters[1::2], strict=True):
        inputs.append(z)
        fields.append(math.sqrt(weight_variance) * z @ weights + math.sqrt(bias_variance) * biases)
        z = act(fields[-1]) / math.sqrt(fields[-1].shape[-1])
    return inputs, fields


def empirical(parameters, x, name, weight_variance, bias_variance):
    """Kernels between the two inputs x (2, dim) of every network: (nets,).

    The NNGP of a net is the covariance of its output over the readout's weights and bias. The NTK is a sum over layers of
    the product of the moments of the layer's inputs and of the gradients in its outputs.
    """
    act, slope = NUMPY[name]
    inputs, fields = forward(parameters, x.astype(parameters[0].dtype), act, weight_variance, bias_variance)
    moments = [weight_variance * np.sum(z[:, 0] * z[:, 1], axis=1) + bias_variance for z in inputs]
    gradient, ntk = np.ones_like(fields[-1]), moments[-1]
    for layer in reversed(range(len(fields) - 1)):
        weights = parameters[2 * layer + 2]
        backward = math.sqrt(weight_variance) * gradient @ weights.swapaxes(1, 2)
        gradient = backward * slope(fields[layer]) / math.sqrt(weights.shape[1])
        ntk = ntk + moments[layer] * np.sum(gradient[:, 0] * gradient[:, 1], axis=1)
    return Kernels(np.broadcast_to(moments[-1], ntk.shape).astype(float), ntk.astype(float))


def sample(name, depth, width, nets, seed=0):
    rng = np.random.default_rng([seed, depth, width])
    return empirical(draw(rng, shapes(nets, width, depth)), INPUTS, name, **VARIANCES)


def test_backpropagation_by_hand():
    """The NTK of one erf network, by central differences in every parameter."""
    rng = np.random.default_rng(0)
    parameters = [rng.normal(size=shape) for shape in shapes(1, 4, 3)]
    theirs = empirical(parameters, INPUTS, "erf", **VARIANCES)

    def outputs():
        return forward(parameters, INPUTS, special.erf, **VARIANCES)[1][-1].ravel()

    total = 0.0
    for array in parameters:
        for index in np.ndindex(array.shape):
            start = array[index]
            array[index] = start + 1e-5
            above = outputs()
            array[index] = start - 1e-5
            total += np.prod((above - outputs()) / 2e-5)
            array[index] = start
    np.testing.assert_allclose(theirs.ntk[0], total, rtol=1e-8)


# At width 4 the means are off by 1 to 8 % (depths 2 to 4): so the term b/width^2 has b of order 1, and leaves 1/(2 32^2).
BIAS_LEFT = 1e-3


@functools.cache
def estimate(name, depth):
    """Mean and standard error of both kernels, without the bias of order 1/width.

    At depth 1 there is none: the units are independent, and the readout's squared weights have mean 1. Deeper, the mean is
    a series in 1/width, whose first term cancels in 2 K(2 width) - K(width); of the next, b/width^2, -b/(2 width^2) is left.
    """
    if depth == 1:
        return [(np.mean(k), np.std(k) / math.sqrt(k.size)) for k in sample(name, 1, 32, 20_000)]
    single, double = (sample(name, depth, width, 3000) for width in (32, 64))
    return [(np.mean(2 * b - a), math.sqrt((np.var(a) + 4 * np.var(b)) / a.size)) for a, b in zip(single, double, strict=True)]


def assert_kernels(predict_fn, cases):
    for name, depth in cases:
        allowance = BIAS_LEFT if depth > 1 else 0
        for value, (mean, error) in zip(predict_fn(name, depth), estimate(name, depth), strict=True):
            assert abs(mean - value) <= 4 * error + allowance * mean, (name, depth, value, mean, error)


CASES = tuple(itertools.product(ACTIVATIONS, (1, 2, 3, 4)))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "depth"), CASES)
def test_kernels_are_those_of_wide_networks(name, depth):
    assert_kernels(predict, [(name, depth)])


def recursion(readout_bias=1, readout=1, slope_factor=VARIANCES["weight_variance"], late=0):
    """The recursion of the module with a fault, in float64 numpy but for the duals."""

    def wrong(name, depth):
        w, b = VARIANCES.values()
        v1, v2, nngp = (w * moment + b for moment in MOMENTS)
        ntk, (dual, derivative_dual) = nngp, JITTED[name]
        for layer in range(depth):
            last = layer == depth - 1
            old, new = (v1, v2, nngp), [w * dual(*m) + b for m in ((v1, v1, v1), (v2, v2, v2), (v1, v2, nngp))]
            v1, v2, nngp = new[0], new[1], new[2] - (b * (1 - readout_bias) if last else 0)
            slope = derivative_dual(*(new if late else old))
            ntk = (readout if last else 1) * nngp + slope_factor * slope * ntk
        return Kernels(nngp, ntk)

    return wrong


JITTED = {name: gaussian.Activation(*map(jax.jit, activation)) for name, activation in ACTIVATIONS.items()}


def test_recursion_without_a_fault():
    for name, depth in CASES:
        np.testing.assert_allclose(recursion()(name, depth), predict(name, depth), rtol=1e-13)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda name, depth: predict(name, depth - 1),
        lambda name, depth: predict(name, depth)._replace(nngp=predict(name, depth).ntk),
        recursion(readout_bias=0),
        recursion(readout=0),  # the readout is not trained
        recursion(slope_factor=1),
        recursion(late=1),  # E f' f' at the moments of the next layer
    ],
)
def test_wrong_kernels_are_rejected(wrong):
    with pytest.raises(AssertionError):
        assert_kernels(wrong, (("relu", 2), ("erf", 3), ("relu", 1), ("erf", 1)))


# --------------------------------------------------------------------------------------------- the approach to infinity


def slope_and_error(widths, logs, errors):
    """Least-squares slope of logs in log(width)."""
    x = np.log(widths) - np.mean(np.log(widths))
    share = x / np.sum(x**2)
    return share @ np.array(logs), math.sqrt(share**2 @ np.array(errors) ** 2)


@pytest.mark.parametrize(
    ("name", "depth", "widths", "allowance"),
    [
        ("relu", 1, (8, 32, 128, 512), 0),  # a mean over independent units: exactly -1/2
        # variance ~ (1 + b/width)/width with b of order depth^2 = 9 turns the slope by (b/2) (1/32 - 1/128)/ln 4
        ("erf", 3, (32, 64, 128), 0.08),
    ],
)
def test_fluctuations_fall_as_the_root_of_the_width(name, depth, widths, allowance):
    samples = [sample(name, depth, width, 1000, seed=1) for width in widths]
    for of_kernel in zip(*samples, strict=True):
        kurtosis = [np.mean((k - k.mean()) ** 4) / np.var(k) ** 2 for k in of_kernel]
        errors = [math.sqrt((value - 1) / (4 * k.size)) for value, k in zip(kurtosis, of_kernel, strict=True)]
        slope, error = slope_and_error(widths, [math.log(np.std(k)) for k in of_kernel], errors)
        assert abs(slope + 1 / 2) <= 4 * error + allowance, (slope, error)
        assert 4 * error + allowance < 1 / 4  # neither 0 nor -1 would pass


def test_mean_ntk_approaches_as_the_width():
    """At depth 4, where the bias is largest: 8 %, 4 % and 2 % at widths 4, 8 and 16."""
    widths, exact, biases, errors = (4, 8, 16), predict("erf", 4).ntk, [], []
    for width, nets in zip(widths, (100_000, 60_000, 40_000), strict=True):
        ntk = sample("erf", 4, width, nets).ntk
        biases.append(np.mean(ntk) / exact - 1)
        errors.append(np.std(ntk) / exact / math.sqrt(nets) / biases[-1])
    slope, error = slope_and_error(widths, np.log(biases), errors)
    # b/width + c/width^2 with c of order b turns the slope by c/b (1/4 - 1/16)/ln 4
    assert abs(slope + 1) <= 4 * error + 0.14, (slope, error)


def relu_layer(v1, v2, c):
    """E relu(A) relu(B) by Cho and Saul's angle."""
    scale = np.sqrt(v1 * v2)
    theta = np.arccos(c / scale)
    return scale * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)


def assert_bias(hessian):
    """Derived here: S_2 fluctuates by C/width, C the covariance of sigma_w^2 f f', and so E S_3 is off by tr(H C)/(2 width).

    Given S_2 the mean of S_3 is known, and its part linear in the fluctuation has mean 0 over the networks.
    """
    w, b = VARIANCES.values()
    width, nets, rng = 64, 40_000, np.random.default_rng(3)
    first = np.array([w * moment + b for moment in MOMENTS])
    fields = rng.multivariate_normal([0, 0], [[first[0], first[2]], [first[2], first[1]]], (width, nets))
    active = np.maximum(fields, 0)
    units = w * np.stack([active[..., 0] ** 2, active[..., 1] ** 2, active[..., 0] * active[..., 1]])
    exact = np.array([w * first[0] / 2, w * first[1] / 2, w * relu_layer(*first)])
    moments = np.mean(units, axis=1)
    linear = np.array(relu_slopes(exact + b)) @ (moments - exact[:, None])
    left = w * (relu_layer(*(moments + b)) - relu_layer(*(exact + b)) - linear)
    bias = w * np.trace(hessian @ np.cov(units.reshape(3, -1))) / (2 * width)
    # the next order, 1/width of it, aside
    assert abs(np.mean(left) - bias) <= 4 * np.std(left) / math.sqrt(nets) + abs(bias) / width, (np.mean(left), bias)


relu_slopes, relu_hessian = (jax.jit(of(lambda moments: gaussian.relu.dual(*moments))) for of in (jax.grad, jax.hessian))


def test_bias_of_the_nngp_of_two_layers():
    w, b = VARIANCES.values()
    v1, v2, c = (w * moment + b for moment in MOMENTS)
    hessian = relu_hessian(np.array([w * v1 / 2 + b, w * v2 / 2 + b, w * relu_layer(v1, v2, c) + b]))
    assert_bias(hessian)
    for wrong in (0 * hessian, 2 * hessian, np.diag(np.diag(hessian))):
        with pytest.raises(AssertionError):
            assert_bias(wrong)


# ----------------------------------------------------------------------------------------------------------- closed forms


def angles():
    cosines = np.array([-1, -0.9, -0.3, 0, 0.4, 0.8, 1])
    return cosines, np.arccos(cosines)


def assert_cho_saul(fully_connected_fn):
    """Arc-cosine kernels of degree 1, composed: cos theta_{l+1} = [sin theta_l + (pi - theta_l) cos theta_l]/pi."""
    cosines, theta = angles()
    for depth in (1, 2, 3):
        theta_l = theta
        for _ in range(depth):
            theta_l = np.arccos(np.clip((np.sin(theta_l) + (np.pi - theta_l) * np.cos(theta_l)) / np.pi, -1, 1))
        # |x| = 2, |y| = 3; weight variance 2 keeps the norms, and the first layer gives the factor 2
        np.testing.assert_allclose(fully_connected_fn(4, 9, 6 * cosines, depth).nngp, 2 * 6 * np.cos(theta_l), atol=3e-7)


def assert_relu_ntk(fully_connected_fn):
    """One hidden layer of sqrt(2/width) relu, |x| = |y| = 1: u kappa_0(u) + kappa_1(u), kappa_0 = 1 - arccos(u)/pi."""
    u, theta = angles()
    kappa_0, kappa_1 = 1 - theta / np.pi, (u * (np.pi - theta) + np.sqrt(1 - u**2)) / np.pi
    # both layers carry sqrt(weight_variance): 2 in their product
    np.testing.assert_allclose(fully_connected_fn(2 / 2, 2 / 2, u, 1).ntk, 2 * (u * kappa_0 + kappa_1), rtol=0, atol=4e-15)


@functools.partial(jax.jit, static_argnums=3)
def he_network(v1, v2, c, depth):
    return deep_kernels.fully_connected(v1, v2, c, depth=depth, weight_variance=2.0)


def test_relu_closed_forms():
    assert_cho_saul(he_network)
    assert_relu_ntk(he_network)
    for depth in (1, 2, 3):  # of x with itself
        assert [float(k[-1]) for k in he_network(4.0, 9.0, 6.0 * angles()[0], depth)] == [12.0, 12.0 * (depth + 1)]
    for wrong in (
        lambda v1, v2, c, depth: he_network(v1, v2, c, depth % 3 + 1),
        lambda v1, v2, c, depth: Kernels(*(2 * kernel for kernel in he_network(v1, v2, c, depth))),
    ):
        for check in (assert_cho_saul, assert_relu_ntk):
            with pytest.raises(AssertionError):
                check(wrong)


def test_erf_closed_forms():
    """Williams' arcsin of the augmented inputs, and the NTK of one hidden layer by its derivative."""
    w, b = VARIANCES.values()
    augmented = np.concatenate([np.ones((2, 1)), INPUTS], axis=1)
    product = augmented @ np.diag([b, w / 3, w / 3, w / 3]) @ augmented.T
    scale = np.sqrt(np.outer(1 + 2 * np.diag(product), 1 + 2 * np.diag(product)))
    nngp = w * 2 / np.pi * np.arcsin(2 * product / scale) + b
    ntk = nngp + w * product * 4 / np.pi / np.sqrt(scale**2 - 4 * product**2)
    both = jax.jit(functools.partial(deep_kernels.gram, activation=gaussian.erf))(INPUTS, **VARIANCES)
    np.testing.assert_allclose(both, (nngp, ntk), rtol=1e-14)


def test_linear_networks():
    """Derived here: f(z) = z gives S_{l+1} = w S_l + b and T_{L+1} = sum_l w^(L+1-l) S_l."""
    w, b = VARIANCES.values()
    moments = [w * MOMENTS[2] + b]
    for _ in range(2):
        moments.append(w * moments[-1] + b)
    linear = functools.partial(deep_kernels.fully_connected, activation=gaussian.leaky_relu(1.0), depth=2)
    both = jax.jit(linear)(*MOMENTS, **VARIANCES)
    np.testing.assert_allclose(both, (moments[2], w**2 * moments[0] + w * moments[1] + moments[2]), rtol=1e-14)


# ------------------------------------------------------------------------------------------------------------ structure

gram = jax.jit(functools.partial(deep_kernels.gram, depth=2))
ROWS = np.random.default_rng(4).normal(size=(2, 40, 60))


def test_gram_is_the_kernel_of_every_pair():
    x, y = ROWS
    pair = functools.partial(deep_kernels.kernel, depth=2, **VARIANCES)
    pairs = jax.jit(jax.vmap(jax.vmap(pair, (None, 0)), (0, None)))
    np.testing.assert_allclose(gram(x, y, **VARIANCES), pairs(x, y), rtol=1e-13)
    both = gram(x, **VARIANCES)
    np.testing.assert_allclose(both, pairs(x, x), rtol=1e-13)
    for kernel in both:
        np.testing.assert_allclose(kernel, kernel.T, rtol=1e-13)
        assert np.linalg.eigvalsh(kernel).min() > 0


def test_diagonal_of_the_gram():
    """A rounding error e of the correlation of x with itself would cost the NTK sqrt(e): 1e-8, and 1e-4 in float32."""
    x = ROWS[0]
    moments = np.sum(x**2, axis=1) / x.shape[1]
    for dtype, rtol in ((np.float64, 1e-14), (np.float32, 2e-6)):
        he = np.array([2, 0], dtype)
        for kernel, factor in zip(gram(x.astype(dtype), weight_variance=he[0], bias_variance=he[1]), (2, 6), strict=True):
            assert kernel.dtype == dtype
            np.testing.assert_allclose(np.diagonal(kernel), factor * moments, rtol=rtol)


def test_gradients_in_the_inputs():
    rng = np.random.default_rng(6)
    x, y, direction = rng.normal(size=(3, 3))

    def ntk(x, y):
        return deep_kernels.kernel(x, y, depth=2, **VARIANCES).ntk

    value, slope = jax.jit(ntk), jax.jit(jax.grad(ntk))
    difference = (value(x + 1e-6 * direction, y) - value(x - 1e-6 * direction, y)) / 2e-6
    np.testing.assert_allclose(slope(x, y) @ direction, difference, rtol=1e-7)
    # symmetric in its arguments, also where they coincide and the correlation is 1
    total = (value(x + 1e-6 * direction, x + 1e-6 * direction) - value(x - 1e-6 * direction, x - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(2 * slope(x, x) @ direction, total, rtol=1e-7)
    assert all(np.isfinite(slope(a, b)).all() for a, b in ((0 * x, y), (x, 0 * y), (0 * x, 0 * y), (x, -x)))


# ------------------------------------------------------------------------------------------- every size, every legal input


def test_products_of_variances_stay_in_the_range_of_numbers():
    """ReLU of x with itself: nngp (w/2)^L w, ntk (L + 1) times it; float32 has neither its square nor 2^-200."""
    deep = jax.jit(deep_kernels.fully_connected, static_argnames=("activation", "depth"))
    for weights, depth in ((1, 65), (4, 63), (2, 70)):
        nngp, ntk = deep(*np.ones(3, np.float32), depth=depth, weight_variance=weights)
        exact = (weights / 2) ** depth * weights
        assert nngp.dtype == np.float32
        np.testing.assert_allclose([nngp, ntk], [exact, (depth + 1) * exact], rtol=1e-5)
    # two inputs 1e-20 and 1e20 times others: both kernels of ReLU are homogeneous in the moments
    plain = deep(*np.float32([1.0, 2.0, 0.4]), depth=2)
    for scale in np.float32([1e-20, 1e20]):
        scaled = deep(*scale * np.float32([1.0, 2.0, 0.4]), depth=2)
        np.testing.assert_allclose(scaled, np.array(plain) * scale, rtol=1e-5)
    # what overflows is infinite, not NaN, also where the function is called by hand
    for activation, depth in ((gaussian.relu, 130), (gaussian.squared_relu, 12)):
        large = deep_kernels.fully_connected(*np.float32([1.0, 1.0, 0.5]), activation, depth=depth, weight_variance=4)
        np.testing.assert_array_equal(large, np.inf)


def test_gram_of_lists_of_one_row_and_of_none():
    rows = [[1, 0], [1, 1]]
    for kernel, expected in zip(deep_kernels.gram(rows), deep_kernels.gram(np.array(rows, float)), strict=True):
        np.testing.assert_array_equal(kernel, expected)
    np.testing.assert_allclose(deep_kernels.gram([[2, 0]], depth=True), [[[1.0]], [[2.0]]])
    np.testing.assert_allclose(deep_kernels.gram([[2, 0]], [[0, 0], [2, 0]], depth=1), [[[0.0, 1.0]], [[0.0, 2.0]]])
    empty, full = np.zeros((0, 3)), np.ones((2, 3))
    for x, y, shape in ((empty, None, (0, 0)), (empty, full, (0, 2)), (full, empty, (2, 0))):
        assert {kernel.shape for kernel in deep_kernels.gram(x, y)} == {shape}
    # moments broadcast at every depth, also where no layer mixes them
    for depth in (0, 1):
        assert {kernel.shape for kernel in deep_kernels.fully_connected([1, 2], [[1.0], [3.0]], 0.5, depth=depth)} == {(2, 2)}


def test_what_no_network_has_is_refused():
    x = np.ones((2, 3))
    for function, arguments, named, message in (
        (deep_kernels.gram, (x,), {"depth": -1}, "depth must be at least 0"),
        (deep_kernels.gram, (x,), {"depth": 1.5}, "depth must be a whole number"),
        (deep_kernels.gram, (x,), {"weight_variance": -1.0}, "weight_variance must be at least 0"),
        (deep_kernels.gram, (x,), {"weight_variance": [1.0, 2.0]}, "weight_variance must be a single number"),
        (deep_kernels.gram, (x[0],), {}, r"x must have the shape \(sample, dim\)"),
        (deep_kernels.gram, (x, x[:, :2]), {}, r"y must have the shape \(other, dim\) with dim = 3 as in x"),
        (deep_kernels.gram, (x[:, :0],), {}, "x must have at least one coordinate"),
        (deep_kernels.kernel, (x[0], x[0, :2]), {}, r"y must have the shape \(dim,\)"),
        (deep_kernels.kernel, (x[0, :0], x[0, :0]), {}, "x must have at least one coordinate"),
        (deep_kernels.kernel, (x[0], x[0] * np.nan), {}, "y must be finite"),
        (deep_kernels.fully_connected, (1, 1, 1.5), {}, "covariance must be at most"),
        (deep_kernels.fully_connected, (1, -1, 0), {}, "variance_2 must be at least 0"),
        (deep_kernels.fully_connected, (1, 1, 0), {"bias_variance": np.inf}, "bias_variance must be at least 0 and finite"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            function(*arguments, **named)


@pytest.mark.parametrize("function", [deep_kernels.gram, deep_kernels.kernel, deep_kernels.fully_connected])
def test_an_activation_is_a_name_a_function_or_its_kernels(function):
    """The same numbers for each way to say relu; what is none of them is refused in one line."""
    inputs = {deep_kernels.gram: (INPUTS,), deep_kernels.kernel: tuple(INPUTS)}.get(function, MOMENTS)
    expected = function(*inputs, activation=gaussian.relu)
    for same in ("relu", jax.nn.relu, lambda z: jax.numpy.maximum(z, 0)):
        for found, one in zip(function(*inputs, activation=same), expected, strict=True):
            np.testing.assert_array_equal(found, one)
    for activation, message in (
        ("rleu", "activation must be .*got 'rleu', near relu"),
        (3, "activation must be a name, an elementwise function or an Activation, got 3"),
        (jax.nn.softmax, "activation must be elementwise, softmax is not"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            function(*inputs, activation=activation)


def test_a_function_is_compiled_once():
    traces = deep_kernels._gram._cache_size()
    for _ in range(3):
        deep_kernels.gram(INPUTS, activation="tanh", depth=2)
        deep_kernels.gram(INPUTS, activation=jax.nn.tanh, depth=2)
    assert deep_kernels._gram._cache_size() == traces + 1


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def drawn(rng):
    """Variances over 12 decades; correlations up to .99: beyond, differences leave what is legal."""
    v1, v2 = 10 ** rng.uniform(-6, 6, 2)
    moments = {"variance_1": v1, "variance_2": v2, "covariance": rng.uniform(-0.99, 0.99) * math.sqrt(v1 * v2)}
    return {**moments, "weight_variance": rng.uniform(0, 4), "bias_variance": 10 ** rng.uniform(-3, 3)}


def largest_cosine(x, y):
    norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(y, axis=1)
    return np.max(np.abs(x @ y.T) / np.where(norms == 0, 1, norms))


def apart(arguments):
    """Not where the bias outweighs the inputs: correlations near 1, of which the NTK keeps half the digits."""
    v1, v2, c = (arguments["weight_variance"] * arguments[name] + arguments["bias_variance"] for name in PAIR)
    return c < (1 - 1e-5) * math.sqrt(v1) * math.sqrt(v2) or c == v1 == v2


POINTS = np.array([[1.0, 0.2, -0.6], [0.3, 0.9, 0.5], [-0.4, 0.8, 0.1]])
PAIR = {"variance_1": 1.3, "variance_2": 0.6, "covariance": -0.4}
CALLS = [
    Call(
        deep_kernels.gram,
        {"x": POINTS, "y": POINTS[:2] + 0.4, "activation": gaussian.erf, "depth": 1, **VARIANCES},
        single=lambda arguments: largest_cosine(arguments["x"], arguments["y"]) < 0.98,  # nearer, rounding costs its root
    ),
    Call(
        deep_kernels.kernel,
        {"x": POINTS[0], "y": POINTS[1], "depth": 2, **VARIANCES},
        scaling={"x": 1, "y": 1, "bias_variance": 2},
        degree=2,
    ),
    Call(
        deep_kernels.fully_connected,
        {**PAIR, "depth": 2, **VARIANCES},
        edges={**dict.fromkeys(PAIR, ()), "weight_variance": (0.0, 1e-3), "bias_variance": (0.0, 1e3)},
        draw=drawn,
        single=apart,
    ),
]
