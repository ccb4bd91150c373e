"""What is learned along each input against the noise on the inputs: Wiener filter over Adam, and the isotropic rule."""

from ...sweeps import prediction
from .. import _style


def draw(result, config):
    noise = result["simulation"]["noise_std"].values
    figure, (left, middle, right) = _style.panels(columns=3)
    isotropic = prediction(result, "interaction", "prediction_isotropic")
    for index in range(len(config.variances)):
        diagonal = {"row": index, "column": index}
        _style.compare(
            left, noise, result, "interaction", index, f"variance {_style.texts(config.variances)[index]}", at=diagonal
        )
        _style.theory(left, noise, isotropic.sel(diagonal), index, linestyle=":", linewidth=0.8)
        _style.compare(right, noise, result, "linear", index, at={"row": index})
    _style.compare(middle, noise, result, "constant")
    left.plot([], [], color="0.35", linestyle=":", linewidth=0.8, label="equal variances")
    left.set(ylabel="diagonal of the quadratic form", ylim=(0, 1.6))
    middle.set_ylabel("constant")
    right.set(ylabel="linear form", ylim=(-0.05, 0.05))
    for axes in (left, middle, right):
        axes.set_xlabel("standard deviation of the noise")
    _style.legend(left, result["simulation"].sizes["seed"], "Wiener filter", point="Adam", ncols=2)
    return figure
