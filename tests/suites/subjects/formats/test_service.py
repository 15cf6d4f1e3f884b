"""A deployed service as a subject, against a real uvicorn server on loopback; every way it can misbehave is named."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time

import numpy as np
import pytest
import torch
import uvicorn
from fastapi import FastAPI, Request, Response, UploadFile
from PIL import Image

from suites.harness import evaluate
from suites.harness.claims import Verdict
from suites.harness.claims_table import load_claims
from suites.harness.endpoints.uncertainty.scores import logit_scores
from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import http_client, load_subject

CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")
FILM = torch.linspace(0, 1, 40 * 50).reshape(40, 50)


def probabilities(grey: float, sharpness: float = 10.0) -> list[float]:
    """Return what a model that only looks at the mean grey of a film answers."""
    logits = np.array([grey - 0.6, 0.45 - grey, 0.075 - abs(grey - 0.525)]) * sharpness
    return (np.exp(logits) / np.exp(logits).sum()).tolist()


def named(grey: float) -> dict:
    probs = dict(zip(CLASSES, probabilities(grey), strict=True))
    return {"pred": max(probs, key=probs.__getitem__), "probs": probs}


class Deployed:
    """A service whose answers, health and faults a test decides, with a book of what it was asked."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.app.get("/health")(self.on_health)
        self.app.post("/predict")(self.on_predict)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        config = uvicorn.Config(self.app, log_level="critical", lifespan="off", ws="none")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.reset()

    def reset(self) -> None:
        self.answer, self.health, self.pause = named, lambda: {"status": "ok"}, 0.0
        self.received: list[np.ndarray] = []
        self.clients: set[int] = set()
        self.asked = self.now = self.most = 0

    async def on_health(self):
        return self.health()

    async def on_predict(self, file: UploadFile, request: Request):
        self.asked, self.now = self.asked + 1, self.now + 1
        self.most = max(self.most, self.now)
        self.clients.add(request.client.port)
        try:
            await asyncio.sleep(self.pause)
            image = Image.open(io.BytesIO(await file.read()))
            assert (image.format, image.mode) == ("PNG", "L")
            self.received.append(np.asarray(image))
            return self.answer(float(np.asarray(image.convert("RGB")).mean() / 255))
        finally:
            self.now -= 1

    def stop(self) -> None:
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(5)
        self.socket.close()


@pytest.fixture(scope="module")
def server():
    running = Deployed()
    yield running
    running.stop()


@pytest.fixture
def service(server, monkeypatch):
    """Return the running service, well behaved again; waiting between tries is short."""
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.01)
    server.reset()
    return server


def answering(content: bytes, status: int = 200):
    return lambda _grey: Response(content, status, media_type="application/json")


def test_films_arrive_whole_and_probabilities_come_back(service):
    subject = load_subject(service.url)
    assert subject.classes == CLASSES
    assert not subject.differentiable
    service.received.clear()
    films = [FILM, FILM[:30] ** 2]
    logits = subject.respond(films)
    sent = {array.shape: array for array in service.received}
    for film, row in zip(films, logits, strict=True):
        array = sent[tuple(film.shape)]
        assert np.array_equal(array, np.round(film.numpy() * 255).astype(np.uint8))
        assert row.softmax(0).tolist() == pytest.approx(probabilities(array.mean() / 255), abs=1e-6)
    assert subject.provenance.format == "service"
    assert subject.provenance.source == service.url
    assert any("8-bit grey PNG" in note for note in subject.provenance.notes)


def test_the_recipe_is_the_services_own(service):
    subject = load_subject(service.url)
    assert subject.preprocessing.name == "the service's own"
    assert subject.preprocessing.fingerprint() == {"films_sent": "whole", "eight_bit": True}
    assert torch.allclose(subject.pixels(FILM[None])[0, 0], FILM, atol=0.5 / 255), "only rounded, as it is sent"
    with pytest.raises(SubjectProblem, match="no preprocessing called 'hub'"):
        load_subject(service.url, preprocessing="hub")


