"""Best features against brute force and numpy, their flow against small steps, and sampling constants against draws."""

import functools

import jax
import numpy as np
import pytest

from closedform.theory.linear_networks import successor
from zoo.calls import Call
from zoo.checks import rejected

RNG = np.random.default_rng(0)


def reset_chain(n=12):
    """To the right, or with probability 0.05 back to the start; the last state stays."""
    P = np.eye(n, k=1) * 0.95
    P[-1, -1] = 0.95
    P[:, 0] += 0.05
    return P


def reflecting_walk(n=12):
    P = (np.eye(n, k=1) + np.eye(n, k=-1)) / 2
    P[0, 0] = P[-1, -1] = 0.5
    return P


def inverse(P, discount=0.9):
    return np.linalg.inv(np.eye(len(P)) - discount * P)


def leading(M, k):
    return np.linalg.eigh(M)[1][:, ::-1][:, :k]


def between(U, V):
    """k - |U^T V|_F^2."""
    return U.shape[1] - np.sum((U.T @ V) ** 2)


# one program each for all tests of one size
optimal_features = jax.jit(successor.optimal_features, static_argnums=2)
singular_values, evaluation_error, subspace_distance, flow = map(
    jax.jit,
    (successor.singular_values, successor.evaluation_error, successor.subspace_distance, successor.monte_carlo_flow),
)
sampling_constant = jax.jit(successor.sampling_constant, static_argnums=2)
descent_distance = jax.jit(successor.descent_distance, static_argnums=4)
PSI = inverse(reset_chain())
WEIGHTS = RNG.uniform(0.2, 3, 12)
GAUSSIAN = successor.Cumulants(0.0, 1.0, 0.0, 0.0)

# ----------------------------------------------------------------------------------------------------------------- tasks


def test_the_successor_matrix_counts_discounted_visits():
    P = reset_chain()
    series = sum(0.9**t * np.linalg.matrix_power(P, t) for t in range(600))
    np.testing.assert_allclose(successor.successor(P, 0.9), series, rtol=1e-12)
    np.testing.assert_array_equal(successor.successor(P, 0.0), np.eye(12))
    np.testing.assert_allclose(np.sum(successor.successor(P, 0.9), axis=1), 10, rtol=1e-12)


def assert_moment(moment_fn):
    """E g g^T over all 2^4 sets, each with its probability."""
    sets = (np.arange(16)[:, None] >> np.arange(4)) & 1
    for p in (0.0, 0.3, 1.0):
        chance = np.prod(np.where(sets, p, 1 - p), axis=1)
        np.testing.assert_allclose(moment_fn(p, 4), np.einsum("t,ts,tr->sr", chance, sets, sets), atol=1e-15)


def test_moment_of_indicators_is_exact():
    assert_moment(successor.indicator_moment)
    rejected(assert_moment, lambda p, n: p * (1 - p) * np.eye(n))  # about their mean
    rejected(assert_moment, lambda p, n: p * np.eye(n) + p**2)
    for p in (0.1, 0.5, 0.9):
        found = successor.indicator_cumulants(p)
        moments = [np.array([1 - p, p]) @ (np.array([0.0, 1.0]) - p) ** r for r in (2, 3, 4)]
        np.testing.assert_allclose(found, [p, moments[0], moments[1], moments[2] - 3 * moments[0] ** 2], atol=1e-15)


# --------------------------------------------------------------------------------------------------------- best features


def assert_best(features_fn):
    """Orthonormal in the weights, and of the least loss: the sum of the other squared singular values, by numpy's SVD."""
    G = successor.indicator_moment(0.3, 12)
    root = np.sqrt(WEIGHTS)[:, None]
    values, vectors = np.linalg.eigh(G)
    s = np.linalg.svd(root * PSI @ (vectors * np.sqrt(values)), compute_uv=False)
    phi = np.asarray(features_fn(PSI, G, 4, WEIGHTS))
    np.testing.assert_allclose(phi.T * WEIGHTS @ phi, np.eye(4), atol=1e-12)
    rest = np.eye(12) - (root * phi) @ (root * phi).T
    np.testing.assert_allclose(np.trace(rest @ (root * PSI) @ G @ (root * PSI).T), np.sum(s[4:] ** 2), rtol=1e-8)
    np.testing.assert_allclose(evaluation_error(phi, PSI, G, WEIGHTS), np.sum(s[4:] ** 2), rtol=1e-8)
    np.testing.assert_allclose(singular_values(PSI, G, WEIGHTS), s, rtol=1e-7)
    np.testing.assert_allclose(
        successor.policy_evaluation_error(s, [0, 4, 12, 99]), [*(np.sum(s[k:] ** 2) for k in (0, 4)), 0, 0]
    )


