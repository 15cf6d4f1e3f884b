"""What does the cohort itself allow? Its size, its copies, its patients, what its files betray without a lung."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from calibration import ood
from suites.harness import statistics
from suites.harness.claims import Claim, Measure, Result, Unit
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.counts import counted
from suites.harness.endpoints.dataset_scope import file_properties, shortcut_baselines
from suites.harness.endpoints.parameters import ClassName, Number, OneOf
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.errors import NotEvaluable, UsageProblem
from suites.harness.formatting.cells import percent, points, whole_percent
from suites.harness.formatting.wording import plain_name, spanned
from suites.harness.statistics import Resamples, Sampled, ranked

COUNT = "exact count"


def _exact(name: str, value: float, n: int, patients: int, estimator: str = COUNT, *, unit: Unit = "share") -> Measure:
    return Measure(
        name=name,
        condition="clean",
        unit=unit,
        estimate=value,
        low=value,
        high=value,
        n=n,
        patients=patients,
        estimator=estimator,
    )


def _all_splits(cohort: Cohort) -> Cohort:
    """Return the source's films of every split.

    Raises:
        NotEvaluable: there is only one split, or the cohort was made in Python.
    """
    try:
        whole = load_cohort(cohort.spec, split=None, uncertain=cohort.uncertain)
    except UsageProblem as problem:
        raise NotEvaluable(f"the other splits of {cohort.name} cannot be read: {problem}") from problem
    if whole.table["split"].nunique() < 2:
        raise NotEvaluable(f"{cohort.name} has one split only, so splits cannot be compared")
    return whole


@endpoint("test_set_half_width", about="cohort", parameters={"accuracy": Number(0.9, low=0.0, high=1.0)})
def half_width(cohort: Cohort, claim: Claim) -> Result:
    """Half the width of the interval that an accuracy of `accuracy` has on this many films, and patients."""
    accuracy = claim.parameters["accuracy"]
    halves = []
    for trials in (len(cohort), cohort.patients):
        interval = statistics.wilson(round(accuracy * trials), trials)
        halves.append((interval.high - interval.low) / 2)
    planned = f"Wilson score interval of an accuracy of {whole_percent(accuracy)}"
    mix = file_properties.class_mix(cohort.table)
    sizes = [points(size, signed=False) for size in (*halves, statistics.detectable_effect(0.1, len(cohort)))]
    return Result(
        effect=_exact(
            "accuracy_half_width",
            halves[0],
            len(cohort),
            cohort.patients,
            f"{planned}, films independent",
            unit="width",
        ),
        measures=[
            _exact(
                "accuracy_half_width_patients",
                halves[1],
                len(cohort),
                cohort.patients,
                f"{planned}, one film per patient",
                unit="width",
            )
        ],
        summary=(
            f"{counted(len(cohort), 'film')} of {counted(cohort.patients, 'patient')} pin an accuracy of "
            f"{whole_percent(accuracy)} down to "
            f"±{sizes[0]} points, or ±{sizes[1]} if films of one patient say the same thing. Where two subjects "
            f"differ in one call of ten, a difference in accuracy of less than {sizes[2]} points would go unseen more "
            "often than one time in five."
        ),
        tables={"Films and patients by class": mix},
    )


@endpoint("duplicate_share", about="cohort")
def duplicate_share(cohort: Cohort, _: Claim) -> Result:
    """Share of films that are byte-for-byte copies of another film of the cohort."""
    contents = file_properties.file_contents(cohort)
    groups = file_properties.duplicate_groups(contents)
    surplus = len(groups) - groups["group"].nunique()
    share = surplus / len(contents)
    return Result(
        effect=_exact("duplicate_share", share, len(contents), cohort.patients),
        summary=f"{surplus} of {len(contents)} films are copies of another one ({groups['group'].nunique()} groups).",
        tables={"Identical files": groups.drop(columns="content")} if len(groups) else {},
    )


@endpoint("patient_overlap", about="cohort")
def patient_overlap(cohort: Cohort, _: Claim) -> Result:
    """Share of the test patients that also occur in the training split, keyed by kind and number."""
    whole = _all_splits(cohort)
    table = file_properties.patient_overlap(whole.table)
    pair = table[(table["split_a"] == "train") & (table["split_b"] == "test")]
    if pair.empty:
        raise NotEvaluable(f"{cohort.name} has no train and test split")
    row = pair.iloc[0]
    share = float(row["shared"] / row["patients_b"])
    return Result(
        effect=_exact("patient_overlap", share, len(whole), whole.patients),
        summary=(f"{row['shared']} of {row['patients_b']} test patients also occur in train.{_by_number(row)}"),
        tables={"Patients shared between splits": table},
    )


def _by_number(row: pd.Series) -> str:
    """Return what the bare numbers of patients would say, where they are counted so that it is something else."""
    if not row["numbers_b"]:
        return ""
    return (
        f" Taken by the bare number alone it would seem to be {row['shared_numbers']} of {row['numbers_b']}: bacterial "
        "and viral films are counted separately, so the number is not the patient."
    )


@endpoint("class_mix_shift", about="cohort")
def class_mix_shift(cohort: Cohort, _: Claim) -> Result:
    """Total variation distance between the class mix of train and test; of findings the largest change of a share."""
    whole = _all_splits(cohort)
    if whole.findings:
        return _finding_mix_shift(whole)
    mix = file_properties.class_mix(whole.table)
    shares = mix.pivot_table(index="label", columns="split", values="share", fill_value=0.0)
    if not {"train", "test"} <= set(shares.columns):
        raise NotEvaluable(f"{cohort.name} has no train and test split")
    distance = float((shares["train"] - shares["test"]).abs().sum() / 2)
    return Result(
        effect=_exact("class_mix_distance", distance, len(whole), whole.patients, unit="width"),
        summary=(
            f"The class mix of test differs from train by {points(distance, signed=False)} points (total variation)."
        ),
        tables={"Class mix by split": mix},
    )


def _as_free_of_findings(cohort: Cohort, free: str) -> Cohort:
    """Return the films labelled with all findings, as free of any (the class `free`) or not.

    Raises:
        NotEvaluable: the films are all of one kind, or of none something is known.
    """
    truth = np.stack([cohort.finding(name) for name in cohort.findings])
    shown, known = (truth == 1).any(axis=0), (truth >= 0).all(axis=0)
    label = np.where(shown, "with a finding", np.where(known, free, ""))
    if len(kinds := set(label[label != ""])) < 2:
        told = f"all films of which something is known are {kinds.pop()}" if kinds else "nothing is known of any film"
        raise NotEvaluable(f"{told}, so nothing can be told apart")
    table = cohort.table.assign(label=label)
    return replace(cohort, table=table).select(table["label"] != "")


def _finding_mix_shift(whole: Cohort) -> Result:
    """Return how much more often the finding whose share changes most is positive in one split than in the other.

    Films of which the labels do not tell a finding are left out of its share.
    """
    splits = whole.table["split"].astype(str).to_numpy()
    if not {"train", "test"} <= set(splits):
        raise NotEvaluable(f"{whole.name} has no train and test split")
    rows = []
    for name in whole.findings:
        truth = whole.finding(name)
        known = [(splits == split) & (truth >= 0) for split in ("train", "test")]
        if all(one.any() for one in known):
            train, test = (float(truth[one].mean()) for one in known)
            rows.append({"finding": name, "share in train": train, "share in test": test, "change": abs(test - train)})
    if not rows:
        raise NotEvaluable(f"no finding of {whole.name} is labelled both in train and in test")
    table = pd.DataFrame(rows).sort_values("change", ascending=False, kind="stable")
    first = table.iloc[0]
    return Result(
        effect=_exact("finding_share_change", float(first["change"]), len(whole), whole.patients, unit="width"),
        summary=(
            f"{plain_name(str(first['finding']))} is on {percent(first['share in train'])} of the films of train that "
            f"are labelled with or without it, and on {percent(first['share in test'])} of those of test; no finding's "
            "share changes more."
        ),
        tables={"Share of films with each finding by split": table.reset_index(drop=True)},
    )


@endpoint(
    "shortcut_auroc",
    about="cohort",
    parameters={"class": ClassName("normal"), "cues": OneOf("file", tuple(shortcut_baselines.CUE_SETS))},
)
def shortcut_auroc(cohort: Cohort, claim: Claim) -> Result:
    """AUROC of `class` against the rest, predicted from file properties only, no patient on both sides of a fold.

    Of many films a random sample is looked at, whole patients of every class; the interval is that of the sample.
    """
    positive, cues = claim.parameters["class"], claim.parameters["cues"]
    if cohort.findings:
        cohort = _as_free_of_findings(cohort, positive)
    sample = cohort.limited(file_properties.MOST_AUDITED, seed=0)
    properties = file_properties.audit_files(sample).properties
    probabilities = shortcut_baselines.shortcut_probabilities(properties, cues)
    column = f"p_{positive}"
    if column not in probabilities:
        raise NotEvaluable(f"{cohort.name} has no films of {positive}")
    truth = (probabilities["label"] == positive).to_numpy()
    scores = probabilities[column].to_numpy()
    resamples = Resamples.draw(probabilities["patient"], probabilities["label"], seed=0)
    estimate = float(np.asarray(ood.auroc(scores, truth)))
    replicates, left_out, coarse = ranked(partial(ood.auroc, scores, truth), resamples)
    auroc = Sampled(estimate, replicates, resamples.patients, left_out=left_out, coarse=float(coarse))
    effect = measured(
        "auroc",
        f"{cues} properties only",
        auroc,
        len(truth),
        unit="plain",
        smallest=int(min(truth.sum(), (~truth).sum())),
    )
    return Result(
        effect=effect,
        p_beyond=beyond(auroc, claim),
        p_within=within(auroc, claim),
        summary=(
            f"Properties of the files alone, without looking at a lung, tell {plain_name(positive)} films from the "
            f"rest with an AUROC of {spanned(effect.estimate, effect.low, effect.high)}. "
            f"A subject must beat that to prove anything.{_sampled(sample, cohort)}"
        ),
        tables={
            "Scores of the baseline": shortcut_baselines.shortcut_scores(probabilities),
            "Each property alone": shortcut_baselines.single_cue_auroc(properties),
        },
    )


def _sampled(sample: Cohort, cohort: Cohort) -> str:
    """Return what must be known of a sample that is not the whole cohort."""
    if len(sample) == len(cohort):
        return ""
    return (
        f" This was measured on a random sample of {len(sample):,} of the {len(cohort):,} films (whole patients, by "
        "class), and the interval is that of the sample."
    )
