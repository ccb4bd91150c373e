r"""Weights of the transformers that recognise PARITY and FIRST exactly, for the one encoder `transformer`.

PARITY accepts strings of bits with an odd number of ones, FIRST those that begin with a one: the logit is positive. Both have
two layers; in half the width, with $N$ tokens, $k$ ones and the token $i$ counted from 0,

| | PARITY, 10 dimensions, 2 heads | FIRST, 6 dimensions, 1 head |
|---|---|---|
| dimensions 0, 1, 2 | the word: 0, 1 or CLS | the word: 0, 1 or CLS |
| dimension 3 | $i/N$ | 1 at token 1, the first bit |
| dimension 4 | $(-1)^i$ | layer 1: 1 at token 1 if it is a one |
| layer 1 | attention: $k/N$ and $1/N$ in 5 and 6; MLP: $1/N$ in 7 of the token $i = k$ | MLP: 4 |
| layer 2 | heads prefer even and odd tokens by $e^{2 s}$; their difference is in 8 | CLS prefers token 1 by $e^s$ |
| logit | dimension 8 of CLS, the last token | dimension 5 of CLS, the first token |

$$
\text{logit} = \text{gain} \cdot x_8 \quad \text{or} \quad \text{gain} \cdot x_5, \qquad
s = \frac{\beta}{\sqrt{d_h}}
$$

With layer norm the width doubles: every token is $(x, -x)$, whose mean is 0, and layers write to both halves, with opposite
signs. The MLP of layer 2 then erases all but the dimension that is read, so that layer norm scales the logit up. The MLP of
FIRST's layer 1 does without a bias, which layer norm would not rescale along with the token.

| paper | name here | meaning |
|---|---|---|
| $\beta$ | `beta` | the one query weight, of CLS in layer 2 |
| $\epsilon$ | `eps` | of layer norm |
| $C$ | `gain` | of the head |
| $d_h$ | | size of a head: 5 and 6, with layer norm 10 and 12 |

Source: Chiang and Cholak, arXiv 2202.12172; weights after the authors' code (github.com/ndnlp/parity, public domain).

Example. Two ones, three, none and one among three bits:

>>> import jax, jax.numpy as jnp
>>> from closedform.models.transformers import constructions
>>> from closedform.tasks import languages
>>> machine = constructions.parity(norm=True)
>>> accepts = jax.jit(jax.vmap(lambda bits: constructions.logit(machine, languages.parity_rows(bits)) > 0))
>>> accepts(jnp.array([[1, 1, 0], [1, 1, 1], [0, 0, 0], [0, 1, 0]])).tolist()
[False, True, False, True]
"""

import copy
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Real

from ...documented import documented
from . import transformer
from .transformer import Linear, Params, Scaling

Number = Float[Array, ""] | float


@documented
class Machine(NamedTuple):
    """A transformer: what `transformer.apply` takes."""

    params: Params
    config: transformer.Config


def parity(
    beta: Number = 1.0, *, norm: bool = False, eps: Number = 0.0, gain: Number = 1.0, value_weight: Number = 1.0
) -> Machine:
    """The transformer for PARITY, with layer norm or without; its input is that of `tasks.languages.parity_rows`.

    `value_weight` is the weight of layer 1 that counts ones, which is 1 in a network that is right.
    """
    half, read = 10, 8
    model = _model(half, norm, eps, input_dim=5, num_heads=2, width=3, readout="last")
    params = _blank(model)._replace(embedding=_entries((5, model.dim), {(j, j): 1.0 for j in range(5)}))
    params = _write(
        params,
        value={
            (0, 1, 0, 0): value_weight,  # the share of ones, k/N
            (0, 2, 0, 1): 1.0,  # the share of CLS, 1/N
            (1, 7, 0, 0): 1.0,
            (1, 7, 1, 0): 1.0,
        },
        query={(1, 2, 0, 0): beta, (1, 2, 1, 0): beta},
        key={(1, 4, 0, 0): 1.0, (1, 4, 1, 0): -1.0},  # even tokens, odd tokens
        output={(0, 0, 0, 5): 1.0, (0, 0, 1, 6): 1.0, (1, 0, 0, read): -1.0, (1, 1, 0, read): 1.0},
        # the hat relu(k - i - 1) - 2 relu(k - i) + relu(k - i + 1), over N
        mlp_in={(0, 3, j): -1.0 for j in range(3)} | {(0, 5, j): 1.0 for j in range(3)} | {(0, 6, 0): -1.0, (0, 6, 2): 1.0},
        mlp_out={(0, 0, 7): 1.0, (0, 1, 7): -2.0, (0, 2, 7): 1.0},
    )
    return _finished(params, model, read, gain)


