// Player: all versions of a recording play in sync, and only the chosen one is audible

const RATE_HZ = report.rate_hz;
const bytes = text => Uint8Array.from(atob(text), character => character.charCodeAt(0));
async function decode(sound) {
  const decoder = new OfflineAudioContext(1, 1, RATE_HZ);
  return Promise.all(sound.map(version => decoder.decodeAudioData(bytes(version.audio).buffer)));
}

class Player {
  file = null;  // the selected recording
  buffers = [];  // its decoded versions
  choices = [];  // what the version buttons offer: {text, index of a version, name unless it is hidden}
  chosen = 0;
  preferred = noisy;  // the version to choose when the recording changes
  offset = 0;  // position in seconds while paused
  length = 0;
  sources = null;  // playing if not null

  async select(file, play = false) {
    if (blind.trials) return;
    this.stop();
    Object.assign(this, {file, buffers: [], offset: 0, length: 0});
    this.markRow(true);
    this.offerVersions();
    if (!file.sound) return drawSpectrograms();
    const buffers = await decode(file.sound);
    if (this.file !== file) return;
    this.buffers = buffers;
    this.length = Math.max(...buffers.map(buffer => buffer.duration));
    this.describe();
    drawSpectrograms();
    if (play) await this.start();
  }
  move(step) {
    const at = order.indexOf(this.file) + step;
    if (!order[at]) return;
    this.select(order[at], this.sources !== null);
    this.file.row.scrollIntoView({block: "nearest"});
  }

  // Playback

  async start() {
    if (this.sources || !this.buffers.length) return;
    this.context ??= new AudioContext({sampleRate: RATE_HZ});
    await this.context.resume();
    if (this.sources || !this.buffers.length) return;  // another call came first
    if (this.offset >= this.length - 0.02) this.offset = 0;
    const begin = this.context.currentTime + 0.05;
    this.begin = begin - this.offset;
    this.gains = this.buffers.map((_, i) => new GainNode(this.context, {gain: i === this.audible ? 1 : 0}));
    this.sources = this.buffers.map((buffer, i) => {
      const source = new AudioBufferSourceNode(this.context, {buffer});
      source.connect(this.gains[i]).connect(this.context.destination);
      source.start(begin, this.offset);
      return source;
    });
    this.markPlaying();
    this.follow();
  }
  stop() {
    this.offset = this.position();
    this.sources?.forEach(source => source.stop());
    this.sources = null;
    this.markPlaying();
  }
  toggle() { return this.sources ? this.stop() : this.start(); }
  jump(share) {
    const playing = this.sources !== null;
    this.stop();
    this.offset = Math.min(1, Math.max(0, share)) * this.length;
    this.show();
    if (playing) this.start();
  }
  position() {
    return this.sources ? Math.max(0, Math.min(this.length, this.context.currentTime - this.begin)) : this.offset;
  }
  follow() {
    if (!this.sources) return;
    this.show();
    if (this.position() < this.length) return requestAnimationFrame(() => this.follow());
    this.jumpToStart();
  }
  jumpToStart() {
    this.stop();
    this.offset = 0;
    this.show();
  }

  // Versions

  get audible() { return this.choices[this.chosen]?.index; }
  offerVersions() {
    this.choices = (this.file.sound ?? []).map(({name}, index) => ({text: name, name, index}));
    this.chosen = Math.max(0, this.choices.findIndex(choice => choice.name === this.preferred));
    this.drawVersions();
    this.describe();
  }
  choose(i) {
    if (!this.choices[i]) return;
    this.chosen = i;
    this.preferred = this.choices[i].name ?? this.preferred;
    if (this.sources) this.gains.forEach((gain, k) =>
      gain.gain.setTargetAtTime(k === this.audible ? 1 : 0, this.context.currentTime, 0.01));
    this.drawVersions();
  }
  drawVersions() {
    const focused = $("versions").contains(document.activeElement);
    $("versions").replaceChildren(...this.choices.map(({text, name}, i) => {
      const score = name && scoreOf(this.file, name, state.measure);
      const below = number(score) ? shown(score, state.measure) : name === "clean" ? "reference" : null;
      return make("button", {type: "button", role: "radio", "aria-checked": String(i === this.chosen),
        tabindex: i === this.chosen ? 0 : -1, onclick: () => this.choose(i)}, text, below && make("small", {}, below));
    }));
    const chosen = $("versions").children[this.chosen];
    if (focused) chosen?.focus();
    else chosen?.scrollIntoView({block: "nearest", inline: "nearest"});
    document.querySelectorAll("#spectrograms figure").forEach((figure, i) =>
      figure.classList.toggle("on", i === this.audible));
  }

  // What the page shows of it

  describe() {
    const {file, length} = this;
    $("now").textContent = file.name;
    const notes = labels.filter(name => file.labels[name]).map(name => `${name} ${file.labels[name]}`);
    if (!file.sound) notes.unshift("no sound in this page");
    if (length >= report.max_sound_s) notes.unshift(`first ${report.max_sound_s} s`);
    $("note").textContent = notes.join(" · ");
    $("play").disabled = $("position").disabled = !file.sound;
    $("ask").disabled = this.choices.length < 2;
    this.show();
  }
  show() {
    const at = this.position(), share = this.length ? at / this.length : 0;
    $("position").value = Math.round(1000 * share);
    $("position").setAttribute("aria-valuetext", `${at.toFixed(1)} of ${this.length.toFixed(1)} seconds`);
    $("time").textContent = `${at.toFixed(1)} / ${this.length.toFixed(1)} s`;
    for (const head of document.querySelectorAll(".picture i")) head.style.left = `${100 * share}%`;
  }
  markRow(reveal = false) {
    const {row} = this.file, button = row.querySelector("button");
    for (const old of document.querySelectorAll("#files [aria-current]")) {
      old.removeAttribute("aria-current");
      old.querySelector("button").tabIndex = -1;
    }
    row.setAttribute("aria-current", "true");
    button.tabIndex = 0;
    this.markPlaying();
    if (!reveal) return;
    const box = $("files"), above = box.querySelector("thead").offsetHeight;
    const nearest = Math.min(row.offsetTop - above,
      Math.max(row.offsetTop + row.offsetHeight - box.clientHeight, box.scrollTop));
    const far = Math.abs(nearest - box.scrollTop) > 2 * row.offsetHeight;
    box.scrollTop = far ? row.offsetTop - box.clientHeight / 3 : nearest;
    if (box.contains(document.activeElement)) button.focus({preventScroll: true});
  }
  markPlaying() {
    const playing = this.sources !== null, verb = playing ? "Pause" : "Play";
    $("play").replaceChildren(icon(playing));
    $("play").setAttribute("aria-label", verb);
    for (const button of document.querySelectorAll("#files .row button:has(svg)")) {
      const mine = playing && this.file.row.contains(button);
      if (mine !== (button.dataset.playing === "true")) {
        button.replaceChildren(icon(mine));
        button.dataset.playing = String(mine);
      }
    }
  }
}
const player = new Player();
