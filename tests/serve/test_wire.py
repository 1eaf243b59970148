from __future__ import annotations

from reckon.serve.choice import Delta
from reckon.serve.wire import Kind, Whole, Wire, chat_logprobs, text_logprobs


def test_logprobs_that_come_bit_by_bit_are_put_together() -> None:
    """Another server sends them with each piece, and not at the end."""
    kinds: tuple[Kind, Kind] = ("chat", "text")
    for kind, worded in zip(kinds, (chat_logprobs, text_logprobs), strict=True):
        wire, whole = Wire(kind, "m"), Whole(kind)
        for index, text in ((0, "a"), (1, "c"), (0, "b")):
            for piece in wire.pieces(index, Delta(answer=text)):
                whole.add(piece)
            whole.add(wire.closing(index, None, worded([text], [-0.5])))
        for index in (0, 1):
            whole.add(wire.closing(index, "stop"))
        first, second = whole.json()["choices"]
        assert (first["finish_reason"], second["finish_reason"]) == ("stop", "stop")
        assert second["logprobs"] == worded(["c"], [-0.5])
        told = first["logprobs"]["content"] if kind == "chat" else first["logprobs"]["tokens"]
        assert [one["token"] if kind == "chat" else one for one in told] == ["a", "b"]
        if kind == "text":
            assert first["logprobs"]["token_logprobs"] == [-0.5, -0.5]
            assert first["logprobs"]["top_logprobs"] is None


def test_no_logprobs_are_none() -> None:
    whole = Whole("chat")
    whole.add(Wire("chat", "m").closing(0, "length"))
    [choice] = whole.json()["choices"]
    assert (choice["logprobs"], choice["finish_reason"]) == (None, "length")
