"use strict";
(() => {
const $ = (s, r = document) => r.querySelector(s), $$ = (s, r = document) => [...r.querySelectorAll(s)];
const root = document.documentElement;
root.classList.add("js");
const data = JSON.parse($("#data").textContent);
const make = (tag, text, cls) => { const e = document.createElement(tag); if (text !== undefined) e.textContent = text; if (cls) e.className = cls; return e; };

/* Theme: what the system says, until somebody says otherwise. */
const theme = $("#theme"), themes = ["auto", "light", "dark"];
let chosen = 0;
theme.addEventListener("click", () => {
  chosen = (chosen + 1) % 3;
  if (chosen) root.dataset.theme = themes[chosen]; else delete root.dataset.theme;
  theme.textContent = "Theme: " + themes[chosen];
});

/* Tabs are links, so that back and forward work. */
const main = $("main"), sections = $$("main > section"), tabs = $$("nav.tabs a");
function show() {
  const id = sections.some(s => "#" + s.id === location.hash) ? location.hash.slice(1) : location.hash.startsWith("#f-") ? "findings" : sections[0].id;
  for (const s of sections) s.hidden = s.id !== id;
  for (const t of tabs) t.hash === "#" + id ? t.setAttribute("aria-current", "page") : t.removeAttribute("aria-current");
  main.classList.toggle("wide", id === "diagram");
  root.classList.toggle("mapped", id === "diagram");
  if (id === "diagram") scrollTo(0, 0);
  if (location.hash.startsWith("#f-")) reveal(location.hash.slice(1));
  if (id === "diagram") started ? draw() : begin();
}

/* Findings: filtered, grouped, the ten that matter first. */
const list = $("#list"), cards = $$("details.finding"), query = $("#query"), group = $("#group"), more = $("#more");
const off = { severity: new Set(), category: new Set() };
let all = cards.length <= 14;
for (const card of cards) card.words = card.textContent.toLowerCase();
function filter() {
  const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = cards.filter(c => !off.severity.has(c.dataset.severity) && !off.category.has(c.dataset.category) && words.every(w => c.words.includes(w)));
  const narrowed = words.length || off.severity.size || off.category.size || group.value !== "harm";
  const visible = all || narrowed ? shown : shown.slice(0, 10);
  list.replaceChildren();
  if (group.value === "harm") list.append(...visible);
  else {
    const groups = new Map();
    for (const c of visible) { const k = c.dataset[group.value]; groups.has(k) ? groups.get(k).push(c) : groups.set(k, [c]); }
    for (const [k, cs] of groups) { const h = make("h2", k + " "); h.append(make("small", cs.length)); list.append(h, ...cs); }
  }
  if (!visible.length) list.append(make("p", cards.length ? "Nothing fits this filter." : "No findings: nothing in this schema looks wrong.", "empty"));
  more.hidden = visible.length === shown.length;
  more.textContent = `Show all ${shown.length} findings`;
  $("#count").textContent = visible.length === cards.length ? `${cards.length} finding${cards.length === 1 ? "" : "s"}` : `${visible.length} of ${cards.length} findings`;
}
query.addEventListener("input", filter);
group.addEventListener("change", filter);
more.addEventListener("click", () => { all = true; filter(); });
for (const b of $$("button[data-filter]")) b.addEventListener("click", () => {
  const set = off[b.dataset.filter], v = b.dataset.value, on = b.getAttribute("aria-pressed") === "true";
  on ? set.add(v) : set.delete(v);
  b.setAttribute("aria-pressed", String(!on));
  filter();
});
function reveal(id) {
  const card = document.getElementById(id) || cards.find(c => c.id === id);
  if (!card) return;
  if (!card.isConnected) { all = true; query.value = ""; for (const k in off) off[k].clear(); $$("button[data-filter]").forEach(b => b.setAttribute("aria-pressed", "true")); filter(); }
  card.open = true;
  card.scrollIntoView({ block: "center" });
  $("summary", card).focus({ preventScroll: true });
}
document.addEventListener("click", e => {
  const copy = e.target.closest("button.copy"), go = e.target.closest("button[data-table]");
  if (copy) clip($("pre", copy.parentElement).textContent, copy);
  if (go) { location.hash = "#diagram"; show(); pick(+go.dataset.table, true); }
});
async function clip(text, button) {
  let done = false;
  try { await navigator.clipboard.writeText(text); done = true; } catch {
    /* Without a clipboard, as in a file opened from disk. */
    const t = make("textarea", text); document.body.append(t); t.select();
    try { done = document.execCommand("copy"); } catch {}
    t.remove();
  }
  button.textContent = done ? "Copied" : "Select and copy";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

/* The diagram: a viewport over the picture. */
const stage = $(".stage"), svg = $(".stage svg"), panel = $(".panel"), seek = $("#seek"), found = $("#found");
let touched = false, started = false, x = 0, y = 0, zoom = 1, box, boxes = [], picked = null;
function begin() {
  started = true;
  box = svg.viewBox.baseVal;
  box = { x: box.x, y: box.y, w: box.width, h: box.height };
  svg.removeAttribute("width"); svg.removeAttribute("height");
  for (const g of $$("g.table", svg)) { boxes[+g.dataset.t] = g; g.setAttribute("tabindex", "0"); g.setAttribute("role", "button"); g.setAttribute("aria-label", data.tables[+g.dataset.t].n); }
  fit();
}
function size() { return stage.getBoundingClientRect(); }
function draw() {
  const s = size();
  if (!s.width) return;
  svg.setAttribute("viewBox", `${x} ${y} ${s.width / zoom} ${s.height / zoom}`);
  svg.classList.toggle("far", zoom < 0.5);
}
function fit() {
  touched = false;
  // The legend lies on the picture's foot: nothing is behind it at first.
  const s = size(), h = s.height - ($(".legend").offsetHeight || 0) - 16;
  zoom = Math.min(s.width / box.w, h / box.h, 1.25);
  x = box.x - (s.width / zoom - box.w) / 2; y = box.y - (h / zoom - box.h) / 2;
  draw();
}
function scale(by, cx, cy) {
  touched = true;
  const s = size(), to = Math.min(4, Math.max(Math.min(s.width / box.w, s.height / box.h) / 2, zoom * by));
  cx ??= s.width / 2; cy ??= s.height / 2;
  x += cx / zoom - cx / to; y += cy / zoom - cy / to; zoom = to; draw();
}
function center(t) {
  touched = true;
  const p = data.tables[t], s = size(), side = panel.hidden || s.width < 720 ? 0 : panel.offsetWidth, below = panel.hidden || s.width >= 720 ? 0 : panel.offsetHeight;
  if (!p.at) return;
  zoom = Math.max(zoom, 0.9);
  x = p.at[0] + p.at[2] / 2 - (s.width - side) / zoom / 2; y = p.at[1] + p.at[3] / 2 - (s.height - below) / zoom / 2; draw();
}
/* One pointer moves, two zoom. */
const pointers = new Map();
let moved = 0;
stage.addEventListener("pointerdown", e => {
  if (e.target.closest(".panel")) return;
  if (!pointers.size) moved = 0;
  pointers.set(e.pointerId, e);
});
stage.addEventListener("pointermove", e => {
  const was = pointers.get(e.pointerId);
  if (!was) return;
  const s = size();
  moved += Math.abs(e.clientX - was.clientX) + Math.abs(e.clientY - was.clientY);
  if (moved > 5 && !stage.hasPointerCapture(e.pointerId)) { stage.setPointerCapture(e.pointerId); stage.classList.add("drag"); }
  touched ||= moved > 5;
  if (pointers.size === 1) { x -= (e.clientX - was.clientX) / zoom; y -= (e.clientY - was.clientY) / zoom; draw(); }
  else {
    const other = [...pointers.values()].find(p => p.pointerId !== e.pointerId);
    const far = p => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY);
    scale(far(e) / Math.max(1, far(was)), (e.clientX + other.clientX) / 2 - s.left, (e.clientY + other.clientY) / 2 - s.top);
  }
  pointers.set(e.pointerId, e);
});
for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, e => { pointers.delete(e.pointerId); stage.classList.remove("drag"); });
stage.addEventListener("click", e => {
  if (e.target.closest(".panel") || moved > 5) return;
  const t = e.target.closest("[data-t]");
  t ? pick(+t.dataset.t, t.classList.contains("pill")) : pick(null);
});
stage.addEventListener("wheel", e => {
  if (e.target.closest(".panel")) return;
  e.preventDefault();
  const s = size();
  scale(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0016) * (e.ctrlKey ? 4 : 1)), e.clientX - s.left, e.clientY - s.top);
}, { passive: false });
stage.addEventListener("keydown", e => {
  if (e.target.closest(".panel")) return;
  const step = 80 / zoom, t = e.target.closest("[data-t]");
  const keys = { ArrowLeft: () => { x -= step; draw(); }, ArrowRight: () => { x += step; draw(); }, ArrowUp: () => { y -= step; draw(); }, ArrowDown: () => { y += step; draw(); }, "+": () => scale(1.25), "=": () => scale(1.25), "-": () => scale(0.8), "0": fit, Enter: () => t && pick(+t.dataset.t, true), " ": () => t && pick(+t.dataset.t, true) };
  if (keys[e.key] && !e.ctrlKey && !e.metaKey) { e.preventDefault(); keys[e.key](); }
});
stage.addEventListener("focusin", e => { const t = e.target.closest("g.table"); if (t && t.matches(":focus-visible")) center(+t.dataset.t); });
stage.addEventListener("scroll", () => { stage.scrollTop = stage.scrollLeft = 0; });
$("#in").addEventListener("click", () => scale(1.3));
$("#out").addEventListener("click", () => scale(1 / 1.3));
$("#fit").addEventListener("click", fit);
for (const b of $$("button[data-mode]")) b.addEventListener("click", () => {
  svg.dataset.mode = b.dataset.mode;
  for (const o of $$("button[data-mode]")) o.setAttribute("aria-pressed", String(o === b));
  if (picked !== null) pick(picked);
});
addEventListener("resize", () => { if (started && !$("#diagram").hidden) touched ? draw() : fit(); });

