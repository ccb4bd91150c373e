r"""Heads with a mean help if the target correlates query and keys, and hurt otherwise; the best mean depends on the target.

The mean $\alpha$ of $W$ on the diagonal shifts every pre-activation by $\alpha \langle x_0, x_i\rangle$. The prediction takes
the exact kernel at that $\alpha$ and the data, and the cost of finitely many heads, with the features of keys and constant as
two groups.

$$
\begin{align*}
\text{test} &= \left\langle (a_x\cdot y - f(x))^2 + \sum_c \theta_c w_c^2\, y^\top G K_c G y \right\rangle_x + \sigma^2 \\
\text{train} &= \frac{\delta^2}{n}\, y^\top G \left( 1 + \sum_c \theta_c w_c^2 K_c \right) G y \\
a_x &= G \sum_c w_c k_c, \qquad G = \left( \delta + \sum_c w_c K_c \right)^{-1}, \qquad
\frac{1}{w_c} = 1 + \frac{\operatorname{tr}[K_c G]}{n_c M} \\
n_c M\, \theta_c &= V_c + \sum_b w_b^2 \operatorname{tr}[K_c G K_b G]\, \theta_b
\end{align*}
$$

Here $K_c$, $k_c$ and $\kappa_c$ are the kernel of group $c$ among the samples, with $x$ and at $x$, the group has $n_c = d$
(keys) or 1 (constant) features in each of $M$ heads, $V_c = \kappa_c - 2 a_x\cdot k_c + a_x^\top K_c a_x$ in `test` and
$V_c = \operatorname{tr}[K_c G^2]$ in `train`; $f$ is the target, $\delta$ `ridge` and $\sigma^2$ `noise_variance`.

Source: the effect is that of Fu, Guo, Bai and Mei, arXiv 2307.11353; kernel and prediction derived here
Cost: 70 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Tolerance
from ...models.transformers import random_feature_attention as attention
from ...solvers import ridge
from . import _given, _ridge

TARGETS = ("linear", "quadratic", "correlation", "gated", "gated twice")


@dataclass(frozen=True)
class Config(_ridge.Config):
    model: attention.Config = field(
        default_factory=lambda: attention.Config(
            dim=16, num_keys=4, num_heads=400, augment=True, weight_std=0.5, mean_strength=1.0
        )
    )
    num_samples: Count = 512  # training examples, paper n
    num_test: Count = 500  # fresh examples on which the error is measured


def labels(config: Config) -> dict[str, tuple]:
    return {"target": TARGETS}


class State(NamedTuple):
    data: _ridge.Data
    key: PRNGKeyArray  # of the heads


class Result(NamedTuple):
    test: Float[Array, "target"]  # mean square error on fresh examples, noise included
    train: Float[Array, "target"]  # mean square residual on the training labels


def init(key: PRNGKeyArray, config: Config) -> State:
    key_data, key_heads = jax.random.split(key)
    model = config.model
    return State(_ridge.draw(key_data, TARGETS, config.num_samples, model.num_keys, model.dim, config), key_heads)


def simulate(state: State, config: Config) -> Result:
    w = attention.init(state.key, config.model).w
    phi, phi_test = (jax.vmap(lambda one: attention.features(w, one).ravel())(x) for x in (state.data.x, state.data.x_test))
    fit = ridge.fit(phi, state.data.y, config.ridge)
    return Result(_ridge.test_error(phi_test @ fit, state.data, config), _ridge.train_error(phi @ fit, state.data))


def predict(state: State, config: Config) -> Result:
    """The mean over heads given the data."""
    law = _given.heads(_given.attention(state.data, config.model), state.data.y, config.model, config.ridge)
    return Result(_given.test_error(law, state.data, config), law.train)


TOLERANCE = {
    "test": Tolerance(0.1, reason=_given.COARSE),
    "train": Tolerance(0.1, 1e-4, reason=_given.COARSE + "; where the fit interpolates, both errors are close to 0"),
}
QUICK = {"num_samples": 16, "model.num_heads": 10, "num_test": 50, "model.dim": 4, "model.num_keys": 2}
GRID = {"model.mean_strength": (0.0, 0.5, 1.0, 2.0, 4.0, 6.0)}
