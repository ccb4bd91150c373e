r"""Tokens on the unit sphere that are moved by attention: a continuous flow, or layers with normalisation after them.

Attention, softmax (SA) or unnormalised (USA), is

$$
\begin{align*}
a_i &= \sum_j \operatorname{softmax}_j(\beta \langle Q x_i, K x_j \rangle)\, V x_j \qquad \text{(SA)} \\
a_i &= \frac{1}{n} \sum_j \exp(\beta \langle Q x_i, K x_j \rangle - \text{shift})\, V x_j \qquad \text{(USA)}
\end{align*}
$$

The flow, by Runge-Kutta steps of order 4, each brought back to the sphere, and the layers are

$$
\begin{align*}
x_i' &= a_i - \langle x_i, a_i \rangle x_i \qquad \text{(flow)} \\
x_i &\leftarrow \operatorname{normalise}(x_i + \eta a_i) \qquad \text{(layers)}
\end{align*}
$$

An example is an array (token, dim) of any number of tokens. With `shift=0` USA is the flow of the source, and overflows at
$\beta = 88$ in float32. A shift slows the same flow down: its time is that of the source times $e^{\text{shift}}$. With
`shift=beta` all weights of unit vectors ($Q$ and $K$ orthogonal) are at most 1. SA subtracts its largest score and does not
overflow at any $\beta$.

| source | name here | shape | meaning |
|---|---|---|---|
| $n$, $d$ | tokens of `x`, `dim` | | |
| $\beta$ | `beta` | | inverse temperature, $\ge 0$ |
| $Q$, $K$, $V$ | `query`, `key`, `value` | (dim, dim) | $x_i$ maps to $Q x_i$ |
| $x_i$ | `x[i]` | (dim,) | unit vectors |
| $\eta$ | `step_size` | | of a layer; of a step of the flow it is the time |

Source: Geshkovski, Letrouit, Polyanskiy and Rigollet, arXiv 2312.10794 (SA and USA, read in a public formalisation of its
statements); layers with a step size, and the shift, are ours.

Example. Two tokens at right angles, $\beta = 0$: after the time $t$ their inner product is $\tanh t$.

>>> import jax.numpy as jnp
>>> from closedform.models.transformers import sphere_attention as model
>>> config = model.Config(dim=2, beta=0.0, step_size=0.1, num_steps=10)
>>> (product,) = model.inner_products(model.apply(model.identity(2), jnp.eye(2), config))
>>> round(float(product), 4), round(float(jnp.tanh(1.0)), 4)
(0.7616, 0.7616)
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ...contract import NonNegative, check
from ...documented import documented
from .._example import one_example
from .integrators import rk4_step

Number = Float[Array, ""] | float


@dataclass(frozen=True)
class Config:
    dim: Annotated[int, Ge(2)] = 3  # of a token, paper d
    beta: NonNegative = 1.0  # inverse temperature
    softmax: bool = True  # SA; False: USA, unnormalised weights
    shift: float = 0.0  # USA only: weights e^(score - shift), so that time is times e^shift
    motion: Literal["flow", "layers"] = "flow"  # Runge-Kutta steps; or x + step_size * attention, normalised
    step_size: NonNegative = 0.1  # of a layer, paper eta; of a step of the flow, in time
    num_steps: Annotated[int, Ge(0)] = 10  # steps of the flow, or layers
    init: Literal["identity", "gaussian"] = "identity"  # of query, key and value; gaussian: entries of variance 1/dim

    def __post_init__(self):
        check(self)


@documented
class Params(NamedTuple):
    query: Float[Array, "dim dim"]
    key: Float[Array, "dim dim"]
    value: Float[Array, "dim dim"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Identities, or three independent Gaussian matrices with entries of variance 1/dim."""
    if config.init == "identity":
        return identity(config.dim)
    shape = (3, config.dim, config.dim)
    return Params(*(jax.random.normal(key, shape) / jnp.sqrt(config.dim)))


