// What is not in order: sources with their states, deletes that are withheld, objects that cannot be read.

import { post, rowsOf } from "./api.js";
import { h, setText, speak } from "./dom.js";
import { paintState } from "./flow.js";
import { count, duration, moment, mood, plural } from "./format.js";
import { throttled } from "./throttle.js";

const REJECTED_MAX = 500;
const IN_ORDER = new Set(["synced", "absent"]);

export class Trouble {
  constructor(live) {
    this.live = live;
    this.title = "Trouble";
    this._failing = section("Sources and consumers", "Away, refused or failing. The rows that are there are served meanwhile.");
    this._withheld = section("Withheld deletes", "A source that cannot be trusted to know deletes nothing: its last rows are served until it can, or until you accept what it shows.");
    this._rejected = section("Rejected objects", "They cannot be read, in whole or in part. Their former rows stay.");
    this._sources = section("All sources", "By table.");
    this._rows = [];
    this._shown = "";
    this._ages = []; // [element, since when]
    this.element = h("div", { class: "page trouble" }, [this._failing, this._withheld, this._rejected, this._sources].map((each) => each.element));
    this._reread = throttled(() => this._read(), 500);
    this.refresh();
  }

  refresh() {
    this._reread();
  }

  close() {}

  onSample() {
    this._drawFailing();
  }

  onChanges({ table }) {
    if (table === "sources" || table === "rejected") this._reread();
  }

  async _read() {
    const [sources, rejected] = await Promise.all([rowsOf("sources", {}), rowsOf("rejected", { limit: REJECTED_MAX })]);
    this._rows = sources.rows.map((each) => each.row);
    this._drawFailing();
    this._drawWithheld(this._rows.filter((row) => row.withheld_deletes > 0));
    this._drawSources(this._rows);
    this._drawRejected(rejected.rows.map((each) => each.row), rejected.total);
  }

  /** Parts that ended, sources that are not synced, consumers that fail: each once, the worst first. */
  _drawFailing() {
    const { failures, consumers } = this.live.status;
    for (const [element, since] of this._ages) setText(element, this._age(since));
    const shown = JSON.stringify([this._rows, failures, consumers]);
    if (shown === this._shown) return; // what is there stays: somebody may be selecting it
    this._shown = shown;
    this._ages = [];
    const groups = new Map();
    for (const row of this._rows.filter((each) => each.backend && !IN_ORDER.has(each.state))) {
      const name = JSON.stringify([row.state, row.backend, row.key.cluster, row.last_error]);
      groups.set(name, [...(groups.get(name) ?? []), row]);
    }
    const sources = [...groups.values()].sort(([one], [other]) => (other.state === "failed") - (one.state === "failed"));
    const broken = consumers.filter((each) => !each.health.startsWith("OK"));
    const cards = [...failures.map((text) => card("bad", text, [])), ...sources.map((rows) => this._sourceCard(rows)), ...broken.map((each) => card("bad", `${each.consumer}: failing`, [each.health, each.queue ? `${plural(each.queue, "key")} waiting` : ""]))];
    fill(this._failing, cards, "Every source and consumer is in order.");
  }

  _sourceCard(rows) {
    const [row] = rows;
    const age = h("span", {}, this._age(row.since));
    this._ages.push([age, row.since]);
    return card(mood(row.state), [`${row.backend} of ${row.key.cluster}: ${row.state}`, age], [rows.map((each) => each.key.table).join(", "), row.last_error]);
  }

  _age(since) {
    return this.live.sample && since ? ` for ${duration(this.live.sample.t - since)}` : "";
  }

  _drawWithheld(rows) {
    const groups = new Map();
    for (const row of rows) {
      const name = `${row.backend} of ${row.key.cluster}`;
      groups.set(name, [...(groups.get(name) ?? []), row]);
    }
    fill(this._withheld, [...groups].map(([name, each]) => this._withheldCard(name, each)), "No delete is withheld.");
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
    this._sources.body.replaceChildren(h("div", { class: "card scroll sources" }, h("table", { "aria-label": "Sources" }, h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows.map((row) => {
      const state = h("span", { class: "state" });
      paintState(state, row.state);
      return h("tr", {}, h("td", {}, row.key.cluster), h("td", {}, row.key.table), h("td", {}, row.backend || "–"), h("td", {}, state), h("td", { class: "number" }, row.since ? duration(now - row.since) : "–"), h("td", { class: "number" }, count(row.rows)), h("td", { class: row.withheld_deletes ? "number warn" : "number" }, count(row.withheld_deletes)), h("td", { class: "number" }, count(row.relists)), h("td", {}, row.last_error || "–"));
    })))));
  }

  _drawRejected(rows, total) {
    const cards = rows.map((row) => h("li", { class: "card rejected" }, h("div", { class: "node-head" }, h("code", {}, row.key.object), h("span", { class: "quiet number" }, `${row.key.cluster} · ${row.key.table} · ${moment(row.when)}`)), h("p", { class: "bad" }, row.error), row.excerpt && h("pre", {}, lines(row.excerpt))));
    const rest = total - rows.length;
    fill(this._rejected, cards.length ? [h("ul", { class: "rejected-list" }, cards), rest > 0 ? h("p", { class: "quiet" }, `and ${plural(rest, "more")}`) : ""] : [], "Every object can be read.");
  }
}

/** A section of the page. */
function section(title, about) {
  const body = h("div", {});
  return { body, element: h("section", { "aria-label": title }, h("div", { class: "section-head" }, h("h1", {}, title), h("p", {}, about)), body) };
}

/** What stands in a section: something to look at, or one calm line, with which it moves down. */
function fill({ element, body }, cards, calm) {
  element.classList.toggle("calm-now", !cards.length);
  body.replaceChildren(...(cards.length ? cards : [h("p", {}, h("span", { class: "state good" }, calm))]));
}

function card(look, title, notes) {
  return h("div", { class: `card trouble-card ${look}-card` }, h("div", {}, h("h2", { class: look }, title), notes.filter(Boolean).map((each, place) => h("p", { class: place ? "quiet" : "" }, each))));
}

/** An excerpt as it was: the log and the command line have its line breaks as `\\n`. */
const lines = (text) => text.replace(/(?<=(?:^|[^\\])(?:\\\\)*)\\n/g, "\n");
