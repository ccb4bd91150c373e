"""Teachers: probabilities by a double integral, calibration, and integrals over the step of a nearly perfect student."""

import jax.numpy as jnp
import numpy as np
from scipy.integrate import quad
from scipy.special import expit, ndtr

from closedform.theory.high_dimension import label_channels
from closedform.theory.high_dimension.label_channels import LOGIT, Labels, Order
from zoo.calls import Call
from zoo.checks import rejected


def _legal(rng):
    norm, cosine = 0.5 * 10 ** rng.uniform(-1, 1), rng.uniform(-0.99, 0.99)
    return {"order.norm": norm, "order.overlap": cosine * norm**0.5, "field": rng.normal(size=2)}


CALLS = [
    Call(
        label_channels.positive_probability,
        {"field": np.array([-0.3, 1.2]), "order": Order(0.4, 0.5, 1.0), "teacher": Labels(1.0, 0.5, 0.1)},
        edges={"order.norm": [0.3], "teacher.norm_squared": [0.7], "order.overlap": [0.0]},
        draw=_legal,
    )
]


NOT_NUMERIC = dict.fromkeys(
    (
        label_channels.require_order,
        label_channels.nodes,
        label_channels.angle,
        label_channels.step_edges,
        label_channels.both_labels,
        label_channels.cotangent,
    ),
    "of the integrals in convex_learning, on arrays that were checked there",
)


def assert_is_the_probability(probability_fn):
    """P(y = + | z) = int du N(u | m z/q, rho - m^2/q) P(+ | u), by scipy."""
    order, teacher = Order(0.9, 0.8, 1.0), Labels(2.0, 0.7, 0.1)
    mean, deviation = 0.9 / 0.8 * 0.6, np.sqrt(2.0 - 0.9**2 / 0.8)
    width = np.hypot(deviation, 0.7)  # the logistic noise comes on top of the Gaussian noise
    sides = {
        label_channels.PROBIT: lambda x: ndtr((mean + deviation * x) / 0.7),
        LOGIT: lambda x: expit(mean + width * x),
    }
    for link, side in sides.items():
        expected, _ = quad(lambda x, side=side: side(x) * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), -12, 12, epsabs=1e-13)
        found = probability_fn(0.6, order, teacher, link)
        np.testing.assert_allclose(found, 0.1 + 0.8 * expected, rtol=1e-11)


def test_probability():
    assert_is_the_probability(label_channels.positive_probability)
    rejected(  # rho missing in the variance
        assert_is_the_probability,
        lambda field, order, teacher, link: label_channels.positive_probability(
            field, order, teacher._replace(norm_squared=1.2), link
        ),
    )


def test_integrals_of_a_nearly_perfect_student():
    """At a cotangent of 1e4 Z is a step of width 1e-4: the mass of wrong labels is arccot/pi all the same."""
    for cotangent in (0.0, 0.3, 30.0, 1e4):
        teacher = Labels(*map(jnp.asarray, (1.7, 0.0, 0.0)))
        view = label_channels.angle(jnp.asarray(cotangent), teacher)
        xi, weights = label_channels.nodes(label_channels.step_edges(view, label_channels.PROBIT), jnp.asarray(1.0))
        Z, D = label_channels.both_labels(xi, view, teacher, label_channels.PROBIT)
        np.testing.assert_allclose(jnp.sum(jnp.where(xi < 0, weights * Z, 0)), np.arctan2(1, cotangent) / np.pi, rtol=1e-11)
        # E D = E delta(u) of the teacher's field, whatever the student
        np.testing.assert_allclose(jnp.sum(weights * D), 2 / np.sqrt(2 * np.pi * 1.7), rtol=1e-11)
        np.testing.assert_allclose(jnp.sum(weights * xi**2), 1, rtol=1e-12)
