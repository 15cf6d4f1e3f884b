"""How does one run the suites from Python? The same run as on the command line, from a notebook or a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from suites.harness.cache.places import caches
from suites.harness.claims import Claim
from suites.harness.claims_table import load_claims
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
    uncertain: Literal["leave-out", "positive", "negative"] | None = None,
    finding_names: Mapping[str, str] | None = None,
    device: str = "cpu",
    precision: Literal["float32", "tf32", "bf16"] = "float32",
    preprocessing: str | None = None,
    temperature: str | Path | Sequence[str | Path] = (),
    name: str | Sequence[str] = (),
    cache: Path | str | None = None,
    quiet: bool = True,
    workers: int | str = 1,
    tolerance: float | None = None,
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
        uncertain: what films count as whose finding the labels call uncertain; by default they are left out.
        finding_names: finding of the subject -> finding of the films, where their names do not tell; "" for none.
        device: where networks run.
        precision: what they multiply in.
        preprocessing: name of the recipe; by default each subject's own.
        temperature: files `temperature-*.json` of earlier reports; each is applied to the subject of its weights.
        name: how the report calls the subjects, one for each; by default each is named after its weights.
        cache: folder of finished predictions, by default the user's; or an address such as `s3://bucket/folder`.
        quiet: no progress bar.
        workers: processes that predict, one for each GPU or sharing the cores, or a Ray cluster (`ray`,
            `ray://HOST:PORT`); the numbers are the same.
        tolerance: how far logits may lie apart on workers of other hardware, which the report names.

    Returns:
        The run, with `.to_pandas()`, `.report(folder)` and `.judgements`.

    Raises:
        UsageProblem: something given cannot be used; the message says what and what to do.
    """
    given = [subject] if isinstance(subject, str | Subject) else list(subject)
    settings = caches(cache)
    root = settings["cache"]
    films = load_cohort(cohort, uncertain=uncertain, cache=root)
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
        "seed": seed, "limit": limit, "uncertain": uncertain, "finding_names": dict(finding_names or {}),
        "device": None if device == "cpu" else device,
        "precision": None if precision == "float32" else precision, "preprocessing": preprocessing,
        "probes": {role: _spec(probe) for role, probe in (probes or {}).items()},
        "external": [_spec(one) for one in others],
        "tolerance": tolerance,
        "temperature": [spec_without_folders(str(file)) for file in files], "name": called,
    }  # fmt: skip
    arguments = [repr(specs[0] if len(specs) == 1 else specs), repr(spec_without_folders(films.spec))]
    arguments += [f"{key}={value!r}" for key, value in told.items() if value not in (None, [], {})]
    texts = [films.spec, *(str(one) for one in (*given, claims, *files) if isinstance(one, str | Path))]
    chosen = films if limit is None else films.limited(limit, seed)
    beside = load_probes(chosen, probes or {}, cache=root)
    beside |= load_external(chosen, others, taken=[probe.name for probe in beside.values()], cache=root)
    evaluation = Evaluation(
        subjects=with_names(tempered, called, taken=(PAGE, films.name)),
        cohort=chosen,
        claims=table if isinstance(table, list) else load_claims(table),
        probes=beside,
        finding_names=finding_names or {},
        profile=profile,
        preset=preset,
        resolution=resolution,
        seed=seed,
        **settings,
        quiet=quiet,
        workers=workers,
        tolerance=tolerance,
        command=f"evaluate({', '.join(arguments)})",
        shortened=any(spec_without_folders(text) != text for text in texts),
    )
    return evaluation.run()


def _spec(cohort: str | Cohort) -> str:
    return spec_without_folders(cohort if isinstance(cohort, str) else cohort.spec)
