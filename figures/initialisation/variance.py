"""Second moment, variance of a unit and correlation against depth, by start and activation."""

from .. import _style

ACTIVATION, INIT = "activation", "init"
TITLES = {"lsuv": "LSUV", "orthonormal": "orthonormal", "he": "He", "xavier": "Glorot"}
LEAST = 5e-4  # of what is drawn of 1 - c: below, rounding is allowed for


def draw(result, config):
    inits = _style.cells(result, INIT)[:3]
    layers = result["simulation"]["layer"].values
    figure, (above, below) = _style.panels(columns=3, rows=2)
    pairs = [(above[i], "log_second_moment", init) for i, init in enumerate(inits)]
    pairs += [
        (below[0], "unit_variance", inits[0]),
        (below[1], "correlation", inits[0]),
        (below[2], "unit_variance", inits[-1]),
    ]
    for axes in above[len(inits) :]:
        axes.set_axis_off()
    for axes, field, init in pairs:
        for index, cell in enumerate(_style.cells(result, ACTIVATION)):
            label = cell.get(ACTIVATION, config.activation) if axes is above[0] else None
            _style.compare(axes, layers, result, field, index, label, {**init, **cell})
        title = TITLES[init.get(INIT, config.init)]
        axes.set(title=title, xlabel="layer $l$")
        low, high = axes.get_ylim()
        if field == "log_second_moment":
            axes.set_ylim(min(low, -1), max(high, 1))
        if field == "unit_variance":
            axes.set(yscale="log", ylim=(LEAST, 2))
    above[0].set(ylabel="ln of the second moment $q_l$")
    for axes in (below[0], below[2]):
        axes.set(ylabel="variance of a unit, $1 - c_l$")
    below[1].set(ylabel=f"correlation, {config.correlation:g} in the data", ylim=(-0.05, 1.05))
    _style.legend(above[0], result["simulation"].sizes["seed"], "mean field", above=True, point="networks", ncols=7)
    return figure
