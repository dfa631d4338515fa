// The one global of the page: data that scripts hand over, and links to views.
"use strict";

window.Report = (() => {
  const known = new Map(); // content of data scripts, by name
  const waiting = new Map(); // what to call when a script has come, by name

  // Called by every script below data/.
  function receive(name, content) {
    known.set(name, content);
    for (const resolve of waiting.get(name) || []) resolve(content);
    waiting.delete(name);
  }

  // The content of data/NAME.js; the script is loaded once, when it is first wanted. A page that is
  // opened from a disk may not fetch.
  function load(name) {
    if (known.has(name)) return Promise.resolve(known.get(name));
    return new Promise((resolve, reject) => {
      const others = waiting.get(name);
      if (others) {
        others.push(resolve);
        return;
      }
      waiting.set(name, [resolve]);
      const script = document.createElement("script");
      script.src = `data/${name}.js`;
      script.onerror = () => reject(new Error(`data/${name}.js is missing`));
      document.head.append(script);
    });
  }

  // --- links: #/goal/small/find-red-ball?beta=0.5

  function link(parts, values = {}) {
    const path = parts.map(encodeURIComponent).join("/");
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(values)) {
      if (value !== null && value !== undefined && value !== "") query.set(name, value);
    }
    const text = query.toString();
    return `#/${path}${text ? `?${text}` : ""}`;
  }

  function route() {
    const [path, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
    const parts = path.split("/").filter(Boolean).map(decoded);
    return { parts, values: new URLSearchParams(query || "") };
  }

  function decoded(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  }

  // Writes what is being looked at into the address, without opening the view again.
  function note(values) {
    const { parts, values: before } = route();
    const all = { ...Object.fromEntries(before), ...values };
    history.replaceState(null, "", link(parts, all));
  }

  const empty = () => Object.create(null); // in which no name is found that nobody has put there
  return { receive, load, link, route, note, views: empty(), keys: empty(), site: null };
})();
