"""The gated network, the way to the ReLU network and back, and the activation patterns against brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from closedform.models.fully_connected import convex_relu, two_layer
from closedform.models.fully_connected.convex_relu import Params
from closedform.solvers import program
from closedform.theory.convex.activation_patterns import pattern_count
from zoo.checks import rejected
from zoo.convex_problems import FACTS, OPTIMUM, enumerate_patterns, formula_data, interior, network_objective

apply_all = jax.jit(jax.vmap(convex_relu.apply, (None, 0)))
network_outputs = jax.jit(jax.vmap(two_layer.apply, (None, 0)))


def _draw(seed=0, dim=3, blocks=5, samples=7):
    """Blocks of either sign and any size that need not lie in their cones."""
    rng = np.random.default_rng(seed)
    gates, weights = (jnp.asarray(rng.normal(size=(dim, blocks))) for _ in range(2))
    return Params(gates, weights, jnp.asarray(rng.choice([-1.0, 1.0], blocks))), jnp.asarray(rng.normal(size=(samples, dim)))


def _inside(seed=0):
    """The same with the gates as weights: every block in the cone of its pattern."""
    params, x = _draw(seed)
    size = jnp.asarray(np.random.default_rng(seed + 1).uniform(0.1, 3, params.sign.size))
    return params._replace(weights=params.gates * size[None]), x


def _columns(patterns):
    return {tuple(column) for column in np.asarray(patterns, int).T}


# ------------------------------------------------------------------------------------------------- the gated network


def assert_gated(outputs_fn):
    for seed in range(3):
        params, x = _draw(seed)
        expected = np.zeros(len(x))
        for k, example in enumerate(np.asarray(x)):
            for b in range(params.sign.size):
                if example @ np.asarray(params.gates[:, b]) >= 0:
                    expected[k] += params.sign[b] * (example @ np.asarray(params.weights[:, b]))
        np.testing.assert_allclose(outputs_fn(params, x), expected, rtol=1e-12, atol=1e-13)


def test_gated_prediction_is_that_of_a_loop():
    assert_gated(apply_all)
    assert_gated(lambda p, x: convex_relu.outputs(p.weights, p.sign, convex_relu.patterns(p.gates, x), x))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p, x: jax.nn.relu(x @ p.weights) @ p.sign,  # gates ignored
        lambda p, x: (convex_relu.patterns(p.gates, x) * (x @ p.weights)).sum(axis=1),  # signs ignored
        lambda p, x: apply_all(p, x) / p.sign.size,  # a mean
        lambda p, x: ((1 - convex_relu.patterns(p.gates, x)) * (x @ p.weights)) @ p.sign,
        lambda p, x: (convex_relu.patterns(p.gates, x) * jax.nn.relu(x @ p.weights)) @ p.sign,
    ],
)
def test_wrong_gated_predictions_are_rejected(wrong):
    rejected(assert_gated, wrong)


def test_an_edge_counts_as_active():
    gates = jnp.array([[1.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
    x = jnp.array([[0.0, 1.0], [0.0, 0.0], [2.0, 0.0]])
    np.testing.assert_array_equal(convex_relu.patterns(gates, x), [[1, 1, 0], [1, 1, 1], [1, 0, 1]])


def test_output_is_linear_in_the_weights_and_blind_to_the_order_and_scale_of_gates():
    params, x = _draw()
    other = _draw(9)[0].weights
    base, more = apply_all(params, x), apply_all(params._replace(weights=other), x)
    mixed = apply_all(params._replace(weights=2 * params.weights - 3 * other), x)
    np.testing.assert_allclose(mixed, 2 * base - 3 * more, rtol=1e-12)
    order = np.random.default_rng(0).permutation(params.sign.size)
    np.testing.assert_allclose(apply_all(jax.tree.map(lambda leaf: leaf[..., order], params), x), base, rtol=1e-12)
    np.testing.assert_allclose(apply_all(params._replace(gates=7 * params.gates), x), base, rtol=1e-14)


@pytest.mark.slow
def test_both_signs_and_init():
    values, sign = convex_relu.both_signs(jnp.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(values, [[0, 1, 2, 0, 1, 2], [3, 4, 5, 3, 4, 5]])
    np.testing.assert_array_equal(sign, [1, 1, 1, -1, -1, -1])
    params = convex_relu.init(jax.random.key(0), convex_relu.Config(dim=4, num_patterns=6, init_scale=0.5))
    assert params.gates.shape == params.weights.shape == (4, 12)
    np.testing.assert_array_equal(params.gates[:, :6], params.gates[:, 6:])
    many = convex_relu.init(jax.random.key(1), convex_relu.Config(dim=50, num_patterns=100, init_scale=0.5))
    np.testing.assert_allclose(np.std(many.weights), 0.5, atol=4 * 0.5 / np.sqrt(2 * many.weights.size))
    assert abs(np.corrcoef(many.weights.ravel(), many.gates.ravel())[0, 1]) < 4 / np.sqrt(many.weights.size)


@pytest.mark.parametrize(
    ("values", "message"),
    [(dict(dim=0), "dim.*0"), (dict(num_patterns=0), "num_patterns.*0"), (dict(init_scale=-1.0), "init_scale.*-1")],
)
def test_config_names_what_is_wrong(values, message):
    with pytest.raises(ValueError, match=message):
        convex_relu.Config(**values)


# -------------------------------------------------------------------------------------------- the network and back


def assert_network(to_network_fn):
    """Balanced neurons, the outputs of the blocks in their cones, and a penalty of the sum of their norms."""
    for seed in range(3):
        params, x = _inside(seed)
        weights = params.weights.at[:, 1].set(0.0)
        network = to_network_fn(weights, params.sign)
        np.testing.assert_allclose(network_outputs(network, x), apply_all(params._replace(weights=weights), x), rtol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(network.w, axis=0), np.abs(network.a), rtol=1e-12)
        y = np.zeros(len(x))
        penalty = network_objective(network, x, y, 1.0) - network_objective(network, x, y, 0.0)
        np.testing.assert_allclose(penalty, np.sum(np.linalg.norm(weights, axis=0)), rtol=1e-12)


def test_network_of_blocks():
    assert_network(convex_relu.to_network)


def _scaled(power_w, power_a):
    def wrong(weights, sign):
        network, width = convex_relu.to_network(weights, sign), jnp.sqrt(float(sign.size))
        return two_layer.Params(network.w * width**power_w, network.a * width**power_a)

    return wrong


@pytest.mark.parametrize(
    "wrong",
    [
        _scaled(-1, -1),  # without the factor of the mean
        _scaled(1, 1),  # the width in place of its root
        _scaled(-1, 1),  # the function, but not the balance
        lambda weights, sign: convex_relu.to_network(weights, jnp.abs(sign)),
        lambda weights, sign: two_layer.Params(weights * sign.size, sign),  # u = v, alpha = sign
    ],
)
def test_wrong_networks_are_rejected(wrong):
    rejected(assert_network, wrong)


def test_products_return_the_blocks():
    params, x = _inside()
    weights = params.weights.at[:, 1].set(0.0)
    back, sign = convex_relu.products(convex_relu.to_network(weights, params.sign))
    np.testing.assert_allclose(back, weights, rtol=1e-13)
    np.testing.assert_array_equal(np.delete(sign, 1), np.delete(params.sign, 1))
    assert sign[1] == 1
    # an unbalanced network has the function of its balanced twin, and no smaller penalty
    rng = np.random.default_rng(2)
    network = two_layer.Params(jnp.asarray(rng.normal(size=(3, 6))), jnp.asarray(rng.normal(size=6)))
    twin = convex_relu.to_network(*convex_relu.products(network))
    np.testing.assert_allclose(network_outputs(twin, x), network_outputs(network, x), rtol=1e-12)
    assert network_objective(twin, x, np.zeros(len(x)), 1.0) < network_objective(network, x, np.zeros(len(x)), 1.0)


def test_objective_is_unchanged_on_the_way_to_the_network():
    """At an optimum of the convex program: its value, written out in numpy, is that of the network."""
    x, y = formula_data(8, 2)
    problem = program.relu_program(x, y, convex_relu.all_gates(x), 0.1)
    solution = interior(problem)
    v = np.asarray(solution.weights)
    f = (np.asarray(problem.active) * (np.asarray(x) @ v)) @ np.asarray(problem.sign)
    convex = np.sum((f - np.asarray(y)) ** 2) / 2 + 0.1 * np.sum(np.linalg.norm(v, axis=0))
    network = program.network(solution, problem)
    np.testing.assert_allclose(network_objective(network, x, y, 0.1), convex, rtol=1e-8)
    np.testing.assert_allclose(network_objective(network, x, y, 0.1), solution.objective, rtol=1e-12)
    merged = convex_relu.merge_collinear(network)
    assert merged.a.size <= 9  # m* <= n + 1
    np.testing.assert_allclose(network_objective(merged, x, y, 0.1), OPTIMUM, rtol=1e-6)
    # the count is that of the optimum and not of where the merging draws its lines
    for angle, negligible in ((1e-4, 1e-5), (1e-2, 1e-4)):
        assert convex_relu.merge_collinear(network, angle, negligible).a.size == merged.a.size


def assert_merges(merge_fn):
    """Two collinear neurons of one sign become one, those of the other sign and of other directions stay."""
    x = jnp.asarray(np.random.default_rng(1).normal(size=(9, 3)))
    u, other = np.array([1.0, 2.0, -1.0]), np.array([0.0, 1.0, 1.0])
    weights = np.stack([u, 3 * u, -2 * u, u, other, 0.5 * u, 0 * u, 0.2 * other], axis=1)
    sign = np.array([1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0, -1.0])
    network = convex_relu.to_network(jnp.asarray(weights), jnp.asarray(sign))
    # out of balance: the penalty of the merged network is then smaller yet
    network = two_layer.Params(network.w * 1.5, network.a / 1.5)
    merged = merge_fn(network)
    np.testing.assert_allclose(network_outputs(merged, x), network_outputs(network, x), rtol=1e-12, atol=1e-12)
    assert merged.a.size == 5
    zero = np.zeros(9)
    penalty = network_objective(merged, x, zero, 1.0) - network_objective(merged, x, zero, 0.0)
    np.testing.assert_allclose(penalty, 4.5 * 6**0.5 + 2 * 6**0.5 + 6**0.5 + 2**0.5 + 0.2 * 2**0.5, rtol=1e-12)


def _merge_opposite(network):
    weights, sign = convex_relu.products(network)
    return convex_relu.merge_collinear(convex_relu.to_network(weights * sign[None], jnp.ones_like(sign)))


def test_merging():
    assert_merges(convex_relu.merge_collinear)
    rejected(assert_merges, lambda network: network)
    rejected(assert_merges, _merge_opposite)  # v - w in place of v and w
    rejected(assert_merges, lambda network: convex_relu.merge_collinear(network, angle=7.0))
    rejected(assert_merges, lambda network: convex_relu.merge_collinear(network, negligible=0.5))


def test_merging_keeps_to_its_angle_and_never_raises_the_penalty():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(4, 3))
    weights = directions[:, rng.integers(0, 3, 40)] + 3e-4 * rng.normal(size=(4, 40))
    sign = rng.choice([-1.0, 1.0], 40)
    network = convex_relu.to_network(jnp.asarray(weights), jnp.asarray(sign))
    x, zero = jnp.asarray(rng.normal(size=(20, 4))), np.zeros(20)
    merged = convex_relu.merge_collinear(network, angle=2e-2)
    assert merged.a.size == 6
    assert convex_relu.merge_collinear(network, angle=1e-7).a.size == 40
    np.testing.assert_allclose(network_outputs(merged, x), network_outputs(network, x), atol=0.05)
    penalties = [network_objective(n, x, zero, 1.0) - network_objective(n, x, zero, 0.0) for n in (merged, network)]
    assert penalties[0] <= penalties[1] * (1 + 1e-12)


def test_merging_a_zero_network_keeps_one_neuron():
    merged = convex_relu.merge_collinear(two_layer.Params(jnp.zeros((3, 4)), jnp.zeros(4)))
    assert merged.w.shape == (3, 1)
    assert not np.any(merged.w)
    assert not np.any(merged.a)


# --------------------------------------------------------------------------------------------------------- patterns


def assert_inside(gates, x, margin=1e-7):
    """Unit gates off every hyperplane, as far as the narrowest cones of these problems are wide."""
    x, gates = np.asarray(x), np.asarray(gates)
    size = np.linalg.norm(x, axis=1)
    heights = np.abs(x @ gates)[size > 0] / size[size > 0, None]
    np.testing.assert_allclose(np.linalg.norm(gates, axis=0), 1, rtol=1e-12)
    assert heights.min(initial=1) > margin


def assert_all_patterns(patterns, expected):
    assert len(_columns(patterns)) == patterns.shape[1]
    assert not _columns(patterns) ^ expected  # bare sets would be compared line by line in the message of a failure


@pytest.mark.parametrize("shape", [*FACTS, (9, 4), (7, 5), (5, 5), (12, 3), (9, 2)], ids=str)
def test_all_gates_of_generic_data(shape):
    x = formula_data(*shape)[0] if shape in FACTS else jnp.asarray(np.random.default_rng(0).normal(size=shape))
    gates = convex_relu.all_gates(x)
    assert gates.shape[1] == pattern_count(*shape)
    if shape in FACTS:
        assert gates.shape[1] == FACTS[shape].num_patterns
    assert_inside(gates, x)
    patterns, expected = convex_relu.patterns(gates, x), _columns(enumerate_patterns(x))
    assert_all_patterns(patterns, expected)
    rejected(assert_all_patterns, patterns[:, 1:], expected)
    rejected(assert_all_patterns, jnp.concatenate([patterns, patterns[:, :1]], axis=1), expected)
    rejected(assert_all_patterns, 1 - patterns[:, ::2], expected)


def test_all_gates_beyond_enumeration_by_subsets():
    for n, d in ((4, 7), (40, 3), (14, 6), (1, 3), (200, 2)):
        x = jnp.asarray(np.random.default_rng(n).normal(size=(n, d)))
        gates = convex_relu.all_gates(x)
        assert gates.shape[1] == pattern_count(n, min(n, d)) == len(_columns(convex_relu.patterns(gates, x)))
        assert_inside(gates, x)


def degenerate_data():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(6, 3))
    yield "duplicate rows", x[[0, 1, 2, 0, 3, 1]]
    yield "collinear rows", np.stack([x[0], -2 * x[0], x[1], 1e-3 * x[1], -x[1], x[2]])
    yield "zero rows", x * np.array([1, 0, 1, 1, 0, 1.0])[:, None]
    yield "rank 2", x[:, :2] @ rng.normal(size=(2, 3))
    yield "rank 1", np.outer(rng.normal(size=6), x[0])
    yield "rank 2 of many columns", x[:, :2] @ rng.normal(size=(2, 8))
    yield "three planes through one line", np.stack([x[0], x[1], x[0] + x[1], x[0] - x[1], x[2], x[3]])
    yield "integers", np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 1, 1], [1, -1, 0], [1, 1, 1.0]])
    yield "coordinate planes twice", np.concatenate([np.eye(3), -np.eye(3)])
    yield "a column of ones", np.concatenate([x[:, :2], np.ones((6, 1))], axis=1)
    yield "a column of zeros", x * np.array([1, 0, 1.0])
    yield "scales", x * 10.0 ** np.array([-8, 6, 0, -3, 3, -6])[:, None]
    yield "all zero", 0 * x
    yield "one row", x[:1]
    yield "one zero row", 0 * x[:1]
    yield "one column", x[:, :1] * np.array([1, 1, 0, -1, 1, 1.0])[:, None]
    yield "one number", x[:1, :1]


def feasible_patterns(x):
    """Every sign vector for which signs * (x u) >= 1 has a solution, by linear programming; zero rows are active."""
    size = np.linalg.norm(x, axis=1)
    rows = x[size > 0] / size[size > 0, None]
    found = set()
    for signs in itertools.product((-1, 1), repeat=len(rows)):
        held = -np.array(signs)[:, None] * rows
        free = optimize.linprog(np.zeros(x.shape[1]), held, -np.ones(len(rows)), bounds=(None, None)) if len(rows) else None
        if free is None or free.status == 0:
            pattern = np.ones(len(x), int)
            pattern[size > 0] = np.array(signs) > 0
            found.add(tuple(pattern.tolist()))
    return found


@pytest.mark.parametrize("case", list(degenerate_data()), ids=lambda case: case[0])
def test_all_gates_of_degenerate_data(case):
    x = case[1]
    gates = convex_relu.all_gates(jnp.asarray(x))
    patterns = convex_relu.patterns(gates, jnp.asarray(x))
    assert_all_patterns(patterns, feasible_patterns(x))
    if np.any(x):
        assert_inside(gates, x)
    else:
        np.testing.assert_array_equal(gates, np.zeros((x.shape[1], 1)))
    rank = np.linalg.matrix_rank(x / np.where(np.linalg.norm(x, axis=1) > 0, np.linalg.norm(x, axis=1), 1)[:, None])
    assert gates.shape[1] <= pattern_count(len(x), max(int(rank), 1))
    # directions drawn at random, of which none lies on a plane, have no other patterns
    drawn = np.random.default_rng(0).normal(size=(x.shape[1], 20_000))
    assert {tuple(column) for column in (x @ drawn >= 0).astype(int).T} <= _columns(patterns)


@pytest.mark.slow
def test_all_gates_of_a_grid():
    """Integer rows in four dimensions, where many planes share lines: 5 * 10^5 directions find no other cell."""
    x = np.unique(np.random.default_rng(1).integers(-1, 2, size=(9, 4)), axis=0).astype(float)
    patterns = convex_relu.patterns(convex_relu.all_gates(jnp.asarray(x)), jnp.asarray(x))
    drawn = np.random.default_rng(0).normal(size=(4, 500_000))
    assert_all_patterns(patterns, {tuple(column) for column in np.unique((x @ drawn >= 0).astype(int), axis=1).T})


def test_all_gates_in_single_precision():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(12, 3)), jnp.float32)
    gates = convex_relu.all_gates(x)
    assert gates.dtype == x.dtype
    assert len(_columns(convex_relu.patterns(gates, x))) == pattern_count(12, 3)


def test_all_gates_refuses_too_many_patterns_and_bad_numbers():
    x = formula_data(8, 3)[0]
    assert convex_relu.all_gates(x, max_patterns=58).shape[1] == 58
    with pytest.raises(ValueError, match=r"max_patterns = 57.*sampled_gates"):
        convex_relu.all_gates(x, max_patterns=57)
    with pytest.raises(ValueError, match="finite"):
        convex_relu.all_gates(x.at[3, 1].set(jnp.nan))


def test_sampled_gates_are_distinct_patterns_in_the_order_drawn():
    x = formula_data(10, 3)[0]
    gates = convex_relu.sampled_gates(jax.random.key(0), x, 300)
    patterns = convex_relu.patterns(gates, x)
    assert len(_columns(patterns)) == gates.shape[1]
    assert _columns(patterns) <= _columns(enumerate_patterns(x))
    assert 40 < gates.shape[1] < 92
    drawn = jax.random.normal(jax.random.key(0), (3, 300))
    assert _columns(convex_relu.patterns(drawn, x)) == _columns(patterns)
    fewer = convex_relu.sampled_gates(jax.random.key(0), x, 1)
    assert fewer.shape == (3, 1)
    np.testing.assert_array_equal(gates, convex_relu.sampled_gates(jax.random.key(0), x, 300))


def test_distinct_tells_columns_apart_beyond_eight_rows():
    active = np.zeros((19, 5))
    active[18, 1] = active[18, 3] = active[0, 4] = 1
    np.testing.assert_array_equal(convex_relu.distinct(active), [0, 1, 4])
