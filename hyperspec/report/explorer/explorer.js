"use strict";
// Every text of the data comes into the page by textContent or setAttribute, never as markup.
const D = JSON.parse(document.getElementById("data").textContent);
const N = D.files.length, B = D.pictures.bands.length, S = D.pictures.size;
const el = id => document.getElementById(id);
const STYLES = 21, SERIES = 8, TILES = 60; // looks of values; lines of the chart; pictures of mistakes
const SHAPES = { train: "square", validation: "diamond", test: "circle", held_out: "triangle" };
const RAMP = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"]; // viridis
const NM = D.spectra.nm, C = NM.length;
const CODES = (() => { // 16-bit values, little-endian whatever the machine
  const text = atob(D.spectra.codes), view = new DataView(new ArrayBuffer(text.length));
  for (let i = 0; i < text.length; i++) view.setUint8(i, text.charCodeAt(i));
  return view;
})();
const value = (i, b) => D.spectra.low + CODES.getUint16(2 * (i * C + b), true) * D.spectra.step;

const state = {
  map: 0, column: D.first, band: -1, hover: -1, pin: -1, focus: -1, selection: new Set(),
  classes: new Set(), parts: new Set(), zoom: 1, x: 0, y: 0, box: null,
};

// ---- small helpers -----------------------------------------------------------------------------
function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, entry] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), entry);
    else if (entry !== null) made.setAttribute(key, entry);
  }
  made.append(...children);
  return made;
}
function svg(tag, attributes = {}, text = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, entry] of Object.entries(attributes)) made.setAttribute(key, entry);
  if (text !== null) made.textContent = text;
  return made;
}
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const nearestBand = nm => NM.reduce((best, x, b) => Math.abs(x - nm) < Math.abs(NM[best] - nm) ? b : best, 0);
const shortFile = i => D.files[i].split(/[\\/]/).pop();
const partOf = i => D.parts[D.part[i]];
const plural = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;

// ---- colours: by value of a column, by number; missing is grey --------------------------------
const column = () => D.columns[state.column];
const codeOf = i => column().codes ? column().codes[i] : (column().numbers[i] === null ? -1 : 0);
const rank = new Map(); // column -> order of its values, most frequent first
function ranks(which = column()) {
  if (!rank.has(which)) {
    const counts = which.values.map(() => 0);
    which.codes.forEach(code => { if (code >= 0) counts[code] += 1; });
    const order = counts.map((_, code) => code).sort((a, b) => counts[b] - counts[a] || a - b);
    // Few values keep the order of their names, so that colours stay when specimens come and go.
    if (order.length <= STYLES) order.sort((a, b) => a - b);
    rank.set(which, { counts, place: order.reduce((at, code, p) => (at[code] = p, at), []), order });
  }
  return rank.get(which);
}
let palette = [];
const tone = {}; // read once for each theme: asking for each mark would take longer than drawing it
function readPalette() {
  palette = Array.from({ length: 7 }, (_, k) => css(`--c${k}`));
  for (const name of ["paper", "ink", "other", "accent"]) tone[name] = css(`--${name}`);
}
function mix(share) {
  const at = clamp(share, 0, 1) * (RAMP.length - 1), k = Math.min(Math.floor(at), RAMP.length - 2);
  const part = (hex, j) => parseInt(hex.slice(1 + 2 * j, 3 + 2 * j), 16);
  return `rgb(${[0, 1, 2].map(j => Math.round(part(RAMP[k], j) + (at - k) * (part(RAMP[k + 1], j) - part(RAMP[k], j))))})`;
}
function span(numbers) {
  const known = numbers.filter(x => x !== null);
  return known.reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)], [Infinity, -Infinity]);
}
// fill: 0 filled, 1 hollow, 2 hollow with a dot: with seven colours 21 looks, and shapes stay free
// for parts.
function lookOfCode(code) {
  if (code < 0) return { colour: tone.other, fill: 0 };
  const place = ranks().place[code];
  if (place >= STYLES) return { colour: tone.other, fill: 1 };
  return { colour: palette[place % 7], fill: Math.floor(place / 7) };
}
let looks = [];
function readLooks() {
  const which = column();
  if (which.codes) {
    const known = new Map([[-1, lookOfCode(-1)], ...which.values.map((_, code) => [code, lookOfCode(code)])]);
    looks = which.codes.map(code => known.get(code));
  } else {
    const [low, high] = span(which.numbers), grey = tone.other;
    looks = which.numbers.map(x => ({ fill: 0, colour: x === null ? grey : mix(high > low ? (x - low) / (high - low) : 0.5) }));
  }
}
const nameOf = (i, which = column()) => which.codes
  ? (which.codes[i] < 0 ? "none" : which.values[which.codes[i]])
  : (which.numbers[i] === null ? "none" : String(which.numbers[i]));

