// Lines over time, drawn as SVG.

import { h, setText, svg } from "./dom.js";
import { clock, short } from "./format.js";

const SIZE = { width: 460, height: 168, left: 46, right: 10, top: 10, bottom: 22 };
const SPARK_S = 60;
const SPANS_S = [60, 300, 900, 3600];

/** A small line without axes, of `{t, value}`; its width stands for one minute. */
export function sparkline(points) {
  const [width, height] = [96, 22];
  const end = points.at(-1)?.t ?? 0;
  const last = points.filter((each) => end - each.t <= SPARK_S);
  const top = Math.max(1, ...last.map((each) => each.value));
  const x = (t) => width * (1 - (end - t) / SPARK_S);
  const y = (value) => height - 2 - (value / top) * (height - 5);
  const d = last.map((each, place) => `${place ? "L" : "M"}${x(each.t).toFixed(1)} ${y(each.value).toFixed(1)}`).join("");
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "sparkline", "aria-hidden": "true", preserveAspectRatio: "none" },
    svg("path", { d: `M0 ${y(0)}H${width}`, class: "base" }),
    last.length > 1 && svg("path", { d, class: last.some((each) => each.value > 0) ? "moving" : "" }));
}

/** One chart, of the last hour or of what there is of it. `set` gives it lines: `[{name, points: [{t, value}]}]`, five at most. */
export class Chart {
  constructor(title, unit) {
    this.title = title;
    this.unit = unit;
    this._lines = [];
    this._plot = svg("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img" });
    this._legend = h("ul", { class: "legend" });
    this._when = h("span", { class: "quiet number" });
    this.element = h("figure", { class: "card chart" }, h("figcaption", {}, h("h3", {}, title), this._when), this._plot, this._legend);
    this._plot.addEventListener("pointermove", (event) => this._point(event));
    this._plot.addEventListener("pointerleave", () => this._point(null));
    this._at = null;
  }

  set(lines) {
    this._lines = lines;
    this._draw();
  }

  _draw() {
    const all = this._lines.flatMap((line) => line.points);
    const end = Math.max(Date.now() / 1000, ...all.map((each) => each.t));
    const top = niceTop(Math.max(0, ...all.map((each) => each.value)));
    const begin = Math.min(end, ...all.map((each) => each.t));
    const span = SPANS_S.find((each) => each >= end - begin) ?? SPANS_S.at(-1);
    const start = end - span;
    this._x = (t) => SIZE.left + ((t - start) / span) * (SIZE.width - SIZE.left - SIZE.right);
    this._y = (value) => SIZE.height - SIZE.bottom - (value / top) * (SIZE.height - SIZE.top - SIZE.bottom);
    this._t = (x) => start + ((x - SIZE.left) / (SIZE.width - SIZE.left - SIZE.right)) * span;
    this._plot.replaceChildren(...this._axes(top, start, span), ...this._lines.map((line, place) => this._path(line, place)), ...this._mark());
    this._plot.setAttribute("aria-label", `${this.title}: ${this._lines.map((line) => `${line.name} ${short(line.points.at(-1)?.value ?? 0)} ${this.unit}`).join(", ")}`);
    this._name();
  }

  _axes(top, start, span) {
    const parts = [0, top / 2, top].flatMap((value) => [
      svg("line", { x1: SIZE.left, x2: SIZE.width - SIZE.right, y1: this._y(value), y2: this._y(value), class: "rule" }),
      svg("text", { x: SIZE.left - 7, y: this._y(value) + 3.5, "text-anchor": "end" }, short(value)),
    ]);
    const marks = [0, 1 / 3, 2 / 3, 1].map((share) => {
      const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
      const ago = span * (1 - share);
      const text = share === 1 ? "now" : span > 60 ? `−${Math.round(ago / 6) / 10} min` : `−${Math.round(ago)} s`;
      return svg("text", { x: this._x(start + span * share), y: SIZE.height - 5, "text-anchor": anchor }, text);
    });
    return [...parts, ...marks];
  }

  _path(line, place) {
    const d = line.points.map((each, at) => `${at ? "L" : "M"}${this._x(each.t).toFixed(1)} ${this._y(each.value).toFixed(1)}`).join("");
    return svg("path", { d, class: `line series-${place + 1}` });
  }

  /** The values at the pointer, or the newest ones. */
  _values() {
    return this._lines.map((line) => {
      if (this._at === null) return line.points.at(-1);
      return line.points.reduce((best, each) => (Math.abs(each.t - this._at) < Math.abs((best?.t ?? Infinity) - this._at) ? each : best), undefined);
    });
  }

  _mark() {
    if (this._at === null) return [];
    const x = this._x(this._values()[0]?.t ?? this._at);
    return [svg("line", { x1: x, x2: x, y1: SIZE.top, y2: SIZE.height - SIZE.bottom, class: "mark" })];
  }

  _name() {
    const values = this._values();
    setText(this._when, this._at === null || !values[0] ? this.unit : `${clock(values[0].t * 1000)} · ${this.unit}`);
    this._legend.replaceChildren(...this._lines.map((line, place) => h("li", {}, h("i", { class: `series-${place + 1}` }), line.name, h("b", { class: "number" }, short(values[place]?.value ?? 0)))));
  }

  _point(event) {
    const box = this._plot.getBoundingClientRect();
    this._at = event === null ? null : this._t(((event.clientX - box.left) / box.width) * SIZE.width);
    this._draw();
  }
}

function niceTop(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((each) => each * power).find((each) => each >= value * 1.02) ?? 20 * power;
}
