"""Signal, opposite, perpendicular part and readout of the neurons against time, mean-field theory over SGD."""

from ...sweeps import prediction
from .. import _style


def draw(result, config):
    time = result["simulation"]["step"] * config.learning_rate
    figure, axes = _style.panels(height=3.0)
    names = {
        "signal": "signal $w\\cdot\\mu_{\\rm sig}$",
        "opposite": "opposite $w\\cdot\\mu_{\\rm opp}$",
        "perp_norm": "other $\\|w_\\perp\\|$",
        "readout": "readout $|a|$",
    }
    for index, (field, label) in enumerate(names.items()):
        _style.compare(axes, time, result, field, index, label)
    noiseless = prediction(result, "opposite", "prediction_noiseless")
    _style.rival(axes, time, noiseless, 1, "opposite without noise")
    axes.set(
        yscale="log",
        xlabel="time  (learning rate × step)",
        ylabel="root mean square over neurons",
    )
    _style.legend(axes, result["simulation"].sizes["seed"], "noisy mean field", above=True, ncols=2)
    return figure