// ---- shapes --------------------------------------------------------------------------------------
function outline(context, shape, x, y, r) {
  context.beginPath();
  if (shape === "circle") context.arc(x, y, r, 0, 2 * Math.PI);
  else if (shape === "square") context.rect(x - r * 0.88, y - r * 0.88, r * 1.76, r * 1.76);
  else {
    const corners = shape === "diamond" ? [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]]
      : shape === "triangle" ? [[0, -1.2], [1.15, 0.85], [-1.15, 0.85]]
      : [[-1.1, -0.45], [1.1, -0.45], [1.1, 0.45], [-1.1, 0.45]];
    corners.forEach(([dx, dy], k) => context[k ? "lineTo" : "moveTo"](x + r * dx, y + r * dy));
    context.closePath();
  }
}
function mark(context, shape, look, x, y, r) {
  outline(context, shape, x, y, r);
  context.lineWidth = look.fill ? Math.max(r * 0.45, 1.5) : 1;
  context.fillStyle = look.fill ? tone.paper : look.colour;
  context.strokeStyle = look.fill ? look.colour : tone.paper;
  context.fill();
  context.stroke();
  if (look.fill === 2) {
    context.beginPath();
    context.arc(x, y, r * 0.4, 0, 2 * Math.PI);
    context.fillStyle = look.colour;
    context.fill();
  }
}
function swatch(shape, look) {
  const made = svg("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true" }), hollow = look.fill > 0;
  const paint = { fill: hollow ? "none" : look.colour, stroke: look.colour, "stroke-width": hollow ? 2.4 : 1 };
  if (shape === "circle") made.append(svg("circle", { r: 5.5, ...paint }));
  else if (shape === "square") made.append(svg("rect", { x: -5, y: -5, width: 10, height: 10, ...paint }));
  else made.append(svg("path", { d: shape === "diamond" ? "M0-7L7 0 0 7-7 0Z" : shape === "triangle" ? "M0-6.5L6.5 5-6.5 5Z" : "M-6-3H6V3H-6Z", ...paint }));
  if (look.fill === 2) made.append(svg("circle", { r: 2, fill: look.colour }));
  return made;
}

// ---- pictures: one sheet for each band, cut out by the mask once ----------------------------------
const sheets = new Map(); // band (-1 is colour) -> canvas, or a promise of it
let maskImage = null;
function loaded(source) {
  return new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => failed(new Error("a picture of this page is damaged"));
    image.src = source;
  });
}
async function prepare(band) {
  maskImage ??= D.pictures.mask ? loaded(D.pictures.mask) : Promise.resolve(null);
  const [image, mask] = await Promise.all([loaded(band < 0 ? D.pictures.colour : D.pictures.bands[band].src), maskImage]);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  if (mask) {
    context.globalCompositeOperation = "destination-in";
    context.drawImage(mask, 0, 0);
  }
  for (const old of sheets.keys()) if (sheets.size > 4 && old >= 0) sheets.delete(old); // decoded sheets are large
  sheets.set(band, canvas);
  return canvas;
}
function sheet() {
  const found = sheets.get(state.band);
  if (found instanceof HTMLCanvasElement) return found;
  if (!found) sheets.set(state.band, prepare(state.band).then(redraw, error => { el("about").textContent = error.message; }));
  const colour = sheets.get(-1);
  return colour instanceof HTMLCanvasElement ? colour : null;
}
function paint(context, i, x, y, size) {
  const from = sheet();
  if (!from) return;
  const columns = D.pictures.columns;
  context.drawImage(from, (i % columns) * S, Math.floor(i / columns) * S, S, S, x, y, size, size);
}
function picture(i, size) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const canvas = node("canvas", { width: size * ratio, height: size * ratio, style: `width:${size}px;height:${size}px`, "data-specimen": i });
  paint(canvas.getContext("2d"), i, 0, 0, size * ratio);
  return canvas;
}
function repaint() { // the small pictures beside the map
  for (const canvas of document.querySelectorAll("canvas[data-specimen]")) {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    paint(context, Number(canvas.dataset.specimen), 0, 0, canvas.width);
  }
}

// ---- who is shown, who was named wrongly --------------------------------------------------------------
const shown = i => (!state.classes.size || state.classes.has(codeOf(i))) && (!state.parts.size || state.parts.has(D.part[i]));
const named = D.named, probes = Object.keys(named.probes);
const truth = D.columns.find(one => one.name === named.column && one.codes);
const answer = i => probes.length ? named.probes[el("probe").value][i] : -1;
const isWrong = i => answer(i) >= 0 && named.values[answer(i)] !== nameOf(i, truth);
const ringed = i => el("wrong").checked && isWrong(i);

