// Calls with the clients of connectrpc.com, signed by what the README of mfn-signing says; for Node and for browsers.
import { createFileRegistry, fromBinary, toBinary, toJsonString } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";

const utf8 = new TextEncoder();

export const decoded = (base64) => Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));

export const encoded = (bytes) => btoa(Array.from(bytes, (each) => String.fromCharCode(each)).join(""));

const hexadecimal = (buffer) => Array.from(new Uint8Array(buffer), (each) => each.toString(16).padStart(2, "0")).join("");

const urlSafe = (base64) => base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

// Gives the headers of each call of one key; `content` is null where the client streams its requests.
export async function signer(keyId, secret) {
  const bytes = decoded(secret.replaceAll("-", "+").replaceAll("_", "/"));
  const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const instance = urlSafe(encoded(crypto.getRandomValues(new Uint8Array(16))));
  let counter = 0;
  return async (path, content) => {
    counter += 1;
    const timestamp = String(Math.floor(Date.now() / 1000));
    const nonce = `${instance}.${counter}`;
    const hash = content === null ? "STREAM" : hexadecimal(await crypto.subtle.digest("SHA-256", content));
    const text = ["MFN2-HMAC-SHA256", path, timestamp, nonce, hash].join("\n");
    return {
      "x-mfn-key-id": keyId,
      "x-mfn-timestamp": timestamp,
      "x-mfn-nonce": nonce,
      "x-mfn-content-sha256": hash,
      "x-mfn-signature": hexadecimal(await crypto.subtle.sign("HMAC", key, utf8.encode(text))),
    };
  };
}

// The services of a FileDescriptorSet in base64.
export const registryOf = (descriptors) => createFileRegistry(fromBinary(FileDescriptorSetSchema, decoded(descriptors)));

// One call: {code, name, message, details, replies, header, trailer}, or null where `carries` says no to its kind.
// Messages are in base64; replies are encoded again from what was read. `json`: whether the transport sends JSON.
export async function perform(registry, transport, { service, method, messages }, { headers, json, carries }) {
  const description = registry.getService(service);
  const called = description.methods.find((each) => each.name === method);
  if (!carries(called.methodKind)) return null;
  const inputs = messages.map((each) => fromBinary(called.input, decoded(each)));
  const streams = called.methodKind === "client_streaming" || called.methodKind === "bidi_streaming";
  const content = json ? utf8.encode(toJsonString(called.input, inputs[0])) : toBinary(called.input, inputs[0]);
  const result = { code: 0, message: "", details: 0, replies: [], header: {}, trailer: {} };
  const options = {
    headers: await headers(`/${service}/${method}`, streams ? null : content),
    timeoutMs: 60_000,
    onHeader: (headers) => (result.header = Object.fromEntries(headers)),
    onTrailer: (trailers) => (result.trailer = Object.fromEntries(trailers)),
  };
  async function* all() {
    yield* inputs;
  }
  const keep = (reply) => result.replies.push(encoded(toBinary(called.output, reply)));
  const call = createClient(description, transport)[called.localName];
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
