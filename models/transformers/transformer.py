r"""The ordinary transformer encoder: constructed and trained networks are parameters of this one function.

Tokens $x_i = u_i E + p_i$, then layers of softmax attention and of an MLP that acts on every token,

$$
\begin{align*}
a_i &= \operatorname{concat}_{\text{heads}} \left[ \sum_j \operatorname{softmax}_j
\left( \frac{\langle q_i, k_j \rangle}{\sqrt{d_h}} \right) v_j \right] W_O + b_O \\
m(x) &= \phi(x W_1 + b_1) W_2 + b_2
\end{align*}
$$

and a linear head. `norm` says where layer norm $\operatorname{N}$ stands:

| `norm` | a layer | before the head |
|---|---|---|
| `none` | $x \leftarrow x + a(x)$, then $x \leftarrow x + m(x)$ | |
| `post` | $x \leftarrow \operatorname{N}(x + a(x))$, then $x \leftarrow \operatorname{N}(x + m(x))$ | |
| `pre` | $x \leftarrow x + a(\operatorname{N}(x))$, then $x \leftarrow x + m(\operatorname{N}(x))$ | $\operatorname{N}$ |

$\operatorname{N}(x) = \text{scale} \cdot (x - \bar{x})/\sqrt{\overline{(x - \bar{x})^2} + \epsilon} + \text{shift}$. Here
$\epsilon = 0$ is legal: a token of equal entries has no direction and becomes the shift. `scaling="log_length"` multiplies
the logits of attention by $\ln N$ for the $N$ tokens that a query sees.

A row of `x` is a one-hot word, or any features: positions that are given (rather than learned, `num_positions`) are columns of
it. `readout` says which tokens the head reads: `every` one, the `first`, the `last`, or the `mean`. Of `first` and `last` the
last layer computes one query, so that its attention takes memory linear in the tokens.

`counts` says how many copies of each row there are: 1 for all if it is left out. A row with the count 0 is absent; absent rows
stand behind the others. Copies see one another, and each counts in $N$ and in the mean. With learned positions or causal
attention a count is 0 or 1.

| paper | name here | shape | meaning |
|---|---|---|---|
| $u$ | `x` | (token, input_dim) | rows |
| $E$, $p$ | `embedding`, `position` | (input_dim, dim), (position, dim) | |
| $W_Q$, $W_K$, $W_V$ | `layers.query.kernel`, .. | (layer, dim, head, head_dim) | with `bias` (layer, head, head_dim) |
| $W_O$ | `layers.output.kernel` | (layer, head, head_dim, dim) | with `bias` (layer, dim) |
| $W_1$, $W_2$ | `layers.mlp_in.kernel`, `layers.mlp_out.kernel` | (layer, dim, width), (layer, width, dim) | with `bias` |
| $d_h$ | `head_dim` | | of a head's queries, keys and values |

`ode_transformer` is not a special case: its layers are steps of any scheme for attention and MLP as two vector fields, its
attention has no biases, and its layer norm no scale.

Source: Vaswani et al., arXiv 1706.03762, whose layers are `post`; the factor $\ln N$ is that of Chiang and Cholak, arXiv
2202.12172. Linear layers are flax.nnx's.

Example. The layers do not know positions: without any, a mean does not change when the tokens are permuted.

>>> import jax, jax.numpy as jnp
>>> from closedform.models.transformers import transformer
>>> config = transformer.Config(input_dim=3, dim=4, head_dim=4, width=8, readout="mean")
>>> params = transformer.init(jax.random.key(0), config)
>>> x = jax.random.normal(jax.random.key(1), (5, 3))
>>> y = transformer.apply(params, x, config)
>>> y.shape, bool(jnp.abs(transformer.apply(params, x[::-1], config) - y).max() < 1e-5)
((1,), True)
>>> params.layers.query.kernel.shape
(2, 4, 1, 4)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Real

from ...contract import Count, NonNegative, check
from ...documented import documented
from .._example import one_example

if TYPE_CHECKING:
    from flax import nnx

Scaling = Literal["constant", "log_length"]
ACTIVATIONS = {"relu": jax.nn.relu, "gelu": jax.nn.gelu, "tanh": jnp.tanh}


@dataclass(frozen=True)
class Config:
    input_dim: Count = 3  # columns of x: words of the vocabulary, or features
    num_outputs: Count = 1  # of the head
    dim: Count = 16  # of a token
    num_heads: Count = 1
    head_dim: Count = 16  # of queries, keys and values; it need not be dim/num_heads
    width: Count = 64  # hidden units of the MLP
    num_layers: Count = 2
    num_positions: Annotated[int, Ge(0)] = 0  # learned ones, the most tokens that there may be; 0: none
    norm: Literal["none", "post", "pre"] = "pre"  # a row of the table
    eps: NonNegative = 1e-5  # of layer norm, added to the variance
    activation: Literal["relu", "gelu", "tanh"] = "relu"
    scaling: Scaling = "constant"  # of the logits of attention: log_length times the log of N
    causal: bool = False  # a token sees itself and those in front of it
    readout: Literal["every", "first", "last", "mean"] = "every"  # what the head reads

    def __post_init__(self):
        check(self)


@documented
class Linear(NamedTuple):
    kernel: Float[Array, "..."]  # inputs before outputs, behind the layer
    bias: Float[Array, "..."]


@documented
class Norm(NamedTuple):
    scale: Float[Array, "*layer dim"]
    shift: Float[Array, "*layer dim"]


@documented
class Layers(NamedTuple):
    """All layers: the layer is the leading axis of every array."""

    query: Linear
    key: Linear
    value: Linear
    output: Linear
    mlp_in: Linear
    mlp_out: Linear
    norm_attention: Norm | None  # in front of attention or behind it; none without layer norm
    norm_mlp: Norm | None


@documented
class Params(NamedTuple):
    embedding: Float[Array, "input_dim dim"]
    position: Float[Array, "position dim"] | None
    layers: Layers
    norm: Norm | None  # before the head, of pre alone
    head: Linear


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Embedding and positions N(0, 1), kernels N(0, 1/inputs), no biases, norms without effect."""
    shapes, depth = _shapes(config), config.num_layers
    sizes = {"embedding": (config.input_dim, config.dim), "position": (config.num_positions, config.dim)}
    sizes |= {name: (depth, *part.kernel.shape) for name, part in shapes.items()}
    sizes |= {"head": (config.dim, config.num_outputs)}
    ends = np.cumsum([math.prod(size) for size in sizes.values()])
    # one draw for all: the generator is what takes time to compile
    numbers = jnp.split(jax.random.normal(key, (int(ends[-1]),)), ends[:-1].tolist())
    drawn = {name: part.reshape(size) for part, (name, size) in zip(numbers, sizes.items(), strict=True)}
    linear = {}
    for name, part in shapes.items():
        inputs = part.kernel.size // part.bias.size
        linear[name] = Linear(drawn[name] / jnp.sqrt(inputs), jnp.zeros((depth, *part.bias.shape)))
    norm = None if config.norm == "none" else _unit_norm((depth, config.dim))
    return Params(
        embedding=drawn["embedding"],
        position=drawn["position"] if config.num_positions else None,
        layers=Layers(**linear, norm_attention=norm, norm_mlp=norm),
        norm=_unit_norm((config.dim,)) if config.norm == "pre" else None,
        head=Linear(drawn["head"] / jnp.sqrt(config.dim), jnp.zeros(config.num_outputs)),
    )