// ---- the map -----------------------------------------------------------------------------------------
const canvas = el("map"), screen = canvas.getContext("2d");
// All specimens are drawn on a layer, which stays while a pointer moves over it.
const layer = document.createElement("canvas"), below = layer.getContext("2d");
let context = screen, stale = true, width = 0, height = 0;
const edge = () => Math.min(24 + thumb() / 2, width / 5, height / 5);
const thumb = () => {
  const room = Math.sqrt(width * height / N) * 0.8;
  const points = el("marks").value === "points";
  const usual = points ? clamp(room / 4, 3.5, 8) : clamp(room, 20, Math.max(64, S));
  return usual * Number(el("size").value) * Math.sqrt(state.zoom);
};
const extent = new Map(); // map -> half its width and height, so that the longer side fills the canvas
function reach() {
  if (!extent.has(state.map)) {
    const xy = D.maps[state.map].xy, most = [1e-6, 1e-6];
    xy.forEach((x, k) => { most[k % 2] = Math.max(most[k % 2], Math.abs(x)); });
    extent.set(state.map, most);
  }
  return extent.get(state.map);
}
function scale() {
  const [w, h] = reach(), room = edge();
  return Math.min((width / 2 - room) / w, (height / 2 - room) / h) * state.zoom;
}
function spot(i) {
  const xy = D.maps[state.map].xy, k = scale();
  return [width / 2 + (xy[2 * i] - state.x) * k, height / 2 - (xy[2 * i + 1] - state.y) * k];
}
function draw() {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  width = canvas.clientWidth; height = canvas.clientHeight;
  const w = Math.round(width * ratio), h = Math.round(height * ratio);
  if (!w || !h) return; // not laid out yet
  const size = thumb(), points = el("marks").value === "points";
  if (stale || layer.width !== w || layer.height !== h) {
    [layer.width, layer.height] = [w, h]; // which clears it
    below.setTransform(ratio, 0, 0, ratio, 0, 0);
    context = below;
    const order = Array.from({ length: N }, (_, i) => i).sort((a, b) => strength(a) - strength(b));
    for (const i of order) one(i, size, points, false);
    context = screen;
    stale = false;
  }
  if (canvas.width !== w) canvas.width = w;
  if (canvas.height !== h) canvas.height = h;
  screen.setTransform(1, 0, 0, 1, 0, 0);
  screen.clearRect(0, 0, w, h);
  screen.drawImage(layer, 0, 0);
  screen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const focused = document.activeElement === canvas ? state.focus : -1;
  for (const i of [state.hover, focused, state.pin]) if (i >= 0) one(i, size, points, true);
  if (state.box) {
    const [x, y, w, h] = state.box;
    context.globalAlpha = 1;
    context.strokeStyle = tone.accent; context.lineWidth = 1.5; context.setLineDash([5, 3]);
    context.strokeRect(x, y, w, h);
    context.setLineDash([]);
  }
}
const strength = i => shown(i) ? (state.selection.has(i) ? 2 : 1) : 0;
function one(i, size, points, chosen) {
  const [x, y] = spot(i), half = size / 2;
  if (x < -size || y < -size || x > width + size || y > height + size) return;
  const pale = !shown(i) || (state.selection.size && !state.selection.has(i));
  context.globalAlpha = pale && !chosen ? (points ? 0.18 : 0.12) : 1;
  const shape = SHAPES[partOf(i)] || "bar";
  let corner = half * 1.2;
  if (points) mark(context, shape, looks[i], x, y, half);
  else {
    paint(context, i, x - half, y - half, size);
    const r = clamp(size * 0.11, 3, 7);
    corner = half * 0.75;
    mark(context, shape, looks[i], x + corner, y + corner, r);
  }
  if (ringed(i)) cross(x - corner, y - corner, points ? half * 0.6 : clamp(size * 0.1, 3.5, 6));
  if (chosen) {
    context.lineWidth = i === state.pin ? 3 : 1.5;
    context.strokeStyle = tone.ink;
    outline(context, "square", x, y, half * 1.25 + 2);
    context.stroke();
  }
  context.globalAlpha = 1;
}
function cross(x, y, r) { // named wrongly: a mark of its own form, seen without colour
  for (const [colour, line] of [[tone.paper, r * 1.1], [tone.ink, r * 0.5]]) {
    context.strokeStyle = colour; context.lineWidth = Math.max(line, 1.6);
    context.beginPath();
    context.moveTo(x - r, y - r); context.lineTo(x + r, y + r);
    context.moveTo(x + r, y - r); context.lineTo(x - r, y + r);
    context.stroke();
  }
}
let asked = 0;
function redraw(all = true) {
  stale ||= Boolean(all);
  if (asked) return;
  asked = requestAnimationFrame(() => { asked = 0; draw(); repaint(); document.documentElement.dataset.ready = "1"; });
}
function under(x, y) {
  let best = -1, least = Math.max(thumb() / 2, 9);
  for (let i = 0; i < N; i++) {
    if (!shown(i)) continue;
    const [px, py] = spot(i), away = Math.hypot(px - x, py - y);
    if (away < least) [best, least] = [i, away];
  }
  return best;
}

