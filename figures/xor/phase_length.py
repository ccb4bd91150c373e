"""Length of phase 1 against the dimension, and the size of the neurons there: the ODE over SGD."""

from .. import _style


def draw(result, config):
    dims = result["simulation"]["model.dim"].values
    seeds = result["simulation"].sizes["seed"]
    figure, (left, right) = _style.panels(columns=2)
    _style.compare(left, dims, result, "time", shade=_style.ALONE)
    left.set(ylabel="time until signal = $\\|w_\\perp\\|$")
    left.set_title(f"learning rate {config.learning_rate}, noise κ = {config.batch_noise}")
    _style.legend(left, seeds, "small-network ODE")
    for index, (field, label) in enumerate({"signal": "signal $w\\cdot\\mu$", "readout": "readout $|a|$"}.items()):
        _style.compare(right, dims, result, field, index, label)
    right.set(ylabel="size then, in units of $\\theta$", ylim=(0.8, 1.25))
    _style.legend(right, seeds, "small-network ODE", ncols=2)
    for axes in (left, right):
        axes.set(xscale="log", xlabel="input dimension $d$")
        _style.log_ticks(axes.xaxis, dims)
    return figure
