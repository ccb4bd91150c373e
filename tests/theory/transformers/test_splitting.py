"""Orders and error constants against steps written out in numpy and, for one step, in mpmath with sixty digits."""

from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import DOP853, RK23, RK45, solve_ivp

from closedform.theory.transformers import splitting
from zoo.calls import Call
from zoo.checks import rejected

COUNTS = np.array([16, 32, 64, 128])


def entries(rows, columns, p, q, s):
    return np.sin(s + p * np.arange(rows)[:, None] + q * np.arange(columns)[None, :])


# problem A of the specification: six tokens, dim 4, eight hidden units, T = 1
WQ, WK, WV = entries(4, 4, 1, 2, 1), entries(4, 4, 2, 1, 0.5), 0.5 * entries(4, 4, 1, 3, 0.2)
W1, B1, W2 = 0.5 * entries(4, 8, 3, 1, 0.7), 0.1 * np.cos(np.arange(8))[None, :], 0.5 * entries(8, 4, 1, 2.5, 0.3)
X0 = entries(6, 4, 1.3, 0.7, 0.1)


def attention(x):
    return jax.nn.softmax((x @ WQ) @ (x @ WK).T / 2, axis=-1) @ (x @ WV)


def mlp(x):
    return jnp.tanh(x @ W1 + B1) @ W2


def F(x):
    weights = np.exp((x @ WQ) @ (x @ WK).T / 2)
    return weights / weights.sum(axis=1, keepdims=True) @ (x @ WV)


def G(x):
    return np.tanh(x @ W1 + B1) @ W2


# --- steps, for numpy arrays and mpmath alike ------------------------------------------------------------------------------


def euler_step(f, x, h):
    return x + h * f(x)


def midpoint_step(f, x, h):
    return x + h * f(x + h / 2 * f(x))


def heun_step(f, x, h):
    k = f(x)
    return x + h / 2 * (k + f(x + h * k))


def rk4_step(f, x, h):
    k1 = f(x)
    k2 = f(x + h / 2 * k1)
    k3 = f(x + h / 2 * k2)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + f(x + h * k3))


def exact_step(f, x, h):
    """Ten steps of fourth order: at h = 1/16 exact to 1e-11."""
    for _ in range(10):
        x = rk4_step(f, x, h / 10)
    return x


def lie(sub, f, g, x, h):
    return sub(g, sub(f, x, h), h)


def strang(sub, f, g, x, h):
    return sub(g, sub(f, sub(g, x, h / 2), h), h / 2)


def on_sum(sub, f, g, x, h):
    return sub(lambda x: f(x) + g(x), x, h)


# the step, its prediction, and from the specification: errors at N = 16, 32, 64, 128, |E(T)|, last observed order
SCHEMES = {
    "parallel Euler": (
        partial(on_sum, euler_step),
        splitting.parallel_euler,
        ([1.155231e-1, 5.938516e-2, 3.008723e-2, 1.514056e-2], 1.950240, 0.991),
    ),
    "sequential": (
        partial(lie, euler_step),
        splitting.sequential,
        ([1.438822e-1, 7.218396e-2, 3.614999e-2, 1.808914e-2], 2.317189, 0.999),
    ),
    "Lie exact": (
        partial(lie, exact_step),
        splitting.lie_trotter,
        ([8.144986e-2, 4.061831e-2, 2.028453e-2, 1.013636e-2], 1.296719, 1.001),
    ),
    "Macaron": (
        partial(strang, euler_step),
        splitting.macaron,
        ([4.852667e-2, 2.456455e-2, 1.236027e-2, 6.199991e-3], 0.796171, 0.995),
    ),
    "Strang exact": (
        partial(strang, exact_step),
        splitting.strang,
        ([1.400032e-3, 3.497888e-4, 8.743352e-5, 2.185752e-5], 0.358109, 2.000),
    ),
    "Strang midpoint": (
        partial(strang, midpoint_step),
        partial(splitting.strang, substep=splitting.MIDPOINT),
        ([1.434171e-3, 3.586600e-4, 8.969128e-5, 2.242683e-5], None, 2.000),
    ),
    "midpoint": (
        partial(on_sum, midpoint_step),
        splitting.midpoint,
        ([4.555145e-3, 1.161549e-3, 2.933064e-4, 7.369673e-5], None, 1.993),
    ),
    "RK4": (
        partial(on_sum, rk4_step),
        splitting.rk4,
        ([2.493934e-6, 1.604282e-7, 1.016912e-8, 6.400146e-10], None, 3.990),
    ),
    "Heun": (partial(on_sum, heun_step), splitting.heun, None),
}


