r"""How a deep network starts: orthonormal, He, Xavier and LeCun weights, and LSUV, which looks at data.

Weights of a layer with $n$ inputs and $n'$ outputs, all with biases 0:

| `init` | weights |
|---|---|
| `orthonormal` | $W W^\top = 1$ if $n' \le n$, otherwise $W^\top W = 1$; uniform among these |
| `he` | $N(0, 2/n)$ |
| `xavier` | $N(0, 2/(n + n'))$ |
| `lecun` | $N(0, 1/n)$ |

LSUV (layer-sequential unit variance) goes from the first layer to the last. It sends a batch of data through the layers before,
takes the variance $v$ of the layer's output before the nonlinearity, over all entries, examples and units alike, and divides:

$$
W_l \leftarrow \frac{W_l}{\sqrt v}, \qquad v = \operatorname{Var} \, \{ h_{l, i}(x) : x \in \text{batch},\ i = 1, \dots, n' \}
$$

until $|v - 1|$ is within a tolerance. Without biases $v$ is homogeneous, and one division is enough.

| paper | name here | shape | meaning |
|---|---|---|---|
| $v$ | `variance_before`, `variance_after` | (layer,) | of the output of each layer, before and after its rescaling |
| Tol$_{var}$, $T_{max}$ | `tolerance`, `max_rescalings` | | of $\lvert v - 1 \rvert$; divisions of a layer at most |

Source: D. Mishkin, J. Matas, "All you need is a good init", arXiv 1511.06422 (LSUV; its authors' script has the tolerance 0.02
and 20 rescalings; a later one of theirs also shifts biases, which is not done here). The others are those of
jax.nn.initializers, Gaussian entries not cut off: K. He et al., arXiv 1502.01852, and X. Glorot, Y. Bengio,
proceedings.mlr.press/v9/glorot10a.html (recalled).

Example. On inputs of variance 1 an orthonormal first layer is left as it is, and the layer after tanh is scaled by 1.59:

>>> import jax
>>> from closedform.models.fully_connected import deep, initialisers
>>> config = deep.Config(dim=100, widths=(100,), num_outputs=100)
>>> start = initialisers.initialise(jax.random.key(0), config, "orthonormal")
>>> batch = jax.random.normal(jax.random.key(1), (200, 100))
>>> params, log = initialisers.lsuv(start, batch, config)
>>> log.num_rescalings.tolist(), bool(abs(log.scale[1] - 1.59) < 0.05)
([0, 1], True)
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from ...documented import documented
from . import deep

_orthonormal = jax.nn.initializers.orthogonal()
VARIANCES: dict[str, Callable[[int, int], float]] = {  # of Gaussian weights, of the outputs and inputs of a layer
    "he": lambda fan_out, fan_in: 2 / fan_in,
    "xavier": lambda fan_out, fan_in: 2 / (fan_in + fan_out),
    "lecun": lambda fan_out, fan_in: 1 / fan_in,
}


@documented
class Log(NamedTuple):
    """What LSUV did to each layer."""

    scale: Float[Array, "layer"]  # what its weights were multiplied by
    num_rescalings: Int[Array, "layer"]  # divisions
    variance_before: Float[Array, "layer"]  # of its output, once the layers before were rescaled
    variance_after: Float[Array, "layer"]


def initialise(key: PRNGKeyArray, config: deep.Config, init: str) -> deep.Params:
    """Weights by the initialiser of that name, and biases 0. They are effective weights: for the scaling `standard`."""
    if init == "orthonormal":
        weights = _orthonormal_weights(key, config)
    elif init in VARIANCES:
        weights = [math.sqrt(VARIANCES[init](*w.shape)) * w for w in deep.normals(key, config.shapes)]
    else:
        raise ValueError(f"init must be one of orthonormal, {', '.join(VARIANCES)}, got {init!r}")
    return deep.Params(tuple(weights), tuple(jnp.zeros(out) for out, _ in config.shapes))


def _orthonormal_weights(key: PRNGKeyArray, config: deep.Config) -> list[Float[Array, "out in"]]:
    """Of each layer, equal shapes side by side by one program."""
    keys, found = jax.random.split(key, len(config.shapes)), []
    for shape, run in itertools.groupby(config.shapes):
        some = keys[len(found) : len(found) + len(list(run))]
        found += [*jax.vmap(lambda key, shape=shape: _orthonormal(key, shape))(some)]
    return found


def lsuv(
    params: deep.Params,
    batch: Float[ArrayLike, "..."],
    config: deep.Config | None = None,
    tolerance: float = 0.02,
    max_rescalings: int = 20,
) -> tuple[deep.Params, Log]:
    """The parameters with rescaled weights, the readout's included, and a log of each layer; batch: (example, dim).

    A layer whose output does not vary at all, or is not finite, is left as it is. Biases are not changed.
    """
    config = config or deep.Config()
    batch = jnp.asarray(batch, params.weights[0].dtype)
    if batch.ndim != 2 or 0 in batch.shape:
        raise ValueError(f"batch must have the shape (example, dim) and not be empty, got {batch.shape}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance}")
    if max_rescalings < 0:
        raise ValueError(f"max_rescalings must be at least 0, got {max_rescalings}")
    deep.require_layers(params, batch.shape[1])
    phi = deep.activation_fn(config.activation)

    def layer(y: Array, weight: Array, bias: Array, multiplier: float) -> tuple[Array, tuple[Array, Log]]:
        linear = multiplier * (y @ weight.T)

        def variance(scale: Array) -> Array:
            return jnp.var(scale * linear + bias[None])

        def off(state: tuple) -> Array:
            _, count, v = state
            return (jnp.abs(v - 1) > tolerance) & (count < max_rescalings) & (v > 0) & (v < jnp.inf)

        def rescale(state: tuple) -> tuple:
            scale, count, v = state
            scale = scale / jnp.sqrt(v)
            return scale, count + 1, variance(scale)

        one = jnp.ones((), linear.dtype)
        before = variance(one)
        scale, count, after = jax.lax.while_loop(off, rescale, (one, jnp.zeros((), int), before))
        return phi(scale * linear + bias[None]), (scale * weight, Log(scale, count, before, after))

    _, found = deep.through_layers(layer, batch, params, config)
    weights, logs = zip(*found, strict=True)
    return deep.Params(weights, params.biases), jax.tree.map(lambda *leaves: jnp.stack(leaves), *logs)
