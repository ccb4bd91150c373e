"""Strength of every coordinate and the nested loss against time, with separate and with shared decoders."""

from ...sweeps import prediction
from .. import _style

NAMES = {False: "a decoder for each size", True: "one decoder"}


def draw(result, config):
    simulated = result["simulation"]
    cells = _style.cells(result, "model.shared")
    time = config.learning_rate * simulated["step"].values
    figure, panels = _style.panels(columns=len(cells), rows=2, height=2.1, squeeze=False)
    for (strength, loss), cell in zip(panels.T, cells, strict=True):
        for index in range(simulated.sizes["mode"]):
            at = {**cell, "mode": index}
            _style.compare(strength, time, result, "strength", index, f"$i$ = {index + 1}", at)
            rival = prediction(result, "strength", "prediction_plain").sel(at)
            _style.rival(strength, time, rival, index)
        _style.compare(loss, time, result, "loss", at=cell, shade=_style.ALONE)
        _style.rival(loss, time, prediction(result, "loss", "prediction_plain").sel(cell), color=_style.ALONE)
        strength.set(title=NAMES[bool(cell.get("model.shared", config.model.shared))], ylabel="strength $u_i$ of a coordinate")
        loss.set(xlabel="time, learning rate x steps", ylabel="nested loss", ylim=(0, None))
    _style.rival(panels[0, 0], [], [], color="0.35", label="without nesting")
    _style.legend(panels[0, 0], simulated.sizes["seed"], "logistic curve", above=True, point="networks", ncols=4)
    return figure
