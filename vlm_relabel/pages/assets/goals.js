// The table of goals, and a slider that gives all of them one threshold.
"use strict";

(() => {
  const { el, fill, words, tile, count, share, beta, above, nearest, mean, link, choices } = Report;

  // title: heading; value: what is sorted by; text: what is shown; up: whether to begin with the least
  function columnsOf(set, site) {
    const goal = (row) => site.goals[row.goal];
    const columns = [
      { name: "goal", title: "Goal", value: (row) => goal(row).texts[0] || goal(row).id, up: true, wide: true },
      { name: "family", title: "Family", value: (row) => goal(row).family, up: true },
    ];
    if (set.known) columns.push({ name: "true", title: "True frames", value: (row) => row.true, text: count });
    if (set.hasScores) columns.push({ name: "claimed", title: "Claimed", value: (row) => row.now.claimed, text: count });
    else columns.push({ name: "rewarded", title: "Rewarded actions", value: (row) => row.rewarded, text: count });
    if (set.known) {
      columns.push(
        { name: "precision", title: "Precision", value: (row) => row.now.precision, text: share, up: true },
        { name: "recall", title: "Recall", value: (row) => row.now.recall, text: share, up: true },
        { name: "ap", title: "Average precision", value: (row) => row.precision, text: share, up: true, interval: true },
      );
    }
    if (set.hasScores) columns.push({ name: "beta", title: "β", value: (row) => row.beta, text: beta, up: true });
    return columns;
  }

  Report.views.goals = async (root, { parts, values }) => {
    const { site } = Report;
    const number = Report.setNumber(parts[1]);
    const set = site.sets[number];
    const table = await Report.load(`sets/${number}`);
    const rows = table.rows.map((row, place) => ({ ...row, place, goal: table.order[place] }));
    const columns = columnsOf(set, site);
    const known = (name) => columns.find((column) => column.name === name);
    const state = {
      sort: known(values.get("sort")) ? values.get("sort") : set.known ? "ap" : "claimed",
      up: values.get("up"),
      find: values.get("find") || "",
      place: values.has("beta") ? nearest(table.thresholds, Number(values.get("beta"))) : null,
    };
    if (!known(state.sort)) state.sort = "goal";
    const hasOwn = rows.some((row) => row.threshold !== null);
    const hasSlider = set.hasScores && table.thresholds.length > 0 && rows.some((row) => row.above);
    if (!hasOwn && hasSlider && state.place === null) {
      const starts = rows.filter((row) => row.above).map((row) => Report.start(table, row));
      state.place = starts.sort((a, b) => a - b)[Math.floor(starts.length / 2)];
    }

    const summary = el("p", { class: "summary", "aria-live": "polite" });
    const body = el("tbody", {});
    const head = el("thead", {});
    const sorting = el("select", { id: "sort", onchange: () => sortBy(sorting.value) },
      columns.map((column) => el("option", { value: column.name }, column.title)));
    const search = el("input", { id: "find", type: "search", value: state.find, placeholder: "words of a goal",
      oninput: () => { state.find = search.value; Report.note({ find: state.find }); draw(); } });

    function sortBy(name) {
      const natural = Boolean(known(name).up);
      state.up = state.sort === name ? (state.up === null ? !natural : state.up !== "1") ? "1" : "0" : null;
      state.sort = name;
      Report.note({ sort: name, up: state.up });
      draw();
    }

    const rising = () => (state.up === null ? Boolean(known(state.sort).up) : state.up === "1");

    function ordered() {
      const { value } = known(state.sort);
      const sign = rising() ? 1 : -1;
      const shown = rows.filter((row) => {
        const { id, texts, family } = site.goals[row.goal];
        return [id, family, ...texts].join(" ").toLowerCase().includes(state.find.toLowerCase());
      });
      return shown.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === y) return a.place - b.place;
        if (x === null || x === undefined) return 1; // what is not known comes last
        if (y === null || y === undefined) return -1;
        return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
      });
    }

    function draw() {
      for (const row of rows) {
        row.now = above(row, row.above || state.place === null ? state.place : null);
        row.beta = state.place === null ? row.threshold : table.thresholds[state.place];
      }
      fill(head, el("tr", {}, el("th", { scope: "col" }, el("span", { class: "hidden" }, "Frame")), columns.map(heading)));
      sorting.value = state.sort;
      const shown = ordered();
      fill(body, shown.map(line));
      fill(summary, summaryOf(rows, set, state.place === null ? null : table.thresholds[state.place]),
        shown.length < rows.length ? ` ${shown.length} of ${rows.length} goals have these words.` : "");
    }

    function heading(column) {
      const current = column.name === state.sort;
      const way = current ? (rising() ? "ascending" : "descending") : null;
      return el("th", { scope: "col", "aria-sort": way, class: column.text ? "number" : null },
        el("button", { type: "button", onclick: () => sortBy(column.name), "data-sort": column.name },
          column.title, el("span", { class: "way", "aria-hidden": "true" }, current ? (rising() ? "▲" : "▼") : "")));
    }

    function line(row) {
      const goal = site.goals[row.goal];
      const text = goal.texts[0] || goal.id;
      const href = link(["goal", set.name, goal.id], state.place === null ? {} : { beta: beta(row.beta) });
      const picture = table.sheet ? tile(table.sheet, row.tile, `Frame of ${text}`) : null;
      return el("tr", {}, el("td", { class: "picture" }, picture), columns.map((column) => {
        if (column.name === "goal") return el("td", { class: "wide" }, el("a", { href }, words(text)), el("small", {}, words(goal.id)));
        const value = column.value(row);
        const cell = column.text ? column.text(value) : words(value);
        const bar = column.interval ? interval(row) : null;
        return el("td", { class: column.text ? "number" : null, "data-name": column.title }, cell, bar);
      }));
    }

    const slider = hasSlider ? Report.slider(table, state.place, hasOwn ? ["own thresholds", "each its own"] : null, (place) => {
      state.place = place;
      Report.note({ beta: place === null ? null : beta(table.thresholds[place]) });
      draw();
    }, "β for all goals") : null;
    root.append(
      el("h1", {}, "Goals"),
      choices("Reward set", site.sets.map((other, place) => ({
        text: other.name, href: link(["goals", other.name]), current: place === number,
      }))) || "",
      el("p", { class: "quiet" }, set.hasScores
        ? `A frame is claimed when its score is above the goal's threshold β.${set.known ? " Frames are counted whose truth is known." : ""}`
        : "This reward set was stored without scores, so there is no threshold to move."),
      slider || "",
      summary,
      el("div", { class: "tools" },
        el("label", { for: "find" }, "Find", search),
        el("label", { for: "sort", class: "phone" }, "Sort by", sorting)),
      el("table", { class: "goals" }, head, body),
    );
    draw();
    return `Goals of ${set.name}`;
  };

  function summaryOf(rows, set, threshold) {
    const silent = rows.filter((row) => (set.hasScores ? row.now.claimed : row.rewarded) === 0).length;
    const parts = [threshold === null ? "At the goals' own thresholds" : `At β = ${beta(threshold)}`];
    if (set.known) {
      const true_ = rows.filter((row) => row.true > 0);
      const precisions = true_.map((row) => row.now.precision);
      const low = precisions.filter((value) => value !== null && value < 0.9).length;
      parts.push(`mean precision ${share(mean(precisions))}`, `mean recall ${share(mean(true_.map((row) => row.now.recall)))}`);
      parts.push(`${low} of ${true_.length} goals have a precision below 0.9`);
    }
    const quiet = set.hasScores ? "silent" : "never rewarded";
    parts.push(silent ? `${silent} of ${rows.length} goals are ${quiet}` : `no goal is ${quiet}`);
    return `${parts[0]}: ${parts.slice(1).join(", ")}.`;
  }

  // A bar from 0 to 1 with the interval of an average precision.
  function interval(row) {
    const [low, high] = row.interval || [];
    if (!Report.isNumber(low)) return null;
    const bar = el("span", { class: "interval", role: "img", "aria-label": `between ${share(low)} and ${share(high)}` }, el("i", {}));
    bar.firstChild.style.left = `${100 * low}%`;
    bar.firstChild.style.width = `${Math.max(2, 100 * (high - low))}%`;
    bar.title = `95 % interval: ${share(low)} to ${share(high)}`;
    return bar;
  }

  // --- the slider of thresholds, which the view of one goal has as well

  // A slider over the stops of a table; change(place), or change(null) for the goals' own
  // thresholds: own is what the button for these says, and what is read out then.
  Report.slider = (table, place, own, change, label) => {
    const { thresholds } = table;
    const readout = el("output", { for: "beta" });
    const range = el("input", { id: "beta", type: "range", min: 0, max: thresholds.length - 1, step: 1 });
    const button = own ? el("button", { type: "button", class: "own" }, own[0]) : null;
    const move = (to) => {
      if (to !== null) range.value = to;
      fill(readout, to === null ? own[1] : beta(thresholds[to]));
      range.setAttribute("aria-valuetext", to === null ? own[1] : `β = ${beta(thresholds[to])}`);
      if (button) button.setAttribute("aria-pressed", String(to === null));
    };
    range.value = place === null ? nearest(thresholds, table.rows[0].threshold ?? 0) : place;
    move(place);
    range.addEventListener("input", () => { move(Number(range.value)); change(Number(range.value)); });
    if (button) button.addEventListener("click", () => { move(null); change(null); });
    const box = el("div", { class: "slider" }, el("label", { for: "beta" }, label), range, readout, button);
    return Object.assign(box, { moveTo: (to) => { move(to); change(to); } });
  };
})();
