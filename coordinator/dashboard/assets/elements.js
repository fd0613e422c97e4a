// DOM without HTML strings, numbers as people read them, and redrawing without losing one's place.

// element("td", {class: "n"}, "12"); null and false children are left out.
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key === "width") node.style.width = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== false && c !== undefined));
  return node;
}

const drawn = new Map();  // id -> what it was drawn from

// Draws what belongs into #id again if `data` is other data than last time.  Focus, opened details
// and scrolled tables stay as they were.
export function redraw(id, data, draw) {
  const text = JSON.stringify(data);
  if (drawn.get(id) === text) return;
  drawn.set(id, text);
  const place = document.getElementById(id);
  const focus = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const open = new Set([...place.querySelectorAll("details[open]")].map((d) => d.dataset.key));
  const scrolled = [...place.querySelectorAll(".scroll")].map((s) => s.scrollLeft);
  place.replaceChildren(...[draw()].flat(Infinity).filter((c) => c));
  for (const details of place.querySelectorAll("details")) details.open = open.has(details.dataset.key);
  [...place.querySelectorAll(".scroll")].forEach((s, i) => { s.scrollLeft = scrolled[i] || 0; });
  if (focus) place.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus({preventScroll: true});
}

// Fills a select; keeps what was chosen while it is there.
export function fillSelect(id, options) {
  const select = document.getElementById(id);
  const chosen = select.value;
  redraw(id, options, () => options.map(([value, text]) => element("option", {value}, text)));
  if (options.some(([value]) => value === chosen)) select.value = chosen;
  return select.value;
}

// A table in a box of its own that scrolls sideways where it must.
// columns: [{title, number: bool, wide: bool (not on a phone)}]; rows: [[cell, ...]]; the first cell is the row's header.
export function table(caption, columns, rows) {
  const cell = (name, column, content) => element(name, {
    class: [column.number ? "n" : "", column.wide ? "wide" : ""].join(" ").trim() || null,
    scope: name === "td" ? null : (rows === null ? null : "row"),
  }, content);
  const head = element("tr", {}, columns.map((c) => element("th", {
    class: [c.number ? "n" : "", c.wide ? "wide" : ""].join(" ").trim() || null, scope: "col",
  }, c.title)));
  const body = rows.map((row) => element("tr", {},
    row.map((content, i) => cell(i === 0 ? "th" : "td", columns[i], content))));
  return element("div", {class: "scroll", role: "region", "aria-label": caption, tabindex: "0", "data-key": "table " + caption},
    element("table", {}, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, body)));
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const s = Math.max(0, seconds);
  if (s < 10) return s.toFixed(1) + " s";
  if (s < 120) return Math.round(s) + " s";
  if (s < 7200) return Math.floor(s / 60) + " min " + String(Math.floor(s % 60)).padStart(2, "0") + " s";
  if (s < 172800) return Math.floor(s / 3600) + " h " + String(Math.floor(s % 3600 / 60)).padStart(2, "0") + " min";
  return Math.floor(s / 86400) + " days";
}

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit + 1 < units.length) { count /= 1000; ++unit; }
  return (unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)) + " " + units[unit];
}

export const whole = (n) => Math.round(n).toLocaleString("en").replaceAll(",", " ");  // thin spaces
export function decimal(value, digits = 3) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}
export function scientific(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  return value >= 0.001 && value < 10000 ? String(Number(value.toPrecision(3))) : value.toExponential(1);
}
export const plural = (n, one, many = one + "s") => `${whole(n)} ${n === 1 ? one : many}`;
export const shortHash = (hex) => hex.slice(0, 12);

export function day(text) {
  return element("time", {datetime: text, title: text}, text.slice(0, 10));
}
export function instant(text) {
  return element("time", {datetime: text, title: text}, text.slice(0, 10) + " " + text.slice(11, 19));
}
// "4 min ago", kept up to date by tick().
export function age(text) {
  return element("time", {datetime: text, title: text, "data-age": text}, "");
}
// "12 s left", "late by 3 s".
export function countdown(text) {
  return element("time", {datetime: text, title: text, "data-until": text}, "");
}
export function tick(now) {
  for (const node of document.querySelectorAll("[data-age]")) {
    node.textContent = duration((now - Date.parse(node.dataset.age)) / 1000) + " ago";
  }
  for (const node of document.querySelectorAll("[data-until]")) {
    const left = (Date.parse(node.dataset.until) - now) / 1000;
    node.textContent = left >= 0 ? duration(left) + " left" : "late by " + duration(-left);
  }
}
