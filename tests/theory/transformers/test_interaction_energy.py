"""The energy of tokens and its rate against differences along the flow, its gradient and many digits."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from closedform.theory.transformers import interaction_energy
from zoo.calls import Call
from zoo.checks import rejected
from zoo.tokens import sphere, tokens_flow, velocity

TRIANGLE = np.array([[1.0, 0.0], [0.6, 0.8], [-0.28, 0.96]])


def test_energy_rate():
    x, step = sphere(7, 3, 0), 1e-4
    for beta in (0.5, 3.0):
        for softmax in (True, False):

            def change(x, beta=beta, softmax=softmax):
                ends = [x + sign * step * velocity(x, beta, softmax) for sign in (1, -1)]
                # off the sphere by step^2 at second order: the central difference does not see it
                return (interaction_energy.energy(ends[0], beta) - interaction_energy.energy(ends[1], beta)) / (2 * step)

            rate = interaction_energy.energy_rate(x, beta, softmax)
            np.testing.assert_allclose(rate, change(x), rtol=1e-6)
            rejected(np.testing.assert_allclose, interaction_energy.energy_rate(x, beta, not softmax), change(x), 1e-2)
    # and exactly: the derivative of the energy along the velocity
    along = jax.jvp(lambda x: interaction_energy.energy(x, 3.0), (x,), (velocity(x, 3.0),))[1]
    np.testing.assert_allclose(interaction_energy.energy_rate(x, 3.0), along, rtol=1e-12)
    # unnormalised attention climbs it: x' = n grad E on the sphere
    gradient = 7 * np.asarray(jax.grad(lambda x: interaction_energy.energy(x, 3.0))(x))
    gradient -= np.sum(gradient * x, axis=1, keepdims=True) * x
    np.testing.assert_allclose(gradient, velocity(x, 3.0, softmax=False), rtol=1e-10, atol=1e-12)


def test_energy_along_the_flow():
    times = np.linspace(0, 3, 7)
    for softmax in (True, False):
        energies = [float(interaction_energy.energy(x, 2.0)) for x in tokens_flow(times, sphere(6, 3, 1), 2.0, softmax)]
        assert np.all(np.diff(energies) > 0)
        assert energies[-1] <= np.exp(2) / 4


def exact_energy_rate(x, beta, softmax):
    """The definition, with digits for a token's own e^beta, on tokens that are unit vectors to all of them."""
    with mpmath.workdps(60 + int(beta)):
        x = [[mpmath.mpf(float(v)) for v in row] for row in x]
        x = [[v / mpmath.sqrt(sum(w * w for w in row)) for v in row] for row in x]
        n, total = len(x), mpmath.mpf(0)
        for one in x:
            weights = [mpmath.exp(beta * sum(p * q for p, q in zip(one, other, strict=True))) for other in x]
            pull = [sum(w * other[i] for w, other in zip(weights, x, strict=True)) for i in range(len(one))]
            along = sum(p * q for p, q in zip(pull, one, strict=True))
            square = sum((p - along * q) ** 2 for p, q in zip(pull, one, strict=True))
            total += square / sum(weights) / n**2 if softmax else square / n**3
        return float(total)


@pytest.mark.parametrize("softmax", [True, False])
def test_energy_rate_at_large_beta(softmax):
    """A token's own e^beta does not enter: 8 tokens in 64 dimensions, far apart, and close to one another."""
    far = sphere(8, 64, 0)
    near = far[:1] + 1e-4 * sphere(8, 64, 1)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    rate = jax.jit(interaction_energy.energy_rate, static_argnames="softmax")
    for x in (far, near):
        for beta in (0.0, 20.0, 60.0, 100.0):
            exact = exact_energy_rate(x, beta, softmax)
            rtol = 1e-13 if x is far else 1e-11  # 1e-16 of the tokens over their distance
            np.testing.assert_allclose(rate(x, beta, softmax=softmax), exact, rtol=rtol)
            if x is far:
                rejected(np.testing.assert_allclose, rate(x, beta, softmax=not softmax), exact, 1e-2 if beta else 1e-17)
                with jax.enable_x64(False):
                    single = rate(x.astype(np.float32), np.float32(beta), softmax=softmax)
                np.testing.assert_allclose(single, exact, rtol=1e-6 + 1e-7 * beta)


