"""Dropping an attention or an MLP sublayer of a trained transformer: what one derivative predicts of output and accuracy.

Bits on a ring. To copy its neighbour's bit a token needs attention alone, to tell their parity an MLP besides. Every layer is
x + h F(x), then x + h G(x), h = 1/L; without a sublayer f the output changes by -h J f to leading order.

Source: derived here; which sublayers can go is the question of arXiv 2406.15786
Cost: 60 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...models import ode_transformer as transformer
from ...models import residual_stack as stack
from ...solvers.descent import minibatch_adam
from ...theory import layer_perturbation as perturbation

TASKS = ("copy", "parity")


@dataclass(frozen=True)
class Config:
    model: transformer.Config = field(
        default_factory=lambda: transformer.Config(dim=16, hidden=32, num_heads=2, num_layers=8, num_blocks=8, step_size=1 / 8)
    )
    task: str = "parity"  # of the bit and the next one, or copy: the next one
    num_tokens: int = 8  # bits on the ring; all sequences of them test
    learning_rate: float = 5e-3  # of Adam, falling to 0 by a cosine
    batch_size: int = 64  # random sequences a step
    num_steps: int = 1500  # updates

    def __post_init__(self):
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {self.task}")
        if not 2 <= self.num_tokens <= 12:
            raise ValueError(f"num_tokens must be from 2 to 12, got {self.num_tokens}")
        for name in ("batch_size", "num_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.model.scheme != "sequential" or self.model.num_blocks != self.model.num_layers:
            raise ValueError("model must have the scheme sequential and as many blocks as layers")


class Params(NamedTuple):
    token: Float[Array, "bit dim"]
    position: Float[Array, "token dim"]
    layers: transformer.Params
    head: Float[Array, "bit dim"]


class Result(NamedTuple):
    """Without one sublayer; kinds: attention, MLP."""

    skip: Float[Array, "kind layer"]  # change of the tokens behind the last layer over their norm, mean over test sequences
    accuracy: Float[Array, "kind layer"]  # share of bits told right; to leading order that of the output plus its change
    whole: Float[Array, ""] | None  # accuracy with all sublayers
    effective: Float[Array, "kind layer"] | None  # h |f(x)|/|x|
    missed: Float[Array, "kind layer"] | None  # norm of measured minus predicted change over that of the change


def init(key: PRNGKeyArray, config: Config) -> Params:
    """The trained transformer."""
    key_token, key_position, key_layers, key_head, key_train = jax.random.split(key, 5)
    dim = config.model.dim
    start = Params(
        jax.random.normal(key_token, (2, dim)),
        jax.random.normal(key_position, (config.num_tokens, dim)),
        transformer.init(key_layers, config.model),
        jax.random.normal(key_head, (2, dim)) / jnp.sqrt(dim),
    )

    def loss(params: Params, step: Array) -> Array:
        shape = (config.batch_size, config.num_tokens)
        bits = jax.random.bernoulli(jax.random.fold_in(key_train, step), shape=shape).astype(int)
        logits = transformer.evolve(params.layers, _embed(params, bits), config.model).state @ params.head.T
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, _labels(bits, config)))

    return minibatch_adam(loss, start, config.learning_rate, config.num_steps)


def _embed(params: Params, bits: Int[Array, "sequence token"]) -> Float[Array, "sequence token dim"]:
    return params.token[bits] + params.position[None]


def _labels(bits: Int[Array, "sequence token"], config: Config) -> Int[Array, "sequence token"]:
    following = jnp.roll(bits, -1, axis=1)
    return following if config.task == "copy" else bits ^ following


def _test(params: Params, config: Config) -> tuple[Float[Array, "sequence token dim"], Int[Array, "sequence token"]]:
    """All sequences, embedded, and their labels."""
    bits = jnp.asarray(np.arange(2**config.num_tokens)[:, None] >> np.arange(config.num_tokens)[None] & 1)
    return _embed(params, bits), _labels(bits, config)


class Sublayer(NamedTuple):
    layer: transformer.Params
    attends: Array  # attention, or else the MLP


def _sublayers(params: Params) -> Sublayer:
    """Attention and MLP of all layers in turn, twice as many with the layer's parameters each, as a residual stack."""
    twice = jax.tree.map(lambda leaf: jnp.repeat(leaf, 2, axis=0), params.layers)
    return Sublayer(twice, jnp.arange(len(twice.query)) % 2 == 0)


