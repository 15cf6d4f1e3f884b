"""How many images of a film are in use at once while it is perturbed? What `predictions.pieces.needed` is held against.

    uv run python -m tests.benchmarks.perturbation_memory FILMS [--native]

A process whose freed memory goes back at once (glibc, Linux); the peak of its resident memory over what it was, in
images of the film that is acted on, float32, without the film itself; severities 1, 3 and 5 of the standard grid, and
what is remembered of the film afterwards. On a 16-bit film of 3056 x 2544 (31 MB; 5 MB averaged down):

    decoding (DICOM)                         3.6
    bad_portable, photon noise              10 to 12.3    of these 4.2 remembered
    aspect_stretch, edge_enhancement         6 to 8
    compression, clahe, bit depth            5 to 6
    white-outs, sham, diffuse               20 to 25     11 to 14.5 remembered: what is the same for every severity
    grids, stripes                          12 to 17      5
    scatter, tube voltage, beam             10 to 12      4
    all else                                 4 to 9       2

White-outs took 16 to 20, with 6 to 8 remembered, before four images of a film of up to 2 million pixels were kept for
the next severity; of a larger one none is (`coarse.REMEMBERED`), and what they need besides is that of 390,000 pixels,
115 MB at any size. 40 such images are counted for them (`predictions.pieces.needed`).

At 4096 x 4096 as stored (`--native`, 67 MB) no perturbation takes more than 14.7. All that is remembered of a film
after the whole grid: 23 images, which `REMEMBERED` bounds.

Peak resident memory of predicting the quick grid, bundled:fragile, of which 1.0 GB is Python with torch for CUDA and
all that is imported; before large films were counted in bytes, after, and since what decoding a film needed is handed
back before it is perturbed; two cores:

    6 films of 3056 x 2544    2.23 GB    1.88 GB    1.72 GB
    3 films of 4096 x 4096    -          1.93 GB    1.78 GB

An attack on one whole film (`linf/film`, quick and standard, bundled:fragile at 3056 x 2544) held 14.5 images of it at
once beside the network's own and took 15 s of the processor; strip by strip 9.9 images and 8 s, with the same numbers
(`tests/robustness/attacks/test_memory.py` holds them to that). Against another subject 16 such films were changed at
once, whatever their size; now as many as have 32 MB.

What a stage had freed the next one filled: heap that was trimmed keeps its places, images of a film were put into them
rather than mapped, and within one pass of an attack all of them were touched. Since large images are mapped wherever
they are made, and idle memory is handed back after decoding and between passes, runs peak at (16-bit DICOM and JPEG,
two cores with other work; 1.03 GB of it is Python with torch for CUDA and all that is imported, 1.13 GB with the
stand-in of 3.4 M parameters loaded, 1.30 GB after its forward pass of 16 films, 1.60 GB after the backward pass):

                                                         before    now
    quick, 4 films of 4096 x 4096, stand-in, whole run   3.20 GB   2.67 GB   predicting 2.14, before 2.59; drawing 2.67
    quick, as stored, 3 films of 4096 x 4096, whole run  -         2.71 GB   stand-in
    standard, 3 films of 3056 x 2544, whole run          -         2.16 GB   stand-in
    full, 3 films of 3056 x 2544, whole run              -         2.32 GB   stand-in
    standard, as stored, 3 films of 3056 x 2544,         -         2.27 GB   bundled:fragile, claims about bad films
    full, as stored, 3 films of 3056 x 2544, grids       -         2.46 GB   bundled:fragile
    quick, as stored, 3 films of 4096 x 4096, grids      -         2.94 GB   bundled:fragile
    quick, grids and classes, 10 films of 1344 x 968     -         1.58 GB   bundled:fragile
    the same of 100 films                                -         1.64 GB   4 % more

Whole runs have attacks, saliency, report and page of films. Of the first, beside Python, the libraries and the loaded
network that is 1.54 GB, and 1.9 GB of films of 4096 x 4096 as stored; with the libraries counted, more than 2.0 GB: the
bound holds in the first sense only. In the attack on a whole film ten images of it remain (.67 GB). After that
measurement two more images are let go between the films of an attack, and neither copies of them nor the PNG of the
film itself are made, which the next three rows have.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from pathlib import Path

import torch

from robustness import presets
from robustness.content_cache import forget, held
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.predictions.conditions import changed_in, images, parse
from suites.harness.predictions.resolution import AS_STORED, Resolution
from suites.harness.subjects.preprocessing import REPOSITORY


def resident(what: str) -> int:
    """Bytes by the kernel's count: `VmRSS` now, `VmHWM` at the most since it was reset."""
    return int(Path("/proc/self/status").read_text().split(f"{what}:")[1].split()[0]) * 1024


def reset() -> int:
    """Begin to look for a peak; the bytes that are there already."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def main() -> None:
    """Print a line for every perturbation, the dearest first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("films")
    parser.add_argument("--native", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    libc = ctypes.CDLL(None)
    libc.mallopt(-3, 1 << 16)  # large blocks go back at once, as the suite does not have it
    libc.mallopt(-1, 1 << 16)
    cohort = load_cohort(asked.films)
    before = reset()
    film = cohort.decode(cohort.rows()[0])
    print(f"{film.pixels.shape}, decoding {(resident('VmHWM') - before) / film.pixels.nbytes:.1f} images")
    stored = images(film)
    working = (AS_STORED if asked.native else Resolution.enough_for([REPOSITORY])).working(*stored)
    found: dict[str, list[float]] = {}
    for name, severity in presets.get("standard"):
        if severity not in (1, 3, 5):
            continue
        condition = parse(f"{name}@{severity}")
        pixels, lungs = stored if condition.native else working
        forget()
        before = reset()
        finer = min(stored[0].shape) / min(pixels.shape)
        ((_, views, _),) = changed_in(pixels, [condition], "film", seed=0, lungs=lungs, finer=finer)
        if views is not None:
            REPOSITORY(views)
        peak = (resident("VmHWM") - before) / pixels.nbytes
        most = found.setdefault(name, [0.0, 0.0])
        found[name] = [max(most[0], peak), max(most[1], held() / pixels.nbytes)]
    for name, (peak, kept) in sorted(found.items(), key=lambda item: -item[1][0]):
        print(f"{name:32s} {peak:5.1f} images, {kept:4.1f} remembered")


if __name__ == "__main__":
    if sys.platform != "linux" or not Path("/proc/self/clear_refs").exists():
        sys.exit("peaks are read from /proc, which this system does not have")
    main()
