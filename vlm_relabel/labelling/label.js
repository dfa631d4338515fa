"use strict";
// Asks one question after another and gives the answers back as a label table.
// What comes from data is only ever set as text, or as the address of an image.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { questions, frames, goals } = data; // a question: [place of the frame, place of the goal]
  const WORDS = { y: "yes", n: "no", s: "skip" };
  const element = (id) => document.getElementById(id);
  let answers = Array(questions.length).fill("-"); // y, n, s; -: none
  let trail = []; // places that were answered, with what they were before: [place, answer]
  let at = 0; // place of the question that is shown; past the last one: the end

  // --- what is kept across a reload

  const KEY = `vlm-relabel-labels-${data.id}`;
  let keeps = true;
  const restore = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY));
      if (kept !== null && fits(kept)) {
        answers = Array.from(kept.answers);
        trail = kept.trail;
        at = kept.at;
      }
    } catch {
      keeps = false;
    }
  };
  const isPlace = (value, last) => Number.isInteger(value) && value >= 0 && value <= last;
  const fits = (kept) =>
    typeof kept.answers === "string" &&
    kept.answers.length === questions.length &&
    /^[yns-]*$/.test(kept.answers) &&
    isPlace(kept.at, questions.length) &&
    Array.isArray(kept.trail) &&
    kept.trail.every(([place, old]) => isPlace(place, questions.length - 1) && /^[yns-]$/.test(old));
  const keep = () => {
    try {
      localStorage.setItem(KEY, JSON.stringify({ answers: answers.join(""), trail, at }));
      keeps = true;
    } catch {
      keeps = false;
    }
  };

  // --- answering

  const answer = (letter) => {
    if (at >= questions.length) return;
    trail.push([at, answers[at]]);
    answers[at] = letter;
    const next = answers.indexOf("-", at + 1);
    go(next >= 0 ? next : answers.includes("-") ? answers.indexOf("-") : questions.length);
  };
  const undo = () => {
    const last = trail.pop();
    if (last === undefined) return;
    answers[last[0]] = last[1];
    go(last[0]);
  };
  const go = (place) => {
    at = Math.min(Math.max(place, 0), questions.length);
    keep();
    show();
  };
  const askSkipped = () => {
    answers = answers.map((letter) => (letter === "s" ? "-" : letter));
    trail = [];
    go(Math.max(answers.indexOf("-"), 0));
  };

  // --- what is shown

  const counted = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
  const number = (letter) => answers.filter((other) => other === letter).length;
  const show = () => {
    const left = number("-");
    const asked = questions.length;
    element("progress").max = Math.max(asked, 1);
    element("progress").value = asked - left;
    element("count").textContent =
      `${asked - left} of ${counted(asked, "question")}: ${number("y")} yes, ` +
      `${number("n")} no, ${number("s")} skipped`;
    element("warning").hidden = keeps;
    element("warning").textContent =
      "This browser does not keep answers across a reload here: download them before you leave.";
    element("asking").hidden = at >= asked;
    element("done").hidden = at < asked;
    element("done-title").textContent =
      left > 0 ? `${counted(left, "question")} left without an answer` : "All is answered";
    element("skipped").hidden = number("s") === 0;
    for (const id of ["yes", "no", "skip"]) element(id).disabled = at >= asked;
    element("back").disabled = at === 0;
    element("forward").disabled = at >= asked;
    element("undo").disabled = trail.length === 0;
    element("download").disabled = number("y") + number("n") === 0;
    if (at < asked) showQuestion();
    if (!element("text").hidden) element("table").value = table();
  };
  const showQuestion = () => {
    const [place, goal] = questions[at];
    const frame = frames[place];
    const image = element("frame");
    if (image.getAttribute("src") !== frame.image) image.src = frame.image;
    image.alt = `Frame ${frame.step} of episode ${frame.episode}`;
    const same = questions.flatMap((other, i) => (other[0] === place ? [i] : []));
    const turn = same.length > 1 ? ` (${same.indexOf(at) + 1} of ${same.length})` : "";
    element("place").textContent = `episode ${frame.episode}, step ${frame.step}${turn}`;
    const [first, ...others] = goals[goal].texts;
    element("goal").textContent = first;
    element("texts").replaceChildren(
      ...others.map((text) => {
        const line = document.createElement("li");
        line.dir = "auto";
        line.textContent = text;
        return line;
      }),
    );
    const given = WORDS[answers[at]];
    element("answered").textContent = given === undefined ? "" : `answered: ${given}`;
    for (const word of Object.values(WORDS)) {
      element(word).classList.toggle("given", word === given);
    }
    const panel = element("question");
    panel.classList.remove("new");
    void panel.offsetWidth; // so that the animation begins anew
    panel.classList.add("new");
  };

  // --- the label table

  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const table = () => {
    const rows = questions.flatMap(([place, goal], i) => {
      if (answers[i] !== "y" && answers[i] !== "n") return [];
      const { episode, step } = frames[place];
      return [[quoted(episode), step, quoted(goals[goal].id), WORDS[answers[i]]].join(",")];
    });
    return ["episode_id,step,goal_id,label", ...rows, ""].join("\n");
  };
  const download = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    link.download = data.file;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };
  const toggleText = () => {
    const panel = element("text");
    panel.hidden = !panel.hidden;
    element("show").setAttribute("aria-expanded", String(!panel.hidden));
    show();
    if (!panel.hidden) element("table").select();
  };

  // --- keys and buttons

  const press = (id) => element(id).disabled || element(id).click();
  const KEYS = {
    y: "yes", n: "no", s: "skip", u: "undo", Backspace: "undo", d: "download",
    ArrowLeft: "back", ArrowRight: "forward",
  };
  document.addEventListener("keydown", (event) => {
    if (event.target instanceof HTMLTextAreaElement || event.altKey) return;
    const undoes = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    if ((event.ctrlKey || event.metaKey) && !undoes) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const id = undoes ? "undo" : KEYS[key];
    if (id === undefined) return;
    event.preventDefault();
    if (!event.repeat || key.startsWith("Arrow")) press(id); // a key held down answers once
  });
  element("yes").addEventListener("click", () => answer("y"));
  element("no").addEventListener("click", () => answer("n"));
  element("skip").addEventListener("click", () => answer("s"));
  element("undo").addEventListener("click", undo);
  element("back").addEventListener("click", () => go(at - 1));
  element("forward").addEventListener("click", () => go(at + 1));
  element("skipped").addEventListener("click", askSkipped);
  element("download").addEventListener("click", download);
  element("show").addEventListener("click", toggleText);
  element("frame").addEventListener("load", () => {
    element("frame").classList.toggle("tiny", element("frame").naturalHeight <= 128);
  });
  window.addEventListener("beforeunload", (event) => {
    if (!keeps && number("y") + number("n") > 0) event.preventDefault();
  });

  document.title = `Label frames: ${data.rewards}`;
  restore();
  keep();
  show();
})();
