// One goal: its curves, its histogram with a threshold that can be moved, and telling frames.
"use strict";

(() => {
  const { el, fill, words, tile, card, section, choices, count, share, beta, above, nearest, link } = Report;

  const KINDS = [
    ["true-high", "True, with the highest scores"],
    ["true-low", "True, with the lowest scores"],
    ["false-high", "Not true, with the highest scores"],
    ["high", "Highest scores"],
    ["near", "Nearest to the goal's own β"],
    ["low", "Lowest scores"],
  ];

  Report.views.goal = async (root, { parts, values }) => {
    const { site } = Report;
    const number = Report.setNumber(parts[1]);
    const set = site.sets[number];
    const table = await Report.load(`sets/${number}`);
    const at = table.order.findIndex((goal) => site.goals[goal].id === parts[2]);
    if (at < 0) return Report.missing(root, `goal ${parts[2]} in reward set ${set.name}`);
    const goal = site.goals[table.order[at]];
    const row = table.rows[at];
    const shown = set.shown.includes(at);
    const detail = shown ? await Report.load(`goals/${number}-${at}`) : null;
    const hasOwn = Report.isNumber(row.threshold);
    let place = values.has("beta") ? nearest(table.thresholds, Number(values.get("beta"))) : null;
    if (place === null && !hasOwn && row.above) place = Report.start(table, row);
    const threshold = () => (place === null ? (hasOwn ? row.threshold : null) : table.thresholds[place]);

    const others = await sameGoal(goal.id, number, row);
    const figures = el("dl", { class: "cards live", "aria-live": "polite" });
    const charts = [];
    const marks = [];
    const change = (to) => {
      place = to;
      Report.note({ beta: to === null ? null : beta(table.thresholds[to]) });
      draw();
    };
    const slider = shown && set.hasScores && table.thresholds.length
      ? Report.slider({ ...table, rows: [row] }, place, hasOwn ? [`own: ${beta(row.threshold)}`, beta(row.threshold)] : null, change, "β")
      : null;

    function draw() {
      const now = above(row, place);
      fill(figures,
        set.hasScores ? card("Claimed frames", count(now.claimed)) : card("Rewarded actions", count(row.rewarded)),
        ...(set.known ? [
          card("True frames", count(row.true), ` of ${count(row.known)}`),
          card("Precision", share(now.precision)),
          card("Recall", share(now.recall)),
          card("F1", share(now.f1)),
          card("Average precision", share(row.precision), betweenText(row)),
        ] : []),
        row.missing ? card("Frames without a score", count(row.missing)) : null);
      for (const { plot } of charts) plot.redraw(false, false);
      for (const { example, mark, frame } of marks) {
        const { text, kind } = Report.verdict(example, threshold());
        fill(mark, text);
        frame.dataset.verdict = kind;
      }
    }

    const step = (by) => {
      const next = set.shown[(set.shown.indexOf(at) + by + set.shown.length) % set.shown.length];
      return link(["goal", set.name, site.goals[table.order[next]].id]);
    };
    root.append(
      el("p", { class: "crumbs" }, el("a", { href: link(["goals", set.name]) }, "Goals"),
        shown && set.shown.length > 1 ? [
          el("a", { href: step(-1), rel: "prev", "data-key": "[" }, "← previous"),
          el("a", { href: step(1), rel: "next", "data-key": "]" }, "next →"),
        ] : null),
      el("h1", {}, words(goal.texts[0] || goal.id), el("small", {}, " ", words(goal.id), " · ", words(goal.family))),
      goal.texts.length > 1 ? el("p", { class: "quiet" }, "also: ", words(goal.texts.slice(1).join(" · "))) : "",
      choices("Reward set", others.all.map((other) => ({
        text: site.sets[other].name, href: link(["goal", site.sets[other].name, goal.id]), current: other === number,
      }))) || "",
      slider || "",
      figures,
    );
    if (shown) curves();
    else root.append(el("p", {}, "This goal is not shown in full; see the overview for what was left out."));
    if (detail) examples();
    draw();
    Report.keys["["] = () => { location.hash = step(-1); };
    Report.keys["]"] = () => { location.hash = step(1); };
    return goal.texts[0] || goal.id;

    function curves() {
      const box = el("div", { class: "pair" });
      const drawn = others.measured;
      if (drawn.length) {
        const label = `Precision and recall of ${goal.id}: average precision ${share(row.precision)} under ${set.name}`;
        const points = () => drawn.map(({ set: own, row: other }) => {
          const now = own === number ? above(other, place) : above(other, placeOf(other, own));
          return { ...now, set: own };
        });
        const made = Report.precisionRecall(label, drawn, points);
        charts.push(made);
        box.append(el("figure", {}, el("figcaption", {}, "Precision and recall", keyOf(drawn.map(({ set: own }) => own))), made.box));
      }
      if (detail.all) {
        const parts = row.true || (detail.false && row.known)
          ? [{ counts: detail.false, colour: "--other" }, { counts: detail.true, colour: "--true" }]
          : [{ counts: detail.all, colour: "--accent" }];
        const label = `Histogram of the scores of ${goal.id}`;
        const made = Report.histogram(label, detail.low, detail.high, parts, threshold, (value) => {
          if (slider) slider.moveTo(nearest(table.thresholds, value));
        });
        charts.push(made);
        const key = parts.length > 1
          ? el("span", { class: "key" }, el("i", { class: "swatch true" }), "true ", el("i", { class: "swatch other" }), "not true")
          : null;
        box.append(el("figure", {}, el("figcaption", {}, "Scores of all frames, and β", key), made.box));
      }
      if (box.childNodes.length) root.append(box);
    }

    // Of another reward set, its own threshold; of one without, the same as this one's.
    function placeOf(other, own) {
      if (other.ownKnown) return null;
      const value = threshold();
      return value === null ? null : nearest(others.tables.get(own).thresholds, value);
    }

    function examples() {
      const groups = KINDS.map(([kind, title]) => [title, detail.examples.map((e, n) => ({ ...e, n })).filter((e) => e.kind === kind)]);
      for (const [title, own] of groups) {
        if (!own.length) continue;
        root.append(section(title, el("ul", { class: "frames" }, own.map(frameOf))));
      }
    }

    function frameOf(example) {
      const mark = el("span", { class: "verdict" });
      const episode = site.episodes.findIndex((one) => one.id === example.episode);
      const label = `${example.episode}, step ${example.step}`;
      const picture = tile(detail.sheet, detail.sheet && detail.sheet.tiles[example.n], label);
      const text = [el("span", { class: "score" }, share(example.score)), mark, el("small", {}, words(example.episode), ` · ${example.step}`)];
      const href = episode < 0 ? null : link(["episode", example.episode], { set: set.name, t: example.step, goals: goal.id });
      const frame = href ? el("a", { class: "frame", href }, picture, text) : el("span", { class: "frame" }, picture, text);
      marks.push({ example, mark, frame });
      return el("li", {}, frame);
    }
  };

  function betweenText(row) {
    const [low, high] = row.interval || [];
    return Report.isNumber(low) ? ` ${share(low)} to ${share(high)}` : null;
  }

  // The same goal in the other reward sets, those with curves apart.
  async function sameGoal(id, number, row) {
    const all = [];
    const measured = [];
    const tables = new Map();
    for (const [place] of Report.site.sets.entries()) {
      const table = await Report.load(`sets/${place}`);
      tables.set(place, table);
      const at = table.order.findIndex((goal) => Report.site.goals[goal].id === id);
      if (at < 0) continue;
      all.push(place);
      const own = place === number ? row : table.rows[at];
      if (!own.trueAbove || !own.true) continue;
      const { recall, precision } = await Report.load(`goals/${place}-${at}`);
      measured.push({ set: place, row: own, recall, precision });
    }
    return { all, measured, tables };
  }

  function keyOf(places) {
    if (places.length < 2) return null;
    return el("span", { class: "key" }, places.map((place) => [
      el("i", { class: `swatch set-${place % 5}` }), words(Report.site.sets[place].name), " ",
    ]));
  }

  Report.keyOf = keyOf;
})();
