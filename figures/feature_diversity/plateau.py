"""Loss and mean cosine of the features against time, for several depths: closed form over gradient descent."""

from ...sweeps import prediction
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    time = config.learning_rate * simulated["step"].values
    figure, panels = _style.panels(columns=3, height=2.6)
    fields = ("loss", "first_cosine", "cosine")
    for index, cell in enumerate(_style.cells(result, "depth")):
        for panel, field in zip(panels, fields, strict=True):
            _style.compare(panel, time, result, field, index, f"$L$ = {cell.get('depth', config.depth)}", cell)
            law = prediction(result, field, "prediction_plateau").sel(cell)
            law = law.mean("seed") if "seed" in law.dims else law
            look = {} if panel is panels[0] else {"color": "0.35"}  # the cosine is the same for all depths
            _style.rival(panel, time, law, index, **look)
    titles = "loss", "mean cosine, first layer", "mean cosine, last hidden layer"
    for panel, title in zip(panels, titles, strict=True):
        panel.set(xscale="log", xlabel="time, learning rate x steps", title=title)
    panels[0].set_ylabel("half the mean squared error")
    panels[1].set_ylabel("mean over all pairs of inputs")
    _style.rival(panels[0], [], [], color="0.35", label="law of the plateau")
    _style.legend(panels[0], simulated.sizes["seed"], "closed form", above=True, point="gradient descent", ncols=5)
    return figure
