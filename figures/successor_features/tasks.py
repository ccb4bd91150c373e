"""Distance of the features of sampled tasks from the best ones, against the number of tasks: lines of slope -1 over samples."""

from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    number = simulated["number"].values
    figure, axes = _style.panels(height=3.0)
    for index, law in enumerate(simulated["law"].values.tolist()):
        name = "Gaussian" if law == "Gaussian" else f"indicators, ${law}$"
        _style.compare(axes, number, result, "distance", index, name, {"law": law})
    axes.set(xscale="log", yscale="log", xlabel="tasks $T$", ylabel="squared distance $d$ from the best subspace")
    _style.legend(axes, simulated.sizes["seed"], "$C/T$", point="samples")
    return figure
