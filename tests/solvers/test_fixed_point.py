"""Solvers of fixed points: recorded values, scipy's iterates, counts of calls, and everything that does not converge."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from scipy import optimize

from closedform.solvers import fixed_point
from zoo import equilibria as zoo
from zoo.checks import rejected

SOLVERS = ("picard", "anderson", "broyden", "newton", "continuous")


MAX_STEPS = 300


@functools.cache
def solver(name):
    """Compiled once for all maps that are mixtures, with args, start and tolerance as arguments."""
    solve = getattr(fixed_point, name)
    return jax.jit(lambda start, args, atol: solve(zoo.mixed, start, args, atol=atol, max_steps=MAX_STEPS))


def solved(name, start=None, atol=1e-10, **mixture):
    return solver(name)(zoo.start() if start is None else start, zoo.mixture(**(mixture or {"curved": 1.0})), atol)


# ---------------------------------------------------------------------------------------------------------- where they arrive


def assert_answer(solution):
    """The recorded fixed point of tanh(W z + c), with a residual that is the one of the returned state."""
    np.testing.assert_allclose(solution.state, zoo.TANH, atol=1e-8)
    residual = np.abs(np.tanh(zoo.WEIGHT @ np.asarray(solution.state) + zoo.OFFSET) - np.asarray(solution.state)).max()
    np.testing.assert_allclose(solution.residual, residual, atol=1e-15)
    assert solution.converged
    assert residual <= 1e-10


@pytest.mark.parametrize("name", SOLVERS)
def test_all_find_the_recorded_fixed_point(name):
    solution = solved(name)
    assert_answer(solution)
    rejected(assert_answer, solution._replace(residual=solution.residual + 1e-12))
    rejected(assert_answer, solution._replace(state=solution.state + 2e-8))


def test_linear_map():
    """Newton needs one step for a linear map, and one more to see that it has arrived."""
    solution = solved("newton", atol=1e-12, straight=1.0)
    np.testing.assert_allclose(solution.state, zoo.LINEAR, atol=1e-8)
    assert solution.num_steps == 2


def test_picard_takes_as_many_steps_as_recorded():
    """The change of the state falls below 1e-8 at step 31, which is one more than the residual takes."""
    path = np.asarray(fixed_point.iterates(zoo.tanh, zoo.start(), zoo.args(), num_steps=40))
    change = np.abs(np.diff(path, axis=0)).max(axis=1)
    assert 30 <= np.argmax(change < 1e-8) + 1 <= 32
    solution = solved("picard", atol=1e-8)
    assert solution.num_steps == np.argmax(change < 1e-8)
    np.testing.assert_allclose(solution.state, path[int(solution.num_steps)], rtol=1e-12)


# ------------------------------------------------------------------------------------------------------------ step by step


def after(name, num_steps, **settings):
    """The state after so many steps; what is no whole number is an argument of the program."""
    whole = tuple(sorted((key, value) for key, value in settings.items() if isinstance(value, int)))
    others = {key: value for key, value in settings.items() if not isinstance(value, int)}
    return _after(name, num_steps, whole)(zoo.args(), others)


@functools.cache
def _after(name, num_steps, whole):
    solve = functools.partial(getattr(fixed_point, name), atol=0.0, max_steps=num_steps, **dict(whole))
    return jax.jit(lambda args, others: solve(zoo.tanh, zoo.start(), args, **others).state)


def scipy_after(method, num_steps, **settings):
    found = []
    options = {"line_search": None, "maxiter": num_steps, "callback": lambda x, _: found.append(np.array(x)), "f_tol": 1e-300}
    residual = lambda z: np.tanh(zoo.WEIGHT @ z + zoo.OFFSET) - z  # noqa: E731
    with contextlib.suppress(optimize.NoConvergence):
        getattr(optimize, method)(residual, np.zeros(zoo.DIM), **options, **settings)
    return found[num_steps - 1]


def assert_as_scipy(states, expected):
    np.testing.assert_allclose(states, expected, rtol=0, atol=1e-9)


def test_anderson_makes_the_steps_of_scipy():
    """scipy's w0 enters squared, relative to the square of each difference; its alpha is the mixing."""
    expected = scipy_after("anderson", 6, M=3, w0=1e-3, alpha=0.7)
    assert_as_scipy(after("anderson", 6, memory=3, ridge=1e-6, mixing=0.7), expected)
    for mistake in (dict(memory=2), dict(ridge=1e-3), dict(mixing=1.0)):
        rejected(assert_as_scipy, after("anderson", 6, **(dict(memory=3, ridge=1e-6, mixing=0.7) | mistake)), expected)


