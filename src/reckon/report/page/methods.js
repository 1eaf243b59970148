/* Plots with one mark per method, and what they share: which methods are shown, and which one is looked at. */

const DATA = JSON.parse(document.getElementById("data").textContent);
const NAMES = Object.keys(DATA.methods);
const look = (name) => `m${NAMES.indexOf(name) % 7} p${Math.floor(NAMES.indexOf(name) / 7) % 4}`;
const hue = (name) => look(name).split(" ")[0];

/* What the reader looks at: the methods shown, the one pointed at, and the tokens pointed at. */
const SHOWN = new Set(NAMES);
const LOOKED = { name: null, tokens: null };
const REDRAWN = [];

function redraw() {
  REDRAWN.forEach((paint) => paint());
}

function lookAt(name, tokens = null) {
  if (LOOKED.name === name && LOOKED.tokens === tokens) return;
  Object.assign(LOOKED, { name, tokens });
  redraw();
}

const FRAME = { left: 48, right: 16, top: 10, bottom: 24 };

/** Axes and scale of one plot: {svg, width, height, frame, x: [from, to], y: [from, to], percent, log}. */
function framed(plot) {
  const { svg, width, height, frame, percent: share, log } = plot;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const t = log ? Math.log10 : (value) => value;
  const inner = { width: width - frame.left - frame.right, height: height - frame.top - frame.bottom };
  const scale = {
    x: (at) => frame.left + (inner.width * (at - plot.x[0])) / (plot.x[1] - plot.x[0]),
    y: (value) => frame.top + inner.height * (1 - (t(value) - t(plot.y[0])) / (t(plot.y[1]) - t(plot.y[0]))),
    tokens: (pixel) => plot.x[0] + ((pixel - frame.left) / inner.width) * (plot.x[1] - plot.x[0]),
  };
  for (const value of log ? decades(...plot.y) : niceTicks(...plot.y)) {
    const y = scale.y(value);
    svg.append(el("line", { class: "grid", x1: frame.left, x2: width - frame.right, y1: y, y2: y }));
    const text = share ? Number((100 * value).toPrecision(3)) + "%" : tickLabel(value);
    svg.append(el("text", { class: "tick", x: frame.left - 7, y: y + 4, "text-anchor": "end" }, text));
  }
  for (const at of niceTicks(...plot.x, Math.max(2, Math.floor(inner.width / 90))))
    svg.append(el("text", { class: "tick", x: scale.x(at), y: height - 6, "text-anchor": "middle" }, thousands(at)));
  return scale;
}

const thousands = (tokens) => (tokens >= 1000 ? Number((tokens / 1000).toPrecision(4)) + "k" : String(tokens));

