/* The graph of stages: boxes in columns by what they read, lines for what flows between them. */

const SIGNS = { finished: "\u2713", running: "\u25b8", stopped: "\u2717", waiting: "\u00b7" };
const TRACK = 11;

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

/**
 * Sizes along the flow and across it: of a box, between columns, between lanes. "turned" is top to bottom, "centred"
 * whether the boxes of a column are.
 */
function plan(room, gutter) {
  const { columns, nodes } = DATA.graph;
  const pitch = Math.min(200, Math.floor((room + 24) / columns));
  if (pitch >= 116) return { long: pitch - 26, between: 26, wide: 62, gap: 16, turned: false, centred: true };
  const most = 1 + Math.max(...nodes.map(({ lane }) => lane));
  const wide = Math.max(92, Math.min(300, (room - gutter) / most - 12));
  return { long: wide < 180 ? 60 : 44, between: 24, wide, gap: 12, turned: true, centred: false };
}

function drawGraph(svg, room) {
  const { columns, tracks, nodes, lines, trunks } = DATA.graph;
  const gutter = tracks ? tracks * TRACK + 12 : 0;
  const { long, between, wide, gap, turned, centred } = plan(room, gutter);
  const most = 1 + Math.max(...nodes.map(({ lane }) => lane));
  const breadth = (count) => count * (wide + gap) - gap;
  const stages = Object.fromEntries(DATA.stages.map((stage) => [stage.name, stage]));
  const spots = {};
  for (const { stage, column, lane } of nodes) {
    const beside = nodes.filter((node) => node.column === column).length;
    const slack = centred ? (breadth(most) - breadth(beside)) / 2 : 0;
    spots[stage] = { column, along: 1 + column * (long + between), across: 1 + gutter + slack + breadth(lane) + (lane && gap) };
  }
  const point = (along, across) => (turned ? `${across} ${along}` : `${along} ${across}`);
  const curve = (a0, c0, a1, c1) => `M${point(a0, c0)}C${point((a0 + a1) / 2, c0)} ${point((a0 + a1) / 2, c1)} ${point(a1, c1)}`;
  const flow = (stage, d) => el("path", { class: `flow ${stages[stage].makes}`, d });
  const [total, height] = [columns * (long + between) - between + 2, gutter + breadth(most) + 2];
  svg.setAttribute("width", turned ? height : total);
  svg.setAttribute("height", turned ? total : height);
  svg.replaceChildren(
    ...lines.map(([from, to]) => {
      const [a, b] = [spots[from], spots[to]];
      return flow(from, curve(a.along + long, a.across + wide / 2, b.along, b.across + wide / 2));
    }),
    ...trunks.map(({ stage, track, readers }) => {
      const [start, beside] = [spots[stage], 1 + (tracks - 1 - track + 0.5) * TRACK];
      const last = Math.max(...readers.map((reader) => spots[reader].along)) - between;
      const ways = readers.map((reader) => {
        const { along, across } = spots[reader];
        return curve(along - between, beside, along, across + 16);
      });
      const leave = curve(start.along + long, start.across + 16, start.along + long + between, beside);
      return flow(stage, `${leave}L${point(last, beside)}${ways.join("")}`);
    }),
    ...nodes.map(({ stage }) => {
      const { along, across } = spots[stage];
      const [x, y, width, tall] = turned ? [across, along, wide, long] : [along, across, long, wide];
      return box(stages[stage], x, y, width, tall);
    }),
  );
}

/** A stage: its name, its kind and time, and what it makes; on two lines where it is wide. */
function box(stage, x, y, width, height) {
  const fits = Math.floor((width - 16) / 6.5);
  const text = (line, at, name) => el("text", { class: name, x: x + 9, y: y + at }, cut(line, fits));
  const outside = stage.reads.filter(({ from }) => !from).map(({ what }) => what);
  const about = stage.kind + (stage.seconds === null ? "" : ` \u00b7 ${duration(stage.seconds)}`);
  const outcome = stage.state === "finished" ? `\u2192 ${stage.flows}` : stage.state;
  const whole =
    `${stage.name} (${stage.kind}), ${stage.state}; makes ${stage.flows}` +
    (outside.length ? `; from outside: ${[...new Set(outside)].join(", ")}` : "");
  const joint = stage.state === "finished" ? " " : " \u00b7 ";
  const lines = height < 60 ? [about + joint + outcome] : [about, outcome];
  return el(
    "g",
    { class: `stage ${stage.state}` },
    el("title", {}, whole),
    el("rect", { x: x + 0.5, y: y + 0.5, width: width - 1, height: height - 1, rx: 3 }),
    text(`${SIGNS[stage.state]} ${stage.name}`, 18, "stage-name"),
    ...lines.map((line, at) => text(line, 35 + 16 * at, "stage-says")),
  );
}

function cut(text, length) {
  return text.length > length ? text.slice(0, Math.max(1, length - 1)) + "\u2026" : text;
}
