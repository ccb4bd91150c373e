"""Loss, accuracy and cosines of the features of tanh and ReLU networks on Gaussian clusters against the number of updates."""

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    steps = simulated["step"].values
    figure, panels = _style.panels(columns=3, height=2.6)
    left, middle, right = panels
    for index, cell in enumerate(_style.cells(result, "model.activation")):
        name = cell.get("model.activation", config.model.activation)
        for panel, field, filled in (
            (left, "loss", False),
            (middle, "cosine", False),
            (middle, "cosine_between", True),
            (right, "accuracy", False),
        ):
            mean_and_error = [values.sel(cell).values for values in statistics(result, field)]
            label = {"cosine": f"{name}, all pairs", "cosine_between": f"{name}, pairs of two classes"}.get(field)
            _style.measured(panel, steps, mean_and_error, index, label, filled)
            if panel is right:
                label = "chance" if index == 0 else None
                _style.compare(right, steps, result, "chance", index, label, cell, _style.ALONE, linewidth=0.8)
    for panel in panels:
        panel.set(xscale="symlog", xlabel="updates")
        panel.set_xlim(-0.3, 1.5 * steps[-1])
    left.set_ylabel("half the mean squared error")
    middle.set_ylabel("mean cosine, last hidden layer")
    right.set_ylabel("training accuracy")
    right.legend()
    _style.legend(middle, simulated.sizes["seed"], None, above=True, point="networks", ncols=6)
    return figure