def identity(dim: int) -> Params:
    """Q = K = V = I: the tokens themselves are compared and added.

    >>> identity(2).value.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return Params(jnp.eye(dim), jnp.eye(dim), jnp.eye(dim))


@one_example
def apply(params: Params, x: Float[Array, "token dim"], config: Config | None = None) -> Float[Array, "token dim"]:
    """The tokens after config.num_steps steps; x is normalised first."""
    settings = config or Config()
    return jax.lax.fori_loop(0, settings.num_steps, lambda _, x: move(params, x, settings), normalise(x))


def trajectory(params: Params, x: Float[Array, "token dim"], config: Config) -> Float[Array, "step token dim"]:
    """The tokens at the start and after every step: num_steps + 1 states."""

    def step(x: Array, _: None) -> tuple[Array, Array]:
        after = move(params, x, config)
        return after, after

    start = normalise(x)
    return jnp.concatenate([start[None], jax.lax.scan(step, start, None, length=config.num_steps)[1]])


def move(params: Params, x: Float[Array, "token dim"], config: Config) -> Float[Array, "token dim"]:
    """One step of the flow, or one layer."""
    step_fn = flow_step if config.motion == "flow" else layer
    return step_fn(params, x, config.step_size, config.beta, config.softmax, config.shift)


def attention(
    params: Params, x: Float[Array, "token dim"], beta: Number = 1.0, softmax: bool = True, shift: Number = 0.0
) -> Float[Array, "token dim"]:
    """a_i. A token attends to itself too.

    >>> attention(identity(2), jnp.eye(2), 0.0).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    beta, shift = (jnp.asarray(number, x.dtype) for number in (beta, shift))
    scores = beta * ((x @ params.query.T) @ (x @ params.key.T).T)
    weights = jax.nn.softmax(scores, axis=1) if softmax else jnp.exp(scores - shift) / len(x)
    return weights @ (x @ params.value.T)


def tangent(x: Float[Array, "token dim"], y: Float[Array, "token dim"]) -> Float[Array, "token dim"]:
    """P_(x_i) y_i = y_i - <x_i, y_i> x_i."""
    return y - jnp.sum(x * y, axis=1, keepdims=True) * x


def normalise(x: Float[Array, "token dim"]) -> Float[Array, "token dim"]:
    """x_i/|x_i|."""
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


def field(
    params: Params, x: Float[Array, "token dim"], beta: Number = 1.0, softmax: bool = True, shift: Number = 0.0
) -> Float[Array, "token dim"]:
    """Velocity x_i' of every token, tangent to the sphere.

    >>> field(identity(2), jnp.eye(2), 0.0).tolist()
    [[0.0, 0.5], [0.5, 0.0]]
    """
    return tangent(x, attention(params, x, beta, softmax, shift))


def flow_step(
    params: Params,
    x: Float[Array, "token dim"],
    step_size: Number,
    beta: Number = 1.0,
    softmax: bool = True,
    shift: Number = 0.0,
) -> Float[Array, "token dim"]:
    """The flow for a time step_size, by one Runge-Kutta step of order 4. Stages may leave the sphere, the result is on it."""
    return normalise(rk4_step(lambda y: field(params, y, beta, softmax, shift), x, jnp.asarray(step_size, x.dtype)))


def layer(
    params: Params,
    x: Float[Array, "token dim"],
    step_size: Number,
    beta: Number = 1.0,
    softmax: bool = True,
    shift: Number = 0.0,
) -> Float[Array, "token dim"]:
    """normalise(x_i + step_size a_i): a residual attention layer with normalisation after it.

    >>> (5 * layer(identity(2), jnp.eye(2), 1.0, 0.0) ** 2).round(4).tolist()  # (3, 1)/sqrt(10)
    [[4.5, 0.5], [0.5, 4.5]]
    """
    return normalise(x + jnp.asarray(step_size, x.dtype) * attention(params, x, beta, softmax, shift))


