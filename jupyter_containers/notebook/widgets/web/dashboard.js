// The containers of the store, as they are now.

const STATES = { running: "●", exited: "○", created: "◌", paused: "⏸", restarting: "↻", dead: "✗" };

function render({ model, el }) {
  const rows = new Map();
  let pane = null;
  const filter = h("input", { type: "search", placeholder: "Filter", "aria-label": "Show only containers with these words" });
  const stopped = h("input", { type: "checkbox", checked: true });
  const body = h("tbody");
  const more = h("p", { className: "jc-note", hidden: true });
  const empty = h("p", { className: "jc-note", hidden: true }, "There are no containers.");
  const below = h("div", { className: "jc-below" });

  const link = connect(model, el, "Containers", {
    rows: (message) => {
      const there = new Set(message.order);
      for (const [identity, { element }] of rows) {
        if (there.has(identity)) continue;
        element.remove();
        rows.delete(identity);
      }
      for (const row of message.rows) (rows.get(row.id) ?? make(row.id)).update(row);
      message.order.forEach((identity, at) => {
        const { element } = rows.get(identity);
        if (body.children[at] !== element) body.insertBefore(element, body.children[at] ?? null);
      });
      more.hidden = message.more === 0;
      more.textContent = `and ${message.more} more, older ones`;
      choose();
    },
    done: (message) => {
      rows.get(message.id)?.busy(false);
      link.say(message.text);
    },
    failed: (message) => {
      rows.get(message.id)?.busy(false);
      link.say(message.hint ? `${message.text}: ${message.hint}` : message.text, true);
    },
    log: (message) => {
      if (pane?.log && pane.id === message.id) pane.log.add(message.lines, message.lost);
    },
    output: (message) => {
      if (pane?.output && pane.id === message.id) pane.output(message);
    },
  });

  const choose = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const { element, row } of rows.values()) {
      const text = `${row.name} ${row.image} ${row.state} ${row.ports} ${row.id}`.toLowerCase();
      element.hidden = !words.every((word) => text.includes(word)) || (!stopped.checked && row.state !== "running");
    }
    empty.hidden = rows.size > 0;
  };
  filter.addEventListener("input", choose);
  filter.addEventListener("keydown", (event) => event.stopPropagation());
  stopped.addEventListener("change", choose);

  const close = () => {
    if (!pane) return;
    link.send("close", { id: pane.id });
    pane.element.remove();
    rows.get(pane.id)?.focus();
    pane = null;
  };
  const open = (made) => {
    close();
    pane = made;
    below.replaceChildren(made.element);
  };
  const showLogs = (row) => {
    const log = logPane(row.name, { onclose: close });
    open({ id: row.id, element: log.element, log });
    link.send("logs", { id: row.id });
    log.search.focus();
  };
  const showExec = (row) => {
    const command = h("input", { type: "text", className: "jc-wide", "aria-label": `Command to run in ${row.name}`, placeholder: "ls -l /" });
    const said = h("pre", { className: "jc-output", tabIndex: 0, "aria-label": "What it printed", hidden: true });
    const run = () => {
      if (command.value.trim() === "") return;
      link.say(`Running in ${row.name} …`);
      link.send("exec", { id: row.id, command: command.value });
    };
    command.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") run();
      if (event.key === "Escape") close();
    });
    const bar = h(
      "div",
      { className: "jc-bar", role: "toolbar", "aria-label": `Run in ${row.name}` },
      h("strong", {}, `Run in ${row.name}`),
      command,
      button("Run", `Run the command in ${row.name}`, run),
      button("Close", "Close", close),
    );
    const output = (message) => {
      said.hidden = false;
      said.textContent = message.text;
      link.say(`${message.command}: exit status ${message.code}`, message.code !== 0);
    };
    open({ id: row.id, element: h("div", {}, bar, said), output });
    command.focus();
  };

  const make = (id) => {
    const state = h("td");
    const cells = { image: h("td"), status: h("td"), ports: h("td"), cpu: h("td", { className: "jc-number" }), memory: h("td", { className: "jc-number" }) };
    const name = h("th", { scope: "row" });
    const actions = h("td", { className: "jc-actions" });
    const element = h("tr", {}, name, state, cells.image, cells.status, cells.ports, cells.cpu, cells.memory, actions);
    element.dataset.id = id;
    const made = { element, row: {} };
    let shown = null;
    const act = (action, doing) => {
      made.busy(true);
      link.say(`${doing} ${made.row.name} …`);
      link.send("act", { action, id });
    };
    const ask = () => {
      const { name: called, state: now } = made.row;
      const cancel = button("Cancel", `Keep ${called}`, () => {
        shown = null;
        buttons();
        made.focus();
      });
      const sure = button("Remove", `Remove ${called} now`, () => act("remove", "Removing"));
      const text = now === "running" ? `${called} runs. Kill and remove it?` : `Remove ${called}?`;
      const dialog = h("span", { role: "alertdialog", "aria-label": text }, text, " ", sure, cancel);
      dialog.addEventListener("keydown", (event) => {
        if (event.key === "Escape") cancel.click();
      });
      actions.replaceChildren(dialog);
      shown = "asking";
      cancel.focus();
    };
    const buttons = () => {
      const { name: called, state: now } = made.row;
      if (shown === "asking" || shown === now) return;
      const focused = actions.contains(document.activeElement);
      shown = now;
      const runs = now === "running";
      const first = runs
        ? button("Stop", `Stop ${called}`, () => act("stop", "Stopping"))
        : now === "paused"
          ? button("Unpause", `Unpause ${called}`, () => act("unpause", "Unpausing"))
          : button("Start", `Start ${called}`, () => act("start", "Starting"));
      actions.replaceChildren(
        first,
        button("Logs", `Show the log of ${called}`, () => showLogs(made.row)),
        button("Exec", `Run a command in ${called}`, () => showExec(made.row), { disabled: !runs }),
        button("Remove", `Remove ${called}`, ask),
      );
      if (focused) made.focus();
    };
    made.focus = () => actions.querySelector("button")?.focus();
    made.busy = (busy) => {
      if (!busy && shown === "asking") shown = null;
      for (const each of actions.querySelectorAll("button")) each.disabled = busy;
      if (!busy) {
        shown = null;
        buttons();
      }
    };
    made.update = (row) => {
      made.row = row;
      name.textContent = row.name;
      name.title = row.id;
      state.textContent = `${STATES[row.state] ?? ""} ${row.state}${row.health ? ` (${row.health})` : ""}`;
      state.className = `jc-is-${row.state}`;
      cells.image.textContent = row.image;
      cells.status.textContent = row.status;
      cells.ports.textContent = row.ports;
      cells.cpu.textContent = percent(row.cpu);
      cells.memory.textContent = size(row.memory);
      if (row.memory_limit) cells.memory.title = `of ${size(row.memory_limit)}`;
      buttons();
    };
    rows.set(id, made);
    return made;
  };

  link.body.append(
    h("div", { className: "jc-bar" }, h("strong", {}, "Containers"), filter, h("label", {}, stopped, " stopped ones too")),
    h(
      "div",
      { className: "jc-scroll" },
      h("table", { className: "jc-table" }, h("caption", { className: "jc-hidden" }, "Containers"), head("Name", "State", "Image", "Status", "Ports", "CPU", "Memory", "Actions"), body),
    ),
    empty,
    more,
    below,
  );
  return link.close;
}

export default { render };