@pytest.mark.slow
def test_energy_rate_of_equal_tokens_and_of_one():
    for softmax in (True, False):
        for x in (TRIANGLE[[1, 1, 1]], TRIANGLE[[1]]):
            for beta in (0.0, 100.0, 1e5):
                assert interaction_energy.energy_rate(x, beta, softmax) == 0
                np.testing.assert_array_equal(jax.grad(interaction_energy.energy_rate)(x, beta, softmax), 0)
        pair = TRIANGLE[[0, 0, 1]]
        np.testing.assert_allclose(
            interaction_energy.energy_rate(pair, 9.0, softmax), exact_energy_rate(pair, 9, softmax), rtol=1e-13
        )


@pytest.mark.slow
def test_dtype_follows_the_input():
    x = sphere(5, 3, 2)
    with jax.enable_x64(False):
        token, beta = jnp.asarray(x, jnp.float32), jnp.float32(0.5)
        found = [jax.jit(function)(token, beta) for function in (interaction_energy.energy, interaction_energy.energy_rate)]
    assert {leaf.dtype for leaf in found} == {jnp.dtype("float32")}
    np.testing.assert_allclose(found[1], interaction_energy.energy_rate(x, 0.5), rtol=1e-5)


@pytest.mark.slow
def test_integers_and_lists():
    for function, integers in (
        (interaction_energy.energy_rate, ([[1, 0], [0, -1]], 3)),
        (interaction_energy.energy, ([[1, 0], [0, -1]], True)),
    ):
        found, expected = function(*integers), function(*(np.asarray(a, float) for a in integers))
        assert found.dtype == expected.dtype == jnp.float64
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (interaction_energy.energy, (np.eye(2), 0.0), "beta must be above 0"),
        (interaction_energy.energy_rate, (np.eye(2), -1.0), "beta must be at least 0"),
    ],
)
def test_bad_arguments_are_named(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (interaction_energy.energy, ([1.0, 0.0], 1.0), "tokens must have the shape"),
        (interaction_energy.energy_rate, (np.eye(2), np.inf), "beta must be at least 0 and finite"),
    ],
)
def test_what_is_out_of_range_is_named(function, arguments, message):
    with pytest.raises(ValueError, match=message) as raised:
        function(*arguments)
    assert "\n" not in str(raised.value)


def unit_tokens(rng):
    x = rng.standard_normal((3, 2))
    x = x[0] + 10 ** rng.uniform(-6, 1) * x  # from close together to far apart
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def along_the_sphere(x, rng):
    step = rng.standard_normal(x.shape) * np.linalg.norm(x[:1] - x[-1:])
    return step - np.sum(step * x, axis=1, keepdims=True) * x


CALLS = [
    Call(
        interaction_energy.energy,
        {"tokens": TRIANGLE, "beta": 2.0},
        draw=lambda rng: {"tokens": unit_tokens(rng), "beta": 10 ** rng.uniform(-9, 1.9)},
    ),
    *(
        Call(
            interaction_energy.energy_rate,
            {"tokens": TRIANGLE, "beta": 2.0, "softmax": softmax},
            label="SA" if softmax else "USA",
            cases=[{"tokens": TRIANGLE[[0, 0, 0]]}, {"tokens": TRIANGLE[[0, 0, 1]], "beta": 300.0}],
            draw=lambda rng: {"tokens": unit_tokens(rng), "beta": 10 ** rng.uniform(-9, 3)},
            directions={"tokens": along_the_sphere},
        )
        for softmax in (True, False)
    ),
]
