r"""Transformer layers as steps of an ordinary differential equation x' = F(x) + G(x): F attends, G acts on every token.

With $q, k, v = x W_Q, x W_K, x W_V$,

$$
\begin{align*}
F(x) &= \operatorname{concat}_{\text{heads}} \left[
\operatorname{softmax}\left( \frac{q k^\top}{\sqrt{\text{size}}} \right) v \right] W_O \\
G(x) &= \phi(x W_1 + b_1) W_2 + b_2
\end{align*}
$$

with $\phi$ tanh or gelu, and with layer norm in front of either if asked for (without scale and shift of its own: $W_1$, $b_1$
and $W_Q$, $W_K$, $W_V$ take them up, the shift in front of attention apart). A layer is one step of a scheme for $F + G$, of
size $h$; the residual network has $h = 1$. With one block for all layers a stack of $N$ layers integrates the equation to the
time $N h$; with $B$ blocks, each for $N/B$ layers in turn, the equation changes $B - 1$ times on the way.

The scheme is one of those of `integrators`, whose table says its order and how many sublayers a layer evaluates: `sequential`
is the layer in common use, `parallel` Euler's step for the sum.

| paper | name here | shape | meaning |
|---|---|---|---|
| $x$ | `x` | (token, dim) | tokens, the state |
| $W_Q$, $W_K$, $W_V$ | `query`, `key`, `value` | (dim, dim) | heads are slices of the columns |
| $W_O$ | `output` | (dim, dim) | heads are slices of the rows |
| $W_1$, $b_1$ | `w_in`, `b_in` | (dim, width), (width,) | the MLP: in |
| $W_2$, $b_2$ | `w_out`, `b_out` | (width, dim), (dim,) | and out |
| $h$, $N$ | `step_size`, `num_layers` | | step, steps |

Source: Zhong, Zhang, Chakraborty and Dey, arXiv 2212.06011 (parallel layers as Euler's step, weights shared over depth); Lu et
al., arXiv 1906.02762 (macaron, tokens as particles; their halves of $G$ are MLPs of half the width with weights of their own,
here both are the one $G$).

Example. The layers do not know positions: tokens in another order come out in that order.

>>> import jax
>>> from closedform.models.transformers import ode_transformer
>>> config = ode_transformer.Config(dim=4, width=8, num_layers=2)
>>> params = ode_transformer.init(jax.random.key(0), config)
>>> x = jax.random.normal(jax.random.key(1), (3, 4))
>>> y = ode_transformer.apply(params, x, config)
>>> bool(abs(ode_transformer.apply(params, x[::-1], config) - y[::-1]).max() < 1e-5)
True
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, check
from ...documented import documented
from .._example import one_example
from .integrators import ADAPTIVE, SCHEMES, Field, State, integrate, solve

SchemeName = Literal["parallel", "sequential", "lie", "strang", "macaron", "midpoint", "heun", "rk4", "tsit5", "dopri5"]
ACTIVATIONS = {"tanh": jnp.tanh, "gelu": jax.nn.gelu}


@dataclass(frozen=True)
class Config:
    dim: Count = 8  # of a token
    width: Count = 16  # hidden units of the MLP
    num_heads: Count = 1  # each of size dim/num_heads
    num_layers: Count = 4  # steps of the scheme
    num_blocks: Count = 1  # distinct sets of weights, each for num_layers/num_blocks layers in turn; 1 shares all
    step_size: float = 1.0  # h; the time is num_layers times this
    scheme: SchemeName = "sequential"  # a row of the table of `integrators`
    activation: Literal["tanh", "gelu"] = "tanh"
    norm: bool = False  # layer norm in front of attention and of the MLP
    init_scale: NonNegative = 1.0  # of W_O and W_2: standard deviation times the root of their rows
    rtol: Positive = 1e-3  # tolerance of a step relative to the state, and half as an absolute one; tsit5 and dopri5 alone

    def __post_init__(self):
        check(self)
        for name, parts in (("dim", "num_heads"), ("num_layers", "num_blocks")):
            if getattr(self, name) % getattr(self, parts):
                raise ValueError(f"{name} must be a multiple of {parts} = {getattr(self, parts)}, got {getattr(self, name)}")
        if not isinstance(self.step_size, Tracer) and self.step_size == 0:
            raise ValueError("step_size must not be 0, got 0.0")


@documented
class Params(NamedTuple):
    """Parameters of one block, or of a stack with the block as a leading axis."""

    query: Float[Array, "*block dim dim"]
    key: Float[Array, "*block dim dim"]
    value: Float[Array, "*block dim dim"]
    output: Float[Array, "*block dim dim"]
    w_in: Float[Array, "*block dim width"]
    b_in: Float[Array, "*block width"]
    w_out: Float[Array, "*block width dim"]
    b_out: Float[Array, "*block dim"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Blocks of Gaussian weights, variance 1 over their rows (W_O and W_2 times init_scale^2), and no biases."""

    def weights(key: PRNGKeyArray, rows: int, columns: int, scale: float | Array = 1.0) -> Array:
        return scale * jax.random.normal(key, (config.num_blocks, rows, columns)) / jnp.sqrt(rows)

    keys = jax.random.split(key, 6)
    dim, width = config.dim, config.width
    return Params(
        query=weights(keys[0], dim, dim),
        key=weights(keys[1], dim, dim),
        value=weights(keys[2], dim, dim),
        output=weights(keys[3], dim, dim, config.init_scale),
        w_in=weights(keys[4], dim, width),
        b_in=jnp.zeros((config.num_blocks, width)),
        w_out=weights(keys[5], width, dim, config.init_scale),
        b_out=jnp.zeros((config.num_blocks, dim)),
    )


