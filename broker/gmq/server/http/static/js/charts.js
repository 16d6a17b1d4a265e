// Charts, drawn by uPlot.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { element } from "./dom.js";
import { clock, rate, short } from "./format.js";
import { onTheme } from "./theme.js";

const MINUTE = 60; // seconds that a sparkline shows
const SPAN = 300; // seconds that a chart shows
const LEAST = 20; // seconds that either shows, when the page was just opened
const SPARK = { width: 112, height: 28 };
const NARROW = { width: 64, height: 28 };
const narrow = matchMedia("(max-width: 760px)"); // as style.css has it

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

let opened = Infinity; // when the first view came

/** The times that a chart shows: up to `span` seconds, and not what was before the page was opened. */
function range(now, span) {
  opened = Math.min(opened, now);
  return [Math.max(now - span, Math.min(now - LEAST, opened)), now];
}

const fromZero = (_, __, most) => [0, Math.max(1, (most ?? 0) * 1.1)];

/** A small chart without axes, of the messages of one queue. */
export class Sparkline {
  #plot;
  #range = [0, 1];

  constructor() {
    this.root = element("div", { class: "spark", "aria-hidden": "true" });
    this.#plot = new uPlot(
      {
        ...(narrow.matches ? NARROW : SPARK),
        padding: [2, 1, 2, 1],
        legend: { show: false },
        cursor: { show: false },
        axes: [{ show: false }, { show: false }],
        scales: { x: { range: () => this.#range }, y: { range: fromZero } },
        series: [{}, { stroke: () => colour("ready"), fill: () => colour("ready-soft"), width: 1.5, points: { show: false } }],
      },
      [[], []],
      this.root,
    );
    this.stop = onTheme(() => this.#plot.redraw(false));
  }

  show(history, now) {
    this.#range = range(now, MINUTE);
    this.#plot.setData(history.depths(now - MINUTE));
  }

  close() {
    this.stop();
    this.#plot.destroy();
  }
}

/** A chart with axes and a legend. `lines` are [field, label, colour]. */
export class Chart {
  #plot;
  #range = [0, 1];
  #fields;
  #resizes;

  constructor(title, lines, { perSecond = false } = {}) {
    const format = perSecond ? rate : short;
    const figure = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: perSecond ? 2 : 0 });
    const box = element("div", { class: "plot" });
    this.root = element("figure", { class: "chart" }, element("figcaption", {}, title), box);
    this.#fields = lines.map(([field]) => field);
    const axis = {
      stroke: () => colour("muted"),
      grid: { stroke: () => colour("grid"), width: 1 },
      ticks: { show: false },
      font: "12px system-ui",
    };
    this.#plot = new uPlot(
      {
        width: 300,
        height: 200,
        padding: [8, 24, 0, 0],
        cursor: { y: false, drag: { x: false, y: false } },
        scales: { x: { range: () => this.#range }, y: { range: fromZero } },
        axes: [
          { ...axis, space: 80, size: 32, values: (_, splits) => splits.map(clock) },
          {
            ...axis,
            size: 52,
            values: (_, splits) => splits.map((value) => (perSecond || Number.isInteger(value) ? figure.format(value) : "")),
          },
        ],
        series: [
          { label: "Time", value: (_, value) => (value === null ? "" : clock(value)) },
          ...lines.map(([, label, name]) => ({
            label,
            stroke: () => colour(name),
            width: 2,
            points: { show: false },
            value: (_, value) => (value === null ? "–" : format(value)),
          })),
        ],
      },
      [[], ...lines.map(() => [])],
      box,
    );
    this.#resizes = new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width > 0) this.#plot.setSize({ width: Math.floor(contentRect.width), height: 200 });
    });
    this.#resizes.observe(box);
    this.stop = onTheme(() => this.#plot.redraw(false));
  }

  show(history, now) {
    this.#range = range(now, SPAN);
    this.#plot.setData([history.times, ...this.#fields.map((field) => history.series[field])]);
    if (this.#plot.cursor.left < 0) this.#plot.setLegend({ idx: history.times.length - 1 }); // nobody points: the latest
  }

  close() {
    this.stop();
    this.#resizes.disconnect();
    this.#plot.destroy();
  }
}
