// What all widgets share: elements, the connection to the kernel, words for sizes. It stands before each widget's own
// module, in one text: anywidget loads a widget as a single module.

const PING = 5_000; // ms between signs of life; the kernel forgets a view after two minutes without one
const SILENCE = 16_000; // ms without a word from the kernel after which it is taken for gone: it has a beat of five seconds
const GONE = "Disconnected: the kernel was restarted or has ended. Run the cell again.";
const KNOCK = 700; // ms between two hellos until one is answered

/** An element with properties, attributes (`aria-…`, `data-…`, `role`), listeners (`onclick`) and children. Text is
 * always set as text, never as HTML: what containers print goes through here. */
function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  set(element, properties);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

function set(element, properties) {
  for (const [key, value] of Object.entries(properties)) {
    if (key in element && !key.startsWith("aria")) element[key] = value;
    else element.setAttribute(key, value);
  }
}

/** The connection of one view to its widget in the kernel.
 *
 * `handlers` maps kinds of messages to functions of (message, buffers). The view says hello when it is there, gives
 * signs of life and says bye; a line says so when the kernel is gone. Returns what views need: `send`, `say` (told to
 * screen readers too), `close`, and `body`, where the view draws. */
function connect(model, el, label, handlers) {
  const view = Math.random().toString(36).slice(2);
  const state = h("p", { className: "jc-state", role: "status", "aria-live": "polite" });
  const body = h("div", { className: "jc-body" });
  const root = h("section", { className: "jc-widget", "aria-label": label, "data-lm-suppress-shortcuts": "true" }, body, state);
  // JupyterLab takes a key that is pressed on a button or a list for one of its own: D twice deletes the cell.
  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
  });
  el.append(root);
  // The output before this one is the static form, for a page without the kernel.
  const cover = (covered = true) => {
    const before = el.closest(".jp-OutputArea-child")?.previousElementSibling;
    if (before?.querySelector("[data-jc-static]")) before.style.display = covered ? "none" : "";
  };
  cover();
  let heard = Date.now();
  let gone = false;
  let answered = false;
  const send = (kind, content = {}, buffers = undefined) => {
    if (gone) return;
    try {
      model.send({ kind, view, ...content }, undefined, buffers);
    } catch (error) {
      disconnect(GONE); // JupyterLab has given up the channel of a kernel that was restarted
    }
  };
  const say = (text, problem = false) => {
    state.textContent = text;
    state.classList.toggle("jc-problem", problem);
  };
  const disconnect = (text) => {
    if (gone) return;
    gone = true;
    root.classList.add("jc-gone");
    say(text, true);
    for (const control of root.querySelectorAll("button, input, select")) control.disabled = true;
    handlers.gone?.();
  };
  const reconnect = () => {
    gone = false;
    root.classList.remove("jc-gone");
    for (const control of root.querySelectorAll("button, input, select")) control.disabled = false;
    say("");
    send("hello");
  };
  const receive = (message, buffers) => {
    heard = Date.now();
    cover();
    if (gone) reconnect();
    if (message.view && message.view !== view) return;
    answered ||= message.view === view;
    if (message.kind === "problem") say(message.hint ? `${message.text}: ${message.hint}` : message.text, true);
    handlers[message.kind]?.(message, buffers ?? []);
  };
  // A hello may have to wait for the running cell: JupyterLab makes the channel that overtakes it only just now.
  const knocking = setInterval(() => {
    cover();
    if (answered) clearInterval(knocking);
    else send("hello");
  }, KNOCK);
  const timer = setInterval(() => {
    send("ping");
    if (answered && Date.now() - heard > SILENCE) disconnect("Disconnected: the kernel does not answer.");
  }, PING);
  const leave = () => send("bye");
  model.on("msg:custom", receive);
  window.addEventListener("pagehide", leave);
  send("hello");
  const close = () => {
    leave();
    cover(false);
    clearInterval(timer);
    clearInterval(knocking);
    model.off("msg:custom", receive);
    window.removeEventListener("pagehide", leave);
  };
  return { view, body, root, send, say, close };
}

/** A button that says what it does, also to those who do not see its neighbours. */
function button(text, label, onclick, more = {}) {
  return h("button", { type: "button", className: "jc-button", title: label, "aria-label": label, onclick, ...more }, text);
}

/** A table head. */
function head(...names) {
  return h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name))));
}

/** Bytes for a person, in powers of 1024 as `stats` shows them. */
function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let value = bytes;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

/** A percentage for a person. */
function percent(value) {
  return value === null || value === undefined ? "–" : `${value.toFixed(1)} %`;
}
