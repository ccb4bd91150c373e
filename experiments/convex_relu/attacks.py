r"""FGSM and PGD attain the worst case that the robust convex program proves on its training points, and never exceed it.

Six networks are trained on the same few points: by gradient descent on clean, FGSM and PGD examples, by the convex program, and
by the robust program on the same patterns and on the all-active pattern alone. The last network is an affine function; the
difference from it is what the other patterns add. On test
points under attack the robust programs stay within three points of adversarial training in percent of accuracy; the ordinary
program and clean training lose ten to twenty more. Beyond the training points nothing is proved.

The robust program can use a pattern if some neuron keeps that pattern throughout all boxes (`usable`). Few patterns of
Gaussian gates are usable, and fewer still with more points or larger boxes. So the gates are bisectors of pairs of training
points, of which the first usable ones are taken. The bias is not attacked, hence the all-active pattern is always usable. The
program remains a restriction: its worst case in the boxes is above what descent on PGD examples reaches, and only a little
below the worst case of the affine function.

$$
\begin{align*}
\text{worst} &= \min_v\; \frac{1}{n} \sum_k (1 - q_k)_+ + \beta \sum_b \|v_b\|, \qquad
\text{margin} = \frac{1}{n} \sum_k q_k \\
q_k &= \min_{|\delta_i| \le r_i} y_k f(x_k + \delta) = y_k\, x_k\cdot g_k - \sum_i r_i |g_{ki}|, \qquad
g_k = \sum_b s_b D_{kb} v_b \\
&\text{subject to } \; (2 D_{kb} - 1)\, x_k\cdot v_b \ge \sum_i r_i |v_{ib}| \quad \text{for all } k, b
\end{align*}
$$

Here $r_i$ is `radius`, but 0 for the bias, $v_b$ the weights of the pattern $D_b$ with the sign $s_b$, and $g_k$ the gradient
of $f$ in the box of $x_k$; `ordinary` is the same minimum at $r = 0$. What is compared is the lower bound that the dual
proves.

Source: Bai, Gautam and Sojoudi, arXiv 2201.01965, adversarial section (recalled; its tables were not read); runs are ours
Cost: 40 s
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Precision, Tolerance, check
from ...models.fully_connected import convex_relu, two_layer
from ...solvers import attacks, robust
from ...solvers.descent import adam
from ...solvers.losses import hinge, network_objective
from ...solvers.program import Program, Solution, outputs, relu_program
from ...tasks import tabular
from ...theory.convex import convex_relu as theory
from .._measure import stacked
from . import _descent

Data = Literal["digits", "breast_cancer"]
_LOAD = dict(zip(get_args(Data), (tabular.digits_3_vs_8, tabular.breast_cancer), strict=True))
ATTACKS = ("FGSM", "PGD")
METHODS = ("descent", "descent on FGSM", "descent on PGD", "convex", "robust affine", "robust convex")


@dataclass(frozen=True)
class Config:
    data: Data = "digits"  # digits: 3 against 8; inputs scaled to [0, 1]
    radius: Positive = 0.07  # l_inf radius of the box, in training and in the attacks (paper eps); the bias is not attacked
    weight_decay: Positive = 0.02  # weight decay, paper beta
    num_samples: Count = 40  # training points; the others test
    num_patterns: Count = 10  # usable patterns of the convex programs beside the all-active one; each with either sign
    num_gates: Count = 60  # bisectors drawn to find them
    width: Count = 40  # of the networks trained by gradient descent
    init_scale: NonNegative = 0.3  # standard deviation of their weights at the start
    learning_rate: Positive = 0.01  # of Adam, falling to 0 by a cosine
    num_steps: Count = 2000  # updates
    dtype: Precision = "float64"  # the programs are solved to 1e-4

    def __post_init__(self):
        check(self)
        if self.num_patterns > self.num_gates:
            raise ValueError(f"num_patterns must be at most num_gates = {self.num_gates}, got {self.num_patterns}")

    def box(self, x: Float[Array, "sample dim"]) -> Float[Array, "dim"]:
        """The radius along every input."""
        return jnp.full(x.shape[1], self.radius, x.dtype).at[-1].set(0)


class State(NamedTuple):
    train: tuple[Float[Array, "sample dim"], Float[Array, "sample"]]
    test: tuple[Float[Array, "sample dim"], Float[Array, "sample"]]
    gates: Float[Array, "dim pattern"]  # the all-active one first
    used: Bool[Array, "pattern"]  # False fills up where too few are usable
    usable: Float[Array, "kind"]
    key: PRNGKeyArray


class Result(NamedTuple):
    """Objectives are mean hinge + penalty: 1 for the zero network."""

    worst: Float[Array, "attack"]  # of the robust convex network on attacked training points
    margin: Float[Array, "attack"]  # of the same network on the same points: mean of y f
    ordinary: Float[Array, ""]  # of the convex network on the training points as they are
    objective: Float[Array, "method input"] | None = None  # on training points
    margins: Float[Array, "method input"] | None = None  # on training points, their mean
    accuracy: Float[Array, "method input"] | None = None  # share of test points classified right
    usable: Float[Array, "kind"] | None = None  # share of gates whose pattern splits the points and is robust


def labels(config: Config) -> dict[str, tuple]:
    return {"attack": ATTACKS, "method": METHODS, "input": ("clean", *ATTACKS), "kind": ("Gaussian", "bisectors")}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_split, key_gauss, key_pairs, key = jax.random.split(key, 4)
    x, y = _LOAD[config.data]()
    train, test = tabular.split(key_split, x, y, config.num_samples)
    inputs = train[0], test[0]
    if config.data != "digits":  # whose pixels are in [0, 1] already
        inputs = tabular.unit_range(*inputs)
    train, test = ((tabular.with_bias(x), y) for x, (_, y) in zip(inputs, (train, test), strict=True))
    x, box = train[0], config.box(train[0])
    gaussian = jax.random.normal(key_gauss, (x.shape[1], config.num_gates))
    drawn = bisectors(key_pairs, x, config.num_gates)
    fit = jnp.stack([robust_gates(gates, x, box) & splits(gates, x) for gates in (gaussian, drawn)])
    first = jnp.argsort(~fit[1], stable=True)[: config.num_patterns]
    gates = jnp.concatenate([jnp.eye(x.shape[1])[:, -1:], drawn[:, first]], axis=1)
    used = jnp.concatenate([jnp.ones(1, bool), fit[1][first]])
    return State(train, test, gates, used, jnp.mean(fit.astype(x.dtype), axis=1), key)


def bisectors(key: PRNGKeyArray, x: Float[Array, "sample dim"], num_gates: int) -> Float[Array, "dim gate"]:
    """Hyperplanes half way between two random points; the last input is the bias."""
    key_one, key_other = jax.random.split(key)
    i = jax.random.randint(key_one, (num_gates,), 0, len(x))
    j = (i + jax.random.randint(key_other, (num_gates,), 1, len(x))) % len(x)
    offset = jnp.sum(x[j] ** 2 - x[i] ** 2, axis=1) / 2
    return (x[i] - x[j]).at[:, -1].set(offset).T


def splits(gates: Float[Array, "dim gate"], x: Float[Array, "sample dim"]) -> Bool[Array, "gate"]:
    """Whether some points are active and some are not."""
    share = jnp.mean(convex_relu.patterns(gates, x), axis=0)
    return (share > 0) & (share < 1)


def robust_gates(
    gates: Float[Array, "dim gate"], x: Float[Array, "sample dim"], box: Float[Array, "dim"], num_steps: int = 1000
) -> Bool[Array, "gate"]:
    """For each gate, whether some v keeps its pattern in all boxes, min_k |x_k.v| >= sum_i r_i |v_i|; if not, v must be 0.

    Adam on the smallest ratio of the two sides, smoothed ever less. What it finds is a proof; what it does not find may yet
    exist: the ratio falls short of the linear program's by a few percent.
    """
    side = 2 * convex_relu.patterns(gates, x) - 1

    def heights(v: Array) -> Array:
        return side * (x @ v) / (box @ jnp.abs(v))[None]

    def unit(v: Array) -> Array:
        return v * (jnp.max(box) / (box @ jnp.abs(v)))[None]

    optimiser = optax.adam(optax.exponential_decay(0.03, num_steps, 0.01))

    def climb(i: Array, carry: tuple) -> tuple:
        v, memory, best = carry
        temperature = 0.02 ** (i / num_steps)
        gradient = jax.grad(lambda v: temperature * jnp.sum(jax.nn.logsumexp(-heights(v) / temperature, axis=0)))(v)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
            change, memory = optimiser.update(gradient, memory)
        v = unit(v + change)
        return v, memory, jnp.maximum(best, jnp.min(heights(v), axis=0))

    v = unit(gates)
    return jax.lax.fori_loop(0, num_steps, climb, (v, optimiser.init(v), jnp.min(heights(v), axis=0)))[2] >= 1


def simulate(state: State, config: Config) -> Result:
    (x, y), (x_test, y_test) = state.train, state.test
    box, keys = config.box(x), jax.random.split(state.key, 3)
    start = _descent.start(keys[0], x.shape[1], config.width, config.init_scale)
    trained = (
        train(start, lambda params: x, y, config),
        train(start, lambda params: attacks.fgsm(params, x, y, box), y, config),
        train(start, lambda params: attacks.pgd(params, x, y, box, num_steps=10), y, config),
    )
    whole, variants = programs(state, config)
    solved = jax.vmap(convex_relu.to_network)(solve(whole, variants).weights, variants.sign)

    def measure(params: two_layer.Params) -> tuple[Float[Array, "input"], ...]:
        """Objective and mean margin on the training points, accuracy on the test points: clean, FGSM, PGD."""
        on_train = x, attacks.fgsm(params, x, y, box), attacks.pgd(params, x, y, box, keys[1])
        on_test = x_test, attacks.fgsm(params, x_test, y_test, box), attacks.pgd(params, x_test, y_test, box, keys[2])
        objective = [network_objective(params, points, y, config.weight_decay, hinge) for points in on_train]
        margin = [jnp.mean(attacks.margins(params, points, y)) for points in on_train]
        accuracy = [jnp.mean((attacks.margins(params, points, y_test) > 0).astype(x.dtype)) for points in on_test]
        return jnp.stack(objective), jnp.stack(margin), jnp.stack(accuracy)

    measured = [jax.lax.map(measure, networks) for networks in (stacked(trained), solved)]
    objective, margins, accuracy = (jnp.concatenate(parts) for parts in zip(*measured, strict=True))
    convex, robust_convex = METHODS.index("convex"), METHODS.index("robust convex")
    return Result(
        objective[robust_convex, 1:],
        margins[robust_convex, 1:],
        objective[convex, 0],
        objective,
        margins,
        accuracy,
        state.usable,
    )


def train(start: two_layer.Params, points_fn, y: Float[Array, "sample"], config: Config) -> two_layer.Params:
    """Adam on the examples that points_fn(params) gives at every update."""

    def objective(params: two_layer.Params) -> Float[Array, ""]:
        return network_objective(params, points_fn(jax.lax.stop_gradient(params)), y, config.weight_decay, hinge)

    # the rate is that of u and alpha; the weights of two_layer are sqrt(width) larger
    rate = config.learning_rate * jnp.sqrt(config.width)
    return adam(objective, start, rate, config.num_steps)[0]


class Variants(NamedTuple):
    """What tells the three programs apart; leading axis: ordinary, robust affine, robust."""

    sign: Float[Array, "program block"]  # 0 where a block is not used
    box: Float[Array, "program dim"]


def programs(state: State, config: Config) -> tuple[Program, Variants]:
    """One program on the usable patterns, and its variants: one size, so that one compiled solver serves them all."""
    x, y = state.train
    whole, box = relu_program(x, y, state.gates, config.weight_decay), config.box(x)
    used = jnp.stack([state.used, jnp.arange(len(state.used)) == 0, state.used])
    sign = whole.sign[None] * jnp.tile(used, (1, 2)).astype(x.dtype)
    return whole, Variants(sign, jnp.stack([jnp.zeros_like(box), box, box]))


def solve(whole: Program, variants: Variants) -> Solution:
    """One after the other. The first penalty is of the size of the curvature: small, since the hinge is a mean."""
    return jax.lax.map(lambda v: robust.solve(whole._replace(sign=v.sign), v.box, rho=0.003, rtol=_RTOL), variants)


def predict(state: State, config: Config) -> Result:
    """No point of a program is below its dual bound; in the boxes, its network is linear, and has the margins of that.

    The bound is a proof whoever solved the program. The margins are those of the solution, which need not be unique.
    """
    whole, variants = programs(state, config)
    two = jax.tree.map(lambda leaf: leaf[::2], variants)  # ordinary and robust
    solved = solve(whole, two)
    ordinary, worst = solved.bound
    margin = jnp.mean(linear_margins(solved.weights[1], whole._replace(sign=two.sign[1]), two.box[1]))
    return Result(jnp.stack([worst, worst]), jnp.stack([margin, margin]), ordinary)


def linear_margins(weights: Float[Array, "dim block"], program: Program, box: Float[Array, "dim"]) -> Float[Array, "sample"]:
    """The worst margin of every training point for weights that satisfy the program: y f - sum_i r_i |g_i|."""
    reach = robust.slopes(weights, program) * box[None]
    return theory.worst_margin(outputs(weights, program), reach, program.y, 1.0)


_RTOL = 1e-4  # verified gap of the programs
TOLERANCE = {
    "worst": Tolerance(
        _RTOL,
        reason="the solver stops at a verified gap of 1e-4: the attacked objective is between its two bounds",
    ),
    "margin": Tolerance(
        _RTOL,
        reason="the solver stops at a verified gap of 1e-4: by so much of the objective the network may depart from the "
        "program, outside of its cones",
    ),
    "ordinary": Tolerance(
        _RTOL, reason="the solver stops at a verified gap of 1e-4, which is between the network's objective and the bound"
    ),
}
QUICK = {"num_samples": 12, "num_patterns": 3, "num_gates": 12, "width": 8, "num_steps": 50}
GRID = {"data": ("digits", "breast_cancer")}
PRESETS = {"small_box": {"radius": 0.03}, "large_box": {"radius": 0.12}, "more_points": {"num_samples": 100, "radius": 0.03}}
