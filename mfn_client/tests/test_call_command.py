"""`mfn call`: any method of any server, with JSON."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from click.testing import CliRunner, Result
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2

from mfn_client.commands.call import call
from mfn_proto import mfn_pb2
from mfn_proto.rich_status import DETAILS_KEY, encode_rich_status
from mfn_proto.v1 import field_pb2 as pb
from mfn_signing import Key, encode_secret, generate_key, write_keys_file

EXTRACT = "/mfn.MFNFeaturesService/ExtractFeatures"
STREAM_FEATURES = "/mfn.MFNFeaturesService/StreamFeatures"
ANALYZE = "/mfn.v1.FieldService/AnalyzeField"
STEER = "/mfn.v1.FieldService/SteerSimulation"
V1 = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
V1ALPHA = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
SECRET = bytes(range(32))
SERVICES = ("mfn.MFNFeaturesService", "mfn.v1.FieldService")
PATIENCE = 30.0

assert mfn_pb2.DESCRIPTOR.name
assert pb.DESCRIPTOR.name


class Described:
    """Answers reflection from this process's own descriptors."""

    def __init__(self, services: Iterable[str] = SERVICES, *, one_at_a_time: bool = False) -> None:
        self.services = list(services)
        self.one_at_a_time = one_at_a_time
        self.without: set[str] = set()
        """Files that are not described."""

    async def __call__(self, call: Any) -> None:
        while (raw := await call.read()) is not None:
            await call.write(self.answer(reflection_pb2.ServerReflectionRequest.FromString(raw)))

    def answer(self, request: Any) -> Any:
        response = reflection_pb2.ServerReflectionResponse()
        if request.HasField("list_services"):
            for name in self.services:
                response.list_services_response.service.add(name=name)
            return response
        pool = descriptor_pool.Default()
        try:
            if request.HasField("file_by_filename"):
                file = pool.FindFileByName(request.file_by_filename)
            else:
                file = pool.FindFileContainingSymbol(request.file_containing_symbol)
        except KeyError:
            file = None
        if file is None or file.name in self.without:
            response.error_response.error_code = 5
            response.error_response.error_message = "not found"
            return response
        waiting, seen = [file], set()
        while waiting:
            each = waiting.pop()
            if each.name in seen or each.name in self.without:
                continue
            seen.add(each.name)
            proto = descriptor_pb2.FileDescriptorProto()
            each.CopyToProto(proto)
            response.file_descriptor_response.file_descriptor_proto.append(proto.SerializeToString())
            if self.one_at_a_time:
                break
            waiting.extend(each.dependencies)
        return response


def refusing(code: str, message: str = "not here", **rich: Any) -> Callable[[Any], Any]:
    async def refuse(call: Any) -> None:
        status = grpc.StatusCode[code]
        details = encode_rich_status(status.value[0], message, **rich)
        await call.context.abort(status, message, ((DETAILS_KEY, details),))

    return refuse


async def features(call: Any) -> None:
    request = mfn_pb2.FeatureRequest.FromString(call.first)
    await call.write(
        mfn_pb2.FeatureResponse(
            request_id=request.request_id,
            growth_events=request.seed,
            pot_mean_mV=-70.0,
            meta=mfn_pb2.ResponseMeta(meta={"server": "größe"}),
        )
    )


async def frames(call: Any) -> None:
    request = mfn_pb2.FeatureStreamRequest.FromString(call.first)
    for step in range(1, request.total_steps + 1):
        await call.write(mfn_pb2.FeatureFrame(request_id=request.request_id, step=step))


async def analyzed(call: Any) -> None:
    messages = [pb.AnalyzeFieldRequest.FromString(raw) for raw in await call.read_all()]
    size = sum(len(message.chunk) for message in messages)
    await call.write(pb.AnalyzeFieldResponse(request_id=messages[0].header.request_id, active_fraction=size))


async def echoing(call: Any) -> None:
    while (raw := await call.read()) is not None:
        command = pb.SteerSimulationRequest.FromString(raw)
        done = pb.CommandAcknowledgement(sequence=command.sequence, step=command.inject.row)
        await call.write(pb.SteerSimulationResponse(acknowledged=done))


