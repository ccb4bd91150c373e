"""Invariant subspaces against scipy's ordered Schur form, rates against a Jacobian, the flow against small steps."""

import functools

import jax
import numpy as np
import pytest
from scipy import linalg

from closedform.theory.linear_networks import successor
from closedform.theory.linear_networks import temporal_difference_features as td
from zoo.calls import Call
from zoo.checks import rejected


def reset_chain(n):
    P = np.eye(n, k=1) * 0.95
    P[-1, -1] = 0.95
    P[:, 0] += 0.05
    return P


def lazy_cycle(stays):
    return np.diag(stays) + (1 - stays)[:, None] * np.roll(np.eye(len(stays)), 1, axis=1)


def reflecting_walk(n):
    P = (np.eye(n, k=1) + np.eye(n, k=-1)) / 2
    P[0, 0] = P[-1, -1] = 0.5
    return P


def stationary(P):
    values, vectors = np.linalg.eig(P.T)
    found = np.real(vectors[:, np.argmin(abs(values - 1))])
    return found / found.sum()


RANDOM = np.random.default_rng(4).dirichlet(np.ones(8), 8)
CHAINS = {  # of eight states; three features part no pair
    "lazy cycle": lazy_cycle(np.linspace(0.05, 0.95, 8)),
    "less lazy": lazy_cycle(np.linspace(0.2, 0.8, 8)),
    "reset or reflect": 0.5 * reset_chain(8) + 0.5 * reflecting_walk(8),
    "reflecting": reflecting_walk(8),
    "random": RANDOM,
}
K = 3
# the three largest real parts are 1, 0 and -0.2151, the others belong to the pair -0.2424 +- 0.7259 i
UNSTABLE = np.array([[0, 0.4, 0, 0.1, 0.5], [0, 0, 1, 0, 0], [0, 0, 0.2, 0.8, 0], [0.3, 0.6, 0, 0.1, 0], [0, 0, 0.4, 0.6, 0]])
subspace_distance = jax.jit(successor.subspace_distance)
optimal_features = jax.jit(successor.optimal_features, static_argnums=2)
leading_subspace = jax.jit(td.leading_subspace, static_argnums=1)
rates = jax.jit(td.rates)
flow = jax.jit(td.flow, static_argnums=5)


def scaled(P, weights):
    root = np.sqrt(weights)
    return root[:, None] * P / root


def by_schur(P, k):
    """An orthonormal basis of the invariant subspace of the k largest real parts."""
    real = np.sort(np.linalg.eigvals(P).real)[::-1]
    _, vectors, count = linalg.schur(P, output="real", sort=lambda re, im: re > (real[k - 1] + real[k]) / 2)
    assert count == k
    return vectors[:, :k]


# --------------------------------------------------------------------------------------------------------------- subspace


def assert_leading(subspace_fn):
    for P in CHAINS.values():
        weights = stationary(P)
        phi = np.asarray(subspace_fn(P, K, weights))
        np.testing.assert_allclose(phi.T * weights @ phi, np.eye(K), atol=1e-12)
        expected = by_schur(scaled(P, weights), K) / np.sqrt(weights)[:, None]
        assert subspace_distance(phi, expected, weights) < 1e-18


def test_leading_subspace():
    assert_leading(leading_subspace)
    rejected(assert_leading, lambda P, k, xi: leading_subspace(P.T, k, xi))
    rejected(assert_leading, lambda P, k, xi: leading_subspace(P, k))  # not orthonormal in the weights
    rejected(assert_leading, lambda P, k, xi: optimal_features(np.linalg.inv(np.eye(8) - 0.7 * P), np.diag(1 / xi), k, xi))


def test_a_defective_matrix():
    """Two Jordan blocks: 1 with the constant, 0 with a chain of three."""
    P = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1.0]])
    np.testing.assert_allclose(np.abs(td.leading_subspace(P, 1)), 0.5, rtol=1e-10)
    np.testing.assert_allclose(np.abs(td.leading_subspace(P, 4)), np.eye(4))


def test_both_kinds_of_features_agree_on_reversible_chains_alone():
    """Distance below 1e-10 on a symmetric walk and a shift-invariant cycle; 0.30 where stays depend on the state."""

    def apart(P):
        weights = stationary(P)
        psi = np.linalg.inv(np.eye(8) - 0.7 * P)
        best = optimal_features(psi, np.diag(1 / weights), K, weights)
        return subspace_distance(best, leading_subspace(P, K, weights), weights)

    assert apart(reflecting_walk(8)) < 1e-20
    assert apart(lazy_cycle(np.full(8, 0.3))) < 1e-20
    np.testing.assert_allclose(apart(CHAINS["lazy cycle"]), 0.298, atol=1e-3)


