"""Words of a figure that run into one another or out of it."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_SLACK = 0.5  # pixels at 100 an inch: letters that touch


def _ticks(axis):
    low, high = sorted(axis.get_view_interval())
    margin = 1e-9 * (high - low)
    for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
        if low - margin <= tick.get_loc() <= high + margin:
            yield from (tick.label1, tick.label2)


def words(figure):
    """(text, box in pixels, rotation) of all that is written in a figure: titles, labels, ticks, annotations, legends."""
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
    boxes = [
        (text, one.get_window_extent(renderer), one.get_rotation() if isinstance(one, Text) else 0.0)
        for text, one in written.values()
        if one.get_visible()
    ]
    return [found for found in boxes if found[1].width > 0 and found[1].height > 0]


def collisions(figure):
    """Pairs of words that overlap, and words that leave the figure."""
    found = words(figure)
    inside = figure.bbox.padded(_SLACK)
    pairs = itertools.combinations(found, 2)
    # of labels that are turned alike only the boxes overlap
    common = [
        (one, other, Bbox.intersection(box, second))
        for (one, box, turn), (other, second, too) in pairs
        if turn != too or turn % 90 == 0
    ]
    wrong = [(one, other) for one, other, box in common if box is not None and min(box.width, box.height) > _SLACK]
    return wrong + [(text, "edge") for text, box, _ in found if Bbox.union([box, inside]).bounds != inside.bounds]


def covered(figure):
    """Legends inside of panels that lie on what is drawn there: (text, how many of the drawn points)."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.canvas.draw()
    found = []
    for axes in figure.axes:
        if (legend := axes.get_legend()) is not None:
            box = legend.get_window_extent(renderer)
            paths = [line.get_path().transformed(line.get_transform()).interpolated(20).vertices for line in axes.lines]
            paths += [axes.transData.transform(spots.get_offsets()) for spots in axes.collections if len(spots.get_offsets())]
            inside = sum(int(box.contains(x, y)) for path in paths for x, y in path if x == x and y == y)
            if inside:
                found.append((legend.get_texts()[0].get_text(), inside))
    return found
