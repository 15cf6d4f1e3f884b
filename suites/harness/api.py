"""How does one run the suites from Python? The same run as on the command line, from a notebook or a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from suites.harness.cache import default_folder
from suites.harness.claims import Claim, load_claims
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.external import load_external
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.cohorts.probes import load_probes
from suites.harness.evaluation import Evaluation
from suites.harness.local_paths import spec_without_folders
from suites.harness.record import PAGE
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.naming import with_names
from suites.harness.subjects.subject import Subject
from suites.harness.subjects.temperature_scaling import with_temperatures


def evaluate(
    subject: str | Subject | Sequence[str | Subject],
    cohort: str | Cohort = "phantom",
    *,
    claims: Path | Sequence[Claim] | None = None,
    profile: str = "quick",
    preset: str | None = None,
    resolution: Literal["working", "native"] = "working",
    seed: int = 0,
    probes: Mapping[str, str | Cohort] | None = None,
    external: str | Cohort | Sequence[str | Cohort] = (),
    limit: int | None = None,
    device: str = "cpu",
    precision: Literal["float32", "tf32", "bf16"] = "float32",
    preprocessing: str | None = None,
    temperature: str | Path | Sequence[str | Path] = (),
    name: str | Sequence[str] = (),
    cache: Path | None = None,
    quiet: bool = True,
    workers: int = 1,
) -> Evaluation:
    """Judge subjects on a cohort and return the finished run.

    Args:
        subject: a spec such as `published` or a folder, a `Subject`, or several of them to compare.
        cohort: a spec or a `Cohort`.
        claims: a TOML file, or claims; by default the project's whole table.
        profile: `quick`, `standard` or `full`.
        preset: one of `robustness.presets.names()`: a whole grid of perturbations beside what the claims need.
        resolution: `working`, at which films are perturbed no finer than the subjects can see, or `native`.
        seed: decides every random number.
        probes: role (`lateral`, `adult`, `unseen`) -> spec or cohort.
        external: specs or cohorts of labelled films of other hospitals.
        limit: about so many films, stratified by class, whole patients.
        device: where networks run.
        precision: what they multiply in.
        preprocessing: name of the recipe; by default each subject's own.
        temperature: files `temperature-*.json` of earlier reports; each is applied to the subject of its weights.
        name: how the report calls the subjects, one for each; by default each is named after its weights.
        cache: folder of finished predictions; by default the user's.
        quiet: no progress bar.
        workers: processes that predict, one for each GPU or sharing the cores; the numbers are the same.

    Returns:
        The run, with `.to_pandas()`, `.report(folder)` and `.judgements`.

    Raises:
        UsageProblem: something given cannot be used; the message says what and what to do.
    """
    given = [subject] if isinstance(subject, str | Subject) else list(subject)
    films = load_cohort(cohort)
    others = [external] if isinstance(external, str | Cohort) else list(external)
    table = claims if claims is None or isinstance(claims, Path) else list(claims)
    subjects = [load_subject(item, preprocessing=preprocessing, device=device, precision=precision) for item in given]
    files = [temperature] if isinstance(temperature, str | Path) else list(temperature)
    called = [name] if isinstance(name, str) else list(name)
    tempered = with_temperatures(subjects, [Path(file) for file in files])
    specs = [spec_without_folders(item) if isinstance(item, str) else item.name for item in given]
    told = {
        "claims": spec_without_folders(str(claims)) if isinstance(claims, Path) else None,
        "profile": profile, "preset": preset, "resolution": None if resolution == "working" else resolution,
        "seed": seed, "limit": limit, "device": None if device == "cpu" else device,
        "precision": None if precision == "float32" else precision, "preprocessing": preprocessing,
        "probes": {role: _spec(probe) for role, probe in (probes or {}).items()},
        "external": [_spec(one) for one in others],
        "temperature": [spec_without_folders(str(file)) for file in files], "name": called,
    }  # fmt: skip
    arguments = [repr(specs[0] if len(specs) == 1 else specs), repr(spec_without_folders(films.spec))]
    arguments += [f"{key}={value!r}" for key, value in told.items() if value not in (None, [], {})]
    beside = load_probes(films, probes or {})
    beside |= load_external(films, others, taken=[probe.name for probe in beside.values()])
    texts = [films.spec, *(str(one) for one in (*given, claims, *files) if isinstance(one, str | Path))]
    evaluation = Evaluation(
        subjects=with_names(tempered, called, taken=(PAGE, films.name)),
        cohort=films if limit is None else films.limited(limit, seed),
        claims=table if isinstance(table, list) else load_claims(table),
        probes=beside,
        profile=profile,
        preset=preset,
        resolution=resolution,
        seed=seed,
        cache=cache or default_folder(),
        quiet=quiet,
        workers=workers,
        command=f"evaluate({', '.join(arguments)})",
        shortened=any(spec_without_folders(text) != text for text in texts),
    )
    return evaluation.run()


def _spec(cohort: str | Cohort) -> str:
    return spec_without_folders(cohort if isinstance(cohort, str) else cohort.spec)
