"""Changes of output and accuracy without one sublayer, effective steps and similarities: attention beside MLP, task by task."""

from ...sweeps import statistics
from .. import _style
from . import _panels

KINDS = {"attention": "attention", "mlp": "MLP"}


def draw(result, config):
    simulation, share = result["simulation"], config.share
    layers = simulation["layer"].values
    tasks = _style.cells(result, "task")
    figure, panels = _style.panels(columns=3, rows=len(tasks), squeeze=False)
    for (change, accuracy, effective), cell in zip(panels, tasks, strict=True):

        def of(field, at=cell):
            mean, error = statistics(result, field)
            return mean.sel(at), error.sel(at)

        marker = dict(color=_style.COLOURS[0], marker=_style.MARKERS[0], markersize=3.2, markerfacecolor="white", linestyle="")
        change.plot([], [], label="attention: no verdict, same line", **marker)
        _style.simulation(change, layers, of("attention"), 0)
        _style.compare(change, layers, result, "weakened", 2, f"{share:g} of attention, over {share:g}", cell)
        _style.compare(change, layers, result, "mlp", 1, "MLP", cell)
        _style.theory(accuracy, layers, of("leading_attention_accuracy")[0], 0, "attention", linestyle="--")
        _style.simulation(accuracy, layers, of("attention_accuracy"), 0)
        _style.compare(accuracy, layers, result, "mlp_accuracy", 1, "MLP", cell)
        for index, (kind, name) in enumerate(KINDS.items()):
            at = {**cell, "kind": kind}
            _panels.measured(effective, layers, of("effective", at), index, f"{name}, $|hf|/|x|$")
            likeness, error = of("similarity", at)
            _panels.measured(effective, layers, (1 - likeness, error), index + 3, f"{name}, 1 $-$ cosine", linestyle=":")
        task = cell.get("task", config.task)
        change.set(title=task, ylabel="change of the output over its norm", ylim=(0, None))
        accuracy.set(title=task, ylabel="accuracy without the sublayer")
        effective.set(title=task, ylabel="effective step, unlikeness", yscale="log")
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
