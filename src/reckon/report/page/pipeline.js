/* The page of a pipeline: reads the data block and fills the sections of the template in order. */

function masthead() {
  const { run, status, answer } = DATA;
  const finished = DATA.stages.filter(({ state }) => state === "finished").length;
  add(
    section("top"),
    el("p", { class: "eyebrow" }, DATA.stages.length > 1 ? "Reckon pipeline report" : "Reckon report"),
    el("h1", {}, run.name),
    incomplete(status),
    el("p", { class: `answer ${answer.verdict}` }, el("strong", {}, answer.word), ": ", answer.says),
    answer.sets.length ? el("dl", { class: "figures" }, ...answer.sets.map(gained)) : null,
    facts([["recipe", run.recipe], ["stages", `${finished} of ${DATA.stages.length} finished`], ...machine(DATA)]),
  );
  contents([
    ["stages", "Stages"],
    ["table", "Table"],
    ["curves", "Curves"],
    ["ledger", "Data ledger"],
    ["examples", "Examples"],
    ["cost", "Cost"],
    ["findings", "Findings"],
    ["rerun", "Rerun"],
  ]);
}

const POINTS = (value) => signed(100 * value, 1);

function gained({ task, before, after, gain }) {
  const change = gain ? `${POINTS(gain.value)} points (${POINTS(gain.low)} to ${POINTS(gain.high)})` : "no paired gain";
  return keyFigure(task, percent(before.value), percent(after.value), change);
}

/* ---------------------------------------------------------------------------------------------- stages */

function stages() {
  const home = section("stages");
  const lead =
    "What each stage read and made. Solid lines carry a model, dashed ones rows of data; models and files from outside " +
    "the run are listed below.";
  const graph = el("div", { class: "scroll graph-box" });
  home.append(...heading("stages", "Stages", lead), graph);
  stageGraph(graph);
  const list = (sources) => sources.map(({ what }) => what).filter((what, at, all) => all.indexOf(what) === at);
  const columns = ["stage", "kind", "status", "reads", "makes", "result"];
  const rows = DATA.stages.map((stage) => [
    [stage.report ? el("a", { href: stage.report }, stage.name) : stage.name],
    [stage.kind],
    [el("span", { class: stage.state }, `${SIGNS[stage.state]} ${stage.state}`)],
    [list(stage.reads).join(", ") || "\u2013"],
    [stage.flows],
    [stage.result || "\u2013"],
  ]);
  const table = dataTable("List of stages", null, columns, rows);
  table.classList.add("words");
  home.append(table);
  if (DATA.stages.some(({ report }) => report))
    home.append(
      el("p", { class: "note" }, "A linked stage has a report of its own, in the folder of the stage beside this file."),
    );
}

/* ------------------------------------------------------------------------------------- models by tasks */

const MEASURES = {
  "pass@1": (cell) => [
    el("b", {}, percent(cell["pass@1"]?.value)),
    el("small", {}, ` ${percent(cell["pass@1"]?.low)} to ${percent(cell["pass@1"]?.high)}`),
    cell.gain ? el("small", { class: `gain ${sureness(cell.gain)}` }, `${POINTS(cell.gain.value)} points`) : null,
  ],
  format: (cell) => [percent(cell.format)],
  "language mixing": (cell) => [percent(cell.han)],
  tokens: (cell) => [figure(cell.mean_tokens)],
  truncated: (cell) => [percent(cell.truncated)],
};

const sureness = ({ low, high }) => (low > 0 ? "more" : high < 0 ? "less" : "open");

function modelsByTasks() {
  const home = section("table");
  const lead =
    "Every model on the same held-out problems: pass@1 with its 95% interval, and the gain over the first row, paired " +
    "by problem; it is coloured where its own 95% interval leaves out zero. Language mixing is the share of responses " +
    "with Han script.";
  home.append(...heading("table", "Models by tasks", DATA.tables.length ? lead : "No stage has evaluated models yet."));
  for (const table of DATA.tables) {
    const several = DATA.tables.length > 1 ? `${table.stage}: ` : "";
    const some = Object.values(table.cells)[0];
    const { problems, samples } = Object.values(some)[0];
    home.append(measureTable(table, "pass@1", `${several}${problems} problems \u00d7 ${samples} samples of each task`));
    const others = el("div", { class: "measures" });
    Object.keys(MEASURES)
      .slice(1)
      .forEach((measure) => others.append(measureTable(table, measure, several + measure)));
    home.append(others);
  }
}

function measureTable({ models, tasks, cells }, measure, caption) {
  const cell = (model, task) => (cells[model][task] ? MEASURES[measure](cells[model][task]).filter(Boolean) : ["\u2013"]);
  const rows = models.map((model) => [[model], ...tasks.map((task) => cell(model, task))]);
  return dataTable(`${measure} by model and task`, caption, ["model", ...tasks], rows);
}

/* ---------------------------------------------------------------------------------------------- curves */

function trainingCurves() {
  const home = section("curves");
  const lead = "One row for each stage that trains. Dots are single steps, marks with bars held-out evaluations with 95% intervals.";
  home.append(...heading("curves", "Curves", DATA.curves.length ? lead : "No stage has trained yet."));
  for (const stage of DATA.curves) {
    const charts = chartsOf(stage).filter((spec) => spec.series.length);
    if (!charts.length) continue;
    const grid = el("div", { class: "grid-of-charts small" });
    home.append(el("h3", {}, stage.stage, el("small", {}, ` ${stage.kind}`)), grid);
    charts.forEach((spec) => addChart(grid, { ...spec, group: stage.stage }));
  }
}

