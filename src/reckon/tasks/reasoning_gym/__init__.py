"""The puzzle sets of the package ``reasoning-gym`` as tasks."""

from reckon.tasks.reasoning_gym.task import ReasoningGymTask

__all__ = ["ReasoningGymTask"]