@documented
class Output(NamedTuple):
    outputs: Float[Array, "*token output"]  # of the head: of one token (or the mean), or of every one
    attention: Float[Array, "layer head *query token"]  # weights; of the one query that is read where readout is first or last


@one_example
def apply(
    params: Params,
    x: Float[Array, "token input_dim"],
    config: Config | None = None,
    counts: Real[Array, "_"] | None = None,
) -> Float[Array, "*token output"]:
    """The outputs of the head; `config` as given to init (its defaults if left out), `counts` as above."""
    return evaluate(params, x, config or Config(), counts).outputs


def evaluate(
    params: Params, x: Float[Array, "token input_dim"], config: Config, counts: Real[Array, "_"] | None = None
) -> Output:
    """The outputs, and the weights of attention: of all copies of a row together, so that they sum to 1 over tokens."""
    tokens, weights = _run(params, x, config, counts)
    if config.readout == "mean":
        copies = _copies(x, counts)
        tokens = (copies @ tokens / jnp.sum(copies))[None]
    outputs = tokens @ params.head.kernel + params.head.bias[None]
    return Output(outputs if config.readout == "every" else outputs[0], weights)


def _run(
    params: Params, x: Float[Array, "token input_dim"], config: Config, counts: Real[Array, "_"] | None
) -> tuple[Float[Array, "query dim"], Float[Array, "layer head *query token"]]:
    """The tokens in front of the head, of which there is one where one is read out; and the weights of attention."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # flax promotes
        tokens = x @ params.embedding
        if params.position is not None:
            if len(x) > len(params.position):
                raise ValueError(f"x must have at most num_positions = {len(params.position)} tokens, got {len(x)}")
            tokens = tokens + params.position[: len(x)]
        row = _row(x, config, counts)
        seen = _seen(x, config, counts)
        step = partial(_layer, structure=_structure(config), config=config)
        if row is None:
            tokens, weights = jax.lax.scan(lambda one, layer: step(layer, one, seen), tokens, params.layers)
        else:
            before, last = (jax.tree.map(lambda leaf, at=at: leaf[at], params.layers) for at in (slice(-1), -1))

            def inner(tokens: Array, layer: Layers) -> tuple[Array, Array]:
                tokens, weights = step(layer, tokens, seen)
                return tokens, weights[:, row]

            earlier = jnp.zeros((0, config.num_heads, len(x)), tokens.dtype)
            if config.num_layers > 1:  # a scan over nothing would be compiled all the same
                tokens, earlier = jax.lax.scan(inner, tokens, before)
            tokens, weights = step(last, tokens, seen, row)
            weights = jnp.concatenate([earlier, weights[None, :, 0]])
        return _normalised(tokens, params.norm, config.eps), weights


class _Seen(NamedTuple):
    """What queries see of the tokens."""

    length: Float[Array, "#query"]  # how many tokens there are for a query, N
    log_counts: Float[Array, "token"] | None
    allowed: Bool[Array, "#query token"] | None  # None: all

    def of(self, row: Int[Array, ""]) -> "_Seen":
        """Of one query."""

        def its(part: Array | None) -> Any:
            return part if part is None or len(part) == 1 else part[row][None]

        return _Seen(its(self.length), self.log_counts, its(self.allowed))


def _seen(x: Float[Array, "token input_dim"], config: Config, counts: Real[Array, "_"] | None) -> _Seen:
    copies = _copies(x, counts)
    length = jnp.cumsum(copies) if config.causal else jnp.sum(copies)[None]
    order = jnp.tri(len(x), dtype=bool) if config.causal else None
    if counts is None:
        return _Seen(length, None, order)
    present = copies > 0
    allowed = present[None] if order is None else present[None] & order
    return _Seen(length, jnp.log(jnp.where(present, copies, 1)), allowed)


def _copies(x: Float[Array, "token input_dim"], counts: Real[Array, "_"] | None) -> Float[Array, "token"]:
    if counts is None:
        return jnp.ones(len(x), x.dtype)
    if jnp.shape(counts) != (len(x),):
        raise ValueError(f"counts must have one number for each of the {len(x)} tokens, got shape {jnp.shape(counts)}")
    return jnp.asarray(counts, x.dtype)


def _row(x: Float[Array, "token input_dim"], config: Config, counts: Real[Array, "_"] | None) -> Int[Array, ""] | None:
    """The one query that is read out."""
    if config.readout == "first":
        return jnp.zeros((), int)
    if config.readout == "last":
        return jnp.sum(_copies(x, counts) > 0) - 1
    return None


def _layer(
    layer: Layers,
    tokens: Float[Array, "token dim"],
    seen: _Seen,
    row: Int[Array, ""] | None = None,
    *,
    structure: Any,
    config: Config,
) -> tuple[Float[Array, "query dim"], Float[Array, "head query token"]]:
    """The tokens (one alone, if `row` says which) behind the layer, and its weights of attention."""
    from flax import nnx

    linear = {name: part._asdict() for name, part in layer._asdict().items() if isinstance(part, Linear)}
    modules = nnx.merge(structure, linear)
    norm = partial(_normalised, eps=config.eps)
    read = norm(tokens, layer.norm_attention) if config.norm == "pre" else tokens
    asks, stays = (read, tokens) if row is None else (read[row][None], tokens[row][None])
    mixed, weights = _attend(modules, asks, read, seen if row is None else seen.of(row), config)
    stays = stays + mixed
    if config.norm == "post":
        stays = norm(stays, layer.norm_attention)
    read = norm(stays, layer.norm_mlp) if config.norm == "pre" else stays
    stays = stays + modules["mlp_out"](ACTIVATIONS[config.activation](modules["mlp_in"](read)))
    return (norm(stays, layer.norm_mlp) if config.norm == "post" else stays), weights


def _attend(
    modules: "dict[str, Callable[[Array], Array]]",
    asks: Float[Array, "query dim"],
    read: Float[Array, "token dim"],
    seen: _Seen,
    config: Config,
) -> tuple[Float[Array, "query dim"], Float[Array, "head query token"]]:
    query, key, value = modules["query"](asks), modules["key"](read), modules["value"](read)
    logits = jnp.einsum("qhd,khd->hqk", query, key) / jnp.sqrt(jnp.asarray(config.head_dim, query.dtype))
    if config.scaling == "log_length":
        logits = logits * jnp.log(seen.length)[None, :, None]
    if seen.log_counts is not None:  # c copies of a row have c times its weight
        logits = logits + seen.log_counts
    if seen.allowed is not None:
        logits = jnp.where(seen.allowed, logits, jnp.finfo(logits.dtype).min)
    weights = jax.nn.softmax(logits)
    return modules["output"](jnp.einsum("hqk,khd->qhd", weights, value)), weights


def _normalised(x: Float[Array, "*token dim"], norm: Norm | None, eps: float | Array) -> Float[Array, "*token dim"]:
    """Layer norm, if any. It is not flax's, which loses small variances to a difference of means, and whose 0/0 is NaN."""
    if norm is None:
        return x
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1, keepdims=True) + jnp.asarray(eps, x.dtype)
    return centred / jnp.sqrt(jnp.where(variance > 0, variance, 1)) * norm.scale + norm.shift


