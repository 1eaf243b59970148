"""``reckon chat``: ask a model questions and watch it think."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated

import typer

from reckon.core.text import clean
from reckon.tasks.answer import END_THINK, THINK

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
_PARTIAL = "\N{REPLACEMENT CHARACTER}"


def command(
    model: Annotated[str, typer.Argument(help="A model's folder, its name on the hub, or micro.")],
    template: Annotated[
        str | None,
        typer.Option(
            help="r1-zero, micro, chat, or a text with {question} in it. [default: chat if the model has a chat "
            "template, else micro]"
        ),
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 1.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0)] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="At most; the model's context may hold less.")] = 1024,
    stop: Annotated[list[str] | None, typer.Option(help="A text that ends a response.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1...")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    fold: Annotated[bool, typer.Option("--fold", help="Show the thinking as one line with its length.")] = False,
) -> None:
    """Ask a model questions; each line is one, without memory of those before.

    Reads from the terminal, or from a pipe: one question per line. /quit or the end of the input ends it.
    """
    from reckon.core.seeds import seed_for
    from reckon.engine.base import Request, Sampling
    from reckon.engine.native import NativeEngine
    from reckon.models.load import end_ids, load_model
    from reckon.models.template import PromptTemplate, opens_thinking, response_text

    network, tokenizer = load_model(model, dtype, device)
    prompts = PromptTemplate(template or ("chat" if tokenizer.chat_template else "micro"))
    engine = NativeEngine(network, tokenizer, max_running=1)
    context: int = getattr(network.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
    sampling = Sampling(max_new_tokens, temperature, top_p, tuple(stop or ()), end_ids(network, tokenizer))
    for number, question in enumerate(_questions()):
        text, ids = prompts.render(question, tokenizer)
        answer = Answer(lambda some: response_text(some, tokenizer), opens_thinking(text), fold)
        fitting = replace(sampling, max_new_tokens=max(1, min(max_new_tokens, context - len(ids))))
        request = Request(number, ids, fitting, seed_for(seed, "chat", number))
        [completion] = engine.generate([request], on_token=answer.on_token)
        answer.end()
        if completion.finish == "length":
            print(f"(cut off after {len(completion.token_ids)} tokens)", file=sys.stderr)


def _questions() -> Iterator[str]:
    """The lines of the input, up to /quit."""
    if sys.stdin.isatty():
        print("Type a question and press Enter. /quit ends.", file=sys.stderr)
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if line == "/quit":
            return
        if line:
            yield line


class Answer:
    """Prints one response as its tokens come: thinking dimmed on a terminal, or folded to one line.

    Args:
        thinking: the prompt has opened the thinking.
    """

    def __init__(self, decode: Callable[[list[int]], str], thinking: bool, fold: bool) -> None:
        self._text, self._thoughts, self._fold = TextStream(decode), ThoughtStream(thinking), fold
        self._terminal = sys.stdout.isatty()
        self._dim = self._terminal and not os.environ.get("NO_COLOR")
        self._folded = 0

    def on_token(self, _: int, token: int) -> None:
        self._folded += self._fold and self._thoughts.thinking
        self._show(self._thoughts.feed(self._text.feed(token)))

    def end(self) -> None:
        self._show(self._thoughts.feed(self._text.rest()) + self._thoughts.rest())
        self._close_fold()
        print(flush=True)

    def _show(self, pieces: list[tuple[bool, str]]) -> None:
        for thinking, piece in pieces:
            if thinking and self._fold:
                if self._terminal:
                    print(f"\r(thinking, {self._folded} tokens)", end="", flush=True)
                continue
            self._close_fold()
            text = clean(piece)
            print(f"{DIM}{text}{PLAIN}" if thinking and self._dim else text, end="", flush=True)

    def _close_fold(self) -> None:
        if self._folded:
            print("\r" * self._terminal + f"(thought for {self._folded} tokens)")
            self._folded = 0


class TextStream:
    """Text from tokens, as soon as it cannot change any more.

    A character may need several tokens, and a token's text may depend on the one before it. So the newest tokens
    are decoded together with those of the piece before, which bounds the cost for each.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._before: list[int] = []
        self._new: list[int] = []

    def feed(self, token: int) -> str:
        self._new.append(token)
        text = self.rest()
        if not text or text.endswith(_PARTIAL):
            return ""
        self._before, self._new = self._new, []
        return text

    def rest(self) -> str:
        """The text of the tokens that :meth:`feed` has kept back."""
        return self._decode(self._before + self._new)[len(self._decode(self._before)) :]


class ThoughtStream:
    """Cuts a stream of text into (is it thinking, piece); the tags belong to the thinking.

    What may be the beginning of a tag is kept back until it is clear.
    """

    def __init__(self, thinking: bool) -> None:
        self.thinking = thinking
        self._kept = ""

    def feed(self, text: str) -> list[tuple[bool, str]]:
        self._kept += text
        pieces = []
        while (tag := END_THINK if self.thinking else THINK) in self._kept:
            before, _, self._kept = self._kept.partition(tag)
            pieces += [(True, before + tag)] if self.thinking else [(False, before), (True, tag)]
            self.thinking = not self.thinking
        keep = next(n for n in range(len(tag) - 1, -1, -1) if self._kept.endswith(tag[:n]))
        clear = self._kept[: len(self._kept) - keep]
        self._kept = self._kept[len(clear) :]
        return [piece for piece in [*pieces, (self.thinking, clear)] if piece[1]]

    def rest(self) -> list[tuple[bool, str]]:
        """What :meth:`feed` has kept back."""
        return [(self.thinking, self._kept)] if self._kept else []
