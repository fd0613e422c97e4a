// Asks for the fleet every two seconds and draws what changed.

import {age, bytes, countdown, day, decimal, duration, element, fillSelect, instant, plural, redraw, scientific, shortHash, table, tick, whole} from "/elements.js";
import {figure, hasPlots, mount, resizePlots} from "/plots.js";

const stepNames = {advertise: "Join", share: "Share keys", mask: "Train, mask", acknowledge: "Confirm", unmask: "Unmask"};
const pollMilliseconds = 2000;
const shownRounds = 12;
const shownReleases = 6;

let fleet = null;
let tag = null;
let clockOffset = 0;    // the coordinator's clock less ours, ms
let answeredAt = 0;     // ours
let allRounds = false;
let allReleases = false;
const now = () => Date.now() + clockOffset;

// ---- live or not --------------------------------------------------------------------------------

function setLive(state, text) {
  const place = document.getElementById("live");
  const word = document.getElementById("live-state");
  if (place.dataset.state !== state && place.dataset.state !== "waiting") {
    document.getElementById("announce").textContent = text;
  }
  place.dataset.state = state;
  if (word.textContent !== text) word.textContent = text;
  document.title = state === "live" ? "Lorikeet coordinator" : text + " – Lorikeet coordinator";
}

function showAge() {
  const text = answeredAt === 0 ? "" : "updated " + duration(Math.floor((Date.now() - answeredAt) / 1000)).replace(/\.0 s/, " s") + " ago";
  document.getElementById("live-age").textContent = text;
}

async function poll() {
  try {
    const response = await fetch("/state.json", {cache: "no-store", headers: tag ? {"If-None-Match": tag} : {}, signal: AbortSignal.timeout(8000)});
    const theirs = Date.parse(response.headers.get("Lorikeet-Now"));
    if (Number.isFinite(theirs)) clockOffset = theirs - Date.now();
    if (response.status === 200) {
      fleet = await response.json();
      tag = response.headers.get("ETag");
      answeredAt = Date.now();
      draw();
      setLive("live", "Live");
    } else if (response.status === 304) {
      answeredAt = Date.now();
      setLive("live", "Live");
    } else {
      setLive("broken", "The coordinator cannot read its store");
    }
  } catch {
    setLive("gone", "The coordinator does not answer");
  }
  showAge();
  setTimeout(poll, document.hidden ? 5 * pollMilliseconds : pollMilliseconds);
}

// ---- what is drawn ------------------------------------------------------------------------------

const seconds = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;
const joined = (round) => round.steps[0].arrived;
const roundName = (round) => `${round.task}, round ${round.number}`;
const state = (word) => element("span", {class: "state " + word}, word);

function drawAttention() {
  const place = document.getElementById("attention");
  place.hidden = fleet.attention.length === 0;
  redraw("attention", fleet.attention, () => element("ul", {}, fleet.attention.map((item) =>
    element("li", {class: item.urgent ? "urgent" : null}, element("b", {}, item.urgent ? "Act:" : "Look:"), item.text))));
}

function drawFigures() {
  const active = fleet.tasks.filter((t) => t.state === "active").length;
  const recent = fleet.recent.filter((r) => r.status === "done");
  const kept = recent.reduce((n, r) => n + r.survivors, 0), came = recent.reduce((n, r) => n + joined(r), 0);
  const rows = [
    ["Devices enrolled", whole(fleet.devices.enrolled), fleet.devices.revoked ? `${whole(fleet.devices.revoked)} revoked` : ""],
    ["Tasks active", whole(active), `of ${whole(fleet.tasks.length)}`],
    ["Rounds open", whole(fleet.open.length), ""],
    ["Rounds done", whole(fleet.rounds.done), fleet.rounds.aborted ? `${whole(fleet.rounds.aborted)} aborted` : ""],
    ["In the sum, of those who joined", came ? Math.round(100 * kept / came) + " %" : "–", came ? plural(recent.length, "round") : ""],
  ];
  redraw("figures", rows, () => rows.map(([name, value, more]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value, more ? element("small", {}, more) : null))));
}

