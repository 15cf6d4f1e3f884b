"""Is a perturbed film one that a hospital could have made? The same statistic on films as taken, perturbed, and real.

    CHEST_XRAY_SHARED=... uv run python -m tests.benchmarks.beside_real             # prints; five minutes
    CHEST_XRAY_SHARED=... uv run python -m tests.benchmarks.beside_real --write     # and renews what the cards quote
    CHEST_XRAY_SHARED=... uv run python -m tests.benchmarks.beside_real 'grid_*'    # some perturbations only

Films of `start` are measured as they are and perturbed at severities 1, 3 and 5; beside them real films of `beside`, of
which the metadata say that they have the property, or their own pixels (then the words say so). A severity is `inside`
where the median of the perturbed films lies between the 5th and 95th percentile of the films beside, `within all`
where it lies between the 1st and 99th of all real films here, else `beyond`. Nothing is kept of a film but its numbers;
`robustness/beside_real.csv` holds medians, quartiles and counts, and the cards quote them.
"""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from robustness import get, perturbation
from robustness.likeness import MEASURED
from robustness.perturbation import PerturbationUndefined
from robustness.preview import load_film
from tests.benchmarks.film_statistics import STATISTICS, Film

SEVERITIES = (1, 3, 5)
FILMS, SEED = 40, 0
"""Films that are perturbed, and what they are drawn with."""

CHILDREN, ADULTS = "normal children", "adults without finding, PA"
EVERY = "all real films here"
BESIDE: dict[str, tuple[str, int]] = {
    "children, all classes": ("children of all classes", 300),
    "children, bacterial": ("children with bacterial pneumonia", 200),
    "children, viral": ("children with viral pneumonia", 200),
    "adults, AP": ("adults' AP films", 200),
    "adults, supine": ("adults' supine AP films", 40),
    "adults, cases": ("adults' films of a collection of cases", 150),
    EVERY: ("all real films here", 700),
}
"""Sets of real films: words, and most films of it that are measured."""

Place = tuple[str, str, str]
"""Statistic, films that are perturbed, films beside."""

ALL, WHITE = "children, all classes", "children, bacterial"
PLACES: dict[str, Sequence[Place]] = {
    "underexposure": [("noise", CHILDREN, EVERY)],
    "underexposure_stress": [("noise", CHILDREN, EVERY)],
    "underexposure_fixed_window": [("typical", CHILDREN, EVERY), ("clipped", CHILDREN, EVERY)],
    "overexposure_fixed_window": [("typical", CHILDREN, EVERY), ("clipped", CHILDREN, EVERY)],
    "tube_voltage": [("width", CHILDREN, EVERY), ("detail", CHILDREN, EVERY)],
    "electronic_noise": [("noise", CHILDREN, EVERY), ("slope", CHILDREN, EVERY)],
    "bad_portable": [("detail", ADULTS, "adults, AP"), ("noise", ADULTS, "adults, AP")],
    "scatter": [("width", ADULTS, "adults, AP"), ("detail", ADULTS, "adults, AP")],
    "window_widening": [("width", CHILDREN, EVERY)],
    "gamma_low": [("typical", CHILDREN, EVERY)],
    "gamma_high": [("typical", CHILDREN, EVERY)],
    **{name: [("lines", CHILDREN, EVERY)] for name in ("grid_stripes", "grid_crossed", "grid_lines")},
    "grid_cutoff": [("shading", ADULTS, "adults, AP")],
    **{name: [("detail", ADULTS, "adults, AP")] for name in ("grid_off_centre", "grid_tilt")},
    **{name: [("pale sides", ADULTS, "adults, AP")] for name in ("grid_off_focus", "grid_upside_down")},
    "backscatter_ghost": [("shading", ADULTS, "adults, AP")],
    "ecg_leads": [("ridges", ADULTS, "adults, supine")],
    "tubes": [("ridges", ADULTS, "adults, supine")],
    "collimation": [("frame", CHILDREN, ALL)],
    "markers": [("letters", ADULTS, "adults, AP")],
    "patient_rotation": [("midline", ADULTS, "adults, AP")],
    "roll": [("lean", ADULTS, "adults, AP")],
    "magnification": [("heart", ADULTS, "adults, AP")],
    "low_inspiration": [("chest", ADULTS, "adults, AP"), ("heart", ADULTS, "adults, AP")],
    "jpeg_quality": [("blocking", CHILDREN, EVERY)],
    "low_resolution": [("edges", CHILDREN, EVERY)],
    "aspect_squeeze": [("aspect", CHILDREN, ALL)],
    "aspect_stretch": [("aspect", CHILDREN, "children, bacterial")],
    "softening": [("edges", CHILDREN, WHITE), ("laplacian", CHILDREN, WHITE)],
    "sharpening": [("laplacian", CHILDREN, EVERY)],
    "edge_enhancement": [("coarse", CHILDREN, EVERY)],
    "clahe": [("coarse", CHILDREN, EVERY), ("width", CHILDREN, EVERY)],
    "scan_border": [("frame", CHILDREN, EVERY)],
    "bit_depth": [("greys", CHILDREN, EVERY)],
    "inversion": [("polarity", CHILDREN, EVERY)],
    **{
        name: [("whiter side", CHILDREN, "white"), ("ribs in white", CHILDREN, "white")]
        for name in ("whiteout_lobar", "whiteout_effusion", "whiteout_collapse", "whiteout_mass", "whiteout_total")
    },
    "whiteout_bilateral": [("darker side", CHILDREN, "children, viral")],
    "sham_opacity": [("clipped", CHILDREN, EVERY)],
    "diffuse_dose_matched": [("darker side", CHILDREN, "children, viral")],
    "stripes_as_white_noise": [("noise", CHILDREN, EVERY), ("lines", CHILDREN, EVERY)],
    "stripes_as_band_noise": [("coarse", CHILDREN, EVERY), ("lines", CHILDREN, EVERY)],
    "brightness_shift": [("typical", CHILDREN, EVERY), ("clipped", CHILDREN, EVERY)],
    "resave": [("laplacian", CHILDREN, EVERY)],
    **{
        f"medmnistc_{name}": [("noise", CHILDREN, EVERY)]
        for name in ("gaussian_noise", "speckle_noise", "shot_noise", "impulse_noise")
    },
    "medmnistc_pixelate": [("laplacian", CHILDREN, EVERY)],
    "medmnistc_jpeg_compression": [("blocking", CHILDREN, EVERY)],
    "medmnistc_gaussian_blur": [("edges", CHILDREN, EVERY)],
    **{
        f"medmnistc_{name}": [("typical", CHILDREN, EVERY)]
        for name in ("brightness_up", "brightness_down", "gamma_corr_up", "gamma_corr_down")
    },
    **{f"medmnistc_{name}": [("width", CHILDREN, EVERY)] for name in ("contrast_up", "contrast_down")},
}
"""Every perturbation of ours -> what is measured of it."""

