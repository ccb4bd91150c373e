"""Best risks against alternating least squares, mode strengths against the flow of all experts, information against a table."""

import jax
import numpy as np
import pytest

from closedform.theory.linear_networks import expert_tables
from zoo.calls import Call
from zoo.checks import rejected

RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((3, 2, 2, 3))  # first second output dim
# one program for each width
table_risk = jax.jit(expert_tables.table_risk, static_argnums=1)
uninformed_gate_risk = jax.jit(expert_tables.uninformed_gate_risk, static_argnums=(1, 2))
P, Q = np.array([0.5, 0.2, 0.3]), np.array([0.6, 0.4])


def alternated(table, width, p, q, shared=0):
    """The risk of experts by alternating least squares, from the best of two starts; those of layer `shared` are all equal."""
    first, second, output, dim = table.shape
    best = np.inf
    for seed in range(2):
        rng = np.random.default_rng(seed)
        A, B = rng.standard_normal((first, width, dim)), rng.standard_normal((second, output, width))
        for _ in range(150):
            if shared == 2:
                B[:] = np.einsum("a,b,abod,ahd->oh", p, q, table, A) @ np.linalg.inv(np.einsum("a,ahd,akd->hk", p, A, A))
            else:
                B = np.einsum("a,abod,ahd->boh", p, table, A) @ np.linalg.inv(np.einsum("a,ahd,akd->hk", p, A, A))
            gram = np.linalg.inv(np.einsum("b,boh,bok->hk", q, B, B))
            if shared == 1:
                A[:] = gram @ np.einsum("a,b,abod,boh->hd", p, q, table, B)
            else:
                A = gram @ np.einsum("b,abod,boh->ahd", q, table, B)
        off = table - np.einsum("boh,ahd->abod", B, A)
        best = min(best, np.einsum("a,b,abod->", p, q, off**2))
    return best


def assert_best_risk(risk_fn):
    for width, p, q in ((2, P, Q), (2, np.full(3, 1 / 3), np.full(2, 1 / 2))):
        np.testing.assert_allclose(risk_fn(TABLE, width, p, q), alternated(TABLE, width, p, q), rtol=1e-7)


def test_the_best_risk_of_any_table():
    assert_best_risk(table_risk)
    right = table_risk
    rejected(assert_best_risk, lambda T, h, p, q: right(T, h))  # equal probabilities
    rejected(assert_best_risk, lambda T, h, p, q: right(T, h, p**2, q**2))  # weights p_a q_b on blocks, not their roots
    rejected(assert_best_risk, lambda T, h, p, q: 6 * right(T, h, p, q))  # without 1/(N_1 N_2)
    rejected(assert_best_risk, lambda T, h, p, q: right(np.swapaxes(T, 2, 3), h, p, q))
    np.testing.assert_allclose(right(TABLE, 1, 7 * P, 3 * Q), right(TABLE, 1, P, Q), rtol=1e-14)


def test_products_have_no_risk_from_their_rank_on():
    """5 experts act as 6 maps: the risk is 0 if and only if the rank of the matrix is at most the width."""
    A, B = RNG.standard_normal((3, 2, 4)), RNG.standard_normal((2, 5, 2))
    table = np.einsum("boh,ahd->abod", B, A)
    assert table_risk(table, 2, P, Q) < 1e-28
    assert table_risk(table, 1, P, Q) > 0.01
    np.testing.assert_allclose(table_risk(table, 0, P, Q), np.einsum("a,b,abod->", P, Q, table**2), rtol=1e-14)
    assert table_risk(table, 10) == 0


def assert_uninformed(risk_fn):
    for width, layer in ((1, 1), (1, 2)):
        np.testing.assert_allclose(risk_fn(TABLE, width, layer, P, Q), alternated(TABLE, width, P, Q, shared=layer), rtol=1e-7)


def test_a_gate_that_does_not_know_its_factor():
    right = uninformed_gate_risk
    assert_uninformed(right)
    rejected(assert_uninformed, lambda T, h, layer, p, q: right(T, h, 3 - layer, p, q))
    rejected(assert_uninformed, lambda T, h, layer, p, q: table_risk(T, h, p, q))
    rejected(assert_uninformed, lambda T, h, layer, p, q: right(T, 9, layer, p, q))  # the scatter without the tail
    assert right(TABLE, 1, 1, P, Q) > table_risk(TABLE, 1, P, Q)
    same = np.repeat(TABLE[:1], 3, axis=0)  # nothing to know
    np.testing.assert_allclose(right(same, 1, 1, P, Q), table_risk(same, 1, P, Q), rtol=1e-12)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"^layer must be at least 1 and at most 2, got 3$"):
        expert_tables.uninformed_gate_risk(TABLE, 1, 3)
    with pytest.raises(ValueError, match=r"^table must not be empty, got shape \(0, 2, 2, 3\)$"):
        expert_tables.table_risk(TABLE[:0], 1)
    with pytest.raises(ValueError, match=r"^second_weights must be above 0"):
        expert_tables.table_risk(TABLE, 1, P, [1.0, 0.0])


