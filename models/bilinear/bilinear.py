r"""A bilinear layer: nonlinear, and exactly a tensor of third order whose eigenvectors can be read off the weights.

$$
y = P \left( (W x) \circ (V x) \right)
$$

Every output is a quadratic form. Of the tensor $B_{oij} = \sum_k P_{ok} W_{ki} V_{kj}$ only the part symmetric in $(i, j)$
acts; along a direction $u$ of the outputs it is the interaction matrix $Q_u$, whose eigenvectors are the features that
$u \cdot y$ is made of:

$$
u \cdot y = x^\top Q_u x = \sum_i \lambda_i \langle v_i, x \rangle^2, \qquad
Q_u = \sum_k (P^\top u)_k\, \frac{w_k v_k^\top + v_k w_k^\top}{2}
$$

With $a = (w + v)/2$ and $b = (w - v)/2$ a unit is a difference of squares,

$$
(w \cdot x)(v \cdot x) = (a \cdot x)^2 - (b \cdot x)^2
$$

So $Q_u$ has rank at most twice the width, with at most as many positive and as many negative eigenvalues as the width, and
eigenfeatures are found from matrices of that size. A layer with biases, $(W x + b) \circ (V x + c)$, is one on $[x; 1]$:
`append_one`.

| paper | name here | shape | meaning |
|---|---|---|---|
| $d$, $h$, $o$ | `dim`, `width`, `num_outputs` | | inputs, hidden units, outputs |
| $W$, $V$ | `w.T`, `v.T` | (dim, width) each of `w`, `v` | the two input maps; one column a unit; a last row if biased |
| $P$ | `p` | (num_outputs, width) | down-projection |
| $B$ | `tensor` | (num_outputs, dim, dim) | hidden layer and down-projection in one |
| $Q_u$ | `interaction_matrix` | (dim, dim) | quadratic form of $u \cdot y$, symmetric |
| $\lambda_i$, $v_i$ | `values[i]`, `vectors[:, i]` | | eigenpairs of $Q_u$, largest modulus first |

The units may be permuted, $(w, v)$ scaled by $(c, 1/c)$ or exchanged, $(p, w)$ scaled by $(1/c, c)$: $Q_u$ stays. Compare
networks through $Q_u$ only, and eigenvectors only up to sign.

Source: Sharkey, arXiv 2305.03452; Pearce, Dooms, Rigg, Oramas and Sharkey, arXiv 2410.08417. Low-rank forms derived here.

Example. One unit is the product of two inputs: its interaction matrix, and its features $(x_1 \pm x_2)/\sqrt{2}$ of opposite
sign.

>>> import jax.numpy as jnp
>>> from closedform.models.bilinear import bilinear
>>> params = bilinear.Params(jnp.array([[1.0], [0.0]]), jnp.array([[0.0], [1.0]]), jnp.ones((1, 1)))
>>> float(bilinear.apply(params, jnp.array([3.0, 5.0]))[0])
15.0
>>> bilinear.interaction_matrix(params, jnp.ones(1)).tolist()
[[0.0, 0.5], [0.5, 0.0]]
>>> sorted(round(float(value), 4) for value in bilinear.eigenfeatures(params, jnp.ones(1)).values)
[-0.5, 0.5]
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, check
from ...documented import documented
from .._example import one_example

SIDES = ("magnitude", "positive", "negative")


@dataclass(frozen=True)
class Config:
    dim: Count = 8  # inputs, paper d
    width: Count = 8  # hidden units, paper h
    num_outputs: Count = 1  # paper o
    bias: bool = False  # (W x + b) o (V x + c): a last row of w and of v; the layer then reads append_one(x)
    init: Literal["gaussian", "alternating", "ones", "tied"] = "gaussian"  # p: N(0, 1), +1 and -1, or 1; tied: 1 and v = w
    init_scale: NonNegative = 1.0  # entries of w and v have standard deviation init_scale/sqrt(dim) at the start; biases are 0

    def __post_init__(self):
        check(self)


@documented
class Params(NamedTuple):
    """Column k of w and of v is unit k. "row" is dim, and one more if biased."""

    w: Float[Array, "*#layer row width"]
    v: Float[Array, "*#layer row width"]
    p: Float[Array, "*#layer output width"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """w, v ~ N(0, init_scale^2/dim), biases 0, and p by config.init; a Gaussian p has variance 1/width.

    The dtype is the default one: float32, or float64 under jax.enable_x64.
    """
    keys = jax.random.split(key, 3)
    w, v = (jax.random.normal(one, (config.dim, config.width)) / jnp.sqrt(config.dim) for one in keys[:2])
    shape = (config.num_outputs, config.width)
    p = jnp.ones(shape, w.dtype)
    if config.init == "gaussian":
        p = jax.random.normal(keys[2], shape) / jnp.sqrt(config.width)
    elif config.init == "alternating":
        p = p.at[:, 1::2].set(-1)
    elif config.init == "tied":
        v = w
    w, v = config.init_scale * w, config.init_scale * v
    if config.bias:
        w, v = (jnp.pad(part, ((0, 1), (0, 0))) for part in (w, v))
    return Params(w, v, p)


@one_example
def apply(params: Params, x: Float[Array, "dim"]) -> Float[Array, "output"]:
    """The outputs on one example; a layer with biases reads append_one of it."""
    rows = params.w.shape[-2]
    if x.shape[-1] != rows:
        raise ValueError(f"x must have {rows} entries, got {x.shape[-1]}; a layer with biases reads append_one(x)")
    return params.p @ ((x @ params.w) * (x @ params.v))


def append_one(x: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim_and_one"]:
    """[x; 1]: a quadratic form of [x; 1] is a quadratic form of x plus twice a linear form plus a constant."""
    return jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)


# --------------------------------------------------------------------------------------------------------- the tensor


def tensor(params: Params) -> Float[Array, "output row row"]:
    """B, not yet symmetric: y_o = sum_ij B_oij x_i x_j."""
    return jnp.einsum("ok,ik,jk->oij", params.p, params.w, params.v)


def symmetrize(matrix: Float[Array, "*batch row row"]) -> Float[Array, "*batch row row"]:
    """The symmetric part, which alone acts in a quadratic form; an eigendecomposition would read one triangle of the matrix."""
    return (matrix + jnp.swapaxes(matrix, -1, -2)) / 2


def interaction_matrix(params: Params, direction: Float[Array, "output"]) -> Float[Array, "row row"]:
    """Q_u of the outputs' direction u: u.y = x^T Q_u x, symmetric."""
    return symmetrize((params.w * (direction @ params.p)[None]) @ params.v.T)


