/* The page of a comparison: reads the data block and fills the sections of the template in order. */

const section = (id) => document.getElementById(id);

function masthead() {
  const { shared, machine } = DATA;
  const seeds = new Set(NAMES.flatMap((name) => Object.keys(DATA.methods[name].runs)));
  const facts = [
    ["methods", NAMES.length],
    ["seeds", seeds.size],
    ["budget of each run", `${DATA.tokens.toLocaleString("en")} generated tokens`],
    ["model", shared.model],
    ["task", shared["task.kind"]],
    ["held out", DATA.problems && `${DATA.problems} problems \u00d7 ${DATA.samples} samples`],
    ["machine", [machine.device, machine.threads && `threads of a run: ${machine.threads}`].filter(Boolean).join(", ")],
    ["versions", Object.entries(machine.versions ?? {}).map((pair) => pair.join(" ")).join(", ")],
  ];
  add(
    section("top"),
    el("p", { class: "eyebrow" }, "Reckon comparison of methods"),
    el("h1", {}, DATA.name),
    DATA.notes.length
      ? el("div", { class: "incomplete", role: "note" }, ...DATA.notes.map((note) => el("p", {}, note)))
      : null,
    el("p", { class: "answer" }, DATA.says),
    el(
      "dl",
      { class: "facts" },
      ...facts
        .filter(([, value]) => value)
        .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
    ),
  );
  const links = { curves: "Curves", numbers: "Numbers", differences: "Differences", each: "Each method" };
  Object.assign(links, { settings: "Settings", rerun: "Rerun" });
  section("contents").append(...Object.entries(links).map(([id, name]) => el("a", { href: "#" + id }, name)));
}

/* ---------------------------------------------------------------------------------------------- curves */

const SMALL_CHARTS = [
  { key: "tokens", title: "Response length", says: "tokens, of a step's samples" },
  { key: "entropy", title: "Entropy", says: "nats per token" },
  { key: "grad_norm", title: "Gradient norm", says: "before clipping, log", log: true },
];

function curves() {
  const home = section("curves");
  const band = Object.values(DATA.methods).some(({ runs }) => Object.keys(runs).length > 1)
    ? "Lines are means over seeds. The band of the method pointed at is its 95% t-interval over seeds for pass@1, " +
      "and the range of the seeds below."
    : "One seed each: the band of the method pointed at is the interval over problems.";
  const lead = `Against tokens generated for training. ${band} Three methods or fewer all show their bands: hide some.`;
  home.append(...heading("curves", "Curves", lead), switches());
  const says = "share of held-out responses that are right";
  methodChart(home, { key: "pass@1", title: "pass@1", says, percent: true, tall: true });
  const grid = el("div", { class: "grid-of-charts" });
  home.append(grid);
  SMALL_CHARTS.forEach((spec) => methodChart(grid, spec));
}

/* --------------------------------------------------------------------------------------------- numbers */

const shortSeconds = (value) => (value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(1));
const COLUMNS = [
  ["pass@1", "final pass@1", percent, true],
  ["gain", "gain", (value) => signed(100 * value, 1), true],
  ["area", "area", percent, true],
  ["mean_tokens", "tokens per response", figure],
  ["entropy", "entropy", figure],
  ["grad_norm", "gradient norm", figure],
  ["steps", "steps", figure],
  ["tokens", "tokens", (value) => Math.round(value).toLocaleString("en")],
  ["update_s", "update s", shortSeconds],
  ["train_s", "training s", shortSeconds],
];

function measureCell(measure, format, interval) {
  if (!measure) return el("td", {}, "\u2013");
  const seeds = Object.entries(measure.by_seed).map(([seed, value]) => `seed ${seed}: ${format(value)}`);
  const ends = interval && measure.low !== null ? ` ${format(measure.low)} to ${format(measure.high)}` : null;
  const value = el(interval ? "b" : "span", {}, format(measure.value));
  return el("td", { title: seeds.join(", ") }, value, ends ? el("small", {}, ends) : null);
}

