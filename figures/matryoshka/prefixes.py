"""Error against prefix size of nested, independent and plain autoencoders, and |cos| of their rows with the principal axes."""

import numpy as np

from ...sweeps import statistics
from .. import _style

NAMES = {"separate": "nested, a decoder a size", "shared": "nested, one decoder", "independent": "a network a size"}


def draw(result, config):
    simulated = result["simulation"]
    figure, panels = _style.panels(columns=3, rows=2, height=2.4)
    (error, axes), size = panels.ravel()[:2], simulated["size"].values
    for index, (variant, name) in enumerate(NAMES.items()):
        _style.compare(error, size + 0.08 * (index - 1), result, "error", index, name, {"variant": variant})
    for index, (field, name) in enumerate(
        {"few_error": f"nested at {_few(config)}", "plain_error": "not nested"}.items(), start=3
    ):
        _style.measured(error, size, statistics(result, field), index, name)
    error.set(xlabel="prefix size $m$", ylabel="error", ylim=(0, None))
    for panel in (error, axes):
        panel.xaxis.set_ticks(size)
    row = 1 + np.arange(simulated.sizes["row"])
    for index, head in enumerate(("separate", "shared")):
        own = [np.diagonal(values.sel(head=head).values) for values in statistics(result, "alignment")]
        _style.theory(axes, row, _own(result["prediction"], head), index)
        _style.simulation(axes, row + 0.08 * index, own, index)
    for index, field in enumerate(("few_alignment", "plain_alignment"), start=3):
        own = [np.diagonal(values.values) for values in statistics(result, field)]
        _style.measured(axes, row, own, index)
    _style.compare(axes, simulated["few"].values, result, "few_distance", 5, f"distance of subspaces, nested at {_few(config)}")
    axes.set(xlabel="row $i$, or size $m$", ylabel="$|\\cos|$ with axis, or distance", ylim=(-0.06, 1.45))
    axes.legend(loc="upper center")
    alignment = statistics(result, "alignment")[0]
    maps = [
        (alignment.sel(head="separate"), "rows, a decoder a size"),
        (alignment.sel(head="shared"), "columns of one decoder"),
    ]
    maps += [(statistics(result, "few_alignment")[0], f"rows, nested at {_few(config)}")]
    maps += [(statistics(result, "plain_alignment")[0], "rows, not nested")]
    for panel, (values, title) in zip(panels.ravel()[2:], maps, strict=True):
        panel.imshow(values.values, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        panel.set(title=title, xlabel="principal axis", ylabel=title.split()[0].strip(",").removesuffix("s") + " $i$")
        for axis, number in ((panel.xaxis, values.shape[1]), (panel.yaxis, values.shape[0])):
            axis.set_ticks(range(number), range(1, number + 1))
    figure.colorbar(panels[1, 2].images[0], ax=panels[1, 2], label="mean $|\\cos|$")
    _style.legend(error, simulated.sizes["seed"], "principal components", above=True, point="networks", ncols=4)
    return figure


def _few(config):
    return "{" + ", ".join(map(str, config.few_sizes)) + "}"


def _own(prediction, head):
    return np.diagonal(prediction["alignment"].sel(head=head).values)
