"""Messages: what the roles and turns of other people's conversations are called here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.chat.turn import CALLS
from tasks.data.values import BadRow, as_text, says_something, unpacked

Message = dict[str, Any]
Messages = list[Message]

ROLES = {
    **dict.fromkeys(("system",), "system"),
    **dict.fromkeys(("developer",), "developer"),  # OpenAI's newer name; gpt-oss has both
    **dict.fromkeys(("user", "human", "prompter", "customer", "question"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "ai", "answer", "bing", "bard"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "ipython", "function_response"), "tool"),
}
KEYS = (("role", "content"), ("from", "value"), ("role", "value"), ("from", "content"))
EXCHANGE = (("input", "output"), ("user", "assistant"), ("human", "assistant"))  # a question and its answer as one item
# Keys beside role and content that belong to what is said. All others are notes about it, and are left out.
REASONING = ("reasoning_content", "reasoning", "thinking")
MEDIA = ("images", "audio", "videos")
NAMES = ("name", "tool_call_id")
HISTORY = "history must be a list of messages, or of pairs of a question and its answer"
SHAPE = "messages must be a string or a list of {role, content}"


def as_messages(value: Any, role: str) -> Messages:
    """A text as one message of `role`; a message, or a list of them, with our names of roles.

    Read are OpenAI's `role` and `content`, ShareGPT's `from` and `value`, pairs of `input` and `output`, a mapping of
    roles and contents, and messages that a Parquet file holds as JSON text. Raises BadRow for anything else.
    """
    value = as_text(value)
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if isinstance(value, Mapping):
        value = _rows_of(value)
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise BadRow(SHAPE)
    return [message for one in value for message in _turns(unpacked(one))]


def _rows_of(value: Mapping[str, Any]) -> list[Any]:
    """One message, or those of a mapping of lists, as the library `datasets` writes a `Sequence` of messages."""
    if any(isinstance(value.get(role), list) and isinstance(value.get(content), list) for role, content in KEYS):
        columns = {key: column for key, column in value.items() if isinstance(column, list)}
        if len({len(column) for column in columns.values()}) == 1:
            return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [value]


def is_conversation_as_json(value: Any) -> bool:
    """Whether a text is a list of messages, as tables hold it that know no lists."""
    turns = unpacked(value) if isinstance(value, str) else None
    return isinstance(turns, list) and bool(turns) and all(
        isinstance(one, Mapping) and any(role in one and content in one for role, content in KEYS) for one in turns
    )


def as_history(value: Any) -> Messages:
    """Earlier turns: messages, or pairs of a question and its answer. Raises BadRow for anything else."""
    value = unpacked(value)
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise BadRow(HISTORY)
    return [message for one in value for message in _exchange(unpacked(one))]


def _exchange(value: Any) -> Messages:
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and len(value) == 2:
        return [_message(role, text, {}) for role, text in zip(("user", "assistant"), value, strict=True)]
    if not isinstance(value, Mapping):
        raise BadRow(HISTORY)
    return _turns(value)


def _turns(value: Any) -> Messages:
    if not isinstance(value, Mapping):
        raise BadRow(SHAPE)
    for role, content in KEYS:
        if role in value and (content in value or any(key in value for key in CALLS)):
            return [_message(value[role], value.get(content), value)]
    for question, answer in EXCHANGE:
        if question in value and answer in value:
            return [_message("user", value[question], {}), _message("assistant", value[answer], {})]
    raise BadRow(SHAPE)


def _message(role: Any, content: Any, value: Mapping[str, Any]) -> Message:
    extras = {key: value[key] for key in (*CALLS, *REASONING, *MEDIA, *NAMES) if says_something(value.get(key))}
    if isinstance(extras.get("tool_calls"), str):
        extras["tool_calls"] = unpacked(extras["tool_calls"])
    return {"role": role_named(role), "content": _text_of(content, extras), **extras}


def role_named(role: Any) -> str:
    """Our name of a role. Raises BadRow for one that is not known."""
    if not isinstance(role, str):
        raise BadRow("role and content of a message must be text")
    if role.strip().lower() not in ROLES:
        known = ", ".join(dict.fromkeys(ROLES.values()))
        raise BadRow(f"a role is none of {known}, nor another name of one (human, gpt, …)", f"{role!r}")
    return ROLES[role.strip().lower()]


def _text_of(content: Any, extras: Mapping[str, Any]) -> str:
    content = as_text(content)
    if content is None and any(key in extras for key in CALLS):
        return ""
    if isinstance(content, list):
        return "".join(_part(unpacked(part)) for part in content)
    if not isinstance(content, str):
        raise BadRow("role and content of a message must be text")
    return content


def _part(part: Any) -> str:
    """The text of one of OpenAI's content parts."""
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        raise BadRow("a message has a part that is no text; answers and prompts are text here", f"{kind!r}")
    return part["text"]