@pytest.fixture
def tiny(threaded: Any) -> Any:
    threaded.serve(V1, Described())
    threaded.serve(EXTRACT, features)
    threaded.serve(STREAM_FEATURES, frames)
    threaded.serve(ANALYZE, analyzed)
    threaded.serve(STEER, echoing)
    return threaded


def keys(directory: Path, *more: Key) -> Path:
    path = directory / "keys.toml"
    key = Key(id="lab-1", secret=SECRET, principal="lab", roles=frozenset({"write"}))
    write_keys_file(path, [key, *more])
    return path


@pytest.fixture
def run(tiny: Any, tmp_path: Path) -> Callable[..., Result]:
    """Run the command against the server, with a keys file in the working directory."""
    keys(tmp_path)
    runner = CliRunner()

    def invoke(*arguments: str) -> Result:
        before = Path.cwd()
        os.chdir(tmp_path)
        try:
            result = runner.invoke(call, ["--address", tiny.address, *arguments])
        finally:
            os.chdir(before)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


def paths(tiny: Any) -> list[str]:
    return [each.path for each in tiny.calls if each.path not in (V1, V1ALPHA)]


# Shapes.


def test_a_unary_call_takes_one_object_and_gives_one_line(run: Any, tiny: Any) -> None:
    result = run("mfn.MFNFeaturesService/ExtractFeatures", "--data", '{"requestId": "mine", "seed": 7}')
    assert (result.exit_code, result.stderr) == (0, "")
    (line,) = result.stdout.splitlines()
    assert json.loads(line) == {
        "request_id": "mine",
        "meta": {"meta": {"server": "größe"}},
        "fractal_dimension": 0.0,
        "pot_min_mV": 0.0,
        "pot_max_mV": 0.0,
        "pot_mean_mV": -70.0,
        "pot_std_mV": 0.0,
        "growth_events": 7,
    }
    assert "größe" in line
    assert paths(tiny) == [EXTRACT]


def test_without_data_one_empty_object_is_sent(run: Any, tiny: Any) -> None:
    assert run("ExtractFeatures").exit_code == 0
    assert tiny.calls[-1].first == b""


def test_pretty_replies_are_indented(run: Any) -> None:
    lines = run("ExtractFeatures", "--pretty").stdout.splitlines()
    assert lines[0] == "{"
    assert '  "pot_mean_mV": -70.0,' in lines


def test_a_server_stream_gives_a_line_for_each_reply(run: Any) -> None:
    result = run("StreamFeatures", "-d", '{"total_steps": 4}')
    assert [json.loads(line)["step"] for line in result.stdout.splitlines()] == [1, 2, 3, 4]


def chunk(content: bytes) -> dict[str, str]:
    return {"chunk": base64.b64encode(content).decode()}


def test_a_client_stream_sends_every_object_and_gives_one_line(run: Any, tmp_path: Path) -> None:
    messages = [{"header": {"request_id": "mine"}}, chunk(b"abc"), chunk(b"defg")]
    for data in ("".join(map(json.dumps, messages)), "\n".join(json.dumps(each, indent=1) for each in messages)):
        (tmp_path / "field.json").write_text(data)
        for given in (data, "@field.json"):
            result = run("AnalyzeField", "--data", given)
            assert (result.exit_code, result.stderr) == (0, "")
            (line,) = result.stdout.splitlines()
            assert json.loads(line)["active_fraction"] == 7.0


def test_a_bidirectional_stream_goes_both_ways(run: Any) -> None:
    commands = [{"sequence": number, "inject": {"row": number, "column": 0}} for number in range(1, 6)]
    result = run("SteerSimulation", "-d", "\n".join(map(json.dumps, commands)))
    assert (result.exit_code, result.stderr) == (0, "")
    steps = [json.loads(line)["acknowledged"]["step"] for line in result.stdout.splitlines()]
    assert steps == ["1", "2", "3", "4", "5"]  # JSON of protobuf has 64-bit integers as text


