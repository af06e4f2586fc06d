// The networks as they are: the picture that the kernel drew, the traffic of each interface, and the same as text.

function render({ model, el }) {
  let before = null;
  let cells = [];
  const chosen = h("select", { "aria-label": "Network to show" });
  const words = h("p", { className: "jc-note" });
  const drawing = h("div", { className: "jc-drawing", tabIndex: 0, role: "group", "aria-label": "Picture of the networks" });
  const body = h("tbody");
  const text = h("pre", { className: "jc-output", tabIndex: 0, "aria-label": "The networks as text" });

  const picture = (source) => {
    const parsed = new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
    drawing.replaceChildren(document.adoptNode(parsed));
  };
  const choices = (message) => {
    const names = ["", ...message.networks];
    chosen.replaceChildren(...names.map((name) => h("option", { value: name }, name || "all networks")));
    chosen.value = message.chosen;
  };
  const rate = (now, then, seconds) => (then === undefined || seconds <= 0 ? "" : `${size(Math.max(0, now - then) / seconds)}/s`);

  const link = connect(model, el, "Networks", {
    graph: (message) => {
      picture(message.picture);
      words.textContent = message.words.join(" ");
      text.textContent = message.tree.join("\n");
      if (document.activeElement !== chosen) choices(message);
      before = null;
      cells = message.rows.map(() => [0, 1].map(() => h("td", { className: "jc-number" })));
      body.replaceChildren(
        ...message.rows.map(([container, ...rest], at) =>
          h("tr", {}, h("th", { scope: "row" }, container), rest.map((each) => h("td", {}, each)), cells[at]),
        ),
      );
      link.say(`${message.rows.length} ${message.rows.length === 1 ? "interface" : "interfaces"} of containers`);
    },
    traffic: (message) => {
      const seconds = before ? message.time - before.time : 0;
      message.rows.forEach(([received, sent], at) => {
        const then = before?.rows[at] ?? [];
        const [first, second] = cells[at] ?? [];
        if (!first) return;
        first.textContent = `${size(received)} ${rate(received, then[0], seconds)}`;
        second.textContent = `${size(sent)} ${rate(sent, then[1], seconds)}`;
      });
      before = message;
    },
  });
  chosen.addEventListener("change", () => link.send("choose", { network: chosen.value }));
  link.body.append(
    h("div", { className: "jc-bar" }, h("strong", {}, "Networks"), chosen),
    words,
    drawing,
    h(
      "details",
      { open: true },
      h("summary", {}, "What goes through the interfaces"),
      h(
        "div",
        { className: "jc-scroll jc-names" },
        h("table", { className: "jc-table" }, h("caption", { className: "jc-hidden" }, "Interfaces of containers"), head("Container", "Interface", "Addresses", "Outside", "Network", "Received", "Sent"), body),
      ),
    ),
    h("details", {}, h("summary", {}, "The same as text"), text),
  );
  return link.close;
}

export default { render };
