"""What the layer holds of the first pair of bits, and all entries and eigenvalues of its forms beside the exact ones."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    operations = result["simulation"]["operation"].values
    figure, panels = _style.panels(columns=len(operations), rows=2, squeeze=False)
    (mean, error), (values, values_error) = (statistics(result, field) for field in ("interaction", "eigenvalues"))
    for name, above, below in zip(operations, *panels, strict=True):
        at = {"operation": name}
        _style.signed_image(above, mean.sel(at).sel(pair="x1 x2"), f"{name.upper()} of $x_1$ and $x_2$", numbers=True)
        for series, (field, (found, scatter)) in enumerate(
            {"entries": (mean, error), "eigenvalues": (values, values_error)}.items()
        ):
            exact = np.ravel(prediction(result, "interaction" if series == 0 else "eigenvalues").sel(at))
            order = np.argsort(exact, kind="stable")
            places = np.linspace(0, 1, len(order))
            _style.theory(below, places, exact[order], series, field)
            _style.simulation(below, places, (np.ravel(found.sel(at))[order], np.ravel(scatter.sel(at))[order]), series)
        below.set(xlabel="of all pairs, in order of the exact value", xticks=[])
    panels[1, 0].set_ylabel("of the symmetric forms")
    _style.legend(panels[1, 0], result["simulation"].sizes["seed"], "exact", point="Adam")
    return figure
