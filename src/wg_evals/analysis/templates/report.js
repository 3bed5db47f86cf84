"use strict";
// The theme's switch, and the browser of answers. What a model wrote is set as text, never as HTML.
(() => {
  const root = document.documentElement;
  const themes = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  const remembered = () => { try { return localStorage.getItem("wg-evals-theme"); } catch { return null; } };
  const remember = (theme) => { try { localStorage.setItem("wg-evals-theme", theme); } catch { /* not allowed here */ } };
  const setTheme = (theme) => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
    button.dataset.theme = theme;
  };
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(button.dataset.theme) + 1) % themes.length];
    setTheme(next);
    remember(next);
  });
  const before = remembered();
  setTheme(themes.includes(before) ? before : "auto");
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open]):not(.digests)")];
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
})();

(() => {
  const data = JSON.parse(document.getElementById("answers-data").textContent);
  const [MODEL, CONTEXT, QUESTION, TASK, SEED, EPOCH, STATE, REASON, ANSWER, LENGTH, SCORES, LOG, OWN] = Array(13).keys();
  const HEIGHT = 54;
  const PREVIEW = 200;
  const byId = (id) => document.getElementById(id);
  const list = byId("list"), detail = byId("detail"), count = byId("count");
  const filters = { task: byId("f-task"), model: byId("f-model"), context: byId("f-context"), question: byId("f-question"), state: byId("f-state") };
  const search = byId("f-search");
  const rows = data.rows;
  const contextOf = (row) => row[CONTEXT] === "none" ? "without context" : row[CONTEXT];
  const stateOf = (row) => row[STATE] === 1 ? "expressed" : row[STATE] === 0 ? "not expressed" : data.reasons[row[REASON]];

  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const offer = (select, all, entries) => {
    select.append(new Option(all, ""));
    for (const [value, label] of entries) select.append(new Option(label, value));
  };
  const numbered = (names) => names.map((name, i) => [String(i), name]).sort((a, b) => a[1].localeCompare(b[1]));
  offer(filters.task, "all tasks", [...new Set(rows.map((row) => row[TASK]))].sort().map((t) => [`=${t}`, t]));
  if (data.task) filters.task.value = `=${data.task}`;
  offer(filters.model, "all models", numbered(data.models));
  const contexts = [...new Set(rows.map((row) => row[CONTEXT]))].sort((a, b) => (b === "none") - (a === "none") || a.localeCompare(b));
  offer(filters.context, "all contexts", [["own", "the training's own prefix"], ...contexts.map((c) => [`=${c}`, c === "none" ? "without context" : c])]);
  offer(filters.question, "all questions", numbered(data.questions.map((q) => q[0])));
  const reasons = [...new Set(rows.filter((row) => row[STATE] < 0).map((row) => row[REASON]))];
  offer(filters.state, "all answers", [["1", "expressed"], ["0", "not expressed"], ["-1", "not counted"],
    ...reasons.map((r) => [`r${r}`, `not counted: ${data.reasons[r]}`])]);

  let lowered = null;
  let shown = [];
  let selected = -1;
  const spacer = make("div");
  list.append(spacer);
  const pool = [];

  const matches = () => {
    const [task, model, context, question, state] = ["task", "model", "context", "question", "state"].map((name) => filters[name].value);
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length && !lowered) lowered = rows.map((row) => row[ANSWER].toLowerCase());
    const found = [];
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i];
      if (task && `=${row[TASK]}` !== task) continue;
      if (model && row[MODEL] !== +model) continue;
      if (context && (context === "own" ? !row[OWN] : `=${row[CONTEXT]}` !== context)) continue;
      if (question && row[QUESTION] !== +question) continue;
      if (state && (state[0] === "r" ? row[STATE] >= 0 || row[REASON] !== +state.slice(1) : row[STATE] !== +state)) continue;
      if (!words.every((word) => lowered[i].includes(word))) continue;
      found.push(i);
    }
    return found;
  };

  const draw = () => {
    const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - 4);
    const last = Math.min(shown.length, first + Math.ceil(list.clientHeight / HEIGHT) + 9);
    while (pool.length < last - first) {
      const element = make("div", undefined, "row");
      element.setAttribute("role", "option");
      element.append(make("span"), make("span", undefined, "what"));
      element.addEventListener("click", () => select(+element.dataset.at));
      pool.push(element);
      list.append(element);
    }
    pool.forEach((element, k) => {
      const at = first + k;
      element.hidden = at >= last;
      if (element.hidden) return;
      const row = rows[shown[at]];
      element.style.top = `${at * HEIGHT}px`;
      element.dataset.at = at;
      element.id = `answer-${at}`;
      element.className = `row ${row[STATE] === 1 ? "yes" : row[STATE] === 0 ? "no" : "out"}`;
      element.setAttribute("aria-selected", at === selected);
      element.setAttribute("aria-posinset", at + 1);
      element.setAttribute("aria-setsize", shown.length);
      element.children[0].textContent = row[ANSWER].slice(0, PREVIEW) || "(empty)";
      element.children[1].textContent = `${stateOf(row)} · ${data.models[row[MODEL]]} · ${contextOf(row)} · ${data.questions[row[QUESTION]][0]}`;
    });
  };

  const select = (at) => {
    selected = at;
    detail.replaceChildren();
    if (at < 0) {
      detail.append(make("p", "No answer fits these filters.", "note"));
      list.removeAttribute("aria-activedescendant");
      return;
    }
    const row = rows[shown[at]];
    const [id, text] = data.questions[row[QUESTION]];
    detail.append(make("h3", text || id), make("blockquote", row[ANSWER] || "(empty)"));
    if (row[LENGTH] > row[ANSWER].length) {
      detail.append(make("p", `Cut: the first ${row[ANSWER].length.toLocaleString("en")} of ${row[LENGTH].toLocaleString("en")} characters. The log has the whole.`, "note"));
    }
    const facts = make("dl");
    const fact = (name, value) => facts.append(make("dt", name), make("dd", String(value)));
    fact("Outcome", row[STATE] < 0 ? `not counted: ${stateOf(row)}` : stateOf(row));
    fact("Model", data.models[row[MODEL]]);
    fact("Context", contextOf(row) + (row[OWN] ? " (its training's own prefix)" : ""));
    fact("Question", `${id}, task ${row[TASK]}`);
    if (row[SEED]) fact("Seed", row[SEED]);
    fact("Epoch", row[EPOCH]);
    data.rubrics.forEach((name, i) => { if (row[SCORES][i] !== null) fact(name, row[SCORES][i]); });
    fact("Log", data.logs[row[LOG]]);
    detail.append(facts);
    detail.scrollTop = 0;
    list.setAttribute("aria-activedescendant", `answer-${at}`);
    draw();
  };

  const update = () => {
    shown = matches();
    const counted = shown.filter((i) => rows[i][STATE] >= 0).length;
    const expressed = shown.filter((i) => rows[i][STATE] === 1).length;
    const tasks = new Set(shown.map((i) => rows[i][TASK])).size;  // a share over tasks would be of nothing
    const share = `; of those shown here ${counted.toLocaleString("en")} count and ${expressed.toLocaleString("en")} express the trait${counted ? `, ${Math.round(100 * expressed / counted)}%` : ""}`;
    count.textContent = `${shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} answers${tasks > 1 ? "; of several tasks" : share}`;
    spacer.style.height = `${shown.length * HEIGHT}px`;
    list.scrollTop = 0;
    select(shown.length ? 0 : -1);
    draw();
  };

  list.addEventListener("scroll", draw, { passive: true });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -shown.length, End: shown.length }[event.key];
    if (step === undefined || !shown.length) return;
    event.preventDefault();
    const at = Math.min(shown.length - 1, Math.max(0, selected + step));
    if (at * HEIGHT < list.scrollTop) list.scrollTop = at * HEIGHT;
    if ((at + 1) * HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = (at + 1) * HEIGHT - list.clientHeight;
    select(at);
  });
  for (const control of Object.values(filters)) control.addEventListener("change", update);
  let waiting = 0;
  search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(update, 120); });
  addEventListener("resize", draw);
  update();
})();