function openRound(round) {
  const at = round.steps.findIndex((s) => s.step === round.step);
  const step = round.steps[at];
  const share = step.expected ? Math.min(100, 100 * step.arrived / step.expected) : 0;
  const walk = round.steps.map((s, i) => element("li", {class: i < at ? "past" : i === at ? "now" : null, "aria-current": i === at ? "step" : null},
    stepNames[s.step], element("span", {}, s.reached ? `${whole(s.arrived)}/${whole(s.expected)}` : "–")));
  return element("article", {class: "card"},
    element("header", {}, element("h3", {}, roundName(round)), countdown(round.deadline)),
    element("div", {class: "pair"},
      element("span", {}, stepNames[round.step] + ": " + whole(step.arrived) + " of " + whole(step.expected)),
      element("span", {class: "soft"}, `at least ${whole(round.cohort_min)}, opened `, age(round.opened))),
    element("div", {class: "meter", role: "progressbar", "aria-label": `${roundName(round)}: ${stepNames[round.step]}`, "aria-valuemin": 0,
      "aria-valuemax": step.expected, "aria-valuenow": step.arrived, "aria-valuetext": `${step.arrived} of ${step.expected} devices`},
      element("i", {width: share + "%"})),
    element("ol", {class: "walk"}, walk));
}

function outcome(round) {
  return [state(round.status), round.demonstration ? [" ", element("span", {class: "tag"}, "demonstration")] : null,
    round.message ? element("span", {class: "why"}, round.message) : null];
}

// A button that shows all of a long table, or its beginning; null for a short one.
function more(what, count, shown, all, toggle) {
  if (count <= shown) return null;
  return element("button", {type: "button", "data-key": "all " + what, "aria-expanded": String(all), onclick: () => { toggle(); draw(); }},
    all ? `Show the newest ${shown} ${what}` : `Show all ${count} ${what}`);
}

function drawRounds() {
  redraw("open-rounds", fleet.open, () => fleet.open.length === 0
    ? element("p", {class: "empty"}, "No round is open.")
    : element("div", {class: "cards"}, fleet.open.map(openRound)));
  const rounds = allRounds ? fleet.recent : fleet.recent.slice(0, shownRounds);
  const columns = [{title: "Round"}, {title: "Outcome"}, {title: "Joined", number: true}, {title: "In the sum", number: true},
    {title: "Took", number: true, wide: true}, {title: "ε", number: true, wide: true}, {title: "Catalog", number: true, wide: true},
    {title: "Ended", number: true, wide: true}];
  redraw("round-table", [rounds, allRounds], () => {
    if (rounds.length === 0) return element("p", {class: "empty"}, "No round has ended yet.");
    const rows = rounds.map((r) => [roundName(r), outcome(r), whole(joined(r)), whole(r.survivors), duration(seconds(r.opened, r.finished)),
      decimal(r.epsilon), r.made_version === null ? "–" : `${r.catalog_version} → ${r.made_version}`, age(r.finished)]);
    return [table("Rounds that ended, newest first", columns, rows),
      more("rounds", fleet.recent.length, shownRounds, allRounds, () => { allRounds = !allRounds; })];
  });
}

function gauge(task) {
  const spent = task.epsilon_spent;
  const text = `ε ${decimal(spent)}` + (task.epsilon_budget === null ? " spent, no budget" : ` of ${task.epsilon_budget} spent`);
  const share = task.epsilon_budget === null ? 0 : Math.min(100, 100 * spent / task.epsilon_budget);
  const level = task.epsilon_budget === null ? "" : task.epsilon_next !== null && task.epsilon_next > task.epsilon_budget ? "bad" : share >= 80 ? "warn" : "";
  const words = {bad: "used up", warn: "nearly spent"};  // not by colour alone
  return [
    element("div", {class: "pair"}, element("span", {}, text, level ? element("b", {}, " – " + words[level]) : null),
      element("span", {class: "soft"}, `δ ${scientific(task.delta)}, ${plural(task.spent_rounds, "round")}`)),
    task.epsilon_budget === null ? null : element("div", {class: "meter " + level, role: "meter", "aria-label": `Privacy spent by task ${task.name}`,
      "aria-valuemin": 0, "aria-valuemax": task.epsilon_budget, "aria-valuenow": Math.min(spent, task.epsilon_budget), "aria-valuetext": text},
      element("i", {width: share + "%"}))];
}

