// Where the page starts: which view is shown, and what all of them share.

import { element, setText, writing } from "./dom.js";
import { duration } from "./format.js";
import { Tiles, showOverview } from "./overview.js";
import { QueueView } from "./queue.js";
import { QueuesView } from "./queues.js";
import { startSession } from "./session.js";
import { Stream } from "./stream.js";
import { startTheme } from "./theme.js";

const byId = (id) => document.getElementById(id);
const main = byId("main");
const tiles = new Tiles(byId("overview"));
const trouble = element("p", { class: "notice bad trouble", role: "alert", hidden: true });
byId("notices").after(trouble);
const stream = new Stream(showView, showState);
let view = null;
let away = "";

/** What the address names: one queue, or the list with what is searched for. */
function route() {
  const hash = location.hash.slice(1);
  const [path, query = ""] = hash.split("?");
  const encoded = /^\/queues\/(.+)$/.exec(path);
  if (encoded) {
    try {
      return { queue: decodeURIComponent(encoded[1]) };
    } catch {
      return { list: new URLSearchParams() }; // not an address of ours
    }
  }
  return { list: new URLSearchParams(query) };
}

function show({ queue, list }) {
  if (view instanceof QueuesView && list) {
    view.go(list);
    return;
  }
  const moved = view !== null;
  view?.close();
  view = queue === undefined ? new QueuesView(list, watch) : new QueueView(queue);
  main.replaceChildren(view.root);
  document.title = queue === undefined ? "GMQ" : `${queue} · GMQ`;
  if (moved) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  watch();
}

function watch() {
  stream.watch(view.parameters());
}

function showView(news) {
  setText(byId("version"), `${news.broker.version}, up ${duration(news.at - news.broker.started)}`);
  showOverview(tiles, news);
  const { problem, unready } = news.broker;
  setTrouble(problem === null ? unready.join("; ") : `The storage cannot serve: ${problem}`);
  view.show(news);
}

function setTrouble(text) {
  trouble.hidden = !text && !away;
  setText(trouble, away || text);
}

function showState(state, why = "") {
  const texts = { live: "live", connecting: "connecting", away: "away, trying again", paused: "paused" };
  byId("link-state").dataset.state = state;
  setText(byId("link-text"), texts[state]);
  document.body.classList.toggle("stale", state === "away");
  away = state === "away" ? `${why} What you see is as it was; the page tries again every second.` : "";
  setTrouble(state === "live" ? "" : trouble.textContent);
}

addEventListener("hashchange", () => show(route()));
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") view.escape();
  else if (!writing(event.target)) view.key(event);
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // what stands after # names a view
  main.focus();
});
startTheme(byId("theme"), byId("theme-text"));
startSession(byId("logout")).catch(() => {}); // the stream tells that the broker is away
show(route());
