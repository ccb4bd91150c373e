"""Length of the plateau against the initial scale, for several depths: the power law over networks of both starts."""

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    figure, panels = _style.panels(columns=3, height=2.6)
    aligned, random, power = panels
    scales = statistics(result, "init_scale")[0]
    for index, depth in enumerate(simulated["depth"].values.tolist()):
        at = {"depth": depth}
        x, law = scales.sel(at).values, prediction(result, "time").sel(at)
        law = law.mean("seed") if "seed" in law.dims else law
        _style.compare(aligned, x, result, "time", index, f"$L$ = {depth}", at)
        _style.rival(random, x, law.values, index)
        _style.measured(random, x, [values.sel(at) for values in statistics(result, "random_time")], index)
    aligned.sharey(random)
    depths = simulated["depth"].values
    _style.compare(power, depths, result, "power", shade=_style.ALONE)
    power.set(xticks=depths, xlabel="layers $L$", ylabel="power of $a_0$", title="from rank one")
    for panel, title in ((aligned, "from rank one"), (random, "from random weights")):
        panel.set(xscale="log", yscale="log", xlabel="norm of a layer at the start $a_0$", title=title)
    aligned.set_ylabel("time at half the loss")
    _style.legend(aligned, simulated.sizes["seed"], "$a_0^{2-L}/((L-2)|b|)$", above=True, point="networks", ncols=7)
    return figure
