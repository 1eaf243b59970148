from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.core import store
from reckon.core.errors import ConfigError, DataError
from reckon.core.store import (
    RunLock,
    append_jsonl,
    file_digest,
    folder_digest,
    latest_checkpoint,
    prune,
    publish,
    read_jsonl,
    sweep,
    truncate_jsonl,
    verify_manifest,
    write_json,
    write_text,
)


def python(code: str, *args: object) -> subprocess.Popen[str]:
    """A Python process running ``code``, which finds ``args`` in ``sys.argv``."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def checkpoint(folder: Path, step: int) -> Path:
    target = folder / f"step-{step:06d}"
    with publish(target) as inside:
        (inside / "weights").write_bytes(bytes([step % 256]) * 1000)
    return target


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------------------------------- whole files


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    write_text(path, "不对\n")
    assert path.read_text(encoding="utf-8") == "不对\n"
    write_json(path, {"a": [1, float("nan")]})
    assert json.loads(path.read_text()) == {"a": [1, None]}
    assert names(path.parent) == ["file.json"]


def test_a_value_that_is_no_json_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == 1


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    """A file size limit stands in for the full disk: the kernel cuts the write short and then refuses."""
    write_text(tmp_path / "state.json", "old")
    append_jsonl(tmp_path / "rows.jsonl", [{"step": 1}])
    checkpoint(tmp_path / "checkpoint", 1)
    code = """
        import resource, signal, sys
        from pathlib import Path
        from reckon.core.errors import DataError
        from reckon.core.store import append_jsonl, publish, write_text

        folder = Path(sys.argv[1])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

        def wrapped(inside):
            raise Exception("Error while serializing: I/O error: No space left on device (os error 28)")

        def published(fill):
            with publish(folder / "checkpoint" / "step-000002") as inside:
                (inside / "small").write_text("fits")
                fill(inside)

        for attempt in (
            lambda: write_text(folder / "state.json", "x" * 90_000),
            lambda: append_jsonl(folder / "rows.jsonl", [{"step": 2, "text": "x" * 90_000}]),
            lambda: published(lambda inside: (inside / "big").write_bytes(bytes(90_000))),
            lambda: published(wrapped),
        ):
            try:
                attempt()
            except DataError as error:
                print(error)
    """
    process = python(code, tmp_path)
    out, err = process.communicate(timeout=30)
    assert err == ""
    text, rows, published, wrapped = out.splitlines()
    assert text.startswith(f"{tmp_path}/state.json: cannot write: File too large. ")
    assert ", 90000 bytes needed; what was there before is intact." in text
    assert rows.startswith(f"{tmp_path}/rows.jsonl: cannot write: File too large. ")
    assert published.startswith(f"{tmp_path}/checkpoint/step-000002: cannot write: File too large. ")
    assert wrapped.startswith(f"{tmp_path}/checkpoint/step-000002: cannot write: No space left on device. ")
    assert (tmp_path / "state.json").read_text() == "old"
    assert read_jsonl(tmp_path / "rows.jsonl") == [{"step": 1}]
    assert names(tmp_path) == ["checkpoint", "rows.jsonl", "state.json"]
    assert names(tmp_path / "checkpoint") == ["step-000001"]


def test_a_read_only_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    for write in (
        lambda: write_text(tmp_path / "a", "x"),
        lambda: append_jsonl(tmp_path / "a", [{}]),
        lambda: checkpoint(tmp_path, 1),
        lambda: RunLock(tmp_path / "lock").__enter__(),
    ):
        with pytest.raises(DataError, match=r"cannot write: Read-only file system\. What was there before is intact"):
            write()


# -------------------------------------------------------------------------------------------- JSON lines


def test_rows_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_jsonl(path, [{"a": 1}, {"b": "对\n"}])
    append_jsonl(path, [])
    append_jsonl(path, [{"c": None}])
    rows = read_jsonl(path)
    assert rows == [{"a": 1}, {"b": "对\n"}, {"c": None}]
    assert rows.torn == 0


def test_half_a_surrogate_pair_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_jsonl(path, [{"text": "a\ud800b"}])
    assert read_jsonl(path) == [{"text": "a\ud800b"}]
    path.read_text(encoding="utf-8")


@given(cut=st.integers(0, 200), long=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_kill_in_the_middle_of_a_write_costs_at_most_the_last_row(
    tmp_path_factory: pytest.TempPathFactory, cut: int, long: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "torn.jsonl"
    path.unlink(missing_ok=True)
    written = [{"n": 1}, {"n": 2}, {"n": 3, "text": "试" * (70_000 if long else 40)}]
    append_jsonl(path, written)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - cut])
    rows = read_jsonl(path)
    assert rows == written[: len(rows)]
    assert len(rows) + rows.torn >= (3 if long or cut < 100 else 0)
    append_jsonl(path, [{"n": 4}])
    after = read_jsonl(path)
    assert after == [*rows, {"n": 4}]
    assert after.torn == 0


@pytest.mark.parametrize("bad", [b"{\n", b"[1]\n", b"\xff\n", b"null\n", b"\0\0\0\n"])
def test_a_damaged_line_is_named(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + bad + b'{"a": 2}\n')
    for read in (read_jsonl, lambda path: truncate_jsonl(path, bool)):
        with pytest.raises(DataError, match=r"rows\.jsonl:3: this line is not a JSON object"):
            read(path)


def test_an_absent_file_is_an_error_to_read_but_has_no_rows_to_drop(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read this file: No such file"):
        read_jsonl(tmp_path / "absent.jsonl")
    assert truncate_jsonl(tmp_path / "absent.jsonl", bool) == 0


def test_resume_drops_later_rows_and_keeps_the_others_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"step":1,  "x": 1.50}\n{"step": 2}\n{"step": 3}\n{"st')
    assert truncate_jsonl(path, lambda row: row["step"] <= 1) == 3
    assert path.read_bytes() == b'{"step":1,  "x": 1.50}\n'
    inode = path.stat().st_ino
    assert truncate_jsonl(path, lambda row: True) == 0
    assert path.stat().st_ino == inode


# ----------------------------------------------------------------------------------------------- digests


def test_a_folder_digest_depends_on_names_and_contents_only(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "a").write_text("x")
        (tmp_path / name / "b").write_text("y")
    digest = folder_digest(tmp_path / "one")
    assert folder_digest(tmp_path / "two") == digest
    (tmp_path / "two" / "b").write_text("z")
    assert folder_digest(tmp_path / "two") != digest
    (tmp_path / "one" / "b").rename(tmp_path / "one" / "c")
    assert folder_digest(tmp_path / "one") != digest
    assert file_digest(tmp_path / "one" / "c") == "a1fce4363854ff888cff4b8e7875d600c2682390412a8cf79b37d0b11148b0fa"
    with pytest.raises(DataError, match="no such folder"):
        folder_digest(tmp_path / "absent")


# --------------------------------------------------------------------------------------- whole folders


def test_a_published_folder_carries_a_manifest_of_its_files(tmp_path: Path) -> None:
    with publish(tmp_path / "model") as inside:
        (inside / "sub").mkdir()
        (inside / "sub" / "a").write_text("x")
        assert names(tmp_path) == [inside.name]
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    sha256 = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert manifest == {"files": {"sub/a": {"sha256": sha256, "size": 1}}}
    assert verify_manifest(tmp_path / "model") == []
    assert names(tmp_path) == ["model"]


def test_publishing_again_replaces_what_was_published(tmp_path: Path) -> None:
    target = checkpoint(tmp_path, 1)
    (target / "weights").write_bytes(b"damaged")
    checkpoint(tmp_path, 1)
    assert verify_manifest(target) == []
    assert names(tmp_path) == ["step-000001"]


def test_a_folder_of_someone_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").write_text("precious")
    with pytest.raises(DataError, match="was not written by Reckon"), publish(tmp_path / "mine"):
        pytest.fail("nothing should be written")
    assert names(tmp_path / "mine") == ["thesis"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_failure_inside_leaves_nothing_new(tmp_path: Path, error: type[BaseException]) -> None:
    target = checkpoint(tmp_path, 1)

    def fail() -> None:
        with publish(target) as inside:
            (inside / "weights").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert verify_manifest(target) == []
    assert names(tmp_path) == ["step-000001"]


def test_a_kill_at_any_moment_leaves_no_half_checkpoint(tmp_path: Path) -> None:
    """A forked child publishes and kills itself at the n-th call that Python makes, for n over the whole way."""

    def publish_and_die(folder: Path, at: int) -> int:
        """The number of calls made; the process is dead before it returns if that reaches ``at``."""
        calls = 0

        def count(frame: object, kind: str, argument: object) -> None:
            nonlocal calls
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        try:
            with publish(folder / "step-000002") as inside:
                (inside / "a").write_text("first")
                (inside / "b").write_text("second")
        finally:
            sys.setprofile(None)
        return calls

    total = publish_and_die(tmp_path / "measure", at=-1)
    complete, leftovers = 0, 0
    for at in range(1, total, total // 25):
        folder = tmp_path / str(at)
        checkpoint(folder, 1)
        if (child := os.fork()) == 0:
            publish_and_die(folder, at)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        visible = names(folder)
        leftovers += visible[0].startswith(".")
        visible = [name for name in visible if not name.startswith(".")]
        assert [problem for name in visible for problem in verify_manifest(folder / name)] == []
        assert visible in (["step-000001"], ["step-000001", "step-000002"])
        complete += len(visible) - 1
        sweep(folder)
        assert names(folder) == visible
    assert complete > 0
    assert leftovers > 0


def test_every_kind_of_damage_is_found(tmp_path: Path) -> None:
    target = checkpoint(tmp_path, 1)
    weights, manifest = target / "weights", target / "manifest.json"
    good = weights.read_bytes()
    weights.write_bytes(b"\xff" + good[1:])
    assert verify_manifest(target) == ["weights has changed since it was written"]
    weights.write_bytes(good[:-1])
    assert verify_manifest(target) == ["weights has 999 bytes instead of 1000"]
    weights.unlink()
    assert verify_manifest(target) == ["weights is missing"]
    for text in ("{", "[]", '{"files": 3}', '{"files": {"a": {}}}'):
        manifest.write_text(text)
        assert verify_manifest(target) == ["manifest.json is unreadable"]
    manifest.unlink()
    assert verify_manifest(target) == ["manifest.json is missing"]


def test_the_latest_intact_checkpoint_is_found_and_the_damaged_are_reported(tmp_path: Path) -> None:
    warnings: list[str] = []
    assert latest_checkpoint(tmp_path / "absent", warnings.append) is None
    for step in (9, 10, 1_000_000):
        checkpoint(tmp_path, step)
    (tmp_path / "step-notes").mkdir()
    assert latest_checkpoint(tmp_path, warnings.append) == tmp_path / "step-1000000"
    assert warnings == []
    (tmp_path / "step-1000000" / "weights").unlink()
    assert latest_checkpoint(tmp_path, warnings.append) == tmp_path / "step-000010"
    assert warnings == [f"{tmp_path}/step-1000000 is damaged and was skipped: weights is missing."]


def test_prune_keeps_the_newest_and_never_the_none(tmp_path: Path) -> None:
    for step in range(1, 6):
        checkpoint(tmp_path, step)
    prune(tmp_path, 2)
    assert names(tmp_path) == ["step-000004", "step-000005"]
    prune(tmp_path, 0)
    assert names(tmp_path) == ["step-000005"]


def test_sweep_removes_leftovers_at_any_depth_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "stages" / "01-train"
    stale = store._temporary(kept / "step-000001")
    stale.mkdir(parents=True)
    (stale / "weights").write_text("half")
    store._temporary(tmp_path / "run.yaml").write_text("half")
    (kept / ".notes.tmp").write_text("the user's")
    sweep(tmp_path)
    assert names(tmp_path) == ["stages"]
    assert names(kept) == [".notes.tmp"]


# ---------------------------------------------------------------------------------------------- the lock


HOLD = """
    import os, sys, time
    from pathlib import Path
    from reckon.core.store import RunLock

    with RunLock(Path(sys.argv[1])):
        if len(sys.argv) > 2 and os.fork() == 0:
            time.sleep(60)
        print(os.getpid(), flush=True)
        time.sleep(60)
"""


def test_a_second_process_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock"
    holder = python(HOLD, path)
    assert holder.stdout is not None
    try:
        pid = holder.stdout.readline().strip()
        with pytest.raises(ConfigError, match=rf"run: locked by pid {pid} on \S+ since \d{{4}}-"), RunLock(path):
            pytest.fail("two holders")
    finally:
        holder.kill()
        holder.communicate()
    with RunLock(path):
        assert path.read_text().startswith(f"pid {os.getpid()} on ")


def test_a_killed_holder_frees_the_lock_though_its_workers_live(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), path, "fork"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert holder.stdout is not None
    try:
        holder.stdout.readline()
        holder.kill()
        holder.wait()
        with RunLock(path):
            pass
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.stdout.close()
