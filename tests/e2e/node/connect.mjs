// Calls over gRPC-Web, Connect and gRPC with the clients of connectrpc.com, those for browsers on the fetch of Node.
//
// Standard input: one JSON object {baseUrl, keyId, secret, descriptors, transports: [{library, kind, options}],
// calls: [{service, method, messages}]}; `descriptors` is a FileDescriptorSet in base64, and messages are in
// base64 too. Standard output: one JSON list for each transport, with {code, message, details, replies, header,
// trailer} for each call that it can carry and null for the others. Replies are encoded again from what was read.
import { readFileSync } from "node:fs";
import * as node from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";
import { perform, registryOf, signer } from "./calls.mjs";

const job = JSON.parse(readFileSync(0, "utf8"));
const registry = registryOf(job.descriptors);
const headers = await signer(job.keyId, job.secret);

const LIBRARIES = { node, web };
const KINDS = { connect: "createConnectTransport", grpcweb: "createGrpcWebTransport", grpc: "createGrpcTransport" };

function carries(transport, kind) {
  const streams = kind === "client_streaming" || kind === "bidi_streaming";
  if (transport.library === "web") return !streams;
  return kind !== "bidi_streaming" || transport.options.httpVersion !== "1.1";
}

const found = [];
for (const transport of job.transports) {
  const make = LIBRARIES[transport.library][KINDS[transport.kind]];
  const made = make({ ...transport.options, baseUrl: job.baseUrl });
  const how = {
    headers,
    json: transport.kind === "connect" && transport.options.useBinaryFormat === false,
    carries: (kind) => carries(transport, kind),
  };
  const done = [];
  for (const call of job.calls) done.push(await perform(registry, made, call, how));
  found.push(done);
}
console.log(JSON.stringify(found));
process.exit(0); // connections of HTTP/2 would keep it alive
