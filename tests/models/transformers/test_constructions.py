"""Every string of up to eight bits by the constructed transformers: signs, numbers, and weights that would be wrong."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.transformers import constructions, transformer
from closedform.tasks import languages
from zoo.checks import rejected
from zoo.exact_transformers import accepted, logit, strings

STRINGS = strings(8)
LENGTHS = np.array([len(bits) for bits in STRINGS])
PADDED = np.array([np.pad(bits, (0, 8 - len(bits)), constant_values=1) for bits in STRINGS])  # what is behind does not count
NAMES = ("parity", "first")


@functools.cache
def program(language, norm):
    """One for the logits of all strings, whatever the weights and eps."""

    def one(params, eps, bits, length):
        machine = constructions.LANGUAGES[language](norm=norm, eps=eps)._replace(params=params)
        return constructions.logit(machine, languages.ROWS[language](bits, length), languages.counts(bits, length))

    return jax.jit(jax.vmap(one, (None, None, 0, 0)))


def logits(language, change_fn=lambda params: params, *, norm=False, eps=0.0, **settings):
    params = change_fn(constructions.LANGUAGES[language](norm=norm, **settings).params)
    return np.asarray(program(language, norm)(params, eps, jnp.asarray(PADDED), jnp.asarray(LENGTHS)))


def assert_recognises(language, found):
    """Every one of the 510 strings of 1 to 8 bits."""
    right = np.array([accepted(bits, language) for bits in STRINGS])
    np.testing.assert_array_equal(found > 0, right)
    assert np.all(np.abs(found) > 1e-4)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("language", NAMES)
def test_every_string(language, norm):
    """Against the network in numpy; a string counts by its length and its ones, or its first bit."""
    eps = 1e-5 if norm else 0.0
    found = logits(language, norm=norm, eps=eps)
    assert_recognises(language, found)
    np.testing.assert_allclose(found, [logit(bits, language, norm=norm, eps=eps) for bits in STRINGS], rtol=1e-9)
    kinds = {}
    for bits, value in zip(STRINGS, found, strict=True):
        kinds.setdefault((len(bits), int(bits.sum() if language == "parity" else bits[0])), []).append(value)
    assert max(np.ptp(values) for values in kinds.values()) < 1e-13
    if norm:
        found = logits(language, norm=True)
        assert_recognises(language, found)
        np.testing.assert_allclose(np.abs(found), 10**0.5 if language == "parity" else 6**0.5, rtol=1e-9)


def changed(params, name, **parts):
    layers = params.layers
    return params._replace(layers=layers._replace(**{name: getattr(layers, name)._replace(**parts)}))


def test_weights_that_would_be_wrong():
    """The hat without its middle, heads that do not differ, and under layer norm the threshold of the network without."""

    def no_middle(params):
        return changed(params, "mlp_out", kernel=params.layers.mlp_out.kernel.at[0, 1].set(0.0))

    def same_heads(params):
        return changed(params, "key", kernel=jnp.abs(params.layers.key.kernel))

    def threshold(params):
        kernel = params.layers.mlp_in.kernel.at[0].set(0.0).at[0, jnp.array([1, 3]), 0].set(1.0)
        return changed(params, "mlp_in", kernel=kernel, bias=params.layers.mlp_in.bias.at[0, 0].set(-1.0))

    for change in (no_middle, same_heads):
        rejected(assert_recognises, "parity", logits("parity", change))
    assert_recognises("first", logits("first", threshold))
    found = logits("first", threshold, norm=True, eps=1e-5)
    expected = logits("first", norm=True, eps=1e-5)
    assert np.abs(found - expected).max() > 0.1


def test_gain_scales_the_logit():
    np.testing.assert_allclose(logits("first", gain=3.0), 3 * logits("first"), rtol=1e-14)


def test_attention_is_what_the_construction_says():
    """PARITY counts by uniform attention, then prefers even and odd tokens by e^(2 s)."""
    bits = jnp.array([1, 0, 1, 1, 0])
    machine = constructions.parity(2.0)
    weights = transformer.evaluate(machine.params, languages.parity_rows(bits), machine.config).attention
    np.testing.assert_allclose(weights[0], 1 / 6, rtol=1e-13)
    ratio = np.exp(4 / 5**0.5)
    np.testing.assert_allclose(weights[1, 0, 0::2] / weights[1, 0, 1::2], ratio, rtol=1e-12)
    np.testing.assert_allclose(weights[1, 1, 1::2] / weights[1, 1, 0::2], ratio, rtol=1e-12)


def test_eps_is_at_least_zero():
    with pytest.raises(ValueError, match=r"^eps must be a number of at least 0, got -1\.0$"):
        constructions.first(norm=True, eps=-1.0)
