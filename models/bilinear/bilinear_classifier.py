r"""Image classifier of one bilinear layer, with the masks that its eigenvectors suggest.

$$
\text{logits} = U \left( (W E x) \circ (V E x) \right)
$$

$E$ embeds the pixels (or is left out: $W$ and $V$ read pixels), a residual connection adds $U E x$. No biases. Everything that
is read off the weights is read in the embedded space, where eigenvectors are orthonormal, and shown as $E^\top v$, where they
are not.

| paper | name here | shape | meaning |
|---|---|---|---|
| $E$ | `embedding.T` | (embedding_dim, dim) | pixels to the embedding, or None |
| $W$, $V$, $U$ | `layer.w.T`, `layer.v.T`, `layer.p` | | the layer of `models.bilinear.bilinear`, $U$ as its down-projection |

Source: Pearce, Dooms, Rigg, Oramas and Sharkey, arXiv 2410.08417 (the model as its published code has it, the masks as its
public reproduction has them; facts only).

Example. Logits of ten classes are quadratic in the image: without biases a picture and its negative look the same.

>>> import jax
>>> from closedform.models.bilinear import bilinear_classifier
>>> config = bilinear_classifier.Config(dim=16, width=8, embedding_dim=6)
>>> params = bilinear_classifier.init(jax.random.key(0), config)
>>> x = jax.random.normal(jax.random.key(1), (16,))
>>> logits = bilinear_classifier.apply(params, x)
>>> logits.shape, bool((bilinear_classifier.apply(params, -x) == logits).all())
((10,), True)
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...contract import Count, check
from ...documented import documented
from .._example import one_example
from . import bilinear


@dataclass(frozen=True)
class Config:
    dim: Count = 64  # pixels
    width: Count = 64  # hidden units of the layer, paper h
    num_classes: Count = 10
    embedding_dim: Annotated[int, Ge(0)] = 0  # dimension of the embedding; 0: none, the layer reads pixels
    residual: bool = False  # logits = U (g + E x); needs embedding_dim = width

    def __post_init__(self):
        check(self)
        if self.residual and self.embedding_dim != self.width:
            found = f"got embedding_dim = {self.embedding_dim}"
            raise ValueError(f"embedding_dim must be width = {self.width} for a residual connection, {found}")

    @property
    def layer(self) -> bilinear.Config:
        """The bilinear layer, on the embedded pixels."""
        return bilinear.Config(self.embedding_dim or self.dim, self.width, self.num_classes)


@documented
class Params(NamedTuple):
    embedding: Float[Array, "dim embedding_dim"] | None
    layer: bilinear.Params


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Gaussian: E and the layer's w, v with variance 1 over their inputs, U with variance 1/width."""
    key_embedding, key_layer = jax.random.split(key)
    layer = bilinear.init(key_layer, config.layer)
    if not config.embedding_dim:
        return Params(None, layer)
    return Params(jax.random.normal(key_embedding, (config.dim, config.embedding_dim)) / jnp.sqrt(config.dim), layer)


@one_example
def apply(params: Params, x: Float[Array, "dim"], residual: bool = False) -> Float[Array, "class"]:
    """Logits of one image; `residual` as in the Config."""
    embedded = embed(params, x)
    logits = bilinear.apply(params.layer, embedded)
    return logits + params.layer.p @ embedded if residual else logits


def embed(params: Params, x: Float[Array, "*batch dim"]) -> Float[Array, "*batch embedding_dim"]:
    """E x, or x where there is no embedding."""
    return x if params.embedding is None else x @ params.embedding


def to_pixels(params: Params, vectors: Float[Array, "embedding_dim *vector"]) -> Float[Array, "dim *vector"]:
    """E^T v for vectors of the embedded space in columns: <v, E x> = <E^T v, x>."""
    return vectors if params.embedding is None else jnp.tensordot(params.embedding, vectors, axes=1)


def eigenfeatures(params: Params) -> bilinear.Eigen:
    """Eigenpairs of every class, along a leading axis, in the embedded space; a residual connection is left out."""
    return bilinear.eigenfeatures(params.layer, jnp.eye(params.layer.p.shape[0], dtype=params.layer.p.dtype))


def adversarial_masks(
    params: Params, x: Float[Array, "sample dim"], labels: Int[Array, "sample"], num_vectors: int = 10
) -> Float[Array, "class vector dim"]:
    """Images that raise one class when added to images of others, read off the weights; standard deviation 1 over the pixels.

    The num_vectors most positive eigenvectors of all classes are stacked. Row i of the pseudo-inverse is, in the embedded
    space, the smallest step along vector i and along no other, if all vectors are independent. If there are more vectors than
    dimensions, it is the least-squares step. Its sign is the sign of the mean overlap of vector i with the given images of
    other classes, so that <v_i, x>^2 grows. The masks are the rows carried to pixels by E, which preserves their effect as far
    as E preserves angles; a mask is 0 where a class has fewer positive eigenvalues.
    """
    num_classes = params.layer.p.shape[0]
    top = bilinear.truncate(eigenfeatures(params), num_vectors, "positive").vectors  # class embedding_dim vector
    stacked = jnp.moveaxis(top, 1, 0).reshape(top.shape[1], -1)
    movers = jnp.linalg.pinv(stacked).reshape(num_classes, num_vectors, -1)
    other = (labels[None] != jnp.arange(num_classes, dtype=labels.dtype)[:, None]).astype(x.dtype)
    mean = embed(params, other @ x / jnp.maximum(jnp.sum(other, axis=1, keepdims=True), 1))
    overlap = jnp.einsum("chv,ch->cv", top, mean)
    masks = jnp.einsum("dh,cvh->cvd", _columns(params), movers) * jnp.where(overlap < 0, -1, 1)[:, :, None]
    spread = jnp.std(masks, axis=2, keepdims=True)
    return masks / jnp.where(spread > 0, spread, 1)


def _columns(params: Params) -> Float[Array, "dim embedding_dim"]:
    rows = params.layer.w.shape[0]
    return jnp.eye(rows, dtype=params.layer.w.dtype) if params.embedding is None else params.embedding
