"""How does the report say things? Verdicts in words, numbers in their units, names safe in links and files."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from robustness import perturbation
from suites.harness.claims import Claim, Judgement, Measure, Unit, Verdict

INITIALS = {
    name.lower(): name
    for name in (
        "ACE",
        "AUPRC",
        "AURC",
        "AUROC",
        "Brier",
        "CLAHE",
        "ECE",
        "ECG",
        "F1",
        "FPR95",
        "Gaussian",
        "JPEG",
        "MCE",
        "NLL",
        "NPV",
        "PPV",
    )
} | {"medmnistc": "MedMNIST-C"}
"""Words of measure names that are not written in lower case."""
MINUS = "\N{MINUS SIGN}"
OF_A_FINDING = {
    "recall_": ("specificity", "sensitivity"),
    "called_": ("said not to show it", "said to show it"),
}
"""How measures of a class begin, and what they are called of the two sides of a finding: without it, and with it."""
BEYOND = "Beyond the documented size"
"""Printed beside the verdict on a limitation that is surely larger than its page says."""
TRUST = "Is the attack to be trusted"
"""Title of the table of an attack's sanity checks, which the page of warnings reads."""


@dataclass(frozen=True)
class VerdictWords:
    """How one verdict appears, on page, terminal, card and in JUnit: never by colour alone, always icon and word.

    Attributes:
        word: the word printed.
        many: the same of several, behind their number.
        meaning: one sentence for the legend.
        tone: name of its colour in the style sheet and of its icon.
        letter: of pytest's line of progress.
        colour: on the terminal.
    """

    word: str
    many: str
    meaning: str
    tone: str
    letter: str
    colour: str

    def counted(self, count: int) -> str:
        """Return `14 limitations confirmed`."""
        return f"{count:,} {self.word.lower() if count == 1 else self.many}"


VERDICTS: dict[Verdict, VerdictWords] = {
    Verdict.VIOLATED: VerdictWords(
        "Requirement violated",
        "requirements violated",
        "The whole interval lies on the wrong side of the margin of something we demand.",
        "violated",
        "F",
        "red",
    ),
    Verdict.SUPPORTED: VerdictWords(
        "Limitation confirmed",
        "limitations confirmed",
        "An expected harm is real on these films: the whole interval lies beyond the margin.",
        "supported",
        "L",
        "yellow",
    ),
    Verdict.INCONCLUSIVE: VerdictWords(
        "Inconclusive",
        "inconclusive",
        "These films cannot settle it either way: the interval crosses the margin, or clears it only before the "
        "correction for several claims, or clears it but rests on a search or a saliency method that has not proved "
        "itself, or hides many calls that change. The reason says which.",
        "inconclusive",
        "?",
        "cyan",
    ),
    Verdict.NOT_SUPPORTED: VerdictWords(
        "Limitation not found",
        "limitations not found",
        "An expected harm is not there on these films: the whole interval lies within the margin.",
        "absent",
        "n",
        "green",
    ),
    Verdict.MET: VerdictWords(
        "Requirement met",
        "requirements met",
        "The whole interval lies on the right side of the margin of something we demand.",
        "met",
        ".",
        "green",
    ),
    Verdict.NOT_EVALUABLE: VerdictWords(
        "Not evaluable",
        "not evaluable",
        "Could not be judged on this subject and these films, or the subject has nothing to lose; the reason is given.",
        "unjudged",
        "-",
        "cyan",
    ),
}
"""In the order a reader should meet them: what hurts first."""


def rounded(value: float, digits: int = 0, *, times: int = 1) -> str:
    """Return `times` a finite number with so many digits, halves away from zero as people round, and no sign before 0.

    The decimals that a float is written with are rounded, so that .145 of a hundred is 15 and .125 is 13.
    """
    if abs(value) >= 1e15:  # no digits are left to round
        return f"{times * value:,.{digits}f}"
    exact = (Decimal(repr(float(value))) * times).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{exact + 0:,}"


