// Plots of what containers use: CPU, memory, network, disk; a line for each container, told apart by dashes too.

const COLOURS = ["#1976d2", "#d84315", "#2e7d32", "#7b1fa2", "#f9a825", "#00838f", "#5d4037", "#c2185b"];
const DASHES = ["", "6 3", "2 3", "8 3 2 3"];
const FEWEST = 20; // samples that fill a plot; more of them, up to all that are kept, are drawn closer
const WIDTH = 320;
const HEIGHT = 100;
const SVG = "http://www.w3.org/2000/svg";

/** How fast a sum of counters grows, in bytes a second. */
function rate(...keys) {
  return (now, before, seconds) => {
    if (!before || seconds <= 0) return null;
    let sum = 0;
    for (const key of keys) {
      if (now[key] === null || before[key] === null) return null;
      sum += now[key] - before[key];
    }
    return Math.max(0, sum / seconds);
  };
}

const speed = (value) => (value === null ? "–" : `${size(value)}/s`);
const PLOTS = [
  { title: "CPU", value: (now) => now.cpu, words: percent, least: 10 },
  { title: "Memory", value: (now) => now.memory, words: size, least: 1 << 20 },
  { title: "Network", value: rate("received", "sent"), words: speed, least: 1024 },
  { title: "Disk", value: rate("read", "written"), words: speed, least: 1024 },
];

function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function render({ model, el }) {
  let samples = [];
  let most = 120;
  const styles = new Map();
  const legend = h("ul", { className: "jc-legend", "aria-label": "Containers" });
  const pause = h("input", { type: "checkbox" });
  const plots = PLOTS.map((plot) => {
    const top = h("span");
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    const figure = h("figure", {}, h("figcaption", {}, h("strong", {}, plot.title), top), picture);
    return { ...plot, top, picture, figure };
  });

  const style = (name) => {
    if (!styles.has(name)) {
      const at = styles.size;
      styles.set(name, { stroke: COLOURS[at % COLOURS.length], "stroke-dasharray": DASHES[Math.floor(at / COLOURS.length + at) % DASHES.length] });
    }
    return styles.get(name);
  };
  const draw = () => {
    if (pause.checked || !samples.length) return;
    const names = [...new Set(samples.flatMap((sample) => Object.keys(sample.rows)))];
    const last = samples[samples.length - 1];
    for (const plot of plots) {
      const lines = names.map((name) => {
        const points = samples.map((sample, at) => {
          const before = samples[at - 1];
          const row = sample.rows[name];
          return row ? plot.value(row, before?.rows[name], before ? sample.time - before.time : 0) : null;
        });
        return [name, points];
      });
      const highest = Math.max(plot.least, ...lines.flatMap(([, points]) => points.filter((each) => each !== null)));
      plot.top.textContent = `to ${plot.words(highest)}`;
      const words = lines.map(([name, points]) => `${name} ${plot.words(points[points.length - 1])}`);
      plot.picture.replaceChildren(
        Object.assign(svg("title", {}), { textContent: `${plot.title}: ${words.join(", ")}` }),
        ...lines.flatMap(([name, points]) => paths(points, highest).map((d) => svg("path", { d, fill: "none", "stroke-width": 1.5, "vector-effect": "non-scaling-stroke", ...style(name) }))),
      );
    }
    legend.replaceChildren(
      ...names.map((name) => {
        const now = last.rows[name];
        const key = svg("svg", { viewBox: "0 0 24 6", width: 24, height: 6, "aria-hidden": "true" });
        key.append(svg("path", { d: "M0 3H24", fill: "none", "stroke-width": 2, ...style(name) }));
        return h("li", {}, key, ` ${name}: `, now ? `${percent(now.cpu)} CPU, ${size(now.memory)}` : "does not run");
      }),
    );
  };
  const paths = (points, highest) => {
    const found = [];
    let path = "";
    points.forEach((value, at) => {
      if (value === null) {
        if (path) found.push(path);
        path = "";
        return;
      }
      const x = WIDTH - ((points.length - 1 - at) * WIDTH) / (Math.min(most, Math.max(FEWEST, points.length)) - 1);
      const y = HEIGHT - 2 - (value / highest) * (HEIGHT - 6);
      path += `${path ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    });
    return path ? [...found, path] : found;
  };
  const link = connect(model, el, "Figures", {
    samples: (message) => {
      most = message.kept;
      if (message.anew) samples = [];
      samples = [...samples, ...message.samples].slice(-most);
      draw();
    },
  });
  pause.addEventListener("change", draw);
  link.body.append(
    h("div", { className: "jc-bar" }, h("strong", {}, "What containers use"), h("label", {}, pause, " stand still")),
    h("div", { className: "jc-plots" }, plots.map((plot) => plot.figure)),
    legend,
  );
  return link.close;
}

export default { render };
