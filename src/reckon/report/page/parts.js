/* What the page of a run and that of a pipeline share. */

const DATA = JSON.parse(document.getElementById("data").textContent);
const section = (id) => document.getElementById(id);

/** What the reader must know before believing the rest. */
function incomplete(status) {
  const lines = DATA.notes.slice(0, 12);
  if (DATA.notes.length > 12) lines.push(`${DATA.notes.length - 12} more notes of this kind.`);
  if (status.state !== "done")
    lines.unshift(
      `This run is not complete: ${status.says}.` +
        (status.last ? ` It last wrote something at ${clock(status.last)}.` : ""),
    );
  if (status.error) lines.push(status.error);
  return lines.length
    ? el("div", { class: "incomplete", role: "note" }, ...lines.map((line) => el("p", {}, line)))
    : null;
}

function clock(seconds) {
  return new Date(1000 * seconds).toISOString().slice(0, 19).replace("T", " ") + " UTC";
}

/** The settings of a run as pairs of name and value, those without a value left out. */
function facts(pairs) {
  return el(
    "dl",
    { class: "facts" },
    ...pairs
      .filter(([, value]) => value)
      .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}

/** Where a run was made and how long it took, as facts. */
function machine({ run, status }) {
  return [
    ["seed", run.seed],
    ["status", status.says],
    ["time", status.seconds === null ? null : duration(status.seconds)],
    ["machine", [run.device, run.threads && `${run.threads} threads`].filter(Boolean).join(", ")],
    [
      "versions",
      Object.entries(run.versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(", "),
    ],
  ];
}

/** One key figure: its name, before and after, and the change in words. */
function keyFigure(label, before, after, change) {
  return el(
    "div",
    {},
    el("dt", {}, label),
    el(
      "dd",
      {},
      el("span", { class: "was" }, before),
      el("span", { class: "to" }, " \u2192 "),
      el("span", { class: "is" }, after),
      el("small", {}, change),
    ),
  );
}

/** A table that scrolls by itself where the page is too narrow; rows are lists of lists of children. */
function dataTable(name, caption, columns, rows) {
  const head = columns.map((column) => el("th", { scope: "col" }, column));
  const body = rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, ...cell))));
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": name },
    el(
      "table",
      {},
      caption ? el("caption", {}, caption) : null,
      el("thead", {}, el("tr", {}, ...head)),
      el("tbody", {}, ...body),
    ),
  );
}

/** The warnings logged, folded; null without any. */
function warningList() {
  if (!DATA.warnings.length) return null;
  const line = ({ step, stage, says }) => el("li", {}, `${stage ? stage + ", " : ""}step ${step ?? "?"}: ${says}`);
  return el(
    "details",
    {},
    el("summary", {}, `Warnings logged during the run (${DATA.warnings.length})`),
    el("ul", {}, ...DATA.warnings.map(line)),
  );
}

/** Links to the sections: pairs of id and name. */
function contents(links) {
  section("contents").append(...links.map(([id, name]) => el("a", { href: "#" + id }, name)));
}

function rerun() {
  const { command, config, lineage } = DATA.rerun;
  const flat = (value, path = "") =>
    value !== null && typeof value === "object"
      ? Object.entries(value).flatMap(([key, inner]) => flat(inner, path ? `${path}.${key}` : key))
      : [[path, value]];
  add(
    section("rerun"),
    ...heading("rerun", "How to rerun", null),
    el("pre", { class: "command" }, command),
    el(
      "p",
      { class: "note" },
      "With the same --out this continues the run, or finds it finished; with another it makes it again.",
    ),
    config ? el("details", {}, el("summary", {}, "Resolved configuration (run.yaml)"), el("pre", {}, config)) : null,
    ...lineage.map((stage) =>
      el(
        "details",
        {},
        el("summary", {}, `Lineage of stage ${stage.name ?? "?"}: digests of inputs and outputs`),
        el(
          "dl",
          { class: "digests" },
          ...flat(stage)
            .filter(([, value]) => value !== null)
            .map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value))),
        ),
      ),
    ),
    el("p", { class: "note" }, `Written ${clock(DATA.built)}. This page is one file and loads nothing from anywhere.`),
  );
}

/** Fill every section; one that cannot be drawn says so and costs no other. */
function drawParts(parts) {
  for (const [id, drawPart] of Object.entries(parts)) {
    try {
      drawPart();
    } catch (error) {
      console.error(error);
      section(id).append(el("p", { class: "incomplete" }, `This part could not be drawn: ${error.message}`));
    }
  }
}
