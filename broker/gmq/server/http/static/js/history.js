// What was seen of each queue, for the charts.

const KEPT = 600; // samples of a queue: five minutes of two a second
const QUEUES = 400;
const FIELDS = ["ready", "delayed", "leased", "published", "delivered", "acknowledged"];

class History {
  times = [];
  series = Object.fromEntries(FIELDS.map((field) => [field, []]));

  add(at, row) {
    if (at <= this.times.at(-1)) return;
    this.times.push(at);
    for (const field of FIELDS) this.series[field].push(row[field] ?? row.rates?.[field] ?? null);
    if (this.times.length > KEPT) {
      this.times.shift();
      for (const field of FIELDS) this.series[field].shift();
    }
  }

  /** The times since `begin`, and the messages of each. */
  depths(begin) {
    let from = this.times.findIndex((time) => time >= begin);
    if (from < 0) from = this.times.length;
    const { ready, delayed, leased } = this.series;
    return [this.times.slice(from), this.times.slice(from).map((_, at) => ready[from + at] + delayed[from + at] + leased[from + at])];
  }
}

const histories = new Map();

/** Remember a row of a view, and give what is remembered of its queue. */
export function remember(at, row) {
  const history = histories.get(row.queue) ?? new History();
  histories.delete(row.queue);
  histories.set(row.queue, history); // the latest comes last
  if (histories.size > QUEUES) histories.delete(histories.keys().next().value);
  history.add(at, row);
  return history;
}
