// The first view: what the store is, and how far its rewards can be trusted.
"use strict";

(() => {
  const { el, words, noted, card, section, table, count, share, link } = Report;

  function pairs(values) {
    const rows = Object.entries(values).flatMap(([name, value]) => [
      el("dt", {}, words(name)),
      el("dd", {}, typeof value === "object" && value !== null ? pairsOrList(value) : words(String(value ?? "–"))),
    ]);
    return el("dl", { class: "pairs" }, rows);
  }

  function pairsOrList(value) {
    if (!Array.isArray(value)) return pairs(value);
    if (!value.length) return "none";
    return words(value.map((one) => (typeof one === "object" ? JSON.stringify(one) : one)).join(", "));
  }

  function sets(site) {
    const known = site.sets.some((set) => set.known);
    const columns = ["Reward set", "Encoder", "Reward function", "Goals", ...(known ? ["Average precision"] : []), "Never rewarded"];
    const rows = site.sets.map((set, place) => [
      el("a", { href: link(["goals", set.name]) }, el("i", { class: `swatch set-${place % 5}` }), words(set.name)),
      words(set.encoder.replace(/\/.*(?=\/)/, "/…"), { title: set.encoder }),
      words(functionText(set.function)),
      count(set.goals),
      ...(known ? [set.known ? precision(set) : "not measured"] : []),
      `${count(set.silent)} of ${count(set.goals)}`,
    ]);
    return el("div", { class: "scroll" }, table(columns, rows));
  }

  function functionText(parts) {
    const rest = Object.entries(parts).filter(([name, value]) => name !== "name" && typeof value === "number");
    const told = rest.map(([name, value]) => `${name} ${Number(value.toPrecision(3))}`);
    const inside = parts.of && parts.of.name ? [`of ${parts.of.name}`] : [];
    return [parts.name, ...inside, ...told].join(", ");
  }

  function precision(set) {
    const [low, high] = set.interval || [];
    const between = Report.isNumber(low) ? el("small", {}, ` ${share(low)} to ${share(high)}`) : null;
    return el("span", {}, share(set.precision), between);
  }

  function truth(site) {
    if (!site.truth) {
      return el("p", {}, "Nothing is known to be true here, so no view can say what is right. Labels of a few frames per goal are enough to begin with.");
    }
    const from = site.truth.field
      ? ["The column ", words(site.truth.field, { class: "code" }), " of the source says which goals are true", site.truth.where ? [", counted where ", words(site.truth.where, { class: "code" }), " is set."] : "."]
      : [`${count(site.truth.count)} labels say which frames are true (SHA-256 ${String(site.truth.labels).slice(0, 12)}).`];
    const notes = [...new Set(site.sets.flatMap((set) => set.notes))];
    return [el("p", {}, from), notes.length ? el("ul", {}, notes.map((note) => el("li", {}, noted(note)))) : null];
  }

  function letters(site) {
    if (!site.deadLetters.length) return el("p", {}, "None: every record of the source was processed.");
    return site.deadLetters.map(({ table: name, count: number, shown }) => [
      el("h3", {}, words(name), ` · ${count(number)}`),
      el("div", { class: "scroll" }, table(
        ["Episode", "Step", "Camera", "Reason"],
        shown.map((row) => [words(row.episode_id), row.step ?? "all", words(row.camera ?? "–"), words(row.reason)]),
      )),
      number > shown.length ? el("p", { class: "quiet" }, `The first ${shown.length} are shown.`) : null,
    ]);
  }

  function provenance(site) {
    return site.tables.map((one) => {
      const { name, rows, bytes, command, pace, ...rest } = one;
      const size = bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
      return el("details", {},
        el("summary", {}, words(name, { class: "code" }), el("span", { class: "quiet" }, ` ${count(rows)} rows, ${size}${pace ? `, ${pace}` : ""}`)),
        command ? el("pre", { tabindex: "0" }, command) : null,
        pairs(rest),
      );
    });
  }

  Report.views.overview = async (root) => {
    const { site } = Report;
    const dead = site.tables.reduce((sum, one) => sum + one.deadLetters, 0);
    const left = Object.keys(site.source.leftOut || {}).length;
    Report.add(root, [
      el("h1", {}, words(site.source.name), el("small", {}, ` ${site.source.version}, ${site.source.part}`)),
      el("dl", { class: "cards" },
        card("Episodes", count(site.episodesInAll)),
        card("Frames", count(site.frames)),
        card("Goals", count(site.goals.length)),
        card("Reward sets", count(site.sets.length)),
        card("Dead letters", count(dead)),
      ),
      site.warnings.map((warning) => el("p", { class: "warning" }, el("strong", {}, "Warning: "), noted(warning))),
      section("Reward sets", sets(site)),
      section("What is known to be true", truth(site)),
      site.notes.length ? section("What this page leaves out", el("ul", {}, site.notes.map((note) => el("li", {}, noted(note))))) : "",
      section("Source", pairs({
        Store: site.location,
        Cameras: site.source.cameras,
        Language: site.source.language,
        "Last step": site.source.lastStep,
        "Frames from": site.pictures ?? "not shown",
        Fingerprint: site.source.fingerprint,
        ...(left ? { "Left out": site.source.leftOut } : {}),
      })),
      section("Dead letters", letters(site)),
      section("How each table was made", provenance(site)),
    ]);
    if (site.unfinished.length) {
      root.append(section("Unfinished tables", el("p", {}, words(site.unfinished.join(", ")))));
    }
    return "Overview";
  };
})();
