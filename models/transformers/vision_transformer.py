r"""Image classifier: patches as tokens, the layers of models.transformers.ode_transformer, the mean over tokens, a linear head.

$$
x_0 = \text{patches}\; E + e + \text{position}, \qquad
\text{logits} = \operatorname{norm}(\text{mean over tokens of } x_N)\, H + c
$$

with $x_0 \to x_N$ by the layers. Linear layers and the last layer norm are flax.nnx's.

Source: Zhong, Zhang, Chakraborty and Dey, arXiv 2212.06011, train a DeiT whose layers are such steps; this model is smaller: no
class token, no distillation, no augmentation.

Example. An image of four times four pixels is four patches; the shape of its logits.

>>> import jax, jax.numpy as jnp
>>> from closedform.models.transformers import vision_transformer
>>> config = vision_transformer.Config(side=4, patch=2, num_classes=3)
>>> image = jnp.arange(16.0)
>>> vision_transformer.patches(image, config.patch).astype(int).tolist()
[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
>>> params = jax.eval_shape(lambda key: vision_transformer.init(key, config), jax.random.key(0))
>>> jax.eval_shape(lambda p: vision_transformer.apply(p, image, config), params).shape
(3,)
"""

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, check
from ...documented import documented
from .._example import one_example
from . import ode_transformer

if TYPE_CHECKING:
    from flax import nnx


@dataclass(frozen=True)
class Config:
    side: Count = 8  # pixels of a side of the square image
    patch: Count = 2  # pixels of a side of a patch
    num_classes: Count = 10
    stack: ode_transformer.Config = field(default_factory=lambda: ode_transformer.Config(norm=True, activation="gelu"))

    def __post_init__(self):
        check(self)
        if self.side % self.patch:
            raise ValueError(f"side must be a multiple of patch = {self.patch}, got {self.side}")

    @property
    def pixel(self) -> int:
        """Pixels of an image."""
        return self.side**2

    @property
    def num_tokens(self) -> int:
        """Patches of an image."""
        return (self.side // self.patch) ** 2


@documented
class Params(NamedTuple):
    layers: Any  # flax.nnx.State of embedding, last norm and head
    position: Float[Array, "token dim"]
    blocks: ode_transformer.Params


@documented
class Output(NamedTuple):
    logits: Float[Array, "*batch class"]
    num_sublayers: Float[Array, ""]  # evaluations of attention and of the MLP, counted together


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Blocks as ode_transformer draws them, linear layers as flax does, positions N(0, 1): small ones are learned late."""
    from flax import nnx

    key_layers, key_position, key_blocks = jax.random.split(key, 3)
    position = jax.random.normal(key_position, (config.num_tokens, config.stack.dim))
    return Params(nnx.split(_layers(key_layers, config))[1], position, ode_transformer.init(key_blocks, config.stack))


@one_example
def apply(params: Params, x: Float[Array, "pixel"], config: Config | None = None) -> Float[Array, "class"]:
    """Logits of one image, given row after row; `config` as given to init (its defaults if left out)."""
    return evaluate(params, x, config or Config()).logits


def evaluate(params: Params, x: Float[Array, "*batch pixel"], config: Config) -> Output:
    """Logits of images and the evaluations they took; a batch given whole shares the steps of an adaptive scheme: faster."""
    evolved = ode_transformer.evolve(params.blocks, embed(params, x, config), config.stack)
    return Output(read(params, evolved.state, config), evolved.num_sublayers)


def embed(params: Params, x: Float[Array, "*batch pixel"], config: Config) -> Float[Array, "*batch token dim"]:
    """The tokens before the first layer."""
    if x.shape[-1] != config.pixel:
        raise ValueError(f"x must have side^2 = {config.pixel} pixels along its last axis, got shape {x.shape}")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # flax promotes
        return _merged(params, config)["embed"](patches(x, config.patch)) + params.position


def read(params: Params, tokens: Float[Array, "*batch token dim"], config: Config) -> Float[Array, "*batch class"]:
    """The logits from the tokens behind the last layer."""
    layers = _merged(params, config)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return layers["head"](layers["norm"](jnp.mean(tokens, axis=-2)))


def patches(x: Float[Array, "*batch pixel"], patch: int) -> Float[Array, "*batch token patch_pixel"]:
    """Square patches of square images, row after row of them, each row after row."""
    side = round(x.shape[-1] ** 0.5)
    blocks = x.reshape(*x.shape[:-1], side // patch, patch, side // patch, patch)
    return jnp.swapaxes(blocks, -3, -2).reshape(*x.shape[:-1], -1, patch**2)


def num_parameters(params: Params) -> int:
    """Trained numbers."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _layers(key: PRNGKeyArray, config: Config) -> "dict[str, nnx.Module]":
    from flax import nnx

    dim, rngs = config.stack.dim, nnx.Rngs(key)
    linear = partial(nnx.Linear, rngs=rngs, param_dtype=jnp.zeros(()).dtype)
    norm = nnx.LayerNorm(dim, rngs=rngs, param_dtype=jnp.zeros(()).dtype)
    return {"embed": linear(config.patch**2, dim), "norm": norm, "head": linear(dim, config.num_classes)}


def _merged(params: Params, config: Config) -> "dict[str, Any]":
    """The layers of flax with their parameters."""
    from flax import nnx

    structure = nnx.split(nnx.eval_shape(lambda: _layers(jax.random.key(0, impl="threefry2x32"), config)))[0]
    return nnx.merge(structure, params.layers)
