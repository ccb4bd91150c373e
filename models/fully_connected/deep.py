r"""A deep fully connected network, with its pre-activations, in three scalings of its weights with the width.

$$
h_1 = W_1 x + b_1, \qquad h_{l+1} = W_{l+1} \phi(h_l) + b_{l+1}, \qquad f(x) = h_{L+1}
$$

with $W_l = m_l w_l$, where the entries of $w_l$ are trained and start as $N(0, s_l^2)$. With $n$ inputs to a layer
(its fan-in) and $n'$ outputs, and $\sigma_w^2$ = `weight_variance`:

| `scaling` | layer | multiplier $m_l$ | deviation $s_l$ | factor of the learning rate |
|---|---|---|---|---|
| `standard` | all | $1$ | $\sigma_w/\sqrt n$ | $1$ |
| `mean_field` | first | $1$ | $\sigma_w/\sqrt n$ | $n'$ |
| | between | $1/n$ | $\sigma_w$ | $n n'$ |
| | last | $1/n$ | $\sigma_w$ | $n$ |
| `maximal_update` | first | $1$ | $\sigma_w/\sqrt n$ | $n'$ |
| | between | $1/\sqrt n$ | $\sigma_w$ | $n'$ |
| | last | $1/n$ | $\sigma_w$ | $n$ |

A bias of a hidden layer has the factor $1$ (`standard`) or $n'$, that of the last layer $1$. Without a hidden layer the only
layer counts as `standard`. With one hidden layer `mean_field` and `maximal_update` are the same network.

| paper | name here | shape | meaning |
|---|---|---|---|
| $L$ | `depth` | | hidden layers |
| $w_l$, $b_l$ | `weights[l - 1]`, `biases[l - 1]` | (out, in), (out,) | of layer $l = 1, \dots, L + 1$ |
| $\sigma_w^2$, $\sigma_b^2$ | `weight_variance`, `bias_variance` | | as in the kernels of wide networks |
| $\phi$ | `activation` | elementwise | a name of `ACTIVATIONS`, or of an elementwise function of jax.nn or jax.numpy |

Source: textbook (the network); G. Yang, E. J. Hu, arXiv 2011.14522 (maximal update, recalled; its weights are those here after
a factor is moved between multiplier, deviation and learning rate). The rates of the deep mean-field network are derived here:
with them its layers move by order 1 where the gradient that arrives is of order 1/n.

Example. A layer whose weights double has pre-activations that double:

>>> import jax, jax.numpy as jnp
>>> from closedform.models.fully_connected import deep
>>> params = deep.init(jax.random.key(0), deep.Config(dim=4, widths=(8, 8)))
>>> first, second, output = deep.preactivations(params, jnp.ones(4))
>>> doubled = params._replace(weights=(2 * params.weights[0], *params.weights[1:]))
>>> bool(jnp.allclose(deep.preactivations(doubled, jnp.ones(4))[0], 2 * first))
True
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ...contract import Count, NonNegative, check
from ...documented import documented
from .._example import one_example

Carry = TypeVar("Carry")
ElementwiseFn = Callable[[Float[Array, "..."]], Float[Array, "..."]]

ACTIVATIONS: dict[str, ElementwiseFn] = {
    "identity": lambda z: z,
    "erf": jax.scipy.special.erf,
    "gelu_erf": functools.partial(jax.nn.gelu, approximate=False),  # "gelu" is jax's approximation by tanh
}
_SCANNED = 3  # consecutive layers of one shape that are one loop in the program: less to compile


@dataclass(frozen=True)
class Config:
    dim: Count = 8  # of the input
    widths: tuple[Count, ...] = (16, 16)  # units of each hidden layer
    num_outputs: Count = 1
    activation: str = "tanh"  # of ACTIVATIONS, jax.nn or jax.numpy
    weight_variance: NonNegative = 1.0  # sigma_w^2
    bias_variance: NonNegative = 0.0  # sigma_b^2
    scaling: Literal["standard", "mean_field", "maximal_update"] = "standard"  # of weights and learning rates with the width

    def __post_init__(self):
        check(self)
        activation_fn(self.activation)

    @property
    def depth(self) -> int:
        """Hidden layers, L."""
        return len(self.widths)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(outputs, inputs) of each layer."""
        sizes = self.dim, *self.widths, self.num_outputs
        return tuple((after, before) for before, after in itertools.pairwise(sizes))


