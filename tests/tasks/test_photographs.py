"""Crops of the two photographs: where they are cut, how many there are, and what is refused."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from closedform.tasks import photographs


def test_crops_are_pieces_of_the_photographs_in_order():
    found = photographs.crops(32, 16)
    assert found.pixels.shape == (1950, 32, 32, 3)
    assert found.pixels.dtype == np.uint8
    assert len(found.pixels) == photographs.num_crops(32, 16)
    np.testing.assert_array_equal(np.bincount(found.labels), [975, 975])
    china, flower = load_sample_image("china.jpg"), load_sample_image("flower.jpg")
    assert china.shape == flower.shape == (photographs.HEIGHT, photographs.WIDTH, 3)
    np.testing.assert_array_equal(found.pixels[39 + 2], china[16:48, 32:64])
    np.testing.assert_array_equal(found.pixels[-1], flower[384:416, 608:640])


def test_ends():
    whole = photographs.crops(427, 1000)
    assert whole.pixels.shape == (2, 427, 427, 3) == (photographs.num_crops(427, 1000), 427, 427, 3)
    for sizes, message in (
        ((428, 16), "side must be from 1 to 427, got 428"),
        ((0, 16), "side must be from 1 to 427, got 0"),
        ((32, 0), "stride must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            photographs.crops(*sizes)


def test_without_the_reader_of_jpeg_files(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    photographs._photographs.cache_clear()
    with pytest.raises(ValueError, match=r"^photographs are read with the package pillow: pip install pillow$"):
        photographs._photographs()
    photographs._photographs.cache_clear()
