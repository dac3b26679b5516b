"use strict";

// The report and what of it is shown

const report = JSON.parse(document.getElementById("report").textContent);
const {systems, files} = report, measures = Object.keys(report.measures);
const [noisy, ...enhanced] = systems;
const state = {measure: measures[0], system: enhanced[0] ?? noisy, sort: {key: "name", up: true}};
const $ = id => document.getElementById(id);

// Helpers

const SVG = new Set(["svg", "line", "circle", "rect", "text", "title", "path"]);
function make(tag, attributes = {}, ...children) {
  const node = SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter(child => child != null));
  return node;
}
const icon = playing => make("svg", {viewBox: "0 0 16 16", "aria-hidden": "true"},
  make("path", {d: playing ? "M3 2h4v12H3zM9 2h4v12H9z" : "M4 1.5 14 8 4 14.5z"}));
const heading = (...content) => make("th", {scope: "row"}, ...content);
function table(caption, headings, rows, attributes = {class: "scroll", tabindex: 0}) {
  return make("div", {...attributes, role: "region", "aria-label": caption}, make("table", {},
    make("thead", {}, make("tr", {}, ...headings.map(content =>
      content instanceof Node ? content : make("th", {scope: "col"}, content)))),
    make("tbody", {}, ...rows)));
}
const number = value => typeof value === "number";
const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;
const higherIsBetter = name => report.measures[name].higher_is_better;  // null: the nearer to 0 the better
const compared = (value, name) => higherIsBetter(name) === null ? Math.abs(value) : value;
const improvement = (change, name) => higherIsBetter(name) ? change : -change;  // above 0: better
const isBetter = (a, b, name) => improvement(compared(a, name) - compared(b, name), name) > 0;
function shown(value, name, sign = false) {
  const [low, high] = report.measures[name].range;
  return (sign && value >= 0 ? "+" : "") + value.toFixed(low === 0 && high === 1 ? 3 : 2).replace("-", "−");
}
function label(name, change = false) {  // of the measure, or of changes of it
  const {label, unit} = report.measures[name], toZero = higherIsBetter(name) === null;
  return (toZero && change ? `|${label}|` : label) + (unit ? ` (${unit})` : "") +
    (higherIsBetter(name) ? "" : toZero && !change ? " → 0" : " ↓");
}
const scoreOf = (file, system, name) => file.scores[system]?.[name];
function changeOf(file, system, name) {
  const [before, after] = [scoreOf(file, noisy, name), scoreOf(file, system, name)];
  return number(before) && number(after) ? compared(after, name) - compared(before, name) : undefined;
}
const direction = (one, name) =>
  one.low === null ? "" : [one.low, one.high].every(end => improvement(end, name) > 0) ? "up" :
  [one.low, one.high].every(end => improvement(end, name) < 0) ? "down" : "";
function bestOf(values, name) {  // the best value as shown; null where there is nothing to compare
  const found = values.filter(number);
  const best = found.length ? shown(found.reduce((a, b) => isBetter(a, b, name) ? a : b), name) : null;
  return found.some(value => shown(value, name) !== best) ? best : null;
}
function scoreCell(value, name, best = null, ...below) {
  if (!number(value)) {
    const reason = value?.undefined ?? (value === undefined ? "skipped" : "undefined");
    return make("td", {title: reason}, make("small", {}, value === undefined ? "–" : "undefined"), ...below);
  }
  const text = shown(value, name), top = text === best;
  return make("td", {class: top ? "best" : ""}, make("b", {}, text),
    top ? make("span", {class: "hidden"}, " best") : null, ...below);
}
function scoreCells(values, name) {
  const best = bestOf(values, name);
  return values.map(value => scoreCell(value, name, best));
}
const interval = (one, name, sign) =>
  one.low === null ? "" : ` [${shown(one.low, name, sign)}, ${shown(one.high, name, sign)}]`;

// Sections; those that depend on the choice of measure and system are drawn again when it changes

