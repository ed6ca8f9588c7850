"""A judge behind an endpoint that behaves in each way of the table; pauses, rates, certificates."""

import asyncio
import json
import re
import socketserver
import ssl
import subprocess
import threading
import time

import pytest

from benchmarks.judging.server import PATH, response
from models.endpoints.endpoint import run
from models.endpoints.error_body import read_error
from models.endpoints.pauses import pause_of
from models.judges.asking import Asker, AskingSettings, JudgeError, JudgeUnreachable
from models.judges.openai import OpenAIJudge
from tests.support.endpoint_behaviours import BEHAVIOURS, DOCS, EACH, ONCE, documented, soon
from tests.support.judge_questions import FAST, WEIGHTS, Moody, key, longer_wins, questions  # noqa: F401
from tests.support.judge_server import JudgeServer

QUICK = AskingSettings(concurrency=4, attempts=3, first_wait=0.01, longest_wait=0.02, patience=20.0)
PAIRS = 6
RIGHT = [1.0, 0.0] * PAIRS


def asks(server, monkeypatch, settings=QUICK, pairs=PAIRS):
    monkeypatch.setenv("PLUMB_JUDGE_URL", server.url)
    asker, judge = Asker(settings=settings), OpenAIJudge("j", "m", WEIGHTS)
    return asker.ask([(judge, question) for question in questions(pairs)]), asker, judge


def mood_of(one, pair):
    """Shows the behaviour for both questions about that pair, or for each; where it is shown once, once for either."""
    shown = set()

    def mood(path, body):
        user = body["messages"][-1]["content"] if body else ""
        if one.shown != EACH and (f"spoon {pair} kept" not in user or (one.shown == ONCE and user in shown)):
            return None
        shown.add(user)
        return None if "?" in path else one.reply(body) if callable(one.reply) else one.reply

    return mood


class Moved(Moody):
    """Answers under any path with a query too."""

    def plan(self, path, headers, body):
        return super().plan(path.partition("?")[0], headers, body)


CELLS = [(one, pair) for one in BEHAVIOURS for pair in ((0,) if one.shown == EACH else (0, 3))]