@pytest.fixture(scope="module")
def errors():
    """Error vectors of every scheme at every N: (N, token, dim), against DOP853."""
    found = solve_ivp(lambda _, x: (F(x.reshape(6, 4)) + G(x.reshape(6, 4))).ravel(), (0, 1), X0.ravel(), "DOP853",
                      rtol=1e-13, atol=1e-15)  # fmt: skip
    exact = found.y[:, -1].reshape(6, 4)
    np.testing.assert_allclose(exact[0], [0.00537555, 0.75710105, 1.11352065, 0.4742199], atol=5e-9)
    np.testing.assert_allclose(np.linalg.norm(exact), 4.328259550976, rtol=1e-12)

    def end(step, count):
        x = X0
        for _ in range(count):
            x = step(F, G, x, 1 / count)
        return x - exact

    return {name: np.stack([end(step, count) for count in COUNTS]) for name, (step, *_) in SCHEMES.items()}


@pytest.fixture(scope="module")
def predictions():
    """Every E(1) at once: copies of the state side by side, each with its own defect."""
    with jax.enable_x64(True):
        defects = [defect_fn(attention, mlp).field_fn for _, defect_fn, _ in SCHEMES.values()]
        found = together(defects)
        np.testing.assert_allclose(np.linalg.norm(found.state, axis=(1, 2)), 4.328259550976, rtol=1e-11)
        return dict(zip(SCHEMES, np.asarray(found.error), strict=True))


def together(defect_fns, velocity=(attention, mlp)):
    def stacked(x):
        return jnp.stack([defect_fn(row) for defect_fn, row in zip(defect_fns, x, strict=True)])

    f_fn, g_fn = map(jax.vmap, velocity)
    scheme = splitting.Scheme(1, stacked, splitting.total((1, f_fn), (1, g_fn)))
    return jax.jit(lambda start: splitting.leading_error(scheme, start, 1.0))(np.stack([X0] * len(defect_fns)))


# --- errors and orders -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, case in SCHEMES.items() if case[2]])
def test_errors_and_orders_of_the_specification(errors, name):
    table, _, order = SCHEMES[name][2]
    found = np.linalg.norm(errors[name], axis=(1, 2))
    np.testing.assert_allclose(found, table, rtol=1e-2 if name == "RK4" else 1e-4)
    last = splitting.observed_order(COUNTS, found).last
    np.testing.assert_allclose(last, order, atol=6e-4)  # three digits


def assert_order(found, predicted):
    assert abs(found.last - predicted) < 0.02


@pytest.mark.parametrize("name", list(SCHEMES))
def test_orders_are_the_predicted_ones(errors, name):
    predicted = SCHEMES[name][1](attention, mlp).order
    found = splitting.observed_order(COUNTS, np.linalg.norm(errors[name], axis=(1, 2)))
    assert_order(found, predicted)
    assert abs(found.slope - predicted) < 0.05  # the coarsest steps count here
    rejected(assert_order, found, predicted + 1)
    rejected(assert_order, splitting.observed_order(COUNTS, np.linalg.norm(errors[name], axis=(1, 2)) ** 2), predicted)