def first(
    beta: Number = 1.0,
    *,
    norm: bool = False,
    eps: Number = 0.0,
    gain: Number = 1.0,
    scaling: Scaling = "constant",
) -> Machine:
    """The transformer for FIRST, with layer norm or without; its input is that of `tasks.languages.first_rows`.

    `scaling` is that of the logits of attention.
    """
    half, read = 6, 5
    model = _model(half, norm, eps, input_dim=4, num_heads=1, width=1, readout="first", scaling=scaling)
    params = _blank(model)._replace(embedding=_entries((4, model.dim), {(j, j): 1.0 for j in range(4)}))
    params = _write(
        params,
        query={(1, 2, 0, 0): beta},
        key={(1, 3, 0, 0): 1.0},
        value={(1, 3, 0, 5): -0.5, (1, 4, 0, 5): 1.0},
        output={(1, 0, 5, read): 1.0},
        # the first bit and a one: without layer norm by the threshold 1, with it neither 0 nor CLS
        mlp_in={(0, 0, 0): -1.0, (0, 2, 0): -1.0, (0, 3, 0): 1.0} if norm else {(0, 1, 0): 1.0, (0, 3, 0): 1.0},
        mlp_out={(0, 0, 4): 1.0},
    )
    if not norm:
        bias = _entries(params.layers.mlp_in.bias.shape, {(0, 0): -1.0})
        params = params._replace(layers=params.layers._replace(mlp_in=params.layers.mlp_in._replace(bias=bias)))
    return _finished(params, model, read, gain)


LANGUAGES = {"parity": parity, "first": first}


def logit(machine: Machine, x: Float[Array, "token input_dim"], counts: Real[Array, "token"] | None = None) -> Float[Array, ""]:
    """Positive for what the machine accepts."""
    return transformer.apply(machine.params, x, machine.config, counts)[0]


def _model(half: int, norm: bool, eps: Number, **sizes: Any) -> transformer.Config:
    num_heads = sizes.pop("num_heads")
    if norm:
        sizes["width"] = 2 * half  # the MLP that erases
    dim = 2 * half if norm else half
    model = transformer.Config(
        dim=dim, num_heads=num_heads, head_dim=dim // num_heads, norm="post" if norm else "none", eps=0.0, **sizes
    )
    if not isinstance(eps, Tracer):
        return replace(model, eps=eps)
    traced = copy.copy(model)  # a Config that is made holds numbers against their types
    object.__setattr__(traced, "eps", eps)
    return traced


def _blank(model: transformer.Config) -> Params:
    """All weights 0, layer norms without effect of their own."""
    key = jax.random.key(0, impl="threefry2x32")
    shapes = jax.eval_shape(lambda: transformer.init(key, model))
    blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    layers = {
        name: part._replace(scale=jnp.ones_like(part.scale))
        for name, part in blank.layers._asdict().items()
        if isinstance(part, transformer.Norm)
    }
    return blank._replace(layers=blank.layers._replace(**layers))


def _entries(shape: tuple[int, ...], values: dict[tuple[int, ...], Any]) -> Array:
    """Zeros but for these; numbers that are known are one constant, which compiles faster than as many assignments."""
    constant, array = np.zeros(shape), 0.0
    for place, value in values.items():
        if isinstance(value, jax.Array):
            one = np.zeros(shape)
            one[place] = 1
            array = array + value * jnp.asarray(one, value.dtype)
        else:
            constant[place] = value
    return jnp.asarray(constant, float) + array


def _write(params: Params, **kernels: dict[tuple[int, ...], Any]) -> Params:
    """Entries of the kernels of the layers."""
    layers = params.layers._asdict()
    written = {name: layers[name]._replace(kernel=_entries(layers[name].kernel.shape, kernels[name])) for name in kernels}
    return params._replace(layers=params.layers._replace(**written))


def _finished(params: Params, model: transformer.Config, read: int, gain: Number) -> Machine:
    """With the head, and with layer norm the second half of every token and the MLP that erases."""
    head = Linear(_entries(params.head.kernel.shape, {(read, 0): gain}), params.head.bias)
    params = params._replace(head=head)
    if model.norm == "none":
        return Machine(params, model)
    half = model.dim // 2
    eye = np.eye(half)
    eye[read, read] = 0  # all but what is read
    erase = np.block([[-eye, eye], [eye, -eye]])  # relu gives the positive parts of x and of -x
    second = np.array([0.0, 1.0])[:, None, None]  # MLPs of layer 2, which are 0 so far
    kernels = {
        "output": _opposite(params.layers.output.kernel),
        "mlp_in": params.layers.mlp_in.kernel + jnp.asarray(second * np.eye(model.dim), float),
        "mlp_out": _opposite(params.layers.mlp_out.kernel) + jnp.asarray(second * erase, float),
    }
    written = {name: getattr(params.layers, name)._replace(kernel=kernel) for name, kernel in kernels.items()}
    return Machine(params._replace(embedding=_opposite(params.embedding), layers=params.layers._replace(**written)), model)


def _opposite(written: Float[Array, "*input dim"]) -> Float[Array, "*input dim"]:
    """The first half of what is written, and its negative in the second."""
    half = written[..., : written.shape[-1] // 2]
    return jnp.concatenate([half, -half], axis=-1)
