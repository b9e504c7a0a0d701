// The live page: one socket to /ws/field, a field on a canvas, sliders that steer it, curves of what is measured.

const $ = (id) => document.getElementById(id);
const FRAME_RATE = 30;
const HISTORY = 1200;
const HEADER_BYTES = 104;
const FINAL = 1;

// What the page knows of models while the server has not told.
const BUILT_IN = [{
  name: "mycelium", computed: true, potential: true, boundaries: ["periodic"],
  summary: "membrane potential with growth events, diffusion and a Turing pair",
  species: [{ name: "potential", unit: "V", minimum: -0.095, maximum: 0.04 }],
  parameters: [
    { name: "alpha", kind: "PARAMETER_KIND_NUMBER", defaultValue: 0.18, unit: "cells²/step", minimum: 0, minimumExclusive: true, maximum: 0.25, description: "diffusion coefficient" },
    { name: "spike_probability", kind: "PARAMETER_KIND_NUMBER", defaultValue: 0.25, unit: "1", minimum: 0, maximum: 1, description: "probability of a growth event in each step" },
    { name: "turing_enabled", kind: "PARAMETER_KIND_SWITCH", defaultValue: 1, description: "whether activator and inhibitor run" },
  ],
}];

const state = {
  models: [], model: null, values: {}, token: null,
  socket: null, open: false, attempts: 0, locked: false,
  session: null, lastStep: 0, running: false, paused: false, steered: false, resuming: false,
  spec: null, frame: null, history: [], stride: 1, skipped: 0, cursor: null, form: "mfn", range: null,
};

// Colours ------------------------------------------------------------------------------------------------------------

// Lightness rises evenly in OKLab, so that equal steps of the field look equally large; hue turns once on the way, and
// chroma stays within what a screen can show, so that no edge appears where the field has none.
function linearRgb(lightness, chroma, hue) {
  const a = chroma * Math.cos(hue), b = chroma * Math.sin(hue);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

function colourMap() {
  const lightness = (level) => 0.16 + 0.8 * (level / 255);
  const hue = (level) => ((300 - 205 * (level / 255)) * Math.PI) / 180;
  const most = Array.from({ length: 256 }, (_, level) => {
    let chroma = 0.13;
    while (linearRgb(lightness(level), chroma, hue(level)).some((value) => value < 0 || value > 1)) chroma -= 0.002;
    return chroma;
  });
  const near = (values, level, far) => values.slice(Math.max(0, level - far), level + far + 1);
  const least = most.map((_, level) => Math.min(...near(most, level, 30)));
  const smooth = least.map((_, level) => {
    const around = near(least, level, 30);
    return around.reduce((sum, value) => sum + value, 0) / around.length;
  });
  const table = new Uint8Array(256 * 4);
  for (let level = 0; level < 256; level++) {
    linearRgb(lightness(level), smooth[level], hue(level)).forEach((value, channel) => {
      const v = Math.min(1, Math.max(0, value));
      table[4 * level + channel] = Math.round(255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055));
    });
    table[4 * level + 3] = 255;
  }
  return table;
}
const COLOURS = colourMap();
const PACKED = new Uint32Array(COLOURS.buffer);

function drawColourBar(canvas) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  image.data.set(COLOURS);
  context.putImageData(image, 0, 0);
}

// Numbers and units --------------------------------------------------------------------------------------------------

const shownUnit = (unit) => (unit === "V" ? "mV" : unit === "1" ? "" : unit);
const factor = (unit) => (unit === "V" ? 1000 : 1);
function number(value, digits = 4) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(2);
  return value.toLocaleString("en", { maximumSignificantDigits: digits, useGrouping: false }).replace("-", "−");
}
const withUnit = (value, unit) => `${number(value * factor(unit))} ${shownUnit(unit)}`.trim();

// The frame of _field_frame.py ----------------------------------------------------------------------------------------

