// Shows the operations of /openapi.json, and calls them. Nothing is asked of any other server.

const LINES = "application/x-ndjson";
const KEPT = 200; // lines of a stream that stay on the page

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

const token = document.getElementById("token");
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  token.value = given;
  history.replaceState(null, "", location.pathname);
}
document.getElementById("who").addEventListener("submit", (event) => event.preventDefault());

const resolve = (document, part) => {
  let found = part;
  while (found && found.$ref) found = found.$ref.slice(2).split("/").reduce((at, step) => at[step], document);
  return found;
};

const nameOf = (schema) => schema.$ref ? schema.$ref.split("/").pop() : null;

const kindOf = (schema) => {
  if (schema.$ref) return nameOf(schema);
  if (schema.anyOf) return [...new Set(schema.anyOf.map((each) => each.type || "word"))].join(" or ");
  if (schema.type === "array") return `list of ${kindOf(schema.items || {})}`;
  if (schema.type === "object" && schema.additionalProperties) return `map to ${kindOf(schema.additionalProperties)}`;
  if (schema.contentEncoding) return schema.contentEncoding;
  return Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type || "any";
};

const boundsOf = (schema) => {
  const parts = [];
  const of = schema.anyOf ? schema.anyOf[0] : schema;
  const low = of.exclusiveMinimum ?? of.minimum;
  const high = of.exclusiveMaximum ?? of.maximum;
  const vast = (number) => Math.abs(number) >= 2 ** 31 - 1;
  if (low !== undefined && !vast(low)) parts.push(`${of.exclusiveMinimum === undefined ? "≥" : ">"} ${low}`);
  if (high !== undefined && !vast(high)) parts.push(`${of.exclusiveMaximum === undefined ? "≤" : "<"} ${high}`);
  if (schema.enum) parts.push(schema.enum.map((each) => each === "" ? '""' : each).join(" | "));
  if ("default" in schema) parts.push(`default ${schema.default}`);
  return parts.join(", ");
};

const table = (rows) => {
  const body = make("tbody");
  for (const [name, schema, note] of rows) {
    body.append(make("tr", {},
      make("td", {}, make("code", { textContent: name })),
      make("td", { textContent: kindOf(schema) }),
      make("td", { textContent: boundsOf(schema) }),
      make("td", { textContent: note || schema.description || "" })));
  }
  const heads = ["Name", "Type", "Bounds", "Meaning"].map((text) => make("th", { scope: "col", textContent: text }));
  return make("div", { className: "wide" }, make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body));
};

const fieldsOf = (document, schema, seen = new Set()) => {
  const found = [];
  const name = nameOf(schema);
  if (name) {
    if (seen.has(name)) return found;
    seen.add(name);
  }
  const whole = resolve(document, schema);
  if (whole && whole.properties) {
    const title = make("h4", { textContent: name || "fields" });
    found.push(title, table(Object.entries(whole.properties)));
    for (const each of Object.values(whole.properties)) {
      found.push(...fieldsOf(document, each.items || each.additionalProperties || each, seen));
    }
  }
  return found;
};

const shellQuoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

