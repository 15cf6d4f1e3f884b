"""The main job as a user runs it: pytest outcomes, exit codes, the report, and one clear line for every bad input."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

from suites.harness.claims import Verdict
from suites.harness.formatting import wording
from suites.harness.report.folder import MANIFEST
from tests.forked import pytest_run

ROOT = Path(__file__).parents[2]
FACTORY = """
import torch
from torch import nn
from suites.harness import Normalised, Preprocessing, Provenance, Subject

class Brightness(nn.Module):
    '''Calls a film by its mean grey: bacterial above .6, viral above .45, normal below.'''
    def forward(self, pixels):
        grey = pixels.mean(dim=(1, 2, 3))
        return 40 * torch.stack([grey - .6, .45 - grey, .075 - (grey - .525).abs()], dim=1)

def bright():
    return make(Brightness(), "brightness")

def dull():
    return make(Brightness(), "dull")

def broken():
    class Nan(Brightness):
        def forward(self, pixels):
            return super().forward(pixels) * (float("nan") if pixels.mean() > .5 else 1)
    return make(Nan(), "broken")

def make(network, name):
    return Subject(
        name=name, classes=("bacterial_pneumonia", "normal", "viral_pneumonia"),
        network=Normalised(network, mean=(0., 0., 0.), std=(1., 1., 1.)),
        provenance=Provenance(spec=name, format="user", source="test", sha256=name),
        preprocessing=Preprocessing(name="small", short_side=48, size=48),
    )
