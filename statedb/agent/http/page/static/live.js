// Follows the agent by one stream: samples each second, and every change of every table.

const RETRY_MS = [300, 1000, 2000, 4000];
const SILENCE_MS = 10_000;
const HIDDEN_MS = 60_000;
const ROWS_REMEMBERED = 4000;
const CHANGES_PER_ROW = 100;
const SAMPLES_FINE = 120;

/** Whether two keys are one: keys are lists of texts. */
export const keyText = (key) => key.join("\u0000");

/**
 * Events: `state` (this.state changed), `hello` (a new stream: whatever was read before may be old), `sample`, and
 * `changes`, with `{table, changes: [{event, key, row, revision}], many}` as detail.
 */
export class Live extends EventTarget {
  constructor() {
    super();
    this.state = "connecting";
    this.hello = null;
    this.kept = []; // a sample each five seconds, for an hour
    this.fine = []; // a sample each second, for two minutes
    this.status = { consumers: [], failures: [], missing: [], stale: [] };
    this.gaps = []; // times at which changes may have been missed, as [from, to]
    this.opened = Date.now();
    this._rows = new Map(); // "table\0key" -> changes since the page was opened
    this._lost = null;
    document.addEventListener("visibilitychange", () => this._onVisibility());
  }

  /** The newest sample, or null. */
  get sample() {
    return this.fine.at(-1) ?? null;
  }

  /** Begins, and goes on for as long as the page is open. */
  async run() {
    for (let failures = 0; ; ) {
      try {
        await this._follow(() => (failures = 0));
      } catch {
        // the agent is away; it is asked again below
      }
      this._lost ??= Date.now();
      this._setState(document.hidden ? "paused" : "lost");
      await this._pause(RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
    }
  }

  /** What happened to a row since the page was opened, oldest first. */
  historyOf(table, key) {
    return this._rows.get(`${table}\u0000${keyText(key)}`) ?? [];
  }

  /** The samples of the last minutes: one each second since the page was opened, one of five before. */
  get recent() {
    const first = this.fine[0]?.t ?? Infinity;
    return [...this.kept.slice(-13).filter((each) => each.t < first), ...this.fine];
  }

  /** Changes per second of a table, rows changed and commits, over the last few seconds. */
  rateOf(table) {
    const [first, last] = [this.fine.at(-6) ?? this.fine[0], this.sample];
    const [before, after] = [first?.tables[table], last?.tables[table]];
    const seconds = last && first ? last.t - first.t : 0;
    if (!before || !after || seconds <= 0) return { rows: 0, commits: 0 };
    return { rows: Math.max(0, after[1] - before[1]) / seconds, commits: Math.max(0, after[2] - before[2]) / seconds };
  }

  async _follow(begun) {
    this._stop = new AbortController();
    const response = await fetch("/live", { signal: this._stop.signal, cache: "no-store" });
    if (!response.ok) throw new Error(`the agent answers with ${response.status}`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    try {
      for (;;) {
        const silent = setTimeout(() => this._stop.abort(), SILENCE_MS);
        const { value, done } = await reader.read();
        clearTimeout(silent);
        if (done) return;
        begun();
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        this._take(lines.filter(Boolean).map((line) => JSON.parse(line)));
      }
    } finally {
      this._stop.abort();
    }
  }

  _take(lines) {
    const changed = new Map();
    for (const line of lines) {
      if (line.event === "hello") this._greet(line);
      else if (line.event === "sample") this._measure(line);
      else this._collect(changed, line);
    }
    for (const [table, { changes, many }] of changed) {
      this.dispatchEvent(new CustomEvent("changes", { detail: { table, changes, many } }));
    }
  }

  _greet(line) {
    if (this.hello && this._lost) this.gaps.push([this._lost, Date.now()]);
    this._lost = null;
    this.hello = line;
    this.kept = line.history;
    this.fine = [];
    this._setState("live");
    this.dispatchEvent(new Event("hello"));
  }

  _measure({ status, ...sample }) {
    this.status = status;
    this.fine.push(sample);
    if (this.fine.length > SAMPLES_FINE) this.fine.shift();
    if (!this.kept.length || sample.t - this.kept.at(-1).t >= 4.9) this.kept.push(sample);
    while (this.kept.length && sample.t - this.kept[0].t > 3600) this.kept.shift();
    this.dispatchEvent(new Event("sample"));
  }

  _collect(changed, line) {
    const group = changed.get(line.table) ?? { changes: [], many: 0 };
    changed.set(line.table, group);
    if (line.event === "many") {
      group.many += line.count;
      return;
    }
    group.changes.push(line);
    this._remember(line);
  }

  _remember(line) {
    const name = `${line.table}\u0000${keyText(line.key)}`;
    const past = this._rows.get(name) ?? [];
    this._rows.delete(name); // so that the row changed last stands last
    past.push({ event: line.event, row: line.row, revision: line.revision, at: Date.now() });
    if (past.length > CHANGES_PER_ROW) past.shift();
    this._rows.set(name, past);
    if (this._rows.size > ROWS_REMEMBERED) this._rows.delete(this._rows.keys().next().value);
  }

  _setState(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  /** A page that nobody sees gives its connection back after a minute: a browser has six for all its windows. */
  _onVisibility() {
    clearTimeout(this._hiding);
    if (document.hidden) this._hiding = setTimeout(() => this._stop?.abort(), HIDDEN_MS);
    else this._wake?.();
  }

  _pause(ms) {
    return new Promise((resolve) => {
      this._wake = resolve;
      if (!document.hidden) setTimeout(resolve, ms);
    });
  }
}