def number(value: float, unit: Unit = "plain") -> str:
    """Return a number as printed, with its unit: `82.4 %`, `−7.3 pp`, `0.038`, `—` for a number that is none."""
    if not math.isfinite(value):
        return "—"
    if abs(value) < 1e-9:
        value = 0.0  # what is left of a sum that is zero has no sign
    if unit == "share":
        text = rounded(value, 1, times=100)
        if 1e-9 < value < 1 - 1e-9 and text in {"0.0", "100.0"}:
            return "<0.1 %" if value < 0.5 else ">99.9 %"  # neither none nor all of them where it is not
        return f"{text} %".replace("-", MINUS)
    if unit in ("width", "points"):
        text = rounded(value, 1, times=100)
        sign = "+" if unit == "points" and value > 0 and text != "0.0" else ""
        return f"{sign}{text} pp".replace("-", MINUS)
    if unit == "count":
        return rounded(value).replace("-", MINUS)
    if unit in ("levels", "nats"):
        return f"{number(value)} {unit}"
    if 0 < abs(value) < 0.0005:
        return "<0.001" if value > 0 else f">{MINUS}0.001"
    digits = 0 if float(value).is_integer() and abs(value) >= 2 else 3 if abs(value) < 10 else 1
    text = rounded(value, digits)
    if 0 < value < 1 - 1e-9 and text == "1.000":
        return ">0.999"
    return text.replace("-", MINUS)


def spanned(estimate: float, low: float, high: float, unit: Unit = "plain") -> str:
    """Return a number with its interval, as every sentence and table has it: `82.4 % (79.1 to 85.0)`."""
    text = number(estimate, unit)
    return f"{text} ({ends(low, high, unit)})" if math.isfinite(low) and math.isfinite(high) else text


def ends(low: float, high: float, unit: Unit = "plain") -> str:
    """Return the ends of an interval without their unit: `79.1 to 85.0`."""
    return " to ".join(re.sub(r" (%|pp|levels|nats)$", "", number(end, unit)) for end in (low, high))


def p_value(p: float) -> str:
    """Return a p value as printed, without its sign of equality: `0.043`, `<0.001`; nothing where there is none."""
    return "" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float) -> str:
    """Return a p value inside a sentence: `p = 0.043`, `p < 0.001`."""
    return f"p < {p_value(p)[1:]}" if p < 0.001 else f"p = {p_value(p)}"


def signs(text: str) -> str:
    """Return a text for people with the signs of its numbers as they are printed: `DI −3.0`."""
    return re.sub(r"(?<![^\s(\[,;=])-(?=\.?\d)", MINUS, text)


def interval(measure: Measure) -> str:
    """Return the interval as printed, without units: `75.5 to 87.7`; `exact` for a count without uncertainty."""
    if not (math.isfinite(measure.low) and math.isfinite(measure.high)):
        return "no interval"
    if measure.low == measure.high == measure.estimate:
        return "exact"
    return ends(measure.low, measure.high, measure.unit)


def estimate(measure: Measure) -> str:
    """Return the point estimate as printed."""
    return number(measure.estimate, measure.unit)


def margin(claim: Claim, measure: Measure | None, value: float | None = None) -> str:
    """Return a claim's margin (or another threshold) in the unit of its effect."""
    threshold = claim.margin if value is None else value
    return number(threshold, measure.unit if measure else "plain").replace("+", "")


def rule(claim: Claim, measure: Measure | None) -> str:
    """Return the rule that judges the claim as one sentence."""
    side = "above" if claim.direction == "above" else "below"
    threshold = margin(claim, measure)
    if claim.kind == "limitation":
        text = f"Counts as a limitation when the effect lies {side} {threshold}"
        if claim.documented is not None:
            text += f"; documented up to {margin(claim, measure, claim.documented)}"
        return text + "."
    return f"Required: the effect lies {side} {threshold}."


def plain_name(name: str) -> str:
    """Return a snake_case name as words, initials in capitals."""
    return " ".join(INITIALS.get(word, word) for word in name.replace("_", " ").split(" ")).strip() or name


def measure_words(name: str, finding: Sequence[str] = ()) -> str:
    """Return the name of a measure as words; of a finding, recall of its two sides is sensitivity and specificity.

    Args:
        name: such as `recall_normal`, `called_no effusion`.
        finding: without it and with it, as the subject is asked (`no effusion`, `effusion`); empty for classes.
    """
    for start, words in OF_A_FINDING.items():
        for side, told in zip(finding, words, strict=False):
            rest = name.removeprefix(f"{start}{side}")
            if rest != name and rest[:1] in ("", "_"):
                return plain_name(f"{told}{rest}")
    return plain_name(name)


def stress(name: str) -> str:
    """Return what a perturbation is called where people read: its display name, else the words of its name."""
    return perturbation.display(name) or plain_name(name)