function parseFrame(buffer) {
  const view = new DataView(buffer);
  const unitBytes = new Uint8Array(buffer, 88, 16);
  const kind = view.getUint8(5);
  const frame = {
    final: (view.getUint16(6, true) & FINAL) !== 0,
    rows: view.getUint32(8, true), columns: view.getUint32(12, true),
    step: Number(view.getBigUint64(16, true)), events: Number(view.getBigUint64(24, true)),
    min: view.getFloat64(32, true), max: view.getFloat64(40, true),
    mean: view.getFloat64(48, true), std: view.getFloat64(56, true), dimension: view.getFloat64(64, true),
    unit: new TextDecoder().decode(unitBytes.subarray(0, [...unitBytes, 0].indexOf(0))),
  };
  const scale = view.getFloat64(72, true), offset = view.getFloat64(80, true);
  const cells = frame.rows * frame.columns;
  if (kind === 3) frame.cells = new Float64Array(buffer, HEADER_BYTES, cells);
  else if (kind === 1) frame.cells = new Float32Array(buffer, HEADER_BYTES, cells);
  else frame.cells = Float32Array.from(new Uint8Array(buffer, HEADER_BYTES, cells), (level) => offset + scale * level);
  return frame;
}

// The socket ---------------------------------------------------------------------------------------------------------

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(`${scheme}//${location.host}/ws/field`);
  socket.binaryType = "arraybuffer";
  state.socket = socket;
  socket.addEventListener("open", () => say("init", { protocol_version: "1.0", client_info: "live page" }));
  socket.addEventListener("message", (event) => {
    if (state.socket !== socket) return;
    if (typeof event.data === "string") take(JSON.parse(event.data));
    else show(parseFrame(event.data));
  });
  socket.addEventListener("close", () => {
    if (state.socket !== socket) return;
    state.socket = null;
    state.open = false;
    if (state.locked) return;
    const wait = Math.min(8000, 400 * 2 ** state.attempts++) * (0.75 + Math.random() / 2);
    setState("lost", "connection lost, trying again");
    veil(state.frame ? "Connection lost. Trying again…" : null);
    setTimeout(connect, wait);
  });
}

function say(type, payload = {}, more = {}) {
  if (state.socket?.readyState === WebSocket.OPEN) state.socket.send(JSON.stringify({ type, payload, ...more }));
}

function take({ type, payload }) {
  switch (type) {
    case "init":
      if (state.token) say("auth", { token: state.token });
      else ready();
      break;
    case "auth_success":
      ready();
      break;
    case "auth_failed":
      lock(state.token ? "This token is not valid here." : null);
      break;
    case "heartbeat":
      say("pong", {});
      break;
    case "started":
    case "resumed":
      state.session = payload.session_id;
      state.running = true;
      state.paused = payload.paused;
      state.resuming = false;
      veil(null);
      settle();
      break;
    case "ended":
      over(payload.reason);
      break;
    case "error":
      failed(payload);
      break;
  }
}

async function ready() {
  state.attempts = 0;
  state.open = true;
  $("entry").hidden = true;
  delete document.body.dataset.locked;
  await loadModels();
  veil(null);
  if (state.session && state.running) {
    state.resuming = true;
    say("resume_session", { session_id: state.session, last_step: state.lastStep, encoding: state.spec.encoding });
  }
  settle();
}

function failed({ code, error_code, message, retry_after_ms }) {
  if (error_code === "NOT_AUTHENTICATED") return lock(null);
  const lost = state.resuming && (code === "NOT_FOUND" || code === "OUT_OF_RANGE");
  notice(lost ? "The run is over: the server did not keep it for so long." : plain(message));
  if (code === "INVALID_ARGUMENT" && state.session && state.running && !state.resuming) {
    // A command that was refused has changed nothing and ended the call; the run itself can go on.
    state.resuming = true;
    say("resume_session", { session_id: state.session, last_step: state.lastStep, encoding: state.spec.encoding });
    return;
  }
  if (state.resuming || !state.session || error_code !== "SUBSCRIBE_FAILED") over(null);
  if (retry_after_ms) notice(`${plain(message)} Try again in ${Math.ceil(retry_after_ms / 1000)} s.`);
}