@pytest.mark.parametrize(("one", "pair"), CELLS, ids=lambda value: getattr(value, "name", value))
def test_a_judge_behind_each_of_them(monkeypatch, one, pair):
    """Pair 0 holds the first question of all."""
    with Moved(longer_wins) as server:
        server.mood, server.seen = mood_of(one, pair), []
        if one.does == "stops":
            with pytest.raises(JudgeError, match=one.words) as error:
                asks(server, monkeypatch)
            assert len(server.seen) <= 6 and "\n" not in str(error.value) and "secret" not in str(error.value)
            return
        answers, asker, judge = asks(server, monkeypatch)
    said = [answer.p_first for answer in answers]
    if one.does == "leaves out":
        assert [answer.valid for answer in answers] == [place // 2 != pair for place in range(2 * PAIRS)]
        assert asker.tally.failed == len(asker.failures) == 2
        assert said[:2 * pair] + said[2 * pair + 2 :] == RIGHT[2:]
        assert all(re.search(one.words, line) for line in asker.failures)
        return
    assert said == RIGHT and all(answer.valid for answer in answers) and asker.tally.failed == 0
    refused = judge.fields_refused | ({"response_format": None} if judge.formats_refused else {})
    assert list(refused) == ([one.words] if one.does == "drops" else [])
    if one.does == "drops":  # each request counts, those in which fields are tried as well
        assert asker.tally.calls == asker.budget.calls == len(server.seen) > 2 * PAIRS


def test_the_docs_hold_the_table():
    assert DOCS.read_text(encoding="utf-8") == documented(), "python -m tests.support.endpoint_behaviours writes them"
    assert len(BEHAVIOURS) >= 30 and len({one.name for one in BEHAVIOURS}) == len(BEHAVIOURS)


INFO = {"error": {"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]}}


@pytest.mark.parametrize(("headers", "body", "seconds"), [
    ({"retry-after": "1.5"}, None, 1.5),
    ({"retry-after-ms": "250", "retry-after": "9"}, None, 0.25),
    ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, None, 60.0),
    ({"retry-after": "soon"}, None, 0.0), ({}, None, 0.0), ({"retry-after": "inf"}, None, 0.0),
    ({"retry-after": "nan"}, None, 0.0), ({"retry-after": "9" * 400}, None, 0.0), ({"retry-after": "-3"}, None, 0.0),
    ({"x-ratelimit-reset": "12"}, None, 12.0), ({"ratelimit-reset": "12"}, None, 12.0),
    ({"x-rate-limit-reset": "12"}, None, 12.0),
    ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0"}, None, 360.0),
    ({"x-ratelimit-reset-requests": "23h59m", "x-ratelimit-remaining-requests": "7",
      "x-ratelimit-reset-tokens": "1.2s", "x-ratelimit-remaining-tokens": "0"}, None, 1.2),
    ({"anthropic-ratelimit-requests-reset": "1970-01-01T00:01:00Z", "anthropic-ratelimit-requests-remaining": "0"}, None, 20.0),
    ({}, INFO, 34.5), ({}, [INFO], 34.5), ({"retry-after": "2"}, INFO, 2.0),
    ({}, {"error": {"message": json.dumps(INFO)}}, 34.5),
    ({}, {"error": {"message": "Rate limit reached. Please try again in 1m2.5s. Visit us"}}, 62.5),
    ({}, {"message": "Please retry after 7 seconds."}, 7.0), ({}, {"message": "Try again later"}, 0.0),
])
def test_pauses_by_hand(headers, body, seconds):
    """40 seconds after 1970 began."""
    assert pause_of(headers, body, now=40.0) == pytest.approx(seconds)


def test_points_in_time_are_seconds_or_milliseconds():
    now = 1_750_000_000.0
    for written in ("1750000030", "1750000030000"):
        assert pause_of({"x-ratelimit-reset": written}, now=now) == pytest.approx(30.0)


def test_an_error_body_from_outside_is_read_however_deep_it_is():
    deep = "[" * 5000 + "]" * 5000
    assert read_error(deep).words and read_error({"error": {"message": deep}}).words
    nested = {"error": None}
    for _ in range(100):
        nested = {"error": nested}
    assert read_error(nested).status is None and read_error({"detail": 7}).words == '{"detail": 7}'


WINDOW, ALLOWED = 0.5, 10  # seconds, calls in each


class Limited(JudgeServer):
    """Takes so many calls in each window, as providers count them; `told`: how a refusal says when the next begins."""

    told = staticmethod(lambda left: "")

    def plan(self, path, headers, body):
        now = time.monotonic()
        if now >= getattr(self, "ends", 0.0):
            self.ends, self.taken = now + WINDOW, 0
        self.taken += 1
        if self.taken <= ALLOWED:
            return super().plan(path, headers, body)
        return 0.0, "429", response(429, {"error": {"message": "slow down"}}, self.told(self.ends - now))


@pytest.mark.parametrize("told", [
    lambda left: f"X-RateLimit-Reset: {soon(left)}\r\n", lambda left: f"Retry-After: {left:.3f}\r\n", lambda left: "",
], ids=["reset", "retry-after", "nothing"])
def test_the_rate_of_a_server_is_learned(monkeypatch, told):
    """60 questions at 10 in half a second, of two attempts each: the old way gave up after 10 to 20 answers."""
    settings = AskingSettings(concurrency=16, attempts=2, first_wait=0.05, longest_wait=0.2, patience=60.0)
    with Limited(longer_wins) as server:
        server.told = told
        began = time.monotonic()
        answers, asker, judge = asks(server, monkeypatch, settings, pairs=30)
        took = time.monotonic() - began
    assert [answer.p_first for answer in answers] == [1.0, 0.0] * 30 and asker.tally.failed == 0
    refused = sum(call.outcome == "429" for call in server.calls)
    assert took < 40 * WINDOW and 0.2 < judge.endpoint.pace.interval / (WINDOW / ALLOWED) < 10
    assert refused <= 60, "without a learned rate each window's calls are refused again and again"


def test_a_server_that_stays_busy_is_given_up_when_the_patience_ends(monkeypatch):
    settings = AskingSettings(concurrency=4, attempts=2, first_wait=0.01, longest_wait=0.05, patience=0.5)
    with Moody(longer_wins) as server:
        server.mood, server.seen = (lambda path, body: response(429, {"error": {"message": "full"}})), []
        with pytest.raises(JudgeUnreachable, match=r"429 \(full\), and asking.patience_seconds is 0.5; it answered nothing"):
            asks(server, monkeypatch, settings)
        assert len(server.seen) > 4, "no attempt is counted while the server has too much to do"


def test_a_judge_that_refuses_many_is_stopped_by_the_share(monkeypatch):
    """3 and 0.1 of 40: 7 may be refused; 4 of 20 pairs are 8 questions."""
    def mood(path, body):
        bad = any(f"spoon {number} kept" in str(body) for number in (2, 5, 8, 11))
        return response(400, {"error": {"message": "not nice"}}) if bad else None

    with Moody(longer_wins) as server:
        server.mood = mood
        with pytest.raises(JudgeError, match="not nice.*left 8 questions without an answer, more than 3 and 0.1 of all"):
            asks(server, monkeypatch, AskingSettings(1, 2, 0.01, 0.01, failed_share=0.1), pairs=20)
        answers, asker, _ = asks(server, monkeypatch, AskingSettings(1, 2, 0.01, 0.01, failed_share=0.2), pairs=20)
    assert asker.tally.failed == 8 and sum(answer.valid for answer in answers) == 32


def test_calls_that_fail_together_leave_no_complaint(monkeypatch, capfd):
    """One error comes out; asyncio says nothing of the others when they are thrown away."""
    import gc

    lost = response(401, {"error": {"message": "revoked"}})
    with Moody(longer_wins) as server:
        server.mood = lambda path, body: lost if "spoon 0 kept" not in str(body) else None
        with pytest.raises(JudgeError, match="revoked"):
            asks(server, monkeypatch, AskingSettings(16, 2, 0.01, 0.01), pairs=20)
    gc.collect()
    assert "never retrieved" not in capfd.readouterr().err


# --- certificates ---


@pytest.fixture
def signed(tmp_path):
    """(certificate, key) that nobody signed, for localhost."""
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-out", files[0], "-keyout", files[1]],
                   check=True, capture_output=True)  # fmt: skip
    return files


class Secure(JudgeServer):
    """The judges' server behind TLS."""

    async def listen(self):
        await super().listen()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.files)

        async def pass_on(reader, writer):
            self.connections += 1
            inside, out = await asyncio.open_connection("127.0.0.1", self.port)

            async def copy(source, sink):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
                sink.close()

            await asyncio.gather(copy(reader, out), copy(inside, writer), return_exceptions=True)

        self.secure = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
        self.connections = 0

    def address(self, host):
        return f"https://{host}:{self.secure.sockets[0].getsockname()[1]}/v1"