@documented
class Params(NamedTuple):
    weights: tuple[Float[Array, "out in"], ...]  # w_1, .., w_{L+1}
    biases: tuple[Float[Array, "out"], ...]  # b_1, .., b_{L+1}


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Gaussian weights and biases of the variances of the scaling."""
    key_weights, key_biases = jax.random.split(key)
    sigma_w, sigma_b = (jnp.sqrt(jnp.asarray(v, float)) for v in (config.weight_variance, config.bias_variance))
    weights = normals(key_weights, config.shapes)
    biases = normals(key_biases, [(out,) for out, _ in config.shapes])

    def deviation(i: int) -> Array:
        by_fan_in = config.scaling == "standard" or i == 0
        return sigma_w / math.sqrt(config.shapes[i][1]) if by_fan_in else sigma_w

    return Params(tuple(deviation(i) * w for i, w in enumerate(weights)), tuple(sigma_b * b for b in biases))


def activation_fn(name: str) -> ElementwiseFn:
    """The elementwise function of that name. Raises ValueError where there is none.

    >>> float(activation_fn("relu")(-1.0)), float(activation_fn("erf")(0.0))
    (0.0, 0.0)
    """
    found = _elementwise(name)
    if found is None:
        raise ValueError(f"activation must be {', '.join(ACTIVATIONS)} or an elementwise function of jax.nn, got {name!r}")
    return found


@one_example
def apply(params: Params, x: Float[Array, "dim"], config: Config | None = None) -> Float[Array, "output"]:
    """The output for one example; `config` as given to init (its defaults if left out)."""
    return preactivations(params, x, config)[-1]


def preactivations(params: Params, x: Float[ArrayLike, "..."], config: Config | None = None) -> tuple[Float[Array, "_"], ...]:
    """h_1, .., h_{L+1} for one example x of shape (dim,); the last is the output.

    The derivative of a loss of one example in the bias of a layer is its derivative in the pre-activations of that layer.
    """
    config = config or Config()
    x = jnp.asarray(x, jnp.result_type(params.weights[0], x) if isinstance(x, jax.Array) else params.weights[0].dtype)
    if x.ndim != 1:
        raise ValueError(f"x must be one example of shape (dim,), got {x.shape}; vmap over further axes")
    require_layers(params, x.shape[0])
    phi = activation_fn(config.activation)

    def layer(y: Array, weight: Array, bias: Array, multiplier: float) -> tuple[Array, Array]:
        h = multiplier * (weight @ y) + bias
        return phi(h), h

    return through_layers(layer, x, params, config)[1]


def through_layers(
    layer_fn: Callable[[Carry, Array, Array, float], tuple[Carry, Any]], carry: Carry, params: Params, config: Config
) -> tuple[Carry, tuple[Any, ...]]:
    """layer_fn(carry, w_l, b_l, m_l) -> (carry, out), from the first layer to the last: the last carry, and each layer's out.

    Consecutive layers of one shape are one loop of the program, so that a network of 100 layers compiles as fast as one of 3.
    """
    layers = list(zip(params.weights, params.biases, multipliers(params, config), strict=True))
    found: list[Any] = []
    for (_, multiplier), run in itertools.groupby(layers, lambda layer: (layer[0].shape, layer[2])):
        weights, biases, _ = zip(*run, strict=True)
        if len(weights) < _SCANNED:
            for weight, bias in zip(weights, biases, strict=True):
                carry, out = layer_fn(carry, weight, bias, multiplier)
                found.append(out)
            continue
        stacked = jnp.stack(weights), jnp.stack(biases)
        carry, outs = jax.lax.scan(lambda carry, layer, m=multiplier: layer_fn(carry, *layer, m), carry, stacked)
        found += [jax.tree.map(lambda leaf, i=i: leaf[i], outs) for i in range(len(weights))]
    return carry, tuple(found)


def multipliers(params: Params, config: Config) -> tuple[float, ...]:
    """m_1, .., m_{L+1}, of the shapes of these parameters."""
    return tuple(_multiplier(i, weight.shape, len(params.weights), config) for i, weight in enumerate(params.weights))


def learning_rate_factors(config: Config) -> Params:
    """What multiplies the learning rate of each weight and each bias, as plain numbers in the place of arrays."""
    last = config.depth
    weights, biases = [], []
    for i, (out, fan_in) in enumerate(config.shapes):
        if config.scaling == "standard" or last == 0:
            factor = 1.0
        elif i == last:
            factor = float(fan_in)
        else:
            factor = float(out * fan_in if config.scaling == "mean_field" and i > 0 else out)
        weights.append(factor)
        biases.append(1.0 if config.scaling == "standard" or i == last else float(out))
    return Params(tuple(weights), tuple(biases))  # type: ignore[arg-type]


def normals(key: PRNGKeyArray, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """Standard normal arrays, all from one draw: a draw of each would take long to compile."""
    ends = [0, *itertools.accumulate(map(math.prod, shapes))]
    numbers = jax.random.normal(key, (ends[-1],))
    return [numbers[low:high].reshape(shape) for low, high, shape in zip(ends, ends[1:], shapes, strict=False)]


def require_layers(params: Params, dim: int) -> None:
    """Raises ValueError, in one line, where the layers do not fit one another or the input."""
    before = dim
    for i, (weight, bias) in enumerate(zip(params.weights, params.biases, strict=True)):
        out, fan_in = weight.shape
        if fan_in != before:
            raise ValueError(
                f"x must have the shape (dim,) with dim = {fan_in}, got ({dim},)"
                if i == 0
                else f"params.weights[{i}] must have {before} inputs, got shape {weight.shape}"
            )
        if bias.shape != (out,):
            raise ValueError(f"params.biases[{i}] must have the shape ({out},), got {bias.shape}")
        before = out


def _multiplier(i: int, shape: tuple[int, ...], num_layers: int, config: Config) -> float:
    if config.scaling == "standard" or i == 0:
        return 1.0
    if config.scaling == "mean_field" or i == num_layers - 1:
        return 1 / shape[1]
    return 1 / math.sqrt(shape[1])


@functools.cache
def _elementwise(name: str) -> ElementwiseFn | None:
    sources: tuple[Any, ...] = ACTIVATIONS, vars(jax.nn), vars(jnp)
    found: Any = next((source[name] for source in sources if name in source and not name.startswith("_")), None)
    if not callable(found) or isinstance(found, type):
        return None
    try:  # a number becomes a number: softmax, sort and sums over an axis have no axis here
        after = jax.eval_shape(found, jax.ShapeDtypeStruct((), jnp.float32))
    except Exception:
        return None
    if getattr(after, "shape", None) != () or not jnp.issubdtype(after.dtype, jnp.floating):
        return None
    return cast(ElementwiseFn, found)