// ---- the card beside a specimen -------------------------------------------------------------------------
function card(i) {
  const box = el("card");
  box.hidden = i < 0;
  if (i < 0) return;
  const lines = [node("strong", {}, shortFile(i)), node("br"), nameOf(i), node("br"), partOf(i)];
  if (answer(i) >= 0) lines.push(`, named ${isWrong(i) ? "" : "rightly "}${named.values[answer(i)]}`);
  box.replaceChildren(picture(i, Math.min(72, Math.max(S, 48))), ...lines, little(i));
  const [x, y] = spot(i), half = thumb() / 2 + 8;
  const w = box.offsetWidth, h = box.offsetHeight;
  box.style.left = `${clamp(x + half + w > width ? x - half - w : x + half, 2, Math.max(width - w - 2, 2))}px`;
  box.style.top = `${clamp(y - h / 2, 2, Math.max(height - h - 2, 2))}px`;
}
function little(i) {
  const made = svg("svg", { viewBox: "0 0 200 54", preserveAspectRatio: "none" });
  const [low, high] = limits();
  const x = b => 200 * (NM[b] - NM[0]) / (NM[C - 1] - NM[0] || 1);
  const y = v => 52 - 50 * (v - low) / (high - low || 1);
  for (const nm of D.chosen) made.append(svg("line", { x1: x(nearestBand(nm)), x2: x(nearestBand(nm)), y1: 48, y2: 54, stroke: "var(--ink)", "vector-effect": "non-scaling-stroke" }));
  made.append(svg("path", { d: NM.map((_, b) => `${b ? "L" : "M"}${x(b).toFixed(1)} ${y(value(i, b)).toFixed(1)}`).join(""), fill: "none", stroke: looks[i].colour, "stroke-width": 1.6, "vector-effect": "non-scaling-stroke" }));
  return made;
}
let range = null;
function limits() {
  if (!range) {
    range = [Math.min(0, D.spectra.low), 0];
    for (let i = 0; i < N; i++) for (let b = 0; b < C; b++) range[1] = Math.max(range[1], value(i, b));
  }
  return range;
}

