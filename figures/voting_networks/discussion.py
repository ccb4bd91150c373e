"""Accuracy after a round of discussion against the weight of the own vote, below the majority of all votes."""

from .. import _style


def draw(result, config):
    figure, panel = _style.panels(height=2.9)
    simulated = result["simulation"]
    weights = simulated["process.own_weight"].values
    lines = (("discussed", "after discussion", "-"), ("ceiling", f"all {2 * config.process.num_voters} votes at once", "--"))
    competences = simulated["process.competence"].values
    for index, p in enumerate(competences):
        for field, _, dash in lines:
            _style.compare(panel, weights, result, field, index, at={"process.competence": p}, linestyle=dash)
        panel.plot([], [], color=_style.COLOURS[index], label=f"p = {_style.texts(competences)[index]}")
    for _, label, dash in lines:
        panel.plot([], [], color="0.35", linestyle=dash, label=label)
    panel.set(xlabel="weight $w$ of the own fresh vote", ylabel="share decided right")
    _style.legend(panel, simulated.sizes["seed"], "exact", above=True, point="votes drawn", ncols=2)
    return figure
