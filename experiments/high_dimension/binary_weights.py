r"""A perceptron with weights +-1 is determined beyond 1.245 samples a dimension; message passing finds it beyond 1.493.

Between the two, message passing stops at weights of overlap $q < 1$ although the teacher is the only answer. Its own estimate
of the entropy per weight, Bethe's, is negative there.

$$
\begin{align*}
q_{t+1} &= \mathbb{E} \tanh \left( \hat q_t + \sqrt{\hat q_t}\, \xi \right), \qquad
\hat q_t = \frac{2 \alpha}{1 - q_t}\, \mathbb{E} \frac{\phi(z)^2}{\Phi(z)}, \quad z \sim N\left(0, \frac{q_t}{1 - q_t}\right) \\
S &= \ln 2 + \frac{1}{d} \sum_j \left( \ln \cosh h_j - h_j w_j \right)
+ \frac{1}{d} \sum_i \left( \ln \Phi(y_i \omega_i/s) + \tfrac{V}{2} g_i^2 \right)
\end{align*}
$$

Source: G. Gyorgyi, Phys. Rev. A 41 (1990) 7097, doi 10.1103/PhysRevA.41.7097 (threshold 1.245: abstract read); J. Barbier et
al., arXiv 1708.03395 (recalled); derived here again, and the threshold of message passing
Cost: 20 s
"""

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import MinLen
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Precision, Tolerance, check
from ...solvers import message_passing
from ...theory.high_dimension import binary_weights

Ratios = Annotated[tuple[Positive, ...], MinLen(2), Distinct]
CROSSINGS = (1.3, 1.35, 1.4, 1.45, 1.5, 1.55, 1.6, 1.65, 1.7, 1.75, 1.8, 1.9, 2.0)


@dataclass(frozen=True)
class Config:
    dim: Count = 1000  # weights (d)
    ratios: Ratios = (0.3, 0.6, 0.9, 1.1, 1.2, 1.3)  # samples over dimensions (alpha), rising; the last two by S = 0
    crossings: Ratios = CROSSINGS  # samples over dimensions, rising, from below to above the threshold
    num_iterations: Count = 60  # of message passing
    num_records: Count = 12  # iterations that are recorded, evenly spaced in their logarithm, at most
    dtype: Precision = "float64"  # overlaps come close to 1

    def __post_init__(self):
        check(self)
        for name, ratios in (("ratios", self.ratios), ("crossings", self.crossings)):
            if sorted(ratios) != list(ratios):
                raise ValueError(f"{name} must rise, got {ratios}")


class Result(NamedTuple):
    overlap: Float[Array, "ratio iteration"]  # teacher . w/d (q)
    norm: Float[Array, "ratio iteration"]  # |w|^2/d (q)
    entropy: Float[Array, "ratio"]  # of the weights that agree with all labels, per weight, by Bethe's formula (S)
    information_threshold: Float[Array, ""]  # where the line through the last two entropies is 0
    algorithmic_threshold: Float[Array, ""]  # ratio from which on the teacher is found
    recovered: Float[Array, "crossing"] | None = None  # 1 where all weights are right