/* A table, with what it has to do with. */
function pick(t, move) {
  if (!started) begin();
  picked = t;
  svg.classList.toggle("picked", t !== null);
  $$(".near,.sel", svg).forEach(e => e.classList.remove("near", "sel"));
  panel.hidden = t === null;
  if (t === null) return;
  const today = svg.dataset.mode === "today", near = new Set([t]);
  for (const w of $$("g.wire", svg)) if (+w.dataset.c === t || +w.dataset.p === t) { w.classList.add("near"); near.add(+w.dataset.c); near.add(+w.dataset.p); }
  for (const e of $$("[data-t]", svg)) if (near.has(+e.dataset.t)) e.classList.add("near");
  if (boxes[t]) boxes[t].classList.add("sel");
  describe(t, today);
  if (move) center(t);
}
function describe(t, today) {
  const table = data.tables[t];
  panel.replaceChildren();
  const close = make("button", "\u00d7", "close"); close.setAttribute("aria-label", "Close"); close.addEventListener("click", () => { pick(null); stage.focus(); });
  panel.append(close, make("h2", table.n), make("p", [table.m && !today ? table.m : "", table.r === null ? "" : `about ${table.r.toLocaleString("en")} rows`, `${table.c.length} columns`].filter(Boolean).join(" \u00b7 "), "sub"));
  const body = make("tbody");
  for (const [name, type, key, mark, note] of table.c) {
    if (today && mark === "new") continue;
    const row = make("tr", undefined, today ? "" : mark);
    row.append(make("td", key, "k"), make("td", name), make("td", type + (note && !today ? ` (${note})` : ""), "t"));
    body.append(row);
  }
  const grid = make("table"); grid.append(body); panel.append(grid);
  const links = (title, items) => {
    if (!items.length) return;
    const ul = make("ul");
    for (const [text, go] of items) { const li = make("li"), b = make("button", text); b.addEventListener("click", go); li.append(b); ul.append(li); }
    panel.append(make("h3", title), ul);
  };
  const refs = data.references.filter(r => !(today && r.m === "new"));
  const mark = r => r.m === "kept" || today ? "" : ` (${r.m})`;
  links("Refers to", refs.filter(r => r.c === t).map(r => [`${r.on} \u2192 ${data.tables[r.p].n}${mark(r)}`, () => pick(r.p, true)]));
  links("Referred to by", refs.filter(r => r.p === t).map(r => [`${data.tables[r.c].n} (${r.on})${mark(r)}`, () => pick(r.c, true)]));
  links("Findings", table.f.map(id => [$(".title", cards.find(c => c.id === id)).textContent, () => { location.hash = "#" + id; }]));
  panel.scrollTop = 0;
}

