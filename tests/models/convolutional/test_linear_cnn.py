"""Both networks against a convolution of JAX, patches and their components against numpy and the facts of the paper's data."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from closedform.models.convolutional import linear_cnn, relu_cnn
from closedform.tasks import photographs
from zoo.checks import rejected

X = np.random.default_rng(0).standard_normal((6, 5, 3))


def convolved(filters, x):
    """Responses by the convolution of JAX: row column filter."""
    axes = ("NHWC", "OHWI", "NHWC")
    return jax.lax.conv_general_dilated(x[None], filters, (1, 1), "VALID", dimension_numbers=axes)[0]


@functools.cache
def networks():
    rng = np.random.default_rng(1)
    linear = linear_cnn.Params(jnp.asarray(rng.standard_normal((4, 3, 3, 3))))
    filters, readout, bias = rng.standard_normal((4, 3, 3, 3)), rng.standard_normal((2, 4)), np.array([0.3, -2.0])
    return linear, relu_cnn.Params(*map(jnp.asarray, (filters, readout, bias)))


def assert_convolution(apply_fn):
    linear, _ = networks()
    np.testing.assert_allclose(apply_fn(linear, X), np.mean(convolved(linear.filters, X), axis=(0, 1)).sum(), rtol=1e-12)


def test_the_linear_network_is_a_convolution_averaged_over_places_and_summed_over_filters():
    assert_convolution(linear_cnn.apply)
    rejected(assert_convolution, lambda params, x: 12 * linear_cnn.apply(params, x))  # summed over places
    rejected(assert_convolution, lambda params, x: linear_cnn.apply(params, x) / 4)  # averaged over filters
    rejected(assert_convolution, lambda params, x: linear_cnn.apply(params, x[::-1]))
    linear, _ = networks()
    seen = linear_cnn.patches(jnp.asarray(X), 3)
    found = linear_cnn.responses(linear_cnn.bank(linear), seen)
    np.testing.assert_allclose(found, convolved(linear.filters, X), rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(seen[2, 1], X[2:5, 1:4].ravel())


def test_the_relu_network_is_a_convolution_averaged_after_the_units():
    _, relu = networks()
    units = np.maximum(convolved(relu.filters, X), 0).mean(axis=(0, 1))
    np.testing.assert_allclose(relu_cnn.apply(relu, X), relu.readout @ units + np.array([0.3, -2.0]), rtol=1e-12)
    assert relu_cnn.bank(relu).shape == (4, 27)


def test_filters_as_large_as_the_image_and_larger():
    """One place, where the network is a scalar product; none is refused."""
    linear, _ = networks()
    np.testing.assert_allclose(
        linear_cnn.apply(linear, X[:3, :3]), np.sum(np.asarray(linear.filters) * X[None, :3, :3]), rtol=1e-12
    )
    for apply, params in zip((linear_cnn.apply, relu_cnn.apply), networks(), strict=True):
        with pytest.raises(
            ValueError, match=r"^x must be at least as large as a filter of 3 x 3 pixels, got shape \(6, 2, 3\)$"
        ):
            apply(params, X[:, :2])


def test_weights_have_the_deviations_of_their_configs():
    """Within 4 % for the 10800 weights of filters, six standard errors, and within 10 % for the 800 of the readout, four."""
    key = jax.random.key(2)
    with jax.enable_x64(False):
        linear = linear_cnn.init(key, linear_cnn.Config(num_filters=400, init_scale=0.3))
        relu = relu_cnn.init(key, relu_cnn.Config(num_filters=400))
    assert abs(np.std(np.asarray(linear.filters)) / 0.3 - 1) < 0.04
    assert abs(np.std(np.asarray(relu.filters)) / np.sqrt(2 / 27) - 1) < 0.04
    assert abs(np.std(np.asarray(relu.readout)) / np.sqrt(2 / 400) - 1) < 0.1
    np.testing.assert_array_equal(np.asarray(relu.bias), 0)


# ------------------------------------------------------------------------------------------------------------------- data


def digits(centred=True):
    x = load_digits().images[..., None] / 16
    return jnp.asarray(x - x.mean(axis=0, keepdims=True) if centred else x)


@jax.jit
def spectra(x):
    seen = jax.vmap(lambda image: linear_cnn.patches(image, 3))(x)
    return linear_cnn.principal_components(seen), linear_cnn.principal_components(jnp.mean(seen, axis=(1, 2)))


def assert_spectra(x):
    """Eigenvalues of 3 x 3 patches of all digits less their mean image, divided by 16 first, and of their average patches."""
    single, average = spectra(x)
    np.testing.assert_allclose(single.eigenvalues[:3], [0.221513, 0.205055, 0.128880], atol=1e-6)
    np.testing.assert_allclose(average.eigenvalues[:3], [2.548224e-2, 4.436313e-3, 9.920422e-4], atol=1e-6)


def test_spectra_of_the_patches_of_digits():
    assert_spectra(digits())
    rejected(assert_spectra, digits(centred=False))
    rejected(assert_spectra, 16 * digits())
    single, _ = spectra(digits())
    assert (np.diff(single.eigenvalues) <= 0).all()
    np.testing.assert_allclose(single.vectors.T @ single.vectors, np.eye(9), atol=1e-12)


def test_patches_that_are_not_centred_have_all_energy_in_their_mean():
    """The first component of raw patches is nearly constant, with most of the variance: the theory assumes mean zero."""
    raw, _ = spectra(digits(centred=False))
    constant = np.abs(raw.vectors[:, 0].sum()) / 3
    assert constant > 0.98
    assert raw.eigenvalues[0] / raw.eigenvalues.sum() > 0.6
    single, _ = spectra(digits())
    assert single.eigenvalues[0] / single.eigenvalues.sum() < 0.4


def test_energies_do_not_depend_on_how_filters_are_mixed():
    rng = np.random.default_rng(0)
    filters, vectors = rng.standard_normal((5, 4)), np.linalg.qr(rng.standard_normal((4, 4)))[0]
    mixing = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    found, mixed = (linear_cnn.energies(jnp.asarray(one), jnp.asarray(vectors)) for one in (filters, mixing @ filters))
    np.testing.assert_allclose(mixed, found, rtol=1e-12)
    np.testing.assert_allclose(found, [np.mean([(w @ u) ** 2 for w in filters]) for u in vectors.T], rtol=1e-12)


@pytest.mark.slow
def test_patches_of_photographs_are_strongly_correlated():
    """32 x 32 crops 16 apart: J u.A u/lambda^2 from 817 in the first component to 0.220; it is 1 for uncorrelated patches."""
    x = photographs.crops(32, 16).pixels / 255
    x = (x - x.mean(axis=0)).astype(np.float32)
    covariance, average = np.zeros((27, 27)), np.zeros((len(x), 27))
    for at, image in enumerate(x):
        seen = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(0, 1)).reshape(900, 27).astype(float)
        covariance += seen.T @ seen / (900 * len(x))
        average[at] = seen.mean(axis=0)
    values, vectors = np.linalg.eigh(covariance)
    ratio = 900 * np.einsum("di,de,ei->i", vectors, average.T @ average / len(x), vectors) / values
    assert len(x) == 1950
    np.testing.assert_allclose([ratio.max(), ratio.min()], [817, 0.220], rtol=2e-3)
