"""Projections onto cones against scipy and the conditions on their multipliers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.theory.convex.cone_projection import cone_projection, no_face, project
from zoo.calls import Call
from zoo.formula_data import formula_data, scipy_projection

projections = jax.jit(jax.vmap(cone_projection))


def assert_projects(project_fn, q, rows, rtol=1e-10):
    """Against scipy, and the conditions of Karush, Kuhn and Tucker on the multipliers."""
    result = project_fn(jnp.asarray(q), jnp.asarray(rows))
    lengths = np.linalg.norm(rows, axis=-1)
    for i in range(len(q)):
        point, multipliers, size = np.asarray(result.point[i]), np.asarray(result.multipliers[i]), np.linalg.norm(q[i])
        assert np.abs(point - scipy_projection(q[i], rows[i])).max() <= rtol * size
        heights = rows[i] @ point / np.where(lengths[i] > 0, lengths[i], 1)
        assert heights.min() >= -rtol * size
        assert multipliers.min() >= -rtol * size
        assert np.abs(q[i] + multipliers @ rows[i] - point).max() <= rtol * size
        assert np.abs(multipliers * lengths[i] * heights).max() <= rtol * size**2


def random_cones(n, d, number, seed=0):
    """Cones of random patterns, and the X' D nu that the dual norm projects."""
    rng = np.random.default_rng(seed)
    x, nu = rng.normal(size=(n, d)), rng.normal(size=n)
    active = rng.normal(size=(number, d)) @ x.T >= 0
    return (active * nu) @ x, np.where(active[:, :, None], x, -x)


@pytest.mark.parametrize("shape", [(6, 2), (12, 3), (500, 10), (250, 60)], ids=str)
def test_projections_are_those_of_scipy(shape):
    assert_projects(projections, *random_cones(*shape, number=12))


def degenerate_cones():
    rng = np.random.default_rng(3)
    q, rows = random_cones(20, 4, number=30, seed=3)
    q = rng.normal(size=q.shape)
    repeat = lambda *parts: np.concatenate([*parts, np.zeros((30, 80 - 20 * len(parts), 4))], axis=1)  # noqa: E731
    yield "zero rows", q, repeat(rows)
    yield "duplicates", q, repeat(rows, rows)
    yield "collinear rows of other lengths", q, repeat(rows, 3 * rows, 1e-3 * rows)
    yield "nearly duplicates", q, repeat(rows, rows + 1e-5 * rng.normal(size=rows.shape))
    yield "a hyperplane", q, repeat(rows, np.where(np.arange(20)[:, None] == 7, -rows, 0))
    yield "only 0", q, repeat(rows, -rows)
    yield "a random intersection", q, repeat(rng.normal(size=rows.shape))
    yield "rows of rank 2", q, repeat(rows @ rng.normal(size=(4, 2)) @ rng.normal(size=(2, 4)))
    yield "integers", rng.integers(-2, 3, q.shape) + 0.5, repeat(rng.integers(-1, 2, rows.shape).astype(float))
    yield "the whole space", q, repeat(0 * rows)


@pytest.mark.parametrize("case", list(degenerate_cones()), ids=lambda case: case[0])
def test_projections_onto_degenerate_cones(case):
    assert_projects(projections, *case[1:])


