"""Words of a figure that run into one another or out of it."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

_SLACK = 0.5  # pixels at 100 an inch: letters that touch


def _ticks(axis):
    low, high = sorted(axis.get_view_interval())
    margin = 1e-9 * (high - low)
    for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
        if low - margin <= tick.get_loc() <= high + margin:
            yield from (tick.label1, tick.label2)


def words(figure):
    """(text, box in pixels) of everything that is written in a figure: titles, labels, ticks, annotations, legends."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.canvas.draw()
    found = [
        *figure.texts,
        *filter(None, (figure._suptitle, getattr(figure, "_supxlabel", None), getattr(figure, "_supylabel", None))),
    ]
    legends = list(figure.legends)
    for axes in filter(lambda one: one.get_visible(), figure.axes):
        found += [axes.title, axes._left_title, axes._right_title, *axes.texts]
        if axes.axison:
            for axis in (axes.xaxis, axes.yaxis):
                found += [axis.label, axis.offsetText, *_ticks(axis)] if axis.get_visible() else []
        legends += filter(None, [axes.get_legend()])
    boxes = {
        id(text): (text.get_text(), text.get_window_extent(renderer))
        for text in found
        if text.get_visible() and text.get_text()
    }
    boxes |= {
        id(legend): ("legend: " + ", ".join(text.get_text() for text in legend.get_texts()), legend.get_window_extent(renderer))
        for legend in legends
        if legend.get_visible()
    }
    return [(text, box) for text, box in boxes.values() if box.width > 0 and box.height > 0]


def collisions(figure):
    """Pairs of words that overlap, and words that leave the figure."""
    found = words(figure)
    inside = Bbox.from_extents(*figure.bbox.extents)
    wrong = [
        (one, other)
        for (one, box), (other, second) in itertools.combinations(found, 2)
        if (common := Bbox.intersection(box, second)) is not None and min(common.width, common.height) > _SLACK
    ]
    out = [
        (text, "edge")
        for text, box in found
        if box.x0 < inside.x0 - _SLACK
        or box.y0 < inside.y0 - _SLACK
        or box.x1 > inside.x1 + _SLACK
        or box.y1 > inside.y1 + _SLACK
    ]
    return wrong + out
