// One episode: its frames, and under them the scores, rewards and truths of chosen goals.
"use strict";

(() => {
  const { el, fill, words, tile, show, section, share, link } = Report;
  const FIRST = 4; // goals that are chosen at first

  Report.views.episode = async (root, { parts, values }) => {
    const { site } = Report;
    const number = site.episodes.findIndex((episode) => episode.id === parts[1]);
    if (number < 0) return Report.missing(root, `episode ${parts[1]} on this page`);
    const episode = site.episodes[number];
    if (!episode.there) return Report.missing(root, `curves of episode ${episode.id}; the report would be too large (--max-mb)`);
    const data = await Report.load(`episodes/${number}`);
    const tables = await Promise.all(site.sets.map((_, place) => Report.load(`sets/${place}`)));
    const steps = data.steps || Array.from({ length: episode.length }, (_, step) => step);
    const last = steps[steps.length - 1];
    const known = [...new Set(data.sets.flatMap((set) => set.goals))].sort((a, b) => a - b);
    const truth = data.truth || {};
    const asked = values.has("goals") ? values.get("goals").split(",").map((id) => known.find((goal) => site.goals[goal].id === id)) : [];
    let chosen = asked.filter((goal) => goal !== undefined);
    if (!chosen.length) chosen = telling();
    let step = clamp(Number(values.get("t")) || 0);
    const charts = [];

    // Goals that the episode was told, that are true in it, or that score highest.
    function telling() {
      const best = (goal) => Math.max(...data.sets.map((set) => {
        const at = set.goals.indexOf(goal);
        if (at < 0) return -Infinity;
        const paid = set.rewards[at].length ? 1 : 0;
        return paid + (set.scores ? Math.max(...set.scores[at].map((v) => v ?? -Infinity)) : 0);
      }));
      const told = episode.commanded.filter((goal) => known.includes(goal));
      const others = known.filter((goal) => truth[goal]).concat([...known].sort((a, b) => best(b) - best(a)));
      return [...new Set([...told, ...others])].slice(0, FIRST);
    }

    function clamp(value) {
      const wanted = Math.max(0, Math.min(last, Math.round(value)));
      return steps.reduce((a, b) => (Math.abs(b - wanted) < Math.abs(a - wanted) ? b : a), steps[0]);
    }

    // --- frames

    const big = el("div", { class: "big" });
    const strip = el("ol", { class: "film", "aria-label": "Frames" });
    const tiles = data.sheet ? data.sheet.tiles : [];
    let picture = null;
    if (data.sheet) {
      picture = tile(data.sheet, tiles.find((at) => at !== null), "");
      big.append(picture);
      data.frameSteps.forEach((at, place) => {
        const button = el("button", { type: "button", tabindex: "-1", onclick: () => move(at), "data-step": at },
          tile(data.sheet, tiles[place], `Step ${at}`), el("span", { class: "number" }, at));
        strip.append(el("li", {}, button));
      });
    } else big.append(el("p", { class: "quiet" }, "No frames of this episode are on the page."));
    const now = el("div", { class: "now", "aria-live": "polite" });
    const range = el("input", { id: "step", type: "range", min: 0, max: last, step: 1, oninput: () => move(Number(range.value)) });

    function frameAt() {
      const places = data.frameSteps.map((_, place) => place).filter((place) => tiles[place] !== null && tiles[place] !== undefined);
      return places.reduce((a, b) => (Math.abs(data.frameSteps[b] - step) < Math.abs(data.frameSteps[a] - step) ? b : a), places[0]);
    }

    function move(to) {
      const before = step;
      step = clamp(to);
      if (step !== before) Report.note({ t: step });
      draw();
    }

    function draw() {
      range.value = step;
      range.setAttribute("aria-valuetext", `step ${step} of ${last}`);
      if (picture && tiles.length) {
        const at = frameAt();
        show(picture, data.sheet, tiles[at]);
        picture.setAttribute("aria-label", `Step ${data.frameSteps[at]}`);
        for (const button of strip.querySelectorAll("button")) {
          const current = Number(button.dataset.step) === data.frameSteps[at];
          if (current) button.setAttribute("aria-current", "true");
          else button.removeAttribute("aria-current");
          if (current) centre(button);
        }
      }
      fill(now, figures());
      for (const { plot } of charts) plot.redraw(false, false);
    }

    function centre(button) {
      strip.scrollLeft = button.offsetLeft - strip.offsetLeft - (strip.clientWidth - button.offsetWidth) / 2;
    }

    // The scores of the chosen goals at this step.
    function figures() {
      const place = steps.indexOf(step);
      const names = site.sets.map((set, at) => el("th", { scope: "col", class: "number" }, el("i", { class: `swatch set-${at % 5}` }), words(set.name)));
      const rows = chosen.map((goal) => {
        const cells = site.sets.map((set, at) => {
          const own = data.sets[at];
          const index = own.goals.indexOf(goal);
          if (index < 0) return el("td", { class: "number" }, "–");
          const score = own.scores ? own.scores[index][place] : null;
          const paid = set.binary ? own.rewards[index].includes(place) : null;
          return el("td", { class: "number" }, own.scores ? share(score) : "", paid ? el("span", { class: "paid", title: "this action is rewarded" }, " ★") : "");
        });
        const is = data.truth ? [el("td", {}, (truth[goal] || []).includes(place) ? el("span", { class: "tag hit" }, "true") : "")] : [];
        return el("tr", {}, el("th", { scope: "row" }, words(site.goals[goal].texts[0] || site.goals[goal].id)), cells, is);
      });
      const env = data.env ? `, environment's reward ${Report.beta(data.env[place])}` : "";
      return [
        el("p", {}, `Step ${step} of ${last}${env}`),
        el("table", { class: "plain" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Goal"), names, data.truth ? el("th", { scope: "col" }, "Truth") : null)), el("tbody", {}, rows)),
      ];
    }

    // --- curves

    const curves = el("div", { class: "curves" });

    function drawCurves() {
      charts.length = 0;
      fill(curves, chosen.map((goal) => {
        const lines = site.sets.flatMap((set, at) => {
          const own = data.sets[at];
          const index = own.goals.indexOf(goal);
          if (index < 0) return [];
          const row = tables[at].rows[tables[at].order.indexOf(goal)];
          return [{ set: at, values: own.scores ? own.scores[index] : null, rewards: own.rewards[index], binary: set.binary, threshold: row.threshold }];
        });
        const labels = data.labels.filter(([own]) => own === goal).map(([, at, yes]) => [at, yes]);
        const text = site.goals[goal].texts[0] || site.goals[goal].id;
        const made = Report.episodeChart(`Scores of ${text} along the episode`, steps, lines, truth[goal], labels, () => step, move, 132);
        charts.push(made);
        const set = site.sets[Report.setNumber(values.get("set"))].name;
        return el("figure", {}, el("figcaption", {}, el("a", { href: link(["goal", set, site.goals[goal].id]) }, words(text)),
          episode.commanded.includes(goal) ? el("span", { class: "tag" }, "told") : null), made.box);
      }));
      if (data.env && data.env.some((value) => value)) {
        const lines = [{ set: 4, values: data.env, rewards: [], binary: false, threshold: null }];
        const made = Report.episodeChart("The environment's own reward along the episode", steps, lines, null, [], () => step, move, 90);
        charts.push(made);
        curves.append(el("figure", {}, el("figcaption", {}, "The environment's own reward"), made.box));
      }
    }

    // --- which goals

    const boxes = el("ul", { class: "boxes" });
    const search = el("input", { id: "find", type: "search", placeholder: "words of a goal", oninput: drawBoxes });
    const chooser = el("details", { class: "chooser" },
      el("summary", {}, "Choose goals"),
      el("label", { for: "find" }, "Find", search), boxes);

    function drawBoxes() {
      const wanted = search.value.toLowerCase();
      const shown = known.filter((goal) => [site.goals[goal].id, ...site.goals[goal].texts].join(" ").toLowerCase().includes(wanted));
      fill(boxes, shown.map((goal) => {
        const box = el("input", { type: "checkbox", checked: chosen.includes(goal), value: site.goals[goal].id, onchange: () => {
          chosen = box.checked ? [...chosen, goal] : chosen.filter((other) => other !== goal);
          Report.note({ goals: chosen.map((own) => site.goals[own].id).join(",") });
          drawCurves();
          draw();
        } });
        return el("li", {}, el("label", {}, box, words(site.goals[goal].texts[0] || site.goals[goal].id), truth[goal] ? el("span", { class: "tag hit" }, "true") : null));
      }));
    }

    // --- the view

    const other = (by) => site.episodes[(number + by + site.episodes.length) % site.episodes.length].id;
    const to = (by) => link(["episode", other(by)], { set: values.get("set"), goals: values.get("goals") });
    const legend = el("p", { class: "key" },
      site.sets.map((set, at) => [el("i", { class: `swatch set-${at % 5}` }), words(set.name), " "]),
      el("span", {}, site.sets.length > 1 ? "· " : "", "bars on top: rewarded actions · dotted: β"),
      data.truth ? [" ", el("i", { class: "swatch band" }), "true"] : null);
    root.append(
      el("p", { class: "crumbs" }, el("a", { href: link(["episodes"], { set: values.get("set") }) }, "Episodes"),
        el("a", { href: to(-1), rel: "prev", "data-key": "[" }, "← previous"), el("a", { href: to(1), rel: "next", "data-key": "]" }, "next →")),
      el("h1", {}, words(episode.language || "no instruction"), el("small", {}, " ", words(episode.id), ` · ${episode.length} frames`)),
      el("div", { class: "viewer" }, big, now),
      el("div", { class: "slider" }, el("label", { for: "step" }, "Step"), range),
      data.sheet ? strip : "",
      legend, chooser, curves,
    );
    const metadata = Object.entries(data.metadata);
    if (metadata.length) {
      root.append(section("What the source says of it", el("dl", { class: "pairs" },
        metadata.flatMap(([name, value]) => [el("dt", {}, words(name)), el("dd", {}, words(String(value)))]))));
    }
    drawBoxes();
    drawCurves();
    draw();
    root.addEventListener("shown", draw); // the film strip moves to the frame
    const near = (by) => steps[Math.max(0, Math.min(steps.length - 1, steps.indexOf(step) + by))];
    Object.assign(Report.keys, {
      ArrowLeft: () => move(near(-1)),
      ArrowRight: () => move(near(1)),
      Home: () => move(0),
      End: () => move(last),
      "[": () => { location.hash = to(-1); },
      "]": () => { location.hash = to(1); },
    });
    return episode.language || episode.id;
  };
})();
