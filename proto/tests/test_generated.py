"""The generated code is what the .proto files give, and imports beside other users of the rules' definitions."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_RULES = _ROOT / "src/mfn_proto/third_party/buf/validate"


@pytest.fixture(name="generate")
def _generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mfn_proto_generate", _ROOT / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _python(code: str, *, path: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    if path is not None:
        env["PYTHONPATH"] = str(path)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_committed_code_is_what_the_generator_writes() -> None:
    done = subprocess.run(
        [sys.executable, str(_ROOT / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_check_lists_files_that_differ_are_missing_or_left_over(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = tmp_path / "src"
    for path in (_ROOT / "src").rglob("*"):
        if path.suffix in {".proto", ".py", ".pyi", ".json"}:
            copy = sources / path.relative_to(_ROOT / "src")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(generate, "_SOURCES", sources)
    assert generate.main(["--check"]) == 0

    differs, missing, left_over = (
        sources / f"mfn_proto/{name}" for name in ("mfn_pb2.py", "v1/field_pb2.pyi", "old_pb2.py")
    )
    differs.write_bytes(differs.read_bytes() + b"\n")
    missing.unlink()
    left_over.write_bytes(b"")
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "mfn_proto/old_pb2.py: no .proto file gives it",
        "mfn_proto/mfn_pb2.py: differs",
        "mfn_proto/v1/field_pb2.pyi: missing",
        "run generate.py and commit what it writes",
    ]

    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    assert not left_over.exists()


def test_another_version_of_the_generator_is_refused_before_it_writes(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "wanted_version", lambda: "1.0.0")
    monkeypatch.setattr(generate, "_write", lambda: pytest.fail("it wrote"))
    assert generate.main([]) == 2
    assert "1.0.0 is wanted" in capsys.readouterr().err


def test_the_lower_bound_of_protobuf_is_what_the_generated_code_asks_for() -> None:
    asked = {
        re.findall(r"^# Protobuf Python Version: (\S+)$", path.read_text("utf-8"), re.MULTILINE)[0]
        for path in (_ROOT / "src").rglob("*_pb2.py")
    }
    assert len(asked) == 1
    dependencies = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert f"protobuf>={asked.pop()},<8" in dependencies


def test_importing_the_contracts_needs_neither_grpc_nor_the_validator() -> None:
    done = _python("""
        import sys
        import mfn_proto.mfn_pb2, mfn_proto.mycelium_pb2, mfn_proto.v1.field_pb2, mfn_proto.validation
        assert not {"grpc", "protovalidate", "buf", "protobuf"} & set(sys.modules)
    """)
    assert (done.returncode, done.stderr) == (0, "")


_REJECTS_ALPHA = """
from mfn_proto.mfn_pb2 import FeatureRequest
from mfn_proto.validation import violations
assert [v.field for v in violations(FeatureRequest(alpha=0.3))] == ["alpha"]
assert violations(FeatureRequest(alpha=0.25)) == ()
"""


def _install_rules(folder: Path, source: str) -> None:
    package = folder / "buf" / "validate"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (folder / "buf" / "__init__.py").touch()
    (package / "validate_pb2.py").write_text(source, "utf-8")


def test_an_installed_copy_of_the_rules_is_used_and_stays_importable(tmp_path: Path) -> None:
    _install_rules(tmp_path, (_RULES / "validate_pb2.py").read_text("utf-8"))
    done = _python(
        _REJECTS_ALPHA
        + "import sys\n"
        + "assert 'mfn_proto.third_party.buf.validate.validate_pb2' not in sys.modules\n"
        + "from buf.validate import validate_pb2\n"
        + f"assert validate_pb2.__file__.startswith({str(tmp_path)!r})\n",
        path=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")


_OTHER_COPY = """
from google.protobuf import descriptor_pb2, descriptor_pool
file = descriptor_pb2.FileDescriptorProto(
    name="buf/validate/validate.proto", package="buf.validate", dependency=["google/protobuf/descriptor.proto"]
)
file.message_type.add(name="FieldRules")
descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
"""


def test_a_different_copy_that_came_first_is_used_and_the_rules_still_hold() -> None:
    done = _python("from google.protobuf import descriptor_pb2\n" + _OTHER_COPY + _REJECTS_ALPHA)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_different_installed_copy_is_used_and_the_rules_still_hold(tmp_path: Path) -> None:
    _install_rules(tmp_path, _OTHER_COPY)
    done = _python(_REJECTS_ALPHA + "import buf.validate.validate_pb2\n", path=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_installed_package_buf_without_the_rules_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "buf").mkdir()
    (tmp_path / "buf" / "__init__.py").touch()
    done = _python(_REJECTS_ALPHA, path=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_identical_copy_that_comes_later_is_no_conflict(tmp_path: Path) -> None:
    copy = tmp_path / "vendored_rules.py"
    copy.write_bytes((_RULES / "validate_pb2.py").read_bytes())
    done = _python(_REJECTS_ALPHA + "import vendored_rules\n", path=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_installed_copy_made_for_a_newer_protobuf_is_passed_over(tmp_path: Path) -> None:
    _install_rules(
        tmp_path,
        "from google.protobuf import runtime_version as r\n"
        "r.ValidateProtobufRuntimeVersion(r.Domain.PUBLIC, 99, 0, 0, '', 'buf/validate/validate.proto')\n",
    )
    done = _python(_REJECTS_ALPHA, path=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_contracts_work_on_protobuf_without_its_c_extension() -> None:
    done = _python(_REJECTS_ALPHA, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python")
    assert (done.returncode, done.stderr) == (0, "")
