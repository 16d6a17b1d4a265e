// The broker as a whole: the tiles below the header.

import { element, setText } from "./dom.js";
import { bytes, count, rate } from "./format.js";

/** Tiles with a label, a figure and a word below it. */
export class Tiles {
  #tiles = new Map();

  constructor(root) {
    this.root = root;
  }

  /** Show a figure; `state` colours it: good, bad, or a series' name. */
  show(label, figure, below = "", state = "") {
    let tile = this.#tiles.get(label);
    if (!tile) {
      tile = { value: element("dd", { class: "figure" }), below: element("dd", { class: "below" }) };
      tile.root = element("dl", { class: "tile" }, element("dt", {}, label), tile.value, tile.below);
      this.#tiles.set(label, tile);
      this.root.append(tile.root);
    }
    setText(tile.value, figure);
    setText(tile.below, below);
    tile.root.dataset.state = state;
  }
}

/** Show the broker of a view. */
export function showOverview(tiles, view) {
  const { broker, sums, rates } = view;
  const good = broker.problem === null;
  tiles.show("Queues", count(sums?.queues), `${bytes(broker.memory)} in memory`);
  tiles.show("Ready", count(sums?.ready), sums ? `${bytes(sums.bytes)} in all` : "", "ready");
  tiles.show("Delayed", count(sums?.delayed), "", "delayed");
  tiles.show("Leased", count(sums?.leased), "", "leased");
  tiles.show("Published", rate(rates?.published), "messages in", "published");
  tiles.show("Delivered", rate(rates?.delivered), "messages out", "delivered");
  const connections = broker.tcp_connections + broker.http_connections;
  tiles.show("Connections", count(connections), `${count(broker.tcp_connections)} TCP, ${count(broker.http_connections)} HTTP`);
  tiles.show("Storage", broker.storage, broker.draining ? "draining" : good ? "serving" : "failing", good ? "good" : "bad");
}