const plain = (message) => {
  const text = String(message).replace(/^invalid argument: /, "").replaceAll("start.simulation.", "");
  return text.charAt(0).toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");
};

function over(reason) {
  state.running = false;
  state.session = null;
  state.resuming = false;
  if (reason === "limit") notice("The server's limit of steps is reached; the field stays as it is.");
  if (reason === "draining") notice("The server is shutting down.");
  if (reason === "superseded") notice("The run goes on in another window.");
  settle();
}

// Models and parameters ----------------------------------------------------------------------------------------------

async function loadModels() {
  if (state.models.length) return;
  const headers = { "content-type": "application/json", "connect-protocol-version": "1" };
  if (state.token) headers.authorization = `Bearer ${state.token}`;
  try {
    const reply = await fetch("/mfn.v1.ModelService/ListModels", { method: "POST", headers, body: "{}" });
    if (reply.ok) state.models = ((await reply.json()).models ?? []).filter((model) => model.computed);
  } catch (broken) {
    console.warn("the models could not be asked for", broken);
  }
  if (!state.models.length) state.models = BUILT_IN;
  $("model").replaceChildren(...state.models.map((model) => new Option(model.name.replaceAll("_", " "), model.name)));
  $("model").value = state.models.some((model) => model.name === "mycelium") ? "mycelium" : state.models[0].name;
  chooseModel();
}

function chooseModel() {
  state.model = state.models.find((model) => model.name === $("model").value);
  state.values = Object.fromEntries(state.model.parameters.map((each) => [each.name, initial(each)]));
  $("summary").textContent = state.model.summary ?? "";
  $("boundary").replaceChildren(...state.model.boundaries.map((name) => new Option(name)));
  $("boundary").disabled = state.model.boundaries.length < 2;
  $("parameters").replaceChildren(...state.model.parameters.map(parameterControl));
  const [first] = state.model.species;
  const low = (first.minimum ?? -1) * factor(first.unit), high = (first.maximum ?? 1) * factor(first.unit);
  const reach = first.unit === "V" ? 40 : Math.max(Math.abs(low), Math.abs(high));
  Object.assign($("amplitude"), { min: -reach, max: reach, step: reach / 80, value: reach / 2 });
  $("amplitude-unit").textContent = shownUnit(first.unit);
  showAmplitude();
  showCall();
}

// What the mycelium models are asked for where nothing is said is their package's; the page says everything.
const initial = (parameter) => parameter.defaultValue ?? 0;

function parameterControl(parameter) {
  const box = document.createElement("div");
  const id = `parameter-${parameter.name}`;
  const label = Object.assign(document.createElement("label"), { htmlFor: id, textContent: parameter.name.replaceAll("_", " "), title: parameter.description ?? "" });
  const input = Object.assign(document.createElement("input"), { id });
  input.dataset.name = parameter.name;
  if (parameter.kind === "PARAMETER_KIND_SWITCH") {
    box.className = "slider switch";
    Object.assign(input, { type: "checkbox", checked: initial(parameter) !== 0 });
    input.addEventListener("change", () => setParameter(parameter, input.checked ? 1 : 0, null));
    box.append(label, input);
    return box;
  }
  box.className = "slider";
  const output = document.createElement("output");
  const low = parameter.minimum ?? Math.min(0, 2 * initial(parameter));
  const high = parameter.maximum ?? Math.max(1, 2 * Math.abs(initial(parameter)));
  const step = (high - low) / 200;
  Object.assign(input, {
    type: "range", min: parameter.minimumExclusive ? low + step : low,
    max: parameter.maximumExclusive ? high - step : high, step: "any", value: initial(parameter),
  });
  output.htmlFor = id;
  output.textContent = number(initial(parameter));
  if (parameter.description) input.setAttribute("aria-description", parameter.description);
  input.addEventListener("input", () => setParameter(parameter, Number(Number(input.value).toPrecision(4)), output));
  input.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    input.value = Number(input.value) + way * step;
    input.dispatchEvent(new Event("input"));
  });
  box.append(label, output, input);
  return box;
}

