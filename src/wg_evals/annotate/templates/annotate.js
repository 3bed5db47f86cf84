"use strict";
// The annotators' page. What models wrote is put into it through textContent only.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const LONG = 20000; // characters of an answer that are shown at once
  const RESERVED = new Set(["s", "i", "e"]); // keys that do something else
  const STORE = `wg-evals/annotate/${data.sample}/`;
  const byId = (id) => document.getElementById(id);
  const items = new Map(data.items.map((item) => [item.id, item]));

  let state = null; // {annotator, started, ratings, skipped, at}
  let order = []; // the annotator's own
  let active = 0; // the scale that keys speak to
  let scales = [];
  let whole = false; // whether a very long answer is shown whole
  let isKept = true; // whether the browser has kept all of the state
  let wording = null; // whether the scales' wording is shown; not said: until the first answer is done

  // ---- what is kept

  const storage = {
    read(name) {
      try {
        const kept = JSON.parse(localStorage.getItem(STORE + name));
        return kept && kept.ratings && kept.skipped ? kept : null;
      } catch {
        return null;
      }
    },
    // Another tab under the same name may have written. All that this one knows was written too, unless it could not be.
    catchUp() {
      const kept = isKept && this.read(state.annotator);
      if (kept) Object.assign(state, { ratings: kept.ratings, skipped: kept.skipped });
    },
    write() {
      try {
        localStorage.setItem(STORE + state.annotator, JSON.stringify(state));
        isKept = true;
      } catch {
        isKept = false;
        say("This browser keeps no progress: do not close the page before you have saved the file.");
      }
    },
    names() {
      try {
        return Object.keys(localStorage).filter((k) => k.startsWith(STORE)).map((k) => k.slice(STORE.length)).sort();
      } catch {
        return [];
      }
    },
  };

  // The storage of a page opened from a file, touched before the browser's own process has taken note of the page, is
  // one that nobody keeps, for as long as the page is open (Chromium 156: up to one load in twenty). Any answer
  // about the page's databases comes after that; a browser that gives none is not waited for.
  const settled = Promise.race([
    Promise.resolve().then(() => indexedDB.databases()).catch(() => {}),
    new Promise((resolve) => setTimeout(resolve, 2000)),
  ]);

  // Names that differ in capitals are one annotator's, as they are to `annotate score`.
  function asKept(annotator) {
    const fold = (name) => name.toUpperCase().toLowerCase();
    const names = storage.names();
    return names.find((n) => n === annotator) || names.find((n) => fold(n) === fold(annotator)) || annotator;
  }

  // A place for each answer that depends on the annotator and on nothing else (FNV-1a, then mixed).
  function rank(text) {
    let h = 2166136261;
    for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return (h ^ (h >>> 16)) >>> 0;
  }

  function shuffled(annotator) {
    const place = new Map([...items.keys()].map((id) => [id, rank(`${annotator}\n${id}`)]));
    return [...items.keys()].sort((a, b) => place.get(a) - place.get(b) || (a < b ? -1 : 1));
  }

  const ratings = (id) => state.ratings[id] || {};
  const isRated = (id) => data.rubrics.every((r) => r.name in ratings(id));
  const isDone = (id) => isRated(id) || id in state.skipped;
  const countDone = () => order.filter(isDone).length;
  const current = () => order[state.at];
  const isWordingShown = () => wording ?? countDone() === 0;

  // ---- what is shown

  function make(tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  // Control characters as their pictures, so that nothing in an answer is invisible.
  function visible(text) {
    return text
      .replace(/\r\n/g, "\n")
      .replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
      .replace(/\u007f/g, "\u2421");
  }

  function say(text) {
    byId("notice").textContent = text;
    byId("notice").hidden = !text;
  }

  function only(name) {
    for (const part of ["start", "work", "end"]) byId(part).hidden = part !== name;
    window.scrollTo(0, 0);
  }

  function showStart() {
    only("start");
    document.querySelector(".count").textContent = items.size;
    for (const name of storage.names()) {
      const kept = storage.read(name);
      if (!kept) continue;
      const done = new Set([...Object.keys(kept.ratings), ...Object.keys(kept.skipped)]).size;
      const button = make("button", "", `Go on as ${name} (${done} of ${items.size})`);
      button.type = "button";
      button.addEventListener("click", () => begin(name));
      byId("earlier").append(button);
    }
    byId("name").focus();
  }

  function begin(name) {
    const annotator = name.trim().replace(/\s+/g, " ");
    if (!annotator) return;
    if (data.reserved.includes(annotator.toLowerCase())) {
      byId("refused").textContent = `'${annotator}' stands for someone else in the results: take another name.`;
      return;
    }
    state = storage.read(asKept(annotator)) || { annotator, started: new Date().toISOString(), ratings: {}, skipped: {}, at: 0 };
    order = shuffled(state.annotator);
    const open = order.findIndex((id) => !isDone(id));
    goTo(open < 0 ? order.length : open);
  }

  function goTo(at) {
    state.at = Math.max(0, Math.min(at, order.length));
    whole = false;
    say("");
    storage.catchUp();
    storage.write();
    if (state.at === order.length) showEnd();
    else showItem();
  }

  function showItem() {
    only("work");
    byId("place").textContent = `Answer ${state.at + 1} of ${order.length}`;
    byId("annotator").textContent = state.annotator;
    byId("progress").max = order.length;
    byId("question").textContent = visible(items.get(current()).question);
    showAnswer();
    byId("answer").scrollTop = 0;
    const first = data.rubrics.findIndex((r) => !(r.name in ratings(current())));
    buildScales();
    activate(first < 0 ? 0 : first);
    showMarks();
  }

  function showAnswer() {
    const answer = items.get(current()).answer;
    const box = byId("answer");
    box.classList.toggle("empty", !answer.trim());
    box.textContent = answer.trim() ? visible(whole ? answer : answer.slice(0, LONG)) : "(The answer is empty.)";
    byId("more").hidden = whole || answer.length <= LONG;
    byId("more").textContent = `Show the other ${(answer.length - LONG).toLocaleString("en")} characters (E)`;
  }

  function showMarks() {
    const id = current();
    byId("done").textContent = `${countDone()} done`;
    byId("progress").value = countDone();
    byId("back").disabled = state.at === 0;
    byId("skipped").hidden = !(id in state.skipped);
    byId("skipped").textContent = `Skipped (${state.skipped[id]}). A rating takes its place.`;
    scales.forEach((scale) => scale.mark(ratings(id)[scale.rubric.name]));
  }

  function showEnd() {
    only("end");
    const skipped = Object.keys(state.skipped).length;
    const left = order.length - countDone();
    const rest = left ? ` ${left} are still open: go back to them.` : "";
    byId("summary").textContent = `${state.annotator}: ${order.length - skipped - left} answers rated, ${skipped} skipped.${rest}`;
    byId("save-end").focus();
  }

  // ---- the scales

  function letters(words) {
    const taken = new Set(RESERVED);
    return words.map((word) => {
      const free = [...word.toLowerCase()].find((c) => /[a-z]/.test(c) && !taken.has(c)) || "";
      taken.add(free);
      return free;
    });
  }

  function buildScales() {
    scales = data.rubrics.map((rubric, index) => (rubric.kind === "label" ? labelScale : ratingScale)(rubric, index));
    byId("scales").replaceChildren(...scales.map((scale) => scale.node));
  }

  function frame(rubric, index) {
    const node = make("section", "scale");
    node.dataset.rubric = rubric.name;
    const heading = make("h2", "", rubric.name);
    const tick = make("span", "tick", "");
    heading.append(tick);
    const details = make("details");
    details.open = isWordingShown();
    details.append(make("summary", "", "The full wording (I)"), make("div", "wording", rubric.wording));
    node.append(heading);
    node.addEventListener("click", () => activate(index, false));
    return { rubric, node, tick, details };
  }

  function labelScale(rubric, index) {
    const scale = frame(rubric, index);
    const words = [...Object.keys(rubric.labels), ...rubric.escapes];
    const group = make("div");
    group.setAttribute("role", "radiogroup");
    group.setAttribute("aria-label", rubric.name);
    const buttons = words.map((word, i) => {
      const button = make("button", "choice");
      button.type = "button";
      button.setAttribute("role", "radio");
      button.dataset.value = word;
      const said = make("span");
      said.append(make("strong", "", word));
      if (rubric.labels[word]) said.append(make("span", "", rubric.labels[word]));
      button.append(make("kbd", "", i < 9 ? String(i + 1) : ""), said);
      button.addEventListener("click", () => give(index, word));
      return button;
    });
    group.append(...buttons);
    scale.node.append(group, scale.details);
    return {
      ...scale,
      key(key) {
        const word = words[Number(key) - 1];
        if (/^[1-9]$/.test(key) && word) give(index, word);
      },
      focus() {
        document.activeElement.blur();
      },
      mark(value) {
        scale.tick.textContent = value === undefined ? "" : " ✓";
        for (const button of buttons) choose(button, button.dataset.value === value);
      },
    };
  }

  function ratingScale(rubric, index) {
    const scale = frame(rubric, index);
    const ends = make("dl", "ends");
    for (const [number, meaning] of [["0", rubric.low], ["100", rubric.high]]) {
      if (meaning) ends.append(make("dt", "", number), make("dd", "", meaning));
    }
    const row = make("div", "row");
    const input = make("input", "number");
    input.inputMode = "numeric";
    input.autocomplete = "off";
    input.setAttribute("aria-label", `${rubric.name}, 0 to 100`);
    input.placeholder = "0–100";
    input.addEventListener("focus", () => activate(index, false));
    input.addEventListener("input", () => {
      const text = input.value.trim();
      const number = /^\d{1,3}$/.test(text) ? Number(text) : NaN;
      say(text && !(number <= 100) ? `${rubric.name}: a whole number from 0 to 100.` : "");
      record(index, number <= 100 ? number : undefined);
      scale.tick.textContent = number <= 100 ? " ✓" : "";
      escapes.forEach((button) => choose(button, false));
    });
    const keys = letters(rubric.escapes);
    const escapes = rubric.escapes.map((word, i) => {
      const button = make("button", "escape", `${word} `);
      button.type = "button";
      button.dataset.value = word;
      button.setAttribute("role", "radio");
      if (keys[i]) button.append(make("kbd", "", keys[i].toUpperCase()));
      button.addEventListener("click", () => give(index, word));
      return button;
    });
    row.append(input, ...escapes);
    scale.node.append(ends, row, scale.details);
    return {
      ...scale,
      key(key) {
        const found = key && keys.indexOf(key.toLowerCase());
        if (found >= 0) give(index, rubric.escapes[found]);
      },
      focus() {
        input.focus({ preventScroll: true });
        input.select();
      },
      mark(value) {
        scale.tick.textContent = value === undefined ? "" : " ✓";
        input.value = typeof value === "number" ? String(value) : "";
        for (const button of escapes) choose(button, button.dataset.value === value);
      },
    };
  }

  function choose(button, chosen) {
    button.classList.toggle("chosen", chosen);
    button.setAttribute("aria-checked", String(chosen));
  }

  function activate(index, focus = true) {
    active = Math.max(0, Math.min(index, scales.length - 1));
    scales.forEach((scale, i) => scale.node.classList.toggle("active", i === active));
    if (focus) {
      scales[active].focus();
      scales[active].node.scrollIntoView({ block: "nearest" });
    }
  }

  function record(index, value) {
    const id = current();
    storage.catchUp();
    const given = { ...ratings(id) };
    if (value === undefined) delete given[data.rubrics[index].name];
    else given[data.rubrics[index].name] = value;
    if (Object.keys(given).length) state.ratings[id] = given;
    else delete state.ratings[id];
    if (value !== undefined) delete state.skipped[id];
    storage.write();
    byId("done").textContent = `${countDone()} done`;
    byId("progress").value = countDone();
  }

  function give(index, value) {
    say("");
    record(index, value);
    showMarks();
    const open = scales.findIndex((scale) => !(scale.rubric.name in ratings(current())));
    activate(open < 0 ? index : open);
  }

  function next() {
    const open = scales.findIndex((scale) => !(scale.rubric.name in ratings(current())));
    if (current() in state.skipped || open < 0) goTo(state.at + 1);
    else {
      if (active === open) say(`Still open: ${scales[open].rubric.name}. S skips the answer.`);
      activate(open);
    }
  }

  function skip() {
    byId("reason-text").value = state.skipped[current()] || "";
    byId("reason").showModal();
    byId("reason-text").focus();
  }

  function save() {
    storage.catchUp();
    const ratingsOfRated = Object.fromEntries(order.filter((id) => id in state.ratings).map((id) => [id, state.ratings[id]]));
    const saved = {
      kind: "wg-evals ratings", version: 1, sample: data.sample, annotator: state.annotator,
      started: state.started, saved: new Date().toISOString(), ratings: ratingsOfRated, skipped: state.skipped,
    };
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(saved, null, 1) + "\n"], { type: "application/json" }));
    const name = state.annotator.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "annotator";
    link.download = `ratings-${data.sample.slice(0, 8)}-${name}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    const left = order.length - countDone();
    say(left ? `Saved, with ${left} answers still open.` : "");
  }

  // ---- what is pressed

  byId("who").addEventListener("submit", (event) => {
    event.preventDefault();
    begin(byId("name").value);
  });
  byId("back").addEventListener("click", () => goTo(state.at - 1));
  byId("next").addEventListener("click", next);
  byId("skip").addEventListener("click", skip);
  byId("save").addEventListener("click", save);
  byId("save-end").addEventListener("click", save);
  byId("back-end").addEventListener("click", () => goTo(order.length - 1));
  byId("help-button").addEventListener("click", () => byId("help").showModal());
  byId("reason-cancel").addEventListener("click", () => byId("reason").close());
  byId("more").addEventListener("click", () => {
    whole = true;
    showAnswer();
  });
  byId("reason").addEventListener("submit", (event) => {
    const reason = byId("reason-text").value.trim();
    if (!reason) {
      event.preventDefault(); // a skip without a reason says nothing
      return;
    }
    storage.catchUp();
    delete state.ratings[current()];
    state.skipped[current()] = reason;
    storage.write();
    goTo(state.at + 1);
  });

  function pressedAtEnd(event) {
    if (event.key === "ArrowLeft") goTo(order.length - 1);
  }

  function toggleWording() {
    wording = !isWordingShown();
    for (const scale of scales) scale.details.open = wording;
  }

  const moves = {
    ArrowLeft: () => goTo(state.at - 1),
    ArrowRight: () => (isDone(current()) ? goTo(state.at + 1) : next()),
    ArrowUp: () => activate(active - 1),
    ArrowDown: () => activate(active + 1),
    Enter: next,
    s: skip,
    i: toggleWording,
    e: () => byId("more").click(),
    "?": () => byId("help").showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (!state || byId("reason").open || byId("help").open) return;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s") {
      event.preventDefault();
      save();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!byId("end").hidden) return pressedAtEnd(event);
    if (event.target.tagName === "BUTTON" && (event.key === "Enter" || event.key === " ")) return; // the button's own
    const move = moves[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (move) {
      event.preventDefault();
      move();
    } else if (event.key.length === 1 && !(/\d/.test(event.key) && event.target.tagName === "INPUT")) {
      event.preventDefault(); // a letter is no number: it goes to the scale, not into its field
      scales[active].key(event.key);
    }
  });

  settled.then(showStart);
})();
