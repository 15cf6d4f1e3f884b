"""What does one do with the numbers? Figures of risk against coverage, uncertainty scores, decision curves.

Every function takes plain arrays and returns a matplotlib Figure; `calibration.style.save` writes it as SVG or PNG.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from calibration.ood import auroc
from calibration.operating import DecisionCurve
from calibration.ranking import checked_scores
from calibration.selective import risk_coverage, selective
from calibration.style import BLACK, GREY, figure, hatched_shares, look, settings
from calibration.validation import CalibrationError


def risk_against_coverage(
    uncertainties: Mapping[str, ArrayLike], wrong: ArrayLike, *, risk: float = 0.05, title: str = ""
) -> Figure:
    """Error rate among the films kept, against the share kept, for each uncertainty score and for an oracle.

    Args:
        uncertainties: score name -> (n,), larger = abstain sooner; at most six.
        wrong: (n,) true where the decision is wrong.
        risk: the error rate marked by a line.
        title: above the figure.

    Raises:
        CalibrationError: vectors that do not match, no score or more than six.
    """
    if not 1 <= len(uncertainties) <= 6:
        raise CalibrationError(f"one figure tells 1 to 6 scores apart, not {len(uncertainties)}")
    miss = np.asarray(wrong, dtype=np.float64)
    with settings():
        made, (axis,) = figure(5.6, 3.4)
        for index, (name, score) in enumerate(uncertainties.items()):
            curve, area = risk_coverage(score, miss), selective(score, miss, risk=risk)
            shown = curve.coverage * miss.size >= 10  # before ten films the rate is noise
            style = look(index)
            axis.plot(
                curve.coverage[shown],
                curve.risk[shown],
                color=style.color,
                linestyle=style.line,
                linewidth=1.5,
                label=f"{name}\nAURC {area.aurc:.3f}, keeps {100 * area.coverage:.1f} %",
            )
        oracle = risk_coverage(miss + np.arange(miss.size) * 1e-9, miss)
        axis.plot(oracle.coverage, oracle.risk, color=BLACK, linewidth=0.9, linestyle=(0, (1, 3)), label="oracle")
        # Named in the legend: beside the line, curves run over its name.
        axis.axhline(risk, color=GREY, linewidth=0.8, label=f"risk of {100 * risk:g} %")
        axis.set(xlabel="share of films kept", ylabel="error rate among them", xlim=(0, 1), title=title)
        axis.set_ylim(bottom=0)
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))  # 2.5 % steps would be printed rounded
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3.2)
    return made


def score_histograms(inside: ArrayLike, outside: Mapping[str, ArrayLike], *, name: str, bins: int = 30) -> Figure:
    """An uncertainty score on films like those of training and on each kind of other film, one row per kind.

    Args:
        inside: (n,) scores, larger = more out of distribution.
        outside: kind -> (m,) scores.
        name: of the score.
        bins: number of bars.

    Raises:
        CalibrationError: scores that are not finite, no other kind.
    """
    if not outside:
        raise CalibrationError("nothing to compare with: give at least one kind of outside film")
    reference, _ = checked_scores(inside, np.zeros(np.size(inside)), "outside")
    others = {kind: checked_scores(scores, np.ones(np.size(scores)), "outside")[0] for kind, scores in outside.items()}
    together = np.concatenate([reference, *others.values()])
    low, high = np.quantile(together, [0.002, 0.998])
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    with settings():
        made, axes = figure(4.8, 0.7 + 1.35 * len(others), len(others), 1, sharex=True)
        for axis, (kind, scores) in zip(axes, others.items(), strict=True):
            area = auroc(np.concatenate([reference, scores]), np.repeat([0, 1], [reference.size, scores.size]))
            for index, (label, values) in enumerate((("in distribution", reference), (kind, scores))):
                hatched_shares(axis, values, edges, index, f"{label} ({values.size})")
            axis.set_title(f"{kind}: AUROC {area:.3f} of {name}")
            axis.set_ylabel("share")
            axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.2, handleheight=1.2)
        axes[-1].set_xlabel(f"{name} (larger = less sure)")
    return made


def decision_curves(curves: Mapping[str, DecisionCurve]) -> Figure:
    """Net benefit against risk threshold, beside treating all and none.

    Args:
        curves: name -> curve without resamples, all at one prevalence.

    Raises:
        CalibrationError: no curve, curves of several prevalences, or curves of resamples.
    """
    shown = list(curves.values())
    if not shown or len({curve.prevalence for curve in shown}) != 1 or any(np.ndim(c.subject) != 1 for c in shown):
        raise CalibrationError("give at least one decision curve, all at one prevalence, without resamples")
    prevalence = shown[0].prevalence
    with settings():
        made, (axis,) = figure(5.8, 3.2)
        for index, (name, curve) in enumerate(curves.items()):
            style = look(index)
            axis.plot(curve.thresholds, curve.subject, color=style.color, linestyle=style.line, label=name)
        axis.plot(
            shown[0].thresholds,
            shown[0].treat_all,
            color=BLACK,
            linewidth=0.9,
            linestyle=(0, (1, 2)),
            label="treat all",
        )
        axis.axhline(0, color=GREY, linewidth=0.9, label="treat none")
        axis.set(
            xlabel="risk at which one would treat",
            ylabel="net benefit per film",
            xlim=(0, 1),
            ylim=(-0.25 * prevalence, 1.05 * prevalence),
            title=f"Pneumonia at a prevalence of {100 * prevalence:.0f} %",
        )
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.2)
    return made
