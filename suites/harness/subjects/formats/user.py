"""How is a model of one's own a subject? `module:factory`, where `factory()` returns a Subject."""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import replace
from pathlib import Path

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats.registry import register
from suites.harness.subjects.formats.wording import in_one_line
from suites.harness.subjects.network_digest import digest_of_network
from suites.harness.subjects.subject import Subject

_FORM = re.compile(r"^(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<factory>[A-Za-z_]\w*)$")


@register("MODULE:FACTORY", matches=lambda spec: _FORM.match(spec) is not None, last=True)
def load_user(spec: str) -> Subject:
    """Call a function of the user's, found in the current folder or on the Python path, and take its subject."""
    match = _FORM.match(spec)
    if match is None:
        raise SubjectProblem(f"{spec!r}: should read module:factory")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(match["module"])
    except Exception as error:  # importing runs the user's code
        raise SubjectProblem(
            f"{spec}: importing {match['module']} from {here} failed ({in_one_line(error)})"
        ) from error
    finally:
        sys.path.remove(here)
    factory = getattr(module, match["factory"], None)
    if not callable(factory):
        raise SubjectProblem(f"{spec}: {match['module']} has no function {match['factory']}")
    try:
        subject = factory()
    except SubjectProblem:
        raise
    except Exception as error:  # the user's code
        raise SubjectProblem(f"{spec}: {match['factory']}() failed ({in_one_line(error)})") from error
    if not isinstance(subject, Subject):
        raise SubjectProblem(f"{spec}: {match['factory']}() returned a {type(subject).__name__}, not a Subject")
    subject = identified(subject)
    return replace(subject, provenance=replace(subject.provenance, spec=spec))


def identified(subject: Subject) -> Subject:
    """Make sure that a subject built in Python carries a SHA-256, since cached predictions are found by it.

    One of 64 hexadecimal digits is kept (the hash of a file of weights, say). Anything else is replaced by the hash of
    everything that decides the network's logits.

    Raises:
        SubjectProblem: there is neither a hash nor a network to take it from.
    """
    if re.fullmatch(r"[0-9a-f]{64}", subject.provenance.sha256):
        return subject
    if subject.network is None:
        raise SubjectProblem(
            f"{subject.name}: provenance.sha256 must be 64 hexadecimal digits that change whenever its answers do, "
            "because there is no network to take them from"
        )
    return replace(subject, provenance=replace(subject.provenance, sha256=digest_of_network(subject.network)))
