"""The page in a real browser: no errors, filters, viewer, keyboard, themes, phone, print, accessibility rules."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from suites.harness.claims import GalleryItem, Help, Label, Tiles, Verdict
from suites.harness.claims_table import load_claims
from suites.harness.endpoints.toll import CALLED_ILL, MISSED
from suites.harness.record import PAGE
from suites.harness.report import write_report
from suites.harness.report.leaderboard import leaderboard, write_leaderboard

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright_api.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.fixture
def open_page(browser, report: Path):
    """Return a function that opens the report; afterwards nothing may have gone wrong or been asked of a network."""
    problems: list[str] = []
    contexts = []

    def opened(width: int = 1280, scheme: str = "light", fragment: str = "", **more: object):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console", lambda message: problems.append(message.text) if message.type in {"error", "warning"} else None
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: (problems.append("a script ran: " + dialog.message), dialog.dismiss()))
        page.on(
            "request", lambda asked: None if asked.url.startswith(("file:", "data:")) else problems.append(asked.url)
        )
        page.goto(report.as_uri() + fragment)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def shown_claims(page) -> int:
    return page.locator("details.claim:not([hidden])").count()


def open_everything(page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")


def words_seen(page) -> int:
    return len(page.evaluate("document.body.innerText").split())


@pytest.fixture(scope="module")
def whole(make_record, tmp_path_factory) -> Path:
    """A report as large as the default one: every claim of the table on two subjects, each with a long sentence."""
    record = make_record(plain=True)
    shapes = [judgement for judgement in record.judgements if judgement.result is not None][1:]
    judgements = []
    for number, claim in enumerate(claim for claim in load_claims() if not claim.per):
        speakers = [PAGE] if claim.id.startswith("published") else [subject.name for subject in record.subjects]
        old = shapes[number % len(shapes)]
        tolls = [replace(old.result.effect, name=name, condition="x", unit="points") for name in (MISSED, CALLED_ILL)]
        helps = [Help(sentence="A remedy that " + "helps a lot " * 9, gain=tolls[0])] if number % 3 else []
        told = f"What claim {number} found is " + "told in rather many words " * 3
        result = replace(old.result, measures=tolls, finding=f"{told.strip()}.", summary=f"{told}. " * 3, helps=helps)
        verdict = list(Verdict)[number % len(Verdict)]
        judgements += [replace(old, claim=claim, verdict=verdict, result=result, subject=name) for name in speakers]
    return write_report(replace(record, judgements=judgements), tmp_path_factory.mktemp("whole") / "out")


def test_the_closed_page_is_read_in_minutes_and_its_summary_is_one_sheet(browser, whole: Path, tmp_path: Path):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(whole.as_uri())
    closed = words_seen(page)
    assert closed <= 1600, "ten minutes at most, of two subjects and twelve sections"
    open_everything(page)
    assert words_seen(page) > 3 * closed, "what is closed is not counted"
    page.reload()
    page.evaluate("document.querySelectorAll('main > section:not(#summary), footer').forEach(e => e.remove())")
    page.pdf(path=tmp_path / "summary.pdf", format="A4")
    assert pages_of(tmp_path / "summary.pdf") == 1
    page.close()


def test_filters_narrow_the_table_and_the_claims(open_page):
    page = open_page()
    everything = shown_claims(page)
    assert everything == 9
    assert page.locator("#filter-count").inner_text() == "9 claims"
    page.fill("#filter-text", "UNDEREXPOSED films")
    assert shown_claims(page) == page.locator("details.claim:visible").count() == 1, "its section stands open"
    assert page.locator(".about:visible").count() == 1
    assert page.locator("#filter-count").inner_text() == "1 of 9 claims"
    page.fill("#filter-text", "no such words anywhere")
    assert shown_claims(page) == 0
    assert page.locator("#filter-none").is_visible()
    page.click("#filter-none button")
    assert shown_claims(page) == everything
    page.click(".toggle[data-verdict=supported]")
    assert shown_claims(page) == 3
    page.click(".toggle[data-verdict=met]")
    assert shown_claims(page) == 4
    page.click("#filter-clear")
    assert shown_claims(page) == everything
    assert page.locator("details.claim:visible").count() == 0, "as closed as they were"
    page.locator("a[data-show=violated]").first.click()
    assert shown_claims(page) == page.locator("details.claim:visible").count() == 1


def test_a_link_opens_its_claim_even_when_filtered_away(open_page):
    page = open_page()
    target = page.locator("details.claim").nth(1).get_attribute("id")
    page.fill("#filter-text", "grid lines")
    page.evaluate("id => { location.hash = id; }", target)
    page.wait_for_function("id => document.getElementById(id).open && !document.getElementById(id).hidden", arg=target)
    direct = open_page(fragment="#" + target)
    assert direct.locator(f"#{target}").evaluate("element => element.open && element.parentElement.open")
    deep = open_page(fragment="#limits-labels")
    assert deep.locator("#limits-labels").is_visible(), "a link into the appendix opens it"


def test_a_gallery_is_filtered_by_class_and_method_and_the_viewer_follows(open_page):
    page = open_page()
    page.evaluate("location.hash = document.querySelector('.claim:has(.gallery-filters)').id")
    form = page.locator(".gallery-filters:visible").first
    form.wait_for()  # the link opens its claim when the address has changed, not at once
    galleries = form.locator("xpath=..")
    everything = galleries.locator(".gallery li:visible").count()
    assert form.locator("select").count() == 2, "one condition only, so there is nothing to choose"
    assert form.locator(".shown").inner_text() == f"{everything} of {everything} pictures"
    form.locator("select[data-fact=class]").select_option("normal")
    assert galleries.locator(".gallery li:visible").count() == 2
    assert form.locator(".shown").inner_text() == f"2 of {everything} pictures"
    assert galleries.locator(".gallery-part:visible").count() == 1, "a gallery without pictures goes"
    galleries.locator("a.shot:visible").first.click()
    assert page.locator("#lightbox-place").inner_text() == "1 of 2"
    page.keyboard.press("Escape")
    form.locator("select[data-fact=method]").select_option("grad-cam")
    assert galleries.locator(".gallery li:visible").count() == 1
    for name in ("class", "method"):
        form.locator(f"select[data-fact={name}]").select_option("")
    assert galleries.locator(".gallery li:visible").count() == everything


def test_the_viewer_works_by_keyboard(open_page):
    page = open_page()
    page.click("#open-all")
    thumbnails = page.locator(".gallery a.shot")
    assert thumbnails.count() == 20
    thumbnails.nth(1).focus()
    page.keyboard.press("Enter")
    box = page.locator("#lightbox")
    assert box.evaluate("element => element.open")
    assert page.locator("#lightbox-place").inner_text() == "2 of 6"
    assert "<script>alert(1)</script>" in page.locator("#lightbox-caption").inner_text()
    assert "confidence: 0.91" in page.locator("#lightbox-caption").inner_text()
    page.wait_for_function("document.getElementById('lightbox-image').naturalWidth > 100")
    page.keyboard.press("ArrowRight")
    assert page.locator("#lightbox-place").inner_text() == "3 of 6"
    for _ in range(9):
        page.keyboard.press("ArrowLeft")
    assert page.locator("#lightbox-place").inner_text() == "1 of 6"
    assert page.locator("#lightbox-previous").is_disabled()
    page.keyboard.press("Escape")
    assert not box.evaluate("element => element.open")
    assert page.evaluate("document.activeElement.classList.contains('shot')")


def test_a_curve_opens_large_too(open_page):
    page = open_page()
    page.click("#open-all")
    page.locator(".drawing a.shot").first.click()
    assert page.locator("#lightbox").evaluate("element => element.open")
    page.click("#lightbox-close")
    assert not page.locator("#lightbox").evaluate("element => element.open")


def test_the_keyboard_reaches_the_content_first(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def background(page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_theme_follows_the_system_until_chosen(open_page):
    light, dark = open_page(), open_page(scheme="dark")
    assert background(light) == "rgb(250, 249, 246)"
    assert background(dark) == "rgb(19, 22, 27)"
    assert dark.locator("#theme").get_attribute("aria-label") == "Theme: Auto"
    dark.click("#theme")
    assert background(dark) == background(light)
    assert dark.locator("#theme").get_attribute("aria-label") == "Theme: Light"
    light.click("#theme")
    light.click("#theme")
    assert background(light) == "rgb(19, 22, 27)"
    light.reload()
    assert background(light) == "rgb(19, 22, 27)"


@pytest.mark.parametrize("width", [320, 375, 768, 1400])
def test_nothing_runs_out_of_the_side(open_page, width: int):
    page = open_page(width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    open_everything(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_captions_are_whole_and_outside_what_scrolls(open_page):
    page = open_page(width=390)
    open_everything(page)
    cut = page.evaluate(
        "[...document.querySelectorAll('.caption, figcaption')].filter(e => e.scrollHeight > e.clientHeight + 1).length"
    )
    assert cut == 0
    ends = page.evaluate(
        "[...document.querySelectorAll('.table figcaption')].map(e => e.getBoundingClientRect()).map(b => b.right)"
    )
    assert ends
    assert max(ends) <= 390
    assert page.evaluate("[...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth)")
    links = page.locator(".caption a")
    assert links.count() == 8
    for link in links.all():
        box, around = link.bounding_box(), link.locator("xpath=..").bounding_box()
        assert box["y"] + box["height"] <= around["y"] + around["height"] + 4


def test_no_word_of_a_table_is_broken(open_page):
    page = open_page()
    page.click("#open-all")
    wraps = page.evaluate(
        "[...document.querySelectorAll('.data th, .data td')].map(e => getComputedStyle(e).overflowWrap)"
    )
    assert set(wraps) == {"normal"}


def test_the_number_stands_on_the_line_of_its_verdict(browser, make_record, tmp_path: Path):
    index = write_report(make_record(subjects=1, films=30, plain=True), tmp_path / "out")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(index.as_uri())
    page.click("#open-all")
    measured = page.locator(".cell").filter(has=page.locator(".quantity"))
    assert measured.filter(has=page.locator(".cell-name")).count() == 1, "a claim on the published page"
    for cell in measured.all():
        chip, number = (cell.locator(what).first.bounding_box() for what in (".chip", ".quantity strong"))
        middle = number["y"] + number["height"] / 2
        assert chip["y"] <= middle <= chip["y"] + chip["height"]
    page.close()


def test_the_page_reads_without_javascript(open_page):
    page = open_page(java_script_enabled=False)
    assert page.locator("details.claim").count() == 9
    assert page.locator("h1").inner_text().startswith("ConvNeXt-V2 Tiny against DINOv2")


def pages_of(pdf: Path) -> int:
    """Count the pages of a PDF, whose page tree Chromium writes in plain text."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))