const pending = new Map();
let sending = 0;

function setParameter(parameter, value, output) {
  state.values[parameter.name] = value;
  if (output) output.textContent = number(value);
  showCall();
  if (!state.running || state.spec.model !== state.model.name) return;
  if (parameter.kind === "PARAMETER_KIND_SWITCH") {
    notice("A switch counts from the next start.");
    return;
  }
  // A slider that is dragged says much; the last word of every 40 ms is enough.
  pending.set(parameter.name, value);
  if (!sending) sending = setTimeout(flushParameters, 40);
}

function flushParameters() {
  sending = 0;
  if (!pending.size || !state.running) return pending.clear();
  const parameters = Object.fromEntries(pending);
  pending.clear();
  steered();
  const known = ["alpha", "spike_probability"];
  const own = state.model.potential && Object.keys(parameters).every((name) => known.includes(name));
  say("change", own ? parameters : { parameters });
}

// Running ------------------------------------------------------------------------------------------------------------

function grow() {
  for (const field of ["seed", "every", "total"]) if (!$(field).reportValidity()) return;
  const grid = Number($("grid").value);
  const total = $("total").value === "" ? null : Number($("total").value);
  const every = Number($("every").value) || 1;
  state.spec = {
    model: state.model.name, grid, seed: Number($("seed").value), total, every,
    boundary: state.model.boundaries.length > 1 ? $("boundary").value : "", values: { ...state.values },
    unit: state.model.species[0].unit, encoding: grid <= 256 ? "float64" : "float32",
    switches: switchesOf(state.model), ownBoundary: state.model.boundaries[0],
  };
  state.history = [];
  state.stride = 1;
  state.skipped = 0;
  state.lastStep = 0;
  state.range = null;
  state.steered = false;
  state.session = null;
  const start = {
    encoding: state.spec.encoding,
    simulation: {
      model: state.spec.model, grid_size: grid, seed: state.spec.seed, boundary: state.spec.boundary,
      parameter_values: state.spec.values,
    },
    frames: { every_n_steps: every, max_frames_per_second: FRAME_RATE },
  };
  if (total === null) start.unlimited = true;
  else start.total_steps = total;
  notice(null);
  state.paused = false;
  $("grow").disabled = true;
  state.wanted = null;
  if (state.running) {
    // A socket has one run at a time: the next begins when this one has ended.
    state.wanted = start;
    say("stop");
  } else say("start", start);
  showCall();
}

function pause() {
  state.paused = !state.paused;
  say(state.paused ? "pause" : "resume");
  settle();
}

function steered() {
  state.steered = true;
  showCall();
}

function settle() {
  if (!state.running && state.wanted && state.open) {
    const start = state.wanted;
    state.wanted = null;
    state.history = [];
    say("start", start);
    return;
  }
  $("grow").disabled = !state.open;
  $("grow").textContent = state.running || state.frame ? "Grow anew" : "Grow";
  $("pause").disabled = $("stop").disabled = !(state.open && state.running);
  $("pause").textContent = state.paused && state.running ? "Go on" : "Pause";
  for (const id of ["png", "csv", "npy"]) $(id).disabled = !state.frame;
  showCall();
  if (!state.open) return;
  if (!state.running) setState("ready", "ready");
  else if (state.paused) setState("paused", "paused");
  else setState("growing", "growing");
}

function inject(row, column) {
  if (!state.running || !state.frame) return;
  const amplitude = Number($("amplitude").value) / factor(state.spec.unit);
  steered();
  say("inject", { row, column, ...(state.spec.unit === "V" ? { amplitude_volts: amplitude } : { amplitude }) });
}

