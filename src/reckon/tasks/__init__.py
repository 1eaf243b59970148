"""What is asked and what a right answer is. A task of your own needs only the names below."""

from reckon.core.records import Problem, Verdict
from reckon.tasks.answer import final_answer
from reckon.tasks.base import Task, TaskConfig

__all__ = ["Problem", "Task", "TaskConfig", "Verdict", "final_answer"]
