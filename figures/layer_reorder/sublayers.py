"""Changes of output and accuracy without one sublayer, effective steps and similarities: attention beside MLP, task by task."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels


def draw(result, config):
    simulation = result["simulation"]
    layers = 1 + np.arange(simulation.sizes["layer"])
    tasks = _panels.cells(result, "task")
    figure, panels = _style.panels(columns=3, rows=len(tasks), squeeze=False)
    for (change, accuracy, effective), task in zip(panels, tasks, strict=True):

        def of(field, task=task, **at):
            mean, error = statistics(result, field)
            return _panels.of(mean, "task", task).isel(at), _panels.of(error, "task", task).isel(at)

        def predicted(field, task=task):
            return _panels.of(prediction(result, field), "task", task)

        marker = dict(color=_style.COLOURS[0], marker=_style.MARKERS[0], markersize=3.2, markerfacecolor="white", linestyle="")
        change.plot([], [], label="attention: no verdict, same line", **marker)
        _style.simulation(change, layers, of("attention"), 0)
        share = config.share
        _style.theory(change, layers, predicted("weakened"), 2, f"{share:g} of attention, over {share:g}")
        _style.simulation(change, layers, of("weakened"), 2)
        _style.theory(change, layers, predicted("mlp"), 1, "MLP")
        _style.simulation(change, layers, of("mlp"), 1)
        _style.theory(accuracy, layers, of("leading_attention_accuracy")[0], 0, "attention", linestyle="--")
        _style.simulation(accuracy, layers, of("attention_accuracy"), 0)
        _style.theory(accuracy, layers, predicted("mlp_accuracy"), 1, "MLP")
        _style.simulation(accuracy, layers, of("mlp_accuracy"), 1)
        for kind, name in enumerate(("attention", "MLP")):
            _panels.measured(effective, layers, of("effective", kind=kind), kind, f"{name}, $|hf|/|x|$")
            gap = of("similarity", kind=kind)
            _panels.measured(effective, layers, (1 - gap[0], gap[1]), kind + 3, f"{name}, 1 $-$ cosine", linestyle=":")
        name = str(config.task if task is None else task)
        change.set(title=name, ylabel="change of the output over its norm", ylim=(0, None))
        accuracy.set(title=name, ylabel="accuracy without the sublayer")
        effective.set(title=name, ylabel="effective step, unlikeness", yscale="log")
        for axes in (change, accuracy, effective):
            axes.set_xlabel("layer")
            axes.set_xticks(layers)
    change, accuracy, effective = panels[0]
    top = change.get_ylim()[1]
    change.set_ylim(0, 1.5 * top)
    change.legend(loc="upper left")
    _style.legend(
        accuracy, simulation.sizes["seed"], "leading order (dashed: no verdict)", point="transformers", loc="lower left"
    )
    effective.set_ylim(None, 8)
    effective.legend(ncols=2, loc="upper left", fontsize=6)
    return figure
