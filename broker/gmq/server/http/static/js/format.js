// Numbers, sizes and times as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const NONE = "–";

/** A number of things. */
export function count(number) {
  return number === null || number === undefined ? NONE : whole.format(number);
}

/** A number of things in little room. */
export function short(number) {
  return Math.abs(number) < 10000 ? whole.format(number) : compact.format(number);
}

/** One noun or several. */
export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function bytes(number) {
  let unit = 0;
  while (number >= 1024 && unit < UNITS.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${unit && number < 10 ? number.toFixed(1) : Math.round(number)} ${UNITS[unit]}`;
}

/** Messages per second. */
export function rate(number) {
  if (number === null || number === undefined) return NONE;
  if (number === 0) return "0/s";
  if (number < 0.1) return "<0.1/s";
  return number < 10 ? `${number.toFixed(1)}/s` : `${short(number)}/s`;
}

/** A length of time in seconds, in its two largest units. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 1) return seconds === 0 ? "0 s" : "<1 s";
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [Math.floor(seconds) % 60, "s"],
  ];
  const first = parts.findIndex(([number]) => number > 0);
  return parts
    .slice(first, first + 2)
    .filter(([number]) => number > 0)
    .map(([number, unit]) => `${number} ${unit}`)
    .join(" ");
}

/** A Unix time in seconds, where the person is. */
export function instant(seconds) {
  return new Date(seconds * 1000).toLocaleString("sv");
}

/** The time of day of a Unix time in seconds. */
export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("sv");
}
