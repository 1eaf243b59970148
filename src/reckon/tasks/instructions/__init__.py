"""Instructions whose following can be checked by rule, as IFEval asks them."""

from reckon.tasks.instructions.task import InstructionsTask

__all__ = ["InstructionsTask"]
