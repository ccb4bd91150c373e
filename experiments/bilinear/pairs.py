r"""A bilinear layer trained on AND, OR or XOR of pairs of bits learns exactly one quadratic form for each pair.

$$
Q_{ii} = Q_{jj} = t_1, \qquad Q_{ij} = Q_{ji} = \frac{t_2 - 2 t_1}{2}, \qquad \lambda = t_1 \,\pm\, \frac{t_2 - 2 t_1}{2}
$$

for the pair of bits $i$ and $j$, all else 0, with the values $t_1, t_2$ of the operation at $x_i + x_j = 1, 2$: 0 and 1 for
AND, 1 and 1 for OR, 1 and 0 for XOR.

Source: toy task of Pearce et al., arXiv 2410.08417 (AND read in its published code; forms of OR and XOR
derived here). The width is 16 in place of 4 to 6, and there is no weight decay, so that descent always ends at the form
Cost: 10 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Probability, Tolerance, check
from ...models.bilinear import bilinear
from ...solvers.descent import minibatch_adam
from ...tasks import boolean_pairs
from ...theory.linear_networks import boolean_forms


@dataclass(frozen=True)
class Config:
    dim: Annotated[int, Ge(2)] = 4  # bits; every two of them have an output
    width: Count = 16  # hidden units
    probability: Probability = 0.3  # that a bit is 1
    operations: Annotated[tuple[boolean_pairs.Operation, ...], MinLen(1), Distinct] = ("and", "or", "xor")  # a network each
    learning_rate: Positive = 0.01  # of Adam, falling to 0 by a cosine
    batch_size: Count = 512  # fresh examples a step
    num_steps: Count = 2000  # updates

    def __post_init__(self):
        check(self)

    @property
    def model(self) -> bilinear.Config:
        return bilinear.Config(self.dim, self.width, len(boolean_pairs.pairs(self.dim)))

    @property
    def tables(self) -> Float[Array, "operation 3"]:
        return jnp.asarray([boolean_pairs.TABLES[name] for name in self.operations], float)


class Result(NamedTuple):
    interaction: Float[Array, "operation pair row column"]  # symmetric form of every output
    eigenvalues: Float[Array, "operation pair mode"]  # of it, rising
    loss: Float[Array, "operation"] | None = None  # mean square error on one more batch, summed over outputs


def labels(config: Config) -> dict[str, tuple]:
    pairs = tuple(f"x{i + 1} x{j + 1}" for i, j in boolean_pairs.pairs(config.dim))
    return {"operation": config.operations, "pair": pairs}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    def train(arguments: tuple[PRNGKeyArray, Array]) -> Result:
        key, table = arguments
        key_init, key_data = jax.random.split(key)

        def error(params: bilinear.Params, step: Array | int) -> Array:
            key = jax.random.fold_in(key_data, step)
            x = boolean_pairs.sample(key, config.batch_size, config.dim, config.probability)
            f = jax.vmap(bilinear.apply, (None, 0))(params, x)
            y = jax.vmap(boolean_pairs.evaluate, (None, 0))(table, x)
            return jnp.mean(jnp.sum((f - y) ** 2, axis=1))

        params = minibatch_adam(error, bilinear.init(key_init, config.model), config.learning_rate, config.num_steps)
        directions = jnp.eye(config.model.num_outputs, dtype=params.p.dtype)
        matrices = jax.vmap(bilinear.interaction_matrix, (None, 0))(params, directions)
        return Result(matrices, jax.lax.map(jnp.linalg.eigvalsh, matrices), error(params, config.num_steps))

    # one network per operation in one run: the engine's loop trains one
    return jax.lax.map(train, (jax.random.split(key, len(config.operations)), config.tables))


def predict(config: Config) -> Result:
    matrices = jnp.stack([boolean_forms.interactions(table, config.dim) for table in config.tables])
    return Result(matrices, jnp.linalg.eigvalsh(matrices))


_ROUNDING = Tolerance(absolute=0.001, reason="the loss ends near 0: the rest is rounding of single precision")
TOLERANCE = {"interaction": _ROUNDING, "eigenvalues": _ROUNDING}
QUICK = {"dim": 3, "width": 6, "num_steps": 20, "batch_size": 32}
SEEDS = 8