def test_answers_by_name_may_come_in_any_order(service):
    subject = load_subject(service.url)
    straight = subject.respond([FILM])
    service.answer = lambda grey: {**named(grey), "probs": dict(sorted(named(grey)["probs"].items(), reverse=True))}
    assert torch.equal(subject.respond([FILM]), straight)


def test_the_published_contract_without_names(service):
    service.answer = lambda grey: {"pred": int(np.argmax(probabilities(grey))), "probs": probabilities(grey)}
    subject = load_subject(service.url)
    assert subject.classes == CLASSES
    assert any("published order is assumed" in note for note in subject.provenance.notes)
    assert load_subject(f"{service.url}/predict?classes=a,b,c").classes == ("a", "b", "c")
    service.health = lambda: {"classes": ["x", "y", "z"]}
    assert load_subject(service.url).classes == ("x", "y", "z")
    with pytest.raises(SubjectProblem, match="names 2 classes, the answers are 3 numbers"):
        load_subject(f"{service.url}?classes=a,b")
    service.answer = lambda _grey: {"pred": 0, "probs": [0.7, 0.3]}
    with pytest.raises(SubjectProblem, match=r"2 numbers without names; add \?classes"):
        load_subject(service.url)
    service.answer = named
    with pytest.raises(SubjectProblem, match=r"leave \?classes out"):
        load_subject(f"{service.url}?classes=normal,bacterial_pneumonia,viral_pneumonia")


def test_a_probability_of_zero_keeps_its_film(service):
    service.answer = lambda _grey: {"pred": "well", "probs": {"well": 1.0, "ill": 0.0}}
    logits = load_subject(service.url).respond([FILM])
    assert logits[0].tolist() == pytest.approx([0.0, np.log(1e-12)], abs=1e-5)


def test_connections_are_kept_and_bounded(service):
    subject = load_subject(f"{service.url}?workers=3")
    service.reset()
    service.pause = 0.01
    subject.respond([FILM] * 30)
    assert service.asked == 30
    assert 1 < service.most <= 3
    assert len(service.clients) <= 3


def test_a_passing_fault_is_tried_again(service):
    subject = load_subject(service.url)
    faults = iter([503, 500, 502])

    def shaky(grey):
        status = next(faults, 200)
        return named(grey) if status == 200 else Response("busy", status)

    service.answer, service.asked = shaky, 0
    assert subject.respond([FILM]).shape == (1, 3)
    assert service.asked == 4


def test_a_refusal_is_not_tried_again(service):
    subject = load_subject(service.url)
    service.answer, service.asked = answering(b'{"detail": "no such thing"}', 422), 0
    with pytest.raises(SubjectProblem, match=r"refused with status 422 .*no such thing"):
        subject.respond([FILM])
    assert service.asked == 1


