"""Points by formula, rounded correctly."""

import mpmath
import numpy as np
import pytest

from closedform.tasks import waves


@pytest.mark.parametrize(("num_samples", "dim", "shift"), [(40, 3, 0.0), (3, 2, -1234.5)])
def test_points_are_those_of_the_formula_to_the_last_bit(num_samples, dim, shift):
    x, y = waves.points(num_samples, dim, shift)
    i, j = np.arange(1, num_samples + 1), np.arange(1, dim + 1)
    with mpmath.workdps(40):
        sines = [float(mpmath.sin(a)) for a in (1.3 * i[:, None] * j + 0.7 * i[:, None] + 2.1 * j + shift).ravel().tolist()]
        cosines = [float(mpmath.cos(a)) for a in (0.9 * i + shift).tolist()]
    np.testing.assert_array_equal(x.ravel(), sines)
    np.testing.assert_array_equal(y, 1.5 * np.array(cosines))


def test_no_points_are_refused():
    with pytest.raises(ValueError, match="num_samples and dim must be at least 1, got 0 and 2"):
        waves.points(0, 2)
