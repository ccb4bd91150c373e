"""Acceptance values of convex losses, an oracle in numpy that shares no code, and mutations that it must tell apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special
from scipy.special import expit, ndtr

from closedform.theory.high_dimension import convex_learning, losses
from closedform.theory.high_dimension.label_channels import LOGIT, PROBIT, Labels, Order
from zoo.calls import Call
from zoo.checks import rejected

TEACHER = Labels(2.0, 0.5, 0.1)
ORDER = Order(0.8, 1.5, 1.2)


def _legal(order):
    """Any order parameters that a teacher of norm 2 allows."""

    def draw(rng):
        norm, cosine = 1.5 * 10 ** rng.uniform(-1, 1), rng.uniform(-0.99, 0.99)
        values = {"order.norm": norm, "order.overlap": cosine * (2 * norm) ** 0.5}
        return values | {"order.response": 1.2 * 10 ** rng.uniform(-1, 1)} if order else values

    return draw


CALLS = [
    Call(
        lambda ratio, ridge, teacher: convex_learning.solve(ratio, ridge, losses.SQUARED_HINGE, teacher),
        {"ratio": 2.0, "ridge": 0.3, "teacher": TEACHER},
        of=convex_learning.solve,
        # a wrapped call has no ranges: the cases are the ends of them
        cases=[
            {"ridge": 0.0, "ratio": 9.0},
            {"teacher.flips": 0.5},
            {"teacher.flips": 0.0, "teacher.noise_std": 0.0},
            {"ratio": 1e-6},
            {"ridge": 1e6},
        ],
        differentiable=False,  # by test_derivatives
        rounding=16.0,  # twelve nodes a panel, and Newton's method to rounding of a residual
    ),
    Call(
        convex_learning.step,
        {"order": ORDER, "ratio": 2.0, "ridge": 0.3, "loss": losses.SQUARE, "teacher": TEACHER},
        edges={
            "order.overlap": [0.0],
            "order.norm": [0.5],
            "teacher.norm_squared": [1.0],
            "ratio": [1e-3],
            "order.response": [1e-3],
        },
        draw=_legal(order=True),
        fixed=("order.norm",),  # of the case of no weights, where the norm is held above 0
        rounding=16.0,
    ),
    Call(
        convex_learning.training_margins,
        {"threshold": np.array([-0.5, 0.7]), "order": ORDER, "loss": losses.SQUARE, "teacher": TEACHER},
        edges={"order.overlap": [0.0], "order.norm": [0.5], "teacher.norm_squared": [1.0], "order.response": [1e-3]},
        draw=_legal(order=True),
        rounding=16.0,
    ),
    Call(
        convex_learning.fresh_margins,
        {"threshold": np.array([-0.5, 0.7]), "order": ORDER, "teacher": TEACHER},
        edges={"order.overlap": [0.0], "order.norm": [0.5], "teacher.norm_squared": [1.0], "order.response": [1e-3]},
        draw=_legal(order=True),
        rounding=16.0,
    ),
]

NOT_NUMERIC = {
    convex_learning.require_margin: "raises or returns nothing",
    convex_learning.conjugates: "the integrals of solve, step and other students",
    convex_learning.mean_bend: "one of them",
    convex_learning.solve_with: "solve, for other students",
}

FIELDS = ("overlap", "norm", "response", "error", "training_loss")
SIGN = (1.0, 0.0, 0.0)
# ratio, ridge, teacher, then m, q, V, error, training loss: each checked by the envelope theorem and by simulation elsewhere
LOGISTIC = [
    (0.5, 1.0, SIGN, 0.148732191, 0.085118224, 0.911999842, 0.329722059, 0.490985176),
    (2.0, 0.1, SIGN, 1.720313093, 4.145803621, 3.976545789, 0.179662393, 0.182149644),
    (3.0, 1.0, SIGN, 0.665516419, 0.591399305, 0.642494238, 0.167062509, 0.414179670),
    (3.0, 0.5, (1.0, 0.5, 0.0), 0.887768017, 1.129515760, 1.023921750, 0.185281848, 0.378553791),
    (3.0, 0.5, (1.0, 0.0, 0.1), 0.781849797, 0.990485143, 1.008512822, 0.212356399, 0.416116319),
    (3.0, 0.5, (4.0, 1.0, 0.0), 1.775536035, 1.129515760, 1.023921750, 0.185281848, 0.378553791),
]
OTHERS = {
    "HINGE": [
        (2.0, 0.1, SIGN, 1.599294738, 3.669607765, 2.013003091, 0.185542944, 0.021460841),
        (3.0, 1.0, SIGN, 0.877219095, 1.018769804, 0.388932487, 0.164698390, 0.243745026),
        (3.0, 0.5, (1.0, 0.0, 0.1), 0.928986442, 1.380371031, 0.583767990, 0.209717067, 0.315572389),
    ],
    "SQUARED_HINGE": [(2.0, 0.1, SIGN, 1.124913488, 1.754872575, 2.209117617, 0.177100742, 0.025072853)],
    "PROBIT": [(2.0, 0.1, SIGN, 1.571823825, 3.405252734, 3.035455988, 0.175521227, 0.099436306)],
}


def solved(loss, rows, link=PROBIT):
    """One program for all points of a loss."""
    numbers = np.array([(ratio, ridge, *teacher) for ratio, ridge, teacher, *_ in rows])
    run = jax.jit(jax.vmap(lambda one: convex_learning.solve(one[0], one[1], loss, Labels(*one[2:]), link)))
    return run(numbers)


def assert_facts(solution, rows):
    for place, field in enumerate(FIELDS):
        expected = np.array([row[3 + place] for row in rows])
        np.testing.assert_allclose(getattr(solution, field), expected, rtol=1e-6, atol=6e-10, err_msg=field)


def oracle(ratio, ridge, mutation=None, steps=150):
    """m, q, V of the logistic loss and a sign teacher: trapezoidal rule, bisection, plain iteration; one mistake on request."""
    xi = np.linspace(-8, 8, 161)
    weight = np.exp(-(xi**2) / 2)
    weight /= weight.sum()
    m, q, V = 0.5, 1.0, min(1 / ridge, 5.0)
    for _ in range(steps):
        omega, c = np.sqrt(q) * xi, m / np.sqrt(q)
        width = {"V^2": V**2, "V/2": V / 2}.get(mutation, V)
        sign = -1 if mutation == "prox of the wrong sign" else 1
        low, high = (omega, omega + width) if sign > 0 else (omega - width, omega)
        for _ in range(45):
            p = (low + high) / 2
            below = p - sign * width * expit(-p) < omega
            low, high = np.where(below, p, low), np.where(below, high, p)
        if mutation == "no prox":
            p = omega
        f, curvature = expit(-p), expit(p) * expit(-p)
        slope = -curvature / (1 + sign * width * curvature)
        if mutation == "curvature at omega":
            slope = -expit(omega) * expit(-omega)
        if mutation in ("no denominator", "no prox"):
            slope = -curvature
        deviation = np.sqrt(1 - c if mutation == "teacher variance" else 1 - c**2)
        t = c * xi / deviation
        labels = 1 if mutation == "one label" else 2
        mh = labels * ratio * np.sum(weight * f * np.exp(-(t**2) / 2)) / np.sqrt(2 * np.pi) / deviation
        qh = labels * ratio * np.sum(weight * f**2 * ndtr(t))
        Vh = -labels * ratio * np.sum(weight * slope * ndtr(t))
        qh = 1e-9 if mutation == "no qh" else qh
        new = 1 / ((ridge / 2 if mutation == "ridge/2" else ridge) + Vh)
        m, q, V = (m + mh * new) / 2, (q + (mh**2 + qh) * new**2) / 2, (V + new) / 2
    return np.array([m, q, V])


def test_logistic():
    solution = solved(losses.LOGISTIC, LOGISTIC)
    assert_facts(solution, LOGISTIC)
    one = jax.tree.map(lambda leaf: float(leaf[1]), solution)
    np.testing.assert_allclose(one.energy, 0.571589469, rtol=2e-9)
    hats = (one.overlap_hat, one.norm_hat, one.response_hat)
    np.testing.assert_allclose(hats, (0.432614934, 0.075022624, 0.151474534), rtol=1e-8)
    np.testing.assert_allclose(solution.label_error[3:], (0.231429452, 0.269885119, 0.231429452), rtol=1e-8)

    def assert_is_found(order):
        np.testing.assert_allclose(order, (one.overlap, one.norm, one.response), rtol=1e-5)

    assert_is_found(oracle(2.0, 0.1))
    for mutation in MUTATIONS:
        rejected(assert_is_found, oracle(2.0, 0.1, mutation, steps=25))

    shares = convex_learning.training_margins([0.0, 1.0, 2.0, 4.0], Order(*map(float, one[:3])), losses.LOGISTIC, Labels())
    np.testing.assert_allclose(shares, (0.0064751074, 0.1663483678, 0.5639349495, 0.9463362771), rtol=1e-7)


# of each: error, m, q at ratio 2 and ridge 0.1, where the right values are 0.179662, 1.720313, 4.145804
MUTATIONS = {
    "ridge/2": (0.176259, 2.288752, 7.240685),
    "one label": (0.255864, 1.056413, None),
    "curvature at omega": (0.186964, 1.151750, None),
    "no denominator": (0.184830, 1.280090, None),
    "no prox": (0.175930, 2.283480, None),
    "V^2": (0.214122, 0.592015, None),
    "V/2": (0.176179, 1.973150, None),
    "teacher variance": (0.157004, 1.815700, None),
}


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_mutations_are_those_that_move_the_error_least(mutation):
    """The values of each mistake as they were computed elsewhere; several move the error by less than 0.006."""
    m, q, _ = oracle(2.0, 0.1, mutation)
    error, overlap, norm = MUTATIONS[mutation]
    np.testing.assert_allclose([np.arccos(m / np.sqrt(q)) / np.pi, m], (error, overlap), atol=2e-6)
    assert norm is None or abs(q - norm) < 2e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_losses(name):
    assert_facts(solved(getattr(losses, name), OTHERS[name]), OTHERS[name])


@pytest.mark.slow
def test_hinge_atoms():
    solution = convex_learning.solve(2.0, 0.1, losses.HINGE, Labels())
    inside, up_to = convex_learning.training_margins([1.0, 1.0 + 1e-12], solution.order, losses.HINGE, Labels())
    np.testing.assert_allclose((inside, up_to - inside), (0.043907450, 0.399349845), rtol=1e-7)
    # the fraction of samples at the kink is what is missing in the response: V = (1 - number/d)/ridge
    np.testing.assert_allclose(solution.response, (1 - 2 * float(up_to - inside)) / 0.1, rtol=1e-9)
    # w(kappa, ridge) = kappa w(1, kappa ridge): the loss with the margin 1/2 in place of 1
    half = losses.margin_loss(lambda s: jnp.maximum(0.5 - s, 0), kinks=(0.5,))
    scaled = convex_learning.solve(2.0, 0.2, half, Labels())
    np.testing.assert_allclose((scaled.overlap, scaled.norm), (solution.overlap / 2, solution.norm / 4), rtol=1e-8)


@pytest.mark.slow
def test_logit_and_maximum_likelihood():
    rows = [(4.0, 0.2, (4.0, 0.0, 0.0), 2.593497637, 2.544601565, 1.369388149, 0.197878483, 0.377896847)]
    assert_facts(solved(losses.LOGISTIC, rows, LOGIT), rows)
    rows = [(ratio, 0.0, (5.0, 0.0, 0.0)) for ratio in (10.0, 5.0, 4.0, 2.5)]
    found = solved(losses.LOGISTIC, rows, LOGIT)
    np.testing.assert_allclose(found.overlap[:3] / 5, (1.167781707, 1.499350123, 1.871489724), rtol=1e-8)
    spread = np.sqrt(np.array([10.0, 5.0, 4.0]) * (found.norm - found.overlap**2 / 5)[:3])
    np.testing.assert_allclose(spread, (3.346564264, 4.743553158, 6.347703074), rtol=1e-8)
    np.testing.assert_allclose(found.response[:3], (0.960494161, 3.026926160, 5.475860518), rtol=1e-8)
    assert np.all(
        np.isinf([found.norm[3], found.response[3], found.error[3]])
    )  # below the threshold, 3.07, there is no optimum


@pytest.mark.slow
def test_square_and_small_ridges():
    rows = [(3.0, 1.0, SIGN), (0.5, 1e-7, SIGN), (2.0, 1e-7, SIGN), (1.0, 1e-7, SIGN)]
    square = solved(losses.SQUARE, rows)
    np.testing.assert_allclose(square.error, (0.150964159, 0.339478587, 0.205952417, 0.489410010), rtol=3e-7)
    np.testing.assert_allclose((square.overlap[2] ** 2, square.norm[2]), (2 / np.pi, 1.0), rtol=1e-6)
    # ridge regression of noisy numbers: with a = E y u, rho' = a^2, Delta' = 1 - a^2
    a, V = np.sqrt(2 / np.pi), (-3 + np.sqrt(13)) / 2
    np.testing.assert_allclose((square.overlap[0], square.response[0]), (a * 3 * V / (1 + V), V), rtol=1e-12)
    ridges = solved(losses.LOGISTIC, [(2.0, ridge, SIGN) for ridge in (1e-2, 1e-4, 1e-6)])
    np.testing.assert_allclose(ridges.error, (0.174781054, 0.180128794, 0.183016587), rtol=1e-8)
    np.testing.assert_allclose(ridges.norm[2], 443.843264, rtol=1e-8)
    hard = solved(losses.HARD, [(1.0, 0.1, SIGN), (3.0, 0.1, SIGN), (10.0, 0.1, SIGN)])
    np.testing.assert_allclose(hard.overlap[:2], (0.853547497, 2.835422508), rtol=1e-9)
    np.testing.assert_allclose(hard.norm[:2], (1.616395021, 9.903478006), rtol=1e-9)
    np.testing.assert_allclose(hard.error, (0.265711470, 0.142835640, 0.0491833963), rtol=1e-8)
    soft = convex_learning.solve(2.0, 0.01, losses.HINGE, Labels())  # no sample lies inside: it is the hard margin
    np.testing.assert_allclose((soft.overlap, soft.norm, soft.error), (1.825337884, 4.839316333, 0.188478610), rtol=1e-8)


def over_margins(slope, bend, value, kappa, deviation, V):
    """The integrals of a sign teacher over p in place of omega = p + V l'(p): no proximal point is solved for.

    At both ends the integrands vanish, so that equal steps are exact to rounding.
    """
    p = np.arange(-60, 80, 0.01)
    xi = (p + V * slope(p)) / deviation
    law = 0.01 * (1 + V * bend(p)) / deviation * np.exp(-(xi**2) / 2) / np.sqrt(2 * np.pi)
    Z = 2 * ndtr(kappa * xi)
    D = 2 * np.exp(-((kappa * xi) ** 2) / 2) * np.sqrt((1 + kappa**2) / (2 * np.pi))
    parts = (-D * slope(p), Z * slope(p) ** 2, Z * bend(p) / (1 + V * bend(p)), Z * value(p))
    return [np.sum(law * part) for part in parts]


def mills(p):
    return np.sqrt(2 / np.pi) / special.erfcx(-np.maximum(p, -1e3) / np.sqrt(2))


@pytest.mark.parametrize("name", ["LOGISTIC", "PROBIT"])
def test_integrals_see_the_corner_of_the_envelope(name):
    """At a large V the envelope of a smooth loss turns sharply where V l'' = 1, far from where the loss itself bends."""
    slope, bend, value = {
        "LOGISTIC": (lambda p: -expit(-p), lambda p: expit(p) * expit(-p), lambda p: np.logaddexp(0, -p)),
        "PROBIT": (lambda p: -mills(p), lambda p: mills(p) * (mills(p) + p), lambda p: -special.log_ndtr(p)),
    }[name]
    cases = [(kappa, deviation, V) for kappa in (0.3, 30.0) for deviation, V in ((5.0, 300.0), (100.0, 3e3), (300.0, 1e6))]
    expected = [over_margins(slope, bend, value, *case) for case in cases]

    def assert_integrals(loss, rtol=2e-11):
        def integrals(kappa, deviation, V):
            teacher = Labels(*map(jnp.asarray, SIGN))
            return convex_learning.conjugates(kappa, deviation**2, V, jnp.ones_like(V), loss, teacher, PROBIT)

        found = jax.jit(jax.vmap(integrals))(*jnp.array(cases).T)
        found = np.stack([found.overlap, found.norm, found.response, found.training_loss], axis=1)
        np.testing.assert_allclose(found, expected, rtol=rtol)

    loss = getattr(losses, name)
    assert_integrals(loss)
    rejected(assert_integrals, loss._replace(corners=lambda V: ()))
    if name == "LOGISTIC":  # as a function of yours, whose points are found by bisection
        assert_integrals(losses.margin_loss(lambda s: jax.nn.softplus(-s)), 1e-8)


@pytest.mark.slow
def test_solutions_everywhere():
    """Five decades of the ratio and twelve of the ridge: a solution, and the energy rises with the ridge."""
    ratio, ridge = (np.ravel(one) for one in np.meshgrid(10.0 ** np.arange(-2, 3.1, 0.5), 10.0 ** np.arange(-8, 5.0)))
    for teacher in (SIGN, (1e-2, 0.0, 0.0), (100.0, 0.5, 0.3), (1.0, 2.0, 0.5), (1.0, 0.0, 0.01)):
        for loss in (losses.LOGISTIC, losses.HINGE, losses.SQUARED_HINGE, losses.PROBIT):
            found = solved(loss, [(a, b, teacher) for a, b in zip(ratio, ridge, strict=True)])
            assert np.all(np.isfinite(found.norm))
            assert np.all(found.error <= 0.5 + 1e-12)
            assert np.all(np.diff(np.asarray(found.energy).reshape(13, -1), axis=0) > 0)


@pytest.mark.slow
def test_derivatives():
    """The envelope theorem, in forward and reverse mode: de/dridge = q/2; and the derivative of the error by differences."""

    def energy(ridge):
        return convex_learning.solve(2.0, ridge, losses.LOGISTIC, Labels()).energy

    norm = convex_learning.solve(2.0, 0.1, losses.LOGISTIC, Labels()).norm
    np.testing.assert_allclose((jax.grad(energy)(0.1), jax.jacfwd(energy)(0.1)), norm / 2, rtol=1e-9)

    def error(ridge):
        return convex_learning.solve(2.0, ridge, losses.LOGISTIC, Labels()).error

    np.testing.assert_allclose(jax.grad(error)(0.1), 0.0651606, rtol=1e-5)


@pytest.mark.slow
def test_second_derivatives_see_kinks_move():
    """Against differences of first ones; of the hinge by name, and by a function that a traced program makes a loss of."""

    def norm(ridge):
        return convex_learning.solve(2.0, ridge, losses.HINGE, Labels()).norm

    def of_function(ridge):
        hinge = losses.margin_loss(lambda s: jnp.maximum(1 - s, 0), kinks=(1.0,))
        return convex_learning.solve(2.0, ridge, hinge, Labels()).norm

    slope = jax.jit(jax.grad(norm))
    differences = (slope(0.3 + 1e-4) - slope(0.3 - 1e-4)) / 2e-4
    for fn in (norm, of_function):
        np.testing.assert_allclose(jax.jit(jax.grad(jax.grad(fn)))(0.3), differences, rtol=1e-6)


@pytest.mark.slow
def test_step_leads_to_the_optimum():
    """The iterations of message passing for the logistic loss at (3, 0.3), first to fifth."""
    run = jax.jit(lambda order: convex_learning.step(order, 3.0, 0.3, losses.LOGISTIC, Labels()))
    order, found = Order(0.0, 0.0, 1 / 0.3), []
    for _ in range(5):
        order = run(order)
        found.append(order)
    m, q, V = np.array(found).T
    np.testing.assert_allclose(m, (1.016734, 1.260612, 1.308732, 1.313138, 1.311989), atol=6e-7)
    np.testing.assert_allclose(q, (1.575017, 2.082883, 2.174192, 2.173581, 2.167237), atol=6e-7)
    np.testing.assert_allclose(V, (1.509767, 1.415898, 1.448661, 1.463191, 1.466105), atol=6e-7)


def test_refusals():
    with pytest.raises(ValueError, match="loss must be a Loss of a margin"):
        convex_learning.solve(2.0, 0.1, losses.ABSOLUTE, Labels())
    with pytest.raises(ValueError, match=r"order.overlap must be at most"):
        convex_learning.step(Order(2.0, 1.0, 1.0), 2.0, 0.1, losses.SQUARE, Labels())
