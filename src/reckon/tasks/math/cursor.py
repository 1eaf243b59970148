"""A place in a list of tokens: looking ahead, taking, expecting."""

from __future__ import annotations

from reckon.tasks.math.lexer import Token
from reckon.tasks.math.values import Unreadable

_END = Token("end", "")


class Cursor:
    """The tokens of one text and how far they have been read."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self.position = 0

    @property
    def here(self) -> Token:
        """The next token."""
        return self.ahead(0)

    def ahead(self, count: int) -> Token:
        """The token ``count`` places after the next one (before it, if negative)."""
        index = self.position + count
        return self._tokens[index] if 0 <= index < len(self._tokens) else _END

    def take(self) -> Token:
        token = self.here
        self.position += 1
        return token

    def put_back(self, token: Token) -> None:
        """In place of the token that was taken last."""
        self.position -= 1
        self._tokens[self.position] = token

    def is_sign(self, signs: str) -> bool:
        """Whether the next token is one of these one-character signs."""
        return self.here.kind == "sign" and self.here.text in signs

    def is_command(self, name: str) -> bool:
        return self.here.kind == "command" and self.here.text == name

    def sign(self, *texts: str) -> str:
        """Takes the next token if it is one of these signs; its text, or "" if it is none."""
        return self.take().text if self.here.kind == "sign" and self.here.text in texts else ""

    def expect(self, text: str) -> None:
        """Takes a sign. Raises Unreadable if another token is next."""
        if not self.sign(text):
            raise Unreadable(f"{text!r} is missing")

    def raw_group(self, opening: str = "{", closing: str = "}") -> str:
        """Takes the tokens of a group, or the one token in its place; their text."""
        if not self.is_sign(opening):
            return self.take().text
        depth, said = 0, ""
        while self.here.kind != "end":
            token = self.take()
            depth += (token.text == opening) - (token.text == closing)
            if not depth:
                return said[1:]
            said += token.text
        raise Unreadable("a brace is not closed")