function numbers() {
  const names = ["method", "seeds", ...COLUMNS.map(([, label]) => label)];
  const head = names.map((label, i) => el("th", { scope: "col", class: i ? null : "left" }, label));
  const rows = NAMES.map((name) => {
    const { measures, runs } = DATA.methods[name];
    const cells = COLUMNS.map(([key, , format, interval]) => measureCell(measures[key], format, interval));
    const first = el("td", { class: "left" }, swatchOf(name), el("b", {}, name));
    const pointing = { pointerenter: () => lookAt(name), pointerleave: () => lookAt(null) };
    return el("tr", pointing, first, el("td", {}, Object.keys(runs).length), ...cells);
  });
  const lead =
    "Means over seeds, with 95% intervals: over seeds, or over problems where there is one seed. Gain is against the " +
    "untrained model of the same seed, in points. Area is the mean of pass@1 over the budget. Tokens per response " +
    "are held out, at the end; entropy and gradient norm are those of the last fifth of the budget. Training seconds " +
    "leave evaluations out. Point at a number for each seed's.";
  const table = el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
  const region = { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of methods" };
  section("numbers").append(...heading("numbers", "Numbers", lead), el("div", region, table));
}

/* ----------------------------------------------------------------------------------------- differences */

function differences() {
  const [first, ...others] = NAMES;
  const home = section("differences");
  const lead =
    `What a method has more than ${first} on the same seeds. Lines are 95% t-intervals over seeds (over problems ` +
    "where there is one seed), small dots the seeds. Each interval stands for itself; p is corrected by Holm's method " +
    `for the ${others.length} comparisons of one chart, so that calling all those below 0.05 real is wrong about any of ` +
    "them at most 5% of the time.";
  home.append(...heading("differences", "Differences", others.length ? lead : "There is only one method."));
  if (!others.length) return;
  const grid = el("div", { class: "forests" });
  home.append(grid);
  for (const [measure, title] of [["pass@1", "Final pass@1"], ["area", "Area"]]) {
    const rows = others.map((name) => {
      const { value, low, high, p_holm } = DATA.methods[name].difference[measure];
      const [own, base] = [name, first].map((method) => DATA.methods[method].measures[measure].by_seed);
      const seeds = Object.keys(own).filter((seed) => seed in base).map((seed) => own[seed] - base[seed]);
      return { name, value, low, high, seeds, p: p_holm };
    });
    forest(grid, `${title} less that of ${first}`, "points; p after Holm", rows);
  }
}

/* ------------------------------------------------------------------------------------------ each method */

function each() {
  const lead =
    "The same axes for all: pass@1 of one method with its band and every evaluation of its seeds, the others in grey.";
  const grid = el("div", { class: "each" });
  section("each").append(...heading("each", "Each method", lead), grid);
  const all = NAMES.map((name) => DATA.methods[name].curves["pass@1"]);
  const y = extent(all.flatMap((curve) => [...curve.y, ...curve.low, ...curve.high]));
  for (const name of NAMES) {
    const curve = DATA.methods[name].curves["pass@1"];
    const final = DATA.methods[name].measures["pass@1"].value;
    const svg = el("svg", { class: "plot small", role: "img", "aria-label": `pass@1 of ${name}` });
    const says = `${percent(curve.y[0])} \u2192 ${percent(final)}`;
    const caption = el("figcaption", {}, el("h4", {}, name), el("span", { class: "says" }, says));
    grid.append(el("figure", { class: "chart" }, caption, svg));
    const paint = () => {
      const [width, height] = [Math.max(220, svg.clientWidth || 260), 150];
      const scale = framed({ svg, width, height, frame: FRAME, x: [0, DATA.tokens], y, percent: true });
      const [left, right] = [FRAME.left, width - FRAME.right];
      for (const other of all) svg.append(el("path", { class: "others", d: polyline(pointsOf(other), scale) }));
      const start = scale.y(curve.y[0]);
      svg.append(el("line", { class: "base", x1: left, x2: right, y1: start, y2: start }));
      svg.append(el("path", { class: `band ${hue(name)}`, d: bandOf(curve, scale) }));
      for (const own of Object.values(curve.seeds))
        for (const [at, value] of pointsOf(own).filter(([tokens]) => tokens <= DATA.tokens))
          svg.append(el("circle", { class: `seed ${hue(name)}`, cx: scale.x(at), cy: scale.y(value), r: 1.8 }));
      svg.append(el("path", { class: `line ${hue(name)}`, d: polyline(pointsOf(curve), scale) }));
    };
    REDRAWN.push(paint);
    paint();
  }
}

/* ------------------------------------------------------------------------------------ settings and rerun */

const shown = (value) =>
  value === null || value === undefined ? "\u2013" : typeof value === "string" ? value : JSON.stringify(value);

function settings() {
  const keys = Object.keys(DATA.different).sort();
  const lead = "The settings in which the methods differ, from their resolved recipes. All others are the same.";
  section("settings").append(...heading("settings", "Settings", keys.length ? lead : "All settings are the same."));
  if (!keys.length) return;
  const head = ["setting", ...NAMES].map((name) => el("th", { scope: "col" }, name));
  const rows = keys.map((key) =>
    el("tr", {}, el("td", {}, key), ...NAMES.map((name) => el("td", {}, shown(DATA.different[key][name])))),
  );
  const table = el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
  section("settings").append(
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Settings that differ" }, table),
    digests("Settings that all have in common", Object.entries(DATA.shared)),
  );
}

function digests(title, pairs) {
  const rows = pairs.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, shown(value))));
  return el("details", {}, el("summary", {}, title), el("dl", { class: "digests" }, ...rows));
}

function rerun() {
  const runs = NAMES.flatMap((name) => Object.values(DATA.methods[name].runs));
  const written = new Date(1000 * DATA.built).toISOString().slice(0, 19).replace("T", " ");
  section("rerun").append(
    ...heading("rerun", "How to rerun", null),
    el("pre", { class: "command" }, DATA.command),
    el("p", { class: "note" }, "With the same --out this continues what is unfinished; with another it starts anew."),
    digests(
      "Runs, and the sha256 of the weights they ended with",
      runs.map((run) => [run.folder, run.weights_sha256]),
    ),
    el("p", { class: "note" }, `Written ${written} UTC. This page is one file and loads nothing from anywhere.`),
  );
}

const PARTS = { top: masthead, curves, numbers, differences, each, settings, rerun };
for (const [id, drawPart] of Object.entries(PARTS)) {
  try {
    drawPart();
  } catch (error) {
    console.error(error);
    section(id).append(el("p", { class: "incomplete" }, `This part could not be drawn: ${error.message}`));
  }
}
redraw(); // now that every plot has found its width
addEventListener("resize", () => requestAnimationFrame(redraw));
