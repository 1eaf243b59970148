"""What a process reward model learns from: responses in steps, with a label for each.

A row, as the ``label`` stage writes it and as TRL's process supervision data is laid out::

    question or prompt; steps or completions (texts); labels (of each, in [0, 1] or false, true; null: not known)
    finish (optional)     ``stop``: the response has ended, and its end belongs to the last step. The default.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from reckon.core.errors import DataError
from reckon.core.records import Problem, Rollout
from reckon.data.preferences import PreferenceData, Row, Split, Unit, asked_of, question_of, split_units
from reckon.models.steps import StepRule, step_ends
from reckon.models.template import PromptTemplate

STEPS = ("steps", "completions")


def load_steps(config: PreferenceData, template: str, tokenizer: Any) -> Split:
    """Read everything as the model will: each unit is one response, a label (``token_rewards``) where a step ends.

    Only those tokens have ``sampled`` set. ``reward`` is the label of the last step; rows without one are not read.

    Raises:
        DataError: a row in another layout, one whose steps are not those that the rule tells apart, or nothing left to
            train or to test on.
    """
    prompts = PromptTemplate(template)

    def read(row: Row, where: str) -> Unit | None:
        steps, labels = _steps(row, where)
        if not any(steps) or labels[-1] is None:
            return None
        finished = row.get("finish", "stop") == "stop"
        ids, ends, found = cut("".join(steps), finished, tokenizer, config.steps)
        if found != steps:
            raise _other_rule(steps, found, where)
        marks = {
            end - 1: label if config.soft else float(label > 0)
            for end, label in zip(ends, labels, strict=True)
            if label is not None
        }
        question = question_of(asked_of(row, where))
        prompt, prompt_ids = prompts.render(question, tokenizer)
        return [
            Rollout(
                task="preference",
                problem=Problem(str(row.get("id") or where), question, None),
                sample=0,
                prompt=prompt,
                prompt_ids=prompt_ids,
                response="".join(steps),
                response_ids=ids,
                logp=[],
                finish="stop",
                seed=0,
                sampled=[place in marks for place in range(len(ids))],
                token_rewards=[marks.get(place, 0.0) for place in range(len(ids))],
                reward=marks[len(ids) - 1],
            )
        ]

    return split_units(config, read)


def cut(response: str, finished: bool, tokenizer: Any, rule: StepRule) -> tuple[list[int], list[int], list[str]]:
    """The tokens of a response, the token counts at which its steps end, and the texts of these steps.

    A finished response ends with the end of text. Special tokens that it spells out are ordinary text, so that none can
    end it before.
    """
    read = tokenizer(response, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
    ids, places = list(read["input_ids"]), [end for _, end in read["offset_mapping"]]
    if finished:
        ids, places = [*ids, tokenizer.eos_token_id], [*places, len(response)]
    ends = step_ends(ids, tokenizer, rule)
    # Cut out of the response and not decoded: a step may end in the middle of a character's tokens.
    texts = [response[start:end] for start, end in pairwise([0, *(places[end - 1] for end in ends)])]
    return ids, ends, texts


def _steps(row: Row, where: str) -> tuple[list[str], list[float | None]]:
    steps = next((row[name] for name in STEPS if name in row), None)
    labels = row.get("labels")
    if not asked_of(row, where) or not isinstance(steps, list) or not isinstance(labels, list):
        raise DataError(
            f"the row needs a question or prompt, steps or completions, and labels; it has {', '.join(row)}",
            where=where,
            fix="Make such rows with a stage of kind `label`, or rename the columns",
        )
    known = [label is None or (isinstance(label, bool | int | float) and 0 <= label <= 1) for label in labels]
    if len(steps) != len(labels) or not all(known):
        raise DataError(
            f"{len(steps)} steps need as many labels, each in [0, 1]; these are {labels}"[:300],
            where=where,
            fix="Mend or remove the row",
        )
    return [str(step) for step in steps], [None if label is None else float(label) for label in labels]


def _other_rule(steps: list[str], found: list[str], where: str) -> DataError:
    return DataError(
        f"the row has {len(steps)} steps, and by the rule of the recipe it has {len(found)}",
        where=where,
        why="The model would be asked for scores where it has never been trained to give any",
        fix="Set `steps` to the rule by which the data was cut",
    )
