r"""On real digits parallel layers do as well as sequential ones or better; higher orders cost more without a sure gain.

Every scheme trains from the same weights, on the same batches of the same split, for the same seed: differences are paired.
The lead of parallel layers, with shared weights and with their own alike, is 0 points at a learning rate of 0.002,
$0.8 \,\pm\, 0.4$ at 0.005, and $2.0 \,\pm\, 0.6$ at 0.01 (16 seeds): the scheme decides how large a rate the network bears.
Weights of their own for every layer are worth three points or more, with any scheme. Nothing follows for another size or a
longer training.

The comparison of learning rates is

```sh
closedform sweep ode_transformer/digits --seeds 16 --over training.learning_rate=0.002,0.005,0.01 \
    --over model.stack.scheme=sequential,parallel --over model.stack.num_blocks=1,3
```

The prediction is the accuracy before training,

$$
\mathbb{E}\,[\text{accuracy}] = \frac{1}{C}
$$

with $C$ classes (`model.num_classes`): all columns of the head are drawn alike.

Source: Zhong et al., arXiv 2212.06011, whose question it is (read: abstract and introduction, no table); runs are ours
Cost: 110 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...contract import Tolerance
from ...models.transformers import vision_transformer
from .. import _measure
from . import _digits


@dataclass(frozen=True)
class Config(_digits.Config):
    pass


class Result(NamedTuple):
    untrained: Float[Array, ""]  # share of test images classified right before training
    accuracy: Float[Array, ""] | None = None  # after it
    num_parameters: Float[Array, ""] | None = None  # trained numbers
    num_sublayers: Float[Array, ""] | None = None  # evaluations of attention and of the MLP for the test images


init, step, num_steps = _digits.init, _digits.step, _digits.num_steps


def simulate(state: _digits.State, config: Config) -> Result:
    both = _measure.stacked((state.start, state.classifier.params))
    accuracy, num_sublayers = jax.lax.map(lambda one: _digits.test(one, state.split, config), both)
    count = jnp.full((), vision_transformer.num_parameters(state.start), accuracy.dtype)
    return Result(accuracy[0], accuracy[1], count, num_sublayers[1])


def predict(config: Config) -> Result:
    """Before training all classes are alike: the columns of the head are drawn alike and have no bias."""
    return Result(jnp.full((), 1 / config.model.num_classes))


TOLERANCE = {
    "untrained": Tolerance(reason="exact on average over the weights that are drawn"),
}
QUICK = {
    "num_samples": 100,
    "model.stack.dim": 4,
    "model.stack.width": 4,
    "training.batch_size": 8,
    "training.num_steps": 5,
}
SEEDS = 8
GRID = {
    "model.stack.scheme": ("sequential", "parallel", "midpoint", "rk4", "dopri5"),
    "model.stack.num_blocks": (1, 3),
}
PRESETS = {
    "mnist_5k": {
        "data": "mnist_5k",
        "num_samples": 4000,
        "model.side": 28,
        "model.patch": 7,
        "model.stack.dim": 32,
        "model.stack.width": 64,
        "training.num_steps": 2000,
    },
    "depth_6": {"model.stack.dim": 32, "model.stack.width": 128, "model.stack.num_layers": 6, "training.num_steps": 2000},
}
