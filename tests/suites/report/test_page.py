"""The page as text: escaped, self-contained, linked, and answering the checklist item by item."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from suites.harness.claims import Judgement, Verdict
from suites.harness.record import PAGE
from suites.harness.report import checklist, parameters, views, write_report
from suites.harness.report.table import as_table
from suites.harness.statistics import EXACT, WIDENED
from suites.harness.subjects.formats.hub import PUBLISHED


class Page(HTMLParser):
    """Collects what the tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def text(report: Path) -> str:
    return report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_nothing_a_file_or_label_says_becomes_markup(text: str, page: Page):
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert len(page.all("script")) == 2
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_what_is_counted_where_is_said_beside_the_counts(text: str):
    filters = text[text.index('class="filters"') : text.index("</form>")]
    assert "buttons count claims" in filters
    assert "count judgements, one for each claim and each subject" in filters


def test_one_film_of_one_patient_is_not_several(make_record, tmp_path: Path):
    record = make_record(subjects=1, films=6, plain=True)
    one = replace(record.cohort, table=record.cohort.table.iloc[:1])
    page = write_report(replace(record, cohort=one), tmp_path / "out").read_text(encoding="utf-8")
    assert "1 film of 1 patient:" in page
    assert not re.findall(r"\b1 (?:films|patients)\b[^|]", page)


def test_nothing_is_fetched_from_a_network(page: Page):
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "poster", "srcset"):
            assert not re.match(r"(https?:)?//", attributes.get(name, "")), attributes
    style = (Path(views.__file__).parent / "templates" / "style.css").read_text()
    assert "url(" not in style
    assert "@import" not in style