// Drawing ------------------------------------------------------------------------------------------------------------

let due = false;

function show(frame) {
  if (state.wanted) return; // of a run that is being stopped
  state.frame = frame;
  state.lastStep = frame.step;
  remember(frame);
  if (!due) {
    due = true;
    requestAnimationFrame(() => { due = false; draw(); });
  }
}

function remember(frame) {
  if (++state.skipped < state.stride && !frame.final) return;
  state.skipped = 0;
  state.history.push({ step: frame.step, mean: frame.mean, std: frame.std, dimension: frame.dimension, events: frame.events });
  if (state.history.length > HISTORY) {
    // Half the points tell the same course: memory stays bounded however long it runs.
    state.history = state.history.filter((_, index) => index % 2 === 0);
    state.stride *= 2;
  }
}

// What is coloured: all of the field but its rare extremes, which would make everything else look alike. It follows the
// field slowly, so that the colours do not flicker.
function rangeOf(frame) {
  const low = Math.max(frame.min, frame.mean - 3 * frame.std);
  const high = Math.max(Math.min(frame.max, frame.mean + 4 * frame.std), low + 1e-12);
  const last = state.range;
  const ease = last && frame.step >= last.step ? 0.08 : 1;
  state.range = {
    low: ease === 1 ? low : last.low + ease * (low - last.low),
    high: ease === 1 ? high : last.high + ease * (high - last.high), step: frame.step,
  };
  return state.range;
}