class Trial {
  // One form that makes one call.
  constructor(document, path, verb, operation) {
    Object.assign(this, { document, path, verb, operation });
    this.inputs = new Map();
    const media = operation.requestBody && Object.entries(operation.requestBody.content)[0];
    this.contentType = media && media[0];
    this.streams = LINES in (operation.responses["200"].content || {});
    this.parts = [];
    for (const part of operation.parameters || []) {
      const parameter = resolve(document, part);
      if (parameter.in === "header") continue;
      const id = `${operation.operationId}.${parameter.name}`;
      const input = make("input", { id, spellcheck: false, value: parameter.example ?? "" });
      input.placeholder = parameter.style === "deepObject" ? "name=value&name=value" : boundsOf(parameter.schema);
      this.inputs.set(parameter, input);
      this.parts.push(make("label", { htmlFor: id, textContent: parameter.name }), input);
    }
    if (media) {
      const id = `${operation.operationId}.body`;
      const example = media[1].example || {};
      const text = this.contentType === LINES ? "" : JSON.stringify(example, null, 2);
      this.body = make("textarea", { id, value: text, spellcheck: false });
      this.parts.push(make("label", { htmlFor: id, textContent: `Body, ${this.contentType}` }), this.body);
    }
    this.send = make("button", { type: "submit", textContent: "Call" });
    this.cancel = make("button", { type: "button", textContent: "Cancel", className: "quiet", disabled: true });
    this.copy = make("button", { type: "button", textContent: "Copy as curl", className: "quiet" });
    this.status = make("p", { role: "status", className: "soft" });
    this.output = make("pre", { hidden: true, tabIndex: 0 });
    this.form = make("form", {}, ...this.parts, make("div", {}, this.send, this.cancel, this.copy), this.status, this.output);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.call();
    });
    this.cancel.addEventListener("click", () => this.controller && this.controller.abort());
    this.copy.addEventListener("click", () => this.copied());
  }

  request() {
    let path = this.path;
    const query = [];
    for (const [parameter, input] of this.inputs) {
      const value = input.value.trim();
      if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
      else if (value && parameter.style === "deepObject") {
        for (const [name, each] of new URLSearchParams(value)) {
          query.push(`${encodeURIComponent(`${parameter.name}[${name}]`)}=${encodeURIComponent(each)}`);
        }
      } else if (value) query.push(`${encodeURIComponent(parameter.name)}=${encodeURIComponent(value)}`);
    }
    const headers = {};
    if (token.value.trim()) headers.authorization = `Bearer ${token.value.trim()}`;
    if (this.body) headers["content-type"] = this.contentType;
    return {
      target: path + (query.length ? `?${query.join("&")}` : ""),
      options: { method: this.verb.toUpperCase(), headers, body: this.body && this.body.value, cache: "no-store" },
    };
  }

  async call() {
    const { target, options } = this.request();
    this.controller = new AbortController();
    this.send.disabled = true;
    this.cancel.disabled = false;
    this.output.hidden = true;
    this.output.textContent = "";
    this.status.className = "soft";
    this.status.textContent = "Calling …";
    const began = performance.now();
    const seconds = () => `${((performance.now() - began) / 1000).toFixed(3)} s`;
    try {
      const reply = await fetch(target, { ...options, signal: this.controller.signal });
      this.status.className = reply.ok ? "soft" : "bad";
      if (reply.ok && this.streams) await this.follow(reply);
      else this.show(await reply.text());
      this.status.textContent = `${reply.status}, ${seconds()}, request id ${reply.headers.get("x-request-id") || "none"}`;
    } catch (failed) {
      this.status.className = "bad";
      this.status.textContent = failed.name === "AbortError" ? `Cancelled after ${seconds()}.` : `No reply: ${failed.message}`;
    } finally {
      this.send.disabled = false;
      this.cancel.disabled = true;
    }
  }

  async follow(reply) {
    const lines = [];
    let rest = "";
    let count = 0;
    this.output.hidden = false;
    for (const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader(); ;) {
      const { done, value } = await reader.read();
      const parts = (rest + (value || "")).split("\n");
      rest = done ? "" : parts.pop();
      for (const line of parts) if (line) { lines.push(line); count += 1; }
      lines.splice(0, Math.max(0, lines.length - KEPT));
      this.output.textContent = lines.join("\n");
      this.status.textContent = `${count} messages`;
      if (done) return;
    }
  }

  show(text) {
    this.output.hidden = false;
    try {
      this.output.textContent = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      this.output.textContent = text;
    }
  }

  async copied() {
    const { target, options } = this.request();
    const parts = ["curl", "-N", "-X", options.method, shellQuoted(location.origin + target)];
    for (const [name, value] of Object.entries(options.headers)) {
      // The token is not put where others may read it.
      parts.push("-H", name === "authorization" ? '"authorization: Bearer $MFN_TOKEN"' : shellQuoted(`${name}: ${value}`));
    }
    if (options.body) parts.push("--data-binary", shellQuoted(options.body));
    try {
      await navigator.clipboard.writeText(parts.join(" "));
      this.status.textContent = "Copied.";
    } catch {
      this.show(parts.join(" "));
    }
  }
}