BAD = {
    "down for ever": (answering(b"trace", 500), r"answered with status 500 .*tried 4 times"),
    "three numbers of another sum": (answering(b'{"pred": 0, "probs": [0.9, 0.8, 0.7]}'), "sum to 2.4, not to 1"),
    "logits": (answering(b'{"pred": 0, "probs": [2.5, -1.0, 0.1]}'), "are no probabilities"),
    "NaN": (answering(b'{"pred": 0, "probs": [NaN, 0.5, 0.5]}'), r"\[nan, 0.5, 0.5\] are no probabilities"),
    "beyond every number": (answering(b'{"pred": 0, "probs": [1' + b"0" * 400 + b", 0, 0]}"), "are no probabilities"),
    "null": (answering(b'{"pred": 0, "probs": [null, 0.5, 0.5]}'), "should be two numbers or more"),
    "text for numbers": (answering(b'{"pred": 0, "probs": ["0.5", "0.5"]}'), "should be two numbers or more"),
    "not JSON": (answering(b"<html>\nhello</html>"), "should answer with JSON, not with '<html> hello"),
    "nothing": (answering(b""), "should answer with JSON, not with nothing"),
    "another form": (answering(b'[{"label": "normal", "score": 1.0}]'), r'should answer \{"pred"'),
    "an endless answer": (answering(b" " * 2**21), "more than 1048576 bytes"),
    "pred out of range": (answering(b'{"pred": 3, "probs": [0.9, 0.05, 0.05]}'), "pred is 3, which is none of"),
    "pred unknown": (answering(b'{"pred": "?", "probs": [0.9, 0.05, 0.05]}'), "pred is '.', which is none of"),
    "pred of no kind": (answering(b'{"pred": null, "probs": [0.9, 0.05, 0.05]}'), "name or the index of a class"),
    "pred against probs": (answering(b'{"pred": 1, "probs": [0.9, 0.05, 0.05]}'), "bacterial_pneumonia is the most"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_service_is_told_in_one_line(service, case):
    service.answer, message = BAD[case]
    with pytest.raises(SubjectProblem, match=message) as caught:
        load_subject(service.url)
    assert service.url in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda _grey: {"pred": 0, "probs": [0.4, 0.3, 0.2, 0.1]}, "about 4 numbers, but the classes are bacterial"),
        (lambda _grey: {"pred": "a", "probs": {"a": 0.6, "b": 0.4}}, r"about \['a', 'b'\], but .* redeployed"),
    ],
)
def test_other_classes_in_the_middle_of_a_run(service, answer, message):
    subject = load_subject(service.url)
    service.answer = answer
    with pytest.raises(SubjectProblem, match=message):
        subject.respond([FILM])


def test_a_service_that_hangs(service):
    service.pause = 5.0
    with pytest.raises(SubjectProblem, match=r"no answer within 0.1 s .*tried 4 times"):
        load_subject(f"{service.url}?timeout=0.1")


def test_nobody_there(service, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # has no say over this machine's own services
    assert load_subject(service.url).classes == CLASSES
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SubjectProblem, match=r"/health failed .*is the service running there\? - tried 4 times"):
        load_subject(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("http://", "names no host"),
        ("http://host:port", "is no address"),
        ("https://huggingface.co/owner/name", "is written hf:owner/name"),
        ("http://me:secret@host", "leave user and password out"),
        ("http://host?speed=9", "no setting 'speed'; there are classes, timeout, workers"),
        ("http://host?timeout=soon", "timeout is 'soon'; expected a number"),
        ("http://host?workers=0", "workers is 0; expected 1 to 64"),
        ("http://host?timeout=nan", "timeout is nan; expected 0.1 to 3600"),
    ],
)
def test_addresses_that_cannot_be_meant(spec, message):
    with pytest.raises(SubjectProblem, match=message) as caught:
        load_subject(spec)
    assert "secret" not in str(caught.value)


def test_another_deployment_is_another_subject(service):
    first = load_subject(service.url).fingerprint
    service.health = lambda: {"status": "ok", "uptime": time.perf_counter()}
    assert load_subject(service.url).fingerprint == first, "a clock in /health is no redeployment"
    service.health = lambda: {"status": "ok", "version": 2}
    second = load_subject(service.url).fingerprint
    assert second != first
    service.health = lambda: {"status": "ok"}
    service.answer = lambda grey: {"pred": (p := probabilities(grey, 10.1)).index(max(p)), "probs": p}
    assert load_subject(service.url).fingerprint not in {first, second}


def test_answers_that_do_not_repeat_are_remarked_upon(service):
    shake = iter(range(1000))
    service.answer = lambda _grey: {"pred": 0, "probs": [p := 0.6 + 0.01 * next(shake), 1 - p]}
    subject = load_subject(f"{service.url}?classes=ill,well&workers=1")
    assert any("0.050 apart: its answers are not repeatable" in note for note in subject.provenance.notes)