/** From the least to the greatest value, with a little room; on a log axis of the positive ones. */
function extent(values, log) {
  const usable = values.filter((value) => value !== null && (!log || value > 0));
  let [low, high] = [Math.min(...usable), Math.max(...usable)];
  if (!usable.length) return log ? [0.1, 1] : [0, 1];
  if (low === 0 && high === 0) return [0, 1];
  if (low === high) return log ? [low / 2, high * 2] : [low - 0.5 * Math.abs(low), high + 0.5 * Math.abs(high)];
  const room = 0.04 * (high - low);
  return log ? [low, high] : [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
}

function bandOf({ x, low, high }, scale, log) {
  const edges = x.map((at, i) => [at, low[i], high[i]]).filter(([, from]) => !log || from > 0);
  const top = edges.map(([at, , to]) => [at, to]);
  const bottom = edges.map(([at, from]) => [at, from]).reverse();
  return edges.length > 1 ? polyline([...top, ...bottom], scale) + "Z" : "";
}

function pointsOf({ x, y }, log) {
  return x.map((at, i) => [at, y[i]]).filter(([, value]) => value !== null && (!log || value > 0));
}

/** The value of a curve at a number of tokens, straight between its points; null before its first. */
function valueAt({ x, y }, tokens) {
  if (tokens === null || tokens >= x[x.length - 1]) return y[y.length - 1];
  if (tokens < x[0]) return null;
  const after = x.findIndex((at) => at > tokens);
  const part = (tokens - x[after - 1]) / (x[after] - x[after - 1]);
  return y[after - 1] + part * (y[after] - y[after - 1]);
}

/** A chart of one curve per method: {key, title, says, percent, log, tall}. */
function methodChart(parent, spec) {
  const reading = el("span", { class: "says" }, spec.says);
  const svg = el("svg", { class: spec.tall ? "plot tall" : "plot", role: "img", "aria-label": spec.title });
  const caption = el("figcaption", {}, el("h4", {}, spec.title), reading);
  parent.append(el("figure", { class: "chart" }, caption, svg));
  const curveOf = (name) => DATA.methods[name]?.curves[spec.key];
  const format = spec.percent ? percent : figure;
  let scale = null;

  function paint() {
    const names = NAMES.filter((name) => SHOWN.has(name) && curveOf(name));
    const banded = names.filter((name) => name === LOOKED.name || names.length <= 3);
    const values = names.flatMap((name) => curveOf(name).y);
    const edges = banded.flatMap((name) => [...curveOf(name).low, ...curveOf(name).high]);
    const [width, height] = [Math.max(220, svg.clientWidth || 360), svg.clientHeight || 168];
    const frame = spec.tall ? { ...FRAME, right: 168 } : FRAME;
    const y = extent([...values, ...edges], spec.log);
    scale = framed({ svg, width, height, frame, x: [0, DATA.tokens], y, percent: spec.percent, log: spec.log });
    for (const name of banded)
      svg.append(el("path", { class: `band ${hue(name)}`, d: bandOf(curveOf(name), scale, spec.log) }));
    for (const name of names) {
      const d = polyline(pointsOf(curveOf(name), spec.log), scale);
      svg.append(el("path", { class: `line ${spec.tall ? "" : "thin"} ${look(name)} ${emphasis(name)}`, d }));
    }
    if (LOOKED.tokens !== null) {
      const x = scale.x(LOOKED.tokens);
      svg.append(el("line", { class: "cross", x1: x, x2: x, y1: frame.top, y2: height - frame.bottom }));
    }
    if (spec.tall) endLabels(names, width - frame.right, height - frame.bottom);
    const read = !spec.tall && SHOWN.has(LOOKED.name) ? curveOf(LOOKED.name) : null;
    reading.textContent = read ? `${LOOKED.name}: ${format(valueAt(read, LOOKED.tokens))}${place()}` : spec.says;
  }

  /** Names and values beside the ends of the lines, pushed apart so that none covers another. */
  function endLabels(names, right, bottom) {
    const labels = names.map((name) => {
      const final = DATA.methods[name].measures[spec.key].value;
      const value = LOOKED.tokens === null ? final : valueAt(curveOf(name), LOOKED.tokens);
      return { name, value, end: scale.y(curveOf(name).y.at(-1)) };
    });
    labels.sort((a, b) => a.end - b.end);
    labels.forEach((label, i) => (label.y = Math.max(label.end, i ? labels[i - 1].y + 14.5 : 0)));
    let limit = bottom;
    for (const label of labels.toReversed()) {
      label.y = Math.min(label.y, limit);
      limit = label.y - 14.5;
    }
    for (const { name, value, end, y } of labels) {
      const group = el("g", { class: `${hue(name)} ${emphasis(name)}` });
      group.append(el("line", { class: "leader", x1: right + 1, x2: right + 13, y1: end, y2: y }));
      const style = name === LOOKED.name ? "name lit" : "name";
      group.append(el("text", { class: style, x: right + 16, y: y + 4 }, `${name} ${format(value)}`));
      svg.append(group);
    }
  }

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const tokens = Math.min(DATA.tokens, Math.max(0, scale.tokens(event.clientX - box.left)));
    const distance = (name) => Math.abs(scale.y(valueAt(curveOf(name), tokens) ?? NaN) - (event.clientY - box.top));
    const near = NAMES.filter((name) => SHOWN.has(name) && curveOf(name) && distance(name) < 24);
    near.sort((a, b) => distance(a) - distance(b));
    lookAt(near[0] ?? null, tokens);
  });
  svg.addEventListener("pointerleave", () => lookAt(null));
  REDRAWN.push(paint);
  paint();
}

