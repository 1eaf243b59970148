/* The rollout viewer: one step at a time, its groups below each other, a group's samples side by side. */

const VIEW = { at: 0, filter: "all", colour: "advantage", search: "" };

function rolloutViewer() {
  const home = section("rollouts");
  const { steps, pieces, note } = DATA.rollouts;
  home.append(...heading("rollouts", "Rollouts", note));
  if (!steps.length) return;
  VIEW.at = steps.length - 1;
  const slider = el("input", {
    type: "range",
    min: 0,
    max: steps.length - 1,
    value: VIEW.at,
    "aria-label": "Step",
    input: () => go(Number(slider.value)),
  });
  const title = el("output", { class: "step" });
  const filters = el("div", {});
  const groups = el("div", { class: "groups" });
  const detail = el("p", { class: "detail", "aria-live": "polite" });
  const search = el("input", {
    type: "search",
    placeholder: "Search in questions and responses",
    "aria-label": "Search",
    input: () => {
      VIEW.search = search.value.toLowerCase();
      show();
    },
  });

  function go(at) {
    VIEW.at = Math.min(steps.length - 1, Math.max(0, at));
    slider.value = VIEW.at;
    show();
  }

  function show() {
    const step = steps[VIEW.at];
    slider.setAttribute("aria-valuetext", `step ${step.step}`);
    title.textContent = `Step ${step.step}`;
    filters.replaceChildren(
      choice("filter", "Show", filterOptions(step), VIEW.filter, (value) => {
        VIEW.filter = value;
        show();
        filters.querySelector(":checked").focus();
      }),
    );
    groups.className = "groups by-" + VIEW.colour;
    const shown = step.groups.map((group) => groupView(group, pieces)).filter(Boolean);
    groups.replaceChildren(
      ...(shown.length ? shown : [el("p", { class: "none" }, "No response of this step matches.")]),
    );
    legend.textContent = LEGENDS[VIEW.colour];
    detail.textContent = DETAIL_HINT;
  }

  const legend = el("p", { class: "note" });
  home.append(
    el(
      "div",
      { class: "controls" },
      el(
        "div",
        { class: "stepper" },
        el("button", { type: "button", "aria-label": "Previous step", click: () => go(VIEW.at - 1) }, "\u2190"),
        slider,
        el("button", { type: "button", "aria-label": "Next step", click: () => go(VIEW.at + 1) }, "\u2192"),
        title,
      ),
      filters,
      choice(
        "colour",
        "Colour tokens by",
        [
          { value: "advantage", label: "advantage" },
          { value: "logp", label: "log-prob" },
        ],
        VIEW.colour,
        (value) => {
          VIEW.colour = value;
          show();
        },
      ),
      search,
    ),
    legend,
    groups,
    detail,
  );
  home.addEventListener("keydown", (event) => {
    if (event.target.closest("input, .tokens") || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") go(VIEW.at - 1);
    if (event.key === "ArrowRight") go(VIEW.at + 1);
  });
  readTokens(groups, detail, pieces);
  show();
}

const DETAIL_HINT =
  "Point at a token, or focus a response and use the arrow keys, to read its id, log-prob and advantage.";
const LEGENDS = {
  advantage:
    "Blue, solid underline: the update makes these tokens more likely. Orange, dotted underline: less likely. " +
    "No colour: no effect. Boxed: forced, not sampled.",
  logp: "The darker a token, the more surprising it was to the model that wrote it. Boxed: forced, not sampled.",
};

const matches = {
  all: () => true,
  right: (sample) => sample.kind === "right",
  wrong: (sample) => sample.kind === "wrong",
  truncated: (sample) => sample.finish === "length",
  absent: (sample) => sample.kind === "absent",
};

function filterOptions(step) {
  const samples = step.groups.flatMap((group) => group.samples);
  return Object.entries(matches).map(([value, test]) => ({
    value,
    label: KINDS[value] || value,
    count: samples.filter(test).length,
  }));
}

function groupView(group, pieces) {
  const asked = group.question.toLowerCase().includes(VIEW.search);
  const samples = group.samples.filter(
    (sample) => matches[VIEW.filter](sample) && (asked || textOf(sample, pieces).toLowerCase().includes(VIEW.search)),
  );
  if (!samples.length) return null;
  const right = group.samples.filter(matches.right).length;
  const scores =
    `${right} of ${group.samples.length} right` +
    (group.samples_on_disk > group.samples.length ? `, ${group.samples_on_disk} on disk` : "");
  return el(
    "article",
    { class: "group" },
    el(
      "header",
      {},
      el("h3", {}, el("bdi", {}, group.question)),
      el("p", {}, scores + " \u00b7 gold ", el("code", {}, group.gold), " \u00b7 ", el("code", {}, group.id)),
    ),
    el("div", { class: "samples" }, ...samples.map((sample) => sampleView(sample, pieces))),
  );
}

function textOf(sample, pieces) {
  return sample.text ?? sample.ids.map((id) => pieces[id]).join("");
}

function sampleView(sample, pieces) {
  const parts = Object.entries(sample.parts)
    .map(([name, value]) => `${name} ${figure(value)}`)
    .join(", ");
  const sign = sample.advantage === null || sample.advantage === 0 ? "zero" : sample.advantage > 0 ? "plus" : "minus";
  const card = el(
    "div",
    { class: `sample ${sign}` },
    el(
      "p",
      { class: "head" },
      verdict(sample),
      el("span", {}, "advantage ", el("b", {}, sample.advantage === null ? "none" : signed(sample.advantage))),
    ),
    sample.text === undefined ? tokens(sample, pieces) : el("pre", { class: "tokens", dir: "auto" }, sample.text),
    el(
      "p",
      { class: "foot" },
      `reward ${figure(sample.reward)}` +
        (parts ? ` (${parts})` : "") +
        ` \u00b7 ${sample.finish} \u00b7 ${sample.tokens} tokens` +
        (sample.extracted ? " \u00b7 read " : ""),
      sample.extracted ? el("code", {}, sample.extracted) : null,
    ),
  );
  card.style.setProperty("--weight", Math.min(1, 0.25 + Math.abs(sample.advantage || 0) / 2));
  return card;
}

function tokens(sample, pieces) {
  const forced = new Set(sample.forced);
  const box = el("pre", { class: "tokens", tabindex: 0, dir: "auto", "aria-label": "Response, token by token" });
  box.sample = sample;
  sample.ids.forEach((id, i) => {
    const token = el("span", { class: forced.has(i) ? "forced" : null }, pieces[id]);
    token.index = i;
    if (!forced.has(i)) token.style.setProperty("--surprise", Math.min(1, -(sample.logp[i] || 0) / 5).toFixed(2));
    box.append(token);
  });
  if (sample.tokens > sample.ids.length)
    box.append(el("em", {}, ` (${sample.tokens - sample.ids.length} more tokens)`));
  return box;
}

function readTokens(groups, detail, pieces) {
  let current = null;
  function read(token) {
    current?.classList.remove("current");
    current = token;
    current.classList.add("current");
    const { sample } = token.parentNode;
    const i = token.index;
    const logp = sample.logp[i];
    detail.replaceChildren(
      el("code", {}, JSON.stringify(pieces[sample.ids[i]])),
      ...[
        `token ${i + 1} of ${sample.tokens}`,
        `id ${sample.ids[i]}`,
        logp === null ? "log-prob none" : `log-prob ${signed(logp)} (${percent(Math.exp(logp))})`,
        `advantage ${sample.advantage === null ? "none" : signed(sample.advantage)}`,
        token.classList.contains("forced") ? "forced" : "sampled",
      ].map((fact) => " \u00b7 " + fact),
    );
  }
  groups.addEventListener("pointerover", (event) => event.target.index !== undefined && read(event.target));
  groups.addEventListener(
    "focusin",
    (event) => event.target.sample && event.target.firstChild?.index !== undefined && read(event.target.firstChild),
  );
  groups.addEventListener("keydown", (event) => {
    if (!event.target.sample || current?.parentNode !== event.target) return;
    const next = { ArrowRight: current.nextSibling, ArrowLeft: current.previousSibling, Home: event.target.firstChild }[
      event.key
    ];
    if (next?.index === undefined) return;
    event.preventDefault();
    read(next);
  });
}
