// Calls of all four shapes, signed by what the README of mfn-signing says and by nothing else.
//
// Standard input: one JSON object {address, keyId, secret, protos, include, calls: [{service, method, messages}]}.
// Standard output: one JSON object {replies: [[…] for each call], codes: […]}. Every number in a reply is the 16
// hexadecimal digits of its binary64, most significant first, so that nothing is lost on the way to a comparison.
"use strict";

const { createHash, createHmac, randomBytes } = require("node:crypto");
const { readFileSync } = require("node:fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

class Signer {
  constructor(keyId, secret) {
    this.keyId = keyId;
    this.key = Buffer.from(secret, "base64url");
    this.instance = randomBytes(16).toString("base64url");
    this.counter = 0;
  }

  // `message` is null where the client streams its requests.
  headers(path, message) {
    this.counter += 1;
    const timestamp = String(Math.floor(Date.now() / 1000));
    const nonce = `${this.instance}.${this.counter}`;
    const hash = message === null ? "STREAM" : createHash("sha256").update(message).digest("hex");
    const text = ["MFN2-HMAC-SHA256", path, timestamp, nonce, hash].join("\n");
    const metadata = new grpc.Metadata();
    metadata.set("x-mfn-key-id", this.keyId);
    metadata.set("x-mfn-timestamp", timestamp);
    metadata.set("x-mfn-nonce", nonce);
    metadata.set("x-mfn-content-sha256", hash);
    metadata.set("x-mfn-signature", createHmac("sha256", this.key).update(text, "utf8").digest("hex"));
    return metadata;
  }
}

function bits(value) {
  if (typeof value === "number") {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(value);
    return bytes.toString("hex");
  }
  if (Buffer.isBuffer(value)) return value.toString("base64");
  if (Array.isArray(value)) return value.map(bits);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, bits(inner)]));
  }
  return value;
}

const same = (message) => message;

// The replies of one call and its status code, whatever it is.
function perform(client, method, signer, messages) {
  const encoded = messages.map((message) => method.requestSerialize(message));
  const metadata = signer.headers(method.path, method.requestStream ? null : encoded[0]);
  const decode = method.responseDeserialize;
  return new Promise((resolve) => {
    const replies = [];
    const single = (error, reply) => {
      resolve({ code: error ? error.code : 0, replies: error ? [] : [bits(reply)] });
    };
    const many = (call) => {
      call.on("data", (reply) => replies.push(bits(reply)));
      call.on("error", () => {}); // the status says it too
      call.on("status", (status) => resolve({ code: status.code, replies }));
      return call;
    };
    const send = (call) => {
      for (const message of encoded) call.write(message);
      call.end();
    };
    if (method.requestStream && method.responseStream) {
      send(many(client.makeBidiStreamRequest(method.path, same, decode, metadata)));
    } else if (method.requestStream) {
      send(client.makeClientStreamRequest(method.path, same, decode, metadata, single));
    } else if (method.responseStream) {
      many(client.makeServerStreamRequest(method.path, same, decode, encoded[0], metadata));
    } else {
      client.makeUnaryRequest(method.path, same, decode, encoded[0], metadata, single);
    }
  });
}

async function main() {
  const job = JSON.parse(readFileSync(0, "utf8"));
  const definition = loader.loadSync(job.protos, { includeDirs: job.include, keepCase: true, longs: String });
  const client = new grpc.Client(job.address, grpc.credentials.createInsecure());
  const signer = new Signer(job.keyId, job.secret);
  const done = [];
  for (const { service, method, messages } of job.calls) {
    done.push(await perform(client, definition[service][method], signer, messages));
  }
  client.close();
  console.log(JSON.stringify({ replies: done.map((each) => each.replies), codes: done.map((each) => each.code) }));
}

main();
