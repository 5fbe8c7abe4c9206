// The page of one table: all its rows, or those that an index or a search finds, and the row that is open.

import { ApiError, rowsOf } from "./api.js";
import { columnsOf } from "./columns.js";
import { h, setText, speak } from "./dom.js";
import { count, plural, rate } from "./format.js";
import { Grid } from "./grid.js";
import { RowPanel } from "./row.js";
import { AnswerRows, WindowOfTable } from "./rows.js";
import { throttled } from "./throttle.js";

const FOUND_MAX = 2000;
const QUICK_MS = 400;
const MATCHES = { longest: "longest prefix of", exact: "exactly", covering: "all that cover", within: "all within" };

export class TablePage {
  constructor(live, table, key) {
    this.live = live;
    this.table = table;
    this.title = table.name;
    this.grid = new Grid(`Rows of ${table.name}`, columnsOf(table), (found) => this._choose(found.key));
    this.panel = new RowPanel(live, table, () => this._choose(null));
    this._facts = h("p", { class: "quiet number" });
    this._problem = h("p", { class: "problem bad", role: "alert" });
    this._makeTools();
    this.element = h("div", { class: "page table-page" },
      h("div", { class: "section-head" }, h("h1", {}, table.name), this._facts),
      h("form", { class: "tools", role: "search", onsubmit: (event) => { event.preventDefault(); this._ask(); } }, this._index, this._match, this._key, this._go, this._filter, this._clear),
      this._problem,
      h("div", { class: "table-body" }, h("div", { class: "card grid-card" }, this.grid.element), this.panel.element));
    this._reread = throttled(() => this._rereadNow(), 400);
    this._showAll();
    this.show(key);
  }

  /** Opens a row, or none. */
  show(key) {
    this.element.classList.toggle("with-row", key !== null);
    this.grid.open(key);
    this.panel.show(key);
  }

  refresh() {
    this._reread();
    this.panel.refresh();
  }

  close() {
    this.grid.close();
    this.rows.close?.();
  }

  onSample() {
    this._tell();
  }

  onChanges({ table, changes }) {
    if (table !== this.table.name) {
      this.panel.onForeignChanges();
      return;
    }
    for (const change of changes) {
      this.rows.patch(change);
      this.grid.flash(change.key);
    }
    this.panel.onChanges(changes);
    if (this.rows instanceof WindowOfTable || this.rows.took < QUICK_MS) this._reread();
  }

