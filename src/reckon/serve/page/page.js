// A chat with the server that this page came from. All text is set as text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const turns = [];
let going = null;
let model = null;

function make(tag, name, text) {
  const node = document.createElement(tag);
  node.className = name;
  if (text) node.textContent = text;
  return node;
}

function headers() {
  const key = $("key").value;
  return { "content-type": "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
}

// The data of server-sent events; comments, which only keep the connection alive, are passed over.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let kept = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (kept + value).split("\n\n");
    kept = parts.pop();
    for (const part of parts) {
      if (part.startsWith("data: ") && part !== "data: [DONE]") yield JSON.parse(part.slice(6));
    }
  }
}

class Answer {
  constructor() {
    this.content = "";
    this.pieces = 0;
    this.start = performance.now();
    this.node = make("section", "assistant");
    this.thinking = make("details", "thinking working");
    this.label = make("summary", "", "Thinking");
    this.thought = make("div", "text");
    this.thinking.append(this.label, this.thought);
    this.text = make("div", "text answer");
    this.measure = make("div", "measure");
    this.node.append(this.text, this.measure);
    $("turns").append(this.node);
  }

  add(delta) {
    const thought = delta.reasoning_content ?? delta.reasoning;
    if (!thought && !delta.content) return;
    this.pieces += 1;
    if (thought) {
      if (!this.thinking.isConnected) this.node.prepend(this.thinking);
      this.thought.append(thought);
      this.label.textContent = `Thinking, ${this.seconds()} s`;
    }
    if (delta.content) {
      this.settle();
      this.content += delta.content;
      this.text.append(delta.content);
    }
    this.rate(this.pieces);
  }

  seconds() {
    return ((performance.now() - this.start) / 1000).toFixed(1);
  }

  // The thinking is over.
  settle() {
    if (!this.thinking.classList.contains("working")) return;
    this.thinking.classList.remove("working");
    this.label.textContent = `Thought for ${this.seconds()} s`;
  }

  rate(tokens) {
    const seconds = (performance.now() - this.start) / 1000;
    if (seconds > 0.2) this.measure.textContent = `${Math.round(tokens / seconds)} tokens/s`;
  }

  end(usage, finish) {
    this.settle();
    const told = [];
    if (usage) {
      const all = usage.completion_tokens;
      const thought = usage.completion_tokens_details.reasoning_tokens;
      const seconds = (performance.now() - this.start) / 1000;
      told.push(`${all} tokens${thought ? `, ${thought} of them thinking` : ""}`);
      told.push(`${seconds.toFixed(1)} s`, `${Math.round(all / Math.max(seconds, 0.001))} tokens/s`);
    }
    if (finish === "length") told.push("cut off at the limit");
    if (finish === "stopped") told.push("stopped");
    if (!this.content) this.text.replaceWith(make("div", "text none", "No answer: it ended while thinking."));
    this.measure.textContent = told.join(" · ");
  }

  fail(message) {
    this.settle();
    this.node.append(make("div", "error", message));
  }
}

function body() {
  const asked = { model, messages: turns, stream: true, stream_options: { include_usage: true } };
  asked.temperature = Number($("temperature").value || 1);
  if ($("effort").value) asked.reasoning_effort = $("effort").value;
  if ($("tokens").value) asked.max_tokens = Number($("tokens").value);
  return JSON.stringify(asked);
}

async function ask(answer) {
  const response = await fetch("v1/chat/completions", {
    method: "POST", headers: headers(), body: body(), signal: going.signal,
  });
  if (!response.ok) throw new Error((await response.json()).error.message);
  let usage = null;
  let finish = null;
  for await (const event of events(response.body)) {
    if (event.error) throw new Error(event.error.message);
    usage = event.usage ?? usage;
    for (const choice of event.choices) {
      answer.add(choice.delta);
      finish = choice.finish_reason ?? finish;
    }
    follow();
  }
  answer.end(usage, finish);
}

// Keep the newest text in view, unless the reader has scrolled away from it.
function follow() {
  const box = $("turns");
  if (box.scrollHeight - box.scrollTop - box.clientHeight < 160) box.scrollTop = box.scrollHeight;
}

async function send(question) {
  $("empty")?.remove();
  turns.push({ role: "user", content: question });
  const asked = make("section", "user");
  asked.append(make("div", "text", question));
  $("turns").append(asked);
  const answer = new Answer();
  $("turns").scrollTop = $("turns").scrollHeight;
  going = new AbortController();
  busy(true);
  try {
    if (!model) await meet();
    await ask(answer);
    turns.push({ role: "assistant", content: answer.content });
  } catch (error) {
    if (error.name === "AbortError") {
      answer.end(null, "stopped");
      turns.push({ role: "assistant", content: answer.content });
    } else {
      answer.fail(error.message);
      turns.pop();
    }
  }
  going = null;
  busy(false);
}

function busy(is) {
  $("send").hidden = is;
  $("stop").hidden = !is;
  document.body.dataset.state = is ? "busy" : "idle";
  if (!is) $("question").focus();
}

async function meet() {
  const response = await fetch("v1/models", { headers: headers() });
  if (!response.ok) throw new Error((await response.json()).error.message);
  model = (await response.json()).data[0].id;
  $("model").textContent = model;
}

function submit() {
  const question = $("question").value.trim();
  if (!question || going) return;
  $("question").value = "";
  grow();
  send(question);
}

function grow() {
  const box = $("question");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
$("question").addEventListener("input", grow);
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
});
$("stop").addEventListener("click", () => going?.abort());
$("clear").addEventListener("click", () => {
  going?.abort();
  turns.length = 0;
  $("turns").replaceChildren();
  $("question").focus();
});
$("key").value = sessionStorage.getItem("key") ?? "";
$("key").addEventListener("change", () => sessionStorage.setItem("key", $("key").value));

meet().catch(() => {}); // Without a key there is no list; the first question says so.

// A link to a question: the page's address with #ask=... asks it at once.
const linked = new URLSearchParams(location.hash.slice(1)).get("ask");
if (linked) send(linked);
