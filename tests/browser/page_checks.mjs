// Checks that run inside a page: what assistive programs need, and what eyes need.  Each returns a
// list of complaints.

export function structure() {
  const bad = [];
  const visible = (node) => node.checkVisibility({checkVisibilityCSS: true});
  const name = (node) => (node.getAttribute("aria-label") || (node.getAttribute("aria-labelledby") ?? "").split(/\s+/).filter(Boolean)
    .map((id) => document.getElementById(id)?.textContent ?? "").join(" ") || node.labels?.[0]?.textContent || node.textContent || "").trim();
  if (!document.documentElement.lang) bad.push("html has no lang");
  if (!document.title) bad.push("no title");
  const ids = [...document.querySelectorAll("[id]")].map((n) => n.id);
  for (const id of ids.filter((id, i) => ids.indexOf(id) !== i)) bad.push(`id twice: ${id}`);
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) bad.push(`heading skips a level: ${heading.textContent}`);
    level = own;
  }
  if (document.querySelectorAll("h1").length !== 1) bad.push("expected one h1");
  if (document.querySelectorAll("main").length !== 1) bad.push("expected one main");
  for (const node of document.querySelectorAll("a[href], button, select, summary, section, nav, [role=img], [role=region], [role=meter], [role=progressbar]")) {
    if (visible(node) && name(node) === "") bad.push(`no name: ${node.outerHTML.slice(0, 80)}`);
  }
  for (const node of document.querySelectorAll("[role=meter], [role=progressbar]")) {
    const [low, now, high] = ["valuemin", "valuenow", "valuemax"].map((a) => Number(node.getAttribute("aria-" + a)));
    if (!(low <= now && now <= high)) bad.push(`value outside its range: ${node.outerHTML.slice(0, 120)}`);
    if (!node.getAttribute("aria-valuetext")) bad.push("a gauge without text");
  }
  for (const table of document.querySelectorAll("table")) {
    if (!table.caption) bad.push("a table without a caption");
    if ([...table.querySelectorAll("thead th:not([aria-hidden])")].some((th) => th.scope !== "col")) bad.push("a column header without scope");
    if ([...table.querySelectorAll("tbody th")].some((th) => th.scope !== "row")) bad.push("a row header without scope");
  }
  for (const node of document.querySelectorAll("img:not([alt])")) bad.push(`no alt: ${node.src}`);
  return bad;
}

// Contrast of every visible text with what is behind it: at least 4.5 (WCAG 2.2, 1.4.3), 3 where large.
export function contrast() {
  const bad = [];
  const numbers = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const [r, g, b, a = 1] = numbers(getComputedStyle(at).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (walker.currentNode.textContent.trim() === "" || !node.checkVisibility() || seen.has(node)) continue;
    if (node.closest("script, style, noscript, .unseen, .skip")) continue;
    seen.add(node);
    const style = getComputedStyle(node);
    const [one, two] = [luminance(numbers(style.color)), luminance(behind(node))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (two + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) bad.push(`${ratio.toFixed(2)}: ${node.tagName}.${node.className} "${node.textContent.slice(0, 40)}"`);
  }
  return bad;
}

// Elements that reach beyond the window and are not in a box that scrolls.
export function overflow() {
  const bad = [];
  if (document.documentElement.scrollWidth > innerWidth) bad.push(`the page is ${document.documentElement.scrollWidth} wide, the window ${innerWidth}`);
  for (const node of document.querySelectorAll("body *")) {
    if (node.closest(".scroll, .unseen, .skip, svg, .plot")) continue;
    const box = node.getBoundingClientRect();
    if (box.width > 0 && box.right > innerWidth + 1) bad.push(`${node.tagName}.${node.className} ends at ${Math.round(box.right)} of ${innerWidth}`);
  }
  return bad;
}

// What the page shows, to be compared with the data.
export function shown() {
  const text = (selector) => [...document.querySelectorAll(selector)].map((n) => n.textContent.replace(/[\s ]+/g, " ").trim());
  return {
    figures: Object.fromEntries([...document.querySelectorAll("#figures div")].map((d) => [d.querySelector("dt").textContent, d.querySelector("dd").firstChild.textContent])),
    rounds: [...document.querySelectorAll("#round-table tbody tr")].map((tr) => [...tr.children].map((c) => c.textContent)),
    open: text("#open-rounds article h3"),
    steps: text("#open-rounds .walk li"),
    attention: text("#attention li"),
    gauges: [...document.querySelectorAll("#task-list article")].map((a) => ({name: a.querySelector("h3").textContent, meter: a.querySelector("[role=meter]")?.getAttribute("aria-valuetext") ?? null, text: a.textContent})),
    funnel: [...document.querySelectorAll("#funnel tbody tr:not(.reason)")].map((tr) => [tr.children[0].textContent, Number(tr.children[1].textContent.replace(/\D/g, "")), tr.children[3].textContent]),
    reasons: text("#funnel .reason"),
    personas: [...document.querySelectorAll("#personas tbody tr")].map((tr) => [tr.children[0].textContent, tr.children[1].textContent]),
    plots: document.querySelectorAll(".plot canvas").length,
    releases: [...document.querySelectorAll("#release-table tbody tr")].map((tr) => [tr.children[0].textContent, tr.children[1].textContent]),
  };
}