def test_every_link_arrives(report: Path, page: Page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    for attributes in page.all("a") + page.all("use"):
        target = attributes["href"]
        if target.startswith("#"):
            assert target[1:] in ids, target
        else:
            assert (report.parent / target).is_file(), target
    for attributes in page.all("img"):
        assert attributes["src"] == "data:," or (report.parent / attributes["src"]).is_file()


def test_pictures_have_texts_and_sizes(page: Page):
    pictures = [attributes for attributes in page.all("img") if attributes.get("id") != "lightbox-image"]
    assert len(pictures) > 10
    assert all(attributes["alt"] and int(attributes["width"]) and int(attributes["height"]) for attributes in pictures)


def test_every_claim_stands_on_the_page_once(make_record, page: Page):
    claims = {judgement.claim.id for judgement in make_record(films=30, plain=True).judgements}
    details = [attributes["id"] for attributes in page.all("details") if attributes.get("class") == "claim"]
    assert sorted(details) == sorted(checklist.claim_anchor(claim) for claim in claims)


def test_only_the_first_screen_is_open(page: Page):
    """Every part behind it is closed, so that the page opens on an answer."""
    parts = page.all("details")
    assert {attributes["id"] for attributes in parts if attributes.get("class") == "part"} >= {"performance", "limits"}
    assert not [attributes for attributes in parts if "open" in attributes]


def test_each_picture_is_shown_once(page: Page):
    shown = Counter(attributes["src"] for attributes in page.all("img") if attributes["src"] != "data:,")
    tiles = Counter(
        attributes["src"] for attributes in page.all("img") if "object-position" in attributes.get("style", "")
    )
    assert [name for name, count in (shown - tiles).items() if count > 1] == []


def test_a_picture_of_two_claims_is_shown_by_the_first_and_named_by_the_second(make_record, tmp_path: Path):
    record = make_record(films=30, subjects=2)
    drawn = [one for one in record.judgements if one.claim.id == "failure_modes.underexposed"]
    again = [replace(one, claim=replace(one.claim, id="failure_modes.again")) for one in drawn]
    index = write_report(replace(record, judgements=[*drawn, *again]), tmp_path / "out")
    text = index.read_text()
    shown = Counter(attributes["src"] for attributes in Page(text).all("img"))
    assert all((index.parent / name).is_file() for name in shown if name != "data:,")
    assert len({(index.parent / name).read_bytes() for name in shown if name != "data:,"}) * 2 == len(shown) - 1, (
        "each once for each of the two subjects"
    )
    assert (
        text.count(f'Further pictures of it are those of <a href="#{checklist.claim_anchor(drawn[0].claim.id)}">') == 2
    )


def test_headings_go_down_one_level_at_a_time(page: Page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_a_figure_that_cannot_be_drawn_is_said(text: str):
    assert "broken could not be drawn (RuntimeError: no data to draw &lt;script&gt;" in text


def test_a_reader_is_told_first_what_this_is(text: str):
    beginning = text[text.index("<header") : text.index("</header>")]
    assert "Not a medical device." in beginning
    assert "Self-test on random numbers" in beginning


@pytest.mark.parametrize("item", checklist.ITEMS, ids=lambda item: f"item-{item.number}")
def test_the_page_answers_the_checklist(item: checklist.Item, make_record, page: Page, text: str):
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    answer = checklist.answers(make_record(films=30, plain=False))[item.number - 1]
    assert answer.item == item
    assert f"item-{item.number}" in ids
    assert all(target[1:] in ids for target, _ in answer.links)
    assert answer.links or answer.absent
    assert answer.absent in text


@pytest.mark.parametrize("item", [item for item in checklist.ITEMS if item.measured], ids=lambda item: str(item.number))
def test_an_unanswered_item_says_so(item: checklist.Item, make_record):
    record = make_record(films=30, plain=True)
    nothing = replace(record, judgements=[replace(j, result=None) for j in record.judgements])
    assert checklist.answers(nothing)[item.number - 1].absent


CONTENT = {
    1: ["SHA-256", "Preprocessing", "Seed", "torch", "Device"],
    2: ["Intended use", "Not a medical device", "labels from folder names"],
    3: ["Films and patients by class and split", "Films left out, with the reason", "truncated after 1,024 bytes"],
    4: ["Limits of the labels", "readers disagree"],
    5: ["Confusion matrix", "Sensitivity", "Specificity", "PPV", "NPV", "balanced accuracy", "macro F1",
        "AUROC", "AUPRC", "Brier", "NLL", "Prevalence"],
    7: ["Rule", "Limitation confirmed", "Limitation not found", "Inconclusive"],
    13: ["Subgroups", "Not recorded for these films", "age group", "sex"],
    14: ["Holm", "fixed in one table before looking"],
    15: ["What is synthetic"],
    16: ["Worst failures"],
    17: ["results.json", "uv run pytest suites/ --report"],
    18: ["necessary, never sufficient"],
}  # fmt: skip


@pytest.mark.parametrize("number", CONTENT)
def test_the_sections_of_the_checklist_hold_what_they_promise(number: int, text: str):
    visible = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", text, flags=re.DOTALL)
    for words in CONTENT[number]:
        assert words in visible, words


def test_what_is_no_finding_on_a_subject_is_counted_apart(make_record):
    record = make_record(films=30, plain=True)
    names = [subject.name for subject in record.subjects]
    tallies = views.tallies(record)
    assert list(tallies) == [*names, PAGE]
    for name in names:
        found = {item.verdict: item.count for item in tallies[name]}
        assert sum(found.values()) == 8, "nine claims, one of them on the published page"
        assert found[Verdict.SUPPORTED] == 2
        few = {item.verdict: item.exploratory for item in tallies[name]}
        assert (few[Verdict.INCONCLUSIVE], few[Verdict.SUPPORTED]) == (1, 0)
    assert (
        views.beside(record)
        == f"Counted apart, as they judge printed numbers and films, not answers: on {PAGE} 1 limitation confirmed."
    )
    alone = replace(record, judgements=[judgement for judgement in record.judgements if judgement.subject != PAGE])
    assert views.beside(alone) == ""


def test_a_count_says_how_many_verdicts_rest_on_few_films(make_record, tmp_path: Path):
    record = make_record(films=30, plain=True, subjects=1)
    text = write_report(record, tmp_path / "out").read_text()
    summary = text[text.index('id="summary"') : text.index('id="claims"')]
    assert re.search(r"2 inconclusive <small>\(1 exploratory\)</small>", summary)
    assert re.search(r"</svg>2 limitations confirmed</a>", summary)
    assert f"on {PAGE} 1 limitation confirmed" in summary
    assert "Few films: the verdict holds for these only" in text
    assert "Too few films to rest a verdict on" not in text


def test_an_interval_of_rare_events_is_marked_where_it_is_printed(make_record):
    record = make_record(films=30, plain=True, subjects=1)
    old = next(judgement for judgement in record.judgements if judgement.claim.id == "failure_modes.grid")

    def marks(**more: object) -> list[str]:
        effect = replace(old.result.effect, **more)
        changed = replace(old, result=replace(old.result, effect=effect))
        (section,) = views.sections(replace(record, judgements=[changed]), {})
        return list(section.claims[0].findings[0].marks)

    assert marks() == []
    assert marks(estimator=WIDENED) == marks(estimator=EXACT) == ["rare events"]
    assert marks(estimator=WIDENED, too_few="too few patients", exploratory=True) == ["exploratory", "too few patients"]


def test_facts_of_films_and_of_somebody_elses_page_stand_apart_and_last(make_record):
    record = make_record(films=30, plain=True, subjects=1)
    films = replace(
        record.judgements[0],
        subject=record.cohort.name,
        claim=replace(record.judgements[0].claim, section="D", id="d.x"),
    )
    judged = replace(record, judgements=[record.judgements[0], films, *record.judgements[1:]])
    told = [(part.about, part.title) for part in views.sections(judged, {})]
    assert [about for about, _ in told[-2:]] == [views.FILM_FACTS, views.PAGE_FACTS]
    assert {about for about, _ in told[:-2]} == {views.MODELS}
    published = replace(
        record.subjects[0], provenance=replace(record.subjects[0].provenance, source=f"{PUBLISHED}@main")
    )
    own = views.sections(replace(judged, subjects=[published]), {})
    assert own[0].about == views.PAGE_FACTS, "its own page comes first, to be held against what was measured"


def test_a_limitation_is_not_called_documented_or_admitted_where_it_need_not_be(text: str):
    assert "Documented limitation" not in text
    assert "no documented limitation" not in text
    assert "own page admits;" not in text
    assert "understates it or leaves it open" in text


def test_a_picture_does_not_promise_a_table(text: str, page: Page):
    assert "The numbers are in the table below." not in text
    alts = [attributes["alt"] for attributes in page.all("img") if "curve" in attributes.get("class", "")]
    assert alts
    assert "Recall by severity, ConvNeXt-V2 Tiny: Underexposed films are answered markedly worse" in alts


def test_a_range_of_severities_says_which_of_it_was_run(make_record):
    record = make_record(films=30, plain=True, subjects=1)
    old = next(judgement for judgement in record.judgements if judgement.claim.id == "failure_modes.underexposed")

    def shown(asked: list[str], *named: str, key: str = "conditions") -> str:
        claim = replace(old.claim, parameters={key: asked})
        effect = replace(old.result.effect, condition=named[0] if named else "clean")
        measures = [replace(effect, condition=name) for name in named]
        judgement = replace(old, claim=claim, result=replace(old.result, effect=effect, measures=measures))
        return parameters.printed([judgement], record)[key]

    every = ["underexposed@1-5"]
    assert shown(every, *(f"underexposed@{level}" for level in range(1, 6))) == "underexposed@1-5"
    assert shown(every, "underexposed@3 - clean", "underexposed@1") == "underexposed@1-5 (in this run 1, 3)"
    assert shown(every) == "underexposed@1-5", "drawn from all that was answered"
    assert shown(every, "underexposed@3", key="extents") == "underexposed@1-5", "shown as answered, judged or not"
    assert shown(["never@2-4"], key="extents") == shown(["never@2-4"]) == "never@2-4 (in this run none)"
    assert shown(["a@4", "b@3"]) == "a@4, b@3"
    refused = replace(old, claim=replace(old.claim, parameters={"conditions": every, "on": True}), result=None)
    assert parameters.printed([refused], record) == {"conditions": "underexposed@1-5", "on": "yes"}


def test_a_clean_bill_is_not_called_safe(make_record, tmp_path: Path):
    record = make_record(films=30, plain=True, subjects=1)
    good = [j for j in record.judgements if j.verdict in (Verdict.MET, Verdict.INCONCLUSIVE)]
    text = write_report(replace(record, judgements=good), tmp_path / "out").read_text()
    assert "not the same as safe" in text


def test_ranks_follow_harm_not_size(make_record):
    record = make_record(films=30, plain=True)
    names = [subject.name for subject in record.subjects]

    def judged(claim_id: str, subject: str, value: float, **more) -> Judgement:
        old = next(j for j in record.judgements if j.claim.id == claim_id)
        result = replace(old.result, effect=replace(old.result.effect, estimate=value))
        return replace(old, subject=subject, result=result, **more)

    # A smaller drop and a larger required accuracy are both better: the second subject wins twice.
    judgements = [
        judged("failure_modes.underexposed", names[0], 0.3),
        judged("failure_modes.underexposed", names[1], 0.1),
        judged("class_boundaries.balanced", names[0], 0.8),
        judged("class_boundaries.balanced", names[1], 0.9),
    ]
    ranks = views.ranks(replace(record, judgements=judgements)).set_index("subject")
    assert ranks.loc[names[1], "mean rank"] == 1
    assert ranks.loc[names[0], "mean rank"] == 2


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("uv run pytest suites/", "uv run pytest suites/ -k classes.viral"),
        ("uv run pytest suites/ --data 'a b'", "uv run pytest suites/ --data 'a b' -k classes.viral"),
        (
            "evaluate('published', 'a', seed=0)",
            """evaluate('published', 'a', seed=0).to_pandas().query("claim == 'classes.viral'")""",
        ),
    ],
)
def test_reproducing_a_claim_leaves_the_report_alone(make_record, command: str, expected: str):
    claim = replace(make_record(films=30, plain=True).judgements[0].claim, id="classes.viral")
    assert views.reproduce(command, claim) == expected


