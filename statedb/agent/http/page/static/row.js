// One row: its fields, who refers to it, and what happened to it since the page was opened.

import { ApiError, entry, get, rowsOf } from "./api.js";
import { fieldsOf, flat } from "./columns.js";
import { h, setText } from "./dom.js";
import { cell, clock, count, keyLine, plural } from "./format.js";
import { keyText } from "./live.js";
import { throttled } from "./throttle.js";

const REFERENCES_SHOWN = 8;

export class RowPanel {
  constructor(live, table, onClose) {
    this.live = live;
    this.table = table;
    this.key = null;
    this._name = h("h2", { class: "mono" });
    this._state = h("p", { class: "quiet" });
    this._fields = h("dl", { class: "fields" });
    this._references = h("div", { class: "references" });
    this._history = h("ol", { class: "history" });
    this.element = h("aside", { class: "card row-panel", "aria-label": "Row", tabindex: -1 },
      h("div", { class: "panel-head" }, h("div", {}, this._name, this._state), h("button", { class: "plain", "aria-label": "Close the row", onclick: onClose }, "✕")),
      this._fields,
      h("h3", {}, "Refers to and is referred to by"), this._references,
      h("h3", {}, "Since this page was opened"), this._history);
    this.element.hidden = true;
    this._reread = throttled(() => this._read(), 500);
    this._rereadReferences = throttled(() => this._readReferences(), 1500);
  }

  show(key) {
    const same = key !== null && this.key !== null && keyText(key) === keyText(this.key);
    this.key = key;
    this.element.hidden = key === null;
    if (key === null || same) return;
    setText(this._name, keyLine(key));
    this.element.setAttribute("aria-label", `Row ${keyLine(key)}`);
    this._fields.replaceChildren();
    this._references.replaceChildren(h("p", { class: "quiet" }, "…"));
    this._drawHistory();
    this.refresh();
    this.element.focus({ preventScroll: true });
  }

  refresh() {
    if (this.key === null) return;
    this._reread();
    this._rereadReferences();
  }

  /** Rows of this table changed. */
  onChanges(changes) {
    if (this.key === null) return;
    const name = keyText(this.key);
    if (!changes.some((each) => keyText(each.key) === name)) return;
    this._drawHistory();
    this.refresh();
  }

  /** Rows of another table changed: references may be others. */
  onForeignChanges() {
    if (this.key !== null) this._rereadReferences();
  }

  async _read() {
    const key = this.key;
    if (key === null) return;
    const found = await this._found(key);
    if (key !== this.key) return;
    this.element.classList.toggle("gone", !found);
    setText(this._state, found ? `revision ${count(found.revision)}` : "This row is not there now.");
    if (found) this._drawFields(found.row);
  }

  async _found(key) {
    try {
      return (await rowsOf(this.table.name, { key })).rows[0];
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return null;
      throw error;
    }
  }

  _drawFields(row) {
    const values = flat(row);
    const names = [...new Set([...fieldsOf(this.table), ...Object.keys(values)])].filter((name) => name in values);
    this._fields.replaceChildren(...names.flatMap((name) => [h("dt", {}, name.replaceAll("_", " ")), h("dd", { class: "mono" }, whole(name, values[name]))]));
  }

  async _readReferences() {
    const key = this.key;
    if (key === null) return;
    const found = await get(`/references/${encodeURIComponent(this.table.name)}`, { key }).catch(() => ({ references: [] }));
    if (key !== this.key) return;
    const blocks = found.references.map((each) => referenceBlock(each));
    this._references.replaceChildren(...(blocks.length ? blocks : [h("p", { class: "quiet" }, "No other row.")]));
  }

  _drawHistory() {
    const past = this.live.historyOf(this.table.name, this.key);
    const gaps = this.live.gaps.map(([from, to]) => ({ at: to, text: `No connection from ${clock(from)} to ${clock(to)}: changes in this time are not here.` }));
    const steps = past.map((change, place) => ({ at: change.at, text: describe(change, past[place - 1]) }));
    const lines = [...steps, ...gaps].sort((one, other) => other.at - one.at);
    this._history.replaceChildren(...(lines.length ? lines.map((each) => h("li", {}, h("time", { class: "quiet number" }, clock(each.at)), h("span", {}, each.text))) : [h("li", { class: "quiet" }, `Nothing since ${clock(this.live.opened)}.`)]));
  }
}

/** The link to a row. Kept here and not imported from table.js, which imports this file. */
const linkTo = (table, key) => `#/table/${encodeURIComponent(table)}/${key.map(encodeURIComponent).join("/")}`;

function referenceBlock({ title, table, count: number, keys, rows }) {
  const shown = keys.slice(0, REFERENCES_SHOWN).map((key, place) => h("li", {}, h("a", { class: "mono", href: linkTo(table, key) }, keyLine(key)), h("span", { class: "quiet hint" }, hint(entry(key, rows[place]).row))));
  const rest = number - shown.length;
  return h("details", { open: true }, h("summary", {}, title, h("span", { class: "badge" }, count(number))), h("ul", {}, shown), rest > 0 && h("p", { class: "quiet" }, `and ${plural(rest, "more row")} of ${table}`));
}

/** A few words on a row: what it is called by people. */
function hint(row) {
  if (row.pod) return `${row.namespace}/${row.pod}`;
  if (row.labels?.length) return row.labels.map((each) => (Array.isArray(each) ? each.join("=") : each)).find((each) => /app=/.test(each)) ?? "";
  return row.pod_cidrs?.[0] ?? row.error ?? "";
}

/** A value in full: lists one below the other, JSON set out. */
function whole(name, value) {
  if (Array.isArray(value) && value.length > 1) return h("ul", { class: "values" }, value.map((each) => h("li", {}, whole(name, each))));
  if (Array.isArray(value) && value.length === 1) return whole(name, value[0]);
  if (typeof value === "string" && value.startsWith("{")) return pretty(value);
  if (value !== null && typeof value === "object" && Object.values(value).some((each) => Array.isArray(each))) return pretty(JSON.stringify(value));
  return cell(name, Array.isArray(value) || (value !== null && typeof value === "object") ? [value].flat() : value) || h("span", { class: "quiet" }, "–");
}

function pretty(text) {
  try {
    return h("pre", {}, JSON.stringify(JSON.parse(text), null, 2));
  } catch {
    return text;
  }
}

/** What a change did, in one line. */
function describe(change, before) {
  if (change.event === "delete") return "deleted";
  if (!before || before.event === "delete") return before ? "came again" : `written, revision ${count(change.revision)}`;
  const [old, now] = [flat(before.row), flat(change.row)];
  const fields = Object.keys(now).filter((name) => JSON.stringify(old[name]) !== JSON.stringify(now[name]));
  return fields.map((name) => `${name.replaceAll("_", " ")}: ${cell(name, old[name]) || "–"} → ${cell(name, now[name]) || "–"}`).join("; ") || "written again";
}