def test_macaron_with_euler_sublayers_is_of_first_order(errors):
    """Its symmetric order cancels the bracket, but every sublayer leaves its own Euler error of h^2/2 times DF F or DG G."""
    assert splitting.macaron(attention, mlp).order == 1
    found = splitting.observed_order(COUNTS, np.linalg.norm(errors["Macaron"], axis=(1, 2)))
    assert found.last < 1.1
    assert found.slope < 1.1
    rejected(assert_order, found, 2)
    # order-2 sublayers are what the second order takes
    assert splitting.strang(attention, mlp, splitting.HEUN).order == 2
    # and there is no bracket in it: what is left vanishes with the Euler errors of the sublayers, here for two shears
    x = jnp.array([0.4, -0.9])
    shears = (lambda x: jnp.stack([jnp.sin(x[1]), 0 * x[0]]), lambda x: jnp.stack([0 * x[0], jnp.cos(x[0])]))
    np.testing.assert_allclose(splitting.macaron(*shears).field_fn(x), 0, atol=1e-15)
    assert np.abs(splitting.bracket(*shears)(x)).max() > 0.1


# --- leading constants -----------------------------------------------------------------------------------------------------


def extrapolated(name, error_vectors, order):
    """lim N^p error: from N = 64 and 128, the next power removed (the error of symmetric Strang is even in 1/N)."""
    coarse, fine = error_vectors[2] * 64**order, error_vectors[3] * 128**order
    ratio = 4 if name == "Strang exact" else 2
    return (ratio * fine - coarse) / (ratio - 1)


def assert_constant(predicted, measured, tolerance):
    assert np.linalg.norm(predicted - measured) < tolerance * np.linalg.norm(measured)


@pytest.mark.slow
def test_leading_errors_of_the_specification(predictions):
    norms = {name: np.linalg.norm(predictions[name]) for name, case in SCHEMES.items() if case[2] and case[2][1]}
    expected = {name: SCHEMES[name][2][1] for name in norms}
    assert len(norms) == 5
    np.testing.assert_allclose(list(norms.values()), list(expected.values()), rtol=1e-4)
    np.testing.assert_allclose(list(norms.values()), list(expected.values()), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SCHEMES))
def test_leading_error_vectors(errors, predictions, name):
    order = SCHEMES[name][1](attention, mlp).order
    # what is left after extrapolation is O(1/N^2), of Strang O(1/N^4); of RK4 also rounding, 1e-15 N^4 = 3e-7
    measured = extrapolated(name, errors[name], order)
    assert_constant(predictions[name], measured, 1e-4 if name == "Strang exact" else 1e-3)
    # as a user sees it: at N = 128 the size within 1 %; the vector approaches it with the next power of 1/N
    scaled = errors[name] * COUNTS[:, None, None].astype(float) ** order
    np.testing.assert_allclose(np.linalg.norm(predictions[name]), np.linalg.norm(scaled[-1]), rtol=1e-2)
    gaps = np.linalg.norm(scaled - predictions[name], axis=(1, 2))
    np.testing.assert_allclose(gaps[-1] / gaps[-2], 0.25 if name == "Strang exact" else 0.5, atol=0.02)
    rejected(assert_constant, -predictions[name], measured, 1e-2)
    rejected(assert_constant, 1.02 * predictions[name], measured, 1e-2)


@pytest.mark.slow
def test_wrong_constants_are_rejected(errors, predictions):
    total, along, bracket = splitting.total, splitting.along, splitting.bracket
    s = total((1, attention), (1, mlp))
    inner = bracket(mlp, attention)
    wrong = {
        "sequential": total((1, along(attention, mlp)), (-0.5, along(s, s))),  # the other order
        "Macaron": total((-0.5, along(mlp, mlp)), (-0.5, along(attention, attention))),  # the half steps
        "Strang exact": total((-1 / 12, bracket(mlp, inner)), (-1 / 24, bracket(attention, inner))),  # inner for outer
    }
    found = dict(zip(wrong, np.asarray(together(list(wrong.values())).error), strict=True))
    found["Strang midpoint"] = predictions["Strang exact"]
    found["midpoint"] = predictions["Heun"]
    for name, error in found.items():
        order = SCHEMES[name][1](attention, mlp).order
        measured = extrapolated(name, errors[name], order)
        assert_constant(predictions[name], measured, 1e-3)
        rejected(assert_constant, error, measured, 1e-2)
    # errors that are not carried along the flow: E' = c alone
    times = np.linspace(0, 1, 201)
    path = solve_ivp(lambda _, x: (F(x.reshape(6, 4)) + G(x.reshape(6, 4))).ravel(), (0, 1), X0.ravel(), t_eval=times,
                     rtol=1e-10, atol=1e-12)  # fmt: skip
    c = jax.vmap(splitting.sequential(attention, mlp).field_fn)(path.y.T.reshape(-1, 6, 4))
    rejected(assert_constant, np.trapezoid(c, times, axis=0), predictions["sequential"], 1e-2)


