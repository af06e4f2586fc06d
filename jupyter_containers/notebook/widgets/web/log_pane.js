// The lines of a log with a search, in the log viewer and in the dashboard.

const MOST_LINES = 5000; // kept in the page; older ones go

/** Draws lines; `add(lines)` takes [stream, text] pairs. `close` is shown as a button when given. */
function logPane(title, { onclose = null } = {}) {
  const list = h("div", { className: "jc-lines", role: "log", "aria-live": "off", tabIndex: 0, "aria-label": `Log of ${title}` });
  const count = h("span", { className: "jc-count", role: "status", "aria-live": "polite" });
  const search = h("input", { type: "search", placeholder: "Search", "aria-label": `Search in the log of ${title}` });
  const follow = h("input", { type: "checkbox", checked: true });
  const only = h("input", { type: "checkbox" });
  const lost = h("p", { className: "jc-note", hidden: true });
  let current = -1;
  let hits = [];
  let dropped = 0;

  const matches = (line) => search.value !== "" && line.dataset.text.includes(search.value.toLowerCase());
  const mark = (line) => {
    const text = line.textContent;
    const wanted = search.value.toLowerCase();
    line.replaceChildren();
    let from = 0;
    for (let at = text.toLowerCase().indexOf(wanted); at >= 0; at = text.toLowerCase().indexOf(wanted, from)) {
      line.append(text.slice(from, at), h("mark", {}, text.slice(at, at + wanted.length)));
      from = at + wanted.length;
    }
    line.append(text.slice(from));
    line.dataset.marked = "yes";
  };
  const plain = (line) => {
    if (line.dataset.marked) line.replaceChildren(line.textContent);
    delete line.dataset.marked;
  };
  const show = (line) => {
    const hit = matches(line);
    plain(line);
    if (hit) {
      mark(line);
      hits.push(line);
    }
    line.hidden = only.checked && search.value !== "" && !hit;
  };
  const lines = (number) => `${number} ${number === 1 ? "line" : "lines"}`;
  const tell = () => {
    if (search.value === "") count.textContent = lines(list.childElementCount);
    else if (current >= 0) count.textContent = `${current + 1} of ${hits.length} lines with “${search.value}”`;
    else count.textContent = `${lines(hits.length)} with “${search.value}”`;
  };
  const find = () => {
    hits = [];
    current = -1;
    for (const line of list.children) show(line);
    tell();
  };
  const go = (step) => {
    if (!hits.length) return;
    hits[current]?.classList.remove("jc-current");
    current = current < 0 ? (step > 0 ? 0 : hits.length - 1) : (current + step + hits.length) % hits.length;
    hits[current].classList.add("jc-current");
    list.scrollTop = hits[current].offsetTop - list.clientHeight / 2;
    follow.checked = false;
    tell();
  };
  search.addEventListener("input", find);
  only.addEventListener("change", find);
  search.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") {
      search.value = "";
      find();
    }
  });
  follow.addEventListener("change", () => {
    if (follow.checked) list.scrollTop = list.scrollHeight;
  });
  const element = h(
    "div",
    { className: "jc-log" },
    h(
      "div",
      { className: "jc-bar", role: "toolbar", "aria-label": `Log of ${title}` },
      h("strong", {}, `Log of ${title}`),
      search,
      button("↓", "Next line found", () => go(1)),
      button("↑", "Line found before", () => go(-1)),
      h("label", {}, only, " only these"),
      h("label", {}, follow, " follow"),
      count,
      onclose ? button("Close", `Close the log of ${title}`, onclose) : null,
    ),
    lost,
    list,
  );
  const add = (lines, left = 0) => {
    const made = lines.map(([stream, text]) => {
      const line = h("div", { className: stream === "stderr" ? "jc-line jc-stderr" : "jc-line" }, text);
      if (stream === "stderr") line.title = "standard error";
      line.dataset.text = text.toLowerCase();
      return line;
    });
    list.append(...made);
    if (search.value !== "") made.forEach(show);
    dropped += left;
    while (list.childElementCount > MOST_LINES) {
      list.firstElementChild.remove();
      dropped += 1;
    }
    hits = hits.filter((line) => line.isConnected);
    lost.hidden = dropped === 0;
    lost.textContent = `${dropped} lines before these are not shown`;
    if (follow.checked) list.scrollTop = list.scrollHeight;
    tell();
  };
  const clear = () => {
    list.replaceChildren();
    hits = [];
    dropped = 0;
    current = -1;
    tell();
  };
  return { element, add, clear, search };
}
