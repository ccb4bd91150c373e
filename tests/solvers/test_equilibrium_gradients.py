"""Gradients through fixed points: recorded values, unrolled steps, finite differences, and what approximations leave out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

from closedform.solvers import equilibrium_gradients as gradients
from closedform.solvers import fixed_point
from zoo import equilibria as zoo
from zoo.checks import rejected


def gradient(adjoint=None, solve=fixed_point.picard, **mixture):
    """Of sum(z), for the weights and the offset; the map is tanh(W z + c) unless told."""
    return program(adjoint, solve)(zoo.mixture(**(mixture or {"curved": 1.0})))[:2]


@functools.cache
def program(adjoint, solve):
    settings = {"atol": 1e-13, "max_steps": 400, "adjoint": adjoint}
    return jax.jit(jax.grad(lambda args: jnp.sum(solve(zoo.mixed, zoo.start(), args, **settings).state)))


exact = functools.cache(gradient)


def jacobian():
    """df/dz at the recorded fixed point, refined."""
    z = np.asarray(fixed_point.newton(zoo.tanh, zoo.start(), zoo.args(), atol=1e-14).state)
    return (1 - z**2)[:, None] * zoo.WEIGHT, 1 - z**2


def by_hand(terms, damping=1.0, transposed=True):
    """tau sum_k ((1 - tau) I + tau J^T)^k g, then through the offset; `terms` None is the limit."""
    inside, slope = jacobian()
    inside = inside.T if transposed else inside
    g = np.ones(zoo.DIM)
    if terms is None:
        return slope * np.linalg.solve(np.eye(zoo.DIM) - inside, g)
    total = np.zeros(zoo.DIM)
    for _ in range(terms):
        total = damping * g + (1 - damping) * total + damping * inside @ total
    return slope * total


def assert_recorded(found):
    np.testing.assert_allclose(found[1], zoo.TANH_GRADIENT, atol=1e-7)
    np.testing.assert_allclose(jnp.linalg.norm(found[0]), zoo.TANH_WEIGHT_GRADIENT, rtol=1e-9)


def test_implicit_gradient_is_the_recorded_one_and_needs_the_transpose():
    assert_recorded(exact())
    np.testing.assert_allclose(exact()[1], by_hand(None), rtol=1e-10)
    rejected(assert_recorded, (exact()[0], by_hand(None, transposed=False)))
    rejected(assert_recorded, gradient(gradients.one_step()))
    linear = gradient(straight=1.0)
    np.testing.assert_allclose(linear[1], zoo.LINEAR_GRADIENT, atol=1e-7)


@pytest.mark.parametrize("name", ["newton", *(pytest.param(one, marks=pytest.mark.slow) for one in ("anderson", "continuous"))])
def test_every_solver_has_the_same_gradient(name):
    def solve(*given, max_steps, atol, adjoint):
        return getattr(fixed_point, name)(*given, atol=1e-11, adjoint=adjoint)

    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-10), gradient(solve=solve), exact())


def test_gmres_is_the_dense_gradient():
    found = gradient(gradients.implicit(1e-10))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-10), found, exact())


@pytest.mark.parametrize("solve", [fixed_point.picard, pytest.param(fixed_point.anderson, marks=pytest.mark.slow)])
def test_the_adjoint_equation_by_the_solvers_of_fixed_points(solve):
    @jax.jit
    def found(args, atol):
        settings = {"atol": 1e-13, "max_steps": 400, "adjoint": gradients.iterated(jax.tree_util.Partial(solve, atol=atol))}
        return jax.grad(lambda args: jnp.sum(fixed_point.picard(zoo.tanh, zoo.start(), args, **settings).state))(args)

    tight, loose = (found(zoo.args(), atol) for atol in (1e-11, 1e-1))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-9), tight, exact())
    assert np.abs(loose[1] - exact()[1]).max() > 1e-4


def test_unrolled_gradient_approaches_the_implicit_one():
    """After 60 steps to 1e-12, after 10 not."""

    def unrolled(args):
        return jnp.sum(fixed_point.iterates(zoo.tanh, zoo.start(), args, num_steps=60)[jnp.array([10, 60])], axis=1)

    few, many = jax.jit(jax.jacrev(unrolled))(zoo.args())[1]
    size = np.linalg.norm(exact()[1])
    assert 1e-3 < np.linalg.norm(few - exact()[1]) / size < 0.1
    assert np.linalg.norm(many - exact()[1]) / size < 1e-12


@pytest.mark.slow
def test_gradient_through_the_checkpoints_of_optimistix():
    np.testing.assert_allclose(gradient(optx.RecursiveCheckpointAdjoint())[1], exact()[1], rtol=1e-10)


# ------------------------------------------------------------------------------------------- where there is no gradient

ADJOINTS = {
    "dense": gradients.implicit(),
    "gmres": gradients.implicit(1e-8),
    "iterated": gradients.iterated(functools.partial(fixed_point.picard, atol=1e-10, max_steps=400)),
}


@pytest.mark.parametrize("name", ["dense", *(pytest.param(one, marks=pytest.mark.slow) for one in ("gmres", "iterated"))])
def test_an_example_without_a_gradient_raises_nothing_and_spares_the_others(name):
    """f = s z + c: sound; singular, as I - J = 0; NaN in the offset; NaN in J. All compiled as one batch."""
    scales, offsets = jnp.array([0.5, 1.0, 0.5, jnp.nan]), jnp.array([1.0, 1.0, jnp.nan, 1.0])

    def loss(args):
        f = lambda z, args: args[0] * z + args[1]  # noqa: E731
        found = fixed_point.picard(f, jnp.zeros(3), args, atol=1e-12, max_steps=60, adjoint=ADJOINTS[name])
        return jnp.sum(found.state), found.converged

    (_, converged), found = jax.jit(jax.vmap(jax.value_and_grad(loss, has_aux=True)))((scales, offsets))
    assert converged.tolist() == [True, False, False, False]
    np.testing.assert_allclose([found[0][0], found[1][0]], [12, 6], rtol=1e-8)  # of 3 c/(1 - s)
    assert np.isnan(found[0][1:]).all()
    assert np.isnan(found[1][jnp.array([1, 3])]).all()


def test_an_adjoint_equation_that_is_not_solved_is_no_number():
    """Two Picard steps do not solve it; the state itself is found."""
    few = gradients.iterated(functools.partial(fixed_point.picard, atol=1e-10, max_steps=2))
    assert np.isnan(gradient(few)[1]).all()


def test_second_derivatives_and_traced_tolerances():
    """z = s z + c: z = c/(1 - s), whose second derivative in s is 2 c/(1 - s)^3."""

    def state(s, atol):
        solve = jax.tree_util.Partial(fixed_point.picard, atol=atol, max_steps=400)
        f = lambda z, s: s * z + 3  # noqa: E731
        return fixed_point.picard(f, jnp.zeros(1), s, atol=1e-14, max_steps=400, adjoint=gradients.iterated(solve))[0][0]

    dense = lambda s: fixed_point.picard(lambda z, s: s * z + 3, jnp.zeros(1), s, atol=1e-14, max_steps=400)[0][0]  # noqa: E731
    first, second, other = jax.jit(
        lambda s, atol: (jax.grad(state)(s, atol), jax.grad(jax.grad(dense))(s), jax.jvp(dense, (s,), (1.0,))[1])
    )(0.5, 1e-12)
    np.testing.assert_allclose([first, second, other], [12, 48, 12], rtol=1e-9)


def test_finite_differences():
    direction = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(0), leaf.shape), zoo.args())

    @jax.jit
    def value(step):
        moved = jax.tree.map(lambda leaf, other: leaf + step * other, zoo.args(), direction)
        return jnp.sum(fixed_point.picard(zoo.tanh, zoo.start(), moved, atol=1e-14, max_steps=400).state)

    slope = (value(1e-5) - value(-1e-5)) / 2e-5
    expected = sum(jnp.vdot(one, other) for one, other in zip(exact(), direction, strict=True))
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


def test_one_step_is_off_by_what_is_recorded():
    found, right = gradient(gradients.one_step())[1], exact()[1]
    np.testing.assert_allclose(np.linalg.norm(found - right) / np.linalg.norm(right), zoo.ONE_STEP_ERROR, rtol=1e-8)
    cosine = found @ right / np.linalg.norm(found) / np.linalg.norm(right)
    np.testing.assert_allclose(cosine, zoo.ONE_STEP_COSINE, rtol=1e-8)
    np.testing.assert_allclose(found, by_hand(1), rtol=1e-9)


@pytest.mark.parametrize(
    ("adjoint", "terms", "damping"),
    [(gradients.neumann(3), 4, 1.0), (gradients.phantom(4, 0.5), 4, 0.5), (gradients.neumann(0), 1, 1.0)],
)
def test_truncations_are_their_sums(adjoint, terms, damping):
    found = gradient(adjoint)[1]
    np.testing.assert_allclose(found, by_hand(terms, damping), rtol=1e-9)
    for other in (by_hand(terms + 1, damping), by_hand(terms, damping, transposed=False)):
        if terms > 1 or other is not None:
            assert terms == 1 or not np.allclose(found, other, rtol=1e-4)


def test_truncation_leaves_the_value_alone():
    """The state is the one that was found, not the one after further steps."""
    settings = {"atol": 1e-2, "max_steps": 50}
    plain = fixed_point.picard(zoo.tanh, zoo.start(), zoo.args(), **settings)
    other = fixed_point.picard(zoo.tanh, zoo.start(), zoo.args(), adjoint=gradients.neumann(3), **settings)
    np.testing.assert_array_equal(plain.state, other.state)
    assert plain.num_steps == other.num_steps


def test_the_start_and_the_counts_have_no_gradient():
    def loss(start):
        solution = fixed_point.anderson(zoo.tanh, start, zoo.args(), atol=1e-10)
        return jnp.sum(solution.state) + solution.residual

    np.testing.assert_array_equal(jax.grad(loss)(zoo.start() + 0.1), 0)


def test_what_a_map_holds_is_differentiated_too():
    """f closes over the offset: no tracer leaks, and the gradient is the same."""
    weight, offset = zoo.args()

    def loss(offset, solve):
        f = lambda z, args: jnp.tanh(args @ z + offset)  # noqa: E731
        return jnp.sum(solve(f, zoo.start(), weight, atol=1e-13, max_steps=400).state)

    found = jax.jit(jax.grad(functools.partial(loss, solve=fixed_point.picard)))(offset)
    np.testing.assert_allclose(found, exact()[1], rtol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gradients.implicit(0.0), "rtol must be above 0, got 0.0"),
        (lambda: gradients.implicit(1e-3, restart=0), "restart must be at least 1, got 0"),
        (lambda: gradients.phantom(0), "num_steps must be at least 1, got 0"),
        (lambda: gradients.phantom(2, 0.0), "damping must be above 0 and at most 1, got 0.0"),
        (lambda: gradients.neumann(-1), "order must be at least 0, got -1"),
        (lambda: gradient(optx.RecursiveCheckpointAdjoint(), fixed_point.continuous), "the steps are not kept"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
