/* Small multiples with one shared crosshair: pointing at a step in one chart reads all of them at that step. */

const HEIGHT = 168;
const MARGIN = { left: 48, right: 16, top: 10, bottom: 22 };
const CHARTS_DRAWN = [];

/**
 * Draw a chart: {title, says, axis, group, percent, log, zero, stacked, wide, cap, flags, series}, a series
 * being {label, x, y, low, high, marks}.
 * axis names the x values ("step" unless given); charts of one group (its axis unless given) share the crosshair.
 * flags are x values to mark, cap is the largest y shown.
 */
function addChart(parent, spec) {
  const legend = el("p", { class: "legend" });
  const svg = el("svg", { class: "plot", role: "img", tabindex: 0, "aria-label": describe(spec) });
  parent.append(
    el(
      "figure",
      { class: spec.wide ? "chart wide" : "chart" },
      el(
        "figcaption",
        {},
        el("h4", {}, spec.title),
        spec.says ? el("span", { class: "says" }, spec.says) : null,
        legend,
      ),
      svg,
    ),
  );
  const readouts = spec.series.map((series, i) => {
    const value = el("b", {});
    legend.append(el("span", { class: `key s${i + 1}` }, swatch(series, i, spec.stacked), series.label + " ", value));
    return value;
  });
  const axis = spec.axis ?? "step";
  const chart = { spec: { group: axis, ...spec, axis }, svg, readouts, cursor: null, scale: null };
  svg.addEventListener("pointermove", (event) =>
    pointAt(chart.scale.step(event.clientX - svg.getBoundingClientRect().left), chart.spec.group),
  );
  svg.addEventListener("pointerleave", () => pointAt(null));
  svg.addEventListener("focus", () => legend.setAttribute("aria-live", "polite"));
  svg.addEventListener("blur", () => {
    legend.removeAttribute("aria-live");
    pointAt(null);
  });
  svg.addEventListener("keydown", (event) => moveCursor(chart, event));
  CHARTS_DRAWN.push(chart);
  draw(chart);
}

let POINTED = null;

/** Read every chart of this group at a step; null reads the last values and hides the crosshair. */
function pointAt(step, group) {
  POINTED = step === null ? null : { step, group };
  CHARTS_DRAWN.forEach((chart) => readAt(chart, pointed(chart)));
}

const pointed = ({ spec }) => (POINTED?.group === spec.group ? POINTED.step : null);

function moveCursor(chart, event) {
  const xs = longest(chart.spec).x;
  const at = pointed(chart) === null ? xs.length - 1 : nearest(xs, pointed(chart));
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: xs.length - 1, PageUp: at - 10, PageDown: at + 10 }[
    event.key
  ];
  if (event.key === "Escape") pointAt(null);
  if (to === undefined) return;
  event.preventDefault();
  pointAt(xs[Math.min(xs.length - 1, Math.max(0, to))], chart.spec.group);
}

function readAt({ spec, readouts, cursor, scale }, step) {
  const format = spec.percent ? percent : figure;
  cursor.group.setAttribute("visibility", step === null ? "hidden" : "visible");
  if (step !== null) {
    cursor.line.setAttribute("x1", scale.x(step));
    cursor.line.setAttribute("x2", scale.x(step));
    cursor.label.textContent = `${spec.axis} ${step}`;
    const right = scale.x(step) > scale.width * 0.7;
    cursor.label.setAttribute("x", scale.x(step) + (right ? -5 : 5));
    cursor.label.setAttribute("text-anchor", right ? "end" : "start");
  }
  spec.series.forEach((series, i) => {
    const at = step === null ? lastFinite(series.y) : nearest(series.x, step);
    const value = at < 0 ? null : series.y[at];
    let text = format(value);
    if (value !== null && Number.isFinite(series.low?.[at])) text += ` [${format(series.low[at])}, ${format(series.high[at])}]`;
    if (series.marks && step !== null && at >= 0 && series.x[at] !== step) text += ` at ${series.x[at]}`;
    readouts[i].textContent = text;
    const dot = cursor.dots[i];
    if (step === null || value === null || spec.stacked || (spec.log && value <= 0))
      return dot.setAttribute("visibility", "hidden");
    dot.setAttribute("visibility", "inherit");
    dot.setAttribute("cx", scale.x(series.x[at]));
    dot.setAttribute("cy", scale.y(value));
  });
}