def test_a_server_that_ends_a_stream_early_has_its_answer_heard(run: Any, tiny: Any) -> None:
    async def early(call: Any) -> None:
        await call.read()
        await call.context.abort(grpc.StatusCode.FAILED_PRECONDITION, "enough")

    tiny.serve(STEER, early)
    result = run("SteerSimulation", "-d", '{"pause": {}}' * 2000)
    assert result.exit_code == 1
    assert result.stderr == "FAILED_PRECONDITION: enough\n"


# Which method.


@pytest.mark.parametrize(
    "name",
    [
        "/mfn.MFNFeaturesService/ExtractFeatures",
        "mfn.MFNFeaturesService.ExtractFeatures",
        "MFNFeaturesService/ExtractFeatures",
        "MFNFeaturesService.ExtractFeatures",
        "ExtractFeatures",
    ],
)
def test_a_method_is_named_in_full_or_by_its_end(run: Any, tiny: Any, name: str) -> None:
    assert run(name).exit_code == 0
    assert paths(tiny) == [EXTRACT]


@pytest.mark.parametrize("name", ["", "/", "mfn/", "a b", "mfn.-/Extract"])
def test_what_names_no_method_is_refused(run: Any, tiny: Any, name: str) -> None:
    result = run(name)
    assert result.exit_code == 2
    assert "names no method; write package.Service/Method" in result.stderr
    assert tiny.calls == []


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("ExtractFeature", "did you mean mfn.MFNFeaturesService/ExtractFeatures?"),
        ("mfn.MFNFeaturesService/ExtractFeature", "did you mean mfn.MFNFeaturesService/ExtractFeatures?"),
        ("mfn.MFNFeatureService/ExtractFeatures", "did you mean mfn.MFNFeaturesService/ExtractFeatures?"),
        ("Nothing/Like", "(--list shows them all)"),
    ],
)
def test_an_unknown_method_is_answered_with_the_nearest_one(run: Any, tiny: Any, name: str, guess: str) -> None:
    result = run(name)
    assert result.exit_code == 2
    assert f"the server has no method {name}" in result.stderr
    assert guess in result.stderr
    assert paths(tiny) == []


def test_a_name_of_two_methods_is_not_guessed_at(run: Any, tiny: Any) -> None:
    tiny.serve(V1, Described(["mycelium.MyceliumService", "mfn.v1.FieldService"]))
    result = run("Simulate")
    assert result.exit_code == 2
    assert "mycelium.MyceliumService/Simulate and mfn.v1.FieldService/Simulate; write one of them" in result.stderr
    tiny.serve(V1, Described(SERVICES))
    assert "SteerSimulation" not in run("Simulate").stderr


def test_a_listing_shows_every_method_with_its_shape(run: Any, tiny: Any) -> None:
    tiny.serve(V1, Described([*SERVICES, "a.Service.that.is.not.described"]))
    result = run("--list")
    assert result.exit_code == 0
    assert [line.split(maxsplit=1) for line in result.stdout.splitlines()] == [
        ["mfn.MFNFeaturesService/ExtractFeatures", "unary"],
        ["mfn.MFNFeaturesService/StreamFeatures", "server stream"],
        ["mfn.v1.FieldService/Simulate", "server stream"],
        ["mfn.v1.FieldService/AnalyzeField", "client stream"],
        ["mfn.v1.FieldService/SteerSimulation", "bidirectional stream"],
    ]


def test_neither_a_method_nor_a_listing_is_asked_for(run: Any) -> None:
    result = run()
    assert result.exit_code == 2
    assert "name a METHOD, or ask for --list" in result.stderr


# Descriptors.


def test_descriptors_are_fetched_file_by_file_where_the_server_sends_one_at_a_time(run: Any, tiny: Any) -> None:
    tiny.serve(V1, Described(one_at_a_time=True))
    assert run("ExtractFeatures").exit_code == 0


def test_a_file_of_protobuf_itself_need_not_be_described(run: Any, tiny: Any) -> None:
    described = Described()
    described.without = {"google/protobuf/descriptor.proto", "google/protobuf/duration.proto"}
    tiny.serve(V1, described)
    assert run("ExtractFeatures").exit_code == 0


