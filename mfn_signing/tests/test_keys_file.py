"""Keys files on disk: private, whole, and never lost."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from mfn_signing import (
    MAX_KEYS_FILE_BYTES,
    Key,
    KeysFileError,
    append_key,
    edit_keys_file,
    encode_secret,
    format_key,
    generate_key,
    load_keys,
    parse_keys,
    write_keys_file,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")

root_only = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")


def new(key_id: str) -> Key:
    return generate_key(key_id=key_id, principal="lab", roles=["read"])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """See that the folder of `path` has the same files with the same bytes afterwards."""

    def contents() -> dict[str, bytes]:
        return {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}

    before = contents()
    yield
    assert contents() == before


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    write_keys_file(path, [new("lab-1"), new("lab-2")])
    return path


def test_keys_load_as_written(tmp_path: Path) -> None:
    keys = (new("a"), new("b"))
    write_keys_file(tmp_path / "keys.toml", keys)
    assert load_keys(tmp_path / "keys.toml") == keys
    assert load_keys(str(tmp_path / "keys.toml")) == keys
    assert os.listdir(tmp_path) == ["keys.toml"]  # noqa: PTH208 - names alone


def test_no_keys_are_a_file_too(tmp_path: Path) -> None:
    write_keys_file(tmp_path / "keys.toml", [])
    assert load_keys(tmp_path / "keys.toml") == ()


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o610, 0o601, 0o644, 0o777, 0o620, 0o602])
def test_a_file_that_others_may_use_is_refused_with_the_remedy(keys_file: Path, bits: int) -> None:
    keys_file.chmod(bits)
    with pytest.raises(KeysFileError, match=f"has mode {bits:04o}") as caught:
        load_keys(keys_file)
    assert f"run: chmod 600 {keys_file}" in str(caught.value)
    with unchanged(keys_file), pytest.raises(KeysFileError, match="chmod 600"):
        append_key(keys_file, new("lab-3"))


@pytest.mark.parametrize("bits", [0o600, 0o400, 0o700])
def test_a_file_of_its_owner_alone_is_read(keys_file: Path, bits: int) -> None:
    keys_file.chmod(bits)
    assert len(load_keys(keys_file)) == 2


def test_the_remedy_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    path = tmp_path / "my keys.toml"
    write_keys_file(path, [new("a")])
    path.chmod(0o644)
    with pytest.raises(KeysFileError) as caught:
        load_keys(path)
    command = str(caught.value).rpartition("run: ")[2]
    subprocess.run(["/bin/sh", "-c", command], check=True, timeout=60)
    assert len(load_keys(path)) == 1


def test_a_link_counts_as_what_it_leads_to(keys_file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(keys_file.name)
    assert load_keys(link) == load_keys(keys_file)
    keys_file.chmod(0o644)
    with pytest.raises(KeysFileError, match="chmod 600"):
        load_keys(link)


def test_writing_through_a_link_keeps_the_link(keys_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    link = folder / "link.toml"
    link.symlink_to(keys_file)
    append_key(link, new("lab-3"))
    assert link.is_symlink()
    assert [key.id for key in load_keys(keys_file)] == ["lab-1", "lab-2", "lab-3"]
    write_keys_file(link, [new("lab-4")])
    assert link.is_symlink()
    assert [key.id for key in load_keys(keys_file)] == ["lab-4"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_file_is_private_under_any_umask(tmp_path: Path, umask: int) -> None:
    script = (
        "import os, sys\n"
        "from mfn_signing import append_key, generate_key, write_keys_file\n"
        f"os.umask({umask})\n"
        "key = generate_key(principal='lab', roles=['read'])\n"
        "write_keys_file(sys.argv[1] + '/written.toml', [key])\n"
        "append_key(sys.argv[1] + '/appended.toml', key)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)
    assert mode(tmp_path / "written.toml") == mode(tmp_path / "appended.toml") == 0o600


def test_writing_closes_a_file_that_was_open_to_others(keys_file: Path) -> None:
    keys_file.chmod(0o644)
    write_keys_file(keys_file, [new("a")])
    assert mode(keys_file) == 0o600


def test_a_missing_file_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(KeysFileError, match=r"does not exist; make a key, or correct the path") as caught:
        load_keys(tmp_path / "none.toml")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_regular_file_is_neither_read_nor_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "keys.toml"
    if kind == "folder":
        path.mkdir(mode=0o700)
    else:
        os.mkfifo(path, 0o600)
    for refuse in (lambda: load_keys(path), lambda: write_keys_file(path, []), lambda: append_key(path, new("a"))):
        with pytest.raises(KeysFileError, match="is not a regular file"):
            refuse()
    assert path.is_dir() == (kind == "folder")
    assert os.listdir(tmp_path) == ["keys.toml"]  # noqa: PTH208 - names alone


def test_a_device_is_never_replaced() -> None:
    with pytest.raises(KeysFileError, match="not a regular file"):
        write_keys_file("/dev/null", [])
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "none" / "keys.toml"
    with pytest.raises(KeysFileError, match=r"cannot be written: No such file or directory"):
        write_keys_file(path, [])
    with pytest.raises(KeysFileError, match=r"cannot be written: No such file or directory"):
        append_key(path, new("a"))


def test_a_file_that_is_not_utf8_is_told_by_its_place_alone(keys_file: Path) -> None:
    keys_file.write_bytes(b'[[keys]]\nsecret = "\xff"')
    with pytest.raises(KeysFileError, match="not UTF-8 at byte 19") as caught:
        load_keys(keys_file)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_file_without_end_is_not_read_whole(keys_file: Path) -> None:
    with keys_file.open("ab") as file:
        file.truncate(MAX_KEYS_FILE_BYTES + 1)
    with pytest.raises(KeysFileError, match=f"longer than {MAX_KEYS_FILE_BYTES} bytes"):
        load_keys(keys_file)


def test_a_file_is_not_made_longer_than_can_be_read(keys_file: Path) -> None:
    filler = "#" * (MAX_KEYS_FILE_BYTES - 10) + "\n"
    keys_file.write_text(filler)
    with unchanged(keys_file), pytest.raises(KeysFileError, match="would be longer"):
        append_key(keys_file, new("a"))


def test_an_invalid_file_is_refused_by_its_path(keys_file: Path) -> None:
    keys_file.write_text("[[keys]]\nid = 1\n")
    with pytest.raises(KeysFileError) as caught:
        load_keys(keys_file)
    assert caught.value.source == str(keys_file)
    with unchanged(keys_file), pytest.raises(KeysFileError, match="is missing"):
        append_key(keys_file, new("a"))


def test_appending_keeps_what_stands_there_with_its_comments(keys_file: Path) -> None:
    text = "# ours\n" + keys_file.read_text() + "# the end"
    keys_file.write_text(text)
    key = new("lab-3")
    append_key(keys_file, key)
    assert keys_file.read_text() == text + "\n\n" + format_key(key)
    assert load_keys(keys_file)[-1] == key


def test_appending_makes_a_file_that_is_absent(tmp_path: Path) -> None:
    key = new("a")
    append_key(tmp_path / "keys.toml", key)
    assert load_keys(tmp_path / "keys.toml") == (key,)
    assert mode(tmp_path / "keys.toml") == 0o600
    assert (tmp_path / "keys.toml").read_text() == format_key(key)


def test_appending_an_id_that_is_there_is_refused(keys_file: Path) -> None:
    with (
        unchanged(keys_file),
        pytest.raises(KeysFileError, match=r"keys\[2\] \(id 'lab-1'\).id: is the id of keys\[0\]"),
    ):
        append_key(keys_file, new("lab-1"))


def test_appending_a_secret_that_is_there_is_refused_without_showing_it(keys_file: Path) -> None:
    first = load_keys(keys_file)[0]
    again = Key(id="lab-3", secret=first.secret, principal="lab", roles=frozenset({"read"}))
    with unchanged(keys_file), pytest.raises(KeysFileError, match="is the secret of") as caught:
        append_key(keys_file, again)
    assert encode_secret(first.secret) not in str(caught.value)


def test_writing_one_id_twice_is_refused(keys_file: Path) -> None:
    with unchanged(keys_file), pytest.raises(KeysFileError, match="is the id of"):
        write_keys_file(keys_file, [new("a"), new("a")])


def test_an_array_in_one_value_cannot_be_appended_to(keys_file: Path) -> None:
    key = new("a")
    fields = ", ".join(format_key(key).splitlines()[1:])
    keys_file.write_text(f"keys = [{{ {fields} }}]\n")
    assert load_keys(keys_file) == (key,)
    with unchanged(keys_file), pytest.raises(KeysFileError, match=r"start each key with \[\[keys\]\]"):
        append_key(keys_file, new("b"))


@pytest.mark.parametrize("step", ["fsync", "fchmod"])
def test_a_failure_on_the_way_leaves_the_file_as_it_was(
    keys_file: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with unchanged(keys_file):
        monkeypatch.setattr(os, step, fail)
        with pytest.raises(KeysFileError, match="cannot be written: Input/output error"):
            append_key(keys_file, new("a"))
        with pytest.raises(KeysFileError, match="cannot be written: Input/output error"):
            write_keys_file(keys_file, [new("a")])
        monkeypatch.undo()


def test_an_interrupt_on_the_way_leaves_the_file_as_it_was(keys_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with unchanged(keys_file):
        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            append_key(keys_file, new("a"))
        monkeypatch.undo()


def test_a_full_disk_leaves_the_file_as_it_was(keys_file: Path) -> None:
    script = (
        "import resource, sys\n"
        "from mfn_signing import KeysFileError, append_key, generate_key\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try:\n"
        "    append_key(sys.argv[1], generate_key(principal='lab', roles=['read']))\n"
        "except KeysFileError as error:\n"
        "    sys.exit(0 if 'File too large' in str(error) else str(error))\n"
        "sys.exit('written past the limit')\n"
    )
    with unchanged(keys_file):
        done = subprocess.run(
            [sys.executable, "-c", script, str(keys_file)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_content_is_durable_before_it_takes_the_name(keys_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[bool, tuple[str, ...]]] = []
    real = os.fsync

    def record(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((is_folder, tuple(key.id for key in load_keys(keys_file))))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    append_key(keys_file, new("lab-3"))
    assert synced == [(False, ("lab-1", "lab-2")), (True, ("lab-1", "lab-2", "lab-3"))]


def test_a_reader_sees_the_old_file_or_the_new_one(keys_file: Path) -> None:
    sets = [tuple(new(f"{name}-{number}") for number in range(20)) for name in "ab"]
    write_keys_file(keys_file, sets[0])
    over = threading.Event()

    def read() -> int:
        seen = 0
        while not over.is_set() or not seen:
            assert load_keys(keys_file) in sets
            seen += 1
        return seen

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        try:
            for number in range(40):
                write_keys_file(keys_file, sets[number % 2])
        finally:
            over.set()
        assert reader.result(timeout=60) > 0


def test_threads_and_processes_that_append_at_once_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    script = (
        "import sys\n"
        "from mfn_signing import append_key, generate_key\n"
        "for number in range(5):\n"
        "    append_key(sys.argv[1], generate_key(key_id=f'process-{number}', principal='p', roles=['read']))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: append_key(path, new(f"thread-{number}")), range(12)))
    assert process.wait(timeout=60) == 0
    ids = {key.id for key in load_keys(path)}
    assert ids == {f"thread-{number}" for number in range(12)} | {f"process-{number}" for number in range(5)}
    assert os.listdir(tmp_path) == ["keys.toml"]  # noqa: PTH208 - names alone


@root_only
def test_a_file_of_another_user_stays_theirs(keys_file: Path) -> None:
    os.chown(keys_file, 12345, -1)
    append_key(keys_file, new("lab-3"))
    assert keys_file.stat().st_uid == 12345
    assert mode(keys_file) == 0o600


@root_only
def test_a_file_that_cannot_stay_its_owners_is_not_replaced(keys_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(keys_file, 12345, -1)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with unchanged(keys_file):
        monkeypatch.setattr(os, "fchown", refuse)
        with pytest.raises(KeysFileError, match="Operation not permitted"):
            write_keys_file(keys_file, [new("a")])
        monkeypatch.undo()


def test_what_is_written_is_what_parses(keys_file: Path) -> None:
    assert parse_keys(keys_file.read_text(), source="here") == load_keys(keys_file)


def test_an_edit_keeps_what_it_does_not_touch(keys_file: Path) -> None:
    keys_file.write_text("# ours\n" + keys_file.read_text())
    edited = edit_keys_file(keys_file, lambda text: text.replace('"active"', '"revoked"', 1))
    assert [key.status for key in edited][:1] == ["revoked"]
    assert keys_file.read_text().startswith("# ours\n")
    assert load_keys(keys_file) == edited


def test_an_edit_that_would_break_the_file_changes_nothing(keys_file: Path) -> None:
    before = keys_file.read_text()
    with pytest.raises(KeysFileError):
        edit_keys_file(keys_file, lambda text: text + "\n[[keys]]\n")
    with pytest.raises(ZeroDivisionError):
        edit_keys_file(keys_file, lambda text: str(1 // 0))
    assert keys_file.read_text() == before
    assert list(keys_file.parent.iterdir()) == [keys_file]
