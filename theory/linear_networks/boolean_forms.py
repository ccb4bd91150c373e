r"""The quadratic form of a Boolean operation on two bits: the one that a bilinear layer without biases has to learn.

Formula. On $x \in \{0, 1\}^d$ a bit is its own square, so

$$
x^\top Q x = \sum_i Q_{ii} x_i + 2 \sum_{i<j} Q_{ij} x_i x_j
$$

and these products are independent functions: the form of an operation of bits $i$ and $j$ with values $0, t_1, t_2$ at
$x_i + x_j = 0, 1, 2$ is unique,

$$
Q_{ii} = Q_{jj} = t_1, \qquad Q_{ij} = Q_{ji} = \frac{t_2 - 2 t_1}{2}, \qquad \text{all else } 0
$$

with eigenvalues $t_1 \pm (t_2 - 2 t_1)/2$ on $(e_i \pm e_j)/\sqrt{2}$.

| operation | diagonal | off-diagonal | eigenvalues |
|---|---|---|---|
| AND | $0$ | $+1/2$ | $1/2$, $-1/2$ |
| OR | $1$ | $-1/2$ | $1/2$, $3/2$ |
| XOR | $1$ | $-1$ | $0$, $2$ |

Regime. Exact; unique for any distribution that gives every input of one or of two ones a positive probability, as independent
bits do.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $t$ | `table` | 3 | values at $x_i + x_j = 0, 1, 2$; the first must be 0 |
| $d$ | `dim` | | bits |

Factors. $Q$ is symmetric: an entry and its mirror image share the coefficient of $x_i x_j$.

Source. AND in Pearce et al., arXiv 2410.08417 (read in its published code); OR and XOR derived here. An operation that is 1 at
$x = 0$ (NOR, XNOR, NAND) needs biases.

Finite size. None.

Example. The form of XOR on the inputs 00, 01, 10 and 11, and its eigenvalues: one feature does it,
$2\,((x_1 - x_2)/\sqrt{2})^2$.

>>> import jax.numpy as jnp
>>> from closedform.theory.linear_networks.boolean_forms import interactions
>>> (q,) = interactions(jnp.array([0, 1, 0]), 2)
>>> x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
>>> jnp.einsum("ni,ij,nj->n", x, q, x).tolist()
[0.0, 1.0, 1.0, 0.0]
>>> [round(float(value), 4) + 0 for value in jnp.linalg.eigvalsh(q)]
[0.0, 2.0]
"""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from ..numerics.arguments import FINITE, ArrayLike, at_least, known, takes


@takes(table=FINITE, dim=at_least(1))
def interactions(table: Real[ArrayLike, "3"], dim: int) -> Float[Array, "pair dim dim"]:
    """Q of the operation on every pair of bits i < j, pairs in lexicographic order. Raises ValueError if table[0] is not 0.

    >>> interactions(jnp.array([0, 1, 0]), 2).tolist()  # XOR
    [[[1.0, -1.0], [-1.0, 1.0]]]
    """
    if known(table) and np.asarray(table)[0] != 0:
        raise ValueError(f"table[0], the value at x = 0, must be 0 without biases, got {np.asarray(table)[0]}")
    pairs = np.array(list(itertools.combinations(range(dim), 2)), int).reshape(-1, 2)
    ends = np.zeros((len(pairs), dim))
    ends[np.arange(len(pairs))[:, None], pairs] = 1
    diagonal = ends[:, :, None] * np.eye(dim)
    crossed = ends[:, :, None] * ends[:, None, :] - diagonal
    diagonal, crossed = (jnp.asarray(part, table.dtype) for part in (diagonal, crossed))
    return table[1] * diagonal + (table[2] / 2 - table[1]) * crossed
