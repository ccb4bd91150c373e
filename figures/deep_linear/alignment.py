"""Alignment of the tangent kernel and loss against time, and one against the other, for white and for coloured inputs."""

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    time = config.learning_rate * result["simulation"]["step"].values
    figure, ((white, far), (coloured, both)) = _style.panels(columns=2, rows=2, height=2.4)
    cells = _style.cells(result, "model.scale")
    for index, at in enumerate(cells):
        label = f"a = {at.get('model.scale', config.model.scale):g}"
        _style.compare(white, time, result, "cosine", index, label, at)
        _style.compare(white, time, result, "loss", index, None, at, linestyle="--")
        _style.compare(far, time, result, "distance", index, None, at)
        for field, filled in (("coloured_cosine", False), ("coloured_loss", True)):
            _style.measured(coloured, time, [part.sel(at) for part in statistics(result, field)], index, filled=filled)
        loss, cosine = (prediction(result, field).sel(at) for field in ("loss", "cosine"))
        _style.theory(both, 1 - loss.values, cosine.values, index)
        reached = [
            statistics(result, f"{kind}{name}")[0].sel(at).values for kind in ("", "coloured_") for name in ("loss", "cosine")
        ]
        every = slice(None, None, max(1, len(time) // 40))
        both.plot(1 - reached[0][every], reached[1][every], color=_style.colour(index), linestyle="", marker="o", markersize=3,
                  markerfacecolor="white", markeredgewidth=0.6)  # fmt: skip
        both.plot(1 - reached[2][every], reached[3][every], color=_style.colour(index), linestyle="", marker="x", markersize=3,
                  markeredgewidth=0.6, gid=_style.UNJUDGED)  # fmt: skip
    white.set(title="white inputs", xlabel="time, learning rate x steps", ylabel="cosine; loss (dashed)")
    far.set(title="white inputs", xlabel="time, learning rate x steps", ylabel="relative distance to the last kernel")
    coloured.set(title="coloured inputs", xlabel="time, learning rate x steps", ylabel="cosine (open), loss (filled)")
    both.set(
        title="white: circles; coloured: crosses", xlabel="share of the loss that is gone", ylabel="cosine", ylim=(0.9, 1.005)
    )
    _style.legend(white, result["simulation"].sizes["seed"], "Riccati equation", above=True, point="gradient descent", ncols=4)
    return figure
