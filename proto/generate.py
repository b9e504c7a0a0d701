"""Generate the Python code of the .proto files under `src`, or check the committed code against them.

    python generate.py            writes it
    python generate.py --check    compares byte for byte; exit status 1 and a list where a file differs

It needs grpcio-tools at exactly the version of the dependency group `generate` in pyproject.toml, because
another version writes other bytes and asks for another protobuf at run time.

protoc's output is changed in three ways. What it would import from a top-level package `buf`, which is not
ours to claim, it imports from this distribution (see `mfn_proto/_rules.py`); stubs, which have no use for the
definitions of options, do not import them. Stubs tell mypy what they leave open. The stub of the rules
themselves is one line, because nobody reads them through it and protoc's has type errors.

The comments of our definitions, which generated code does not have, are written into `comments.json`.

No code is made of google/api: it comes with googleapis-common-protos. Its .proto files are carried for whoever
reads ours.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

__all__ = ["generated", "main"]

_ROOT = Path(__file__).resolve().parent
_SOURCES = _ROOT / "src"
_THIRD_PARTY = Path("mfn_proto/third_party")
_RULES = "buf/validate/validate.proto"
_COMMENTS = Path("mfn_proto/comments.json")
_DESCRIBED = "described.binpb"

_RUNTIME_IMPORT = (
    "from buf.validate import validate_pb2 as buf_dot_validate_dot_validate__pb2",
    "from mfn_proto import _rules as buf_dot_validate_dot_validate__pb2",
)
_STUB_IMPORTS = (
    "from buf.validate import validate_pb2 as _validate_pb2\n",
    "from google.api import annotations_pb2 as _annotations_pb2\n",
)
_STUB_HEAD = '# protoc leaves the type arguments of Mapping open.\n# mypy: disable-error-code="type-arg"\n'
_RULES_STUB = "from google.protobuf import descriptor as _descriptor\n\nDESCRIPTOR: _descriptor.FileDescriptor\n"
_CLAIM = re.compile(r"^(?:from|import) buf\b", re.MULTILINE)


def wanted_version() -> str:
    """The version of grpcio-tools that pyproject.toml names."""
    groups = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    pins = [pin.removeprefix("grpcio-tools==") for pin in groups["generate"] if pin.startswith("grpcio-tools==")]
    if len(pins) != 1:
        raise ValueError("pyproject.toml must pin grpcio-tools once in dependency-groups.generate")
    return str(pins[0])


def _protoc(include: Sequence[Path], out: Path, files: Sequence[str]) -> None:
    # Imported here, so that `--help` and `wanted_version` work without it.
    from grpc_tools import protoc  # type: ignore[import-untyped]  # it ships no types

    well_known = resources.files("grpc_tools") / "_proto"
    arguments = [
        "protoc",
        *(f"-I{path}" for path in (*include, well_known)),
        f"--python_out={out}",
        f"--pyi_out={out}",
        f"--descriptor_set_out={out / _DESCRIBED}",
        "--include_source_info",
        *files,
    ]
    status = protoc.main(arguments)
    if status != 0:
        raise RuntimeError(f"protoc failed with status {status} on {', '.join(files)}; its message stands above")


def _comments(set_file: Path) -> bytes:
    """What stands before each name in the definitions, as JSON: full name to text."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    found: dict[str, str] = {}
    for file in FileDescriptorSet.FromString(set_file.read_bytes()).file:
        places = dict(_places(file))
        for location in file.source_code_info.location:
            name = places.get(tuple(location.path))
            if name is not None and location.leading_comments:
                paragraphs = location.leading_comments.strip("\n").split("\n\n")
                texts = (" ".join(line.strip() for line in each.splitlines()) for each in paragraphs)
                found[name] = "\n\n".join(texts).strip()
    return (json.dumps(found, indent=0, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _places(file: Any) -> Iterator[tuple[tuple[int, ...], str]]:
    """Every full name of a file by its place: numbers of fields and indices of descriptor.proto."""
    prefix = f"{file.package}." if file.package else ""
    for i, service in enumerate(file.service):
        yield (6, i), prefix + service.name
        for j, method in enumerate(service.method):
            yield (6, i, 2, j), f"{prefix}{service.name}.{method.name}"
    for i, enum in enumerate(file.enum_type):
        yield from _enum_places(enum, (5, i), prefix)
    for i, message in enumerate(file.message_type):
        yield from _message_places(message, (4, i), prefix)


def _message_places(message: Any, place: tuple[int, ...], prefix: str) -> Iterator[tuple[tuple[int, ...], str]]:
    name = prefix + message.name
    yield place, name
    for j, field in enumerate(message.field):
        yield (*place, 2, j), f"{name}.{field.name}"
    for j, nested in enumerate(message.nested_type):
        yield from _message_places(nested, (*place, 3, j), f"{name}.")
    for j, enum in enumerate(message.enum_type):
        yield from _enum_places(enum, (*place, 4, j), f"{name}.")


def _enum_places(enum: Any, place: tuple[int, ...], prefix: str) -> Iterator[tuple[tuple[int, ...], str]]:
    yield place, prefix + enum.name
    for j, value in enumerate(enum.value):
        yield (*place, 2, j), f"{prefix}{enum.name}.{value.name}"


def _adapted(name: Path, text: str) -> str:
    if name.suffix == ".py":
        text = text.replace(*_RUNTIME_IMPORT)
    elif _THIRD_PARTY in name.parents:
        text = _RULES_STUB
    else:
        for unused in _STUB_IMPORTS:
            text = text.replace(unused, "")
        text = _STUB_HEAD + text
    if _CLAIM.search(text):
        raise RuntimeError(f"{name} imports the top-level package buf in a way that generate.py does not know")
    return text


def generated() -> dict[Path, bytes]:
    """Run protoc on every .proto file.

    Returns:
        the generated files by path under `src`, in order of path.

    Raises:
        RuntimeError: protoc refused a file, or wrote an import that would claim a package of others.
    """
    ours = sorted(
        path.relative_to(_SOURCES).as_posix()
        for path in _SOURCES.glob("mfn_proto/**/*.proto")
        if _THIRD_PARTY not in path.relative_to(_SOURCES).parents
    )
    third_party = _SOURCES / _THIRD_PARTY
    found: dict[Path, bytes] = {}
    with tempfile.TemporaryDirectory() as scratch:
        # Two runs, so that each tree is made from paths relative to its own root.
        for prefix, include, files in (
            (Path(), (_SOURCES, third_party), ours),
            (_THIRD_PARTY, (third_party,), [_RULES]),
        ):
            out = Path(scratch) / prefix
            out.mkdir(parents=True, exist_ok=True)
            _protoc(include, out, files)
        found[_COMMENTS] = _comments(Path(scratch) / _DESCRIBED)
        for path in sorted(Path(scratch).rglob("*_pb2.py*")):
            name = path.relative_to(scratch)
            found[name] = _adapted(name, path.read_text("utf-8")).encode()
    return found


def _committed() -> set[Path]:
    code = {path.relative_to(_SOURCES) for path in _SOURCES.rglob("*_pb2.py*") if path.suffix in {".py", ".pyi"}}
    return code | ({_COMMENTS} if (_SOURCES / _COMMENTS).exists() else set())


def differing() -> list[str]:
    """One line for each committed file that is missing, left over, or not what protoc writes."""
    fresh = generated()
    lines = [f"{name}: no .proto file gives it" for name in sorted(_committed() - fresh.keys())]
    for name, content in fresh.items():
        path = _SOURCES / name
        if not path.exists():
            lines.append(f"{name}: missing")
        elif path.read_bytes() != content:
            lines.append(f"{name}: differs")
    return lines


def _write() -> None:
    fresh = generated()
    for name, content in fresh.items():
        path = _SOURCES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name in _committed() - fresh.keys():
        (_SOURCES / name).unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check; the exit status is 0; 1: a file differs; 2: another version of the generator."""
    parser = argparse.ArgumentParser(description="generate the Python code of the .proto files")
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    check = bool(parser.parse_args(arguments).check)
    wanted = wanted_version()
    try:
        installed = importlib.metadata.version("grpcio-tools")
    except importlib.metadata.PackageNotFoundError:
        installed = "none"
    if installed != wanted:
        sys.stderr.write(f"grpcio-tools {installed} is installed, {wanted} is wanted; install that version\n")
        return 2
    if not check:
        _write()
        return 0
    lines = differing()
    if lines:
        sys.stderr.write("".join(f"{line}\n" for line in lines) + "run generate.py and commit what it writes\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
