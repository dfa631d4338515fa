// Opens the view that the address names, and takes the keys that views have.
"use strict";

(() => {
  const { el, fill, words, link } = Report;
  const view = document.getElementById("view");
  let turn = 0; // of the view that is being opened

  Report.setNumber = (name) => Math.max(0, Report.site.sets.findIndex((set) => set.name === name));

  Report.missing = (root, what) => {
    root.append(el("h1", {}, "Not here"), el("p", {}, "There is no ", words(what), "."), el("p", {}, el("a", { href: "#/" }, "To the overview")));
    return "Not here";
  };

  const NAMES = { overview: "Overview", goals: "Goals", confusion: "Confusion", episodes: "Episodes" };
  const HELP = {
    goals: "Press a heading to sort by its column, and again to turn the order.",
    confusion: "Keys: when the matrix has the focus, the arrow keys move its cell.",
    goal: "Keys: [ and ] go to the goals before and after.",
    episode: "Keys: ← and → move the frame, Home and End go to the first and last; [ and ] to the episodes before and after.",
  };

  function drawNav(name) {
    const current = { goal: "goals", episode: "episodes" }[name] || name;
    const links = Object.entries(NAMES).filter(([own]) => own in Report.views);
    fill(document.getElementById("nav"), links.map(([own, text]) =>
      el("a", { href: link(own === "overview" ? [] : [own]), "aria-current": own === current ? "page" : null }, text)));
    fill(document.getElementById("keys"), HELP[name] ? el("p", {}, HELP[name]) : null);
  }

  async function open(focus) {
    const own = ++turn;
    const found = Report.route();
    const name = found.parts[0] in Report.views ? found.parts[0] : "overview";
    for (const key of Object.keys(Report.keys)) delete Report.keys[key];
    const root = el("div", { class: `view-${name}` });
    drawNav(name);
    let title;
    try {
      title = await Report.views[name](root, found);
    } catch (error) {
      title = "Error";
      fill(root, el("h1", {}, "This view cannot be shown"), el("p", {}, words(String(error.message || error))));
      console.error(error);
    }
    if (own !== turn) return; // another one was opened meanwhile
    view.replaceChildren(root);
    root.dispatchEvent(new Event("shown")); // only now it has a size
    document.title = `${title} – ${Report.site.source.name}`;
    window.scrollTo(0, 0);
    if (focus) view.focus({ preventScroll: true });
    document.body.dataset.view = name;
  }

  window.addEventListener("hashchange", () => open(true));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => open(false));
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea") && !(event.key === "[" || event.key === "]");
    if (typing || event.ctrlKey || event.altKey || event.metaKey || event.target.type === "search") return;
    const action = Report.keys[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  Report.load("site").then((site) => {
    Report.site = site;
    fill(document.getElementById("store"), words(site.source.name));
    open(false);
  }, (error) => fill(view, el("p", {}, error.message)));
})();
