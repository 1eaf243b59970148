"""Code, judged by tests that the answer never meets."""

from reckon.tasks.code.task import CodeTask

__all__ = ["CodeTask"]
