// The first messages of a queue: looked at, taken, and dead letters put back.

import * as api from "./api.js";
import { arrange, button, element, setText } from "./dom.js";
import { count, plural } from "./format.js";
import { messageView, takenView } from "./messages.js";
import { attempt, notice } from "./notices.js";

const PAUSE = 1000; // ms between looks
const BY_ITSELF = 256 << 10; // bytes of messages up to which they are looked at by themselves

export class Peek {
  #views = new Map();
  #seen = "";
  #wanted = false;
  #timer = 0;
  #closed = false;

  constructor(queue) {
    this.queue = queue;
    this.most = element("select", { id: "peek-count", change: () => this.refresh() });
    for (const number of [10, 50, 200]) this.most.append(element("option", { value: number }, `first ${number}`));
    this.lease = element("select", { id: "take-lease" });
    for (const [value, label] of [
      ["", "and remove it"],
      ["30", "under a lease of 30 s"],
      ["300", "under a lease of 5 min"],
    ])
      this.lease.append(element("option", { value }, label));
    this.taken = element("div", { class: "taken" });
    this.dead = element("div", { class: "dead-bar", hidden: true });
    this.list = element("div", { class: "messages" });
    this.summary = element("p", { class: "hint" });
    this.told = element("p", { class: "unseen", role: "status" });
    this.deadText = element("span");
    this.dead.append(
      this.deadText,
      button("Put the first back", () => this.#moveBack(1), { class: "small" }),
      button("Put all back", () => this.#moveBack(null), { class: "small" }),
    );
    this.root = element(
      "section",
      { class: "panel peek" },
      element(
        "div",
        { class: "toolbar" },
        element("h2", {}, "Messages"),
        element("label", { for: "peek-count", class: "unseen" }, "How many to show"),
        this.most,
        button("Refresh", () => this.refresh(), { class: "quiet" }),
        element(
          "div",
          { class: "take push" },
          button("Take one", () => this.#take()),
          element("label", { for: "take-lease", class: "unseen" }, "How to take it"),
          this.lease,
        ),
      ),
      this.taken,
      this.dead,
      this.summary,
      this.told,
      this.list,
    );
  }

  /** The stream told of the queue; null where there is none. */
  changed(detail) {
    const seen = detail ? JSON.stringify([detail.row.ready, detail.totals]) : "";
    if (seen === this.#seen) return;
    const first = this.#seen === "";
    this.#seen = seen;
    this.ready = detail?.row.ready ?? 0;
    const { ready = 0, delayed = 0, leased = 0, bytes = 0 } = detail?.row ?? {};
    const held = Math.max(1, ready + delayed + leased);
    const large = (bytes / held) * Math.min(held, this.most.value) > BY_ITSELF;
    if (!large || first) this.#want();
    else setText(this.summary, "These messages are large: they are shown as they were. Refresh looks again.");
  }

  /** Look again, now. */
  async refresh() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#again(), PAUSE);
    this.#wanted = false;
    if (!this.#seen) {
      this.#show([]);
      return;
    }
    try {
      const { messages } = await api.peek(this.queue, this.most.value);
      if (!this.#closed) this.#show(messages);
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error;
      setText(this.summary, `The messages could not be looked at: ${error.message}`);
    }
  }

  #want() {
    this.#wanted = true;
    if (!this.#timer) this.refresh();
  }

  #again() {
    this.#timer = 0;
    if (this.#wanted) this.refresh();
  }

  #show(messages) {
    const views = new Map();
    for (const message of messages) {
      const key = `${message.id} ${message.deliveries}`;
      views.set(key, this.#views.get(key) ?? messageView(message));
    }
    this.#views = views;
    arrange(this.list, [...views.values()]);
    const dead = messages.filter((message) => message.dead).length;
    this.dead.hidden = !dead;
    const shown = messages.length;
    setText(
      this.deadText,
      dead === shown && shown === this.ready
        ? `${plural(dead, "dead letter")}.`
        : `${count(dead)} of the messages below ${dead === 1 ? "is a dead letter" : "are dead letters"}.`,
    );
    const which = shown < this.ready ? `The first ${count(shown)} of ${count(this.ready)}` : `All ${count(shown)}`;
    const all = `${which} that are ready, in the order of delivery. Looking does not take them.`;
    setText(this.summary, shown ? all : "No message is ready.");
  }

  async #take() {
    const lease = this.lease.value === "" ? null : Number(this.lease.value);
    const answer = await attempt("Taking", () => api.take(this.queue, lease));
    if (!answer) return;
    const [message] = answer.messages ?? [];
    if (!message) {
      notice("There is nothing to take: no message is ready.");
      return;
    }
    const close = () => view.remove();
    const settle = async (how) => {
      const answer = await attempt(how === "putBack" ? "Putting back" : "Acknowledging", () => api[how](message.receipt));
      if (!answer) return;
      notice(
        answer.count ? `Message ${message.id} was ${how === "putBack" ? "put back" : "acknowledged"}.` : "Its lease was over already.",
        answer.count ? "good" : "bad",
      );
      close();
    };
    const view = takenView(message, lease, settle, close);
    this.taken.prepend(view);
    setText(this.told, `Message ${message.id} was taken.`);
    this.refresh();
  }

  async #moveBack(most) {
    const answer = await attempt("Putting back", () => api.moveBack(this.queue, most));
    if (answer) notice(`${plural(answer.count, "dead letter")} put back where ${answer.count === 1 ? "it" : "they"} came from.`, "good");
    this.refresh();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
  }
}
