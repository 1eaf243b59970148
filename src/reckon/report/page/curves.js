/* Which curves the charts show: the columns of metrics.jsonl by training step, and the evaluations. */

/** A series over the training steps of a run or stage; null if the column holds nothing. */
function steps(label, key, { metrics } = DATA) {
  const y = metrics[key];
  return y && y.some((value) => value !== null) ? { label, x: metrics.step, y } : null;
}

/** A series over evaluations, whose values are numbers or {value, low, high}; null if none has the key. */
function evaluated(label, key, { evals } = DATA) {
  const rows = evals.filter((row) => row[key] !== null && row[key] !== undefined);
  if (!rows.length) return null;
  const series = { label, marks: true, x: rows.map((row) => row.step) };
  const values = rows.map((row) => row[key]);
  if (typeof values[0] === "number") return { ...series, y: values };
  const [y, low, high] = ["value", "low", "high"].map((name) => values.map((value) => value[name]));
  return { ...series, y, low, high };
}

/** What addChart takes; series that are null are dropped. */
function curves(title, says, series, options = {}) {
  const recorded = series.filter(Boolean);
  const log = options.log && recorded.some(({ y }) => y.some((value) => value > 0));
  return { title, says, series: recorded, zero: !log, ...options, log };
}

const SHARE = { percent: true };
const LOG = { log: true };

/** A pause in one step must not flatten all others: bars over four times the 95th percentile are cut, and flagged. */
function timePerStep(phases) {
  const spec = curves("Time per step", "seconds, stacked", phases, { stacked: true, wide: true });
  if (!spec.series.length) return spec;
  const heights = totals(spec);
  const cap = 4 * heights.toSorted((a, b) => a - b)[Math.floor(0.95 * (heights.length - 1))];
  const cut = spec.series[0].x.filter((_, at) => heights[at] > cap);
  return cut.length ? { ...spec, cap, flags: cut, says: `seconds, stacked; \u25be ${cut.length} cut off` } : spec;
}

const ROWS_OF_CHARTS = {
  "What it learnt": () => [
    curves(
      "pass@1", "share of responses that are right",
      [steps("train", "accuracy"), evaluated("held-out", "pass@1")], { ...SHARE, wide: true },
    ),
    curves("Response length", "tokens", [
      steps("all", "tokens"), steps("right", "tokens_right"), steps("wrong", "tokens_wrong"),
    ]),
    curves("Self-checks", "words per response", [steps("train", "reflections"), evaluated("held-out", "reflections")]),
    curves(
      "Reward parts", "mean, before weighting",
      Object.keys(DATA.metrics).filter((key) => key.startsWith("parts.")).map((key) => steps(key.slice(6), key)),
    ),
    curves(
      "Truncated", "share at the token limit",
      [steps("train", "truncated"), evaluated("held-out", "truncated")], SHARE,
    ),
  ],
  "How the policy moved": () => [
    curves("Entropy", "nats per token", [steps("train", "entropy")]),
    curves("KL divergence", "nats per token", [
      steps("to reference", "kl_ref"), evaluated("to base, held-out", "kl_base"),
    ]),
    curves(
      "Groups without signal", "share of groups",
      [steps("all right", "solved_all"), steps("all wrong", "solved_none")], SHARE,
    ),
  ],
  "Whether the numbers can be trusted": () => [
    curves(
      "Trainer against sampler", "mismatch, nats, log",
      [steps("k1", "mismatch_k1"), steps("k3", "mismatch_k3")], LOG,
    ),
    curves("Effective sample size", "share; 1 is on-policy", [steps("train", "ess")], { zero: false }),
    curves(
      "Gradient norm", DATA.skipped.length ? `log; \u25be ${DATA.skipped.length} skipped` : "log",
      [steps("before clipping", "grad_norm")], { ...LOG, flags: DATA.skipped },
    ),
  ],
  "Where the time went": () => [
    timePerStep(["generate", "verify", "update", "eval", "other"].map((name) => steps(name, "seconds." + name))),
    curves("Tokens per second", "in each phase", [steps("generate", "rate.generate"), steps("update", "rate.update")]),
  ],
};