@one_example
def apply(params: Params, x: Float[Array, "token dim"], config: Config | None = None) -> Float[Array, "token dim"]:
    """The tokens after all layers; `config` as given to init (its defaults if left out)."""
    return evolve(params, x, config or Config()).state


@documented
class Evolved(NamedTuple):
    state: State
    num_sublayers: Float[Array, ""]  # evaluations of F and of G, counted together


def evolve(params: Params, x: Float[Array, "*batch token dim"], config: Config) -> Evolved:
    """The tokens after all layers, and the number of evaluations that it took.

    An adaptive scheme takes the same steps for all examples of a batch given whole, and its own for each example under vmap.
    """
    if params.query.shape[0] != config.num_blocks:
        raise ValueError(f"params must be those of num_blocks = {config.num_blocks} blocks, got {params.query.shape[0]}")
    repeats = config.num_layers // config.num_blocks

    def block(carry: Evolved, one: Params) -> tuple[Evolved, None]:
        if config.scheme in ADAPTIVE:
            field, layer = partial(joint_field, config=config), jnp.asarray(config.step_size, x.dtype)
            state, evaluations = solve(field, one, carry.state, repeats * layer, config.scheme, config.rtol, first_step=layer)
            return Evolved(state, carry.num_sublayers + 2 * evaluations), None
        scheme = SCHEMES[config.scheme]
        keep = "stages" if scheme.num_sublayers <= SCHEMES["rk4"].num_sublayers else "steps"  # a flow has 24 stages and more
        state = integrate(scheme.step_fn, *fields(one, config), carry.state, config.step_size, repeats, keep)
        return Evolved(state, carry.num_sublayers + scheme.num_sublayers * repeats), None

    return jax.lax.scan(block, Evolved(x, jnp.zeros((), x.dtype)), params)[0]


# ---------------------------------------------------------------------------------------------------------------- the fields


def attention_field(params: Params, x: Float[Array, "*batch token dim"], config: Config) -> Float[Array, "*batch token dim"]:
    """F(x) of one block: softmax attention of every token to all of its example, itself included."""
    u = _normalised(x, config)
    query, key, value = (_heads(_product(u, w), config.num_heads) for w in (params.query, params.key, params.value))
    logits = jnp.einsum("...qhs,...khs->...hqk", query, key) / math.sqrt(query.shape[-1])
    mixed = jnp.einsum("...hqk,...khs->...qhs", jax.nn.softmax(logits), value)
    return _product(mixed.reshape(x.shape), params.output)


def mlp_field(params: Params, x: Float[Array, "*batch token dim"], config: Config) -> Float[Array, "*batch token dim"]:
    """G(x) of one block: the same map for every token."""
    hidden = ACTIVATIONS[config.activation](_biased(_product(_normalised(x, config), params.w_in), params.b_in))
    return _biased(_product(hidden, params.w_out), params.b_out)


def joint_field(params: Params, x: Float[Array, "*batch token dim"], config: Config) -> Float[Array, "*batch token dim"]:
    """F(x) + G(x)."""
    return attention_field(params, x, config) + mlp_field(params, x, config)


def fields(params: Params, config: Config) -> tuple[Field, Field]:
    """F and G of one block as functions of the state."""
    return partial(attention_field, params, config=config), partial(mlp_field, params, config=config)


def _normalised(x: Array, config: Config) -> Array:
    return jax.nn.standardize(x, axis=-1, epsilon=1e-5) if config.norm else x


def _product(x: Array, weights: Array) -> Array:
    """x W, written so that its gradient is fast on a CPU.

    Reverse mode forms the gradient of W transposed, dx^T x over all axes but the last. For x @ W the compiler turns this into
    x^T (dx^T)^T, two transposed factors, which on a CPU run at a third of the speed or less. So W is transposed first, where
    the compiler cannot see it, and its gradient last.
    """
    transposed = jax.lax.optimization_barrier(weights.T)
    return jax.lax.dot_general(x, transposed, (((x.ndim - 1,), (1,)), ((), ())))


def _heads(x: Array, num_heads: int) -> Array:
    return x.reshape(*x.shape[:-1], num_heads, -1)


def _biased(x: Array, bias: Array) -> Array:
    return x + jnp.broadcast_to(bias, x.shape)