def test_the_loss_of_the_best_features_is_the_rest_of_the_singular_values():
    assert_best(optimal_features)
    rejected(assert_best, lambda psi, G, k, xi: optimal_features(psi.T, G, k, xi))  # right singular vectors
    rejected(assert_best, lambda psi, G, k, xi: optimal_features(psi, np.eye(12), k, xi))
    rejected(assert_best, lambda psi, G, k, xi: optimal_features(psi, G, k))
    rejected(assert_best, lambda psi, G, k, xi: np.sqrt(xi)[:, None] * optimal_features(psi, G, k, xi))


def test_a_symmetric_walk_has_proto_value_functions_for_every_probability():
    """Subspaces by singular vectors and by eigenvectors of P within 1e-10 of one another, and s = 1/(1 - gamma mu)."""
    P = reflecting_walk()
    mu = np.linalg.eigvalsh(P)[::-1]
    np.testing.assert_allclose(singular_values(inverse(P), np.eye(12)), 1 / (1 - 0.9 * mu), rtol=1e-7)
    for k, p in ((1, 0.3), (4, 0.3), (4, 0.9)):
        found = np.asarray(optimal_features(inverse(P), successor.indicator_moment(p, 12), k))
        assert abs(between(found, leading(P, k))) < 1e-10
        assert subspace_distance(found, leading(P, k)) < 1e-20


def test_a_directed_chain_has_not():
    """The best subspace of indicators is 7e-4 off the plain singular subspace, and both are far from the Laplacian's."""
    G = np.asarray(successor.indicator_moment(0.3, 12))
    exact, plain = (np.asarray(optimal_features(PSI, moment, 4)) for moment in (G, np.eye(12)))
    np.testing.assert_allclose(between(exact, plain), 7.34e-4, rtol=1e-3)
    np.testing.assert_allclose(subspace_distance(exact, plain), between(exact, plain), rtol=1e-10)
    assert between(exact, leading((reset_chain() + reset_chain().T) / 2, 4)) > 0.05


def test_a_constant_reward_has_the_constant_feature_first():
    """As Psi 1 = 1/(1 - gamma): with p = 1 it is the only one that has a value."""
    s = np.asarray(singular_values(PSI, successor.indicator_moment(1.0, 12)))
    np.testing.assert_allclose(s[0], 12**0.5 * 10, rtol=1e-12)
    assert np.all(s[1:] < 1e-5)
    first = np.asarray(optimal_features(PSI, successor.indicator_moment(1.0, 12), 1))
    np.testing.assert_allclose(first, 12**-0.5, rtol=1e-10)


def test_errors_of_other_features():
    """Against least squares on every reward; a basis does not count, nor do repeated features."""
    phi = RNG.standard_normal((12, 3))
    root = np.sqrt(WEIGHTS)[:, None]
    fitted = np.linalg.lstsq(root * phi, root * PSI)
    expected = np.sum((root * PSI - root * phi @ fitted[0]) ** 2)
    for same in (phi, phi @ RNG.standard_normal((3, 3)), np.concatenate([phi, phi[:, :1]], axis=1), 1e9 * phi):
        np.testing.assert_allclose(evaluation_error(same, PSI, np.eye(12), WEIGHTS), expected, rtol=1e-9)
    np.testing.assert_allclose(evaluation_error(np.zeros((12, 1)), PSI, np.eye(12)), np.sum(PSI**2), rtol=1e-12)
    np.testing.assert_allclose(evaluation_error(np.eye(12), PSI, np.eye(12)), 0, atol=1e-20)


# ------------------------------------------------------------------------------------------------------------------ flow

SMALL = inverse(reset_chain(5), 0.6)
XI = np.array([1.0, 2.0, 0.5, 1.5, 0.7])
MOMENT = np.asarray(successor.indicator_moment(0.4, 5))