# --- conversations ---


def turn_key(message: Mapping[str, Any]) -> tuple[str, str, str]:
    """What makes a turn another one: who speaks, the text, and calls of tools."""
    return message["role"], message["content"].strip(), repr([message.get(key) for key in CALLS])


def conversation(prompt: Messages, answer: Messages) -> Messages:
    """Prompt and answer as one conversation; the answer may itself repeat the prompt, or some of it.

    Raises BadRow when the answer is a conversation of its own that the prompt has no place in.
    """
    if not prompt or not answer or answer[0]["role"] == "assistant":
        return prompt + answer
    questions, turns = _turn_keys(prompt), _turn_keys(answer)
    if turns[: len(questions)] == questions:
        system = [turn for turn in prompt if turn["role"] == "system"]
        return answer if answer[0]["role"] == "system" else system + answer
    if questions == turns[:-1][-len(questions):]:
        return answer  # the prompt is the last question of a longer conversation
    raise BadRow("the prompt is neither the beginning of the conversation beside it nor its last question")


def _turn_keys(messages: Messages) -> list[tuple[str, str, str]]:
    return [turn_key(message) for message in messages if message["role"] != "system"]


def with_system(text: Any, messages: Messages) -> Messages:
    """Messages after the system turn that a column of its own gives. Raises BadRow beside another system turn."""
    text = as_text(text)
    if not isinstance(text, str):
        raise BadRow("the system prompt must be text")
    if not text.strip():
        return messages
    turn = {"role": "system", "content": text}
    if messages and messages[0]["role"] == "system":
        if turn_key(messages[0]) != turn_key(turn):
            raise BadRow("it has a system column and another system turn among its messages")
        return messages
    return [turn, *messages]


def check_conversation(messages: Messages) -> Messages:
    """The messages. Raises BadRow unless it is a prompt followed by one answer: a text, or calls of tools."""
    if not messages or messages[-1]["role"] != "assistant":
        raise BadRow("it must end with an assistant's turn after a prompt")
    if len(messages) > 1 and messages[-2]["role"] == "assistant":
        raise BadRow("it ends with two assistant's turns; make them one, or put what was asked between them")
    answer = messages[-1]
    for key in REASONING:
        if key in answer:
            raise BadRow(f"the answer has {key}, and answers are trained without reasoning; leave out field or row")
    if not answer["content"].strip() and not any(key in answer for key in CALLS):
        raise BadRow("the response is empty")
    check_prompt(messages[:-1])
    return messages


def check_prompt(messages: Messages) -> Messages:
    """The messages. Raises BadRow unless a user says something in them, and it is the assistant's turn then."""
    if not any(message["content"].strip() for message in messages if message["role"] == "user"):
        raise BadRow("there is no prompt")
    if messages[-1]["role"] == "assistant":
        raise BadRow("the prompt ends with an assistant's turn, which leaves nothing to answer")
    return messages