# ----------------------------------------------------------------------------------------------------------------- modes


def flowed(times, sigma, start):
    """Mode strengths of three and two experts in the flow on the risk, by steps of Runge and Kutta in numpy."""
    rng = np.random.default_rng(1)
    U, V = (np.linalg.qr(rng.standard_normal((n, len(sigma))))[0] for n in (4, 6))
    M = (U * sigma) @ V.T
    A, B = np.sqrt(start) * V.T, np.sqrt(start) * U  # all experts side by side
    found, now, dt = [], 0.0, 0.01

    def rate(A, B):
        off = 2 / 6 * (M - B @ A)  # two times 1/(N_1 N_2)
        return B.T @ off, off @ A.T

    for time in times:
        while now < time - 1e-9:
            k1 = rate(A, B)
            k2 = rate(A + dt / 2 * k1[0], B + dt / 2 * k1[1])
            A, B, now = A + dt * k2[0], B + dt * k2[1], now + dt
        found.append(np.diag(U.T @ B @ A @ V))
    return np.array(found)


def assert_flow(strength_fn):
    times, sigma = np.array([0.0, 1.0, 3.0, 8.0]), np.array([3.0, 1.0])
    found = strength_fn(times[:, None], sigma[None], 0.05, 3, 2)
    np.testing.assert_allclose(found, flowed(times, sigma, 0.05), rtol=2e-4)


def test_modes_follow_the_flow_of_all_experts():
    right = expert_tables.table_mode_strength
    assert_flow(right)
    rejected(assert_flow, lambda t, sigma, s0, n, m: right(t / 2, sigma, s0, n, m))  # half of the risk as loss
    rejected(assert_flow, lambda t, sigma, s0, n, m: right(t, sigma, s0, 1, 1))  # without 1/(N_1 N_2)
    sigmoid = 3 / (1 + (3 / 0.05 - 1) * np.exp(-4 * 3 * 2.0 / 6))
    np.testing.assert_allclose(right(2.0, 3.0, 0.05, 3, 2), sigmoid, rtol=1e-12)


# ----------------------------------------------------------------------------------------------------------- information


def assert_information(information_fn):
    for p, n in ((0.0, 3), (0.1, 4), (0.5, 2), (0.7, 5), (1.0, 4)):
        joint = np.full((n, n), (1 - p) / (n - 1) / n)
        np.fill_diagonal(joint, p / n)
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = np.nansum(joint * np.log(joint * n * n))
        np.testing.assert_allclose(information_fn(p, n), expected, rtol=1e-12, atol=1e-15)


def test_information_of_a_gate():
    right = expert_tables.gate_information
    assert_information(right)
    rejected(assert_information, lambda p, n: right(p, n) / np.log(2))  # bits
    rejected(assert_information, lambda p, n: right(p, n + 1))
    rejected(assert_information, lambda p, n: np.log(n) + p * np.log(p + 1e-300))  # without the other experts
    assert right(1 / 3, 3) == pytest.approx(0, abs=1e-16)
    with pytest.raises(ValueError, match=r"^num_experts must be at least 2, got 1$"):
        right(1.0, 1)


EQUAL = {"first_weights": np.array([1.0, 2.0]), "second_weights": np.array([0.5, 1.0])}
SMALL = np.array(
    [[[[1.0, 0.5], [0.2, 0.7]], [[0.3, -0.4], [0.6, 0.1]]], [[[-0.5, 0.9], [0.8, 0.3]], [[0.2, 0.4], [-0.7, 1.1]]]]
)
CALLS = [
    Call(expert_tables.table_risk, {"table": SMALL, "width": 1, **EQUAL}, scaling={"table": 1}, degree=2),
    Call(expert_tables.uninformed_gate_risk, {"table": SMALL, "width": 1, "layer": 2, **EQUAL}, scaling={"table": 1}, degree=2),
    Call(
        expert_tables.table_mode_strength,
        {
            "time": np.array([0.0, 3.0]),
            "singular_value": np.array([2.0, 1.0]),
            "initial": np.array([0.1, 0.2]),
            "num_first": 3,
            "num_second": 4,
        },
        scaling={"time": -1, "singular_value": 1, "initial": 1},
        degree=1,
    ),
    Call(
        expert_tables.gate_information,
        {"share": np.array([0.6, 0.2]), "num_experts": 3},
        edges={"share": (0.0, 1.0, 1 / 3)},
        kinks=("share[0]=0.0", "share=0.0", "share[0]=1.0", "share=1.0"),
    ),
]
