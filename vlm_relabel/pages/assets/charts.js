// Charts, drawn by uPlot: precision and recall, histograms of scores, and scores along an episode.
"use strict";

(() => {
  const { el, count } = Report;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const SETS = ["--set-0", "--set-1", "--set-2", "--set-3", "--set-4"];
  const setColour = (place) => colour(SETS[place % SETS.length]);

  // A chart as wide as its box, with a text for those who do not see it.
  function chart(label, height, options, data) {
    const box = el("div", { class: "chart", role: "img", "aria-label": label });
    const width = () => Math.max(160, Math.floor(box.clientWidth));
    const plot = new uPlot(
      { width: 300, height, legend: { show: false }, cursor: { show: false }, ...options },
      data,
      box,
    );
    new ResizeObserver(() => {
      if (box.clientWidth) plot.setSize({ width: width(), height });
    }).observe(box);
    return { box, plot };
  }

  function axis(more = {}) {
    const font = "12px system-ui, sans-serif";
    const grid = { stroke: colour("--rule"), width: 1 };
    return { stroke: colour("--quiet"), grid, ticks: { show: false }, font, labelFont: font, labelSize: 18, ...more };
  }

  function line(context, from, to, style, dash = []) {
    context.save();
    context.strokeStyle = style;
    context.lineWidth = 2 * devicePixelRatio * 0.75;
    context.setLineDash(dash.map((n) => n * devicePixelRatio));
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
    context.restore();
  }

  // --- precision and recall

  // curves: [{set, recall, precision}]; points(): [{recall, precision, set}] at beta.
  function precisionRecall(label, curves, points) {
    const data = uPlot.join(curves.map(({ recall, precision }) => [recall, precision]));
    const series = curves.map(({ set }) => ({
      stroke: setColour(set), width: 2, spanGaps: true, points: { show: false },
    }));
    const dots = (plot) => {
      for (const { recall, precision, set } of points()) {
        if (recall === null || precision === null) continue;
        const context = plot.ctx;
        context.save();
        context.fillStyle = setColour(set);
        context.strokeStyle = colour("--paper");
        context.lineWidth = 2 * devicePixelRatio;
        context.beginPath();
        const [x, y] = [plot.valToPos(recall, "x", true), plot.valToPos(precision, "y", true)];
        context.arc(x, y, 6 * devicePixelRatio, 0, 2 * Math.PI);
        context.fill();
        context.stroke();
        context.restore();
      }
    };
    const scales = { x: { time: false, range: [0, 1.02] }, y: { range: [0, 1.03] } };
    const axes = [axis({ label: "recall", size: 26 }), axis({ label: "precision", size: 44 })];
    return chart(label, 260, { scales, axes, series: [{}, ...series], hooks: { draw: [dots] } }, data);
  }

  // --- histograms

  // parts: [{counts, colour}] of equal bins from low to high; heights are logarithms of 1 + n.
  function histogram(label, low, high, parts, threshold, choose) {
    const bins = parts[0].counts.length;
    const width = (high - low) / bins;
    const centres = parts[0].counts.map((_, bin) => low + (bin + 0.5) * width);
    const logs = parts.map(({ counts }) => counts.map((n) => (n ? Math.log10(1 + n) : null)));
    const most = Math.max(1, ...parts.flatMap(({ counts }) => counts));
    const all = most < 30 ? [0, 1, 2, 5, 10, 20] : [0, 1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
    const stops = all.filter((n) => n <= most);
    const series = parts.map(({ colour: name }) => ({
      stroke: colour(name), fill: `${colour(name)}66`, width: 1, points: { show: false },
      paths: uPlot.paths.bars({ size: [0.9, 200], align: 0 }),
    }));
    const mark = (plot) => {
      const value = threshold();
      if (value === null) return;
      const x = plot.valToPos(Math.min(high, Math.max(low, value)), "x", true);
      const { top, height } = plot.bbox;
      line(plot.ctx, [x, top], [x, top + height], colour("--ink"), [5, 4]);
    };
    const margin = width / 2;
    const scales = {
      x: { time: false, range: [low - margin, high + margin] },
      y: { range: [0, Math.log10(1 + most) * 1.05] },
    };
    const axes = [
      axis({ label: "score", size: 26 }),
      axis({
        label: "frames", size: 52, splits: () => stops.map((n) => Math.log10(1 + n)),
        values: () => stops.map((n) => (n >= 1e4 ? `${n / 1000}k` : count(n))),
      }),
    ];
    const made = chart(label, 260, { scales, axes, series: [{}, ...series], hooks: { draw: [mark] } }, [centres, ...logs]);
    made.plot.over.classList.add("choosable");
    made.plot.over.addEventListener("click", (event) => choose(made.plot.posToVal(event.offsetX, "x")));
    return made;
  }

  // --- an episode

  // lines: [{set, values, rewards (places or numbers), binary, threshold}]; truth: places or null.
  function episodeChart(label, steps, lines, truth, labels, current, move, height) {
    const curves = lines.map(({ values, rewards, binary }) =>
      values || (binary ? steps.map((_, place) => (rewards.includes(place) ? 1 : 0)) : rewards),
    );
    const known = curves.flat().filter(Report.isNumber);
    const within = known.every((value) => value >= 0 && value <= 1);
    const low = within ? 0 : Math.min(...known);
    const high = within ? 1 : Math.max(...known);
    const room = (high - low || 1) * 0.08;
    const series = lines.map(({ set, values }) => ({
      stroke: setColour(set), width: 2, spanGaps: false,
      points: { show: steps.length < 60, size: 4, fill: setColour(set) },
      paths: values ? undefined : uPlot.paths.stepped({ align: 0 }),
    }));
    const half = steps.length > 1 ? (steps[1] - steps[0]) / 2 : 0.5;
    const below = (plot) => {
      const { ctx: context } = plot;
      const { top, height: tall } = plot.bbox;
      const at = (step) => plot.valToPos(step, "x", true);
      context.save();
      context.beginPath();
      context.rect(plot.bbox.left, top, plot.bbox.width, tall);
      context.clip();
      context.fillStyle = colour("--true-band");
      for (const place of truth || []) {
        const [from, to] = [at(steps[place] - half), at(steps[place] + half)];
        context.fillRect(from, top, to - from, tall);
      }
      context.restore();
    };
    const beside = (plot) => {
      const { ctx: context } = plot;
      const { left, top, width, height: tall } = plot.bbox;
      for (const { set, threshold } of lines) {
        if (!Report.isNumber(threshold)) continue;
        const y = plot.valToPos(threshold, "y", true);
        if (y >= top && y <= top + tall) line(context, [left, y], [left + width, y], setColour(set), [2, 4]);
      }
      const size = 5 * devicePixelRatio;
      lines.forEach(({ set, rewards, binary, values }, number) => {
        if (!binary || !values) return;
        context.fillStyle = setColour(set);
        for (const place of rewards) {
          const from = plot.valToPos(steps[place], "x", true);
          const to = plot.valToPos(steps[place] + 2 * half, "x", true);
          context.fillRect(from, top + number * (size + 2), Math.max(2, to - from - 1), size);
        }
      });
      for (const [step, yes] of labels) {
        context.fillStyle = colour(yes ? "--true" : "--alarm");
        context.beginPath();
        context.arc(plot.valToPos(step, "x", true), top + tall - size, size, 0, 2 * Math.PI);
        context.fill();
      }
      const x = plot.valToPos(current(), "x", true);
      line(context, [x, top], [x, top + tall], colour("--ink"));
    };
    const last = steps[steps.length - 1];
    const scales = {
      x: { time: false, range: [steps[0] - half, last + half] },
      y: { range: [low - room, high + room] },
    };
    const whole = (plot, values) => values.map((v) => (Number.isInteger(v) ? v : ""));
    const axes = [axis({ size: 24, values: whole }), axis({ size: 44, space: 30 })];
    const made = chart(label, height, { scales, axes, series: [{}, ...series], hooks: { drawClear: [below], draw: [beside] } }, [steps, ...curves]);
    const follow = (event) => {
      if (event.pointerType === "touch" && event.type === "pointermove" && !event.buttons) return;
      move(made.plot.posToVal(event.offsetX, "x"));
    };
    made.plot.over.addEventListener("pointermove", follow);
    made.plot.over.addEventListener("pointerdown", follow);
    return made;
  }

  Object.assign(Report, { colour, setColour, precisionRecall, histogram, episodeChart });
})();
