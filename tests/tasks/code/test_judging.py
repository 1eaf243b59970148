from collections.abc import Sequence

from reckon.sandbox.program import Program, Ran
from reckon.tasks.code.judging import Judged, Steps, crashed, last_line, run_rounds


class Echo:
    """Runs nothing: what a program prints is its own text."""

    tier = 3

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []

    def run(self, program: Program) -> Ran:
        return Ran("exited", 0, program.source, "", 0.0)

    def run_all(self, programs: Sequence[Program]) -> list[Ran]:
        self.rounds.append([program.source for program in programs])
        return [self.run(program) for program in programs]

    def close(self) -> None:
        pass


def test_rounds_run_what_all_need_next() -> None:
    def steps(name: str, sizes: Sequence[int]) -> Steps[str]:
        heard = []
        for number, size in enumerate(sizes):
            ran = yield [Program(f"{name}{number}{place}") for place in range(size)]
            heard += [one.stdout for one in ran]
        return " ".join(heard)

    echo = Echo()
    found = run_rounds(echo, [steps("a", [1, 2]), steps("b", []), steps("c", [2, 1, 1])])
    assert found == ["a00 a10 a11", "", "c00 c01 c10 c20"]
    assert echo.rounds == [["a00", "c00", "c01"], ["a10", "a11", "c10"], ["c20"]]


def test_nothing_to_judge() -> None:
    echo = Echo()
    nothing: list[Steps[str]] = []
    assert run_rounds(echo, nothing) == []
    assert echo.rounds == []


def test_a_crash_is_told_without_addresses() -> None:
    assert last_line("a\n<b at 0x7fa0> \n\n") == "<b at 0x>"
    assert crashed(Ran("failed to start", None, "", "", 0.0)) == Judged("crashed", None, {"why": "failed to start"})