function chartsOf(stage) {
  const heldOut = (key) => evaluated("held-out", key, stage);
  const train = (key, label = "train") => steps(label, key, stage);
  const loss = curves("Loss", "nats", [train("loss"), heldOut("loss")]);
  // What is only imitated or compared has no verdicts: its accuracy would be that of nothing.
  if (stage.kind === "reward")
    return [curves("Preferences right", "share, held-out", [heldOut("accuracy")], SHARE), loss];
  if (stage.kind === "sft") return [loss, curves("Length", "tokens of the examples", [train("tokens")])];
  const passed = curves("pass@1", "share", [train("accuracy"), heldOut("pass@1")], SHARE);
  if (stage.kind === "pretrain") return [passed, loss];
  return [
    passed,
    curves("Reward", "mean", [train("reward")]),
    curves("Length", "tokens", [train("tokens", "all"), train("tokens_right", "right"), train("tokens_wrong", "wrong")]),
    curves("Entropy", "nats per token", [train("entropy")]),
  ];
}

/* ---------------------------------------------------------------------------------------------- ledger */

const count = (value) => (value === null || value === undefined ? "\u2013" : value.toLocaleString("en"));

function dataLedger() {
  const home = section("ledger");
  const lead = "Every operation on the data, how many rows went in and came out, and why the others were dropped.";
  home.append(...heading("ledger", "Data ledger", DATA.ledgers.length ? lead : "No stage has curated data yet."));
  for (const ledger of DATA.ledgers) {
    const most = Math.max(1, ...ledger.operations.map((entry) => entry.in ?? 0));
    const rows = ledger.operations.map((entry) => [
      [entry.operation],
      [count(entry.in)],
      [count(entry.out), bar((entry.out ?? 0) / most)],
      [
        Object.entries(entry.dropped)
          .map(([why, dropped]) => `${count(dropped)} ${why}`)
          .join(", ") || "\u2013",
      ],
    ]);
    const table = dataTable(`Operations of ${ledger.stage}`, null, ["operation", "in", "out", "dropped"], rows);
    table.classList.add("words", "operations");
    home.append(el("h3", {}, ledger.stage), table, flows("by source", ledger.inputs), flows("by task", ledger.tasks));
  }
}

function flows(title, sides) {
  const said = Object.entries(sides).map(([name, side]) => `${name} ${count(side.in)} \u2192 ${count(side.out)}`);
  return el("p", { class: "flows" }, said.length ? `${title}: ${said.join(", ")}` : "");
}

/** A share of a whole as a bar; the number stands beside it. */
function bar(share) {
  const svg = el("svg", { class: "bar-of", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" });
  return add(svg, el("rect", { width: 100, height: 6 }), el("rect", { class: "part", width: 100 * share, height: 6 }));
}

/* -------------------------------------------------------------------------------------------- examples */

function stageExamples() {
  const home = section("examples");
  if (!DATA.examples.length) return home.append(...heading("examples", "Examples", "No stage has made any yet."));
  const list = el("div", {});
  const show = (name) => {
    const { says, items } = DATA.examples.find(({ stage }) => stage === name);
    list.replaceChildren(el("p", { class: "note" }, says), ...items.map(exampleView));
  };
  const options = DATA.examples.map(({ stage }) => ({ value: stage, label: stage }));
  home.append(
    ...heading("examples", "Examples", "None is picked: the rule is said below the name of the stage. Thinking is dimmed."),
    choice("stage", "Stage", options, options[0].value, show),
    list,
  );
  show(options[0].value);
}

function exampleView({ question, note, dropped, sides }) {
  return el(
    "article",
    { class: "pair" },
    el("h3", {}, el("bdi", {}, question)),
    el(
      "p",
      { class: "note" },
      note,
      dropped ? el("span", { class: "dropped" }, `${note ? " \u00b7 " : ""}dropped by ${dropped}`) : null,
    ),
    el("div", { class: "sides" }, ...sides.map((each) => side(each.head, each))),
  );
}

/* ------------------------------------------------------------------------------------ cost and findings */

function cost() {
  const sum = (key) => DATA.stages.reduce((total, stage) => total + (stage[key] ?? 0), 0);
  const line = ({ name, kind, seconds, share, generated, trained }) => [
    [name],
    [kind],
    [duration(seconds)],
    [percent(share, 0), bar(share ?? 0)],
    [count(generated)],
    [count(trained)],
  ];
  const all = { name: "all", kind: "", share: 1, seconds: sum("seconds") };
  const rows = [...DATA.stages, { ...all, generated: sum("generated"), trained: sum("trained") }].map(line);
  const lead = "Wall time, and tokens generated and trained on; those of evaluations during training are not counted.";
  const table = dataTable(
    "Cost of each stage",
    null,
    ["stage", "kind", "time", "share", "tokens generated", "tokens trained on"],
    rows,
  );
  table.classList.add("cost");
  section("cost").append(...heading("cost", "Cost", lead), table);
}

function findings() {
  const lead = DATA.findings.length
    ? "What the checks found in stages of reinforcement learning; all checks are in the report of the stage."
    : "The checks found nothing in the stages of reinforcement learning so far.";
  const found = DATA.findings.map(({ stage, name, evidence, remedy }) =>
    el(
      "li",
      { class: "found" },
      el("span", { class: "state" }, stage),
      el("div", {}, el("h3", {}, name), el("p", {}, evidence), el("p", { class: "remedy" }, remedy)),
    ),
  );
  add(
    section("findings"),
    ...heading("findings", "Findings and warnings", lead),
    found.length ? el("ul", { class: "findings" }, ...found) : null,
    warningList(),
  );
}

drawParts({
  top: masthead,
  stages,
  table: modelsByTasks,
  curves: trainingCurves,
  ledger: dataLedger,
  examples: stageExamples,
  cost,
  findings,
  rerun,
});