function draw(chart) {
  const { spec, svg } = chart;
  const width = Math.max(220, svg.clientWidth || 360);
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.replaceChildren();
  const scale = (chart.scale = scales(spec, width));
  drawAxes(svg, spec, scale);
  if (spec.stacked) drawStack(svg, spec, scale);
  else spec.series.forEach((series, i) => drawSeries(svg, series, i, scale, spec));
  for (const step of spec.flags || []) {
    svg.append(el("path", { class: "flag", d: `M${scale.x(step)} ${MARGIN.top - 4}l4 -6h-8z` }));
    svg.append(
      el("line", {
        class: "flagline",
        x1: scale.x(step),
        x2: scale.x(step),
        y1: MARGIN.top - 4,
        y2: HEIGHT - MARGIN.bottom,
      }),
    );
  }
  const line = el("line", { class: "cross", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom });
  const label = el("text", { class: "tick", y: MARGIN.top + 4 });
  const dots = spec.series.map((_, i) => el("circle", { class: `dot s${i + 1}`, r: 3.2 }));
  chart.cursor = { line, label, dots, group: el("g", { visibility: "hidden" }, line, label, ...dots) };
  svg.append(chart.cursor.group);
  readAt(chart, pointed(chart));
}

function scales(spec, width) {
  const xs = spec.series.flatMap((series) => [series.x[0], series.x[series.x.length - 1]]);
  const pad = spec.stacked ? 0.5 : 0; // a bar is one step wide
  const x0 = Math.min(...xs) - pad;
  const x1 = Math.max(...xs, x0 + 1 - pad) + pad;
  const drawn = spec.series.flatMap((series) => [...series.y, ...(series.low || []), ...(series.high || [])]);
  let values = spec.stacked ? [0, ...totals(spec)] : drawn;
  values = values.filter((value) => value !== null && (!spec.log || value > 0));
  let low = values.reduce((a, b) => Math.min(a, b), Infinity);
  let high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (spec.zero && low > 0) low = 0;
  if (spec.cap) high = spec.cap;
  if (low === high)
    [low, high] = spec.log
      ? [low / 2, high * 2]
      : [low === 0 ? 0 : low - Math.abs(low) / 2, high + (Math.abs(high) / 2 || 1)];
  if (!spec.log) high += 0.04 * (high - low);
  if (spec.percent && high > 0.85) high = 1;
  const [inner, tall] = [width - MARGIN.left - MARGIN.right, HEIGHT - MARGIN.top - MARGIN.bottom];
  const t = spec.log ? Math.log10 : (value) => value;
  const xOf = (step) => MARGIN.left + (inner * (step - x0)) / (x1 - x0);
  const longestX = longest(spec).x;
  return {
    width,
    x0,
    x1,
    low,
    high,
    x: xOf,
    y: (value) => MARGIN.top + tall * (1 - (t(value) - t(low)) / (t(high) - t(low))),
    step: (pixel) => longestX[nearest(longestX, x0 + ((pixel - MARGIN.left) / inner) * (x1 - x0))],
  };
}

function drawAxes(svg, spec, scale) {
  const format = spec.percent ? (value) => Number((100 * value).toPrecision(3)) + "%" : tickLabel;
  for (const value of spec.log ? decades(scale.low, scale.high) : niceTicks(scale.low, scale.high)) {
    const y = scale.y(value);
    svg.append(el("line", { class: "grid", x1: MARGIN.left, x2: scale.width - MARGIN.right, y1: y, y2: y }));
    svg.append(el("text", { class: "tick", x: MARGIN.left - 7, y: y + 3.5, "text-anchor": "end" }, format(value)));
  }
  svg.append(el("text", { class: "tick", x: MARGIN.left - 7, y: HEIGHT - 6, "text-anchor": "end" }, spec.axis));
  const steps = niceTicks(scale.x0, scale.x1, Math.max(3, Math.floor(scale.width / 70))).filter(Number.isInteger);
  for (const step of steps) {
    svg.append(
      el(
        "text",
        { class: "tick", x: scale.x(step), y: HEIGHT - 6, "text-anchor": "middle" },
        step.toLocaleString("en"),
      ),
    );
  }
}

function tickLabel(value) {
  const size = Math.abs(value);
  if (size && size < 0.001) return power(value);
  if (size >= 10000) return Number((value / 1000).toPrecision(3)) + "k";
  return Number(value.toPrecision(3)).toLocaleString("en");
}

function drawSeries(svg, series, i, scale, spec) {
  const usable = (value) => value !== null && (!spec.log || value > 0);
  const points = series.x.map((x, at) => [x, series.y[at]]).filter(([, y]) => usable(y));
  if (series.low) {
    const edges = series.x
      .map((x, at) => [x, series.low[at], series.high[at]])
      .filter((edge) => usable(edge[1]) && usable(edge[2]));
    const top = edges.map(([x, , high]) => `${scale.x(x)} ${scale.y(high)}`);
    const bottom = edges.map(([x, low]) => `${scale.x(x)} ${scale.y(low)}`).reverse();
    if (edges.length > 1) svg.append(el("path", { class: `band s${i + 1}`, d: `M${[...top, ...bottom].join("L")}Z` }));
    const bars = edges.map(([x, low, high]) => `M${scale.x(x)} ${scale.y(low)}V${scale.y(high)}`).join("");
    svg.append(el("path", { class: `bar s${i + 1}`, d: bars }));
  }
  if (series.marks) {
    svg.append(el("path", { class: `line thin s${i + 1}`, d: polyline(points, scale) }));
    for (const [x, y] of points) svg.append(marker(scale.x(x), scale.y(y), i));
    return;
  }
  svg.append(
    el("path", {
      class: `raw s${i + 1}`,
      d: points.map(([x, y]) => `M${scale.x(x).toFixed(1)} ${scale.y(y).toFixed(1)}h0`).join(""),
    }),
  );
  svg.append(el("path", { class: `line s${i + 1} dash${i + 1}`, d: polyline(smoothed(points, spec.log), scale) }));
}

