"""Pictures of stored results: the figure of the experiment of the same path; `draw` gives it of any result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import lazily

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__getattr__, __dir__ = lazily(__name__)


def draw(result: xarray.DataTree) -> Figure | None:
    """The figure of a result: that of its experiment, with theory at more points than were simulated where it has them.

    What has no figure of its own is drawn field by field against its longest axis of numbers; None where no field has one.
    pyplot does not hold the figure: a notebook shows it once, and elsewhere `savefig` keeps it.

    Raises `UsageError` for a result without simulated runs, such as a file of trained states.
    """
    import matplotlib.pyplot as plt

    from ..sweeps import UsageError, find, find_figure, names, provenance, with_theory
    from ..sweeps.results.report import stored_config
    from ._generic import draw as draw_any

    if "simulation" not in result.children:
        sides = ", ".join(result.children) or "nothing"
        raise UsageError(
            f"draw: the result has no simulation, but {sides}; allowed: a result with runs, such as the file of a cell"
        )
    name = provenance(result)["experiment"]
    draw_own = find_figure(name) if name in names() and "prediction" in result.children else None
    if draw_own is None:
        figure = draw_any(result)
    else:
        experiment = find(name)
        figure = draw_own(with_theory(experiment, result), stored_config(experiment, result))
    if figure is not None:
        plt.close(figure)
    return figure
