// Draws the events of the gateway. Everything that comes from a device becomes text, never markup.

const MAX_ROWS = 4096;
const TOKEN = "gateway-token";
// The gateway says something every 15 s; after so long a silence the connection is dead.
const SILENCE_MS = 40_000;
const MAX_PAUSE_MS = 10_000;
// SenML writes some units as nobody reads them (RFC 8428 §12.1).
const UNITS = { Cel: "°C" };

const element = (id) => document.getElementById(id);
const values = element("values").tBodies[0];
const sources = element("sources").tBodies[0];
// By device and name; the one that changed last is the last.
const rows = new Map();
// How far the gateway's clock is ahead of this one, in ms.
let ahead = 0;
let pause = 1000;

class Unauthorized extends Error {}

async function watch() {
  const abort = new AbortController();
  let silence;
  const listen = () => {
    clearTimeout(silence);
    silence = setTimeout(() => abort.abort(), SILENCE_MS);
  };
  listen();
  try {
    const token = sessionStorage.getItem(TOKEN);
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const response = await fetch("events", { headers, signal: abort.signal, cache: "no-store" });
    if (response.status === 401) throw new Unauthorized();
    if (!response.ok) throw new Error(`the gateway answers ${response.status}`);
    ahead = (Date.parse(response.headers.get("date")) || Date.now()) - Date.now();
    element("login").hidden = true;
    element("main").hidden = false;
    show("live", "Live");
    pause = 1000;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error("the gateway has closed the connection");
      listen();
      const events = (text + value).split("\n\n");
      text = events.pop();
      events.forEach(handle);
    }
  } finally {
    clearTimeout(silence);
  }
}

async function run() {
  for (;;) {
    try {
      await watch();
    } catch (error) {
      if (error instanceof Unauthorized) return ask();
      show("lost", "No connection, trying again…");
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(2 * pause, MAX_PAUSE_MS);
  }
}

function show(state, text) {
  element("state").dataset.state = state;
  element("state").textContent = text;
}

function ask() {
  show("waiting", "Waiting for the token");
  element("wrong").hidden = !sessionStorage.getItem(TOKEN);
  element("main").hidden = true;
  element("login").hidden = false;
  element("token").focus();
}

element("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, element("token").value.trim());
  element("token").value = "";
  show("waiting", "Connecting…");
  run();
});

function handle(event) {
  const lines = event.split("\n");
  const field = (name) => lines.find((line) => line.startsWith(name))?.slice(name.length);
  const data = field("data: ");
  if (field("event: ") === "readings") JSON.parse(data, exact).forEach(showReading);
  if (field("event: ") === "sources") showSources(JSON.parse(data));
  element("none").hidden = rows.size > 0;
  element("values").hidden = rows.size === 0;
  element("count").textContent = rows.size > 0 ? `${rows.size} ${rows.size === 1 ? "value" : "values"}` : "";
}

// A number with the digits that the device has sent, where the browser tells them.
function exact(key, value, context) {
  return key === "value" && typeof value === "number" ? { digits: context?.source ?? String(value) } : value;
}

function showReading(reading) {
  const key = JSON.stringify([reading.device, reading.name]);
  const row = rows.get(key) ?? addRow(reading);
  rows.delete(key);
  rows.set(key, row);
  const isNumber = typeof reading.value === "object";
  const cell = row.cells.value;
  cell.textContent = isNumber ? reading.value.digits : String(reading.value);
  row.cells.unit.textContent = UNITS[reading.unit] ?? reading.unit ?? "";
  row.cells.age.title = reading.time;
  row.time = Date.parse(reading.time);
  row.element.classList.remove("fresh");
  if (row.isKnown) requestAnimationFrame(() => row.element.classList.add("fresh"));
  row.isKnown = true;
  showAge(row);
  filter(row);
  if (rows.size > MAX_ROWS) {
    const [oldest, { element }] = rows.entries().next().value;
    rows.delete(oldest);
    element.remove();
  }
}

// In the order of devices and names, which does not change while one reads.
function addRow({ device, name }) {
  const tr = document.createElement("tr");
  const cells = {};
  for (const part of ["device", "name", "value", "unit", "age"]) {
    const cell = document.createElement(part === "device" ? "th" : "td");
    cell.className = part === "value" || part === "age" ? `${part} number` : part;
    cells[part] = tr.appendChild(cell);
  }
  cells.device.scope = "row";
  cells.device.textContent = device;
  cells.name.textContent = name;
  const order = (other) => compare(device, other.cells[0].textContent) || compare(name, other.cells[1].textContent);
  let [low, high] = [0, values.rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (order(values.rows[middle]) < 0) high = middle;
    else low = middle + 1;
  }
  values.insertBefore(tr, values.rows[low] ?? null);
  return { element: tr, cells };
}

const { compare } = new Intl.Collator(undefined, { numeric: true });

function showSources(all) {
  sources.replaceChildren(...Object.entries(all).map(([name, source]) => {
    const tr = document.createElement("tr");
    const refused = Object.entries(source.refused);
    const sum = refused.reduce((total, [, { count }]) => total + count, 0);
    const head = tr.appendChild(document.createElement("th"));
    head.scope = "row";
    head.textContent = name;
    const cells = [source.up ? "up" : "down", source.messages, source.readings, sum].map((text) => {
      const cell = tr.appendChild(document.createElement("td"));
      cell.textContent = typeof text === "number" ? text.toLocaleString() : text;
      if (typeof text === "number") cell.className = "number";
      return cell;
    });
    if (!source.up) cells[0].className = "bad";
    if (sum > 0) {
      cells[3].classList.add("bad");
      const list = cells[3].appendChild(document.createElement("ul"));
      for (const [reason, { count, last }] of refused) {
        const item = list.appendChild(document.createElement("li"));
        item.textContent = `${reason}: ${count.toLocaleString()}`;
        item.title = last;
      }
    }
    return tr;
  }));
}

function showAge(row) {
  const text = age((Date.now() + ahead - row.time) / 1000);
  if (row.cells.age.textContent !== text) row.cells.age.textContent = text;
}

function age(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < -5) return `in ${span(-seconds)}`;
  return seconds < 2 ? "now" : span(seconds);
}

function span(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

function filter(row) {
  const wanted = element("filter").value.trim().toLowerCase();
  row.element.hidden = wanted !== "" && !row.element.textContent.toLowerCase().includes(wanted);
}

element("filter").addEventListener("input", () => rows.forEach(filter));
setInterval(() => rows.forEach(showAge), 1000);
run();
