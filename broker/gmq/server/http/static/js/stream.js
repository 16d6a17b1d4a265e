// The stream of views, which reconnects by itself.

import { userOfSession } from "./session.js";

const RETRY = 1000; // ms
const SILENCE = 8000; // ms without an event after which the connection is taken for dead
const HIDDEN = 60000; // ms for which a page that nobody sees goes on

/** Gives views of what is watched to `onView`, and to `onState` how the connection is: connecting, live, away (with why), paused. */
export class Stream {
  #source = null;
  #address = "";
  #retry = 0;
  #silence = 0;
  #hidden = 0;

  constructor(onView, onState) {
    this.onView = onView;
    this.onState = onState;
    document.addEventListener("visibilitychange", () => this.#seen());
    addEventListener("online", () => this.#open());
  }

  /** Watch what these parameters ask for, from now on. */
  watch(parameters) {
    const address = `events?${parameters}`;
    if (address === this.#address && this.#source) return;
    this.#address = address;
    this.#open();
  }

  #open() {
    this.#close();
    const source = new EventSource(this.#address);
    this.#source = source;
    source.onmessage = (event) => {
      if (source !== this.#source) return;
      this.#listen();
      this.onState("live");
      this.onView(JSON.parse(event.data));
    };
    source.onerror = () => {
      if (source === this.#source) this.#lost();
    };
    this.#listen();
  }

  #close() {
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#retry);
    clearTimeout(this.#silence);
  }

  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lost(), SILENCE);
  }

  async #lost() {
    this.#close();
    this.#retry = setTimeout(() => this.#open(), RETRY);
    const retry = this.#retry;
    const why = await reason(this.#address);
    if (retry === this.#retry && this.#source === null) this.onState("away", why);
  }

  #seen() {
    clearTimeout(this.#hidden);
    if (document.hidden) {
      this.#hidden = setTimeout(() => {
        this.#close();
        this.onState("paused");
      }, HIDDEN);
    } else if (!this.#source) {
      this.#open();
    }
  }
}

/** Why there is no stream. */
async function reason(address) {
  try {
    const response = await fetch("readyz", { cache: "no-store", signal: AbortSignal.timeout(RETRY * 3) });
    if (response.ok) {
      await userOfSession();
      return (await refusal(address)) || "The broker answers, but its stream of news ended.";
    }
    const answer = await response.json();
    return `The broker is not ready: ${answer.reasons.join("; ")}.`;
  } catch {
    return "The broker cannot be reached.";
  }
}

/** What the broker says where it refuses the stream; nothing where it does not. */
async function refusal(address) {
  const stop = new AbortController();
  setTimeout(() => stop.abort(), RETRY * 3);
  const response = await fetch(address, { cache: "no-store", signal: stop.signal });
  if (!response.ok) return `The broker refuses: ${(await response.json()).detail}.`;
  stop.abort();
  return "";
}