def _block(config: Config) -> stack.BlockFn:
    def update(one: Sublayer, x: Float[Array, "token dim"]) -> Float[Array, "token dim"]:
        attended, mapped = (field_fn(x) for field_fn in transformer.fields(one.layer, config.model))
        return jnp.where(one.attends, attended, mapped)

    return update


def simulate(state: Params, config: Config) -> Result:
    (x, labels), sublayers = _test(state, config), _sublayers(state)
    h, places = config.model.step_size, range(2 * config.model.num_layers)

    def output(order: stack.Order) -> Float[Array, "sequence token dim"]:
        return jax.vmap(lambda one: stack.run_stack(_block(config), sublayers, one, order, h))(x)

    inside = jnp.stack([output(places[:place]) for place in range(len(places) + 1)])
    behind = inside[-1]
    changes = jnp.stack([output(stack.skip(places, place)) for place in places]) - behind[None]
    leading = _leading(state, config)[0]
    effective = jnp.linalg.norm(inside[1:] - inside[:-1], axis=(2, 3)) / jnp.linalg.norm(inside[:-1], axis=(2, 3))
    missed = _size(changes - leading, behind) / _size(changes, behind)
    by_kind = [_by_kind(one) for one in (jnp.mean(effective, axis=1), missed)]
    return Result(*_found(state, changes, behind, labels), _accuracy(state, behind, labels), *by_kind)


def predict(state: Params, config: Config) -> Result:
    changes, behind = _leading(state, config)
    return Result(*_found(state, changes, behind, _test(state, config)[1]), *[None] * 3)


def _leading(params: Params, config: Config) -> tuple[Float[Array, "place sequence token dim"], Float[Array, "sequence token dim"]]:
    """Change of the output without each sublayer, to leading order of the step, and the output."""
    sublayers, h = _sublayers(params), config.model.step_size

    def one(x: Float[Array, "token dim"]) -> tuple[Array, Array]:
        changes = []
        for place in range(2 * config.model.num_layers):
            blocks = stack.blocks_around(_block(config), sublayers, place, 1, h)
            changes.append(perturbation.skip_error(blocks, x, 1, h))
        return jnp.stack(changes), stack.run_stack(_block(config), sublayers, x, None, h)

    return jax.vmap(one, out_axes=(1, 0))(_test(params, config)[0])


def _found(params: Params, changes: Array, behind: Array, labels: Array) -> tuple[Array, Array]:
    accuracy = jax.lax.map(lambda change: _accuracy(params, behind + change, labels), changes)
    return _by_kind(_size(changes, behind)), _by_kind(accuracy)


def _by_kind(values: Float[Array, "place"]) -> Float[Array, "kind layer"]:
    return values.reshape(-1, 2).T


def _accuracy(params: Params, x: Float[Array, "sequence token dim"], labels: Array) -> Float[Array, ""]:
    return jnp.mean((jnp.argmax(x @ params.head.T, axis=2) == labels).astype(x.dtype))


def _size(changes: Float[Array, "place sequence token dim"], behind: Float[Array, "sequence token dim"]) -> Float[Array, "place"]:
    return jnp.mean(jnp.linalg.norm(changes, axis=(2, 3)) / jnp.linalg.norm(behind, axis=(1, 2))[None], axis=1)


TOLERANCE = {
    "skip": 0.1,
    "accuracy": (0.0, 0.05),
}
QUICK = {
    "model.num_layers": 2,
    "model.num_blocks": 2,
    "num_tokens": 4,
    "num_steps": 20,
    "batch_size": 8,
}
SEEDS = 8
GRID = {"task": TASKS}
