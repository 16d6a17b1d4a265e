// Messages, one below the other.

import { button, element } from "./dom.js";
import { bytes, duration, instant, plural } from "./format.js";
import { decodeBase64, payloadView } from "./payload.js";

const REASONS = { max_deliveries: "delivered too often", expired: "expired" };

function headersOf(message) {
  const headers = Object.entries(message.headers ?? {});
  if (!headers.length) return null;
  const list = element("dl", { class: "pairs headers" });
  for (const [name, value] of headers) list.append(element("dt", {}, name), element("dd", {}, value));
  return list;
}

/** Why a message is a dead letter. */
function deadOf({ dead }) {
  if (!dead) return null;
  return element(
    "p",
    { class: "dead" },
    element("strong", {}, "Dead letter"),
    ` from `,
    element("a", { href: `#/queues/${encodeURIComponent(dead.queue)}` }, element("bdi", {}, dead.queue)),
    `, where it was message ${dead.id}: ${REASONS[dead.reason] ?? dead.reason}, ${plural(dead.deliveries, "delivery", "deliveries")}, at `,
    element("time", { datetime: new Date(dead.at * 1000).toISOString() }, instant(dead.at)),
  );
}

/** A message; `actions` are buttons that belong to it. */
export function messageView(message, actions = []) {
  const payload = decodeBase64(message.payload);
  const facts = [
    `priority ${message.priority}`,
    bytes(payload.length),
    message.deliveries ? plural(message.deliveries, "delivery", "deliveries") : "never delivered",
  ];
  return element(
    "article",
    { class: "message", "aria-label": `Message ${message.id}` },
    element(
      "header",
      {},
      element("h3", {}, `#${message.id}`),
      element("p", { class: "facts" }, "published ", element("time", {}, instant(message.published)), ` · ${facts.join(" · ")}`),
      element("div", { class: "actions" }, ...actions),
    ),
    deadOf(message),
    headersOf(message),
    payloadView(payload),
  );
}

/** A message that was taken here. Under a lease, `settle` is asked to acknowledge or to put back. */
export function takenView(message, lease, settle, close) {
  if (lease === null)
    return messageView(message, [
      element("span", { class: "badge" }, "taken and removed"),
      button("Close", close, { class: "quiet small" }),
    ]);
  const left = element("span", { class: "badge" });
  const ends = Date.now() + lease * 1000;
  const buttons = [
    button("Acknowledge", () => settle("acknowledge"), { class: "primary small" }),
    button("Put back", () => settle("putBack"), { class: "small" }),
  ];
  const view = messageView(message, [left, ...buttons, button("Close", close, { class: "quiet small" })]);
  const tick = () => {
    const seconds = Math.ceil((ends - Date.now()) / 1000);
    left.textContent = seconds > 0 ? `leased for ${duration(seconds)} more` : "the lease is over: it is back in the queue";
    if (seconds <= 0) buttons.forEach((one) => (one.disabled = true));
    if (seconds <= 0 || (!view.isConnected && seconds < lease)) clearInterval(timer);
  };
  const timer = setInterval(tick, 1000);
  tick();
  return view;
}