# --- one step --------------------------------------------------------------------------------------------------------------


def smooth_pair(sin, exp):
    """Two fields of the plane in which no derivative vanishes, as lists of numbers of any kind."""
    return (
        lambda x: [sin(x[1]) + x[0] ** 2 / 2, x[0] * x[1] - x[0] / 3],
        lambda x: [x[1] ** 2 - x[0] / 2, exp(-x[0]) * x[1] + x[0] ** 3 / 4],
    )


@pytest.mark.parametrize("name", list(SCHEMES))
def test_defect_is_the_error_of_one_step(name):
    """(step - flow)/h^(p + 1) at h = 1e-7, both with sixty digits."""
    fields = smooth_pair(jnp.sin, jnp.exp)
    order, field_fn, _ = SCHEMES[name][1](*(lambda x, f=f: jnp.stack(f(x)) for f in fields))
    found = field_fn(jnp.array([0.6, -0.8]))
    with mpmath.workdps(60):
        f, g = (lambda x, f=f: np.array(f(list(x)), object) for f in smooth_pair(mpmath.sin, mpmath.exp))
        h, x = mpmath.mpf("1e-7"), np.array([mpmath.mpf("0.6"), mpmath.mpf("-0.8")], object)

        def flow(f, x, h):
            for _ in range(30):  # leaves h^5/30^4
                x = rk4_step(f, x, h / 30)
            return x

        steps = {"Lie exact": partial(lie, flow), "Strang exact": partial(strang, flow)}
        step = steps.get(name, SCHEMES[name][0])
        gap = (step(f, g, x, h) - on_sum(flow, f, g, x, h)) / h ** (order + 1)
        expected = np.array(gap, float)
    assert_constant(found, expected, 1e-5)
    rejected(assert_constant, found[::-1], expected, 1e-2)


def test_defects_as_the_specification_writes_them():
    """By whole Jacobians, for the schemes whose constant is given in full."""
    f, g = (lambda x, f=f: jnp.stack(f(x)) for f in smooth_pair(jnp.sin, jnp.exp))
    x = jnp.array([0.6, -0.8])
    DF, DG, Fx, Gx = (np.asarray(a) for a in (jax.jacrev(f)(x), jax.jacrev(g)(x), f(x), g(x)))
    euler = (DF + DG) @ (Fx + Gx) / 2
    expected = {
        splitting.parallel_euler: -euler,
        splitting.sequential: DG @ Fx - euler,
        splitting.lie_trotter: (DG @ Fx - DF @ Gx) / 2,
        splitting.macaron: -DG @ Gx / 4 - DF @ Fx / 2,
    }
    for scheme, value in expected.items():
        np.testing.assert_allclose(scheme(f, g).field_fn(x), value, rtol=1e-12)
    parallel, standard = (scheme(f, g).field_fn(x) for scheme in (splitting.parallel_euler, splitting.sequential))
    np.testing.assert_allclose(parallel - standard, -DG @ Fx, rtol=1e-12)
    # the other order exchanges the arguments; order-2 substeps leave Lie-Trotter its bracket alone
    np.testing.assert_allclose(splitting.lie_trotter(g, f).field_fn(x), (DF @ Gx - DG @ Fx) / 2, rtol=1e-12)
    np.testing.assert_allclose(splitting.lie_trotter(f, g, splitting.HEUN).field_fn(x), (DG @ Fx - DF @ Gx) / 2, rtol=1e-12)
    # substeps of order 4 count as exact ones
    np.testing.assert_array_equal(splitting.strang(f, g, splitting.RK4).field_fn(x), splitting.strang(f, g).field_fn(x))


