r"""Equilibrium networks learn digits whatever their solver; a start near the fixed point saves evaluations.

One layer of tanh units between the pixels and a linear readout; for the same seed all start from the same weights and see the
same batches. Its state is the fixed point, found by Picard's iteration, Anderson's or the flow, or the state of the flow at
time 1, a neural ODE with input injection. Each starts at 0 (vanilla), at an explicit layer of its own (skip) or at the layer's
answer to 0 (skip_reg), and the skip variants pay for the distance from the start to the fixed point. Gradients through the
fixed point are implicit; the adjoint equation is solved by Anderson's iteration, whatever solver found the state.

What is predicted is chance before training, averaged over readouts that are distributed alike, and the evaluations after which
Picard's iteration is at rest on test images: from the state $z_s$ after its first $s$ steps and the Jacobian $J$ at the fixed
point $z_*$ of the trained network,

$$
1 + s + \min \{ k : \max_i | ((J - I) J^k (z_s - z_*))_i | \le \text{tolerance} \}
$$

Source: Pal, Edelman and Rackauckas, arXiv 2201.12240, whose question it is; their network on MNIST has 128 units between dense
layers; reported by the paper: test accuracy 97.93 % (vanilla), 97.76 % (skip), 97.97 % (skip_reg) with 18.3, 4.0 and 4.0
evaluations of the layer; the runs and the prediction are ours
Cost: 70 s
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, MinLen
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, Positive, Tolerance, check
from ...models.equilibrium import deep_equilibrium
from ...models.transformers import integrators
from ...solvers import classify, fixed_point
from ...solvers.equilibrium_gradients import iterated
from ...tasks import images
from ...theory.equilibria import linear_maps

Start = Literal["zero", "skip", "skip_reg"]
SOLVERS = {"picard": fixed_point.picard, "anderson": fixed_point.anderson, "continuous": fixed_point.continuous}


@dataclass(frozen=True)
class Config:
    data: str = "digits_8x8"  # or mnist_5k, or a folder with the four IDX files of MNIST or Fashion-MNIST
    num_samples: Count = 1400  # training images; the others, or the published ones, test
    model: deep_equilibrium.Config = field(default_factory=lambda: deep_equilibrium.Config(dim=64, width=64, start="skip"))
    starts: Annotated[tuple[Start, ...], MinLen(1), Distinct] = ("zero", "skip", "skip_reg")  # of the iteration: a network each
    solver: Literal["picard", "anderson", "continuous", "neural_ode"] = "picard"  # what finds the state, in training and test
    atol: Positive = 1e-4  # largest entry of |f(z) - z| at which a solver rests; tolerance of the neural ODE's steps
    max_steps: Count = 100  # of a solver; where they do not suffice training goes on with what there is (backward: 10 times)
    skip_weight: NonNegative = 0.01  # of the skip penalty (lambda_skip)
    known_steps: Annotated[int, Ge(0)] = 4  # of Picard's iteration that are taken before the rest is predicted
    num_measured: Count = 32  # test images whose Jacobians are measured, those left out whose fixed point is not found
    num_readouts: Count = 64  # sign changes of the readout over which the untrained accuracy is averaged, at most the width
    training: classify.Training = field(default_factory=lambda: classify.Training(batch_size=32, num_steps=200))

    def __post_init__(self):
        check(self)
        images.check_name(self.data)
        if self.model.start != "skip":
            raise ValueError(f"model.start must be 'skip', which has the parameters of all starts, got {self.model.start!r}")
        if self.num_readouts > self.model.width:
            raise ValueError(f"num_readouts must be at most model.width = {self.model.width}, got {self.num_readouts}")

    @property
    def images(self) -> images.Images:
        """The data; raises ValueError if they do not fit the model."""
        found = images.load(self.data)
        if self.model.dim != found.pixels.shape[1]:
            raise ValueError(f"model.dim must be the pixels of {self.data}, {found.pixels.shape[1]}, got {self.model.dim}")
        return found


class Result(NamedTuple):
    untrained: Float[Array, "start"]  # share classified right before training, mean over sign changes of the readout
    picard_evaluations: Float[Array, "start"]  # of the layer until Picard's iteration rests, mean over images
    accuracy: Float[Array, "start"] | None = None  # after training
    num_evaluations: Float[Array, "start"] | None = None  # of the layer by the network's own solver, mean over test images
    untrained_evaluations: Float[Array, "start"] | None = None  # the same before training
    backward_evaluations: Float[Array, "start"] | None = None  # products with J^T until the adjoint equation is solved, to atol
    residual: Float[Array, "start"] | None = None  # largest entry of |f(z) - z| where the solver stopped, mean over test images
    converged: Float[Array, "start"] | None = None  # share of test images for which the solver came to rest
    distance: Float[Array, "start"] | None = None  # |z_0 - z*| / |z*|, mean over images
    condition: Float[Array, "start"] | None = None  # condition number of I - J at the fixed point, mean over images
    untrained_condition: Float[Array, "start"] | None = None  # the same before training
    num_parameters: Float[Array, "start"] | None = None  # trained numbers


def labels(config: Config) -> dict[str, tuple]:
    return {"start": config.starts}


class Params(NamedTuple):
    network: deep_equilibrium.Params
    readout: Float[Array, "class width"]
    bias: Float[Array, "class"]


class State(NamedTuple):
    before: Params  # training
    classifiers: classify.State  # a network for each start, on a leading axis
    split: images.Split


def init(key: PRNGKeyArray, config: Config) -> State:
    key_split, key_network, key_readout, key_train = jax.random.split(key, 4)
    network = deep_equilibrium.init(key_network, config.model)
    width, num_classes = config.model.width, config.images.num_classes
    readout = jax.random.normal(key_readout, (num_classes, width)) / jnp.sqrt(width)
    before = Params(network, readout, jnp.zeros(num_classes))
    one = classify.start(key_train, before)
    alike = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(config.starts), *leaf.shape)), one)
    return State(before, alike, images.split(key_split, config.images, config.num_samples))


def step(state: State, config: Config) -> State:
    """An update of each network by the cross-entropy of some training images and the skip penalty."""

    def update(given: tuple[classify.State, Array]) -> classify.State:
        classifier, which = given

        def loss(params: Params, key: PRNGKeyArray) -> Float[Array, ""]:
            chosen = jax.random.choice(key, state.split.train, (config.training.batch_size,))
            x, labels = images.take(config.images, chosen)
            z = jax.vmap(lambda one: _state(params.network, one, which, config).state)(x)
            penalty = jax.vmap(lambda z, one: _penalty(params.network, z, one, which, config))(z, x)
            return classify.cross_entropy(_logits(params, z), labels) + config.skip_weight * jnp.mean(penalty)

        return classify.step(classifier, loss, config.training)

    # one network after the other: side by side all would iterate as long as the slowest
    return state._replace(classifiers=jax.lax.map(update, (state.classifiers, _starts(config))))


def num_steps(config: Config) -> int:
    return config.training.num_steps


def simulate(state: State, config: Config) -> Result:
    x, labels = images.take(config.images, state.split.test)
    some, theirs = x[: config.num_measured], labels[: config.num_measured]

    def measure(given: tuple[Params, Array]) -> tuple[Float[Array, ""], ...]:
        params, which = given
        found = jax.vmap(lambda one: _state(params.network, one, which, config))(x)
        if config.solver == "picard":
            near = jax.tree.map(lambda leaf: leaf[: config.num_measured], found)
        else:
            near = jax.vmap(lambda one: _picard(params.network, one, which, config))(some)
        fixed = jax.vmap(lambda z, one: _at_rest(params.network, z, one, config))(near.state, some)
        start = jax.vmap(lambda one: _start(params.network, one, which, config))(some)
        blind = jax.vmap(lambda sign: images.accuracy(_logits(params, sign[None] * found.state), labels))(_signs(config))
        # one after the other: jaxlib before 0.11.1 lets programs with a batch of decompositions run one at a time
        condition_fn = partial(deep_equilibrium.condition_number, params.network, config=config.model)
        condition = jax.lax.map(lambda at: condition_fn(at[0], at[1]), (fixed, some))
        num_evaluations, converged = (part.astype(x.dtype) for part in (found.num_evaluations, found.converged))
        if config.solver == "neural_ode":  # differentiated once an evaluation
            backward = num_evaluations[: config.num_measured]
        else:
            backward = jax.vmap(lambda z, one, label: _backward(params, z, one, label, config))(fixed, some, theirs)
        return (
            images.accuracy(_logits(params, found.state), labels),
            jnp.mean(blind),
            jnp.mean(num_evaluations),
            jnp.nanmean(condition),
            jnp.mean(found.residual),
            jnp.mean(converged),
            jnp.nanmean(jnp.linalg.norm(start - fixed, axis=1) / jnp.linalg.norm(fixed, axis=1)),
            jnp.nanmean(jnp.where(jnp.isfinite(condition), backward, jnp.nan)),
            jnp.mean(near.num_evaluations.astype(x.dtype)),
        )

    count = len(config.starts)
    both = jax.tree.map(
        lambda one, trained: jnp.concatenate([jnp.broadcast_to(one, (count, *one.shape)), trained]),
        state.before,
        state.classifiers.params,
    )
    measured = jax.lax.map(measure, (both, jnp.tile(_starts(config), 2)))
    accuracy, blind, num_evaluations, condition, residual, converged, distance, backward, picard = (
        part.reshape(2, count) for part in measured
    )
    skip = state.before.network.skip_u, state.before.network.skip_b
    whole, explicit = (sum(leaf.size for leaf in jax.tree.leaves(part)) for part in (state.before, skip))
    return Result(
        untrained=blind[0],
        picard_evaluations=picard[1],
        accuracy=accuracy[1],
        num_evaluations=num_evaluations[1],
        untrained_evaluations=num_evaluations[0],
        backward_evaluations=backward[1],
        residual=residual[1],
        converged=converged[1],
        distance=distance[1],
        condition=condition[1],
        untrained_condition=condition[0],
        num_parameters=jnp.array([whole if start == "skip" else whole - explicit for start in config.starts], x.dtype),
    )


def predict(state: State, config: Config) -> Result:
    """Before training all classes are alike: the rows of the readout are drawn alike and have no bias."""
    x, _ = images.take(config.images, state.split.test[: config.num_measured])

    def evaluations(params: deep_equilibrium.Params, one: Float[Array, "dim"], which: Array) -> Float[Array, ""]:
        fixed = _at_rest(params, _picard(params, one, which, config).state, one, config)
        jacobian = deep_equilibrium.jacobian(params, fixed, one, config.model)

        def advance(error: Array, _: None) -> tuple[Array, Array]:
            after = linear_maps.picard_error(np.asarray(1), jacobian, error)
            return after, jnp.max(jnp.abs(after - error))

        path = fixed_point.iterates(
            lambda z, _: deep_equilibrium.layer(params, z, one, config.model),
            _start(params, one, which, config),
            num_steps=config.known_steps,
        )
        linear = jax.lax.scan(advance, path[-1] - fixed, length=config.max_steps + 1)[1]
        residual = jnp.concatenate([jnp.max(jnp.abs(jnp.diff(path, axis=0)), axis=1), linear])[: config.max_steps + 1]
        rests = residual <= config.atol
        return 1 + jnp.where(jnp.any(rests), jnp.argmax(rests), config.max_steps).astype(x.dtype)

    def network(given: tuple[deep_equilibrium.Params, Array]) -> Float[Array, ""]:
        return jnp.mean(jax.vmap(evaluations, (None, 0, None))(given[0], x, given[1]))

    chance = jnp.full((len(config.starts),), 1 / config.images.num_classes, x.dtype)
    return Result(chance, jax.lax.map(network, (state.classifiers.params.network, _starts(config))))


def _starts(config: Config) -> Int[Array, "start"]:
    """Their places in `Start`."""
    return jnp.array([get_args(Start).index(start) for start in config.starts])


def _models(config: Config) -> list[deep_equilibrium.Config]:
    """The network with each start; the scales of its weights, which are traced, matter to `init` alone."""
    settings = {"dim": config.model.dim, "width": config.model.width, "activation": config.model.activation}
    return [deep_equilibrium.Config(**settings, start=start) for start in get_args(Start)]


def _start(
    params: deep_equilibrium.Params, x: Float[Array, "dim"], which: Int[Array, ""], config: Config
) -> Float[Array, "width"]:
    each = [deep_equilibrium.start(params, x, one) for one in _models(config)]
    return jax.lax.select_n(which, *each)


def _penalty(
    params: deep_equilibrium.Params, z: Float[Array, "width"], x: Float[Array, "dim"], which: Int[Array, ""], config: Config
) -> Float[Array, ""]:
    each = [deep_equilibrium.skip_penalty(params, z, x, one) for one in _models(config)]
    return jax.lax.select_n(which, *each)


class _Found(NamedTuple):
    state: Float[Array, "width"]
    residual: Float[Array, "start"]
    num_evaluations: Int[Array, ""] | Float[Array, ""]
    converged: Array


def _state(params: deep_equilibrium.Params, x: Float[Array, "dim"], which: Int[Array, ""], config: Config) -> _Found:
    """The state of one image."""
    start = _start(params, x, which, config)
    if config.solver != "neural_ode":
        # the loss is a mean over the batch: of one example's own loss the adjoint is solved to atol
        adjoint = iterated(Partial(partial(_solve_adjoint, config=config), atol=config.atol / config.training.batch_size))
        found = SOLVERS[config.solver](
            partial(_layer, config=config), start, (params, x), atol=config.atol, max_steps=config.max_steps, adjoint=adjoint
        )
        return _Found(found.state, found.residual, found.num_evaluations, found.converged)

    def change(params: deep_equilibrium.Params, z: Array) -> Array:
        return deep_equilibrium.layer(params, z, x, config.model) - z

    end = integrators.solve(change, params, start, 1.0, rtol=config.atol, max_steps=config.max_steps)
    residual = jax.lax.stop_gradient(jnp.max(jnp.abs(change(params, end.state))))
    return _Found(end.state, residual, end.num_evaluations, residual <= config.atol)


def _layer(z: Float[Array, "width"], args: tuple[deep_equilibrium.Params, Array], config: Config) -> Float[Array, "width"]:
    return deep_equilibrium.layer(args[0], z, args[1], config.model)


def _logits(params: Params, z: Float[Array, "image width"]) -> Float[Array, "image class"]:
    return z @ params.readout.T + params.bias[None]


def _signs(config: Config) -> Float[Array, "readout width"]:
    """Walsh functions of the units: a readout whose columns change signs is distributed alike, and uncorrelated with itself."""
    both = jnp.arange(config.num_readouts)[:, None] & jnp.arange(config.model.width)[None]
    return jnp.where(jax.lax.population_count(both) % 2 == 1, -1.0, 1.0)


def _at_rest(
    params: deep_equilibrium.Params, near: Float[Array, "width"], x: Float[Array, "dim"], config: Config
) -> Float[Array, "width"]:
    """z* to rounding, from a state near it; NaN where Picard's iteration does not find it."""
    atol = 10 * float(jnp.finfo(x.dtype).eps)
    found = fixed_point.picard(partial(_layer, config=config), near, (params, x), atol=atol, max_steps=4000)
    return jnp.where(found.converged, found.state, jnp.nan)


