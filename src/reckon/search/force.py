"""Budget forcing: a response that thinks for as long as it should (s1, arXiv 2501.19393, sec. 3.1)."""

from __future__ import annotations

from pydantic import Field

from reckon.search.base import Growth, Method, Order, Rule, Tree
from reckon.tasks.answer import END_THINK


class Force(Method):
    """When the model would end its thinking, that end is taken back and a word is put there that makes it go on.

    When the thinking has reached its limit, the end is put there instead, and the model has to answer.

    Attributes:
        waits: how often it is made to go on, at most.
        word: what it is made to say.
        thinking_tokens: the limit, exact, forced words included. None: what the budget or the longest response leaves
            beside ``answer_tokens``; there is then one response. Otherwise others follow until the budget ends.
        answer_tokens: kept free for the answer, if the word has no fewer tokens than the end it replaces.
        end: the text that ends the thinking.
        answer: what follows a forced end; s1 has ``Final Answer:``.
    """

    kind = "force"
    ranks = False

    choose: Rule = "vote"
    waits: int = Field(2, ge=0)
    word: str = Field(" Wait", min_length=1)
    thinking_tokens: int | None = Field(None, ge=1)
    answer_tokens: int = Field(64, ge=1)
    end: str = Field(END_THINK, min_length=1)
    answer: str = ""

    @property
    def anytime(self) -> bool:
        return self.thinking_tokens is not None

    def grow(self, tree: Tree) -> Growth:
        while True:
            before = tree.generated
            yield from self._response(tree)
            # Where forced words fill a whole response it costs nothing, and others would follow for ever.
            if not self.anytime or tree.generated == before:
                return

    def _response(self, tree: Tree) -> Growth:
        room = min(tree.limit, tree.left if self.thinking_tokens is None else tree.limit) - self.answer_tokens
        limit = max(0, min(room, self.thinking_tokens or room))
        node, without, forced = tree.root, "", ""
        for waited in range(self.waits + 1):
            thinking = Order(node, whole=True, until=(self.end,), limit=limit, without=without, forced=forced)
            [node] = yield [thinking]
            if not node.open:
                return
            without, forced = (self.end, self.word) if waited < self.waits else ("", "")
            if self.end not in node.text:
                without, forced = "", self.end + self.answer
                break
        yield [Order(node, whole=True, forced=forced)]
