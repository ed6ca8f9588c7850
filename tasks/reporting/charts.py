"""Charts as inline SVG: small enough for a phone, coloured by the page's own text, equal bytes for equal inputs."""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_INK = "#010203"  # replaced by the page's text colour, which follows dark mode
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "plumbline",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
COLOURS = {
    "base": "#8a8f98",
    "sft": "#5b8def",
    "dpo": "#d9822b",
    "ppo": "#2f9e6e",
    "best_of_n": "#a26bd0",
    "champion": "#c94f4f",
}
_OTHER = "#5b8def"
_SIZE = (4.6, 3.0)  # inches


@dataclass(frozen=True)
class Chart:
    """One figure of the page: its title, the SVG, and what it shows in words for those who cannot see it."""

    title: str
    svg: str
    description: str


def _colour(name: str) -> str:
    return COLOURS.get(name, _OTHER)


def draw(title: str, description: str, paint: Callable[[Axes], None]) -> Chart:
    """A chart painted by `paint` on fresh axes."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        axes.grid(color=_INK, alpha=0.12, linewidth=0.6)
        axes.set_axisbelow(True)
        paint(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Chart(title, _inline(buffer.getvalue(), title), description)


def _inline(svg: str, title: str) -> str:
    """The svg element alone, scaling with its column, ids unique to the chart, ink in the page's colour."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for size in ("width", "height"):
        svg = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace(_INK, "currentColor").replace("xlink:href", "href")
    prefix = re.sub(r"\W+", "-", title.lower()).strip("-")
    for identifier in sorted(set(re.findall(r'\bid="([^"]+)"', svg))):
        svg = re.sub(rf'(id="|href="#|url\(#){re.escape(identifier)}(?=["\)])', rf"\g<1>{prefix}-{identifier}", svg)
    return svg.replace("<svg", '<svg aria-hidden="true"', 1).strip()


# --- the charts ---


def intervals(title: str, unit: str, values: Mapping[str, tuple[float, float, float]], zero: bool = False) -> Chart:
    """Dots with intervals, one row per name; `values`: name -> (mean, low, high); `zero` marks "no difference"."""

    def paint(axes: Axes) -> None:
        for position, (name, (mean, low, high)) in enumerate(reversed(values.items())):
            spread = [[max(0.0, mean - low)], [max(0.0, high - mean)]]
            axes.errorbar(mean, position, xerr=spread, fmt="o", color=_colour(name), capsize=3, markersize=5)
        axes.set_yticks(range(len(values)), [name.replace("_", " ") for name in reversed(values)])
        axes.set_ylim(-0.6, len(values) - 0.4)
        axes.set_xlabel(unit)
        if zero:
            axes.axvline(0, color=_INK, linewidth=0.8, linestyle="--")

    words = "; ".join(f"{name} {mean:.3f} ({low:.3f} to {high:.3f})" for name, (mean, low, high) in values.items())
    return draw(title, f"{unit}: {words}", paint)


def bars(title: str, unit: str, values: Mapping[str, float], errors: Mapping[str, float] | None = None) -> Chart:
    """One bar per name; `errors`: half-width of an interval where there is one."""

    def paint(axes: Axes) -> None:
        for position, (name, value) in enumerate(reversed(values.items())):
            error = (errors or {}).get(name)
            axes.barh(position, value, color=_colour(name), height=0.6, xerr=error, ecolor=_INK, capsize=3)
            end = (value + (error or 0), position)
            axes.annotate(f"{value:.2f}", end, xytext=(6, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(values)), [name.replace("_", " ") for name in reversed(values)])
        axes.margins(x=0.15)
        axes.set_xlabel(unit)

    return draw(title, f"{unit}: " + "; ".join(f"{name} {value:.2f}" for name, value in values.items()), paint)


def curve(title: str, unit: str, name: str, steps: Sequence[int], values: Sequence[float]) -> Chart:
    """A line over training steps, in the colour of `name`."""

    def paint(axes: Axes) -> None:
        mark = "o" if len(steps) < 20 else ""
        axes.plot(steps, values, color=_colour(name), marker=mark, markersize=3, linewidth=1.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("step")
        axes.set_ylabel(unit)

    return draw(title, f"{unit} over step: {name} from {values[0]:.3g} to {values[-1]:.3g}", paint)


def over_optimisation(title: str, unit: str, field: str, document: Mapping[str, Any]) -> Chart:
    """What was gained in `field` (gold or proxy) over the square root of KL, with intervals; for gold, fitted curves.

    `document`: `over_optimisation` of evaluate.json. Best-of-n's classic upper bound of KL stands beside its estimate.
    """

    def paint(axes: Axes) -> None:
        for name, method in document.items():
            points = [point for point in method["points"] if point["distance"] is not None]
            places, values = [point["distance"] for point in points], [point[field] for point in points]
            lows, highs = zip(*(point[f"{field}_interval"] for point in points), strict=True) if points else ((), ())
            spread = np.maximum(0.0, [np.subtract(values, lows), np.subtract(highs, values)])
            fit = method["fit"] if field == "gold" else None
            axes.errorbar(places, values, yerr=spread, fmt="o" if fit else "o-", color=_colour(name), markersize=3,
                          linewidth=1.0, elinewidth=0.6, capsize=2, label=_method_label(name, points))
            if fit:
                axes.plot(*_fitted(fit, max(places)), color=_colour(name), linewidth=1.3)
            if name == "best_of_n":
                bounds = [point["kl_upper_bound"] ** 0.5 for point in points]
                axes.plot(bounds, values, ":", color=_colour(name), linewidth=1.0, label="the same, upper bound of KL")
        axes.axhline(0, color=_INK, linewidth=0.8, linestyle="--")
        axes.set_xlabel("√ KL to SFT (√ nats per response)")
        axes.set_ylabel(unit)
        axes.legend(fontsize=8)

    words = "; ".join(
        f"{name} {method['points'][-1][field]:+.3f} at {method['points'][-1]['kl']:.2f} nats"
        for name, method in document.items() if method["points"]
    )
    return draw(title, f"{unit} over root KL, last points: {words}", paint)


def _method_label(name: str, points: Sequence[Mapping[str, Any]]) -> str:
    if name == "best_of_n" and points:
        return f"best of 1 to {points[-1]['n']}, KL estimated"
    return f"{name} checkpoints"


def _fitted(fit: Mapping[str, Any], end: float) -> tuple[list[float], list[float]]:
    """Gao et al.'s curve from near 0 to `end`, as (distances, gains): d (a - b d), or d (a - b log d)."""
    places = [end * (step + 1) / 60 for step in range(60)]
    logarithmic = "log" in fit["form"]
    return places, [d * (fit["alpha"] - fit["beta"] * (math.log(d) if logarithmic else d)) for d in places]