def spoken(text: str) -> str:
    """Return a text with the conditions in it as words: `scatter@3 | clahe` as `scatter, severity 3, then CLAHE`.

    What is no condition stays as it is, so that whole reasons and sentences may be given.
    """
    known = perturbation.names()

    def words(found: re.Match[str]) -> str:
        name, low, high, remedy = found.groups()
        if name not in known:
            return found[0]
        told = f"{stress(name)}, " + (f"severities {low} to {high}" if high else f"severity {low}")
        return f"{told}, then {plain_name(remedy)}" if remedy else told

    told = re.sub(r"\b([a-z][a-z0-9_]*)@([1-5])(?:-([1-5]))?\b(?: \| ([a-z][a-z0-9_]*))?", words, text)
    return re.sub(r"\bpreprocessing:(\w+)", lambda found: f"the recipe {plain_name(found[1])}", told)


def condition_words(condition: str) -> str:
    """Return the condition of a measure in words, a difference with its sign."""
    parts = condition.split(" - ")
    return f" {MINUS} ".join(stress(part) if re.fullmatch(r"[a-z0-9_]+", part) else spoken(part) for part in parts)


def in_one_piece(text: str) -> bool:
    """Return whether a table's cell is a number, or one with its interval, which no line may break."""
    if re.fullmatch(r"[<>]?[+−-]?[\d.,]+ ?(%|pp)?", text):
        return True
    return bool(re.fullmatch(r"[^()]{1,16}\([^()]{1,24}\)", text)) and sum(map(str.isdigit, text)) >= 3


def opened(text: str) -> str:
    """Return the text with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def slug(text: str) -> str:
    """Return a name that is safe in a link, an element id and a file name on every system, and unique per text."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    safe = re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:48]
    if safe == text and safe:
        return safe
    return f"{safe or 'x'}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def finding(judgement: Judgement) -> str:
    """Return one sentence on what was found, for a reader in a hurry."""
    result = judgement.result
    if result is None:
        return spoken(judgement.reason)
    if result.summary:
        return spoken(result.summary)
    effect = result.effect
    span = interval(effect)
    where = "" if effect.condition in ("", "clean") else f" ({condition_words(effect.condition)})"
    return f"{opened(plain_name(effect.name))}{where}: {estimate(effect)}" + (
        "." if span == "exact" else f", 95 % interval {span}."
    )


def headline(judgement: Judgement) -> str:
    """Return what was found in one short sentence, true whatever the verdict."""
    if judgement.result is not None and judgement.result.finding:
        return spoken(judgement.result.finding)
    return re.split(r"(?<=[^\s.])\. (?=[A-Z])", finding(judgement), maxsplit=1)[0].rstrip(".") + "."


def sized(judgement: Judgement) -> str:
    """Return what was found with the size that was judged: `Tubes, severity 3: recall falls (+30.5 pp, ...)`."""
    text = headline(judgement).rstrip(".")
    if judgement.result is None:
        return text
    effect = judgement.result.effect
    size = estimate(effect)
    said = re.search(rf"(?<![\d.]){re.escape(size)}", text)
    parts = ["" if said else size, "" if said and interval(effect) in text else interval(effect)]  # once is enough
    told = ", ".join([*filter(None, parts), *(["exploratory"] if effect.exploratory else [])])
    return f"{text} ({told})" if told else text


def with_name(effect: Measure) -> str:
    """Return an effect by its name, with its interval: `flip rate 17.1 % (15.6 to 19.0)`."""
    return f"{plain_name(effect.name)} {estimate(effect)} ({interval(effect)})"


def beyond_its_size(judgement: Judgement) -> str:
    """Return why the verdict is what it is, beyond the size, the margin and the verdict that stand beside it."""
    result = judgement.result
    if result is None:
        return ""
    reason = judgement.reason.removeprefix(f"{with_name(result.effect)} ")
    plain = (f"lies {side} the margin {margin(judgement.claim, result.effect)}" for side in ("above", "below"))
    return "" if reason in plain else opened(spoken(reason))


def settled_by(judgement: Judgement) -> str:
    """Return the verdict in words, with what goes beyond a documented size."""
    word = VERDICTS[judgement.verdict].word
    return f"{word}, {BEYOND.lower()}" if judgement.beyond_documented else word


def harm(claim: Claim) -> int:
    """Return +1 when a larger effect is worse for whoever relies on the subject, -1 when a smaller one is."""
    return worse(claim.kind, claim.direction)


def worse(kind: str, direction: str) -> int:
    """Return `harm` of a claim of a kind and a direction, for those who have it from a file."""
    larger = 1 if direction == "above" else -1
    return larger if kind == "limitation" else -larger
