r"""The global optimum beyond toy sizes: the ReLU program on a growing set of patterns, until the certificate closes.

A data set of 500 points in ten dimensions has about 1e19 activation patterns (`theory.convex.activation_patterns`); an
optimum needs a hundred or so. On a fixed random sample of patterns the program is only an upper bound, and a poor one. So, in
rounds:

1. search for the neurons that violate the dual constraint $|\nu \cdot \operatorname{relu}(x u)| \le \beta$ most, with $\beta$
   the weight decay, and add them to the network;
2. train the network for a while by gradient descent, which carries neurons from cell to cell;
3. solve the ReLU program on the patterns of all these neurons, which is the optimum over their cells, to high accuracy;
4. certify. Stop when `objective - bound` is small; else go on from the merged neurons of the solution.

The objective never rises. The answer is optimal within the gap, on condition that the search has found the largest
violation; where all patterns can be listed, `certificate.certify` turns this into a proof.

Source: derived here; adding the atom of the largest dual violation is column generation, and moving atoms between exact
solves is known for measures as sliding Frank-Wolfe (Denoyelle et al., Inverse Problems 2020, arXiv 1811.06416; recalled).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from ..documented import documented
from ..models.fully_connected import convex_relu, two_layer
from ..theory.numerics.arguments import ArrayLike, at_least, require, takes
from . import interior_point, losses
from .certificate import Certificate, Found, search
from .descent import adam
from .losses import Loss
from .program import Numbers, Program, checked
from .program import network as network_of


@documented
class Round(NamedTuple):
    """One round of `grow`."""

    objective: float  # of the best network so far
    bound: float  # the best lower bound so far
    ratio: float  # N(nu)/weight_decay, 1 at an optimum
    blocks: int  # of the program that was solved
    neurons: int  # of its solution, merged


@documented
class Grown(NamedTuple):
    network: two_layer.Params
    certificate: Certificate  # of the network, by the best dual point of the rounds; no proof, as its norm is from a search
    rounds: list[Round]


@takes(width=at_least(1), max_rounds=at_least(1), num_starts=at_least(1), descent_steps=at_least(1))
def grow(
    key: PRNGKeyArray,
    x: Numbers,
    y: Numbers,
    weight_decay: Numbers,
    *,
    loss: Loss = losses.squared,
    rtol: float = 1e-5,
    width: int = 100,
    max_rounds: int = 20,
    num_starts: int = 1024,
    descent_steps: int = 1500,
    report: Callable[[int, Round], None] | None = None,
) -> Grown:
    """The best two-layer ReLU network of any width, with a gap of at most rtol * objective unless the rounds run out.

    `width` random neurons start; `report(round, line)` is called after every round. Python drives the rounds (sizes
    change), so this is not to be jitted; it takes seconds at (n, dim) = (500, 10). Raises ValueError on bad data.
    """
    x, y, weight_decay = checked(x, y, weight_decay)
    loss.check(y, smooth=True)
    require(at_least(0), rtol=rtol)
    key_start, key_rounds = jax.random.split(key)
    (weights, sign), nu = _start(key_start, x, y, loss, width)
    best = convex_relu.to_network(weights, sign)
    weights, sign = np.asarray(weights), np.asarray(sign)
    objective, bound, rounds = np.inf, -np.inf, []
    dual = nu, jnp.zeros(()), jnp.zeros(x.shape[1]), jnp.ones(())  # nu, N, direction and sign of the best bound
    for number in range(max_rounds):
        key_round = jax.random.fold_in(key_rounds, number)
        found = _search(key_round, nu, x, y, weight_decay, _near(weights), loss, num_starts)[0]
        new, new_sign = _violations(found, weight_decay)
        size = 0.01 * np.mean(np.linalg.norm(weights, axis=0))
        weights, sign = np.concatenate([weights, size * new], axis=1), np.concatenate([sign, new_sign])
        rate = 0.05 / (1 + number)
        moved, moved_objective, products = _descend(*_padded(weights, sign), x, y, weight_decay, loss, rate, descent_steps)
        moved_weights, moved_sign = (np.asarray(array) for array in products)
        alive = np.linalg.norm(moved_weights, axis=0) > 1e-6 * np.linalg.norm(moved_weights, axis=0).max(initial=0)
        directions = np.concatenate([moved_weights[:, alive], weights], axis=1)
        program = _program(directions, np.concatenate([moved_sign[alive], sign]), x, y, weight_decay)
        solved, solved_objective, nu = _solve(program, loss, 0.1 * rtol)
        network = convex_relu.merge_collinear(solved, 1e-2, 1e-4)
        weights, sign = (np.asarray(array) for array in convex_relu.products(network))
        merged_objective = _objective(*_padded(weights, sign), x, y, weight_decay, loss)
        for candidate, value in ((solved, solved_objective), (network, merged_objective), (moved, moved_objective)):
            if float(value) < objective:
                best, objective = candidate, float(value)
        key_proof = jax.random.fold_in(key_round, 1)
        found, norm, proved = _search(key_proof, nu, x, y, weight_decay, _near(weights), loss, num_starts)
        if float(proved) > bound:
            top = np.argmax(found.value)
            bound, dual = float(proved), (nu, norm, found.direction[:, top], found.sign[top])
        blocks = int(np.sum(np.asarray(program.sign) != 0))
        rounds.append(Round(objective, bound, float(norm) / float(weight_decay), blocks, sign.size))
        if report is not None:
            report(number, rounds[-1])
        if objective - bound <= rtol * abs(objective):
            break
    certificate = Certificate(jnp.asarray(objective), jnp.asarray(bound), *dual, proof=False)
    return Grown(best, certificate, rounds)


@partial(jax.jit, static_argnames=("loss", "width"))
def _start(key: PRNGKeyArray, x: Array, y: Array, loss: Loss, width: int) -> tuple[tuple[Array, Array], Array]:
    """Products u alpha of random direction and sign, together of about the size of y; the dual point of the zero network."""
    key_direction, key_sign = jax.random.split(key)
    direction = jax.random.normal(key_direction, (x.shape[1], width), x.dtype)
    seen = jnp.linalg.norm(x @ direction) / jnp.sqrt(jnp.asarray(width, x.dtype))  # root mean square over the neurons
    scale = jnp.linalg.norm(y) / (jnp.where(seen > 0, seen, 1) * jnp.sqrt(jnp.asarray(width, x.dtype)))
    sign = jax.random.rademacher(key_sign, (width,), x.dtype)
    return (scale * direction, sign), loss.dual_point(jnp.zeros_like(y), y)


@partial(jax.jit, static_argnames=("loss", "num_starts"))
def _search(
    key: PRNGKeyArray, nu: Array, x: Array, y: Array, weight_decay: Array, near: ArrayLike, loss: Loss, num_starts: int
) -> tuple[Found, Array, Array]:
    """The local maxima that the search finds, N(nu), and the bound that N(nu) gives."""
    found = search(key, nu, x, num_starts=num_starts, near=jnp.asarray(near))
    norm = jnp.max(found.value)
    return found, norm, loss.bound(nu, norm, y, weight_decay)


def _near(weights: np.ndarray) -> np.ndarray:
    """Directions from which a search starts beside random ones, padded to the capacity by zeros, which are random starts."""
    return np.pad(weights, [(0, 0), (0, -weights.shape[1] % _CAPACITY)])


def _violations(found: Found, weight_decay: Array, most: int = 64, apart: float = 1e-2) -> tuple[np.ndarray, np.ndarray]:
    """Of the local maxima above weight_decay the largest, one for each direction and sign."""
    value, direction, sign = (np.asarray(array) for array in found)
    chosen: list[int] = []
    for j in np.argsort(-value):
        if value[j] <= float(weight_decay) * (1 + 1e-7) or len(chosen) == most:
            break
        if not any(sign[i] == sign[j] and np.linalg.norm(direction[:, i] - direction[:, j]) < apart for i in chosen):
            chosen.append(int(j))
    return direction[:, chosen], sign[chosen]


_CAPACITY = 64  # sizes are rounded up to its multiples, so that the rounds share compiled programs


def _padded(weights: np.ndarray, sign: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The products, filled up to the capacity with zeros, which stay zero in training."""
    extra = -sign.size % _CAPACITY
    return np.pad(weights, [(0, 0), (0, extra)]), np.pad(sign, (0, extra), constant_values=1)


