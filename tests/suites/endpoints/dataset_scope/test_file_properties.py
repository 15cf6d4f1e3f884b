"""The audit finds what is planted in the files, and nothing where nothing is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from suites.harness.claims_table import load_claims
from suites.harness.cohorts.cohort import COLUMNS, Cohort, Film
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.endpoints import get
from suites.harness.endpoints.dataset_scope import file_properties
from suites.harness.endpoints.dataset_scope.file_properties import (
    audit_files,
    class_mix,
    duplicate_groups,
    file_contents,
    jpeg_quality,
    patient_overlap,
    sharpness,
)
from suites.harness.endpoints.dataset_scope.shortcut_baselines import (
    CUE_SETS,
    shortcut_probabilities,
    shortcut_scores,
    single_cue_auroc,
)
from suites.harness.errors import NotEvaluable


def smooth(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def save(root: Path, name: str, pixels: np.ndarray, quality: int = 90) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"quality": quality} if path.suffix == ".jpeg" else {}))


@pytest.mark.parametrize("quality", [5, 30, 49, 50, 75, 90, 96, 100])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_quality_is_read_from_the_tables(tmp_path: Path, quality: int, mode: str) -> None:
    Image.fromarray(smooth(0)).convert(mode).save(tmp_path / "film.jpeg", quality=quality)
    with Image.open(tmp_path / "film.jpeg") as image:
        assert jpeg_quality(np.array(image.quantization[0])) == quality


def test_properties_are_those_of_the_file(tmp_path: Path) -> None:
    save(tmp_path, "a.jpeg", smooth(0), quality=77)
    save(tmp_path, "b.png", np.dstack([smooth(1)] * 3))
    (tmp_path / "c.png").write_bytes(b"broken")
    ticks: list[int] = []
    audit = audit_files(load_cohort(str(tmp_path)), tick=lambda: ticks.append(1))
    first, second = audit.properties.to_dict("records")
    assert len(ticks) == 3
    assert (first["width"], first["height"], first["aspect"], first["mode"]) == (80, 60, 80 / 60, "L")
    assert first["bytes"] == (tmp_path / "a.jpeg").stat().st_size
    assert first["bytes_per_pixel"] == first["bytes"] / 4800
    assert (first["jpeg_quality"], first["colour"], second["colour"]) == (77, 0, 1)
    assert np.isnan(second["jpeg_quality"])
    assert audit.excluded.to_dict("records")[0]["file"] == "c.png"
    assert "not an image" in audit.excluded["reason"][0]


def test_surface_cues_mean_what_they_say(tmp_path: Path) -> None:
    bordered = np.full((255, 255), 200, dtype=np.uint8)
    bordered[:, :60] = bordered[:, -60:] = 0
    save(tmp_path, "a.png", np.full((255, 255), 100, dtype=np.uint8))
    save(tmp_path, "b.png", bordered)
    flat, dark = audit_files(load_cohort(str(tmp_path))).properties.to_dict("records")
    assert (flat["sharpness"], flat["border_dark"], flat["sd_grey"]) == (0, 0, 0)
    assert flat["mean_grey"] == pytest.approx(100)
    assert 0.6 < dark["border_dark"] < 0.95
    checkerboard = np.indices((10, 10)).sum(axis=0) % 2
    assert sharpness(checkerboard.astype(float)) == 4


def test_identical_files_are_grouped_and_similar_ones_paired(tmp_path: Path) -> None:
    for seed in range(5):
        save(tmp_path, f"train/normal/person{seed}_{seed}.png", smooth(seed))
    save(tmp_path, "test/virus/copy.png", smooth(2))
    save(tmp_path, "test/virus/recompressed.jpeg", smooth(3), quality=60)
    cohort = load_cohort(str(tmp_path), split=None)
    audit = audit_files(cohort)
    groups = duplicate_groups(audit.properties)
    assert groups["id"].tolist() == ["test/virus/copy.png", "train/normal/person2_2.png"]
    assert groups["group"].tolist() == [1, 1]
    assert duplicate_groups(file_contents(cohort)).equals(groups)


def table(*rows: tuple[str, str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["split", "label", "patient"])
    frame["id"] = [f"{index}.png" for index in range(len(frame))]
    return frame


def test_patients_in_two_splits_are_counted_and_the_wrong_key_shown() -> None:
    overlap = patient_overlap(
        table(
            ("train", "b", "person1_bacteria"),
            ("train", "b", "person2_bacteria"),
            ("test", "v", "person1_virus"),
            ("test", "b", "person2_bacteria"),
            ("test", "b", "person2_bacteria"),
        )
    ).to_dict("records")
    assert overlap == [
        {
            "split_a": "train",
            "split_b": "test",
            "patients_a": 2,
            "patients_b": 2,
            "shared": 1,
            "films": 3,
            "numbers_b": 2,
            "shared_numbers": 2,
        }
    ]


def test_class_mix_adds_up_per_split() -> None:
    mix = class_mix(table(("test", "n", "1"), ("test", "n", "1"), ("test", "v", "2"), ("train", "n", "3")))
    assert mix[["split", "label", "films", "patients"]].values.tolist() == [
        ["train", "n", 1, 1],
        ["test", "n", 2, 1],
        ["test", "v", 1, 1],
    ]
    assert mix.groupby("split")["share"].sum().tolist() == [1, 1]


def test_films_that_are_no_files_are_not_audited() -> None:
    row = dict.fromkeys(COLUMNS, "x")
    film = Film(pixels=np.zeros((32, 32), dtype=np.float32), content="x")
    cohort = Cohort(name="phantoms", spec="phantom", table=pd.DataFrame([row]), decode=lambda _: film)
    for audit in (audit_files, file_contents):
        with pytest.raises(NotEvaluable, match="phantoms"):
            audit(cohort)


def cues(*, separable: bool, films: int = 240) -> pd.DataFrame:
    """Properties in which compression tells the class, or nothing does."""
    random = np.random.default_rng(0)
    label = np.array(["normal", "virus", "bacteria"])[np.arange(films) % 3]
    frame = pd.DataFrame({cue: random.normal(size=films) for cue in CUE_SETS["file_and_surface"]})
    frame["jpeg_quality"] = np.where(label == "normal", 96.0, 75.0) if separable else np.nan
    return frame.assign(
        id=[f"{i}.png" for i in range(films)], label=label, patient=[f"p{i // 2}" for i in range(films)]
    )


def test_a_planted_shortcut_is_found() -> None:
    scores = shortcut_scores(shortcut_probabilities(cues(separable=True))).set_index("measure")["estimate"]
    assert scores["auroc_normal"] > 0.98
    assert scores["majority_accuracy"] == pytest.approx(1 / 3)
    single = single_cue_auroc(cues(separable=True)).set_index(["cue", "label"])["auroc"]
    assert single["jpeg_quality", "normal"] == 1
    assert single["jpeg_quality", "virus"] < 0.5


def test_no_shortcut_is_found_where_there_is_none() -> None:
    scores = shortcut_scores(shortcut_probabilities(cues(separable=False), "file_and_surface")).set_index("measure")[
        "estimate"
    ]
    assert abs(scores["auroc_normal"] - 0.5) < 0.12
    assert "jpeg_quality" not in set(single_cue_auroc(cues(separable=False))["cue"])


def test_a_patients_films_never_teach_their_own_prediction() -> None:
    frame = cues(separable=False)
    patient = frame["patient"].str[1:].astype(int)
    frame["bytes"] = patient + 0.0  # identifies the patient, hence the label if folds leaked
    frame["label"] = np.where(np.random.default_rng(1).permutation(120)[patient] % 2, "normal", "virus")
    scores = shortcut_scores(shortcut_probabilities(frame)).set_index("measure")["estimate"]
    assert abs(scores["auroc_normal"] - 0.5) < 0.15


def test_a_fit_on_other_films_and_the_same_answer_for_the_same_seed() -> None:
    frame = cues(separable=True)
    transferred = shortcut_probabilities(frame.head(30), train=frame)
    assert transferred["id"].tolist() == frame["id"].head(30).tolist()
    assert np.allclose(transferred[["p_bacteria", "p_normal", "p_virus"]].sum(axis=1), 1)
    assert shortcut_probabilities(frame, seed=3).equals(shortcut_probabilities(frame, seed=3))


def test_too_few_patients_or_classes_are_not_evaluable() -> None:
    with pytest.raises(NotEvaluable, match="bacteria has 5 patients"):
        shortcut_probabilities(cues(separable=True, films=15).assign(patient=[f"p{i}" for i in range(15)]))
    with pytest.raises(NotEvaluable, match="two classes"):
        shortcut_probabilities(cues(separable=True).assign(label="normal"))


def test_copies_are_found_without_reading_what_can_be_none(tmp_path: Path, monkeypatch) -> None:
    for seed in range(6):
        save(tmp_path, f"normal/person{seed}_{seed}.png", smooth(seed))
    cohort = load_cohort(str(tmp_path), split=None)
    long, end = b"x" * 50_000, b"y" * file_properties.END_BYTES
    contents = [b"one" + end, b"two" + end, b"two" + end, long + b"1", long + b"2", long + b"33"]
    for file, content in zip(cohort.table["file"], contents, strict=True):
        Path(file).write_bytes(content)
    read_whole = []
    monkeypatch.setattr(
        file_properties, "_content", lambda path, whole=file_properties._content: read_whole.append(path) or whole(path)
    )
    groups = duplicate_groups(file_contents(cohort))
    assert groups["id"].tolist() == cohort.table["id"].tolist()[1:3]
    assert [str(path) for path in read_whole] == cohort.table["file"].tolist()[:3]


def test_of_many_films_a_sample_is_audited_and_the_summary_says_so(tmp_path: Path, monkeypatch) -> None:
    for seed in range(60):
        save(tmp_path, f"{'normal' if seed % 2 else 'virus'}/person{seed}_{seed}.png", smooth(seed))
    cohort = load_cohort(str(tmp_path), split=None)
    (claim,) = (one for one in load_claims() if one.endpoint == "shortcut_auroc")
    whole = get(claim.endpoint)(cohort, claim)
    monkeypatch.setattr(file_properties, "MOST_AUDITED", 40)
    sampled = get(claim.endpoint)(cohort, claim)
    assert (whole.effect.n, sampled.effect.n) == (60, 40)
    assert "random sample" not in whole.summary
    assert "This was measured on a random sample of 40 of the 60 films (whole patients, by class)" in sampled.summary