def test_an_older_server_is_asked_by_the_older_name(run: Any, tiny: Any) -> None:
    tiny.serve(V1, refusing("UNIMPLEMENTED"))
    tiny.serve(V1ALPHA, Described())
    assert run("ExtractFeatures").exit_code == 0
    assert [each.path for each in tiny.calls] == [V1, V1ALPHA, EXTRACT]


@pytest.mark.parametrize("code", ["UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"])
def test_a_server_that_describes_nothing_is_called_by_the_contracts_that_are_installed(
    run: Any, tiny: Any, code: str
) -> None:
    for path in (V1, V1ALPHA):
        tiny.serve(path, refusing(code))
    assert run("ExtractFeatures").exit_code == 0
    result = run("other.Service/Method")
    assert result.exit_code == 2
    assert "this client knows no such method by itself" in result.stderr
    assert code in result.stderr
    listing = run("--list")
    assert listing.exit_code == 1
    assert listing.stderr.startswith(code)


def test_a_service_that_is_listed_and_not_described_has_no_methods(run: Any, tiny: Any) -> None:
    described = Described()
    described.without = {"mfn_proto/mfn.proto"}
    tiny.serve(V1, described)
    result = run("ExtractFeatures")
    assert result.exit_code == 2
    assert "the server has no method ExtractFeatures" in result.stderr


async def nonsense(call: Any) -> None:
    await call.read()
    await call.write(b"\xff\xff")


async def nothing(call: Any) -> None:
    await call.read()


@pytest.mark.parametrize(
    ("handler", "status", "said"),
    [
        (nonsense, 1, "INTERNAL: the server's reflection cannot be read"),
        (nothing, 1, "UNIMPLEMENTED: the server's reflection gave no answer"),
        (refusing("UNAVAILABLE", "draining"), 1, "UNAVAILABLE: draining"),
    ],
)
def test_reflection_that_fails_is_told(run: Any, tiny: Any, handler: Any, status: int, said: str) -> None:
    tiny.serve(V1, handler)
    tiny.serve(V1ALPHA, handler)
    result = run("--list")
    assert result.exit_code == status
    assert said in result.stderr


def served_files(*files: descriptor_pb2.FileDescriptorProto) -> Any:
    """A reflection that lists `x.Service` and describes it by these files."""

    async def answer(call: Any) -> None:
        while (raw := await call.read()) is not None:
            response = reflection_pb2.ServerReflectionResponse()
            if reflection_pb2.ServerReflectionRequest.FromString(raw).HasField("list_services"):
                response.list_services_response.service.add(name="x.Service")
            else:
                encoded = [file.SerializeToString() for file in files]
                response.file_descriptor_response.file_descriptor_proto.extend(encoded)
            await call.write(response)

    return answer


def test_descriptors_that_make_no_sense_are_told(run: Any, tiny: Any) -> None:
    file = descriptor_pb2.FileDescriptorProto
    tiny.serve(V1, served_files(file(name="a", dependency=["b"]), file(name="b", dependency=["a"])))
    result = run("x.Service/Method")
    assert (result.exit_code, "import one another in a circle" in result.stderr) == (2, True)
    broken = file(name="a", package="x")
    broken.service.add(name="Service").method.add(name="Method", input_type=".x.None", output_type=".x.None")
    tiny.serve(V1, served_files(broken))
    result = run("x.Service/Method")
    assert (result.exit_code, "the server's descriptor 'a' cannot be used" in result.stderr) == (2, True)
    tiny.serve(V1, served_files(file(name="a", dependency=["missing"])))
    assert run("x.Service/Method").exit_code == 2


# Signing and metadata.


def test_calls_are_signed_with_the_one_active_key_of_keys_toml(run: Any, tiny: Any) -> None:
    assert run("ExtractFeatures").exit_code == 0
    assert tiny.calls[-1].header("x-mfn-key-id") == "lab-1"
    assert tiny.calls[0].header("x-mfn-key-id") == "lab-1"  # reflection may be for callers who prove who they are