def test_fields_that_commute_split_without_error():
    rng = np.random.default_rng(0)
    basis = rng.standard_normal((4, 4))
    A, B = (basis @ np.diag(rng.standard_normal(4)) @ np.linalg.inv(basis) for _ in range(2))
    f, g, x = (lambda x: A @ x), (lambda x: B @ x), rng.standard_normal(4)
    for scheme in (splitting.lie_trotter, splitting.strang):
        np.testing.assert_allclose(scheme(f, g).field_fn(x), 0, atol=1e-12)
    assert np.linalg.norm(splitting.sequential(f, g).field_fn(x)) > 0.1


def test_bracket():
    rng = np.random.default_rng(1)
    A, B, C = rng.standard_normal((3, 4, 4))
    x = rng.standard_normal(4)
    linear = [lambda x, M=M: M @ x for M in (A, B, C)]
    np.testing.assert_allclose(splitting.bracket(*linear[:2])(x), (B @ A - A @ B) @ x, rtol=1e-12)
    # Jacobi's identity, for fields that are not linear
    a, b, c = (lambda x, M=M: jnp.tanh(M @ x) + x**2 for M in (A, B, C))
    cycle = [splitting.bracket(p, splitting.bracket(q, r))(x) for p, q, r in ((a, b, c), (b, c, a), (c, a, b))]
    np.testing.assert_allclose(sum(cycle), 0, atol=1e-12)
    assert np.linalg.norm(cycle[0]) > 1
    np.testing.assert_allclose(splitting.bracket(a, b)(x), -splitting.bracket(b, a)(x), rtol=1e-12)
    # finite differences
    step = 1e-6
    both = [(q(x + step * p(x)) - q(x - step * p(x))) / (2 * step) for p, q in ((a, b), (b, a))]
    np.testing.assert_allclose(splitting.bracket(a, b)(x), both[0] - both[1], rtol=1e-8)


# --- Runge-Kutta -----------------------------------------------------------------------------------------------------------


def tableau_of(solver):
    matrix = np.zeros((len(solver.B),) * 2)
    matrix[:, : solver.A.shape[1]] = solver.A[: len(solver.B), : len(solver.B)]
    return splitting.Tableau(tuple(map(tuple, matrix.tolist())), tuple(solver.B.tolist()))


def test_orders_of_known_tableaux():
    names = ("EULER", "MIDPOINT", "HEUN", "RK4")
    orders = [splitting.runge_kutta(jnp.sin, getattr(splitting, name)).order for name in names]
    assert orders == [1, 2, 2, 4]
    assert [splitting.runge_kutta(jnp.sin, tableau_of(solver)).order for solver in (RK23, RK45, DOP853)] == [3, 5, 8]


def test_runge_kutta_on_a_linear_field():
    """exp(z) against its Taylor polynomial: the error of RK4 is -z^5/120, of Dopri5 (1/600 - 1/720) z^6."""
    for tableau, constant in ((splitting.RK4, -1 / 120), (tableau_of(RK45), 1 / 600 - 1 / 720)):
        order, field_fn, _ = splitting.runge_kutta(lambda x: 1.5 * x, tableau)
        np.testing.assert_allclose(field_fn(jnp.array(2.0)), 2 * constant * 1.5 ** (order + 1), rtol=1e-10)


# --- the error at the end --------------------------------------------------------------------------------------------------


A = np.array([[-0.3, 1.0, 0.0], [-1.2, 0.1, 0.4], [0.2, 0.0, -0.5]])
leading_error = jax.jit(splitting.leading_error, static_argnums=0)


def rotate(x):
    return A @ x


def rest(x):
    return 0 * x


EULER_OF_ROTATE = splitting.parallel_euler(rotate, rest)


