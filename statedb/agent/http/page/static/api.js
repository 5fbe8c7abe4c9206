// Requests to the agent that the page came from.

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function answer(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, body.error ?? `the agent answers with ${response.status}`);
  return body;
}

function address(path, parameters) {
  const pairs = Object.entries(parameters).flatMap(([name, value]) =>
    value === null || value === undefined ? [] : Array.isArray(value) ? value.map((each) => [name, each]) : [[name, value]],
  );
  const query = new URLSearchParams(pairs).toString();
  return query ? `${path}?${query}` : path;
}

/** One answer. A parameter may be a list: it is then given once for each. Throws ApiError, and TypeError if nobody answers. */
export async function get(path, parameters = {}, signal = undefined) {
  return answer(await fetch(address(path, parameters), { signal, cache: "no-store" }));
}

/** Asks the agent to do something. */
export async function post(path, parameters = {}) {
  return answer(await fetch(address(path, parameters), { method: "POST" }));
}

/** Rows of a table as `{key, revision, row}`, with the rest of the answer. */
export async function rowsOf(table, parameters, signal) {
  const found = await get(`/tables/${encodeURIComponent(table)}`, { ...parameters, keys: "yes" }, signal);
  return { ...found, rows: found.rows.map((row, place) => entry(found.keys[place], row)) };
}

/** A row of an answer, with its key. A row that is no object stands under `value`. */
export function entry(key, { revision, ...row }) {
  return { key, revision, row };
}