@functools.cache
def descended():
    """Projections on the way of small steps of -diag(1/xi) dL/dPhi, from features of length 2; numpy."""
    root = np.sqrt(XI)[:, None]
    start = 2 * np.linalg.qr(np.random.default_rng(3).standard_normal((5, 2)))[0] / root
    phi, found = start.copy(), []
    M = root * (SMALL @ MOMENT @ SMALL.T) * root.T
    for step in range(2001):
        if step in (0, 500, 2000):
            basis = np.linalg.qr(root * phi)[0]
            found.append(basis @ basis.T)
        scaled = root * phi
        heads = np.linalg.solve(scaled.T @ scaled, scaled.T)  # of every direction
        phi = phi - 1e-3 * 2 * ((scaled @ heads - np.eye(5)) @ M @ heads.T) / root
    return start, np.array(found)


def assert_flows(flow_fn):
    start, projections = descended()
    phi = np.asarray(flow_fn(np.array([0.0, 0.5, 2.0]), SMALL, MOMENT, start, XI)) * np.sqrt(XI)[:, None]
    np.testing.assert_allclose(phi @ np.swapaxes(phi, 1, 2), projections, atol=1e-3)  # steps of 1e-3
    np.testing.assert_allclose(np.swapaxes(phi, 1, 2) @ phi, np.tile(np.eye(2), (3, 1, 1)), atol=1e-12)


def test_the_flow_is_followed_by_small_steps():
    assert_flows(flow)
    rejected(assert_flows, lambda t, psi, G, phi, xi: flow(t / 2, psi, G, phi, xi))  # a loss with 1/2
    rejected(assert_flows, lambda t, psi, G, phi, xi: flow(t, psi, G, phi / 2, xi))  # features half as long: 4 times the rate
    rejected(assert_flows, lambda t, psi, G, phi, xi: flow(t, psi.T, G, phi, xi))
    rejected(assert_flows, lambda t, psi, G, phi, xi: flow(t, psi, np.eye(5), phi, xi))


def test_ends_of_the_flow():
    start, _ = descended()
    best = optimal_features(SMALL, MOMENT, 2, XI)
    assert subspace_distance(flow(np.inf, SMALL, MOMENT, start, XI), best, XI) < 1e-24
    assert subspace_distance(flow(0.0, SMALL, MOMENT, start, XI), start, XI) < 1e-24
    # late the distance is the sum of squared tangents, each of which decays at 2 (s_i^2 - s_j^2)/c^2 with c^2 = 4; numpy
    root = np.sqrt(XI)[:, None]
    squares, vectors = np.linalg.eigh(root * (SMALL @ MOMENT @ SMALL.T) * root.T)
    parts = vectors[:, ::-1].T @ (root * start)
    tangents, gaps = parts[2:] @ np.linalg.inv(parts[:2]), squares[::-1][None, :2] - squares[::-1][2:, None]
    expected = [np.sum((tangents * np.exp(-2 * gaps * t / 4)) ** 2) for t in (20.0, 30.0)]
    late = subspace_distance(flow(np.array([20.0, 30.0]), SMALL, MOMENT, start, XI), best, XI)
    np.testing.assert_allclose(late, expected, rtol=1e-5)


def test_subspaces():
    U, V = (np.linalg.qr(RNG.standard_normal((6, 2)))[0] for _ in range(2))
    np.testing.assert_allclose(subspace_distance(U, V), between(U, V), rtol=1e-12)
    np.testing.assert_allclose(subspace_distance(U @ [[1.0, 5.0], [0.0, 2.0]], -V), between(U, V), rtol=1e-10)
    np.testing.assert_allclose(subspace_distance(U, U[:, :1]), 1, rtol=1e-12)
    assert subspace_distance(U[:, :1], U) < 1e-28


# ------------------------------------------------------------------------------------------------------------- sampling


@functools.cache
def sampled_distances(law, count=300, draws=3000):
    """Mean over draws of the distance of the two best features of `count` tasks; numpy."""
    rng = np.random.default_rng(5)
    found = []
    best = leading(SMALL @ moment_of(law) @ SMALL.T, 2)
    for _ in range(draws):
        g = rng.standard_normal((count, 5)) if law == "gaussian" else (rng.random((count, 5)) < law).astype(float)
        found.append(between(leading(SMALL @ (g.T @ g / count) @ SMALL.T, 2), best))
    return np.mean(found), np.std(found) / draws**0.5


def moment_of(law):
    return np.eye(5) if law == "gaussian" else np.asarray(successor.indicator_moment(law, 5))


def cumulants_of(law):
    return GAUSSIAN if law == "gaussian" else successor.indicator_cumulants(law)


def assert_constant(law, constant_fn=sampling_constant, change=lambda cumulants: cumulants):
    mean, error = sampled_distances(law)
    predicted = constant_fn(SMALL, change(cumulants_of(law)), 2) / 300
    assert abs(mean - predicted) < 4 * error + 0.03 * predicted


