// The files of a container or a volume.

function render({ model, el }) {
  let path = "/";
  let shown = 0;
  const title = h("strong");
  const where = h("nav", { "aria-label": "Path" });
  const body = h("tbody");
  const more = button("More", "Show more names", () => link.send("list", { path, skip: shown }), { hidden: true });
  const below = h("div", { className: "jc-below" });
  const join = (name) => `${path.replace(/\/$/, "")}/${name}`;
  const go = (to) => {
    shown = 0;
    below.replaceChildren();
    link.send("list", { path: to });
  };
  const parts = () => {
    const names = path.split("/").filter(Boolean);
    const steps = [button("/", "Go to /", () => go("/"))];
    names.forEach((name, at) => {
      const to = `/${names.slice(0, at + 1).join("/")}`;
      steps.push(button(name, `Go to ${to}`, () => go(to)));
    });
    steps[steps.length - 1].setAttribute("aria-current", "location");
    where.replaceChildren(...steps);
  };
  const open = (row) => {
    if (row.mode[0] === "d") go(join(row.name));
    else if (row.mode[0] === "l") {
      shown = 0;
      link.send("follow", { path: join(row.name) });
    } else link.send("view", { path: join(row.name) });
  };
  const line = (row) => {
    const kind = { d: "directory", l: "link", "-": "file" }[row.mode[0]] ?? "special file";
    const plain = row.mode[0] === "-";
    const name = kind === "special file" ? row.name : button(row.name, plain ? `View ${row.name}` : `Open ${kind} ${row.name}`, () => open(row));
    const size_ = plain ? size(row.size) : "";
    const actions = plain ? button("Download", `Download ${row.name}`, () => link.send("download", { path: join(row.name) })) : "";
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, name, row.target ? ` → ${row.target}` : ""),
      h("td", {}, kind),
      h("td", {}, h("code", {}, row.mode)),
      h("td", { className: "jc-number" }, size_),
      h("td", {}, row.modified),
      h("td", { className: "jc-actions" }, actions),
    );
  };
  const link = connect(model, el, "Files", {
    title: (message) => {
      title.textContent = message.text;
      link.root.setAttribute("aria-label", message.text);
      go(message.path);
    },
    directory: (message) => {
      const focused = link.root.contains(document.activeElement);
      if (message.path !== path || shown === 0) body.replaceChildren();
      path = message.path;
      body.append(...message.rows.map(line));
      shown = shown === 0 ? message.rows.length : shown + message.rows.length;
      more.hidden = shown >= message.total;
      parts();
      link.say(`${message.total} ${message.total === 1 ? "name" : "names"} in ${path}`);
      if (focused && !link.root.contains(document.activeElement)) where.lastElementChild.focus();
    },
    text: (message) => {
      const words = message.binary ? "It is no text: download it." : message.partly ? "The beginning of the file:" : "";
      below.replaceChildren(
        h("div", { className: "jc-bar" }, h("strong", {}, message.path), h("span", {}, words), button("Close", `Close ${message.path}`, () => below.replaceChildren())),
        h("pre", { className: "jc-output", tabIndex: 0, "aria-label": `Content of ${message.path}`, hidden: message.binary }, message.text),
      );
      below.querySelector("button").focus();
    },
    file: (message, buffers) => {
      const url = URL.createObjectURL(new Blob([buffers[0]]));
      const anchor = h("a", { href: url, download: message.path.split("/").pop() });
      anchor.click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      link.say(`${message.path} was downloaded`);
    },
    failed: (message) => {
      link.say(message.hint ? `${message.text}: ${message.hint}` : message.text, true);
    },
  });
  link.body.append(
    h("div", { className: "jc-bar" }, title, where),
    h("div", { className: "jc-scroll jc-names" }, h("table", { className: "jc-table" }, h("caption", { className: "jc-hidden" }, "Names"), head("Name", "Kind", "Mode", "Size", "Modified (UTC)", "Actions"), body)),
    more,
    below,
  );
  return link.close;
}

export default { render };
