"""What endpoints do, and what Plumbline does then: one table, from which docs/endpoints.md is made.

`python -m tests.support.endpoint_behaviours` writes it there; test_endpoint_behaviours.py asks a judge behind each of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.judging.server import Body, response
from tests.import_closure import ROOT

DOCS = ROOT / "docs" / "endpoints.md"
ONCE, ONE, EACH = "once for some questions", "for one question", "for each question"
DOES = {
    "asks again": "asks again, and gets its answers",
    "waits": "waits for as long as it is asked to, then asks again",
    "leaves out": "that question is invalid, counted and shown; all others are answered",
    "stops": "stops at the first question and says what to change",
    "drops": "asks without it (with its other name where it has one), and says so",
    "reads": "reads the answer",
}
Reply = bytes | Callable[[Body], bytes | None]  # None: the judge's own answer


@dataclass(frozen=True)
class Behaviour:
    """`system`: one that is known for it; `shown`: to which questions; `does`: of DOES; `words`: in what is said."""

    name: str
    system: str
    shown: str
    reply: Reply
    does: str
    words: str = ""


def error(status: int, message: str, more: str = "", **fields: Any) -> bytes:
    return response(status, {"error": {"message": message, **fields}}, more)


def raw(status: int, content: str, kind: str | None, more: str = "") -> bytes:
    """A reply with any content type, or none."""
    named = f"Content-Type: {kind}\r\n" if kind else ""
    return f"HTTP/1.1 {status} X\r\n{named}{more}Content-Length: {len(content.encode())}\r\n\r\n{content}".encode()


def completion(body: Body, **changes: Any) -> dict[str, Any]:
    """What a judge says that likes the longer answer."""
    from tests.support.judge_questions import longer_wins

    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": longer_wins(body)}}
    return {"choices": [{**choice, **changes}], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}


def soon(seconds: float = 0.1) -> str:
    return f"{(time.time() + seconds) * 1000:.0f}"


def refuses(field: str, reply: bytes) -> Callable[[Body], bytes | None]:
    return lambda body: reply if field in body else None


TOO_LONG = "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens."
TOO_LARGE = ("Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 31538. The input or output "
             "tokens must be reduced in order to run successfully.")  # fmt: skip
UNSUPPORTED = "Unsupported value: 'temperature' does not support 0 with this model."
PROVIDER = {"error": {"code": 429, "message": "Provider returned error", "metadata": {"raw": "slow down, please"}}}
FREE = {"code": 429, "message": "Rate limit exceeded: free-models-per-min"}
RETRY_INFO = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.05s"}]
EXTRA = {"loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}
PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>Bad gateway</h1><p>cloud &amp; sky</p></body></html>"

BEHAVIOURS = (
    # too much to do
    Behaviour("429 with Retry-After", "OpenAI", ONCE, error(429, "slow", "Retry-After: 0.05\r\n"), "waits"),
    Behaviour("429 with retry-after-ms", "Azure OpenAI", ONCE, error(429, "slow", "retry-after-ms: 50\r\n"), "waits"),
    Behaviour("429 with X-RateLimit-Reset in milliseconds since 1970", "OpenRouter", ONCE,
              lambda body: error(429, "slow", f"X-RateLimit-Reset: {soon()}\r\n"), "waits"),
    Behaviour("429 with that header inside its body", "OpenRouter", ONCE,
              lambda body: response(429, {"error": {**FREE, "metadata": {"headers": {"X-RateLimit-Reset": soon()}}}}), "waits"),
    Behaviour("429 with x-ratelimit-reset-requests: 50ms", "OpenAI", ONCE,
              error(429, "slow", "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 50ms\r\n"), "waits"),
    Behaviour("429 in a list, with google.rpc.RetryInfo", "Gemini", ONCE,
              raw(429, json.dumps([{"error": {"code": 429, "details": RETRY_INFO}}]), "application/json"), "waits"),
    Behaviour("429 that says \"try again in 50ms\"", "OpenAI", ONCE, error(429, "Please try again in 50ms."), "waits"),
    Behaviour("429 that says nothing", "Together", ONCE, raw(429, "", None), "asks again"),
    Behaviour("503 while a model is loaded", "llama.cpp", ONCE, error(503, "Loading model"), "asks again"),
    Behaviour("529 overloaded_error", "Anthropic", ONCE, error(529, "Overloaded", type="overloaded_error"), "asks again"),
    Behaviour("200 with error.code 429", "OpenRouter", ONCE, response(200, PROVIDER), "asks again"),
    Behaviour("200 with error.code 502", "OpenRouter", ONCE, error(200, "Bad gateway", code=502), "asks again"),
    Behaviour("200 with an error within its choice", "OpenRouter", ONCE,
              lambda body: response(200, completion(body, error={"code": 502, "message": "cut"}, finish_reason="error")),
              "asks again"),
    Behaviour("200 with finish_reason insufficient_system_resource", "DeepSeek", ONCE,
              lambda body: response(200, completion(body, finish_reason="insufficient_system_resource")), "asks again"),
    Behaviour("200 with a code and no choices", "SiliconFlow", ONCE,
              response(200, {"code": 503, "message": "overloaded", "data": None}), "asks again"),
    Behaviour("200 with an error that has a name and no number", "OpenAI-like routers", ONCE,
              error(200, "later", type="server_error"), "asks again"),
    # trouble that passes
    Behaviour("500 with JSON", "vLLM", ONCE, error(500, "boom"), "asks again"),
    Behaviour("502 with a page", "nginx", ONCE, raw(502, PAGE, "text/html"), "asks again"),
    Behaviour("524, a proxy's time-out", "Cloudflare", ONCE, raw(524, "error code: 524", "text/plain"), "asks again"),
    Behaviour("a body that is cut off", "proxies", ONCE, raw(200, '{"choices": [{"mess', "application/json"), "asks again"),
    Behaviour("no body", "proxies", ONCE, raw(200, "", "application/json"), "asks again"),
    Behaviour("what is no HTTP", "a wrong port", ONCE, b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "asks again"),
    # one question that is refused for good
    Behaviour("413, too large", "nginx", ONE, raw(413, "<html>413 Request Entity Too Large</html>", "text/html"),
              "leaves out", "413 Request Entity Too Large"),
    Behaviour("429 for a request that is too large", "OpenAI", ONE, error(429, TOO_LARGE, code="rate_limit_exceeded"),
              "leaves out", "Requested 31538"),
    Behaviour("400, context_length_exceeded", "OpenAI", ONE, error(400, TOO_LONG, code="context_length_exceeded"),
              "leaves out", "maximum context length"),
    Behaviour("400, too long, without a code", "vLLM", ONE, response(400, {"object": "error", "message": TOO_LONG}),
              "leaves out", "maximum context length"),
    Behaviour("400, content_filter", "Azure OpenAI", ONE, error(400, "The prompt was filtered", code="content_filter"),
              "leaves out", "The prompt was filtered"),
    Behaviour("400, data_inspection_failed", "DashScope", ONE, error(400, "no", code="data_inspection_failed"),
              "leaves out", r"\(no\)"),
    Behaviour("400 without any reason", "many", ONE, raw(400, "", None), "leaves out", "answers 400"),
    Behaviour("403 of a firewall that dislikes the text", "Cloudflare", ONE, raw(403, "<html>Blocked</html>", "text/html"),
              "leaves out", "Blocked"),
    Behaviour("403, moderated", "OpenRouter", ONE, error(403, "Input was flagged"), "leaves out", "flagged"),
    Behaviour("422 for its text", "FastAPI", ONE, response(422, {"detail": "text too long"}), "leaves out", "text too long"),
    Behaviour("200 with error.code 400", "OpenRouter", ONE, error(200, "flagged", code=400), "leaves out", "but 400 in its"),
    Behaviour("200 with finish_reason content_filter", "Azure OpenAI", ONE,
              lambda body: response(200, completion(body, finish_reason="content_filter", message={"content": ""})),
              "leaves out", "filtered its answer"),
    Behaviour("200 with a filtered choice and no message", "Gemini", ONE,
              lambda body: response(200, {"choices": [{"finish_reason": "content_filter: SAFETY"}]}),
              "leaves out", "filtered its answer"),
    Behaviour("500 whenever it is asked", "vLLM", ONE, error(500, "boom"), "leaves out", "not one in 3 attempts"),
    # the server's own words, in all their shapes
    Behaviour("400, {\"error\": text}", "Ollama", EACH, response(400, {"error": "no such option"}), "stops", "no such option"),
    Behaviour("400, {\"detail\": text}", "FastAPI", EACH, response(400, {"detail": "bad day"}), "stops", "bad day"),
    Behaviour("422, {\"detail\": [...]}", "FastAPI", EACH, response(422, {"detail": [{"loc": ["body", "n"], "msg": "odd"}]}),
              "stops", "body.n: odd"),
    Behaviour("400, {\"message\": text}", "Bedrock", EACH, response(400, {"message": "not here"}), "stops", "not here"),
    Behaviour("400, {\"errors\": [...]}", "Cloudflare", EACH, response(400, {"errors": [{"message": "one"}, "two"]}),
              "stops", "one; two"),
    Behaviour("400, [{\"error\": ...}]", "Gemini", EACH,
              raw(400, '[{"error": {"code": 400, "message": "wrong kind"}}]', "application/json"), "stops", "wrong kind"),
    Behaviour("400, problem+json", "RFC 9457", EACH,
              raw(400, '{"title": "Not so", "detail": "out of range"}', "application/problem+json"), "stops",
              "Not so: out of range"),
    Behaviour("400, JSON within a message", "Gemini", EACH,
              error(400, json.dumps({"error": {"message": "inner words"}})), "stops", r"400 \(inner words\)"),
    Behaviour("400, plain text", "proxies", EACH, raw(400, "go away", "text/plain"), "stops", "go away"),
    Behaviour("400, a page", "proxies", EACH, raw(400, PAGE, "text/html"), "stops", "Bad Gateway: Bad gateway cloud & sky"),
    Behaviour("401 that repeats the key", "OpenAI-like servers", EACH, error(401, "Incorrect API key: secret"), "stops",
              r"Incorrect API key: \[PLUMB_JUDGE_KEY\].*put a key"),
    Behaviour("402, or 429 with insufficient_quota", "OpenAI", EACH, error(429, "quota", code="insufficient_quota"), "stops",
              "fill the account behind PLUMB_JUDGE_KEY"),
    Behaviour("400: the credit balance is too low", "Anthropic", EACH,
              error(400, "Your credit balance is too low to access the Anthropic API.", type="invalid_request_error"),
              "stops", "fill the account behind PLUMB_JUDGE_KEY"),
    Behaviour("400, budget_exceeded", "LiteLLM", EACH, error(400, "Budget has been exceeded! Max budget: 1.0", code="400"),
              "stops", "fill the account behind PLUMB_JUDGE_KEY"),
    Behaviour("a redirect that forgets the method (301)", "gateways", EACH,
              lambda body: raw(301, "", None, "Location: /v1/moved?key=s\r\n") if body else raw(405, "", None),
              "stops", "sends requests on to .*/v1/moved, where .*put the address that it means into PLUMB_JUDGE_URL"),
    Behaviour("404 for the model", "vLLM", EACH, error(404, "The model `m` does not exist"), "stops", "lacks the model 'm'"),
    Behaviour("200 with an error that has no code", "gateways", EACH, error(200, "no such route"), "stops",
              "no such route.*PLUMB_JUDGE_URL is not that of its API"),
    Behaviour("a login page", "captive portals", EACH, raw(200, "<html>Please log in</html>", "text/html"), "stops",
              "no completion, but with .*Please log in"),
    Behaviour("200 with a choice that thought until its tokens ended, and no message", "Gemini", EACH,
              lambda body: response(200, {"choices": [{"finish_reason": "length", "message": None}]}),
              "stops", "thought until max_tokens=.*raise its max_tokens"),
    # fields that a model does not take
    Behaviour("400 names `temperature` in param", "OpenAI", EACH,
              refuses("temperature", error(400, UNSUPPORTED, param="temperature")), "drops", "temperature"),
    Behaviour("400 names `max_tokens` in its words", "OpenAI", EACH,
              refuses("max_tokens", error(400, "'max_tokens' is not supported: use 'max_completion_tokens'.")),
              "drops", "max_tokens"),
    Behaviour("422 names `seed` in loc", "FastAPI", EACH, refuses("seed", response(422, {"detail": [EXTRA]})), "drops", "seed"),
    Behaviour("422 names `seed` within message.detail", "Mistral", EACH,
              refuses("seed", response(422, {"object": "error", "message": {"detail": [EXTRA]}})), "drops", "seed"),
    Behaviour("400 names `response_format`", "llama.cpp", EACH,
              refuses("response_format", error(400, "response_format is not known")), "drops", "response_format"),
    # answers that are answers
    Behaviour("JSON served as text/plain", "home-made servers", EACH,
              lambda body: raw(200, json.dumps(completion(body)), "text/plain"), "reads"),
    Behaviour("JSON without a content type", "home-made servers", EACH,
              lambda body: raw(200, json.dumps(completion(body)), None), "reads"),
    Behaviour("JSON after a byte-order mark and empty lines", "gateways", EACH,
              lambda body: raw(200, "\ufeff\n\n" + json.dumps(completion(body)), "application/json"), "reads"),
    Behaviour("an answer with \"error\": null beside it", "vLLM", EACH,
              lambda body: response(200, {**completion(body), "error": None}), "reads"),
    Behaviour("text in parts", "Mistral", EACH,
              lambda body: response(200, completion(body, message={"content": [{"type": "text", "text": completion(body)[
                  "choices"][0]["message"]["content"]}]})), "reads"),
    Behaviour("a redirect that keeps the method (307)", "gateways", EACH,
              lambda body: raw(307, "", None, "Location: /v1/chat/completions?moved=1\r\n"), "reads"),
)  # fmt: skip


def documented() -> str:
    """docs/endpoints.md."""
    rows = "\n".join(f"| {one.name} | {one.system} | {one.shown} | {DOES[one.does]} |" for one in BEHAVIOURS)
    return (
        "# What endpoints do, and what Plumbline does then\n\n"
        "Written by `python -m tests.support.endpoint_behaviours` from its table, each row of which a test asks a judge behind; "
        "do not edit.\n\nBeside these: no certificate that is trusted stops the run and names `SSL_CERT_FILE`; refused "
        "connections and connections that\nbreak are asked again, `asking.attempts` times; too much to do is waited for "
        "until `asking.patience_seconds` end, and after a\nfew refusals in a row calls start only as fast as the server "
        "was seen to answer; more than `asking.failed_share` of a judge's\nquestions without an answer end the run. "
        "`generate.sampler: openai` waits, asks again and leaves out in the same way.\n\n"
        "A call that brought no answer is charged by the `usage` beside its error; where a server or a proxy may have "
        "gone on\nwithout saying so (a time-out, 504, 524, a body or a choice that was broken off), at the most that "
        "it can have cost. A budget sets\naside for each call under way the most that `max_tokens` lets it cost; "
        "where a server wrote more all the same (thoughts\nbeside them), twice the longest reply so far. Longer ones "
        "that are under way at once can pass it, and no others.\n\n"
        "| the endpoint answers | as does | when | Plumbline |\n| --- | --- | --- | --- |\n"
        f"{rows}\n"
    )


if __name__ == "__main__":
    DOCS.write_text(documented(), encoding="utf-8")
