/* The page: reads the data block and fills the sections of the template in order. */

const DATA = JSON.parse(document.getElementById("data").textContent);
const section = (id) => document.getElementById(id);

function masthead() {
  const { run, status, answer } = DATA;
  const facts = [
    ["recipe", run.recipe], ["model", run.model], ["task", run.task], ["seed", run.seed], ["status", status.says],
    ["time", status.seconds === null ? null : duration(status.seconds)],
    ["machine", [run.device, run.threads && `${run.threads} threads`].filter(Boolean).join(", ")],
    ["versions", Object.entries(run.versions).map(([name, version]) => `${name} ${version}`).join(", ")],
  ];
  const found = DATA.findings.filter((finding) => finding.state === "found");
  add(
    section("top"),
    el("p", { class: "eyebrow" }, "Reckon training report"),
    el("h1", {}, run.name),
    incomplete(status),
    el("p", { class: `answer ${answer.verdict}` }, el("strong", {}, answer.word), (answer.verdict === "yes" || answer.verdict === "no" ? ": " : ". "), answer.says),
    answer.also ? el("p", { class: "also" }, answer.also) : null,
    keyFigures(),
    found.length
      ? el("p", { class: "flags" }, el("a", { href: "#findings" }, found.length === 1 ? "One finding" : `${found.length} findings`), ": " + found.map((finding) => finding.name.toLowerCase()).join(", ") + ".")
      : null,
    el("dl", { class: "facts" }, ...facts.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
  );
  const links = [["learning", "Charts"], ["pairs", "Before and after"], ["evals", "Evaluations"], ["rollouts", "Rollouts"], ["findings", "Findings"], ["rerun", "Rerun"]];
  section("contents").append(...links.map(([id, name]) => el("a", { href: "#" + id }, name)));
}

/** What the reader must know before believing the rest. */
function incomplete(status) {
  const lines = DATA.notes.slice(0, 12);
  if (DATA.notes.length > 12) lines.push(`${DATA.notes.length - 12} more notes of this kind.`);
  if (status.state !== "done") lines.unshift(`This run is not complete: ${status.says}.` + (status.last ? ` It last wrote something at ${clock(status.last)}.` : ""));
  if (status.error) lines.push(status.error);
  return lines.length ? el("div", { class: "incomplete", role: "note" }, ...lines.map((line) => el("p", {}, line))) : null;
}

function clock(seconds) {
  return new Date(1000 * seconds).toISOString().slice(0, 19).replace("T", " ") + " UTC";
}

function keyFigures() {
  if (!DATA.figures.length) return null;
  return el(
    "dl", { class: "figures" },
    ...DATA.figures.map(({ label, before, after, percent: share }) => {
      const change = share ? signed(100 * (after - before), 1) + " points" : before ? signed(100 * (after / before - 1), 0) + "%" : signed(after - before);
      const format = share ? percent : figure;
      return el("div", {}, el("dt", {}, label), el("dd", {}, el("span", { class: "was" }, format(before)), el("span", { class: "to" }, " \u2192 "), el("span", { class: "is" }, format(after)), el("small", {}, change)));
    }),
  );
}

/** A series over training steps, null if the column holds nothing. */
function steps(label, key) {
  const y = DATA.metrics[key];
  return y && y.some((value) => value !== null) ? { label, x: DATA.metrics.step, y } : null;
}

/** A series over evaluations; values are numbers or {value, low, high}. */
function evaluated(label, key) {
  const rows = DATA.evals.filter((row) => row[key] !== null && row[key] !== undefined);
  if (!rows.length) return null;
  const [x, value] = [rows.map((row) => row.step), (name) => rows.map((row) => row[key][name])];
  if (typeof rows[0][key] === "number") return { label, marks: true, x, y: rows.map((row) => row[key]) };
  return { label, marks: true, x, y: value("value"), low: value("low"), high: value("high") };
}

function chartSpecs() {
  const parts = Object.keys(DATA.metrics).filter((key) => key.startsWith("parts."));
  const { skipped } = DATA;
  const named = (prefix, names) => names.map((name) => steps(name, prefix + name));
  return [
    ["What it learnt", [
      { title: "pass@1", says: "share of responses that are right", wide: true, percent: true, zero: true, series: [steps("train", "accuracy"), evaluated("held-out", "pass@1")] },
      { title: "Response length", says: "tokens", zero: true, series: [steps("all", "tokens"), steps("right", "tokens_right"), steps("wrong", "tokens_wrong")] },
      { title: "Self-checks", says: "words per response", zero: true, series: [steps("train", "reflections"), evaluated("held-out", "reflections")] },
      { title: "Reward parts", says: "mean, before weighting", zero: true, series: parts.map((key) => steps(key.slice(6), key)) },
      { title: "Truncated", says: "share at the token limit", percent: true, zero: true, series: [steps("train", "truncated"), evaluated("held-out", "truncated")] },
    ]],
    ["How the policy moved", [
      { title: "Entropy", says: "nats per token", zero: true, series: [steps("train", "entropy")] },
      { title: "KL divergence", says: "nats per token", zero: true, series: [steps("to reference", "kl_ref"), evaluated("to base, held-out", "kl_base")] },
      { title: "Groups without signal", says: "share of groups", percent: true, zero: true, series: [steps("all right", "solved_all"), steps("all wrong", "solved_none")] },
    ]],
    ["Whether the numbers can be trusted", [
      { title: "Trainer against sampler", says: "mismatch, nats, log", log: true, series: [steps("k1", "mismatch_k1"), steps("k3", "mismatch_k3")] },
      { title: "Effective sample size", says: "share; 1 is on-policy", series: [steps("train", "ess")] },
      { title: "Gradient norm", says: skipped.length ? `log; \u25be ${skipped.length} skipped` : "log", log: true, flags: skipped, series: [steps("before clipping", "grad_norm")] },
    ]],
    ["Where the time went", [
      { title: "Time per step", says: "seconds, stacked", wide: true, stacked: true, zero: true, series: named("seconds.", ["generate", "verify", "update", "eval", "other"]) },
      { title: "Tokens per second", says: "in each phase", zero: true, series: [steps("generate", "rate.generate"), steps("update", "rate.update")] },
    ]],
  ];
}

function charts() {
  const home = section("learning");
  home.append(...heading("learning", "Charts", "Dots are single steps, lines their moving mean; marks with bars are held-out evaluations with 95% intervals. Point at a step, or focus a chart and use the arrow keys, to read all charts at that step."));
  const missing = [];
  for (const [title, specs] of chartSpecs()) {
    const drawn = specs.map((spec) => ({ ...spec, series: spec.series.filter(Boolean) })).filter((spec) => spec.series.length || !missing.push(spec.title.toLowerCase()));
    if (!drawn.length) continue;
    const grid = el("div", { class: "grid-of-charts" });
    home.append(el("h3", {}, title), grid);
    drawn.forEach((spec) => addChart(grid, spec));
  }
  if (missing.length) home.append(el("p", { class: "note" }, `Not recorded in this run: ${missing.join(", ")}.`));
}

const CHANGES = { "wrong-right": "wrong \u2192 right", "right-wrong": "right \u2192 wrong", "wrong-wrong": "wrong \u2192 wrong", "right-right": "right \u2192 right" };

function beforeAndAfter() {
  const home = section("pairs");
  const { pairs } = DATA;
  if (!pairs) return home.append(...heading("pairs", "Before and after", "It takes the samples of two evaluations to compare; this run does not have them."));
  const all = Object.values(pairs.counts).reduce((a, b) => a + b, 0);
  const list = el("div", { class: "pairs" });
  const show = (kind) => list.replaceChildren(...pairs.examples.filter((example) => example.kind === kind).map(pairView));
  const options = Object.entries(CHANGES).map(([value, label]) => ({ value, label, count: pairs.counts[value] || 0 }));
  const first = options.find((option) => option.count).value;
  home.append(
    ...heading("pairs", "Before and after", `The same ${all} held-out attempts (problem and sample number) by the untrained and the trained model. Examples are taken evenly from the list of each kind, not picked. Thinking is dimmed, counted self-check words are underlined.`),
    choice("change", "Verdict before \u2192 after", options, first, show), list,
  );
  show(first);
}

/** Text with the counted self-check words marked. */
function marked(text) {
  const latin = DATA.self_checks.latin.map((word) => word.replaceAll(" ", " +")).join("|");
  const words = new RegExp(`((?<![a-z])(?:${latin})(?![a-z])|${DATA.self_checks.han.join("|")})`, "i");
  return text.split(words).map((part, i) => (i % 2 ? el("mark", {}, part) : part));
}

function pairView({ question, before, after }) {
  const side = (name, answer) => el(
    "div", { class: "side" },
    el("p", { class: "head" }, el("span", {}, name), verdict(answer), el("span", {}, `${answer.tokens} tokens`)),
    el("pre", { dir: "auto" }, el("span", { class: "thinking" }, ...marked(answer.thinking)), answer.answer || el("em", {}, " (no answer)")),
  );
  return el("article", { class: "pair" }, el("h3", {}, el("bdi", {}, question)), el("div", { class: "sides" }, side("before", before), side("after", after)));
}

function evaluations() {
  const home = section("evals");
  home.append(...heading("evals", "Evaluations", DATA.evals.length ? null : "No evaluation was recorded."));
  if (!DATA.evals.length) return;
  const { before, after } = DATA.pass_at_k;
  const series = [["before", before], ["after", after]].filter(([, y]) => y.length).map(([label, y]) => ({ label, marks: true, x: y.map((_, at) => at + 1), y }));
  const row = el("div", { class: "evals" });
  home.append(row);
  const last = (values) => (values && Object.keys(values).length ? Object.entries(values).reduce((a, b) => (Number(b[0]) > Number(a[0]) ? b : a)) : [null, null]);
  const [k, votes] = [last(DATA.evals[0]["pass@k"])[0], last(DATA.evals[0]["cons@k"])[0]];
  const interval = (p) => (p ? [el("b", {}, percent(p.value)), el("small", {}, ` ${percent(p.low)} to ${percent(p.high)}`)] : ["\u2013"]);
  const columns = [
    ["step", (e) => [e.step]], ["pass@1, 95% interval", (e) => interval(e["pass@1"])],
    [k && k !== "1" ? `pass@${k}` : null, (e) => [percent(e["pass@k"]?.[k])]], [votes && `cons@${votes}`, (e) => [percent(e["cons@k"]?.[votes])]],
    ["tokens", (e) => [figure(e.mean_tokens)]], ["truncated", (e) => [percent(e.truncated)]], ["self-checks", (e) => [figure(e.reflections)]],
    ["format", (e) => [percent(e.format)]], ["Han script", (e) => [percent(e.han)]], ["not judged", (e) => [e.absent ?? "\u2013"]], ["KL to base", (e) => [figure(e.kl_base)]],
  ].filter(([name]) => name);
  const { problems, samples } = DATA.evals[0];
  row.append(el(
    "div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of evaluations" },
    el("table", {}, el("caption", {}, `${problems} problems \u00d7 ${samples} samples each`), el("thead", {}, el("tr", {}, ...columns.map(([name]) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...DATA.evals.map((e) => el("tr", {}, ...columns.map(([, cell]) => el("td", {}, ...cell(e))))))),
  ));
  if (series.length === 2 && before.length > 1) addChart(row, { title: "pass@k", says: "chance that one of k is right", percent: true, zero: true, axis: "k", series });
}

function findings() {
  const states = { found: "\u25b2 look here", clear: "\u2713 clear", unknown: "? unknown" };
  add(
    section("findings"),
    ...heading("findings", "Findings", "Every check this report makes, with its threshold."),
    el("ul", { class: "findings" }, ...DATA.findings.map(({ name, state, evidence, remedy }) =>
      el("li", { class: state }, el("span", { class: "state" }, states[state]), el("div", {}, el("h3", {}, name), el("p", {}, evidence), remedy ? el("p", { class: "remedy" }, remedy) : null)))),
    DATA.warnings.length
      ? el("details", {}, el("summary", {}, `Warnings logged during the run (${DATA.warnings.length})`), el("ul", {}, ...DATA.warnings.map(({ step, says }) => el("li", {}, `step ${step ?? "?"}: ${says}`))))
      : null,
  );
}

function rerun() {
  const { command, config, lineage } = DATA.rerun;
  const flat = (value, path = "") => value !== null && typeof value === "object"
    ? Object.entries(value).flatMap(([key, inner]) => flat(inner, path ? `${path}.${key}` : key))
    : [[path, value]];
  add(
    section("rerun"),
    ...heading("rerun", "How to rerun", null),
    el("pre", { class: "command" }, command),
    config ? el("details", {}, el("summary", {}, "Resolved configuration (run.yaml)"), el("pre", {}, config)) : null,
    ...lineage.map((stage) => el("details", {}, el("summary", {}, `Lineage of stage ${stage.name ?? "?"}: digests of inputs and outputs`),
      el("dl", { class: "digests" }, ...flat(stage).filter(([, value]) => value !== null && value !== undefined).map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, key === "started" || key === "ended" ? clock(value) : value)))))),
    el("p", { class: "note" }, `Written ${clock(DATA.built)}. This page is one file and loads nothing from anywhere.`),
  );
}

masthead();
charts();
beforeAndAfter();
evaluations();
rolloutViewer(section("rollouts"), DATA.rollouts);
findings();
rerun();
