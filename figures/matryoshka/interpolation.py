"""Error against prefix size, trained sizes and those in between: orthonormal decoding on a line, optimal decoders below it."""

from .. import _style

NAMES = {"projected": "orthonormal decoding", "optimal": "optimal decoders"}


def draw(result, config):
    size = result["simulation"]["size"].values
    figure, (error, difference) = _style.panels(columns=2, height=2.7)
    for index, (field, name) in enumerate(NAMES.items()):
        _style.compare(error, size, result, field, index, name)
    _style.compare(difference, size, result, "difference", shade=_style.ALONE)
    error.set(ylabel="error, mean over starts", ylim=(0, None))
    difference.set_ylabel("what optimal decoders save")
    for axes in (error, difference):
        for trained in config.sizes:
            axes.axvline(trained, color="0.93", linewidth=5, zorder=0)
        axes.set_xlabel("prefix size $m$ (grey: trained)")
        axes.xaxis.set_ticks(size)
    point = f"{config.num_networks} networks each"
    _style.legend(error, result["simulation"].sizes["seed"], above=True, point=point, ncols=5)
    return figure