def _picard(
    params: deep_equilibrium.Params, x: Float[Array, "dim"], which: Int[Array, ""], config: Config
) -> fixed_point.Solution:
    start, settings = _start(params, x, which, config), {"atol": config.atol, "max_steps": config.max_steps}
    return fixed_point.picard(partial(_layer, config=config), start, (params, x), **settings)


def _backward(
    params: Params, z: Float[Array, "width"], x: Float[Array, "dim"], label: Int[Array, ""], config: Config
) -> Float[Array, ""]:
    """Products with J^T until lambda = J^T lambda + g is solved to atol of the largest entry of g."""
    jacobian = deep_equilibrium.jacobian(params.network, z, x, config.model)
    gradient = jax.grad(lambda z: classify.cross_entropy(_logits(params, z[None]), label[None]))(z)
    gradient = gradient / jnp.max(jnp.abs(gradient))

    def adjoint(solution: Array, args: Any) -> Array:
        jacobian, gradient = args
        return solution @ jacobian + gradient

    solution = _solve_adjoint(adjoint, jnp.zeros_like(z), (jacobian, gradient), config.atol, config)
    return solution.num_evaluations.astype(z.dtype)


def _solve_adjoint(f: Any, start: Array, args: Any, atol: Any, config: Config) -> fixed_point.Solution:
    """By Anderson's iteration: Picard's would not converge where an eigenvalue is beyond 1, which happens during training."""
    return fixed_point.anderson(f, start, args, atol=atol, max_steps=10 * config.max_steps)


TOLERANCE = {
    "untrained": Tolerance(reason="exact on average over the weights that are drawn"),
    "picard_evaluations": Tolerance(
        absolute=3,
        reason="steps beyond the known ones until the layer is linear: two in neural ODEs, which seek no fixed point",
    ),
}
QUICK = {
    "num_samples": 1700,
    "model.width": 8,
    "num_measured": 4,
    "num_readouts": 8,
    "training.batch_size": 8,
    "training.num_steps": 5,
}
SEEDS = 8
GRID = {"solver": ("picard", "anderson", "continuous", "neural_ode")}