const emphasis = (name) => (LOOKED.name === null ? "" : LOOKED.name === name ? "lit" : "faded");

function place() {
  return LOOKED.tokens === null ? " at the end" : ` at ${Math.round(LOOKED.tokens).toLocaleString("en")} tokens`;
}

function swatchOf(name) {
  return el(
    "svg",
    { class: `swatch ${hue(name)}`, viewBox: "0 0 22 8", "aria-hidden": "true" },
    el("path", { class: `line ${look(name)}`, d: "M1 4H21" }),
  );
}

/** Buttons that show and hide methods; pointing at one lights its lines. */
function switches() {
  const buttons = new Map();
  const press = () => buttons.forEach((button, name) => button.setAttribute("aria-pressed", SHOWN.has(name)));
  const flip = (names, on) => {
    names.forEach((name) => (on ?? !SHOWN.has(name) ? SHOWN.add(name) : SHOWN.delete(name)));
    press();
    redraw();
  };
  for (const name of NAMES) {
    const events = { click: () => flip([name]), focus: () => lookAt(name), blur: () => lookAt(null) };
    const pointing = { pointerenter: () => lookAt(name), pointerleave: () => lookAt(null) };
    buttons.set(name, el("button", { type: "button", ...events, ...pointing }, swatchOf(name), el("span", {}, name)));
  }
  const every = [["all", true], ["none", false]].map(([word, on]) =>
    el("button", { type: "button", click: () => flip(NAMES, on) }, word),
  );
  press();
  return el("div", { class: "methods", role: "group", "aria-label": "Methods shown" }, ...buttons.values(), ...every);
}

/** Differences with intervals in points, one row per method: rows are {name, value, low, high, seeds, p}. */
function forest(parent, title, says, rows) {
  const svg = el("svg", { class: "plot forest", role: "img", "aria-label": `${title}; the table has the numbers` });
  parent.append(
    el(
      "figure",
      { class: "chart" },
      el("figcaption", {}, el("h4", {}, title), el("span", { class: "says" }, says)),
      svg,
    ),
  );
  const paint = () => {
    const [width, step] = [Math.max(320, svg.clientWidth || 560), 26];
    const frame = { left: 124, right: 110, top: 6, bottom: 26 };
    const height = frame.top + frame.bottom + step * rows.length;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    const values = rows.flatMap(({ value, low, high, seeds }) => [value, low, high, ...seeds]);
    const [from, to] = extent([0, ...values]);
    const x = (value) => frame.left + ((width - frame.left - frame.right) * (value - from)) / (to - from);
    for (const tick of niceTicks(from, to, Math.floor((width - frame.left - frame.right) / 60))) {
      const line = { x1: x(tick), x2: x(tick), y1: frame.top, y2: height - frame.bottom };
      svg.append(el("line", { class: tick === 0 ? "base" : "grid", ...line }));
      const where = { x: x(tick), y: height - 8, "text-anchor": "middle" };
      svg.append(el("text", { class: "tick", ...where }, signed(100 * tick, 0)));
    }
    rows.forEach(({ name, value, low, high, seeds, p }, i) => {
      const y = frame.top + step * (i + 0.5);
      const group = el("g", { class: `${hue(name)} ${emphasis(name)}` });
      group.append(el("text", { class: "label", x: frame.left - 12, y: y + 4, "text-anchor": "end" }, name));
      if (low !== null) group.append(el("line", { class: "ends", x1: x(low), x2: x(high), y1: y, y2: y }));
      for (const seed of seeds) group.append(el("circle", { class: "seed", cx: x(seed), cy: y + 7, r: 2.2 }));
      if (value !== null) group.append(el("circle", { class: "mean", cx: x(value), cy: y, r: 4.6 }));
      const known = p !== null && p < 0.05 ? "label" : "p-value";
      group.append(el("text", { class: known, x: width - frame.right + 12, y: y + 4 }, pText(p)));
      svg.append(group);
    });
  };
  REDRAWN.push(paint);
  paint();
}

const pText = (p) => (p === null ? "" : p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`);
