"use strict";
/* Small helpers. Text reaches the page through text nodes only; nothing here parses HTML. */

const SVG_TAGS = new Set(["svg", "path", "line", "text", "circle", "g", "rect"]);

/** Make an element. Children are nodes or strings; strings become text nodes; null children are left out. */
function el(tag, attributes = {}, ...children) {
  const node = SVG_TAGS.has(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  return add(node, ...children);
}

/** Append children as el does. */
function add(node, ...children) {
  node.append(
    ...children.filter((child) => child !== null && child !== undefined).map((c) => (c.nodeType ? c : String(c))),
  );
  return node;
}

const MINUS = "\u2212";

function signed(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? MINUS : "+") + text;
}

function percent(value, digits = 1) {
  return value === null || value === undefined ? "\u2013" : (100 * value).toFixed(digits) + "%";
}

/** Three significant figures, thousands grouped, small numbers as powers of ten. */
function figure(value) {
  if (value === null || value === undefined) return "\u2013";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 0.001) return power(value);
  if (size >= 100) return Math.round(value).toLocaleString("en");
  return value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

const SUPERSCRIPT = {
  "-": "\u207b",
  0: "\u2070",
  1: "\u00b9",
  2: "\u00b2",
  3: "\u00b3",
  4: "\u2074",
  5: "\u2075",
  6: "\u2076",
  7: "\u2077",
  8: "\u2078",
  9: "\u2079",
};

function power(value) {
  const [mantissa, exponent] = value.toExponential(1).split("e");
  const raised = [...String(Number(exponent))].map((digit) => SUPERSCRIPT[digit]).join("");
  return (mantissa === "1.0" ? "" : Number(mantissa) + "\u00d7") + "10" + raised;
}

function duration(seconds) {
  if (seconds === null) return "\u2013";
  if (seconds < 10) return seconds.toFixed(1) + " s";
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${s} s` : `${s} s`;
}

/** A row of radio buttons styled as quiet tabs. options: [{value, label, count}]. */
function choice(name, legend, options, chosen, onChange) {
  return el(
    "fieldset",
    { class: "choice" },
    el("legend", {}, legend),
    ...options.map(({ value, label, count }) =>
      el(
        "label",
        {},
        el("input", { type: "radio", name, value, checked: value === chosen, change: () => onChange(value) }),
        el("span", {}, label, count === undefined ? null : el("b", {}, " " + count)),
      ),
    ),
  );
}

function heading(id, title, lead) {
  return [el("h2", { id: id + "-h" }, title), lead ? el("p", { class: "lead" }, lead) : null].filter(Boolean);
}