# ------------------------------------------------------------------------------------------------------------------ rates


def velocity(phi, L):
    """The mean semi-gradient of isotropic tasks, task by task."""
    w = np.linalg.solve(phi.T @ L @ phi, phi.T)  # of every unit task, one a column
    return 2 * (np.eye(len(L)) - L @ phi @ w) @ w.T


def jacobian_rates(P, k, discount, weights):
    """Real parts of the eigenvalues of the linearised flow of tangents, by central differences."""
    root_P = scaled(P, weights)
    L = np.eye(len(P)) - discount * root_P
    inside = by_schur(root_P, k)
    outside = linalg.null_space(inside.T)
    columns = []
    for place in range(outside.shape[1] * k):
        X = np.zeros(outside.shape[1] * k)
        X[place] = 1e-5
        X = X.reshape(outside.shape[1], k)
        ahead, behind = (outside.T @ velocity(inside + sign * outside @ X, L) for sign in (1, -1))
        columns.append((ahead - behind).ravel() / 2e-5)
    return np.sort(-np.linalg.eigvals(np.array(columns).T).real)


def assert_rates(rates_fn):
    for name in ("lazy cycle", "random"):
        P, k = CHAINS[name], K
        weights = stationary(P)
        phi = by_schur(scaled(P, weights), k) / np.sqrt(weights)[:, None]
        np.testing.assert_allclose(rates_fn(P, 0.7, phi, weights), jacobian_rates(P, k, 0.7, weights), rtol=1e-5)


def test_rates_are_those_of_the_linearised_flow():
    assert_rates(rates)
    rejected(assert_rates, lambda P, discount, phi, xi: rates(P, discount, phi, xi) / 2)
    rejected(assert_rates, lambda P, discount, phi, xi: rates(P, discount**2, phi, xi))
    rejected(assert_rates, lambda P, discount, phi, xi: rates(P, discount, phi, np.ones(8)))


def test_rates_of_a_reversible_chain():
    """2 gamma (mu_a - mu_b)/(1 - gamma mu_a)^2, for every choice of eigenvectors: stable for the largest eigenvalues alone."""
    P = reflecting_walk(8)
    mu, vectors = np.linalg.eigh(P)
    for inside in ([7, 6, 5], [7, 6, 4], [0, 1, 2]):
        outside = [b for b in range(8) if b not in inside]
        expected = [2 * 0.9 * (mu[a] - mu[b]) / (1 - 0.9 * mu[a]) ** 2 for a in inside for b in outside]
        found = rates(P, 0.9, vectors[:, inside], np.ones(8))
        np.testing.assert_allclose(found, np.sort(expected), rtol=1e-10)
        assert (found[0] > 0) == (inside == [7, 6, 5])


def test_one_feature_is_stable_for_the_largest_real_part_of_any_chain():
    for P in CHAINS.values():
        assert rates(P, 0.9, np.ones((len(P), 1)), stationary(P))[0] > 0


def test_the_largest_real_parts_need_not_be_stable():
    """Five states, on-policy, discount 0.9: the recalled statement fails for three features, by formula and Jacobian."""
    weights = stationary(UNSTABLE)
    phi = leading_subspace(UNSTABLE, 3, weights)
    slowest = float(rates(UNSTABLE, 0.9, phi, weights)[0])
    np.testing.assert_allclose(slowest, 2 * -0.0473, rtol=1e-3)
    np.testing.assert_allclose(slowest, jacobian_rates(UNSTABLE, 3, 0.9, weights)[0], rtol=1e-4)


# ------------------------------------------------------------------------------------------------------------------- flow


@functools.cache
def stepped():
    """Features and projections after small steps of the mean semi-gradient, from a start that is not orthonormal."""
    P, weights = RANDOM, stationary(RANDOM)
    L = np.eye(8) - 0.7 * scaled(P, weights)
    phi = np.random.default_rng(1).standard_normal((8, 2))
    start, found = phi, []
    for step in range(4001):
        if step in (0, 1000, 4000):
            basis = np.linalg.qr(phi)[0]
            found.append(basis @ basis.T)
        phi = phi + 5e-4 * velocity(phi, L)
    return start / np.sqrt(weights)[:, None], np.array(found), weights