def test_claims_print_as_they_are_open(open_page, tmp_path: Path):
    page = open_page()
    page.emulate_media(media="print")
    assert not page.locator(".bar-top").is_visible()
    page.pdf(path=tmp_path / "closed.pdf", format="A4")
    open_everything(page)
    page.pdf(path=tmp_path / "open.pdf", format="A4")
    closed, opened = (pages_of(tmp_path / f"{name}.pdf") for name in ("closed", "open"))
    assert 2 <= closed <= 4 < opened


def test_the_tiles_of_a_picture_show_one_each_above_their_words(browser, make_record, tmp_path: Path):
    record = make_record(subjects=1, films=30)
    old = next(judgement for judgement in record.judgements if judgement.claim.id == "failure_modes.underexposed")
    strip = Image.new("RGB", (3 * 64, 64))
    for place, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255))):
        strip.paste(colour, (64 * place, 0, 64 * (place + 1), 64))
    labels = [Label("Clean", "normal 90 %", "right"), Label("Changed", "viral 80 %", "wrong"), Label("Map")]
    item = GalleryItem(caption="a film", draw=lambda: Tiles(strip, labels))
    shown = replace(old, result=replace(old.result, galleries={"G": [item]}, figures={}))
    index = write_report(replace(record, judgements=[shown]), tmp_path / "out")
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.goto(index.as_uri())
    open_everything(page)
    tiles = page.locator(".gallery .tile")
    assert tiles.locator(".tile-title").all_inner_texts() == ["Clean", "Changed", "Map"]
    assert tiles.locator(".tile-note").all_inner_texts() == ["✓ normal 90 %", "✗ viral 80 %"]
    for place, tile in enumerate(tiles.locator("img").all()):
        tile.scroll_into_view_if_needed()
        box = tile.bounding_box()
        assert box["width"] > 130, "two abreast on a phone"
        middle = np.asarray(Image.open(io.BytesIO(tile.screenshot())).convert("RGB"))[40:-40, 40:-40]
        assert (middle.mean(axis=(0, 1)).argmax(), middle.std(axis=(0, 1)).max() < 20) == (place, True)
    page.close()