const sections = new Map();  // title → function
function section(title, draw, redraw = false) {
  const content = make("div"), node = make("section", {}, make("h2", {}, title), content);
  $("sections").append(node);
  const update = () => content.replaceChildren(...draw());
  if (redraw) sections.set(title, update);
  else update();
}
function choose(change) {
  Object.assign(state, change);
  for (const [id, value] of [["measure", state.measure], ["system", state.system]]) if ($(id)) $(id).value = value;
  const {scrollTop} = $("files");
  drawHeadline();
  sections.forEach(update => update());
  $("files").scrollTop = scrollTop;
  player.markRow();
  player.drawVersions();
}
function select(id, text, values, name) {
  return make("label", {}, text, make("select", {id, onchange: event => choose({[id]: event.target.value})},
    ...values.map(value => make("option", {value}, name(value)))));
}

// Headline

function drawHeadline() {
  const {measure, system} = state, {label: name, unit} = report.measures[measure];
  const text = higherIsBetter(measure) === null && system !== noisy ? `|${name}|` : name;
  const value = one => shown(one, measure) + (unit ? ` ${unit}` : "");
  const strong = content => make("strong", {}, content);
  const between = (one, sign) => one.low === null ? "" :
    `95 % interval ${shown(one.low, measure, sign)} to ${shown(one.high, measure, sign)}`;
  const pairs = files.map(file => [scoreOf(file, noisy, measure), scoreOf(file, system, measure)])
    .filter(pair => pair.every(number));
  const count = `${pairs.length} recording${pairs.length === 1 ? "" : "s"}`;
  if (!pairs.length) return $("headline").replaceChildren(`${text} is undefined for all recordings of ${system}.`);
  if (system === noisy) {
    const one = report.summary[noisy][measure];
    return $("headline").replaceChildren(`The noisy recordings have a mean ${text} of `, strong(value(one.mean)),
      one.low === null ? "" : ` (${between(one)})`, ` over ${count}.`);
  }
  const change = report.differences.find(one => one.system === system && one.against === noisy).measures[measure];
  const clear = change.low === null || change.low > 0 || change.high < 0;
  const verb = !clear ? "leaves" : change.mean > 0 ? "raises" : change.mean < 0 ? "lowers" : "leaves";
  const better = pairs.filter(([before, after]) => isBetter(after, before, measure)).length;
  const share = better === pairs.length ? "all" : better === 0 ? "none" :
    `${Math.min(99, Math.max(1, Math.round(100 * better / pairs.length)))} %`;
  const numbers = [shown(change.mean, measure, true), between(change, true)].filter(Boolean).join(", ");
  $("headline").replaceChildren(strong(system), ` ${verb} ${text} ${verb === "leaves" ? "nearly unchanged, " : ""}from `,
    strong(value(mean(pairs.map(pair => compared(pair[0], measure))))), " to ",
    strong(value(mean(pairs.map(pair => compared(pair[1], measure))))),
    ` (${numbers})`, higherIsBetter(measure) ? "" : ", where lower is better,",
    ` over ${count} and is better than the noisy recording in `, strong(share), " of them.");
}

// Means

