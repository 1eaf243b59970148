"""``reckon lineage``: the records of real runs followed upstream, and every digest computed again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import DataError
from reckon.core.store import file_digest, folder_digest
from reckon.report.lineage import trace
from tests.report.tiny import reckon, tiny_pipeline


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipeline(tmp_path_factory.getbasetemp())


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage; what lies outside the run is the same."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def lineage(path: Path, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(reckon("lineage", path, "--json", code=code))
    return found


def sft(run: Path) -> Path:
    [checkpoint] = (run / "stages" / "04-cold-sft" / "checkpoint").glob("step-*")
    return checkpoint


def curated_elsewhere(run: Path, folder: Path, data: str) -> Path:
    """A second run, which curates a file of the first."""
    (folder / "again.yaml").write_text(f"kind: curate\ndata: [{data}]\noperations: [{{kind: judged}}]\n")
    reckon("run", folder / "again.yaml", "--out", folder / "second")
    return folder / "second" / "stages" / "01-curate" / "data.jsonl"


def test_a_checkpoint_leads_to_the_base_model_and_the_data(whole: Path) -> None:
    found = lineage(sft(whole))
    [artefact] = found["artefacts"]
    assert artefact["digest"] == file_digest(sft(whole) / "manifest.json")
    assert [stage["name"] for stage in found["stages"].values()] == ["cold-sft", "cold", "zero-samples", "zero"]
    trained = found["stages"][artefact["stage"]]
    manifest = json.loads((whole / "stages" / "04-cold-sft" / "manifest.json").read_text())
    assert trained["key"] == manifest["key"]
    assert trained["config_digest"] == manifest["config_digest"]
    assert trained["seconds"] == manifest["ended"] - manifest["started"]
    assert trained["versions"]["torch"]
    base = trained["inputs"]["model"]
    assert base["stage"] is None
    assert base["digest"] == folder_digest(whole.parent / "base")
    read = [each for stage in found["stages"].values() for each in stage["inputs"].values()]
    assert {each["condition"] for each in [artefact, *read]} == {"intact"}


def test_the_tree_names_every_stage_once_in_full(whole: Path) -> None:
    text = reckon("lineage", whole)
    for name, kind in {"table": "evaluate", "mean": "merge", "zero": "rl", "judge": "reward"}.items():
        assert text.count(f"made by {name} ({kind}) of ") == 1
    assert "made by zero (rl), as above" in text
    assert text.endswith("changed since: none\n")


def test_a_run_is_all_that_it_made_and_did_not_read(whole: Path) -> None:
    made = [Path(each["path"]).relative_to(whole).parts[1] for each in lineage(whole)["artefacts"]]
    assert made == ["06-judge", "08-table"]


def test_what_changed_since_is_said_and_the_command_fails(run: Path) -> None:
    weights = sft(run) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00\x01")
    found = lineage(sft(run), code=3)
    assert found["artefacts"][0]["condition"] == "changed"
    assert "model.safetensors has" in found["artefacts"][0]["problems"][0]


def test_what_changed_upstream_is_said_too(run: Path) -> None:
    with (run / "stages" / "02-zero-samples" / "samples.jsonl").open("a") as file:
        file.write("{}\n")
    text = reckon("lineage", sft(run), code=3)
    assert "samples.jsonl has changed since it was written" in text
    assert text.splitlines()[-1].endswith("samples.jsonl")


def test_a_manifest_that_was_written_again_does_not_hide_a_change(run: Path) -> None:
    (sft(run) / "config.json").write_text("{}")
    manifest = json.loads((sft(run) / "manifest.json").read_text())
    manifest["files"]["config.json"] = {"sha256": file_digest(sft(run) / "config.json"), "size": 2}
    (sft(run) / "manifest.json").write_text(json.dumps(manifest))
    assert lineage(sft(run), code=3)["artefacts"][0]["problems"] == ["manifest.json has changed since it was written"]


def test_what_is_gone_is_missing_and_no_failure(run: Path) -> None:
    shutil.rmtree(run / "stages" / "01-zero" / "checkpoint")
    found = lineage(sft(run))
    sampled = next(stage for stage in found["stages"].values() if stage["name"] == "zero-samples")
    assert sampled["inputs"]["model"]["condition"] == "missing"
    assert "zero" in [stage["name"] for stage in found["stages"].values()]


def test_it_follows_inputs_into_other_runs(whole: Path, tmp_path: Path) -> None:
    data = curated_elsewhere(whole, tmp_path, str(whole / "stages" / "02-zero-samples" / "samples.jsonl"))
    stages = lineage(data)["stages"].values()
    assert [stage["name"] for stage in stages] == ["curate", "zero-samples", "zero"]
    assert len({stage["run"] for stage in stages}) == 2


def test_relative_inputs_are_found_from_anywhere(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = curated_elsewhere(run, tmp_path, "run/stages/02-zero-samples/samples.jsonl")
    monkeypatch.chdir(run)
    assert [stage["name"] for stage in lineage(data)["stages"].values()] == ["curate", "zero-samples", "zero"]


def test_a_stage_that_was_set_aside_is_found_by_its_digest(run: Path) -> None:
    aside = run / "forked" / "1" / "02-zero-samples"
    aside.parent.mkdir(parents=True)
    (run / "stages" / "02-zero-samples").rename(aside)
    found = lineage(sft(run))
    assert str(aside) in found["stages"]
    (aside / "manifest.json").unlink()
    [gone] = lineage(run / "stages" / "03-cold" / "data.jsonl")["stages"].values()
    assert "made again or removed" in gone["inputs"]["data.0"]["problems"][0]


def test_other_files_of_a_stage_are_its_own_too(whole: Path) -> None:
    found = lineage(whole / "stages" / "03-cold" / "dropped.jsonl")
    assert found["artefacts"][0]["condition"] == "unrecorded"
    assert next(iter(found["stages"].values()))["name"] == "cold"


def test_a_stage_that_is_not_finished_has_a_past(run: Path) -> None:
    (run / "stages" / "04-cold-sft" / "manifest.json").unlink()
    found = lineage(sft(run))
    assert found["artefacts"][0]["condition"] == "intact"  # by the checkpoint's own manifest
    trained = next(iter(found["stages"].values()))
    assert trained["seconds"] is None
    assert trained["inputs"]["data.0"]["condition"] == "intact"
    with pytest.raises(DataError, match="not finished"):
        trace(run / "stages" / "04-cold-sft")


def test_what_no_run_made_is_refused(whole: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sft(whole), tmp_path / "copy"))
    with pytest.raises(DataError, match="no run made this") as refused:
        trace(copy)
    assert str(copy) in str(refused.value)
    with pytest.raises(DataError, match="no such file"):
        trace(tmp_path / "absent")
    (tmp_path / "run.yaml").write_text("{}")
    with pytest.raises(DataError, match="no stage of this run is finished"):
        trace(tmp_path)


def test_a_damaged_record_is_named(run: Path) -> None:
    path = run / "stages" / "03-cold" / "manifest.json"
    path.write_text('{"name": ')
    with pytest.raises(DataError, match="record cannot be read") as refused:
        trace(sft(run))
    assert str(path) in str(refused.value)
