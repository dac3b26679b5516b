// Blind test (ABX): A and B are two versions in random order, X is one of them; names are hidden until the end

const blind = {trials: 0, order: [], x: 0, answers: []};  // trials is 0 unless a test is running
const TRIALS = [8, 12, 16, 24];
function guessing(right, trials) {  // probability of at least `right` of `trials` answers by guessing
  let ways = 1, total = 0;  // ways: trials choose k
  for (let k = 0; k <= trials; k++) {
    if (k >= right) total += ways;
    ways = ways * (trials - k) / (k + 1);
  }
  return total / 2 ** trials;
}
function showBlind(...content) {
  $("blind").replaceChildren(...content);
  $("blind").hidden = !content.length;
  $("ask").setAttribute("aria-pressed", String(content.length > 0));
  drawSpectrograms();
  $("blind").querySelector("button, select")?.focus();
}
const button = (text, onclick, type = "") => make("button", {type: "button", class: type, onclick}, text);
function askBlind() {
  if (blind.trials) return endBlind();
  if (!$("blind").hidden) return showBlind();
  const names = player.file.sound.map(version => version.name);
  const pick = (title, chosen) => make("select", {"aria-label": title}, ...names.map((name, i) =>
    make("option", {value: i, selected: name === chosen}, name)));
  const other = enhanced.filter(name => names.includes(name) && name !== state.system)[0] ?? noisy;
  const one = pick("First version", state.system === noisy ? names.at(-1) : state.system);
  const two = pick("Second version", other);
  const trials = make("select", {"aria-label": "Trials"}, ...TRIALS.map(n => make("option", {selected: n === 12}, n)));
  const start = button("Start", () => startBlind([Number(one.value), Number(two.value)], Number(trials.value)), "main");
  for (const select of [one, two]) select.addEventListener("change", () => start.disabled = one.value === two.value);
  showBlind(make("p", {}, "Can you hear the difference? In each trial, X is the same as A or as B."), one, "or", two,
    make("label", {}, trials, "trials"), start, button("Cancel", () => showBlind()));
}
function startBlind(versions, trials) {
  Object.assign(blind, {trials, order: Math.random() < 0.5 ? versions : versions.reverse(), answers: []});
  nextTrial();
}
function nextTrial() {
  const playing = player.sources !== null, [a, b] = blind.order;
  player.jumpToStart();
  blind.x = Math.random() < 0.5 ? 0 : 1;
  player.choices = [{text: "A", index: a}, {text: "B", index: b}, {text: "X", index: blind.order[blind.x]}];
  player.choose(0);
  if (playing) player.start();
  showBlind(make("p", {}, `Trial ${blind.answers.length + 1} of ${blind.trials}: listen to A, B and X. What is X?`),
    button("X is A", () => answer(0)), button("X is B", () => answer(1)), button("Stop", endBlind));
  $("versions").children[0].focus();  // so that Space plays and does not answer
}
function answer(guess) {
  blind.answers.push(guess === blind.x);
  if (blind.answers.length < blind.trials) nextTrial();
  else endBlind();
}
function endBlind() {
  const {answers, order} = blind, right = answers.filter(Boolean).length;
  const [a, b] = order.map(index => player.file.sound[index].name);
  const chance = 100 * guessing(right, answers.length);
  blind.trials = 0;
  player.jumpToStart();
  player.offerVersions();
  if (!answers.length) return showBlind();
  showBlind(make("p", {id: "verdict"}, make("strong", {}, `${right} of ${answers.length} right.`),
    ` Guessing gets at least as many right with a probability of ${chance < 0.1 ? "less than 0.1" : chance.toFixed(1)} %.`,
    ` A was ${a}, B was ${b}.`), button("Close", () => showBlind()));
}

// Keys

const tableInView = () => {
  const box = $("files").getBoundingClientRect();
  return box.top < $("player").getBoundingClientRect().top - 40 && box.bottom > 60;
};
const ARROWS = {ArrowUp: () => player.move(-1), ArrowDown: () => player.move(1),
  ArrowLeft: () => player.choose(player.chosen - 1), ArrowRight: () => player.choose(player.chosen + 1)};
document.addEventListener("keydown", event => {
  const {key, target} = event, upOrDown = key === "ArrowUp" || key === "ArrowDown";
  if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  if (key === " " ? target.matches("select, button:not([role=radio])") : target.matches("select, input, .scroll")) return;
  if (upOrDown && !tableInView() && !$("player").contains(target)) return;  // the page scrolls
  const act = key === " " ? () => player.toggle() : ARROWS[key];
  if (!act) return;
  event.preventDefault();
  act();
});

// The page

$("play").addEventListener("click", () => player.toggle());
$("position").addEventListener("input", event => player.jump(event.target.value / 1000));
$("ask").addEventListener("click", askBlind);
$("pictures").addEventListener("click", event => {
  const open = event.target.getAttribute("aria-pressed") === "true";
  event.target.setAttribute("aria-pressed", String(!open));
  drawSpectrograms();
});
$("pictures").setAttribute("aria-pressed", String(matchMedia("(min-width: 60rem) and (min-height: 48rem)").matches));
new ResizeObserver(() => document.documentElement.style.setProperty("--bar", `${$("player").offsetHeight}px`))
  .observe($("player"));

$("about").textContent = `${files.length} recording${files.length === 1 ? "" : "s"} · ${systems.join(", ")}`;
$("toolbar").append(select("measure", "Measure", measures, label));
if (enhanced.length > 1) $("toolbar").append(select("system", "System", enhanced, name => name));
const pairs = report.differences.filter(one => one.against !== noisy);
section("Means", drawMeans, true);
section("Recordings", drawRecordings, true);
section("Plots", drawPlots, true);
if (pairs.length) section("Differences between systems", () => drawDifferences(pairs));
for (const [column, groups] of Object.entries(report.breakdown)) {
  section(`By ${column}`, () => drawBreakdown(column, groups), true);
}
section("Inputs", drawInputs);
section("Measures", drawMeasures);
section("Command and versions", drawVersions);
drawHeadline();
sections.forEach(update => update());
player.select(order.find(file => file.sound) ?? order[0]);