@pytest.fixture
def secure(signed):
    server = Secure(longer_wins)
    server.files = signed
    with server:
        yield server


def test_a_certificate_that_is_not_trusted_is_named_at_once(monkeypatch, secure, signed):
    def ask(host):
        monkeypatch.setenv("PLUMB_JUDGE_URL", secure.address(host))
        asker, judge = Asker(settings=FAST), OpenAIJudge("j", "m", WEIGHTS)
        return asker.ask([(judge, question) for question in questions(2)])

    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(JudgeError, match="certificate of https://localhost.* is not trusted .*name the file in SSL_CERT_FILE"):
        ask("localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(signed[0]))
    with pytest.raises(JudgeError, match="not trusted .*put the name that it was made for into PLUMB_JUDGE_URL"):
        ask("127.0.0.1")
    assert [answer.p_first for answer in ask("localhost")] == [1.0, 0.0] * 2


class Plain(socketserver.BaseRequestHandler):
    """Says what a web server without TLS says to a greeting in it."""

    def handle(self):
        self.request.recv(1000)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def test_https_where_http_is_spoken(monkeypatch):
    with socketserver.TCPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PLUMB_JUDGE_URL", f"https://127.0.0.1:{server.server_address[1]}/v1")
        with pytest.raises(JudgeError, match="does not speak TLS .*correct the address in PLUMB_JUDGE_URL"):
            Asker(settings=FAST).ask([(OpenAIJudge("j", "m", WEIGHTS), questions(1)[0])])
        server.shutdown()


def test_a_login_in_the_address_is_sent_and_never_shown(monkeypatch):
    with Moody(longer_wins) as server:
        server.mood = lambda path, body: response(400, {"error": {"message": "no"}})
        monkeypatch.setenv("PLUMB_JUDGE_URL", server.url.replace("//", "//ann:hush@"))
        with pytest.raises(JudgeError, match=r"http://127\.0\.0\.1") as error:
            Asker(settings=FAST).ask([(OpenAIJudge("j", "m", WEIGHTS), questions(1)[0])])
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("more", [
    "", "/", "?api-version=2024-10-21&key=hush", "/chat/completions", "/chat/completions/?key=hush",
])
def test_an_address_may_have_a_query_or_be_whole(monkeypatch, more):
    """Azure's, and what is copied from an example."""
    paths = []
    with Moved(longer_wins) as server:
        server.mood = lambda path, body: paths.append(path)
        monkeypatch.setenv("PLUMB_JUDGE_URL", f"{server.url}{more}")
        judge = OpenAIJudge("j", "m", WEIGHTS)
        assert Asker(settings=FAST).ask([(judge, questions(1)[0])])[0].p_first == 1.0
    query = more.partition("?")[2]
    assert set(paths) == {f"{PATH}?{query}" if query else PATH} and judge.endpoint.address == server.url


def test_work_runs_inside_a_loop_that_runs_already():
    async def one():
        return 1

    async def notebook():
        return run(one())

    assert asyncio.run(notebook()) == 1 and PATH.startswith("/v1")
