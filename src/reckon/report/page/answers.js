/* A response as the reader sees it: its verdict, its thinking dimmed, the counted self-check words marked. */

const KINDS = { right: "right", wrong: "wrong", absent: "not judged" };

/** The verdict as a sign and words; colour only repeats it. */
function verdict({ kind, reason, finish }) {
  const sign = { right: "\u2713", wrong: "\u2717", absent: "?" }[kind];
  const said = reason && reason !== KINDS[kind] && !(kind === "right" && reason === "correct") ? `: ${reason}` : "";
  return el(
    "span",
    { class: `verdict ${kind}` },
    `${sign} ${KINDS[kind]}${said}${finish === "length" ? ", truncated" : ""}`,
  );
}

/** Text with the counted self-check words marked. */
function marked(text) {
  const latin = DATA.self_checks.latin.map((word) => word.replaceAll(" ", " +")).join("|");
  const words = new RegExp(`((?<![a-z])(?:${latin})(?![a-z])|${DATA.self_checks.han.join("|")})`, "i");
  return text.split(words).map((part, i) => (i % 2 ? el("mark", {}, part) : part));
}

/** A response under a name: {thinking, answer, kind, reason, tokens, finish, reward}; kind is null where none was given. */
function side(name, answer) {
  return el(
    "div",
    { class: "side" },
    el(
      "p",
      { class: "head" },
      el("span", {}, el("bdi", {}, name)),
      answer.kind ? verdict(answer) : null,
      answer.tokens ? el("span", {}, `${answer.tokens} tokens`) : null,
      answer.reward === null || answer.reward === undefined ? null : el("span", {}, `reward ${figure(answer.reward)}`),
    ),
    el(
      "pre",
      { dir: "auto" },
      el("span", { class: "thinking" }, ...marked(answer.thinking)),
      answer.answer || el("em", {}, " (no answer)"),
    ),
  );
}
