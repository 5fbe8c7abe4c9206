// Which fields of a table stand in its columns, and the first field that tells a row.

const CHOSEN = {
  nodes: "name cluster addresses pod_cidrs source",
  identities: "id cluster namespace labels",
  endpoints: "ip identity host_ip namespace pod cluster",
  services: "namespace name cluster frontends shared",
  backends: "namespace service ip port protocol ready cluster",
  namespaces: "name cluster labels",
  policies: "namespace name kind selectors",
  sources: "cluster table backend state rows withheld_deletes since last_error",
  rejected: "cluster table object error when",
  ipcache: "network identity host_ip cluster namespace pod",
  routes: "pod_cidr node ipv4 ipv6 source",
  loadbalancer: "namespace name frontends clusters",
};
const FEW = 7;

/** The names of the columns of a table, given its description. */
export function columnsOf(table) {
  const chosen = CHOSEN[table.name];
  return chosen ? chosen.split(" ") : fieldsOf(table).slice(0, FEW);
}

/** All fields of a row: the parts of its key, then the rest. */
export function fieldsOf(table) {
  const parts = table.fields.includes("key") || table.key[0] === "key" ? [] : table.key;
  return [...parts, ...table.fields];
}

/** A row with the parts of its key beside the other fields. */
export function flat(row) {
  if (row === null || typeof row !== "object") return { value: row };
  const { key, ...rest } = row;
  return key !== null && typeof key === "object" ? { ...key, ...rest } : row;
}