WORDS = {"white": "the 40 of 200 films of children with bacterial pneumonia whose sides differ most"}


def shared() -> Path:
    """Folder of the real films.

    Raises:
        SystemExit: CHEST_XRAY_SHARED does not name it.
    """
    if not (place := os.environ.get("CHEST_XRAY_SHARED")):
        raise SystemExit("CHEST_XRAY_SHARED must name the folder of the real films")
    return Path(place) / "data"


@cache
def table() -> pd.DataFrame:
    """One row per real frontal film: path, set it belongs to."""
    native = pd.read_csv(shared() / "kermany_native/metadata.csv")
    native["path"] = [shared() / "kermany_native" / file for file in native["file"]]
    native["set"] = "child " + native["label"].map(lambda label: label.split("_")[0])
    adults = pd.read_csv(shared() / "external/metadata.csv")
    adults = adults[adults["view"] != "L"].reset_index(drop=True)
    adults["path"] = [shared() / "external" / file for file in adults["file"]]
    nih = adults["dataset"].str.startswith("NIH")
    adults["set"] = np.where(nih, "nih " + adults["view"], "cidc " + adults["view"])
    adults.loc[nih & (adults["view"] == "PA") & (adults["finding"] == "No Finding"), "set"] = "nih PA normal"
    return pd.concat([native, adults])[["path", "set"]].reset_index(drop=True)


@cache
def paths(of: str, most: int) -> tuple[Path, ...]:
    """Files of a set of films, drawn with SEED."""
    belongs = {
        CHILDREN: lambda name: name == "child normal",
        ADULTS: lambda name: name == "nih PA normal",
        "children, all classes": lambda name: name.startswith("child"),
        "children, bacterial": lambda name: name == "child bacterial",
        "children, viral": lambda name: name == "child viral",
        "adults, AP": lambda name: name == "nih AP",
        "adults, supine": lambda name: name == "cidc AP Supine",
        "adults, cases": lambda name: name.startswith("cidc"),
        EVERY: lambda _: True,
    }[of]
    rows = table()[table()["set"].map(belongs)]
    return tuple(rows["path"].sample(min(most, len(rows)), random_state=SEED))


@cache
def film(path: Path) -> Film:
    """A film in floats."""
    return load_film(path).numpy()


