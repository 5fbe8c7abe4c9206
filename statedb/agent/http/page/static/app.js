// The page: the bar, which page is shown, and what reaches it from the agent.

import { get } from "./api.js";
import { h, setText, speak } from "./dom.js";
import { count, plural } from "./format.js";
import { Live } from "./live.js";
import { Overview } from "./overview.js";
import { TablePage } from "./table.js";
import { Trouble } from "./trouble.js";

const live = new Live();
const main = document.getElementById("main");
const nav = document.getElementById("nav");
let tables = [];
let page = null;
let shown = "";

/** The parts of the address after the `#`. */
function place() {
  return location.hash.replace(/^#\/?/, "").split("/").filter((each, at) => each !== "" || at > 1).map(decodeURIComponent);
}

function makePage([kind, name, ...key]) {
  const table = tables.find((each) => each.name === name);
  if (kind === "table" && table) return new TablePage(live, table, key.length ? key : null);
  return kind === "trouble" ? new Trouble(live) : new Overview(live, tables);
}

function show() {
  if (!tables.length) return;
  const [kind = "", name = "", ...key] = place();
  const wanted = `${kind}/${name}`;
  if (page && wanted === shown) {
    page.show?.(key.length ? key : null);
    return;
  }
  page?.close();
  page = makePage([kind, name, ...key]);
  shown = wanted;
  main.replaceChildren(page.element);
  document.title = `${page.title} · statedb`;
  drawNav();
  if (document.activeElement === document.body && wanted !== "/") main.focus({ preventScroll: true });
}

function drawNav() {
  const [kind = "", name = ""] = place();
  const link = (href, text, current, badge) => h("a", { href, "aria-current": current ? "page" : null }, text, badge);
  const select = h("select", { "aria-label": "Table", class: "table-choice", "aria-current": kind === "table" ? "page" : null, onchange: () => (location.hash = `#/table/${encodeURIComponent(select.value)}`) },
    h("option", { value: "", disabled: true, selected: kind !== "table" }, "Tables"),
    tables.map((each) => h("option", { value: each.name, selected: kind === "table" && each.name === name }, each.name)));
  nav.replaceChildren(link("#/", "Overview", kind === ""), select, link("#/trouble", "Trouble", kind === "trouble", h("span", { class: "badge", id: "troubles" })));
  countTroubles();
}

function countTroubles() {
  const badge = document.getElementById("troubles");
  if (!badge) return;
  const rejected = live.sample?.tables.rejected?.[0] ?? 0;
  const { stale, failures, consumers } = live.status;
  const number = rejected + stale.length + failures.length + consumers.filter((each) => !each.health.startsWith("OK")).length;
  badge.hidden = number === 0;
  setText(badge, count(number));
  badge.className = `badge ${number ? "warn" : ""}`;
}

function drawStates() {
  const { failures, missing, stale } = live.status;
  const [look, text] = failures.length ? ["bad", "failed"] : missing.length ? ["warn", "not ready"] : stale.length ? ["warn", `ready; ${plural(stale.length, "table")} stale`] : ["good", "ready"];
  paint("ready", live.hello ? look : "", live.hello ? text : "");
  const states = { live: ["good", "live"], connecting: ["warn", "connecting"], paused: ["", "paused"], lost: ["bad", "agent away; trying again"] };
  paint("link", ...states[live.state]);
}

function paint(id, look, text) {
  const element = document.getElementById(id);
  setText(element, text);
  element.className = `pill ${look}`;
}

async function begin() {
  const found = await get("/tables");
  const names = (each) => each.map(({ name }) => name).join();
  const others = names(found.tables) !== names(tables);
  tables = found.tables;
  setText(document.getElementById("cluster"), live.hello?.cluster ?? "");
  if (!others && page) {
    page.refresh();
    return;
  }
  shown = "";
  show();
}

live.addEventListener("state", () => {
  drawStates();
  if (live.state === "lost") speak("The agent is away. What you see is what it said last.");
  document.body.classList.toggle("away", live.state === "lost");
});
live.addEventListener("hello", () => begin().catch(() => {}));
live.addEventListener("sample", () => {
  drawStates();
  countTroubles();
  page?.onSample();
});
live.addEventListener("changes", (event) => page?.onChanges(event.detail));
window.addEventListener("hashchange", show);
window.addEventListener("keydown", (event) => page?.onKey?.(event));

window.statedb = { live, get page() { return page; } }; // for tests, and for the curious
live.run();
