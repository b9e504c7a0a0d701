// Calls over gRPC-Web, Connect and gRPC with the clients of connectrpc.com, those for browsers on the fetch of Node.
//
// Standard input: one JSON object {baseUrl, keyId, secret, descriptors, transports: [{library, kind, options}],
// calls: [{service, method, messages}]}; `descriptors` is a FileDescriptorSet in base64, and messages are in
// base64 too. Standard output: one JSON list for each transport, with {code, message, details, replies, header,
// trailer} for each call that it can carry and null for the others. Replies are encoded again from what was read.
import { createHash, createHmac, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary, toBinary, toJsonString } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import * as node from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";

const job = JSON.parse(readFileSync(0, "utf8"));
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, Buffer.from(job.descriptors, "base64")));
const key = Buffer.from(job.secret, "base64url");
const instance = randomBytes(16).toString("base64url");
let counter = 0;

// `content` is null where the client streams its requests.
function signed(path, content) {
  counter += 1;
  const timestamp = String(Math.floor(Date.now() / 1000));
  const nonce = `${instance}.${counter}`;
  const hash = content === null ? "STREAM" : createHash("sha256").update(content).digest("hex");
  const text = ["MFN2-HMAC-SHA256", path, timestamp, nonce, hash].join("\n");
  return {
    "x-mfn-key-id": job.keyId,
    "x-mfn-timestamp": timestamp,
    "x-mfn-nonce": nonce,
    "x-mfn-content-sha256": hash,
    "x-mfn-signature": createHmac("sha256", key).update(text, "utf8").digest("hex"),
  };
}

const LIBRARIES = { node, web };
const KINDS = { connect: "createConnectTransport", grpcweb: "createGrpcWebTransport", grpc: "createGrpcTransport" };

function carries(transport, kind) {
  const streams = kind === "client_streaming" || kind === "bidi_streaming";
  if (transport.library === "web") return !streams;
  return kind !== "bidi_streaming" || transport.options.httpVersion !== "1.1";
}

async function perform(transport, made, { service, method, messages }) {
  const description = registry.getService(service);
  const called = description.methods.find((each) => each.name === method);
  if (!carries(transport, called.methodKind)) return null;
  const inputs = messages.map((each) => fromBinary(called.input, Buffer.from(each, "base64")));
  const streams = called.methodKind === "client_streaming" || called.methodKind === "bidi_streaming";
  const json = transport.kind === "connect" && transport.options.useBinaryFormat === false;
  const content = json
    ? Buffer.from(toJsonString(called.input, inputs[0]))
    : Buffer.from(toBinary(called.input, inputs[0]));
  const result = { code: 0, message: "", details: 0, replies: [], header: {}, trailer: {} };
  const options = {
    headers: signed(`/${service}/${method}`, streams ? null : content),
    timeoutMs: 60_000,
    onHeader: (headers) => (result.header = Object.fromEntries(headers)),
    onTrailer: (trailers) => (result.trailer = Object.fromEntries(trailers)),
  };
  async function* all() {
    yield* inputs;
  }
  const keep = (reply) => result.replies.push(Buffer.from(toBinary(called.output, reply)).toString("base64"));
  const call = createClient(description, made)[called.localName];
  try {
    if (called.methodKind === "unary") keep(await call(inputs[0], options));
    else if (called.methodKind === "client_streaming") keep(await call(all(), options));
    else for await (const reply of call(streams ? all() : inputs[0], options)) keep(reply);
  } catch (failed) {
    const error = ConnectError.from(failed);
    result.code = error.code;
    result.name = Code[error.code];
    result.message = error.rawMessage;
    result.details = error.details.length;
  }
  return result;
}

const found = [];
for (const transport of job.transports) {
  const make = LIBRARIES[transport.library][KINDS[transport.kind]];
  const made = make({ ...transport.options, baseUrl: job.baseUrl });
  const done = [];
  for (const call of job.calls) done.push(await perform(transport, made, call));
  found.push(done);
}
console.log(JSON.stringify(found));
process.exit(0); // connections of HTTP/2 would keep it alive
