"""The package's page and its exported names are true."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mfn_signing

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
VECTORS = json.loads((Path(__file__).parent / "data" / "vectors.json").read_text(encoding="utf-8"))
SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_page_has_the_vectors_that_are_tested() -> None:
    (published,) = blocks("json")
    assert json.loads(published) == VECTORS


def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(blocks("python"))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_keys_file_of_the_page_is_one() -> None:
    (text,) = blocks("toml")
    (key,) = mfn_signing.parse_keys(text, source="README.md")
    assert (key.id, mfn_signing.encode_secret(key.secret)) == ("lab-1", SECRET)


@pytest.mark.skipif(
    not all(map(shutil.which, ("sh", "openssl", "od", "tr", "cut"))), reason="needs a shell and openssl"
)
def test_the_shell_of_the_page_prints_the_vector() -> None:
    (script,) = blocks("sh")
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == VECTORS[0]["signature"]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_javascript_of_the_page_signs_every_vector() -> None:
    (script,) = blocks("js")
    calls = f"""
    for (const v of {json.dumps(VECTORS)}) {{
      const message = v.message_hex === null ? null : Buffer.from(v.message_hex, "hex");
      console.log(sign("{SECRET}", v.path, v.timestamp, v.nonce, message));
    }}
    """
    done = subprocess.run(["node", "-e", script + calls], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [vector["signature"] for vector in VECTORS]


def test_every_exported_name_is_there_and_on_the_page() -> None:
    assert mfn_signing.__all__ == sorted(mfn_signing.__all__, key=_natural)
    constants = {name for name in mfn_signing.__all__ if name.isupper()}
    for name in mfn_signing.__all__:
        exported: Any = getattr(mfn_signing, name)
        if name not in constants:
            assert exported.__doc__, name
            assert f"`{name}`" in README, name


def _natural(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_importing_pulls_in_the_standard_library_alone() -> None:
    script = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import mfn_signing\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(tops - set(sys.stdlib_module_names) - {'mfn_signing'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.stdout.split() == []