def test_broyden_makes_the_steps_of_scipy():
    # scipy's estimate of the Jacobian of f(z) - z begins at -1/alpha
    expected = scipy_after("broyden1", 6, alpha=1.0)
    assert_as_scipy(after("broyden", 6), expected)
    rejected(assert_as_scipy, after("broyden", 6), scipy_after("broyden1", 6, alpha=0.9))


@pytest.mark.slow
def test_broyden_begins_anew_when_its_memory_is_full():
    """Three updates, then a step from H = -I plus the fourth alone: as a fresh run from the state before."""
    before, at, anew = (np.asarray(after("broyden", steps, memory=3)) for steps in (3, 4, 5))
    np.testing.assert_allclose(at, after("broyden", 4), atol=1e-12)
    change = lambda z: np.tanh(zoo.WEIGHT @ z + zoo.OFFSET) - z  # noqa: E731
    moved, changed = at - before, change(at) - change(before)
    estimate = -np.eye(zoo.DIM)
    estimate = estimate + np.outer(moved - estimate @ changed, moved @ estimate) / (moved @ estimate @ changed)
    np.testing.assert_allclose(anew, at - estimate @ change(at), atol=1e-12)


@pytest.mark.parametrize("step", [1.0, 0.6])
def test_picard_makes_the_steps_of_optimistix(step):
    plain = optx.FixedPointIteration(rtol=0.0, atol=1e-300, damp=1 - step)
    found = optx.fixed_point(zoo.tanh, plain, zoo.start(), zoo.args(), max_steps=7, throw=False)
    np.testing.assert_allclose(after("picard", 7, step=step), found.value, rtol=1e-13)


# ---------------------------------------------------------------------------------------------------------------- the counts


# Anderson and Broyden are counted by the loop that counts Picard
COUNTED = [pytest.param(name, marks=pytest.mark.slow) if name in ("anderson", "broyden") else name for name in SOLVERS]


@pytest.mark.parametrize("name", COUNTED)
def test_evaluations_are_those_that_are_made(name):
    calls = []

    def one(z):
        calls.append(1)
        return np.ones((), z.dtype)

    def counted(z, args):
        shape = jax.ShapeDtypeStruct((), z.dtype)
        return zoo.tanh(z, args) * jax.pure_callback(one, shape, jax.lax.stop_gradient(z[0]))

    for max_steps in (3, 0):
        calls.clear()
        solution = jax.block_until_ready(
            getattr(fixed_point, name)(counted, zoo.start(), zoo.args(), atol=1e-5, max_steps=max_steps)
        )
        assert solution.num_steps == max_steps
        # a callback is not differentiated: Newton's derivatives, one a coordinate, are not seen by it
        derivatives = zoo.DIM * max_steps if name == "newton" else 0
        assert solution.num_evaluations == len(calls) + derivatives


@pytest.mark.parametrize("name", ["anderson", *(pytest.param(one, marks=pytest.mark.slow) for one in ("picard", "broyden"))])
def test_each_example_of_a_batch_has_its_own_counts(name):
    scales = jnp.array([0.1, 1.0, 2.0])

    def solve(scale):
        weight, offset = zoo.args()
        return getattr(fixed_point, name)(zoo.tanh, zoo.start(), (scale * weight, offset), atol=1e-8)

    together, alone = jax.jit(lambda scales: (jax.vmap(solve)(scales), jax.lax.map(solve, scales)))(scales)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    assert len(set(np.asarray(together.num_steps).tolist())) == 3


def test_precision_follows_the_state():
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (zoo.start(), zoo.args()))
    for name in SOLVERS:
        shapes = jax.eval_shape(lambda start, args, name=name: getattr(fixed_point, name)(zoo.tanh, start, args), *single)
        assert (shapes.state.dtype, shapes.residual.dtype) == (jnp.float32, jnp.float32)


# ------------------------------------------------------------------------------------------------- what does not converge


def never(z, args):
    """A map without a fixed point."""
    return z + 1 + 0 * args


@pytest.mark.parametrize("name", COUNTED)
def test_no_steps_no_answer(name):
    """max_steps = 0 returns the start with its residual, and says that it has converged only if it has."""
    solve = jax.jit(lambda start, args: getattr(fixed_point, name)(zoo.tanh, start, args, atol=1e-8, max_steps=0))
    for start, arrived in ((zoo.start(), False), (jnp.asarray(solved("newton").state), True)):
        solution = solve(start, zoo.args())
        np.testing.assert_array_equal(solution.state, start)
        assert solution.converged == arrived
        assert solution.num_steps == 0
        assert (solution.residual > 0.1) == (not arrived)