  /** The slash puts the cursor into the filter, Escape closes the row. */
  onKey(event) {
    const typing = event.target.closest?.("input, select, dialog");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      this._filter.focus();
    } else if (event.key === "Escape" && !event.target.closest?.("dialog")) {
      this._choose(null);
    }
  }

  _makeTools() {
    const options = [["", "All rows"], ["primary", `by ${this.table.key.join(", ")}`], ...this.table.indexes.map((each) => [each.name, `by ${each.key.join(", ")}  (${each.name})`])];
    this._index = h("select", { "aria-label": "Index", onchange: () => this._onIndex() }, options.map(([value, text]) => h("option", { value }, text)));
    this._match = h("select", { "aria-label": "Match", onchange: () => this._ask() });
    this._key = h("input", { "aria-label": "Key", spellcheck: "false", autocomplete: "off", class: "mono key-input" });
    this._go = h("button", { type: "submit" }, "Look up");
    this._filter = h("input", { type: "search", "aria-label": "Filter: text in any field", placeholder: "Filter: text in any field  ( / )", spellcheck: "false", autocomplete: "off", class: "filter", oninput: () => this._onFilter() });
    this._clear = h("button", { type: "button", class: "plain", onclick: () => this._reset() }, "Clear");
    this._onIndex(false);
  }

  _onIndex(focus = true) {
    const chosen = this._index.value;
    const index = chosen === "primary" ? { key: this.table.key, networks: false } : this.table.indexes.find((each) => each.name === chosen);
    this._match.hidden = this._key.hidden = this._go.hidden = !index;
    if (index) {
      const choices = index.networks ? MATCHES : { exact: "exactly", prefix: "beginning with" };
      this._match.replaceChildren(...Object.entries(choices).map(([value, text]) => h("option", { value }, text)));
      this._key.placeholder = index.networks ? "10.0.0.1 or 10.0.0.0/8" : index.key.join("/");
      this._key.value = "";
      this._filter.value = "";
    }
    this._networks = index?.networks ?? false;
    this._showClear();
    if (!focus) return;
    if (index) this._key.focus();
    else this._ask();
  }

  _onFilter() {
    if (this._filter.value && this._index.value) {
      this._index.value = "";
      this._onIndex(false);
    }
    this._showClear();
    clearTimeout(this._typing);
    this._typing = setTimeout(() => this._ask(), 250);
  }

  /** A button that has nothing to clear is not there. */
  _showClear() {
    this._clear.hidden = !this._index.value && !this._filter.value;
  }

  _reset() {
    this._index.value = "";
    this._filter.value = "";
    this._onIndex(false);
    this._filter.focus(); // the button that had the focus is hidden now
    this._ask();
  }

  /** Asks what the tools say. */
  _ask() {
    const [index, key, text] = [this._index.value, this._key.value.trim(), this._filter.value.trim()];
    setText(this._problem, "");
    if (index && key) this._setRows(new AnswerRows((signal, give) => this._lookUp(index, key, signal, give), () => this._onRows()));
    else if (text) this._setRows(new AnswerRows((signal, give) => this._search(text, signal, give), () => this._onRows()));
    else this._showAll();
  }

  _showAll() {
    this._setRows(new WindowOfTable(this.table.name, () => this._onRows()));
  }

  _setRows(rows) {
    this.rows?.close?.();
    this.rows = rows;
    this.grid.setRows(rows);
    this._spoken = false;
    this._reread?.();
  }

  async _rereadNow() {
    try {
      await this.rows.refresh();
      setText(this._problem, "");
    } catch (error) {
      if (error instanceof ApiError && error.status !== 404) setText(this._problem, error.message);
      else if (error instanceof ApiError) this._noRow();
    }
    this._tell();
  }

  _noRow() {
    this.rows.total = 0;
    this.rows.loaded = true;
    this._onRows();
  }

  async _lookUp(index, key, signal, give) {
    const how = this._match.value;
    const name = how === "prefix" ? "prefix" : "key";
    const parameters = { index: index === "primary" ? null : index, [name]: key, match: this._networks ? how : null, limit: FOUND_MAX };
    try {
      const { rows, more } = await rowsOf(this.table.name, parameters, signal);
      give(rows, more);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      give([], false);
    }
  }

  /** The agent looks through a part of the table for each request: it goes on until enough is found. */
  async _search(text, signal, give) {
    const rows = [];
    for (let from = null; ; ) {
      const found = await rowsOf(this.table.name, { contains: text, from, limit: FOUND_MAX - rows.length }, signal);
      rows.push(...found.rows);
      from = found.next;
      if (!from || rows.length >= FOUND_MAX) return give(rows, from !== null);
      if (!this.rows.loaded) give([...rows], true);
    }
  }

  _onRows() {
    this.grid.changed();
    this._tell();
    if (!this._spoken && this.rows.loaded) {
      this._spoken = true;
      speak(`${this.table.name}: ${plural(this.rows.total, "row")}`);
    }
  }

  _tell() {
    const { rows, live, table } = this;
    const figures = live.sample?.tables[table.name];
    const whole = rows instanceof WindowOfTable;
    const parts = whole
      ? [plural(rows.total, "row")]
      : [`${count(rows.total)}${rows.more ? " or more" : ""} of ${plural(figures?.[0] ?? 0, "row")}`];
    if (figures) parts.push(`revision ${count(figures[1])}`, rate(live.rateOf(table.name).rows));
    if (!table.initialized && figures && whole && !rows.total) parts.push("not filled yet");
    setText(this._facts, parts.join("  ·  "));
  }

  _choose(key) {
    location.hash = key === null ? `#/table/${encodeURIComponent(this.table.name)}` : rowLink(this.table.name, key);
    if (key === null) this.grid.element.focus({ preventScroll: true });
  }
}

/** The address of a row on this page. */
export function rowLink(table, key) {
  return `#/table/${encodeURIComponent(table)}/${key.map(encodeURIComponent).join("/")}`;
}