function drawMeans() {
  const change = (system, name) => report.differences.find(one => one.system === system && one.against === noisy)
    .measures[name];
  const rows = measures.map(name => {
    const best = bestOf(systems.map(system => report.summary[system][name].mean), name);
    const pick = make("button", {type: "button", class: "plain", "aria-pressed": String(name === state.measure),
      onclick: () => pickMeasure(name)}, label(name));
    return make("tr", {}, heading(pick), ...systems.map(system => {
      const one = report.summary[system][name], below = [make("small", {class: "inline"}, interval(one, name))];
      if (one.why) below.push(make("small", {class: "why"}, one.why));
      else if (one.undefined) below.push(make("small", {}, `${one.undefined} undefined`));
      if (system !== noisy && change(system, name).mean !== null) {
        const found = change(system, name);
        below.push(make("small", {class: direction(found, name)},
          shown(found.mean, name, true) + interval(found, name, true)));
      }
      return scoreCell(one.mean, name, best, ...below);
    }));
  });
  const key = ["In brackets: 95 % confidence intervals. "];
  if (enhanced.length) key.unshift(make("span", {class: "key"}, make("b", {}, "Marked"), ": best of the row. "));
  if (enhanced.length) key.push("Second line: change from noisy, paired by recording; ",
    make("span", {class: "up"}, "green"), " is clearly better, ", make("span", {class: "down"}, "red"),
    " clearly worse. ");
  return [table("Means", ["measure", ...systems], rows),
    make("p", {class: "faint"}, ...key, "↓: lower is better. ",
      measures.some(name => higherIsBetter(name) === null) ? "→ 0: nearer to 0 is better, and changes are of the absolute value. " : "",
      "Click a measure to show it throughout the page.")];
}
function pickMeasure(name) {
  choose({measure: name});
  document.querySelector("#sections [aria-pressed=true]").focus({preventScroll: true});
}
function drawDifferences(pairs) {
  const rows = measures.map(name => make("tr", {}, heading(label(name, true)), ...pairs.map(pair => {
    const one = pair.measures[name];
    return one.mean === null ? scoreCell(null, name) : make("td", {class: direction(one, name)},
      shown(one.mean, name, true), make("small", {}, interval(one, name, true).trim()));
  })));
  return [table("Differences between systems", ["measure", ...pairs.map(p => `${p.system} − ${p.against}`)], rows)];
}

// Recordings

const labels = [...new Set(files.flatMap(file => Object.keys(file.labels)))];
const collator = new Intl.Collator(undefined, {numeric: true});
const alignments = new Map(labels.map(name =>
  [name, files.every(file => !isNaN(file.labels[name] ?? "")) ? "" : "text"]));  // numbers are on the right
let order = [];  // the recordings as they are sorted
function columns() {
  const {measure, system} = state;
  const found = [{key: "name", text: "recording", value: file => file.name},
    ...systems.map((name, i) => ({key: `score ${i}`, text: name, value: file => scoreOf(file, name, measure)}))];
  if (system !== noisy) {
    found.push({key: "change", text: `${system} − ${noisy}`, value: file => changeOf(file, system, measure)});
  }
  return [...found, ...labels.map((name, i) =>
    ({key: `label ${i}`, text: name, value: file => file.labels[name], align: alignments.get(name)}))];
}
function sortFiles({key, up}) {
  const {value} = columns().find(column => column.key === key) ?? columns()[0];
  const keyed = files.map(file => [value(file), file]), missing = found => found == null || typeof found === "object";
  keyed.sort(([a], [b]) => {
    if (missing(a) || missing(b)) return missing(a) - missing(b);  // undefined scores last
    return (up ? 1 : -1) * (number(a) ? a - b : collator.compare(a, b));
  });
  return keyed.map(([, file]) => file);
}
function recordingRow(file) {
  const {measure, system} = state;
  const start = file.sound
    ? make("button", {type: "button", tabindex: -1, "aria-label": `Play ${file.name}`}, icon(false))
    : make("button", {type: "button", tabindex: -1, class: "silent", "aria-label": `Select ${file.name}, without sound`,
      title: "To keep the page small, this recording has no sound here."}, "no sound");
  const cells = scoreCells(systems.map(name => scoreOf(file, name, measure)), measure);
  if (system !== noisy) {
    const change = changeOf(file, system, measure);
    cells.push(number(change) ? make("td", {class: improvement(change, measure) > 0 ? "up" :
      improvement(change, measure) < 0 ? "down" : ""}, shown(change, measure, true)) : scoreCell(undefined, measure));
  }
  file.row = make("tr", {onclick: () => file === player.file ? player.toggle() : player.select(file, true)},
    heading(make("span", {class: "row"}, start, make("span", {}, file.name))), ...cells,
    ...labels.map(name => make("td", {class: alignments.get(name)}, file.labels[name] ?? "")));
  return file.row;
}
function sortBy(key) {
  state.sort = {key, up: state.sort.key === key ? !state.sort.up : true};
  sections.get("Recordings")();
  player.markRow();
  document.querySelector("#files [aria-sort] button").focus({preventScroll: true});
}
function drawRecordings() {
  order = sortFiles(state.sort);
  const headings = columns().map(({key, text, align}) => make("th", {scope: "col", class: align,
    "aria-sort": key === state.sort.key && (state.sort.up ? "ascending" : "descending")},
    make("button", {type: "button", class: "plain", onclick: () => sortBy(key)}, text)));
  const rows = table(`${label(state.measure)} of each recording`, headings, order.map(recordingRow),
    {class: "scroll rows", id: "files"});
  const silent = files.filter(file => !file.sound).length;
  return [make("p", {class: "faint"}, "Click a recording to hear it. ", make("span", {class: "keys"},
    "Keys: ", make("kbd", {}, "↑"), " ", make("kbd", {}, "↓"), " recording, ", make("kbd", {}, "←"), " ",
    make("kbd", {}, "→"), " version, ", make("kbd", {}, "Space"), " play or pause. "), silent ? `${silent} of ${files.length} recordings are without sound, to keep the page small.` : ""),
  ...extremes(), rows];
}
function extremes() {
  const {measure, system} = state;
  const value = file => system === noisy ? scoreOf(file, noisy, measure) : changeOf(file, system, measure);
  const merit = file => improvement(system === noisy ? compared(value(file), measure) : value(file), measure);
  const ranked = files.filter(file => number(value(file))).sort((a, b) => merit(a) - merit(b));
  const size = Math.min(3, Math.floor(ranked.length / 2));
  const what = system === noisy ? label(measure) : `change in ${label(measure, true)} with ${system}`;
  const chips = (title, found) => make("div", {class: "chips", role: "group", "aria-label": `${title} ${what}`},
    make("span", {class: "faint"}, `${title} ${what}:`), ...found.map(file => make("button",
      {type: "button", onclick: () => player.select(file, true)},
      file.name, " ", make("small", {}, shown(value(file), measure, system !== noisy)))));
  return size ? [chips("Worst", ranked.slice(0, size)), chips("Best", ranked.slice(-size).reverse())] : [];
}