def test_of_several_keys_one_is_named(run: Any, tiny: Any, tmp_path: Path) -> None:
    keys(tmp_path, generate_key(principal="other", roles={"read"}, key_id="other-1"))
    result = run("ExtractFeatures")
    assert result.exit_code == 2
    assert "keys.toml has 2 active keys (lab-1, other-1); name one with --key-id" in result.stderr
    assert run("ExtractFeatures", "--key-id", "lab-1").exit_code == 0
    result = run("ExtractFeatures", "--key-id", "nobody")
    assert result.exit_code == 2
    assert "nobody" in result.stderr


def test_another_keys_file_is_named_and_must_exist(run: Any, tmp_path: Path) -> None:
    (tmp_path / "keys.toml").rename(tmp_path / "mine.toml")
    assert run("ExtractFeatures", "--keys-file", "mine.toml").exit_code == 0
    result = run("ExtractFeatures", "--keys-file", "none.toml")
    assert result.exit_code == 2
    assert "none.toml" in result.stderr


def test_without_a_keys_file_nothing_is_signed(run: Any, tiny: Any, tmp_path: Path) -> None:
    (tmp_path / "keys.toml").unlink()
    result = run("ExtractFeatures")
    assert result.exit_code == 1
    assert result.stderr.startswith("UNAUTHENTICATED: the request is not authenticated\n")
    assert "the call was not signed; --keys-file and --key-id name another key" in result.stderr
    tiny.secret = None
    assert run("ExtractFeatures").exit_code == 0
    assert tiny.calls[-1].header("x-mfn-key-id") is None


def test_signing_can_be_left_out(run: Any, tiny: Any) -> None:
    tiny.secret = None
    assert run("ExtractFeatures", "--unsigned").exit_code == 0
    assert tiny.calls[-1].header("x-mfn-key-id") is None


def test_metadata_is_sent_beside_the_signature(run: Any, tiny: Any) -> None:
    result = run("ExtractFeatures", "-H", "X-Request-Id=mine", "-H", "x-empty=", "-H", "x-raw-bin=AP8=")
    assert result.exit_code == 0
    sent = dict(tiny.calls[-1].metadata)
    assert (sent["x-request-id"], sent["x-empty"], sent["x-raw-bin"]) == ("mine", "", b"\x00\xff")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("nothing", "is not KEY=VALUE"),
        ("a b=c", "is not KEY=VALUE"),
        ("x-mfn-key-id=me", "are set by the client itself"),
        ("grpc-timeout=1S", "are set by the client itself"),
        ("x=größe", "must be printable ASCII"),
        ("x-bin=?", "the value of a -bin key is base64"),
    ],
)
def test_metadata_that_cannot_be_sent_is_refused(run: Any, tiny: Any, header: str, said: str) -> None:
    result = run("ExtractFeatures", "-H", header)
    assert (result.exit_code, said in result.stderr) == (2, True)
    assert tiny.calls == []


# What goes wrong.


def test_an_error_is_told_on_one_screen(run: Any, tiny: Any) -> None:
    tiny.serve(
        EXTRACT,
        refusing(
            "INVALID_ARGUMENT",
            "2 fields\x1b[31m are out of bounds",
            violations=[("alpha", "got 9, at most 0.25"), ("", "too much in all")],
            retry_after=1.5,
            reason="BOUNDS",
            details={"limit": "max_grid"},
        ),
    )
    result = run("ExtractFeatures")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "INVALID_ARGUMENT: 2 fields\N{REPLACEMENT CHARACTER}[31m are out of bounds",
        "  alpha: got 9, at most 0.25",
        "  request: too much in all",
        "  reason: BOUNDS",
        "  limit: max_grid",
        "  retry after 1.5 s",
    ]


def test_replies_before_a_failure_are_shown(run: Any, tiny: Any) -> None:
    async def fails(call: Any) -> None:
        await call.write(mfn_pb2.FeatureFrame(step=1))
        await call.context.abort(grpc.StatusCode.FAILED_PRECONDITION, "unstable")

    tiny.serve(STREAM_FEATURES, fails)
    result = run("StreamFeatures")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["step"] == 1
    assert result.stderr == "FAILED_PRECONDITION: unstable\n"