function drawStack(svg, spec, scale) {
  const xs = spec.series[0].x;
  const inner = scale.width - MARGIN.left - MARGIN.right;
  const step = Math.ceil(xs.length / inner);
  const wide = Math.max(0.6, (0.82 * inner * step) / (scale.x1 - scale.x0));
  const base = xs.map(() => 0);
  spec.series.forEach((series, i) => {
    let path = "";
    for (let at = 0; at < xs.length; at += step) {
      const value = series.y[at] || 0;
      const [y0, y1] = [scale.y(base[at]), scale.y(Math.min(scale.high, base[at] + value))];
      if (y1 < y0) path += `M${scale.x(xs[at]) - wide / 2} ${y0}h${wide}V${y1}h${-wide}z`;
      base[at] += value;
    }
    svg.append(el("path", { class: `stack s${i + 1}`, d: path }));
  });
}

function marker(x, y, i) {
  if (i % 2) return el("circle", { class: `mark s${i + 1}`, cx: x, cy: y, r: 3 });
  return el("rect", { class: `mark s${i + 1}`, x: x - 2.8, y: y - 2.8, width: 5.6, height: 5.6 });
}

function swatch(series, i, stacked) {
  const svg = el("svg", { class: "swatch", viewBox: "0 0 22 8", "aria-hidden": "true" });
  if (stacked) svg.append(el("rect", { class: `stack s${i + 1}`, x: 6, y: 0, width: 10, height: 8 }));
  else svg.append(el("path", { class: `line s${i + 1} ${series.marks ? "thin" : "dash" + (i + 1)}`, d: "M1 4H21" }));
  if (series.marks) svg.append(marker(11, 4, i));
  return svg;
}

function polyline(points, scale) {
  return points.length
    ? "M" + points.map(([x, y]) => `${scale.x(x).toFixed(1)} ${scale.y(y).toFixed(1)}`).join("L")
    : "";
}

/** A Gaussian-weighted moving mean over a fortieth of the points to each side (of logarithms on a log axis). */
function smoothed(points, log) {
  const sigma = points.length / 40;
  if (sigma < 0.5) return points;
  const reach = Math.ceil(3 * sigma);
  return points.map(([x], at) => {
    let [sum, weight] = [0, 0];
    for (let other = Math.max(0, at - reach); other <= Math.min(points.length - 1, at + reach); other++) {
      const w = Math.exp(-0.5 * ((other - at) / sigma) ** 2);
      sum += w * (log ? Math.log(points[other][1]) : points[other][1]);
      weight += w;
    }
    return [x, log ? Math.exp(sum / weight) : sum / weight];
  });
}

function niceTicks(low, high, wanted = 4) {
  const rough = (0.75 * (high - low)) / wanted;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((size) => size >= rough);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high * (1 + 1e-9) + 1e-12; k++)
    ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

/** Powers of ten; where they are too few, also their multiples by 2 and 5. */
function decades(low, high) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const factors = last - first > 2 ? [1] : [1, 2, 5];
  const every = Math.max(1, Math.ceil((last - first) / 5));
  const ticks = [];
  for (let exponent = first; exponent <= last; exponent += every)
    ticks.push(...factors.map((factor) => Number((factor * 10 ** exponent).toPrecision(3))));
  return ticks.filter((tick) => tick >= low && tick <= high);
}

function nearest(xs, x) {
  let [low, high] = [0, xs.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] > x) high = middle;
    else low = middle;
  }
  return Math.abs(xs[high] - x) < Math.abs(xs[low] - x) ? high : low;
}

/** The height of each stacked bar. */
function totals(spec) {
  return spec.series[0].x.map((_, at) => spec.series.reduce((sum, series) => sum + (series.y[at] || 0), 0));
}

const longest = (spec) => spec.series.reduce((a, b) => (b.x.length > a.x.length ? b : a));
const lastFinite = (values) => values.findLastIndex((value) => value !== null);

function describe(spec) {
  const format = spec.percent ? percent : figure;
  const parts = spec.series.map(({ label, y }) => {
    const finite = y.filter((value) => value !== null);
    return `${label} from ${format(finite[0])} to ${format(finite[finite.length - 1])}`;
  });
  return `${spec.title}: ${parts.join("; ")}. Arrow keys read it step by step.`;
}

let REDRAW = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(REDRAW);
  REDRAW = requestAnimationFrame(() => CHARTS_DRAWN.forEach(draw));
});
