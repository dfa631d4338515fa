// The list of episodes, with what happened in each.
"use strict";

(() => {
  const { el, fill, words, tile, count, link } = Report;

  const ORDERS = {
    place: ["as stored", () => 0],
    hits: ["most successes", (tags) => -(tags.hits ?? tags.rewarded ?? 0)],
    alarms: ["most false alarms", (tags) => -(tags.alarms ?? 0)],
    misses: ["most misses", (tags) => -(tags.misses ?? 0)],
    disagreements: ["most disagreement", (tags, episode) => -(episode.disagreements ?? 0)],
    length: ["longest", (tags, episode) => -episode.length],
  };

  Report.views.episodes = async (root, { values }) => {
    const { site } = Report;
    const number = Report.setNumber(values.get("set"));
    const set = site.sets[number];
    const tags = (episode) => episode.tags[number] || {};
    const has = (name) => site.episodes.some((episode) => name in tags(episode));
    const orders = Object.keys(ORDERS).filter((name) => {
      if (name === "alarms" || name === "misses") return has(name);
      if (name === "hits") return has("hits") || has("rewarded");
      return name !== "disagreements" || site.episodes.some((episode) => episode.disagreements !== null);
    });
    let order = orders.includes(values.get("sort")) ? values.get("sort") : "place";
    let find = values.get("find") || "";
    const list = el("ol", { class: "episodes" });
    const said = el("p", { class: "summary", "aria-live": "polite" });
    const sorting = el("select", { id: "sort", onchange: () => { order = sorting.value; Report.note({ sort: order }); draw(); } },
      orders.map((name) => el("option", { value: name }, ORDERS[name][0])));
    const search = el("input", { id: "find", type: "search", value: find, placeholder: "words or an id",
      oninput: () => { find = search.value; Report.note({ find }); draw(); } });

    function draw() {
      sorting.value = order;
      const wanted = find.toLowerCase();
      const shown = site.episodes.filter((one) => `${one.id} ${one.language ?? ""}`.toLowerCase().includes(wanted));
      const by = ORDERS[order][1];
      shown.sort((a, b) => by(tags(a), a) - by(tags(b), b));
      fill(list, shown.map(line));
      fill(said, `${count(shown.length)} of ${count(site.episodesInAll)} episodes.`);
    }

    function line(episode) {
      const { sheet } = episode;
      const tiles = sheet ? sheet.tiles : [];
      const few = spread(tiles.length, 5).map((at) => tile(sheet, tiles[at], `Frame ${at + 1} of ${tiles.length}`));
      return el("li", {}, el("a", { href: link(["episode", episode.id], { set: set.name }) },
        few.length ? el("span", { class: "strip", "aria-hidden": "true" }, few) : null,
        el("span", { class: "about" },
          el("strong", {}, words(episode.language || "no instruction")),
          el("small", {}, words(episode.id), ` · ${count(episode.length)} frames`),
          el("span", { class: "tags" }, tagsOf(episode)))));
    }

    function tagsOf(episode) {
      const own = tags(episode);
      const tag = (kind, number_, text) => (number_ ? el("span", { class: `tag ${kind}` }, `${number_} ${text}`) : null);
      return [
        tag("hit", own.hits, "rightly rewarded"),
        tag("alarm", own.alarms, own.alarms === 1 ? "false alarm" : "false alarms"),
        tag("missed", own.misses, "missed"),
        own.hits === undefined ? tag("claimed", own.rewarded, own.rewarded === 1 ? "goal rewarded" : "goals rewarded") : null,
        tag("split", episode.disagreements, "in dispute"),
      ];
    }

    root.append(
      el("h1", {}, "Episodes"),
      Report.choices("Reward set", site.sets.map((other, place) => ({
        text: other.name, href: link(["episodes"], { set: other.name }), current: place === number,
      }))) || "",
      el("div", { class: "tools" },
        el("label", { for: "find" }, "Find", search),
        el("label", { for: "sort" }, "Order", sorting)),
      said, list,
    );
    draw();
    return "Episodes";
  };

  function spread(length, most) {
    const places = Array.from({ length: Math.min(length, most) }, (_, n) => n);
    if (length <= most) return places;
    return places.map((n) => Math.round((n * (length - 1)) / (most - 1)));
  }
})();