function paint(canvas, frame, { low, high }) {
  if (canvas.width !== frame.columns || canvas.height !== frame.rows) {
    canvas.width = frame.columns;
    canvas.height = frame.rows;
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(frame.columns, frame.rows);
  const pixels = new Uint32Array(image.data.buffer);
  const scale = 255 / Math.max(high - low, 1e-300);
  const { cells } = frame;
  for (let i = 0; i < cells.length; i++) {
    const level = (cells[i] - low) * scale;
    pixels[i] = PACKED[level <= 0 ? 0 : level >= 255 ? 255 : level | 0];
  }
  context.putImageData(image, 0, 0);
}

function draw() {
  const { frame } = state;
  if (!frame) return;
  const range = rangeOf(frame);
  $("empty").hidden = true;
  paint($("field"), frame, range);
  $("step").textContent = frame.step;
  const beyond = (sign, isBeyond, value) => (isBeyond ? `${sign} ` : "") + number(value * factor(frame.unit));
  $("low").textContent = beyond("≤", frame.min < range.low, range.low);
  $("high").textContent = beyond("≥", frame.max > range.high, range.high);
  $("unit").textContent = shownUnit(frame.unit);
  $("now-mean").textContent = withUnit(frame.mean, frame.unit);
  $("now-std").textContent = withUnit(frame.std, frame.unit);
  $("now-dimension").textContent = number(frame.dimension);
  $("now-events").textContent = frame.events;
  showCell();
  for (const name of ["mean", "std", "dimension", "events"]) curve($(`curve-${name}`), name, factor(frame.unit));
  if ($("png").disabled) settle();
}

function curve(canvas, name, unitFactor) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const scaled = name === "mean" || name === "std" ? unitFactor : 1;
  const points = state.history.filter((point) => Number.isFinite(point[name]));
  canvas.dataset.points = points.length;
  const style = getComputedStyle(document.documentElement);
  context.font = "10px " + style.getPropertyValue("--number-font");
  context.fillStyle = style.getPropertyValue("--soft");
  if (points.length < 2) {
    context.fillText(name === "dimension" && state.frame ? "undefined: too few active cells" : "", 0, height / 2);
    return;
  }
  let low = Infinity, high = -Infinity;
  for (const point of points) {
    low = Math.min(low, point[name]);
    high = Math.max(high, point[name]);
  }
  const top = 4, bottom = height - 14;
  const first = points[0].step, last = Math.max(points.at(-1).step, first + 1);
  const x = (step) => ((step - first) / (last - first)) * (width - 2) + 1;
  const y = (value) => (high > low ? bottom - ((value - low) / (high - low)) * (bottom - top) : (top + bottom) / 2);
  context.strokeStyle = style.getPropertyValue("--line");
  context.lineWidth = 1;
  context.beginPath();
  for (const level of [top, bottom]) { context.moveTo(0, level + 0.5); context.lineTo(width, level + 0.5); }
  context.stroke();
  context.strokeStyle = style.getPropertyValue("--curve");
  context.lineWidth = 1.6;
  context.lineJoin = "round";
  context.beginPath();
  points.forEach((point, index) => context[index ? "lineTo" : "moveTo"](x(point.step), y(point[name])));
  context.stroke();
  let digits = 3;
  while (digits < 9 && high > low && number(low * scaled, digits) === number(high * scaled, digits)) digits++;
  context.fillText(number(low * scaled, digits), 0, height - 2);
  const text = number(high * scaled, digits);
  context.textAlign = "right";
  context.fillText(`${text} ↑`, width, height - 2);
  context.textAlign = "left";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${name}: from ${number(low * scaled, digits)} to ${text}, now ${number(points.at(-1)[name] * scaled)}`);
}

function showCell() {
  const { frame, cursor } = state;
  const mark = $("mark");
  if (!frame || !cursor || cursor.row >= frame.rows || cursor.column >= frame.columns) {
    mark.hidden = true;
    $("cell").textContent = "–";
    return;
  }
  mark.hidden = !cursor.keys;
  mark.style.left = `${((cursor.column + 0.5) / frame.columns) * 100}%`;
  mark.style.top = `${((cursor.row + 0.5) / frame.rows) * 100}%`;
  const value = frame.cells[cursor.row * frame.columns + cursor.column];
  $("cell").textContent = `row ${cursor.row}, column ${cursor.column}: ${withUnit(value, frame.unit)}`;
}

// Hands --------------------------------------------------------------------------------------------------------------

function cellAt(event) {
  const box = $("field").getBoundingClientRect();
  const size = state.frame;
  const clip = (value, most) => Math.min(most - 1, Math.max(0, Math.floor(value * most)));
  return {
    row: clip((event.clientY - box.top) / box.height, size.rows),
    column: clip((event.clientX - box.left) / box.width, size.columns), keys: false,
  };
}

let lastTouch = 0;
$("field").addEventListener("pointerdown", (event) => {
  if (!state.frame || event.button > 0) return;
  $("field").setPointerCapture(event.pointerId);
  state.cursor = cellAt(event);
  lastTouch = event.timeStamp;
  inject(state.cursor.row, state.cursor.column);
  showCell();
});
$("field").addEventListener("pointermove", (event) => {
  if (!state.frame) return;
  state.cursor = cellAt(event);
  if (event.buttons & 1 && event.timeStamp - lastTouch > 50) {
    lastTouch = event.timeStamp;
    inject(state.cursor.row, state.cursor.column);
  }
  showCell();
});
$("field").addEventListener("pointerleave", () => {
  if (state.cursor?.keys) return;
  state.cursor = null;
  showCell();
});
$("field").addEventListener("keydown", (event) => {
  if (!state.frame || event.ctrlKey || event.metaKey || event.altKey) return;
  const { rows, columns } = state.frame;
  const at = state.cursor ?? { row: rows >> 1, column: columns >> 1 };
  const far = event.shiftKey ? 10 : 1;
  const moves = { ArrowUp: [-far, 0], ArrowDown: [far, 0], ArrowLeft: [0, -far], ArrowRight: [0, far] };
  const move = moves[event.key];
  if (move) {
    state.cursor = { row: (at.row + move[0] + rows) % rows, column: (at.column + move[1] + columns) % columns, keys: true };
  } else if (event.key === "Enter" || event.key === " ") {
    state.cursor = { ...at, keys: true };
    inject(at.row, at.column);
  } else if (event.key === "Escape") state.cursor = null;
  else return;
  event.preventDefault();
  showCell();
});

// Taking it along ----------------------------------------------------------------------------------------------------

function save(blob, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${state.spec.model}-${state.frame.rows}-seed${state.spec.seed}-step${state.frame.step}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function savePicture() {
  const { frame } = state;
  const range = state.range ?? rangeOf(frame);
  const small = document.createElement("canvas");
  paint(small, frame, range);
  const zoom = Math.max(1, Math.round(1024 / frame.columns));
  const width = frame.columns * zoom, height = frame.rows * zoom, foot = 64;
  const canvas = Object.assign(document.createElement("canvas"), { width, height: height + foot });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height + foot);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, width, height);
  context.drawImage($("colours"), 16, height + 14, width - 32, 12);
  context.fillStyle = "#222";
  context.font = "16px sans-serif";
  const low = withUnit(range.low, frame.unit), high = withUnit(range.high, frame.unit);
  context.fillText(low, 16, height + 50);
  context.textAlign = "right";
  context.fillText(high, width - 16, height + 50);
  context.textAlign = "center";
  context.fillText(`${state.spec.model}, seed ${state.spec.seed}, step ${frame.step}`, width / 2, height + 50);
  canvas.toBlob((blob) => save(blob, "png"), "image/png");
}

function saveCsv() {
  const { frame } = state;
  const rows = [];
  for (let row = 0; row < frame.rows; row++) {
    rows.push(Array.from(frame.cells.subarray(row * frame.columns, (row + 1) * frame.columns), String).join(","));
  }
  save(new Blob([rows.join("\n"), "\n"], { type: "text/csv" }), "csv");
}

// NumPy's format 1.0: a header of a multiple of 64 bytes, then the numbers.
function saveNpy() {
  const { frame } = state;
  const type = frame.cells instanceof Float64Array ? "<f8" : "<f4";
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': (${frame.rows}, ${frame.columns}), }`;
  const padded = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + "\n";
  const head = new Uint8Array([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, padded.length & 255, padded.length >> 8]);
  save(new Blob([head, padded, frame.cells]), "npy");
}

