// Elements. Texts of data only ever become text nodes and attribute values, never markup.
"use strict";

(() => {
  // el("a", {href: "#/", class: "x", onclick: f}, "text", child, …)
  function el(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    add(element, children);
    return element;
  }

  function add(element, children) {
    for (const child of children.flat(Infinity)) {
      if (child === null || child === undefined || child === false) continue;
      element.append(child instanceof Node ? child : String(child));
    }
    return element;
  }

  function fill(element, ...children) {
    element.replaceChildren();
    return add(element, children);
  }

  // A text in a direction of its own, so that right-to-left words turn nothing around them.
  const words = (text, attributes = {}) => el("bdi", attributes, text);

  // A note in which options such as --max-mb are not broken apart.
  const noted = (text) =>
    String(text).split(/(--[a-z][\w-]*)/).map((part) => (part.startsWith("--") ? el("span", { class: "code" }, part) : words(part)));

  // --- tiles: one small frame of a sheet

  const seen = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        target.style.backgroundImage = `url("${target.dataset.src}")`;
        seen.unobserve(target);
      }
    },
    { rootMargin: "300px" },
  );

  // The frame at a place of a sheet; without one, a grey field that says so.
  function tile(sheet, place, label) {
    if (!sheet || place === null || place === undefined) {
      return el("span", { class: "tile none", role: "img", "aria-label": `${label}: no frame` });
    }
    const { columns, rows, width, height, src } = sheet;
    const element = el("span", { class: "tile", role: "img", "aria-label": label, "data-src": src });
    show(element, sheet, place);
    element.style.aspectRatio = `${width} / ${height}`;
    element.style.backgroundSize = `${100 * columns}% ${100 * rows}%`;
    seen.observe(element);
    return element;
  }

  // Moves a tile's picture to another place of the same sheet.
  function show(element, sheet, place) {
    const { columns, rows } = sheet;
    const part = (at, count) => (count > 1 ? (100 * at) / (count - 1) : 0);
    const column = place % columns;
    const row = Math.floor(place / columns);
    element.style.backgroundPosition = `${part(column, columns)}% ${part(row, rows)}%`;
  }

  // --- small parts that several views have

  const card = (name, value, more) =>
    el("div", { class: "card" }, el("dt", {}, name), el("dd", {}, value, more && el("small", {}, more)));

  const section = (title, ...children) => el("section", {}, el("h2", {}, title), ...children);

  // One of several choices, each of which is a link.
  function choices(label, options) {
    if (options.length < 2) return null;
    const links = options.map(({ text, href, current }) =>
      el("a", { href, "aria-current": current ? "true" : null }, words(text)),
    );
    return el("div", { class: "choices", role: "group", "aria-label": label }, el("span", {}, label), links);
  }

  function table(columns, rows) {
    const head = columns.map((name) => el("th", { scope: "col" }, name));
    const body = rows.map((cells) =>
      el("tr", {}, cells.map((cell, at) => el("td", { "data-name": columns[at] }, cell))),
    );
    return el("table", { class: "plain" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body));
  }

  Object.assign(Report, { el, add, fill, words, noted, tile, show, card, section, choices, table });
})();