@cache
def numbers(statistic: str, of: str) -> tuple[float, ...]:
    """A statistic of all real films of a set."""
    if of == "white":
        chosen = sorted(
            paths("children, bacterial", BESIDE["children, bacterial"][1]), key=lambda path: -difference(film(path))
        )[:40]
    else:
        chosen = list(paths(of, BESIDE[of][1] if of in BESIDE else FILMS))
    found = [STATISTICS[statistic].of(film(path)) for path in chosen]
    return tuple(number for number in found if np.isfinite(number))


def difference(one: Film) -> float:
    """How much whiter one side is than the other, of the mediastinum."""
    return STATISTICS["whiter side"].of(one) - STATISTICS["darker side"].of(one)


def perturbed(name: str, severity: int, statistic: str, start: str) -> list[float]:
    """A statistic of films after a perturbation; films it is undefined for are left out."""
    found = []
    for path in paths(start, FILMS):
        try:
            changed = get(name)(torch.from_numpy(film(path))[None], severity, [path.name], seed=SEED)[0]
        except PerturbationUndefined:
            continue
        found.append(STATISTICS[statistic].of(changed.numpy()))
    return [number for number in found if np.isfinite(number)]


def verdict(value: float, beside: Sequence[float], every: Sequence[float]) -> str:
    """Where a median lies: inside the films beside, within all real films, or beyond these too."""
    for word, values, tail in (("inside", beside, 5.0), ("within all", every, 1.0)):
        low, high = np.percentile(values, [tail, 100.0 - tail])
        if low <= value <= high:
            return word
    return "beyond"


def _quartiles(values: Sequence[float], digits: int) -> list[float]:
    return [round(float(one), digits) for one in np.percentile(values, [25, 50, 75])]


def row(name: str, place: Place) -> dict[str, object]:
    """One line of the table."""
    statistic, start, beside = place
    digits = STATISTICS[statistic].digits
    made = {severity: perturbed(name, severity, statistic, start) for severity in SEVERITIES}
    real, taken, every = numbers(statistic, beside), numbers(statistic, start), numbers(statistic, EVERY)
    line: dict[str, object] = {
        "family": get(name).family,
        "perturbation": name,
        "version": get(name).version,
        "statistic": STATISTICS[statistic].words,
        "unit": STATISTICS[statistic].unit,
        "start": start,
        "films": min(map(len, made.values())),
    }
    for key, values in (("taken", taken), *((f"severity {severity}", values) for severity, values in made.items())):
        line[f"{key} low"], line[key], line[f"{key} high"] = _quartiles(values, digits)
    line["beside"] = WORDS.get(beside) or BESIDE[beside][0]
    line["beside films"] = len(real)
    line["beside low"], line["beside median"], line["beside high"] = _quartiles(real, digits)
    line["beside 5 %"], line["beside 95 %"] = (round(float(one), digits) for one in np.percentile(real, [5, 95]))
    for severity, values in made.items():
        line[f"verdict {severity}"] = verdict(float(np.median(values)), real, every)
    return line


def _span(line: dict[str, object], key: str) -> str:
    return f"{line[key]} [{line[key + ' low']}-{line[key + ' high']}]"


def printed(line: dict[str, object]) -> str:
    """A line of the table for reading."""
    made = "  ".join(
        f"{severity}: {_span(line, f'severity {severity}')} {line[f'verdict {severity}']}" for severity in SEVERITIES
    )
    return (
        f"{line['perturbation']:26} {line['statistic']} {line['unit']}\n"
        f"    {line['start']} {_span(line, 'taken')}  {made}\n"
        f"    {line['beside']} (n={line['beside films']}) {line['beside median']} "
        f"[{line['beside low']}-{line['beside high']}], 5-95 % {line['beside 5 %']} to {line['beside 95 %']}"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    patterns = [word for word in sys.argv[1:] if not word.startswith("-")] or ["*"]
    lines = []
    for each in perturbation.names():
        if any(fnmatch.fnmatchcase(each, pattern) for pattern in patterns):
            for where in PLACES[each]:
                lines.append(row(each, where))
                print(printed(lines[-1]), flush=True)
    if "--write" in sys.argv[1:]:
        renewed = pd.DataFrame(lines)
        if MEASURED.exists():
            kept = pd.read_csv(MEASURED)
            renewed = pd.concat([kept[~kept["perturbation"].isin(renewed["perturbation"])], renewed])
        order = {name: at for at, name in enumerate(perturbation.names())}
        renewed.sort_values("perturbation", key=lambda names: names.map(order), kind="stable").to_csv(
            MEASURED, index=False
        )