def test_scores_that_probabilities_cannot_carry_are_left_out(service):
    logits = load_subject(service.url).respond([FILM, FILM / 2]).double().numpy()
    assert set(logit_scores(logits)) == {"max-softmax", "entropy", "margin"}
    assert {"energy", "max-logit"} <= set(logit_scores(logits + 1.0))


@pytest.fixture(scope="module")
def claims():
    wanted = {"classes.balanced_accuracy", "contrast.gamma", "preprocessing.disagreement", "abstention.coverage"}
    wanted |= {"adversarial.one_level", "explanations.lesion", "doubt.lateral"}
    return [claim for claim in load_claims(None) if claim.id in wanted]


def test_black_box_claims_are_judged_and_the_others_say_why_not(service, claims, tmp_path):
    probes = {"lateral": "phantom:n=3,view=LATERAL", "adult": "phantom:n=3,age=adult", "unseen": "phantom:n=3,seed=7"}
    run = evaluate(service.url, "phantom:n=12", claims=claims, probes=probes, cache=tmp_path / "cache")
    table = run.to_pandas().set_index("claim")
    judged = ["classes.balanced_accuracy", "contrast.gamma", "doubt.lateral", "adversarial.one_level"]
    assert table.loc[judged, "estimate"].notna().all()
    assert table.loc["explanations.lesion", "verdict"] == "not_evaluable"
    assert "without gradients" in table.loc["explanations.lesion", "reason"]
    assert table.loc["preprocessing.disagreement", "verdict"] == "not_evaluable"
    assert "has no preprocessing hub, only the service's own" in table.loc["preprocessing.disagreement", "reason"]


def test_a_service_that_dies_is_named_and_nothing_is_lost(service, tmp_path):
    films = tmp_path / "films"
    generator = np.random.default_rng(0)
    for label in CLASSES:
        (films / label).mkdir(parents=True)
        for number in range(20):
            grey = generator.integers(0, 255, (32, 40)).astype(np.uint8)
            Image.fromarray(grey).save(films / label / f"{label}{number}.png")
    claims = [claim for claim in load_claims(None) if claim.id == "classes.balanced_accuracy"]

    def dying(grey):
        return named(grey) if service.asked <= 6 + 4 + 32 else Response("gone", 500)

    service.answer = dying
    with pytest.raises(SubjectProblem, match=r"status 500 .*asked about the film \S+\)$"):
        evaluate(f"{service.url}?workers=1", str(films), claims=claims, cache=tmp_path / "cache")
    service.reset()
    whole = evaluate(service.url, str(films), claims=claims, cache=tmp_path / "cache")
    assert service.asked == 6 + 60 - 32  # the four of the checks are kept, too
    service.reset()
    fresh = evaluate(service.url, str(films), claims=claims, cache=tmp_path / "fresh")
    assert whole.to_pandas().equals(fresh.to_pandas())
    assert "the service&#39;s own" in whole.report(tmp_path / "report").read_text()


def test_a_service_is_attacked_in_few_requests_and_never_called_robust(service, tmp_path):
    claims = [claim for claim in load_claims(None) if claim.id == "adversarial.one_level"]
    run = evaluate(service.url, "phantom:n=15", claims=claims, cache=tmp_path / "cache")
    (judgement,) = run.judgements
    # 6 to get to know it, 4 for the same answer twice, the clean films;
    # then a search of 50 per budget, random signs, and a blank step.
    attacked = service.asked - 6 - 4 - len(run.cohort)
    assert judgement.result.effect.n == 12
    assert attacked <= judgement.result.effect.n * (51 + 4 * 54 + 20)
    assert f"in {attacked} requests" in judgement.result.summary
    assert judgement.verdict in {Verdict.INCONCLUSIVE, Verdict.SUPPORTED, Verdict.NOT_EVALUABLE}
    again = service.asked
    evaluate(service.url, "phantom:n=15", claims=claims, cache=tmp_path / "cache")
    assert service.asked == again + 6, "a finished search was sent again"
