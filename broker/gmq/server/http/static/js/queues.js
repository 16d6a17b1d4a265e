// The list of queues: searched, sorted, a page at a time.

import * as api from "./api.js";
import { Sparkline } from "./charts.js";
import { askName } from "./dialog.js";
import { arrange, button, element, icon, setText } from "./dom.js";
import { bytes, count, duration, plural, rate } from "./format.js";
import { remember } from "./history.js";
import { attempt } from "./notices.js";

const COLUMNS = [
  { key: "name", label: "Queue", sort: "name" },
  { key: "chart", label: "Last minute" },
  { key: "ready", label: "Ready", sort: "ready", text: (row) => count(row.ready) },
  { key: "delayed", label: "Delayed", sort: "delayed", text: (row) => count(row.delayed) },
  { key: "leased", label: "Leased", sort: "leased", text: (row) => count(row.leased) },
  { key: "bytes", label: "Size", sort: "bytes", text: (row) => bytes(row.bytes) },
  { key: "age", label: "Oldest", text: (row) => duration(row.oldest_age) },
  { key: "in", label: "Published", text: (row) => rate(row.rates?.published) },
  { key: "out", label: "Delivered", text: (row) => rate(row.rates?.delivered) },
];
const TYPING = 200; // ms after the last letter until the search begins

const addressOf = (queue) => `#/queues/${encodeURIComponent(queue)}`;

/** One row of the table. It is kept, and moved, as long as its queue is on the page. */
class QueueRow {
  #cells = new Map();
  #chart = null;
  #latest = null;

  constructor(queue, sightings) {
    this.chartCell = element("td", { class: "cell-chart", role: "cell" });
    this.root = element("tr", { role: "row" });
    for (const column of COLUMNS) {
      if (column.key === "name") {
        const link = element("a", { href: addressOf(queue) }, element("bdi", {}, queue));
        this.root.append(element("th", { scope: "row", class: "cell-name", role: "rowheader" }, link));
      } else if (column.key === "chart") {
        this.root.append(this.chartCell);
      } else {
        const value = element("span", { class: "value" });
        this.#cells.set(column, value);
        this.root.append(element("td", { class: `number cell-${column.key}`, role: "cell", "data-label": column.label }, value));
      }
    }
    this.sightings = sightings;
    this.root.handler = (seen) => this.#seen(seen);
    sightings.observe(this.root);
  }

  show(row, history, now) {
    for (const [column, value] of this.#cells) setText(value, column.text(row));
    this.#latest = [history, now];
    this.#chart?.show(history, now);
  }

  /** The chart is only there while the row is on the screen. */
  #seen(seen) {
    if (seen && !this.#chart) {
      this.#chart = new Sparkline();
      this.chartCell.append(this.#chart.root);
      if (this.#latest) this.#chart.show(...this.#latest);
    } else if (!seen && this.#chart) {
      this.#chart.close();
      this.#chart.root.remove();
      this.#chart = null;
    }
  }

  close() {
    this.sightings.unobserve(this.root);
    this.#seen(false);
  }
}

export class QueuesView {
  #rows = new Map();
  #sightings = new IntersectionObserver((entries) => entries.forEach((entry) => entry.target.handler(entry.isIntersecting)), {
    rootMargin: "200px",
  });
  #typing = 0;
  #pages = 1;

