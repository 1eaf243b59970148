"""Which sandbox a recipe gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from reckon.core.errors import ConfigError
from reckon.sandbox import config
from reckon.sandbox.config import SandboxConfig, open_sandbox
from reckon.sandbox.fusion import SandboxFusion
from reckon.sandbox.program import Program
from reckon.sandbox.proof import Evidence, Proof, prove

WEAK = Proof(1, (Evidence("landlock", "start", False, "ENOSYS"),))


def test_the_sandbox_of_this_machine_is_one_for_the_process() -> None:
    allowed = SandboxConfig(allow_weak=True)
    first, second = open_sandbox(allowed), open_sandbox(allowed)
    assert first is second
    assert first.tier == prove().tier
    assert first.run(Program("print(1)")).stdout == "1\n"


def test_those_who_preload_the_same_share_one(tmp_path: Path) -> None:
    allowed, path = SandboxConfig(allow_weak=True), tmp_path / "ahead.py"
    path.write_text("VALUE = 5")
    first = open_sandbox(allowed, preload=path)
    assert first is open_sandbox(allowed, preload=path)
    assert first.run(Program("import ahead; print(ahead.VALUE)")).stdout == "5\n"
    assert open_sandbox(allowed).run(Program("import ahead")).exit_code == 1


def test_below_tier_2_it_is_refused_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "prove", lambda: WEAK)
    with pytest.raises(ConfigError, match=r"tier 1: landlock: start: ENOSYS.*allow_weak"):
        open_sandbox(SandboxConfig())
    assert open_sandbox(SandboxConfig(allow_weak=True)).run(Program("print(1)")).stdout == "1\n"


def test_a_server_is_taken_by_its_url() -> None:
    assert isinstance(open_sandbox(SandboxConfig(kind="fusion", url="http://localhost:8080")), SandboxFusion)
    with pytest.raises(ConfigError, match="no address"):
        open_sandbox(SandboxConfig(kind="fusion", url="localhost:8080"))


@pytest.mark.parametrize(
    "keys", [{"kind": "fusion"}, {"url": "http://a"}, {"workers": 0}, {"kind": "docker"}, {"tier": 3}]
)
def test_keys_that_make_no_sense_are_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SandboxConfig.model_validate(keys)
