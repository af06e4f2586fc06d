// The layers of an image, the files of the chosen one as a tree, and a search through all of them.

const TYPING = 250; // ms after the last key until it is searched

function render({ model, el }) {
  let layers = [];
  let chosen = 0;
  let timer = 0;
  const title = h("strong");
  const search = h("input", { type: "search", placeholder: "Search paths", "aria-label": "Search in all layers" });
  const wasted = h("input", { type: "checkbox" });
  const words = h("p", { className: "jc-note" });
  const body = h("tbody");
  const below = h("div", { className: "jc-below" });

  const bar = (layer, largest) => {
    const part = (value) => `${((100 * value) / largest).toFixed(1)}%`;
    return h(
      "span",
      { className: "jc-amount", "aria-hidden": "true" },
      h("span", { className: "jc-seen", style: `width:${part(layer.size - layer.wasted)}` }),
      h("span", { className: "jc-wasted", style: `width:${part(layer.wasted)}` }),
    );
  };
  const row = (layer, largest) => {
    const open = button(`Layer ${layer.index}`, `Show the files of layer ${layer.index}`, () => choose(layer.index));
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, open),
      h("td", { className: "jc-number" }, layer.line === null ? "" : String(layer.line)),
      layer.shown.map((each) => h("td", { className: "jc-number" }, each)),
      h("td", {}, bar(layer, largest)),
      h("td", {}, layer.changes),
      h("td", { title: layer.made }, h("code", {}, layer.made)),
    );
  };
  const choose = (index) => {
    chosen = index;
    search.value = "";
    [...body.children].forEach((each, at) => each.classList.toggle("jc-current", layers[at].index === index));
    [...body.querySelectorAll("button")].forEach((each, at) => each.setAttribute("aria-pressed", String(layers[at].index === index)));
    const tree = fileTree(layers.find((each) => each.index === index), {
      ask: (path, skip) => link.send("list", { layer: index, path, skip, wasted: wasted.checked }),
    });
    shown = tree;
    below.replaceChildren(tree.element);
    tree.begin();
  };
  let shown = null;

  const link = connect(model, el, "Layers", {
    layers: (message) => {
      layers = message.layers;
      title.textContent = `Layers of ${message.image}`;
      link.root.setAttribute("aria-label", title.textContent);
      words.textContent = message.summary;
      const largest = Math.max(1, ...layers.map((each) => each.size));
      body.replaceChildren(...layers.map((each) => row(each, largest)));
      if (layers.length) choose(layers[layers.length - 1].index);
    },
    names: (message) => {
      if (message.layer === chosen) shown?.add(message);
    },
    found: (message) => {
      if (message.text !== search.value) return;
      shown = null;
      const rows = message.rows.map((each) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, h("code", {}, `/${each.path}`)),
          h("td", {}, button(`Layer ${each.layer}`, `Show the files of layer ${each.layer}`, () => choose(each.layer))),
          h("td", {}, each.change),
          h("td", { className: "jc-number" }, each.size),
          h("td", {}, each.hidden === null ? "" : `hidden by layer ${each.hidden}`),
        ),
      );
      below.replaceChildren(
        h("div", { className: "jc-scroll jc-names" }, h("table", { className: "jc-table" }, h("caption", { className: "jc-hidden" }, "Paths found"), head("Path", "Layer", "Change", "Size", "Hidden"), h("tbody", {}, rows))),
      );
      const more = message.total > rows.length ? `, the first ${rows.length} shown` : "";
      link.say(`${message.total} ${message.total === 1 ? "path" : "paths"} with “${message.text}”${more}`);
    },
    failed: (message) => link.say(message.text, true),
  });

  const find = () => {
    if (search.value === "") choose(chosen);
    else link.send("find", { text: search.value, wasted: wasted.checked });
  };
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, TYPING);
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      search.value = "";
      find();
    }
  });
  wasted.addEventListener("change", find);
  link.body.append(
    h("div", { className: "jc-bar" }, title, search, h("label", {}, wasted, " only what is wasted")),
    words,
    h(
      "div",
      { className: "jc-scroll" },
      h("table", { className: "jc-table" }, h("caption", { className: "jc-hidden" }, "Layers, the lowest first"), head("Layer", "Line", "Size", "Wasted", "Share", "Changes", "Made by"), body),
    ),
    below,
  );
  return () => {
    clearTimeout(timer);
    link.close();
  };
}

