"""Every kind of number means the same, and what does not fit is one line that begins with the name of the argument."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, ArrayLike, Float, Int, Num, Real

from closedform.theory.numerics.arguments import FINITE, Range, above, as_floats, at_least, between, require, takes


class Modes(NamedTuple):
    values: Float[Array, "mode"]
    tail: Float[ArrayLike, ""]


@takes(rate=above(0), modes=Modes(at_least(0), at_least(0)), share=between(0, 1, high_open=True), count=at_least(1))
def law(
    time: Real[ArrayLike, "*time"],
    rate: Real[ArrayLike, ""],
    modes: Modes,
    weights: Real[ArrayLike, "mode"],
    gram: Real[ArrayLike, "sample sample"],
    share: Real[ArrayLike, "*#shape"] = 0.5,
    scale: Real[ArrayLike, "*#shape"] = 1.0,
    point: Num[ArrayLike, ""] = 0.0,
    pair: Real[ArrayLike, "2"] | None = None,
    count: int = 3,
):
    """A law."""
    return time, rate, modes, weights, gram, share, scale, point, pair, count


PLAIN = {"time": [0, 1], "rate": 2, "modes": Modes([1, 2], 0), "weights": (True, False), "gram": [[1, 0], [0, 1]]}


def given(**changes):
    return law(**{**PLAIN, **changes})


def leaves(result):
    return [leaf for leaf in jax.tree.leaves(result) if isinstance(leaf, jax.Array)]


def test_every_kind_of_number_means_the_same():
    numpy = {name: jax.tree.map(np.asarray, value, is_leaf=lambda v: isinstance(v, list)) for name, value in PLAIN.items()}
    numpy |= {"weights": np.array([True, False]), "gram": np.eye(2, dtype=np.int8)}
    jaxes = {"time": jnp.arange(2), "rate": jnp.int32(2), "weights": jnp.array([True, False]), "gram": jnp.eye(2)}
    mixed = {"time": [jnp.int32(0), 1.0], "gram": [[1, 0], jnp.array([0, 1])]}
    for changes in (numpy, jaxes, mixed):
        for one, other in zip(leaves(given(**changes)), leaves(given()), strict=True):
            assert one.dtype == other.dtype == jnp.float64
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("value", "x64", "expected"),
    [
        (2.0, True, "float64"),
        (2, False, "float32"),
        (np.float32(2), True, "float32"),
        (jnp.float16(2), True, "float16"),
        (np.float64(2), False, "float32"),
        (np.int64(2), True, "float64"),
    ],
)
def test_the_floating_array_decides_the_dtype(value, x64, expected):
    with jax.enable_x64(x64):
        assert {str(leaf.dtype) for leaf in leaves(given(rate=value))} == {expected}


def test_mixed_precisions_are_the_wider_one():
    result = given(rate=jnp.float32(2), weights=np.ones(2))
    assert {str(leaf.dtype) for leaf in leaves(result)} == {"float64"}


def test_the_dtype_of_a_leading_argument_is_that_of_all():
    @takes("x")
    def fitted(x: Real[ArrayLike, "n"], weight: Real[ArrayLike, "n"]):
        return x, weight

    for x, expected in ((np.ones(2, np.float32), "float32"), ([1, 2], "float64")):
        assert {str(leaf.dtype) for leaf in fitted(x, np.ones(2))} == {expected}


def test_known_whole_numbers_are_numpy_arrays():
    @takes(steps=at_least(0))
    def at(steps: Int[np.ndarray, "step"]):
        return steps

    for steps in ([0, 3], np.array([0, 3]), jnp.array([0, 3])):
        assert isinstance(at(steps), np.ndarray)
    assert at([]).shape == (0,)
    for steps, message in (([0.5], "steps must be whole numbers"), ([-1], "steps must be at least 0"), (3, "steps must have")):
        with pytest.raises(ValueError, match=f"^{message}"):
            at(steps)
    with pytest.raises(ValueError, match="traced"):
        jax.jit(at)(jnp.arange(3))


def test_traced_python_numbers_decide_nothing():
    types = []
    jax.jit(lambda rate: types.append(given(rate=rate, weights=jnp.ones(2, jnp.float32))[1].dtype))(2.0)
    assert types == [jnp.float32]


def test_complex_numbers_keep_the_precision_of_the_others():
    assert given(point=1j)[7].dtype == jnp.complex128
    assert given(point=1j, rate=jnp.float32(2))[7].dtype == jnp.complex64
    assert given(point=jnp.complex64(1j))[1].dtype == jnp.float32


def test_whole_numbers_beyond_64_bits():
    assert float(given(rate=10**30)[1]) == 1e30
    assert as_floats([10**30, 1])[0].tolist() == [1e30, 1.0]


def test_int_arguments_become_python_integers():
    for value in (4, np.int64(4), jnp.int32(4), np.array(4)):
        assert type(given(count=value)[-1]) is int


def test_defaults_are_converted_and_none_stays():
    *_, share, scale, point, pair, count = given()
    assert all(isinstance(value, jax.Array) for value in (share, scale, point))
    assert (pair, count) == (None, 3)


def test_compiled_batched_and_differentiated():
    assert jax.jit(lambda w: given(weights=w)[3])(jnp.ones(2)).tolist() == [1, 1]
    assert jax.vmap(lambda r: given(rate=r)[1])(jnp.arange(1.0, 4)).tolist() == [1, 2, 3]
    assert float(jax.grad(lambda r: given(rate=r)[1] ** 2)(3.0)) == 6
    assert jax.vmap(lambda r: given(rate=r)[1])(-jnp.ones(2)).tolist() == [-1, -1]  # traced values are not looked at


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 0}, "rate must be above 0, got 0.0"),
        ({"rate": float("nan")}, "rate must be above 0, got nan"),
        ({"rate": [1, 2]}, r"rate must be a single number, got shape \(2,\); vmap over further axes"),
        ({"rate": "fast"}, "rate must be real numbers, got fast of dtype"),
        ({"rate": 1j}, "rate must be real numbers, got 1j of dtype complex128"),
        ({"rate": None}, "rate must be given"),
        ({"time": [[0, 1], [2]]}, "time must be numbers"),
        ({"modes": Modes([1, -2], 0)}, r"modes.values must be at least 0, got \[ 1. -2.\]"),
        ({"modes": Modes([1, 2], [0])}, "modes.tail must be a single number"),
        ({"modes": [1, 2]}, "modes must be a Modes"),
        ({"weights": [1, 2, 3]}, r"weights must have the shape \(mode,\) with mode = 2 as in modes.values, got \(3,\)"),
        ({"weights": 1}, r"weights must have the shape \(mode,\), got \(\)"),
        ({"gram": [[1, 2]]}, r"gram must have the shape \(sample, sample\) with sample = 1 as in gram, got \(1, 2\)"),
        ({"share": 1}, "share must be at least 0 and below 1, got 1.0"),
        ({"share": [0, 0.5], "scale": [1, 2, 3]}, r"scale must broadcast with share, got shapes \(3,\) and \(2,\)"),
        ({"pair": [1, 2, 3]}, r"pair must have the shape \(2,\), got \(3,\)"),
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"count": 2.5}, "count must be a whole number, got 2.5"),
    ],
)
def test_what_does_not_fit_is_one_line(changes, message):
    with pytest.raises(ValueError, match=f"^{message}") as error:
        given(**changes)
    assert "\n" not in str(error.value)


def test_a_traced_whole_number_is_told_the_way_out():
    with pytest.raises(ValueError, match="count must be a whole number, got a traced value: pass it as a static argument"):
        jax.jit(lambda count: given(count=count)[0])(3)


def test_ranges():
    assert [r.holds(np.inf) for r in (at_least(0), at_least(0, finite=True), above(0), FINITE, Range())] == [1, 0, 1, 0, 1]
    assert [r.holds([1, np.nan]) for r in (at_least(0), Range())] == [False, False]
    assert at_least(0).holds([])
    assert str(between(-1, 1)) == "at least -1 and at most 1"
    assert str(FINITE) == "finite"
    assert "Legal: rate above 0; modes.values at least 0; modes.tail at least 0" in law.__doc__
    with pytest.raises(ValueError, match=r"^beta must be finite, got inf"):
        require(FINITE, beta=np.inf)
    require(FINITE, beta=jnp.ones(3))


def test_a_range_of_no_argument_is_told_when_the_function_is_made():
    with pytest.raises(TypeError, match="takes no argument speed"):
        takes(speed=above(0))(lambda rate: rate)
