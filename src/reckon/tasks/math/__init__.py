"""Mathematical answers: a verifier that says why, and the task whose problems have them."""

from reckon.tasks.math.kinds import KINDS
from reckon.tasks.math.task import MathTask
from reckon.tasks.math.verify import REASONS, verify, verify_all

__all__ = ["KINDS", "REASONS", "MathTask", "verify", "verify_all"]