/* Search by table and column. */
let hits = [], at = 0;
function look() {
  const q = seek.value.toLowerCase().trim();
  for (const b of boxes) if (b) b.classList.remove("hit");
  hits = [];
  if (q) {
    data.tables.forEach((t, i) => {
      const name = t.n.toLowerCase(), column = t.c.find(c => c[0].toLowerCase().includes(q));
      if (name.includes(q)) hits.push([name.endsWith("." + q) || name === q ? 0 : 1, i, ""]);
      else if (column) hits.push([2, i, column[0]]);
    });
    hits.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    for (const [, i] of hits) if (boxes[i]) boxes[i].classList.add("hit");
  }
  at = 0;
  found.replaceChildren(...hits.slice(0, 40).map(([, i, column], n) => {
    const li = make("li", data.tables[i].n + " "); li.id = "hit" + n; li.setAttribute("role", "option");
    if (column) li.append(make("small", column));
    li.addEventListener("pointerdown", e => { e.preventDefault(); take(n); });
    return li;
  }));
  if (q && !hits.length) { const li = make("li", "No table or column of this name"); found.append(li); }
  found.hidden = !q;
  seek.setAttribute("aria-expanded", String(!!q));
  choose();
}
function choose() { [...found.children].forEach((li, n) => li.setAttribute("aria-selected", String(n === at && hits.length > 0))); hits.length ? seek.setAttribute("aria-activedescendant", "hit" + at) : seek.removeAttribute("aria-activedescendant"); found.children[at]?.scrollIntoView({ block: "nearest" }); }
function take(n) { if (!hits[n]) return; found.hidden = true; seek.setAttribute("aria-expanded", "false"); pick(hits[n][1], true); }
seek.addEventListener("input", look);
seek.addEventListener("focus", () => { if (seek.value) look(); });
seek.addEventListener("blur", () => { found.hidden = true; });
seek.addEventListener("keydown", e => {
  const last = Math.min(hits.length, 40) - 1;
  if (e.key === "ArrowDown") { at = Math.min(last, at + 1); choose(); e.preventDefault(); }
  else if (e.key === "ArrowUp") { at = Math.max(0, at - 1); choose(); e.preventDefault(); }
  else if (e.key === "Enter") take(at);
});
addEventListener("keydown", e => {
  if (e.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) { e.preventDefault(); ($("#diagram").hidden ? query : seek).focus(); }
  if (e.key === "Escape") { if (!found.hidden) { found.hidden = true; seek.value = ""; look(); } else if (picked !== null) { pick(null); stage.focus(); } }
});

addEventListener("hashchange", show);
filter();
show();
})();