def test_the_appendix_opens_by_keyboard(open_page):
    page = open_page()
    page.locator("#limits > summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("#limits-labels").is_visible()
    page.keyboard.press("Enter")
    assert not page.locator("#limits-labels").is_visible()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the axe-core script, fetched through npm's own client, or skip with the reason."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("axe-core is fetched with npm, which is not installed")
    folder = tmp_path_factory.mktemp("axe")
    try:
        done = subprocess.run(
            [npm, "pack", "--silent", "axe-core@4"], cwd=folder, timeout=60, capture_output=True, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the npm registry did not answer within a minute")
    if done.returncode:
        pytest.skip(f"axe-core cannot be fetched: {done.stderr.decode(errors='replace')[-200:]}")
    with tarfile.open(next(folder.glob("axe-core-*.tgz"))) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 375)])
def test_axe_finds_nothing_closed_or_open(open_page, axe: str, scheme: str, width: int):
    page = open_page(scheme=scheme, width=width)
    page.evaluate(axe)
    for everything in (False, True):
        if everything:
            open_everything(page)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert [(item["id"], [node["html"][:160] for node in item["nodes"]][:3]) for item in found] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_filtered_galleries_and_the_viewer(open_page, axe: str, scheme: str):
    page = open_page(scheme=scheme)
    page.evaluate("location.hash = document.querySelector('.claim:has(.gallery-filters)').id")
    form = page.locator(".gallery-filters:visible").first
    form.locator("select[data-fact=class]").select_option("normal")
    page.evaluate(axe)
    for viewer_open in (False, True):
        if viewer_open:
            form.locator("xpath=..").locator("a.shot:visible").first.click()
            page.locator("#lightbox-place").wait_for()
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert [(item["id"], [node["html"][:160] for node in item["nodes"]][:3]) for item in found] == []


