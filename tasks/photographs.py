r"""Colour images with the statistics of natural ones: crops of the two photographs that scikit-learn ships.

| label | photograph | pixels |
|---|---|---|
| 0 | `china.jpg`: roofs and trees | $427 \times 640$ |
| 1 | `flower.jpg`: a blossom before a blurred ground | $427 \times 640$ |

Crops stay bytes. Nothing is downloaded.

Source: scikit-learn's `load_sample_images`; both photographs are under a Creative Commons licence (CC BY 2.0), and a file
beside them, sklearn/datasets/images/README.txt, names their authors."""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from ..documented import documented

HEIGHT, WIDTH = 427, 640  # pixels of either photograph


@documented
class Crops(NamedTuple):
    """Square pieces of the photographs; concrete even under a trace."""

    pixels: UInt8[np.ndarray, "crop row column 3"]  # red, green, blue, from 0 to 255
    labels: Int[np.ndarray, "crop"]  # which photograph it is of


@cache
def crops(side: int = 32, stride: int = 16) -> Crops:
    """All crops of side x side pixels whose corners are multiples of `stride`, of one photograph and then of the other.

    Raises ValueError for sizes that leave no crop, and where the package that reads JPEG files is missing.

    >>> found = crops(32, 16)
    >>> found.pixels.shape, found.labels.tolist().count(1)
    ((1950, 32, 32, 3), 975)
    """
    if not 1 <= side <= HEIGHT:
        raise ValueError(f"side must be from 1 to {HEIGHT}, got {side}")
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    photographs = _photographs()
    corners = [(i, j) for i in range(0, HEIGHT - side + 1, stride) for j in range(0, WIDTH - side + 1, stride)]
    pieces = [image[i : i + side, j : j + side] for image in photographs for i, j in corners]
    return Crops(np.stack(pieces), np.repeat(np.arange(len(photographs)), len(corners)))


def num_crops(side: int = 32, stride: int = 16) -> int:
    """How many crops there are; nothing is read.

    >>> num_crops(32, 16)
    1950
    """
    return 2 * len(range(0, HEIGHT - side + 1, stride)) * len(range(0, WIDTH - side + 1, stride))


@cache
def _photographs() -> tuple[UInt8[np.ndarray, "height width 3"], ...]:
    from sklearn.datasets import load_sample_image  # costs a second

    try:
        return tuple(np.array(load_sample_image(name)) for name in ("china.jpg", "flower.jpg"))
    except ImportError:
        raise ValueError("photographs are read with the package pillow: pip install pillow") from None