@pytest.mark.parametrize("name", SOLVERS)
def test_maps_that_diverge_and_inputs_that_are_no_numbers_are_told(name):
    """f = s z^3 + c."""
    none = np.zeros_like(zoo.WEIGHT)
    fine = solved(name, atol=1e-8, weight=none, straight=1.0)
    assert fine.converged
    np.testing.assert_allclose(fine.state, zoo.OFFSET, atol=1e-7)
    for scale, offset in ((1e3, zoo.OFFSET + 3), (0.0, np.full(zoo.DIM, np.nan)), (np.nan, zoo.OFFSET)):
        solution = solved(name, atol=1e-8, weight=none, offset=offset, straight=1.0, cubic=scale)
        # Newton may well find the fixed point from which Picard runs away
        assert bool(solution.converged) == bool(solution.residual <= 1e-8)
        if name != "newton" or not np.isfinite(scale) or not np.all(np.isfinite(offset)):
            assert not solution.converged
        assert solution.num_steps <= MAX_STEPS


def test_a_fixed_point_that_repels_the_flow_is_found_by_newton_alone():
    """f = 2 z - tanh(z)/2 at 0: the eigenvalue 1.5 is beyond 1, so that the flow departs, and Newton does not mind."""
    near = {"start": zoo.start() + 0.05, "weight": np.eye(zoo.DIM), "offset": np.zeros(zoo.DIM)}
    newton, flow, picard = (
        solved(name, atol=1e-8, curved=-0.5, straight=2.0, **near) for name in ("newton", "continuous", "picard")
    )
    assert newton.converged
    np.testing.assert_allclose(newton.state, 0, atol=1e-7)
    assert not flow.converged
    assert not picard.converged
    assert abs(flow.state[0]) > 1


def test_the_flow_arrives_where_picard_does_not():
    """The eigenvalue -3: its modulus is above 1 and its real part below."""
    flow, picard = (solved(name, atol=1e-8, weight=-3 * np.eye(zoo.DIM), straight=1.0) for name in ("continuous", "picard"))
    assert flow.converged
    np.testing.assert_allclose(flow.state, zoo.OFFSET / 4, atol=1e-8)
    assert not picard.converged


def test_damping_of_a_scalar():
    """alpha = -0.9: 132 Picard steps from 1 to 1e-6, and one of Euler's with h = 1/1.9."""
    f = lambda z, _: -0.9 * z  # noqa: E731
    path = np.abs(np.asarray(fixed_point.iterates(f, jnp.ones(1), num_steps=140)))[:, 0]
    assert np.argmax(path <= 1e-6) == 132
    np.testing.assert_allclose(fixed_point.iterates(f, jnp.ones(1), num_steps=1, step=1 / 1.9)[1], 0, atol=1e-15)
    # u_10 of the paper's toy, alpha = 0.9
    np.testing.assert_allclose(fixed_point.iterates(lambda z, _: 0.9 * z, jnp.ones(1), num_steps=10)[-1], 0.3487, atol=5e-5)


def test_flow_is_the_exponential():
    times = jnp.array([0.0, 0.5, 3.0])
    found = fixed_point.flow(lambda z, _: -0.9 * z, jnp.ones(1), times=times, rtol=1e-9)
    np.testing.assert_allclose(found[:, 0], np.exp(-1.9 * np.asarray(times)), rtol=1e-7)


@pytest.mark.slow
def test_a_flow_that_does_not_arrive_is_no_number():
    times = jnp.array([0.0, 0.5, 3.0])
    short = fixed_point.flow(lambda z, _: -0.9 * z, jnp.ones(1), times=times, rtol=1e-9, max_steps=2)
    assert np.isnan(short[-1]).all()


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("picard", {"step": 0.0}, "step must be above 0, got 0.0"),
        ("picard", {"atol": -1.0}, "atol must be at least 0, got -1.0"),
        ("picard", {"atol": float("nan")}, "atol must be at least 0, got nan"),
        ("picard", {"max_steps": -1}, "max_steps must be at least 0, got -1"),
        ("anderson", {"memory": 0}, "memory must be at least 1, got 0"),
        ("anderson", {"ridge": -1.0}, "ridge must be at least 0, got -1.0"),
        ("anderson", {"mixing": 0.0}, "mixing must be above 0, got 0.0"),
        ("broyden", {"memory": 0}, "memory must be at least 1, got 0"),
        ("newton", {"max_steps": -1}, "max_steps must be at least 0, got -1"),
        ("continuous", {"atol": -1.0}, "atol must be at least 0, got -1.0"),
    ],
)
def test_what_is_refused(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        getattr(fixed_point, name)(zoo.tanh, zoo.start(), zoo.args(), **wrong)


def test_anderson_in_single_precision_where_the_differences_are_multiples_of_one():
    """Of one coordinate all differences are: a ridge below rounding would leave their products indefinite."""
    start = jnp.zeros(1, jnp.float32)
    for atol in (1e-5, 1e-7):
        found = fixed_point.anderson(lambda z, _: jnp.cos(z), start, atol=atol)
        assert found.converged
        np.testing.assert_allclose(found.state, 0.739085133, rtol=1e-5)
