"""Correlation of filter responses against the distance of two places, for banks of filters: exact lines over responses."""

from ...sweeps import prediction
from .. import _style

OTHERS = {"pixels": "pixels", "random": "random filters", "whitening": "whitening filters"}


def draw(result, config):
    simulated = result["simulation"]
    distance, steps = (simulated[axis].values for axis in ("distance", "step"))
    last = steps.tolist()[-1]
    curves = [({"bank": bank, "step": last}, name) for bank, name in OTHERS.items()]
    curves += [({"bank": "trained", "step": step}, f"trained, {step} updates") for step in steps.tolist()[-3:]]
    figure, axes = _style.panels(height=3.2)
    for index, (at, name) in enumerate(curves):
        _style.compare(axes, distance, result, "autocorrelation", index, name, at)
    end = prediction(result, "autocorrelation", "prediction_end").sel(bank="trained", step=last)
    _style.rival(axes, distance, end, color="0.35", label="trained to the end, mean")
    axes.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    axes.axvline(config.model.side, color="0.85", linewidth=3, zorder=0, label="side of a filter")
    axes.set(xlabel="distance of two places (pixels)", ylabel="correlation of responses")
    _style.legend(axes, simulated.sizes["seed"], "exact", above=True, point="responses", ncols=2)
    return figure
