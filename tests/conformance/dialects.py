"""Streams as real model servers write them, each named after where it was seen; what comes of each is part of the case.

`Dialect.body` is sent as it is, as `content_type`, with `status`; `text` is what the engine gives for it, None if this one answer fails.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

LINE: Final = "Good day, stranger."
WORDS: Final = ("Good ", "day, ", "stranger.")


@dataclass(frozen=True)
class Dialect:
    """One way to say `LINE`, or something else."""

    name: str
    body: bytes
    text: str | None = LINE
    content_type: str = "text/event-stream"
    status: int = 200


def event(content: Any = "", finish: Any = None, key: str = "delta", **more: Any) -> str:
    """One event of a stream."""
    said = {"content": content} if content != "" or finish is None else {}
    return json.dumps({"choices": [{"index": 0, key: said, "finish_reason": finish}], **more})


def sse(*events: str, end: str = "\n", done: bool = True, last: str = "\n\n") -> bytes:
    """A stream of events with these line ends."""
    whole = [f"data: {one}{end}{end}" for one in events]
    return ("".join(whole) + (f"data: [DONE]{last.replace(chr(10), end)}" if done else "")).encode()


def ended(word: Any) -> bytes:
    """The line, and an end by this word."""
    return sse(*map(event, WORDS), event(finish=word))


SAID = [event(word) for word in WORDS]
STOP = event(finish="stop")
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def whole(**message: Any) -> bytes:
    """The line as a document in place of a stream."""
    said = {"role": "assistant", "content": LINE} | message
    return json.dumps({"id": "x", "choices": [{"index": 0, "message": said, "finish_reason": "stop"}], "usage": USAGE}).encode()


DIALECTS: Final = (
    Dialect("openai: as its own documentation has it", sse(event("", role="assistant"), *SAID, STOP)),
    Dialect("vllm: usage in an event without choices", sse(*SAID, STOP, json.dumps({"choices": [], "usage": USAGE}))),
    Dialect("iis, .net servers: CRLF", sse(*SAID, STOP, end="\r\n")),
    Dialect("old proxies: CR alone", sse(*SAID, STOP, end="\r")),
    Dialect("windows servers: a byte order mark", b"\xef\xbb\xbf" + sse(*SAID, STOP)),
    Dialect("modelcontextprotocol/python-sdk PR 1670: an empty data line first", b"data:\n\n" + sse(*SAID, STOP)),
    Dialect(
        "Growth-Circle/cadis#2329: an empty data line between",
        sse(*SAID[:1]).replace(b"data: [DONE]\n\n", b"data: \n\n") + sse(*SAID[1:], STOP),
    ),
    Dialect("mnfst/llm-gateway#2053: a comment re-sent as data", b"data: : OPENROUTER PROCESSING\n\n" + sse(*SAID, STOP)),
    Dialect("openrouter: comments while it waits", b": OPENROUTER PROCESSING\n\n" + sse(*SAID, STOP)),
    Dialect("sse libraries: ping with text", b"event: ping\ndata: ping\n\n" + sse(*SAID, STOP)),
    Dialect("anthropic-like proxies: ping as an object", b'event: ping\ndata: {"type": "ping"}\n\n' + sse(*SAID, STOP)),
    Dialect("fastapi: data without the space", sse(*SAID, STOP).replace(b"data: ", b"data:")),
    Dialect("the standard: an event over two data lines", b"data: {\ndata: " + SAID[0][1:].encode() + b"\n\n" + sse(*SAID[1:], STOP)),
    Dialect(
        "hand-made servers: pretty-printed events",
        sse(*(json.dumps(json.loads(one), indent=1).replace("\n", "\ndata: ") for one in SAID), STOP),
    ),
    Dialect("hand-made servers: no empty lines between events", sse(*SAID, STOP).replace(b"\n\n", b"\n")),
    Dialect("hand-made servers: id, event and retry fields", b"retry: 3000\nid: 1\nevent: message\n" + sse(*SAID, STOP)),
    Dialect("nginx buffers: the last event has no end of line", sse(*SAID, STOP, done=False).rstrip()),
    Dialect("experientiallabs/experiential PR 962: no DONE", sse(*SAID, STOP, done=False)),
    Dialect("llama.cpp of old: DONE without a line end", sse(*SAID, STOP, last="")),
    Dialect("can1357/oh-my-pi#9433: no finish at all", sse(*SAID)),
    Dialect("sgl-project/sglang#3912, ollama/ollama#4357: finish is an empty text", sse(event(WORDS[0], ""), *SAID[1:], event(finish=""))),
    Dialect("PowerShell/AIShell#350: finish null as a word", sse(*(event(word, "null") for word in WORDS), STOP)),
    Dialect("text-generation-inference: eos_token", ended("eos_token")),
    Dialect("anthropic-compatible proxies: end_turn", ended("end_turn")),
    Dialect("gemini: STOP", ended("STOP")),
    Dialect("gemini, by number of its enumeration's name", ended("FINISH_REASON_STOP")),
    Dialect("anthropic-compatible proxies: stop_sequence", ended("stop_sequence")),
    Dialect("cohere: COMPLETE", ended("COMPLETE")),
    Dialect("gateways: tool_calls although there was only text", ended("tool_calls")),
    Dialect("anthropic-compatible proxies: max_tokens", ended("max_tokens")),
    Dialect("mistral: model_length", ended("model_length")),
    Dialect("the finish comes with the last words", sse(*SAID[:2], event(WORDS[2], "stop"))),
    Dialect("ollama behind a proxy: a whole document in place of a stream", whole(), content_type="application/json"),
    Dialect("gateways: a whole document called a stream", b"data: " + whole() + b"\n\n"),
    Dialect("gateways: a whole document, bare, called a stream", whole()),
    Dialect(
        "litellm of old: message instead of delta",
        sse(*(event(word, key="message") for word in WORDS), event(finish="stop", key="message")),
    ),
    Dialect(
        "completions endpoints: text beside no delta",
        sse(*(json.dumps({"choices": [{"text": word, "finish_reason": None}]}) for word in WORDS), STOP),
    ),
    Dialect("mistral, gpt-5 proxies: content as parts", sse(*(event([{"type": "text", "text": word}]) for word in WORDS), STOP)),
    Dialect(
        "magistral: thoughts as parts", sse(event([{"type": "thinking", "thinking": [{"type": "text", "text": "I lie."}]}]), *SAID, STOP)
    ),
    Dialect(
        "deepseek, vllm: reasoning_content",
        sse(*(json.dumps({"choices": [{"delta": {"reasoning_content": "I lie.", "content": None}}]}),), *SAID, STOP),
    ),
    Dialect("openrouter, groq: reasoning", sse(json.dumps({"choices": [{"delta": {"reasoning": "I lie."}}]}), *SAID, STOP)),
    Dialect("usage as a list", sse(*SAID, event(finish="stop", usage=[1]))),
    Dialect("usage in floats", sse(*SAID, event(finish="stop", usage={"prompt_tokens": 9.0, "completion_tokens": 3.0}))),
    Dialect("usage in texts", sse(*SAID, event(finish="stop", usage={"prompt_tokens": "9", "completion_tokens": "3"}))),
    Dialect("xai: usage in every event", sse(*(event(word, usage=USAGE) for word in WORDS), STOP)),
    Dialect("usage missing, error an empty text", sse(*(event(word, error="") for word in WORDS), STOP)),
    Dialect(
        "azure: an event of its filter's results first",
        sse(json.dumps({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}), *SAID, STOP),
    ),
    Dialect("text behind the end", sse(*SAID, STOP, event(" And more."))),
    Dialect(
        "elizaOS/eliza#30904: halves of a pair in two events",
        sse(event("Good \ud83d"), event("\ude00 day."), STOP),
        text="Good \U0001f600 day.",
    ),
    Dialect("half a pair and nothing behind it", sse(event("Good day.\ud83d"), STOP), text="Good day."),
    Dialect("other letters, raw", sse('{"choices": [{"delta": {"content": "Grüße, 魚!"}}]}', STOP), text="Grüße, 魚!"),
    Dialect("a filter ends it", sse(*SAID[:1], event(finish="content_filter")), text=None),
    Dialect("gemini: SAFETY", ended("SAFETY"), text=None),
    Dialect("openai: the refusal field", sse(json.dumps({"choices": [{"delta": {"refusal": "I can't."}}]}), STOP), text=None),
    Dialect("deepseek: insufficient_system_resource", ended("insufficient_system_resource"), text=None),
    Dialect("a failure in the stream", sse(*SAID[:1], '{"error": {"message": "CUDA out of memory", "code": 500}}'), text=None),
    Dialect("vllm of old: an error as object", sse('{"object": "error", "message": "EngineCore died"}'), text=None),
    Dialect("a proxy's page", b"<html><body>502 Bad Gateway</body></html>", text=None, content_type="text/html"),
    Dialect("a proxy's page, called a stream", b"<!doctype html><p>Just a moment...", text=None),
    Dialect("garbled JSON", sse('{"choices": [{"delta": {"content": "Goo', STOP), text=None),
    Dialect("another protocol", sse("[1, 2]", STOP), text=None),
    Dialect("nothing", b"", text=None),
    Dialect("nothing but DONE", sse(), text=None),
    Dialect("cut off", sse(*SAID, done=False), text=None),
)
THOUGHTS: Final = (
    ("qwen3, deepseek: think", "<think>I should lie about the key.</think>\n\nGood day."),
    ("<thinking>", "<thinking>The key is under the mat, say nothing.</thinking>Good day."),
    ("<reasoning>", "<reasoning>No.</reasoning> Good day."),
    ("canonical/inference-snaps#104: only the closing one survived", "I should lie about the key</think>Good day."),
    ("kimi", "◁think▷I lie.◁/think▷Good day."),
    ("magistral", "[THINK]I lie.[/THINK]Good day."),
    ("gpt-oss", "<|channel|>analysis<|message|>I lie.<|end|><|start|>assistant<|channel|>final<|message|>Good day.<|return|>"),
    ("two thoughts", "<think>a</think><think>b</think>Good day."),
    ("acon96/home-llm PR 247: the template goes on", "Good day.<|im_end|>\n<|im_start|>user\nGive me gold.<|im_end|>"),
    ("llama", "Good day.<|eot_id|><|start_header_id|>user<|end_header_id|>"),
    ("mistral", "Good day.</s> [INST] Give me gold. [/INST]"),
    ("gemma", "Good day.<end_of_turn>\n<start_of_turn>user"),
    ("deepseek's wide bars", "Good day.<\uff5cend\u2581of\u2581sentence\uff5c>"),
    ("the template's head", "<|im_start|>assistant\nGood day."),
    ("MinLL/SkyrimNet-GamePlugin#250: speaks for the player", "Good day.\nPlayer: Give me gold.\nMira: Here."),
    ("speaks for the user", "Good day.\n\nUser: And?"),
    ("names itself", "Mira: Good day."),
    ("names itself in bold", "**Mira:** Good day."),
)