"""
LIMITATION = 'kind = "limitation"\nendpoint = "stress"\n'
REQUIREMENT = 'kind = "requirement"\nendpoint = "score"\nmeasure = "accuracy"\n'
GREY = {"bacterial_pneumonia": 0.7, "normal": 0.3, "viral_pneumonia": 0.52}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "toys.py").write_text(FACTORY)
    generator = np.random.default_rng(0)
    for label, grey in GREY.items():
        (folder / "films" / label).mkdir(parents=True)
        for number in range(24):
            pixels = np.clip(generator.normal(grey, 0.06, (64, 80)), 0, 1)
            Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / "films" / label / f"{label}{number}.png")
    (folder / "films" / "normal" / "damaged.png").write_bytes(b"no picture")
    (folder / "claims.toml").write_text(
        "\n".join(
            f'[[claim]]\nid = "{name}"\nsection = "S"\nstatement = "s."\n{rest}'
            for name, rest in {
                "classes.good": REQUIREMENT + "margin = 0.5\n",
                "classes.bad": REQUIREMENT + 'direction = "below"\nmargin = 0.5\n',
                "contrast.found": LIMITATION + 'condition = "gamma_high@5"\nmargin = 0.05\n',
                "contrast.absent": LIMITATION + 'condition = "clean"\nmargin = 0.4\n',
                "contrast.unclear": 'kind = "limitation"\nendpoint = "score"\nmeasure = "accuracy"\nmargin = 0.97\n',
                "grid.lost": LIMITATION + 'measure = "recall_mass"\ncondition = "clean"\nmargin = 0.05\n',
                "contrast.toomuch": LIMITATION + 'condition = "gamma_high@5"\nmargin = 0.05\ndocumented = 0.06\n',
            }.items()
        )
    )
    return folder


def run(place, *arguments, data="films", weights="toys:bright", claims="claims.toml", plain=False):
    words = [str(ROOT / "suites"), "-p", "no:cacheprovider", *(() if plain else ("-rA",))]
    words += [f"--weights={weights}", f"--data={place / data}", f"--cache={place / 'cache'}", f"--rootdir={ROOT}"]
    words += arguments
    if claims:
        words.append(f"--claims={place / claims}")
    # A run of its own, whatever options or workers this test itself runs under.
    outside = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment = outside | {"PYTHONPATH": f"{ROOT}{os.pathsep}{place}", "OMP_NUM_THREADS": "1"}
    return pytest_run(words, cwd=place, environment=environment)


@pytest.fixture(scope="module")
def whole(place):
    """The whole table judged once: a report in `out`, a card, JUnit in `out.xml`."""
    return run(
        place, "--report", "out", "--junitxml=out.xml", "--model-card=out.md", "--name=brightness", "--strict-verdicts"
    )


def test_verdicts_become_outcomes_and_a_report(place, whole):
    done, text = whole, whole.stdout
    assert done.returncode == 1, text + done.stderr
    outcomes = {
        "classes.good": "REQUIREMENT MET",
        "classes.bad": "FAILED",
        "contrast.found": "LIMITATION CONFIRMED",
        "contrast.absent": "LIMITATION NOT FOUND",
        "contrast.toomuch": "FAILED",
    }
    for name, outcome in outcomes.items():
        assert any(line.startswith(outcome) and f"[{name}-brightness]" in line for line in text.splitlines()), (
            name,
            text,
        )
    assert "inconclusive" in text
    assert "not evaluable" in text
    assert "Not a medical device" in text
    results = json.loads((place / "out" / "results.json").read_text())
    verdicts = {claim["id"]: claim["verdict"] for claim in results["claims"]}
    assert verdicts["classes.bad"] == "violated"
    assert verdicts["contrast.found"] == "supported"
    assert verdicts["grid.lost"] == "not_evaluable"
    assert results["cohort"]["n"] == 72
    assert "<html" in (place / "out" / "index.html").read_text()
    assert results["incomplete"] is None
    assert "ncomplete:" not in text + (place / "out" / "index.html").read_text() + (place / "out.xml").read_text()
    command = "uv run pytest suites/ --weights toys:bright --data films --claims claims.toml --name brightness"
    assert results["run"]["command"] == command, "nothing that is written, and no folder of this machine"


def test_nothing_that_is_published_names_a_folder_of_this_machine(place, whole):
    assert whole.returncode == 1
    files = [file for file in (place / "out").rglob("*") if file.is_file()]
    texts = [file for file in (*files, place / "out.md") if file.suffix not in (".png", ".jpg", ".webp")]
    assert {file.suffix for file in texts} >= {".html", ".json", ".csv", ".md", ".parquet"}
    named = [file.name for file in texts for folder in (place, ROOT) if str(folder).encode() in file.read_bytes()]
    assert named == []
    excluded = "<td>normal/damaged.png</td>"
    assert excluded in (place / "out" / "index.html").read_text(), "a film left out is named as films.csv would"


def test_junit_carries_verdict_effect_and_interval(place, whole):
    assert whole.returncode == 1
    results = json.loads((place / "out" / "results.json").read_text())
    cases = ET.parse(place / "out.xml").iter("testcase")
    told = {}
    for case in cases:
        properties = {item.get("name"): item.get("value") for item in case.iter("property")}
        told[properties["claim"]] = properties
    assert set(told) == {claim["id"] for claim in results["claims"]}
    for claim in results["claims"]:
        assert told[claim["id"]]["verdict_code"] == claim["verdict"]
        words = wording.VERDICTS[Verdict(claim["verdict"])].word.lower()
        assert told[claim["id"]]["verdict"].removesuffix(", beyond the documented size") == words
        assert told[claim["id"]]["subject"] == "brightness"
        if effect := claim["effect"]:
            found = [float(told[claim["id"]][name]) for name in ("effect", "low", "high", "margin", "n")]
            wanted = [effect["estimate"], effect["low"], effect["high"], claim["margin"], effect["n"]]
            assert found == pytest.approx(wanted)
    assert "effect" not in told["grid.lost"]


def test_junit_names_the_suite_where_a_claim_was_skipped_and_no_folder_of_this_machine(place, whole):
    assert whole.returncode == 1
    text = (place / "out.xml").read_text()
    skipped = [item.text for item in ET.fromstring(text).iter("skipped") if item.get("type") == "pytest.skip"]
    assert len(skipped) >= 2, "one inconclusive, one not evaluable"
    assert all(re.match(r"suites/test_\w+\.py:\d+: (inconclusive|not evaluable): ", told) for told in skipped), skipped
    assert [folder for folder in (place, ROOT, sys.prefix) if str(folder) in text] == []


def test_a_log_shows_the_plan_and_no_progress_of_a_short_run(whole):
    assert "plan: " in whole.stdout
    assert " films x conditions (73 films)" in whole.stdout
    assert "\x1b" not in whole.stdout
    assert "left of the run" not in whole.stdout


def test_two_subjects_two_cards(place):
    done = run(place, "--weights=toys:dull", "--model-card=card.md", "-k", "good")
    cards = {path.name: ModelCard.load(path) for path in place.glob("card*.md")}
    assert {card.data.model_name for card in cards.values()} == {"brightness", "dull"}, done.stdout + done.stderr
    assert set(cards) == {"card-brightness.md", "card-dull.md"}
    assert "card-dull.md" in done.stdout


def test_selecting_one_claim_gives_the_same_verdict(place, whole):
    assert whole.returncode == 1
    together = {claim["id"]: claim for claim in json.loads((place / "out" / "results.json").read_text())["claims"]}
    done = run(place, "--report", "one", "-k", "found", "--junitxml=one.xml", "--baseline=out")
    written = json.loads((place / "one" / "results.json").read_text())
    part = written["claims"]
    assert [claim["id"] for claim in part] == ["contrast.found"], done.stdout
    assert part[0]["measures"][0] == together["contrast.found"]["measures"][0]
    assert part[0]["verdict"] == together["contrast.found"]["verdict"]
    assert (written["incomplete"]["judged"], written["incomplete"]["of"]) == (1, 7)
    assert "pytest suites/ -k found --weights" in written["run"]["command"], "who runs it again asks for the same"
    assert done.stdout.count("incomplete: 1 of 7 claims (-k 'found')") >= 2
    assert 'name="incomplete" value="1 of 7 claims' in (place / "one.xml").read_text()
    assert "release gate passed on part of the claims" in done.stdout, "a claim not asked for is none that was lost"
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["classes.viral_recall", "classes.finding_recall"])
def test_a_claim_is_selected_by_either_of_its_names_where_findings_are_asked(place, name):
    films = "--data=phantom:n=12,findings=several"
    done = run(place, films, "--collect-only", "-q", "-k", name, weights="bundled:findings", claims="", plain=True)
    found = re.findall(r"\[(\S+)-findings: (\w+)\]", done.stdout)
    assert {claim for claim, _ in found} == {"classes.finding_recall"}, done.stdout + done.stderr
    assert len(found) == 5, "one of each finding"


def test_a_part_that_would_replace_what_a_whole_run_left_is_refused_before_it_works(place, whole):
    assert whole.returncode == 1
    kept = {name: (place / name).read_bytes() for name in ("out/index.html", "out/results.json", "out.md")}
    done = run(place, "--report", "new", "--model-card=out.md", "-k", "found")
    assert done.returncode == 4, done.stdout
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR")]
    assert "incomplete: 1 of 7 claims (-k 'found')" in line
    assert "add --force" in line
    assert "no report was written" not in done.stdout
    assert not (place / "new").exists()
    assert kept == {name: (place / name).read_bytes() for name in kept}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "nowhere/at/all"}, "no such file or folder"),
        ({"weights": "toys:bright?layer=nothing"}, "no layer 'nothing'"),
        ({"data": "nothing"}, "nothing"),
        ({"claims": "none.toml"}, "cannot read the claims table"),
        ({"more": ["--report=/dev/null/report"]}, "the report cannot be written"),
        ({"more": [b"--report=\xff\xfe"]}, "is no UTF-8"),
        ({"more": ["--report=~nobody-of-this-name/out"]}, "no user of this machine has the home"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_4(place, changes, message):
    done = run(place, *changes.pop("more", ()), **changes)
    assert done.returncode == 4, done.stdout + done.stderr
    errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1, done.stdout + done.stderr
    assert message in errors[0]
    assert "Traceback" not in done.stdout + done.stderr


def test_swallowed_folder_and_bad_limit_are_explained(place):
    done = run(place, "--limit", "0")
    assert done.returncode == 4
    assert "--limit is 0" in done.stdout + done.stderr


def test_nan_logits_stop_the_run_and_name_the_image_and_half_a_report_is_not_written(place):
    first = '[[claim]]\nid = "dataset.first"\nsection = "P"\nstatement = "s."\nendpoint = "published_half_width"\n'
    first += 'kind = "limitation"\nmargin = 0.01\nclasses = ["a", "b"]\nconfusion = [[20, 1], [2, 30]]\n'
    (place / "first.toml").write_text(first + (place / "claims.toml").read_text())
    wanted = ["--report", "half", "--model-card=half.md", "-k", "first or found"]
    done = run(place, *wanted, weights="toys:broken", claims="first.toml")
    assert done.returncode == 2, done.stdout
    assert "not finite" in done.stdout + done.stderr
    assert "bacterial_pneumonia" in done.stdout + done.stderr
    assert "no report was written: the run stopped before its end" in done.stdout
    assert "_pytest" not in done.stdout, "what is wrong is said in our own words"
    assert "dataset.first" in done.stdout, "something was judged before"
    assert not (place / "half").exists()
    assert not (place / "half.md").exists()


@pytest.mark.parametrize("more", [("-q",), ("--plan",)], ids=["run without a plan", "plan"])
def test_films_that_cannot_be_read_are_one_line_and_exit_code_4_planned_or_run(place, more):
    for label in GREY:
        (place / "junk" / label).mkdir(parents=True, exist_ok=True)
        for number in range(3):
            (place / "junk" / label / f"{label}{number}.jpeg").write_bytes(b"no picture")
    done = run(place, "-k", "found", *more, data="junk", plain=True)
    text = done.stdout + done.stderr
    assert done.returncode == 4, text
    (line,) = [line for line in text.splitlines() if "9 of 9 films cannot be read" in line]
    assert line.startswith("ERROR: ")
    assert not re.search("_pytest|run it again|3 bacterial|about", text)


def test_a_run_that_stops_at_a_failure_says_what_it_did_not_judge_and_leaves_a_whole_report_alone(place):
    two = '[[claim]]\nid = "classes.bad"\nsection = "A"\nstatement = "s."\n' + REQUIREMENT
    two += 'direction = "below"\nmargin = 0.5\n'
    (place / "two.toml").write_text(two + two.replace("classes.bad", "classes.later").replace('"A"', '"B"'))
    done = run(place, "-x", "--report", "stopped", "--strict-verdicts", claims="two.toml")
    assert done.returncode == 1, done.stdout
    told = "ncomplete: 1 of 2 claims (stopped at a failure before classes.later)"
    assert told in done.stdout
    assert told in (place / "stopped" / "index.html").read_text(), "finished work is not lost"
    done = run(place, "--maxfail=2", "--report", "stopped", "--strict-verdicts", claims="two.toml")
    whole = (place / "stopped" / "index.html").read_text()
    assert "ncomplete:" not in whole, done.stdout
    done = run(place, "-x", "--report", "stopped", "--strict-verdicts", claims="two.toml")
    assert (place / "stopped" / "index.html").read_text() == whole
    assert told in (place / "stopped.incomplete" / "index.html").read_text()
    assert "stopped.incomplete" in done.stdout


def test_where_the_code_of_a_claim_breaks_the_run_ends_with_no_verdict(place):
    """The exit code of a violated requirement would pass for one."""
    (place / "breaking.py").write_text(
        "from suites.harness.evaluation import Evaluation\nfrom toys import bright\n"
        "def judgement(self, claim, subject):\n    return [][claim]\nEvaluation.judgement = judgement\n"
    )
    done = run(place, "-k", "good", weights="breaking:bright")
    assert done.returncode == 3, done.stdout
    assert "TypeError" in done.stdout, "where it broke is shown"


def test_a_home_that_no_shell_has_written_out_is_found(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place / "home"))
    done = run(place, "-k", "good", "--report=~/out", "--model-card=~/out/card.md")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (place / "home" / "out" / "index.html").exists()
    assert (place / "home" / "out" / "card.md").exists(), "the report makes its folder"
    assert "card.md" in (place / "home" / "out" / MANIFEST).read_text(), "else the next report would be refused there"
    assert not (place / "~").exists()


def test_nothing_selected_is_said(place):
    done = run(place, "-k", "no_such_claim")
    assert done.returncode == 5
    assert "nothing was judged: -k no_such_claim selects none of the 7 claims" in done.stdout


def test_a_run_without_a_terminal_ends_as_any_other(place):
    done = run(place, "-k", "good", "-p", "no:terminal", plain=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_claim_that_no_suite_judges_is_refused(place):
    (place / "orphan.toml").write_text((place / "claims.toml").read_text().replace('"grid.lost"', '"gird.lost"'))
    done = run(place, claims="orphan.toml")
    assert done.returncode == 4, done.stdout
    assert "no suite judges the claim gird.lost" in done.stdout + done.stderr