def test_sampled_tasks():
    """The mean distance over 3000 draws of 300 tasks, within four standard errors and 3 %."""
    for law in ("gaussian", 0.1, 0.5):
        assert_constant(law)
    rejected(assert_constant, 0.1, sampling_constant, lambda c: successor.Cumulants(0.0, c.variance, 0.0, 0.0))
    rejected(assert_constant, 0.5, sampling_constant, lambda c: c._replace(fourth=0.0))
    rejected(assert_constant, 0.1, sampling_constant, lambda c: c._replace(third=0.0))
    rejected(assert_constant, "gaussian", lambda *args: sampling_constant(*args) / 2)


def test_gaussian_constant_depends_on_singular_values_alone():
    s2 = np.linalg.svd(PSI, compute_uv=False) ** 2
    expected = sum(s2[i] * s2[j] / (s2[i] - s2[j]) ** 2 for i in range(4) for j in range(4, 12))
    np.testing.assert_allclose(sampling_constant(PSI, GAUSSIAN, 4), expected, rtol=1e-8)
    # acceptance: 20000 indicators on this chain are 3.4e-4 off the exact subspace, 1.1e-3 with the 7e-4 off the plain one
    found = sampling_constant(PSI, successor.indicator_cumulants(0.3), 4) / 20000
    np.testing.assert_allclose(found, 3.44e-4, rtol=1e-2)
    assert sampling_constant(np.eye(4), GAUSSIAN, 2) == np.inf
    assert sampling_constant(SMALL, GAUSSIAN, 5) == 0


def test_noise_of_descent():
    """Variances of tangents x <- (1 - 2 eta gap) x + 2 eta n, iterated; n has the variance of an entry of the moment."""
    eta, batch = 0.02, 50.0
    s2 = np.linalg.svd(SMALL, compute_uv=False) ** 2
    total = 0.0
    for i in range(2):
        for j in range(2, 5):
            x2 = 0.0
            for _ in range(2000):
                x2 = (1 - 2 * eta * (s2[i] - s2[j])) ** 2 * x2 + 4 * eta**2 * s2[i] * s2[j] / batch
            total += x2
    np.testing.assert_allclose(descent_distance(eta, batch, SMALL, GAUSSIAN, 2), total, rtol=1e-7)
    assert descent_distance(0.0, batch, SMALL, GAUSSIAN, 2) == 0
    assert descent_distance(1 / (s2[0] - s2[4]), batch, SMALL, GAUSSIAN, 1) == np.inf