# ------------------------------------------------------------------------------------------------------------ what is seen


def inner_products(x: Float[Array, "token dim"]) -> Float[Array, "pair"]:
    """<x_i, x_j> of all pairs i < j."""
    return (x @ x.T)[jnp.triu_indices(len(x), 1)]


def fraction_above(x: Float[Array, "token dim"], threshold: Number) -> Float[Array, ""]:
    """Share of the pairs whose inner product is above the threshold.

    >>> round(float(fraction_above(jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 0.5)), 4)
    0.3333
    """
    return jnp.mean((inner_products(x) > jnp.asarray(threshold, x.dtype)).astype(x.dtype))


def components(x: Float[Array, "token dim"], threshold: Number) -> Int[Array, "token"]:
    """The cluster of every token, by the number of its first token.

    Tokens are linked if their inner product is above the threshold, and in one cluster if a chain of links joins them.
    """
    reached: Bool[Array, "token token"] = (x @ x.T > jnp.asarray(threshold, x.dtype)) | jnp.eye(len(x), dtype=bool)
    for _ in range((len(x) - 1).bit_length()):  # chains of 1, 2, 4, ... links
        count = reached.astype(jnp.float32)
        reached = count @ count > 0
    return jnp.argmax(reached, axis=1)


def num_clusters(x: Float[Array, "token dim"], threshold: Number, smallest: int = 1) -> Int[Array, ""]:
    """How many clusters `components` finds, of at least `smallest` tokens.

    >>> int(num_clusters(jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 0.5))
    2
    """
    sizes = jnp.zeros(len(x), int).at[components(x, threshold)].add(1)
    return jnp.sum(sizes >= max(smallest, 1))


def energy(x: Float[Array, "token dim"], beta: Number, shift: Number = 0.0) -> Float[Array, ""]:
    """(1/(2 beta n^2)) sum_ij e^(beta <x_i, x_j> - shift), the energy that both flows climb if Q = K = V = I; beta > 0.

    >>> round(float(energy(jnp.eye(2), 1.0)), 5)  # (e + 1)/4
    0.92957
    """
    beta, shift = (jnp.asarray(number, x.dtype) for number in (beta, shift))
    return jnp.mean(jnp.exp(beta * (x @ x.T) - shift)) / (2 * beta)


# ------------------------------------------------------------------------------------------------------------------ starts


def equiangular(num_tokens: int, dim: int, inner_product: float = 0.0) -> Float[Array, "token dim"]:
    """Unit vectors, every two of which have the given inner product: the symmetric root of their Gram matrix.

    >>> equiangular(2, 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if num_tokens < 2:
        raise ValueError(f"num_tokens must be at least 2, got {num_tokens}")
    if dim < num_tokens:
        raise ValueError(f"dim must be at least num_tokens = {num_tokens}, got {dim}")
    if not (inner_product * (num_tokens - 1) >= -1 and inner_product <= 1):  # a NaN is not
        raise ValueError(f"inner_product must be from -1/(num_tokens - 1) to 1, got {inner_product}")
    own, mean = (1 - inner_product) ** 0.5, max(1 + (num_tokens - 1) * inner_product, 0.0) ** 0.5
    root = own * jnp.eye(num_tokens) + (mean - own) / num_tokens
    return jnp.concatenate([root, jnp.zeros((num_tokens, dim - num_tokens))], axis=1)


def uniform(key: PRNGKeyArray, num_tokens: int, dim: int) -> Float[Array, "token dim"]:
    """Independent tokens, uniform on the sphere."""
    if num_tokens < 1:
        raise ValueError(f"num_tokens must be at least 1, got {num_tokens}")
    if dim < 2:
        raise ValueError(f"dim must be at least 2, got {dim}")
    return normalise(jax.random.normal(key, (num_tokens, dim)))


def circle(angles: Float[Array, "token"]) -> Float[Array, "token 2"]:
    """Tokens in the plane at the given angles."""
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