function assumptions(task) {
  const facts = [
    ["Noise", `${task.noise}, ${scientific(task.noise_multiplier)} clip norms in the sum`],
    ["Honest survivors counted on", `${whole(task.honest_survivors)} (${whole(task.cohort_min)} less ${scientific(100 * task.corrupt_fraction)} % corrupt)`],
    ["Amplification by sampling", "none: devices select themselves"],
    ["Noise in a persona's mean, at best", `${scientific(task.noise_ratio)} clip norms (released up to ${scientific(task.largest_noise_ratio)})`],
    ["A coordinate of the sum wraps around", task.overflow === null ? "–" : `with probability under ${scientific(task.overflow)}, modulus 2^${task.modulus_bits}`],
    ["One more round would make it", task.epsilon_next === null ? "–" : "ε " + decimal(task.epsilon_next)],
  ];
  return element("details", {"data-key": "assumptions " + task.name}, element("summary", {"data-key": "summary " + task.name}, "What these numbers assume"),
    element("dl", {class: "facts"}, facts.map(([k, v]) => [element("dt", {}, k), element("dd", {}, v)])));
}

function drawTasks() {
  redraw("task-list", fleet.tasks, () => fleet.tasks.length === 0
    ? element("p", {class: "empty"}, "No task yet: lorikeet-coordinator task create NAME")
    : element("div", {class: "cards"}, fleet.tasks.map((task) => element("article", {class: "card"},
      element("header", {}, element("h3", {}, task.name), state(task.state)),
      element("div", {class: "pair"},
        element("span", {}, `${whole(task.done)} of ${plural(task.rounds, task.routed ? "sweep" : "round")} done` + (task.aborted ? `, ${whole(task.aborted)} aborted` : "")),
        element("span", {class: "soft"}, `${whole(task.cohort_min)} to ${plural(task.cohort_max, "device")}`)),
      gauge(task),
      element("p", {class: "soft"}, task.waiting ? `Next round: ${task.waiting}. ` : "A round is open. ",
        task.demonstration ? element("span", {class: "tag"}, "demonstration: no strong guarantee") : null, " ",
        element("span", {class: "tag"}, task.by_token ? "devices join by anonymous token" : "devices join by name"),
        task.routed ? [" ", element("span", {class: "tag"}, "rounds of their own for buckets of personas")] : null),
      assumptions(task)))));
}

const lossAt = (round, step) => round.losses.filter((l) => l.step === step && !l.aborted);

function funnelRows(round) {
  const [join, share, mask, acknowledge, unmask] = round.steps;
  const rows = [];
  if (round.checked_in !== null) rows.push({name: "Checked in", n: round.checked_in, note: "were offered it", losses: []});
  rows.push({name: "Joined", n: join.arrived, note: (round.checked_in > join.arrived ? `${whole(round.checked_in - join.arrived)} did not join; ` : "") + `${plural(round.cohort_max, "place")}`, losses: lossAt(round, "advertise")});
  if (share.reached) rows.push({name: "Shared keys", n: share.arrived, losses: lossAt(round, "share")});
  if (mask.reached) rows.push({name: "Sent a masked update", n: mask.arrived, losses: lossAt(round, "mask")});
  if (acknowledge.reached) rows.push({name: "Acknowledged the survivors", n: acknowledge.arrived, losses: lossAt(round, "acknowledge"), kind: "aside"});
  if (unmask.reached) rows.push({name: "Sent shares for unmasking", n: unmask.arrived, losses: lossAt(round, "unmask"), kind: "aside"});
  if (round.status !== "open") rows.push({name: "In the sum", n: round.survivors, losses: round.losses.filter((l) => l.aborted), kind: "sum"});
  return rows;
}