def test_a_reply_that_cannot_be_read_is_told(run: Any, tiny: Any) -> None:
    async def broken(call: Any) -> None:
        await call.write(b"\xff\xff")

    tiny.serve(EXTRACT, broken)
    result = run("ExtractFeatures")
    assert result.exit_code == 1
    assert result.stderr.startswith("INTERNAL: a reply is no mfn.FeatureResponse that can be shown")


def test_a_timeout_is_the_call_s_deadline(run: Any, tiny: Any) -> None:
    async def silent(call: Any) -> None:
        await call.context.read()

    run("ExtractFeatures")
    assert 20 < tiny.calls[-1].seconds_left <= 31
    run("StreamFeatures", "-d", '{"total_steps": 1}')
    assert tiny.calls[-1].seconds_left is None
    run("StreamFeatures", "-d", '{"total_steps": 1}', "--timeout", "300")
    assert 250 < tiny.calls[-1].seconds_left <= 301
    run("StreamFeatures", "-d", '{"total_steps": 1}', "--timeout", "1e12")
    assert 9e7 < tiny.calls[-1].seconds_left < 1.01e8
    made = len(tiny.calls)
    for text in ("nan", "inf"):
        result = run("StreamFeatures", "--timeout", text)
        assert (result.exit_code, f"{text} is not a positive and finite number" in result.stderr) == (2, True)
    assert len(tiny.calls) == made

    async def slow(call: Any) -> None:
        while True:
            await call.context.write(b"")

    tiny.serve(STREAM_FEATURES, slow)
    result = run("StreamFeatures", "--timeout", "0.5")
    assert result.exit_code == 1
    assert result.stderr.startswith("DEADLINE_EXCEEDED")


@pytest.mark.parametrize(
    ("method", "data", "said"),
    [
        ("ExtractFeatures", "{", "--data: line 1: the object that begins here does not end"),
        ("ExtractFeatures", "seed=1", "--data: line 1: a JSON object is expected, found 'seed=1'"),
        ("ExtractFeatures", "", "takes one JSON object, and there is none"),
        ("ExtractFeatures", "{}{}", "takes one JSON object, and there are more"),
        ("ExtractFeatures", '{"sed": 1}', "object 1 is no mfn.FeatureRequest"),
        ("ExtractFeatures", '{"seed": "x"}', "object 1 is no mfn.FeatureRequest"),
        ("ExtractFeatures", '{"seed": 1,}', "object 1 is no mfn.FeatureRequest"),
        ("SteerSimulation", '{"pause": {}}{"paus": {}}', "object 2 is no mfn.v1.SteerSimulationRequest"),
        ("SteerSimulation", '{"start": {"frames": []}}', "SimulationRequest: start.frames must be a JSON object"),
        ("AnalyzeField", '{"header": {}}{"chunk": "AA*A"}', "object 2 is no mfn.v1.AnalyzeFieldRequest: chunk must be"),
        ("SteerSimulation", '{"pause": {}} nonsense', "a JSON object is expected, found 'nonsense'"),
        ("ExtractFeatures", "@none.json", "none.json: cannot be read: no such file or directory"),
        ("ExtractFeatures", "@.", ".: cannot be read: is a directory"),
    ],
)
def test_data_that_cannot_be_sent_is_told(run: Any, method: str, data: str, said: str) -> None:
    result = run(method, "--data", data)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


