"""FGSM and PGD: in the box, exact where the network is linear, never better than all corners, and no help to the network."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.fully_connected import two_layer
from closedform.solvers import attacks, losses

CONFIG = two_layer.Config(dim=4, width=9)
RADIUS = np.array([0.3, 0.1, 0.0, 0.2])  # the third input is not attacked


def _problem(seed=0, num_samples=12, offset=0.0):
    key_x, key_y, key_net = jax.random.split(jax.random.key(seed), 3)
    x = jax.random.normal(key_x, (num_samples, CONFIG.dim))
    y = jax.random.rademacher(key_y, (num_samples,), jnp.float64)
    w, a = two_layer.init(key_net, CONFIG)
    # with a large offset along the third input, every neuron is active or not whatever the others do: f is linear
    w = w.at[2].set(jnp.where(w[2] > 0, 1.0, -1.0)) if offset else w
    return two_layer.Params(w, 10 * a), x.at[:, 2].add(offset), y


ATTACKS = {
    "fgsm": lambda params, x, y, radius: attacks.fgsm(params, x, y, radius),
    "pgd": lambda params, x, y, radius: attacks.pgd(params, x, y, radius),
    "pgd from a random point": lambda params, x, y, radius: attacks.pgd(params, x, y, radius, jax.random.key(7)),
    "pgd in one long step": lambda params, x, y, radius: attacks.pgd(params, x, y, radius, num_steps=1, step_size=2.0),
}


@pytest.fixture(params=ATTACKS)
def attack(request):
    return ATTACKS[request.param]


def _worst(params, x, y, radius):
    """The smallest margin over the corners of each box, by trying all: the minimum where f is linear in the box."""
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=CONFIG.dim))) * radius[None]
    return jnp.stack([attacks.margins(params, x + corner[None], y) for corner in corners]).min(axis=0)


@pytest.mark.slow
def test_the_attacked_points_are_in_the_box_and_inputs_of_radius_0_stay(attack):
    params, x, y = _problem()
    moved = attack(params, x, y, RADIUS) - x
    assert (jnp.abs(moved) <= RADIUS[None] + 1e-15).all()
    assert not moved[:, 2].any()
    assert moved.any()


def test_no_radius_no_attack(attack):
    params, x, y = _problem()
    np.testing.assert_array_equal(attack(params, x, y, 0.0), x)


def test_one_number_is_the_radius_of_every_input(attack):
    params, x, y = _problem()
    np.testing.assert_array_equal(attack(params, x, y, 0.1), attack(params, x, y, jnp.full(CONFIG.dim, 0.1)))


def check_exact(attack):
    params, x, y = _problem(offset=20.0)
    found = attacks.margins(params, attack(params, x, y, RADIUS), y)
    np.testing.assert_allclose(found, _worst(params, x, y, RADIUS), rtol=1e-12)
    # the loss that is attacked does not fall, for a loss of the margin
    for loss in (losses.hinge, losses.logistic):
        before, after = (losses.network_objective(params, z, y, 0.1, loss) for z in (x, attack(params, x, y, RADIUS)))
        assert after >= before


def test_exact_where_the_network_is_linear(attack):
    check_exact(attack)


MISTAKES = {
    "wrong sign": lambda params, x, y, r: 2 * x - attacks.fgsm(params, x, y, r),
    "label forgotten": lambda params, x, y, r: attacks.fgsm(params, x, jnp.ones_like(y), r),
    "half the box": lambda params, x, y, r: attacks.fgsm(params, x, y, r / 2),
    "gradient in place of its sign": lambda params, x, y, r: (
        x - 0.3 * jax.vmap(jax.grad(lambda z, label: label * two_layer.apply(params, z)))(x, y)
    ),
    "steps too short to cross the box": lambda params, x, y, r: attacks.pgd(params, x, y, r, num_steps=4, step_size=0.2),
    "the attack on a hinge that is at rest": lambda params, x, y, r: jnp.where(
        attacks.margins(params, x, y)[:, None] > 1, x, attacks.fgsm(params, x, y, r)
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_check_is_real(mistake):
    with pytest.raises(AssertionError):
        check_exact(MISTAKES[mistake])


@pytest.mark.parametrize("seed", range(5))
def test_pgd_never_helps_and_grows_with_its_steps(seed):
    params, x, y = _problem(seed)
    margins = [attacks.margins(params, attacks.pgd(params, x, y, 0.8, num_steps=n, step_size=0.1), y) for n in (0, 3, 20)]
    np.testing.assert_array_equal(margins[0], attacks.margins(params, x, y))
    assert (margins[1] <= margins[0]).all()
    assert (margins[2] <= margins[1]).all()
    assert (margins[2] < margins[1]).any()


def test_where_the_network_bends_pgd_finds_what_one_step_misses():
    """f = relu(s) - 2 relu(s - 1) with s = x_0 + x_1: downhill from s = 0.5 is a bend away from the far, lower side."""
    params = two_layer.Params(2 * jnp.array([[1.0, 1.0], [1.0, 1.0], [0.0, -1.0]]), jnp.array([1.0, -2.0]))
    x, y = jnp.array([[0.6, 0.6, 1.0]]), jnp.ones(1)
    radius = jnp.array([1.0, 1.0, 0.0])
    one, many = attacks.fgsm(params, x, y, radius), attacks.pgd(params, x, y, radius)
    np.testing.assert_allclose(attacks.margins(params, many, y), 3.2 - 2 * 2.2, rtol=1e-12)
    assert attacks.margins(params, one, y) >= attacks.margins(params, many, y)


def test_within_cuts_the_points(attack):
    params, x, y = _problem()
    x = jnp.clip(x, 0, 1)
    for moved in (
        attacks.fgsm(params, x, y, 0.3, within=(0, 1)),
        attacks.pgd(params, x, y, 0.3, jax.random.key(0), within=(0, 1)),
    ):
        assert (moved >= 0).all()
        assert (moved <= 1).all()
    assert ((attack(params, x, y, 0.3) < 0) | (attack(params, x, y, 0.3) > 1)).any()  # not unless asked


@pytest.mark.slow
def test_jitted_mapped_and_independent_of_the_other_examples(attack):
    params, x, y = _problem()
    whole = attack(params, x, y, RADIUS)
    np.testing.assert_allclose(jax.jit(attack)(params, x, y, RADIUS), whole, rtol=1e-12, atol=1e-15)
    changed = attack(params, x.at[0].add(1.0), y, RADIUS)
    np.testing.assert_array_equal(changed[1:], whole[1:])
    both = jax.vmap(attack, (None, 0, 0, None))(params, jnp.stack([x, -x]), jnp.stack([y, y]), RADIUS)
    np.testing.assert_allclose(both[0], whole, rtol=1e-12, atol=1e-15)


def test_the_precision_is_that_of_the_inputs(attack):
    with jax.enable_x64(False):
        params, x, y = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), _problem_single())
        assert attack(params, x, y, 0.1).dtype == jnp.float32


def _problem_single():
    key = jax.random.key(0)
    return two_layer.init(key, CONFIG), jax.random.normal(key, (3, CONFIG.dim)), jnp.ones(3)


def test_bad_attacks_are_refused_and_any_numbers_are_welcome():
    params = two_layer.Params(jnp.array([[1.0], [-2.0]]), jnp.array([1.0]))
    x, y = [[3, 1]], [1]
    assert attacks.fgsm(params, x, y, 0.25).tolist() == [[2.75, 1.25]]
    assert attacks.fgsm(params, np.array(x), np.array([True]), [0, 1]).tolist() == [[3, 2]]
    for message, call in {
        "y must be -1 or 1": lambda: attacks.margins(params, x, [0]),
        "radius must be at least 0 and finite, got -1": lambda: attacks.fgsm(params, x, y, -1),
        "radius must be one number or one for each of the 2 inputs": lambda: attacks.fgsm(params, x, y, [1, 1, 1]),
        "num_steps must be at least 0": lambda: attacks.pgd(params, x, y, 1, num_steps=-1),
        "step_size must be above 0": lambda: attacks.pgd(params, x, y, 1, step_size=0),
        "within must be .lowest, highest.": lambda: attacks.fgsm(params, x, y, 1, within=(1, 0)),
        "x must have the shape .* with dim = 2 as in params.w": lambda: attacks.margins(params, [[1, 2, 3]], y),
    }.items():
        with pytest.raises(ValueError, match=f"^{message}"):
            call()