function drawFunnel() {
  const rounds = [...fleet.open, ...fleet.recent].slice(0, 60);
  fillSelect("cohort-round", rounds.length === 0 ? [["", "none yet"]] : rounds.map((r) => [String(r.id), `${roundName(r)} (${r.status})`]));
  const select = document.getElementById("cohort-round");
  if (!select.dataset.touched && fleet.recent.length > 0) select.value = String(fleet.recent[0].id);
  const round = rounds.find((r) => String(r.id) === select.value);
  redraw("funnel", round ?? null, () => {
    if (!round) return element("p", {class: "empty"}, "Here it will be seen where rounds lose devices, and why.");
    const rows = funnelRows(round);
    const most = Math.max(1, ...rows.map((r) => r.n));
    const body = rows.map((row) => {
      const lost = row.losses.filter((l) => !l.counted).reduce((n, l) => n + l.devices, 0);
      const left = row.losses.filter((l) => l.counted).reduce((n, l) => n + l.devices, 0);
      const change = lost ? element("span", {class: "lost"}, `▼ ${whole(lost)} lost`) : left ? element("span", {class: "left"}, `${whole(left)} fewer, not lost`) : row.note ? element("span", {class: "left"}, row.note) : "";
      return [
        element("tr", {class: [row.kind ?? "", row.losses.length ? "has-reason" : ""].join(" ").trim() || null},
          element("th", {scope: "row"}, row.name), element("td", {class: "n"}, whole(row.n)),
          element("td", {class: "bar", "aria-hidden": "true"}, element("div", {width: 100 * row.n / most + "%"})), element("td", {}, change)),
        row.losses.length ? element("tr", {class: "reason"}, element("td", {colspan: 4}, row.losses.map((l) => element("div", {}, `${plural(l.devices, "device")}: ${l.why}`)))) : null,
      ];
    });
    const blamed = round.blamed ? element("p", {class: "note"}, `${plural(round.blamed, "device")} sent wrong shares; the sum is right without them.`) : null;
    return [element("table", {class: "funnel"},
      element("caption", {}, `${roundName(round)}, catalog version ${round.catalog_version}: ${round.status}`),
      element("thead", {}, element("tr", {}, element("th", {scope: "col"}, "Devices that"), element("th", {scope: "col", class: "n"}, "Count"),
        element("th", {class: "bar", "aria-hidden": "true"}), element("th", {scope: "col"}, "Lost"))),
      element("tbody", {}, body)), blamed];
  });
}

function drawCatalog() {
  const names = fleet.tasks.map((t) => t.name);
  fillSelect("catalog-task", names.length === 0 ? [["", "none yet"]] : names.map((n) => [n, n]));
  const select = document.getElementById("catalog-task");
  const newest = fleet.recent.find((r) => r.status === "done");
  if (!select.dataset.touched && newest) select.value = newest.task;
  const rounds = fleet.recent.filter((r) => r.task === select.value && r.status === "done").reverse();
  redraw("catalog-plots", [rounds, hasPlots(), matchMedia("(prefers-color-scheme: dark)").matches], () => {
    if (rounds.length === 0) return element("p", {class: "empty"}, "Losses and counts come with the first round that is done.");
    if (!hasPlots()) return element("p", {class: "note"}, "Plots were not built in (uPlot was not there when the coordinator was built); the table has the numbers.");
    const xs = rounds.map((r) => r.number);
    const losses = [{name: "before local training", values: rounds.map((r) => r.mean_loss_before)},
      {name: "after it", values: rounds.map((r) => r.mean_loss_after)}];
    const ids = [...new Set(rounds.flatMap((r) => r.personas.map((p) => p.id)))];
    const counts = ids.map((id) => ({name: id, values: rounds.map((r) => r.personas.find((p) => p.id === id)?.noisy_count ?? null)}));
    const figures = [];
    const drawings = [];
    const add = (id, caption, series) => { figures.push(figure(id, caption, "round", xs, series)); drawings.push([id, series]); };
    if (losses.some((s) => s.values.some((v) => v !== null))) add("plot-loss", "Devices' mean loss, with noise", losses);
    if (counts.length > 0) add("plot-counts", "Devices of each persona, with noise", counts);
    setTimeout(() => drawings.forEach(([id, series]) => mount(id, "round", xs, series)));
    return figures;
  });
  redraw("personas", rounds, () => {
    if (rounds.length === 0) return null;
    const last = rounds[rounds.length - 1];
    const columns = [{title: "Persona"}, {title: "Devices, with noise", number: true}, {title: "Newest catalog"}, {title: "Noise in the mean, clip norms", number: true, wide: true}, {title: "Updated", number: true, wide: true}];
    const rows = last.personas.map((p) => {
      const updated = rounds.filter((r) => r.personas.some((q) => q.id === p.id && q.applied)).length;
      return [p.id, p.noisy_count.toFixed(1), element("span", {class: p.applied ? "state done" : "state"}, p.applied ? "updated" : "left as it was"), p.noise_ratio ? p.noise_ratio.toFixed(3) : "–", `${whole(updated)} of ${plural(rounds.length, "round")}`];
    });
    const loss = last.mean_loss_before === null ? "" : `; mean loss ${last.mean_loss_before.toFixed(3)} before local training, ${last.mean_loss_after.toFixed(3)} after`;
    return table(`Catalog version ${last.made_version ?? last.catalog_version}, from ${roundName(last)}${loss}`, columns, rows);
  });
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? null : sorted[Math.floor(sorted.length / 2)];
}

