// A build: the graph that the kernel draws, its steps as buttons, and what the chosen step printed.

function render({ model, el }) {
  let steps = [];
  let rows = [];
  const words = h("span", { className: "jc-wide", role: "status", "aria-live": "polite" });
  const drawing = h("div", { className: "jc-drawing", tabIndex: 0, role: "group", "aria-label": "Graph of the build" });
  const list = h("ol", { className: "jc-steps" });
  const title = h("strong");
  const log = h("pre", { className: "jc-output", tabIndex: 0, "aria-label": "What the step printed" });
  const choose = (name) => link.send("choose", { step: name });
  const follow = button("Follow the build", "Show what the running step prints", () => choose(""), { hidden: true });
  const stop = button("Stop", "Stop the build", () => link.send("stop"));
  const pane = h("div", { className: "jc-below", hidden: true }, h("div", { className: "jc-bar" }, title, follow), log);

  drawing.addEventListener("click", (event) => {
    const matrix = drawing.querySelector("svg")?.getScreenCTM();
    if (!matrix) return;
    const y = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse()).y;
    const at = rows.findIndex((top) => y >= top - 3 && y < top + 21);
    if (at >= 0) choose(steps[at][0]);
  });
  const step = ([name, line, text, status, reason]) =>
    h("li", {}, button(`${text}`, `Show what line ${line}, ${text}, printed`, () => choose(name)), ` ${status}${reason ? `: ${reason}` : ""}`);

  const link = connect(model, el, "Build", {
    graph: (message) => {
      ({ steps, rows } = message);
      words.textContent = message.words;
      const parsed = new DOMParser().parseFromString(message.picture, "image/svg+xml").documentElement;
      drawing.replaceChildren(document.adoptNode(parsed));
      const focused = [...list.querySelectorAll("button")].indexOf(document.activeElement);
      list.replaceChildren(...steps.map(step));
      if (focused >= 0) list.querySelectorAll("button")[focused]?.focus();
      stop.hidden = message.over;
    },
    log: (message) => {
      pane.hidden = message.title === "";
      follow.hidden = message.pinned === "" || stop.hidden;
      title.textContent = message.title;
      const below = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
      log.textContent = message.text ? `${message.cut ? "…\n" : ""}${message.text}` : "(no output)";
      if (below) log.scrollTop = log.scrollHeight;
    },
  });
  link.body.append(
    h("div", { className: "jc-bar" }, words, stop),
    drawing,
    h("details", {}, h("summary", {}, "The steps as a list"), list),
    pane,
  );
  return link.close;
}

export default { render };
