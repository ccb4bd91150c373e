r"""With an exit at every layer, early layers and early coordinates of a deep linear network end with the larger gains.

Networks of several depths have decoders for every layer and prefix size. From small weights along the principal axes their
gains end at a fixed point that depends on the depth $N$ and on the number $K_i$ of prefixes that contain the coordinate, not on
the data. So the representations of different layers differ in scale although each is optimal. Beside them are networks from
small random weights, whose units stay mixed: the norms of their rows are drawn without verdict.

$$
w_{n,i}^2 = w_{n+1,i}^2 + \frac{K_i}{g_{n,i}^2}, \qquad g_{n,i} = \prod_{j \leq n} w_{j,i}, \qquad w_{N+1,i} = 0
$$

Source: derived here, for training at several layers and prefix sizes as in Li et al., arXiv 2402.14776 (number recalled)
Cost: 40 s
"""

from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Precision, Tolerance, check
from ...models.linear import nested
from ...theory.linear_networks import exit_gains
from ...theory.linear_networks import nested as theory
from . import _population


@dataclass(frozen=True)
class Config:
    spectrum: _population.Spectrum = _population.SPECTRUM  # variances of the inputs (lambda): the gains do not depend on them
    depths: Annotated[tuple[Count, ...], MinLen(1), Distinct] = (1, 2, 3, 4)  # layers (N), a network each
    width: Count = 3  # coordinates of every layer, all of whose prefixes are trained
    init_scale: Positive = 0.01  # gains of aligned weights at the start, standard deviation of random ones
    learning_rate: Positive = 1e-3  # step size on the nested loss, which has no factor 1/2
    num_steps: Count = 15000  # updates
    dtype: Precision = "float64"  # the loss is compared to 1e-6 and better

    def __post_init__(self):
        check(self)
        for model in _models(self):
            _population.check_model(model, self.spectrum)


class Result(NamedTuple):
    gain: Float[Array, "layer coordinate"]  # w_{n,i}, the norm of row i of layer n, from the aligned start
    scale: Float[Array, "layer coordinate"]  # g_{n,i}, the norm of row i of W_n .. W_1
    random_gain: Float[Array, "layer coordinate"] | None = None  # norms of rows from the random start


def labels(config: Config) -> dict[str, tuple]:
    return {"layer": tuple(f"{n} of {depth}" for depth in config.depths for n in range(1, depth + 1))}


def init(key: PRNGKeyArray, config: Config) -> tuple[nested.Params, ...]:
    """A network of each depth; of every array the aligned start, then the random one."""
    found = []
    for one, model in zip(jax.random.split(key, len(config.depths)), _models(config), strict=True):
        encoder = replace(model.encoder, scheme="unit_gaussian")
        pair = nested.init(one, model), nested.init(one, replace(model, encoder=encoder))
        found.append(jax.tree.map(lambda *leaves: config.init_scale * jnp.stack(leaves), *pair))
    return tuple(found)


def step(state: tuple[nested.Params, ...], config: Config) -> tuple[nested.Params, ...]:
    covariance = _population.covariance(config.spectrum)
    rate, weights = jnp.asarray(config.learning_rate, covariance.dtype), np.ones(config.width)
    return tuple(jax.vmap(lambda one: nested.descend(one, rate, weights, covariance))(params) for params in state)


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: tuple[nested.Params, ...], config: Config) -> Result:
    layers = [w for params in state for w in params.weights]
    gains = jnp.stack([jnp.linalg.norm(w, axis=2) for w in layers], axis=1)  # start layer coordinate
    scales = [jnp.linalg.norm(jax.vmap(nested.representations)(params)[0], axis=2) for params in state]
    return Result(gains[0], jnp.concatenate(scales), gains[1])


def predict(config: Config) -> Result:
    counts = theory.term_counts(np.arange(1, config.width + 1), config.width)
    gains = [exit_gains.exit_gains(counts, depth).T for depth in config.depths]
    scales = [exit_gains.exit_scales(counts, depth).T for depth in config.depths]
    return Result(jnp.concatenate(gains), jnp.concatenate(scales))


def _models(config: Config) -> list[nested.Config]:
    """A network of each depth, from the aligned start of scale 1."""
    width, start = config.width, {"scheme": "aligned", "scale": 1.0, "dim": len(config.spectrum)}
    return [_population.model(width, (width,) * (depth - 1), "all", **start) for depth in config.depths]


_STEP = "descent breaks the conservation laws in proportion to its step size; and the start is not 0"
TOLERANCE = {"gain": Tolerance(2e-3, reason=_STEP), "scale": Tolerance(4e-3, reason=f"{_STEP}; a scale is a product of gains")}
QUICK = {"spectrum": (4.0, 1.0), "depths": (1, 2), "width": 2, "num_steps": 20}
SEEDS = 8
