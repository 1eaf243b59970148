"""``reckon chat``: ask a model questions and watch it think."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from reckon.core.errors import ConfigError
from reckon.core.text import clean

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
_SERVERS = ("http://", "https://")


def command(
    model: Annotated[
        str, typer.Argument(help="A model's folder, its name on the hub, micro, or a server: http://127.0.0.1:8000")
    ],
    template: Annotated[
        str | None,
        typer.Option(
            help="r1-zero, micro, chat, or a text with {question} in it. [default: chat if the model has a chat "
            "template, else micro]; a server has its own"
        ),
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 1.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0)] = 1.0,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="At most; the model's context may hold less. [default: 1024; a server has its own]"),
    ] = None,
    stop: Annotated[list[str] | None, typer.Option(help="A text that ends a response.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    device: Annotated[str | None, typer.Option(help="cpu (the default), cuda, cuda:1...")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 (the default), bfloat16 or float16.")] = None,
    fold: Annotated[bool, typer.Option("--fold", help="Show the thinking as one line with its length.")] = False,
) -> None:
    """Ask a model questions, one on each line.

    A model of this machine answers each by itself; a server is told what was said before. Reads from the terminal, or
    from a pipe. /quit or the end of the input ends it.
    """
    if model.startswith(_SERVERS):
        local = {"--template": template, "--device": device, "--dtype": dtype}
        if given := [option for option, value in local.items() if value is not None]:
            raise ConfigError("a server decides this itself", where=given[0], fix="Leave it out, or give a model")
        _ask_server(model, temperature, top_p, max_new_tokens, stop or [], seed, fold)
    else:
        sampled = (temperature, top_p, max_new_tokens or 1024, stop or [], seed)
        _ask_model(model, template, *sampled, device or "cpu", dtype or "float32", fold)


def _ask_model(
    model: str,
    template: str | None,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    stop: Sequence[str],
    seed: int,
    device: str,
    dtype: str,
    fold: bool,
) -> None:
    from reckon.core.seeds import seed_for
    from reckon.engine.base import Request, Sampling
    from reckon.engine.native import NativeEngine
    from reckon.models.load import end_ids, load_model
    from reckon.models.template import PromptTemplate, opens_thinking, response_text

    network, tokenizer = load_model(model, dtype, device)
    prompts = PromptTemplate(template or ("chat" if tokenizer.chat_template else "micro"))
    engine = NativeEngine(network, tokenizer, max_running=1)
    context: int = getattr(network.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
    sampling = Sampling(max_new_tokens, temperature, top_p, tuple(stop), end_ids(network, tokenizer))
    for number, question in enumerate(_questions()):
        text, ids = prompts.render(question, tokenizer)
        answer = Answer(lambda some: response_text(some, tokenizer), opens_thinking(text), Screen(fold))
        fitting = replace(sampling, max_new_tokens=max(1, min(max_new_tokens, context - len(ids))))
        request = Request(number, ids, fitting, seed_for(seed, "chat", number))
        [completion] = engine.generate([request], on_token=answer.on_token)
        answer.end()
        if completion.finish == "length":
            print(f"(cut off after {len(completion.token_ids)} tokens)", file=sys.stderr)


def _ask_server(
    url: str, temperature: float, top_p: float, max_tokens: int | None, stop: Sequence[str], seed: int, fold: bool
) -> None:
    try:
        from openai import APIError, BadRequestError, OpenAI, omit
    except ImportError:
        fix = "Run `pip install 'reckon[endpoint]'`"
        raise ConfigError("the openai package is not installed, with which servers are asked", fix=fix) from None

    client = OpenAI(base_url=url, api_key=os.environ.get("RECKON_API_KEY") or "none", max_retries=0)
    client.organization = client.project = None  # The environment has these for OpenAI.
    said: list[Any] = []
    try:
        model = client.models.list().data[0].id
        for question in _questions():
            said.append({"role": "user", "content": question})
            pieces = client.chat.completions.create(
                model=model,
                messages=said,
                temperature=temperature,
                top_p=top_p,
                max_tokens=max_tokens or omit,
                stop=list(stop) or None,
                seed=seed,
                stream=True,
            )
            said.append({"role": "assistant", "content": _show_answer(pieces, Screen(fold))})
    except BadRequestError as error:
        fix = "Ask for something else"
        raise ConfigError(f"the server refuses: {clean(error.message)}", where=url, fix=fix) from None
    except (APIError, IndexError) as error:
        raise ConfigError(
            f"the server does not answer: {clean(str(error)) or type(error).__name__}",
            where=url,
            fix="Check the address (most end in /v1), and the key in RECKON_API_KEY where it needs one",
        ) from None


def _show_answer(pieces: Any, screen: Screen) -> str:
    """Show a streamed answer; the answer without its thinking."""
    answer, finish = "", None
    for piece in pieces:
        for choice in piece.choices:
            thinking = getattr(choice.delta, "reasoning_content", None) or getattr(choice.delta, "reasoning", None)
            if thinking:
                screen.think(1)
                screen.show(True, thinking)
            if choice.delta.content:
                # A terminal without colours tells thinking and answer apart by the line.
                if not answer and screen.thought:
                    screen.show(True, "\n")
                answer += choice.delta.content
                screen.show(False, choice.delta.content)
            finish = choice.finish_reason or finish
    screen.end()
    if finish == "length":
        print("(cut off: the limit on its tokens)", file=sys.stderr)
    return answer


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


class Screen:
    """Prints one response as it comes: thinking dimmed on a terminal, or folded to one line.

    Attributes:
        thought: tokens of thinking so far.
    """

    def __init__(self, fold: bool) -> None:
        self.thought = 0
        self._fold, self._folded = fold, False
        self._terminal = sys.stdout.isatty()
        self._dim = self._terminal and not os.environ.get("NO_COLOR")

    def think(self, tokens: int) -> None:
        """Count tokens of thinking, which :meth:`show` then shows."""
        self.thought += tokens
        self._folded |= self._fold and tokens > 0

    def show(self, thinking: bool, piece: str) -> None:
        if thinking and self._fold:
            if self._terminal:
                print(f"\r(thinking, {self.thought} tokens)", end="", flush=True)
            return
        self._close_fold()
        text = clean(piece)
        print(f"{DIM}{text}{PLAIN}" if thinking and self._dim else text, end="", flush=True)

    def end(self) -> None:
        self._close_fold()
        print(flush=True)

    def _close_fold(self) -> None:
        if self._folded:
            print("\r" * self._terminal + f"(thought for {self.thought} tokens)")
            self._folded = False


class Answer:
    """Shows a response whose tokens come one by one.

    Args:
        thinking: the prompt has opened the thinking.
    """

    def __init__(self, decode: Callable[[list[int]], str], thinking: bool, screen: Screen) -> None:
        from reckon.serve.text import TextStream, ThoughtStream

        self._text, self._thoughts, self._screen = TextStream(decode), ThoughtStream(thinking), screen

    def on_token(self, _: int, token: int) -> None:
        self._screen.think(int(self._thoughts.thinking))
        for piece in self._thoughts.feed(self._text.feed([token])):
            self._screen.show(*piece)

    def end(self) -> None:
        for piece in self._thoughts.feed(self._text.rest()) + self._thoughts.rest():
            self._screen.show(*piece)
        self._screen.end()