const operationOf = (document, path, verb, operation) => {
  const inside = make("div", { className: "inside" }, make("p", { textContent: operation.description || "" }));
  const details = make("details", { id: operation.operationId },
    make("summary", {},
      make("span", { className: "verb", textContent: verb.toUpperCase() }),
      make("code", { textContent: path }),
      make("span", { className: "soft", textContent: operation.summary || "" })),
    inside);
  details.addEventListener("toggle", () => {
    if (!details.open || details.dataset.made) return;
    details.dataset.made = "yes";
    inside.append(make("h3", { textContent: "Try it" }), new Trial(document, path, verb, operation).form);
    const query = (operation.parameters || []).map((each) => resolve(document, each));
    if (query.length) {
      inside.append(make("h3", { textContent: "Parameters" }),
        table(query.map((each) => [`${each.name} (${each.in})`, each.schema, each.description])));
    }
    const schemaOf = (content) => {
      const media = content && Object.values(content)[0];
      return media && (media["x-mfn-line"] || media.schema);
    };
    for (const [title, content] of [["Request", operation.requestBody && operation.requestBody.content],
      ["Reply", operation.responses["200"].content]]) {
      const schema = schemaOf(content);
      if (schema) inside.append(make("h3", { textContent: title }), ...fieldsOf(document, schema));
    }
  });
  return details;
};

const problemsOf = (document) => {
  const section = make("section", {}, make("h2", { id: "problems", textContent: "Problems" }),
    make("p", { textContent: "What fails is told as application/problem+json. Its type ends with one of these." }));
  const body = make("tbody");
  for (const code of document.components.schemas.Problem.properties.code.enum) {
    const id = code.toLowerCase().replaceAll("_", "-");
    const at = Object.entries(document.components.responses).find(([, each]) => each.description.includes(`${code} (`));
    body.append(make("tr", { id },
      make("td", {}, make("code", { textContent: code })),
      make("td", { textContent: at ? at[0].replace("Problem", "") : "" }),
      make("td", { textContent: at ? at[1].description : "" })));
  }
  section.append(make("div", { className: "wide" }, make("table", {}, body)));
  return section;
};

const show = (document_) => {
  const paragraphs = document_.info.description.trim().split("\n\n");
  document.getElementById("about").textContent = paragraphs.map((each) => each.replaceAll("\n", " ")).join("\n\n").replaceAll("`", "");
  const content = document.getElementById("content");
  const index = document.getElementById("index");
  const sections = new Map();
  for (const [path, item] of Object.entries(document_.paths)) {
    for (const [verb, operation] of Object.entries(item)) {
      const name = operation.tags[0];
      if (!sections.has(name)) sections.set(name, []);
      sections.get(name).push([path, verb, operation]);
    }
  }
  content.replaceChildren();
  const about = new Map(document_.tags.map((tag) => [tag.name, tag.description]));
  for (const [name, operations] of sections) {
    content.append(make("h2", { textContent: name }), make("p", { className: "soft", textContent: about.get(name) || "" }));
    const list = make("ul");
    for (const [path, verb, operation] of operations) {
      content.append(operationOf(document_, path, verb, operation));
      const link = make("a", { href: `#${operation.operationId}`, textContent: `${verb.toUpperCase()} ${path}` });
      link.addEventListener("click", () => { document.getElementById(operation.operationId).open = true; });
      list.append(make("li", {}, link));
    }
    index.append(make("h2", { textContent: name }), list);
  }
  content.append(problemsOf(document_));
  const wanted = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (wanted) {
    if (wanted instanceof HTMLDetailsElement) wanted.open = true;
    wanted.scrollIntoView();
  }
};

try {
  const reply = await fetch("/openapi.json");
  if (!reply.ok) throw new Error(`status ${reply.status}`);
  show(await reply.json());
} catch (failed) {
  const state = document.getElementById("state");
  state.className = "bad";
  state.textContent = `The description could not be read: ${failed.message}. Reload the page to try again.`;
}