def test_axe_would_find_something(open_page, axe: str):
    page = open_page()
    page.evaluate("document.querySelector('.gallery img, .drawing img').removeAttribute('alt')")
    page.evaluate("document.querySelector('.masthead .standfirst').style.color = '#eeeeee'")
    open_everything(page)
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert {"image-alt", "color-contrast"} <= {item["id"] for item in found}


@pytest.mark.parametrize("width", [1280, 390])
def test_films_are_searched_sorted_and_opened(open_page, report, width):
    page = open_page(width)
    page.goto(report.with_name("films.html").as_uri())
    everything = page.locator("#rows tr").count()
    page.fill("#text", "no such film")
    assert page.locator("#rows tr").count() == 0
    page.fill("#text", "")
    page.select_option("#which", "wrong")
    assert 0 < page.locator("#rows tr").count() < everything
    assert all("(wrong)" in text for text in page.locator("#rows tr td:nth-child(3)").all_inner_texts())
    page.click(".sort[data-key=confidence]")
    shares = [int(text.removesuffix(" %")) for text in page.locator("#rows tr td:nth-child(4)").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    link = page.locator("#rows a").first
    name = link.inner_text()
    link.click()
    # The page turns when the browser tells it of its new address, a moment after the click.
    title = playwright_api.expect(page.locator("#film-title"))
    title.to_have_text(name)
    title.to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    deep = page.url
    page.goto("about:blank")
    page.goto(deep)
    title.to_have_text(name)
    page.click("#back")
    playwright_api.expect(page.locator("#film")).to_be_hidden()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 375)])
def test_axe_finds_nothing_on_the_pages_beside_it(open_page, axe, report, tmp_path, scheme, width):
    board = write_leaderboard(leaderboard([report.parent]), tmp_path / "board")
    page = open_page(scheme=scheme, width=width)
    for address, opens in ((report.with_name("films.html"), "#rows a"), (board, "details summary")):
        page.goto(address.as_uri())
        page.evaluate(axe)
        page.locator(opens).first.click()
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert [(item["id"], [node["html"][:160] for node in item["nodes"]][:3]) for item in found] == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
