"""The one record: a :class:`Rollout` is one attempt at one problem, as plain data.

Everything downstream (credit, filters, statistics, the report, rejection sampling) reads rollouts and
nothing else. They live on disk as JSON lines; tensors exist only in :class:`reckon.algorithms.batch.Batch`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

FinishReason = Literal["stop", "length", "cancelled", "error"]
"""Why generation ended. ``length`` is a truncated answer, ``stop`` a finished one: never merged."""

Role = Literal["policy", "greedy", "anchor", "hinted"]
"""What a rollout is for: a sample of the policy being trained; its greedy answer, a baseline; a sample of the anchor
model; or an answer found with the solution in the prompt. Statistics of the policy count the first kind alone."""


@dataclass(slots=True)
class Problem:
    """One question of a task.

    Attributes:
        id: stable and unique within the task; seeds and statistics are keyed by it.
        question: the text put into the prompt template.
        gold: what the verifier needs to judge an answer. It is never shown to the model.
    """

    id: str
    question: str
    gold: Any


@dataclass(slots=True)
class Verdict:
    """What a verifier says of one response. Raises ValueError for a score that is none.

    Attributes:
        score: in [0, 1], or None when the verifier could not judge (crash, timeout, unreadable gold).
            An absent score removes the sample and is counted; it never teaches a zero.
        reason: one word or short phrase: ``correct``, ``wrong``, ``no answer``, ``several answers``...
        extracted: the answer as the verifier read it; majority voting counts these.
        detail: further facts, of the task's own: how many tests passed, say. What an evaluation is to report beside the
            score stands under ``figures``; see :func:`reckon.evals.figures.figures`.
        seconds: how long the judging took. No part of what the verdict says: two that differ in it alone are equal.
    """

    score: float | None
    reason: str = ""
    extracted: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    seconds: float = field(default=0.0, compare=False)

    def __post_init__(self) -> None:
        if self.score is not None and not 0 <= self.score <= 1:  # not a number is neither
            raise ValueError(f"a verdict's score is between 0 and 1, or None, and not {self.score}")


@dataclass(slots=True)
class Rollout:
    """One attempt at one problem.

    ``response_ids``, ``logp``, ``sampled`` and ``token_rewards`` have equal length, the response's token count.

    Attributes:
        logp: the sampler's log-probability of each token (nats) at the sampling temperature.
        sampled: False for tokens that were forced into the response rather than sampled; those carry
            no gradient.
        version: the number of optimiser updates behind the weights that generated the response.
        verdict: None until judged.
        reward: the number the optimiser sees; None when the verdict is absent.
        parts: the reward's named parts, before weighting.
        token_rewards: what single tokens earned beside ``reward``; None where none did.
        advantage: per-sequence credit; None until credit was assigned.
        seconds: time per phase (``generate``, ``verify``).
        usage: token counts as a server gives them, where the ids are not known: ``prompt``, ``response`` (reasoning
            included), ``reasoning``.
    """

    task: str
    problem: Problem
    sample: int
    prompt: str
    prompt_ids: list[int]
    response: str
    response_ids: list[int]
    logp: list[float]
    finish: FinishReason
    seed: int
    version: int = 0
    role: Role = "policy"
    sampled: list[bool] | None = None
    verdict: Verdict | None = None
    reward: float | None = None
    parts: dict[str, float] = field(default_factory=dict)
    token_rewards: list[float] | None = None
    advantage: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    usage: dict[str, int] = field(default_factory=dict)

    @property
    def length(self) -> int | None:
        """The response's tokens; None where nobody has counted them."""
        return len(self.response_ids) or self.usage.get("response")

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready data; :meth:`from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Rollout:
        """Raises AttributeError, KeyError, TypeError or ValueError for what is no such data."""
        verdict = row.get("verdict")
        return cls(
            **{
                **row,
                "problem": Problem(**row["problem"]),
                "verdict": Verdict(**verdict) if verdict is not None else None,
            }
        )
