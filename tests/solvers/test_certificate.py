"""The certificate of any network: closed at known optima, above the true distance everywhere, and a way down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from closedform.models.fully_connected import convex_relu, two_layer
from closedform.solvers import certificate, losses, program
from zoo import convex_problems as zoo
from zoo.checks import rejected
from zoo.convex_problems import FACTS, OPTIMUM, WEIGHT_DECAYS

searched = jax.jit(certificate.by_search, static_argnames=("loss", "num_starts"))


def data(shape=(8, 2)):
    x, y = zoo.formula_data(*shape)
    return x, y, convex_relu.all_gates(x)


@pytest.fixture(scope="module")
def optimal():
    """The networks of the optima of the facts, of one width: `(shape, weight_decay)` to network and padded x, y and gates."""
    with jax.enable_x64(True):
        found = {}
        for shape in FACTS:
            x, y, gates = data(shape)
            rows, columns, more = 10 - x.shape[0], 3 - x.shape[1], 92 - gates.shape[1]
            padded = (
                jnp.pad(x, [(0, rows), (0, columns)]),
                jnp.pad(y, (0, rows)),
                jnp.pad(jnp.pad(gates, [(0, columns), (0, 0)]), [(0, 0), (0, more)], mode="edge"),
            )
            for weight_decay in WEIGHT_DECAYS:
                of, solution = zoo.solved()[shape, weight_decay]
                network = convex_relu.to_network(solution.weights, jnp.pad(of.sign, (0, 184 - of.sign.size), constant_values=1))
                found[shape, weight_decay] = network, padded
        return found


@jax.jit
def at_optima(networks, data, weight_decays):
    return jax.vmap(lambda network, rest, decay: certificate.by_patterns(network, *rest[:2], decay, rest[2]))(
        networks, data, weight_decays
    )


@pytest.fixture(scope="module")
def others():
    """Networks at (8, 2) that are no optima: after 0, 30 and 300 steps of Adam, of 6 seeds, 12 neurons wide."""
    with jax.enable_x64(True):
        x, y, _ = data()
        found = [zoo.trained(6, 12, x, y, 0.1, steps) for steps in (0, 30, 300)]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)


# ------------------------------------------------------------------------------------------------------- at optima


def assert_closed(found, optimum, weight_decay):
    np.testing.assert_allclose(found.norm / weight_decay, 1, atol=5e-4)
    assert -1e-8 <= found.gap <= 5e-5
    np.testing.assert_allclose(found.bound, optimum, atol=5e-5)


@pytest.mark.slow
def test_gap_closes_at_the_optima_of_the_facts(optimal):
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *optimal.values())
    found = at_optima(*stacked, jnp.array([weight_decay for _, weight_decay in optimal]))
    assert np.all(found.proof)
    for i, (shape, weight_decay) in enumerate(optimal):
        one, (network, (x, y, _)) = zoo.one_of(found, i), optimal[shape, weight_decay]
        assert_closed(one, FACTS[shape].optima[WEIGHT_DECAYS.index(weight_decay)], weight_decay)
        np.testing.assert_allclose(one.objective, zoo.network_objective(network, x, y, weight_decay), rtol=1e-10)
        np.testing.assert_allclose(one.dual, y - np.maximum(x @ network.w, 0) @ network.a / network.a.size, atol=1e-12)


def test_wrong_certificates_are_rejected(optimal):
    network, (x, y, gates) = optimal[(8, 2), 0.1]
    weight_decay = jnp.asarray(0.1)
    assert_closed(zoo.by_patterns(network, x, y, weight_decay, gates), OPTIMUM, 0.1)
    for changed in (
        (network, x, y, 2 * weight_decay, gates),
        (network, x, y, weight_decay / 2, gates),
        (two_layer.Params(network.w, 1.1 * network.a), x, y, weight_decay, gates),
        (two_layer.Params(2 * network.w, network.a / 2), x, y, weight_decay, gates),  # the function, but not the balance
        (network, x, -y, weight_decay, gates),
    ):
        rejected(assert_closed, zoo.by_patterns(*changed), OPTIMUM, 0.1)


def test_certify_proves_where_it_can_and_says_where_it_cannot(optimal):
    x, y, _ = data()
    network = two_layer.Params(optimal[(8, 2), 0.1][0].w[:2], optimal[(8, 2), 0.1][0].a)
    proved = certificate.certify(network, np.asarray(x), np.asarray(y), 0.1, max_patterns=16)
    assert proved.proof is True
    assert_closed(proved, OPTIMUM, 0.1)
    beyond = certificate.certify(network, x, y, 0.1, max_patterns=15, num_starts=64, key=jax.random.key(1))
    assert beyond.proof is False
    assert_closed(beyond, OPTIMUM, 0.1)


def test_certify_counts_the_patterns_of_degenerate_data():
    """Rank 1 among 30 points: two patterns, though points in general position would have very many."""
    x = jnp.asarray(np.outer(np.linspace(-1, 1.5, 30), [1.0, 2.0, -1.0, 0.5]))
    y = jnp.asarray(np.linspace(-1, 1, 30))
    zero = two_layer.Params(jnp.zeros((4, 1)), jnp.zeros(1))
    found = certificate.certify(zero, x, y, 1.0, max_patterns=2)
    assert found.proof is True
    u = np.array([1.0, 2.0, -1.0, 0.5]) / np.linalg.norm([1.0, 2.0, -1.0, 0.5])
    expected = max(abs(y @ np.maximum(x @ u, 0)), abs(y @ np.maximum(-(x @ u), 0)))
    np.testing.assert_allclose(found.norm, expected, rtol=1e-10)
    np.testing.assert_allclose(found.objective, y @ y / 2, rtol=1e-12)


# ------------------------------------------------------------------------------------------------ away from optima


def assert_gaps(gap, objective):
    assert np.all(gap >= -1e-9)
    assert np.all(gap >= objective - OPTIMUM - 1e-8)


@pytest.mark.slow
def test_gap_is_at_least_the_distance_to_the_optimum(others):
    x, y, gates = data()
    found = jax.jit(jax.vmap(lambda net: certificate.by_patterns(net, x, y, jnp.asarray(0.1), gates)))(others)
    assert_gaps(found.gap, found.objective)
    assert np.all(found.bound <= OPTIMUM + 1e-8)
    assert np.all(found.bound > 0)
    assert len(found.gap) == 18
    for i in (0, 7, 13):
        np.testing.assert_allclose(found.objective[i], zoo.network_objective(zoo.one_of(others, i), x, y, 0.1), rtol=1e-12)
        # the bound by hand: the largest response over a fine grid of angles
        kinks = np.arctan2(-np.asarray(x[:, 0]), np.asarray(x[:, 1]))
        angles = np.concatenate([np.linspace(0, 2 * np.pi, 40_001), kinks, kinks + np.pi])
        nu = np.asarray(found.dual[i])
        responses = np.abs(nu @ np.maximum(np.asarray(x) @ np.stack([np.cos(angles), np.sin(angles)]), 0))
        np.testing.assert_allclose(found.norm[i], responses.max(), rtol=1e-6)
        c = min(1, 0.1 / responses.max())
        np.testing.assert_allclose(found.bound[i], c * nu @ y - c**2 * (nu @ nu) / 2, rtol=1e-5)
    # training closes the gap: a good network is certified as such
    assert np.median(found.gap[12:]) < 0.2 * np.median(found.gap[:6])
    # the mistakes: an unscaled dual point, a bound scaled for twice the weight decay
    unscaled = found.objective - jnp.sum(found.dual * y[None] - found.dual**2 / 2, axis=1)
    c = jnp.minimum(1, 0.2 / found.norm)
    lax = found.objective - c * jnp.sum(found.dual * y[None], axis=1) + c**2 * jnp.sum(found.dual**2, axis=1) / 2
    for wrong in (unscaled, lax):
        rejected(assert_gaps, wrong, found.objective)


def assert_goes_down(direction, sign, params, x, y, weight_decay, loss, logistic):
    """A tiny neuron (u, alpha) = sqrt(t) (direction, sign) changes the objective by t (weight_decay - norm) at first order."""
    t = 1e-5
    width = params.a.size + 1
    scale = np.sqrt(width / params.a.size)
    w = jnp.concatenate([params.w * scale, np.sqrt(t * width) * direction[:, None]], axis=1)
    a = jnp.append(params.a * scale, np.sqrt(t * width) * sign)
    before = zoo.network_objective(params, x, y, weight_decay, logistic)
    after = zoo.network_objective(two_layer.Params(w, a), x, y, weight_decay, logistic)
    return (after - before) / t


@pytest.mark.slow
def test_direction_is_a_way_down(others):
    x, y, gates = data()
    for i in (0, 3, 6, 9):
        net = zoo.one_of(others, i)
        found = zoo.by_patterns(net, x, y, jnp.asarray(0.1), gates)
        assert found.norm > 0.11
        np.testing.assert_allclose(np.linalg.norm(found.direction), 1, rtol=1e-10)
        args = net, x, y, 0.1, losses.squared, False
        slope = assert_goes_down(found.direction, found.sign, *args)
        np.testing.assert_allclose(slope, 0.1 - found.norm, atol=1e-3)
        assert slope < 0
        # no other direction is steeper, and the other sign is not down
        assert assert_goes_down(found.direction, -found.sign, *args) > 0
        for u in np.random.default_rng(i).normal(size=(20, 2)):
            for sign in (-1.0, 1.0):
                assert assert_goes_down(jnp.asarray(u / np.linalg.norm(u)), sign, *args) >= slope - 1e-3


@pytest.mark.slow
def test_logistic_certificate():
    x, y = zoo.random_data(7, 2, seed=3, labels=True)
    gates, weight_decay = convex_relu.all_gates(x), 0.2
    optimum = zoo.clarabel(x, y, convex_relu.patterns(gates, x), weight_decay, logistic=True)
    solution = zoo.interior(program.relu_program(x, y, gates, weight_decay), loss=losses.logistic)
    np.testing.assert_allclose(solution.objective, optimum, rtol=1e-7)
    net = convex_relu.to_network(solution.weights, program.relu_program(x, y, gates, weight_decay).sign)
    found = zoo.by_patterns(net, x, y, jnp.asarray(weight_decay), gates, loss=losses.logistic)
    np.testing.assert_allclose(found.norm / weight_decay, 1, atol=5e-4)
    assert -1e-8 <= found.gap <= 5e-5
    rng = np.random.default_rng(0)
    for scale in (0.1, 1.0, 3.0):
        net = two_layer.Params(*(jnp.asarray(scale * rng.normal(size=leaf.shape)) for leaf in net))
        found = zoo.by_patterns(net, x, y, jnp.asarray(weight_decay), gates, loss=losses.logistic)
        np.testing.assert_allclose(found.objective, zoo.network_objective(net, x, y, weight_decay, True), rtol=1e-12)
        assert found.bound <= optimum + 1e-8
        args = net, x, y, weight_decay, losses.logistic, True
        slope = assert_goes_down(found.direction, found.sign, *args)
        np.testing.assert_allclose(slope, weight_decay - found.norm, atol=1e-3)


# ------------------------------------------------------------------------------------- a plain sum, and single precision


def assert_objective_of_the_sum(params, W, a, weight_decay=0.1):
    """loss + (weight_decay/2) sum_j (|W_j|^2 + a_j^2) of f(x) = sum_j a_j relu(W_j . x), by numpy."""
    x, y, _ = data()
    f = np.maximum(np.asarray(x) @ W, 0) @ a
    expected = np.sum((f - np.asarray(y)) ** 2) / 2 + weight_decay * (np.sum(W**2) + np.sum(a**2)) / 2
    np.testing.assert_allclose(losses.network_objective(params, x, y, weight_decay), expected, rtol=1e-12)


@pytest.mark.parametrize("width", [1, 2, 7])
def test_a_plain_sum_of_neurons_has_its_own_objective(width):
    rng = np.random.default_rng(width)
    W, a = rng.normal(size=(2, width)), rng.normal(size=width)
    assert_objective_of_the_sum(certificate.from_network(W, a), W, a)
    assert_objective_of_the_sum(certificate.from_network(W.tolist(), a.tolist()), W, a)
    if width > 1:  # passed by hand, the mean over neurons is another network
        rejected(assert_objective_of_the_sum, two_layer.Params(jnp.asarray(W), jnp.asarray(a)), W, a)


@pytest.mark.parametrize(
    ("W", "a", "message"),
    [
        (np.ones((3, 2)), np.ones(3), r"a must have the shape \(width,\) with width = 2 as in W, got \(3,\)"),  # rows
        (np.ones(3), np.ones(3), r"W must have the shape \(dim, width\), got \(3,\)"),
        (np.ones((2, 0)), np.ones(0), r"W must have at least one neuron, got shape \(2, 0\)"),
        (np.full((2, 3), np.nan), np.ones(3), "W must be finite, got"),
        ("three", np.ones(3), "W must be real numbers, got"),
    ],
)
def test_what_is_no_sum_of_neurons_is_refused(W, a, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        certificate.from_network(W, a)


def test_a_pair_of_arrays_is_no_network():
    x, y, _ = data()
    with pytest.raises(ValueError, match=r"^params must be two_layer.Params \(.*from_network\(W, a\)\), got tuple$"):
        certificate.certify((np.ones((2, 3)), np.ones(3)), x, y, 0.1)


def test_a_proof_is_computed_in_float64_whatever_the_data(optimal):
    """In float32 the gap at an optimum would be rounding; of the same numbers both modes have one certificate."""
    x, y, _ = (np.asarray(array, np.float32) for array in data())
    network = two_layer.Params(*(np.asarray(leaf, np.float32) for leaf in optimal[(8, 2), 0.1][0]))
    network = network._replace(w=network.w[:2])
    double = certificate.certify(network, x.astype(float), y.astype(float), 0.1, max_patterns=16)
    with jax.enable_x64(False):
        single = certificate.certify(two_layer.Params(*map(jnp.asarray, network)), jnp.asarray(x), y, 0.1, max_patterns=16)
        assert {getattr(single, name).dtype for name in single._fields if name != "proof"} == {np.dtype("float64")}
        assert single.gap.dtype == np.float64
    for one, other in zip(single, double, strict=True):
        np.testing.assert_array_equal(one, other)
    assert single.proof is True
    assert single.gap < 1e-4


def test_by_patterns_claims_no_proof_in_float32():
    x, y, gates = (jnp.asarray(array, jnp.float32) for array in data())
    params = two_layer.Params(jnp.ones((2, 3), jnp.float32), jnp.ones(3, jnp.float32))
    claims = []

    def of(*arrays):
        claims.append(certificate.by_patterns(*arrays).proof)

    weight_decay = jnp.asarray(0.1, jnp.float32)
    jax.eval_shape(of, params, x, y, weight_decay, gates)
    jax.eval_shape(of, *jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (params, x, y, weight_decay, gates)))
    assert claims == [False, True]


# ------------------------------------------------------------------------------------------------------- the search


@pytest.mark.slow
def test_search_finds_what_the_patterns_prove(others):
    x, y, gates = data()
    find = jax.jit(jax.vmap(lambda net, key: certificate.by_search(net, x, y, jnp.asarray(0.1), key, num_starts=64)))
    exact = jax.jit(jax.vmap(lambda net: certificate.by_patterns(net, x, y, jnp.asarray(0.1), gates)))(others)
    found = find(others, jax.random.split(jax.random.key(0), 18))
    np.testing.assert_allclose(found.norm, exact.norm, rtol=1e-6)
    assert np.all(found.norm <= exact.norm * (1 + 1e-12))  # from below
    np.testing.assert_allclose(found.bound, exact.bound, rtol=1e-5)
    assert not np.any(found.proof)
    np.testing.assert_allclose(np.abs(jnp.sum(found.direction * exact.direction, axis=1)), 1, atol=1e-4)


def test_search_in_three_dimensions_at_an_optimum_and_elsewhere(optimal):
    start, (x, y, gates) = optimal[(10, 3), 0.1]
    rng = np.random.default_rng(0)
    shaken = two_layer.Params(*(leaf + 0.3 * jnp.asarray(rng.normal(size=leaf.shape)) for leaf in start))
    for net in (start, shaken):
        exact = zoo.by_patterns(net, x, y, jnp.asarray(0.1), gates)
        found = searched(net, x, y, jnp.asarray(0.1), jax.random.key(0), num_starts=256)
        np.testing.assert_allclose(found.norm, exact.norm, rtol=1e-5)
        assert found.norm <= exact.norm * (1 + 1e-12)


def test_every_start_ends_at_a_local_maximum_with_its_value():
    x, y, _ = data((10, 3))
    found = jax.jit(lambda key: certificate.search(key, y, x, num_starts=16))(jax.random.key(0))
    assert found.direction.shape == (3, 32)
    np.testing.assert_allclose(np.linalg.norm(found.direction, axis=0), 1, rtol=1e-12)
    response = lambda u: np.asarray(y) @ np.maximum(np.asarray(x) @ u, 0)  # noqa: E731
    for j in range(0, 32, 5):
        u, sign = np.asarray(found.direction[:, j]), float(found.sign[j])
        np.testing.assert_allclose(sign * response(u), found.value[j], rtol=1e-12)
        local = optimize.minimize(
            lambda v, s=sign: -s * response(v) / np.linalg.norm(v),
            u,
            method="Nelder-Mead",
            options=dict(xatol=1e-6, fatol=1e-9),
        )
        assert -local.fun <= found.value[j] + 1e-4 * abs(found.value[j]) + 1e-6