def labels(config: Config) -> dict[str, tuple]:
    return {
        "ratio": config.ratios,
        "iteration": _recorded(config),
        "crossing": config.crossings,
    }


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    """One data set: at every ratio message passing has its first samples."""
    counts = _counts(config, (*config.ratios, *config.crossings))
    key_x, key_teacher = jax.random.split(key)
    x = jax.random.normal(key_x, (max(counts), config.dim))
    teacher = jax.random.rademacher(key_teacher, (config.dim,), x.dtype)
    y = jnp.where(x @ teacher > 0, 1.0, -1.0)
    known = jnp.arange(len(y))[None, :] < jnp.asarray(counts)[:, None]
    posterior = message_passing.sign_posterior(0.0)

    def advance(state: message_passing.State, known: Bool[Array, "sample"]) -> message_passing.State:
        def output(y: Array, omega: Array, variance: Array) -> tuple[Array, Array]:
            pull, curvature = posterior(y, omega, variance)
            return jnp.where(known, pull, 0), jnp.where(known, curvature, 0)

        return message_passing.step(state, x, y, output, message_passing.binary)

    def iterate(state: message_passing.State, _: None) -> tuple[message_passing.State, tuple[Array, Array]]:
        state = jax.vmap(advance)(state, known)
        return state, (state.weights @ teacher / config.dim, jnp.mean(state.weights**2, axis=1))

    one = message_passing.init(len(y), jnp.zeros(config.dim), 1.0)
    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (len(counts), *leaf.shape)), one)
    state, (overlap, norm) = jax.lax.scan(iterate, start, None, length=config.num_iterations)
    few = len(config.ratios)
    below = jax.tree.map(lambda leaf: leaf[:few], state)
    entropy = jax.vmap(lambda state, known: bethe_entropy(state, x, y, known))(below, known[:few])
    recovered = jnp.all(state.weights[few:] * teacher[None] > 0, axis=1).astype(x.dtype)
    ratios, crossings = (jnp.asarray(values, x.dtype) for values in (config.ratios, config.crossings))
    zero = ratios[-1] - entropy[-1] * (ratios[-1] - ratios[-2]) / (entropy[-1] - entropy[-2])
    missing = 1 - (recovered[1:] + recovered[:-1]) / 2
    found = crossings[0] + missing @ (crossings[1:] - crossings[:-1])
    at = jnp.asarray(_recorded(config)) - 1
    return Result(overlap[at, :few].T, norm[at, :few].T, entropy, zero, found, recovered)


def bethe_entropy(
    state: message_passing.State, x: Float[Array, "sample dim"], y: Float[Array, "sample"], known: Bool[Array, "sample"]
) -> Float[Array, ""]:
    """Bethe's entropy per weight where message passing has come to rest: h = artanh w, and V g = x.w/sqrt(d) - omega."""
    w, variance, pull = state
    w = jnp.clip(w, -1 + 1e-12, 1 - 1e-12)  # where weights are found, h is infinite, and ln cosh h - h w is -ln 2
    field = jnp.arctanh(w)
    omega = x @ w / math.sqrt(len(w)) - variance * pull
    log_cosh = jnp.logaddexp(field, -field) - math.log(2)
    samples = log_ndtr(y * omega / jnp.sqrt(variance)) + variance * pull**2 / 2
    return math.log(2) + jnp.mean(log_cosh - field * w) + jnp.sum(jnp.where(known, samples, 0)) / len(w)


def predict(config: Config) -> Result:
    ratios = jnp.asarray(_counts(config, config.ratios), float) / config.dim
    iterations = np.array(_recorded(config))
    overlap = jax.vmap(lambda ratio: binary_weights.state_evolution(iterations, ratio, 0.0))(ratios)
    return Result(overlap, overlap, binary_weights.uninformed(ratios).entropy, *binary_weights.thresholds())


def _recorded(config: Config) -> tuple[int, ...]:
    shares = (i / max(config.num_records - 1, 1) for i in range(config.num_records))
    return tuple(sorted({round(config.num_iterations**share) for share in shares} | {config.num_iterations}))


def _counts(config: Config, ratios: tuple[float, ...]) -> list[int]:
    return [max(1, round(ratio * config.dim)) for ratio in ratios]


_SIZE = "the mean is off by order 1/d: measured at d = 250, 500 and 1000, by less than"
TOLERANCE = {
    "overlap": Tolerance(absolute=0.0015, reason=f"{_SIZE} 1.5/d"),
    "norm": Tolerance(
        absolute=0.0025, reason=f"{_SIZE} 2.5/d, the most at the largest ratio, where one draw in hundreds is found"
    ),
    "entropy": Tolerance(absolute=0.0015, reason=f"{_SIZE} 1.5/d"),
    "information_threshold": Tolerance(
        absolute=0.0025, reason="0.0011 of a line in place of a curve; entropies are off by 1/d"
    ),
    "algorithmic_threshold": Tolerance(
        absolute=0.06, reason="late for finite d: by 0.19, 0.08 and 0.03, errors 0.02, at d = 250, 500 and 1000"
    ),
}
QUICK = {"dim": 60, "ratios": (0.5, 1.0), "crossings": (1.5, 2.5), "num_iterations": 8}
SEEDS = 32