def test_leading_error_of_a_linear_field():
    """(1 + h A)^(T/h) = exp(A T) (1 - h T A^2/2 + ...), at any times, backwards too."""
    times, x = np.array([[0.0, 2.0], [-0.7, 1.0]]), np.array([1.0, -0.5, 2.0])
    found = leading_error(EULER_OF_ROTATE, x, times)
    values, vectors = np.linalg.eig(A)
    states = np.einsum("ij,abj,j->abi", vectors, np.exp(times[..., None] * values), np.linalg.solve(vectors, x)).real
    np.testing.assert_allclose(found.state, states, rtol=1e-10)
    expected = -times[..., None] / 2 * (states @ (A @ A).T)
    np.testing.assert_allclose(found.error, expected, rtol=1e-9, atol=1e-14)
    np.testing.assert_array_equal(found.error[0, 0], 0)
    rejected(np.testing.assert_allclose, -found.error, expected)


def test_a_scheme_knows_the_field_that_it_follows():
    """Every scheme steps along F + G: a leading error needs the scheme, a start and a time, and no field a second time."""
    for name in SCHEMES:
        velocity_fn = SCHEMES[name][1](rotate, jnp.sin).velocity_fn
        np.testing.assert_allclose(velocity_fn(np.ones(3)), A @ np.ones(3) + np.sin(np.ones(3)), rtol=1e-12)


def test_any_pytree_is_a_state():
    """Position and momentum of a pendulum, split into drift and kick: Strang is leapfrog, its modified energy known."""

    def drift(state):
        return {"q": state["p"], "p": 0 * state["p"]}

    def kick(state):
        return {"q": 0 * state["q"], "p": -jnp.sin(state["q"])}

    start = {"q": np.array([0.5, 1.0]), "p": np.array([0.0, -0.3])}
    leapfrog = splitting.strang(drift, kick)
    found = leading_error(leapfrog, start, np.array([0.5, 3.0]))
    assert leapfrog.order == 2
    assert found.state["q"].shape == found.error["p"].shape == (2, 2)
    for row, time in enumerate((0.5, 3.0)):
        gaps = []
        for count in (200, 400):
            h, q, p = time / count, start["q"], start["p"]
            for _ in range(count):
                p = p - h / 2 * np.sin(q)
                q = q + h * p
                p = p - h / 2 * np.sin(q)
            gaps.append(np.stack([q - found.state["q"][row], p - found.state["p"][row]]) / h**2)
        predicted = np.stack([found.error["q"][row], found.error["p"][row]])
        np.testing.assert_allclose(predicted * time**0, (4 * gaps[1] - gaps[0]) / 3, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_leading_error_as_a_program():
    x, times = np.array([1.0, -0.5, 2.0]), np.array([0.4, 1.5])
    whole = leading_error(EULER_OF_ROTATE, x, times)
    eager = splitting.leading_error(EULER_OF_ROTATE, x, times)
    rows = jax.jit(jax.vmap(lambda t: splitting.leading_error(EULER_OF_ROTATE, x, t)))(times)
    for other in (eager, rows):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), whole, other)
    # by the time: the variational equation itself
    slope = jax.jit(jax.jacfwd(lambda x, t: splitting.leading_error(EULER_OF_ROTATE, x, t), (0, 1)))(x, 0.4)
    np.testing.assert_allclose(slope.state[1], A @ whole.state[0], rtol=1e-9)
    np.testing.assert_allclose(slope.error[1], A @ whole.error[0] - A @ A @ whole.state[0] / 2, rtol=1e-9)
    np.testing.assert_allclose(slope.state[0] @ x, whole.state[0], rtol=1e-9)  # linear in the start
    np.testing.assert_allclose(slope.error[0] @ x, whole.error[0], rtol=1e-9)