// ---- spectra: class means with spread -----------------------------------------------------------------------
function moments(rows) {
  const mean = new Float64Array(C), square = new Float64Array(C);
  for (const i of rows) for (let b = 0; b < C; b++) { const v = value(i, b); mean[b] += v; square[b] += v * v; }
  const n = rows.length;
  const sd = mean.map((sum, b) => Math.sqrt(Math.max(square[b] / n - (sum / n) ** 2, 0) * n / Math.max(n - 1, 1)));
  return { mean: mean.map(sum => sum / n), sd };
}
function groups() {
  const rows = (state.selection.size ? [...state.selection] : Array.from({ length: N }, (_, i) => i)).filter(shown);
  const by = new Map();
  if (column().codes) for (const i of rows) by.set(codeOf(i), [...(by.get(codeOf(i)) || []), i]);
  else if (rows.length) by.set(0, rows);
  const found = [...by].map(([code, members]) => ({
    code, members, name: column().codes ? (code < 0 ? "none" : column().values[code]) : "mean",
    look: column().codes ? lookOfCode(code) : { colour: palette[0], fill: 0 },
  }));
  return found.sort((a, b) => b.members.length - a.members.length || a.code - b.code);
}
let known = null; // groups with their moments, until what is shown changes
const DASHES = ["", "6 3", "2 3"];
function spectra() {
  const figure = el("spectra"), w = Math.max(figure.parentElement.clientWidth, 200), h = clamp(w * 0.55, 220, 380);
  figure.setAttribute("viewBox", `0 0 ${w} ${h}`);
  figure.replaceChildren();
  if (!known) {
    const found = groups();
    known = { all: found, drawn: found.slice(0, SERIES).map(one => ({ ...one, ...moments(one.members) })) };
  }
  const { all, drawn } = known;
  const single = [...new Set([state.pin, state.hover])].filter(i => i >= 0);
  let top = 1e-9;
  for (const one of drawn) one.mean.forEach((m, b) => { top = Math.max(top, m + one.sd[b]); });
  for (const i of single) for (let b = 0; b < C; b++) top = Math.max(top, value(i, b));
  const base = Math.min(0, D.spectra.low);
  const digits = Math.max(...steps(base, top * 1.04, 4).map(v => String(v).length)); // stored values have five
  const box = { l: 24 + 7 * Math.max(digits, 3), r: w - 10, t: 8, b: h - 44 };
  const x = nm => box.l + (box.r - box.l) * (NM[C - 1] > NM[0] ? (nm - NM[0]) / (NM[C - 1] - NM[0]) : 0.5);
  const y = v => box.b - (box.b - box.t) * (v - base) / (top * 1.04 - base);
  for (const one of D.windows) {
    const left = clamp(x(one.start), box.l, box.r), right = clamp(x(one.stop), box.l, box.r);
    const rect = svg("rect", { x: left, y: box.t, width: Math.max(right - left, 1), height: box.b - box.t, fill: "var(--c5)", "fill-opacity": 0.25 });
    rect.append(svg("title", {}, one.text));
    figure.append(rect);
  }
  frame(figure, box, x, y, base, top);
  for (const one of [...drawn].reverse()) {
    if (one.members.length > 1) {
      const upper = NM.map((nm, b) => `${x(nm).toFixed(1)} ${y(one.mean[b] + one.sd[b]).toFixed(1)}`);
      const lower = NM.map((nm, b) => `${x(nm).toFixed(1)} ${y(one.mean[b] - one.sd[b]).toFixed(1)}`).reverse();
      figure.append(svg("path", { d: `M${[...upper, ...lower].join("L")}Z`, fill: one.look.colour, "fill-opacity": drawn.length > 4 ? 0.08 : 0.15, class: "spread" }));
    }
    line(figure, x, y, b => one.mean[b], one.look.colour, 2, DASHES[one.look.fill]);
  }
  for (const i of single) line(figure, x, y, b => value(i, b), "var(--ink)", i === state.pin ? 2.2 : 1.4, i === state.pin ? "" : "3 2");
  for (const nm of D.chosen) figure.append(svg("line", { x1: x(nm), x2: x(nm), y1: box.b, y2: box.b + 8, stroke: "var(--ink)", "stroke-width": D.chosen.length > 60 ? 0.6 : 1.4, class: "chosen" }));
  if (state.band >= 0) {
    const at = x(D.pictures.bands[state.band].nm);
    figure.append(svg("line", { x1: at, x2: at, y1: box.t, y2: box.b, stroke: "var(--ink)", "stroke-dasharray": "1 3", "stroke-width": 2, "stroke-linecap": "round" }));
  }
  tell(all, drawn, figure);
}
function line(figure, x, y, at, stroke, thick, dash) {
  figure.append(svg("path", { d: NM.map((nm, b) => `${b ? "L" : "M"}${x(nm).toFixed(1)} ${y(at(b)).toFixed(1)}`).join(""), fill: "none", stroke, "stroke-width": thick, "stroke-dasharray": dash, "stroke-linejoin": "round" }));
  if (C === 1) figure.append(svg("circle", { cx: x(NM[0]), cy: y(at(0)), r: 4, fill: stroke }));
}
function steps(low, high, most) {
  const rough = (high - low) / most || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(m => m * power >= rough) * power, found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) found.push(Number(at.toPrecision(6)));
  return found;
}
function frame(figure, box, x, y, base, top) {
  for (const v of steps(base, top, 4)) {
    figure.append(svg("line", { x1: box.l, x2: box.r, y1: y(v), y2: y(v), stroke: "var(--line)" }));
    figure.append(svg("text", { x: box.l - 5, y: y(v) + 4, "text-anchor": "end" }, String(v)));
  }
  for (const nm of steps(NM[0], NM[C - 1], Math.max((box.r - box.l) / 70, 2))) {
    figure.append(svg("text", { x: x(nm), y: box.b + 22, "text-anchor": "middle" }, String(nm)));
  }
  figure.append(svg("line", { x1: box.l, x2: box.r, y1: box.b, y2: box.b, stroke: "var(--ink)" }));
  figure.append(svg("text", { x: (box.l + box.r) / 2, y: box.b + 38, "text-anchor": "middle" }, "wavelength (nm)"));
  figure.append(svg("text", { x: 12, y: (box.t + box.b) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(box.t + box.b) / 2})` }, D.quantity));
}
function tell(all, drawn, figure) {
  const what = state.selection.size ? `${plural([...state.selection].filter(shown).length, "selected image")}` : "all images that are shown";
  el("spectra-title").textContent = `Mean spectra of ${what}`;
  el("series").replaceChildren(...drawn.map(one => {
    const made = svg("svg", { viewBox: "0 0 22 14", style: "width:22px" });
    made.append(svg("line", { x1: 0, x2: 22, y1: 7, y2: 7, stroke: one.look.colour, "stroke-width": 3, "stroke-dasharray": DASHES[one.look.fill] }));
    return node("li", { style: "display:flex;gap:.3rem;align-items:center" }, made, node("span", {}, `${one.name} (${one.members.length})`));
  }));
  const notes = ["Shaded around lines: one standard deviation over images."];
  if (all.length > drawn.length) notes.push(`${drawn.length} of ${all.length} values are drawn, those with the most images.`);
  if (D.chosen.length) notes.push(`Marks below the axis: the ${plural(D.chosen.length, "chosen band")}.`);
  const open = D.windows.filter(one => !one.told); // the others are in the sentence
  if (D.windows_note) notes.push(D.windows_note);
  if (open.length) notes.push(`Shaded: ${open.map(one => one.text).join("; ")}.`);
  if (state.pin >= 0) notes.push("In the colour of text: the pinned specimen.");
  el("spectra-note").textContent = notes.join(" ");
  figure.setAttribute("aria-label", `Mean spectra by ${column().name}: ${drawn.map(one => `${one.name}, ${plural(one.members.length, "image")}`).join("; ")}. ${notes.join(" ")}`);
}

// ---- legends -----------------------------------------------------------------------------------------------------
function toggle(set, entry) { set.has(entry) ? set.delete(entry) : set.add(entry); }
function legendButton(set, entry, drawing, text, count) {
  return node("li", {}, node("button", { "aria-pressed": String(set.has(entry)), onclick: event => {
    const place = [...event.currentTarget.closest("ul").children].indexOf(event.currentTarget.parentElement), list = event.currentTarget.closest("ul").id;
    toggle(set, entry);
    refresh();
    el(list).children[place]?.firstChild.focus();
  } }, drawing, node("span", {}, text), node("i", {}, String(count))));
}
function legends() {
  const ink = tone.ink;
  el("shapes").replaceChildren(...D.parts.map((part, p) =>
    legendButton(state.parts, p, swatch(SHAPES[part] || "bar", { colour: ink, fill: 0 }), part.replace("_", " "), D.part.filter(x => x === p).length)));
  const which = column(), list = el("legend");
  if (which.codes) {
    const { counts, order } = ranks(), missing = which.codes.filter(code => code < 0).length;
    list.replaceChildren(...order.map(code => legendButton(state.classes, code, swatch("circle", lookOfCode(code)), which.values[code], counts[code])));
    if (missing) list.append(legendButton(state.classes, -1, swatch("circle", lookOfCode(-1)), "none", missing));
  } else {
    const [low, high] = span(which.numbers);
    list.replaceChildren(node("li", { class: "bar", style: "flex:1" }, String(low), node("span", { id: "ramp", role: "img", "aria-label": "from dark to light", style: `background:linear-gradient(90deg,${RAMP})` }), String(high)));
  }
  el("axes").textContent = `${D.maps[state.map].name}. Shapes: parts of the split; colours: ${which.name}.${which.codes && which.values.length > STYLES ? ` The ${STYLES} most frequent of ${which.values.length} values have a colour.` : ""}`;
  el("selected").textContent = state.selection.size ? `${plural(state.selection.size, "image")} selected; Esc or "clear" drops the selection.` : "";
}

// ---- the pinned specimen ---------------------------------------------------------------------------------------------
function tile(i, ...lines) {
  return node("li", {}, node("button", { onclick: () => { pin(i); el("specimen-title").scrollIntoView({ block: "nearest" }); } },
    picture(i, Math.min(72, Math.max(S, 48))), ...lines.flatMap(text => [text, node("br")])));
}
function detail() {
  const i = state.pin, box = el("detail");
  if (i < 0) { box.replaceChildren(node("p", {}, "Click a specimen, or press Enter on the map.")); return; }
  const facts = [["file", D.files[i]], ["specimen", D.specimens[i]], ["part", partOf(i).replace("_", " ")]];
  for (const one of D.columns) facts.push([one.name, nameOf(i, one)]);
  for (const probe of probes) {
    const said = named.probes[probe][i];
    if (said >= 0) facts.push([`named by ${probe}`, `${named.values[said]}${named.values[said] === nameOf(i, truth) ? "" : " (wrong)"}`]);
  }
  const list = node("dl", {}, ...facts.flatMap(([key, text]) => [node("dt", {}, key), node("dd", {}, text)]));
  const near = node("ul", { class: "tiles", id: "near", style: "grid-column:1/-1" }, ...D.neighbours[i].map((j, k) => tile(j, nameOf(j, truth || column()), `${partOf(j)}, ${D.likeness[i][k].toFixed(2)}`)));
  box.replaceChildren(picture(i, 144), list, node("h3", { style: "grid-column:1/-1;margin:.4rem 0 0" }, "Nearest images of other specimens, with their cosine"), near);
}

// ---- named wrongly -----------------------------------------------------------------------------------------------------
function wrongs() {
  const rows = Array.from({ length: N }, (_, i) => i), tested = rows.filter(i => answer(i) >= 0), wrong = tested.filter(isWrong);
  el("wrongs").hidden = !tested.length;
  el("wrongs-title").textContent = `Named wrongly by ${el("probe").value}: ${wrong.length} of ${plural(tested.length, "held-out image")}`;
  const kinds = new Map();
  for (const i of wrong) {
    const key = JSON.stringify([nameOf(i, truth), named.values[answer(i)]]);
    kinds.set(key, [...(kinds.get(key) || []), i]);
  }
  const sorted = [...kinds].sort((a, b) => b[1].length - a[1].length || (a[0] < b[0] ? -1 : 1));
  el("confusions").replaceChildren(...sorted.map(([key, members]) => {
    const [is, said] = JSON.parse(key);
    return node("tr", {}, node("td", {}, is), node("td", {}, said), node("td", {}, node("button", {
      "aria-label": `select ${plural(members.length, "image")} of ${is} named ${said}`,
      onclick: () => { state.selection = new Set(members); refresh(); canvas.scrollIntoView({ block: "nearest" }); },
    }, String(members.length))));
  }));
  el("mistakes").replaceChildren(...wrong.slice(0, TILES).map(i => tile(i, shortFile(i), `${nameOf(i, truth)} \u2192 ${named.values[answer(i)]}`)));
  if (wrong.length > TILES) el("mistakes").append(node("li", {}, `and ${wrong.length - TILES} more`));
}

// ---- what a person does ----------------------------------------------------------------------------------------------------
function say(i) {
  if (i < 0) return;
  const said = answer(i) >= 0 ? `, named ${named.values[answer(i)]}${isWrong(i) ? ", wrongly" : ""}` : "";
  el("live").textContent = `${shortFile(i)}, ${nameOf(i)}, ${partOf(i).replace("_", " ")}${said}`;
}
function pin(i) { state.pin = i; state.focus = i; detail(); spectra(); say(i); redraw(false); }
function hover(i) {
  if (i === state.hover) return;
  state.hover = i;
  card(i); spectra(); redraw(false);
}
function focus(i) {
  if (i < 0) return;
  state.focus = i; state.hover = i;
  const [x, y] = spot(i), xy = D.maps[state.map].xy, away = x < 0 || y < 0 || x > width || y > height;
  if (away) [state.x, state.y] = [xy[2 * i], xy[2 * i + 1]];
  card(i); spectra(); say(i); redraw(away);
}
function toward(dx, dy) { // the next specimen in a direction: near, and not far aside
  if (state.focus < 0) return focus(under(width / 2, height / 2) >= 0 ? under(width / 2, height / 2) : first(() => true));
  const [x, y] = spot(state.focus);
  let best = -1, least = Infinity;
  for (let i = 0; i < N; i++) {
    if (i === state.focus || !shown(i)) continue;
    const [px, py] = spot(i), along = (px - x) * dx + (py - y) * dy, aside = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
    if (along > 0.01 && aside <= along * 1.5 && along + 2 * aside < least) [best, least] = [i, along + 2 * aside];
  }
  focus(best);
}
function first(test) {
  for (let k = 1; k <= N; k++) { const i = (Math.max(state.focus, -1) + k + N) % N; if (shown(i) && test(i)) return i; }
  return -1;
}
function zoom(factor, x = width / 2, y = height / 2) {
  const before = scale(), ax = (x - width / 2) / before + state.x, ay = -(y - height / 2) / before + state.y;
  state.zoom = clamp(state.zoom * factor, 1, 40);
  const after = scale();
  state.x = ax - (x - width / 2) / after; state.y = ay + (y - height / 2) / after;
  if (state.zoom === 1) [state.x, state.y] = [0, 0];
  card(state.hover); redraw();
}
function clear() {
  state.selection.clear(); state.classes.clear(); state.parts.clear();
  state.pin = state.hover = state.focus = -1;
  card(-1); detail(); refresh();
}
function refresh() { known = null; readLooks(); legends(); spectra(); redraw(); }

canvas.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }, way = arrows[event.key];
  const keys = {
    Enter: () => pin(state.focus), " ": () => pin(state.focus), Escape: clear, Home: () => focus(first(i => i === 0)),
    "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: () => zoom(1 / 40),
    s: () => { if (state.focus >= 0) { toggle(state.selection, state.focus); refresh(); } },
    a: () => { if (state.focus >= 0 && column().codes) { const own = codeOf(state.focus); for (let i = 0; i < N; i++) if (codeOf(i) === own && shown(i)) state.selection.add(i); refresh(); } },
    w: () => focus(first(isWrong)),
  };
  if (way && event.shiftKey) { state.x += way[0] * 60 / scale(); state.y -= way[1] * 60 / scale(); card(state.hover); redraw(); }
  else if (way) toward(...way);
  else {
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    act();
  }
  event.preventDefault();
});
canvas.addEventListener("blur", () => hover(-1));
let down = null;
const at = event => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
canvas.addEventListener("pointerdown", event => {
  if (event.button) return;
  down = { from: at(event), moves: event.altKey, x: state.x, y: state.y };
  try { canvas.setPointerCapture(event.pointerId); } catch { down.free = true; } // a pointer that is gone already
});
canvas.addEventListener("pointermove", event => {
  const [x, y] = at(event);
  if (!down) return hover(under(x, y));
  const [fx, fy] = down.from;
  if (down.moves) { state.x = down.x - (x - fx) / scale(); state.y = down.y + (y - fy) / scale(); }
  else if (Math.hypot(x - fx, y - fy) > 4) state.box = [Math.min(x, fx), Math.min(y, fy), Math.abs(x - fx), Math.abs(y - fy)];
  redraw(down.moves);
});
canvas.addEventListener("pointerup", event => {
  if (!down) return;
  if (state.box) {
    const [x, y, w, h] = state.box;
    if (!event.shiftKey) state.selection.clear();
    for (let i = 0; i < N; i++) { const [px, py] = spot(i); if (shown(i) && px >= x && px <= x + w && py >= y && py <= y + h) state.selection.add(i); }
    el("live").textContent = `${plural(state.selection.size, "image")} selected`;
    state.box = null;
    refresh();
  } else if (!down.moves) {
    const i = under(...at(event));
    if (i >= 0) { pin(i); card(event.pointerType === "mouse" ? i : -1); }
  }
  down = null;
});
canvas.addEventListener("pointercancel", () => { down = null; state.box = null; redraw(); });
canvas.addEventListener("pointerleave", () => { if (!down) hover(-1); });
canvas.addEventListener("wheel", event => {
  if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
  event.preventDefault();
  zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, ...at(event));
}, { passive: false });

// ---- start ---------------------------------------------------------------------------------------------------------------------
function fill(id, names) { el(id).replaceChildren(...names.map((name, k) => node("option", { value: k }, name))); }
function start() {
  document.documentElement.classList.add("js");
  el("title").textContent = D.title;
  el("about").textContent = D.about.join(" ");
  fill("which", D.maps.map(one => one.name.split(":")[0].split(" ")[0]));
  fill("colour", D.columns.map(one => one.name));
  el("colour").value = state.column;
  el("probe").replaceChildren(...probes.map(name => node("option", { value: name }, name)));
  el("probes").hidden = !probes.length;
  el("names").replaceChildren(...D.files.map(name => node("option", { value: name })));
  el("slide").max = B;
  canvas.setAttribute("aria-label", `${plural(N, "specimen image")} by what the encoder sees`);
  el("which").onchange = event => { state.map = Number(event.target.value); zoom(1 / 40); legends(); };
  el("colour").onchange = event => { state.column = Number(event.target.value); state.classes.clear(); refresh(); };
  for (const id of ["marks", "size"]) el(id).oninput = redraw;
  el("wrong").onchange = redraw;
  el("probe").onchange = () => { wrongs(); redraw(); };
  el("find").onchange = event => {
    const wanted = event.target.value.toLowerCase(), i = wanted ? D.files.findIndex(name => name.toLowerCase().includes(wanted)) : -1;
    if (i >= 0) { focus(i); pin(i); } else if (wanted) el("live").textContent = "no such file";
  };
  el("slide").oninput = event => { state.band = Number(event.target.value) - 1; band(); };
  el("in").onclick = () => zoom(1.4);
  el("out").onclick = () => zoom(1 / 1.4);
  el("fit").onclick = () => zoom(1 / 40);
  el("clear").onclick = clear;
  const theme = () => { readPalette(); refresh(); detail(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);
  new ResizeObserver(() => { spectra(); redraw(); }).observe(el("stage"));
  draw();
  band(); theme(); wrongs();
}
function band() {
  const text = state.band < 0 ? D.pictures.colour_name : `${D.pictures.bands[state.band].nm} nm`;
  el("at").textContent = text;
  el("slide").setAttribute("aria-valuetext", text);
  if (looks.length) { spectra(); redraw(); }
}
readPalette(); readLooks(); start();