def test_projection_of_points_inside_and_in_the_polar_cone():
    q, rows = random_cones(20, 4, number=30)
    zeros = np.zeros((30, 60, 4))
    rows = np.concatenate([rows, zeros], axis=1)
    polar = -np.einsum("cn,cnd->cd", np.random.default_rng(0).uniform(size=rows.shape[:2]), rows)
    np.testing.assert_allclose(projections(polar, rows).point, 0, atol=1e-12 * np.abs(polar).max())
    inside = projections(projections(q, rows).point, rows)
    np.testing.assert_allclose(inside.point, projections(q, rows).point, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(projections(jnp.zeros_like(q), rows).point, 0)


@pytest.mark.slow
def test_signs_and_a_start_change_the_way_but_not_the_result():
    q, rows = random_cones(40, 5, number=16)
    x, signs = rows[0], np.sign((rows * rows[:1]).sum(axis=2))
    project = jax.jit(jax.vmap(cone_projection, (0, None, 0, 0)))
    plain = projections(q, rows)
    for face in (jnp.full((16, 5), 40), plain.face, projections(q + 0.1, rows).face):
        result = project(q, x, signs, face)
        np.testing.assert_allclose(result.point, plain.point, atol=1e-12 * np.abs(q).max())
        np.testing.assert_allclose(np.einsum("cn,cn,nd->cd", result.multipliers, signs, x), plain.point - q, atol=1e-11)
    signs[:, 20:] = 0  # no constraints
    np.testing.assert_allclose(project(q, x, signs, plain.face * 0 + 40).point, projections(q, rows[:, :20]).point, atol=1e-11)


@pytest.mark.slow
def test_projection_derivatives():
    q, rows = random_cones(12, 3, number=6)
    both = jax.jit(jax.jacrev(lambda q, rows: projections(q, rows)[:2], argnums=(0, 1)))
    step = np.random.default_rng(1).normal(size=(2, *q.shape)), np.random.default_rng(2).normal(size=rows.shape)
    jacobians = both(q, rows)
    h = 1e-6
    above, below = (projections(q + s * h * step[0][0], rows + s * h * step[1]) for s in (1, -1))
    for field in range(2):
        by_q, by_rows = jacobians[field]
        slope = np.einsum("abcd,cd->ab", by_q, step[0][0]) + np.einsum("abcde,cde->ab", by_rows, step[1])
        np.testing.assert_allclose(slope, (above[field] - below[field]) / (2 * h), rtol=1e-5, atol=1e-6)


def test_projection_at_a_tip_and_without_rows():
    """A point of the polar cone projects to 0 exactly, with derivative 0; no rows leave the whole space."""
    q, rows = jnp.array([-1.0, -2.0]), jnp.eye(2)
    result = cone_projection(q, rows)
    np.testing.assert_array_equal(result.point, 0)
    np.testing.assert_allclose(result.multipliers, [1, 2], rtol=1e-15)
    np.testing.assert_array_equal(jax.jit(jax.jacobian(lambda q: cone_projection(q, rows).point))(q), 0)
    np.testing.assert_array_equal(cone_projection(q, jnp.zeros((0, 2))).point, q)


@pytest.mark.slow
def test_dtype_follows_the_input():
    q, rows = jnp.ones(2, jnp.float32), jnp.ones((6, 2), jnp.float32)
    assert {leaf.dtype for leaf in jax.eval_shape(cone_projection, q, rows)[:2]} == {q.dtype}


@pytest.mark.slow
def test_lists_and_whole_numbers():
    point = cone_projection([1, -2], [[0, 1], [1, 1]], [1, 1], np.array([2, 2]))
    np.testing.assert_allclose(point.point, [1, 0], atol=1e-15)


X, _ = formula_data(6, 2)


def projected(q, rows):
    return cone_projection(q, rows)[:2]


def projected_by_signs(q, rows, signs):
    return cone_projection(q, rows, signs)[:2]


CALLS = [
    Call(
        projected,
        {"q": np.array([1.0, -2.0]), "rows": X[:3]},
        of=cone_projection,
        scaling={"q": 1},
        degree=1,
        cases=[{"q": np.zeros(2)}, {"rows": 0 * X[:3]}],
        kinks=("case 0",),
    ),
    Call(
        projected_by_signs,
        {"q": np.array([1.0, -2.0]), "rows": X[:3], "signs": jnp.array([1, 0, -1])},
        of=cone_projection,
        label="signs",
        differentiable=False,
    ),
]
NOT_NUMERIC = dict.fromkeys((no_face, project), "a step of cone_projection and dual_direction")