def test_a_file_that_is_not_utf_8_is_told(run: Any, tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes('{"request_id": "größe"}'.encode("latin-1"))
    result = run("ExtractFeatures", "-d", "@latin.json")
    assert (result.exit_code, "latin.json: not UTF-8" in result.stderr) == (2, True)


def test_plain_text_to_another_machine_and_files_that_are_not_there_are_refused(run: Any, tmp_path: Path) -> None:
    result = run("ExtractFeatures", "--address", "mfn.example:50051")
    assert (result.exit_code, "results would travel in plain text" in result.stderr) == (2, True)
    result = run("ExtractFeatures", "--tls-ca", "none.pem")
    assert (result.exit_code, "none.pem: cannot be read" in result.stderr) == (2, True)


def test_no_option_takes_a_secret(run: Any) -> None:
    names = {name for parameter in call.params for name in parameter.opts}
    assert not {name for name in names if "secret" in name or "password" in name}
    result = run("ExtractFeatures", "--key-id", "lab-1")
    assert encode_secret(SECRET) not in result.output


# As a process.


# A shell that runs the tests in the background has its children ignore interrupts.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from mfn_client.commands.call import call
call(prog_name='mfn call')
"""


@contextmanager
def process(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", COMMAND, *arguments],
        cwd=directory,
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()  # nothing, where it has ended


def test_commands_from_standard_input_are_answered_as_they_are_typed(tiny: Any, tmp_path: Path) -> None:
    keys(tmp_path)
    with process(tmp_path, "SteerSimulation", "-a", tiny.address) as typed:
        assert typed.stdin is not None
        assert typed.stdout is not None
        for number in (1, 2, 3):
            typed.stdin.write(json.dumps({"sequence": number, "pause": {}}, indent=2) + "\n")
            typed.stdin.flush()
            assert json.loads(typed.stdout.readline())["acknowledged"]["sequence"] == str(number)
        rest, said = typed.communicate(timeout=PATIENCE)  # closes the input
    assert (rest, said, typed.returncode) == ("", "", 0)


@pytest.mark.parametrize("method", ["StreamFeatures", "SteerSimulation"])
def test_an_interrupt_cancels_the_call(tiny: Any, tmp_path: Path, method: str) -> None:
    async def endless(call: Any) -> None:
        if call.path == STEER:
            await call.read()
        while True:
            await call.write(mfn_pb2.FeatureFrame() if call.path != STEER else pb.SteerSimulationResponse())

    tiny.serve(STREAM_FEATURES, endless)
    tiny.serve(STEER, endless)
    keys(tmp_path)
    with process(tmp_path, method, "-a", tiny.address) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        if method == "SteerSimulation":
            running.stdin.write('{"pause": {}}\n')  # and the input stays open, with somebody who waits for it
            running.stdin.flush()
        assert running.stdout.readline().startswith("{")
        running.send_signal(signal.SIGINT)
        threading.Thread(target=running.stdout.read).start()
        assert running.wait(PATIENCE) == 130
        assert running.stderr is not None
        assert running.stderr.read() == "cancelled\n"
    waited = threading.Event()
    for _ in range(2000):
        if tiny.cancelled.is_set():
            break
        waited.wait(0.01)
    assert tiny.cancelled.is_set()


def test_a_reader_who_has_seen_enough_ends_the_call(tiny: Any, tmp_path: Path) -> None:
    async def endless(call: Any) -> None:
        while True:
            await call.write(mfn_pb2.FeatureFrame())

    tiny.serve(STREAM_FEATURES, endless)
    keys(tmp_path)
    with process(tmp_path, "StreamFeatures", "-a", tiny.address) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("{")
        running.stdout.close()
        assert running.wait(PATIENCE) == 1
        assert running.stderr is not None
        assert "Traceback" not in running.stderr.read()


def test_the_server_may_speak_tls(parts: Any, tmp_path: Path) -> None:
    authority = trustme.CA()
    chain, key = tmp_path / "server.pem", tmp_path / "server.key"
    certificate = authority.issue_cert("mfn.example")
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())])
    make, start = parts
    tiny = make(None)
    tiny.serve(V1, Described())
    tiny.serve(EXTRACT, features)
    with TlsThread(tiny, start, credentials):
        arguments = ["ExtractFeatures", "--unsigned", "-a", tiny.address, "--tls-server-name", "mfn.example"]
        result = CliRunner().invoke(call, [*arguments, "--tls-ca", str(tmp_path / "ca.pem")])
    assert result.exit_code == 0, result.output


class TlsThread:
    """A server with certificates on a loop of its own."""

    def __init__(self, tiny: Any, start: Any, credentials: Any) -> None:
        import asyncio

        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._loop: Any = None

        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            running = await start(tiny, credentials)
            self._ready.set()
            await self._stop.wait()
            await running.stop(None)

        self._thread = threading.Thread(target=lambda: asyncio.run(main()))

    def __enter__(self) -> None:
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
