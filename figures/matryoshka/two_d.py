"""Error of every layer's exit against prefix size, and of every cell of the grid."""

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    size, exits = simulated["size"].values, simulated["exit"].values.tolist()
    figure, (curves, grid) = _style.panels(columns=2, height=2.7)
    for index, layer in enumerate(exits):
        name = f"layer {layer}, width {config.model.widths[index]}"
        _style.compare(curves, size + 0.1 * (index - (len(exits) - 1) / 2), result, "error", index, name, {"exit": layer})
    curves.set(xlabel="prefix size $m$", ylabel="error", ylim=(0, None))
    curves.xaxis.set_ticks(size)
    mean = statistics(result, "error")[0].values
    image = grid.imshow(mean, cmap="Blues", vmin=0, interpolation="nearest", aspect="auto")
    for row, values in enumerate(mean):
        for column, value in enumerate(values):
            grid.text(
                column, row, f"{value:.3g}", ha="center", va="center", color="white" if value > 0.6 * mean.max() else "black"
            )
    grid.set(xlabel="prefix size $m$", ylabel="exit after layer $n$", title="trained")
    grid.xaxis.set_ticks(range(len(size)), size)
    grid.yaxis.set_ticks(range(len(exits)), exits)
    figure.colorbar(image, ax=grid, label="error")
    _style.legend(curves, simulated.sizes["seed"], "each cell alone", above=True, point="networks", ncols=3)
    return figure