const switchesOf = (model) =>
  new Set(model.parameters.filter((each) => each.kind === "PARAMETER_KIND_SWITCH").map((each) => each.name));

function currentSpec() {
  return state.running || state.frame ? state.spec : {
    model: state.model.name, grid: Number($("grid").value), seed: Number($("seed").value) || 0,
    total: Number($("total").value) || null, boundary: state.model.boundaries.length > 1 ? $("boundary").value : "",
    values: state.values, switches: switchesOf(state.model),
  };
}

const CALLS = {
  mfn: (spec, steps) => [
    `mfn simulate --model ${spec.model} --grid ${spec.grid} --seed ${spec.seed} --steps ${steps}`,
    ...Object.entries(spec.values).map(([name, value]) => `  --set ${name}=${spec.switches.has(name) ? value !== 0 : value}`),
    "  --save field.npy",
  ].join(" \\\n"),
  python: (spec, steps) => [
    "import mfn", "",
    "result = mfn.simulate(",
    `    model=${JSON.stringify(spec.model)}, grid_size=${spec.grid}, seed=${spec.seed}, steps=${steps},`,
    ...Object.entries(spec.values).map(([name, value]) => `    ${name}=${spec.switches.has(name) ? (value ? "True" : "False") : value},`),
    ")", "print(result.field.mean())",
  ].join("\n"),
  curl: (spec, steps) => {
    const simulation = { model: spec.model, grid_size: spec.grid, seed: spec.seed, parameter_values: spec.values };
    if (spec.boundary) simulation.boundary = spec.boundary;
    const body = JSON.stringify({ simulation, steps, frames: { every_n_steps: Math.max(1, steps) } });
    return [
      `curl -s ${location.origin}/v1/simulate \\`,
      "  -H 'content-type: application/json' \\",
      ...(state.token ? ["  -H \"authorization: Bearer $MFN_TOKEN\" \\"] : []),
      `  -d '${body}'`,
    ].join("\n");
  },
};

