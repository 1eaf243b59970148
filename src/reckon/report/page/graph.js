/* The graph of stages: boxes in columns by what they read, lines for what flows between them. */

const BOX = { height: 64, gap: 16, widest: 176, narrowest: 90, between: 26, pass: 16 };
const SIGNS = { finished: "\u2713", running: "\u25b8", stopped: "\u2717", waiting: "\u00b7" };

/** Draw DATA.graph into an element: left to right where there is room, else from top to bottom. */
function stageGraph(home) {
  const svg = el("svg", { class: "graph", role: "img", "aria-label": describeGraph() });
  home.append(svg);
  const redrawn = () => drawGraph(svg, home.clientWidth || 1100);
  addEventListener("resize", () => requestAnimationFrame(redrawn));
  redrawn();
}

function describeGraph() {
  const reads = ({ name, state, reads: sources }) =>
    `${name}, ${state}, reads ${sources.map(({ what }) => what).join(" and ") || "nothing"}`;
  return `The stages: ${DATA.stages.map(reads).join("; ")}.`;
}

function drawGraph(svg, room) {
  const { columns, cells, lines } = DATA.graph;
  const across = Math.min(BOX.widest, Math.floor((room + BOX.between) / columns) - BOX.between);
  const place = across >= BOX.narrowest ? leftToRight(across) : topToBottom(room);
  const spots = cells.map((cell) => ({ ...cell, ...place.spot(cell) }));
  svg.setAttribute("viewBox", `0 0 ${place.width} ${place.height}`);
  svg.setAttribute("width", place.width);
  const makes = Object.fromEntries(DATA.stages.map(({ name, makes: what }) => [name, what]));
  svg.replaceChildren(
    ...lines.map(([start, end]) =>
      el("path", { class: `flow ${makes[spots[start].stage]}`, d: place.way(spots[start], spots[end]) }),
    ),
    ...spots.map((spot) =>
      spot.passing
        ? el("path", { class: `flow ${makes[spot.stage]}`, d: place.through(spot) })
        : box(DATA.stages.find(({ name }) => name === spot.stage), spot),
    ),
  );
}

/** Cells of a column below each other, every column centred. */
function leftToRight(width) {
  const stacks = byColumn();
  const tall = (cell) => (cell.passing ? BOX.pass : BOX.height);
  const heights = stacks.map((stack) => extent(stack, tall, BOX.gap));
  const height = Math.max(...heights);
  return {
    width: stacks.length * (width + BOX.between) - BOX.between,
    height: height + 2,
    spot(cell) {
      const before = stacks[cell.column].filter(({ lane }) => lane < cell.lane);
      const y = 1 + (height - heights[cell.column]) / 2 + extent(before, tall, BOX.gap) + (before.length && BOX.gap);
      return { x: cell.column * (width + BOX.between), y, width, height: tall(cell) };
    },
    way(a, b) {
      const [x0, y0, x1, y1] = [a.x + a.width, a.y + a.height / 2, b.x, b.y + b.height / 2];
      return `M${x0} ${y0}C${(x0 + x1) / 2} ${y0} ${(x0 + x1) / 2} ${y1} ${x1} ${y1}`;
    },
    through: ({ x, y, width: long, height: high }) => `M${x} ${y + high / 2}h${long}`,
  };
}

/** Cells of a column beside each other, for narrow pages and long pipelines. */
function topToBottom(room) {
  const stacks = byColumn();
  const most = Math.max(...stacks.map((stack) => stack.filter(({ passing }) => !passing).length));
  const lines = Math.max(...stacks.map((stack) => stack.filter(({ passing }) => passing).length));
  const wide = Math.max(84, Math.min(BOX.widest, (room - lines * (BOX.pass + 8)) / most - 8));
  const long = (cell) => (cell.passing ? BOX.pass : wide);
  const widths = stacks.map((stack) => extent(stack, long, 8));
  const width = Math.max(...widths, Math.min(room, 340));
  return {
    width,
    height: stacks.length * (BOX.height + BOX.between) - BOX.between + 2,
    spot(cell) {
      const before = stacks[cell.column].filter(({ lane }) => lane < cell.lane);
      const x = (width - widths[cell.column]) / 2 + extent(before, long, 8) + (before.length && 8);
      return { x, y: 1 + cell.column * (BOX.height + BOX.between), width: long(cell), height: BOX.height };
    },
    way(a, b) {
      const [x0, y0, x1, y1] = [a.x + a.width / 2, a.y + a.height, b.x + b.width / 2, b.y];
      return `M${x0} ${y0}C${x0} ${(y0 + y1) / 2} ${x1} ${(y0 + y1) / 2} ${x1} ${y1}`;
    },
    through: ({ x, y, width: across, height: high }) => `M${x + across / 2} ${y}v${high}`,
  };
}

const byColumn = () =>
  Array.from({ length: DATA.graph.columns }, (_, at) => DATA.graph.cells.filter(({ column }) => column === at));

const extent = (cells, size, gap) =>
  cells.reduce((sum, cell) => sum + size(cell) + gap, 0) - (cells.length ? gap : 0);

/** A stage: its name, its kind and time, and what it makes. */
function box(stage, { x, y, width, height }) {
  const fits = Math.floor((width - 14) / 6.4);
  const line = (text, at, name) => el("text", { class: name, x: x + 8, y: y + at }, cut(text, fits));
  const outside = stage.reads.filter(({ from }) => !from).map(({ what }) => what);
  const took = stage.seconds === null ? "" : ` \u00b7 ${duration(stage.seconds)}`;
  return el(
    "g",
    { class: `stage ${stage.state}` },
    el("title", {}, `${stage.name} (${stage.kind}), ${stage.state}; makes ${stage.flows}` +
      (outside.length ? `; from outside: ${[...new Set(outside)].join(", ")}` : "")),
    el("rect", { x: x + 0.5, y: y + 0.5, width: width - 1, height: height - 1, rx: 3 }),
    line(`${SIGNS[stage.state]} ${stage.name}`, 19, "stage-name"),
    line(stage.kind + took, 36, "stage-says"),
    line(stage.state === "finished" ? `\u2192 ${stage.flows}` : stage.state, 53, "stage-says"),
  );
}

function cut(text, length) {
  return text.length > length ? text.slice(0, Math.max(1, length - 1)) + "\u2026" : text;
}