@pytest.mark.slow
def test_dtype_follows_the_input():
    x = jnp.asarray(X0, jnp.float32)
    with jax.enable_x64(False):
        single = leading_error(splitting.sequential(jnp.negative, rest), x, jnp.float32(0.7))
        order = splitting.observed_order(jnp.array([1.0, 2.0], jnp.float32), jnp.array([1.0, 0.5], jnp.float32))
        defect = splitting.rk4(jnp.sin, jnp.cos).field_fn(x)
    assert {leaf.dtype for leaf in (*single, *order, defect)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(single.error, -0.35 * np.exp(-0.7) * X0, atol=1e-5)


# --- observed order --------------------------------------------------------------------------------------------------------


def test_observed_order():
    counts = np.array([10, 20, 40, 80])
    errors = np.stack([3 / counts**2.0, 5 / counts + 20 / counts**2])
    found = jax.jit(splitting.observed_order)(counts, errors)
    np.testing.assert_allclose(found.slope, -np.polyfit(np.log(counts), np.log(errors).T, 1)[0], rtol=1e-12)
    np.testing.assert_allclose(found.last, np.log2(errors[:, -2] / errors[:, -1]), rtol=1e-12)
    np.testing.assert_allclose(found.last, [2, 1.0671], atol=1e-4)
    rows = jax.vmap(lambda row: splitting.observed_order(counts, row))(errors)
    np.testing.assert_allclose(rows.slope, found.slope, rtol=1e-12)
    uneven = splitting.observed_order(np.array([10, 30, 90]), 7.0 / np.array([10, 30, 90]) ** 3.0)
    np.testing.assert_allclose([uneven.slope, uneven.last], 3, rtol=1e-12)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (splitting.observed_order, ([4, 8], [0.1, 0.0]), "errors must be above 0"),
        (splitting.observed_order, ([0, 8], [0.1, 0.1]), "num_steps must be above 0"),
        (splitting.observed_order, ([4], [0.1]), "num_steps must be 2 or more numbers"),
        (splitting.observed_order, ([4, 8], [0.1, 0.2, 0.3]), r"errors must have the shape .* with n = 2 as in num_steps, got"),
        (
            splitting.runge_kutta,
            (rest, splitting.Tableau(((0.0, 0.5), (0.5, 0.0)), (0.5, 0.5))),
            "tableau must have a strictly",
        ),
        (splitting.runge_kutta, (rest, splitting.Tableau(((0.0,),), (0.5, 0.5))), "tableau must have a strictly"),
        (splitting.runge_kutta, (rest, splitting.Tableau(((0.0,),), (0.9,))), "tableau must have weights of sum 1"),
        (splitting.leading_error, (splitting.Scheme(1, rest, rest), (), 1.0), "start must hold arrays"),
        (splitting.leading_error, (splitting.Scheme(1, jnp.sum, rest), np.ones(3), 1.0), "scheme.field_fn must map a state"),
        (splitting.leading_error, (splitting.Scheme(1, rest, jnp.sum), np.ones(3), 1.0), "scheme.velocity_fn must map a state"),
        (splitting.leading_error, (splitting.macaron, np.ones(3), 1.0), "scheme must be a Scheme, got <function macaron"),
    ],
)
def test_bad_arguments_are_named(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


# --- numbers of all kinds --------------------------------------------------------------------------------------------------


def decay(x):
    return -x


@pytest.mark.slow
def test_leading_error_at_any_times_and_sizes():
    """Euler on x' = -x: E = -T e^-T/2. No time at all, one, unsorted, negative; states of any size, of integers."""
    euler = splitting.parallel_euler(decay, rest)
    nothing = splitting.leading_error(euler, np.ones(2), np.ones((0, 3)))
    assert nothing.state.shape == nothing.error.shape == (0, 3, 2)

    def error(start, times):
        return leading_error(euler, start, times).error

    times = np.array([3.0, 0.0, -0.5])
    for size in (1e-12, 1.0, 1e12):
        expected = -times[:, None] / 2 * np.exp(-times)[:, None] * size * np.array([1, 2])
        np.testing.assert_allclose(error(size * np.array([1.0, 2.0]), times), expected, rtol=1e-10)
    np.testing.assert_allclose(error(np.array([1, 2]), [3, 0, -0.5]), expected / size, rtol=1e-10)


@pytest.mark.slow
def test_fields_of_integers():
    """Constant fields of integers have no derivative; values have the dtype of the state."""
    drift, turn = (lambda x: np.array([3, 1])), (lambda x: jnp.array([x[1], -x[0]]))
    for x in (np.array([1, 2]), jnp.array([1, 2]), np.array([True, True])):
        floats = x.astype(float)
        np.testing.assert_array_equal(splitting.bracket(drift, turn)(x), [1, -3])  # DG F
        np.testing.assert_array_equal(splitting.along(turn, drift)(x), [1, -3])
        np.testing.assert_array_equal(splitting.total((2, drift), (1, turn))(x), [6 + floats[1], 2 - floats[0]])
        np.testing.assert_array_equal(splitting.total()(x), [0, 0])
        for scheme in (splitting.macaron, splitting.strang, splitting.rk4):
            np.testing.assert_array_equal(scheme(drift, turn).field_fn(x), scheme(drift, turn).field_fn(floats))
    single = splitting.total((np.float64(2), np.sign))(np.ones(2, np.float32))
    assert single.dtype == jnp.float32


def test_observed_order_of_lists_and_integers():
    found = splitting.observed_order([8, 16, 32], [[1, 0.25, 0.0625], [8, 4, 2]])
    np.testing.assert_allclose(found, [[2, 1], [2, 1]], rtol=1e-14)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (splitting.observed_order, ([8, 8], [1, 0.5]), "num_steps must be 2 or more numbers, the last two of them different"),
        (splitting.observed_order, ([4, 8], [0.1, np.nan]), "errors must be above 0 and finite"),
        (splitting.leading_error, (splitting.heun(decay, rest), np.ones(3), np.inf), "time must be finite"),
        (splitting.leading_error, (splitting.heun(decay, rest), "three", 1.0), "start must be real numbers"),
        (splitting.total, ((np.ones(2), decay),), "weight must be a single number"),
        (
            splitting.runge_kutta,
            (decay, splitting.Tableau(((0.0, 0.0), (np.nan, 0.0)), (0.5, 0.5))),
            "tableau must be finite",
        ),
    ],
)
def test_what_is_out_of_range_is_named(function, arguments, message):
    with pytest.raises(ValueError, match=message) as raised:
        function(*arguments)
    assert "\n" not in str(raised.value)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def shear(x):
    return jnp.sin(x[::-1])


