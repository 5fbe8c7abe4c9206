// What is not in order: sources with their states, deletes that are withheld, objects that cannot be read.

import { post, rowsOf } from "./api.js";
import { h, setText, speak } from "./dom.js";
import { paintState } from "./flow.js";
import { count, duration, moment, plural } from "./format.js";
import { throttled } from "./throttle.js";

const REJECTED_MAX = 500;

export class Trouble {
  constructor(live) {
    this.live = live;
    this.title = "Trouble";
    this._withheld = h("div", {});
    this._sources = h("div", { class: "card scroll" });
    this._rejected = h("div", {});
    this.element = h("div", { class: "page" },
      h("section", { "aria-label": "Withheld deletes" }, h("div", { class: "section-head" }, h("h1", {}, "Withheld deletes"), h("p", {}, "A source that cannot be trusted to know deletes nothing: its last rows are served until it can, or until you accept what it shows.")), this._withheld),
      h("section", { "aria-label": "Rejected objects" }, h("div", { class: "section-head" }, h("h1", {}, "Rejected objects"), h("p", {}, "They cannot be read, wholly or in part. Rows of before stay.")), this._rejected),
      h("section", { "aria-label": "Sources" }, h("div", { class: "section-head" }, h("h1", {}, "Sources")), this._sources));
    this._reread = throttled(() => this._read(), 500);
    this.refresh();
  }

  refresh() {
    this._reread();
  }

  close() {}

  onSample() {}

  onChanges({ table }) {
    if (table === "sources" || table === "rejected") this._reread();
  }

  async _read() {
    const [sources, rejected] = await Promise.all([rowsOf("sources", {}), rowsOf("rejected", { limit: REJECTED_MAX })]);
    this._drawWithheld(sources.rows.map((each) => each.row).filter((row) => row.withheld_deletes > 0));
    this._drawSources(sources.rows.map((each) => each.row));
    this._drawRejected(rejected.rows.map((each) => each.row), rejected.total);
  }

  _drawWithheld(rows) {
    const groups = new Map();
    for (const row of rows) {
      const name = `${row.backend} of ${row.key.cluster}`;
      groups.set(name, [...(groups.get(name) ?? []), row]);
    }
    this._withheld.replaceChildren(...(groups.size ? [...groups].map(([name, each]) => this._withheldCard(name, each)) : [calm("No delete is withheld.")]));
  }

  _withheldCard(name, rows) {
    const total = rows.reduce((sum, row) => sum + row.withheld_deletes, 0);
    const reasons = [...new Set(rows.map((row) => row.last_error).filter(Boolean))];
    return h("div", { class: "card trouble-card" },
      h("div", {}, h("h2", { class: "warn" }, `${name}: ${plural(total, "delete")} withheld`), h("p", {}, rows.map((row) => `${row.key.table} ${count(row.withheld_deletes)} of ${count(row.rows)}`).join(", ")), reasons.map((each) => h("p", { class: "quiet" }, each))),
      h("button", { onclick: () => this._confirm(name, rows, total) }, "Accept …"));
  }

  _confirm(name, rows, total) {
    const problem = h("p", { class: "bad", role: "alert" });
    const cancel = h("button", { autofocus: true, onclick: () => dialog.close() }, "Keep the rows");
    const accept = h("button", { class: "danger", onclick: () => this._accept(rows[0].key.cluster, dialog, problem) }, `Delete ${plural(total, "row")}`);
    const dialog = h("dialog", { "aria-labelledby": "accept-title", onclose: () => dialog.remove() },
      h("h2", { id: "accept-title" }, `Delete ${plural(total, "row")}?`),
      h("p", {}, `You say that what ${name} shows now is right. These rows are deleted at once, in every table that it fills, and for all who read them:`),
      h("ul", {}, rows.map((row) => h("li", {}, `${row.key.table}: ${plural(row.withheld_deletes, "row")} of ${count(row.rows)}`))),
      h("p", { class: "quiet" }, "If the source is only away or empty by mistake, keep the rows: they are served meanwhile."),
      problem, h("div", { class: "buttons" }, cancel, accept));
    document.body.append(dialog);
    dialog.showModal();
  }

  async _accept(cluster, dialog, problem) {
    try {
      await post("/sources/accept", cluster === this.live.hello?.cluster ? {} : { cluster });
      dialog.close();
      speak("Accepted.");
      this.refresh();
    } catch (error) {
      setText(problem, error.message);
    }
  }

  _drawSources(rows) {
    const now = this.live.sample?.t ?? Date.now() / 1000;
    const head = ["Cluster", "Table", "Backend", "State", "For", "Rows", "Withheld", "Lists", "Last error"];
    this._sources.replaceChildren(h("table", { "aria-label": "Sources" }, h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows.map((row) => {
      const state = h("span", { class: "state" });
      paintState(state, row.state);
      return h("tr", {}, h("td", {}, row.key.cluster), h("td", {}, row.key.table), h("td", {}, row.backend || "–"), h("td", {}, state), h("td", { class: "number" }, row.since ? duration(now - row.since) : "–"), h("td", { class: "number" }, count(row.rows)), h("td", { class: row.withheld_deletes ? "number warn" : "number" }, count(row.withheld_deletes)), h("td", { class: "number" }, count(row.relists)), h("td", {}, row.last_error || "–"));
    }))));
  }

  _drawRejected(rows, total) {
    const cards = rows.map((row) => h("li", { class: "card rejected" }, h("div", { class: "node-head" }, h("code", {}, row.key.object), h("span", { class: "quiet number" }, `${row.key.cluster} · ${row.key.table} · ${moment(row.when)}`)), h("p", { class: "bad" }, row.error), row.excerpt && h("pre", {}, row.excerpt)));
    const rest = total - rows.length;
    this._rejected.replaceChildren(...(cards.length ? [h("ul", { class: "rejected-list" }, cards), rest > 0 ? h("p", { class: "quiet" }, `and ${plural(rest, "more")}`) : ""] : [calm("Every object can be read.")]));
  }
}

const calm = (text) => h("p", { class: "card calm" }, h("span", { class: "state good" }, text));