/** The files of a layer as a tree by the ARIA pattern: one stop for Tab, arrows within, names fetched when opened. */
function fileTree(layer, { ask }) {
  const root = h("ul", { className: "jc-tree", role: "tree", "aria-label": `Files of layer ${layer.index}` });
  const places = new Map([["", { group: root, level: 0, shown: 0 }]]);
  const label = (each) => {
    const parts = [];
    if (each.size) parts.push(each.size);
    if (!["file", "dir"].includes(each.kind)) parts.push(each.kind);
    if (each.count) parts.push(`${each.count} ${each.count === 1 ? "entry" : "entries"}`);
    if (each.hidden !== null) parts.push(`hidden by layer ${each.hidden}`);
    return `${each.mark ? `${each.mark} ${each.change} ` : ""}${each.name}${each.kind === "dir" ? "/" : ""}${parts.length ? ` (${parts.join(", ")})` : ""}`;
  };
  const item = (each, path, level) => {
    const text = h("span", { className: each.hidden === null ? "jc-leaf" : "jc-leaf jc-lost" }, label(each));
    const made = h("li", { role: "treeitem", tabIndex: -1, "aria-level": String(level), "aria-label": label(each) }, text);
    made.dataset.path = path;
    if (each.directory) {
      made.setAttribute("aria-expanded", "false");
      text.classList.add("jc-folder");
    }
    text.addEventListener("click", () => {
      focus(made);
      if (each.directory) toggle(made);
    });
    return made;
  };
  const items = () => [...root.querySelectorAll('[role="treeitem"]')].filter((each) => each.offsetParent !== null);
  const focus = (to) => {
    if (!to) return;
    for (const each of root.querySelectorAll('[tabindex="0"]')) each.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  };
  const toggle = (of, open = of.getAttribute("aria-expanded") === "false") => {
    const path = of.dataset.path;
    of.setAttribute("aria-expanded", String(open));
    const known = places.get(path);
    if (known) {
      known.group.hidden = !open;
      return;
    }
    const group = h("ul", { role: "group" });
    of.append(group);
    places.set(path, { group, level: Number(of.getAttribute("aria-level")), shown: 0 });
    ask(path, 0);
  };
  root.addEventListener("keydown", (event) => {
    const at = event.target.closest('[role="treeitem"]');
    if (!at) return;
    const all = items();
    const here = all.indexOf(at);
    const expanded = at.getAttribute("aria-expanded");
    const steps = {
      ArrowDown: () => focus(all[here + 1]),
      ArrowUp: () => focus(all[here - 1]),
      Home: () => focus(all[0]),
      End: () => focus(all[all.length - 1]),
      ArrowRight: () => (expanded === "false" ? toggle(at, true) : expanded === "true" && focus(at.querySelector('[role="treeitem"]'))),
      ArrowLeft: () => (expanded === "true" ? toggle(at, false) : focus(at.parentElement.closest('[role="treeitem"]'))),
      Enter: () => (at.dataset.more ? at.firstChild.click() : expanded !== null && toggle(at)),
    };
    if (!steps[event.key]) return;
    event.preventDefault();
    steps[event.key]();
  });
  const add = (message) => {
    const place = places.get(message.path);
    if (!place || message.skip !== place.shown) return;
    const before = place.group.querySelector(":scope > [data-more]");
    const focused = before !== null && before === document.activeElement;
    before?.remove();
    const made = message.rows.map((each) => item(each, message.path ? `${message.path}/${each.name}` : each.name, place.level + 1));
    place.group.append(...made);
    place.shown += made.length;
    if (place.shown < message.total) {
      const text = h("span", { className: "jc-leaf jc-folder" }, `… ${message.total - place.shown} more`);
      const more = h("li", { role: "treeitem", tabIndex: -1, "aria-level": String(place.level + 1), "data-more": "yes" }, text);
      text.addEventListener("click", () => ask(message.path, place.shown));
      place.group.append(more);
    }
    if (!message.total) place.group.append(h("li", { role: "none" }, "no files"));
    if (focused) focus(made[0]);
    else if (!root.querySelector('[tabindex="0"]') && made[0]) made[0].tabIndex = 0;
  };
  const element = h("div", {}, h("div", { className: "jc-bar" }, h("strong", {}, layer.words)), h("div", { className: "jc-scroll jc-names" }, root));
  return { element, add, begin: () => ask("", 0) };
}

export default { render };
