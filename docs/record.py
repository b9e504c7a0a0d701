"""Record in the readme what `make demo` and `make test` print in a fresh clone.

    python docs/record.py            clones the last commit into a temporary folder, runs both, writes README.md

Nothing is written where one of them fails. The end of the tests' output is kept whole, and of the lines of progress the
first and the last.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

_ROOT = Path(__file__).resolve().parent.parent
_README = _ROOT / "README.md"
_PROGRESS = re.compile(r"^[.sx]+ *\[ *\d+%\]$")


def _make(target: str, folder: Path) -> str:
    """What a target prints.

    Raises:
        SystemExit: it fails.
    """
    sys.stdout.write(f"make {target} in {folder}\n")
    done = subprocess.run(  # noqa: S603 - our own Makefile
        ["make", "--no-print-directory", target],  # noqa: S607 - the make of whoever runs this
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(
            f"make {target} ended with status {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        )
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def _abbreviated(told: str, folder: Path) -> str:
    """Without the middle of the lines of progress, and without the list of what was skipped."""
    lines = told.replace(str(folder), "…/mfn").splitlines()
    progress = [number for number, line in enumerate(lines) if _PROGRESS.match(line)]
    kept = [*lines[: progress[0] + 1], "…", *lines[progress[-1] :]] if len(progress) > 2 else lines
    return "\n".join(line for line in kept if not line.startswith("SKIPPED") and "short test summary" not in line)


def _replaced(text: str, target: str, told: str) -> str:
    block = re.compile(rf"(make {target}\n```\n\n```text\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
    if block.search(text) is None:
        raise SystemExit(f"README.md has no block of output behind `make {target}`")
    return block.sub(lambda found: f"{found[1]}{told}\n", text)


def main(argv: Sequence[str]) -> int:
    """Record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--in", dest="checkout", type=Path, help="run in this checkout instead of a fresh clone")
    checkout: Path | None = parser.parse_args(argv).checkout
    with tempfile.TemporaryDirectory(prefix="mfn-record-") as temporary:
        folder = checkout or Path(temporary) / "mfn"
        if checkout is None:
            subprocess.run(["git", "clone", "--quiet", str(_ROOT), str(folder)], check=True)  # noqa: S603, S607 - as above
        text = _replaced(_README.read_text("utf-8"), "demo", _make("demo", folder))
        (folder / "README.md").write_text(text, "utf-8")  # a test compares the demo with it
        text = _replaced(text, "test", _abbreviated(_make("test", folder), folder))
    today = datetime.datetime.now(datetime.UTC).date()
    where = f"in a fresh clone on {os.cpu_count()} cores with Python {sys.version_info[0]}.{sys.version_info[1]}."
    dated = f"Recorded on {today.day} {today:%B %Y}, {where}"
    _README.write_text(re.sub(r"Recorded on .*? with Python [\d.]+\.", dated, text, flags=re.DOTALL), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
