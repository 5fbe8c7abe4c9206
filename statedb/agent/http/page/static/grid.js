// A grid that draws the visible rows alone, however many there are, and lights up those that change.

import { flat } from "./columns.js";
import { h, setText } from "./dom.js";
import { cell } from "./format.js";
import { keyText } from "./live.js";

const ROW_PX = 32;
const HEIGHT_MAX_PX = 8_000_000; // browsers stop at some 16 to 33 million
const FLASH_MS = 1600;
const COLUMN_CH_MAX = 44;

export class Grid {
  /** `onOpen` is called with the row that the reader chose. */
  constructor(label, columns, onOpen) {
    this.columns = columns;
    this.rows = null;
    this.active = 0;
    this.opened = null; // the key of the row that is open beside the grid
    this._opensLate = false; // the reader chose a row that was not there yet
    this._onOpen = onOpen;
    this._lines = [];
    this._flashes = new Map(); // key -> when it changed
    this._widths = columns.map((name) => title(name).length);
    this.head = h("div", { class: "grid-row grid-head", role: "row", "aria-rowindex": 1 }, columns.map((name, place) => h("div", { role: "columnheader", class: "grid-cell", "aria-colindex": place + 1 }, title(name))));
    this.body = h("div", { class: "grid-body", role: "rowgroup" });
    this.element = h("div", { class: "grid", role: "grid", tabindex: 0, "aria-label": label, "aria-colcount": columns.length, "aria-readonly": "true" }, h("div", { role: "rowgroup", class: "grid-top" }, this.head), this.body);
    this.element.addEventListener("scroll", () => this._soon(), { passive: true });
    this.element.addEventListener("keydown", (event) => this._onKey(event));
    this.body.addEventListener("click", (event) => this._onClick(event));
    this._resized = new ResizeObserver(() => this._soon());
    this._resized.observe(this.element);
  }

  close() {
    this._resized.disconnect();
  }

  /** Shows other rows, from the top. */
  setRows(rows) {
    this.rows = rows;
    this.active = 0;
    this._opensLate = false;
    this.element.scrollTop = 0;
    this._soon();
  }

  /** This row is open, or none. */
  open(key) {
    this.opened = key;
    this._soon();
  }

  /** The rows are there, or are others. */
  changed() {
    this._soon();
  }

  /** This row lights up. */
  flash(key) {
    this._flashes.set(keyText(key), performance.now());
    this._soon();
  }

  get _height() {
    return Math.min(HEIGHT_MAX_PX, this.rows.total * ROW_PX);
  }

  get _visible() {
    return Math.max(1, Math.floor((this.element.clientHeight - ROW_PX) / ROW_PX));
  }

  /** The last position that can be the first visible one. */
  get _firstMax() {
    return Math.max(0, this.rows.total - this._visible);
  }

  /** Pixels of scrolling for each row. A very long table is scrolled in larger steps. */
  get _step() {
    if (this._height < HEIGHT_MAX_PX) return ROW_PX; // not divided: the quotient could be rounded to less than a row
    return (this._height + ROW_PX - this.element.clientHeight) / this._firstMax; // the head takes a row's height
  }

  /** The first visible position. */
  get _first() {
    return Math.min(this._firstMax, Math.floor(this.element.scrollTop / this._step));
  }

  _scrollTo(first) {
    this.element.scrollTop = Math.ceil(Math.min(Math.max(0, first), this._firstMax) * this._step); // whole pixels
  }

  _soon() {
    if (this._frame || !this.rows) return;
    this._frame = requestAnimationFrame(() => {
      this._frame = 0;
      this._draw();
    });
  }

  _draw() {
    const { rows } = this;
    this.element.setAttribute("aria-rowcount", rows.total + 1);
    this.body.style.height = `${this._height}px`;
    const first = this._first;
    const shown = Math.min(rows.total - first, this._visible + 2);
    rows.show(first, first + this._visible + 2);
    while (this._lines.length < shown) this._lines.push(this._makeLine());
    const exact = this._height < HEIGHT_MAX_PX;
    const top = exact ? first * ROW_PX : this.element.scrollTop;
    this._lines.forEach((line, place) => this._fillLine(line, place < shown ? first + place : -1, top + place * ROW_PX));
    this._fit();
    this.active = Math.max(0, Math.min(this.active, rows.total - 1));
    const current = this._lines.find((line) => line.position === this.active);
    if (current) this.element.setAttribute("aria-activedescendant", current.element.id);
    else this.element.removeAttribute("aria-activedescendant");
    if (this._opensLate) this._open();
  }