def feature_interactions(
    params: Params, features: Float[Array, "feature row"], direction: Float[Array, "output"]
) -> Float[Array, "feature feature"]:
    """What pairs of features add to u.y: for x = sum_i c_i f_i it is sum_ij c_i c_j times this table."""
    return features @ interaction_matrix(params, direction) @ features.T


@documented
class Squares(NamedTuple):
    """(w.x)(v.x) = (plus.x)^2 - (minus.x)^2, unit by unit."""

    plus: Float[Array, "row width"]  # (w + v)/2
    minus: Float[Array, "row width"]  # (w - v)/2


def squares(params: Params) -> Squares:
    """Sum and difference of the two weights of every unit."""
    return Squares((params.w + params.v) / 2, (params.w - params.v) / 2)


def from_matrix(q: Float[Array, "dim dim"], width: int) -> Params:
    """The layer with p = 1 whose only interaction matrix is q, of least ||w||^2 + ||v||^2 (twice the nuclear norm of q).

    It needs as many units as q has eigenvalues of the more frequent sign. With fewer units, the eigenvalues of least modulus of
    each sign are left out, which is the best approximation in Frobenius' norm.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    values, vectors = jnp.linalg.eigh(symmetrize(q))

    def part(sign: int) -> Array:
        kept = _top(Eigen(values, vectors), min(width, len(values)), "positive" if sign > 0 else "negative")
        root = kept.vectors * jnp.sqrt(jnp.abs(kept.values))[None]
        return jnp.pad(root, ((0, 0), (0, width - root.shape[1])))

    plus, minus = part(1), part(-1)
    return Params(plus + minus, plus - minus, jnp.ones((1, width), q.dtype))


# ------------------------------------------------------------------------------------------------------- eigenfeatures


@documented
class Eigen(NamedTuple):
    """A quadratic form sum_i values_i <vectors_i, x>^2, vectors orthonormal, largest modulus first."""

    values: Float[Array, "*batch rank"]
    vectors: Float[Array, "*batch row rank"]  # one column each


def eigenfeatures(params: Params, directions: Float[Array, "*batch output"]) -> Eigen:
    """The min(2 width, rows) eigenpairs of Q_u that can be nonzero, for one direction u or many.

    With [a b] = Q R, an orthonormal Q and R of 2 width columns, the small matrix is R diag(p, -p) R^T. R does not depend on
    u: there is one factorisation for all directions. Their matrices are decomposed one after the other.
    """
    basis, core = _core(params)

    def one(direction: Float[Array, "output"]) -> tuple[Array, Array]:
        values, vectors = jnp.linalg.eigh(symmetrize(core(direction)))
        order = jnp.argsort(-jnp.abs(values))
        return values[order], vectors[:, order]

    batch = directions.shape[:-1]
    values, vectors = jax.lax.map(one, directions.reshape(-1, directions.shape[-1]))
    rank = values.shape[-1]
    return Eigen(values.reshape(*batch, rank), basis(vectors).reshape(*batch, -1, rank))


def _core(params: Params):
    """(basis, core) of the space that the units span: Q_u = basis(core(u) basis(1)^T), of the smaller of its two sizes."""
    rows, width = params.w.shape
    if 2 * width >= rows:
        return lambda vectors: vectors, lambda direction: interaction_matrix(params, direction)
    orthonormal, triangle = jnp.linalg.qr(jnp.concatenate(squares(params), axis=1))

    def core(direction: Array) -> Array:
        strength = direction @ params.p
        return (triangle * jnp.concatenate([strength, -strength])[None]) @ triangle.T

    return lambda vectors: jnp.einsum("ir,...rv->...iv", orthonormal, vectors), core


def truncate(eigen: Eigen, num_kept: int, by: str = "magnitude") -> Eigen:
    """The num_kept eigenpairs largest in modulus, or of one sign, filled up with zero values and vectors."""
    if by not in SIDES:
        raise ValueError(f"by must be one of {', '.join(SIDES)}, got {by}")
    if not 0 <= num_kept <= eigen.values.shape[-1]:
        raise ValueError(f"num_kept must be from 0 to the {eigen.values.shape[-1]} eigenvalues there are, got {num_kept}")
    return _top(eigen, num_kept, by)


def _top(eigen: Eigen, num_kept: int, by: str) -> Eigen:
    values, vectors = eigen
    size = jnp.abs(values) if by == "magnitude" else jnp.maximum(values if by == "positive" else -values, 0)
    first = jnp.argsort(-size, axis=-1)[..., :num_kept]
    there = jnp.take_along_axis(size, first, -1) > 0
    columns = jnp.take_along_axis(vectors, first[..., None, :], -1)
    return Eigen(jnp.where(there, jnp.take_along_axis(values, first, -1), 0), jnp.where(there[..., None, :], columns, 0))


def compose(eigen: Eigen) -> Float[Array, "*batch row row"]:
    """The matrix sum_i values_i vectors_i vectors_i^T."""
    return jnp.einsum("...r,...ir,...jr->...ij", *[eigen.values, eigen.vectors, eigen.vectors])


def quadratic_form(eigen: Eigen, x: Float[Array, "row"]) -> Float[Array, "*batch"]:
    """sum_i values_i <vectors_i, x>^2: u.y itself as long as nothing is left out."""
    return jnp.sum(eigen.values * (x @ eigen.vectors) ** 2, axis=-1)


@documented
class Hosvd(NamedTuple):
    """B_oij = sum_r strengths_r outputs_or Z_rij with orthonormal columns of outputs and orthonormal symmetric matrices Z_r."""

    outputs: Float[Array, "output rank"]
    strengths: Float[Array, "rank"]  # falling; their squares sum to the squared norm of the symmetric B
    forms: Eigen  # of every Z_r, along a leading axis


def hosvd(params: Params) -> Hosvd:
    """Singular value decomposition of the symmetric B unfolded to output x dim^2, its right vectors as quadratic forms.

    The right vector of the output direction u_r is Q_(u_r)/strength_r; one of strength 0 is 0.
    """
    _, core = _core(params)
    num_outputs = params.p.shape[0]
    cores = symmetrize(jax.vmap(core)(jnp.eye(num_outputs, dtype=params.p.dtype)))
    unfolded = cores.reshape(num_outputs, -1)
    outputs, strengths, _ = jnp.linalg.svd(unfolded, full_matrices=False)
    forms = eigenfeatures(params, outputs.T)
    there = strengths > strengths[0] * max(unfolded.shape) * jnp.finfo(strengths.dtype).eps
    scale = jnp.where(there, 1 / jnp.where(there, strengths, 1), 0)
    return Hosvd(outputs, strengths, forms._replace(values=forms.values * scale[:, None]))
