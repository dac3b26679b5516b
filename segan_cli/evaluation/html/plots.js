// Plots

const WIDTH = 480, EDGE = {left: 56, right: 16, top: 12, bottom: 48};
const colour = system => `var(--c${systems.indexOf(system) % 6})`;
function ticks(low, high, most = 6) {
  const step = 10 ** Math.floor(Math.log10((high - low) / 3));
  const size = [1, 2, 5, 10].map(k => k * step).find(s => (high - low) / s <= most) ?? 20 * step;
  const found = [];
  for (let at = Math.ceil(low / size - 1e-9) * size; at <= high + 1e-9; at += size) found.push(Number(at.toFixed(10)));
  return found;
}
function bounds(values) {
  const low = Math.min(...values), high = Math.max(...values), room = (high - low || 1) * 0.05;
  return [low - room, high + room];
}
const legend = (...entries) => make("p", {class: "legend"}, ...entries.map(([style, text]) =>
  make("span", {}, style ? make("i", style) : null, text)));
const quantile = (sorted, q) => {
  const at = (sorted.length - 1) * q, i = Math.floor(at);
  return sorted[i] + (sorted[Math.min(i + 1, sorted.length - 1)] - sorted[i]) * (at - i);
};
function dot(file, system, name, x, y, r) {
  const found = make("circle", {cx: x, cy: y, r, fill: colour(system), "fill-opacity": .45,
    onclick: () => player.select(file, true)});
  found.append(make("title", {}, `${file.name}: ${system} ${shown(scoreOf(file, system, name), name)}`));
  return found;
}
function distribution(name) {
  const rows = Math.max(60, Math.min(105, 320 / systems.length)), height = EDGE.top + EDGE.bottom + rows * systems.length;
  const plot = make("svg", {class: "plot", viewBox: `0 0 ${WIDTH} ${height}`, role: "img",
    "aria-label": `Distribution of ${label(name)} by system`});
  const all = systems.flatMap(system => files.map(file => scoreOf(file, system, name)).filter(number));
  if (!all.length) return plot;
  const [low, high] = bounds(all), left = 16;
  const x = value => left + (value - low) / (high - low) * (WIDTH - left - EDGE.right);
  for (const at of ticks(low, high)) {
    plot.append(make("line", {class: "rule", x1: x(at), x2: x(at), y1: EDGE.top, y2: height - EDGE.bottom}),
      make("text", {x: x(at), y: height - EDGE.bottom + 18, "text-anchor": "middle"}, String(at)));
  }
  plot.append(make("text", {x: WIDTH / 2, y: height - 8, "text-anchor": "middle"}, label(name)));
  systems.forEach((system, i) => {
    const found = files.filter(file => number(scoreOf(file, system, name))), y = EDGE.top + rows * i + rows / 2 + 10;
    const values = found.map(file => scoreOf(file, system, name)).sort((a, b) => a - b);
    plot.append(make("text", {x: left, y: y - 22}, system), ...found.map((file, k) =>
      dot(file, system, name, x(scoreOf(file, system, name)), y + ((k * 7919) % 17 - 8) / 1.4, 2.5)));
    if (!values.length) return;
    const [a, b, c] = [.25, .5, .75].map(q => x(quantile(values, q)));
    plot.append(make("rect", {x: a, y: y - 10, width: Math.max(1, c - a), height: 20, fill: "none",
      stroke: colour(system), "stroke-width": 1.5, rx: 2}),
    make("line", {x1: b, x2: b, y1: y - 10, y2: y + 10, stroke: colour(system), "stroke-width": 3.5}));
  });
  return plot;
}
function scatter(name) {
  const height = 380;
  const plot = make("svg", {class: "plot", viewBox: `0 0 ${WIDTH} ${height}`, role: "img",
    "aria-label": `${label(name)} of each recording, enhanced against noisy`});
  const points = enhanced.flatMap(system => files.map(file => ({file, system, from: scoreOf(file, noisy, name),
    to: scoreOf(file, system, name)}))).filter(point => number(point.from) && number(point.to));
  if (!points.length) return plot;
  const [low, high] = bounds(points.flatMap(point => [point.from, point.to]));
  const x = value => EDGE.left + (value - low) / (high - low) * (WIDTH - EDGE.left - EDGE.right);
  const y = value => height - EDGE.bottom - (value - low) / (high - low) * (height - EDGE.top - EDGE.bottom);
  for (const at of ticks(low, high)) {
    plot.append(make("line", {class: "rule", x1: x(at), x2: x(at), y1: EDGE.top, y2: height - EDGE.bottom}),
      make("line", {class: "rule", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(at), y2: y(at)}),
      make("text", {x: x(at), y: height - EDGE.bottom + 18, "text-anchor": "middle"}, String(at)),
      make("text", {x: EDGE.left - 7, y: y(at) + 4, "text-anchor": "end"}, String(at)));
  }
  plot.append(make("line", {class: "same", x1: x(low), y1: y(low), x2: x(high), y2: y(high)}),
    ...points.map(({file, system, from, to}) => dot(file, system, name, x(from), y(to), 3.5)),
    make("text", {x: WIDTH / 2, y: height - 8, "text-anchor": "middle"}, `${noisy}: ${label(name)}`),
    make("text", {transform: `translate(14 ${height / 2}) rotate(-90)`, "text-anchor": "middle"},
      `enhanced: ${label(name)}`));
  return plot;
}
function drawPlots() {
  const name = state.measure, swatch = system => [{style: `background: ${colour(system)}`}, system];
  const cards = [make("div", {class: "card"}, make("h3", {}, "Distribution"), distribution(name),
    legend([null, "dot: one recording"], [null, "box: middle 50 % of the recordings"], [null, "thick line: the median"]))];
  if (enhanced.length) {
    cards.push(make("div", {class: "card"}, make("h3", {}, "Enhanced against noisy"), scatter(name),
      legend(...enhanced.map(swatch), [{class: "dash"}, higherIsBetter(name) === null ? "no change" :
        `no change; ${higherIsBetter(name) ? "above" : "below"} it is better`])));
  }
  return [make("div", {class: "plots"}, ...cards)];
}
