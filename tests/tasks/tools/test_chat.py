"""Talking with a model directory: the same draws as in evaluation, turns remembered, clean endings."""

import os
import select
import subprocess
import sys

import pytest

from models.chat.template import decode_response, encode_prompt, load_tokenizer, stop_ids
from models.lm.loading import load_policy
from models.sampling.sampler import SamplingSettings, sample
from models.sampling.streaming import pieces, stream
from tasks.tools.chat import Conversation, talk
from tests.support import toy
from tests.support.tiny_models import make_gpt2, make_qwen2

pytestmark = pytest.mark.services  # processes and pages by the dozen: `make test-services`

SETTINGS = SamplingSettings(temperature=0.7, max_new_tokens=12, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_qwen2(tmp_path_factory.mktemp("chat") / "qwen2")


@pytest.fixture(scope="module")
def model(folder):
    return load_policy(folder)


@pytest.fixture(scope="module")
def tokenizer(folder):
    return load_tokenizer(folder)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_streamed_tokens_are_those_of_the_sampler(model, tokenizer, temperature):
    settings = SamplingSettings(temperature, 20, 5)
    ids = encode_prompt(tokenizer, [{"role": "user", "content": "hello"}])
    for name in ("turn 1", "turn 2"):
        (drawn,) = sample(model, [(name, ids)], 1, settings, stop_ids=stop_ids(tokenizer), rows_per_batch=1)
        assert tuple(stream(model, name, ids, settings, stop_ids(tokenizer))) == drawn.response_ids


def test_a_stream_ends_with_the_stop_token(model, tokenizer):
    ids = encode_prompt(tokenizer, [{"role": "user", "content": "hello"}])
    free = list(stream(model, "t", ids, SETTINGS, frozenset()))
    assert len(free) == SETTINGS.max_new_tokens
    stopped = list(stream(model, "t", ids, SETTINGS, frozenset({free[4]})))
    assert stopped == free[: free.index(free[4]) + 1]


def test_pieces_are_never_half_a_character():
    """Bytes of "é" and "🧸" arrive one by one, as byte-level tokens do."""
    text = "é ok 🧸!"
    shown = list(pieces(iter(text.encode()), lambda ids: bytes(ids).decode("utf-8", "replace")))
    assert "".join(shown) == text and all("\ufffd" not in piece for piece in shown) and len(shown) == 7


def test_pieces_show_in_the_end_what_never_became_whole():
    assert "".join(pieces(iter("é".encode()[:1]), lambda ids: bytes(ids).decode("utf-8", "replace"))) == "\ufffd"
    assert list(pieces(iter([]), lambda ids: "")) == []


def test_turns_are_remembered_and_answers_are_the_samplers(model, tokenizer):
    chat = Conversation(model, tokenizer, SETTINGS)
    first = "".join(chat.answer("hello"))
    assert chat.messages == [{"role": "user", "content": "hello"}, {"role": "assistant", "content": first}]
    prompt = encode_prompt(tokenizer, [*chat.messages, {"role": "user", "content": "and now?"}])
    (drawn,) = sample(model, [("turn 2", prompt)], 1, SETTINGS, stop_ids=stop_ids(tokenizer), rows_per_batch=1)
    assert "".join(chat.answer("and now?")) == decode_response(tokenizer, drawn.response_ids)
    assert len(chat.messages) == 4


def test_the_oldest_turns_are_forgotten_when_the_context_is_full(model, tokenizer):
    chat = Conversation(model, tokenizer, SETTINGS)
    for turn in range(9):
        "".join(chat.answer(f"{turn} " + "word " * 20))
    prompt = encode_prompt(tokenizer, chat.messages)
    assert chat.messages[0]["content"][0] != "0" and chat.messages[0]["role"] == "user"
    assert len(prompt) <= 512 + 20


def test_a_text_that_is_too_long_is_one_line_and_the_talk_goes_on(model, tokenizer, capsys):
    talk(Conversation(model, tokenizer, SETTINGS), iter(["word " * 400, "", "hello", "/quit", "never read"]))
    said = capsys.readouterr()
    assert "exceeds the model's context of 512" in said.err and said.err.count("\n") == 0
    assert said.out.count("\n") == 2


def command(folder):
    return [sys.executable, "-m", "tasks.tools.chat", "--model", str(folder), "--tokenizer", str(folder),
            "--temperature", "0.7", "--max-new-tokens", "12", "--seed", "3"]  # fmt: skip


def test_a_pipe_is_answered_line_by_line(folder, model, tokenizer, tmp_path):
    answer = subprocess.run(command(folder), input="hello\nand now?\n", capture_output=True, text=True, cwd=toy.ROOT)
    assert answer.returncode == 0 and answer.stderr == ""
    chat = Conversation(model, tokenizer, SETTINGS)
    expected = ["".join(chat.answer(text)) for text in ("hello", "and now?")]
    assert answer.stdout == "".join(f"{text}\n" for text in expected)


def test_a_directory_that_holds_no_model_is_one_line(tmp_path):
    answer = subprocess.run(command(tmp_path), input="hello\n", capture_output=True, text=True, cwd=toy.ROOT)
    assert answer.returncode == 1 and answer.stdout == ""
    assert answer.stderr.startswith("chat: ") and answer.stderr.count("\n") == 1


# Makes the terminal that it is given its own, so that Ctrl-C there is a signal, and becomes the command. The signal works
# as in a shell of a terminal, also where the tests run in the background, where it is ignored and children inherit that.
TAKE_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """The chat on a terminal of its own; nothing here waits for ever."""

    def __init__(self, arguments):
        self.handle, end = os.openpty()
        # Not pty.fork: a fork of this process, with torch's threads in it, may hang before it becomes the chat.
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *arguments], cwd=toy.ROOT, start_new_session=True,
            stdin=end, stdout=end, stderr=end,
        )  # fmt: skip
        os.close(end)
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        os.close(self.handle)

    def _more(self, seconds):
        """Whether something came; False at the end of the conversation, or when nothing came in time."""
        if not select.select([self.handle], [], [], seconds)[0]:
            return False
        try:
            came = os.read(self.handle, 1000)
        except OSError:  # nobody has the other end open any more
            return False
        self.text += came.decode("utf-8", "replace")
        return bool(came)

    def read_until(self, words, seconds=60.0):
        while words not in self.text:
            assert self._more(seconds), self.text

    def write(self, text):
        self.text = ""
        os.write(self.handle, text.encode())

    def interrupt(self):
        """Press Ctrl-C until it is noticed, as people do.

        Python's readline looks for signals when it starts to wait for a key: one that comes after the prompt is shown
        and before that is kept until the next key.
        """
        for _ in range(30):
            self.write("\x03")
            if self._more(2.0):
                return
        raise AssertionError("thirty interrupts were not noticed")

    def end(self):
        """Its exit code; what is still written is read, or it could not end."""
        while self._more(60.0):
            pass
        return self.process.wait(60)


@pytest.mark.parametrize("ending", ["/quit\n", "\x04", "\x03"], ids=["quit", "ctrl-d", "ctrl-c"])
def test_on_a_terminal_it_prompts_answers_and_ends_cleanly(folder, ending):
    with Terminal(command(folder)) as terminal:
        terminal.read_until("> ")
        terminal.write("hello\n")
        terminal.read_until("\n> ")
        terminal.interrupt() if ending == "\x03" else terminal.write(ending)
        assert terminal.end() == 0


def test_ctrl_c_stops_an_answer_and_not_the_talk(tmp_path):
    """480 tokens of babble take seconds; stopped, the next prompt comes at once."""
    arguments = command(make_gpt2(tmp_path / "gpt2"))
    arguments[arguments.index("--max-new-tokens") + 1] = "480"
    with Terminal(arguments) as terminal:
        terminal.read_until("> ")
        terminal.write("hello\n")
        terminal.read_until("hello\r\n")
        while terminal.text.endswith("hello\r\n"):
            assert terminal._more(60.0), terminal.text  # the first piece of the answer
        os.write(terminal.handle, b"\x03")
        terminal.read_until("\n> ")
        assert "Traceback" not in terminal.text
        terminal.write("/quit\n")
        assert terminal.end() == 0