  /** `changed` is called when other queues are to be watched. */
  constructor(parameters, changed) {
    this.changed = changed;
    this.search = element("input", {
      type: "search",
      id: "search",
      placeholder: "Search queues",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: 255,
      "aria-keyshortcuts": "/",
      input: () => this.#typed(),
    });
    this.sorting = element("select", { id: "sort", change: () => this.#navigate({ sort: this.sorting.value, page: 0 }) });
    for (const { label, sort } of COLUMNS.filter((column) => column.sort)) {
      this.sorting.append(
        element("option", { value: sort === "name" ? "name" : `-${sort}` }, sort === "name" ? "Name" : `Most ${label.toLowerCase()}`),
      );
      this.sorting.append(
        element("option", { value: sort === "name" ? "-name" : sort }, sort === "name" ? "Name, from Z" : `Least ${label.toLowerCase()}`),
      );
    }
    this.found = element("p", { class: "found", role: "status" });
    this.body = element("tbody", { role: "rowgroup" });
    this.heads = new Map();
    this.table = element(
      "table",
      { class: "queues", role: "table", "aria-label": "Queues" },
      element("thead", { role: "rowgroup" }, this.#head()),
      this.body,
    );
    this.previous = button("Previous", () => this.#navigate({ page: this.page - 1 }), { "aria-keyshortcuts": "[" });
    this.next = button("Next", () => this.#navigate({ page: this.page + 1 }), { "aria-keyshortcuts": "]" });
    this.place = element("span", { class: "place" });
    this.pager = element("nav", { class: "pager", "aria-label": "Pages", hidden: true }, this.previous, this.place, this.next);
    this.empty = element("div", { class: "empty", hidden: true });
    this.root = element(
      "section",
      { class: "panel list", "aria-label": "Queues" },
      element(
        "div",
        { class: "toolbar" },
        element(
          "div",
          { class: "search-box" },
          icon("search"),
          element("label", { for: "search", class: "unseen" }, "Search queues"),
          this.search,
          element("kbd", {}, "/"),
        ),
        element("div", { class: "sort-box" }, element("label", { for: "sort" }, "Sort"), this.sorting),
        this.found,
        button("New queue", () => this.#create(), { class: "primary push" }),
      ),
      this.table,
      this.empty,
      this.pager,
    );
    this.#read(parameters);
  }

  #head() {
    const row = element("tr", { role: "row" });
    for (const { key, label, sort } of COLUMNS) {
      const head = element("th", {
        scope: "col",
        role: "columnheader",
        class: key === "name" || key === "chart" ? `cell-${key}` : `number cell-${key}`,
      });
      if (sort) {
        head.append(button(label, () => this.#sortBy(sort), { class: "sort" }));
        this.heads.set(sort, head);
      } else {
        head.append(label);
      }
      row.append(head);
    }
    return row;
  }

  #read(parameters) {
    this.sort = parameters.get("sort") ?? "name";
    if (!COLUMNS.some(({ sort }) => sort && sort === this.sort.replace(/^-/, ""))) this.sort = "name";
    this.page = Math.max(0, Math.min(Number.parseInt(parameters.get("page") ?? "0", 10) || 0, 999999));
    const search = parameters.get("search") ?? "";
    if (document.activeElement !== this.search) this.search.value = search;
    this.searched = search;
    this.sorting.value = this.sort;
    for (const [sort, head] of this.heads) {
      const up = this.sort === sort;
      const down = this.sort === `-${sort}`;
      if (up || down) head.setAttribute("aria-sort", up ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  }

  /** Show what an address of the list asks for. */
  go(parameters) {
    this.#read(parameters);
    this.changed();
  }

  /** What the stream is to send. */
  parameters() {
    return new URLSearchParams({ search: this.searched, sort: this.sort, page: this.page });
  }

  #navigate({ search = this.searched, sort = this.sort, page = this.page }, { replace = false } = {}) {
    const parameters = new URLSearchParams();
    if (search) parameters.set("search", search);
    if (sort !== "name") parameters.set("sort", sort);
    if (page > 0) parameters.set("page", page);
    const address = parameters.size ? `#/?${parameters}` : "#/";
    history[replace ? "replaceState" : "pushState"](null, "", address);
    this.go(parameters);
  }

  #sortBy(sort) {
    const first = sort === "name" ? "name" : `-${sort}`;
    const other = sort === "name" ? "-name" : sort;
    this.#navigate({ sort: this.sort === first ? other : first, page: 0 });
  }

  #typed() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#navigate({ search: this.search.value.trim(), page: 0 }, { replace: true }), TYPING);
  }

  async #create() {
    const name = await askName({
      title: "New queue",
      label: "Name",
      verb: "Create",
      hint: "1 to 255 bytes. Publishing to a name that is new creates a queue, too.",
    });
    if (name && (await attempt("The queue", () => api.create(name)))) location.hash = addressOf(name);
  }

  show(view) {
    const { page, at } = view;
    this.table.setAttribute("aria-busy", String(!page));
    if (!page) return; // the storage did not tell; what is shown stays
    this.#pages = page.pages;
    this.page = page.page;
    const shown = new Set(page.rows.map((row) => row.queue));
    for (const [queue, row] of this.#rows) {
      if (!shown.has(queue)) {
        row.close();
        this.#rows.delete(queue);
      }
    }
    const rows = page.rows.map((data) => {
      let row = this.#rows.get(data.queue);
      if (!row) {
        row = new QueueRow(data.queue, this.#sightings);
        this.#rows.set(data.queue, row);
      }
      row.show(data, remember(at, data), at);
      return row.root;
    });
    arrange(this.body, rows);
    this.#showAround(page);
  }

  #showAround(page) {
    const some = page.rows.length > 0;
    this.table.hidden = !some;
    this.empty.hidden = some;
    if (!some) this.#explain();
    setText(this.found, this.searched ? `${plural(page.found, "queue")} found` : plural(page.found, "queue"));
    this.pager.hidden = page.pages <= 1;
    this.previous.disabled = page.page === 0;
    this.next.disabled = page.page >= page.pages - 1;
    setText(this.place, `Page ${count(page.page + 1)} of ${count(page.pages)}`);
  }

  #explain() {
    if (this.empty.dataset.about === `search:${this.searched}`) return;
    this.empty.dataset.about = `search:${this.searched}`;
    if (this.searched) {
      this.empty.replaceChildren(
        element("h2", {}, "No queue has that in its name"),
        element("p", {}, "The search looks for the text anywhere in a name, in capitals or not."),
        button("Show all queues", () => this.#clearSearch()),
      );
    } else {
      this.empty.replaceChildren(
        element("h2", {}, "There are no queues yet"),
        element("p", {}, "A queue is made by the first message that is published to it:"),
        element("pre", {}, `curl --data 'hello' ${location.origin}/v1/queues/orders/messages\ngmqclient publish orders hello`),
      );
    }
  }

  #clearSearch() {
    this.search.value = "";
    this.#navigate({ search: "", page: 0 }, { replace: true });
    this.search.focus();
  }

  escape() {
    if (this.searched || this.search.value) this.#clearSearch();
    else document.activeElement?.blur();
  }

  key(event) {
    if (event.key === "/") {
      event.preventDefault();
      this.search.focus();
      this.search.select();
    } else if (event.key === "[" && this.page > 0) {
      this.#navigate({ page: this.page - 1 });
    } else if (event.key === "]" && this.page < this.#pages - 1) {
      this.#navigate({ page: this.page + 1 });
    }
  }

  close() {
    clearTimeout(this.#typing);
    for (const row of this.#rows.values()) row.close();
    this.#sightings.disconnect();
  }
}