def stretch(x):
    return x * jnp.cos(x[:1])


def of(function, *arguments):
    """The field that `function` returns, at a state."""

    def at(x):
        field = function(*arguments)
        return getattr(field, "field_fn", field)(x)

    # near 0 the terms of brackets cancel
    return Call(at, {"x": np.array([0.7, -0.4])}, of=function, draw=lambda rng: {"x": rng.uniform(0.3, 3, 2)})


SCHEME_FNS = (
    splitting.parallel_euler, splitting.sequential, splitting.lie_trotter, splitting.macaron, splitting.strang,
    splitting.midpoint, splitting.heun, splitting.rk4,
)  # fmt: skip
CALLS = [
    of(splitting.bracket, shear, stretch),
    of(splitting.along, shear, stretch),
    of(splitting.total, (2, shear), (-0.5, stretch)),
    *(of(scheme, shear, stretch) for scheme in SCHEME_FNS),
    of(splitting.runge_kutta, shear, splitting.HEUN),
    Call(
        splitting.leading_error,
        {
            "scheme": splitting.parallel_euler(decay, rest),
            "start": np.array([1.0, -0.5]),
            "time": np.array([0.4, -1.5]),
        },
        scaling={"start": 1},
        degree=1,
        draw=lambda rng: {"start": rng.standard_normal(2) * 10 ** rng.uniform(-12, 12), "time": rng.uniform(-3, 3, 2)},
        rounding=4,  # the solver's tolerance in float32, 1e-5, on the state and then on the error
        differentiable=False,  # in forward mode above; reverse mode through the solver is slow to compile
    ),
    Call(
        splitting.observed_order,
        {"num_steps": np.array([8.0, 16.0, 64.0]), "errors": np.array([1.0, 0.3, 0.07])},
        edges={"num_steps": []},  # the last two must differ
        cases=[{"num_steps": np.array([8.0, 8.0, 16.0])}],
        draw=lambda rng: {"num_steps": np.cumprod(rng.uniform(1.1, 4, 3)), "errors": 10 ** rng.uniform(-12, 2, 3)},
    ),
]
