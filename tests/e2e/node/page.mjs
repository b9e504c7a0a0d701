// A page that calls MFN from another origin, bundled for browsers.
//
// `call(job)` makes the calls of a job and gives their results: {baseUrl, keyId, secret} or {baseUrl, token}, with
// {descriptors, transport: {kind, options}, calls} as connect.mjs has them.
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { perform, registryOf, signer } from "./calls.mjs";

const KINDS = { connect: createConnectTransport, grpcweb: createGrpcWebTransport };

globalThis.call = async (job) => {
  const registry = registryOf(job.descriptors);
  const { kind, options } = job.transport;
  const transport = KINDS[kind]({ ...options, baseUrl: job.baseUrl });
  const bearer = async () => ({ authorization: `Bearer ${job.token}` });
  const how = {
    headers: job.token === undefined ? await signer(job.keyId, job.secret) : bearer,
    json: kind === "connect" && options.useBinaryFormat === false,
    carries: (called) => called === "unary" || called === "server_streaming",
  };
  const done = [];
  for (const call of job.calls) done.push(await perform(registry, transport, call, how));
  return done;
};
