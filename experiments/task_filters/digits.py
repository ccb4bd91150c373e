r"""On digits, distilling a hidden state with loud noise costs a small student accuracy; a filter from a small start avoids it.

A teacher with ReLU units learns digits; its hidden state also carries channels of noise that its head ignores. Students with
a few ReLU units learn the labels and, beside them, the teacher's hidden state: raw, through a filter that was trained from
the identity, or through one from a small start; filters fit the teacher's logits by gradient descent, with a head of their
own, before the student begins. All targets have one power in the task's channels. Nothing is predicted of trained students:
the linear theory says which filter passes noise, and not how much accuracy that costs. The prediction is the accuracy before
training,

$$
\mathbb{E}\,[\text{accuracy}] = \frac{1}{C}
$$

with $C$ classes: all columns of the student's head are drawn alike.

Source: Liang et al., arXiv 2210.01351 (abstract read), whose two stages these are; network and runs are ours
Cost: 45 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, Le
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Tolerance, check
from ...models.linear import deep_linear
from ...solvers import classify, descent
from ...tasks import images

TARGETS = ("no hidden state", "raw hidden state", "filter from identity", "filter from small start")


@dataclass(frozen=True)
class Config:
    nuisance_std: NonNegative = 2.0  # standard deviation of the channels of noise
    num_nuisances: Count = 8  # channels of noise in the hidden state
    num_samples: Annotated[int, Ge(1), Le(1796)] = 1000  # digits that all learn from; the others are the test set
    teacher_width: Count = 32  # ReLU units of the teacher
    width: Count = 8  # ReLU units of the student
    alpha: NonNegative = 3.0  # weight of distillation
    teacher_rate: Positive = 0.01  # learning rate of the teacher's Adam
    teacher_steps: Count = 200  # its updates
    small_start: Positive = 0.01  # scale of the filter that starts small, and of all heads of filters
    filter_steps: Count = 2000  # updates of the filters, by gradient descent
    learning_rate: Positive = 0.01  # of the students' Adam
    num_steps: Count = 500  # its updates

    def __post_init__(self):
        check(self)


class Network(NamedTuple):
    """x -> readout relu(weights x + bias) + offset, one network or several."""

    weights: Float[Array, "*target unit input"]
    bias: Float[Array, "*target unit"]
    readout: Float[Array, "*target output unit"]
    offset: Float[Array, "*target output"]


class Data(NamedTuple):
    x: Float[Array, "image input"]  # pixels, then noise
    labels: Int[Array, "image"]


class State(NamedTuple):
    start: Network  # students before training, one for each target
    training: descent.State  # of the students
    train: Data
    test: Data
    hidden: Float[Array, "target image channel"]  # what students are to know of the teacher
    teacher_accuracy: Float[Array, ""]
    noise: Float[Array, "target"]  # power of a channel of noise in the target, over the power of all channels of the task


class Result(NamedTuple):
    untrained: Float[Array, "target"]  # test accuracy of students before training
    accuracy: Float[Array, "target"] | None = None  # after it
    teacher_accuracy: Float[Array, ""] | None = None  # of the teacher on the same test set
    noise: Float[Array, "target"] | None = None  # power of the noise in the target; the task has 1


def labels(config: Config) -> dict[str, tuple]:
    return {"target": TARGETS}


def init(key: PRNGKeyArray, config: Config) -> State:
    """A trained teacher, trained filters, and students that know nothing."""
    key_split, key_noise, key_teacher, key_filter, key_student = jax.random.split(key, 5)
    found = images.load("digits_8x8")
    split = images.split(key_split, found, config.num_samples)
    noise = config.nuisance_std * jax.random.normal(key_noise, (len(found.labels), config.num_nuisances))

    def data(index: Int[Array, "image"]) -> Data:
        pixels, labels = images.take(found, index)
        return Data(jnp.concatenate([pixels, noise[index]], axis=1), labels)

    train, test = data(split.train), data(split.test)
    num_pixels, classes = found.pixels.shape[1], found.num_classes
    pixels = train.x[:, :num_pixels]
    teacher, _ = descent.adam(
        lambda network: classify.cross_entropy(_outputs(network, pixels), train.labels),
        _drawn(key_teacher, num_pixels, config.teacher_width, classes),
        config.teacher_rate,
        config.teacher_steps,
    )
    units = _units(teacher, pixels)
    logits = _centred(units @ teacher.readout.T)
    hidden = jnp.concatenate([_centred(units), train.x[:, num_pixels:]], axis=1)
    filters = jnp.stack(_filters(key_filter, hidden, logits, config))
    seen = jnp.einsum("tcd,nd->tnc", filters, hidden)
    task = jnp.einsum("tcd,nd->tnc", filters[..., : config.teacher_width], hidden[:, : config.teacher_width])
    power = jnp.mean(jnp.sum(task**2, axis=2), axis=1)
    scale = jnp.where(power > 0, 1 / jnp.sqrt(jnp.where(power > 0, power, 1)), 0)
    leaked = jnp.sum(filters[..., config.teacher_width :] ** 2, axis=(1, 2)) * (scale * config.nuisance_std) ** 2
    one = _drawn(key_student, train.x.shape[1], config.width, classes + hidden.shape[1])
    # the estimate of the hidden state begins as 0: else its error is the largest part of the loss, and units die of it
    one = one._replace(readout=one.readout.at[classes:].set(0))
    students = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(TARGETS), *leaf.shape)), one)
    accuracy = images.accuracy(_outputs(teacher, test.x[:, :num_pixels]), test.labels)
    return State(students, descent.begin(students), train, test, scale[:, None, None] * seen, accuracy, leaked)


def _filters(
    key: PRNGKeyArray, hidden: Float[Array, "image channel"], logits: Float[Array, "image class"], config: Config
) -> tuple[Float[Array, "channel channel"], ...]:
    """For each target, from the identity and from a small start alike by gradient descent on the squared error of logits."""
    eye = jnp.eye(hidden.shape[1])
    covariance, cross = hidden.T @ hidden / len(hidden), logits.T @ hidden / len(hidden)
    # below 2 over the curvature, of a head and a filter of the norms at the end
    largest = jnp.linalg.eigvalsh(covariance)[-1]
    fitted = jnp.linalg.solve(covariance + 1e-4 * largest * eye, cross.T)
    rate = 0.5 / (largest * (1 + jnp.linalg.norm(fitted)))
    head = config.small_start * jax.random.normal(key, (logits.shape[1], hidden.shape[1])) / hidden.shape[1] ** 0.5

    def trained(start: Float[Array, "channel channel"]) -> Float[Array, "channel channel"]:
        def update(_: Array, params: deep_linear.Params) -> deep_linear.Params:
            gradient = jax.grad(deep_linear.population_loss)(params, covariance, cross)
            return jax.tree.map(lambda p, g: p - rate * g, params, gradient)

        # before the students' loop, which is the engine's
        return jax.lax.fori_loop(0, config.filter_steps, update, deep_linear.Params((start, head))).weights[0]

    from_identity, from_small = jax.lax.map(trained, jnp.stack([eye, config.small_start * eye]))
    return jnp.zeros_like(eye), eye, from_identity, from_small


def step(state: State, config: Config) -> State:
    classes = state.start.offset.shape[-1] - state.hidden.shape[-1]

    def objective(students: Network, update: Array) -> Float[Array, ""]:
        def one(student: Network, hidden: Float[Array, "image channel"]) -> Float[Array, ""]:
            outputs = _outputs(student, state.train.x)
            off = jnp.mean(jnp.sum((outputs[:, classes:] - hidden) ** 2, axis=1))
            return classify.cross_entropy(outputs[:, :classes], state.train.labels) + config.alpha * off

        return jnp.sum(jax.vmap(one)(students, state.hidden))  # students share nothing: each has its own gradient

    return state._replace(training=descent.step(state.training, objective, config.learning_rate, config.num_steps))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    classes = state.start.offset.shape[-1] - state.hidden.shape[-1]

    def accuracy(student: Network) -> Float[Array, ""]:
        return images.accuracy(_outputs(student, state.test.x)[:, :classes], state.test.labels)

    return Result(
        jax.vmap(accuracy)(state.start), jax.vmap(accuracy)(state.training.params), state.teacher_accuracy, state.noise
    )


def predict(config: Config) -> Result:
    """Before training all classes are alike: the columns of the head are drawn alike and have no offset."""
    return Result(jnp.full(len(TARGETS), 1 / images.load("digits_8x8").num_classes))


def _drawn(key: PRNGKeyArray, dim: int, width: int, num_outputs: int) -> Network:
    """Gaussian weights that keep the size of a signal, and no biases."""
    key_in, key_out = jax.random.split(key)
    weights = jax.random.normal(key_in, (width, dim)) * (2 / dim) ** 0.5
    readout = jax.random.normal(key_out, (num_outputs, width)) / width**0.5
    return Network(weights, jnp.zeros(width), readout, jnp.zeros(num_outputs))


def _units(network: Network, x: Float[Array, "image input"]) -> Float[Array, "image unit"]:
    return jax.nn.relu(x @ network.weights.T + network.bias[None])


def _outputs(network: Network, x: Float[Array, "image input"]) -> Float[Array, "image output"]:
    return _units(network, x) @ network.readout.T + network.offset[None]


def _centred(values: Float[Array, "image part"]) -> Float[Array, "image part"]:
    return values - jnp.mean(values, axis=0, keepdims=True)


TOLERANCE = {"untrained": Tolerance(reason="exact on average over the weights that are drawn")}
QUICK = {
    "num_samples": 20,
    "teacher_width": 3,
    "num_nuisances": 2,
    "width": 2,
    "teacher_steps": 2,
    "filter_steps": 2,
    "num_steps": 3,
}
SEEDS = 8
GRID = {"nuisance_std": (0.5, 1.5, 4.0, 8.0)}
