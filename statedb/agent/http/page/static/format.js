// Values as text for people.

const WHOLE = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (number) => WHOLE.format(number);
export const short = (number) => (Math.abs(number) < 10_000 ? WHOLE.format(Math.round(number * 10) / 10) : SHORT.format(number));
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** A rate, as "12/s". */
export function rate(number) {
  if (number === 0) return "0/s";
  return number < 10 ? `${number.toFixed(1)}/s` : `${short(Math.round(number))}/s`;
}

/** A length of time in its two largest units. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

/** A time of day, of Unix milliseconds. */
export function clock(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/** A moment, of Unix seconds, as RFC 3339. */
export const moment = (seconds) => new Date(seconds * 1000).toISOString().replace(/\.\d+Z$/, "Z");

/** A key on one line. */
export const keyLine = (key) => key.filter((part) => part !== "").join(" / ");

const TIMES = new Set(["since", "when"]);

/** The value of a field, on one line. */
export function cell(name, value) {
  if (TIMES.has(name) && typeof value === "number" && value > 0) return moment(value);
  return line(value);
}

function line(value) {
  if (value === null || value === undefined || value === "") return "";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(part).join(", ");
  return typeof value === "object" ? part(value) : String(value);
}

function part(value) {
  if (Array.isArray(value)) {
    return value.length === 2 && value.every((each) => typeof each === "string") ? value.join("=") : JSON.stringify(value);
  }
  if (value === null || typeof value !== "object") return line(value);
  if ("ip" in value && "port" in value) {
    const backends = Array.isArray(value.backends) ? ` (${value.backends.length})` : "";
    return `${value.ip}:${value.port}/${value.protocol}${backends}`;
  }
  if ("path" in value) return value.path + ("name" in value ? `=${value.name}` : "");
  return Object.values(value).filter((each) => each !== "" && each !== null).map(line).join(":");
}

/** What a state means: good, warn, bad or nothing. */
export const mood = (state) =>
  ({ synced: "good", ready: "good", live: "good", stale: "warn", syncing: "warn", connecting: "warn", failed: "bad", lost: "bad" })[
    state
  ] ?? "";