@partial(jax.jit, static_argnames="loss")
def _objective(weights: ArrayLike, sign: ArrayLike, x: Array, y: Array, weight_decay: Array, loss: Loss) -> Array:
    return losses.network_objective(convex_relu.to_network(jnp.asarray(weights), jnp.asarray(sign)), x, y, weight_decay, loss)


@partial(jax.jit, static_argnames=("loss", "num_steps"))
def _descend(
    weights: ArrayLike, sign: ArrayLike, x: Array, y: Array, weight_decay: Array, loss: Loss, rate: ArrayLike, num_steps: int
) -> tuple[two_layer.Params, Array, tuple[Array, Array]]:
    """Adam with a cosine decay to zero from `rate` times the mean size of the living output weights.

    The network, its objective and its products.
    """
    params = convex_relu.to_network(jnp.asarray(weights), jnp.asarray(sign))
    alive = jnp.sum((params.a != 0).astype(params.a.dtype))
    size = jnp.sum(jnp.abs(params.a)) / jnp.maximum(alive, 1)
    objective_fn = partial(losses.network_objective, x=x, y=y, weight_decay=weight_decay, loss=loss)
    params, objective = adam(objective_fn, params, rate * size, num_steps)
    return params, objective[-1], convex_relu.products(params)


def _program(directions: np.ndarray, sign: np.ndarray, x: Array, y: Array, weight_decay: Array) -> Program:
    """The ReLU program on the patterns of signed directions, each once, and blocks switched off up to the capacity."""
    active = convex_relu.patterns(jnp.asarray(directions), x)
    first = convex_relu.distinct(np.concatenate([active, sign[None] > 0]))
    index = np.concatenate([first, np.full(-len(first) % _CAPACITY, first[0])])
    on = jnp.asarray(np.where(np.arange(len(index)) < len(first), sign[index], 0))
    return Program(x, y, active[:, index], on, weight_decay)


@partial(jax.jit, static_argnames=("loss", "rtol"))
def _solve(program: Program, loss: Loss, rtol: float) -> tuple[two_layer.Params, Array, Array]:
    """The network of the optimum, its objective and its dual point."""
    solution = interior_point.solve(program, cones=True, loss=loss, rtol=rtol)
    network = network_of(solution, program)
    nu = loss.dual_point(convex_relu.outputs(solution.weights, program.sign, program.active, program.x), program.y)
    return network, losses.network_objective(network, program.x, program.y, program.weight_decay, loss), nu
