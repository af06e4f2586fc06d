// A terminal, drawn by xterm.js.

const ACK = 32 * 1024; // bytes drawn between two acknowledgements while much is printed
const LEAVE = "F6";

/** xterm.js, once for all terminals of a page: the first one asks the kernel for it. */
function library(ask) {
  window.jupyterContainersXterm ??= {};
  const shared = window.jupyterContainersXterm;
  shared.ready ??= new Promise((resolve, reject) => {
    shared.take = (text) => {
      const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
      import(/* webpackIgnore: true */ url).then(resolve, reject);
    };
  });
  if (!shared.loaded) ask();
  shared.ready.then(() => {
    shared.loaded = true;
  });
  return shared;
}

function render({ model, el }) {
  const screen = h("div", { className: "jc-screen" });
  const title = h("strong", {}, "Terminal");
  let term = null;
  let drawn = 0;
  let ended = null;
  const early = [];

  const print = (data, done) => {
    if (term) term.write(data, done);
    else early.push([data, done]);
  };
  const acknowledge = (force) => {
    if (drawn && (force || drawn >= ACK)) {
      link.send("ack", { bytes: drawn });
      drawn = 0;
    }
  };
  const link = connect(model, el, "Terminal", {
    replay: (message, buffers) => {
      title.textContent = message.title;
      link.root.setAttribute("aria-label", `Terminal: ${message.title}`);
      term?.reset();
      early.length = 0;
      print(bytes(buffers[0]));
      if (term) fit(true);
      else begin();
    },
    output: (_message, buffers) => {
      const data = bytes(buffers[0]);
      print(data, () => {
        drawn += data.byteLength;
        acknowledge(false);
      });
    },
    ended: (message) => {
      ended = message;
      link.say(`Ended: ${message.text}`, message.failed);
      detach.disabled = true;
      if (term) term.options.disableStdin = true;
    },
    library: (message) => window.jupyterContainersXterm.take(message.text),
    gone: () => {
      if (term) term.options.disableStdin = true;
    },
  });
  const detach = button("Detach", "Detach: let go of the command, which goes on", () => link.send("detach"));
  const reader = h("input", { type: "checkbox" });
  reader.addEventListener("change", () => {
    if (term) term.options.screenReaderMode = reader.checked;
  });
  link.body.append(
    h("div", { className: "jc-bar" }, title, detach, h("label", {}, reader, " for screen readers"), h("span", { className: "jc-note" }, `${LEAVE} leaves the terminal`)),
    screen,
  );

  let size = "";
  const fit = (force = false) => {
    const grid = screen.querySelector(".xterm-screen");
    if (!grid || !screen.isConnected || !grid.clientWidth) return;
    const columns = Math.max(2, Math.floor((screen.clientWidth - 24) / (grid.clientWidth / term.cols)));
    const rows = Math.max(2, Math.floor((screen.clientHeight - 8) / (grid.clientHeight / term.rows)));
    if (columns !== term.cols || rows !== term.rows) term.resize(columns, rows);
    if (force || size !== `${rows} ${columns}`) link.send("start", { rows, columns });
    size = `${rows} ${columns}`;
  };
  const watcher = new ResizeObserver(() => term && fit());
  const settled = setInterval(() => acknowledge(true), 100);
  let begun = false;
  /** When the kernel has answered: what is asked for before may have to wait for a running cell. */
  const begin = () => {
    if (begun) return;
    begun = true;
    library(() => link.send("library")).ready.then(draw);
  };
  const draw = ({ Terminal }) => {
    term = new Terminal({ cursorBlink: false, scrollback: 5000, fontSize: 13, convertEol: false, minimumContrastRatio: 4.5 });
    term.open(screen);
    term.attachCustomKeyEventHandler((event) => {
      if (event.key !== LEAVE) return true;
      if (event.type === "keydown") detach.disabled ? reader.focus() : detach.focus();
      return false;
    });
    const encoder = new TextEncoder();
    term.onData((text) => link.send("input", {}, [encoder.encode(text).buffer]));
    term.onBinary((text) => link.send("input", {}, [Uint8Array.from(text, (each) => each.charCodeAt(0)).buffer]));
    for (const [data, done] of early.splice(0)) term.write(data, done);
    if (ended) term.options.disableStdin = true;
    watcher.observe(screen);
    fit(true);
    term.focus();
  };
  return () => {
    clearInterval(settled);
    watcher.disconnect();
    term?.dispose();
    link.close();
  };
}

/** The bytes of a buffer that came with a message. */
function bytes(view) {
  return new Uint8Array(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength);
}

export default { render };
