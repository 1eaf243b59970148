/* The page: reads the data block and fills the sections of the template in order. */

function masthead() {
  const { run, status, answer } = DATA;
  const own = [
    ["recipe", run.recipe],
    ["model", run.model],
    ["task", run.task],
  ];
  const found = DATA.findings.filter((finding) => finding.state === "found");
  add(
    section("top"),
    el("p", { class: "eyebrow" }, "Reckon training report"),
    el("h1", {}, run.name),
    incomplete(status),
    el("p", { class: `answer ${answer.verdict}` }, el("strong", {}, answer.word), ": ", answer.says),
    answer.also ? el("p", { class: "also" }, answer.also) : null,
    keyFigures(),
    found.length
      ? el(
          "p",
          { class: "flags" },
          el("a", { href: "#findings" }, found.length === 1 ? "One finding" : `${found.length} findings`),
          ": " + found.map((finding) => finding.name.toLowerCase()).join(", ") + ".",
        )
      : null,
    facts([...own, ...machine(DATA)]),
  );
  contents([
    ["learning", "Charts"],
    ["pairs", "Before and after"],
    ["evals", "Evaluations"],
    ["rollouts", "Rollouts"],
    ["findings", "Findings"],
    ["rerun", "Rerun"],
  ]);
}

function keyFigures() {
  if (!DATA.figures.length) return null;
  return el(
    "dl",
    { class: "figures" },
    ...DATA.figures.map(({ label, before, after, percent: share }) => {
      const change = share
        ? signed(100 * (after - before), 1) + " points"
        : before
          ? signed(100 * (after / before - 1), 0) + "%"
          : signed(after - before);
      const format = share ? percent : figure;
      return keyFigure(label, format(before), format(after), change);
    }),
  );
}

const CHARTS_LEAD =
  "Dots are single steps, lines their moving mean; marks with bars are held-out evaluations with 95% intervals. " +
  "Point at a step, or focus a chart and use the arrow keys, to read all charts at that step.";

function charts() {
  const home = section("learning");
  home.append(...heading("learning", "Charts", DATA.metrics.step || DATA.evals.length ? CHARTS_LEAD : null));
  const missing = [];
  for (const [title, row] of Object.entries(ROWS_OF_CHARTS)) {
    const all = row();
    missing.push(...all.filter((spec) => !spec.series.length).map((spec) => spec.title));
    const drawn = all.filter((spec) => spec.series.length);
    if (!drawn.length) continue;
    const grid = el("div", { class: "grid-of-charts" });
    home.append(el("h3", {}, title), grid);
    drawn.forEach((spec) => addChart(grid, spec));
  }
  if (missing.length) home.append(el("p", { class: "note" }, `Not recorded in this run: ${missing.join(", ")}.`));
}

const CHANGES = {
  "wrong-right": "wrong \u2192 right",
  "right-wrong": "right \u2192 wrong",
  "wrong-wrong": "wrong \u2192 wrong",
  "right-right": "right \u2192 right",
};

function beforeAndAfter() {
  const home = section("pairs");
  const { pairs } = DATA;
  if (!pairs)
    return home.append(
      ...heading(
        "pairs",
        "Before and after",
        "It takes the samples of two evaluations to compare; this run does not have them.",
      ),
    );
  const all = Object.values(pairs.counts).reduce((a, b) => a + b, 0);
  const list = el("div", { class: "pairs" });
  const show = (kind) =>
    list.replaceChildren(...pairs.examples.filter((example) => example.kind === kind).map(pairView));
  const options = Object.entries(CHANGES).map(([value, label]) => ({ value, label, count: pairs.counts[value] || 0 }));
  const first = options.find((option) => option.count).value;
  home.append(
    ...heading(
      "pairs",
      "Before and after",
      `The same ${all} held-out attempts (problem and sample number) by the untrained and the trained model. ` +
        "Examples are taken evenly from the list of each kind, not picked. " +
        "Thinking is dimmed, counted self-check words are underlined.",
    ),
    choice("change", "Verdict before \u2192 after", options, first, show),
    list,
  );
  show(first);
}

function pairView({ question, before, after }) {
  return el(
    "article",
    { class: "pair" },
    el("h3", {}, el("bdi", {}, question)),
    el("div", { class: "sides" }, side("before", before), side("after", after)),
  );
}

function evaluations() {
  const home = section("evals");
  home.append(...heading("evals", "Evaluations", DATA.evals.length ? null : "No evaluation was recorded."));
  if (!DATA.evals.length) return;
  const row = el("div", { class: "evals" }, tableOfEvaluations(DATA.evals));
  home.append(row);
  const { before, after } = DATA.pass_at_k;
  if (Math.min(before.length, after.length) < 2) return;
  const curve = (label, y) => ({ label, marks: true, x: y.map((_, at) => at + 1), y });
  const series = [curve("before", before), curve("after", after)];
  addChart(row, curves("pass@k", "chance that one of k is right", series, { ...SHARE, axis: "k" }));
}

function tableOfEvaluations(rows) {
  const { problems, samples } = rows[0];
  const largest = (key) => Math.max(1, ...Object.keys(rows[0][key] ?? {}).map(Number));
  const [k, votes] = [largest("pass@k"), largest("cons@k")];
  const interval = ({ value, low, high }) => [
    el("b", {}, percent(value)),
    el("small", {}, ` ${percent(low)} to ${percent(high)}`),
  ];
  const columns = [
    ["step", (row) => [row.step]],
    ["pass@1, 95% interval", (row) => interval(row["pass@1"] ?? {})],
    [k > 1 && `pass@${k}`, (row) => [percent(row["pass@k"]?.[k])]],
    [votes > 1 && `cons@${votes}`, (row) => [percent(row["cons@k"]?.[votes])]],
    ["tokens", (row) => [figure(row.mean_tokens)]],
    ["truncated", (row) => [percent(row.truncated)]],
    ["self-checks", (row) => [figure(row.reflections)]],
    ["format", (row) => [percent(row.format)]],
    ["Han script", (row) => [percent(row.han)]],
    ["not judged", (row) => [row.absent ?? "\u2013"]],
    ["KL to base", (row) => [figure(row.kl_base)]],
  ].filter(([name]) => name);
  return dataTable(
    "Table of evaluations",
    `${problems} problems \u00d7 ${samples} samples each`,
    columns.map(([name]) => name),
    rows.map((row) => columns.map(([, cell]) => cell(row))),
  );
}

function findings() {
  const states = { found: "\u25b2 look here", clear: "\u2713 clear", unknown: "? unknown" };
  add(
    section("findings"),
    ...heading("findings", "Findings", "Every check this report makes, with its threshold."),
    el(
      "ul",
      { class: "findings" },
      ...DATA.findings.map(({ name, state, evidence, remedy }) =>
        el(
          "li",
          { class: state },
          el("span", { class: "state" }, states[state]),
          el(
            "div",
            {},
            el("h3", {}, name),
            el("p", {}, evidence),
            remedy ? el("p", { class: "remedy" }, remedy) : null,
          ),
        ),
      ),
    ),
    warningList(),
  );
}

const PARTS = {
  top: masthead,
  learning: charts,
  pairs: beforeAndAfter,
  evals: evaluations,
  rollouts: rolloutViewer,
  findings,
  rerun,
};
drawParts(PARTS);
