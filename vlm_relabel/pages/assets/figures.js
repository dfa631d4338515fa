// Numbers: how they are written, and what a threshold beta makes of the counts of a goal.
"use strict";

(() => {
  const none = "–";
  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
  const count = (value) => (isNumber(value) ? value.toLocaleString("en") : none);
  const share = (value, digits = 3) => (isNumber(value) ? value.toFixed(digits) : none);

  // As many digits as it takes to tell a threshold from its neighbours.
  function beta(value) {
    if (!isNumber(value)) return none;
    return String(Number(value.toPrecision(6)));
  }

  // What lies above one threshold: place is one of the slider's stops, or null for the goal's own.
  function above(row, place) {
    if (place === null) {
      const [hits, alarms] = row.ownKnown || [null, null];
      return outcome(row, row.own, hits, alarms);
    }
    const at = (counts) => (counts ? counts[place] : null);
    return outcome(row, at(row.above), at(row.trueAbove), at(row.falseAbove));
  }

  function outcome(row, claimed, hits, alarms) {
    const known = isNumber(hits);
    if (known) claimed = hits + alarms; // of the frames whose truth is known
    const precision = known && hits + alarms > 0 ? hits / (hits + alarms) : null;
    const recall = known && row.true > 0 ? hits / row.true : null;
    const both = isNumber(precision) && isNumber(recall) && precision + recall > 0;
    const f1 = both ? (2 * precision * recall) / (precision + recall) : null;
    return { claimed: isNumber(claimed) ? claimed : null, hits, alarms, precision, recall, f1 };
  }

  // The stop of a slider that is nearest to a threshold.
  function nearest(thresholds, value) {
    let best = 0;
    thresholds.forEach((threshold, place) => {
      if (Math.abs(threshold - value) < Math.abs(thresholds[best] - value)) best = place;
    });
    return best;
  }

  function mean(values) {
    const known = values.filter(isNumber);
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
  }

  // The stop at which a goal without a threshold of its own begins: the best F1, or few claims.
  function start(table, row) {
    const places = table.thresholds.map((_, place) => place);
    const score = (place) => above(row, place).f1;
    const best = places.filter((place) => isNumber(score(place)));
    if (best.length) return best.reduce((a, b) => (score(b) > score(a) ? b : a));
    const limit = 0.05 * (row.above ? row.above[0] : 0);
    return places.find((place) => row.above && row.above[place] <= limit) ?? 0;
  }

  // What is said of one frame at a threshold, and its class for colours.
  function verdict(example, threshold) {
    if (!isNumber(threshold)) return { text: "", kind: "" };
    const claimed = Math.fround(example.score) > Math.fround(threshold);
    if (example.label === undefined) {
      return claimed ? { text: "above β", kind: "claimed" } : { text: "below β", kind: "silent" };
    }
    if (example.label) return claimed ? { text: "hit", kind: "hit" } : { text: "missed", kind: "missed" };
    return claimed ? { text: "false alarm", kind: "alarm" } : { text: "quiet", kind: "silent" };
  }

  Object.assign(Report, { isNumber, count, share, beta, above, nearest, mean, start, verdict });
})();