def test_tables_print_numbers_and_keep_text():
    table = as_table(pd.DataFrame({"a_b": ["x", None], "n": [1234, 2], "p": [0.12345, float("nan")]}))
    assert table.columns == ["a b", "n", "p"]
    assert table.rows == [["x", "1,234", "0.123"], ["", "2", "—"]]
    assert table.numeric == [False, True, True]
    classes = as_table(pd.DataFrame({"film": ["a_b"], "truth": ["viral_pneumonia"]}), names={"viral_pneumonia"})
    assert classes.rows == [["a_b", "viral pneumonia"]], "a class in words, a film by its own name"


@pytest.mark.parametrize("simulated", [True, False])
def test_simulated_films_foretell_nothing(make_record, tmp_path: Path, simulated: bool):
    record = make_record(films=30, plain=True, subjects=1)
    text = write_report(
        replace(record, cohort=replace(record.cohort, simulated=simulated)), tmp_path / "out"
    ).read_text()
    assert ("will likely break it in practice" in text) == (not simulated)
    assert ("neither a failure nor its absence says anything about real ones" in text) == simulated


def test_violated_requirements_stand_on_the_first_screen_and_lead_to_their_claims(text: str):
    first = text.split('<section id="summary"')[1].split("</section>", maxsplit=1)[0]
    told = re.findall(r'class="scope violations">(.*?)</p>', first)
    assert len(told) == 2, "one line for each subject"
    assert 'href="#claim-' in told[0]
    assert "34.0 %, 95 % interval 29.0 to 39.0</a>" in told[0], "and once"


def test_a_command_without_its_folders_says_so(make_record, tmp_path):
    made = make_record(subjects=1, films=30, plain=True)
    told = "Give the paths on your machine"
    assert told not in write_report(made, tmp_path / "whole").read_text()
    assert told in write_report(replace(made, shortened=True), tmp_path / "cut").read_text()
