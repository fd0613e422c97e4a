// Lines over rounds, by uPlot where it was built in.  Every line has a colour, a dash and a name.

import {element} from "/elements.js";

export const hasPlots = () => typeof window.uPlot === "function";

const dashes = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 5], [14, 4], [1, 5], [8, 2, 2, 2, 2, 2]];
const colour = (i) => getComputedStyle(document.documentElement).getPropertyValue(`--s${i % 8}`).trim();
const named = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function keys(series) {
  const svg = (i) => {
    const ns = "http://www.w3.org/2000/svg";
    const picture = document.createElementNS(ns, "svg");
    picture.setAttribute("viewBox", "0 0 26 10");
    picture.setAttribute("aria-hidden", "true");
    const line = document.createElementNS(ns, "line");
    for (const [key, value] of Object.entries({x1: 0, x2: 26, y1: 5, y2: 5, stroke: colour(i), "stroke-width": 2.5,
      "stroke-dasharray": dashes[i % 8].join(" ")})) line.setAttribute(key, value);
    picture.append(line);
    return picture;
  };
  return element("ul", {class: "keys"}, series.map((s, i) => element("li", {}, svg(i), s.name)));
}

const shown = new Map();  // id -> plot

// xs: whole numbers; series: [{name, values}] (null: no point).  Returns the figure; call mount() once it is in the page.
export function figure(id, caption, xLabel, xs, series) {
  const place = element("div", {class: "plot", id, role: "img", "aria-label": caption + "; the numbers are in the table below"});
  return element("figure", {}, element("figcaption", {}, caption), place, keys(series));
}

export function mount(id, xLabel, xs, series) {
  const place = document.getElementById(id);
  shown.get(id)?.destroy();
  const axis = {stroke: named("--soft"), font: "12px system-ui", grid: {stroke: named("--line"), width: 1}, ticks: {stroke: named("--line"), width: 1}};
  const plot = new window.uPlot({
    width: place.clientWidth, height: 240,
    legend: {show: false}, cursor: {drag: {x: false, y: false}},
    scales: {x: {time: false, range: (u, low, high) => low === high ? [low - 1, high + 1] : [low, high]}},
    axes: [
      {...axis, label: xLabel, labelFont: "12px system-ui", labelSize: 18, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]},
      {...axis, size: 54},
    ],
    series: [{}, ...series.map((s, i) => ({
      label: s.name, stroke: colour(i), width: 2, dash: dashes[i % 8], spanGaps: true,
      points: {show: xs.length <= 40, size: 6, fill: colour(i), stroke: colour(i)},
    }))],
  }, [xs, ...series.map((s) => s.values)], place);
  shown.set(id, plot);
}

export function resizePlots() {
  for (const [id, plot] of shown) {
    const place = document.getElementById(id);
    if (place && place.clientWidth > 0) plot.setSize({width: place.clientWidth, height: 240});
  }
}
