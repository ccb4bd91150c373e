"""Error against prefix size, trained sizes and those in between: orthonormal decoding on a line, optimal decoders below it."""

from .. import _style

NAMES = {"projected": "orthonormal decoding", "optimal": "optimal decoders"}


def draw(result, config):
    size = result["simulation"]["size"].values
    figure, axes = _style.panels(height=3.0)
    for index, (field, name) in enumerate(NAMES.items()):
        _style.compare(axes, size, result, field, index, name)
    for trained in config.sizes:
        axes.axvline(trained, color="0.9", linewidth=5, zorder=0)
    axes.set(xlabel="prefix size $m$ (grey: trained)", ylabel="error, mean over starts", ylim=(0, None))
    axes.xaxis.set_ticks(size)
    point = f"{config.num_networks} networks each"
    _style.legend(axes, result["simulation"].sizes["seed"], above=True, point=point, ncols=2)
    return figure
