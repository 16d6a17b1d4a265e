// One queue: its charts, messages, policy, and what can be done with it.

import * as api from "./api.js";
import { Chart } from "./charts.js";
import { confirm } from "./dialog.js";
import { button, element, icon, writing } from "./dom.js";
import { bytes, count, duration, plural, rate } from "./format.js";
import { remember } from "./history.js";
import { attempt, notice } from "./notices.js";
import { Tiles } from "./overview.js";
import { Peek } from "./peek.js";
import { PublishForm } from "./publish.js";

const POLICY = {
  max_messages: ["Most messages", count],
  max_deliveries: ["Most deliveries", count],
  dead_letter: ["Dead letters go to", (value) => value],
  ttl: ["Time to live", duration],
  lease: ["Lease", duration],
  expires: ["Deleted when idle for", duration],
};
const TOTALS = {
  published: "Published",
  delivered: "Delivered",
  acknowledged: "Acknowledged",
  expired: "Expired",
  dead_lettered: "Dead-lettered",
  dropped: "Dropped",
};

function panel(title, ...children) {
  return element("section", { class: "panel" }, element("h2", {}, title), ...children);
}

export class QueueView {
  #exists = null;
  #latest = null;

  constructor(queue) {
    this.queue = queue;
    this.tiles = new Tiles(element("div", { class: "tiles" }));
    this.depth = new Chart("Messages", [
      ["ready", "Ready", "ready"],
      ["delayed", "Delayed", "delayed"],
      ["leased", "Leased", "leased"],
    ]);
    this.rates = new Chart(
      "Messages per second",
      [
        ["published", "Published", "published"],
        ["delivered", "Delivered", "delivered"],
        ["acknowledged", "Acknowledged", "acknowledged"],
      ],
      { perSecond: true },
    );
    this.peek = new Peek(queue);
    this.form = new PublishForm(queue, () => this.peek.refresh());
    this.policy = element("dl", { class: "pairs" });
    this.totals = element("dl", { class: "pairs figures" });
    this.clearing = button("Clear…", () => this.#clear());
    this.deleting = button("Delete…", () => this.#delete(), { class: "danger-quiet" });
    this.missing = element(
      "div",
      { class: "panel empty", hidden: true },
      element("h2", {}, "There is no such queue"),
      element("p", {}, "The first message that is published to it makes it: write one below, or"),
      element("pre", {}, this.#curl()),
      button("Create it empty", () => this.#create()),
    );
    this.existing = element(
      "div",
      { class: "existing", hidden: true },
      this.tiles.root,
      element("div", { class: "charts panel" }, this.depth.root, this.rates.root),
    );
    this.facts = element("div", { class: "facts-panels" }, panel("Policy", this.policy), panel("Since the start", this.totals));
    this.root = element(
      "div",
      { class: "queue" },
      element(
        "div",
        { class: "queue-head" },
        element("a", { href: "#/", class: "back" }, icon("back"), "All queues"),
        element("h1", {}, element("bdi", {}, queue)),
        element("div", { class: "actions" }, this.clearing, this.deleting),
      ),
      this.missing,
      this.existing,
      element("div", { class: "columns" }, this.peek.root, element("div", { class: "side" }, panel("Publish", this.form.root), this.facts)),
    );
  }

  #curl() {
    const quoted = `'${location.origin}/v1/queues/${encodeURIComponent(this.queue).replaceAll("'", "%27")}/messages'`;
    return `curl --data 'hello' ${quoted}`;
  }

  /** What the stream is to send. */
  parameters() {
    return new URLSearchParams({ queue: this.queue });
  }

  show(view) {
    const { detail, gone, at } = view;
    if (!detail && !gone) return; // the storage did not tell; what is shown stays
    if (this.#exists !== Boolean(detail)) {
      this.#exists = Boolean(detail);
      this.existing.hidden = this.facts.hidden = this.clearing.hidden = this.deleting.hidden = !detail;
      this.missing.hidden = Boolean(detail);
    }
    this.#latest = detail?.row ?? null;
    this.peek.changed(detail);
    if (!detail) return;
    const { row, policy, totals } = detail;
    const history = remember(at, row);
    this.depth.show(history, at);
    this.rates.show(history, at);
    this.tiles.show("Ready", count(row.ready), "", "ready");
    this.tiles.show("Delayed", count(row.delayed), "", "delayed");
    this.tiles.show("Leased", count(row.leased), "", "leased");
    this.tiles.show("Size", bytes(row.bytes));
    this.tiles.show("Oldest", duration(row.oldest_age));
    this.tiles.show("Published", rate(row.rates?.published), "", "published");
    this.tiles.show("Delivered", rate(row.rates?.delivered), "", "delivered");
    this.tiles.show("Acknowledged", rate(row.rates?.acknowledged), "", "acknowledged");
    this.#pairs(
      this.policy,
      Object.entries(POLICY)
        .filter(([key]) => policy[key] !== undefined && policy[key] !== null)
        .map(([key, [label, text]]) => [label, text(policy[key])]),
      "The broker's limits alone apply.",
    );
    this.#pairs(
      this.totals,
      Object.entries(TOTALS).map(([key, label]) => [label, count(totals[key])]),
    );
  }

  #pairs(list, pairs, none = "") {
    const shown = JSON.stringify(pairs);
    if (list.dataset.shown === shown) return;
    list.dataset.shown = shown;
    list.replaceChildren(...pairs.flatMap(([label, text]) => [element("dt", {}, label), element("dd", {}, text)]));
    if (!pairs.length) list.append(element("dd", { class: "hint" }, none));
  }

  #held() {
    const row = this.#latest;
    return row ? plural(row.ready + row.delayed + row.leased, "message") : "all messages";
  }

  async #clear() {
    const text = `This removes ${this.#held()}, delayed and leased ones too. It cannot be undone.`;
    if (!(await confirm({ title: "Clear this queue?", name: this.queue, text, verb: "Clear the queue" }))) return;
    const answer = await attempt("Clearing", () => api.clear(this.queue));
    if (answer) notice(`Cleared: ${plural(answer.count, "message")} removed.`, "good");
    this.peek.refresh();
  }

  async #delete() {
    const text = `This removes the queue, its policy and ${this.#held()}. It cannot be undone.`;
    if (!(await confirm({ title: "Delete this queue?", name: this.queue, text, verb: "Delete the queue" }))) return;
    const answer = await attempt("Deleting", () => api.remove(this.queue));
    if (!answer) return;
    notice(`Deleted ${this.queue}, and ${plural(answer.count, "message")} with it.`, "good");
    location.hash = "#/";
  }

  async #create() {
    await attempt("Creating", () => api.create(this.queue));
  }

  escape() {
    if (writing(document.activeElement))
      document.activeElement.blur(); // what was written is not to be lost
    else location.hash = "#/";
  }

  key(event) {
    if (event.key !== "/") return;
    event.preventDefault();
    location.hash = "#/";
    requestAnimationFrame(() => document.getElementById("search")?.focus());
  }

  close() {
    this.peek.close();
    this.depth.close();
    this.rates.close();
  }
}
