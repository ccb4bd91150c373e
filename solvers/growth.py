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

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..documented import documented
from ..models.fully_connected import convex_relu, two_layer
from ..theory.numerics.arguments import at_least, require, takes
from . import interior_point, losses
from .certificate import Certificate, Found, search
from .descent import adam
from .losses import Loss
from .program import Numbers, Program, checked, norms


@documented
class Round(NamedTuple):
    """The rounds of `grow`, in order; the last is repeated up to max_rounds."""

    objective: Float[Array, "round"]  # of the best network so far
    bound: Float[Array, "round"]  # the best lower bound so far
    ratio: Float[Array, "round"]  # N(nu)/weight_decay, 1 at an optimum
    blocks: Int[Array, "round"]  # of the program that was solved
    neurons: Int[Array, "round"]  # of its solution, merged


@documented
class Grown(NamedTuple):
    network: two_layer.Params  # neurons that are not needed are zero: see `convex_relu.merge_collinear`
    certificate: Certificate  # of the network, by the best dual point of the rounds; no proof, as its norm is from a search
    rounds: Round
    num_rounds: Int[Array, ""]


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
) -> Grown:
    """The best two-layer ReLU network of any width, with a gap of at most rtol * objective unless the rounds run out.

    `width` random neurons start, and the `width` largest are kept from round to round: n + 1 suffice for an optimum, a hundred
    at (n, dim) = (500, 10), which takes half a minute. May be jitted. Raises ValueError on bad data.
    """
    x, y, weight_decay = checked(x, y, weight_decay)
    loss.check(y, smooth=True)
    require(at_least(0), rtol=rtol)
    grown = _grow(key, x, y, weight_decay, jnp.asarray(rtol, x.dtype), loss, width, max_rounds, num_starts, descent_steps)
    return grown._replace(certificate=grown.certificate._replace(proof=False))


Blocks = tuple[Array, Array]  # products u |alpha| of neurons, (dim, block), and the signs of alpha


class _State(NamedTuple):
    number: Int[Array, ""]  # rounds done
    kept: Blocks
    best: Blocks
    nu: Float[Array, "sample"]  # the dual point of the last solution
    certificate: Certificate
    rounds: Round


@partial(jax.jit, static_argnums=(5, 6, 7, 8, 9))
def _grow(
    key: PRNGKeyArray,
    x: Array,
    y: Array,
    weight_decay: Array,
    rtol: Array,
    loss: Loss,
    width: int,
    max_rounds: int,
    num_starts: int,
    descent_steps: int,
) -> Grown:
    key_start, key_rounds = jax.random.split(key)

    def searched(key: PRNGKeyArray, nu: Array, kept: Blocks) -> tuple[Found, Certificate]:
        """The local maxima, and what the largest proves, on condition that it is the largest of all."""
        found = search(key, nu, x, num_starts=num_starts, near=kept[0])
        top = jnp.argmax(found.value)
        norm = found.value[top]
        bound = loss.bound(nu, norm, y, weight_decay)
        return found, Certificate(jnp.inf, bound, nu, norm, found.direction[:, top], found.sign[top], False)  # pyright: ignore[reportArgumentType]

    def objective(blocks: Blocks) -> Array:
        return losses.network_objective(convex_relu.to_network(*blocks), x, y, weight_decay, loss)

    def advance(state: _State) -> _State:
        key_search, key_proof = jax.random.split(jax.random.fold_in(key_rounds, state.number))
        found, _ = searched(key_search, state.nu, state.kept)
        started = _joined(state.kept, _violations(found, state.kept, weight_decay))
        rate = 0.05 / (1 + state.number.astype(x.dtype))
        moved = _descend(started, x, y, weight_decay, loss, rate, descent_steps)
        program = _program(_joined(moved, started), x, y, weight_decay)
        solved, nu = _solve(program, loss, 0.1 * rtol)
        merged = convex_relu.merged(*solved, 1e-2, 1e-4)
        kept = _largest(merged, width)
        blocks = program.sign.size
        candidates = [solved, _padded(kept, blocks), _padded(moved, blocks), state.best]
        values = jnp.stack([*(objective(one) for one in candidates[:3]), state.certificate.objective])
        values = jnp.where(jnp.isnan(values), jnp.inf, values)
        best = jax.tree.map(lambda *parts: jnp.stack(parts)[jnp.argmin(values)], *candidates)
        _, proof = searched(key_proof, nu, kept)
        higher = proof.bound > state.certificate.bound
        certificate = jax.tree.map(lambda new, old: jnp.where(higher, new, old), proof, state.certificate)
        certificate = certificate._replace(objective=jnp.min(values))
        counts = jnp.sum(program.sign != 0), jnp.sum(jnp.any(merged[0] != 0, axis=0))
        line = Round(certificate.objective, certificate.bound, proof.norm / weight_decay, *counts)
        # later rounds, if there are none, are as this one
        later = jnp.arange(max_rounds) >= state.number
        rounds = jax.tree.map(lambda all_, now: jnp.where(later, now.astype(all_.dtype), all_), state.rounds, line)
        return _State(state.number + 1, kept, best, nu, certificate, rounds)

    def unfinished(state: _State) -> Array:
        gap = state.certificate.objective - state.certificate.bound
        return (state.number < max_rounds) & ~(gap <= rtol * jnp.abs(state.certificate.objective))

    start = _start(key_start, x, y, width)
    nu = loss.dual_point(jnp.zeros_like(y), y)
    blocks = _padded(start, 2 * (width + _NEW))
    none = jnp.zeros((), x.dtype)
    nothing = Certificate(objective(blocks), none - jnp.inf, nu, none, jnp.zeros_like(x[0]), none + 1, jnp.zeros((), bool))
    floats, counts = jnp.zeros(max_rounds, x.dtype), jnp.zeros(max_rounds, int)
    rounds = Round(floats, floats, floats, counts, counts)
    end = jax.lax.while_loop(unfinished, advance, _State(jnp.zeros((), int), start, blocks, nu, nothing, rounds))
    return Grown(convex_relu.to_network(*end.best), end.certificate, end.rounds, end.number)