def assert_flows(flow_fn):
    start, projections, weights = stepped()
    phi = np.asarray(flow_fn(np.array([0.0, 0.5, 2.0]), RANDOM, 0.7, start, weights, 100)) * np.sqrt(weights)[:, None]
    basis = np.linalg.qr(phi)[0]
    np.testing.assert_allclose(basis @ np.swapaxes(basis, 1, 2), projections, atol=2e-3)  # steps of 5e-4
    gram = np.swapaxes(phi, 1, 2) @ phi
    np.testing.assert_allclose(gram, np.broadcast_to(gram[0], gram.shape), rtol=1e-5, atol=1e-5)


def test_the_flow_is_followed_by_small_steps():
    assert_flows(flow)
    rejected(assert_flows, lambda t, P, discount, phi, xi, n: flow(t / 2, P, discount, phi, xi, n))
    rejected(assert_flows, lambda t, P, discount, phi, xi, n: flow(t, P.T, discount, phi, xi, n))
    rejected(assert_flows, lambda t, P, discount, phi, xi, n: flow(t, P, discount, phi, np.ones(8), n))


@pytest.mark.slow
def test_features_end_at_the_largest_real_parts_of_five_chains():
    for P in CHAINS.values():
        weights = stationary(P)
        start = np.linalg.qr(np.random.default_rng(2).standard_normal((8, K)))[0] / np.sqrt(weights)[:, None]
        end = flow(120.0, P, 0.7, start, weights, 24000)
        best = leading_subspace(P, K, weights)
        assert rates(P, 0.7, best, weights)[0] > 0
        assert subspace_distance(end, best, weights) < 1e-12


@pytest.mark.slow
def test_the_error_of_the_integration_falls_with_the_fourth_power_of_the_step():
    start, _, weights = stepped()
    exact = flow(1.0, RANDOM, 0.7, start, weights, 640)
    coarse, fine = (np.abs(flow(1.0, RANDOM, 0.7, start, weights, n) - exact).max() for n in (20, 40))
    assert 12 < coarse / fine < 20


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: td.leading_subspace(lazy_cycle(np.full(5, 0.3)), 2),
            "num_features must not part eigenvalues of one real part, got 2",
        ),
        (lambda: td.leading_subspace(RANDOM, 9), "num_features must be at most the 8 states, got 9"),
        (lambda: td.leading_subspace(2 * RANDOM, 1), "transition must have rows that sum to 1"),
        (lambda: td.rates(RANDOM, 1.0, np.ones((8, 1))), "discount must be at least 0 and below 1"),
        (lambda: td.rates(RANDOM, 0.5, np.ones((5, 1))), r"features must have the shape \(state, feature\) with state = 8"),
        (lambda: td.flow(np.inf, RANDOM, 0.5, np.ones((8, 1))), "time must be at least 0 and finite"),
        (lambda: td.flow(1.0, RANDOM, 0.5, np.ones((8, 1)), np.zeros(8)), "weights must be above 0 and finite"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

TWO = np.array([[0.9, 0.1], [0.3, 0.7]])


def drawn(rng):
    leave = rng.uniform(0.05, 0.45, 2)
    P = np.array([[1 - leave[0], leave[0]], [leave[1], 1 - leave[1]]])
    return {"transition": P, "weights": np.array([leave[1], leave[0]]) / leave.sum(), "discount": rng.uniform(0, 0.9)}


PROBLEM = {"transition": TWO, "weights": np.array([0.75, 0.25])}
EDGES = {"transition": [], "weights": [], "features": []}
CALLS = [
    Call(
        td.leading_subspace,
        {**PROBLEM, "num_features": 1},
        edges=EDGES,
        draw=lambda rng: {name: value for name, value in drawn(rng).items() if name != "discount"},
        differentiable=False,  # a basis, of which only the span is meant
    ),
    Call(
        td.rates,
        {**PROBLEM, "discount": 0.8, "features": np.array([[1.0], [1.0]])},
        edges={**EDGES, "discount": [0.1]},  # at a discount of 0 nothing moves, but for rounding
        draw=drawn,
        single=lambda arguments: float(np.max(arguments["discount"])) < 0.99,  # rates are near 1/(1 - discount)^2
        differentiable=False,  # real parts in rising order, which has kinks
    ),
    Call(
        td.flow,
        {**PROBLEM, "discount": 0.8, "features": np.array([[0.5], [-1.0]]), "time": np.array([0.0, 0.2]), "num_steps": 20},
        edges={**EDGES, "discount": [0.0]},
        draw=lambda rng: drawn(rng) | {"features": rng.standard_normal((2, 1)), "time": rng.uniform(0, 0.1, 2)},
    ),
]