// Breakdowns, inputs, measures and versions

function drawBreakdown(column, groups) {
  const name = state.measure;
  return [make("p", {class: "faint"}, `Mean ${label(name)} by system.`),
    table(`By ${column}`, [column, "recordings", ...systems], groups.map(group => make("tr", {},
      heading(group.value || "(none)"), make("td", {}, String(group.recordings)),
      ...scoreCells(systems.map(system => group.summary[system][name].mean), name))))];
}
function drawInputs() {
  const {skipped} = report.inputs;
  const lines = [...report.notes, ...(skipped.length ? skipped.map(line => `skipped: ${line}`) : ["no files were skipped"])];
  return [make("ul", {}, ...lines.map(line => make("li", {}, line)))];
}
function drawMeasures() {
  const side = (bound, none) => bound === null ? none : String(bound).replace("-", "−");
  return [table("Measures", ["measure", "range", "better",
    make("th", {scope: "col", class: "text"}, "source")], measures.map(name => {
    const {range, source} = report.measures[name];
    return make("tr", {}, heading(label(name)), make("td", {}, `${side(range[0], "−∞")} … ${side(range[1], "∞")}`),
      make("td", {}, higherIsBetter(name) === null ? "nearer to 0" : higherIsBetter(name) ? "higher" : "lower"), make("td", {class: "text"}, source));
  }))];
}
function drawVersions() {
  return [make("p", {}, make("code", {id: "command"}, report.command ?? "")), make("ul", {},
    ...Object.entries(report.versions ?? {}).map(([name, version]) => make("li", {}, make("code", {}, `${name} ${version}`))),
    ...Object.entries(report.models ?? {}).map(([name, hash]) =>
      make("li", {}, make("code", {}, `model ${name}: sha256 ${hash}`))))];
}
