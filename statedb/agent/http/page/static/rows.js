// Where a grid gets its rows: a window into a whole table, or a list that a question has answered.

import { rowsOf } from "./api.js";
import { keyText } from "./live.js";

const MARGIN = 60;

/** The rows of a whole table in key order. Only those around the visible ones are here. */
export class WindowOfTable {
  constructor(table, changed) {
    this.table = table;
    this.total = 0;
    this.revision = 0;
    this.loaded = false;
    this._changed = changed;
    this._first = 0;
    this._rows = [];
    this._wanted = [0, 40];
    this._asking = null;
    this._again = false;
  }

  /** The row at a position; undefined where it is not here yet. */
  at(position) {
    return this._rows[position - this._first];
  }

  /** These positions are visible. */
  show(first, last) {
    this._wanted = [first, last];
    const here = first >= this._first && Math.min(last, this.total) <= this._first + this._rows.length;
    if (!here) this.refresh();
  }

  /** Reads the visible rows anew. */
  async refresh() {
    if (this._asking) {
      this._again = true;
      return this._asking;
    }
    this._asking = this._read();
    try {
      await this._asking;
    } finally {
      this._asking = null;
    }
    if (this._again) {
      this._again = false;
      await this.refresh();
    }
  }

  /** A row changed, and is put in its place at once if it is here. */
  patch(change) {
    const name = keyText(change.key);
    const place = this._rows.findIndex((each) => keyText(each.key) === name);
    if (place >= 0 && change.event === "put") this._rows[place] = { key: change.key, row: change.row, revision: change.revision };
    return place >= 0;
  }

  async _read() {
    const [first, last] = this._wanted;
    const offset = Math.max(0, first - MARGIN);
    const found = await rowsOf(this.table, { offset, limit: last - offset + MARGIN });
    this._first = offset;
    this._rows = found.rows;
    this.total = found.total;
    this.revision = found.revision;
    this.loaded = true;
    this._changed();
  }
}

/** The answer to a question: `ask` gives `{rows, more}`; it may call back with what it has so far. */
export class AnswerRows {
  constructor(ask, changed) {
    this.total = 0;
    this.more = false;
    this.loaded = false;
    this.took = 0;
    this._ask = ask;
    this._changed = changed;
    this._rows = [];
    this._stop = new AbortController();
  }

  at(position) {
    return this._rows[position];
  }

  show() {}

  close() {
    this._stop.abort();
  }

  async refresh() {
    const began = performance.now();
    await this._ask(this._stop.signal, (rows, more) => {
      if (this._stop.signal.aborted) return;
      this._rows = rows;
      this.total = rows.length;
      this.more = more;
      this.loaded = true;
      this._changed();
    });
    this.took = performance.now() - began;
  }

  patch(change) {
    const name = keyText(change.key);
    const place = this._rows.findIndex((each) => keyText(each.key) === name);
    if (place >= 0 && change.event === "put") this._rows[place] = { key: change.key, row: change.row, revision: change.revision };
    return place >= 0;
  }
}
