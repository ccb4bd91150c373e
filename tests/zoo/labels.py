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
    found = [*figure.texts]  # titles and labels of the whole figure are among them
    legends = list(figure.legends)
    for axes in filter(lambda one: one.get_visible(), figure.axes):
        found += [axes.title, axes._left_title, axes._right_title, *axes.texts]
        if axes.axison:
            for axis in (axes.xaxis, axes.yaxis):
                found += [axis.label, axis.offsetText, *_ticks(axis)] if axis.get_visible() else []
        legends += filter(None, [axes.get_legend()])
    written = {id(text): (text.get_text(), text) for text in found if text.get_text()}
    written |= {id(one): ("legend: " + ", ".join(text.get_text() for text in one.get_texts()), one) for one in legends}
    boxes = [(text, one.get_window_extent(renderer)) for text, one in written.values() if one.get_visible()]
    return [(text, box) for text, box in boxes if box.width > 0 and box.height > 0]


def collisions(figure):
    """Pairs of words that overlap, and words that leave the figure."""
    found = words(figure)
    inside = figure.bbox.padded(_SLACK)
    pairs = itertools.combinations(found, 2)
    common = [(one, other, Bbox.intersection(box, second)) for (one, box), (other, second) in pairs]
    wrong = [(one, other) for one, other, box in common if box is not None and min(box.width, box.height) > _SLACK]
    return wrong + [(text, "edge") for text, box in found if Bbox.union([box, inside]).bounds != inside.bounds]