def _start(key: PRNGKeyArray, x: Array, y: Array, width: int) -> Blocks:
    """Products u alpha of random direction and sign, together of about the size of y."""
    key_direction, key_sign = jax.random.split(key)
    direction = jax.random.normal(key_direction, (x.shape[1], width), x.dtype)
    seen = jnp.linalg.norm(x @ direction) / jnp.sqrt(jnp.asarray(width, x.dtype))  # root mean square over the neurons
    scale = jnp.linalg.norm(y) / (jnp.where(seen > 0, seen, 1) * jnp.sqrt(jnp.asarray(width, x.dtype)))
    return scale * direction, jax.random.rademacher(key_sign, (width,), x.dtype)


_NEW = 32  # neurons that a round adds at most


def _violations(found: Found, kept: Blocks, weight_decay: Array, apart: float = 1e-2) -> Blocks:
    """Of the local maxima above weight_decay the largest, one for each direction and sign, as small neurons; else zeros."""
    size = norms(kept[0])
    small = 0.01 * jnp.sum(size) / jnp.maximum(jnp.sum((size > 0).astype(size.dtype)), 1)

    def choose(left: Array, _: None) -> tuple[Array, Blocks]:
        j = jnp.argmax(jnp.where(left, found.value, -jnp.inf))
        direction, sign = found.direction[:, j], found.sign[j]
        same = (norms(found.direction - direction[:, None]) < apart) & (found.sign == sign)
        violates = left[j] & (found.value[j] > weight_decay * (1 + 1e-7))
        return left & ~same, (jnp.where(violates, small * direction, 0), sign)

    directions, signs = jax.lax.scan(choose, jnp.ones(found.value.size, bool), length=_NEW)[1]
    return directions.T, signs


def _joined(first: Blocks, second: Blocks) -> Blocks:
    return jnp.concatenate([first[0], second[0]], axis=1), jnp.concatenate([first[1], second[1]])


def _padded(blocks: Blocks, count: int) -> Blocks:
    """With zeros up to this number of blocks."""
    weights, sign = blocks
    extra = count - sign.size
    return jnp.pad(weights, [(0, 0), (0, extra)]), jnp.pad(sign, (0, extra), constant_values=1)


def _largest(blocks: Blocks, count: int) -> Blocks:
    weights, sign = blocks
    places = jnp.argsort(-norms(weights))[:count]
    return weights[:, places], sign[places]


def _descend(blocks: Blocks, x: Array, y: Array, weight_decay: Array, loss: Loss, rate: Array, num_steps: int) -> Blocks:
    """Adam with a cosine decay to zero from `rate` times the mean size of the living output weights; what is zero stays so."""
    params = convex_relu.to_network(*blocks)
    alive = jnp.sum((params.a != 0).astype(params.a.dtype))
    size = jnp.sum(jnp.abs(params.a)) / jnp.maximum(alive, 1)
    objective_fn = partial(losses.network_objective, x=x, y=y, weight_decay=weight_decay, loss=loss)
    return convex_relu.products(adam(objective_fn, params, rate * size, num_steps)[0])


def _program(blocks: Blocks, x: Array, y: Array, weight_decay: Array) -> Program:
    """The ReLU program on the patterns of living neurons; of those with the same pattern and sign, the first alone is on."""
    weights, sign = blocks
    size, active = norms(weights), convex_relu.patterns(weights, x)
    alive, side = size > 1e-6 * jnp.max(size), 2 * active - 1
    same = (side.T @ side == len(x)) & (sign[:, None] == sign[None]) & alive[None]
    repeated = jnp.any(jnp.tril(same, -1), axis=1)
    return Program(x, y, active, jnp.where(alive & ~repeated, sign, 0), weight_decay)


def _solve(program: Program, loss: Loss, rtol: Array) -> tuple[Blocks, Array]:
    """The optimum and its dual point."""
    weights = interior_point.solve(program, cones=True, loss=loss, rtol=rtol).weights * jnp.abs(program.sign)[None]
    nu = loss.dual_point(convex_relu.outputs(weights, program.sign, program.active, program.x), program.y)
    return (weights, jnp.where(program.sign < 0, -1, 1).astype(weights.dtype)), nu
