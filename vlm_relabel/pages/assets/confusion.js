// The confusion matrix: which goals claim frames in whose episodes.
"use strict";

(() => {
  const { el, fill, words, count, share, link, choices, section, isNumber } = Report;

  const MEANING = {
    truth: "Row: the goal that claims. Column: the goal whose episodes are looked at, those in which it is known to be true. Off the diagonal, only frames count at which the claiming goal is known not to be true, so every colour there is a false alarm; on the diagonal, colour is success that was seen.",
    commands: "Row: the goal that claims. Column: the goal that the episode was told to reach. Nothing is known to be true, so colour off the diagonal may be a false alarm, or a goal that was reached on the way.",
    claims: "Row: the goal that claims. Column: another goal that claims a frame of the same episode. Nothing is known to be true and no episode was told a goal, so colour only says which goals are claimed together.",
  };

  Report.views.confusion = async (root, { parts, values }) => {
    const { site } = Report;
    const number = Report.setNumber(parts[1]);
    const set = site.sets[number];
    const table = await Report.load(`sets/${number}`);
    const data = await Report.load(`confusion/${number}`);
    const size = data.goals.length;
    const goal = (place) => site.goals[table.order[place]];
    const text = (place) => goal(place).texts[0] || goal(place).id;
    const at = (name) => Math.max(0, data.goals.findIndex((place) => goal(place).id === values.get(name)));
    let [row, column] = values.has("row") ? [at("row"), at("column")] : first();

    function first() {
      const pair = data.worst.find(({ i, j }) => data.goals.includes(i) && data.goals.includes(j));
      return pair ? [data.goals.indexOf(pair.i), data.goals.indexOf(pair.j)] : [0, 0];
    }

    const canvas = el("canvas", { tabindex: "0", role: "img", class: "matrix" });
    const said = el("p", { class: "summary", "aria-live": "polite" });

    function draw() {
      const wide = Math.min(canvas.parentNode.clientWidth || 640, 48 * size + 2, 760);
      const scale = devicePixelRatio;
      canvas.width = canvas.height = Math.round(wide * scale);
      canvas.style.width = canvas.style.height = `${wide}px`;
      const context = canvas.getContext("2d");
      const cell = canvas.width / size;
      const gap = cell > 8 * scale ? scale : 0;
      context.fillStyle = Report.colour("--raised");
      context.fillRect(0, 0, canvas.width, canvas.height);
      for (let i = 0; i < size; i++) {
        for (let j = 0; j < size; j++) {
          const value = data.share[i][j];
          if (!value) continue;
          context.globalAlpha = 0.12 + 0.88 * value;
          context.fillStyle = Report.colour(i === j ? "--true" : "--alarm");
          context.fillRect(j * cell, i * cell, cell - gap, cell - gap);
        }
      }
      context.globalAlpha = 1;
      context.strokeStyle = Report.colour("--ink");
      context.lineWidth = 2 * scale;
      context.strokeRect(column * cell, row * cell, cell, cell);
    }

    function tell() {
      const value = data.share[row][column];
      const [claims, whose] = [data.goals[row], data.goals[column]];
      const name = (place) => el("a", { href: link(["goal", set.name, goal(place).id]) }, words(text(place)));
      const parts_ = isNumber(value)
        ? [name(claims), ` claims frames in ${count(Math.round(value * data.episodes[row][column]))} of the ${count(data.episodes[row][column])} episodes of `, name(whose), "."]
        : [name(claims), " and ", name(whose), ": no episode to look at."];
      fill(said, parts_);
      canvas.setAttribute("aria-label", `Confusion matrix of ${size} goals. Row ${text(claims)}, column ${text(whose)}: ${isNumber(value) ? share(value, 2) : "no episode"}`);
    }

    function move(to, across) {
      row = Math.max(0, Math.min(size - 1, to));
      column = Math.max(0, Math.min(size - 1, across));
      Report.note({ row: goal(data.goals[row]).id, column: goal(data.goals[column]).id });
      draw();
      tell();
    }

    const point = (event) => {
      const cell = canvas.clientWidth / size;
      move(Math.floor(event.offsetY / cell), Math.floor(event.offsetX / cell));
    };
    canvas.addEventListener("pointerdown", point);
    canvas.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") point(event); });
    root.append(
      el("h1", {}, "Confusion"),
      choices("Reward set", site.sets.map((other, place) => ({
        text: other.name, href: link(["confusion", other.name]), current: place === number,
      }))) || "",
      el("p", { class: "quiet" }, MEANING[data.basis], ` A frame is claimed by ${data.bounds}.`),
      said,
      el("div", { class: "matrixbox" }, canvas),
    );
    if (data.worst.length) {
      const rows = data.worst.map(({ i, j, share: value, episodes }) => [
        el("a", { href: link(["goal", set.name, goal(i).id]) }, words(text(i))),
        words(text(j)), share(value, 2), count(episodes),
      ]);
      root.append(section("Most confused", el("div", { class: "scroll" },
        Report.table(["This goal claims frames", "in episodes of", "Share", "Episodes"], rows))));
    }
    tell();
    new ResizeObserver(draw).observe(canvas.parentNode);
    const keys = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      if (!keys[event.key]) return;
      event.preventDefault();
      move(row + keys[event.key][0], column + keys[event.key][1]);
    });
    return `Confusion of ${set.name}`;
  };
})();
