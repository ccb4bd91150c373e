r"""Noisy labels have a best ridge, close to the best possible error; the confidence of a logistic model is right at another.

The teacher is $P(y = + | u) = \Phi(u/\tau)$. The error against the ridge has a minimum, which for the logistic and the
squared hinge loss is within 0.001 of the Bayes-optimal error. The student says $\sigma(z)$; the true probability at an output
$z$ is

$$
P(+ | z) = \Phi\left( \frac{(m/q)\, z}{\sqrt{\tau^2 + \rho - m^2/q}} \right)
$$

below $\sigma(z)$ at a small ridge (over-confidence) and above it at a large one.

Source: B. Aubin et al., arXiv 2006.06560 (abstract read); Y. Bai et al., arXiv 2102.07856 and L. Clarte et al., arXiv
2202.03295 (calibration; both recalled); derived here again
Cost: 35 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Fraction, Positive, Precision, Tolerance, check
from ...theory.high_dimension import bayes_optimal, convex_learning, losses
from ...theory.high_dimension.label_channels import Labels, positive_probability
from . import _classifiers


@dataclass(frozen=True)
class Config:
    dim: Count = 200  # inputs (d)
    num_samples: Count = 600  # (n)
    losses: _classifiers.Losses = ("logistic", "square", "squared_hinge")  # side by side
    ridges: _classifiers.Ridges = (0.03, 0.1, 0.3, 1.0, 3.0)  # of a sum over samples (lambda)
    norm_squared: Positive = 1.0  # of the teacher over d (rho)
    noise_std: Positive = 0.5  # of the teacher's field before its sign is taken (tau)
    confidences: Annotated[tuple[Fraction, ...], MinLen(1), Distinct] = (0.6, 0.75, 0.9)  # sigma(z) of the logistic student
    num_test: Count = 1000  # fresh inputs at each confidence
    dtype: Precision = "float64"  # of the optimum

    def __post_init__(self):
        check(self)


class Result(NamedTuple):
    overlap: Float[Array, "loss ridge"]  # theta.w/d (m)
    norm: Float[Array, "loss ridge"]  # |w|^2/d (q)
    error: Float[Array, "loss ridge"]  # on a fresh input, against the teacher's sign without noise
    calibration: Float[Array, "ridge confidence"]  # P(+) where the logistic student says sigma(z) = confidence


def labels(config: Config) -> dict[str, tuple]:
    names = tuple(_classifiers.NAMES[loss] for loss in config.losses)
    return {"loss": names, "ridge": config.ridges, "confidence": config.confidences}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key, key_test = jax.random.split(key)
    sample = _classifiers.draw(key, config.dim, config.num_samples, config.norm_squared, config.noise_std, jnp.zeros(()))
    ridges = jnp.asarray(config.ridges, sample.features.dtype)
    key_x, key_noise = jax.random.split(key_test)
    x = jax.random.normal(key_x, (config.num_test, config.dim), ridges.dtype) / jnp.sqrt(jnp.asarray(config.dim, ridges.dtype))
    noise = config.noise_std * jax.random.normal(key_noise, (config.num_test,), ridges.dtype)

    def measured(loss: str) -> _classifiers.Measured:
        return jax.lax.map(lambda ridge: _classifiers.measure(sample, ridge, loss), ridges)

    def calibration(ridge: Array) -> Float[Array, "confidence"]:
        w, _ = _classifiers.fit(sample.features, sample.y, ridge, "logistic")
        outputs, fields = x @ w, x @ sample.teacher
        along = sample.teacher @ w / (w @ w)

        def at(confidence: Array) -> Array:
            # fresh inputs, moved along w to the output z: the law of an input given its output
            z = jnp.log(confidence) - jnp.log1p(-confidence)
            return jnp.mean(jnp.where(fields + along * (z - outputs) + noise > 0, 1.0, 0.0))

        return jax.vmap(at)(jnp.asarray(config.confidences, ridges.dtype))

    overlap, norm, _, error, _ = map(jnp.stack, zip(*map(measured, config.losses), strict=True))
    return Result(overlap, norm, error, jax.lax.map(calibration, ridges))


def predict(config: Config) -> Result:
    teacher = Labels(config.norm_squared, config.noise_std)
    ratio, ridges = config.num_samples / config.dim, jnp.asarray(config.ridges, float)

    def solved(loss: losses.Loss) -> convex_learning.Solution:
        return jax.vmap(lambda ridge: convex_learning.solve(ratio, ridge, loss, teacher))(ridges)

    found = {loss: solved(_classifiers.OF_THEORY[loss]) for loss in config.losses}
    logistic = found["logistic"] if "logistic" in found else solved(losses.LOGISTIC)
    level = jnp.asarray(config.confidences, float)
    z = jnp.log(level) - jnp.log1p(-level)
    calibration = jax.vmap(lambda order: positive_probability(z, order, teacher))(logistic.order)
    overlap, norm, error = zip(*((one.overlap, one.norm, one.error) for one in found.values()), strict=True)
    return Result(jnp.stack(overlap), jnp.stack(norm), jnp.stack(error), calibration)


def predict_best(config: Config) -> Result:
    """The least error of any method: stored and drawn beside the prediction, but not judged."""
    one = bayes_optimal.overlap(config.num_samples / config.dim, config.norm_squared, config.noise_std)
    error = bayes_optimal.error(one, config.norm_squared, 0.0)  # against the sign without noise
    shape = len(config.losses), len(config.ridges)
    nothing = jnp.full(shape, jnp.nan)
    return Result(nothing, nothing, jnp.full(shape, error), jnp.full((len(config.ridges), len(config.confidences)), jnp.nan))


_BIAS = (
    "the mean over data sets is off by b/d: measured for the squared hinge loss at ridge 0.03 at d = 50 and 100, |b| about {}"
)
TOLERANCE = {
    "overlap": Tolerance(2 / 200, reason=_BIAS.format("2 of the prediction")),
    "norm": Tolerance(4 / 200, reason=_BIAS.format("4 of the prediction")),
    "error": Tolerance(1 / 200, reason=_BIAS.format("1 of the prediction")),
    "calibration": Tolerance(1 / 200, reason="of order 1/d, as the error"),
}
CURVE = {"ridges": 24}
QUICK = {"dim": 20, "num_samples": 60, "losses": ("logistic",), "ridges": (1.0,), "confidences": (0.75,), "num_test": 100}
SEEDS = 32
