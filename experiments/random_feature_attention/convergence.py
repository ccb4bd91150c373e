r"""Kernels of finitely many heads approach the exact kernel as one over the root of their number, in all four conventions.

Conventions: heads of mean zero and with a mean, tokens $x$ and $[x;\, 1]$. The relative Frobenius distance of kernel matrices
falls with slope $-1/2$, and single entries scatter round the exact value.

$$
\begin{align*}
K(x, x') &= \frac{1}{N^2} \sum_{ij} \mathbb{E}[\operatorname{relu}(A_i) \operatorname{relu}(A'_j)]\, \langle u_i, u'_j\rangle,
  \qquad A_i = u_0^\top W u_i \\
\frac{\|K_M - K\|}{\|K\|} &\propto M^{-1/2}
\end{align*}
$$

Here $u = x$ or $[x;\, 1]$, and $A_i$ and $A'_j$ are jointly normal with means $\alpha \langle x_0, x_i\rangle$ and
$\alpha \langle x'_0, x'_j\rangle$, standard deviations $s \|u_0\| \|u_i\|$ and $s \|u'_0\| \|u'_j\|$, and covariance
$s^2 \langle u_0, u'_0\rangle \langle u_i, u'_j\rangle$; $s$ is 1, or 1/2 with the constant, and $\alpha$ is 0 or
`mean_strength`.

Source: kernels derived here
Cost: 15 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Precision, Static, Tolerance, check
from ...models.transformers import random_feature_attention as attention
from ...solvers import ridge
from ...tasks import sphere_tokens
from ...theory.kernels import attention_kernel
from .. import _measure

CONVENTIONS = {  # (tokens [x; 1], heads with a mean)
    "x": (False, False),
    "x with mean": (False, True),
    "[x; 1]": (True, False),
    "[x; 1] with mean": (True, True),
}


@dataclass(frozen=True)
class Config:
    dim: Count = 8  # dimension of a token, paper d
    num_keys: Count = 4  # keys of an example, paper N
    num_heads: Annotated[tuple[Count, ...], MinLen(2)] = (16, 64, 256, 1024, 4096)  # the first of one draw, rising, paper M
    mean_strength: Annotated[float, Static] = 1.0  # mean of W on the diagonal if any, paper alpha
    num_samples: Count = 32  # examples of the kernel matrix
    num_pairs: Count = 8  # entries that are compared one by one: of the first example with this many
    dtype: Precision = "float64"  # as the other experiments of this paper

    def __post_init__(self):
        check(self)
        if list(self.num_heads) != sorted(set(self.num_heads)):
            raise ValueError(f"num_heads must rise, got {self.num_heads}")
        if self.num_pairs > self.num_samples:
            raise ValueError(f"num_pairs must be at most num_samples = {self.num_samples}, got {self.num_pairs}")

    def model(self, convention: str) -> attention.Config:
        """The model with the largest number of heads."""
        augment, biased = CONVENTIONS[convention]
        weight_std, mean = 0.5 if augment else 1.0, self.mean_strength if biased else 0.0
        return attention.Config(self.dim, self.num_keys, self.num_heads[-1], augment, weight_std, mean)


def labels(config: Config) -> dict[str, tuple]:
    return {"convention": tuple(CONVENTIONS), "heads": config.num_heads}


class State(NamedTuple):
    x: Float[Array, "sample token dim"]
    key: PRNGKeyArray  # of the heads


class Result(NamedTuple):
    kernel: Float[Array, "convention pair"]  # entries of the first row with the largest number of heads
    slope: Float[Array, "convention"]  # of log distance against log heads
    distance: Float[Array, "convention heads"] | None = None  # of the matrices, relative, in Frobenius' norm


def init(key: PRNGKeyArray, config: Config) -> State:
    key_data, key_heads = jax.random.split(key)
    return State(sphere_tokens.sample(key_data, config.num_samples, config.num_keys, config.dim), key_heads)


def simulate(state: State, config: Config) -> Result:
    most = config.num_heads[-1]

    def of_convention(convention: str) -> tuple[Array, Array]:
        model = config.model(convention)
        w = attention.init(state.key, model).w
        phi = jax.vmap(attention.features, (None, 0))(w, state.x)  # carries 1/sqrt(most)
        exact = _exact(state.x, model)

        def matrix(num_heads: int) -> Array:
            part = phi[:, :num_heads].reshape(len(phi), -1)
            return most / num_heads * part @ part.T

        distance = jnp.stack([jnp.linalg.norm(matrix(m) - exact) for m in config.num_heads]) / jnp.linalg.norm(exact)
        return matrix(most)[0, : config.num_pairs], distance

    kernel, distance = _measure.stacked(map(of_convention, CONVENTIONS))
    return Result(kernel, _measure.log_slope(config.num_heads, distance), distance)


def predict(state: State, config: Config) -> Result:
    exact = [_exact(state.x, config.model(convention)) for convention in CONVENTIONS]
    return Result(jnp.stack([kernel[0, : config.num_pairs] for kernel in exact]), jnp.full(len(exact), -0.5))


def _exact(x: Float[Array, "sample token dim"], model: attention.Config) -> Float[Array, "sample sample"]:
    def kernel(a: Array, b: Array) -> Array:
        return attention_kernel.biased_kernel(a, b, model.weight_std, model.mean_strength, model.augment)

    return ridge.gram(kernel, x)


TOLERANCE = {
    "kernel": Tolerance(reason="exact on average: an entry is a mean over heads"),
    "slope": Tolerance(
        absolute=0.01,
        reason="the logarithm of a distance at 16 heads is that of a sum of few terms, skewed: its mean is off by about the "
        "square of the relative scatter, 0.1^2, over a range of log(4096/16) = 5.5",
    ),
}
SHARED = {
    "slope": "the distance whose fall is judged is that from the exact kernel: were the kernel wrong, it would not fall",
}
QUICK = {"num_heads": (4, 16), "dim": 4, "num_keys": 2, "num_samples": 8, "num_pairs": 4}
SEEDS = 16
