r"""Two real data sets with two classes, small enough to be shipped by scikit-learn, so that nothing is downloaded.

| function | examples | dim | $y = +1$ | $y = -1$ | inputs |
|---|---|---|---|---|---|
| `digits_3_vs_8` | 357 | 64 | 174 eights | 183 threes | ink of $8 \times 8$ pixels, in $[0, 1]$ by 1/16; 10 are always 0 |
| `breast_cancer` | 569 | 30 | 357 benign | 212 malignant | measurements of cell nuclei, in their own units |

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (its test part), UCI 1998, doi 10.24432/C50P49;
W. Wolberg, O. Mangasarian, N. Street and W. Street, Breast Cancer Wisconsin (Diagnostic), UCI 1993, doi 10.24432/C5DW2B. Both
are CC BY 4.0, read as scikit-learn (BSD-3-Clause) bundles them.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

Points = Float[Array | np.ndarray, "sample dim"]


def digits_3_vs_8() -> tuple[Float[np.ndarray, "357 64"], Float[np.ndarray, "357"]]:
    """x in [0, 1] and y = +1 for an eight, -1 for a three; concrete even under a trace.

    >>> x, y = digits_3_vs_8()
    >>> x.shape, float(x.max()), int((y > 0).sum())
    ((357, 64), 1.0, 174)
    """
    from sklearn.datasets import load_digits  # costs a second

    x, digit = (np.asarray(part) for part in load_digits(return_X_y=True))
    kept = np.isin(digit, (3, 8))
    return x[kept] / 16, np.where(digit[kept] == 8, 1.0, -1.0)


def breast_cancer() -> tuple[Float[np.ndarray, "569 30"], Float[np.ndarray, "569"]]:
    """x as measured, to be scaled by `unit_range`, and y = +1 for a benign tumour, -1 for a malignant one; concrete.

    >>> x, y = breast_cancer()
    >>> x.shape, int((y > 0).sum())
    ((569, 30), 357)
    """
    from sklearn.datasets import load_breast_cancer

    x, benign = (np.asarray(part) for part in load_breast_cancer(return_X_y=True))
    return x, np.where(benign == 1, 1.0, -1.0)


def split(
    key: PRNGKeyArray, x: Points, y: Shaped[Array | np.ndarray, "sample"], num_samples: int
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """(x, y) of num_samples examples drawn without replacement, then (x, y) of all the others. May be jitted and mapped."""
    if not 1 <= num_samples < len(x):
        raise ValueError(f"num_samples must be from 1 to {len(x) - 1}, so that some examples are left; got {num_samples}")
    order = jax.random.permutation(key, len(x))
    x, y = jnp.asarray(x)[order], jnp.asarray(y)[order]
    return (x[:num_samples], y[:num_samples]), (x[num_samples:], y[num_samples:])


def unit_range(train: Points, *others: Float[Array | np.ndarray, "other dim"]) -> tuple[Array, ...]:
    """The columns scaled to [0, 1] by their range in the training part; the other arrays by the same map.

    Values outside of the training range stay outside of [0, 1]. A column that is constant in training is 0 everywhere.

    >>> train, test = unit_range(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[5.0, 6.0]]))
    >>> train.tolist(), test.tolist()
    ([[0.0, 0.0], [1.0, 0.0]], [[2.0, 0.0]])
    """
    low, high = jnp.min(train, axis=0), jnp.max(train, axis=0)
    scale = jnp.where(high > low, 1 / jnp.where(high > low, high - low, 1), 0)
    return tuple((jnp.asarray(x) - low[None]) * scale[None] for x in (train, *others))


def with_bias(x: Points) -> Float[Array, "sample dim_and_one"]:
    """A last column of ones. No attack may move it: its radius is 0."""
    return jnp.concatenate([jnp.asarray(x), jnp.ones((len(x), 1), x.dtype)], axis=1)
