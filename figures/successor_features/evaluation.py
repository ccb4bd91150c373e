"""Error of policy evaluation against the number of features, for four kinds of them: predicted lines over random rewards."""

from typing import Any

from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    number = simulated["number"].values
    figure, axes = _style.panels(height=3.0)
    kinds = list(enumerate(simulated["kind"].values.tolist()))
    for index, kind in kinds[1:] + kinds[:1]:  # learned features lie on the singular vectors: they are drawn over them
        look: dict[str, Any] = {"linewidth": 2.4, "alpha": 0.35} if kind == "learned" else {}
        _style.compare(axes, number, result, "error", index, kind, {"kind": kind}, **look)
    axes.set(yscale="log", xlabel="features $k$", ylabel="squared error of values")
    _style.legend(axes, simulated.sizes["seed"], "predicted", above=True, point="random rewards", ncols=2)
    return figure
