"""Ratio of the shares of two features against the ratio of their targets, for layers of networks of several depths."""

from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    figure, axes = _style.panels(height=2.9)
    cells, ratios = _style.cells(result, "depth"), simulated["target_ratio"].values
    index = 0
    for cell in cells:
        depth = cell.get("depth", config.depth)
        for layer, name in zip((1, depth - 1), simulated["place"].values.tolist(), strict=True):
            twice = depth == 2 and name != simulated["place"].values[0]  # the only hidden layer is the first and the last
            label = None if twice else f"layer {layer} of {depth}"
            _style.compare(axes, ratios, result, "share_ratio", index - twice, label, {**cell, "place": name})
            index += not twice
    axes.set(xscale="log", yscale="log", xlabel="ratio of the targets $t_1/t_2$", ylabel="ratio of the shares")
    _style.log_ticks(axes.xaxis, ratios)
    _style.legend(axes, simulated.sizes["seed"], "$(t_1/t_2)^{2 l/L}$", above=True, point="gradient descent", ncols=2)
    return figure
