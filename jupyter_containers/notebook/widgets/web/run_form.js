// A form for `run`, with the line that does the same.

function render({ model, el }) {
  let options = new Map();
  let waiting = null;
  let pane = null;
  let filled = false;
  const images = h("datalist", { id: `jc-images-${Math.random().toString(36).slice(2)}` });
  const image = h("input", { type: "text", "aria-label": "Image", placeholder: "alpine" });
  image.setAttribute("list", images.id);
  const command = h("input", { type: "text", "aria-label": "Command", placeholder: "the image's own" });
  const chosen = h("div", { className: "jc-form", role: "group", "aria-label": "Options" });
  const choice = h("select", { "aria-label": "Option to add" });
  const line = h("code", { className: "jc-equal", "aria-label": "The line that does the same" });
  const run = button("Run", "Run the container", () => link.send("run", content()));
  const stop = button("Stop", "Stop the container", () => link.send("stop"), { disabled: true });
  const below = h("div", { className: "jc-below" });

  const content = () => ({
    image: image.value,
    command: command.value,
    chosen: [...chosen.querySelectorAll("[data-option]")].map((field) => [field.dataset.option, field.value, options.get(field.dataset.option).switch]),
  });
  const changed = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => link.send("preview", content()), 150);
  };
  const add = (name, value) => {
    const option = options.get(name);
    if (!option) return null;
    let field = h("input", { type: "text", value, placeholder: option.metavar, "aria-label": `--${name}` });
    if (option.switch) field = h("input", { type: "hidden", value: "" });
    if (option.choices.length) {
      field = h("select", { "aria-label": `--${name}` }, option.choices.map((each) => h("option", { value: each }, each)));
      if (value) field.value = value;
    }
    field.dataset.option = name;
    field.addEventListener("input", changed);
    const parts = [h("span", {}, `--${name}`), option.switch ? h("span", {}, field, option.help) : field];
    const remove = button("✕", `Leave out --${name}`, () => {
      for (const part of [...parts, remove, help]) part.remove();
      changed();
      choice.focus();
    });
    const help = h("small", { hidden: option.switch }, option.help);
    chosen.append(...parts, remove, help);
    return field;
  };
  choice.addEventListener("change", () => {
    const field = add(choice.value, "");
    choice.value = "";
    (field?.type === "hidden" ? choice : field)?.focus();
    changed();
  });
  for (const field of [image, command]) {
    field.addEventListener("input", changed);
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") run.click();
    });
  }
  const link = connect(model, el, "Run a container", {
    form: (message) => {
      options = new Map(message.options.map((option) => [option.name, option]));
      images.replaceChildren(...message.images.map((name) => h("option", { value: name })));
      choice.replaceChildren(h("option", { value: "" }, "add an option …"), ...message.options.map((option) => h("option", { value: option.name }, `--${option.name}: ${option.help}`)));
      if (filled) return;
      filled = true;
      image.value = message.image;
      command.value = message.command;
      for (const [name, value] of message.chosen) add(name, value);
      changed();
    },
    line: (message) => {
      line.textContent = message.line || message.problem;
      run.disabled = message.problem !== "";
    },
    began: () => {
      pane = logPane("the run");
      below.replaceChildren(pane.element);
      stop.disabled = false;
      link.say("It runs …");
    },
    log: (message) => pane?.add(message.lines, message.lost),
    ended: (message) => {
      stop.disabled = true;
      link.say(message.text, message.failed);
    },
    failed: (message) => link.say(message.hint ? `${message.text}: ${message.hint}` : message.text, true),
  });
  link.body.append(
    h("div", { className: "jc-bar" }, h("strong", {}, "Run a container")),
    h("div", { className: "jc-form" }, h("span", {}, "Image"), image, h("span", {}, images), h("span", {}, "Command"), command, h("span", {})),
    chosen,
    h("div", { className: "jc-bar" }, choice, run, stop),
    line,
    below,
  );
  return link.close;
}

export default { render };