def _unit_norm(shape: tuple[int, ...]) -> Norm:
    return Norm(jnp.ones(shape), jnp.zeros(shape))


def _modules(config: Config) -> "dict[str, nnx.Module]":
    """The linear layers of one layer."""
    from flax import nnx

    heads = (config.num_heads, config.head_dim)
    options: dict[str, Any] = {"rngs": nnx.Rngs(jax.random.key(0, impl="threefry2x32")), "param_dtype": jnp.zeros(()).dtype}
    projections = {name: nnx.LinearGeneral(config.dim, heads, **options) for name in ("query", "key", "value")}
    return {
        **projections,
        "output": nnx.LinearGeneral(heads, config.dim, axis=(-2, -1), **options),
        "mlp_in": nnx.Linear(config.dim, config.width, **options),
        "mlp_out": nnx.Linear(config.width, config.dim, **options),
    }


def _shapes(config: Config) -> dict[str, Linear]:
    """Kernels and biases of one layer, by name."""
    from flax import nnx

    state = nnx.to_pure_dict(nnx.split(nnx.eval_shape(lambda: _modules(config)))[1])
    return {name: Linear(**part) for name, part in state.items()}


def _structure(config: Config) -> Any:
    """What `nnx.merge` takes to make linear layers of arrays."""
    from flax import nnx

    return nnx.split(nnx.eval_shape(lambda: _modules(config)))[0]