function drawSteps() {
  const rounds = fleet.recent.slice(0, 50);
  const all = rounds.flatMap((r) => r.steps.filter((s) => s.seconds !== null).map((s) => ({...s, round: r})));
  redraw("step-tables", all.map((s) => [s.round.id, s.step, s.seconds, s.waited]), () => {
    if (all.length === 0) return element("p", {class: "empty"}, "Steps are timed once a round has ended.");
    const kinds = Object.keys(stepNames).map((name) => {
      const these = all.filter((s) => s.step === name);
      return [stepNames[name], duration(median(these.map((s) => s.seconds))), these.length ? duration(Math.max(...these.map((s) => s.seconds))) : "–",
        `${whole(these.filter((s) => s.waited).length)} of ${whole(these.length)}`];
    });
    const slowest = [...all].sort((a, b) => b.seconds - a.seconds).slice(0, 5).map((s) =>
      [roundName(s.round), stepNames[s.step], duration(s.seconds), s.waited ? `deadline, for ${whole(s.expected - s.arrived)}` : "all came"]);
    return [
      table(`Each step in the last ${plural(rounds.length, "round")}`, [{title: "Step"}, {title: "Median", number: true}, {title: "Longest", number: true}, {title: "Waited for its deadline", number: true}], kinds),
      table("The slowest of them", [{title: "Round"}, {title: "Step"}, {title: "Took", number: true}, {title: "Ended by"}], slowest)];
  });
}

function drawReleases() {
  redraw("release-table", [fleet.releases, fleet.releases_total, allReleases], () => {
    if (fleet.releases.length === 0) return element("p", {class: "empty"}, "Nothing is published: lorikeet-coordinator publish base FILE");
    const columns = [{title: "Release"}, {title: "Version", number: true}, {title: "Expires", number: true}, {title: "Size", number: true}, {title: "Base", wide: true}, {title: "Published (UTC)", number: true, wide: true}];
    // What devices get now comes first.
    const sorted = [...fleet.releases].sort((a, b) => b.newest - a.newest);
    const releases = allReleases ? sorted : sorted.slice(0, shownReleases);
    const rows = releases.map((r) => [[r.kind, " ", r.name, r.newest ? [" ", element("span", {class: "tag"}, "newest")] : null], whole(r.version), day(r.expires), bytes(r.bytes),
      element("code", {title: r.base_fingerprint}, shortHash(r.base_fingerprint)), instant(r.published)]);
    return [table(`${plural(fleet.releases_total, "release")}; what devices are given first, then newest first`, columns, rows),
      more("releases", sorted.length, shownReleases, allReleases, () => { allReleases = !allReleases; })];
  });
}

function draw() {
  drawAttention();
  drawFigures();
  drawRounds();
  drawTasks();
  drawFunnel();
  drawCatalog();
  drawSteps();
  drawReleases();
  tick(now());
}

for (const id of ["cohort-round", "catalog-task"]) {
  document.getElementById(id).addEventListener("change", (event) => { event.target.dataset.touched = "yes"; if (fleet) draw(); });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (fleet) draw(); });
addEventListener("resize", resizePlots);
document.addEventListener("visibilitychange", () => { if (!document.hidden) showAge(); });
setInterval(() => { tick(now()); showAge(); }, 1000);
poll();
