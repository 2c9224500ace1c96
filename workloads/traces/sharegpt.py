"""ShareGPT: conversations as texts, from which prompts and answers are counted.

An array of objects, or one object a line, with `conversations`: a list of {"from", "value"}, such
as `ShareGPT_V3_unfiltered_cleaned_split.json`. There are no times and no token counts in it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from simulator.errors import InputError, Problem
from simulator.prefix import PromptSegments
from workloads.batch import Sessions
from workloads.traces.base import READERS, TraceRows, usable_rows
from workloads.traces.parsing.head import Head
from workloads.traces.parsing.json_array import array_items
from workloads.traces.parsing.json_rows import json_objects
from workloads.traces.parsing.problems import BadRows, shown
from workloads.traces.parsing.source import Source
from workloads.traces.parsing.turns import turns_by_time

ANSWERED_BY = frozenset({"gpt", "chatgpt", "assistant", "bard", "bing", "model"})
CHARACTERS_PER_TOKEN = 4

Counter = Callable[[str], int]


@READERS.register("sharegpt")
@dataclass(frozen=True)
class ShareGptReader:
    """The reader of such conversations: every answer in them is a request.

    Its prompt is all that was said before. A text has ceil(characters / 4) tokens, unless
    `tokenizer` counts them: a function of a text, or the path of a Hugging Face `tokenizer.json`
    (read with the package tokenizers). All conversations begin at time 0, and a turn is sent as
    soon as the one before is answered. What was not measured is named in `estimated`. A
    conversation is one growing segment: a turn's prompt begins with all of the turn before.
    """

    title: ClassVar[str] = "ShareGPT JSON"
    layout: ClassVar[str] = "JSON conversations of from and value"
    tokenizer: str | Counter | None = None

    def matches(self, head: Head) -> bool:
        """Whether the first object has conversations."""
        return "conversations" in head.keys

    def read(self, source: Source) -> TraceRows:
        """Parses a whole file."""
        count = counter(self.tokenizer)
        bad = BadRows(source.file)
        items = array_items(source) if source.head.array else json_objects(source, bad)
        rows: list[tuple[int, int, int]] = []  # conversation, prompt tokens, answer tokens
        unanswered = 0
        for number, (line, item) in enumerate(items):
            wrong = _problems(item)
            if wrong:
                bad.add(line, *wrong)
            if bad.count:
                continue
            found = [(number, *lengths) for lengths in _requests(item["conversations"], count)]
            rows += found
            unanswered += not found
        bad.check()
        table = np.array(rows, dtype=np.int64).reshape(-1, 3)
        reasons = [("no text before the answer", table[:, 1] == 0), ("no answer", table[:, 2] == 0)]
        if not rows:
            message = "holds no conversation with an answer"
            raise InputError(Problem(message, file=source.file))
        kept, dropped = usable_rows(np.zeros(len(rows)), reasons, source.file)
        if unanswered:
            dropped["a conversation without an answer"] = unanswered
        conversation, prompt, answer = table[kept].T.copy()
        n = len(kept)
        first = np.diff(conversation, prepend=-1) != 0
        guessed = () if self.tokenizer else ("prompt_tokens", "answer_tokens")
        return TraceRows(
            arrival_s=np.zeros(n),
            prompt_tokens=prompt,
            answer_tokens=answer,
            sessions=Sessions(
                session_id=conversation,
                turn=turns_by_time(conversation),
                after=np.where(first, -1, np.arange(n) - 1),
                pause_s=np.zeros(n),
            ),
            segments=PromptSegments(
                start=np.arange(n + 1),
                segment_id=conversation,
                tokens=prompt,
                output_id=np.column_stack((np.full(n, -1, dtype=np.int64), conversation)),
            ),
            estimated=("arrival_s", "pause_s", *guessed),
            dropped=dropped,
        )


def counter(tokenizer: str | Counter | None) -> Counter:
    """What counts the tokens of a text.

    Raises InputError if the package tokenizers is not installed, or can't read the file.
    """
    if tokenizer is None:
        return lambda text: -(-len(text) // CHARACTERS_PER_TOKEN)
    if callable(tokenizer):
        return tokenizer
    try:
        package = importlib.import_module("tokenizers")
    except ImportError:
        message = "needs the package tokenizers, which is not installed: pip install tokenizers"
        raise InputError(Problem(message, field="tokenizer")) from None
    try:
        made = package.Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # the package raises nothing more special
        message = f"can't be read: {error}"
        raise InputError(Problem(message, file=str(tokenizer), field="tokenizer")) from None
    return lambda text: len(made.encode(text, add_special_tokens=False).ids)


def _problems(item: Any) -> list[tuple[str | None, str]]:
    if not isinstance(item, dict):
        return [(None, f"must be an object with conversations: {shown(item)}")]
    messages = item.get("conversations")
    if not isinstance(messages, list):
        return [("conversations", "must be a list of messages")]
    wrong: list[tuple[str | None, str]] = []
    for i, message in enumerate(messages):
        name = f"conversations[{i}]"
        if not isinstance(message, dict):
            wrong.append((name, f"must be an object with from and value: {shown(message)}"))
            continue
        wrong += [
            (f"{name}.{key}", f"must be a text: {shown(message.get(key))}")
            for key in ("from", "value")
            if not isinstance(message.get(key), str)
        ]
    return wrong


def _requests(messages: list[dict[str, str]], count: Counter) -> Iterator[tuple[int, int]]:
    """(prompt tokens, answer tokens) of each answer."""
    said = 0
    for message in messages:
        tokens = count(message["value"])
        if message["from"].lower() in ANSWERED_BY:
            yield said, tokens
        said += tokens
