"""What is learned along each input against the noise on the inputs: Wiener filter over Adam, and the isotropic rule."""

from .. import _style


def draw(result, config):
    noise = result["simulation"]["noise_std"].values
    figure, (left, middle, right) = _style.panels(columns=3)
    for index in range(len(config.variances)):
        diagonal = {"row": index, "column": index}
        _style.compare(
            left, noise, result, "interaction", index, f"variance {_style.texts(config.variances)[index]}", at=diagonal
        )
        _style.rival(left, *_style.along(result, "interaction", noise, diagonal, "prediction_isotropic"), index)
        _style.compare(right, noise, result, "linear", index, at={"row": index})
    _style.compare(middle, noise, result, "constant", shade=_style.ALONE)
    _style.rival(left, [], [], label="equal variances", color="0.35")
    left.set(ylabel="diagonal of the quadratic form", ylim=(0, 1.6))
    middle.set_ylabel("constant")
    right.set(ylabel="linear form", ylim=(-0.05, 0.05))
    for axes in (left, middle, right):
        axes.set_xlabel("standard deviation of the noise")
    _style.legend(left, result["simulation"].sizes["seed"], "Wiener filter", point="Adam", ncols=2)
    return figure
