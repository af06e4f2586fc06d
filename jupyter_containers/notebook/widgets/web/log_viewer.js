// The log of one container.

function render({ model, el }) {
  let pane = null;
  const early = [];
  const link = connect(model, el, "Log", {
    title: (message) => {
      pane ??= logPane(message.text);
      pane.clear();
      link.root.setAttribute("aria-label", `Log of ${message.text}`);
      link.body.replaceChildren(pane.element);
      for (const each of early.splice(0)) pane.add(each.lines, each.lost);
    },
    log: (message) => {
      if (pane) pane.add(message.lines, message.lost);
      else early.push(message);
    },
    clear: () => pane?.clear(),
    ended: () => link.say("The container has ended; this is its whole log, or the end of it."),
    failed: (message) => link.say(message.text, true),
  });
  return link.close;
}

export default { render };
