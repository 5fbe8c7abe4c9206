// The flow of data: sources, the tables that they fill, the consumers that read these, and the tables they derive.

import { h, setText, svg } from "./dom.js";
import { count, duration, mood, plural, rate, short } from "./format.js";
import { sparkline } from "./charts.js";

const ABOUT_AGENT = new Set(["sources", "rejected"]);
const ACTIVE_MS = 1500;
const WORST = ["failed", "stale", "connecting", "syncing", "absent", "synced"];

export class Flow {
  constructor(live, tables) {
    this.live = live;
    this.tables = tables;
    this.sources = [];
    this.edges = svg("svg", { class: "edges", "aria-hidden": "true" });
    this.columns = h("div", { class: "flow-columns" });
    this.element = h("div", { class: "flow" }, this.edges, this.columns);
    this._cards = new Map(); // name of a card -> {element, and what changes in it}
    this._links = []; // [from, to, table]
    this._active = new Map();
    this._shape = "";
    this._resized = new ResizeObserver(() => this._draw());
    this._resized.observe(this.element);
    this._carded = new ResizeObserver(() => this._draw()); // a card that grows moves those below it
  }

  close() {
    this._resized.disconnect();
    this._carded.disconnect();
  }

  /** The rows of the table `sources`. */
  setSources(rows) {
    this.sources = rows;
    this.update();
  }

  /** Rows of a table changed: its lines run for a moment. */
  touch(table) {
    this._active.set(table, performance.now() + ACTIVE_MS);
    this._light();
  }

  /** Called once a second, and when the sources change. */
  update() {
    const groups = this._groups();
    const consumers = this.live.status.consumers;
    const shape = JSON.stringify([groups.map((each) => [each.name, each.tables]), consumers.map((each) => each.consumer), this.tables.map((each) => each.name)]);
    if (shape !== this._shape) {
      this._shape = shape;
      this._build(groups, consumers);
    }
    for (const group of groups) this._updateSource(group);
    for (const table of this.tables) this._updateTable(table.name);
    for (const consumer of consumers) this._updateConsumer(consumer);
    this._light();
  }

  /** The sources: rows of one backend and cluster stand together. */
  _groups() {
    const groups = new Map();
    for (const { row } of this.sources) {
      if (row.state === "absent" && !row.backend) continue;
      const name = `${row.backend}/${row.key.cluster}`;
      const group = groups.get(name) ?? { name, backend: row.backend, cluster: row.key.cluster, rows: [], tables: [] };
      groups.set(name, group);
      group.rows.push(row);
      group.tables.push(row.key.table);
    }
    return [...groups.values()];
  }

  _build(groups, consumers) {
    this._cards.clear();
    this._carded.disconnect();
    const derived = new Set(consumers.flatMap((each) => each.fills));
    const filled = new Set(groups.flatMap((each) => each.tables));
    const known = new Set(this.tables.map((each) => each.name));
    const base = this.tables.filter((each) => !derived.has(each.name) && !ABOUT_AGENT.has(each.name));
    base.sort((one, other) => filled.has(other.name) - filled.has(one.name));
    this._links = [
      ...groups.flatMap((group) => group.tables.map((table) => [`source ${group.name}`, `table ${table}`, table])),
      ...consumers.flatMap((each) => each.reads.map((table) => [`table ${table}`, `consumer ${each.consumer}`, table])),
      ...consumers.flatMap((each) => each.fills.map((table) => [`consumer ${each.consumer}`, `table ${table}`, table])),
    ].filter(([, , table]) => known.has(table));
    this.columns.replaceChildren(
      column("Sources", groups.map((each) => this._sourceCard(each))),
      column("Tables", base.map((each) => this._tableCard(each.name, filled.has(each.name)))),
      column("Consumers", consumers.map((each) => this._consumerCard(each)), "No consumer is configured."),
      column("Derived tables", this.tables.filter((each) => derived.has(each.name)).map((each) => this._tableCard(each.name, true)), "No table is derived."),
    );
    this._draw();
  }

  _card(name, element, parts) {
    this._cards.set(name, { element, ...parts });
    this._carded.observe(element);
    return element;
  }

  _sourceCard(group) {
    const state = h("span", { class: "state" });
    const note = h("p", { class: "note" });
    return this._card(
      `source ${group.name}`,
      h("a", { class: "card node", href: "#/trouble" }, h("div", { class: "node-head" }, h("h3", {}, group.backend), state), h("p", { class: "quiet" }, group.cluster), note),
      { state, note },
    );
  }

