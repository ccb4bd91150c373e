r"""Kernels of finitely many heads approach the exact ones as one over the root of the number of heads, in all four conventions.

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
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Static, Tolerance
from ...models.transformers import random_feature_attention as attention
from ...solvers import ridge
from ...tasks import sphere_tokens
from ...theory.kernels import attention_kernel


@dataclass(frozen=True)
class Config:
    dim: int = 8  # dimension of a token, paper d
    num_keys: int = 4  # keys of an example, paper N
    num_heads: tuple[int, ...] = (16, 64, 256, 1024, 4096)  # the first of the same draw, paper M
    mean_strength: Annotated[float, Static] = 1.0  # mean of W on the diagonal if any, paper alpha
    num_samples: int = 32  # examples of the kernel matrix
    num_pairs: int = 8  # entries that are compared one by one: of the first example with this many
    dtype: str = "float64"  # as the other experiments of this paper

    def __post_init__(self):
        if len(self.num_heads) < 2 or list(self.num_heads) != sorted(set(self.num_heads)) or self.num_heads[0] < 1:
            raise ValueError(f"num_heads must be two or more rising numbers, for a slope; got {self.num_heads}")
        if not 1 <= self.num_pairs <= self.num_samples:
            raise ValueError(f"num_pairs must lie from 1 to num_samples = {self.num_samples}, got {self.num_pairs}")

    @property
    def conventions(self) -> tuple[tuple[bool, float], ...]:
        """(augment, mean_strength)"""
        return tuple((augment, mean) for augment in (False, True) for mean in (0.0, self.mean_strength))


class State(NamedTuple):
    x: Float[Array, "sample token dim"]
    key: PRNGKeyArray  # of the heads


class Result(NamedTuple):
    """Conventions: x and mean 0, x and a mean, [x; 1] and mean 0, [x; 1] and a mean."""

    kernel: Float[Array, "convention pair"]  # entries of the first row with the largest number of heads
    slope: Float[Array, "convention"]  # of log distance against log heads
    distance: Float[Array, "convention heads"] | None  # of the matrices, relative, in Frobenius' norm


def init(key: PRNGKeyArray, config: Config) -> State:
    key_data, key_heads = jax.random.split(key)
    return State(sphere_tokens.sample(key_data, config.num_samples, config.num_keys, config.dim), key_heads)


def simulate(state: State, config: Config) -> Result:
    most = max(config.num_heads)

    def of_convention(augment: bool, mean_strength: float) -> tuple[Array, Array]:
        heads = attention.Config(config.dim, config.num_keys, most, augment, 0.5 if augment else 1.0, mean_strength)
        w = attention.init(state.key, heads).w
        phi = jax.vmap(attention.features, (None, 0))(w, state.x)  # carries 1/sqrt(most)
        exact = _exact(state.x, augment, mean_strength)

        def matrix(num_heads: int) -> Array:
            part = phi[:, :num_heads].reshape(len(phi), -1)
            return most / num_heads * part @ part.T

        distance = jnp.stack([jnp.linalg.norm(matrix(m) - exact) for m in config.num_heads]) / jnp.linalg.norm(exact)
        return matrix(most)[0, : config.num_pairs], distance

    kernel, distance = (jnp.stack(part) for part in zip(*(of_convention(*c) for c in config.conventions), strict=True))
    logs = jnp.log(jnp.asarray(config.num_heads, distance.dtype))
    logs = logs - jnp.mean(logs)
    return Result(kernel, jnp.log(distance) @ logs / (logs @ logs), distance)


def predict(state: State, config: Config) -> Result:
    kernel = jnp.stack([_exact(state.x, *convention)[0, : config.num_pairs] for convention in config.conventions])
    return Result(kernel, jnp.full(len(config.conventions), -0.5), None)


def _exact(x: Float[Array, "sample token dim"], augment: bool, mean_strength: float) -> Float[Array, "sample sample"]:
    weight_std = 0.5 if augment else 1.0
    return ridge.gram(lambda a, b: attention_kernel.biased_kernel(a, b, weight_std, mean_strength, augment), x)


TOLERANCE = {
    "kernel": Tolerance(reason="a mean over heads"),
    "slope": Tolerance(
        absolute=0.01,
        reason="the logarithm of a distance at 16 heads is that of a sum of few terms, skewed: its mean is off by about the "
        "square of the relative scatter, 0.1^2, over a range of log(4096/16) = 5.5",
    ),
}
QUICK = {"num_heads": (4, 16), "dim": 4, "num_keys": 2, "num_samples": 8, "num_pairs": 4}
SEEDS = 16
