"""Changes of the output and accuracy without one sublayer, by task: MLPs as predicted, attention a tenth at a time."""

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    simulation, share = result["simulation"], config.share
    layers = simulation["layer"].values
    tasks = _style.cells(result, "task")[:2]
    figure, panels = _style.panels(columns=2, rows=len(tasks), squeeze=False)
    for (change, accuracy), cell in zip(panels, tasks, strict=True):

        def of(field, at=cell):
            return tuple(values.sel(at) for values in statistics(result, field))

        _style.measured(change, layers, of("attention"), 0, "attention")
        _style.rival(change, layers, of("leading_attention")[0], 0)
        _style.compare(change, layers, result, "weakened", 2, f"{share:g} of attention, over {share:g}", cell)
        _style.compare(change, layers, result, "mlp", 1, "MLP", cell)
        _style.rival(accuracy, layers, of("leading_attention_accuracy")[0], 0)
        _style.measured(accuracy, layers, of("attention_accuracy"), 0)
        _style.compare(accuracy, layers, result, "mlp_accuracy", 1, at=cell)
        change.set(title=cell.get("task", config.task), ylabel="relative change of the output", ylim=(0, None))
        accuracy.set(title=cell.get("task", config.task), ylabel="accuracy without it")
        for axes in (change, accuracy):
            axes.set(xlabel="layer whose sublayer is left out", xticks=layers)
    _style.rival(panels[0, 0], [], [], label="leading order, no verdict", color="0.35")
    _style.legend(panels[0, 0], simulation.sizes["seed"], "leading order", point="transformers", above=True, ncols=4)
    return figure