  _tableCard(name, filled) {
    const rows = h("strong", { class: "number" });
    const speed = h("span", { class: "quiet number speed" });
    const spark = h("span", { class: "spark" });
    return this._card(
      `table ${name}`,
      h("a", { class: `card node table-node${filled ? "" : " unfilled"}`, href: `#/table/${encodeURIComponent(name)}` },
        h("div", { class: "node-head" }, h("h3", {}, name), rows),
        h("div", { class: "node-foot" }, spark, filled ? speed : h("span", { class: "quiet" }, "no source"))),
      { rows, speed, spark },
    );
  }

  _consumerCard(consumer) {
    const state = h("span", { class: "state" });
    const note = h("p", { class: "note" });
    return this._card(
      `consumer ${consumer.consumer}`,
      h("div", { class: "card node" }, h("div", { class: "node-head" }, h("h3", {}, consumer.consumer), state), note),
      { state, note },
    );
  }

  _updateSource(group) {
    const card = this._cards.get(`source ${group.name}`);
    const worst = group.rows.reduce((one, other) => (WORST.indexOf(other.state) < WORST.indexOf(one.state) ? other : one));
    const withheld = group.rows.reduce((sum, row) => sum + row.withheld_deletes, 0);
    paintState(card.state, worst.state);
    const since = this.live.sample && worst.since ? duration(this.live.sample.t - worst.since) : "";
    const good = worst.state === "synced";
    setText(card.note, [good ? `${plural(group.rows.length, "table")} for ${since}` : `for ${since}: ${worst.last_error || worst.state}`, withheld ? `${plural(withheld, "delete")} withheld` : ""].filter(Boolean).join("; "));
    card.note.classList.toggle("warn", withheld > 0);
  }

  _updateTable(name) {
    const card = this._cards.get(`table ${name}`);
    const figures = this.live.sample?.tables[name];
    if (!card || !figures) return;
    setText(card.rows, figures[0] < 1e6 ? count(figures[0]) : short(figures[0]));
    setText(card.speed, rate(this.live.rateOf(name).rows));
    card.spark.replaceChildren(sparkline(changesOf(this.live.recent, name)));
    card.element.setAttribute("aria-label", `Table ${name}: ${plural(figures[0], "row")}`);
  }

  _updateConsumer(consumer) {
    const card = this._cards.get(`consumer ${consumer.consumer}`);
    const good = consumer.health.startsWith("OK");
    paintState(card.state, good ? (consumer.ready ? "ready" : "starting") : "failing", good ? "good" : "bad");
    setText(card.note, [good ? "" : consumer.health, consumer.queue ? `${plural(consumer.queue, "key")} waiting` : "", good && !consumer.queue ? `reads ${consumer.reads.join(", ") || "every table"}` : ""].filter(Boolean).join("; "));
  }

  _draw() {
    const home = this.element.getBoundingClientRect();
    this.edges.setAttribute("viewBox", `0 0 ${home.width} ${home.height}`);
    const paths = this._links.flatMap(([from, to, table]) => {
      const [a, b] = [this._cards.get(from)?.element, this._cards.get(to)?.element].map((each) => each?.getBoundingClientRect());
      if (!a || !b || b.left <= a.right) return [];
      const [x1, y1, x2, y2] = [a.right - home.left, a.top + a.height / 2 - home.top, b.left - home.left, b.top + b.height / 2 - home.top];
      const bend = Math.max(24, (x2 - x1) / 2);
      const d = `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
      return [svg("path", { d, "data-table": table, class: "edge" })];
    });
    this.edges.replaceChildren(...paths);
    this._light();
  }

  _light() {
    const now = performance.now();
    for (const path of this.edges.children) path.classList.toggle("active", (this._active.get(path.dataset.table) ?? 0) > now);
  }
}

/** Changes per second of a table from one sample to the next. */
export function changesOf(samples, table) {
  return samples.slice(1).map((each, place) => {
    const [before, after] = [samples[place], each];
    const rows = (after.tables[table]?.[1] ?? 0) - (before.tables[table]?.[1] ?? 0);
    return { t: after.t, value: Math.max(0, rows) / Math.max(0.5, after.t - before.t) };
  });
}

export function paintState(element, state, look = mood(state)) {
  setText(element, state);
  const wanted = `state ${look}`;
  if (element.className !== wanted) element.className = wanted;
}

function column(title, cards, empty = "") {
  return h("section", { class: "flow-column", "aria-label": title }, h("h2", {}, title), h("div", { class: "flow-cards" }, cards.length ? cards : h("p", { class: "quiet" }, empty || "None.")));
}
