// The first page: the flow of data, and charts of the last hour.

import { rowsOf } from "./api.js";
import { Chart } from "./charts.js";
import { h } from "./dom.js";
import { Flow, changesOf } from "./flow.js";
import { throttled } from "./throttle.js";

const LINES = 5;
const CHART_MS = 5000;

export class Overview {
  constructor(live, tables) {
    this.live = live;
    this.title = "Overview";
    this.flow = new Flow(live, tables);
    this.charts = {
      rows: new Chart("Rows", "rows"),
      changes: new Chart("Changes", "rows per second"),
      commits: new Chart("Commits", "per second"),
      lag: new Chart("Out of touch", "seconds, the source that is worst off"),
      queues: new Chart("Waiting at consumers", "keys"),
    };
    this.element = h("div", { class: "page" },
      h("section", { "aria-label": "Flow" }, h("div", { class: "section-head" }, h("h1", {}, "Flow"), h("p", {}, "From the sources through the tables to those who work with them.", h("span", { class: "about-lines" }, " A line moves while rows change."))), this.flow.element),
      h("section", { "aria-label": "The last hour" }, h("div", { class: "section-head" }, h("h1", {}, "The last hour")), h("div", { class: "charts" }, Object.values(this.charts).map((each) => each.element))),
    );
    this._readSources = throttled(() => this._sources(), 300);
    this._drawn = 0;
    this.refresh();
  }

  refresh() {
    this._readSources();
    this.onSample();
  }

  close() {
    this.flow.close();
  }

  onChanges({ table }) {
    if (table === "sources") this._readSources();
    this.flow.touch(table);
  }

  onSample() {
    this.flow.update();
    if (this._drawn && performance.now() - this._drawn < CHART_MS) return;
    this._drawn = this.live.fine.length > 10 ? performance.now() : 0;
    const { kept, fine } = this.live;
    this._draw(kept.length && fine.length && fine.at(-1).t - kept[0].t > 60 ? kept : fine);
  }

  async _sources() {
    const { rows } = await rowsOf("sources", {});
    this.flow.setSources(rows);
  }

  _draw(samples) {
    const names = Object.keys(samples.at(-1)?.tables ?? {}).filter((name) => name !== "sources" && name !== "rejected");
    const last = samples.at(-1);
    const bySize = [...names].sort((one, other) => last.tables[other][0] - last.tables[one][0]).slice(0, LINES);
    this.charts.rows.set(bySize.map((name) => ({ name, points: samples.map((each) => ({ t: each.t, value: each.tables[name]?.[0] ?? 0 })) })));
    const changes = names.map((name) => ({ name, points: changesOf(samples, name) }));
    const sum = ({ points }) => points.reduce((total, each) => total + each.value, 0);
    this.charts.changes.set(changes.sort((one, other) => sum(other) - sum(one)).slice(0, LINES));
    this.charts.commits.set([{ name: "all tables", points: commits(samples) }]);
    this.charts.lag.set([{ name: "seconds", points: samples.map((each) => ({ t: each.t, value: each.stale_s })) }]);
    this.charts.queues.set(Object.keys(last?.queues ?? {}).slice(0, LINES).map((name) => ({ name, points: samples.map((each) => ({ t: each.t, value: each.queues[name] ?? 0 })) })));
    this.charts.queues.element.hidden = !Object.keys(last?.queues ?? {}).length;
  }
}

function commits(samples) {
  const total = (sample) => Object.values(sample.tables).reduce((sum, each) => sum + each[2], 0);
  return samples.slice(1).map((each, place) => ({ t: each.t, value: Math.max(0, total(each) - total(samples[place])) / Math.max(0.5, each.t - samples[place].t) }));
}