  _makeLine() {
    const cells = this.columns.map((_, place) => h("div", { role: "gridcell", class: "grid-cell", "aria-colindex": place + 1 }));
    const element = h("div", { class: "grid-row", role: "row", id: `row-${this._lines.length}` }, cells);
    this.body.append(element);
    return { element, cells, position: -1, key: null, flashed: 0 };
  }

  _fillLine(line, position, top) {
    const { element } = line;
    line.position = position;
    element.hidden = position < 0;
    if (position < 0) return;
    element.style.transform = `translateY(${top}px)`;
    element.setAttribute("aria-rowindex", position + 2);
    element.classList.toggle("current", position === this.active);
    element.setAttribute("aria-selected", position === this.active);
    const found = this.rows.at(position);
    element.classList.toggle("loading", !found);
    element.classList.toggle("opened", this.opened !== null && found !== undefined && keyText(found.key) === keyText(this.opened));
    line.key = found?.key ?? null;
    const values = found ? flat(found.row) : {};
    this.columns.forEach((name, place) => {
      const text = found ? cell(name, name === "revision" ? found.revision : values[name]) : "";
      setText(line.cells[place], text);
      this._widths[place] = Math.max(this._widths[place], Math.min(text.length, COLUMN_CH_MAX));
    });
    this._light(line);
  }

  _light(line) {
    const at = line.key ? this._flashes.get(keyText(line.key)) ?? 0 : 0;
    const age = performance.now() - at;
    if (line.flash && (line.flashed !== at || age > FLASH_MS)) {
      line.flash.cancel();
      line.flash = null;
    }
    if (at && age < FLASH_MS && line.flashed !== at) {
      const colour = getComputedStyle(this.element).getPropertyValue("--flash");
      line.flash = line.element.animate([{ backgroundColor: colour }, { backgroundColor: colour, offset: 0.3 }, { backgroundColor: "transparent" }], FLASH_MS);
      line.flash.currentTime = age;
    }
    line.flashed = at;
    if (this._flashes.size > 2000) for (const [key, when] of this._flashes) if (performance.now() - when > FLASH_MS) this._flashes.delete(key);
  }

  /** Columns only grow, so that they do not jump while rows change. */
  _fit() {
    const widths = this._widths.map((chars) => `minmax(calc(${chars}ch + 26px), ${chars + 2}fr)`).join(" ");
    if (widths === this._columnsNow) return;
    this.element.style.setProperty("--columns", (this._columnsNow = widths));
    const chars = this._widths.reduce((sum, each) => sum + each, 0);
    this.element.style.setProperty("--least", `calc(${chars}ch + ${26 * this._widths.length}px)`);
  }

  _onClick(event) {
    const line = this._lines.find((each) => each.element.contains(event.target));
    if (!line || line.position < 0) return;
    this.active = line.position;
    this._soon();
    this._open();
  }

  /** Opens the current row, once it is there; not if the reader moves on before. */
  _open() {
    const found = this.rows?.at(this.active);
    this._opensLate = !found;
    if (found) this._onOpen(found);
  }

  _onKey(event) {
    if (!this.rows || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: this._visible - 1, PageUp: 1 - this._visible, Home: -Infinity, End: Infinity };
    if (event.key === "Enter" || event.key === " ") this._open();
    else if (event.key in steps) this._move(steps[event.key]);
    else return;
    event.preventDefault();
  }

  _move(step) {
    this._opensLate = false;
    this.active = Math.max(0, Math.min(this.rows.total - 1, this.active + step));
    const first = this._first;
    if (this.active < first) this._scrollTo(this.active);
    else if (this.active >= first + this._visible) this._scrollTo(this.active - this._visible + 1);
    this._soon();
  }
}

const SHORT = { ip: "IP", ips: "IPs", ipv4: "IPv4", ipv6: "IPv6", id: "ID", cidr: "CIDR", cidrs: "CIDRs" };
const title = (name) => name.split("_").map((word) => SHORT[word] ?? word).join(" ");