function showCall() {
  if (!state.model) return;
  const spec = currentSpec();
  const steps = state.frame && spec === state.spec ? state.frame.step : spec.total ?? 64;
  $("call").textContent = CALLS[state.form](spec, steps);
  const notes = [];
  if (state.steered) notes.push("What was steered or touched is not in it.");
  if (spec.boundary && spec.boundary !== spec.ownBoundary && state.form !== "curl") notes.push("It has the model's own edge.");
  $("call-note").hidden = !notes.length;
  $("call-note").textContent = notes.join(" ");
}

async function copyCall() {
  showCall();
  try {
    await navigator.clipboard.writeText($("call").textContent);
    $("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren($("call"));
    $("copy").textContent = "Selected";
  }
  setTimeout(() => { $("copy").textContent = "Copy"; }, 1600);
}

// What is said to the person -----------------------------------------------------------------------------------------

function setState(name, text) {
  const status = $("status");
  if (status.dataset.state === name && status.textContent === text) return;
  status.dataset.state = name;
  status.textContent = text;
}

function notice(text) {
  $("notice").hidden = !text;
  $("notice").firstElementChild.textContent = text ?? "";
}

function veil(text) {
  $("veil").hidden = !text;
  $("veil").textContent = text ?? "";
}

function lock(text) {
  state.locked = true;
  state.token = null;
  sessionStorage.removeItem("token");
  setState("locked", "not let in");
  document.body.dataset.locked = "";
  $("entry").hidden = false;
  notice(text);
  $("token").focus();
}

function showAmplitude() {
  $("amplitude-value").textContent = number(Number($("amplitude").value), 3);
}

function dark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

// Beginning ----------------------------------------------------------------------------------------------------------

$("grow").addEventListener("click", grow);
$("pause").addEventListener("click", pause);
$("stop").addEventListener("click", () => say("stop"));
$("png").addEventListener("click", savePicture);
$("csv").addEventListener("click", saveCsv);
$("npy").addEventListener("click", saveNpy);
$("copy").addEventListener("click", copyCall);
$("model").addEventListener("change", chooseModel);
$("amplitude").addEventListener("input", showAmplitude);
$("setup").addEventListener("submit", (event) => { event.preventDefault(); grow(); });
$("setup").addEventListener("change", showCall);
$("dice").addEventListener("click", () => { $("seed").value = Math.floor(Math.random() * 2 ** 31); showCall(); });
$("notice").querySelector("button").addEventListener("click", () => notice(null));
$("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
  draw();
});
$("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  enter($("token").value.trim());
  $("token").value = "";
});
const tabs = [...document.querySelectorAll("[role=tab]")];
for (const tab of tabs) {
  tab.addEventListener("click", () => {
    state.form = tab.dataset.form;
    for (const each of tabs) {
      each.setAttribute("aria-selected", String(each === tab));
      each.tabIndex = each === tab ? 0 : -1;
    }
    $("call").setAttribute("aria-labelledby", tab.id);
    showCall();
  });
  tab.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way) return;
    const next = tabs[(tabs.indexOf(tab) + way + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
}
addEventListener("resize", () => draw());
setInterval(() => { if (state.running) showCall(); }, 1000);

function enter(token) {
  state.token = token;
  state.locked = false;
  sessionStorage.setItem("token", token);
  notice(null);
  if (state.socket) {
    const old = state.socket;
    state.socket = null;
    old.close();
  }
  connect();
}

const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;
drawColourBar($("colours"));
const given = /^#token=([\w-]+)$/.exec(location.hash);
if (given) {
  // Out of the address bar and the history at once.
  history.replaceState(null, "", location.pathname);
  enter(given[1]);
} else {
  state.token = sessionStorage.getItem("token");
  connect();
}