# ----------------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: successor.successor([[0.5, 0.4], [0.5, 0.5]], 0.9),
            r"transition must have rows that sum to 1, got the sum 0.9\d* in row 0",
        ),
        (lambda: successor.successor([[1.5, -0.5], [0.5, 0.5]], 0.9), "transition must be at least 0 and finite"),
        (lambda: successor.successor(np.eye(2), 1.0), "discount must be at least 0 and below 1, got 1.0"),
        (lambda: successor.successor(np.zeros((0, 0)), 0.5), r"transition must not be empty, got shape \(0, 0\)"),
        (lambda: successor.optimal_features(SMALL, MOMENT, 6), "num_features must be at most the 5 states, got 6"),
        (lambda: successor.optimal_features(SMALL, MOMENT, 0), "num_features must be at least 1, got 0"),
        (
            lambda: successor.optimal_features(SMALL, np.eye(4), 2),
            r"moment must have the shape \(state, state\) with state = 5",
        ),
        (lambda: successor.singular_values(SMALL, -np.eye(5)), "moment must be positive semi-definite"),
        (lambda: successor.singular_values(SMALL, MOMENT, np.zeros(5)), "weights must be above 0 and finite"),
        (lambda: successor.singular_values(SMALL * np.nan, MOMENT), "successor must be finite"),
        (
            lambda: successor.monte_carlo_flow(1.0, SMALL, MOMENT, np.ones((5, 2))),
            "features must be orthogonal and equally long",
        ),
        (lambda: successor.policy_evaluation_error([1.0], [-1]), "num_features must be at least 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

TWO = np.array([[2.0, 0.4], [0.3, 1.0]])
EYE = np.eye(2)


def symmetric(x, rng):
    change = rng.standard_normal(x.shape)
    return (change + change.T) * 0.1


def stochastic(rng):
    return {"transition": rng.dirichlet(np.ones(2), 2), "discount": rng.uniform(0, 0.95)}


def problem(rng):
    return {"successor": np.linalg.inv(np.eye(2) - 0.5 * rng.dirichlet(np.ones(2), 2)), "weights": rng.uniform(0.5, 2, 2)}


def with_moment(rng):
    A = rng.standard_normal((2, 4))
    return problem(rng) | {"moment": A @ A.T / 4}


def with_features(rng):
    found = with_moment(rng)
    turned = np.linalg.qr(rng.standard_normal((2, 2)))[0][:, :1]
    return found | {"features": turned / np.sqrt(found["weights"])[:, None], "time": rng.uniform(0, 2, 2)}


PROBLEM = {"successor": TWO, "moment": np.array([[1.0, 0.2], [0.2, 0.8]]), "weights": np.array([1.0, 0.5])}
HANGS = {"edges": {"successor": []}, "directions": {"moment": symmetric}}
TASKS = {"successor": TWO, "cumulants": successor.Cumulants(0.3, 0.21, 0.084, -0.0546), "weights": np.array([1.0, 0.5])}
CALLS = [
    Call(
        successor.successor,
        {"transition": np.array([[0.9, 0.1], [0.3, 0.7]]), "discount": 0.8},
        edges={"transition": []},
        draw=stochastic,
        single=lambda arguments: bool(np.all(np.asarray(arguments["discount"]) < 0.99)),  # its inverse is near 1/(1 - discount)
    ),
    Call(
        lambda probability: tuple(successor.indicator_cumulants(probability)),
        {"probability": 0.3},
        of=successor.indicator_cumulants,
    ),
    Call(successor.indicator_moment, {"probability": 0.3, "num_states": 3}),
    Call(
        successor.optimal_features,
        {**PROBLEM, "num_features": 1},
        edges={"successor": [], "weights": []},
        draw=with_moment,
        differentiable=False,  # the sign is chosen by the largest entry, which jumps
    ),
    Call(successor.singular_values, PROBLEM, draw=with_moment, scaling={"successor": 1}, degree=1, **HANGS),
    Call(
        successor.policy_evaluation_error,
        {"singular_values": np.array([3.0, 1.0]), "num_features": [0, 1, 2]},
        edges={
            "singular_values": [np.array([0.0, 2.0]), np.array([0.0, 0.0])]
        },  # where two are equal and not 0 the errors have a kink
        scaling={"singular_values": 1},
        degree=2,
    ),
    Call(
        successor.evaluation_error,
        {**PROBLEM, "features": np.array([[1.0], [0.5]])},
        draw=lambda rng: with_moment(rng) | {"features": rng.standard_normal((2, 1))},
        edges={"successor": [], "features": [], "weights": []},
        directions={"moment": symmetric},
    ),
    Call(
        successor.subspace_distance,
        {"features": np.array([[1.0], [0.5]]), "other": np.array([[0.2], [1.0]]), "weights": np.array([1.0, 0.5])},
        edges={"weights": []},
        draw=lambda rng: {"features": rng.standard_normal((2, 1)), "other": rng.standard_normal((2, 1))},
    ),
    Call(
        successor.monte_carlo_flow,
        {**PROBLEM, "time": np.array([0.0, 0.3]), "features": np.array([[0.6], [0.8 * 2**0.5]])},
        edges={"successor": [], "weights": [], "features": []},
        draw=with_features,
        directions={"moment": symmetric},
    ),
    Call(
        successor.sampling_constant,
        {**TASKS, "num_features": 1},
        edges={"successor": [], "weights": [], **{f"cumulants.{part}": [] for part in successor.Cumulants._fields}},
        draw=lambda rng: (
            problem(rng)
            | dict(zip((f"cumulants.{p}" for p in successor.Cumulants._fields), (0.2, 0.16, 0.1, 0.01), strict=True))
        ),
        differentiable=False,  # directions of repeated singular values have no derivative
    ),
    Call(
        successor.descent_distance,
        {**TASKS, "num_features": 1, "learning_rate": 0.01, "batch_size": 10.0},
        edges={"successor": [], "weights": [], **{f"cumulants.{part}": [] for part in successor.Cumulants._fields}},
        draw=lambda rng: problem(rng) | {"learning_rate": 10 ** rng.uniform(-4, -2)},
        differentiable=False,  # as above
    ),
]
NOT_NUMERIC = {successor.require_stochastic: "a check of an argument"}
