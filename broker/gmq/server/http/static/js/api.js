// The broker's HTTP interface, as far as the console uses it.

/** What the broker refused; the message is its sentence for people. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `the broker answered ${status}`);
    this.status = status;
    this.code = problem.code;
  }
}

async function ask(method, path, body = undefined, headers = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refused(0, { detail: "the broker cannot be reached" });
  }
  const text = await response.text();
  let answer = {};
  try {
    answer = text ? JSON.parse(text) : {};
  } catch {
    answer = { detail: text.slice(0, 200) }; // a proxy's page, perhaps
  }
  if (response.status === 401) location.replace("login"); // the session is over
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

const at = (queue, rest = "") => `v1/queues/${encodeURIComponent(queue)}${rest}`;

/** Create the queue where there is none. */
export const create = (queue) => ask("PUT", at(queue), {});
export const peek = (queue, count) => ask("GET", at(queue, `/messages?count=${count}`));
export const clear = (queue) => ask("DELETE", at(queue, "/messages"));
export const remove = (queue) => ask("DELETE", at(queue));
/** Take the first message; `lease` is in seconds, null to remove it. */
export const take = (queue, lease) => ask("POST", at(queue, `/take?count=1${lease === null ? "" : `&lease=${lease}`}`));
/** Dead letters go back to where they came from: `count` of them, or all. */
export const moveBack = (queue, count = null) => ask("POST", at(queue, "/move"), count === null ? {} : { count });
export const acknowledge = (receipt) => ask("POST", "v1/acknowledge", { receipts: [receipt] });
export const putBack = (receipt) => ask("POST", "v1/put-back", { receipts: [receipt] });
/** Publish one message; `options` may have delay, ttl, priority and headers, `key` is null for none. */
export const publish = (queue, text, key, options) =>
  ask("POST", at(queue, "/messages"), { messages: [{ text, ...(key && { key }) }], ...options });
